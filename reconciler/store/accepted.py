"""What people accepted: findings that are known, by whose word, why, until when, and how both sides stood then.

An acceptance is part of its finding's row. It lapses when the sides change or its time is over, and says so until the
finding is resolved; then it is gone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select, update

from reconciler.model import Acceptance, Finding, Kind, Remedy, Severity
from reconciler.store import codec, compare
from reconciler.store.schema import findings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Row

    from reconciler.selecting import Filter
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


def open_like(connection: Connection, state: State, chosen: Filter) -> list[dict[str, Any]]:
    """Return the findings that the last run left open and that are meant; what has no sides was seen by an old one."""
    named = compare.one_event(connection, state, key=chosen.word) if chosen.word else None
    event = named.seen.event if named else None
    query = select(findings).where(_is_open(state), findings.c.sides.is_not(None)).order_by(findings.c.key)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return [row for row in rows if chosen.fits(_bare(row), _names(row, chosen.word, event))]


def _bare(row: Mapping[str, Any]) -> Finding:
    """Return of a stored finding what tells it from others."""
    severity, kind = Severity(row["severity"]), Kind(row["kind"])
    return Finding(key=row["key"], kind=kind, severity=severity, remedy=Remedy.HUMAN, why="", agent=row["agent"])


def _names(row: Mapping[str, Any], word: str | None, event: str | None) -> set[str]:
    """Return by which names a finding goes; the word itself is one, where it is the source key of the event."""
    names = {name for name in (row["event"], row["crm_id"]) if name}
    return names | {word} if word and event and event == row["event"] else names


def told(connection: Connection, state: State) -> list[dict[str, Any]]:
    """Return the findings that are known, for people, the first to run out first."""
    mine = and_(_is_open(state), findings.c.accepted_sides.is_not(None))
    rows = connection.execute(select(findings).where(mine).order_by(findings.c.accepted_until, findings.c.key))
    return [
        {
            **{name: getattr(row, name) for name in ("key", "kind", "agent", "crm_id")},
            "by": row.accepted_by,
            "why": row.accepted_why,
            "until": _acceptance(row).last_day.isoformat(),
        }
        for row in rows
    ]


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
