"""Since when there are more of something than chance makes: instants counted by the hour, held against what is usual.

Pure. What one count costs is bounded by the hours it reaches back, however many instants are counted. An onset is
claimed only where so many would come by chance less than once in a thousand times; it is then the first instant of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from itertools import accumulate
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from reconciler.model import Kind
    from reconciler.report.recorded import Day

LEAST: Final = 3
"""How many it takes to speak of a cause at all: one is a slip, two may be a coincidence."""

RARE: Final = math.log(1000)
"""How much likelier two rates have to be than one: a thousand times (the likelihood ratio of Poisson counts)."""

REACH: Final = timedelta(days=90)
"""How far back instants are told apart; what is older counts as that old."""

DAYS: Final = 3
"""Days that must have been watched before an onset, so that there is something usual to hold it against; and days
without any that it takes to say that something is over: a weekend says nothing."""

_DAY: Final = 86_400.0
_HOUR: Final = 3_600.0
_HALF: Final = 0.5  # what was never seen may still happen: so much of it is taken for usual over all days watched


@dataclass(frozen=True, slots=True)
class Span:
    """From its first instant to its last, and how many there are; `is_over` says that it ended before the period did.

    `is_clear` says that an onset may be claimed: without it the first instant is merely the oldest one known.
    """

    start: datetime
    end: datetime
    count: int
    is_clear: bool = True
    is_over: bool = False

    def holds(self, at: datetime) -> bool:
        """Tell whether an instant is part of it."""
        return self.start <= at <= self.end


@dataclass(slots=True)
class Times:
    """Instants, counted by the hour. Nothing after `until` is counted as later than that."""

    until: datetime
    count: int = 0
    _hours: dict[int, list[float]] = field(default_factory=dict)  # how many, the first, the last

    def clipped(self, at: datetime) -> datetime:
        """Return an instant as it is counted: what a side says of its changes may be anything."""
        return min(max(at, self.until - REACH), self.until)

    def add(self, at: datetime) -> None:
        stamp = self.clipped(at).timestamp()
        hour = self._hours.setdefault(int(stamp // _HOUR), [0, stamp, stamp])
        hour[0] += 1
        hour[1], hour[2] = min(hour[1], stamp), max(hour[2], stamp)
        self.count += 1

    def hours(self) -> list[tuple[float, float, int]]:
        """Return for each hour that has any the first instant, the last, and how many there are, oldest first."""
        return [(first, last, int(many)) for _, (many, first, last) in sorted(self._hours.items())]

    @property
    def whole(self) -> Span | None:
        """Return all of it, with no claim about when it began."""
        hours = self.hours()
        if not hours:
            return None
        return Span(_instant(hours[0][0]), _instant(hours[-1][1]), self.count, is_clear=False)


Before = tuple[float, float]
"""How many there were in how many days: what the days that follow are held against."""


@dataclass(frozen=True, slots=True)
class Usual:
    """How many findings of some kinds an ordinary day brings, by the days that were watched.

    `turned` is the day since which more come, day after day, than chance makes: what was told on each of these days is
    no measure of what is usual, however long it goes on.
    """

    zone: ZoneInfo
    dates: tuple[date, ...] = ()
    sums: tuple[int, ...] = (0,)
    turned: date | None = None

    def before(self, at: datetime) -> Before | None:
        """Return how many there were in how many days before an instant; None where too few were watched before it."""
        day = at.astimezone(self.zone).date()
        return self._first(bisect_left(self.dates, min(day, self.turned or day)))

    def daily(self, at: datetime) -> float | None:
        """Return how many a day were usual before an instant; None where too few days were watched before it."""
        known = self.before(at)
        return None if known is None else known[0] / known[1]

    def _first(self, number: int) -> Before | None:
        return None if number < DAYS else (self.sums[number], number)

    def turn(self, until: date) -> date | None:
        """Return the day since which more come than chance makes, of the days before `until`."""
        best, found, last = RARE, None, bisect_left(self.dates, until)
        for number in range(DAYS, last):
            days = (until - self.dates[number]).days
            score = _score(self.sums[last] - self.sums[number], days * _DAY, self._first(number))
            if score > best:
                best, found = score, self.dates[number]
        return found


def usual(days: Iterable[Day], kinds: Iterable[Kind], zone: ZoneInfo, since: datetime) -> Usual:
    """Return what the days tell of how often findings of these kinds come, and came before a period began."""
    wanted = tuple(kinds)
    watched = sorted((one.day, sum(one.kinds.get(kind, 0) for kind in wanted)) for one in days if one.runs)
    sums = accumulate((found for _, found in watched), initial=0)
    known = Usual(zone, tuple(day for day, _ in watched), tuple(sums))
    return replace(known, turned=known.turn(since.astimezone(zone).date()))


Hours = list[tuple[float, float, int]]


def rise(times: Times, expected: Usual) -> Span | None:
    """Return since when, and until when, there are more than usual; None where chance may well explain them."""
    hours = times.hours()
    if times.count < LEAST:
        return None
    found = _likeliest(hours, [_before(hours, number, expected) for number in range(len(hours))], times.until)
    if found is None:
        return None
    first, last, is_over = found
    count = sum(many for _, _, many in hours[first : last + 1])
    return Span(_instant(hours[first][0]), _instant(hours[last][1]), count, is_over=is_over)


def _before(hours: Hours, number: int, expected: Usual) -> Before | None:
    """Return what there was before an hour: by the days that were watched, else of these themselves."""
    start = hours[number][0]
    known = expected.before(_instant(start))
    if known is not None or start - hours[0][0] < DAYS * _DAY:
        return known
    return sum(many for _, _, many in hours[:number]), (start - hours[0][0]) / _DAY


def _likeliest(hours: Hours, before: list[Before | None], until: datetime) -> tuple[int, int, bool] | None:
    """Return from which hour to which one it is least like chance, and whether it is over; None where it may be chance.

    That it ended is a claim of its own, which has to be as likely again.
    """
    sums = [0, *accumulate(many for _, _, many in hours)]
    ends = _ends(hours, until.timestamp())
    best, found = RARE, None
    for first in range(len(hours) - 1, -1, -1):
        score = _score(sums[-1] - sums[first], until.timestamp() - hours[first][0], before[first])
        if score >= best:
            best, found = score, (first, len(hours) - 1, False)
        for last in ends:
            seconds = hours[last][1] - hours[first][0]
            if seconds >= 0 and (score := _score(sums[last + 1] - sums[first], seconds, before[first]) - RARE) > best:
                best, found = score, (first, last, True)
    return found


def _ends(hours: Hours, until: float) -> list[int]:
    """Return the last hour of each day that is long enough ago for something to have ended with it."""
    last = {int(hour[1] // _DAY): number for number, hour in enumerate(hours) if until - hour[1] >= DAYS * _DAY}
    return sorted(last.values())


def _score(count: int, seconds: float, before: Before | None) -> float:
    """Return how much better two rates explain what came before and since than one does, as a logarithm.

    A day is the least that is held against days; nothing seen before counts as half of one that may have been missed.
    """
    if before is None or count < LEAST:
        return 0.0
    earlier, days = max(before[0], _HALF), before[1]
    since = max(seconds / _DAY, 1.0)
    one = (earlier + count) / (days + since)
    if count / since <= one:
        return 0.0
    return count * math.log(count / since / one) + earlier * math.log(earlier / days / one)


def burst(times: Times, least: int) -> Span | None:
    """Return the hour (and what of the next) in which most of them are, if that is half of all and `least` or more."""
    hours = times.hours()
    best: tuple[int, int] | None = None
    for number, (first, _, many) in enumerate(hours):
        beside = many
        if number + 1 < len(hours) and hours[number + 1][0] - first <= 2 * _HOUR:
            beside += hours[number + 1][2]
        if best is None or beside > best[0]:
            best = (beside, number)
    if best is None or best[0] < least or best[0] * 2 < times.count:
        return None
    count, number = best
    ends = number + 1 if count > hours[number][2] else number
    return Span(_instant(hours[number][0]), _instant(hours[ends][1]), count, is_over=ends + 1 < len(hours))


def _instant(stamp: float) -> datetime:
    return datetime.fromtimestamp(stamp, UTC)
