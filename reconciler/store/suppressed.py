"""Who asked to be forgotten, as a job remembers it: marks that tell an address again, and from which none is read."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, select, update

from reconciler.forgotten import Forgotten, discreet, mark_of, reduced, withheld
from reconciler.normalise import digest
from reconciler.store import codec
from reconciler.store.database import batched, upsert
from reconciler.store.schema import jobs, links, mirror, records, suppressed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Row

    from reconciler.model import Record, Seen
    from reconciler.store.state import State


def forgotten(connection: Connection, state: State) -> Forgotten:
    """Return who asked to be forgotten; until the transaction ends, nobody is added."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == state.job).with_for_update(read=True))
    marks = connection.execute(select(suppressed.c.mark).where(suppressed.c.job == state.job)).scalars()
    return Forgotten(frozenset(bytes(mark) for mark in marks), state.salt)


def suppress(connection: Connection, state: State, addresses: Iterable[str], now: datetime) -> None:
    """Remember these addresses as those of whom nothing is kept."""
    at = codec.epoch(now)
    rows = [{"job": state.job, "mark": mark, "at": at} for mark in marks_of(state, addresses)]
    upsert(connection, suppressed, rows)


def marks_of(state: State, addresses: Iterable[str]) -> list[bytes]:
    """Return the marks of these addresses in this job."""
    return [mark_of(address, state.salt) for address in addresses]


def as_kept(connection: Connection, state: State, found: Sequence[Record]) -> list[Record]:
    """Return records as they may be kept: what is withheld stays so, and so does what its event is withheld for."""
    who = forgotten(connection, state)
    if not who:
        return list(found)
    held: set[str] = set()
    for batch in batched(record.id for record in found):
        own = and_(records.c.crm_id.in_(batch), records.c.job == state.job, _is_withheld(records.c.payload))
        held |= set(connection.execute(select(records.c.crm_id).where(own)).scalars())
        theirs = and_(links.c.crm_id.in_(batch), links.c.job == state.job, _is_withheld(mirror.c.payload))
        held |= set(connection.execute(select(links.c.crm_id).join(mirror, _SAME_EVENT).where(theirs)).scalars())
    return discreet(found, who, frozenset(held))


def withheld_events(connection: Connection, state: State, calendar: int) -> frozenset[str]:
    """Return the events of a calendar that are withheld, for what they said or for their record."""
    own = and_(mirror.c.calendar == calendar, mirror.c.job == state.job, _is_withheld(mirror.c.payload))
    theirs = and_(links.c.calendar == calendar, links.c.job == state.job, _is_withheld(records.c.payload))
    found = set(connection.execute(select(mirror.c.event).where(own)).scalars())
    found |= set(connection.execute(select(links.c.event).join(records, _SAME_RECORD).where(theirs)).scalars())
    return frozenset(found)


def event_as_kept(seen: Seen, compare: tuple[str, ...], organizer: str | None) -> Seen:
    """Return an event as a read brings it once it is withheld; of private and irrelevant ones nothing more is known."""
    if seen.private or seen.relevance is None:
        return seen
    kept = replace(seen, private=True, withheld=True, fields=reduced(seen.fields), organizer=organizer)
    return replace(kept, digest=digest(kept.fields, compare), guests=min(seen.guests, 1))


def level(connection: Connection, state: State, ids: Iterable[str], compare: tuple[str, ...]) -> None:
    """Withhold of both sides of these records' links what is withheld of one: each may name who is forgotten."""
    who = forgotten(connection, state)
    if not who:
        return
    whole = links.join(mirror, _SAME_EVENT).join(records, _SAME_RECORD)
    columns = (links.c.base_digest, mirror, records.c.crm_id, records.c.presence, records.c.payload.label("record"))
    for batch in batched(ids):
        query = select(*columns).select_from(whole).where(links.c.job == state.job, links.c.crm_id.in_(batch))
        for row in connection.execute(query).all():
            _level(connection, state, row, compare, who)


def _level(connection: Connection, state: State, row: Row[Any], compare: tuple[str, ...], who: Forgotten) -> None:
    seen = codec.seen_from(row.event, row.digest, row.meeting, row.absence, row.payload)
    record = codec.record_from(row.crm_id, row.presence, row.record)
    if seen.withheld and not record.withheld:
        record = withheld(record, who)
        mine = and_(records.c.crm_id == record.id, records.c.job == state.job)
        values = {"payload": codec.record_payload(record), "digest": digest(record.fields, compare)}
        connection.execute(update(records).where(mine).values(values))
    elif record.withheld and not seen.private:
        kept = event_as_kept(seen, compare, None if who.has(seen.organizer) else seen.organizer)
        here = and_(mirror.c.calendar == row.calendar, mirror.c.event == row.event)
        values = {"payload": codec.seen_payload(kept), "digest": kept.digest}
        connection.execute(update(mirror).where(here).values(values))
        agreed = and_(links.c.crm_id == record.id, links.c.job == state.job, links.c.base_digest == seen.digest)
        connection.execute(update(links).where(agreed).values(base_digest=kept.digest))


_SAME_EVENT: Final = and_(
    mirror.c.calendar == links.c.calendar, mirror.c.event == links.c.event, mirror.c.job == links.c.job
)
_SAME_RECORD: Final = and_(records.c.crm_id == links.c.crm_id, records.c.job == links.c.job)


def _is_withheld(payload: Column[str]) -> ColumnElement[bool]:
    """Ask a payload whether it says so; what a title says has its quotes escaped, and is not taken for it."""
    return payload.contains('"withheld":true')
