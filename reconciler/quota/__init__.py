"""Budgets, and the only loop that tries again.

Whatever is asked of a provider passes through `Quota.call`, one request an attempt. Each attempt is charged before it
is sent, retries too, against the agent's minute, the project's minute and the project's day, and no sliding window ever
sees more than the budget. What does not fit is waited for within the caller's patience, or postponed with a reason.
"""

from __future__ import annotations

import math
import random
import time
from collections import Counter
from threading import Lock
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.quota.budget import PUBLISHED, Budget, Scope, budget_for
from reconciler.quota.gate import Gate, Hold
from reconciler.quota.purse import Purse, Tab
from reconciler.sources.answers import (
    NO_ANSWER,
    SERVED,
    PostponedError,
    ProviderError,
    RetryableError,
    ThrottledError,
    kind_of,
)
from reconciler.store.quota import Draw, ledger_of, resting

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.store.quota import Engine

T = TypeVar("T")

ATTEMPTS: Final = 5
FIRST: Final = 1.0
LONGEST: Final = 32.0
"""Seconds: what the pause before the second attempt stays below, doubled for each after it, and where that ends."""
TOO_LONG: Final = 600.0
"""Seconds that nobody waits for, however patient: a provider that asks for more is asked in the next run."""
TIDY_EVERY: Final = 1024
TIME_IS_UP: Final = "the run's time is up"
CRMS: Final = {"sql": "CRM"}
"""What people are told of budgets that no provider gave its name."""

_EPOCH: Final = time.time() - time.monotonic()


def steady() -> float:
    """Return epoch seconds by a clock that nobody sets while this process runs."""
    return _EPOCH + time.monotonic()


def forever() -> float:
    return math.inf


