"""Grow a small brokerage's state by the program that is on the path, and keep it as SQL (README.md beside this).

    PYTHONPATH=OLD python tests/states/grow.py VERSION

It calls nothing but commands that every version has, and those of its own where they are there.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from reconciler.cli import entry
from reconciler.cli.world import World

HERE = Path(__file__).parent
BEGUN = datetime(2026, 11, 20, 12, tzinfo=UTC)
ENDED = BEGUN + timedelta(days=2)
EVENT = "BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20261101T000000Z\r\nLAST-MODIFIED:{modified}\r\n{lines}END:VEVENT\r\n"
JANE = "ATTENDEE;PARTSTAT=ACCEPTED:mailto:jane@mail.example"
JOHN = "ATTENDEE;PARTSTAT=ACCEPTED:mailto:john@mail.example"
SERIES = "DTSTART:20261123T180000Z\r\nDTEND:20261123T190000Z\r\nRRULE:FREQ=WEEKLY;COUNT=4"
TABLE = """
CREATE TABLE appointments (
  id INTEGER PRIMARY KEY, source_key TEXT UNIQUE, agent_email TEXT, contact_email TEXT, title TEXT,
  starts_at TEXT, ends_at TEXT, all_day INTEGER NOT NULL DEFAULT 0, location TEXT, status TEXT NOT NULL,
  version INTEGER NOT NULL DEFAULT 1, updated_at TEXT)
"""


def showing(uid: str, day: int, *more: str, modified: str = "20261101T010203Z") -> str:
    """Return an hour with a client on a day of November."""
    when = f"DTSTART:202611{day}T150000Z\r\nDTEND:202611{day}T160000Z\r\nSUMMARY:Showing {uid}"
    lines = "".join(f"{line}\r\n" for line in (when, *(more or (JANE,))))
    return EVENT.format(uid=uid, modified=modified, lines=lines)


def series(modified: str = "20261101T020304Z") -> str:
    """Return a showing every week, one of which was called off."""
    lines = f"{SERIES}\r\nEXDATE:20261130T180000Z\r\nSUMMARY:Every week\r\n{JOHN}\r\n"
    return EVENT.format(uid="weekly", modified=modified, lines=lines)


def all_day(uid: str) -> str:
    """Return a day with a client."""
    lines = f"DTSTART;VALUE=DATE:20261127\r\nDTEND;VALUE=DATE:20261128\r\nSUMMARY:Open house\r\n{JOHN}\r\n"
    return EVENT.format(uid=uid, modified="20261101T030405Z", lines=lines)


def calendar(folder: Path, agent: str, *events: str) -> None:
    """Write an agent's calendar."""
    text = "".join(("BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//states//EN\r\n", *events, "END:VCALENDAR\r\n"))
    (folder / f"{agent}.ics").write_bytes(text.encode())


def begin(folder: Path) -> None:
    """Make both sides, of which the CRM knows a part, and one appointment that is nobody's here."""
    shutil.copy(HERE / "acme.toml", folder)
    lunch = showing("lunch", 24, "CLASS:PUBLIC")
    secret = showing("secret", 25, "CLASS:PRIVATE", JANE)
    calendar(folder, "ann", showing("a1", 24), showing("a2", 25), showing("a3", 26), lunch, secret, series())
    calendar(folder, "bob", showing("b1", 27), showing("b2", 28, JOHN), all_day("house"))
    rows = [("a1", "ann", "2026-11-24 15:00:00", "jane"), ("b1", "bob", "2026-11-27 15:30:00", "jane")]
    with closing(sqlite3.connect(folder / "crm.db")) as crm, crm:
        crm.execute(TABLE)
        for key, agent, start, client in rows:
            put(crm, key, agent, start, client)
        put(crm, None, "ann", "2026-11-29 09:00:00", "mary")


def put(crm: sqlite3.Connection, key: str | None, agent: str, start: str, client: str) -> None:
    """Insert a row as a live integration would."""
    end = f"{start[:11]}{int(start[11:13]) + 1:02d}{start[13:]}"
    values = (key, f"{agent}@acme.example", f"{client}@mail.example", f"Showing {key}", start, end, "", "scheduled")
    names = "source_key, agent_email, contact_email, title, starts_at, ends_at, location, status, updated_at"
    crm.execute(f"INSERT INTO appointments ({names}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '2026-11-01')", values)  # noqa: S608


def move_on(folder: Path) -> None:
    """Let people work for a day: one is moved, one cancelled, one new; a client is another one in the CRM."""
    late = "20261121T080000Z"
    gone = showing("a3", 26, JANE, "STATUS:CANCELLED", modified=late)
    moved = showing("a2", 30, modified=late)
    lunch = showing("lunch", 24, "CLASS:PUBLIC")
    secret = showing("secret", 25, "CLASS:PRIVATE", JANE)
    calendar(folder, "ann", showing("a1", 24), moved, gone, lunch, secret, series())
    new = showing("b3", 29, modified=late)
    calendar(folder, "bob", showing("b1", 27), showing("b2", 28, JOHN), new, all_day("house"))
    with closing(sqlite3.connect(folder / "crm.db")) as crm, crm:
        changes = "contact_email = 'else@mail.example', version = version + 1, updated_at = '2026-11-21 09:00:00'"
        crm.execute(f"UPDATE appointments SET {changes} WHERE source_key = 'b2'")  # noqa: S608


def grow(folder: Path) -> None:
    """Run the job for two days."""
    begin(folder)
    reconcile(folder, BEGUN, "run", "acme.toml")
    reconcile(folder, BEGUN + timedelta(hours=1), "run", "acme.toml")
    move_on(folder)
    reconcile(folder, BEGUN + timedelta(days=1), "run", "acme.toml")
    if find_spec("reconciler.cli.accepting") is not None:
        words = ("--kind", "wrong_contact", "--by", "Ann", "--why", "her sister", "--until", "2026-12-20")
        reconcile(folder, BEGUN + timedelta(days=1, hours=1), "accept", *words, "--job", "acme.toml")
    reconcile(folder, ENDED, "run", "acme.toml")


def reconcile(folder: Path, now: datetime, *words: str) -> None:
    """Type a command at a certain time."""
    environ: Mapping[str, str] = {}
    code = entry.call(words, World(environ=environ, cwd=folder, clock=lambda: now))
    if code not in {0, 5}:
        sys.exit(f"{words} at {now:%F %R} ended with {code}")


def keep(folder: Path, version: str) -> None:
    """Write both databases down as SQL."""
    for name, target in (("state.db", f"{version}.sql"), ("crm.db", f"{version}.crm.sql")):
        with closing(sqlite3.connect(folder / name)) as database:
            (HERE / target).write_text("".join(f"{line}\n" for line in database.iterdump()))
    for agent in ("ann", "bob"):
        shutil.copy(folder / f"{agent}.ics", HERE)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        os.chdir(place)
        grow(Path(place))
        keep(Path(place), sys.argv[1])
