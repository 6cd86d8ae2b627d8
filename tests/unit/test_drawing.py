"""Charts are drawn as they are: nothing is nothing, twice as much is twice as high, and a day unknown is a gap."""

from __future__ import annotations

from datetime import date, timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.report.drawing import HEIGHT, WIDTH, drawn
from reconciler.report.report import Trend

FIRST = date(2026, 10, 24)


def trend(*values: float | None, name: str = "open", unit: str = "") -> Trend:
    points = tuple((FIRST + timedelta(days=day), value) for day, value in enumerate(values))
    return Trend(name=name, title="Open", unit=unit, points=points, said="")


def test_twice_as_much_is_twice_as_high_and_nothing_is_nothing() -> None:
    nothing, some, twice = drawn(trend(0, 4, 8)).points
    assert nothing.height == 0
    assert twice.height == pytest.approx(2 * some.height)
    assert nothing.x < some.x < twice.x


def test_a_day_of_which_nothing_is_known_is_a_gap_and_no_line_goes_across() -> None:
    chart = drawn(trend(1, 2, None, 3, 4, None, 5))
    assert [line.count(",") for line in chart.lines] == [2, 2, 2]
    assert len(chart.points) == 5
    assert chart.last is not None
    assert chart.last.value == 5


def test_a_share_is_drawn_where_its_losses_can_be_seen_and_the_axis_says_so() -> None:
    chart = drawn(trend(100, 96, name="coverage", unit="%"))
    assert (chart.lowest, chart.highest) == (90, 100)
    assert drawn(trend(100, 71.5, name="coverage", unit="%")).lowest == 70


@pytest.mark.parametrize("values", [(), (None, None), (0, 0), (7,)])
def test_what_has_no_spread_is_drawn_all_the_same(values: tuple[float | None, ...]) -> None:
    chart = drawn(trend(*values))
    known = [value for value in values if value is not None]
    assert len(chart.points) == len(known)
    assert (chart.last is None) is (not known)


def test_what_happened_on_days_is_bars_and_how_it_stood_is_a_line() -> None:
    assert drawn(trend(1, name="found")).has_bars
    assert drawn(trend(1, name="fixed")).has_bars
    assert not drawn(trend(1, name="open")).has_bars


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e9)), max_size=400),
    st.sampled_from([("found", ""), ("delay", "minutes")]),
)
@example([5e-324], ("found", ""))
def test_nothing_is_drawn_outside(values: list[float | None], kind: tuple[str, str]) -> None:
    name, unit = kind
    for point in drawn(trend(*values, name=name, unit=unit)).points:
        assert 0 <= point.x <= WIDTH
        assert 0 <= point.y <= HEIGHT
        assert 0 <= point.height <= HEIGHT


@given(st.lists(st.one_of(st.none(), st.floats(0, 100)), max_size=60))
def test_a_share_is_never_drawn_outside(values: list[float | None]) -> None:
    for point in drawn(trend(*values, name="coverage", unit="%")).points:
        assert 0 <= point.y <= HEIGHT
