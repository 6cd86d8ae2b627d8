"""Both directions, row by row of the decision table: each change arrives once; what is nobody's to write is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.hands import Hands
from reconciler.model import Action, Calendar, Delta, Fields, Kind, Remedy, Severity, Shape, Side, rfc3339
from reconciler.simulator.google import Fault, Harm
from reconciler.simulator.loopback import Entry
from reconciler.sources import Wrote
from reconciler.sources.claims import Claim
from reconciler.sources.google_writes import GoogleWriter
from reconciler.store import codec, compare, ledger
from reconciler.store.compare import Scope
from reconciler.store.schema import links, mirror
from reconciler.store.state import watch
from tests.e2e.google_world import ANN, BOB, READS, SOON, GoogleWorld, Make, later, making, showing, times
from tests.e2e.world import World, kinds, planned

LATER_THAT_DAY = SOON + timedelta(hours=4)
TO_CALENDAR, BOTH = "crm-to-calendar", "two-way"
WIDE = 'compare = ["start", "end", "all_day", "title", "location", "status", "contact"]\n'
ALL = f'{WIDE}relevant = ["client", "linked", "booked", "all"]\n'


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; whatever happens in it, nobody is mailed by us."""
    worlds: list[GoogleWorld] = []
    for made in making(tmp_path):

        def remembered(**more: Any) -> GoogleWorld:
            worlds.append(made(**{"sync": BOTH, "scribe": True, "policy": WIDE, **more}))  # noqa: B023 - there is one
            return worlds[-1]

        yield remembered
        assert [mail for world in worlds for mail in world.mailed] == []
        assert all(one.query["sendUpdates"] == ["none"] for world in worlds for one in writes(world))


def writes(world: GoogleWorld) -> list[Entry]:
    return [one for one in world.server.requests(READS) if one.method != "GET"]


def booked(world: GoogleWorld, start: datetime = SOON, **values: Any) -> int:
    """Book an appointment in the CRM, as the office does, and let it settle."""
    number = world.insert(None, start, **values)
    later(world)
    return number


def edit(world: GoogleWorld, number: int, *, settled: bool = True, **values: Any) -> None:
    """Change a record, as the office does."""
    sets = ", ".join(f"{name} = ?" for name in values)
    statement = f"UPDATE appointments SET {sets}, version = version + 1, updated_at = ? WHERE id = ?"  # noqa: S608
    world.sql(statement, *values.values(), f"{world.now:%Y-%m-%d %H:%M:%S}", number)
    if settled:
        later(world)


def span(start: datetime) -> dict[str, Any]:
    return {"starts_at": spelled(start), "ends_at": spelled(start + timedelta(hours=1))}


