"""What the office changes in the CRM reaches Google calendars: once, by leave to write, and nobody is mailed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.simulator.google import Fault, Harm
from reconciler.simulator.google_sign_in import READ, ROBOT, SCRIBE, WRITE
from tests.e2e.google_world import ANN, BOB, CHICAGO, SOON, GoogleWorld, Make, later, making, showing, times
from tests.e2e.world import kinds, planned

EDITED = "2026-11-22 17:00:00"


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; whatever a test does in it, nobody is mailed."""
    worlds: list[GoogleWorld] = []
    for made in making(tmp_path):

        def remembered(**more: Any) -> GoogleWorld:
            worlds.append(made(**{"sync": "crm-to-calendar", "scribe": True, **more}))  # noqa: B023 - there is one
            return worlds[-1]

        yield remembered
        assert [mail for world in worlds for mail in world.mailed] == []


def booked(world: GoogleWorld, start: datetime = SOON, **values: Any) -> int:
    """Book an appointment in the CRM, as the office does, and let it settle."""
    number = world.insert(None, start, **values)
    later(world)
    return number


def edit(world: GoogleWorld, number: int, **values: Any) -> None:
    """Change a record, as the office does, and let it settle."""
    stamp = f"{world.now:%Y-%m-%d %H:%M:%S}"
    sets = ", ".join(f"{name} = ?" for name in values)
    statement = f"UPDATE appointments SET {sets}, version = version + 1, updated_at = ? WHERE id = ?"  # noqa: S608
    world.sql(statement, *values.values(), stamp, number)
    later(world)


def move(world: GoogleWorld, number: int, start: datetime) -> None:
    spelled = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + timedelta(hours=1))]
    edit(world, number, starts_at=spelled[0], ends_at=spelled[1])


def start_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["start"]["dateTime"]).astimezone(UTC)


def writes(world: GoogleWorld) -> list[str]:
    return [one.method for one in world.server.requests() if one.method != "GET"]


# ---- one appointment, from the CRM to the calendar ------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_record_made_in_the_crm_appears_once_and_the_next_run_costs_one_request(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world, title="Viewing", location="12 Main St")
    assert world.run().exit_code == 0
    [event] = world.shown()
    assert (event["summary"], event["location"], start_of(event)) == ("Viewing", "12 Main St", SOON)
    later(world)
    world.run()  # it reads what was written, and finds it agreed
    world.asked()
    later(world)
    again = world.run()
    assert (again.status, again.deltas) == ("in_sync", ())
    assert world.asked() == 1
    assert len(world.shown()) == len(world.rows()) == 1


def test_the_run_right_after_a_write_plans_nothing_though_it_reads_what_was_written(make: Make) -> None:
    world = make()
    booked(world)
    world.run()
    again = world.run()
    assert (again.status, planned(again)) == ("in_sync", [])
    assert writes(world) == ["POST"]


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_reschedule_in_the_crm_moves_the_event(make: Make, sync: str) -> None:
    world = make(sync=sync)
    number = booked(world)
    world.run()
    [before] = world.shown()
    move(world, number, SOON + timedelta(hours=3))
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert [delta.side for delta in result.deltas] == ["calendar"]
    [event] = world.shown()
    assert (event["id"], start_of(event)) == (before["id"], SOON + timedelta(hours=3))
    assert world.run().status == "in_sync"


def test_a_cancellation_in_the_crm_removes_the_event(make: Make) -> None:
    world = make()
    number = booked(world)
    world.run()
    edit(world, number, status="cancelled")
    assert planned(world.run()) == [("cancel", "done")]
    assert world.shown() == []
    later(world)
    assert world.run().status == "in_sync"
    assert world.rows("status") == [("cancelled",)]


