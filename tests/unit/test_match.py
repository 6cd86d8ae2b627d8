"""Which event belongs to which record, and which copy speaks: never a guess, and nothing for strangers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.match import (
    AMBIGUOUS,
    Candidates,
    Copy,
    contest,
    elect,
    goes_on,
    inherit,
    is_left_behind,
    is_natural,
    match,
)
from reconciler.model import Absence, Agent, Calendar, Link, Pair, Presence, Record, Role, Seen, Span, Tier, Value

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
ANN, BOB, CID = "ann@acme.example", "bob@acme.example", "cid@acme.example"
ZOE = "zoe@client.example"
START = "2026-11-24T12:00:00Z"


def seen(
    *, keys: tuple[str, ...] = ("uid1",), absence: Absence | None = None, organizer: str | None = ANN,
    declined: bool = False, event: str = "evt1", **fields: Value,
) -> Seen:  # fmt: skip
    return Seen(
        event=event,
        span=Span(NOON, NOON + timedelta(hours=1)),
        digest=b"",
        meeting="m",
        keys=keys,
        relevance="client",
        fields={"agent": ANN, "start": START, "contact": (ZOE,), **fields},
        organizer=organizer,
        declined=declined,
        absence=absence,
    )


def record(
    crm_id: str = "17", *, key: str | None = "uid1", presence: Presence = Presence.LIVE, **fields: Value
) -> Record:
    said = {"agent": ANN, "start": START, "contact": (ZOE,), **fields}
    return Record(id=crm_id, fields=said, version="1", key=key, presence=presence)


def alone(calendar: Seen | None = None) -> Pair:
    return Pair(seen=calendar or seen(), calendar=None, record=None, link=None)


# ---- by key ---------------------------------------------------------------------------------------------------------


def test_an_exact_key_of_the_same_agent_adopts_the_record() -> None:
    pair = match(alone(), Candidates([record()]))
    assert (pair.record, pair.tier, pair.holds) == (record(), Tier.KEY, ())


def test_a_weaker_key_adopts_too_and_says_so() -> None:
    pair = match(alone(seen(keys=("calendly:1", "uid1"))), Candidates([record()]))
    assert (pair.record, pair.tier) == (record(), Tier.UID)


@pytest.mark.parametrize("agent", [BOB, "somebody@else.example", None])
def test_the_key_of_another_agents_record_gains_nothing(agent: str | None) -> None:
    pair = match(alone(), Candidates([record(agent=agent)]))
    assert (pair.record, pair.holds, pair.candidates) == (None, (AMBIGUOUS,), ("17",))


def test_a_record_that_another_event_follows_is_not_given_away() -> None:
    pair = match(alone(), Candidates([record()], spoken_for=frozenset({"17"})))
    assert (pair.record, pair.holds) == (None, (AMBIGUOUS,))


def test_two_records_under_one_key_are_ambiguous_in_any_order() -> None:
    two = [record("18"), record("17")]
    for order in permutations(two):
        pair = match(alone(), Candidates(order))
        assert (pair.record, pair.holds, pair.candidates) == (None, (AMBIGUOUS,), ("17", "18"))


def test_one_record_found_by_two_spellings_is_one_candidate() -> None:
    assert match(alone(), Candidates([record(), record()])).record == record()


@pytest.mark.parametrize(
    ("keys", "key", "start", "adopted"),
    [
        (("u/20261124T120000Z", "u"), "u", START, True),  # the single event became a series
        (("u/20261124T120000Z", "u"), "u", "2026-11-17T12:00:00Z", False),  # an earlier occurrence was another one
        (("u", "u/20261124T120000Z"), "u/20261124T120000Z", START, True),  # and back
        (("u/20261124T120000Z", "u"), "u/20261124T120000Z", "2026-11-25T12:00:00Z", True),  # its own key, moved
        (("calendly:1", "u/20261124T120000Z", "u"), "u/20261124T120000Z", "2026-11-25T12:00:00Z", True),
        (("calendly:1", "uid1"), "uid1", "2026-11-25T12:00:00Z", True),
    ],
)
def test_the_spelling_of_a_series_leads_to_an_occurrence_only_at_the_same_start(
    keys: tuple[str, ...], key: str, start: str, *, adopted: bool
) -> None:
    pair = match(alone(seen(keys=keys)), Candidates([record(key=key, start=start)]))
    assert (pair.record is not None) == adopted
    assert pair.holds == ()


def test_a_cancelled_record_under_the_key_is_adopted_rather_than_made_anew() -> None:
    cancelled = record(presence=Presence.CANCELLED)
    assert match(alone(), Candidates([cancelled])).record == cancelled


# ---- by nature ------------------------------------------------------------------------------------------------------


def test_the_natural_key_only_suggests_and_prevents_a_create() -> None:
    pair = match(alone(), Candidates(natural=[record("9", key=None)]))
    assert (pair.record, pair.tier, pair.holds, pair.candidates) == (None, Tier.NATURAL, (AMBIGUOUS,), ("9",))


def test_an_event_without_any_candidate_is_new() -> None:
    assert match(alone(), Candidates()) == alone()
    assert match(alone(), Candidates(natural=[record("9", agent=BOB)])) == alone()


@pytest.mark.parametrize(
    ("start", "natural"),
    [
        ("2026-11-24T12:05:00Z", True),
        ("2026-11-24T11:55:00Z", True),
        ("2026-11-24T12:05:01Z", False),
        ("2026-11-24T11:54:59Z", False),
        ("2026-11-25T12:00:00Z", False),
        ("2026-11-24", False),
        (None, False),
    ],
)
def test_a_natural_match_starts_within_five_minutes(start: str | None, *, natural: bool) -> None:
    assert is_natural(seen(), record(start=start)) is natural


def test_whole_days_match_by_nature_on_the_same_day() -> None:
    assert is_natural(seen(start="2026-11-24"), record(start="2026-11-24"))
    assert not is_natural(seen(start="2026-11-24"), record(start="2026-11-25"))


def test_a_natural_match_is_alive_of_the_same_agent_and_shares_a_client() -> None:
    assert is_natural(seen(contact=(ZOE, "amy@client.example")), record())
    assert not is_natural(seen(), record(agent=BOB))
    assert not is_natural(seen(), record(contact=("amy@client.example",)))
    assert not is_natural(seen(), record(contact=None))
    assert not is_natural(seen(contact=()), record(contact=()))
    assert not is_natural(seen(), record(presence=Presence.CANCELLED))


# ---- copies of a meeting --------------------------------------------------------------------------------------------


def copy(agent: str, calendar: int, *, linked: bool = False, calendar_side: Seen | None = None) -> Copy:
    return Copy(calendar, agent, calendar_side or seen(organizer="zoe@client.example"), linked=linked)


OUTSIDE = "zoe@client.example"
ELECTIONS = {
    "the organizer's": (
        [copy(BOB, 2, linked=True, calendar_side=seen(organizer=CID)), copy(CID, 3, calendar_side=seen(organizer=CID))],
        CID,
    ),
    "the linked one, of an outside organizer": ([copy(ANN, 1), copy(BOB, 2, linked=True)], BOB),
    "the first by address": ([copy(CID, 1), copy(BOB, 2), copy(ANN, 3)], ANN),
    "the first who accepts": (
        [copy(ANN, 1, calendar_side=seen(organizer=OUTSIDE, declined=True)), copy(BOB, 2)],
        BOB,
    ),
    "who accepts before the linked one who declined": (
        [copy(ANN, 1, linked=True, calendar_side=seen(organizer=OUTSIDE, declined=True)), copy(BOB, 2)],
        BOB,
    ),
    "alive before the organizer's that is gone": (
        [copy(ANN, 1, calendar_side=seen(absence=Absence.CANCELLED)), copy(BOB, 2, calendar_side=seen())],
        BOB,
    ),
    "the organizer's word before another's evidence": (
        [
            copy(ANN, 1, calendar_side=seen(absence=Absence.UNSEEN)),
            copy(BOB, 2, calendar_side=seen(absence=Absence.GONE)),
        ],
        ANN,
    ),
    "evidence before what is merely unseen": (
        [
            copy(ANN, 1, calendar_side=seen(organizer=OUTSIDE, absence=Absence.UNSEEN)),
            copy(BOB, 2, calendar_side=seen(organizer=OUTSIDE, absence=Absence.CANCELLED)),
        ],
        BOB,
    ),
}


@pytest.mark.parametrize("case", ELECTIONS)
def test_one_copy_speaks_for_a_meeting_whatever_the_order(case: str) -> None:
    copies, agent = ELECTIONS[case]
    assert {elect(order).agent for order in permutations(copies)} == {agent}


@given(
    st.lists(
        st.builds(
            Copy,
            st.integers(1, 2),
            st.sampled_from([ANN, BOB]),
            st.builds(
                seen,
                event=st.sampled_from(["a", "b"]),
                organizer=st.sampled_from([ANN, OUTSIDE, None]),
                absence=st.sampled_from([None, *Absence]),
                declined=st.booleans(),
            ),
            linked=st.booleans(),
        ),
        min_size=1,
        max_size=5,
        unique_by=lambda one: (one.calendar, one.seen.event),
    ),
    st.data(),
)
def test_the_election_depends_on_the_copies_alone(copies: list[Copy], data: st.DataObject) -> None:
    chosen = elect(copies)
    assert elect(data.draw(st.permutations(copies))) == chosen
    if any(one.seen.absence is None for one in copies):
        assert chosen.seen.absence is None
    if any(one.seen.absence is None and not one.seen.declined for one in copies):
        assert not chosen.seen.declined


KEYED = st.builds(
    record, st.sampled_from("123"), agent=st.sampled_from([ANN, BOB]), start=st.sampled_from([START, None])
)
NATURAL = st.builds(record, st.sampled_from("456"), key=st.none(), agent=st.sampled_from([ANN, BOB]))


@given(st.lists(KEYED, max_size=4), st.lists(NATURAL, max_size=3), st.frozensets(st.sampled_from("123456")))
def test_a_strangers_record_is_never_adopted_and_a_candidate_never_becomes_a_create(
    keyed: list[Record], natural: list[Record], spoken_for: frozenset[str]
) -> None:
    pair = match(alone(), Candidates(keyed, natural, spoken_for))
    if pair.record is not None:
        assert pair.record.key == "uid1"
        assert pair.record.fields["agent"] == ANN
        assert pair.record.id not in spoken_for
    if pair.record is None and not pair.holds:
        assert not keyed
        assert not [one for one in natural if is_natural(seen(), one)]


def test_a_pair_without_an_event_is_left_as_it_is() -> None:
    bare = replace(alone(), seen=None)
    assert match(bare, Candidates([record()])) == bare


def test_a_contested_pair_gives_its_record_up_and_names_it() -> None:
    held = contest(Pair(seen=seen(), calendar=None, record=record("17"), link=None))
    assert (held.record, held.holds, held.candidates) == (None, (AMBIGUOUS,), ("17",))


# ---- moved to another calendar --------------------------------------------------------------------------------------

PEOPLE = {address: Agent(email=address) for address in (ANN, BOB)} | {CID: Agent(email=CID, role=Role.TEAM)}


def gone(absence: Absence = Absence.CANCELLED, **more: Any) -> Pair:
    link = Link("17", 1, "evt1", "m", Tier.KEY)
    return replace(Pair(seen=seen(absence=absence), calendar=None, record=record(), link=link, tier=Tier.LINK), **more)


def arrived(organizer: str | None = BOB, *, on: str = BOB, name: str = "primary", **more: Any) -> Pair:
    calendar = Calendar(source="google", kind="google", agent=Agent(email=on), name=name)
    return replace(Pair(seen=seen(organizer=organizer, agent=on), calendar=calendar, record=None, link=None), **more)


@pytest.mark.parametrize("absence", [Absence.CANCELLED, Absence.GONE, Absence.EXCLUDED])
def test_a_record_whose_copy_is_gone_by_evidence_is_left_behind(absence: Absence) -> None:
    assert is_left_behind(gone(absence))


@pytest.mark.parametrize(
    "pair",
    [
        gone(Absence.UNSEEN),
        gone(Absence.LEFT_WINDOW),
        gone(seen=seen()),
        gone(seen=None),
        gone(link=None),
        gone(record=None),
        gone(record=record(presence=Presence.CANCELLED)),
        gone(holds=("unobserved",)),
    ],
)
def test_without_evidence_or_a_live_record_nothing_is_left_behind(pair: Pair) -> None:
    assert not is_left_behind(pair)


@pytest.mark.parametrize("candidates", [(), ("17",)])
def test_the_copy_of_an_agent_who_organizes_it_inherits_the_record_and_its_base(candidates: tuple[str, ...]) -> None:
    pair = arrived(candidates=candidates, holds=(AMBIGUOUS,))
    assert goes_on(pair, gone(), PEOPLE)
    heir = inherit(pair, gone())
    assert heir is not None
    assert (heir.seen, heir.record, heir.link) == (pair.seen, gone().record, gone().link)
    assert (heir.holds, heir.candidates) == ((), ())


def test_a_second_calendar_of_an_agent_organizes_as_itself() -> None:
    pair = arrived("team@group.calendar.example", name="team@group.calendar.example")
    assert goes_on(pair, gone(), PEOPLE)
    assert inherit(pair, gone()) is not None


@pytest.mark.parametrize("organizer", [None, ZOE, CID])
def test_an_invitation_of_anybody_else_inherits_nothing(organizer: str | None) -> None:
    assert not goes_on(arrived(organizer), gone(), PEOPLE)


def test_a_copy_of_a_colleagues_meeting_goes_on_but_does_not_inherit() -> None:
    pair = arrived(ANN)
    assert goes_on(pair, gone(), PEOPLE)
    assert inherit(pair, gone()) is None


@pytest.mark.parametrize(
    "pair",
    [
        arrived(record=record("18")),
        arrived(candidates=("17", "18")),
        arrived(candidates=("18",)),
        arrived(seen=None),
        arrived(seen=seen(organizer=BOB, absence=Absence.CANCELLED)),
        arrived(seen=seen(organizer=BOB, declined=True)),
    ],
)
def test_what_has_a_record_or_may_have_another_or_is_gone_itself_does_not_go_on(pair: Pair) -> None:
    assert not goes_on(pair, gone(), PEOPLE)


@pytest.mark.parametrize(("theirs", "ours"), [((), ()), (None, ()), (None, (ZOE,))])
def test_a_crm_without_keys_is_given_no_second_record_that_nothing_tells_apart(
    theirs: tuple[str, ...] | None, ours: tuple[str, ...]
) -> None:
    here = seen(contact=ours)
    there = record() if theirs is None else record(contact=theirs)
    if theirs is None:
        there = replace(there, fields={name: value for name, value in there.fields.items() if name != "contact"})
    found = match(alone(here), Candidates(natural=[there], keyless=True))
    assert (found.candidates, found.tier) == (("17",), Tier.NATURAL)
    assert match(alone(here), Candidates(natural=[there])).candidates == ()
