"""That what is dropped is gone: from the database's file, from what is logged beside it, from free space.

SQLite writes over what a statement drops, as every connection asks it to (`database`); in its log it stays until that
is cut, and what an earlier release dropped may be in free space until the file is rewritten. PostgreSQL keeps it until
its own housekeeping; its log is whoever keeps the server's to keep or drop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from reconciler.store.schema import metadata

if TYPE_CHECKING:
    from sqlalchemy import Engine


PATIENCE: Final = 5
"""Seconds that who flushes the log waits for readers of it; the next one flushes it all the same."""


@dataclass(frozen=True, slots=True)
class Room:
    """How large a database's file is, and how much of that is free; and whether its log was written over."""

    size: int
    free: int
    is_flushed: bool


def room(engine: Engine) -> Room | None:
    """Say how large the file is, and how much of it is free for what comes; None where a server keeps it."""
    return _room(engine, is_flushed=True) if engine.dialect.name == "sqlite" else None


def flush(engine: Engine) -> Room | None:
    """Write the log into the file, and cut it: what was dropped is in neither. It may have to wait for a reader."""
    if engine.dialect.name != "sqlite":
        return None
    busy = _said(engine, f"PRAGMA busy_timeout={PATIENCE * 1000}", "PRAGMA wal_checkpoint(TRUNCATE)")
    return _room(engine, is_flushed=not busy)


def rewrite(engine: Engine) -> Room | None:
    """Write the whole database anew, so that nothing dropped before is left in its free space either.

    It takes as much space again while it does, and the time to write it all; on PostgreSQL the server sweeps.
    """
    if engine.dialect.name == "sqlite":
        try:
            _said(engine, "PRAGMA temp_store=FILE", "VACUUM")  # else all of it would be put together in memory
        except DBAPIError:  # somebody reads, or the disk is full: the rows are gone, the free space is not
            return _room(engine, is_flushed=False)
        return flush(engine)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        for table in metadata.sorted_tables:
            connection.execute(text(f"VACUUM {table.name}"))
    return None


def _room(engine: Engine, *, is_flushed: bool) -> Room:
    page, pages, free = (_said(engine, f"PRAGMA {name}") for name in ("page_size", "page_count", "freelist_count"))
    return Room(size=page * pages, free=page * free, is_flushed=is_flushed)


def _said(engine: Engine, *statements: str) -> Any:  # noqa: ANN401  # a number, or nothing
    """Execute statements that no transaction may hold, and return the first thing that the last one says.

    The connection is not used again: what was set on it is not for others.
    """
    raw = engine.raw_connection()
    try:
        row = None
        for statement in statements:
            cursor = raw.cursor()
            cursor.execute(statement)
            row = cursor.fetchone()
        return row[0] if row else None
    finally:
        raw.invalidate()
