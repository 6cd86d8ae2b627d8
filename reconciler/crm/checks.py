"""What `reconcile check` says of a SQL CRM: rights, keys, preconditions, and the races that are left."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

import sqlalchemy as sa

from reconciler.crm import Check
from reconciler.normalise import KEY_LIMIT

if TYPE_CHECKING:
    from sqlalchemy.engine import URL, Connection

    from reconciler.crm.reflect import TableMap

APART: Final = timedelta(seconds=30)
"""How far two clocks may be apart: less than anybody takes to change an appointment twice."""


def reading_checks(connection: Connection, table: TableMap) -> list[Check]:
    """Return what the structure and the visible rows say."""
    return [
        _visible(connection, table),
        _required(table),
        _identity(table),
        _key(table),
        *_key_case(connection, table),
        _precondition(table),
        *_resolution(table),
        *_lookups(table),
        *_clock(connection, table),
        *_beyond(connection, table, "reading rights", "SELECT is enough for url", needed=("SELECT",)),
    ]


def writing_checks(connection: Connection, table: TableMap, url: URL) -> list[Check]:
    """Return what the writing account may do."""
    if table.dialect == "sqlite":
        return [_file_rights(url)]
    rights = _postgresql_rights(connection, table) if table.dialect == "postgresql" else _mysql_rights(connection)
    needed = ("SELECT", "INSERT", "UPDATE")
    return [rights, *_beyond(connection, table, "writing rights", "INSERT and UPDATE are enough", needed=needed)]


def _visible(connection: Connection, table: TableMap) -> Check:
    if connection.execute(sa.select(table.column("id")).limit(1)).first():
        return Check("rows", ok=True, says=f"{table.table.name} can be read")
    if table.dialect == "postgresql" and _is_row_secured(connection, table):
        says = "no row is visible and row-level security is on: this account may see none of what is there"
        return Check("rows", ok=False, says=says)
    return Check("rows", ok=True, says=f"{table.table.name} can be read and is empty")


def _is_row_secured(connection: Connection, table: TableMap) -> bool:
    query = sa.text("SELECT relrowsecurity FROM pg_class WHERE oid = to_regclass(:name)")
    return bool(connection.execute(query, {"name": _quoted(connection, table)}).scalar())


def _quoted(connection: Connection, table: TableMap) -> str:
    return connection.dialect.identifier_preparer.format_table(table.table)


def _required(table: TableMap) -> Check:
    if not table.required:
        return Check("create", ok=True, says="every column that a new row needs is mapped or has a default")
    named = ", ".join(table.required)
    says = f"rows can't be created: {named} must not be empty and is not mapped; map it or give it a value in [crm] set"
    return Check("create", ok=False, says=says)


def _identity(table: TableMap) -> Check:
    name = table.columns["id"].name
    if table.id_is_unique:
        return Check("id", ok=True, says=f"{name} is unique")
    return Check("id", ok=False, says=f"nothing makes {name} unique; rows that share an id are reported, never written")


def _key(table: TableMap) -> Check:
    if "key" not in table.columns:
        says = (
            "no key column is mapped: the state database alone links records, creates are re-checked by agent and time"
        )
        return Check("key", ok=False, says=says)
    column = table.columns["key"]
    if column.length is not None and column.length < KEY_LIMIT:
        return Check("key", ok=False, says=f"{column.name} holds {column.length} characters, keys need {KEY_LIMIT}")
    if table.key_is_unique:
        return Check("key", ok=True, says=f"{column.name} has a unique index")
    says = (
        f"{column.name} has no unique index over all rows: two writers that create the same key at the same instant "
        f"leave two rows, which is noticed just after and reported; add the index"
    )
    return Check("key", ok=False, says=says)


def _key_case(connection: Connection, table: TableMap) -> list[Check]:
    if "key" not in table.columns or table.dialect != "mysql":
        return []
    query = sa.text(
        "SELECT collation_name FROM information_schema.columns "
        "WHERE table_schema = COALESCE(:schema, DATABASE()) AND table_name = :table AND column_name = :column"
    )
    where = {"schema": table.table.schema, "table": table.table.name, "column": table.columns["key"].name}
    collation = connection.execute(query, where).scalar()
    if collation is None or str(collation).endswith("_bin"):
        return [Check("key case", ok=True, says="the key column tells upper from lower case")]
    says = f"its collation is {collation}: keys that differ only in case are refused as duplicates; use utf8mb4_bin"
    return [Check("key case", ok=False, says=says)]


def _precondition(table: TableMap) -> Check:
    if "version" in table.columns:
        name = table.columns["version"].name
        return Check("precondition", ok=True, says=f"writes require the {name} and the values that were read")
    lock = (
        "the database's write lock"
        if table.dialect == "sqlite"
        else "a row lock (a storage engine without them leaves a race)"
    )
    return Check("precondition", ok=True, says=f"no version column: writes compare all mapped values under {lock}")


def _resolution(table: TableMap) -> list[Check]:
    if "updated" not in table.columns:
        return []
    name = table.columns["updated"].name
    says = f"{name} orders changes and is never trusted alone: many databases keep it to the second"
    return [Check("updated", ok=True, says=says)]


def _clock(connection: Connection, table: TableMap) -> list[Check]:
    """Say whether the server's clock and ours agree: which side is newer is decided by both."""
    if table.dialect == "sqlite":
        return []
    query = "SELECT clock_timestamp()" if table.dialect == "postgresql" else "SELECT UTC_TIMESTAMP(6)"
    theirs: datetime = connection.exec_driver_sql(query).scalar_one()
    apart = datetime.now(UTC) - (theirs if theirs.tzinfo else theirs.replace(tzinfo=UTC))
    if abs(apart) <= APART:
        return [Check("clock", ok=True, says="the database's clock and this machine's agree")]
    ahead = "ahead of" if apart > timedelta() else "behind"
    says = f"this machine's clock is {abs(apart).total_seconds():.0f} seconds {ahead} the database's: set the wrong one"
    return [Check("clock", ok=False, says=f"{says}; which side is newer is decided by both")]


