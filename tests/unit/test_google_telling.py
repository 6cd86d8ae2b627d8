"""What a list of Google's says of a calendar, page by page and then as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.mirror import fold
from reconciler.model import Absence, Agent, Calendar, Cursor, Mode, Pull, Seen, Window
from reconciler.sources import Caps, PullRequest
from reconciler.sources.answers import ProviderError
from reconciler.sources.google_events import Reading
from reconciler.sources.google_telling import Teller, UnknownSeriesError
from reconciler.sources.google_walk import Walked, WithheldError, walk
from reconciler.sources.told import Told, series_in

NOW = datetime(2026, 3, 1, 17, tzinfo=UTC)
REACH = Window(NOW - timedelta(days=7), NOW + timedelta(days=60))
ANN = Calendar(source="google", kind="google", agent=Agent(email="ann@acme.example"))
READING = Reading(calendar=ANN, zone="America/Chicago")


def single(name: str, day: int = 10, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "etag": '"1"',
        "status": "confirmed",
        "iCalUID": f"{name}@google.example",
        "summary": "Showing",
        "organizer": {"email": "ann@acme.example", "self": True},
        "start": {"dateTime": f"2026-03-{day:02}T10:00:00-05:00", "timeZone": "America/Chicago"},
        "end": {"dateTime": f"2026-03-{day:02}T11:00:00-05:00", "timeZone": "America/Chicago"},
        **more,
    }


def weekly(name: str = "m", rule: str = "RRULE:FREQ=WEEKLY;COUNT=4", **more: Any) -> dict[str, Any]:
    start = {"dateTime": "2026-03-02T10:00:00-06:00", "timeZone": "America/Chicago"}
    end = {"dateTime": "2026-03-02T11:00:00-06:00", "timeZone": "America/Chicago"}
    return single(name, **{"recurrence": [rule], "start": start, "end": end, **more})


def changed(day: int, to: int, name: str = "m") -> dict[str, Any]:
    original = {"dateTime": f"2026-03-{day:02}T10:00:00-05:00", "timeZone": "America/Chicago"}
    moved = single(f"{name}_202603{day:02}T150000Z", to)
    return {**moved, "recurringEventId": name, "originalStartTime": original, "iCalUID": f"{name}@google.example"}


def cancelled(day: int, name: str = "m") -> dict[str, Any]:
    original = {"dateTime": f"2026-03-{day:02}T10:00:00-05:00", "timeZone": "America/Chicago"}
    return {
        "id": f"{name}_202603{day:02}T150000Z",
        "status": "cancelled",
        "recurringEventId": name,
        "originalStartTime": original,
    }


def walked(*items: Mapping[str, Any]) -> Walked:
    return walk(lambda _: {"items": list(items), "accessRole": "owner", "timeZone": "America/Chicago"}, READING)


def tell(*items: Mapping[str, Any], whole: bool = False, **more: Any) -> Told:
    request = PullRequest(calendar=ANN, window=REACH, now=NOW)
    teller = Teller(replace(request, **more), REACH, whole=whole)
    teller.tell(walked(*items))
    return teller.told


def kept(*items: Mapping[str, Any]) -> dict[str, str]:
    """Return what a whole read of these items keeps of their series."""
    return {name: rule for name, rule in tell(*items, whole=True).rules.items() if rule is not None}


def live(told: Told) -> list[str]:
    return sorted(name for name, event in told.events.items() if event.absence is None)


MONDAYS = ["m/20260302T160000Z", "m/20260309T150000Z", "m/20260316T150000Z", "m/20260323T150000Z"]


# ---- the walk -------------------------------------------------------------------------------------------------------


def test_a_walk_goes_on_through_an_empty_page_and_takes_the_last_pages_token() -> None:
    pages: dict[str | None, dict[str, Any]] = {
        None: {"items": [single("a")], "nextPageToken": "2"},
        "2": {"items": [], "nextPageToken": "3"},
        "3": {"items": [single("b")], "nextSyncToken": "S1"},
    }
    found = walk(lambda token: {"accessRole": "owner", **pages[token]}, READING)
    assert (sorted(found.singles), found.token) == (["a", "b"], "S1")


def test_an_item_that_comes_twice_counts_as_it_came_last() -> None:
    found = walked(single("a", 10), single("a", 12))
    assert found.singles["a"]["start"]["dateTime"].startswith("2026-03-12")  # type: ignore[index]
    assert walked(single("a"), {"id": "a", "status": "cancelled"}).singles == {}


def test_a_list_whose_pages_lead_in_a_circle_is_no_list() -> None:
    with pytest.raises(ProviderError, match="does not end"):
        walk(lambda _: {"accessRole": "owner", "items": [], "nextPageToken": "again"}, READING)


@pytest.mark.parametrize(("before", "now"), [("owner", "reader"), (None, "freeBusyReader"), ("owner", None)])
def test_access_that_dropped_shows_nothing(before: str | None, now: str | None) -> None:
    with pytest.raises(WithheldError):
        walk(lambda _: {"items": [], "accessRole": now}, READING, before)


def test_items_that_lost_their_details_show_nothing() -> None:
    bare = {"id": "a", "status": "confirmed", "start": single("a")["start"], "end": single("a")["end"]}
    with pytest.raises(WithheldError, match="nobody marked as private"):
        walked(single("b"), bare)


def test_an_item_that_was_looked_up_and_hides_what_it_is_shows_nothing_either() -> None:
    bare = {name: value for name, value in single("a").items() if name in {"id", "status", "start", "end"}}
    with pytest.raises(WithheldError):
        Walked(READING).add(bare)


def test_an_entry_without_identity_leaves_the_read_unproven_and_the_rest_told() -> None:
    told = tell({"summary": "?"}, single("a"), whole=True)
    assert "" in told.quarantined
    assert live(told) == ["a"]


def test_entries_beyond_the_bound_are_left_out_and_said() -> None:
    reading = replace(READING, caps=Caps(events=2))
    found = walk(lambda _: {"accessRole": "owner", "items": [single(name) for name in "abc"]}, reading)
    assert sorted(found.singles) == ["a", "b"]
    assert "more than 2" in found.unreadable[""]


# ---- whole reads ----------------------------------------------------------------------------------------------------


def test_an_exception_stands_in_its_place_also_when_it_comes_before_its_series() -> None:
    for items in ((changed(9, 10), weekly()), (weekly(), changed(9, 10))):
        told = tell(*items, whole=True)
        assert live(told) == sorted(MONDAYS)
        assert told.events["m/20260309T150000Z"].span.starts_at == datetime(2026, 3, 10, 15, tzinfo=UTC)


def test_a_cancelled_occurrence_is_told_as_excluded_and_kept_with_the_series() -> None:
    told = tell(weekly(), cancelled(9), whole=True)
    assert told.events["m/20260309T150000Z"].absence is Absence.EXCLUDED
    assert "2026-03-09T15:00:00Z" in str(told.rules["m"])


def test_what_is_kept_of_a_series_names_nobody_and_nothing() -> None:
    rule = kept(weekly(attendees=[{"email": "jane@mail.example"}], description="secret", location="12 Elm St"))["m"]
    assert not any(word in rule for word in ("Showing", "jane", "secret", "Elm", "ann@"))


def test_a_series_that_can_t_be_read_is_set_aside_with_its_exceptions() -> None:
    told = tell(weekly(rule="RRULE:FREQ=SOMETIMES"), changed(9, 10), single("a"), whole=True)
    assert list(told.quarantined) == ["m"]
    assert live(told) == ["a"]


def test_an_exception_whose_series_nobody_has_stands_alone_in_a_whole_read() -> None:
    assert live(tell(changed(9, 10), whole=True)) == ["m/20260309T150000Z"]


# ---- incremental reads ----------------------------------------------------------------------------------------------


def test_a_cancelled_occurrence_that_the_rule_makes_is_evidence() -> None:
    told = tell(cancelled(9), rules=kept(weekly()), known=frozenset(MONDAYS))
    assert {stone.id: stone.absence for stone in told.tombstones.values()} == {MONDAYS[1]: Absence.EXCLUDED}


def test_a_cancelled_occurrence_that_the_rule_no_longer_makes_is_none() -> None:
    rules = kept(weekly(rule="RRULE:FREQ=WEEKLY;UNTIL=20260308T000000Z"))
    told = tell(cancelled(9), rules=rules, known=frozenset(MONDAYS))
    assert [stone.absence for stone in told.tombstones.values()] == [Absence.UNSEEN]


def test_a_cancelled_occurrence_stays_gone_when_the_series_is_renamed_later() -> None:
    first = tell(cancelled(9), rules=kept(weekly()), known=frozenset(MONDAYS))
    later = tell(weekly(summary="Open house"), rules={"m": str(first.rules["m"])}, known=frozenset(MONDAYS))
    assert later.events[MONDAYS[1]].absence is Absence.EXCLUDED
    assert live(later) == [MONDAYS[0], *MONDAYS[2:]]


def test_a_changed_occurrence_that_was_not_sent_again_stands_as_it_was() -> None:
    rules = kept(weekly(), changed(9, 10))
    told = tell(weekly(summary="Open house"), rules=rules, known=frozenset(MONDAYS))
    assert told.unchanged == {MONDAYS[1]}
    assert MONDAYS[1] not in told.events


def test_a_changed_occurrence_that_the_new_rule_does_not_make_is_not_said_to_stand() -> None:
    rules = kept(weekly(), changed(9, 10))
    told = tell(weekly(rule="RRULE:FREQ=WEEKLY;UNTIL=20260308T000000Z"), rules=rules, known=frozenset(MONDAYS))
    assert not told.unchanged


def test_a_series_cut_with_its_later_occurrences_cancelled_is_no_evidence_but_stale() -> None:
    before = tell(weekly(), whole=True)
    told = tell(
        weekly(rule="RRULE:FREQ=WEEKLY;UNTIL=20260315T045959Z"),
        cancelled(16),
        cancelled(23),
        rules={"m": str(before.rules["m"])},
        known=frozenset(MONDAYS),
    )
    after = folded(before, told)
    assert {name for name, seen in after.items() if seen.stale} == set(MONDAYS[2:])
    assert {seen.absence for seen in after.values()} == {None, Absence.UNSEEN}


def folded(before: Told, told: Told) -> dict[str, Seen]:
    rows = {name: row(name, told=before) for name in before.events}
    cursor = Cursor("t", REACH, "s", NOW)
    pull = Pull(
        calendar=ANN,
        mode=Mode.INCREMENTAL,
        cursor=cursor,
        at=NOW,
        tombstones=tuple(told.tombstones.values()),
        series=frozenset(told.series),
        unchanged=frozenset(told.unchanged),
    )
    return fold(rows, pull, {name: row(name, told=told) for name in told.events}, baseline=False)


def row(name: str, *, told: Told) -> Seen:
    event = told.events[name]
    return Seen(event=name, span=event.span, digest=b"", series=event.series, relevance="client", absence=event.absence)


def test_a_changed_occurrence_of_a_series_never_read_asks_for_a_whole_read() -> None:
    with pytest.raises(UnknownSeriesError):
        tell(changed(9, 10))


def test_a_cancelled_occurrence_of_a_series_never_read_is_no_evidence() -> None:
    with pytest.raises(UnknownSeriesError):
        tell(cancelled(9), known=frozenset(MONDAYS))
    told = tell(cancelled(9), whole=True, known=frozenset(MONDAYS))
    assert [stone.absence for stone in told.tombstones.values()] == [Absence.UNSEEN]
    assert not tell(cancelled(9)).tombstones


def test_one_that_lies_outside_and_was_never_known_does_not() -> None:
    far = single("m_x", 9)
    far["start"] = {"dateTime": "2019-03-09T10:00:00-05:00"}
    far["end"] = {"dateTime": "2019-03-09T11:00:00-05:00"}
    far |= {"recurringEventId": "m", "originalStartTime": far["start"]}
    assert not tell(far).events


def test_events_far_off_are_told_only_if_they_were_known() -> None:
    far = single("x", 10, start={"dateTime": "2040-01-01T10:00:00Z"}, end={"dateTime": "2040-01-01T11:00:00Z"})
    assert not tell(far).events
    assert live(tell(far, known=frozenset({"x"}))) == ["x"]


def test_a_single_event_that_became_a_series_is_no_longer_one() -> None:
    told = tell(weekly("a"), known=frozenset({"a"}))
    assert told.tombstones["a"].absence is Absence.UNSEEN
    assert len(live(told)) == 4


def test_a_series_that_became_a_single_event_is_no_longer_one() -> None:
    told = tell(single("m"), rules=kept(weekly()), known=frozenset(MONDAYS))
    assert (told.series, told.rules, live(told)) == ({"m"}, {"m": None}, ["m"])


def test_a_series_that_was_deleted_is_a_tombstone_and_forgotten() -> None:
    told = tell({"id": "m", "status": "cancelled"}, rules=kept(weekly()), known=frozenset(MONDAYS))
    assert (told.tombstones["m"].absence, told.rules) == (Absence.CANCELLED, {"m": None})


# ---- series of which too little is known ----------------------------------------------------------------------------


def test_a_series_that_could_not_be_read_is_read_whole_once_it_can_for_its_exceptions_are_not_sent_again() -> None:
    first = tell(weekly(rule="RRULE:FREQ=SOMETIMES"), cancelled(9), changed(16, 17), whole=True)
    assert list(first.quarantined) == ["m"]
    with pytest.raises(UnknownSeriesError):
        tell(weekly(), rules={"m": str(first.rules["m"])})


@pytest.mark.parametrize("rules", [{}, {"m": "torn"}])
def test_a_series_whose_kept_exceptions_are_lost_is_read_whole_rather_than_without_them(rules: dict[str, str]) -> None:
    with pytest.raises(UnknownSeriesError):
        tell(weekly(summary="Open house"), rules=rules, known=frozenset(MONDAYS))


def test_after_a_rule_that_can_t_be_read_the_one_before_it_proves_nothing() -> None:
    told = tell(weekly(rule="RRULE:FREQ=SOMETIMES"), rules=kept(weekly()), known=frozenset(MONDAYS))
    with pytest.raises(UnknownSeriesError):
        tell(cancelled(9), rules={"m": str(told.rules["m"])}, known=frozenset(MONDAYS))


def test_rules_that_a_stranger_sends_use_up_nobody_elses_share() -> None:
    bombs = [
        weekly(f"bomb{number}", f"RRULE:FREQ=MINUTELY;COUNT={10**7 + number}", **times("2000-01-01"))
        for number in range(10)
    ]
    told = tell(*bombs, weekly(), whole=True)
    assert sorted(told.quarantined) == sorted(bomb["id"] for bomb in bombs)
    assert live(told) == MONDAYS


def times(day: str) -> dict[str, Any]:
    return {edge: {"dateTime": f"{day}T10:00:00-06:00", "timeZone": "America/Chicago"} for edge in ("start", "end")}


@pytest.mark.parametrize(
    ("name", "series"),
    [("m/20260309T150000Z", "m"), ("m/20260309", "m"), ("m", None), ("a/b/20260309", "a/b"), ("m_20260309", None)],
)
def test_an_occurrence_is_known_by_its_name(name: str, series: str | None) -> None:
    assert series_in(name) == series
