"""What an entry means, and what becomes of calendars that are broken."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.model import (
    Absence,
    Agent,
    Attendee,
    AttendeeKind,
    Calendar,
    Event,
    EventKind,
    Mode,
    Pull,
    Response,
    Status,
    Unobserved,
    Window,
    rfc3339,
)
from reconciler.sources import Caps, PullRequest
from reconciler.sources.ics import IcsSource

NOW = datetime(2026, 11, 22, 17, tzinfo=UTC)
WINDOW = Window.around(NOW, timedelta(days=7), timedelta(days=60))
CALENDARS = Path(__file__).resolve().parents[1] / "calendars"
DEE = Agent(email="dee@acme.example", aliases=("dee.agent@acme.example",), timezone="America/Chicago")


def wrap(*lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR", ""]).encode()


def event(*lines: str, uid: str = "e") -> list[str]:
    return ["BEGIN:VEVENT", f"UID:{uid}", *lines, "END:VEVENT"]


SOON = ["DTSTART:20261124T150000Z", "DTEND:20261124T160000Z"]


def pull(path: Path, *known: str, agent: Agent = DEE, caps: Caps | None = None) -> Pull | Unobserved:
    calendar = Calendar(source="ics", kind="ics", agent=agent, location=path.name)
    request = PullRequest(calendar=calendar, window=WINDOW, now=NOW, known=frozenset(known))
    return IcsSource(base=path.parent, caps=caps).pull(request)


class Reader:
    """Writes bytes to a file and reads it as a calendar."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "dee.ics"

    def __call__(self, data: bytes, *known: str, agent: Agent = DEE, caps: Caps | None = None) -> Pull:
        self.path.write_bytes(data)
        pulled = pull(self.path, *known, agent=agent, caps=caps)
        assert isinstance(pulled, Pull), pulled
        return pulled

    def one(self, *lines: str, agent: Agent = DEE) -> Event:
        pulled = self(wrap(*event(*lines)), agent=agent)
        assert not pulled.quarantined, pulled.quarantined
        [found] = pulled.events
        return found


@pytest.fixture
def read(tmp_path: Path) -> Reader:
    return Reader(tmp_path)


# ---- what an entry means --------------------------------------------------------------------------------------------


def test_a_plain_calendar_is_read_as_it_says() -> None:
    pulled = pull(CALENDARS / "plain.ics")
    assert isinstance(pulled, Pull)
    showing, house, lunch = pulled.events
    assert (showing.id, showing.uid, showing.series) == ("plain-1@acme.example", "plain-1@acme.example", None)
    assert (rfc3339(showing.span.start), rfc3339(showing.span.end)) == ("2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z")
    assert (showing.title, showing.location) == ("Showing, 12 Elm Street", "12 Elm Street; Springfield")
    assert (showing.organizer, showing.response) == ("dee@acme.example", Response.ACCEPTED)
    assert showing.attendees == (
        Attendee("dee@acme.example", Response.ACCEPTED),
        Attendee("lou@client.example", Response.TENTATIVE),
        Attendee("room@acme.example", Response.ACCEPTED, AttendeeKind.RESOURCE),
    )
    assert showing.modified == datetime(2026, 11, 2, 9, tzinfo=UTC)
    assert (house.span.start, house.span.end, house.busy) == (date(2026, 12, 1), date(2026, 12, 3), False)
    assert house.modified == datetime(2026, 11, 3, 8, tzinfo=UTC)
    assert (rfc3339(lunch.span.start), rfc3339(lunch.span.end)) == ("2026-11-25T14:00:00Z", "2026-11-25T15:30:00Z")
    assert (lunch.title, lunch.status) == ("Floating lunch", Status.TENTATIVE)
    assert (pulled.mode, pulled.proves_absence, pulled.zone) == (Mode.FULL, True, "America/New_York")


