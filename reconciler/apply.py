"""Apply a plan delta by delta: write all of it down, then note, act under the precondition, and settle, one at a time.

One side that fails again and again is left alone, and the others go on. What is not reached waits for the next run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler.model import Delta, Outcome
from reconciler.plan import identity
from reconciler.store import journal

if TYPE_CHECKING:
    from reconciler.hand import Came, Hand
    from reconciler.judgement import Proposal
    from reconciler.store.state import State

BREAKER = 5
"""Failures in a row after which a side is left alone for this run."""

LATE = "the deadline was reached; its turn comes next run"
ENDED = "this run was asked to end; its turn comes next run"
OVERTAKEN = "this run lost its lock, and another one may be at work; its turn comes with that, or next run"


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """What applying takes: who writes what, where to write it down, as which run, and when to stop.

    `stopping` says why no further delta is begun, empty as long as one may be. `approved` are the digests of the plans
    that people consented to, by the identities of their deltas.
    """

    state: State
    hand: Callable[[Delta], Hand]
    run: str
    epoch: int
    clock: Callable[[], datetime]
    stopping: Callable[[], str] = lambda: ""
    approved: Mapping[str, str] = field(default_factory=dict)


def apply(deltas: Sequence[Delta], proposals: Mapping[str, Proposal], applying: Applying) -> list[Delta]:
    """Apply the planned deltas in order and return all with their outcomes. `proposals` are keyed by delta identity."""
    planned = [delta for delta in deltas if delta.outcome is Outcome.PLANNED]
    _intend(planned, applying)
    turn = _Turn(applying, proposals)
    done = [turn.of(delta) if delta.outcome is Outcome.PLANNED else delta for delta in deltas]
    _put_off((after for before, after in zip(deltas, done, strict=True) if before is not after), applying)
    return done


def _intend(planned: Iterable[Delta], applying: Applying) -> None:
    with applying.state.begin() as connection:
        journal.intend(
            connection,
            applying.state,
            planned,
            run=applying.run,
            epoch=applying.epoch,
            now=applying.clock(),
            approved=applying.approved,
        )


def _put_off(done: Iterable[Delta], applying: Applying) -> None:
    """Settle what was never sent."""
    with applying.state.begin() as connection:
        deferred = (delta for delta in done if delta.outcome is Outcome.DEFERRED)
        journal.defer(connection, applying.state, applying.run, deferred)


class _Turn:
    """One delta after the other has its turn, as long as this run may go on and its side does not fail."""

    def __init__(self, applying: Applying, proposals: Mapping[str, Proposal]) -> None:
        self._applying = applying
        self._proposals = proposals
        self._failures: Counter[str] = Counter()
        self._stopped = ""

    def of(self, delta: Delta) -> Delta:
        """Apply one delta, or put it off with the reason."""
        hand = self._applying.hand(delta)
        self._stopped = self._stopped or self._applying.stopping()
        if why := self._stopped or self._broken(hand):
            return replace(delta, outcome=Outcome.DEFERRED, why=why)
        came = _applied(delta, self._proposals[identity(delta)], hand, self._applying)
        if came is None:
            self._stopped = OVERTAKEN
            return replace(delta, outcome=Outcome.DEFERRED, why=OVERTAKEN)
        self._count(hand, came)
        return replace(delta, outcome=came.outcome, why=came.why, crm_id=came.crm_id or delta.crm_id)

    def _broken(self, hand: Hand) -> str:
        if self._failures[hand.name] < BREAKER:
            return ""
        return f"{hand.name} failed {BREAKER} writes in a row; the rest waits for the next run"

    def _count(self, hand: Hand, came: Came) -> None:
        """Count failures in a row; what was put off says nothing of who is written to."""
        if came.outcome in {Outcome.FAILED, Outcome.UNKNOWN}:
            self._failures[hand.name] += 1
        elif came.outcome is not Outcome.DEFERRED:
            self._failures[hand.name] = 0


def _applied(delta: Delta, proposal: Proposal, hand: Hand, applying: Applying) -> Came | None:
    """Intent, act, confirm: the intent is committed before anything is sent (law 3). None: a newer run is at work."""
    state = applying.state
    with state.begin() as connection:
        number = journal.send(connection, state, applying.run, applying.epoch, delta, applying.clock())
    if number is None:
        return None
    came = hand.send(delta)
    with state.begin() as connection:
        came = hand.agree(connection, delta, proposal, came)
        told = {"crm_id": came.crm_id, "event": came.event, "version": came.version}
        journal.settle(connection, number, came.outcome, came.why, **told)
    return came
