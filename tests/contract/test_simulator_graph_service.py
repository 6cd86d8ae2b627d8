"""The stand-in Graph lets in, limits and fails as the provider does, also for O365's own connection."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import unquote
from zoneinfo import ZoneInfo

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from msal.oauth2cli.assertion import JwtAssertionCreator

from reconciler.simulator.graph import CLIENT, READ, SECRET, Fault, GraphSimulator, Harm, Limits
from reconciler.simulator.graph_mailboxes import Mailbox
from reconciler.simulator.graph_series import Resource
from reconciler.simulator.loopback import Request
from tests.contract.graph_client import CID, DEE, DENVER, MONDAY, Client, Clock, ids, refused, timed, weekly

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
OTHER_TENANT = "7d1b0c55-0000-4000-8000-00000000beef"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[GraphSimulator]:
    with GraphSimulator(seed=7, clock=clock) as server:
        server.mailbox(CID, DENVER)
        server.mailbox(DEE, DENVER)
        yield server


@pytest.fixture
def mailbox(server: GraphSimulator) -> Mailbox:
    return server.mailbox(CID)


@pytest.fixture
def clients(server: GraphSimulator) -> Iterator[Callable[..., Client]]:
    made: list[Client] = []

    def make(token: str = "", size: int | None = None) -> Client:
        made.append(Client(server, token or server.token(), size))
        return made[-1]

    yield make
    for client in made:
        client.close()


@pytest.fixture
def graph(clients: Callable[..., Client]) -> Client:
    return clients()


# Who may: facts §4, §5.


@pytest.mark.parametrize(
    ("code", "status"),
    [("ErrorInvalidUser", 404), ("MailboxNotEnabledForRESTAPI", 404), ("ErrorAccessDenied", 403)],
)
def test_one_mailbox_can_be_out_of_reach(graph: Client, mailbox: Mailbox, code: str, status: int) -> None:
    link = graph.link(mailbox.id)
    mailbox.revoke(code)
    assert refused(graph("GET", link)) == (status, code)
    assert graph.delta(graph.first(DEE)) == []
    # Somebody without a mailbox is still somebody.
    assert graph("GET", f"users/{CID}").status_code == (404 if code == "ErrorInvalidUser" else 200)
    mailbox.restore()
    assert graph.delta(link) == []


def test_strangers_have_no_mailbox(graph: Client) -> None:
    assert refused(graph("GET", graph.first("nobody@acme.example"))) == (404, "ErrorInvalidUser")
    assert refused(graph("GET", "users/nobody@acme.example")) == (404, "Request_ResourceNotFound")
    assert refused(graph("GET", "me/calendarView/delta")) == (400, "BadRequest")
    assert refused(graph("GET", "users//calendarView/delta"))[0] == 404
    assert graph.get(f"users('{CID}')/calendar")["isDefaultCalendar"] is True


def test_without_consent_nobody_is_let_in(server: GraphSimulator, clients: Callable[..., Client]) -> None:
    server.accounts.roles = ()
    graph = clients()
    for path in (graph.first(CID), graph.first(DEE), f"users/{CID}"):
        assert refused(graph("GET", path)) == (403, "Authorization_RequestDenied")


def test_roles_are_enforced(server: GraphSimulator, clients: Callable[..., Client]) -> None:
    reader = clients(server.token(roles=[READ]))
    assert reader.delta(reader.first(CID)) == []
    assert refused(reader("POST", f"users/{CID}/events", timed())) == (403, "ErrorAccessDenied")
    # facts §5: to look somebody up is a permission of its own.
    assert refused(reader("GET", f"users/{CID}"))[0] == 403


def test_a_stale_token_is_no_credential(
    server: GraphSimulator, clients: Callable[..., Client], clock: Clock, graph: Client
) -> None:
    assert graph.delta(graph.first(CID)) == []
    clock.advance(3601)
    answer = graph("GET", graph.first(CID))
    assert refused(answer) == (401, "InvalidAuthenticationToken")
    assert "Bearer" in answer.headers["WWW-Authenticate"]
    assert refused(clients("nobody")("GET", graph.first(CID))) == (401, "InvalidAuthenticationToken")
    fresh = clients()
    server.accounts.withdraw()
    assert refused(fresh("GET", graph.first(CID))) == (401, "InvalidAuthenticationToken")


def test_a_tenant_sees_only_its_own(server: GraphSimulator, clients: Callable[..., Client]) -> None:
    server.mailbox("eve@other.example", tenant=OTHER_TENANT)
    ours, theirs = clients(), clients(server.token(tenant=OTHER_TENANT))
    assert refused(ours("GET", ours.first("eve@other.example"))) == (404, "ErrorInvalidUser")
    assert theirs.delta(theirs.first("eve@other.example")) == []
    assert refused(theirs("GET", theirs.first(CID))) == (404, "ErrorInvalidUser")


# Signing in: facts §5.


def grant(uri: str, **changes: str) -> requests.Response:
    form = {"grant_type": "client_credentials", "client_id": CLIENT, "scope": "https://graph.microsoft.com/.default"}
    return requests.post(uri, data=form | changes, timeout=10)


def test_a_secret_signs_in(server: GraphSimulator, clients: Callable[..., Client], clock: Clock) -> None:
    answer = grant(server.token_uri, client_secret=SECRET).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    graph = clients(answer["access_token"])
    assert graph.delta(graph.first(CID)) == []
    clock.advance(3599)
    assert refused(graph("GET", graph.first(CID)))[0] == 401
    assert [entry.status for entry in server.requests("token")] == [200]


@pytest.mark.parametrize(
    ("changes", "error", "number"),
    [
        ({"client_secret": "wrong"}, "invalid_client", 7000215),
        ({"client_secret": SECRET, "client_id": "another"}, "unauthorized_client", 700016),
        ({"client_secret": SECRET, "scope": "Calendars.Read"}, "invalid_scope", 1002012),
        ({"client_secret": SECRET, "grant_type": "password"}, "unsupported_grant_type", 70003),
        ({}, "invalid_request", 900144),
        ({"client_assertion_type": ASSERTION, "client_assertion": "rubbish"}, "invalid_client", 70021),
    ],
)
def test_no_token_is_given_without_right(
    server: GraphSimulator, changes: dict[str, str], error: str, number: int
) -> None:
    answer = grant(server.token_uri, **changes).json()
    assert (answer["error"], answer["error_codes"]) == (error, [number])


def test_other_tenants_and_expired_secrets_are_told_apart(server: GraphSimulator) -> None:
    assert grant(server.token_uri_of("nowhere"), client_secret=SECRET).json()["error_codes"] == [90002]
    server.accounts.refuse()
    assert grant(server.token_uri, client_secret=SECRET).json()["error_codes"] == [7000222]
    server.accounts.admit()
    assert grant(server.token_uri, client_secret=SECRET).status_code == 200


def test_a_federated_assertion_is_one_that_is_trusted(server: GraphSimulator) -> None:
    server.accounts.trust("an.assertion.of-somebody")
    said = {"client_assertion_type": ASSERTION, "client_assertion": "an.assertion.of-somebody"}
    assert grant(server.token_uri, **said).status_code == 200


def certificate() -> tuple[bytes, bytes]:
    """Make a key and its certificate."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "reconciler.example")])
    start = datetime(2026, 1, 1, tzinfo=UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    made = made.serial_number(1).not_valid_before(start).not_valid_after(start + timedelta(days=365))
    signed = made.sign(key, hashes.SHA256())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return pem, signed.public_bytes(serialization.Encoding.PEM)


@pytest.mark.parametrize("algorithm", ["RS256", "PS256"])
def test_a_certificate_signs_in_by_its_key(server: GraphSimulator, clock: Clock, algorithm: str) -> None:
    pem, public = certificate()
    stranger, _ = certificate()
    server.accounts.trust_certificate(public)
    now = clock().timestamp()

    def answer(key: bytes, audience: str, *, issued: float = now) -> list[int]:
        creator = JwtAssertionCreator(key, algorithm)
        times = {"issued_at": int(issued), "expires_at": int(issued) + 600}
        signed = creator.create_normal_assertion(audience, CLIENT, subject=CLIENT, **times)
        said = {"client_assertion_type": ASSERTION, "client_assertion": signed.decode()}
        numbers: list[int] = grant(server.token_uri, **said).json().get("error_codes", [])
        return numbers

    assert answer(pem, server.token_uri) == []
    assert answer(stranger, server.token_uri) == [700027]
    assert answer(pem, "https://elsewhere.example/") == [700027]
    assert answer(pem, server.token_uri, issued=now - 86_400) == [700024]


# O365's own connection: facts §6.2, §6.3.


@pytest.fixture
def account(server: GraphSimulator, clock: Clock) -> Iterator[Any]:
    """O365 with its MSAL client replaced by one that asks the stand-in: MSAL itself speaks to https alone."""
    from O365 import Account, MSGraphProtocol
    from O365.utils.token import MemoryTokenBackend

    class Protocol(MSGraphProtocol):  # type: ignore[misc]
        _protocol_url = f"{server.root}/"

    class Msal:
        def __init__(self, backend: Any) -> None:
            self.backend = backend

        def acquire_token_for_client(self, scopes: list[str], **_: Any) -> dict[str, Any]:
            answer: dict[str, Any] = grant(server.token_uri, client_secret=SECRET, scope=scopes[0]).json()
            told = {"client_id": CLIENT, "scope": scopes, "response": answer}
            self.backend.add(told | {"token_endpoint": "https://login.microsoftonline.com/acme/oauth2/v2.0/token"})
            return answer

    backend = MemoryTokenBackend()
    account = Account(
        (CLIENT, SECRET),
        auth_flow_type="credentials",
        tenant_id="acme.example",
        token_backend=backend,
        protocol=Protocol(timezone="UTC"),
        request_retries=0,
        requests_delay=0,
        timeout=10,
    )
    account.con._msal_client = Msal(backend)
    yield account
    if account.con.session is not None:
        account.con.session.close()


def test_o365_signs_in_and_polls(server: GraphSimulator, account: Any, mailbox: Mailbox) -> None:
    assert account.authenticate()
    made = mailbox.insert(timed())["id"]
    prefer = {"Prefer": 'IdType="ImmutableId", outlook.timezone="UTC"'}
    base = f"{account.protocol.service_url}users/{mailbox.id}/calendarView/delta"
    first = account.con.get(
        f"{base}?startDateTime=2026-03-01T00:00:00Z&endDateTime=2026-04-01T00:00:00Z", headers=dict(prefer)
    ).json()
    assert ids(first["value"]) == [made]
    mailbox.delete(made)
    second = account.con.get(first["@odata.deltaLink"], headers=dict(prefer)).json()
    assert second["value"][0]["@removed"] == {"reason": "deleted"}
    assert [entry.agent for entry in server.requests()] == [CID, CID]


def test_o365s_own_objects_read_and_write(server: GraphSimulator, account: Any, mailbox: Mailbox) -> None:
    assert account.authenticate()
    mailbox.insert(timed(subject="From Outlook"))
    mailbox.insert(weekly())
    calendar = account.schedule(resource=CID).get_default_calendar()
    told = calendar.get_events(
        limit=None,
        include_recurring=True,
        start_recurring=datetime(2026, 3, 1, tzinfo=UTC),
        end_recurring=datetime(2026, 4, 1, tzinfo=UTC),
    )
    found = sorted(event.subject for event in told)
    assert found == ["From Outlook"] + ["Weekly"] * 5
    event = calendar.new_event("From a program")
    event.start, event.end = (moment.astimezone(ZoneInfo("UTC")) for moment in (MONDAY, MONDAY + timedelta(hours=1)))
    assert event.save()
    assert [one["subject"] for one in mailbox.events()][-1] == "From a program"
    assert event.delete()
    assert len(mailbox.events()) == 2


# Limits: facts §4.


def test_a_mailbox_has_a_rate_of_its_own(server: GraphSimulator, graph: Client, clock: Clock) -> None:
    server.set_limits(Limits(per_mailbox=3, retry_after=7))
    for _ in range(3):
        assert graph("GET", graph.first(CID)).status_code == 200
    answer = graph("GET", graph.first(CID))
    assert refused(answer) == (429, "ApplicationThrottled")
    assert "RequestRate limit" in answer.json()["error"]["message"]
    assert answer.headers["Retry-After"] == "7"
    # By its object id it is the same mailbox, and another one has room.
    assert graph("GET", graph.first(server.mailbox(CID).id)).status_code == 429
    assert graph("GET", graph.first(DEE)).status_code == 200
    clock.advance(601)
    assert graph("GET", graph.first(CID)).status_code == 200


def test_what_is_asked_while_throttled_counts_too(server: GraphSimulator, graph: Client, clock: Clock) -> None:
    server.set_limits(Limits(per_mailbox=2))
    for _ in range(2):
        graph("GET", graph.first(CID))
    clock.advance(300)
    for _ in range(2):
        assert graph("GET", graph.first(CID)).status_code == 429
    clock.advance(301)
    assert graph("GET", graph.first(CID)).status_code == 429


def test_an_application_has_a_limit_over_all_mailboxes(server: GraphSimulator, graph: Client, clock: Clock) -> None:
    server.set_limits(Limits(per_app=2))
    assert [graph("GET", graph.first(user)).status_code for user in (CID, DEE, CID)] == [200, 200, 429]
    assert refused(graph("GET", graph.first(DEE))) == (429, "TooManyRequests")
    clock.advance(11)
    assert graph("GET", graph.first(DEE)).status_code == 200


class Gate:
    """Holds requests inside the server until so many are there: what `wait` of a stand-in may do."""

    def __init__(self, many: int) -> None:
        self.barrier = threading.Barrier(many, timeout=20)

    def __call__(self, _: float) -> None:
        self.barrier.wait()


def test_four_at_once_are_let_in(clock: Clock) -> None:
    with GraphSimulator(clock=clock, wait=Gate(4), faults=[Fault(what=Harm.SLOW, times=4)]) as server:
        server.mailbox(CID)
        assert [answer.status_code for answer in at_once(server, 4)] == [200] * 4
        assert server.high_water(CID) == server.high_water(server.mailbox(CID).id) == 4


def test_the_fifth_at_once_is_too_many(clock: Clock) -> None:
    release = threading.Event()

    def wait(_: float) -> None:
        assert release.wait(20)

    with GraphSimulator(clock=clock, wait=wait, faults=[Fault(what=Harm.SLOW)]) as server:
        server.mailbox(CID)
        server.mailbox(DEE)
        with ThreadPoolExecutor(5) as pool:
            inside = [pool.submit(once, server, CID) for _ in range(4)]
            deadline = time.monotonic() + 20
            while server.high_water(CID) < 4 and time.monotonic() < deadline:
                threading.Event().wait(0.001)
            fifth = once(server, CID)
            release.set()
            assert [done.result().status_code for done in inside] == [200] * 4
        assert refused(fifth) == (429, "ApplicationThrottled")
        assert "MailboxConcurrency" in fifth.json()["error"]["message"]
        assert fifth.headers["Retry-After"] == "1"
        assert (server.high_water(CID), server.high_water(DEE)) == (5, 0)
        assert once(server, CID).status_code == 200


def once(server: GraphSimulator, user: str) -> requests.Response:
    client = Client(server, server.token())
    try:
        return client("GET", client.first(user))
    finally:
        client.close()


def at_once(server: GraphSimulator, many: int) -> list[requests.Response]:
    with ThreadPoolExecutor(many) as pool:
        return list(pool.map(lambda _: once(server, CID), range(many)))


def test_threads_may_read_while_people_edit(server: GraphSimulator, mailbox: Mailbox) -> None:
    users = [f"agent{number}@acme.example" for number in range(8)]
    for user in users:
        server.mailbox(user, DENVER)

    def poll(user: str) -> list[str]:
        graph = Client(server, server.token())
        found, link = graph.round(graph.first(user))
        for _ in range(10):
            items, link = graph.round(link)
            found += items
        graph.close()
        return ids(found)

    def edit(user: str) -> list[str]:
        return [server.mailbox(user).insert(timed())["id"] for _ in range(20)]

    with ThreadPoolExecutor(16) as pool:
        made, told = pool.map(edit, users), list(pool.map(poll, users))
        for user, wanted, found in zip(users, made, told, strict=True):
            assert set(found) <= set(wanted)
            assert server.high_water(user) == 1
    assert {entry.status for entry in server.requests()} == {200}


def test_the_ledger_tells_whose_mailbox_was_asked_and_with_what_end(
    server: GraphSimulator, graph: Client, mailbox: Mailbox
) -> None:
    graph.link(mailbox.id)
    graph("GET", f"users/{CID}/events/none")
    told = [(entry.agent, entry.method, entry.units, entry.status) for entry in server.requests()]
    assert told == [(CID, "GET", 1, 200), (CID, "GET", 1, 404)]
    assert server.ledger.most(600, of=CID) == 2


# Batches: facts §4.


def wanted(name: object, path: str, method: str = "GET", **more: Any) -> Resource:
    return {"id": str(name), "method": method, "url": path} | more


def test_each_item_of_a_batch_has_its_own_fate(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    made = mailbox.insert(timed())["id"]
    server.mailbox(DEE).revoke("ErrorAccessDenied")
    answers = graph.batch(
        wanted(1, f"/users/{mailbox.id}/events/{made}", headers={"Prefer": 'IdType="ImmutableId"'}),
        wanted(2, f"users/{CID}/events/gone"),
        wanted(3, f"/users/{DEE}/events/{made}"),
        wanted(4, f"/users/{CID}/events/{made}", "DELETE"),
    )
    assert {name: answer["status"] for name, answer in answers.items()} == {"1": 200, "2": 404, "3": 403, "4": 204}
    assert answers["1"]["body"]["id"] == made
    assert answers["2"]["body"]["error"]["code"] == "ErrorItemNotFound"
    assert "body" not in answers["4"]
    assert [entry.units for entry in server.requests("batch")] == [0]
    assert len(server.requests()) == 4


def test_headers_of_the_batch_do_not_reach_its_items(graph: Client, mailbox: Mailbox) -> None:
    made = mailbox.insert(timed())["id"]
    answers = graph.batch(wanted(1, f"/users/{CID}/events/{made}"))
    assert answers["1"]["body"]["id"] != made


def test_answers_of_a_batch_come_in_no_order(server: GraphSimulator, graph: Client) -> None:
    answer = graph("POST", "$batch", {"requests": [wanted(number, f"users/{CID}") for number in range(20)]})
    told = [one["id"] for one in answer.json()["responses"]]
    assert sorted(told, key=int) == [str(number) for number in range(20)]
    assert told != sorted(told, key=int)
    # facts §4: a batch sends four of one mailbox at once.
    assert server.high_water(CID) == 4


@pytest.mark.parametrize(
    "batch",
    [
        {"requests": [wanted(number, "users/x") for number in range(21)]},
        {"requests": [wanted(1, "users/x"), wanted(1, "users/y")]},
        {"requests": [{"id": "1"}]},
        {},
        [],
    ],
    ids=["too many", "same id", "no method", "nothing", "a list"],
)
def test_a_batch_can_be_refused_whole(server: GraphSimulator, graph: Client, batch: Any) -> None:
    assert refused(graph("POST", "$batch", batch)) == (400, "BadRequest")
    assert server.requests() == []


def test_a_batch_needs_a_token(clients: Callable[..., Client]) -> None:
    assert refused(clients("nobody")("POST", "$batch", {"requests": []})) == (401, "InvalidAuthenticationToken")


def test_items_are_throttled_one_by_one(server: GraphSimulator, graph: Client) -> None:
    server.set_limits(Limits(per_mailbox=2, retry_after=9))
    answers = graph.batch(*(wanted(number, f"users/{CID}/calendar") for number in range(4)))
    assert sorted(answer["status"] for answer in answers.values()) == [200, 200, 429, 429]
    assert {answer["headers"].get("Retry-After") for answer in answers.values()} == {None, "9"}


def test_what_depends_on_what_failed_is_not_done(graph: Client, mailbox: Mailbox) -> None:
    made = mailbox.insert(timed())["id"]
    answers = graph.batch(
        wanted("delete", f"users/{CID}/events/{made}", "DELETE", dependsOn=["look"]),
        wanted("look", f"users/{CID}/events/none"),
        wanted("after", f"users/{CID}/calendar", dependsOn=["fine"]),
        wanted("fine", f"users/{CID}/calendar"),
    )
    assert {name: answer["status"] for name, answer in answers.items()} == {
        "delete": 424,
        "look": 404,
        "after": 200,
        "fine": 200,
    }
    assert len(mailbox.events()) == 1


def test_an_item_can_fail_while_the_batch_goes_well(server: GraphSimulator, graph: Client) -> None:
    server.faults.add(
        Fault(path="/events/a", status=503, retry_after=3),
        Fault(path="/events/b", what=Harm.DROP_AFTER),
        Fault(path="/events/c", what=Harm.HTML, status=200),
    )
    answers = graph.batch(*(wanted(name, f"users/{CID}/events/{name}") for name in "abcd"))
    assert {name: answer["status"] for name, answer in answers.items()} == {"a": 503, "b": 504, "c": 200, "d": 404}
    assert answers["a"]["headers"]["Retry-After"] == "3"
    assert isinstance(answers["c"]["body"], str)


# Faults: facts §1.6, §1.7.


def test_large_pages_can_be_too_much(server: GraphSimulator, clients: Callable[..., Client], mailbox: Mailbox) -> None:
    mailbox.insert(timed())
    server.faults.add(Fault(what=Harm.BIG_PAGE, path="calendarView", size=50))
    large, small = clients(size=200), clients(size=50)
    answer = large("GET", large.first(CID))
    assert (answer.status_code, answer.content) == (503, b"")
    assert len(small.delta(small.first(CID))) == 1


def test_paging_can_go_round_for_ever(server: GraphSimulator, clients: Callable[..., Client], mailbox: Mailbox) -> None:
    for day in range(6):
        mailbox.insert(timed(MONDAY + timedelta(days=day)))
    graph = clients(size=3)
    server.faults.add(Fault(what=Harm.ENDLESS, path="delta", times=20))
    page, links, seen = graph.get(graph.first(CID)), set(), []
    for _ in range(5):
        links.add(page["@odata.nextLink"])
        seen.append(ids(page["value"]))
        page = graph.get(page["@odata.nextLink"])
    assert len(links) == 5
    assert seen == [seen[0]] * 5
    server.faults.clear()
    assert len(graph.pages(page["@odata.nextLink"])) == 2


def test_old_changes_can_come_again(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    made = [mailbox.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(4)]
    link = graph.link(mailbox.id)
    server.faults.add(Fault(what=Harm.REPLAY, path="delta", size=2))
    assert sorted(ids(graph.delta(link))) == sorted(made[2:])
    mailbox.patch(made[0], {"subject": "New"})
    assert sorted(ids(graph.delta(link))) == sorted([made[0], *made[2:]])


def test_a_first_round_can_have_tombstones(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    gone, kept = (mailbox.insert(timed())["id"] for _ in range(2))
    mailbox.delete(gone)
    server.faults.add(Fault(what=Harm.REPLAY, path="delta"))
    items = graph.delta(graph.first(mailbox.id))
    assert {item["id"]: "@removed" in item for item in items} == {gone: True, kept: False}


def test_a_change_can_be_late(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    link = graph.link(mailbox.id)
    made = mailbox.insert(timed())["id"]
    server.faults.add(Fault(what=Harm.STALE, path="delta", times=1))
    items, link = graph.round(link)
    assert items == []
    assert ids(graph.delta(link)) == [made]


def test_an_event_can_be_in_a_round_twice_and_older_the_second_time(
    server: GraphSimulator, graph: Client, mailbox: Mailbox, clock: Clock
) -> None:
    made = mailbox.insert(timed(subject="Old"))["id"]
    clock.advance(300)
    mailbox.patch(made, {"subject": "New"})
    server.faults.add(Fault(what=Harm.DUPLICATES, path="delta"))
    items = graph.delta(graph.first(CID))
    assert [(item["id"], item["subject"]) for item in items] == [(made, "New"), (made, "Old")]
    assert items[0]["lastModifiedDateTime"] > items[1]["lastModifiedDateTime"]
    assert items[0]["@odata.etag"] != items[1]["@odata.etag"]


def test_pages_can_be_empty_or_small(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    for day in range(3):
        mailbox.insert(timed(MONDAY + timedelta(days=day)))
    server.faults.add(
        Fault(what=Harm.EMPTY_PAGE, path="calendarView", nth=[2]),
        Fault(what=Harm.SMALL_PAGES, path="calendarView", size=2),
    )
    pages = graph.pages(graph.first(CID))
    assert [len(page["value"]) for page in pages] == [2, 0, 1]


@pytest.mark.parametrize("path", ["delta", "calendarView?"])
def test_links_can_lead_astray(
    server: GraphSimulator, clients: Callable[..., Client], mailbox: Mailbox, path: str
) -> None:
    for day in range(3):
        mailbox.insert(timed(MONDAY + timedelta(days=day)))
    graph = clients(size=2)
    start = graph.first(mailbox.id) if path == "delta" else graph.first(mailbox.id).replace("/delta", "")
    server.faults.add(Fault(what=Harm.STRAY_LINK, location="http://elsewhere.example/", times=1))
    stray = graph.get(start)["@odata.nextLink"]
    assert stray.startswith(f"http://elsewhere.example/v1.0/users/{mailbox.id}/calendarView")
    server.faults.add(Fault(what=Harm.NAMELESS_LINK, times=1))
    nameless = graph.get(start)["@odata.nextLink"]
    assert nameless.startswith(f"{server.url}users//calendarView")
    assert graph("GET", nameless).status_code == 404


def test_a_delta_link_can_lead_astray_too(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    server.faults.add(Fault(what=Harm.STRAY_LINK, location="http://elsewhere.example/"))
    assert graph.get(graph.first(mailbox.id))["@odata.deltaLink"].startswith("http://elsewhere.example/v1.0/users/")


@pytest.mark.parametrize(
    ("fault", "wanted"),
    [
        (Fault(status=410, reason="SyncStateNotFound"), (410, "SyncStateNotFound")),
        (Fault(status=400, reason="resyncRequired"), (400, "resyncRequired")),
        (Fault(status=401, reason="InvalidAuthenticationToken"), (401, "InvalidAuthenticationToken")),
        (Fault(status=429, reason="MailboxConcurrency", retry_after=1), (429, "ApplicationThrottled")),
        (Fault(status=429, reason="RequestRate", retry_after=41), (429, "ApplicationThrottled")),
        (Fault(status=504, reason="UnknownError"), (504, "UnknownError")),
    ],
    ids=lambda value: value.reason if isinstance(value, Fault) else "",
)
def test_any_error_can_be_asked_for(server: GraphSimulator, graph: Client, fault: Fault, wanted: Any) -> None:
    server.faults.add(fault)
    answer = graph("GET", graph.first(CID))
    assert refused(answer) == wanted
    assert answer.headers.get("Retry-After") == (str(fault.retry_after) if fault.retry_after else None)


def test_answers_can_be_lost_torn_or_somebody_elses(server: GraphSimulator, graph: Client) -> None:
    server.faults.add(
        Fault(what=Harm.HTML, status=200, times=1),
        Fault(what=Harm.REDIRECT, times=1),
        Fault(what=Harm.TORN_JSON, times=1),
        Fault(status=503, times=1),
    )
    answers = [graph("GET", graph.first(CID)) for _ in range(4)]
    assert answers[0].headers["Content-Type"].startswith("text/html")
    assert (answers[1].status_code, answers[1].headers["Location"]) == (302, "http://elsewhere.example/")
    with pytest.raises(json.JSONDecodeError):
        json.loads(answers[2].content)
    assert (answers[3].status_code, answers[3].content) == (503, b"")
    for harm in (Harm.DROP_BEFORE, Harm.DROP_AFTER, Harm.CUT):
        server.faults.add(Fault(what=harm, times=1))
        with pytest.raises(requests.exceptions.RequestException):
            graph("GET", graph.first(CID))


def test_a_token_can_be_refused_to_whoever_asks(server: GraphSimulator) -> None:
    server.faults.add(Fault(kind="token", status=503, times=1))
    assert [grant(server.token_uri, client_secret=SECRET).status_code for _ in range(2)] == [503, 200]


def test_an_unchanged_mailbox_is_cheap(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    for day in range(250):
        mailbox.insert(timed(MONDAY + timedelta(hours=day)))
    link = graph.link(mailbox.id)
    path, _, token = link.removeprefix(server.root).partition("?$deltatoken=")
    headers = {name.lower(): str(value) for name, value in graph.session.headers.items()}
    request = Request("GET", path, {"$deltatoken": [unquote(token)]}, headers, b"")
    took = []
    for _ in range(200):
        began = time.perf_counter()
        assert server._handle(request).status == 200
        took.append(time.perf_counter() - began)
    assert sorted(took)[100] < 0.002


def test_a_mistake_of_the_stand_in_is_no_answer_of_the_provider(clock: Clock) -> None:
    def mistaken() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError), GraphSimulator(clock=clock) as server:
        server.faults.add(Fault(what=Harm.NONE, meanwhile=mistaken))
        assert once(server, CID).status_code == 500
