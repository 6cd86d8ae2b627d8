"""`reconcile state upgrade`: the one command that changes the tables of a state database that holds something."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, screen
from reconciler.cli.world import Format, load_job
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from reconciler.cli.world import Call
    from reconciler.store.upgrading import Upgraded

MOST: Final = 10
"""Jobs in one database that are called by their names."""


@logs.told("state upgrade")
def upgrade(call: Call, argument: str | None, *, keep: bool) -> int:
    """Bring the state database to this version's tables, and say what was done."""
    from reconciler.store import database, upgrading, versions

    named = load_job(call, argument)
    engine = database.engine_of(named.job.state.reveal(call.world.environ))
    with database.closed_if_unusable(engine):
        done = upgrading.upgrade(engine, keep=keep)
    engine.dispose()
    if call.common.format is Format.JSON:
        shown = {"job": named.job.name, "before": done.before, "version": versions.HEAD, "jobs": list(done.jobs)}
        screen.write_json({**shown, "copy": done.copy})
    elif not call.common.quiet:
        screen.write("\n".join(_said(named.job.name, done, versions.HEAD, named.word)))
    return 0


def _said(job: str, done: Upgraded, version: str, word: str) -> list[str]:
    if done.before == version:
        return [f"The state of {job} is at version {version} already; nothing was done."]
    if done.before is None:
        return [f"The state database of {job} was empty; it has the tables of version {version} now."]
    said = [f"The state of {job} was brought from version {done.before} to {version}, with all that it holds."]
    if others := [bounded(name) for name in done.jobs if name != job]:
        more = f" and {len(others) - MOST} more" if len(others) > MOST else ""
        said.append(f"These jobs have their state there, too, and were upgraded: {', '.join(others[:MOST])}{more}.")
    if done.copy:
        said.append(f"What it was before is kept beside it, in {done.copy}: delete that when runs end well.")
    return [*said, f"To see what a run would do now:\n    reconcile --dry-run {word}"]
