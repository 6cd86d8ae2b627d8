"""Verdicts become findings and deltas: each named, in one bucket, nothing private, nothing that bites."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from reconciler import patterns
from reconciler.decide import UNSETTLED, Rules, decide
from reconciler.findings import Context, Outlook, finding_key, outlook, severity_at
from reconciler.model import (
    Absence,
    Action,
    Agent,
    AgentState,
    Calendar,
    Delta,
    Direction,
    Fields,
    Finding,
    First,
    Kind,
    Link,
    Outcome,
    Pair,
    Presence,
    Record,
    Remedy,
    Role,
    Seen,
    Severity,
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
COMPARE = ("agent", "all_day", "contact", "end", "location", "start", "status", "title")
MAPPED = frozenset(COMPARE) | {"id", "key", "participants"}
ALL = frozenset(Action)
CONTEXT = Context(now=NOW, allow=ALL, can=ALL, compare=COMPARE, mapped=MAPPED)
NONE: Fields = {}


def times(start: datetime, long: timedelta = HOUR) -> dict[str, Value]:
    return {"start": rfc3339(start), "end": rfc3339(start + long), "all_day": False}


AGREED: dict[str, Value] = {
    "agent": "ann@acme.example",
    **times(NOW + 2 * DAY),
    "status": "confirmed",
    "title": "Showing",
    "location": "12 Oak Lane",
    "contact": ("zoe@client.example",),
}
WHOLE_DAY: dict[str, Value] = {"start": "2026-11-24", "end": "2026-11-25", "all_day": True}


def seen(
    also: Fields = NONE,
    *,
    absence: Absence | None = None,
    private: bool = False,
    stale: bool = False,
    keys: tuple[str, ...] = ("uid1",),
    modified: datetime | None = NOW,
) -> Seen:
    return Seen(
        event="evt1",
        span=Span(NOW, NOW + HOUR),
        digest=b"\x01",
        meeting="m1",
        keys=keys,
        relevance="client",
        fields={**AGREED, **also},
        modified=modified,
        absence=absence,
        private=private,
        stale=stale,
    )


def record(
    also: Fields = NONE,
    *,
    presence: Presence = Presence.LIVE,
    updated: datetime | None = NOW - DAY,
    problem: str | None = None,
    key: str | None = "uid1",
) -> Record:
    fields = {**AGREED, **also}
    return Record(id="17", fields=fields, version="3", key=key, presence=presence, updated=updated, problem=problem)


LINK = Link("17", 1, "evt1", "m1", Tier.KEY, AGREED, AGREED)


def pair(
    calendar: Seen | None,
    crm: Record | None,
    link: Link | None = LINK,
    *,
    agent: Agent = ANN,
    holds: tuple[str, ...] = (),
    candidates: tuple[str, ...] = (),
    tier: Tier | None = Tier.LINK,
) -> Pair:
    where = Calendar(source="google", kind="google", agent=agent) if calendar else None
    return Pair(
        seen=calendar,
        calendar=where,
        calendar_id=1,
        record=crm,
        link=link,
        tier=tier,
        holds=holds,
        candidates=candidates,
    )


def looked(
    both: Pair, context: Context = CONTEXT, direction: Direction = Direction.CALENDAR_TO_CRM, first: First = First.NEWER
) -> Outlook:
    return outlook(both, decide(both, Rules(direction, first, COMPARE)), context)


def only(found: Outlook) -> Finding:
    [finding] = found.findings
    return finding


def written(found: Outlook) -> Delta:
    assert found.delta is not None
    return found.delta


# ---- kinds ----------------------------------------------------------------------------------------------------------

MOVED = times(NOW + 3 * DAY)
Case = tuple[Pair, str, Kind, Severity, Remedy]
HIGH, MEDIUM, LOW, INFO = Severity.HIGH, Severity.MEDIUM, Severity.LOW, Severity.INFO
FIX, HUMAN, HOLD = Remedy.FIX, Remedy.HUMAN, Remedy.HOLD
CASES: dict[str, Case] = {
    "new in the calendar": (pair(seen(), None, None), "create", Kind.MISSING_IN_CRM, HIGH, FIX),
    "moved in the calendar": (pair(seen(MOVED), record()), "update", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, FIX),
    "moved in the CRM": (pair(seen(), record(MOVED)), "human", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, HUMAN),
    "another owner": (
        pair(seen({"agent": "bob@acme.example"}), record(), agent=Agent(email="bob@acme.example")),
        "update", Kind.WRONG_OWNER, MEDIUM, FIX,
    ),
    "another client": (
        pair(seen({"contact": ("amy@client.example",)}), record()),
        "update", Kind.WRONG_CONTACT, MEDIUM, FIX,
    ),
    "no client": (
        pair(seen(), record({"contact": None}), replace(LINK, base=None, base_crm=None)),
        "update", Kind.CONTACT_MISSING, MEDIUM, FIX,
    ),
    "another title": (pair(seen({"title": "Visit"}), record()), "update", Kind.FIELD_DRIFT, INFO, FIX),
    "another title in the CRM": (pair(seen(), record({"title": "Call"})), "human", Kind.FIELD_DRIFT, INFO, HUMAN),
    "cancelled": (
        pair(seen(absence=Absence.CANCELLED), record()), "cancel", Kind.CANCEL_NOT_PROPAGATED, HIGH, FIX,
    ),
    "excluded": (
        pair(seen(absence=Absence.EXCLUDED), record()), "cancel", Kind.CANCEL_NOT_PROPAGATED, HIGH, FIX,
    ),
    "gone": (pair(seen(absence=Absence.GONE), record()), "cancel", Kind.ORPHAN_IN_CRM, HIGH, FIX),
    "unseen": (pair(seen(absence=Absence.UNSEEN), record()), "human", Kind.ORPHAN_IN_CRM, HIGH, HUMAN),
    "linked and not known any more": (pair(None, record()), "human", Kind.ORPHAN_IN_CRM, HIGH, HUMAN),
    "stale": (
        pair(seen(absence=Absence.UNSEEN, stale=True), record()), "human", Kind.STALE_SERIES, MEDIUM, HUMAN,
    ),
    "removed by hand": (pair(seen(), None), "human", Kind.REMOVED_BY_HAND, MEDIUM, HUMAN),
    "only in the CRM": (pair(None, record(), None), "human", Kind.MISSING_IN_CALENDAR, MEDIUM, HUMAN),
    "cancelled by a person": (
        pair(seen(), record(presence=Presence.CANCELLED)), "human", Kind.FALSE_CANCEL, HIGH, HUMAN,
    ),
    "cancelled by us and back": (
        pair(seen(), record(presence=Presence.CANCELLED), replace(LINK, cancelled_by_us=True)),
        "update", Kind.FALSE_CANCEL, HIGH, FIX,
    ),
    "both changed": (
        pair(seen({"title": "Visit"}), record({"title": "Call"})), "conflict", Kind.CONFLICT, MEDIUM, HUMAN,
    ),
    "removed there, edited here": (
        pair(seen(absence=Absence.CANCELLED), record({"title": "Call"})),
        "conflict", Kind.CONFLICT, MEDIUM, HUMAN,
    ),
    "a day off": (
        pair(seen(WHOLE_DAY), record({**WHOLE_DAY, "end": "2026-11-26"}), None),
        "update", Kind.ALL_DAY_OFF_BY_ONE, LOW, FIX,
    ),
    "two days off": (
        pair(seen(WHOLE_DAY), record({**WHOLE_DAY, "end": "2026-11-27"}), None),
        "update", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, FIX,
    ),
    "a day became an hour": (
        pair(seen(WHOLE_DAY), record(), None), "update", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, FIX,
    ),
    "ambiguous": (
        pair(seen(), None, None, holds=("ambiguous",), candidates=("17", "18")),
        "human", Kind.AMBIGUOUS, MEDIUM, HUMAN,
    ),
    "an entry that can't be read": (
        pair(seen(), record(), holds=("quarantined",)), "human", Kind.QUARANTINED, MEDIUM, HUMAN,
    ),
    "a record that can't be read": (
        pair(seen(MOVED), record(problem="its end is empty")), "human", Kind.QUARANTINED, MEDIUM, HUMAN,
    ),
    "flapping": (
        pair(seen(MOVED), record(), holds=(patterns.FLAPPING,)),
        "human", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, HUMAN,
    ),
    "new in a cut series": (
        pair(seen(), None, None, holds=(patterns.STALE_SERIES,)), "human", Kind.STALE_SERIES, MEDIUM, HUMAN,
    ),
    "outside the window now": (
        pair(seen(absence=Absence.LEFT_WINDOW), record(MOVED)),
        "human", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, HUMAN,
    ),
    "young and new": (pair(seen(), None, None, holds=(UNSETTLED,)), "held", Kind.MISSING_IN_CRM, HIGH, HOLD),
    "young and moved": (
        pair(seen(MOVED), record(), holds=(UNSETTLED,)), "held", Kind.RESCHEDULE_NOT_PROPAGATED, HIGH, HOLD,
    ),
    "young and renamed": (
        pair(seen({"title": "Visit"}), record(), holds=(UNSETTLED,)), "held", Kind.FIELD_DRIFT, INFO, HOLD,
    ),
    "young and cancelled": (
        pair(seen(absence=Absence.CANCELLED), record(), holds=(UNSETTLED,)),
        "held", Kind.CANCEL_NOT_PROPAGATED, HIGH, HOLD,
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_each_situation_has_its_kind_severity_remedy_and_bucket(case: str) -> None:
    both, bucket, kind, severity, remedy = CASES[case]
    found = looked(both)
    finding = only(found)
    assert (found.bucket, finding.kind, finding.severity, finding.remedy) == (bucket, kind, severity, remedy)
    assert finding.why.endswith(".")
    assert finding.why[0].isupper()
    place = both.calendar
    ambiguous = f"{place.source}:{place.agent.email}:{place.name}:evt1" if place else ""
    assert finding.key == finding_key(kind, ambiguous if kind is Kind.AMBIGUOUS else "uid1")
    assert (found.delta is not None) == (remedy is Remedy.FIX)


QUIET = [
    pair(seen(), record()),
    pair(seen(absence=Absence.CANCELLED), record(presence=Presence.CANCELLED)),
    pair(seen(absence=Absence.UNSEEN), record(presence=Presence.CANCELLED)),
    pair(seen(absence=Absence.CANCELLED), None),
    pair(None, record(presence=Presence.CANCELLED), None),
]


@pytest.mark.parametrize("both", QUIET)
def test_what_agrees_says_nothing(both: Pair) -> None:
    assert looked(both) == Outlook("in_sync")


@pytest.mark.parametrize("hold", ["unobserved", "organizer_unobserved", patterns.TZ_SHIFT])
def test_what_is_held_with_many_others_is_said_once_elsewhere(hold: str) -> None:
    assert looked(pair(seen(MOVED), record(), holds=(hold,))) == Outlook("held")


def test_an_unseen_appointment_that_is_over_is_held_without_a_word() -> None:
    over = times(NOW - DAY)
    assert looked(pair(seen(over, absence=Absence.UNSEEN), record(over))) == Outlook("held")


# ---- urgency --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start", "severity"),
    [
        (NOW, Severity.CRITICAL),
        (NOW + 2 * HOUR, Severity.CRITICAL),
        (NOW + 2 * HOUR + timedelta(seconds=1), Severity.HIGH),
        (NOW - timedelta(seconds=1), Severity.HIGH),
    ],
)
def test_what_starts_within_two_hours_is_critical(start: datetime, severity: Severity) -> None:
    assert severity_at(Kind.MISSING_IN_CRM, rfc3339(start), NOW) is severity
    found = looked(pair(seen(times(start)), None, None))
    assert (only(found).severity, written(found).severity, found.bucket) == (severity, severity, "create")


def test_a_move_away_from_soon_is_as_urgent_as_a_move_to_soon() -> None:
    soon = times(NOW + HOUR)
    assert only(looked(pair(seen(soon), record()))).severity is Severity.CRITICAL
    away = pair(seen(MOVED), record(soon), replace(LINK, base={**AGREED, **soon}, base_crm={**AGREED, **soon}))
    assert only(looked(away)).severity is Severity.CRITICAL


def test_a_title_or_a_whole_day_wakes_nobody() -> None:
    soon = times(NOW + HOUR)
    base = replace(LINK, base={**AGREED, **soon}, base_crm={**AGREED, **soon})
    assert only(looked(pair(seen({**soon, "title": "Visit"}), record(soon), base))).severity is Severity.INFO
    assert only(looked(pair(seen({**WHOLE_DAY, "start": "2026-11-22"}), None, None))).severity is Severity.HIGH


def test_what_may_still_settle_wakes_nobody() -> None:
    assert only(looked(pair(seen(times(NOW + HOUR)), None, None, holds=(UNSETTLED,)))).severity is Severity.HIGH


PAST = times(NOW - 2 * HOUR)
OLD_LINK = replace(LINK, base={**AGREED, **PAST}, base_crm={**AGREED, **PAST})
OVER = {
    "create": pair(seen(PAST), None, None),
    "update": pair(seen({**PAST, "title": "Visit"}), record(PAST), OLD_LINK),
    "cancel": pair(seen(PAST, absence=Absence.CANCELLED), record(PAST), OLD_LINK),
    "cancel of what only the calendar moved on": pair(seen(MOVED, absence=Absence.CANCELLED), record(PAST), OLD_LINK),
    "reopen": pair(seen(PAST), record(PAST, presence=Presence.CANCELLED), replace(OLD_LINK, cancelled_by_us=True)),
    "just now": pair(seen(times(NOW - HOUR)), None, None),
    "a whole day": pair(seen({"start": "2026-11-20", "end": "2026-11-21", "all_day": True}), None, None),
}


@pytest.mark.parametrize("case", OVER)
def test_what_has_ended_is_reported_and_never_written(case: str) -> None:
    found = looked(OVER[case])
    assert (found.bucket, found.delta, only(found).remedy) == ("human", None, Remedy.HUMAN)
    assert "ended" in only(found).why


@pytest.mark.parametrize(
    "both",
    [
        pair(seen(times(NOW - HOUR + timedelta(seconds=1))), None, None),  # still running
        pair(seen({"start": "2026-11-22", "end": "2026-11-23", "all_day": True}), None, None),  # not over everywhere
        pair(seen(MOVED), record(PAST), OLD_LINK),  # moved into the future
        pair(seen(times(NOW - DAY), absence=Absence.CANCELLED), record(), LINK),  # the record is still to come
    ],
)
def test_what_has_not_ended_for_both_is_still_written(both: Pair) -> None:
    assert looked(both).delta is not None


# ---- policy ---------------------------------------------------------------------------------------------------------

WRITES = {
    Action.CREATE: pair(seen(), None, None),
    Action.UPDATE: pair(seen(MOVED), record()),
    Action.CANCEL: pair(seen(absence=Absence.CANCELLED), record()),
}


def allowing(*actions: Action, can: Iterable[Action] = ALL, remove: Action = Action.CANCEL) -> Context:
    return replace(CONTEXT, allow=frozenset(actions), can=frozenset(can), remove=remove)


@pytest.mark.parametrize("action", WRITES)
def test_what_the_policy_does_not_allow_is_held_and_says_so(action: Action) -> None:
    found = looked(WRITES[action], allowing(*(ALL - {action})))
    assert found.bucket == "held"
    assert written(found).action is action
    assert written(found).outcome is Outcome.HELD
    assert f'does not include "{action}"' in written(found).why
    assert only(found).remedy is Remedy.HOLD
    assert f'does not include "{action}"' in only(found).why


@pytest.mark.parametrize("action", [Action.CREATE, Action.UPDATE])
def test_what_the_crm_cannot_do_is_held_and_says_so(action: Action) -> None:
    found = looked(WRITES[action], allowing(*ALL, can=ALL - {action}))
    assert (found.bucket, written(found).outcome) == ("held", Outcome.HELD)
    assert "this CRM" in only(found).why


@pytest.mark.parametrize(
    ("context", "action", "outcome"),
    [
        (allowing(Action.CANCEL), Action.CANCEL, Outcome.PLANNED),
        (allowing(Action.CANCEL, Action.DELETE), Action.CANCEL, Outcome.PLANNED),
        (allowing(Action.DELETE), Action.CANCEL, Outcome.HELD),
        (allowing(Action.DELETE, can=ALL - {Action.CANCEL}), Action.DELETE, Outcome.PLANNED),
        (allowing(Action.CANCEL, can=ALL - {Action.CANCEL}), Action.DELETE, Outcome.HELD),
        (allowing(Action.DELETE, remove=Action.DELETE), Action.DELETE, Outcome.PLANNED),
        (allowing(Action.CANCEL, remove=Action.DELETE), Action.DELETE, Outcome.HELD),
    ],
)
def test_to_remove_is_to_cancel_unless_the_job_or_the_crm_says_delete(
    context: Context, action: Action, outcome: Outcome
) -> None:
    found = looked(WRITES[Action.CANCEL], context)
    assert (written(found).action, written(found).outcome) == (action, outcome)


def test_without_cancel_nobody_reopens_what_we_cancelled() -> None:
    back = pair(seen(), record(presence=Presence.CANCELLED), replace(LINK, cancelled_by_us=True))
    assert looked(back).bucket == "update"
    assert looked(back, allowing(Action.UPDATE)).bucket == "held"


@pytest.mark.parametrize("both", WRITES.values())
def test_an_agent_who_left_is_frozen_and_reported(both: Pair) -> None:
    gone = replace(ANN, state=AgentState.LEFT)
    found = looked(replace(both, calendar=Calendar(source="google", kind="google", agent=gone)))
    assert (found.bucket, found.delta, only(found).remedy) == ("human", None, Remedy.HUMAN)
    assert "left" in only(found).why


@pytest.mark.parametrize("role", [Role.ASSISTANT, Role.TEAM, Role.ROOM])
def test_an_owner_who_can_own_nothing_is_left_to_a_person_and_the_rest_goes_on(role: Role) -> None:
    desk = Agent(email="desk@acme.example", role=role)
    alone = looked(pair(seen({"agent": desk.email}), record(), agent=desk))
    assert (alone.bucket, alone.delta, only(alone).kind) == ("human", None, Kind.WRONG_OWNER)
    moved = looked(pair(seen({"agent": desk.email, **MOVED}), record(), agent=desk))
    assert set(written(moved).want) == {"start", "end", "all_day"}
    assert {(finding.kind, finding.remedy) for finding in moved.findings} == {
        (Kind.RESCHEDULE_NOT_PROPAGATED, Remedy.FIX),
        (Kind.WRONG_OWNER, Remedy.HUMAN),
    }


@pytest.mark.parametrize(
    ("both", "direction"),
    [
        (pair(None, record(), None), Direction.CRM_TO_CALENDAR),
        (pair(seen(), record(MOVED)), Direction.TWO_WAY),
        (pair(seen(), record(presence=Presence.CANCELLED)), Direction.CRM_TO_CALENDAR),
        (pair(seen(), record(presence=Presence.ABSENT)), Direction.TWO_WAY),
    ],
)
def test_a_calendar_that_can_only_be_read_is_left_to_a_person(both: Pair, direction: Direction) -> None:
    found = looked(both, direction=direction)
    assert (found.bucket, found.delta) == ("human", None)
    assert only(found).why.endswith(("calendar can only be read.", "none of this agent's calendars can be written."))


# ---- deltas ---------------------------------------------------------------------------------------------------------


def test_a_create_carries_what_the_crm_has_columns_for() -> None:
    found = written(
        looked(pair(seen({"participants": ()}), None, None), replace(CONTEXT, mapped=frozenset({"start", "title"})))
    )
    assert found.want == {"agent": "ann@acme.example", "start": AGREED["start"], "title": "Showing"}
    assert found.fields == {name: (None, value) for name, value in found.want.items()}
    assert (found.crm_id, found.version, found.key, found.event, found.meeting) == (None, None, "uid1", "evt1", "m1")


def test_an_update_writes_whole_times_and_shows_what_changes() -> None:
    longer = {"end": rfc3339(NOW + 2 * DAY + 3 * HOUR)}
    found = written(looked(pair(seen(longer), record())))
    assert found.want == {"start": AGREED["start"], "end": longer["end"], "all_day": False}
    assert found.fields == {"end": (AGREED["end"], longer["end"])}
    assert (found.crm_id, found.version, found.seen_digest, found.calendar_id) == ("17", "3", b"\x01", 1)
    assert found.finding == finding_key(found.kind, "uid1")


def test_a_cancel_wants_nothing_and_shows_the_status() -> None:
    found = written(looked(WRITES[Action.CANCEL]))
    assert (found.want, found.fields) == ({}, {"status": ("confirmed", "cancelled")})
    assert (found.crm_id, found.version, found.side) == ("17", "3", Side.CRM)
    deleted = written(looked(WRITES[Action.CANCEL], allowing(Action.DELETE, remove=Action.DELETE)))
    assert deleted.fields == {"status": ("confirmed", None)}


def test_reopening_shows_the_status_and_what_moved() -> None:
    back = pair(seen(MOVED), record(presence=Presence.CANCELLED), replace(LINK, cancelled_by_us=True))
    assert written(looked(back)).fields == {
        "status": ("cancelled", "confirmed"),
        "start": (AGREED["start"], MOVED["start"]),
        "end": (AGREED["end"], MOVED["end"]),
    }


def test_a_conflict_beside_an_update_is_two_findings_and_one_delta() -> None:
    found = looked(pair(seen({**MOVED, "title": "Visit"}), record({"title": "Call"})))
    assert found.bucket == "update"
    assert {finding.kind: tuple(finding.fields) for finding in found.findings} == {
        Kind.RESCHEDULE_NOT_PROPAGATED: ("end", "start"),
        Kind.CONFLICT: ("title",),
    }
    assert "title" not in written(found).want


def test_what_has_one_kind_is_one_finding_with_all_its_fields() -> None:
    found = looked(pair(seen({"title": "Visit"}), record({"location": "3 Elm Street"})))
    finding = only(found)
    assert finding.fields == {"title": ("Showing", "Visit"), "location": ("3 Elm Street", "12 Oak Lane")}
    assert (finding.kind, finding.remedy) == (Kind.FIELD_DRIFT, Remedy.HUMAN)
    assert "changed in the calendar" in finding.why
    assert "changed in the CRM" in finding.why


def test_changes_read_before_and_after() -> None:
    assert only(looked(pair(seen(MOVED), record()))).fields["start"] == (AGREED["start"], MOVED["start"])


# ---- privacy and hostile text ---------------------------------------------------------------------------------------

BARE = {name: AGREED[name] for name in ("agent", "start", "end", "all_day", "status")}


def test_a_private_event_is_never_copied() -> None:
    private = replace(seen(private=True), fields=BARE)
    found = looked(pair(private, None, None))
    assert (found.bucket, found.delta, only(found).remedy) == ("human", None, Remedy.HUMAN)
    assert "private" in only(found).why


def test_of_a_private_event_only_its_time_is_updated() -> None:
    private = replace(seen(private=True), fields={**BARE, **MOVED})
    found = looked(pair(private, record(), replace(LINK, base=BARE)))
    assert set(written(found).want) == {"start", "end", "all_day"}
    assert set(only(found).fields) == {"start", "end"}


HOSTILE = "\x1b[2J\u202e=cmd()\u200b" + "x" * 100_000


def test_what_the_crm_says_is_shown_inert_and_bounded() -> None:
    crowd = tuple(f"{number}\x00@client.example" for number in range(5000))
    for both in (
        pair(seen(), record({"title": HOSTILE, "contact": crowd})),
        pair(seen({"title": "Visit"}), record({"title": HOSTILE})),
        pair(seen({"title": "Visit", "location": "y"}), record({"title": HOSTILE}), None),
        pair(seen(), record(problem=HOSTILE)),
        pair(seen(), None, None, holds=("ambiguous",), candidates=(HOSTILE, *map(str, range(10_000)))),
        pair(seen(MOVED), record(), holds=(HOSTILE,)),
    ):
        found = looked(both)
        shown = repr([(finding.why, finding.fields) for finding in found.findings]) + repr(
            found.delta and found.delta.fields
        )
        assert len(shown) < 5000
        assert not {"\x1b", "\u202e", "\u200b", "\x00"} & set("".join(finding.why for finding in found.findings))
        assert "\\x1b" not in shown
        assert "\\u202e" not in shown


def test_a_findings_key_stays_the_same_and_differs_by_kind_and_subject() -> None:
    assert finding_key(Kind.CONFLICT, "uid1") == finding_key(Kind.CONFLICT, "uid1")
    assert len({finding_key(kind, key) for kind in Kind for key in ("a", "b", "\ud800")}) == len(Kind) * 3
    before = only(looked(pair(seen(MOVED), record())))
    after = only(looked(pair(seen({**MOVED, "start": rfc3339(NOW + 2 * DAY + HOUR)}), record())))
    assert before.key == after.key


@pytest.mark.parametrize(
    ("both", "subject"),
    [
        (pair(None, record(), None), "uid1"),
        (pair(None, record(key=None), None), "crm:17"),
        (pair(seen(keys=()), None, None, holds=("unsettled",)), "evt1"),
        (pair(None, record(key=None)), "crm:17"),
    ],
)
def test_a_finding_is_about_the_key_or_else_the_record(both: Pair, subject: str) -> None:
    finding = only(looked(both))
    assert finding.key == finding_key(finding.kind, subject)


def test_a_record_with_a_monstrous_id_does_not_hide_what_is_to_be_done() -> None:
    suggested = pair(seen(), None, None, holds=("ambiguous",), candidates=(HOSTILE,), tier=Tier.NATURAL)
    assert "reconcile link --suggested" in only(looked(suggested)).why


def test_a_suggested_record_is_named_when_there_is_one() -> None:
    suggested = pair(seen(), None, None, holds=("ambiguous",), candidates=("9",), tier=Tier.NATURAL)
    finding = only(looked(suggested))
    assert (finding.crm_id, finding.tier) == ("9", Tier.NATURAL)
    assert "reconcile link --suggested" in finding.why
    assert only(looked(replace(suggested, candidates=("9", "10")))).crm_id is None


def test_every_step_has_a_bucket() -> None:
    buckets = {"in_sync", "create", "update", "cancel", "delete", "held", "human", "conflict"}
    for step in Step:
        for situation in Situation:
            for both in (pair(seen(), record()), pair(None, None, None), pair(seen(), None), pair(None, record())):
                assert outlook(both, Verdict(situation, step, to_crm=("start",)), CONTEXT).bucket in buckets
