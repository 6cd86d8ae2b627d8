"""A run that ends at any of its steps leaves a world in which the next run ends as if there had been no end."""

from __future__ import annotations

import random

from tests.crash.boundaries import Boundary, killed
from tests.crash.twins import Twins, agreed, at_rest, changed, left
from tests.e2e.world import World

MIDST = {Boundary.SENDING, Boundary.SENT}


def busy(twins: Twins) -> World:
    """Make a world with a record to create, one to update, one to cancel, and two that people edited."""
    world = agreed(twins, 5)
    changed(world, of=5, create=1, update=2, cancel=1)
    world.sql("UPDATE appointments SET starts_at = '2026-11-27 08:00:00', version = 2 WHERE source_key = 'meet001'")
    world.sql("UPDATE appointments SET location = 'Elm 1', version = 2 WHERE source_key = 'meet004'")
    return world


def worth_dying_at(reached: list[Boundary], twins: Twins) -> list[int]:
    """Return all boundaries from the first intent on; of those at which a run only reads, some, and only once."""
    first_intent = reached.index(Boundary.SENDING) - 2
    reading = [] if twins.is_postgres else range(1, first_intent, 4)
    return [*reading, *range(first_intent, len(reached) + 1)]


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
