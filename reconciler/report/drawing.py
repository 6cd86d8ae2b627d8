"""What is drawn of a report: the lines and bars of its small charts, and text that can be read on any colour.

Pure. Numbers only; colours and words are the template's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from datetime import date

    from reconciler.report.report import Trend

WIDTH: Final = 240
HEIGHT: Final = 56
BARS: Final = frozenset({"found", "fixed", "resolved", "refused", "runs"})
"""Trends that count what happened on a day; the others say how things stood, and are lines."""

_MARGIN: Final = 3
_USUAL: Final = 90.0
_DARK: Final = "#000000"
_LIGHT: Final = "#ffffff"
_KNEE: Final = 0.04045  # below it sRGB is a straight line (IEC 61966-2-1)


@dataclass(frozen=True, slots=True)
class Point:
    """One value of a day: where its middle is drawn, and how high a bar is that ends there."""

    day: date
    value: float
    x: float
    y: float
    height: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """A trend as it is drawn, `width` by `height`. A day of which nothing is known is a gap in `lines`.

    The axis goes from `lowest` to `highest`.
    """

    width: int
    height: int
    has_bars: bool
    bar: float
    points: tuple[Point, ...]
    lines: tuple[str, ...]
    lowest: float
    highest: float

    @property
    def last(self) -> Point | None:
        """Return the latest value there is."""
        return self.points[-1] if self.points else None


def drawn(trend: Trend) -> Chart:
    """Lay a trend out. The axis begins at nothing, so that twice as much looks like it, but for shares (see below)."""
    lowest, highest = _axis(trend)
    placed = list(_placed(trend.points, lowest, highest))
    return Chart(
        width=WIDTH,
        height=HEIGHT,
        has_bars=trend.name in BARS,
        bar=round(_step(len(placed)) * 0.7, 2),
        points=tuple(point for point in placed if point),
        lines=tuple(_line(run) for run in _runs(placed)),
        lowest=lowest,
        highest=highest,
    )


def _axis(trend: Trend) -> tuple[float, float]:
    """Say where the axis begins and ends. A share is hardly ever under 90 %: from nothing on, no loss would be seen."""
    values = [value for _, value in trend.points if value is not None]
    if trend.unit == "%":
        return min((_USUAL, *(value // 10 * 10 for value in values))), 100.0
    return 0.0, max(values, default=0.0)


def _step(days: int) -> float:
    return (WIDTH - 2 * _MARGIN) / max(days, 1)


def _placed(points: Sequence[tuple[date, float | None]], lowest: float, highest: float) -> Iterator[Point | None]:
    step = _step(len(points))
    span, room = highest - lowest or 1.0, HEIGHT - 2 * _MARGIN
    for place, (day, value) in enumerate(points):
        if value is None:
            yield None
            continue
        high = round((value - lowest) / span * room, 2)
        yield Point(day, value, round(_MARGIN + step * (place + 0.5), 2), round(HEIGHT - _MARGIN - high, 2), high)


def _runs(placed: Iterable[Point | None]) -> Iterator[list[Point]]:
    """Part the points where a day is missing: a line across it would tell what nobody knows."""
    run: list[Point] = []
    for point in (*placed, None):
        if point:
            run.append(point)
        elif run:
            yield run
            run = []


def _line(run: list[Point]) -> str:
    """Spell a polyline; a single day becomes a short one, or it would not be seen."""
    if len(run) == 1:
        [only] = run
        return f"{only.x - 1:g},{only.y:g} {only.x + 1:g},{only.y:g}"
    return " ".join(f"{point.x:g},{point.y:g}" for point in run)


def ink_on(colour: str) -> str:
    """Return black or white, whichever is easier to read on `colour` (`#rrggbb`): one of them has 4.5 to 1 on any."""
    light = _luminance(colour)
    return _DARK if (light + 0.05) / 0.05 >= 1.05 / (light + 0.05) else _LIGHT


def _luminance(colour: str) -> float:
    """Weigh a colour as WCAG 2 does."""
    red, green, blue = (_linear(int(colour[place : place + 2], 16) / 255) for place in (1, 3, 5))
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _linear(part: float) -> float:
    return part / 12.92 if part <= _KNEE else ((part + 0.055) / 1.055) ** 2.4
