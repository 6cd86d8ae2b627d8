"""`reconcile state upgrade`: the one command that changes the tables of a state database that holds something."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli import logs, screen
from reconciler.cli.world import Format, load_job

if TYPE_CHECKING:
    from reconciler.cli.world import Call


@logs.told("state upgrade")
def upgrade(call: Call, argument: str | None) -> int:
    """Bring the state database to this version's tables."""
    from reconciler.store import database, upgrading, versions

    named = load_job(call, argument)
    engine = database.engine_of(named.job.state.reveal(call.world.environ))
    with database.closed_if_unusable(engine):
        before = upgrading.upgrade(engine)
    engine.dispose()
    if call.common.format is Format.JSON:
        screen.write_json({"job": named.job.name, "before": before, "version": versions.HEAD})
    elif not call.common.quiet:
        screen.write(f"The state of {named.job.name} is at version {versions.HEAD}.")
    return 0
