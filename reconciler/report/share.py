"""What one cause comes to: the findings that are part of it, counted in one walk.

Pure. Nothing is held of a finding but of the most urgent one, which stands for all where one has to be looked at.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.model import Kind, Outcome, Severity
from reconciler.report.report import Standing
from reconciler.report.signs import at_of, clue, origins

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.report.cases import Case
    from reconciler.report.recorded import Tracked

WRITERS: Final = 50
"""Writers of records that are counted apart: who wrote nearly all of them is among the first."""

_RECORDS: Final = 9  # digits of a number that a clue may say
_ENDED: Final = frozenset({Standing.FIXED, Standing.RESOLVED})


@dataclass(slots=True)
class Share:
    """The findings of one cause. `old` were told of before this period, `ours` were put right by a write of ours.

    `records` is how many records they stand for, `unseen` how many of them a whole read did not show.
    """

    case: Case
    count: int = 0
    old: int = 0
    ours: int = 0
    open: int = 0
    unseen: int = 0
    records: int = 0
    agents: Counter[str] = field(default_factory=Counter)
    kinds: Counter[Kind] = field(default_factory=Counter)
    writers: Counter[tuple[str, ...]] = field(default_factory=Counter)
    severity: Severity = Severity.INFO
    first: datetime | None = None
    last: datetime | None = None
    sighted: datetime | None = None
    example: Tracked | None = None
    has_example_open: bool = False
    said: str = ""

    @property
    def is_news(self) -> bool:
        """Tell whether it is worth telling: some of it is open, or was so until we wrote."""
        return self.open + self.ours > 0

    def meet(self, tracked: Tracked, standing: Standing | None, since: datetime) -> None:
        """Count a finding that is part of this cause."""
        finding, at = tracked.finding, at_of(tracked, self.case.sign.family)
        self.count += 1
        self.old += tracked.told_from <= since
        self.ours += standing is Standing.FIXED
        self.agents[finding.agent or ""] += 1
        self.kinds[finding.kind] += 1
        self._written_by(origins(finding))
        self.unseen += finding.kind is Kind.ORPHAN_IN_CRM
        self.records += _records(tracked)
        self.first = min(at, self.first or at)
        self.last = max(at, self.last or at)
        self.sighted = min(tracked.first_seen, self.sighted or tracked.first_seen)
        if standing not in _ENDED:
            self._open(tracked)
        self.example = self.example or tracked

    def _written_by(self, writers: tuple[str, ...]) -> None:
        if writers in self.writers or len(self.writers) < WRITERS:
            self.writers[writers] += 1

    def _open(self, tracked: Tracked) -> None:
        self.open += 1
        self.severity = min(self.severity, tracked.finding.severity, key=lambda severity: severity.rank)
        if not self.has_example_open:
            self.example, self.has_example_open = tracked, True
            failed = (taken.why for taken in tracked.taken if taken.outcome in {Outcome.FAILED, Outcome.UNKNOWN})
            self.said = next(failed, tracked.finding.why)


def _records(tracked: Tracked) -> int:
    said = clue(tracked.finding, "records") or ""
    return int(said) if said.isascii() and said.isdecimal() and len(said) <= _RECORDS else 0
