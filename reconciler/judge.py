"""Bring both sides together: what plain equality can't tell is matched, decided and turned into findings and deltas.

Reads the state database in one transaction; the judgement itself is in the pure modules.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler import decide, findings, groups, match, normalise, patterns
from reconciler.decide import Rules
from reconciler.findings import Context, Outlook
from reconciler.match import Candidates
from reconciler.model import (
    AgentState,
    Fields,
    Finding,
    Link,
    Outcome,
    Pair,
    Presence,
    Record,
    Role,
    Seen,
    Situation,
    Step,
    Tier,
    Verdict,
)
from reconciler.store import codec, compare, ledger, records
from reconciler.store.compare import Candidate, Scope, Sighting
from reconciler.store.database import batched

if TYPE_CHECKING:
    from reconciler.model import Agent, Delta
    from reconciler.store.database import Connection
    from reconciler.store.state import State, Watched

Agreed = tuple[Link, bytes | None, bytes | None]
"""A link to be saved, with the digests of both sides (None keeps it unequal until it is settled)."""

BATCH = 1000

AGENTS = 50
"""Agents whose diaries are held in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What judging needs to know beyond the rows: the rules, the calendars, who is blind, the people and the time."""

    rules: Rules
    context: Context
    watched: Mapping[int, Watched]
    scope: Scope
    settle: timedelta
    people: Mapping[str, Agent]
    blind_agents: frozenset[str] = frozenset()  # of whom at least one calendar was not observed
    quarantined: frozenset[tuple[int, str]] = frozenset()
    record_per_agent: bool = False


@dataclass(frozen=True, slots=True)
class Proposal:
    """A delta with the pair it comes from: what applying it must know to refresh the base."""

    delta: Delta
    pair: Pair
    verdict: Verdict


@dataclass(slots=True)
class Judgement:
    """All that one comparison came to, counted by pair and by side."""

    findings: list[Finding] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    pairs: Counter[str] = field(default_factory=Counter)
    events: Counter[str] = field(default_factory=Counter)
    records: Counter[str] = field(default_factory=Counter)
    linked: Counter[str] = field(default_factory=Counter)
    events_total: int = 0
    records_total: int = 0
    by_calendar: dict[int, int] = field(default_factory=dict)
    reread: set[int] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Judged:
    pair: Pair
    verdict: Verdict
    event: bool = False  # counts among this run's events
    record: bool = False  # counts among this run's records
    others: tuple[str, ...] = ()  # records it may belong to


def judge(
    connection: Connection,
    state: State,
    world: World,
    *,
    agree: Callable[[Sequence[Agreed]], None],
    fetch: Callable[[Iterable[str]], Sequence[Record]],
) -> Judgement:
    """Compare both sides. `agree` is handed the links of pairs that turned out equal; `fetch` looks records up by key."""
    found = Judgement()
    agreement = _Agreement(agree, found, world.rules.compare)
    from_links = list(_from_links(connection, state, world, agreement, found))
    from_links = list(_recreated(connection, state, world, agreement, fetch, from_links))
    judged = list(_from_events(connection, state, world, agreement, fetch))
    judged += [one for one in from_links if one.pair.record is None or one.pair.record.id not in agreement.claimed]
    agreement.flush()
    judged = _grouped(connection, state, world, judged, found)
    judged += _from_records(connection, state, world, judged, agreement.claimed | agreement.spoken_for, found)
    for one in judged:
        _tally(found, one, findings.outlook(one.pair, one.verdict, world.context))
    _groups(connection, state, world, found)
    _count(connection, state, world, found)
    return found


# ---- pairs that agree -----------------------------------------------------------------------------------------------


class _Agreement:
    """Count pairs that agree, and hand their links on in batches: on a first run there may be a million."""

    def __init__(self, agree: Callable[[Sequence[Agreed]], None], found: Judgement, compare: tuple[str, ...]) -> None:
        self._agree = agree
        self._found = found
        self._compare = compare
        self._waiting: list[Agreed] = []
        self.claimed: set[str] = set()  # records that an event without a link was given
        self.spoken_for: set[str] = set()  # records that keep the event their link leads to
        self.places: set[tuple[int, str]] = set()  # events that were judged with a link

    def is_claimed(self, record: Record | None) -> bool:
        """Tell whether a record has an event already."""
        return record is not None and (record.id in self.claimed or record.id in self.spoken_for)

    def take(self, one: _Judged) -> bool:
        """Take a pair that needs nothing; False if it needs something."""
        if one.verdict.step not in {Step.NOTHING, Step.REFRESH_BASE, Step.FORGET}:
            return False
        _tally(self._found, one, findings.QUIET)
        if one.verdict.step is Step.REFRESH_BASE or _moved_copy(one.pair):
            self._keep(one.pair)
        return True

    def _keep(self, pair: Pair) -> None:
        if pair.seen is None or pair.record is None or pair.calendar is None:
            return
        self._waiting.append(agreed(pair, pair.record, self._compare))
        if pair.link is None:
            self._found.linked[pair.calendar.agent.email] += 1
        if len(self._waiting) >= BATCH:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            self._agree(self._waiting)
        self._waiting = []


def _moved_copy(pair: Pair) -> bool:
    """Tell whether another copy of the meeting now speaks for it than the one the link hangs on."""
    if pair.link is None or pair.seen is None or pair.record is None:
        return False
    return (pair.link.calendar, pair.link.event) != (pair.calendar_id, pair.seen.event)


def agreed(pair: Pair, record: Record, compared: tuple[str, ...], unsettled: Iterable[str] = ()) -> Agreed:
    """Return the link that says both sides agree now, but for the `unsettled` fields, which keep their old base.

    The base holds compared fields alone: one that is compared later was never agreed on.
    """
    seen, old = pair.seen, pair.link
    if seen is None or pair.calendar_id is None:
        raise ValueError("only an observed event can be agreed on")
    kept = frozenset(unsettled)
    link = Link(
        crm_id=record.id,
        calendar=pair.calendar_id,
        event=seen.event,
        meeting=seen.meeting,
        tier=old.tier if old else pair.tier or Tier.KEY,
        base=_base(seen.fields, old.base if old else None, compared, kept),
        base_crm=_base(record.fields, old.base_crm if old else None, compared, kept),
        version=record.version,
    )
    if kept:
        return link, None, None
    return link, seen.digest, normalise.digest(record.fields, compared)


def _base(now: Fields, before: Fields | None, compared: tuple[str, ...], kept: frozenset[str]) -> Fields:
    """Return one side's base: what it says now, and what it said before of the fields that are not settled."""
    settled = {name: now[name] for name in compared if name in now and name not in kept}
    return settled | {name: value for name, value in (before or {}).items() if name in kept}


