"""How both sides of a pair stand, as one digest: what a person accepts or holds lasts while it is the same."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from reconciler import normalise

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model import Record, Seen


def sides(seen: Seen | None, record: Record | None, compare: tuple[str, ...]) -> bytes:
    """Return a digest of the compared fields of both sides, and of whether each is there, cancelled or gone."""
    calendar = seen and [seen.digest.hex(), seen.absence, seen.declined]
    crm = record and [normalise.digest(record.fields, compare).hex(), record.presence, record.closed]
    return hashlib.blake2b(json.dumps([calendar, crm]).encode(), digest_size=16).digest()


def together(parts: Iterable[bytes]) -> bytes:
    """Return one digest of what many stand like, in whatever order they come."""
    return hashlib.blake2b(b"".join(sorted(parts)), digest_size=16).digest()


def said(*words: str) -> bytes:
    """Return a digest that stands for these words: of what has no sides that could change."""
    return hashlib.blake2b(json.dumps(words).encode(), digest_size=16).digest()
