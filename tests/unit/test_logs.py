"""Logs: one event a command however it ends, plain values on one line each, no secret, and nobody else's values."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import shlex
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.cli import entry, logs, screen, taming
from reconciler.cli.event import Event
from reconciler.cli.world import Call, Common, Format, World
from reconciler.config import revealed
from reconciler.errors import ConfigError, LockedError, Problem, RefusedError
from reconciler.model import Action, Delta, Finding, Kind, Remedy, Severity, Side, Window
from reconciler.phases import Phase
from reconciler.result import CalendarSeen, Result, Sum

if TYPE_CHECKING:
    from reconciler.setup import Setup

ROOT = Path(__file__).resolve().parents[2]
SOURCE = "\n".join(path.read_text("utf-8") for path in sorted((ROOT / "reconciler/cli").glob("*.py")))
PAGE = (ROOT / "docs/logs.md").read_text("utf-8")
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
Lines = Callable[[], list[dict[str, Any]]]


def call(*, quiet: bool = False, verbose: bool = False) -> Call:
    world = World(environ={}, cwd=Path(), clock=lambda: NOW)
    return Call(world, Common(quiet=quiet, verbose=verbose), ())


def result(**changes: object) -> Result:
    blank = Result(
        job="acme",
        run="01J",
        dry_run=True,
        status="drift",
        exit_code=0,
        window=Window(NOW, NOW),
        digest="7f3c9a1e52b0" + "0" * 52,
        counts={"in_sync": 3, "update": 2},
        events=Sum(3, {"in_sync": 3}),
        records=Sum(3, {"in_sync": 3}),
    )
    return replace(blank, **changes)  # type: ignore[arg-type]


@pytest.fixture
def lines(capsys: pytest.CaptureFixture[str]) -> Lines:
    def read() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().err.splitlines()]

    return read


@pytest.fixture(autouse=True)
def _no_secrets_left() -> Iterator[None]:
    yield
    revealed.forget()


def write(**fields: Any) -> None:
    """Log one line as a command does."""
    import structlog

    logs.configure(Common(), lambda: NOW)
    structlog.get_logger().warning("said", **fields)


# ---- the event of a command -----------------------------------------------------------------------------------------


def test_a_command_logs_one_event_under_one_id(lines: Lines) -> None:
    import structlog

    @logs.told("run")
    def command(call: Call) -> int:
        call.event.of(job="acme", slot=NOW)
        call.event.came_to(result())
        threads = [threading.Thread(target=lambda: structlog.get_logger().warning("from a thread")) for _ in range(2)]
        for thread in threads:
            thread.start()
            thread.join()
        return 0

    assert command(call()) == 0
    first, second, run = lines()
    assert (run["event"], run["level"], run["at"]) == ("run", "info", "2026-11-22T09:00:00Z")
    assert (run["job"], run["slot"], run["command"]) == ("acme", "2026-11-22T09:00:00Z", "run")
    assert (run["status"], run["exit_code"], run["count_update"], run["digest"]) == ("drift", 0, 2, "7f3c9a1e52b0")
    assert first["run"] == second["run"] == run["run"] != ""
    assert first["job"] == "acme"


def test_what_a_command_adds_is_its_own(lines: Lines) -> None:
    given = call()

    @logs.told("check")
    def command(call: Call) -> int:
        call.event.add(looked=True)
        return 2

    assert command(given) == 2
    [said] = lines()
    assert (said["status"], said["level"], said["looked"]) == ("failed", "warning", True)
    assert given.event == Event()


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (LockedError("Another run is at work."), {"status": "locked", "exit_code": 75, "level": "warning"}),
        (RefusedError("The plan of jo@home.example"), {"status": "refused", "exit_code": 4, "level": "warning"}),
        (
            ConfigError((Problem("crm.url", "jo@home.example"), Problem("name", "is missing"))),
            {"status": "failed", "exit_code": 2, "problems": 2, "error": "ConfigError"},
        ),
        (KeyError("jo@home.example"), {"status": "failed", "exit_code": 1, "level": "error", "error": "KeyError"}),
        (KeyboardInterrupt(), {"status": "interrupted", "exit_code": 130}),
    ],
)
def test_a_command_that_breaks_off_is_told_by_its_type_alone(
    error: BaseException, said: dict[str, object], lines: Lines
) -> None:
    @logs.told("run")
    def command(call: Call) -> int:
        del call
        raise error

    with pytest.raises(type(error)):
        command(call())
    [event] = lines()
    assert event.items() >= said.items()
    assert "home.example" not in json.dumps(event)
    assert ("place" in event) is isinstance(error, KeyError), "only what nobody foresaw has a place"


def test_calendars_that_need_attention_are_few_and_nobody_by_name(lines: Lines) -> None:
    blind = [
        CalendarSeen(f"a{n}@acme.example", "google", observed=False, mode=None, events=0, why="no", number=n, strikes=2)
        for n in range(logs.MOST + 7)
    ]
    well = CalendarSeen("well@acme.example", "google", observed=True, mode="full", events=1)

    @logs.told("run")
    def command(call: Call) -> int:
        call.event.came_to(result(calendars=(well, *blind)))
        return 5

    command(call())
    *calendars, more, run = lines()
    assert [one["calendar"] for one in calendars] == list(range(logs.MOST))
    assert calendars[0].items() >= {"state": "blind", "source": "google", "strikes": 2, "event": "calendar"}.items()
    assert (more["event"], more["more"]) == ("calendars", 7)
    assert {one["run"] for one in (*calendars, more, run)} == {run["run"]}
    assert "acme.example" not in json.dumps([calendars, more, run])


@pytest.mark.parametrize(
    ("common", "terminal", "level"),
    [
        (Common(), False, logging.INFO),
        (Common(), True, logging.WARNING),
        (Common(quiet=True), False, logging.WARNING),
        (Common(verbose=True, format=Format.JSON), True, logging.DEBUG),
    ],
)
def test_a_person_at_a_terminal_is_not_told_twice(common: Common, terminal: bool, level: int) -> None:
    assert logs._level(common, terminal=terminal) == level


# ---- what a line may hold -------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Client:
    name: str


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Client("jo@home.example"), "(Client)"),
        (b"jo@home.example", "(bytes)"),
        ({"name": "jo@home.example"}, "(dict)"),
        ([Client("jo@home.example"), "fine"], ["(Client)", "fine"]),
        (["x"] * 1000, ["x"] * 300),
        (KeyError("jo@home.example"), "(KeyError)"),
        (NOW, "2026-11-22T09:00:00Z"),
        (float("nan"), "nan"),
        (None, None),
        (True, True),
    ],
)
def test_only_plain_values_are_shown(value: object, shown: object, lines: Lines) -> None:
    write(value=value)
    assert lines()[0]["value"] == shown


@pytest.mark.parametrize("hostile", ["a\nb", "\x1b[31ma b", "a\u2028b", "a\ud800 b", "a\r\n{}b", "x" * 100_000])
def test_a_line_is_one_line_of_json_whatever_is_said(hostile: str, capsys: pytest.CaptureFixture[str]) -> None:
    write(value=hostile, values=[hostile])
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.isascii()
    assert "\\ud800" not in said
    assert "\\u001b" not in said
    assert len(said) < 2000
    json.loads(said)


def test_no_line_holds_a_secret_that_was_read(capsys: pytest.CaptureFixture[str]) -> None:
    revealed.note("postgresql://reader:hunter%202@db.example/crm")
    revealed.note(json.dumps({"private_key": "-----BEGIN\nMIIEvQIBADANBg\n-----END", "client_secret": "s3cr3t-value"}))
    for value in (
        "to hunter%202@",
        "to hunter 2",
        "xMIIEvQIBADANBgx",
        "is s3cr3t-value.",
        "postgresql://reader:hunter",
    ):
        write(value=value, values=[value], event_=value)
        write(values=[value])
    said = capsys.readouterr().err
    for secret in ("hunter%202", "hunter 2", "MIIEvQ", "s3cr3t"):
        assert secret not in said
    assert said.count("(secret)") == 16


def test_what_a_file_of_credentials_says_in_the_open_is_no_secret(capsys: pytest.CaptureFixture[str]) -> None:
    revealed.note(json.dumps({"private_key": "MIIEvQIBADANBg", "project_id": "sample", "type": "service_account"}))
    write(job="sample")
    assert '"job": "sample"' in capsys.readouterr().err


@pytest.mark.parametrize("stream", ["none", "closed", "nobody reads", "full", "hangs"])
def test_a_log_that_nobody_takes_is_no_reason_to_fail(stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: dict[str, Callable[[], io.TextIOWrapper | None]] = {
        "none": lambda: None,
        "closed": _closed,
        "nobody reads": _broken,
        "full": _full,
        "hangs": _hangs,
    }
    monkeypatch.setattr(screen, "PATIENCE", 0.05)
    target = opened[stream]()
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", target)
        for _ in range(3):
            screen.say("x" * 100_000)
    if target is not None and not target.closed:
        target.close()


def _closed() -> io.TextIOWrapper:
    stream = io.TextIOWrapper(io.BytesIO())
    stream.close()
    return stream


def _broken() -> io.TextIOWrapper:
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


def _full() -> io.TextIOWrapper:
    _, writing = os.pipe()
    os.set_blocking(writing, False)
    return os.fdopen(writing, "w")


def _hangs() -> io.TextIOWrapper:
    """A pipe that is full already, and whose reader lives and never reads."""
    stream = _full()
    with suppress(BlockingIOError):
        while True:
            os.write(stream.fileno(), b"x" * 4096)
    os.set_blocking(stream.fileno(), True)
    return stream


def test_an_exit_code_stays_what_it_is_where_nobody_reads_stderr() -> None:
    program = "import sys; from reconciler.cli import screen; screen.say('x' * 9999); screen.say('y'); sys.exit(5)"
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, stderr=writing, check=False)
    os.close(writing)
    assert done.returncode == 5


# ---- the documentation ----------------------------------------------------------------------------------------------


def tables() -> dict[str, set[str]]:
    """Return what the tables of the page name in their first column, by the words above each."""
    found: dict[str, set[str]] = {}
    for part in re.split(r"\n(?=[^|\n][^\n]*\n\n\|)", PAGE):
        rows = [line for line in part.splitlines() if line.startswith("|")][2:]
        if rows:
            found[part.splitlines()[0]] = {name for row in rows for name in re.findall(r"`([^`]+)`", row.split("|")[1])}
    return found


def documented(name: str, fields: set[str]) -> bool:
    return name in fields or f"{name.partition('_')[0]}_*" in fields


def test_the_page_names_every_field_and_no_other(lines: Lines) -> None:
    outcomes = (Delta(action=Action.CREATE, side=Side.CRM, key="k", kind=Kind.MISSING_IN_CRM, severity=Severity.HIGH),)
    finding = Finding(key="k", kind=Kind.MISSING_IN_CRM, severity=Severity.HIGH, remedy=Remedy.FIX, why="")
    blind = CalendarSeen("ann@acme.example", "google", observed=False, mode=None, events=0, number=1, blind_since=NOW)

    @logs.told("run")
    def command(call: Call, error: Exception | None) -> int:
        call.event.of(job="acme", slot=NOW)
        call.event.add(dry_run=False)
        call.event.delivered(["sent"])
        call.event.pulled((), {}, shard="1/4")
        call.event.add(dropped=1, forgotten=1)
        call.event.came_to(result(deltas=outcomes, findings=(finding,), calendars=(blind,)))
        call.event.setup = cast("Setup", Worked())
        if error:
            raise error
        return 0

    command(call(), None)
    for error in (KeyError(), ConfigError((Problem("a", "b"),))):
        with pytest.raises(type(error)):
            command(call(), error)
    said = lines()
    asked = {name for one in said for name in one if name.startswith("attempts_")}
    assert asked == {"attempts_google"}, "a provider's project may be called as its owner is"
    [of_runs, of_calendars] = [
        names for head, names in tables().items() if head.startswith(("Those of", "Of the event"))
    ]
    assert {name for name in re.findall(r"event\.(?:add|of)\((\w+)=", SOURCE) if name not in of_runs} == set()
    for event, fields in (("run", of_runs), ("calendar", of_calendars)):
        logged = {name for one in said if one["event"] == event for name in one}
        missing = {name for name in logged if not documented(name, fields | of_runs)}
        assert missing == set(), "the page lacks them"
        beginnings = {f"{name.partition('_')[0]}_*" for name in logged}
        assert fields - logged - beginnings == set(), "nobody logs them"


def test_the_page_names_every_event_and_no_other() -> None:
    logging_calls = r'(?:\b_write\([^"\n]*, |structlog\.get_logger\(\)\.\w+\(|\blogger\.warning\()"([^"\n]+)"'
    assert tables()["### Events"] == set(re.findall(logging_calls, SOURCE))


@pytest.mark.parametrize("words", re.findall(r"(?m)^reconcile (.+)$", PAGE))
def test_every_command_of_the_page_exists(words: str, tmp_path: Path) -> None:
    world = World(environ={}, cwd=tmp_path, clock=lambda: NOW)
    assert entry.call([*shlex.split(words), "--help"], world) == 0


@dataclass(frozen=True)
class Took:
    seconds: Mapping[str, float] = field(default_factory=lambda: {phase.value: 1.0 for phase in Phase})


@dataclass(frozen=True)
class Spent:
    attempts: Mapping[str, int] = field(default_factory=lambda: {"read": 3, "token": 1})
    throttled: int = 1


@dataclass(frozen=True)
class Worked:
    """What a run took and spent, as its event reads it."""

    phases: Took = field(default_factory=Took)
    quotas: Mapping[str, Spent] = field(default_factory=lambda: {"google:acme-1": Spent()})


# ---- what others log ------------------------------------------------------------------------------------------------


def test_other_packages_lose_their_values(lines: Lines) -> None:
    logs.configure(Common(), lambda: NOW)
    logging.getLogger("urllib3").warning("Retrying %s", "https://secret.example/jo@home.example")
    logging.getLogger("urllib3").warning("mailed Jane Doe of Wren Street")
    logging.getLogger("urllib3").warning("jo@home.example: %s", 1)
    logging.getLogger("urllib3").info("nobody sees this")
    logging.captureWarnings(capture=False)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logs.configure(Common(), lambda: NOW)
        warnings.warn("jo@home.example", stacklevel=1)
        logging.captureWarnings(capture=False)
    first, second, fourth, third = lines()
    assert (first["says"], second["says"], fourth["says"]) == ("Retrying %s", None, None)
    assert first["package"] == "urllib3"
    assert (third["package"], third["says"]) == ("py.warnings", None)


@pytest.mark.parametrize("package", ["", "urllib3"])
def test_whoever_else_would_write_what_packages_warn_of_is_told_nothing(package: str, lines: Lines) -> None:
    logger, heard = logging.getLogger(package), io.StringIO()
    before = (list(logger.handlers), logger.propagate)
    logger.addHandler(logging.StreamHandler(heard))
    logger.propagate = not package
    try:
        logs.configure(Common(), lambda: NOW)
        logging.getLogger("urllib3").warning("Retrying %s", "https://secret.example/jo@home.example")
    finally:
        logger.handlers, logger.propagate = before
    assert heard.getvalue() == ""
    assert [line["says"] for line in lines()] == ["Retrying %s"]


@pytest.mark.parametrize("package", ["google", "msal", "urllib3.connectionpool", "sqlalchemy.engine", "mine"])
def test_nobody_logs_more_because_the_environment_asks(package: str, lines: Lines) -> None:
    logger = logging.getLogger(package)
    before = (logger.handlers, logger.level, logger.propagate)
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.DEBUG)
    try:
        logs.configure(Common(verbose=True), lambda: NOW)
        logger.debug("jo@home.example %s", "asked")
        logger.info("jo@home.example %s", "asked")
        assert lines() == []
    finally:
        logger.handlers, logger.level, logger.propagate = before


def test_a_thread_that_dies_leaves_a_type_and_a_place(lines: Lines) -> None:
    logs.configure(Common(), lambda: NOW)
    taming._lost(KeyError("jo@home.example"))
    [said] = lines()
    assert (said["error"], said["level"]) == ("KeyError", "error")
    assert "home.example" not in json.dumps(said)


def test_a_process_leaves_its_values_to_nobody_who_would_write_them(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was there before is put back: other tests share this process."""
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    monkeypatch.setenv("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", "google")
    taming.tame_process()
    assert "GOOGLE_SDK_PYTHON_LOGGING_SCOPE" not in os.environ
    assert not logging.raiseExceptions
    logs.configure(Common(), lambda: NOW)

    def dies() -> None:
        raise ValueError("jane@client.example")

    thread = threading.Thread(target=dies)
    thread.start()
    thread.join()
    [said] = lines()
    assert (said["event"], said["error"]) == ("an error that ended nothing", "ValueError")
    sys.unraisablehook(cast("Any", SimpleNamespace(exc_value=OSError("jane@client.example"))))
    [said] = lines()
    assert (said["error"], "client" in json.dumps(said)) == ("OSError", False)
