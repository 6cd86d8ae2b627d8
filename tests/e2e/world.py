"""A brokerage on disk for end-to-end tests: real .ics files, a real SQL table and state, a clock that we hold."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.result import Result
from reconciler.run import Options, Setup, run
from reconciler.store.schema import journal, links

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
LONG_AGO = "20261101T000000Z"
CLIENT = "jane@mail.example"

TABLE = """
CREATE TABLE appointments (
  id INTEGER PRIMARY KEY, source_key TEXT UNIQUE, agent_email TEXT, contact_email TEXT, title VARCHAR(60),
  starts_at TEXT, ends_at TEXT, all_day INTEGER NOT NULL DEFAULT 0, location TEXT, status TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1, updated_at TEXT, notes TEXT DEFAULT 'by hand')
"""

JOB = """
name = "acme"
state = "{state}"
{sources}
[run]
{run}
[crm]
kind = "sql"
url = "sqlite:///crm.db"
table = "appointments"
time = "utc"
{crm}
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
closed = ["completed", "no_show"]
[policy]
allow = {allow}
internal_domains = ["acme.example"]
{policy}
[limits]
{limits}
"""


def stamp(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def event(
    uid: str,
    start: datetime = NOW + timedelta(days=2),
    *,
    hours: float = 1,
    client: str | None = CLIENT,
    extra: str = "",
    title: str = "Showing",
    modified: str | None = None,
) -> str:
    modified = modified or f"20261101T0000{sum(uid.encode()) % 60:02d}Z"  # equal ones would be an export's time
    attendee = f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{client}\r\n" if client else ""
    end = start + timedelta(hours=hours)
    return (
        f"BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:{LONG_AGO}\r\nLAST-MODIFIED:{modified}\r\nDTSTART:{stamp(start)}\r\n"
        f"DTEND:{stamp(end)}\r\nSUMMARY:{title}\r\n{attendee}{extra}END:VEVENT\r\n"
    )


def calendar(*events: str) -> str:
    return "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\n" + "".join(events) + "END:VCALENDAR\r\n"


@dataclass
class World:
    """One job in a folder. Each change is real: files are rewritten, rows updated; `now` is the time that runs see."""

    folder: Path
    state: str = "sqlite:///state.db"
    agents: tuple[str, ...] = ("ann@acme.example",)
    allow: tuple[str, ...] = ("create", "update", "cancel")
    policy: str = ""
    limits: str = ""
    section: str = ""
    crm: str = ""
    unmapped: tuple[str, ...] = ()  # columns that the job file does not name
    absence: str = "report"
    now: datetime = NOW
    ticks: timedelta = timedelta()  # by how much the clock moves each time somebody looks
    sources: str | None = None
    environ: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with closing(sqlite3.connect(self.folder / "crm.db")) as connection:
            connection.execute(TABLE)
        for agent in self.agents:
            self.write(agent)

    def clock(self) -> datetime:
        self.now += self.ticks
        return self.now

    # ---- the calendar side

    def write(self, agent: str, *events: str) -> None:
        self.file(agent).write_bytes(calendar(*events).encode())

    def file(self, agent: str) -> Path:
        return self.folder / f"{agent.partition('@')[0]}.ics"

    # ---- the CRM side

    def sql(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.folder / "crm.db")) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        return self.sql(f"SELECT {columns} FROM appointments ORDER BY id")  # noqa: S608

    def insert(self, key: str | None, start: datetime = NOW + timedelta(days=2), **values: Any) -> int:
        row = {
            "source_key": key,
            "agent_email": self.agents[0],
            "contact_email": CLIENT,
            "title": "Showing",
            "starts_at": f"{start:%Y-%m-%d %H:%M:%S}",
            "ends_at": f"{start + timedelta(hours=1):%Y-%m-%d %H:%M:%S}",
            "status": "scheduled",
            "location": "",
            "updated_at": "2026-10-01 00:00:00",
            **values,
        }
        names = ", ".join(row)
        marks = ", ".join("?" for _ in row)
        self.sql(f"INSERT INTO appointments ({names}) VALUES ({marks})", *row.values())  # noqa: S608
        return int(self.sql("SELECT max(id) FROM appointments")[0][0])

    # ---- runs

    def job(self) -> Path:
        sources = self.sources or "".join(
            f'[[source]]\nkind = "ics"\nname = "ics-{agent.partition("@")[0]}"\nagent = "{agent}"\n'
            f'path = "{self.file(agent).name}"\nabsence = "{self.absence}"\n'
            for agent in self.agents
        )
        text = JOB.format(
            state=self.state,
            sources=sources,
            crm=self.crm,
            allow=str(list(self.allow)).replace("'", '"'),
            policy=self.policy,
            limits=self.limits,
            run=self.section,
        )
        left_out = tuple(f"{name} = " for name in self.unmapped)
        path = self.folder / "acme.toml"
        path.write_text("".join(line for line in text.splitlines(keepends=True) if not line.startswith(left_out)))
        return path

    def setup(self, *, dry_run: bool = False) -> Setup:
        return assemble(load(self.job(), self.environ), self.environ, clock=lambda: self.now, dry_run=dry_run)

    def run(self, *, dry_run: bool = False, **options: Any) -> Result:
        with self.setup(dry_run=dry_run) as setup:
            return run(replace(setup, clock=self.clock), Options(**options))

    def dry(self, **options: Any) -> Result:
        return self.run(dry_run=True, **options)

    # ---- the state

    def journal(self) -> list[Any]:
        with self.setup(dry_run=True) as setup, setup.state.begin() as connection:
            return list(connection.execute(select(journal).order_by(journal.c.id)).mappings())

    def linked(self) -> list[str]:
        with self.setup(dry_run=True) as setup, setup.state.begin() as connection:
            return sorted(connection.execute(select(links.c.crm_id)).scalars())


def kinds(result: Result) -> list[str]:
    return sorted(finding.kind.value for finding in result.findings)


def planned(result: Result) -> list[tuple[str, str]]:
    return sorted((delta.action.value, delta.outcome.value) for delta in result.deltas)
