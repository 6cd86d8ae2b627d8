"""What a run needs of a node, by measured figures.

`benchmarks/RESULTS.md`, peak memory of the run that needs most, the first one: 125 MB for 50 calendars, 167 for 500,
331 for 5,000 (200 events each, state in SQLite). A line through them is 130 MB and 0.04 MB a calendar. Reserved is half
as much again, and twice that is where a run is ended. A run in which nothing changed takes 0.3 to 11 CPU seconds.
"""

from __future__ import annotations

from typing import Any, Final

BASE: Final = 130.0
EACH: Final = 0.04
SOURCE: Final = (
    "benchmarks/RESULTS.md: 130 MB and 0.04 MB a calendar at the peak of a first run, and half as much again"
)
UNKNOWN: Final = 500
"""Calendars that are reckoned with where only a query on the CRM knows how many there are."""

_STEP: Final = 64
_MORE: Final = 1.5
_CPU: Final = "250m"
"""The first run of 500 calendars takes 58 CPU seconds; a quarter of a core is four minutes. There is no limit to it:
a limit makes a run late, and what it has left over costs nobody anything."""


def memory(calendars: int) -> int:
    """Return the MiB to be reserved, in steps."""
    wanted = (BASE + EACH * calendars) * _MORE
    return -int(-wanted // _STEP) * _STEP


def resources(calendars: int | None) -> dict[str, Any]:
    """Return requests and limits of a run on so many calendars."""
    reserved = memory(UNKNOWN if calendars is None else calendars)
    return {
        "requests": {"cpu": _CPU, "memory": f"{reserved}Mi", "ephemeral-storage": "64Mi"},
        "limits": {"memory": f"{2 * reserved}Mi", "ephemeral-storage": "1Gi"},
    }
