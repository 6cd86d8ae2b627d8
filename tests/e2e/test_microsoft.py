"""The cases that a poller of Outlook calendars must pass, from the wire to the CRM (facts of the provider, §8).

Each runs the whole job: O365's own connection over HTTP against the stand-in, a real CRM table, a real state database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.model import Kind
from reconciler.simulator.loopback import Fault, Harm
from reconciler.store.schema import calendars, cursors, mirror
from tests.e2e.microsoft_world import CID, DEE, DENVER, MicrosoftWorld, microsoft_world, showing, times, weekly
from tests.e2e.world import NOW

SOON = NOW + timedelta(days=2)
MONDAY = datetime(2026, 11, 23, 10, tzinfo=DENVER)
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'

Make = Callable[..., MicrosoftWorld]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; its server ends with the test."""
    open_worlds = []

    def make_world(**settings: Any) -> MicrosoftWorld:
        manager = microsoft_world(tmp_path, **{"agents": (CID,), "limits": FREELY, **settings})
        world = manager.__enter__()
        open_worlds.append(manager)
        return world

    yield make_world
    for manager in open_worlds:
        manager.__exit__(None, None, None)


def later(world: MicrosoftWorld, **much: float) -> None:
    """Let enough time pass that what people just did is settled."""
    world.now += timedelta(**(much or {"minutes": 30}))
    world.waiting.now = world.now.timestamp()


def agreed(world: MicrosoftWorld, names: list[str]) -> None:
    for place, name in enumerate(names):
        world.mailbox().insert(showing(name, SOON + timedelta(hours=place)))
    later(world)
    result = world.run()
    assert result.exit_code == 0, result.calendars
    assert len(world.rows()) == len(names)
    world.asked()


def mondays(make: Make) -> MicrosoftWorld:
    """Let a series of four Mondays be agreed."""
    world = make()
    world.mailbox().insert({**showing("mondays"), **weekly(MONDAY)})
    later(world)
    assert world.run().exit_code == 0
    assert len(world.rows()) == 4
    world.asked()
    return world


def kinds(result: Any) -> Counter[Kind]:
    return Counter(finding.kind for finding in result.findings)


def starts(world: MicrosoftWorld) -> list[str]:
    return [row[0] for row in world.sql("SELECT starts_at FROM appointments WHERE status = 'scheduled' ORDER BY 1")]


def stored(world: MicrosoftWorld, column: Any) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return list(connection.execute(select(column).order_by(column)).scalars())


def token(world: MicrosoftWorld) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(stored(world, cursors.c.token)[0])
    return found


# ---- rounds ---------------------------------------------------------------------------------------------------------


def test_01_a_round_follows_every_page_an_empty_one_too(make: Make) -> None:
    world = make()
    world.server.faults.add(Fault(what=Harm.EMPTY_PAGE, path="calendarView/delta", nth=(2,)))
    world.server.faults.add(Fault(what=Harm.SMALL_PAGES, path="calendarView/delta", size=2))
    for name in ("evta", "evtb", "evtc"):
        world.mailbox().insert(showing(name))
    later(world)
    assert world.run().calendars[0].mode == "full"
    assert stored(world, mirror.c.event) == ["evta", "evtb", "evtc"]
    assert token(world)["link"]


def test_02_a_round_that_breaks_off_changes_nothing_and_the_next_run_replays_it(make: Make) -> None:
    world = make()
    agreed(world, ["evta", "evtb", "evtc"])
    before = token(world)
    for name in ("evta", "evtb", "evtc"):
        world.mailbox().patch(name, times(SOON + timedelta(days=1)))
    world.server.faults.add(Fault(what=Harm.SMALL_PAGES, path="calendarView/delta", size=1, nth=(1,)))
    world.server.faults.add(Fault(status=500, reason="UnknownError", path="calendarView/delta"))
    later(world)
    result = world.run()
    assert not result.calendars[0].observed
    assert token(world) == before
    world.server.faults.clear()
    later(world)
    assert len(world.run().deltas) == 3
    assert not world.run().deltas


