"""Forgetting a person: of their appointments only the time is kept, of everything else what does not name them.

What the next run needs to plan nothing stays: which event belongs to which record, how both stand in time, and digests
made anew from that. First it is noted that nothing is to be kept of them, so that nothing comes back; then what is
there goes, step by step. Where it ends before it is done, whoever asks for it again does the rest.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

from sqlalchemy import delete, exists, select, update

from reconciler.errors import LockedError, StateError
from reconciler.model import Outcome
from reconciler.store import suppressed
from reconciler.store.database import batched
from reconciler.store.journal import SENT
from reconciler.store.schema import calendars, cursors, jobs, journal
from reconciler.store.scrubbing import Row, Terms, changes, leave_of
from reconciler.store.stepping import again, steps
from reconciler.store.subject import traces

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from reconciler.store.scrubbing import Change, Leave
    from reconciler.store.state import State
    from reconciler.store.subject import Person, Traces

_OPEN: Final = (SENT, Outcome.UNKNOWN.value)


def crm_of(state: State) -> str | None:
    """Return the CRM that the state was built against, whose runs have to wait meanwhile; None before the first."""
    with state.engine.connect() as connection:
        crm: str | None = connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar()
    return crm


def is_asked(state: State, person: Person) -> bool:
    """Tell whether somebody asked before that this person be forgotten, whether or not that was done to the end."""
    with state.reading() as connection:
        who = suppressed.forgotten(connection, state)
    return any(map(who.has, person.addresses))


def count(state: State, person: Person, terms: Terms) -> dict[str, int]:
    """Return how many rows of each table would be changed or dropped; nothing is written."""
    with state.reading() as connection:
        found = traces(connection, state, person)
        _refuse_open(found)
        return _counted({one.row for one in changes(connection, found, leave_of(state, person, terms, found))})


def forget(
    state: State, person: Person, terms: Terms, is_held: Callable[[], bool], pause: Callable[[], None]
) -> dict[str, int]:
    """Forget a person, and remember that; return how many rows of each table were changed or dropped.

    For whoever holds the run's lock, for as long as `is_held`; between its steps it takes a `pause`, in which others
    write. Raises StateError, with nothing done, while it is not known what became of a write to an appointment of
    theirs, and LockedError where the lock is lost: then what was done is done, and the rest when it is asked for again.
    """
    _refuse_unsettled(state, person)
    with state.begin() as connection:
        _alone(connection, state)
        suppressed.suppress(connection, state, person.addresses, terms.now)
        _void_reads(
            connection, connection.execute(select(calendars.c.id).where(calendars.c.job == state.job)).scalars()
        )
    with state.reading() as connection:
        found = traces(connection, state, person)
        leave = leave_of(state, person, terms, found)
        to_do = [*steps(found, person, lambda part: any(changes(connection, part, leave)))]
    done = set[Row]()
    for number, step in enumerate(to_do):
        if number:
            pause()
        if not is_held():
            raise LockedError("The lock was lost, and a run may be at work. Type the same command again: it goes on.")
        done |= _carried_out(state, step, leave)
    return _counted(done)


def _refuse_unsettled(state: State, person: Person) -> None:
    """Refuse while it is not known what became of a write of theirs. Mostly none is open: then nothing is searched."""
    waiting = exists(journal.c.id).where(journal.c.status.in_(_OPEN), journal.c.job == state.job)
    with state.reading() as connection:
        if connection.execute(select(waiting)).scalar():
            _refuse_open(traces(connection, state, person))


def _refuse_open(found: Traces) -> None:
    many = sum(row["status"] in _OPEN for row in found.journal.values())
    if many:
        raise StateError(
            f"It is not known yet what became of {many} of our writes to their appointments, and only what was written "
            "can tell. Nothing was forgotten: let a run look them up first (`reconcile run`), then forget them."
        )


def _counted(rows: set[Row]) -> dict[str, int]:
    """Count rows by table: one that changed in two steps is one."""
    return dict(sorted(Counter(table for table, *_ in rows).items()))


# ---- one step -------------------------------------------------------------------------------------------------------


def _carried_out(state: State, step: Traces, leave: Leave) -> set[Row]:
    """Carry out what becomes of these rows as they are now, in one transaction; return which ones changed."""
    with state.begin() as connection:
        _alone(connection, state)
        _void_reads(connection, {calendar for calendar, _ in step.events})
        found = [*changes(connection, again(connection, state, leave.person, step), leave)]
        for change in found:
            _carry_out(connection, change)
    return {change.row for change in found}


def _alone(connection: Connection, state: State) -> None:
    """Wait for who looks at this moment who is forgotten, and let nobody look until the transaction ends."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == state.job).with_for_update())


def _void_reads(connection: Connection, numbers: Iterable[int]) -> None:
    """Let no read that began before bring back what it saw: it loses the race for its cursor, which stays good."""
    bump = update(cursors).values(version=cursors.c.version + 1)
    for batch in batched(numbers):
        connection.execute(bump.where(cursors.c.calendar.in_(batch)))


def _carry_out(connection: Connection, change: Change) -> None:
    which = [change.table.c[name] == value for name, value in change.key.items()]
    if change.values is None:
        connection.execute(delete(change.table).where(*which))
    else:
        connection.execute(update(change.table).where(*which).values(dict(change.values)))
