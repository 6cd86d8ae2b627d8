"""What people accepted: findings that are known, by whose word, why, until when, and how both sides stood then.

An acceptance is part of its finding's row. It lapses when the sides change or its time is over, and says so until the
finding is resolved; then it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, update

from reconciler.model import Acceptance
from reconciler.store import codec
from reconciler.store.schema import findings

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from reconciler.store.state import State

CLEARED = dict.fromkeys(("accepted_sides", "accepted_until", "accepted_at", "accepted_by", "accepted_why"))
"""What a finding's row says of an acceptance when there is none."""


def all_of(connection: Connection, state: State) -> dict[str, Acceptance]:
    """Return the acceptances of open findings by the finding's key, those that lapsed included."""
    rows = connection.execute(select(findings).where(_is_open(state), findings.c.accepted_by.is_not(None)))
    return {row.key: _acceptance(row) for row in rows}


def accept(connection: Connection, state: State, keys: Iterable[str], given: Acceptance) -> None:
    """Accept these open findings as their sides stood when they were last seen."""
    values: dict[str, Any] = {
        "accepted_sides": findings.c.sides,
        "accepted_until": codec.epoch(given.until),
        "accepted_at": codec.epoch(given.at),
        "accepted_by": given.by,
        "accepted_why": given.why,
    }
    for key in keys:  # a person names few
        connection.execute(update(findings).where(_is_open(state), findings.c.key == key).values(values))


def lapse(connection: Connection, state: State, now: datetime) -> None:
    """End acceptances of which a side changed, or the time is over; who gave them stays known."""
    changed = or_(findings.c.sides.is_(None), findings.c.sides != findings.c.accepted_sides)
    over = or_(changed, findings.c.accepted_until <= codec.epoch(now))
    mine = and_(_is_open(state), findings.c.accepted_sides.is_not(None), over)
    connection.execute(update(findings).where(mine).values(accepted_sides=None))


def open_rows(connection: Connection, state: State) -> list[Row[Any]]:
    """Return the findings that the last run left open."""
    return list(connection.execute(select(findings).where(_is_open(state)).order_by(findings.c.key)))


def _is_open(state: State) -> ColumnElement[bool]:
    return and_(findings.c.job == state.job, findings.c.resolved_at.is_(None))


def _acceptance(row: Row[Any]) -> Acceptance:
    return Acceptance(
        by=row.accepted_by,
        why=row.accepted_why,
        at=codec.from_epoch(row.accepted_at),
        until=codec.from_epoch(row.accepted_until),
        sides=bytes(row.accepted_sides) if row.accepted_sides is not None else None,
    )
