"""The ledger of budgets: what may still be asked of a provider, shared by every job and process on one state database.

Each budget is a token bucket: it holds at most `capacity` attempts and gains `rate` a second, so that no window of T
seconds, wherever it begins, sees more than capacity + rate * T of them withdrawn. A withdrawal is one short transaction
that may cover several buckets, from which it takes the same amount or nothing. No address of an agent is stored.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import Connection, Engine, delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.store.schema import quota

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

AGENT = "agent:"
"""How the scope of a bucket begins that is one agent's alone."""

FAR = 3600.0
"""Seconds. A bucket last used this far ahead of the clock was used by a clock that was wrong: no host that is an hour
off can sign in to a provider. It starts again, empty. Nearer than that, it gains nothing until the clock is there."""

Level = tuple[float, float]
"""How many attempts a bucket held, and when."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A budget: at most `capacity` attempts at once, `rate` more each second."""

    scope: str
    capacity: float
    rate: float

    def level(self, known: Level | None, now: float) -> Level:
        """Say what the bucket holds now; a clock that was set back brings nothing until it has caught up."""
        if known is None:
            return self.capacity, now
        held, at = known
        if at > now + FAR:
            return 0.0, now
        return min(self.capacity, held + self.rate * max(0.0, now - at)), max(at, now)


@dataclass(frozen=True, slots=True)
class Draw:
    """What is wanted of one bucket: nothing once it holds `floor` or less, for that is kept for others."""

    bucket: Bucket
    floor: float = 0.0

    def offers(self, held: float) -> int:
        """Say how many attempts may be taken; the less there is, the more of it is left to other processes."""
        free = int(max(0.0, held - self.floor))
        return (free + 1) // 2


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a withdrawal got, from every bucket alike. If nothing: which bucket had none, and in how many seconds."""

    granted: int
    short: str = ""
    after: float = 0.0


class Ledger(Protocol):
    """Where levels are kept. Safe to use from several threads."""

    def withdraw(self, draws: Sequence[Draw], *, want: int, now: float) -> Drawn: ...


class Memory:
    """A ledger for one process alone, which forgets."""

    def __init__(self) -> None:
        self._levels: dict[str, Level] = {}
        self._lock = Lock()

    def withdraw(self, draws: Sequence[Draw], *, want: int, now: float) -> Drawn:
        with self._lock:
            drawn, levels = weigh(draws, self._levels, want, now)
            self._levels.update(levels)
            return drawn


class Shared:
    """The ledger in a state database, for one project of a provider."""

    def __init__(self, engine: Engine, provider: str) -> None:
        self._engine = engine
        self._provider = provider
        self._tidy = False

    def withdraw(self, draws: Sequence[Draw], *, want: int, now: float) -> Drawn:
        if not self._tidy and any(draw.bucket.scope.startswith(AGENT) for draw in draws):
            self._tidy = True
            forget_idle(self._engine, self._provider, now)
        return withdraw(self._engine, self._provider, draws, want=want, now=now)


def agent_scope(agent: str) -> str:
    """Name an agent's bucket without naming the agent."""
    return AGENT + hashlib.sha256(agent.casefold().encode()).hexdigest()[:24]


def resting(agent: str, seconds: float) -> Bucket:
    """Return what holds one attempt, and has it again only after so many seconds: a rest that outlives a process."""
    return Bucket(f"rest:{agent_scope(agent).removeprefix(AGENT)}", 1.0, 1.0 / seconds)


def weigh(draws: Sequence[Draw], known: Mapping[str, Level], want: int, now: float) -> tuple[Drawn, dict[str, Level]]:
    """Decide on a withdrawal; return it, and the levels after it: none if nothing was taken."""
    levels = {draw.bucket.scope: draw.bucket.level(known.get(draw.bucket.scope), now) for draw in draws}
    offers = [(draw.offers(levels[draw.bucket.scope][0]), draw) for draw in draws]
    # Of several empty buckets the one that takes longest to fill is the answer.
    empty = max((draw for offer, draw in offers if not offer), key=lambda draw: _wait(draw, levels), default=None)
    if empty:
        return Drawn(0, empty.bucket.scope, _wait(empty, levels)), _begun_again(levels, known)
    granted = min(want, *(offer for offer, _ in offers))
    if not granted:
        return Drawn(0), {}  # it was only asked whether there is some
    return Drawn(granted), {scope: (held - granted, at) for scope, (held, at) in levels.items()}


def _begun_again(levels: Mapping[str, Level], known: Mapping[str, Level]) -> dict[str, Level]:
    """Return the buckets that a wrong clock had filled: they fill from now on, also if nothing is taken yet."""
    return {scope: level for scope, level in levels.items() if scope in known and known[scope][1] > level[1]}


def _wait(draw: Draw, levels: Mapping[str, Level]) -> float:
    """Say in how many seconds a bucket will have one attempt to give."""
    return max(0.0, 1 + draw.floor - levels[draw.bucket.scope][0]) / draw.bucket.rate


def withdraw(engine: Engine, provider: str, draws: Sequence[Draw], *, want: int, now: float) -> Drawn:
    """Take up to `want` attempts from each bucket, in one transaction; correct however many processes do so at once."""
    try:
        return _withdraw(engine, provider, draws, want=want, now=now)
    except IntegrityError:  # another process opened one of the buckets in the same instant: now it is there
        return _withdraw(engine, provider, draws, want=want, now=now)


def _withdraw(engine: Engine, provider: str, draws: Sequence[Draw], *, want: int, now: float) -> Drawn:
    with engine.execution_options(writes=True).begin() as connection:
        known = _locked(connection, provider, draws)
        drawn, levels = weigh(draws, known, want, now)
        for scope, (level, at) in sorted(levels.items()):
            if scope in known:
                mine = (quota.c.provider == provider, quota.c.scope == scope)
                connection.execute(update(quota).where(*mine).values(level=level, at=at))
            else:
                connection.execute(insert(quota).values(provider=provider, scope=scope, level=level, at=at))
    return drawn


def _locked(connection: Connection, provider: str, draws: Sequence[Draw]) -> dict[str, Level]:
    """Read levels and keep others from changing them; always in one order, so that two can't wait for each other."""
    scopes = [draw.bucket.scope for draw in draws]
    query = select(quota.c.scope, quota.c.level, quota.c.at).where(
        quota.c.provider == provider, quota.c.scope.in_(scopes)
    )
    rows = connection.execute(query.order_by(quota.c.scope).with_for_update())
    return {scope: (level, at) for scope, level, at in rows}


def forget_idle(engine: Engine, provider: str, now: float) -> None:
    """Drop the buckets of agents that were not used for long: they are full again, as if they had never been."""
    idle = (quota.c.provider == provider, quota.c.scope.startswith(AGENT), quota.c.at < now - FAR)
    with engine.execution_options(writes=True).begin() as connection:
        unused = select(quota.c.scope).where(*idle).with_for_update(skip_locked=True)
        for scope in connection.execute(unused).scalars().all():
            connection.execute(delete(quota).where(quota.c.provider == provider, quota.c.scope == scope))


def ledger_of(engine: Engine | None, provider: str) -> Ledger:
    """Return the ledger that is shared through a state database; without one, a ledger of this process alone."""
    return Memory() if engine is None else Shared(engine, provider)


__all__ = [
    "AGENT",
    "Bucket",
    "Draw",
    "Drawn",
    "Engine",
    "Ledger",
    "Memory",
    "Shared",
    "agent_scope",
    "forget_idle",
    "ledger_of",
    "resting",
    "weigh",
    "withdraw",
]