# ---- from links -----------------------------------------------------------------------------------------------------


def _from_links(
    connection: Connection, state: State, world: World, agreement: _Agreement, found: Judgement
) -> Iterator[_Judged]:
    """Count the links that agree, and judge those of which a side moved."""
    apart = _apart(compare.weigh(connection, state), world, found)
    for one in _judged_links(connection, state, world, compare.unequal(connection, state, world.scope, apart)):
        is_quiet = agreement.take(one)
        if one.pair.record is not None and (is_quiet or one.event):
            agreement.spoken_for.add(one.pair.record.id)
        if place := _place(one.pair):
            agreement.places.add(place)
        if not is_quiet:
            yield one


def _judged_links(
    connection: Connection, state: State, world: World, apart: Iterable[compare.Unequal]
) -> Iterator[_Judged]:
    """Judge links with the copy they hang on, else with the one that now speaks for the meeting, if no link has it."""
    lost: list[compare.Unequal] = []
    for unequal in apart:
        if unequal.sighting is None:
            lost.append(unequal)
        else:
            yield _judged_link(unequal, unequal.sighting, world)
    speakers = compare.speakers(connection, state, world.scope, {unequal.link.meeting for unequal in lost})
    for unequal in lost:
        speaker = speakers.get(unequal.link.meeting)
        if speaker is not None and speaker.linked:
            yield _beside(unequal, speaker, world)
        elif speaker is not None or unequal.holding is not None:
            yield _judged_link(unequal, speaker, world)
        if speaker is not None:
            speakers[unequal.link.meeting] = replace(speaker, linked=True)


