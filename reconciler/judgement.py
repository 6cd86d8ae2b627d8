"""What judging needs to know, and what it comes to: the world, judged pairs, and a count that must balance."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, TypeAlias

from reconciler.decide import Rules
from reconciler.findings import Context
from reconciler.model import Delta, Finding, Pair, Record, Verdict
from reconciler.store.compare import Scope

if TYPE_CHECKING:
    from reconciler.findings import Outlook
    from reconciler.model import Agent
    from reconciler.store.state import Watched


@dataclass(frozen=True, slots=True)
class Unknown:
    """What we wrote to of which nobody can tell yet what became of it: records, and events as (calendar, id)."""

    records: frozenset[str] = frozenset()
    events: frozenset[tuple[int, str]] = frozenset()

    def holds(self, pair: Pair) -> bool:
        """Tell whether nothing may be planned for this pair before it is known."""
        record = pair.record.id if pair.record else pair.link.crm_id if pair.link else None
        event = (pair.calendar_id, pair.seen.event) if pair.seen else None
        return record in self.records or event in self.events


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What judging needs to know beyond the rows: the rules, the calendars, who is blind, the people and the time.

    `as_of` is when the oldest read was made that counts, if not in this run: what moved since then may have moved in a
    calendar too, where nobody has looked yet.
    """

    rules: Rules
    context: Context
    watched: Mapping[int, Watched]
    scope: Scope
    settle: timedelta
    as_of: datetime
    people: Mapping[str, Agent]
    blind_agents: frozenset[str] = frozenset()  # of whom at least one calendar was not observed
    quarantined: frozenset[tuple[int, str]] = frozenset()
    record_per_agent: bool = False
    unknown: Unknown = field(default_factory=Unknown)


@dataclass(frozen=True, slots=True)
class Judged:
    """A pair with its verdict, and whether its sides count in this run."""

    pair: Pair
    verdict: Verdict
    event: bool = False  # counts among this run's events
    record: bool = False  # counts among this run's records
    others: tuple[str, ...] = ()  # records it may belong to


Ruling: TypeAlias = Callable[[Judged, "Outlook"], tuple[Judged, "Outlook"]]
"""What has the last word on a judged pair and what it comes to: a person's hold, acceptance or decision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What a ruling may look at beside the pair in hand: the world, all judged pairs, the records as last read.

    `groups` says what pairs are held for together. `is_free` tells whether no event has a record yet, neither by a link
    nor by its key.
    """

    world: World
    judged: Sequence[Judged]
    groups: Sequence[Finding]
    record: Callable[[str], Record | None]
    is_free: Callable[[str], bool]


Rulings: TypeAlias = Callable[[Bench], Ruling]
"""What makes a ruling once all pairs are judged: some can be ruled on only beside the others."""


Ruled: TypeAlias = tuple[Judged, "Outlook"]
"""A judged pair with what it comes to, after everybody had their say."""


def as_it_is(one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
    """Leave a pair to the table and the policy."""
    return one, outlook


def no_ruling(_: Bench) -> Ruling:
    """Rule on nothing."""
    return as_it_is


def in_turn(*rulings: Ruling) -> Ruling:
    """Return the rulings as one: each has its say on what the one before left, the last has the last word."""

    def ruling(one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
        for each in rulings:
            one, outlook = each(one, outlook)
        return one, outlook

    return ruling


@dataclass(frozen=True, slots=True)
class Proposal:
    """A delta with the pair it comes from: what applying it must know to refresh the base."""

    delta: Delta
    pair: Pair
    verdict: Verdict


@dataclass(slots=True)
class Judgement:
    """All that one comparison came to, counted by pair and by side."""

    findings: list[Finding] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    pairs: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    linked: Counter[str] = field(default_factory=Counter)
    pending: int = 0
    accepted: int = 0
    events_total: int = 0
    records_total: int = 0
    by_calendar: dict[int, int] = field(default_factory=dict)
    reread: set[int] = field(default_factory=set)
    heard: dict[int, datetime] = field(default_factory=dict)  # by calendar, the latest booking that came without us

    def tally(self, one: Judged, outlook: Outlook) -> None:
        """Count a judged pair once, and each of its sides once."""
        self.pairs[outlook.bucket] += 1
        self.pending += outlook.pending
        self.accepted += outlook.accepted
        if one.event:
            self.events[outlook.bucket] += 1
        if one.record:
            self.records[outlook.bucket] += 1
        self.findings += outlook.findings
        self.proposals += [Proposal(delta, one.pair, one.verdict) for delta in outlook.deltas]
