"""Causes from runs to reports: what runs write down is enough to say many findings as few causes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from reconciler import reporting
from reconciler.config import load
from reconciler.report.report import Report
from reconciler.reporting import Asked
from tests.e2e.world import NOW, World, event

Make = Callable[..., World]
NAMES = ("ann", "bob", "cid", "dee", "eve")
AGENTS = tuple(f"{name}@acme.example" for name in NAMES)
FEEDS = '[[source]]\nkind = "ics"\nname = "feeds"\nagents = { file = "agents.csv" }\n'


@pytest.fixture
def world(make: Make) -> World:
    """Make five agents whose feeds are one source, each with four appointments that both sides have."""
    world = make(agents=AGENTS, sources=FEEDS)
    rows = "".join(f"{agent},{name}.ics\n" for agent, name in zip(AGENTS, NAMES, strict=True))
    (world.folder / "agents.csv").write_text("agent,calendar\n" + rows)
    for agent in AGENTS:
        world.write(agent, *(event(f"{agent}-{number}", starts(number)) for number in range(4)))
    return world


def starts(number: int) -> datetime:
    return NOW + timedelta(days=2 + number)


def reported(world: World) -> Report:
    job = load(world.job(), world.environ)
    with (
        reporting.desk(job, world.environ, clock=world.clock) as desk,
        reporting.report_of(desk, Asked(word="acme")) as made,
    ):
        rows = list(made.report.rows())
        keys = {cause.key for cause in made.report.causes}
        assert {row.cause for row in rows} <= {"", *keys}
        return made.report


def test_feeds_that_are_gone_together_are_one_cause(world: World) -> None:
    world.run()
    world.now += timedelta(hours=1)
    for name in NAMES[2:]:
        (world.folder / f"{name}.ics").unlink()
    world.run()
    report = reported(world)
    [cause] = report.causes
    assert cause.title == "3 of 5 calendars of feeds can't be read"
    assert (cause.count, cause.is_new, cause.since) == (3, True, world.now)


def test_records_that_are_all_six_hours_early_are_one_cause(world: World) -> None:
    for agent in AGENTS[:2]:
        for number in range(4):
            at = NOW + timedelta(days=2 + number) - timedelta(hours=6)
            world.insert(f"{agent}-{number}", at, agent_email=agent)
    world.run()
    [cause] = reported(world).causes
    assert cause.title == "Records of 2 agents are 6 h early in the CRM"
    assert "8 records stand behind it." in cause.evidence
    [first, *_] = sorted(modified(f"{agent}-{number}") for agent in AGENTS[:2] for number in range(4))
    assert cause.since == first  # what each side says was written there last by then
    assert cause.since_said.startswith("since at least Sun 1 Nov 2026 00:00")


def modified(uid: str) -> datetime:
    return datetime(2026, 11, 1, 0, 0, sum(uid.encode()) % 60, tzinfo=UTC)  # as `event` has it


def test_what_an_integration_wrote_twice_is_one_cause_copies_and_all(world: World) -> None:
    world.run()
    world.now += timedelta(hours=1)
    for agent in AGENTS:
        for number in range(4):
            world.insert(f"copy-{agent}-{number}", starts(number), agent_email=agent)
    world.insert("typed in", starts(9))
    world.run()
    world.now += timedelta(hours=1)
    world.run()  # by now it is no moment old any more
    report = reported(world)
    [cause] = report.causes
    assert cause.title == "Bookings are in the CRM twice"
    assert cause.evidence[0] == "40 findings of 5 agents: 20 recorded twice, 20 missing in the calendar."
    assert cause.count == 40


def test_what_is_recorded_twice_and_in_no_calendar_is_missing_there(world: World) -> None:
    """Two records without an event: one of them is a copy, and the appointment itself is missing."""
    world.run()
    for agent in AGENTS:
        for key in (f"{copy}-{agent}-{number}" for copy in "ab" for number in range(4)):
            world.insert(key, starts(int(key[-1])) + timedelta(hours=3), agent_email=agent)
    world.now += timedelta(hours=1)
    world.run()
    [cause] = reported(world).causes
    assert cause.evidence[0] == "20 findings of 5 agents: recorded twice."