def _recreated(
    connection: Connection,
    state: State,
    world: World,
    agreement: _Agreement,
    fetch: Callable[[Iterable[str]], Sequence[Record]],
    judged: Iterable[_Judged],
) -> Iterator[_Judged]:
    """Follow records that were deleted and entered anew: under its exact key and agent, a link finds its row again."""
    for batch in batched(judged, BATCH):
        lost = {one.pair.seen.event: one.pair.seen for one in batch if one.pair.seen and _has_lost_record(one)}
        by_key = _records_by_key(connection, state, world.scope, [*lost.values()], fetch)
        for one in batch:
            again = _linked_anew(one, by_key, world, agreement) if _has_lost_record(one) else one
            if again is one or not agreement.take(again):
                yield again


def _has_lost_record(one: _Judged) -> bool:
    """Tell whether an event is there and judged, and the record that its link leads to is not."""
    return one.event and one.verdict.situation is Situation.REMOVED_FROM_CRM


def _linked_anew(one: _Judged, by_key: Mapping[str, list[Candidate]], world: World, agreement: _Agreement) -> _Judged:
    """Judge an event with the record that took the place of its own, as a pair that never agreed."""
    pair = one.pair
    if pair.seen is None or pair.link is None:
        return one
    live = [each for each in by_key.get(pair.seen.keys[0], ()) if each.record.presence is not Presence.ABSENT]
    found = match.match(replace(pair, record=None, link=None), Candidates([each.record for each in live]))
    if found.record is None or live[0].linked or agreement.is_claimed(found.record):
        return one
    agreement.spoken_for.add(found.record.id)
    link = Link(found.record.id, pair.link.calendar, pair.link.event, pair.link.meeting, Tier.KEY)
    found = replace(found, link=link, holds=())
    found = replace(found, holds=_holds(found, world))
    return replace(one, pair=found, verdict=decide.decide(found, world.rules), record=live[0].in_scope)


def _beside(unequal: compare.Unequal, speaker: Sighting, world: World) -> _Judged:
    """Judge the link of a meeting that has another one: a record too many, and which one is not ours to say."""
    one = _judged_link(unequal, None, world)
    if one.pair.record is None or one.pair.record.presence is not Presence.LIVE:
        return one
    watched = world.watched.get(speaker.calendar)
    pair = replace(one.pair, seen=speaker.seen, calendar=watched.calendar if watched else None)
    pair = replace(match.contest(pair), record=one.pair.record)
    return replace(one, pair=pair, verdict=decide.decide(pair, world.rules))


def _place(pair: Pair) -> tuple[int, str] | None:
    return None if pair.calendar_id is None or pair.seen is None else (pair.calendar_id, pair.seen.event)


def _apart(weighed: Iterable[compare.Weighed], world: World, found: Judgement) -> Iterator[str]:
    """Yield the records of observed calendars' links that don't agree; count all others."""
    for one in weighed:
        if one.calendar in world.watched:
            found.linked[world.watched[one.calendar].calendar.agent.email] += one.live
        if one.calendar in world.scope.blind:
            found.pairs["held"] += one.recorded
            found.records["held"] += one.recorded
            continue
        for side in (found.pairs, found.events, found.records):
            side["in_sync"] += one.clean
        yield from one.apart


def _judged_link(unequal: compare.Unequal, sighting: Sighting | None, world: World) -> _Judged:
    watched = world.watched.get(sighting.calendar) if sighting else None
    pair = Pair(
        seen=sighting.seen if sighting else None,
        calendar=watched.calendar if watched else None,
        calendar_id=sighting.calendar if sighting else None,
        record=unequal.holding.record if unequal.holding else None,
        link=unequal.link,
        tier=Tier.LINK,
    )
    pair = replace(pair, holds=_holds(pair, world))
    event = sighting is not None and sighting.in_scope and not _is_blind(sighting.calendar, world)
    verdict = Verdict(Situation.IN_SYNC, Step.NOTHING) if unequal.is_over else decide.decide(pair, world.rules)
    return _Judged(pair, verdict, event, record=unequal.holding is not None and unequal.holding.in_scope)


