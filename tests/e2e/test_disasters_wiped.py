"""Disasters in which calendars look empty: nothing is cancelled because of it, it is said, and it heals by itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.report.look import Look, Mood
from reconciler.report.run import build
from reconciler.result import Result
from reconciler.simulator.google_calendars import Row
from tests.e2e import google_world
from tests.e2e.google_world import GoogleWorld, agreed, later, making, showing, times
from tests.e2e.world import NOW, World, calendar, event, kinds, planned

ANN, BOB = "ann@acme.example", "bob@acme.example"
Make = Callable[..., World]
MakeGoogle = google_world.Make

SOON = NOW + timedelta(days=2)
MINE = [event(f"ann{number:02}", SOON + number * timedelta(hours=2)) for number in range(12)]
HERS = [event(f"bob{number:02}", SOON + number * timedelta(hours=2)) for number in range(3)]


@pytest.fixture
def google(tmp_path: Path) -> Iterator[MakeGoogle]:
    """Make a world whose calendars are Google's."""
    yield from making(tmp_path)


def booked(make: Make, **settings: object) -> World:
    world = make(agents=(ANN, BOB), **settings)
    world.write(ANN, *MINE)
    world.write(BOB, *HERS)
    world.run()
    assert len(world.rows()) == 15
    return world


# ---- row 1: everything deleted --------------------------------------------------------------------------------------


def emptied(world: World, turn: int) -> None:
    """Let the feed be whole, right, and without a single appointment; each time written anew."""
    world.file(ANN).write_bytes(calendar(f"COMMENT:{turn}\r\n").encode())


def cut(world: World, turn: int) -> None:
    world.file(ANN).write_bytes(calendar(*MINE).encode()[: 2000 + turn])


def vanished(world: World, _turn: int) -> None:
    world.file(ANN).unlink(missing_ok=True)


def signed_out(world: World, turn: int) -> None:
    world.file(ANN).write_bytes(f"<html>{turn} Please sign in</html>".encode())


def of_somebody_else(world: World, turn: int) -> None:
    """Let the path lead to the calendar of a person with another diary."""
    others = [event(f"else{number}", SOON + number * timedelta(hours=5), client=None) for number in range(turn + 6)]
    world.write(ANN, *others)


@pytest.mark.parametrize("absence", ["report", "evidence"])
@pytest.mark.parametrize("wipe", [emptied, cut, vanished, signed_out, of_somebody_else])
def test_a_calendar_that_was_wiped_from_our_sight_cancels_nothing_and_heals(
    make: Make, wipe: Callable[[World, int], None], absence: str
) -> None:
    """Row 1: a source read as empty, a feed that vanished or was cut, a path that leads elsewhere.

    Seen again and again it stays what it is, even where a job says that what a feed does not show is gone.
    """
    world = booked(make, absence=absence)
    before = world.rows()
    for turn in range(4):
        world.now += timedelta(hours=1)
        wipe(world, turn)
        result = world.run()
        assert world.rows() == before
        assert not any(delta.action in {"cancel", "delete"} and delta.outcome == "done" for delta in result.deltas)
        assert is_told(result)
    world.write(ANN, *MINE)
    world.now += timedelta(hours=1)
    healed = world.run()
    assert (healed.deltas, world.rows()) == ((), before)
    assert (world.run().status, kinds(world.run())) == ("in_sync", [])


def is_told(result: Result) -> bool:
    """Tell whether somebody who reads the report learns that something is wrong with Ann's calendar."""
    told = build(result, Look(job="acme"))
    return told.mood is not Mood.SAFE and any(
        finding.agent == ANN and finding.kind in {"coverage_gap", "orphan_in_crm"} for finding in result.findings
    )


@pytest.mark.parametrize("wipe", [emptied, cut, vanished, signed_out, of_somebody_else])
def test_a_small_diary_that_is_within_all_limits_is_as_safe(make: Make, wipe: Callable[[World, int], None]) -> None:
    """Row 1: no limit stands before three appointments. That they are not shown is no evidence is all they have."""
    world = make()
    world.write(ANN, *MINE[:3])
    world.run()
    before = world.rows()
    for turn in range(4):
        world.now += timedelta(hours=1)
        wipe(world, turn)
        result = world.run()
        assert (result.deltas, world.rows()) == ((), before)
        assert is_told(result)


