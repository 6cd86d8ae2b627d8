"""Seeded faults become the causes that they are, with their beginning; ordinary days become none."""

from __future__ import annotations

import random
import shlex
import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World
from reconciler.findings import finding_key
from reconciler.model import Acceptance, Action, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report import cases
from reconciler.report.causes import TOLD, Causes, found
from reconciler.report.look import Look
from reconciler.report.recorded import Recorded, Stream, Taken, Tracked, Watched
from reconciler.report.report import Cause
from reconciler.report.words import moment, zone_of
from tests.traces import UNTIL, Trace, past_run

LOOK = Look(job="acme", zone="America/Chicago")
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SEEDS = range(6)


def ordinary(seed: int, **values: Any) -> Trace:
    trace = Trace(seed, **values)
    trace.bookings()
    trace.noise()
    return trace


def told(trace: Trace, **changes: Any) -> dict[str, Cause]:
    """Return the causes by their family."""
    return {one.key.partition("-")[0]: one for one in found(trace.recorded(**changes), LOOK).told}


def members(recorded: Recorded) -> dict[str, set[str]]:
    """Return the findings of each cause by its family."""
    causes = found(recorded, LOOK)
    members: dict[str, set[str]] = {one.key.partition("-")[0]: set() for one in causes.told}
    for tracked in recorded.findings:
        if key := causes.of(tracked):
            members[key.partition("-")[0]].add(tracked.finding.key)
    return members


def near(trace: Trace, fault: str, since: datetime | None, kind: Kind) -> bool:
    """Tell whether an onset is at most one finding of the kind away from the truth."""
    assert since is not None
    truth = trace.truth[fault]
    between = sorted((since, truth))
    changed = (one.finding.changed for one in trace.tracked if one.finding.kind is kind)
    return sum(between[0] < at <= between[1] for at in changed if at) <= 1


# ---- the score ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", [{}, {"period": 7 * DAY}, {"period": 30 * DAY}, {"days": 1}, {"days": 4}])
def test_ordinary_days_have_no_cause(values: dict[str, Any]) -> None:
    for seed in SEEDS:
        assert told(ordinary(seed, **values)) == {}, seed


@pytest.mark.parametrize("lost", [0.1, 0.5])
def test_where_people_enter_bookings_by_hand_nothing_is_silent(lost: float) -> None:
    for seed in SEEDS:
        trace = Trace(seed, period=7 * DAY)
        trace.bookings(lost=lost)
        trace.noise()
        assert told(trace) == {}, seed


@pytest.mark.parametrize("seed", SEEDS)
def test_a_pause_of_three_days_is_one_cause_with_its_beginning(seed: int) -> None:
    trace = Trace(seed, period=7 * DAY)
    trace.bookings(paused={"calendly": (UNTIL - 3 * DAY, UNTIL)})
    trace.noise()
    causes = told(trace)
    assert set(causes) == {"silent"}
    assert causes["silent"].title == "Bookings made with Calendly did not reach the CRM"
    assert causes["silent"].is_new
    assert near(trace, "silent calendly", causes["silent"].since, Kind.MISSING_IN_CRM)
    apart = members(trace.recorded())["silent"] ^ trace.of_fault["silent calendly"]
    assert len(apart) <= 1, "a booking that was lost by chance may be taken along"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_field_that_a_broken_mapping_leaves_empty_is_one_cause(seed: int) -> None:
    trace = ordinary(seed)
    trace.mapping_breaks(UNTIL - 1.5 * DAY)
    causes = told(trace)
    assert set(causes) == {"field"}
    assert causes["field"].title == "The CRM has no client in records, written by zapier"
    assert near(trace, "empty contact", causes["field"].since, Kind.CONTACT_MISSING)
    assert members(trace.recorded())["field"] >= trace.of_fault["empty contact"]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replay_is_one_cause(seed: int) -> None:
    trace = ordinary(seed)
    trace.replays(UNTIL - 20 * HOUR)
    causes = told(trace)
    assert set(causes) == {"doubled"}
    assert near(trace, "replay", causes["doubled"].since, Kind.DUPLICATE_IN_CRM)
    assert members(trace.recorded())["doubled"] == trace.of_fault["replay"]
    assert "Written within 11 minutes: that is what a replay looks like." in causes["doubled"].evidence