def spelled(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"


def start_of(event: dict[str, Any]) -> datetime:
    return datetime.fromisoformat(event["start"]["dateTime"]).astimezone(UTC)


def change(world: GoogleWorld, event: str, **changes: Any) -> None:
    """Change an event, as its agent does, and let it settle."""
    world.calendar().patch(event, changes)
    later(world)


def linked_pair(world: GoogleWorld, **values: Any) -> tuple[int, str]:
    """Return a record and the event that we made for it."""
    number = booked(world, **values)
    assert world.run().exit_code == 0
    [event] = [one["id"] for one in world.shown() if start_of(one) == SOON]
    world.run()
    return number, event


def settled(world: GoogleWorld) -> bool:
    """Tell whether a run now plans nothing, and the one after it is as quiet."""
    later(world)
    first = world.run()
    later(world)
    second = world.run()
    return (first.deltas, second.deltas) == ((), ()) and first.counts == second.counts


def lose_the_state(world: GoogleWorld) -> None:
    for path in world.folder.glob("state.db*"):
        path.unlink()


def test_sources_of_one_provider_fail_each_for_itself(make: Make) -> None:
    world = make()
    world.calendar(BOB)
    north = f'[[source]]\nkind = "google"\nname = "north"\nagents = ["{BOB}"]\n'
    auth = 'auth = { service_account = "file:google.json" }\nauth_write = { service_account = "file:scribe.json" }\n'
    world.sources = f'{world.sources}\n{north}{auth}endpoint = "{world.server.url}"\n'
    with world.setup() as setup, setup.state.begin() as connection:
        watched = watch(connection, setup.state, setup.directory.calendars)
    with world.setup() as setup:
        assert setup.writers is not None
        with Hands(setup, setup.writers, setup.window(world.now), lambda: 60.0, Shape(frozenset())) as hands:
            named = [hands.of(created_in(one.id)).name for one in watched]
    assert named == ["Google (google)", "Google (north)"], "five failures in a row at one say nothing of the other"


def created_in(calendar: int) -> Delta:
    return Delta(
        action=Action.CREATE,
        side=Side.CALENDAR,
        key="k",
        kind=Kind.MISSING_IN_CALENDAR,
        severity=Severity.MEDIUM,
        calendar_id=calendar,
    )


# ---- each row of the table ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_an_event_that_is_new_in_the_calendar_is_entered_only_where_it_may_be(make: Make, sync: str) -> None:
    world = make(sync=sync)
    world.calendar().insert(showing("evta"))
    later(world)
    result = world.run()
    assert planned(result) == ([("create", "done")] if sync == BOTH else [])
    assert kinds(result) == ["missing_in_crm"]
    assert len(world.rows()) == (1 if sync == BOTH else 0)
    assert settled(world)


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_what_the_agent_moves_reaches_the_crm_only_where_it_may(make: Make, sync: str) -> None:
    world = make(sync=sync)
    _, event = linked_pair(world)
    change(world, event, **times(LATER_THAT_DAY))
    result = world.run()
    assert kinds(result) == ["reschedule_not_propagated"]
    [finding] = result.findings
    assert finding.remedy is (Remedy.FIX if sync == BOTH else Remedy.HUMAN)
    assert world.rows("starts_at") == [(spelled(LATER_THAT_DAY if sync == BOTH else SOON),)]
    assert start_of(world.shown()[0]) == LATER_THAT_DAY
    assert settled(world)


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_what_the_office_moves_reaches_the_calendar(make: Make, sync: str) -> None:
    world = make(sync=sync)
    number, event = linked_pair(world)
    edit(world, number, **span(LATER_THAT_DAY), title="Second viewing")
    result = world.run()
    assert [(delta.side, delta.action, delta.outcome) for delta in result.deltas] == [("calendar", "update", "done")]
    [shown] = world.shown()
    assert (shown["id"], start_of(shown), shown["summary"]) == (event, LATER_THAT_DAY, "Second viewing")
    assert settled(world)


def test_what_was_moved_a_moment_ago_in_the_crm_is_left_to_the_live_integration(make: Make) -> None:
    world = make()
    number, _ = linked_pair(world)
    edit(world, number, settled=False, **span(LATER_THAT_DAY))
    assert world.run().deltas == ()
    assert start_of(world.shown()[0]) == SOON
    later(world)
    assert planned(world.run()) == [("update", "done")]


def test_different_fields_that_moved_on_both_sides_travel_both_ways_in_one_run(make: Make) -> None:
    world = make()
    number, event = linked_pair(world, location="1 Old St")
    edit(world, number, title="With the owner")
    change(world, event, **times(LATER_THAT_DAY))
    result = world.run()
    assert [(delta.side, delta.outcome) for delta in sorted(result.deltas, key=lambda one: one.side)] == [
        ("calendar", "done"),
        ("crm", "done"),
    ]
    [shown] = world.shown()
    assert (start_of(shown), shown["summary"]) == (LATER_THAT_DAY, "With the owner")
    assert world.rows("starts_at, title") == [(spelled(LATER_THAT_DAY), "With the owner")]
    assert settled(world)


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_the_same_field_moved_on_both_sides_is_a_conflict_and_the_other_fields_go_on(make: Make, sync: str) -> None:
    world = make(sync=sync)
    number, event = linked_pair(world)
    edit(world, number, **span(SOON + timedelta(hours=2)), location="12 Main St")
    change(world, event, **times(LATER_THAT_DAY))
    result = world.run()
    assert "conflict" in kinds(result)
    [shown] = world.shown()
    assert (start_of(shown), shown.get("location")) == (LATER_THAT_DAY, "12 Main St")
    assert world.rows("starts_at") == [(spelled(SOON + timedelta(hours=2)),)]


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_a_record_that_was_cancelled_takes_its_event_along_only_where_the_crm_alone_decides(
    make: Make, sync: str
) -> None:
    world = make(sync=sync)
    number, _ = linked_pair(world)
    edit(world, number, status="cancelled")
    result = world.run()
    assert kinds(result) == ["false_cancel"]
    assert len(world.shown()) == (0 if sync == TO_CALENDAR else 1)
    assert settled(world)


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_a_record_that_is_gone_takes_its_event_along(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world, SOON + timedelta(days=1))
    number, _ = linked_pair(world)
    world.sql("DELETE FROM appointments WHERE id = ?", number)
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert [start_of(event) for event in world.shown()] == [SOON + timedelta(days=1)]
    assert settled(world)


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_records_that_were_hidden_for_a_while_are_not_cancelled_for_the_events_that_we_removed(
    make: Make, sync: str
) -> None:
    world = make(sync=sync)
    booked(world, SOON + timedelta(days=1))
    number, _ = linked_pair(world)
    [hidden] = (row for row in world.rows("*") if row[0] == number)
    world.sql("DELETE FROM appointments WHERE id = ?", number)  # as a rule of the database for whoever reads does
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    world.sql(f"INSERT INTO appointments VALUES ({', '.join('?' for _ in hidden)})", *hidden)  # noqa: S608
    for _ in range(2):
        later(world)
        result = world.run()
        assert (result.deltas, kinds(result)) == ((), ["cancel_not_propagated"])
        assert "we removed its event" in result.findings[0].why.lower()
    assert world.rows("status") == [("scheduled",), ("scheduled",)]


def test_an_event_that_we_removed_and_its_agent_put_back_is_a_pair_like_any_other(make: Make) -> None:
    world = make()
    number, event = linked_pair(world)
    [hidden] = world.rows("*")
    world.sql("DELETE FROM appointments WHERE id = ?", number)
    later(world)
    world.run()
    world.sql(f"INSERT INTO appointments VALUES ({', '.join('?' for _ in hidden)})", *hidden)  # noqa: S608
    change(world, event, status="confirmed")
    assert settled(world)
    world.calendar().delete(event)
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert world.rows("status") == [("cancelled",)]


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_an_event_of_ours_that_a_person_moves_to_another_calendar_takes_no_record_along(make: Make, sync: str) -> None:
    world = make(sync=sync, agents=(ANN, BOB))
    _, event = linked_pair(world)
    world.calendar().move_to(world.calendar(BOB), event)
    for _ in range(2):
        later(world)
        later(world)
        result = world.run()
        assert (result.deltas, kinds(result)) == ((), ["cancel_not_propagated"])
    assert world.rows("status, agent_email") == [("scheduled", ANN)]
    assert (world.shown(), len(world.shown(BOB))) == ([], 1)
    world.calendar(BOB).delete(event)
    later(world)
    assert planned(world.run()) == ([("cancel", "done")] if sync == BOTH else [])


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_an_event_that_the_agent_deletes_takes_its_record_along_only_where_it_may(make: Make, sync: str) -> None:
    world = make(sync=sync)
    _, event = linked_pair(world)
    world.calendar().delete(event)
    later(world)
    result = world.run()
    assert kinds(result) == ["cancel_not_propagated"]
    assert world.rows("status") == [("cancelled" if sync == BOTH else "scheduled",)]
    assert settled(world)
    assert world.shown() == []


def test_an_event_that_the_agent_deletes_while_the_office_edits_its_record_is_a_conflict(make: Make) -> None:
    world = make()
    number, event = linked_pair(world)
    edit(world, number, title="With the owner")
    world.calendar().delete(event)
    later(world)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["conflict"])
    assert world.rows("status, title") == [("scheduled", "With the owner")]


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_a_record_without_an_event_gets_one_that_is_never_made_twice(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world, title="Viewing")
    result = world.run()
    assert [(delta.side, delta.action, delta.outcome) for delta in result.deltas] == [("calendar", "create", "done")]
    assert (result.counts["create"], result.events.adds_up, result.records.adds_up) == (1, True, True)
    assert [(link[0], link[2]) for link in rows_of(world) if len(link) == 4] == [("1", "claim")]
    assert settled(world)
    assert len(world.shown()) == len(world.rows()) == 1


