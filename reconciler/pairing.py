"""Judge one pair at a time: what stands on both sides, why it may have to wait, and what the decision table says."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler import decide, match, normalise
from reconciler.decide import CLAIMED
from reconciler.forgotten import reduced
from reconciler.judgement import Judged, World
from reconciler.match import Candidates
from reconciler.model import (
    Absence,
    AgentState,
    Pair,
    Presence,
    Record,
    Role,
    Seen,
    Side,
    Situation,
    Step,
    Tier,
    Verdict,
)
from reconciler.store import codec, compare, ledger, records
from reconciler.store.compare import Candidate, Scope, Sighting

if TYPE_CHECKING:
    from reconciler.store.database import Connection
    from reconciler.store.state import State


_MOVED_AWAY = "the event that we made for it was moved to another calendar"


def judged_link(unequal: compare.Unequal, sighting: Sighting | None, world: World) -> Judged:
    watched = world.watched.get(sighting.calendar) if sighting else None
    pair = Pair(
        seen=sighting.seen if sighting else None,
        calendar=watched.calendar if watched else None,
        calendar_id=sighting.calendar if sighting else None,
        record=unequal.holding.record if unequal.holding else None,
        link=unequal.link,
        tier=Tier.LINK,
        is_gone=unequal.holding is None,  # what links name and no snapshot shows was looked up by id (`observe_crm`)
    )
    pair = discreet(replace(pair, holds=holds(pair, world)))
    event = sighting is not None and sighting.in_scope and not is_blind(sighting.calendar, world)
    verdict = Verdict(Situation.IN_SYNC, Step.NOTHING) if unequal.is_over else decide.decide(pair, world.rules)
    return Judged(pair, verdict, event, record=unequal.holding is not None and unequal.holding.in_scope)


def discreet(pair: Pair) -> Pair:
    """Withhold of either side what is withheld of the other: a title of one names who asked to be forgotten by both."""
    seen, record = pair.seen, pair.record
    if seen is None or record is None or seen.withheld == record.withheld:
        return pair
    if seen.withheld:
        return replace(pair, record=replace(record, fields=reduced(record.fields), withheld=True))
    return replace(pair, seen=replace(seen, fields=reduced(seen.fields), private=True, withheld=True))


def beside(unequal: compare.Unequal, speaker: Sighting, world: World) -> Judged:
    """Judge the link of a meeting that has another one: a record too many, and which one is not ours to say."""
    one = judged_link(unequal, None, world)
    if one.pair.record is None or one.pair.record.presence is not Presence.LIVE:
        return one
    watched = world.watched.get(speaker.calendar)
    pair = replace(one.pair, seen=speaker.seen, calendar=watched.calendar if watched else None)
    pair = replace(match.contest(pair), record=one.pair.record)
    return replace(one, pair=pair, verdict=decide.decide(pair, world.rules))


def spoken_elsewhere(sighting: Sighting) -> Judged:
    """Hold a copy of a meeting whose link hangs on a calendar that was not observed."""
    pair = Pair(seen=sighting.seen, calendar=None, record=None, link=None, holds=("unobserved",))
    return Judged(pair, Verdict(Situation.HOLD, Step.HOLD, reason="unobserved"), event=True)


def is_blind(calendar: int, world: World) -> bool:
    return calendar in world.scope.blind or calendar not in world.watched


def holds(pair: Pair, world: World) -> tuple[str, ...]:
    """Return why a pair may not be judged in this run."""
    found = []
    if pair.calendar_id is not None and is_blind(pair.calendar_id, world):
        found.append("unobserved")
    if pair.seen is not None and _organizer_is_blind(pair, world):
        found.append("organizer_unobserved")
    if (pair.record is not None and pair.record.problem) or _is_quarantined(pair, world):
        found.append("quarantined")
    if world.unknown.holds(pair):
        found.append(decide.UNKNOWN)
    if _is_young(pair, world):
        found.append(decide.UNSETTLED)
    return tuple(found)


def _organizer_is_blind(pair: Pair, world: World) -> bool:
    """Tell whether the organizer's copy, which would speak for the meeting, lies in an unobserved calendar."""
    organizer = pair.seen.organizer if pair.seen else None
    if organizer is None or pair.calendar is None or organizer == pair.calendar.agent.email or world.record_per_agent:
        return False
    return organizer in world.blind_agents


def _is_quarantined(pair: Pair, world: World) -> bool:
    """Tell whether this event, or the series it belongs to, can't be read any more."""
    names = (pair.seen.event, pair.seen.series) if pair.seen else ()
    return any((pair.calendar_id, name) in world.quarantined for name in names if name)


def _is_young(pair: Pair, world: World) -> bool:
    """Tell whether the side that moved did so less than `settle` before all was seen; what has no time is settled."""
    believable = world.context.now + world.settle  # no clock is that far ahead: such a time says nothing
    sides = (_calendar_moved_at(pair, believable), _crm_moved_at(pair, believable))
    moved = [moment for moment in sides if moment is not None and moment <= believable]
    return bool(moved) and world.as_of - max(moved) < world.settle


