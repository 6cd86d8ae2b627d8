"""Connections to a CRM's database: read-only by its own means, one consistent view, verified TLS, timeouts."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import sqlalchemy as sa
from sqlalchemy import event, exc, pool

from reconciler.config import WrongError, encryption
from reconciler.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection, Engine

CONNECT_TIMEOUT = 10
"""Seconds to wait for a connection."""
READ_TIMEOUT = 600
"""Seconds that one statement of a snapshot may take."""
WRITE_TIMEOUT = 30
"""Seconds that one write may take."""
LOCK_TIMEOUT = 5
"""Seconds to wait for somebody else's lock."""

_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}
_SPELLINGS = {"postgres": "postgresql", "mariadb": "mysql"}


def parse_url(spelled: str, key: str = "crm.url") -> URL:
    """Read a database URL, with our own driver for it. Raises ConfigError, which never repeats the URL."""
    try:
        url = sa.make_url(spelled)
    except (exc.ArgumentError, ValueError):
        raise ConfigError((Problem(key, "is not a database URL", "e.g. postgresql://user:pass@host/db"),)) from None
    backend = url.drivername.partition("+")[0]
    driver = _DRIVERS.get(_SPELLINGS.get(backend, backend))
    if driver is None:
        raise ConfigError((Problem(key, f"the database {backend} is not supported", "SQLite, PostgreSQL, MySQL"),))
    if driver == "sqlite" and (not url.database or url.database == ":memory:"):
        raise ConfigError((Problem(key, "an SQLite CRM must be a file", "sqlite:///crm.db"),))
    try:
        return _verified(url.set(drivername=driver))
    except WrongError as error:
        raise ConfigError((Problem(key, error.what, error.hint),)) from None


def _verified(url: URL) -> URL:
    """Return a URL by which nobody can pretend to be the database. Raises WrongError for one that asks for less."""
    if url.get_backend_name() == "postgresql":
        return url.update_query_dict(encryption.postgresql(url.host, url.query))
    if url.get_backend_name() == "mysql":
        encryption.mysql(url.host, url.query)
    return url


def place_of(url: URL) -> str:
    """Name a database without secrets and without paths of this machine: dialect, host, port, database."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        path = Path(url.database or "")
        return f"sqlite {path.name}#{hashlib.blake2b(str(path.resolve()).encode(), digest_size=4).hexdigest()}"
    default = {"postgresql": 5432, "mysql": 3306}[backend]
    return f"{backend} {_host(url) or 'localhost'}:{url.port or default}/{url.database or ''}"


def _host(url: URL) -> str:
    named = url.host or url.query.get("host") or ""
    return named if isinstance(named, str) else named[0]


def reader(url: URL) -> Engine:
    """Return an engine whose connections can't write and whose transactions see one instant."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, "ro", "BEGIN")
    if backend == "postgresql":
        return _postgresql(url, READ_TIMEOUT, readonly=True)
    return _mysql(url, READ_TIMEOUT, readonly=True)


def writer(url: URL) -> Engine:
    """Return an engine for short transactions, one write each."""
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, "rw", "BEGIN IMMEDIATE")
    if backend == "postgresql":
        return _postgresql(url, WRITE_TIMEOUT, readonly=False)
    return _mysql(url, WRITE_TIMEOUT, readonly=False)


def tolerant(raw: bytes) -> str:
    """Decode what SQLite holds as text even where it is none, so that one broken cell stops nobody."""
    return raw.decode("utf-8", "replace")


def _sqlite(url: URL, mode: str, begin: str) -> Engine:
    target = f"file:{quote(str(Path(url.database or '').resolve()))}?mode={mode}"

    def connect() -> sqlite3.Connection:
        opened = sqlite3.connect(target, uri=True, isolation_level=None, timeout=LOCK_TIMEOUT, check_same_thread=False)
        if mode == "rw":
            opened.text_factory = tolerant
        return opened

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=pool.NullPool, hide_parameters=True)
    _on_begin(engine, begin)
    return engine


def _postgresql(url: URL, seconds: int, *, readonly: bool) -> Engine:
    engine = sa.create_engine(
        url,
        connect_args={
            "connect_timeout": CONNECT_TIMEOUT,
            "prepare_threshold": None,
        },  # poolers lose prepared statements
        execution_options={"isolation_level": "REPEATABLE READ", "postgresql_readonly": True} if readonly else {},
        poolclass=pool.NullPool if readonly else pool.QueuePool,
        **({} if readonly else {"pool_size": 1, "pool_pre_ping": True}),
        hide_parameters=True,
    )
    settings = {"timezone": "UTC", "statement_timeout": f"{seconds}s", "lock_timeout": f"{LOCK_TIMEOUT}s"}
    local = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    _on_begin(engine, f"SELECT {local}")  # of the transaction, not the session: it survives a pooler in between
    return engine


def _mysql(url: URL, seconds: int, *, readonly: bool) -> Engine:
    arguments: dict[str, Any] = {
        "connect_timeout": CONNECT_TIMEOUT,
        "read_timeout": seconds,
        "write_timeout": seconds,
        "charset": "utf8mb4",
    }
    if context := encryption.mysql(url.host, url.query):
        arguments["ssl"] = context
        url = url.difference_update_query(encryption.taken(url.query))
    engine = sa.create_engine(
        url,
        connect_args=arguments,
        poolclass=pool.NullPool if readonly else pool.QueuePool,
        **({} if readonly else {"pool_size": 1, "pool_pre_ping": True}),
        hide_parameters=True,
    )
    _on_connect(engine, _mysql_session(readonly=readonly))
    if readonly:
        _on_begin(engine, "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
    return engine


def _mysql_session(*, readonly: bool) -> tuple[str, ...]:
    level = "REPEATABLE READ, READ ONLY" if readonly else "READ COMMITTED"
    return (
        f"SET SESSION TRANSACTION ISOLATION LEVEL {level}",
        f"SET SESSION time_zone = '+00:00', innodb_lock_wait_timeout = {LOCK_TIMEOUT}",
        "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')",
    )


def _on_connect(engine: Engine, statements: tuple[str, ...]) -> None:
    @event.listens_for(engine, "connect")
    def _(connection: Any, _record: object) -> None:  # noqa: ANN401 -- a driver's connection
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def _on_begin(engine: Engine, statement: str) -> None:
    @event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql(statement)