def test_what_is_over_or_has_an_outcome_is_never_put_into_a_calendar(make: Make) -> None:
    world = make()
    booked(world, world.now - timedelta(days=2))
    booked(world, status="completed")
    assert world.run().deltas == ()
    assert world.shown() == []


def test_what_never_agreed_is_left_to_a_person_between_two_that_both_decide(make: Make) -> None:
    world = make()
    world.calendar().insert(showing("evta"))
    world.insert("evta@google.com", LATER_THAT_DAY)
    later(world)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["reschedule_not_propagated"])
    assert [finding.remedy for finding in result.findings] == [Remedy.HUMAN]


def test_a_record_that_is_newer_wins_over_an_event_it_never_agreed_with(make: Make) -> None:
    world = make(sync=TO_CALENDAR)
    world.calendar().insert(showing("evta", client=None))
    world.insert("evta@google.com", LATER_THAT_DAY, updated_at=spelled(world.now + timedelta(minutes=5)))
    later(world)
    assert planned(world.run()) == [("update", "done")]
    assert start_of(world.shown()[0]) == LATER_THAT_DAY
    assert settled(world)


# ---- what is nobody's to write --------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [span(LATER_THAT_DAY), {"status": "cancelled"}])
def test_an_event_with_guests_is_left_to_a_person_and_nobody_is_mailed(make: Make, values: dict[str, Any]) -> None:
    world = make(sync=TO_CALENDAR)
    number, event = linked_pair(world)
    world.calendar().patch(event, {"attendees": [{"email": "jane@mail.example"}]})
    later(world)
    world.run()
    mailed, written = list(world.mailed), len(writes(world))
    edit(world, number, **values)
    result = world.run()
    assert result.deltas == ()
    assert any("others have to do with it" in finding.why for finding in result.findings)
    assert (world.mailed, len(writes(world))) == (mailed, written)
    assert start_of(world.shown()[0]) == SOON


