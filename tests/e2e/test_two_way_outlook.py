"""Outlook shows no marks when it is read, so it is asked before anything is created: nothing goes round in circles."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import Kind
from reconciler.simulator.graph import Fault, Harm
from tests.e2e.microsoft_world import CID, MicrosoftWorld, microsoft_world, showing
from tests.e2e.world import NOW, kinds, planned

SOON = NOW + timedelta(days=2)
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'
ALL = 'relevant = ["client", "linked", "booked", "all"]\n'
Make = Callable[..., MicrosoftWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test, in which every event counts; whatever a test does in it, nobody is mailed."""
    worlds: list[MicrosoftWorld] = []
    settings = {"agents": (CID,), "limits": FREELY, "sync": "two-way", "scribe": True, "policy": ALL}
    with ExitStack() as stack:

        def made(**more: Any) -> MicrosoftWorld:
            worlds.append(stack.enter_context(microsoft_world(tmp_path, **{**settings, **more})))
            return worlds[-1]

        yield made
        assert [mail for world in worlds for mail in world.mailed] == []


def later(world: MicrosoftWorld) -> None:
    world.now += timedelta(minutes=30)
    world.waiting.now += 1800


def linked_pair(world: MicrosoftWorld) -> tuple[int, str]:
    """Return a record and the event that we made for it."""
    number = world.insert(None, SOON)
    later(world)
    assert planned(world.run()) == [("create", "done")]
    [event] = world.shown()
    later(world)
    assert world.run().deltas == ()
    return number, event["id"]


def lose_the_state(world: MicrosoftWorld) -> None:
    for path in world.folder.glob("state.db*"):
        path.unlink()


def test_after_the_state_was_lost_what_we_made_is_linked_again_and_nothing_is_doubled(make: Make) -> None:
    world = make()
    linked_pair(world)
    lose_the_state(world)
    later(world)
    first = world.run()
    assert first.deltas == ()
    assert len(world.linked()) == 1
    later(world)
    assert (world.run().status, len(world.rows()), len(world.shown())) == ("in_sync", 1, 1)


def test_what_we_made_for_a_record_that_is_gone_with_the_state_is_not_entered_again(make: Make) -> None:
    world = make()
    linked_pair(world)
    lose_the_state(world)
    world.sql("DELETE FROM appointments")
    later(world)
    result = world.run()
    assert (result.deltas, world.rows(), kinds(result)) == ((), [], [Kind.MISSING_IN_CRM])
    assert "is not entered into one again" in result.findings[0].why


def test_a_copy_that_a_person_made_of_our_event_is_entered_like_any_other(make: Make) -> None:
    world = make()
    _, event = linked_pair(world)
    mailbox = world.mailbox()
    copy = mailbox.insert(showing("copied", SOON + timedelta(days=1), client=None))
    mailbox.row(copy["id"]).properties |= mailbox.row(event).properties
    later(world)
    result = world.run()
    assert [(delta.side, delta.action, delta.outcome) for delta in result.deltas] == [("crm", "create", "done")]
    assert len(world.rows()) == 2
    later(world)
    assert world.run().status == "in_sync"


def test_while_nobody_can_be_asked_whose_an_event_is_it_is_not_entered(make: Make) -> None:
    world = make()
    world.run()
    world.mailbox().insert(showing("evta", client=None))
    later(world)
    world.server.faults.add(Fault(method="GET", path="/events/evta", what=Harm.DROP_BEFORE))
    result = world.run()
    assert (result.deltas, world.rows(), kinds(result)) == ((), [], [Kind.MISSING_IN_CRM])
    assert "could not be looked up" in result.findings[0].why
    world.server.faults.clear()
    assert planned(world.run()) == [("create", "done")]


def test_more_than_can_be_created_in_one_run_is_not_asked_about_and_waits(make: Make) -> None:
    world = make(limits=f"{FREELY}\ncap = 1")
    for place in range(3):
        world.insert(None, SOON + timedelta(hours=place))
    later(world)
    for left in (2, 1, 0):
        result = world.run()
        assert planned(result) == [("create", "done")]
        assert result.counts["held"] == left
        later(world)
    assert len(world.shown()) == 3
    assert world.run().status == "in_sync"
