"""Who was told how far, on each state: claims exclude each other; what was sent, refused or lost stays so."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.report.answer import Answer, Fate
from reconciler.store import deliveries
from reconciler.store.deliveries import Claim, Delivery, Denied, Kind
from reconciler.store.state import State, open_state

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
SENT, REFUSED, LOST = Answer(Fate.SENT), Answer(Fate.REFUSED, "451 later"), Answer(Fate.UNCONFIRMED, "silence")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    postgres = request.param == "postgres"
    url = request.getfixturevalue("postgres_state")() if postgres else f"sqlite:///{tmp_path}/state.db"
    opened = open_state(url, "acme")
    yield opened
    opened.engine.dispose()


def wanted(number: int = 1, *, kind: Kind = Kind.REPORT, after: Delivery | None = None, channel: str = "mail") -> Claim:
    return Claim(
        channel=channel,
        name=channel,
        kind=kind,
        digest=f"{kind}{number}",
        message_id=f"<{kind}{number}@acme.example>",
        since=NOW + (number - 1) * HOUR,
        until=NOW + number * HOUR,
        after=after,
    )


def claimed(state: State, claim: Claim, now: datetime = NOW) -> Delivery:
    taken = deliveries.claim(state, claim, now)
    assert isinstance(taken, Delivery), taken
    return taken


def ended(state: State, claim: Claim, answer: Answer, now: datetime = NOW) -> Delivery:
    taken = claimed(state, claim, now)
    deliveries.settle(state, taken, answer, now)
    return next(one for one in known(state, claim.channel, now) if one.id == taken.id)


def known(state: State, channel: str = "mail", now: datetime = NOW) -> list[Delivery]:
    with state.engine.connect() as connection:
        return deliveries.of(connection, state, channel, now)


def shown(state: State, now: datetime = NOW) -> list[tuple[str, str]]:
    with state.engine.connect() as connection:
        return [(one.digest, one.status) for one in deliveries.every(connection, state, now)]


def test_a_claim_is_one_processs_alone(state: State) -> None:
    taken = claimed(state, wanted())
    assert (taken.status, taken.attempts, taken.sent_at) == ("claimed", 1, None)
    assert deliveries.claim(state, wanted(), NOW) is Denied.BUSY
    assert deliveries.claim(state, wanted(2), NOW) is Denied.BUSY
    assert isinstance(deliveries.claim(state, wanted(channel="other"), NOW), Delivery)


def test_of_many_that_claim_at_the_same_instant_one_gets_it(state: State) -> None:
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda number: deliveries.claim(state, wanted(1 + number % 2), NOW), range(12)))
    assert sum(isinstance(one, Delivery) for one in found) == 1
    assert found.count(Denied.BUSY) == 11


def test_what_was_sent_is_not_sent_again(state: State) -> None:
    first = ended(state, wanted(), SENT)
    assert (first.status, first.sent_at) == ("sent", NOW)
    assert deliveries.claim(state, wanted(after=first), NOW) is Denied.TOLD


def test_a_report_that_does_not_go_on_from_the_last_one_is_not_sent(state: State) -> None:
    first = ended(state, wanted(), SENT)
    assert deliveries.claim(state, wanted(2), NOW) is Denied.MOVED
    assert isinstance(deliveries.claim(state, wanted(2, after=first), NOW), Delivery)


def test_what_was_refused_may_be_sent_and_counts_as_nothing(state: State) -> None:
    first = ended(state, wanted(), REFUSED)
    assert (first.status, first.why) == ("refused", "451 later")
    assert deliveries.owed(known(state)) == [first]
    again = ended(state, wanted(), SENT, NOW + HOUR)
    assert (again.id, again.attempts, again.status, again.why) == (first.id, 2, "sent", None)
    assert deliveries.owed(known(state)) == []


def test_a_later_report_holds_what_was_refused_and_what_was_urgent(state: State) -> None:
    ended(state, wanted(), REFUSED)
    ended(state, wanted(2, kind=Kind.URGENT), REFUSED)
    assert len(deliveries.owed(known(state))) == 2
    ended(state, wanted(3, kind=Kind.URGENT), SENT)
    assert [one.kind for one in deliveries.owed(known(state))] == [Kind.REPORT], "an urgent one holds no report"
    ended(state, wanted(4), SENT)
    assert deliveries.owed(known(state)) == []
    assert shown(state) == [("report4", "sent")]


def test_what_was_lost_counts_as_told(state: State) -> None:
    lost = ended(state, wanted(), LOST)
    assert deliveries.latest(known(state)) == lost
    assert deliveries.claim(state, wanted(after=lost), NOW) is Denied.TOLD
    assert shown(state) == [("report1", "unconfirmed")]


def test_an_urgent_report_moves_no_period(state: State) -> None:
    first = ended(state, wanted(), SENT)
    urgent = ended(state, wanted(2, kind=Kind.URGENT, after=first), SENT)
    assert deliveries.latest(known(state)) == first
    assert deliveries.latest(known(state), urgent=True) == urgent
    assert isinstance(deliveries.claim(state, wanted(3, after=first), NOW), Delivery)


@pytest.mark.parametrize("by", [deliveries.STALE + timedelta(seconds=1), -deliveries.STALE - timedelta(seconds=1)])
def test_a_claim_of_a_process_that_died_is_unconfirmed(state: State, by: timedelta) -> None:
    taken = claimed(state, wanted())
    assert shown(state, NOW + by) == [("report1", "unconfirmed")]
    assert deliveries.claim(state, wanted(), NOW + by) is Denied.TOLD
    assert deliveries.claim(state, wanted(2, after=taken), NOW + by) is not Denied.BUSY


def test_a_young_claim_is_shown_as_under_way(state: State) -> None:
    claimed(state, wanted())
    assert shown(state, NOW + deliveries.STALE) == [("report1", "claimed")]


@pytest.mark.parametrize("late", [NOW + 2 * HOUR, NOW - 2 * HOUR], ids=["late", "clock set back"])
def test_who_comes_back_late_tells_the_truth_of_what_was_sent_and_changes_nothing_by_a_refusal(
    state: State, late: datetime
) -> None:
    for number, answer, status in ((1, SENT, "sent"), (2, REFUSED, "unconfirmed")):
        channel = f"mail{number}"
        taken = claimed(state, wanted(channel=channel))
        claimed(state, wanted(2, channel=channel, after=taken), late)
        deliveries.settle(state, taken, answer, late)
        assert known(state, channel, late)[0].status == status


def test_who_comes_back_late_takes_the_claim_of_nobody_after_it_away(state: State) -> None:
    late = claimed(state, wanted())
    then = NOW + deliveries.STALE + timedelta(seconds=1)
    [lost] = known(state, now=then)
    assert isinstance(deliveries.reclaim(state, lost, then), Delivery)
    for answer in (REFUSED, LOST, SENT):
        deliveries.settle(state, late, answer, then)
    [one] = known(state, now=then)
    assert (one.status, one.attempts, one.sent_at) == ("claimed", 2, None)


def test_what_is_sent_again_is_claimed_too_and_a_refusal_leaves_it_as_it_was(state: State) -> None:
    for number, answer in enumerate((SENT, LOST)):
        first = ended(state, wanted(channel=f"mail{number}"), answer)
        taken = deliveries.reclaim(state, first, NOW)
        assert isinstance(taken, Delivery)
        assert (taken.id, taken.attempts, taken.status) == (first.id, 2, "claimed")
        assert deliveries.reclaim(state, first, NOW) is Denied.BUSY
        deliveries.settle(state, taken, REFUSED, NOW, before=first)
        [after] = known(state, f"mail{number}")
        assert (after.status, after.attempts) == (first.status, 2)
        assert deliveries.reclaim(state, first, NOW) is Denied.MOVED, "somebody did meanwhile"
        assert isinstance(deliveries.reclaim(state, after, NOW), Delivery)


def test_what_was_refused_is_no_last_one_that_could_go_again(state: State) -> None:
    refused = ended(state, wanted(), REFUSED)
    assert deliveries.reclaim(state, replace(refused, status="sent"), NOW) is Denied.MOVED


def test_jobs_and_channels_know_nothing_of_each_other(state: State) -> None:
    ended(state, wanted(), SENT)
    other = replace(state, job=state.job + 1)
    assert (known(other), shown(other), known(state, "other")) == ([], [], [])
