"""What the stand-in Google does to the JSON of one event: patches, defaults, times, who is `self`, cut series. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final, TypeVar

import orjson

from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.google_series import Resource, instant, moment

T = TypeVar("T")

# facts §1.8: what equals its default is left out of the JSON.
_DEFAULTS: Final[Resource] = {
    "transparency": "opaque",
    "visibility": "default",
    "guestsCanModify": False,
    "guestsCanInviteOthers": True,
    "guestsCanSeeOtherGuests": True,
    "anyoneCanAddSelf": False,
    "privateCopy": False,
    "locked": False,
    "attendeesOmitted": False,
    "endTimeUnspecified": False,
}
# What the organizer alone may change, and what a copy takes over from the organizer's.
SHARED: Final = (
    *("summary", "description", "location", "start", "end", "recurrence", "status", "transparency", "attendees"),
    *("guestsCanModify", "guestsCanInviteOthers", "guestsCanSeeOtherGuests", "eventType", "sequence", "organizer"),
    *("creator", "iCalUID", "recurringEventId", "originalStartTime", "hangoutLink", "conferenceData", "attachments"),
)
_READ_ONLY: Final = (
    *("kind", "etag", "id", "created", "updated", "creator", "organizer", "htmlLink", "hangoutLink", "iCalUID"),
    *("recurringEventId", "originalStartTime", "locked", "privateCopy", "eventType", "endTimeUnspecified"),
)
_COUNT: Final = re.compile(r"COUNT=(\d+)")
_LENGTH: Final = re.compile(r";(?:COUNT|UNTIL)=[^;]*|(?<=:)(?:COUNT|UNTIL)=[^;]*;")
TIMES: Final = ("start", "end", "recurrence")


def merged(event: Resource, changes: Resource) -> Resource:
    """Apply a patch: objects field by field, None removes, arrays as a whole (facts §2)."""
    result = dict(event)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict) and isinstance(result.get(name), dict):
            result[name] = merged(result[name], value)
        else:
            result[name] = value
    return result


def copied(value: T) -> T:
    """Copy JSON, faster than anything that does not know that it is JSON."""
    result: T = orjson.loads(orjson.dumps(value))
    return result


def without_defaults(event: Resource) -> Resource:
    """Leave out what equals its default, as Google does (facts §1.8)."""
    return {name: value for name, value in event.items() if value != _DEFAULTS.get(name, ...)}


def writable(event: Resource, *, also: Iterable[str] = ()) -> Resource:
    """Leave out of a request's body what only Google sets."""
    kept = set(_READ_ONLY) - set(also)
    return {name: value for name, value in event.items() if name not in kept}


def starts_at(event: Resource, zone: str, name: str = "start") -> datetime:
    """Return the moment at which an event begins, or ends with `name="end"`."""
    return instant(moment(event[name], zone), zone)


def own_answer(event: Resource) -> str | None:
    """Return what the guest whose copy this is has answered."""
    return next((guest["responseStatus"] for guest in event.get("attendees", ()) if guest.get("self")), None)


def with_shared_properties(event: Resource, organizers: Resource) -> Resource:
    """Facts §2: private properties stay on their copy, shared ones are on all."""
    shared = organizers.get("extendedProperties", {}).get("shared")
    own = {name: value for name, value in event.get("extendedProperties", {}).items() if name != "shared"}
    properties = own | ({"shared": shared} if shared else {})
    return event | {"extendedProperties": properties} if properties else event


def mark_self(person: Resource, address: str) -> None:
    """Say whether a person is the one whose calendar this copy is on (facts §1.8)."""
    person.pop("self", None)
    if person.get("email", "").lower() == address:
        person["self"] = True


def check_times(event: Resource, zone: str) -> None:
    """Refuse times that are missing, mixed or the wrong way round."""
    for name in ("start", "end"):
        if not isinstance(event.get(name), dict):
            raise RefusedError(400, "required", f"Missing {name} time.")
    start, end = moment(event["start"], zone), moment(event["end"], zone)
    if isinstance(start, datetime) is not isinstance(end, datetime):
        raise RefusedError(400, "invalid", "Start and end times must either both be date or both be dateTime.")
    if instant(end, zone) < instant(start, zone):
        raise RefusedError(400, "timeRangeEmpty")
    if event.get("recurrence") and isinstance(start, datetime) and not event["start"].get("timeZone"):
        raise RefusedError(400, "required", "Missing time zone definition for start time.")


def cut_before(lines: list[str], original: date | datetime) -> list[str]:
    """End the rules just before an occurrence."""
    if isinstance(original, datetime):
        until = f"{original.astimezone(UTC) - timedelta(seconds=1):%Y%m%dT%H%M%SZ}"
    else:
        until = f"{original - timedelta(days=1):%Y%m%d}"
    return [_LENGTH.sub("", line) + f";UNTIL={until}" if line.startswith("RRULE") else line for line in lines]


def counted_on(lines: list[str], gone: int) -> list[str]:
    """Take the occurrences that the old series keeps off the count of the new one."""
    return [_COUNT.sub(lambda found: f"COUNT={int(found[1]) - gone}", line) for line in lines]