class Quota:
    """The budget of one provider's project as this process spends it. Made once, called from many threads.

    `provider` names the project in the ledger, its kind first (`google`); `engine` is the state database it is shared
    through, None for a budget of this process alone. `attempts` counts by scope what was sent, `throttled` what of it
    was refused for haste, `answers` what came back, by scope and class (`sources.answers.kind_of`).
    """

    def __init__(
        self,
        provider: str,
        budget: Budget,
        engine: Engine | None,
        *,
        clock: Callable[[], float] = steady,
        sleep: Callable[[float], None] = time.sleep,
        rng: Callable[[], float] = random.random,
    ) -> None:
        self.budget = budget
        self.attempts: Counter[Scope] = Counter()
        self.throttled = 0
        self.answers: Counter[tuple[Scope, str]] = Counter()
        self.provider = provider
        kind = provider.partition(":")[0]
        self._name = CRMS.get(kind, kind.capitalize())
        self._clock, self._sleep, self._rng = clock, sleep, rng
        self._ledger = ledger_of(engine, provider)
        self._lock = Lock()  # for what is counted here; never held while sending, sleeping or asking the ledger
        self._shared = engine is not None
        self._alone = budget.alone(shared=self._shared)
        self._tabs: dict[str, Tab] = {}
        asked, tokens = (*budget.minute("minute"), *budget.day()), budget.minute(Scope.TOKEN)
        self._purses = {
            Scope.READ: Purse(self._ledger, asked, writes=False),
            Scope.WRITE: Purse(self._ledger, asked, writes=True),
            Scope.TOKEN: Purse(self._ledger, tokens, writes=False),
        }
        gate = Gate(self._name)
        self._gates = {Scope.READ: gate, Scope.WRITE: gate, Scope.TOKEN: Gate(f"{self._name}'s sign-in")}

    def permits_per_day(self) -> float:
        """Return how many reads a day the budgets allow, day after day: what a schedule may promise."""
        return self.budget.permits_per_day()

    def counted(self) -> dict[tuple[Scope, str], int]:
        """Return what came back so far, whoever is sending meanwhile."""
        with self._lock:
            return dict(self.answers)

    def call(
        self,
        attempt: Callable[[], T],
        *,
        agent: str,
        scope: Scope = Scope.READ,
        patience: Callable[[], float] = forever,
    ) -> T:
        """Send one request, again where that makes sense, and return its answer.

        `attempt` sends once and raises what `sources.answers` names. `patience` says how many seconds are left.
        Raises PostponedError when the request has to wait longer than that, or for another day, and when the time ran
        out during a read's first attempt, which is nobody's fault. A write of unknown outcome is never sent again.
        """
        number = 0
        while True:
            probe = self._admit(agent, scope, patience)
            number += 1
            try:
                answer = self._heard(attempt, scope)
            except RetryableError as error:
                pause = max(0.0, error.after or 0.0) + self._jitter(number)
                self._note(error, agent, scope, pause=pause, probe=probe)
                if number == ATTEMPTS or (scope is Scope.WRITE and not isinstance(error, ThrottledError)):
                    raise
                left = patience()
                if number == 1 and left <= 0:
                    raise PostponedError(TIME_IS_UP) from error
                self._rest(error, pause, left)
            except BaseException as error:
                self._settle(scope, probe=probe, answered=isinstance(error, ProviderError))
                raise
            else:
                self._settle(scope, probe=probe, answered=True)
                return answer

    # ---- agents who are left alone ----------------------------------------------------------------------------------

    def rest(self, agent: str, seconds: float) -> None:
        """Note, for all who share the ledger, that an agent is left alone for so long."""
        self._ledger.withdraw((Draw(resting(agent, seconds)),), want=1, now=self._clock())

    def rests(self, agent: str, seconds: float) -> float:
        """Return for how many more of these seconds an agent is left alone."""
        return self._ledger.withdraw((Draw(resting(agent, seconds)),), want=0, now=self._clock()).after

    # ---- before an attempt ------------------------------------------------------------------------------------------

    def _admit(self, agent: str, scope: Scope, patience: Callable[[], float]) -> bool:
        """Wait until an attempt fits and charge it; tell whether it is the probe of an open circuit."""
        while (left := patience()) > 0:
            with self._lock:
                now = self._clock()
                step = self._step(agent, scope, now)
                if step is None:
                    return self._charge(agent, scope, now)
            match step:
                case Purse():
                    self._draw(step)
                case Hold():
                    self._wait(step, left)
        raise PostponedError(TIME_IS_UP)

    def _step(self, agent: str, scope: Scope, now: float) -> Hold | Purse | None:
        """Say what an attempt must wait for, or which purse has to be filled first; None: it fits."""
        return (
            self._gates[scope].hold(agent, now)
            or self._agent_step(agent, scope, now)
            or self._purse_step(self._purses[scope], now)
        )

    def _agent_step(self, agent: str, scope: Scope, now: float) -> Hold | Purse | None:
        if self._alone is None or scope is Scope.TOKEN:
            return None
        writes = scope is Scope.WRITE
        tab = self._tabs.get(agent)
        if tab is None:
            tab = self._tabs[agent] = Tab(self._alone)
        if tab.ready(now, writes=writes):
            return None
        if not self._shared:
            return Hold(tab.after(now), self._used_up("an agent's minute", self.budget.per_agent_minute))
        if writes not in tab.purses:
            tab.purses[writes] = Purse(self._ledger, self.budget.agent(agent), writes=writes)
        return self._purse_step(tab.purses[writes], now)

    def _purse_step(self, purse: Purse, now: float) -> Hold | Purse | None:
        if purse.ready(now):
            return None
        if now >= purse.again:
            return purse
        wait = purse.again - now
        match purse.short.short:
            case "day":
                return Hold(math.inf, self._used_up("today", self.budget.per_day))
            case "minute" | Scope.TOKEN:
                return Hold(wait, self._used_up("this minute", self.budget.per_minute))
            case _:
                return Hold(wait, self._used_up("an agent's minute", self.budget.per_agent_minute))

    def _used_up(self, whose: str, limit: int | None) -> str:
        return f"{whose}'s budget of {self.budget.ours(limit)} {self._name} requests is used up"

    def _charge(self, agent: str, scope: Scope, now: float) -> bool:
        self.attempts[scope] += 1
        if (tab := self._tabs.get(agent)) and scope is not Scope.TOKEN:
            tab.spend(now, writes=scope is Scope.WRITE)
        self._purses[scope].spend()
        if self.attempts[scope] % TIDY_EVERY == 0:
            self._tidy(now)
        return self._gates[scope].enter(now)

    def _tidy(self, now: float) -> None:
        """Forget agents that were not asked for of late, so that memory does not grow with all there are."""
        self._tabs = {agent: tab for agent, tab in self._tabs.items() if not tab.idle(now)}
        for gate in self._gates.values():
            gate.forget(now)

    def _draw(self, purse: Purse) -> None:
        """Fill a purse from the ledger. Whoever came while another did may find it filled."""
        with purse.drawing:
            with self._lock:
                now = self._clock()
                if purse.ready(now) or now < purse.again:
                    return
                want = purse.want()
            drawn = purse.draw(want, now)
            with self._lock:
                purse.keep(drawn, now)

    def _wait(self, hold: Hold, left: float) -> None:
        # Those who were held until one instant do not all start in it.
        seconds = hold.seconds + (FIRST * self._rng() if hold.spread else 0.0)
        if seconds > min(left, TOO_LONG):
            raise PostponedError(hold.why if math.isinf(seconds) else f"{hold.why} for another {math.ceil(seconds)} s")
        self._sleep(seconds)

    def _heard(self, attempt: Callable[[], T], scope: Scope) -> T:
        """Make one attempt, and count what came back."""
        kind = NO_ANSWER
        try:
            answer = attempt()
            kind = SERVED
        except Exception as error:
            kind = kind_of(error)
            raise
        else:
            return answer
        finally:
            with self._lock:
                self.answers[scope, kind] += 1

    # ---- after an attempt -------------------------------------------------------------------------------------------

    def _jitter(self, number: int) -> float:
        """Return the pause after attempt `number`: any up to a bound that doubles, so that callers fall apart."""
        return self._rng() * min(LONGEST, FIRST * 2.0 ** (number - 1))

    def _note(self, error: RetryableError, agent: str, scope: Scope, *, pause: float, probe: bool) -> None:
        with self._lock:
            gate = self._gates[scope]
            if isinstance(error, ThrottledError):
                self.throttled += 1
                gate.throttled(self._clock(), error.level, agent, pause=pause, probe=probe)
            else:
                gate.abandoned(probe=probe)

    def _settle(self, scope: Scope, *, probe: bool, answered: bool) -> None:
        if not probe:
            return
        with self._lock:
            gate = self._gates[scope]
            if answered:
                gate.served()
            else:
                gate.abandoned(probe=True)

    def _rest(self, error: RetryableError, pause: float, left: float) -> None:
        if pause <= min(left, TOO_LONG):
            self._sleep(pause)
        elif error.after or isinstance(error, ThrottledError):
            raise PostponedError(f"{self._name} {error}, and {pause:.0f} s are too long to wait") from error
        else:
            raise error


__all__ = ["PUBLISHED", "Budget", "Quota", "Scope", "budget_for", "forever", "steady"]
