"""The command line by itself: how words are read, what it costs to start, and how every end becomes an exit code."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.exc import OperationalError

from reconciler.cli import commands, entry, running, screen
from reconciler.cli.arguments import arranged
from reconciler.cli.world import World
from reconciler.errors import (
    ConfigError,
    CrmUnreachableError,
    LockedError,
    Problem,
    ReconcilerError,
    RefusedError,
    SnapshotError,
    StateError,
    UsageError,
)
from reconciler.model import Window
from reconciler.result import Result, Sum

ROOT = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)


def result(**changes: object) -> Result:
    blank = Result(
        job="acme",
        run="01J",
        dry_run=True,
        status="drift",
        exit_code=0,
        window=Window(NOW, NOW),
        digest="7f3c9a1e52b0" + "0" * 52,
        counts={"in_sync": 3},
        events=Sum(3, {"in_sync": 3}),
        records=Sum(3, {"in_sync": 3}),
    )
    return replace(blank, **changes)  # type: ignore[arg-type]


def call(tmp_path: Path, *words: str, environ: Mapping[str, str] | None = None) -> int:
    return entry.call(words, World(environ=environ or {}, cwd=tmp_path, clock=lambda: NOW))


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("", "run"),
        ("acme", "run acme"),
        ("run acme", "run acme"),
        ("--dry-run acme", "run --dry-run acme"),
        ("--dry-run", "run --dry-run"),
        ("acme --dry-run", "run acme --dry-run"),
        ("--dry-run run acme", "run --dry-run acme"),
        ("--dry-run check", "check --dry-run"),
        ("status acme --format json", "--format json status acme"),
        ("--format=json -vq status", "--format=json -vq status"),
        ("explain 17 --job acme -q --mask", "-q --mask explain 17 --job acme"),
        ("--only status", "run --only status"),
        ("--only ann@acme.example status", "status --only ann@acme.example"),
        ("--approve check acme", "run --approve check acme"),
        ("./status", "run ./status"),
        ("run ./status", "run ./status"),
        ("-- status", "run -- status"),
        ("-- --format", "run -- --format"),
        ("--help", "--help"),
        ("--version", "--version"),
        ("run --help", "run --help"),
        ("--help run", "run --help"),
        ("state rebind acme -v", "-v state rebind acme"),
        ("--format", "--format run"),
    ],
)
def test_words_are_read_in_one_order(typed: str, meant: str) -> None:
    assert arranged(typed.split(), commands.NAMES) == meant.split()


@given(st.lists(st.sampled_from(["acme", "run", "status", "-q", "-v", "--mask", "--dry-run", "--full", "./x"])))
def test_no_word_is_lost_and_common_options_come_first(words: Sequence[str]) -> None:
    found = arranged(words, commands.NAMES)
    extra = (
        []
        if any(word in commands.NAMES for word in found[: len(words)]) and sorted(found) == sorted(words)
        else ["run"]
    )
    assert sorted(found) == sorted([*words, *extra])
    common = [word in {"-q", "-v", "--mask"} for word in found]
    assert common == sorted(common, reverse=True)


# ---- what starting costs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["schedule", "--help"], ["run", "--help"]])
def test_help_loads_nothing_heavy(words: list[str], tmp_path: Path) -> None:
    program = (
        "import sys; from reconciler.cli import main; main(); "
        "print('LOADED', *{name.split('.')[0] for name in sys.modules})"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *words], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    loaded = set(done.stdout.rpartition("LOADED")[2].split())
    heavy = {"sqlalchemy", "pandas", "deepdiff", "google", "googleapiclient", "O365", "icalendar", "jinja2"}
    assert loaded & (heavy | {"structlog", "numpy", "alembic", "croniter"}) == set()
    assert "typer" in loaded


# ---- every end has an exit code -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ReconcilerError("x"), 1),
        (ConfigError((Problem("crm.time", "is required"),)), 2),
        (UsageError("x"), 2),
        (RefusedError("x"), 4),
        (StateError("x"), 4),
        (SnapshotError("x"), 4),
        (CrmUnreachableError("x"), 5),
        (LockedError("x"), 75),
        (KeyboardInterrupt(), 130),
        (ValueError("jo@home.example"), 1),
        (BrokenPipeError(), 0),
    ],
)
def test_every_end_has_an_exit_code_and_no_traceback(
    error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*_: object) -> int:
        raise error

    monkeypatch.setattr(running, "run", explode)
    assert call(tmp_path, "acme") == code
    said = capsys.readouterr()
    assert said.out == ""
    assert "Traceback" not in said.err
    assert "home.example" not in said.err, "an unforeseen error's message may hold a client's data"
    assert len(said.err.splitlines()) in {0, 1, 2}


def test_a_database_that_fails_at_work_is_said_and_called_no_bug(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*_: object) -> int:
        full = sqlite3.OperationalError("database or disk is full")
        raise OperationalError("INSERT INTO mirror VALUES (?)", ("jo@home.example",), full)

    monkeypatch.setattr(running, "run", explode)
    assert call(tmp_path, "acme") == 1
    said = capsys.readouterr().err
    assert said.startswith("reconcile: a database failed at work: database or disk is full. ")
    assert "home.example" not in said
    assert "bug" not in said


def test_verbose_adds_the_steps_of_an_internal_error_and_still_no_values(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def explode(*_: object) -> int:
        raise KeyError("jo@home.example")

    monkeypatch.setattr(running, "run", explode)
    assert call(tmp_path, "acme", "-v") == 1
    said = capsys.readouterr().err
    assert "KeyError" in said
    assert "explode" in said
    assert "home.example" not in said


def test_all_problems_of_a_job_file_have_their_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.toml").write_text('name = "bad"\nstat = "x"\n')
    assert call(tmp_path, "bad.toml") == 2
    head, *lines = (line for line in capsys.readouterr().err.splitlines() if not line.startswith("{"))
    assert "problems in" in head
    assert "nothing was done" in head
    assert {line.split(":")[0].strip() for line in lines} == {"stat", "state", "source", "crm"}


def test_a_mistyped_command_is_recognised(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, "chek") == 2
    assert "did you mean `reconcile check`?" in capsys.readouterr().err
    assert call(tmp_path, "-q", "chek", "acme") == 2
    assert "`reconcile check --help`" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--bogus"], "No such option: --bogus"),
        (["--format", "xml"], "xml"),
        (["acme", "extra"], "extra"),
        (["explain"], "KEY"),
        (["--format"], "--format"),
        (["state"], "rebind"),
        (["status", "--all"], "no job file in jobs/ here"),
    ],
)
def test_usage_mistakes_are_a_sentence_and_exit_2(
    words: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(tmp_path, *words) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


@pytest.mark.parametrize(
    "name", [*commands.NAMES, "state prune", "state forget", "state subject", "generate kubernetes"]
)
def test_every_command_has_help(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(tmp_path, *name.split(), "--help") == 0
    assert f"reconcile {name}" in capsys.readouterr().out


# ---- exit codes of runs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dry_run", "signal", "code", "differs", "expected"),
    [
        (True, True, 0, True, 3),
        (True, False, 0, True, 0),
        (False, True, 0, True, 0),
        (True, True, 0, False, 0),
        (True, True, 4, True, 4),
        (True, True, 5, True, 5),
    ],
)
def test_differences_are_signalled_for_dry_runs_that_ask(
    dry_run: bool, signal: bool, code: int, differs: bool, expected: int
) -> None:
    outcome = result(dry_run=dry_run, exit_code=code, counts={"in_sync": 1, "update": int(differs)})
    assert running.exit_code(outcome, running.Asked(dry_run=dry_run, exit_code=signal)) == expected


def job_file(folder: Path) -> None:
    (folder / "acme.toml").write_text(
        'name = "acme"\nstate = "sqlite:///state.db"\n'
        '[[source]]\nkind = "ics"\nagent = "ann@acme.example"\npath = "ann.ics"\n'
        '[crm]\nkind = "sql"\nurl = "sqlite:///crm.db"\ntable = "appointments"\ntime = "utc"\n'
        'columns = { id = "id", agent = "agent", start = "starts", end = "ends" }\n'
    )


def test_a_scheduled_run_gives_way_to_one_at_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def locked(*_: object) -> None:
        raise LockedError("Another run on this CRM is at work; nothing was done.")

    job_file(tmp_path)
    monkeypatch.setattr(running, "_result", locked)
    assert call(tmp_path, "acme.toml") == 75
    assert call(tmp_path, "acme.toml", "--scheduled") == 0
    assert capsys.readouterr().err.count("at work") == 2
    assert call(tmp_path, "acme.toml", "--scheduled", "--quiet") == 0
    assert capsys.readouterr().err == ""


# ---- output and logs ------------------------------------------------------------------------------------------------


def test_json_is_ascii_and_spells_times(capsys: pytest.CaptureFixture[str]) -> None:
    screen.write_json({"at": NOW, "title": "Zoë ✓", "names": {"b", "a"}})
    text = capsys.readouterr().out
    assert text.isascii()
    assert json.loads(text) == {"at": "2026-11-22T09:00:00Z", "title": "Zoë ✓", "names": ["a", "b"]}


def test_a_reader_who_leaves_early_is_no_error() -> None:
    program = "from reconciler.cli import screen\nfor _ in range(20000): screen.write('a line of a long answer')"
    with subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running_program:
        assert running_program.stdout
        assert running_program.stderr
        running_program.stdout.readline()
        running_program.stdout.close()
        assert running_program.stderr.read() == b""
    assert running_program.returncode == 0
