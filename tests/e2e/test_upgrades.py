"""States that older versions left are upgraded by a person, whole or not at all, and nothing is planned afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Boolean, Connection, Engine, MetaData, create_engine, event, insert, select, text

import reconciler.store
from reconciler.assembly import assemble
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.config import load
from reconciler.errors import LockedError
from reconciler.store import versions
from reconciler.store.database import engine_of, run_lock
from reconciler.store.upgrading import integrity, upgrade
from tests.states.grow import ENDED

STATES = Path(__file__).parents[1] / "states"
VERSIONS = sorted(path.stem for path in STATES.glob("0???.sql"))
OPEN = {("missing_in_crm", None), ("missing_in_calendar", "3"), ("wrong_contact", "8")}


@dataclass
class Old:
    """What an older version left in a folder: both sides, a job file, and a state, which may have moved to a server."""

    folder: Path
    url: str
    now: datetime = ENDED + timedelta(hours=1)

    def type(self, *words: str) -> int:
        environ = {"STATE": self.url}
        return entry.call(words, Outside(environ=environ, cwd=self.folder, clock=lambda: self.now))

    def rows(self, table: str) -> list[dict[str, Any]]:
        engine = engine_of(self.url)
        try:
            with engine.connect() as connection:
                return [dict(row) for row in connection.execute(text(f"SELECT * FROM {table}")).mappings()]  # noqa: S608
        finally:
            engine.dispose()


def left_by(version: str, folder: Path) -> Old:
    """Lay out what this version left, its CRM at the place where it was."""
    for path in (*STATES.glob("*.ics"), STATES / "acme.toml"):
        shutil.copy(path, folder)
    for source, target in ((f"{version}.sql", "state.db"), (f"{version}.crm.sql", "crm.db")):
        with closing(sqlite3.connect(folder / target)) as database:
            database.executescript((STATES / source).read_text())
    with closing(sqlite3.connect(folder / "state.db")) as database, database:
        database.execute("UPDATE jobs SET crm = ?", (crm_of(folder),))
    job = folder / "acme.toml"
    job.write_text(job.read_text().replace('"sqlite:///state.db"', '"env:STATE"'))
    return Old(folder, f"sqlite:///{folder}/state.db")


def crm_of(folder: Path) -> str:
    """Return what the job calls its CRM, as a state of its own would have it."""
    other = folder / "other.toml"
    other.write_text((STATES / "acme.toml").read_text().replace("state.db", "other.db"))
    with assemble(load(other, {}), {}, clock=lambda: ENDED, dry_run=True) as setup:
        return setup.reader.identity


def moved(old: Old, version: str, url: str) -> Old:
    """Move a state to a server, as that version would have made its tables there."""
    config = Config()
    config.set_main_option("script_location", str(Path(reconciler.store.__file__).parent / "migrations"))
    source, target = create_engine(old.url), engine_of(url)
    with source.connect() as there, target.begin() as here:
        config.attributes["connection"] = here
        command.upgrade(config, version)
        made = MetaData()
        made.reflect(here)
        for table in made.sorted_tables:
            if table.name != "alembic_version":
                copied(there, here, table)
    source.dispose()
    target.dispose()
    return Old(old.folder, url)


def copied(there: Connection, here: Connection, table: Any) -> None:
    truths = {column.name for column in table.columns if isinstance(column.type, Boolean)}
    for row in there.execute(text(f"SELECT * FROM {table.name}")).mappings():  # noqa: S608
        values = {name: bool(value) if name in truths else value for name, value in row.items()}
        here.execute(insert(table).values(values))
    for column in table.columns:
        if column.server_default is not None and "nextval" in str(column.server_default.arg):
            latest = select(text(f"setval(pg_get_serial_sequence('{table.name}', '{column.name}'), 1000)"))
            here.execute(latest)


@pytest.fixture(params=[*VERSIONS, pytest.param("0001 on a server", marks=pytest.mark.postgres)])
def old(request: pytest.FixtureRequest, tmp_path: Path) -> Old:
    """Give what each version left; of one, on PostgreSQL as well."""
    version, _, on_server = request.param.partition(" ")
    left = left_by(version, tmp_path)
    return moved(left, version, request.getfixturevalue("postgres_database")()) if on_server else left


def shown(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)


def test_a_state_of_each_older_version_is_refused_upgraded_and_carried_on(
    old: Old, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = {name: old.rows(name) for name in ("links", "journal", "findings", "runs")}
    for words in (("run",), ("--dry-run",), ("status",), ("pull",), ("report",), ("explain", "3")):
        job = ("--job", "acme.toml") if words[0] == "explain" else ("acme.toml",)
        assert old.type(*words, *job) == 4, words
        assert capsys.readouterr().err.rstrip().endswith("reconcile state upgrade acme")
    assert {name: old.rows(name) for name in kept} == kept

    assert old.type("state", "upgrade", "acme.toml", "--format", "json") == 0
    done = shown(capsys)
    assert done["before"] in VERSIONS
    assert (done["version"], done["jobs"]) == (versions.HEAD, ["acme"])

    assert old.type("--dry-run", "acme.toml", "--format", "json") == 0
    assert shown(capsys)["deltas"] == []
    assert old.type("run", "acme.toml", "--format", "json") == 0
    result = shown(capsys)
    assert result["deltas"] == []
    assert {(one["kind"], one["crm_id"]) for one in result["findings"]} == OPEN
    assert {one["first_seen"][:10] for one in result["findings"]} == {"2026-11-20", "2026-11-21"}
    after = {name: old.rows(name) for name in kept}
    for name in ("links", "journal"):
        assert carried(after[name], kept[name]) == carried(kept[name], kept[name])
    assert len(after["runs"]) == len(kept["runs"]) + 1

    late = (old.folder / "bob.ics").read_text().replace("DTSTART:20261129T15", "DTSTART:20261129T14")
    (old.folder / "bob.ics").write_text(late.replace("20261121T080000Z", "20261122T100000Z"))
    old.now += timedelta(hours=1)
    assert old.type("run", "acme.toml", "--format", "json") == 0
    assert [(one["action"], one["outcome"]) for one in shown(capsys)["deltas"]] == [("update", "done")]


def carried(rows: list[dict[str, Any]], like: list[dict[str, Any]]) -> list[tuple[str, ...]]:
    """Return the columns that a version had of what it left, in no order."""
    names = sorted(like[0].keys() - {"base_digest", "crm_digest", "base"})  # made anew where they are made otherwise
    return sorted(tuple(str(row[name]) for name in names) for row in rows)


# ---- the upgrade itself ---------------------------------------------------------------------------------------------


@pytest.fixture
def oldest(tmp_path: Path) -> Old:
    """Give what the first version left."""
    return left_by(VERSIONS[0], tmp_path)


@pytest.fixture
def engine(oldest: Old) -> Iterator[Engine]:
    """Open its state as it is."""
    opened = engine_of(oldest.url)
    yield opened
    opened.dispose()


def dump(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as database:
        return list(database.iterdump())


def test_what_a_file_held_before_is_kept_beside_it_for_its_owner(
    oldest: Old, capsys: pytest.CaptureFixture[str]
) -> None:
    before = dump(oldest.folder / "state.db")
    copy = oldest.folder / f"state.db.before-{versions.HEAD}"
    copy.write_text("the half of one, by an upgrade that was killed")
    assert oldest.type("state", "upgrade", "acme.toml") == 0
    said = capsys.readouterr().out
    assert f"brought from version {VERSIONS[0]} to {versions.HEAD}, with all that it holds" in said
    assert f"in {copy.name}: delete that when runs end well" in said
    assert dump(copy) == before
    assert stat.S_IMODE(copy.stat().st_mode) == 0o600
    assert oldest.type("state", "upgrade", "acme.toml") == 0
    assert capsys.readouterr().out == f"The state of acme is at version {versions.HEAD} already; nothing was done.\n"
    assert dump(copy) == before


def test_without_a_copy_there_is_none(oldest: Old) -> None:
    assert oldest.type("state", "upgrade", "acme.toml", "--no-backup") == 0
    assert [path.name for path in oldest.folder.glob("*.before-*")] == []


def test_of_two_at_once_the_one_that_waited_leaves_the_copy_of_the_other(
    oldest: Old, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It looked before the other was done: what it would copy now is not what was there before."""
    before = dump(oldest.folder / "state.db")
    upgrade(engine)
    monkeypatch.setattr(versions, "version_of", lambda _: VERSIONS[0])
    found = upgrade(engine)
    assert (found.before, found.copy) == (versions.HEAD, None)
    assert dump(oldest.folder / f"state.db.before-{versions.HEAD}") == before