def test_between_two_that_both_decide_a_cancellation_in_the_crm_waits_for_a_person(make: Make) -> None:
    world = make(sync="two-way")
    number = booked(world)
    world.run()
    edit(world, number, status="cancelled")
    result = world.run()
    assert (planned(result), kinds(result)) == ([], ["false_cancel"])
    assert len(world.shown()) == 1


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_record_that_is_deleted_takes_its_event_along(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world, SOON + timedelta(hours=5))
    number = booked(world)
    world.run()
    world.sql("DELETE FROM appointments WHERE id = ?", number)
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert [start_of(event) for event in world.shown()] == [SOON + timedelta(hours=5)]
    later(world)
    assert world.run().status == "in_sync"


def test_a_dry_run_shows_what_would_be_written_and_on_which_side_and_writes_nothing(make: Make) -> None:
    world = make()
    booked(world)
    dry = world.dry()
    assert planned(dry) == [("create", "planned")]
    assert [(delta.side, delta.agent) for delta in dry.deltas] == [("calendar", ANN)]
    assert (writes(world), world.scopes()) == ([], {READ})
    assert dry.digest == world.run().digest


def test_each_agent_gets_his_own_appointments(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    booked(world, title="For Ann")
    booked(world, title="For Bob", agent_email=BOB)
    world.run()
    assert [[event["summary"] for event in world.shown(agent)] for agent in (ANN, BOB)] == [["For Ann"], ["For Bob"]]


# ---- leave to write -------------------------------------------------------------------------------------------------


def test_what_reads_never_writes_and_what_writes_never_reads_for_it(make: Make) -> None:
    world = make()
    number = booked(world)
    world.run()
    move(world, number, SOON + timedelta(hours=3))
    assert world.run().exit_code == 0
    edit(world, number, status="cancelled")
    assert world.run().exit_code == 0
    assert writes(world) == ["POST", "PUT", "DELETE"]
    assert {(who, scope) for who, _, scope in world.server.accounts.asked} == {(ROBOT, READ), (SCRIBE, WRITE)}


def test_without_a_credential_for_writing_the_one_that_reads_is_asked_for_both(make: Make) -> None:
    world = make(scribe=False)
    booked(world)
    assert world.run().exit_code == 0
    assert len(world.shown()) == 1
    assert {(who, scope) for who, _, scope in world.server.accounts.asked} == {(ROBOT, READ), (ROBOT, WRITE)}


def test_a_robot_that_a_calendar_is_shared_with_writes_it_as_its_agents_own(make: Make) -> None:
    world = make(options='auth_write = { service_account = "file:robot.json", delegate = false }\n', scribe=False)
    key = world.folder / "robot.json"
    key.write_text(json.dumps(world.server.service_account_info(SCRIBE)))
    key.chmod(0o600)
    number = booked(world)
    assert planned(world.run()) == [("create", "failed")], "it is not shared yet"
    world.calendar().share(SCRIBE, "writer")
    later(world)
    assert planned(world.run()) == [("create", "done")]
    move(world, number, SOON + timedelta(hours=3))
    assert planned(world.run()) == [("update", "done")]
    [event] = world.shown()
    assert (event["organizer"]["email"], start_of(event)) == (ANN, SOON + timedelta(hours=3))
    later(world)
    assert world.run().status == "in_sync"


def test_a_job_that_writes_only_the_crm_never_asks_for_leave_to_write_a_calendar(make: Make) -> None:
    world = make(sync="calendar-to-crm")
    world.calendar().insert(showing("evta"))
    later(world)
    assert planned(world.run()) == [("create", "done")]
    world.calendar().patch("evta", times(SOON + timedelta(hours=3)))
    later(world)
    assert planned(world.run()) == [("update", "done")]
    world.calendar().delete("evta")
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert {(who, scope) for who, _, scope in world.server.accounts.asked} == {(ROBOT, READ)}
    assert writes(world) == []


def test_a_run_with_nothing_to_write_asks_for_no_leave_to_write(make: Make) -> None:
    world = make()
    assert world.run().exit_code == 0
    assert world.scopes() == {READ}


def test_when_the_credential_for_writing_dies_reading_goes_on_and_its_return_is_enough(make: Make) -> None:
    world = make(sync="two-way")
    world.calendar().insert(showing("evta", SOON + timedelta(days=1)))
    booked(world)
    world.server.accounts.refuse(SCRIBE)
    result = world.run()
    assert result.exit_code == 5
    assert {(delta.side, delta.outcome) for delta in result.deltas} >= {("crm", "done")}
    [lost] = [delta for delta in result.deltas if delta.side == "calendar"]
    assert lost.outcome in {"failed", "deferred"}
    assert "Google" in lost.why
    assert [one.observed for one in result.calendars] == [True]
    world.server.accounts.admit(SCRIBE)
    later(world, hours=2)
    assert world.run().exit_code == 0
    assert len(world.shown()) == len(world.rows()) == 2


# ---- what goes wrong on the way -------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_after_the_event_was_made_leaves_one_event(make: Make) -> None:
    world = make()
    booked(world)
    world.server.faults.add(Fault(method="POST", kind="calendar", what=Harm.DROP_AFTER, times=1))
    assert planned(world.run()) == [("create", "done")]
    assert writes(world) == ["POST"]
    assert len(world.shown()) == 1
    assert world.run().status == "in_sync"


def test_an_answer_that_is_lost_and_can_not_be_looked_up_is_found_by_the_next_run(make: Make) -> None:
    world = make()
    booked(world)

    def blind() -> None:
        world.server.faults.add(Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE))

    world.server.faults.add(Fault(method="POST", kind="calendar", what=Harm.DROP_AFTER, times=1, meanwhile=blind))
    first = world.run()
    assert (first.exit_code, planned(first)) == (5, [("create", "unknown")])
    world.server.faults.clear()
    later(world)
    assert world.run().exit_code == 0
    later(world)
    assert world.run().status == "in_sync"
    assert len(world.shown()) == 1
    assert writes(world) == ["POST"]


