"""What must hold when calendars, the CRM, the job file, the clock or this program itself misbehave."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest
from sqlalchemy import Column, Connection, select

from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.crm import Writer, Written
from reconciler.crm.sql import SqlSnapshot
from reconciler.errors import CrmUnreachableError, UsageError
from reconciler.model import Fields, Postponed, Pull, Unobserved
from reconciler.run import Options, Setup, run
from reconciler.sources import PullRequest, Source
from reconciler.store import state as states
from reconciler.store.schema import calendars, cursors, findings, mirror, records
from reconciler.store.state import State
from tests.e2e.world import CLIENT, NOW, World, event, kinds, planned

ANN, BOB = "ann@acme.example", "bob@acme.example"
Make = Callable[..., World]
CANCELLED = "STATUS:CANCELLED\r\n"


def many(count: int, first: datetime = NOW + timedelta(days=1), extra: str = "") -> list[str]:
    return [event(f"e{number}", first + timedelta(hours=2 * number), extra=extra) for number in range(count)]


def sources(*files: str, agent: str = ANN) -> str:
    return "".join(
        f'[[source]]\nkind = "ics"\nname = "{name}"\nagent = "{agent}"\npath = "{name}.ics"\n' for name in files
    )


def stored(world: World, column: Column[Any]) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return list(connection.execute(select(column)).scalars())


# ---- meetings, calendars and records that move ----------------------------------------------------------------------


def test_a_meeting_moved_to_another_calendar_of_its_agent_is_counted_once_and_keeps_its_record(make: Make) -> None:
    world = make(sources=sources("home", "work"))
    world.write("home", event("a"))
    world.write("work")
    world.run()
    world.write("home", event("a", extra=CANCELLED))
    world.write("work", event("a"))
    assert (world.run().deltas, world.rows("status"), world.run().counts["in_sync"]) == ((), [("scheduled",)], 1)


def test_a_calendar_under_another_name_goes_on_with_its_links(make: Make) -> None:
    world = make(sources=sources("old"))
    world.write("old", event("a"))
    world.run()
    world.sources = sources("new")
    world.write("new", event("a", NOW + timedelta(days=6)))
    assert planned(world.run()) == [("update", "done")], "the old calendar's copy no longer speaks for the meeting"
    assert world.rows("starts_at") == [("2026-11-28 17:00:00",)]
    assert world.run().deltas == ()


def test_records_of_a_calendar_that_left_the_job_file_are_counted_reported_and_left_alone(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.write(BOB, event("b"), event("c", NOW + timedelta(days=3)))
    world.run()
    before = world.rows()
    world.agents = (ANN,)
    result = world.run()
    assert (result.deltas, kinds(result), result.counts["held"], world.rows()) == ((), ["coverage_gap"], 2, before)
    assert "2 live records of it are left alone" in result.findings[0].why
    world.agents = (ANN, BOB)
    world.write(BOB, event("b", NOW + timedelta(days=9)), event("c", NOW + timedelta(days=3)))
    assert planned(world.run()) == [("update", "done")], "a calendar that comes back is read whole"


def test_a_record_entered_anew_under_its_key_is_linked_again(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET id = 77, version = 1")
    result = world.run()
    assert (result.deltas, result.findings, world.linked()) == ((), (), ["77"])
    world.write(ANN, event("a", NOW + timedelta(days=6)))
    assert planned(world.run()) == [("update", "done")]


def test_a_record_entered_anew_for_another_agent_is_not_taken(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET id = 77, agent_email = ?", BOB)
    result = world.run()
    assert (result.deltas, kinds(result), world.linked()) == ((), ["missing_in_calendar", "removed_by_hand"], ["1"])


def test_a_record_removed_by_hand_that_leaves_the_window_is_over(make: Make) -> None:
    world = make()
    start = NOW - timedelta(days=6)
    world.write(ANN, event("a", start))
    world.insert("a", start)
    world.run()
    world.sql("DELETE FROM appointments")
    world.now += timedelta(days=2)
    result = world.run()
    assert (result.deltas, result.findings, result.counts["in_sync"]) == ((), (), 1)


def test_two_records_of_one_meeting_are_for_a_person_and_neither_is_written(make: Make) -> None:
    world = make(agents=(ANN, BOB), crm='record_per = "agent"')
    both = f"ORGANIZER:mailto:{ANN}\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n"
    world.write(ANN, event("m", extra=both))
    world.write(BOB, event("m", extra=both))
    world.insert("m")
    world.insert(f"{BOB}|m", agent_email=BOB)
    world.run()
    assert world.linked() == ["1", "2"]
    world.crm = ""
    before = world.rows()
    result = world.run()
    assert (result.deltas, kinds(result), world.rows()) == ((), ["ambiguous"], before)


def test_events_that_share_a_new_key_are_ambiguous_and_none_is_created(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    accepted = f"ORGANIZER:mailto:mallory@evil.example\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n"
    world.write(ANN, event("a"))
    world.write(BOB, event("a", NOW + timedelta(days=3), extra=accepted))
    result = world.run()
    assert (result.deltas, result.exit_code, kinds(result), world.rows()) == ((), 0, ["ambiguous", "ambiguous"], [])


@pytest.mark.parametrize("organizer", [ANN, "boss@outside.example"])
def test_a_meeting_that_gets_another_organizer_keeps_its_record(make: Make, organizer: str) -> None:
    world = make(agents=(ANN, BOB))
    people = f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{ANN}\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n"
    for agent in (ANN, BOB):
        world.write(agent, event("m", extra=f"ORGANIZER:mailto:{BOB}\r\n{people}"))
    world.run()
    for agent in (ANN, BOB):
        world.write(agent, event("m", NOW + timedelta(days=4), extra=f"ORGANIZER:mailto:{organizer}\r\n{people}"))
    world.run()
    assert world.rows("starts_at, status") == [("2026-11-26 17:00:00", "scheduled")]
    assert world.run().deltas == ()


def test_an_organizer_who_can_not_be_seen_holds_the_meeting(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    people = f"ORGANIZER:mailto:{ANN}\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n"
    world.write(BOB, event("m", extra=people))
    world.file(ANN).unlink()
    result = world.run()
    assert (result.deltas, result.counts["held"], world.rows()) == ((), 1, [])


# ---- what a run did not look at --------------------------------------------------------------------------------------


def test_a_run_that_could_not_look_resolves_nothing(make: Make) -> None:
    world = make()
    world.insert(None, NOW + timedelta(days=4), contact_email="walk-in@mail.example")
    world.run()
    crm = (world.folder / "crm.db").rename(world.folder / "away.db")
    for _ in range(2):
        world.now += timedelta(hours=1)
        if crm.name == "away.db":
            assert world.run().exit_code == 5
            (world.folder / "crm.db").unlink(missing_ok=True)
            crm = crm.rename(world.folder / "crm.db")
    result = world.run()
    (sighting,) = result.sightings.values()
    assert (kinds(result), sighting[0]) == (["missing_in_calendar"], NOW)


def test_a_run_for_one_agent_leaves_the_findings_of_others_open(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.insert(None, NOW + timedelta(days=4), agent_email=BOB, contact_email="walk-in@mail.example")
    world.run()
    world.now += timedelta(hours=1)
    world.run(only=frozenset({ANN}))
    assert stored(world, findings.c.resolved_at) == [None]


def test_a_mistake_in_reading_one_calendar_is_a_gap_and_the_rest_goes_on(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(BOB, event("b"))

    class Broken:
        def __getattr__(self, name: str) -> object:
            raise RuntimeError(CLIENT)

    with world.setup() as setup:
        broken = {**setup.sources, "ics-ann": cast("Source", Broken())}
        result = run(replace(setup, sources=broken), Options())
    assert (planned(result), result.exit_code) == ([("create", "done")], 5)
    (gap,) = [finding for finding in result.findings if finding.kind == "coverage_gap"]
    assert "RuntimeError" in gap.why
    assert CLIENT not in gap.why


def test_a_crm_that_fails_while_records_are_looked_up_ends_the_run_and_plans_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))

    def fail(*_: object) -> None:
        raise CrmUnreachableError("The CRM went away.")

    monkeypatch.setattr(SqlSnapshot, "by_keys", fail)
    result = world.run()
    assert (result.status, result.exit_code, result.deltas, kinds(result)) == ("partial", 5, (), ["coverage_gap"])


def test_records_of_an_agent_who_left_are_reported_and_frozen(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    (world.folder / "agents.csv").write_text(f"agent,calendar,state\n{ANN},ann.ics,left\n")
    world.sources = '[[source]]\nkind = "ics"\nname = "ics-ann"\nagents = { file = "agents.csv" }\n'
    world.write(ANN, event("a", extra=CANCELLED))
    result = world.run()
    assert (result.deltas, kinds(result), world.rows("status")) == ((), ["coverage_gap"], [("scheduled",)])
    assert "This agent has left; 1 live records" in result.findings[0].why


def test_a_diary_is_not_called_empty_while_a_calendar_of_its_agent_can_not_be_read(make: Make) -> None:
    world = make(sources=sources("home", "work") + sources("bob", agent=BOB))
    world.write("home", *many(6))
    world.write("work")
    world.write("bob")
    world.run()
    world.file("home").unlink()
    assert world.run().withheld == ()


# ---- a dry run through other glasses ---------------------------------------------------------------------------------


def glance(world: World) -> tuple[Any, ...]:
    """Return what a run would start from."""
    return tuple(
        sorted(map(str, stored(world, column))) for column in (mirror.c.digest, cursors.c.scope, records.c.digest)
    )


def test_a_dry_run_with_another_scope_leaves_the_state_as_it_is(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a", title="Showing"))
    world.write(BOB, event("b"))
    world.run()
    before = glance(world)
    world.sql("UPDATE appointments SET title = 'Tour', version = 2")
    world.policy = 'compare = ["start", "end", "all_day", "status", "contact", "title"]'
    looked = world.dry()
    assert kinds(looked) == ["field_drift", "field_drift"]
    world.policy, world.agents = "", (ANN,)
    assert kinds(world.dry()) == ["coverage_gap"]
    world.agents = (ANN, BOB)
    assert glance(world) == before
    assert [seen.mode for seen in world.run().calendars] == ["incremental", "incremental"]


def test_a_dry_run_with_another_scope_still_asks_for_what_moved_away(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=200)))
    world.policy = 'compare = ["start", "end", "all_day", "status"]'
    assert planned(world.dry()) == [("update", "planned")]


def test_a_plan_refused_in_a_dry_run_with_another_scope_can_be_consented_to(make: Make) -> None:
    world = make(limits='create = "1"')
    world.run()
    world.policy = 'compare = ["start", "end", "all_day", "status"]'
    world.write(ANN, *many(3))
    refused = world.dry()
    assert (refused.status, planned(world.run(approve=refused.digest))) == ("refused", [("create", "done")] * 3)


# ---- killed ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing after it runs."""


