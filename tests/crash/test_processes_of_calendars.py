"""Processes that are killed at any instant while they write calendars: real ones, and a server that goes on."""

from __future__ import annotations

import random
import time
from datetime import timedelta
from multiprocessing.context import ForkServerContext

import pytest

from tests.crash.offices import full, offices, rest, standing
from tests.crash.program import ended, forking, started
from tests.crash.twins import Twins, written
from tests.e2e.google_world import GoogleWorld, Waiting, later
from tests.e2e.world import NOW

pytestmark = pytest.mark.slow

KILLED = -9
DELTAS = {"create": 12, "update": 8, "cancel": 4}
AMPLE = "[budget.google]\nper_minute = 100000\nper_agent_minute = 100000\n"
POLLS = 6_000


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    return forking()


def kill_after(context: ForkServerContext, world: GoogleWorld, done: int, pause: float) -> int:
    """Run the job in a process and kill it once so many writes are confirmed, and a moment later."""
    process = started(context, world)
    for _ in range(POLLS):
        if process.exitcode is not None or written(world, "done") >= done:
            break
        time.sleep(0.01)  # the processor is for the process that writes
    time.sleep(pause)
    process.kill()
    return ended(process)


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_runs_that_are_killed_while_they_write_24_events_leave_what_one_run_would(
    twins: Twins, context: ForkServerContext, sync: str
) -> None:
    with offices(twins) as town:
        # Processes believe that it is NOW, and count their requests by the true time: it is never set back.
        earlier = timedelta(hours=4)
        waiting = Waiting(time.time() - earlier.total_seconds())
        world = town.make(sync, more=AMPLE, now=NOW - earlier, waiting=waiting)
        full(world, of=14, **DELTAS)
        later(world, seconds=(NOW - world.now).total_seconds())
        again = town.keep(world)
        world.waiting.now = time.time()
        before = written(world, "done")
        assert len(rest(world).deltas) == sum(DELTAS.values())
        undisturbed = standing(world)
        world = again()
        draw = random.Random(24)
        exits = [
            kill_after(context, world, before + 6 * number + draw.randint(-4, 0), draw.random() / 20)
            for number in range(1, 5)
        ]
        assert exits.count(KILLED) >= 3, exits
        world.waiting.now = time.time()
        rest(world)
        assert standing(world) == undisturbed
