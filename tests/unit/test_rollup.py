"""What a run adds to its day: each finding once, when people are first told of it, under the office it belongs to."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import Finding, Kind, Remedy, Severity
from reconciler.rollup import Came, Sums, by_office, sums

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
OFFICES = {"ann@acme.example": "Uptown", "bob@acme.example": "Harbour"}
NOTHING = Came(
    findings=(), settled={}, resolved={}, fixed={}, asked=(), watched_since=NOW - 24 * HOUR, is_refused=False
)


def finding(key: str, agent: str | None = "ann@acme.example", **values: Any) -> Finding:
    bare = Finding(key=key, kind=Kind.MISSING_IN_CRM, severity=Severity.HIGH, remedy=Remedy.FIX, why="x", agent=agent)
    return replace(bare, **values)


def test_a_run_that_found_nothing_counts_as_a_run() -> None:
    assert sums(NOTHING, OFFICES) == {"": Sums(runs=1)}
    assert sums(replace(NOTHING, is_refused=True), OFFICES) == {"": Sums(runs=1, refused=1)}


def test_each_office_has_its_own_figures_and_what_is_nobodys_is_under_no_name() -> None:
    came = replace(
        NOTHING,
        findings=(finding("a"), finding("b", "bob@acme.example"), finding("c", "eve@acme.example"), finding("d", None)),
        settled=dict.fromkeys("abcd", NOW),
        resolved={"bob@acme.example": 2, None: 1},
        fixed={"ann@acme.example": 1},
        asked=(("ann@acme.example", True), ("bob@acme.example", False)),
    )
    found = sums(came, OFFICES)
    assert found.keys() == {"", "Uptown", "Harbour"}
    assert {office: one.found for office, one in found.items()} == {"": 2, "Uptown": 1, "Harbour": 1}
    assert {office: one.resolved for office, one in found.items()} == {"": 1, "Uptown": 0, "Harbour": 2}
    assert (found["Uptown"].fixed, found["Harbour"].fixed) == (1, 0)
    assert (found["Uptown"].calendars, found["Uptown"].observed) == (1, 1)
    assert (found["Harbour"].calendars, found["Harbour"].observed) == (1, 0)
    assert found["Uptown"].kinds == {"missing_in_crm": 1}


def test_only_what_people_are_told_of_for_the_first_time_is_found() -> None:
    came = replace(NOTHING, findings=(finding("new"), finding("old")), settled={"new": NOW})
    assert sums(came, OFFICES)["Uptown"].found == 1


def test_a_delay_is_from_the_change_to_its_first_sighting() -> None:
    young, older = finding("a", changed=NOW - HOUR), finding("b", changed=NOW - 3 * HOUR)
    found = sums(replace(NOTHING, findings=(young, older), settled={"a": NOW, "b": NOW - HOUR}), OFFICES)["Uptown"]
    assert (found.delayed, found.delay, found.longest) == (2, 3600 + 7200, 7200)


@pytest.mark.parametrize(
    ("values", "watched_since"),
    [
        ({"changed": None}, NOW - 24 * HOUR),
        ({"changed": NOW - HOUR}, None),  # the first run: nobody watched before
        ({"changed": NOW - 30 * HOUR}, NOW - 24 * HOUR),  # it changed before anybody watched
        ({"changed": NOW - HOUR, "clues": ("baseline",)}, NOW - 24 * HOUR),  # nobody watched that calendar
        ({"changed": NOW - HOUR, "kind": Kind.TZ_SHIFT}, NOW - 24 * HOUR),
    ],
)
def test_what_nobody_could_have_noticed_earlier_is_no_delay(values: Any, watched_since: datetime | None) -> None:
    came = replace(NOTHING, findings=(finding("a", **values),), settled={"a": NOW}, watched_since=watched_since)
    found = sums(came, OFFICES)["Uptown"]
    assert (found.found, found.delayed, found.delay, found.longest) == (1, 0, 0, 0)


def test_a_clock_ahead_of_ours_makes_no_delay_of_less_than_nothing() -> None:
    came = replace(NOTHING, findings=(finding("a", changed=NOW + HOUR),), settled={"a": NOW})
    assert (sums(came, OFFICES)["Uptown"].delayed, sums(came, OFFICES)["Uptown"].delay) == (1, 0)


def test_what_was_counted_by_agent_is_summed_by_office() -> None:
    found = by_office({"ann@acme.example": 2, "eve@acme.example": 1, None: 4}, OFFICES)
    assert found == {"Uptown": 2, "": 5}
