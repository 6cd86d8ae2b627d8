"""What may be written to a Google calendar and how it is spelled: fields in, the JSON of an event out, or a refusal.

A resource that is written back is the one that was read, with our fields changed and nothing dropped: `update` replaces
everything (facts of the reference, `events.update`). What people attend, what repeats and what others own is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, TypeAlias

from reconciler import text
from reconciler.model import Event, EventKind, Fields, Status, rfc3339
from reconciler.sources.google_events import Reading, Sort, event_of, sort_of
from reconciler.sources.items import Item
from reconciler.sources.writable import RECURRING, UnfitError, held, span_of

if TYPE_CHECKING:
    from reconciler.sources.claims import Claim

Body: TypeAlias = dict[str, object]

_WORDS = {"title": "summary", "location": "location"}


# ---- what an event says ---------------------------------------------------------------------------------------------


def readable(item: Item, reading: Reading) -> Event:
    """Return the event that a live item describes. Raises UnfitError."""
    try:
        return event_of(item, reading)
    except ValueError as error:
        raise UnfitError(f"it can't be read: {error}") from error


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


# ---- bodies ---------------------------------------------------------------------------------------------------------


def new(claim: Claim, generation: int, want: Fields, zone: str | None) -> Body:
    """Return the body of a new event under `claim`. Raises UnfitError."""
    span = span_of(want)
    words = {theirs: want[ours] for ours, theirs in _WORDS.items() if want.get(ours)}
    return {
        "id": claim.id(generation),
        "start": _when(span.start, None, zone),
        "end": _when(span.end, None, zone),
        "status": want.get("status", Status.CONFIRMED.value),
        "extendedProperties": {"private": dict(claim.mark(generation))},
        **words,
    }


def changed(item: Item, event: Event, changing: Fields, zone: str | None) -> Body:
    """Return the whole resource with the changed fields in it, ready to replace the one that was read."""
    body: Body = {**item, **{theirs: changing[ours] for ours, theirs in _WORDS.items() if ours in changing}}
    if "status" in changing:
        body["status"] = changing["status"]
    if "start" in changing:
        span = span_of({**held(event), **changing})
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
