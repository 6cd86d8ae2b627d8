"""People decide: sides are resolved, findings accepted and natural matches linked, on SQLite and PostgreSQL alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.hand import Came
from reconciler.link_side import LinkHand
from reconciler.model import Delta, Link, Tier
from reconciler.store import ledger
from reconciler.store.schema import holds
from tests.e2e.google_world import SOON, GoogleWorld, later, making, times
from tests.e2e.world import NOW, World, event, kinds, planned

ANN, BOB = "ann@acme.example", "bob@acme.example"
LATER = NOW + timedelta(days=4)
Make = Callable[..., World]
Say = Callable[..., tuple[int, dict[str, Any]]]
KNOWN = ("--by", "Ann", "--why", "as agreed on the phone", "--until", "2026-12-31")


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command for a world; return its exit code, and its answer or what it said instead."""

    def reconcile(world: World, *words: str) -> tuple[int, dict[str, Any]]:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
        capsys.readouterr()
        job = [str(world.job())] if words == ("status",) else ["--job", str(world.job())]
        code = entry.call([*words, "--format", "json", *job], outside)
        out, err = capsys.readouterr()
        return code, json.loads(out) if out else {"said": err}

    return reconcile


def drifted(make: Make, **settings: Any) -> World:
    """Return a world in which both sides agreed, and then the office moved the record and edited its title."""
    world = make(**settings)
    world.write(ANN, event("a"), event("b", LATER))
    world.run()
    world.now += timedelta(hours=1)
    world.sql(
        "UPDATE appointments SET starts_at = '2026-11-24 19:00:00', ends_at = '2026-11-24 20:00:00', version = 2, "
        "updated_at = '2026-11-22 17:30:00' WHERE source_key = 'a'"
    )
    return world


# ---- resolve --------------------------------------------------------------------------------------------------------


def test_the_calendars_word_is_written_to_the_crm(make: Make, say: Say) -> None:
    world = drifted(make)
    [finding] = world.run().findings
    code, said = say(world, "resolve", finding.key, "--take", "calendar")
    assert code == 0
    assert [(one["action"], one["outcome"]) for one in said["deltas"]] == [("update", "done")]
    assert world.rows("starts_at")[0] == ("2026-11-24 17:00:00",)
    again = world.run()
    assert (again.deltas, again.findings, again.status) == ((), (), "in_sync")


def test_the_crms_word_stands_until_either_side_changes(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    before = world.rows()
    code, said = say(world, "resolve", "a", "--take", "crm")
    assert code == 0
    assert [(one["action"], one["outcome"]) for one in said["deltas"]] == [("link", "done")]
    assert world.rows() == before
    again = world.run()
    assert (again.deltas, again.findings, again.status) == ((), (), "in_sync")
    world.write(ANN, event("a", NOW + timedelta(days=3), modified="20261122T175000Z"), event("b", LATER))
    world.now += timedelta(hours=1)
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("starts_at")[0] == ("2026-11-25 17:00:00",)


def test_what_a_command_is_not_about_waits(make: Make, say: Say) -> None:
    world = drifted(make)
    world.write(ANN, event("a"), event("b", LATER), event("c", LATER + timedelta(days=1)))
    code, said = say(world, "resolve", "a", "--take", "calendar")
    outcomes = {one["key"]: (one["action"], one["outcome"], one["why"]) for one in said["deltas"]}
    assert code == 0
    assert outcomes == {"a": ("update", "done", None), "c": ("create", "held", "not part of this command")}
    assert planned(world.run()) == [("create", "done")]


def test_a_dry_run_of_a_decision_changes_nothing_and_shares_its_digest(make: Make, say: Say) -> None:
    world = drifted(make)
    before, written = world.rows(), len(world.journal())
    say(world, "resolve", "a", "--take", "calendar", "--dry-run")
    code, dry = say(world, "resolve", "a", "--take", "crm", "--dry-run")
    assert (code, [one["outcome"] for one in dry["deltas"]]) == (0, ["planned"])
    assert (world.rows(), len(world.journal())) == (before, written)
    _, real = say(world, "resolve", "a", "--take", "crm")
    assert real["digest"] == dry["digest"]


def test_a_decision_is_held_against_the_limits_and_consented_to_like_any_plan(make: Make, say: Say) -> None:
    world = drifted(make, limits='update = "0"')
    assert say(world, "resolve", "a", "--take", "calendar")[0] == 4
    code, refused = say(world, "resolve", "a", "--take", "crm")
    assert (code, refused["status"], [one["limit"] for one in refused["violations"]]) == (4, "refused", ["update"])
    assert say(world, "approve", refused["digest"], "--by", "Ann", "--why", "the office is right")[0] == 0
    world.run()  # a run in between is about something else, and leaves the consent alone
    code, said = say(world, "resolve", "a", "--take", "crm")
    assert (code, [(one["action"], one["outcome"]) for one in said["deltas"]]) == (0, [("link", "done")])
    assert world.run().status == "in_sync"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing", "--take", "crm"), "fits nothing that is found now"),
        (("--kind", "conflict", "--take", "crm"), "fits nothing that is found now"),
        (("--take", "crm"), "Say what is meant"),
        (("a", "--take", "both"), "is no side"),
        (("--kind", "odd", "--take", "crm"), "is no kind of finding"),
        (("--agent", "eve@acme.example", "--take", "crm"), "names no agent of this job"),
    ],
)
def test_a_decision_about_nothing_is_a_mistake_and_does_nothing(
    make: Make, say: Say, words: tuple[str, ...], says: str
) -> None:
    world = drifted(make)
    before = world.rows()
    code, said = say(world, "resolve", *words)
    assert code == 2
    assert says in said["said"]
    assert world.rows() == before


