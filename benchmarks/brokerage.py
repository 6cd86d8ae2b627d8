"""A brokerage of any size for measuring: calendars that stand still, a CRM that agrees, and a drift of 1.5 % of it."""

from __future__ import annotations

import contextlib
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.agents import Directory
from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.model import Agent, Attendee, Calendar, Cursor, Event, Mode, Pull, Response, Span, Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.run import Setup
    from reconciler.sources import PullRequest

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
EVENTS_PER_AGENT = 200
DIFFERING = 0.015

JOB = """
name = "bench"
state = "sqlite:///state.db"
source = [{ kind = "ics", agent = "agent-0@acme.example", path = "calendars" }]
[crm]
kind = "sql"
url = "sqlite:///crm.db"
table = "appointments"
time = "utc"
[crm.columns]
id = "id"
key = "source_key"
agent = "agent_email"
contact = "contact_email"
title = "title"
start = "starts_at"
end = "ends_at"
all_day = "all_day"
location = "location"
status = "status"
version = "version"
updated = "updated_at"
[crm.status]
confirmed = "scheduled"
tentative = "scheduled"
cancelled = "cancelled"
[policy]
compare = ["start", "end", "all_day", "title", "location", "status", "contact"]
internal_domains = ["acme.example"]
"""

TABLE = """
CREATE TABLE appointments (
  id INTEGER PRIMARY KEY, source_key TEXT NOT NULL UNIQUE, agent_email TEXT NOT NULL, contact_email TEXT,
  title TEXT, starts_at TEXT NOT NULL, ends_at TEXT NOT NULL, all_day INTEGER NOT NULL DEFAULT 0,
  location TEXT, status TEXT NOT NULL, version INTEGER NOT NULL DEFAULT 1, updated_at TEXT
)
"""


class Still:
    """A source whose calendars are read whole once and stand still from then on: what most polls find."""

    def scope(self, calendar: Calendar) -> str:
        return calendar.agent.email

    def pull(self, request: PullRequest) -> Pull:
        number = int(request.calendar.agent.email.partition("-")[2].partition("@")[0])
        if request.cursor is not None:
            return Pull(calendar=request.calendar, mode=Mode.INCREMENTAL, cursor=request.cursor, at=request.now)
        wide = Window(request.window.start, request.window.end + timedelta(days=7))
        cursor = Cursor("1", wide, "", request.now)
        events = list(events_of(number))
        return Pull(calendar=request.calendar, mode=Mode.FULL, cursor=cursor, at=request.now, events=events, zone="UTC")


def start_of(number: int) -> datetime:
    """Spread appointments over the window: one agent's never overlap."""
    return NOW.replace(hour=0) + timedelta(hours=(number % EVENTS_PER_AGENT) * 7 + 1)


def events_of(agent: int) -> Iterator[Event]:
    for number in range(agent * EVENTS_PER_AGENT, (agent + 1) * EVENTS_PER_AGENT):
        start = start_of(number)
        yield Event(
            id=f"evt{number}",
            uid=f"evt{number}@acme.example",
            span=Span(start, start + timedelta(hours=1)),
            title=f"Showing {number} Oak Street",
            location=f"{number} Oak Street, Springfield",
            organizer=f"agent-{agent}@acme.example",
            attendees=(Attendee(f"client{number}@mail.example", Response.ACCEPTED),),
            modified=NOW - timedelta(days=20),
            etag=str(number),
        )


def crm_rows(size: int) -> Iterator[tuple[object, ...]]:
    """Yield the CRM's rows as they are when everything agrees: `COLUMNS`."""
    for number in range(size):
        start = start_of(number)
        yield (
            number + 1,
            f"evt{number}@acme.example",
            f"agent-{number // EVENTS_PER_AGENT}@acme.example",
            f"client{number}@mail.example",
            f"Showing {number} Oak Street",
            f"{start:%Y-%m-%d %H:%M:%S}",
            f"{start + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            0,
            f"{number} Oak Street, Springfield",
            "scheduled",
            1,
            "2026-11-10 00:00:00",
        )


def build(folder: Path, size: int) -> None:
    """Write the job file, the CRM, and the calendars' side as the same plain table, for those who compare tables."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.toml").write_text(JOB)
    (folder / "calendars").mkdir(exist_ok=True)
    for name in ("crm.db", "calendar.db"):
        with contextlib.closing(sqlite3.connect(folder / name)) as connection, connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(TABLE)
            connection.executemany("INSERT INTO appointments VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", crm_rows(size))


def drift(folder: Path) -> int:
    """Change 1.5 % of the CRM, spread over all of it: times, titles, places and clients in turn; return how many."""
    changes = (
        "starts_at = datetime(starts_at, '+' || (id % 50 + 10) || ' minutes')",
        "title = title || ' (moved)'",
        "location = 'to be told'",
        "contact_email = 'other' || id || '@mail.example'",
    )
    every, count = round(1 / DIFFERING), 0
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as connection, connection:
        for turn, change in enumerate(changes):
            mine = f"id % {every * len(changes)} = {every * turn + 7}"
            stamp = "version = version + 1, updated_at = '2026-11-22 17:40:00'"
            count += connection.execute(f"UPDATE appointments SET {change}, {stamp} WHERE {mine}").rowcount  # noqa: S608  # our own words
    return count


def setup(folder: Path, size: int, now: datetime) -> Setup:
    """Assemble the real run as of `now`, with calendars that stand still for a source."""
    made = assemble(load(folder / "job.toml", {}), {}, clock=lambda: now, dry_run=False)
    agents = [Agent(email=f"agent-{number}@acme.example") for number in range(size // EVENTS_PER_AGENT)]
    calendars = [Calendar(source="ics", kind="ics", agent=agent) for agent in agents]
    people = Directory.of(agents, calendars)
    made.reader._resolve = people.agent_of  # noqa: SLF001  # the job file names one agent, the benchmark makes the rest
    return replace(made, directory=people, sources={"ics": Still()})
