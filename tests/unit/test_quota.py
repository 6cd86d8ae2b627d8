"""Budgets hold in every window, retries are few and polite, and whoever must wait does not stop the others."""

from __future__ import annotations

import contextlib
import math
import random
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Event, Lock, local
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.config import Budget as Table
from reconciler.quota import PUBLISHED, Budget, Quota, Scope, budget_for, forever, steady
from reconciler.quota.budget import DAY, LIFE, MINUTE
from reconciler.quota.gate import LEAST, OPEN
from reconciler.quota.purse import BLOCK
from reconciler.sources.answers import (
    DeniedError,
    ExpiredTokenError,
    Level,
    MissingError,
    PostponedError,
    ProviderError,
    RejectedError,
    ThrottledError,
    TransientError,
)
from reconciler.store.database import open_engine
from reconciler.store.quota import Engine

NOW = 1_795_000_000.0
ANN, BOB = "ann@acme.example", "bob@acme.example"
AMPLE = Budget(per_minute=1_000_000, per_agent_minute=1_000_000, per_day=1_000_000_000, share=1)
NONE = Budget()


@dataclass
class Clock:
    """Time that only passes when somebody sleeps."""

    now: float = NOW
    slept: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)
    read: local = field(default_factory=local)

    def __call__(self) -> float:
        self.read.last = self.now
        return self.now

    def sleep(self, seconds: float) -> None:
        assert 0 <= seconds < math.inf
        with self.lock:
            self.slept.append(seconds)
            self.now += seconds

    def until(self, end: float) -> Callable[[], float]:
        """Return the patience of a run that ends at an instant."""
        return lambda: end - self.now


@dataclass
class Wire:
    """What reaches a provider that answers as it was told, and then with the number of the request."""

    clock: Clock
    answers: list[Exception] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)

    def __call__(self) -> int:
        self.sent.append(self.clock.now)
        if self.answers:
            raise self.answers.pop(0)
        return len(self.sent)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def wire(clock: Clock) -> Wire:
    return Wire(clock)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    opened = open_engine(f"sqlite:///{tmp_path_factory.mktemp('state')}/state.db")
    yield opened
    opened.dispose()


@pytest.fixture
def project(engine: Engine, clock: Clock) -> Callable[..., Quota]:
    """Make quotas of processes that share one ledger nobody has used."""
    name = f"google:{random.random()}"
    return lambda budget, **values: quota(clock, budget, engine=engine, provider=name, **values)


def quota(
    clock: Clock,
    budget: Budget = AMPLE,
    *,
    engine: Engine | None = None,
    provider: str = "google",
    rng: Callable[[], float] = lambda: 0.5,
) -> Quota:
    return Quota(provider, budget, engine, clock=clock, sleep=clock.sleep, rng=rng)


def throttled(level: Level = Level.PROJECT, after: float | None = None) -> ThrottledError:
    return ThrottledError("answered 429 rateLimitExceeded", level=level, reason="rateLimitExceeded", after=after)


def broken(after: float | None = None) -> TransientError:
    return TransientError("answered 503 backendError", reason="backendError", after=after)


def most_in_a_window(sent: list[float], window: float) -> int:
    """Count the attempts of the fullest window, wherever it begins, both ends included."""
    ordered = sorted(sent)
    return max((bisect_right(ordered, begin + window) - first for first, begin in enumerate(ordered)), default=0)


def sends_now(quota: Quota, clock: Clock, agent: str = ANN, scope: Scope = Scope.READ, most: int = 10_000) -> int:
    """Count the attempts that fit without waiting."""
    count = 0
    while count < most:
        try:
            quota.call(lambda: None, agent=agent, scope=scope, patience=lambda: 1e-9)
        except PostponedError:
            return count
        count += 1
    assert not clock.slept
    return count


# ---- the budget -----------------------------------------------------------------------------------------------------


