"""When a calendar's turn comes: whole reads are spread over the week, so that no night has to bear them all."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model import Calendar

WEEK = timedelta(days=7)
SOONEST = timedelta(days=1)
"""A calendar that was read whole is not read whole again before, whatever its turn."""

_EPOCH = datetime(2024, 1, 1, tzinfo=UTC)


def is_due(calendar: Calendar, full_at: datetime, now: datetime) -> bool:
    """Tell whether `calendar`, last read whole at `full_at`, has had its turn since; each has one a week.

    One that was read whole in times to come was so by a clock that was wrong: nobody knows when it was.
    """
    name = f"{calendar.source}\0{calendar.agent.email}\0{calendar.name}"
    digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    first = _EPOCH + WEEK * (int.from_bytes(digest) / 2**64)
    turns = (now - first) // WEEK
    if full_at - now >= SOONEST:
        return True
    return now - full_at >= SOONEST and first + turns * WEEK > full_at