def test_copies_that_no_calendar_has_are_part_of_it_and_tell_of_nothing_alone() -> None:
    copies, trace = Trace(1), Trace(1)
    for one in (copies, trace):
        for number in range(8):
            clues = ("copy", "origin:webform", "origin:zapier")
            one.find(Kind.MISSING_IN_CALENDAR, one.people[number], UNTIL - 20 * HOUR, clues=clues)
    trace.replays(UNTIL - 20 * HOUR)
    assert told(copies) == {}
    assert told(trace)["doubled"].count == 68


def test_what_is_written_within_seconds_and_was_never_met_before_reads_like_that() -> None:
    trace = Trace(1)
    for number in range(8):
        trace.find(Kind.DUPLICATE_IN_CRM, trace.people[number], UNTIL - 20 * HOUR, clues=("origin:zapier",))
    evidence = told(trace)["doubled"].evidence
    assert "Written within a minute: that is what a replay looks like." in evidence
    assert "Before that, none of this kind was usual." in evidence


@pytest.mark.parametrize("seed", SEEDS)
def test_all_at_once_are_as_many_causes_as_there_are(seed: int) -> None:
    trace = Trace(seed, period=3 * DAY)
    trace.bookings(paused={"calendly": (UNTIL - 2.7 * DAY, UNTIL)})
    trace.noise()
    trace.mapping_breaks(UNTIL - 1.5 * DAY)
    trace.replays(UNTIL - 20 * HOUR)
    trace.zone_shifts(UNTIL - 20 * HOUR)
    trace.token_dies("south.example", UNTIL - 4 * HOUR)
    causes = told(trace)
    assert set(causes) == {"silent", "field", "doubled", "shift", "access"}
    parts = members(trace.recorded())
    assert parts["doubled"] >= trace.of_fault["replay"]
    assert parts["shift"] == trace.of_fault["shift"]
    assert {family: causes[family].count for family in parts if family != "access"} == {
        family: len(keys) for family, keys in parts.items() if family != "access"
    }, "a cause counts what is part of it"


# ---- silence --------------------------------------------------------------------------------------------------------


def paused(seed: int = 1, **values: Any) -> Trace:
    trace = Trace(seed, **values)
    trace.bookings(paused={"calendly": (UNTIL - 3 * DAY, UNTIL)})
    return trace


def test_what_went_wrong_on_the_days_before_as_well_is_not_new() -> None:
    cause = told(paused())["silent"]
    assert not cause.is_new
    assert any("since Tue 17 Nov 2026 there are more" in said for said in cause.evidence)


def test_a_pause_that_is_a_day_old_is_told_after_a_month_too() -> None:
    trace = Trace(3, days=40)
    trace.bookings(paused={"calendly": (UNTIL - 25 * DAY, UNTIL)})
    assert "silent" in told(trace, days=tuple(trace.rolled_up())[-30:])


def test_days_that_are_not_this_parts_say_nothing_of_what_is_usual() -> None:
    cause = told(paused(period=7 * DAY))["silent"]
    assert any("a day were usual" in said for said in cause.evidence)
    others = told(paused(period=7 * DAY), has_days=False)
    assert not any("a day were usual" in said for cause in others.values() for said in cause.evidence)


def test_a_silence_says_when_the_last_booking_came_by_itself() -> None:
    trace = paused(period=7 * DAY)
    heard = UNTIL - 3.2 * DAY
    trace.heard = dict.fromkeys(trace.people, heard)
    evidence = told(trace)["silent"].evidence
    assert any(
        said.endswith("without a write of this job: Tue 17 Nov 2026 02:12 CST (08:12 UTC).") for said in evidence
    )
    assert "A younger one that reached the CRM without a write of this job would disprove it." in evidence
    trace.heard = {}
    assert "No booking of these agents is known to have reached the CRM without a write of this job." in (
        told(trace)["silent"].evidence
    )


