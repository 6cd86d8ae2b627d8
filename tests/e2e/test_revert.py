"""What a run wrote is taken back where it still is as that run left it, and stays so until either side changes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import update

from reconciler import inverse
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.crm_side import CrmHand
from reconciler.errors import UsageError
from reconciler.hand import Came
from reconciler.model import Outcome
from reconciler.result import Result
from reconciler.reverting import revert
from reconciler.run import Options
from reconciler.store import journal, ledger
from reconciler.store.schema import journal as rows_of_journal
from tests.e2e.world import CLIENT, NOW, World, event, kinds, planned

ANN = "ann@acme.example"
Make = Callable[..., World]
Say = Callable[..., tuple[int, str, str]]


def undo(world: World, run: Result | str, *, dry_run: bool = False) -> Result:
    with world.setup(dry_run=dry_run) as setup:
        named = run if isinstance(run, str) else run.run
        return revert(replace(setup, clock=world.clock), Options(), named)


def test_a_created_record_is_cancelled_and_not_made_or_reopened_again(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run = world.run()
    taken = undo(world, run)
    assert (planned(taken), taken.status, taken.exit_code) == ([("cancel", "done")], "applied", 0)
    assert world.rows("status") == [("cancelled",)]
    for _ in range(2):
        result = world.run()
        assert (result.deltas, result.counts["held"]) == ((), 1)
        assert [(one.remedy, one.why) for one in result.findings] == [
            ("hold", f"Reverted by run {taken.run}; held until either side changes.")
        ]
    assert world.rows("status") == [("cancelled",)]


def test_a_moved_record_is_moved_back_and_the_event_does_not_move_it_again(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", title="Old"))
    world.run()
    before = world.rows("starts_at, ends_at, status")
    world.write(ANN, event("a", NOW + timedelta(days=5), title="New"))
    run = world.run()
    assert planned(run) == [("update", "done")]
    assert planned(undo(world, run)) == [("update", "done")]
    assert world.rows("starts_at, ends_at, status") == before
    result = world.run()
    assert (result.deltas, result.counts["held"], kinds(result)) == ((), 1, ["reschedule_not_propagated"])
    assert world.run().deltas == ()
    assert world.rows("starts_at, ends_at, status") == before


def test_a_cancelled_record_is_opened_again_and_stays_open(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", extra="STATUS:CANCELLED\r\n"))
    run = world.run()
    assert planned(undo(world, run)) == [("update", "done")]
    assert world.rows("status") == [("scheduled",)]
    assert [world.run().deltas for _ in range(2)] == [(), ()]
    assert world.rows("status") == [("scheduled",)]


def test_a_record_we_made_is_deleted_where_the_job_removes_by_deleting_and_not_made_again(make: Make) -> None:
    world = make(
        allow=("create", "update", "delete"), policy='remove = "delete"', limits='delete = "5"\nagent_cancel = "5"'
    )
    world.write(ANN, event("a"))
    run = world.run()
    assert planned(undo(world, run)) == [("delete", "done")]
    assert world.rows() == []
    assert [world.run().deltas for _ in range(2)] == [(), ()]
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    assert planned(world.run()) == [("create", "done")], "the event moved: it is an appointment like any other"


# ---- until either side changes --------------------------------------------------------------------------------------


def test_what_was_taken_back_goes_on_when_the_calendar_changes(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)), event("b", NOW + timedelta(days=6)))
    undo(world, world.run())
    world.write(ANN, event("a", NOW + timedelta(days=7)), event("b", NOW + timedelta(days=6)))
    result = world.run()
    assert (planned(result), result.counts["held"]) == ([("update", "done")], 1)
    assert world.rows("starts_at") == [("2026-11-29 17:00:00",), ("2026-11-25 17:00:00",)]
    assert world.run().deltas == ()


def test_a_hold_that_a_side_has_left_does_not_come_back_with_it(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    away = event("a", NOW + timedelta(days=5))
    world.write(ANN, away)
    undo(world, world.run())
    world.write(ANN, event("a"))
    assert world.run().status == "in_sync"
    world.write(ANN, away)
    assert planned(world.run()) == [("update", "done")]


@pytest.mark.parametrize("removes", ["cancel", "delete"])
def test_what_was_taken_back_stays_so_though_one_read_did_not_show_its_event(make: Make, removes: str) -> None:
    world = make(allow=("create", "update", removes), policy=f'remove = "{removes}"', limits=f'{removes} = "9"')
    b, moved, made = event("b", NOW + timedelta(days=3)), event("a", NOW + timedelta(days=5)), event("c")
    world.write(ANN, event("a"), b)
    world.run()
    world.write(ANN, moved, b, made)
    undo(world, world.run())
    before = world.rows()
    world.write(ANN, b)
    assert world.run().deltas == ()
    world.write(ANN, moved, b, made)
    for _ in range(2):
        result = world.run()
        assert (result.deltas, result.counts["held"]) == ((), 2)
    assert world.rows() == before


def test_what_was_taken_back_is_judged_again_when_a_person_edits_the_record(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    undo(world, world.run())
    world.sql("UPDATE appointments SET starts_at = '2026-11-26 10:00:00', ends_at = '2026-11-26 11:00:00', version = 9")
    world.now += timedelta(hours=1)
    result = world.run()
    assert (result.deltas, kinds(result), result.counts["held"]) == ((), ["conflict"], 0)


def test_a_record_that_was_made_and_taken_back_is_made_again_when_its_event_moves(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    undo(world, world.run())
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("status, starts_at") == [("scheduled", "2026-11-27 17:00:00")]
    assert world.run().deltas == ()


def test_taking_back_what_was_taken_back_ends_its_hold(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run = world.run()
    taken = undo(world, run)
    assert planned(undo(world, taken)) == [("update", "done")]
    assert world.rows("status") == [("scheduled",)]
    result = world.run()
    assert (result.deltas, result.findings, result.status) == ((), (), "in_sync")
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    assert planned(world.run()) == [("update", "done")]


# ---- what is left as it is ------------------------------------------------------------------------------------------


def test_what_a_person_edited_since_is_kept_and_listed_with_the_reason(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    run = world.run()
    world.sql("UPDATE appointments SET title = 'Ours', version = version + 1 WHERE source_key = 'a'")
    told: list[str] = []
    with world.setup() as setup:
        taken = revert(setup, Options(), run.run, told.extend)
    assert planned(taken) == [("cancel", "conflict"), ("cancel", "done")]
    assert told == ["CRM record 1: What run " + run.run + " wrote is not taken back: it was changed since."]
    assert (taken.exit_code, taken.status, kinds(taken)) == (5, "partial", ["conflict"])
    assert world.rows("title, status") == [("Ours", "scheduled"), ("Showing", "cancelled")]
    assert (taken.records.total, taken.counts["cancel"], taken.counts["conflict"]) == (2, 1, 1)


def test_what_a_later_run_wrote_again_is_taken_back_in_the_order_of_the_runs(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    first = world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    second = world.run()
    stuck = undo(world, first)
    assert [delta.why for delta in stuck.deltas] == [f"run {second.run} wrote it again: take that back first"]
    assert planned(undo(world, second)) == [("update", "done")]
    assert planned(undo(world, first)) == [("cancel", "done")]
    assert [world.run().deltas for _ in range(2)] == [(), ()]
    assert world.rows("status") == [("cancelled",)]


def test_what_a_person_edited_between_two_runs_is_kept_when_both_are_taken_back(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    first = world.run()
    world.sql("UPDATE appointments SET title = 'Ours', version = version + 1")
    world.now += timedelta(hours=1)
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    second = world.run()
    assert planned(undo(world, second)) == [("update", "done")]
    assert planned(undo(world, first)) == [("cancel", "conflict")]
    assert world.rows("title, status") == [("Ours", "scheduled")]


def test_what_was_written_again_is_not_deleted_with_what_people_may_have_added_in_between(make: Make) -> None:
    world = make(allow=("create", "update", "delete"), policy='remove = "delete"', limits='delete = "9"')
    world.write(ANN, event("a"))
    first = world.run()
    world.sql("UPDATE appointments SET notes = 'Bring the keys', version = version + 1")
    world.now += timedelta(hours=1)
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    assert planned(undo(world, world.run())) == [("update", "done")]
    assert [delta.why for delta in undo(world, first).deltas] == [inverse.BETWEEN]
    assert world.rows("notes") == [("Bring the keys",)]


def test_a_link_is_no_later_write_that_could_be_taken_back_first(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    run = world.run()
    world.sql("UPDATE appointments SET starts_at = '2026-11-24 19:00:00', ends_at = '2026-11-24 20:00:00', version = 9")
    world.now += timedelta(hours=1)
    world.run()
    assert say(world, "resolve", "a", "--take", "crm")[0] == 0
    assert [delta.why for delta in undo(world, run).deltas] == [inverse.CHANGED]


def test_policy_holds_for_taking_back_and_what_has_ended_is_left(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(hours=1)))
    run = world.run()
    world.allow = ("create", "update")
    held = undo(world, run)
    assert planned(held) == [("cancel", "held"), ("cancel", "held")]
    assert (held.status, held.exit_code, held.counts["held"]) == ("drift", 0, 2)
    world.allow = ("create", "cancel")
    world.now += timedelta(hours=3)
    assert planned(undo(world, run)) == [("cancel", "done"), ("cancel", "held")]
    assert sorted(world.rows("source_key, status")) == [("a", "cancelled"), ("b", "scheduled")]


def test_strangers_and_what_was_there_already_are_not_touched(make: Make) -> None:
    world = make()
    world.insert("zed-1", agent_email="zed@other.example")
    world.insert("a", title="By the webhook")
    world.write(ANN, event("a", title="By the webhook"))
    run = world.run()
    before = world.rows()
    taken = undo(world, run)
    assert (taken.deltas, taken.status, world.rows()) == ((), "in_sync", before)


def test_a_record_that_was_there_when_we_came_to_make_it_is_not_taken_back(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    real = CrmHand.send

    def beaten(*given: Any) -> Came:
        world.insert("a")  # the webhook is faster
        return real(*given)

    monkeypatch.setattr(CrmHand, "send", beaten)
    run = world.run()
    assert planned(run) == [("create", "already")]
    monkeypatch.undo()
    assert undo(world, run).deltas == ()
    assert world.rows("status") == [("scheduled",)]


# ---- a run like any other -------------------------------------------------------------------------------------------


def test_a_dry_revert_changes_nothing_and_shares_its_digest_with_the_one_after_it(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    run = world.run()
    world.sql("UPDATE appointments SET title = 'Ours', version = version + 1 WHERE source_key = 'a'")
    rows, journal = world.rows(), world.journal()
    dry = undo(world, run, dry_run=True)
    assert planned(dry) == [("cancel", "conflict"), ("cancel", "planned")]
    assert (world.rows(), world.journal(), dry.dry_run) == (rows, journal, True)
    assert undo(world, run).digest == dry.digest


def test_a_revert_over_its_limits_is_refused_whole_and_goes_through_once_a_person_consents(make: Make) -> None:
    world = make(limits='create = "9"\ncancel = "2"')
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(4)))
    run = world.run()
    refused = undo(world, run)
    assert (refused.status, refused.exit_code) == ("refused", 4)
    assert [(one.limit, one.found, one.allowed) for one in refused.violations] == [("cancel", 4, 2)]
    assert {row[0] for row in world.rows("status")} == {"scheduled"}
    world.run()  # has nothing to do with it
    with world.setup() as setup:
        done = revert(setup, Options(approve=refused.digest[:12]), run.run)
    assert (done.status, {row[0] for row in world.rows("status")}) == ("applied", {"cancelled"})


def test_a_run_that_wrote_nothing_has_nothing_to_take_back(make: Make) -> None:
    world = make()
    taken = undo(world, world.run())
    assert (taken.deltas, taken.findings, taken.status, taken.exit_code) == ((), (), "in_sync", 0)


def test_taking_a_run_back_twice_does_nothing_the_second_time(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    run = world.run()
    undo(world, run)
    rows = world.rows()
    again = undo(world, run)
    assert (again.deltas, again.findings, again.counts["in_sync"], world.rows()) == ((), (), 2, rows)


def test_what_other_runs_found_stays_open_while_a_run_is_taken_back(make: Make) -> None:
    world = make()
    world.insert(None, NOW + timedelta(days=4), contact_email="walk-in@mail.example")
    world.write(ANN, event("a"))
    run = world.run()
    assert "missing_in_calendar" in kinds(run)
    undo(world, run)
    [finding] = [one for one in world.run().findings if one.kind == "missing_in_calendar"]
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert ledger.sightings(connection, setup.state, [finding.key])[finding.key][1] == 2


@pytest.mark.parametrize("named", ["01ZZZZZZZZ", "01", "", "%%%%%%%%%%"])
def test_a_run_that_nobody_knows_is_a_usage_error_that_lists_the_last_ones(make: Make, named: str) -> None:
    world = make()
    run = world.run()
    with pytest.raises(UsageError, match=f"names no run of this job.*{run.run}"):
        undo(world, named)
    assert undo(world, run.run[:12].lower()).status == "in_sync"


def test_a_run_may_be_named_by_its_first_letters_as_long_as_they_fit_only_one(make: Make) -> None:
    world = make()
    first = world.run()
    world.run()
    with pytest.raises(UsageError, match="fits several runs"):
        undo(world, first.run[:10])


def test_a_crm_that_can_not_be_read_plans_nothing(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run = world.run()
    (world.folder / "crm.db").rename(world.folder / "away.db")
    taken = undo(world, run)
    assert (taken.exit_code, taken.deltas, kinds(taken)) == (5, (), ["coverage_gap"])


# ---- killed at any instant ------------------------------------------------------------------------------------------


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing after it runs."""


