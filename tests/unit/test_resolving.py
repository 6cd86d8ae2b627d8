"""Whose word is taken: whatever stands on both sides, nobody's word is evidence, and none goes where a job does not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import decide, match, normalise, patterns
from reconciler.decide import Rules
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
from reconciler.resolving import OVERRULED, settled

COMPARE = ("start", "end", "agent", "title")
START = datetime(2026, 11, 24, 15, tzinfo=UTC)
HERE: dict[str, Value] = {
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "agent": "ann@acme.example",
    "title": "A",
}
HOLDS = [*sorted(OVERRULED), "unobserved", "organizer_unobserved", "quarantined"]


def fields() -> st.SearchStrategy[Fields]:
    hours = st.sampled_from(["15", "17"])
    agents = st.sampled_from(["ann@acme.example", "bob@acme.example"])
    return st.builds(
        lambda hour, agent, title: HERE | {"start": f"2026-11-24T{hour}:00:00Z", "agent": agent, "title": title},
        *(hours, agents, st.sampled_from("AB")),
    )


def seen_with(said: Fields, absence: Absence | None = None, *, declined: bool = False, stale: bool = False) -> Seen:
    return Seen(
        event="e1",
        span=Span(START, START + timedelta(hours=1)),
        digest=normalise.digest(said, COMPARE),
        keys=("e1",),
        relevance="client",
        fields=said,
        absence=absence,
        declined=declined,
        stale=stale,
    )


SEEN = st.builds(seen_with, fields(), st.none() | st.sampled_from(Absence), declined=st.booleans(), stale=st.booleans())
RECORDS = st.builds(
    Record,
    id=st.just("17"),
    fields=fields(),
    version=st.just("3"),
    presence=st.sampled_from(Presence),
    closed=st.booleans(),
    problem=st.none() | st.just("its times make no sense"),
)
LINK = Link("17", 1, "e1", "m", Tier.LINK, base=HERE, base_crm=HERE, version="3")
PAIRS = st.builds(
    Pair,
    seen=st.none() | SEEN,
    calendar=st.none(),
    record=st.none() | RECORDS,
    link=st.none() | st.just(LINK),
    holds=st.lists(st.sampled_from(HOLDS), max_size=2, unique=True).map(tuple),
)
RULES = st.builds(Rules, st.sampled_from(Direction), st.sampled_from(First), st.just(COMPARE))


def taken(pair: Pair, side: Side, rules: Rules) -> Verdict | None:
    verdict = settled(pair, side, rules)
    assert verdict if isinstance(verdict, str) else verdict.reason
    return None if isinstance(verdict, str) else verdict


@given(PAIRS, st.sampled_from(Side), RULES)
def test_nothing_is_removed_on_anybodys_word_alone(pair: Pair, side: Side, rules: Rules) -> None:
    verdict = taken(pair, side, rules)
    if verdict is None or verdict.step is not Step.REMOVE:
        return
    if verdict.side is Side.CRM:
        assert pair.seen is not None
        is_evidence = pair.seen.absence is not None and pair.seen.absence.is_evidence
        assert is_evidence or pair.seen.declined or pair.seen.stale
    else:
        assert pair.record is not None
        assert pair.record.presence is not Presence.LIVE


@given(PAIRS, st.sampled_from(Side), RULES)
def test_a_word_goes_only_to_the_other_side_and_only_where_the_job_goes(pair: Pair, side: Side, rules: Rules) -> None:
    verdict = taken(pair, side, rules)
    if verdict is None:
        return
    assert not (verdict.to_crm if side is Side.CRM else verdict.to_calendar)
    assert verdict.side is not side
    writes_calendar = bool(verdict.to_calendar) or verdict.side is Side.CALENDAR
    assert not (writes_calendar and rules.direction is Direction.CALENDAR_TO_CRM)
    assert verdict.conflicts == ()


@given(PAIRS, st.sampled_from(Side), RULES)
def test_what_can_not_be_judged_or_read_waits(pair: Pair, side: Side, rules: Rules) -> None:
    if set(pair.holds) - OVERRULED or (pair.record and pair.record.problem):
        assert taken(pair, side, rules) is None


@given(PAIRS, RULES)
def test_an_outcome_of_the_crms_own_is_never_overwritten(pair: Pair, rules: Rules) -> None:
    if pair.record and pair.record.closed and pair.record.presence is Presence.LIVE:
        verdict = taken(pair, Side.CALENDAR, rules)
        assert verdict is None or verdict.step is Step.REFRESH_BASE


@given(fields(), fields(), st.sampled_from(Side), RULES)
def test_of_two_that_live_all_that_differs_is_settled(ours: Fields, theirs: Fields, side: Side, rules: Rules) -> None:
    record = Record(id="17", fields=theirs, version="3")
    pair = Pair(seen=seen_with(ours), calendar=None, record=record, link=LINK)
    verdict = taken(pair, side, rules)
    assert verdict is not None
    differing = set(normalise.differing(ours, theirs, COMPARE))
    written = {*verdict.to_crm, *verdict.to_calendar, *verdict.foreign}
    assert written == differing or (written == set() and verdict.step is Step.REFRESH_BASE)
    assert (verdict.step is Step.REFRESH_BASE) == (not differing) or side is Side.CRM
    assert "agent" not in verdict.to_calendar


@pytest.mark.parametrize("hold", [decide.UNSETTLED, patterns.TZ_SHIFT, patterns.FLAPPING, match.AMBIGUOUS])
def test_who_decides_has_looked_at_what_waits_for_a_person(hold: str) -> None:
    record = Record(id="17", fields=HERE | {"title": "B"}, version="3")
    pair = Pair(seen=seen_with(HERE), calendar=None, record=record, link=LINK, holds=(hold,))
    rules = Rules(Direction.CALENDAR_TO_CRM, First.NEWER, COMPARE)
    verdict = taken(pair, Side.CALENDAR, rules)
    assert verdict is not None
    assert (verdict.situation, verdict.step, verdict.to_crm) == (Situation.CRM_CHANGED, Step.UPDATE, ("title",))
    again = taken(replace(pair, holds=()), Side.CALENDAR, rules)
    assert again == verdict