def test_all_of_a_source_is_silent_only_where_nothing_of_it_came_through() -> None:
    def silent(heard: datetime | None, people: int = 40) -> bool:
        trace = Trace(1, agents=people, domains=("north.example",))
        for number in range(20):
            trace.missing(trace.people[number % people], "", UNTIL - 10 * HOUR + number * timedelta(minutes=10))
        trace.heard = dict.fromkeys(trace.people, heard) if heard else {}
        return "silent" in told(trace)

    assert silent(UNTIL - 11 * HOUR)
    assert not silent(UNTIL - 8 * HOUR), "some came through meanwhile"
    assert not silent(None), "nobody knows of any that ever did"
    assert not silent(UNTIL - 11 * HOUR, people=1), "one agent may type them in"


def test_before_anything_is_usual_only_a_row_after_the_last_one_heard_is_a_silence() -> None:
    trace = Trace(1, days=1)
    for number in range(6):
        trace.missing(trace.people[number], "calendly", UNTIL - HOUR * (8 - number))
    assert told(trace) == {}
    trace.heard = dict.fromkeys(trace.people, UNTIL - 9 * HOUR)
    assert set(told(trace)) == {"silent"}
    trace.heard = dict.fromkeys(trace.people, UNTIL - 4 * HOUR)
    assert told(trace) == {}


def test_cancels_and_moves_of_the_same_scheduler_are_part_of_its_silence() -> None:
    trace = paused(period=7 * DAY)
    one = trace.find(Kind.CANCEL_NOT_PROPAGATED, trace.people[0], UNTIL - DAY, clues=("scheduler:calendly",))
    other = trace.find(Kind.CANCEL_NOT_PROPAGATED, trace.people[0], UNTIL - DAY, clues=("scheduler:acuity",))
    causes = found(trace.recorded(), LOOK)
    assert causes.of(one).startswith("silent-")
    assert causes.of(other) == ""


@pytest.mark.parametrize("kind", [Kind.CANCEL_NOT_PROPAGATED, Kind.ORPHAN_IN_CRM, Kind.RESCHEDULE_NOT_PROPAGATED])
def test_bookings_that_people_cancel_and_move_are_no_missing_ones(kind: Kind) -> None:
    trace = ordinary(4)
    for at in trace.working_times(6, trace.began, UNTIL):
        trace.find(kind, trace.random.choice(trace.people), at, clues=("scheduler:calendly",))
    assert "silent" not in told(trace)
    assert "silent" not in told(trace, since=UNTIL - 7 * DAY)


# ---- shifts ---------------------------------------------------------------------------------------------------------


def shifted(*seconds: int) -> Trace:
    trace = Trace(1)
    for agent, off in zip(trace.people, seconds, strict=False):
        clues = (f"shift:{off}", "records:7", "origin:zapier")
        trace.find(Kind.TZ_SHIFT, agent, UNTIL - HOUR, clues=clues, start="2026-11-24T15:00:00Z")
    return trace


def test_one_agents_shift_is_a_cause_with_the_zone_that_explains_it() -> None:
    cause = told(shifted(-21600))["shift"]
    assert cause.title == "Records of agent00@north.example are 6 h early in the CRM, written by zapier"
    assert "7 records stand behind it." in cause.evidence
    assert (
        "That is what America/Chicago is apart from UTC: local times look as if they were taken for UTC."
        in cause.evidence
    )
    command = "reconcile resolve --kind tz_shift --agent agent00@north.example --take calendar --dry-run --job acme"
    assert cause.following is not None
    assert cause.following.command == command


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (21600, "That is what America/Chicago is apart from UTC: UTC looks as if it was taken for local time."),
        (-3600, "That is the hour of daylight saving time."),
    ],
)
def test_a_shift_is_explained_where_a_zone_explains_it(seconds: int, said: str) -> None:
    assert said in told(shifted(seconds))["shift"].evidence


def test_a_shift_began_no_later_than_both_sides_were_written_and_than_it_was_seen() -> None:
    trace = shifted(-21600, -21600)
    assert told(trace)["shift"].since_said == f"since at least {moment(UNTIL - HOUR, zone_of(LOOK.zone))}"
    unknown = [replace(one, finding=replace(one.finding, changed=None)) for one in trace.tracked]
    assert told(trace, findings=unknown)["shift"].since_said.startswith("known since ")
    ahead = [replace(one, finding=replace(one.finding, changed=UNTIL + HOUR)) for one in trace.tracked]
    assert told(trace, findings=ahead)["shift"].since_said.startswith("known since ")


