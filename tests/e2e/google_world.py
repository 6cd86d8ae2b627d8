"""A brokerage whose agents live in Google: the real client over HTTP, the stand-in behind it, a clock that we hold."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.quota import Quota
from reconciler.run import Setup
from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_calendars import Calendar
from reconciler.simulator.google_sign_in import READ, SCRIBE, WRITE
from tests.e2e.world import CLIENT, NOW, World

ANN, BOB, CID = "ann@acme.example", "bob@acme.example", "cid@acme.example"
CHICAGO = ZoneInfo("America/Chicago")
READS = "calendar"
SOON = NOW + timedelta(days=2)
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'


def times(start: datetime, *, hours: float = 1, zone: str = "America/Chicago") -> dict[str, Any]:
    """Return when an event is, as Google's JSON says it: local time with its offset, and the zone."""
    local = start.astimezone(ZoneInfo(zone))
    end = (start + timedelta(hours=hours)).astimezone(ZoneInfo(zone))
    return {
        "start": {"dateTime": local.isoformat(), "timeZone": zone},
        "end": {"dateTime": end.isoformat(), "timeZone": zone},
    }


def showing(name: str, start: datetime = NOW + timedelta(days=2), *, client: str | None = CLIENT, **more: Any) -> Any:
    """Return an appointment with a client."""
    guests = [{"email": client, "responseStatus": "accepted"}] if client else []
    return {"id": name, "summary": "Showing", "attendees": guests, **times(start), **more}


@dataclass
class Waiting:
    """Time as the quota sees it: a wait passes it at once. `slept` is how long was waited in all."""

    now: float = NOW.timestamp()
    slept: float = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept += seconds
        self.now += seconds


@dataclass
class GoogleWorld(World):
    """One job whose calendars are Google's. The stand-in has to be entered first: `with google_world(...) as world`.

    `sync` is the direction of the job. With `scribe` it writes by a service account of its own (`auth_write`), and the
    one that reads may do nothing else. `more` are further lines of the job file.
    """

    server: GoogleSimulator = field(default_factory=GoogleSimulator)
    waiting: Waiting = field(default_factory=Waiting)
    options: str = ""
    sync: str = ""
    scribe: bool = False
    more: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.policy = (f'sync = "{self.sync}"\n' if self.sync else "") + self.policy
        if self.scribe:
            self.options += f"{self._separated()}\n"
        key = self.folder / "google.json"
        key.write_text(json.dumps(self.server.service_account_info()))
        key.chmod(0o600)
        self.sources = (
            f'[[source]]\nkind = "google"\nagents = {json.dumps(list(self.agents))}\n'
            f'auth = {{ service_account = "file:google.json" }}\nendpoint = "{self.server.url}"\n'
            f"{self.options}\n{self.more}"
        )
        for agent in self.agents:
            self.calendar(agent)

    def _separated(self) -> str:
        """Give the job a second service account, and the first one leave to read alone."""
        key = self.folder / "scribe.json"
        key.write_text(json.dumps(self.server.service_account_info(SCRIBE, [WRITE])))
        key.chmod(0o600)
        self.server.accounts.allowed = [READ]
        return 'auth_write = { service_account = "file:scribe.json" }'

    @property
    def mailed(self) -> list[str]:
        """Return everybody whom Google mailed about anything."""
        return [address for address, _ in self.server.world.mails]

    def scopes(self) -> set[str]:
        """Return which scopes were ever asked for."""
        return {scope for _, _, scope in self.server.accounts.asked}

    def shown(self, agent: str = ANN) -> list[dict[str, Any]]:
        """Return the live events of a calendar, as Google keeps them."""
        return self.calendar(agent).events()

    def write(self, agent: str, *events: str) -> None:
        """Write no files: there are none."""

    def calendar(self, agent: str = ANN) -> Calendar:
        return self.server.calendar(agent, "America/Chicago")

    def setup(self, *, dry_run: bool = False) -> Setup:
        def quota(provider: str, budget: Any, engine: Any) -> Quota:
            return Quota(provider, budget, engine, clock=self.waiting.clock, sleep=self.waiting.sleep)

        job = load(self.job(), self.environ)
        return assemble(job, self.environ, clock=lambda: self.now, dry_run=dry_run, quota=quota)

    def asked(self, kind: str = READS) -> int:
        """Return how many requests the server has seen since this was last asked."""
        seen = len(self.server.requests(kind))
        before, self._asked[kind] = self._asked.get(kind, 0), seen
        return seen - before

    def __hash__(self) -> int:
        return id(self)

    _asked: dict[str, int] = field(default_factory=dict)


@contextmanager
def google_world(folder: Path, **settings: Any) -> Iterator[GoogleWorld]:
    """Run the stand-in on the world's own clock while a test lasts."""
    worlds: list[GoogleWorld] = []
    with GoogleSimulator(clock=lambda: worlds[0].now if worlds else NOW - timedelta(days=30)) as server:
        worlds.append(GoogleWorld(folder, server=server, **settings))
        yield worlds[0]


Make = Callable[..., GoogleWorld]


def making(folder: Path) -> Iterator[Make]:
    """Yield what makes the world of a test, with Ann and wide limits where it says nothing else."""
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(google_world(folder, **{"agents": (ANN,), "limits": FREELY, **more}))


def later(world: GoogleWorld, **much: float) -> None:
    """Let time pass: half an hour settles what people just did."""
    passed = timedelta(**(much or {"minutes": 30}))
    world.now += passed
    world.waiting.now += passed.total_seconds()


def agreed(world: GoogleWorld, names: list[str]) -> None:
    """Book these showings in Ann's calendar, an hour apart, and let the job bring them into the CRM."""
    for place, name in enumerate(names):
        world.calendar().insert(showing(name, SOON + timedelta(hours=place)))
    later(world)
    assert world.run().exit_code == 0
    assert len(world.rows()) == len(names)
    world.asked()
