"""What a mirror and an independent list are held against each other for, and what is no difference."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit import Missed, missed
from reconciler.model import Absence, Audit, Seen, Span, Window

T0 = datetime(2026, 11, 22, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
WINDOW = Window(T0 - 7 * DAY, T0 + 60 * DAY)
TOMORROW = Span(T0 + DAY, T0 + DAY + HOUR)
LATER = Span(T0 + 2 * DAY, T0 + 2 * DAY + HOUR)


def row(
    event: str = "a",
    span: Span = TOMORROW,
    *,
    absence: Absence | None = None,
    series: str | None = None,
    relevance: str | None = "client",
) -> Seen:
    return Seen(event=event, span=span, digest=b"", absence=absence, series=series, relevance=relevance)


def rows(*seen: Seen) -> dict[str, Seen]:
    return {one.event: one for one in seen}


def audit(spans: dict[str, Span], touched: Iterable[str] = ()) -> Audit:
    return Audit(spans, frozenset(touched), WINDOW)


def chain(before: dict[str, Seen], told: Audit) -> tuple[str, ...]:
    return missed(before, {}, told).chain


def test_a_mirror_that_shows_what_the_list_shows_missed_nothing() -> None:
    same = rows(row(), row("b", LATER))
    found = missed(same, same, audit({"a": TOMORROW, "b": LATER}))
    assert found == Missed()
    assert not found


def test_what_the_mirror_lacked_was_missed_by_the_chain_and_is_put_right() -> None:
    found = missed(rows(), rows(row()), audit({"a": TOMORROW}))
    assert found == Missed(chain=("a",))
    assert found


def test_what_stood_at_another_time_was_missed() -> None:
    assert chain(rows(row(span=LATER)), audit({"a": TOMORROW})) == ("a",)


def test_a_live_row_that_the_list_does_not_show_was_missed() -> None:
    assert chain(rows(row()), audit({})) == ("a",)


@pytest.mark.parametrize("absence", list(Absence))
def test_an_absent_row_does_not_claim_to_be_there(absence: Absence) -> None:
    gone = rows(row(absence=absence))
    assert chain(gone, audit({})) == ()
    assert chain(gone, audit({"a": TOMORROW})) == ("a",)


@pytest.mark.parametrize("touched", ["s/20261123", "s"])
def test_what_changed_since_the_last_read_the_chain_had_no_chance_to_miss(touched: str) -> None:
    for before in (rows(), rows(row("s/20261123", LATER, series="s")), rows(row("s/20261123", LATER, relevance=None))):
        assert chain(before, audit({"s/20261123": TOMORROW}, [touched])) == ()
        assert chain(before, audit({"s/20261123": TOMORROW}, ["other"])) == ("s/20261123",)


def test_what_differs_even_after_the_read_is_the_expansions() -> None:
    wrong = rows(row("s/20261123", LATER, series="s"))
    told = audit({"s/20261123": TOMORROW})
    assert missed(rows(row("s/20261123", series="s")), wrong, told) == Missed(expansion=("s/20261123",))
    assert missed({}, rows(row("s/20261123", series="s")), audit({})) == Missed(expansion=("s/20261123",))


def test_what_changes_while_it_is_read_and_listed_is_no_difference_of_either() -> None:
    newer = rows(row("s/20261123", LATER, series="s"))
    assert not missed(newer, newer, audit({"s/20261123": TOMORROW}, ["s"]))


@pytest.mark.parametrize("unreadable", ["s/20261123", "s"])
def test_what_cannot_be_read_is_reported_as_that_and_not_as_missed(unreadable: str) -> None:
    told = audit({"s/20261123": TOMORROW})
    assert missed({}, {}, told, unreadable=[unreadable]) == Missed()
    assert missed({}, {}, told, unreadable=["t"]) == Missed(("s/20261123",), ("s/20261123",))


@pytest.mark.parametrize(
    "span",
    [
        Span(T0 - 9 * DAY, T0 - 8 * DAY),
        Span(WINDOW.start - HOUR, WINDOW.start),
        Span(WINDOW.end, WINDOW.end + HOUR),
        Span(T0 + 70 * DAY, T0 + 71 * DAY),
        Span(date(2026, 11, 14), date(2026, 11, 15)),  # still today somewhere, and perhaps not in the calendar's zone
        Span(date(2027, 1, 21), date(2027, 1, 22)),
    ],
)
def test_a_list_need_not_show_what_may_lie_outside_its_window(span: Span) -> None:
    assert chain(rows(row(span=span)), audit({})) == ()


@pytest.mark.parametrize(
    "span",
    [
        Span(WINDOW.start - HOUR, WINDOW.start + HOUR),
        Span(WINDOW.end - HOUR, WINDOW.end + HOUR),
        Span(T0, T0),  # no time at all
        Span(date(2026, 11, 15), date(2026, 11, 16)),
        Span(date(2027, 1, 20), date(2027, 1, 21)),
    ],
)
def test_a_list_must_show_what_touches_its_window(span: Span) -> None:
    assert chain(rows(row(span=span)), audit({})) == ("a",)


IDS = st.sampled_from(["a", "b", "s/20261123", "s/20261124T150000Z"])
SPANS = st.sampled_from(
    [TOMORROW, LATER, Span(T0 + 90 * DAY, T0 + 91 * DAY), Span(date(2026, 11, 24), date(2026, 11, 25))]
)
MIRRORS = st.dictionaries(IDS, st.tuples(SPANS, st.sampled_from([None, *Absence]))).map(
    lambda drawn: {event: row(event, span, absence=absence) for event, (span, absence) in drawn.items()}
)


@given(MIRRORS, MIRRORS, st.dictionaries(IDS, SPANS), st.frozensets(st.one_of(IDS, st.just("s"))))
def test_each_difference_is_named_once_and_in_order(
    before: dict[str, Seen], after: dict[str, Seen], spans: dict[str, Span], touched: frozenset[str]
) -> None:
    found = missed(before, after, audit(spans, touched))
    for part in (found.chain, found.expansion):
        assert list(part) == sorted(set(part) - touched)
    healed = {event: row(event, span) for event, span in spans.items()}
    assert not missed(healed, healed, audit(spans))
