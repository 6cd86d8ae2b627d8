"""`reconcile state prune`: what is old is dropped, or counted, and what that left of the database's file is said."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import logs, measuring, scheduling, screen
from reconciler.cli.world import Format, load_job
from reconciler.report.words import lasting

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.cli.world import Call, Named
    from reconciler.store.erasing import Room
    from reconciler.store.pruning import Pruned
    from reconciler.store.state import State

WHAT: Final = {
    "images": "writes whose before and after",
    "journal": "writes",
    "runs": "runs",
    "findings": "resolved findings",
    "deliveries": "reports sent",
    "plans": "plans nobody consented to, or used",
    "approvals": "consents that are over",
    "slots": "slots of the schedule",
    "budgets": "budgets nobody draws on",
}
"""What is dropped, in words."""

MEGABYTE: Final = 1_000_000


@logs.told("state prune")
def prune(call: Call, argument: str | None, *, dry_run: bool, scheduled: bool) -> int:
    """Drop what is old, or count it. Needs the state database and no secrets."""
    named = load_job(call, argument)
    if dry_run:
        return _opened(call, named, dry_run=True, scheduled=False)
    with measuring.measured(call, named):
        return _opened(call, named, dry_run=False, scheduled=scheduled)


def _opened(call: Call, named: Named, *, dry_run: bool, scheduled: bool) -> int:
    from reconciler.store.state import open_state

    slot = scheduling.slot_of(call, named) if scheduled else None
    state = open_state(named.job.state.reveal(call.world.environ), named.job.name)
    try:
        return scheduling.once(call, state, slot, lambda: _prune(call, named, state, dry_run=dry_run))
    finally:
        state.engine.dispose()


def _prune(call: Call, named: Named, state: State, *, dry_run: bool) -> int:
    from reconciler.store import pruning

    work = pruning.count if dry_run else pruning.prune
    done = work(state, named.job.retention, call.world.clock())
    call.event.add(dropped=0 if dry_run else sum(done.counts.values()))
    if call.common.format is Format.JSON:
        screen.write_json(_as_json(named, done, dry_run=dry_run))
    elif not call.common.quiet:
        screen.write("\n".join(_lines(named, done, dry_run=dry_run)))
    return 0


def _as_json(named: Named, done: Pruned, *, dry_run: bool) -> dict[str, Any]:
    room = asdict(done.room) if done.room else None
    return {"job": named.job.name, "dry_run": dry_run, "dropped": dict(done.counts), "file": room}


def _lines(named: Named, done: Pruned, *, dry_run: bool) -> Iterator[str]:
    from reconciler.store.pruning import ages

    kept = ages(named.job.retention)
    says = "would be dropped" if dry_run else "dropped"
    found = {what: count for what, count in done.counts.items() if count}
    if not found:
        yield f"{named.job.name}: nothing is older than it may be; nothing {says}."
    else:
        yield f"{named.job.name}: {says}"
    for what, count in found.items():
        age = kept.get(what)
        older = f", older than {lasting(age)}" if age else ""
        yield f"  {count:>11,}  {WHAT[what]}{older}"
    if done.room:
        yield _said_of(done.room)
    if dry_run and found:
        yield f"To drop it:    reconcile state prune {named.word}"


def _said_of(room: Room) -> str:
    """Say what became of the file. It keeps its size: what is free in it is used before it grows."""
    said = f"The state's file has {room.size / MEGABYTE:,.1f} MB, of which {room.free / MEGABYTE:,.1f} MB are free"
    if room.is_flushed:
        return f"{said} for what comes."
    return f"{said}. Its log could not be written over, because something reads it: the next prune will."
