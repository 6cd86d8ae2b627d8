"""The whole pipeline on real files, a real CRM table and a real state database, SQLite and PostgreSQL alike."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler import normalise, snapshot
from reconciler.assembly import assemble
from reconciler.config import load
from reconciler.crm import Writer, Written
from reconciler.errors import LockedError, StateError, UsageError
from reconciler.judgement import Judgement
from reconciler.model import Event, Fields, Outcome
from reconciler.result import Result
from reconciler.run import Options, run
from reconciler.store.database import run_lock
from tests.e2e.world import CLIENT, NOW, World, calendar, event, kinds, planned

ANN, BOB = "ann@acme.example", "bob@acme.example"
Make = Callable[..., World]


# ---- promise 1: running again with nothing changed plans nothing and writes nothing ---------------------------------


def test_an_event_the_crm_lacks_is_created_once_and_a_second_run_does_nothing(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("lunch", client=None))
    first = world.run()
    assert planned(first) == [("create", "done")]
    assert (first.status, first.exit_code) == ("applied", 0)
    assert world.rows("source_key, agent_email, contact_email, starts_at, status, notes") == [
        ("a", ANN, CLIENT, "2026-11-24 17:00:00", "scheduled", "by hand")
    ]
    before, written = world.rows(), len(world.journal())
    second = world.run()
    assert (second.deltas, second.status, second.counts["in_sync"], second.counts["irrelevant"]) == (
        (),
        "in_sync",
        1,
        1,
    )
    assert second.calendars[0].mode == "incremental"
    assert (world.rows(), len(world.journal())) == (before, written)


def test_a_rescheduled_event_moves_its_record_and_only_that(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    other = world.rows()[1]
    world.write(ANN, event("a", NOW + timedelta(days=5)), event("b", NOW + timedelta(days=3)))
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert kinds(result) == ["reschedule_not_propagated"]
    assert world.rows("starts_at, version")[0] == ("2026-11-27 17:00:00", 2)
    assert world.rows()[1] == other
    assert world.run().deltas == ()


def test_an_event_moved_out_of_the_window_moves_its_record_and_is_never_cancelled(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=200)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("starts_at, status") == [("2027-06-10 17:00:00", "scheduled")]
    assert world.run().deltas == ()


def test_a_cancelled_event_cancels_its_record_and_keeps_the_row(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", extra="STATUS:CANCELLED\r\n"))
    result = world.run()
    assert planned(result) == [("cancel", "done")]
    assert kinds(result) == ["cancel_not_propagated"]
    assert world.rows("status") == [("cancelled",)]
    again = world.run()
    assert (again.deltas, again.findings, again.status) == ((), (), "in_sync")


def test_an_event_that_comes_back_reopens_the_record_that_we_cancelled(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", extra="STATUS:CANCELLED\r\n"))
    world.run()
    world.write(ANN, event("a"))
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert kinds(result) == ["false_cancel"]
    assert world.rows("status") == [("scheduled",)]
    assert world.run().deltas == ()


# ---- promise 2: a dry run writes to neither side --------------------------------------------------------------------


def test_a_dry_run_changes_nothing_and_shares_its_digest_with_the_run_after_it(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b"))
    world.insert("b", contact_email="other@mail.example", agent_email=ANN)
    before = (world.folder / "crm.db").read_bytes()
    dry = world.dry()
    assert (world.folder / "crm.db").read_bytes() == before
    assert (world.journal(), world.linked()) == ([], [])
    assert (dry.status, dry.exit_code, {delta.outcome for delta in dry.deltas}) == ("drift", 0, {"planned"})
    assert world.run().digest == dry.digest


def test_a_dry_run_needs_no_right_to_write(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    (world.folder / "crm.db").chmod(0o444)
    assert planned(world.dry()) == [("create", "planned")]


# ---- promise 3: killed at any instant -------------------------------------------------------------------------------


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing after it runs."""


@pytest.mark.parametrize("step", ["before", "after"])
def test_a_run_killed_around_a_write_leaves_no_duplicate_and_no_loss(make: Make, step: str) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    with pytest.raises(Killed):
        _run_with(world, lambda writer: _Dying(writer, step))
    world.run()
    assert sorted(world.rows("source_key")) == [("a",), ("b",)]
    assert world.run().deltas == ()


