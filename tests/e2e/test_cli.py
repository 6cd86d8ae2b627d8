"""Whole commands against real files and a real database: what they print, what they exit with, what they leave."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World
from reconciler.simulator import brokerage, office
from reconciler.store.database import run_lock
from reconciler.store.state import open_state

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
Reconcile = Callable[..., int]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Make the sample brokerage after people have edited it, with nothing agreed on before."""
    office.furnish(tmp_path)
    quiet = brokerage.agreed(NOW)
    office.settle_in(tmp_path, quiet, NOW)
    return tmp_path


@pytest.fixture
def reconcile(place: Path) -> Reconcile:
    def call(*words: str, now: datetime = NOW) -> int:
        return entry.call(words, World(environ={}, cwd=place, clock=lambda: now))

    return call


def edit(place: Path) -> None:
    office.settle_in(place, brokerage.edited(brokerage.agreed(NOW), NOW), NOW)


def change_job(place: Path, old: str, new: str) -> None:
    path = place / "jobs/sample.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


# ---- run ------------------------------------------------------------------------------------------------------------


def test_the_only_job_runs_without_being_named(reconcile: Reconcile, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile("--dry-run") == 0
    assert capsys.readouterr().out.startswith(
        "NEEDS YOU sample: 1 finding for a person; dry run, nothing was written\n"
    )


def test_the_result_is_one_json_object_of_the_documented_shape(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "sample", "--quiet")
    edit(place)
    capsys.readouterr()
    assert reconcile("--format", "json", "run", "sample", "--dry-run") == 5
    said = json.loads(capsys.readouterr().out)
    assert set(said) == {
        *("format_version", "job", "run", "dry_run", "status", "window", "digest", "counts", "balance"),
        *("deltas", "findings", "violations", "consent", "approvals", "calendars", "slot"),
    }
    assert said["dry_run"] is True
    assert set(said["deltas"][0]) >= {
        "action",
        "side",
        "key",
        "agent",
        "event",
        "crm_id",
        "fields",
        "finding",
        "outcome",
    }
    assert set(said["findings"][0]) >= {"key", "kind", "severity", "action", "why", "first_seen", "sightings"}
    for side in ("events", "records"):
        total = said["balance"][side].pop("total")
        assert sum(said["balance"][side].values()) == total


def test_a_dry_run_can_signal_differences(reconcile: Reconcile, place: Path) -> None:
    assert reconcile("run") == 0
    assert reconcile("run", "--dry-run", "--exit-code") == 0
    with closing(sqlite3.connect(place / "crm.db")) as crm, crm:
        crm.execute("UPDATE appointments SET title = 'Edited by hand' WHERE id = 101")
    assert reconcile("run", "--dry-run", "--exit-code") == 3
    assert reconcile("run", "--dry-run") == 0


def test_quiet_says_nothing_while_nobody_is_needed(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_job(place, '"contact"]', '"contact"]\nrelevant = ["client"]')
    assert reconcile("run", "-q", "--only", "ann@acme.example") == 0
    assert capsys.readouterr().out == ""
    edit(place)
    assert reconcile("run", "-q") == 5
    assert capsys.readouterr().out.count("\n") == 1


def test_one_agent_can_be_looked_at_alone(reconcile: Reconcile, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile("run", "--only", "cid@acme.example") == 0
    assert "1 of 6 calendars seen" in capsys.readouterr().out
    assert reconcile("run", "--only", "nobody@acme.example") == 2
    assert "names no agent of this job" in capsys.readouterr().err


def test_another_run_at_work_is_exit_75_or_patience(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile("run", "-q") == 0
    capsys.readouterr()
    reconcile("state", "rebind", "--format", "json")
    identity = json.loads(capsys.readouterr().out)["now"]
    state = open_state(f"sqlite:///{place}/state.db", "sample")
    with run_lock(state.engine, identity):
        assert reconcile("run") == 75
        assert reconcile("run", "--scheduled") == 0
        assert reconcile("--dry-run") == 0


def test_a_refused_plan_is_consented_to_by_its_digest(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    change_job(place, "[report]", '[limits]\ncreate = "1"\n\n[report]')
    assert reconcile("run", "-q") == 0
    edit(place)
    before = office.rows(place)
    capsys.readouterr()
    assert reconcile("run") == 4
    said = capsys.readouterr().out
    assert said.startswith("REFUSED sample: 1 limit exceeded, nothing was applied\n")
    assert "allowed 1 (1)" in said
    assert "[limits.create]" in said
    assert office.rows(place) == before
    [command] = [line.strip() for line in said.splitlines() if " approve " in line]
    words = command.split()[1:]
    assert (words[0], words[2:]) == ("approve", ["--by", "YOU", "--why", "TEXT", "--job", "sample"])
    assert reconcile("run", "sample", "--approve", words[1]) == 5  # applied; one calendar is still not seen
    assert "11 changes applied" in capsys.readouterr().out
    assert len(office.rows(place)) == len(before) + 2


def test_clients_are_masked_by_the_job_file_too(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "-q")
    edit(place)
    change_job(place, "[report]", "[report]\nmask = true")
    capsys.readouterr()
    assert reconcile("run", "--dry-run", "--format", "json") == 5
    shown = capsys.readouterr()
    for clue in ("newbuyer.example", "Listing talk", "elsewhere.example"):
        assert clue not in shown.out + shown.err
    assert "v\\u2022\\u2022\\u2022@" in shown.out


# ---- check, status, explain, state ----------------------------------------------------------------------------------


def test_check_finds_a_healthy_job_ready(reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile("check") == 0
    said = capsys.readouterr().out
    assert said.startswith("sample is ready to run\n")
    assert "source_key has a unique index" in said
    assert stat.S_IMODE((place / "state.db").stat().st_mode) == 0o600


def test_check_lists_everything_that_is_wrong_at_once(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / "calendars/ann.ics").unlink()
    (place / "calendars/bob.ics").write_text("<html>Please sign in</html>")
    (place / "crm.db").unlink()
    assert reconcile("check", "--format", "json") == 2
    said = json.loads(capsys.readouterr().out)
    wrong = {line["name"] for line in said["checks"] if line["mark"] == "problem"}
    assert {
        "calendar ann@acme.example (../calendars/ann.ics)",
        "calendar bob@acme.example (../calendars/bob.ics)",
    } < wrong
    assert {name for name in wrong if name.startswith("CRM")}
    assert said["ok"] is False


def test_check_says_what_others_may_read(reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert reconcile("check", "-q") == 0
    (place / "state.db").chmod(0o644)
    assert reconcile("check") == 2
    assert f"chmod 600 {place / 'state.db'}\n" in capsys.readouterr().out


def test_status_knows_fresh_late_blind_and_new(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def states() -> list[str]:
        capsys.readouterr()
        assert reconcile("status", "--format", "json", now=later) == 0
        return [one["state"] for one in json.loads(capsys.readouterr().out)["calendars"]]

    later = NOW
    assert states() == ["new"] * 6
    reconcile("run")
    assert states() == ["fresh"] * 6
    later = NOW.replace(day=24)
    assert states() == ["late"] * 6
    edit(place)
    reconcile("run")
    later = NOW
    assert states() == [*["fresh"] * 4, "blind", "fresh"]


def test_status_tells_a_person_what_is_wrong_first(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "-q")
    edit(place)
    reconcile("run", "-q")
    capsys.readouterr()
    assert reconcile("status") == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("sample: calendars 1 blind, 5 fresh; 24 open findings (1 critical")
    assert said[3].startswith("  blind    eli@acme.example")
    assert "partial  exit 5" in "\n".join(said)


def test_an_appointment_is_explained_by_record_key_and_finding(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "-q")
    edit(place)
    capsys.readouterr()
    reconcile("run", "--format", "json")
    result = json.loads(capsys.readouterr().out)
    conflict = next(one for one in result["findings"] if one["kind"] == "conflict")
    for key in (conflict["key"], conflict["crm_id"], conflict["event"]):
        assert reconcile("explain", key, "--job", "sample") == 0
        said = capsys.readouterr().out
        assert said.startswith("BOTH CHANGED")
        assert "start: the calendar is 3 h later" in said
    moved = next(one for one in result["findings"] if one["kind"] == "reschedule_not_propagated")
    assert reconcile("explain", moved["crm_id"], "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said["situation"] == "in_sync"
    assert [row["action"] for row in said["history"]] == ["update"]
    assert said["history"][0]["fields"]["start"] == moved["fields"]["start"]


def test_every_finding_that_a_run_has_shown_can_be_explained(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "-q")
    edit(place)
    capsys.readouterr()
    reconcile("run", "--format", "json")
    for finding in json.loads(capsys.readouterr().out)["findings"]:
        assert reconcile("explain", finding["key"]) == 0, finding
        assert finding["key"] in capsys.readouterr().out
        assert reconcile("explain", finding["key"], "--format", "json", "--mask") == 0
        assert "newbuyer.example" not in capsys.readouterr().out


def test_explaining_what_nobody_knows_is_exit_2(reconcile: Reconcile, capsys: pytest.CaptureFixture[str]) -> None:
    reconcile("run", "-q")
    assert reconcile("explain", "no-such-key") == 2
    assert "nothing that sample knows" in capsys.readouterr().err


def test_a_state_of_another_crm_is_refused_until_rebound(
    reconcile: Reconcile, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reconcile("run", "-q")
    (place / "moved").mkdir()
    (place / "crm.db").rename(place / "moved/crm.db")
    change_job(place, "sqlite:///../crm.db", "sqlite:///../moved/crm.db")
    capsys.readouterr()
    assert reconcile("run") == 4
    said = capsys.readouterr()
    assert "\nREFUSED: The state of sample was built against the CRM" in said.err
    assert said.out == ""
    assert reconcile("check") == 2
    assert "run `reconcile state rebind sample`" in capsys.readouterr().out
    assert reconcile("state", "rebind") == 0
    assert reconcile("run") == 0


def test_upgrading_a_state_that_is_up_to_date_is_no_work(
    reconcile: Reconcile, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reconcile("state", "upgrade", "sample") == 0
    assert capsys.readouterr().out.startswith("The state database of sample was empty; it has the tables of version ")
    assert reconcile("state", "upgrade", "sample") == 0
    assert capsys.readouterr().out.endswith(" already; nothing was done.\n")


# ---- the installed program ------------------------------------------------------------------------------------------


def program(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {name: value for name, value in os.environ.items() if not name.startswith("RECONCILE")}
    command = [sys.executable, "-m", "reconciler", *words]
    return subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False, timeout=120)


def test_cron_gets_a_result_on_stdout_and_one_json_event_on_stderr(place: Path) -> None:
    done = program(place, "run", "sample")
    assert done.returncode in {0, 5}
    assert "sample: " in done.stdout.splitlines()[0]
    [event] = [json.loads(line) for line in done.stderr.splitlines()]
    assert (event["event"], event["job"], event["exit_code"]) == ("run", "sample", done.returncode)
    assert "example" not in done.stderr, "no address is logged"


def test_the_environment_names_the_job(place: Path) -> None:
    (place / "jobs/other.toml").write_text((place / "jobs/sample.toml").read_text())
    assert program(place, "--dry-run").returncode == 2
    command = [sys.executable, "-m", "reconciler", "--dry-run", "-q"]
    environ = {**os.environ, "RECONCILE_JOB": "sample"}
    done = subprocess.run(command, cwd=place, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
