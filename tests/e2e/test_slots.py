"""A slot's work is done once: whoever starts it twice, dies over it, misses it or sets the clock back meanwhile."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from reconciler.cli import entry
from reconciler.cli.commands import NAMES
from reconciler.cli.scheduling import once
from reconciler.cli.world import Call, Common
from reconciler.cli.world import World as Outside
from reconciler.crm import Written
from reconciler.errors import UsageError
from reconciler.model import Fields
from reconciler.run import Options, run
from reconciler.store import slots
from reconciler.store.schema import runs
from reconciler.store.slots import Slot
from tests.e2e.test_journal import Around
from tests.e2e.world import NOW, World, event

Make = Callable[..., World]
ANN = "ann@acme.example"
MINUTE = timedelta(minutes=1)
CRONTAB = """\
CRON_TZ=UTC
*/5 * * * *  reconcile run acme.toml --scheduled --quiet
0 12 * * *   reconcile report acme.toml --scheduled --html report.html --quiet
"""


def outside(world: World, crontab: str = CRONTAB) -> Outside:
    (world.folder / "crontab").write_text(crontab)
    environ = {"TZ": "UTC", **world.environ}
    return Outside(environ=environ, cwd=world.folder, clock=world.clock, sleep=lambda _seconds: None)


def start(world: World, *words: str, crontab: str = CRONTAB) -> int:
    return entry.call((*words, "--scheduled", str(world.job())), outside(world, crontab))


def served(world: World) -> list[tuple[str, datetime, int | None]]:
    """Return what is known of slots: command, slot, exit code."""
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        found = slots.noted(connection, setup.state, NOW - timedelta(days=3650))
    return [(each.command, each.at, each.exit_code) for each in found]


def ran(world: World) -> list[tuple[int | None, int | None]]:
    """Return each run's slot and exit code."""
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        rows = connection.execute(select(runs.c.slot, runs.c.exit_code).order_by(runs.c.epoch)).all()
    return [(row.slot, row.exit_code) for row in rows]


# ---- once -----------------------------------------------------------------------------------------------------------


