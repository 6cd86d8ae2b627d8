"""A throw-away copy of one job's state, so that a look through other glasses leaves the state as it is."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Engine, insert, select, true

from reconciler.store import codec
from reconciler.store.database import batched, open_engine
from reconciler.store.schema import calendars, findings, jobs, journal, links, mirror

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Table

    from reconciler.store.state import State

REMEMBERED = timedelta(days=7)
"""How much of the journal is looked at: what was written in these days may be flapping."""


@contextmanager
def scratch(state: State, now: datetime) -> Iterator[State]:
    """Give a copy of what the job agreed, did and found, in a file that is deleted afterwards.

    Neither cursors nor the last snapshot are copied: both sides are read anew. Of the calendars, only linked events are
    known, so that one that moved away is still asked for.
    """
    with tempfile.TemporaryDirectory(prefix="reconcile-") as folder:
        engine = open_engine(f"sqlite:///{Path(folder, 'scratch.db').as_posix()}")
        try:
            _copy(state, engine, now)
            yield replace(state, engine=engine)
        finally:
            engine.dispose()


def _copy(state: State, engine: Engine, now: datetime) -> None:
    parts: tuple[tuple[Table, ColumnElement[bool]], ...] = (
        (jobs, jobs.c.id == state.job),
        (calendars, calendars.c.job == state.job),
        (links, links.c.job == state.job),
        (mirror, (mirror.c.job == state.job) & (mirror.c.linked == true())),
        (journal, (journal.c.job == state.job) & (journal.c.at >= codec.epoch(now - REMEMBERED))),
        (findings, (findings.c.job == state.job) & findings.c.resolved_at.is_(None)),
    )
    with state.reading() as source, engine.begin() as target:
        for table, mine in parts:
            rows = source.execution_options(yield_per=1000).execute(select(table).where(mine)).mappings()
            for batch in batched(rows):
                target.execute(insert(table), [dict(row) for row in batch])
        target.execute(jobs.update().values(fingerprint=None))
