"""Which event belongs to which CRM record, and which copy of a meeting speaks for it. "Ambiguous" is an answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler import patterns
from reconciler.model import Pair, Presence, Record, Role, Seen, Tier, Value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model import Agent

NATURAL_SECONDS = 300
"""How far apart two starts may be for the natural key (DESIGN 5)."""

AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True)
class Copy:
    """One calendar's copy of a meeting. `linked` says that the meeting's link hangs on this copy."""

    calendar: int
    agent: str
    seen: Seen
    linked: bool = False


def elect(copies: Iterable[Copy]) -> Copy:
    """Return the copy that speaks for a meeting: alive, not declined, the organizer's, the linked one, by address."""
    return min(copies, key=_claim_to_speak)


def _claim_to_speak(copy: Copy) -> tuple[bool, bool, bool, bool, bool, str, int, str]:
    seen = copy.seen
    return (
        seen.absence is not None,
        seen.declined,  # a meeting compares as cancelled only when nobody of ours goes
        seen.organizer != copy.agent,
        not copy.linked,
        not (seen.absence is None or seen.absence.is_evidence),
        copy.agent,
        copy.calendar,
        seen.event,
    )


@dataclass(frozen=True, slots=True)
class Candidates:
    """The records that may belong to an event: by its keys, and by agent, client and time.

    `spoken_for` names those that another event is linked to already. `keyless` says that the CRM keeps no keys: then
    records of one agent at one time that name no client can't be told apart, and none is entered beside another.
    """

    by_key: Sequence[Record] = ()
    natural: Sequence[Record] = ()
    spoken_for: frozenset[str] = frozenset()
    keyless: bool = False


def match(pair: Pair, candidates: Candidates) -> Pair:
    """Return `pair` (an event without a link) with its record, or held as ambiguous, or alone: then it is new.

    An exact key adopts, if the agent is the same; the natural key only suggests.
    """
    seen = pair.seen
    if seen is None:
        return pair
    keyed = {record.id: record for record in candidates.by_key if _is_keyed(seen, record)}
    if len(keyed) > 1:
        return _ambiguous(pair, keyed)
    if keyed:
        (record,) = keyed.values()
        if record.fields.get("agent") != seen.fields.get("agent") or record.id in candidates.spoken_for:
            return _ambiguous(pair, keyed)
        return replace(pair, record=record, tier=Tier.KEY if record.key == seen.keys[0] else Tier.UID)
    nearby = {
        record.id: record
        for record in candidates.natural
        if is_natural(seen, record) or (candidates.keyless and is_nameless(seen, record))
    }
    return _ambiguous(pair, nearby, Tier.NATURAL) if nearby else pair


def _is_keyed(seen: Seen, record: Record) -> bool:
    """Tell whether a key leads to `record`; a weaker spelling (a series for its occurrence) only at the same start."""
    key = record.key or ""
    stronger = seen.keys[: seen.keys.index(key)] if key in seen.keys else ()
    is_weaker = any(key.startswith(f"{own}/") or own.startswith(f"{key}/") for own in stronger)
    return not is_weaker or record.fields.get("start") == seen.fields.get("start")


def is_natural(seen: Seen, record: Record) -> bool:
    """Tell whether a record may be this event: same agent, one client in common, start within five minutes."""
    if record.presence is not Presence.LIVE or record.fields.get("agent") != seen.fields.get("agent"):
        return False
    theirs, ours = record.fields.get("contact"), seen.fields.get("contact")
    if not isinstance(theirs, tuple) or not isinstance(ours, tuple) or not set(theirs) & set(ours):
        return False
    return _starts_near(seen.fields.get("start"), record.fields.get("start"))


def is_nameless(seen: Seen, record: Record) -> bool:
    """Tell whether agent and time are all that a record and an event have to be told by, and are the same."""
    if record.presence is not Presence.LIVE or record.fields.get("agent") != seen.fields.get("agent"):
        return False
    named = record.fields.get("contact") or ("contact" in record.fields and seen.fields.get("contact"))
    return not named and _starts_near(seen.fields.get("start"), record.fields.get("start"))


def _starts_near(one: Value, other: Value) -> bool:
    """Tell whether two starts are five minutes apart or less; all-day, on the same day."""
    here, there = patterns.instant(one), patterns.instant(other)
    if here is None or there is None:
        return one is not None and one == other
    return abs(here - there) <= timedelta(seconds=NATURAL_SECONDS)


def _ambiguous(pair: Pair, candidates: Iterable[str], tier: Tier | None = None) -> Pair:
    return replace(pair, tier=tier, holds=(*pair.holds, AMBIGUOUS), candidates=tuple(sorted(candidates)))


def is_left_behind(pair: Pair) -> bool:
    """Tell whether a pair's copy is gone by evidence and its record stands: it may have moved to another calendar."""
    if pair.seen is None or pair.link is None or pair.record is None or "unobserved" in pair.holds:
        return False
    gone = pair.seen.absence is not None and pair.seen.absence.is_evidence
    return gone and pair.record.presence is Presence.LIVE


def goes_on(pair: Pair, lost: Pair, people: Mapping[str, Agent]) -> bool:
    """Tell whether an event may be what was lost elsewhere: no record of its own, and organized by one of us.

    Whoever sends an invitation chooses its UID; only an organizer among our agents speaks for the meeting (DESIGN 5).
    """
    seen, record = pair.seen, lost.record
    if seen is None or record is None or pair.record is not None or seen.absence is not None or seen.declined:
        return False
    organizer = people.get(seen.organizer or "")
    is_ours = organizer is not None and organizer.role is Role.AGENT
    return set(pair.candidates) <= {record.id} and (is_ours or _is_organizers_own(pair))


def inherit(pair: Pair, lost: Pair) -> Pair | None:
    """Return `pair` with the record that was lost elsewhere, if this is the organizer's own copy; None if not."""
    if not _is_organizers_own(pair):
        return None
    return replace(pair, record=lost.record, link=lost.link, tier=Tier.UID, holds=(), candidates=())


def _is_organizers_own(pair: Pair) -> bool:
    """Tell whether an event lies in the calendar of its organizer; a second calendar organizes as itself."""
    if pair.seen is None or pair.calendar is None or pair.seen.organizer is None:
        return False
    return pair.seen.organizer in {pair.calendar.agent.email, pair.calendar.name}


def contest(pair: Pair) -> Pair:
    """Hold a pair whose record another event claims too: two candidates are ambiguous, never a guess."""
    return replace(_ambiguous(pair, [pair.record.id] if pair.record else []), record=None)
