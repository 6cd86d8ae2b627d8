"""A CRM in a SQL table, reading half: one read-only transaction, rows as the driver gives them, normalised when asked.

SQLite, PostgreSQL and MySQL/MariaDB. The database itself refuses writes on these connections.
"""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from reconciler.crm import Check, engines, faults, queries
from reconciler.crm.checks import reading_checks
from reconciler.crm.chunks import RowChunk, chunked
from reconciler.crm.mapping import codec_of, shape_of, time_rule
from reconciler.crm.reflect import Lookup, SqlSpec, TableMap, reflect
from reconciler.crm.values import VERSION, Codec, Resolve, Row, raw_digest
from reconciler.crm.writes import SqlWriter
from reconciler.errors import ConfigError, Problem, SnapshotError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from sqlalchemy.engine import Connection
    from sqlalchemy.sql import Select

    from reconciler.model import Record, Shape, Window

__all__ = ["Lookup", "SqlReader", "SqlSnapshot", "SqlSpec", "SqlWriter"]

FETCH = 2048
"""Rows fetched at once."""


class SqlReader:
    """Reads a table through the job's column map.

    `resolve` maps an address, an alias or the CRM's own name of an owner to an agent; `agents` is a digest of what it
    knows, for the fingerprint. `known` says that this CRM was read before: a map that no longer fits it is then a
    SnapshotError (something vanished), not a ConfigError (a mistake).
    """

    def __init__(self, spec: SqlSpec, *, resolve: Resolve, agents: str = "", known: bool = False) -> None:
        self._spec = spec
        self._resolve = resolve
        self._agents = agents
        self._known = known
        self._time = time_rule(spec.time)
        self._url = engines.parse_url(spec.url)
        self._engine = engines.reader(self._url)
        self._map: TableMap | None = None

    @property
    def identity(self) -> str:
        """Name this CRM without secrets and machine paths: dialect, host, port, database, table."""
        return f"{engines.place_of(self._url)} {self._spec.table}"

    @property
    def shape(self) -> Shape:
        """Say how this CRM keeps values. Raises ConfigError with every misfit, CrmUnreachableError."""
        if self._map is None:
            with self.snapshot():
                pass
        return shape_of(self._mapped, self._codec(frozenset()))

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of everything that shapes normalisation."""
        spec = self._spec
        lookups = {name: (found.table, found.key, found.value) for name, found in spec.lookup.items()}
        parts = (
            VERSION,
            dict(spec.columns),
            spec.time,
            {name: tuple(values) for name, values in spec.status.items()},
            dict(spec.set),
            lookups,
            spec.all_day_end,
            self._agents,
        )
        return hashlib.blake2b(orjson.dumps(parts, option=orjson.OPT_SORT_KEYS), digest_size=16).hexdigest()

    def snapshot(self) -> AbstractContextManager[SqlSnapshot]:
        """Open a view in one read-only transaction. Raises CrmUnreachableError, SnapshotError, ConfigError."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SqlSnapshot]:
        with self._reading():
            connection = self._engine.connect()
        try:
            with self._reading():
                connection.begin()
                snapshot = self._opened(connection)
            yield snapshot
        finally:
            connection.close()

    def _opened(self, connection: Connection) -> SqlSnapshot:
        if self._map is None:
            self._map = self._reflected(connection)
        found = () if self._map.id_is_unique else connection.execute(queries.duplicated(self._map)).scalars()
        duplicates = frozenset("" if value is None else str(value) for value in found)
        return SqlSnapshot(connection, self._map, self._codec(duplicates), self.identity)

    def _reflected(self, connection: Connection) -> TableMap:
        try:
            return reflect(connection, self._spec, self._time)
        except ConfigError as error:
            if not self._known:
                raise
            raise SnapshotError(
                f"the CRM ({self.identity}) no longer is what it was: {error}. Nothing was planned. "
                f"If that is meant, change [crm] in the job file; else ask whoever changed the table."
            ) from None

    @property
    def _mapped(self) -> TableMap:
        if self._map is None:
            raise AssertionError("the table was not reflected")
        return self._map

    def _codec(self, duplicates: frozenset[str]) -> Codec:
        return codec_of(self._spec, self._mapped, self._time, self._resolve, duplicates)

    def _reading(self) -> AbstractContextManager[None]:
        return faults.reading(engines.place_of(self._url), self._spec.table)

    def query(self, sql: str) -> list[dict[str, Any]]:
        """Run the job file's own SELECT (who the agents are) in a read-only transaction; one dict a row."""
        statement = sql.strip().rstrip(";")
        if ";" in statement:
            raise ConfigError((Problem("query", "holds more than one statement", "one SELECT"),))
        with self._reading(), self._engine.connect() as connection, connection.begin():
            escaped = statement.replace("%", "%%") if connection.dialect.name != "sqlite" else statement
            return [dict(row) for row in connection.exec_driver_sql(escaped).mappings()]

    def checks(self) -> list[Check]:
        """Say what can be known of this CRM before a run."""
        with self.snapshot() as snapshot, self._reading():
            return reading_checks(snapshot.connection, self._mapped)

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()


