"""Limits at size: a first fill of hundreds, an outage of days, a leaver, and many small runs that would add up.

`make bench SIZES=large` fills a CRM from the calendars of five thousand agents.
"""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from reconciler import consent
from reconciler.model import Delta, Outcome
from reconciler.result import Result
from reconciler.store.consents import Approval, written_since
from reconciler.store.schema import journal
from tests.e2e.world import CLIENT, NOW, World, event

AGENTS = int(os.environ.get("AGENTS") or 400)
CANCELLED = "STATUS:CANCELLED\r\n"
DAY = timedelta(hours=24)


class Office(World):
    """A brokerage of any size: its agents in a file, one calendar each, and rows that are written many at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        lines = "".join(f"{agent},{self.file(agent).name}\n" for agent in self.agents)
        (self.folder / "agents.csv").write_text(f"agent,calendar\n{lines}")
        self.sources = f'[[source]]\nkind = "ics"\nagents = {{ file = "agents.csv" }}\nabsence = "{self.absence}"\n'

    def book(self, booked: Iterable[tuple[str, str, datetime]]) -> None:
        """Let the CRM hold these appointments: key, agent, start."""
        row = (
            "INSERT INTO appointments (source_key, agent_email, contact_email, title, starts_at, ends_at, status, "
            "location, updated_at) VALUES (?, ?, ?, 'Showing', ?, ?, 'scheduled', '', '2026-10-01 00:00:00')"
        )
        with closing(sqlite3.connect(self.folder / "crm.db")) as connection, connection:
            connection.executemany(
                row, ((key, agent, CLIENT, when(start), when(start + HOUR)) for key, agent, start in booked)
            )

    def live(self, agent: str = "%") -> int:
        query = "SELECT count(*) FROM appointments WHERE status = 'scheduled' AND agent_email LIKE ?"
        return int(self.sql(query, agent)[0][0])

    def approve(self, digest: str) -> None:
        approval = Approval(digest="", by="Jo", why="opening", origin="here", at=self.now, expires_at=self.now + DAY)
        with self.setup(dry_run=True) as setup:
            consent.approve(setup.state, digest, approval)


HOUR = timedelta(hours=1)


def when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def outcomes(result: Result) -> Counter[Outcome]:
    return Counter(delta.outcome for delta in result.deltas)


def people(count: int) -> tuple[str, ...]:
    return tuple(f"a{number}@acme.example" for number in range(count))


# ---- a first fill ---------------------------------------------------------------------------------------------------


def test_a_first_fill_of_hundreds_of_agents_goes_through_though_some_move_before_the_consent(tmp_path: Path) -> None:
    agents = people(AGENTS)
    world = Office(tmp_path, agents=agents)
    start = NOW + timedelta(days=3)
    for agent in agents:
        world.write(agent, event(f"of-{agent}", start))
    refused = world.run()
    assert (refused.exit_code, world.live()) == (4, 0)
    assert [(one.limit, one.found, one.allowed) for one in refused.violations] == [("create", AGENTS, 25)]
    moved, gone = agents[:15], agents[15:20]
    for agent in moved:
        world.write(agent, event(f"of-{agent}", start + timedelta(days=1), modified="20261122T120000Z"))
    for agent in gone:
        world.write(agent)
    world.approve(refused.digest)
    world.now += timedelta(hours=2)
    filled = world.run()
    [told] = filled.approvals
    assert told.covered == AGENTS - 20
    assert sorted(told.dropped) == sorted(f"of-{agent}" for agent in (*moved, *gone))
    assert outcomes(filled)[Outcome.FAILED] == 0
    world.now += timedelta(hours=2)
    last = world.run()
    assert (world.live(), last.status, last.exit_code) == (AGENTS - 5, "in_sync", 0)
    there = world.sql("SELECT count(*) FROM appointments WHERE starts_at = ?", when(start + timedelta(days=1)))
    assert there == [(15,)]


# ---- webhooks that were down over a weekend -------------------------------------------------------------------------

SATURDAY = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def diary(agent: str, count: int, *, late: int = 0, extra: str = "") -> list[str]:
    """Return appointments of an agent, each moved by minutes of its own: moved all alike they would be a time zone."""
    return [event(f"{n}-{agent}", slot(n) + timedelta(minutes=late * (n + 1)), extra=extra) for n in range(count)]


def slot(number: int) -> datetime:
    return SATURDAY + timedelta(days=4 + number // 3, hours=3 * (number % 3))


def in_order(deltas: Sequence[Delta]) -> bool:
    """Tell whether everything that went is at least as urgent as everything that has to wait."""
    ranks = [(one.outcome is not Outcome.DONE, one.severity.rank, one.start) for one in deltas]
    return ranks == sorted(ranks)


def test_after_three_days_without_webhooks_pace_repairs_the_most_urgent_first_and_all_in_time(tmp_path: Path) -> None:
    agents = people(40)
    world = Office(
        tmp_path, agents=agents, limits='over = "pace"\nday = 2', now=SATURDAY
    )  # 80 updates a run, 160 a day
    for agent in agents:
        world.write(agent, *diary(agent, 20))
    world.book((f"{n}-{agent}", agent, slot(n)) for agent in agents for n in range(20))
    assert world.run().status == "in_sync"
    leaver, others = agents[0], agents[1:]
    for agent in others[:20]:
        world.write(agent, *diary(agent, 10, late=7), *diary(agent, 20)[10:])
    world.write(leaver, *diary(leaver, 20, extra=CANCELLED))
    world.now += timedelta(days=3)
    done = []
    for _ in range(3):
        result = world.run()
        updates = [delta for delta in result.deltas if delta.action == "update"]
        assert (result.violations, result.exit_code, in_order(updates)) == ((), 5, True)
        assert {one.agent for one in result.withheld} == {leaver}
        done.append(outcomes_of(updates, Outcome.DONE))
        world.now += timedelta(minutes=10)
    assert done == [80, 80, 0], "the third run finds the day used up"
    world.now += DAY
    last = world.run()
    assert [delta.outcome for delta in last.deltas if delta.action == "update"] == [Outcome.DONE] * 40
    assert world.live(leaver) == 20, "what was withheld of one stopped nobody, and nobody's haste let it through"
    world.now += HOUR
    assert {delta.agent for delta in world.run().deltas} == {leaver}


def outcomes_of(deltas: Iterable[Delta], outcome: Outcome) -> int:
    return sum(1 for delta in deltas if delta.outcome is outcome)


# ---- somebody leaves ------------------------------------------------------------------------------------------------


def test_a_leaver_who_wipes_a_calendar_is_withheld_and_all_others_go_on(tmp_path: Path) -> None:
    agents = people(50)
    world = Office(tmp_path, agents=agents)
    for agent in agents:
        world.write(agent, *diary(agent, 8))
    world.book((f"{n}-{agent}", agent, slot(n)) for agent in agents for n in range(8))
    assert world.run().status == "in_sync"
    leaver, mover, canceller = agents[:3]
    world.write(leaver, *diary(leaver, 8, extra=CANCELLED))
    world.write(mover, *diary(mover, 8, late=7))
    world.write(canceller, *diary(canceller, 2, extra=CANCELLED), *diary(canceller, 8)[2:])
    seen: Counter[tuple[str | None, str, str]] = Counter()
    result = world.dry()
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        assert (result.exit_code, result.violations) == (5, ())
        assert "emptied" in {one.limit for one in result.withheld}
        assert {one.agent for one in result.withheld} == {leaver}
        seen += Counter((delta.agent, delta.action, delta.outcome) for delta in result.deltas if delta.agent != leaver)
    assert seen == {(mover, "update", "done"): 8, (canceller, "cancel", "done"): 2}
    assert (world.live(leaver), world.live(mover), world.live(canceller)) == (8, 8, 6)
    held = [delta for delta in result.deltas if delta.agent == leaver]
    assert [(delta.action, delta.outcome) for delta in held] == [("cancel", "held")] * 8
    assert result.asks is not None
    world.approve(result.asks.digest)
    assert world.run().exit_code == 0
    assert world.live(leaver) == 0, "a person may say that it is right"


# ---- drop by drop ---------------------------------------------------------------------------------------------------


def test_twelve_runs_in_an_hour_remove_no_more_than_a_day_may(tmp_path: Path) -> None:
    [ann] = people(1)
    world = Office(tmp_path, agents=(ann,), limits='cancel = "10"')  # and ten runs' worth of it in 24 hours
    world.write(ann, *diary(ann, 150))
    world.book((f"{n}-{ann}", ann, slot(n)) for n in range(150))
    assert world.run().status == "in_sync"
    codes, result = [], world.dry()
    for gone in range(10, 121, 10):
        world.write(ann, *diary(ann, gone, extra=CANCELLED), *diary(ann, 150)[gone:])
        world.now += timedelta(minutes=5)
        result = world.run()
        codes.append(result.exit_code)
    assert codes == [0] * 10 + [4] * 2
    assert world.live() == 50
    assert [(one.limit, one.found, one.allowed) for one in result.violations] == [("cancel", 20, 10), ("day", 120, 100)]
    world.write(ann, *diary(ann, 105, extra=CANCELLED), *diary(ann, 150)[105:])
    world.now += timedelta(hours=20)
    assert [(one.limit, one.found) for one in world.run().violations] == [("day", 105)], "the day rolls, no date counts"
    world.now += timedelta(hours=4)
    assert (world.run().exit_code, world.live()) == (0, 45)


def test_what_a_person_consented_to_leaves_the_day_its_room(tmp_path: Path) -> None:
    [ann] = people(1)
    world = Office(tmp_path, agents=(ann,), limits='cancel = "2"\nday = 1')
    world.write(ann, *diary(ann, 20))
    world.book((f"{n}-{ann}", ann, slot(n)) for n in range(20))
    world.run()
    world.write(ann, *diary(ann, 9, extra=CANCELLED), *diary(ann, 20)[9:])
    world.approve(world.run().digest)
    assert (world.run().exit_code, world.live()) == (0, 11)
    world.now += HOUR
    world.write(ann, *diary(ann, 11, extra=CANCELLED), *diary(ann, 20)[11:])
    assert (world.run().exit_code, world.live()) == (0, 9)
    world.now += HOUR
    world.write(ann, *diary(ann, 12, extra=CANCELLED), *diary(ann, 20)[12:])
    assert (world.run().exit_code, world.live()) == (4, 9)


@pytest.mark.parametrize("status", ["sent", "unknown"])
def test_what_nobody_confirmed_counts_against_the_day_as_if_it_were_written(tmp_path: Path, status: str) -> None:
    [ann] = people(1)
    world = Office(tmp_path, agents=(ann,), limits='create = "2"\nday = 1')
    world.write(ann, *diary(ann, 2))
    world.run()
    with world.setup() as setup, setup.state.begin() as connection:
        connection.execute(update(journal).values(status=status))
        counted = written_since(connection, setup.state, NOW - DAY)
    assert counted == {"create": 2}
