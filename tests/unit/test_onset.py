"""An onset is claimed only where chance does not explain it, and it is then the first instant of what began."""

from __future__ import annotations

import random
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.model import Kind
from reconciler.report.onset import REACH, Times, Usual, burst, rise, usual
from reconciler.report.recorded import Day

UTC_ZONE = ZoneInfo("UTC")
UNTIL = datetime(2026, 11, 20, 13, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KIND = Kind.MISSING_IN_CRM


def times(*instants: datetime) -> Times:
    counted = Times(UNTIL)
    for instant in instants:
        counted.add(instant)
    return counted


def days(found: Iterable[int], last: date = date(2026, 11, 19)) -> list[Day]:
    """Return the days up to `last`, with so many findings on each."""
    counts = list(found)
    return [
        Day(day=last - timedelta(days=len(counts) - 1 - number), runs=1, kinds={KIND: count})
        for number, count in enumerate(counts)
    ]


def known(found: Iterable[int], since: datetime = UNTIL - DAY) -> Usual:
    return usual(days(found), [KIND], UTC_ZONE, since)


QUIET = known([0, 0, 1, 0, 0, 0, 1, 0, 0, 0] * 3)
EVERY_HOUR = [UNTIL - HOUR * number for number in range(10, 0, -1)]

# ---- when it began --------------------------------------------------------------------------------------------------


def test_what_comes_far_more_often_than_it_used_to_began_with_its_first_instant() -> None:
    span = rise(times(*EVERY_HOUR), QUIET)
    assert span is not None
    assert (span.start, span.end, span.count) == (EVERY_HOUR[0], EVERY_HOUR[-1], 10)
    assert span.is_clear
    assert not span.is_over


def test_what_was_there_before_is_not_its_beginning() -> None:
    before = [UNTIL - DAY * number for number in (25, 17, 9)]
    span = rise(times(*before, *EVERY_HOUR), QUIET)
    assert span is not None
    assert span.start == EVERY_HOUR[0]


@pytest.mark.parametrize("count", [1, 2])
def test_two_are_no_onset(count: int) -> None:
    assert rise(times(*EVERY_HOUR[:count]), QUIET) is None


def test_so_many_as_on_every_day_are_no_onset() -> None:
    assert rise(times(*EVERY_HOUR), known([8] * 30)) is None


def test_where_nobody_watched_before_nothing_is_claimed() -> None:
    assert rise(times(*EVERY_HOUR), known([])) is None
    assert rise(times(*EVERY_HOUR), known([0, 0])) is None


def test_without_days_the_instants_themselves_tell_what_is_usual() -> None:
    steady = [UNTIL - DAY * 20 + DAY * 2 * number for number in range(9)]
    span = rise(times(*steady, *EVERY_HOUR), known([]))
    assert span is not None
    assert span.start == EVERY_HOUR[0]
    assert rise(times(*steady), known([])) is None


def test_a_weekend_without_any_does_not_end_it() -> None:
    friday = [instant - DAY * 2.5 for instant in EVERY_HOUR]
    span = rise(times(*friday), QUIET)
    assert span is not None
    assert not span.is_over


def test_after_days_without_any_it_is_over_and_ended_with_its_last() -> None:
    long_ago = [instant - DAY * 9 for instant in EVERY_HOUR]
    span = rise(times(*long_ago, UNTIL - HOUR), QUIET)
    assert span is not None
    assert (span.start, span.end, span.is_over) == (long_ago[0], long_ago[-1], True)
    assert not span.holds(UNTIL - HOUR)


def test_what_goes_on_for_weeks_does_not_become_usual() -> None:
    long = known([0] * 12 + [9] * 18)
    assert long.turned == date(2026, 11, 2)
    assert long.daily(UNTIL) == 0
    assert rise(times(*EVERY_HOUR), long) is not None


def test_steady_days_have_no_turn() -> None:
    assert known([2, 0, 1, 3, 0, 0, 1, 2, 1, 0] * 3).turned is None
    assert known([5]).turned is None


def test_days_without_runs_say_nothing_of_what_is_usual() -> None:
    unwatched = [Day(day=one.day, runs=0) for one in days([0] * 30)]
    assert usual(unwatched, [KIND], UTC_ZONE, UNTIL - DAY).before(UNTIL) is None


def test_days_begin_at_midnight_of_the_report() -> None:
    one = usual(days([0, 0, 0, 4]), [KIND], ZoneInfo("America/Chicago"), UNTIL)
    midnight = datetime(2026, 11, 20, 6, tzinfo=UTC)
    assert one.before(midnight) == (4, 4)
    assert one.before(midnight - timedelta(seconds=1)) == (0, 3)


# ---- what it costs --------------------------------------------------------------------------------------------------


def test_however_many_and_however_odd_the_instants_they_cost_no_more_than_their_hours() -> None:
    odd = random.Random(6)
    counted = Times(UNTIL)
    for _ in range(20_000):
        counted.add(datetime(1, 1, 2, tzinfo=UTC) + timedelta(seconds=odd.randrange(3 * 10**11)))
    assert counted.count == 20_000
    assert len(counted.hours()) <= REACH / HOUR + 2
    assert counted.whole is not None
    assert (counted.whole.start, counted.whole.end) == (UNTIL - REACH, UNTIL)


@given(some.permutations([*EVERY_HOUR, UNTIL - DAY * 9, UNTIL - DAY * 9]))
def test_the_order_does_not_matter(instants: list[datetime]) -> None:
    assert rise(times(*instants), QUIET) == rise(times(*sorted(instants)), QUIET)


@given(some.lists(some.datetimes(timezones=some.just(UTC)), max_size=40))
def test_a_span_is_made_of_what_was_counted(instants: list[datetime]) -> None:
    counted = times(*instants)
    for span in (rise(counted, QUIET), burst(counted, 3), counted.whole):
        if span is not None:
            assert span.count == sum(span.holds(counted.clipped(instant)) for instant in instants)


# ---- at once --------------------------------------------------------------------------------------------------------


def test_most_of_them_within_an_hour_are_a_burst() -> None:
    minutes = [UNTIL - HOUR * 5 + timedelta(minutes=number) for number in range(12)]
    span = burst(times(UNTIL - DAY * 3, *minutes), 5)
    assert span is not None
    assert (span.start, span.count) == (minutes[0], 12)


def test_an_hour_that_the_clock_divides_is_one_burst() -> None:
    across = [datetime(2026, 11, 19, 9, 50, tzinfo=UTC) + timedelta(minutes=4 * number) for number in range(6)]
    span = burst(times(*across), 5)
    assert span is not None
    assert (span.start, span.end, span.count) == (across[0], across[-1], 6)


def test_what_is_spread_over_days_is_no_burst() -> None:
    assert burst(times(*(UNTIL - DAY * number for number in range(20))), 5) is None
    assert burst(times(), 5) is None
