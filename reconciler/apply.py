"""Apply a plan delta by delta: write the intent down, act under the precondition, write down what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler import normalise
from reconciler.agreement import agreed
from reconciler.judgement import Proposal
from reconciler.model import Action, Delta, Fields, Link, Outcome, Pair, Presence, Record, Tier
from reconciler.plan import identity
from reconciler.store import compare, ledger, records

if TYPE_CHECKING:
    from reconciler.crm import Writer, Written
    from reconciler.store.compare import Scope
    from reconciler.store.database import Connection
    from reconciler.store.state import State

BREAKER = 5
"""Failures in a row after which the CRM is left alone for this run."""

_SOFT = frozenset({"title", "location", "participants"})
"""Fields that a CRM may keep in its own spelling; anything else it kept differently was not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Applying:
    """What applying takes: where to write, where to write it down, and as which run."""

    state: State
    writer: Writer
    run: str
    epoch: int
    compare: tuple[str, ...]
    clock: Callable[[], datetime]
    is_late: Callable[[], bool] = lambda: False


def apply(deltas: Iterable[Delta], proposals: Mapping[str, Proposal], applying: Applying) -> list[Delta]:
    """Apply the planned deltas in order and return all with their outcomes. `proposals` are keyed by delta identity.

    A CRM that fails five times in a row is left alone: the rest is deferred, with one cause.
    """
    done: list[Delta] = []
    failures = 0
    for delta in deltas:
        if delta.outcome is not Outcome.PLANNED:
            done.append(delta)
        elif failures >= BREAKER:
            why = f"the CRM failed {BREAKER} writes in a row; the rest waits for the next run"
            done.append(replace(delta, outcome=Outcome.DEFERRED, why=why))
        elif applying.is_late():
            done.append(
                replace(delta, outcome=Outcome.DEFERRED, why="the deadline was reached; its turn comes next run")
            )
        else:
            done.append(_applied(delta, proposals[identity(delta)], applying))
            failures = failures + 1 if done[-1].outcome in {Outcome.FAILED, Outcome.UNKNOWN} else 0
    return done


def _applied(delta: Delta, proposal: Proposal, applying: Applying) -> Delta:
    """Intent, act, confirm: the intent is committed before anything is sent (law 3)."""
    with applying.state.begin() as connection:
        number = ledger.intend(connection, applying.state, applying.run, applying.epoch, delta, applying.clock())
    written = _verified(delta, _send(delta, applying.writer))
    with applying.state.begin() as connection:
        written = _fair(connection, delta, written, applying.state)
        crm_id = written.record.id if written.record else delta.crm_id
        ledger.settle(connection, number, written.outcome, written.why, crm_id)
        if written.record is not None:
            records.refresh(connection, applying.state, written.record, applying.compare)
        if written.outcome in {Outcome.DONE, Outcome.ALREADY}:
            _agree(connection, delta, proposal, written.record, applying)
    return replace(delta, outcome=written.outcome, why=written.why, crm_id=crm_id)


def _fair(connection: Connection, delta: Delta, written: Written, state: State) -> Written:
    """Leave a record that was there already to the event that has it: a create must not take another one's."""
    if delta.action is not Action.CREATE or written.outcome is not Outcome.ALREADY or written.record is None:
        return written
    place = ledger.place_of(connection, state, written.record.id)
    if place in {None, (delta.calendar_id, delta.event)}:
        return written
    return replace(written, outcome=Outcome.CONFLICT, why="the record that is there belongs to another appointment")


def _send(delta: Delta, writer: Writer) -> Written:
    version = delta.version or ""
    match delta.action:
        case Action.CREATE:
            return writer.create(delta.key, delta.want)
        case Action.UPDATE:
            return writer.update(delta.crm_id or "", delta.want, version=version)
        case Action.CANCEL:
            return writer.cancel(delta.crm_id or "", version=version)
        case Action.DELETE:
            return writer.delete(delta.crm_id or "", version=version)


def _verified(delta: Delta, written: Written) -> Written:
    """Compare what the CRM kept with what was meant: an hour's difference is a failure, however it was accepted."""
    if written.outcome is not Outcome.DONE or written.record is None:
        return written
    wrong = _kept_differently(delta, written.record)
    if not wrong:
        return written
    return replace(
        written, outcome=Outcome.FAILED, why=f"the CRM accepted the write but kept another {', '.join(wrong)}"
    )


