"""What a finding keeps beside what differs: what each side held, when the side that moved did so, clues to its cause.

Pure. Reports are made of it long after both sides have moved on. A clue is a short inert word by which findings of one
cause know each other; what is private is in none of them.
"""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from reconciler import decide, patterns, text
from reconciler.deltas import inert
from reconciler.model import Absence, AgentState, Presence, Side, Situation, Status

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.model import Fields, Pair, Record, Seen, Verdict

PENDING: Final = "pending"
"""It is a moment old and left to the live integration until it settles: counted, and nobody is told of it yet."""

BASELINE: Final = "baseline"
"""The first read of its calendar met it: nobody watched when it changed."""

COPY: Final = "copy"
"""It is one of several records of one appointment, another one of which has the event."""

LONGEST: Final = 40
"""Characters of a writer's name that a clue keeps."""

AHEAD: Final = timedelta(minutes=10)
"""By how much another clock may be ahead of ours and be believed."""

_ODD: Final = re.compile(r"[^\w.-]+")
_SCHEDULERS: Final = ("calendly", "acuity")

_IN_CALENDAR: Final = frozenset(
    {Situation.NEW_IN_CALENDAR, Situation.CALENDAR_CHANGED, Situation.REOPENED, Situation.REMOVED_FROM_CALENDAR}
)
_IN_CRM: Final = frozenset(
    {Situation.NEW_IN_CRM, Situation.CRM_CHANGED, Situation.FALSE_CANCEL, Situation.REMOVED_FROM_CRM}
)


# ---- what each side held --------------------------------------------------------------------------------------------


def has(seen: Seen | None, record: Record | None) -> dict[Side, Fields]:
    """Return what each side held, as it may be shown. A side that shows nothing is not in it."""
    held = {Side.CALENDAR: _of_event(seen), Side.CRM: _of_record(record)}
    return {side: fields for side, fields in held.items() if fields}


def _of_event(seen: Seen | None) -> Fields:
    if seen is None or seen.absence is Absence.UNSEEN:
        return {}
    is_gone = seen.absence is not None and seen.absence.is_evidence
    return _shown(seen.fields, is_cancelled=is_gone)


def _of_record(record: Record | None) -> Fields:
    if record is None or record.presence is Presence.ABSENT:
        return {}
    return _shown(record.fields, is_cancelled=record.presence is Presence.CANCELLED)


def _shown(fields: Fields, *, is_cancelled: bool) -> Fields:
    shown = {name: inert(value) for name, value in fields.items() if value not in {None, "", ()}}
    return shown | {"status": Status.CANCELLED.value} if shown and is_cancelled else shown


# ---- when it changed ------------------------------------------------------------------------------------------------


def changed(pair: Pair, situation: Situation, now: datetime) -> datetime | None:
    """Return when the side that moved last did so, None where it does not say, or names a time that is yet to come."""
    moments = _changed_in_calendar(pair.seen), pair.record.updated if pair.record else None
    calendar, crm = (moment if moment and moment <= now + AHEAD else None for moment in moments)
    if situation in _IN_CALENDAR:
        return calendar
    return crm if situation in _IN_CRM else latest((calendar, crm))


def _changed_in_calendar(seen: Seen | None) -> datetime | None:
    """Return when an event was changed or cancelled. That it is gone is known by looking: since then."""
    if seen is None or seen.absence is None:
        return seen.modified if seen else None
    return seen.absent_since if seen.absence is Absence.GONE else seen.modified or seen.absent_since


def latest(moments: Iterable[datetime | None]) -> datetime | None:
    """Return the latest of the moments that are known."""
    return max((moment for moment in moments if moment is not None), default=None)


# ---- clues ----------------------------------------------------------------------------------------------------------


def clues(pair: Pair, verdict: Verdict, names: tuple[str, ...], ours: str | None) -> tuple[str, ...]:
    """Return the clues of a pair that differs in `names`. `ours` is how the CRM calls us as a record's writer."""
    seen, record = pair.seen, pair.record
    agent = pair.calendar.agent if pair.calendar else None
    in_calendar = verdict.situation not in _IN_CRM
    states = {
        patterns.FLAPPING: patterns.FLAPPING in pair.holds,
        "unknown": decide.UNKNOWN in pair.holds,
        "unseen": seen is not None and seen.absence is Absence.UNSEEN,
        "left": agent is not None and agent.state is AgentState.LEFT,
        "private": seen is not None and seen.private and not seen.withheld,
        "withheld": any(side is not None and side.withheld for side in (seen, record)),
        BASELINE: in_calendar and seen is not None and seen.first_seen is None,
    }
    writers = origins((record,), ours) if record else ()
    named = (*writers, *scheduler(_keys(seen, record)), *_difference(pair, names))
    return (*named, *(state for state, holds in states.items() if holds))


def _keys(seen: Seen | None, record: Record | None) -> tuple[str, ...]:
    return (*(seen.keys if seen else ()), *((record.key,) if record and record.key else ()))


def _difference(pair: Pair, names: tuple[str, ...]) -> tuple[str, ...]:
    """Say by how much times are apart that are off by a whole shift, or which field alone differs."""
    if "start" in names and pair.seen and pair.record:
        off = patterns.shift(pair.seen.fields, pair.record.fields)
        return (f"shift:{int(off.total_seconds())}",) if off else ()
    return (f"field:{names[0]}",) if len(names) == 1 else ()


def origins(written: Iterable[Record], ours: str | None) -> tuple[str, ...]:
    """Return a clue for each writer that the CRM names for these records, but for us; an address is no name."""
    names = {record.origin for record in written if record.origin and record.origin != ours}
    writers = {word(name) for name in names if "@" not in name}
    return tuple(f"origin:{writer}" for writer in sorted(writers) if writer)


def scheduler(keys: Iterable[str]) -> tuple[str, ...]:
    """Return the clue of the scheduler that made a booking, which its source key begins with."""
    starts = {key.partition(":")[0] for key in keys}
    return tuple(f"scheduler:{name}" for name in _SCHEDULERS if name in starts)


def word(name: str) -> str:
    """Return a name from outside as one short inert word."""
    return _ODD.sub("-", text.line(name, LONGEST).lower()).strip("-")