def test_two_shifts_are_two_causes() -> None:
    causes = found(shifted(-21600, -21600, 3600).recorded(), LOOK).told
    assert [(cause.count, cause.title[:18]) for cause in causes] == [
        (2, "Records of 2 agent"),
        (1, "Records of agent02"),
    ]


def moved(trace: Trace, agent: str, hours: int) -> Tracked:
    at = {"start": "2026-11-24T15:00:00Z", "end": "2026-11-24T16:00:00Z"}
    crm = {name: f"2026-11-24T{int(value[11:13]) + hours:02}:00:00Z" for name, value in at.items()}
    has = {Side.CALENDAR: at, Side.CRM: crm}
    return trace.find(Kind.RESCHEDULE_NOT_PROPAGATED, agent, UNTIL - HOUR, has=has)


def test_single_records_that_are_all_off_alike_are_a_shift() -> None:
    trace = Trace(1)
    for agent in trace.people[:14]:
        moved(trace, agent, -6)
    assert told(trace)["shift"].title == "Records of 14 agents are 6 h early in the CRM"


def test_appointments_that_people_moved_are_none() -> None:
    trace = Trace(1)
    for number, agent in enumerate(trace.people[:12]):
        moved(trace, agent, (-2, -1, 1, 2, 3, 4)[number % 6])
    assert told(trace) == {}


# ---- calendars ------------------------------------------------------------------------------------------------------


def blind(trace: Trace, agents: Iterable[str], at: datetime, why: Callable[[int], str]) -> None:
    for number, agent in enumerate(agents):
        trace.blind[agent] = (at, why(number))


def gap(trace: Trace, agent: str) -> Tracked:
    place = trace.place(agent)
    finding = Finding(
        key=finding_key(Kind.COVERAGE_GAP, f"{place.source}:{agent}:{place.name}"),
        kind=Kind.COVERAGE_GAP,
        severity=Severity.CRITICAL,
        remedy=Remedy.HUMAN,
        why="It was not read.",
        agent=agent,
        clues=("blind",),
    )
    return Tracked(finding=finding, first_seen=UNTIL, last_seen=UNTIL, sightings=1)


def test_a_dead_token_of_one_domain_is_one_cause_whatever_each_calendar_says() -> None:
    trace = ordinary(1)
    trace.token_dies("south.example", UNTIL - 4 * HOUR)
    causes = found(trace.recorded(), LOOK)
    [cause] = causes.told
    assert cause.title == "No calendar of south.example can be read (google)"
    assert (cause.count, cause.since, cause.is_new) == (13, UNTIL - 4 * HOUR, True)
    assert causes.of(gap(trace, trace.people[1])) == cause.key
    assert causes.of(gap(trace, trace.people[0])) == ""


def test_a_whole_source_that_is_refused_says_so() -> None:
    trace = Trace(1)
    blind(trace, [agent for agent in trace.people if agent.endswith("west.example")], UNTIL - HOUR, lambda _: "refused")
    assert told(trace)["access"].title == "No calendar of outlook can be read"


@pytest.mark.parametrize("count", [1, 2])
def test_one_or_two_calendars_of_many_stand_for_themselves(count: int) -> None:
    trace = Trace(1)
    blind(trace, trace.people[::3][:count], UNTIL - HOUR, lambda _: "refused")
    assert told(trace) == {}


def test_a_part_that_is_blind_as_a_whole_says_nothing_of_the_rest_of_its_source() -> None:
    trace = Trace(1, agents=3, domains=("north.example",))
    blind(trace, trace.people, UNTIL - HOUR, lambda _: "403 forbidden")
    assert told(trace)["access"].title == "No calendar of google can be read"
    assert told(trace, part="north")["access"].title == "No calendar of this part of the job can be read (google)"


