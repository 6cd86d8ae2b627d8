"""What the stand-in Google shows of an event: as the reader's role, the question and the fields asked for allow."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.google_series import Resource, moment, rendered

ROLES: Final = ("none", "freeBusyReader", "reader", "writerWithoutPrivateAccess", "writer", "owner")
WRITERS: Final = frozenset({"writerWithoutPrivateAccess", "writer", "owner"})
_SEES_PRIVATE: Final = frozenset({"writer", "owner"})

_BARE: Final = ("kind", "etag", "id", "status", "recurringEventId", "originalStartTime")
_TIME_ONLY: Final = (*_BARE, "updated", "start", "end", "recurrence", "transparency", "eventType")

Selector = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Glasses:
    """How an answer shows events. `details`: deleted ones keep theirs where the calendar still has them."""

    role: str = "owner"
    details: bool = True
    most_attendees: int | None = None
    zone: str | None = None

    def show(self, event: Resource, *, bare: bool, calendar_zone: str) -> Resource:
        """Return what is to be seen of a stored event; the stored one is never changed."""
        if event["status"] == "cancelled" and (bare or not self.details):
            return _only(event, _BARE)
        if self.role == "freeBusyReader":
            return _only(event, _TIME_ONLY)
        if self.role not in _SEES_PRIVATE and event.get("visibility") in {"private", "confidential"}:
            # facts §1.8: private events appear without details to lesser roles.
            return _only(event, (*_TIME_ONLY, "visibility"))
        if self.most_attendees is not None:
            event = _fewer_attendees(event, self.most_attendees)
        return event if self.zone is None else _in_zone(event, self.zone, calendar_zone)


def _only(event: Resource, names: tuple[str, ...]) -> Resource:
    return {name: event[name] for name in names if name in event}


def _fewer_attendees(event: Resource, most: int) -> Resource:
    """Facts §1.8: over the limit the participant alone is shown, and that others were left out."""
    guests = event.get("attendees", [])
    if len(guests) <= most:
        return event
    return event | {"attendees": [guest for guest in guests if guest.get("self")], "attendeesOmitted": True}


def _in_zone(event: Resource, zone: str, calendar_zone: str) -> Resource:
    """Render times in the zone that was asked for; the zone that an event names itself stays named."""
    changed = {}
    for name in ("start", "end", "originalStartTime"):
        if "dateTime" in event.get(name, {}):
            changed[name] = event[name] | rendered(moment(event[name], calendar_zone), None, zone)
    return event | changed


@lru_cache(maxsize=256)
def selector(fields: str) -> Selector | None:
    """Read a partial-response selector such as `items(id,start/date),nextPageToken`; None selects everything."""
    tokens = re.findall(r"[^,()/]+|[,()/]", fields.replace(" ", ""))
    found, rest = _group(tokens)
    if rest:
        raise RefusedError(400, "invalidParameter", f"Invalid field selection {fields[:80]}", location="fields")
    return found or None


def _group(tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Read names up to the closing parenthesis; {} stands for a whole value."""
    found: dict[str, Any] = {}
    while tokens and tokens[0] != ")":
        name, tokens = tokens[0], tokens[1:]
        if name == ",":
            continue
        inner, tokens = _inner(tokens)
        found[name] = inner
    return found, tokens


def _inner(tokens: list[str]) -> tuple[dict[str, Any], list[str]]:
    if tokens[:1] == ["("]:
        found, tokens = _group(tokens[1:])
        return found, tokens[1:]
    if tokens[:1] == ["/"]:
        inner, rest = _inner(tokens[2:])
        return {tokens[1]: inner}, rest
    return {}, tokens


def selected(body: Resource, wanted: Selector | None) -> Resource:
    """Keep of a body what the selector names."""
    if not wanted or "*" in wanted:
        return body
    return {name: _narrowed(body[name], inner) for name, inner in wanted.items() if name in body}


def _narrowed(value: object, wanted: Selector) -> object:
    if isinstance(value, list):
        return [_narrowed(item, wanted) for item in value]
    return selected(value, wanted) if isinstance(value, dict) else value
