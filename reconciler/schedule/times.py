"""When cron starts a line: its slots, as instants in UTC, also where a zone's clocks are changed.

Nothing here asks for the time. Slots are walls, times as the clock on the wall shows them, and cron has rules for
those that a change of the clocks skips or repeats (Debian's cron(8), "Special considerations"; cronie's is the same):
a line with `*` in its hour or minute follows the clock, so it has no slot in the hour that is skipped and two in the
one that is repeated; a line at a particular time runs once, right after the change where its time was skipped. croniter
is asked for days only, since it knows neither rule.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from datetime import time as clock
from functools import lru_cache
from itertools import islice, pairwise, product, takewhile
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from croniter import croniter

    from reconciler.schedule.crontab import Entry

STRETCH: Final = timedelta(days=8)
"""How far slots are looked at: a week, and the day that closes it."""
SLOT_LIMIT: Final = 3_000
"""Slots of one line that are looked at: two days of one a minute, all of the stretch for one every five minutes."""

_FEW: Final = 32
_MANY: Final = 2_048
"""How many answers are kept, of a thousand slots each and of a few."""
_FEWEST: Final = 2
"""Slots that show how far apart they are, however rare they are."""
_YEARS: Final = 5
"""How far apart slots may be: 29 February but for the turn of most centuries."""
_ANY: Final = ["*"]
"""What croniter says of a field that names every time."""
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
    lines = dict.fromkeys((entry.expression, _here(entry, zone)) for entry in entries)
    known = [found for expression, here in lines if (found := _stretch(expression, here, since))]
    if not known:
        return []
    reach = min(found[-1] for found in known)
    return sorted({slot for found in known for slot in found if slot <= reach})


def following(entry: Entry, since: datetime, zone: ZoneInfo) -> Iterator[datetime]:
    """Yield the slots of a line from `since` on, as long as there are any."""
    return _slots(entry.expression, _here(entry, zone), since)


def first(entry: Entry, since: datetime, zone: ZoneInfo, most: int) -> tuple[datetime, ...]:
    """Return the first slots of a line from `since` on, `most` of them where there are as many."""
    return _first(entry.expression, _here(entry, zone), since, most)


def passed(entry: Entry, since: datetime, now: datetime, zone: ZoneInfo, most: int) -> tuple[datetime, ...]:
    """Return the slots of a line from `since` up to `now`, `most` of them where there are more."""
    return _passed(entry.expression, _here(entry, zone), since, now, most)


def latest(entries: Iterable[Entry], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the latest slot of all `entries` that is not after `now`."""
    found = (_before(entry.expression, _here(entry, zone), now) for entry in entries)
    return max((slot for slot in found if slot), default=None)


def coming(entries: Iterable[Entry], now: datetime, zone: ZoneInfo) -> datetime | None:
    """Return the first slot of all `entries` that is after `now`."""
    return min((slot for entry in entries for slot in first(entry, now + _SECOND, zone, 1)), default=None)


def _here(entry: Entry, zone: ZoneInfo) -> ZoneInfo:
    return ZoneInfo(entry.zone) if entry.zone else zone


# ---- of one expression: lines of many jobs share a few -------------------------------------------------------------


@lru_cache(maxsize=_FEW)
def _stretch(expression: str, here: ZoneInfo, since: datetime) -> tuple[datetime, ...]:
    """Return the slots up to the first after the stretch, two at least."""
    found: list[datetime] = []
    for slot in _slots(expression, here, since):
        found.append(slot)
        if len(found) >= _FEWEST and (len(found) >= SLOT_LIMIT or slot >= since + STRETCH):
            break
    return tuple(found)


@lru_cache(maxsize=_FEW)
def _passed(expression: str, here: ZoneInfo, since: datetime, now: datetime, most: int) -> tuple[datetime, ...]:
    return tuple(islice(takewhile(lambda slot: slot <= now, _slots(expression, here, since)), most))


@lru_cache(maxsize=_MANY)
def _first(expression: str, here: ZoneInfo, since: datetime, most: int) -> tuple[datetime, ...]:
    return tuple(islice(_slots(expression, here, since), most))


@lru_cache(maxsize=_MANY)
def _before(expression: str, here: ZoneInfo, now: datetime) -> datetime | None:
    """Return the latest slot up to `now`."""
    wall, slack, follows = _wall(now, here), _slack(now, here), _follows(expression)
    found: list[datetime] = []
    for each in _walls(expression, wall + slack + _SECOND, back=True):
        found += [slot for slot in _instants(each, here, follows=follows) if slot <= now]
        if found and each <= wall - slack:
            break
    return max(found, default=None)


def _slots(expression: str, here: ZoneInfo, since: datetime) -> Iterator[datetime]:
    """Yield the slots from `since` on, as long as there are any."""
    start, follows = _wall(since, here) - _slack(since, here), _follows(expression)
    last, waiting = since - _SECOND, list[datetime]()
    for wall in _walls(expression, start - _SECOND):
        found = _instants(wall, here, follows=follows)
        for slot in found:
            heapq.heappush(waiting, slot)
        while found and waiting and waiting[0] <= found[0]:  # those of later walls are later
            slot = heapq.heappop(waiting)
            if slot > last:
                last = slot
                yield slot
    yield from sorted(slot for slot in waiting if slot > last)


# ---- walls ----------------------------------------------------------------------------------------------------------


def _walls(expression: str, start: datetime, *, back: bool = False) -> Iterator[datetime]:
    """Yield the times that an expression names, as a clock on the wall shows them, after `start` or before it."""
    times = _times(expression)
    for day in _days(expression, start, back=back):
        for time in reversed(times) if back else times:
            wall = day + time
            if wall < start if back else wall > start:
                yield wall


@lru_cache(maxsize=_FEW)
def _times(expression: str) -> tuple[timedelta, ...]:
    """Return the times of a day that an expression names: each of its hours with each of its minutes."""
    from croniter import croniter

    minutes, hours, *_ = croniter.expand(expression)[0]
    each = product(range(24) if hours == _ANY else hours, range(60) if minutes == _ANY else minutes)
    return tuple(timedelta(hours=int(hour), minutes=int(minute)) for hour, minute in each)


def _days(expression: str, start: datetime, *, back: bool) -> Iterator[datetime]:
    """Yield the days that an expression names, from that of `start` on or back.

    Days are all that croniter is asked for: each answer takes it a tenth of a millisecond, and a week has ten thousand
    minutes.
    """
    from croniter import CroniterBadDateError, croniter

    first = datetime.combine(start.date(), clock.min) + (_SECOND if back else -_SECOND)
    dates = f"0 0 {' '.join(expression.split()[2:])}"
    # Of day and weekday, cron asks for both where one begins with *, else for either: croniter calls that its bug.
    days: croniter = croniter(dates, first, max_years_between_matches=_YEARS, implement_cron_bug=True)
    try:
        while True:
            yield days.get_prev(datetime) if back else days.get_next(datetime)
    except CroniterBadDateError:
        return  # 31 February


def _wall(instant: datetime, zone: ZoneInfo) -> datetime:
    return instant.astimezone(zone).replace(tzinfo=None)


def _follows(expression: str) -> bool:
    """Tell whether a line goes by the clock, whatever is done to it, and stands for no particular time."""
    return any(field.startswith("*") for field in expression.split()[:2])


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