def test_where_the_crm_can_not_be_believed_nothing_is_decided_and_that_is_said(make: Make, say: Say) -> None:
    world = drifted(make)
    world.sql("ALTER TABLE appointments RENAME TO elsewhere")
    code, said = say(world, "resolve", "a", "--take", "crm")
    assert (code, said["status"], [one["kind"] for one in said["findings"]]) == (4, "refused", ["coverage_gap"])


@pytest.mark.parametrize(("side", "start"), [("calendar", "2026-11-24 18:00:00"), ("crm", "2026-11-24 19:00:00")])
def test_a_conflict_is_settled_either_way(make: Make, say: Say, side: str, start: str) -> None:
    world = drifted(make)
    moved = event("a", NOW + timedelta(days=2, hours=1), modified="20261122T171000Z")
    world.write(ANN, moved, event("b", LATER))
    assert kinds(world.run()) == ["conflict"]
    assert say(world, "resolve", "--kind", "conflict", "--agent", ANN, "--take", side)[0] == 0
    assert world.rows("starts_at")[0] == (start,)
    assert world.run().findings == ()


def test_a_false_cancel_is_reopened_by_the_calendars_word_and_left_by_the_crms(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET status = 'cancelled', version = 2")
    assert kinds(world.run()) == ["false_cancel"]
    code, said = say(world, "resolve", "a", "--take", "crm")
    assert (code, said["deltas"]) == (0, [])
    assert world.rows("status") == [("cancelled",)]
    assert say(world, "resolve", "a", "--take", "calendar")[0] == 0
    assert world.rows("status") == [("scheduled",)]
    assert world.run().status == "in_sync"


def test_a_record_that_was_removed_is_made_again_by_the_calendars_word(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.sql("DELETE FROM appointments")
    assert kinds(world.run()) == ["removed_by_hand"]
    assert say(world, "resolve", "a", "--take", "calendar")[0] == 0
    assert world.rows("source_key, status") == [("a", "scheduled")]
    assert world.run().status == "in_sync"


def test_what_was_taken_out_of_the_calendar_and_edited_is_cancelled_by_the_calendars_word(make: Make, say: Say) -> None:
    world = drifted(make)
    world.write(ANN, event("a", extra="STATUS:CANCELLED\r\n"), event("b", LATER))
    assert kinds(world.run()) == ["conflict"]
    code, said = say(world, "resolve", "a", "--take", "calendar")
    assert (code, [(one["action"], one["outcome"]) for one in said["deltas"]]) == (0, [("cancel", "done")])
    assert world.rows("status") == [("cancelled",), ("scheduled",)]
    assert world.run().deltas == ()


def test_nobodys_word_stands_in_for_evidence(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))
    world.run()
    world.write(ANN, event("b", LATER))
    assert kinds(world.run()) == ["orphan_in_crm"]
    code, said = say(world, "resolve", "--kind", "orphan_in_crm", "--take", "calendar")
    assert (code, said["deltas"]) == (0, [])
    assert world.rows("status") == [("scheduled",)] * 2


def test_an_outcome_that_the_crm_recorded_is_never_overwritten(make: Make, say: Say) -> None:
    world = drifted(make)
    world.sql("UPDATE appointments SET status = 'completed' WHERE source_key = 'a'")
    code, _ = say(world, "resolve", "a", "--take", "calendar")
    assert code == 0
    assert world.rows("starts_at, status")[0] == ("2026-11-24 19:00:00", "completed")
    assert say(world, "resolve", "a", "--take", "crm")[0] == 0
    assert world.run().findings == ()


def test_a_shift_of_a_whole_diary_is_confirmed_by_its_one_finding(make: Make, say: Say) -> None:
    world = make()
    starts = [NOW + timedelta(days=number) for number in range(2, 6)]
    world.write(ANN, *(event(f"e{number}", start) for number, start in enumerate(starts)))
    world.run()
    world.now += timedelta(hours=1)
    world.sql(
        "UPDATE appointments SET starts_at = datetime(starts_at, '+5 hours'), ends_at = datetime(ends_at, "
        "'+5 hours'), version = version + 1, updated_at = '2026-11-22 17:30:00'"
    )
    [shift] = world.run().findings
    assert shift.kind == "tz_shift"
    code, said = say(world, "resolve", shift.key, "--take", "calendar")
    assert (code, len(said["deltas"])) == (0, 4)
    assert {one["outcome"] for one in said["deltas"]} == {"done"}
    assert world.run().status == "in_sync"


def test_a_natural_match_is_settled_by_either_word_if_it_is_one_to_one(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))
    world.insert("zap-1", NOW + timedelta(days=2, minutes=3))
    world.insert("zap-2", LATER + timedelta(minutes=3))
    assert kinds(world.run()) == ["ambiguous", "ambiguous"]
    assert say(world, "resolve", "1", "--take", "calendar")[0] == 0
    assert say(world, "resolve", "b", "--take", "crm")[0] == 0
    assert world.rows("source_key, starts_at") == [("zap-1", "2026-11-24 17:00:00"), ("zap-2", "2026-11-26 17:03:00")]
    again = world.run()
    assert (again.deltas, again.findings) == ((), ())
    assert world.linked() == ["1", "2"]


