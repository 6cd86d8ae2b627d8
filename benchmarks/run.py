"""Measure what is claimed about speed and write it down in RESULTS.md: `make bench`, `make bench SIZES="1000000"`.

Usage: python benchmarks/run.py [SIZE ...] [google] [outlook] [large]. Each line is measured in a process of its own.
What is not measured this time keeps the figures it has in RESULTS.md's own data, `results.json`. `large` measures
nothing: it holds 100,000 findings and a first fill of 5,000 agents to what the tests prove of fewer.
"""

from __future__ import annotations

import json
import os
import platform
import sqlite3
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import brokerage
import outlook
import polling
import report
import starting
from measure import HERE, apart

SIZES = (10_000, 100_000)
GOOGLE, OUTLOOK, LARGE = "google", "outlook", "large"
CALENDARS = (1_000, 10_000)

RUNS = {  # name: (hours after the first run, what happens before it)
    "first run: everything is new": (0, ()),
    "nothing changed": (0.5, ()),
    "1.5 % changed in the CRM": (1, ("drift",)),
    "full audit, CRM changed since": (24, ()),
    "full audit, 1.5 % differing": (48, ()),
}
"""Full audits are made on another day: once a day the CRM is read whole, however large it is."""

PACKAGES = ("SQLAlchemy", "pandas", "deepdiff", "google-api-python-client", "O365", "orjson", "urllib3")

FILL = "test_a_first_fill_of_hundreds_of_agents_goes_through_though_some_move_before_the_consent"
BASELINES = ("deepdiff", "pandas", "stored", "stream", "compare")
PATIENCE = 7200
"""Seconds of one of the large tests. On a machine that gave them a tenth of its time, half an hour was not enough."""


def measured(size: int) -> dict[str, Any]:
    """Build a brokerage of this size, run the job on it, and everything it is measured beside."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        folder = Path(name)
        brokerage.build(folder, size)
        found: dict[str, Any] = {}
        for run, (hours, before) in RUNS.items():
            found[run] = _told(run, size, apart("audit.py", folder, size, hours, *before))
        for baseline in BASELINES:
            found[baseline] = _told(baseline, size, apart("baselines.py", baseline, folder))
        found["state_mb"] = (folder / "state.db").stat().st_size / 2**20
        return found


def _told(name: str, size: int, told: dict[str, Any]) -> dict[str, Any]:
    wall, processor = told["took"]["whole"]
    print(f"{size:>9,} {name:32} {wall:8.2f} s  {processor:8.2f} s CPU  {told['peak_mb']:6.0f} MB", flush=True)
    return told


def machine() -> dict[str, str]:
    """Say on what this was measured, without naming the machine."""
    cpu = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "")
    cores = sum(1 for line in _lines("/proc/cpuinfo") if line.startswith("processor"))
    return {
        "machine": f"{cores} x {cpu or platform.machine()}, {platform.system()}",
        "software": f"Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}, "
        + ", ".join(f"{name} {version(name)}" for name in PACKAGES),
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def large() -> int:
    """Hold the sizes that are too dear for every run of the tests to the same promises; return pytest's exit code."""
    tests = ("tests/e2e/test_large_report.py", "tests/e2e/test_limits.py::" + FILL)
    environ = {**os.environ, "FINDINGS": "100000", "AGENTS": "5000"}
    command = (sys.executable, "-m", "pytest", "-q", f"--timeout={PATIENCE}", "--durations=2", *tests)
    return subprocess.run(command, cwd=HERE.parent, env=environ, check=False).returncode  # noqa: S603 - our own words


def main(sizes: list[int], providers: set[str]) -> None:
    if GOOGLE in providers:
        quiet = {str(calendars): polling.quiet(calendars) for calendars in CALENDARS}
        _write(GOOGLE, None, {"quiet": quiet, "whole": polling.whole(), **machine()})
    if OUTLOOK in providers:
        _write(OUTLOOK, None, {**outlook.measured(), **machine()})
    if sizes:
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            _write("starting", None, starting.waits(Path(folder)))
    if LARGE in providers and (code := large()):
        sys.exit(code)
    for size in sizes:
        _write("sizes", str(size), measured(size) | machine())
    print((HERE / "RESULTS.md").read_text(encoding="utf-8"))


def _write(part: str, size: str | None, found: dict[str, Any]) -> None:
    """Put new figures among those that are kept, and RESULTS.md beside them."""
    path = HERE / "results.json"
    kept = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"sizes": {}}
    if size is None:
        kept[part] = found
    else:
        kept[part][size] = found
    path.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    (HERE / "RESULTS.md").write_text(report.markdown(kept), encoding="utf-8")


if __name__ == "__main__":
    words = sys.argv[1:]
    named = {GOOGLE, OUTLOOK, LARGE} & set(words)
    given = [int(word.replace("_", "")) for word in words if word not in named]
    main(given if words else list(SIZES), named)
