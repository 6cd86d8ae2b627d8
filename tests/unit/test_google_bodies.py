"""What is written to Google is what was read with our fields in it; what others own, attend or repeat is refused."""

from __future__ import annotations

import copy
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import WRITABLE, Agent, Calendar, Fields, Status, rfc3339
from reconciler.sources.claims import Claim
from reconciler.sources.google_bodies import changed, new, readable, refusal
from reconciler.sources.google_claims import is_ours
from reconciler.sources.google_events import Reading
from reconciler.sources.items import Item
from reconciler.sources.writable import UnfitError, changes, held, wanted

ANN = Agent(email="ann@acme.example", aliases=("a.lee@acme.example",), timezone="America/Chicago")
READING = Reading(calendar=Calendar(source="google", kind="google", agent=ANN))
CLAIM = Claim("acme", ANN.email, "17")
VIEWING: Fields = {
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "all_day": False,
    "title": "Viewing",
    "location": "12 Main St",
    "status": "confirmed",
}
HOLIDAY: Fields = {"start": "2026-11-24", "end": "2026-11-25", "all_day": True}
ITEM: Item = {
    "kind": "calendar#event",
    "id": "evt1",
    "etag": '"1"',
    "status": "confirmed",
    "summary": "Viewing",
    "location": "12 Main St",
    "description": "<b>Bring the keys</b>",
    "organizer": {"email": "ann@acme.example", "self": True},
    "start": {"dateTime": "2026-11-24T16:00:00+01:00", "timeZone": "Europe/Berlin"},
    "end": {"dateTime": "2026-11-24T17:00:00+01:00", "timeZone": "Europe/Berlin"},
    "attendees": [{"email": "ann@acme.example", "self": True, "responseStatus": "accepted", "comment": "on my way"}],
    "extendedProperties": {"private": {"theirs": "1"}, "shared": {"also": "theirs"}},
    "conferenceData": {"conferenceId": "abc"},
    "reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": 10}]},
    "somethingNew": {"nobody": ["knows", 1, None]},
}
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
LENGTHS = st.timedeltas(timedelta(), timedelta(days=3))


def item(**other: object) -> Item:
    return {**ITEM, **other}


def write(before: Item, fields: Fields) -> Item:
    """Return the body that `fields` would replace `before` with."""
    event = readable(before, READING)
    return changed(before, event, changes(event, wanted(fields)), ANN.timezone)


def why_not(before: Item) -> str:
    return refusal(before, readable(before, READING), READING)


# ---- what may be written


def test_an_event_of_the_agents_own_may_be_written() -> None:
    assert not why_not(ITEM)
    assert not why_not(item(attendees=None))
    assert not why_not(item(organizer={"email": "A.Lee@Acme.example"}))
    assert not why_not(item(attendees=[{"email": "A.Lee@Acme.example"}]))


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"recurrence": ["RRULE:FREQ=DAILY"]}, "recurring"),
        ({"recurringEventId": "m", "originalStartTime": {"dateTime": "2026-11-24T16:00:00+01:00"}}, "recurring"),
        ({"eventType": "birthday"}, "kind"),
        ({"eventType": "fromGmail"}, "kind"),
        ({"eventType": "outOfOffice"}, "kind"),
        ({"eventType": "focusTime"}, "kind"),
        ({"eventType": "workingLocation"}, "kind"),
        ({"eventType": "inventedTomorrow"}, "kind"),
        ({"locked": True}, "copy"),
        ({"privateCopy": True}, "copy"),
        ({"organizer": {"email": "eve@elsewhere.example"}}, "somebody else"),
        ({"organizer": {"email": "eve@elsewhere.example", "self": False}}, "somebody else"),
        ({"organizer": None}, "somebody else"),
        ({"organizer": {}}, "somebody else"),
        ({"attendees": [{"email": "client@mail.example"}]}, "others attend"),
        ({"attendees": [*ITEM["attendees"], {"email": "bob@acme.example"}]}, "others attend"),  # type: ignore[misc]
        ({"attendees": [{"displayName": "Nobody knows"}]}, "others attend"),
        ({"attendees": [{"email": "room@resource.example", "resource": True}]}, "others attend"),
        ({"attendees": [{"email": "client@mail.example", "responseStatus": "declined"}]}, "others attend"),
        ({"attendeesOmitted": True}, "others attend"),
    ],
)
def test_what_others_own_attend_or_repeat_is_refused(other: dict[str, object], why: str) -> None:
    assert why in why_not(item(**other))


