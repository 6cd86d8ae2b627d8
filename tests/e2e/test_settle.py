"""What is younger than `settle` is left to the live integration: shown as pending, due after that, or quietly over."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from reconciler.model import Remedy
from reconciler.report.look import Look
from reconciler.report.run import build
from reconciler.result import Result
from tests.e2e.world import NOW, World, event, kinds, planned, stamp

ANN = "ann@acme.example"
Make = Callable[..., World]

AT = NOW + timedelta(days=2)
LATER = NOW + timedelta(days=4)
MINUTE = timedelta(minutes=1)
BESIDE = event("b", NOW + timedelta(days=3))


def timeless(text: str) -> str:
    """Return an entry that does not say when it was changed."""
    return re.sub(r"(LAST-MODIFIED|DTSTAMP):\S+\r\n", "", text)


def moved(world: World, *, at: datetime | None) -> None:
    """Move Ann's appointment in her calendar, at the time that her provider then names."""
    text = event("a", LATER, modified=stamp(at) if at else None)
    world.write(ANN, text if at else timeless(text), BESIDE)


def entered(world: World, *, updated: datetime | None) -> None:
    """Enter a booking of hers in the CRM, as a webhook does that knows our keys, an hour off."""
    world.write(ANN, event("a", AT), BESIDE, event("c", LATER))
    said = f"{updated:%Y-%m-%d %H:%M:%S}" if updated else None
    world.insert("c", LATER + timedelta(hours=1), agent_email=ANN, updated_at=said)


def in_the_calendar(at: datetime | None) -> Callable[[World], None]:
    return lambda world: moved(world, at=at)


def in_the_crm(updated: datetime | None) -> Callable[[World], None]:
    return lambda world: entered(world, updated=updated)


AHEAD = NOW + timedelta(hours=3)
YOUNG = {
    "young in the calendar": (in_the_calendar(NOW - 5 * MINUTE), (), 5 * MINUTE),
    "no time in the calendar: since first sight": (in_the_calendar(None), (), 10 * MINUTE),
    "a clock of the calendar that is hours ahead: since first sight": (in_the_calendar(AHEAD), (), 10 * MINUTE),
    "a clock of the calendar that is a little ahead: by its time": (in_the_calendar(NOW + 4 * MINUTE), (), 14 * MINUTE),
    "young in the CRM": (in_the_crm(NOW - 5 * MINUTE), (), 5 * MINUTE),
    "no time in the row: since first sight": (in_the_crm(None), (), 10 * MINUTE),
    "no column for the time: since first sight": (in_the_crm(NOW), ("updated",), 10 * MINUTE),
    "a clock of the CRM that is hours ahead: since first sight": (in_the_crm(AHEAD), (), 10 * MINUTE),
    "a clock of the CRM that is a little ahead: by its time": (in_the_crm(NOW + 4 * MINUTE), (), 14 * MINUTE),
}


@pytest.mark.parametrize("case", YOUNG)
def test_what_one_side_changed_a_moment_ago_is_pending_until_it_settles(make: Make, case: str) -> None:
    change, unmapped, after = YOUNG[case]
    world = make(policy='first = "calendar"', unmapped=unmapped)
    world.write(ANN, event("a", AT), BESIDE)
    world.run()
    quiet = world.run()
    change(world)
    assert_pending(world.run(), quiet)
    world.now += after - timedelta(seconds=1)
    assert_pending(world.run(), quiet)
    world.now += timedelta(seconds=1)
    due = world.run()
    assert planned(due) == [("update", "done")]
    assert due.counts["pending"] == 0
    after_it = world.run()
    assert (after_it.deltas, after_it.findings, after_it.status) == ((), (), "in_sync")


def assert_pending(result: Result, quiet: Result) -> None:
    [finding] = result.findings
    assert (finding.kind, finding.remedy) == ("reschedule_not_propagated", Remedy.HOLD)
    assert finding.why.startswith("Pending: ")
    assert (result.deltas, result.counts["pending"], result.counts["held"]) == ((), 1, 1)
    assert (result.status, result.exit_code) == ("drift", 0)
    assert result.digest == quiet.digest, "what is pending is no part of the plan"


@pytest.mark.parametrize("extra", ["STATUS:CANCELLED\r\n", ""])
def test_what_is_young_when_the_job_begins_is_pending_too(make: Make, extra: str) -> None:
    """A first look settles what says nothing of its age, and nothing that says it is new."""
    world = make()
    world.insert("b", NOW + timedelta(days=3), agent_email=ANN)
    young = stamp(NOW - MINUTE)
    world.write(ANN, event("a", modified=young), event("b", NOW + timedelta(days=3), modified=young, extra=extra))
    result = world.run()
    assert (result.deltas, result.counts["pending"]) == ((), 2 if extra else 1)
    world.now += 10 * MINUTE
    assert planned(world.run()) == ([("cancel", "done")] if extra else []) + [("create", "done")]


def test_a_baseline_without_times_is_settled(make: Make) -> None:
    world = make(policy='first = "calendar"', unmapped=("updated",))
    world.insert("b", NOW + timedelta(days=3, hours=1), agent_email=ANN)
    world.write(ANN, timeless(event("a")), timeless(BESIDE))
    assert planned(world.run()) == [("create", "done"), ("update", "done")]


def test_a_young_cancellation_is_pending_and_cancels_nothing_that_is_taken_back_meanwhile(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, timeless(event("a", extra="STATUS:CANCELLED\r\n")))
    result = world.run()
    assert (kinds(result), result.counts["pending"]) == (["cancel_not_propagated"], 1)
    world.now += 9 * MINUTE
    world.write(ANN, event("a"))
    back = world.run()
    assert (back.findings, back.status, world.rows("status")) == ((), "in_sync", [("scheduled",)])


def test_what_a_webhook_delivers_meanwhile_is_quietly_over(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", modified=stamp(NOW - MINUTE)))
    assert world.run().counts["pending"] == 1
    world.now += 4 * MINUTE
    world.insert("a", agent_email=ANN, updated_at=f"{world.now:%Y-%m-%d %H:%M:%S}")
    result = world.run()
    assert (result.deltas, result.findings, result.status, result.exit_code) == ((), (), "in_sync", 0)
    world.now += timedelta(hours=1)
    assert (world.run().status, len(world.rows()), world.journal()) == ("in_sync", 1, [])


def test_each_new_edit_begins_the_grace_anew(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    for step in range(4):
        world.write(ANN, event("a", LATER + step * timedelta(hours=1), modified=stamp(world.now - MINUTE)))
        assert world.run().counts["pending"] == 1
        world.now += 8 * MINUTE
    world.now += 2 * MINUTE
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("starts_at") == [(f"{LATER + timedelta(hours=3):%Y-%m-%d %H:%M:%S}",)]


def test_pending_changes_are_counted_in_the_report_and_in_json_and_ask_nobody_for_anything(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", modified=stamp(NOW - MINUTE)), BESIDE)
    world.run()
    result = world.dry()
    report = build(result, Look(job="acme"))
    assert report.mood == "SAFE"
    assert "1 change pending, left to the live integration" in report.headline
    [entry] = [entry for group in report.groups for entry in group.entries]
    assert entry.why.startswith("Pending: it changed a moment ago")
    written = result.to_json()
    assert (written["counts"]["pending"], written["findings"][0]["action"]) == (1, "hold")