class Counting:
    """Counts the transactions of a run, and kills it as it opens the nth one."""

    def __init__(self, fatal: int) -> None:
        self.fatal = fatal
        self.opened = 0

    def __call__(self, state: State) -> AbstractContextManager[Connection]:
        self.opened += 1
        if self.opened == self.fatal:
            raise Killed
        return state.engine.execution_options(writes=True).begin()


def troubled(make: Make) -> World:
    """Make a world in which a run has something to create, update, cancel and adopt."""
    world = make()
    world.write(ANN, *many(4))
    world.run()
    world.insert("e8", NOW + timedelta(days=1, hours=16))
    moved = event("e1", NOW + timedelta(days=8))
    gone = event("e2", NOW + timedelta(days=1, hours=4), extra=CANCELLED)
    world.write(ANN, event("e0"), moved, gone, *many(9)[3:])
    return world


def test_a_run_killed_at_any_commit_ends_as_if_it_had_not_been(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = troubled(make)
    fatal = 0
    while True:
        fatal += 1
        counting = Counting(fatal)
        with monkeypatch.context() as patched:
            patched.setattr(State, "begin", lambda state, counting=counting: counting(state))
            try:
                world.run()
                break
            except Killed:
                pass
    assert fatal > 8, "there was something to interrupt"
    settled(world)


def settled(world: World) -> None:
    result = world.run()
    assert (result.deltas, result.status, [row for row in world.journal() if row["status"] == "sent"]) == (
        (),
        "in_sync",
        [],
    )
    rows = world.rows("source_key, status")
    assert sorted(rows) == [(f"e{number}", "cancelled" if number == 2 else "scheduled") for number in range(9)]


class Severed:
    """A real writer whose process dies right after its nth write reached the CRM."""

    def __init__(self, writer: Writer, fatal: int) -> None:
        self.writer = writer
        self.left = fatal

    def __getattr__(self, name: str) -> Callable[..., object]:
        method: Callable[..., Written] = getattr(self.writer, name)
        return self._dying(method) if name in {"create", "update", "cancel", "delete"} else method

    def _dying(self, method: Callable[..., Written]) -> Callable[..., Written]:
        def write(*args: str, **named: str) -> Written:
            written = method(*args, **named)
            self.left -= 1
            if self.left == 0:
                raise Killed
            return written

        return write


def severed(world: World, fatal: int) -> None:
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        make_writer = writers.crm
        with pytest.raises(Killed):
            run(_with_writer(setup, lambda: Severed(make_writer(), fatal)), Options())


def _with_writer(setup: Setup, writer: Callable[[], object]) -> Setup:
    assert setup.writers is not None
    return replace(setup, writers=replace(setup.writers, crm=cast("Callable[[], Writer]", writer)))


@pytest.mark.parametrize("fatal", [1, 2, 3])
def test_a_write_that_nobody_confirmed_is_looked_up_and_settled_before_anything_is_planned(
    make: Make, fatal: int
) -> None:
    world = troubled(make)
    severed(world, fatal)
    assert [row["status"] for row in world.journal()].count("sent") == 1
    world.run()
    assert {row["status"] for row in world.journal()} <= {"done", "already", "deferred"}, "nothing is left open"
    settled(world)


def test_a_move_after_an_unconfirmed_write_is_a_move_and_no_conflict(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    severed(world, 1)
    world.write(ANN, event("a", NOW + timedelta(days=6)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("starts_at") == [("2026-11-28 17:00:00",)]


def test_an_unconfirmed_create_that_moved_is_updated_and_not_repeated(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    severed(world, 1)
    world.sql("UPDATE appointments SET updated_at = NULL")
    world.write(ANN, event("a", NOW + timedelta(days=6)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("starts_at") == [("2026-11-28 17:00:00",)]


def test_an_unconfirmed_cancel_can_be_taken_back(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", extra=CANCELLED))
    severed(world, 1)
    world.write(ANN, event("a"))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("status") == [("scheduled",)]


def test_an_intent_that_never_reached_the_crm_is_settled_as_failed(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        make_writer = writers.crm

        class Mute(Severed):
            def create(self, key: str, fields: Fields) -> Written:
                raise Killed

        with pytest.raises(Killed):
            run(_with_writer(setup, lambda: Mute(make_writer(), 0)), Options())
    assert planned(world.run()) == [("create", "done")]
    assert [row["status"] for row in world.journal()] == ["failed", "done"]


# ---- two at once -----------------------------------------------------------------------------------------------------


def test_a_transaction_that_may_write_does_not_read_before_its_turn(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    with world.setup() as one, world.setup() as other:
        with one.state.begin() as connection:
            states.shape(connection, one.state)
            with other.state.engine.connect() as second:
                second.exec_driver_sql("PRAGMA busy_timeout = 0")
                with pytest.raises(Exception, match="locked"):
                    second.exec_driver_sql("UPDATE calendars SET strikes = 9")
        assert stored(world, calendars.c.strikes) == [0]


def test_a_read_that_another_process_overtook_is_judged_by_what_that_one_saw(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=4)))
    with world.setup() as setup:
        pull = setup.sources["ics-ann"].pull

        def overtaken(request: PullRequest) -> Pull | Unobserved | Postponed:
            found = pull(request)
            monkeypatch.undo()
            world.write(ANN, event("a", NOW + timedelta(days=5)))
            world.dry()
            return found

        monkeypatch.setattr(setup.sources["ics-ann"], "pull", overtaken)
        run(setup, Options())
    assert world.rows("starts_at") == [("2026-11-27 17:00:00",)]


# ---- limits and approval ---------------------------------------------------------------------------------------------


def test_records_that_we_moved_out_of_the_window_are_no_collapse(make: Make) -> None:
    world = make(limits='create = "100"\nupdate = "100"')
    world.write(ANN, *many(25))
    world.run()
    world.write(ANN, *many(25, NOW + timedelta(days=100)))
    assert len(world.run().deltas) == 25
    assert (world.run().status, world.run().status) == ("in_sync", "in_sync")


def test_a_collapse_is_refused_until_a_person_says_it_is_right(make: Make) -> None:
    world = make(limits='create = "100"')
    world.write(ANN, *many(25))
    world.run()
    world.sql("DELETE FROM appointments WHERE id > 5")
    for _ in range(2):
        assert (world.run().exit_code, len(world.rows())) == (4, 5)
    with world.setup() as setup, setup.state.begin() as connection:
        states.rebind(connection, setup.state, setup.reader.identity)
    result = world.run()
    assert (result.exit_code, set(kinds(result)), len(world.rows())) == (0, {"removed_by_hand"}, 5)


def test_a_diary_whose_meetings_were_cancelled_one_by_one_is_not_emptied(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, *many(6))
    world.run()
    for done in range(1, 7):
        world.write(ANN, *many(done, extra=CANCELLED), *many(6)[done:])
        result = world.run()
        assert (planned(result), result.withheld) == ([("cancel", "done")], ())
    assert world.run().status == "in_sync"


@pytest.mark.parametrize("prefix", ["", "12345678901", "%%%%%%%%%%%%", "____________"])
def test_what_is_no_digest_approves_nothing(make: Make, prefix: str) -> None:
    world = make(limits='create = "0"')
    world.write(ANN, event("a"))
    world.run()
    with pytest.raises(UsageError):
        world.run(approve=prefix)
    assert world.rows() == []


def test_a_digest_of_another_job_on_the_same_state_approves_nothing(make: Make) -> None:
    world = make(limits='create = "0"')
    world.write(ANN, event("a"))
    digest = world.run().digest
    path = world.folder / "other.toml"
    path.write_text(world.job().read_text().replace('name = "acme"', 'name = "other"'))
    other = assemble(load(path, world.environ), world.environ, clock=world.clock, dry_run=False)
    with other as setup, pytest.raises(UsageError, match="fits no stored plan"):
        run(setup, Options(approve=digest))


def test_what_is_new_beside_an_approved_plan_counts_against_the_limits(make: Make) -> None:
    world = make(limits='create = "2"')
    world.write(ANN, *many(3))
    digest = world.run().digest
    world.write(ANN, *many(6))
    result = world.run(approve=digest)
    assert ([(each.found, each.allowed) for each in result.violations], world.rows()) == ([(3, 2)], [])
    world.write(ANN, *many(5))
    assert (world.run(approve=digest).status, len(world.rows())) == ("applied", 5)


# ---- time ------------------------------------------------------------------------------------------------------------


def test_a_change_from_the_far_future_does_not_wait_for_it(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", modified="20990101T000000Z"))
    assert planned(world.run()) == [("create", "done")], "a baseline without a believable time is settled"
    world.write(ANN, event("a", NOW + timedelta(days=5), modified="20990102T000000Z"))
    assert (world.run().deltas, world.rows("starts_at")) == ((), [("2026-11-24 17:00:00",)])
    world.now += timedelta(minutes=10)
    world.run()
    assert world.rows("starts_at") == [("2026-11-27 17:00:00",)], "counted from when it was first seen"


def test_a_clock_that_goes_back_loses_nothing(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.insert(None, NOW + timedelta(days=4), contact_email="walk-in@mail.example")
    world.run()
    world.now -= timedelta(days=3)
    world.sql("DELETE FROM appointments WHERE source_key IS NULL")
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    result = world.run()
    assert (planned(result), kinds(result)) == ([("update", "done")], ["reschedule_not_propagated"])
    assert stored(world, findings.c.resolved_at).count(None) == 1, "what is gone is resolved, though it was seen later"
    assert world.run().deltas == ()


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("00010101", "00010102"),
        ("99991230", "99991231"),
        ("99991231", "99991231"),
    ],
)
def test_days_at_the_ends_of_time_cost_nobody_else_anything(make: Make, start: str, end: str) -> None:
    world = make()
    odd = event("odd").replace("DTSTART:20261124T170000Z", f"DTSTART;VALUE=DATE:{start}")
    odd = odd.replace("DTEND:20261124T180000Z", f"DTEND;VALUE=DATE:{end}")
    world.write(ANN, event("a"), odd, event("long", hours=10_000))
    days = [f"{day[:4]}-{day[4:6]}-{day[6:]} 00:00:00" for day in (start, end)]
    for number, (all_day, times) in enumerate(
        [(1, days), (0, [days[0], "9999-12-31 23:59:59"]), (1, ["0000-00-00", ""])]
    ):
        world.insert(f"odd{number}", all_day=all_day, starts_at=times[0], ends_at=times[1])
    result = world.run()
    assert ("create", "done") in planned(result)
    assert world.run().deltas == ()


def test_a_meeting_across_the_end_of_summer_time_keeps_its_instants(make: Make) -> None:
    world = make()
    world.now = datetime(2026, 10, 30, 12, tzinfo=UTC)
    local = event("a").replace("DTSTART:20261124T170000Z", "DTSTART;TZID=America/Chicago:20261101T013000")
    local = local.replace("DTEND:20261124T180000Z", "DTEND;TZID=America/Chicago:20261101T023000")
    world.write(ANN, local)
    world.run()
    assert world.rows("starts_at, ends_at") == [("2026-11-01 06:30:00", "2026-11-01 08:30:00")]
    assert world.run().deltas == ()


def test_midnight_between_a_dry_run_and_the_run_changes_no_digest(make: Make) -> None:
    world = make()
    world.now = datetime(2026, 11, 22, 23, 59, 59, tzinfo=UTC)
    world.write(ANN, *many(3))
    digest = world.dry().digest
    world.now += timedelta(seconds=2)
    assert world.run().digest == digest


# ---- a CRM without keys ----------------------------------------------------------------------------------------------


def test_two_events_that_look_alike_do_not_take_one_record_from_each_other(make: Make) -> None:
    world = make()
    job = world.job
    keyless = lambda: _without_key(job())  # noqa: E731
    world.job = keyless  # type: ignore[method-assign]
    world.write(ANN, event("a"), event("b"))
    outcomes = {delta.outcome for delta in world.run().deltas}
    assert outcomes == {"done", "conflict"}
    for _ in range(2):
        result = world.run()
        assert (result.deltas, kinds(result), len(world.rows())) == ((), ["ambiguous", "double_booked_agent"], 1)


def test_two_events_that_only_their_agent_and_time_tell_are_a_question_and_not_a_conflict_in_every_run(
    make: Make,
) -> None:
    world = make(unmapped=("key", "contact"), policy='compare = ["start", "end", "all_day", "status"]')
    world.write(ANN, event("a"), event("b"))
    world.run()
    for _ in range(2):
        result = world.run()
        assert (result.deltas, kinds(result), len(world.rows())) == ((), ["ambiguous", "double_booked_agent"], 1)


def _without_key(path: Path) -> Path:
    path.write_text(path.read_text().replace('key = "source_key"\n', ""))
    return path


# ---- hostile text ----------------------------------------------------------------------------------------------------


HOSTILE = ("<script>alert(1)</script>", "=1+1|cmd", "\x1b[31mred\x07", "x" * 10_000, "\N{PILE OF POO}" * 40, "a\x00b")


@pytest.mark.parametrize("title", HOSTILE)
def test_hostile_text_reaches_crm_and_state_as_bounded_text(make: Make, title: str) -> None:
    world = make(policy='compare = ["start", "end", "all_day", "status", "title", "location"]')
    world.write(ANN, event(f"uid{title}"[:300], title=title, extra=f"LOCATION:{title}\r\n"))
    world.insert(f"k{title}", agent_email=f"x{title}", title=title, contact_email=title, location=title)
    assert planned(world.run()) == [("create", "done")]
    kept = world.rows("title")[-1][0]
    assert len(kept) <= 60
    assert kept.isprintable()
    assert world.run().deltas == ()


# ---- keys for each agent ---------------------------------------------------------------------------------------------


def test_one_row_for_each_agent_of_a_meeting(make: Make) -> None:
    world = make(agents=(ANN, BOB), crm='record_per = "agent"')
    both = f"ORGANIZER:mailto:{ANN}\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n"
    for agent in (ANN, BOB):
        world.write(agent, event("m", extra=both))
    result = world.run()
    assert (planned(result), result.exit_code) == ([("create", "done")] * 2, 0)
    assert sorted(world.rows("agent_email")) == [(ANN,), (BOB,)]
    assert world.run().deltas == ()
