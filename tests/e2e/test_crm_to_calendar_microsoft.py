"""What the office changes in the CRM reaches Outlook calendars: once, and only where Exchange mails nobody for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.simulator.graph import Fault, Harm
from reconciler.simulator.graph_sign_in import CLIENT as READER
from reconciler.simulator.graph_sign_in import SCRIBE
from tests.e2e.microsoft_world import CID, DEE, DENVER, MicrosoftWorld, microsoft_world, showing, times
from tests.e2e.world import NOW, kinds, planned

SOON = NOW + timedelta(days=2)
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'
Make = Callable[..., MicrosoftWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; whatever a test does in it, nobody is mailed."""
    worlds: list[MicrosoftWorld] = []
    settings = {"agents": (CID,), "limits": FREELY, "sync": "crm-to-calendar", "scribe": True}
    with ExitStack() as stack:

        def made(**more: Any) -> MicrosoftWorld:
            worlds.append(stack.enter_context(microsoft_world(tmp_path, **{**settings, **more})))
            return worlds[-1]

        yield made
        assert [mail for world in worlds for mail in world.mailed] == []


def later(world: MicrosoftWorld, **much: float) -> None:
    passed = timedelta(**(much or {"minutes": 30}))
    world.now += passed
    world.waiting.now += passed.total_seconds()


def booked(world: MicrosoftWorld, start: datetime = SOON, **values: Any) -> int:
    """Book an appointment in the CRM, as the office does, and let it settle."""
    number = world.insert(None, start, **values)
    later(world)
    return number


def edit(world: MicrosoftWorld, number: int, **values: Any) -> None:
    """Change a record, as the office does, and let it settle."""
    sets = ", ".join(f"{name} = ?" for name in values)
    statement = f"UPDATE appointments SET {sets}, version = version + 1, updated_at = ? WHERE id = ?"  # noqa: S608
    world.sql(statement, *values.values(), f"{world.now:%Y-%m-%d %H:%M:%S}", number)
    later(world)


def move(world: MicrosoftWorld, number: int, start: datetime) -> None:
    spelled = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + timedelta(hours=1))]
    edit(world, number, starts_at=spelled[0], ends_at=spelled[1])


def start_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["start"]["dateTime"][:19]).replace(tzinfo=UTC)


def writes(world: MicrosoftWorld) -> list[tuple[str, str]]:
    return [(one.method, one.quota_user) for one in world.server.requests() if one.method != "GET"]


# ---- one appointment, from the CRM to the calendar ------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_record_made_in_the_crm_appears_once_and_the_next_run_costs_one_request(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world, title="Viewing", location="12 Main St")
    assert world.run().exit_code == 0
    [event] = world.shown()
    assert (event["subject"], event["location"]["displayName"]) == ("Viewing", "12 Main St")
    assert start_of(event) == SOON
    later(world)
    world.run()  # it reads what was written, and finds it agreed
    world.asked()
    later(world)
    again = world.run()
    assert (again.status, again.deltas) == ("in_sync", ())
    assert world.asked() == 1
    assert len(world.shown()) == len(world.rows()) == 1


def test_the_run_right_after_a_write_plans_nothing(make: Make) -> None:
    world = make()
    booked(world)
    world.run()
    again = world.run()
    assert (again.status, planned(again)) == ("in_sync", [])
    assert len(writes(world)) == 1


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_reschedule_in_the_crm_moves_the_event(make: Make, sync: str) -> None:
    world = make(sync=sync)
    number = booked(world)
    world.run()
    [before] = world.shown()
    move(world, number, SOON + timedelta(hours=3))
    assert planned(world.run()) == [("update", "done")]
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


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_an_event_with_a_client_is_left_to_people_because_exchange_would_mail_him(make: Make, sync: str) -> None:
    world = make(sync="calendar-to-crm", scribe=False)
    world.mailbox().insert(showing("evta"))
    later(world)
    assert planned(world.run()) == [("create", "done")]
    [(number,)] = world.rows("id")
    world.policy = f'sync = "{sync}"\n'
    move(world, number, SOON + timedelta(hours=3))
    result = world.run()
    assert planned(result) == []
    assert kinds(result) == ["reschedule_not_propagated"]
    edit(world, number, status="cancelled")
    assert planned(world.run()) == []
    assert start_of(world.shown()[0]) == SOON
    assert writes(world) == []


# ---- leave to write -------------------------------------------------------------------------------------------------


def test_the_application_that_reads_never_writes(make: Make) -> None:
    world = make()
    number = booked(world)
    world.run()
    move(world, number, SOON + timedelta(hours=3))
    assert world.run().exit_code == 0
    edit(world, number, status="cancelled")
    assert world.run().exit_code == 0
    assert writes(world) == [("POST", SCRIBE), ("PATCH", SCRIBE), ("DELETE", SCRIBE)]


def test_a_dry_run_signs_in_as_who_reads_and_nobody_else(make: Make) -> None:
    world = make()
    booked(world)
    assert planned(world.dry()) == [("create", "planned")]
    assert {one.quota_user for one in world.server.requests()} == {READER}
    assert len(world.server.requests("token")) == 1


def test_an_application_that_may_not_write_after_all_fails_once_and_says_what_to_ask_for(make: Make) -> None:
    world = make(sync="two-way", scribe=False)
    world.server.accounts.roles = {"Calendars.Read", "User.ReadBasic.All"}
    booked(world)
    result = world.run()
    assert (result.exit_code, planned(result)) == (5, [("create", "failed")])
    assert "Calendars.ReadWrite" in result.deltas[0].why
    assert [one.observed for one in result.calendars] == [True]


