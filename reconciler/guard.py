"""Limits against harm: all rules are evaluated, all violations listed; over a job limit nothing at all is applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from reconciler import plan
from reconciler.model import Action, Consent, Delta, Outcome, Violation, Waiting

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from reconciler.limit import Limit

EMPTIED_FROM = 5
"""Linked records from which a calendar that shows none at all is withheld."""

COLLAPSE_FROM = 20
"""Records from which a snapshot of fewer than half of them is no snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]` of a job file. `day` is how many runs' worth of each action any 24 hours may see."""

    create: Limit
    update: Limit
    cancel: Limit
    delete: Limit
    agent_cancel: Limit
    cap: int
    day: int = 10
    pace: bool = False
    notify: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Populations:
    """What the shares are shares of: linked records, all records of the snapshot, and per agent."""

    linked: int
    records: int
    linked_by_agent: Mapping[str, int] = field(default_factory=dict)
    events_by_agent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Uncovered:
    """A calendar that the job file no longer names and nobody released yet, with its linked records to come."""

    number: int
    source: str
    agent: str
    name: str
    records: int

    @property
    def identity(self) -> str:
        """Return what stands for it in a plan: consent to a smaller scope names each calendar that falls out of it."""
        return f"scope:{self.source}:{self.agent}:{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Past:
    """What counts beside the plan: writes of the last 24 hours by action, and what the job file no longer covers.

    Writes that a person consented to are no part of `written`.
    """

    written: Mapping[str, int] = field(default_factory=dict)
    uncovered: tuple[Uncovered, ...] = ()


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard says: violations that refuse the plan, agents that are withheld, the deltas as they now stand.

    `asks` names what waits for a person's consent; `consents` is what became of those that were given.
    """

    violations: tuple[Violation, ...]
    withheld: tuple[Violation, ...]
    deltas: tuple[Delta, ...]
    asks: Waiting | None = None
    consents: tuple[Consent, ...] = ()


NEVER: Final = Past()


def judge(
    deltas: Sequence[Delta], limits: Limits, populations: Populations, approved: frozenset[str], past: Past = NEVER
) -> Judgement:
    """Hold `deltas` against the limits. Those a person consented to (`approved` identities) do not count.

    Records that a person consented to create are there for the share that others are of them: of a first fill, what
    moves between refusal and consent would otherwise be too much for a CRM that is still empty, again and again.
    """
    counts = [delta.outcome is Outcome.PLANNED and plan.identity(delta) not in approved for delta in deltas]
    counted = [delta for delta, does in zip(deltas, counts, strict=True) if does]
    withheld = (*_emptied(populations, _settled(deltas, counted)), *_agent_cancels(counted, limits, populations))
    held = {violation.agent for violation in withheld}
    rooms = [_room(action, limits, _with_consented(populations, deltas, counts), past) for action in Action]
    standing, going = [], []
    left = {room.action: room.left for room in rooms if limits.pace and room.action in _PACED}
    for delta, does in zip(deltas, counts, strict=True):
        now = _standing(delta, held, left) if does else delta
        standing.append(now)
        if does and now.outcome is Outcome.PLANNED:
            going.append(now)
    violations = (
        *(violation for room in rooms for violation in _exceeded(room, going)),
        *_notified(going, limits),
        *_scope(limits, populations, past, approved),
    )
    return Judgement(violations, withheld, tuple(standing))


# ---- job limits -----------------------------------------------------------------------------------------------------

_PACED: Final = frozenset({Action.CREATE, Action.UPDATE})
"""What may be done bit by bit. Cancels and deletes over a limit are a question to a person, not a queue."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Room:
    """What one action may do now: in this run, and on top of what earlier runs did within 24 hours."""

    action: Action
    population: int
    allowed: int
    a_day: int
    written: int

    @property
    def left(self) -> int:
        """Return how many more may go in this run."""
        return max(0, min(self.allowed, self.a_day - self.written))

    @property
    def of(self) -> str:
        """Say what the population is made of."""
        return f"of {self.population} {'records of the snapshot' if self.action in _OF_ALL else 'linked records'}"


_OF_ALL: Final = frozenset({Action.CREATE, Action.LINK})
"""What concerns records that have no link yet: its share is one of all records."""


def _limit_of(action: Action) -> str:
    """Name the limit that an action counts against: to link a record is to let it be updated."""
    return Action.UPDATE.value if action is Action.LINK else action.value


def _with_consented(populations: Populations, deltas: Iterable[Delta], counts: Iterable[bool]) -> Populations:
    """Add what was consented to be created to the records: planned creates that do not count are just that."""
    creates = (one.action is Action.CREATE and one.outcome is Outcome.PLANNED for one in deltas)
    consented = sum(creates_one and not does for creates_one, does in zip(creates, counts, strict=True))
    return replace(populations, records=populations.records + consented)


def _room(action: Action, limits: Limits, populations: Populations, past: Past) -> _Room:
    population = populations.records if action in _OF_ALL else populations.linked
    limit: Limit = getattr(limits, _limit_of(action))
    allowed = limit.allowed(population, limits.cap)
    written = past.written.get(action.value, 0)
    return _Room(action=action, population=population, allowed=allowed, a_day=allowed * limits.day, written=written)


def _exceeded(room: _Room, going: Sequence[Delta]) -> Iterator[Violation]:
    """Yield the run's limit and the day's, where what is to go is over them. The first run of a day knows one limit."""
    found = sum(1 for delta in going if delta.action is room.action)
    if found > room.allowed:
        name = _limit_of(room.action)
        yield Violation(name, found, room.allowed, room.population, room.of, action=room.action)
    if found and room.written and room.written + found > room.a_day:
        why = f"{room.action.value}s within 24 hours, {room.written} of them by earlier runs"
        yield Violation("day", room.written + found, room.a_day, room.population, why, action=room.action)


def _standing(delta: Delta, held: Container[str | None], left: dict[Action, int]) -> Delta:
    """Return what becomes of a delta that counts: its agent is withheld, its turn comes later, or it may go."""
    if delta.agent in held:
        return replace(delta, outcome=Outcome.HELD, why="this agent's changes are withheld by the guard")
    if delta.action not in left:
        return delta
    if left[delta.action] == 0:
        why = f"over limits.{delta.action} for now; its turn comes in a later run"
        return replace(delta, outcome=Outcome.DEFERRED, why=why)
    left[delta.action] -= 1
    return delta


def _notified(going: Iterable[Delta], limits: Limits) -> Iterator[Violation]:
    told = [delta.notify for delta in going if delta.notify]
    if sum(told) > limits.notify:
        why = f"people would be sent a message by a provider, for {len(told)} changes"
        yield Violation("notify", sum(told), limits.notify, 0, why)


def _scope(limits: Limits, populations: Populations, past: Past, approved: frozenset[str]) -> Iterator[Violation]:
    """Judge what falls out of the job file by the limit of cancels: to be forgotten is no better."""
    lost = [one for one in past.uncovered if one.identity not in approved]
    found = sum(one.records for one in lost)
    population = populations.linked + sum(one.records for one in past.uncovered)
    allowed = limits.cancel.allowed(population, limits.cap)
    if found > allowed:
        agents = sorted({one.agent for one in lost})
        named = ", ".join(agents[:_NAMED]) + (f" and {len(agents) - _NAMED} more" if len(agents) > _NAMED else "")
        why = f"of {population} linked records to come are in calendars that the job file no longer names: {named}"
        yield Violation("scope", found, allowed, population, why)


_NAMED: Final = 3
"""Agents of uncovered calendars that a violation names."""


# ---- one agent's own limits -----------------------------------------------------------------------------------------


def _settled(deltas: Iterable[Delta], counted: Iterable[Delta]) -> set[str | None]:
    """Return the agents of whose changes a person has consented to every one."""
    return {delta.agent for delta in deltas if delta.outcome is Outcome.PLANNED} - {delta.agent for delta in counted}


def _emptied(populations: Populations, settled: Container[str | None]) -> list[Violation]:
    return [
        Violation("emptied", linked, 0, linked, f"0 events read whole, {linked} were linked", agent)
        for agent, linked in sorted(populations.linked_by_agent.items())
        if linked >= EMPTIED_FROM and populations.events_by_agent.get(agent, 1) == 0 and agent not in settled
    ]


def _agent_cancels(deltas: Iterable[Delta], limits: Limits, populations: Populations) -> list[Violation]:
    agents = populations.linked_by_agent.keys() | populations.events_by_agent.keys()
    if len(agents) <= 1:  # a job with one agent has its job limits
        return []
    removing = Counter(
        delta.agent for delta in deltas if delta.action in {Action.CANCEL, Action.DELETE} and delta.agent
    )
    found = []
    for agent, count in sorted(removing.items()):
        linked = populations.linked_by_agent.get(agent, 0)
        allowed = limits.agent_cancel.allowed(linked, limits.cap)
        if count > allowed:
            found.append(
                Violation("agent_cancel", count, allowed, linked, f"of {linked} linked records of {agent}", agent)
            )
    return found


# ---- the snapshot ---------------------------------------------------------------------------------------------------


def collapsed(now: int, before: int | None) -> bool:
    """Tell whether a snapshot of `now` records can't be the truth after one of `before`."""
    return before is not None and before >= COLLAPSE_FROM and now * 2 < before
