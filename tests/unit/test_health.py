"""Each calendar is one thing at a time, and says since when and until when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.cli.health import Condition, Terms, health
from reconciler.model import Agent, AgentState, Calendar, Cursor, Window
from reconciler.store.state import Watched

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Calendar(source="google", kind="google", agent=Agent(email="ann@acme.example"))
TERMS = Terms(now=NOW, freshness=24 * HOUR, next_read=NOW + HOUR, withheld={}, withheld_at=None)
SEEN = Watched(7, ANN, cursor=Cursor("t", Window(NOW, NOW), "s", NOW - 9 * HOUR), seen_at=NOW - HOUR)
BLIND = replace(SEEN, blind_since=NOW - 2 * HOUR, strikes=2, why="It answered 404.", next_try=None)
PARKED = replace(BLIND, next_try=NOW + 4 * HOUR)
LATE = replace(SEEN, seen_at=NOW - 30 * HOUR)
LEFT = replace(BLIND, calendar=replace(ANN, agent=replace(ANN.agent, state=AgentState.LEFT)))
WITHHELD = replace(TERMS, withheld={"ann@acme.example": "his calendar is empty"}, withheld_at=NOW - 3 * HOUR)


@pytest.mark.parametrize(
    ("one", "terms", "state", "since", "next_try"),
    [
        (SEEN, TERMS, "fresh", None, NOW + HOUR),
        (LATE, TERMS, "late", NOW - 6 * HOUR, NOW + HOUR),
        (BLIND, TERMS, "blind", NOW - 2 * HOUR, NOW + HOUR),
        (PARKED, TERMS, "parked", NOW - 2 * HOUR, NOW + 4 * HOUR),
        (replace(PARKED, next_try=NOW), TERMS, "blind", NOW - 2 * HOUR, NOW + HOUR),
        (Watched(8, ANN), TERMS, "new", None, NOW + HOUR),
        (LEFT, TERMS, "left", None, None),
        (SEEN, WITHHELD, "withheld", NOW - 3 * HOUR, NOW + HOUR),
        (BLIND, WITHHELD, "blind", NOW - 2 * HOUR, NOW + HOUR),
        (SEEN, replace(TERMS, next_read=None), "fresh", None, None),
    ],
)
def test_a_calendar_is_one_thing_at_a_time(
    one: Watched, terms: Terms, state: str, since: datetime | None, next_try: datetime | None
) -> None:
    found = health(one, terms)
    assert (found.state.value, found.since, found.next_try) == (state, since, next_try)


def test_a_calendar_says_why_and_what_logs_call_it() -> None:
    assert health(BLIND, TERMS).why == "It answered 404."
    assert health(SEEN, WITHHELD).why == "his calendar is empty"
    assert (health(SEEN, TERMS).number, health(SEEN, TERMS).full_at) == (7, NOW - 9 * HOUR)


def test_only_what_is_read_in_time_or_left_out_on_purpose_is_well() -> None:
    assert {state for state in Condition if state.is_well} == {Condition.FRESH, Condition.LEFT}
