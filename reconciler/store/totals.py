"""What a job came to since its state was made: totals that only ever grow, whatever is pruned or forgotten meanwhile.

Each is named and split by a few labels: kinds, severities, outcomes, names of sources. Never by a person.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from reconciler.store import codec
from reconciler.store.schema import totals

if TYPE_CHECKING:
    from sqlalchemy import Connection, Insert

    from reconciler.store.state import State

Labels = tuple[str, ...]
Totals = Mapping[str, Mapping[Labels, int]]
"""Numbers by name, and for each by its labels in a fixed order."""

LABELS: Final[Mapping[str, Labels]] = {
    "runs": ("command", "status", "exit_code"),
    "calendars": ("source", "provider", "state"),
    "found": ("kind", "severity"),
    "fixed": ("kind",),
    "resolved": ("kind", "severity"),
    "deltas": ("side", "action", "outcome"),
    "attempts": ("provider", "project", "scope", "answer"),
    "milliseconds": ("phase",),
}
"""What there is a total of, and what it is split by."""


def add(connection: Connection, state: State, more: Totals) -> None:
    """Add to the totals, in the caller's transaction; those of other processes are neither lost nor counted twice."""
    each = ((name, labels, value) for name, of in sorted(more.items()) for labels, value in sorted(of.items()))
    rows = [_row(state, name, labels, value) for name, labels, value in each]  # noughts too: a counter begins with one
    if rows:  # always in one order, so that two processes can't wait for each other
        connection.execute(_adding(connection.dialect.name), rows)


@lru_cache(maxsize=2)
def _adding(dialect: str) -> Insert:
    module: Any = import_module(f"sqlalchemy.dialects.{dialect}")  # one of them costs 60 ms and is not needed
    statement = module.insert(totals)
    value = totals.c.value + statement.excluded.value
    added: Insert = statement.on_conflict_do_update(index_elements=list(totals.primary_key), set_={"value": value})
    return added


def _row(state: State, name: str, labels: Labels, value: int) -> dict[str, Any]:
    if len(labels) != len(LABELS[name]):
        raise ValueError(f"{name} is split by {LABELS[name]}")
    return {"job": state.job, "name": name, "labels": codec.dump(list(labels)), "value": value}


def read(connection: Connection, state: State) -> dict[str, dict[Labels, int]]:
    """Return all totals by name and labels."""
    found: dict[str, dict[Labels, int]] = {name: {} for name in LABELS}
    rows = connection.execute(select(totals).where(totals.c.job == state.job).order_by(totals.c.name, totals.c.labels))
    for row in rows:
        if row.name in LABELS:  # a newer program may have had more of them
            found[row.name][tuple(codec.load(row.labels))] = row.value
    return found
