"""What each address of the stand-in Graph does: users, calendars, events, and who is mailed by it."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import orjson

from reconciler.simulator.graph_mailboxes import Mailbox, Row, World
from reconciler.simulator.graph_queries import Rules, Twist, delta, events, instances, view
from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.graph_resources import addresses, check, copied, writable
from reconciler.simulator.graph_series import Resource
from reconciler.simulator.graph_sign_in import READ, USERS, WRITE, Access
from reconciler.simulator.graph_views import Selection, preferences, stored_name
from reconciler.simulator.loopback import Answer, Fault, Request

_QUOTED_USER: Final = re.compile(r"users\('(.*)'\)")
_GONE: Final = frozenset({"ErrorInvalidUser", "Request_ResourceNotFound"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in. `fault` is what is to become of its page; `root` is where the server is."""

    world: World
    rules: Rules
    request: Request
    access: Access
    root: str
    fault: Fault | None = None

    def open(self, name: str) -> Mailbox:
        """Return a mailbox by address or object id, if it can be reached."""
        self.access.demand(READ, WRITE)
        mailbox = self.world.mailboxes.get(name.lower())
        if mailbox is None or mailbox.tenant != self.access.tenant:
            raise RefusedError(404, "ErrorInvalidUser", f"The requested user '{name[:80]}' is invalid.")
        if mailbox.refused is not None:
            raise mailbox.refused
        return mailbox

    def body(self) -> Resource:
        """Read the JSON object that was sent."""
        try:
            body = orjson.loads(self.request.body)
        except orjson.JSONDecodeError as error:
            raise RefusedError(400, "BadRequest", "Unable to read JSON request payload.") from error
        if not isinstance(body, dict):
            raise RefusedError(400, "BadRequest", "Unable to read JSON request payload.")
        return body

    def json(self, body: object, status: int = 200) -> Answer:
        """Answer a body, and say which preferences were heard."""
        headers: tuple[tuple[str, str], ...] = ()
        if applied := preferences(self.request).applied:
            headers = (("Preference-Applied", applied),)
        return Answer(status=status, body=orjson.dumps(body), headers=headers)

    def event(self, row: Row, status: int = 200) -> Answer:
        shown = preferences(self.request).show(row)
        return self.json(Selection.of(self.request).of_event(shown, row.properties), status)

    def twist(self) -> Twist:
        return Twist(f"{self.root}{self.request.path}", self.rules, self.fault)

    def precondition(self, row: Row) -> None:
        """Refuse a write that was decided on another version (facts §3)."""
        if self.request.headers.get("if-match") not in {None, "*", row.etag}:
            raise RefusedError(412, "ErrorIrresolvableConflict")

    def mail(self, row: Row, *more: str) -> None:
        """Note who is mailed: a meeting's attendees, by whatever its organizer does. No request can prevent it."""
        if row.event["isOrganizer"] and not row.event["isDraft"]:
            self.world.mails += [(address, row.id) for address in dict.fromkeys([*addresses(row.event), *more])]


def user_of(request: Request) -> str:
    """Return whom a request names, empty if nobody."""
    parts = request.parts
    if len(parts) > 1 and (found := _QUOTED_USER.fullmatch(parts[1])):
        return found[1]
    return "".join(parts[2:3]) if parts[1:2] == ["users"] and "users//" not in request.path else ""


def carry_out(call: Call) -> Answer:
    """Do what the request's address and method say. The world's lock is held."""
    parts, user = call.request.parts[1:], user_of(call.request)
    if not user:
        if parts[:1] == ["me"]:
            raise RefusedError(400, "BadRequest", "/me request is only valid with delegated authentication flow.")
        raise RefusedError(404, "ResourceNotFound", "Resource could not be discovered.")
    rest = parts[1:] if "(" in parts[0] else parts[2:]
    if not rest:
        return _user(call, user)
    mailbox = call.open(user)
    match rest:
        case ["calendar"] | ["calendars", _] | ["calendars"]:
            return _calendars(call, mailbox, rest)
        case ["calendar", *inner]:
            rest = inner
        case ["calendars", name, *inner]:
            mailbox, rest = _calendar(mailbox, name), inner
    return _about_events(call, mailbox, rest)


