"""Events of ours in Outlook calendars, known again by a mark that is searched for: whoever may read can look for it.

Exchange names events itself and forgets what is deleted, so only live events are found; that nothing is found is no
evidence that there never was anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from reconciler.model import Calendar, Event
from reconciler.quota import forever
from reconciler.sources.answers import GoneError, MissingError, ProviderError, TransientError
from reconciler.sources.claims import LENGTH, Claim
from reconciler.sources.items import Item
from reconciler.sources.microsoft_events import Reading, event_of

if TYPE_CHECKING:
    from reconciler.sources.microsoft_transport import Graph, Json, Target

OURS: Final = "String {{6a0e2f5c-3d1b-4b8e-9d57-1f4c8a2be703}} Name {}"
MARK: Final = OURS.format("crmClaim")
"""The extended property that makes an event known again: people don't see it, and can't change it."""

_SHOWN: Final = f"singleValueExtendedProperties($filter=id eq '{MARK}')"
_CLAIM: Final = re.compile(rf"[0-9a-v]{{{LENGTH}}}", re.ASCII)
_PAGES: Final = 20  # of events with one mark: more than one event is more than there should be


def claimed(graph: Graph, calendar: Calendar, claim: Claim, patience: Callable[[], float] = forever) -> Event | None:
    """Return the live event of a claim, whichever of its generations it is."""
    target = graph.target(calendar, patience)
    item = next((item for item in marked(graph, target, claim.id()) if is_ours(item, claim)), None)
    try:
        return None if item is None else event_of(item, Reading(calendar=calendar))
    except ValueError as error:
        raise ProviderError(f"shows an event that can't be read: {error}") from error


def mark(graph: Graph, calendar: Calendar, event: str, patience: Callable[[], float] = forever) -> str | None:
    """Return the claim that an event carries; None as well for one that is not there."""
    target = graph.target(calendar, patience)
    try:
        item = graph.look(target, f"{graph.event(target, event)}?{urlencode({'$expand': _SHOWN})}", item=True)
    except (MissingError, GoneError):
        return None
    return mark_of(item)


def marked(graph: Graph, target: Target, value: str) -> Iterator[Json]:
    """Yield the events whose mark has this value, each with its mark."""
    meant = f"singleValueExtendedProperties/Any(ep: ep/id eq '{MARK}' and ep/value eq '{value}')"
    url: str | None = graph.address(target, "events", {"$filter": meant, "$expand": _SHOWN})
    for _ in range(_PAGES):
        if url is None:
            return
        said = graph.look(target, url)
        items, further = said.get("value"), said.get("@odata.nextLink")
        if not isinstance(items, list) or not isinstance(further, str | None):
            break
        yield from (item for item in items if isinstance(item, dict))
        url = further or None
    raise TransientError("answered a search for an event of ours with something else")


def mark_of(item: Item) -> str | None:
    """Return the claim that an item carries, of those properties of it that were asked for."""
    properties = item.get("singleValueExtendedProperties")
    given = [one for one in properties if isinstance(one, Mapping)] if isinstance(properties, list) else []
    values = [one.get("value") for one in given if str(one.get("id")).lower() == MARK.lower()]
    return next((value for value in values if isinstance(value, str) and _CLAIM.fullmatch(value)), None)


def is_ours(item: Item, claim: Claim) -> bool:
    """Tell whether an item carries the mark of `claim`. A search finds values without regard to case."""
    return mark_of(item) == claim.id()
