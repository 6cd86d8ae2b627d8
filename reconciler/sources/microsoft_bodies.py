"""What may be written to an Outlook calendar and how it is spelled: fields in, Graph's JSON out, or a refusal.

A change names only what it changes; start, end and isAllDay always together. Nobody is ever named in it: whoever
attends an event would be told of the change by Exchange, and no parameter keeps it from doing so.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model import Event, EventKind, Fields, Status, rfc3339
from reconciler.sources.items import Item
from reconciler.sources.microsoft_claims import OURS
from reconciler.sources.microsoft_events import Reading, Sort, event_of, sort_of
from reconciler.sources.writable import RECURRING, UnfitError, held, span_of

if TYPE_CHECKING:
    from reconciler.sources.claims import Claim

Body: TypeAlias = dict[str, object]


def readable(item: Item, reading: Reading) -> Event:
    """Return the event that an item describes. Raises UnfitError."""
    try:
        if sort_of(item) is not Sort.SINGLE:
            raise UnfitError(RECURRING)
        return event_of(item, reading)
    except ValueError as error:
        raise UnfitError(f"it can't be read: {error}") from error


def refusal(item: Item, event: Event, reading: Reading) -> str:
    """Return why an event is left as it is, a clause; empty if it may be written."""
    reasons = (
        (event.absence is not None, "it is cancelled, and only still shown"),
        (event.kind is not EventKind.DEFAULT, "it is no appointment but a draft, or says where the agent is"),
        (item.get("isOrganizer") is not True, "somebody else organizes it"),
        (_has_guests(item, event, reading), "others attend it, and Exchange would tell them"),
    )
    return next((why for holds, why in reasons if holds), "")


def _has_guests(item: Item, event: Event, reading: Reading) -> bool:
    """Tell whether anybody but the agent is invited, somebody without an address included."""
    given = item.get("attendees")
    nameless = isinstance(given, list) and len(given) > len(event.attendees)
    return nameless or any(one.email not in reading.own for one in event.attendees)


def new(claim: Claim, generation: int, want: Fields) -> Body:
    """Return the body of a new event under `claim`. Raises UnfitError."""
    marks = {**claim.mark(generation), "crmClaim": claim.id()}  # of all generations the same, to be searched for
    return {
        # Exchange takes one event for it and no second one (facts §3).
        "transactionId": f"crm:{claim.id(generation)}:{generation}",
        "singleValueExtendedProperties": [{"id": OURS.format(name), "value": value} for name, value in marks.items()],
        **_times(want),
        **_words({name: value for name, value in want.items() if value}),
        "showAs": _shows(want.get("status")),
    }


def changed(event: Event, changing: Fields) -> Body:
    """Return a change of an event: the changed fields and nothing else."""
    times = _times({**held(event), **changing}) if "start" in changing else {}
    status = {"showAs": _shows(changing["status"])} if "status" in changing else {}
    return {**times, **_words(changing), **status}


def _words(fields: Fields) -> Body:
    title = {"subject": fields["title"]} if "title" in fields else {}
    return title | ({"location": {"displayName": fields["location"]}} if "location" in fields else {})


def _shows(status: object) -> str:
    """Spell a status: an event of Outlook's has none of its own, but may be shown as tentative."""
    return "tentative" if status == Status.TENTATIVE else "busy"


def _times(fields: Fields) -> Body:
    span = span_of(fields)
    return {"start": _when(span.start), "end": _when(span.end), "isAllDay": span.all_day}


def _when(moment: datetime | date) -> Body:
    """Spell a day as its midnight, an instant in UTC: both are shown on the clock of whoever looks."""
    local = rfc3339(moment).rstrip("Z") if isinstance(moment, datetime) else f"{moment.isoformat()}T00:00:00"
    return {"dateTime": f"{local}.0000000", "timeZone": "UTC"}
