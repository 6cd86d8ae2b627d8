"""The 25 cases that a poller of Google calendars must pass, from the wire to the CRM (facts of the provider, §8).

Each runs the whole job: the real client over HTTP against the stand-in, a real CRM table and a real state database.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select

from reconciler.model import Kind, Outcome
from reconciler.run import Options, run
from reconciler.simulator.google import Fault, Harm, Rules
from reconciler.simulator.google_calendars import Calendar
from reconciler.sources import google
from reconciler.sources.google_transport import GoogleCalendar
from reconciler.store.schema import cursors, mirror, series
from tests.e2e.google_world import (
    ANN,
    BOB,
    CHICAGO,
    CID,
    FREELY,
    SOON,
    GoogleWorld,
    Make,
    agreed,
    later,
    making,
    showing,
    times,
)
from tests.e2e.world import NOW

SPRING = datetime(2026, 3, 1, 17, tzinfo=UTC)
MONDAY = datetime(2026, 3, 2, 10, tzinfo=CHICAGO)
NEVER_ASKED = {"timeMin", "timeMax", "updatedMin", "q", "orderBy", "iCalUID"}
NEVER_ASKED |= {"privateExtendedProperty", "sharedExtendedProperty"}


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Make the world of a test; its server ends with the test."""
    yield from making(tmp_path)


def kinds(result: Any) -> Counter[Kind]:
    return Counter(finding.kind for finding in result.findings)


def status(world: GoogleWorld) -> dict[str, str]:
    return {key.partition("@")[0]: word for key, word in world.rows("source_key, status")}


def starts(world: GoogleWorld) -> list[str]:
    return [row[0] for row in world.sql("SELECT starts_at FROM appointments WHERE status = 'scheduled' ORDER BY 1")]


def stored(world: GoogleWorld, column: Any) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return list(connection.execute(select(column).order_by(column)).scalars())


def queries(world: GoogleWorld) -> list[dict[str, str]]:
    return [{name: values[0] for name, values in entry.query.items()} for entry in world.server.requests()]


def weekly(world: GoogleWorld, *, count: int = 4, **more: Any) -> dict[str, Any]:
    """Put a weekly showing on Mondays at ten into Ann's calendar, over the change to summer time on 8 March."""
    rule = [f"RRULE:FREQ=WEEKLY;COUNT={count}"]
    return world.calendar().insert(showing("mondays", MONDAY, recurrence=rule, **more))


# ---- 1 to 6: the token chain ----------------------------------------------------------------------------------------


def test_01_a_walk_follows_every_page_an_empty_one_too_and_asks_the_same_each_time(make: Make) -> None:
    world = make()
    for number in range(253):
        world.calendar().insert(showing(f"e{number:03}", SOON + timedelta(minutes=number), client=None))
    world.server.faults.add(Fault(what=Harm.EMPTY_PAGE, nth=(2,)))
    later(world)
    result = world.run()
    assert result.calendars[0].mode == "full"
    assert len(stored(world, mirror.c.event)) == 253
    asked = queries(world)
    assert len(asked) == 3
    assert len({json.dumps({**one, "pageToken": None}, sort_keys=True) for one in asked}) == 1
    assert len({one.get("pageToken") for one in asked}) == 3
    assert json.loads(stored(world, cursors.c.token)[0])["sync"]