def test_an_outlook_export_is_read_as_outlook_means_it() -> None:
    pulled = pull(CALENDARS / "outlook.ics")
    assert isinstance(pulled, Pull)
    closing, training, berlin = pulled.events
    assert (rfc3339(closing.span.start), closing.busy) == ("2026-11-24T15:00:00Z", False)
    assert (training.span.start, training.span.end) == (date(2026, 11, 25), date(2026, 11, 26))
    assert (training.kind, training.private) == (EventKind.OUT_OF_OFFICE, True)
    assert rfc3339(berlin.span.start) == "2026-11-26T08:00:00Z"
    assert {one.modified for one in pulled.events} == {None}  # the time of the export is no time of change


def test_a_time_without_zone_is_in_the_agents_where_the_calendar_names_none(read: Reader) -> None:
    assert rfc3339(read.one("DTSTART:20261124T090000").span.start) == "2026-11-24T15:00:00Z"
    nowhere = Agent(email="dee@acme.example")
    assert rfc3339(read.one("DTSTART:20261124T090000", agent=nowhere).span.start) == "2026-11-24T09:00:00Z"


@pytest.mark.parametrize(
    ("lines", "end"),
    [
        (["DTSTART:20261124T150000Z"], "2026-11-24T15:00:00Z"),
        (["DTSTART:20261124T150000Z", "DURATION:PT1H30M"], "2026-11-24T16:30:00Z"),
        (["DTSTART:20261124T150000Z", "DURATION:P1W"], "2026-12-01T15:00:00Z"),
        (["DTSTART:20261124T150000Z", "DTEND;TZID=Europe/Berlin:20261124T170000"], "2026-11-24T16:00:00Z"),
        (["DTSTART;VALUE=DATE:20261124"], "2026-11-25"),
        (["DTSTART;VALUE=DATE:20261124", "DTEND;VALUE=DATE:20261124"], "2026-11-25"),
        (["DTSTART;VALUE=DATE:20261124", "DURATION:P2D"], "2026-11-26"),
        (["DTSTART:20261124"], "2026-11-25"),
        (["DTSTART:20261124T1500Z"], "2026-11-24T15:00:00Z"),
        (["DTSTART:20261124T150000Z", "DTEND:20261124T150060Z"], "2026-11-24T15:00:59Z"),
    ],
)
def test_every_way_to_say_when_it_ends(read: Reader, lines: list[str], end: str) -> None:
    assert rfc3339(read.one(*lines).span.end) == end


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("ATTENDEE:mailto:Lou@Client.EXAMPLE", "lou@client.example"),
        ("ATTENDEE:MAILTO:lou@client.example", "lou@client.example"),
        ("ATTENDEE:lou@client.example", "lou@client.example"),
        ("ATTENDEE;EMAIL=lou@client.example:urn:uuid:7f3c9a1e", "lou@client.example"),
        ('ATTENDEE;CN="Lou; mailto:x@y.example":mailto:lou@client.example', "lou@client.example"),
        ("ATTENDEE;CN=Lou:invalid:nomail", None),
    ],
)
def test_addresses_are_found_where_exporters_put_them(read: Reader, address: str, expected: str | None) -> None:
    assert [one.email for one in read.one(*SOON, address).attendees] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("partstat", "response"),
    [("ACCEPTED", Response.ACCEPTED), ("declined", Response.DECLINED), ("X-ODD", Response.NEEDS_ACTION)],
)
def test_the_response_is_that_of_the_agent_under_any_address(read: Reader, partstat: str, response: Response) -> None:
    other = "ATTENDEE;PARTSTAT=TENTATIVE:mailto:lou@client.example"
    own = f"ATTENDEE;PARTSTAT={partstat}:mailto:dee.agent@acme.example"
    assert read.one(*SOON, other, own).response is response
    assert read.one(*SOON, other).response is None


