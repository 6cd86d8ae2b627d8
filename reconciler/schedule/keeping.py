"""Whether a schedule is kept: which slot of a line came last, whether it is late, and how many were missed before it.

Pure but for what croniter says of the line's slots. A slot is late once its grace has passed and its work is not done;
when the next one comes, it is missed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from reconciler.schedule.times import SLOT_LIMIT, first, latest, passed

if TYPE_CHECKING:
    from reconciler.schedule.crontab import Entry

GRACE: Final = timedelta(minutes=2)
"""After that cron has started what it will, on any machine that is not down."""
LOOK_BACK: Final = (timedelta(days=7), timedelta(days=2))
"""How far missed slots are looked for: the shorter one for a line with too many slots."""
NEXT: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """How a line stands. `missed` slots came since `first_missed`; before `since` nobody has looked."""

    coming: tuple[datetime, ...]
    last: datetime | None
    is_late: bool = False
    missed: int = 0
    first_missed: datetime | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Noted:
    """What is noted of a line: which of its slots are `done`, and the minute of the `first` start of its job."""

    done: Collection[datetime]
    first: datetime | None


def kept(entry: Entry, now: datetime, zone: ZoneInfo, noted: Noted | None, grace: timedelta = GRACE) -> Kept:
    """Return how a line stands; `noted` is None where nobody notes its slots.

    Nothing can be late or missed before the first start that was noted.
    """
    coming = first(entry, now + timedelta(seconds=1), zone, NEXT)
    last = latest([entry], now, zone)
    if noted is None or noted.first is None or last is None:
        return Kept(coming=coming, last=last)
    since, found = _passed(entry, now, zone, noted.first)
    missed = [slot for slot in found if slot != last and slot not in noted.done and now - slot > grace]
    return Kept(
        coming=coming,
        last=last,
        is_late=last >= noted.first and last not in noted.done and now - last > grace,
        missed=len(missed),
        first_missed=missed[0] if missed else None,
        since=since,
    )


def _passed(entry: Entry, now: datetime, zone: ZoneInfo, begun: datetime) -> tuple[datetime, Sequence[datetime]]:
    """Return the slots that have passed, and since when they are looked at."""
    since, found = now, tuple[datetime, ...]()
    for back in LOOK_BACK:
        since = max(now - back, begun)
        found = passed(entry, since, now, zone, SLOT_LIMIT + 1)
        if len(found) <= SLOT_LIMIT:
            break
    return since, found
