"""What the program exports, as tests read it: samples of one export, and what promtool makes of a series of them."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, float]
"""Values by series, as PromQL writes one: `reconcile_calendars{job_name="acme",state="fresh"}`."""


def samples(text: str) -> Samples:
    """Read one export."""
    return {
        series(sample.name, sample.labels): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def series(name: str, labels: Mapping[str, str]) -> str:
    """Name a series; its labels are sorted."""
    inside = ",".join(f"{label}={json.dumps(value, ensure_ascii=False)}" for label, value in sorted(labels.items()))
    return f"{name}{{{inside}}}" if inside else name


def input_series(
    exports: Iterable[tuple[datetime, str]], start: datetime, step: timedelta, end: datetime
) -> list[dict[str, str]]:
    """Return promtool's `input_series` for what was exported when: at each step, the latest export that was there.

    promtool's clock begins at nought, so instants in it count from `start`: a timestamp is moved along by as much.
    """
    known = sorted(exports, key=lambda each: each[0])
    columns = [_moved(_latest(known, start + step * number), start) for number in range(1 + (end - start) // step)]
    names = sorted({name for column in columns for name in column})
    return [{"series": name, "values": " ".join(_spelled(column.get(name)) for column in columns)} for name in names]


def _latest(exports: list[tuple[datetime, str]], now: datetime) -> Samples:
    there = [text for at, text in exports if at <= now]
    return _known(there[-1]) if there else {}


@lru_cache(maxsize=4)
def _known(text: str) -> Samples:
    return samples(text)


def _moved(column: Samples, start: datetime) -> Samples:
    begin = start.timestamp()
    return {name: value - begin if "_timestamp_seconds" in name else value for name, value in column.items()}


def _spelled(value: float | None) -> str:
    if value is None:
        return "_"
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(value)


def program(name: str) -> str:
    """Return a program of the system, or skip the test that needs it."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed here (Debian: prometheus, prometheus-pushgateway)")
    return found


def fired(
    folder: Path, rules: Path, given: list[dict[str, str]], step: timedelta, at: Mapping[str, Iterable[timedelta]]
) -> None:
    """Assert by promtool that each named alert fires at these times after the start, for whatever labels."""
    tests: list[dict[str, Any]] = [
        {
            "interval": _duration(step),
            "input_series": given,
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}})',
                    "eval_time": _duration(time),
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
                for name, times in at.items()
                for time in times
            ],
        }
    ]
    promtool(folder, rules, tests)


def promtool(folder: Path, rules: Path, tests: list[dict[str, Any]]) -> None:
    """Run promtool's tests of these rules."""
    path = folder / "rules.test.json"  # JSON is YAML
    content = {"rule_files": [str(rules)], "evaluation_interval": "1m", "tests": tests}
    path.write_text(json.dumps(content))
    done = subprocess.run(
        [program("promtool"), "test", "rules", str(path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stdout + done.stderr


def _duration(length: timedelta) -> str:
    return f"{int(length.total_seconds())}s"


def names(text: str) -> Iterator[str]:
    """Yield the name of each family in an export, also of those without a value, as a query has it."""
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            yield line.split()[2]
