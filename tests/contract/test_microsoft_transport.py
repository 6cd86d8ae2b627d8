"""Requests to Graph against the stand-in, over O365's connection: one send an attempt, and every no understood."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event, Lock
from typing import Any

import orjson
import pytest

from reconciler.config import MicrosoftAuth
from reconciler.config.secret import Reference, Secret
from reconciler.errors import AccessError
from reconciler.model import Agent, Calendar, Window
from reconciler.quota import PUBLISHED, Budget, Quota, Scope
from reconciler.simulator.graph import READ, Fault, GraphSimulator, Harm, Limits
from reconciler.simulator.loopback import Answer, Loopback, Request
from reconciler.sources import Caps
from reconciler.sources.answers import (
    DeadCursorError,
    DeniedError,
    GoneError,
    MissingError,
    ParkedError,
    PostponedError,
    ProviderError,
    RejectedError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.microsoft_auth import account_for
from reconciler.sources.microsoft_transport import BATCH, Call, Graph, Page, Target, prefer

CID, DEE = "cid@acme.example", "dee@acme.example"
NAMED = CID.replace("@", "%40")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=1), NOW + timedelta(days=30))
PREFER = 'IdType="ImmutableId", outlook.timezone="UTC", outlook.body-content-type="text"'


@dataclass
class Clock:
    now: datetime = NOW
    slept: list[float] = field(default_factory=list)
    lock: Lock = field(default_factory=Lock)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        with self.lock:
            self.slept.append(seconds)
            self.now += timedelta(seconds=seconds)


def calendar(agent: str = CID, name: str = "primary") -> Calendar:
    return Calendar(source="outlook", kind="microsoft", agent=Agent(email=agent), name=name)


def viewing(subject: str = "Viewing", hours: float = 3, **more: Any) -> dict[str, Any]:
    """Write an event as Graph takes it."""
    starts, ends = (
        {"dateTime": (NOW + timedelta(hours=at)).strftime("%Y-%m-%dT%H:%M:%S"), "timeZone": "UTC"}
        for at in (hours, hours + 1)
    )
    return {"subject": subject, "start": starts, "end": ends, **more}


def daily(count: int) -> dict[str, Any]:
    """Write a series of so many days."""
    times = {"type": "numbered", "startDate": "2026-03-02", "numberOfOccurrences": count}
    return viewing("Standing", recurrence={"pattern": {"type": "daily", "interval": 1}, "range": times})


def graph_at(url: str, clock: Clock, quota: Quota, token: str, *, at_once: int = 1) -> Graph:
    """Return a client of whatever is at `url`, with a token as it is."""
    auth = MicrosoftAuth(token=Secret(Reference("auth", "env", "TOKEN", Path())))
    account = account_for(auth, url, {"TOKEN": token}, quota, clock=clock.seconds)
    account.con.caps = Caps(bytes=400_000)
    return Graph(account, quota, clock=clock.seconds, at_once=at_once)


class Office:
    """A stand-in with two mailboxes, and the client that asks it."""

    def __init__(self, server: GraphSimulator, clock: Clock) -> None:
        self.server, self.clock = server, clock
        self.cid, self.dee = server.mailbox(CID), server.mailbox(DEE)
        self.quota = Quota("microsoft", Budget(), None, clock=clock.seconds, sleep=clock.sleep)
        self.graph = self.using()
        self.target = self.graph.target(calendar())

    def using(self, url: str = "", *, at_once: int = 1, token: str = "") -> Graph:
        token = token or self.server.token(hours=48)
        return graph_at(url or self.server.url, self.clock, self.quota, token, at_once=at_once)

    def first(self) -> Page:
        return self.graph.delta(self.target, WINDOW)

    @property
    def sent(self) -> list[str]:
        return [entry.path.removeprefix(f"/v1.0/users/{self.cid.id}") for entry in self.server.requests()]


@pytest.fixture
def office() -> Iterator[Office]:
    clock = Clock()
    with GraphSimulator(seed=7, clock=clock, wait=clock.sleep) as server:
        office = Office(server, clock)
        yield office
        office.graph.close()


@dataclass
class Script:
    """A server that answers as it is told, and keeps what it was asked."""

    asked: list[Request] = field(default_factory=list)
    url: str = ""


@contextmanager
def script(answer: Callable[[Request], Answer]) -> Iterator[Script]:
    heard = Script()

    def handle(request: Request) -> Answer:
        heard.asked.append(request)
        return answer(request)

    with Loopback(handle) as server:
        heard.url = f"http://127.0.0.1:{server.port}/v1.0/"
        yield heard


def said(**keys: Any) -> Answer:
    return Answer(body=orjson.dumps(keys))


def subjects(items: list[dict[str, object]]) -> list[str]:
    return sorted(str(item.get("subject")) for item in items)


# ---- what is asked --------------------------------------------------------------------------------------------------


def test_a_round_is_asked_for_by_object_id_and_ends_with_a_link_that_begins_the_next(office: Office) -> None:
    office.cid.insert(viewing())
    page = office.first()
    assert (subjects(page.items), page.next) == (["Viewing"], None)
    assert office.sent == [f"/v1.0/users/{NAMED}", "/calendarView/delta"]
    [_, entry] = office.server.requests()
    assert entry.query == {"startDateTime": ["2026-03-01T12:00:00Z"], "endDateTime": ["2026-04-01T12:00:00Z"]}
    assert office.cid.id in (page.delta or "")
    office.cid.insert(viewing("Second"))
    assert subjects(office.graph.follow(office.target, page.delta or "").items) == ["Second"]


def test_a_link_outlives_a_new_address(office: Office) -> None:
    page = office.first()
    office.cid.rename("cid.new@acme.example")
    assert office.graph.follow(office.target, page.delta or "").items == []


def test_whose_mailbox_it_is_is_asked_once(office: Office) -> None:
    assert office.graph.user(office.target) == office.cid.id
    office.first()
    office.first()
    assert office.sent.count(f"/v1.0/users/{NAMED}") == 1


def test_an_application_that_may_not_know_people_goes_by_the_address(office: Office) -> None:
    graph = office.using(token=office.server.token(hours=48, roles={READ}))
    assert graph.user(office.target) == CID
    assert graph.delta(office.target, WINDOW).delta
    assert office.sent[1:] == [f"/v1.0/users/{NAMED}/calendarView/delta"]


def test_every_request_says_how_it_wants_to_be_answered(office: Office) -> None:
    pages = iter(["v1.0/users/o/calendarView/delta?$skiptoken=a", ""])

    def answer(request: Request) -> Answer:
        if request.path.endswith("$batch"):
            return said(responses=[{"id": "0", "status": 200, "body": {"id": "e"}}])
        if "delta" in request.path:
            link = next(pages)
            base = server.url.removesuffix("v1.0/")
            return said(value=[], **({"@odata.nextLink": base + link} if link else {"@odata.deltaLink": "x"}))
        return said(value=[], id="o")

    with script(answer) as server:
        graph = office.using(server.url)
        page = graph.delta(office.target, WINDOW, 50)
        graph.follow(office.target, page.next or "", 50)
        graph.view(office.target, WINDOW, size=50)
        graph.get(office.target, "e")
        graph.instances(office.target, "s", WINDOW)
        graph.get_many(office.target, ["e"])
    wanted = [request.headers["prefer"] for request in server.asked]
    assert all(value.startswith(PREFER) for value in wanted)
    assert [value.removeprefix(PREFER) for value in wanted[1:4]] == [", odata.maxpagesize=50"] * 3
    [inner] = orjson.loads(server.asked[-1].body)["requests"]
    assert inner == {"id": "0", "method": "GET", "url": "/users/o/events/e", "headers": prefer()}
    assert {request.headers["accept-encoding"] for request in server.asked} == {"gzip"}
    assert {request.headers.get("cookie") for request in server.asked} == {None}


def test_a_link_is_sent_as_it_is(office: Office) -> None:
    query = "$deltatoken=aB-_%2Fx%3D.~!*'(1)&$x=%24"
    with script(lambda _: said(value=[], **{"@odata.deltaLink": "x"})) as server:
        graph = office.using(server.url)
        for path in ("users/o/calendar/calendarView/delta", "users('o')/calendarView/delta", "Users/a%2Fb/x"):
            graph.follow(office.target, f"{server.url}{path}?{query}")
    assert [request.path for request in server.asked] == [
        "/v1.0/users/o/calendar/calendarView/delta",
        "/v1.0/users('o')/calendarView/delta",
        "/v1.0/Users/a%2Fb/x",
    ]
    assert {request.one("$deltatoken") for request in server.asked} == {"aB-_/x=.~!*'(1)"}


def test_another_calendar_of_the_mailbox_is_asked_by_its_id(office: Office) -> None:
    target = office.graph.target(calendar(name="AAk/x="), lambda: 7.0)
    assert (target.mailbox, target.agent, target.calendar_path) == (CID, CID, "calendars/AAk%2Fx%3D/")
    assert target.patience() == 7.0
    assert office.graph.target(calendar(name=CID)).calendar_path == ""


def test_plain_pages_go_on_where_they_say(office: Office) -> None:
    for number in range(5):
        office.cid.insert(viewing(f"Viewing {number}", hours=number))
    page = office.graph.view(office.target, WINDOW, size=2)
    found = list(page.items)
    while page.next:
        page = office.graph.view(office.target, WINDOW, page.next, 2)
        found += page.items
    assert subjects(found) == [f"Viewing {number}" for number in range(5)]
    assert all("lastModifiedDateTime" in item for item in found)


def test_all_occurrences_of_a_series_come_however_many_pages_they_take(office: Office) -> None:
    made = office.cid.insert(daily(12))
    office.server.faults.add(Fault(what=Harm.SMALL_PAGES, path="/instances", size=5))
    assert len(office.graph.instances(office.target, made["id"], WINDOW)) == 12
    assert [path.rpartition("/")[2] for path in office.sent] == ["instances"] * 3


def test_occurrences_without_end_have_one(office: Office) -> None:
    made = office.cid.insert(daily(12))
    office.server.faults.add(Fault(what=Harm.ENDLESS, path="/instances"))
    with pytest.raises(TransientError, match="occurrences of a series that do not end"):
        office.graph.instances(office.target, made["id"], WINDOW)


def test_ids_stay_in_their_place_whatever_is_in_them(office: Office) -> None:
    ids = ["a/b", "../../me", "a?b=c", "a#b", "%2e%2e", "ä b", "AA-", "AA_", "a\r\nx: y"]
    for event in ids:
        with pytest.raises((GoneError, MissingError)):
            office.graph.get(office.target, event)
    assert {tuple(path.split("/")[:4]) for path in office.sent} == {("", "v1.0", "users", NAMED)}
    assert all(isinstance(found, ProviderError) for found in office.graph.get_many(office.target, ids).values())


# ---- links ----------------------------------------------------------------------------------------------------------


def test_a_token_goes_nowhere_but_to_the_endpoint(office: Office) -> None:
    with GraphSimulator() as elsewhere, script(lambda _: said(value=[])) as neighbour:
        port = elsewhere.url.split(":")[2].partition("/")[0]
        here = office.server.url
        links = [
            elsewhere.url + "users/o/calendarView/delta?$deltatoken=a",
            neighbour.url + "users/o/calendarView/delta",
            here.replace("127.0.0.1", f"127.0.0.1:{port}@127.0.0.1") + "users/o/x",
            here.replace("127.0.0.1", "somebody@127.0.0.1") + "users/o/x",
            here.replace("http:", "https:") + "users/o/x",
            here.replace("127.0.0.1", "localhost") + "users/o/x",
            here.replace("v1.0", "beta") + "users/o/x",
            here + "users//calendarView/delta",
            here + "users('')/calendarView/delta",
            here + "users/../me/messages",
            here + "users/%2e%2e/me/messages",
            here + "me/messages",
            here + "users/o/x#y",
            here + "users/o/x\\@evil.example",
            here + "users/o/x y",
            here + "users/o/\u212a",
            here + "users/" + "o" * 20_000,
            f"//127.0.0.1:{port}/v1.0/users/o/x",
            "users/o/x",
            "",
        ]
        for link in links:
            with pytest.raises(RejectedError, match="leads elsewhere"):
                office.graph.follow(office.target, link)
            if link:
                with pytest.raises(RejectedError):
                    office.graph.view(office.target, WINDOW, link)
        assert elsewhere.connections == 0
        assert neighbour.asked == []
    assert office.sent == []
    assert office.quota.attempts == {}


def test_a_page_that_leads_elsewhere_is_not_followed(office: Office) -> None:
    made = office.cid.insert(daily(12))
    with GraphSimulator() as elsewhere:
        stray = Fault(what=Harm.STRAY_LINK, location=f"{elsewhere.url}users/o/x")
        office.server.faults.add(Fault(what=Harm.SMALL_PAGES, path="/instances", size=5, nth=(9,)), stray)
        link = office.first().delta or ""
        with pytest.raises(RejectedError):
            office.graph.follow(office.target, link)
        with (
            script(lambda _: said(value=[], **{"@odata.nextLink": stray.location})) as server,
            pytest.raises(RejectedError),
        ):
            office.using(server.url).instances(office.target, made["id"], WINDOW)
        assert elsewhere.connections == 0


def test_a_redirect_is_not_followed_and_no_token_goes_there(office: Office) -> None:
    with GraphSimulator() as elsewhere:
        office.server.faults.add(Fault(what=Harm.REDIRECT, location=elsewhere.url + "users/o/x"))
        with pytest.raises(DeniedError, match=r"answered with a redirect \(HTTP 302\), which is not followed"):
            office.first()
        assert elsewhere.connections == 0


# ---- one send an attempt --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=503, reason="ErrorMailboxStoreUnavailable"),
        Fault(status=500, reason="ErrorInternalServerError"),
        Fault(status=502),
        Fault(status=504, reason="UnknownError"),
        Fault(status=408, reason="RequestTimeout"),
        Fault(status=429, reason="RequestRate"),
        Fault(status=429, reason="TooManyRequests"),
        Fault(what=Harm.HTML, status=200),
        Fault(what=Harm.HTML, status=502),
        Fault(what=Harm.DROP_BEFORE),
        Fault(what=Harm.DROP_AFTER),
        Fault(what=Harm.CUT),
        Fault(what=Harm.TORN_GZIP),
        Fault(what=Harm.TORN_JSON),
        Fault(what=Harm.OTHER_KIND),
    ],
    ids=lambda fault: f"{fault.what} {fault.status} {fault.reason}",
)
def test_a_read_is_tried_again_by_the_quota_alone_and_each_attempt_is_charged(office: Office, fault: Fault) -> None:
    office.graph.user(office.target)
    office.server.faults.add(replace(fault, nth=(1, 2)))
    if fault.what is Harm.OTHER_KIND:
        with pytest.raises(TransientError):
            office.first()  # JSON that is no page is the caller's to ask for again
        return
    assert office.first().delta
    assert office.sent[1:] == ["/calendarView/delta"] * 3
    assert office.quota.attempts == {Scope.READ: 4}
    assert len(office.clock.slept) == 2


@pytest.mark.parametrize(
    ("method", "what"),
    [
        *((method, what) for method in ("post", "patch", "delete") for what in (Harm.DROP_BEFORE, Harm.DROP_AFTER)),
        *((method, Harm.LATE_ERROR) for method in ("post", "patch", "delete")),
        *((method, Harm.CUT) for method in ("post", "patch")),
    ],
)
def test_no_write_is_sent_twice(office: Office, method: str, what: Harm) -> None:
    made = office.cid.insert(viewing())
    events, event = office.graph.address(office.target, "events"), office.graph.event(office.target, made["id"])
    office.server.faults.add(Fault(what=what, method=method.upper(), status=503))
    write = Call(
        office.target,
        method,
        events if method == "post" else event,
        {**prefer(), "Content-type": "application/json; charset=utf-8"},
        orjson.dumps({"subject": "Zoë 🏡"} if method == "patch" else viewing()),
        asked=replace(Call(office.target, "get", "", {}).asked, write=True),
        content=method != "delete",
    )
    with pytest.raises(TransientError):
        office.graph.send(write)
    assert [entry.method for entry in office.server.requests()] == [method.upper()]
    assert office.quota.attempts == {Scope.WRITE: 1}
    assert office.clock.slept == []


def test_retry_after_is_kept_to_whatever_its_form(office: Office) -> None:
    office.graph.user(office.target)
    waits = iter([b"40", b"1.5", (NOW + timedelta(seconds=500)).strftime("%a, %d %b %Y %H:%M:%S GMT").encode()])

    def answer(_: Request) -> Answer:
        value = next(waits, b"")
        if value:
            return Answer(status=503, body=b"{}", headers=(("Retry-After", value.decode()),))
        return said(id="o")

    with script(answer) as server:
        office.using(server.url).get(office.target, "e")
    first, second, third = office.clock.slept
    assert first >= 40
    assert second >= 1.5
    assert third >= 500 - first - second - 1
    assert len(server.asked) == 4


def test_one_mailbox_that_is_throttled_is_left_alone_and_another_is_not(office: Office) -> None:
    dee = office.graph.target(calendar(DEE))
    for target in (office.target, dee):
        office.graph.user(target)
    before = office.clock.now
    office.server.faults.add(Fault(status=429, reason="RequestRate", agent=CID, nth=(1,), retry_after=7))
    hasty = Target(mailbox=CID, agent=CID, patience=lambda: 5.0)
    with pytest.raises(PostponedError, match="answered 429 ApplicationThrottled"):
        office.graph.delta(hasty, WINDOW)
    office.graph.delta(dee, WINDOW)
    assert office.clock.now == before
    with pytest.raises(PostponedError, match="asked to be left alone for this agent"):
        office.graph.delta(hasty, WINDOW)
    assert len([entry for entry in office.server.requests() if entry.agent == CID]) == 2
    office.first()
    assert office.clock.now - before >= timedelta(seconds=7)


def test_a_page_that_is_too_large_for_graph_is_said_to_be_so(office: Office) -> None:
    office.cid.insert(viewing())
    office.server.faults.add(Fault(what=Harm.BIG_PAGE, size=50))
    with pytest.raises(TransientError, match="answered 503 with nothing in it") as caught:
        office.graph.delta(office.target, WINDOW, 200)
    assert caught.value.reason == "emptyBody"
    assert office.graph.delta(office.target, WINDOW, 50).delta


def test_nothing_is_sent_when_there_is_no_time_left(office: Office) -> None:
    with pytest.raises(PostponedError):
        office.graph.view(Target(mailbox=CID, agent=CID, patience=lambda: 0.0), WINDOW)
    assert office.sent == []


@pytest.mark.parametrize("status", [200, 503])
@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_transient(office: Office, status: int, packed: bool) -> None:
    body = b'{"value": "' + b" " * 9_000_000 + b'"}'
    sent = gzip.compress(body) if packed else body
    with (
        script(lambda _: Answer(status=status, body=sent, packed=packed)) as server,
        pytest.raises(TransientError, match="larger than 400000 bytes"),
    ):
        office.using(server.url).get(office.target, "e")


def test_a_server_that_says_nothing_is_given_up_in_time(office: Office) -> None:
    silent = Event()

    def answer(_: Request) -> Answer:
        silent.wait(10)
        return said(id="o")

    with script(answer) as server:
        with pytest.raises(TransientError, match="did not answer in time"):
            office.using(server.url).get(Target(mailbox=CID, agent=CID, patience=lambda: 0.3), "e")
        assert server.asked
        silent.set()


def test_a_port_where_nobody_listens_is_transient(office: Office) -> None:
    with script(lambda _: said()) as server:
        url = server.url
    with pytest.raises(TransientError, match="could not be reached"):
        office.using(url).get(office.target, "e")


@pytest.mark.parametrize(
    "body",
    [
        {"value": "x"},
        {"value": [7]},
        {"value": []},
        {"value": [], "@odata.nextLink": "a", "@odata.deltaLink": "b"},
        {"value": [], "@odata.nextLink": 7},
        {"value": [], "@odata.deltaLink": ""},
        {"@odata.deltaLink": "a"},
    ],
)
def test_a_page_that_is_none_is_transient(office: Office, body: dict[str, Any]) -> None:
    with script(lambda _: said(id="o", **body)) as server, pytest.raises(TransientError):
        office.using(server.url).delta(office.target, WINDOW)


# ---- every no -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "ErrorInvalidRequest", RejectedError),
        (400, "resyncRequired", DeadCursorError),
        (404, "SyncStateNotFound", DeadCursorError),
        (410, "SyncStateNotFound", DeadCursorError),
        (410, "syncStateInvalid", DeadCursorError),
        (410, "Gone", DeadCursorError),
        (403, "ErrorAccessDenied", ParkedError),
        (403, "Authorization_RequestDenied", AccessError),
        (403, "ErrorSomethingElse", DeniedError),
        (404, "ErrorInvalidUser", ParkedError),
        (404, "Request_ResourceNotFound", ParkedError),
        (404, "MailboxNotEnabledForRESTAPI", ParkedError),
        (404, "MailboxNotSupportedForRESTAPI", ParkedError),
        (404, "ErrorItemNotFound", MissingError),
        (404, "ErrorFolderNotFound", MissingError),
    ],
)
def test_a_no_is_raised_as_what_it_means_after_one_request(
    office: Office, status: int, reason: str, kind: type[Exception]
) -> None:
    link = office.first().delta or ""
    office.server.faults.add(Fault(status=status, reason=reason, path="delta"))
    with pytest.raises(kind) as caught:
        office.graph.follow(office.target, link)
    assert type(caught.value) is kind
    assert len(office.sent) == 3


def test_a_mailbox_that_is_gone_is_parked_already_when_its_id_is_asked_for(office: Office) -> None:
    with pytest.raises(ParkedError, match="the account is gone or renamed"):
        office.graph.delta(office.graph.target(calendar("nobody@acme.example")), WINDOW)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("MailboxNotEnabledForRESTAPI", "no mailbox in the cloud: it is on premises"),
        ("ErrorAccessDenied", "Calendars.Read is not granted, or limited to others"),
        ("ErrorInvalidUser", "the account is gone or renamed"),
    ],
)
def test_a_mailbox_out_of_reach_says_why(office: Office, code: str, why: str) -> None:
    link = office.first().delta or ""
    office.cid.revoke(code)
    with pytest.raises(ParkedError, match=why) as caught:
        office.graph.follow(office.target, link)
    assert caught.value.reason == code
    office.cid.restore()
    office.graph.follow(office.target, link)


def test_one_event_that_is_not_there_is_gone_by_microsofts_own_word(office: Office) -> None:
    made = office.cid.insert(viewing())
    assert office.graph.get(office.target, made["id"])["subject"] == "Viewing"
    office.cid.delete(made["id"])
    with pytest.raises(GoneError, match="answered 404 ErrorItemNotFound"):
        office.graph.get(office.target, made["id"])


# ---- many in one request --------------------------------------------------------------------------------------------


def test_many_events_travel_together_and_each_is_charged_and_answered(office: Office) -> None:
    ids = [office.cid.insert(viewing(f"Viewing {number}", hours=number % 24))["id"] for number in range(30)]
    office.cid.delete(ids[3])
    found = office.graph.get_many(office.target, [*ids, "nothing", ids[0]])
    assert list(found) == [*ids, "nothing"]
    assert isinstance(found[ids[3]], GoneError)
    assert isinstance(found["nothing"], GoneError)
    assert [event for event in ids if event != ids[3] and isinstance(found[event], dict)] == ids[:3] + ids[4:]
    assert [found[event]["id"] for event in ids[4:]] == ids[4:]  # type: ignore[index]
    assert len(office.server.requests("batch")) == 2
    assert len(office.server.requests()) == 31
    assert office.quota.attempts == {Scope.READ: 31}
    assert office.server.high_water(CID) <= 4


def test_of_a_batch_only_what_was_refused_is_asked_again(office: Office) -> None:
    ids = [office.cid.insert(viewing(f"Viewing {number}"))["id"] for number in range(5)]
    office.server.faults.add(Fault(status=429, reason="RequestRate", path=ids[2], nth=(1,), retry_after=3))
    office.server.faults.add(Fault(what=Harm.DROP_AFTER, path=ids[4], nth=(1,)))
    found = office.graph.get_many(office.target, ids)
    assert [isinstance(found[event], dict) for event in ids] == [True] * 5
    assert len(office.server.requests("batch")) == 2
    assert len(office.server.requests()) == 7
    assert office.quota.attempts == {Scope.READ: 7}
    [slept] = office.clock.slept
    assert slept >= 3


def test_what_a_batch_never_answers_says_why(office: Office) -> None:
    ids = [office.cid.insert(viewing(f"Viewing {number}"))["id"] for number in range(3)]
    office.server.faults.add(Fault(status=503, reason="ErrorMailboxStoreUnavailable", path=ids[1]))
    found = office.graph.get_many(office.target, ids)
    assert isinstance(found[ids[0]], dict)
    assert isinstance(found[ids[2]], dict)
    assert isinstance(found[ids[1]], TransientError)
    assert office.quota.attempts == {Scope.READ: 7}


def test_a_batch_that_is_refused_as_a_whole_is_asked_again_as_a_whole(office: Office) -> None:
    ids = [office.cid.insert(viewing(f"Viewing {number}"))["id"] for number in range(3)]
    office.server.faults.add(Fault(kind="batch", status=503, nth=(1,)))
    assert all(isinstance(one, dict) for one in office.graph.get_many(office.target, ids).values())
    assert office.quota.attempts == {Scope.READ: 6}


def test_what_no_budget_is_left_for_is_postponed_and_the_rest_known(office: Office) -> None:
    ids = [office.cid.insert(viewing(f"Viewing {number}"))["id"] for number in range(BATCH + 5)]
    budget = Budget(per_agent_minute=BATCH, share=1.0)
    office.quota = Quota("microsoft", budget, None, clock=office.clock.seconds, sleep=office.clock.sleep)
    found = office.using().get_many(Target(mailbox=CID, agent=CID, patience=lambda: 1.0), ids)
    assert all(isinstance(found[event], dict) for event in ids[:BATCH])
    assert all(isinstance(found[event], PostponedError) for event in ids[BATCH:])


def test_a_batch_without_consent_stops_the_run(office: Office) -> None:
    with pytest.raises(AccessError):
        office.using(token=office.server.token(hours=48, roles=())).get_many(office.target, ["a", "b"])


@pytest.mark.parametrize(
    "responses",
    [
        "x",
        [],
        ["x", 7],
        [{"id": "0"}],
        [{"id": "0", "status": 200, "body": "eA=="}],
        [{"id": "9", "status": 200, "body": {}}],
        [{"id": "0", "status": "200", "body": {}}],
        [{"id": "0", "status": 503, "headers": [], "body": [7]}],
    ],
)
def test_a_batch_in_any_shape_ends_with_an_answer_for_each(office: Office, responses: object) -> None:
    with script(lambda _: said(responses=responses)) as server:
        found = office.using(server.url).get_many(office.target, ["a", "b"])
    assert list(found) == ["a", "b"]
    assert all(isinstance(one, TransientError) for one in found.values())


def test_no_look_up_is_no_request(office: Office) -> None:
    assert office.graph.get_many(office.target, []) == {}
    assert office.quota.attempts == {}


# ---- many at once ---------------------------------------------------------------------------------------------------


def at_once(work: Callable[[int], Any], threads: int = 16) -> list[Any]:
    barrier = Barrier(threads, timeout=60)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


class Crowd:
    """Counts who is inside at once; lets nobody out before `many` were."""

    def __init__(self, many: int) -> None:
        self._many, self._lock, self._full = many, Lock(), Event()
        self.inside = self.most = 0

    def __call__(self, _: Request) -> Answer:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside >= self._many:
                self._full.set()
        self._full.wait(5)
        with self._lock:
            self.inside -= 1
        return said(id="o")


@pytest.mark.parametrize(("allowed", "most"), [(1, 1), (3, 3), (4, 4), (99, 4)])
def test_no_more_requests_for_one_mailbox_are_under_way_than_allowed(office: Office, allowed: int, most: int) -> None:
    crowd = Crowd(most)
    with script(crowd) as server:
        graph = office.using(server.url, at_once=allowed)
        at_once(lambda number: graph.get(office.target, f"e{number}"))
        assert crowd.most == most
        graph.close()


def test_mailboxes_do_not_wait_for_each_other(office: Office) -> None:
    crowd = Crowd(16)
    with script(crowd) as server:
        graph = office.using(server.url)
        targets = [graph.target(calendar(f"agent{number}@acme.example")) for number in range(16)]
        at_once(lambda number: graph.get(targets[number], "e"))
        graph.close()
    assert crowd.most == 16


def test_a_crowded_mailbox_is_asked_less_at_once_and_nobody_sleeps_for_long(office: Office) -> None:
    office.server.set_limits(Limits(concurrent=1))
    graph = office.using(at_once=4)
    made = office.cid.insert(viewing())
    office.server.faults.add(Fault(status=429, reason="MailboxConcurrency", nth=(1, 2), retry_after=300))
    assert {found["subject"] for found in at_once(lambda _: graph.get(office.target, made["id"]), 8)} == {"Viewing"}
    assert graph._slots._limit(CID) < 4
    assert max(office.clock.slept) < 33


def test_who_has_no_time_left_does_not_wait_for_a_place(office: Office) -> None:
    inside, leave = Event(), Event()

    def answer(_: Request) -> Answer:
        inside.set()
        leave.wait(10)
        return said(id="o")

    with script(answer) as server, ThreadPoolExecutor(1) as pool:
        graph = office.using(server.url)
        slow = pool.submit(graph.get, office.target, "e")
        inside.wait(10)
        with pytest.raises(PostponedError, match="the run's time is up"):
            graph.get(Target(mailbox=CID, agent=CID, patience=lambda: 0.05), "f")
        leave.set()
        assert slow.result() == {"id": "o"}
        graph.close()


def test_a_batch_has_a_mailbox_for_itself_because_it_is_carried_out_four_at_a_time(office: Office) -> None:
    inside, leave = Event(), Event()

    def answer(_: Request) -> Answer:
        inside.set()
        leave.wait(10)
        return said(id="o")

    with script(answer) as server, ThreadPoolExecutor(1) as pool:
        graph = office.using(server.url, at_once=4)
        slow = pool.submit(graph.get, office.target, "e")
        inside.wait(10)
        found = graph.get_many(Target(mailbox=CID, agent=CID, patience=lambda: 0.05), ["f"])
        assert isinstance(found["f"], PostponedError)
        assert len(server.asked) == 1
        leave.set()
        assert slow.result() == {"id": "o"}
        graph.close()


def test_sixteen_threads_get_each_mailboxs_own_answers_over_sixteen_connections(office: Office) -> None:
    agents = [f"agent{number}@acme.example" for number in range(64)]
    for agent in agents:
        office.server.mailbox(agent).insert(viewing(agent))
    targets = [office.graph.target(calendar(agent)) for agent in agents]

    def read(thread: int) -> list[tuple[str, list[str]]]:
        mine = targets[thread::16]
        return [(target.agent, subjects(office.graph.view(target, WINDOW).items)) for target in mine for _ in range(5)]

    found = [one for chunk in at_once(read) for one in chunk]
    assert len(found) == 320
    assert [(agent, got) for agent, got in found if got != [agent]] == []
    assert office.server.connections <= 16
    assert office.quota.attempts == {Scope.READ: 320}


def test_a_connection_is_used_again_after_a_no(office: Office) -> None:
    for _ in range(5):
        with pytest.raises(GoneError):
            office.graph.get(office.target, "nothing")
    assert office.server.connections == 1


def test_no_cookie_is_kept(office: Office) -> None:
    with script(lambda _: Answer(body=b'{"id": "o"}', headers=(("Set-Cookie", "a=b; Path=/"),))) as server:
        graph = office.using(server.url)
        graph.get(office.target, "e")
        graph.get(office.target, "f")
        graph.close()
    assert [request.headers.get("cookie") for request in server.asked] == [None, None]


def test_a_clock_that_is_set_back_makes_nobody_sleep(office: Office) -> None:
    office.graph._account.con._previous_request_at = 4e9
    assert office.graph.view(office.target, WINDOW).items == []


def test_no_log_has_a_token_or_a_cursor(office: Office, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    link = office.first().delta or ""
    office.graph.follow(office.target, link)
    office.server.faults.add(Fault(status=404, reason="ErrorInvalidUser"))
    with pytest.raises(ParkedError) as caught:
        office.graph.follow(office.target, link)
    told = f"{caplog.text}{caught.value!r}{office.graph!r}"
    assert [token for token in office.server.accounts._tokens if token in told] == []
    assert "deltatoken" not in told
    assert CID not in told


def test_what_microsoft_publishes_is_what_the_budget_begins_with() -> None:
    published = PUBLISHED["microsoft"]
    assert (published.per_agent_minute, published.per_day, published.share) == (1_000, None, 0.5)
    assert (published.per_agent_minute or 0) * 10 <= 10_000
    assert (published.per_minute or 0) / 6 <= 130_000


def test_a_throttled_project_is_known_from_a_throttled_mailbox(office: Office) -> None:
    office.server.faults.add(Fault(status=429, reason="TooManyRequests", agent=CID, retry_after=400))
    hasty = Target(mailbox=DEE, agent=DEE, patience=lambda: 5.0)
    with pytest.raises((PostponedError, ThrottledError)):
        office.graph.get(Target(mailbox=CID, agent=CID, patience=lambda: 5.0), "e")
    with pytest.raises(PostponedError, match="Microsoft asked to be left alone"):
        office.graph.get(hasty, "e")
