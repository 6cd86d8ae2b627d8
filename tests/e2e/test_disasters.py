"""What went wrong at others, ranked by what it cost them, and the tests that show that it can't happen here.

| row | disaster | shown by |
|---|---|---|
| 1 | everything deleted | test_a_calendar_that_was_wiped_from_our_sight_cancels_nothing_and_heals |
| | | test_a_calendar_that_was_wiped_stops_nobody_elses_repairs |
| | | test_a_path_that_was_changed_in_the_job_file_takes_no_record_along |
| | | test_a_list_that_answers_nothing_after_its_token_died_wipes_nothing |
| | | test_02_a_run_killed_between_two_pages_changes_nothing_and_the_next_ends_as_if_it_had_not_been |
| | | test_a_crm_that_was_wiped_wipes_no_calendar |
| 2 | attendees spammed | test_the_first_fill_of_a_calendar_and_its_end_mail_nobody |
| | | test_an_event_with_guests_is_left_to_a_person_and_nobody_is_mailed |
| | | test_an_event_with_a_client_is_left_to_people_because_exchange_would_mail_him |
| 3 | duplicates with every run | test_twelve_runs_make_no_duplicate_whatever_happens_before_each |
| | | test_twelve_runs_each_with_an_empty_state_make_no_duplicate |
| 4 | a dead cursor swallowed | test_05_a_dead_token_costs_one_full_read_and_what_is_left_keeps_its_links |
| | | test_14_a_dead_link_costs_one_whole_read_of_this_calendar |
| | | test_what_the_token_chain_lost_is_found_within_a_week_reported_and_put_right |
| 5 | the cursor moved before the data | test_a_run_killed_at_any_commit_ends_as_if_it_had_not_been |
| | | test_02_a_round_that_breaks_off_changes_nothing_and_the_next_run_replays_it |
| 6 | webhooks lost, late, twice | test_what_webhooks_lost_is_made_up_for_and_one_that_comes_late_finds_its_record |
| | | test_a_webhook_with_keys_of_its_own_is_never_doubled_and_said_to_belong_together |
| | | test_what_a_webhook_delivers_meanwhile_is_quietly_over |
| 7 | a token revoked, quietly | test_access_that_was_revoked_for_a_month_is_said_in_every_run_and_made_up_for_then |
| | | test_21_a_calendar_that_lost_its_access_is_frozen_and_others_go_on |
| | | test_22_a_mailbox_that_can_t_be_read_is_parked_and_nothing_of_it_is_cancelled |
| 8 | not seen taken for free | the same, for deletions; nobody is told here that an agent is free |
| 9 | an hour off, a wrong day | test_ten_in_chicago_is_ten_in_chicago_before_and_after_the_change_of_clocks |
| | | test_a_weekly_series_and_an_hour_that_does_not_exist_agree_with_a_crm_that_keeps_local_times |
| | | test_a_zone_that_nobody_knows_is_said_and_never_guessed |
| | | test_a_connector_that_writes_in_the_wrong_zone_is_one_finding_and_no_wave_of_writes |
| 10 | exceptions lost or doubled | test_09_a_cancelled_occurrence_goes_alone_and_stays_gone |
| | | test_10_a_moved_occurrence_is_one_on_its_new_day_and_none_on_its_old |
| | | test_12_a_moved_occurrence_moves_its_record |
| 11 | one bad user starves the fleet | test_calendars_that_are_bad_in_every_way_cost_the_others_nothing |
| | | test_each_calendar_has_its_turn_however_many_fail_and_however_few_a_run_can_read |
| 12 | storms of refusals | test_an_hour_of_refusals_in_the_middle_of_everything_costs_time_and_doubles_nothing |
| | | test_24_no_window_of_the_servers_ledger_exceeds_the_budget_while_it_refuses_now_and_then |
| | | test_17_who_asks_too_often_waits_and_others_do_not |
| 13 | what was deleted comes back | test_what_is_over_stays_over_for_a_month_of_runs_of_every_kind |
| | | test_after_the_state_was_lost_an_event_that_the_agent_deleted_is_not_made_again |
| | | test_05_a_deletion_that_no_list_shows_is_found_by_its_look_up |
| 14 | short reads accepted | test_06_a_full_read_that_breaks_off_sweeps_nothing |
| | | test_13_a_snapshot_of_nothing_where_there_was_much_is_refused_until_it_is_back |
| 15 | one meeting, N copies | test_19_one_meeting_on_three_calendars_is_one_record_and_a_decline_is_its_agents_own |
| | | test_a_meeting_of_a_google_agent_and_an_outlook_agent_is_one_record_of_its_organizer |
| 16 | attendees dropped | test_who_attends_and_whose_it_is_is_never_written_to_a_calendar |
| | | test_guests_that_google_leaves_out_are_not_taken_for_guests_that_are_not_there |
| 17 | the last to write wins | test_whose_edit_counts_is_told_by_what_was_agreed_and_never_by_a_clock |
| 18 | an update as delete and create | test_an_event_that_was_replaced_by_its_twin_is_one_record_and_a_question |
| | | test_a_move_is_written_into_the_record_that_is_there |
| 19 | no preview, no undo | test_a_dry_run_changes_nothing_and_shares_its_digest_with_the_run_after_it |
| | | test_what_was_done_by_mistake_is_seen_before_and_taken_back_after |
| 20 | an opaque status | test_every_finding_that_a_run_has_shown_can_be_explained |
| 21 | watch channels expire | none are kept: whoever reads on a schedule needs no channel |
| 22 | copies carry hidden ids | test_a_copy_that_carries_the_bookings_hidden_id_neither_takes_nor_loses_its_record |
| | | test_a_copy_that_a_person_made_of_our_event_is_an_event_like_any_other |
| 23 | overlapping runs | test_runs_that_start_at_the_same_instant_are_one_run_and_no_duplicate |
| | | test_of_two_processes_that_start_at_the_same_instant_one_writes |
| 24 | edges of days and windows | test_whole_days_keep_their_days_on_their_way_into_the_crm_and_back |
| | | test_day_by_day_over_the_ends_of_months_and_the_change_of_clocks_each_entry_is_made_once_and_left_alone |
| 25 | paused, and nobody knows | test_a_month_without_a_run_is_no_reason_to_cancel_what_a_feed_has_forgotten |
| | | test_a_job_that_was_paused_for_a_month_makes_up_for_all_of_it_at_once_and_for_nothing_that_is_past |
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from tests.e2e.google_world import FREELY, google_world, later
from tests.e2e.world import NOW, World, event, kinds, planned

Make = Callable[..., World]
HOUR = timedelta(hours=1)
SOON = NOW + timedelta(days=2)
ANN = "ann@acme.example"


def test_each_row_of_the_table_names_tests_that_there_are() -> None:
    told = __doc__ or ""
    assert re.findall(r"^\| (\d+) \|", told, re.MULTILINE) == [str(number) for number in range(1, 26)]
    tests = "\n".join(path.read_text() for path in Path(__file__).parents[1].rglob("test_*.py"))
    there = set(re.findall(r"^def (test_\w+)\(", tests, re.MULTILINE))
    assert set(re.findall(r"test_\w+", told)) - there == set()


# ---- rows 1 and 2, from the CRM to the calendars --------------------------------------------------------------------


def appointments(world: World, count: int) -> None:
    for number in range(count):
        world.insert(None, SOON + number * HOUR, contact_email=f"client{number}@mail.example")


@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_the_first_fill_of_a_calendar_and_its_end_mail_nobody(tmp_path: Path, sync: str) -> None:
    """Row 2: 700 clients were mailed by somebody's first sync. Whatever we write, we write it in silence."""
    with google_world(tmp_path, agents=(ANN,), limits=FREELY, sync=sync, scribe=True) as world:
        appointments(world, 30)
        later(world)
        filled = world.run()
        assert planned(filled) == [("create", "done")] * 30
        assert (filled.counts["notify"], len(world.shown()), world.mailed) == (0, 30, [])
        assert all("attendees" not in shown for shown in world.shown())
        cancelled = f"{world.now:%Y-%m-%d %H:%M:%S}"
        world.sql("UPDATE appointments SET status = 'cancelled', version = 2, updated_at = ?", cancelled)
        later(world)
        world.run()
        assert world.mailed == []
        told = {tuple(one.query["sendUpdates"]) for one in world.server.requests() if one.method != "GET"}
        assert told == {("none",)}


