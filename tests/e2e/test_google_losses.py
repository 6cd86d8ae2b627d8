"""What a Google calendar may lose without its records losing anything: access, a look-up's answer, the right time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.model import Kind
from reconciler.simulator.google import Fault
from tests.e2e.google_world import (
    ANN,
    BOB,
    GoogleWorld,
    Make,
    agreed,
    later,
    making,
    times,
)
from tests.e2e.world import NOW


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; its server ends with the test."""
    yield from making(tmp_path)


def deleted_unseen(world: GoogleWorld, names: list[str]) -> None:
    """Delete these so that a whole list does not show it, and let only a whole list find out."""
    for name in names:
        world.calendar().patch(name, times(NOW - timedelta(days=400)))
        world.calendar().delete(name)
    world.calendar().kill_tokens()
    later(world)


# ---- access ---------------------------------------------------------------------------------------------------------


def test_access_that_lessened_is_not_forgotten_when_the_window_has_rolled_past_the_cursor(make: Make) -> None:
    world = make()
    agreed(world, ["evt01"])
    world.calendar().set_role("reader", keep_tokens=True)
    for _ in range(20):
        later(world, days=1)
        result = world.run()
        assert not result.calendars[0].observed
        assert not result.deltas
        assert [finding.kind for finding in result.findings if "it was owner" in finding.why] == [Kind.COVERAGE_GAP]


def test_access_that_came_back_is_followed_by_a_whole_read(make: Make) -> None:
    world = make()
    agreed(world, ["evt01"])
    world.calendar().set_role("reader", keep_tokens=True)
    later(world)
    world.run()
    world.calendar().restore()
    later(world)
    result = world.run()
    assert (result.calendars[0].mode, result.deltas, result.findings) == ("full", (), ())


def test_whoever_asks_for_all_takes_lesser_access_as_it_is(make: Make) -> None:
    world = make()
    agreed(world, ["evt01"])
    world.calendar().set_role("reader", keep_tokens=True)
    for options in ({"full": True}, {}):
        later(world)
        result = world.run(**options)
        assert result.calendars[0].observed
        assert not result.deltas


# ---- look-ups -------------------------------------------------------------------------------------------------------


def test_a_look_up_that_always_fails_keeps_no_other_from_its_turn(make: Make) -> None:
    world = make()
    agreed(world, ["evt01", "evt02", "evt03"])
    deleted_unseen(world, ["evt01", "evt02", "evt03"])
    world.server.faults.add(Fault(path="/events/evt01"))
    for _ in range(2):
        world.run()
        later(world)
    assert sorted(world.rows("source_key, status")) == [
        ("evt01@google.com", "scheduled"),
        ("evt02@google.com", "cancelled"),
        ("evt03@google.com", "cancelled"),
    ]
    world.server.faults.clear()
    world.run()
    assert set(world.rows("status")) == {("cancelled",)}


@pytest.mark.parametrize(("status", "reason"), [(403, "forbidden"), (400, "invalid")])
def test_a_look_up_that_is_refused_says_nothing_of_its_event_and_nothing_of_its_calendar(
    make: Make, status: int, reason: str
) -> None:
    world = make()
    agreed(world, ["evt01", "evt02"])
    deleted_unseen(world, ["evt01", "evt02"])
    world.server.faults.add(Fault(status=status, reason=reason, path="/events/evt01"))
    result = world.run()
    assert result.calendars[0].observed
    assert [row[0] for row in world.rows("status")] == ["scheduled", "cancelled"]


# ---- the right time -------------------------------------------------------------------------------------------------


def test_a_rest_that_began_by_a_clock_that_was_wrong_is_none(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["evt01"])
    world.server.accounts.refuse(BOB, "invalid_grant")
    world.server.accounts.withdraw(BOB)
    later(world, minutes=50)
    world.run()
    later(world, minutes=-45)
    world.server.accounts.admit(BOB)
    assert {one.agent: one.observed for one in world.run().calendars} == {ANN: True, BOB: True}


def test_what_was_read_by_a_clock_that_was_wrong_is_not_fresh(make: Make) -> None:
    world = make(agents=tuple(f"agent{number:02}@acme.example" for number in range(10)))
    later(world, days=300)
    world.run()
    later(world, days=-300)
    world.server.faults.add(Fault(status=429, reason="rateLimitExceeded", retry_after=7200))
    assert not any(one.observed for one in world.run().calendars)