def test_when_the_credential_for_writing_dies_reading_goes_on_and_its_return_is_enough(make: Make) -> None:
    world = make(sync="two-way")
    world.mailbox().insert(showing("evta", SOON + timedelta(days=1)))
    booked(world)
    world.server.accounts.refuse(app=SCRIBE)
    result = world.run()
    assert result.exit_code == 5
    assert {(delta.side, delta.outcome) for delta in result.deltas} >= {("crm", "done")}
    [lost] = [delta for delta in result.deltas if delta.side == "calendar"]
    assert lost.outcome in {"failed", "deferred"}
    assert [one.observed for one in result.calendars] == [True]
    world.server.accounts.admit()
    later(world, hours=2)
    assert world.run().exit_code == 0
    assert len(world.shown()) == len(world.rows()) == 2


# ---- what goes wrong on the way -------------------------------------------------------------------------------------


def test_an_answer_that_is_lost_after_the_event_was_made_leaves_one_event(make: Make) -> None:
    world = make()
    booked(world)
    world.server.faults.add(Fault(method="POST", kind="calendar", what=Harm.DROP_AFTER, times=1))
    assert planned(world.run()) == [("create", "done")]
    assert len(world.shown()) == len(writes(world)) == 1
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
    assert len(world.shown()) == len(writes(world)) == 1


def test_what_the_agent_changes_just_before_it_is_written_is_kept(make: Make) -> None:
    world = make(sync="two-way")
    number = booked(world)
    world.run()
    [event] = world.shown()
    move(world, number, SOON + timedelta(hours=3))

    def edited() -> None:
        world.mailbox().patch(event["id"], times(SOON + timedelta(hours=5)))

    world.server.faults.add(Fault(method="PATCH", what=Harm.NONE, times=1, meanwhile=edited))
    assert planned(world.run()) == [("update", "conflict")]
    later(world)
    assert "conflict" in kinds(world.run())
    assert start_of(world.shown()[0]) == SOON + timedelta(hours=5)
    assert world.rows("starts_at") == [(f"{SOON + timedelta(hours=3):%Y-%m-%d %H:%M:%S}",)]


def test_a_mailbox_that_is_full_does_not_keep_the_others_from_theirs(make: Make) -> None:
    world = make(agents=(CID, DEE))
    for place in range(3):
        booked(world, SOON + timedelta(hours=place))
    booked(world, agent_email=DEE)
    world.server.faults.add(Fault(agent=CID, status=507, reason="ErrorQuotaExceeded", method="POST"))
    result = world.run()
    assert sorted(delta.outcome for delta in result.deltas if delta.agent == CID) == ["deferred", "deferred", "failed"]
    assert len(world.shown(DEE)) == 1
    assert len(writes(world)) == 2
    later(world)
    assert {delta.outcome for delta in world.run().deltas} == {"deferred"}, "the next run knows of it"
    assert len(writes(world)) == 2
    world.server.faults.clear()
    later(world, hours=5)
    assert world.run().exit_code == 0
    assert len(world.shown(CID)) == 3


def test_a_state_that_is_lost_finds_its_events_by_their_marks_and_makes_none_again(make: Make) -> None:
    world = make(sync="two-way")
    booked(world)
    booked(world, SOON + timedelta(days=1), title="Second viewing")
    world.run()
    assert len(world.shown()) == 2
    (world.folder / "state.db").unlink()
    later(world)
    for _ in range(3):
        world.run()
        later(world)
    assert world.run().status == "in_sync"
    assert len(world.shown()) == len(world.rows()) == 2
    assert len(writes(world)) == 2


def test_what_we_made_of_a_record_is_not_entered_as_another_record_though_its_link_was_lost(make: Make) -> None:
    world = make(sync="two-way")
    number = booked(world)
    world.run()
    (world.folder / "state.db").unlink()
    world.sql("DELETE FROM appointments WHERE id = ?", number)
    later(world)
    result = world.run()
    assert world.rows() == [], result
    assert len(world.shown()) == 1


# ---- times ----------------------------------------------------------------------------------------------------------


def test_appointments_on_both_sides_of_a_change_of_clocks_keep_their_hour(make: Make) -> None:
    world = make(now=datetime(2026, 10, 28, 17, tzinfo=UTC))
    world.waiting.now = world.now.timestamp()
    for day, hour, fold in ((31, 14, 0), (1, 14, 0), (1, 1, 1)):
        start = datetime(2026, 11 if day == 1 else 10, day, hour, 30, tzinfo=DENVER, fold=fold)
        booked(world, start.astimezone(UTC))
    assert world.run().exit_code == 0
    shown = sorted(map(start_of, world.shown()))
    assert [f"{start.astimezone(DENVER):%d %H:%M %z}" for start in shown] == [
        "31 14:30 -0600",
        "01 01:30 -0700",
        "01 14:30 -0700",
    ]
    later(world)
    assert world.run().status == "in_sync"


def test_an_appointment_of_whole_days_is_one_in_the_calendar_and_may_become_one_of_hours(make: Make) -> None:
    world = make()
    number = booked(world, all_day=1, starts_at="2026-11-24", ends_at="2026-11-26")
    assert world.run().exit_code == 0
    [event] = world.shown()
    days = (event["isAllDay"], event["start"]["dateTime"][:10], event["end"]["dateTime"][:10])
    assert days == (True, "2026-11-24", "2026-11-26")
    later(world)
    assert world.run().status == "in_sync"
    edit(world, number, all_day=0, starts_at="2026-11-24 15:00:00", ends_at="2026-11-24 16:00:00")
    assert planned(world.run()) == [("update", "done")]
    [event] = world.shown()
    assert (event["isAllDay"], start_of(event)) == (False, datetime(2026, 11, 24, 15, tzinfo=UTC))
    assert world.run().status == "in_sync"
