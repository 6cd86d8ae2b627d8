"""Trends where nothing can be drawn: as rows of table cells for a mail, as block characters for plain text.

Pure. The axis begins at nothing. A day of which nothing is known is empty, and one with the least there is still shows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from math import ceil
from typing import Final

from reconciler.report.report import Trend

LEVELS: Final = 6
"""Rows of cells of a chart in a mail."""

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_NOTHING: Final = "·"
_UNKNOWN: Final = " "


@dataclass(frozen=True, slots=True)
class Run:
    """Neighbouring cells of one row that look alike: how many days wide, and whether they belong to bars."""

    days: int
    is_filled: bool


def cells(trend: Trend) -> tuple[tuple[Run, ...], ...]:
    """Return the rows of a chart, the highest first."""
    heights = _heights(trend, LEVELS)
    return tuple(_runs(height >= level for height in heights) for level in range(LEVELS, 0, -1))


def _runs(filled: Iterable[bool]) -> tuple[Run, ...]:
    return tuple(Run(sum(1 for _ in group), is_filled) for is_filled, group in groupby(filled))


def blocks(trend: Trend) -> str:
    """Return a chart of one line: a block for each day, `·` for nothing, a blank where nothing is known."""
    known = (value is not None for _, value in trend.points)
    heights = _heights(trend, len(_BLOCKS))
    return "".join(_block(height) if is_known else _UNKNOWN for height, is_known in zip(heights, known, strict=True))


def _block(height: int) -> str:
    return _BLOCKS[height - 1] if height else _NOTHING


def _heights(trend: Trend, levels: int) -> tuple[int, ...]:
    """Return how many levels high each day is; the highest day takes all of them."""
    highest = max((value for _, value in trend.points if value is not None), default=0.0)
    return tuple(ceil(value / highest * levels) if value and highest > 0 else 0 for _, value in trend.points)
