"""Tokens for Google: one an agent, scope and hour, however many threads ask, and each allows the least that it must.

They are kept in memory alone, and are forgotten with the process. No sentence, no representation and no log has one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

import orjson

from reconciler.config import GoogleAuth, Secret, WrongError, permitted
from reconciler.errors import ConfigError, Problem
from reconciler.quota import forever
from reconciler.sources.answers import ParkedError, ProviderError
from reconciler.sources.google_grants import (
    EXCHANGE,
    IAM_SCOPE,
    IAM_URI,
    LIFETIME,
    METADATA_HOST,
    Exchange,
    Grant,
    IamSigner,
    KeySigner,
    Machine,
    Patience,
    Sender,
    is_token,
)
from reconciler.text import line

if TYPE_CHECKING:
    from google.auth.crypt import RSASigner

READ_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events.readonly"
WRITE_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events"
MARGIN: Final = 300.0  # seconds before its end at which a token is renewed
RESPITE: Final = 30.0  # seconds in which a failure answers for those who ask next
METADATA_VARIABLE: Final = "GCE_METADATA_HOST"  # as google-auth calls it

_KEY_KIND: Final = "service_account"
_ELSEWHERE: Final = {"credential_source", "executable", "service_account_impersonation_url"}


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

        Raises ParkedError for an agent that Google no longer knows, RetryableError and PostponedError, and AccessError
        with what an administrator has to allow.
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
            respite = LIFETIME if isinstance(failure, ParkedError) else RESPITE
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
        self,
        granter: Granter,
        clock: Callable[[], float],
        *,
        shared: bool = False,
        scopes: tuple[str, str] = (READ_SCOPE, WRITE_SCOPE),
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

    def _meant(self, agent: str, *, write: bool) -> tuple[str, str]:
        return "" if self.shared else agent, self._scopes[write]

    def _of(self, subject: str, scope: str) -> _Kept:
        with self._lock:
            return self._kept.setdefault((subject, scope), _Kept())


# ---- from a job file ------------------------------------------------------------------------------------------------


def tokens_for(auth: GoogleAuth, environ: Mapping[str, str], sender: Sender, *, alone: bool = False) -> Tokens:
    """Return the tokens that `auth` of a job file gives; `alone` says that the source has one agent.

    Secrets are read now and keys parsed; nothing is sent. Raises ConfigError.
    """
    if auth.impersonate is not None:
        source = _source(auth, environ, sender)
        signer = IamSigner(auth.impersonate, auth.iam_uri or IAM_URI, sender, source)
        exchange = Exchange(signer, auth.token_uri or EXCHANGE, sender)
    elif auth.service_account is not None:
        exchange = _exchange(auth.service_account, auth, environ, sender)
    else:
        return StaticTokens(_plain(auth.token, environ), alone)
    return GrantedTokens(exchange, sender.clock, shared=not auth.delegated)


def _source(auth: GoogleAuth, environ: Mapping[str, str], sender: Sender) -> Tokens:
    """Return what asks IAM for signatures: never what happens to lie around on the machine but what is named."""
    if auth.token is not None:
        return StaticTokens(_plain(auth.token, environ))
    if auth.service_account is not None:
        granter: Granter = _exchange(auth.service_account, auth, environ, sender)
    else:
        granter = Machine(sender, environ.get(METADATA_VARIABLE) or METADATA_HOST)
    return GrantedTokens(granter, sender.clock, shared=True, scopes=(IAM_SCOPE, IAM_SCOPE))


def _plain(secret: Secret | None, environ: Mapping[str, str]) -> str:
    if secret is None:
        raise TypeError("a job file without credentials is not loaded")
    value = secret.reveal(environ)
    if not is_token(value):
        raise _problem(secret, "is no access token: it has spaces, line ends or other characters that none has")
    return value


def _exchange(secret: Secret, auth: GoogleAuth, environ: Mapping[str, str], sender: Sender) -> Exchange:
    """Read the key of a service account, from a file that says nothing else but that and where it is good."""
    info = _key_file(secret, environ)
    url = auth.token_uri or str(info.get("token_uri") or EXCHANGE)
    try:
        permitted(url, "google", environ)
    except WrongError as error:
        raise _problem(secret, f"names a token_uri that is not used: {error.what}", error.hint) from None
    issuer, client = (line(str(info.get(name) or ""), 200) for name in ("client_email", "client_id"))
    return Exchange(KeySigner(issuer, client or f"of {issuer}", _signer(secret, info)), url, sender)


def _key_file(secret: Secret, environ: Mapping[str, str]) -> Mapping[str, object]:
    try:
        info = orjson.loads(secret.reveal(environ))
    except orjson.JSONDecodeError:
        info = None
    if not isinstance(info, dict) or info.get("type") != _KEY_KIND or not _ELSEWHERE.isdisjoint(info):
        hint = "make a JSON key of a service account; other kinds may run programs or fetch addresses, and are not read"
        raise _problem(secret, 'is no key of a service account, whose type is "service_account"', hint)
    if not all(isinstance(info.get(name), str) and info[name] for name in ("client_email", "private_key")):
        raise _problem(secret, "lacks client_email or private_key", "make a new JSON key of the service account")
    return info


def _signer(secret: Secret, info: Mapping[str, object]) -> RSASigner:
    """Parse the key and sign once, so that one that can't is found before the run."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from google.auth.crypt import RSASigner

    parse: Callable[[Mapping[str, object]], RSASigner] = RSASigner.from_service_account_info
    try:
        signer = parse(info)
        signer.sign(b"")
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _problem(secret, "has a private_key that can't be read", "make a new JSON key of it") from None
    return signer


def _problem(secret: Secret, what: str, hint: str = "") -> ConfigError:
    key = secret.reference.key if secret.reference else "auth"
    return ConfigError((Problem(key, f"what {secret} holds {what}", hint),))
