"""The stand-in Google behaves as the provider does: asked by the provider's own client, over HTTP, answer by answer."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from email.message import Message
from functools import cache
from typing import Any
from urllib.parse import urlsplit

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

from reconciler.simulator.google import READ, ROBOT, WRITE, Fault, GoogleSimulator, Harm, Quotas, Rules
from reconciler.simulator.google_series import Resource
from reconciler.simulator.loopback import Answer, Loopback, Request
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


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[GoogleSimulator]:
    with GoogleSimulator(seed=7, clock=clock) as server:
        for address in (ANN, BOB):
            server.calendar(address, CHICAGO)
        yield server


@pytest.fixture
def clients(server: GoogleSimulator) -> Iterator[Clients]:
    made: list[Client] = []

    def make(subject: str = ANN, *, of: GoogleSimulator | None = None, token: str = "") -> Client:
        where = of or server
        made.append(Client(where, token or where.token(subject)))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def ann(clients: Clients) -> Client:
    return clients(ANN)


@pytest.fixture
def bob(clients: Clients) -> Client:
    return clients(BOB)


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


# Full reads and deltas: facts §1.1 to §1.6.


def test_pages_are_walked_to_the_sync_token(server: GoogleSimulator, ann: Client) -> None:
    made = [server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(7)]
    pages = ann.walk(maxResults=3)
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    assert ["nextPageToken" in page for page in pages] == [True, True, False]
    assert ["nextSyncToken" in page for page in pages] == [False, False, True]
    assert [item["id"] for page in pages for item in page["items"]] == made
    for page in pages:
        assert (page["accessRole"], page["timeZone"], page["summary"]) == ("owner", CHICAGO, ANN)


def test_an_empty_delta_has_a_new_token_and_an_old_one_replays(server: GoogleSimulator, ann: Client) -> None:
    first = ann.token()
    page = ann.page(syncToken=first)
    assert page["items"] == []
    assert page["nextSyncToken"] != first
    made = server.calendar(ANN).insert(timed(MONDAY))["id"]
    assert ids(ann.delta(first)) == ids(ann.delta(page["nextSyncToken"])) == [made]


def test_what_changes_while_pages_turn_comes_with_the_next_delta(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    made = [calendar.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(4)]
    first = ann.page(maxResults=2)
    calendar.patch(made[0], {"summary": "Changed behind the reader"})
    last = ann.page(maxResults=2, pageToken=first["nextPageToken"])
    assert ids(first["items"] + last["items"]) == made
    assert ids(ann.delta(last["nextSyncToken"])) == [made[0]]


def test_a_delta_of_many_pages_can_be_walked_again_from_its_old_token(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    made = [server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(5)]
    pages = ann.walk(syncToken=token, maxResults=2)
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert ids(ann.delta(token, maxResults=2)) == made


@pytest.mark.parametrize(
    "forbidden",
    [
        {"iCalUID": "x"},
        {"privateExtendedProperty": "a=b"},
        {"q": "x"},
        {"sharedExtendedProperty": "a=b"},
        {"timeMin": "2026-03-02T00:00:00Z"},
        {"timeMax": "2026-03-02T00:00:00Z"},
        {"updatedMin": "2026-03-02T00:00:00Z"},
        {"orderBy": "updated"},
        {"showDeleted": False},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_some_parameters_may_not_stand_beside_a_sync_token(ann: Client, forbidden: dict[str, Any]) -> None:
    request = ann.events.list(calendarId="primary", syncToken=ann.token(), **forbidden)
    assert refused(ann, request) == (400, "invalid")


@pytest.mark.parametrize("other", [{"singleEvents": True}, {"eventTypes": ["default"]}, {"maxAttendees": 1}])
def test_a_chain_keeps_its_parameters(ann: Client, other: dict[str, Any]) -> None:
    request = ann.events.list(calendarId="primary", syncToken=ann.token(), **other)
    assert refused(ann, request) == (400, "invalid")


def test_a_page_belongs_to_its_query(server: GoogleSimulator, ann: Client) -> None:
    for day in range(3):
        server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))
    page = ann.page(maxResults=1)["nextPageToken"]
    assert refused(ann, ann.events.list(calendarId="primary", pageToken=page, showDeleted=True)) == (400, "invalid")
    assert refused(ann, ann.events.list(calendarId="primary", pageToken="rubbish")) == (400, "invalid")


@pytest.mark.parametrize("filtered", [{"orderBy": "updated"}, {"q": "x"}, {"privateExtendedProperty": "a=b"}])
def test_a_filtered_baseline_gives_no_sync_token(ann: Client, filtered: dict[str, str]) -> None:
    assert "nextSyncToken" not in ann.page(**filtered)


def test_sync_tokens_die(server: GoogleSimulator, ann: Client, clients: Clients, clock: Clock) -> None:
    token = ann.token()
    server.calendar(ANN).kill_tokens()
    assert refused(ann, ann.events.list(calendarId="primary", syncToken=token)) == (410, "fullSyncRequired")
    assert ann.delta(ann.token()) == []
    assert refused(ann, ann.events.list(calendarId="primary", syncToken="rubbish")) == (400, "invalid")
    with GoogleSimulator(clock=clock, rules=Rules(token_lifetime=timedelta(days=28))) as short:
        short.calendar(ANN)
        old = clients(ANN, of=short).token()
        clock.advance(timedelta(days=29).total_seconds())
        later = clients(ANN, of=short)
        assert refused(later, later.events.list(calendarId="primary", syncToken=old)) == (410, "fullSyncRequired")


def test_a_change_of_role_kills_tokens_unless_it_is_told_not_to(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    server.calendar(ANN).set_role("reader", keep_tokens=True)
    assert ann.page(syncToken=token)["accessRole"] == "reader"
    server.calendar(ANN).set_role("freeBusyReader")
    assert refused(ann, ann.events.list(calendarId="primary", syncToken=token)) == (410, "fullSyncRequired")
    assert ann.page()["accessRole"] == "freeBusyReader"


def test_the_baselines_window_is_not_in_its_token(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token(timeMin=NOW.isoformat(), timeMax=(NOW + timedelta(days=60)).isoformat())
    long_ago = server.calendar(ANN).insert(timed(datetime(2019, 1, 1, tzinfo=UTC)))["id"]
    far_ahead = server.calendar(ANN).insert(timed(datetime(2040, 1, 1, tzinfo=UTC)))["id"]
    assert ids(ann.delta(token)) == [long_ago, far_ahead]


def test_deltas_can_be_told_to_keep_the_window(clients: Clients, clock: Clock) -> None:
    with GoogleSimulator(clock=clock, rules=Rules(deltas_keep_window=True)) as server:
        calendar, client = server.calendar(ANN), clients(ANN, of=server)
        token = client.token(timeMin=NOW.isoformat())
        calendar.insert(timed(datetime(2019, 1, 1, tzinfo=UTC)))
        seen = calendar.insert(timed(MONDAY))["id"]
        assert ids(client.delta(token)) == [seen]
        assert ids(client.delta(client.page(syncToken=token)["nextSyncToken"])) == []


def test_the_window_is_open_at_both_ends(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    calendar.insert(timed(MONDAY - timedelta(hours=1)))
    inside = calendar.insert(timed(MONDAY))["id"]
    calendar.insert(timed(MONDAY + timedelta(hours=1)))
    window = {"timeMin": MONDAY.isoformat(), "timeMax": (MONDAY + timedelta(hours=1)).isoformat()}
    assert ids(ann.page(**window)["items"]) == [inside]
    empty = ann.events.list(calendarId="primary", timeMin=NOW.isoformat(), timeMax=NOW.isoformat())
    assert refused(ann, empty) == (400, "timeRangeEmpty")
    assert refused(ann, ann.events.list(calendarId="primary", timeMin="2026-03-02T00:00:00")) == (400, "badRequest")


def test_a_series_is_in_the_window_when_an_occurrence_is(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    over = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2"))["id"]
    going_on = calendar.insert(weekly())["id"]
    later = calendar.insert(weekly("RRULE:FREQ=WEEKLY;UNTIL=20260331T235959Z"))["id"]
    assert ids(ann.page(timeMin="2026-03-20T00:00:00Z")["items"]) == [going_on, later]
    assert ids(ann.page(timeMin="2026-04-20T00:00:00Z")["items"]) == [going_on]
    assert ids(ann.page(timeMax="2026-03-03T00:00:00Z")["items"]) == [over, going_on, later]


def test_a_baseline_shows_tombstones_only_when_asked(server: GoogleSimulator, ann: Client) -> None:
    gone = server.calendar(ANN).insert(timed(MONDAY))["id"]
    server.calendar(ANN).delete(gone)
    assert ann.page()["items"] == []
    assert ids(ann.page(showDeleted=True)["items"]) == [gone]


def test_a_deleted_event_keeps_its_details_for_its_organizer_alone(
    server: GoogleSimulator, ann: Client, bob: Client
) -> None:
    before = ann.token(), bob.token()
    name = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))["id"]
    server.calendar(ANN).delete(name)
    [his] = bob.delta(before[1], showDeleted=True)
    assert his.keys() == {"kind", "etag", "id", "status"}
    [hers] = ann.delta(before[0], showDeleted=True)
    assert (hers["status"], hers["summary"]) == ("cancelled", "Showing")
    # facts §1.5: without showDeleted a delta has no details of what is gone.
    assert ann.delta(before[0])[0].keys() == {"kind", "etag", "id", "status"}
    assert ann(ann.events.get(calendarId="primary", eventId=name))["summary"] == "Showing"


def test_a_lost_change_is_in_no_delta_and_in_every_full_read(server: GoogleSimulator, ann: Client) -> None:
    token, calendar = ann.token(), server.calendar(ANN)
    calendar.hide_change()
    lost = calendar.insert(timed(MONDAY))["id"]
    seen = calendar.insert(timed(MONDAY))["id"]
    assert ids(ann.delta(token)) == [seen]
    assert ids(ann.page()["items"]) == [lost, seen]


# Series: facts §1.4 and §1.7.


def test_occurrences_keep_their_hour_over_the_change_of_clocks(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=3"))["id"]
    items = ann.page(singleEvents=True, orderBy="startTime")["items"]
    assert [item["start"]["dateTime"] for item in items] == [
        "2026-03-02T10:00:00-06:00",
        "2026-03-09T10:00:00-05:00",
        "2026-03-16T10:00:00-05:00",
    ]
    assert ids(items) == [f"{master}_20260302T160000Z", f"{master}_20260309T150000Z", f"{master}_20260316T150000Z"]
    assert {item["recurringEventId"] for item in items} == {master}
    assert all("recurrence" not in item for item in items)


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        (["RRULE:FREQ=DAILY;COUNT=3"], [2, 3, 4]),
        (["RRULE:FREQ=DAILY;UNTIL=20260304T160000Z"], [2, 3, 4]),
        (["RRULE:FREQ=DAILY;UNTIL=20260304T155959Z"], [2, 3]),
        (["RRULE:FREQ=DAILY;UNTIL=20260303"], [2, 3]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXDATE;TZID=America/Chicago:20260303T100000"], [2, 4, 5]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXDATE:20260303T160000Z,20260304T160000Z"], [2, 5]),
        (["RRULE:FREQ=WEEKLY;COUNT=1", "RDATE;TZID=America/Chicago:20260305T100000"], [2, 5]),
        (["RDATE;TZID=America/New_York:20260305T110000"], [2, 5]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXRULE:FREQ=DAILY;INTERVAL=2;COUNT=2"], [3, 5]),
    ],
)
def test_recurrence_lines_mean_what_the_standard_says(
    server: GoogleSimulator, ann: Client, lines: list[str], days: list[int]
) -> None:
    server.calendar(ANN).insert(weekly() | {"recurrence": lines})
    assert [begins(item).day for item in ann.page(singleEvents=True)["items"]] == days


def test_an_all_day_series_has_dates(server: GoogleSimulator, ann: Client) -> None:
    days = {"start": {"date": "2026-03-07"}, "end": {"date": "2026-03-08"}}
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=DAILY;COUNT=3") | days)["id"]
    server.calendar(ANN).cancel_occurrence(master, date(2026, 3, 8))
    items = ann.page(singleEvents=True)["items"]
    assert ids(items) == [f"{master}_20260307", f"{master}_20260309"]
    assert items[1]["end"] == {"date": "2026-03-10"}


def test_a_cancelled_occurrence_is_bare_and_stays_in_every_read(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    master = server.calendar(ANN).insert(weekly())["id"]
    server.calendar(ANN).cancel_occurrence(master, MONDAY)
    original = {"dateTime": "2026-03-02T10:00:00-06:00", "timeZone": CHICAGO}
    for items in (ann.page()["items"], ann.delta(token)):
        [exception] = [item for item in items if item["status"] == "cancelled"]
        assert exception.keys() == {"kind", "etag", "id", "status", "recurringEventId", "originalStartTime"}
        assert exception["id"] == f"{master}_20260302T160000Z"
        assert (exception["recurringEventId"], exception["originalStartTime"]) == (master, original)


def test_a_moved_occurrence_stands_in_for_its_original(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2"))["id"]
    server.calendar(ANN).move_occurrence(master, MONDAY, MONDAY + timedelta(days=1, hours=1))
    rows = {item["id"]: item for item in ann.delta(token)}
    moved = rows[f"{master}_20260302T160000Z"]
    assert moved["originalStartTime"]["dateTime"] == "2026-03-02T10:00:00-06:00"
    assert (moved["start"]["dateTime"], moved["end"]["dateTime"]) == (
        "2026-03-03T11:00:00-06:00",
        "2026-03-03T12:00:00-06:00",
    )
    assert moved["iCalUID"] == rows[master]["iCalUID"]
    assert [begins(item).day for item in ann.page(singleEvents=True)["items"]] == [3, 9]


def test_one_touched_series_is_one_row_or_hundreds(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    rows, instances = ann.token(), ann.token(singleEvents=True, timeMax="2026-04-01T00:00:00Z")
    server.calendar(ANN).patch(master, {"summary": "Renamed"})
    assert ids(ann.delta(rows)) == [master]
    found = ann.delta(instances, singleEvents=True)
    assert len(found) == 730
    assert begins(found[-1]).year >= 2039
    assert {item["summary"] for item in found} == {"Renamed"}


def test_of_a_deleted_series_only_half_a_year_of_instances_comes_back(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    rows, instances = ann.token(), ann.token(singleEvents=True, timeMax="2026-04-01T00:00:00Z")
    server.calendar(ANN).delete(master)
    assert [(item["id"], item["status"]) for item in ann.delta(rows)] == [(master, "cancelled")]
    found = ann.delta(instances, singleEvents=True)
    assert len(found) == 26
    assert {item["status"] for item in found} == {"cancelled"}


def test_a_deleted_series_takes_its_exceptions_along(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    server.calendar(ANN).move_occurrence(master, MONDAY, MONDAY + timedelta(hours=1))
    token = ann.token()
    server.calendar(ANN).delete(master)
    assert {item["id"]: item["status"] for item in ann.delta(token)} == {
        master: "cancelled",
        f"{master}_20260302T160000Z": "cancelled",
    }
    assert ann.page()["items"] == []


def test_a_new_rule_drops_the_exceptions_that_it_does_not_make(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly())["id"]
    second, third = (MONDAY + timedelta(days=days) - timedelta(hours=1) for days in (7, 14))
    for original in (second, third):
        calendar.move_occurrence(master, original, original + timedelta(hours=2))
    token = ann.token()
    calendar.patch(master, {"recurrence": ["RRULE:FREQ=WEEKLY;INTERVAL=2"]})
    assert {item["id"]: item["status"] for item in ann.delta(token)} == {
        master: "confirmed",
        f"{master}_20260309T150000Z": "cancelled",
    }


def test_this_and_following_is_a_cut_a_new_series_and_reset_exceptions(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=5"))
    split = datetime(2026, 3, 16, 15, tzinfo=UTC)
    calendar.move_occurrence(master["id"], split + timedelta(days=7), split + timedelta(days=8))
    token = ann.token()
    new = calendar.this_and_following(master["id"], split, {"summary": "Later"})
    rows = {item["id"]: item for item in ann.delta(token)}
    assert rows[master["id"]]["recurrence"] == ["RRULE:FREQ=WEEKLY;UNTIL=20260316T145959Z"]
    assert rows[f"{master['id']}_20260323T150000Z"]["status"] == "cancelled"
    assert new["id"] != master["id"]
    assert new["iCalUID"] != master["iCalUID"]
    assert rows[new["id"]]["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=3"]
    items = ann.page(singleEvents=True)["items"]
    assert [(begins(item).day, item["summary"]) for item in items] == [
        (2, "Weekly"),
        (9, "Weekly"),
        (16, "Later"),
        (23, "Later"),
        (30, "Later"),
    ]


def test_instances_of_a_series_and_of_one_occurrence(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=4"))["id"]
    calendar.cancel_occurrence(master, MONDAY)

    def instances(name: str = master, **parameters: Any) -> list[Any]:
        items: list[Any] = ann(ann.events.instances(calendarId="primary", eventId=name, **parameters))["items"]
        return items

    assert [begins(item).day for item in instances()] == [9, 16, 23]
    assert len(instances(showDeleted=True)) == 4
    assert [begins(item).day for item in instances(timeMin="2026-03-17T00:00:00Z")] == [23]
    assert ids(instances(originalStart="2026-03-09T10:00:00-05:00")) == [f"{master}_20260309T150000Z"]
    assert instances(originalStart="2026-03-10T10:00:00-05:00") == []
    # facts §1.7: asked of an occurrence, the answer is that occurrence, or nothing where it is cancelled.
    assert ids(instances(f"{master}_20260309T150000Z")) == [f"{master}_20260309T150000Z"]
    assert instances(f"{master}_20260302T160000Z") == []
    assert [item["status"] for item in instances(f"{master}_20260302T160000Z", showDeleted=True)] == ["cancelled"]
    unknown = ann.events.instances(calendarId="primary", eventId="nobody")
    assert refused(ann, unknown) == (404, "notFound")


def test_instances_come_in_pages(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=5"))["id"]
    request, days = ann.events.instances(calendarId="primary", eventId=master, maxResults=2), []
    while request is not None:
        page = ann(request)
        days.append([begins(item).day for item in page["items"]])
        request = ann.events.instances_next(request, page)
    assert days == [[2, 9], [16, 23], [30]]


def test_an_occurrence_is_got_by_its_id(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly() | {"id": "_60q30c1g_r"})["id"]
    got = ann(ann.events.get(calendarId="primary", eventId=f"{master}_20260309T150000Z"))
    assert got["recurringEventId"] == master
    for name in (f"{master}_20260309T160000Z", f"{master}_20269999T150000Z", f"{master}_20260309"):
        assert refused(ann, ann.events.get(calendarId="primary", eventId=name)) == (404, "notFound")


def test_a_series_needs_a_zone(ann: Client) -> None:
    body = timed(MONDAY, recurrence=["RRULE:FREQ=DAILY"])
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (400, "required")


# What a question shows: facts §1.8.


def test_filters_find(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    marked = calendar.insert(timed(MONDAY, extendedProperties={"private": {"crmId": "17"}}))
    away = calendar.insert(timed(MONDAY, summary="Away", eventType="outOfOffice"))
    assert ids(ann.page(privateExtendedProperty="crmId=17")["items"]) == [marked["id"]]
    assert ann.page(privateExtendedProperty="crmId=18")["items"] == []
    assert ann.page(sharedExtendedProperty="crmId=17")["items"] == []
    assert ids(ann.page(iCalUID=away["iCalUID"])["items"]) == [away["id"]]
    assert ids(ann.page(eventTypes=["outOfOffice"])["items"]) == [away["id"]]
    assert ids(ann.page(eventTypes=["outOfOffice", "default"])["items"]) == [marked["id"], away["id"]]
    assert ids(ann.page(q="away")["items"]) == [away["id"]]
    assert ann.page(updatedMin=(NOW + timedelta(seconds=1)).isoformat())["items"] == []


def test_over_the_limit_only_the_participant_is_shown(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": ANN}, {"email": CLIENT}, {"email": CID}]))
    [few] = ann.page(maxAttendees=2)["items"]
    assert few["attendeesOmitted"]
    assert [guest["email"] for guest in few["attendees"]] == [ANN]
    [all_of_them] = ann.page(maxAttendees=3)["items"]
    assert "attendeesOmitted" not in all_of_them


def test_only_the_fields_asked_for_are_sent(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": CLIENT}]))
    fields = "kind,nextSyncToken,items(id,start/dateTime,attendees(email,self),nonsense)"
    page = ann.page(fields=fields)
    assert page.keys() == {"kind", "nextSyncToken", "items"}
    [item] = page["items"]
    assert item.keys() == {"id", "start", "attendees"}
    assert item["attendees"] == [{"email": CLIENT}]
    assert refused(ann, ann.events.list(calendarId="primary", fields="items)")) == (400, "invalidParameter")


def test_times_are_rendered_in_the_zone_asked_for(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY))
    assert ann.page()["items"][0]["start"] == {"dateTime": "2026-03-02T10:00:00-06:00"}
    assert ann.page(timeZone="Asia/Tokyo")["items"][0]["start"] == {"dateTime": "2026-03-03T01:00:00+09:00"}


def test_defaults_are_left_out(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, transparency="opaque", visibility="default", guestsCanModify=False)
    made = ann(ann.events.insert(calendarId="primary", body=body))
    assert made.keys().isdisjoint({"transparency", "visibility", "guestsCanModify"})


@pytest.mark.parametrize(
    ("role", "details"),
    [
        ("freeBusyReader", (False, False)),
        ("reader", (True, False)),
        ("writerWithoutPrivateAccess", (True, False)),
        ("writer", (True, True)),
        ("owner", (True, True)),
    ],
)
def test_a_role_sees_what_it_may(server: GoogleSimulator, ann: Client, role: str, details: tuple[bool, bool]) -> None:
    server.calendar(ANN).insert(timed(MONDAY, location="12 Elm Street"))
    server.calendar(ANN).insert(timed(MONDAY, location="12 Elm Street", visibility="private"))
    server.calendar(ANN).set_role(role)
    page = ann.page()
    assert page["accessRole"] == role
    for item, seen in zip(page["items"], details, strict=True):
        assert ("summary" in item, "location" in item, "organizer" in item) == (seen,) * 3
        assert {"id", "start", "end", "status"} <= item.keys()


# Writes: facts §2.


@pytest.mark.parametrize("name", ["abcw1", "ABCDE", "abc-d", "abcd", "a" * 1025])
def test_an_id_of_a_client_is_base32hex(ann: Client, name: str) -> None:
    request = ann.events.insert(calendarId="primary", body=timed(MONDAY, id=name))
    with pytest.raises(HttpError, match="Invalid resource id value"):
        ann(request)


def test_an_id_is_taken_for_ever(ann: Client) -> None:
    body = timed(MONDAY, id="abcde")
    assert ann(ann.events.insert(calendarId="primary", body=body))["id"] == "abcde"
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (409, "duplicate")
    assert ann(ann.events.delete(calendarId="primary", eventId="abcde")) == ""
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (409, "duplicate")
    assert ann(ann.events.get(calendarId="primary", eventId="abcde"))["status"] == "cancelled"


def test_of_two_inserts_at_once_one_wins(clients: Clients) -> None:
    def insert(client: Client) -> int:
        try:
            client(client.events.insert(calendarId="primary", body=timed(MONDAY, id="abcde")))
        except HttpError as error:
            return int(error.status_code)
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(insert, [clients(ANN) for _ in range(8)]))
    assert sorted(statuses) == [200] + [409] * 7


def test_a_write_on_another_version_is_refused(server: GoogleSimulator, ann: Client) -> None:
    first = server.calendar(ANN).insert(timed(MONDAY))
    second = server.calendar(ANN).patch(first["id"], {"summary": "Edited by hand"})
    assert first["etag"] != second["etag"]
    one: dict[str, Any] = {"calendarId": "primary", "eventId": first["id"]}
    for request in (
        ann.events.patch(**one, body={"summary": "x"}),
        ann.events.update(**one, body=timed(MONDAY)),
        ann.events.delete(**one),
        ann.events.move(**one, destination=ANN),
    ):
        assert refused(ann, request, If_Match=first["etag"]) == (412, "conditionNotMet")
    assert server.calendar(ANN).get(first["id"])["summary"] == "Edited by hand"
    assert ann(ann.events.patch(**one, body={"summary": "x"}), If_Match=second["etag"])["summary"] == "x"


def test_what_is_known_is_not_sent_again(server: GoogleSimulator, ann: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))
    request = ann.events.get(calendarId="primary", eventId=made["id"])
    with pytest.raises(HttpError) as caught:
        ann(request, If_None_Match=made["etag"])
    assert caught.value.status_code == 304


def test_an_update_replaces_and_a_patch_merges(server: GoogleSimulator, ann: Client) -> None:
    marks = {"private": {"crmId": "17", "crmGen": "1"}}
    made = server.calendar(ANN).insert(
        timed(
            MONDAY,
            location="12 Elm Street",
            description="Keys",
            extendedProperties=marks,
            attendees=[{"email": CLIENT}],
        )
    )
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    body = {"location": None, "extendedProperties": {"private": {"crmGen": None, "crmHash": "f"}}}
    patched = ann(ann.events.patch(**one, body=body))
    assert "location" not in patched
    assert patched["extendedProperties"] == {"private": {"crmId": "17", "crmHash": "f"}}
    assert patched["description"] == "Keys"
    other = [{"email": "dora@client.example"}]
    assert [guest["email"] for guest in ann(ann.events.patch(**one, body={"attendees": other}))["attendees"]] == [
        "dora@client.example"
    ]
    updated = ann(ann.events.update(**one, body=timed(MONDAY + timedelta(hours=1))))
    assert updated.keys().isdisjoint({"attendees", "description", "extendedProperties"})
    assert (updated["iCalUID"], updated["created"]) == (made["iCalUID"], made["created"])


def test_between_all_day_and_timed_the_other_field_must_be_taken_away(server: GoogleSimulator, ann: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))["id"]
    half = {"start": {"date": "2026-03-02"}, "end": {"date": "2026-03-03"}}
    whole = {name: value | {"dateTime": None} for name, value in half.items()}
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made}
    assert refused(ann, ann.events.patch(**one, body=half)) == (400, "invalid")
    assert ann(ann.events.patch(**one, body=whole))["start"] == {"date": "2026-03-02"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"summary": "no times"}, "required"),
        (timed(MONDAY, minutes=-1), "timeRangeEmpty"),
        (timed(MONDAY) | {"end": {"date": "2026-03-02"}}, "invalid"),
        (timed(MONDAY, eventType="fromGmail"), "eventTypeRestriction"),
    ],
)
def test_what_makes_no_event_is_refused(ann: Client, body: Resource, reason: str) -> None:
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (400, reason)


def test_deleting_again_says_deleted_and_what_never_was_is_not_found(ann: Client) -> None:
    made = ann(ann.events.insert(calendarId="primary", body=timed(MONDAY)))["id"]
    delete: dict[str, Any] = {"calendarId": "primary", "eventId": made}
    assert ann(ann.events.delete(**delete)) == ""
    assert refused(ann, ann.events.delete(**delete)) == (410, "deleted")
    assert refused(ann, ann.events.patch(**delete, body={"summary": "x"})) == (410, "deleted")
    never = ann.events.delete(calendarId="primary", eventId="never")
    assert refused(ann, never) == (404, "notFound")


def test_an_organizer_can_take_a_deletion_back(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))["id"]
    server.calendar(ANN).delete(made)
    again = ann(ann.events.patch(calendarId="primary", eventId=made, body={"status": "confirmed"}))
    assert (again["status"], again["summary"]) == ("confirmed", "Showing")
    assert bob(bob.events.get(calendarId="primary", eventId=made))["status"] == "confirmed"


def test_reminders_do_not_move_the_time_of_the_change(server: GoogleSimulator, ann: Client, clock: Clock) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))
    clock.advance(60)
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    reminded = ann(ann.events.patch(**one, body={"reminders": {"useDefault": False}}))
    assert (reminded["updated"], reminded["sequence"]) == (made["updated"], 0)
    assert reminded["etag"] != made["etag"]
    renamed = ann(ann.events.patch(**one, body={"summary": "x"}))
    assert (renamed["updated"], renamed["sequence"]) == ("2026-03-02T12:01:00.000Z", 0)
    moved = ann(ann.events.patch(**one, body=timed(MONDAY + timedelta(hours=1))))
    assert moved["sequence"] == 1


def test_conferences_and_attachments_are_dropped_without_a_word(ann: Client) -> None:
    more: dict[str, Any] = {
        "conferenceData": {"conferenceId": "x"},
        "attachments": [{"fileUrl": "https://files.example/1"}],
    }
    body = timed(MONDAY, **more)
    assert ann(ann.events.insert(calendarId="primary", body=body)).keys().isdisjoint(more)
    aware = {"conferenceDataVersion": 1, "supportsAttachments": True}
    assert ann(ann.events.insert(calendarId="primary", body=body, **aware)).keys() >= more.keys()


def test_an_import_is_a_private_copy_and_comes_once(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, iCalUID="u@elsewhere.example", organizer={"email": "olga@elsewhere.example"})
    first = ann(ann.events.import_(calendarId="primary", body=body))
    again = ann(ann.events.import_(calendarId="primary", body=body | {"summary": "Again"}))
    assert (again["id"], again["summary"]) == (first["id"], "Again")
    assert (first["privateCopy"], first["organizer"]) == (True, {"email": "olga@elsewhere.example"})
    assert len(server.calendar(ANN).events()) == 1


# Copies of a meeting: facts §1.8, §2.


def test_guests_have_copies_with_the_same_id(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": ANN, "responseStatus": "accepted"}, {"email": BOB}, {"email": CLIENT}])
    made = ann(ann.events.insert(calendarId="primary", body=body))
    [hers], [his] = ann.page()["items"], bob.page()["items"]
    assert (his["id"], his["iCalUID"]) == (hers["id"], hers["iCalUID"]) == (made["id"], made["iCalUID"])
    assert (hers["organizer"], his["organizer"]) == ({"email": ANN, "self": True}, {"email": ANN})
    assert [[guest.get("self", False) for guest in copy["attendees"]] for copy in (hers, his)] == [
        [True, False, False],
        [False, True, False],
    ]
    ann(ann.events.patch(calendarId="primary", eventId=made["id"], body={"summary": "Renamed"}))
    assert bob.page()["items"][0]["summary"] == "Renamed"
    server.calendar(ANN).move_to(server.calendar(CID), made["id"])
    assert bob.page()["items"][0]["organizer"] == {"email": CID}


def test_private_marks_stay_on_their_copy(server: GoogleSimulator, bob: Client) -> None:
    marks = {"private": {"crmId": "17"}, "shared": {"deal": "3"}}
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}], extendedProperties=marks))
    assert bob.page()["items"][0]["extendedProperties"] == {"shared": {"deal": "3"}}


def test_a_guest_changes_his_answer_and_nothing_else(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}, {"email": CLIENT}]))
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    for body in ({"summary": "x"}, {"attendees": [{"email": BOB}]}, {"status": "tentative"}):
        assert refused(bob, bob.events.patch(**one, body=body)) == (403, "forbiddenForNonOrganizer")
    # facts §2: a PUT that leaves the shared properties out counts as setting them.
    bare = {"start": made["start"], "end": made["end"]}
    assert refused(bob, bob.events.update(**one, body=bare)) == (403, "forbiddenForNonOrganizer")
    answered = [
        guest | {"responseStatus": "declined"} if guest["email"] == BOB else guest for guest in made["attendees"]
    ]
    bob(bob.events.patch(**one, body={"attendees": answered, "colorId": "3"}))
    hers = server.calendar(ANN).get(made["id"])
    assert [guest["responseStatus"] for guest in hers["attendees"]] == ["declined", "needsAction"]
    assert "colorId" not in hers


def test_a_guest_who_throws_his_copy_away_declines(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))
    token = bob.token()
    bob(bob.events.delete(calendarId="primary", eventId=made["id"]))
    [his] = bob.delta(token, showDeleted=True)
    assert (his["status"], his["summary"]) == ("cancelled", "Showing")
    hers = server.calendar(ANN).get(made["id"])
    assert (hers["status"], hers["attendees"][0]["responseStatus"]) == ("confirmed", "declined")
    server.calendar(ANN).patch(made["id"], {"summary": "Renamed"})
    assert bob.page()["items"] == []


def test_a_guest_who_is_no_longer_invited_loses_his_copy(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}, {"email": CLIENT}]))
    server.calendar(ANN).patch(made["id"], {"attendees": [{"email": CLIENT}]})
    assert bob.page()["items"] == []
    server.calendar(ANN).invite(made["id"], BOB)
    assert ids(bob.page()["items"]) == [made["id"]]


def test_one_occurrence_is_cancelled_for_all(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2", attendees=[{"email": BOB}]))
    server.calendar(ANN).cancel_occurrence(made["id"], MONDAY)
    assert [begins(item).day for item in bob.page(singleEvents=True)["items"]] == [9]
    server.calendar(BOB).respond(f"{made['id']}_20260309T150000Z", "declined")
    hers = server.calendar(ANN).get(f"{made['id']}_20260309T150000Z")
    assert hers["attendees"][0]["responseStatus"] == "declined"
    assert server.calendar(ANN).get(made["id"])["attendees"][0]["responseStatus"] == "needsAction"


def test_deleted_with_none_a_meeting_stays_with_its_guests(ann: Client, bob: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": BOB}])
    for policy, left in (("none", 1), ("all", 0)):
        made = ann(ann.events.insert(calendarId="primary", body=body))["id"]
        ann(ann.events.delete(calendarId="primary", eventId=made, sendUpdates=policy))
        kept = [item for item in bob.page()["items"] if item["id"] == made]
        assert len(kept) == left


def test_mails_are_noted(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": ANN}, {"email": BOB}, {"email": CLIENT}])
    for policy in (None, "none", "externalOnly", "all"):
        ann(ann.events.insert(calendarId="primary", body=body, sendUpdates=policy))
    assert [address for address, _ in server.world.mails] == [CLIENT, BOB, CLIENT]


def test_a_move_changes_the_organizer_and_leaves_a_bare_row(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    server.calendar(BOB).share(ANN, "writer")
    made = server.calendar(ANN).insert(timed(MONDAY))
    token = ann.token()
    left = ann(ann.events.move(calendarId="primary", eventId=made["id"], destination=BOB))
    assert left["status"] == "cancelled"
    assert [item.keys() for item in ann.delta(token, showDeleted=True)] == [{"kind", "etag", "id", "status"}]
    [his] = bob.page()["items"]
    assert (his["id"], his["iCalUID"]) == (made["id"], made["iCalUID"])
    assert his["organizer"] == {"email": BOB, "self": True}


# Who may: facts §3.3, §4, §6.


def test_a_calendar_out_of_reach_is_not_found_or_forbidden(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    for status, reason in ((404, "notFound"), (403, "forbidden")):
        server.calendar(ANN).revoke(status)
        assert refused(ann, ann.events.list(calendarId="primary", syncToken=token)) == (status, reason)
    server.calendar(ANN).refuse(403, "notACalendarUser")
    assert refused(ann, ann.events.list(calendarId="primary")) == (403, "notACalendarUser")
    server.calendar(ANN).restore()
    assert ann.page(syncToken=token)["items"] == []


def test_the_api_can_be_switched_off(server: GoogleSimulator, ann: Client) -> None:
    server.disabled = True
    assert refused(ann, ann.events.list(calendarId="primary")) == (403, "accessNotConfigured")


def test_primary_is_whose_token_it_is(server: GoogleSimulator, ann: Client, clients: Clients) -> None:
    server.calendar(ANN).insert(timed(MONDAY))
    robot = clients(ROBOT)
    # facts §6.13: the robot has a primary of its own, and nothing is in it.
    assert robot.page()["items"] == []
    assert refused(robot, robot.events.list(calendarId=ANN)) == (404, "notFound")
    server.calendar(ANN).share(ROBOT, "reader")
    assert len(robot.page(ANN)["items"]) == 1
    assert robot.page(ANN)["accessRole"] == "reader"
    write = robot.events.insert(calendarId=ANN, body=timed(MONDAY))
    assert refused(robot, write) == (403, "requiredAccessLevel")
    assert refused(ann, ann.events.list(calendarId="nobody@acme.example")) == (404, "notFound")


def test_a_robot_invites_nobody(server: GoogleSimulator, clients: Clients) -> None:
    server.calendar(ANN).share(ROBOT, "writer")
    robot = clients(ROBOT)
    body = timed(MONDAY, attendees=[{"email": CLIENT}])
    assert refused(robot, robot.events.insert(calendarId=ANN, body=body)) == (403, "forbiddenForServiceAccounts")
    assert robot(robot.events.insert(calendarId=ANN, body=timed(MONDAY)))["organizer"]["email"] == ANN


def test_scopes_are_enforced(server: GoogleSimulator, clients: Clients) -> None:
    reader = clients(token=server.token(ANN, [READ]))
    assert reader.page()["items"] == []
    for request in (
        reader.events.insert(calendarId="primary", body=timed(MONDAY)),
        reader.service.calendars().get(calendarId="primary"),
        reader.service.calendarList().list(),
    ):
        assert refused(reader, request) == (403, "insufficientPermissions")
    owned = clients(token=server.token(ANN, [READ.replace("readonly", "owned.readonly")]))
    assert owned.page()["items"] == []
    server.calendar(BOB).share(ANN, "reader")
    assert refused(owned, owned.events.list(calendarId=BOB)) == (403, "insufficientPermissions")


def test_calendars_describe_themselves(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(BOB).share(ANN, "reader")
    described = ann(ann.service.calendars().get(calendarId="primary"))
    assert (described["id"], described["timeZone"]) == (ANN, CHICAGO)
    entries = ann(ann.service.calendarList().list())["items"]
    assert [(entry["id"], entry["accessRole"], entry.get("primary", False)) for entry in entries] == [
        (ANN, "owner", True),
        (BOB, "reader", False),
    ]


def test_a_stale_token_is_no_credential(server: GoogleSimulator, ann: Client, clients: Clients, clock: Clock) -> None:
    assert ann.page()["items"] == []
    clock.advance(3601)
    assert refused(ann, ann.events.list(calendarId="primary")) == (401, "authError")
    stranger = clients(token="ya29.nobody")
    assert refused(stranger, stranger.events.list(calendarId="primary")) == (401, "authError")
    fresh = clients(ANN)
    server.accounts.withdraw(ANN)
    assert refused(fresh, fresh.events.list(calendarId="primary")) == (401, "authError")


@pytest.fixture
def today() -> Iterator[GoogleSimulator]:
    """A server that lives by the real clock, as google-auth does."""
    with GoogleSimulator(seed=7) as server:
        server.calendar(ANN)
        yield server


def signed_in(server: GoogleSimulator, subject: str | None = ANN, **changes: str) -> Any:
    credentials = from_key(server.service_account_info() | changes, scopes=[READ])
    return credentials.with_subject(subject) if subject else credentials


def exchanged(server: GoogleSimulator, credentials: Any) -> Any:
    """Ask for a token, and for the primary calendar of whoever that is."""
    http = httplib2.Http()
    with closing(http):
        answer, body = AuthorizedHttp(credentials, http=http).request(f"{server.url}calendars/primary/events")
        assert answer.status == 200
        return json.loads(body)


def test_a_key_acts_for_every_account_of_the_domain(today: GoogleSimulator) -> None:
    assert exchanged(today, signed_in(today))["summary"] == ANN
    assert exchanged(today, signed_in(today, subject=None))["summary"] == ROBOT
    assert len(today.requests("token")) == 2


def test_no_token_is_given_without_right(today: GoogleSimulator) -> None:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with pytest.raises(google.auth.exceptions.RefreshError, match="Invalid JWT Signature"):
        exchanged(today, signed_in(today, private_key=other.decode()))
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_grant"):
        exchanged(today, signed_in(today, "nobody@acme.example"))
    today.accounts.refuse(ANN)
    with pytest.raises(google.auth.exceptions.RefreshError, match="invalid_grant"):
        exchanged(today, signed_in(today))
    today.accounts.admit(ANN)
    today.accounts.allowed = {WRITE}
    with pytest.raises(google.auth.exceptions.RefreshError, match="unauthorized_client"):
        exchanged(today, signed_in(today))
    today.accounts.allowed = {READ}
    assert exchanged(today, signed_in(today))["summary"] == ANN


def test_assertions_are_of_our_time(clock: Clock) -> None:
    with GoogleSimulator(clock=clock) as server:
        server.calendar(ANN)
        with pytest.raises(google.auth.exceptions.RefreshError, match="reasonable timeframe"):
            exchanged(server, signed_in(server))


def test_whoever_may_sign_acts_without_a_key(today: GoogleSimulator, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint = today.iam_uri + "v1/projects/-/serviceAccounts/{}:signJwt"
    monkeypatch.setattr(google.auth.iam, "_IAM_SIGNJWT_ENDPOINT", endpoint)
    monkeypatch.setattr(google.auth.impersonated_credentials, "_GOOGLE_OAUTH2_TOKEN_ENDPOINT", today.token_uri)
    for scopes, works in (([READ], False), (["https://www.googleapis.com/auth/cloud-platform"], True)):
        source = Credentials(today.token("ci@acme.example", scopes))
        keyless = Keyless(source, ROBOT, [READ], subject=ANN)
        if works:
            assert exchanged(today, keyless)["summary"] == ANN
        else:
            with pytest.raises(google.auth.exceptions.GoogleAuthError):
                exchanged(today, keyless)
    assert [entry.status for entry in today.requests("iam")] == [403, 200]


# Quotas and the ledger: facts §3.


def test_a_user_has_a_minute_of_his_own(server: GoogleSimulator, ann: Client, clock: Clock) -> None:
    server.set_quotas(Quotas(per_user_minute=3, retry_after=30))
    for _ in range(3):
        ann.page(quotaUser="a")
    with pytest.raises(HttpError, match="Queries per minute per user") as caught:
        ann.page(quotaUser="a")
    assert (caught.value.status_code, caught.value.resp["retry-after"]) == (403, "30")
    assert caught.value.error_details[0]["reason"] == "userRateLimitExceeded"
    assert ann.page(quotaUser="b")["items"] == []
    clock.advance(59.9)
    assert refused(ann, ann.events.list(calendarId="primary", quotaUser="a"))[1] == "userRateLimitExceeded"
    clock.advance(0.1)
    assert ann.page(quotaUser="a")["items"] == []


def test_under_delegation_the_service_account_is_charged(today: GoogleSimulator) -> None:
    today.calendar(BOB)
    today.set_quotas(Quotas(per_user_minute=2))
    exchanged(today, signed_in(today, ANN))
    exchanged(today, signed_in(today, BOB))
    with pytest.raises(AssertionError):
        exchanged(today, signed_in(today, ANN))
    assert [entry.status for entry in today.requests()] == [200, 200, 403]


@pytest.mark.parametrize(
    ("quotas", "refusal"),
    [
        (Quotas(per_minute=2), (403, "rateLimitExceeded")),
        (Quotas(per_day=2), (403, "dailyLimitExceeded")),
        (Quotas(per_minute=2, status=429), (429, "rateLimitExceeded")),
        (Quotas(per_user_minute=2, status=429), (429, "rateLimitExceeded")),
    ],
)
def test_the_project_has_limits(server: GoogleSimulator, ann: Client, quotas: Quotas, refusal: tuple[int, str]) -> None:
    server.set_quotas(quotas)
    for _ in range(2):
        ann.page(quotaUser="a")
    assert refused(ann, ann.events.list(calendarId="primary", quotaUser="a")) == refusal


def test_a_patch_costs_three(server: GoogleSimulator, ann: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))["id"]
    server.set_quotas(Quotas(per_minute=4))
    ann(ann.events.patch(calendarId="primary", eventId=made, body={"summary": "x"}))
    ann.page()
    assert refused(ann, ann.events.list(calendarId="primary")) == (403, "rateLimitExceeded")
    assert [entry.units for entry in server.requests()] == [3, 1, 1]


def test_the_ledger_knows_every_request_and_the_fullest_window(
    server: GoogleSimulator, ann: Client, bob: Client, clock: Clock
) -> None:
    for wait in (0, 30, 29, 1, 30):
        clock.advance(wait)
        ann.page(quotaUser="q1")
    bob.page()
    refused(bob, bob.events.get(calendarId="primary", eventId="nobody"))
    assert server.ledger.most(60) == 5  # at 30, 59, 60 and twice at 90
    assert (server.ledger.most(60, of=ANN), server.ledger.most(60, of="q1"), server.ledger.most(60, of=BOB)) == (
        3,
        3,
        2,
    )
    assert server.ledger.most(1) == 3
    last = server.requests()[-1]
    assert (last.method, last.agent, last.status) == ("GET", BOB, 404)
    assert last.path.endswith("/calendars/primary/events/nobody")
    assert server.requests()[0].query["quotaUser"] == ["q1"]
    assert server.requests("token") == []


# Faults are configuration.


@dataclass(frozen=True)
class Raw:
    status: int
    headers: Message
    body: bytes


def raw(server: GoogleSimulator, path: str = "calendars/primary/events", **headers: str) -> Raw:
    """Ask without a client that repairs anything."""
    where = urlsplit(server.url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)
    try:
        headers = {"Authorization": f"Bearer {server.token(ANN)}"} | headers
        connection.request("GET", where.path + path, headers=headers)
        answer = connection.getresponse()
        return Raw(answer.status, answer.headers, answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "rateLimitExceeded"),
        (403, "userRateLimitExceeded"),
        (403, "quotaExceeded"),
        (429, "rateLimitExceeded"),
        (500, "backendError"),
        (503, "backendError"),
        (412, "conditionNotMet"),
    ],
)
def test_an_error_can_be_ordered(server: GoogleSimulator, ann: Client, status: int, reason: str) -> None:
    server.faults.add(Fault(status=status, reason=reason, retry_after=30, times=1))
    with pytest.raises(HttpError) as caught:
        ann.page()
    assert (caught.value.status_code, caught.value.error_details[0]["reason"]) == (status, reason)
    assert caught.value.resp["retry-after"] == "30"
    assert ann.page()["items"] == []
    assert [entry.status for entry in server.requests()] == [status, 200]


def test_a_new_style_error_has_no_list_of_errors(server: GoogleSimulator) -> None:
    server.faults.add(Fault(what=Harm.NEW_STYLE, status=403, reason="rateLimitExceeded", retry_after=NOW))
    answer = raw(server)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["status"], "errors" in error) == (403, "RESOURCE_EXHAUSTED", False)
    assert answer.headers["Retry-After"] == "Mon, 02 Mar 2026 12:00:00 GMT"


def test_a_proxy_can_answer(server: GoogleSimulator) -> None:
    server.faults.add(
        Fault(what=Harm.HTML, status=200, times=1), Fault(what=Harm.REDIRECT, location="http://other.example/x")
    )
    page, elsewhere = raw(server), raw(server)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=UTF-8")
    assert (elsewhere.status, elsewhere.headers["Location"]) == (302, "http://other.example/x")


@pytest.mark.parametrize(("what", "kept"), [(Harm.DROP_BEFORE, 0), (Harm.DROP_AFTER, 1), (Harm.CUT, 1)])
def test_a_connection_drops_before_or_after_the_commit(
    server: GoogleSimulator, ann: Client, what: Harm, kept: int
) -> None:
    server.faults.add(Fault(what=what, method="POST", times=1))
    request = ann.events.insert(calendarId="primary", body=timed(MONDAY, id="abcde"))
    raw_request = (request.uri, "POST", request.body, request.headers)
    where = urlsplit(raw_request[0])
    with closing(http.client.HTTPConnection(where.hostname or "", where.port, timeout=10)) as connection:
        headers = {"Authorization": f"Bearer {server.token(ANN)}", "Content-Type": "application/json"}
        connection.request("POST", f"{where.path}?{where.query}", raw_request[2], headers)
        with pytest.raises(http.client.HTTPException):
            connection.getresponse().read()
    assert len(server.calendar(ANN).events()) == kept
    assert [entry.status for entry in server.requests()] == [200 if what is Harm.CUT else 0]


@pytest.mark.parametrize("what", [Harm.TORN_GZIP, Harm.TORN_JSON, Harm.OTHER_KIND])
def test_an_answer_can_be_spoiled(server: GoogleSimulator, what: Harm) -> None:
    server.faults.add(Fault(what=what))
    answer = raw(server)
    assert answer.status == 200
    if what is Harm.TORN_GZIP:
        assert answer.headers["Content-Encoding"] == "gzip"
    body = answer.body
    if what is Harm.OTHER_KIND:
        assert json.loads(body)["kind"] != "calendar#events"
    else:
        with pytest.raises(ValueError):  # noqa: PT011 - whatever is wrong with it, it is no JSON
            json.loads(body)


def test_an_answer_can_be_slow_without_anybody_waiting(clock: Clock, clients: Clients) -> None:
    slept: list[float] = []
    with GoogleSimulator(clock=clock, wait=slept.append, faults=[Fault(what=Harm.SLOW, seconds=45)]) as server:
        server.calendar(ANN)
        assert clients(ANN, of=server).page()["items"] == []
    assert slept == [45]


def test_pages_can_be_empty_or_small(server: GoogleSimulator, ann: Client) -> None:
    made = [server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(3)]
    server.faults.add(Fault(what=Harm.EMPTY_PAGE, nth=[2]), Fault(what=Harm.SMALL_PAGES, size=2))
    pages = ann.walk()
    assert [len(page["items"]) for page in pages] == [2, 0, 1]
    assert [item["id"] for page in pages for item in page["items"]] == made


def test_something_can_happen_meanwhile(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    server.faults.add(Fault(what=Harm.NONE, nth=[2], meanwhile=lambda: calendar.insert(timed(MONDAY, id="abcde"))))
    assert ann.page()["items"] == []
    assert ids(ann.page()["items"]) == ["abcde"]


def test_a_fault_strikes_whom_it_is_meant_for(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    server.faults.add(
        Fault(agent=BOB, method="POST PATCH", status=403, reason="quotaExceeded"),
        Fault(path="/events/import"),
        Fault(kind="token"),
    )
    assert bob.page()["items"] == []
    assert refused(bob, bob.events.insert(calendarId="primary", body=timed(MONDAY))) == (403, "quotaExceeded")
    assert ann(ann.events.insert(calendarId="primary", body=timed(MONDAY)))["status"] == "confirmed"
    body = timed(MONDAY, iCalUID="u@elsewhere.example")
    assert refused(ann, ann.events.import_(calendarId="primary", body=body)) == (503, "backendError")
    server.faults.clear()
    assert bob(bob.events.insert(calendarId="primary", body=timed(MONDAY)))["status"] == "confirmed"


def test_a_share_of_requests_is_drawn_from_the_seed(clock: Clock) -> None:
    def struck(seed: int, names: list[str]) -> set[tuple[str, int]]:
        with GoogleSimulator(seed=seed, clock=clock, faults=[Fault(share=0.3)]) as server:
            for name in names:
                server.faults.pick("calendar", name, Request("GET", f"/{name}", {}, {}, b""))
            # the draw is made anew for each name, in whatever order the names come
            return {
                (name, number)
                for name in sorted(names)
                for number in range(5)
                if server.faults.pick("calendar", name, Request("GET", f"/{name}", {}, {}, b""))
            }

    names = [f"agent{number}" for number in range(200)]
    first = struck(1, names)
    assert first == struck(1, names[::-1])
    assert first != struck(2, names)
    assert 200 < len(first) < 400


# The server itself.


def test_the_same_seed_makes_the_same_world(clock: Clock, clients: Clients) -> None:
    def story(seed: int) -> list[Any]:
        with GoogleSimulator(seed=seed, clock=clock) as server:
            calendar, client = server.calendar(ANN), clients(ANN, of=server)
            calendar.insert(timed(MONDAY))
            calendar.cancel_occurrence(calendar.insert(weekly())["id"], MONDAY)
            return client.walk(maxResults=1)

    assert story(1) == story(1)
    assert story(1) != story(2)


def test_a_long_question_may_come_as_a_post(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY))
    fields = ",".join(["items(id,summary)"] * 130)
    assert len(fields) > 2048
    assert [item["summary"] for item in ann.page(fields=fields)["items"]] == ["Showing"]
    assert server.requests()[-1].method == "GET"


def test_answers_are_packed_for_those_who_can_unpack(server: GoogleSimulator) -> None:
    assert raw(server, **{"Accept-Encoding": "gzip, deflate"}).headers["Content-Encoding"] == "gzip"
    assert raw(server).headers["Content-Encoding"] is None


def test_sixteen_threads_get_their_own_answers(server: GoogleSimulator, clients: Clients) -> None:
    addresses = [f"agent{number}@acme.example" for number in range(16)]
    for address in addresses:
        server.calendar(address).insert(timed(MONDAY, summary=address))

    def read(client: Client) -> set[str]:
        pages = [client.page() for _ in range(10)]
        return {page["summary"] for page in pages} | {page["items"][0]["summary"] for page in pages}

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(read, [clients(address) for address in addresses])) == [{name} for name in addresses]
    assert server.connections == 16


def test_ids_may_hold_anything(server: GoogleSimulator, ann: Client) -> None:
    name = "a/b c%2F_é"
    server.calendar(ANN).insert(timed(MONDAY) | {"id": name})
    assert ann(ann.events.get(calendarId="primary", eventId=name))["id"] == name
    server.calendar("team/west#1@group.acme.example").share(ANN, "reader")
    assert ann.page("team/west#1@group.acme.example")["items"] == []


def test_nothing_is_left_of_a_stopped_server(clock: Clock) -> None:
    before = threading.active_count()
    with GoogleSimulator(clock=clock) as server:
        where = urlsplit(server.url)
        assert where.hostname == "127.0.0.1"
        connections = [http.client.HTTPConnection(where.hostname, where.port) for _ in range(3)]
        for connection in connections:
            connection.request("GET", "/")
            assert connection.getresponse().read()
            assert connection.sock is not None
    for connection in connections:
        with closing(connection):
            assert connection.sock.recv(1) == b""
    assert threading.active_count() == before
    with pytest.raises(OSError, match="refused"):
        socket.create_connection((where.hostname or "", where.port or 0))


def test_a_mistake_of_the_stand_in_is_not_taken_for_an_answer() -> None:
    def handle(request: Request) -> Answer:
        raise LookupError("a mistake of ours")

    with pytest.raises(LookupError, match="a mistake of ours"), Loopback(handle) as server:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        with closing(connection):
            connection.request("GET", "/")
            assert connection.getresponse().status == 500


def test_an_address_that_nothing_is_behind(server: GoogleSimulator) -> None:
    for path in ("", "nothing", "calendars/primary/acl", "users/me/settings"):
        assert raw(server, path).status == 404
    assert re.match(rb"\{\s*\"error\"", raw(server, "nothing").body)


def test_an_empty_delta_costs_the_server_well_under_a_millisecond(server: GoogleSimulator, ann: Client) -> None:
    server.set_quotas(Quotas(per_user_minute=10**6, per_minute=10**6))
    for day in range(50):
        server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))
    query = {"syncToken": [ann.token()], "showDeleted": ["true"], "quotaUser": ["q"], "prettyPrint": ["false"]}
    headers = {"authorization": f"Bearer {server.token(ANN)}"}
    request = Request("GET", "/calendar/v3/calendars/primary/events", query, headers, b"")
    rounds = 500
    start = time.thread_time()
    for _ in range(rounds):
        assert server._handle(request).status == 200
    assert (time.thread_time() - start) / rounds < 0.001


# The description that answers are held against can find fault.


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"id": 1}, "Event.id is int, not string"),
        ({"sumary": "x"}, "Event.sumary is unknown"),
        ({"sequence": True}, "Event.sequence is bool, not integer"),
        ({"start": {"date": "2026-02-30"}}, "Event.start.date"),
        ({"start": {"dateTime": "tomorrow"}}, "Event.start.dateTime"),
        ({"attendees": [{"email": "a@b.example"}, {"mail": "x"}]}, r"attendees\[1\].mail is unknown"),
        ({"extendedProperties": {"private": {"a": 1}}}, "private.a is int"),
    ],
)
def test_a_body_that_is_not_of_the_schema_is_found_out(body: Resource, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check("Event", body)