def _calendar_moved_at(pair: Pair, believable: datetime) -> datetime | None:
    seen, link = pair.seen, pair.link
    if seen is None:
        return None
    modified = seen.modified if seen.modified and seen.modified <= believable else None
    if seen.absence is not None:
        return modified or seen.first_seen
    if link and link.base is not None and all(seen.fields.get(name) == value for name, value in link.base.items()):
        return None
    return modified or seen.first_seen


def _crm_moved_at(pair: Pair, believable: datetime) -> datetime | None:
    record, link = pair.record, pair.link
    if record is None or (link and link.version == record.version):
        return None
    return record.updated if record.updated and record.updated <= believable else record.first_seen


def records_by_key(
    connection: Connection,
    state: State,
    scope: Scope,
    events: Sequence[Seen],
    fetch: Callable[[Iterable[str]], Sequence[Record]],
) -> dict[str, list[Candidate]]:
    """Return the records under the keys of these events: from the snapshot, else looked up, wherever in time."""
    found = records.by_key(connection, state, {key for seen in events for key in seen.keys}, scope)
    unknown = {
        key
        for seen in events
        if seen.absence is None and not any(key in found for key in seen.keys)
        for key in seen.keys
    }
    for record in fetch(sorted(unknown)):
        found.setdefault(record.key or "", []).append(Candidate(record, linked=False, in_scope=False))
    return found


def judged_event(
    connection: Connection,
    state: State,
    world: World,
    sighting: Sighting,
    by_key: Mapping[str, list[Candidate]],
    owners: frozenset[str],
) -> Judged | None:
    """Judge one event without a link; None for one that is gone and that no record ever stood for."""
    seen, watched = sighting.seen, world.watched[sighting.calendar]
    pair = Pair(seen=seen, calendar=watched.calendar, calendar_id=sighting.calendar, record=None, link=None)
    if seen.claim is not None and seen.absence is None:
        return _made_by_us(connection, state, world, sighting, pair)
    keyed = [one for key in seen.keys for one in by_key.get(key, ()) if _may_be_theirs(one.record, seen, world)]
    natural = _natural(connection, state, seen, owners, world) if not keyed and seen.absence is None else []
    spoken_for = frozenset(one.record.id for one in keyed if one.linked)
    keyless = "key" not in world.context.mapped
    pair = discreet(match.match(pair, Candidates([one.record for one in keyed], natural, spoken_for, keyless=keyless)))
    if seen.absence is not None and pair.record is None:
        return None
    pair = replace(pair, holds=(*pair.holds, *holds(pair, world)))
    verdict = decide.decide(pair, world.rules)
    counts = any(one.in_scope for one in keyed if pair.record and one.record.id == pair.record.id)
    return Judged(pair, verdict, sighting.in_scope, record=counts, others=pair.candidates)


def _made_by_us(connection: Connection, state: State, world: World, sighting: Sighting, pair: Pair) -> Judged:
    """Judge an event that we made and know no link of any more: with its record, or held; it is never entered again."""
    found = compare.one_record(connection, state, sighting.seen.claim or "")
    record = found.record() if found else None
    if record is None or ledger.place_of(connection, state, record.id) is not None:
        held = replace(pair, holds=(CLAIMED,), candidates=(sighting.seen.claim or "",))
        return Judged(held, decide.decide(held, world.rules), sighting.in_scope)
    pair = discreet(replace(pair, record=record, tier=Tier.CLAIM))
    pair = replace(pair, holds=holds(pair, world))
    counts = record.presence is not Presence.ABSENT and _touches(record, world)
    return Judged(pair, decide.decide(pair, world.rules), sighting.in_scope, record=counts)


def _touches(record: Record, world: World) -> bool:
    """Tell whether a record without a link counts in this run."""
    span = codec.record_span(record.fields)
    if span is None:
        return True
    begins, ends = codec.scope_range(span)
    return begins < world.scope.end and ends > world.scope.start


def _may_be_theirs(record: Record, seen: Seen, world: World) -> bool:
    """Leave out what is deleted and, where each agent has a row of a meeting, the other agents' rows."""
    if record.presence is Presence.ABSENT:
        return False
    return not world.record_per_agent or record.fields.get("agent") == seen.fields.get("agent")


def _natural(connection: Connection, state: State, seen: Seen, owners: frozenset[str], world: World) -> list[Record]:
    """Return records of its agent near an event; without keys to tell them apart, those of other events too."""
    agent, has_keys = seen.fields.get("agent"), "key" in world.context.mapped
    if not isinstance(agent, str) or (has_keys and (agent not in owners or not seen.fields.get("contact"))):
        return []
    start = codec.epoch(seen.span.starts_at)
    return records.near(connection, state, agent, start, match.NATURAL_SECONDS, linked_too=not has_keys)


