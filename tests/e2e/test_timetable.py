"""`reconcile schedule` says of each line when it comes, how it is kept and whether it fits, and changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.errors import StateError
from tests.e2e.test_slots import outside
from tests.e2e.world import NOW, World

Make = Callable[..., World]
MINUTE = timedelta(minutes=1)
CRONTAB = """\
CRON_TZ=UTC
*/5 * * * *  reconcile run acme --scheduled --quiet
0 12 * * *   reconcile report acme --scheduled --html report.html --quiet
0 6 * * *    reconcile check acme
"""


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, dict[str, Any]]]:
    """Ask for the schedule as JSON."""

    def ask(world: World, *words: str, crontab: str = CRONTAB) -> tuple[int, dict[str, Any]]:
        settle(world)
        capsys.readouterr()
        code = entry.call(("schedule", *words, "--format", "json"), outside(world, crontab))
        return code, json.loads(capsys.readouterr().out)

    return ask


def settle(world: World) -> Path:
    """Put the job where a crontab finds it by its name."""
    folder = world.folder / "jobs"
    folder.mkdir(exist_ok=True)
    path = folder / "acme.toml"
    text = world.job().read_text().replace('path = "', 'path = "../').replace("sqlite:///", "sqlite:///../")
    path.write_text(text)
    return path


def go(world: World, *words: str) -> None:
    settle(world)
    assert entry.call((*words, "acme", "--scheduled", "-q"), outside(world, CRONTAB)) == 0


def test_what_is_kept_late_and_missed_is_told_by_line(make: Make, asked: Callable[..., Any]) -> None:
    world = make()
    go(world, "run")
    world.now = NOW + 10 * MINUTE
    go(world, "run")
    code, told = asked(world)
    run, report, check = told["lines"]
    assert (code, told["ok"], told["problems"]) == (0, True, [])
    assert (run["command"], run["job"], run["late"]) == ("run", "acme", False)
    assert run["next"] == ["2026-11-22T17:15:00Z", "2026-11-22T17:20:00Z", "2026-11-22T17:25:00Z"]
    assert (run["last"]["slot"], run["last"]["done"], run["last"]["exit_code"]) == ("2026-11-22T17:10:00Z", True, 0)
    assert run["last"]["run"].startswith("01")
    assert run["missed"] == {"slots": 1, "first": "2026-11-22T17:05:00Z", "since": "2026-11-22T17:00:00Z"}
    assert (report["last"]["done"], report["late"]) == (False, False), "its slot was before anything was started"
    assert (check["last"]["followed"], check["last"]["done"], check["late"]) == (False, None, False)
    world.now = NOW + timedelta(days=1)
    run, report, _ = asked(world)[1]["lines"]
    assert (report["last"]["slot"], report["late"]) == ("2026-11-23T12:00:00Z", True)
    assert (run["late"], run["missed"]["slots"]) == (False, 1 + 285), "its slot is of this minute"


def test_who_tries_a_rare_line_by_hand_has_missed_nothing_since_its_last_slot(
    tmp_path: Path, asked: Callable[..., Any]
) -> None:
    world, crontab = World(tmp_path), CRONTAB + "0 4 1 * *  reconcile state prune acme --scheduled\n"
    settle(world)
    assert entry.call(("state", "prune", "acme", "--scheduled", "-q"), outside(world, crontab)) == 0
    rows = {row["command"]: row for row in asked(world, crontab=crontab)[1]["lines"]}
    assert rows["state prune"]["last"]["slot"] == "2026-11-01T04:00:00Z"
    assert rows["state prune"]["last"]["done"]
    assert {(row["late"], row["missed"]["slots"]) for row in rows.values()} == {(False, 0)}


def test_it_reads_well_and_is_quiet_while_nothing_is_late(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path, section='jitter = "4m"')
    go(world, "run")
    world.now = NOW + 26 * MINUTE
    call = outside(world, CRONTAB)
    capsys.readouterr()
    assert entry.call(("schedule", "--quiet"), call) == 0
    assert capsys.readouterr().out == "", "slots that were missed are over"
    assert entry.call(("schedule", "acme"), call) == 0
    said = capsys.readouterr().out
    assert "next   Sun 22 Nov 2026 17:30 UTC, 17:35, 17:40\n" in said
    assert "last   Sun 22 Nov 2026 17:25 UTC: not done yet\n" in said
    assert "missed 3 slots, the first Sun 22 Nov 2026 17:05 UTC; looked at since Sun 22 Nov 2026 17:00 UTC\n" in said
    assert "ok       jitter  each run starts" in said
    world.now = NOW + timedelta(days=1)
    assert entry.call(("schedule", "--quiet"), call) == 0
    assert ", 1 late, " in capsys.readouterr().out, "the report of noon"


def test_nothing_is_made_by_looking(tmp_path: Path, asked: Callable[..., Any]) -> None:
    world = World(tmp_path)
    code, told = asked(world)
    assert code == 0
    assert {"name": "state", "mark": "note", "says": "there is none yet: no run was ever made"} in told["jobs"][0][
        "checks"
    ]
    assert not (tmp_path / "state.db").exists()
    assert {row["late"] for row in told["lines"]} == {False}


def test_an_old_state_is_said_and_stays_as_it_is(make: Make, asked: Callable[..., Any]) -> None:
    world = make()
    with world.setup() as setup, setup.state.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0004'")
    code, told = asked(world)
    [said] = [each for each in told["jobs"][0]["checks"] if each["name"] == "state"]
    assert (code, said["mark"]) == (2, "problem")
    assert "reconcile state upgrade acme" in said["says"]
    with pytest.raises(StateError):
        world.setup()


def test_what_is_wrong_with_one_line_or_job_hides_no_other(tmp_path: Path, asked: Callable[..., Any]) -> None:
    world = World(tmp_path)
    settle(world)
    (tmp_path / "jobs/broken.toml").write_text("name = 3\n")
    (tmp_path / "jobs/idle.toml").write_text("")
    bad = "\x1b[31m" + "x" * 200
    crontab = CRONTAB + f"61 * * * * reconcile run acme\n0 1 * * * reconcile run broken\n0 2 * * * reconcile {bad}\n"
    crontab += f"0 3 * * * reconcile report acme --{bad} x\n"
    code, told = asked(world, crontab=crontab)
    assert (code, told["ok"]) == (2, False)
    assert [row["job"] for row in told["lines"]] == ["acme", "acme", "acme", "broken", None, "acme"]
    says = [f"{each['name']}: {each['says']}" for each in told["problems"]]
    assert any('crontab line 5: "61 * * * *" is no time that cron knows' in each for each in says)
    assert any(each.startswith("crontab line 7: JOB: there is no job file") for each in says)
    [misspelt] = [each for each in told["problems"] if each["name"] == "crontab line 8"]
    assert "is refused: No such option: --" in misspelt["says"], "each start of it would be for nothing"
    assert "crontab: no line of it is on idle.toml" in says
    assert [each["job"] for each in told["jobs"] if any(one["mark"] == "problem" for one in each["checks"])] == [
        "broken"
    ]
    assert "\x1b" not in json.dumps(told, ensure_ascii=False)
    assert asked(world, "acme", crontab=crontab)[1]["jobs"] == [told["jobs"][0]]


def test_a_schedule_that_can_not_fit_is_refused(tmp_path: Path, asked: Callable[..., Any]) -> None:
    source = """
[[source]]
kind = "google"
agents = ["ann@acme.example"]
auth = { token = "env:TOKEN" }
[budget.google]
per_day = 200
"""
    world = World(tmp_path, sources=source, environ={"TOKEN": "x" * 40})
    code, told = asked(world)
    marks = {each["name"]: each["mark"] for each in told["jobs"][0]["checks"]}
    says = {each["name"]: each["says"] for each in told["jobs"][0]["checks"]}
    assert (code, marks["cadence google"]) == (2, "problem")
    assert says["cost google"] == "the crontab asks for 289 requests a day, and this share permits 50"


def test_without_a_crontab_it_says_where_to_put_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world = World(tmp_path)
    call = outside(world)
    (tmp_path / "crontab").unlink()
    assert entry.call(("schedule",), call) == 2
    assert "crontab: there is none here (name it in RECONCILE_CRONTAB" in capsys.readouterr().err
