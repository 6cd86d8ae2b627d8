"""Which slots of a schedule were served: each command does a slot's work once, however often it is started for it.

A slot is served when a start that stands for it has ended with its work done. One that died, or could not begin, has
served nothing: the next start for the slot does the work. Slots that passed without a start are made up for by the
next one, which stands for the latest of them alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, func, or_, select, tuple_, update

from reconciler.errors import ServedError
from reconciler.model import rfc3339
from reconciler.store import codec
from reconciler.store.database import upsert
from reconciler.store.schema import runs, slots

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from reconciler.store.state import State

DONE: Final = frozenset({0, 3, 4, 5})
"""Exit codes with which a slot's work is done: refused and partial runs have said what there is to say."""
EARLY: Final = timedelta(seconds=30)
"""How early a start may be for its slot: clocks of two machines differ, and one's cron starts on another."""
AHEAD: Final = timedelta(minutes=5)
"""What was noted further ahead than this was noted by a clock that has been set back since, and counts no more."""

_MINUTE: Final = 60
"""Seconds between two times that cron knows."""


@dataclass(frozen=True, slots=True)
class Slot:
    """What a start stands for: the latest slot of its command, and the one that comes next, if there is any."""

    command: str
    at: datetime
    coming: datetime | None = None


@dataclass(frozen=True, slots=True)
class Served:
    """What is known of one slot: by whom it was begun and when, and how that ended; `run` where it was a run."""

    command: str
    at: datetime
    began_at: datetime
    ended_at: datetime | None
    exit_code: int | None
    run: str | None

    @property
    def is_done(self) -> bool:
        """Tell whether its work is done."""
        return self.exit_code in DONE


def set_right(state: State, slot: Slot, now: datetime) -> None:
    """Forget what was noted of a slot's command by a clock that has been set back; comes before `take`.

    In a transaction of its own: that of a start with nothing to do is rolled back.
    """
    ahead = slots.c.began_at > codec.epoch(now + AHEAD)
    with state.begin() as connection:
        connection.execute(delete(slots).where(slots.c.job == state.job, slots.c.command == slot.command, ahead))


def take(connection: Connection, state: State, slot: Slot, now: datetime, run: str | None = None) -> datetime:
    """Begin a slot's work, and return which slot that is. Raises ServedError where it is done already.

    For whoever holds a lock that no other start of this command can hold. A start just before the slot that comes
    stands for that one, if the latest is done.
    """
    at, done = slot.at, _of(connection, state, slot.command, slot.at)
    if done and done.is_done and slot.coming and slot.coming - now <= EARLY:
        at, done = slot.coming, _of(connection, state, slot.command, slot.coming)
    if done and done.is_done:
        raise ServedError(f"The slot of {rfc3339(at)} was served at {rfc3339(done.began_at)}; nothing was done.")
    row = {"job": state.job, "command": slot.command, "slot": codec.epoch(at), "began_at": codec.epoch(now)}
    upsert(connection, slots, [{**row, "ended_at": None, "exit_code": None, "run": run}])
    if run:
        connection.execute(update(runs).where(runs.c.job == state.job, runs.c.id == run).values(slot=codec.epoch(at)))
    return at


def end(connection: Connection, state: State, command: str, at: datetime, now: datetime, exit_code: int) -> None:
    """Note how a slot's work ended."""
    which = (slots.c.job == state.job, slots.c.command == command, slots.c.slot == codec.epoch(at))
    connection.execute(update(slots).where(*which).values(ended_at=codec.epoch(now), exit_code=exit_code))


def end_run(connection: Connection, state: State, run: str, now: datetime, exit_code: int) -> None:
    """Note how the run ended that serves a slot, if it does."""
    served = update(slots).where(slots.c.job == state.job, slots.c.run == run)
    connection.execute(served.values(ended_at=codec.epoch(now), exit_code=exit_code))


# ---- what was done --------------------------------------------------------------------------------------------------


def noted(connection: Connection, state: State, since: datetime) -> list[Served]:
    """Return all slots from `since` on of which anything is known, and the last of each command; oldest first."""
    last = select(slots.c.command, func.max(slots.c.slot)).where(slots.c.job == state.job).group_by(slots.c.command)
    wanted = or_(slots.c.slot >= codec.epoch(since), tuple_(slots.c.command, slots.c.slot).in_(last))
    query = select(slots).where(slots.c.job == state.job, wanted).order_by(slots.c.slot, slots.c.command)
    return [_served(row) for row in connection.execute(query).mappings()]


def first(connection: Connection, state: State) -> datetime | None:
    """Return the minute of the first start of which anything is known: before it, no schedule started this job.

    Not the first slot: who tries the line of a monthly report stands for a slot that is weeks old, and missed none.
    """
    began = connection.execute(select(func.min(slots.c.began_at)).where(slots.c.job == state.job)).scalar()
    return None if began is None else codec.from_epoch(began - began % _MINUTE)


def _of(connection: Connection, state: State, command: str, at: datetime) -> Served | None:
    which = (slots.c.job == state.job, slots.c.command == command, slots.c.slot == codec.epoch(at))
    row = connection.execute(select(slots).where(*which)).mappings().first()
    return None if row is None else _served(row)


def _served(row: RowMapping) -> Served:
    return Served(
        row["command"],
        codec.from_epoch(row["slot"]),
        codec.from_epoch(row["began_at"]),
        codec.from_epoch(row["ended_at"]),
        row["exit_code"],
        row["run"],
    )
