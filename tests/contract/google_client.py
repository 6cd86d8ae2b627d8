"""The provider's own client over HTTP, which holds every answer against the provider's description; and events."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import google.auth.exceptions
import google.auth.iam
import google.auth.impersonated_credentials
import google.oauth2.credentials
import httplib2
import pytest
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient import discovery_cache
from googleapiclient.discovery import build_from_document
from googleapiclient.errors import HttpError

from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_series import Resource
from tests.discovery import check, document

ANN, BOB, CID = (f"{name}@acme.example" for name in ("ann", "bob", "cid"))
CLIENT = "carla@client.example"
CHICAGO = "America/Chicago"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday, in the last week before the clocks change in Chicago
MONDAY = datetime(2026, 3, 2, 16, tzinfo=UTC)  # ten o'clock in Chicago


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@cache
def methods() -> dict[str, Any]:
    resources = document()["resources"]
    return {method["id"]: method for part in resources.values() for method in part["methods"].values()}


@cache
def whole_document() -> str:
    text: str = discovery_cache.get_static_doc("calendar", "v3")
    return text


# google-auth says what its functions take, and not what they return.
Credentials: Any = google.oauth2.credentials.Credentials
Keyless: Any = google.auth.impersonated_credentials.Credentials
from_key: Any = service_account.Credentials.from_service_account_info


class Client:
    """The provider's client, which holds each answer against the provider's schema."""

    def __init__(self, server: GoogleSimulator, token: str) -> None:
        self.http = httplib2.Http()
        credentials = Credentials(token)
        self._authorized = AuthorizedHttp(credentials, http=self.http, refresh_status_codes=())
        self.service = build_from_document(
            whole_document(), http=httplib2.Http(), client_options={"api_endpoint": server.url}
        )
        self.events = self.service.events()

    def __call__(self, request: Any, **headers: str) -> Any:
        request.headers.update({name.replace("_", "-"): value for name, value in headers.items()})
        answer = request.execute(http=self._authorized, num_retries=0)
        if answer != "":
            check(methods()[request.methodId]["response"]["$ref"], answer)
        return answer

    def page(self, calendar: str = "primary", **parameters: Any) -> Any:
        return self(self.events.list(calendarId=calendar, **parameters))

    def walk(self, calendar: str = "primary", **parameters: Any) -> list[Any]:
        """Turn all pages of a list."""
        request, pages = self.events.list(calendarId=calendar, **parameters), []
        while request is not None:
            pages.append(self(request))
            request = self.events.list_next(request, pages[-1])
        return pages

    def token(self, calendar: str = "primary", **parameters: Any) -> str:
        return str(self.walk(calendar, **parameters)[-1]["nextSyncToken"])

    def delta(self, token: str, calendar: str = "primary", **parameters: Any) -> list[Any]:
        """Return what changed since a sync token."""
        return [item for page in self.walk(calendar, syncToken=token, **parameters) for item in page["items"]]

    def close(self) -> None:
        self.http.close()
        self.service.close()


Clients = Callable[..., Client]


def timed(start: datetime, minutes: int = 60, **more: Any) -> Resource:
    """Write an event, in UTC unless it gets a zone."""
    end = start + timedelta(minutes=minutes)
    return {
        "summary": "Showing",
        "start": {"dateTime": start.isoformat()},
        "end": {"dateTime": end.isoformat()},
    } | more


def weekly(rule: str = "RRULE:FREQ=WEEKLY", **more: Any) -> Resource:
    """Write a series: Mondays at ten in Chicago."""
    at = {"start": {"dateTime": "2026-03-02T10:00:00", "timeZone": CHICAGO}}
    at |= {"end": {"dateTime": "2026-03-02T11:00:00", "timeZone": CHICAGO}}
    return {"summary": "Weekly", "recurrence": [rule]} | at | more


def refused(client: Client, request: Any, **headers: str) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        client(request, **headers)
    error = json.loads(caught.value.content)["error"]
    return caught.value.status_code, error["errors"][0]["reason"]


def ids(items: list[Any]) -> list[str]:
    return [item["id"] for item in items]


def begins(item: Any) -> datetime:
    return datetime.fromisoformat(item["start"]["dateTime"])
