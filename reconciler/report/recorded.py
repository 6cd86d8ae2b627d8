"""What the state knows of a period, as values: what a report is made of, and nothing that a report says.

Pure. Instants are aware UTC. What there may be many of (`findings`, `fixes`) can be walked through again and again,
and is never held whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any, Final, Generic, TypeVar

from reconciler.model import Acceptance, Action, Change, Fields, Finding, Kind, Outcome, Side

T = TypeVar("T")

ORDINARY: Final = frozenset({"", "run"})
"""Commands that are ordinary runs: what they say of the job as a whole holds until the next of them."""

STALE: Final = timedelta(hours=24)
"""How old the latest run may be before what it saw is no news of today any more, if nobody says so."""


@dataclass(frozen=True, slots=True)
class Stream(Generic[T]):
    """What can be walked through again and again, and is made anew each time: none of it is held."""

    make: Callable[[], Iterator[T]] = field(repr=False)

    def __iter__(self) -> Iterator[T]:
        return self.make()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The calendar of an event: the name and kind of its source, whose it is, and its name there."""

    source: str
    kind: str
    agent: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """One delta of a finding in the run that saw it last: what it would do or did, where, and what became of it."""

    action: Action
    side: Side
    outcome: Outcome
    why: str = ""
    fields: Mapping[str, Change] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracked:
    """A finding over time. `taken` are its deltas in the run that saw it last; `accepted` a word that still holds.

    `settled_at` is when it was first seen and not pending any more: from then on people are told of it.
    """

    finding: Finding
    first_seen: datetime
    last_seen: datetime
    sightings: int
    resolved_at: datetime | None = None
    accepted: Acceptance | None = None
    taken: tuple[Taken, ...] = ()
    place: Place | None = None
    settled_at: datetime | None = None

    @property
    def told_from(self) -> datetime:
        """Return since when people are told of it: what was pending in one period is new in the next."""
        return self.settled_at or self.first_seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """One write of ours that was done in the period: what the written side held before, and what it was given.

    `finding` and `kind` say what it put right; a revert and writes of older versions have none. `approval` is the
    digest of the plan that a person consented to.
    """

    run: str
    at: datetime
    action: Action
    side: Side
    key: str
    agent: str | None
    event: str | None
    crm_id: str | None
    before: Fields
    after: Fields
    finding: str | None = None
    kind: Kind | None = None
    approval: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PastRun:
    """One run of the period. `result` is its result as JSON, but for deltas, findings and calendars."""

    id: str
    command: str
    started_at: datetime
    finished_at: datetime | None
    status: str | None
    exit_code: int | None
    digest: str | None
    why: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """How one calendar of the job is. `heard_at` is when the latest booking was made that reached the CRM by itself."""

    place: Place
    seen_at: datetime | None = None
    blind_since: datetime | None = None
    strikes: int = 0
    why: str | None = None
    next_try: datetime | None = None
    heard_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """What one day came to, in the report's time zone; offices are summed up. See the table `days` for the meanings."""

    day: date
    runs: int = 0
    refused: int = 0
    calendars: int = 0
    observed: int = 0
    found: int = 0
    fixed: int = 0
    resolved: int = 0
    open: int = 0
    delayed: int = 0
    delay: int = 0
    longest: int = 0
    kinds: Mapping[Kind, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An earlier report that may matter to this one: `status` is sent, refused or unconfirmed."""

    kind: str
    status: str
    since: datetime
    until: datetime
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """A period of a job: (`since`, `until`], both when runs began that ended; `made_at` is when it was asked for.

    `runs` are those of the period, the newest first; `last` is the latest one that ended by `until`, `attempted` the
    latest one of all where that is another one (it did not end), `before` the latest ordinary one that ended by
    `since`: by it a refusal is known to be an old one. `is_past` says that `until` was asked for: nothing is wrong with
    its being long ago; else a run that is older than `stale` is no news of today any more. `calendars` are those of the
    job file. `findings` are open ones and those resolved in the period, most urgent first. `office_of` names the office
    of each agent that has one. `part` says whose part of the job this is, empty for all of it; `has_days` is false
    where nobody can tell what of the days is that part's. `older` counts the runs of the period that are older than
    `runs` by how they ended; `notes` are sentences about what could not be known for this report.
    """

    job: str
    since: datetime
    until: datetime
    made_at: datetime
    runs: tuple[PastRun, ...] = ()
    last: PastRun | None = None
    attempted: PastRun | None = None
    before: PastRun | None = None
    is_past: bool = False
    stale: timedelta = STALE
    calendars: tuple[Watched, ...] = ()
    findings: Iterable[Tracked] = ()
    fixes: Iterable[Fix] = ()
    days: tuple[Day, ...] = ()
    told: tuple[Told, ...] = ()
    office_of: Mapping[str, str] = field(default_factory=dict)
    part: str = ""
    has_days: bool = True
    older: Mapping[str | None, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
