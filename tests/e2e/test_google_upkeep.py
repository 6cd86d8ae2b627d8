"""What keeps the reading of Google calendars right and cheap over weeks: audits, look-ups, budgets, privacy."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler import observe
from reconciler.errors import AccessError
from reconciler.model import Kind
from reconciler.simulator.google import READ, Fault
from reconciler.simulator.google_calendars import Calendar
from reconciler.simulator.google_sign_in import CLIENT, ROBOT
from tests.e2e.google_world import (
    ANN,
    BOB,
    GoogleWorld,
    Make,
    agreed,
    later,
    making,
    showing,
    times,
)
from tests.e2e.world import NOW

SECRET = "Divorce lawyer"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; its server ends with the test."""
    yield from making(tmp_path)


def vanish(calendar: Calendar, name: str) -> None:
    with calendar.world.lock:
        calendar.rows.pop(name)
        calendar.log[:] = [each for each in calendar.log if each != name]


def until_read_whole(world: GoogleWorld) -> Any:
    """Run once a day until the calendar's weekly turn has come; return the run that read it whole."""
    for _ in range(9):
        later(world, days=1)
        result = world.run()
        if result.calendars[0].mode == "full":
            return result
    raise AssertionError("a week went by without a whole read")


# ---- the weekly comparison ------------------------------------------------------------------------------------------


def test_what_the_token_chain_lost_is_found_within_a_week_reported_and_put_right(make: Make) -> None:
    world = make()
    agreed(world, ["evt01", "evt02"])
    world.calendar().hide_change()
    world.calendar().insert(showing("evt03", NOW + timedelta(days=20)))
    later(world)
    assert not world.run().deltas
    result = until_read_whole(world)
    [gap] = [finding for finding in result.findings if finding.kind is Kind.COVERAGE_GAP]
    assert "evt03" in gap.why
    assert result.exit_code == 0
    assert len(world.rows()) == 3
    later(world)
    assert not world.run().findings


def test_a_week_in_which_nothing_was_lost_reports_nothing(make: Make) -> None:
    world = make()
    agreed(world, ["evt01"])
    monday = {"recurrence": ["RRULE:FREQ=WEEKLY"], **times(NOW + timedelta(days=1))}
    world.calendar().insert({**showing("series1"), **monday})
    world.calendar().insert({**showing("allday1"), "start": {"date": "2026-12-24"}, "end": {"date": "2026-12-25"}})
    later(world)
    world.run()
    world.calendar().patch("evt01", {"summary": "Second showing"})
    world.asked()
    result = until_read_whole(world)
    assert not [finding for finding in result.findings if finding.kind is Kind.COVERAGE_GAP]
    assert not [finding for finding in result.findings if finding.kind is Kind.STALE_SERIES]


def test_changes_made_just_before_the_comparison_are_no_loss(make: Make) -> None:
    world = make()
    agreed(world, ["evt01", "evt02", "evt03"])
    for _ in range(9):
        later(world, days=1)
        world.calendar().patch("evt01", times(world.now + timedelta(days=3)))
        world.calendar().insert(showing(f"new{world.now:%d}", world.now + timedelta(days=4)))
        result = world.run()
        assert not [finding for finding in result.findings if finding.kind is Kind.COVERAGE_GAP]


def test_the_roll_of_the_window_at_midnight_costs_no_whole_read(make: Make) -> None:
    agents = tuple(f"agent{number:02}@acme.example" for number in range(30))
    world = make(agents=agents)
    later(world)
    world.run()
    modes: list[Counter[str | None]] = []
    for _ in range(8):
        later(world, days=1)
        modes.append(Counter(one.mode for one in world.run().calendars))
    assert max(mode["full"] for mode in modes) <= 12  # of 30, on the busiest day
    assert sum(mode["full"] for mode in modes) >= 30


# ---- look-ups -------------------------------------------------------------------------------------------------------


def test_look_ups_beyond_the_bound_are_made_by_the_next_runs(make: Make) -> None:
    world = make()
    names = [f"evt{number:02}" for number in range(31)]
    agreed(world, names)
    for name in names[1:]:
        world.calendar().patch(name, times(NOW - timedelta(days=400)))  # out of what a whole list shows
        world.calendar().delete(name)
    world.calendar().kill_tokens()
    later(world)
    world.run()
    first = Counter(world.rows("status"))
    later(world)
    world.run()
    assert first == {("cancelled",): 25, ("scheduled",): 6}
    assert Counter(world.rows("status")) == {("cancelled",): 30, ("scheduled",): 1}


def test_a_calendar_emptied_behind_our_back_is_never_cancelled_by_404s(make: Make) -> None:
    world = make()
    names = [f"evt{number:02}" for number in range(8)]
    agreed(world, names)
    for name in names:
        vanish(world.calendar(), name)
    world.calendar().kill_tokens()
    for _ in range(3):
        later(world)
        assert not world.run().deltas
    assert world.rows("status") == [("scheduled",)] * 8


# ---- who can't be read ----------------------------------------------------------------------------------------------


