"""What each address of the stand-in Google does: events, calendars and the list of calendars, for whoever may."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from reconciler.simulator.google_calendars import Calendar, Row, World
from reconciler.simulator.google_queries import Query, Rules, instances, listed, number
from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.google_resources import merged, writable
from reconciler.simulator.google_series import Resource
from reconciler.simulator.google_sign_in import ROBOT, Access
from reconciler.simulator.google_views import WRITERS, Glasses, selected, selector
from reconciler.simulator.loopback import Answer, Request

# facts §4 and the discovery document: which scopes open what.
_OWNED: Final = ("calendar.events.owned", "calendar.events.owned.readonly")
_READ_EVENTS: Final = ("calendar", "calendar.readonly", "calendar.events", "calendar.events.readonly")
_WRITE_EVENTS: Final = ("calendar", "calendar.events")
_READ_CALENDARS: Final = ("calendar", "calendar.readonly", "calendar.calendars", "calendar.calendars.readonly")
_READ_LIST: Final = ("calendar", "calendar.readonly", "calendar.calendarlist", "calendar.calendarlist.readonly")

# facts §2: what only the organizer may change; a guest keeps his answer, his colour and his reminders to himself.
_ORGANIZERS: Final = (
    *("summary", "description", "location", "start", "end", "recurrence", "status", "attendees"),
    *("guestsCanModify", "guestsCanInviteOthers", "guestsCanSeeOtherGuests"),
)
_TYPES: Final = frozenset({"default", "focusTime", "outOfOffice", "workingLocation", "birthday"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in. `size` is the page size that a fault wants."""

    world: World
    rules: Rules
    request: Request
    access: Access
    size: int | None = None

    def open(self, name: str, *, write: bool = False) -> tuple[Calendar, str]:
        """Return a calendar and the caller's role on it; 404 also where it is only not shared (facts §3.3)."""
        access = self.access
        address = access.subject if name == "primary" else name.lower()
        # facts §6.13: the robot's own primary exists too, and is empty.
        calendar = self.world.calendar(ROBOT) if address == ROBOT else self.world.calendars.get(address)
        if calendar is None:
            raise RefusedError(404, "notFound")
        if calendar.refused is not None:
            raise calendar.refused
        role = "owner" if address == access.subject else calendar.shares.get(access.subject, "none")
        role = calendar.role or role if role != "none" else role
        if role == "none":
            raise RefusedError(404, "notFound")
        if write and role not in WRITERS:
            raise RefusedError(403, "requiredAccessLevel")
        return calendar, role

    def events(self, name: str, *, write: bool = False) -> tuple[Calendar, str]:
        """Return a calendar for its events, if the token's scopes reach them."""
        scopes = _WRITE_EVENTS if write else _READ_EVENTS
        own = name in {"primary", self.access.subject}
        self.access.demand(*scopes, *(_OWNED[: 1 if write else 2] if own else ()))
        return self.open(name, write=write)

    def glasses(self, role: str, *, details: bool = True) -> Glasses:
        most = number(self.request, "maxAttendees", 1) if self.request.one("maxAttendees") else None
        return Glasses(role, details, most, self.request.one("timeZone"))

    def body(self) -> Resource:
        """Read the JSON object that was sent."""
        try:
            body = orjson.loads(self.request.body)
        except orjson.JSONDecodeError as error:
            raise RefusedError(400, "parseError", "Parse Error") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "parseError", "Parse Error")
        return body

    def json(self, body: Resource) -> Answer:
        """Answer a body as the request wants it: indented unless it says no, and only the fields it names."""
        headers = (("ETag", body["etag"]),) if "etag" in body else ()
        if fields := self.request.one("fields"):
            body = selected(body, selector(fields))
        option = None if self.request.one("prettyPrint") == "false" else orjson.OPT_INDENT_2
        return Answer(body=orjson.dumps(body, option=option), headers=headers)

    def event(self, calendar: Calendar, role: str, event: Resource, *, bare: bool = False) -> Answer:
        return self.json(self.glasses(role).show(event, bare=bare, calendar_zone=calendar.zone))

    def precondition(self, row: Row) -> None:
        """Refuse a write that was decided on another version."""
        wanted = self.request.headers.get("if-match")
        if wanted not in {None, "*", row.event.get("etag")}:
            raise RefusedError(412, "conditionNotMet", location="If-Match")

    def notify(self, calendar: Calendar, event: Resource) -> None:
        """Note who is mailed, as `sendUpdates` has it; omitted means nobody (facts §2)."""
        policy = self.request.one("sendUpdates") or "none"
        guests = [guest["email"] for guest in event.get("attendees", ()) if guest["email"] != calendar.id]
        outside = [address for address in guests if address not in self.world.calendars]
        mailed = {"all": guests, "externalOnly": outside}.get(policy, [])
        self.world.mails += [(address, event["id"]) for address in mailed]


