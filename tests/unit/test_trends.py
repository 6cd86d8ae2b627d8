"""Trends: thirty days of a job, a gap where nothing ran, and the same said in words for who can't see a chart."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from reconciler.model import Kind
from reconciler.report.recorded import Day, Recorded
from reconciler.report.report import Trend
from reconciler.report.trends import DAYS, days_said, trends
from tests.periods import SINCE, UNTIL, period

TODAY = date(2026, 11, 23)
CHICAGO = "America/Chicago"


def day(before: int, **given: Any) -> Day:
    return Day(day=TODAY - timedelta(days=before), **{"runs": 3, "calendars": 8, "observed": 8, **given})


def drawn(*days: Day, **given: Any) -> dict[str, Trend]:
    return {trend.name: trend for trend in trends(replace(period(), days=days, **given), CHICAGO)}


def test_each_chart_has_thirty_days_and_ends_with_that_of_the_period() -> None:
    charts = drawn(day(0, found=4), day(40, found=9))
    assert set(charts) == {"found", "fixed", "open", "delay", "coverage"}
    for chart in charts.values():
        assert [at for at, _ in chart.points] == [TODAY - timedelta(days=before) for before in reversed(range(DAYS))]
    assert charts["found"].points[-1] == (TODAY, 4.0)


def test_the_last_day_is_the_readers() -> None:
    early = UNTIL.replace(hour=3)
    [chart, *_] = trends(replace(period(), until=early, days=(day(1),)), CHICAGO)
    assert chart.points[-1][0] == TODAY - timedelta(days=1)


def test_a_day_without_a_run_has_no_value_and_one_without_a_change_has_no_delay() -> None:
    charts = drawn(day(0), day(1, delayed=3, delay=540), day(2, runs=0, calendars=0))
    assert [value for _, value in charts["found"].points[-4:]] == [None, None, 0.0, 0.0]
    assert [value for _, value in charts["delay"].points[-3:]] == [None, 3.0, None]
    assert [value for _, value in charts["coverage"].points[-3:]] == [None, 100.0, 100.0]


def test_a_chart_is_said_in_words() -> None:
    charts = drawn(*(day(before, found=before, observed=8 - before % 3, calendars=8) for before in range(1, 30)))
    assert charts["found"].said == (
        "Drift found: 1 on Sun 22 Nov 2026; 435 in 30 days; most 29 on Sun 25 Oct 2026; 1 day without a value."
    )
    assert charts["coverage"].said == (
        "Coverage: 87.5 % on Sun 22 Nov 2026; lowest 75 % on Sat 21 Nov 2026; 1 day without a value."
    )
    assert charts["delay"].said == "Detection delay: not known in 30 days."


def test_days_that_are_all_alike_have_no_worst() -> None:
    assert drawn(*(day(before) for before in range(30)))["coverage"].said == "Coverage: 100 % on the last day."


@pytest.mark.parametrize("given", [{}, {"days": (day(0),), "has_days": False}, {"days": (day(0, runs=0),)}])
def test_there_are_no_charts_of_what_is_not_known(given: dict[str, Any]) -> None:
    assert trends(replace(period(), **given), CHICAGO) == ()


# ---- a month --------------------------------------------------------------------------------------------------------


def month(*days: Day, **given: Any) -> Recorded:
    return replace(period(), since=SINCE - timedelta(days=29), days=days, **given)


def test_a_long_period_is_told_by_its_days() -> None:
    kinds = {Kind.MISSING_IN_CRM: 5, Kind.TZ_SHIFT: 2, Kind.CONFLICT: 2, Kind.FIELD_DRIFT: 1}
    days = [day(before, found=10, fixed=8, resolved=1, kinds=kinds) for before in (2, 1, 0)]
    days[0] = replace(days[0], delayed=2, delay=7200, longest=5400)
    counted, delay = days_said(month(*days), CHICAGO)
    assert counted == (
        "In 3 days since Sat 21 Nov 2026: 30 differences found, 24 fixed, 3 settled without us; "
        "most: Missing in the CRM (15), Both sides changed (6), Shifted by hours (6)."
    )
    assert delay == "From a change to its finding it took 1 hour on average, 1 hour at most."


def test_what_no_day_can_tell_is_not_said() -> None:
    assert list(days_said(replace(period(), days=(day(1), day(0))), CHICAGO)) == []
    assert list(days_said(month(day(1), day(0), has_days=False), CHICAGO)) == []
    quiet = list(days_said(month(day(1), day(0)), CHICAGO))
    assert quiet == ["In 2 days since Sun 22 Nov 2026: 0 differences found, 0 fixed, 0 settled without us."]