def test_calendars_that_were_lost_months_apart_are_no_cause() -> None:
    trace = Trace(1)
    for number, agent in enumerate(trace.people[:6]):
        blind(trace, [agent], UNTIL - 20 * DAY * (number + 1), lambda _: "consent was taken back")
    assert told(trace) == {}


def test_feeds_that_are_a_source_each_are_taken_together() -> None:
    trace = Trace(1, agents=9)
    blind(trace, trace.people[:4], UNTIL - HOUR, lambda _: "the server does not answer")
    feeds = [
        replace(one, place=replace(one.place, source=f"ics-{number}", kind="ics"))
        for number, one in enumerate(trace.recorded().calendars)
    ]
    assert told(trace, calendars=tuple(feeds))["access"].title == "4 of 9 calendars of ics can't be read"


def test_a_thousand_reasons_are_one_cause() -> None:
    words = random.Random(7)
    trace = Trace(1, agents=1500)

    def why(_: int) -> str:
        return " ".join("".join(words.choices("abcdefgh", k=7)) for _ in range(6))

    blind(trace, trace.people[:1000], UNTIL - HOUR, why)
    causes = found(trace.recorded(), LOOK).told
    assert sum(cause.count for cause in causes) == 1000
    assert len(causes) <= 2, "one for each source"
    assert all("Several reasons are given" in " ".join(cause.evidence) for cause in causes)


def test_access_that_was_lost_before_the_period_is_old_and_after_it_is_not_told() -> None:
    trace = Trace(1)
    blind(trace, trace.people[:9], UNTIL - 2 * DAY, lambda _: "refused")
    assert not told(trace)["access"].is_new
    blind(trace, trace.people[:9], UNTIL + HOUR, lambda _: "refused")
    assert told(trace) == {}


def test_a_calendar_that_gives_its_events_new_ids_is_one_cause() -> None:
    trace = Trace(1)
    for _ in range(8):
        trace.find(Kind.AMBIGUOUS, trace.people[0], UNTIL - HOUR, tier=Tier.NATURAL)
        trace.find(Kind.ORPHAN_IN_CRM, trace.people[0], UNTIL - HOUR, clues=("unseen",))
    cause = told(trace)["churn"]
    assert cause.title == "Events of agent00@north.example come with new ids"
    assert cause.count == 16
    assert cause.following is not None
    assert cause.following.command == "reconcile link --suggested --dry-run --job acme"


def test_entries_that_are_broken_in_one_way_are_one_cause() -> None:
    trace = Trace(1)
    for number in range(4):
        why = f"An entry of this calendar can't be read: its time {number} has no zone called Zone{number}/X"
        trace.find(Kind.QUARANTINED, trace.people[0], UNTIL - HOUR, why=why)
    assert told(trace)["unreadable"].title == "4 entries of agent00@north.example can't be read"


# ---- what went at once ----------------------------------------------------------------------------------------------


def test_appointments_that_left_a_calendar_within_minutes_are_one_cause() -> None:
    trace = ordinary(2)
    for number in range(41):
        trace.find(Kind.CANCEL_NOT_PROPAGATED, trace.people[4], UNTIL - 5 * HOUR + timedelta(seconds=15 * number))
    cause = told(trace)["removed"]
    assert cause.title == "41 appointments of agent04@south.example left the calendar within 10 minutes"


def test_what_went_from_many_calendars_at_once_is_one_cause() -> None:
    trace = Trace(1)
    for agent in trace.people[:20]:
        for number in range(6):
            trace.find(Kind.CANCEL_NOT_PROPAGATED, agent, UNTIL - HOUR + timedelta(seconds=number))
    [cause] = found(trace.recorded(), LOOK).told
    assert (cause.count, cause.agents) == (120, 20)


def test_what_went_from_many_calendars_on_many_days_is_not_said_to_have_gone_at_once() -> None:
    trace = Trace(1, period=30 * DAY)
    for place, agent in enumerate(trace.people[:6]):
        for number in range(6):
            trace.find(Kind.CANCEL_NOT_PROPAGATED, agent, UNTIL - (9 - place) * DAY + timedelta(seconds=number))
    [cause] = found(trace.recorded(), LOOK).told
    assert cause.title == "36 appointments of 6 agents left the calendar within 5 days"
    assert cause.since == UNTIL - 9 * DAY
    assert cause.since_said.startswith("since at least Wed 11 Nov 2026")


