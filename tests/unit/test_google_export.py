"""What the sample brokerage tells Google is as Google describes its own API, and says what a diary says."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from unittest.mock import ANY

import pytest

from reconciler.simulator import brokerage
from reconciler.simulator.brokerage import Meeting
from reconciler.simulator.google_calendars import CLIENT_ID
from reconciler.simulator.google_export import changes, event
from tests import discovery

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
QUIET = brokerage.agreed(NOW)
EDITED = brokerage.edited(QUIET, NOW)
IN_GOOGLE = [one for one in QUIET.meetings.values() if one.agent.exporter == "google"]
BOTH = [
    (before, after)
    for name, before in QUIET.meetings.items()
    if (after := EDITED.meetings.get(name)) and after.agent == before.agent
]


def named(name: str) -> Meeting:
    return QUIET.meetings[name]


@pytest.mark.parametrize("meeting", [*EDITED.meetings.values(), *IN_GOOGLE], ids=lambda one: one.name)
def test_every_event_is_one_by_googles_own_description(meeting: Meeting) -> None:
    discovery.check("Event", event(meeting))


@pytest.mark.parametrize(("before", "after"), BOTH, ids=lambda one: one.name)
def test_every_patch_is_one_by_googles_own_description(before: Meeting, after: Meeting) -> None:
    changed = changes(before, after)
    discovery.check("Event", {name: value for name, value in changed.items() if value is not None})
    assert {**event(before), **changed} == {**event(after), "created": ANY, "updated": ANY}


@pytest.mark.parametrize("meeting", IN_GOOGLE, ids=lambda one: one.name)
def test_ids_are_googles_and_source_keys_are_the_uids_that_exports_show(meeting: Meeting) -> None:
    assert CLIENT_ID.fullmatch(meeting.id)
    assert event(meeting)["iCalUID"] == meeting.uid == f"{meeting.id}@google.com"


def test_times_have_their_offset_and_their_zone_and_days_have_neither() -> None:
    start = event(named("moved"))["start"]
    assert start == {"dateTime": "2026-11-23T09:00:00-06:00", "timeZone": "America/Chicago"}
    day_off = event(named("day-off"))
    assert (day_off["start"], day_off["end"]) == ({"date": "2026-12-18"}, {"date": "2026-12-20"})


def test_what_equals_its_default_is_left_out() -> None:
    plain = event(named("lunch-Ann"))
    assert plain.keys().isdisjoint({"visibility", "transparency", "attendees", "recurrence", "description", "location"})
    assert event(named("private"))["visibility"] == "private"
    assert event(named("day-off"))["transparency"] == "transparent"


def test_a_series_is_its_rule_and_not_what_became_of_single_occurrences() -> None:
    weekly = replace(named("weekly"), skipped=(1,), moved=((2, timedelta(days=1)),))
    assert event(weekly)["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=6"]
    assert changes(named("weekly"), weekly) == {}


def test_the_organizer_is_a_guest_of_his_own_where_there_are_others() -> None:
    invited = event(named("invited"))
    assert invited["organizer"] == {"email": "sam@hilltop.example"}
    assert [one["email"] for one in invited["attendees"]] == ["sam@hilltop.example", "ann@acme.example"]
    assert [one["email"] for one in event(named("both-sell"))["attendees"]] == [
        "ann@acme.example",
        "dee@acme.example",
        "tess@greenfield.example",
    ]


def test_a_declined_invitation_says_so_and_a_tentative_event_is_one() -> None:
    answers = {one["email"]: one["responseStatus"] for one in event(named("declined"))["attendees"]}
    assert answers == {"sales@vendor.example": "accepted", "cid@acme.example": "declined"}
    assert event(named("tentative"))["status"] == "tentative"


def test_a_patch_names_what_changed_and_takes_away_what_is_gone() -> None:
    plain = replace(named("moved"), location="", title="Elsewhere")
    assert changes(named("moved"), plain) == {"summary": "Elsewhere", "location": None}
    later = replace(named("day-off"), start=date(2026, 12, 21))
    assert changes(named("day-off"), later) == {"start": {"date": "2026-12-21"}, "end": {"date": "2026-12-23"}}
