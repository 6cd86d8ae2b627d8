"""A slot is late when its grace has passed, and missed when the next has come; neither before anything is noted."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.cli.scheduling import part
from reconciler.schedule import Entry
from reconciler.schedule.keeping import GRACE, Kept, Noted, kept

NOW = datetime(2026, 11, 22, 17, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)
UTC_ZONE = ZoneInfo("UTC")


def stands(
    done: set[datetime], *, first: datetime | None, now: datetime = NOW, expression: str = "*/5 * * * *"
) -> Kept:
    return kept(Entry(1, expression, ()), now, UTC_ZONE, Noted(done=done, first=first))


def at(minutes: int) -> datetime:
    return NOW.replace(minute=0) + minutes * MINUTE


def test_a_line_that_is_kept_says_what_comes() -> None:
    found = stands({at(n) for n in range(-60, 1, 5)}, first=at(-60))
    assert found.coming == (at(5), at(10), at(15))
    assert (found.last, found.is_late, found.missed) == (at(0), False, 0)


def test_a_slot_has_its_grace_and_is_late_then() -> None:
    done = {at(-5)}
    assert not stands(done, first=at(-5)).is_late
    assert not stands(done, first=at(-5), now=at(0) + GRACE).is_late
    found = stands(done, first=at(-5), now=at(0) + GRACE + timedelta(seconds=1))
    assert (found.is_late, found.missed) == (True, 0), "it is missed when the next one comes"


def test_slots_that_passed_undone_are_counted_since_the_first() -> None:
    found = stands({at(-60), at(-40)}, first=at(-60))
    assert (found.missed, found.first_missed, found.since) == (3 + 7, at(-55), at(-60))


def test_nothing_is_late_or_missed_before_anything_was_noted() -> None:
    assert not stands(set(), first=None, now=NOW + 3 * MINUTE).is_late
    found = stands(set(), first=at(-10), now=NOW + 3 * MINUTE, expression="0 12 * * *")
    assert (found.is_late, found.missed) == (False, 0)
    assert stands(set(), first=at(-10) - DAY, now=NOW, expression="0 12 * * *").is_late


def test_a_slot_whose_grace_has_not_passed_is_not_missed_though_the_next_has_come() -> None:
    noted = Noted(done={at(-60)}, first=at(-60))

    def missed(grace: timedelta) -> int:
        return kept(Entry(1, "*/5 * * * *", ()), NOW, UTC_ZONE, noted, grace).missed

    assert missed(GRACE) == 11, "from 16:05 to 16:55; that of 17:00 is the last"
    assert missed(GRACE + 13 * MINUTE) == 9, "those of 16:50 and 16:55 may be waiting for their turn still"
    assert missed(GRACE + 14 * MINUTE) == 8, "and that of 16:45 has one minute more"


def test_what_nobody_notes_is_neither_late_nor_missed() -> None:
    found = kept(Entry(1, "*/5 * * * *", ()), NOW, UTC_ZONE, None)
    assert (found.last, found.is_late, found.missed, found.since) == (at(0), False, 0, None)


@pytest.mark.parametrize(("expression", "days"), [("*/5 * * * *", 7), ("* * * * *", 2)])
def test_how_far_it_is_looked_back_is_bounded(expression: str, days: int) -> None:
    found = stands(set(), first=NOW - 400 * DAY, expression=expression)
    assert found.since == NOW - days * DAY
    assert found.first_missed is not None
    assert found.first_missed - found.since < 5 * MINUTE


# ---- the part that a job waits --------------------------------------------------------------------------------------


def test_each_job_waits_a_time_of_its_own_and_always_the_same() -> None:
    names = [f"job{number}" for number in range(200)]
    waits = [part(name, MINUTE) for name in names]
    assert waits == [part(name, MINUTE) for name in names]
    assert len(set(waits)) > 50, "they are spread"
    assert timedelta() <= min(waits) <= max(waits) < MINUTE
    assert len({part("acme", MINUTE, f"{number}/9") for number in range(1, 10)}) > 4, "and so are the parts of one job"
    assert part("acme", timedelta()) == timedelta()
