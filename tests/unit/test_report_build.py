"""The report of a period: safe only where nothing is hidden, each finding once, the urgent first, no news twice."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.commands import NAMES
from reconciler.findings import finding_key
from reconciler.model import Action, Kind, Outcome, Remedy, Severity, Side
from reconciler.report import facts as facts_of
from reconciler.report.build import build
from reconciler.report.causes import Causes
from reconciler.report.look import Mood
from reconciler.report.recorded import Stream, Told, Tracked, Watched
from reconciler.report.report import Cause, Report, Standing
from reconciler.report.standing import Period
from reconciler.report.tally import Placed, Top, urgency
from tests.periods import (
    ANN,
    BOB,
    DIGEST,
    EARLIER,
    LATELY,
    LOOK,
    MADE_AT,
    NINE,
    SINCE,
    UNTIL,
    acceptance,
    fix,
    gap,
    period,
    place,
    refused_run,
    run,
    taken,
    tracked,
)

BLIND = Watched(
    place=place(BOB), seen_at=EARLIER, blind_since=LATELY, strikes=9, why="the access was withdrawn", next_try=MADE_AT
)
SEEN = Watched(place=place(), seen_at=UNTIL)


def report(*findings: Tracked, **given: Any) -> Report:
    urgent = given.pop("urgent", False)
    return build(period(*findings, **given), LOOK, urgent=urgent)


def urgent(*findings: Tracked, **given: Any) -> Report:
    return report(*findings, urgent=True, **given)


def person(key: str = "81d07743cc19", **given: Any) -> Tracked:
    return tracked(key, remedy=Remedy.HUMAN, **{"kind": Kind.CONFLICT, "severity": Severity.MEDIUM, **given})


def count(found: Report, name: str) -> int:
    return next((figure.count for figure in found.figures if figure.name == name), 0)


def new(found: Report, name: str) -> int:
    return next((figure.new for figure in found.figures if figure.name == name), 0)


# ---- in ten seconds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "mood", "says"),
    [
        (report(), Mood.SAFE, "120 appointments in sync, nothing new since Sun 22 Nov 06:55 CST"),
        (report(tracked("a1", Outcome.DONE)), Mood.SAFE, "1 fixed"),
        (report(tracked("a1", Outcome.DEFERRED)), Mood.SAFE, "1 put off to the next run"),
        (report(tracked("a1", Outcome.PLANNED)), Mood.SAFE, "1 to be written by the next run"),
        (report(tracked("a1", remedy=Remedy.HOLD, clues=("pending",))), Mood.SAFE, "nothing new since"),
        (report(person(accepted=acceptance())), Mood.SAFE, "120 appointments in sync"),
        (report(person()), Mood.NEEDS_YOU, "1 finding needs you (1 new)"),
        (report(person("a1"), person("a2", first=EARLIER)), Mood.NEEDS_YOU, "2 findings need you (1 new)"),
        (report(tracked("a1", Outcome.FAILED)), Mood.NEEDS_YOU, "1 could not be written"),
        (report(tracked("a1", Outcome.HELD)), Mood.NEEDS_YOU, "1 held back"),
        (
            report(tracked("a1", Outcome.DEFERRED, severity=Severity.CRITICAL)),
            Mood.NEEDS_YOU,
            "1 critical; 1 put off to the next run",
        ),
        (
            report(person(), calendars=(SEEN, BLIND)),
            Mood.BLIND,
            "1 of 2 calendars not seen, what they hold is left alone; 1 finding needs you (1 new)",
        ),
        (report(gap()), Mood.BLIND, "The CRM was not seen, nothing was planned"),
        (report(gap(ANN, "It was compared with a list made anew.")), Mood.BLIND, "1 gap in what was seen"),
        (report(last=None), Mood.BLIND, "No run has ended yet, nothing is known"),
        (
            report(last=refused_run(), calendars=(BLIND,)),
            Mood.REFUSED,
            "Plans are refused since Mon 23 Nov 06:55 CST, nothing of them is applied; 1 of 1 calendar not seen",
        ),
    ],
)
def test_the_headline_says_what_matters_most(found: Report, mood: Mood, says: str) -> None:
    assert found.mood is mood
    assert says in found.headline


def test_a_headline_is_short_enough_for_a_phone_and_keeps_what_matters_most() -> None:
    every = (Outcome.FAILED, Outcome.DEFERRED, Outcome.PLANNED, Outcome.HELD, Outcome.DONE)
    found = [tracked(f"b{number}", outcome) for number, outcome in enumerate(every)]
    said = report(person("a1", severity=Severity.CRITICAL), *found, calendars=(SEEN, BLIND)).headline
    assert said == (
        "1 of 2 calendars not seen, what they hold is left alone; 1 critical; 1 finding needs you (1 new); 1 fixed"
    )
    assert report(*found).headline == (
        "1 could not be written; 1 put off to the next run; 1 to be written by the next run; 1 fixed"
    )


def test_no_report_says_safe_of_a_job_that_stopped_running() -> None:
    late = MADE_AT + timedelta(days=2)
    found = report(made_at=late)
    assert (found.mood, found.is_quiet) == (Mood.BLIND, False)
    assert "No run has ended for 2 days" in found.headline
    assert any("reconcile status acme" in step.command for step in found.following)
    assert report(made_at=late, is_past=True).mood is Mood.SAFE, "of a month that is over nobody expects a run today"
    assert report(made_at=late, stale=timedelta(days=8)).mood is Mood.SAFE, "nor of a job that runs once a week"


def test_the_headline_of_a_period_that_was_asked_for_says_of_when_it_speaks() -> None:
    found = report(made_at=MADE_AT + timedelta(days=30), is_past=True)
    assert found.headline.startswith("As of Mon 23 Nov 06:55 CST: ")
    assert not report().headline.startswith("As of")


def test_a_calendar_that_was_never_read_is_not_seen() -> None:
    found = report(calendars=(SEEN, Watched(place=place(BOB))))
    assert found.mood is Mood.BLIND
    assert [(one.name, one.why) for one in found.unseen] == [(BOB, "it was not read yet: what it holds is not known")]


def test_what_a_run_at_work_notes_is_not_told() -> None:
    later = replace(BLIND, blind_since=UNTIL + timedelta(seconds=1))
    assert report(calendars=(SEEN, later)).mood is Mood.SAFE


@pytest.mark.parametrize(
    ("found", "says"),
    [
        (report(), "all is well \u2013 Acme Realty \u2013 2026-11-23"),
        (report(person(), tracked("f1", Outcome.DONE)), "1 fixed, 1 needs you \u2013 Acme Realty \u2013 2026-11-23"),
        (
            report(
                *(person(f"a{n}", severity=Severity.CRITICAL) for n in range(3)),
                person("b1"),
                *(tracked(f"f{n}", Outcome.DONE) for n in range(12)),
            ),
            "3 critical, 12 fixed, 4 need you \u2013 Acme Realty \u2013 2026-11-23",
        ),
        (report(calendars=(SEEN, BLIND)), "1 not seen \u2013 Acme Realty \u2013 2026-11-23"),
        (report(last=refused_run()), "REFUSED \u2013 Acme Realty \u2013 2026-11-23"),
        (report(part="Lakeview"), "all is well \u2013 Acme Realty, Lakeview \u2013 2026-11-23"),
        (
            urgent(calendars=(SEEN, BLIND)),
            "URGENT: 1 not seen \u2013 Acme Realty \u2013 2026-11-23",
        ),
    ],
)
def test_the_subject_has_the_numbers_whose_they_are_and_the_day(found: Report, says: str) -> None:
    assert found.subject == says


def test_the_day_of_a_report_is_that_of_its_readers() -> None:
    night = UNTIL.replace(hour=3)
    assert report(until=night, last=run(at=night)).subject.endswith("2026-11-22")


def test_old_and_new_are_counted_apart() -> None:
    found = report(
        person("a1", severity=Severity.HIGH),
        person("a2", severity=Severity.HIGH, first=EARLIER),
        tracked("f1", Outcome.DONE, first=EARLIER),
        calendars=(SEEN, BLIND),
    )
    assert (count(found, "needs_you"), new(found, "needs_you")) == (2, 1)
    assert (count(found, "high"), new(found, "high")) == (2, 1)
    assert (count(found, "open"), new(found, "open")) == (2, 1)
    assert (count(found, "fixed"), new(found, "fixed")) == (1, 0)
    assert (count(found, "not_seen"), new(found, "not_seen")) == (1, 1)
    assert [figure.name for figure in report().figures] == ["critical", "needs_you", "open", "fixed", "resolved"]


# ---- what was not seen ----------------------------------------------------------------------------------------------


def test_what_was_not_seen_is_said_with_its_reason_since_when_and_when_it_is_tried_again() -> None:
    [one] = report(calendars=(SEEN, replace(BLIND, next_try=MADE_AT + timedelta(hours=1)))).unseen
    assert (one.name, one.source, one.why, one.is_new) == (BOB, "google", "the access was withdrawn", True)
    assert one.since == "since Mon 23 Nov 2026 04:55 EST (09:55 UTC), 3 hours, 9 tries"
    assert one.next_try == "next try Mon 23 Nov 2026 09:00 EST (14:00 UTC)"


def test_a_blind_calendar_is_said_once_though_a_finding_says_it_too() -> None:
    same = gap(BOB, key=finding_key(Kind.COVERAGE_GAP, f"google:{BOB}:primary"))
    found = report(same, calendars=(SEEN, BLIND))
    assert len(found.unseen) == count(found, "not_seen") == 1
    assert [row.standing for row in found.rows()] == [Standing.NOT_SEEN], "tables say it too"
    assert count(found, "open") == 0


def test_a_gap_that_somebody_accepted_stays_first_in_the_report_and_alarms_nobody() -> None:
    known = gap(BOB, key=finding_key(Kind.COVERAGE_GAP, f"google:{BOB}:primary"), accepted=acceptance())
    found = report(known, calendars=(SEEN, BLIND))
    assert found.mood is Mood.SAFE
    assert [one.why for one in found.unseen] == ["the access was withdrawn; accepted by pat until 2026-12-23"]


def test_the_crm_is_named_before_all_calendars_and_old_gaps_after_new_ones() -> None:
    old = replace(BLIND, place=place(ANN), blind_since=EARLIER)
    assert [one.name for one in report(gap(), calendars=(old, BLIND)).unseen] == ["the CRM", BOB, ANN]


def test_of_many_calendars_the_first_are_listed_and_the_rest_counted() -> None:
    many = tuple(replace(BLIND, place=place(f"agent{n}@acme.example")) for n in range(1204))
    found = report(calendars=many)
    assert len(found.unseen) == facts_of.LISTED
    assert found.unseen_more == "1,184 more: `reconcile status acme` lists every calendar"
    assert count(found, "not_seen") == 1204


def test_coverage_is_said_in_numbers_and_of_a_part_without_those_of_all() -> None:
    assert report(calendars=(SEEN, BLIND)).coverage == "1 of 2 calendars seen; 122 events, 120 CRM records"
    assert report(part="Lakeview").coverage == "2 of 2 calendars seen"
    assert "in sync" not in report(part="Lakeview").headline


def test_a_gap_is_new_once_more_when_nobody_accepts_it_any_longer() -> None:
    [old] = report(replace(gap(first=EARLIER), settled_at=EARLIER)).unseen
    [lapsed] = report(replace(gap(first=EARLIER), settled_at=LATELY)).unseen
    assert (old.is_new, lapsed.is_new) == (False, True)
    assert old.since == lapsed.since


def test_gaps_that_closed_are_counted() -> None:
    assert "2 gaps in what was seen closed again." in report(gap(resolved=LATELY), gap(resolved=UNTIL)).summary
    assert report(gap(resolved=SINCE)).is_quiet, "that was told before"


# ---- refusals -------------------------------------------------------------------------------------------------------


def test_a_refusal_says_its_numbers_and_how_to_consent() -> None:
    found = report(tracked("a1", Outcome.PLANNED), last=refused_run())
    said = " ".join(found.refusal[0].split())
    assert said == "cancel 41 of 260 linked records (15.8 %) allowed 13 (10 or 5%) [limits.cancel]"
    assert found.refusal[1].startswith(f"WITHHELD {BOB}: 0 events")
    commands = [step.command for step in found.following]
    assert f"reconcile approve {DIGEST[:12]} --by YOU --why TEXT --job acme" in commands
    [row] = found.rows()
    assert row.fate == "update: waits: the plan was refused, and a person has to consent"


def test_a_refusal_says_whose_most_of_it_is() -> None:
    cancels = [tracked(f"a{n}", agent=BOB if n < 31 else ANN) for n in range(41)]
    planned = [replace(one, taken=(taken(Outcome.PLANNED, action=Action.CANCEL),)) for one in cancels]
    assert report(*planned, last=refused_run()).refusal[1] == f"31 of the 41 are {BOB}'s."
    assert "31 of" not in "".join(report(*planned, last=refused_run(), part="Lakeview").refusal), "it knows but its own"


def test_who_is_withheld_is_said_though_the_rest_was_applied() -> None:
    partial = replace(refused_run(), status="partial")
    found = report(last=partial)
    assert found.mood is Mood.SAFE
    assert any(line.startswith("WITHHELD") for line in found.refusal)


def test_a_run_that_ended_with_a_sentence_is_refused_by_it() -> None:
    found = report(last=run(status="refused", why="Google refuses this program: its key was revoked."))
    assert found.refusal == ("Google refuses this program: its key was revoked.",)


@pytest.mark.parametrize(("before", "is_new"), [(None, True), (run(at=SINCE), True), (refused_run(SINCE), False)])
def test_a_refusal_is_new_once(before: Any, *, is_new: bool) -> None:
    stretch = (refused_run(), refused_run(LATELY, "01Q"))
    found = urgent(last=stretch[0], runs=stretch, before=before)
    assert (found.mood is Mood.REFUSED) == is_new
    assert found.is_quiet != is_new
    again = report(last=stretch[0], runs=stretch, before=before)
    assert (again.mood, again.is_quiet) == (Mood.REFUSED, not is_new)


def test_a_refusal_is_new_again_after_a_run_that_was_not_refused() -> None:
    runs = (refused_run(), run("01Q", LATELY))
    assert not urgent(last=runs[0], runs=runs, before=refused_run(SINCE)).is_quiet


def test_a_refusal_lasts_until_an_ordinary_run_is_not_refused() -> None:
    settled = run("01S", UNTIL, "applied", command="resolve")
    runs = (settled, refused_run(LATELY))
    assert report(last=settled, runs=runs).mood is Mood.REFUSED
    assert report(last=run(), runs=(run(), refused_run(LATELY))).mood is Mood.SAFE


def test_a_refusal_from_before_the_period_lasts_over_commands_unless_one_of_them_was_asked_for() -> None:
    settled = run("01S", UNTIL, "applied", command="resolve")
    known = {"last": settled, "runs": (settled,), "before": refused_run(SINCE)}
    assert (report(**known).mood, report(**known).is_quiet) == (Mood.REFUSED, True)
    assert report(**known, is_past=True).mood is Mood.SAFE


def test_a_stored_result_of_any_shape_makes_a_report() -> None:
    odd: tuple[Any, ...] = (
        {"violations": "no", "consent": [], "approvals": {}},
        {"violations": [1, {"limit": 3}, {"limit": "day", "found": "x", "action": "fly"}], "consent": {"covers": 2}},
        {
            "approvals": [{"by": 1, "dropped": "abc", "expired": "yesterday"}],
            "consent": {"digest": "$(rm)", "covers": 1},
        },
    )
    for result in odd:
        found = report(last=replace(refused_run(), result=result))
        assert found.mood is Mood.REFUSED
        assert not any("approve" in step.command for step in found.following)


def test_what_consents_came_to_is_noted() -> None:
    given = {"digest": DIGEST, "by": "pat", "covered": 39, "dropped": ["uid1", "uid2"], "expired": None}
    [note] = report(last=run(result={"approvals": [given]})).notes
    assert (
        note
        == "pat's consent to 7f3c9a1e52b0 covers 39 of what is planned; 2 changed since and dropped out: uid1, uid2."
    )


# ---- findings -------------------------------------------------------------------------------------------------------


def test_sections_stand_in_the_order_in_which_they_are_read() -> None:
    found = report(
        tracked("a1", Outcome.PLANNED),
        person("a2", first=EARLIER),
        tracked("a3", Outcome.FAILED),
        tracked("a4", Outcome.HELD),
        tracked("a5", Outcome.DONE),
        tracked("a6", resolved=LATELY),
        person("a7", accepted=acceptance()),
        tracked("a8", remedy=Remedy.HOLD, clues=("pending",)),
    )
    assert [(section.name, [row.key for row in section.rows]) for section in found.sections] == [
        ("new", ["a1"]),
        ("open", ["a2"]),
        ("undone", ["a3"]),
        ("held", ["a4"]),
        ("fixed", ["a5"]),
        ("resolved", ["a6"]),
        ("accepted", ["a7"]),
    ]
    assert count(found, "pending") == 1


def test_a_section_lists_the_most_urgent_and_counts_the_rest_by_kind() -> None:
    soon = person("a0", severity=Severity.CRITICAL, start="2026-11-23T13:30:00Z")
    rest = [person(f"b{n:02}", start=f"2026-12-{n + 1:02}T15:00:00Z") for n in range(25)]
    past = person("c0", start="2026-11-20T15:00:00Z")
    low = person("d0", severity=Severity.LOW, kind=Kind.FIELD_DRIFT)
    [section] = report(past, low, *reversed(rest), soon).sections
    assert [row.key for row in section.rows] == ["a0", *(f"b{n:02}" for n in range(19))]
    assert section.unlisted == ("7 more: Both sides changed", "1 more: Text differs")
    assert section.count == 28


def test_no_more_findings_are_held_than_are_listed() -> None:
    top = Top(5)
    for n in range(1000):
        one = Placed(tracked(f"{999 - n:04}"), Standing.WAITS, "", is_new=True)
        top.add(urgency(one, Period(since=SINCE, until=UNTIL)), one)
        assert len(top.kept) <= 20
    assert [one.tracked.finding.key for one in top.listed()] == [f"{n:04}" for n in range(5)]
    assert top.unlisted() == {Kind.RESCHEDULE_NOT_PROPAGATED: 995}


def test_findings_are_walked_through_and_never_held() -> None:
    walks = Counter[str]()

    def findings() -> Iterator[Tracked]:
        walks["begun"] += 1
        yield from (tracked(f"{n:012x}") for n in range(100))
        walks["ended"] += 1

    found = build(replace(period(), findings=Stream(findings)), LOOK)
    before = walks["begun"]
    assert before == walks["ended"] <= 4
    rows = found.rows()
    assert next(rows).key == "000000000000"
    assert (walks["begun"], walks["ended"]) == (before + 1, before), "rows are made as they are asked for"
    assert len(list(found.rows())) == len(list(found.rows())) == 100


def test_a_row_says_whose_with_whom_when_on_both_sides_what_differs_and_where_to_open_it() -> None:
    [row] = report(tracked("5f2c9a1e52b0", Outcome.PLANNED), office_of={ANN: "Lakeview"}).rows()
    assert (row.agent, row.office, row.client, row.title) == (ANN, "Lakeview", "jo@home.example", "Showing 12 Oak St")
    assert row.calendar_time == "Tue 24 Nov 2026 10:00 CST (16:00 UTC)"
    assert row.crm_time == "Tue 24 Nov 2026 09:00 CST (15:00 UTC)"
    assert (row.calendar_start, row.crm_start) == ("2026-11-24T16:00:00Z", NINE)
    assert [(each.name, each.said) for each in row.changes] == [("start", f"{row.crm_time} → {row.calendar_time}")]
    assert row.matched == "by source key"
    assert row.fate == "update: will be written by a run"
    assert row.calendar_link.startswith("https://www.google.com/calendar/event?eid=")
    assert row.crm_link == "https://crm.acme.example/appointments/17"
    assert (row.age, row.is_new) == ("3 hours", True)


def test_times_are_those_of_the_agent() -> None:
    [row] = report(tracked("a1", agent=BOB)).rows()
    assert row.calendar_time == "Tue 24 Nov 2026 11:00 EST (16:00 UTC)"


def test_a_finding_of_an_older_version_says_what_its_fields_tell() -> None:
    [row] = report(tracked("a1", has={})).rows()
    assert (row.calendar_start, row.crm_start, row.title) == ("2026-11-24T16:00:00Z", NINE, "")
    [row] = report(tracked("a1", has={}, event=None, fields={})).rows()
    assert (row.calendar_start, row.crm_start) == ("", "2026-11-24T16:00:00Z")


def test_several_clients_are_counted_and_a_private_event_has_none() -> None:
    people = ("jo@home.example", "kim@home.example", "lee@home.example")
    [row] = report(tracked("a1", has={Side.CALENDAR: {"contact": people}})).rows()
    assert row.client == "jo@home.example and 2 more"
    [row] = report(tracked("a1", has={Side.CALENDAR: {"start": NINE}, Side.CRM: {"start": NINE}})).rows()
    assert (row.client, row.title) == ("", "")


@pytest.mark.parametrize(
    ("one", "fate"),
    [
        (person(accepted=acceptance()), "nothing: pat accepted it until 2026-12-23 (it is meant to be so)"),
        (tracked("a1", resolved=LATELY), "nothing: it is not found any more"),
        (tracked("a1", remedy=Remedy.HOLD, clues=("pending",)), "waits: it is a moment old, and left to the live"),
        (tracked("a1", Outcome.DONE), "update: done"),
        (tracked("a1", Outcome.DONE, Outcome.FAILED), "update: done; update: failed, the next run tries again"),
        (person(), "a person decides: settle which side is right, and change the other"),
        (tracked("a1"), "is put right by a run that may write"),
    ],
)
def test_a_row_says_what_becomes_of_it(one: Tracked, fate: str) -> None:
    [row] = report(one).rows()
    assert row.fate.startswith(fate)


def test_of_a_period_that_is_long_over_it_is_told_what_was_known_then() -> None:
    after = UNTIL + timedelta(days=3)
    fixed_later = tracked("a1", Outcome.DONE, last=after, resolved=after + timedelta(hours=1))
    accepted_later = person("a2", last=after, accepted=replace(acceptance(), at=after))
    fixed_then = tracked("a3", Outcome.DONE, resolved=after)
    found = report(fixed_later, accepted_later, fixed_then, is_past=True)
    assert [(row.key, row.standing, row.resolved_at) for row in found.rows()] == [
        ("a1", Standing.WAITS, None),
        ("a2", Standing.NEEDS_YOU, None),
        ("a3", Standing.FIXED, None),
    ]
    assert next(found.rows()).fate == "is put right by a run that may write"


def test_a_write_of_which_nobody_knew_is_told_as_fixed_once_it_was_found() -> None:
    [row] = report(tracked("a1", Outcome.UNKNOWN, resolved=UNTIL), fixes=[fix("a1")]).rows()
    assert (row.standing, row.fate) == (Standing.FIXED, "put right: what we wrote was found to have arrived")


# ---- causes ---------------------------------------------------------------------------------------------------------


def cause(key: str, **given: Any) -> Cause:
    usual: dict[str, Any] = {
        "title": "Calendly has been silent",
        "evidence": ("38 bookings were made since then.",),
        "severity": Severity.HIGH,
        "since": LATELY,
        "since_said": "since then",
        "count": 2,
        "agents": 1,
        "is_new": True,
    }
    return Cause(key=key, **{**usual, **given})


def explained(monkeypatch: pytest.MonkeyPatch, *told: Cause) -> None:
    """Let findings whose event is called like a cause be part of it."""
    keys = {one.key for one in told}

    class Known(Causes):
        def of(self, tracked: Tracked) -> str:
            event = tracked.finding.event or ""
            return event if event in keys else ""

    monkeypatch.setattr(facts_of, "found", lambda *_: Known(told=told))


def test_what_belongs_to_a_cause_is_counted_and_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    explained(monkeypatch, cause("webhook"))
    found = report(person("a1", event="webhook"), person("a2", event="webhook"), person("a3"))
    [section] = found.sections
    assert [row.key for row in section.rows] == ["a3"]
    assert (section.count, section.unlisted) == (3, ("2 more belong to the causes above",))
    assert [(row.key, row.cause) for row in found.rows()] == [("a1", "webhook"), ("a2", "webhook"), ("a3", "")]
    assert "1 cause stands behind 2 of 3 open findings." in found.summary


def test_a_new_cause_is_news_and_an_old_one_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    explained(monkeypatch, cause("webhook"))
    assert not report().is_quiet
    explained(monkeypatch, cause("webhook", is_new=False))
    assert report().is_quiet


# ---- what is urgent -------------------------------------------------------------------------------------------------

SOON = "2026-11-23T14:00:00Z"


def near(key: str = "a1", **given: Any) -> Tracked:
    """Return a finding that became critical in the period: its appointment begins soon."""
    return person(key, **{"severity": Severity.CRITICAL, "start": SOON, "has": {}, **given})


def test_an_urgent_report_has_only_what_is_newly_refused_blind_or_critical() -> None:
    old = replace(BLIND, place=place(ANN), blind_since=EARLIER)
    found = urgent(
        near("a1", first=EARLIER),
        person("a2"),
        tracked("a3", Outcome.DONE),
        calendars=(SEEN, old, BLIND),
        fixes=[fix(None)],
    )
    assert not found.is_quiet
    assert [one.name for one in found.unseen] == [BOB]
    assert [row.key for section in found.sections for row in section.rows] == ["a1"]
    assert [row.key for row in found.rows()] == ["a1"]
    assert (found.trends, found.lines) == ((), ())
    assert {figure.name: figure.count for figure in found.figures} == {
        "not_seen": 1,
        "critical": 1,
        "needs_you": 1,
        "open": 1,
    }


@pytest.mark.parametrize(
    "findings",
    [
        (),
        (person(),),
        (tracked("a1", Outcome.FAILED),),
        (near(first=EARLIER, start="2026-11-23T12:58:00Z", last=SINCE, accepted=acceptance()),),
        (near(resolved=UNTIL),),
        (person(severity=Severity.CRITICAL, start=None, has={}, first=EARLIER),),
    ],
)
def test_there_is_no_urgent_report_of_what_can_wait_or_was_told(findings: tuple[Tracked, ...]) -> None:
    found = urgent(*findings, calendars=(SEEN, replace(BLIND, blind_since=EARLIER)))
    assert (found.is_quiet, found.mood, found.unseen, found.sections) == (True, Mood.SAFE, (), ())
    assert found.headline == "Nothing urgent since Sun 22 Nov 06:55 CST"


def test_a_cause_is_urgent_once(monkeypatch: pytest.MonkeyPatch) -> None:
    explained(monkeypatch, cause("webhook", is_new=False))
    assert urgent(near(event="webhook")).is_quiet
    explained(monkeypatch, cause("webhook"))
    found = urgent(near(event="webhook"))
    assert [one.key for one in found.causes] == ["webhook"]
    assert [row.key for row in found.rows()] == ["a1"]
    assert urgent(person(event="webhook")).causes == (), "it is new, but none of it can't wait"
    explained(monkeypatch, cause("webhook", severity=Severity.CRITICAL))
    assert len(urgent().causes) == 1
    explained(monkeypatch, cause("webhook", severity=Severity.CRITICAL, is_new=False))
    assert urgent().causes == ()


def test_a_calendar_that_is_lost_to_a_cause_that_was_told_is_not_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    lost = gap(BOB, key=finding_key(Kind.COVERAGE_GAP, f"google:{BOB}:primary"))
    lost = replace(lost, finding=replace(lost.finding, event="access"))
    explained(monkeypatch, cause("access", is_new=False))
    assert urgent(lost, calendars=(SEEN, BLIND)).is_quiet
    explained(monkeypatch, cause("access"))
    assert not urgent(lost, calendars=(SEEN, BLIND)).is_quiet
    assert urgent(replace(lost, accepted=acceptance()), calendars=(SEEN, BLIND)).unseen == (), "somebody knows"


# ---- silence --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "is_quiet"),
    [
        (report(), True),
        (report(person(first=EARLIER)), True),
        (report(tracked("a1", Outcome.FAILED, first=EARLIER)), True),
        (report(tracked("a1", remedy=Remedy.HOLD, clues=("pending",))), True),
        (report(calendars=(SEEN, replace(BLIND, blind_since=EARLIER))), True),
        (report(told=(Told(kind="report", status="sent", since=EARLIER, until=SINCE),)), True),
        (report(person()), False),
        (report(person(first=EARLIER, severity=Severity.CRITICAL, start=SOON, has={})), False),
        (report(tracked("a1", first=EARLIER, resolved=LATELY)), False),
        (report(tracked("a1", Outcome.DONE, first=EARLIER)), False),
        (report(fixes=[fix(None)]), False),
        (report(calendars=(SEEN, BLIND)), False),
        (report(replace(gap(first=EARLIER), settled_at=EARLIER)), True),
        (report(replace(gap(first=EARLIER), settled_at=LATELY)), False),
        (report(gap(first=EARLIER, resolved=LATELY)), False),
        (report(last=refused_run()), False),
        (report(told=(Told(kind="report", status="unconfirmed", since=EARLIER, until=SINCE),)), False),
    ],
)
def test_a_report_is_quiet_if_the_one_before_could_have_said_it(found: Report, *, is_quiet: bool) -> None:
    assert found.is_quiet == is_quiet


def test_an_earlier_report_that_may_not_have_arrived_is_named() -> None:
    lost = Told(kind="report", status="unconfirmed", since=EARLIER, until=SINCE, why="silence after the message")
    owed = Told(kind="urgent", status="refused", since=EARLIER, until=SINCE, why="550 no such user")
    found = report(told=(lost, owed))
    [unconfirmed, refused] = found.notes
    assert unconfirmed == (
        "The report of Sun 22 Nov 2026 06:55 CST (12:55 UTC) may not have arrived (silence after the message): "
        "`reconcile report acme --send --again` sends it once more."
    )
    assert refused == (
        "The urgent report of Sun 22 Nov 2026 06:55 CST (12:55 UTC) was not taken by its server (550 no such user): "
        "it is sent again with the next one."
    )
    assert found.following[-1].command == "reconcile report acme --send --again"


def test_a_run_that_has_not_ended_is_named() -> None:
    [note] = report(attempted=run("01T", MADE_AT, None)).notes
    assert note.startswith("The run that began Mon 23 Nov 2026 07:00 CST (13:00 UTC) has not ended")


# ---- runs and writes ------------------------------------------------------------------------------------------------


def test_runs_and_writes_are_said_in_a_few_sentences() -> None:
    runs = (
        run("01A"),
        refused_run(LATELY),
        run("01C", LATELY, None),
        run("01D", LATELY, "in_sync"),
        run("01E", LATELY, "applied", command="revert"),
    )
    writes = [
        fix("a1"),
        fix("a2", action=Action.CREATE),
        fix(None, run="01E", action=Action.CREATE),
        fix("a3", side=Side.CALENDAR, approval=DIGEST),
    ]
    ended, *rest = report(last=runs[0], runs=runs, older={"in_sync": 11, None: 1}, fixes=writes).lines
    assert ended == ("17 runs: 1 refused, 2 wrote what they found, 12 found both sides in sync, 2 did not end.")
    assert rest == [
        "Commands among them: revert (1).",
        "3 writes to the CRM: 2 creates, 1 update.",
        "1 write to calendars: 1 update.",
        "1 of them by consent to the plan 7f3c9a1e52b0.",
    ]


def test_a_write_that_no_finding_asked_for_counts_as_fixed() -> None:
    found = report(tracked("a1", Outcome.DONE), fixes=[fix("a1"), fix(None), fix(None)])
    assert count(found, "fixed") == 3
    [section] = found.sections
    assert (section.count, len(section.rows)) == (3, 1)
    assert section.unlisted == ("2 writes that no finding asked for, as those of a revert or of a run that died",)


# ---- its name -------------------------------------------------------------------------------------------------------


def test_the_digest_names_what_is_told_and_not_how() -> None:
    named = report().digest
    assert re.fullmatch("[0-9a-f]{64}", named)
    same = build(period(person()), replace(LOOK, title="Other", zone="UTC"))
    assert same.digest == named
    others = (
        urgent(),
        report(part="Lakeview"),
        report(since=EARLIER),
        report(until=LATELY),
        report(last=run("01Z")),
        report(job="other"),
    )
    assert len({named, *(other.digest for other in others)}) == len(others) + 1


def test_every_command_that_is_named_exists() -> None:
    found = report(
        near(),
        tracked("a2", Outcome.FAILED),
        calendars=(BLIND,),
        made_at=MADE_AT + timedelta(days=3),
        told=(Told(kind="report", status="unconfirmed", since=EARLIER, until=SINCE),),
    )
    refused = report(near(), last=refused_run())
    commands = [step.command.split() for step in (*found.following, *refused.following)]
    assert (
        {words[1] for words in commands if words[1] != "--dry-run"}
        == {*("check", "status", "explain", "resolve", "accept", "run", "report", "approve")}
        <= {*NAMES}
    )
    assert all(words[0] == "reconcile" for words in commands)


def test_a_key_that_a_shell_would_read_is_not_typed_for_anybody() -> None:
    assert report(person("a1; rm -rf /")).following == ()


# ---- all of them ----------------------------------------------------------------------------------------------------

OUTCOMES = st.lists(st.sampled_from(Outcome), max_size=2)
INSTANTS = st.sampled_from([EARLIER, SINCE, LATELY, UNTIL, UNTIL + timedelta(minutes=1)])


@st.composite
def histories(draw: st.DrawFn) -> Tracked:
    kind = draw(st.sampled_from([Kind.CONFLICT, Kind.MISSING_IN_CRM, Kind.FIELD_DRIFT, Kind.COVERAGE_GAP]))
    return tracked(
        draw(st.integers(0, 2**40).map(lambda number: f"{number:012x}")),
        *draw(OUTCOMES),
        first=draw(INSTANTS),
        last=draw(INSTANTS),
        resolved=draw(st.none() | INSTANTS),
        accepted=draw(st.none() | st.just(acceptance())),
        kind=kind,
        severity=draw(st.sampled_from(Severity)),
        remedy=draw(st.sampled_from(Remedy)),
        clues=draw(st.sampled_from([(), ("pending",)])),
        start=draw(st.sampled_from([None, SOON, NINE, "2026-11-24", "soon"])),
        agent=draw(st.sampled_from([ANN, BOB, None])),
    )


@given(st.lists(histories(), max_size=60, unique_by=lambda one: one.finding.key), st.integers(0, 3))
def test_every_finding_is_told_once_and_the_numbers_add_up(findings: list[Tracked], unasked: int) -> None:
    found = report(*findings, fixes=[fix(None)] * unasked)
    rows = list(found.rows())
    keys = [row.key for row in rows]
    assert len(keys) == len(set(keys)) <= len(findings)
    gaps = [row for row in rows if row.kind is Kind.COVERAGE_GAP]
    assert {row.standing for row in gaps} <= {Standing.NOT_SEEN, Standing.ACCEPTED, Standing.RESOLVED}
    rows = [row for row in rows if row not in gaps]
    stands = Counter(row.standing for row in rows)
    assert not stands[Standing.NOT_SEEN]
    for standing in [standing for standing in Standing if standing is not Standing.NOT_SEEN]:
        extra = unasked if standing is Standing.FIXED else 0
        assert count(found, standing.value) == stands[standing] + extra
    assert count(found, "open") == sum(stands[standing] for standing in Standing if standing.is_open)
    assert sum(section.count for section in found.sections) + stands[Standing.PENDING] == len(rows) + unasked
    for section in found.sections:
        assert section.count == len(section.rows) + sum(int(said.split()[0]) for said in section.unlisted)
        assert {row.key for row in section.rows} <= set(keys)
    listed = [row.key for section in found.sections for row in section.rows]
    assert len(listed) == len(set(listed))


@given(st.lists(histories(), max_size=30, unique_by=lambda one: one.finding.key))
def test_what_is_urgent_is_told_in_the_whole_report_too(findings: list[Tracked]) -> None:
    whole, part = report(*findings), urgent(*findings)
    severe = {row.key for row in whole.rows() if row.severity is Severity.CRITICAL or row.kind is Kind.COVERAGE_GAP}
    assert {row.key for row in part.rows()} <= severe
    assert part.is_quiet or not whole.is_quiet
    if whole.mood is Mood.SAFE:
        assert part.mood is Mood.SAFE
