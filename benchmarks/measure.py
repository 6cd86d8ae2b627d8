"""Measure one piece of work in a process of its own: seconds on the clock and of the processor, and its peak memory."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent

Took = dict[str, list[float]]


@contextmanager
def timed(took: Took, name: str) -> Iterator[None]:
    """Add the wall and the processor seconds of a block to `took[name]`."""
    wall, processor = time.perf_counter(), time.process_time()
    try:
        yield
    finally:
        before = took.get(name, [0.0, 0.0])
        took[name] = [before[0] + time.perf_counter() - wall, before[1] + time.process_time() - processor]


def tell(took: Took, **facts: object) -> None:
    """Print what was measured, with this process's peak memory, for `apart` to read."""
    print(json.dumps({"took": took, "peak_mb": _peak_mb(), **facts}))


def _peak_mb() -> float:
    """Return the most memory this program held; on Linux without what its parent held before it started."""
    status = Path("/proc/self/status")
    lines = status.read_text(encoding="utf-8").splitlines() if status.exists() else []
    peaks = [float(line.split()[1]) for line in lines if line.startswith("VmHWM")]
    return (peaks[0] if peaks else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) / 1024


def apart(script: str, *words: object) -> dict[str, Any]:
    """Run a script of this folder in a process of its own and return what it tells."""
    command = [sys.executable, str(HERE / script), *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=HERE.parent)  # noqa: S603  # our own
    told: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return told
