"""The decision table, row by row and for each direction; then what must hold for every input there can be."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.decide import UNSETTLED, Rules, decide
from reconciler.model import (
    Absence,
    Direction,
    Fields,
    First,
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
    Value,
    Verdict,
)

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
C2C, CRM2CAL, TWO_WAY = Direction.CALENDAR_TO_CRM, Direction.CRM_TO_CALENDAR, Direction.TWO_WAY
COMPARE = ("agent", "all_day", "contact", "end", "location", "start", "status", "title")
AGREED: dict[str, Value] = {
    "agent": "ann@acme.example",
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "all_day": False,
    "status": "confirmed",
    "title": "Showing",
    "location": "12 Oak Lane",
    "contact": ("zoe@client.example",),
}
NONE: dict[str, Value] = {}
MOVED: dict[str, Value] = {"start": "2026-11-24T17:00:00Z", "end": "2026-11-24T18:00:00Z"}


def seen(
    absence: Absence | None = None,
    *,
    modified: datetime | None = NOON,
    declined: bool = False,
    also: Fields = NONE,
    **fields: Value,
) -> Seen:
    return Seen(
        event="evt1",
        span=Span(NOON, NOON + timedelta(hours=1)),
        digest=b"digest",
        meeting="uid1|ann@acme.example",
        keys=("uid1",),
        relevance="client",
        fields={**AGREED, **also, **fields},
        modified=modified,
        absence=absence,
        declined=declined,
    )


def record(
    presence: Presence = Presence.LIVE,
    *,
    updated: datetime | None = NOON,
    closed: bool = False,
    problem: str | None = None,
    also: Fields = NONE,
    **fields: Value,
) -> Record:
    return Record(
        id="17",
        fields={**AGREED, **also, **fields},
        version="1",
        key="uid1",
        presence=presence,
        updated=updated,
        closed=closed,
        problem=problem,
    )


def link(base: Fields | None = AGREED, base_crm: Fields | None = AGREED, *, cancelled_by_us: bool = False) -> Link:
    return Link("17", 1, "evt1", "uid1", Tier.KEY, base, base_crm, cancelled_by_us=cancelled_by_us)


UNAGREED = link(None, None)


def judged(
    calendar: Seen | None,
    crm: Record | None,
    between: Link | None,
    direction: Direction = C2C,
    first: First = First.NEWER,
    *,
    holds: tuple[str, ...] = (),
    compare: tuple[str, ...] = COMPARE,
) -> Verdict:
    pair = Pair(seen=calendar, calendar=None, record=crm, link=between, holds=holds)
    return decide(pair, Rules(direction, first, compare))


# ---- the table ------------------------------------------------------------------------------------------------------

Expected = tuple[Situation, tuple[Step, Step, Step]]  # calendar-to-crm, crm-to-calendar, two-way
GONE = [Absence.CANCELLED, Absence.GONE, Absence.EXCLUDED]

ROWS: dict[str, tuple[Seen | None, Record | None, Link | None, Expected]] = {
    "equal and agreed": (
        seen(), record(), link(),
        (Situation.IN_SYNC, (Step.NOTHING, Step.NOTHING, Step.NOTHING)),
    ),
    "equal and not yet agreed": (
        seen(), record(), UNAGREED,
        (Situation.IN_SYNC, (Step.REFRESH_BASE, Step.REFRESH_BASE, Step.REFRESH_BASE)),
    ),
    "equal without a link": (
        seen(), record(), None,
        (Situation.IN_SYNC, (Step.REFRESH_BASE, Step.REFRESH_BASE, Step.REFRESH_BASE)),
    ),
    "equal, agreed and never compared since": (
        seen(), record(), replace(link(), is_open=True),
        (Situation.IN_SYNC, (Step.REFRESH_BASE, Step.REFRESH_BASE, Step.REFRESH_BASE)),
    ),
    "both moved to the same": (
        seen(title="Visit"), record(title="Visit"), link(),
        (Situation.IN_SYNC, (Step.REFRESH_BASE, Step.REFRESH_BASE, Step.REFRESH_BASE)),
    ),
    "only the calendar moved": (
        seen(title="Visit"), record(), link(),
        (Situation.CALENDAR_CHANGED, (Step.UPDATE, Step.FINDING, Step.UPDATE)),
    ),
    "only the CRM moved": (
        seen(), record(title="Visit"), link(),
        (Situation.CRM_CHANGED, (Step.FINDING, Step.UPDATE, Step.UPDATE)),
    ),
    "both moved one field apart": (
        seen(title="Visit"), record(title="Call"), link(),
        (Situation.BOTH_CHANGED, (Step.CONFLICT, Step.CONFLICT, Step.CONFLICT)),
    ),
    "both moved one field apart, another moved in the calendar": (
        seen(title="Visit", also=MOVED), record(title="Call"), link(),
        (Situation.BOTH_CHANGED, (Step.UPDATE, Step.CONFLICT, Step.UPDATE)),
    ),
    "we cancelled it and it is back": (
        seen(), record(Presence.CANCELLED), link(cancelled_by_us=True),
        (Situation.REOPENED, (Step.UPDATE, Step.FINDING, Step.FINDING)),
    ),
    "somebody cancelled it in the CRM": (
        seen(), record(Presence.CANCELLED), link(),
        (Situation.FALSE_CANCEL, (Step.FINDING, Step.REMOVE, Step.FINDING)),
    ),
    "new in the calendar": (
        seen(), None, None,
        (Situation.NEW_IN_CALENDAR, (Step.CREATE, Step.FINDING, Step.CREATE)),
    ),
    "removed from the CRM, and the CRM says so": (
        seen(), record(Presence.ABSENT), link(),
        (Situation.REMOVED_FROM_CRM, (Step.FINDING, Step.REMOVE, Step.REMOVE)),
    ),
    "missing in the CRM, without evidence": (
        seen(), None, link(),
        (Situation.REMOVED_FROM_CRM, (Step.FINDING, Step.FINDING, Step.FINDING)),
    ),
    "removed there and untouched here": (
        seen(Absence.CANCELLED), record(), link(),
        (Situation.REMOVED_FROM_CALENDAR, (Step.REMOVE, Step.FINDING, Step.REMOVE)),
    ),
    "removed there, edited here": (
        seen(Absence.CANCELLED), record(title="Visit"), link(),
        (Situation.REMOVED_AND_EDITED, (Step.CONFLICT, Step.CONFLICT, Step.CONFLICT)),
    ),
    "only in the CRM": (
        None, record(), None,
        (Situation.NEW_IN_CRM, (Step.FINDING, Step.CREATE, Step.CREATE)),
    ),
    "unseen": (
        seen(Absence.UNSEEN), record(), link(),
        (Situation.HOLD, (Step.HOLD, Step.HOLD, Step.HOLD)),
    ),
    "linked and not in the mirror": (
        None, record(), link(),
        (Situation.HOLD, (Step.HOLD, Step.HOLD, Step.HOLD)),
    ),
    "declined by the only agent": (
        seen(declined=True), record(), link(),
        (Situation.REMOVED_FROM_CALENDAR, (Step.FINDING, Step.FINDING, Step.FINDING)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("direction", [C2C, CRM2CAL, TWO_WAY])
def test_each_row_of_the_table_holds_in_each_direction(row: str, direction: Direction) -> None:
    calendar, crm, between, (situation, steps) = ROWS[row]
    verdict = judged(calendar, crm, between, direction)
    assert (verdict.situation, verdict.step) == (situation, steps[[C2C, CRM2CAL, TWO_WAY].index(direction)])


@pytest.mark.parametrize(
    ("presence", "direction"),
    [(Presence.ABSENT, CRM2CAL), (Presence.ABSENT, TWO_WAY), (Presence.CANCELLED, CRM2CAL)],
)
def test_an_event_that_its_agent_edited_is_not_removed_for_its_record(presence: Presence, direction: Direction) -> None:
    verdict = judged(seen(title="Visit"), record(presence), link(), direction)
    assert (verdict.situation, verdict.step) == (Situation.REMOVED_AND_EDITED, Step.CONFLICT)
    assert verdict.conflicts == ("title",)


@pytest.mark.parametrize("absence", GONE)
def test_every_evidence_removes_the_record(absence: Absence) -> None:
    verdict = judged(seen(absence), record(), link())
    assert (verdict.step, verdict.side) == (Step.REMOVE, Side.CRM)
    assert absence.value in verdict.reason


@pytest.mark.parametrize("absence", [*GONE, Absence.UNSEEN, Absence.LEFT_WINDOW])
@pytest.mark.parametrize("presence", [Presence.CANCELLED, Presence.ABSENT, None])
@pytest.mark.parametrize("direction", list(Direction))
def test_what_is_over_on_both_sides_stays_quiet(
    absence: Absence, presence: Presence | None, direction: Direction
) -> None:
    crm = record(presence) if presence else None
    verdict = judged(seen(absence), crm, link(), direction)
    assert verdict.situation is Situation.IN_SYNC
    assert verdict.step is (Step.FORGET if absence.is_evidence else Step.NOTHING)


def test_a_link_is_not_forgotten_while_its_event_is_merely_unseen() -> None:
    assert judged(None, record(Presence.CANCELLED), link()).step is Step.NOTHING


# ---- fields ---------------------------------------------------------------------------------------------------------


def test_each_field_travels_from_the_side_that_moved_it_in_two_way() -> None:
    verdict = judged(seen(title="Visit"), record(location="3 Elm Street"), link(), TWO_WAY)
    assert (verdict.to_crm, verdict.to_calendar, verdict.foreign) == (("title",), ("location",), ())


def test_one_way_writes_its_own_fields_and_leaves_the_others_to_a_person() -> None:
    calendar, crm = seen(title="Visit"), record(location="3 Elm Street")
    there = judged(calendar, crm, link(), C2C)
    back = judged(calendar, crm, link(), CRM2CAL)
    assert (there.to_crm, there.to_calendar, there.foreign) == (("title",), (), ("location",))
    assert (back.to_crm, back.to_calendar, back.foreign) == ((), ("location",), ("title",))


def test_a_conflict_on_one_field_lets_the_others_go_on() -> None:
    verdict = judged(seen(title="Visit", also=MOVED), record(title="Call"), link())
    assert (set(verdict.to_crm), verdict.conflicts) == ({"start", "end"}, ("title",))


def test_half_a_move_of_a_persons_is_a_conflict_over_the_whole_time() -> None:
    verdict = judged(seen(start="2026-11-24T14:00:00Z"), record(end="2026-11-24T19:00:00Z"), link())
    assert verdict.to_crm == ()
    assert set(verdict.conflicts) == {"start", "end"}
    assert verdict.step is Step.CONFLICT


def test_turning_an_appointment_into_a_whole_day_is_one_change() -> None:
    verdict = judged(seen(start="2026-11-24", end="2026-11-25", all_day=True), record(), link())
    assert (verdict.situation, set(verdict.to_crm)) == (Situation.CALENDAR_CHANGED, {"start", "end", "all_day"})


def test_a_first_client_is_a_change_of_the_calendar_not_a_conflict() -> None:
    before = {name: value for name, value in AGREED.items() if name != "contact"}
    calendar = seen()
    crm = replace(record(), fields=before)
    verdict = judged(calendar, crm, link(before, before))
    assert (verdict.situation, verdict.to_crm) == (Situation.CALENDAR_CHANGED, ("contact",))


def test_a_client_that_changed_on_both_sides_is_a_conflict() -> None:
    verdict = judged(seen(contact=("new@client.example",)), record(contact=("other@client.example",)), link())
    assert verdict.conflicts == ("contact",)


def test_one_client_of_several_is_enough() -> None:
    several = ("amy@client.example", "zoe@client.example")
    assert judged(seen(contact=several), record(), UNAGREED).situation is Situation.IN_SYNC


def test_a_spelling_of_the_crms_own_is_agreed_once_and_then_quiet() -> None:
    short = {**AGREED, "title": "Show"}
    agreed = link(AGREED, short)
    assert judged(seen(), record(title="Show"), agreed).situation is Situation.IN_SYNC
    assert judged(seen(title="Visit"), record(title="Show"), agreed).to_crm == ("title",)
    assert judged(seen(), record(title="Shop"), agreed).foreign == ("title",)


@pytest.mark.parametrize(
    "field", [("start", "2026-11-24T14:00:00Z"), ("contact", ("b@client.example",)), ("agent", "bob@acme.example")]
)
def test_a_time_a_client_or_an_owner_is_never_agreed_to_differ(field: tuple[str, Value]) -> None:
    name, value = field
    wrong = link(AGREED, {**AGREED, name: value})
    verdict = judged(seen(), record(also={name: value}), wrong)
    assert (verdict.situation, verdict.step) == (Situation.UNAGREED, Step.FINDING)


def test_a_field_that_joins_the_comparison_is_settled_as_never_agreed() -> None:
    old = {name: value for name, value in AGREED.items() if name != "location"}
    later = seen(location="3 Elm Street", modified=NOON + timedelta(hours=1))
    verdict = judged(later, record(), link(old, old))
    assert (verdict.situation, verdict.to_crm) == (Situation.UNAGREED, ("location",))
    assert judged(seen(location="3 Elm Street"), record(), link(old, old)).step is Step.FINDING


def test_fields_that_are_not_compared_do_not_matter() -> None:
    assert judged(seen(title="Visit"), record(), link(), compare=("start",)).step is Step.NOTHING


def test_a_private_event_is_compared_by_what_it_says() -> None:
    bare = {name: AGREED[name] for name in ("agent", "start", "end", "all_day", "status")}
    assert judged(replace(seen(), fields=bare), record(), UNAGREED).situation is Situation.IN_SYNC


# ---- never agreed ---------------------------------------------------------------------------------------------------

LATER, EARLIER = NOON + timedelta(minutes=1), NOON - timedelta(minutes=1)


@pytest.mark.parametrize(
    ("direction", "first", "modified", "written"),
    [
        (C2C, First.NEWER, LATER, "crm"),
        (C2C, First.NEWER, NOON, None),
        (C2C, First.NEWER, EARLIER, None),
        (C2C, First.NEWER, None, None),
        (C2C, First.CALENDAR, EARLIER, "crm"),
        (C2C, First.CALENDAR, None, "crm"),
        (C2C, First.REPORT, LATER, None),
        (CRM2CAL, First.NEWER, EARLIER, "calendar"),
        (CRM2CAL, First.NEWER, LATER, None),
        (CRM2CAL, First.NEWER, None, None),
        (CRM2CAL, First.CALENDAR, LATER, None),
        (CRM2CAL, First.REPORT, EARLIER, None),
        (TWO_WAY, First.NEWER, LATER, None),
        (TWO_WAY, First.NEWER, EARLIER, None),
        (TWO_WAY, First.CALENDAR, LATER, None),
    ],
)
def test_who_wins_at_first_sight_is_the_job_files_choice(
    direction: Direction, first: First, modified: datetime | None, written: str | None
) -> None:
    for between in (None, UNAGREED):
        verdict = judged(seen(modified=modified, also=MOVED), record(), between, direction, first)
        assert verdict.situation is Situation.UNAGREED
        assert verdict.step is (Step.UPDATE if written else Step.FINDING)
        assert bool(verdict.to_crm) == (written == "crm")
        assert bool(verdict.to_calendar) == (written == "calendar")
        assert bool(verdict.foreign) == (written is None)


@pytest.mark.parametrize(
    ("modified", "updated", "first", "step"),
    [
        (LATER, NOON, First.NEWER, Step.REMOVE),
        (LATER, NOON, First.CALENDAR, Step.REMOVE),
        (NOON, NOON, First.NEWER, Step.FINDING),
        (EARLIER, NOON, First.CALENDAR, Step.FINDING),
        (None, NOON, First.NEWER, Step.FINDING),
        (LATER, None, First.NEWER, Step.FINDING),
        (LATER, NOON, First.REPORT, Step.FINDING),
    ],
)
def test_what_never_agreed_is_removed_only_when_the_cancellation_is_newer(
    modified: datetime | None, updated: datetime | None, first: First, step: Step
) -> None:
    for between in (None, UNAGREED):
        assert (
            judged(seen(Absence.CANCELLED, modified=modified), record(updated=updated), between, C2C, first).step
            is step
        )


# ---- outcomes, owners, reopening ------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("first", list(First))
@pytest.mark.parametrize("between", [None, UNAGREED, link()])
@pytest.mark.parametrize("calendar", [seen(also=MOVED, modified=LATER), seen(Absence.CANCELLED, modified=LATER)])
def test_an_outcome_that_the_crm_recorded_is_never_overwritten(
    direction: Direction, first: First, between: Link | None, calendar: Seen
) -> None:
    verdict = judged(calendar, record(closed=True), between, direction, first)
    assert verdict.step is Step.FINDING
    assert "outcome" in verdict.reason or direction is CRM2CAL


def test_an_outcome_equals_confirmed() -> None:
    assert judged(seen(), record(closed=True), link()).situation is Situation.IN_SYNC
    assert judged(seen(), record(closed=True, status="closed"), link()).situation is Situation.IN_SYNC


def test_a_change_of_owner_is_a_change_like_others() -> None:
    assert judged(seen(agent="bob@acme.example"), record(), link()).to_crm == ("agent",)
    assert judged(seen(), record(agent="bob@acme.example"), link()).foreign == ("agent",)


def test_reopening_writes_the_status_and_what_moved_since() -> None:
    cancelled = record(Presence.CANCELLED, status="cancelled")
    verdict = judged(seen(also=MOVED), cancelled, link(cancelled_by_us=True))
    assert verdict.to_crm[0] == "status"
    assert set(verdict.to_crm) == {"status", "start", "end"}


def test_reopening_leaves_alone_what_a_person_edited_in_the_cancelled_record() -> None:
    cancelled = record(Presence.CANCELLED, status="cancelled", title="Call", location="9 Ash Road")
    verdict = judged(seen(title="Visit"), cancelled, link(cancelled_by_us=True))
    assert (verdict.to_crm, verdict.conflicts, verdict.foreign) == (("status",), ("title",), ("location",))


# ---- holds ----------------------------------------------------------------------------------------------------------

HOLDS = ["unobserved", "organizer_unobserved", "ambiguous", "quarantined", UNSETTLED, "flapping", "anything"]


@pytest.mark.parametrize("hold", HOLDS)
@pytest.mark.parametrize("row", ROWS)
@pytest.mark.parametrize("direction", list(Direction))
def test_a_held_pair_is_never_written(hold: str, row: str, direction: Direction) -> None:
    calendar, crm, between, _ = ROWS[row]
    verdict = judged(calendar, crm, between, direction, holds=(hold,))
    assert verdict.step in {Step.HOLD, Step.NOTHING, Step.REFRESH_BASE, Step.FORGET}
    assert hold == UNSETTLED or verdict.step is Step.HOLD


def test_an_unsettled_pair_that_agrees_is_in_sync_and_one_that_does_not_waits() -> None:
    assert judged(seen(), record(), UNAGREED, holds=(UNSETTLED,)).step is Step.REFRESH_BASE
    assert judged(seen(also=MOVED), record(), link(), holds=(UNSETTLED,)).step is Step.HOLD
    assert judged(seen(), record(), link(), holds=(UNSETTLED, "unobserved")).step is Step.HOLD


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize("between", [None, UNAGREED, link(), link(cancelled_by_us=True)])
@pytest.mark.parametrize(
    "calendar", [None, seen(), seen(also=MOVED, modified=LATER), seen(Absence.CANCELLED), seen(declined=True)]
)
@pytest.mark.parametrize("presence", [Presence.LIVE, Presence.CANCELLED])
def test_a_record_that_cannot_be_read_is_never_in_sync_or_written_beside_a_living_side(
    direction: Direction, between: Link | None, calendar: Seen | None, presence: Presence
) -> None:
    is_live = calendar is not None and calendar.absence is None and not calendar.declined
    verdict = judged(calendar, record(presence, problem="its start is no time"), between, direction)
    if is_live or presence is Presence.LIVE:
        assert (verdict.step, verdict.reason) == (Step.HOLD, "quarantined")
    else:
        assert verdict.step in {Step.NOTHING, Step.FORGET}


def test_an_event_that_left_the_window_is_quiet_beside_what_it_last_said() -> None:
    assert judged(seen(Absence.LEFT_WINDOW), record(), link()).step is Step.NOTHING
    verdict = judged(seen(Absence.LEFT_WINDOW), record(also=MOVED), link())
    assert (verdict.step, verdict.reason) == (Step.HOLD, "left_window")


def test_an_irrelevant_event_creates_nothing_and_never_counts_as_equal() -> None:
    lunch = replace(seen(), relevance=None, fields={}, keys=(), meeting="")
    assert judged(lunch, None, None).step is Step.NOTHING
    assert judged(lunch, record(), link()).step is Step.HOLD


# ---- evidence of the CRM's side -------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [C2C, CRM2CAL, TWO_WAY])
def test_an_event_is_removed_only_when_a_look_up_says_that_its_record_is_gone(direction: Direction) -> None:
    lacking = Pair(seen=seen(), calendar=None, record=None, link=link())
    rules = Rules(direction, First.NEWER, COMPARE)
    assert decide(lacking, rules).step is Step.FINDING
    verdict = decide(replace(lacking, is_gone=True), rules)
    assert verdict.situation is Situation.REMOVED_FROM_CRM
    assert (verdict.step, verdict.side) == ((Step.FINDING, None) if direction is C2C else (Step.REMOVE, Side.CALENDAR))


@pytest.mark.parametrize("direction", [CRM2CAL, TWO_WAY])
def test_what_the_crm_has_an_outcome_of_is_never_written_to_a_calendar(direction: Direction) -> None:
    verdict = judged(seen(), record(closed=True, status="closed", title="Visit"), link(), direction)
    assert (verdict.step, verdict.to_calendar) == (Step.FINDING, ())
    assert "outcome" in verdict.reason
