"""Answer "why": one appointment with both sides, base, match, verdict and history, as it was last observed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler import decide, findings, holding, judge, match, resolving
from reconciler.accepting import Accepted
from reconciler.comparing import world_of
from reconciler.findings import key_of
from reconciler.judgement import Bench, Judged, as_it_is
from reconciler.model import Mode, Presence, Side, Situation, Step, Tier, Verdict
from reconciler.observe import Observed
from reconciler.pairing import judged_event, judged_link, judged_record, records_by_key, stranger
from reconciler.selecting import shift_of
from reconciler.setup import Setup
from reconciler.store import about, accepted, compare, holds, journal, ledger, overview, records, state

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.decide import Rules
    from reconciler.findings import Outlook
    from reconciler.judgement import Ruling, World
    from reconciler.model import Finding, Pair
    from reconciler.store.about import Told
    from reconciler.store.compare import Sighting
    from reconciler.store.consents import Stored
    from reconciler.store.database import Connection
    from reconciler.store.state import State


SHORTEST: Final = 4
"""Characters of a finding's key that may stand for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What is known of one appointment, by whatever `key` was asked for; `name` is how its deltas are known.

    `history` is the journal, oldest first; `told` are the findings about it that runs have left; `hold` is the revert
    that it is held by; `waiting` the plan that waits for consent and has it; `consented` who consented, by digest;
    `copies` are the other calendars that have the meeting; `group` says what it is held for together with others;
    `takes` are the sides whose word a person could take; `compared` the fields that both sides are asked for.
    """

    key: str
    name: str
    pair: Pair
    verdict: Verdict
    outlook: Outlook
    history: Sequence[dict[str, Any]]
    told: Sequence[Told]
    hold: str | None
    waiting: Stored | None
    consented: Mapping[str, str]
    copies: Sequence[str]
    group: Finding | None
    takes: Sequence[Side]
    compared: Sequence[str]


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
    bench = _beside_all(setup.state, world)
    return _told(setup.state, key, _among(found, bench), bench)


def like(setup: Setup, prefix: str) -> Sequence[Told]:
    """Return the findings that a part of a key may mean."""
    with setup.state.begin() as connection:
        return about.findings_like(connection, setup.state, prefix) if len(prefix) >= SHORTEST else ()


def _told(store: State, key: str, one: Judged, bench: Bench) -> Explanation:
    """Add what the state keeps about an appointment beside its sides."""
    pair, rules = one.pair, bench.world.rules
    seen, record = pair.seen, pair.record
    crm_id = record.id if record else pair.link.crm_id if pair.link else None
    name, verdict, group = key_of(pair), _verdict(one, rules), shift_of(pair, bench.groups)
    with store.reading() as connection:
        history = journal.history(connection, store, name, crm_id)
        left = overview.waiting(connection, store)
        hold = holds.of(connection, store, [name]).get(name)
        known = about.findings_about(connection, store, crm_id, seen.event if seen else None)
        shared = ledger.find_finding(connection, store, group.key) if group else None
        return Explanation(
            key=key,
            name=name,
            pair=pair,
            verdict=verdict,
            outlook=_outlook(connection, store, pair, verdict, bench.world),
            history=history,
            told=[*([about.told(shared)] if shared else []), *known],
            hold=hold.run if hold else None,
            waiting=about.waiting_for(connection, store, left.digest if left else None, name),
            consented=about.who_consented(connection, store, (row["approval"] for row in history if row["approval"])),
            copies=about.copies(connection, store, seen.meeting, pair.calendar_id) if seen else (),
            group=group,
            takes=_takes(pair, rules),
            compared=rules.compare,
        )


def _outlook(connection: Connection, store: State, pair: Pair, verdict: Verdict, world: World) -> Outlook:
    """Return what a pair comes to after people had their say."""
    known = Accepted(accepted.all_of(connection, store), world.context.now)
    held = holding.held(connection, store, world.rules.compare)
    _, outlook = held.rule(Judged(pair, verdict), findings.outlook(pair, verdict, world.context))
    return known.of(outlook)


def _takes(pair: Pair, rules: Rules) -> tuple[Side, ...]:
    """Return the sides whose word `resolve` could take: of an event that may be one record, and no other, both."""
    if match.AMBIGUOUS in pair.holds:
        return tuple(Side) if pair.tier is Tier.NATURAL and len(pair.candidates) == 1 else ()
    return tuple(side for side in Side if not isinstance(resolving.settled(pair, side, rules), str))


# ---- beside all others ----------------------------------------------------------------------------------------------


def _beside_all(store: State, world: World) -> Bench:
    """Judge everything as a run would, and write nothing: what only a group shows is not seen in one pair."""
    seen: list[Bench] = []

    def look(bench: Bench) -> Ruling:
        seen.append(bench)
        return as_it_is

    with store.reading() as connection:
        judge.judge(connection, store, world, agree=lambda _: None, fetch=lambda _: (), rulings=look)
    return seen[0]


def _among(found: Judged, bench: Bench) -> Judged:
    """Return an appointment as it is judged beside all others; for a record that may be an event's, that event."""
    name, record = key_of(found.pair), found.pair.record
    same = (one for one in bench.judged if key_of(one.pair) == name)
    maybe = (one for one in bench.judged if record is not None and record.id in one.others)
    return next(same, None) or next(maybe, found)


def _verdict(found: Judged, rules: Rules) -> Verdict:
    """Return what was decided; sides that a person let differ agree for as long as they stand like that."""
    seen, record = found.pair.seen, found.pair.record
    if seen is None or record is None or record.presence is not Presence.LIVE or not decide.is_live(seen):
        return found.verdict
    if not decide.is_base(seen, record, found.pair.link, rules.compare):
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
