"""What only a group shows: constant shifts, duplicates, double bookings, cut series and flapping."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import groups, patterns
from reconciler.findings import Context
from reconciler.model import (
    Absence,
    Fields,
    Pair,
    Presence,
    Record,
    Seen,
    Side,
    Situation,
    Span,
    Step,
    Value,
    Verdict,
    rfc3339,
)
from reconciler.patterns import (
    Judged,
    Wrote,
    cut_series,
    double_bookings,
    duplicates,
    flapping,
    hold_continuations,
    hold_new_occurrences,
    instant,
    shift,
    shifts,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
ANN, BOB = "ann@acme.example", "bob@acme.example"
TIMES = ("start", "end")


def times(start: datetime, long: timedelta = HOUR) -> dict[str, Value]:
    return {"start": rfc3339(start), "end": rfc3339(start + long)}


def seen(
    start: datetime = NOON,
    long: timedelta = HOUR,
    *,
    agent: str = ANN,
    event: str = "e",
    meeting: str = "",
    series: str | None = None,
    absence: Absence | None = None,
    stale: bool = False,
    busy: bool = True,
) -> Seen:
    return Seen(
        event=event,
        span=Span(start, start + long),
        digest=b"",
        meeting=meeting or f"m-{event}",
        series=series,
        relevance="client",
        fields={"agent": agent, **times(start, long)},
        absence=absence,
        stale=stale,
        busy=busy,
    )


def record(
    crm_id: str = "1",
    at: datetime = NOON,
    *,
    key: str | None = None,
    presence: Presence = Presence.LIVE,
    closed: bool = False,
    **fields: Value,
) -> Record:
    said: Fields = {"agent": ANN, **times(at), **fields}
    return Record(id=crm_id, fields=said, version="1", key=key, presence=presence, closed=closed)


CHANGED = Verdict(Situation.CALENDAR_CHANGED, Step.UPDATE, to_crm=TIMES)


def off_by(off: timedelta, number: int, *, agent: str = ANN, verdict: Verdict = CHANGED) -> Judged:
    start = NOON + number * DAY
    return Pair(
        seen=seen(start, agent=agent), calendar=None, record=record(str(number), start + off), link=None
    ), verdict


# ---- constant shift -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("off", "long", "found"),
    [
        (-5 * HOUR, HOUR, True),
        (15 * MINUTE, HOUR, True),
        (5 * HOUR + 45 * MINUTE, HOUR, True),
        (14 * HOUR, HOUR, True),
        (14 * HOUR + 15 * MINUTE, HOUR, False),
        (20 * MINUTE, HOUR, False),
        (timedelta(), HOUR, False),
        (-5 * HOUR, 2 * HOUR, False),  # another length is a change, not a zone
    ],
)
def test_a_shift_is_whole_quarters_up_to_fourteen_hours_with_the_same_length(
    off: timedelta, long: timedelta, *, found: bool
) -> None:
    assert shift(times(NOON), times(NOON + off, long)) == (off if found else None)


def test_whole_days_and_missing_times_have_no_shift() -> None:
    day: Fields = {"start": "2026-11-24", "end": "2026-11-25"}
    assert shift(day, times(NOON)) is None
    assert shift(times(NOON), day) is None
    assert shift(times(NOON), {}) is None


@pytest.mark.parametrize(
    ("shifted", "linked", "found"),
    [(1, 1, False), (1, 10, False), (2, 3, True), (2, 4, False), (2, 10, False), (3, 100, True), (3, 3, True)],
)
def test_a_group_is_three_or_more_or_over_half_and_at_least_two(shifted: int, linked: int, *, found: bool) -> None:
    groups = shifts([off_by(-5 * HOUR, number) for number in range(shifted)], {ANN: linked})
    assert [(group.agent, group.off, len(group.pairs)) for group in groups] == (
        [(ANN, -5 * HOUR, shifted)] if found else []
    )


def test_shifts_are_grouped_by_agent_and_amount() -> None:
    judged = [
        *(off_by(-5 * HOUR, number) for number in range(3)),
        *(off_by(-6 * HOUR, number) for number in range(3, 5)),
        *(off_by(-5 * HOUR, number, agent=BOB) for number in range(5, 7)),
    ]
    assert [(group.agent, group.off) for group in shifts(judged, {ANN: 50, BOB: 50})] == [(ANN, -5 * HOUR)]


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Situation.CALENDAR_CHANGED, Step.UPDATE, to_crm=TIMES),
        Verdict(Situation.CRM_CHANGED, Step.UPDATE, to_calendar=TIMES),
        Verdict(Situation.CRM_CHANGED, Step.FINDING, foreign=TIMES),
        Verdict(Situation.BOTH_CHANGED, Step.CONFLICT, conflicts=TIMES),
    ],
)
def test_a_shift_shows_whoever_moved_the_times(verdict: Verdict) -> None:
    assert len(shifts([off_by(HOUR, number, verdict=verdict) for number in range(3)], {ANN: 3})) == 1


@pytest.mark.parametrize(
    "verdict",
    [
        Verdict(Situation.HOLD, Step.HOLD),
        Verdict(Situation.CALENDAR_CHANGED, Step.UPDATE, to_crm=("title",)),
        Verdict(Situation.REMOVED_FROM_CALENDAR, Step.FINDING),
        Verdict(Situation.IN_SYNC, Step.NOTHING),
    ],
)
def test_what_is_held_or_about_something_else_is_no_shift(verdict: Verdict) -> None:
    assert shifts([off_by(HOUR, number, verdict=verdict) for number in range(5)], {ANN: 5}) == []


def test_what_is_gone_or_cancelled_is_no_shift() -> None:
    judged = [off_by(HOUR, number) for number in range(3)]
    gone = [
        (replace(pair, seen=replace(pair.seen, absence=Absence.CANCELLED)), verdict)
        for pair, verdict in judged
        if pair.seen
    ]
    assert len(shifts(judged, {ANN: 3})) == 1
    cancelled = [
        (replace(pair, record=record(presence=Presence.CANCELLED, at=NOON + HOUR)), verdict) for pair, verdict in judged
    ]
    assert shifts(gone, {ANN: 3}) == shifts(cancelled, {ANN: 3}) == []


def test_a_weekly_series_across_the_change_of_clocks_is_no_shift() -> None:
    """09:30 in New York before and after 2027-03-14, agreed by both sides; only the last one really moved."""
    week = [datetime(2027, 3, day, hour, 30, tzinfo=UTC) for day, hour in ((3, 14), (10, 14), (17, 13), (24, 13))]
    same = [Pair(seen=seen(start), calendar=None, record=record("1", start), link=None) for start in week]
    assert [shift(pair.seen.fields, pair.record.fields) for pair in same if pair.seen and pair.record] == [None] * 4
    moved = Pair(seen=seen(week[-1]), calendar=None, record=record("4", week[-1] + HOUR), link=None)
    assert shifts([*((pair, CHANGED) for pair in same), (moved, CHANGED)], {ANN: 4}) == []


# ---- series ---------------------------------------------------------------------------------------------------------

STALE = Verdict(Situation.HOLD, Step.HOLD, reason="unseen")
NEW = Verdict(Situation.NEW_IN_CALENDAR, Step.CREATE)


def occurrence(series: str | None, calendar: int = 1, *, stale: bool = False, crm: Record | None = None) -> Pair:
    absence = Absence.UNSEEN if stale else None
    return Pair(
        seen=seen(series=series, stale=stale, absence=absence),
        calendar=None,
        calendar_id=calendar,
        record=crm,
        link=None,
    )


def test_a_cut_series_holds_its_new_occurrences_and_nobody_elses() -> None:
    judged: Sequence[Judged] = [
        (occurrence("s", stale=True, crm=record()), STALE),
        (occurrence("s"), NEW),
        (occurrence("s", 2), NEW),
        (occurrence("other"), NEW),
        (occurrence(None), NEW),
        (occurrence("s", crm=record()), CHANGED),
    ]
    cut = cut_series(judged)
    assert cut == {(1, "s")}
    held = hold_new_occurrences(judged, cut)
    assert [verdict.step for _, verdict in held] == [
        Step.HOLD,
        Step.HOLD,
        Step.CREATE,
        Step.CREATE,
        Step.CREATE,
        Step.UPDATE,
    ]
    assert held[1][0].holds == (patterns.STALE_SERIES,)


@pytest.mark.parametrize("crm", [None, record(presence=Presence.CANCELLED), record(presence=Presence.ABSENT)])
def test_a_series_of_which_the_crm_holds_nothing_old_is_not_cut(crm: Record | None) -> None:
    assert cut_series([(occurrence("s", stale=True, crm=crm), STALE)]) == set()


WEEK = timedelta(weeks=1)


def old(said: Fields, crm_id: str = "17", at: datetime = NOON + WEEK) -> Judged:
    """Return an occurrence that the rule of its series no longer makes, with the record that still stands."""
    row = seen(at, series="m", stale=True, absence=Absence.UNSEEN, event=f"m/{crm_id}")
    row = replace(row, fields={**row.fields, **said})
    kept = record(crm_id, at)
    kept = replace(kept, fields={**kept.fields, **said})
    return Pair(seen=row, calendar=None, calendar_id=1, record=kept, link=None), STALE


def new(said: Fields, series: str | None = "n", calendar: int = 1) -> Judged:
    made = seen(NOON + WEEK, series=series, event="n/1")
    made = replace(made, fields={**made.fields, **said})
    return Pair(seen=made, calendar=None, calendar_id=calendar, record=None, link=None), NEW


ZOES: Fields = {"contact": ("zoe@client.example",), "title": "Showing"}
AMYS: Fields = {"contact": ("amy@client.example", "zoe@client.example"), "title": "Walk"}
NOBODYS: Fields = {"title": "Showing"}


@pytest.mark.parametrize(
    ("before", "after"), [(ZOES, ZOES), (ZOES, AMYS), (NOBODYS, ZOES), (ZOES, NOBODYS), (NOBODYS, NOBODYS)]
)
def test_a_new_series_like_one_that_was_cut_is_held_and_says_for_which(before: Fields, after: Fields) -> None:
    judged = [old(before), old(before, "18", NOON + 2 * WEEK), new(after)]
    *untouched, (pair, verdict) = hold_continuations(judged, NOON)
    assert untouched == judged[:2]
    assert (pair.holds, verdict.situation, verdict.step) == (
        (patterns.STALE_SERIES,),
        Situation.NEW_IN_CALENDAR,
        Step.HOLD,
    )
    assert verdict.reason == "it may go on for the series m, which was cut while CRM 17, 18 still stand"


@pytest.mark.parametrize(
    "judged",
    [
        [
            old(ZOES),
            new({"contact": ("amy@client.example",), "title": "Showing"}),
        ],  # another client, whatever it is called
        [old(NOBODYS), new({"title": "Walk"})],
        [old({}), new({})],  # nothing is known of either: that is no likeness
        [old(ZOES), new(ZOES, calendar=2)],
        [old(ZOES), new(ZOES, None)],
        [old(ZOES, at=NOON - WEEK), new(ZOES)],  # what has been cannot be gone on for
        [new(ZOES), (new(ZOES, "o")[0], CHANGED)],
        [(replace(old(ZOES)[0], record=None), STALE), new(ZOES)],
        [(replace(old(ZOES)[0], record=record(presence=Presence.CANCELLED)), STALE), new(ZOES)],
    ],
)
def test_what_is_unlike_a_cut_series_is_made(judged: list[Judged]) -> None:
    assert hold_continuations(judged, NOON) == judged


def test_a_private_occurrence_is_not_taken_for_another_private_one() -> None:
    assert hold_continuations([old({"title": ""}), new({"title": ""})], NOON)[1] == new({"title": ""})


def test_of_many_records_of_a_cut_series_some_are_named() -> None:
    judged = [*(old(ZOES, f"{number:02}") for number in range(8)), new(ZOES)]
    reason = hold_continuations(judged, NOON)[-1][1].reason
    assert reason.endswith("cut while CRM 00, 01, 02, 03, 04 and 3 more still stand")


# ---- duplicates -----------------------------------------------------------------------------------------------------

ZOE, AMY = "zoe@client.example", "amy@client.example"


def grouped(*records: Record) -> set[frozenset[str]]:
    found = {
        tuple(tuple(record.id for record in group) for group in duplicates(order)) for order in permutations(records)
    }
    assert len(found) == 1, "the order of the records must not matter"
    return {frozenset(group) for group in found.pop()}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (record("2", NOON + 5 * MINUTE, contact=(ZOE,)), True),
        (record("2", NOON + 6 * MINUTE, contact=(ZOE,)), False),
        (record("2", contact=(AMY,)), False),
        (record("2", contact=(AMY, ZOE)), True),
        (record("2", contact=(ZOE,), agent=BOB), False),
        (record("2", contact=(ZOE,), presence=Presence.CANCELLED), False),
        (record("2", contact=(ZOE,), presence=Presence.ABSENT), False),
        (record("2", contact=(ZOE,), closed=True), False),
        (record("2"), False),
        (record("2", NOON + DAY, key="k"), True),
        (record("2", NOON + DAY, key="k", agent=BOB), False),
        (record("2", contact=(ZOE,), start="2026-11-24"), False),
    ],
)
def test_duplicates_share_owner_and_client_and_time_or_a_key(other: Record, *, found: bool) -> None:
    first = record("1", contact=(ZOE,), key="k")
    assert grouped(first, other) == ({frozenset("12")} if found else set())


def test_whole_days_are_duplicates_on_the_same_day() -> None:
    days = [
        record(str(number), contact=(ZOE,), start=day, end="2026-11-26")
        for number, day in enumerate(("2026-11-24", "2026-11-24", "2026-11-25"))
    ]
    assert grouped(*days) == {frozenset("01")}


def test_a_record_without_a_time_is_nobodys_duplicate() -> None:
    assert grouped(record("1", contact=(ZOE,), start=None), record("2", contact=(ZOE,), start=None)) == set()


def test_a_group_is_named_once_however_it_was_found() -> None:
    three = [record(str(number), NOON + number * 4 * MINUTE, contact=(ZOE, AMY), key="k") for number in range(3)]
    assert grouped(*three) == {frozenset("012")}


# ---- double bookings ------------------------------------------------------------------------------------------------


def clashes(*events: Seen) -> list[tuple[str, str]]:
    found = {
        tuple((one.event, other.event) for _, one, other in double_bookings((ANN, event) for event in order))
        for order in permutations(events)
    }
    assert len(found) == 1, "the order of the events must not matter"
    return list(found.pop())


@pytest.mark.parametrize(
    ("zone", "one", "other"),
    [
        (None, "{day} 12:00-13:00 UTC", "{day} 12:30-{next} 12:30 UTC"),
        (
            "Asia/Tokyo",
            "{day} 21:00-22:00 JST ({day} 12:00-13:00 UTC)",
            "{day} 21:30-{next} 21:30 JST ({day} 12:30-{next} 12:30 UTC)",
        ),
    ],
)
def test_a_double_booking_says_both_times_in_the_zone_of_its_agent_and_in_utc(
    zone: str | None, one: str, other: str
) -> None:
    long = seen(NOON + 30 * MINUTE, timedelta(days=1), event="b")
    context = Context(now=NOON, allow=frozenset(), can=frozenset(), compare=(), mapped=frozenset())
    found = groups.double_booked(ANN, long, seen(event="a"), context, zone=zone)
    said = f"Two appointments overlap: {one} and {other}."
    assert found.why == said.format(day=NOON.date(), next=NOON.date() + timedelta(days=1))


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (seen(NOON + 50 * MINUTE, event="b"), True),
        (seen(NOON + 51 * MINUTE, event="b"), False),
        (seen(NOON + 5 * MINUTE, 9 * MINUTE, event="b"), False),
        (seen(NOON + 5 * MINUTE, 10 * MINUTE, event="b"), True),
        (seen(event="b", meeting="m-a"), False),
        (seen(event="b", busy=False), False),
        (seen(event="b", absence=Absence.CANCELLED), False),
        (seen(event="b", absence=Absence.UNSEEN), False),
    ],
)
def test_a_double_booking_overlaps_by_ten_minutes_and_is_another_meeting(other: Seen, *, found: bool) -> None:
    assert clashes(seen(event="a"), other) == ([("a", "b")] if found else [])


def test_whole_days_do_not_double_book() -> None:
    day = replace(seen(event="b"), span=Span(date(2026, 11, 24), date(2026, 11, 25)))
    assert clashes(seen(event="a"), day) == []


def test_every_event_in_a_long_one_shows_even_after_a_short_one() -> None:
    long, short, late = seen(NOON, 8 * HOUR, event="a"), seen(NOON + HOUR, event="b"), seen(NOON + 5 * HOUR, event="c")
    assert clashes(long, short, late) == [("a", "b"), ("a", "c")]


def test_two_agents_do_not_clash_with_each_other() -> None:
    assert double_bookings([(ANN, seen(event="a")), (BOB, seen(event="b"))]) == []


SLOTS = st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=10)


@given(SLOTS)
def test_a_double_booking_is_found_exactly_when_there_is_one(slots: list[tuple[int, int]]) -> None:
    events = [
        seen(NOON + start * 5 * MINUTE, long * 5 * MINUTE, event=f"{number:02}")
        for number, (start, long) in enumerate(slots)
    ]
    found = double_bookings((ANN, event) for event in events)

    def overlap(one: Seen, other: Seen) -> timedelta:
        return min(one.span.ends_at, other.span.ends_at) - max(one.span.starts_at, other.span.starts_at)

    assert all(overlap(one, other) >= 10 * MINUTE for _, one, other in found)
    late = {
        other.event
        for one in events
        for other in events
        if (one.span.starts_at, one.event) < (other.span.starts_at, other.event) and overlap(one, other) >= 10 * MINUTE
    }
    assert {other.event for _, _, other in found} == late
    assert len(found) <= len(events)


# ---- flapping -------------------------------------------------------------------------------------------------------


def wrote(content: bytes = b"a", crm_id: str | None = "1", key: str = "k", side: Side = Side.CRM) -> Wrote:
    return Wrote(side, key, crm_id, content)


def test_the_same_content_written_three_times_to_one_record_is_flapping() -> None:
    one, other = wrote(), wrote(crm_id="2", key="l")
    done = [one, wrote(b"b"), one, other, one, other]
    assert flapping({one, other, wrote(b"b")}, done) == {one}
    assert flapping({one}, done[:4]) == set()
    assert flapping({wrote(b"c")}, done) == set()


def test_each_side_is_counted_by_itself() -> None:
    done = [wrote(), wrote(side=Side.CALENDAR), wrote(), wrote(side=Side.CALENDAR)]
    assert flapping({wrote(), wrote(side=Side.CALENDAR)}, done) == set()
    assert flapping({wrote(side=Side.CALENDAR)}, [*done, wrote(side=Side.CALENDAR)]) == {wrote(side=Side.CALENDAR)}


def test_a_record_entered_anew_is_known_by_its_key_and_one_that_was_given_another_key_by_its_id() -> None:
    anew = [wrote(crm_id=number) for number in ("1", "2", "3")]
    assert flapping({wrote(crm_id="4")}, anew) == {wrote(crm_id="4")}
    rekeyed = [wrote(key=key) for key in ("k", "l", "m")]
    assert flapping({wrote(key="n")}, rekeyed) == {wrote(key="n")}
    assert flapping({wrote(crm_id="4", key="n")}, [*anew, *rekeyed]) == set()


def test_a_create_counts_by_its_key_and_a_write_that_both_names_find_counts_once() -> None:
    create = wrote(crm_id=None)
    assert flapping({create}, [wrote(crm_id=number) for number in ("1", "2", "3")]) == {create}
    assert flapping({wrote()}, [wrote(), wrote()]) == set()


@pytest.mark.parametrize(
    ("value", "expected"),
    [("2026-11-24T12:00:00Z", NOON), ("2026-11-24", None), ("", None), (None, None), (True, None), (("x",), None)],
)
def test_a_canonical_time_is_read_back_and_a_date_is_none(value: object, expected: datetime | None) -> None:
    assert instant(value) == expected