def test_what_the_agent_changes_just_before_it_is_written_is_kept(make: Make) -> None:
    world = make(sync="two-way")
    number = booked(world)
    world.run()
    [event] = world.shown()
    move(world, number, SOON + timedelta(hours=3))

    def edited() -> None:
        world.calendar().patch(event["id"], times(SOON + timedelta(hours=5)))

    world.server.faults.add(Fault(method="PUT", what=Harm.NONE, times=1, meanwhile=edited))
    result = world.run()
    assert planned(result) == [("update", "conflict")]
    assert start_of(world.shown()[0]) == SOON + timedelta(hours=5)
    later(world)
    after = world.run()
    assert "conflict" in kinds(after)
    assert start_of(world.shown()[0]) == SOON + timedelta(hours=5)
    assert world.rows("starts_at") == [(f"{SOON + timedelta(hours=3):%Y-%m-%d %H:%M:%S}",)]


def test_what_does_not_fit_into_the_budget_waits_and_comes_first(make: Make) -> None:
    world = make(more="[budget.google]\nper_agent_minute = 100\nshare = 0.5\n", section='deadline = "1s"')
    for place in range(12):
        world.insert(None, SOON + timedelta(hours=place), title=f"Viewing {place}")
    later(world)
    first = world.run()
    left = [delta.crm_id for delta in first.deltas if delta.outcome == "deferred"]
    assert (first.exit_code, bool(left), len(world.shown())) == (5, True, 0), "looking for earlier events took it all"
    later(world, minutes=10)
    second = world.run()
    done = [delta.crm_id for delta in second.deltas if delta.outcome == "done"]
    assert done == left[: len(done)], "what waited comes first, and is not looked for again"
    assert len(world.shown()) == len(done) > 0
    later(world, minutes=10)
    world.run()
    assert len(world.shown()) == 12
    assert world.run().status == "in_sync"


