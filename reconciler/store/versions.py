"""Which version the tables of a state database have, and those of this version for an empty one.

A database that holds something is never changed here: one of another version, or of another program, is refused with
what to do about it.
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Final

from sqlalchemy import inspect, text
from sqlalchemy.schema import CreateIndex, CreateTable

from reconciler.errors import StateError
from reconciler.store.schema import jobs, metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, ExecutableDDLElement

HEAD: Final = "0005"
"""The version of this program's tables: its last migration."""

_OURS: Final = re.compile(r"\d{4}", re.ASCII)
_FOREIGN: Final = "The state database holds tables of another program: give this job a database of its own."
_ALEMBIC: Final = (
    "CREATE TABLE alembic_version "
    "(version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num))"
)


def version_of(engine: Engine) -> str | None:
    """Return the version of the tables of a state database, None for one that is empty.

    Raises StateError where the tables are another program's.
    """
    with engine.connect() as connection:
        return version_in(connection)


def version_in(connection: Connection) -> str | None:
    names = inspect(connection).get_table_names()
    if "alembic_version" not in names:
        if names:
            raise StateError(_FOREIGN)
        return None
    found = str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar())
    if not _OURS.fullmatch(found) or jobs.name not in names:  # others number their versions too
        raise StateError(_FOREIGN)
    return found


def require_head(found: str, job: str, dialect: str = "sqlite") -> None:
    """Raise StateError for tables of another version, saying what makes them fit."""
    if found > HEAD:
        raise StateError(newer(found))
    if found < HEAD:
        first = " Make a copy first (pg_dump)." if dialect == "postgresql" else ""
        raise StateError(
            f"The state database has version {found}, this program needs {HEAD}; nothing was done.{first} To bring it "
            f"there, with all that it holds:\n    reconcile state upgrade {job}".rstrip()
        )


def newer(found: str) -> str:
    """Say that a database is none for this program."""
    return (
        f"The state database was made by a newer version of this program: its tables have version {found}, this one "
        f"knows {HEAD} at most. Nothing was done: install the newer program again, or restore the copy of the "
        "database that was made before its upgrade."
    )


def create(engine: Engine) -> str:
    """Give an empty database the tables of this version, unless another process just did; return its version."""
    with engine.execution_options(writes=True).begin() as connection:
        lock_versions(connection)
        found = version_in(connection)
        if found is not None:
            return found
        for statement in _tables(engine.dialect.name):
            connection.exec_driver_sql(statement)
        connection.execute(text("INSERT INTO alembic_version (version_num) VALUES (:head)"), {"head": HEAD})
    return HEAD


@cache
def _tables(dialect: str) -> tuple[str, ...]:
    """Spell the tables out, once a process. Migrations make the same ones, and take ten times as long to do so."""
    spelled = import_module(f"sqlalchemy.dialects.{dialect}").dialect()
    tables = metadata.sorted_tables
    parts: list[ExecutableDDLElement] = [CreateTable(table) for table in tables]
    parts += [CreateIndex(index) for table in tables for index in table.indexes]
    return (*(str(part.compile(dialect=spelled)) for part in parts), _ALEMBIC)


def lock_versions(connection: Connection) -> None:
    """Wait until no other process makes or changes tables. On SQLite, who may write is alone already."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:n)"), {"n": lock_number("migrations")})


def lock_number(name: str) -> int:
    """Return the number that PostgreSQL knows a lock by."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big", signed=True)