def test_google_publishes_its_limits_and_half_of_them_are_ours() -> None:
    assert PUBLISHED["google"] == Budget(per_minute=10_000, per_agent_minute=600, per_day=1_000_000, share=0.5)
    assert PUBLISHED["google"].ours(10_000) == 5_000


def test_a_job_file_says_what_differs_from_what_is_published() -> None:
    assert budget_for("google", None) == PUBLISHED["google"]
    assert budget_for("google", Table(per_day=2_000, share=0.25)) == Budget(10_000, 600, 2_000, 0.25)


def test_a_provider_without_published_limits_has_those_of_the_job_file() -> None:
    assert budget_for("other", None).permits_per_day() == math.inf
    assert budget_for("other", Table(per_minute=60)) == Budget(60, None, None, 0.5)


def test_a_share_of_less_than_one_attempt_is_one() -> None:
    assert Budget(share=0.1).ours(3) == 1


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 10, 99, 100, 5_000, 1_000_000])
@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_a_bucket_and_what_it_gains_stay_within_our_share(limit: int, share: float) -> None:
    budget = Budget(per_minute=limit, per_agent_minute=limit, per_day=limit, share=share)
    ours = max(1, int(limit * share))
    for window, bucket in ((MINUTE, budget.minute("minute")[0]), (DAY, budget.day()[0])):
        assert 1 <= bucket.capacity + bucket.rate * (window + LIFE) < ours + 1
        assert bucket.rate > 0
    alone = budget.alone(shared=True)
    assert alone is not None
    [agent] = budget.agent(ANN)
    assert agent.capacity + agent.rate * (MINUTE + LIFE) + 4 * alone < ours + 1


def test_what_a_schedule_may_promise_is_what_can_be_kept_up(clock: Clock) -> None:
    assert quota(clock, PUBLISHED["google"]).permits_per_day() == pytest.approx(450_000, rel=0.001)
    assert quota(clock, Budget(per_minute=60, share=1)).permits_per_day() == pytest.approx(60 * 1440, rel=0.5)


# ---- windows --------------------------------------------------------------------------------------------------------

BUDGETS = st.builds(
    Budget,
    per_minute=st.one_of(st.none(), st.integers(1, 60)),
    per_agent_minute=st.one_of(st.none(), st.integers(1, 40)),
    per_day=st.one_of(st.none(), st.integers(30, 400)),
    share=st.sampled_from([0.5, 1.0]),
)
CALLS = st.lists(
    st.tuples(
        st.integers(0, 3),  # the process
        st.sampled_from([ANN, BOB]),
        st.sampled_from([Scope.READ, Scope.READ, Scope.WRITE, Scope.TOKEN]),
        st.sampled_from([0.0, 0.0, 0.0, 0.3, 4.0, 20.0]),  # what passes before it
        st.integers(1, 12),  # how often
    ),
    max_size=20,
)


