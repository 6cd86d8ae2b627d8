"""One walk through the findings of a period: how many stand where, how many are new, and the few that are listed.

Pure, in bounded memory: of each section the most urgent are kept, all others are counted by kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.model import Action, Kind, Outcome, Severity
from reconciler.report.report import Standing
from reconciler.report.rows import is_new
from reconciler.report.standing import as_of, critical_since, gap_standing, instant, standing_of
from reconciler.report.unseen import Gaps

if TYPE_CHECKING:
    from reconciler.report.causes import Causes
    from reconciler.report.recorded import Recorded, Tracked
    from reconciler.report.standing import Period

Urgency = tuple[int, bool, float, str, str]

SECTIONS: Final = {
    "new": "New",
    "open": "Still open",
    "undone": "Not done",
    "held": "Held back",
    "fixed": "Fixed",
    "resolved": "Settled without us",
    "accepted": "Accepted",
}
"""The sections in the order in which they are read."""

_PLACES: Final = {
    Standing.FAILED: "undone",
    Standing.DEFERRED: "undone",
    Standing.HELD: "held",
    Standing.FIXED: "fixed",
    Standing.RESOLVED: "resolved",
    Standing.ACCEPTED: "accepted",
}


def section_of(standing: Standing, *, is_new: bool) -> str:
    """Name the section that a finding is read in; empty for what is only counted."""
    if standing is Standing.PENDING:
        return ""
    return _PLACES.get(standing) or ("new" if is_new else "open")


@dataclass(frozen=True, slots=True)
class Placed:
    """A finding with where it stands and the cause that it is part of."""

    tracked: Tracked
    standing: Standing
    cause: str
    is_new: bool

    @property
    def kind(self) -> Kind:
        """Return its kind."""
        return self.tracked.finding.kind


def placed(tracked: Tracked, recorded: Recorded, period: Period, causes: Causes) -> Placed | None:
    """Say where a finding stands; None for what was told before this period."""
    is_gap = tracked.finding.kind is Kind.COVERAGE_GAP
    standing = gap_standing(tracked, period) if is_gap else standing_of(tracked, period)
    if standing is None:
        return None
    return Placed(as_of(tracked, period.until), standing, causes.of(tracked), is_new(tracked, recorded))


# ---- the most urgent ------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Top:
    """The most urgent of many: what is not among them is counted by kind."""

    most: int
    kept: list[tuple[Urgency, Placed]] = field(default_factory=list)
    kinds: Counter[Kind] = field(default_factory=Counter)

    def add(self, key: Urgency, one: Placed) -> None:
        """Take one more, and drop the least urgent once there are too many."""
        self.kept.append((key, one))
        self.kinds[one.kind] += 1
        if len(self.kept) > 4 * self.most:
            self._cut()

    def _cut(self) -> None:
        self.kept.sort(key=lambda each: each[0])
        del self.kept[self.most :]

    def listed(self) -> list[Placed]:
        """Return the most urgent, in that order."""
        self._cut()
        return [one for _, one in self.kept]

    def unlisted(self) -> Counter[Kind]:
        """Count the others by kind."""
        return self.kinds - Counter(one.kind for one in self.listed())


def urgency(one: Placed, period: Period) -> Urgency:
    """Order findings: the more severe, then what is still to come before what is over, the nearest first."""
    finding = one.tracked.finding
    begins = instant(finding.start)
    if begins is None:
        return finding.severity.rank, True, 0.0, finding.kind, finding.key
    distance = (begins - period.until).total_seconds()
    return finding.severity.rank, distance < 0, abs(distance), finding.kind, finding.key


# ---- all of them ----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Section:
    """What one section comes to: how many there are, how many belong to a cause, and the most urgent of the rest."""

    top: Top
    count: int = 0
    in_causes: int = 0


@dataclass(slots=True)
class Tally:
    """What the findings of a period come to, and which of those that need a person is `first`.

    `severe` and `by_cause` count what is open; a finding without a cause is counted under none. `planned` says how many
    writes of each action wait, and whose they are; `written` counts findings that a write of the period was about.
    """

    most: int
    counts: Counter[Standing] = field(default_factory=Counter)
    new: Counter[Standing] = field(default_factory=Counter)
    severe: Counter[Severity] = field(default_factory=Counter)
    severe_new: Counter[Severity] = field(default_factory=Counter)
    by_cause: Counter[str] = field(default_factory=Counter)
    planned: dict[Action, Counter[str]] = field(default_factory=dict)
    written: int = 0
    sections: dict[str, Section] = field(default_factory=dict)
    first: Placed | None = None
    first_key: Urgency | None = None

    def __post_init__(self) -> None:
        self.sections = defaultdict(lambda: Section(Top(self.most)))

    def add(self, one: Placed, period: Period) -> None:
        """Count one finding, and keep it if it is among the most urgent of its section."""
        self.counts[one.standing] += 1
        self.new[one.standing] += one.is_new
        if one.standing.is_open:
            severity = one.tracked.finding.severity
            became = period.holds(critical_since(one.tracked)) if severity is Severity.CRITICAL else one.is_new
            self.severe[severity] += 1
            self.severe_new[severity] += became
            self.by_cause[one.cause] += 1
            self._plan(one.tracked)
        key = urgency(one, period)
        self._place(one, key)
        if one.standing is Standing.NEEDS_YOU and (self.first_key is None or key < self.first_key):
            self.first, self.first_key = one, key

    def _plan(self, tracked: Tracked) -> None:
        agent = tracked.finding.agent
        for taken in tracked.taken if agent else ():
            if taken.outcome is Outcome.PLANNED:
                self.planned.setdefault(taken.action, Counter())[agent or ""] += 1

    def _place(self, one: Placed, key: Urgency) -> None:
        if not (name := section_of(one.standing, is_new=one.is_new)):
            return
        section = self.sections[name]
        section.count += 1
        if one.cause:
            section.in_causes += 1
        else:
            section.top.add(key, one)

    @property
    def fixed(self) -> int:
        """Count what a write of ours put right."""
        return self.counts[Standing.FIXED]

    @property
    def explained(self) -> int:
        """Count what is open and part of a cause."""
        return self.by_cause.total() - self.by_cause[""]

    @property
    def open(self) -> int:
        """Count what still differs, and nobody said that this is known."""
        return sum(count for standing, count in self.counts.items() if standing.is_open)

    @property
    def open_new(self) -> int:
        """Count what is open and was first seen in this period."""
        return sum(count for standing, count in self.new.items() if standing.is_open)


def tallied(
    recorded: Recorded, period: Period, causes: Causes, most: int, known: frozenset[str] | None
) -> tuple[Tally, Gaps]:
    """Walk once through the findings of a period.

    With `known`, causes that were told before, only what became critical in it counts, and is of none of these.
    """
    tally, gaps = Tally(most), Gaps.of(recorded)
    for tracked in recorded.findings:
        tally.written += tracked.finding.key in period.fixed
        if tracked.finding.kind is Kind.COVERAGE_GAP:
            gaps.add(tracked, causes.of(tracked))
        elif (one := placed(tracked, recorded, period, causes)) and (known is None or is_urgent(one, period, known)):
            tally.add(one, period)
    return tally, gaps


def is_urgent(one: Placed, period: Period, known: frozenset[str]) -> bool:
    """Tell whether a finding became critical in this period, or something unseen, of no cause that was told before."""
    if one.standing is Standing.NOT_SEEN:
        return one.is_new and one.cause not in known
    return one.standing.is_open and one.cause not in known and period.holds(critical_since(one.tracked))
