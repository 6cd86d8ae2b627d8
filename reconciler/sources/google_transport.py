"""Requests to Google Calendar and its answers: each attempt is one send, charged by `quota`, and comes back as what it is.

Google's own client builds the requests, once for all threads; the sending is ours. An answer is a JSON object of the
kind that was asked for, or an error of `answers`: nothing else passes for one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from reconciler.model import Calendar
from reconciler.sources.google_auth import Tokens, forever

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: on behalf of which agent, which calendar as Google names it, and how long it may take."""

    agent: str
    calendar: str
    patience: Callable[[], float] = forever


class GoogleCalendar:
    """The reading half of the Calendar API. Safe to use from several threads; `close` ends all connections.

    All methods raise ProviderError, PostponedError and AccessError, and nothing else for whatever a server answers.
    """

    def target(self, calendar: Calendar, patience: Callable[[], float] = forever) -> Target:
        """Say how Google is asked about `calendar`: `primary` is the agent's own only with a token of the agent."""
        raise NotImplementedError

    def list(self, target: Target, query: Query) -> Json:
        """Return one page of `events.list`; `query` are its parameters, None where one is left out."""
        raise NotImplementedError

    def get(self, target: Target, event: str, *, whole: bool = False) -> Json:
        """Return one event; `whole` with every field that it has, to be written back."""
        raise NotImplementedError

    def instances(self, target: Target, event: str, query: Query) -> Json:
        """Return one page of the occurrences of a series."""
        raise NotImplementedError

    def close(self) -> None:
        """Close all connections."""
        raise NotImplementedError


class WritableGoogleCalendar(GoogleCalendar):
    """The writing half as well. A write asks Google to notify nobody, always.

    After a TransientError its outcome is unknown: it is looked up, nothing here sends it again.
    """

    def insert(self, target: Target, body: Mapping[str, object]) -> Json:
        """Create an event under the id in `body`; TakenError when that id was ever used on this calendar."""
        raise NotImplementedError

    def update(self, target: Target, event: str, body: Mapping[str, object], *, etag: str) -> Json:
        """Replace an event if it still has `etag`, else MovedError. What `body` leaves out is dropped."""
        raise NotImplementedError

    def delete(self, target: Target, event: str, *, etag: str) -> None:
        """Delete an event if it still has `etag`, else MovedError; GoneError when it is deleted already."""
        raise NotImplementedError