@settings(max_examples=settings().max_examples // 3, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(budget=BUDGETS, calls=CALLS, seed=st.integers(0, 999), shared=st.booleans())
def test_no_window_of_what_four_processes_send_exceeds_the_budget(
    engine: Engine, budget: Budget, calls: list[Any], seed: int, shared: bool
) -> None:
    clock, rng = Clock(), random.Random(seed)
    name = f"google:{rng.random()}{random.random()}"
    ours = [quota(clock, budget, engine=engine if shared else None, provider=name, rng=rng.random) for _ in range(4)]
    sent: list[tuple[float, str, Scope]] = []
    for process, agent, scope, pause, times in calls:
        clock.now += pause
        for _ in range(times):
            send(ours[process if shared else 0], clock, sent, agent, scope, rng)
    asked = [(at, agent) for at, agent, scope in sent if scope is not Scope.TOKEN]
    for limit, window, attempts in (
        (budget.per_minute, MINUTE, [at for at, _ in asked]),
        (budget.per_minute, MINUTE, [at for at, _, scope in sent if scope is Scope.TOKEN]),
        (budget.per_day, DAY, [at for at, _ in asked]),
        (budget.per_agent_minute, MINUTE, [at for at, agent in asked if agent == ANN]),
        (budget.per_agent_minute, MINUTE, [at for at, agent in asked if agent == BOB]),
    ):
        assert most_in_a_window(attempts, window) <= (budget.ours(limit) or math.inf)
    charged = sum((each.attempts for each in ours), Counter[Scope]())
    assert charged == Counter(scope for _, _, scope in sent), "every attempt is counted, retries too"


def send(
    quota: Quota, clock: Clock, sent: list[tuple[float, str, Scope]], agent: str, scope: Scope, rng: random.Random
) -> None:
    """Call once; the provider notes what arrives when it arrives, and one in ten attempts is refused or breaks."""

    def attempt() -> None:
        sent.append((clock.now + rng.random(), agent, scope))  # up to a second under way
        match rng.randrange(20):
            case 0:
                raise throttled(rng.choice(list(Level)), after=rng.choice([None, 3.0]))
            case 1:
                raise broken()

    with contextlib.suppress(PostponedError, ProviderError):
        quota.call(attempt, agent=agent, scope=scope, patience=lambda: 90.0)


def test_windows_hold_when_many_threads_call_at_once(project: Callable[..., Quota], clock: Clock) -> None:
    budget = Budget(per_minute=300, per_agent_minute=40, per_day=100_000, share=1)
    ours = [project(budget) for _ in range(2)]
    sent: list[tuple[float, str]] = []

    def work(number: int) -> None:
        agent = f"agent{number % 20}@acme.example"
        # The instant that this thread was let through at: others may have moved the clock since.
        ours[number % 2].call(lambda: sent.append((clock.read.last, agent)), agent=agent)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(work, range(600)))
    assert len(sent) == 600
    assert most_in_a_window([at for at, _ in sent], MINUTE) <= 300
    for busy in {agent for _, agent in sent}:
        assert most_in_a_window([at for at, agent in sent if agent == busy], MINUTE) <= 40
    assert {one.attempts[Scope.READ] for one in ours} == {300}


def test_a_full_minute_is_waited_for(clock: Clock, wire: Wire) -> None:
    small = quota(clock, Budget(per_minute=10, share=1))
    for _ in range(30):
        small.call(wire, agent=ANN)
    assert 60 < clock.now - NOW < 400
    assert most_in_a_window(wire.sent, MINUTE) <= 10


def test_a_full_minute_beyond_the_patience_is_postponed(clock: Clock) -> None:
    small = quota(clock, Budget(per_minute=10, share=1))
    assert sends_now(small, clock) == 5
    with pytest.raises(PostponedError, match="this minute's budget of 10 Google requests is used up for another"):
        small.call(lambda: None, agent=ANN, patience=lambda: 0.1)
    assert clock.slept == []


def test_a_day_that_is_used_up_is_never_waited_for(clock: Clock) -> None:
    small = quota(clock, Budget(per_day=100, share=0.5))
    assert sends_now(small, clock) == 25
    with pytest.raises(PostponedError, match=r"^today's budget of 50 Google requests is used up$"):
        small.call(lambda: None, agent=ANN, patience=forever)
    assert clock.slept == []
    assert small.attempts[Scope.READ] == 25


def test_what_a_day_has_left_is_spread_over_it(clock: Clock) -> None:
    small = quota(clock, Budget(per_day=100, share=1))
    sent = []
    while clock.now < NOW + 3 * DAY:
        sent += [clock.now] * sends_now(small, clock)
        clock.now += 1800
    assert most_in_a_window(sent, DAY) <= 100
    assert len(sent) > 3 * 40, "and most of it is not left lying"


def test_one_agent_can_not_take_the_minute_of_all(project: Callable[..., Quota], clock: Clock) -> None:
    ours = project(Budget(per_minute=10_000, per_agent_minute=100, share=1))
    taken = sends_now(ours, clock, agent=ANN)
    assert 10 < taken <= 70
    assert sends_now(ours, clock, agent=BOB) == taken


