"""Which state databases are opened, made, upgraded and refused, on SQLite and on PostgreSQL by the same tests."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

import reconciler.store
from reconciler.errors import StateError
from reconciler.store import versions
from reconciler.store.database import engine_of, open_engine
from reconciler.store.schema import metadata
from reconciler.store.state import open_state
from reconciler.store.upgrading import upgrade

MIGRATIONS = Path(reconciler.store.__file__).parent / "migrations"
NEW = Callable[[], str]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def new(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NEW]:
    """Give URLs of new, empty databases."""
    if request.param == "postgres":
        yield request.getfixturevalue("postgres_database")
        return
    numbers = iter(range(100))
    yield lambda: f"sqlite:///{tmp_path}/state{next(numbers)}.db"


@pytest.fixture
def engines() -> Iterator[Callable[[str], Engine]]:
    """Open databases as they are, whatever their version; all are closed in the end."""
    made: list[Engine] = []

    def open_one(url: str) -> Engine:
        made.append(engine_of(url))
        return made[-1]

    yield open_one
    for engine in made:
        engine.dispose()


def migrated(engine: Engine, version: str) -> None:
    """Run the migrations up to `version`, as older programs did."""
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with engine.execution_options(writes=True).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, version)


def tables(engine: Engine) -> dict[str, Any]:
    """Describe all that a database holds: columns, keys, indexes and constraints, in no order."""
    seen = inspect(engine)
    return {
        name: {
            "columns": {each["name"]: _plain(each) for each in seen.get_columns(name)},
            "key": seen.get_pk_constraint(name),
            "foreign": [_plain(each) for each in seen.get_foreign_keys(name)],
            "unique": sorted(map(_plain, seen.get_unique_constraints(name)), key=str),
            "indexes": {each["name"]: _plain(each) for each in seen.get_indexes(name)},
            "options": _plain(seen.get_table_options(name)),
        }
        for name in seen.get_table_names()
    }


def _plain(described: Any) -> Any:
    if isinstance(described, dict):
        return {name: _plain(value) for name, value in described.items()}
    return str(described)


# ---- a new one ------------------------------------------------------------------------------------------------------


def test_a_new_database_has_exactly_the_tables_that_the_migrations_make(
    new: NEW, engines: Callable[[str], Engine]
) -> None:
    slow = engines(new())
    migrated(slow, versions.HEAD)
    quick = open_engine(new())
    try:
        assert tables(quick) == tables(slow)
        assert versions.version_of(quick) == versions.version_of(slow) == versions.HEAD
        with quick.connect() as connection:
            assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    finally:
        quick.dispose()


def test_the_last_migration_is_the_version_that_this_program_needs() -> None:
    assert max(path.name[:4] for path in (MIGRATIONS / "versions").glob("0*.py")) == versions.HEAD


def test_those_who_open_a_new_database_at_once_make_one_state_between_them(new: NEW) -> None:
    def opened(url: str) -> int:
        begun.wait()
        state = open_state(url, "acme")
        state.engine.dispose()
        return state.job

    for url in (new(), new(), new()):
        begun = threading.Barrier(4, timeout=60)
        with ThreadPoolExecutor(4) as at_once:
            assert list(at_once.map(opened, [url] * 4)) == [1] * 4


# ---- another version's, or another program's ------------------------------------------------------------------------


def refusal(url: str) -> str:
    with pytest.raises(StateError) as refused:
        open_state(url, "acme")
    return str(refused.value)


def test_a_database_of_an_older_program_is_refused_and_left_as_it_is(
    new: NEW, engines: Callable[[str], Engine]
) -> None:
    url = new()
    engine = engines(url)
    migrated(engine, "0003")
    before = tables(engine)
    said = refusal(url)
    assert f"has version 0003, this program needs {versions.HEAD}; nothing was done" in said
    assert said.endswith("reconcile state upgrade acme")
    assert tables(engine) == before


def test_a_database_of_a_newer_program_is_refused_by_an_upgrade_too(new: NEW, engines: Callable[[str], Engine]) -> None:
    url = new()
    engine = engines(url)
    migrated(engine, versions.HEAD)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    assert "made by a newer version of this program: its tables have version 9999" in refusal(url)
    with pytest.raises(StateError, match="newer version"):
        upgrade(engine)


@pytest.mark.parametrize("version", [None, "3f2a91bc0d11", "0004", versions.HEAD])
def test_a_database_of_another_program_is_refused_and_gets_no_table_of_ours(
    new: NEW, engines: Callable[[str], Engine], version: str | None
) -> None:
    url = new()
    engine = engines(url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE appointments (id INTEGER)"))
        if version:
            connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
            connection.execute(text("INSERT INTO alembic_version VALUES (:v)"), {"v": version})
    before = tables(engine)
    assert "tables of another program" in refusal(url)
    with pytest.raises(StateError, match="another program"):
        upgrade(engine)
    assert tables(engine) == before


def test_a_database_that_is_no_state_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_bytes(b"this is no database at all, whatever it may be called" * 100)
    said = refusal(f"sqlite:///{tmp_path}/state.db")
    assert "state.db can't be opened" in said
    assert "Put a copy in its place" in said


def test_a_place_where_no_file_can_be_is_said_in_a_sentence(tmp_path: Path) -> None:
    assert "can't be opened: Is a directory" in refusal(f"sqlite:///{tmp_path}")
    (tmp_path / "notes.txt").touch()
    assert "state.db can't be opened" in refusal(f"sqlite:///{tmp_path}/notes.txt/state.db")
