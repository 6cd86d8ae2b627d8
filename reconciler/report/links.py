"""Where an event and a record are opened: https addresses on hosts that we name or the job file names, or none.

Pure. What a calendar or a CRM calls its things goes in encoded, as a value of an address and never as a part of it. An
occurrence leads to its series: occurrences have ids of the provider's own, whose form may change with any release.
"""

from __future__ import annotations

import re
from base64 import urlsafe_b64encode
from typing import Final
from urllib.parse import quote, urlsplit

from reconciler.inert import link
from reconciler.report.recorded import Place

PLACE: Final = "{id}"
"""Where `[crm].link` has the id of the record."""

_OCCURRENCE: Final = re.compile(r"/\d{8}(?:T\d{6}Z)?\Z", re.ASCII)

_GOOGLE: Final = "www.google.com"
_GOOGLE_ENDPOINTS: Final = frozenset({"www.googleapis.com", "content.googleapis.com"})
# How `htmlLink` spells the calendars that do not belong to a domain of their own; seen in answers of the service.
_SHORT: Final = {"gmail.com": "m", "group.calendar.google.com": "g"}

# Which Outlook on the web belongs to which Graph: https://learn.microsoft.com/graph/deployments, and the lists of
# endpoints of Microsoft 365: worldwide, U.S. Government GCC High, U.S. Government DoD, operated by 21Vianet.
_OUTLOOKS: Final = {
    "graph.microsoft.com": "outlook.office365.com",
    "graph.microsoft.us": "outlook.office365.us",
    "dod-graph.microsoft.us": "webmail.apps.mil",
    "microsoftgraph.chinacloudapi.cn": "partner.outlook.cn",
}


def calendar_link(place: Place, event: str, endpoint: str | None = None) -> str:
    """Return where people open `event`, empty if nowhere; `endpoint` is the source's, where the job file names one."""
    host = (urlsplit(endpoint).hostname or "") if endpoint else ""
    known = _OCCURRENCE.sub("", event)
    match place.kind:
        case "google" if not host or host in _GOOGLE_ENDPOINTS:
            return _google(known, place.agent if place.name == "primary" else place.name)
        case "microsoft":
            return _outlook(known, _OUTLOOKS.get(host or "graph.microsoft.com", ""))
        case _:
            return ""


def _google(event: str, calendar: str) -> str:
    """Return the event's `htmlLink`: its id and its calendar's, a blank between, in base64 without padding.

    The form is not documented (schemas.Event.htmlLink says only what it is for); all that the service gives have it.
    """
    name, _, domain = calendar.rpartition("@")
    whole = f"{event} {name}@{_SHORT.get(domain, domain)}".encode("utf-8", "replace")
    return link(f"https://{_GOOGLE}/calendar/event?eid={urlsafe_b64encode(whole).decode().rstrip('=')}", {_GOOGLE})


def _outlook(event: str, host: str) -> str:
    """Return the event's `webLink` (https://learn.microsoft.com/graph/api/resources/event, Note on it).

    Graph spells the id there in plain base64, where its own ids have - and _; immutable ids too.
    """
    itemid = quote(event.replace("-", "/").replace("_", "+"), safe="", errors="replace")
    return link(f"https://{host}/owa/?itemid={itemid}&exvsurl=1&path=/calendar/item", {host})


def crm_link(template: str | None, crm_id: str | None) -> str:
    """Return where a record is opened, by the `[crm].link` of the job file; empty without one."""
    if not template or not crm_id or not crm_id.strip("."):  # dots alone would be a step in the path
        return ""
    whole = template.replace(PLACE, quote(crm_id, safe="", errors="replace"))
    return link(whole, {urlsplit(template).netloc})
