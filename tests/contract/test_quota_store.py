"""What every database must do with budgets: give each attempt out once, however many ask, and none for a clock."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from threading import Barrier

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from reconciler.quota import Budget, Quota
from reconciler.store.database import open_engine
from reconciler.store.quota import (
    FAR,
    Bucket,
    Draw,
    Drawn,
    Engine,
    Ledger,
    Memory,
    Shared,
    agent_scope,
    withdraw,
)
from reconciler.store.schema import quota

NOW = 1_795_000_000.0
MINUTE = Bucket("minute", capacity=20, rate=0.5)
DAY = Bucket("day", capacity=8, rate=0.001)
Open = Callable[[], Engine]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name one empty database."""
    if request.param == "postgres":
        made: str = request.getfixturevalue("postgres_state")()
        return made
    return f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db"


@pytest.fixture
def opened(url: str) -> Iterator[Open]:
    """Open engines on one and the same database, as processes would."""
    engines: list[Engine] = []

    def open_one() -> Engine:
        engines.append(open_engine(url))
        return engines[-1]

    yield open_one
    for each in engines:
        each.dispose()


def take(engine: Engine, *buckets: Bucket, want: int = 1, now: float = NOW, floor: float = 0.0) -> Drawn:
    return withdraw(engine, "google", [Draw(bucket, floor) for bucket in buckets], want=want, now=now)


def drain(engine: Engine, *buckets: Bucket, now: float = NOW, floor: float = 0.0) -> int:
    """Take all there is."""
    granted = 0
    while (drawn := take(engine, *buckets, want=1000, now=now, floor=floor)).granted:
        granted += drawn.granted
    return granted


def scopes(engine: Engine) -> set[str]:
    with engine.connect() as connection:
        return set(connection.execute(select(quota.c.scope)).scalars())


def test_a_bucket_gives_what_it_holds_and_then_what_it_gained(opened: Open) -> None:
    engine = opened()
    assert drain(engine, MINUTE) == 20
    assert take(engine, MINUTE) == Drawn(0, "minute", 2.0)
    assert drain(engine, MINUTE, now=NOW + 10) == 5
    assert drain(engine, MINUTE, now=NOW + 10_000) == 20, "it never holds more than its capacity"


def test_the_less_is_left_the_smaller_the_blocks(opened: Open) -> None:
    engine = opened()
    assert [take(engine, MINUTE, want=12).granted for _ in range(6)] == [10, 5, 3, 1, 1, 0]


def test_a_small_wish_is_granted_as_it_is(opened: Open) -> None:
    assert take(opened(), MINUTE, want=3) == Drawn(3)


def test_two_processes_share_one_bucket(opened: Open) -> None:
    mine, other = opened(), opened()
    assert drain(mine, MINUTE) == 20
    assert take(other, MINUTE).granted == 0


def test_a_withdrawal_from_two_buckets_takes_the_same_of_both_or_nothing(opened: Open) -> None:
    engine = opened()
    assert drain(engine, MINUTE, DAY) == 8
    short = take(engine, MINUTE, DAY)
    assert (short.granted, short.short, round(short.after)) == (0, "day", 1000)
    assert drain(engine, MINUTE) == 12, "the failed withdrawal took nothing from the other bucket"


def test_writes_leave_what_is_kept_for_reads(opened: Open) -> None:
    engine = opened()
    assert drain(engine, MINUTE, floor=2) == 18
    assert take(engine, MINUTE, floor=2) == Drawn(0, "minute", 2.0)
    assert drain(engine, MINUTE) == 2


def test_projects_have_budgets_of_their_own(opened: Open) -> None:
    engine = opened()
    drain(engine, MINUTE)
    assert withdraw(engine, "google:other", [Draw(MINUTE)], want=1, now=NOW).granted == 1


def test_a_job_with_a_smaller_budget_never_finds_more_than_its_own_capacity(opened: Open) -> None:
    engine = opened()
    take(engine, MINUTE)
    assert drain(engine, Bucket("minute", capacity=4, rate=0.1)) == 4


