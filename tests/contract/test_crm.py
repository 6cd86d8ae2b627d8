"""One suite for every SQL CRM: what is promised of reading and writing holds on each database."""

from __future__ import annotations

import threading
import traceback
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.crm import checks as checks_of
from reconciler.crm.sql import Lookup, SqlReader, SqlSpec, SqlWriter
from reconciler.errors import ConfigError, CrmUnreachableError, SnapshotError
from reconciler.model import Action, Agent, Fields, Outcome, Presence, Record, Status, Window

WINDOW = Window(datetime(2026, 11, 15, tzinfo=UTC), datetime(2027, 1, 21, tzinfo=UTC))
ANN = Agent(email="ann@acme.example", aliases=("a.lee@acme.example",), crm_owner="ann.lee", timezone="America/Chicago")
BOB = Agent(email="bob@acme.example", timezone="Europe/Berlin")
CID = Agent(email="cid@acme.example")
PEOPLE = {name: agent for agent in (ANN, BOB, CID) for name in (agent.email, *agent.aliases, agent.crm_owner) if name}
COLUMNS = {
    "id": "id",
    "key": "source_key",
    "agent": "agent_email",
    "contact": "contact_email",
    "title": "title",
    "start": "starts_at",
    "end": "ends_at",
    "all_day": "all_day",
    "location": "location",
    "status": "status",
    "version": "version",
    "updated": "updated_at",
}
STATUS = {
    "confirmed": ("scheduled", "booked"),
    "tentative": ("scheduled",),
    "cancelled": ("cancelled",),
    "closed": ("completed", "no_show"),
}
VISIT: Fields = {
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "all_day": False,
    "agent": "bob@acme.example",
    "title": "Viewing",
    "location": "12 Main St",
    "status": "confirmed",
    "contact": ("client@mail.example",),
}
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


def naive(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0, micro: int = 0) -> datetime:
    """Return a moment without a zone, as a plain DATETIME column holds it."""
    return datetime(year, month, day, hour, minute, second, micro, UTC).replace(tzinfo=None)


def resolve(name: str | None) -> Agent | None:
    return PEOPLE.get((name or "").lower())


