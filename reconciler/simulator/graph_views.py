"""What the stand-in Graph shows of an event: as the request's Prefer header asks, and no more than a list has."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from reconciler.simulator.graph_mailboxes import Row
from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.graph_resources import property_id
from reconciler.simulator.graph_series import Resource, read, rendered, zone_of
from reconciler.simulator.loopback import Request

DEFAULT_PAGE: Final = 10
LARGEST_PAGE: Final = 1000

_PREFERENCE: Final = re.compile(r'([\w.\-]+)\s*=\s*"?([^",;]*)"?')
_TAG: Final = re.compile(r"<[^>]*>")
_PREVIEW: Final = 255
_EXPANDED: Final = re.compile(r"singleValueExtendedProperties\(\$filter=(.*)\)", re.DOTALL)
_QUOTED: Final = re.compile(r"id eq '((?:[^']|'')*)'")


@dataclass(frozen=True, slots=True)
class Prefer:
    """The preferences of one request; each request has its own, also behind a link (facts §1.3)."""

    zone: str = "UTC"
    text: bool = False
    immutable: bool = False
    page: int | None = None
    applied: str = ""

    def show(self, row: Row) -> Resource:
        """Return an event in full; the stored one is never changed."""
        known = row.shown.get(self)
        if known is None:
            event = row.event
            known = row.shown[self] = {
                "@odata.etag": row.etag,
                "id": self.name(row.id),
                **event,
                "seriesMasterId": self.name(event["seriesMasterId"]) if event["seriesMasterId"] else None,
                **_body(event, text=self.text),
                **self.times(event),
            }
        return known

    def stub(self, row: Row) -> Resource:
        """Return what a delta has of an occurrence that nobody touched: facts §1.5, no subject, no iCalUId."""
        return {
            "@odata.type": "#microsoft.graph.event",
            "@odata.etag": row.etag,
            "seriesMasterId": self.name(row.event["seriesMasterId"]),
            "type": "occurrence",
            "id": self.name(row.id),
            **self.times(row.event),
        }

    def removed(self, name: str) -> Resource:
        """Return a tombstone: no type, no times, no series (facts §1.4)."""
        kind = "#microsoft.graph.event"
        return {"@odata.type": kind, "id": self.name(name), "@removed": {"reason": "deleted"}}

    def name(self, name: str) -> str:
        """Spell an id: immutable, or as it is without the preference."""
        return name if self.immutable else _MUTABLE + name

    def times(self, event: Resource) -> Resource:
        """Return start and end on the clock that was asked for; all-day ones float, and are midnight on any clock."""
        if self.zone == "UTC":
            return {"start": event["start"], "end": event["end"]}
        return {name: self._on_clock(event[name], floating=event["isAllDay"]) for name in ("start", "end")}

    def _on_clock(self, value: Resource, *, floating: bool) -> Resource:
        moment = read(value)
        if floating or moment is None or value.get("timeZone") != "UTC":
            return value | ({"timeZone": self.zone} if floating else {})
        return rendered(moment, self.zone)


_MUTABLE: Final = "AAMkADEy"


def stored_name(name: str) -> str:
    """Return the immutable form of an id in either form."""
    return name.removeprefix(_MUTABLE)


def _body(event: Resource, *, text: bool) -> Resource:
    """Write the body as HTML or as plain text."""
    body = event.get("body")
    if not isinstance(body, dict) or not isinstance(body.get("content"), str):
        return {"bodyPreview": event.get("bodyPreview", "")}
    content, is_html = body["content"], body.get("contentType", "html").lower() == "html"
    plain = html.unescape(_TAG.sub("", content)) if is_html else content
    if not text and not is_html:
        content = f"<html><head></head><body>{html.escape(content)}</body></html>" if content else ""
    shown = {"contentType": "text", "content": plain} if text else {"contentType": "html", "content": content}
    return {"body": shown, "bodyPreview": plain[:_PREVIEW]}


def preferences(request: Request) -> Prefer:
    return _preferences(request.headers.get("prefer", ""))


@lru_cache(maxsize=256)
def _preferences(header: str) -> Prefer:
    """Read a Prefer header; names of preferences are not case-sensitive."""
    said = {name.lower(): value for name, value in _PREFERENCE.findall(header)}
    zone = said.get("outlook.timezone", "UTC")
    if zone_of(zone) is None:
        message = f"A valid TimeZone value must be specified. '{zone[:40]}' is not supported."
        raise RefusedError(400, "TimeZoneNotSupportedException", message)
    page = said.get("odata.maxpagesize", "")
    size = min(int(page), LARGEST_PAGE) if page.isdigit() and page.isascii() and int(page) else None
    text = said.get("outlook.body-content-type", "").lower() == "text"
    return Prefer(zone, text, said.get("idtype", "").lower() == "immutableid", size, header)


@dataclass(frozen=True, slots=True)
class Selection:
    """What $select and $expand keep of an event. `without` are fields that this list can't select."""

    names: tuple[str, ...] = ()
    wanted: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Request, *, without: tuple[str, ...] = ()) -> Selection:
        """Read $select and $expand=singleValueExtendedProperties($filter=id eq '…')."""
        names = tuple(filter(None, (request.one("$select") or "").split(",")))
        found = _EXPANDED.fullmatch(request.one("$expand") or "")
        wanted = tuple(property_id(text.replace("''", "'")) for text in _QUOTED.findall(found[1])) if found else ()
        return cls(tuple(name for name in names if name not in without), wanted)

    def of_event(self, event: Resource, properties: Mapping[str, str]) -> Resource:
        """Apply the selection; the id and the etag are always there."""
        if self.names:
            kept = {"@odata.etag", "id", *self.names}
            event = {name: value for name, value in event.items() if name in kept}
        if not self.wanted:
            return event
        values = [{"id": name, "value": properties[name]} for name in self.wanted if name in properties]
        return event | ({"singleValueExtendedProperties": values} if values else {})