def test_an_agent_alone_in_a_process_of_its_own_has_its_whole_minute(clock: Clock, wire: Wire) -> None:
    ours = quota(clock, Budget(per_agent_minute=100, share=1))
    assert sends_now(ours, clock) == 100
    ours.call(wire, agent=ANN)
    assert wire.sent[0] - NOW > MINUTE


def test_a_quiet_agent_costs_no_withdrawal_of_its_own(project: Callable[..., Quota], clock: Clock) -> None:
    ours = project(Budget(per_agent_minute=100, share=1))
    assert sends_now(ours, clock, most=10) == 10
    assert not any(tab.purses for tab in ours._tabs.values())


def test_reads_keep_a_tenth_to_themselves(clock: Clock) -> None:
    ours = quota(clock, Budget(per_minute=1_000, per_agent_minute=500, share=1))
    assert sends_now(ours, clock, scope=Scope.WRITE, agent=BOB) == 180
    assert sends_now(ours, clock, scope=Scope.READ, agent=BOB) == 20


def test_reads_keep_a_tenth_of_an_agents_minute(clock: Clock) -> None:
    ours = quota(clock, Budget(per_agent_minute=100, share=1))
    assert sends_now(ours, clock, scope=Scope.WRITE) == 90
    assert sends_now(ours, clock, scope=Scope.READ) == 10


def test_reads_keep_a_tenth_of_the_day(clock: Clock) -> None:
    ours = quota(clock, Budget(per_day=10_000, share=1))
    assert sends_now(ours, clock, scope=Scope.WRITE) == 900
    assert sends_now(ours, clock, scope=Scope.READ) == 100


def test_tokens_are_charged_to_a_minute_of_their_own_and_to_no_day(clock: Clock) -> None:
    ours = quota(clock, Budget(per_minute=10, per_agent_minute=5, per_day=10, share=1))
    sends_now(ours, clock)
    assert sends_now(ours, clock, scope=Scope.TOKEN) == 5
    assert ours.attempts == {Scope.READ: 5, Scope.TOKEN: 5}


def test_without_limits_nothing_waits(clock: Clock) -> None:
    assert sends_now(quota(clock, NONE), clock, most=500) == 500


# ---- blocks ---------------------------------------------------------------------------------------------------------


def withdrawals(ours: Quota) -> list[int]:
    """Note what every withdrawal of reads asks for from now on."""
    asked: list[int] = []
    purse, draw = ours._purses[Scope.READ], ours._purses[Scope.READ].draw

    def noted(want: int, now: float) -> Any:
        asked.append(want)
        return draw(want, now)

    purse.draw = noted  # type: ignore[method-assign]
    return asked


def test_a_thousand_quiet_calendars_cost_few_withdrawals(project: Callable[..., Quota]) -> None:
    ours = project(PUBLISHED["google"])
    asked = withdrawals(ours)
    for number in range(1_000):
        ours.call(lambda: None, agent=f"agent{number}@acme.example")
    assert len(asked) < 35
    assert max(asked) == BLOCK
    assert asked[:4] == [1, 2, 4, 8], "whoever asks little never holds much"


def test_a_block_that_is_not_spent_in_time_is_forfeited(project: Callable[..., Quota], clock: Clock) -> None:
    ours = project(Budget(per_day=100_000, share=1))
    asked = withdrawals(ours)
    sends_now(ours, clock, most=16)  # blocks of 1, 2, 4, 8 and one of 16 that is hardly begun
    assert asked == [1, 2, 4, 8, 16]
    clock.now += LIFE + 0.1
    sends_now(ours, clock, most=1)
    assert asked[5:] == [8], "a new block, and a smaller one"


