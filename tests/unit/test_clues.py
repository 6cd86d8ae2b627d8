"""What a finding keeps for reports: both sides as they stood, when it changed, and clues that are nothing but words."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import clues, patterns, text
from reconciler.decide import UNKNOWN, Rules, decide
from reconciler.findings import Context, outlook
from reconciler.model import (
    Absence,
    Action,
    Agent,
    AgentState,
    Calendar,
    Direction,
    Fields,
    Finding,
    First,
    Kind,
    Link,
    Pair,
    Presence,
    Record,
    Seen,
    Side,
    Situation,
    Span,
    Step,
    Tier,
    Verdict,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Agent(email="ann@acme.example")
COMPARE = ("agent", "all_day", "contact", "end", "start", "status", "title")
CONTEXT = Context(now=NOW, allow=frozenset(Action), can=frozenset(Action), compare=COMPARE, mapped=frozenset(COMPARE))
BOTH: Fields = {
    "agent": "ann@acme.example",
    "start": "2026-11-24T17:00:00Z",
    "end": "2026-11-24T18:00:00Z",
    "all_day": False,
    "status": "confirmed",
    "title": "Showing",
    "contact": ("zoe@client.example",),
}
LATER: Fields = {"start": "2026-11-24T23:00:00Z", "end": "2026-11-25T00:00:00Z"}


def seen(**values: object) -> Seen:
    at = datetime(2026, 11, 24, 17, tzinfo=UTC)
    plain = Seen(
        event="evt1",
        span=Span(at, at + HOUR),
        digest=b"\x01",
        meeting="m1",
        keys=("uid1",),
        relevance="client",
        fields=BOTH,
        modified=NOW - HOUR,
        first_seen=NOW,
    )
    return replace(plain, **values)  # type: ignore[arg-type]


def record(**values: object) -> Record:
    return replace(Record(id="17", fields=BOTH, version="3", key="uid1", updated=NOW - 2 * HOUR), **values)  # type: ignore[arg-type]


def pair(calendar: Seen | None, crm: Record | None, *holds: str, agent: Agent = ANN) -> Pair:
    link = Link("17", 1, "evt1", "m1", Tier.KEY, BOTH, BOTH)
    where = Calendar(source="google", kind="google", agent=agent) if calendar else None
    number = 1 if calendar else None
    return Pair(seen=calendar, calendar=where, record=crm, link=link, tier=Tier.LINK, calendar_id=number, holds=holds)


def found(one: Pair) -> Finding:
    """Return the first finding of a pair, as the table and the policy have it."""
    rules = Rules(Direction.CALENDAR_TO_CRM, First.NEWER, COMPARE)
    return outlook(one, decide(one, rules), CONTEXT).findings[0]


# ---- what each side held --------------------------------------------------------------------------------------------


def test_both_sides_are_kept_as_they_stood() -> None:
    finding = found(pair(seen(fields={**BOTH, **LATER}), record()))
    assert finding.has == {Side.CALENDAR: {**BOTH, **LATER}, Side.CRM: BOTH}
    assert finding.calendar == 1


def test_a_side_that_holds_nothing_is_not_there() -> None:
    assert clues.has(None, record()).keys() == {Side.CRM}
    assert clues.has(seen(), None).keys() == {Side.CALENDAR}
    assert clues.has(seen(absence=Absence.UNSEEN), record(presence=Presence.ABSENT)) == {}
    assert clues.has(seen(relevance=None, fields={}), None) == {}


def test_what_is_cancelled_says_so_on_either_side() -> None:
    gone, cancelled = seen(absence=Absence.CANCELLED), record(presence=Presence.CANCELLED)
    assert {fields["status"] for fields in clues.has(gone, cancelled).values()} == {"cancelled"}


def test_an_event_outside_what_is_read_keeps_what_was_last_known_of_it() -> None:
    assert clues.has(seen(absence=Absence.LEFT_WINDOW), None)[Side.CALENDAR]["status"] == "confirmed"


def test_of_a_private_event_times_and_status_are_kept_alone() -> None:
    bare = {name: BOTH[name] for name in ("start", "end", "all_day", "status", "agent")}
    one = pair(seen(private=True, fields=bare), record(fields={**BOTH, **LATER}))
    assert found(one).has[Side.CALENDAR] == bare


@given(title=st.text(max_size=2000), many=st.lists(st.text(min_size=1), max_size=60))
def test_whatever_a_side_says_is_kept_inert_and_bounded(title: str, many: list[str]) -> None:
    hostile: Fields = {**BOTH, "title": title, "contact": tuple(many)}
    kept = clues.has(seen(fields=hostile), record(fields=hostile))
    for fields in kept.values():
        contact = fields.get("contact", ())
        assert isinstance(contact, tuple)
        assert len(contact) <= 20
        assert all(each == text.line(each) for each in (str(fields.get("title", "")), *contact))


# ---- when it changed ------------------------------------------------------------------------------------------------


def changed_in(situation: Situation, **values: object) -> datetime | None:
    return clues.changed(pair(seen(**values), record()), situation, NOW)


def test_the_side_that_moved_says_when() -> None:
    assert changed_in(Situation.NEW_IN_CALENDAR) == NOW - HOUR
    assert changed_in(Situation.CALENDAR_CHANGED) == NOW - HOUR
    assert changed_in(Situation.CRM_CHANGED) == NOW - 2 * HOUR
    assert changed_in(Situation.FALSE_CANCEL) == NOW - 2 * HOUR


def test_where_nobody_knows_which_side_moved_it_is_the_later_one() -> None:
    assert changed_in(Situation.UNAGREED) == NOW - HOUR
    assert changed_in(Situation.HOLD, modified=NOW - 3 * HOUR) == NOW - 2 * HOUR
    assert changed_in(Situation.BOTH_CHANGED, modified=None) == NOW - 2 * HOUR


def test_a_time_that_is_yet_to_come_is_no_time() -> None:
    assert changed_in(Situation.CALENDAR_CHANGED, modified=NOW + HOUR) is None
    assert changed_in(Situation.UNAGREED, modified=NOW + HOUR) == NOW - 2 * HOUR
    assert changed_in(Situation.CALENDAR_CHANGED, modified=NOW + clues.AHEAD) == NOW + clues.AHEAD


def test_a_side_that_does_not_say_when_it_moved_leaves_it_unknown() -> None:
    assert changed_in(Situation.CALENDAR_CHANGED, modified=None) is None
    assert clues.changed(pair(None, record(updated=None)), Situation.NEW_IN_CRM, NOW) is None


@pytest.mark.parametrize(
    ("absence", "modified", "when"),
    [
        (Absence.CANCELLED, NOW - HOUR, NOW - HOUR),  # the provider said when
        (Absence.CANCELLED, None, NOW),  # it did not: since it was first seen to be gone
        (Absence.GONE, NOW - HOUR, NOW),  # the last edit says nothing of when it went
    ],
)
def test_a_cancel_is_as_old_as_is_known(absence: Absence, modified: datetime | None, when: datetime) -> None:
    gone = seen(absence=absence, modified=modified, absent_since=NOW)
    assert clues.changed(pair(gone, record()), Situation.REMOVED_FROM_CALENDAR, NOW) == when


# ---- clues ----------------------------------------------------------------------------------------------------------


def of(one: Pair, *names: str, ours: str | None = "reconcile", situation: Situation = Situation.UNAGREED) -> set[str]:
    return set(clues.clues(one, Verdict(situation, Step.FINDING), names, ours))


def test_an_ordinary_pair_gives_no_clue() -> None:
    assert of(pair(seen(), record()), "start", "end") == set()


def test_the_writer_of_a_record_is_a_clue_but_for_us_and_for_addresses() -> None:
    assert of(pair(None, record(origin="Zapier"))) == {"origin:zapier"}
    assert of(pair(None, record(origin="reconcile"))) == set()
    assert of(pair(None, record(origin="zoe@client.example"))) == set()


def test_the_scheduler_of_a_booking_shows_in_its_key_on_either_side() -> None:
    assert of(pair(seen(keys=("calendly:abc", "uid1")), None)) == {"scheduler:calendly"}
    assert of(pair(None, record(key="acuity:17"))) == {"scheduler:acuity"}
    assert of(pair(None, record(key="uid:calendly:17"))) == set()


def test_a_constant_shift_is_named_in_seconds_record_minus_event() -> None:
    late = record(fields={**BOTH, **LATER})
    assert of(pair(seen(), late), "start", "end") == {"shift:21600"}
    longer = record(fields={**BOTH, "end": "2026-11-24T19:00:00Z"})
    assert of(pair(seen(), longer), "start", "end") == set()


def test_a_single_field_that_differs_is_named() -> None:
    assert of(pair(seen(), record()), "title") == {"field:title"}
    assert of(pair(seen(), record()), "title", "location") == set()


def test_what_holds_a_pair_is_a_clue() -> None:
    assert of(pair(seen(), record(), patterns.FLAPPING, UNKNOWN)) == {"flapping", "unknown"}
    assert of(pair(seen(absence=Absence.UNSEEN), record())) == {"unseen"}
    assert of(pair(seen(), record(), agent=replace(ANN, state=AgentState.LEFT))) == {"left"}


def test_what_the_first_read_met_is_known_as_such_unless_the_crm_moved() -> None:
    baseline = pair(seen(first_seen=None), record())
    assert of(baseline, situation=Situation.NEW_IN_CALENDAR) == {"baseline"}
    assert of(baseline, situation=Situation.CRM_CHANGED) == set()


def test_what_is_a_moment_old_is_pending_and_what_has_settled_is_not() -> None:
    young = pair(seen(fields={**BOTH, **LATER}), record(), "unsettled")
    assert clues.PENDING in found(young).clues
    assert clues.PENDING not in found(replace(young, holds=())).clues


def test_what_a_person_must_look_at_is_not_pending_however_young() -> None:
    finding = found(pair(seen(), replace(record(), problem="no time"), "unsettled", "quarantined"))
    assert finding.kind is Kind.QUARANTINED
    assert clues.PENDING not in finding.clues


@given(st.text())
def test_a_word_is_short_inert_and_lower_case_whatever_it_is_made_of(name: str) -> None:
    word = clues.word(name)
    assert len(word) <= 2 * clues.LONGEST
    assert word == text.line(word)
    assert not set(word) & set(" \t\r\n:;,<>&\"'=+@|/\\")
    assert word == word.lower()