def test_03_of_a_row_that_comes_twice_the_newest_counts(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().patch("evta", times(SOON + timedelta(days=1)))
    later(world)
    world.mailbox().patch("evta", times(SOON + timedelta(days=3)))
    world.server.faults.add(Fault(what=Harm.DUPLICATES, path="calendarView/delta", size=5))
    later(world)
    world.run()
    assert starts(world) == ["2026-11-27 17:00:00"]


def test_04_a_replay_of_what_is_known_writes_nothing(make: Make) -> None:
    world = make()
    agreed(world, ["evta", "evtb"])
    world.server.faults.add(Fault(what=Harm.REPLAY, path="calendarView/delta", size=5))
    later(world)
    result = world.run()
    assert not result.deltas
    assert not result.findings


def test_an_unchanged_mailbox_costs_one_request(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    later(world)
    result = world.run()
    assert (world.asked(), result.status, result.calendars[0].mode) == (1, "in_sync", "incremental")


# ---- removals -------------------------------------------------------------------------------------------------------


def test_05_a_removal_that_a_look_up_confirms_cancels_the_record(make: Make) -> None:
    world = make()
    agreed(world, ["evta", "evtb"])
    world.mailbox().delete("evta")
    later(world)
    world.run()
    assert world.asked() == 2  # the round, and one look-up
    later(world)
    world.run()
    assert world.rows("status") == [("cancelled",), ("scheduled",)]


def test_06_a_removal_that_only_left_the_window_moves_the_record(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().patch("evta", times(NOW + timedelta(days=200)))
    later(world)
    result = world.run()
    assert [delta.action for delta in result.deltas] == ["update"]
    assert world.rows("status") == [("scheduled",)]


def test_07_a_removal_of_what_nobody_knew_is_ignored_without_a_look_up(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().insert(showing("far", NOW + timedelta(days=400)))
    world.mailbox().patch("far", {"subject": "Later"})
    later(world)
    result = world.run()
    assert world.asked() == 1
    assert not result.findings


# ---- series ---------------------------------------------------------------------------------------------------------


def test_08_occurrences_have_the_details_of_their_series(make: Make) -> None:
    world = mondays(make)
    assert set(world.rows("title, contact_email")) == {("Showing", "jane@mail.example")}
    assert starts(world)[0] == "2026-11-23 17:00:00"


def test_09_a_series_that_can_t_be_fetched_waits_and_no_row_without_a_title_is_made(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().insert({**showing("mondays"), **weekly(MONDAY)})
    world.server.faults.add(Fault(path="instances"))
    later(world)
    assert not world.run().deltas
    assert stored(world, calendars.c.pending)[0]
    world.server.faults.clear()
    later(world)
    assert len(world.run().deltas) == 4
    assert {title for (title,) in world.rows("title")} == {"Showing"}


def test_10_the_row_of_a_series_is_no_appointment(make: Make) -> None:
    world = make()
    first = datetime(2012, 5, 7, 10, tzinfo=DENVER)
    world.mailbox().insert({**showing("mondays"), **weekly(first, count=2000)})
    later(world)
    world.run()
    assert min(starts(world)) > "2026-11-01"


def test_11_one_occurrence_that_was_silently_deleted_goes_alone(make: Make) -> None:
    world = mondays(make)
    world.mailbox().delete_occurrence("mondays", MONDAY + timedelta(days=14))
    for _ in range(2):
        later(world)
        world.run()
    assert starts(world) == ["2026-11-23 17:00:00", "2026-11-30 17:00:00", "2026-12-14 17:00:00"]
    assert not world.run(full=True).deltas


def test_12_a_moved_occurrence_moves_its_record(make: Make) -> None:
    world = mondays(make)
    world.mailbox().move_occurrence("mondays", MONDAY, MONDAY + timedelta(hours=2))
    later(world)
    assert [delta.action for delta in world.run().deltas] == ["update"]
    assert len(world.rows()) == 4
    assert starts(world)[0] == "2026-11-23 19:00:00"


def test_13_a_series_that_was_deleted_takes_its_occurrences_along(make: Make) -> None:
    world = mondays(make)
    world.mailbox().delete("mondays")
    for _ in range(2):
        later(world)
        world.run()
    assert world.rows("status") == [("cancelled",)] * 4


def test_a_changed_rule_is_a_question_and_no_cancel(make: Make) -> None:
    world = mondays(make)
    world.mailbox().patch("mondays", weekly(MONDAY, count=2))
    later(world)
    world.run()
    later(world)
    assert kinds(world.run())[Kind.STALE_SERIES] == 2
    assert world.rows("status") == [("scheduled",)] * 4


# ---- rounds that don't work -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["SyncStateNotFound", "resyncRequired"])
def test_14_a_dead_link_costs_one_whole_read_of_this_calendar(make: Make, code: str) -> None:
    world = make(agents=(CID, DEE))
    agreed(world, ["evta", "evtb"])
    world.mailbox().kill_tokens(code)
    world.mailbox().delete("evta")
    later(world)
    result = world.run()
    assert {one.agent: one.mode for one in result.calendars} == {CID: "full", DEE: "incremental"}
    later(world)
    world.run()
    assert world.rows("status") == [("cancelled",), ("scheduled",)]


def test_15_a_round_that_never_ends_is_given_up_and_the_plain_view_is_read(make: Make) -> None:
    world = make()
    agreed(world, ["evta", "evtb"])
    before = token(world)
    world.mailbox().patch("evta", times(SOON + timedelta(days=1)))
    world.server.faults.add(Fault(what=Harm.ENDLESS, path="calendarView/delta"))
    later(world)
    result = world.run()
    assert result.calendars[0].observed
    assert world.asked() <= 6
    assert token(world)["link"] == before["link"]
    assert len(result.deltas) == 1
    world.server.faults.clear()
    later(world)
    world.run()
    assert world.asked() == 1  # still the plain view
    later(world, days=1)
    assert world.run().calendars[0].mode == "full"
    assert token(world)["viewed"] is None


def test_16_pages_that_are_too_large_become_smaller_and_stay_so(make: Make) -> None:
    world = make()
    world.server.faults.add(Fault(what=Harm.BIG_PAGE, path="calendarView/delta", status=503, size=50))
    world.mailbox().insert(showing("evta"))
    later(world)
    assert world.run().calendars[0].observed
    assert token(world)["size"] == 50
    world.asked()
    later(world)
    world.run()
    assert world.asked() == 1


def test_17_who_asks_too_often_waits_and_others_do_not(make: Make) -> None:
    world = make(agents=(CID, DEE))
    agreed(world, ["evta"])
    world.server.faults.add(Fault(status=429, reason="ApplicationThrottled", retry_after=7, agent=CID, times=1))
    later(world)
    result = world.run()
    assert all(one.observed for one in result.calendars)
    assert world.waiting.slept >= 7


def test_18_never_more_than_one_request_for_a_mailbox_is_under_way(make: Make) -> None:
    world = make(agents=(CID, DEE))
    for number in range(30):
        world.mailbox().insert(showing(f"evt{number:02}", SOON + timedelta(hours=number)))
    later(world)
    world.run()
    assert world.server.high_water(CID) == 1


def test_19_tokens_that_end_in_the_middle_of_a_run_are_renewed_once(make: Make) -> None:
    agents = tuple(f"agent{number:02}@acme.example" for number in range(40))
    world = make(agents=agents)
    world.run()
    world.server.accounts.withdraw()
    later(world, minutes=5)
    result = world.run()
    assert all(one.observed for one in result.calendars)
    assert len(world.server.requests("token")) <= 3


def test_20_the_window_moves_on_without_touching_what_both_windows_hold(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().insert(showing("later", NOW + timedelta(days=90)))
    later(world)
    assert not world.run().deltas
    for _ in range(40):
        later(world, days=1)
        result = world.run()
        assert not [delta for delta in result.deltas if delta.action != "create"]
    assert len(world.rows()) == 2


# ---- what rows mean -------------------------------------------------------------------------------------------------


def test_21_times_that_make_no_sense_are_set_aside_and_all_days_are_days(make: Make) -> None:
    world = make()
    world.mailbox().insert({**showing("east"), **times(SOON, zone="America/New_York")})
    day = {"dateTime": "2026-12-01T00:00:00", "timeZone": "UTC"}
    following = {"dateTime": "2026-12-02T00:00:00", "timeZone": "UTC"}
    world.mailbox().insert({**showing("open"), "isAllDay": True, "start": day, "end": following})
    later(world)
    world.run()
    assert world.rows("starts_at, all_day") == [("2026-11-24 17:00:00", 0), ("2026-12-01 00:00:00", 1)]


@pytest.mark.parametrize("code", ["ErrorInvalidUser", "MailboxNotEnabledForRESTAPI", "ErrorAccessDenied"])
def test_22_a_mailbox_that_can_t_be_read_is_parked_and_nothing_of_it_is_cancelled(make: Make, code: str) -> None:
    world = make(agents=(CID, DEE))
    agreed(world, ["evta"])
    world.mailbox().revoke(code)
    later(world)
    result = world.run()
    assert {one.agent: one.observed for one in result.calendars} == {CID: False, DEE: True}
    assert world.rows("status") == [("scheduled",)]
    world.asked()
    later(world)
    assert world.run().exit_code == 0
    assert world.asked() == 1  # Dee's


def test_23_cancelled_by_flag_private_by_time_and_no_drafts(make: Make) -> None:
    world = make(policy='relevant = ["all"]')
    mailbox = world.mailbox()
    agreed(world, ["evta"])
    organizer = {"emailAddress": {"address": "boss@elsewhere.example"}}
    mailbox.patch("evta", {"isCancelled": True, "subject": "Canceled: Showing", "organizer": organizer})
    mailbox.insert(showing("priv", sensitivity="private", subject="Divorce lawyer"))
    mailbox.insert(showing("draft", isDraft=True))
    later(world)
    result = world.run()
    assert Kind.CANCEL_NOT_PROPAGATED in kinds(result)
    assert "Divorce" not in f"{result} {world.rows()}"
    assert not [finding for finding in result.findings if finding.event == "draft"]


# ---- beside Google, and over weeks ----------------------------------------------------------------------------------


def test_what_the_rounds_lost_is_found_within_a_week(make: Make) -> None:
    world = make()
    agreed(world, ["evta"])
    world.mailbox().hide_change()
    world.mailbox().insert(showing("lost", NOW + timedelta(days=20)))
    found: list[str] = []
    for _ in range(9):
        later(world, days=1)
        found += [finding.why for finding in world.run().findings if finding.kind is Kind.COVERAGE_GAP]
    assert len(found) == 1
    assert "lost" in found[0]
    assert len(world.rows()) == 2


def test_no_token_and_no_secret_is_ever_written_to_a_file(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    monkeypatch.chdir(tmp_path)
    agreed(world, ["evta"])
    assert not list(tmp_path.glob("*token*"))
    kept = b"".join(path.read_bytes() for path in tmp_path.glob("state.db*"))
    assert b"Bearer" not in kept
    assert world.environ["MS_SECRET"].encode() not in kept
