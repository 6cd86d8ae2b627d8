"""The CRM side in the state database: the snapshot last read, chunk by chunk, so that only what changed is written."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, delete, exists, false, func, select, true, update

from reconciler.model import Presence, Record
from reconciler.normalise import digest, key_digest
from reconciler.store import codec, suppressed
from reconciler.store.compare import Candidate, Scope
from reconciler.store.database import batched, upsert
from reconciler.store.schema import chunks, jobs, links, mirror, records

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from reconciler.model import Window
    from reconciler.store.state import State

LOOKED_UP = ""
"""The chunk of records that were looked up, not read in a window."""

CAUGHT_UP = "+"
"""The chunk of records that are new since the last whole read."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of the CRM: the chunks of the last whole read, how many records there are, and when it was read.

    `digests` is empty when records were normalised in another way: then all is read anew.
    """

    digests: Mapping[str, bytes] = field(default_factory=dict)
    count: int | None = None
    whole_at: datetime | None = None
    read_at: datetime | None = None


def known(connection: Connection, state: State, fingerprint: str, window: Window) -> Known:
    """Return what is known of the CRM; of its records, those that a snapshot of `window` should show."""
    job = connection.execute(select(jobs).where(jobs.c.id == state.job)).one()
    if job.fingerprint is None:
        return Known()
    rows = connection.execute(select(chunks.c.first, chunks.c.digest).where(chunks.c.job == state.job)).all()
    here = and_(records.c.from_at < codec.epoch(window.end), records.c.to_at > codec.epoch(window.start))
    mine = and_(records.c.job == state.job, records.c.presence != Presence.ABSENT, here)
    count = connection.execute(select(func.count()).select_from(records).where(mine)).scalar_one()
    if job.fingerprint != fingerprint:
        return Known(count=count)
    digests = {row.first: bytes(row.digest) for row in rows}
    return Known(digests, count, codec.from_epoch(job.whole_at), codec.from_epoch(job.read_at))


def put(
    connection: Connection,
    state: State,
    found: Sequence[Record],
    compare: tuple[str, ...],
    chunk: str = LOOKED_UP,
    now: datetime | None = None,
) -> set[str]:
    """Write records as they are now; return the ids that this chunk held before and does not hold any more.

    Without `now` they are a baseline: how they stand is not new, however young the state is.
    """
    found = suppressed.as_kept(connection, state, found)
    if now is not None:
        found = _dated(connection, state, found, compare, now, are_new=chunk != LOOKED_UP)
    upsert(connection, records, [_row(state, record, compare, chunk) for record in found], kept=("linked",))
    for batch in batched(record.id for record in found):
        _mark_linked(connection, state, batch)
    if chunk == LOOKED_UP:
        return set()
    held = select(records.c.crm_id).where(records.c.job == state.job, records.c.chunk == chunk)
    return set(connection.execute(held).scalars()) - {record.id for record in found}


def catch_up(
    connection: Connection, state: State, found: Sequence[Record], compare: tuple[str, ...], now: datetime
) -> None:
    """Write records that changed since the last read; the next whole one will find their chunks changed."""
    found = suppressed.as_kept(connection, state, found)
    found = _dated(connection, state, found, compare, now, are_new=True)
    rows = [_row(state, record, compare, CAUGHT_UP) for record in found]
    upsert(connection, records, rows, kept=("linked", "chunk"))
    for batch in batched(record.id for record in found):
        _mark_linked(connection, state, batch)


def _dated(
    connection: Connection,
    state: State,
    found: Sequence[Record],
    compare: tuple[str, ...],
    now: datetime,
    *,
    are_new: bool,
) -> list[Record]:
    """Say of records that don't credibly tell when they changed since when they have been as they are.

    A record that was never known is new only where a snapshot would have shown it before, not where it was looked up.
    """
    timeless = {record.id for record in found if record.updated is None or record.updated > now}
    before: dict[str, Any] = {}
    for batch in batched(timeless):
        query = select(records).where(records.c.job == state.job, records.c.crm_id.in_(batch))
        before |= {row.crm_id: row for row in connection.execute(query)}

    def since(record: Record) -> datetime | None:
        row = before.get(record.id)
        if row is None:
            return now if are_new else None
        if (bytes(row.digest), row.presence) != (_digest(record, compare), record.presence):
            return now
        return codec.record_from(row.crm_id, row.presence, row.payload).first_seen

    return [replace(record, first_seen=since(record)) if record.id in timeless else record for record in found]


def _digest(record: Record, compare: tuple[str, ...]) -> bytes:
    return digest(record.fields, compare) if record.problem is None else b""


def refresh(connection: Connection, state: State, record: Record, compare: tuple[str, ...]) -> Record:
    """Write one record as a write of ours left it, and return it as it is kept.

    The next snapshot will find its chunk changed and read it again.
    """
    [kept] = suppressed.as_kept(connection, state, [record])
    upsert(connection, records, [_row(state, kept, compare, LOOKED_UP)], kept=("linked", "chunk"))
    _mark_linked(connection, state, [record.id])
    return kept


def drop(connection: Connection, state: State, ids: Iterable[str]) -> None:
    """Forget records that are not in the CRM any more."""
    for batch in batched(ids):
        connection.execute(delete(records).where(records.c.job == state.job, records.c.crm_id.in_(batch)))


def complete(
    connection: Connection,
    state: State,
    read: Mapping[str, tuple[bytes, int]],
    stale: Mapping[str, set[str]],
    fingerprint: str,
    now: datetime,
) -> None:
    """Note that the CRM was read whole: what its chunks no longer hold (`stale`) or did not show is dropped."""
    before = set(connection.execute(select(chunks.c.first).where(chunks.c.job == state.job)).scalars())
    for chunk, ids in stale.items():
        _drop_from(connection, state, chunk, ids)
    for batch in batched((before - read.keys()) | {CAUGHT_UP}):
        connection.execute(delete(records).where(records.c.job == state.job, records.c.chunk.in_(batch)))
        connection.execute(delete(chunks).where(chunks.c.job == state.job, chunks.c.first.in_(batch)))
    rows = [{"job": state.job, "first": first, "digest": mark, "count": count} for first, (mark, count) in read.items()]
    upsert(connection, chunks, rows)
    _note_read(connection, state, now, fingerprint=fingerprint, whole_at=codec.epoch(now))


def _drop_from(connection: Connection, state: State, chunk: str, ids: Iterable[str]) -> None:
    """Drop records that left a chunk, unless another chunk has taken them over meanwhile."""
    for batch in batched(ids):
        left = and_(records.c.job == state.job, records.c.crm_id.in_(batch), records.c.chunk == chunk)
        connection.execute(delete(records).where(left))


def _note_read(connection: Connection, state: State, now: datetime, **values: str | int) -> None:
    connection.execute(update(jobs).where(jobs.c.id == state.job).values(read_at=codec.epoch(now), **values))


def caught_up(connection: Connection, state: State, now: datetime) -> None:
    """Note that what changed in the CRM up to `now` was read."""
    _note_read(connection, state, now)


def _row(state: State, record: Record, compare: tuple[str, ...], chunk: str) -> dict[str, Any]:
    span = codec.record_span(record.fields)
    from_at, to_at = codec.scope_range(span) if span else (0, 2**62)
    agent = record.fields.get("agent")
    return {
        "job": state.job,
        "crm_id": record.id,
        "digest": _digest(record, compare),
        "chunk": chunk,
        "key": key_digest(record.key, state.salt) if record.key else None,
        "agent": agent if isinstance(agent, str) else None,
        "start_at": codec.epoch(span.starts_at) if span else None,
        "from_at": from_at,
        "to_at": to_at,
        "presence": record.presence,
        "linked": False,
        "payload": codec.record_payload(record),
    }


def _mark_linked(connection: Connection, state: State, ids: Sequence[str]) -> None:
    connection.execute(_MARK_LINKED, {"mine": state.job, "ids": ids})


_MARK_LINKED: Final = (
    update(records)
    .where(
        records.c.job == bindparam("mine"),
        records.c.crm_id.in_(bindparam("ids", expanding=True)),
        records.c.linked == false(),
        exists().where(links.c.job == records.c.job, links.c.crm_id == records.c.crm_id),
    )
    .values(linked=True)
)


def ids(connection: Connection, state: State) -> list[str]:
    """Return the ids of all records that are known."""
    return list(connection.execute(select(records.c.crm_id).where(records.c.job == state.job)).scalars())


def unread_links(connection: Connection, state: State) -> list[str]:
    """Return the ids of linked records that the snapshot's window did not show: they are looked up by id."""
    here = exists(records.c.crm_id).where(records.c.crm_id == links.c.crm_id, records.c.job == links.c.job)
    gone = select(links.c.crm_id).where(links.c.job == state.job, ~here)
    elsewhere = select(records.c.crm_id).where(
        records.c.chunk == LOOKED_UP, records.c.job == state.job, records.c.linked == true()
    )
    return [*connection.execute(gone).scalars(), *connection.execute(elsewhere).scalars()]


