"""What a run wrote to Google calendars is taken back there; records stay, nobody is mailed, no run does it again."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler import inverse
from reconciler.calendar_side import CalendarHand
from reconciler.crm_side import CrmHand
from reconciler.hand import Came
from reconciler.model import Delta, Outcome
from reconciler.result import Result
from reconciler.reverting import revert
from reconciler.run import Options
from reconciler.store import journal
from tests.e2e.google_world import SOON, GoogleWorld, Make, later, making, times
from tests.e2e.world import kinds, planned

BOTH = pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; whatever a test does in it, nobody is mailed."""
    worlds: list[GoogleWorld] = []
    for made in making(tmp_path):

        def remembered(**more: Any) -> GoogleWorld:
            worlds.append(made(**more))  # noqa: B023 - there is one
            return worlds[-1]

        yield remembered
        assert [mail for world in worlds for mail in world.mailed] == []


def undo(world: GoogleWorld, run: Result, *, dry_run: bool = False) -> Result:
    with world.setup(dry_run=dry_run) as setup:
        return revert(setup, Options(), run.run)


def booked(world: GoogleWorld) -> Result:
    """Book an appointment in the CRM, and let the job bring it into the calendar."""
    world.insert(None, SOON)
    later(world)
    run = world.run()
    assert planned(run) == [("create", "done")]
    return run


def move(world: GoogleWorld, start: datetime) -> None:
    spelled = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + timedelta(hours=1), world.now)]
    world.sql("UPDATE appointments SET starts_at = ?, ends_at = ?, updated_at = ?, version = version + 1", *spelled)
    later(world)


def starts(world: GoogleWorld) -> list[datetime]:
    return [datetime.fromisoformat(event["start"]["dateTime"]).astimezone(UTC) for event in world.shown()]


def rests(world: GoogleWorld) -> list[tuple[Delta, ...]]:
    """Run until the feed has shown what was written; return what the runs planned."""
    found = []
    for _ in range(3):
        later(world)
        found.append(world.run().deltas)
    return found


@BOTH
def test_an_event_that_we_made_is_removed_and_its_record_stays(make: Make, sync: str) -> None:
    world = make(sync=sync)
    run = booked(world)
    before = world.rows()
    assert planned(undo(world, run, dry_run=True)) == [("cancel", "planned")]
    assert len(world.shown()) == 1
    taken = undo(world, run)
    assert (planned(taken), [delta.side for delta in taken.deltas]) == ([("cancel", "done")], ["calendar"])
    assert (taken.events.total, taken.records.total) == (1, 0)
    assert rests(world) == [(), (), ()]
    assert (world.shown(), world.rows()) == ([], before)


@BOTH
def test_an_event_that_we_moved_is_moved_back_and_goes_on_when_its_record_moves(make: Make, sync: str) -> None:
    world = make(sync=sync)
    booked(world)
    move(world, SOON + timedelta(hours=3))
    run = world.run()
    assert planned(undo(world, run)) == [("update", "done")]
    before = world.rows()
    assert starts(world) == [SOON]
    assert rests(world) == [(), (), ()]
    assert (starts(world), world.rows()) == ([SOON], before)
    move(world, SOON + timedelta(hours=5))
    assert planned(world.run()) == [("update", "done")]
    assert starts(world) == [SOON + timedelta(hours=5)]
    assert rests(world) == [(), (), ()]


def test_an_event_that_its_agent_changed_since_is_kept(make: Make) -> None:
    world = make(sync="two-way")
    run = booked(world)
    [event] = world.shown()
    world.calendar().patch(event["id"], times(SOON + timedelta(hours=6)))
    taken = undo(world, run)
    assert planned(taken) == [("cancel", "conflict")], "found at the write, though nobody had read it yet"
    later(world)
    world.run()
    taken = undo(world, run)
    assert ([delta.why for delta in taken.deltas], taken.exit_code) == ([inverse.CHANGED], 5)
    assert starts(world) == [SOON + timedelta(hours=6)]


def test_an_event_that_we_cancelled_can_not_be_restored_and_that_is_said_first(make: Make) -> None:
    world = make(sync="crm-to-calendar")
    booked(world)
    world.sql("UPDATE appointments SET status = 'cancelled', version = version + 1")
    later(world)
    run = world.run()
    assert planned(run) == [("cancel", "done")]
    told: list[str] = []
    with world.setup() as setup:
        taken = revert(setup, Options(), run.run, told.extend)
    assert [delta.why for delta in taken.deltas] == [inverse.CANCELLED]
    assert len(told) == 1
    assert world.shown() == []


