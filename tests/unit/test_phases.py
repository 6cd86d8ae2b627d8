"""A stopwatch tells how long each part of a run took, however the part ended."""

from __future__ import annotations

import pytest

from reconciler.phases import Phase, Phases


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_phases_are_told_in_the_order_of_a_run_and_one_that_comes_twice_is_added_up() -> None:
    clock = Clock()
    phases = Phases(clock)
    for phase, seconds in ((Phase.CALENDARS, 2.0), (Phase.CRM, 1.5), (Phase.CALENDARS, 0.5)):
        with phases.of(phase):
            clock.now += seconds
    assert list(phases.seconds.items()) == [("crm", 1.5), ("calendars", 2.5)]


def test_a_phase_that_fails_took_its_time_too() -> None:
    clock = Clock()
    phases = Phases(clock)
    with pytest.raises(ValueError, match="it broke"), phases.of(Phase.COMPARE):
        clock.now += 3
        raise ValueError("it broke")
    assert phases.seconds == {"compare": 3.0}


def test_the_phase_under_way_counts_up_to_now() -> None:
    clock = Clock()
    phases = Phases(clock)
    with phases.of(Phase.RECORD):
        clock.now += 4
        assert phases.seconds == {"record": 4.0}
        clock.now += 1
    assert phases.seconds == {"record": 5.0}


def test_who_listens_is_told_of_each_phase_as_it_begins_and_ends() -> None:
    clock, heard = Clock(), list[tuple[Phase, float | None]]()
    phases = Phases(clock, heard=lambda phase, seconds: heard.append((phase, seconds)))
    with phases.of(Phase.CRM):
        clock.now += 2
    assert heard == [(Phase.CRM, None), (Phase.CRM, 2.0)]


def test_who_listens_is_told_how_long_each_calendar_took() -> None:
    clock, heard = Clock(), list[tuple[int, float]]()
    phases = Phases(clock, read=lambda calendar, seconds: heard.append((calendar, seconds)))
    with pytest.raises(ValueError, match="it broke"), phases.reading(7):
        clock.now += 3
        raise ValueError("it broke")
    assert heard == [(7, 3.0)]
