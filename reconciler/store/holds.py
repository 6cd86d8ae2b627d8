"""What a person took back and is not to be done again: a hold for each pair, with how both of its sides stood.

It lasts as long as they stand like that. Whoever compares asks for all of them; what no longer applies is let go.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, select

from reconciler.model import Presence
from reconciler.store import codec, compare, records
from reconciler.store.database import batched, upsert
from reconciler.store.schema import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from reconciler.model import Record, Seen
    from reconciler.store.compare import Scope
    from reconciler.store.state import State

BY_ID = "crm:"
"""How the key of a pair begins that has no source key: the record's id follows (`findings`)."""


@dataclass(frozen=True, slots=True)
class Hold:
    """How both sides of a pair stood when `run` took back what had been written to one of them."""

    sides: bytes
    run: str


def all_of(connection: Connection, state: State) -> dict[str, Hold]:
    """Return the holds of this job by the key of their pair."""
    rows = connection.execute(select(holds).where(holds.c.job == state.job))
    return {row.key: Hold(bytes(row.sides), row.run) for row in rows}


def of(connection: Connection, state: State, keys: Iterable[str]) -> dict[str, Hold]:
    """Return the holds on these pairs."""
    rows = connection.execute(select(holds).where(holds.c.job == state.job, holds.c.key.in_([*keys])))
    return {row.key: Hold(bytes(row.sides), row.run) for row in rows}


def save(connection: Connection, state: State, found: Mapping[str, bytes], run: str, now: datetime) -> None:
    """Hold these pairs, each by its key, as their sides stand; a later revert's hold takes the place of another's."""
    at = codec.epoch(now)
    rows = [{"key": key, "job": state.job, "sides": each, "run": run, "at": at} for key, each in found.items()]
    upsert(connection, holds, rows)


def put(connection: Connection, state: State, found: Mapping[str, Hold], now: datetime) -> None:
    """Hold these pairs again as they were held."""
    for key, hold in found.items():
        save(connection, state, {key: hold.sides}, hold.run, now)


def release(connection: Connection, state: State, keys: Iterable[str]) -> int:
    """Let go of the holds on these pairs; return how many there were."""
    found = 0
    for batch in batched(keys):
        mine = holds.c.job == state.job, holds.c.key.in_(batch)
        found += connection.execute(delete(holds).where(*mine)).rowcount
    return found


def pair_of(
    connection: Connection, state: State, scope: Scope, key: str, crm_id: str | None = None
) -> tuple[Seen | None, Record | None]:
    """Return both sides of a pair as the next comparison will find them: by its record's link, else by its key."""
    link = compare.one_link(connection, state, scope, crm_id=crm_id) if crm_id is not None else None
    sighting = None if link else compare.one_event(connection, state, key=key)
    if sighting is not None:
        link = compare.one_link(connection, state, scope, event=sighting.seen.event)
    if link is not None:
        return (link.sighting.seen if link.sighting else None, link.holding.record if link.holding else None)
    return (sighting.seen if sighting else None, _record(connection, state, scope, key))


def _record(connection: Connection, state: State, scope: Scope, key: str) -> Record | None:
    """Return the record that a pair without a link has, if there is just one; what is deleted is none."""
    if key.startswith(BY_ID):
        found = compare.by_ids(connection, state, [key.removeprefix(BY_ID)])
    else:
        found = [each.record for each in records.by_key(connection, state, [key], scope).get(key, ())]
    there = [record for record in found if record.presence is not Presence.ABSENT]
    return there[0] if len(there) == 1 else None