def _kept_differently(delta: Delta, record: Record) -> list[str]:
    if delta.action in {Action.CANCEL, Action.DELETE}:
        return ["status"] if record.presence is Presence.LIVE else []
    kept: Fields = record.fields
    return [
        name
        for name, value in delta.want.items()
        if name not in _SOFT and not normalise.same(name, value, kept.get(name))
    ]


def _agree(connection: Connection, delta: Delta, proposal: Proposal, record: Record | None, applying: Applying) -> None:
    """Refresh the base from what the CRM kept, in the transaction that settles the journal row."""
    pair, state = proposal.pair, applying.state
    if delta.action is Action.DELETE:
        ledger.drop_links(connection, state, [delta.crm_id or ""])
        return
    if record is None or pair.seen is None:
        return
    if delta.action is Action.CANCEL:
        old = pair.link or Link(
            record.id, pair.calendar_id or 0, pair.seen.event, pair.seen.meeting, pair.tier or Tier.KEY
        )
        ledger.save_links(connection, state, [(replace(old, version=record.version, cancelled_by_us=True), None, None)])
        return
    entry = agreed(pair, record, applying.compare, _unsettled(delta, pair, record, applying.compare))
    ledger.save_links(connection, state, [entry])


def _unsettled(delta: Delta, pair: Pair, record: Record, compare: tuple[str, ...]) -> list[str]:
    """Return what still differs after the write, but for what the CRM keeps in its own spelling."""
    seen = pair.seen.fields if pair.seen else {}
    return [name for name in normalise.differing(seen, record.fields, compare) if name not in delta.want]


# ---- what a run that died left open ---------------------------------------------------------------------------------


def recover(state: State, writer: Writer, intents: Iterable[Mapping[str, Any]], scope: Scope) -> None:
    """Look up what was sent and never confirmed, and write down what became of it. Nothing is sent again (law 3).

    Raises CrmUnreachableError and SnapshotError.
    """
    for intent in intents:
        record = writer.find(intent["crm_id"], intent["key"])
        if record is not None and intent["crm_id"] not in {None, record.id}:
            record = None  # another record has its key now
        outcome, why = _became(intent, record)
        with state.begin() as connection:
            ledger.settle(connection, intent["id"], outcome, why, record.id if record else None)
            if outcome is Outcome.DONE:
                _agree_later(connection, state, intent, record, scope)


def _became(intent: Mapping[str, Any], record: Record | None) -> tuple[Outcome, str]:
    """Tell from how a record is now whether a write that nobody confirmed had reached it."""
    presence = record.presence if record else Presence.ABSENT
    match Action(intent["action"]):
        case Action.DELETE:
            done = presence is Presence.ABSENT
        case Action.CANCEL:
            done = presence is Presence.CANCELLED
        case _:
            done = record is not None and presence is Presence.LIVE and _holds(record, intent["after"])
    if done:
        return Outcome.DONE, "looked up after an interruption: it had been written"
    return Outcome.FAILED, "looked up after an interruption: it had not been written, or was changed since"


def _holds(record: Record, after: Fields) -> bool:
    hard = [name for name in after if name not in _SOFT]
    return all(normalise.same(name, after[name], record.fields.get(name)) for name in hard)


def _agree_later(
    connection: Connection, state: State, intent: Mapping[str, Any], record: Record | None, scope: Scope
) -> None:
    """Refresh the base from a write that was confirmed by looking it up; it is open until both sides are compared."""
    if intent["action"] == Action.DELETE:
        ledger.drop_links(connection, state, [intent["crm_id"]])
        return
    link = _link_of(connection, state, intent, record, scope) if record else None
    if link is None or record is None:
        return
    if intent["action"] == Action.CANCEL:
        link = replace(link, cancelled_by_us=True)
    else:
        kept = {name: record.fields.get(name) for name in intent["after"]}
        base, base_crm = {**(link.base or {}), **intent["after"]}, {**(link.base_crm or {}), **kept}
        link = replace(link, base=base, base_crm=base_crm, cancelled_by_us=False)
    ledger.save_links(connection, state, [(replace(link, version=record.version), None, None)])


def _link_of(
    connection: Connection, state: State, intent: Mapping[str, Any], record: Record, scope: Scope
) -> Link | None:
    """Return the link of a record, or the one that a create was about to make."""
    known = compare.one_link(connection, state, scope, crm_id=record.id)
    if known is not None:
        return known.link
    sighting = compare.one_event(connection, state, key=intent["key"])
    if sighting is None or compare.one_link(connection, state, scope, event=sighting.seen.event):
        return None
    return Link(record.id, sighting.calendar, sighting.seen.event, sighting.seen.meeting, Tier.KEY)
