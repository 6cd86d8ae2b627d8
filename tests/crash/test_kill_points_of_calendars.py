"""A run that ends at any of its steps while it writes calendars leaves an office in which the next one finishes it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.crash.boundaries import Boundary, killed
from tests.crash.offices import Offices, busy, offices, rest, standing
from tests.crash.twins import Twins

pytestmark = pytest.mark.slow

MIDST = {Boundary.SENDING, Boundary.SENT}
WRITES = {"crm-to-calendar": 4, "two-way": 7}
STRIDE = 3  # there are 8 boundaries to a write: each kind of them is met
SYNC = pytest.mark.parametrize("sync", list(WRITES))


@pytest.fixture
def town(twins: Twins) -> Iterator[Offices]:
    """Make offices with their state on SQLite and on PostgreSQL."""
    with offices(twins) as made:
        yield made


def worth_dying_at(reached: list[Boundary], town: Offices) -> list[int]:
    """Return boundaries from the first intent on; with the state in PostgreSQL only some of them."""
    first_intent = reached.index(Boundary.SENDING) - 2
    return [*range(first_intent, len(reached) + 1, 11 if town.twins.is_postgres else STRIDE)]


@SYNC
def test_a_run_that_dies_at_any_boundary_is_finished_by_the_next(town: Offices, sync: str) -> None:
    world = town.make(sync)
    busy(world)
    again = town.keep(world)
    reached = killed(world.run, None).reached
    assert reached.count(Boundary.SENT) == WRITES[sync]
    rest(world)
    ended = standing(world)
    for fatal in worth_dying_at(reached, town):
        world = again()
        assert killed(world.run, fatal).is_dead
        rest(world)
        assert standing(world) == ended, f"killed {reached[fatal - 1]}, boundary {fatal}"


@SYNC
def test_a_recovery_that_dies_is_recovered_from(town: Offices, sync: str) -> None:
    world = town.make(sync)
    busy(world)
    again = town.keep(world)
    reached = killed(world.run, None).reached
    rest(world)
    ended = standing(world)
    draw = random.Random(5)
    midst = [number for number, boundary in enumerate(reached, 1) if boundary in MIDST]
    for fatal in midst[:: 7 if town.twins.is_postgres else 3]:
        world = again()
        assert killed(world.run, fatal).is_dead
        deaths = [killed(world.run, draw.randint(1, 25)) for _ in range(2)]
        rest(world)
        assert standing(world) == ended, f"killed at {fatal}, then at {[len(kill.reached) for kill in deaths]}"