def test_a_calendar_that_takes_no_writes_for_hours_does_not_keep_the_others_from_theirs(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    for place in range(3):
        booked(world, SOON + timedelta(hours=place))
    booked(world, agent_email=BOB)
    harm = Fault(agent=ANN, status=403, reason="calendarUsageLimitsExceeded", method="POST")
    world.server.faults.add(harm)
    result = world.run()
    assert result.exit_code == 5
    assert sorted(delta.outcome for delta in result.deltas if delta.agent == ANN) == ["deferred", "deferred", "failed"]
    assert len(world.shown(BOB)) == 1
    assert writes(world).count("POST") == 2
    later(world)
    assert {delta.outcome for delta in world.run().deltas} == {"deferred"}, "the next run knows of it"
    assert writes(world).count("POST") == 2
    world.server.faults.clear()
    later(world, hours=5)
    assert world.run().exit_code == 0
    assert len(world.shown(ANN)) == 3


# ---- times ----------------------------------------------------------------------------------------------------------


def test_appointments_on_both_sides_of_a_change_of_clocks_keep_their_hour_and_their_zone(make: Make) -> None:
    world = make(now=datetime(2026, 10, 28, 17, tzinfo=UTC))
    world.waiting.now = world.now.timestamp()
    for day in (30, 31):
        booked(world, datetime(2026, 10, day, 14, tzinfo=CHICAGO).astimezone(UTC))
    booked(world, datetime(2026, 11, 1, 14, tzinfo=CHICAGO).astimezone(UTC))
    booked(world, datetime(2026, 11, 1, 1, 30, tzinfo=CHICAGO, fold=1).astimezone(UTC))  # the hour that comes twice
    assert world.run().exit_code == 0
    shown = sorted(world.shown(), key=start_of)
    assert [f"{start_of(event).astimezone(CHICAGO):%d %H:%M %z}" for event in shown] == [
        "30 14:00 -0500",
        "31 14:00 -0500",
        "01 01:30 -0600",
        "01 14:00 -0600",
    ]
    later(world)
    assert world.run().status == "in_sync"


def test_an_appointment_of_whole_days_is_one_in_the_calendar_and_may_become_one_of_hours(make: Make) -> None:
    world = make()
    number = booked(world, all_day=1, starts_at="2026-11-24", ends_at="2026-11-26")
    assert world.run().exit_code == 0
    [event] = world.shown()
    assert (event["start"]["date"], event["end"]["date"]) == ("2026-11-24", "2026-11-26")
    edit(world, number, all_day=0, starts_at="2026-11-24 15:00:00", ends_at="2026-11-24 16:00:00")
    assert planned(world.run()) == [("update", "done")]
    [event] = world.shown()
    assert start_of(event) == datetime(2026, 11, 24, 15, tzinfo=UTC)
    assert world.run().status == "in_sync"


# ---- the other state ------------------------------------------------------------------------------------------------


@pytest.mark.postgres
def test_with_its_state_in_postgresql_the_same_happens(make: Make, request: pytest.FixtureRequest) -> None:
    environ = {"STATE": request.getfixturevalue("postgres_database")()}
    world = make(agents=(ANN, BOB), state="env:STATE", environ=environ)
    number = booked(world)
    booked(world, agent_email=BOB)
    world.server.faults.add(Fault(agent=BOB, status=403, reason="calendarUsageLimitsExceeded", method="POST"))
    assert sorted(planned(world.run())) == [("create", "done"), ("create", "failed")]
    move(world, number, SOON + timedelta(hours=3))
    assert sorted(planned(world.run())) == [("create", "deferred"), ("update", "done")]
    edit(world, number, status="cancelled")
    world.server.faults.clear()
    later(world, hours=5)
    assert sorted(planned(world.run())) == [("cancel", "done"), ("create", "done")]
    assert [len(world.shown(agent)) for agent in (ANN, BOB)] == [0, 1]
    later(world)
    assert world.run().status == "in_sync"
