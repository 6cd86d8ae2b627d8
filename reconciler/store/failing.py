"""What is said of a database that fails at work: its server went away, its disk is full, its file is damaged."""

from __future__ import annotations

from sqlalchemy.exc import DatabaseError, InternalError, OperationalError

from reconciler.store.database import reason


def failure(error: Exception) -> str | None:
    """Return in a driver's words what happened to a database; None where the statement was wrong, or it was none."""
    if not isinstance(error, DatabaseError) or type(error) not in {DatabaseError, InternalError, OperationalError}:
        return None
    return reason(error)
