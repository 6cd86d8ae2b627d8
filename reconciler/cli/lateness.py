"""Which slots of its schedule a job was not started for, or did not serve: for `status`; `schedule` shows all lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.cli import scheduling
from reconciler.schedule import machine_zone
from reconciler.schedule.keeping import GRACE, LOOK_BACK, Noted, kept

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Named
    from reconciler.schedule import Entry
    from reconciler.store.database import Connection
    from reconciler.store.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Late:
    """What a schedule asked for and did not get: the slot that is late, if one is, and how many were missed."""

    command: str
    late: datetime | None
    missed: int
    first_missed: datetime | None


def late(call: Call, named: Named, connection: Connection, state: State) -> tuple[Late, ...]:
    """Return the lines of the crontab on this job that are not kept; none is, before a slot was ever taken."""
    from reconciler.store import slots

    first = slots.first(connection, state)
    if first is None:
        return ()
    served = slots.noted(connection, state, call.world.clock() - max(LOOK_BACK))
    found = []
    for entry, asked in scheduling.lines(call, named.job):
        if asked.is_followed:
            done = {one.at for one in served if one.command == asked.command and one.is_done}
            found.append(_late(call, named, asked.command, entry, Noted(done=done, first=first)))
    return tuple(one for one in found if one.late or one.missed)


def _late(call: Call, named: Named, command: str, entry: Entry, noted: Noted) -> Late:
    zone = machine_zone(call.world.environ)
    stands = kept(entry, call.world.clock(), zone, noted, GRACE + named.job.run.jitter)
    return Late(
        command=command,
        late=stands.last if stands.is_late else None,
        missed=stands.missed,
        first_missed=stands.first_missed,
    )


def as_json(one: Late) -> dict[str, Any]:
    """Return the object of `status --format json`."""
    return {"command": one.command, "late": one.late, "missed": one.missed, "first_missed": one.first_missed}
