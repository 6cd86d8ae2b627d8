"""What a column map and its table come to: the codec that reads and writes its rows, and the shape both sides take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.crm.times import TimeRule
from reconciler.crm.values import Codec, Resolve, StatusMap
from reconciler.errors import ConfigError, Problem
from reconciler.model import Action, Shape, Status

if TYPE_CHECKING:
    from reconciler.crm.reflect import SqlSpec, TableMap


def time_rule(spelled: str) -> TimeRule:
    """Read `crm.time`. Raises ConfigError."""
    try:
        return TimeRule.parse(spelled)
    except ValueError as error:
        raise ConfigError((Problem("crm.time", str(error)),)) from None


def codec_of(
    spec: SqlSpec, table: TableMap, time: TimeRule, resolve: Resolve, duplicates: frozenset[str] = frozenset()
) -> Codec:
    """Return the codec of this map."""
    return Codec(
        table.columns,
        time=time,
        statuses=StatusMap(spec.status),
        resolve=resolve,
        inclusive=spec.all_day_end == "inclusive",
        duplicates=duplicates,
    )


def shape_of(table: TableMap, codec: Codec) -> Shape:
    """Say how this table keeps values, and which actions its schema allows."""
    can = {Action.UPDATE, Action.DELETE}
    if not table.required:
        can.add(Action.CREATE)
    if "status" in table.columns and codec.statuses.write(Status.CANCELLED) is not None:
        can.add(Action.CANCEL)
    lengths = {name: table.columns[name].length for name in ("title", "location") if name in table.columns}
    return Shape(
        mapped=frozenset(table.columns) - {"id", "origin"},
        lengths={name: length for name, length in lengths.items() if length},
        statuses=codec.statuses.round_trip,
        can=frozenset(can),
    )
