"""A plan is ordered by urgency, and its digest names exactly what would be done and on what it was decided."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Action, Delta, Kind, Outcome, Severity, Side
from reconciler.plan import Turns, build, digest, identity

UPDATE = Delta(
    action=Action.UPDATE,
    side=Side.CRM,
    key="uid1",
    kind=Kind.RESCHEDULE_NOT_PROPAGATED,
    severity=Severity.HIGH,
    agent="ann@acme.example",
    event="evt1",
    crm_id="17",
    version="3",
    want={"start": "2026-11-24T16:00:00Z", "contact": ("a@client.example", "b@client.example"), "all_day": False},
    start="2026-11-24T16:00:00Z",
    seen_digest=b"\x01\x02",
)
NOT_PLANNED = [outcome for outcome in Outcome if outcome is not Outcome.PLANNED]

DELTAS = st.lists(
    st.builds(
        replace,
        st.just(UPDATE),
        action=st.sampled_from(list(Action)),
        severity=st.sampled_from(list(Severity)),
        key=st.sampled_from(["uid1", "uid2"]),
        crm_id=st.sampled_from([None, "17", "18"]),
        event=st.sampled_from([None, "evt1", "evt2"]),
        start=st.sampled_from(["", "2026-11-24", "2026-11-24T16:00:00Z", "2026-11-25T09:00:00Z"]),
        outcome=st.sampled_from([Outcome.PLANNED, Outcome.HELD]),
    ),
    max_size=6,
)


@given(DELTAS, st.data())
def test_a_plan_does_not_depend_on_the_order_it_was_found_in(deltas: list[Delta], data: st.DataObject) -> None:
    one = build("acme", "crm", deltas)
    other = build("acme", "crm", data.draw(st.permutations(deltas)))
    assert one == other
    assert one.digest == digest("acme", "crm", deltas)


@given(DELTAS)
def test_the_most_urgent_comes_first_then_cancels_updates_creates_deletes_then_the_nearest(deltas: list[Delta]) -> None:
    order = [Action.CANCEL, Action.UPDATE, Action.CREATE, Action.DELETE, Action.LINK]
    ranks = [
        (delta.severity.rank, order.index(delta.action), delta.start or "unknown comes last")
        for delta in build("acme", "crm", deltas).deltas
    ]
    assert ranks == sorted(ranks)


SOONER = replace(UPDATE, key="sooner", action=Action.CANCEL, start="2026-11-23T09:00:00Z")
URGENT = replace(UPDATE, key="urgent", severity=Severity.CRITICAL)


def keys(turns: Turns, *deltas: Delta) -> list[str]:
    return [delta.key for delta in build("acme", "crm", deltas, turns).deltas]


def test_what_was_put_off_comes_first_among_its_severity_and_no_further() -> None:
    waiting = Turns(waiting=frozenset({(UPDATE.side, UPDATE.key)}))
    assert keys(Turns(), SOONER, UPDATE, URGENT) == ["urgent", "sooner", UPDATE.key]
    assert keys(waiting, SOONER, UPDATE, URGENT) == ["urgent", UPDATE.key, "sooner"]


def test_what_fails_every_time_lets_all_others_go_first_however_urgent_it_is() -> None:
    stubborn = Turns(stubborn=frozenset({(URGENT.side, URGENT.key)}))
    assert keys(stubborn, SOONER, UPDATE, URGENT) == ["sooner", UPDATE.key, "urgent"]


def test_whose_turn_it_is_does_not_change_the_digest() -> None:
    waiting = Turns(waiting=frozenset({(UPDATE.side, UPDATE.key)}))
    assert build("acme", "crm", [UPDATE, SOONER]).digest == build("acme", "crm", [UPDATE, SOONER], waiting).digest


CHANGES = {
    "action": replace(UPDATE, action=Action.CREATE),
    "side": replace(UPDATE, side=Side.CALENDAR),
    "key": replace(UPDATE, key="uid2"),
    "record": replace(UPDATE, crm_id="18"),
    "event": replace(UPDATE, event="evt2"),
    "agent": replace(UPDATE, agent="bob@acme.example"),
    "a value": replace(UPDATE, want={**UPDATE.want, "start": "2026-11-24T17:00:00Z"}),
    "a client": replace(UPDATE, want={**UPDATE.want, "contact": ("a@client.example",)}),
    "another field": replace(UPDATE, want={**UPDATE.want, "title": ""}),
    "a field less": replace(UPDATE, want={"start": UPDATE.want["start"]}),
    "the record's version": replace(UPDATE, version="4"),
    "the event's content": replace(UPDATE, seen_digest=b"\x01\x03"),
}


@pytest.mark.parametrize("what", CHANGES)
def test_the_digest_changes_with_everything_that_would_be_done_or_was_decided_on(what: str) -> None:
    assert digest("acme", "crm", [CHANGES[what]]) != digest("acme", "crm", [UPDATE])
    assert identity(CHANGES[what]) != identity(UPDATE)


@pytest.mark.parametrize(
    "same",
    [
        replace(UPDATE, why="another sentence", finding="k", fields={"start": (None, None)}),
        replace(UPDATE, severity=Severity.CRITICAL, start=""),
        replace(UPDATE, want=dict(reversed([*UPDATE.want.items()]))),
    ],
)
def test_the_digest_does_not_change_with_how_a_delta_is_told(same: Delta) -> None:
    assert digest("acme", "crm", [same]) == digest("acme", "crm", [UPDATE])


def test_the_digest_names_the_job_and_the_crm() -> None:
    assert len({digest(job, crm, [UPDATE]) for job in ("acme", "umbrella") for crm in ("crm", "other")}) == 4


@pytest.mark.parametrize("outcome", NOT_PLANNED)
def test_what_is_not_planned_does_not_matter_to_the_digest(outcome: Outcome) -> None:
    held = replace(UPDATE, key="uid9", outcome=outcome)
    assert digest("acme", "crm", [UPDATE, held]) == digest("acme", "crm", [UPDATE])
    assert build("acme", "crm", [UPDATE, held]).deltas == (UPDATE, held)


def test_a_digest_is_sha256_in_hex_and_an_empty_plan_has_one_too() -> None:
    empty = build("acme", "crm", [])
    assert len(empty.digest) == 64
    assert int(empty.digest, 16) >= 0
    assert empty.digest != build("acme", "crm", [UPDATE]).digest
    assert digest("acme", "crm", [UPDATE, UPDATE]) != digest("acme", "crm", [UPDATE])
