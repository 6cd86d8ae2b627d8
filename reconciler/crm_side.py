"""Writing to the CRM: a record at a time, under the version it was decided on, and what both sides agree on since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import normalise
from reconciler.agreement import agreed
from reconciler.crm import Written
from reconciler.hand import Came, is_untouched
from reconciler.model import Action, Link, Outcome, Presence, Tier
from reconciler.sources.answers import PostponedError
from reconciler.store import compare, ledger, records

if TYPE_CHECKING:
    from reconciler.crm import Writer
    from reconciler.judgement import Proposal
    from reconciler.model import Delta, Fields, Pair, Record
    from reconciler.store.compare import Scope
    from reconciler.store.database import Connection
    from reconciler.store.journal import Intent
    from reconciler.store.state import State

_SOFT = frozenset({"title", "location", "participants"})
"""Fields that a CRM may keep in its own spelling; anything else it kept differently was not kept."""


class CrmHand:
    """Writes records. `compared` are the fields that both sides are compared by; `scope` is the run's.

    The writer is made when there is something to write. `charged` does one write within the CRM's budget: one attempt
    a statement, and a write is one statement. Raises PostponedError where none is left.
    """

    name = "the CRM"

    def __init__(
        self,
        state: State,
        make: Callable[[], Writer],
        compared: tuple[str, ...],
        scope: Scope,
        charged: Callable[[Callable[[], Written]], Written] = lambda write: write(),
    ) -> None:
        self._state = state
        self._charged = charged
        self._make = make
        self._writer: Writer | None = None
        self._compared = compared
        self._scope = scope

    def close(self) -> None:
        """Release connections."""
        if self._writer is not None:
            self._writer.close()

    @property
    def _writes(self) -> Writer:
        self._writer = self._writer or self._make()
        return self._writer

    # ---- a delta

    def send(self, delta: Delta) -> Came:
        """Send one delta, once, and verify what was kept."""
        try:
            written = _verified(delta, self._charged(lambda: self._written(delta)))
        except PostponedError as error:
            return Came(outcome=Outcome.DEFERRED, why=f"nothing was written: {error}")
        record = written.record
        return Came(
            outcome=written.outcome,
            why=written.why,
            record=record,
            crm_id=record.id if record else None,
            version=record.version if record and written.outcome in {Outcome.DONE, Outcome.ALREADY} else None,
        )

    def _written(self, delta: Delta) -> Written:
        version = delta.version or ""
        match delta.action:
            case Action.CREATE:
                return self._writes.create(delta.key, delta.want)
            case Action.UPDATE:
                return self._writes.update(delta.crm_id or "", delta.want, version=version)
            case Action.CANCEL:
                return self._writes.cancel(delta.crm_id or "", version=version)
            case Action.DELETE:
                return self._writes.delete(delta.crm_id or "", version=version)
            case Action.LINK:
                raise ValueError("a link is written to no record")

    def agree(self, connection: Connection, delta: Delta, proposal: Proposal, came: Came) -> Came:
        """Refresh the record and, where both sides agree now, the base, from what the CRM kept."""
        came = self._fair(connection, delta, came)
        if came.record is not None:
            kept = records.refresh(connection, self._state, came.record, self._compared)
            came = replace(came, record=kept)
        if came.outcome in {Outcome.DONE, Outcome.ALREADY}:
            self._agree(connection, delta, proposal.pair, came.record)
        return came

    def _fair(self, connection: Connection, delta: Delta, came: Came) -> Came:
        """Leave a record that was there already to the event that has it: a create must not take another one's."""
        if delta.action is not Action.CREATE or came.outcome is not Outcome.ALREADY or came.record is None:
            return came
        place = ledger.place_of(connection, self._state, came.record.id)
        if place in {None, (delta.calendar_id, delta.event)}:
            return came
        return replace(came, outcome=Outcome.CONFLICT, why="the record that is there belongs to another appointment")

    def _agree(self, connection: Connection, delta: Delta, pair: Pair, record: Record | None) -> None:
        if delta.action is Action.DELETE:
            ledger.drop_links(connection, self._state, [delta.crm_id or ""])
            return
        if record is None or pair.seen is None:
            return
        if delta.action is Action.CANCEL:
            old = pair.link or Link(
                record.id, pair.calendar_id or 0, pair.seen.event, pair.seen.meeting, pair.tier or Tier.KEY
            )
            cancelled = replace(old, version=record.version, cancelled_by_us=True)
            ledger.save_links(connection, self._state, [(cancelled, None, None)])
            return
        open_still = _unsettled(delta, pair, record, self._compared)
        ledger.save_links(connection, self._state, [agreed(pair, record, self._compared, open_still)])

    # ---- what a run that died left open

    def look(self, intent: Intent) -> Came:
        """Tell from how a record is now whether a write that nobody confirmed had reached it."""
        record = self._writes.find(intent.crm_id, intent.key)
        if record is not None and intent.crm_id not in {None, record.id}:
            record = None  # another record has its key now
        if not _was_written(intent, record):
            why = "looked up after an interruption: it had not been written, or was changed since"
            return Came(outcome=Outcome.FAILED, why=why, record=record)
        why = "looked up after an interruption: it had been written"
        crm_id, version = (record.id, record.version) if record else (None, None)
        return Came(outcome=Outcome.DONE, why=why, record=record, crm_id=crm_id, version=version)

    def agree_later(self, connection: Connection, intent: Intent, came: Came) -> None:
        """Refresh the base from a write that was confirmed by looking it up."""
        record = came.record
        if intent.action is Action.DELETE:
            ledger.drop_links(connection, self._state, [intent.crm_id or ""])
            return
        link = self._link_of(connection, intent, record) if record else None
        if link is None or record is None:
            return
        if intent.action is Action.CANCEL:
            link = replace(link, cancelled_by_us=True)
        else:
            kept = {name: record.fields.get(name) for name in intent.after}
            base, base_crm = {**(link.base or {}), **intent.after}, {**(link.base_crm or {}), **kept}
            link = replace(link, base=base, base_crm=base_crm, cancelled_by_us=False)
        ledger.save_links(connection, self._state, [(replace(link, version=record.version), None, None)])

    def _link_of(self, connection: Connection, intent: Intent, record: Record) -> Link | None:
        """Return the link of a record, or the one that a create was about to make."""
        known = compare.one_link(connection, self._state, self._scope, crm_id=record.id)
        if known is not None:
            return known.link
        sighting = compare.one_event(connection, self._state, key=intent.key)
        if sighting is None or compare.one_link(connection, self._state, self._scope, event=sighting.seen.event):
            return None
        return Link(record.id, sighting.calendar, sighting.seen.event, sighting.seen.meeting, Tier.KEY)


