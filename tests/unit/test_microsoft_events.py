"""What a row of an Outlook calendar means, on payloads written by hand to Graph's own reference of events."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import (
    Absence,
    Agent,
    Attendee,
    AttendeeKind,
    Calendar,
    Event,
    EventKind,
    Response,
    Span,
    Status,
)
from reconciler.sources import Caps
from reconciler.sources import microsoft_events as m
from reconciler.sources.items import Item
from reconciler.sources.microsoft_events import WHOLE, Reading, Sort
from reconciler.sources.recurrence import TooMuchError

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads" / "microsoft"
EVERY_FIELD: dict[str, Any] = json.loads((PAYLOADS / "every_field.json").read_text())
ROWS: dict[str, dict[str, Any]] = json.loads((PAYLOADS / "rows.json").read_text())
SINGLE, SERIES, STUB, EXCEPTION = (ROWS[name] for name in ("single", "series", "stub", "exception"))
DAYS, DAY_STUB, INVITATION, REMOVED = (ROWS[name] for name in ("days", "a day's stub", "invitation", "removed"))

CID = Agent(email="cid@acme.example", aliases=("cidney@acme.example",))
READING = Reading(calendar=Calendar(source="microsoft", kind="microsoft", agent=CID))
ZOE = {"emailAddress": {"address": "zoe@client.example"}}
CLEAN = "040000008200E00074C5B7101A82E0080000000010C4E6C1F2A9DC01000000000000000010000000AA"


def at(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 3, day, hour, minute, tzinfo=UTC)


def when(written: str, zone: str | None = "UTC") -> dict[str, object]:
    return {"dateTime": written, "timeZone": zone}


def event(reading: Reading = READING, /, **fields: object) -> Event:
    return m.event_of({**SINGLE, **fields}, reading)


# ---- an event -------------------------------------------------------------------------------------------------------


def test_every_field_that_matters_is_read_and_all_others_are_harmless() -> None:
    assert m.event_of(EVERY_FIELD, READING) == Event(
        id="AAkALgAAAAAAHYQDEapmEc2byACqAC-EWg0AZlnW4RIAV06KYYwlrfNZvQAAKGWwbwAA",
        uid=EVERY_FIELD["iCalUId"],
        span=Span(datetime(2026, 11, 24, 15, tzinfo=UTC), datetime(2026, 11, 24, 16, 30, tzinfo=UTC)),
        title="Showing: 12 Oak Lane",
        location="12 Oak Lane, Springfield",
        organizer=CID.email,
        attendees=(
            Attendee("zoe@client.example", Response.TENTATIVE),
            Attendee("dee@acme.example"),
            Attendee("oakroom@acme.example", Response.DECLINED, AttendeeKind.RESOURCE),
        ),
        scheduler_key="acuity:123456",
        modified=datetime(2026, 11, 19, 16, 42, 22, tzinfo=UTC),
        etag='W/"ZlnW4RIAV06KYYwlrfNZvQAAKGWwbw=="',
    )


@pytest.mark.parametrize("name", WHOLE)
def test_what_a_row_was_sent_without_is_unknown_and_never_blank(name: str) -> None:
    short = {key: value for key, value in SINGLE.items() if key != name}
    assert m.is_whole(SINGLE)
    assert not m.is_whole(short)
    with pytest.raises(ValueError, match=f"it was sent without its {name}"):
        m.event_of(short, READING)


def test_what_is_empty_is_empty() -> None:
    blank = event(
        subject=None, location=None, body=None, iCalUId=None, organizer=None, attendees=None, sensitivity=None
    )
    assert (blank.title, blank.location, blank.uid, blank.attendees, blank.private) == ("", "", None, (), False)
    assert event(isOrganizer=False, organizer=None).organizer is None


@pytest.mark.parametrize("sensitivity", ["private", "confidential", "personal", "notYetInvented"])
def test_a_private_event_shows_neither_title_nor_place(sensitivity: str) -> None:
    private = event(sensitivity=sensitivity, subject="Doctor", location={"displayName": "Clinic"})
    assert (private.private, private.title, private.location) == (True, "", "")
    assert private.span == Span(at(9, 15), at(9, 16))


def test_a_meeting_is_cancelled_by_its_flag_and_never_by_its_subject() -> None:
    cancelled = m.event_of(INVITATION, READING)
    assert (cancelled.absence, cancelled.status) == (Absence.CANCELLED, Status.CONFIRMED)
    assert event(subject="Canceled: Closing").absence is None


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, EventKind.DEFAULT),
        ({"showAs": "free"}, EventKind.DEFAULT),
        ({"showAs": "notYetInvented"}, EventKind.DEFAULT),
        ({"showAs": "oof"}, EventKind.OUT_OF_OFFICE),
        ({"showAs": "workingElsewhere"}, EventKind.WORKING_LOCATION),
        ({"showAs": "oof", "attendees": [ZOE]}, EventKind.DEFAULT),  # away from the office, with a client
        ({"showAs": "workingElsewhere", "attendees": [ZOE]}, EventKind.DEFAULT),
        ({"isDraft": True, "attendees": [ZOE]}, EventKind.DRAFT),
        ({"isDraft": True, "showAs": "oof"}, EventKind.DRAFT),
    ],
)
def test_drafts_and_being_away_alone_are_no_appointments(fields: Mapping[str, object], kind: EventKind) -> None:
    assert event(**fields).kind is kind


def test_tentative_is_the_word_of_who_organizes_and_on_an_invitation_only_a_missing_answer() -> None:
    assert event(showAs="tentative").status is Status.TENTATIVE
    assert event(showAs="tentative", isOrganizer=False).status is Status.CONFIRMED
    assert event(showAs="tentative").busy
    assert not event(showAs="free").busy


def test_a_version_is_spelled_as_a_precondition_takes_it() -> None:
    assert event().etag == 'W/"s1"'
    assert event(**{"@odata.etag": None}).etag == 'W/"s1"'
    assert event(**{"@odata.etag": None, "changeKey": None}).etag == ""


def test_text_is_one_inert_line_of_bounded_size() -> None:
    assert event(subject="  Tea\r\n at \u202efour\x00 ").title == "Tea at four"
    long = event(subject="x" * 1_000_000, location={"displayName": "y" * 1_000_000})
    assert (len(long.title), len(long.location)) == (500, 500)


# ---- people ---------------------------------------------------------------------------------------------------------


def test_the_organizer_is_the_agent_only_where_graph_says_so() -> None:
    assert event(organizer={"emailAddress": {"address": "old.name@acme.example"}}).organizer == CID.email
    theirs = m.event_of(INVITATION, READING)
    assert (theirs.organizer, theirs.response) == ("eve@elsewhere.example", Response.ACCEPTED)
    assert event(isOrganizer=None, organizer=INVITATION["organizer"]).organizer == "eve@elsewhere.example"


@pytest.mark.parametrize(
    ("fields", "response"),
    [
        ({"responseStatus": {"response": "organizer"}}, None),
        ({"responseStatus": {"response": "none"}}, None),
        ({"responseStatus": {"response": "notResponded"}}, Response.NEEDS_ACTION),
        ({"responseStatus": {"response": "tentativelyAccepted"}}, Response.TENTATIVE),
        ({"responseStatus": {"response": "declined"}}, Response.DECLINED),
        ({"responseStatus": None, "isOrganizer": False}, None),
        (
            {
                "responseStatus": None,
                "isOrganizer": False,
                "attendees": [
                    {"emailAddress": {"address": "Cidney@acme.example"}, "status": {"response": "declined"}},
                ],
            },
            Response.DECLINED,
        ),
    ],
)
def test_the_owner_answers_by_the_rows_own_status_else_as_an_attendee(
    fields: Mapping[str, object], response: Response | None
) -> None:
    assert event(**fields).response is response


def test_attendees_are_told_once_and_those_without_an_address_are_left_out() -> None:
    given = [
        {"emailAddress": {"address": "Zoe@Client.example"}, "status": {"response": "accepted"}},
        {"emailAddress": {"name": "?"}},
        {},
        {"emailAddress": {"address": "/O=EXCHANGELABS/OU=EXCHANGE/CN=RECIPIENTS/CN=1"}},
        {"emailAddress": {"address": "zoe@client.example"}},
        {"emailAddress": {"address": "room@acme.example"}, "type": "resource"},
    ]
    assert event(attendees=given).attendees == (
        Attendee("zoe@client.example", Response.ACCEPTED),
        Attendee("room@acme.example", kind=AttendeeKind.RESOURCE),
    )


def test_hidden_attendees_are_omitted_for_all_but_the_organizer() -> None:
    assert event(hideAttendees=True, isOrganizer=False).attendees_omitted
    assert not event(hideAttendees=True).attendees_omitted
    assert not event(isOrganizer=False).attendees_omitted


# ---- booking tools --------------------------------------------------------------------------------------------------

BOOKED = "https://calendly.com/cancellations/6f1d2c3b-4a59-4e6f-8a7b-9c0d1e2f3a4b"
KEY = "calendly:6f1d2c3b-4a59-4e6f-8a7b-9c0d1e2f3a4b"


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"body": {"contentType": "text", "content": f"Cancel: {BOOKED}"}}, KEY),
        ({"body": {"contentType": "html", "content": f'<a href="{BOOKED}">Cancel</a>'}}, KEY),
        ({"location": {"displayName": BOOKED}}, KEY),
        ({"onlineMeetingUrl": BOOKED}, KEY),
        ({"onlineMeeting": {"joinUrl": BOOKED}}, KEY),
        ({"body": {"content": "x" * 10_000 + BOOKED}}, None),
        ({"subject": BOOKED}, None),
        ({"body": {"content": BOOKED}, "isOrganizer": False}, None),  # anybody may write that into an invitation
        ({"location": {"displayName": BOOKED}, "isOrganizer": False}, None),
    ],
)
def test_a_schedulers_key_is_read_where_only_the_tool_or_the_agent_can_write(
    fields: Mapping[str, object], key: str | None
) -> None:
    assert event(**fields).scheduler_key == key


# ---- times (case 21) ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "instant"),
    [
        (when("2026-03-08T07:30:00.0000000"), at(8, 7, 30)),
        (when("2026-03-08T07:30:00.0000000", "Eastern Standard Time"), at(8, 11, 30)),  # after the clock sprang forward
        (when("2026-03-08T01:30:00.0000000", "Eastern Standard Time"), at(8, 6, 30)),
        (when("2026-03-08T07:30:00.0000000", "America/New_York"), at(8, 11, 30)),
        (when("2026-03-08T07:30:00.9999999", "tzone://Microsoft/Utc"), at(8, 7, 30)),
        (when("2026-03-08T07:30:00.0000000", None), at(8, 7, 30)),
        (when("2026-03-08T07:30:00Z", "Eastern Standard Time"), at(8, 7, 30)),  # an offset counts
    ],
)
def test_an_instant_is_what_its_zone_says_under_any_name(start: object, instant: datetime) -> None:
    assert event(start=start).span.start == instant


@pytest.mark.parametrize("zone", ["UTC", "Pacific Standard Time", "Tonga Standard Time", "tzone://Microsoft/Custom"])
def test_a_whole_day_is_that_day_wherever_the_agent_is(zone: str) -> None:
    start, end = when("2026-07-01T00:00:00.0000000", zone), when("2026-07-02T00:00:00.0000000", zone)
    assert event(isAllDay=True, start=start, end=end).span == Span(date(2026, 7, 1), date(2026, 7, 2))
    assert event(isAllDay=True, start=start, end=start).span == Span(date(2026, 7, 1), date(2026, 7, 2))


NONSENSE: list[tuple[dict[str, object], str]] = [
    ({"id": None}, "it has no id"),
    ({"id": 7}, "its id is no text"),
    ({"id": "a/20260309T150000Z"}, "its id is none"),  # or it would pass for an occurrence
    ({"id": "a\nb"}, "its id is none"),
    ({"id": "a" * 1_025}, "its id is none"),
    ({"type": None}, "it is of no type that is known"),
    ({"type": "x" * 1_000}, "it is of no type that is known"),
    ({"@removed": {"reason": "deleted"}}, "it was removed"),
    ({"type": "seriesMaster"}, "it describes a series, whose occurrences are its events"),
    ({"type": "occurrence"}, "it does not say which series it belongs to"),
    ({"type": "exception", "seriesMasterId": "m"}, "it does not say which occurrence of its series it is"),
    ({"type": "exception", "seriesMasterId": "m/1"}, "its seriesMasterId is none"),
    ({"@odata.etag": 'W/"1"\r\nX-Injected: 1'}, "its @odata.etag is none"),
    ({"changeKey": "1\r\n"}, "its changeKey is none"),
    ({"start": None}, "it has no start"),
    ({"start": "2026-03-09"}, "its start can't be read"),
    ({"start": {"dateTime": 1}}, "its dateTime is no text"),
    ({"start": when("2026-03-09")}, "it has a time that can't be read: '2026-03-09'"),
    ({"start": when("2026-02-30T00:00:00.0000000")}, "it has a time that does not exist"),
    ({"start": when("2026-03-09T15:00:00.0000000", "tzone://Microsoft/Custom")},
     "its time zone 'tzone://Microsoft/Custom' is not known"),
    ({"start": when("2026-03-09T15:00:00.0000000", "No/Where")}, "its time zone 'No/Where' is not known"),
    ({"start": when("0001-01-01T00:00:00.0000000Z", "tzone://Microsoft/Utc")},
     "it has a time outside of the years 2 to 9998"),
    ({"end": when("9999-12-31T23:59:59.9999999")}, "it has a time outside of the years 2 to 9998"),
    ({"isAllDay": True, "end": when("9999-12-31T23:59:59.9999999")}, "it has a time outside of the years 2 to 9998"),
    ({"isAllDay": True, "start": when("2026-03-09xyz")}, "it has a time that can't be read: '2026-03-09xyz'"),
    ({"end": when("2026-03-09T14:59:59.0000000")}, "it ends before it starts"),
    ({"lastModifiedDateTime": "yesterday"}, "it has a time that can't be read: 'yesterday'"),
    ({"subject": ["x"]}, "its subject is no text"),
    ({"isAllDay": "true"}, "its isAllDay is neither true nor false"),
    ({"isCancelled": 1}, "its isCancelled is neither true nor false"),
    ({"sensitivity": True}, "its sensitivity is no text"),
    ({"isOrganizer": False, "organizer": "eve@elsewhere.example"}, "its organizer can't be read"),
    ({"attendees": {}}, "its attendees is no list"),
    ({"attendees": ["x"]}, "its list of attendees can't be read"),
    ({"attendees": [{"emailAddress": {"address": 1}}]}, "its address is no text"),
    ({"attendees": [ZOE] * 501}, "it has more than 500 attendees"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "why"), NONSENSE)
def test_what_makes_no_sense_is_refused_with_a_clause_for_people(fields: Mapping[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=r"^it") as refused:
        event(**fields)
    assert str(refused.value) == why


# ---- sorts and names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sort", "series", "called"),
    [
        ("single", Sort.SINGLE, None, "e1"),
        ("removed", Sort.REMOVED, None, "e1"),
        ("series", Sort.SERIES, "m", "m"),
        ("stub", Sort.OCCURRENCE, "m", "m/20260309T150000Z"),
        ("exception", Sort.EXCEPTION, "m", "m/20260309T150000Z"),
        ("invitation", Sort.SINGLE, None, "i1"),
    ],
)
def test_rows_are_told_apart_and_named_as_the_mirror_names_them(
    name: str, sort: Sort, series: str | None, called: str
) -> None:
    assert (m.sort_of(ROWS[name]), m.series_of(ROWS[name]), m.name_of(ROWS[name])) == (sort, series, called)


def test_a_stub_of_whole_days_is_named_by_its_day_once_its_series_is_known() -> None:
    assert m.name_of(DAY_STUB, DAYS) == "d/20260309"


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"id": "o3", "type": "exception", "seriesMasterId": "m"}, "m"),  # nobody knows which occurrence
        ({"id": "o3", "type": "occurrence", "seriesMasterId": 7}, "o3"),
        ({"id": "e1"}, "e1"),
        ({"id": 7}, ""),
        ({}, ""),
        (None, ""),
        ([], ""),
    ],
)
def test_an_unreadable_row_is_named_as_far_as_it_can_be(item: object, name: str) -> None:
    assert m.name_of(item) == name


def test_ids_that_differ_by_case_are_two() -> None:
    assert m.id_of({"id": "AAk-b"}) != m.id_of({"id": "AAk-B"})


# ---- series ---------------------------------------------------------------------------------------------------------


def test_an_occurrence_is_its_series_at_its_own_time() -> None:
    found = m.event_of(m.hydrated(STUB, SERIES), READING, SERIES)
    assert found == Event(
        id="m/20260309T150000Z",
        uid=CLEAN,
        span=Span(at(9, 15), at(9, 16)),
        series="m",
        original_start=at(9, 15),
        title="Weekly call",
        location="Phone",
        organizer=CID.email,
        attendees=(Attendee("zoe@client.example", Response.ACCEPTED),),
        modified=datetime(2026, 3, 1, 9, tzinfo=UTC),
        etag='W/"o3"',
    )


def test_a_bare_stub_is_never_an_event() -> None:
    assert not m.is_whole(STUB)
    with pytest.raises(ValueError, match="it was sent without its subject"):
        m.event_of(STUB, READING, SERIES)


@pytest.mark.parametrize(
    ("stub", "master"),
    [(STUB, {**SERIES, "id": "M"}), (STUB, DAYS), (STUB, SINGLE), (STUB, REMOVED), (SINGLE, SERIES), (STUB, STUB)],
)
def test_details_come_from_no_other_series(stub: Item, master: Item) -> None:
    with pytest.raises(ValueError, match="it"):
        m.hydrated(stub, master)


def test_what_a_series_lacks_its_occurrences_lack_too() -> None:
    short = {name: value for name, value in SERIES.items() if name != "sensitivity"}
    with pytest.raises(ValueError, match="it was sent without its sensitivity"):
        m.event_of(m.hydrated(STUB, short), READING, short)


def test_an_exception_is_known_by_the_start_its_series_gave_it_wherever_it_is_now() -> None:
    moved = m.event_of(EXCEPTION, READING, SERIES)
    assert (moved.id, moved.series, moved.original_start) == ("m/20260309T150000Z", "m", at(9, 15))
    assert moved.span == Span(at(9, 17), at(9, 18))
    assert moved.id == m.event_of(m.hydrated(STUB, SERIES), READING, SERIES).id


def test_an_occurrence_has_the_uid_of_its_series_even_where_exchange_wrote_its_day_into_it() -> None:
    assert m.event_of(EXCEPTION, READING, SERIES).uid == CLEAN
    assert m.event_of(EXCEPTION, READING).uid == CLEAN
    assert m.event_of({**EXCEPTION, "iCalUId": "own@uid"}, READING, SERIES).uid == CLEAN
    assert m.event_of({**EXCEPTION, "iCalUId": "own@uid"}, READING, {**SERIES, "iCalUId": None}).uid == "own@uid"
    alone = {**SINGLE, "iCalUId": EXCEPTION["iCalUId"]}  # invited to this occurrence alone: it is no series here
    assert m.event_of(alone, READING).uid == EXCEPTION["iCalUId"]


def test_an_occurrence_of_whole_days_is_named_by_its_day() -> None:
    found = m.event_of(m.hydrated(DAY_STUB, DAYS), READING, DAYS)
    assert (found.id, found.original_start) == ("d/20260309", date(2026, 3, 9))
    assert found.span == Span(date(2026, 3, 9), date(2026, 3, 10))


@pytest.mark.parametrize(
    ("original", "zone"),
    [
        ("2026-03-09T00:00:00Z", "UTC"),
        ("2026-03-09T00:00:00Z", "Pacific Standard Time"),
        ("2026-03-09T07:00:00Z", "Pacific Standard Time"),
        ("2026-03-09T07:00:00Z", None),
        ("2026-03-08T22:00:00Z", "tzone://Microsoft/Custom"),
        ("2026-03-08T11:00:00Z", "New Zealand Standard Time"),
    ],
)
def test_an_occurrence_of_whole_days_that_got_an_hour_keeps_the_name_of_its_day(
    original: str, zone: str | None
) -> None:
    item = {**EXCEPTION, "seriesMasterId": "d", "originalStart": original, "originalStartTimeZone": zone}
    found = m.event_of(item, READING, DAYS)
    assert (found.id, found.original_start, found.span.start) == ("d/20260309", date(2026, 3, 9), at(9, 17))


# ---- rows that come twice -------------------------------------------------------------------------------------------

OLD = {**SINGLE, "lastModifiedDateTime": "2026-03-01T10:00:00.1000000Z", "subject": "old"}
NEW = {**SINGLE, "lastModifiedDateTime": "2026-03-01T10:00:00.1000001Z", "subject": "new"}


def test_the_last_change_counts_in_either_order() -> None:
    assert m.newest(OLD, NEW) is NEW
    assert m.newest(NEW, OLD) is NEW


@pytest.mark.parametrize("stamp", ["2026-03-01T10:00:00Z", None, "yesterday", 7])
def test_without_a_later_change_the_later_row_counts(stamp: object) -> None:
    one, other = {**OLD, "lastModifiedDateTime": stamp}, {**NEW, "lastModifiedDateTime": stamp}
    assert m.newest(one, other) is other
    assert m.newest(NEW, STUB) is STUB


def test_a_removal_beside_a_row_is_no_answer() -> None:
    assert m.newest(REMOVED, NEW) is None
    assert m.newest(NEW, REMOVED) is None
    assert m.newest(REMOVED, dict(REMOVED)) == REMOVED


# ---- hostile input --------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
WRITTEN = st.sampled_from(
    [
        "2026-03-09T15:00:00.0000000", "0001-01-01T00:00:00.0000000Z", "9999-12-31T23:59:59.9999999",
        "0002-01-01T00:00:00+14:00", "9998-12-31T23:59:59-23:59", "2026-02-30T00:00:00", "9998-12-31T23:59:59",
    ]
)  # fmt: skip
WHENS = st.fixed_dictionaries(
    {},
    optional={
        "dateTime": WRITTEN | VALUES,
        "timeZone": st.sampled_from(["UTC", "Eastern Standard Time", "tzone://Microsoft/Custom", ""]) | VALUES,
    },
)
PEOPLE = st.dictionaries(st.sampled_from(["emailAddress", "status", "type", "address", "response"]), VALUES)
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(EVERY_FIELD, VALUES),
        "id": st.sampled_from(["m", "e1"]) | VALUES,
        "type": st.sampled_from(["singleInstance", "occurrence", "exception", "seriesMaster"]) | VALUES,
        "seriesMasterId": st.just("m") | VALUES,
        "start": WHENS | VALUES,
        "end": WHENS | VALUES,
        "originalStart": WRITTEN | VALUES,
        "isAllDay": st.booleans() | VALUES,
        "attendees": st.lists(PEOPLE, max_size=3) | VALUES,
        "organizer": PEOPLE | VALUES,
        "@removed": VALUES,
    },
)
WRONG = st.dictionaries(st.sampled_from(sorted(EVERY_FIELD)), VALUES | WHENS | WRITTEN | PEOPLE, max_size=3)


def refusal(ask: Callable[[], object]) -> str | None:
    """Return why something was refused, None if it was not; anything but a `ValueError` goes through."""
    try:
        ask()
    except ValueError as error:
        return str(error)
    return None


def asked(item: Item) -> list[Callable[[], object]]:
    """Return all that can be asked of a row."""
    return [
        lambda: m.event_of(item, READING),
        lambda: m.event_of(item, READING, SERIES),
        lambda: m.event_of(EXCEPTION, READING, item),
        lambda: m.event_of(m.hydrated(item, SERIES), READING, SERIES),
        lambda: m.event_of(m.hydrated(STUB, item), READING, item),
        lambda: m.series_of(item),
        lambda: m.etag_of(item),
    ]


@given(item=ITEMS)
def test_whatever_a_row_is_it_is_read_or_refused_with_a_reason(item: dict[str, object]) -> None:
    assert isinstance(m.name_of(item), str)
    assert m.newest(item, NEW) in (item, NEW, None)
    assert "" not in {refusal(ask) for ask in asked(item)}


@given(wrong=WRONG, base=st.sampled_from([EVERY_FIELD, SERIES, EXCEPTION]))
def test_a_row_with_one_wrong_value_is_read_or_refused_with_a_reason(
    wrong: dict[str, object], base: dict[str, Any]
) -> None:
    assert "" not in {refusal(ask) for ask in asked({**base, **wrong})}


@given(extra=st.dictionaries(st.text(min_size=1).map(lambda name: f"x{name}"), VALUES, max_size=5))
def test_properties_that_nobody_knows_change_nothing(extra: dict[str, object]) -> None:
    assert m.event_of({**EVERY_FIELD, **extra}, READING) == m.event_of(EVERY_FIELD, READING)


@given(
    start=st.datetimes(datetime(2000, 1, 1), datetime(2100, 1, 1)),  # noqa: DTZ001 - Graph's are local times
    zone=st.sampled_from(["UTC", "Eastern Standard Time", "Asia/Tokyo", "Lord Howe Standard Time"]),
    days=st.booleans(),
)
def test_no_event_ends_before_it_starts(start: datetime, zone: str, *, days: bool) -> None:
    written, later = (when(f"{one:%Y-%m-%dT%H:%M:%S}.0000000", zone) for one in (start, start + timedelta(minutes=30)))
    span = event(start=written, end=later, isAllDay=days).span
    assert (span.start <= span.end, span.all_day) == (True, days)


def test_bounds_are_those_of_all_sources() -> None:
    tight = replace(READING, caps=Caps(attendees=1, text=5))
    with pytest.raises(TooMuchError):
        event(tight, attendees=[ZOE, ZOE])
    assert event(tight, subject="0123456789").title == "01234"
