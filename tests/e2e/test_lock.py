"""One run writes at a time; a dead one is replaced at once, and one that was overtaken does no harm."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from reconciler.apply import OVERTAKEN
from reconciler.assembly import assemble
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.config import load
from reconciler.crm import Writer, Written
from reconciler.errors import LockedError, UsageError
from reconciler.model import Fields
from reconciler.result import Result
from reconciler.run import Options, Setup, run
from reconciler.session import LONG
from reconciler.store.database import run_lock
from tests.e2e.test_journal import Around, outcomes, run_with, statuses, writing
from tests.e2e.world import NOW, World, event

Make = Callable[..., World]
ANN = "ann@acme.example"
ROOT = Path(__file__).resolve().parents[2]

HOLDER = """
import sys, time
from reconciler.store.database import open_engine, run_lock
with run_lock(open_engine(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    time.sleep(600)
"""


def reconcile(world: World, *words: str) -> int:
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    return entry.call((*words, str(world.job())), outside)


def identity(world: World) -> str:
    with world.setup(dry_run=True) as setup:
        return setup.reader.identity


def state_url(world: World) -> str:
    return world.environ.get("STATE", f"sqlite:///{world.folder}/state.db")


def lose_lock(setup: Setup) -> None:
    """Take the lock away under the feet of the run that holds it, as a lost connection or a tidied folder does."""
    if setup.state.engine.dialect.name == "sqlite":
        for path in Path(str(setup.state.engine.url.database)).parent.glob("*.lock"):
            path.unlink()
        return
    with setup.state.engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        holders = "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        connection.execute(text(f"SELECT pg_terminate_backend(pid) FROM ({holders}) AS held"))  # noqa: S608 - our words


# ---- one at a time --------------------------------------------------------------------------------------------------


def test_a_second_run_ends_with_75_and_a_scheduled_one_is_patient(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make()
    with world.setup() as setup, run_lock(setup.state.engine, setup.reader.identity):
        assert reconcile(world, "run") == LockedError.exit_code
        assert reconcile(world, "run", "--scheduled") == 0
        assert reconcile(world, "--dry-run") == 0
    assert "Another run on this CRM is at work; nothing was done." in capsys.readouterr().err
    assert reconcile(world, "run") == 0


def test_nobody_is_patient_with_a_run_that_hangs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make()
    world.write(ANN, event("a"))

    class Hanging(Around):
        def create(self, key: str, fields: Fields) -> Written:
            assert reconcile(world, "run", "--scheduled") == 0, "it is at work, and not for long"
            began, world.now = world.now, world.now + LONG + timedelta(minutes=1)
            assert reconcile(world, "run", "--scheduled") == LockedError.exit_code
            world.now = began
            return self.writer.create(key, fields)

    assert outcomes(run_with(world, Hanging)) == [("create", "done")]
    assert "The run that began at 2026-11-22T17:00:00Z is still at work" in capsys.readouterr().err


def test_a_run_that_died_is_not_taken_for_another_jobs_run_that_is_at_work(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    world = make()
    world.write(ANN, event("a"))

    class Died(BaseException):
        pass

    class Dying(Around):
        def create(self, key: str, fields: Fields) -> Written:
            raise Died

    class Meeting(Around):
        def create(self, key: str, fields: Fields) -> Written:
            assert reconcile(world, "run", "--scheduled") == 0, "the other job's run is at work, and not for long"
            began, world.now = world.now, world.now + LONG + timedelta(minutes=1)
            assert reconcile(world, "run", "--scheduled") == LockedError.exit_code
            world.now = began
            return self.writer.create(key, fields)

    with pytest.raises(Died):
        run_with(world, Dying)
    world.now += LONG + timedelta(hours=1)
    path = world.job()
    other = world.folder / "other.toml"
    other.write_text(path.read_text().replace('name = "acme"', 'name = "other"'))
    with assemble(load(other, world.environ), world.environ, clock=world.clock, dry_run=False) as setup:
        writers = setup.writers
        assert writers is not None
        run(replace(setup, writers=replace(writers, crm=lambda: Meeting(writers.crm()))), Options())
    said = capsys.readouterr().err
    assert "The run of other that began at 2026-11-23T00:00:00Z is still at work" in said
    assert "2026-11-22T17:00:00Z" not in said


def test_a_run_that_ends_with_a_sentence_did_not_die(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make()
    assert reconcile(world, "run", "--approve", "0123456789ab") == UsageError.exit_code
    assert reconcile(world, "status") == 0
    assert "did not end" not in capsys.readouterr().out


def test_a_dead_holder_is_replaced_at_once(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    command = [sys.executable, "-c", HOLDER, state_url(world), identity(world)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(LockedError):
            world.run()
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    released = False
    while not released:  # PostgreSQL notices a dead client when it next listens to it: in a moment, not at once
        try:
            world.run()
            released = True
        except LockedError:
            assert "STATE" in world.environ


def test_each_row_of_the_journal_says_whose_it_is(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.run()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    assert [row["epoch"] for row in world.journal()] == [1, 3]


# ---- a run that was overtaken ---------------------------------------------------------------------------------------


class Overtaken(Around):
    """Before its first write is sent, this run loses its lock and another one does all that there is to do."""

    def __init__(self, writer: Writer, world: World, setups: list[Setup]) -> None:
        super().__init__(writer)
        self.world, self.setups = world, setups
        self.others: list[Result] = []

    def create(self, key: str, fields: Fields) -> Written:
        self.pause()
        return self.writer.create(key, fields)

    def update(self, crm_id: str, fields: Fields, *, version: str, key: str | None = None) -> Written:
        self.pause()
        return self.writer.update(crm_id, fields, version=version, key=key)

    def pause(self) -> None:
        if not self.others:
            lose_lock(self.setups[0])
            self.others.append(self.world.run())


def overtaken(world: World, how: type[Overtaken]) -> tuple[Result, list[Result]]:
    """Run, overtaken by another run between the check and the first send; return what both came to."""
    made: list[Overtaken] = []
    setups: list[Setup] = []

    def around(writer: Writer) -> Overtaken:
        made.append(how(writer, world, setups))
        return made[-1]

    with writing(world, around) as setup:
        setups.append(setup)
        mine = run(setup, Options())
    return mine, made[0].others


def test_a_run_paused_between_check_and_send_creates_nothing_twice(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)), event("c", NOW + timedelta(days=4)))
    mine, (other,) = overtaken(world, Overtaken)
    assert outcomes(other) == [("create", "done")] * 3
    assert outcomes(mine) == [("create", "already"), ("create", "deferred"), ("create", "deferred")]
    assert {delta.why for delta in mine.deltas[1:]} == {OVERTAKEN}
    assert sorted(world.rows("source_key")) == [("a",), ("b",), ("c",)]
    assert not {"sent", "planned", "unknown"} & set(statuses(world))
    assert world.run().deltas == ()


def test_a_run_paused_between_check_and_send_overwrites_nothing(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=2, hours=1)), event("b", NOW + timedelta(days=3, hours=3)))
    world.now += timedelta(minutes=20)

    class Meanwhile(Overtaken):
        def pause(self) -> None:
            super().pause()
            self.world.sql("UPDATE appointments SET title = 'By hand', version = version + 1 WHERE source_key = 'a'")

    mine, (other,) = overtaken(world, Meanwhile)
    assert outcomes(other) == [("update", "done")] * 2
    assert outcomes(mine) == [("update", "conflict"), ("update", "deferred")]
    assert world.rows("title, starts_at") == [("By hand", "2026-11-24 18:00:00"), ("Showing", "2026-11-25 20:00:00")]


def test_a_run_that_lost_its_lock_begins_no_further_write_even_if_nobody_has_it(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    setups: list[Setup] = []

    class Alone(Around):
        def create(self, key: str, fields: Fields) -> Written:
            lose_lock(setups[0])
            return self.writer.create(key, fields)

    with writing(world, Alone) as setup:
        setups.append(setup)
        result = run(setup, Options())
    assert outcomes(result) == [("create", "done"), ("create", "deferred")]
    assert (result.exit_code, statuses(world)) == (5, ["done", "deferred"])
    assert outcomes(world.run()) == [("create", "done")]


# ---- a run that is asked to end -------------------------------------------------------------------------------------

SLOW = """
import os, signal, sys
from pathlib import Path
from reconciler.cli import entry
from reconciler.crm.writes import SqlWriter
create = SqlWriter.create
def asked_to_end(writer, key, fields):
    for number in SIGNALS:
        os.kill(os.getpid(), number)
    return create(writer, key, fields)
SqlWriter.create = asked_to_end
sys.exit(entry.main())
"""


def ended_by(world: World, *signals: signal.Signals) -> subprocess.CompletedProcess[bytes]:
    """Run the program in a process of its own, which is sent these signals while it writes its first record."""
    program = SLOW.replace("SIGNALS", repr([int(number) for number in signals]))
    command = [sys.executable, "-c", program, "run", str(world.job()), "--format", "json"]
    environ = {**os.environ, **world.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, env=environ, cwd=world.folder, capture_output=True, check=False)


def two_events(world: World) -> World:
    soon = world.now + timedelta(days=1)
    world.write(ANN, event("a", soon), event("b", soon + timedelta(days=1)))
    return world


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_finishes_the_delta_in_hand_and_says_what_is_left(make: Make, number: signal.Signals) -> None:
    world = make()
    world.now = datetime.now(UTC).replace(microsecond=0)  # the program has a clock of its own
    two_events(world)
    ended = ended_by(world, number)
    assert ended.returncode == 5, ended.stderr
    result = json.loads(ended.stdout)
    assert [delta["outcome"] for delta in result["deltas"]] == ["done", "deferred"]
    assert result["deltas"][1]["why"] == "this run was asked to end; its turn comes next run"
    assert b"asked to end" in ended.stderr
    assert (statuses(world), world.rows("source_key")) == (["done", "deferred"], [("a",)])
    assert outcomes(world.run()) == [("create", "done")]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_the_second_signal_stops_at_once_and_the_next_run_copes(make: Make, number: signal.Signals, code: int) -> None:
    world = make()
    world.now = datetime.now(UTC).replace(microsecond=0)
    two_events(world)
    ended = ended_by(world, number, number)
    assert (ended.returncode, ended.stdout) == (code, b"")
    assert (statuses(world), world.rows()) == (["sent", "planned"], [])
    assert outcomes(world.run()) == [("create", "done")] * 2
    assert not {"sent", "planned"} & set(statuses(world))


def test_a_run_that_is_asked_to_end_while_it_reads_says_what_it_did_not_see(make: Make) -> None:
    world = make(agents=(ANN, "bob@acme.example"))
    world.write(ANN, event("a"))
    with world.setup() as setup:
        result = run(replace(setup, stop=lambda: True), Options())
    assert (result.exit_code, result.status) == (5, "partial")
    assert {seen.observed for seen in result.calendars} == {False}
    assert world.rows() == []
