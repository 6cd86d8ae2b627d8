"""What we write three times in seven days and something undoes each time is held, and a person is told."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.model import Finding, Remedy, Side
from reconciler.result import Result
from tests.e2e.google_world import FREELY, google_world, later
from tests.e2e.world import NOW, World, event, planned

ANN = "ann@acme.example"
Make = Callable[..., World]

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
ONE = NOW + 9 * DAY
OTHER = ONE + 3 * HOUR
THIRD = ONE + 5 * HOUR
CALENDAR_FIRST = 'first = "calendar"'
UNDONE = "We wrote this three times in seven days and something undoes it"


def shown(world: World, start: timedelta | None = None) -> Result:
    """Let Ann's calendar show the appointment `start` after its usual time, and run."""
    world.write(ANN, event("a", ONE + (start or timedelta())))
    result = world.run()
    world.now += 4 * HOUR
    return result


def fought_over(world: World) -> None:
    """Let two tools fight over the appointment until each of its two times was written three times."""
    shown(world)
    for _ in range(3):
        assert planned(shown(world, 3 * HOUR)) == [("update", "done")]
        assert planned(shown(world)) == [("update", "done")]


def held(result: Result) -> Finding:
    [finding] = result.findings
    assert (result.deltas, finding.remedy, finding.kind) == ((), Remedy.HUMAN, "reschedule_not_propagated")
    assert finding.why.startswith(UNDONE)
    return finding


def test_the_fourth_time_is_held_and_stays_so_over_runs(make: Make) -> None:
    world = make()
    fought_over(world)
    written = len(world.journal())
    keys = {held(shown(world, 3 * HOUR)).key for _ in range(3)}
    assert len(keys) == 1, "one finding, seen again and again"
    assert (len(world.journal()), world.rows("starts_at")) == (written, [(f"{ONE:%Y-%m-%d %H:%M:%S}",)])
    assert held(world.dry(full=True)).key in keys


def test_the_finding_says_how_a_person_ends_it(make: Make) -> None:
    world = make()
    fought_over(world)
    finding = held(shown(world, 3 * HOUR))
    assert f"`reconcile resolve {finding.key} --take calendar` (or crm)" in finding.why
    assert f"`reconcile accept {finding.key}`" in finding.why


def test_it_is_quiet_while_both_sides_agree_and_other_content_is_written_at_once(make: Make) -> None:
    world = make()
    fought_over(world)
    held(shown(world, 3 * HOUR))
    back = shown(world)
    assert (back.findings, back.status) == ((), "in_sync")
    held(shown(world, 3 * HOUR))
    assert planned(shown(world, 5 * HOUR)) == [("update", "done")], "another time is another content"


def test_it_is_written_again_when_seven_days_have_passed(make: Make) -> None:
    world = make()
    fought_over(world)
    held(shown(world, 3 * HOUR))
    world.now += 5 * DAY
    held(shown(world, 3 * HOUR))
    world.now += 17 * HOUR
    assert planned(shown(world, 3 * HOUR)) == [("update", "done")]


def test_twice_is_not_flapping_and_neither_is_one_appointment_counted_for_another(make: Make) -> None:
    world = make()
    came = [planned(shown(world, start)) for start in (timedelta(), 3 * HOUR, timedelta(), 3 * HOUR, timedelta())]
    assert came == [[("create", "done")], *[[("update", "done")]] * 4]
    for number in range(4):
        key = f"other-{number}"
        world.write(ANN, event("a", ONE), event(key, ONE + number * DAY + DAY))
        world.run()
        world.write(ANN, event("a", ONE), event(key, OTHER + number * DAY + DAY))
        assert planned(world.run()) == [("update", "done")]


def test_what_removes_a_record_and_enters_it_anew_is_known_by_its_key_and_named(make: Make) -> None:
    """Each night an export deletes the row and writes it again, with another id, an hour off (peers 2, row 18)."""
    world = make(policy=CALENDAR_FIRST, crm='set = { notes = "reconcile" }')
    world.write(ANN, event("a", ONE))
    world.run()
    ids = count(100)
    for _ in range(3):
        assert planned(exported(world, ids)) == [("update", "done")]
    why = held(exported(world, ids)).why
    assert f"{UNDONE} (the CRM names zapier as the record's writer)" in why
    assert world.rows("starts_at") == [(f"{ONE + HOUR:%Y-%m-%d %H:%M:%S}",)]