def test_an_event_that_may_be_two_records_is_never_settled_by_a_side(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    for number in (1, 2):
        world.insert(f"zap-{number}", NOW + timedelta(days=2, minutes=number))
    before = world.rows()
    code, said = say(world, "resolve", "a", "--take", "calendar")
    assert (code, said["deltas"]) == (0, [])
    assert (world.rows(), world.linked()) == (before, [])


def test_two_events_that_may_be_one_record_need_to_be_told_apart(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=2, minutes=2)))
    world.insert("zap-1", NOW + timedelta(days=2))
    assert say(world, "resolve", "1", "--take", "crm")[1]["deltas"] == []
    _, said = say(world, "resolve", "a", "--take", "crm")
    assert [(one["key"], one["outcome"]) for one in said["deltas"] if one["action"] == "link"] == [("a", "done")]
    assert world.linked() == ["1"]


# ---- accept ---------------------------------------------------------------------------------------------------------


def test_what_is_accepted_is_shown_and_asks_nothing_of_anybody(make: Make, say: Say) -> None:
    world = drifted(make)
    [finding] = world.run().findings
    code, said = say(world, "accept", finding.key, *KNOWN)
    assert (code, [one["key"] for one in said["accepted"]]) == (0, [finding.key])
    for _ in range(2):
        result = world.run()
        [known] = result.findings
        assert (known.key, known.remedy) == (finding.key, "none")
        assert known.why.endswith("Accepted by Ann until 2026-12-31: as agreed on the phone")
        assert (result.status, result.exit_code, result.deltas) == ("in_sync", 0, ())
        assert (result.counts["held"], result.counts["accepted"]) == (1, 1)


