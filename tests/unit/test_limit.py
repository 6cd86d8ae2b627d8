"""A limit is an amount, a share of a population, or the larger of the two."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.limit import Limit


@pytest.mark.parametrize(
    ("spelling", "amount", "percent"),
    [("10", 10, "0"), ("10%", 0, "10"), ("25 or 10%", 25, "10"), ("0", 0, "0"), (" 5 or 2.5 % ", 5, "2.5")],
)
def test_a_limit_is_read_as_it_is_spelled(spelling: str, amount: int, percent: str) -> None:
    assert Limit.parse(spelling) == Limit(amount, Decimal(percent))


@pytest.mark.parametrize("spelling", ["", "-1", "ten", "10% or 25", "10 or 5", "101%", "1e3", "٣", "5 or", "1.5"])
def test_anything_else_is_refused_with_a_sentence(spelling: str) -> None:
    with pytest.raises(ValueError, match=r"write an amount|a share is between"):
        Limit.parse(spelling)


@pytest.mark.parametrize("spelling", ["10", "10%", "25 or 10%", "0", "5 or 2.5%"])
def test_a_limit_is_shown_as_it_is_spelled(spelling: str) -> None:
    assert str(Limit.parse(spelling)) == spelling


@pytest.mark.parametrize(
    ("spelling", "population", "cap", "allowed"),
    [
        ("10 or 5%", 260, 1000, 13),
        ("10 or 5%", 199, 1000, 10),
        ("10 or 5%", 219, 1000, 10),
        ("10 or 5%", 220, 1000, 11),
        ("25 or 10%", 1_000_000, 1000, 1000),
        ("25 or 10%", 0, 10, 10),
        ("0", 1_000_000, 1000, 0),
        ("29%", 100, 1000, 29),
    ],
)
def test_the_larger_of_both_is_allowed_rounded_down_and_capped(
    spelling: str, population: int, cap: int, allowed: int
) -> None:
    assert Limit.parse(spelling).allowed(population, cap) == allowed


@given(st.integers(0, 10**9), st.integers(0, 100), st.integers(0, 10**7), st.integers(0, 10**6))
def test_no_limit_allows_more_than_its_cap_or_less_than_its_amount_under_it(
    amount: int, percent: int, population: int, cap: int
) -> None:
    allowed = Limit(amount, Decimal(percent)).allowed(population, cap)
    assert allowed == min(cap, max(amount, population * percent // 100))
