"""What one run wrote, as the journal has it: which run a person means, and each write of it that was done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from reconciler.inverse import Entry
from reconciler.model import Action, Outcome, Side
from reconciler.store import codec
from reconciler.store.database import batched
from reconciler.store.schema import journal, runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, RowMapping

    from reconciler.store.state import State


def runs_named(connection: Connection, state: State, prefix: str) -> list[str]:
    """Return the runs of this job whose id begins like that, at most two of them."""
    begins = func.substr(runs.c.id, 1, len(prefix)) == prefix.upper()
    return list(connection.execute(select(runs.c.id).where(runs.c.job == state.job, begins).limit(2)).scalars())


def written_by(connection: Connection, state: State, run: str) -> list[Entry]:
    """Return what a run wrote and what was confirmed, in the order it was written."""
    mine = and_(journal.c.run == run, journal.c.job == state.job, journal.c.status == Outcome.DONE)
    rows = connection.execute(select(journal).where(mine).order_by(journal.c.at, journal.c.id)).mappings().all()
    again = _written_again(connection, state, rows)
    return [_entry(row, *again.get(_subject(row), (None, None))) for row in rows]


def _entry(row: RowMapping, again: str | None, latest: str | None) -> Entry:
    return Entry(
        action=Action(row["action"]),
        side=Side(row["side"]),
        key=row["key"],
        agent=row["agent"],
        calendar=row["calendar"],
        event=row["event"],
        crm_id=row["crm_id"],
        before=codec.fields_of(codec.load(row["before"]) or {}),
        after=codec.fields_of(codec.load(row["after"]) or {}),
        version=row["version"],
        # rows of earlier releases have neither: their images were made for people to read
        is_exact=row["version"] is not None or row["calendar"] is not None,
        again=again,
        latest=latest,
        is_dropped=row["before"] is None and row["after"] is None,
    )


def _subject(row: RowMapping) -> tuple[str, str | None]:
    return row["side"], row["crm_id"] if row["side"] == Side.CRM else row["event"]


def _written_again(
    connection: Connection, state: State, rows: Iterable[RowMapping]
) -> dict[tuple[str, str | None], tuple[str, str | None]]:
    """Return the last later run that wrote each of these records or events again, and the version it left."""
    known = list(rows)
    last = max((row["id"] for row in known), default=0)
    mine = {row["run"] for row in known}
    found: dict[tuple[str, str | None], tuple[str, str | None]] = {}
    for batch in batched(known):
        ours = and_(journal.c.status == Outcome.DONE, journal.c.action != Action.LINK)  # a link writes to neither side
        later = and_(journal.c.job == state.job, journal.c.id > last, ours, _same(batch))
        for row in connection.execute(select(journal).where(later).order_by(journal.c.id)).mappings():
            if row["run"] not in mine:
                found[_subject(row)] = row["run"], row["version"]
    return found


def _same(rows: Iterable[RowMapping]) -> ColumnElement[bool]:
    subjects = {_subject(row) for row in rows}
    records = [name for side, name in subjects if side == Side.CRM and name]
    events = [name for side, name in subjects if side == Side.CALENDAR and name]
    return or_(
        and_(journal.c.side == Side.CRM, journal.c.crm_id.in_(records)),
        and_(journal.c.side == Side.CALENDAR, journal.c.event.in_(events)),
    )