@pytest.mark.parametrize(
    "wipe", ["DELETE FROM appointments", "UPDATE appointments SET status = 'cancelled', version = 2"]
)
@pytest.mark.parametrize("sync", ["crm-to-calendar", "two-way"])
def test_a_crm_that_was_wiped_wipes_no_calendar(tmp_path: Path, sync: str, wipe: str) -> None:
    """Row 1, the other way: the office's table is emptied, or all of it is cancelled by a script."""
    with google_world(tmp_path, agents=(ANN,), limits='create = "100"', sync=sync, scribe=True) as world:
        appointments(world, 30)
        later(world)
        world.run()
        before = world.shown()
        assert len(before) == 30
        world.sql(wipe)
        for _ in range(3):
            later(world, hours=1)
            result = world.run()
            assert world.shown() == before
            is_for_a_person = not result.deltas and set(kinds(result)) == {"false_cancel"}
            assert (result.exit_code, bool(result.findings)) == (4, True) or is_for_a_person
        assert world.mailed == []


# ---- row 11: one bad user or event starves the fleet ----------------------------------------------------------------

FLEET = tuple(f"agent{number:02}@acme.example" for number in range(14))
RULES = ("RRULE:FREQ=SECONDLY", "RRULE:FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "RRULE:FREQ=NEVER")
BAD = {
    FLEET[0]: b"",
    FLEET[1]: b"\xff\xfe\x00 not a calendar",
    FLEET[2]: b"BEGIN:VCALENDAR\r\n" * 20_000,
}


def test_calendars_that_are_bad_in_every_way_cost_the_others_nothing(make: Make) -> None:
    """Row 11: some can't be read, some hold an entry without end, one is gone; all others are done in the same run."""
    world = make(agents=FLEET, limits='unobserved = "4"\ncreate = "100"')
    for agent, content in BAD.items():
        world.file(agent).write_bytes(content)
    world.file(FLEET[3]).unlink()
    for number, rule in enumerate(RULES, 4):
        world.write(FLEET[number], event(f"bad{number}", extra=f"{rule}\r\n"), event(f"e{number:02}", SOON + HOUR))
    for number, agent in enumerate(FLEET[7:], 7):
        world.write(agent, event(f"e{number:02}", SOON))
    result = world.run()
    assert {row[0] for row in world.rows("source_key") if row[0].startswith("e")} == {
        f"e{number:02}" for number in range(4, len(FLEET))
    }
    assert {one.agent for one in result.calendars if not one.observed} == set(FLEET[:4])
    for _ in range(3):
        world.now += HOUR
        world.write(FLEET[-1], event("e13", world.now + timedelta(days=5)))
        assert ("update", "done") in planned(world.run())


# ---- row 19: no preview, no undo ------------------------------------------------------------------------------------


def test_what_was_done_by_mistake_is_seen_before_and_taken_back_after(make: Make) -> None:
    """Row 19: a wrong calendar is connected. The plan shows it; once applied, the run is taken back, and stays so."""
    world = make()
    world.write(ANN, *(event(f"e{number}", SOON + number * HOUR) for number in range(5)))
    world.run()
    before = world.rows("id, starts_at, status")
    world.write(ANN, *(event(f"e{number}", SOON + (number + 30) * HOUR + number * HOUR) for number in range(5)))
    seen = world.dry()
    done = world.run()
    assert (seen.digest, planned(done)) == (done.digest, [("update", "done")] * 5)
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    assert entry.call(["revert", done.run, "--job", str(world.job())], outside) == 0
    assert world.rows("id, starts_at, status") == before
    for _ in range(3):
        world.now += HOUR
        assert (world.run().deltas, world.rows("id, starts_at, status")) == ((), before)