def _is_blind(calendar: int, world: World) -> bool:
    return calendar in world.scope.blind or calendar not in world.watched


def _holds(pair: Pair, world: World) -> tuple[str, ...]:
    """Return why a pair may not be judged in this run."""
    holds = []
    if pair.calendar_id is not None and _is_blind(pair.calendar_id, world):
        holds.append("unobserved")
    if pair.seen is not None and _organizer_is_blind(pair, world):
        holds.append("organizer_unobserved")
    if (pair.record is not None and pair.record.problem) or _is_quarantined(pair, world):
        holds.append("quarantined")
    if _is_young(pair, world):
        holds.append(decide.UNSETTLED)
    return tuple(holds)


def _organizer_is_blind(pair: Pair, world: World) -> bool:
    """Tell whether the organizer's copy, which would speak for the meeting, lies in a calendar that was not observed."""
    organizer = pair.seen.organizer if pair.seen else None
    if organizer is None or pair.calendar is None or organizer == pair.calendar.agent.email or world.record_per_agent:
        return False
    return organizer in world.blind_agents


def _is_quarantined(pair: Pair, world: World) -> bool:
    """Tell whether this event, or the series it belongs to, can't be read any more."""
    names = (pair.seen.event, pair.seen.series) if pair.seen else ()
    return any((pair.calendar_id, name) in world.quarantined for name in names if name)


def _is_young(pair: Pair, world: World) -> bool:
    """Tell whether the side that moved did so less than `settle` ago; what has no time is settled."""
    believable = world.context.now + world.settle  # no clock is that far ahead: such a time says nothing
    sides = (_calendar_moved_at(pair, believable), _crm_moved_at(pair))
    moved = [moment for moment in sides if moment is not None and moment <= believable]
    return bool(moved) and world.context.now - max(moved) < world.settle


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


def _crm_moved_at(pair: Pair) -> datetime | None:
    record, link = pair.record, pair.link
    if record is None or (link and link.version == record.version):
        return None
    return record.updated


# ---- from events without a link -------------------------------------------------------------------------------------


def _from_events(
    connection: Connection,
    state: State,
    world: World,
    agreement: _Agreement,
    fetch: Callable[[Iterable[str]], Sequence[Record]],
) -> Iterator[_Judged]:
    """Match the events that no link holds, by key and by nature, and judge what comes of it."""
    owners = records.agents_with_unlinked(connection, state)
    contested = compare.contested_keys(connection, state, world.scope)
    for batch in batched(compare.unlinked_events(connection, state, world.scope), BATCH):
        for one in _matched(connection, state, world, batch, owners, fetch, agreement.places):
            fair = _one_claim(one, agreement, contested, state.salt, world.rules)
            if fair.pair.record is not None:
                agreement.claimed.add(fair.pair.record.id)
            if not agreement.take(fair):
                yield fair


def _one_claim(one: _Judged, agreement: _Agreement, contested: frozenset[bytes], salt: bytes, rules: Rules) -> _Judged:
    """Hold an event that claims a record which another one claims too: two candidates are ambiguous, never a guess."""
    pair = one.pair
    if pair.seen is None or (pair.record is None and one.verdict.step is not Step.CREATE):
        return one
    if not agreement.is_claimed(pair.record) and normalise.key_digest(pair.seen.keys[0], salt) not in contested:
        return one
    pair = match.contest(pair)
    return replace(one, pair=pair, verdict=decide.decide(pair, rules), record=False, others=pair.candidates)


def _matched(
    connection: Connection,
    state: State,
    world: World,
    batch: Sequence[Sighting],
    owners: frozenset[str],
    fetch: Callable[[Iterable[str]], Sequence[Record]],
    taken: set[tuple[int, str]],
) -> Iterator[_Judged]:
    linked = compare.linked_meetings(connection, state, {sighting.seen.meeting for sighting in batch})
    by_key = _records_by_key(connection, state, world.scope, [sighting.seen for sighting in batch], fetch)
    for sighting in batch:
        if (sighting.calendar, sighting.seen.event) in taken:
            continue  # judged with the link
        if sighting.seen.meeting in linked:
            if sighting.in_scope:
                yield _spoken_elsewhere(sighting)
            continue
        one = _judged_event(connection, state, world, sighting, by_key, owners)
        if one is not None:
            yield one


