"""Google calendars for measuring: the stand-in in a process of its own, a CRM that agrees with it, and two job files.

Usage: python benchmarks/stand_in.py FOLDER CALENDARS EVENTS serves until its standard input ends. Each line it reads
is answered with the number of requests it has seen since the last one, by kind: the server's ledger, no client's word.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import brokerage
from measure import HERE

if TYPE_CHECKING:
    from collections.abc import Iterator

ROBOT, DELEGATED = "robot", "delegated"
"""One token for all calendars, or one an agent: the job files are called like this."""

EVERYTHING = 1_000_000_000
BUDGET = f"[budget.google]\nper_minute = {EVERYTHING}\nper_agent_minute = {EVERYTHING}\nper_day = {EVERYTHING}\n"
"""So much that no request ever waits; each is charged to the ledger as it always is."""

AUTH = {ROBOT: 'token = "file:token"', DELEGATED: 'service_account = "file:google.json"'}

TALK = "Bring the keys, the disclosure and the floor plan; park in the drive. " * 6


def agent(number: int) -> str:
    return f"agent-{number}@acme.example"


def events(calendar: int, count: int, since: datetime) -> Iterator[dict[str, Any]]:
    """Yield one agent's events as Google's API says them, five hours apart from `since` on."""
    for number in range(count):
        name = f"evt{calendar:06}{number:06}"
        start = since + timedelta(hours=5 * number)
        yield {
            "id": name,
            "summary": f"Showing {number} Oak Street",
            "description": TALK,
            "location": f"{number} Oak Street, Springfield",
            "start": {"dateTime": start.isoformat(), "timeZone": "UTC"},
            "end": {"dateTime": (start + timedelta(hours=1)).isoformat(), "timeZone": "UTC"},
            "attendees": [
                {"email": agent(calendar), "responseStatus": "accepted"},
                {"email": f"client{name}@mail.example", "displayName": "Jane Doe", "responseStatus": "accepted"},
            ],
            "hangoutLink": f"https://meet.google.com/{name}",
            "conferenceData": {"conferenceId": name, "entryPoints": [{"uri": f"https://meet.google.com/{name}"}]},
        }


def _row(number: int, calendar: int, event: dict[str, Any]) -> tuple[object, ...]:
    start, end = (datetime.fromisoformat(event[side]["dateTime"]) for side in ("start", "end"))
    return (
        number,
        f"{event['id']}@google.com",
        agent(calendar),
        event["attendees"][1]["email"],
        event["summary"],
        f"{start:%Y-%m-%d %H:%M:%S}",
        f"{end:%Y-%m-%d %H:%M:%S}",
        0,
        event["location"],
        "scheduled",
        1,
        f"{start - timedelta(days=90):%Y-%m-%d %H:%M:%S}",
    )


# ---- the server's process -------------------------------------------------------------------------------------------


def serve(folder: Path, calendars: int, each: int) -> None:
    from reconciler.simulator.google import GoogleSimulator, Quotas
    from reconciler.simulator.google_sign_in import ROBOT as ACCOUNT

    started = datetime.now(UTC)
    times = [started - timedelta(days=30)]  # when the events were made: nothing about them is young
    quotas = Quotas(per_minute=EVERYTHING, per_user_minute=EVERYTHING, per_day=EVERYTHING)
    with GoogleSimulator(clock=lambda: times[0] if times else datetime.now(UTC), quotas=quotas) as server:
        rows = []
        for number in range(calendars):
            calendar = server.calendar(agent(number))
            calendar.share(ACCOUNT, "writer")
            for event in events(number, each, started.replace(minute=0, second=0, microsecond=0) + timedelta(hours=3)):
                calendar.insert(event)
                rows.append(_row(len(rows) + 1, number, event))
        times.clear()
        (folder / "google.json").write_text(json.dumps(server.service_account_info()))
        (folder / "token").write_text(server.token(hours=24))
        _write(folder, rows, calendars, server.url)
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps({kind: len(server.requests(kind)) for kind in ("calendar", "token")}), flush=True)
            server.ledger.clear()


def _write(folder: Path, rows: list[tuple[object, ...]], calendars: int, url: str) -> None:
    """Write the CRM, the agents and the job files."""
    for name in ("google.json", "token"):
        (folder / name).chmod(0o600)
    (folder / "agents.csv").write_text("agent\n" + "".join(f"{agent(number)}\n" for number in range(calendars)))
    with contextlib.closing(sqlite3.connect(folder / "crm.db")) as connection, connection:
        connection.execute(brokerage.TABLE)
        connection.executemany("INSERT INTO appointments VALUES (?,?,?,?,?,?,?,?,?,?,?,?)", rows)
    for name, auth in AUTH.items():
        (folder / f"{name}.toml").write_text(_job(name, auth, url))


def _job(name: str, auth: str, url: str) -> str:
    """Return the benchmark's own job file, reading Google instead of nothing."""
    source = (
        f'source = [{{ kind = "google", agents = {{ file = "agents.csv" }}, auth = {{ {auth} }}, endpoint = "{url}" }}]'
    )
    lines = [source if line.startswith("source = ") else line for line in brokerage.JOB.splitlines()]
    return "\n".join([*lines, BUDGET]).replace("state.db", f"{name}.db")


# ---- who measures ---------------------------------------------------------------------------------------------------


class StandIn:
    """The server as the measuring process sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def ask(self) -> dict[str, int]:
        """Return how many requests of each kind were made since this was last asked."""
        stdin, stdout = self._process.stdin, self._process.stdout
        if stdin is None or stdout is None:
            raise TypeError("a server without pipes")
        stdin.write("?\n")
        stdin.flush()
        seen: dict[str, int] = json.loads(stdout.readline())
        return seen


@contextmanager
def stand_in(folder: Path, calendars: int, each: int, script: str = "stand_in.py", *words: str) -> Iterator[StandIn]:
    """Serve while the block lasts: with `words` before all else, as another script does."""
    command = [sys.executable, str(HERE / script), *words, str(folder), str(calendars), str(each)]
    with subprocess.Popen(  # noqa: S603  # our own words
        command, cwd=HERE.parent, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None or not process.stdout.readline():
            raise RuntimeError("the stand-in did not start")
        try:
            yield StandIn(process)
        finally:
            process.communicate()


if __name__ == "__main__":
    serve(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