@pytest.mark.parametrize("kind", ["PRIVATE", "CONFIDENTIAL"])
def test_a_private_event_keeps_its_words_to_itself(read: Reader, kind: str) -> None:
    secret = read.one(*SOON, f"CLASS:{kind}", "SUMMARY:Doctor", "LOCATION:Clinic")
    assert (secret.private, secret.title, secret.location) == (True, "", "")


@pytest.mark.parametrize(
    ("lines", "kind"),
    [
        (["X-MICROSOFT-CDO-BUSYSTATUS:OOF"], EventKind.OUT_OF_OFFICE),
        (["X-MICROSOFT-CDO-BUSYSTATUS:OOF", "ATTENDEE:mailto:lou@client.example"], EventKind.DEFAULT),
        (["X-MICROSOFT-CDO-BUSYSTATUS:WORKINGELSEWHERE"], EventKind.WORKING_LOCATION),
        (["CATEGORIES:Birthday"], EventKind.BIRTHDAY),
        (["X-GOOGLE-CALENDAR-CONTENT-ICON:https://calendar.example/images/cake.gif"], EventKind.BIRTHDAY),
        (["X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC"], EventKind.DEFAULT),
    ],
)
def test_markers_are_told_from_appointments(read: Reader, lines: list[str], kind: EventKind) -> None:
    assert read.one(*SOON, *lines).kind is kind


LINK = "DESCRIPTION:Cancel: https://calendly.com/cancellations/0a1b2c3d-1111-2222-3333-444455556666"


@pytest.mark.parametrize(
    ("lines", "key"),
    [
        ([LINK], "calendly:0a1b2c3d-1111-2222-3333-444455556666"),
        ([LINK, "ORGANIZER:mailto:dee.agent@acme.example"], "calendly:0a1b2c3d-1111-2222-3333-444455556666"),
        ([LINK, "ORGANIZER:mailto:stranger@client.example"], None),
        (["X-CALENDLY-EVENT:https://api.calendly.com/scheduled_events/AAAABBBBCCCCDDDD"], "calendly:AAAABBBBCCCCDDDD"),
        (
            [
                "X-ACUITY-LINK:https://acuityscheduling.com/schedule.php?owner=1&id[]=12345678",
                "ORGANIZER:mailto:x@y.example",
            ],
            "acuity:12345678",
        ),
        (["URL:https://app.acuityscheduling.com/appointments/view/87654321"], "acuity:87654321"),
        (["DESCRIPTION:book me at https://calendly.com/dee/showing"], None),
        (["DESCRIPTION:https://evil-calendly.com.example/cancellations/AAAABBBBCCCCDDDD"], None),
    ],
)
def test_a_scheduler_is_believed_only_where_a_stranger_can_not_write(
    read: Reader, lines: list[str], key: str | None
) -> None:
    assert read.one(*SOON, *lines).scheduler_key == key


def test_hostile_text_becomes_one_inert_bounded_line(read: Reader) -> None:
    title = read.one(*SOON, "SUMMARY:\x1b[31m\u202e=cmd()\\n" + "x" * 10_000).title
    assert len(title) <= 500
    assert title.isprintable()


@pytest.mark.parametrize("stamp", ["DTSTAMP", "LAST-MODIFIED"])
def test_a_stamp_is_a_time_of_change_only_if_it_tells_events_apart(read: Reader, stamp: str) -> None:
    def modified(*stamps: str) -> list[datetime | None]:
        lines = [event(*SOON, f"{stamp}:{at}", uid=f"e{n}") for n, at in enumerate(stamps)]
        return [one.modified for one in read(wrap(*(line for block in lines for line in block))).events]

    first, second = "20261101T080000Z", "20261102T080000Z"
    assert modified(first, second) == [datetime(2026, 11, 1, 8, tzinfo=UTC), datetime(2026, 11, 2, 8, tzinfo=UTC)]
    if stamp == "DTSTAMP":
        assert modified(first, first) == [None, None]