def test_where_no_copy_can_be_made_nothing_is_changed(oldest: Old, capsys: pytest.CaptureFixture[str]) -> None:
    (oldest.folder / f"state.db.before-{versions.HEAD}").mkdir()
    before = dump(oldest.folder / "state.db")
    assert oldest.type("state", "upgrade", "acme.toml") == 4
    assert "could not be copied" in capsys.readouterr().err
    assert dump(oldest.folder / "state.db") == before
    assert not list(oldest.folder.glob("*.part"))


def test_while_a_run_is_at_work_nothing_is_upgraded(oldest: Old, engine: Engine) -> None:
    before = dump(oldest.folder / "state.db")
    with run_lock(engine, crm_of(oldest.folder)):
        assert oldest.type("state", "upgrade", "acme.toml") == 75
        with pytest.raises(LockedError):
            upgrade(engine)
    assert dump(oldest.folder / "state.db") == before
    assert not list(oldest.folder.glob("*.before-*"))


def test_all_jobs_of_a_database_are_upgraded_and_named(
    oldest: Old, engine: Engine, capsys: pytest.CaptureFixture[str]
) -> None:
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO jobs (name, salt) VALUES ('other', 'x')"))
    assert oldest.type("state", "upgrade", "acme.toml") == 0
    assert "These jobs have their state there, too, and were upgraded: other." in capsys.readouterr().out