def test_a_clock_that_goes_back_makes_a_block_void(project: Callable[..., Quota], clock: Clock) -> None:
    ours = project(Budget(per_day=100_000, share=1))
    sends_now(ours, clock, most=16)
    asked = withdrawals(ours)
    clock.now -= 0.5
    sends_now(ours, clock, most=1)
    assert asked == [8]


def test_a_used_up_ledger_is_not_asked_for_every_call(project: Callable[..., Quota], clock: Clock) -> None:
    ours = project(Budget(per_day=100, share=1))
    sends_now(ours, clock)
    asked = withdrawals(ours)
    for _ in range(50):
        assert sends_now(ours, clock) == 0
    assert asked == []


def test_memory_does_not_grow_with_agents_that_were_asked_for_long_ago(clock: Clock) -> None:
    ours = quota(clock, AMPLE)
    for number in range(5_000):
        clock.now += 0.5
        ours.call(lambda: None, agent=f"agent{number}@acme.example")
    assert len(ours._tabs) < 1_300


# ---- trying again ---------------------------------------------------------------------------------------------------


def test_an_answer_comes_back(clock: Clock, wire: Wire) -> None:
    assert quota(clock).call(wire, agent=ANN) == 1


@pytest.mark.parametrize("error", [throttled(), throttled(Level.AGENT), broken()])
@pytest.mark.parametrize("scope", [Scope.READ, Scope.TOKEN])
def test_reads_and_tokens_are_tried_again_and_each_attempt_is_charged(
    clock: Clock, wire: Wire, error: Exception, scope: Scope
) -> None:
    ours = quota(clock)
    wire.answers = [error, error]
    assert ours.call(wire, agent=ANN, scope=scope) == 3
    assert ours.attempts == {scope: 3}
    assert ours.throttled == (2 if isinstance(error, ThrottledError) else 0)


def test_retries_spend_the_day_too(clock: Clock, wire: Wire) -> None:
    ours = quota(clock, Budget(per_day=8, share=1))  # four at once
    wire.answers = [broken() for _ in range(9)]
    with pytest.raises(PostponedError, match="today's budget of 8 Google requests is used up"):
        ours.call(wire, agent=ANN)
    assert len(wire.sent) == 4


def test_after_five_attempts_the_error_is_the_callers(clock: Clock, wire: Wire) -> None:
    wire.answers = [broken() for _ in range(9)]
    with pytest.raises(TransientError):
        quota(clock).call(wire, agent=ANN)
    assert len(wire.sent) == 5
    assert len(clock.slept) == 4, "nobody waits for an attempt that will not be"


@pytest.mark.parametrize(
    "error",
    [
        ExpiredTokenError("answered 401"),
        MissingError("answered 404"),
        DeniedError("answered 403"),
        RejectedError("answered 400"),
        PostponedError("not now"),
        ValueError("of our own"),
    ],
)
@pytest.mark.parametrize("scope", list(Scope))
def test_anything_else_is_raised_as_it_is(clock: Clock, wire: Wire, error: Exception, scope: Scope) -> None:
    wire.answers = [error]
    with pytest.raises(type(error)) as raised:
        quota(clock).call(wire, agent=ANN, scope=scope)
    assert raised.value is error
    assert len(wire.sent) == 1


def test_a_write_that_was_refused_for_haste_is_tried_again(clock: Clock, wire: Wire) -> None:
    wire.answers = [throttled(), throttled(Level.AGENT)]
    assert quota(clock).call(wire, agent=ANN, scope=Scope.WRITE) == 3


def test_a_write_whose_outcome_is_unknown_is_never_sent_again(clock: Clock, wire: Wire) -> None:
    wire.answers = [throttled(), broken(after=1.0)]
    with pytest.raises(TransientError):
        quota(clock).call(wire, agent=ANN, scope=Scope.WRITE)
    assert len(wire.sent) == 2