def test_the_time_of_an_export_is_none_of_change_under_two_names_either(read: Reader) -> None:
    stamps = ["DTSTAMP:20261122T120000Z", "LAST-MODIFIED:20261122T120000Z"]
    blocks = [line for name in "abc" for line in event(*SOON, *stamps, uid=name)]
    assert {one.modified for one in read(wrap(*blocks)).events} == {None}


def test_an_export_of_the_same_event_has_the_same_etag(read: Reader) -> None:
    etags = {read.one(*SOON, f"DTSTAMP:2026112{day}T120000Z").etag for day in range(3)}
    assert len(etags) == 1
    assert read.one(*SOON, "SUMMARY:x").etag not in etags


# ---- identity and revisions -----------------------------------------------------------------------------------------


def test_the_revision_with_the_higher_sequence_counts_then_the_later_one(read: Reader) -> None:
    low = event(*SOON, "SEQUENCE:1", "DTSTAMP:20261105T000000Z", "SUMMARY:low")
    high = event(*SOON, "SEQUENCE:2", "DTSTAMP:20261101T000000Z", "SUMMARY:high")
    late = event(*SOON, "SEQUENCE:2", "DTSTAMP:20261103T000000Z", "SUMMARY:late")
    for order in ([*low, *high, *late], [*late, *low, *high], [*high, *late, *low]):
        assert [one.title for one in read(wrap(*order)).events] == ["late"]


def test_identical_copies_are_one_event(read: Reader) -> None:
    assert len(read(wrap(*event(*SOON), *event(*SOON))).events) == 1


def test_events_without_uid_are_told_apart_by_what_they_say(read: Reader) -> None:
    nameless = ["BEGIN:VEVENT", *SOON, "SUMMARY:A", "END:VEVENT"]
    other = ["BEGIN:VEVENT", *SOON, "SUMMARY:B", "END:VEVENT"]
    names = [one.id for one in read(wrap(*nameless, *other, *nameless)).events]
    assert len(set(names)) == 3
    assert {name.removesuffix("#2") for name in names} == set(names) - {name for name in names if name.endswith("#2")}
    assert [one.id for one in read(wrap(*other, *nameless, *nameless)).events if one.title == "A"] == [
        names[0],
        names[2],
    ]
    assert all(one.uid is None for one in read(wrap(*nameless)).events)


def test_a_uid_of_any_length_is_a_bounded_name(read: Reader) -> None:
    long = read(wrap(*event(*SOON, uid="u" * 5_000), *event(*SOON, uid="u" * 5_001))).events
    assert len({one.id for one in long}) == 2
    assert all(len(one.id) < 600 for one in long)


def test_two_entries_can_not_share_an_identity(read: Reader) -> None:
    impostor = event(*SOON, uid="s/20261124T150000Z")
    pulled = read(wrap(*event(*SOON, "RRULE:FREQ=DAILY;COUNT=1", uid="s"), *impostor))
    assert [one.id for one in pulled.events] == ["s/20261124T150000Z"]
    assert [entry.id for entry in pulled.quarantined] == ["s/20261124T150000Z"]


# ---- gone -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lines",
    [wrap(*event(*SOON, "SUMMARY:Call", "STATUS:CANCELLED")), wrap("METHOD:CANCEL", *event(*SOON, "SUMMARY:Call"))],
)
def test_a_cancelled_event_keeps_its_details(read: Reader, lines: bytes) -> None:
    [gone] = read(lines).events
    assert (gone.absence, gone.title, gone.status) == (Absence.CANCELLED, "Call", Status.CONFIRMED)


def test_a_bare_cancel_is_a_tombstone(read: Reader) -> None:
    pulled = read(wrap("METHOD:CANCEL", *event("SEQUENCE:3")))
    assert [(stone.id, stone.absence) for stone in pulled.tombstones] == [("e", Absence.CANCELLED)]
    pulled = read(wrap("METHOD:CANCEL", *event("RECURRENCE-ID:20261124T150000Z")))
    assert [stone.id for stone in pulled.tombstones] == ["e/20261124T150000Z"]