def test_an_accepted_difference_is_not_written(make: Make, say: Say) -> None:
    world = make(allow=("update",))
    world.write(ANN, event("a"))
    [finding] = world.run().findings
    assert say(world, "accept", "a", *KNOWN)[0] == 0
    world.allow = ("create",)
    result = world.run()
    assert [(delta.outcome, delta.why) for delta in result.deltas] == [("held", "held: accepted")]
    assert (result.findings[0].key, result.status, world.rows()) == (finding.key, "in_sync", [])


@pytest.mark.parametrize("side", ["calendar", "crm"])
def test_a_changed_side_opens_it_again_and_that_is_said(make: Make, say: Say, side: str) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "--kind", "reschedule_not_propagated", *KNOWN)[0] == 0
    if side == "crm":
        world.sql("UPDATE appointments SET contact_email = 'joe@mail.example', version = 3 WHERE source_key = 'a'")
    else:
        world.write(ANN, event("a", client="joe@mail.example", modified="20261122T171000Z"), event("b", LATER))
    world.now += timedelta(hours=1)
    for _ in range(2):
        said = {finding.kind.value: finding for finding in world.dry().findings}["reschedule_not_propagated"]
        assert said.remedy == "human"
        assert said.why.endswith("It was accepted by Ann until 2026-12-31; it has changed since.")
        world.run()


def test_an_acceptance_ends_with_its_day(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "a", *KNOWN[:-1], "2026-11-23")[0] == 0
    world.now = NOW.replace(day=23, hour=23, minute=59)
    assert world.run().status == "in_sync"
    world.now += timedelta(minutes=1)
    result = world.run()
    assert result.status == "drift"
    assert result.findings[0].why.endswith("It was accepted by Ann until 2026-11-23; that time is over.")


def test_what_was_put_right_is_not_accepted_when_it_comes_back(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "a", *KNOWN)[0] == 0
    move = "UPDATE appointments SET starts_at = ?, ends_at = ?, version = version + 1 WHERE source_key = 'a'"
    world.sql(move, "2026-11-24 17:00:00", "2026-11-24 18:00:00")
    assert world.run().findings == ()
    world.sql(move, "2026-11-24 19:00:00", "2026-11-24 20:00:00")
    for _ in range(2):
        result = world.run()
        assert (result.status, result.findings[0].remedy) == ("drift", "human")
        assert "ccepted" not in result.findings[0].why


def test_what_changed_and_changed_back_is_not_accepted_any_more(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "a", *KNOWN)[0] == 0
    move = "UPDATE appointments SET starts_at = ?, ends_at = ?, version = version + 1 WHERE source_key = 'a'"
    world.sql(move, "2026-11-24 20:00:00", "2026-11-24 21:00:00")
    assert world.run().status == "drift"
    world.sql(move, "2026-11-24 19:00:00", "2026-11-24 20:00:00")
    assert world.run().status == "drift"
    assert say(world, "status")[1]["accepted"] == []


def test_an_accepted_gap_is_no_reason_for_an_exit_code(make: Make, say: Say) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, event("a"))
    world.run()
    world.file(BOB).unlink()
    blind = world.run()
    assert (blind.exit_code, kinds(blind)) == (5, ["coverage_gap"])
    assert say(world, "accept", "--kind", "coverage_gap", "--agent", "Bob@acme.example", *KNOWN)[0] == 0
    known = world.run()
    assert (known.exit_code, known.status, [one.remedy for one in known.findings]) == (0, "in_sync", ["none"])
    assert known.findings[0].severity == "critical"


