"""A job that waits its part must still come in time: before its next slot, and best with its whole deadline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.agents import directory
from reconciler.cli import fitting, scheduling
from reconciler.cli.commands import NAMES
from reconciler.cli.lines import Line, Mark
from reconciler.cli.scheduling import part
from reconciler.cli.world import Call, Common, World
from reconciler.config import load
from reconciler.schedule import called, parse
from tests.e2e.world import World as Office

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
WAITS = part("acme", timedelta(minutes=10))


def said(folder: Path, section: str, crontab: str) -> list[Line]:
    job = load(Office(folder, section=section).job(), {})
    call = Call(World(environ={}, cwd=folder, clock=lambda: NOW), Common(), NAMES)
    lines = scheduling.on(call, job, parse(crontab).entries)
    return list(fitting.fits(call, job, directory(job, {}), lines))


@pytest.mark.parametrize(
    ("section", "expression", "mark"),
    [
        ('jitter = "10m"', "* * * * *", Mark.PROBLEM),
        ('jitter = "10m"', "0 * * * *", Mark.OK),
        ('jitter = "10m"\ndeadline = "59m"', "0 * * * *", Mark.NOTE),
    ],
)
def test_what_waiting_leaves_of_the_time_to_the_next_slot_is_said(
    section: str, expression: str, mark: Mark, tmp_path: Path
) -> None:
    assert timedelta(minutes=1) < WAITS < timedelta(minutes=10)
    [line] = said(tmp_path, section, f"CRON_TZ=UTC\n{expression} reconcile run acme\n")
    assert (line.name, line.mark) == ("jitter", mark)
    assert line.says.startswith(f"each run starts {int(WAITS.total_seconds())} s after its slot")


def test_nothing_is_said_of_a_job_that_does_not_wait_or_that_nothing_starts(tmp_path: Path) -> None:
    assert said(tmp_path, "", "* * * * * reconcile run acme\n") == []
    (tmp_path / "crm.db").unlink()
    assert said(tmp_path, 'jitter = "10m"', "* * * * * reconcile run other\n") == []


def test_a_line_that_sends_the_reports_of_a_job_that_tells_nobody_is_named(tmp_path: Path) -> None:
    words = ("run acme", "report acme", "report -q --send acme")
    crontab = "".join(f"{hour} 6 * * * reconcile {each}\n" for hour, each in enumerate(words))
    [line] = said(tmp_path, "", crontab)
    assert (line.name, line.mark) == ("crontab line 3", Mark.NOTE)
    (tmp_path / "crm.db").unlink()
    heard = '[report.mail]\nto = ["ops@acme.example"]\nfrom = "r@acme.example"\nsmtp = "env:SMTP_URL"\n'
    assert said(tmp_path, f"\n{heard}", crontab) == []


def test_a_line_of_this_job_that_the_program_would_refuse_is_a_problem_of_its_check(tmp_path: Path) -> None:
    words = ("run acme --scheduled", "report acme --sned", "report other --sned")
    (tmp_path / "crontab").write_text("".join(f"{hour} 6 * * * reconcile {each}\n" for hour, each in enumerate(words)))
    job = load(Office(tmp_path).job(), {})
    call = Call(World(environ={}, cwd=tmp_path, clock=lambda: NOW), Common(), NAMES)
    [line] = fitting.lines(call, job, directory(job, {}))
    assert (line.name, line.mark) == ("crontab line 2", Mark.PROBLEM)
    assert line.says.startswith("`reconcile report acme --sned` is refused: No such option: --sned")


@pytest.mark.parametrize(
    ("machine", "crontab", "is_said"),
    [
        ("America/Chicago", "CRON_TZ=UTC\n", True),
        ("Europe/London", "CRON_TZ=UTC\n", True),  # the same in winter
        ("Etc/UTC", "CRON_TZ=UTC\n", False),
        ("America/Chicago", "", False),
    ],
)
def test_a_zone_that_is_not_the_machines_is_named(machine: str, crontab: str, is_said: bool, tmp_path: Path) -> None:
    call = Call(World(environ={"TZ": machine}, cwd=tmp_path, clock=lambda: NOW), Common(), NAMES)
    entries = parse(f"{crontab}0 6 * * * reconcile run acme\n0 7 * * * reconcile run acme --full\n").entries
    found = list(fitting.elsewhere(call, [(entry, called(entry.words, NAMES)) for entry in entries]))
    assert [(line.name, line.mark) for line in found] == [("crontab", Mark.NOTE)] * is_said
    assert all(line.says.startswith(f"CRON_TZ=UTC, and this machine's clock is in {machine}") for line in found)