def test_records_that_several_runs_missed_are_not_said_to_have_gone_at_once() -> None:
    trace = Trace(1, period=30 * DAY)
    for place in range(6):
        for agent in trace.people[:6]:
            trace.find(Kind.REMOVED_BY_HAND, agent, UNTIL - (9 - place) * DAY)
    [cause] = found(trace.recorded(has_days=False), LOOK).told
    assert cause.title == "36 records are gone from the CRM"
    assert not any("One run" in said for said in cause.evidence)


def test_records_that_one_run_missed_are_one_cause() -> None:
    trace = ordinary(2)
    for number in range(30):
        trace.find(Kind.REMOVED_BY_HAND, trace.people[number % 9], UNTIL - 5 * HOUR)
    cause = told(trace)["vanished"]
    assert cause.title == "30 records are gone from the CRM"
    assert any(said.startswith("One run missed all of them: ") for said in cause.evidence)
    assert cause.since == UNTIL - 5 * HOUR + timedelta(minutes=15)


# ---- writing --------------------------------------------------------------------------------------------------------


def written(trace: Trace, outcome: Outcome, why: str = "", **values: Any) -> Tracked:
    tracked = trace.find(Kind.FIELD_DRIFT, trace.people[0], UNTIL - HOUR, fields={"title": ("a", "b")}, **values)
    taken = (Taken(action=Action.UPDATE, side=Side.CRM, outcome=outcome, why=why),)
    trace.tracked[-1] = replace(tracked, taken=taken, finding=replace(tracked.finding, remedy=Remedy.FIX))
    return trace.tracked[-1]


def test_writes_that_fail_for_one_reason_are_one_cause() -> None:
    trace = Trace(1)
    for number in range(3):
        written(trace, Outcome.FAILED, f"the CRM answered: permission denied for row {number}")
    cause = told(trace)["writes"]
    assert cause.title == "Writes to the CRM fail for one reason"
    assert "For example: the CRM answered: permission denied for row " in cause.evidence[1]


def test_what_something_undoes_twice_is_one_cause() -> None:
    trace = Trace(1)
    for agent in trace.people[:2]:
        trace.find(Kind.FIELD_DRIFT, agent, UNTIL - HOUR, clues=("flapping", "origin:zapier"))
    cause = told(trace)["flapping"]
    assert cause.title == "Something undoes what this job writes"
    assert "The records were written by zapier, as the CRM says; who undoes it is not known." in cause.evidence


def test_a_refused_plan_is_one_cause_of_what_has_no_other() -> None:
    trace = shifted(-21600)
    one = written(trace, Outcome.PLANNED)
    refused = past_run(UNTIL, "refused", exit_code=4, result={"consent": {"digest": "7f3c9a1e52b0" * 5, "covers": 1}})
    recorded = trace.recorded(runs=(refused,), last=refused)
    causes = found(recorded, LOOK)
    [plan, shift] = causes.told
    assert (shift.count, plan.count) == (1, 1)
    assert plan.severity is Severity.HIGH, "however harmless what waits may be"
    assert causes.of(one) == plan.key
    assert plan.following is not None
    assert plan.following.command == "reconcile approve 7f3c9a1e52b0 --by YOU --why TEXT --job acme"
    assert "refused" not in told(trace), "an applied plan waits for nobody"


def test_agents_who_left_are_one_cause() -> None:
    trace = Trace(1)
    gaps = [gap(trace, agent) for agent in trace.people[:3]]
    left = [replace(one, finding=replace(one.finding, clues=("left",))) for one in gaps]
    cause = told(trace, findings=left)["left"]
    assert (cause.title, cause.count) == ("3 agents left, and records of appointments with them stand", 3)


def test_a_crm_that_was_not_read_is_a_cause() -> None:
    trace = Trace(1)
    one = gap(trace, "")
    crm = replace(one, finding=replace(one.finding, agent=None, why="The CRM shows 3 records, it had 900."))
    cause = told(trace, findings=[crm])["crm"]
    assert cause.evidence[-1] == "The CRM shows 3 records, it had 900."
    assert cause.severity is Severity.CRITICAL


