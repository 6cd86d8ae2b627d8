"""Bring both sides together: what plain equality can't tell is matched, decided and turned into findings and deltas.

Reads the state database in one transaction; the judgement itself is in the pure modules.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import decide, findings, groups, match, normalise, patterns
from reconciler.agreement import Agreed, Agreement
from reconciler.decide import Rules
from reconciler.judgement import Bench, Judged, Judgement, Ruled, Rulings, World, no_ruling
from reconciler.match import Candidates
from reconciler.model import Link, Outcome, Pair, Presence, Record, Role, Situation, Step, Tier, Verdict
from reconciler.pairing import (
    beside,
    forsaken,
    holds,
    judged_event,
    judged_link,
    judged_record,
    kept_back,
    left_behind,
    moved_away,
    moved_here,
    records_by_key,
    spoken_elsewhere,
    under_another_name,
)
from reconciler.store import codec, compare, journal, ledger, records
from reconciler.store.compare import Candidate, Sighting
from reconciler.store.database import batched

if TYPE_CHECKING:
    from reconciler.store.database import Connection
    from reconciler.store.state import State

BATCH = 1000
"""Events that are matched at once."""

AGENTS = 50
"""Agents whose diaries are held in memory at once."""


def judge(
    connection: Connection,
    state: State,
    world: World,
    *,
    agree: Callable[[Sequence[Agreed]], None],
    fetch: Callable[[Iterable[str]], Sequence[Record]],
    rulings: Rulings = no_ruling,
    recognised: Callable[[Sequence[Ruled]], Iterable[Ruled]] = iter,
) -> Judgement:
    """Compare both sides. `agree` is handed the links of pairs that agree; `fetch` looks records up by key.

    `rulings` make what has the last word on every pair that does not simply agree; `recognised` is asked after them,
    with all pairs at once, which of those that would be created are there already.
    """
    found = Judgement()
    agreement = Agreement(agree, found, world.rules.compare, world.context.origin)
    from_links = list(_from_links(connection, state, world, agreement, found))
    from_links = list(_recreated(connection, state, world, agreement, fetch, from_links))
    lost = left_behind(from_links)
    judged = list(_from_events(connection, state, world, agreement, fetch, lost, forsaken(from_links)))
    kept = {one.pair.record.id: one for one in kept_back(judged, lost, world) if one.pair.record}
    from_links = [one for one in from_links if one.pair.record is None or one.pair.record.id not in agreement.claimed]
    judged += [kept.get(one.pair.record.id, one) if one.pair.record else one for one in from_links]
    agreement.flush()
    judged = moved_away(connection, state, judged)
    judged = _grouped(connection, state, world, judged, found)
    judged += _from_records(connection, state, world, judged, agreement.claimed | agreement.spoken_for, found)
    ruling = rulings(_bench(connection, state, world, judged, found, agreement))
    ruled = [ruling(one, findings.outlook(one.pair, one.verdict, world.context)) for one in judged]
    for one, outlook in recognised(ruled):
        found.tally(one, outlook)
    _groups(connection, state, world, found)
    _count(connection, state, world, found)
    return found


def _bench(
    connection: Connection,
    state: State,
    world: World,
    judged: Sequence[Judged],
    found: Judgement,
    agreement: Agreement,
) -> Bench:
    """Return what rulings may look at."""
    taken = agreement.claimed | agreement.spoken_for

    def record(crm_id: str) -> Record | None:
        found = compare.one_record(connection, state, crm_id)
        return found.record() if found else None

    def is_free(crm_id: str) -> bool:
        return crm_id not in taken and ledger.standing_place_of(connection, state, crm_id) is None

    return Bench(world=world, judged=judged, groups=tuple(found.findings), record=record, is_free=is_free)


# ---- from links -----------------------------------------------------------------------------------------------------


def _from_links(
    connection: Connection, state: State, world: World, agreement: Agreement, found: Judgement
) -> Iterator[Judged]:
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
) -> Iterator[Judged]:
    """Judge links with the copy they hang on, else with the one that now speaks for the meeting, if no link has it."""
    lost: list[compare.Unequal] = []
    for unequal in apart:
        if unequal.sighting is None:
            lost.append(unequal)
        else:
            yield judged_link(unequal, unequal.sighting, world)
    speakers = compare.speakers(connection, state, world.scope, {unequal.link.meeting for unequal in lost})
    for unequal in lost:
        speaker = speakers.get(unequal.link.meeting)
        if speaker is not None and speaker.linked:
            yield beside(unequal, speaker, world)
        elif speaker is not None or unequal.holding is not None:
            yield judged_link(unequal, speaker, world)
        if speaker is not None:
            speakers[unequal.link.meeting] = replace(speaker, linked=True)


def _recreated(
    connection: Connection,
    state: State,
    world: World,
    agreement: Agreement,
    fetch: Callable[[Iterable[str]], Sequence[Record]],
    judged: Iterable[Judged],
) -> Iterator[Judged]:
    """Follow records that were deleted and entered anew: under its exact key and agent, a link finds its row again."""
    for batch in batched(judged, BATCH):
        lost = {one.pair.seen.event: one.pair.seen for one in batch if one.pair.seen and _has_lost_record(one)}
        by_key = records_by_key(connection, state, world.scope, [*lost.values()], fetch)
        for one in batch:
            again = _linked_anew(one, by_key, world, agreement) if _has_lost_record(one) else one
            if again is one or not agreement.take(again):
                yield again


def _has_lost_record(one: Judged) -> bool:
    """Tell whether an event is there and judged, and the record that its link leads to is not."""
    record, lost = one.pair.record, {Situation.REMOVED_FROM_CRM, Situation.REMOVED_AND_EDITED}
    is_lost = record is None or record.presence is Presence.ABSENT
    return one.event and is_lost and one.verdict.situation in lost


def _linked_anew(one: Judged, by_key: Mapping[str, list[Candidate]], world: World, agreement: Agreement) -> Judged:
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
    found = replace(found, holds=holds(found, world))
    return replace(one, pair=found, verdict=decide.decide(found, world.rules), record=live[0].in_scope)


def _place(pair: Pair) -> tuple[int, str] | None:
    return None if pair.calendar_id is None or pair.seen is None else (pair.calendar_id, pair.seen.event)


def _apart(weighed: Iterable[compare.Weighed], world: World, found: Judgement) -> Iterator[str]:
    """Yield the records of observed calendars' links that don't agree; count all others."""
    for one in weighed:
        if one.calendar in world.watched:
            found.linked[_owner(world, one.calendar)] += one.live
        if one.calendar in world.scope.blind:
            found.pairs["held"] += one.recorded
            found.records["held"] += one.recorded
            continue
        for side in (found.pairs, found.events, found.records):
            side["in_sync"] += one.clean
        yield from one.apart


# ---- from events without a link -------------------------------------------------------------------------------------


def _from_events(
    connection: Connection,
    state: State,
    world: World,
    agreement: Agreement,
    fetch: Callable[[Iterable[str]], Sequence[Record]],
    lost: Mapping[str, Judged],
    alone: Mapping[str, Sequence[Record]],
) -> Iterator[Judged]:
    """Match the events that no link holds, by key and by nature, and judge what comes of it."""
    owners = records.agents_with_unlinked(connection, state)
    contested = compare.contested_keys(connection, state, world.scope)
    for batch in batched(compare.unlinked_events(connection, state, world.scope), BATCH):
        for found in _matched(connection, state, world, batch, owners, fetch, agreement.places):
            one = under_another_name(moved_here(found, lost, world), alone, world)
            fair = _one_claim(one, agreement, contested, state.salt, world.rules)
            if fair.pair.record is not None:
                agreement.claimed.add(fair.pair.record.id)
            if not agreement.take(fair):
                yield fair


def _one_claim(one: Judged, agreement: Agreement, contested: frozenset[bytes], salt: bytes, rules: Rules) -> Judged:
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
) -> Iterator[Judged]:
    linked = compare.linked_meetings(connection, state, {sighting.seen.meeting for sighting in batch})
    by_key = records_by_key(connection, state, world.scope, [sighting.seen for sighting in batch], fetch)
    for sighting in batch:
        if (sighting.calendar, sighting.seen.event) in taken:
            continue  # judged with the link
        if sighting.seen.meeting in linked:
            if sighting.in_scope:
                yield spoken_elsewhere(sighting)
            continue
        one = judged_event(connection, state, world, sighting, by_key, owners)
        if one is not None:
            yield one


# ---- groups ---------------------------------------------------------------------------------------------------------


def _grouped(
    connection: Connection, state: State, world: World, judged: list[Judged], found: Judgement
) -> list[Judged]:
    """Let groups hold what single pairs would do: constant shifts, cut series, flapping."""
    plain = [(one.pair, one.verdict) for one in judged]
    held: dict[int, str] = {}
    for group in patterns.shifts(plain, found.linked):
        held |= {id(pair): patterns.TZ_SHIFT for pair in group.pairs}
        found.findings.append(groups.shifted(group, world.context))
    cut = patterns.cut_series(plain)
    plain = patterns.hold_new_occurrences(plain, cut)
    plain = patterns.hold_continuations(plain, world.context.now)
    flapping = _flapping(connection, state, world, judged)
    following = []
    for one, (pair, verdict) in zip(judged, plain, strict=True):
        if id(one.pair) in held:
            hold = Verdict(verdict.situation, Step.HOLD, reason=held[id(one.pair)])
            following.append(replace(one, pair=replace(pair, holds=(*pair.holds, patterns.TZ_SHIFT)), verdict=hold))
        elif id(one.pair) in flapping:
            hold = Verdict(verdict.situation, Step.HOLD, reason=patterns.FLAPPING)
            following.append(replace(one, pair=replace(pair, holds=(*pair.holds, patterns.FLAPPING)), verdict=hold))
        else:
            following.append(replace(one, pair=pair, verdict=verdict))
    return following


def _flapping(connection: Connection, state: State, world: World, judged: Iterable[Judged]) -> set[int]:
    """Return the pairs of which a side would be given, once more, what it was given three times in seven days."""
    looked = ((one.pair, findings.outlook(one.pair, one.verdict, world.context)) for one in judged)
    meant = [
        (id(pair), journal.wrote(delta))
        for pair, outlook in looked
        for delta in outlook.deltas
        if delta.outcome is Outcome.PLANNED
    ]
    since = world.context.now - patterns.FLAPPING_FOR
    wanted = {wrote for _, wrote in meant}
    flapping = patterns.flapping(wanted, journal.writes_since(connection, state, since, wanted))
    return {number for number, wrote in meant if wrote in flapping}


def _groups(connection: Connection, state: State, world: World, found: Judgement) -> None:
    """Add what concerns people only: duplicates in the CRM, and agents in two places at once."""
    now = codec.epoch(world.context.now)
    crowded = compare.crowded_records(connection, state, now, int(patterns.SAME_TIME.total_seconds()))
    ours = [record for record in crowded if record.fields.get("agent") in world.people]
    found.findings = groups.doubled(found.findings, patterns.duplicates(ours), world.context.origin)
    zones = {one.email: one.timezone for one in world.people.values()}
    for busy in _busy(connection, state, world, now):
        places = {id(one.seen): one.calendar for one in busy}
        clashes = patterns.double_bookings((_owner(world, one.calendar), one.seen) for one in busy)
        found.findings += [
            groups.double_booked(*clash, world.context, places, zones.get(clash[0])) for clash in clashes
        ]


def _owner(world: World, calendar: int) -> str:
    return world.watched[calendar].calendar.agent.email


def _busy(connection: Connection, state: State, world: World, now: int) -> Iterator[list[Sighting]]:
    """Yield the events to come, some agents at once, of those with a clash or with several calendars."""
    numbers: defaultdict[str, list[int]] = defaultdict(list)
    for number, watched in world.watched.items():
        if watched.calendar.agent.role is Role.AGENT:
            numbers[_owner(world, number)].append(number)
    seconds = int(patterns.OVERLAP.total_seconds())
    crowded = compare.crowded_calendars(connection, state, world.scope, now, seconds)
    meant = [theirs for theirs in numbers.values() if len(theirs) > 1 or crowded.intersection(theirs)]
    for some in batched(meant, AGENTS):
        numbered = [one for theirs in some for one in theirs]
        yield [*compare.busy_events(connection, state, world.scope, now, numbered)]


# ---- from records without a link ------------------------------------------------------------------------------------


def _from_records(
    connection: Connection,
    state: State,
    world: World,
    judged: Sequence[Judged],
    claimed: set[str],
    found: Judgement,
) -> list[Judged]:
    """Judge the live records that no event claims: ours to come are missing in the calendar, the rest are strangers."""
    suggested = {crm_id for one in judged for crm_id in one.others} - claimed
    alone = []
    for row in compare.unlinked_records(connection, state, world.scope):
        if row.crm_id in claimed:
            continue
        if row.crm_id in suggested:
            found.records["human"] += 1
        elif (one := judged_record(row, world)) is not None:
            alone.append(one)
        else:
            found.records["strangers"] += 1
    return _not_hidden(connection, state, alone, found)


def _not_hidden(connection: Connection, state: State, alone: list[Judged], found: Judgement) -> list[Judged]:
    """Hold records whose event was not read as an appointment: its calendar is read whole next time."""
    marks = {
        normalise.key_digest(record.key, state.salt): record.id
        for one in alone
        if (record := one.pair.record) is not None and record.key
    }
    hidden = compare.hidden_keys(connection, state, marks)
    found.reread |= set(hidden.values())
    held = {marks[mark] for mark in hidden}
    return [_hidden(one) if one.pair.record and one.pair.record.id in held else one for one in alone]


def _hidden(one: Judged) -> Judged:
    return replace(
        one, pair=replace(one.pair, holds=("unobserved",)), verdict=Verdict(one.verdict.situation, Step.HOLD)
    )


# ---- counting -------------------------------------------------------------------------------------------------------


def _count(connection: Connection, state: State, world: World, found: Judgement) -> None:
    """Count what no link holds and nobody judges where it lies, and both totals independently of all judging."""
    counted = compare.events(connection, state, world.scope)
    total = compare.records_in_scope(connection, state, world.scope)
    found.by_calendar = {number: one.events for number, one in counted.items()}
    found.events_total = sum(one.events for one in counted.values())
    found.records_total = total
    found.events["irrelevant"] += sum(one.irrelevant for one in counted.values())
    found.events["copies"] += sum(one.copies for one in counted.values())
