"""Processes that are killed at any instant, and processes that begin at the same one: real ones, as cron has them."""

from __future__ import annotations

import random
import time
from multiprocessing.context import ForkServerContext

import pytest

from reconciler.errors import LockedError
from tests.crash.program import ended, forking, started
from tests.crash.twins import Twins, agreed, at_rest, changed, left, showing, written
from tests.e2e.world import World

pytestmark = pytest.mark.slow

KILLED = -9
DELTAS = {"create": 100, "update": 80, "cancel": 20}
POLLS = 6_000


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    return forking()


def kill_after(context: ForkServerContext, world: World, intents: int, pause: float) -> int:
    """Run the job in a process and kill it once its journal has so many rows, and a moment later."""
    process = started(context, world)
    for _ in range(POLLS):
        if process.exitcode is not None or written(world) >= intents:
            break
        time.sleep(0.01)  # the processor is for the process that writes
    time.sleep(pause)
    process.kill()
    return ended(process)


def test_runs_that_are_killed_while_they_write_200_records_leave_what_one_run_would(
    twins: Twins, context: ForkServerContext
) -> None:
    world = agreed(twins, 120)
    changed(world, of=120, **DELTAS)
    again = twins.keep(world)
    before = written(world)
    assert len(at_rest(world).deltas) == sum(DELTAS.values())
    undisturbed = left(world)
    world = again()
    draw = random.Random(200)
    exits = [
        kill_after(context, world, before + draw.randint(25, 35) * number, draw.random() / 50) for number in range(1, 6)
    ]
    assert exits.count(KILLED) >= 4, exits
    at_rest(world)
    assert left(world) == undisturbed


def kill_revert_after(context: ForkServerContext, world: World, run: str, done: int, pause: float) -> int:
    """Take a run back in a process and kill it once so many writes are confirmed, and a moment later."""
    process = started(context, world, words=("revert", run, "--job"))
    for _ in range(POLLS):
        if process.exitcode is not None or written(world, "done") >= done:
            break
        time.sleep(0.01)
    time.sleep(pause)
    process.kill()
    return ended(process)


def test_a_revert_that_is_killed_while_it_takes_100_records_back_is_undone_by_no_run_and_ends_like_one_in_peace(
    twins: Twins, context: ForkServerContext
) -> None:
    world = agreed(twins, 80)
    before = world.rows("source_key, starts_at, status")
    changed(world, of=80, create=40, update=45, cancel=15)
    run = at_rest(world).run
    again = twins.keep(world)
    assert ended(started(context, world, words=("revert", run, "--job"))) == 0
    at_rest(world)
    undisturbed = left(world)
    assert world.rows("source_key, starts_at, status")[:80] == before
    world = again()
    wrote = written(world, "done")
    draw = random.Random(100)
    exits = []
    for number in range(1, 5):
        done = wrote + draw.randint(12, 20) * number
        exits.append(kill_revert_after(context, world, run, done, draw.random() / 50))
        assert [delta for delta in at_rest(world).deltas if delta.outcome != "held"] == []
    assert exits.count(KILLED) >= 3, exits
    assert ended(started(context, world, words=("revert", run, "--job"))) == 0
    at_rest(world)
    assert left(world) == undisturbed


def test_of_two_processes_that_start_at_the_same_instant_one_writes(twins: Twins, context: ForkServerContext) -> None:
    world = agreed(twins, 1)
    barrier = context.Barrier(2)
    met: set[tuple[int, ...]] = set()
    for number in range(1, 5 if twins.is_postgres else 13):
        world.write(world.agents[0], *(showing(each) for each in range(number + 1)))
        both = [started(context, world, barrier) for _ in range(2)]
        met.add(tuple(sorted(ended(each) for each in both)))
        assert len(world.rows()) == number + 1, "one record for each showing"
    assert met <= {(0, 0), (0, LockedError.exit_code)}
    runs = [row["run"] for row in world.journal()]
    assert len(runs) == len(set(runs)), "each showing was written once"
    at_rest(world)


def test_two_processes_that_find_no_state_at_the_same_instant_make_one(
    twins: Twins, context: ForkServerContext
) -> None:
    barrier = context.Barrier(2)
    for _ in range(1 if twins.is_postgres else 3):
        world = twins.make()
        world.write(world.agents[0], showing(0))
        both = [started(context, world, barrier) for _ in range(2)]
        assert sorted(ended(each) for each in both) in ([0, 0], [0, LockedError.exit_code])
        assert len(world.rows()) == 1
        at_rest(world)
