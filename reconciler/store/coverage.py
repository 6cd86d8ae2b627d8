"""Which calendars a job file no longer names though records follow them, and since when it may leave them out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, select, update

from reconciler.guard import Uncovered
from reconciler.model import Presence
from reconciler.store import codec
from reconciler.store.database import batched
from reconciler.store.schema import calendars, links, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping

    from reconciler.model import Calendar
    from reconciler.store.state import State


def uncovered(connection: Connection, state: State, named: Iterable[Calendar], now: datetime) -> tuple[Uncovered, ...]:
    """Return the calendars with linked records to come that are not `named` any more and that nobody released."""
    names = set(_names(named))
    known = connection.execute(
        select(calendars).where(calendars.c.job == state.job, calendars.c.released_at.is_(None))
    ).mappings()
    lost = {row["id"]: row for row in known if (row["source"], row["agent"], row["name"]) not in names}
    counts = _to_come(connection, state, lost, now)
    return tuple(_uncovered(lost[number], count) for number, count in sorted(counts.items()))


def _names(named: Iterable[Calendar]) -> Iterator[tuple[str, str, str]]:
    """Yield by what the state may know these calendars: an alias finds the rows of an agent's former address."""
    for calendar in named:
        for address in (calendar.agent.email, *calendar.agent.aliases):
            yield calendar.source, address, calendar.name


def _to_come(connection: Connection, state: State, numbers: Iterable[int], now: datetime) -> dict[int, int]:
    joined = links.join(records, and_(records.c.job == links.c.job, records.c.crm_id == links.c.crm_id))
    query = select(links.c.calendar, func.count()).select_from(joined).group_by(links.c.calendar)
    counts: dict[int, int] = {}
    for batch in batched(numbers):
        live = and_(
            links.c.job == state.job,
            links.c.calendar.in_(batch),
            records.c.presence == Presence.LIVE.value,
            records.c.to_at > codec.epoch(now),
        )
        counts |= {row[0]: row[1] for row in connection.execute(query.where(live))}
    return counts


def _uncovered(row: RowMapping, count: int) -> Uncovered:
    return Uncovered(number=row["id"], source=row["source"], agent=row["agent"], name=row["name"], records=count)


def release(connection: Connection, state: State, left_out: Iterable[Uncovered], now: datetime) -> None:
    """Let the job file leave these calendars out from now on."""
    for batch in batched(one.number for one in left_out):
        mine = and_(calendars.c.job == state.job, calendars.c.id.in_(batch))
        connection.execute(update(calendars).where(mine).values(released_at=codec.epoch(now)))


def cover(connection: Connection, state: State, named: Iterable[Calendar]) -> None:
    """Take back the release of calendars that the job file names again: leaving them out anew is asked about anew."""
    names = set(_names(named))
    released = and_(calendars.c.job == state.job, calendars.c.released_at.is_not(None))
    rows = connection.execute(select(calendars).where(released)).mappings().all()
    back = [row["id"] for row in rows if (row["source"], row["agent"], row["name"]) in names]
    for batch in batched(back):
        connection.execute(update(calendars).where(calendars.c.id.in_(batch)).values(released_at=None))