def test_a_calendar_that_was_wiped_stops_nobody_elses_repairs(make: Make) -> None:
    """Row 1: what waits is the calendar that was wiped, not the office."""
    world = booked(make, absence="evidence")
    for turn in range(3):
        world.now += timedelta(hours=1)
        emptied(world, turn)
        world.write(BOB, *HERS[1:], event("bob00", SOON + timedelta(days=turn + 1)))
        assert ("update", "done") in planned(world.run())


def test_a_path_that_was_changed_in_the_job_file_takes_no_record_along(make: Make) -> None:
    """Row 1: somebody edits the job, and its path now leads to an empty file."""
    world = booked(make, absence="evidence")
    before = world.rows()
    path = world.job()
    world.sources = path.read_text().partition("[run]")[0].partition("\n[[source]]")[2].replace("ann.ics", "new.ics")
    world.sources = "[[source]]" + world.sources
    for turn in range(3):
        world.now += timedelta(hours=1)
        (world.folder / "new.ics").write_bytes(calendar(f"COMMENT:{turn}\r\n").encode())
        result = world.run()
        assert world.rows() == before
        assert not any(delta.outcome == "done" for delta in result.deltas)
        assert (result.exit_code, [one.limit for one in result.violations]) == (4, ["scope"])


def test_a_list_that_answers_nothing_after_its_token_died_wipes_nothing(google: MakeGoogle) -> None:
    """Row 1: "list answered 0 events", which is how most tools lost everything. A whole read shows no tombstones."""
    world = google()
    names = [f"e{number:02}" for number in range(12)]
    agreed(world, names)
    before = world.rows()
    hidden = hide(world, names)
    for _ in range(3):
        world.calendar().kill_tokens()
        later(world, hours=1)
        result = world.run()
        assert world.rows() == before
        assert result.findings
    world.calendar().rows.update(hidden)
    later(world, hours=1)
    world.run(full=True)
    assert (world.rows(), world.run().status) == (before, "in_sync")


def hide(world: GoogleWorld, names: list[str]) -> dict[str, Row]:
    """Take these out of the stand-in's calendar without a trace, and return them."""
    mine = world.calendar()
    with mine.world.lock:
        mine.log[:] = [each for each in mine.log if each not in names]
        return {name: mine.rows.pop(name) for name in names}


# ---- row 7: a token is revoked and nobody notices -------------------------------------------------------------------


def test_access_that_was_revoked_for_a_month_is_said_in_every_run_and_made_up_for_then(
    google: MakeGoogle,
) -> None:
    """Rows 7 and 8: not seen is neither in sync nor free; nothing is pruned, and what happened meanwhile arrives."""
    world = google(agents=(ANN, BOB))
    agreed(world, ["moved", "deleted", "kept"])
    world.calendar().revoke(403)
    before = world.rows()
    for _ in range(30):
        later(world, days=1)
        result = world.run()
        assert build(result, Look(job="acme")).mood is Mood.BLIND
        assert [(gap.agent, gap.severity) for gap in result.findings] == [(ANN, "critical")]
        assert (world.rows(), result.counts["in_sync"]) == (before, 0)
    world.calendar().restore()
    soon = world.now + timedelta(days=3)
    world.calendar().patch("moved", times(soon))
    world.calendar().insert(showing("new", soon + timedelta(hours=2)))
    later(world)
    result = world.run()
    assert result.calendars[0].mode == "full"
    assert planned(result) == [("create", "done"), ("update", "done")]
    assert world.run().deltas == ()


# ---- row 13: what was deleted comes back ----------------------------------------------------------------------------


def test_what_is_over_stays_over_for_a_month_of_runs_of_every_kind(make: Make) -> None:
    """Row 13: a cancelled appointment is cancelled once, a record that a person removed is not made again."""
    world = make()
    kept, cancelled, removed = event("kept"), event("cancelled", SOON), event("removed", SOON + timedelta(hours=3))
    world.write(ANN, kept, cancelled, removed)
    world.run()
    gone = event("cancelled", SOON, extra="STATUS:CANCELLED\r\n")
    world.write(ANN, kept, gone, removed)
    world.run()
    world.sql("DELETE FROM appointments WHERE source_key = 'removed'")
    rows, written = world.rows(), len(world.journal())
    for turn in range(12):
        world.now += timedelta(hours=7)
        world.write(ANN, kept, removed, *([gone] if turn % 2 else []))  # feeds drop what is cancelled after a while
        assert world.run(full=turn % 3 == 0).deltas == ()
    assert (world.rows(), len(world.journal())) == (rows, written)
