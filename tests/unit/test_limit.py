from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.limit import Limit


@pytest.mark.parametrize(
    ("spelling", "limit"),
    [
        ("25 or 10%", Limit(25, Decimal(10))),
        ("10", Limit(10)),
        ("10%", Limit(0, Decimal(10))),
        ("2.5 %", Limit(0, Decimal("2.5"))),
        (" 0 ", Limit()),
        ("100%", Limit(0, Decimal(100))),
    ],
)
def test_a_limit_is_an_amount_a_share_or_both(spelling: str, limit: Limit) -> None:
    assert Limit.parse(spelling) == limit


@pytest.mark.parametrize(
    "spelling",
    ["", "%", "ten", "-1", "1.5", "101%", "1000%", "25 or", "or 10%", "10% or 25", "25 10%", "٣", "9" * 5000, "1e3"],
)
def test_anything_else_is_refused(spelling: str) -> None:
    with pytest.raises(ValueError, match=r"write an amount|a share is between"):
        Limit.parse(spelling)


@pytest.mark.parametrize(
    ("spelling", "population", "cap", "allowed"),
    [
        ("10 or 5%", 260, 1000, 13),
        ("10 or 5%", 199, 1000, 10),
        ("10 or 5%", 0, 1000, 10),
        ("10%", 9, 1000, 0),
        ("25 or 10%", 1_000_000, 1000, 1000),
        ("0", 1_000_000, 1000, 0),
        ("29%", 100, 1000, 29),  # 0.29 * 100 is less than 29 in binary fractions
    ],
)
def test_the_larger_counts_and_the_cap_ends_it(spelling: str, population: int, cap: int, allowed: int) -> None:
    assert Limit.parse(spelling).allowed(population, cap) == allowed


LIMITS = st.builds(Limit, st.integers(0, 10**9 - 1), st.decimals(0, 100, places=4))


@given(LIMITS)
def test_what_is_shown_reads_back(limit: Limit) -> None:
    assert Limit.parse(str(limit)) == limit


@given(LIMITS, st.integers(0, 10**9), st.integers(1, 10**6))
def test_more_is_allowed_of_more_and_never_beyond_the_cap(limit: Limit, population: int, cap: int) -> None:
    allowed = limit.allowed(population, cap)
    assert 0 <= allowed <= cap
    assert allowed <= limit.allowed(population + 1, cap)
    assert allowed >= min(limit.amount, cap)
