"""Slots are the minutes in which cron starts a line, held against a cron that walks through them minute by minute."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.schedule import Entry, coming, following, latest, machine_zone, times

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
CHICAGO = ZoneInfo("America/Chicago")
ZULU = ZoneInfo("UTC")
SPRING = datetime(2026, 3, 8, 8, 0, tzinfo=UTC)
"""02:00 is 03:00 in Chicago at once."""
AUTUMN = datetime(2026, 11, 1, 7, 0, tzinfo=UTC)
"""02:00 is 01:00 in Chicago once more."""
CHANGES = [
    (CHICAGO, SPRING),
    (CHICAGO, AUTUMN),
    (ZoneInfo("Australia/Lord_Howe"), datetime(2026, 10, 3, 15, 30, tzinfo=UTC)),  # by half an hour
    (ZoneInfo("Australia/Lord_Howe"), datetime(2026, 4, 4, 15, 0, tzinfo=UTC)),
    (ZULU, AUTUMN),
]


def line(expression: str, zone: str | None = None) -> Entry:
    return Entry(1, expression, (), zone)


def between(expression: str, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    return list(takewhile(lambda slot: slot <= until, following(line(expression), since, zone)))


def walked(expression: str, zone: ZoneInfo, since: datetime, until: datetime) -> list[datetime]:
    """Return when cron starts a line. It looks at the clock each minute, and knows the last time that it looked."""
    follows = any(field.startswith("*") for field in expression.split()[:2])
    minutes, hours = (meant(field, most) for field, most in zip(expression.split(), (60, 24), strict=False))
    started: list[datetime] = []
    now = since - 4 * HOUR
    before = now.astimezone(zone).replace(tzinfo=None)
    while now < until:
        now += MINUTE
        wall = now.astimezone(zone).replace(tzinfo=None)
        passed = [before + n * MINUTE for n in range(1, int((wall - before) / MINUTE) + 1)]
        looked_at = [wall] if follows else passed  # what was skipped is made up for, what is repeated was done
        if any(each.minute in minutes and each.hour in hours for each in looked_at):
            started.append(now)
        before = wall if follows else max(before, wall)
    return [slot for slot in started if slot >= since]


def meant(field: str, most: int) -> set[int]:
    found: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, _, last = ("0", "-", str(most - 1)) if span == "*" else span.partition("-")
        found |= set(range(int(first), int(last or first) + 1, int(step or 1)))
    return found


expressions = st.builds(
    "{} {} * * *".format,
    st.sampled_from(["0", "30", "59", "*/15", "*/7", "10-20/5", "0,45", "*"]),
    st.sampled_from(["*", "1", "2", "0,3", "1-3", "*/2", "2-23/3"]),
)


@given(expressions, st.sampled_from(CHANGES), st.integers(-200, 200))
def test_slots_are_the_minutes_in_which_cron_starts_a_line(
    expression: str, change: tuple[ZoneInfo, datetime], minutes: int
) -> None:
    zone, at = change
    since = at + minutes * MINUTE
    assert between(expression, zone, since, since + 5 * HOUR) == walked(expression, zone, since, since + 5 * HOUR)


@given(expressions, st.sampled_from(CHANGES), st.integers(-200, 200))
def test_the_latest_slot_and_the_coming_one_are_beside_each_other(
    expression: str, change: tuple[ZoneInfo, datetime], minutes: int
) -> None:
    zone, at = change
    now = at + minutes * MINUTE
    found = between(expression, zone, now - 30 * HOUR, now + 30 * HOUR)
    assert latest([line(expression)], now, zone) == max(slot for slot in found if slot <= now)
    assert coming([line(expression)], now, zone) == min(slot for slot in found if slot > now)


@pytest.mark.parametrize(
    ("expression", "at", "starts"),
    [
        ("30 2 * * *", SPRING, ["08:00"]),  # skipped: right after the change
        ("0,30 2 * * *", SPRING, ["08:00"]),  # both at once is once
        ("30 * * * *", SPRING, ["07:30", "08:30", "09:30", "10:30"]),
        ("30 1 * * *", AUTUMN, ["06:30"]),  # repeated: the first time alone
        ("30 * * * *", AUTUMN, ["05:30", "06:30", "07:30", "08:30"]),
        ("*/30 1 * * *", AUTUMN, ["06:00", "06:30", "07:00", "07:30"]),
    ],
)
def test_where_clocks_change_a_line_runs_as_cron_says(expression: str, at: datetime, starts: list[str]) -> None:
    since = at.replace(hour=5 if at is AUTUMN else 7)
    assert [f"{slot:%H:%M}" for slot in between(expression, CHICAGO, since, since + 3.9 * HOUR)] == starts


@pytest.mark.parametrize(
    ("expression", "since", "first"),
    [
        ("30 2 * * *", SPRING, SPRING),  # its wall was before the change
        ("0 * * * *", AUTUMN - 30 * MINUTE, AUTUMN),  # and this one's comes again
        ("0 1 * * *", AUTUMN - 30 * MINUTE, AUTUMN + 24 * HOUR),
    ],
)
def test_who_looks_on_from_within_a_change_sees_what_it_brings(
    expression: str, since: datetime, first: datetime
) -> None:
    assert next(following(line(expression), since, CHICAGO)) == first


@pytest.mark.parametrize(
    ("expression", "now", "last"),
    [
        ("30 2 * * *", SPRING, SPRING),
        ("50 1 * * *", AUTUMN + 10 * MINUTE, AUTUMN - 10 * MINUTE),  # 01:10 for the second time: 01:50 has been
        ("0 12 29 2 *", SPRING, datetime(2024, 2, 29, 18, 0, tzinfo=UTC)),
        ("0 0 31 2 *", SPRING, None),
    ],
)
def test_the_latest_slot_is_told_by_instants(expression: str, now: datetime, last: datetime | None) -> None:
    assert latest([line(expression)], now, CHICAGO) == last


def test_of_day_and_weekday_cron_wants_either_or_both_as_they_are_written() -> None:
    since = datetime(2026, 11, 1, tzinfo=UTC)

    def days(expression: str) -> list[int]:
        return [slot.day for slot in islice(following(line(expression), since, ZULU), 4)]

    assert days("0 0 10 * mon") == [2, 9, 10, 16]
    assert all(
        slot.weekday() == 6 and slot.day in {1, 11, 21, 31}
        for slot in islice(following(line("0 0 */10 * sun"), since, ZULU), 4)
    )


def test_a_line_goes_by_its_own_zone_and_else_by_the_machines() -> None:
    now = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
    assert latest([line("0 9 * * *", "America/Chicago")], now, ZULU) == datetime(2026, 11, 22, 15, 0, tzinfo=UTC)
    assert latest([line("0 9 * * *")], now, ZoneInfo("Asia/Tokyo")) == datetime(2026, 11, 22, 0, 0, tzinfo=UTC)
    assert latest([], now, ZULU) is None


def test_lines_that_share_their_times_are_asked_about_once_and_zones_are_kept_apart(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    days = times._days

    def counted(expression: str, start: datetime, *, back: bool) -> Iterator[datetime]:
        asked.append(expression)
        return days(expression, start, back=back)

    monkeypatch.setattr(times, "_days", counted)
    now = datetime(2031, 5, 6, 7, 8, tzinfo=UTC)
    lines = [Entry(number, "7 */4 * * *", ()) for number in range(100)]
    here, there = ({times.first(each, now, zone, 2) for each in lines} for zone in (ZULU, CHICAGO))
    assert (len(here), len(there), len(asked)) == (1, 1, 2)
    assert here.isdisjoint(there)
    assert {times.passed(each, now - 9 * HOUR, now, ZULU, 9) for each in lines} == {
        tuple(between("7 */4 * * *", ZULU, now - 9 * HOUR, now))
    }
    assert times.slots(lines, now, ZULU) == between("7 */4 * * *", ZULU, now, now + 8 * 24 * HOUR + 4 * HOUR)
    assert len(asked) < 10


def test_the_machines_zone_is_what_it_says_it_is(tmp_path: Path) -> None:
    link = tmp_path / "localtime"
    assert machine_zone({}, link) == ZULU
    link.symlink_to("/usr/share/zoneinfo/America/Chicago")
    assert machine_zone({}, link) == CHICAGO
    assert machine_zone({"TZ": ":Europe/Rome"}, link) == ZoneInfo("Europe/Rome")
    assert machine_zone({"TZ": "EST5EDT,M3.2.0,M11.1.0"}, link) == ZULU