def test_duplicates_are_accepted_until_one_of_them_changes(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    twin = world.insert("zap-1")
    assert kinds(world.run()) == ["duplicate_in_crm", "missing_in_calendar"]
    assert say(world, "accept", "--agent", ANN, *KNOWN)[0] == 0
    assert [finding.remedy for finding in world.run().findings] == ["none", "none"]
    world.sql("UPDATE appointments SET title = 'Second showing', version = 2 WHERE id = ?", twin)
    remedies = {finding.kind: finding.remedy for finding in world.run().findings}
    assert remedies == {"duplicate_in_crm": "human", "missing_in_calendar": "none"}  # a title is not compared


def test_a_shift_that_is_accepted_is_no_drift(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, *(event(f"e{number}", NOW + timedelta(days=number)) for number in range(2, 6)))
    world.run()
    world.now += timedelta(hours=1)
    world.sql(
        "UPDATE appointments SET starts_at = datetime(starts_at, '+5 hours'), ends_at = datetime(ends_at, '+5 hours'), "
        "version = version + 1, updated_at = '2026-11-22 17:30:00'"
    )
    assert world.run().status == "drift"
    assert say(world, "accept", "--kind", "tz_shift", *KNOWN)[0] == 0
    result = world.run()
    assert (result.status, result.counts["accepted"], result.counts["held"]) == ("in_sync", 4, 4)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("nothing", *KNOWN), "fits no open finding of acme"),
        (KNOWN, "Say what is meant"),
        (("a", *KNOWN[:-1], "2027-02-21"), "is more than 90 days away"),
        (("a", *KNOWN[:-1], "2026-11-21"), "is over"),
        (("a", *KNOWN[:-1], "soon"), "is no day"),
        (("a", "--by", " ", *KNOWN[2:]), "says nothing"),
        (("a", *KNOWN[:2], "--why", "\x07", *KNOWN[4:]), "says nothing"),
    ],
)
def test_what_can_not_be_accepted_is_a_mistake_and_notes_nothing(
    make: Make, say: Say, words: tuple[str, ...], says: str
) -> None:
    world = drifted(make)
    world.run()
    code, said = say(world, "accept", *words)
    assert code == 2
    assert says in said["said"]
    assert world.run().status == "drift"


def test_ninety_days_are_possible(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "a", *KNOWN[:-1], "2027-02-20")[0] == 0


def test_what_is_accepted_can_still_be_resolved(make: Make, say: Say) -> None:
    world = drifted(make)
    world.run()
    assert say(world, "accept", "a", *KNOWN)[0] == 0
    _, said = say(world, "resolve", "a", "--take", "calendar")
    assert [one["outcome"] for one in said["deltas"]] == ["done"]
    assert said["findings"][0]["action"] == "fix"
    assert world.run().findings == ()


def test_status_and_explain_tell_what_is_accepted(make: Make, say: Say, capsys: pytest.CaptureFixture[str]) -> None:
    world = drifted(make)
    [finding] = world.run().findings
    assert say(world, "accept", "a", *KNOWN)[0] == 0
    _, status = say(world, "status")
    assert status["open_findings"] == {}
    [known] = status["accepted"]
    assert (known["key"], known["by"], known["until"]) == (finding.key, "Ann", "2026-12-31")
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    assert entry.call(["status", str(world.job())], outside) == 0
    assert "0 open findings, 1 accepted" in capsys.readouterr().out
    assert entry.call(["explain", finding.key, "--job", str(world.job())], outside) == 0
    assert "Accepted by Ann until 2026-12-31: as agreed on the phone" in capsys.readouterr().out


def test_explain_says_of_sides_that_may_differ_that_they_agree(make: Make, say: Say) -> None:
    world = drifted(make)
    say(world, "resolve", "a", "--take", "crm")
    _, explained = say(world, "explain", "a")
    assert (explained["situation"], explained["findings"]) == ("in_sync", [])


def test_a_later_word_lets_go_of_what_was_taken_back(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", LATER))
    moved = world.run().run
    assert say(world, "revert", moved)[0] == 0
    assert world.run().counts["held"] == 1
    assert say(world, "resolve", "a", "--take", "crm")[0] == 0
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert connection.execute(select(holds)).all() == []
    assert (world.rows("starts_at"), world.run().status) == ([("2026-11-24 17:00:00",)], "in_sync")
    assert say(world, "revert", moved)[0] == 0  # nothing is left of that run to take back
    world.write(ANN, event("a", LATER + timedelta(days=1), modified="20261122T165000Z"))
    world.now += timedelta(hours=1)
    assert planned(world.run()) == [("update", "done")]


# ---- link -----------------------------------------------------------------------------------------------------------


def test_what_a_person_accepted_as_it_is_is_not_linked_with_what_is_suggested(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))
    world.insert("zap-1")
    world.insert("zap-2", LATER)
    world.run()
    assert say(world, "accept", "b", *KNOWN)[0] == 0
    code, said = say(world, "link", "--suggested")
    assert (code, [one["key"] for one in said["deltas"]]) == (0, ["a"])
    assert world.linked() == ["1"]