def test_02_a_run_killed_between_two_pages_changes_nothing_and_the_next_ends_as_if_it_had_not_been(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    agreed(world, ["e1", "e2", "e3"])
    before = stored(world, cursors.c.token)
    for name in ("e1", "e2", "e3"):
        world.calendar().patch(name, times(SOON + timedelta(days=1)))
    world.server.rules = Rules(page_size=1)
    later(world)
    list_page, pages = GoogleCalendar.list, iter(range(10))

    def killed(api: GoogleCalendar, *args: Any) -> Any:
        if next(pages) == 2:
            raise KeyboardInterrupt
        return list_page(api, *args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(GoogleCalendar, "list", killed)
        world.run()
    assert stored(world, cursors.c.token) == before
    assert Counter(delta.outcome for delta in world.run().deltas) == {Outcome.DONE: 3}
    assert len(world.rows()) == 3
    assert not world.run().deltas


def test_03_an_unchanged_calendar_costs_one_request_and_its_new_token_is_kept(make: Make) -> None:
    world = make()
    agreed(world, ["e1"])
    before = stored(world, cursors.c.token)
    later(world)
    result = world.run()
    assert (world.asked(), result.status, result.calendars[0].mode) == (1, "in_sync", "incremental")
    assert stored(world, cursors.c.token) != before


def test_04_an_incremental_list_asks_nothing_that_a_token_forbids(make: Make) -> None:
    world = make()
    agreed(world, ["e1"])
    world.server.ledger.clear()
    later(world)
    world.run()
    [asked] = queries(world)
    assert NEVER_ASKED.isdisjoint(asked)
    assert (asked["singleEvents"], asked["showDeleted"]) == ("false", "true")
    assert asked["syncToken"]


def test_04_another_question_is_another_chain(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make()
    agreed(world, ["e1"])
    monkeypatch.setattr(google, "_CHAIN", {**google._CHAIN, "maxResults": 200})
    later(world)
    assert world.run().calendars[0].mode == "full"


def dead(world: GoogleWorld) -> None:
    """Let 40 showings be agreed, and the token die while somebody deletes the seventh."""
    agreed(world, [f"e{number:02}" for number in range(1, 41)])
    world.calendar().kill_tokens()


def test_05_a_dead_token_costs_one_full_read_and_what_is_left_keeps_its_links(make: Make) -> None:
    world = make()
    dead(world)
    world.calendar().delete("e07")
    links = world.linked()
    later(world)
    result = world.run()
    assert [(delta.action, delta.event) for delta in result.deltas] == [("cancel", "e07")]
    assert Counter(status(world).values()) == {"scheduled": 39, "cancelled": 1}
    assert world.linked() == links
    assert world.asked() == 2  # the dead token, and one page of 40


def test_05_what_vanished_without_a_trace_is_swept_but_never_cancelled_on_a_404_alone(make: Make) -> None:
    world = make()
    dead(world)
    vanish(world.calendar(), "e07")
    later(world)
    result = world.run()
    assert not result.deltas
    assert kinds(result) == {Kind.ORPHAN_IN_CRM: 1}
    assert world.asked() == 3  # the dead token, the list, and one look-up


def vanish(calendar: Calendar, name: str) -> None:
    """Let an event be gone for good: tombstones disappear eventually (facts §1.5)."""
    with calendar.world.lock:
        calendar.rows.pop(name)
        calendar.log[:] = [each for each in calendar.log if each != name]


def test_05_a_deletion_that_no_list_shows_is_found_by_its_look_up(make: Make) -> None:
    world = make()
    dead(world)
    world.calendar().patch("e07", times(NOW - timedelta(days=400)))  # out of what a whole list shows
    world.calendar().delete("e07")
    later(world)
    result = world.run()
    assert [(delta.action, delta.event) for delta in result.deltas] == [("cancel", "e07")]
    assert kinds(result) == {Kind.ORPHAN_IN_CRM: 1}


def test_05_a_token_that_dies_twice_in_one_run_is_no_loop(make: Make) -> None:
    world = make()
    agreed(world, ["e1"])
    world.server.faults.add(Fault(status=410, reason="fullSyncRequired"))
    later(world)
    result = world.run()
    assert not result.calendars[0].observed
    assert world.asked() == 2
    assert result.exit_code == 5


def test_06_a_full_read_that_breaks_off_sweeps_nothing(make: Make) -> None:
    world = make()
    agreed(world, ["e1", "e2", "e3"])
    before = stored(world, mirror.c.event)
    world.calendar().kill_tokens()
    world.server.rules = Rules(page_size=1)
    world.server.faults.add(Fault(nth=range(3, 20)))  # the dead token, page one, and then nothing but 503
    later(world)
    result = world.run()
    assert not result.calendars[0].observed
    assert not result.deltas
    assert stored(world, mirror.c.event) == before
    assert set(status(world).values()) == {"scheduled"}


# ---- 8 to 16: what rows mean ----------------------------------------------------------------------------------------


def test_08_a_bare_tombstone_cancels_the_record_it_was_known_by(make: Make) -> None:
    world = make()
    agreed(world, ["e1", "e2"])
    world.calendar().world.lock.acquire()
    try:
        row = world.calendar().row("e1")
        world.calendar().cancel(row, bare=True)
    finally:
        world.calendar().world.lock.release()
    later(world)
    assert kinds(world.run()) == {Kind.CANCEL_NOT_PROPAGATED: 1}
    assert status(world) == {"e1": "scheduled", "e2": "scheduled"}  # a bare one says not when: it has to settle here
    later(world)
    assert kinds(world.run()) == {Kind.CANCEL_NOT_PROPAGATED: 1}
    assert status(world) == {"e1": "cancelled", "e2": "scheduled"}


def mondays(make: Make) -> GoogleWorld:
    world = make(now=SPRING)
    weekly(world)
    later(world)
    assert world.run().exit_code == 0
    assert len(world.rows()) == 4
    world.asked()
    return world


def test_09_a_cancelled_occurrence_goes_alone_and_stays_gone(make: Make) -> None:
    world = mondays(make)
    world.calendar().cancel_occurrence("mondays", datetime(2026, 3, 9, 10, tzinfo=CHICAGO))
    later(world)
    world.run()  # a bare tombstone says not when: it has to settle
    later(world)
    assert [delta.action for delta in world.run().deltas] == ["cancel"]
    assert starts(world) == ["2026-03-02 16:00:00", "2026-03-16 15:00:00", "2026-03-23 15:00:00"]
    assert "2026-03-09T15:00:00Z" in stored(world, series.c.rule)[0]
    world.calendar().patch("mondays", {"location": "12 Elm St"})
    later(world)
    world.run()
    assert starts(world) == ["2026-03-02 16:00:00", "2026-03-16 15:00:00", "2026-03-23 15:00:00"]
    assert not world.run(full=True).deltas


def test_10_a_moved_occurrence_is_one_on_its_new_day_and_none_on_its_old(make: Make) -> None:
    world = mondays(make)
    moved_to = datetime(2026, 3, 10, 11, tzinfo=CHICAGO)
    world.calendar().move_occurrence("mondays", datetime(2026, 3, 9, 10, tzinfo=CHICAGO), moved_to)
    later(world)
    assert [delta.action for delta in world.run().deltas] == ["update"]
    expected = ["2026-03-02 16:00:00", "2026-03-10 16:00:00", "2026-03-16 15:00:00", "2026-03-23 15:00:00"]
    assert starts(world) == expected
    assert not world.run(full=True).deltas
    assert starts(world) == expected


def test_11_a_series_keeps_to_the_clock_on_the_wall_over_the_change_to_summer_time(make: Make) -> None:
    world = mondays(make)
    assert starts(world) == [
        "2026-03-02 16:00:00",
        "2026-03-09 15:00:00",
        "2026-03-16 15:00:00",
        "2026-03-23 15:00:00",
    ]


def test_12_a_new_rule_is_one_row_and_the_right_occurrences_and_none_beyond_the_reach(make: Make) -> None:
    world = make(now=SPRING)
    world.calendar().insert(showing("mondays", MONDAY, recurrence=["RRULE:FREQ=WEEKLY"]))
    later(world)
    world.run()
    world.calendar().patch("mondays", {"recurrence": ["RRULE:FREQ=WEEKLY;INTERVAL=2"]})
    world.asked()
    later(world)
    result = world.run()
    assert world.asked() == 1
    assert kinds(result)[Kind.STALE_SERIES] == 4  # 9 and 23 March, 6 and 20 April: for a person
    assert not result.deltas
    horizon = (SPRING + timedelta(days=60 + 15)).strftime("mondays/%Y%m%dT%H%M%SZ")
    assert max(stored(world, mirror.c.event)) < horizon


def test_13_this_and_following_is_a_question_and_never_a_copy_or_a_cancel(make: Make) -> None:
    world = mondays(make)
    changes = times(datetime(2026, 3, 16, 14, tzinfo=CHICAGO))
    world.calendar().this_and_following("mondays", datetime(2026, 3, 16, 10, tzinfo=CHICAGO), changes)
    later(world)
    result = world.run()
    assert not [delta for delta in result.deltas if delta.outcome is Outcome.DONE]
    assert kinds(result)[Kind.STALE_SERIES] >= 2
    assert len(world.rows()) == 4
    assert len(starts(world)) == 4


def test_14_an_event_beyond_the_horizon_that_is_moved_to_tomorrow_is_new(make: Make) -> None:
    world = make()
    world.calendar().insert(showing("far", datetime(2028, 1, 10, 15, tzinfo=UTC)))
    later(world)
    assert not world.run().deltas
    world.calendar().patch("far", times(NOW + timedelta(days=1)))
    later(world)
    assert [delta.action for delta in world.run().deltas] == ["create"]


def test_15_an_event_that_nobody_touched_comes_into_the_window_with_time(make: Make) -> None:
    world = make()
    world.calendar().insert(showing("later", NOW + timedelta(days=70)))  # in reach, not in the window
    world.calendar().insert(showing("farther", NOW + timedelta(days=120)))  # beyond both
    later(world)
    assert not world.run().deltas
    later(world, minutes=11 * 24 * 60)
    assert [delta.event for delta in world.run().deltas] == ["later"]
    later(world, minutes=51 * 24 * 60)
    assert [delta.event for delta in world.run().deltas] == ["farther"]


def test_16_rows_far_from_the_window_do_nothing(make: Make) -> None:
    world = make()
    agreed(world, ["e1"])
    world.calendar().insert(showing("old", datetime(2019, 5, 1, 15, tzinfo=UTC)))
    world.calendar().insert(showing("far", datetime(2040, 5, 1, 15, tzinfo=UTC)))
    later(world)
    result = world.run()
    assert not result.deltas
    assert not result.findings
    assert stored(world, mirror.c.event) == ["e1"]


# ---- 17 to 21: meaning ----------------------------------------------------------------------------------------------


def test_17_an_all_day_event_is_its_day_in_honolulu_and_in_auckland(make: Make) -> None:
    world = make(agents=(ANN, BOB), now=SPRING)
    for agent, zone in ((ANN, "Pacific/Honolulu"), (BOB, "Pacific/Auckland")):
        calendar = world.server.calendar(agent)
        calendar.zone = zone
        day = {"start": {"date": "2026-03-20"}, "end": {"date": "2026-03-21"}}
        calendar.insert({**showing(f"open{agent[:3]}", MONDAY), **day})
    later(world)
    world.run()
    assert world.rows("starts_at, ends_at, all_day") == [("2026-03-20 00:00:00", "2026-03-21 00:00:00", 1)] * 2


@pytest.mark.parametrize("sort", ["workingLocation", "birthday", "focusTime", "outOfOffice", "fromGmail"])
def test_18_what_is_no_appointment_by_its_type_makes_none(make: Make, sort: str) -> None:
    world = make()
    world.calendar().insert(showing("noise", eventType=sort))
    later(world)
    result = world.run()
    assert not result.deltas
    assert not world.rows()
    world.calendar().delete("noise")
    later(world)
    assert not world.run().findings


def test_19_one_meeting_on_three_calendars_is_one_record_and_a_decline_is_its_agents_own(make: Make) -> None:
    world = make(agents=(ANN, BOB, CID))
    world.calendar(ANN).insert(showing("team"))
    world.calendar(ANN).invite("team", BOB, CID)
    later(world)
    world.run()
    assert world.rows("agent_email, status") == [(ANN, "scheduled")]
    world.calendar(BOB).respond("team", "declined")
    later(world)
    result = world.run()
    assert not [delta for delta in result.deltas if delta.action != "update"]
    assert world.rows("agent_email, status") == [(ANN, "scheduled")]


def test_20_a_meeting_moved_to_a_colleague_is_reassigned_and_not_cancelled(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["e1"])
    world.calendar(ANN).move_to(world.calendar(BOB), "e1")
    later(world)
    result = world.run()
    assert kinds(result) == {Kind.WRONG_OWNER: 1}
    assert world.rows("id, agent_email, status") == [(1, BOB, "scheduled")]


def test_20_one_that_left_and_that_no_colleague_shows_is_cancelled_after_the_grace(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["e1"])
    world.calendar(ANN).move_to(world.server.calendar("someone@elsewhere.example"), "e1")
    later(world, minutes=1)
    assert not [delta for delta in world.run().deltas if delta.outcome is Outcome.DONE]
    later(world)
    world.run()
    assert world.rows("agent_email, status") == [(ANN, "cancelled")]


@pytest.mark.parametrize("loss", ["404", "403", "role", "reader", "bare"])
def test_21_a_calendar_that_lost_its_access_is_frozen_and_others_go_on(make: Make, loss: str) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["e1"])
    lose(world.calendar(ANN), loss)
    world.calendar(BOB).insert(showing("bobs1"))
    later(world)
    result = world.run()
    assert {one.agent: one.observed for one in result.calendars} == {ANN: False, BOB: True}
    assert status(world) == {"e1": "scheduled", "bobs1": "scheduled"}
    assert result.exit_code == 5
    assert kinds(result)[Kind.COVERAGE_GAP] == 1


def lose(calendar: Calendar, how: str) -> None:
    match how:
        case "404" | "403":
            calendar.revoke(int(how))
        case "role":
            calendar.set_role("freeBusyReader")
        case "reader":
            calendar.set_role("reader", keep_tokens=True)
        case "bare":
            calendar.delete("e1")
            bare = {"id": "evt02", "status": "confirmed", **times(SOON)}
            calendar.world.lock.acquire()
            row = calendar.keep(calendar.completed(showing("evt02")))
            row.event = {**bare, "kind": "calendar#event", "etag": row.event["etag"], "updated": row.event["updated"]}
            calendar.world.lock.release()


def test_21_after_three_strikes_the_gap_is_known_and_a_return_is_read_in_full(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    agreed(world, ["e1"])
    world.calendar(ANN).revoke()
    codes = []
    for _ in range(4):
        later(world, minutes=60)
        codes.append(world.run().exit_code)
    assert codes == [5, 5, 0, 0]
    world.calendar(ANN).restore()
    later(world, minutes=60)
    result = world.run()
    assert {one.agent: one.mode for one in result.calendars}[ANN] == "full"
    assert not result.findings
    assert status(world) == {"e1": "scheduled"}


# ---- 24 and 25: many ------------------------------------------------------------------------------------------------


def test_24_no_window_of_the_servers_ledger_exceeds_the_budget_while_it_refuses_now_and_then(make: Make) -> None:
    agents = tuple(f"agent{number:04}@acme.example" for number in range(400))
    world = make(agents=agents, section="", options="")
    world.section, world.limits = "", FREELY
    budget = "[budget.google]\nper_minute = 200\nper_agent_minute = 20\nper_day = 100000\nshare = 0.5\n"
    world.limits = f"{FREELY}\n{budget}"
    world.server.clock = lambda: datetime.fromtimestamp(world.waiting.now, UTC)
    world.server.faults.add(Fault(status=403, reason="rateLimitExceeded", share=0.05, retry_after=30))
    result = world.run()
    assert all(one.observed for one in result.calendars)
    assert world.server.ledger.most(60) <= 100
    assert max(world.server.ledger.most(60, of=agent) for agent in agents[:20]) <= 10
    assert all("quotaUser" in one for one in queries(world))


def test_24_a_days_budget_that_is_used_up_leaves_the_rest_for_later_and_is_no_failure(make: Make) -> None:
    agents = tuple(f"agent{number:04}@acme.example" for number in range(100))
    world = make(agents=agents)
    world.limits = f"{FREELY}\n[budget.google]\nper_day = 100\nshare = 0.5\n"
    world.server.clock = lambda: datetime.fromtimestamp(world.waiting.now, UTC)
    first = world.run()
    reached = sum(one.observed for one in first.calendars)
    assert 0 < reached < 100
    assert "budget" in str(next(one.why for one in first.calendars if not one.observed))
    later(world, minutes=24 * 60)
    world.run()
    asked = Counter(entry.agent for entry in world.server.requests())
    # More wait than sixteen readers can be ahead of the last attempt: nobody is read twice before everybody once.
    assert set(asked.values()) == {1}
    assert len(asked) > reached
    assert world.server.ledger.most(86_400) <= 50


def test_25_each_agent_is_read_as_itself_and_the_bad_are_set_apart(make: Make) -> None:
    agents = tuple(f"agent{number:03}@acme.example" for number in range(200))
    world = make(agents=agents, policy='relevant = ["all"]')
    for agent in agents:
        world.calendar(agent).insert(showing(f"of{agent[5:8]}", client=None, summary=f"of {agent}"))
    world.server.accounts.refuse(agents[0], "invalid_grant")
    world.calendar(agents[1]).refuse(403, "notACalendarUser")
    world.server.faults.add(
        Fault(what=Harm.HTML, status=200, agent=agents[2]), Fault(what=Harm.TORN_GZIP, agent=agents[3])
    )
    later(world)
    result = world.run()
    unseen = {one.agent for one in result.calendars if not one.observed}
    assert unseen == set(agents[:4])
    owners = dict(world.rows("source_key, agent_email"))
    assert len(owners) == 196
    assert all(key.partition("@")[0] == f"of{agent[5:8]}" for key, agent in owners.items())
    granted = Counter(entry.agent for entry in world.server.requests("token"))
    assert len(world.server.requests("token")) <= 200
    assert granted
    assert world.server.connections <= 2 * 16


def test_a_thousand_unchanged_calendars_cost_a_thousand_requests(make: Make) -> None:
    agents = tuple(f"agent{number:04}@acme.example" for number in range(1000))
    world = make(agents=agents)
    world.run()
    world.asked()
    later(world, minutes=5)
    result = world.run()
    assert world.asked() == 1000
    assert {one.mode for one in result.calendars} == {"incremental"}


def test_unchanged_calendars_are_written_down_together(make: Make) -> None:
    agents = tuple(f"agent{number:03}@acme.example" for number in range(300))
    world = make(agents=agents)
    world.run()
    later(world, minutes=5)
    statements: list[str] = []
    with world.setup() as setup:
        event.listen(setup.state.engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
        run(setup, Options())
    asked = [said for said in statements if not said.startswith("BEGIN")]
    own = [said for said in asked if "quota" not in said]
    assert len(own) < 80  # and so many, however many calendars there are
    assert len(asked) - len(own) < 100  # budgets are withdrawn in blocks
