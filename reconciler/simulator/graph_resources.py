"""What the stand-in Graph does to the JSON of one event: defaults, times, what copies take over. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

import orjson

from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.graph_series import Resource, Span, named, read, wall, zone_of

T = TypeVar("T")

MOST_ATTENDEES: Final = 500  # facts §4

# What a copy takes over from the organizer's, and what only the organizer decides.
SHARED: Final = (
    *("subject", "body", "bodyPreview", "importance", "sensitivity", "isAllDay", "isCancelled", "responseRequested"),
    *("recurrence", "start", "end", "location", "locations", "attendees", "organizer", "iCalUId", "type"),
    *("originalStartTimeZone", "originalEndTimeZone", "onlineMeetingUrl", "isOnlineMeeting", "onlineMeeting"),
    *("onlineMeetingProvider", "allowNewTimeProposals", "hideAttendees", "originalStart"),
)
_READ_ONLY: Final = frozenset(
    {
        *("id", "createdDateTime", "lastModifiedDateTime", "changeKey", "iCalUId", "type", "seriesMasterId"),
        *("isOrganizer", "isCancelled", "isDraft", "organizer", "responseStatus", "webLink", "bodyPreview"),
        *("originalStart", "originalStartTimeZone", "originalEndTimeZone", "onlineMeetingUrl", "onlineMeeting"),
        *("hasAttachments", "singleValueExtendedProperties"),
    }
)
_DEFAULTS: Final[Resource] = {
    "categories": [],
    "transactionId": None,
    "originalStartTimeZone": "UTC",
    "originalEndTimeZone": "UTC",
    "reminderMinutesBeforeStart": 15,
    "isReminderOn": True,
    "hasAttachments": False,
    "subject": "",
    "importance": "normal",
    "sensitivity": "normal",
    "isAllDay": False,
    "isCancelled": False,
    "isOrganizer": True,
    "responseRequested": True,
    "seriesMasterId": None,
    "showAs": "busy",
    "onlineMeetingUrl": None,
    "isOnlineMeeting": False,
    "onlineMeetingProvider": "unknown",
    "allowNewTimeProposals": True,
    "isDraft": False,
    "hideAttendees": False,
    "recurrence": None,
    "onlineMeeting": None,
    "attendees": [],
}


def copied(value: T) -> T:
    """Copy JSON, faster than anything that does not know that it is JSON."""
    result: T = orjson.loads(orjson.dumps(value))
    return result


def writable(event: Resource) -> Resource:
    """Leave out of a request's body what only Exchange sets."""
    return {name: value for name, value in event.items() if name not in _READ_ONLY and "@" not in name}


def person(address: str, name: str = "") -> Resource:
    """Write somebody as Graph does."""
    return {"emailAddress": {"name": name or address, "address": address}}


def attendee(address: str, kind: str = "required") -> Resource:
    """Write an attendee who has not answered."""
    return person(address) | {"type": kind, "status": {"response": "none", "time": "0001-01-01T00:00:00Z"}}


def address_of(somebody: Mapping[str, Any]) -> str:
    """Return a person's address in lower case; an empty one where there is none (facts §7)."""
    found = (somebody.get("emailAddress") or {}).get("address")
    return found.lower() if isinstance(found, str) else ""


def addresses(event: Resource) -> list[str]:
    return [found for one in event.get("attendees") or () if (found := address_of(one))]


def begun(event: Resource, owner: str, zone: str) -> Resource:
    """Fill in what Exchange does for a new event of that owner."""
    place = {"displayName": "", "locationType": "default", "uniqueIdType": "unknown", "address": {}, "coordinates": {}}
    start = _DEFAULTS | {
        "body": {"contentType": "html", "content": ""},
        "location": place,
        "locations": [],
        "organizer": person(owner),
        "responseStatus": {"response": "organizer", "time": "0001-01-01T00:00:00Z"},
        "type": "seriesMaster" if event.get("recurrence") else "singleInstance",
    }
    return settled(start, copied(event), zone)


