"""Open the state database: one place for engines, pragmas, statements and the run's lock.

A new, empty database is given this version's tables. One of another version is refused: only `upgrading` changes
tables that hold something, and only when a person says so.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Insert, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError

from reconciler.config import WrongError, encryption
from reconciler.errors import ConfigError, LockedError, Problem, StateError
from reconciler.store import schema, versions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import URL, Engine, Table

BATCH = 500
"""Values of one IN list: every database takes it, and a statement stays readable in a log."""

DAMAGED = "Put a copy in its place, or move it away: the next run makes a new one, and links again what has our keys"
_BROKEN = frozenset({"SQLITE_NOTADB", "SQLITE_CORRUPT"})


def open_engine(url: str, job: str = "") -> Engine:
    """Return an engine on the state database; a new, empty one is created (0600) with this version's tables.

    Raises ConfigError for a URL that is none, StateError for a database that can't be opened, that is another
    program's, or that another version of this one left; what to type then names `job`.
    """
    engine = engine_of(url)
    with closed_if_unusable(engine):
        found = versions.version_of(engine) or versions.create(engine)
        versions.require_head(found, job, engine.dialect.name)
    return engine


def engine_of(url: str) -> Engine:
    """Return an engine on the state database, whatever version that has. Raises ConfigError for a URL that is none."""
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigError((Problem("state", "this is no database URL", "e.g. sqlite:///var/acme.db"),)) from None
    return _sqlite(parsed) if parsed.get_backend_name() == "sqlite" else create_engine(_with_driver(parsed))


@contextmanager
def closed_if_unusable(engine: Engine) -> Iterator[None]:
    """Close the engine if what is tried on it fails, and say so in a sentence where it is the database that fails."""
    try:
        yield
    except DBAPIError as error:
        engine.dispose()
        next_step = f" {DAMAGED}." if getattr(error.orig, "sqlite_errorname", "") in _BROKEN else ""
        said = f"The state database {where(engine.url)} can't be opened: {reason(error)}.{next_step}"
        raise StateError(said) from None
    except BaseException:
        engine.dispose()
        raise


def where(url: URL) -> str:
    """Name a database for people, without credentials or folders."""
    if url.get_backend_name() == "sqlite":
        return f"file {Path(url.database or ':memory:').name}"
    return f"{url.database} on {url.host or 'a local socket'}"


def reason(error: DBAPIError) -> str:
    """Return the first line of what a driver says; it names no values and no credentials."""
    return str(error.orig).strip().splitlines()[0] if str(error.orig).strip() else type(error.orig).__name__


def _with_driver(url: URL) -> URL:
    """Return a URL with our driver, by which nobody can pretend to be the server. Raises ConfigError."""
    try:
        lacking = encryption.postgresql(url.host, url.query)
    except WrongError as error:
        raise ConfigError((Problem("state", error.what, error.hint),)) from None
    return url.set(drivername="postgresql+psycopg").update_query_dict(lacking)


def _sqlite(url: URL) -> Engine:
    if url.database and url.database != ":memory:":
        _made(url, Path(url.database))
    engine = create_engine(url)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _made(url: URL, path: Path) -> None:
    """Make the file where there is none: what holds data is nobody else's to read. Raises StateError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        said = f"The state database {where(url)} can't be opened: {error.strerror or 'it has no such name'}."
        raise StateError(said) from None


