"""Few causes instead of many rows: which findings share one, since when, by what evidence, and the command that helps.

Pure. `found` walks twice through the findings and keeps counters alone; `Causes.of` says afterwards of each finding
which cause it is part of, so that the counts of the causes are the counts of their rows. Nothing is claimed that the
evidence does not carry. What it reads of a finding, beside kind, agent, place, fields, `why` and `taken`:

- `changed`: when the side that moved last did so. A missing booking: when the event was last changed; a cancel: when
  it was cancelled or first seen to be gone; a duplicate: when the youngest of its records was written; a difference
  that the CRM made: when the record was.
- clues `origin:NAME` (who wrote the record; of a duplicate one for each writer), `scheduler:NAME` (whose booking it
  is), `shift:SECONDS` (record minus event), `records:N` (how many records one `tz_shift` stands for), `flapping`,
  `pending`, `left` (an agent who left), `baseline` (what the first read met). What is not there is not needed.
- of calendars `blind_since`, `why`, `seen_at` and `heard_at`, of days the `kinds` that were found, of the latest run
  whether its plan was refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from reconciler.model import Kind
from reconciler.report.access import access_causes, gaps_of
from reconciler.report.cases import ENOUGH, Case, Survey, Terms, cases, terms_of
from reconciler.report.cause import cause_of, key_of
from reconciler.report.onset import Times
from reconciler.report.report import Standing
from reconciler.report.share import Share
from reconciler.report.signs import at_of, signs
from reconciler.report.standing import Period, standing_of
from reconciler.report.writes import written

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.report.look import Look
    from reconciler.report.recorded import Recorded, Tracked
    from reconciler.report.report import Cause
    from reconciler.report.signs import Sign

TOLD: Final = 20
"""Causes that are told, the most urgent: who has more of them has rows to read anyway."""

_NEVER: Final = Period(since=datetime.min.replace(tzinfo=UTC), until=datetime.min.replace(tzinfo=UTC))
_ASIDE: Final = frozenset({Standing.ACCEPTED, Standing.PENDING})
"""What people know, and what is a moment old, makes no cause."""


@dataclass(frozen=True, slots=True)
class Causes:
    """What was found: the causes that are told, the most urgent first, and what leads from a finding to its cause."""

    told: tuple[Cause, ...] = ()
    _cases: Mapping[Sign, Case] = field(default_factory=dict, repr=False)
    _gaps: Mapping[str, str] = field(default_factory=dict, repr=False)
    _period: Period = field(default=_NEVER, repr=False)

    def of(self, tracked: Tracked) -> str:
        """Return the key of the cause that a finding is part of, empty if it stands for itself."""
        key = self._gaps.get(tracked.finding.key, "")
        if not key and _counts(tracked, self._period):
            case = _case_of(tracked, self._cases, self._period.until)
            key = key_of(case.sign) if case else ""
        return key if any(told.key == key for told in self.told) else ""


def found(recorded: Recorded, look: Look, period: Period | None = None) -> Causes:
    """Return the causes that the findings of a period share; `period` says which of them were put right by us."""
    if period is None:
        period = Period(since=recorded.since, until=recorded.until, fixed=written(recorded).fixed)
    terms = terms_of(recorded, look)
    survey = Survey(recorded.until)
    for tracked in _counted(recorded, period):
        survey.meet(tracked)
    decided = cases(survey, terms)
    told = [*access_causes(recorded, look), *_shared(recorded, decided, period, terms, look)]
    told.sort(key=lambda one: (one.severity.rank, -one.count, one.key))
    return Causes(tuple(told[:TOLD]), decided, gaps_of(recorded), period)


def _counted(recorded: Recorded, period: Period) -> Iterator[Tracked]:
    return (tracked for tracked in recorded.findings if _counts(tracked, period))


def _counts(tracked: Tracked, period: Period) -> bool:
    """Tell whether a finding may be part of a cause; a gap is one as long as it is there and nobody accepted it."""
    if tracked.finding.kind is Kind.COVERAGE_GAP:
        return tracked.accepted is None and (tracked.resolved_at is None or tracked.resolved_at > period.until)
    standing = standing_of(tracked, period)
    return standing is not None and standing not in _ASIDE


def _case_of(tracked: Tracked, decided: Mapping[Sign, Case], until: datetime) -> Case | None:
    """Return the most telling cause of a finding: there is one for each."""
    for sign in signs(tracked):
        case = decided.get(sign)
        if case and (case.span is None or case.span.holds(Times(until).clipped(at_of(tracked, sign.family)))):
            return case
    return None


def _shared(
    recorded: Recorded, decided: Mapping[Sign, Case], period: Period, terms: Terms, look: Look
) -> Iterator[Cause]:
    """Yield the causes that are told: those that some of it is left of, or that we put right."""
    shares: dict[Sign, Share] = {}
    for tracked in _counted(recorded, period) if decided else ():
        case = _case_of(tracked, decided, recorded.until)
        if case is not None:
            share = shares.setdefault(case.sign, Share(case))
            share.meet(tracked, standing_of(tracked, period), recorded.since)
    for sign, share in shares.items():
        if share.count >= ENOUGH[sign.family] and share.is_news:
            yield cause_of(share, terms, look)
