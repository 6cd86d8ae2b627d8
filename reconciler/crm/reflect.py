"""The column map against the real table: reflected once, every misfit told at once, and what follows for writing."""

from __future__ import annotations

import difflib
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import exc, types

from reconciler.crm.columns import Column, Kind
from reconciler.crm.times import TimeMode, TimeRule
from reconciler.errors import ConfigError, Problem

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection
    from sqlalchemy.engine.interfaces import ReflectedColumn

TIMES = ("start", "end", "updated", "deleted_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class Lookup:
    """`crm.lookup` of one column: it holds `key` of a row of `table`, whose `value` is what is meant."""

    table: str
    key: str = "id"
    value: str = "email"


@dataclass(frozen=True, slots=True, kw_only=True)
class SqlSpec:
    """`[crm]` of a job file, with plain values: URLs revealed, paths resolved, lists as tuples."""

    url: str = field(repr=False)
    table: str
    time: str
    columns: Mapping[str, str]
    write_url: str | None = field(default=None, repr=False)
    status: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    set: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    lookup: Mapping[str, Lookup] = field(default_factory=dict)
    all_day_end: str = "exclusive"


@dataclass(frozen=True, slots=True)
class LookupTable:
    """A looked-up table and how its columns are typed."""

    table: sa.Table
    key: Column
    value: Column


@dataclass(frozen=True, slots=True, kw_only=True)
class TableMap:
    """The table with its mapped columns by our names (and `origin`, the first column of `set`), and what it enforces.

    The columns of `table` carry no types: values travel as the driver has them, and `Codec` alone gives them a meaning.
    `required` names the columns that an insert would leave empty but must not.
    """

    table: sa.Table
    dialect: str
    columns: Mapping[str, Column]
    lookups: Mapping[str, LookupTable]
    required: tuple[str, ...]
    id_is_unique: bool
    key_is_unique: bool

    def column(self, name: str) -> sa.Column[Any]:
        """Return the table's column for our `name`."""
        return self.table.c[self.columns[name].name]

    @property
    def names(self) -> tuple[str, ...]:
        """Return every name of the schema that a message may repeat."""
        return (self.table.name, *(column.name for column in self.table.columns))


def reflect(connection: Connection, spec: SqlSpec, time: TimeRule) -> TableMap:
    """Read the table's structure and fit the map to it. Raises ConfigError with every misfit."""
    inspector = sa.inspect(connection)
    reflected = _columns(inspector, spec.table, "crm.table")
    problems = [*_unknown(spec, reflected)]
    columns = {
        name: _column(reflected[actual], connection.dialect.name)
        for name, actual in _mapped(spec).items()
        if actual in reflected
    }
    problems += _unsuitable(columns, spec, time, connection.dialect.name)
    lookups: dict[str, LookupTable] = {}
    for name, lookup in spec.lookup.items():
        try:
            lookups[name] = _lookup(inspector, name, lookup, connection.dialect.name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    table = _table(spec.table, reflected, columns["id"], _primary_key(inspector, spec.table))
    unique = _unique_columns(inspector, spec.table)
    return TableMap(
        table=table,
        dialect=connection.dialect.name,
        columns=_through(lookups, _with_samples(connection, table, columns)),
        lookups=lookups,
        required=_required(reflected, spec, columns),
        id_is_unique=columns["id"].name in unique,
        key_is_unique="key" in columns and columns["key"].name in unique,
    )


def _split(table: str) -> tuple[str | None, str]:
    schema, _, name = table.rpartition(".")
    return schema or None, name


def _mapped(spec: SqlSpec) -> dict[str, str]:
    origin = next(iter(spec.set), None)
    taken = set(spec.columns.values())
    return {**spec.columns, **({"origin": origin} if origin and origin not in taken else {})}


def _columns(inspector: sa.Inspector, table: str, key: str) -> dict[str, ReflectedColumn]:
    schema, name = _split(table)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", exc.SAWarning)  # types that only this database knows are `other` to us
        try:
            return {column["name"]: column for column in inspector.get_columns(name, schema)}
        except exc.NoSuchTableError:
            there = [*inspector.get_table_names(schema), *inspector.get_view_names(schema)]
            raise ConfigError((Problem(key, f'there is no table "{table}"', _meant(name, there)),)) from None


def _meant(name: str, there: list[str]) -> str:
    close = difflib.get_close_matches(name.lower(), [other.lower() for other in there], n=1)
    found = [other for other in there if close and other.lower() == close[0]]
    if found:
        return f'did you mean "{found[0]}"?'
    return f"there are: {', '.join(sorted(there)[:12])}" if there else "this account sees none"


def _unknown(spec: SqlSpec, reflected: Mapping[str, object]) -> list[Problem]:
    named = {f"crm.columns.{name}": actual for name, actual in spec.columns.items()}
    named |= {f"crm.set.{actual}": actual for actual in spec.set}
    return [
        Problem(key, f'{spec.table} has no column "{actual}"', _meant(actual, list(reflected)))
        for key, actual in named.items()
        if actual not in reflected
    ]


def _column(reflected: ReflectedColumn, dialect: str) -> Column:
    kind = _kind(reflected["type"], dialect)
    return Column(
        name=reflected["name"],
        kind=kind,
        length=_length(reflected["type"]) if kind is Kind.TEXT else None,
        nullable=bool(reflected.get("nullable", True)),
        default=_has_default(reflected),
    )


def _kind(kind: types.TypeEngine[Any], dialect: str) -> Kind:
    if isinstance(kind, types.DateTime):
        is_instant = getattr(kind, "timezone", False) or (dialect == "mysql" and isinstance(kind, types.TIMESTAMP))
        return Kind.INSTANT if is_instant else Kind.TIME
    table: tuple[tuple[type[types.TypeEngine[Any]], Kind], ...] = (
        (types.Date, Kind.DATE),
        (types.Boolean, Kind.BOOLEAN),
        (types.Integer, Kind.INTEGER),
        (types.Uuid, Kind.UUID),
        (types.String, Kind.TEXT),
    )
    return next((ours for theirs, ours in table if isinstance(kind, theirs)), Kind.OTHER)


def _length(kind: types.TypeEngine[Any]) -> int | None:
    if type(kind).__name__ == "TINYTEXT":
        return 63  # 255 bytes
    length = getattr(kind, "length", None)
    return int(length) if length else None


def _has_default(column: ReflectedColumn) -> bool:
    generated = column.get("computed") or column.get("identity") or column.get("autoincrement") is True
    return column.get("default") is not None or bool(generated)


def _unsuitable(columns: Mapping[str, Column], spec: SqlSpec, time: TimeRule, dialect: str) -> list[Problem]:
    found = [
        Problem(f"crm.columns.{name}", f'"{column.name}" {why}', hint)
        for name, column in columns.items()
        for why, hint in _misfits(name, column, time, dialect)
    ]
    found += [
        Problem(f"crm.columns.{name}", "is missing", "every job needs id and start")
        for name in ("id", "start")
        if name not in spec.columns
    ]
    if "agent" not in spec.columns and time.mode is TimeMode.AGENT:
        found.append(Problem("crm.time", "local:agent needs the agent's column", "map crm.columns.agent"))
    return found


def _misfits(name: str, column: Column, time: TimeRule, dialect: str) -> list[tuple[str, str]]:
    kind = column.kind
    if name in {"start", "end", "updated"}:
        return _time_misfits(kind, time, dialect)
    if name == "all_day" and kind not in {Kind.BOOLEAN, Kind.INTEGER, Kind.OTHER}:
        return [("is no truth value", "a boolean or integer column")]
    if name in {"title", "location"} and kind is not Kind.TEXT:
        return [(f"holds {kind.value}, not text", "a text column")]
    if name == "deleted_at" and kind in {Kind.DATE, Kind.UUID, Kind.OTHER}:
        return [("is neither a time nor a flag", "a time, text, boolean or integer column")]
    return []


def _time_misfits(kind: Kind, time: TimeRule, dialect: str) -> list[tuple[str, str]]:
    if kind is Kind.TEXT or (dialect == "sqlite" and kind in {Kind.TIME, Kind.INSTANT, Kind.OTHER}):
        return []
    if kind not in {Kind.TIME, Kind.INSTANT}:
        return [(f"holds {kind.value}, not a date and time", "a date-and-time or text column")]
    if kind is Kind.TIME and time.mode is TimeMode.AWARE:
        return [("keeps no offset", 'crm.time = "utc" or "local:ZONE"')]
    if kind is Kind.INSTANT and time.mode in {TimeMode.LOCAL, TimeMode.AGENT}:
        return [("keeps instants, not local times", 'crm.time = "aware"')]
    return []


def _lookup(inspector: sa.Inspector, name: str, lookup: Lookup, dialect: str) -> LookupTable:
    reflected = _columns(inspector, lookup.table, f"crm.lookup.{name}.table")
    problems = tuple(
        Problem(
            f"crm.lookup.{name}.{part}", f'{lookup.table} has no column "{actual}"', _meant(actual, list(reflected))
        )
        for part, actual in (("key", lookup.key), ("value", lookup.value))
        if actual not in reflected
    )
    if problems:
        raise ConfigError(problems)
    key, value = (_column(reflected[actual], dialect) for actual in (lookup.key, lookup.value))
    schema, table = _split(lookup.table)
    untyped = sa.Table(table, sa.MetaData(), *(sa.Column(column) for column in reflected), schema=schema)
    return LookupTable(untyped, key, value)


def _primary_key(inspector: sa.Inspector, table: str) -> tuple[str, ...]:
    schema, name = _split(table)
    try:
        return tuple(inspector.get_pk_constraint(name, schema)["constrained_columns"])
    except (exc.NoSuchTableError, NotImplementedError):  # a view
        return ()


def _unique_columns(inspector: sa.Inspector, table: str) -> frozenset[str]:
    """Return the columns that are unique on their own, over all rows."""
    schema, name = _split(table)
    groups: list[tuple[str | None, ...]] = [_primary_key(inspector, table)]
    try:
        groups += [tuple(index["column_names"]) for index in _indexes(inspector, name, schema) if _is_total(index)]
        groups += [tuple(unique["column_names"]) for unique in inspector.get_unique_constraints(name, schema)]
    except (exc.NoSuchTableError, NotImplementedError):
        pass
    return frozenset(group[0] for group in groups if len(group) == 1 and group[0])


def _indexes(inspector: sa.Inspector, name: str, schema: str | None) -> list[Any]:
    automatic = {"include_auto_indexes": True} if inspector.dialect.name == "sqlite" else {}
    return list(inspector.get_indexes(name, schema, **automatic))


def _is_total(index: Any) -> bool:  # noqa: ANN401 -- dialects add their own keys
    options = index.get("dialect_options", {})
    partial = any(options.get(f"{dialect}_where") for dialect in ("sqlite", "postgresql"))
    return bool(index["unique"]) and not partial


def _table(name: str, reflected: Mapping[str, ReflectedColumn], ident: Column, primary: tuple[str, ...]) -> sa.Table:
    schema, bare = _split(name)
    columns = [_untyped(column, is_id=column["name"] == ident.name, kind=ident.kind) for column in reflected.values()]
    table = sa.Table(bare, sa.MetaData(), *columns, schema=schema)
    table.info["primary_key"] = primary
    return table


def _untyped(column: ReflectedColumn, *, is_id: bool, kind: Kind) -> sa.Column[Any]:
    if not is_id:
        return sa.Column(column["name"])
    integer = kind is Kind.INTEGER
    default = [sa.FetchedValue()] if _has_default(column) and not integer else []
    kept = types.Integer() if integer else types.NullType()
    return sa.Column(column["name"], kept, *default, primary_key=True, autoincrement=integer)


def _required(
    reflected: Mapping[str, ReflectedColumn], spec: SqlSpec, columns: Mapping[str, Column]
) -> tuple[str, ...]:
    filled = {column.name for name, column in columns.items() if name != "deleted_at"} | set(spec.set)
    return tuple(
        name
        for name, column in reflected.items()
        if name not in filled and not column.get("nullable", True) and not _has_default(column)
    )


def _with_samples(connection: Connection, table: sa.Table, columns: Mapping[str, Column]) -> dict[str, Column]:
    """Let each time column kept as text show how it spells times, by the latest row that has one."""
    sampled = dict(columns)
    for name in TIMES:
        column = columns.get(name)
        if column and (column.kind is Kind.TEXT or connection.dialect.name == "sqlite"):
            sampled[name] = replace(column, sample=_sample(connection, table, column, columns["id"]))
            if column.kind in {Kind.TIME, Kind.INSTANT, Kind.OTHER}:
                sampled[name] = replace(sampled[name], kind=Kind.TEXT, length=None)
    return sampled


def _through(lookups: Mapping[str, LookupTable], columns: Mapping[str, Column]) -> dict[str, Column]:
    """Give looked-up columns the type of what is meant, under the name of the column that points there."""
    meant = {
        name: replace(columns[name], kind=found.value.kind, length=found.value.length)
        for name, found in lookups.items()
        if name in columns
    }
    return {**columns, **meant}


_TIMED = re.compile(r"^\d{4}-\d\d-\d\d.\d\d:\d\d")


def _sample(connection: Connection, table: sa.Table, column: Column, ident: Column) -> str:
    cell = table.c[column.name]
    query = sa.select(cell).where(cell.is_not(None)).order_by(table.c[ident.name].desc()).limit(20)
    found = (value for (value,) in connection.execute(query) if isinstance(value, str) and _TIMED.match(value))
    return next(found, "")
