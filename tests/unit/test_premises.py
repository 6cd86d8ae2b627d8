"""What a job stands on, on this machine, is looked at before it runs: files, disk, the folder of its figures."""

from __future__ import annotations

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.cli import entry, premises
from reconciler.cli.lines import Line, Mark
from reconciler.cli.world import World
from reconciler.config import load
from reconciler.simulator import office
from tests.unit.test_custody import FEED, job
from tests.unit.test_docs import NOW

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes mean nothing here")

AGENTS = '[[source]]\nkind = "ics"\nagents = { file = "agents.csv" }\n'


def said(lines: Iterator[Line]) -> list[tuple[str, Mark]]:
    return [(line.says, line.mark) for line in lines]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "state.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE words (word)")
    path.chmod(0o600)
    return path


def test_exposed_files_are_noted_and_with_strict_secrets_a_problem(tmp_path: Path) -> None:
    for strict, mark in (("false", Mark.NOTE), ("true", Mark.PROBLEM)):
        [line] = premises.files(load(job(tmp_path, strict), {}))
        assert line.mark is mark
        assert f"chmod 600 {tmp_path}/feed" in line.says
    path = job(tmp_path)
    (tmp_path / "feed").chmod(0o600)
    [line] = premises.files(load(path, {}))
    assert line.mark is Mark.OK


def test_the_address_of_a_feed_that_an_agents_file_names_is_a_secret_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = job(tmp_path)
    (tmp_path / "feed").chmod(0o600)
    (tmp_path / "agents.csv").write_text("agent,calendar\nann@acme.example,file:ann.url\n")
    (tmp_path / "ann.url").write_text("https://127.0.0.1:9/ann.ics")
    (tmp_path / "ann.url").chmod(0o644)
    path.write_text(path.read_text().replace(FEED, AGENTS))
    entry.call(("check", str(path), "--format", "json"), World(environ={}, cwd=tmp_path, clock=lambda: NOW))
    [line] = [one for one in json.loads(capsys.readouterr().out)["checks"] if one["name"] == "files"]
    assert (line["mark"], f"chmod 600 {tmp_path}/ann.url" in line["says"]) == ("note", True)


@pytest.mark.parametrize("beside", ["", "-wal", "-shm", "-journal", ".0123456789abcdef.lock"])
def test_everything_beside_a_state_that_others_can_read_is_named(database: Path, beside: str) -> None:
    path = database.with_name(database.name + beside)
    path.touch()
    path.chmod(0o640)
    wrong = [line for line in premises.state_file(f"sqlite:///{database}") if line.mark is Mark.PROBLEM]
    assert [line.says for line in wrong] == [
        f"{path.name} can be read by other users of this machine: chmod 600 {path}",
    ]


def test_a_state_says_how_a_copy_is_made(database: Path) -> None:
    lines = {line.name: line for line in premises.state_file(f"sqlite:///{database}")}
    assert lines["state"].says == "state.db can be opened, and by nobody else"
    assert f"sqlite3 {database} \".backup 'COPY'\"" in lines["backup"].says
    lines = {line.name: line for line in premises.state_file("postgresql://crm:s3cret@127.0.0.1/state")}
    assert "pg_dump" in lines["backup"].says
    assert "s3cret" not in str(lines)


@pytest.mark.parametrize(("free", "mark"), [(10**12, Mark.OK), (105_000_000, Mark.NOTE), (1_000_000, Mark.PROBLEM)])
def test_room_on_the_disk_is_enough_for_the_state_again(
    database: Path, monkeypatch: pytest.MonkeyPatch, free: int, mark: Mark
) -> None:
    with database.open("ab") as file:
        file.truncate(20 * 2**20)

    def usage(_: Path) -> SimpleNamespace:
        return SimpleNamespace(free=free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    assert next(line.mark for line in premises.state_file(f"sqlite:///{database}") if line.name == "disk") is mark


def test_a_folder_for_figures_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    path = job(tmp_path)
    path.write_text(f'{path.read_text()}\n[metrics]\ntextfile = "figures/acme.prom"\n')
    assert said(premises.figures(load(path, {}))) == [
        (f"acme.prom: its folder is not there: mkdir -p {tmp_path}/figures", Mark.PROBLEM)
    ]
    (tmp_path / "figures").mkdir()
    assert said(premises.figures(load(path, {}))) == [("acme.prom can be written", Mark.OK)]
    assert not list((tmp_path / "figures").iterdir()), "check writes nothing there"


def test_a_state_that_is_damaged_is_a_problem_with_what_helps(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = office.furnish(tmp_path)
    world = World(environ={}, cwd=tmp_path, clock=lambda: NOW)
    assert entry.call(("run", path.stem, "-q"), world) in {0, 5}
    database = tmp_path / "state.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as state:
        state.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        [(page,)] = state.execute("SELECT rootpage FROM sqlite_master WHERE name = 'mirror'")
        [(size,)] = state.execute("PRAGMA page_size")
    with database.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * 8)
    capsys.readouterr()
    assert entry.call(("check", path.stem, "--format", "json"), world) == 2
    lines = json.loads(capsys.readouterr().out)["checks"]
    assert any("damaged" in line["says"] for line in lines if (line["name"], line["mark"]) == ("state", "problem"))
