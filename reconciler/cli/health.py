"""How one calendar is, in one word, with since when, why and when it is tried next. Pure: all of it is handed in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model import AgentState

if TYPE_CHECKING:
    from reconciler.store.state import Watched


class Condition(StrEnum):
    """What a calendar is like, what needs a person soonest first."""

    BLIND = "blind"  # it could not be read when it was last tried
    PARKED = "parked"  # nor is it tried again before a time: an earlier try showed that this makes no sense
    WITHHELD = "withheld"  # it is read, and what would be written for its agent waits for a person
    LATE = "late"  # its last read is older than `[run] freshness`
    NEW = "new"  # it was never read
    FRESH = "fresh"
    LEFT = "left"  # its agent left: it is not read any more, on purpose

    @property
    def is_well(self) -> bool:
        """Tell whether nobody has to look."""
        return self in {Condition.FRESH, Condition.LEFT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """How one calendar is. `number` is what logs call it, `seen_at` its last read, `full_at` its last whole one."""

    number: int
    name: str
    source: str
    state: Condition
    since: datetime | None
    seen_at: datetime | None
    full_at: datetime | None
    blind_since: datetime | None
    next_try: datetime | None
    strikes: int
    quarantined: int
    why: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What calendars are held against: the time, how old a read may be, and when calendars are read next.

    `withheld` says by agent why the last run withheld what it would have written, `withheld_at` when that was.
    """

    now: datetime
    freshness: timedelta
    next_read: datetime | None
    withheld: Mapping[str, str]
    withheld_at: datetime | None


def health(one: Watched, terms: Terms) -> Health:
    """Return how a calendar is."""
    state = _state(one, terms)
    return Health(
        number=one.id,
        name=one.calendar.label,
        source=one.calendar.source,
        state=state,
        since=_since(state, one, terms),
        seen_at=one.seen_at,
        full_at=one.cursor.full_at if one.cursor else None,
        blind_since=one.blind_since,
        next_try=_next_try(state, one, terms),
        strikes=one.strikes,
        quarantined=len(one.quarantined),
        why=terms.withheld.get(one.calendar.agent.email) if state is Condition.WITHHELD else one.why,
    )


def _state(one: Watched, terms: Terms) -> Condition:
    if one.calendar.agent.state is AgentState.LEFT:
        return Condition.LEFT
    if one.blind_since is not None:
        return Condition.PARKED if one.next_try is not None and one.next_try > terms.now else Condition.BLIND
    if one.seen_at is None:
        return Condition.NEW
    if one.calendar.agent.email in terms.withheld:
        return Condition.WITHHELD
    return Condition.FRESH if terms.now - one.seen_at <= terms.freshness else Condition.LATE


def _since(state: Condition, one: Watched, terms: Terms) -> datetime | None:
    match state:
        case Condition.BLIND | Condition.PARKED:
            return one.blind_since
        case Condition.WITHHELD:
            return terms.withheld_at
        case Condition.LATE if one.seen_at is not None:
            return one.seen_at + terms.freshness
        case _:
            return None


def _next_try(state: Condition, one: Watched, terms: Terms) -> datetime | None:
    """Return when it is read next, as far as anybody knows: with the next slot, or not before it may be tried again."""
    if state is Condition.LEFT:
        return None
    if state is not Condition.PARKED or one.next_try is None:
        return terms.next_read
    return one.next_try


def as_json(one: Health) -> dict[str, Any]:
    """Return the object of `status --format json`."""
    return {
        "calendar": one.name,
        "number": one.number,
        "source": one.source,
        "state": one.state,
        "since": one.since,
        "seen_at": one.seen_at,
        "full_at": one.full_at,
        "blind_since": one.blind_since,
        "next_try": one.next_try,
        "strikes": one.strikes,
        "quarantined": one.quarantined,
        "why": one.why,
    }
