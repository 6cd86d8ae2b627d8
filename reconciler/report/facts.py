"""All that a report is told from, gathered in one walk through findings and writes: counted, and nothing said yet.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from reconciler.model import Severity
from reconciler.report.causes import found
from reconciler.report.standing import Period
from reconciler.report.tally import Tally, tallied
from reconciler.report.unseen import Coverage, coverage
from reconciler.report.writes import Refused, Written, refused, written

if TYPE_CHECKING:
    from reconciler.report.causes import Causes
    from reconciler.report.look import Look
    from reconciler.report.recorded import Recorded, Told
    from reconciler.report.report import Cause

LISTED: Final = 20
"""Rows of one section, causes, and calendars that are listed; what is more is counted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a period came to. `told` are the causes that this report tells, `refused` is there while plans are refused.

    `silent` says for how long no run ended, where that is too long.
    """

    recorded: Recorded
    look: Look
    is_urgent: bool
    period: Period
    written: Written
    tally: Tally
    coverage: Coverage
    causes: Causes
    told: tuple[Cause, ...]
    refused: Refused | None
    silent: timedelta | None

    @property
    def owed(self) -> tuple[Told, ...]:
        """Return the earlier reports that may not have arrived, or did not."""
        return tuple(told for told in self.recorded.told if told.status != "sent")

    @property
    def fixed(self) -> int:
        """Count what a write of ours put right; what no finding asked for too."""
        return self.tally.fixed + self.written.unasked

    @property
    def critical(self) -> int:
        """Count what is open and can't wait."""
        return self.tally.severe[Severity.CRITICAL]


def facts(recorded: Recorded, look: Look, *, urgent: bool) -> Facts:
    """Gather the facts of a period: of what is newly refused, blind or critical alone, if it is `urgent`."""
    came = written(recorded)
    period = Period(since=recorded.since, until=recorded.until, fixed=came.fixed)
    causes = found(recorded, look, period)
    known = frozenset(cause.key for cause in causes.told if not cause.is_new) if urgent else None
    tally, gaps = tallied(recorded, period, causes, LISTED, known)
    came.unasked += len(came.fixed) - tally.written  # a run that died wrote, and left no finding
    now = refused(recorded)
    return Facts(
        recorded=recorded,
        look=look,
        is_urgent=urgent,
        period=period,
        written=Written() if urgent else came,
        tally=tally,
        coverage=coverage(gaps, look, LISTED, known),
        causes=causes,
        told=tuple(cause for cause in causes.told if not urgent or _is_urgent(cause, tally)),
        refused=now if now is not None and (now.is_new or not urgent) else None,
        silent=None if urgent else _silent(recorded),
    )


def _silent(recorded: Recorded) -> timedelta | None:
    """Return for how long no run has ended, where that was not asked for and is too long."""
    if recorded.is_past or recorded.last is None:
        return None
    age = recorded.made_at - recorded.last.started_at
    return age if age > recorded.stale else None


def _is_urgent(cause: Cause, tally: Tally) -> bool:
    """Tell whether a new cause can't wait: for itself, or for a finding that can't."""
    return cause.is_new and (cause.severity is Severity.CRITICAL or tally.by_cause[cause.key] > 0)