@pytest.mark.parametrize(
    "fields",
    [
        {"contact": ("client@mail.example",)},
        {"participants": ("bob@acme.example",)},
        {**VIEWING, "agent": "bob@acme.example"},
        {"description": "ours"},
        {"status": "cancelled"},
    ],
)
def test_people_owners_and_cancelling_are_no_changes(fields: Fields) -> None:
    with pytest.raises(UnfitError):
        wanted(fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"start": "2026-11-24T17:00:00Z"},  # after its end
        {**HOLIDAY, "end": "2026-11-24"},
        {"start": "2026-11-24", "end": "2026-11-25"},
        {"start": "2026-11-24T15:00:00", "end": "2026-11-24T16:00:00"},
        {"start": "0001-01-01T00:00:00+14:00"},
        {"all_day": True},
        {"start": None},
        {"end": "soon"},
        {"start": ("a", "b")},
    ],
)
def test_times_that_make_no_sense_are_written_nowhere(fields: Fields) -> None:
    with pytest.raises(UnfitError):
        write(ITEM, fields)
    with pytest.raises(UnfitError):
        new(CLAIM, 0, {**VIEWING, **fields}, None)


@pytest.mark.parametrize("missing", ["start", "end"])
def test_a_new_event_needs_a_start_and_an_end(missing: str) -> None:
    with pytest.raises(UnfitError):
        new(CLAIM, 0, {name: value for name, value in VIEWING.items() if name != missing}, None)


@pytest.mark.parametrize("visibility", ["private", "confidential"])
def test_the_words_of_a_private_event_are_not_overwritten_and_its_times_may_be(visibility: str) -> None:
    private = item(visibility=visibility)
    with pytest.raises(UnfitError, match="private"):
        write(private, {"title": "Ours"})
    assert write(private, {"end": "2026-11-24T17:00:00Z"})["summary"] == "Viewing"


# ---- what is written


def test_a_new_event_says_what_was_wanted_carries_our_mark_and_invites_nobody() -> None:
    assert new(CLAIM, 1, wanted(VIEWING), "America/Chicago") == {
        "id": CLAIM.id(1),
        "summary": "Viewing",
        "location": "12 Main St",
        "status": "confirmed",
        "start": {"dateTime": "2026-11-24T15:00:00Z", "timeZone": "America/Chicago"},
        "end": {"dateTime": "2026-11-24T16:00:00Z", "timeZone": "America/Chicago"},
        "extendedProperties": {"private": {"crmClaim": CLAIM.id(1), "crmGeneration": "1", "crmId": "17"}},
    }


def test_a_new_all_day_event_has_days_and_no_zone() -> None:
    body = new(CLAIM, 0, wanted(HOLIDAY), "America/Chicago")
    assert (body["start"], body["end"]) == ({"date": "2026-11-24"}, {"date": "2026-11-25"})


def test_our_mark_is_that_of_one_claim_and_generation() -> None:
    body = {**ITEM, **new(CLAIM, 1, wanted(VIEWING), None)}
    assert is_ours(body, CLAIM, 1)
    assert not is_ours(body, CLAIM, 0)
    assert not is_ours(body, Claim("acme", ANN.email, "18"), 1)
    assert not is_ours(ITEM, CLAIM, 1)


@pytest.mark.parametrize("properties", [None, [], "x", {"private": []}, {"shared": {"crmClaim": CLAIM.id(0)}}])
def test_a_mark_elsewhere_is_none(properties: object) -> None:
    assert not is_ours(item(extendedProperties=properties), CLAIM, 0)


