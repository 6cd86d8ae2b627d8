"""Answer "why": one appointment with both sides, base, match, verdict and history, as it was last observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler import decide, findings, holding
from reconciler.accepting import Accepted
from reconciler.comparing import world_of
from reconciler.model import Mode, Presence, Situation, Step, Verdict
from reconciler.observe import Observed
from reconciler.pairing import judged_event, judged_link, judged_record, records_by_key, stranger
from reconciler.setup import Setup
from reconciler.store import accepted, compare, journal, ledger, records, state

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.findings import Outlook
    from reconciler.judgement import Judged, World
    from reconciler.model import Pair
    from reconciler.store.compare import Sighting
    from reconciler.store.database import Connection
    from reconciler.store.state import State


@dataclass(frozen=True, slots=True)
class Explanation:
    """What is known of one appointment. `history` is the journal, oldest first; `finding` the stored one, if any."""

    key: str
    pair: Pair
    verdict: Verdict
    outlook: Outlook
    history: Sequence[dict[str, Any]]
    finding: dict[str, Any] | None


def explain(setup: Setup, key: str) -> Explanation | None:
    """Explain the appointment that `key` (a finding's key, a source key or a CRM id) names; None when it is unknown.

    Reads the state database alone: it says what the last run saw.
    """
    with setup.state.begin() as connection:
        shape = state.shape(connection, setup.state)
        if shape is None:
            return None
        observed = [_as_last_read(each) for each in state.watch(connection, setup.state, setup.directory.calendars)]
        world = world_of(setup, observed, setup.clock(), shape)
        finding = ledger.find_finding(connection, setup.state, key)
        found = _named(connection, setup.state, world, key, finding)
        if found is None:
            return None
        name, record = _source_key(found.pair), found.pair.record
        history = journal.history(connection, setup.state, name or key, record.id if record else None)
        verdict = _verdict(found, world)
        known = Accepted(accepted.all_of(connection, setup.state), world.context.now)
        held = holding.held(connection, setup.state, world.rules.compare)
        _, outlook = held.rule(found, findings.outlook(found.pair, verdict, world.context))
        return Explanation(key, found.pair, verdict, known.of(outlook), history, finding)


def _verdict(found: Judged, world: World) -> Verdict:
    """Return what was decided; sides that a person let differ agree for as long as they stand like that."""
    seen, record = found.pair.seen, found.pair.record
    if seen is None or record is None or record.presence is not Presence.LIVE or not decide.is_live(seen):
        return found.verdict
    if not decide.is_base(seen, record, found.pair.link, world.rules.compare):
        return found.verdict
    return Verdict(Situation.IN_SYNC, Step.NOTHING, reason="both sides stand as they were agreed on")


def _named(
    connection: Connection, store: State, world: World, key: str, finding: dict[str, Any] | None
) -> Judged | None:
    """Judge what a finding, a source key or a CRM id names, as it was last observed."""
    crm_id, event = (finding["crm_id"], finding["event"]) if finding else (key, None)
    sighting = compare.one_event(connection, store, event=event) if event else None
    sighting = sighting or compare.one_event(connection, store, key=key)
    link = compare.one_link(connection, store, world.scope, crm_id=crm_id) if crm_id else None
    if link is None and sighting is not None:
        link = compare.one_link(connection, store, world.scope, event=sighting.seen.event)
    if link is not None:
        return judged_link(link, link.sighting or sighting, world)
    return _unlinked(connection, store, world, crm_id, sighting)


def _unlinked(
    connection: Connection, store: State, world: World, crm_id: str | None, sighting: Sighting | None
) -> Judged | None:
    if sighting is not None and sighting.seen.relevance is not None and sighting.calendar in world.watched:
        by_key = records_by_key(connection, store, world.scope, [sighting.seen], lambda _: ())
        owners = records.agents_with_unlinked(connection, store)
        return judged_event(connection, store, world, sighting, by_key, owners)
    record = compare.one_record(connection, store, crm_id) if crm_id else None
    return judged_record(record, world) or stranger(record) if record else None


def _as_last_read(watched: state.Watched) -> Observed:
    readable = watched.strikes == 0 and watched.seen_at is not None
    entries = tuple((entry.id, entry.why) for entry in watched.quarantined)
    return Observed(watched=watched, mode=Mode.INCREMENTAL if readable else None, why=watched.why, quarantined=entries)


def _source_key(pair: Pair) -> str | None:
    if pair.seen and pair.seen.keys:
        return pair.seen.keys[0]
    return pair.record.key if pair.record else None