def unlinked_lookups(connection: Connection, state: State) -> None:
    """Forget looked-up records that no link holds: they were candidates of an earlier run."""
    link = exists().where(links.c.job == records.c.job, links.c.crm_id == records.c.crm_id)
    mine = and_(records.c.job == state.job, records.c.chunk == LOOKED_UP, ~link)
    connection.execute(delete(records).where(mine))


_linked_to = records.outerjoin(links, and_(links.c.job == records.c.job, links.c.crm_id == records.c.crm_id)).outerjoin(
    mirror, and_(mirror.c.job == links.c.job, mirror.c.calendar == links.c.calendar, mirror.c.event == links.c.event)
)


def knows_key(connection: Connection, state: State, keys: Iterable[str]) -> set[str]:
    """Return those of `keys` that a live or cancelled record carries."""
    marks = {key_digest(key, state.salt): key for key in keys}
    found: set[str] = set()
    for batch in batched(marks):
        query = select(records.c.key).where(records.c.job == state.job, records.c.key.in_(batch))
        found |= {marks[bytes(mark)] for mark in connection.execute(query).scalars()}
    return found


def by_key(connection: Connection, state: State, keys: Iterable[str], scope: Scope) -> dict[str, list[Candidate]]:
    """Return the known records under each of `keys`; one whose own event is gone is free to be linked anew."""
    marks = {key_digest(key, state.salt): key for key in keys}
    columns = (records.c.key, records.c.crm_id, records.c.presence, records.c.payload, records.c.linked)
    alive = mirror.c.absence.is_(None) & mirror.c.event.is_not(None)
    query = select(*columns, records.c.from_at, records.c.to_at, alive.label("alive")).select_from(_linked_to)
    found: dict[str, list[Candidate]] = {}
    for batch in batched(marks):
        for row in connection.execute(query.where(records.c.job == state.job, records.c.key.in_(batch))):
            touches = row.from_at < scope.end and row.to_at > scope.start
            record = codec.record_from(row.crm_id, row.presence, row.payload)
            free = not row.linked or (not row.alive and record.presence is Presence.LIVE)
            candidate = Candidate(record, linked=not free, in_scope=bool(row.linked or touches))
            found.setdefault(marks[bytes(row.key)], []).append(candidate)
    return found


def agents_with_unlinked(connection: Connection, state: State) -> frozenset[str]:
    """Return the owners who have live records without a link: only theirs can be natural matches."""
    mine = and_(records.c.job == state.job, records.c.linked == false(), records.c.presence == Presence.LIVE)
    alone = select(records.c.agent).where(mine).cte("alone").prefix_with("MATERIALIZED")  # few; not all owners' rows
    owners = select(alone.c.agent).where(alone.c.agent.is_not(None)).distinct()
    return frozenset(connection.execute(owners).scalars())


def near(
    connection: Connection, state: State, agent: str, start: int, seconds: int, *, linked_too: bool = False
) -> list[Record]:
    """Return the live records of `agent` that start within `seconds` of the epoch second `start`; the unlinked ones."""
    query = select(records.c.crm_id, records.c.presence, records.c.payload).where(
        records.c.job == state.job,
        records.c.agent == agent,
        records.c.start_at.between(start - seconds, start + seconds),
        records.c.presence == Presence.LIVE,
        true() if linked_too else records.c.linked == false(),
    )
    return [codec.record_from(*row) for row in connection.execute(query)]
