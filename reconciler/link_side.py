"""Noting that a record and an event belong together: the hand that writes to neither side, only to our own state.

What was linked by nature has never been agreed on: the next run compares it, and `policy.first` decides. What a person
let differ is agreed on as it stands. Both are committed with the journal's row, so that nothing can be half done.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.agreement import agreed
from reconciler.hand import Came
from reconciler.model import Link, Outcome, Step, Tier
from reconciler.store import ledger

if TYPE_CHECKING:
    from reconciler.judgement import Proposal
    from reconciler.model import Delta
    from reconciler.store.database import Connection
    from reconciler.store.journal import Intent
    from reconciler.store.state import State


class LinkHand:
    """Links what a plan says belongs together. `compared` are the fields that both sides are compared by."""

    name = "the state"

    def __init__(self, state: State, compared: tuple[str, ...]) -> None:
        self._state = state
        self._compared = compared

    def send(self, delta: Delta) -> Came:
        """Send nothing: all there is to do is done with the journal's row."""
        return Came(outcome=Outcome.DONE, crm_id=delta.crm_id, event=delta.event)

    def agree(self, connection: Connection, delta: Delta, proposal: Proposal, came: Came) -> Came:
        """Save the link, unless the record has another event by now."""
        pair = proposal.pair
        if pair.record is None or pair.seen is None or pair.calendar_id is None:
            return Came(outcome=Outcome.FAILED, why="one of its sides is gone")
        place = ledger.standing_place_of(connection, self._state, pair.record.id)
        if place not in {None, (delta.calendar_id, delta.event)}:
            return Came(outcome=Outcome.CONFLICT, why="the record belongs to another appointment by now")
        if proposal.verdict.step is Step.REFRESH_BASE:
            ledger.save_links(connection, self._state, [agreed(pair, pair.record, self._compared)])
        else:
            link = Link(pair.record.id, pair.calendar_id, pair.seen.event, pair.seen.meeting, pair.tier or Tier.NATURAL)
            ledger.save_links(connection, self._state, [(link, None, None)])
        return came

    def look(self, intent: Intent) -> Came:
        """Say that an interrupted link was not made: it would have been committed with its journal row."""
        return Came(outcome=Outcome.FAILED, why="interrupted before it was noted", crm_id=intent.crm_id)

    def agree_later(self, connection: Connection, intent: Intent, came: Came) -> None:
        """Agree on nothing: what was interrupted was not done."""

    def close(self) -> None:
        """Release nothing: it has no connection of its own."""
