"""A run that ends at any of its steps leaves a world in which the next run ends as if there had been no end."""

from __future__ import annotations

import random

import pytest

from tests.crash.boundaries import Boundary, killed
from tests.crash.twins import Twins, agreed, at_rest, changed, left
from tests.e2e.world import World

pytestmark = pytest.mark.slow

MIDST = {Boundary.SENDING, Boundary.SENT}
STRIDE = 3  # there are 8 boundaries to a write: each kind of them is met


def busy(twins: Twins) -> World:
    """Make a world with a record to create, one to update, one to cancel, and two that people edited."""
    world = agreed(twins, 5)
    changed(world, of=5, create=1, update=2, cancel=1)
    world.sql("UPDATE appointments SET starts_at = '2026-11-27 08:00:00', version = 2 WHERE source_key = 'meet001'")
    world.sql("UPDATE appointments SET location = 'Elm 1', version = 2 WHERE source_key = 'meet004'")
    return world


def worth_dying_at(reached: list[Boundary], twins: Twins) -> list[int]:
    """Return all boundaries from the first intent on, and some of those at which a run only reads.

    What a transaction is to a run is the same in PostgreSQL: there it is some of them, of each kind.
    """
    first_intent = reached.index(Boundary.SENDING) - 2
    if twins.is_postgres:
        return [*range(first_intent, len(reached) + 1, STRIDE)]
    return [*range(1, first_intent, 6), *range(first_intent, len(reached) + 1)]


def test_a_run_that_dies_at_any_boundary_is_finished_by_the_next(twins: Twins) -> None:
    world = busy(twins)
    again = twins.keep(world)
    reached = killed(world.run, None).reached
    assert reached.count(Boundary.SENT) == 3
    at_rest(world)
    ended = left(world)
    for fatal in worth_dying_at(reached, twins):
        world = again()
        assert killed(world.run, fatal).is_dead
        at_rest(world)
        assert left(world) == ended, f"killed {reached[fatal - 1]}, boundary {fatal}"


def test_a_recovery_that_dies_is_recovered_from(twins: Twins) -> None:
    world = busy(twins)
    again = twins.keep(world)
    reached = killed(world.run, None).reached
    at_rest(world)
    ended = left(world)
    draw = random.Random(5)
    for fatal in [number for number, boundary in enumerate(reached, 1) if boundary in MIDST]:
        world = again()
        assert killed(world.run, fatal).is_dead
        deaths = [killed(world.run, draw.randint(1, 25)) for _ in range(2)]
        at_rest(world)
        assert left(world) == ended, f"killed at {fatal}, then at {[len(kill.reached) for kill in deaths]}"
