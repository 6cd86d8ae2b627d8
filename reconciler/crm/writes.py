"""A CRM in a SQL table, writing half: one short transaction per write, each under the version it was decided on.

The row is locked and read again, its version compared, changed, committed, and read back. Nothing is repeated here.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import exc

from reconciler import normalise
from reconciler.crm import Check, Written, engines, faults, queries
from reconciler.crm.checks import writing_checks
from reconciler.crm.columns import Kind, UnwritableError
from reconciler.crm.mapping import codec_of, time_rule
from reconciler.crm.reflect import SqlSpec, TableMap, reflect
from reconciler.crm.times import TimeMode
from reconciler.errors import ReconcilerError
from reconciler.model import Outcome, Presence, Record, Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from contextlib import AbstractContextManager

    from sqlalchemy.engine import Connection

    from reconciler.crm.values import Codec, Resolve, Row
    from reconciler.model import Fields, Value

Work: TypeAlias = Callable[["Connection"], "str | Written"]
"""Prepares one write in an open transaction: the id to commit and read back, or why nothing is to be committed."""

NATURAL = timedelta(minutes=5)
"""How close two starts are that may be one appointment, where no key tells (DESIGN 5, matching)."""


def _now() -> datetime:
    return datetime.now(UTC)


class SqlWriter:
    """Writes single records through the job's column map.

    `resolve` is the reader's; `clock` gives the moment (aware) that goes into `updated` and `deleted_at`.
    """

    def __init__(self, spec: SqlSpec, *, resolve: Resolve, clock: Callable[[], datetime] = _now) -> None:
        self._spec = spec
        self._resolve = resolve
        self._clock = clock
        self._time = time_rule(spec.time)
        self._url = engines.parse_url(spec.write_url or spec.url, "crm.write_url" if spec.write_url else "crm.url")
        self._engine = engines.writer(self._url)
        self._opened: tuple[TableMap, Codec] | None = None
        # made once each: to make a query takes longer than to ask it
        self._one = cache(lambda name, lock: queries.one(self._table, self._codec.names, name, lock=lock))

    # ---- the seam

    def create(self, key: str, fields: Fields) -> Written:
        """Insert a record under `key`. ALREADY when an identical one is there, CONFLICT when the key is taken."""
        written = self._write(lambda connection: self._insert(connection, key, fields), key, fields, creating=True)
        if written.outcome is Outcome.DONE and "key" in self._table.columns and not self._table.key_is_unique:
            return self._verified(key, written)
        return written

    def update(self, crm_id: str, fields: Fields, *, version: str, key: str | None = None) -> Written:
        """Change `fields` (and the key, when given) if the record still has `version`; CONFLICT when it moved."""
        return self._write(lambda connection: self._update(connection, crm_id, fields, version, key), key, fields)

    def cancel(self, crm_id: str, *, version: str) -> Written:
        """Set the status to cancelled if the record still has `version`. A recorded outcome is never overwritten."""
        fields: Fields = {"status": Status.CANCELLED.value}
        return self._write(lambda connection: self._update(connection, crm_id, fields, version, None), None, fields)

    def delete(self, crm_id: str, *, version: str) -> Written:
        """Remove the record (softly where `deleted_at` is mapped) if it still has `version`."""
        return self._write(lambda connection: self._delete(connection, crm_id, version), None, {})

    def find(self, crm_id: str | None, key: str) -> Record | None:
        """Look one record up by id, else by key. Raises CrmUnreachableError, SnapshotError."""
        with self._looking() as connection:
            found = self._by(connection, "id", crm_id)[:1] if crm_id is not None else []
            found = found or self._by(connection, "key", key)[:1]
        return found[0][1] if found else None

    def checks(self) -> list[Check]:
        """Say what the writing account may do."""
        with self._looking() as connection:
            return writing_checks(connection, self._table, self._url)

    def close(self) -> None:
        """Release connections."""
        self._engine.dispose()

    # ---- what each write does inside its transaction

    def _insert(self, connection: Connection, key: str, fields: Fields) -> str | Written:
        rival = self._rival(connection, key, fields)
        if rival:
            return rival
        cells = self._cells(connection, fields, {})
        if "key" in self._table.columns:
            cells[self._table.columns["key"].name] = self._fitting_key(key)
        result = connection.execute(self._table.table.insert().values(self._bound({**self._initial(), **cells})))
        ident = result.inserted_primary_key[0] if result.inserted_primary_key else None
        if ident is not None:
            return str(ident)
        created = self._by(connection, "key", key)
        if not created:
            raise UnwritableError("the database didn't say which id the new record got, and no key column is mapped")
        return created[0][1].id

    def _update(
        self, connection: Connection, crm_id: str, fields: Fields, version: str, key: str | None
    ) -> str | Written:
        row, record, moved = self._locked(connection, crm_id, version)
        if moved or record is None:
            return moved or Written(Outcome.CONFLICT)
        if fields.get("status") == Status.CANCELLED and "status" not in self._table.columns:
            return Written(Outcome.FAILED, record, "no status column is mapped, so a record can't be cancelled")
        if record.closed and fields.get("status") == Status.CANCELLED:
            return Written(Outcome.FAILED, record, "the CRM recorded an outcome for it, which is never overwritten")
        wanted = self._differing(row, record, fields)
        cells = self._cells(connection, wanted, row)
        if key is not None and key != record.key and "key" in self._table.columns:
            cells[self._table.columns["key"].name] = self._fitting_key(key)
        if not cells:
            return Written(Outcome.ALREADY, record)
        return self._change(connection, row, cells)

    def _delete(self, connection: Connection, crm_id: str, version: str) -> str | Written:
        row, record, moved = self._locked(connection, crm_id, version)
        if moved or record is None:
            return moved or Written(Outcome.CONFLICT)
        if "deleted_at" in self._table.columns:
            cells = {self._table.columns["deleted_at"].name: self._codec.now(self._clock(), "deleted_at")}
            return self._change(connection, row, cells)
        result = connection.execute(self._table.table.delete().where(*self._precondition(row)))
        return crm_id if result.rowcount == 1 else self._several(result.rowcount, record)

    def _change(self, connection: Connection, row: dict[str, object], cells: dict[str, object]) -> str | Written:
        statement = self._table.table.update().where(*self._precondition(row))
        result = connection.execute(statement.values(self._bound({**cells, **self._stamps(row)})))
        return str(row["id"]) if result.rowcount == 1 else self._several(result.rowcount, None)

    # ---- preconditions

    def _locked(
        self, connection: Connection, crm_id: str, version: str
    ) -> tuple[dict[str, object], Record | None, Written | None]:
        """Lock the row and read it as it is now. The third value says why it must not be written."""
        found = self._by(connection, "id", crm_id, lock=True)
        if not found:
            return {}, None, Written(Outcome.CONFLICT, None, "the record is gone")
        row, record = found[0]
        named = dict(zip(self._codec.names, row, strict=True))
        if len(found) > 1:
            return named, record, self._several(len(found), record)
        if record.version != version:
            return named, record, Written(Outcome.CONFLICT, record, "the record changed after it was read")
        return named, record, None

    def _precondition(self, row: dict[str, object]) -> list[sa.ColumnElement[bool]]:
        conditions = [self._table.column("id") == queries.raw(row["id"])]
        if row.get("version") is not None:
            conditions.append(self._table.column("version") == queries.raw(row["version"]))
        return conditions

    @staticmethod
    def _several(count: int, record: Record | None) -> Written:
        if count == 0:
            return Written(Outcome.CONFLICT, record, "the record changed while it was written")
        return Written(Outcome.FAILED, record, f"{count} rows share its id")

    def _rival(self, connection: Connection, key: str, fields: Fields) -> Written | None:
        """Return what is to be said when a record for this create is there already."""
        if "key" not in self._table.columns:
            return self._natural_rival(connection, fields)
        found = [record for _, record in self._by(connection, "key", key)]
        return self._compared(found[0], fields, "its key already belongs to another record") if found else None

    def _natural_rival(self, connection: Connection, fields: Fields) -> Written | None:
        close = [record for record in self._near(connection, fields) if _same_people(record, fields)]
        if not close:
            return None
        return self._compared(close[0], fields, "the same agent and client have a record within five minutes")

    def _near(self, connection: Connection, fields: Fields) -> Iterable[Record]:
        start = fields.get("start")
        if not isinstance(start, str):
            return []
        moment = _instant(start)
        query = queries.around(self._table, self._codec.names, moment)
        records = [self._codec.record(tuple(row)) for row in connection.execute(query)]
        return [record for record in records if _is_near(record, moment)]

    def _compared(self, record: Record, fields: Fields, taken: str) -> Written:
        kept = self._codec.kept(fields)
        equal = record.presence is not Presence.ABSENT and not record.problem
        if equal and all(normalise.same(name, value, record.fields.get(name)) for name, value in kept.items()):
            return Written(Outcome.ALREADY, record)
        return Written(Outcome.CONFLICT, record, taken)

    def _verified(self, key: str, written: Written) -> Written:
        """Look again after a create that no unique index guards."""
        try:
            with self._looking() as connection:
                count = len(self._by(connection, "key", key))
        except ReconcilerError:
            return replace(written, why="written, and nobody could look whether another writer was at it")
        if count == 1:
            return written
        return Written(Outcome.CONFLICT, written.record, f"{count} records have its key now: another writer was at it")

    # ---- values

    def _differing(self, row: dict[str, object], record: Record, fields: Fields) -> Fields:
        """Return the fields that need writing; times local to an agent move with the agent."""
        wanted = dict(fields)
        if self._time.mode is TimeMode.AGENT and "agent" in wanted and wanted["agent"] != record.fields.get("agent"):
            times = {name: record.fields[name] for name in ("start", "end") if name in record.fields}
            return {**times, **wanted}
        kept = self._codec.kept(wanted, owner=row.get("agent"))
        return {name: wanted[name] for name, value in kept.items() if value != record.fields.get(name)}

    def _cells(self, connection: Connection, fields: Fields, row: dict[str, object]) -> dict[str, object]:
        """Return what to write, by the table's own column names. Raises UnwritableError."""
        encoded = self._codec.encode(fields, owner=row.get("agent"))
        return {
            self._table.columns[name].name: self._pointed(connection, name, value) for name, value in encoded.items()
        }

    def _pointed(self, connection: Connection, name: str, value: object) -> object:
        lookup = self._table.lookups.get(name)
        if lookup is None or value is None:
            return value
        there, meant = lookup.table.c[lookup.key.name], lookup.table.c[lookup.value.name]
        for one in value.split(";") if isinstance(value, str) else [value]:
            for match in (meant == queries.raw(one), sa.func.lower(meant) == queries.raw(str(one).lower())):
                found = connection.execute(sa.select(there).where(match).order_by(there).limit(1)).first()
                if found:
                    return found[0]
        raise UnwritableError(f"{lookup.table.name}.{lookup.value.name} has no row for its {name}; add it there first")

    def _fitting_key(self, key: str) -> str:
        length = self._table.columns["key"].length
        if length is not None and len(key) > length:
            raise UnwritableError(f"its key has {len(key)} characters, the key column holds {length} (191 are needed)")
        return key

    def _initial(self) -> dict[str, object]:
        """Return the cells of a new row that no field sets."""
        columns = self._table.columns
        cells: dict[str, object] = dict(self._spec.set)
        if "version" in columns and columns["version"].kind is Kind.INTEGER and not columns["version"].default:
            cells[columns["version"].name] = 1
        if "updated" in columns:
            cells[columns["updated"].name] = self._codec.now(self._clock())
        ident = columns["id"]
        if ident.kind in {Kind.TEXT, Kind.UUID} and not ident.default:
            cells[ident.name] = str(uuid.uuid4())
        return cells

    def _stamps(self, row: dict[str, object]) -> dict[str, object]:
        """Return the cells that every change moves: the version and the time of the change."""
        columns = self._table.columns
        cells: dict[str, object] = {}
        if "version" in columns and columns["version"].kind is Kind.INTEGER:
            number = row.get("version")
            cells[columns["version"].name] = number + 1 if isinstance(number, int) else 1
        if "updated" in columns:
            cells[columns["updated"].name] = self._codec.now(self._clock())
        return cells

    def _bound(self, cells: dict[str, object]) -> dict[Any, Any]:
        return {self._table.table.c[name]: queries.raw(value) for name, value in cells.items()}

    # ---- transactions

    def _write(self, work: Work, key: str | None, fields: Fields, *, creating: bool = False) -> Written:
        """Run `work` in one transaction, commit what it prepared, and read it back."""
        try:
            guarded = self._open()[0].key_is_unique or self._engine.dialect.name == "sqlite"
            with self._engine.connect() as connection:
                if creating and not guarded:
                    connection.execution_options(isolation_level="SERIALIZABLE")
                transaction = connection.begin()
                prepared = work(connection)
                if isinstance(prepared, Written):
                    transaction.rollback()
                    return prepared
                try:
                    transaction.commit()
                except exc.DBAPIError as error:
                    connection.invalidate()
                    return self._unconfirmed(error, key, fields)
        except UnwritableError as error:
            return Written(Outcome.FAILED, why=f"not written: {error}")
        except ReconcilerError as error:
            return Written(Outcome.FAILED, why=f"nothing was written: {error}")
        except exc.SQLAlchemyError as error:
            return self._failed(error, key, fields)
        return self._read_back(prepared)

    def _unconfirmed(self, error: exc.DBAPIError, key: str | None, fields: Fields) -> Written:
        if faults.is_lost(error) and not faults.is_worth_repeating(error):
            return Written(Outcome.UNKNOWN, why="the connection was lost while the database was committing")
        return self._failed(error, key, fields)

    def _failed(self, error: exc.SQLAlchemyError, key: str | None, fields: Fields) -> Written:
        if key is not None and faults.is_duplicate(error):
            return self._taken(key, fields)
        said = faults.clean(error, self._table.names, [key, *_texts(fields)])
        if faults.is_worth_repeating(error):
            return Written(Outcome.FAILED, why=f"nothing was written, the next run tries again: {said}")
        if faults.is_lost(error):
            return Written(Outcome.FAILED, why=f"the CRM can't be reached; nothing was written: {said}")
        return Written(Outcome.FAILED, why=f"the database refused it: {said}")

    def _taken(self, key: str, fields: Fields) -> Written:
        """Say who has the key that a unique index refused."""
        try:
            with self._looking() as connection:
                found = [record for _, record in self._by(connection, "key", key)]
        except ReconcilerError as error:
            return Written(Outcome.FAILED, why=f"a unique index refused it, and nobody could look why: {error}")
        if found:
            return self._compared(found[0], fields, "its key already belongs to another record")
        return Written(Outcome.FAILED, why="a unique index refused it, though no record has exactly its key")

    def _read_back(self, crm_id: str) -> Written:
        try:
            with self._engine.connect() as connection, connection.begin():
                found = self._by(connection, "id", crm_id)
        except exc.SQLAlchemyError:
            return Written(Outcome.DONE, None, "written, but it could not be read back")
        return Written(Outcome.DONE, found[0][1] if found else None)

    def _by(self, connection: Connection, name: str, value: str, *, lock: bool = False) -> Sequence[tuple[Row, Record]]:
        """Return the rows whose id or key is exactly `value`."""
        if name not in self._table.columns:
            return []
        cells = queries.cells([value], self._table.columns[name])
        if not cells:
            return []
        rows = [tuple(row) for row in connection.execute(self._one(name, lock), {"wanted": cells[0]})]
        pairs = [(row, self._codec.record(row)) for row in rows]
        return [(row, record) for row, record in pairs if (record.id if name == "id" else record.key) == value]

    @contextmanager
    def _looking(self) -> Iterator[Connection]:
        """Open a transaction that only reads. Raises CrmUnreachableError, SnapshotError."""
        self._open()
        with self._reading(), self._engine.connect() as connection, connection.begin():
            yield connection

    # ---- the map

    @property
    def _table(self) -> TableMap:
        return self._open()[0]

    @property
    def _codec(self) -> Codec:
        return self._open()[1]

    def _open(self) -> tuple[TableMap, Codec]:
        if self._opened is None:
            with self._reading(), self._engine.connect() as connection, connection.begin():
                table = reflect(connection, self._spec, self._time)
            self._opened = table, codec_of(self._spec, table, self._time, self._resolve)
        return self._opened

    def _reading(self) -> AbstractContextManager[None]:
        return faults.reading(engines.place_of(self._url), self._spec.table)


def _instant(spelled: str) -> datetime:
    moment = datetime.fromisoformat(spelled)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _is_near(record: Record, moment: datetime) -> bool:
    start = record.fields.get("start")
    return isinstance(start, str) and abs(_instant(start) - moment) <= NATURAL


def _same_people(record: Record, fields: Fields) -> bool:
    theirs, ours = record.fields.get("contact"), fields.get("contact")
    shared = set(theirs) & set(ours) if isinstance(theirs, tuple) and isinstance(ours, tuple) else not (theirs or ours)
    return record.fields.get("agent") == fields.get("agent") and bool(shared)


def _texts(fields: Fields) -> Iterable[Value]:
    for value in fields.values():
        yield from value if isinstance(value, tuple) else [value] if isinstance(value, str) else []