def forsaken(judged: Iterable[Judged]) -> dict[str, list[Record]]:
    """Return, by agent, the live records whose event is not shown any more, without a word that it is gone."""
    found: dict[str, list[Record]] = {}
    for one in judged:
        seen, record = one.pair.seen, one.pair.record
        if seen is None or record is None or seen.absence is not Absence.UNSEEN or "unobserved" in one.pair.holds:
            continue
        if seen.stale:
            continue  # its series was cut: what goes on for it waits with it
        agent = record.fields.get("agent")
        if isinstance(agent, str) and record.presence is Presence.LIVE:
            found.setdefault(agent, []).append(record)
    return found


def under_another_name(one: Judged, alone: Mapping[str, Sequence[Record]], world: World) -> Judged:
    """Hold a create that may be what is not shown any more under its old name: some feeds name their entries anew."""
    seen = one.pair.seen
    if seen is None or one.verdict.step is not Step.CREATE:
        return one
    pair = match.match(one.pair, Candidates(natural=alone.get(str(seen.fields.get("agent")), ())))
    if pair is one.pair:
        return one
    return replace(one, pair=pair, verdict=decide.decide(pair, world.rules), others=pair.candidates)


def left_behind(judged: Iterable[Judged]) -> dict[str, Judged]:
    """Return the pairs whose copy is gone while the record stands, by the key it would have on another calendar."""
    gone = (one for one in judged if one.pair.seen and match.is_left_behind(one.pair))
    return {key: one for one in gone if one.pair.seen and (key := normalise.own_key(one.pair.seen.keys))}


def moved_here(one: Judged, lost: Mapping[str, Judged], world: World) -> Judged:
    """Judge an event with the record of the calendar it moved from: a change of owner, no cancel and no create."""
    left = _left(one, lost, world)
    pair = match.inherit(one.pair, left.pair) if left else None
    if left is None or pair is None:
        return one
    pair = replace(pair, holds=holds(pair, world))
    return replace(one, pair=pair, verdict=decide.decide(pair, world.rules), record=left.record, others=())


def moved_away(connection: Connection, state: State, judged: Sequence[Judged]) -> list[Judged]:
    """Leave to a person what we made and somebody moved to another calendar: there it has no record, and is no news."""
    marks = {
        normalise.key_digest(one.pair.seen.keys[0], state.salt): one
        for one in judged
        if one.verdict.step is Step.REMOVE and one.verdict.side is Side.CRM and _is_made_by_us(one.pair)
        if one.pair.seen and one.pair.seen.keys
    }
    moved = {id(marks[mark]) for mark in compare.hidden_keys(connection, state, marks)} if marks else set()
    verdict = Verdict(Situation.REMOVED_FROM_CALENDAR, Step.FINDING, reason=_MOVED_AWAY)
    return [replace(one, verdict=verdict) if id(one) in moved else one for one in judged]


def _is_made_by_us(pair: Pair) -> bool:
    return pair.link is not None and pair.link.tier is Tier.CLAIM


def kept_back(judged: Iterable[Judged], lost: Mapping[str, Judged], world: World) -> Iterator[Judged]:
    """Yield what is left behind while one of us shows the meeting elsewhere: it is not over, and not ours to guess."""
    for left in {id(left): left for one in judged if (left := _left(one, lost, world))}.values():
        pair = replace(match.contest(left.pair), record=left.pair.record)
        yield replace(left, pair=pair, verdict=decide.decide(pair, world.rules))


def _left(one: Judged, lost: Mapping[str, Judged], world: World) -> Judged | None:
    """Return the pair that an event may go on for."""
    left = lost.get(normalise.own_key(one.pair.seen.keys) or "") if one.pair.seen and lost else None
    return left if left and match.goes_on(one.pair, left.pair, world.people) else None


def judged_record(row: compare.Unlinked, world: World) -> Judged | None:
    """Judge a record without an event; None for a stranger's: not ours, over, or not alive."""
    agent = world.people.get(row.agent or "")
    if agent is None or agent.role is not Role.AGENT or row.presence != Presence.LIVE:
        return None
    record = row.record()
    if not _is_to_come(record, world):
        return None
    blind = agent.email in world.blind_agents or agent.state is AgentState.LEFT
    pair = Pair(seen=None, calendar=None, record=record, link=None, holds=("unobserved",) if blind else ())
    pair = replace(pair, holds=(*pair.holds, *holds(pair, world)))
    return Judged(pair, decide.decide(pair, world.rules), record=True)


def _is_to_come(record: Record, world: World) -> bool:
    if record.problem:
        return True
    span = codec.record_span(record.fields)
    return span is not None and not record.closed and span.starts_at > world.context.now


def stranger(row: compare.Unlinked) -> Judged:
    """Judge a record that is none of ours: the table has nothing to say of it."""
    pair = Pair(seen=None, calendar=None, record=row.record(), link=None)
    return Judged(pair, Verdict(Situation.IN_SYNC, Step.NOTHING, reason="a stranger's record"), record=True)
