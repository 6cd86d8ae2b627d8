"""`reconcile state rebind`: what a person decides about the state database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli import logs, screen
from reconciler.cli.world import Format, load_job

if TYPE_CHECKING:
    from reconciler.cli.world import Call


@logs.told("state rebind")
def rebind(call: Call, argument: str | None) -> int:
    """Bind the state to the CRM that the job names now, and say what it was bound to."""
    from reconciler.assembly import assemble
    from reconciler.store import state

    named = load_job(call, argument)
    opened = assemble(named.job, call.world.environ, clock=call.world.clock, dry_run=True)
    with opened as setup, setup.state.begin() as connection:
        before = state.rebind(connection, setup.state, setup.reader.identity)
    if call.common.format is Format.JSON:
        screen.write_json({"job": named.job.name, "before": before, "now": setup.reader.identity})
    elif not call.common.quiet:
        was = f"It was bound to {before}." if before else "It was bound to none."
        screen.write(f"{named.job.name} is now bound to the CRM {setup.reader.identity}. {was}")
        screen.write(f"To see what a run would do now:\n    reconcile --dry-run {named.word}")
    return 0
