"""Taking back: what was written and its inverse leave a record as it was, and what must not be written is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import inverse
from reconciler.findings import Context
from reconciler.inverse import Entry, folded
from reconciler.model import (
    Absence,
    Action,
    Delta,
    Fields,
    Kind,
    Outcome,
    Pair,
    Presence,
    Record,
    Seen,
    Side,
    Span,
    Status,
    Value,
)

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
SPAN = Span(NOW, NOW)
EVERYTHING = frozenset(Action)
HERE: Mapping[str, Value] = {
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "all_day": False,
    "title": "Showing",
    "contact": ("jane@mail.example",),
    "agent": "ann@acme.example",
    "status": "confirmed",
}
CONTEXT = Context(
    now=NOW, allow=EVERYTHING, can=EVERYTHING, compare=tuple(sorted(HERE)), mapped=frozenset(HERE), remove=Action.CANCEL
)


def record(fields: Fields = HERE, **other: Any) -> Record:
    presence = Presence.CANCELLED if fields.get("status") == Status.CANCELLED else Presence.LIVE
    return replace(Record(id="7", fields=fields, version="v1", presence=presence), **other)


def entry(action: Action = Action.UPDATE, **other: Any) -> Entry:
    return replace(Entry(action=action, side=Side.CRM, key="a", crm_id="7", version="v1"), **other)


def moved(**other: Any) -> Entry:
    before = {"start": "2026-11-24T14:00:00Z", "end": "2026-11-24T15:00:00Z", "all_day": False}
    return entry(before=before, after={name: HERE[name] for name in before}, **other)


def pair(now: Record | None, seen: Seen | None = None) -> Pair:
    return Pair(seen=seen, calendar=None, record=now, link=None)


def gone(absence: Absence = Absence.CANCELLED) -> Seen:
    return Seen(event="e", span=SPAN, digest=b"d", relevance="client", fields=HERE, absence=absence)


def taken(one: Entry, now: Record | None, context: Context = CONTEXT, seen: Seen | None = None) -> Delta:
    delta = inverse.inverse(one, pair(now, seen), context)
    assert delta is not None
    return delta


# ---- apply, then its inverse: nothing happened ----------------------------------------------------------------------

days = st.integers(23, 28).map(lambda day: f"2026-11-{day}T15:00:00Z")
words = st.sampled_from(["", "Showing", "Inspection", "x" * 300, "=1+1\x1b[2J"])
people = st.sampled_from([None, (), ("jane@mail.example",), ("jane@mail.example", "john@mail.example")])
images = st.fixed_dictionaries(
    {"start": days, "end": days, "title": words, "contact": people, "agent": st.sampled_from(["ann", "bob"])}
)
writes = st.one_of(
    images.flatmap(lambda whole: st.sets(st.sampled_from(sorted(whole)), min_size=1).map(lambda names: (whole, names))),
    st.just(None),  # a cancel
)


def journalled(now: dict[str, Value], written: list[Any]) -> list[Entry]:
    """Apply writes to a record, and return what the journal says of each."""
    found = []
    for number, one in enumerate(written):
        want = {"status": "cancelled"} if one is None else {name: one[0][name] for name in sorted(one[1])}
        before = {name: now.get(name) for name in want}
        now.update(want)
        action = Action.CANCEL if one is None else Action.UPDATE
        found.append(entry(action, before=before, after=want, version=f"v{number}"))
        if one is None:
            break
    return found


@given(images, st.lists(writes, min_size=1, max_size=4))
def test_what_a_run_wrote_and_its_inverse_leave_a_record_as_it_was(before: dict[str, Value], written: Any) -> None:
    start = {**before, "status": "confirmed"}
    now = dict(start)
    entries = journalled(now, written)
    [whole] = folded(entries)
    delta = inverse.inverse(whole, pair(record(now, version=whole.version)), CONTEXT)
    after = now if delta is None else {**now, **delta.want}
    assert {name: value or None for name, value in after.items()} == {
        name: value or None for name, value in start.items()
    }
    assert delta is None or (delta.outcome, delta.action) == (Outcome.PLANNED, Action.UPDATE)


@given(images, st.lists(writes, min_size=1, max_size=3))
def test_taking_back_what_was_taken_back_does_it_again(before: dict[str, Value], written: Any) -> None:
    now: dict[str, Value] = {**before, "status": "confirmed"}
    [whole] = folded(journalled(now, [one for one in written if one is not None] or [(dict(before), {"title"})]))
    delta = inverse.inverse(whole, pair(record(now, version=whole.version)), CONTEXT)
    if delta is None:
        return
    back = {**now, **delta.want}
    again = entry(delta.action, before=delta.was, after=delta.want, version="v9")
    once_more = inverse.inverse(again, pair(record(back, version="v9")), CONTEXT)
    assert once_more is not None
    assert {**back, **once_more.want} == now


# ---- what takes what back -------------------------------------------------------------------------------------------


def test_what_was_made_is_cancelled_without_evidence_for_it_is_ours() -> None:
    delta = taken(entry(Action.CREATE, after=HERE), record())
    assert (delta.action, delta.version, delta.want, delta.was) == (Action.CANCEL, "v1", {}, {"status": "confirmed"})
    assert (delta.kind, delta.fields) == (Kind.MISSING_IN_CRM, {"status": ("confirmed", "cancelled")})


@pytest.mark.parametrize(
    ("remove", "can", "action"),
    [
        (Action.DELETE, EVERYTHING, Action.DELETE),
        (Action.CANCEL, EVERYTHING - {Action.CANCEL}, Action.DELETE),
        (Action.CANCEL, EVERYTHING, Action.CANCEL),
    ],
)
def test_what_was_made_is_deleted_where_the_job_says_so_or_nothing_else_is_possible(
    remove: Action, can: frozenset[Action], action: Action
) -> None:
    delta = taken(entry(Action.CREATE), record(), replace(CONTEXT, remove=remove, can=can))
    assert (delta.action, delta.outcome) == (action, Outcome.PLANNED)
    assert delta.was == (HERE if action is Action.DELETE else {"status": "confirmed"})


def test_times_go_back_together_and_carry_the_version_they_were_read_in() -> None:
    delta = taken(moved(), record())
    assert (delta.action, delta.version) == (Action.UPDATE, "v1")
    assert set(delta.want) == {"start", "end", "all_day"}
    assert set(delta.fields) == {"start", "end"}
    assert delta.kind is Kind.RESCHEDULE_NOT_PROPAGATED


def test_what_we_cancelled_is_open_again() -> None:
    cancelled = record({**HERE, "status": "cancelled"})
    one = entry(Action.CANCEL, before={"status": "confirmed"}, after={"status": "cancelled"})
    delta = taken(one, cancelled, seen=gone())
    assert (delta.action, delta.want, delta.outcome) == (Action.UPDATE, {"status": "confirmed"}, Outcome.PLANNED)


def test_what_is_back_already_needs_nothing() -> None:
    assert inverse.inverse(entry(Action.CREATE), pair(None), CONTEXT) is None
    assert inverse.inverse(entry(Action.CREATE), pair(record({**HERE, "status": "cancelled"})), CONTEXT) is None
    assert inverse.inverse(entry(Action.CREATE), pair(record(presence=Presence.ABSENT)), CONTEXT) is None
    assert inverse.inverse(moved(), pair(record({**HERE, **moved().before}, version="v5")), CONTEXT) is None


# ---- what is left as it is ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("now", "why"),
    [
        (record(version="v2"), inverse.CHANGED),
        (None, inverse.REMOVED),
        (record(presence=Presence.ABSENT), inverse.REMOVED),
    ],
)
def test_what_is_not_as_we_left_it_is_a_conflict(now: Record | None, why: str) -> None:
    delta = taken(moved(), now)
    assert (delta.outcome, delta.why) == (Outcome.CONFLICT, why)


def test_what_a_later_run_wrote_again_names_that_run() -> None:
    delta = taken(moved(again="01LATER"), record(version="v2"))
    assert (delta.outcome, delta.why) == (Outcome.CONFLICT, "run 01LATER wrote it again: take that back first")


def test_what_a_later_run_wrote_again_and_left_like_this_can_be_taken_back() -> None:
    twice = moved(again="01LATER", latest="v2")
    assert taken(twice, record(version="v2")).outcome is Outcome.PLANNED
    assert taken(twice, record({**HERE, "start": "2026-11-24T14:30:00Z"}, version="v2")).outcome is Outcome.CONFLICT
    assert taken(twice, record(version="v3")).outcome is Outcome.CONFLICT, "somebody touched it since"


def test_without_a_version_the_fields_tell_whether_it_is_as_we_left_it() -> None:
    one = moved(version=None, is_exact=True)
    assert taken(one, record()).outcome is Outcome.PLANNED
    assert taken(one, record({**HERE, "start": "2026-11-24T12:00:00Z"})).why == inverse.CHANGED


@pytest.mark.parametrize(
    ("one", "why"),
    [
        (entry(Action.DELETE, before=HERE), inverse.DELETED),
        (entry(Action.LINK), inverse.LINKED),
        (moved(is_exact=False), inverse.INEXACT),
        (entry(before={"start": "2026-11-24T14:00:00Z"}, after=HERE), inverse.INCOMPLETE),
        (entry(Action.CANCEL, before={}, after={"status": "cancelled"}), inverse.INCOMPLETE),
        (entry(before={"status": "cancelled"}, after={"status": "confirmed"}), inverse.UNPROVEN),
    ],
)
def test_what_can_not_be_taken_back_is_held_with_the_reason(one: Entry, why: str) -> None:
    delta = taken(one, record(), seen=replace(gone(), absence=None))
    assert (delta.outcome, delta.why) == (Outcome.HELD, why)


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE, Action.CANCEL])
def test_what_has_no_images_any_more_is_left_alone_and_says_so(action: Action) -> None:
    one = entry(action, is_dropped=True)
    delta = taken(one, record())
    assert (delta.outcome, delta.why) == (Outcome.HELD, inverse.DROPPED)
    assert delta.want == {}


def test_what_was_opened_again_is_cancelled_only_while_its_event_is_known_to_be_gone() -> None:
    one = entry(before={"status": "cancelled"}, after={"status": "confirmed"})
    assert taken(one, record(), seen=gone()).action is Action.CANCEL
    for seen in (None, gone(Absence.UNSEEN), gone(Absence.LEFT_WINDOW)):
        assert taken(one, record(), seen=seen).why == inverse.UNPROVEN


def test_a_deleted_record_is_shown_as_it_was_to_be_entered_again() -> None:
    delta = taken(entry(Action.DELETE, before=HERE), None)
    assert delta.fields["title"] == (None, "Showing")


def test_what_has_ended_and_would_still_have_ended_is_never_written() -> None:
    past = {**HERE, "start": "2026-11-20T15:00:00Z", "end": "2026-11-20T16:00:00Z"}
    assert taken(entry(Action.CREATE), record(past)).why == inverse.ENDED
    assert taken(entry(before={"title": "x"}, after={"title": "Showing"}), record(past)).why == inverse.ENDED
    to_the_past = entry(before={"end": past["end"]}, after={"end": HERE["end"]})
    assert taken(to_the_past, record()).outcome is Outcome.PLANNED, "it has not ended yet"


@pytest.mark.parametrize("action", [Action.UPDATE, Action.CANCEL])
def test_policy_and_what_a_crm_can_do_hold_for_taking_back_too(action: Action) -> None:
    one = moved() if action is Action.UPDATE else entry(Action.CREATE)
    held = taken(one, record(), replace(CONTEXT, allow=EVERYTHING - {action}))
    assert (held.outcome, held.why) == (Outcome.HELD, f'held: [policy].allow does not include "{action}"')
    unable = taken(moved(), record(), replace(CONTEXT, can=frozenset()))
    assert (unable.outcome, unable.why) == (Outcome.HELD, "held: this CRM can't update records")


# ---- calendars ------------------------------------------------------------------------------------------------------


def written(action: Action, **other: Any) -> Entry:
    return replace(Entry(action=action, side=Side.CALENDAR, key="crm:7", calendar=3, event="e", crm_id="7"), **other)


def shown(**other: Any) -> Seen:
    return replace(gone(), absence=None, etag="e1", **other)


def test_an_event_that_we_made_is_cancelled_in_the_version_we_left_it_in() -> None:
    delta = taken(written(Action.CREATE, version="e1"), record(), seen=shown())
    assert (delta.action, delta.side, delta.version, delta.calendar_id) == (Action.CANCEL, Side.CALENDAR, "e1", 3)
    moved_since = taken(written(Action.CREATE, version="e0"), record(), seen=shown())
    assert (moved_since.outcome, moved_since.why) == (Outcome.CONFLICT, inverse.CHANGED)


def test_an_event_that_we_changed_gets_back_what_it_said() -> None:
    one = written(Action.UPDATE, version="e1", before={"title": "Old"}, after={"title": "Showing"})
    assert taken(one, record(), seen=shown()).want == {"title": "Old"}


def test_an_event_that_is_gone_that_we_cancelled_or_that_somebody_attends_stays_as_it_is() -> None:
    cancelled = written(Action.CANCEL, before={"status": "confirmed"}, after={"status": "cancelled"})
    assert taken(cancelled, record(), seen=gone()).why == inverse.CANCELLED
    assert inverse.inverse(written(Action.CREATE), pair(record(), gone()), CONTEXT) is None
    assert taken(written(Action.CREATE, version="e1"), record(), seen=shown(guests=1)).why == inverse.ATTENDED
    lost = taken(written(Action.CREATE, version="e1"), record())
    assert (lost.outcome, lost.why) == (Outcome.CONFLICT, inverse.REMOVED), "nothing known of it is no evidence"


# ---- several writes of one run --------------------------------------------------------------------------------------


def test_several_writes_of_one_record_are_one_with_the_oldest_image_and_the_latest_version() -> None:
    first = entry(before={"title": "A", "status": "confirmed"}, after={"title": "B"}, version="v1")
    last = entry(before={"title": "B", "location": ""}, after={"title": "C", "location": "Oak"}, version="v2")
    other = entry(crm_id="8")
    [both, earlier] = folded([first, other, last])
    assert earlier.crm_id == "8", "the last to be written comes first"
    assert (both.version, both.before["title"], both.after["title"]) == ("v2", "A", "C")


def test_what_was_made_and_changed_is_still_something_made() -> None:
    [whole] = folded([entry(Action.CREATE), moved()])
    assert whole.action is Action.CREATE
    [whole] = folded([moved(), entry(Action.DELETE, before=HERE)])
    assert whole.action is Action.DELETE