def test_a_cancel_of_what_is_known_as_a_series_covers_the_series(read: Reader) -> None:
    pulled = read(wrap("METHOD:CANCEL", *event(*SOON)), "e/20261124T150000Z")
    assert [stone.id for stone in pulled.tombstones] == ["e"]


def test_a_cancel_in_another_calendar_of_the_file_counts_by_its_sequence(read: Reader) -> None:
    live, gone = wrap(*event(*SOON, "SEQUENCE:1")), wrap("METHOD:CANCEL", *event(*SOON, "SEQUENCE:2"))
    assert [one.absence for one in read(live + gone).events] == [Absence.CANCELLED]
    revived = wrap(*event(*SOON, "SEQUENCE:3"))
    assert [one.absence for one in read(gone + revived).events] == [None]


# ---- one bad entry --------------------------------------------------------------------------------------------------

HUGE = "9" * 30


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "it has no DTSTART"),
        (["DTSTART:tomorrow"], "it has a time that can't be read: 'tomorrow'"),
        (["DTSTART:20261399T150000Z"], "it has a time that does not exist: 20261399T150000Z"),
        (["DTSTART:20260229"], "it has a time that does not exist: 20260229"),
        (["DTSTART:00010101T000000Z"], "it has a time outside of the years 2 to 9998"),
        (["DTSTART:99991231T235959Z"], "it has a time outside of the years 2 to 9998"),
        (
            ["DTSTART;TZID=Mars/Olympus:20261124T150000"],
            "its time zone 'Mars/Olympus' is not known and not defined in the",
        ),
        (["DTSTART:20261124T150000Z", "DTEND:20261124T140000Z"], "it ends before it starts"),
        (["DTSTART:20261124T150000Z", "DURATION:-PT1H"], "it ends before it starts"),
        (["DTSTART:20261124T150000Z", "DURATION:an hour"], "it has a duration that can't be read: 'an hour'"),
        (["DTSTART:20261124T150000Z", f"DURATION:P{HUGE}D"], "it has a duration that can't be read: "),
        (["DTSTART:99980101T150000Z", "DURATION:P999999D"], "date value out of range"),
        ([*SOON, "RECURRENCE-ID:never"], "it has a time that can't be read: 'never'"),
        ([*SOON, "RRULE:FREQ=DAILY", "EXDATE:never"], "it has a time that can't be read: 'never'"),
        ([*SOON, "RRULE:FREQ=DAILY", "EXRULE:FREQ=WEEKLY"], "it excludes occurrences by a rule (EXRULE)"),
        ([*SOON, *["RRULE:FREQ=DAILY"] * 21], "it has more than 20 rules"),
        ([*SOON, "RRULE:FREQ=DAILY;UNTIL=P1D"], "its rule has an UNTIL that is no date"),
        ([*SOON, "RDATE;VALUE=PERIOD:20261125T150000Z/20261125T140000Z"], "it ends before it starts"),
        ([*SOON, *["ATTENDEE:mailto:a@b.example"] * 501], "it has more than 500 attendees"),
        ([*SOON, *["COMMENT:x"] * 10_001], "it has more than 10000 lines"),
        (
            ["DTSTART:20261124T150000Z", "DURATION:P30000D", "RRULE:FREQ=YEARLY"],
            "it lasts, or moves its occurrences, by",
        ),
    ],
)
def test_an_entry_that_makes_no_sense_is_set_apart_with_its_reason(read: Reader, lines: list[str], why: str) -> None:
    pulled = read(wrap(*event(*lines), *event(*SOON, uid="good")), "e")
    [entry] = pulled.quarantined
    assert entry.id == "e"
    assert entry.why.startswith(why)
    assert [one.id for one in pulled.events] == ["good"]  # the rest goes on
    assert not pulled.proves_absence  # and what is missing is only unseen


