"""A stand-in for Google Calendar on loopback, which behaves as the provider does and not as one would wish.

`with GoogleSimulator(seed=0, clock=clock) as server:` serves Calendar v3 at `server.url`, sign-in at `server.token_uri`
and signatures at `server.iam_uri`. `server.calendar("ann@acme.example")` is what a person edits, `server.faults` what
goes wrong, `server.ledger` everything that was asked. The same seed, clock and requests make the same answers.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self

from reconciler.simulator.google_calendars import Calendar, World
from reconciler.simulator.google_queries import Rules
from reconciler.simulator.google_refusals import RefusedError, failing, refusal
from reconciler.simulator.google_routes import Call, carry_out
from reconciler.simulator.google_sign_in import READ, ROBOT, SCOPE, WRITE, Access, SignIn, service_account_info
from reconciler.simulator.loopback import (
    Answer,
    Entry,
    Fault,
    Faults,
    Harm,
    Ledger,
    Loopback,
    Request,
    SlidingWindow,
    disturbed,
    retry_after,
)

__all__ = ["READ", "ROBOT", "WRITE", "Fault", "GoogleSimulator", "Harm", "Quotas", "Rules"]

_SIGN: Final = re.compile(r"/serviceAccounts/([^/:]+):signJwt$")
_EVERYTHING: Final = (SCOPE + "calendar", READ, WRITE, SCOPE + "cloud-platform")


@dataclass(frozen=True, slots=True, kw_only=True)
class Quotas:
    """Google's limits (facts §3.1), and how it says that one is reached: 403 or 429, with or without Retry-After.

    `patch_units`: a patch "consumes three quota units" (facts §2).
    """

    per_minute: int = 10_000
    per_user_minute: int = 600
    per_day: int = 1_000_000
    status: int = 403
    retry_after: int | None = None
    patch_units: int = 3


@dataclass(slots=True)
class _Asked:
    """A request on its way: what it is, who asks and about whom, and what a fault makes of it."""

    request: Request
    kind: str
    agent: str = ""
    user: str = ""
    units: int = 1
    access: Access | None = None
    refused: RefusedError | None = None
    size: int | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))


class GoogleSimulator:
    """The server. Everything about it may be changed while it runs, from any thread."""

    def __init__(
        self,
        *,
        seed: int = 0,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        quotas: Quotas | None = None,
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
        self.disabled = False
        self._windows = _Windows(quotas or Quotas())
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
        """Return the endpoint of Calendar v3."""
        return f"{self.root}/calendar/v3/"

    @property
    def token_uri(self) -> str:
        return f"{self.root}/token"

    @property
    def iam_uri(self) -> str:
        """Return the root of IAM; `v1/projects/-/serviceAccounts/{account}:signJwt` comes after it."""
        return f"{self.root}/"

    @property
    def connections(self) -> int:
        """Return how many connections were accepted so far."""
        return self._loopback.accepted

    def calendar(self, address: str, zone: str = "UTC") -> Calendar:
        """Return an account's primary calendar, or any other one by its id; it is made when first named."""
        return self.world.calendar(address, zone)

    def service_account_info(self, account: str = ROBOT, scopes: Collection[str] | None = None) -> dict[str, str]:
        """Return the contents of a key file: its account may act for every account of the domain, within `scopes`."""
        if account != ROBOT:
            self.accounts.others[account] = _EVERYTHING if scopes is None else scopes
        return service_account_info(self.token_uri, account)

    def token(self, subject: str = ROBOT, scopes: Collection[str] = _EVERYTHING, *, hours: float = 1) -> str:
        """Return an access token as it is: of an account, or of the robot that sees what was shared with it."""
        return self.accounts.issue(subject, scopes, payer=subject, lifetime=timedelta(hours=hours))

    def requests(self, kind: str = "calendar") -> list[Entry]:
        """Return what was asked: of `calendar`, `token` or `iam`."""
        return self.ledger.entries(kind)

    def set_quotas(self, quotas: Quotas) -> None:
        """Replace the limits; what was spent so far is forgotten."""
        self._windows = _Windows(quotas)

    # One request, from its arrival to its answer.

    def _handle(self, request: Request) -> Answer:
        asked = self._asked(request)
        fault = self.faults.pick(asked.kind, asked.agent, request)
        answer = self._answer(asked) if fault is None else self._harmed(asked, fault)
        entry = (asked.at, asked.kind, request.method, request.path, request.query, asked.agent, asked.user)
        self.ledger.note(Entry(*entry, asked.units, answer.status))
        return answer

    def _asked(self, request: Request) -> _Asked:
        if request.path == "/token":
            return _Asked(request, "token", at=self.clock())
        if _SIGN.search(request.path):
            return _Asked(request, "iam", at=self.clock())
        asked = _Asked(request, "calendar", at=self.clock())
        try:
            asked.access = self.accounts.access(request)
        except RefusedError as error:
            asked.refused = error
            return asked
        named = request.parts[3:4] if request.parts[2:3] == ["calendars"] else []
        asked.agent = named[0].lower() if named and named[0] != "primary" else asked.access.subject
        asked.user = request.one("quotaUser") or request.headers.get("x-goog-quota-user", "")
        if request.method == "PATCH":
            asked.units = self._windows.quotas.patch_units
        return asked

    def _harmed(self, asked: _Asked, fault: Fault) -> Answer:
        if fault.meanwhile is not None:
            fault.meanwhile()
        failed = failing(fault)
        if failed is not None:
            return failed
        if fault.what is Harm.EMPTY_PAGE:
            asked.size = 0
        if fault.what is Harm.SMALL_PAGES:
            asked.size = fault.size
        return disturbed(fault, lambda: self._answer(asked), self.wait)

    def _answer(self, asked: _Asked) -> Answer:
        if asked.kind == "token":
            return self.accounts.grant(asked.request, self.token_uri)
        try:
            found = _SIGN.search(asked.request.path)
            if found:
                return self.accounts.sign_jwt(asked.request, found[1])
            return self._carried_out(asked)
        except RefusedError as error:
            wait = self._windows.quotas.retry_after if "imitExceeded" in error.reason else None
            return refusal(error, retry_after(wait))

    def _carried_out(self, asked: _Asked) -> Answer:
        if asked.access is None:
            raise asked.refused or RefusedError(401, "authError")
        if self.disabled:
            raise RefusedError(403, "accessNotConfigured")
        self._windows.charge(asked.at.timestamp(), asked.user or asked.access.payer, asked.units)
        with self.world.lock:
            return carry_out(Call(self.world, self.rules, asked.request, asked.access, asked.size))


