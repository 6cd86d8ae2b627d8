"""The CRM as it stands: a snapshot into the state database, in which only what changed is written."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler import guard, normalise
from reconciler.errors import CrmUnreachableError, SnapshotError
from reconciler.store import records
from reconciler.store.database import batched
from reconciler.store.state import State

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.crm import Reader, Snapshot
    from reconciler.model import Record, Window

LARGE = 50_000
"""Records from which a CRM that says when its rows changed is read whole once a day only, and caught up in between."""

OVERLAP = timedelta(minutes=10)
"""How far a catching-up read reaches back before the last one: transactions commit late, clocks differ."""


def observe_crm(
    store: State, reader: Reader, window: Window, compare: tuple[str, ...], now: datetime, *, full: bool
) -> None:
    """Read a snapshot into the state database, writing only what changed.

    Raises CrmUnreachableError when it can't be read whole, SnapshotError when what it shows can't be the truth: then
    the records last known stay.
    """
    fingerprint = _fingerprint(reader, window, compare)
    with store.begin() as connection:
        known = records.known(connection, store, fingerprint, window)
    with reader.snapshot() as snapshot:
        if not full and "updated" in reader.shape.mapped and _was_whole_today(known, now):
            _catch_up(store, snapshot, compare, known, now)
        else:
            _read_whole(store, snapshot, window, compare, known, fingerprint, now)
        with store.begin() as connection:
            records.unlinked_lookups(connection, store)
            wanted = records.unread_links(connection, store)
        look_up(store, snapshot.by_ids(wanted), compare, wanted, now=now)


def _fingerprint(reader: Reader, window: Window, compare: tuple[str, ...]) -> str:
    span = (window.end - window.start).days
    return hashlib.blake2b(
        f"{normalise.VERSION}|{reader.fingerprint}|{compare}|{span}".encode(), digest_size=16
    ).hexdigest()


def _was_whole_today(known: records.Known, now: datetime) -> bool:
    """Tell whether a large CRM was read whole since the window last rolled (midnight UTC)."""
    if known.count is None or known.count < LARGE or known.whole_at is None:
        return False
    return known.whole_at.date() == now.date() and known.whole_at <= now


def _catch_up(store: State, snapshot: Snapshot, compare: tuple[str, ...], known: records.Known, now: datetime) -> None:
    """Read what changed since the last read. A deleted row shows at the next whole read, or when it is written."""
    since = (known.read_at or now) - OVERLAP
    for batch in batched(snapshot.changed_since(since)):
        with store.begin() as connection:
            records.catch_up(connection, store, batch, compare, now)
    with store.begin() as connection:
        records.caught_up(connection, store, now)


def _read_whole(
    store: State,
    snapshot: Snapshot,
    window: Window,
    compare: tuple[str, ...],
    known: records.Known,
    fingerprint: str,
    now: datetime,
) -> None:
    """Read all chunks and write those that changed; nothing is dropped before the snapshot proved plausible."""
    read: dict[str, tuple[bytes, int]] = {}
    stale: dict[str, set[str]] = {}
    since = now if known.whole_at else None  # where nothing comparable was known, all of it is a baseline
    for chunk in snapshot.chunks(window):
        read[chunk.first] = (chunk.digest, chunk.count)
        if known.digests.get(chunk.first) != chunk.digest:
            with store.begin() as connection:
                stale[chunk.first] = records.put(connection, store, chunk.records(), compare, chunk.first, since)
    total = sum(count for _, count in read.values())
    if guard.collapsed(total, known.count):
        raise SnapshotError(_collapse(total, known.count or 0, store.name))
    with store.begin() as connection:
        records.complete(connection, store, read, stale, fingerprint, now)


def look_up(
    store: State,
    found: Iterable[Record],
    compare: tuple[str, ...],
    wanted: Iterable[str] = (),
    *,
    now: datetime | None = None,
) -> None:
    """Write records that were looked up; those wanted and not found are gone from the CRM: a look-up by id says so."""
    kept = list(found)
    with store.begin() as connection:
        records.put(connection, store, kept, compare, now=now)
        records.drop(connection, store, set(wanted) - {record.id for record in kept})


def _collapse(total: int, before: int, job: str) -> str:
    return (
        f"The CRM shows {total} records where the last complete snapshot had {before}: that is no change, that is a "
        "hole (a permission, a filter, a table half restored). Nothing was planned. If it is right, run "
        f"`reconcile state rebind {job}`."
    )


def unreachable(error: CrmUnreachableError) -> str:
    """Say what a run without its CRM does."""
    return f"{error} Calendars were still read and kept; nothing was planned."
