"""Each finding of a period stands in one place, by what is known of it: what became of it, and whom it asks."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import Kind, Outcome, Remedy, Severity, Side
from reconciler.report.recorded import Tracked
from reconciler.report.report import Standing
from reconciler.report.standing import Period, critical_since, instant, standing_of
from tests.periods import EARLIER, LATELY, SINCE, UNTIL, acceptance, gap, tracked

PERIOD = Period(since=SINCE, until=UNTIL)
KEY = "5f2c9a1e52b0"


def stands(*outcomes: Outcome, fixed: bool = False, **given: Any) -> Standing | None:
    period = Period(since=SINCE, until=UNTIL, fixed={KEY} if fixed else frozenset())
    return standing_of(tracked(KEY, *outcomes, **given), period)


# ---- open -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("outcomes", "standing"),
    [
        ((Outcome.PLANNED,), Standing.WAITS),
        ((Outcome.HELD,), Standing.HELD),
        ((Outcome.DEFERRED,), Standing.DEFERRED),
        ((Outcome.FAILED,), Standing.FAILED),
        ((Outcome.UNKNOWN,), Standing.FAILED),
        ((Outcome.CONFLICT,), Standing.FAILED),
        ((Outcome.DONE,), Standing.FIXED),
        ((Outcome.ALREADY,), Standing.FIXED),
        ((Outcome.DONE, Outcome.FAILED), Standing.FAILED),
        ((Outcome.DONE, Outcome.DEFERRED), Standing.DEFERRED),
        ((Outcome.PLANNED, Outcome.DEFERRED), Standing.DEFERRED),
        ((Outcome.DONE, Outcome.HELD), Standing.HELD),
    ],
)
def test_what_became_of_its_deltas_decides_and_the_worst_of_them_counts(
    outcomes: tuple[Outcome, ...], standing: Standing
) -> None:
    assert stands(*outcomes) is standing


@pytest.mark.parametrize(
    ("given", "standing"),
    [
        ({"remedy": Remedy.FIX}, Standing.WAITS),
        ({"remedy": Remedy.HOLD}, Standing.HELD),
        ({"remedy": Remedy.HOLD, "clues": ("pending",)}, Standing.PENDING),
        ({"remedy": Remedy.HUMAN}, Standing.NEEDS_YOU),
    ],
)
def test_without_a_delta_it_stands_by_what_it_asks_of_whom(given: dict[str, Any], standing: Standing) -> None:
    assert stands(**given) is standing


def test_what_a_person_has_to_decide_needs_one_though_part_of_it_was_written() -> None:
    assert stands(Outcome.DONE, remedy=Remedy.HUMAN) is Standing.NEEDS_YOU


def test_what_is_accepted_asks_nobody_as_long_as_that_holds() -> None:
    assert stands(remedy=Remedy.NONE, accepted=acceptance()) is Standing.ACCEPTED
    assert stands(remedy=Remedy.NONE) is Standing.NEEDS_YOU, "it was accepted when it was last seen, and is no more"


def test_what_was_not_seen_is_no_finding_of_a_pair() -> None:
    assert standing_of(gap(), PERIOD) is None
    assert standing_of(gap(accepted=acceptance()), PERIOD) is None


# ---- over -----------------------------------------------------------------------------------------------------------


def test_what_is_gone_was_fixed_only_if_we_wrote_it() -> None:
    assert stands(resolved=LATELY) is Standing.RESOLVED
    assert stands(Outcome.DONE, resolved=LATELY) is Standing.FIXED
    assert stands(Outcome.HELD, resolved=LATELY) is Standing.RESOLVED
    assert stands(Outcome.UNKNOWN, resolved=LATELY) is Standing.RESOLVED
    assert stands(Outcome.UNKNOWN, resolved=LATELY, fixed=True) is Standing.FIXED, "it was found to have arrived"


def test_a_fix_is_told_once_though_the_run_after_it_confirms_it_in_the_next_period() -> None:
    assert stands(Outcome.DONE, last=SINCE, resolved=LATELY) is None
    assert stands(Outcome.DONE, last=EARLIER) is None, "nobody could look since"
    assert stands(Outcome.DONE, last=UNTIL) is Standing.FIXED


def test_what_was_over_before_the_period_is_not_told_and_what_is_over_after_it_is_open() -> None:
    assert stands(resolved=SINCE) is None
    assert stands(Outcome.HELD, resolved=UNTIL + timedelta(seconds=1)) is Standing.HELD
    assert stands(resolved=UNTIL) is Standing.RESOLVED


def test_what_needed_a_person_is_told_as_over_though_part_of_it_was_written_before() -> None:
    assert stands(Outcome.DONE, remedy=Remedy.HUMAN, last=SINCE, resolved=LATELY) is Standing.RESOLVED


def test_what_settled_while_it_was_a_moment_old_is_not_told() -> None:
    young = tracked(KEY, remedy=Remedy.HOLD, clues=("pending",), resolved=LATELY)
    assert standing_of(young, PERIOD) is None
    assert standing_of(replace(young, settled_at=SINCE), PERIOD) is Standing.RESOLVED, "it had been told as open"
    assert stands(remedy=Remedy.HOLD, clues=("flapping",), resolved=LATELY) is Standing.RESOLVED


# ---- since when -----------------------------------------------------------------------------------------------------


def since(start: str | None, **given: Any) -> datetime | None:
    return critical_since(tracked(severity=Severity.CRITICAL, start=start, **{"has": {}, **given}))


def test_a_finding_becomes_critical_as_its_appointment_draws_near() -> None:
    begins = UNTIL + timedelta(minutes=90)
    assert since(begins.isoformat(), first=EARLIER) == begins - timedelta(hours=2)
    assert since(begins.isoformat(), first=LATELY) == begins - timedelta(hours=2)
    assert since((UNTIL + timedelta(minutes=5)).isoformat(), first=UNTIL) == UNTIL, "it was found when it was near"


def test_the_side_that_begins_sooner_makes_it_critical() -> None:
    soon = (UNTIL + timedelta(minutes=30)).isoformat()
    held = {Side.CALENDAR: {"start": TOMORROW}, Side.CRM: {"start": soon}}
    assert since(TOMORROW, first=EARLIER, has=held) == UNTIL - timedelta(minutes=90)


TOMORROW = "2026-11-24T16:00:00Z"


def test_what_was_a_moment_old_is_critical_since_people_are_told_of_it() -> None:
    begins = (SINCE + timedelta(minutes=30)).isoformat()
    one = tracked(severity=Severity.CRITICAL, start=begins, has={}, first=EARLIER, last=SINCE)
    assert critical_since(one) == SINCE - timedelta(minutes=90)
    assert critical_since(replace(one, settled_at=LATELY)) == LATELY


@pytest.mark.parametrize("start", [None, "2026-11-24", TOMORROW, "not a time, but long enough", "0001-01-01T00:00:00Z"])
def test_what_is_not_near_is_critical_since_it_was_first_seen(start: str | None) -> None:
    assert since(start, first=EARLIER) == EARLIER


def test_what_is_not_critical_never_became_so() -> None:
    near = (UNTIL + timedelta(minutes=30)).isoformat()
    assert critical_since(tracked(severity=Severity.HIGH, start=near)) is None


@pytest.mark.parametrize("value", [None, True, "", "2026-11-24", "2026-11-24T10:00:00", "9999-99-99T00:00:00Z", ("a",)])
def test_only_an_instant_is_read_as_one(value: object) -> None:
    assert instant(value) is None


def test_an_instant_is_read_whatever_its_zone() -> None:
    assert instant("2026-11-24T10:00:00-06:00") == datetime(2026, 11, 24, 16, tzinfo=UTC)


def test_every_kind_but_a_gap_stands_somewhere() -> None:
    for kind in Kind:
        one: Tracked = tracked(kind=kind)
        assert (standing_of(one, PERIOD) is None) == (kind is Kind.COVERAGE_GAP)
