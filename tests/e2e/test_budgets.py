"""What may be written to a CRM is a budget: shared, kept over restarts, and what does not fit waits its turn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.crm import Writer, Written
from reconciler.model import Fields, Outcome
from reconciler.quota import Budget, Quota, Scope
from reconciler.result import Result
from reconciler.run import Options, Setup, run
from reconciler.sources.answers import PostponedError
from reconciler.store.schema import quota as quota_table
from tests.e2e.test_journal import Around, outcomes, statuses
from tests.e2e.world import NOW, World, event

Make = Callable[..., World]
ANN = "ann@acme.example"
ROOMY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'


@dataclass
class Time:
    """Time as budgets see it: whoever waits has waited at once. `slept` is how long in all."""

    now: float = NOW.timestamp()
    slept: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds

    def quota(self, *args: Any) -> Quota:
        return Quota(*args, clock=self.clock, sleep=self.sleep, rng=lambda: 0.0)


@contextmanager
def opened(world: World, time: Time) -> Iterator[Setup]:
    job = load(world.job(), world.environ)
    with assemble(job, world.environ, clock=world.clock, dry_run=False, quota=time.quota) as setup:
        yield setup


def ran(world: World, time: Time, around: Callable[[Writer], Any] = lambda writer: writer) -> Result:
    with opened(world, time) as setup:
        writers = setup.writers
        assert writers is not None
        return run(replace(setup, writers=replace(writers, crm=lambda: around(writers.crm()))), Options())


def budgeted(make: Make, budget: str, **settings: Any) -> World:
    return make(limits=f"{ROOMY}\n[budget.sql]\n{budget}", **settings)


def events(count: int) -> list[str]:
    return [event(f"e{n:02d}", NOW + timedelta(days=1, hours=2 * n)) for n in range(count)]


# ---- the CRM's budget -----------------------------------------------------------------------------------------------


def test_what_the_day_does_not_hold_is_deferred_listed_and_first_next_time(make: Make) -> None:
    world, time = budgeted(make, "per_day = 10\nshare = 0.5"), Time()
    world.write(ANN, *events(8))
    first = ran(world, time)
    written = len(world.rows())
    assert 0 < written <= 5, "our share of the day, and no attempt more"
    assert (first.exit_code, first.counts["deferred"]) == (5, 8 - written)
    left = [delta for delta in first.deltas if delta.outcome is Outcome.DEFERRED]
    assert {delta.why for delta in left} == {
        "nothing was written: today's budget of 5 CRM requests is used up",
    }
    nearer = event("soon", NOW + timedelta(hours=20))
    world.write(ANN, *events(8), nearer)
    time.now += 20_000
    world.now += timedelta(minutes=20)
    second = ran(world, time)
    done = [delta.event for delta in second.deltas if delta.outcome is Outcome.DONE]
    assert done, "the bucket fills by and by"
    assert second.deltas[0].event == f"e{written:02d}", "what waited comes before what is nearer"
    assert "soon" not in done


def test_a_budget_survives_restarts_and_is_shared_by_all_who_write_to_the_crm(make: Make) -> None:
    world, time = budgeted(make, "per_day = 10\nshare = 0.5"), Time()
    world.write(ANN, *events(8))
    total = 0
    for _ in range(4):  # each is a process of its own as far as the state can tell
        total += sum(1 for delta in ran(world, time).deltas if delta.outcome is Outcome.DONE)
    assert total == len(world.rows()) <= 5
    with opened(world, time) as one, opened(world, time) as other, one.state.begin() as connection:
        assert one.writers is not None
        assert other.writers is not None
        assert one.writers.budget is not other.writers.budget
        (provider,) = set(connection.execute(select(quota_table.c.provider)).scalars())
        assert provider == f"sql:{one.reader.identity}"


def test_each_write_is_one_attempt_whatever_came_of_it(make: Make) -> None:
    world, time = budgeted(make, "per_minute = 1000"), Time()
    world.write(ANN, *events(4))
    answers = iter([Outcome.FAILED, Outcome.UNKNOWN, Outcome.CONFLICT, Outcome.DONE])
    sent: list[str] = []

    class Moody(Around):
        def create(self, key: str, fields: Fields) -> Written:
            sent.append(key)
            answer = next(answers)
            return self.writer.create(key, fields) if answer is Outcome.DONE else Written(answer, why="so it was")

    with opened(world, time) as setup:
        writers = setup.writers
        assert writers is not None
        assert writers.budget is not None
        run(replace(setup, writers=replace(writers, crm=lambda: Moody(writers.crm()))), Options())
        assert writers.budget.attempts[Scope.WRITE] == len(sent) == 4, "nothing is tried again on a guess"


def test_a_minute_is_waited_for_and_never_overdrawn(make: Make) -> None:
    world, time = budgeted(make, "per_minute = 20\nshare = 0.5"), Time()
    world.write(ANN, *events(25))
    sent: list[float] = []

    class Timing(Around):
        def create(self, key: str, fields: Fields) -> Written:
            sent.append(time.now)
            return self.writer.create(key, fields)

    result = ran(world, time, Timing)
    assert (result.exit_code, len(sent)) == (0, 25)
    assert time.slept > 0
    most = max(sum(1 for other in sent if moment <= other < moment + 60) for moment in sent)
    assert most <= 10, "no minute, wherever it begins, sees more than our share"


def test_nothing_is_waited_for_beyond_the_deadline(make: Make) -> None:
    world, time = budgeted(make, "per_minute = 20\nshare = 0.5", section='deadline = "20s"'), Time()
    world.write(ANN, *events(25))
    with opened(world, time) as setup:
        began = time.now

        def clock() -> Any:
            return NOW + timedelta(seconds=time.now - began)

        result = run(replace(setup, clock=clock), Options())
    assert time.slept <= 20
    assert result.exit_code == 5
    assert 0 < len(world.rows()) < 25
    assert statuses(world).count("deferred") == 25 - len(world.rows())


def test_without_a_budget_nothing_is_charged(make: Make) -> None:
    world, time = make(), Time()
    world.write(ANN, *events(3))
    assert outcomes(ran(world, time)) == [("create", "done")] * 3
    with opened(world, time) as setup, setup.state.begin() as connection:
        assert connection.execute(select(quota_table.c.provider)).all() == []


# ---- reads and writes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("budget", [Budget(per_minute=200, share=1.0), Budget(per_day=200, share=1.0)])
def test_writes_never_spend_what_the_next_run_needs_to_read(make: Make, budget: Budget) -> None:
    world, time = make(), Time()
    with world.setup() as setup:
        mine, next_run = (time.quota("google:project", budget, setup.state.engine) for _ in range(2))
        assert _until_postponed(mine, Scope.WRITE) > 0
        assert _until_postponed(next_run, Scope.WRITE) == 0, "another process finds nothing left for writes either"
        assert _until_postponed(next_run, Scope.READ) > 0, "and still can look"


def _until_postponed(quota: Quota, scope: Scope) -> int:
    sent: list[int] = []
    try:
        while True:
            quota.call(lambda: sent.append(1), agent=ANN, scope=scope, patience=lambda: 0.001)
    except PostponedError:
        return len(sent)