def test_pauses_double_up_to_a_bound_and_jitter_takes_any_part_of_them(clock: Clock) -> None:
    assert [quota(clock, rng=lambda: 1.0)._jitter(number) for number in range(1, 8)] == [1, 2, 4, 8, 16, 32, 32]
    assert [quota(clock, rng=lambda: 0.0)._jitter(number) for number in (1, 7)] == [0, 0]


@given(chance=st.floats(0, 1, exclude_max=True), breaks=st.integers(1, 4))
def test_each_pause_is_within_its_bound(chance: float, breaks: int) -> None:
    clock = Clock()
    wire = Wire(clock, [broken() for _ in range(breaks)])
    quota(clock, rng=lambda: chance).call(wire, agent=ANN)
    assert clock.slept == [chance * 2**number for number in range(breaks)]


@pytest.mark.parametrize("error", [throttled(after=30), throttled(Level.AGENT, after=30), broken(after=30)])
def test_nobody_asks_again_before_the_provider_said(clock: Clock, wire: Wire, error: Exception) -> None:
    wire.answers = [error]
    quota(clock, rng=lambda: 0.0).call(wire, agent=ANN)
    assert wire.sent[1] - wire.sent[0] >= 30


@pytest.mark.parametrize("after", [-5.0, math.nan, 0.0])
def test_a_senseless_retry_after_is_no_pause(clock: Clock, wire: Wire, after: float) -> None:
    wire.answers = [throttled(after=after)]
    assert quota(clock).call(wire, agent=ANN) == 2
    assert clock.slept == [0.5]


@pytest.mark.parametrize("after", [100.0, 1e9, math.inf])
def test_a_retry_after_that_ends_beyond_the_patience_is_postponed_at_once(
    clock: Clock, wire: Wire, after: float
) -> None:
    wire.answers = [throttled(after=after)]
    with pytest.raises(PostponedError, match="Google answered 429 rateLimitExceeded, and"):
        quota(clock).call(wire, agent=ANN, patience=clock.until(NOW + 60))
    assert clock.slept == []


def test_not_even_endless_patience_waits_for_hours(clock: Clock, wire: Wire) -> None:
    wire.answers = [broken(after=7_200.0)]
    with pytest.raises(PostponedError):
        quota(clock).call(wire, agent=ANN)


def test_a_failure_without_time_left_to_try_again_is_that_failure(clock: Clock, wire: Wire) -> None:
    wire.answers = [broken()]
    with pytest.raises(TransientError):
        quota(clock).call(wire, agent=ANN, patience=lambda: 0.4)
    assert clock.slept == []


def slow(clock: Clock, seconds: float) -> Callable[[], int]:
    """Return a request that nobody answers for so long."""

    def attempt() -> int:
        clock.now += seconds
        raise TransientError("did not answer whole in time")

    return attempt


@pytest.mark.parametrize("scope", [Scope.READ, Scope.TOKEN])
def test_a_read_that_the_end_of_the_time_cut_short_is_left_for_later_and_blames_nobody(
    clock: Clock, scope: Scope
) -> None:
    with pytest.raises(PostponedError, match="the run's time is up"):
        quota(clock).call(slow(clock, 5), agent=ANN, scope=scope, patience=clock.until(NOW + 5))


def test_a_write_that_the_end_of_the_time_cut_short_has_an_unknown_outcome(clock: Clock) -> None:
    with pytest.raises(TransientError):
        quota(clock).call(slow(clock, 5), agent=ANN, scope=Scope.WRITE, patience=clock.until(NOW + 5))


def test_a_read_that_failed_with_time_to_spare_and_again_at_its_end_is_that_failure(clock: Clock) -> None:
    with pytest.raises(TransientError):
        quota(clock).call(slow(clock, 5), agent=ANN, patience=clock.until(NOW + 8))


def test_nothing_is_sent_when_the_time_is_up(clock: Clock, wire: Wire) -> None:
    with pytest.raises(PostponedError, match="the run's time is up"):
        quota(clock).call(wire, agent=ANN, patience=lambda: 0.0)
    assert wire.sent == []


