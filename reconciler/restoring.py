"""Taking writes back: sent as any other write, and held from before it is sent until either side changes.

The hold comes first, as things will stand: killed at any instant, no run does again what a person asked to undo.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler import normalise
from reconciler.decide import is_live
from reconciler.findings import key_of
from reconciler.model import Absence, Action, Link, Outcome, Presence, Record, Seen, Side, Status
from reconciler.plan import identity
from reconciler.sides import sides
from reconciler.store import compare, holds, ledger

if TYPE_CHECKING:
    from reconciler.hand import Came, Hand
    from reconciler.judgement import Proposal
    from reconciler.model import Delta, Pair
    from reconciler.store.compare import Scope
    from reconciler.store.database import Connection
    from reconciler.store.holds import Hold
    from reconciler.store.journal import Intent
    from reconciler.store.state import State

_WRITTEN = frozenset({Outcome.DONE, Outcome.ALREADY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Restoring:
    """What taking back takes beside a hand: where holds are kept, as which run, and each delta's pair by identity.

    `left` is how both sides of a record stand once one of them was put back: the other one may be to follow.
    """

    state: State
    scope: Scope
    compared: tuple[str, ...]
    run: str
    now: datetime
    pairs: Mapping[str, Pair]
    left: dict[str, tuple[Seen | None, Record | None]] = field(default_factory=dict)

    def around(self, hand: Hand) -> Hand:
        """Return a hand that writes as `hand` does, and holds what it wrote."""
        return _Restorer(hand, self)


class _Restorer:
    def __init__(self, hand: Hand, terms: Restoring) -> None:
        self._hand = hand
        self._terms = terms
        self._earlier: Mapping[str, Hold] = {}

    @property
    def name(self) -> str:
        return self._hand.name

    def send(self, delta: Delta) -> Came:
        terms = self._terms
        expected = expectations(delta, self._pair(delta), terms.compared)
        with terms.state.begin() as connection:
            self._earlier = holds.of(connection, terms.state, expected)
            holds.save(connection, terms.state, expected, terms.run, terms.now)
        return self._hand.send(delta)

    def _pair(self, delta: Delta) -> Pair:
        """Return both sides as they are by now: the other one may have been put back just before."""
        pair = self._terms.pairs[identity(delta)]
        seen, record = self._terms.left.get(delta.crm_id or "", (pair.seen, pair.record))
        return replace(pair, seen=seen) if delta.side is Side.CRM else replace(pair, record=record)

    def agree(self, connection: Connection, delta: Delta, proposal: Proposal, came: Came) -> Came:
        """Settle as the hand does, but for what both sides agreed on: that is put back as well."""
        terms = self._terms
        blind = replace(proposal, pair=replace(proposal.pair, seen=None)) if delta.side is Side.CRM else proposal
        came = self._hand.agree(connection, delta, blind, came)
        if came.outcome is Outcome.UNKNOWN:
            return came  # what is not known yet stays held
        holds.release(connection, terms.state, expectations(delta, proposal.pair, terms.compared))
        if came.outcome in _WRITTEN:
            self._put_back(connection, delta)
            self._hold(connection, delta)
        else:
            holds.put(connection, terms.state, self._earlier, terms.now)
        return came

    def _put_back(self, connection: Connection, delta: Delta) -> None:
        """Let the link say what it said before the write that is taken back: the other side has moved since."""
        terms = self._terms
        found = compare.one_link(connection, terms.state, terms.scope, crm_id=delta.crm_id) if delta.crm_id else None
        if found is None or found.holding is None:
            return
        if delta.side is Side.CALENDAR and delta.action is Action.CANCEL:
            ledger.drop_links(connection, terms.state, [found.link.crm_id])  # else it would look deleted by its agent
        else:
            link = replace(before(found.link, delta, found.holding.record), version=found.holding.record.version)
            ledger.save_links(connection, terms.state, [(link, None, None)])

    def _hold(self, connection: Connection, delta: Delta) -> None:
        terms = self._terms
        seen, record = holds.pair_of(connection, terms.state, terms.scope, delta.key, delta.crm_id)
        if delta.action is Action.DELETE:
            record = None  # the snapshot last read still has it
        if delta.crm_id:
            terms.left[delta.crm_id] = seen, record
        if not _is_at_rest(seen, record, terms.compared):
            kept = {delta.key: sides(seen, record, terms.compared)}
            holds.save(connection, terms.state, kept, terms.run, terms.now)

    def look(self, intent: Intent) -> Came:
        return self._hand.look(intent)

    def agree_later(self, connection: Connection, intent: Intent, came: Came) -> None:
        self._hand.agree_later(connection, intent, came)

    def close(self) -> None:
        self._hand.close()


def before(link: Link, delta: Delta, record: Record) -> Link:
    """Return a link as it was before the write that `delta` took back."""
    if delta.action is Action.CANCEL:
        return replace(link, cancelled_by_us=True)
    if link.base is None:
        return replace(link, cancelled_by_us=False)
    kept = {name: record.fields.get(name) for name in delta.want} if delta.side is Side.CRM else dict(delta.want)
    base, base_crm = {**link.base, **delta.want}, {**(link.base_crm or {}), **kept}
    return replace(link, base=base, base_crm=base_crm, cancelled_by_us=False)


def expectations(delta: Delta, pair: Pair, compared: tuple[str, ...]) -> dict[str, bytes]:
    """Return how a pair will stand once it is written, by the keys under which the next run may find it."""
    if delta.side is Side.CRM:
        return {delta.key: sides(pair.seen, _record_after(delta, pair.record), compared)}
    seen = pair.seen
    if seen is None:
        return {}
    if delta.action is Action.CANCEL:
        gone = replace(pair, seen=replace(seen, absence=Absence.CANCELLED))
        return {
            key_of(gone): sides(gone.seen, pair.record, compared),  # as long as it is linked
            delta.key: sides(None, pair.record, compared),
        }
    return {delta.key: sides(_seen_after(delta, seen, compared), pair.record, compared)}


def _seen_after(delta: Delta, seen: Seen, compared: tuple[str, ...]) -> Seen:
    fields = {**seen.fields, **delta.want}
    return replace(seen, fields=fields, digest=normalise.digest(fields, compared))


def _record_after(delta: Delta, record: Record | None) -> Record | None:
    if record is None or delta.action is Action.DELETE:
        return None
    status = {"status": Status.CANCELLED.value} if delta.action is Action.CANCEL else {}
    fields = {**record.fields, **delta.want, **status}
    is_cancelled = fields.get("status") == Status.CANCELLED
    return replace(record, fields=fields, presence=Presence.CANCELLED if is_cancelled else Presence.LIVE)


def _is_at_rest(seen: Seen | None, record: Record | None, compared: tuple[str, ...]) -> bool:
    """Tell whether nothing would be done to a pair anyway: no side is alive, or both are and agree."""
    here = seen is not None and is_live(seen)
    there = record is not None and record.presence is Presence.LIVE
    if not (here and there) or seen is None or record is None:
        return not here and not there
    return not normalise.differing(seen.fields, record.fields, compared)
