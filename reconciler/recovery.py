"""What runs that died left open is looked up before anything is planned, and never sent again (law 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from reconciler.judgement import Unknown
from reconciler.model import Outcome
from reconciler.store import journal

if TYPE_CHECKING:
    from reconciler.hand import Hand
    from reconciler.store.journal import Intent
    from reconciler.store.state import State


def recover(state: State, intents: Iterable[Intent], hand: Callable[[Intent], Hand]) -> Unknown:
    """Look up what was sent and never confirmed, and write down what became of it; return what stays unknown.

    Raises CrmUnreachableError and SnapshotError.
    """
    unknown = [intent for intent in intents if not _settled(state, intent, hand(intent))]
    return Unknown(
        records=frozenset(intent.crm_id for intent in unknown if intent.crm_id),
        events=frozenset(
            (intent.calendar, intent.event) for intent in unknown if intent.event and intent.calendar is not None
        ),
    )


def _settled(state: State, intent: Intent, hand: Hand) -> bool:
    came = hand.look(intent)
    told = {"crm_id": came.crm_id, "event": came.event, "version": came.version}
    with state.begin() as connection:
        journal.settle(connection, intent.number, came.outcome, came.why, **told)
        if came.outcome is Outcome.DONE:
            hand.agree_later(connection, intent, came)
    return came.outcome is not Outcome.UNKNOWN
