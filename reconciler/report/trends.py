"""What thirty days came to: five small charts, each said in words too, and gaps where nothing ran.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING, Final

from reconciler.report.finding import KINDS
from reconciler.report.report import Trend
from reconciler.report.words import day as said_day
from reconciler.report.words import lasting, plural, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.report.recorded import Day, Recorded

DAYS: Final = 30

Point = tuple[date, float | None]


@dataclass(frozen=True, slots=True)
class _Chart:
    """How one chart is made: what of a day it shows, and whether its last value or its whole is what is said."""

    name: str
    title: str
    unit: str
    of: Callable[[Day], float | None]
    adds_up: bool = False


def _delay(day: Day) -> float | None:
    return round(day.delay / day.delayed / 60, 1) if day.delayed else None


def _coverage(day: Day) -> float | None:
    return round(100 * day.observed / day.calendars, 1) if day.calendars else None


_CHARTS: Final = (
    _Chart("found", "Drift found", "", lambda day: float(day.found), adds_up=True),
    _Chart("fixed", "Fixed", "", lambda day: float(day.fixed), adds_up=True),
    _Chart("open", "Open", "", lambda day: float(day.open)),
    _Chart("delay", "Detection delay", "minutes", _delay),
    _Chart("coverage", "Coverage", "%", _coverage),
)


def trends(recorded: Recorded, zone: str) -> tuple[Trend, ...]:
    """Return the charts of the thirty days up to the end of a period; none where nothing is known of them."""
    days = {day.day: day for day in recorded.days if day.runs}
    if not (days and recorded.has_days):
        return ()
    last = recorded.until.astimezone(zone_of(zone)).date()
    dates = [last - timedelta(days=before) for before in reversed(range(DAYS))]
    return tuple(_drawn(chart, [(each, _value(chart, days.get(each))) for each in dates]) for chart in _CHARTS)


def _value(chart: _Chart, day: Day | None) -> float | None:
    return None if day is None else chart.of(day)


def _drawn(chart: _Chart, points: list[Point]) -> Trend:
    return Trend(
        name=chart.name,
        title=chart.title,
        unit=chart.unit,
        points=tuple(points),
        said=f"{chart.title}: {_said(chart, points)}.",
    )


def _said(chart: _Chart, points: list[Point]) -> str:
    """Say a chart in words: where it stands, what it came to, and its highest, or for a share its lowest, day."""
    known = [(value, day) for day, value in points if value is not None]
    if not known:
        return f"not known in {plural(len(points), 'day')}"
    value, latest = known[-1]
    when = "on the last day" if latest == points[-1][0] else f"on {said_day(latest)}"
    parts = [f"{_number(value, chart.unit)} {when}"]
    if chart.adds_up:
        parts.append(f"{sum(each for each, _ in known):,.0f} in {plural(len(points), 'day')}")
    parts += _extreme(chart, known)
    if blank := len(points) - len(known):
        parts.append(f"{plural(blank, 'day')} without a value")
    return "; ".join(parts)


def _extreme(chart: _Chart, known: list[tuple[float, date]]) -> Iterator[str]:
    """Say which day was the worst, the latest of several, where days were not all alike."""
    if min(known)[0] == max(known)[0]:
        return
    sign = -1 if chart.unit == "%" else 1
    value, day = max(known, key=lambda each: (sign * each[0], each[1]))
    yield f"{'lowest' if chart.unit == '%' else 'most'} {_number(value, chart.unit)} on {said_day(day)}"


def _number(value: float, unit: str) -> str:
    return f"{value:,.10g} {unit}".rstrip()


# ---- the days of a long period --------------------------------------------------------------------------------------


def days_said(recorded: Recorded, zone: str) -> Iterator[str]:
    """Say what the whole days of a long period came to: they are kept when findings are long forgotten."""
    first = recorded.since.astimezone(zone_of(zone)).date()
    days = [day for day in recorded.days if day.day > first and day.runs]
    if len(days) <= 1 or not recorded.has_days:
        return
    found, fixed = sum(day.found for day in days), sum(day.fixed for day in days)
    settled = sum(day.resolved for day in days)
    kinds = _kinds(days)
    yield (
        f"In {plural(len(days), 'day')} since {said_day(days[0].day)}: {plural(found, 'difference')} found, {fixed:,} "
        f"fixed, {settled:,} settled without us{kinds}."
    )
    if delayed := sum(day.delayed for day in days):
        mean = timedelta(seconds=sum(day.delay for day in days) / delayed)
        longest = timedelta(seconds=max(day.longest for day in days))
        yield f"From a change to its finding it took {lasting(mean)} on average, {lasting(longest)} at most."


def _kinds(days: Iterable[Day]) -> str:
    """Name the kinds that were found most."""
    counts: Counter[str] = Counter()
    for day in days:
        counts.update({KINDS[kind]: number for kind, number in day.kinds.items()})
    named = sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:3]
    return "; most: " + ", ".join(f"{kind} ({number:,})" for kind, number in named) if named else ""
