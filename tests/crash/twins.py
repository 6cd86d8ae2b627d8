"""Worlds that begin again from where they stood: what is broken off in one life is left in peace in its twin."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import NullPool, create_engine, make_url, select, text

from reconciler.model import Outcome
from reconciler.result import Result
from reconciler.store import codec
from reconciler.store.schema import journal, links
from tests.e2e.world import NOW, TABLE, World, event

FREELY = 'create = "900"\nupdate = "900"\ncancel = "900"\nagent_cancel = "900"'
COMPARED = ("agent", "all_day", "contact", "end", "start", "status")
OPEN = ("planned", "sent", Outcome.UNKNOWN)


@dataclass
class Twins:
    """Makes worlds, each in a folder of its own, and lets a world begin again from where it stood."""

    folder: Path
    fresh: Callable[[], str] | None = None  # makes an empty PostgreSQL database
    copied: Callable[[str, str], None] | None = None  # replaces one database by a copy of another
    _names: Iterator[int] = field(default_factory=itertools.count)

    @property
    def is_postgres(self) -> bool:
        return self.fresh is not None

    def make(self, **settings: Any) -> World:
        """Make a world whose CRM lets two records have one key: only we keep from making them."""
        folder = self.folder / f"world{next(self._names)}"
        folder.mkdir()
        where: dict[str, Any] = {}
        if self.fresh is not None:
            where = {"state": "env:STATE", "environ": {"STATE": self.fresh()}}
        world = World(folder, **{"limits": FREELY, **where, **settings})
        world.sql("DROP TABLE appointments")
        world.sql(TABLE.replace(" UNIQUE", ""))
        return world

    def keep(self, world: World) -> Callable[[], World]:
        """Return what brings a world back to how it stands now, both its sides and its state."""
        kept = self.folder / f"kept{next(self._names)}"
        shutil.copytree(world.folder, kept)
        database = self.fresh() if self.fresh is not None else None
        if self.copied is not None and database is not None:
            self.copied(world.environ["STATE"], database)

        def again() -> World:
            shutil.rmtree(world.folder)
            shutil.copytree(kept, world.folder)
            if self.copied is not None and database is not None:
                self.copied(database, world.environ["STATE"])
            return world

        return again


def copies_of_postgres(url: str) -> Callable[[str, str], None]:
    """Return what makes one database a copy of another one, to which nobody is connected."""

    def copied(source: str, target: str) -> None:
        names = make_url(source).database, make_url(target).database
        engine = create_engine(url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(f'DROP DATABASE "{names[1]}" WITH (FORCE)'))
            connection.execute(text(f'CREATE DATABASE "{names[1]}" TEMPLATE "{names[0]}" STRATEGY FILE_COPY'))

    return copied


# ---- a brokerage with something to do -------------------------------------------------------------------------------


def showing(number: int, *, moved: bool = False, extra: str = "", modified: str | None = None) -> str:
    start = NOW + timedelta(days=2, minutes=15 * number + 5 * moved)
    return event(f"meet{number:03}", start, extra=extra, modified=modified, client=f"client{number}@mail.example")


def agreed(twins: Twins, count: int, **settings: Any) -> World:
    """Make a world in which both sides agree on so many showings."""
    world = twins.make(**settings)
    world.write(world.agents[0], *(showing(number) for number in range(count)))
    assert world.run().exit_code == 0
    assert len(world.rows()) == count
    return world


def changed(world: World, *, of: int, create: int, update: int, cancel: int) -> None:
    """Let people move and cancel the first of the showings, and book further ones."""
    events = [showing(number, moved=True, modified="20261120T080000Z") for number in range(update)]
    events += [
        showing(number, extra="STATUS:CANCELLED\r\n", modified="20261120T080000Z")
        for number in range(update, update + cancel)
    ]
    events += [showing(number) for number in range(update + cancel, of + create)]
    world.write(world.agents[0], *events)


# ---- what is left ---------------------------------------------------------------------------------------------------


def left(world: World) -> tuple[Any, ...]:
    """Return all that the future depends on: the CRM's rows, and what both sides are known to have agreed on."""
    query = select(links.c.event, links.c.crm_id, links.c.version, links.c.cancelled_by_us, links.c.base)
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        agreed_on = connection.execute(query.order_by(links.c.event)).all()
    return world.rows(), [(*row[:-1], _compared(row.base)) for row in agreed_on]


def _compared(base: str) -> Any:
    """Return what of a base is compared: a create that was looked up also knows what nobody asks for."""
    sides: dict[str, dict[str, Any]] = codec.load(base)
    return {side: {name: fields.get(name) for name in COMPARED} for side, fields in sides.items()}


def at_rest(world: World) -> Result:
    """Let the job run until it should have nothing left to do, and hold it to that."""
    result = world.run()
    again = world.run()
    assert [delta for delta in again.deltas if delta.outcome is not Outcome.HELD] == []
    assert [row["status"] for row in world.journal() if row["status"] in OPEN] == []
    keys = [key for (key,) in world.rows("source_key")]
    assert len(keys) == len(set(keys)), "no event has two records"
    return result


def written(world: World, *statuses: str) -> int:
    """Return how many intents the journal holds, or those with such a status, however busy a run is with it."""
    url = world.environ.get("STATE") or f"sqlite:///{world.folder / 'state.db'}"
    engine = create_engine(url, poolclass=NullPool)
    with closing(engine.connect()) as connection:
        found = connection.execute(select(journal.c.status)).scalars().all()
    return sum(1 for status in found if not statuses or status in statuses)