def test_an_entry_without_end_does_not_swallow_the_next(read: Reader) -> None:
    pulled = read(wrap("BEGIN:VEVENT", "UID:open", *SOON, *event(*SOON, uid="good")))
    assert [(entry.id, entry.why) for entry in pulled.quarantined] == [("open", "it has no END:VEVENT")]
    assert [one.id for one in pulled.events] == ["good"]


def test_a_bad_override_sets_its_whole_series_apart(read: Reader) -> None:
    lines = [*event(*SOON, "RRULE:FREQ=DAILY;COUNT=3"), *event("RECURRENCE-ID:20261125T150000Z", "DTSTART:lost")]
    pulled = read(wrap(*lines))
    assert not pulled.events  # or the occurrence would show where it no longer is
    assert [entry.id for entry in pulled.quarantined] == ["e"]


def test_a_calendar_with_quarantined_entries_is_read_again_each_time(read: Reader) -> None:
    first = read(wrap(*event("DTSTART:lost")))
    request = PullRequest(calendar=first.calendar, window=WINDOW, now=NOW, cursor=first.cursor)
    again = IcsSource(base=read.path.parent).pull(request)
    assert isinstance(again, Pull)
    assert (again.mode, again.quarantined) == (Mode.FULL, first.quarantined)


def test_more_events_than_a_calendar_may_have_are_left_out_and_said_so(read: Reader) -> None:
    lines = [line for n in range(5) for line in event(*SOON, uid=f"e{n}")]
    pulled = read(wrap(*lines), caps=Caps(events=3))
    assert len(pulled.events) == 3
    assert [entry.why for entry in pulled.quarantined] == ["2 more events than one calendar may have were left out"]
    assert not pulled.proves_absence


# ---- calendars that are not whole -----------------------------------------------------------------------------------

WHOLE = wrap(*event(*SOON))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "dee.ics is empty."),
        (b" \r\n\r\n", "dee.ics is empty."),
        (WHOLE[:-20], "dee.ics is cut short: it has no END:VCALENDAR."),
        (WHOLE[:60], "dee.ics is cut short: it has no END:VCALENDAR."),
        (WHOLE[:-5], "dee.ics is cut short: it has no END:VCALENDAR."),
        (WHOLE[:51] + WHOLE, "dee.ics is cut short: a calendar begins before the one before it has ended."),
        (WHOLE + b"BEGIN:VCALENDAR\r\n", "dee.ics is cut short: it has no END:VCALENDAR."),
        (b"<!DOCTYPE html><title>Sign in</title>", "dee.ics is a web page, not a calendar."),
        (b"\xef\xbb\xbf<html>", "dee.ics is a web page, not a calendar."),
        (b'{"error": "not found"}', "dee.ics is no calendar: it has no BEGIN:VCALENDAR."),
        (b"\x00\x01\x02" * 1000, "dee.ics is no calendar: it has no BEGIN:VCALENDAR."),
        (b"BEGIN:VEVENT\r\nEND:VEVENT\r\n", "dee.ics is no calendar: it has a 'VEVENT' outside of any VCALENDAR."),
        (b"BEGIN:VCALENDAR\n" + b"BEGIN:X\n" * 30, "dee.ics nests components more than 20 deep."),
        (b"BEGIN:VCALENDAR" + b"\nBEGIN:VEVENT" * 9, "dee.ics is cut short: it has no END:VCALENDAR."),
    ],
)
def test_a_calendar_that_is_not_whole_is_unobserved(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "dee.ics"
    path.write_bytes(data)
    pulled = pull(path)
    assert isinstance(pulled, Unobserved)
    assert pulled.why == why


def test_a_calendar_without_events_is_whole(read: Reader) -> None:
    pulled = read(wrap())
    assert (pulled.events, pulled.proves_absence) == ((), True)


def test_text_around_a_calendar_is_said_but_does_not_stop_it(read: Reader) -> None:
    pulled = read(WHOLE + b"<!-- served by a cache -->\r\n")
    assert len(pulled.events) == 1
    assert [entry.why for entry in pulled.quarantined] == ["text outside of any VCALENDAR was left out"]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (WHOLE[:40] + WHOLE, "an event inside of another component was left out"),  # BEGIN:VEVBEGIN:VCALENDAR
        (wrap("BEGIN:VTODO", "SUMMARY:x"), "a component without its END was left out"),
        (wrap("BEGIN:X-BOX", *event(*SOON), "END:X-BOX"), "an event inside of another component was left out"),
        (WHOLE + b"END:VCALENDAR\r\n", "text outside of any VCALENDAR was left out"),
    ],
)
def test_what_can_hide_an_event_proves_no_absence(read: Reader, data: bytes, why: str) -> None:
    pulled = read(data)
    assert [entry.why for entry in pulled.quarantined] == [why]
    assert not pulled.proves_absence


