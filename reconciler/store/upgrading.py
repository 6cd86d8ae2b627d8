"""Bring a state database to this version's tables (`reconcile state upgrade`), and look whether it is sound.

An upgrade is one transaction: it happens whole or not at all, whenever it is killed, and doing it again is no work. It
waits for nobody who writes: while a run holds its lock, it is refused.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.errors import StateError
from reconciler.store import versions

if TYPE_CHECKING:
    from sqlalchemy import Engine


def upgrade(engine: Engine) -> str | None:
    """Run the migrations up to this version, or wait for another process that does; return the version before.

    Raises StateError where a newer program made the tables, or another one.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.execution_options(writes=True).begin() as connection:
        versions.lock_versions(connection)
        found = versions.version_in(connection)
        if found is not None and found > versions.HEAD:
            raise StateError(versions.newer(found))
        if found != versions.HEAD:
            config.attributes["connection"] = connection
            command.upgrade(config, versions.HEAD)
    return found