def _spoken_elsewhere(sighting: Sighting) -> _Judged:
    """Hold a copy of a meeting whose link hangs on a calendar that was not observed."""
    pair = Pair(seen=sighting.seen, calendar=None, record=None, link=None, holds=("unobserved",))
    return _Judged(pair, Verdict(Situation.HOLD, Step.HOLD, reason="unobserved"), event=True)


def _records_by_key(
    connection: Connection,
    state: State,
    scope: Scope,
    events: Sequence[Seen],
    fetch: Callable[[Iterable[str]], Sequence[Record]],
) -> dict[str, list[Candidate]]:
    """Return the records under the keys of these events: from the snapshot, else looked up, wherever they are in time."""
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


def _judged_event(
    connection: Connection,
    state: State,
    world: World,
    sighting: Sighting,
    by_key: Mapping[str, list[Candidate]],
    owners: frozenset[str],
) -> _Judged | None:
    """Judge one event without a link; None for one that is gone and that no record ever stood for."""
    seen, watched = sighting.seen, world.watched[sighting.calendar]
    pair = Pair(seen=seen, calendar=watched.calendar, calendar_id=sighting.calendar, record=None, link=None)
    keyed = [one for key in seen.keys for one in by_key.get(key, ()) if _may_be_theirs(one.record, seen, world)]
    natural = _natural(connection, state, seen, owners) if not keyed and seen.absence is None else []
    spoken_for = frozenset(one.record.id for one in keyed if one.linked)
    pair = match.match(pair, Candidates([one.record for one in keyed], natural, spoken_for))
    if seen.absence is not None and pair.record is None:
        return None
    pair = replace(pair, holds=(*pair.holds, *_holds(pair, world)))
    verdict = decide.decide(pair, world.rules)
    counts = any(one.in_scope for one in keyed if pair.record and one.record.id == pair.record.id)
    return _Judged(pair, verdict, sighting.in_scope, record=counts, others=pair.candidates)


def _may_be_theirs(record: Record, seen: Seen, world: World) -> bool:
    """Leave out what is deleted and, where each agent has a row of a meeting, the other agents' rows."""
    if record.presence is Presence.ABSENT:
        return False
    return not world.record_per_agent or record.fields.get("agent") == seen.fields.get("agent")


def _natural(connection: Connection, state: State, seen: Seen, owners: frozenset[str]) -> list[Record]:
    agent = seen.fields.get("agent")
    if not isinstance(agent, str) or agent not in owners or not seen.fields.get("contact"):
        return []
    return records.near(connection, state, agent, codec.epoch(seen.span.starts_at), match.NATURAL_SECONDS)


# ---- groups ---------------------------------------------------------------------------------------------------------


def _grouped(
    connection: Connection, state: State, world: World, judged: list[_Judged], found: Judgement
) -> list[_Judged]:
    """Let groups hold what single pairs would do: constant shifts, cut series, flapping."""
    plain = [(one.pair, one.verdict) for one in judged]
    held: dict[int, str] = {}
    for group in patterns.shifts(plain, found.linked):
        held |= {id(pair): patterns.TZ_SHIFT for pair in group.pairs}
        found.findings.append(groups.shifted(group, world.context))
    cut = patterns.cut_series(plain)
    plain = patterns.hold_new_occurrences(plain, cut)
    flapping = _flapping(connection, state, world, judged)
    following = []
    for one, (pair, verdict) in zip(judged, plain, strict=True):
        if id(one.pair) in held:
            hold = Verdict(verdict.situation, Step.HOLD, reason=held[id(one.pair)])
            following.append(replace(one, pair=replace(pair, holds=(*pair.holds, patterns.TZ_SHIFT)), verdict=hold))
        elif pair.record is not None and pair.record.id in flapping:
            hold = Verdict(verdict.situation, Step.HOLD, reason=patterns.FLAPPING)
            following.append(replace(one, pair=replace(pair, holds=(*pair.holds, patterns.FLAPPING)), verdict=hold))
        else:
            following.append(replace(one, pair=pair, verdict=verdict))
    return following