def test_a_file_larger_than_may_be_read_is_unobserved(tmp_path: Path) -> None:
    path = tmp_path / "dee.ics"
    path.write_bytes(WHOLE)
    pulled = pull(path, caps=Caps(bytes=len(WHOLE) - 1))
    assert isinstance(pulled, Unobserved)
    assert "larger than may be read" in pulled.why
    assert isinstance(pull(path, caps=Caps(bytes=len(WHOLE))), Pull)


# ---- files and directories ------------------------------------------------------------------------------------------


def test_a_directory_is_one_calendar_in_the_order_of_names(tmp_path: Path) -> None:
    for name in ("b", "a"):
        (tmp_path / f"{name}.ics").write_bytes(wrap(*event(*SOON, uid=name)))
    (tmp_path / "notes.txt").write_text("not a calendar")
    (tmp_path / ".c.ics").write_text("being written")
    pulled = pull(tmp_path)
    assert isinstance(pulled, Pull)
    assert [one.id for one in pulled.events] == ["a", "b"]


def test_a_directory_without_calendars_is_unobserved(tmp_path: Path) -> None:
    (tmp_path / "dee").mkdir()
    pulled = pull(tmp_path / "dee")
    assert isinstance(pulled, Unobserved)
    assert pulled.why == "dee is a directory without any .ics file."


def test_one_cut_file_makes_its_directory_unobserved_and_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "dee"
    folder.mkdir()
    (folder / "a.ics").write_bytes(WHOLE)
    (folder / "b.ics").write_bytes(WHOLE[:-20])
    pulled = pull(folder)
    assert isinstance(pulled, Unobserved)
    assert pulled.why == "dee/b.ics is cut short: it has no END:VCALENDAR."


def test_a_directory_that_lost_a_file_has_another_token(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.ics").write_bytes(wrap(*event(*SOON, uid=name)))
    before = pull(tmp_path)
    (tmp_path / "b.ics").unlink()
    after = pull(tmp_path)
    assert isinstance(before, Pull)
    assert isinstance(after, Pull)
    assert before.cursor.token != after.cursor.token


def test_a_file_that_vanished_is_unobserved(tmp_path: Path) -> None:
    pulled = pull(tmp_path / "dee.ics")
    assert isinstance(pulled, Unobserved)
    assert pulled.why == "dee.ics is not there."


def test_a_path_that_makes_no_sense_is_unobserved(tmp_path: Path) -> None:
    calendar = Calendar(source="ics", kind="ics", agent=DEE, location="a\x00b")
    pulled = IcsSource(base=tmp_path).pull(PullRequest(calendar=calendar, window=WINDOW, now=NOW))
    assert isinstance(pulled, Unobserved)


# ---- bytes ----------------------------------------------------------------------------------------------------------

PLAIN = (CALENDARS / "plain.ics").read_bytes()


def events_of(pulled: Pull | Unobserved) -> list[tuple[str, str, str]]:
    assert isinstance(pulled, Pull), pulled
    assert not pulled.quarantined
    return [(one.id, one.title, rfc3339(one.span.start)) for one in pulled.events]


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data.replace(b"\n", b"\r"),
        lambda data: data.replace(b"\n", b"\r\r\n"),
        lambda data: data.replace(b"\n", b"\n\n"),
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b"BEGIN:", b"Begin:").replace(b"SUMMARY", b"summary"),
        lambda data: data.rstrip(b"\n"),
        lambda data: data.replace(b"END:VEVENT", b"END:VEVENT  "),
    ],
)
def test_the_same_calendar_in_other_bytes_is_the_same(read: Reader, change: object) -> None:
    assert callable(change)
    assert events_of(read(change(PLAIN))) == events_of(read(PLAIN))


