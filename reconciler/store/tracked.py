"""Findings over time and writes of ours as a report reads them: one after the other, in a stable order, never all held.

Findings of older versions have fewer words, and are told with those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Row, and_, case, func, or_, select

from reconciler.model import Acceptance, Action, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report.recorded import Fix, Place, Taken, Tracked
from reconciler.store import codec
from reconciler.store.database import BATCH, batched
from reconciler.store.journal import is_done
from reconciler.store.schema import findings, journal, runs

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, Select

    from reconciler.model import Change, Fields, Value
    from reconciler.store.state import State

Period: TypeAlias = tuple[datetime, datetime]
"""From when, exclusive, until when."""

Concerns: TypeAlias = Callable[[str | None], bool]
"""Tells of an agent, or of nobody, whether that is asked for: what is not is never read."""


def within(column: ColumnElement[int], period: Period) -> ColumnElement[bool]:
    """Ask for instants of the period."""
    since, until = period
    return and_(column > codec.epoch(since), column <= codec.epoch(until))


# ---- findings -------------------------------------------------------------------------------------------------------


def tracked(
    connection: Connection,
    state: State,
    period: Period,
    now: datetime,
    places: Mapping[int, Place],
    concerns: Concerns = lambda _: True,
) -> Iterator[Tracked]:
    """Yield what is open at the end of the period, or was resolved in it, the most urgent first.

    The order is made of keys alone: a database that sorts whole rows would hold them all.
    """
    ordered = _streamed(connection, _in_order(connection, state, period))
    for keys in batched(row.key for row in ordered if concerns(row.agent)):
        mine = and_(findings.c.job == state.job, findings.c.key.in_(keys))
        rows = {row.key: row for row in connection.execute(select(findings).where(mine))}
        for key in keys:
            yield _tracked(rows[key], period, now, places)


def _in_order(connection: Connection, state: State, period: Period) -> Select[Any]:
    since, until = (codec.epoch(moment) for moment in period)
    is_there = or_(findings.c.resolved_at.is_(None), findings.c.resolved_at > since)
    mine = and_(findings.c.job == state.job, findings.c.first_seen <= until, is_there)
    words = (findings.c.kind, func.coalesce(findings.c.agent, ""), func.coalesce(findings.c.start, ""), findings.c.key)
    # As bytes on every database: a locale would put `_` elsewhere, or nowhere.
    plain = [word.collate("C") if connection.dialect.name == "postgresql" else word for word in words]
    return select(findings.c.key, findings.c.agent).where(mine).order_by(_RANK, *plain)


_RANK: Final = case({severity.value: severity.rank for severity in Severity}, value=findings.c.severity, else_=9)


def _streamed(connection: Connection, query: Select[Any]) -> Iterator[Row[Any]]:
    """Yield rows as they come; none is held longer than its batch, on PostgreSQL by a cursor of its own."""
    with connection.execute(query, execution_options={"stream_results": True, "yield_per": BATCH}) as rows:
        yield from rows


def _tracked(row: Row[Any], period: Period, now: datetime, places: Mapping[int, Place]) -> Tracked:
    until = period[1]
    payload = codec.load(row.payload)
    last_seen, resolved_at = codec.from_epoch(row.last_seen), codec.from_epoch(row.resolved_at)
    is_later = last_seen > until  # what was done about it since is told of that run
    return Tracked(
        finding=_finding(row, payload),
        first_seen=codec.from_epoch(row.first_seen),
        settled_at=codec.from_epoch(row.settled_at),
        last_seen=min(last_seen, until),
        sightings=row.sightings,
        resolved_at=None if resolved_at is None or resolved_at > until else resolved_at,
        accepted=_acceptance(row, now),
        taken=() if is_later else tuple(_taken(each) for each in payload.get("taken", ())),
        place=places.get(row.calendar),
    )


def _finding(row: Row[Any], payload: Mapping[str, Any]) -> Finding:
    """Read a finding back; one that an older version saved has fewer words."""
    tier = payload.get("tier")
    return Finding(
        key=row.key,
        kind=Kind(row.kind),
        severity=Severity(row.severity),
        remedy=Remedy(payload["action"]),
        why=payload["why"],
        agent=row.agent,
        event=row.event,
        crm_id=row.crm_id,
        fields=_changes(payload.get("fields")),
        start=payload.get("start"),
        tier=Tier(tier) if tier else None,
        sides=bytes(row.sides or b""),
        has={Side(side): codec.fields_of(fields) for side, fields in (payload.get("has") or {}).items()},
        changed=codec.from_epoch(payload.get("changed")),
        clues=tuple(payload.get("clues") or ()),
        calendar=row.calendar,
    )


def _changes(fields: Mapping[str, Any] | None) -> dict[str, Change]:
    return {name: (_value(before), _value(after)) for name, (before, after) in (fields or {}).items()}


def _value(value: Value | list[str]) -> Value:
    return tuple(value) if isinstance(value, list) else value


def _taken(entry: Mapping[str, Any]) -> Taken:
    return Taken(
        action=Action(entry["action"]),
        side=Side(entry["side"]),
        outcome=Outcome(entry["outcome"]),
        why=entry.get("why") or "",
        fields=_changes(entry.get("fields")),
    )


def _acceptance(row: Row[Any], now: datetime) -> Acceptance | None:
    """Return a person's word that still holds."""
    if row.resolved_at is not None or row.accepted_sides is None or row.accepted_by is None:
        return None
    until = codec.from_epoch(row.accepted_until)
    if until <= now:
        return None
    at, sides = codec.from_epoch(row.accepted_at), bytes(row.accepted_sides)
    return Acceptance(by=row.accepted_by, why=row.accepted_why, at=at, until=until, sides=sides)


# ---- writes ---------------------------------------------------------------------------------------------------------


def fixes(connection: Connection, state: State, period: Period, concerns: Concerns = lambda _: True) -> Iterator[Fix]:
    """Yield the writes that runs of the period learnt the fate of, then those that they did, run by run."""
    learnt = _done(state, period, journal.c.learnt_by)
    for query in (learnt, _done(state, period, journal.c.run).where(journal.c.learnt_by.is_(None))):
        for row in _streamed(connection, query):
            if concerns(row.agent):
                yield _fix(row)


def _done(state: State, period: Period, by: Column[Any]) -> Select[Any]:
    """Select what was done, as the runs of the period tell whose ids are in the column `by`."""
    these = select(runs.c.id).where(runs.c.job == state.job, within(runs.c.started_at, period))
    return select(journal).where(journal.c.job == state.job, is_done(), by.in_(these)).order_by(by, journal.c.id)


def _fix(row: Row[Any]) -> Fix:
    return Fix(
        run=row.run,
        at=codec.from_epoch(row.at),
        action=Action(row.action),
        side=Side(row.side),
        key=row.key,
        agent=row.agent,
        event=row.event,
        crm_id=row.crm_id,
        before=_image(row.before),
        after=_image(row.after),
        finding=row.finding,
        kind=Kind(row.kind) if row.kind else None,
        approval=row.approval,
    )


def _image(text: str | None) -> Fields:
    return codec.fields_of(codec.load(text) or {})
