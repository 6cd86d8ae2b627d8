"""The discrepancy report as a value: what every face of it shows, in the order in which it is read.

Pure. All text is inert and bounded, ready for people; what is for scripts stands beside it in its canonical spelling.
The lists are short: what they leave out is counted, and `rows` walks through all of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

from reconciler.model import Kind, Severity
from reconciler.report.finding import Changed
from reconciler.report.look import Mood, Next


class Standing(StrEnum):
    """Where a finding stands, in the order in which that is read."""

    NOT_SEEN = "not_seen"  # a calendar, or the CRM: read before all others, and never counted with them
    NEEDS_YOU = "needs_you"  # a person decides
    FAILED = "failed"  # we tried to write and could not, or do not know
    DEFERRED = "deferred"  # a budget, a deadline or the pace put it off
    WAITS = "waits"  # the next run that may write puts it right
    HELD = "held"  # the job file does not allow it, or a limit withholds it
    FIXED = "fixed"  # written by us
    RESOLVED = "resolved"  # gone without a write of ours
    ACCEPTED = "accepted"  # known, by a person's word
    PENDING = "pending"  # a moment old, left to the live integration

    @property
    def is_open(self) -> bool:
        """Tell whether it still differs and nobody said that this is known."""
        return self in {Standing.NEEDS_YOU, Standing.FAILED, Standing.DEFERRED, Standing.WAITS, Standing.HELD}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One finding. `calendar_time` and `crm_time` are said in the agent's zone and in UTC; ISO ones are for scripts.

    `client` and `title` are empty where none is known or they are private. Links are https or empty. `cause` is the key
    of the cause it is part of. `age` says how long it has been open.
    """

    key: str
    standing: Standing
    is_new: bool
    kind: Kind
    severity: Severity
    agent: str
    office: str
    client: str
    title: str
    calendar_time: str
    crm_time: str
    calendar_start: str
    calendar_end: str
    crm_start: str
    crm_end: str
    changes: tuple[Changed, ...]
    matched: str
    why: str
    fate: str
    source: str
    event: str
    crm_id: str
    calendar_link: str
    crm_link: str
    first_seen: datetime
    last_seen: datetime
    resolved_at: datetime | None
    age: str
    sightings: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Unseen:
    """A calendar, or the CRM, that was not seen: `since` and `for_` how long, in words; `is_new` in this period."""

    name: str
    source: str
    why: str
    since: str
    is_new: bool
    next_try: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What many findings have in common: said once, with its evidence, its onset, and the command that helps.

    `count` findings share it, of `agents` agents; `kinds` says of which kind how many.
    """

    key: str
    title: str
    evidence: tuple[str, ...]
    severity: Severity
    since: datetime | None
    since_said: str
    count: int
    agents: int
    is_new: bool
    following: Next | None = None


@dataclass(frozen=True, slots=True)
class Figure:
    """One number of the headline: how many there are, and how many of them are new."""

    name: str
    title: str
    count: int
    new: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Findings that are read together. `count` is all of them; what is not in `rows` is in `unlisted`, by kind."""

    name: str
    title: str
    count: int
    rows: tuple[Row, ...]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """One small chart: a value for each day, None where nothing ran. `said` is the same in words, for who can't see."""

    name: str
    title: str
    unit: str
    points: tuple[tuple[date, float | None], ...]
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brand:
    """How a brokerage wants it to look: its title, its colour (`#rrggbb`) and its logo as a data URL, each if given."""

    title: str = ""
    colour: str = ""
    logo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is shown of a period, in the order in which it is read.

    `subject` is the mail's, without the brokerage's mark. `is_quiet` says that nothing is new since the last report.
    `lines` are sentences about runs and writes. `digest` names what is told: job, part, kind and period. `zone` is the
    one in which instants are said. `word` is what the job is called in commands, where that is not its name.
    """

    job: str
    brand: Brand
    part: str
    mood: Mood
    headline: str
    subject: str
    summary: tuple[str, ...]
    period: str
    since: datetime
    until: datetime
    made_at: datetime
    made_said: str
    is_urgent: bool
    is_quiet: bool
    coverage: str
    unseen: tuple[Unseen, ...]
    unseen_more: str
    refusal: tuple[str, ...]
    causes: tuple[Cause, ...]
    figures: tuple[Figure, ...]
    sections: tuple[Section, ...]
    trends: tuple[Trend, ...]
    lines: tuple[str, ...]
    notes: tuple[str, ...]
    following: tuple[Next, ...]
    digest: str
    zone: str = "UTC"
    word: str = ""
    rows: Callable[[], Iterator[Row]] = field(repr=False)
