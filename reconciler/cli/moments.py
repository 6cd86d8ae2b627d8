"""Times as people type them on a command line: how long ago, a day, or an instant."""

from __future__ import annotations

from datetime import date, datetime, time
from typing import TYPE_CHECKING, Final

from reconciler.errors import Problem, UsageError
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

HINT: Final = "how long ago (90m, 24h, 31d), a day (2026-11-01) or a time (2026-11-01T08:00, 2026-11-01T14:00Z)"
_DAY: Final = len("2026-11-01")


def moment_of(option: str, word: str, zone: ZoneInfo, now: datetime) -> datetime:
    """Return the instant that `word` names: a day begins at its midnight in `zone`, a time without an offset is there.

    Raises UsageError for what is none, and for what has not come yet.
    """
    found = _before(word, now) or _in(word, zone)
    if found is None:
        raise UsageError(str(Problem(option, f"{bounded(word, 60)} is no time", HINT)))
    if found > now:
        raise UsageError(str(Problem(option, f"{bounded(word, 60)} has not come yet", HINT)))
    return found


def _before(word: str, now: datetime) -> datetime | None:
    from reconciler.config.values import WrongError, duration

    try:
        return now - duration(word.strip())
    except (WrongError, OverflowError):
        return None


def _in(word: str, zone: ZoneInfo) -> datetime | None:
    try:
        if len(word.strip()) == _DAY:
            return datetime.combine(date.fromisoformat(word.strip()), time(), tzinfo=zone)
        said = datetime.fromisoformat(word.strip())
        return (said if said.tzinfo else said.replace(tzinfo=zone)).replace(microsecond=0)
    except (ValueError, OverflowError):
        return None