def test_a_bucket_that_a_wrong_clock_used_fills_from_the_moment_somebody_asks(opened: Open) -> None:
    for ledger in (Shared(opened(), "google"), Memory()):
        assert ledger.withdraw([Draw(MINUTE)], want=5, now=NOW + 100 * FAR).granted == 5
        assert ledger.withdraw([Draw(MINUTE)], want=5, now=NOW).granted == 0
        assert ledger.withdraw([Draw(MINUTE)], want=5, now=NOW + 10).granted > 0


@pytest.mark.parametrize("back", [1.0, 59.0, FAR])
def test_a_clock_set_back_brings_nothing(opened: Open, back: float) -> None:
    engine = opened()
    drain(engine, MINUTE)
    assert drain(engine, MINUTE, now=NOW - back) == 0
    assert drain(engine, MINUTE, now=NOW) == 0
    assert drain(engine, MINUTE, now=NOW + 4) == 2, "what time brings it brings once"


def test_a_clock_that_was_years_ahead_does_not_stop_the_job_for_years(opened: Open) -> None:
    engine = opened()
    take(engine, MINUTE, now=NOW + 1e8)
    assert drain(engine, MINUTE) == 0, "it starts again, and empty"
    drain(engine, MINUTE, DAY)
    assert drain(engine, MINUTE, now=NOW + 4) == 2, "and it fills from when it was first asked for"


def test_processes_that_ask_at_once_never_get_more_than_there_is(opened: Open) -> None:
    engines = [opened() for _ in range(4)]
    together = Barrier(8, timeout=60)

    def ask(number: int) -> int:
        together.wait()
        return sum(take(engines[number % 4], MINUTE, DAY, want=2).granted for _ in range(10))

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(ask, range(8))) == 8


def test_a_bucket_that_two_open_in_the_same_instant_is_opened_once(opened: Open) -> None:
    engines = [opened() for _ in range(8)]
    for round_ in range(5):
        bucket = Bucket(f"new{round_}", capacity=5, rate=0.001)
        together = Barrier(8, timeout=60)

        def ask(engine: Engine, bucket: Bucket = bucket, together: Barrier = together) -> int:
            together.wait()
            return sum(take(engine, bucket).granted for _ in range(3))

        with ThreadPoolExecutor(8) as threads:
            assert sum(threads.map(ask, engines)) == 5


PROCESS = """
import sys
from reconciler.store.database import open_engine
from reconciler.store.quota import Bucket, Draw, withdraw
engine = open_engine(sys.argv[1])
bucket = Bucket("minute", capacity=20, rate=0.5)
print(sum(withdraw(engine, "google", [Draw(bucket)], want=2, now=float(sys.argv[2])).granted for _ in range(30)))
engine.dispose()
"""


def test_processes_of_their_own_share_the_budget(url: str, opened: Open) -> None:
    opened()
    command = [sys.executable, "-W", "error", "-c", PROCESS, url, str(NOW)]

    def run(_: int) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with ThreadPoolExecutor(3) as threads:
        runs = list(threads.map(run, range(3)))
    assert [each.stderr for each in runs] == [""] * 3
    assert sum(int(each.stdout) for each in runs) == 20


def test_no_agent_is_named_in_the_ledger(opened: Open) -> None:
    engine = opened()
    take(engine, Bucket(agent_scope("ann@acme.example"), 5, 1))
    [scope] = scopes(engine)
    assert scope == agent_scope("Ann@acme.example")
    assert "ann" not in scope
    assert "acme" not in scope


