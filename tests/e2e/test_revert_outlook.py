"""What a run wrote to Outlook calendars is taken back there; records stay, nobody is mailed, no run does it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler import inverse
from reconciler.model import Delta
from reconciler.result import Result
from reconciler.reverting import UNCONFIRMED, revert
from reconciler.run import Options
from reconciler.simulator.graph import Fault, Harm
from tests.e2e.microsoft_world import CID, MicrosoftWorld, microsoft_world, times
from tests.e2e.world import NOW, planned

SOON = NOW + timedelta(days=2)
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'
BOTH = pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
Make = Callable[..., MicrosoftWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; whatever a test does in it, nobody is mailed."""
    worlds: list[MicrosoftWorld] = []
    settings = {"agents": (CID,), "limits": FREELY, "sync": "two-way", "scribe": True}
    with ExitStack() as stack:

        def made(**more: Any) -> MicrosoftWorld:
            worlds.append(stack.enter_context(microsoft_world(tmp_path, **{**settings, **more})))
            return worlds[-1]

        yield made
        assert [mail for world in worlds for mail in world.mailed] == []


def later(world: MicrosoftWorld) -> None:
    world.now += timedelta(minutes=30)
    world.waiting.now += 1800


def undo(world: MicrosoftWorld, run: Result) -> Result:
    with world.setup() as setup:
        return revert(setup, Options(), run.run)


def booked(world: MicrosoftWorld) -> Result:
    """Book an appointment in the CRM, and let the job bring it into the calendar."""
    world.insert(None, SOON)
    later(world)
    run = world.run()
    assert planned(run) == [("create", "done")]
    return run


def move(world: MicrosoftWorld, start: datetime) -> None:
    spelled = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + timedelta(hours=1), world.now)]
    world.sql("UPDATE appointments SET starts_at = ?, ends_at = ?, updated_at = ?, version = version + 1", *spelled)
    later(world)


def starts(world: MicrosoftWorld) -> list[datetime]:
    return [datetime.fromisoformat(event["start"]["dateTime"][:19]).replace(tzinfo=UTC) for event in world.shown()]


def rests(world: MicrosoftWorld) -> list[tuple[Delta, ...]]:
    """Run until the feed has shown what was written; return what the runs planned."""
    found = []
    for _ in range(3):
        later(world)
        found.append(world.run().deltas)
    return found


@BOTH
@pytest.mark.parametrize("is_read", [True, False])
def test_an_event_that_we_made_is_removed_and_its_record_stays(make: Make, sync: str, *, is_read: bool) -> None:
    world = make(sync=sync)
    run = booked(world)
    if is_read:
        assert rests(world) == [(), (), ()]
    before = world.rows()
    taken = undo(world, run)
    assert (planned(taken), [delta.side for delta in taken.deltas]) == ([("cancel", "done")], ["calendar"])
    assert rests(world) == [(), (), ()]
    assert (world.shown(), world.rows()) == ([], before)


@BOTH
@pytest.mark.parametrize("is_read", [True, False])
def test_an_event_that_we_moved_is_moved_back_and_goes_on_when_its_record_moves(
    make: Make, sync: str, *, is_read: bool
) -> None:
    world = make(sync=sync)
    booked(world)
    move(world, SOON + timedelta(hours=3))
    run = world.run()
    assert (planned(run), starts(world)) == ([("update", "done")], [SOON + timedelta(hours=3)])
    if is_read:
        assert rests(world) == [(), (), ()]
    before = world.rows()
    assert planned(undo(world, run)) == [("update", "done")]
    assert rests(world) == [(), (), ()]
    assert (starts(world), world.rows()) == ([SOON], before)
    move(world, SOON + timedelta(hours=5))
    assert planned(world.run()) == [("update", "done")]
    assert rests(world) == [(), (), ()]
    assert starts(world) == [SOON + timedelta(hours=5)]


def test_an_event_that_its_agent_changed_since_is_kept(make: Make) -> None:
    world = make()
    run = booked(world)
    [event] = world.shown()
    world.mailbox().patch(event["id"], times(SOON + timedelta(hours=6)))
    assert planned(undo(world, run)) == [("cancel", "conflict")], "found at the write, though nobody had read it yet"
    later(world)
    world.run()
    assert [delta.why for delta in undo(world, run).deltas] == [inverse.CHANGED]
    assert starts(world) == [SOON + timedelta(hours=6)]


def test_what_is_not_confirmed_yet_is_not_taken_back(make: Make) -> None:
    world = make()
    first = booked(world)
    move(world, SOON + timedelta(hours=3))

    def blind() -> None:
        world.server.faults.add(Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE))

    world.server.faults.add(Fault(method="PATCH", kind="calendar", what=Harm.DROP_AFTER, times=1, meanwhile=blind))
    assert planned(world.run()) == [("update", "unknown")]
    taken = undo(world, first)
    assert [(delta.outcome, delta.why) for delta in taken.deltas] == [("conflict", UNCONFIRMED)]
    assert starts(world) == [SOON + timedelta(hours=3)]


def test_an_answer_that_is_lost_after_an_event_was_taken_back_costs_no_record(make: Make) -> None:
    world = make()
    run = booked(world)
    before = world.rows()

    def blind() -> None:
        world.server.faults.add(Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE))

    world.server.faults.add(Fault(method="DELETE", kind="calendar", what=Harm.DROP_AFTER, times=1, meanwhile=blind))
    assert planned(undo(world, run)) == [("cancel", "unknown")]
    world.server.faults.clear()
    assert rests(world) == [(), (), ()]
    assert (world.shown(), world.rows()) == ([], before)
