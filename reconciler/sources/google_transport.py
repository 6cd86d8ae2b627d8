"""Requests to Google Calendar, and its answers: an attempt is one send that `quota` has charged, and never two.

Google's own client builds the requests, once for all threads; the sending is ours. An answer is a JSON object of the
kind that was asked for, or an error of `answers`: nothing else passes for one.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, NoReturn, Protocol, TypeAlias

import orjson

from reconciler.model import Calendar
from reconciler.quota import Quota, Scope, forever
from reconciler.sources.answers import DeniedError, ExpiredTokenError, TransientError
from reconciler.sources.google_faults import Asked, fault
from reconciler.sources.tokens import GrantedTokens, Tokens
from reconciler.sources.wire import Wire

if TYPE_CHECKING:
    from httplib2 import Response

Json: TypeAlias = dict[str, object]
Query: TypeAlias = Mapping[str, str | int | bool | None]

EVENT_FIELDS = (
    "kind,etag,id,status,eventType,created,updated,summary,description,location,visibility,transparency,start,end,"
    "endTimeUnspecified,recurrence,recurringEventId,originalStartTime,iCalUID,sequence,creator(email,self),"
    "organizer(email,self),attendees(email,self,resource,responseStatus,organizer),attendeesOmitted,"
    "extendedProperties,source(url),locked,privateCopy"
)
"""What is asked for of an event. Without a mask Google sends half as much again (facts §5.5)."""

LIST_FIELDS = f"kind,etag,updated,timeZone,accessRole,nextPageToken,nextSyncToken,items({EVENT_FIELDS})"
"""What is asked for of a page of events."""

PRIMARY = "primary"
EVENT, EVENTS = "calendar#event", "calendar#events"
_SUCCESS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: on behalf of which agent, which calendar as Google names it, how long it may take."""

    agent: str
    calendar: str
    patience: Callable[[], float] = forever


