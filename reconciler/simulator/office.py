"""Put the sample brokerage into a folder: calendar files, a CRM in SQLite, agents files and a job file.

Those who keep their calendar with a provider that stands beside it are read from there; all others have files.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from reconciler.simulator.brokerage import PEOPLE
from reconciler.simulator.exporters import export

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from reconciler.simulator.brokerage import Brokerage, Person
    from reconciler.simulator.hosted import Hosted

JOB: Final = "sample"

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS appointments (
    id INTEGER PRIMARY KEY,
    source_key TEXT UNIQUE,
    agent_email TEXT NOT NULL,
    contact_email TEXT,
    title TEXT,
    starts_at TEXT NOT NULL,
    ends_at TEXT NOT NULL,
    all_day INTEGER NOT NULL DEFAULT 0,
    location TEXT,
    status TEXT NOT NULL DEFAULT 'scheduled',
    version INTEGER NOT NULL DEFAULT 1,
    updated_at TEXT,
    origin TEXT,
    notes TEXT
)
"""

_INSERT: Final = """
INSERT INTO appointments VALUES (
    :id, :source_key, :agent_email, :contact_email, :title, :starts_at, :ends_at, :all_day, :location, :status,
    :version, :updated_at, :origin, :notes
)
"""

_JOB: Final = """\
# The sample brokerage of `reconcile demo`: its agents' calendars against one table.
name  = "sample"
state = "sqlite:///../state.db"
%(hosted)s
[[source]]
kind = "ics"
agents = { file = "agents.csv" }

[crm]
kind = "sql"
url = "sqlite:///../crm.db"
table = "appointments"
time = "utc"
set = { origin = "reconcile" }

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
allow = ["create", "update", "cancel"]
compare = ["start", "end", "all_day", "title", "location", "status", "contact"]
internal_domains = ["acme.example"]

[report]
title = "Acme Realty"
timezone = "America/Chicago"
"""


def furnish(folder: Path, *hosts: Hosted) -> Path:
    """Write what never changes, the job file and the agents; return the job file."""
    for name in ("calendars", "jobs"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    files = [f"{one.email},../calendars/{one.name.lower()}.ics,{one.zone}" for one in _with_files(hosts)]
    lines = "\n".join(("agent,calendar,timezone", *files))
    (folder / "jobs/agents.csv").write_text(f"{lines}\n", "utf-8")
    job = folder / "jobs" / f"{JOB}.toml"
    job.write_text(_JOB % {"hosted": "".join(host.sign_up(folder / "jobs") for host in hosts)}, "utf-8")
    return job


def _with_files(hosts: tuple[Hosted, ...]) -> tuple[Person, ...]:
    elsewhere = {person for host in hosts for person in host.people}
    return tuple(person for person in PEOPLE if person not in elsewhere)


def settle_in(folder: Path, brokerage: Brokerage, now: datetime, *hosts: Hosted) -> None:
    """Make calendars and CRM say what `brokerage` says; rows that are right already are not touched."""
    for person in _with_files(hosts):
        torn = person.email in brokerage.torn
        content = export(person, brokerage.of(person), now, torn=torn)
        (folder / "calendars" / f"{person.name.lower()}.ics").write_bytes(content)
    for host in hosts:
        host.say(brokerage)
    with closing(sqlite3.connect(folder / "crm.db")) as connection, connection:
        connection.execute(_TABLE)
        _match_rows(connection, brokerage)


def _match_rows(connection: sqlite3.Connection, brokerage: Brokerage) -> None:
    there = set(connection.execute("SELECT * FROM appointments"))
    wanted = {tuple(asdict(row).values()): row for row in brokerage.rows.values()}
    stale = [(row[0],) for row in there if row not in wanted]
    connection.executemany("DELETE FROM appointments WHERE id = ?", stale)
    fresh = [asdict(row) for values, row in wanted.items() if values not in there]
    connection.executemany(_INSERT, fresh)


def rows(folder: Path) -> dict[int, tuple[object, ...]]:
    """Return every row of the CRM as it stands, by id."""
    with closing(sqlite3.connect(folder / "crm.db")) as connection:
        return {row[0]: row for row in connection.execute("SELECT * FROM appointments ORDER BY id")}
