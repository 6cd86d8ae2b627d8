"""What a CRM's database has to allow, as its administrator types it: reading by one account, writing by another.

Names are quoted as the database quotes them. Passwords are nobody's here: only whom a URL logs in as is read of it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.crm import engines
from reconciler.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy.engine import URL


def grants(url: str, write_url: str | None, tables: Sequence[str], *, deletes: bool = False) -> tuple[str, ...]:
    """Return the statements, the first of `tables` being the one that is written if `write_url` is given.

    Nothing for SQLite, whose files have modes, and for a URL that can't be read.
    """
    try:
        reads, writes = engines.parse_url(url), engines.parse_url(write_url) if write_url else None
    except ConfigError:
        return ()
    if reads.get_backend_name() == "sqlite":
        return ()
    return tuple(_statements(reads, writes, list(dict.fromkeys(tables)), deletes=deletes))


def _statements(reads: URL, writes: URL | None, tables: Sequence[str], *, deletes: bool) -> Iterator[str]:
    named = [_table(reads, table) for table in tables]
    yield from (f"GRANT SELECT ON {table} TO {_who(reads)};" for table in named)
    if writes is None:
        return
    if _who(writes) != _who(reads):
        yield from (f"GRANT SELECT ON {table} TO {_who(writes)};" for table in named)
    verbs = "INSERT, UPDATE" + (", DELETE" if deletes else "")
    yield f"GRANT {verbs} ON {named[0]} TO {_who(writes)};"
    if reads.get_backend_name() == "postgresql":
        yield f"-- and, where ids come from a sequence:  GRANT USAGE ON SEQUENCE ... TO {_who(writes)};"


def _table(url: URL, table: str) -> str:
    """Quote a table, and the schema before it where one is named; MySQL's is the database."""
    quote = url.get_dialect()().identifier_preparer.quote_identifier
    schema, _, name = table.rpartition(".")
    if not schema and url.get_backend_name() == "mysql":
        schema = url.database or ""
    return f"{quote(schema)}.{quote(name)}" if schema else quote(name)


def _who(url: URL) -> str:
    quote = url.get_dialect()().identifier_preparer.quote_identifier
    if url.get_backend_name() == "mysql":
        return "'" + (url.username or "USER").replace("\\", "\\\\").replace("'", "''") + "'@'HOST'"
    return quote(url.username) if url.username else "USER"
