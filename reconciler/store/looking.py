"""The state of a job for whoever only looks: nothing is created, upgraded or written, and none is an answer too."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import make_url, select
from sqlalchemy.exc import ArgumentError

from reconciler.store import versions
from reconciler.store.database import closed_if_unusable, engine_of
from reconciler.store.schema import jobs
from reconciler.store.state import State

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


@contextmanager
def looked_at(url: str, name: str) -> Iterator[State | None]:
    """Open the state of the job `name`, None where there is none yet. Raises ConfigError and StateError."""
    if _is_missing(url):
        yield None
        return
    engine = engine_of(url)
    with closed_if_unusable(engine):
        state = _state(engine, name)
    try:
        yield state
    finally:
        engine.dispose()


def _state(engine: Engine, name: str) -> State | None:
    found = versions.version_of(engine)
    if found is None:
        return None
    versions.require_head(found, name)
    with engine.connect() as connection:
        row = connection.execute(select(jobs.c.id, jobs.c.salt).where(jobs.c.name == name)).first()
    return None if row is None else State(engine, row.id, name, bytes(row.salt))


def _is_missing(url: str) -> bool:
    """Tell whether a database is a file that is not there: to open it would make it."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        return False  # who opens it says so
    return parsed.get_backend_name() == "sqlite" and not Path(parsed.database or ":memory:").is_file()
