"""Since when there are more of something than chance makes: instants counted by the hour, held against what is usual.

Pure. What one count costs is bounded by the hours it reaches back, however many instants are counted. An onset is
claimed only where so many would come by chance less than once in a thousand times; it is then the first instant of it.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from reconciler.model import Kind
    from reconciler.report.recorded import Day

LEAST: Final = 3
"""How many it takes to speak of a cause at all: one is a slip, two may be a coincidence."""

RARE: Final = math.log(1000)
"""How far from usual it has to be: less than one in a thousand, by Chernoff's bound for counts (Poisson)."""

REACH: Final = timedelta(days=90)
"""How far back instants are told apart; what is older counts as that old."""

DAYS: Final = 3
"""Days that must have been watched before an onset, so that there is something usual to hold it against."""

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


Usual = Callable[[datetime], float | None]
"""How many there are on an ordinary day before an instant; None where too little was watched before it."""


def usual(days: Iterable[Day], kinds: Iterable[Kind], zone: ZoneInfo) -> Usual:
    """Return what the days before an instant tell of how often findings of these kinds come."""
    wanted = tuple(kinds)
    watched = sorted((one.day, sum(one.kinds.get(kind, 0) for kind in wanted)) for one in days if one.runs)
    dates: list[date] = [day for day, _ in watched]
    sums = [0]
    for _, found in watched:
        sums.append(sums[-1] + found)

    def before(at: datetime) -> float | None:
        number = bisect_left(dates, at.astimezone(zone).date())
        return None if number < DAYS else (sums[number] + _HALF) / number

    return before


def rise(times: Times, expected: Usual) -> Span | None:
    """Return since when, and until when, there are more than usual; None where chance may well explain them."""
    hours = times.hours()
    if times.count < LEAST:
        return None
    until = times.until.timestamp()
    rates = [_rate(hours, number, expected) for number in range(len(hours))]
    first = _best_start(hours, rates, len(hours), until)
    if first is None:
        return None
    last = _best_end(hours, rates[first], first, until)
    if last + 1 < len(hours):
        again = _best_start(hours, rates, last + 1, hours[last][1])
        first = first if again is None else again
    count = sum(many for _, _, many in hours[first : last + 1])
    return Span(_instant(hours[first][0]), _instant(hours[last][1]), count, is_over=last + 1 < len(hours))


def _rate(hours: list[tuple[float, float, int]], number: int, expected: Usual) -> float | None:
    """Return how many a day are usual before an hour: by the days that were watched, else by those of these before."""
    start = hours[number][0]
    known = expected(_instant(start))
    if known is not None or not number or start - hours[0][0] < DAYS * _DAY:
        return known
    earlier = sum(many for _, _, many in hours[:number])
    return (earlier + _HALF) / ((start - hours[0][0]) / _DAY)


def _best_start(
    hours: list[tuple[float, float, int]], rates: list[float | None], before: int, until: float
) -> int | None:
    """Return the hour from which the rest is least like chance; None where it may be chance from everywhere."""
    best, found, count = RARE, None, 0
    for number in range(before - 1, -1, -1):
        count += hours[number][2]
        rate = rates[number]
        score = 0.0 if rate is None else _score(count, rate, until - hours[number][0])
        if score >= best:
            best, found = score, number
    return found


def _best_end(hours: list[tuple[float, float, int]], rate: float | None, first: int, until: float) -> int:
    """Return the last hour of it: the one up to which it is least like chance."""
    whole = sum(many for _, _, many in hours[first:])
    best, found, count = _score(whole, rate, until - hours[first][0]), len(hours) - 1, 0
    for number in range(first, len(hours) - 1):
        count += hours[number][2]
        score = _score(count, rate, hours[number][1] - hours[first][0])
        if score > best + RARE:  # that it ended is a claim as well
            best, found = score, number
    return found


def _score(count: int, rate: float | None, seconds: float) -> float:
    """Return how unlikely so many are, as a logarithm. A day is the least that a rate by the day can speak of."""
    if rate is None:
        return 0.0
    likely = rate * max(seconds / _DAY, 1.0)
    return count * math.log(count / likely) - count + likely if count >= LEAST and count > likely else 0.0


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
