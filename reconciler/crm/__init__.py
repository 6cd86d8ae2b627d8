"""CRMs behind one seam: a reader takes snapshots, a writer changes one record under a precondition.

A dry run is handed a reader only; there is nothing in it that could write.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler.model import Outcome, Record, Shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from reconciler.model import Fields, Window


class Chunk(Protocol):
    """A run of rows in primary-key order. Reading its `digest` is cheap; `records()` pays for normalising.

    Borders are chosen by the rows' own keys, so that a row that comes or goes changes one chunk, not all after it.
    """

    @property
    def first(self) -> str:
        """Return the id of the first row, which names the chunk."""
        ...

    @property
    def digest(self) -> bytes:
        """Return 16 bytes over the raw rows: equal rows, equal digest."""
        ...

    @property
    def count(self) -> int:
        """Return the number of rows."""
        ...

    def records(self) -> Sequence[Record]:
        """Return the rows, normalised."""
        ...


class Snapshot(Protocol):
    """The CRM as read at one instant, in one read-only transaction that is closed with the context."""

    def chunks(self, window: Window) -> Iterator[Chunk]:
        """Yield the rows that touch `window`, in chunks. A short read raises CrmUnreachableError or SnapshotError."""
        ...

    def by_ids(self, ids: Iterable[str]) -> Sequence[Record]:
        """Return the rows with these ids, wherever they are in time, soft-deleted ones included."""
        ...

    def by_keys(self, keys: Iterable[str]) -> Sequence[Record]:
        """Return the rows with these source keys; nothing if the CRM has no key column."""
        ...

    def changed_since(self, since: datetime) -> Iterator[Record]:
        """Yield the rows updated at or after `since` (aware), wherever they are in time, soft-deleted ones included."""
        ...


class Reader(Protocol):
    """The reading half of a CRM."""

    @property
    def identity(self) -> str:
        """Name this CRM without secrets: dialect, host, database, table."""
        ...

    @property
    def shape(self) -> Shape:
        """Say how this CRM keeps values; raise ConfigError when the column map does not fit the table."""
        ...

    @property
    def fingerprint(self) -> str:
        """Return a digest of everything that shapes normalisation: columns, time mode, status map, agents, version."""
        ...

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Open a consistent, read-only view of the CRM."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one write: the record as the CRM kept it where that is known, and a sentence otherwise."""

    outcome: Outcome  # DONE, ALREADY, CONFLICT, FAILED or UNKNOWN
    record: Record | None = None
    why: str = ""


class Writer(Protocol):
    """The writing half of a CRM. Every write carries the version it was decided on; none is ever repeated here."""

    def create(self, key: str, fields: Fields) -> Written:
        """Insert a record under `key`: ALREADY when an identical one is there, CONFLICT when the key is taken."""
        ...

    def update(self, crm_id: str, fields: Fields, *, version: str, key: str | None = None) -> Written:
        """Change `fields` (and the key, when it is given) if the record still has `version`; CONFLICT when it moved."""
        ...

    def cancel(self, crm_id: str, *, version: str) -> Written:
        """Set the record's status to cancelled if it still has `version`."""
        ...

    def delete(self, crm_id: str, *, version: str) -> Written:
        """Remove the record (softly where a column for it is mapped) if it still has `version`."""
        ...

    def find(self, crm_id: str | None, key: str) -> Record | None:
        """Look one record up by id, else by key: what an unknown outcome really was."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `reconcile check` about the CRM: what was looked at, whether it is fine, and a sentence."""

    name: str
    ok: bool
    says: str
    at: datetime | None = None
