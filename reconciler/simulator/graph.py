"""A stand-in for calendars in Microsoft Graph on loopback, which behaves as the provider does, its defects included.

`with GraphSimulator(seed=0, clock=clock) as server:` serves v1.0 at `server.url` and sign-in at `server.token_uri`.
`server.mailbox("cid@acme.example")` is what a person edits, `server.faults` what goes wrong, `server.ledger` everything
that was asked, item by item of a batch. The same seed, clock and requests make the same answers.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Final, Self

from reconciler.simulator.graph_batch import AT_ONCE, answered, items_of
from reconciler.simulator.graph_limits import Limits, Turnstile
from reconciler.simulator.graph_mailboxes import TENANT, Mailbox, World
from reconciler.simulator.graph_queries import Rules
from reconciler.simulator.graph_refusals import RefusedError, failing, refusal, throttled
from reconciler.simulator.graph_routes import Call, carry_out, user_of
from reconciler.simulator.graph_sign_in import CLIENT, READ, SECRET, USERS, WRITE, Access, SignIn
from reconciler.simulator.graph_views import DEFAULT_PAGE, preferences
from reconciler.simulator.loopback import (
    Answer,
    Entry,
    Fault,
    Faults,
    Harm,
    Ledger,
    Loopback,
    Request,
    disturbed,
    retry_after,
)

__all__ = ["CLIENT", "READ", "SECRET", "TENANT", "USERS", "WRITE", "Fault", "GraphSimulator", "Harm", "Limits", "Rules"]

VERSION: Final = "v1.0"
_TOKEN: Final = re.compile(r"/[^/]+/oauth2/v2\.0/token")
# What a fault makes of a page, and not of the whole answer.
_OF_PAGES: Final = frozenset(
    {
        *(Harm.EMPTY_PAGE, Harm.SMALL_PAGES, Harm.ENDLESS, Harm.REPLAY, Harm.STALE),
        *(Harm.DUPLICATES, Harm.STRAY_LINK, Harm.NAMELESS_LINK),
    }
)


@dataclass(slots=True)
class _Asked:
    """A request on its way: what it is, who asks and about whom, and what a fault makes of it."""

    request: Request
    kind: str
    agent: str = ""
    app: str = ""
    key: str = ""
    access: Access | None = None
    refused: RefusedError | None = None
    fault: Fault | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class GraphSimulator:
    """The server. Everything about it may be changed while it runs, from any thread."""

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        limits: Limits | None = None,
        rules: Rules | None = None,
        faults: Iterable[Fault] = (),
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self.clock = clock
        self.world = World(seed, clock)
        self.accounts = SignIn(self.world)
        self.faults = Faults(seed, faults)
        self.ledger = Ledger()
        self.rules = rules or Rules()
        self.wait = wait
        self._turnstile = Turnstile(limits or Limits())
        self._loopback = Loopback(self._handle)

    def __enter__(self) -> Self:
        self._loopback.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loopback.__exit__(kind, error, trace)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self._loopback.port}"

    @property
    def url(self) -> str:
        """Return the endpoint of Graph."""
        return f"{self.root}/{VERSION}/"

    @property
    def token_uri(self) -> str:
        """Return where tokens of the usual tenant are asked for."""
        return self.token_uri_of(TENANT)

    def token_uri_of(self, tenant: str) -> str:
        return f"{self.root}/{tenant}/oauth2/v2.0/token"

    @property
    def connections(self) -> int:
        """Return how many connections were accepted so far."""
        return self._loopback.accepted

    def mailbox(self, address: str, zone: str = "UTC", *, tenant: str = TENANT) -> Mailbox:
        """Return a user's mailbox; it is made when first named."""
        self.accounts.tenants.add(tenant)
        return self.world.mailbox(address, zone, tenant)

    def token(self, *, hours: float = 1, roles: Collection[str] | None = None, tenant: str = TENANT) -> str:
        """Return an access token as it is."""
        return self.accounts.issue(tenant=tenant, lifetime=timedelta(hours=hours), roles=roles)

    def requests(self, kind: str = "calendar") -> list[Entry]:
        """Return what was asked: of `calendar`, of `token`, or the envelopes of `batch`."""
        return self.ledger.entries(kind)

    def high_water(self, mailbox: str) -> int:
        """Return how many requests to a mailbox were at work at once, at most."""
        return self._turnstile.high_water(self._key(mailbox))

    def set_limits(self, limits: Limits) -> None:
        """Replace the limits; what was spent so far is forgotten."""
        self._turnstile = Turnstile(limits)

    # One request, from its arrival to its answer.

    def _handle(self, request: Request) -> Answer:
        asked = self._asked(request)
        if asked.kind != "calendar":
            return self._noted(asked, self._disturbed(asked))
        with self._turnstile.inside(asked.key) as places:
            return self._noted(asked, self._let_in(asked, places=places))

    def _asked(self, request: Request) -> _Asked:
        at = self.clock()
        if _TOKEN.fullmatch(request.path):
            return _Asked(request, "token", at=at)
        asked = _Asked(request, "batch" if request.path == f"/{VERSION}/$batch" else "calendar", at=at)
        try:
            asked.access = self.accounts.access(request)
            asked.app = asked.access.app
        except RefusedError as error:
            asked.refused = error
        user = user_of(request)
        asked.key = self._key(user)
        mailbox = self.world.mailboxes.get(asked.key)
        asked.agent = mailbox.address if mailbox else user.lower()
        return asked

    def _key(self, user: str) -> str:
        """Return the object id of a mailbox, by which limits count; its name where there is none."""
        mailbox = self.world.mailboxes.get(user.lower())
        return mailbox.id if mailbox else user.lower()

    def _noted(self, asked: _Asked, answer: Answer) -> Answer:
        request, units = asked.request, 0 if asked.kind == "batch" else 1
        entry = (asked.at, asked.kind, request.method, request.path, request.query, asked.agent, asked.app)
        self.ledger.note(Entry(*entry, units, answer.status))
        return answer

    def _let_in(self, asked: _Asked, *, places: int) -> Answer:
        """Charge a request and answer it, if there was a place for it."""
        try:
            if asked.access is None:
                raise asked.refused or RefusedError(401, "InvalidAuthenticationToken")
            self._turnstile.charge(asked.at.timestamp(), asked.key)
            if not places:
                # facts §4: one of the others must end; waiting alone does not help.
                raise throttled("MailboxConcurrency", 1)
        except RefusedError as error:
            return refusal(error, self.world.stamp())
        return self._disturbed(asked)

    def _disturbed(self, asked: _Asked) -> Answer:
        fault = self.faults.pick(asked.kind, asked.agent, asked.request)
        if fault is None:
            return self._answer(asked)
        if fault.meanwhile is not None:
            fault.meanwhile()
        failed = failing(fault, self.world.stamp())
        if failed is not None:
            return failed
        if fault.what is Harm.BIG_PAGE and _page_size(asked.request) > fault.size:
            return Answer(status=fault.status, headers=retry_after(fault.retry_after))
        if fault.what in _OF_PAGES:
            asked.fault = fault
        return disturbed(fault, lambda: self._answer(asked), self.wait)

    def _answer(self, asked: _Asked) -> Answer:
        if asked.kind == "token":
            return self.accounts.grant(asked.request, f"{self.root}{asked.request.path}")
        try:
            if asked.access is None:
                raise asked.refused or RefusedError(401, "InvalidAuthenticationToken")
            if asked.kind == "batch":
                return answered(items_of(asked.request, VERSION), self._batch, self.world.seed)
            with self.world.lock:
                return carry_out(Call(self.world, self.rules, asked.request, asked.access, self.root, asked.fault))
        except RefusedError as error:
            return refusal(error, self.world.stamp())

    def _batch(self, requests: Sequence[Request]) -> list[Answer]:
        """Answer requests of a batch, at most four of one mailbox at once; each is charged and may fail alone."""
        found: dict[int, Answer] = {}
        waiting = list(enumerate(map(self._asked, requests)))
        while waiting:
            wave, waiting = _wave(waiting)
            for key in dict.fromkeys(asked.key for _, asked in wave):
                own = [(number, asked) for number, asked in wave if asked.key == key]
                with self._turnstile.inside(key, len(own)) as places:
                    for place, (number, asked) in enumerate(own):
                        found[number] = self._noted(asked, self._let_in(asked, places=max(0, places - place)))
        return [found[number] for number in range(len(requests))]


_Numbered = list[tuple[int, _Asked]]


def _wave(waiting: _Numbered) -> tuple[_Numbered, _Numbered]:
    """Take what a batch does at once: four of each mailbox."""
    taken: Counter[str] = Counter()
    wave: _Numbered = []
    later: _Numbered = []
    for one in waiting:
        taken[one[1].key] += 1
        (wave if taken[one[1].key] <= AT_ONCE else later).append(one)
    return wave, later


def _page_size(request: Request) -> int:
    try:
        wanted = preferences(request).page or DEFAULT_PAGE
    except RefusedError:
        return 0
    top = request.one("$top") or ""
    return int(top) if top.isascii() and top.isdigit() else wanted
