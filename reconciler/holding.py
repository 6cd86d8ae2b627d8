"""What a person took back is not done again: such a pair is counted, said and left alone until either side changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.decide import UNSETTLED
from reconciler.findings import Outlook, key_of
from reconciler.model import Remedy
from reconciler.sides import sides
from reconciler.store import holds

if TYPE_CHECKING:
    from reconciler.judgement import Judged
    from reconciler.model import Record, Seen
    from reconciler.store.compare import Scope
    from reconciler.store.database import Connection
    from reconciler.store.holds import Hold
    from reconciler.store.state import State


class Held:
    """The holds of one job in one comparison, and which of them it met standing."""

    def __init__(self, found: Mapping[str, Hold], compared: tuple[str, ...]) -> None:
        self._holds = found
        self._compared = compared
        self._stood: set[str] = set()

    def rule(self, one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
        """Leave a pair alone whose sides stand as they did when what was written to it was taken back."""
        pair = one.pair
        hold = self._holds.get(key_of(pair)) if self._holds else None
        if hold is None or hold.sides != sides(pair.seen, pair.record, self._compared):
            return one, outlook
        self._stood.add(key_of(pair))
        if set(pair.holds) - {UNSETTLED}:
            return one, outlook  # something else keeps it from being judged at all, and says so
        why = f"Reverted by run {hold.run}; held until either side changes."
        found = (replace(finding, remedy=Remedy.HOLD, why=why) for finding in outlook.findings)
        return one, Outlook("held", tuple(found))

    def lapsed(self, connection: Connection, state: State, scope: Scope) -> list[str]:
        """Return the keys of the holds that end: the comparison did not meet them, and a side has changed since."""
        unmet = [(key, hold) for key, hold in self._holds.items() if key not in self._stood]
        return [key for key, hold in unmet if self._has_moved(hold, *holds.pair_of(connection, state, scope, key))]

    def _has_moved(self, hold: Hold, seen: Seen | None, record: Record | None) -> bool:
        """Tell whether a side has changed; an event that merely is not shown has not (law 1)."""
        if seen is not None and seen.absence is not None and not seen.absence.is_evidence:
            return False
        return hold.sides != sides(seen, record, self._compared)


def held(connection: Connection, state: State, compared: tuple[str, ...]) -> Held:
    """Return what is on hold in this job."""
    return Held(holds.all_of(connection, state), compared)


def let_go(connection: Connection, state: State, scope: Scope, found: Held) -> None:
    """End the holds of which a side has changed."""
    holds.release(connection, state, found.lapsed(connection, state, scope))
