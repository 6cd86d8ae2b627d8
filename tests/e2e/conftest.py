"""What all end-to-end tests ask for: a world, with its state on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.world import World


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., World]:
    """Make the world of a test, with the given settings."""

    def make_world(**settings: object) -> World:
        if request.param == "postgres":
            environ = {"STATE": request.getfixturevalue("postgres_state")()}
            return World(tmp_path, state="env:STATE", environ=environ, **settings)  # type: ignore[arg-type]
        return World(tmp_path, state="sqlite:///state.db", **settings)  # type: ignore[arg-type]

    return make_world
