"""What one finding may be a sign of, and that a thousand spellings of one reason are one name."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from reconciler.model import Action, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report.recorded import Place, Taken, Tracked
from reconciler.report.signs import EMPTY, FRESH, NAME, Family, Sign, clue, origins, reason, shift_of, signs

SEEN = datetime(2026, 11, 20, 9, tzinfo=UTC)
PLACE = Place(source="google", kind="google", agent="ann@acme.example", name="primary")


def tracked(kind: Kind, *, taken: tuple[Taken, ...] = (), **values: Any) -> Tracked:
    finding = Finding(
        key="k",
        kind=kind,
        severity=Severity.HIGH,
        **{"remedy": Remedy.HUMAN, "why": "why", "agent": "ann@acme.example", **values},
    )
    return Tracked(finding=finding, first_seen=SEEN, last_seen=SEEN, sightings=1, taken=taken, place=PLACE)


def told(one: Tracked) -> list[tuple[Family, tuple[str, ...]]]:
    return [(sign.family, sign.name) for sign in signs(one)]


JUST = SEEN - timedelta(minutes=10)
AT = {"start": "2026-11-24T15:00:00Z", "end": "2026-11-24T16:00:00Z"}
EARLY = {"start": "2026-11-24T09:00:00Z", "end": "2026-11-24T10:00:00Z"}


def write(outcome: Outcome, why: str = "") -> Taken:
    return Taken(action=Action.CREATE, side=Side.CRM, outcome=outcome, why=why)


# ---- kinds ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        (Kind.COVERAGE_GAP, {"agent": None}, [(Family.CRM, ())]),
        (Kind.COVERAGE_GAP, {"clues": ("left",)}, [(Family.LEFT, ())]),
        (Kind.COVERAGE_GAP, {"clues": ("blind",)}, []),
        (Kind.TZ_SHIFT, {"clues": ("shift:-21600",)}, [(Family.SHIFT, ("-21600",))]),
        (Kind.TZ_SHIFT, {}, []),
        (Kind.DUPLICATE_IN_CRM, {"clues": ("origin:zapier",)}, [(Family.DOUBLED, ("zapier",))]),
        (Kind.MISSING_IN_CALENDAR, {"clues": ("copy", "origin:zapier")}, [(Family.DOUBLED, ("zapier",))]),
        (Kind.MISSING_IN_CALENDAR, {"clues": ("origin:zapier",)}, []),
        (Kind.REMOVED_BY_HAND, {}, [(Family.VANISHED, (SEEN.isoformat(),))]),
        (Kind.AMBIGUOUS, {"tier": Tier.NATURAL}, [(Family.CHURN, ("google", "ann@acme.example", "primary"))]),
        (Kind.AMBIGUOUS, {"tier": Tier.UID}, []),
        (
            Kind.MISSING_IN_CRM,
            {"clues": ("scheduler:calendly",), "changed": JUST},
            [(Family.SILENT, ("scheduler", "calendly"))],
        ),
        (Kind.MISSING_IN_CRM, {"changed": JUST}, [(Family.SILENT, ("source", "google"))]),
        (Kind.CONFLICT, {}, []),
        (Kind.FALSE_CANCEL, {"clues": ("origin:zapier",)}, [(Family.FIELD, ("status", "", "zapier"))]),
        (
            Kind.CONTACT_MISSING,
            {"fields": {"contact": ((), ("jo@client.example",))}},
            [(Family.FIELD, ("contact", EMPTY))],
        ),
        (Kind.FIELD_DRIFT, {"fields": {"title": ("a", "b")}}, [(Family.FIELD, ("title", ""))]),
    ],
)
def test_a_kind_tells_what_it_may_be_a_sign_of(
    kind: Kind, values: dict[str, Any], expected: list[tuple[Family, tuple[str, ...]]]
) -> None:
    assert told(tracked(kind, **values)) == expected


def test_a_booking_that_nobody_could_have_missed_at_once_tells_of_no_silence() -> None:
    assert told(tracked(Kind.MISSING_IN_CRM, changed=SEEN - FRESH - timedelta(seconds=1))) == []
    assert told(tracked(Kind.MISSING_IN_CRM, changed=None)) == []
    assert told(tracked(Kind.MISSING_IN_CRM, changed=JUST, clues=("baseline",))) == []


def test_a_cancel_may_be_one_of_many_of_its_agent_or_of_its_scheduler() -> None:
    cancel = tracked(Kind.CANCEL_NOT_PROPAGATED, clues=("scheduler:acuity",))
    assert told(cancel) == [(Family.REMOVED, ("ann@acme.example",)), (Family.SILENT, ("scheduler", "acuity"))]


def test_a_record_that_lost_its_event_may_be_of_a_calendar_with_new_ids() -> None:
    first = next(signs(tracked(Kind.ORPHAN_IN_CRM)))
    assert first == Sign(Family.CHURN, ("google", "ann@acme.example", "primary"), faint=True)


def test_one_record_that_is_off_by_whole_hours_is_a_faint_sign_of_a_shift() -> None:
    moved = tracked(Kind.RESCHEDULE_NOT_PROPAGATED, has={Side.CALENDAR: AT, Side.CRM: EARLY})
    assert list(signs(moved)) == [Sign(Family.SHIFT, ("-21600",), faint=True)]
    by_fields = tracked(
        Kind.RESCHEDULE_NOT_PROPAGATED, fields={name: (EARLY[name], AT[name]) for name in ("start", "end")}
    )
    assert list(signs(by_fields)) == [Sign(Family.SHIFT, ("-21600",), faint=True)]


def test_flapping_is_told_before_all_else() -> None:
    flapping = tracked(Kind.FIELD_DRIFT, fields={"title": ("a", "b")}, clues=("origin:zapier", "flapping"))
    assert told(flapping)[0] == (Family.FLAPPING, ("zapier",))


def test_what_stands_in_the_way_of_a_write_comes_last() -> None:
    failed = write(Outcome.FAILED, "the CRM refused it (row 17)")
    planned = write(Outcome.PLANNED)
    drift = tracked(Kind.FIELD_DRIFT, fields={"title": ("a", "b")}, taken=(failed, planned))
    assert told(drift)[1:] == [(Family.WRITES, ("crm", "the crm refused it")), (Family.REFUSED, ())]


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_can_be_asked(kind: Kind) -> None:
    assert all(isinstance(sign, Sign) for sign in signs(tracked(kind)))
    assert all(isinstance(sign, Sign) for sign in signs(replace(tracked(kind, agent=None), place=None)))


# ---- names ----------------------------------------------------------------------------------------------------------


def test_what_differs_each_time_is_no_part_of_a_reason() -> None:
    said = [
        "Google answered 401 (request 0a1b) at 09:14:00Z: no access to ann@acme.example.",
        'Google answered 401 (request ffff) at 23:00:00Z: no access to "bob"@acme.example',
        "Google answered 403 (x) at https://accounts.example/o?id=1: no access to cid@acme.example",
    ]
    assert {reason(one) for one in said} == {"google answered at no access to"}


@given(some.text())
def test_a_reason_is_short_and_inert_and_stays_what_it_is(said: str) -> None:
    once = reason(said)
    assert len(once) <= NAME
    assert once.isprintable()
    assert "@" not in once
    assert reason(once) == once


def test_a_reason_costs_little_however_it_is_spelled() -> None:
    assert reason("a" * 1_000_000 + "@") == reason("a" * 300)


def test_clues_are_read_by_their_kind_and_cut() -> None:
    finding = tracked(Kind.CONFLICT, clues=("origin:b", "origin:a", "origin:", "shift:900", "x" * 999)).finding
    assert (clue(finding, "shift"), clue(finding, "nothing")) == ("900", None)
    assert origins(finding) == ("a", "b")
    many = tracked(Kind.CONFLICT, clues=tuple(f"origin:{'n' * 500}{number}" for number in range(50))).finding
    assert len(origins(many)) == 1
    assert len(origins(many)[0]) == NAME


@pytest.mark.parametrize(
    "start", ["", "2026-11-24", "9999-12-31T23:59:59+14:00", "soon, very soon, I promise", "0001-01-01T00:00:00+14:00"]
)
def test_times_that_are_none_are_no_shift(start: str) -> None:
    odd = tracked(Kind.RESCHEDULE_NOT_PROPAGATED, has={Side.CALENDAR: AT, Side.CRM: {"start": start, "end": start}})
    assert shift_of(odd.finding) is None
