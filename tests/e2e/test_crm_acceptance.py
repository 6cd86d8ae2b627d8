"""The acceptance cases of the CRM's side that any SQL CRM must pass (facts of the CRMs, §8), by their numbers.

| case | shown by |
|---|---|
| 7 | test_run: a row edited between snapshot and write is a conflict |
| 10 | test_google: 24, no window of the server's ledger exceeds the budget; test_budgets for the CRM's own |
| 15 | test_disasters_wiped: access that was revoked for a month |
| 21 | test_disasters_time: ten in Chicago, and a weekly series |
| 1, 5, 6, 8, 9, 11, 12, 17, 20, 22 to 24 | other CRMs' and booking tools' own ways: none of a SQL CRM's |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.crm import Writer
from reconciler.model import Fields, Remedy, Severity
from reconciler.result import Result
from reconciler.run import Options, run
from tests.e2e.google_world import google_world, later, showing
from tests.e2e.world import NOW, World, event, kinds, planned

ANN = "ann@acme.example"
Make = Callable[..., World]
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SOON = NOW + 2 * DAY


def diary(count: int, **more: Any) -> list[str]:
    return [event(f"e{number:02}", SOON + number * 2 * HOUR, **more) for number in range(count)]


def test_02_a_second_run_right_after_writes_nothing_and_doubles_nothing(make: Make) -> None:
    world = make()
    world.write(ANN, *diary(3))
    world.run()
    rows, written = world.rows(), len(world.journal())
    for _ in range(2):
        world.now += timedelta(seconds=1)
        assert (world.run().deltas, world.rows(), len(world.journal())) == ((), rows, written)


def test_03_a_dry_run_sends_nothing_but_reads_to_either_side(tmp_path: Path) -> None:
    with google_world(tmp_path, agents=(ANN,)) as world:
        world.calendar().insert(showing("e1"))
        later(world)
        crm = (world.folder / "crm.db").read_bytes()
        result = world.dry()
        assert planned(result) == [("create", "planned")]
        assert {entry.method for entry in world.server.requests()} == {"GET"}
        assert ((world.folder / "crm.db").read_bytes(), world.journal()) == (crm, [])
        assert (result.status, result.has_differences) == ("drift", True)


class LostAnswer:
    """A real writer whose first create commits, and whose answer never comes."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._lost = False

    def __getattr__(self, name: str) -> object:
        return getattr(self._writer, name)

    def create(self, key: str, fields: Fields) -> object:
        written = self._writer.create(key, fields)
        if not self._lost:
            self._lost = True
            raise ConnectionResetError
        return written


@contextmanager
def losing_an_answer(world: World) -> Iterator[Callable[[], Result]]:
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None

        def lossy() -> Any:
            return LostAnswer(writers.crm())

        yield lambda: run(replace(setup, writers=replace(writers, crm=lossy)), Options())


def test_04_a_create_whose_answer_was_lost_is_looked_up_and_is_one_row(make: Make) -> None:
    world = make()
    world.write(ANN, *diary(2))
    with losing_an_answer(world) as once, pytest.raises(ConnectionResetError):
        once()
    result = world.run()
    assert planned(result) == [("create", "done")], "the other one; the first was found"
    assert world.rows("source_key, version") == [("e00", 1), ("e01", 1)]
    assert {entry["status"] for entry in world.journal()} <= {"done", "deferred"}


def test_13_a_snapshot_of_nothing_where_there_was_much_is_refused_until_it_is_back(make: Make) -> None:
    world = make(limits='create = "100"')
    world.write(ANN, *diary(30))
    world.run()
    assert len(world.rows()) == 30
    world.sql("ALTER TABLE appointments RENAME TO hidden")
    world.sql("CREATE TABLE appointments AS SELECT * FROM hidden WHERE 0")  # what a lost row-level permission shows
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        assert (result.deltas, result.exit_code, kinds(result)) == ((), 4, ["coverage_gap"])
        assert result.findings[0].severity is Severity.CRITICAL
    world.sql("DROP TABLE appointments")
    world.sql("ALTER TABLE hidden RENAME TO appointments")
    assert (world.run().deltas, world.run().status) == ((), "in_sync")


def test_14_two_fifths_of_the_records_that_look_cancelled_are_a_refusal_and_no_cancel(make: Make) -> None:
    world = make(limits='create = "100"\nagent_cancel = "100%"')
    world.write(ANN, *diary(30))
    world.run()
    gone = diary(12, extra="STATUS:CANCELLED\r\n")
    world.write(ANN, *gone, *diary(30)[12:])
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        assert (result.status, result.exit_code) == ("refused", 4)
        assert [(one.limit, one.found, one.allowed) for one in result.violations] == [("cancel", 12, 10)]
    assert {status for (status,) in world.rows("status")} == {"scheduled"}


def test_16_two_writers_records_of_one_appointment_are_one_finding_that_names_both(make: Make) -> None:
    world = make(crm='set = { notes = "reconcile" }')
    world.write(ANN, event("a"))
    world.insert("a", agent_email=ANN, notes="webhook")
    world.insert("zap:1", SOON + timedelta(minutes=2), agent_email=ANN, notes="zapier")
    before = world.rows()
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        [finding] = [one for one in result.findings if one.kind == "duplicate_in_crm"]
        assert finding.remedy is Remedy.HUMAN
        assert "1, 2" in finding.why
        assert "webhook, zapier" in finding.why
        assert (result.deltas, world.rows()) == ((), before)


def test_18_an_address_is_one_address_however_it_is_written_and_a_plus_makes_another(make: Make) -> None:
    world = make()
    world.write(
        ANN, event("a", client="Jane+Zillow@Mail.Example"), event("b", SOON + DAY, client="Jane+Zillow@Mail.Example")
    )
    world.insert("a", agent_email=ANN, contact_email="jane+zillow@mail.example")
    result = world.run()
    assert planned(result) == [("create", "done")]
    assert world.rows("contact_email") == [("jane+zillow@mail.example",)] * 2
    world.sql("UPDATE appointments SET contact_email = 'jane@mail.example', version = version + 1 WHERE id = 1")
    world.now += HOUR
    assert kinds(world.run()) == ["wrong_contact"]


@pytest.mark.parametrize("off", [1, 6])
def test_19_a_whole_diary_that_is_five_hours_off_is_one_cause_and_one_record_is_a_move(make: Make, off: int) -> None:
    world = make(policy='first = "calendar"')
    world.write(ANN, *diary(6))
    for number in range(6):
        start = SOON + number * 2 * HOUR
        world.insert(f"e{number:02}", start - 5 * HOUR if number < off else start, agent_email=ANN)
    before = world.rows()
    result = world.run()
    if off == 1:
        assert (planned(result), kinds(result)) == ([("update", "done")], ["reschedule_not_propagated"])
        return
    [finding] = result.findings
    assert (finding.kind, result.deltas, world.rows()) == ("tz_shift", (), before)
    assert "6 records of this agent are 5 h early" in finding.why