def test_a_recurring_event_is_left_to_a_person(make: Make) -> None:
    world = make(sync=TO_CALENDAR)
    world.calendar().insert(showing("weekly", client=None, recurrence=["RRULE:FREQ=WEEKLY;COUNT=3"]))
    world.insert(f"weekly@google.com/{SOON:%Y%m%dT%H%M%SZ}")
    later(world)
    world.run()
    edit(world, 1, title="Another")
    result = world.run()
    assert result.deltas == ()
    assert any("recurring event" in finding.why for finding in result.findings)
    assert writes(world) == []


def test_who_attends_and_whose_it_is_is_never_written_to_a_calendar(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    number, event = linked_pair(world)
    edit(world, number, agent_email=BOB, title="For Bob")
    result = world.run()
    assert [sorted(delta.want) for delta in result.deltas] == [["title"]]
    assert "wrong_owner" in kinds(result)
    assert [one["id"] for one in world.shown(ANN)] == [event]
    assert world.shown(BOB) == []
    assert "attendees" not in world.shown(ANN)[0]


def test_an_event_that_the_agent_made_private_is_given_its_times_and_nothing_else(make: Make) -> None:
    world = make()
    number, event = linked_pair(world, title="Viewing")
    change(world, event, visibility="private", summary="My secret")
    world.run()
    edit(world, number, title="Shown to nobody", **span(LATER_THAT_DAY))
    assert planned(world.run()) == [("update", "done")]
    [shown] = world.shown()
    assert (start_of(shown), shown["summary"]) == (LATER_THAT_DAY, "My secret")
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert "secret" not in str(connection.execute(select(mirror.c.payload)).all())


@pytest.mark.parametrize("allow", [(), ("update", "cancel")])
def test_what_policy_does_not_allow_is_held_and_shown_and_nothing_is_looked_up_for_it(
    make: Make, allow: tuple[str, ...]
) -> None:
    world = make(allow=allow)
    world.run()
    booked(world)
    world.asked()
    result = world.run()
    assert (planned(result), kinds(result)) == ([("create", "held")], ["missing_in_calendar"])
    assert (world.shown(), world.asked()) == ([], 1)


def test_nothing_is_made_for_an_agent_of_whom_a_calendar_was_not_read(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    (world.folder / "agents.csv").write_text(f"agent,calendar\n{ANN},{ANN}\n{ANN},{BOB}\n")
    world.sources = (world.sources or "").replace(f'["{ANN}", "{BOB}"]', '{ file = "agents.csv" }')
    booked(world)
    assert (world.run().deltas, world.shown()) == ((), [])  # it may be in the one that is not shared
    world.calendar(BOB).share(ANN, "writer")
    later(world, days=1)
    assert planned(world.run()) == [("create", "done")]
    assert (len(world.shown()), world.shown(BOB)) == (1, [])


def test_with_one_agent_asked_for_nothing_is_made_for_another(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    booked(world)
    booked(world, agent_email=BOB)
    assert [delta.agent for delta in world.run(only=frozenset({ANN})).deltas] == [ANN]
    assert (len(world.shown()), world.shown(BOB)) == (1, [])


# ---- people and we at the same time ---------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [span(SOON + timedelta(hours=2)), {"status": "cancelled"}])
def test_what_the_agent_edits_between_decision_and_write_is_a_conflict_and_neither_side_is_lost(
    make: Make, values: dict[str, Any]
) -> None:
    world = make(sync=TO_CALENDAR)
    number, event = linked_pair(world)
    edit(world, number, **values)
    method = "DELETE" if "status" in values else "PUT"

    def edited() -> None:
        world.calendar().patch(event, times(LATER_THAT_DAY))

    world.server.faults.add(Fault(method=method, what=Harm.NONE, times=1, meanwhile=edited))
    result = world.run()
    assert [delta.outcome for delta in result.deltas] == ["conflict"]
    assert [start_of(shown) for shown in world.shown()] == [LATER_THAT_DAY]
    assert world.rows(next(iter(values))) == [(next(iter(values.values())),)]


def test_a_calendar_that_keeps_another_hour_than_it_was_given_fails_and_nothing_is_agreed_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    real = GoogleWriter.create

    def astray(self: GoogleWriter, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        return real(self, calendar, claim, {**fields, "start": rfc3339(SOON - timedelta(hours=1))})

    monkeypatch.setattr(GoogleWriter, "create", astray)
    booked(world)
    [delta] = world.run().deltas
    assert (delta.outcome, delta.why) == ("failed", "Google accepted the write but kept another start")
    assert world.linked() == []
    monkeypatch.undo()
    later(world)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["reschedule_not_propagated"])
    assert len(world.shown()) == 1


def test_a_removal_nobody_confirmed_is_not_taken_for_done_because_nothing_is_shown(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(sync=TO_CALENDAR)
    number, _ = linked_pair(world)
    edit(world, number, status="cancelled")

    def unreachable() -> None:
        world.server.faults.add(Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE))

    lost = Fault(method="DELETE", kind="calendar", what=Harm.DROP_BEFORE, times=1, meanwhile=unreachable)
    world.server.faults.add(lost)
    assert planned(world.run()) == [("cancel", "unknown")]
    world.server.faults.clear()
    with monkeypatch.context() as patched:
        patched.setattr(GoogleWriter, "find", lambda *_: None)  # as where the calendar is not shared any more
        later(world)
        assert world.run().deltas == ()
        assert [row["status"] for row in world.journal()][-1] == "unknown"
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert world.shown() == []


def test_a_change_nobody_confirmed_and_that_is_not_there_is_not_taken_for_done(make: Make) -> None:
    world = make()
    number, event = linked_pair(world)
    edit(world, number, **span(SOON + timedelta(hours=2)))

    def unreachable() -> None:
        world.server.faults.add(Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE))

    lost = Fault(method="PUT", kind="calendar", what=Harm.DROP_BEFORE, times=1, meanwhile=unreachable)
    world.server.faults.add(lost)
    assert planned(world.run()) == [("update", "unknown")]
    world.server.faults.clear()
    change(world, event, **times(LATER_THAT_DAY))  # the agent's, who sees nothing of ours
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["conflict"])
    assert [row["status"] for row in world.journal()][-1] == "failed"
    assert start_of(world.shown()[0]) == LATER_THAT_DAY
    assert world.rows("starts_at") == [(spelled(SOON + timedelta(hours=2)),)]


def test_a_version_that_changed_alone_is_kept_and_is_no_change(make: Make) -> None:
    world = make()
    number, event = linked_pair(world)
    change(world, event, colorId="7")  # something that nobody compares
    world.asked()
    assert world.run().deltas == ()
    assert world.asked() == 1
    edit(world, number, title="With the owner")
    assert planned(world.run()) == [("update", "done")]
    assert world.shown()[0]["colorId"] == "7"


def test_a_run_in_which_nothing_changed_writes_no_row_and_asks_once(make: Make) -> None:
    world = make()
    linked_pair(world)
    later(world)
    world.run()
    world.asked()
    before = rows_of(world)
    later(world)
    assert world.run().deltas == ()
    assert (rows_of(world), world.asked()) == (before, 1)


def rows_of(world: GoogleWorld) -> list[tuple[Any, ...]]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        rows = connection.execute(select(mirror.c.event, mirror.c.digest, mirror.c.payload)).all()
        held = connection.execute(select(links.c.crm_id, links.c.event, links.c.tier, links.c.base)).all()
        return [tuple(row) for row in (*rows, *held)]


def test_a_row_knows_the_version_that_a_write_must_carry_and_who_else_has_to_do_with_it(make: Make) -> None:
    world = make(sync="calendar-to-crm")
    world.calendar().insert(showing("evta"))
    later(world)
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        payload = codec.load(connection.execute(select(mirror.c.payload)).scalar_one())
    assert (payload["etag"], payload["guests"]) == (world.shown()[0]["etag"], 1)


# ---- what is ours is known again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [TO_CALENDAR, BOTH])
def test_after_the_state_was_lost_what_we_made_is_linked_again_and_nothing_is_doubled(make: Make, sync: str) -> None:
    world = make(sync=sync)
    for place in range(3):
        booked(world, SOON + timedelta(hours=place))
    world.run()
    before = sorted(event["id"] for event in world.shown())
    lose_the_state(world)
    result = world.run()
    assert (result.deltas, result.findings) == ((), ())
    assert len(world.linked()) == 3
    assert settled(world)
    assert sorted(event["id"] for event in world.shown()) == before
    assert len(world.rows()) == 3


def test_after_an_agent_was_renamed_and_the_state_was_lost_nothing_is_doubled(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, job = make(policy=ALL), World.job
    number, event = linked_pair(world)
    new = "ann.lee@acme.example"
    world.server.world.calendars[new] = world.calendar()  # the same one under another address
    (world.folder / "agents.csv").write_text(f"agent,aliases\n{new},{ANN}\n")

    def renamed(this: World) -> Path:
        path = job(this)
        path.write_text(path.read_text().replace(f'agents = ["{ANN}"]', 'agents = { file = "agents.csv" }'))
        return path

    monkeypatch.setattr(World, "job", renamed)
    edit(world, number, agent_email=new)
    lose_the_state(world)
    assert world.run().deltas == ()
    assert world.linked() == [str(number)]
    assert settled(world)
    assert [one["id"] for one in world.shown()] == [event]
    world.calendar().delete(event)
    lose_the_state(world)
    later(world)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["missing_in_calendar"])


def test_after_the_state_was_lost_an_event_that_the_agent_deleted_is_not_made_again(make: Make) -> None:
    world = make()
    _, event = linked_pair(world)
    world.calendar().delete(event)
    lose_the_state(world)
    later(world)
    for _ in range(2):
        result = world.run()
        assert (result.deltas, kinds(result)) == ((), ["missing_in_calendar"])
        assert "was deleted since" in result.findings[0].why
        later(world)
    assert world.shown() == []
    assert world.rows("status") == [("scheduled",)]


def test_after_the_state_was_lost_both_sides_that_differ_are_left_to_a_person(make: Make) -> None:
    world = make()
    number, _ = linked_pair(world)
    edit(world, number, **span(LATER_THAT_DAY))
    lose_the_state(world)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["reschedule_not_propagated"])
    assert [finding.tier for finding in result.findings] == ["claim"]
    assert (start_of(world.shown()[0]), len(world.shown())) == (SOON, 1)


