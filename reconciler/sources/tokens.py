"""Access tokens, whoever gives them: one an agent and scope, however many threads ask, renewed before it ends.

They are kept in memory alone, and are forgotten with the process. No sentence, no representation and no log has one.
"""

from __future__ import annotations

import math
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from reconciler.errors import AccessError
from reconciler.quota import forever
from reconciler.sources.answers import DeniedError, ParkedError, ProviderError

Patience: TypeAlias = Callable[[], float]

MARGIN: Final = 300.0  # seconds before its end at which a token is renewed
RESPITE: Final = 30.0  # seconds in which a failure answers for those who ask next
LOST: Final = 3600.0  # the same, for an agent who is gone

_TOKEN: Final = re.compile(r"[!-~]{1,8192}")


@dataclass(frozen=True, slots=True)
class Grant:
    """A token, and for how many seconds it is good."""

    token: str = field(repr=False)
    seconds: float


def is_token(value: str) -> bool:
    """Tell whether a text can be sent as a token: it ends up in a header."""
    return bool(_TOKEN.fullmatch(value))


class Tokens(Protocol):
    """Where access tokens come from. Safe to call from several threads.

    `shared` says that one token speaks for all agents: it can't mean anybody's calendar by `primary`.
    """

    @property
    def shared(self) -> bool:
        """Tell whether one token is for all agents."""
        ...

    def token(self, agent: str, *, write: bool = False, patience: Patience = forever) -> str:
        """Return a token that may read, or write, the calendars of `agent`, valid for some minutes at least.

        Raises ParkedError for an agent that the provider no longer knows, RetryableError and PostponedError, and
        AccessError with what an administrator has to allow.
        """
        ...

    def forget(self, agent: str, stale: str, *, write: bool = False) -> bool:
        """Drop a token that was refused; tell whether another one can be had."""
        ...


@dataclass(frozen=True, slots=True)
class StaticTokens:
    """A token as it is. `alone` says that it is for one agent, who is then `primary`."""

    value: str = field(repr=False)
    alone: bool = False

    @property
    def shared(self) -> bool:
        return not self.alone

    def token(self, agent: str, *, write: bool = False, patience: Patience = forever) -> str:
        del agent, write, patience
        return self.value

    def forget(self, agent: str, stale: str, *, write: bool = False) -> bool:
        del agent, stale, write
        return False


class Granter(Protocol):
    """What gets one token, by a request or two."""

    def grant(self, subject: str, scope: str, patience: Patience) -> Grant: ...


class _Kept:
    """One token, or why there is none. Who asks while it is renewed waits for the one who does it."""

    __slots__ = ("failure", "lock", "token", "until")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.until = -math.inf
        self.token = ""
        self.failure: ProviderError | None = None

    def ask(self, get: Callable[[], Grant], clock: Callable[[], float]) -> str:
        with self.lock:
            if clock() >= self.until:
                self._renew(get, clock)
            if self.failure is not None:
                raise self.failure.with_traceback(None)
            return self.token

    def _renew(self, get: Callable[[], Grant], clock: Callable[[], float]) -> None:
        try:
            grant = get()
        except ProviderError as failure:
            # One answer for all calendars of an agent who is gone; while the server is down, not a wait for each.
            respite = LOST if isinstance(failure, ParkedError) else RESPITE
            self.failure, self.token, self.until = failure, "", clock() + respite
        else:
            margin = min(MARGIN, grant.seconds / 2)
            self.failure, self.token, self.until = None, grant.token, clock() + grant.seconds - margin

    def forget(self, stale: str) -> None:
        """Drop the token if it still is that one: another thread may have renewed it meanwhile."""
        with self.lock:
            if self.token == stale:
                self.until = -math.inf


class GrantedTokens:
    """Tokens that are asked for when they are needed: one an agent and scope, or with `shared` one a scope for all.

    `scopes` are what reading and writing need.
    """

    def __init__(
        self, granter: Granter, clock: Callable[[], float], *, scopes: tuple[str, str], shared: bool = False
    ) -> None:
        self.shared = shared
        self._scopes = scopes
        self._granter = granter
        self._clock = clock
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], _Kept] = {}

    def token(self, agent: str, *, write: bool = False, patience: Patience = forever) -> str:
        subject, scope = self._meant(agent, write=write)
        return self._of(subject, scope).ask(lambda: self._granter.grant(subject, scope, patience), self._clock)

    def forget(self, agent: str, stale: str, *, write: bool = False) -> bool:
        self._of(*self._meant(agent, write=write)).forget(stale)
        return True

    def may(self, agent: str, scope: str, patience: Patience) -> bool:
        """Tell whether a token for `scope` would be given, too; nothing is done with it. Raises as `token` does.

        One token for all can be had for any scope: what it is good for is decided where calendars are shared.
        """
        if self.shared:
            return False
        try:
            self._granter.grant(agent, scope, patience)
        except (AccessError, DeniedError):
            return False
        return True

    def _meant(self, agent: str, *, write: bool) -> tuple[str, str]:
        return "" if self.shared else agent, self._scopes[write]

    def _of(self, subject: str, scope: str) -> _Kept:
        with self._lock:
            return self._kept.setdefault((subject, scope), _Kept())
