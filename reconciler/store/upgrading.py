"""Bring a state database to this version's tables (`reconcile state upgrade`), and look whether it is sound.

An upgrade is one transaction: it happens whole or not at all, whenever it is killed, and doing it again is no work. It
waits for no run: while one holds its lock, it is refused. What SQLite held before is copied beside it, unless that is
not wanted.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from reconciler.errors import StateError
from reconciler.store import versions
from reconciler.store.database import reason, run_lock
from reconciler.store.schema import jobs

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Engine

_MIGRATIONS: Final = Path(__file__).parent / "migrations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Upgraded:
    """What an upgrade came to: the version before, None for a database that was empty, and whose state it is.

    `copy` is the name of the copy that was made, if one was.
    """

    before: str | None
    jobs: tuple[str, ...] = ()
    copy: str | None = None


def upgrade(engine: Engine, *, keep: bool = True) -> Upgraded:
    """Run the migrations up to this version, for all jobs that have their state here; what was there is kept beside it.

    Raises LockedError while a run of one of them is at work, StateError where a newer program made the tables, or
    another one, or where no copy can be made.
    """
    found = versions.version_of(engine)
    if found is None:
        versions.create(engine)
        return Upgraded(before=None)
    if found > versions.HEAD:
        raise StateError(versions.newer(found))
    if found == versions.HEAD:
        return Upgraded(before=found, jobs=_asked(engine, jobs.c.name))
    with ExitStack() as held:
        for crm in sorted(set(_asked(engine, jobs.c.crm))):
            held.enter_context(run_lock(engine, crm))
        return _migrated(engine, keep=keep)


def _asked(engine: Engine, column: Column[Any]) -> tuple[str, ...]:
    """Ask all jobs for one column that each version has."""
    with engine.connect() as connection:
        return tuple(value for value in connection.execute(select(column).order_by(jobs.c.id)).scalars() if value)


def _migrated(engine: Engine, *, keep: bool) -> Upgraded:
    with engine.execution_options(writes=True).begin() as connection:
        versions.lock_versions(connection)
        found = versions.version_in(connection)
        if found == versions.HEAD:  # by another process, while this one waited for its turn
            return Upgraded(before=found, jobs=_asked(engine, jobs.c.name))
        copy = _copied(engine) if keep and engine.dialect.name == "sqlite" else None
        _run(connection)
    return Upgraded(before=found, jobs=_asked(engine, jobs.c.name), copy=copy)


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, versions.HEAD)


# ---- what was there before ------------------------------------------------------------------------------------------


def _copied(engine: Engine) -> str | None:
    """Copy a SQLite database as it stands, whole or not at all, for its owner's eyes; return the name of the copy."""
    if not engine.url.database or engine.url.database == ":memory:":
        return None
    path = Path(engine.url.database)
    copy = path.with_name(f"{path.name}.before-{versions.HEAD}")
    half = copy.with_name(f"{copy.name}.part")
    try:
        half.unlink(missing_ok=True)
        os.close(os.open(half, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(half)) as target:
            source.backup(target)
        half.replace(copy)
    except (OSError, sqlite3.Error) as error:
        half.unlink(missing_ok=True)
        raise StateError(
            f"The state database could not be copied to {copy.name} ({error}); nothing was changed. Make room, or copy "
            "it yourself and add --no-backup."
        ) from None
    return copy.name


# ---- whether it is sound --------------------------------------------------------------------------------------------


def integrity(engine: Engine) -> list[str]:
    """Return what SQLite finds broken in its file, a few words each; a server looks after its own files."""
    if engine.dialect.name != "sqlite":
        return []
    try:
        with engine.connect() as connection:
            found = connection.exec_driver_sql("PRAGMA quick_check(10)").scalars().all()
    except DBAPIError as error:
        return [reason(error)]
    return [str(each).strip() for each in found if each != "ok"]