def test_two_starts_for_one_slot_do_its_work_once(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.now = NOW + timedelta(seconds=2)
    assert start(world, "run", "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["slot"], told["status"]) == ("2026-11-22T17:00:00Z", "applied")
    assert start(world, "run") == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert "The slot of 2026-11-22T17:00:00Z was served at 2026-11-22T17:00:02Z; nothing was done." in said.err
    assert start(world, "run", "--quiet") == 0
    assert capsys.readouterr() == ("", "")
    assert served(world) == [("run", NOW, 0)]
    assert ran(world) == [(int(NOW.timestamp()), 0)]


def test_who_is_no_schedule_runs_whenever_it_is_asked_to(tmp_path: Path) -> None:
    world = World(tmp_path)
    for _ in range(2):
        assert entry.call(("run", str(world.job())), outside(world)) == 0
    assert start(world, "run") == 0
    assert [slot for slot, _ in ran(world)] == [None, None, int(NOW.timestamp())]


def test_slots_that_were_missed_are_made_up_for_once(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert start(world, "run") == 0
    world.now = NOW + 62 * MINUTE
    assert [start(world, "run") for _ in range(3)] == [0, 0, 0]
    assert served(world) == [("run", NOW, 0), ("run", NOW + 60 * MINUTE, 0)]
    assert len(ran(world)) == 2


def test_what_died_has_served_nothing_and_the_next_start_does_the_work(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))

    class Died(BaseException):
        pass

    class Dying(Around):
        def create(self, key: str, fields: Fields) -> Written:
            raise Died

    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        mine = replace(setup, writers=replace(writers, crm=lambda: Dying(writers.crm())))
        with pytest.raises(Died):
            run(mine, Options(slot=Slot("run", NOW)))
    assert served(world) == [("run", NOW, None)]
    assert start(world, "run") == 0
    assert served(world) == [("run", NOW, 0)]
    assert len(world.rows()) == 1


def test_a_run_that_could_not_begin_its_work_leaves_the_slot_to_the_next(tmp_path: Path) -> None:
    world = World(tmp_path)
    job = world.job()
    right = job.read_text()
    job.write_text(right.replace('state = "', 'states = "'))
    assert entry.call(("run", "--scheduled", str(job)), outside(world)) == UsageError.exit_code
    job.write_text(right)
    assert entry.call(("run", "--scheduled", str(job)), outside(world)) == 0
    assert served(world) == [("run", NOW, 0)]


def test_a_dry_run_serves_no_slot(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert start(world, "run", "--dry-run") == 0
    assert served(world) == []


# ---- clocks ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [timedelta(minutes=20), timedelta(days=400)])
def test_a_clock_that_was_ahead_and_is_set_back_stops_no_run(back: timedelta, tmp_path: Path) -> None:
    world = World(tmp_path)
    for minutes in range(15, 30, 5):
        world.now = NOW + minutes * MINUTE
        assert start(world, "run") == 0
    before = len(ran(world))
    world.now = NOW + 25 * MINUTE - back
    back_at = world.now
    while start(world, "run") == 0 and len(ran(world)) == before:
        world.now += 5 * MINUTE
    assert world.now - back_at <= slots.AHEAD + 5 * MINUTE, "and not when the clock has caught up"
    world.now = NOW + 20 * MINUTE
    assert start(world, "run") == 0
    assert len(ran(world)) == before + 2, "what a wrong clock served counts no more"


def test_a_start_just_before_its_slot_stands_for_it(tmp_path: Path) -> None:
    world = World(tmp_path)
    assert start(world, "run") == 0
    world.now = NOW + 5 * MINUTE - timedelta(seconds=3)
    assert start(world, "run") == 0
    assert served(world) == [("run", NOW, 0), ("run", NOW + 5 * MINUTE, 0)]
    world.now = NOW + 5 * MINUTE + timedelta(seconds=3)
    assert start(world, "run") == 0
    assert len(ran(world)) == 2


# ---- which line -----------------------------------------------------------------------------------------------------


def test_without_a_line_of_its_own_a_start_has_no_slot_and_works(tmp_path: Path) -> None:
    world = World(tmp_path)
    for crontab in ("", "*/5 * * * * reconcile run other --scheduled\n", "0 * * * * reconcile run acme --full\n", "\0"):
        assert start(world, "run", crontab=crontab) == 0
        assert start(world, "run", crontab=crontab) == 0
    assert [slot for slot, _ in ran(world)] == [None] * 8


def test_each_job_and_each_command_of_one_crontab_has_slots_of_its_own(tmp_path: Path) -> None:
    world = World(tmp_path)
    other = world.folder / "other.toml"
    other.write_text(world.job().read_text().replace('name = "acme"', 'name = "other"'))
    crontab = CRONTAB.replace("report.html", "report.html --since 1d") + "0 * * * * reconcile other.toml --scheduled\n"
    assert start(world, "run", crontab=crontab) == 0
    assert entry.call(("run", "--scheduled", str(other)), outside(world, crontab)) == 0
    words = ("report", "--since", "1d", "--html=report.html")
    assert start(world, *words, crontab=crontab) == 0
    report = world.folder / "report.html"
    assert report.is_file()
    report.unlink()
    assert start(world, *words, crontab=crontab) == 0
    assert not report.exists(), "its slot was served"
    assert start(world, "report", "--html", "report.html", crontab=crontab) == 0
    assert report.is_file(), "another report is another command"
    noon = NOW.replace(hour=12)
    assert served(world) == [("report --html report.html --since 1d", noon, 0), ("run", NOW, 0)]


# ---- commands without a lock of their own ---------------------------------------------------------------------------


def test_of_two_that_start_at_one_instant_one_works(make: Make) -> None:
    world = make()
    (world.folder / "crontab").write_text(CRONTAB)
    call = Call(outside(world), Common(quiet=True), NAMES)
    slot = Slot("state prune", NOW)
    began, go_on = threading.Event(), threading.Event()
    worked: list[int] = []

    def work() -> int:
        worked.append(1)
        began.set()
        assert go_on.wait(60)
        return 0

    with world.setup() as mine, world.setup() as other:
        first = threading.Thread(target=once, args=(call, mine.state, slot, work))
        first.start()
        assert began.wait(60)
        assert once(call, other.state, slot, work) == 0, "it does not wait"
        go_on.set()
        first.join(60)
        assert once(call, other.state, slot, work) == 0
    assert worked == [1]
    assert served(world) == [("state prune", NOW, 0)]


def test_what_failed_is_noted_and_what_died_is_not(tmp_path: Path) -> None:
    world = World(tmp_path)
    call = Call(outside(world), Common(), NAMES)
    codes: list[type[BaseException]] = [UsageError, RuntimeError, KeyboardInterrupt]

    def fail(how: type[BaseException]) -> Callable[[], int]:
        def work() -> int:
            raise how

        return work

    with world.setup() as setup:
        for how in codes:
            with pytest.raises(how):
                once(call, setup.state, Slot(how.__name__, NOW), fail(how))
        assert ("UsageError", NOW, 2) in served(world)
        assert once(call, setup.state, Slot("UsageError", NOW), lambda: 1) == 1
        assert once(call, setup.state, Slot("UsageError", NOW), lambda: 5) == 5, "nothing was served yet"
        assert once(call, setup.state, Slot("UsageError", NOW), lambda: 1) == 0
    assert sorted(served(world), key=str) == [
        ("KeyboardInterrupt", NOW, None),
        ("RuntimeError", NOW, None),
        ("UsageError", NOW, 5),
    ]


# ---- waiting --------------------------------------------------------------------------------------------------------


def test_a_scheduled_start_waits_its_part_of_the_jitter_before_anything_is_locked(tmp_path: Path) -> None:
    world = World(tmp_path, section='jitter = "10m"\ndeadline = "1m"')
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        world.now += timedelta(seconds=seconds)

    assert entry.call(("run", "--scheduled", str(world.job())), replace(outside(world), sleep=sleep)) == 0
    assert 0 < sum(naps) < 600
    assert max(naps) <= 0.5, "somebody may ask it to end"
    assert served(world) == [("run", NOW, 0)], "the slot is that of the start"
    naps.clear()
    assert entry.call(("run", str(world.job())), replace(outside(world), sleep=sleep)) == 0
    assert naps == []


def test_who_is_asked_to_end_while_it_waits_ends_at_once_and_has_served_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, section='jitter = "10m"')
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    code = entry.call(("run", "--scheduled", str(world.job())), replace(outside(world), sleep=sleep))
    assert (code, len(naps)) == (entry.INTERRUPTED, 1)
    assert signal.getsignal(signal.SIGTERM) == before
    assert (served(world), ran(world)) == ([], [])