def test_an_event_that_belongs_to_another_record_by_now_is_not_linked_to_the_one_it_was_made_for(make: Make) -> None:
    world = make(allow=("create",))
    linked_pair(world)
    world.insert(None, LATER_THAT_DAY, contact_email="amy@mail.example", status="completed")
    world.run()
    with world.setup() as setup, setup.state.begin() as connection:
        scope = Scope(setup.window(world.now), frozenset())
        known = compare.one_link(connection, setup.state, scope, crm_id="1")
        assert known is not None
        ledger.drop_links(connection, setup.state, ["1"])
        ledger.save_links(connection, setup.state, [(replace(known.link, crm_id="2"), None, None)])
    later(world)
    result = world.run()
    assert [delta.action for delta in result.deltas if delta.action is Action.CREATE] == []
    assert any("belongs to another record by now" in finding.why for finding in result.findings)
    assert (world.linked(), len(world.shown())) == (["2"], 1)


def test_when_claims_can_not_be_looked_up_nothing_is_created_and_the_next_run_does_it(make: Make) -> None:
    world = make()
    world.run()
    booked(world)
    harm = Fault(method="GET", kind="calendar", what=Harm.DROP_BEFORE, path="/events/")
    world.server.faults.add(harm)
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["missing_in_calendar"])
    assert "looked up" in result.findings[0].why
    world.server.faults.clear()
    assert planned(world.run()) == [("create", "done")]