# ---- who is part of it ----------------------------------------------------------------------------------------------


def test_what_people_know_and_what_is_a_moment_old_makes_no_cause() -> None:
    accepted = Acceptance(by="Jo", why="known", at=UNTIL, until=UNTIL + DAY, sides=b"")
    trace = shifted(-21600)
    [one] = trace.tracked
    known = replace(one, accepted=accepted)
    young = replace(one, finding=replace(one.finding, remedy=Remedy.HOLD, clues=("pending", "shift:-21600")))
    assert told(trace, findings=[known]) == {}
    assert told(trace, findings=[young]) == {}
    assert found(trace.recorded(), LOOK).of(known) == ""


def test_what_settled_without_us_is_no_cause_any_more() -> None:
    trace = shifted(-21600)
    over = replace(trace.tracked[0], resolved_at=UNTIL - timedelta(minutes=5))
    assert told(trace, findings=[over]) == {}


def test_what_was_told_before_is_not_new() -> None:
    trace = shifted(-21600, -21600)
    assert told(trace)["shift"].is_new
    old = [replace(one, first_seen=UNTIL - 2 * DAY) for one in trace.tracked]
    assert not told(trace, findings=old)["shift"].is_new


def test_a_cause_keeps_its_key_and_no_order_of_findings_changes_it() -> None:
    trace = ordinary(3)
    trace.replays(UNTIL - 20 * HOUR)
    trace.zone_shifts(UNTIL - 20 * HOUR)
    recorded = trace.recorded()
    keys = [one.key for one in found(recorded, LOOK).told]
    assert keys == [one.key for one in found(replace(recorded, findings=[*recorded.findings][::-1]), LOOK).told]
    later = replace(recorded, until=UNTIL + HOUR, since=UNTIL - HOUR)
    assert set(keys) <= {one.key for one in found(later, LOOK).told}


def test_nothing_at_all_has_no_cause() -> None:
    recorded = Recorded(job="acme", since=UNTIL - DAY, until=UNTIL, made_at=UNTIL)
    assert found(recorded, LOOK).told == ()
    assert Causes().of(shifted(-21600).tracked[0]) == ""


# ---- hostile --------------------------------------------------------------------------------------------------------


def endless(many: int) -> Iterator[Tracked]:
    """Yield findings of 50,000 agents, each with names of its own."""
    words = random.Random(8)
    for number in range(many):
        agent = f"agent{number % 50_000}@acme.example"
        kind = (Kind.FIELD_DRIFT, Kind.DUPLICATE_IN_CRM, Kind.CANCEL_NOT_PROPAGATED, Kind.QUARANTINED)[number % 4]
        finding = Finding(
            key=f"{number:012x}",
            kind=kind,
            severity=Severity.HIGH,
            remedy=Remedy.HUMAN,
            why=f"{words.random()} \u202e=cmd {'é' * 200}",
            agent=agent,
            changed=UNTIL - timedelta(seconds=words.randrange(10**9)),
            clues=(f"origin:writer{number}\x1b[31m", f"scheduler:{number}"),
            fields={"title": ("was", f"{number}")},
        )
        yield Tracked(finding=finding, first_seen=UNTIL - HOUR, last_seen=UNTIL, sightings=1)


def test_memory_does_not_grow_with_findings_nor_with_their_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cases, "NAMES", 100)  # so that few findings are many

    def peak(many: int) -> int:
        recorded = Trace(1).recorded(findings=Stream(lambda: endless(many)))
        tracemalloc.start()
        assert len(found(recorded, LOOK).told) <= TOLD
        _, most = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return most

    peak(100)  # what is made once
    assert peak(4_500) < 1.5 * peak(1_500)


def test_a_cause_is_found_among_endless_names() -> None:
    trace = Trace(1)
    trace.replays(UNTIL - 5 * HOUR)
    recorded = trace.recorded(findings=[*endless(5_000), *trace.tracked, *endless(5_000)])
    assert "doubled" in {one.key.partition("-")[0] for one in found(recorded, LOOK).told}