def _verified(delta: Delta, written: Written) -> Written:
    """Compare what the CRM kept with what was meant: an hour's difference is a failure, however it was accepted."""
    if written.outcome is not Outcome.DONE or written.record is None:
        return written
    wrong = _kept_differently(delta, written.record)
    if not wrong:
        return written
    why = f"the CRM accepted the write but kept another {', '.join(wrong)}"
    return replace(written, outcome=Outcome.FAILED, why=why)


def _kept_differently(delta: Delta, record: Record) -> list[str]:
    if delta.action in {Action.CANCEL, Action.DELETE}:
        return ["status"] if record.presence is Presence.LIVE else []
    return [name for name in delta.want if name not in _SOFT and not _holds(record, name, delta.want)]


def _was_written(intent: Intent, record: Record | None) -> bool:
    presence = record.presence if record else Presence.ABSENT
    match intent.action:
        case Action.DELETE:
            return presence is Presence.ABSENT
        case Action.CANCEL:
            return presence is Presence.CANCELLED
        case Action.CREATE | Action.UPDATE | Action.LINK:
            hard = [name for name in intent.after if name not in _SOFT]
            live = record is not None and presence is Presence.LIVE
            if record is None or not live or (intent.action is Action.UPDATE and is_untouched(intent, record.fields)):
                return False
            return all(_holds(record, name, intent.after) for name in hard)


def _holds(record: Record, name: str, meant: Fields) -> bool:
    return normalise.same(name, meant[name], record.fields.get(name))


def _unsettled(delta: Delta, pair: Pair, record: Record, compared: tuple[str, ...]) -> list[str]:
    """Return what still differs after the write, but for what the CRM keeps in its own spelling."""
    seen = pair.seen.fields if pair.seen else {}
    return [name for name in normalise.differing(seen, record.fields, compared) if name not in delta.want]