@pytest.mark.parametrize(
    ("data", "title"),
    [
        ("Café".encode(), "Café"),
        ("Café".encode("cp1252"), "Café"),
        ("Café ".encode() + b"\xff", "Café \ufffd"),
        (b"Caf\xc3\r\n \xa9", "Café"),  # a fold within a character
    ],
)
def test_letters_are_read_as_far_as_they_make_sense(read: Reader, data: bytes, title: str) -> None:
    raw = wrap(*event(*SOON, "SUMMARY:@")).replace(b"@", data)
    assert read(raw).events[0].title == title


@given(cuts=st.sets(st.integers(0, len(PLAIN)), max_size=40), tab=st.booleans())
def test_folding_changes_nothing(tmp_path_factory: pytest.TempPathFactory, cuts: set[int], *, tab: bool) -> None:
    read = Reader(tmp_path_factory.mktemp("fold"))
    inside = [
        cut for cut in cuts if 0 < cut < len(PLAIN) and PLAIN[cut - 1 : cut] != b"\n" and PLAIN[cut : cut + 1] != b"\n"
    ]
    folded = PLAIN
    for cut in sorted(inside, reverse=True):
        folded = folded[:cut] + b"\n" + (b"\t" if tab else b" ") + folded[cut:]
    assert events_of(read(folded)) == events_of(read(PLAIN))


@given(st.binary(max_size=300))
@example(b"BEGIN:VCALENDAR\nEND:VCALENDAR\nEND:VCALENDAR")
def test_any_bytes_are_read_or_unobserved(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = tmp_path_factory.mktemp("any") / "dee.ics"
    path.write_bytes(data)
    assert isinstance(pull(path), Pull | Unobserved)


CORPUS = [(CALENDARS / name).read_bytes() for name in ("plain.ics", "series.ics", "outlook.ics")]
PIECES = [
    b"",
    b":",
    b";",
    b"\n",
    b"\n ",
    b'"',
    b"\\",
    b"99999999",
    b"-1",
    b"T",
    b"Z",
    b"\xff",
    b"0000",
    b"/",
    b"=",
    b"P1D",
    b"\nRRULE:FREQ=DAILY\n",
]


@given(st.data())
def test_any_damage_to_a_calendar_is_survived(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    damaged = data.draw(st.sampled_from(CORPUS))
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(damaged)))
        length = data.draw(st.integers(0, 12))
        damaged = damaged[:start] + data.draw(st.sampled_from(PIECES)) + damaged[start + length :]
    path = tmp_path_factory.mktemp("damage") / "dee.ics"
    path.write_bytes(damaged)
    pulled = pull(path)
    assert isinstance(pulled, Pull | Unobserved)
    if isinstance(pulled, Pull):
        assert pulled.proves_absence is not bool(pulled.quarantined)
        assert all(one.span.starts_at <= one.span.ends_at for one in pulled.events)


@given(st.integers(0, len(PLAIN) - 1))
def test_a_calendar_cut_anywhere_proves_no_absence(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("cut") / "dee.ics"
    path.write_bytes(PLAIN[:cut])
    pulled = pull(path)
    assert isinstance(pulled, Unobserved) or cut == len(PLAIN) - 1  # only its last line end may be missing
