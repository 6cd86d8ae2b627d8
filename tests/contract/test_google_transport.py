"""Requests to Google against the stand-in: one send an attempt, no answer of another calendar, every no understood."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from threading import Barrier
from typing import Any

import orjson
import pytest

from reconciler.errors import AccessError
from reconciler.model import Agent, Calendar
from reconciler.quota import Budget, Quota, Scope
from reconciler.simulator.google import READ, Fault, GoogleSimulator, Harm
from reconciler.simulator.loopback import Answer, Loopback, Request
from reconciler.sources import Caps
from reconciler.sources.answers import (
    DeadCursorError,
    DeniedError,
    GoneError,
    MissingError,
    MovedError,
    ParkedError,
    PostponedError,
    ProviderError,
    ReadOnlyError,
    RejectedError,
    TakenError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.google_auth import SCOPES
from reconciler.sources.google_grants import Exchange, KeySigner, Sender
from reconciler.sources.google_transport import Query, Target, WritableGoogleCalendar
from reconciler.sources.tokens import GrantedTokens, StaticTokens, Tokens
from reconciler.sources.wire import Wire
from tests.discovery import check

ANN = "ann@acme.example"
NOW = datetime(2026, 11, 22, 20, tzinfo=UTC)
NEW = {
    "id": "abcde12345",
    "summary": "Viewing",
    "start": {"dateTime": "2026-11-24T15:00:00Z"},
    "end": {"dateTime": "2026-11-24T16:00:00Z"},
}


@dataclass
class Clock:
    now: datetime = NOW
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> datetime:
        return self.now

    def seconds(self) -> float:
        return self.now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += timedelta(seconds=seconds)


class Office:
    """A stand-in with one agent, and the client that asks it."""

    def __init__(self, server: GoogleSimulator, clock: Clock) -> None:
        self.server, self.clock = server, clock
        self.calendar = server.calendar(ANN)
        self.wire = Wire(caps=Caps(bytes=200_000))
        self.quota = Quota("google", Budget(), None, clock=clock.seconds, sleep=clock.sleep)
        self.api = self.using(self.delegated())
        self.ann = Target(agent=ANN, calendar="primary")

    def delegated(self) -> Tokens:
        from google.auth.crypt import RSASigner

        info: dict[str, Any] = self.server.service_account_info()
        make: Callable[[dict[str, Any]], RSASigner] = RSASigner.from_service_account_info
        signer = KeySigner(info["client_email"], info["client_id"], make(info))
        sender = Sender(self.wire, self.quota, self.clock.seconds)
        return GrantedTokens(Exchange(signer, self.server.token_uri, sender), self.clock.seconds, scopes=SCOPES)

    def using(self, tokens: Tokens, url: str = "") -> WritableGoogleCalendar:
        return WritableGoogleCalendar(url or self.server.url, tokens, self.quota, self.wire, clock=self.clock.seconds)

    @property
    def sent(self) -> list[str]:
        return [entry.method for entry in self.server.requests()]


@pytest.fixture
def office() -> Iterator[Office]:
    clock = Clock()
    with GoogleSimulator(clock=clock) as server:
        office = Office(server, clock)
        yield office
        office.api.close()


def listed(office: Office) -> dict[str, object]:
    return office.api.list(office.ann, {"singleEvents": False, "showDeleted": True})


# ---- what is asked --------------------------------------------------------------------------------------------------


def test_a_page_is_asked_for_as_google_recommends(office: Office) -> None:
    made = office.calendar.insert(NEW)
    page = office.api.list(office.ann, {"timeMin": "2026-11-15T00:00:00Z", "syncToken": None, "showDeleted": True})
    assert [item["id"] for item in page["items"]] == [made["id"]]  # type: ignore[attr-defined]
    [entry] = office.server.requests()
    assert entry.quota_user == hashlib.sha1(ANN.encode(), usedforsecurity=False).hexdigest()[:32]
    assert ANN not in entry.quota_user
    assert {name: values for name, values in entry.query.items() if name not in {"fields", "quotaUser"}} == {
        "alt": ["json"],
        "prettyPrint": ["false"],
        "timeMin": ["2026-11-15T00:00:00Z"],
        "showDeleted": ["true"],
    }
    [mask] = entry.query["fields"]
    assert {"nextPageToken", "nextSyncToken", "accessRole", "kind"} <= set(mask.partition("items(")[0].split(","))


def test_an_address_stays_short_enough_to_be_a_get(office: Office) -> None:
    asked: list[tuple[str, int]] = []

    def handle(request: Request) -> Answer:
        asked.append((request.method, len(request.path) + sum(len(f"&{k}={v[0]}") for k, v in request.query.items())))
        return Answer(body=b'{"kind": "calendar#events", "items": []}')

    with Loopback(handle) as server:
        api = office.using(StaticTokens("t"), f"http://127.0.0.1:{server.port}/calendar/v3/")
        calendar = f"{'c' * 64}@group.calendar.google.com"
        query: Query = {"singleEvents": False, "showDeleted": True, "maxResults": 250, "pageToken": "p" * 200}
        api.list(Target(agent=ANN, calendar=calendar), {**query, "syncToken": "s" * 200})
        api.list(Target(agent=ANN, calendar=calendar), {"syncToken": "s" * 3000})
    assert asked[0][0] == "GET"
    assert asked[0][1] < 1700
    assert asked[1][0] == "GET", "a longer one is a POST that says it is a GET, and the stand-in takes it for one"


def test_one_event_comes_masked_or_whole(office: Office) -> None:
    office.calendar.insert({**NEW, "guestsCanModify": True})
    assert "guestsCanModify" not in office.api.get(office.ann, "abcde12345")
    assert office.api.get(office.ann, "abcde12345", whole=True)["guestsCanModify"] is True


def test_occurrences_of_a_series_are_pages_too(office: Office) -> None:
    start = {"dateTime": "2026-11-24T15:00:00Z", "timeZone": "UTC"}
    end = {"dateTime": "2026-11-24T16:00:00Z", "timeZone": "UTC"}
    office.calendar.insert({**NEW, "start": start, "end": end, "recurrence": ["RRULE:FREQ=DAILY;COUNT=3"]})
    page = office.api.instances(office.ann, "abcde12345", {"maxResults": 2})
    assert page["kind"] == "calendar#events"
    assert [item["recurringEventId"] for item in page["items"]] == ["abcde12345"] * 2  # type: ignore[attr-defined]
    original: Query = {"originalStart": "2026-11-25T15:00:00Z", "showDeleted": True}
    found = office.api.instances(office.ann, "abcde12345", original)["items"]
    assert [item["id"] for item in found] == ["abcde12345_20261125T150000Z"]  # type: ignore[attr-defined]


def test_ids_stay_in_their_place_whatever_is_in_them(office: Office) -> None:
    for event in ("a/b", "../../acl", "a?b=c", "a#b", "%2e%2e", "ä b"):
        with pytest.raises(MissingError):
            office.api.get(Target(agent=ANN, calendar="primary"), event)
    assert {tuple(entry.path.split("/")[:6]) for entry in office.server.requests()} == {
        ("", "calendar", "v3", "calendars", "primary", "events")
    }


@pytest.mark.parametrize(
    ("tokens", "name", "asked"),
    [
        (StaticTokens("t"), "primary", ANN),
        (StaticTokens("t", alone=True), "primary", "primary"),
        (StaticTokens("t"), "team@group.calendar.example", "team@group.calendar.example"),
    ],
)
def test_primary_is_asked_for_only_with_a_token_of_the_agents_own(
    office: Office, tokens: Tokens, name: str, asked: str
) -> None:
    calendar = Calendar(source="google", kind="google", agent=Agent(email=ANN), name=name)
    target = office.using(tokens).target(calendar, lambda: 7.0)
    assert (target.agent, target.calendar, target.patience()) == (ANN, asked, 7.0)


# ---- one send an attempt --------------------------------------------------------------------------------------------


def test_a_create_whose_answer_is_lost_was_sent_once_and_is_unknown(office: Office) -> None:
    office.server.faults.add(Fault(what=Harm.DROP_AFTER, method="POST", nth=(1,)))
    with pytest.raises(TransientError):
        office.api.insert(office.ann, NEW)
    assert office.sent == ["POST"]
    assert office.api.get(office.ann, "abcde12345")["summary"] == "Viewing"


@pytest.mark.parametrize(
    "what", [Harm.DROP_BEFORE, Harm.DROP_AFTER, Harm.CUT, Harm.TORN_GZIP, Harm.TORN_JSON, Harm.HTML]
)
def test_no_write_is_sent_twice(office: Office, what: Harm) -> None:
    made = office.calendar.insert(NEW)
    office.server.faults.add(Fault(what=what, method="POST PUT DELETE", status=200))
    writes: list[Callable[[], object]] = [
        lambda: office.api.insert(office.ann, {**NEW, "id": "fghij67890"}),
        lambda: office.api.update(office.ann, made["id"], NEW, etag=made["etag"]),
    ]
    for write in writes:
        with pytest.raises(TransientError):
            write()
    assert office.sent == ["POST", "PUT"]
    assert office.quota.attempts[Scope.WRITE] == 2
    assert office.clock.slept == []


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=503),
        Fault(status=500),
        Fault(status=429, reason="rateLimitExceeded"),
        Fault(status=403, reason="rateLimitExceeded"),
        Fault(what=Harm.NEW_STYLE, status=403, reason="rateLimitExceeded"),
        Fault(what=Harm.HTML, status=200),
        Fault(what=Harm.HTML, status=502),
        Fault(what=Harm.DROP_BEFORE),
        Fault(what=Harm.CUT),
        Fault(what=Harm.TORN_GZIP),
        Fault(what=Harm.TORN_JSON),
        Fault(what=Harm.OTHER_KIND),
    ],
    ids=lambda fault: f"{fault.what} {fault.status}",
)
def test_a_read_is_tried_again_by_the_quota_alone_and_each_attempt_is_charged(office: Office, fault: Fault) -> None:
    office.server.faults.add(Fault(**{**fault_fields(fault), "nth": (1, 2)}))
    assert listed(office)["kind"] == "calendar#events"
    assert office.sent == ["GET"] * 3
    assert office.quota.attempts[Scope.READ] == 3
    assert len(office.clock.slept) == 2


def fault_fields(fault: Fault) -> dict[str, Any]:
    return {"what": fault.what, "status": fault.status, "reason": fault.reason}


def test_retry_after_is_kept_to(office: Office) -> None:
    office.server.faults.add(Fault(status=503, nth=(1,), retry_after=NOW + timedelta(seconds=120)))
    office.server.faults.add(Fault(status=429, nth=(1,), retry_after=40))
    listed(office)
    first, second = office.clock.slept
    assert first >= 119
    assert second >= 40


def test_what_never_gets_better_is_given_up_with_what_it_was(office: Office) -> None:
    office.server.faults.add(Fault(status=503))
    with pytest.raises(TransientError, match="answered 503 backendError"):
        listed(office)
    assert len(office.sent) == 5


def test_nothing_is_sent_when_there_is_no_time_left(office: Office) -> None:
    with pytest.raises(PostponedError):
        office.api.list(Target(agent=ANN, calendar="primary", patience=lambda: 0.0), {})
    assert office.sent == []


def test_an_answer_without_end_is_transient(office: Office) -> None:
    with Loopback(lambda _: Answer(body=b'{"kind": "calendar#events", "x": "' + b" " * 9_000_000 + b'"}')) as server:
        api = office.using(StaticTokens("t"), f"http://127.0.0.1:{server.port}/calendar/v3/")
        with pytest.raises(TransientError, match="larger than 200000 bytes"):
            api.list(office.ann, {})


def test_the_client_library_alone_can_send_nothing(office: Office) -> None:
    events: Any = office.api._events
    with pytest.raises(TypeError):
        events.list(calendarId="primary").execute()
    assert office.server.connections == 0


# ---- every no -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "reason", "kind"),
    [
        (400, "invalid", RejectedError),
        (403, "forbidden", DeniedError),
        (403, "notACalendarUser", ParkedError),
        (403, "accessNotConfigured", AccessError),
        (403, "dailyLimitExceeded", PostponedError),
        (404, "notFound", MissingError),
        (410, "fullSyncRequired", DeadCursorError),
        (410, "deleted", GoneError),
        (412, "conditionNotMet", MovedError),
    ],
)
def test_a_no_is_raised_as_what_it_means_after_one_request(
    office: Office, status: int, reason: str, kind: type[Exception]
) -> None:
    office.server.faults.add(Fault(status=status, reason=reason))
    with pytest.raises(kind):
        listed(office)
    assert office.sent == ["GET"]


def test_a_cursor_that_google_does_not_know_is_dead_however_it_says_so(office: Office) -> None:
    with pytest.raises((DeadCursorError, RejectedError)) as caught:
        office.api.list(office.ann, {"syncToken": "nonsense", "showDeleted": True})
    assert isinstance(caught.value, DeadCursorError)


def test_an_abuse_limit_stops_writes_and_no_reads(office: Office) -> None:
    office.server.faults.add(Fault(status=403, reason="quotaExceeded", method="POST"))
    with pytest.raises(ReadOnlyError):
        office.api.insert(office.ann, NEW)
    assert listed(office)["items"] == []


def test_a_write_that_came_too_fast_was_not_carried_out_and_is_sent_again(office: Office) -> None:
    office.server.faults.add(Fault(status=403, reason="rateLimitExceeded", method="POST", nth=(1,)))
    assert office.api.insert(office.ann, NEW)["status"] == "confirmed"
    assert office.sent == ["POST", "POST"]


def test_a_limit_that_stays_is_throttling(office: Office) -> None:
    office.server.faults.add(Fault(status=403, reason="userRateLimitExceeded"))
    with pytest.raises((ThrottledError, PostponedError)):
        listed(office)
    assert len(office.sent) <= 5


def test_a_redirect_is_not_followed_and_no_token_goes_there(office: Office) -> None:
    with GoogleSimulator() as elsewhere:
        office.server.faults.add(Fault(what=Harm.REDIRECT, status=302, location=elsewhere.url))
        with pytest.raises(DeniedError, match=r"answered with a redirect \(HTTP 302\), which is not followed"):
            listed(office)
        assert elsewhere.connections == 0


# ---- tokens ---------------------------------------------------------------------------------------------------------


def test_a_token_that_google_withdrew_is_renewed_once(office: Office) -> None:
    listed(office)
    office.server.accounts.withdraw(ANN)
    assert listed(office)["kind"] == "calendar#events"
    assert [entry.status for entry in office.server.requests()] == [200, 401, 200]
    assert len(office.server.requests("token")) == 2


def test_a_token_that_is_refused_again_is_a_no(office: Office) -> None:
    office.server.faults.add(Fault(status=401, reason="authError"))
    with pytest.raises(DeniedError, match=r"does not accept the token \(answered 401 authError\)"):
        listed(office)
    assert (len(office.sent), len(office.server.requests("token"))) == (2, 2)


def test_a_token_as_it_is_is_not_tried_twice(office: Office) -> None:
    api = office.using(StaticTokens("ya29.gone"))
    with pytest.raises(DeniedError, match="does not accept the token"):
        api.list(Target(agent=ANN, calendar=ANN), {})
    assert office.sent == ["GET"]


def test_a_write_with_a_stale_token_was_not_carried_out_and_is_sent_with_the_next(office: Office) -> None:
    office.api.insert(office.ann, NEW)
    office.server.accounts.withdraw(ANN)
    office.api.insert(office.ann, {**NEW, "id": "fghij67890"})
    assert [entry.status for entry in office.server.requests()] == [200, 401, 200]


def test_reading_cannot_write(office: Office) -> None:
    api = office.using(StaticTokens(office.server.token(ANN, {READ}), alone=True))
    assert api.list(office.ann, {})["kind"] == "calendar#events"
    with pytest.raises(DeniedError, match="answered 403 insufficientPermissions"):
        api.insert(office.ann, NEW)


def test_no_representation_and_no_log_has_a_token_and_none_above_debug_a_cursor(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    cursor = str(listed(office)["nextSyncToken"])
    office.server.faults.add(Fault(status=403, reason="rateLimitExceeded", nth=(1,)))
    office.api.list(office.ann, {"singleEvents": False, "showDeleted": True, "syncToken": cursor})
    office.server.faults.add(Fault(status=404, reason="notFound"))
    with pytest.raises(MissingError) as caught:
        office.api.get(office.ann, "x")
    said = f"{office.api!r}{office.wire!r}{caught.value!r}{caught.value.__context__!r}{caplog.text}"
    assert [token for token in office.server.accounts._tokens if token in said] == []
    loud = [record.getMessage() for record in caplog.records if record.levelno > logging.DEBUG]
    assert [message for message in loud if cursor in message or "syncToken" in message] == []


# ---- writes ---------------------------------------------------------------------------------------------------------


def test_an_event_is_created_replaced_and_deleted_under_its_version(office: Office) -> None:
    made = office.api.insert(office.ann, NEW)
    changed = office.api.update(office.ann, "abcde12345", {**NEW, "summary": "Second viewing"}, etag=str(made["etag"]))
    assert (changed["summary"], changed["kind"]) == ("Second viewing", "calendar#event")
    with pytest.raises(MovedError):
        office.api.update(office.ann, "abcde12345", NEW, etag=str(made["etag"]))
    with pytest.raises(MovedError):
        office.api.delete(office.ann, "abcde12345", etag=str(made["etag"]))
    office.api.delete(office.ann, "abcde12345", etag=str(changed["etag"]))
    with pytest.raises(GoneError):
        office.api.delete(office.ann, "abcde12345", etag=str(changed["etag"]))
    with pytest.raises(TakenError):
        office.api.insert(office.ann, NEW)


def test_no_write_lets_google_tell_anybody_and_none_is_without_a_version(office: Office) -> None:
    made = office.api.insert(office.ann, NEW)
    office.api.update(office.ann, "abcde12345", NEW, etag=str(made["etag"]))
    office.api.delete(office.ann, "abcde12345", etag=str(office.api.get(office.ann, "abcde12345")["etag"]))
    writes = [entry for entry in office.server.requests() if entry.method != "GET"]
    assert [(entry.method, entry.query["sendUpdates"]) for entry in writes] == [
        ("POST", ["none"]),
        ("PUT", ["none"]),
        ("DELETE", ["none"]),
    ]
    for write in (
        lambda: office.api.update(office.ann, "abcde12345", NEW, etag=""),
        lambda: office.api.delete(office.ann, "abcde12345", etag=""),
    ):
        with pytest.raises(ValueError, match="needs the version"):
            write()


def test_a_version_that_no_header_can_carry_is_not_sent(office: Office) -> None:
    office.calendar.insert(NEW)
    for etag in ('"1"\r\nx: y', '"\u2603"'):
        with pytest.raises(ProviderError):
            office.api.delete(office.ann, "abcde12345", etag=etag)
    assert office.sent == []


def test_what_is_sent_is_what_google_describes(office: Office) -> None:
    bodies: list[bytes] = []

    def handle(request: Request) -> Answer:
        bodies.append(request.body)
        return Answer(body=b'{"kind": "calendar#event"}')

    with Loopback(handle) as server:
        api = office.using(StaticTokens("t"), f"http://127.0.0.1:{server.port}/calendar/v3/")
        api.insert(office.ann, {**NEW, "summary": "Zoë 🏡"})
        api.update(office.ann, "abcde12345", NEW, etag='"1"')
    for body in bodies:
        check("Event", orjson.loads(body))
    assert orjson.loads(bodies[0])["summary"] == "Zoë 🏡"


# ---- many at once ---------------------------------------------------------------------------------------------------


def test_sixteen_threads_get_each_calendars_own_answers(office: Office) -> None:
    agents = [f"agent{number}@acme.example" for number in range(200)]
    for agent in agents:
        office.server.calendar(agent).insert({**NEW, "id": hashlib.sha1(agent.encode()).hexdigest(), "summary": agent})  # noqa: S324
    barrier = Barrier(16, timeout=60)

    def read(thread: int) -> list[tuple[str, object]]:
        barrier.wait()
        return [(agent, summary(agent)) for agent in agents[thread::16] for _ in range(4)]

    def summary(agent: str) -> object:
        page: Any = office.api.list(Target(agent=agent, calendar="primary"), {"showDeleted": True})
        return [item["summary"] for item in page["items"]]

    before = office.server.connections
    with ThreadPoolExecutor(16) as pool:
        read_ones = [one for chunk in pool.map(read, range(16)) for one in chunk]
    assert len(read_ones) == 800
    assert [(agent, got) for agent, got in read_ones if got != [agent]] == []
    assert len(office.server.requests("token")) == 200
    assert office.server.connections - before <= 16
    assert office.quota.attempts == {Scope.READ: 800, Scope.TOKEN: 200}
