"""What `reconcile status` asks of the state: how many findings are open, by severity."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import func, select

from reconciler.store.schema import findings

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.store.state import State


def open_findings(connection: Connection, state: State) -> dict[str, int]:
    """Return how many findings of each severity the last run left open, those apart that people accepted."""
    is_open = (findings.c.job == state.job) & findings.c.resolved_at.is_(None) & findings.c.accepted_sides.is_(None)
    counted = select(findings.c.severity, func.count()).where(is_open).group_by(findings.c.severity)
    return {row[0]: row[1] for row in connection.execute(counted)}