def _flapping(connection: Connection, state: State, world: World, judged: Iterable[_Judged]) -> set[str]:
    """Return the records that would be given, once more, the content they were given three times in seven days."""
    wanted: dict[str, bytes] = {}
    for one in judged:
        outlook = findings.outlook(one.pair, one.verdict, world.context) if one.pair.record else None
        if outlook and outlook.delta and outlook.delta.crm_id and outlook.delta.outcome is Outcome.PLANNED:
            wanted[outlook.delta.crm_id] = ledger.content(outlook.delta)
    since = world.context.now - timedelta(days=7)
    writes = ledger.writes_since(connection, state, since, wanted)
    return {crm_id for crm_id, content in patterns.flapping(writes) if wanted.get(crm_id) == content}


def _groups(connection: Connection, state: State, world: World, found: Judgement) -> None:
    """Add what concerns people only: duplicates in the CRM, and agents in two places at once."""
    now = codec.epoch(world.context.now)
    crowded = compare.crowded_records(connection, state, now, int(patterns.SAME_TIME.total_seconds()))
    ours = [record for record in crowded if record.fields.get("agent") in world.people]
    found.findings += [groups.duplicated(group) for group in patterns.duplicates(ours)]
    for busy in _busy(connection, state, world, now):
        found.findings += [groups.double_booked(*clash, world.context) for clash in patterns.double_bookings(busy)]


def _busy(connection: Connection, state: State, world: World, now: int) -> Iterator[list[tuple[str, Seen]]]:
    """Yield the events to come of agents whose calendars hold a clash, or who have several calendars; some agents at once."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, watched in world.watched.items():
        if watched.calendar.agent.role is Role.AGENT:
            numbers[watched.calendar.agent.email].append(number)
    seconds = int(patterns.OVERLAP.total_seconds())
    crowded = compare.crowded_calendars(connection, state, world.scope, now, seconds)
    meant = [theirs for theirs in numbers.values() if len(theirs) > 1 or crowded.intersection(theirs)]
    for some in batched(meant, AGENTS):
        sightings = compare.busy_events(connection, state, world.scope, now, [one for theirs in some for one in theirs])
        yield [(world.watched[one.calendar].calendar.agent.email, one.seen) for one in sightings]


# ---- from records without a link ------------------------------------------------------------------------------------


def _from_records(
    connection: Connection,
    state: State,
    world: World,
    judged: Sequence[_Judged],
    claimed: set[str],
    found: Judgement,
) -> list[_Judged]:
    """Judge the live records that no event claims: ours to come are missing in the calendar, the rest are strangers."""
    suggested = {crm_id for one in judged for crm_id in one.others} - claimed
    alone = []
    for row in compare.unlinked_records(connection, state, world.scope):
        if row.crm_id in claimed:
            continue
        if row.crm_id in suggested:
            found.records["human"] += 1
        elif (one := _judged_record(row, world)) is not None:
            alone.append(one)
        else:
            found.records["strangers"] += 1
    return _not_hidden(connection, state, alone, found)


def _judged_record(row: compare.Unlinked, world: World) -> _Judged | None:
    """Judge a record without an event; None for a stranger's: not ours, over, or not alive."""
    agent = world.people.get(row.agent or "")
    if agent is None or agent.role is not Role.AGENT or row.presence != Presence.LIVE:
        return None
    record = row.record()
    if not _is_to_come(record, world):
        return None
    blind = agent.email in world.blind_agents or agent.state is AgentState.LEFT
    pair = Pair(seen=None, calendar=None, record=record, link=None, holds=("unobserved",) if blind else ())
    pair = replace(pair, holds=(*pair.holds, *_holds(pair, world)))
    return _Judged(pair, decide.decide(pair, world.rules), record=True)