def test_an_upgrade_of_an_empty_database_makes_it(oldest: Old, capsys: pytest.CaptureFixture[str]) -> None:
    (oldest.folder / "state.db").unlink()
    assert oldest.type("state", "upgrade", "acme.toml") == 0
    assert f"has the tables of version {versions.HEAD} now" in capsys.readouterr().out


def killed_at(url: str, statement: int) -> None:
    """Upgrade in a process that is killed right after one of its statements."""
    if (child := os.fork()) == 0:
        try:
            engine, left = engine_of(url), iter(range(statement))

            @event.listens_for(engine, "after_cursor_execute")
            def _count(*_: object) -> None:
                if next(left, None) is None:
                    os.kill(os.getpid(), signal.SIGKILL)

            upgrade(engine)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize(
    "old", [VERSIONS[0], pytest.param(f"{VERSIONS[0]} on a server", marks=pytest.mark.postgres)], indirect=True
)
def test_an_upgrade_that_is_killed_has_not_happened(old: Old) -> None:
    tables = ("jobs", "links", "alembic_version", "calendars")
    before = {name: old.rows(name) for name in tables}
    for statement in (8, 12, 16, 20):
        killed_at(old.url, statement)
        assert {name: old.rows(name) for name in tables} == before
    engine = engine_of(old.url)
    assert upgrade(engine).before == before["alembic_version"][0]["version_num"]
    assert versions.version_of(engine) == versions.HEAD
    engine.dispose()


def test_a_file_that_is_broken_says_so(oldest: Old, engine: Engine) -> None:
    upgrade(engine, keep=False)
    assert integrity(engine) == []
    engine.dispose()
    path = oldest.folder / "state.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    torn = bytearray(path.read_bytes())
    for place in range(3 * 4096, len(torn) - 4096, 4096):
        torn[place : place + 64] = b"\xff" * 64
    path.write_bytes(torn)
    assert integrity(engine)
