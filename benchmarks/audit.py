"""Run the real job once against a brokerage made by `brokerage.py`, and tell how long each phase took.

Usage: python benchmarks/audit.py FOLDER SIZE HOURS [drift], HOURS being how long after the first run this one is.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brokerage
import measure

from reconciler import judge, observe, run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def watch(took: measure.Took) -> None:
    """Time the three phases of a run where the run calls them."""
    run.observe_crm = partial(_timed, took, "read CRM", run.observe_crm)
    observe.observe_calendars = partial(_stepped, took, "read calendars", observe.observe_calendars)
    judge.judge = partial(_timed, took, "compare", judge.judge)


def _timed(took: measure.Took, name: str, work: Callable[..., Any], *args: Any, **named: Any) -> Any:  # noqa: ANN401  # as the timed one
    with measure.timed(took, name):
        return work(*args, **named)


def _stepped(took: measure.Took, name: str, work: Callable[..., Any], *args: Any) -> Iterator[Any]:  # noqa: ANN401  # as the timed one
    with measure.timed(took, name):
        yield from work(*args)


def main(folder: Path, size: int, hours: float) -> None:
    took: measure.Took = {}
    watch(took)
    made = brokerage.setup(folder, size, brokerage.NOW + timedelta(hours=hours))
    with measure.timed(took, "whole"):
        result = run.run(made, run.Options())
    measure.tell(took, counts=dict(result.counts), findings=len(result.findings))


if __name__ == "__main__":
    place = Path(sys.argv[1])
    if sys.argv[4:] == ["drift"]:
        brokerage.drift(place)
    main(place, int(sys.argv[2]), float(sys.argv[3]))
