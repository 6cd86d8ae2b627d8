"""Events of ours in Google calendars, known again by their ids and marks alone: whoever may read can look for them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from reconciler.model import Absence, Calendar, Event, Tombstone
from reconciler.quota import forever
from reconciler.sources.answers import GoneError, MissingError, ProviderError
from reconciler.sources.claims import LENGTH, Claim
from reconciler.sources.google_events import Reading, event_of, is_cancelled
from reconciler.sources.items import Item

if TYPE_CHECKING:
    from reconciler.sources.google_transport import GoogleCalendar

_CLAIM: Final = re.compile(rf"[0-9a-v]{{{LENGTH}}}", re.ASCII)


def claimed(
    api: GoogleCalendar, calendar: Calendar, claim: Claim, patience: Callable[[], float] = forever
) -> Event | Tombstone | None:
    """Return the live event of a claim, of the newest generation, else the newest tombstone.

    A generation begins only where the one before was deleted, so that the first that is not shown is the last to ask
    for: most often the first of all. (Should Google forget a deleted one, the next is still in the list of its events.)
    """
    live: Event | None = None
    gone: Tombstone | None = None
    for generation, ident in enumerate(claim.ids()):
        item = got(api, calendar, ident, patience)
        if item is None:
            break
        found = shown(ident, item, calendar)
        if isinstance(found, Tombstone):
            gone = found
        elif is_ours(item, claim, generation):
            live = found
    return live or gone


def mark_of(item: Item) -> str | None:
    """Return the claim that an item carries; a copy of an event of ours carries it under another id."""
    properties = item.get("extendedProperties")
    private = properties.get("private") if isinstance(properties, Mapping) else None
    value = private.get("crmClaim") if isinstance(private, Mapping) else None
    return value if isinstance(value, str) and _CLAIM.fullmatch(value) else None


def is_ours(item: Item, claim: Claim, generation: int) -> bool:
    """Tell whether an item carries the mark of `claim`: only who may write the calendar could have put it there."""
    return mark_of(item) == claim.id(generation)


def got(api: GoogleCalendar, calendar: Calendar, event: str, patience: Callable[[], float] = forever) -> Item | None:
    """Return a whole item; only a tombstone of one that is gone, and None for one that is not shown."""
    try:
        return api.get(api.target(calendar, patience), event, whole=True)
    except MissingError:
        return None
    except GoneError:
        return {"id": event, "status": "cancelled"}


def shown(ident: str, item: Item, calendar: Calendar) -> Event | Tombstone:
    """Return what an item shows. Raises ProviderError for one that can't be read."""
    if is_cancelled(item):
        return Tombstone(ident, Absence.GONE)
    try:
        return event_of(item, Reading(calendar=calendar))
    except ValueError as error:
        raise ProviderError(f"shows an event that can't be read: {error}") from error
