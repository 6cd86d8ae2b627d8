"""Where a finding stands at the end of a period: each in exactly one place, by what is known of it and nothing else.

Pure. What an earlier report has told, and nobody could look at since, is not told again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from reconciler.findings import SOON
from reconciler.model import Kind, Outcome, Remedy, Severity
from reconciler.report.report import Standing

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from reconciler.report.recorded import Tracked

PENDING: Final = "pending"
"""The clue of a finding that is a moment old: the live integration may be about to bring it."""

_EARLIEST: Final = datetime(1900, 1, 1, tzinfo=UTC)
_MET: Final = (
    (Standing.FAILED, frozenset({Outcome.FAILED, Outcome.UNKNOWN, Outcome.CONFLICT})),
    (Standing.DEFERRED, frozenset({Outcome.DEFERRED})),
    (Standing.WAITS, frozenset({Outcome.PLANNED})),
    (Standing.HELD, frozenset({Outcome.HELD})),
    (Standing.FIXED, frozenset({Outcome.DONE, Outcome.ALREADY})),
)
"""What the deltas of a finding come to, the worst first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """What tells standings apart: from when until when, and which findings a write of ours put right in between."""

    since: datetime
    until: datetime
    fixed: Collection[str] = frozenset()

    def holds(self, at: datetime | None) -> bool:
        """Tell whether an instant is in this period."""
        return at is not None and self.since < at <= self.until


def as_of(tracked: Tracked, until: datetime) -> Tracked:
    """Return a finding as it was known at `until`: of a period that is long over, more came to pass since."""
    if tracked.last_seen <= until and (tracked.resolved_at is None or tracked.resolved_at <= until):
        return tracked
    is_later = tracked.last_seen > until  # what was done about it then is told of that run
    word = tracked.accepted
    return replace(
        tracked,
        last_seen=min(tracked.last_seen, until),
        resolved_at=None,
        taken=() if is_later else tracked.taken,
        accepted=word if word is None or word.at <= until else None,
    )


def standing_of(tracked: Tracked, period: Period) -> Standing | None:
    """Return where a finding stands, None for what is no finding of a pair or was over before this period."""
    tracked = as_of(tracked, period.until)
    if tracked.finding.kind is Kind.COVERAGE_GAP:
        return None  # said before all findings: what was not seen
    if tracked.resolved_at is not None:
        return _over(tracked, period)
    if tracked.accepted is not None:
        return Standing.ACCEPTED
    standing = _asked(tracked)
    told_before = standing is Standing.FIXED and tracked.last_seen <= period.since
    return None if told_before else standing


def gap_standing(tracked: Tracked, period: Period) -> Standing | None:
    """Return where the finding stands that says that something was not seen; None for what was over before."""
    tracked = as_of(tracked, period.until)
    if tracked.resolved_at is not None:
        return Standing.RESOLVED if period.holds(tracked.resolved_at) else None
    return Standing.ACCEPTED if tracked.accepted is not None else Standing.NOT_SEEN


def _over(tracked: Tracked, period: Period) -> Standing | None:
    if not period.holds(tracked.resolved_at):
        return None
    if tracked.finding.key in period.fixed:
        return Standing.FIXED
    if _asked(tracked) is Standing.FIXED:
        # Written before the period: it was told as fixed then, and merely confirmed now.
        return Standing.FIXED if tracked.last_seen > period.since else None
    # What was a moment old to the last was never told of: the live integration brought it in time.
    was_told = tracked.settled_at is not None or PENDING not in tracked.finding.clues
    return Standing.RESOLVED if was_told else None


def _asked(tracked: Tracked) -> Standing:
    """Return where a finding that is open stands, by whom it asks."""
    finding = tracked.finding
    if finding.remedy is Remedy.HUMAN:
        return Standing.NEEDS_YOU
    if (came_to := _came_to(tracked)) is not None:
        return came_to
    match finding.remedy:
        case Remedy.FIX:
            return Standing.WAITS
        case Remedy.HOLD:
            return Standing.PENDING if PENDING in finding.clues else Standing.HELD
        case _:
            return Standing.NEEDS_YOU  # it was accepted when it was last seen, and that is over


def _came_to(tracked: Tracked) -> Standing | None:
    """Return what the deltas of a finding came to: the worst of them; None where there are none."""
    outcomes = {taken.outcome for taken in tracked.taken}
    return next((standing for standing, of in _MET if outcomes & of), None)


# ---- how new it is --------------------------------------------------------------------------------------------------


def critical_since(tracked: Tracked) -> datetime | None:
    """Return when a finding became critical: since people are told of it, or as its appointment drew near."""
    if tracked.finding.severity is not Severity.CRITICAL:
        return None
    near = [begins - SOON for begins in _starts(tracked) if begins - SOON <= tracked.last_seen <= begins]
    return max(tracked.told_from, min(near)) if near else tracked.told_from


def _starts(tracked: Tracked) -> Iterator[datetime]:
    finding = tracked.finding
    for start in (finding.start, *(held.get("start") for held in finding.has.values())):
        begins = instant(start)
        if begins is not None:
            yield begins


def instant(value: object) -> datetime | None:
    """Read an instant of `Fields`; None for a date, and for what is none."""
    if not isinstance(value, str) or len(value) <= len("2026-11-24"):
        return None
    try:
        read = datetime.fromisoformat(value)
        return read.astimezone(UTC) if read.tzinfo and read.astimezone(UTC) > _EARLIEST else None
    except (ValueError, OverflowError):
        return None
