"""What people do to the sample brokerage's Google calendars leaves what Google leaves, and nothing is done twice."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator import brokerage
from reconciler.simulator.google_workspace import Workspace

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
QUIET = brokerage.agreed(NOW)
EDITED = brokerage.edited(QUIET, NOW)
ANN, DEE = brokerage.ANN.email, brokerage.DEE.email


@pytest.fixture
def google() -> Iterator[Workspace]:
    with Workspace(lambda: NOW) as google:
        google.say(QUIET)
        yield google


@pytest.fixture
def edited(google: Workspace) -> Workspace:
    google.say(EDITED)
    return google


def stored(google: Workspace, name: str, agent: str = ANN, *, suffix: str = "") -> dict[str, Any]:
    return google.server.calendar(agent).rows[EDITED.meetings[name].id + suffix].event


def log(google: Workspace) -> int:
    return sum(len(google.server.calendar(person.email).log) for person in google.people)


def test_only_those_who_are_with_google_have_a_calendar_there(google: Workspace) -> None:
    assert [person.name for person in google.people] == ["Ann", "Dee", "Fay"]
    entered = {agent: {row.event["id"] for row in google.server.calendar(agent).rows.values()} for agent in (ANN, DEE)}
    for agent, ids in entered.items():
        assert ids == {one.id for one in QUIET.meetings.values() if one.agent.email == agent}


def test_what_is_said_again_is_not_done_again(edited: Workspace) -> None:
    before = log(edited)
    edited.say(EDITED)
    assert log(edited) == before


def test_what_nobody_touched_stays_in_its_version(google: Workspace) -> None:
    before = {name: stored(google, name)["etag"] for name in ("ann-1", "owner", "lunch-Ann")}
    google.say(EDITED)
    assert {name: stored(google, name)["etag"] for name in before} == before


def test_edits_are_made_when_the_diary_says_and_the_clock_goes_on_as_before(edited: Workspace) -> None:
    assert stored(edited, "moved")["updated"] == "2026-11-22T08:20:00.000Z"
    assert stored(edited, "ann-1")["updated"].startswith("2026-11-19")
    assert edited.now() == NOW


def test_the_guest_has_a_copy_of_the_same_event(google: Workspace) -> None:
    own, copy = stored(google, "both-sell"), stored(google, "both-sell", DEE)
    assert (own["iCalUID"], own["start"]) == (copy["iCalUID"], copy["start"])
    assert own["organizer"].get("self")
    assert not copy["organizer"].get("self")


def test_what_its_organizer_calls_off_leaves_a_bare_tombstone_with_the_guest(edited: Workspace) -> None:
    row = edited.server.calendar(ANN).rows[EDITED.meetings["invited"].id]
    assert (row.cancelled, row.bare) == (True, True)
    own = edited.server.calendar(ANN).rows[EDITED.meetings["cancelled"].id]
    assert (own.cancelled, own.bare) == (True, False)


def test_a_cancelled_and_a_moved_occurrence_are_rows_of_their_own(edited: Workspace) -> None:
    weekly = EDITED.meetings["weekly"]
    names = [f"_{start.astimezone(UTC):%Y%m%dT%H%M%SZ}" for start in weekly.starts if isinstance(start, datetime)]
    assert stored(edited, "weekly", suffix=names[2])["status"] == "cancelled"
    moved = stored(edited, "weekly", suffix=names[4])
    original = datetime.fromisoformat(moved["originalStartTime"]["dateTime"])
    assert datetime.fromisoformat(moved["start"]["dateTime"]) - original == timedelta(days=1)
    assert stored(edited, "weekly")["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=6"]


def test_this_and_following_ends_one_series_and_begins_another(edited: Workspace) -> None:
    old, new = stored(edited, "course"), stored(edited, "course-later")
    assert "UNTIL=" in old["recurrence"][0]
    assert new["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=2"]
    assert new["iCalUID"] != old["iCalUID"]
    assert new["summary"] == "Second-time buyers' evening"


def test_what_is_handed_over_is_organized_by_the_other_one(edited: Workspace) -> None:
    assert stored(edited, "handed-over", DEE)["organizer"] == {"email": DEE, "self": True}
