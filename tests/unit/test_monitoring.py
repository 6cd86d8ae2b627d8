"""Alerts and dashboard speak of what the program exports, are understood by Prometheus, and say what to type."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli.commands import NAMES
from reconciler.figures import Figures
from reconciler.metrics.families import Measured, exposition
from reconciler.metrics.families import families as made
from reconciler.store.gauges import Gauges
from reconciler.store.totals import LABELS
from tests.monitoring import fired, input_series, names, program, promtool, samples

FOLDER = Path(__file__).parents[2] / "jobs" / "monitoring"
ALERTS, DASHBOARD = FOLDER / "alerts.yml", FOLDER / "dashboard.json"
TESTS = sorted(FOLDER.glob("*.test.yml"))
NOW = datetime(2026, 11, 23, 6, 0, tzinfo=UTC)
METRIC = re.compile(r"\breconcile_[a-z0-9_]+")
RECORDED = re.compile(r"[a-z_]+:reconcile_[a-z0-9_:]+")
FOREIGN = {"reconcile_unobserved"}  # part of the name of a recorded series


def gauges(**values: Any) -> Gauges:
    known: dict[str, Any] = {
        "attempted_at": NOW,
        "succeeded_at": NOW,
        "compared_at": NOW,
        "attempt_code": None,
        "last": None,
        "readings": {},
        "open": {},
        "oldest": {},
        "accepted": 0,
        "sent": {},
        "totals": {},
        "levels": {},
        "version": "0005",
        "size": 1,
    }
    return Gauges(**{**known, **values})


def measured(job: str = "acme", **values: Any) -> Measured:
    known: dict[str, Any] = {"now": NOW, "providers": {}, "dialect": "sqlite", "freshness": 86400.0}
    return Measured(job=job, **{"gauges": gauges(), **known, **values})


def exported(job: str = "acme", **values: Any) -> str:
    return exposition(measured(job, **values)).decode()


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield where each expression of the dashboard and of the alerts stands, and the expression."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", ()):
            yield f"panel {panel['title']}", target["expr"].replace("$job", ".*")
    for rule in rules():
        yield str(rule.get("alert", rule.get("record"))), rule["expr"]


def unknown(expression: str, known: set[str]) -> set[str]:
    return set(METRIC.findall(RECORDED.sub("", expression))) - known


def test_alerts_and_panels_ask_for_nothing_that_is_not_exported() -> None:
    known = set(names(exported()))
    assert {where: found for where, text in expressions() if (found := unknown(text, known))} == {}


def test_a_name_that_is_not_exported_is_seen() -> None:
    assert unknown("sum(reconcile_run) / source:reconcile_x:ratio1h", {"reconcile_runs_total"}) == {"reconcile_run"}


def test_no_family_goes_unused() -> None:
    asked = {name for _, text in expressions() for name in METRIC.findall(text)}
    unasked = set(names(exported())) - asked
    assert unasked == {
        "reconcile_build_info",
        "reconcile_state_info",
        "reconcile_last_success_timestamp_seconds",  # the docs say what it is good for: an alert of one's own
        "reconcile_run_duration_seconds",
        "reconcile_run_phase_seconds",
        "reconcile_run_deltas",
        "reconcile_run_attempts",
        "reconcile_accepted_findings",
    }


def test_each_alert_says_what_it_means_and_what_to_type() -> None:
    for rule in rules():
        if "alert" not in rule:
            continue
        said = rule["annotations"]
        assert rule["labels"]["severity"] in {"page", "ticket"}
        commands = re.findall(r"`reconcile ([a-z-]+)", said["description"])
        assert commands, f"{rule['alert']} names no command"
        assert {word for word in commands if not word.startswith("--")} <= set(NAMES)


def test_no_alert_looks_at_one_run() -> None:
    """What a single run sets is asked about over time, or waited for."""
    for rule in rules():
        if "alert" in rule and "reconcile_run_" in rule["expr"]:
            assert rule["for"] == "2h"


def test_the_dashboard_asks_the_source_that_its_reader_picks() -> None:
    board = json.loads(DASHBOARD.read_text())
    drawn = [panel for panel in board["panels"] if panel["type"] != "row"]
    assert {panel["datasource"]["uid"] for panel in drawn} == {"${datasource}"}
    assert [one["name"] for one in board["templating"]["list"]] == ["datasource", "job"]
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    places = [panel["gridPos"] for panel in board["panels"]]
    cells = [(place["x"] + x, place["y"] + y) for place in places for x in range(place["w"]) for y in range(place["h"])]
    assert len(set(cells)) == len(cells), "panels lie on each other"


def test_prometheus_understands_the_rules(tmp_path: Path) -> None:
    """And the expressions of the dashboard, which are handed to it as rules."""
    path = tmp_path / "panels.yml"
    records = [{"record": f"panel{number}", "expr": text} for number, (_, text) in enumerate(expressions())]
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": records}]}))
    done = subprocess.run(
        [program("promtool"), "check", "rules", str(ALERTS), str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_alerts_fire_when_they_should_and_keep_quiet_when_they_should() -> None:
    done = subprocess.run(
        [program("promtool"), "test", "rules", *(path.name for path in TESTS)],
        cwd=FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_has_a_test() -> None:
    tested = "".join(path.read_text() for path in TESTS)
    assert {rule["alert"] for rule in rules() if "alert" in rule and rule["alert"] not in tested} == set()


# ---- a series of exports --------------------------------------------------------------------------------------------


def test_a_series_of_exports_feeds_the_alerts(tmp_path: Path) -> None:
    """What the day in fast time relies on: exports and when they were made become promtool's series."""
    exports = [(NOW + timedelta(minutes=5 * n), exported(now=NOW + timedelta(minutes=5 * n))) for n in range(3)]
    given = input_series(exports, NOW, timedelta(minutes=5), NOW + timedelta(hours=2))
    by_name = {one["series"]: one["values"].split() for one in given}
    assert by_name['reconcile_exported_timestamp_seconds{job_name="acme"}'][:4] == ["0", "300", "600", "600"]
    fired(tmp_path, ALERTS, given, timedelta(minutes=5), {"ReconcileNotStarting": [timedelta(minutes=40)]})
    with pytest.raises(AssertionError):
        promtool(
            tmp_path,
            ALERTS,
            [
                {
                    "interval": "5m",
                    "input_series": given,
                    "promql_expr_test": [
                        {
                            "expr": 'count(ALERTS{alertname="ReconcileNotStarting"})',
                            "eval_time": "20m",
                            "exp_samples": [{"labels": "{}", "value": 1}],
                        }
                    ],
                }
            ],
        )


