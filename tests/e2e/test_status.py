"""`status` on a real state: without secrets, with the schedule's next slot, and masked where that is asked for."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Place
from reconciler.store import overview
from tests.e2e.world import NOW, World, event

Status = Callable[..., dict[str, Any]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    world = World(tmp_path, agents=("ann@acme.example", "bob@acme.example"), limits='create = "1"')
    world.write("ann@acme.example", *(event(f"e{n}", NOW + timedelta(days=n)) for n in range(1, 4)))
    return world


@pytest.fixture
def status(world: World, capsys: pytest.CaptureFixture[str]) -> Status:
    def ask(*words: str) -> dict[str, Any]:
        world.job()
        capsys.readouterr()
        place = Place(environ={}, cwd=world.folder, clock=lambda: world.now)
        assert entry.call(["status", "acme.toml", "--format", "json", *words], place) == 0
        said: dict[str, Any] = json.loads(capsys.readouterr().out)
        return said

    return ask


def test_a_refused_plan_waits_with_its_digest(world: World, status: Status) -> None:
    result = world.run()
    assert result.status == "refused"
    assert status()["waiting"] == {
        "run": result.run,
        "consent": {"digest": result.digest, "covers": 3, "given": False},
        "deferred": 0,
        "withheld": {},
    }


def test_a_calendar_says_since_when_why_and_when_it_is_read_next(world: World, status: Status) -> None:
    (world.folder / "crontab").write_text("*/5 * * * * reconcile run acme.toml --scheduled\n")
    world.run()
    world.file("bob@acme.example").unlink()
    world.now += timedelta(minutes=7)
    world.run()
    ann, bob = status()["calendars"]
    assert (ann["state"], bob["state"], bob["strikes"]) == ("fresh", "blind", 1)
    assert bob["since"] == bob["blind_since"] == "2026-11-22T17:07:00Z"
    assert bob["next_try"] == "2026-11-22T17:10:00Z"
    assert "bob.ics" in bob["why"]
    assert {ann["number"], bob["number"]} == {1, 2}
    with world.setup() as setup, setup.state.engine.connect() as connection:
        assert overview.critical(connection, setup.state) == 1, "a calendar that nobody can see"


def test_a_slot_that_nobody_served_is_late(world: World, status: Status, capsys: pytest.CaptureFixture[str]) -> None:
    (world.folder / "crontab").write_text("*/5 * * * * reconcile run acme.toml --scheduled\n")
    world.limits = ""
    path = str(world.job().name)
    place = Place(environ={}, cwd=world.folder, clock=lambda: world.now)
    assert entry.call(["run", path, "--scheduled"], place) == 0
    run = json.loads(capsys.readouterr().err.splitlines()[-1])
    assert (run["slot"], run["event"]) == ("2026-11-22T17:00:00Z", "run")
    assert status()["late"] == []
    world.now += timedelta(minutes=13)
    late = {"command": "run", "late": "2026-11-22T17:10:00Z", "missed": 1, "first_missed": "2026-11-22T17:05:00Z"}
    assert status()["late"] == [late]
    assert status()["runs"][0]["slot"] == "2026-11-22T17:00:00Z"
    world.section = 'jitter = "5m"'
    assert status()["late"] == [{**late, "late": None}], "it may be waiting for its turn"
    world.section = 'jitter = "6m"'
    assert status()["late"] == []


def test_a_start_of_which_no_run_came_is_shown_until_one_begins(world: World, status: Status) -> None:
    def start() -> int:
        place = Place(environ={}, cwd=world.folder, clock=lambda: world.now)
        return entry.call(["run", world.job().name, "-q"], place)

    world.limits = ""
    assert start() == 0
    assert status()["failed_start"] is None
    world.now += timedelta(minutes=5)
    sources, world.sources = world.sources, '[[source]]\nkind = "ics"\nagents = { file = "nobody.csv" }\n'
    assert start() == 2
    world.sources = sources
    assert status()["failed_start"] == {"at": "2026-11-22T17:05:00Z", "exit_code": 2}
    world.now += timedelta(minutes=5)
    assert start() == 0
    assert status()["failed_start"] is None


def test_status_needs_no_secret_but_the_state(world: World, status: Status) -> None:
    world.run()
    world.sources = (
        '[[source]]\nkind = "google"\nagents = ["ann@acme.example"]\nauth = { token = "env:NOT_SET" }\n'
        '[[source]]\nkind = "ics"\nagent = "bob@acme.example"\nurl = "env:NOT_SET_EITHER"\n'
    )
    assert [one["state"] for one in status()["calendars"]] == ["new", "new"]


def test_where_nobody_can_say_whose_calendars_there_are_those_of_earlier_runs_are_shown(
    world: World, status: Status
) -> None:
    world.run()
    world.sources = '[[source]]\nkind = "google"\nagents = { query = "SELECT nothing" }\nauth = { token = "env:T" }\n'
    said = status()
    assert [one["calendar"] for one in said["calendars"]] == [
        "ann@acme.example (ann.ics)",
        "bob@acme.example (bob.ics)",
    ]
    assert said["notes"]


def test_all_jobs_are_told_in_a_line_each(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    world.run()
    (world.folder / "jobs").mkdir()
    said = world.job().read_text().replace("sqlite:///", "sqlite:///../").replace('path = "', 'path = "../')
    (world.folder / "jobs/acme.toml").write_text(said)
    (world.folder / "jobs/bad.toml").write_text('name = "bad"\n')
    place = Place(environ={}, cwd=world.folder, clock=lambda: world.now)
    capsys.readouterr()
    assert entry.call(["status", "--all"], place) == 0
    acme, bad = capsys.readouterr().out.splitlines()
    assert acme.startswith("acme: calendars ")
    assert bad.startswith("bad: ")
    assert entry.call(["status", "--all", "--format", "json"], place) == 0
    assert [one["job"] for one in json.loads(capsys.readouterr().out)["jobs"]] == ["acme", "bad"]
    assert entry.call(["status", "acme", "--all"], place) == 2


def test_a_question_leaves_nothing_behind(world: World, status: Status) -> None:
    world.run()
    before = (world.folder / "state.db").read_bytes()
    status()
    assert (world.folder / "state.db").read_bytes() == before


def test_what_is_measured_and_never_reaches_its_file_is_said(world: World, status: Status) -> None:
    world.run()
    world.limits += '\n[metrics]\ntextfile = "acme.prom"'
    assert status()["notes"] == ["Nothing measured is in the file that [metrics] names: No such file or directory."]
    (world.folder / "acme.prom").touch()
    os.utime(world.folder / "acme.prom", (NOW.timestamp(), NOW.timestamp()))
    assert status()["notes"] == []
    os.utime(world.folder / "acme.prom", (NOW.timestamp() - 3600, NOW.timestamp() - 3600))
    assert "last written at 2026-11-22T16:00:00Z" in status()["notes"][0]
