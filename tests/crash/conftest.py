"""What all tests of broken-off runs ask for: worlds with their state on SQLite and on PostgreSQL, and their twins."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.crash.twins import Twins, copies_of_postgres


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def twins(request: pytest.FixtureRequest, tmp_path: Path) -> Twins:
    """Make worlds that can begin again from where they stood."""
    if request.param == "sqlite":
        return Twins(tmp_path)
    fresh: Callable[[], str] = request.getfixturevalue("postgres_state")
    return Twins(tmp_path, fresh, copies_of_postgres(request.getfixturevalue("postgres_url")))
