"""What an item of a Google calendar means, on payloads written by hand to the API's own discovery document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from googleapiclient.discovery_cache import get_static_doc
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
    Tombstone,
    Window,
)
from reconciler.sources import Caps
from reconciler.sources import google_events as g
from reconciler.sources.google_events import Reading, Series, Sort
from reconciler.sources.items import Item
from reconciler.sources.recurrence import DATES, Budget, Moment, TooMuchError
from reconciler.sources.zones import find

PAYLOADS = Path(__file__).resolve().parents[1] / "payloads" / "google"


def payload(name: str) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((PAYLOADS / f"{name}.json").read_text())
    return read


EVERY_FIELD, TYPES, SHAPES = payload("every_field"), payload("types"), payload("shapes")
ANN = Agent(email="ann@acme.example", aliases=("annie@acme.example",))
CALENDAR = Calendar(source="google", kind="google", agent=ANN)
READING = Reading(calendar=CALENDAR, zone="America/Chicago")
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)
MARCH = Window(datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
NINE = {"dateTime": "2026-11-24T09:00:00-06:00"}
TEN = {"dateTime": "2026-11-24T10:00:00-06:00"}
PLAIN: Item = {"id": "e1", "start": NINE, "end": TEN}


def at(day: int, hour: int, month: int = 3) -> datetime:
    return datetime(2026, month, day, hour, tzinfo=UTC)


def event(reading: Reading = READING, /, **fields: object) -> Event:
    return g.event_of({**PLAIN, **fields}, reading)


def budget() -> Budget:
    return Budget(steps=100_000)


# ---- the payloads are Google's --------------------------------------------------------------------------------------

DOCUMENT: Mapping[str, Any] = json.loads(get_static_doc("calendar", "v3"))["schemas"]
JSON_TYPES = {"string": str, "boolean": bool, "integer": int, "array": list, "object": dict, "any": object}


def gaps(schema: Mapping[str, Any], value: object, path: str) -> Iterator[str]:
    """Yield where a payload lacks what the schema describes, or has another type or another name there."""
    schema = DOCUMENT[schema["$ref"]] if "$ref" in schema else schema
    if value is None:
        return
    if not isinstance(value, JSON_TYPES[schema["type"]]):
        yield f"{path} is no {schema['type']}"
    elif isinstance(value, list):
        for number, entry in enumerate(value):
            yield from gaps(schema["items"], entry, f"{path}[{number}]")
    elif isinstance(value, dict) and "properties" in schema:
        for name in value.keys() - schema["properties"].keys():
            yield f"{path}.{name} is not Google's"
        for name, described in schema["properties"].items():
            yield from (
                gaps(described, value[name], f"{path}.{name}") if name in value else [f"{path}.{name} is missing"]
            )


def test_one_payload_has_every_field_that_an_event_can_have_and_no_other() -> None:
    missing = [gap for gap in gaps({"$ref": "Event"}, EVERY_FIELD, "event") if not gap.startswith("event.attendees[")]
    assert missing == []
    attendees = {gap.partition("].")[2] for gap in gaps({"$ref": "Event"}, EVERY_FIELD, "event")}
    rich = [gaps({"$ref": "EventAttendee"}, one, "") for one in EVERY_FIELD["attendees"]]
    assert min(len(list(found)) for found in rich) == 0
    assert all(gap.endswith("is missing") for gap in attendees)


@pytest.mark.parametrize("name", [*TYPES, *SHAPES])
def test_all_other_payloads_are_spelled_as_google_spells_them(name: str) -> None:
    found = list(gaps({"$ref": "Event"}, {**TYPES, **SHAPES}[name], name))
    assert [gap for gap in found if not gap.endswith("is missing")] == []


# ---- an event -------------------------------------------------------------------------------------------------------


def test_every_field_that_matters_is_read_and_all_others_are_harmless() -> None:
    assert g.event_of(EVERY_FIELD, READING) == Event(
        id="4f2q0d8k3v1m6n7p",
        uid="4f2q0d8k3v1m6n7p@google.com",
        span=Span(datetime(2026, 11, 24, 15, tzinfo=UTC), datetime(2026, 11, 24, 16, 30, tzinfo=UTC)),
        title="Showing: 12 Oak Lane",
        location="12 Oak Lane, Springfield",
        organizer="ann@acme.example",
        attendees=(
            Attendee("ann@acme.example", Response.ACCEPTED),
            Attendee("zoe@client.example", Response.TENTATIVE),
            Attendee("c_oakroom@resource.calendar.google.com", Response.DECLINED, AttendeeKind.RESOURCE),
        ),
        response=Response.ACCEPTED,
        scheduler_key="acuity:123456",
        modified=datetime(2026, 11, 19, 16, 42, 22, tzinfo=UTC),
        etag='"3401864245358000"',
        claimed="17",
    )


def test_what_is_left_out_has_its_default() -> None:
    assert event() == Event(id="e1", uid=None, span=Span(at(24, 15, 11), at(24, 16, 11)))
    spelled = {
        "status": "confirmed",
        "visibility": "default",
        "transparency": "opaque",
        "eventType": "default",
        "attendeesOmitted": False,
        "attendees": [],
        "recurrence": [],
        "extendedProperties": {},
    }
    assert event(**spelled) == event(**dict.fromkeys(spelled)) == event()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("absent", EventKind.DEFAULT),
        ("default", EventKind.DEFAULT),
        ("outOfOffice", EventKind.OUT_OF_OFFICE),
        ("focusTime", EventKind.FOCUS_TIME),
        ("workingLocation", EventKind.WORKING_LOCATION),
        ("birthday", EventKind.BIRTHDAY),
        ("fromGmail", EventKind.OTHER),
        ("notYetInvented", EventKind.OTHER),
    ],
)
def test_only_the_default_type_is_an_appointment(name: str, kind: EventKind) -> None:
    assert g.event_of(TYPES[name], READING).kind is kind


@pytest.mark.parametrize("visibility", ["private", "confidential", "notYetInvented"])
def test_a_private_event_shows_neither_title_nor_place(visibility: str) -> None:
    private = event(visibility=visibility, summary="Doctor", location="Clinic")
    assert (private.private, private.title, private.location) == (True, "", "")
    shown = event(visibility="public", summary="Doctor", location="Clinic")
    assert (shown.private, shown.title, shown.location) == (False, "Doctor", "Clinic")


def test_a_private_event_that_a_reader_sees_is_its_time_alone() -> None:
    private = g.event_of(SHAPES["private, for a reader"], READING)
    assert (private.private, private.span) == (True, Span(at(24, 15, 11), at(24, 16, 11)))
    assert (private.uid, private.organizer, private.attendees) == (None, None, ())


def test_omitted_attendees_are_said_to_be() -> None:
    crowd = g.event_of(SHAPES["attendees omitted"], READING)
    assert (crowd.attendees_omitted, crowd.attendees) == (True, (Attendee(ANN.email),))
    assert crowd.response is Response.NEEDS_ACTION


def test_status_and_transparency_are_read() -> None:
    assert event(status="tentative").status is Status.TENTATIVE
    assert event(status="confirmed").status is Status.CONFIRMED
    assert not event(transparency="transparent").busy


def test_text_is_one_inert_line_of_bounded_size() -> None:
    assert event(summary="  Tea\r\n at \u202efour\x00 ").title == "Tea at four"
    assert len(event(summary="x" * 1_000_000, location="y" * 1_000_000).title) == 500


def test_a_uid_is_kept_and_a_long_one_is_named_by_its_digest() -> None:
    assert event(iCalUID="a@b").uid == "a@b"
    assert event(iCalUID="").uid is None
    long, other = event(iCalUID="x" * 100_000).uid, event(iCalUID="x" * 100_001).uid
    assert long is not None
    assert (long.startswith("sha256:"), len(long), long == other) == (True, 71, False)


# ---- people ---------------------------------------------------------------------------------------------------------


def test_the_organizer_is_the_calendar_itself_where_google_says_so() -> None:
    assert event(organizer={"self": True, "email": "old.name@acme.example"}).organizer == ANN.email
    assert event(organizer={"self": True}).organizer == ANN.email
    assert event(organizer={"email": "BOB@acme.example"}).organizer == "bob@acme.example"
    assert event(organizer={"displayName": "?"}).organizer is None
    assert event().organizer is None


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("primary", ANN.email),
        (ANN.email, ANN.email),
        ("Team_1@group.calendar.google.com", "team_1@group.calendar.google.com"),
    ],
)
def test_a_second_calendar_organizes_as_itself(name: str, address: str) -> None:
    reading = Reading(calendar=replace(CALENDAR, name=name))
    assert event(reading, organizer={"self": True}).organizer == address


@pytest.mark.parametrize(
    ("attendees", "response"),
    [
        ([{"email": "x@y.example", "self": True, "responseStatus": "declined"}], Response.DECLINED),
        ([{"self": True, "responseStatus": "tentative"}], Response.TENTATIVE),
        ([{"email": "Annie@acme.example", "responseStatus": "accepted"}], Response.ACCEPTED),
        ([{"email": ANN.email}], Response.NEEDS_ACTION),
        ([{"email": ANN.email, "responseStatus": "notYetInvented"}], Response.NEEDS_ACTION),
        ([{"email": "bob@acme.example", "responseStatus": "accepted"}], None),
        ([], None),
    ],
)
def test_the_calendars_owner_answers_under_any_address(attendees: list[object], response: Response | None) -> None:
    assert event(attendees=attendees).response is response


def test_attendees_are_told_once_by_lower_case_addresses_and_those_without_one_are_left_out() -> None:
    given = [{"email": "Zoe@Client.example"}, {"displayName": "?"}, {"email": "zoe@client.example"}, {"email": "none"}]
    assert event(attendees=given).attendees == (Attendee("zoe@client.example"),)


# ---- booking tools --------------------------------------------------------------------------------------------------

BOOKED = "https://calendly.com/cancellations/6f1d2c3b-4a59-4e6f-8a7b-9c0d1e2f3a4b"
KEY = "calendly:6f1d2c3b-4a59-4e6f-8a7b-9c0d1e2f3a4b"
MINE, HERS = {"self": True}, {"email": "zoe@client.example"}


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({"extendedProperties": {"private": {"a": "b", "link": BOOKED}}, "organizer": HERS}, KEY),
        ({"extendedProperties": {"shared": {"link": BOOKED}}, "organizer": HERS}, None),
        ({"description": f"Cancel: {BOOKED}", "organizer": MINE}, KEY),
        ({"location": BOOKED, "organizer": {"email": "annie@acme.example"}}, KEY),
        ({"source": {"url": BOOKED, "title": "Calendly"}, "organizer": MINE}, KEY),
        ({"description": f"Cancel: {BOOKED}", "organizer": HERS}, None),  # anybody may write that into an invitation
        ({"location": BOOKED, "source": {"url": BOOKED}, "organizer": HERS}, None),
        ({"description": BOOKED}, None),
        ({"description": "x" * 10_000 + BOOKED, "organizer": MINE}, None),
    ],
)
def test_a_schedulers_key_is_read_where_only_the_tool_or_the_agent_can_write(
    fields: Mapping[str, object], key: str | None
) -> None:
    assert event(**fields).scheduler_key == key


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zone", ["Pacific/Honolulu", "Pacific/Auckland"])
def test_a_whole_day_is_that_day_in_honolulu_and_in_auckland(zone: str) -> None:
    whole = g.event_of(SHAPES["whole day"], replace(READING, zone=zone))
    assert whole.span == Span(date(2026, 3, 20), date(2026, 3, 21))


@pytest.mark.parametrize(
    ("start", "instant"),
    [
        ({"dateTime": "2026-11-24T09:00:00-06:00", "timeZone": "Asia/Tokyo"}, at(24, 15, 11)),  # the offset counts
        ({"dateTime": "2026-11-24T15:00:00Z"}, at(24, 15, 11)),
        ({"dateTime": "2026-11-24t15:00:00.999z"}, at(24, 15, 11)),
        ({"dateTime": "2026-11-24T09:00:00", "timeZone": "America/Chicago"}, at(24, 15, 11)),
        ({"dateTime": "2026-11-24T09:00:00"}, at(24, 15, 11)),
        ({"dateTime": "2026-11-24T15:00:00Z", "timeZone": "No/Where"}, at(24, 15, 11)),
        ({"dateTime": "2026-11-24T15:00:60Z"}, at(24, 15, 11) + timedelta(seconds=59)),
    ],
)
def test_an_instant_is_what_its_offset_says_in_whole_seconds(start: object, instant: datetime) -> None:
    assert event(start=start, end={"dateTime": "2026-11-25T09:00:00-06:00"}).span.start == instant


def test_an_end_that_is_not_given_is_no_time_at_all_or_a_day() -> None:
    assert event(end=None, endTimeUnspecified=True).span == Span(at(24, 15, 11), at(24, 15, 11))
    assert event(end={}).span == Span(at(24, 15, 11), at(24, 15, 11))
    day = {"date": "2026-03-20"}
    assert (
        event(start=day, end=None).span == event(start=day, end=day).span == Span(date(2026, 3, 20), date(2026, 3, 21))
    )


def test_the_time_of_the_last_change_has_whole_seconds() -> None:
    assert event(updated="2026-11-19T16:42:22.679Z").modified == datetime(2026, 11, 19, 16, 42, 22, tzinfo=UTC)
    assert event().modified is None


NONSENSE: list[tuple[dict[str, object], str]] = [
    ({"id": None}, "it has no id"),
    ({"id": ""}, "it has no id"),
    ({"id": 7}, "its id is no text"),
    ({"id": "a/20260309"}, "its id is none"),  # or it would pass for an occurrence
    ({"id": "a\nb"}, "its id is none"),
    ({"id": "a" * 1_025}, "its id is none"),
    ({"etag": '"1"\r\nX-Injected: 1'}, "its etag is none"),
    ({"start": None}, "it has no start"),
    ({"start": {}}, "it has no start"),
    ({"start": "2026-11-24"}, "its start can't be read"),
    ({"start": {"date": "2026-02-30"}}, "it has a time that does not exist"),
    ({"start": {"date": "2026-11-24T09:00:00Z"}}, "it has a day that can't be read: '2026-11-24T09:00:00Z'"),
    ({"start": {"date": "0001-01-01"}, "end": None}, "it has a time outside of the years 2 to 9998"),
    ({"start": {"dateTime": "9999-12-31T23:59:59Z"}}, "it has a time outside of the years 2 to 9998"),
    ({"start": {"dateTime": "2026-11-24"}}, "it has a time that can't be read: '2026-11-24'"),
    ({"start": {"dateTime": "2026-11-24T24:00:00Z"}}, "it has a time that does not exist"),
    ({"start": {"dateTime": "2026-11-24T09:00:00+99:00"}}, "it has a time that does not exist"),
    ({"start": {"dateTime": "2026-11-24T09:00:00", "timeZone": "No/Where"}}, "its time zone 'No/Where' is not known"),
    ({"start": {"dateTime": 1}}, "its dateTime is no text"),
    ({"start": {**NINE, "date": "2026-11-24"}}, "it is both on a day and at a time"),
    ({"end": {"date": "2026-11-25"}}, "it begins with a day and ends at a time, or the other way round"),
    ({"end": {"dateTime": "2026-11-24T08:59:59-06:00"}}, "it ends before it starts"),
    ({"updated": "yesterday"}, "it has a time that can't be read: 'yesterday'"),
    ({"updated": "2026-11-24T09:00:00"}, "it has a time without an offset"),
    ({"summary": ["x"]}, "its summary is no text"),
    ({"location": {"x": 1}}, "its location is no text"),
    ({"visibility": True}, "its visibility is no text"),
    ({"organizer": "ann@acme.example"}, "its organizer can't be read"),
    ({"organizer": {"self": "yes"}}, "its self is neither true nor false"),
    ({"attendees": {"email": "x"}}, "its attendees is no list"),
    ({"attendees": ["x"]}, "its list of attendees can't be read"),
    ({"attendees": [{"email": 1}]}, "its email is no text"),
    ({"attendees": [{"email": "a@b.example"}] * 501}, "it has more than 500 attendees"),
    ({"attendeesOmitted": 1}, "its attendeesOmitted is neither true nor false"),
    ({"extendedProperties": {"private": {"x": 1}}}, "its x is no text"),
    ({"recurrence": "RRULE:FREQ=DAILY"}, "its recurrence is no list"),
    ({"recurringEventId": "m"}, "it does not say which occurrence of its series it is"),
    ({"recurringEventId": "m/1", "originalStartTime": NINE}, "its recurringEventId is none"),
    ({"status": "cancelled"}, "it is cancelled"),
]


@pytest.mark.parametrize(("fields", "why"), NONSENSE)
def test_what_makes_no_sense_is_refused_with_a_clause_for_people(fields: Mapping[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=r"^it") as refused:
        event(**fields)
    assert str(refused.value) == why


def test_a_time_without_an_offset_or_any_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="it has a time without an offset"):
        event(replace(READING, zone=None), start={"dateTime": "2026-11-24T09:00:00"})


def test_what_is_refused_is_quoted_bounded_and_inert() -> None:
    with pytest.raises(ValueError, match="can't be read") as refused:
        event(start={"date": "\x1b[31m" + "9" * 100_000})
    assert len(str(refused.value)) < 100
    assert str(refused.value).isprintable()


# ---- sorts, names and tombstones ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "sort", "called"),
    [
        ("whole day", Sort.SINGLE, "day1"),
        ("weekly", Sort.SERIES, "m"),
        ("moved", Sort.EXCEPTION, "m/20260309T150000Z"),
        ("cancelled exception", Sort.EXCEPTION, "m/20260309T150000Z"),
        ("cancelled exception of whole days", Sort.EXCEPTION, "d/20260309"),
        ("tombstone", Sort.SINGLE, "e1"),
    ],
)
def test_items_are_told_apart_and_named_as_the_mirror_names_them(name: str, sort: Sort, called: str) -> None:
    assert (g.sort_of(SHAPES[name]), g.name_of(SHAPES[name])) == (sort, called)


@pytest.mark.parametrize(
    ("item", "name"),
    [
        ({"id": "m_1", "recurringEventId": "m"}, "m"),  # the whole series: nobody knows which occurrence
        ({"id": "m_1", "recurringEventId": 7}, "m_1"),
        ({"id": 7}, ""),
        ({}, ""),
        (None, ""),
        ([], ""),
        ("e1", ""),
    ],
)
def test_an_unreadable_item_is_named_as_far_as_it_can_be(item: object, name: str) -> None:
    assert g.name_of(item) == name


def test_a_tombstone_needs_an_id_and_nothing_else() -> None:
    assert g.is_cancelled(SHAPES["tombstone"])
    assert g.tombstone_of(SHAPES["tombstone"]) == Tombstone("e1", Absence.CANCELLED)
    at_last = datetime(2026, 11, 19, 16, 42, 22, tzinfo=UTC)
    assert g.tombstone_of(SHAPES["tombstone with details"]) == Tombstone("e2", Absence.CANCELLED, at_last)
    with pytest.raises(ValueError, match="it has no id"):
        g.tombstone_of({"status": "cancelled"})


def test_an_exception_is_known_by_the_start_its_series_gave_it_wherever_it_is_now() -> None:
    moved = g.event_of(SHAPES["moved"], READING)
    assert (moved.id, moved.series, moved.original_start) == ("m/20260309T150000Z", "m", at(9, 15))
    assert moved.span == Span(at(10, 16), at(10, 17))
    assert g.exception_of(SHAPES["cancelled exception"]) == ("m", at(9, 15))
    assert g.exception_of(SHAPES["cancelled exception of whole days"]) == ("d", date(2026, 3, 9))


# ---- what an answer leaves out --------------------------------------------------------------------------------------


def test_time_alone_means_that_details_are_withheld_unless_somebody_marked_it_private() -> None:
    assert g.details_withheld(SHAPES["free/busy only"], "reader")
    assert g.details_withheld({**SHAPES["free/busy only"], "visibility": "default"}, "writer")
    assert not g.details_withheld(SHAPES["private, for a reader"], "reader")
    assert g.details_withheld(SHAPES["private, for a reader"], "freeBusyReader")
    for detail, value in [("summary", "x"), ("iCalUID", "x"), ("creator", {"email": "x"}), ("attendees", [{}])]:
        assert not g.details_withheld({**SHAPES["free/busy only"], detail: value}, "reader")


@pytest.mark.parametrize("name", ["tombstone", "cancelled exception"])
def test_a_tombstone_withholds_nothing(name: str) -> None:
    assert not g.details_withheld(SHAPES[name], "owner")


@pytest.mark.parametrize(
    ("before", "now", "dropped"),
    [
        (None, "reader", False),
        (None, "freeBusyReader", True),
        ("freeBusyReader", "freeBusyReader", True),
        ("owner", "owner", False),
        ("owner", "writer", True),
        ("writer", "writerWithoutPrivateAccess", True),
        ("writerWithoutPrivateAccess", "reader", True),
        ("reader", "freeBusyReader", True),
        ("reader", "owner", False),
        ("owner", "notYetInvented", True),
        ("notYetInvented", "notYetInvented", False),
        ("notYetInvented", "reader", False),
        (None, "notYetInvented", False),
        (None, None, False),
        ("owner", None, True),
    ],
)
def test_less_access_than_before_or_too_little_is_a_drop(before: str | None, now: str | None, *, dropped: bool) -> None:
    assert g.role_dropped(before, now) is dropped


# ---- series ---------------------------------------------------------------------------------------------------------

WEEKLY: Item = SHAPES["weekly"]
STARTS = (at(2, 16), at(9, 15), at(16, 15), at(23, 15))


def series(*lines: str, **fields: object) -> Series:
    changed = {**WEEKLY, **({"recurrence": list(lines)} if lines else {}), **fields}
    return g.series_of(changed, READING)


def expanded(known: Series, window: Window = MARCH, wanted: frozenset[Moment] = frozenset()) -> list[Event]:
    return g.occurrences(known, g.event_of(WEEKLY, READING), window, budget=budget(), wanted=wanted)


def starts(known: Series, window: Window = MARCH) -> list[Moment]:
    return sorted((one.span.start for one in expanded(known, window) if one.absence is None), key=str)


def absent(known: Series) -> dict[str, Absence]:
    return {one.id: one.absence for one in expanded(known) if one.absence}


def test_a_weekly_series_keeps_the_clock_on_the_wall_across_daylight_saving() -> None:
    assert starts(series()) == list(STARTS)


def test_an_occurrence_has_all_its_master_says_under_a_name_of_its_own() -> None:
    master = g.event_of(WEEKLY, READING)
    assert master.id == "m"
    assert expanded(series())[1] == replace(
        master, id="m/20260309T150000Z", span=Span(at(9, 15), at(9, 16)), series="m", original_start=at(9, 15)
    )


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["RRULE:FREQ=WEEKLY;UNTIL=20260316T145959Z"], STARTS[:2]),
        (["RRULE:FREQ=WEEKLY;UNTIL=20260316T150000Z"], STARTS[:3]),
        (["RRULE:FREQ=WEEKLY;UNTIL=20260316"], STARTS[:3]),  # a day includes all of it, in the series' own zone
        (["RRULE:FREQ=WEEKLY;UNTIL=20260315"], STARTS[:2]),
        (["RRULE:FREQ=WEEKLY;INTERVAL=2;COUNT=2"], (STARTS[0], STARTS[2])),
        (["RRULE:FREQ=WEEKLY;COUNT=1", "RRULE:FREQ=WEEKLY;INTERVAL=3;COUNT=2"], (STARTS[0], STARTS[3])),
        (["RRULE:FREQ=WEEKLY;COUNT=1", "RDATE;TZID=America/Chicago:20260309T100000"], STARTS[:2]),
        (["RDATE:20260309T150000Z"], STARTS[:2]),
        (["rrule:freq=weekly;count=2"], STARTS[:2]),
    ],
)
def test_rules_counts_ends_and_single_dates_are_followed(lines: list[str], found: tuple[datetime, ...]) -> None:
    assert starts(series(*lines)) == list(found)


@pytest.mark.parametrize(
    "line", ["EXDATE;TZID=America/Chicago:20260309T100000", "EXDATE:20260309T150000Z", "EXDATE;VALUE=DATE:20260309"]
)
def test_an_excluded_date_is_an_occurrence_that_is_known_to_be_gone(line: str) -> None:
    cut = series("RRULE:FREQ=WEEKLY;COUNT=4", line)
    assert absent(cut) == {"m/20260309T150000Z": Absence.EXCLUDED}
    assert starts(cut) == [STARTS[0], *STARTS[2:]]


def test_a_cancelled_exception_is_gone_and_a_changed_one_speaks_for_itself() -> None:
    known = series().without(at(9, 15)).moving(at(16, 15))
    assert absent(known) == {"m/20260309T150000Z": Absence.EXCLUDED}
    assert starts(known) == [STARTS[0], STARTS[3]]
    assert starts(known.moving(at(9, 15))) == [STARTS[0], STARTS[3]]
    assert absent(known.without(at(16, 15))).keys() == {"m/20260309T150000Z", "m/20260316T150000Z"}


def test_a_cancelled_exception_that_the_rule_no_longer_makes_is_no_evidence() -> None:
    known = series("RRULE:FREQ=WEEKLY;COUNT=1").without(at(9, 15))
    assert absent(known) == {}


def test_exceptions_are_kept_when_the_master_changes() -> None:
    before = series().without(at(9, 15)).moving(at(16, 15))
    after = g.series_of({**WEEKLY, "recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"]}, READING, before)
    assert (after.gone, after.moved) == (before.gone, before.moved)
    assert starts(after) == [STARTS[0]]


def test_whole_days_recur_as_days() -> None:
    days = series("RRULE:FREQ=DAILY;COUNT=3", start={"date": "2026-03-07"}, end={"date": "2026-03-08"})
    assert [one.id for one in expanded(days)] == ["m/20260307", "m/20260308", "m/20260309"]
    assert starts(days) == [date(2026, 3, 7), date(2026, 3, 8), date(2026, 3, 9)]
    assert starts(days.without(date(2026, 3, 8))) == [date(2026, 3, 7), date(2026, 3, 9)]
    assert starts(
        series("RRULE:FREQ=DAILY;UNTIL=20260308", start={"date": "2026-03-07"}, end={"date": "2026-03-08"})
    ) == [
        date(2026, 3, 7),
        date(2026, 3, 8),
    ]


@pytest.mark.parametrize(
    ("start_zone", "calendar_zone", "second"),
    [
        ("Europe/Berlin", "America/Chicago", at(9, 16)),  # Europe changes three weeks later
        (None, "America/Chicago", at(9, 15)),
        (None, None, at(9, 16)),  # nothing but an offset, which stays
    ],
)
def test_a_series_recurs_in_its_own_zone_else_in_the_calendars(
    start_zone: str | None, calendar_zone: str | None, second: datetime
) -> None:
    when = {
        name: {"dateTime": WEEKLY[name]["dateTime"], "timeZone": start_zone}  # type: ignore[index]
        for name in ("start", "end")
    }
    known = g.series_of({**WEEKLY, **when}, replace(READING, zone=calendar_zone))
    assert starts(known)[:2] == [STARTS[0], second]
    assert Series.from_text(known.to_text()) == known


def test_only_what_lies_in_the_window_is_told_and_what_is_known_wherever_it_is() -> None:
    april = Window(at(1, 0, 4), at(1, 0, 5))
    endless = series("RRULE:FREQ=WEEKLY;BYDAY=MO")
    assert [one.id[:10] for one in expanded(endless, april)] == [f"m/202604{day:02}" for day in (6, 13, 20, 27)]
    known = frozenset[Moment]({at(9, 15), at(10, 15), date(2026, 3, 16)})
    assert "m/20260309T150000Z" in {one.id for one in expanded(endless, april, known)}
    assert len(expanded(endless, april, known)) == 5


def test_an_occurrence_that_began_before_the_window_and_reaches_into_it_is_told() -> None:
    long = series(end={"dateTime": "2026-03-05T10:00:00-06:00", "timeZone": "America/Chicago"})
    assert starts(long, Window(at(11, 0), at(12, 0))) == [at(9, 15)]


@pytest.mark.parametrize(
    "lines",
    [
        ["RRULE:FREQ=SECONDLY"],
        ["RRULE:FREQ=MINUTELY"],
        [
            "RRULE:FREQ=DAILY;COUNT=1000000000;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17;BYMINUTE=0,5,10,15,20,25"
        ],
        ["RDATE:" + ",".join(["20260309T150000Z"] * (DATES + 1))],
        ["EXDATE:20260309T150000Z"] * (DATES + 1),
        ["RRULE:FREQ=WEEKLY"] * 21,
    ],
)
def test_a_series_of_a_billion_occurrences_is_refused_at_bounded_cost(lines: list[str]) -> None:
    with pytest.raises(TooMuchError):
        expanded(series(*lines))


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        (["RRULE:FREQ=NEVER"], "its rule can't be read"),
        (["RRULE:COUNT=3"], "its rule has no FREQ"),
        (["RRULE:FREQ=WEEKLY;X-OWN=1"], "not understood"),
        (["EXRULE:FREQ=WEEKLY"], "EXRULE"),
        (["DTSTART:20260309T150000Z"], "a line that is not understood: 'DTSTART:20260309T150000Z'"),
        (["FREQ=WEEKLY"], "a line that is not understood"),
        ([""], "a line that is not understood"),
        (["EXDATE;TZID=No/Where:20260309T100000"], "its time zone 'No/Where' is not known"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused_when_it_is_read(lines: list[str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        series(*lines)


@pytest.mark.parametrize("fields", [{"recurrence": None}, {"recurrence": [7]}, {"status": "cancelled"}])
def test_what_is_no_series_is_refused(fields: Mapping[str, object]) -> None:
    with pytest.raises(ValueError, match="it"):
        g.series_of({**WEEKLY, **fields}, READING)


def test_a_series_in_a_zone_that_nobody_knows_is_refused_rather_than_moved() -> None:
    start = {"dateTime": "2026-03-02T10:00:00-06:00", "timeZone": "No/Where"}
    with pytest.raises(ValueError, match="its time zone 'No/Where' is not known"):
        series(start=start, end=start)


def test_exceptions_are_bounded_too() -> None:
    many = replace(series(), gone=frozenset(STARTS[0] + number * HOUR for number in range(DATES)))
    with pytest.raises(TooMuchError):
        many.without(at(9, 15) - timedelta(days=900))


# ---- evidence -------------------------------------------------------------------------------------------------------


def test_the_rule_says_whether_it_makes_a_start_whatever_became_of_it() -> None:
    known = series("RRULE:FREQ=WEEKLY;COUNT=4", "EXDATE:20260316T150000Z").without(at(9, 15)).moving(at(23, 15))
    assert [g.makes(known, start, budget()) for start in STARTS] == [True] * 4
    for other in (at(9, 16), at(10, 15), at(30, 15), at(23, 16) - 4 * WEEK, date(2026, 3, 9)):
        assert not g.makes(known, other, budget())


def test_the_rule_of_whole_days_makes_days() -> None:
    days = series("RRULE:FREQ=DAILY;COUNT=3", start={"date": "2026-03-07"}, end={"date": "2026-03-08"})
    assert g.makes(days, date(2026, 3, 9), budget())
    assert not g.makes(days, date(2026, 3, 10), budget())
    assert not g.makes(days, at(9, 0), budget())


@pytest.mark.parametrize("far", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_a_start_at_the_end_of_time_is_refused_or_not_made(far: datetime) -> None:
    assert refusal(lambda: g.makes(series(), far, budget())) in {None, "its rule makes no sense"}


# ---- what is kept of a series ---------------------------------------------------------------------------------------


def test_what_is_kept_of_a_series_names_no_title_and_no_people() -> None:
    kept = series().without(at(9, 15)).moving(at(16, 15)).to_text()
    assert json.loads(kept) == {
        "start": "2026-03-02T10:00:00-06:00",
        "end": "2026-03-02T11:00:00-06:00",
        "zone": "America/Chicago",
        "lines": ["RRULE:FREQ=WEEKLY;COUNT=4;BYDAY=MO"],
        "gone": ["2026-03-09T15:00:00Z"],
        "moved": ["2026-03-16T15:00:00Z"],
    }
    assert "@" not in kept


def test_a_series_with_a_name_from_windows_is_read_back_in_the_same_zone() -> None:
    known = series(
        start={"dateTime": "2026-03-02T10:00:00-06:00", "timeZone": "Central Standard Time"},
        end={"dateTime": "2026-03-02T11:00:00-06:00", "timeZone": "Central Standard Time"},
    )
    assert isinstance(known.start, datetime)
    assert known.start.tzinfo == find("America/Chicago")
    assert Series.from_text(known.to_text()) == known


MOMENTS = st.one_of(
    st.dates(date(1990, 1, 1), date(2100, 1, 1)),
    st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1)).map(  # noqa: DTZ001 - UTC comes next
        lambda moment: moment.replace(microsecond=0, tzinfo=UTC)
    ),
)


@given(gone=st.frozensets(MOMENTS, max_size=5), moved=st.frozensets(MOMENTS, max_size=5), days=st.booleans())
def test_what_is_kept_is_read_back_as_it_was(gone: frozenset[Moment], moved: frozenset[Moment], *, days: bool) -> None:
    whole = {"start": {"date": "2026-03-07"}, "end": {"date": "2026-03-08"}} if days else {}
    known = replace(series(**whole), gone=gone, moved=moved)
    again = Series.from_text(known.to_text())
    assert again == known
    assert again is not None
    assert again.to_text() == known.to_text()


@pytest.mark.parametrize(
    "written",
    [
        "",
        "null",
        "[]",
        "{}",
        '{"start":1}',
        series().to_text()[:-2],
        series().to_text().replace("FREQ", "FRQ"),
        series().to_text().replace("Chicago", "Nowhere"),
        series().to_text().replace('"gone":[]', '"gone":[1]'),
        series().to_text().replace('"gone":[]', '"gone":["x"]'),
        series().to_text().replace('"gone":[]', '"gone":"2026-03-09"'),
        series().to_text().replace("2026-03-02T10:00:00-06:00", "2026-03-02"),
    ],
)
def test_garbage_is_no_series(written: str) -> None:
    assert Series.from_text(written) is None


# ---- hostile input --------------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
WHENS = st.fixed_dictionaries(
    {},
    optional={
        "date": st.sampled_from(["2026-03-09", "2026-02-30", "9999-12-31", "0001-01-01", "x"]) | VALUES,
        "dateTime": st.sampled_from(
            [
                "2026-03-09T10:00:00-05:00",
                "2026-03-09T10:00:00",
                "0002-01-01T00:00:00+14:00",
                "9998-12-31T23:59:59-23:59",
            ]
        )
        | VALUES,
        "timeZone": st.sampled_from(["America/Chicago", "Lord_Howe", "", "x"]) | VALUES,
    },
)
RULES = st.sampled_from(
    [
        "RRULE:FREQ=WEEKLY", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "RRULE:FREQ=DAILY;UNTIL=00010101",
        "RRULE:FREQ=DAILY;UNTIL=99991231T235959Z;INTERVAL=9999", "RRULE:FREQ=MONTHLY;BYSETPOS=-1;BYDAY=5FR",
        "RRULE:FREQ=WEEKLY;COUNT=-1", "RRULE:FREQ=WEEKLY;INTERVAL=0", "RDATE;VALUE=PERIOD:20260309T100000/P9999D",
        "EXDATE:20260309", "RRULE:FREQ=DAILY;BYDAY=", "RRULE:FREQ=HOURLY;BYHOUR=99", "EXDATE;TZID=:", "RRULE:;;==",
    ]
)  # fmt: skip
ITEMS = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(DOCUMENT["Event"]["properties"], VALUES),
        "id": st.sampled_from(["m", "e1"]) | VALUES,
        "status": st.sampled_from(["confirmed", "tentative", "cancelled"]) | VALUES,
        "start": WHENS | VALUES,
        "end": WHENS | VALUES,
        "originalStartTime": WHENS | VALUES,
        "recurringEventId": st.just("m") | VALUES,
        "recurrence": st.lists(RULES | VALUES, max_size=3) | VALUES,
        "attendees": st.lists(
            st.dictionaries(st.sampled_from(["email", "self", "responseStatus", "resource"]), VALUES), max_size=3
        )
        | VALUES,
        "organizer": st.dictionaries(st.sampled_from(["email", "self"]), VALUES) | VALUES,
        "extendedProperties": st.dictionaries(st.sampled_from(["private", "shared"]), VALUES) | VALUES,
        "source": st.dictionaries(st.just("url"), VALUES) | VALUES,
    },
)


MARCH_SPAN = Span(MARCH.start, MARCH.end)


def refusal(ask: Callable[[], object]) -> str | None:
    """Return why something was refused, None if it was not; anything but a `ValueError` goes through."""
    try:
        ask()
    except ValueError as error:
        return str(error)
    return None


def asked(item: Item) -> list[Callable[[], object]]:
    """Return all that can be asked of an item."""
    template = Event(id="m", uid=None, span=MARCH_SPAN)
    return [
        lambda: g.event_of(item, READING),
        lambda: g.tombstone_of(item),
        lambda: g.sort_of(item),
        lambda: g.exception_of(item),
        lambda: g.makes(g.series_of(item, READING), at(9, 15), budget()),
        lambda: g.occurrences(g.series_of(item, READING), template, MARCH, budget=budget()),
    ]


@given(item=ITEMS)
def test_whatever_an_item_is_it_is_read_or_refused_with_a_reason(item: dict[str, object]) -> None:
    assert isinstance(g.name_of(item), str)
    assert g.is_cancelled(item) in {True, False}
    assert g.details_withheld(item, "reader") in {True, False}
    assert "" not in {refusal(ask) for ask in asked(item)}


@given(
    written=st.text()
    | VALUES.map(repr)
    | st.dictionaries(st.sampled_from(["start", "end", "zone", "lines", "gone", "moved"]), VALUES).map(json.dumps)
)
def test_whatever_was_kept_is_a_series_or_none(written: str) -> None:
    kept = Series.from_text(written)
    assert kept is None or isinstance(kept, Series)


@given(extra=st.dictionaries(st.text(min_size=1).map(lambda name: f"x{name}"), VALUES, max_size=5))
def test_fields_that_nobody_knows_change_nothing(extra: dict[str, object]) -> None:
    assert g.event_of({**EVERY_FIELD, **extra}, READING) == g.event_of(EVERY_FIELD, READING)


def test_bounds_are_those_of_all_sources() -> None:
    tight = replace(READING, caps=Caps(attendees=1, text=5))
    with pytest.raises(TooMuchError):
        event(tight, attendees=[{"email": "a@b.example"}, {"email": "c@d.example"}])
    assert event(tight, summary="0123456789").title == "01234"
