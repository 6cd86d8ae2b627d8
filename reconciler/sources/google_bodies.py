"""What may be written to a Google calendar and how it is spelled: fields in, the JSON of an event out, or a refusal.

A resource that is written back is the one that was read, with our fields changed and nothing dropped: `update` replaces
everything (facts of the reference, `events.update`). What people attend, what repeats and what others own is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, TypeAlias

from reconciler import text
from reconciler.model import Event, EventKind, Fields, Span, Status, Value, rfc3339
from reconciler.sources import WRITABLE
from reconciler.sources.google_events import Reading, Sort, event_of, sort_of
from reconciler.sources.items import Item

if TYPE_CHECKING:
    from reconciler.sources.claims import Claim

Body: TypeAlias = dict[str, object]

RECURRING = "it belongs to a recurring event, which only people change"

_TIMES = ("start", "end", "all_day")
_WORDS = {"title": "summary", "location": "location"}


class UnfitError(Exception):
    """The event, or what it should become, is nothing that may be written. Says why, a clause."""


# ---- what an event says ---------------------------------------------------------------------------------------------


def readable(item: Item, reading: Reading) -> Event:
    """Return the event that a live item describes. Raises UnfitError."""
    try:
        return event_of(item, reading)
    except ValueError as error:
        raise UnfitError(f"it can't be read: {error}") from error


def held(event: Event) -> Fields:
    """Return what an event says, as the fields that may be written."""
    return {
        "start": rfc3339(event.span.start),
        "end": rfc3339(event.span.end),
        "all_day": event.span.all_day,
        "title": event.title,
        "location": event.location,
        "status": event.status.value,
    }


def is_ours(item: Item, claim: Claim, generation: int) -> bool:
    """Tell whether an item carries the mark of `claim`: only who may write the calendar could have put it there."""
    properties = item.get("extendedProperties")
    private = properties.get("private") if isinstance(properties, Mapping) else None
    return isinstance(private, Mapping) and private.get("crmClaim") == claim.id(generation)


# ---- what may be written --------------------------------------------------------------------------------------------


def refusal(item: Item, event: Event, reading: Reading) -> str:
    """Return why an event is left as it is, a clause; empty if it may be written."""
    reasons = (
        (sort_of(item) is not Sort.SINGLE, RECURRING),
        (event.kind is not EventKind.DEFAULT, "it is no appointment but of a kind that Google keeps itself"),
        (bool(item.get("locked") or item.get("privateCopy")), "it is a copy whose original is kept elsewhere"),
        (event.organizer not in reading.own, "somebody else organizes it"),
        (_has_guests(item, reading), "others attend it, and they would be told, or would not learn of it"),
    )
    return next((why for holds, why in reasons if holds), "")


def _has_guests(item: Item, reading: Reading) -> bool:
    """Tell whether anybody but the agent is invited, somebody without an address included."""
    entries = item.get("attendees")
    if item.get("attendeesOmitted") or not isinstance(entries, list):
        return bool(item.get("attendeesOmitted") or entries)
    return not all(isinstance(entry, Mapping) and _is_agent(entry, reading) for entry in entries)


def _is_agent(entry: Item, reading: Reading) -> bool:
    return entry.get("self") is True or text.address(str(entry.get("email", ""))[:400]) in reading.own


def wanted(fields: Fields) -> Fields:
    """Return `fields` as a calendar would keep them. Raises UnfitError for what is never written."""
    if foreign := sorted(set(fields) - WRITABLE):
        raise UnfitError(f"a calendar's {' and '.join(foreign)} are not for us to write")
    if fields.get("status") == Status.CANCELLED:
        raise UnfitError("an event is cancelled by removing it, not by a change")
    spelled = {name: _line(fields[name]) for name in _WORDS if name in fields}
    status = {"status": _status(fields["status"])} if "status" in fields else {}
    return {name: fields[name] for name in _TIMES if name in fields} | spelled | status


def _line(value: Value) -> str:
    return text.line(value) if isinstance(value, str) else ""


def _status(value: Value) -> str:
    return Status.TENTATIVE.value if value == Status.TENTATIVE else Status.CONFIRMED.value


# ---- bodies ---------------------------------------------------------------------------------------------------------


def new(claim: Claim, generation: int, want: Fields, zone: str | None) -> Body:
    """Return the body of a new event under `claim`. Raises UnfitError."""
    span = _span(want)
    words = {theirs: want[ours] for ours, theirs in _WORDS.items() if want.get(ours)}
    return {
        "id": claim.id(generation),
        "start": _when(span.start, None, zone),
        "end": _when(span.end, None, zone),
        "status": want.get("status", Status.CONFIRMED.value),
        "extendedProperties": {"private": dict(claim.mark(generation))},
        **words,
    }


def changes(event: Event, want: Fields) -> Fields:
    """Return those of the wanted fields that the event does not hold. Raises UnfitError."""
    now = held(event)
    found = {name: value for name, value in want.items() if value != now[name]}
    if event.private and not found.keys().isdisjoint(_WORDS):
        raise UnfitError("it is private: what it says is not read, and so not overwritten")
    if not found.keys().isdisjoint(_TIMES):
        span = _span({**now, **want})
        spelled: dict[str, Value] = {"start": rfc3339(span.start), "end": rfc3339(span.end), "all_day": span.all_day}
        found = {name: value for name, value in found.items() if name not in _TIMES}
        found |= spelled if any(spelled[name] != now[name] for name in _TIMES) else {}
    return found


def changed(item: Item, event: Event, changing: Fields, zone: str | None) -> Body:
    """Return the whole resource with the changed fields in it, ready to replace the one that was read."""
    body: Body = {**item, **{theirs: changing[ours] for ours, theirs in _WORDS.items() if ours in changing}}
    if "status" in changing:
        body["status"] = changing["status"]
    if "start" in changing:
        span = _span({**held(event), **changing})
        body["start"] = _when(span.start, item.get("start"), zone)
        body["end"] = _when(span.end, item.get("end"), zone)
        body.pop("endTimeUnspecified", None)
    return body


def _when(moment: datetime | date, before: object, zone: str | None) -> Body:
    """Spell a day or an instant, and not what was there before; an event keeps the zone that it is shown in."""
    if not isinstance(moment, datetime):
        return {"date": rfc3339(moment)}
    shown = (before.get("timeZone") if isinstance(before, Mapping) else None) or zone
    return {"dateTime": rfc3339(moment), **({"timeZone": shown} if shown else {})}


def _span(fields: Fields) -> Span:
    """Return when the fields say that it is. Raises UnfitError."""
    all_day = fields.get("all_day") is True
    start, end = (_moment(fields.get(name), all_day=all_day) for name in ("start", "end"))
    if end < start or (all_day and end == start):
        raise UnfitError("it would end before it starts")
    return Span(start, end)


def _moment(value: Value, *, all_day: bool) -> datetime | date:
    try:
        if all_day:
            return date.fromisoformat(str(value))
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnfitError("its times make no sense: days for an all-day event, else instants") from error
    raise UnfitError("its times make no sense: an instant without an offset")