def test_what_names_say_stays_inert_and_short() -> None:
    spite = "=HYPERLINK(1)\x1b[2J\u202e\n<script>" + "é" * 9000
    trace = Trace(1)
    for number in range(30):
        clues = (f"origin:{spite}", "flapping")
        trace.find(
            Kind.FIELD_DRIFT,
            f"a{number};rm -rf x@acme.example",
            UNTIL - HOUR,
            clues=clues,
            fields={"title": ("", spite)},
        )
    for _ in range(4):
        trace.find(Kind.QUARANTINED, trace.people[0], UNTIL - HOUR, why=spite)
    blind(trace, trace.people[:9], UNTIL - HOUR, lambda _: spite)
    for cause in found(trace.recorded(), LOOK).told:
        for said in (cause.title, *cause.evidence, cause.since_said, cause.key):
            assert said.isprintable()
            assert "\u202e" not in said
            assert len(said) <= 400
        assert cause.following is not None
        assert ";" not in cause.following.command


# ---- commands -------------------------------------------------------------------------------------------------------


def every_cause() -> list[Cause]:
    """Return a cause of each family."""
    trace = ordinary(1, period=7 * DAY)
    trace.bookings(paused={"calendly": (UNTIL - 3 * DAY, UNTIL)})
    trace.mapping_breaks(UNTIL - 1.5 * DAY)
    trace.replays(UNTIL - 20 * HOUR)
    trace.zone_shifts(UNTIL - 20 * HOUR)
    trace.token_dies("south.example", UNTIL - 4 * HOUR)
    for number in range(6):
        at = UNTIL - 5 * HOUR + timedelta(seconds=number)
        trace.find(Kind.CANCEL_NOT_PROPAGATED, trace.people[4], at)
        trace.find(Kind.REMOVED_BY_HAND, trace.people[number], UNTIL - 5 * HOUR)
        trace.find(Kind.AMBIGUOUS, trace.people[0], at, tier=Tier.NATURAL)
        trace.find(Kind.QUARANTINED, trace.people[0], at)
        trace.find(Kind.FIELD_DRIFT, trace.people[number], at, clues=("flapping", "origin:zapier"))
        written(trace, Outcome.PLANNED, clues=(f"origin:writer{number}",))
        written(trace, Outcome.FAILED, "permission denied", clues=(f"origin:other{number}",))
    gaps = [gap(trace, agent) for agent in ("", *trace.people[:3])]
    gaps = [
        replace(one, finding=replace(one.finding, agent=one.finding.agent or None, clues=("left",))) for one in gaps
    ]
    refused = past_run(UNTIL, "refused", result={"consent": {"digest": "7f3c9a1e52b0"}})
    recorded = trace.recorded(runs=(refused,), last=refused)
    recorded = replace(recorded, findings=[*gaps, *recorded.findings])
    parts = [replace(recorded, findings=gaps), replace(recorded, calendars=())]
    return [cause for part in parts for cause in found(part, LOOK).told]


FAMILIES = {"access", "crm", "left", "flapping", "shift", "doubled", "removed", "vanished", "churn", "silent", "field"}


def test_each_cause_names_one_command_that_exists(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    causes = every_cause()
    assert {cause.key.partition("-")[0] for cause in causes} >= FAMILIES | {"unreadable", "writes", "refused"}
    world = World(environ={}, cwd=tmp_path, clock=lambda: datetime(2026, 11, 23, tzinfo=UTC))
    for cause in causes:
        assert cause.following is not None
        [name, *words] = shlex.split(cause.following.command)
        assert name == "reconcile"
        assert entry.call([*words, "--help"], world) == 0, capsys.readouterr()


def test_each_cause_says_since_when_and_what_speaks_for_it() -> None:
    for cause in every_cause():
        assert cause.title
        assert cause.evidence
        assert cause.since is not None
        assert cause.since_said.startswith(("since at least ", "known since ", "from "))
    assert max(Counter(cause.key for cause in every_cause()).values()) <= 2


def test_the_trace_has_calendars_to_watch() -> None:
    assert all(isinstance(one, Watched) for one in Trace(1).recorded().calendars)
