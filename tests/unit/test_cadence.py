"""What a schedule promises is held against what the budgets permit, by arithmetic that the budget itself confirms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli import cadence
from reconciler.cli.cadence import Demand, Says, Schedule, every, keeps_up, lasts, spoken, verdicts
from reconciler.quota import Quota
from reconciler.quota.budget import Budget, budget_for
from reconciler.schedule import Entry, slots
from reconciler.sources.answers import PostponedError

SINCE = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
GOOGLE = budget_for("google", None)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


@cache
def at(*expressions: str) -> Sequence[datetime]:
    return slots([Entry(1, expression, (), "UTC") for expression in expressions], SINCE, ZoneInfo("UTC"))


def said(
    calendars: int, *expressions: str, budget: Budget = GOOGLE, freshness: timedelta = DAY, minutes: int | None = None
) -> dict[str, Says]:
    deadline = None if minutes is None else minutes * MINUTE
    schedule = Schedule(slots=at(*expressions) if expressions else None, freshness=freshness, deadline=deadline)
    return {each.about: each for each in verdicts("google", Demand(calendars=calendars), budget, schedule)}


# ---- arithmetic -----------------------------------------------------------------------------------------------------


def test_a_turn_is_the_day_divided_by_what_is_permitted_less_the_weekly_reads() -> None:
    turn = every(GOOGLE, Demand(calendars=5_000))
    assert turn is not None
    reads = 5_000 * (DAY / turn + 2 / 7)
    assert reads == pytest.approx(GOOGLE.permits_per_day(), rel=1e-6)
    assert 16 * MINUTE < turn < 17 * MINUTE


def test_a_turn_is_never_shorter_than_the_agents_own_minute_allows() -> None:
    many = every(GOOGLE, Demand(calendars=1_000, busiest=1_000))
    assert many is not None
    assert many > 6 * MINUTE, "one agent has 161 a minute"
    assert many > (every(GOOGLE, Demand(calendars=1_000)) or DAY)


def test_where_whole_reads_alone_are_too_many_there_is_no_turn() -> None:
    assert every(replace(GOOGLE, per_day=1_000), Demand(calendars=2_000)) is None
    budget = said(2_000, budget=replace(GOOGLE, per_day=1_000))["budget"]
    assert not budget.holds
    assert "not even the weekly whole reads of 2,000 calendars" in budget.says


@pytest.mark.parametrize(
    ("calendars", "expression", "kept"),
    [
        (3, "* * * * *", True),
        (1_500, "*/5 * * * *", True),
        (1_600, "*/5 * * * *", False),
        (5_000, "*/15 * * * *", False),
        (5_000, "*/20 * * * *", True),
        (1_900, "*/5 8-18 * * 1-5", True),
        (2_100, "*/5 8-18 * * 1-5", False),
        (38_000, "17 3 * * *", True),
        (45_000, "17 3 * * *", False),
        (38_000, "0 0 31 2 *", True),
        (60_000, "0 0 31 2 *", False),
    ],
)
def test_a_schedule_keeps_up_or_does_not(calendars: int, expression: str, kept: bool) -> None:
    assert keeps_up(GOOGLE, Demand(calendars=calendars), at(expression)) is kept


def test_lines_close_together_are_played_through_as_they_come() -> None:
    assert keeps_up(GOOGLE, Demand(calendars=20_000), at("0 6 * * *", "0 7 * * *"))
    assert not keeps_up(GOOGLE, Demand(calendars=40_000), at("0 6 * * *", "0 7 * * *"))


def test_a_run_must_end_before_the_next_and_before_its_deadline() -> None:
    demand = Demand(calendars=20_000)
    assert 5 * MINUTE < lasts(GOOGLE, demand) < 6 * MINUTE
    assert keeps_up(GOOGLE, demand, at("17 */2 * * *"))
    assert keeps_up(GOOGLE, demand, at("17 */2 * * *"), 6 * MINUTE)
    assert not keeps_up(GOOGLE, demand, at("17 */2 * * *"), 5 * MINUTE)
    assert not keeps_up(replace(GOOGLE, per_minute=10, per_day=None), Demand(calendars=100), at("*/5 * * * *"))


@given(st.integers(1, 200_000), st.sampled_from([0.05, 0.3, 0.5, 1.0]), st.sampled_from(list(cadence.CALM)))
def test_an_even_schedule_that_keeps_up_is_no_faster_than_the_turn(calendars: int, share: float, minutes: int) -> None:
    budget, demand = replace(GOOGLE, share=share), Demand(calendars=calendars)
    turn = every(budget, demand)
    if keeps_up(budget, demand, at(cadence.CALM[minutes])):
        assert turn is not None
        assert turn <= minutes * MINUTE


def test_the_calm_schedules_are_as_even_as_they_say() -> None:
    for minutes, expression in cadence.CALM.items():
        found = at(expression)
        assert {after - before for before, after in pairwise(found)} == {minutes * MINUTE}


class Clock:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = SINCE.timestamp()

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize(("share", "kept"), [(0.5, True), (0.3, False)])
def test_the_budget_itself_agrees_with_what_is_said_of_it(share: float, kept: bool) -> None:
    """Send what the schedule promises, through the real budget on a clock of ours, for a day."""
    budget = Budget(per_minute=1_000, per_agent_minute=600, per_day=20_000, share=share)
    promised = at("*/20 * * * *")
    assert keeps_up(budget, Demand(calendars=110), promised) is kept
    clock = Clock()
    quota = Quota("google", budget, None, clock=clock, sleep=clock.sleep, rng=lambda: 0.5)
    postponed = 0
    for slot in promised[:144]:
        clock.now = max(clock.now, slot.timestamp())
        for number in range(110):
            try:
                quota.call(lambda: None, agent=f"agent{number}@acme.example")
            except PostponedError:
                postponed += 1
    assert (postponed == 0) is kept


# ---- sentences ------------------------------------------------------------------------------------------------------


def test_what_fits_is_said_with_its_rates() -> None:
    found = said(1_500, "*/5 * * * *")
    assert all(each.holds for each in found.values())
    assert found["budget"].says == (
        "[budget.google] with share = 0.5 permits 449,969 requests a day, 3,637 a minute, 161 a minute for one agent: "
        "1,500 calendars can be read every 5 minutes"
    )
    assert found["cadence"].says == "crontab starts a run every 5 minutes, and each can read every calendar"


def test_a_promise_that_can_not_be_kept_says_what_a_run_does_and_what_to_write() -> None:
    found = said(1_600, "*/5 * * * *")["cadence"]
    assert not found.holds
    assert found.says == (
        "crontab starts a run every 5 minutes, but each calendar can be read every 6 minutes only. A run then reads "
        "those that waited longest and leaves the others to the next. "
        'Write "*/6 * * * *" in the crontab or share = 0.55 in [budget.google].'
    )


@pytest.mark.parametrize("calendars", [1_600, 5_000, 20_000, 40_000])
@pytest.mark.parametrize("expression", ["* * * * *", "*/5 * * * *", "*/5 8-18 * * 1-5", "0 * * * *"])
def test_what_is_advised_would_do(calendars: int, expression: str) -> None:
    says = said(calendars, expression)["cadence"].says
    demand = Demand(calendars=calendars)
    for written in cadence.CALM.values():
        if f'Write "{written}" in' in says:
            assert keeps_up(GOOGLE, demand, at(written))
    if " share = " in says:
        share = float(says.rpartition("share = ")[2].split()[0])
        assert keeps_up(replace(GOOGLE, share=share), demand, at(expression))


@pytest.mark.parametrize(
    ("calendars", "expression", "minutes", "words"),
    [
        (20_000, "17 */2 * * *", 4, 'deadline = "7m" in [run]'),
        (50_000, "0 * * * *", None, "can be read every 3 hours only"),
        (60_000, "17 3 * * *", None, "one run can read 38,888 of 60,000 calendars at most"),
        (100_000, "0 * * * *", None, "spread the agents over sources with service accounts of several projects"),
        (2_100, "*/5 8-18 * * 1-5", None, "132 times a day, 5 minutes apart at the closest"),
    ],
)
def test_each_cause_has_its_words(calendars: int, expression: str, minutes: int | None, words: str) -> None:
    found = said(calendars, expression, minutes=minutes)["cadence"]
    assert not found.holds
    assert words in found.says
    assert len(found.says) < 400


def test_without_a_crontab_nothing_is_promised() -> None:
    assert said(5_000)["cadence"] == Says("cadence", True, "no crontab starts this job, so nothing is promised")


def test_freshness_shorter_than_a_turn_is_a_promise_too() -> None:
    assert "freshness" not in said(5_000, "*/20 * * * *", freshness=20 * MINUTE)
    stale = said(5_000, "*/20 * * * *", freshness=10 * MINUTE)["freshness"]
    assert not stale.holds
    assert "every 17 minutes only" in stale.says
    assert stale.says.endswith('Write freshness = "1h".')


# ---- documents ------------------------------------------------------------------------------------------------------

PAGE = (Path(__file__).resolve().parents[2] / "docs/google.md").read_text("utf-8")


def test_the_page_says_how_often_each_calendar_has_its_turn() -> None:
    text = PAGE.split("## How often Google can be read", 1)[1].split("\n## ", 1)[0]
    _, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"
    ]
    assert len(rows) == 4
    for count, *cells in rows:
        for share, cell in zip((0.5, 0.8), cells, strict=True):
            turn = every(replace(GOOGLE, share=share), Demand(calendars=int(count.replace(",", ""))))
            assert turn is not None
            assert spoken(turn) == cell


def test_the_page_shows_what_check_says() -> None:
    shown = PAGE.split("<!-- output: cadence -->\n```\n", 1)[1].split("\n```", 1)[0]
    assert [f"{each.about:<7}  {each.says}" for each in said(5_000, "*/5 * * * *").values()] == shown.splitlines()


@pytest.mark.parametrize(
    ("length", "words"),
    [
        (timedelta(seconds=2), "minute"),
        (timedelta(minutes=1), "minute"),
        (timedelta(seconds=61), "2 minutes"),
        (timedelta(minutes=120), "120 minutes"),
        (timedelta(minutes=121), "3 hours"),
        (timedelta(hours=49), "3 days"),
    ],
)
def test_lengths_are_rounded_up(length: timedelta, words: str) -> None:
    assert spoken(length) == words