def _about_events(call: Call, mailbox: Mailbox, rest: list[str]) -> Answer:
    match call.request.method, rest:
        case "GET", ["calendarView", "delta"]:
            return call.json(delta(mailbox, call.request, call.twist()))
        case "GET", ["calendarView"]:
            return call.json(view(mailbox, call.request, call.twist()))
        case "GET", ["events"]:
            return call.json(events(mailbox, call.request, call.twist()))
        case "POST", ["events"]:
            return _create(call, mailbox)
        case "GET", ["events", name, "instances"]:
            return call.json(instances(mailbox, mailbox.row(stored_name(name)), call.request, call.twist()))
        case method, ["events", name] if method in _ON_ONE:
            return _ON_ONE[method](call, mailbox, mailbox.row(stored_name(name)))
    raise RefusedError(400, "BadRequest", "Resource not found for the segment.")


def _user(call: Call, name: str) -> Answer:
    """Describe somebody; facts §5: this is a permission of its own, and a user may have no mailbox that can be read."""
    call.access.demand(USERS)
    mailbox = call.world.mailboxes.get(name.lower())
    gone = mailbox is not None and mailbox.refused is not None and mailbox.refused.code in _GONE
    if mailbox is None or gone or mailbox.tenant != call.access.tenant:
        raise RefusedError(404, "Request_ResourceNotFound")
    user = {
        "id": mailbox.id,
        "displayName": mailbox.address.partition("@")[0].title(),
        "userPrincipalName": mailbox.address,
        "mail": mailbox.address,
    }
    return call.json(Selection.of(call.request).of_event(user, {}))


def _calendar(mailbox: Mailbox, name: str) -> Mailbox:
    """Return one of a user's calendars; facts §1.5: only by way of it events of further ones are found."""
    found = mailbox if name == mailbox.calendar_id else mailbox.others.get(name)
    if found is None:
        raise RefusedError(404, "ErrorItemNotFound")
    return found


def _calendars(call: Call, mailbox: Mailbox, rest: list[str]) -> Answer:
    if rest == ["calendars"]:
        return call.json({"value": [_described(one) for one in (mailbox, *mailbox.others.values())]})
    return call.json(_described(_calendar(mailbox, rest[1]) if rest[0] == "calendars" else mailbox))


def _described(calendar: Mailbox) -> Resource:
    """Return what a calendar says of itself."""
    return {
        "id": calendar.calendar_id,
        "name": calendar.title,
        "isDefaultCalendar": calendar.title == "Calendar",
        "canEdit": True,
        "owner": {"name": calendar.address, "address": calendar.address},
    }


def _get(call: Call, mailbox: Mailbox, row: Row) -> Answer:
    del mailbox
    return call.event(row)


def _create(call: Call, mailbox: Mailbox) -> Answer:
    """Add an event; facts §3: a transactionId that was used gives the same event again, or is refused."""
    call.access.demand(WRITE)
    body = call.body()
    sent = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
    transaction = body.get("transactionId")
    if transaction in mailbox.transactions:
        name = mailbox.transactions[transaction]
        row = mailbox.rows[name]
        if row.gone or row.sent != sent:
            existing = preferences(call.request).name(name)
            raise RefusedError(400, "ErrorDuplicateTransactionId", more={"@event.existingEventId": existing})
        return call.event(row, HTTPStatus.CREATED)
    check(body)
    marks = {"singleValueExtendedProperties": body.get("singleValueExtendedProperties") or []}
    row = mailbox.add(writable(body) | marks, sent)
    mailbox.spread(row)
    call.mail(row)
    return call.event(row, HTTPStatus.CREATED)


def _update(call: Call, mailbox: Mailbox, row: Row) -> Answer:
    """Change what the body names; an array is replaced as a whole. The organizer's attendees are mailed (facts §4)."""
    call.access.demand(WRITE)
    call.precondition(row)
    body = call.body()
    changes = writable(body)
    changes.pop("transactionId", None)
    former, merged = addresses(row.event), copied(row.event | changes)
    if {"start", "end", "isAllDay", "attendees"} & changes.keys():
        check(merged)
    if "singleValueExtendedProperties" in body:
        changes["singleValueExtendedProperties"] = body["singleValueExtendedProperties"]
    changed = mailbox.change(row, changes)
    call.mail(changed, *former)
    return call.event(changed)


def _delete(call: Call, mailbox: Mailbox, row: Row) -> Answer:
    call.access.demand(WRITE)
    call.precondition(row)
    call.mail(row)
    mailbox.remove(row)
    return Answer(status=HTTPStatus.NO_CONTENT)


_ON_ONE: Final[dict[str, Callable[[Call, Mailbox, Row], Answer]]] = {"GET": _get, "PATCH": _update, "DELETE": _delete}