@pytest.mark.parametrize("step", ["before", "after", "settled"])
@pytest.mark.parametrize("removes", ["cancel", "delete"])
def test_a_revert_killed_around_its_write_is_not_undone_by_the_next_run(
    make: Make, monkeypatch: pytest.MonkeyPatch, step: str, removes: str
) -> None:
    world = make(
        allow=("create", "update", removes),
        policy=f'remove = "{removes}"',
        limits=f'{removes} = "9"',
    )
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)), event("b", NOW + timedelta(days=3)), event("c"))
    run = world.run()
    assert planned(run) == [("create", "done"), ("update", "done")]
    kill_around_writes(monkeypatch, step)
    with pytest.raises(Killed):
        undo(world, run)
    monkeypatch.undo()
    assert world.run().deltas == ()
    if step == "before":
        assert world.rows("status")[2] == ("scheduled",)
    taken = undo(world, run)
    assert {delta.outcome for delta in taken.deltas} <= {"done"}
    for _ in range(2):
        result = world.run()
        assert (result.deltas, result.counts["held"]) == ((), 2)
    assert world.rows("starts_at")[0] == ("2026-11-24 17:00:00",)
    assert [row for row in world.rows("source_key, status") if row[0] == "c"] in ([], [("c", "cancelled")])


def kill_around_writes(monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """Let the process die before the CRM is written to, right after, or right after that is settled."""
    where, name = (journal, "settle") if step == "settled" else (CrmHand, "send")
    real = getattr(where, name)

    def dying(*arguments: Any, **others: Any) -> Any:
        if step == "before":
            raise Killed
        real(*arguments, **others)
        raise Killed

    monkeypatch.setattr(where, name, dying)


def test_a_revert_whose_answer_was_lost_is_looked_up_and_not_undone(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    run = world.run()
    real = CrmHand.send
    lost = Came(outcome=Outcome.UNKNOWN, why="no answer")
    monkeypatch.setattr(CrmHand, "send", lambda *given: (real(*given), lost)[1])
    assert planned(undo(world, run)) == [("update", "unknown")]
    monkeypatch.undo()
    for _ in range(2):
        result = world.run()
        assert (result.deltas, result.counts["held"]) == ((), 1)
    assert world.rows("starts_at") == [("2026-11-24 17:00:00",)]


def test_what_a_revert_put_off_is_taken_back_by_the_next_one_and_that_is_said(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    run = world.run()
    monkeypatch.setattr(CrmHand, "send", lambda *_: Came(outcome=Outcome.DEFERRED, why="out of budget"))
    taken = undo(world, run)
    assert (planned(taken), taken.exit_code) == ([("cancel", "deferred")], 5)
    assert (
        taken.notes[-1] == f"What was put off waits for `reconcile revert {run.run}` again; no other run takes it back."
    )
    monkeypatch.undo()
    assert (world.run().status, world.rows("status")) == ("in_sync", [("scheduled",)])
    assert planned(undo(world, run)) == [("cancel", "done")]


def test_a_person_may_take_a_side_of_what_was_taken_back_and_that_ends_the_hold(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    undo(world, world.run())
    [finding] = world.run().findings
    assert say(world, "resolve", finding.key, "--take", "calendar")[0] == 0
    assert world.rows("starts_at") == [("2026-11-27 17:00:00",)]
    assert world.run().status == "in_sync"


def test_what_an_earlier_release_wrote_is_changed_back_by_nobody_who_does_not_know_what_was_there(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    made = world.run()
    world.write(ANN, event("a", NOW + timedelta(days=5)))
    run = world.run()
    with world.setup() as setup, setup.state.begin() as connection:
        connection.execute(update(rows_of_journal).values(version=None, calendar=None))
    assert [delta.why for delta in undo(world, run).deltas] == [inverse.INEXACT]
    assert [delta.outcome for delta in undo(world, made).deltas] == ["conflict"]


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command for a world; return its exit code, and what it wrote to both streams."""

    def reconcile(world: World, *words: str) -> tuple[int, str, str]:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=world.clock)
        capsys.readouterr()
        code = entry.call([*words, "--job", str(world.job())], outside)
        return code, *capsys.readouterr()

    return reconcile


def edited(make: Make) -> tuple[World, str]:
    """Return a world in which one of two records that a run made was edited since, and the run's id."""
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    run = world.run().run
    world.sql("UPDATE appointments SET title = 'Jane''s house', version = version + 1 WHERE source_key = 'a'")
    return world, run


def test_what_is_not_taken_back_is_said_before_the_result(make: Make, say: Say) -> None:
    world, run = edited(make)
    code, out, err = say(world, "revert", run, "--dry-run")
    assert (code, world.rows("status")) == (5, [("scheduled",), ("scheduled",)])
    assert "1 write of that run can't be taken back and stays as it is" in err
    assert "CRM record 1: What run" in err
    assert f"reconcile revert {run} --job" in out
    assert "1 can be taken back, 1 can't be" in out
    code, out, err = say(world, "revert", run)
    assert (code, "it was changed since" in out, "it was changed since" in err) == (5, True, True)
    assert world.rows("status") == [("scheduled",), ("cancelled",)]


def test_scripts_get_one_object_with_every_reason_and_nothing_of_a_client_when_masked(make: Make, say: Say) -> None:
    world, run = edited(make)
    code, out, err = say(world, "revert", run, "--format", "json", "--mask", "--quiet")
    said = json.loads(out)
    assert (code, said["status"]) == (5, "partial")
    assert [json.loads(line)["event"] for line in err.splitlines()] == ["run"], "what ends badly is logged"
    assert [(one["action"], one["outcome"], one["why"]) for one in said["deltas"] if one["why"]] == [
        ("cancel", "conflict", "it was changed since")
    ]
    assert [one["action"] for one in said["findings"]] == ["human"]
    assert said["balance"]["records"]["total"] == 2
    for word in (CLIENT, "Jane"):
        assert word not in out + err


def test_explain_tells_that_something_was_taken_back(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    taken = undo(world, world.run())
    code, out, _ = say(world, "explain", "a")
    assert (code, f"Reverted by run {taken.run}; held until either side changes." in out) == (0, True)


def test_the_command_says_which_runs_there_are_when_it_knows_none_of_that_name(make: Make, say: Say) -> None:
    world = make()
    run = world.run().run
    code, out, err = say(world, "revert", "nonsense")
    assert (code, out) == (2, "")
    assert run in err


def test_a_refused_revert_says_how_it_is_applied_once_a_person_consents(make: Make, say: Say) -> None:
    world = make(limits='cancel = "0"')
    world.write(ANN, event("a"))
    run = world.run().run
    code, out, _ = say(world, "revert", run)
    assert (code, f"reconcile revert {run}" in out) == (4, True)
    digest = next(word for line in out.splitlines() if "reconcile approve" in line for word in line.split()[2:3])
    assert say(world, "approve", digest, "--by", "Ann", "--why", "a wrong import")[0] == 0
    assert world.run().deltas == (), "an ordinary run has no use for that consent"
    code, _, _ = say(world, "revert", run)
    assert (code, world.rows("status")) == (0, [("cancelled",)])
