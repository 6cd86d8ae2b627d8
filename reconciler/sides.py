"""How both sides of a pair stand, as one digest: what a person accepts or holds lasts while it is the same."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from reconciler import normalise

if TYPE_CHECKING:
    from reconciler.model import Record, Seen


def sides(seen: Seen | None, record: Record | None, compare: tuple[str, ...]) -> bytes:
    """Return a digest of the compared fields of both sides, and of whether each is there, cancelled or gone."""
    calendar = seen and [seen.digest.hex(), seen.absence, seen.declined]
    crm = record and [normalise.digest(record.fields, compare).hex(), record.presence, record.closed]
    return hashlib.blake2b(json.dumps([calendar, crm]).encode(), digest_size=16).digest()
