"""Folding reads into the mirror: what was not seen is not gone, and the order of increments does not matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.mirror import Mirror, fold, series_of
from reconciler.model import (
    Absence,
    Agent,
    Calendar,
    Cursor,
    Mode,
    Pull,
    Quarantined,
    Seen,
    Span,
    Tombstone,
    Window,
)

T0 = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
WINDOW = Window(T0 - 7 * DAY, T0 + 60 * DAY)
CALENDAR = Calendar(source="ics", kind="ics", agent=Agent(email="ann@acme.example"))
SETTLE = timedelta(minutes=10)
FIRST = "t1"


def row(
    event: str = "a",
    content: bytes = b"one",
    *,
    relevance: str | None = "client",
    series: str | None = None,
    start: datetime = T0 + DAY,
    absence: Absence | None = None,
) -> Seen:
    span = Span(start, start + HOUR)
    return Seen(event=event, span=span, digest=content, relevance=relevance, series=series, absence=absence)


def pull(
    mode: Mode = Mode.FULL,
    at: datetime = T0,
    token: str = FIRST,
    *,
    tombstones: Iterable[Tombstone] = (),
    quarantined: Iterable[Quarantined] = (),
    series: Iterable[str] = (),
    unchanged: Iterable[str] = (),
    proves_absence: bool = True,
) -> Pull:
    return Pull(
        calendar=CALENDAR,
        mode=mode,
        cursor=Cursor(token, WINDOW, "scope", T0),
        at=at,
        tombstones=tuple(tombstones),
        quarantined=tuple(quarantined),
        series=frozenset(series),
        unchanged=frozenset(unchanged),
        proves_absence=proves_absence,
    )


def by_id(*rows: Seen) -> dict[str, Seen]:
    return {one.event: one for one in rows}


def folded(
    previous: Mapping[str, Seen], read: Pull, *rows: Seen, baseline: bool = False, after: timedelta | None = None
) -> Mirror:
    return fold(previous, read, by_id(*rows), baseline=baseline, evidence_after=after)


INCREMENT = Mode.INCREMENTAL


# ---- first sight ----------------------------------------------------------------------------------------------------


def test_rows_of_a_baseline_count_as_settled_and_later_ones_from_when_they_were_read() -> None:
    first = folded({}, pull(), row(), baseline=True)
    assert first["a"].first_seen is None
    later = folded(first, pull(INCREMENT, T0 + HOUR), row("b"))
    assert (later["a"].first_seen, later["b"].first_seen) == (None, T0 + HOUR)


def test_content_that_stands_still_keeps_its_first_sight_and_new_content_gets_its_own() -> None:
    first = folded({}, pull(at=T0), row())
    same = folded(first, pull(at=T0 + HOUR), row())
    other = folded(same, pull(at=T0 + DAY), row(content=b"two"))
    assert (first["a"].first_seen, same["a"].first_seen, other["a"].first_seen) == (T0, T0, T0 + DAY)


def test_a_row_is_moved_even_where_its_time_is_not_compared() -> None:
    first = folded({}, pull(), row())
    assert folded(first, pull(), row(start=T0 + 2 * DAY))["a"].span.start == T0 + 2 * DAY


# ---- tombstones -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absence", [Absence.CANCELLED, Absence.GONE, Absence.EXCLUDED])
@pytest.mark.parametrize("mode", list(Mode))
def test_a_tombstone_is_evidence_with_its_own_time(absence: Absence, mode: Mode) -> None:
    before = by_id(replace(row(), modified=T0 - DAY, first_seen=T0 - DAY))
    gone = folded(before, pull(mode, tombstones=[Tombstone("a", absence, T0 - MINUTE)]))["a"]
    assert (gone.absence, gone.absent_since, gone.first_seen, gone.modified) == (absence, T0, T0, T0 - MINUTE)


def test_a_tombstone_without_a_time_is_as_young_as_its_reading_not_as_the_last_edit() -> None:
    gone = folded(by_id(replace(row(), modified=T0 - DAY)), pull(tombstones=[Tombstone("a", Absence.CANCELLED)]))["a"]
    assert (gone.modified, gone.first_seen) == (None, T0)


def test_a_tombstone_of_an_event_never_known_is_ignored() -> None:
    assert folded({}, pull(INCREMENT, tombstones=[Tombstone("a", Absence.CANCELLED)])) == {}


def test_a_tombstone_of_a_series_means_all_its_occurrences() -> None:
    before = by_id(row("s/1", series="s"), row("s/2", series="s"), row("b"))
    gone = folded(before, pull(INCREMENT, tombstones=[Tombstone("s", Absence.CANCELLED)]))
    assert {event: seen.absence for event, seen in gone.items()} == {
        "s/1": Absence.CANCELLED,
        "s/2": Absence.CANCELLED,
        "b": None,
    }


def test_an_event_that_is_shown_outweighs_its_tombstone() -> None:
    alive = folded(by_id(row()), pull(tombstones=[Tombstone("a", Absence.CANCELLED)]), row())
    assert alive["a"].absence is None


def test_evidence_stays_what_it_was_first_said_to_be() -> None:
    gone = folded(by_id(row()), pull(INCREMENT, tombstones=[Tombstone("a", Absence.CANCELLED)]))
    for later in (Absence.GONE, Absence.LEFT_WINDOW, Absence.UNSEEN):
        assert folded(gone, pull(INCREMENT, T0 + HOUR, tombstones=[Tombstone("a", later)])) == gone
    assert folded(gone, pull(Mode.FULL, T0 + HOUR, "t2")) == gone


def test_of_two_tombstones_the_one_that_is_evidence_counts_in_either_order() -> None:
    stones = [Tombstone("a", Absence.LEFT_WINDOW), Tombstone("a", Absence.CANCELLED)]
    for order in (stones, stones[::-1]):
        assert folded(by_id(row()), pull(tombstones=order))["a"].absence is Absence.CANCELLED


def test_a_tombstone_that_only_left_the_window_is_not_evidence() -> None:
    left = folded(by_id(row()), pull(tombstones=[Tombstone("a", Absence.LEFT_WINDOW)]))["a"]
    assert left.absence is Absence.LEFT_WINDOW


def test_what_a_source_describes_as_cancelled_is_evidence_since_it_was_read() -> None:
    gone = folded(by_id(row()), pull(), row(absence=Absence.CANCELLED))["a"]
    assert (gone.absence, gone.absent_since) == (Absence.CANCELLED, T0)
    again = folded(by_id(gone), pull(at=T0 + DAY), row(absence=Absence.CANCELLED))["a"]
    assert again == gone


def test_an_event_that_is_back_is_alive_again_with_nothing_left_of_its_absence() -> None:
    for absence in (Absence.CANCELLED, Absence.UNSEEN, Absence.LEFT_WINDOW):
        away = replace(row(), absence=absence, absent_since=T0, absent_token="t1", stale=True)
        back = folded(by_id(away), pull(INCREMENT, T0 + HOUR, "t2"), row())["a"]
        assert back == replace(row(), first_seen=T0 + HOUR)


# ---- what a whole read does not show --------------------------------------------------------------------------------


def test_an_increment_says_nothing_about_what_it_does_not_show() -> None:
    before = by_id(row(), row("b"))
    assert folded(before, pull(INCREMENT)) == before


def test_what_a_whole_read_misses_is_unseen_and_no_more() -> None:
    unseen = folded(by_id(row()), pull())["a"]
    assert (unseen.absence, unseen.absent_since, unseen.absent_token) == (Absence.UNSEEN, T0, "t1")


def test_what_lies_outside_the_window_has_left_it() -> None:
    past = row(start=T0 - 30 * DAY)
    assert folded(by_id(past), pull())["a"].absence is Absence.LEFT_WINDOW


def test_a_read_that_proves_no_absence_freezes_what_it_does_not_show() -> None:
    before = by_id(row(), row("s/1", series="s"), replace(row("c"), absence=Absence.UNSEEN, absent_since=T0 - DAY))
    kept = folded(before, pull(token="t9", series=["s"], proves_absence=False), after=timedelta())
    assert kept == before


@pytest.mark.parametrize("entry", ["a", "s"])
def test_an_entry_that_cannot_be_read_is_still_there(entry: str) -> None:
    before = by_id(row("a", series="s"))
    once = folded(before, pull(quarantined=[Quarantined(entry, "no start")]), after=timedelta())
    twice = folded(once, pull(at=T0 + DAY, token="t2", quarantined=[Quarantined(entry, "no start")]), after=timedelta())
    assert once == before
    assert twice == before


@pytest.mark.parametrize("mode", list(Mode))
def test_an_occurrence_that_its_series_no_longer_makes_is_stale_never_evidence(mode: Mode) -> None:
    before = by_id(row("s/1", series="s"), row("s/2", series="s"), row("b"))
    for token in ("t1", "t2", "t3"):
        before = folded(
            before, pull(mode, T0 + DAY, token, series=["s"]), row("s/1", series="s"), row("b"), after=MINUTE
        )
    assert (before["s/2"].absence, before["s/2"].stale) == (Absence.UNSEEN, True)
    assert (before["s/1"].absence, before["s/1"].stale) == (None, False)


def test_an_occurrence_is_stale_no_longer_when_its_whole_series_is_missing() -> None:
    stale = folded(by_id(row("s/1", series="s")), pull(series=["s"]), after=SETTLE)
    once = folded(stale, pull(at=T0 + HOUR, token="t2"), after=SETTLE)
    twice = folded(once, pull(at=T0 + 2 * HOUR, token="t3"), after=SETTLE)
    assert (once["s/1"].absence, once["s/1"].stale) == (Absence.UNSEEN, False)
    assert (twice["s/1"].absence, twice["s/1"].stale) == (Absence.GONE, False)


@pytest.mark.parametrize("mode", list(Mode))
def test_what_stands_as_it_was_is_not_missing_though_its_series_was_read_anew(mode: Mode) -> None:
    before = by_id(row("s/1", series="s"), row("s/2", series="s"), row("s/3", series="s"))
    stones = [Tombstone("s/3", Absence.EXCLUDED)]
    after = folded(before, pull(mode, T0 + DAY, "t2", series=["s"], unchanged=["s/1"], tombstones=stones))
    assert after["s/1"] == before["s/1"]
    assert (after["s/2"].absence, after["s/2"].stale) == (Absence.UNSEEN, True)
    assert (after["s/3"].absence, after["s/3"].stale) == (Absence.EXCLUDED, False)


def test_what_stands_as_it_was_goes_when_its_series_is_said_to_be_gone() -> None:
    stones = [Tombstone("s", Absence.CANCELLED)]
    after = folded(by_id(row("s/1", series="s")), pull(INCREMENT, unchanged=["s/1"], tombstones=stones))
    assert after["s/1"].absence is Absence.CANCELLED


# ---- absence as evidence --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("token", "at", "after", "absence"),
    [
        ("t2", T0 + SETTLE, SETTLE, Absence.GONE),
        ("t2", T0 + SETTLE - timedelta(seconds=1), SETTLE, Absence.UNSEEN),
        ("t1", T0 + DAY, SETTLE, Absence.UNSEEN),  # the same file read twice counts once
        ("t2", T0 + DAY, None, Absence.UNSEEN),
    ],
)
def test_two_different_whole_reads_far_enough_apart_are_evidence_where_the_job_says_so(
    token: str, at: datetime, after: timedelta | None, absence: Absence
) -> None:
    once = folded(by_id(row()), pull(), after=after)
    assert folded(once, pull(at=at, token=token), after=after)["a"].absence is absence


def test_one_read_alone_is_never_evidence() -> None:
    assert folded(by_id(row()), pull(), after=timedelta())["a"].absence is Absence.UNSEEN


def test_the_first_miss_counts_from_its_own_time_however_often_the_same_file_is_read() -> None:
    rows = by_id(row())
    for minutes in range(5):
        rows = folded(rows, pull(at=T0 + minutes * MINUTE), after=SETTLE)
    assert (rows["a"].absence, rows["a"].absent_since) == (Absence.UNSEEN, T0)


# ---- irrelevant rows ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("absence", list(Absence))
def test_an_irrelevant_event_leaves_no_trace_once_it_is_gone(absence: Absence) -> None:
    lunch = row(relevance=None)
    assert folded(by_id(lunch), pull(INCREMENT, tombstones=[Tombstone("a", absence)])) == {}
    assert folded(by_id(lunch), pull(INCREMENT), row(relevance=None, absence=absence)) == {}
    assert folded(by_id(lunch), pull()) == {}


def test_irrelevant_occurrences_go_with_their_series_which_their_ids_alone_name() -> None:
    timed, whole, other = (row(name, relevance=None) for name in ("s/20261123T120000Z", "s/20261124", "s2/20261124"))
    before = by_id(timed, whole, other)
    assert folded(before, pull(INCREMENT, tombstones=[Tombstone("s", Absence.CANCELLED)])).keys() == {other.event}
    assert folded(before, pull(INCREMENT, series=["s"]), timed).keys() == {timed.event, other.event}
    assert folded(before, pull(INCREMENT, series=["s"], quarantined=[Quarantined("s", "no end")])) == before


@pytest.mark.parametrize(
    ("event", "seen", "series"),
    [
        ("a", None, None),
        ("m/20260309T150000Z", None, "m"),
        ("m/20260309", None, "m"),
        ("a/b/20260309", None, "a/b"),
        ("m/20260309T15", None, None),
        ("/20260309", None, None),
        ("m/20260309", row("m/20260309"), None),  # a row of an appointment says it itself
        ("m/20260309", row("m/20260309", series="other"), "other"),
        ("m/20260309", row("m/20260309", relevance=None), "m"),
    ],
)
def test_the_series_of_an_event(event: str, seen: Seen | None, series: str | None) -> None:
    assert series_of(event, seen) == series


# ---- properties -----------------------------------------------------------------------------------------------------

IDS = st.sampled_from("abcdefgh")
ROWS = st.builds(
    row,
    event=IDS,
    content=st.sampled_from([b"one", b"two"]),
    relevance=st.sampled_from(["client", None]),
    series=st.sampled_from([None, "s"]),
    start=st.sampled_from([T0 - 30 * DAY, T0 + DAY, T0 + 2 * DAY]),
    absence=st.sampled_from([None, None, Absence.CANCELLED, Absence.EXCLUDED]),
)
STONES = st.builds(Tombstone, IDS, st.sampled_from(list(Absence)), st.sampled_from([None, T0 - MINUTE]))
MIRRORS = st.lists(ROWS, max_size=6, unique_by=lambda seen: seen.event).map(
    lambda rows: folded({}, pull(at=T0 - DAY), *rows, baseline=True)
)


@given(MIRRORS, st.lists(ROWS, max_size=8, unique_by=lambda seen: seen.event), st.data())
def test_a_whole_read_equals_any_split_of_it_into_increments_in_any_order(
    previous: Mirror, rows: list[Seen], data: st.DataObject
) -> None:
    shown = {one.event for one in rows}
    absences = st.sampled_from([Absence.CANCELLED, Absence.GONE, Absence.EXCLUDED, Absence.LEFT_WINDOW])
    stones = [Tombstone(event, data.draw(absences), T0) for event in sorted(previous.keys() - shown)]
    whole = folded(previous, pull(tombstones=stones), *rows)
    parts: dict[int, list[Seen | Tombstone]] = {}
    entries: list[Seen | Tombstone] = [*rows, *stones]
    for entry in data.draw(st.permutations(entries)):
        parts.setdefault(data.draw(st.integers(0, 3)), []).append(entry)
    split: Mirror = previous
    for part in parts.values():
        buried = [entry for entry in part if isinstance(entry, Tombstone)]
        split = folded(split, pull(INCREMENT, tombstones=buried), *(one for one in part if isinstance(one, Seen)))
    assert split == whole


READS = st.lists(
    st.tuples(
        st.sampled_from(list(Mode)),
        st.lists(ROWS.map(lambda seen: replace(seen, absence=None)), max_size=4, unique_by=lambda seen: seen.event),
        st.sampled_from([(), ("s",)]),
        st.booleans(),
        st.integers(0, 3),
    ),
    max_size=6,
)


@given(MIRRORS, READS)
def test_reads_without_tombstones_never_make_evidence(
    previous: Mirror, reads: list[tuple[Mode, list[Seen], tuple[str, ...], bool, int]]
) -> None:
    rows = {event: replace(seen, absence=None) for event, seen in previous.items()}
    for number, (mode, shown, series, proves, _) in enumerate(reads):
        read = pull(mode, T0 + number * DAY, f"t{number}", series=series, proves_absence=proves)
        rows = folded(rows, read, *shown)
        assert not [seen for seen in rows.values() if seen.absence is not None and seen.absence.is_evidence]


@given(MIRRORS, READS)
def test_evidence_by_absence_takes_two_different_tokens_far_enough_apart(
    previous: Mirror, reads: list[tuple[Mode, list[Seen], tuple[str, ...], bool, int]]
) -> None:
    rows: Mirror = {event: replace(seen, absence=None) for event, seen in previous.items()}
    missed: dict[str, list[tuple[datetime, str]]] = {}
    for number, (mode, shown, series, proves, token) in enumerate(reads):
        read = pull(mode, T0 + number * 6 * MINUTE, f"t{token}", series=series, proves_absence=proves)
        rows = folded(rows, read, *shown, after=SETTLE)
        for one in shown:
            missed.pop(one.event, None)
        if mode is Mode.FULL and proves:
            for event in rows.keys() - {one.event for one in shown}:
                missed.setdefault(event, []).append((read.at, read.cursor.token))
        for event, seen in rows.items():
            if seen.absence is Absence.GONE:
                (first, token_then), *_ = missed[event]
                assert any(at - first >= SETTLE and token_now != token_then for at, token_now in missed[event])


@given(MIRRORS, READS, st.lists(STONES, max_size=4))
def test_folding_the_same_read_twice_changes_nothing(
    previous: Mirror, reads: list[tuple[Mode, list[Seen], tuple[str, ...], bool, int]], stones: list[Tombstone]
) -> None:
    rows = previous
    for number, (mode, shown, series, proves, token) in enumerate(reads):
        read = pull(mode, T0 + number * DAY, f"t{token}", tombstones=stones, series=series, proves_absence=proves)
        rows = folded(rows, read, *shown, after=SETTLE)
        assert folded(rows, read, *shown, after=SETTLE) == rows