class _Windows:
    """The sliding windows of the project and of each user."""

    def __init__(self, quotas: Quotas) -> None:
        self.quotas = quotas
        self._lock = threading.Lock()
        self._minute = SlidingWindow(quotas.per_minute, 60)
        self._day = SlidingWindow(quotas.per_day, 86_400, grain=1.0)
        self._users: dict[str, SlidingWindow] = {}

    def charge(self, now: float, user: str, units: int) -> None:
        """Charge a request to all its windows, or to none and refuse it."""
        with self._lock:
            own = self._users.setdefault(user, SlidingWindow(self.quotas.per_user_minute, 60))
            if not self._day.room(now, units):
                raise self._refused("dailyLimitExceeded", "Queries per day")
            if not self._minute.room(now, units):
                raise self._refused("rateLimitExceeded", "Queries per minute")
            if not own.room(now, units):
                raise self._refused("userRateLimitExceeded", "Queries per minute per user")
            for window in (self._day, self._minute, own):
                window.spend(now, units)

    def _refused(self, reason: str, limit: str) -> RefusedError:
        if self.quotas.status != HTTPStatus.FORBIDDEN:
            reason = "rateLimitExceeded"
        message = (
            f"Quota exceeded for quota metric 'Queries' and limit '{limit}' of service "
            "'calendar-json.googleapis.com' for consumer 'project_number:12345'."
        )
        return RefusedError(self.quotas.status, reason, message)