def exported(world: World, ids: Iterator[int]) -> Result:
    world.sql("DELETE FROM appointments")
    world.insert("a", ONE + HOUR, agent_email=ANN, notes="zapier", id=next(ids))
    result = world.run()
    world.now += DAY
    return result


def test_our_own_mark_in_a_row_names_nobody(make: Make) -> None:
    world = make(crm='set = { notes = "reconcile" }')
    fought_over(world)
    assert world.rows("notes") == [("reconcile",)]
    assert "names" not in held(shown(world, 3 * HOUR)).why


def test_a_hostile_name_of_a_writer_is_bounded_and_inert(make: Make) -> None:
    world = make()
    world.crm = 'set = { notes = "reconcile" }'
    world.insert("a", ONE, agent_email=ANN, notes="\x1b[2J<b>evil</b>\n" + "x" * 500)
    fought_over(world)
    why = held(shown(world, 3 * HOUR)).why
    assert "\x1b" not in why
    assert "\n" not in why
    assert len(why) < 400


# ---- a person ends it -----------------------------------------------------------------------------------------------


def typed(world: World, *words: str) -> int:
    """Type a command for a world, and return its exit code."""
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    return entry.call([*words, "--format", "json", "--job", str(world.job())], outside)


def test_the_calendars_word_is_written_although_it_was_held(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    world = make()
    fought_over(world)
    key = held(shown(world, 3 * HOUR)).key
    capsys.readouterr()
    assert typed(world, "resolve", key, "--take", "calendar") == 0
    [delta] = json.loads(capsys.readouterr().out)["deltas"]
    assert (delta["action"], delta["outcome"]) == ("update", "done")
    assert world.rows("starts_at") == [(f"{OTHER:%Y-%m-%d %H:%M:%S}",)]
    assert world.run().findings == ()


def test_the_crms_word_ends_it_too(make: Make) -> None:
    world = make()
    fought_over(world)
    key = held(shown(world, 3 * HOUR)).key
    before = world.rows()
    assert typed(world, "resolve", key, "--take", "crm") == 0
    after = world.run()
    assert (after.deltas, after.findings, world.rows()) == ((), (), before)


def test_what_is_accepted_stays_as_it_is_and_asks_nobody_again(make: Make) -> None:
    world = make()
    fought_over(world)
    key = held(shown(world, 3 * HOUR)).key
    known = ("--by", "Ann", "--why", "both tools are ours", "--until", "2026-12-31")
    assert typed(world, "accept", key, *known) == 0
    before = world.rows()
    for _ in range(3):
        result = shown(world, 3 * HOUR)
        assert (result.deltas, world.rows()) == ((), before)
        assert Remedy.HUMAN not in {finding.remedy for finding in result.findings}


# ---- the other side -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_what_is_written_to_a_calendar_again_and_again_is_held_too(tmp_path: Path, sync: str) -> None:
    """Two connectors fight over a record; each time it moves, its event would move along."""
    with google_world(tmp_path, agents=(ANN,), limits=FREELY, sync=sync, scribe=True) as world:
        number = world.insert(None, ONE)
        later(world)
        world.run()

        def moved(start: datetime) -> Result:
            sets = "starts_at = ?, ends_at = ?, version = version + 1, updated_at = ?"
            stamps = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + HOUR, world.now)]
            world.sql(f"UPDATE appointments SET {sets} WHERE id = ?", *stamps, number)  # noqa: S608
            later(world, hours=1)
            return world.run()

        for _ in range(3):
            for start in (OTHER, ONE):
                result = moved(start)
                assert [(one.side, one.outcome) for one in result.deltas] == [(Side.CALENDAR, "done")]
        before = world.shown()
        held(moved(OTHER))
        later(world, hours=1)
        held(world.run())
        assert [one["start"] for one in world.shown()] == [one["start"] for one in before]
        assert world.mailed == []
        assert [one.side for one in moved(THIRD).deltas] == [Side.CALENDAR]
