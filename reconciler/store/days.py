"""What each day came to, by office: what stays when findings and runs are pruned, and what trends are drawn from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from reconciler.rollup import Sums
from reconciler.store import codec
from reconciler.store.database import upsert
from reconciler.store.schema import days

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date

    from sqlalchemy import Connection

    from reconciler.store.state import State

_ADDED: Final = ("runs", "refused", "calendars", "observed", "found", "fixed", "resolved", "delayed", "delay")


def add(connection: Connection, state: State, day: date, sums: Mapping[str, Sums], standing: Mapping[str, int]) -> None:
    """Add what one run came to, by office, to its day. `standing` is what is open after it: the day's last word."""
    mine = (days.c.job == state.job, days.c.day == day.isoformat())
    known = {row["office"]: row for row in connection.execute(select(days).where(*mine)).mappings()}
    offices = sorted({*known, *sums, *standing})
    rows = [_row(known.get(office), sums.get(office, Sums()), standing.get(office, 0)) for office in offices]
    key = {"day": day.isoformat(), "job": state.job}
    upsert(connection, days, [{**key, "office": office, **row} for office, row in zip(offices, rows, strict=True)])


def _row(known: Mapping[Any, Any] | None, sums: Sums, standing: int) -> dict[str, Any]:
    before: Mapping[Any, Any] = known or dict.fromkeys((*_ADDED, "longest"), 0) | {"kinds": "{}"}
    kinds: dict[str, int] = codec.load(before["kinds"])
    for kind, count in sums.kinds.items():
        kinds[kind] = kinds.get(kind, 0) + count
    return {
        **{name: before[name] + getattr(sums, name) for name in _ADDED},
        "open": standing,
        "longest": max(before["longest"], sums.longest),
        "kinds": codec.dump(kinds),
    }
