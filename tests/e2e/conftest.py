"""What all end-to-end tests ask for: a world, with its state on SQLite or on PostgreSQL."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.world import World

SQLITE, POSTGRES = "sqlite", pytest.param("postgres", marks=pytest.mark.postgres)
SQL_IS_THE_POINT = {
    "test_budgets",
    "test_forgetting",
    "test_hostile",
    "test_journal",
    "test_lock",
    "test_observe",
    "test_run",
}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Keep the state of a test in SQLite and in PostgreSQL where SQL is the point; of the others each has its one.

    What the store does is held to the same on both in tests/contract. `STATES=both make test` runs each test on both.
    """
    if "kept_in" not in metafunc.fixturenames:
        return
    module, test = metafunc.module.__name__.rpartition(".")[2], metafunc.function.__name__
    if module in SQL_IS_THE_POINT or os.environ.get("STATES") == "both":
        states = [SQLITE, POSTGRES]
    else:
        states = [(SQLITE, POSTGRES)[zlib.crc32(f"{module}.{test}".encode()) % 2]]
    metafunc.parametrize("kept_in", states, indirect=True)


@pytest.fixture
def kept_in(request: pytest.FixtureRequest) -> str:
    """Name what keeps the state."""
    return str(request.param)


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path, kept_in: str) -> Callable[..., World]:
    """Make the world of a test, with the given settings."""

    def make_world(**settings: object) -> World:
        if kept_in == "postgres":
            environ = {"STATE": request.getfixturevalue("postgres_state")()}
            return World(tmp_path, state="env:STATE", environ=environ, **settings)  # type: ignore[arg-type]
        return World(tmp_path, state="sqlite:///state.db", **settings)  # type: ignore[arg-type]

    return make_world