def settled(before: Resource, changes: Resource, zone: str) -> Resource:
    """Apply changes, with times in UTC beside the name of their zone; what nobody can read stays as it came."""
    event = before | changes
    if isinstance(event.get("location"), dict) and event["location"].get("displayName"):
        event["locations"] = [event["location"]]
    for name, original in (("start", "originalStartTimeZone"), ("end", "originalEndTimeZone")):
        if name not in changes:
            continue
        value = event[name]
        own = value.get("timeZone") or zone
        if original not in changes:
            event[original] = named(own)
        moment = read(value if not event["isAllDay"] else value | {"timeZone": "UTC"})
        if zone_of(own) is not None and moment is not None:
            event[name] = {"dateTime": wall(moment), "timeZone": "UTC"}
    return event


def span_of(event: Resource) -> Span | None:
    """Return when an event begins and ends; None where that can't be read."""
    start, end = read(event["start"]), read(event["end"])
    return (start, end) if start and end else None


def check(event: Resource) -> None:
    """Refuse what Exchange would not store."""
    for name in ("start", "end"):
        value = event.get(name)
        if not isinstance(value, dict) or not isinstance(value.get("dateTime"), str):
            raise RefusedError(400, "ErrorPropertyValidationFailure", f"The event needs a {name}.")
        if zone_of(value.get("timeZone") or "UTC") is None:
            message = "A valid TimeZone value must be specified."
            raise RefusedError(400, "TimeZoneNotSupportedException", message)
    start, end = read(event["start"]), read(event["end"])
    if start is None or end is None:
        raise RefusedError(400, "ErrorPropertyValidationFailure", "The times of the event are no times.")
    if end < start:
        raise RefusedError(400, "ErrorCalendarEndDateIsEarlierThanStartDate")
    if event.get("isAllDay") and not _all_day(event):
        message = "The Event.Start and Event.End of an all-day event must be set to midnight, in the same time zone."
        raise RefusedError(400, "ErrorPropertyValidationFailure", message)
    _check_attendees(event.get("attendees") or [])


def _check_attendees(attendees: object) -> None:
    if not isinstance(attendees, list) or not all(isinstance(one, dict) for one in attendees):
        raise RefusedError(400, "BadRequest", "The attendees are not valid.")
    if len(attendees) > MOST_ATTENDEES:
        raise RefusedError(400, "ErrorInvalidRecipients", "There are too many attendees.")


def _all_day(event: Resource) -> bool:
    """Facts §2: midnight to midnight of another day, in one zone."""
    start, end = event["start"], event["end"]
    return (
        all(value["dateTime"][10:19] in {"", "T00:00:00"} for value in (start, end))
        and start.get("timeZone") == end.get("timeZone")
        and start["dateTime"][:10] < end["dateTime"][:10]
    )


def properties(values: Iterable[Mapping[str, Any]] | None) -> dict[str, str]:
    """Read extended properties; the GUID's case means nothing, the name's does (facts §3)."""
    try:
        return {property_id(one["id"]): str(one["value"]) for one in values or ()}
    except (AttributeError, KeyError, TypeError) as error:
        raise RefusedError(400, "BadRequest", "The extended properties are not valid.") from error


def property_id(text: str) -> str:
    """Spell the id of an extended property in one way: `String {guid} Name X`."""
    kind, _, rest = text.strip().partition(" ")
    guid, _, name = rest.partition(" ")
    return f"{kind} {guid.lower()} {name}"


def cut_before(recurrence: Resource, day: datetime) -> Resource:
    """End a pattern on the day before."""
    last = (day - timedelta(days=1)).date().isoformat()
    bounds = {name: value for name, value in recurrence["range"].items() if name != "numberOfOccurrences"}
    return recurrence | {"range": bounds | {"type": "endDate", "endDate": last}}


def uid_on(uid: str | None, day: datetime) -> str | None:
    """Return the iCalUId of one occurrence: Exchange writes its day into that of the series (facts §3)."""
    if uid is None or len(uid) < len(_UID) + 8 or not uid.startswith(_UID):
        return uid
    return f"{_UID}{day.year:04X}{day.month:02X}{day.day:02X}{uid[len(_UID) + 8 :]}"


def uid_made(digest: str) -> str:
    """Make an iCalUId of Exchange's shape."""
    return f"{_UID}{0:08X}{digest[:16].upper()}{0:016X}10000000{digest[16:48].upper()}"


_UID: Final = "040000008200E00074C5B7101A82E008"