class Office:
    """A CRM as its own people see it: a table, and a connection that can do anything to it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = sa.create_engine(url, poolclass=sa.NullPool)
        self.table: sa.Table
        self._opened: list[SqlReader | SqlWriter] = []
        if url.startswith("sqlite"):
            with self.engine.connect() as connection:
                connection.exec_driver_sql("PRAGMA journal_mode = WAL")  # or readers and writers wait for each other

    def make(self, *extra: sa.Column[Any], unique: bool = True, **changed: object) -> None:
        """Create the table; `changed` replaces the type of a column by its name."""
        types: dict[str, Any] = {
            "source_key": sa.String(191).with_variant(sa.String(191, collation="utf8mb4_bin"), "mysql"),
            "agent_email": sa.String(254),
            "contact_email": sa.String(254),
            "title": sa.String(100),
            "starts_at": sa.DateTime(),
            "ends_at": sa.DateTime(),
            "all_day": sa.Boolean(),
            "location": sa.String(200),
            "status": sa.String(20),
            "version": sa.Integer(),
            "updated_at": sa.DateTime(),
            "origin": sa.String(20),
        } | changed
        columns = [
            sa.Column(name, kind, unique=unique and name == "source_key")
            for name, kind in types.items()
            if kind is not None
        ]
        self.table = sa.Table(
            "appointments", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), *columns, *extra
        )
        self.table.create(self.engine)

    def add(self, **cells: object) -> str:
        """Add a row as the office would; its id."""
        usual = {
            "agent_email": "bob@acme.example",
            "contact_email": "client@mail.example",
            "title": "Viewing",
            "starts_at": naive(2026, 11, 24, 15),
            "ends_at": naive(2026, 11, 24, 16),
            "all_day": False,
            "location": "12 Main St",
            "status": "scheduled",
            "version": 1,
        }
        known = {name: value for name, value in (usual | cells).items() if name in self.table.c}
        with self.engine.begin() as connection:
            result = connection.execute(self.table.insert().values(**known))
            assert result.inserted_primary_key
            return str(result.inserted_primary_key[0])

    def rows(self) -> list[dict[str, Any]]:
        with self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(sa.select(self.table).order_by(self.table.c.id)).mappings()]

    def row(self, crm_id: str) -> dict[str, Any]:
        return next(row for row in self.rows() if str(row["id"]) == crm_id)

    def edit(self, crm_id: str, **cells: object) -> None:
        with self.engine.begin() as connection:
            connection.execute(self.table.update().where(self.table.c.id == int(crm_id)).values(**cells))

    def spec(self, **changed: object) -> SqlSpec:
        columns = {ours: theirs for ours, theirs in COLUMNS.items() if theirs in self.table.c}
        spec = SqlSpec(
            url=self.url, table="appointments", time="utc", columns=columns, status=STATUS, set={"origin": "reconcile"}
        )
        return replace(spec, **cast("dict[str, Any]", changed))

    def mapping(self, **changed: str | None) -> dict[str, str]:
        columns = {ours: theirs for ours, theirs in COLUMNS.items() if theirs in self.table.c}
        return {ours: theirs for ours, theirs in {**columns, **changed}.items() if theirs is not None}

    def reader(self, **changed: object) -> SqlReader:
        known = bool(changed.pop("known", False))
        reader = SqlReader(self.spec(**changed), resolve=resolve, known=known)
        self._opened.append(reader)
        return reader

    def writer(self, **changed: object) -> SqlWriter:
        writer = SqlWriter(self.spec(**changed), resolve=resolve, clock=lambda: NOW)
        self._opened.append(writer)
        return writer

    def read(self, window: Window = WINDOW, **changed: object) -> dict[str, Record]:
        with self.reader(**changed).snapshot() as snapshot:
            return {record.id: record for chunk in snapshot.chunks(window) for record in chunk.records()}

    def one(self, crm_id: str, **changed: object) -> Record:
        with self.reader(**changed).snapshot() as snapshot:
            (record,) = snapshot.by_ids([crm_id])
        return record

    def close(self) -> None:
        for opened in self._opened:
            opened.close()
        self.engine.dispose()


class CrmContract:
    """What every backend inherits. A subclass gives `url`: the address of an empty database."""

    @pytest.fixture
    def office(self, url: str) -> Iterator[Office]:
        office = Office(url)
        yield office
        office.close()

    # ---- reading

    def test_a_row_reads_as_canonical_fields(self, office: Office) -> None:
        office.make()
        crm_id = office.add(
            source_key="uid-1@google.com",
            agent_email="A.Lee@acme.example",
            contact_email=" Zoe@Mail.example; amy@mail.example,",
            title="  Viewing \u200b of\tthe   house ",
            updated_at=naive(2026, 11, 20, 9, 30, 0, 400000),
        )
        record = office.read()[crm_id]
        assert record.fields == {
            "start": "2026-11-24T15:00:00Z",
            "end": "2026-11-24T16:00:00Z",
            "all_day": False,
            "agent": "ann@acme.example",
            "contact": ("amy@mail.example", "zoe@mail.example"),
            "title": "Viewing of the house",
            "location": "12 Main St",
            "status": "confirmed",
        }
        assert (record.key, record.presence, record.closed, record.problem) == (
            "uid-1@google.com",
            Presence.LIVE,
            False,
            None,
        )
        assert record.updated is not None
        assert record.updated.replace(second=0) == datetime(2026, 11, 20, 9, 30, tzinfo=UTC)

    def test_the_window_takes_what_touches_it(self, office: Office) -> None:
        office.make()
        inside = {
            office.add(
                starts_at=WINDOW.start.replace(tzinfo=None) - timedelta(hours=1),
                ends_at=naive(2026, 11, 15, 0, 0, 1),
            ),
            office.add(starts_at=naive(2027, 1, 20, 23, 59, 59), ends_at=naive(2027, 1, 22)),
            office.add(starts_at=naive(2026, 11, 1), ends_at=naive(2027, 3, 1)),
            office.add(starts_at=naive(2026, 11, 14), ends_at=naive(2026, 11, 15), all_day=True),
            office.add(starts_at=naive(2027, 1, 21), ends_at=naive(2027, 1, 22), all_day=True),
            office.add(starts_at=naive(2026, 12, 1), ends_at=None),
        }
        office.add(starts_at=naive(2026, 11, 14, 23), ends_at=naive(2026, 11, 15))
        office.add(starts_at=naive(2027, 1, 21), ends_at=naive(2027, 1, 21, 1))
        office.add(starts_at=naive(2026, 11, 13), ends_at=naive(2026, 11, 14), all_day=True)
        office.add(starts_at=naive(2026, 11, 1), ends_at=None)
        assert set(office.read()) == inside

    def test_what_cannot_be_read_is_a_problem_not_an_exception(self, office: Office) -> None:
        office.make()
        problems = {
            office.add(starts_at=None): "its start is empty",
            office.add(ends_at=None): "its end is empty",
            office.add(ends_at=naive(2026, 11, 24, 14)): "it ends before it starts",
            office.add(status="on hold"): 'the status "on hold" is not in [crm] status',
            office.add(status=None): "an empty status is not in [crm] status",
        }
        assert {crm_id: record.problem for crm_id, record in office.read().items()} == problems

    def test_statuses_are_forgiven_case_and_space_and_closed_counts_as_confirmed(self, office: Office) -> None:
        office.make()
        booked, closed, cancelled = (office.add(status=status) for status in (" Booked", "no_show", "CANCELLED"))
        found = office.read()
        assert (found[booked].fields["status"], found[booked].closed) == ("confirmed", False)
        assert (found[closed].fields["status"], found[closed].closed) == ("confirmed", True)
        assert (found[cancelled].fields["status"], found[cancelled].presence) == ("cancelled", Presence.CANCELLED)

    def test_chunks_hold_every_row_once_and_one_change_moves_one_digest(self, office: Office) -> None:
        office.make()
        with office.engine.begin() as connection:
            cells = {"starts_at": naive(2026, 12, 1), "ends_at": naive(2026, 12, 2), "status": "scheduled"}
            connection.execute(office.table.insert(), [{"title": f"t{n}", **cells} for n in range(6000)])
        before = self._chunks(office)
        assert sum(count for _, count in before.values()) == 6000
        assert len(before) > 2
        with office.engine.begin() as connection:
            connection.execute(office.table.delete().where(office.table.c.id == 3001))
            connection.execute(office.table.insert().values(title="last", **cells))
        after = self._chunks(office)
        assert len(set(before.items()) ^ set(after.items())) <= 4  # the chunk of the deleted row, and the last

    @staticmethod
    def _chunks(office: Office) -> dict[str, tuple[bytes, int]]:
        with office.reader().snapshot() as snapshot:
            found = {chunk.first: (chunk.digest, chunk.count, chunk.records()) for chunk in snapshot.chunks(WINDOW)}
        assert all(count == len(records) for _, count, records in found.values())
        return {first: (digest, count) for first, (digest, count, _) in found.items()}

    def test_a_snapshot_stands_still_while_others_commit(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        with office.reader().snapshot() as snapshot:
            (before,) = snapshot.by_ids([crm_id])
            office.edit(crm_id, title="moved on", version=2)
            office.add(title="new")
            (during,) = snapshot.by_ids([crm_id])
            assert [record for chunk in snapshot.chunks(WINDOW) for record in chunk.records()] == [before]
        assert during == before
        assert office.one(crm_id).fields["title"] == "moved on"

    def test_other_questions_may_be_asked_while_chunks_are_read(self, office: Office) -> None:
        office.make()
        ids = [office.add(source_key=f"k{n}") for n in range(5)]
        seen: list[str] = []
        with office.reader().snapshot() as snapshot:
            for chunk in snapshot.chunks(WINDOW):
                assert [record.id for record in snapshot.by_keys(["k0"])] == [ids[0]]
                seen += [record.id for record in chunk.records()]
        assert seen == ids

    def test_a_reader_cannot_write(self, office: Office) -> None:
        office.make()
        office.add()
        with office.reader().snapshot() as snapshot, pytest.raises(sa.exc.DBAPIError, match=r"(?i)read.?only"):
            snapshot.connection.execute(sa.text("UPDATE appointments SET title = 'ours'"))
        assert office.rows()[0]["title"] == "Viewing"

    def test_ids_and_keys_find_exactly_what_they_name(self, office: Office) -> None:
        office.make()
        far = office.add(source_key="Key-1", starts_at=naive(2020, 1, 1), ends_at=naive(2020, 1, 2))
        office.add(source_key=None)
        office.add(source_key=None)
        with office.reader().snapshot() as snapshot:
            assert [record.id for record in snapshot.by_ids([far, "999", "x", "1e3", ""])] == [far]
            assert [record.id for record in snapshot.by_keys(["Key-1", "nobody's"])] == [far]
            assert not snapshot.by_keys(["key-1"])
            assert not snapshot.by_keys(["Key-1 "])
            assert not snapshot.by_ids([])

    def test_without_a_key_column_no_key_is_found(self, office: Office) -> None:
        office.make(source_key=None)
        office.add()
        with office.reader().snapshot() as snapshot:
            assert not snapshot.by_keys(["k"])

    def test_only_what_changed_can_be_read(self, office: Office) -> None:
        office.make()
        office.add(updated_at=naive(2026, 11, 20, 9, 29, 59))
        changed = office.add(updated_at=naive(2026, 11, 20, 9, 30), starts_at=naive(2020, 1, 1))
        timeless = office.add(updated_at=None)
        with office.reader().snapshot() as snapshot:
            found = [record.id for record in snapshot.changed_since(datetime(2026, 11, 20, 9, 30, tzinfo=UTC))]
        assert found == [changed, timeless]

    def test_rows_that_share_an_id_are_problems(self, office: Office) -> None:
        office.make()
        office.add(title="one")
        office.add(title="two")
        with office.engine.begin() as connection:
            connection.execute(
                sa.text("CREATE VIEW doubled AS SELECT * FROM appointments UNION ALL SELECT * FROM appointments")
            )
        with office.reader(table="doubled").snapshot() as snapshot:
            records = [record for chunk in snapshot.chunks(WINDOW) for record in chunk.records()]
        assert [record.problem for record in records] == ["more than one row has its id"] * 4
        with office.engine.begin() as connection:
            connection.execute(sa.text("DROP VIEW doubled"))

    def test_the_jobs_own_query(self, office: Office) -> None:
        office.make()
        office.add(title="100% sure: it's on")
        reader = office.reader()
        assert reader.query("SELECT title AS agent FROM appointments WHERE title LIKE '100%';") == [
            {"agent": "100% sure: it's on"}
        ]
        with pytest.raises(ConfigError, match="more than one statement"):
            reader.query("SELECT 1; DROP TABLE appointments")
        with pytest.raises((CrmUnreachableError, SnapshotError)):
            reader.query("DELETE FROM appointments")
        assert len(office.rows()) == 1

    # ---- the map

    def test_every_misfit_of_the_map_is_told_at_once(self, office: Office) -> None:
        office.make(title=sa.Integer(), starts_at=sa.Date())
        with pytest.raises(ConfigError) as caught:
            _ = office.reader(columns=office.mapping(location="locaton", key="source_kye")).shape
        said = str(caught.value)
        for part in ('"locaton" (did you mean "location"?)', 'did you mean "source_key"?', "holds date", "not text"):
            assert part in said

    def test_a_missing_table_is_a_mistake_at_first_and_a_loss_later(self, office: Office) -> None:
        office.make()
        with pytest.raises(ConfigError, match=r'no table "appointmnts" \(did you mean "appointments"\?\)'):
            _ = office.reader(table="appointmnts").shape
        with pytest.raises(SnapshotError, match="no longer is what it was"):
            _ = office.reader(table="appointmnts", known=True).shape

    def test_a_column_that_vanishes_between_reads_is_a_loss(self, office: Office) -> None:
        office.make()
        reader = office.reader()
        _ = reader.shape
        with office.engine.begin() as connection:
            connection.execute(sa.text("ALTER TABLE appointments DROP COLUMN location"))
        with pytest.raises(SnapshotError, match="reconcile check"), reader.snapshot() as snapshot:
            list(snapshot.chunks(WINDOW))

    def test_the_shape_says_what_the_schema_allows(self, office: Office) -> None:
        office.make(sa.Column("office_id", sa.Integer, nullable=False))
        shape = office.reader().shape
        assert shape.lengths == {"title": 100, "location": 200}
        assert shape.statuses[Status.TENTATIVE] is shape.statuses[Status.CLOSED] is Status.CONFIRMED
        assert shape.can == {Action.UPDATE, Action.CANCEL, Action.DELETE}
        says = {check.name: check for check in office.reader().checks()}
        assert not says["create"].ok
        assert "office_id" in says["create"].says

    def test_checks_name_keys_and_races(self, office: Office) -> None:
        office.make(unique=False, version=None)
        says = {check.name: check for check in office.reader().checks()}
        assert not says["key"].ok
        assert "unique index" in says["key"].says
        assert "compare all mapped values" in says["precondition"].says
        assert all(check.ok for check in office.writer().checks() if check.name != "writing rights")

    # ---- writing

    def test_what_is_created_reads_back_equal(self, office: Office) -> None:
        office.make()
        written = office.writer().create("uid-1@google.com", VISIT)
        assert written.outcome is Outcome.DONE
        assert written.record is not None
        assert office.read() == {written.record.id: written.record}
        assert written.record.fields == VISIT
        assert (written.record.key, written.record.origin, written.record.updated) == (
            "uid-1@google.com",
            "reconcile",
            NOW,
        )
        assert office.row(written.record.id)["version"] == 1

    def test_an_identical_create_is_already_there_and_another_conflicts(self, office: Office) -> None:
        office.make()
        writer = office.writer()
        first = writer.create("k", VISIT)
        again = writer.create("k", VISIT)
        other = writer.create("k", {**VISIT, "title": "Another"})
        assert (again.outcome, again.record) == (Outcome.ALREADY, first.record)
        assert (other.outcome, other.record) == (Outcome.CONFLICT, first.record)
        assert len(office.rows()) == 1

    @pytest.mark.parametrize("unique", [True, False])
    def test_creating_one_key_at_the_same_time_gives_one_row(self, office: Office, unique: bool) -> None:
        office.make(unique=unique)
        writers = [office.writer() for _ in range(4)]
        gate = threading.Barrier(len(writers), timeout=60)
        outcomes: list[Outcome] = []

        def create(writer: SqlWriter) -> None:
            writer.find(None, "warm")
            gate.wait()
            outcomes.append(writer.create("k", VISIT).outcome)

        threads = [threading.Thread(target=create, args=(writer,)) for writer in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(office.rows()) == 1
        assert outcomes.count(Outcome.DONE) == 1
        assert set(outcomes) <= {Outcome.DONE, Outcome.ALREADY, Outcome.FAILED}

    def test_keys_differ_by_case(self, office: Office) -> None:
        office.make()
        writer = office.writer()
        outcomes = [writer.create(key, {**VISIT, "title": key}).outcome for key in ("KEY", "key")]
        assert outcomes == [Outcome.DONE, Outcome.DONE]
        upper, lower = writer.find(None, "KEY"), writer.find(None, "key")
        assert upper is not None
        assert lower is not None
        assert (upper.fields["title"], lower.fields["title"]) == ("KEY", "key")

    def test_an_update_moves_the_version_and_touches_nobody_else(self, office: Office) -> None:
        office.make()
        stranger = office.add(title="theirs")
        crm_id = office.add(source_key="k", origin="crm")
        before = office.row(stranger)
        written = office.writer().update(
            crm_id, {"start": "2026-11-24T16:00:00Z", "end": "2026-11-24T17:00:00Z"}, version=office.one(crm_id).version
        )
        assert written.outcome is Outcome.DONE
        assert written.record == office.one(crm_id)
        assert written.record is not None
        assert written.record.fields["start"] == "2026-11-24T16:00:00Z"
        assert office.row(crm_id)["version"] == 2
        assert (office.row(crm_id)["title"], office.row(crm_id)["origin"]) == ("Viewing", "crm")
        assert office.row(stranger) == before

    @pytest.mark.parametrize("mapped", [{"version": "version"}, {"version": None}, {"version": None, "updated": None}])
    def test_a_lost_update_is_impossible(self, office: Office, mapped: Mapping[str, str | None]) -> None:
        office.make()
        crm_id = office.add()
        columns = office.mapping(**mapped)
        seen = office.one(crm_id, columns=columns)
        writer = office.writer(columns=columns)
        office.edit(crm_id, location="a person's edit")  # whoever edits by hand forgets the version
        for attempt in (
            writer.update(crm_id, {"title": "ours"}, version=seen.version),
            writer.cancel(crm_id, version=seen.version),
            writer.delete(crm_id, version=seen.version),
        ):
            assert attempt.outcome is Outcome.CONFLICT
            assert attempt.record is not None
            assert attempt.record.fields["location"] == "a person's edit"
        assert office.row(crm_id)["title"] == "Viewing"

    def test_a_record_that_is_gone_is_a_conflict(self, office: Office) -> None:
        office.make()
        written = office.writer().update("77", {"title": "x"}, version="1:00")
        assert (written.outcome, written.record) == (Outcome.CONFLICT, None)

    def test_an_update_that_changes_nothing_writes_nothing(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        before = office.row(crm_id)
        written = office.writer().update(crm_id, {"title": "Viewing"}, version=office.one(crm_id).version)
        assert written.outcome is Outcome.ALREADY
        assert office.row(crm_id) == before

    def test_a_key_can_be_changed(self, office: Office) -> None:
        office.make()
        crm_id = office.add(source_key="old")
        written = office.writer().update(crm_id, {}, version=office.one(crm_id).version, key="new")
        assert written.outcome is Outcome.DONE
        assert office.row(crm_id)["source_key"] == "new"

    def test_a_long_title_is_cut_once_and_does_not_flap(self, office: Office) -> None:
        office.make()
        writer = office.writer()
        first = writer.create("k", {**VISIT, "title": "x" * 150})
        assert first.record is not None
        assert first.record.fields["title"] == "x" * 100
        again = writer.update(first.record.id, {"title": "x" * 150}, version=first.record.version)
        assert again.outcome is Outcome.ALREADY

    def test_addresses_are_written_whole_or_not_at_all(self, office: Office) -> None:
        office.make(contact_email=sa.String(40))
        writer = office.writer()
        people = tuple(f"client{n}@mail.example" for n in range(4))
        some = writer.create("k1", {**VISIT, "contact": people})
        none = writer.create("k2", {**VISIT, "contact": ("x" * 40 + "@mail.example",)})
        assert some.record is not None
        assert office.row(some.record.id)["contact_email"] == "client0@mail.example"
        assert none.outcome is Outcome.FAILED
        assert "no address fits" in none.why
        assert "xxx" not in none.why

    def test_cancel_writes_the_status_and_spares_recorded_outcomes(self, office: Office) -> None:
        office.make()
        live, closed = office.add(), office.add(status="completed")
        writer = office.writer()
        done = writer.cancel(live, version=office.one(live).version)
        refused = writer.cancel(closed, version=office.one(closed).version)
        kept = writer.update(closed, {"status": "confirmed", "title": "new"}, version=office.one(closed).version)
        assert done.record is not None
        assert (done.outcome, done.record.presence) == (Outcome.DONE, Presence.CANCELLED)
        assert office.row(live)["status"] == "cancelled"
        assert refused.outcome is Outcome.FAILED
        assert kept.outcome is Outcome.DONE
        assert office.row(closed)["status"] == "completed"

    def test_cancel_needs_a_word_for_it(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        writer = office.writer(status={"confirmed": ("scheduled",)})
        written = writer.cancel(crm_id, version=office.one(crm_id, status={"confirmed": ("scheduled",)}).version)
        assert written.outcome is Outcome.FAILED
        assert "[crm] status names no value for cancelled" in written.why

    def test_a_delete_is_hard_without_a_column_for_it(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        written = office.writer().delete(crm_id, version=office.one(crm_id).version)
        assert (written.outcome, written.record) == (Outcome.DONE, None)
        assert office.rows() == []

    def test_a_delete_is_soft_with_a_column_for_it(self, office: Office) -> None:
        office.make(sa.Column("deleted_at", sa.DateTime()))
        columns = office.mapping(deleted_at="deleted_at")
        crm_id = office.add(source_key="k")
        written = office.writer(columns=columns).delete(crm_id, version=office.one(crm_id, columns=columns).version)
        assert written.record is not None
        assert written.record.presence is Presence.ABSENT
        assert office.row(crm_id)["title"] == "Viewing"
        assert office.read(columns=columns) == {}
        assert office.one(crm_id, columns=columns).presence is Presence.ABSENT
        assert office.writer(columns=columns).create("k", VISIT).outcome is Outcome.CONFLICT

    def test_find_by_id_then_by_key(self, office: Office) -> None:
        office.make()
        crm_id = office.add(source_key="k")
        writer = office.writer()
        for asked in ((crm_id, "other"), (None, "k"), ("999", "k")):
            found = writer.find(*asked)
            assert found is not None
            assert found.id == crm_id
        assert writer.find("999", "other") is None

    def test_without_a_key_column_creates_look_for_the_same_appointment(self, office: Office) -> None:
        office.make(source_key=None)
        writer = office.writer()
        first = writer.create("k", VISIT)
        again = writer.create("k", VISIT)
        near = writer.create("k2", {**VISIT, "start": "2026-11-24T15:05:00Z"})
        other = writer.create("k3", {**VISIT, "contact": ("someone@else.example",)})
        assert [written.outcome for written in (first, again, near, other)] == [
            Outcome.DONE,
            Outcome.ALREADY,
            Outcome.CONFLICT,
            Outcome.DONE,
        ]

    def test_the_owner_is_written_as_the_crm_names_him(self, office: Office) -> None:
        office.make()
        written = office.writer().create("k", {**VISIT, "agent": "ann@acme.example"})
        assert written.record is not None
        assert office.row(written.record.id)["agent_email"] == "ann.lee"
        assert written.record.fields["agent"] == "ann@acme.example"

    def test_foreign_keys_are_looked_up_both_ways(self, office: Office) -> None:
        office.make(agent_email=sa.Integer())
        users = sa.Table(
            "users", sa.MetaData(), sa.Column("id", sa.Integer, primary_key=True), sa.Column("email", sa.String(100))
        )
        users.create(office.engine)
        with office.engine.begin() as connection:
            connection.execute(
                users.insert(), [{"id": 41, "email": "Bob@acme.example"}, {"id": 42, "email": "ann.lee"}]
            )
        lookup = {"agent": Lookup(table="users")}
        writer = office.writer(lookup=lookup)
        bobs, anns = writer.create("k1", VISIT), writer.create("k2", {**VISIT, "agent": "ann@acme.example"})
        missing = writer.create("k3", {**VISIT, "agent": "cid@acme.example"})
        assert [row["agent_email"] for row in office.rows()] == [41, 42]
        read = office.read(lookup=lookup)
        assert bobs.record is not None
        assert anns.record is not None
        assert read[bobs.record.id].fields["agent"] == "bob@acme.example"
        assert read[anns.record.id].fields["agent"] == "ann@acme.example"
        assert missing.outcome is Outcome.FAILED
        assert "users.email has no row for its agent" in missing.why
        assert "cid" not in missing.why

    def test_all_day_keeps_its_dates(self, office: Office) -> None:
        office.make()
        day: Fields = {**VISIT, "start": "2026-11-24", "end": "2026-11-25", "all_day": True}
        for mode in ("utc", "local:America/Chicago", "local:Asia/Tokyo"):
            written = office.writer(time=mode).create(mode, day)
            assert written.record is not None
            assert written.record.fields == day
            row = office.row(written.record.id)
            assert (row["starts_at"], row["ends_at"]) == (naive(2026, 11, 24), naive(2026, 11, 25))
        inclusive = office.writer(all_day_end="inclusive").create("inclusive", {**day, "title": "i"})
        assert inclusive.record is not None
        assert inclusive.record.fields["end"] == "2026-11-25"
        assert office.row(inclusive.record.id)["ends_at"] == naive(2026, 11, 24)

    def test_local_times_follow_the_zone_and_its_switches(self, office: Office) -> None:
        office.make()
        mode = "local:America/Chicago"
        writer = office.writer(time=mode)
        for start, wall in (("2026-10-31T15:00:00Z", 10), ("2026-11-02T15:00:00Z", 9), ("2026-11-01T06:30:00Z", 1)):
            written = writer.create(start, {**VISIT, "start": start, "end": "2026-11-24T16:00:00Z"})
            assert written.record is not None
            assert written.record.fields["start"] == start
            assert office.row(written.record.id)["starts_at"].hour == wall
        second = writer.create("fold", {**VISIT, "start": "2026-11-01T07:30:00Z"})  # 01:30 again, an hour later
        assert second.outcome is Outcome.FAILED
        assert "happens twice" in second.why
        assert len(office.rows()) == 3

    def test_times_local_to_the_agent_move_with_the_agent(self, office: Office) -> None:
        office.make()
        writer = office.writer(time="local:agent")
        created = writer.create("k", VISIT)  # bob is in Berlin
        assert created.record is not None
        crm_id = created.record.id
        assert office.row(crm_id)["starts_at"].hour == 16
        moved = writer.update(crm_id, {"agent": "ann@acme.example"}, version=created.record.version)
        assert moved.record is not None
        assert moved.record.fields["start"] == VISIT["start"]
        assert office.row(crm_id)["starts_at"].hour == 9  # Chicago
        homeless = writer.create("k2", {**VISIT, "agent": "cid@acme.example"})
        assert homeless.outcome is Outcome.FAILED
        assert "no timezone" in homeless.why
        lost = office.add(agent_email="cid@acme.example")
        assert office.one(lost, time="local:agent").problem == (
            "its start is local to an agent whose timezone isn't known"
        )

    @pytest.mark.parametrize("sample", ["2026-11-24T15:00:00Z", "2026-11-24 15:00:00", "2026-11-24T15:00:00.000+00:00"])
    def test_times_in_text_keep_the_spelling_of_the_column(self, office: Office, sample: str) -> None:
        office.make(starts_at=sa.String(40), ends_at=sa.String(40), updated_at=None)
        crm_id = office.add(starts_at=sample, ends_at=sample)
        assert office.one(crm_id).fields["start"] == "2026-11-24T15:00:00Z"
        written = office.writer().update(crm_id, {"end": "2026-11-24T16:00:00Z"}, version=office.one(crm_id).version)
        assert written.record is not None
        assert written.record.fields["end"] == "2026-11-24T16:00:00Z"
        assert office.row(crm_id)["ends_at"] == sample.replace("T15", "T16").replace(" 15", " 16")

    def test_text_that_is_no_time_is_seen(self, office: Office) -> None:
        office.make(starts_at=sa.String(40), ends_at=sa.String(40), updated_at=None)
        spelled = ["24.11.2026 15:00", "soon", "2026-11-24 25:00", "", "1764000000"]
        for start in spelled:
            office.add(starts_at=start, ends_at="2026-11-24 16:00:00")
        problems = [record.problem for record in office.read().values()]
        assert problems == [
            "its start is not a date and time",
            "its start is not a date and time",
            "its start is not a date and time",
            "its start is empty",
            "its start is not a date and time",
        ]

    def test_a_refusal_of_the_database_says_no_value(self, office: Office) -> None:
        office.make(sa.Column("office_id", sa.Integer, nullable=False))
        written = office.writer().create("secret-key", {**VISIT, "title": "Jane's divorce"})
        assert written.outcome is Outcome.FAILED
        assert "office_id" in written.why
        for value in ("Jane", "divorce", "secret-key", "client@mail.example"):
            assert value not in written.why

    def test_a_connection_lost_while_committing_is_unknown(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        office.make()
        crm_id = office.add()
        writer = office.writer()
        version = office.one(crm_id).version
        assert writer.find(crm_id, "k") is not None
        dialect = writer._engine.dialect

        def lose(_connection: object) -> None:
            raise dialect.loaded_dbapi.OperationalError(2013, "lost")

        with monkeypatch.context() as patched:
            patched.setattr(dialect, "do_commit", lose)
            written = writer.update(crm_id, {"title": "x"}, version=version)
        assert written.outcome is Outcome.UNKNOWN
        assert writer.update(crm_id, {"title": "y"}, version=version).outcome is Outcome.DONE

    @settings(
        max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]
    )
    @given(data=st.data())
    def test_whatever_is_written_reads_back_as_normalised(self, office: Office, data: st.DataObject) -> None:
        if not sa.inspect(office.engine).has_table("appointments"):
            office.make()
        mode = data.draw(st.sampled_from(["utc", "local:America/Chicago", "local:Asia/Kolkata"]))
        start = data.draw(st.datetimes(naive(2025, 1, 1), naive(2028, 1, 1)))
        fields: Fields = {
            "start": start.isoformat(timespec="seconds") + "Z",
            "end": (start + timedelta(minutes=data.draw(st.integers(0, 5000)))).isoformat(timespec="seconds") + "Z",
            "all_day": False,
            "agent": data.draw(st.sampled_from(["bob@acme.example", "ann@acme.example", "stranger@else.example"])),
            "title": data.draw(st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), max_size=150)),
            "location": data.draw(st.text(st.characters(codec="ascii"), max_size=20)),
            "status": data.draw(st.sampled_from(["confirmed", "tentative", "cancelled"])),
            "contact": tuple(sorted(data.draw(st.sets(st.sampled_from(["a@b.example", "c@d.example"]), min_size=1)))),
        }
        writer = office.writer(time=mode)
        written = writer.create(f"k-{uuid.uuid4()}", fields)
        if written.outcome is Outcome.FAILED:
            assert "happens twice" in written.why
            return
        assert written.record is not None
        assert written.record.problem is None
        expected = writer._codec.kept(fields)
        assert {name: written.record.fields.get(name) for name in fields} == expected
        assert (expected["start"], expected["end"], expected["contact"]) == (
            fields["start"],
            fields["end"],
            fields["contact"],
        )
        writer.close()


class TestSqlite(CrmContract):
    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        return f"sqlite:///{tmp_path / 'crm.db'}"

    def test_no_path_of_the_machine_is_printed(self, office: Office, tmp_path: Path) -> None:
        office.make()
        assert str(tmp_path) not in office.reader().identity
        assert office.reader().identity.startswith("sqlite crm.db#")

    def test_a_missing_file_is_unreachable_and_stays_missing(self, tmp_path: Path) -> None:
        spec = SqlSpec(
            url=f"sqlite:///{tmp_path / 'none.db'}", table="t", time="utc", columns={"id": "id", "start": "s"}
        )
        missing = pytest.raises(CrmUnreachableError, match=r"there is no such file, .* Look at \[crm\] url")
        with missing, SqlReader(spec, resolve=resolve).snapshot():
            pass
        assert not (tmp_path / "none.db").exists()

    def test_text_that_is_no_utf8_stops_nobody(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        with office.engine.begin() as connection:
            connection.execute(sa.text("UPDATE appointments SET title = CAST(X'56FF' AS TEXT)"))
        assert office.read()[crm_id].fields["title"] == "V\ufffd"
        assert office.one(crm_id).version == office.read()[crm_id].version

    def test_odd_cells_read_the_same_in_chunks_and_by_id(self, office: Office) -> None:
        office.make()
        ids = [office.add(title=title) for title in ('say "hi" \\ \n', "nul\0byte", "Žižkov 🏠", "", "plain")]
        with office.engine.begin() as connection:
            connection.execute(sa.text("UPDATE appointments SET version = 9007199254740993"))
            connection.execute(sa.text("UPDATE appointments SET location = X'FF00' WHERE title = ''"))
        assert list(office.read().values()) == [office.one(crm_id) for crm_id in ids]

    def test_numbers_are_no_times(self, office: Office) -> None:
        office.make()
        crm_id = office.add()
        with office.engine.begin() as connection:
            connection.execute(sa.text("UPDATE appointments SET starts_at = 1764000000000, ends_at = 1764003600000"))
        assert office.read()[crm_id].problem == "its start is not a date and time"

    def test_a_locked_file_is_a_failure_that_may_pass(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reconciler.crm.engines.LOCK_TIMEOUT", 0)
        office.make()
        crm_id = office.add()
        version = office.one(crm_id).version
        with office.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            unopened = office.writer().update(crm_id, {"title": "x"}, version=version)
        writer = office.writer()
        assert writer.find(crm_id, "k") is not None
        with office.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            opened = writer.update(crm_id, {"title": "x"}, version=version)
        for written in (unopened, opened):
            assert written.outcome is Outcome.FAILED
            assert "the next run tries again" in written.why
        assert office.row(crm_id)["title"] == "Viewing"


class ServerContract(CrmContract):
    """What only a database server has: instants, accounts, passwords."""

    def grant(self, office: Office, user: str) -> None:
        raise NotImplementedError

    def revoke(self, office: Office, user: str) -> None:
        raise NotImplementedError

    def test_a_lost_permission_is_told_and_nothing_is_planned(
        self, office: Office, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        office.make()
        office.add()
        user = f"reader_{uuid.uuid4().hex[:12]}"
        self.grant(office, user)
        url = sa.make_url(office.url).set(username=user).render_as_string(hide_password=False)
        reader = office.reader(url=url)
        _ = reader.shape
        checks = {check.name: check for check in office.writer(url=url).checks()}
        assert not checks["rights"].ok
        assert {check.name: check.ok for check in reader.checks()}["reading rights"], "it may read, and no more"
        assert {check.name: check.ok for check in reader.checks()}["clock"], "it is this machine's own"
        monkeypatch.setattr(checks_of, "APART", timedelta(days=-1))
        assert "set the wrong one" in {check.name: check.says for check in reader.checks()}["clock"]
        more = {check.name: check.says for check in office.reader().checks()}["reading rights"]
        assert "DELETE" in more, "the account that the tests are prepared with may do everything"
        assert "INSERT, UPDATE, DELETE, TRUNCATE" in more or "DROP" in more
        self.revoke(office, user)
        with pytest.raises((SnapshotError, CrmUnreachableError)) as caught, reader.snapshot() as snapshot:
            list(snapshot.chunks(WINDOW))
        assert isinstance(caught.value, SnapshotError)
        assert "no longer lets this account read" in str(caught.value)

    def test_no_error_shows_a_password(self, office: Office) -> None:
        office.make()
        url = sa.URL.create(
            sa.make_url(office.url).drivername, "someone", "hunter2-secret", "127.0.0.1", 1, "crm"
        ).render_as_string(hide_password=False)
        assert "hunter2" not in repr(office.spec(url=url, write_url=url))
        reader, writer = office.reader(url=url), office.writer(url=url)
        assert "hunter2" not in reader.identity
        calls: list[Callable[[], object]] = [
            lambda: reader.shape,
            lambda: writer.find("1", "k"),
            lambda: reader.query("SELECT 1"),
        ]
        for call in calls:
            with pytest.raises(CrmUnreachableError) as caught:
                call()
            told = "".join(traceback.format_exception(caught.value))
            assert "hunter2" not in told
            assert "127.0.0.1:1/crm" in told


@pytest.mark.postgres
class TestPostgres(ServerContract):
    @pytest.fixture
    def url(self, postgres_database: Callable[[], str]) -> str:
        return postgres_database()

    def grant(self, office: Office, user: str) -> None:
        self._run(office, f"CREATE ROLE {user} LOGIN", f"GRANT SELECT ON appointments TO {user}")

    def revoke(self, office: Office, user: str) -> None:
        self._run(office, f"REVOKE SELECT ON appointments FROM {user}")  # noqa: S608 -- our own name

    @staticmethod
    def _run(office: Office, *statements: str) -> None:
        with office.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def test_instants_survive_any_offset(self, office: Office) -> None:
        office.make(starts_at=sa.DateTime(timezone=True), ends_at=sa.DateTime(timezone=True))
        start = datetime.fromisoformat("2026-11-24T10:00:00-05:00")
        crm_id = office.add(starts_at=start, ends_at=start + timedelta(hours=1))
        seen = office.read(time="aware", columns=office.mapping(updated=None))[crm_id]
        assert seen.fields["start"] == "2026-11-24T15:00:00Z"
        writer = office.writer(time="aware", columns=office.mapping(updated=None))
        written = writer.update(crm_id, {"start": "2026-11-24T14:00:00Z"}, version=seen.version)
        assert written.outcome is Outcome.DONE
        assert office.row(crm_id)["starts_at"] == datetime(2026, 11, 24, 14, tzinfo=UTC)
        with pytest.raises(ConfigError, match="keeps instants, not local times"):
            _ = office.reader(time="local:America/Chicago").shape

    def test_rows_hidden_by_row_level_security_are_suspected(self, office: Office) -> None:
        office.make()
        office.add()
        user = f"reader_{uuid.uuid4().hex[:12]}"
        self.grant(office, user)
        self._run(office, "ALTER TABLE appointments ENABLE ROW LEVEL SECURITY")
        url = sa.make_url(office.url).set(username=user).render_as_string(hide_password=False)
        says = {check.name: check for check in office.reader(url=url).checks()}
        assert not says["rows"].ok
        assert "row-level security" in says["rows"].says

    def test_a_table_in_a_schema(self, office: Office) -> None:
        office.make()
        self._run(office, "CREATE SCHEMA sales", "ALTER TABLE appointments SET SCHEMA sales")
        office.table.schema = "sales"
        written = office.writer(table="sales.appointments").create("k", VISIT)
        assert written.outcome is Outcome.DONE
        assert len(office.read(table="sales.appointments")) == 1

    def test_ids_may_be_uuids_and_statuses_enums(self, office: Office) -> None:
        self._run(
            office,
            "CREATE TYPE state AS ENUM ('scheduled', 'cancelled')",
            "CREATE TABLE appointments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), source_key text UNIQUE, "
            "agent_email text, starts_at timestamp, ends_at timestamp, status state NOT NULL)",
        )
        office.table = sa.Table("appointments", sa.MetaData(), autoload_with=office.engine)
        status = {"confirmed": ("scheduled",), "cancelled": ("cancelled",)}
        writer = office.writer(status=status, set={})
        fields = {name: VISIT[name] for name in ("start", "end", "agent", "status")}
        written = writer.create("k", fields)
        assert written.record is not None
        assert written.record.fields == fields
        assert writer.cancel(written.record.id, version=written.record.version).outcome is Outcome.DONE
        assert writer.find("no uuid", "other") is None


@pytest.mark.mariadb
class TestMariadb(ServerContract):
    @pytest.fixture
    def url(self, mariadb_database: Callable[[], str]) -> str:
        return mariadb_database()

    def grant(self, office: Office, user: str) -> None:
        database = sa.make_url(office.url).database
        self._run(
            office,
            f"CREATE USER '{user}'@'localhost'",
            f"GRANT SELECT ON {database}.appointments TO '{user}'@'localhost'",
            f"GRANT CREATE ON {database}.* TO '{user}'@'localhost'",
        )

    def revoke(self, office: Office, user: str) -> None:
        database = sa.make_url(office.url).database
        self._run(office, f"REVOKE SELECT ON {database}.appointments FROM '{user}'@'localhost'")  # noqa: S608 -- our own

    @staticmethod
    def _run(office: Office, *statements: str) -> None:
        with office.engine.begin() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)

    def test_a_key_column_blind_to_case_is_named_and_harmless(self, office: Office) -> None:
        office.make(source_key=sa.String(191, collation="utf8mb4_general_ci"))
        writer = office.writer()
        assert writer.create("key", VISIT).outcome is Outcome.DONE
        other = writer.create("KEY", VISIT)
        assert other.outcome is Outcome.FAILED
        assert "no record has exactly its key" in other.why
        says = {check.name: check for check in office.reader().checks()}
        assert not says["key case"].ok

    def test_a_timestamp_column_is_an_instant(self, office: Office) -> None:
        office.make(starts_at=sa.TIMESTAMP(), ends_at=sa.TIMESTAMP(), updated_at=None)
        crm_id = office.add()
        self._run(office, "SET time_zone = '-05:00'")
        with office.engine.begin() as connection:
            connection.exec_driver_sql("SET time_zone = '-05:00'")
            connection.exec_driver_sql(
                "UPDATE appointments SET starts_at = '2026-11-24 10:00:00', ends_at = '2026-11-24 11:00:00'"
            )
        assert office.one(crm_id).fields["start"] == "2026-11-24T15:00:00Z"

    def test_many_rows_are_read_page_by_page(self, office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("reconciler.crm.sql.FETCH", 3)
        office.make()
        with office.engine.begin() as connection:
            cells = {"starts_at": naive(2026, 12, 1), "ends_at": naive(2026, 12, 2), "status": "scheduled"}
            connection.execute(office.table.insert(), [{"title": f"t{n}", **cells} for n in range(100)])
        assert [record.fields["title"] for record in office.read().values()] == [f"t{n}" for n in range(100)]
