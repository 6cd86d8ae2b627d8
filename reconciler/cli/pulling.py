"""`reconcile pull`: calendars read for a later run, a share of them if asked, and what is said of that."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.cli import ending, logs, measuring, scheduling, screen
from reconciler.cli.world import Format, load_job
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Named
    from reconciler.pulling import Pulled, Shard
    from reconciler.setup import Setup

MOST: Final = 20
"""Calendars that could not be read and have a line of their own; the JSON has all of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asked of one pull."""

    shard: str | None = None
    full: bool = False
    scheduled: bool = False


@logs.told("pull")
def pull(call: Call, argument: str | None, asked: Asked) -> int:
    """Read the calendars, show how that went, and return the exit code."""
    from reconciler.pulling import Shard

    named = load_job(call, argument)
    shard = Shard.parse(asked.shard) if asked.shard is not None else Shard()
    slot = scheduling.slot_of(call, named) if asked.scheduled else None
    if asked.scheduled:
        scheduling.wait(call, named, str(shard))
    # It is handed no writer.
    with measuring.measured(call, named), ending.opened(call, named, dry_run=True) as setup:
        return scheduling.once(call, setup.state, slot, lambda: _pulled(call, named, setup, shard, full=asked.full))


def _pulled(call: Call, named: Named, setup: Setup, shard: Shard, *, full: bool) -> int:
    from reconciler.pulling import pull as pull_calendars

    with screen.progress(call.common, f"Reading the calendars of {named.job.name}") as progress:
        pulled = pull_calendars(setup, shard, progress, full=full)
    call.event.pulled(pulled.calendars, pulled.counts, shard=str(shard))
    _write(call, pulled)
    return pulled.exit_code


def _write(call: Call, pulled: Pulled) -> None:
    if call.common.format is Format.JSON:
        screen.write_json(pulled.to_json())
    elif call.common.quiet:
        if pulled.exit_code:
            screen.write(_headline(pulled))
    else:
        screen.write("\n".join([_headline(pulled), *_gaps(pulled)]))


def _headline(pulled: Pulled) -> str:
    counts = pulled.counts
    part = f" of part {pulled.shard}, of {pulled.total:,} in all" if pulled.shard.of > 1 else ""
    read = counts["full"] + counts["incremental"]
    how = f"{counts['full']:,} whole and {counts['incremental']:,} by their changes"
    return (
        f"{pulled.job}: {read:,} of {plural(counts['calendars'], 'calendar')}{part} read, {how}. Nothing was compared."
    )


def _gaps(pulled: Pulled) -> Iterator[str]:
    """Say which calendars were not read, and why."""
    gaps = [one for one in pulled.calendars if one.asked and not one.observed]
    for one in gaps[:MOST]:
        yield f"  NOT READ {bounded(one.agent)} ({bounded(one.source)}): {bounded(one.why or 'no reason given', 300)}"
    if len(gaps) > MOST:
        yield f"  and {len(gaps) - MOST} more: --format json lists all of them"
