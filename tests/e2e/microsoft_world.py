"""A brokerage whose agents live in Outlook: O365's own connection over HTTP, the stand-in for Graph behind it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.quota import Quota
from reconciler.run import Setup
from reconciler.simulator.graph import GraphSimulator
from reconciler.simulator.graph_mailboxes import TENANT, Mailbox
from reconciler.simulator.graph_sign_in import CLIENT, READ, SCRIBE, SECRET, USERS, WRITE, secret_of
from tests.e2e.google_world import Waiting
from tests.e2e.world import CLIENT as JANE
from tests.e2e.world import NOW, World

CID, DEE = "cid@acme.example", "dee@acme.example"
DENVER = ZoneInfo("America/Denver")


def times(start: datetime, *, hours: float = 1, zone: str = "UTC") -> dict[str, Any]:
    """Return when an event is, as Graph takes it: local time, and the zone."""
    local = start.astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    end = (start + timedelta(hours=hours)).astimezone(ZoneInfo(zone)).replace(tzinfo=None)
    return {
        "start": {"dateTime": local.isoformat(), "timeZone": zone},
        "end": {"dateTime": end.isoformat(), "timeZone": zone},
    }


def showing(name: str, start: datetime = NOW + timedelta(days=2), *, client: str | None = JANE, **more: Any) -> Any:
    """Return an appointment with a client."""
    guest = {"type": "required", "emailAddress": {"address": client}, "status": {"response": "accepted"}}
    return {"id": name, "subject": "Showing", "attendees": [guest] if client else [], **times(start), **more}


def weekly(start: datetime, *, count: int = 4) -> dict[str, Any]:
    """Return a recurrence on the weekday of `start`."""
    pattern = {"type": "weekly", "interval": 1, "daysOfWeek": [f"{start:%A}".lower()]}
    day = f"{start:%Y-%m-%d}"
    span = {"type": "numbered", "startDate": day, "numberOfOccurrences": count, "recurrenceTimeZone": "America/Denver"}
    return {"recurrence": {"pattern": pattern, "range": span}, **times(start, zone="America/Denver")}


@dataclass
class MicrosoftWorld(World):
    """One job whose calendars are Outlook's.

    `sync` is the direction of the job. With `scribe` it writes by an application of its own (`auth_write`), and the one
    that reads may do nothing else. `more` are further lines of the job file.
    """

    server: GraphSimulator = field(default_factory=GraphSimulator)
    waiting: Waiting = field(default_factory=Waiting)
    sync: str = ""
    scribe: bool = False
    more: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ = {**self.environ, "MS_SECRET": SECRET, "MS_SCRIBE": secret_of(SCRIBE)}
        self.policy = (f'sync = "{self.sync}"\n' if self.sync else "") + self.policy
        self.sources = (
            f'[[source]]\nkind = "microsoft"\nagents = {json.dumps(list(self.agents))}\n'
            f'endpoint = "{self.server.url}"\n'
            f'auth = {{ tenant = "{TENANT}", client_id = "{CLIENT}", client_secret = "env:MS_SECRET", '
            f'token_uri = "{self.server.token_uri}" }}\n{self._separated()}{self.more}'
        )
        for agent in self.agents:
            self.mailbox(agent)

    def _separated(self) -> str:
        """Give the job a second application, and the first one leave to read alone."""
        if not self.scribe:
            return ""
        self.server.accounts.roles = {READ, USERS}
        self.server.accounts.others[SCRIBE] = {WRITE}
        return (
            f'auth_write = {{ tenant = "{TENANT}", client_id = "{SCRIBE}", client_secret = "env:MS_SCRIBE", '
            f'token_uri = "{self.server.token_uri}" }}\n'
        )

    @property
    def mailed(self) -> list[str]:
        """Return everybody whom Exchange mailed about anything."""
        return [address for address, _ in self.server.world.mails]

    def shown(self, agent: str = CID) -> list[dict[str, Any]]:
        """Return the events of a mailbox, as Exchange keeps them."""
        return self.mailbox(agent).events()

    def write(self, agent: str, *events: str) -> None:
        """Write no files: there are none."""

    def mailbox(self, agent: str = CID) -> Mailbox:
        return self.server.mailbox(agent, "America/Denver")

    def setup(self, *, dry_run: bool = False) -> Setup:
        def quota(provider: str, budget: Any, engine: Any) -> Quota:
            return Quota(provider, budget, engine, clock=self.waiting.clock, sleep=self.waiting.sleep)

        job = load(self.job(), self.environ)
        return assemble(job, self.environ, clock=lambda: self.now, dry_run=dry_run, quota=quota)

    def asked(self, kind: str = "calendar") -> int:
        """Return how many requests the server has seen since this was last asked."""
        seen = len(self.server.requests(kind))
        before, self._asked[kind] = self._asked.get(kind, 0), seen
        return seen - before

    _asked: dict[str, int] = field(default_factory=dict)


@contextmanager
def microsoft_world(folder: Path, **settings: Any) -> Iterator[MicrosoftWorld]:
    """Run the stand-in on the world's own clock while a test lasts."""
    worlds: list[MicrosoftWorld] = []
    with GraphSimulator(clock=lambda: worlds[0].now if worlds else NOW - timedelta(days=30)) as server:
        worlds.append(MicrosoftWorld(folder, server=server, **settings))
        yield worlds[0]
