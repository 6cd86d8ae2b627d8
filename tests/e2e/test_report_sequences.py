"""Reports after one another: what a run found is told by one of them, once, whatever becomes of it later."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler import run as pipeline
from reconciler.config import load
from reconciler.model import Acceptance
from reconciler.report.look import Mood
from reconciler.report.report import Report, Row
from reconciler.reporting import Asked, desk, report_of
from reconciler.selecting import Filter
from reconciler.store import accepted
from tests.e2e.test_journal import Losing, run_with
from tests.e2e.test_recording import day_of
from tests.e2e.test_reporting import delivery, later, write
from tests.e2e.world import NOW, World, event, planned, stamp

Make = Callable[..., World]
ANN = "ann@acme.example"
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
ONE = NOW + 9 * DAY
OTHER = ONE + 3 * HOUR


def told(world: World, **asked: Any) -> tuple[Report, list[Row]]:
    """Make the report that is due, and count it as sent."""
    job = load(world.job(), world.environ)
    with (
        desk(job, world.environ, clock=world.clock) as at,
        report_of(at, Asked(word="acme", channel="ops", **asked)) as made,
    ):
        report, rows = made.report, list(made.report.rows())
    kind = "urgent" if report.is_urgent else "report"
    write(world, delivery(report.until, kind=kind, digest=report.digest, since_at=int(report.since.timestamp())))
    return report, rows


def figures(report: Report) -> Mapping[str, tuple[int, int]]:
    return {one.name: (one.count, one.new) for one in report.figures if one.count}


def shows(world: World, start: datetime, *, modified: datetime | None = None) -> None:
    world.write(ANN, event("a", start, modified=stamp(modified) if modified else None))


def ran(world: World) -> list[tuple[str, str]]:
    later(world)
    return planned(world.run())


def accept(world: World, until: datetime) -> None:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        keys = [row["key"] for row in accepted.open_like(connection, setup.state, Filter())]
        given = Acceptance(by="kim", why="known", at=world.now, until=until)
        accepted.accept(connection, setup.state, keys, given)


# ---- back again -----------------------------------------------------------------------------------------------------


def test_what_was_told_as_fixed_is_news_when_it_is_back(make: Make) -> None:
    world = make()
    world.insert("a", ONE)
    shows(world, OTHER)
    assert ran(world) == [("update", "done")]
    assert figures(told(world)[0])["fixed"] == (1, 1)
    world.sql("UPDATE appointments SET starts_at = ?, version = 7", f"{ONE:%Y-%m-%d %H:%M:%S}")
    ran(world)
    report, rows = told(world)
    assert [row.standing.is_open for row in rows] == [True]
    assert not report.is_quiet
    assert figures(report)["open"] == (1, 1)


def test_what_is_written_again_and_again_is_found_as_often_as_it_is_fixed(make: Make) -> None:
    world = make(policy='first = "calendar"')
    world.insert("a", ONE)
    shows(world, ONE)
    ran(world)
    for start in (OTHER, ONE, OTHER):
        shows(world, start, modified=world.now)
        assert ran(world) == [("update", "done")]
    day = day_of(world)
    assert (day["found"], day["fixed"]) == (3, 3)


# ---- pending --------------------------------------------------------------------------------------------------------


def test_what_was_told_as_open_and_changed_a_moment_before_it_was_settled_is_told_as_settled(make: Make) -> None:
    world = make(allow=())
    shows(world, ONE)
    ran(world)
    assert figures(told(world)[0])["open"] == (1, 1)
    later(world)
    shows(world, OTHER, modified=world.now - timedelta(minutes=1))
    world.run()
    told(world)
    world.insert("a", OTHER)
    ran(world)
    assert figures(told(world)[0])["resolved"][0] == 1


# ---- accepted -------------------------------------------------------------------------------------------------------


def test_what_was_accepted_until_a_day_is_news_after_that(make: Make) -> None:
    world = make(allow=())
    shows(world, ONE)
    ran(world)
    accept(world, world.now + DAY)
    assert figures(told(world)[0])["accepted"] == (1, 1)
    later(world, 30)
    world.run()
    report, _ = told(world)
    assert figures(report)["held"] == (1, 1)
    assert not report.is_quiet
    ran(world)
    assert told(world)[0].is_quiet, "it is told as news once"


# ---- what nobody knew -----------------------------------------------------------------------------------------------


def test_what_a_run_wrote_before_it_died_is_told_as_fixed(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    ran(world)
    told(world)
    shows(world, ONE)
    with monkeypatch.context() as dying, pytest.raises(RuntimeError):
        dying.setattr(pipeline, "finished", _die)
        ran(world)
    assert len(world.rows()) == 1
    assert ran(world) == []
    assert figures(told(world)[0])["fixed"][0] == 1
    assert day_of(world)["fixed"] == 1


def _die(*_: object) -> None:
    raise RuntimeError


def test_a_write_whose_fate_was_learnt_a_report_later_is_told_as_fixed(make: Make) -> None:
    world = make()
    ran(world)
    shows(world, ONE)
    later(world)
    assert run_with(world, Losing).exit_code == 5
    told(world)
    assert ran(world) == []
    report, rows = told(world)
    assert figures(report)["fixed"][0] == 1
    assert [row.standing for row in rows] == ["fixed"]
    assert day_of(world)["fixed"] == 1


# ---- not seen -------------------------------------------------------------------------------------------------------


def test_a_calendar_that_is_seen_again_is_not_told_as_unseen_because_another_of_its_agent_is_not(make: Make) -> None:
    world = make(sources=_TWO_OF_ONE_AGENT)
    world.file("two@x").write_text("no calendar")
    world.file(ANN).write_text("no calendar")
    ran(world)
    assert len(told(world)[0].unseen) == 2
    shows(world, ONE)
    ran(world)
    report, _ = told(world)
    assert [(one.source) for one in report.unseen] == ["second"]


def test_what_nobody_could_look_at_is_not_told_as_settled(make: Make) -> None:
    world = make(allow=())
    shows(world, ONE)
    ran(world)
    told(world)
    world.file(ANN).write_text("no calendar")
    ran(world)
    report, rows = told(world)
    assert [row.standing for row in rows if row.event == "a"] == ["held"]
    assert (day_of(world)["resolved"], "resolved" in figures(report)) == (0, False)


def test_a_calendar_that_is_seen_again_is_not_told_as_unseen_because_the_crm_is_not(make: Make) -> None:
    world = make()
    world.file(ANN).write_text("no calendar")
    ran(world)
    assert len(told(world)[0].unseen) == 1
    shows(world, ONE)
    world.sql("ALTER TABLE appointments RENAME TO hidden")
    ran(world)
    report, _ = told(world)
    assert [one.name for one in report.unseen] == ["the CRM"]


_TWO_OF_ONE_AGENT = """
[[source]]
kind = "ics"
name = "first"
agent = "ann@acme.example"
path = "ann.ics"
[[source]]
kind = "ics"
name = "second"
agent = "ann@acme.example"
path = "two.ics"
"""


# ---- refused --------------------------------------------------------------------------------------------------------


def test_a_refusal_stays_told_though_a_command_ran_meanwhile(make: Make) -> None:
    world = make(limits='create = "0"')
    shows(world, ONE)
    ran(world)
    assert told(world, urgent=True)[0].mood is Mood.REFUSED
    later(world)
    world.run(command="resolve", only=None)
    report, _ = told(world)
    assert report.mood is Mood.REFUSED, "plans are refused, whatever a command about something else came to"
    ran(world)
    urgent, _ = told(world, urgent=True)
    assert urgent.is_quiet, "it is the same refusal"