def _lookups(table: TableMap) -> list[Check]:
    return [
        Check(f"lookup {name}", ok=True, says=f"{name} is looked up in {found.table.name}.{found.value.name}")
        for name, found in table.lookups.items()
    ]


def _file_rights(url: URL) -> Check:
    path = os.path.realpath(url.database or "")
    ok = os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK)  # noqa: PTH120 -- beside a journal
    return Check("rights", ok=ok, says="the file can be written" if ok else "the file or its folder can't be written")


def _postgresql_rights(connection: Connection, table: TableMap) -> Check:
    query = sa.text("SELECT has_table_privilege(:name, 'INSERT'), has_table_privilege(:name, 'UPDATE')")
    inserts, updates = connection.execute(query, {"name": _quoted(connection, table)}).one()
    return _rights(inserts=bool(inserts), updates=bool(updates))


def _mysql_rights(connection: Connection) -> Check:
    grants = " ".join(str(row[0]).upper() for row in connection.exec_driver_sql("SHOW GRANTS"))
    everything = "ALL PRIVILEGES" in grants
    return _rights(inserts=everything or "INSERT" in grants, updates=everything or "UPDATE" in grants)


def _rights(*, inserts: bool, updates: bool) -> Check:
    missing = [name for name, there in (("INSERT", inserts), ("UPDATE", updates)) if not there]
    says = (
        f"the writing account lacks {' and '.join(missing)}" if missing else "the writing account may insert and update"
    )
    return Check("rights", ok=not missing, says=says)


# ---- more than is needed --------------------------------------------------------------------------------------------

_HARMFUL = ("INSERT", "UPDATE", "DELETE", "TRUNCATE", "DROP", "SUPER")


def _beyond(connection: Connection, table: TableMap, name: str, enough: str, *, needed: tuple[str, ...]) -> list[Check]:
    """Say what an account may do to the table without need; nothing of SQLite, whose files have owners instead."""
    if table.dialect == "sqlite":
        return []
    held = _postgresql_held(connection, table) if table.dialect == "postgresql" else _mysql_held(connection, table)
    more = [verb for verb in _HARMFUL if verb in held and verb not in needed]
    if not more:
        return [Check(name, ok=True, says="the account may do what it is used for, and no more")]
    return [Check(name, ok=False, says=f"the account may do more than it is used for: {', '.join(more)}. {enough}")]


def _postgresql_held(connection: Connection, table: TableMap) -> set[str]:
    query = sa.text("SELECT has_table_privilege(:name, :verb)")
    name = _quoted(connection, table)
    verbs = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
    found = {verb for verb in verbs if connection.execute(query, {"name": name, "verb": verb}).scalar()}
    above = connection.execute(sa.text("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")).scalar()
    return found | ({"SUPER"} if above else set())


def _mysql_held(connection: Connection, table: TableMap) -> set[str]:
    """Return the verbs of all grants that reach the table: on all, on its database, on itself."""
    database = table.table.schema or str(connection.exec_driver_sql("SELECT DATABASE()").scalar())
    reach = {"*.*", f"{database}.*", f"{database}.{table.table.name}"}
    found: set[str] = set()
    for row in connection.exec_driver_sql("SHOW GRANTS"):
        verbs, _, rest = str(row[0]).removeprefix("GRANT ").partition(" ON ")
        if rest.partition(" TO ")[0].replace("`", "").replace("\\", "") in reach:
            found.update(_HARMFUL if verbs.startswith("ALL PRIVILEGES") else map(str.strip, verbs.split(",")))
    return found