# ---- being left alone -----------------------------------------------------------------------------------------------


def refused(ours: Quota, wire: Wire, error: Exception, agent: str = ANN, scope: Scope = Scope.READ) -> None:
    """Have one call refused, by somebody who does not wait."""
    wire.answers = [error]
    with pytest.raises((PostponedError, ProviderError)):
        ours.call(wire, agent=agent, scope=scope, patience=lambda: 1e-6)


def test_a_refusal_for_one_agent_stops_nobody_else(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    refused(ours, wire, throttled(Level.AGENT, after=20))
    ours.call(wire, agent=BOB)
    assert clock.slept == []
    with pytest.raises(PostponedError, match="Google asked to be left alone for this agent for another 21 s"):
        ours.call(wire, agent=ANN, patience=lambda: 5.0)
    ours.call(wire, agent=ANN)
    assert clock.now - NOW >= 20


def test_a_refusal_for_the_project_stops_everybody(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    refused(ours, wire, throttled(Level.PROJECT, after=20))
    with pytest.raises(PostponedError, match="Google asked to be left alone for another"):
        ours.call(wire, agent=BOB, patience=lambda: 5.0)
    ours.call(wire, agent=BOB)
    assert clock.now - NOW >= 20


def test_those_who_waited_for_one_instant_do_not_all_start_in_it(clock: Clock, wire: Wire) -> None:
    ours = quota(clock, rng=random.Random(7).random)
    refused(ours, wire, throttled(Level.PROJECT, after=20))
    begun = []
    for _ in range(5):
        clock.now = NOW
        ours.call(lambda: begun.append(clock.now), agent=BOB)
    assert len(set(begun)) == 5


def test_a_sign_in_server_that_refuses_does_not_stop_calendars(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    refused(ours, wire, throttled(Level.PROJECT, after=20), scope=Scope.TOKEN)
    ours.call(wire, agent=ANN)
    assert clock.slept == []
    with pytest.raises(PostponedError, match="Google's sign-in asked to be left alone"):
        ours.call(wire, agent=ANN, scope=Scope.TOKEN, patience=lambda: 5.0)


def test_no_lock_is_held_while_others_send_or_wait(clock: Clock) -> None:
    ours, under_way, finish = quota(clock), Event(), Event()

    def slow() -> bool:
        under_way.set()
        return finish.wait(30)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(ours.call, slow, agent=ANN)
        assert under_way.wait(30)
        ours.call(lambda: None, agent=BOB)
        finish.set()
        assert first.result(30)


# ---- the circuit ----------------------------------------------------------------------------------------------------


def served_and_refused(ours: Quota, wire: Wire, served: int, refusals: int) -> None:
    """Have calls served, then others refused, each to an agent of its own."""
    for _ in range(served):
        ours.call(wire, agent=BOB)
    for number in range(refusals):
        refused(ours, wire, throttled(Level.AGENT), agent=f"agent{number}@acme.example")
    wire.sent.clear()


def opened(clock: Clock, wire: Wire) -> Quota:
    """Have so many refusals that the circuit opens with the last of them."""
    ours = quota(clock)
    served_and_refused(ours, wire, LEAST, 6)
    return ours


def test_a_tenth_of_refusals_is_borne(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    served_and_refused(ours, wire, 45, 5)
    ours.call(wire, agent=BOB)
    assert clock.slept == []


def test_too_many_refusals_stop_everybody_for_a_while(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    with pytest.raises(PostponedError, match="Google refuses too many requests and is left alone for another 31 s"):
        ours.call(wire, agent=BOB, patience=lambda: 5.0)
    ours.call(wire, agent=BOB)
    assert clock.slept == [OPEN + 0.5]


def test_few_attempts_prove_nothing(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    served_and_refused(ours, wire, 0, LEAST - 1)
    ours.call(wire, agent=BOB)
    assert clock.slept == []


def test_refusals_of_long_ago_are_forgotten(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    served_and_refused(ours, wire, 0, 10)
    clock.now += 62
    served_and_refused(ours, wire, LEAST, 1)
    ours.call(wire, agent=BOB)
    assert clock.slept == []


def test_an_open_circuit_is_tried_with_one_request_and_closes_when_it_is_served(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    clock.now += OPEN

    def probe() -> str:
        with pytest.raises(PostponedError, match="is tried with one"):
            ours.call(wire, agent=ANN, patience=lambda: 0.1)
        return "served"

    assert ours.call(probe, agent=BOB) == "served"
    assert wire.sent == []
    for _ in range(100):
        ours.call(wire, agent=BOB)
    assert clock.slept == []


def test_a_probe_that_is_refused_opens_the_circuit_again(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    clock.now += OPEN
    refused(ours, wire, throttled(Level.AGENT, after=40))
    with pytest.raises(PostponedError, match="left alone for another 41 s"):
        ours.call(wire, agent=BOB, patience=lambda: 5.0)


def test_a_refused_probe_is_enough_when_what_led_to_it_is_long_ago(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    clock.now += 2 * MINUTE
    refused(ours, wire, throttled(Level.AGENT))
    with pytest.raises(PostponedError, match="is left alone for another 31 s"):
        ours.call(wire, agent=BOB, patience=lambda: 5.0)


def test_a_circuit_that_closed_counts_afresh(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    clock.now += OPEN
    ours.call(wire, agent=BOB)
    refused(ours, wire, throttled(Level.AGENT))
    ours.call(wire, agent=BOB)
    assert clock.slept == []


@pytest.mark.parametrize("error", [broken(), PostponedError("not sent"), KeyboardInterrupt()])
def test_a_probe_that_teaches_nothing_leaves_it_to_the_next(clock: Clock, wire: Wire, error: BaseException) -> None:
    ours = opened(clock, wire)
    clock.now += OPEN

    def failing() -> None:
        raise error

    with pytest.raises(type(error)):
        ours.call(failing, agent=BOB, scope=Scope.WRITE)
    assert ours._gates[Scope.READ]._open
    ours.call(wire, agent=BOB, patience=lambda: 1e-3)
    assert not ours._gates[Scope.READ]._open


def test_a_probe_that_is_answered_with_a_plain_no_closes_the_circuit(clock: Clock, wire: Wire) -> None:
    ours = opened(clock, wire)
    clock.now += OPEN
    refused(ours, wire, MissingError("answered 404"))
    assert not ours._gates[Scope.READ]._open


def test_what_was_under_way_when_the_circuit_opened_does_not_close_it(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    ours.call(lambda: served_and_refused(ours, wire, LEAST, 6), agent=BOB)
    with pytest.raises(PostponedError, match="left alone"):
        ours.call(wire, agent=BOB, patience=lambda: 5.0)


# ---- the clock ------------------------------------------------------------------------------------------------------


def test_the_clock_is_of_the_epoch_and_never_goes_back() -> None:
    read = [steady() for _ in range(100)]
    assert read == sorted(read)
    assert read[0] > NOW - 10 * 365 * DAY


# ---- what came back -------------------------------------------------------------------------------------------------


def test_answers_are_counted_by_scope_and_class(clock: Clock, wire: Wire) -> None:
    ours = quota(clock)
    wire.answers = [throttled(), TransientError("answered 503"), TransientError("hung up")]
    ours.call(wire, agent=ANN)
    wire.answers = [DeniedError("answered 403 forbidden")]
    with pytest.raises(DeniedError):
        ours.call(wire, agent=ANN, scope=Scope.WRITE)
    assert ours.answers == {
        (Scope.READ, "429"): 1,
        (Scope.READ, "5xx"): 1,
        (Scope.READ, "none"): 1,
        (Scope.READ, "2xx"): 1,
        (Scope.WRITE, "4xx"): 1,
    }
    assert sum(ours.answers.values()) == sum(ours.attempts.values())
