"""The stand-in Google lets in, limits and fails as the provider does, and leaves nothing behind when it stops."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from email.message import Message
from typing import Any
from urllib.parse import urlsplit

import google.auth.exceptions
import google.auth.iam
import google.auth.impersonated_credentials
import httplib2
import pytest
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient.errors import HttpError

from reconciler.simulator.google import READ, ROBOT, WRITE, Fault, GoogleSimulator, Harm, Quotas
from reconciler.simulator.loopback import Answer, Loopback, Request
from tests.contract.google_client import (
    ANN,
    BOB,
    CHICAGO,
    CLIENT,
    MONDAY,
    NOW,
    Client,
    Clients,
    Clock,
    Credentials,
    Keyless,
    from_key,
    ids,
    refused,
    timed,
    weekly,
)

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


def test_an_empty_page_may_come_before_nothing_at_all(server: GoogleSimulator, ann: Client) -> None:
    server.faults.add(Fault(what=Harm.EMPTY_PAGE, times=2))
    pages = ann.walk()
    assert [len(page["items"]) for page in pages] == [0, 0, 0]
    assert ["nextSyncToken" in page for page in pages] == [False, False, True]


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
