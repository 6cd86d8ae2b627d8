"""What a verdict writes to a calendar: only what is the agent's alone, in its version, never people, times together."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler.decide import Rules, decide
from reconciler.findings import Context, Outlook, outlook
from reconciler.model import (
    WRITABLE,
    Action,
    Agent,
    AgentState,
    Calendar,
    Delta,
    Direction,
    Fields,
    First,
    Kind,
    Link,
    Outcome,
    Pair,
    Presence,
    Record,
    Remedy,
    Seen,
    Side,
    Situation,
    Span,
    Step,
    Tier,
    Value,
    Verdict,
    rfc3339,
)

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
ANN = Agent(email="ann@acme.example")
HOME = Calendar(source="google", kind="google", agent=ANN)
COMPARE = ("agent", "all_day", "contact", "end", "location", "participants", "start", "status", "title")
ALL = frozenset(Action)
CONTEXT = Context(
    now=NOW,
    allow=ALL,
    can=ALL,
    compare=COMPARE,
    mapped=frozenset(COMPARE) | {"id"},
    writes=frozenset({"google"}),
    homes={ANN.email: (7, HOME)},
)
TO_CALENDAR, BOTH = Direction.CRM_TO_CALENDAR, Direction.TWO_WAY
NONE: Fields = {}


def times(start: datetime) -> dict[str, Value]:
    return {"start": rfc3339(start), "end": rfc3339(start + HOUR), "all_day": False}


START = NOW + 2 * DAY
AGREED: dict[str, Value] = {
    "agent": ANN.email,
    **times(START),
    "status": "confirmed",
    "title": "Showing",
    "location": "12 Oak Lane",
    "contact": ("zoe@client.example",),
    "participants": (),
}
MOVED = times(START + 3 * HOUR)
SEEN = Seen(
    event="evt1",
    span=Span(START, START + HOUR),
    digest=b"\x01",
    meeting="m1",
    keys=("uid1",),
    relevance="linked",
    fields=AGREED,
    modified=NOW - DAY,
    etag='"e1"',
)
RECORD = Record(id="17", fields=AGREED, version="3", updated=NOW - HOUR)
LINK = Link("17", 1, "evt1", "m1", Tier.KEY, AGREED, AGREED)
PAIR = Pair(seen=SEEN, calendar=HOME, calendar_id=1, record=RECORD, link=LINK, tier=Tier.LINK)


def held(also: Fields, record: Record = RECORD) -> Record:
    return replace(record, fields={**record.fields, **also})


def looked(both: Pair, direction: Direction = TO_CALENDAR, context: Context = CONTEXT) -> Outlook:
    return outlook(both, decide(both, Rules(direction, First.NEWER, COMPARE)), context)


def only(found: Outlook) -> Delta:
    [delta] = found.deltas
    return delta


# ---- what is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("direction", [TO_CALENDAR, BOTH])
def test_what_moved_in_the_crm_is_given_to_the_event_in_the_version_it_was_read_in(direction: Direction) -> None:
    found = looked(replace(PAIR, record=held({"title": "Viewing"})), direction)
    delta = only(found)
    assert (delta.side, delta.action, delta.outcome) == (Side.CALENDAR, Action.UPDATE, Outcome.PLANNED)
    assert (delta.event, delta.calendar_id, delta.crm_id, delta.version) == ("evt1", 1, "17", '"e1"')
    assert (delta.want, delta.was) == ({"title": "Viewing"}, {"title": "Showing"})
    assert delta.fields == {"title": ("Showing", "Viewing")}
    assert (delta.notify, found.bucket, found.findings[0].remedy) == (0, "update", Remedy.FIX)
    assert found.findings[0].fields == {"title": ("Showing", "Viewing")}, "as it is and as it will be"


def test_times_are_written_together() -> None:
    delta = only(looked(replace(PAIR, record=held({"start": rfc3339(START - HOUR)}))))
    assert delta.want == {"start": rfc3339(START - HOUR), "end": AGREED["end"], "all_day": False}
    assert delta.was == {name: AGREED[name] for name in ("start", "end", "all_day")}


def test_an_event_takes_as_long_as_before_when_its_crm_knows_no_ends() -> None:
    known = {name: value for name, value in {**AGREED, **MOVED}.items() if name != "end"}
    compare = tuple(name for name in COMPARE if name != "end")
    both = replace(PAIR, record=replace(RECORD, fields=known))
    context = replace(CONTEXT, compare=compare, mapped=CONTEXT.mapped - {"end"})
    found = outlook(both, decide(both, Rules(TO_CALENDAR, First.NEWER, compare)), context)
    assert only(found).want == MOVED


def test_each_side_is_given_what_moved_on_the_other() -> None:
    both = replace(PAIR, seen=replace(SEEN, fields={**AGREED, **MOVED}), record=held({"title": "Viewing"}))
    found = looked(both, BOTH)
    assert [(delta.side, sorted(delta.want)) for delta in found.deltas] == [
        (Side.CRM, ["all_day", "end", "start"]),
        (Side.CALENDAR, ["title"]),
    ]
    assert len({delta.finding for delta in found.deltas}) == 1
    assert found.findings[0].fields == {
        "start": (AGREED["start"], MOVED["start"]),
        "end": (AGREED["end"], MOVED["end"]),
        "title": ("Showing", "Viewing"),
    }


def test_a_new_record_becomes_an_event_at_its_agents_home_without_its_people() -> None:
    both = Pair(seen=None, calendar=None, record=RECORD, link=None)
    delta = only(looked(both))
    assert (delta.action, delta.side, delta.calendar_id, delta.event) == (Action.CREATE, Side.CALENDAR, 7, None)
    assert (delta.key, delta.crm_id, delta.version, delta.agent) == ("crm:17", "17", None, ANN.email)
    assert delta.want == {name: AGREED[name] for name in WRITABLE}
    assert delta.was == {}


@pytest.mark.parametrize(
    ("both", "kind"),
    [
        (replace(PAIR, record=replace(RECORD, presence=Presence.CANCELLED)), Kind.FALSE_CANCEL),
        (replace(PAIR, record=replace(RECORD, presence=Presence.ABSENT)), Kind.REMOVED_BY_HAND),
        (replace(PAIR, record=None, is_gone=True), Kind.REMOVED_BY_HAND),
    ],
)
def test_an_event_is_removed_with_all_that_it_was_kept(both: Pair, kind: Kind) -> None:
    delta = only(looked(both, context=replace(CONTEXT, remove=Action.DELETE, can=frozenset())))
    assert (delta.action, delta.side, delta.kind) == (Action.CANCEL, Side.CALENDAR, kind)
    assert (delta.event, delta.crm_id, delta.version) == ("evt1", "17", '"e1"')
    assert delta.was == {name: AGREED[name] for name in WRITABLE}
    assert delta.fields == {"status": ("confirmed", "cancelled")}


def test_a_record_that_a_snapshot_merely_lacks_removes_nothing() -> None:
    for direction in Direction:
        assert looked(replace(PAIR, record=None), direction).deltas == ()


# ---- what is left to a person ---------------------------------------------------------------------------------------

ENDED = times(NOW - 5 * HOUR)
OVER = replace(SEEN, fields={**AGREED, **ENDED}, span=Span(NOW - 5 * HOUR, NOW - 4 * HOUR))
VIEWING = replace(PAIR, record=held({"title": "Viewing"}))
BARE = {name: AGREED[name] for name in ("agent", "start", "end", "all_day", "status")}
LEFT = Agent(email=ANN.email, state=AgentState.LEFT)

PEOPLE: dict[str, tuple[Pair, str]] = {
    "with guests": (replace(VIEWING, seen=replace(SEEN, guests=1)), "others have to do with it"),
    "of a series": (replace(VIEWING, seen=replace(SEEN, series="weekly")), "recurring"),
    "read only": (replace(VIEWING, calendar=replace(HOME, kind="ics")), "can only be read"),
    "with an outcome": (replace(PAIR, record=held({"title": "Viewing"}, replace(RECORD, closed=True))), "an outcome"),
    "another client": (replace(PAIR, record=held({"contact": ("amy@client.example",)})), "who attends"),
    "another owner": (replace(PAIR, record=held({"agent": "bob@acme.example"})), "whose it is"),
    "over": (
        replace(PAIR, seen=OVER, record=held({**ENDED, "title": "Viewing"}),
                link=replace(LINK, base={**AGREED, **ENDED}, base_crm={**AGREED, **ENDED})),
        "it has ended",
    ),
    "over and cancelled": (
        replace(PAIR, seen=OVER, record=replace(RECORD, presence=Presence.CANCELLED),
                link=replace(LINK, base={**AGREED, **ENDED}, base_crm={**AGREED, **ENDED})),
        "it has ended",
    ),
    "of who left": (replace(VIEWING, calendar=replace(HOME, agent=LEFT)), "this agent has left"),
    "homeless": (
        Pair(seen=None, calendar=None, record=held({"agent": "bob@acme.example"}), link=None),
        "none of this agent's calendars",
    ),
    "endless": (Pair(seen=None, calendar=None, record=held({"end": None}), link=None), "does not say when"),
    "new with an outcome": (
        Pair(seen=None, calendar=None, record=replace(RECORD, closed=True), link=None), "an outcome",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("both", "why"), PEOPLE.values(), ids=PEOPLE)
def test_what_is_not_the_agents_alone_is_left_to_a_person(both: Pair, why: str) -> None:
    found = looked(both)
    assert (found.bucket, found.deltas) == ("human", ())
    assert why in found.findings[0].why
    assert found.findings[0].remedy is Remedy.HUMAN


def test_an_all_day_event_of_a_crm_that_knows_no_days_is_not_made_one_of_hours() -> None:
    days = replace(SEEN, span=Span(START.date(), (START + DAY).date()))
    context = replace(CONTEXT, mapped=CONTEXT.mapped - {"all_day"})
    found = looked(replace(PAIR, seen=days, record=held(MOVED)), context=context)
    assert (found.deltas, found.bucket) == ((), "human")
    assert "knows no days" in found.findings[0].why


def test_what_may_not_go_to_the_calendar_does_not_keep_the_crm_from_its_part() -> None:
    calendar = replace(SEEN, fields={**AGREED, **MOVED}, guests=2)
    found = looked(replace(PAIR, seen=calendar, record=held({"title": "Viewing"})), BOTH)
    assert [(delta.side, sorted(delta.want)) for delta in found.deltas] == [(Side.CRM, ["all_day", "end", "start"])]
    assert found.bucket == "update"
    assert any("others have to do with it" in finding.why for finding in found.findings)
    assert {name for finding in found.findings for name in finding.fields} == {"start", "end", "title"}


def test_a_private_event_is_given_its_times_and_nothing_else() -> None:
    bare = replace(SEEN, private=True, fields=BARE)
    found = looked(replace(PAIR, seen=bare, record=held({**MOVED, "title": "Viewing", "status": "tentative"})))
    assert sorted(only(found).want) == ["all_day", "end", "start"]
    assert set(only(found).was) == {"all_day", "end", "start"}


def test_what_has_an_outcome_in_the_crm_moves_no_event_whoever_asks_for_it() -> None:
    verdict = Verdict(Situation.CRM_CHANGED, Step.UPDATE, to_calendar=("start", "end"))
    closed = held(MOVED, replace(RECORD, closed=True))
    found = outlook(replace(PAIR, record=closed), verdict, CONTEXT)
    assert (found.deltas, found.bucket) == ((), "human")
    assert "outcome" in found.findings[0].why


@pytest.mark.parametrize(
    ("both", "needed"),
    [
        (Pair(seen=None, calendar=None, record=RECORD, link=None), Action.CREATE),
        (VIEWING, Action.UPDATE),
        (replace(PAIR, record=replace(RECORD, presence=Presence.CANCELLED)), Action.CANCEL),
    ],
)
def test_policy_filters_what_is_written_to_calendars_and_the_crms_schema_does_not(both: Pair, needed: Action) -> None:
    assert only(looked(both, context=replace(CONTEXT, can=frozenset()))).outcome is Outcome.PLANNED
    found = looked(both, context=replace(CONTEXT, allow=ALL - {needed}))
    assert (found.bucket, only(found).outcome, found.findings[0].remedy) == ("held", Outcome.HELD, Remedy.HOLD)
    assert f'"{needed}"' in only(found).why


def test_a_crm_that_can_not_be_written_does_not_keep_a_calendar_from_its_part() -> None:
    both = replace(PAIR, seen=replace(SEEN, fields={**AGREED, **MOVED}), record=held({"title": "Viewing"}))
    found = looked(both, BOTH, replace(CONTEXT, can=frozenset()))
    assert [(delta.side, delta.outcome) for delta in found.deltas] == [
        (Side.CRM, Outcome.HELD),
        (Side.CALENDAR, Outcome.PLANNED),
    ]
    assert (found.bucket, found.findings[0].remedy) == ("update", Remedy.FIX)
