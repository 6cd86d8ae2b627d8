"""Times as people type them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.moments import moment_of
from reconciler.errors import UsageError

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
CHICAGO = ZoneInfo("America/Chicago")


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("31d", NOW - timedelta(days=31)),
        (" 90m ", NOW - timedelta(minutes=90)),
        ("0s", NOW),
        ("2026-11-01", datetime(2026, 11, 1, 5, 0, tzinfo=UTC)),  # daylight saving ends that night, not yet
        ("2026-11-02", datetime(2026, 11, 2, 6, 0, tzinfo=UTC)),
        ("2026-11-20T08:00", datetime(2026, 11, 20, 14, 0, tzinfo=UTC)),
        ("2026-11-20 08:00:30", datetime(2026, 11, 20, 14, 0, 30, tzinfo=UTC)),
        ("2026-11-20T14:00Z", datetime(2026, 11, 20, 14, 0, tzinfo=UTC)),
        ("2026-11-20T14:00:00+02:00", datetime(2026, 11, 20, 12, 0, tzinfo=UTC)),
    ],
)
def test_a_time_is_how_long_ago_a_day_or_an_instant(word: str, meant: datetime) -> None:
    assert moment_of("--since", word, CHICAGO, NOW) == meant


@pytest.mark.parametrize("word", ["", "soon", "31", "2026-13-01", "2026-11-31", "31 d", "\x1b[31m", "9" * 5000 + "d"])
def test_what_is_no_time_is_a_mistake_that_says_what_can_be_typed(word: str) -> None:
    with pytest.raises(UsageError, match=r"--since: .* is no time \(how long ago") as told:
        moment_of("--since", word, CHICAGO, NOW)
    assert "\x1b" not in str(told.value)
    assert len(str(told.value)) < 300


@pytest.mark.parametrize("word", ["2026-11-24", "2026-11-23T12:00:01Z"])
def test_what_has_not_come_yet_is_no_time_to_begin_with(word: str) -> None:
    with pytest.raises(UsageError, match="has not come yet"):
        moment_of("--until", word, CHICAGO, NOW)


@given(st.text(max_size=40))
def test_any_words_are_a_time_that_has_come_or_a_mistake(word: str) -> None:
    try:
        found = moment_of("--since", word, CHICAGO, NOW)
    except UsageError:
        return
    assert found <= NOW
    assert found.tzinfo is not None