def test_nothing_but_the_wanted_fields_changes() -> None:
    before = copy.deepcopy(ITEM)
    body = write(ITEM, {"title": "Second viewing"})
    assert body == {**ITEM, "summary": "Second viewing"}
    assert before == ITEM


def test_an_event_that_moves_stays_in_its_own_zone() -> None:
    body = write(ITEM, {**VIEWING, "start": "2026-11-24T15:30:00Z", "end": "2026-11-24T16:30:00Z"})
    assert body["start"] == {"dateTime": "2026-11-24T15:30:00Z", "timeZone": "Europe/Berlin"}
    assert body["end"] == {"dateTime": "2026-11-24T16:30:00Z", "timeZone": "Europe/Berlin"}
    assert {**body, "start": 0, "end": 0} == {**ITEM, "start": 0, "end": 0}


def test_an_event_at_a_time_becomes_one_of_whole_days_and_back() -> None:
    whole = write(ITEM, HOLIDAY)
    assert whole["start"] == {"date": "2026-11-24"}
    assert whole["end"] == {"date": "2026-11-25"}
    back = write(item(start={"date": "2026-11-24"}, end={"date": "2026-11-25"}), VIEWING)
    assert back["start"] == {"dateTime": "2026-11-24T15:00:00Z", "timeZone": "America/Chicago"}
    assert back["end"] == {"dateTime": "2026-11-24T16:00:00Z", "timeZone": "America/Chicago"}


def test_an_end_that_was_left_open_is_closed() -> None:
    assert "endTimeUnspecified" not in write(item(endTimeUnspecified=True), {"end": "2026-11-24T17:00:00Z"})
    assert "endTimeUnspecified" in write(item(endTimeUnspecified=True), {"title": "x"})


def test_what_an_event_says_already_is_no_change_however_it_is_spelled() -> None:
    event = readable(item(summary="  Viewing\u200b "), READING)
    assert not changes(event, wanted(VIEWING))
    assert not changes(event, wanted({"start": "2026-11-24T16:00:00+01:00", "all_day": False, "status": "closed"}))


def test_text_is_written_as_one_inert_line() -> None:
    body = write(ITEM, {"title": "a\r\nb\x1b[31m\u202e" + "x" * 1000, "location": None})
    assert body["summary"] == "a b[31m" + "x" * 493
    assert body["location"] == ""


def test_a_status_is_one_that_google_knows() -> None:
    assert [wanted({"status": status})["status"] for status in Status if status is not Status.CANCELLED] == [
        "confirmed",
        "tentative",
        "confirmed",
    ]
    assert write(ITEM, {"status": "tentative"})["status"] == "tentative"


@given(INSTANTS, LENGTHS, st.booleans(), st.text(max_size=40), st.sampled_from(["confirmed", "tentative"]))
def test_an_event_written_so_reads_back_so(
    start: datetime, length: timedelta, all_day: bool, title: str, status: str
) -> None:
    first: date = start.date() if all_day else start.replace(microsecond=0)
    last = first + length if not all_day else first + max(length, timedelta(days=1))
    fields: Fields = wanted(
        {"start": rfc3339(first), "end": rfc3339(last), "all_day": all_day, "title": title, "status": status}
    )
    for body in (write(ITEM, fields), {**ITEM, "summary": None, **new(CLAIM, 0, fields, "Asia/Kathmandu")}):
        kept = held(readable(body, READING))
        assert {name: kept[name] for name in fields} == fields


@given(st.dictionaries(st.sampled_from(sorted(WRITABLE)), st.one_of(st.none(), st.booleans(), st.text())))
def test_whatever_a_crm_says_is_written_or_refused_and_nothing_else(fields: dict[str, str | bool | None]) -> None:
    try:
        body = write(ITEM, fields)
    except UnfitError:
        return
    assert set(body) == set(ITEM)