def test_a_rest_is_known_to_every_process_names_nobody_and_ends(opened: Open) -> None:
    def quota_at(seconds: float) -> Quota:
        return Quota("google", Budget(), opened(), clock=lambda: NOW + seconds)

    assert quota_at(0).rests("ann@acme.example", 3600) == 0
    assert quota_at(0).rests("ann@acme.example", 3600) == 0, "asking takes nothing"
    quota_at(0).rest("ann@acme.example", 3600)
    assert quota_at(900).rests("Ann@acme.example", 3600) == pytest.approx(2700)
    assert quota_at(900).rests("bob@acme.example", 3600) == 0
    assert quota_at(3599).rests("ann@acme.example", 3600) > 0
    assert quota_at(3601).rests("ann@acme.example", 3600) == 0
    assert not any("ann" in scope for scope in scopes(opened()))


def test_asking_whether_an_agent_rests_leaves_nothing_that_a_clock_set_back_would_take_for_a_rest(opened: Open) -> None:
    def quota_at(seconds: float) -> Quota:
        return Quota("google", Budget(), opened(), clock=lambda: NOW + seconds)

    assert quota_at(8 * 3600).rests("ann@acme.example", 3600) == 0
    assert scopes(opened()) == set()
    assert quota_at(0).rests("ann@acme.example", 3600) == 0


def test_buckets_of_agents_that_are_full_again_are_dropped(opened: Open) -> None:
    engine = opened()
    ledger = Shared(engine, "google")
    with engine.begin() as connection:
        for scope, at in {agent_scope("old"): NOW - FAR - 1, agent_scope("new"): NOW - 60, "day": NOW - 90_000}.items():
            connection.execute(insert(quota).values(provider="google", scope=scope, level=0.0, at=at))
    ledger.withdraw([Draw(MINUTE)], want=1, now=NOW)
    assert agent_scope("old") in scopes(engine), "only who needs an agent's bucket tidies"
    ledger.withdraw([Draw(Bucket(agent_scope("ann"), 5, 1))], want=1, now=NOW)
    assert scopes(engine) == {agent_scope("new"), agent_scope("ann"), "day", "minute"}


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Ledger]]:
    """Make ledgers that know nothing yet."""
    engine = open_engine(f"sqlite:///{tmp_path_factory.mktemp('ledger')}/state.db")
    made = iter(range(100_000))
    yield lambda: Memory() if request.param == "memory" else Shared(engine, f"project{next(made)}")
    engine.dispose()


FEW = settings().max_examples // 5  # each step is a transaction
STEPS = st.lists(st.tuples(st.floats(0, 30), st.integers(1, 30)), min_size=1, max_size=25)


@settings(max_examples=FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, capacity=st.floats(1, 40), rate=st.floats(0.01, 5))
def test_no_window_sees_more_than_its_bucket_allows(
    ledger: Callable[[], Ledger], steps: list[tuple[float, int]], capacity: float, rate: float
) -> None:
    kept, bucket, now, taken = ledger(), Bucket("minute", capacity, rate), NOW, [(NOW, 0)]
    for pause, want in steps:
        now += pause
        taken.append((now, kept.withdraw([Draw(bucket)], want=want, now=now).granted))
    assert all(before <= after for (before, _), (after, _) in pairwise(taken))
    for first, (begin, _) in enumerate(taken):
        for last, (end, _) in enumerate(taken[first:], first):
            spent = sum(granted for _, granted in taken[first : last + 1])
            assert spent <= capacity + rate * (end - begin) + 1e-6


@settings(max_examples=FEW, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=st.lists(st.floats(-600, 600), min_size=1, max_size=30))
def test_a_clock_that_jumps_about_brings_no_more_than_its_furthest_instant(
    ledger: Callable[[], Ledger], steps: list[float]
) -> None:
    kept, bucket = ledger(), Bucket("minute", capacity=20, rate=0.5)
    taken = kept.withdraw([Draw(bucket)], want=1, now=NOW).granted
    furthest = now = NOW
    for step in steps:
        now = max(NOW - FAR / 2, min(NOW + FAR / 2, now + step))
        furthest = max(furthest, now)
        taken += kept.withdraw([Draw(bucket)], want=20, now=now).granted
    assert taken <= 20 + 0.5 * (furthest - NOW) + 1e-6