# ---- the families ---------------------------------------------------------------------------------------------------


def test_labels_are_inert_and_of_bounded_length() -> None:
    hostile = 'goo"gle\n\\{}' + "x" * 500
    text = exported(
        providers={hostile: "google"}, gauges=gauges(totals={"calendars": {(hostile, "google", "seen"): 1}})
    )
    [found] = [name for name in samples(text) if name.startswith("reconcile_calendar_reads_total")]
    assert len(found) < 250
    assert len([line for line in text.splitlines() if line.startswith("reconcile_calendar_reads_total")]) == 1


def test_what_never_was_is_missing_and_not_nought() -> None:
    text = exported(gauges=gauges(compared_at=None, attempted_at=None, succeeded_at=None))
    assert {
        name for name in samples(text) if "_compared_" in name or "_attempt_" in name or "_success_" in name
    } == set()


def test_totals_have_the_labels_that_they_are_split_by() -> None:
    totals = {name: {tuple(labels): 7} for name, labels in LABELS.items()}
    found = samples(exported(gauges=gauges(totals=totals)))
    assert sum(value == 7 for value in found.values()) == len(LABELS) - 1
    assert found['reconcile_run_seconds_total{job_name="acme",phase="phase"}'] == 0.007


def test_what_is_kept_with_a_run_is_read_back() -> None:
    figures = Figures(
        phases={"crm": 1.5}, attempts={("google", "p", "read", "2xx"): 3}, deltas={("crm", "create", "done"): 1}
    )
    assert Figures.from_json(json.loads(json.dumps(figures.to_json()))) == figures


# ---- docs/monitoring.md ---------------------------------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    page = (FOLDER.parents[1] / "docs" / "monitoring.md").read_text("utf-8")
    lines = [line for line in page.split(f"\n## {heading}\n", 1)[1].split("\n## ")[0].splitlines() if line[:1] == "|"]
    return [[cell.strip().strip("`") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_family_is_documented_with_its_labels() -> None:
    families = {family.name: family for family in made(measured())}
    told = {
        name.removesuffix("_total"): set(labels.replace("`", "").split())
        for name, labels, _ in rows("What is measured")
    }
    assert told == {name: set(vars(family)["_labelnames"]) - {"job_name"} for name, family in families.items()}


def test_every_alert_is_documented_with_its_severity() -> None:
    assert {(name, severity) for name, severity, _ in rows("Alerts")} == {
        (rule["alert"], rule["labels"]["severity"]) for rule in rules() if "alert" in rule
    }
