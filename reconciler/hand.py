"""The seam between applying and what is written to: one hand a CRM or calendar source, all used in the same way.

A hand sends one delta under its precondition and verifies what was kept; it writes down what both sides agree on since,
in the transaction that settles the journal; and it looks up what became of a write that nobody confirmed. It never
sends twice, and opens no transaction of the state while it talks to somebody.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler import normalise
from reconciler.model import Event, Outcome, Record

if TYPE_CHECKING:
    from reconciler.judgement import Proposal
    from reconciler.model import Delta, Fields
    from reconciler.store.database import Connection
    from reconciler.store.journal import Intent


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What became of one write: the record or event as it is kept since, where that is known, and why otherwise.

    `crm_id`, `event` and `version` go into the journal: what was written, and which version it has as long as nobody
    else touches it.
    """

    outcome: Outcome  # DONE, ALREADY, CONFLICT, FAILED, UNKNOWN or DEFERRED
    why: str = ""
    record: Record | None = None
    kept: Event | None = None
    crm_id: str | None = None
    event: str | None = None
    version: str | None = None


def is_untouched(intent: Intent, now: Fields) -> bool:
    """Tell whether a side still says something that an update was to change: it was not carried out then.

    Titles and locations may be kept in a spelling of one's own, so that what was meant does not tell it by itself.
    """
    changed = [name for name, value in intent.after.items() if not normalise.same(name, intent.before.get(name), value)]
    return any(normalise.same(name, intent.before.get(name), now.get(name)) for name in changed)


class Hand(Protocol):
    """What writes to one CRM or one calendar source, as applying and recovering need it."""

    @property
    def name(self) -> str:
        """Say for people who is written to: `the CRM`, `Google`. Failures in a row are counted by it."""
        ...

    def send(self, delta: Delta) -> Came:
        """Send one delta, once, and verify what was kept. What goes wrong on the way is an outcome, never raised."""
        ...

    def agree(self, connection: Connection, delta: Delta, proposal: Proposal, came: Came) -> Came:
        """Write down what both sides hold since: rows, link and base; in the transaction that settles the journal.

        Called with whatever `send` returned. May return another outcome, where the state knows better (an `already`
        that belongs to another appointment).
        """
        ...

    def look(self, intent: Intent) -> Came:
        """Look up what became of a write that nobody confirmed. Nothing is changed.

        DONE: it is there as it was meant; FAILED: it is not, or was changed since; UNKNOWN: it can't be looked up now.
        Raises CrmUnreachableError and SnapshotError where the CRM itself can't be read: then nothing can be planned.
        """
        ...

    def agree_later(self, connection: Connection, intent: Intent, came: Came) -> None:
        """Write down what is agreed on since, for a write that `look` found DONE; open until both are compared."""
        ...

    def close(self) -> None:
        """Release connections."""
        ...
