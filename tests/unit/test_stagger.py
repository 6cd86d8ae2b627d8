"""When a calendar's turn comes to be read whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from reconciler.model import Agent, Calendar
from reconciler.sources.stagger import SOONEST, WEEK, is_due

NOW = datetime(2026, 3, 1, 17, tzinfo=UTC)
AGENTS = [
    Calendar(source="google", kind="google", agent=Agent(email=f"agent{number}@acme.example")) for number in range(200)
]


def test_each_calendar_has_one_turn_a_week_and_no_hour_has_them_all() -> None:
    due = [sum(is_due(one, NOW - long, NOW) for one in AGENTS) for long in (SOONEST, 3 * SOONEST, WEEK)]
    assert 10 < due[0] < 60 < due[1] < 120
    assert due[2] == len(AGENTS)


def test_none_is_read_whole_twice_within_a_day() -> None:
    almost = SOONEST - timedelta(seconds=1)
    assert not any(is_due(one, NOW - almost, NOW) for one in AGENTS)


def test_what_was_read_whole_in_times_to_come_is_due_and_a_clock_a_little_ahead_is_no_reason() -> None:
    assert all(is_due(one, NOW + timedelta(days=300), NOW) for one in AGENTS)
    assert not any(is_due(one, NOW + timedelta(minutes=5), NOW) for one in AGENTS)