def test_an_agent_whose_account_is_gone_is_not_asked_for_again_for_a_day(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["evt01"])
    world.server.accounts.refuse(BOB, "invalid_grant")
    world.server.accounts.withdraw(BOB)
    later(world, hours=2)
    assert world.run().exit_code == 5
    asked = world.asked("token")
    for _ in range(3):
        later(world, hours=2)
        result = world.run()
        assert {one.agent: one.observed for one in result.calendars} == {ANN: True, BOB: False}
        assert result.exit_code == 0  # it is known and parked
        assert result.findings[0].kind is Kind.COVERAGE_GAP
    assert world.asked("token") <= 3  # Ann's
    assert asked >= 1
    world.server.accounts.admit(BOB)
    later(world, days=1)
    assert all(one.observed for one in world.run().calendars)


def test_an_account_that_may_not_act_for_anybody_stops_the_run_and_says_what_to_allow(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    for agent in (ANN, BOB):
        world.server.accounts.refuse(agent, "unauthorized_client")
    with pytest.raises(AccessError) as refused:
        world.run()
    assert refused.value.exit_code == 2
    assert READ in str(refused.value)
    assert CLIENT in str(refused.value)


# ---- ways in --------------------------------------------------------------------------------------------------------


def test_a_dry_run_asks_for_the_right_to_read_and_sends_nothing_but_reads(make: Make) -> None:
    world = make()
    world.calendar().insert(showing("evt01"))
    later(world)
    assert world.dry().deltas
    assert {entry.method for entry in world.server.requests()} == {"GET"}


def test_one_robot_reads_what_was_shared_with_it_by_one_token(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    for agent in (ANN, BOB):
        world.calendar(agent).share(ROBOT, "writer")
        world.calendar(agent).insert(showing(f"of{agent[:3]}"))
    assert world.sources is not None
    world.sources = world.sources.replace('"file:google.json" }', '"file:google.json", delegate = false }')
    later(world)
    world.run()
    assert sorted(world.rows("source_key, agent_email")) == [
        (world.calendar(ANN).get("ofann")["iCalUID"], ANN),
        (world.calendar(BOB).get("ofbob")["iCalUID"], BOB),
    ]
    assert len(world.server.requests("token")) == 1


def test_a_key_that_nobody_has_signs_by_iam(make: Make) -> None:
    world = make(agents=(ANN, BOB), environ={"SOURCE": "unset"})
    world.environ["SOURCE"] = world.server.token()
    world.sources = (
        f'[[source]]\nkind = "google"\nagents = ["{ANN}", "{BOB}"]\nendpoint = "{world.server.url}"\n'
        f'auth = {{ impersonate = "{ROBOT}", token = "env:SOURCE", iam_uri = "{world.server.iam_uri}", '
        f'token_uri = "{world.server.token_uri}" }}\n'
    )
    later(world)
    assert all(one.observed for one in world.run().calendars)
    assert (len(world.server.requests("iam")), len(world.server.requests("token"))) == (2, 2)


# ---- budget and time ------------------------------------------------------------------------------------------------


def test_a_run_that_meets_its_deadline_says_so_and_begins_there_next_time(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    agents = tuple(f"agent{number:02}@acme.example" for number in range(20))
    world = make(agents=agents, section='deadline = "1m"')
    world.ticks = timedelta(seconds=2)
    first = world.run()
    missed = {one.agent for one in first.calendars if not one.observed}
    assert missed
    assert "time is up" in str(next(one.why for one in first.calendars if not one.observed))
    world.ticks = timedelta()
    world.asked()
    world.section = ""
    monkeypatch.setattr(observe, "READERS", 1)  # of several, a later one may be the first to be heard
    world.run()
    order = [entry.agent for entry in world.server.requests()][-20:]
    assert set(order[: len(missed)]) == missed


def test_calendars_that_a_budget_left_out_count_as_seen_while_their_last_read_is_fresh(make: Make) -> None:
    agents = tuple(f"agent{number:02}@acme.example" for number in range(30))
    world = make(agents=agents)
    world.run()
    world.server.clock = lambda: datetime.fromtimestamp(world.waiting.now, UTC)
    world.server.faults.add(Fault(status=429, reason="rateLimitExceeded", retry_after=7200))
    later(world, minutes=5)
    result = world.run()
    assert all(one.observed for one in result.calendars)
    assert result.exit_code == 0


# ---- privacy and meaning --------------------------------------------------------------------------------------------


def test_a_private_event_is_its_time_and_nothing_else_also_in_the_state_database(make: Make, tmp_path: Path) -> None:
    world = make(policy='relevant = ["all"]')
    world.calendar().insert(showing("priv1", visibility="private", summary=SECRET, location=SECRET, description=SECRET))
    world.calendar().insert(showing("lunch", NOW + timedelta(days=30), client=None, summary="with Sam"))
    later(world)
    [private] = [finding for finding in world.run().findings if finding.event == "priv1"]
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert SECRET.encode() not in kept
    assert SECRET not in f"{world.rows()} {private}"
    assert (private.event, private.start) == ("priv1", "2026-11-24T17:00:00Z")


def test_guests_that_google_leaves_out_are_not_taken_for_guests_that_are_not_there(make: Make) -> None:
    world = make()
    agreed(world, ["evt01"])
    world.calendar().patch("evt01", {"attendees": [{"email": ANN}], "attendeesOmitted": True, "summary": "Crowd"})
    with world.calendar().world.lock:
        world.calendar().rows["evt01"].event["attendeesOmitted"] = True
    later(world)
    result = world.run()
    assert not [finding for finding in result.findings if finding.kind is Kind.CONTACT_MISSING]
    assert world.rows("contact_email") == [("jane@mail.example",)]
