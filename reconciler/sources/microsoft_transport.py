"""Requests to Microsoft Graph, and its answers: an attempt is one send that `quota` has charged, and never two.

O365's connection sends and does nothing else. An answer is the JSON that was asked for, or an error of `answers`. For
one mailbox only so many requests are under way at once; links are followed only back to where they came from.
"""

from __future__ import annotations

import math
import re
import threading
import time
from base64 import urlsafe_b64decode
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final, TypeAlias
from urllib.parse import SplitResult, quote, unquote, urlencode

import orjson

from reconciler import text
from reconciler.config import WrongError
from reconciler.config.hosts import split
from reconciler.errors import AccessError
from reconciler.model import Calendar, Window, rfc3339
from reconciler.quota import Quota, Scope, forever
from reconciler.sources.answers import (
    DeniedError,
    ExpiredTokenError,
    PostponedError,
    ProviderError,
    RejectedError,
    RetryableError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.microsoft_faults import CROWDED, Asked, fault, meaning, refusal_of

if TYPE_CHECKING:
    from reconciler.sources.microsoft_auth import GraphAccount

Json: TypeAlias = dict[str, object]
Query: TypeAlias = Mapping[str, str | int]
Found: TypeAlias = Json | ProviderError | PostponedError
"""What became of one look-up among many."""

PRIMARY: Final = "primary"
PAGE: Final = 200  # events of a page, at most
INSTANCES: Final = 500  # occurrences of a page of one series
MOST_PAGES: Final = 200  # of one series
BATCH: Final = 20  # requests in one batch (json-batching)
MOST_AT_ONCE: Final = 4  # of one application for one mailbox (throttling-limits)
LONGEST_LINK: Final = 16_384
JSON_TYPE: Final = "application/json; charset=utf-8"  # O365 spells out itself what is plainly application/json

PLAIN: Final = Asked(now=0.0)
"""Nothing that changes what an answer means. The time is put in when there is an answer."""

_LONGEST_ROLE: Final = 100
_SUCCESS: Final = 2
_PORTS: Final = {"http": 80, "https": 443}
_OF_MAILBOX: Final = re.compile(r"users(/|\('[^']+'\)/)", re.ASCII | re.IGNORECASE)
_ID: Final = re.compile(r"[A-Za-z0-9-]{1,64}", re.ASCII)
_BAD_TOKEN: Final = {"", "invalidauthenticationtoken", "compacttoken", "unauthenticated"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a request is about: which mailbox, on behalf of which agent, which calendar in it, how long it may take.

    `calendar_path` is empty for the mailbox's own calendar, else what goes before `events` and `calendarView`.
    """

    mailbox: str
    agent: str
    calendar_path: str = ""
    patience: Callable[[], float] = forever


@dataclass(frozen=True, slots=True)
class Page:
    """One page: what is in it, where it goes on, and where the next round begins. Both links are opaque."""

    items: list[Json]
    next: str | None = None
    delta: str | None = None


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may take several attempts, and what decides about its answers. With `content` it has JSON."""

    target: Target
    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None = field(default=None, repr=False)
    asked: Asked = PLAIN
    content: bool = True
    batch: _Batch | None = field(default=None, repr=False)


def prefer(size: int | None = None) -> dict[str, str]:
    """Return what every request asks for: none of it is remembered from one to the next (outlook-immutable-id)."""
    wishes = ['IdType="ImmutableId"', 'outlook.timezone="UTC"', 'outlook.body-content-type="text"']
    if size is not None:
        wishes.append(f"odata.maxpagesize={size}")
    return {"Prefer": ", ".join(wishes), "Accept": "application/json"}


class Graph:
    """The reading half of Graph's calendars. Safe to use from several threads; `close` ends all connections.

    All methods raise ProviderError, PostponedError and AccessError, and nothing else for whatever a server answers.
    `at_once` bounds the requests for one mailbox that are under way; Microsoft allows four.
    """

    def __init__(
        self, account: GraphAccount, quota: Quota, *, clock: Callable[[], float] = time.time, at_once: int = 1
    ) -> None:
        self._account = account
        self._endpoint: str = account.protocol.service_url
        self.quota = quota
        self._clock = clock
        self._slots = _Slots(max(1, min(at_once, MOST_AT_ONCE)))
        self._ids: dict[str, str] = {}

    def target(self, calendar: Calendar, patience: Callable[[], float] = forever) -> Target:
        """Say how Graph is asked about `calendar`."""
        agent = calendar.agent.email
        own = calendar.name in {PRIMARY, agent}
        path = "" if own else f"calendars/{quote(calendar.name, safe='')}/"
        return Target(mailbox=agent, agent=agent, calendar_path=path, patience=patience)

    def user(self, target: Target) -> str:
        """Return the mailbox's object id, which stays when its address changes.

        An application that may read calendars and not people has no way to know it: then it is the address.
        """
        if target.mailbox not in self._ids:
            self._ids[target.mailbox] = self._looked_up(target)
        return self._ids[target.mailbox]

    def delta(self, target: Target, window: Window, size: int = PAGE) -> Page:
        """Return the first page of a round that reads `window` whole, by object id: its links survive a rename."""
        self.user(target)
        url = self.address(target, "calendarView/delta", _span(window))
        return _page(self._get(target, url, replace(PLAIN, cursor=True), size), ends=True)

    def follow(self, target: Target, link: str, size: int = PAGE) -> Page:
        """Return the page behind a link of an earlier one, used as it is. RejectedError if it leads elsewhere."""
        return _page(self._get(target, self._checked(link), replace(PLAIN, cursor=True), size), ends=True)

    def view(self, target: Target, window: Window, link: str | None = None, size: int = PAGE) -> Page:
        """Return a page of the events in `window`, or the one behind `link`."""
        # No $select: with one, Graph leaves out when an event was made and changed (user-list-calendarview).
        first = self.address(target, "calendarView", {**_span(window), "$top": size})
        return _page(self._get(target, first if link is None else self._checked(link), PLAIN, size))

    def instances(self, target: Target, series: str, window: Window) -> list[Json]:
        """Return all occurrences of a series in `window`."""
        url = f"{self.event(target, series)}/instances?{urlencode({**_span(window), '$top': INSTANCES})}"
        asked = replace(PLAIN, item=True)
        found: list[Json] = []
        seen: set[str] = set()
        while url:
            if url in seen or len(seen) == MOST_PAGES:
                raise TransientError("answered with occurrences of a series that do not end")
            seen.add(url)
            page = _page(self._get(target, url, asked, INSTANCES))
            found += page.items
            url = self._checked(page.next) if page.next else ""
        return found

    def get(self, target: Target, event: str) -> Json:
        """Return one event; GoneError when Microsoft states that there is none."""
        return self._get(target, self.event(target, event), replace(PLAIN, item=True))

    def look(self, target: Target, url: str, *, item: bool = False) -> Json:
        """Return what is at an address, of one `item` or of many. RejectedError for a link that leads elsewhere."""
        return self._get(target, self._checked(url), replace(PLAIN, item=item))

    def get_many(self, target: Target, events: Iterable[str]) -> dict[str, Found]:
        """Look events up, many in one request; each has an entry, which may be why it is not known."""
        ids = list(dict.fromkeys(events))
        call = Call(target, "post", f"{self._endpoint}$batch", {**prefer(), "Content-type": JSON_TYPE})
        root = len(self._endpoint) - 1  # inside a batch, addresses begin after the version
        found: dict[str, Found] = {}
        for first in range(0, len(ids), BATCH):
            urls = {event: self.event(target, event)[root:] for event in ids[first : first + BATCH]}
            found |= _Batch(self, target, urls).answers(call)
        return {event: found[event] for event in ids}

    def rights(self, target: Target) -> frozenset[str]:
        """Return what its token says that the application may do; empty where it says nothing of it.

        Permissions that Exchange gives for some mailboxes alone (RBAC for Applications) are in no token (facts §6.1).
        """
        return roles_in(self._account.tokens.token(target.agent, patience=target.patience))

    def close(self) -> None:
        """Close all connections."""
        self._account.con.close()

    # ---- addresses --------------------------------------------------------------------------------------------------

    def address(self, target: Target, rest: str, query: Query | None = None) -> str:
        """Return where something of a target's calendar is."""
        mailbox = quote(self._ids.get(target.mailbox, target.mailbox), safe="")
        asked = f"?{urlencode(query)}" if query else ""
        return f"{self._endpoint}users/{mailbox}/{target.calendar_path}{rest}{asked}"

    def event(self, target: Target, event: str) -> str:
        """Return where one event of it is. Ids are case-sensitive and may hold a slash."""
        return self.address(target, f"events/{quote(event, safe='')}")

    def _checked(self, link: str) -> str:
        """Return a link if it leads back to Graph, to something of a mailbox: whoever it leads to gets the token."""
        if len(link) <= LONGEST_LINK and _leads_back(link, self._endpoint):
            return link
        raise RejectedError("gave a link that leads elsewhere, which is not followed", reason="link")

    # ---- sending ----------------------------------------------------------------------------------------------------

    def send(self, call: Call) -> Json:
        """Send as often as `quota` finds right; a token that is not valid any more is renewed once."""
        tokens, target = self._account.tokens, call.target
        # Asked for before anything is charged: while the sign-in is down, nothing is.
        stale = tokens.token(target.agent, write=call.asked.write, patience=target.patience)
        try:
            return self._sent(call)
        except ExpiredTokenError as error:
            if not tokens.forget(target.agent, stale, write=call.asked.write):
                raise _unwelcome(error) from None
        try:
            return self._sent(call)
        except ExpiredTokenError as error:
            raise _unwelcome(error) from None

    def charge(self, target: Target, attempts: int) -> None:
        """Charge attempts that travel inside of another one."""
        for _ in range(attempts):
            self.quota.call(_nothing, agent=target.agent, patience=target.patience)

    def _sent(self, call: Call) -> Json:
        target, scope = call.target, Scope.WRITE if call.asked.write else Scope.READ
        return self.quota.call(lambda: self._attempt(call), agent=target.agent, scope=scope, patience=target.patience)

    def _attempt(self, call: Call) -> Json:
        """Send once, when the mailbox has room for it."""
        mailbox, patience = call.target.mailbox, call.target.patience
        with self._slots.taken(mailbox, patience, whole=call.batch is not None):
            try:
                return self._once(call)
            except ThrottledError as error:
                if error.reason == CROWDED:
                    self._slots.crowded(mailbox)
                raise

    def _once(self, call: Call) -> Json:
        """Send with a token that is good now, however long it took to get here."""
        target, batch = call.target, call.batch
        token = self._account.tokens.token(target.agent, write=call.asked.write, patience=target.patience)
        body = call.body if batch is None else batch.body()
        answer = self._account.con.once(
            call.method, call.url, call.headers, body, token=token, seconds=target.patience()
        )
        now = self._clock()
        if answer.status // 100 != _SUCCESS:
            raise fault(answer, replace(call.asked, now=now))
        said = _object(answer.body) if call.content else {}
        if batch is not None:
            batch.hear(said, now)
        return said

    def _get(self, target: Target, url: str, asked: Asked, size: int | None = None) -> Json:
        return self.send(Call(target, "get", url, prefer(size), asked=asked))

    def _looked_up(self, target: Target) -> str:
        url = f"{self._endpoint}users/{quote(target.mailbox, safe='')}?%24select=id"
        try:
            found = self._get(target, url, replace(PLAIN, directory=True)).get("id")
        except DeniedError:
            return target.mailbox
        if not isinstance(found, str) or not _ID.fullmatch(found):
            raise TransientError("answered a question for a person's id without one")
        return found


# ---- many in one request --------------------------------------------------------------------------------------------


class _Batch:
    """Look-ups that travel together. Each is charged, answered and refused by itself (json-batching).

    Whether the request as a whole succeeds says nothing about any of them. What should be asked again is asked again
    alone, by the same loop as everything else.
    """

    def __init__(self, graph: Graph, target: Target, urls: Mapping[str, str]) -> None:
        self._graph, self._target, self._urls = graph, target, urls
        self._pending = {str(number): event for number, event in enumerate(urls)}
        self._found: dict[str, Found] = {}
        self._owed = 1 - len(urls)  # what is charged before the first attempt, apart from that itself

    def answers(self, call: Call) -> dict[str, Found]:
        """Ask until each has its answer, or there is a reason why not."""
        try:
            self._graph.charge(self._target, len(self._urls) - 1)
            self._graph.send(replace(call, batch=self))
            self._graph.charge(self._target, self._owed)
        except (ProviderError, PostponedError) as error:
            self._found |= dict.fromkeys(self._pending.values(), error)
        return self._found

    def body(self) -> bytes:
        """Write down what is still to be answered; what this attempt holds beyond one is owed."""
        self._owed += len(self._pending) - 1
        asked = [
            {"id": number, "method": "GET", "url": self._urls[event], "headers": prefer()}
            for number, event in self._pending.items()
        ]
        return orjson.dumps({"requests": asked})

    def hear(self, said: Json, now: float) -> None:
        """Take the answers in. Raises what makes the rest worth asking again."""
        answers = said.get("responses")
        if not isinstance(answers, list):
            raise TransientError("answered a batch with something else")
        refusals = [error for answer in answers if (error := self._take(answer, now)) is not None]
        if self._pending:
            refusals.append(TransientError("left a part of a batch unanswered"))
            raise max(refusals, key=_weight)

    def _take(self, answer: object, now: float) -> ProviderError | AccessError | None:
        """Take one answer in; return what it is instead where it is worth asking again, or concerns everything."""
        number = str(answer.get("id")) if isinstance(answer, dict) else ""
        if not isinstance(answer, dict) or number not in self._pending:
            return None
        found = _heard(answer, now)
        if isinstance(found, RetryableError | ExpiredTokenError | AccessError):
            return found
        self._found[self._pending.pop(number)] = found
        return None


def _heard(answer: Json, now: float) -> Json | ProviderError | AccessError:
    """Return what one answer of a batch says."""
    status, body, headers = answer.get("status"), answer.get("body"), answer.get("headers")
    if not isinstance(status, int):
        return TransientError("answered a part of a batch with something else")
    if status // 100 == _SUCCESS:
        return body if isinstance(body, dict) else TransientError("answered with something else than was asked for")
    named = headers if isinstance(headers, dict) else {}
    lower = {str(name).lower(): str(value) for name, value in named.items()}
    return meaning(refusal_of(status, lower, body, now), Asked(now=now, item=True))


def _weight(error: Exception) -> tuple[bool, bool, float]:
    """Rank what is said of several: first what concerns all, then who asks to be left alone for longest."""
    return (
        not isinstance(error, RetryableError),
        isinstance(error, ThrottledError),
        getattr(error, "after", None) or 0.0,
    )


# ---- how many at once -----------------------------------------------------------------------------------------------


class _Slots:
    """How many requests for each mailbox may be under way. Who waits for one mailbox waits for that one alone."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._changed = threading.Condition()
        self._busy: dict[str, int] = {}
        self._fewer: dict[str, int] = {}

    @contextmanager
    def taken(self, mailbox: str, patience: Callable[[], float], *, whole: bool) -> Iterator[None]:
        """Hold a place; with `whole` all of them, for a batch is carried out several at a time."""
        held = self._take(mailbox, patience(), whole=whole)
        try:
            yield
        finally:
            with self._changed:
                self._busy[mailbox] -= held
                if not self._busy[mailbox]:
                    del self._busy[mailbox]
                self._changed.notify_all()

    def crowded(self, mailbox: str) -> None:
        """Ask less of a mailbox at once from now on: that is what its refusal means, and not to wait (facts §4)."""
        with self._changed:
            self._fewer[mailbox] = max(1, self._limit(mailbox) // 2)

    def _take(self, mailbox: str, seconds: float, *, whole: bool) -> int:
        def fits() -> bool:
            busy = self._busy.get(mailbox, 0)
            return busy == 0 if whole else busy < self._limit(mailbox)

        with self._changed:
            if not self._changed.wait_for(fits, None if math.isinf(seconds) else max(0.0, seconds)):
                raise PostponedError("the run's time is up")
            held = self._limit(mailbox) if whole else 1
            self._busy[mailbox] = self._busy.get(mailbox, 0) + held
            return held

    def _limit(self, mailbox: str) -> int:
        return self._fewer.get(mailbox, self._most)


def _nothing() -> None:
    """Stand for an attempt that another one carries."""


# ---- what comes back ------------------------------------------------------------------------------------------------


def _span(window: Window) -> dict[str, str | int]:
    return {"startDateTime": rfc3339(window.start), "endDateTime": rfc3339(window.end)}


def _object(body: bytes) -> Json:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise TransientError("answered with something else than was asked for")
    return said


def _page(said: Json, *, ends: bool = False) -> Page:
    """Read a page; with `ends` one that has to say where it goes on or where the next round begins."""
    items, further, delta = said.get("value"), said.get("@odata.nextLink"), said.get("@odata.deltaLink")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise TransientError("answered with something else than a page")
    if ends and (further is None) == (delta is None):
        raise TransientError("answered with a page that neither goes on nor ends")
    return Page(items, _link(further), _link(delta))


def _link(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return value
    raise TransientError("answered with a page whose link is none")


def _leads_back(link: str, endpoint: str) -> bool:
    try:
        there, here = split(link), split(endpoint)
    except WrongError:
        return False
    return (
        _origin(there) == _origin(here)
        and "@" not in there.netloc
        and not there.fragment
        and there.path.startswith(here.path)
        and _is_of_mailbox(there.path.removeprefix(here.path))
    )


def _origin(parts: SplitResult) -> tuple[str, str, int | None]:
    return parts.scheme, (parts.hostname or "").lower(), parts.port or _PORTS.get(parts.scheme)


def _is_of_mailbox(path: str) -> bool:
    """Tell whether a path stays in one mailbox. Graph was seen to leave the mailbox's name out (facts §7)."""
    names = {unquote(name) for name in path.split("/")}
    return bool(_OF_MAILBOX.match(path)) and names.isdisjoint({"", ".", ".."})


def _unwelcome(error: ExpiredTokenError) -> ProviderError | AccessError:
    """Tell a token that nobody accepts from a mailbox that accepts none."""
    if error.reason.lower() in _BAD_TOKEN:
        return AccessError(
            f"Microsoft {error} and does not accept the token: it has expired, was withdrawn or is for something "
            "else. Look at auth in the job file; then: reconcile check"
        )
    return DeniedError(f"does not accept the token ({error})", reason=error.reason)


def roles_in(token: str) -> frozenset[str]:
    """Return the roles that an access token names. It is Graph's and not ours to read: never more than a hint."""
    try:
        part = token.split(".")[1]
        claims = orjson.loads(urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        roles = claims["roles"]
    except (LookupError, TypeError, ValueError):
        return frozenset()
    named = [role for role in roles if isinstance(role, str)] if isinstance(roles, list) else []
    return frozenset(text.line(role, _LONGEST_ROLE) for role in named)
