"""When cron starts a line: its slots, as instants in UTC, also where a zone's clocks are changed.

Nothing here asks for the time. Slots are walls, times as the clock on the wall shows them, and cron has rules for
those that a change of the clocks skips or repeats (Debian's cron(8), "Special considerations"; cronie's is the same):
a line with `*` in its hour or minute follows the clock, so it has no slot in the hour that is skipped and two in the
one that is repeated; a line at a particular time runs once, right after the change where its time was skipped. croniter
is asked for walls only, since it knows neither rule.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from croniter import croniter

    from reconciler.schedule.crontab import Entry

STRETCH: Final = timedelta(days=8)
"""How far slots are looked at: a week, and the day that closes it."""
SLOT_LIMIT: Final = 3_000
"""Slots of one line that are looked at: two days of one a minute, all of the stretch for one every five minutes."""

_FEWEST: Final = 2
"""Slots that show how far apart they are, however rare they are."""
_YEARS: Final = 5
"""How far apart slots may be: 29 February but for the turn of most centuries."""
_DAY: Final = timedelta(days=1)
_SECOND: Final = timedelta(seconds=1)
_CHANGE: Final = timedelta(hours=3)
"""The most that clocks are put forward or back; cron takes more for a correction (cron(8))."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often something runs: the most slots in any 24 hours, the shortest and the longest wait between two."""

    per_day: int
    shortest: timedelta
    longest: timedelta


# ---- slots ----------------------------------------------------------------------------------------------------------


def slots(entries: Iterable[Entry], since: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the slots of all `entries` from `since` on, each once, in UTC; `zone` is the machine's own.

    They reach as far as those of the line with the shortest reach: up to there all are known.
    """
    known = [found for entry in entries if (found := _stretch(entry, since, zone))]
    if not known:
        return []
    reach = min(found[-1] for found in known)
    return sorted({slot for found in known for slot in found if slot <= reach})


def _stretch(entry: Entry, since: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the slots of one line up to the first after the stretch, two at least."""
    found: list[datetime] = []
    for slot in following(entry, since, zone):
        found.append(slot)
        if len(found) >= _FEWEST and (len(found) >= SLOT_LIMIT or slot >= since + STRETCH):
            break
    return found


def following(entry: Entry, since: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the slots of a line from `since` on, as long as there are any."""
    here = ZoneInfo(entry.zone) if entry.zone else zone
    start = _wall(since, here) - _slack(since, here)
    last, waiting = since - _SECOND, list[datetime]()
    for wall in _walls(entry.expression, start - _SECOND):
        found = _instants(wall, here, follows=_follows(entry))
        for slot in found:
            heapq.heappush(waiting, slot)
        while found and waiting and waiting[0] <= found[0]:  # those of later walls are later
            slot = heapq.heappop(waiting)
            if slot > last:
                last = slot
                yield slot
    yield from sorted(slot for slot in waiting if slot > last)


def latest(entries: Iterable[Entry], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the latest slot of all `entries` that is not after `now`."""
    return max((slot for entry in entries if (slot := _before(entry, now, zone))), default=None)


def coming(entries: Iterable[Entry], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first slot of all `entries` that is after `now`."""
    firsts = (next(following(entry, now + _SECOND, zone), None) for entry in entries)
    return min((slot for slot in firsts if slot), default=None)


def _before(entry: Entry, now: datetime, zone: ZoneInfo) -> datetime | None:
    here = ZoneInfo(entry.zone) if entry.zone else zone
    wall, slack = _wall(now, here), _slack(now, here)
    found: list[datetime] = []
    for each in _walls(entry.expression, wall + slack + _SECOND, back=True):
        found += [slot for slot in _instants(each, here, follows=_follows(entry)) if slot <= now]
        if found and each <= wall - slack:
            break
    return max(found, default=None)


# ---- walls ----------------------------------------------------------------------------------------------------------


def _walls(expression: str, start: datetime, *, back: bool = False) -> Iterator[datetime]:
    """Yield the times that an expression names, as a clock on the wall shows them, after `start` or before it."""
    from croniter import CroniterBadDateError, croniter

    # Of day and weekday, cron asks for both where one begins with *, else for either: croniter calls that its bug.
    walls: croniter = croniter(expression, start, max_years_between_matches=_YEARS, implement_cron_bug=True)
    try:
        while True:
            yield walls.get_prev(datetime) if back else walls.get_next(datetime)
    except CroniterBadDateError:
        return  # 31 February


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _follows(entry: Entry) -> bool:
    """Tell whether a line goes by the clock, whatever is done to it, and stands for no particular time."""
    return any(field.startswith("*") for field in entry.expression.split()[:2])


def _slack(instant: datetime, zone: ZoneInfo) -> timedelta:
    """Return how far walls and instants may be out of order around an instant: nothing, but where clocks change."""
    before, after = ((instant + by).astimezone(zone).utcoffset() for by in (-_CHANGE, _CHANGE))
    return timedelta() if before == after else _CHANGE


def _instants(wall: datetime, zone: ZoneInfo, *, follows: bool) -> list[datetime]:
    """Return when a clock shows this time: once, and of a time that is skipped or repeated as the line has it."""
    first, second = (wall.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
    if first == second:
        return [first]
    if second > first:
        return [first, second] if follows else [first]
    return [] if follows else [_change(second, first, zone)]


def _change(before: datetime, after: datetime, zone: ZoneInfo) -> datetime:
    """Return the first minute in which the clocks have been changed."""
    was = before.astimezone(zone).utcoffset()
    while after - before > timedelta(minutes=1):
        middle = before + (after - before) / 2
        if middle.astimezone(zone).utcoffset() == was:
            before = middle
        else:
            after = middle
    return after.replace(second=0, microsecond=0)


# ---- rhythm ---------------------------------------------------------------------------------------------------------


def rhythm(found: list[datetime]) -> Rhythm | None:
    """Return how often these slots come; None for fewer than two, which have no rhythm."""
    gaps = [after - before for before, after in pairwise(found)]
    if not gaps:
        return None
    first = most = 0
    for last, slot in enumerate(found):
        while slot - found[first] >= _DAY:
            first += 1
        most = max(most, last - first + 1)
    return Rhythm(most, min(gaps), max(gaps))
