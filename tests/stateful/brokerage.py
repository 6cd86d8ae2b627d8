"""A brokerage in Google for machines that try everything: cheap runs, and a true time beside the job's own clock."""

from __future__ import annotations

import json
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from reconciler.result import Result
from reconciler.run import Options, Setup, run
from reconciler.simulator.google import ROBOT, GoogleSimulator
from reconciler.store.database import open_engine
from reconciler.store.state import State
from tests.e2e.google_world import GoogleWorld, Waiting
from tests.e2e.world import NOW, TABLE
from tests.stateful.words import triggers

KEPT = ("journal", "links", "findings", "runs", "approvals", "holds")
"""Tables that no dry run writes to."""
YEARS = 24 * 365 * 5


@cache
def empty_state() -> bytes:
    """Return an empty state database, migrated once for all worlds of this process."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "state.db"
        open_engine(f"sqlite:///{path}").dispose()
        return path.read_bytes()


@dataclass
class Brokerage(GoogleWorld):
    """One job whose process lives on from run to run until it is killed. `skew` is how wrong its clock is."""

    skew: timedelta = timedelta()
    unique: bool = True
    left_out: frozenset[str] = frozenset()
    leavers: frozenset[str] = frozenset()
    budget: str = ""
    _setups: dict[tuple[str, bool], Setup] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.environ = {"TOKEN": self.server.token(ROBOT, hours=YEARS)}
        for agent in self.agents:
            self.calendar(agent).share(ROBOT, "owner")
        (self.folder / "state.db").write_bytes(empty_state())
        if not self.unique:
            self.sql("DROP TABLE appointments")
            self.sql(TABLE.replace(" UNIQUE", ""))
        for statement in triggers():
            self.sql(statement)

    def __hash__(self) -> int:
        return id(self)

    # ---- time

    @property
    def true_time(self) -> datetime:
        return datetime.fromtimestamp(self.waiting.now, UTC)

    def clock(self) -> datetime:
        self.now = (self.true_time + self.skew).replace(microsecond=0)
        return self.now

    # ---- the job

    def job(self) -> Path:
        rows = [f"{agent},{'left' if agent in self.leavers else 'active'}" for agent in self.agents]
        kept = [row for row in rows if row.partition(",")[0] not in self.left_out]
        (self.folder / "agents.csv").write_text("\n".join(["agent,state", *kept, ""]))
        self.sources = (
            '[[source]]\nkind = "google"\nagents = { file = "agents.csv" }\nauth = { token = "env:TOKEN" }\n'
            f'endpoint = "{self.server.url}"\n'
        )
        path = super().job()
        path.write_text(f"{path.read_text()}\n{self.budget}")
        return path

    def run(self, *, dry_run: bool = False, **options: Any) -> Result:
        self.clock()
        return run(replace(self._setup(dry_run=dry_run), clock=self.clock), Options(**options))

    def run_beside(self, **options: Any) -> Result:
        """Run as another process does, which knows nothing of this one's memory."""
        with self.setup() as setup:
            return run(replace(setup, clock=self.clock), Options(**options))

    @property
    def home(self) -> State:
        return self._setup(dry_run=True).state

    def _setup(self, *, dry_run: bool) -> Setup:
        text = self.job().read_text() + (self.folder / "agents.csv").read_text()
        if (text, dry_run) not in self._setups:
            self._setups[text, dry_run] = self.setup(dry_run=dry_run)
        return self._setups[text, dry_run]

    def die(self) -> None:
        """Forget all that a process has in its memory."""
        with ExitStack() as stack:
            for setup in self._setups.values():
                stack.enter_context(setup)
        self._setups.clear()

    # ---- the state

    def asks(self, statement: str, *values: Any) -> list[Any]:
        """Ask the state database, as nobody of the program does."""
        with closing(sqlite3.connect(self.folder / "state.db")) as connection:
            connection.row_factory = sqlite3.Row
            return connection.execute(statement, values).fetchall()

    def journal(self) -> list[Any]:
        return self.asks("SELECT * FROM journal ORDER BY id")

    def kept(self) -> dict[str, list[Any]]:
        """Return all that a dry run must leave as it is: both sides, and what the job remembers of what it did."""
        tables = {name: [tuple(row) for row in self.asks(f"SELECT * FROM {name} ORDER BY 1, 2")] for name in KEPT}  # noqa: S608
        calendars = {agent: [json.dumps(event) for event in self.calendar(agent).events()] for agent in self.agents}
        return {**tables, **calendars, "CRM": self.rows()}

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Let what is done within have a copy of the state; nothing of it is remembered."""
        self.die()
        kept = self.folder / "kept.db"
        shutil.copy(self.folder / "state.db", kept)
        try:
            yield
        finally:
            self.die()
            shutil.move(kept, self.folder / "state.db")

    def lose_state(self) -> None:
        """Have the state database restored from an empty backup."""
        self.die()
        for path in self.folder.glob("state.db*"):
            path.unlink()
        (self.folder / "state.db").write_bytes(empty_state())


@contextmanager
def brokerage(**settings: Any) -> Iterator[Brokerage]:
    """Make a brokerage in a folder of its own; its server lives by the true time."""
    waiting = Waiting(NOW.timestamp())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pipeline-")))
        clock = lambda: datetime.fromtimestamp(waiting.now, UTC)  # noqa: E731
        server = stack.enter_context(GoogleSimulator(clock=clock, wait=waiting.sleep))
        world = Brokerage(folder, server=server, waiting=waiting, **settings)
        stack.callback(world.die)
        yield world