def _begin(connection: Connection) -> None:
    """Open a transaction. One that reads before it writes would be refused where another process wrote in between."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _set_pragmas(connection: Any, _: object) -> None:  # noqa: ANN401  # the driver's own class
    connection.isolation_level = None  # the driver would open no transaction for a SELECT: reads would not be stable
    for pragma in (
        "journal_mode=WAL",
        "synchronous=NORMAL",
        "busy_timeout=30000",
        "cache_size=-32768",
        "temp_store=MEMORY",
        "secure_delete=ON",  # what is dropped is written over: nobody finds it in the file's free space
    ):
        connection.execute(f"PRAGMA {pragma}")


def analyse(engine: Engine) -> None:
    """Let PostgreSQL look at large tables that changed much since it last did; without, it takes them for empty.

    Its own housekeeping comes once a minute: too late for the run that filled them. SQLite's plans need no statistics.
    """
    if engine.dialect.name != "postgresql":
        return
    changed = "n_mod_since_analyze > 1000 AND n_mod_since_analyze * 5 > n_live_tup"
    large = "schemaname = current_schema() AND relname IN ('links', 'mirror', 'records')"
    with engine.begin() as connection:
        query = text(f"SELECT relname FROM pg_stat_user_tables WHERE {large} AND {changed}")  # noqa: S608  # our own words
        for name in connection.execute(query).scalars().all():
            connection.execute(text(f"ANALYZE {name}"))


# ---- statements -----------------------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def _upsert_sql(dialect: str, table: Table, columns: tuple[str, ...], kept: tuple[str, ...]) -> str:
    """Compile `INSERT ... ON CONFLICT DO UPDATE` of `columns`, once; `kept` are not touched on conflict."""
    module: Any = import_module(f"sqlalchemy.dialects.{dialect}")  # one of them costs 60 ms and is not needed
    statement = module.insert(table).values(dict.fromkeys(columns))
    primary = [column.name for column in table.primary_key]
    changes = {name: statement.excluded[name] for name in columns if name not in primary and name not in kept}
    upsert: Insert = statement.on_conflict_do_update(index_elements=primary, set_=changes)
    compiled = upsert.compile(dialect=module.dialect(paramstyle="pyformat" if dialect == "postgresql" else "named"))
    return str(compiled)


def upsert(
    connection: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *, kept: tuple[str, ...] = ()
) -> None:
    """Insert `rows` or replace those with the same primary key, past SQLAlchemy's per-row work."""
    if rows:
        sql = _upsert_sql(connection.dialect.name, table, tuple(rows[0]), kept)
        connection.exec_driver_sql(sql, list(rows))


def batched(values: Iterable[Any], size: int = BATCH) -> Iterator[list[Any]]:
    """Cut `values` into lists of at most `size`."""
    batch: list[Any] = []
    for value in values:
        batch.append(value)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


# ---- lock -----------------------------------------------------------------------------------------------------------


@contextmanager
def run_lock(engine: Engine, name: str) -> Iterator[Callable[[], bool]]:
    """Hold the one lock of the CRM `name` while a run writes to it; released by death. Raises LockedError at once.

    What it yields tells whether the lock is still held: a connection may be lost, a file removed.
    """
    locks = _file_lock if engine.dialect.name == "sqlite" else _advisory_lock
    with locks(engine, name) as is_held:
        yield is_held


@contextmanager
def _file_lock(engine: Engine, name: str) -> Iterator[Callable[[], bool]]:
    from filelock import FileLock, Timeout

    mark = hashlib.sha256(name.encode()).hexdigest()[:16]
    database = Path(engine.url.database or "state").resolve()  # SQLite follows a link as well: two names, one lock
    path = database.with_name(f"{database.name}.{mark}.lock")
    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise LockedError("Another run on this CRM is at work; nothing was done.") from None
    held = _file_number(path)
    try:
        yield lambda: _file_number(path) == held
    finally:
        lock.release()


def _file_number(path: Path) -> int | None:
    """Return what tells a file from another one of its name: who makes a new one can lock that."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


@contextmanager
def _advisory_lock(engine: Engine, name: str) -> Iterator[Callable[[], bool]]:
    number = versions.lock_number(name)
    with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
        if not connection.execute(text("SELECT pg_try_advisory_lock(:n)"), {"n": number}).scalar():
            raise LockedError("Another run on this CRM is at work; nothing was done.")
        try:
            yield lambda: _is_alive(connection)
        finally:
            if _is_alive(connection):
                connection.execute(text("SELECT pg_advisory_unlock(:n)"), {"n": number})


def _is_alive(connection: Connection) -> bool:
    """Tell whether a session still stands; with it goes the lock that it holds."""
    if connection.invalidated or connection.closed:
        return False
    try:
        connection.execute(text("SELECT 1"))
    except DBAPIError:
        return False
    return True


__all__ = [
    "Connection",
    "analyse",
    "batched",
    "closed_if_unusable",
    "engine_of",
    "open_engine",
    "reason",
    "run_lock",
    "schema",
    "upsert",
    "where",
]
