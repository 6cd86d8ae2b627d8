"""Limits against harm: all rules are evaluated, all violations listed; over a job limit nothing at all is applied."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler import plan
from reconciler.model import Action, Delta, Outcome, Violation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.limit import Limit

EMPTIED_FROM = 5
"""Linked records from which a calendar that shows none at all is withheld."""

COLLAPSE_FROM = 20
"""Records from which a snapshot of fewer than half of them is no snapshot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`[limits]` of a job file, as far as a single run is concerned."""

    create: Limit
    update: Limit
    cancel: Limit
    delete: Limit
    agent_cancel: Limit
    cap: int
    pace: bool = False
    notify: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Populations:
    """What the shares are shares of: linked records, all records of the snapshot, and per agent."""

    linked: int
    records: int
    linked_by_agent: Mapping[str, int] = field(default_factory=dict)
    events_by_agent: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the guard says: violations that refuse the plan, agents that are withheld, the deltas as they now stand."""

    violations: tuple[Violation, ...]
    withheld: tuple[Violation, ...]
    deltas: tuple[Delta, ...]


def judge(deltas: Sequence[Delta], limits: Limits, populations: Populations, approved: frozenset[str]) -> Judgement:
    """Hold `deltas` against the limits. Those a person consented to (`approved` identities) do not count."""
    counted = [delta for delta in deltas if delta.outcome is Outcome.PLANNED and plan.identity(delta) not in approved]
    withheld = (*_emptied(populations), *_agent_cancels(counted, limits, populations))
    held_agents = {violation.agent for violation in withheld}
    free = [delta for delta in counted if delta.agent not in held_agents]
    stopped = {id(delta) for delta in counted if delta.agent in held_agents}
    standing = [_withhold(delta) if id(delta) in stopped else delta for delta in deltas]
    violations = tuple(_over(action, free, limits, populations) for action in Action)
    exceeded = tuple(violation for violation in violations if violation.found > violation.allowed)
    if limits.pace:
        return Judgement(*_pace(exceeded, withheld, standing, approved))
    return Judgement(exceeded, withheld, tuple(standing))


def _over(action: Action, deltas: Iterable[Delta], limits: Limits, populations: Populations) -> Violation:
    found = sum(1 for delta in deltas if delta.action is action)
    population = populations.records if action is Action.CREATE else populations.linked
    limit: Limit = getattr(limits, action.value)
    of_what = "records of the snapshot" if action is Action.CREATE else "linked records"
    return Violation(
        action.value, found, limit.allowed(population, limits.cap), population, f"of {population} {of_what}"
    )


def _emptied(populations: Populations) -> list[Violation]:
    return [
        Violation("emptied", linked, 0, linked, f"0 events read whole, {linked} were linked", agent)
        for agent, linked in sorted(populations.linked_by_agent.items())
        if linked >= EMPTIED_FROM and populations.events_by_agent.get(agent, 1) == 0
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


def _withhold(delta: Delta) -> Delta:
    return replace(delta, outcome=Outcome.HELD, why="this agent's changes are withheld by the guard")


def _pace(
    exceeded: tuple[Violation, ...], withheld: tuple[Violation, ...], deltas: list[Delta], approved: frozenset[str]
) -> tuple[tuple[Violation, ...], tuple[Violation, ...], tuple[Delta, ...]]:
    """Let creates and updates through up to their limit, in the plan's order, and defer the rest."""
    room = {v.limit: v.allowed for v in exceeded if v.limit in {Action.CREATE, Action.UPDATE}}
    paced = []
    for delta in deltas:
        counts = delta.outcome is Outcome.PLANNED and delta.action in room and plan.identity(delta) not in approved
        if counts and room[delta.action] == 0:
            paced.append(
                replace(delta, outcome=Outcome.DEFERRED, why=f"over limits.{delta.action}; its turn comes next run")
            )
            continue
        if counts:
            room[delta.action] -= 1
        paced.append(delta)
    return tuple(v for v in exceeded if v.limit not in room), withheld, tuple(paced)


def collapsed(now: int, before: int | None) -> bool:
    """Tell whether a snapshot of `now` records can't be the truth after one of `before`."""
    return before is not None and before >= COLLAPSE_FROM and now * 2 < before