def carry_out(call: Call) -> Answer:
    """Do what the request's address and method say. The world's lock is held."""
    method = call.request.method
    match call.request.parts[2:]:
        case ["calendars", calendar, "events"] if method in _ON_ALL:
            return _ON_ALL[method](call, calendar)
        case ["calendars", calendar, "events", "import"] if method == "POST":
            return _import(call, calendar)
        case ["calendars", calendar, "events", event] if method in _ON_ONE:
            return _ON_ONE[method](call, calendar, event)
        case ["calendars", calendar, "events", event, action] if (method, action) in _ACTIONS:
            return _ACTIONS[method, action](call, calendar, event)
    return _about_calendars(call)


def _about_calendars(call: Call) -> Answer:
    match call.request.method, call.request.parts[2:]:
        case "GET", ["calendars", name]:
            call.access.demand(*_READ_CALENDARS)
            calendar, _ = call.open(name)
            return call.json(_described(calendar) | {"kind": "calendar#calendar", "dataOwner": calendar.id})
        case "GET", ["users", "me", "calendarList"]:
            call.access.demand(*_READ_LIST)
            return call.json({"kind": "calendar#calendarList", "etag": '"p1"', "items": _calendar_list(call)})
    raise RefusedError(404, "notFound")


def _described(calendar: Calendar) -> Resource:
    """Return what a calendar says of itself."""
    return {"etag": f'"c{calendar.generation}"', "id": calendar.id, "summary": calendar.id, "timeZone": calendar.zone}


def _calendar_list(call: Call) -> list[Resource]:
    own = call.access.subject
    entries = []
    for calendar in call.world.calendars.values():
        role = "owner" if calendar.id == own else calendar.shares.get(own)
        if role and calendar.refused is None:
            entry = _described(calendar) | {"kind": "calendar#calendarListEntry", "accessRole": calendar.role or role}
            entries.append(entry | ({"primary": True} if calendar.id == own else {}))
    return entries


def _page(calendar: Calendar, role: str, body: Resource) -> Resource:
    """Put around a page's items what every page carries (facts §1.8)."""
    newest = calendar.log[-1] if calendar.log else ""
    updated = calendar.rows[newest].event["updated"] if newest else "2026-01-01T00:00:00.000Z"
    return {
        "kind": "calendar#events",
        "etag": f'"p{calendar.generation}.{len(calendar.log)}"',
        "summary": calendar.id,
        "updated": updated,
        "timeZone": calendar.zone,
        "accessRole": role,
        "defaultReminders": [],
    } | body


def _list(call: Call, name: str) -> Answer:
    calendar, role = call.events(name)
    query = Query.of(call.request)
    glasses = call.glasses(role, details=query.show_deleted)
    return call.json(_page(calendar, role, listed(calendar, query, glasses, call.rules, call.size)))


def _instances(call: Call, name: str, event: str) -> Answer:
    calendar, role = call.events(name)
    body = instances(calendar, event, Query.of(call.request), call.glasses(role), (call.rules, call.size))
    return call.json(_page(calendar, role, body))


def _get(call: Call, name: str, event: str) -> Answer:
    calendar, role = call.events(name)
    row = calendar.row(event)
    if call.request.headers.get("if-none-match") == row.event.get("etag"):
        return Answer(status=HTTPStatus.NOT_MODIFIED)
    return call.event(calendar, role, row.event, bare=row.bare)


def _insert(call: Call, name: str) -> Answer:
    calendar, role = call.events(name, write=True)
    body = call.body()
    _check_guests(call, body)
    if body.get("eventType", "default") not in _TYPES:
        raise RefusedError(400, "eventTypeRestriction", "This type of event cannot be created.")
    # facts §2: an id or an iCalUID, not both.
    own = ("id", "eventType") if "id" in body else ("iCalUID", "eventType")
    row = calendar.keep(calendar.completed(_accepted(call, writable(body, also=own))))
    calendar.spread(row)
    call.notify(calendar, row.event)
    return call.event(calendar, role, row.event)