class _Around:
    """A real writer with something happening around its writes."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __getattr__(self, name: str) -> object:
        return getattr(self.writer, name)


class _Dying(_Around):
    def __init__(self, writer: Writer, step: str) -> None:
        super().__init__(writer)
        self.step = step

    def create(self, key: str, fields: Fields) -> Written:
        if self.step == "after":
            self.writer.create(key, fields)
        raise Killed


def _run_with(world: World, around: Callable[[Writer], Any]) -> Result:
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        return run(replace(setup, writers=replace(writers, crm=lambda: around(writers.crm()))), Options())


# ---- promise 4: absence is not deletion -----------------------------------------------------------------------------


def test_an_event_missing_from_a_whole_file_is_reported_for_a_person_and_its_record_kept(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.write(ANN, event("a"))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["orphan_in_crm"])
    assert result.findings[0].remedy == "human"
    assert world.rows("status") == [("scheduled",), ("scheduled",)]


def test_a_feed_whose_absence_is_evidence_cancels_after_two_different_whole_reads(make: Make) -> None:
    world = make(absence="evidence")
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.write(ANN, event("a"))
    assert world.run().deltas == ()
    world.now += timedelta(hours=1)
    assert world.run().deltas == (), "an untouched file read twice counts once"
    world.write(ANN, event("a", title="Showing again"))
    assert planned(world.run()) == [("cancel", "done")]


@pytest.mark.parametrize("content", [b"", b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n", b"<html>Sign in</html>", None])
def test_a_calendar_that_was_not_read_whole_says_nothing_about_what_it_lacks(make: Make, content: bytes | None) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.write(BOB, event("b"))
    world.run()
    if content is None:
        world.file(ANN).unlink()
    else:
        world.file(ANN).write_bytes(content)
    world.write(BOB, event("b", NOW + timedelta(days=4)))
    result = world.run()
    assert planned(result) == [("update", "done")], "one bad calendar never stops the rest"
    assert kinds(result) == ["coverage_gap", "reschedule_not_propagated"]
    assert (result.status, result.exit_code, result.counts["unobserved"], result.counts["held"]) == ("partial", 5, 1, 1)
    assert world.rows("status") == [("scheduled",), ("scheduled",)]


def test_a_known_gap_stays_in_the_report_and_leaves_the_exit_code(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.file(ANN).unlink()
    codes = [world.run().exit_code for _ in range(4)]
    assert codes == [5, 5, 0, 0]
    assert kinds(world.run()) == ["coverage_gap"]


def test_looking_by_hand_does_not_make_a_gap_known(make: Make) -> None:
    world = make()
    world.file(ANN).unlink()
    assert [world.dry().exit_code for _ in range(4)] == [5, 5, 5, 5]
    assert world.run().exit_code == 5


def test_an_unreachable_crm_plans_nothing_while_calendars_are_still_read(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    (world.folder / "crm.db").rename(world.folder / "away.db")
    world.write(ANN, event("a", NOW + timedelta(days=4)))
    result = world.run()
    assert (result.exit_code, result.deltas, kinds(result)) == (5, (), ["coverage_gap"])
    assert result.calendars[0].observed
    (world.folder / "away.db").rename(world.folder / "crm.db")
    assert planned(world.run()) == [("update", "done")]


def test_a_snapshot_that_lost_half_its_records_is_refused(make: Make) -> None:
    world = make()
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(24)))
    world.run()
    world.sql("DELETE FROM appointments WHERE id > 5")
    for _ in range(3):  # it does not get used to it
        result = world.run()
        assert (result.status, result.exit_code, result.deltas, kinds(result)) == ("refused", 4, (), ["coverage_gap"])


def test_a_large_crm_is_caught_up_by_its_update_times_between_daily_whole_reads(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(snapshot, "LARGE", 2)
    world = make()
    days = {"a": 2, "b": 3, "c": 4}
    for key, day in days.items():
        world.insert(key, NOW + timedelta(days=day))
    world.write(ANN, *(event(key, NOW + timedelta(days=day)) for key, day in days.items()))
    world.run()
    world.now += timedelta(minutes=30)
    world.run()
    world.now += timedelta(minutes=30)
    moved = "UPDATE appointments SET starts_at = ?, updated_at = ? WHERE id = ?"
    world.sql(moved, "2026-11-24 19:00:00", "2026-11-22 17:40:00", 1)
    world.sql(moved, "2026-11-25 19:00:00", "2026-11-22 17:00:00", 2)  # without saying so
    assert [finding.crm_id for finding in world.run().findings] == ["1"]
    assert [finding.crm_id for finding in world.run(full=True).findings] == ["1", "2"]
    world.sql("DELETE FROM appointments WHERE id = 3")
    world.now += timedelta(days=1)
    assert "removed_by_hand" in kinds(world.run())


def test_a_record_removed_by_hand_is_reported_and_not_made_again(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.sql("DELETE FROM appointments WHERE source_key = 'a'")
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["removed_by_hand"])
    assert kinds(world.run()) == ["removed_by_hand"]


# ---- limits and approval --------------------------------------------------------------------------------------------


def test_a_plan_over_its_limits_is_refused_whole_and_applied_once_a_person_consents(make: Make) -> None:
    world = make(limits='create = "3"')
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(5)))
    refused = world.run()
    assert (refused.status, refused.exit_code, world.rows()) == ("refused", 4, [])
    assert [(v.limit, v.found, v.allowed) for v in refused.violations] == [("create", 5, 3)]
    done = world.run(approve=refused.digest[:12])
    assert (done.status, len(world.rows())) == ("applied", 5)
    with pytest.raises(UsageError, match="used up"):
        world.run(approve=refused.digest[:12])


def test_an_approval_covers_only_what_recomputes_identically(make: Make) -> None:
    world = make(limits='create = "1"')
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    digest = world.run().digest
    world.write(
        ANN,
        event("a", NOW + timedelta(days=9)),
        event("b", NOW + timedelta(days=3)),
        event("c", NOW + timedelta(days=4)),
    )
    result = world.run(approve=digest)
    assert (result.status, [(v.found, v.allowed) for v in result.violations]) == ("refused", [(2, 1)])
    assert world.rows() == []


def test_an_unknown_approval_is_a_usage_error_and_nothing_runs(make: Make) -> None:
    world = make()
    with pytest.raises(UsageError, match="fits no stored plan"):
        world.run(approve="0123456789abcdef")


def test_a_leaver_who_wipes_a_calendar_is_withheld_and_nobody_else(make: Make) -> None:
    world = make(agents=(ANN, BOB), limits='cancel = "100"\nagent_cancel = "2"')
    mine = [event(f"a{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(6)]
    world.write(ANN, *mine)
    world.write(BOB, event("b"))
    world.run()
    gone = [event(f"a{n}", NOW + timedelta(days=1, hours=2 * n), extra="STATUS:CANCELLED\r\n") for n in range(6)]
    world.write(ANN, *gone)
    world.write(BOB, event("b", NOW + timedelta(days=8)))
    result = world.run()
    assert {(v.limit, v.agent) for v in result.withheld} == {("agent_cancel", ANN), ("emptied", ANN)}
    assert planned(result) == [("cancel", "held")] * 6 + [("update", "done")]
    assert (result.exit_code, result.status) == (5, "partial")


def test_nothing_is_written_that_policy_does_not_allow_and_the_report_says_so(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a"))
    result = world.run()
    assert (planned(result), world.rows(), result.status) == ([("create", "held")], [], "drift")
    assert "[policy].allow" in result.findings[0].why


# ---- promise 5 and 6: strangers and people --------------------------------------------------------------------------


def test_strangers_rows_are_never_touched(make: Make) -> None:
    world = make()
    world.insert("zed-1", agent_email="zed@other.example")
    world.insert(None, NOW + timedelta(days=4), agent_email=ANN, contact_email="walk-in@mail.example")
    before = world.rows()
    world.write(ANN, event("a"))
    result = world.run()
    assert world.rows()[:2] == before
    assert kinds(result) == ["missing_in_calendar", "missing_in_crm"]
    assert (result.counts["strangers"], result.counts["human"]) == (1, 1)


def test_a_stranger_who_sends_an_invitation_with_a_known_uid_gains_nothing(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.run()
    before = world.rows()
    forged = event("a", NOW + timedelta(days=9), extra="ORGANIZER:mailto:mallory@evil.example\r\nSTATUS:CANCELLED\r\n")
    world.write(BOB, forged.replace("PARTSTAT=ACCEPTED", "PARTSTAT=ACCEPTED;CUTYPE=INDIVIDUAL"))
    world.run()
    assert world.rows() == before


def test_a_persons_edit_in_the_crm_is_a_finding_and_never_overwritten(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET starts_at = '2026-11-24 19:00:00', ends_at = '2026-11-24 20:00:00', version = 9")
    world.now += timedelta(hours=1)
    result = world.run()
    assert (result.deltas, kinds(result), result.findings[0].remedy) == ((), ["reschedule_not_propagated"], "human")
    assert "changed in the CRM" in result.findings[0].why
    assert world.rows("starts_at") == [("2026-11-24 19:00:00",)]


def test_the_same_field_moved_on_both_sides_is_a_conflict_and_other_fields_go_on(make: Make) -> None:
    world = make(policy='compare = ["start", "end", "all_day", "status", "contact", "title"]')
    world.write(ANN, event("a", title="Showing"))
    world.run()
    world.sql("UPDATE appointments SET title = 'Ours', version = 2")
    world.write(ANN, event("a", NOW + timedelta(days=6), title="Theirs"))
    world.now += timedelta(hours=1)
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert kinds(result) == ["conflict", "reschedule_not_propagated"]
    assert world.rows("title, starts_at") == [("Ours", "2026-11-28 17:00:00")]
    assert kinds(world.run()) == ["conflict"], "it stays open until a person settles it"


def test_a_row_edited_between_snapshot_and_write_is_a_conflict(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=6)))

    class Late(_Around):
        def update(self, crm_id: str, fields: Fields, *, version: str) -> Written:
            world.sql("UPDATE appointments SET title = 'edited meanwhile', version = version + 1")
            return self.writer.update(crm_id, fields, version=version)

    result = _run_with(world, Late)
    assert planned(result) == [("update", "conflict")]
    assert (result.exit_code, world.rows("title, starts_at")) == (5, [("edited meanwhile", "2026-11-24 17:00:00")])


# ---- first sight ----------------------------------------------------------------------------------------------------


def test_records_with_exact_keys_are_adopted_and_the_newer_side_wins(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.insert("a")
    world.insert("b", NOW + timedelta(days=3, hours=3), updated_at="2026-11-20 00:00:00")
    result = world.run()
    assert (result.deltas, kinds(result), result.findings[0].remedy) == ((), ["reschedule_not_propagated"], "human")
    assert world.linked() == ["1"]
    world.sql("UPDATE appointments SET updated_at = '2026-10-01 00:00:00' WHERE id = 2")
    assert planned(world.run()) == [("update", "done")]


def test_an_event_with_a_natural_candidate_is_never_a_create(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.insert("webhook-77", NOW + timedelta(days=2, minutes=3))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["ambiguous"])
    assert len(world.rows()) == 1


def test_each_ambiguous_event_is_a_finding_of_its_own(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    organizer = "ORGANIZER:mailto:{}\r\n"
    world.write(ANN, event("a", extra=organizer.format(ANN)))
    world.write(BOB, event("a", extra=organizer.format(BOB)))
    result = world.run()
    assert (result.deltas, kinds(result), result.counts["human"]) == ((), ["ambiguous", "ambiguous"], 2)


def test_changes_younger_than_settle_are_left_to_the_live_integration(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", modified="20261122T165500Z"))
    result = world.run()
    assert (result.deltas, result.counts["held"], result.findings[0].remedy) == ((), 1, "hold")
    world.now += timedelta(minutes=10)
    assert planned(world.run()) == [("create", "done")]


def test_what_has_ended_is_reported_and_never_written(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", NOW - timedelta(days=1)))
    result = world.run()
    assert (result.deltas, kinds(result), world.rows()) == ((), ["missing_in_crm"], [])


# ---- meetings, people, keys -----------------------------------------------------------------------------------------


def test_one_meeting_on_two_calendars_is_one_record(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    both = event("m", extra=f"ORGANIZER:mailto:{ANN}\r\nATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n")
    world.write(ANN, both)
    world.write(BOB, both)
    result = world.run()
    assert world.rows("agent_email") == [(ANN,)]
    assert result.counts["copies"] == 1
    assert world.run().deltas == ()


def test_a_meeting_moved_between_calendars_changes_its_owner_and_is_not_cancelled(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    shared = "ORGANIZER:mailto:office@acme.example\r\n"
    world.write(ANN, event("m", extra=shared))
    world.run()
    world.write(ANN, event("m", extra=shared + "STATUS:CANCELLED\r\n"))
    world.write(BOB, event("m", extra=shared))
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert kinds(result) == ["wrong_owner"]
    assert world.rows("agent_email, status") == [(BOB, "scheduled")]
    assert world.run().deltas == ()


def test_an_agent_renamed_keeps_links_and_records(make: Make) -> None:
    world = make(agents=(ANN,))
    world.write(ANN, event("a"))
    world.run()
    before = world.rows()
    (world.folder / "agents.csv").write_text("agent,calendar,aliases\nann.lee@acme.example,ann.ics,ann@acme.example\n")
    world.sources = '[[source]]\nkind = "ics"\nname = "ics-ann"\nagents = { file = "agents.csv" }\n'
    result = world.run()
    assert (result.deltas, result.counts["in_sync"], world.rows()) == ((), 1, before)


def test_a_single_event_that_becomes_a_series_keeps_its_record(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", extra="RRULE:FREQ=WEEKLY;COUNT=2\r\n"))
    result = world.run()
    assert planned(result) == [("create", "done")], "the second occurrence is new, the first is the record we have"
    assert world.rows("starts_at") == [("2026-11-24 17:00:00",), ("2026-12-01 17:00:00",)]
    assert world.run().deltas == ()


def test_a_series_cut_short_leaves_its_records_to_a_person(make: Make) -> None:
    world = make()
    world.write(ANN, event("s", extra="RRULE:FREQ=WEEKLY;COUNT=4\r\n"))
    world.run()
    world.write(ANN, event("s", extra="RRULE:FREQ=WEEKLY;COUNT=2\r\n"))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["stale_series", "stale_series"])
    world.write(ANN, event("s", extra="RRULE:FREQ=WEEKLY;COUNT=4\r\nEXDATE:20261208T170000Z\r\n"))
    assert planned(world.run()) == [("cancel", "done")], "an excluded date is evidence"


def test_private_events_carry_their_time_and_nothing_else_into_the_state(make: Make) -> None:
    world = make()
    world.write(ANN, event("p", title="Surgery", extra="CLASS:PRIVATE\r\nLOCATION:Clinic\r\n"))
    result = world.run()
    assert (result.deltas, kinds(result), world.rows()) == ((), ["missing_in_crm"], [])
    if world.state.startswith("sqlite"):
        stored = b"".join(path.read_bytes() for path in world.folder.glob("state.db*"))
        assert b"Surgery" not in stored
        assert b"Clinic" not in stored
        assert CLIENT.encode() not in stored


def test_of_irrelevant_events_nothing_is_stored_that_could_be_read(make: Make) -> None:
    world = make()
    world.write(ANN, event("l", title="Lunch with Uncle Bob", client=None))
    assert world.run().counts["irrelevant"] == 1
    if world.state.startswith("sqlite"):
        assert not any(b"Uncle" in path.read_bytes() for path in world.folder.glob("state.db*"))


def test_three_records_off_by_the_same_hours_are_one_finding_and_held(make: Make) -> None:
    world = make()
    starts = [NOW + timedelta(days=n) for n in (2, 3, 4)]
    world.write(ANN, *(event(f"e{n}", start) for n, start in enumerate(starts)))
    for n, start in enumerate(starts):
        world.insert(f"e{n}", start - timedelta(hours=5))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["tz_shift"])


# ---- lock, identity, scope ------------------------------------------------------------------------------------------


def test_a_second_run_finds_the_lock_held_and_a_dry_run_needs_none(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    with world.setup() as setup, run_lock(setup.state.engine, setup.reader.identity):
        with pytest.raises(LockedError):
            world.run()
        assert planned(world.dry()) == [("create", "planned")]
    assert planned(world.run()) == [("create", "done")]


def test_state_belongs_to_one_crm(make: Make) -> None:
    world = make()
    world.run()
    world.sql("CREATE TABLE bookings AS SELECT * FROM appointments")
    job = world.job().read_text().replace('table = "appointments"', 'table = "bookings"')
    path = world.folder / "other.toml"
    path.write_text(job)
    other = assemble(load(path, world.environ), world.environ, clock=lambda: world.now, dry_run=False)
    with other as setup, pytest.raises(StateError, match="state rebind"):
        run(setup, Options())


def test_only_treats_all_other_calendars_as_unobserved(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.write(BOB, event("b"))
    result = world.run(only=frozenset({BOB}))
    assert world.rows("agent_email") == [(BOB,)]
    assert (result.exit_code, result.counts["unobserved"]) == (0, 0)
    assert planned(world.run()) == [("create", "done")]


def test_full_ignores_cursors(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    assert (world.run().calendars[0].mode, world.run(full=True).calendars[0].mode) == ("incremental", "full")


def test_a_new_day_reads_calendars_whole_and_finds_what_entered_the_window(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", NOW + timedelta(days=60)))
    assert world.run().deltas == ()
    world.now += timedelta(days=2)
    assert planned(world.run()) == [("create", "done")]


def test_one_unreadable_event_is_named_and_the_rest_goes_on(make: Make) -> None:
    world = make()
    bad = "BEGIN:VEVENT\r\nUID:bad\r\nDTSTART:tomorrow\r\nSUMMARY:x\r\nEND:VEVENT\r\n"
    world.file(ANN).write_bytes(calendar(event("a"), bad).encode())
    result = world.run()
    assert planned(result) == [("create", "done")]
    assert kinds(result) == ["missing_in_crm", "quarantined"]
    assert (result.exit_code, result.counts["quarantined"]) == (0, 1)


def test_an_event_that_we_stumble_over_ourselves_stops_neither_its_calendar_nor_the_run(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    clients = normalise.clients

    def stumble(one: Event, terms: normalise.Terms) -> tuple[str, ...]:
        if one.id == "b":
            raise OverflowError
        return clients(one, terms)

    monkeypatch.setattr(normalise, "clients", stumble)
    world.write(ANN, event("a", NOW + timedelta(days=5)), event("b", NOW + timedelta(days=6)))
    result = world.run()
    assert (planned(result), kinds(result)) == ([("update", "done")], ["quarantined", "reschedule_not_propagated"])
    assert world.rows("status") == [("scheduled",), ("scheduled",)]


def test_links_of_what_left_the_window_are_forgotten_quietly(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    assert world.linked() == ["1"]
    world.now += timedelta(days=30)
    world.run()
    assert (world.linked(), world.run().findings) == ([], ())


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX")
def test_files_that_hold_data_are_readable_by_their_owner_only(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.glob("state.db*")}
    assert set(modes.values()) == {0o600}, modes


# ---- deadline -------------------------------------------------------------------------------------------------------


def test_a_run_that_reaches_its_deadline_ends_cleanly_and_starts_there_next_time(make: Make) -> None:
    world = make(agents=(ANN, BOB), section='deadline = "10m"')
    world.write(ANN, event("a"))
    world.write(BOB, event("b"))
    world.ticks = timedelta(minutes=6)
    late = world.run()
    assert [seen.observed for seen in late.calendars] == [True, False]
    assert (late.exit_code, late.status, planned(late)) == (5, "partial", [("create", "deferred")])
    world.ticks = timedelta()
    result = world.run()
    assert (planned(result), result.exit_code) == ([("create", "done"), ("create", "done")], 0)


def test_a_calendar_that_was_not_reached_counts_while_its_last_read_is_fresh(make: Make) -> None:
    world = make(agents=(ANN, BOB), section='deadline = "10m"\nfreshness = "24h"')
    world.write(ANN, event("a"))
    world.write(BOB, event("b"))
    world.run()
    world.ticks = timedelta(minutes=11)
    result = world.run()
    assert (result.counts["unobserved"], result.counts["in_sync"], result.exit_code) == (0, 2, 0)


# ---- what a run must not believe ------------------------------------------------------------------------------------


def test_a_write_that_the_crm_kept_an_hour_off_is_a_failure_and_nothing_is_agreed(make: Make) -> None:
    world = make()
    world.sql(
        "CREATE TRIGGER off AFTER INSERT ON appointments BEGIN UPDATE appointments "
        "SET starts_at = datetime(starts_at, '+1 hour') WHERE id = new.id; END"
    )
    world.write(ANN, event("a"))
    result = world.run()
    assert (planned(result), result.exit_code, result.status) == ([("create", "failed")], 5, "partial")
    assert "kept another start" in result.deltas[0].why
    assert (world.linked(), [row["status"] for row in world.journal()]) == ([], ["failed"])


class _Refusing(_Around):
    def create(self, key: str, fields: Fields) -> Written:
        del key, fields
        return Written(Outcome.FAILED, why="no")


def test_a_crm_that_fails_five_writes_in_a_row_is_left_alone_and_the_rest_is_deferred(make: Make) -> None:
    world = make()
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(7)))
    result = _run_with(world, _Refusing)
    assert planned(result) == [("create", "deferred")] * 2 + [("create", "failed")] * 5
    assert (result.exit_code, result.counts["deferred"]) == (5, 2)
    assert [row["status"] for row in world.journal()] == ["failed"] * 5 + ["deferred"] * 2


def test_a_run_whose_counts_do_not_add_up_is_an_internal_error(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    world.write(ANN, event("a"))
    tally = Judgement.tally
    monkeypatch.setattr(Judgement, "tally", lambda found, one, outlook: [tally(found, one, outlook) for _ in range(2)])
    with pytest.raises(AssertionError, match="do not add up"):
        world.dry()