def test_what_has_not_settled_yet_is_not_linked_with_what_is_suggested(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("a", modified="20261122T165500Z"))
    world.insert("zap-1")
    assert say(world, "link", "--suggested")[1]["deltas"] == []
    world.now += timedelta(hours=1)
    assert say(world, "link", "--suggested")[0] == 0
    assert world.linked() == ["1"]


def test_a_record_that_has_another_event_by_now_is_not_linked(
    make: Make, say: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.insert("zap-1")
    real = LinkHand.send

    def beaten(self: LinkHand, delta: Delta) -> Came:
        with world.setup() as setup, setup.state.begin() as connection:
            other = Link("1", delta.calendar_id or 0, "other", "other", Tier.KEY)
            ledger.save_links(connection, setup.state, [(other, None, None)])
        return real(self, delta)

    monkeypatch.setattr(LinkHand, "send", beaten)
    code, said = say(world, "link", "--suggested")
    assert (code, [one["outcome"] for one in said["deltas"]]) == (5, ["conflict"])


@pytest.mark.parametrize("words", [("link", "--suggested"), ("resolve", "--kind", "ambiguous", "--take", "crm")])
def test_nothing_is_linked_while_another_calendar_of_its_agent_is_out_of_sight(
    make: Make, say: Say, words: tuple[str, ...]
) -> None:
    names = ("ann", "other")
    one = '[[source]]\nkind = "ics"\nname = "{0}"\nagent = "ann@acme.example"\npath = "{0}.ics"\n'
    world = make(sources="".join(one.format(name) for name in names))
    world.write(ANN, event("a"))
    world.write("other@acme.example", event("b", NOW + timedelta(days=2, minutes=2)))
    world.insert("zap-1")
    assert kinds(world.run())[:2] == ["ambiguous", "ambiguous"]
    world.file("other@acme.example").unlink()
    say(world, *words)
    assert world.linked() == []
    world.write("other@acme.example")
    assert say(world, *words)[0] == 0
    assert world.linked() == ["1"]


# ---- jobs that write to calendars -----------------------------------------------------------------------------------


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Callable[..., GoogleWorld]]:
    """Make a world whose job writes to Google calendars."""
    for made in making(tmp_path):

        def writing(**more: Any) -> GoogleWorld:
            return made(**{"sync": "two-way", "scribe": True, **more})  # noqa: B023 - there is one

        yield writing


def in_conflict(google: Callable[..., GoogleWorld], sync: str) -> tuple[GoogleWorld, str]:
    """Return a world in which the office and the agent moved one appointment, and its event."""
    world = google(sync=sync)
    number = world.insert(None, SOON)
    later(world)
    world.run()
    [made] = world.shown()
    later(world)
    world.run()
    ends = {"ends_at": f"{SOON + timedelta(hours=3):%Y-%m-%d %H:%M:%S}"}
    world.sql(
        "UPDATE appointments SET starts_at = ?, ends_at = ?, version = version + 1, updated_at = ? WHERE id = ?",
        *(f"{SOON + timedelta(hours=2):%Y-%m-%d %H:%M:%S}", ends["ends_at"], f"{world.now:%Y-%m-%d %H:%M:%S}", number),
    )
    world.calendar().patch(made["id"], times(SOON + timedelta(hours=4)))
    later(world)
    assert kinds(world.run()) == ["conflict"]
    return world, made["id"]


@pytest.mark.parametrize("sync", ["two-way", "crm-to-calendar"])
@pytest.mark.parametrize(("side", "hours"), [("calendar", 4), ("crm", 2)])
def test_either_word_is_written_to_the_other_side_where_both_can_be(
    google: Callable[..., GoogleWorld], say: Say, sync: str, side: str, hours: int
) -> None:
    world, made = in_conflict(google, sync)
    code, said = say(world, "resolve", "--kind", "conflict", "--take", side)
    written = "crm" if side == "calendar" else "calendar"
    assert (code, [(one["side"], one["action"], one["outcome"]) for one in said["deltas"]]) == (
        0,
        [(written, "update", "done")],
    )
    start = SOON + timedelta(hours=hours)
    assert world.rows("starts_at") == [(f"{start:%Y-%m-%d %H:%M:%S}",)]
    assert datetime.fromisoformat(world.calendar().get(made)["start"]["dateTime"]) == start
    later(world)
    assert (world.run().deltas, world.mailed) == ((), [])
