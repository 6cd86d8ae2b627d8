"""What is found of a person is cut into steps of whole appointments, those rows first by which no other is found."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.store import stepping
from reconciler.store.stepping import appointments, steps
from reconciler.store.subject import Person, Traces

JANE = "jane@client.example"
ROW: Any = {}


def event(name: str, calendar: int = 1, meeting: str = "", keys: str = "") -> dict[tuple[int, str], Any]:
    payload = f'{{"keys":["{keys}"]}}' if keys else "{}"
    return {(calendar, name): {"calendar": calendar, "event": name, "meeting": meeting, "payload": payload}}


def record(crm_id: str, key: str = "") -> dict[str, Any]:
    return {crm_id: {"crm_id": crm_id, "payload": f'{{"key":"{key}"}}'}}


def link(crm_id: str, name: str, meeting: str = "") -> dict[str, Any]:
    return {crm_id: {"crm_id": crm_id, "calendar": 1, "event": name, "meeting": meeting}}


def finding(key: str, crm_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    return {key: {"key": key, "crm_id": crm_id, "event": name}}


def write(number: int, why: str = "") -> dict[int, Any]:
    return {number: {"before": None, "after": None, "why": why, "agent": None, "key": "k"}}


def names(part: Traces) -> set[object]:
    tables = (part.calendars, part.events, part.records, part.links, part.findings, part.holds, part.journal)
    return {name for table in tables for name in table}


@pytest.mark.parametrize(
    "whole",
    [
        Traces(events=event("e"), records=record("7"), links=link("7", "e")),
        Traces(events=event("e", 1, "m") | event("f", 2, "m"), records=record("7"), links=link("7", "e", "m")),
        Traces(events=event("e"), records=record("7"), findings=finding("k", "7", "e")),
        Traces(records=record("7", "k"), holds={"k": ROW}),
        Traces(records=record("7"), holds={"crm:7": ROW}),
        Traces(events=event("e", keys="k"), holds={"k": ROW}, findings=finding("x", None, "e")),
    ],
)
def test_what_hangs_together_is_one_appointment_and_what_does_not_is_another(whole: Traces) -> None:
    other = Traces(events=event("other", 1, "another"), records=record("8"), links=link("8", "other"))
    found = Traces()
    found.add(whole)
    found.add(other)
    assert {frozenset(names(each)) for each in appointments(found)} == {
        frozenset(names(each)) for each in (whole, other)
    }


def test_what_finds_others_comes_after_them_and_calendars_last() -> None:
    found = Traces(
        calendars={5: ROW},
        events=event("e"),
        findings=finding("k", None, "e"),
        journal=write(1, f"about {JANE}") | write(2) | write(3),
    )
    order = [names(step) for step in stepwise(found, 1)]
    assert order == [{"k"}, {2}, {3}, {1}, {(1, "e"), "k"}, {5}]


def test_a_step_has_so_many_rows_and_never_part_of_an_appointment() -> None:
    found = Traces(journal=write(1) | write(2) | write(3))
    for name in "ab":
        found.add(Traces(events=event(name), records=record(name), links=link(name, name)))
    assert [step.size for step in stepwise(found, 2)] == [2, 4, 3]
    assert [step.size for step in stepwise(found, 100)] == [9]
    assert stepwise(Traces(), 1) == []


def test_what_is_done_already_is_in_no_step() -> None:
    found = Traces(journal=write(1) | write(2))
    assert [names(step) for step in steps(found, Person([JANE]), lambda part: 2 in part.journal)] == [{2}]


def stepwise(found: Traces, size: int) -> list[Traces]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stepping, "STEP", size)
        return list(steps(found, Person([JANE]), lambda _: True))