class GoogleCalendar:
    """The reading half of the Calendar API. Safe to use from several threads; `close` ends all connections.

    All methods raise ProviderError, PostponedError and AccessError, and nothing else for whatever a server answers.
    """

    _writes = False

    def __init__(
        self, endpoint: str, tokens: Tokens, quota: Quota, wire: Wire, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._events = _events(endpoint)
        self._tokens = tokens
        self.quota = quota
        self._wire = wire
        self._clock = clock

    def target(self, calendar: Calendar, patience: Callable[[], float] = forever) -> Target:
        """Say how Google is asked about `calendar`: `primary` is the agent's own only with a token of the agent."""
        agent = calendar.agent.email
        shared = self._tokens.shared and calendar.name == PRIMARY
        return Target(agent=agent, calendar=agent if shared else calendar.name, patience=patience)

    def list(self, target: Target, query: Query) -> Json:
        """Return one page of `events.list`; `query` are its parameters, None where one is left out."""
        request = self._request("list", target, {"fields": LIST_FIELDS, **query})
        return self._send(_Call(target, request, EVENTS, cursor=query.get("syncToken") is not None))

    def get(self, target: Target, event: str, *, whole: bool = False) -> Json:
        """Return one event; `whole` with every field that it has, to be written back."""
        query = {"eventId": event, "fields": None if whole else EVENT_FIELDS}
        return self._send(_Call(target, self._request("get", target, query), EVENT))

    def instances(self, target: Target, event: str, query: Query) -> Json:
        """Return one page of the occurrences of a series."""
        request = self._request("instances", target, {"eventId": event, "fields": LIST_FIELDS, **query})
        return self._send(_Call(target, request, EVENTS))

    def may(self, target: Target, scope: str) -> bool:
        """Tell whether its credential is let act for an agent with another scope. No calendar is asked for."""
        return isinstance(self._tokens, GrantedTokens) and self._tokens.may(target.agent, scope, target.patience)

    def close(self) -> None:
        """Close all connections."""
        self._wire.close()

    def _request(self, method: str, target: Target, query: Query, body: object = None) -> Callable[[], _Request]:
        """Return what builds a request anew for each attempt: sending changes it."""
        build: Callable[..., _Request] = getattr(self._events, method)
        common: dict[str, object] = {
            "calendarId": target.calendar,
            "prettyPrint": False,
            # Without it all agents share one user's minute: the service account's (usage limits of the API).
            "quotaUser": hashlib.sha1(target.agent.encode(), usedforsecurity=False).hexdigest()[:32],
        }
        parameters = common | dict(query) | ({} if body is None else {"body": body})
        return lambda: build(**parameters)

    def _send(self, call: _Call) -> Json:
        """Send as often as `quota` finds right; a token that is not valid any more is renewed once."""
        agent, write = call.target.agent, self._writes
        token = self._tokens.token(agent, write=write, patience=call.target.patience)
        try:
            return self._sent(call, token)
        except ExpiredTokenError as error:
            if not self._tokens.forget(agent, token, write=write):
                raise _denied(error) from None
        try:
            return self._sent(call, self._tokens.token(agent, write=write, patience=call.target.patience))
        except ExpiredTokenError as error:
            raise _denied(error) from None

    def _sent(self, call: _Call, token: str) -> Json:
        def attempt() -> Json:
            request = call.build()
            request.headers |= call.headers
            request.postproc = _body
            body = request.execute(http=_Once(self._wire, token, call, self._clock), num_retries=0)
            return _of_kind(body, call.kind) if call.kind else {}

        scope = Scope.WRITE if call.write else Scope.READ
        return self.quota.call(attempt, agent=call.target.agent, scope=scope, patience=call.target.patience)


class WritableGoogleCalendar(GoogleCalendar):
    """The writing half as well. A write asks Google to notify nobody, always.

    After a TransientError its outcome is unknown: it is looked up, nothing here sends it again. Look-ups too are made
    by leave to write: what writes need not be given any other.
    """

    _writes = True

    def insert(self, target: Target, body: Mapping[str, object]) -> Json:
        """Create an event under the id in `body`; TakenError when that id was ever used on this calendar."""
        query: Query = {"sendUpdates": "none", "fields": EVENT_FIELDS}
        return self._wrote(target, self._request("insert", target, query, dict(body)), {})

    def update(self, target: Target, event: str, body: Mapping[str, object], *, etag: str) -> Json:
        """Replace an event if it still has `etag`, else MovedError. What `body` leaves out is dropped."""
        query: Query = {"eventId": event, "sendUpdates": "none", "fields": EVENT_FIELDS}
        return self._wrote(target, self._request("update", target, query, dict(body)), _if_still(etag))

    def delete(self, target: Target, event: str, *, etag: str) -> None:
        """Delete an event if it still has `etag`, else MovedError; GoneError when it is deleted already."""
        request = self._request("delete", target, {"eventId": event, "sendUpdates": "none"})
        self._send(_Call(target, request, headers=_if_still(etag), write=True))

    def role(self, target: Target) -> str:
        """Return with what access the calendar is had by what it would be written with. Nothing is written."""
        request = self._request("list", target, {"maxResults": 1, "fields": "kind,accessRole"})
        return str(self._send(_Call(target, request, EVENTS, write=True)).get("accessRole", ""))

    def _wrote(self, target: Target, build: Callable[[], _Request], headers: Mapping[str, str]) -> Json:
        return self._send(_Call(target, build, EVENT, headers=headers, write=True))


# ---- one attempt ----------------------------------------------------------------------------------------------------


class _Request(Protocol):
    """What Google's client calls an HttpRequest."""

    headers: dict[str, str]
    postproc: Callable[[Response, bytes], bytes]

    def execute(self, *, http: _Once, num_retries: int) -> bytes: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """A request that may take several attempts, and what decides about its answers: no `kind`, no content."""

    target: Target
    build: Callable[[], _Request]
    kind: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    write: bool = False
    cursor: bool = False


@dataclass(frozen=True, slots=True)
class _Once:
    """The HTTP object of one attempt. The token is added here, so that no request object holds one."""

    wire: Wire
    token: str = field(repr=False)
    call: _Call = field(repr=False)
    clock: Callable[[], float]

    def request(self, uri: str, method: str, body: str | None, headers: Mapping[str, str]) -> tuple[Response, bytes]:
        """Send once. An answer that says no is raised as what it means, before the client makes its own of it."""
        from httplib2 import Response

        sent = {**headers, "authorization": f"Bearer {self.token}"}
        payload = None if body is None else body.encode()
        answer = self.wire.send(method, uri, sent, payload, seconds=self.call.target.patience())
        if answer.status // 100 != _SUCCESS:
            raise fault(answer, Asked(now=self.clock(), write=self.call.write, cursor=self.call.cursor))
        return Response({"status": str(answer.status), **answer.headers}), answer.body


class _Nowhere:
    """What a request is sent through that nobody gave an HTTP object: nothing."""

    def request(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a request without its HTTP object")


@lru_cache(maxsize=8)
def _events(endpoint: str) -> object:
    """Build Google's client from the description in its own package: no request, and no credentials in it.

    That takes as long as a read, and who reads and who writes need one each.
    """
    from googleapiclient.discovery import build_from_document
    from googleapiclient.discovery_cache import get_static_doc

    described = get_static_doc("calendar", "v3")
    options = {"api_endpoint": endpoint}
    return build_from_document(described, http=_Nowhere(), client_options=options).events()


def _body(_: Response, content: bytes) -> bytes:
    return content


def _if_still(etag: str) -> dict[str, str]:
    if not etag:
        raise ValueError("a write needs the version that it was decided on")
    return {"If-Match": etag}


def _denied(error: ExpiredTokenError) -> DeniedError:
    return DeniedError(f"does not accept the token ({error})", reason=error.reason)


def _of_kind(body: bytes, kind: str) -> Json:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict) or said.get("kind") != kind or not isinstance(said.get("items", []), list):
        raise TransientError("answered with something else than was asked for")
    return said
