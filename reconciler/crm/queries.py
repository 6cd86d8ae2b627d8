"""The SELECTs of a SQL CRM: raw cells in the codec's order, what touches a window, what an id or a key names."""

from __future__ import annotations

import itertools
import re
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from reconciler.crm.columns import Column, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import ColumnElement, Select

    from reconciler.crm.reflect import TableMap
    from reconciler.model import Window

SLACK = timedelta(days=2)
"""More than zones (14 hours), inclusive ends and the date part of a text can move a time."""

_NUMBERS = itertools.count(1)

BATCH = 500
"""Ids or keys asked for at once."""


def raw(value: object) -> ColumnElement[Any]:
    """Bind a value as the driver takes it, without a type of SQLAlchemy's in between."""
    return sa.bindparam(None, value, type_=sa.types.NullType(), unique=True)


def raw_cursor(connection: Connection, query: Select[Any]) -> Any:  # noqa: ANN401 -- any driver's cursor
    """Execute `query` on a cursor of the driver's own: its rows are plain tuples, and cost a third of SQLAlchemy's."""
    compiled = query.compile(dialect=connection.dialect)
    named = compiled.construct_params()
    order = getattr(compiled, "positiontup", None)
    values = named if order is None else tuple(named[name] for name in order)
    driver: Any = connection.connection.driver_connection
    server_side = {"name": f"rows_{next(_NUMBERS)}"} if connection.dialect.name == "postgresql" else {}
    cursor = driver.cursor(**server_side)
    try:
        cursor.execute(str(compiled), values)
    except BaseException:
        cursor.close()
        raise
    return cursor


def rows(table: TableMap, names: Sequence[str]) -> Select[Any]:
    """Select the cells of `names` (ours); a looked-up column shows what it points to."""
    return sa.select(*(_cell(table, name).label(f"c{number}") for number, name in enumerate(names)))


def _cell(table: TableMap, name: str) -> ColumnElement[Any]:
    column = table.column(name)
    lookup = table.lookups.get(name)
    if lookup is None:
        return column
    there = lookup.table.alias()
    found = sa.select(sa.func.min(there.c[lookup.value.name])).where(there.c[lookup.key.name] == column)
    return found.scalar_subquery()


def touching(table: TableMap, names: Sequence[str], window: Window) -> Select[Any]:
    """Select every live row that may touch `window`, by id; the last cell is 1 where it surely does."""
    start = _comparable(table, "start")
    end = _comparable(table, "end" if "end" in table.columns else "start")
    low, high = _bound(table, "start", window.start - SLACK), _bound(table, "start", window.end + SLACK)
    inside = sa.and_(start < high, sa.or_(end > low, sa.and_(end.is_(None), start > low)))
    sure_high, sure_low = _bound(table, "start", window.end - SLACK), _bound(table, "start", window.start + SLACK)
    sure = sa.case((sa.and_(start < sure_high, end > sure_low), sa.literal_column("1")), else_=sa.literal_column("0"))
    anywhere = sa.or_(inside, start.is_(None), *_odd(table))
    return (
        rows(table, names).add_columns(sure.label("sure")).where(anywhere, *_live(table)).order_by(table.column("id"))
    )


def _comparable(table: TableMap, name: str) -> ColumnElement[Any]:
    """Return a time column so that ISO text compares by its characters, whatever the database's language."""
    column = table.column(name)
    if table.columns[name].kind is Kind.TEXT and table.dialect == "postgresql":
        return sa.collate(column, "C")
    return column


def _bound(table: TableMap, name: str, moment: datetime) -> ColumnElement[Any]:
    kind = table.columns[name].kind
    if kind is Kind.TEXT:
        return raw(moment.date().isoformat())
    return raw(moment if kind is Kind.INSTANT and table.dialect == "postgresql" else moment.replace(tzinfo=None))


def _odd(table: TableMap) -> list[ColumnElement[bool]]:
    """Catch cells that no comparison places in time: text that doesn't begin like an ISO date, numbers."""
    columns = [table.column(name) for name in ("start", "end") if name in table.columns]
    kinds = [table.columns[name].kind for name in ("start", "end") if name in table.columns]
    return [
        column.not_like(raw("____-__-__%")) for column, kind in zip(columns, kinds, strict=True) if kind is Kind.TEXT
    ]


def _live(table: TableMap) -> list[ColumnElement[bool]]:
    if "deleted_at" not in table.columns:
        return []
    column, kind = table.column("deleted_at"), table.columns["deleted_at"].kind
    if kind not in {Kind.BOOLEAN, Kind.INTEGER}:
        return [column.is_(None)]
    unset = raw(False) if kind is Kind.BOOLEAN else raw(0)  # noqa: FBT003 -- the value itself
    return [sa.or_(column.is_(None), column == unset)]


def changed(table: TableMap, names: Sequence[str], since: datetime) -> Select[Any]:
    """Select rows whose `updated` may be at or after `since`, or is unknown; removed ones too."""
    column = _comparable(table, "updated")
    recent = column > _bound(table, "updated", since - SLACK)
    return rows(table, names).where(sa.or_(recent, column.is_(None))).order_by(table.column("id"))


def identified(table: TableMap, names: Sequence[str], name: str, values: Sequence[object]) -> Select[Any]:
    """Select the rows whose column `name` holds one of `values`, as far as the database tells them apart."""
    return rows(table, names).where(table.column(name).in_([raw(value) for value in values]))


def one(table: TableMap, names: Sequence[str], name: str, *, lock: bool) -> Select[Any]:
    """Select, and lock if asked to, the rows whose column `name` holds what is bound as `wanted`."""
    wanted = sa.bindparam("wanted", type_=sa.types.NullType())
    query = rows(table, names).where(table.column(name).in_([wanted])).order_by(table.column("id"))
    if not lock:
        return query
    return query.with_for_update(of=table.table if table.dialect == "postgresql" else None)


def duplicated(table: TableMap) -> Select[Any]:
    """Select the ids that more than one row has."""
    column = table.column("id")
    return sa.select(column).group_by(column).having(sa.func.count() > 1)


def cells(values: Iterable[str], column: Column) -> list[object]:
    """Return ids or keys as their column holds them; what it can't hold is left out, for no row has it."""
    read = {Kind.INTEGER: _integer, Kind.UUID: _uuid}.get(column.kind)
    unique = dict.fromkeys(values)
    if read is None:
        return list(unique)
    return [cell for cell in map(read, unique) if cell is not None]


def _integer(value: str) -> int | None:
    return int(value) if re.fullmatch(r"-?\d{1,18}", value) else None


def _uuid(value: str) -> uuid.UUID | None:
    try:
        return uuid.UUID(value)
    except ValueError:
        return None


def around(table: TableMap, names: Sequence[str], moment: datetime) -> Select[Any]:
    """Select live rows that may start about `moment`."""
    start = _comparable(table, "start")
    low, high = _bound(table, "start", moment - SLACK), _bound(table, "start", moment + SLACK)
    return rows(table, names).where(start > low, start < high, *_live(table)).order_by(table.column("id"))