class SqlSnapshot:
    """The table as it was when the transaction began. Only `chunks` leaves soft-deleted rows out."""

    def __init__(self, connection: Connection, table: TableMap, codec: Codec, identity: str) -> None:
        self.connection = connection
        self._table = table
        self._codec = codec
        self._identity = identity
        self._seed = raw_digest([tuple(sorted(codec.duplicates))]) if codec.duplicates else b""

    def chunks(self, window: Window) -> Iterator[RowChunk]:
        """Yield every live row that touches `window`, or whose times can't be read, in content-defined chunks."""
        touches = self._codec.touches
        query = queries.touching(self._table, self._codec.names, window)
        batches = ([row[:-1] for row in batch if row[-1] or touches(row, window)] for batch in self._batches(query))
        for rows in chunked(batches):
            yield RowChunk(rows, self._codec, self._seed)

    def by_ids(self, ids: Iterable[str]) -> list[Record]:
        """Return the rows with these ids, wherever they are in time, removed ones included."""
        wanted = frozenset(ids)
        return [record for record in self._identified("id", wanted) if record.id in wanted]

    def by_keys(self, keys: Iterable[str]) -> list[Record]:
        """Return the rows with exactly these source keys (case and spaces count), removed ones included."""
        wanted = frozenset(keys)
        return [record for record in self._identified("key", wanted) if record.key in wanted]

    def changed_since(self, since: datetime) -> Iterator[Record]:
        """Yield what was updated at or after `since` (aware), also outside any window, and what says no time.

        Raises ConfigError when `updated` is not mapped.
        """
        if "updated" not in self._table.columns:
            raise ConfigError((Problem("crm.columns.updated", "is needed to read only what changed"),))
        moment = since.replace(microsecond=0)
        for batch in self._batches(queries.changed(self._table, self._codec.names, since)):
            records = map(self._codec.record, batch)
            yield from (record for record in records if record.updated is None or record.updated >= moment)

    def _identified(self, name: str, wanted: frozenset[str]) -> Iterator[Record]:
        if name not in self._table.columns:
            return
        cells = queries.cells(sorted(wanted), self._table.columns[name])
        for begin in range(0, len(cells), queries.BATCH):
            query = queries.identified(self._table, self._codec.names, name, cells[begin : begin + queries.BATCH])
            for batch in self._streamed(query.order_by(self._table.column("id"))):
                yield from map(self._codec.record, batch)

    def _batches(self, query: Select[Any]) -> Iterator[Sequence[Row]]:
        if self._table.dialect == "mysql" and self._table.id_is_unique:
            return self._paged(query)
        return self._streamed(query)

    def _streamed(self, query: Select[Any]) -> Iterator[Sequence[Row]]:
        """Yield raw rows; from where SQLite meets text that is no UTF-8, with replacement characters for it."""
        last: Row | None = None
        try:
            for batch in self._plain(query):
                last = batch[-1]
                yield batch
        except UnicodeError:
            driver: Any = self.connection.connection.driver_connection
            driver.text_factory = engines.tolerant
            rest = query if last is None else query.where(self._table.column("id") > queries.raw(last[0]))
            yield from self._plain(rest)

    def _plain(self, query: Select[Any]) -> Iterator[Sequence[Row]]:
        """Yield raw rows from the driver's own cursor, which on PostgreSQL stays on the server."""
        with self._reading():
            cursor = self._executed(query)
        try:
            while batch := self._fetched(cursor):
                yield batch
        finally:
            cursor.close()

    def _paged(self, query: Select[Any]) -> Iterator[Sequence[Row]]:
        """Yield raw rows page by page: MySQL can't keep a cursor open beside other statements."""
        page = query.limit(8 * FETCH)
        batch: Sequence[Row] = ()
        while True:
            following = page.where(self._table.column("id") > queries.raw(batch[-1][0])) if batch else page
            batch = [row for rows in self._streamed(following) for row in rows]
            if not batch:
                return
            yield batch

    def _executed(self, query: Select[Any]) -> Any:  # noqa: ANN401 -- any driver's cursor
        try:
            return queries.raw_cursor(self.connection, query)
        except sqlite3.OperationalError as error:
            raise _undecodable(error) from None

    def _fetched(self, cursor: Any) -> Sequence[Row]:  # noqa: ANN401 -- any driver's cursor
        with self._reading():
            try:
                rows: Sequence[Row] = cursor.fetchmany(FETCH)
            except sqlite3.OperationalError as error:
                raise _undecodable(error) from None
        return rows

    def _reading(self) -> AbstractContextManager[None]:
        place, _, table = self._identity.rpartition(" ")
        return faults.reading(place, table, driver_error(self.connection))


def driver_error(connection: Connection) -> type[BaseException]:
    """Return the base class of the driver's own errors, which raw cursors raise."""
    driver = connection.dialect.loaded_dbapi
    found: type[BaseException] = driver.Error
    return found


def _undecodable(error: sqlite3.OperationalError) -> Exception:
    """Tell SQLite's complaint about text that is no UTF-8 from its others."""
    return UnicodeError() if str(error).startswith("Could not decode") else error