def test_an_event_that_we_wrote_again_since_is_not_removed_with_what_its_agent_may_have_added(make: Make) -> None:
    world = make(sync="two-way")
    first = booked(world)
    move(world, SOON + timedelta(hours=3))
    assert planned(undo(world, world.run())) == [("update", "done")]
    assert [delta.why for delta in undo(world, first).deltas] == [inverse.BETWEEN]
    assert starts(world) == [SOON]


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing after it runs."""


@pytest.mark.parametrize("step", ["sent", "settled"])
def test_a_revert_killed_after_it_removed_an_event_costs_no_record(
    make: Make, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    world = make(sync="two-way")
    run = booked(world)
    before = world.rows()
    where, name = (journal, "settle") if step == "settled" else (CalendarHand, "send")
    real = getattr(where, name)

    def dying(*arguments: Any, **others: Any) -> Any:
        real(*arguments, **others)
        raise Killed

    monkeypatch.setattr(where, name, dying)
    with pytest.raises(Killed):
        undo(world, run)
    monkeypatch.undo()
    assert rests(world) == [(), (), ()]
    assert (world.shown(), world.rows()) == ([], before)
    assert {finding.remedy for finding in world.run().findings} == {"hold"}, "nobody is asked about what was meant"


@BOTH
def test_a_record_whose_event_was_taken_back_is_never_cancelled_for_it_when_it_moves(make: Make, sync: str) -> None:
    world = make(sync=sync)
    undo(world, booked(world))
    rests(world)
    move(world, SOON + timedelta(hours=3))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["missing_in_calendar"]), "what was removed is for a person to say"
    assert rests(world) == [(), (), ()]
    assert world.rows("status, starts_at") == [("scheduled", f"{SOON + timedelta(hours=3):%Y-%m-%d %H:%M:%S}")]


# ---- both sides of one appointment ----------------------------------------------------------------------------------

COMPARED = 'compare = ["start", "end", "status", "contact", "location"]'


def written_on_both_sides(make: Make) -> tuple[GoogleWorld, Result]:
    """Return a world in which the office moved an appointment and its agent named a place, and the run after it."""
    world = make(sync="two-way", policy=COMPARED)
    booked(world)
    rests(world)
    [made] = world.shown()
    world.calendar().patch(made["id"], {"location": "Elm Street 5"})
    move(world, SOON + timedelta(hours=2))
    run = world.run()
    assert sorted((delta.side, delta.outcome) for delta in run.deltas) == [("calendar", "done"), ("crm", "done")]
    return world, run


def put_back(world: GoogleWorld) -> tuple[list[datetime], list[str]]:
    """Return what a revert of both sides changes: when the event is, and where the record is."""
    return starts(world), [place or "" for (place,) in world.rows("location")]


BEFORE, AFTER = ([SOON], [""]), ([SOON + timedelta(hours=2)], ["Elm Street 5"])


def test_both_sides_are_put_back_and_stay_so(make: Make) -> None:
    world, run = written_on_both_sides(make)
    assert put_back(world) == AFTER
    assert planned(undo(world, run)) == [("update", "done"), ("update", "done")]
    assert put_back(world) == BEFORE
    assert rests(world) == [(), (), ()]
    assert put_back(world) == BEFORE


@pytest.mark.parametrize("hand", [CalendarHand, CrmHand])
def test_a_revert_of_both_sides_that_dies_after_either_write_is_not_undone(
    make: Make, monkeypatch: pytest.MonkeyPatch, hand: Any
) -> None:
    world, run = written_on_both_sides(make)
    real = hand.send

    def dying(*arguments: Any) -> Any:
        real(*arguments)
        raise Killed

    monkeypatch.setattr(hand, "send", dying)
    with pytest.raises(Killed):
        undo(world, run)
    monkeypatch.undo()
    stood = put_back(world)
    assert rests(world) == [(), (), ()]
    assert put_back(world) == stood
    undo(world, run)
    assert rests(world) == [(), (), ()]
    assert put_back(world) == BEFORE


def test_a_side_that_was_put_back_stays_held_where_the_other_one_could_not_be(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, run = written_on_both_sides(make)
    monkeypatch.setattr(CrmHand, "send", lambda *_: Came(outcome=Outcome.FAILED, why="no"))
    assert sorted(planned(undo(world, run))) == [("update", "done"), ("update", "failed")]
    monkeypatch.undo()
    assert rests(world) == [(), (), ()]
    assert put_back(world) == (BEFORE[0], AFTER[1])
