"""Content-defined chunks: a row's id decides whether a chunk ends there; one that comes or goes moves no other."""

from __future__ import annotations

from binascii import crc32
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from reconciler.crm.values import raw_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from reconciler.crm.values import Codec, Row
    from reconciler.model import Record

MEAN = 1024
"""Rows of a chunk on average; a power of two."""

LIMIT = 8 * MEAN
"""Rows of a chunk at most."""


_MASK = MEAN - 1
_SPREAD = 0x9E3779B1  # an odd factor that scatters consecutive numbers


def ends_chunk(crm_id: object) -> bool:
    """Tell whether the row with this id ends its chunk: one in 1024 does, the same ones in every process."""
    if type(crm_id) is int:
        return not (crm_id * _SPREAD >> 13) & _MASK
    return not crc32(str(crm_id).encode("utf-8", "surrogatepass")) & _MASK


def chunked(batches: Iterable[Sequence[Row]]) -> Iterator[list[Row]]:
    """Cut rows that arrive in batches, in the order of their ids (first in each row), into chunks."""
    pending: list[Row] = []
    for batch in batches:
        begin = 0
        for end in _ends(batch):
            pending += batch[begin:end]
            yield from _bounded(pending)
            pending, begin = [], end
        pending += batch[begin:]
        while len(pending) > LIMIT:
            yield pending[:LIMIT]
            pending = pending[LIMIT:]
    if pending:
        yield pending


def _ends(batch: Sequence[Row]) -> list[int]:
    """Return how many rows come up to each end of a chunk in this batch; integers, the common case, without a call."""
    ids: list[Any] = [row[0] for row in batch]
    if set(map(type, ids)) == {int}:
        return [count for count, crm_id in enumerate(ids, 1) if not (crm_id * _SPREAD >> 13) & _MASK]
    return [count for count, crm_id in enumerate(ids, 1) if ends_chunk(crm_id)]


def _bounded(rows: list[Row]) -> Iterator[list[Row]]:
    for begin in range(0, len(rows), LIMIT):
        yield rows[begin : begin + LIMIT]


@dataclass(frozen=True)
class RowChunk:
    """A `Chunk` of raw rows. The digest covers them as they are; `records()` pays for normalising."""

    rows: Sequence[Row]
    codec: Codec
    seed: bytes = b""

    @property
    def first(self) -> str:
        return "" if self.rows[0][0] is None else str(self.rows[0][0])

    @property
    def count(self) -> int:
        return len(self.rows)

    @cached_property
    def digest(self) -> bytes:
        return raw_digest(self.rows, self.seed)

    def records(self) -> list[Record]:
        record: Callable[[Row], Record] = self.codec.record
        return [record(row) for row in self.rows]
