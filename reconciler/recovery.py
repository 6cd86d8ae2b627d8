"""What runs that died left open is looked up before anything is planned, and never sent again (law 3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler.judgement import Unknown
from reconciler.model import Outcome
from reconciler.store import journal

if TYPE_CHECKING:
    from reconciler.hand import Hand
    from reconciler.store.journal import Intent
    from reconciler.store.state import State


GIVE_UP = timedelta(days=7)
"""How long nothing is planned for what can't be looked up. By then a write that was under way has long arrived or never
will, and both sides have been read many times: what they show is planned from, under the versions they have."""

_NEVER_KNOWN = "nobody could tell for seven days what became of it; both sides are taken as they are"


def recover(
    state: State, intents: Iterable[Intent], hand: Callable[[Intent], Hand], now: datetime, run: str
) -> Unknown:
    """Look up what was sent and never confirmed, and write down what became of it; return what stays unknown.

    `run` is the one that does so, which tells of it.

    Raises CrmUnreachableError and SnapshotError.
    """
    unknown = [intent for intent in intents if not _settled(state, intent, hand(intent), now, run)]
    return Unknown(
        records=frozenset(intent.crm_id for intent in unknown if intent.crm_id),
        events=frozenset(
            (intent.calendar, intent.event) for intent in unknown if intent.event and intent.calendar is not None
        ),
    )


def _settled(state: State, intent: Intent, hand: Hand, now: datetime, run: str) -> bool:
    came = hand.look(intent)
    if came.outcome is Outcome.UNKNOWN and now - intent.at > GIVE_UP:
        came = replace(came, outcome=Outcome.FAILED, why=_NEVER_KNOWN)
    told = {"crm_id": came.crm_id, "event": came.event, "version": came.version}
    with state.begin() as connection:
        journal.settle(connection, intent.number, came.outcome, came.why, **told)
        if came.outcome is not Outcome.UNKNOWN:
            journal.learn(connection, intent.number, run)
        if came.outcome is Outcome.DONE:
            hand.agree_later(connection, intent, came)
    return came.outcome is not Outcome.UNKNOWN