def _is_to_come(record: Record, world: World) -> bool:
    if record.problem:
        return True
    span = codec.record_span(record.fields)
    return span is not None and not record.closed and span.starts_at > world.context.now


def _not_hidden(connection: Connection, state: State, alone: list[_Judged], found: Judgement) -> list[_Judged]:
    """Hold records whose event the calendar has, but was not read as an appointment: its calendar is read whole next time."""
    marks = {
        normalise.key_digest(record.key, state.salt): record.id
        for one in alone
        if (record := one.pair.record) is not None and record.key
    }
    hidden = compare.hidden_keys(connection, state, marks)
    found.reread |= set(hidden.values())
    held = {marks[mark] for mark in hidden}
    return [_hidden(one) if one.pair.record and one.pair.record.id in held else one for one in alone]


def _hidden(one: _Judged) -> _Judged:
    return replace(
        one, pair=replace(one.pair, holds=("unobserved",)), verdict=Verdict(one.verdict.situation, Step.HOLD)
    )


# ---- counting -------------------------------------------------------------------------------------------------------


def _tally(found: Judgement, one: _Judged, outlook: Outlook) -> None:
    """Count a judged pair once, and each of its sides once."""
    found.pairs[outlook.bucket] += 1
    if one.event:
        found.events[outlook.bucket] += 1
    if one.record:
        found.records[outlook.bucket] += 1
    found.findings += outlook.findings
    if outlook.delta is not None:
        found.proposals.append(Proposal(outlook.delta, one.pair, one.verdict))


def _count(connection: Connection, state: State, world: World, found: Judgement) -> None:
    """Count what no link holds and nobody judges where it lies, and both totals independently of all judging."""
    counted = compare.events(connection, state, world.scope)
    total = compare.records_in_scope(connection, state, world.scope)
    found.by_calendar = {number: one.events for number, one in counted.items()}
    found.events_total = sum(one.events for one in counted.values())
    found.records_total = total
    found.events["irrelevant"] += sum(one.irrelevant for one in counted.values())
    found.events["copies"] += sum(one.copies for one in counted.values())


# ---- one appointment ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Explained:
    """One appointment as it stands: both sides, what they agreed on, and what the table says of it."""

    pair: Pair
    verdict: Verdict
    outlook: Outlook


def explain(connection: Connection, state: State, world: World, key: str) -> Explained | None:
    """Judge one appointment by finding key, source key or CRM id as it was last observed; None when nothing is known."""
    finding = ledger.find_finding(connection, state, key)
    crm_id, event = (finding["crm_id"], finding["event"]) if finding else (key, None)
    sighting = compare.one_event(connection, state, event=event) if event else None
    sighting = sighting or compare.one_event(connection, state, key=key)
    one = _explained(connection, state, world, crm_id, sighting)
    if one is None:
        return None
    return Explained(one.pair, one.verdict, findings.outlook(one.pair, one.verdict, world.context))


def _explained(
    connection: Connection, state: State, world: World, crm_id: str | None, sighting: Sighting | None
) -> _Judged | None:
    link = compare.one_link(connection, state, world.scope, crm_id=crm_id) if crm_id else None
    if link is None and sighting is not None:
        link = compare.one_link(connection, state, world.scope, event=sighting.seen.event)
    if link is not None:
        return _judged_link(link, link.sighting or sighting, world)
    if sighting is not None and sighting.seen.relevance is not None and sighting.calendar in world.watched:
        by_key = _records_by_key(connection, state, world.scope, [sighting.seen], lambda _: ())
        owners = records.agents_with_unlinked(connection, state)
        return _judged_event(connection, state, world, sighting, by_key, owners)
    record = compare.one_record(connection, state, crm_id) if crm_id else None
    return _judged_record(record, world) or _stranger(record, world) if record else None


def _stranger(row: compare.Unlinked, world: World) -> _Judged:
    """Judge a record that is none of ours: the table has nothing to say of it."""
    pair = Pair(seen=None, calendar=None, record=row.record(), link=None)
    return _Judged(pair, Verdict(Situation.IN_SYNC, Step.NOTHING, reason="a stranger's record"), record=True)