def _import(call: Call, name: str) -> Answer:
    """Add a private copy; facts §2: the same iCalUID again updates it, nobody is told."""
    calendar, role = call.events(name, write=True)
    body = _accepted(call, writable(call.body(), also=("iCalUID", "organizer", "eventType")))
    if not body.get("iCalUID"):
        raise RefusedError(400, "required", "Missing iCalUID.")
    body |= {"privateCopy": True}
    known = [row for row in calendar.rows.values() if row.event.get("iCalUID") == body["iCalUID"]]
    if known:
        return call.event(calendar, role, calendar.change(known[0].event["id"], known[0].event | body).event)
    return call.event(calendar, role, calendar.keep(calendar.completed(body)).event)


def _accepted(call: Call, body: Resource) -> Resource:
    """Drop what Google ignores without a word unless the request says that it knows of it (facts §2)."""
    ignored = set()
    if call.request.one("conferenceDataVersion") != "1":
        ignored.add("conferenceData")
    if call.request.one("supportsAttachments") != "true":
        ignored.add("attachments")
    return {name: value for name, value in body.items() if name not in ignored}


def _check_guests(call: Call, body: Resource) -> None:
    if call.access.robot and body.get("attendees"):
        raise RefusedError(403, "forbiddenForServiceAccounts")


def _update(call: Call, name: str, event: str) -> Answer:
    """Replace an event: facts §2, what is omitted is dropped."""
    body = call.body()

    def replaced(before: Resource) -> Resource:
        fixed = {key: value for key, value in before.items() if key not in writable(before)}
        kept = {key: before[key] for key in ("conferenceData", "attachments") if key in before}
        return {"status": "confirmed"} | fixed | kept | _accepted(call, writable(body))

    return _written(call, name, event, replaced)


def _patch(call: Call, name: str, event: str) -> Answer:
    body = call.body()
    return _written(call, name, event, lambda before: merged(before, _accepted(call, writable(body))))


def _written(call: Call, name: str, event: str, wanted: Callable[[Resource], Resource]) -> Answer:
    calendar, role = call.events(name, write=True)
    row = calendar.row(event)
    call.precondition(row)
    result = wanted(row.event)
    _check_guests(call, {key: value for key, value in result.items() if value != row.event.get(key)})
    if not row.event["organizer"].get("self") and not row.event.get("guestsCanModify"):
        _check_unshared(row.event, calendar.settled(result))
    if row.cancelled and (result.get("status") != "confirmed" or row.bare):
        raise RefusedError(410, "deleted")
    if result.get("status") == "cancelled":
        calendar.remove(event)
        return call.event(calendar, role, calendar.row(event).event, bare=calendar.row(event).bare)
    changed = calendar.change(event, result)
    call.notify(calendar, changed.event)
    return call.event(calendar, role, changed.event)


def _check_unshared(before: Resource, after: Resource) -> None:
    """Refuse a guest who changes what is the organizer's (facts §2)."""
    if any(_without_own(before.get(key)) != _without_own(after.get(key)) for key in _ORGANIZERS):
        raise RefusedError(403, "forbiddenForNonOrganizer")


def _without_own(value: object) -> object:
    """Leave a guest's own entry out of the list of guests."""
    if not isinstance(value, list):
        return value
    return [entry for entry in value if not (isinstance(entry, dict) and entry.get("self"))]


def _delete(call: Call, name: str, event: str) -> Answer:
    calendar, _ = call.events(name, write=True)
    row = calendar.row(event)
    if not row.cancelled:
        call.precondition(row)
        call.notify(calendar, row.event)
    # facts §2: deleted with `none`, the meeting stays on its guests' calendars.
    calendar.remove(event, for_all=call.request.one("sendUpdates") != "none")
    return Answer(status=HTTPStatus.NO_CONTENT)


def _move(call: Call, name: str, event: str) -> Answer:
    calendar, role = call.events(name, write=True)
    destination = call.request.one("destination")
    if destination is None:
        raise RefusedError(400, "required", "Missing destination.", location="destination")
    other, _ = call.events(destination, write=True)
    row = calendar.row(event)
    call.precondition(row)
    calendar.hand_over(other, event)
    call.notify(other, other.rows[event].event)
    # facts §2: the answer may say cancelled, although the event is fine where it went.
    left = calendar.rows[event]
    return call.event(calendar, role, left.event, bare=left.bare)


_One = Callable[[Call, str, str], Answer]
_ON_ALL: Final[dict[str, Callable[[Call, str], Answer]]] = {"GET": _list, "POST": _insert}
_ON_ONE: Final[dict[str, _One]] = {"GET": _get, "PUT": _update, "PATCH": _patch, "DELETE": _delete}
_ACTIONS: Final[dict[tuple[str, str], _One]] = {("GET", "instances"): _instances, ("POST", "move"): _move}
