"""What is written to Outlook names what it changes and nobody; what others own, attend or repeat is refused."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Agent, Calendar, Event, Fields, rfc3339
from reconciler.sources.claims import RECORD_LIMIT, Claim
from reconciler.sources.items import Item
from reconciler.sources.microsoft_bodies import Body, changed, new, readable, refusal
from reconciler.sources.microsoft_claims import MARK, is_ours
from reconciler.sources.microsoft_events import Reading
from reconciler.sources.writable import UnfitError, changes, held, wanted

CID = Agent(email="cid@acme.example", aliases=("cidney@acme.example",), timezone="America/Chicago")
READING = Reading(calendar=Calendar(source="microsoft", kind="microsoft", agent=CID))
CLAIM = Claim("acme", CID.email, "17")
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
    "@odata.etag": 'W/"1"',
    "id": "evt1",
    "changeKey": "1",
    "type": "singleInstance",
    "subject": "Viewing",
    "location": {"displayName": "12 Main St", "locationUri": "https://maps.example/12"},
    "body": {"contentType": "text", "content": "Bring the keys"},
    "start": {"dateTime": "2026-11-24T15:00:00.0000000", "timeZone": "UTC"},
    "end": {"dateTime": "2026-11-24T16:00:00.0000000", "timeZone": "UTC"},
    "isAllDay": False,
    "isCancelled": False,
    "isOrganizer": True,
    "isDraft": False,
    "sensitivity": "normal",
    "showAs": "busy",
    "attendees": [],
}
INSTANTS = st.datetimes(datetime(1990, 1, 1), datetime(2090, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds
LENGTHS = st.timedeltas(timedelta(), timedelta(days=3))


def item(**other: object) -> Item:
    return {**ITEM, **other}


def event(**other: object) -> Event:
    return readable(item(**other), READING)


def change(fields: Fields, **other: object) -> Body:
    """Return the body that makes an event say `fields`."""
    known = event(**other)
    return changed(known, changes(known, wanted(fields)))


def invited(**who: object) -> dict[str, object]:
    return {"attendees": [{"emailAddress": who, "type": "required"}]}


# ---- what may be written


def test_an_event_of_the_agents_own_may_be_written() -> None:
    for mine in (ITEM, item(attendees=None), item(**invited(address="Cidney@acme.example"))):
        assert refusal(mine, readable(mine, READING), READING) == ""


@pytest.mark.parametrize(
    ("other", "why"),
    [
        ({"isCancelled": True}, "cancelled"),
        ({"isDraft": True}, "draft"),
        ({"showAs": "oof"}, "where the agent is"),
        ({"showAs": "workingElsewhere"}, "where the agent is"),
        ({"isOrganizer": False}, "somebody else"),
        ({"isOrganizer": None}, "somebody else"),  # what is not said is not so
        ({"isOrganizer": False, "organizer": {"emailAddress": {"address": CID.email}}}, "somebody else"),
        (invited(address="zoe@client.example"), "others attend"),
        (invited(name="Somebody without an address"), "others attend"),
        ({"attendees": [{"emailAddress": {"address": "oak@acme.example"}, "type": "resource"}]}, "others attend"),
    ],
)
def test_what_others_own_or_attend_is_refused(other: Mapping[str, object], why: str) -> None:
    one = item(**other)
    assert why in refusal(one, readable(one, READING), READING)


@pytest.mark.parametrize("kind", ["seriesMaster", "occurrence", "exception"])
def test_what_repeats_is_refused(kind: str) -> None:
    with pytest.raises(UnfitError, match="recurring event"):
        event(type=kind, seriesMasterId="m")


@pytest.mark.parametrize("other", [{"type": "notYetInvented"}, {"start": None}, {"attendees": 7}, {"isAllDay": "no"}])
def test_what_cannot_be_read_is_not_written(other: Mapping[str, object]) -> None:
    with pytest.raises(UnfitError, match="it can't be read"):
        event(**other)


# ---- bodies


def test_a_new_event_has_its_fields_our_id_and_our_mark_and_invites_nobody() -> None:
    assert new(CLAIM, 2, wanted(VIEWING)) == {
        "transactionId": f"crm:{CLAIM.id(2)}:2",
        "singleValueExtendedProperties": [
            {"id": MARK, "value": CLAIM.id()},
            {"id": MARK.replace("crmClaim", "crmGeneration"), "value": "2"},
            {"id": MARK.replace("crmClaim", "crmId"), "value": "17"},
        ],
        "subject": "Viewing",
        "location": {"displayName": "12 Main St"},
        "start": {"dateTime": "2026-11-24T15:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-11-24T16:00:00.0000000", "timeZone": "UTC"},
        "isAllDay": False,
        "showAs": "busy",
    }


def test_the_mark_is_the_same_for_all_generations_and_the_id_is_not() -> None:
    bodies = [new(CLAIM, generation, wanted(VIEWING)) for generation in range(4)]
    assert all(is_ours(body, CLAIM) for body in bodies)
    assert len({str(body["transactionId"]) for body in bodies}) == 4


def test_a_crm_id_that_is_no_short_text_is_named_by_its_claim_alone() -> None:
    for crm_id in ("x" * (RECORD_LIMIT + 1), "a\nb"):
        assert crm_id not in str(new(Claim("acme", CID.email, crm_id), 0, wanted(VIEWING)))


@pytest.mark.parametrize(
    "properties",
    [
        None,
        "x",
        [],
        ["x"],
        [{"id": MARK}],
        [{"id": MARK, "value": CLAIM.id().upper()}],  # a search finds it all the same (facts of Graph)
        [{"id": MARK, "value": CLAIM.id(1)}],
        [{"id": MARK.replace("crmClaim", "other"), "value": CLAIM.id()}],
    ],
)
def test_what_does_not_carry_our_mark_is_not_ours(properties: object) -> None:
    assert not is_ours(item(singleValueExtendedProperties=properties), CLAIM)


def test_a_mark_is_known_however_its_property_is_spelled() -> None:
    for spelled in (MARK, MARK.lower(), MARK.upper()):
        assert is_ours(item(singleValueExtendedProperties=[{"id": spelled, "value": CLAIM.id()}]), CLAIM)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"title": "Second viewing"}, {"subject"}),
        ({"location": ""}, {"location"}),
        ({"status": "tentative"}, {"showAs"}),
        ({"end": "2026-11-24T16:30:00Z"}, {"start", "end", "isAllDay"}),
        (HOLIDAY, {"start", "end", "isAllDay"}),
        ({**VIEWING, "title": "Second viewing"}, {"subject"}),
        (VIEWING, set()),
    ],
)
def test_a_change_names_what_it_changes_and_start_and_end_together(fields: Fields, named: set[str]) -> None:
    assert change(fields).keys() == named


def test_a_whole_day_is_written_from_midnight_to_midnight_without_any_zone_of_the_agents() -> None:
    body = change(HOLIDAY)
    assert body == {
        "start": {"dateTime": "2026-11-24T00:00:00.0000000", "timeZone": "UTC"},
        "end": {"dateTime": "2026-11-25T00:00:00.0000000", "timeZone": "UTC"},
        "isAllDay": True,
    }


@pytest.mark.parametrize("shown", ["free", "busy", "notYetInvented"])
def test_how_a_confirmed_event_is_shown_stays(shown: str) -> None:
    assert "showAs" not in change({"status": "confirmed"}, showAs=shown)
    assert change({"status": "confirmed"}, showAs="tentative") == {"showAs": "busy"}


@given(start=INSTANTS, length=LENGTHS, days=st.booleans(), title=st.text(max_size=50), tentative=st.booleans())
def test_what_is_written_is_read_back_as_it_was_wanted(
    start: datetime, length: timedelta, title: str, *, days: bool, tentative: bool
) -> None:
    end = start + length
    times = (start.date(), end.date() + timedelta(days=1)) if days else (start, end)
    fields: Fields = {
        "start": rfc3339(times[0]),
        "end": rfc3339(times[1]),
        "all_day": days,
        "title": title,
        "location": "",
        "status": "tentative" if tentative else "confirmed",
    }
    want = wanted(fields)
    assert held(readable({**ITEM, "location": None, "subject": None, **new(CLAIM, 0, want)}, READING)) == want
    assert held(readable({**ITEM, **change(fields)}, READING)) == want


@given(fields=st.dictionaries(st.sampled_from(sorted(VIEWING)), st.text(max_size=30) | st.booleans() | st.none()))
def test_whatever_is_wanted_is_written_or_refused_with_a_reason(fields: Fields) -> None:
    try:
        body = change(fields)
    except UnfitError as refused:
        body, why = {}, str(refused)
    else:
        why = "-"
    assert why
    assert body.keys() <= {"subject", "location", "start", "end", "isAllDay", "showAs"}