def test_what_another_job_made_from_its_crm_is_never_entered_into_ours(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make(policy=ALL)
    linked_pair(world)
    for path in world.folder.glob("state.db*"):
        path.unlink()
    world.sql("DELETE FROM appointments")
    job = world.job

    def renamed() -> Path:
        path = job()
        path.write_text(path.read_text().replace('name = "acme"', 'name = "other"'))
        return path

    monkeypatch.setattr(world, "job", renamed)
    world.policy = f'sync = "calendar-to-crm"\n{ALL}'
    later(world)
    result = world.run()
    assert (result.deltas, world.rows()) == ((), [])
    assert result.counts["irrelevant"] == 1


def test_what_we_made_for_a_record_that_is_gone_with_the_state_is_not_entered_again(make: Make) -> None:
    world = make(policy=ALL)
    linked_pair(world)
    lose_the_state(world)
    world.sql("DELETE FROM appointments")
    later(world)
    result = world.run()
    assert (result.deltas, world.rows()) == ((), [])
    assert [finding.kind for finding in result.findings] == [Kind.MISSING_IN_CRM]
    assert "never entered again" in result.findings[0].why


def test_a_copy_that_a_person_made_of_our_event_is_an_event_like_any_other(make: Make) -> None:
    world = make()
    _, event = linked_pair(world)
    marks = world.calendar().get(event)["extendedProperties"]
    world.calendar().insert(showing("copied", SOON + timedelta(days=1), extendedProperties=marks))
    later(world)
    assert planned(world.run()) == [("create", "done")]
    assert len(world.rows()) == 2
    assert settled(world)


def test_an_event_we_made_that_gets_a_client_and_comes_back_is_no_new_appointment(make: Make) -> None:
    world = make()
    _, event = linked_pair(world)
    world.calendar().patch(event, {"attendees": [{"email": "jane@mail.example"}]})
    assert settled(world)
    assert len(world.rows()) == len(world.shown()) == 1


@pytest.mark.parametrize("keyed", [True, False])
def test_what_an_integration_enters_from_our_event_is_no_new_appointment(make: Make, *, keyed: bool) -> None:
    world = make()
    _, event = linked_pair(world)
    world.insert(world.calendar().get(event)["iCalUID"] if keyed else None, SOON, contact_email=None)
    later(world)
    for _ in range(2):
        result = world.run()
        assert (result.deltas, kinds(result)) == ((), ["missing_in_calendar"])
        assert "CRM record 1 stands for the same" in result.findings[0].why
        later(world)
    assert len(world.shown()) == 1


def test_another_client_at_the_same_time_is_another_appointment(make: Make) -> None:
    world = make()
    linked_pair(world)
    booked(world, contact_email="amy@mail.example")
    assert planned(world.run()) == [("create", "done")]
    assert len(world.shown()) == 2


@pytest.mark.postgres
def test_it_is_the_same_with_the_state_on_postgresql(make: Make, postgres_database: Callable[[], str]) -> None:
    world = make(state="env:STATE", environ={"STATE": postgres_database()})
    number, event = linked_pair(world)
    edit(world, number, title="With the owner")
    change(world, event, **times(LATER_THAT_DAY))
    assert planned(world.run()) == [("update", "done"), ("update", "done")]
    assert settled(world)
    world.environ["STATE"] = postgres_database()  # the old one is lost
    assert (world.run().deltas, world.linked()) == ((), [str(number)])
    world.sql("DELETE FROM appointments")
    later(world)
    assert planned(world.run()) == [("cancel", "done")]
    assert world.shown() == []
    assert settled(world)
