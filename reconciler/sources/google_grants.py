"""How a token of Google is got: an assertion is signed, by a key or by Google's own IAM, and exchanged for a token.

Each request is one send through `quota`, to the addresses of the job file and no other, and what Google refuses is said
as what somebody has to do. Keys and tokens are in no sentence and in no representation.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Protocol, TypeAlias
from urllib.parse import quote, urlencode

import orjson

from reconciler.errors import AccessError
from reconciler.quota import Quota, Scope
from reconciler.sources.answers import (
    DeniedError,
    ExpiredTokenError,
    ParkedError,
    ProviderError,
    RetryableError,
    TransientError,
)
from reconciler.sources.google_faults import Asked, fault
from reconciler.sources.tokens import Grant, Patience, is_token
from reconciler.sources.wire import Answer, Wire

if TYPE_CHECKING:
    from google.auth.crypt import RSASigner

Claims: TypeAlias = Mapping[str, str | int]

EXCHANGE = "https://oauth2.googleapis.com/token"
"""Where assertions become tokens, and whom each is made out to wherever it is sent (as google-auth does)."""
IAM_URI = "https://iamcredentials.googleapis.com/"
METADATA_HOST = "metadata.google.internal"
IAM_API = "iamcredentials.googleapis.com"
IAM_SCOPE = "https://www.googleapis.com/auth/iam"
LIFETIME = 3600  # seconds that an assertion, and a token, are good for: the most that Google accepts
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
FORM = {"content-type": "application/x-www-form-urlencoded"}

_WORD = re.compile(r"[a-z_]{1,60}", re.ASCII)
_LATER = {"internal_failure", "server_error", "temporarily_unavailable"}


@dataclass(frozen=True, slots=True)
class Sender:
    """Where tokens are asked for: the connections, the budget, and the time that assertions carry."""

    wire: Wire
    quota: Quota
    clock: Callable[[], float] = time.time

    def ask(self, request: Request, *, agent: str, patience: Patience) -> Reply:
        """Send `request` once an attempt; an answer that may be another one later is tried again by `quota`."""

        def attempt() -> Reply:
            answer = self.wire.send(request.method, request.url, request.headers, request.body, seconds=patience())
            return self._reply(answer, request.api)

        return self.quota.call(attempt, agent=agent, scope=Scope.TOKEN, patience=patience)

    def _reply(self, answer: Answer, api: str) -> Reply:
        said = _object_in(answer.body)
        if answer.status == HTTPStatus.OK:
            if said is None:
                raise TransientError("answered a request for a token with something else")
            return Reply(said, None)
        error = fault(answer, Asked(now=self.clock(), api=api))
        if isinstance(error, RetryableError | AccessError):
            raise error
        reply = Reply(said or {}, error)
        if reply.word in _LATER:
            raise TransientError(f"answered {answer.status} {reply.word}")
        return reply


@dataclass(frozen=True, slots=True)
class Request:
    """A request for a token or a signature."""

    url: str
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    method: str = "POST"
    api: str = ""


@dataclass(frozen=True, slots=True)
class Reply:
    """What was answered, and the error that it is, if it is one."""

    said: Mapping[str, object] = field(repr=False)
    error: ProviderError | None

    @property
    def word(self) -> str:
        """Return OAuth's word for what is wrong."""
        word = self.said.get("error")
        return word if isinstance(word, str) and _WORD.fullmatch(word) else ""

    def text(self, name: str) -> str:
        """Return a text that was answered."""
        value = self.said.get(name)
        return value if isinstance(value, str) else ""


def _object_in(body: bytes) -> Mapping[str, object] | None:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return said if isinstance(said, dict) else None


# ---- who signs ------------------------------------------------------------------------------------------------------


class Signer(Protocol):
    """What signs assertions of a service account; `hint` says which client id that account has."""

    @property
    def issuer(self) -> str: ...
    @property
    def hint(self) -> str: ...
    def sign(self, claims: Claims, patience: Patience) -> str: ...


@dataclass(frozen=True, slots=True)
class KeySigner:
    """A service account whose key is here, parsed once."""

    issuer: str
    hint: str
    key: RSASigner = field(repr=False)

    def sign(self, claims: Claims, patience: Patience) -> str:
        """Sign here, without a request."""
        from google.auth import jwt

        del patience
        encode: Callable[[RSASigner, Claims], bytes] = jwt.encode
        return encode(self.key, claims).decode("ascii")


class Source(Protocol):
    """Tokens of whoever asks IAM for signatures."""

    def token(self, agent: str, *, patience: Patience) -> str: ...
    def forget(self, agent: str, stale: str) -> bool: ...


@dataclass(frozen=True, slots=True)
class IamSigner:
    """A service account that has no key: IAM signs for whoever `source` is, if that is allowed to ask."""

    issuer: str
    iam_uri: str
    sender: Sender
    source: Source

    @property
    def hint(self) -> str:
        return f"that `gcloud iam service-accounts describe {self.issuer} --format='value(oauth2ClientId)'` prints"

    def sign(self, claims: Claims, patience: Patience) -> str:
        """Have it signed; a token of `source` that is not valid any more is renewed once."""
        token = self.source.token(self.issuer, patience=patience)
        reply = self._ask(claims, token, patience)
        if isinstance(reply.error, ExpiredTokenError) and self.source.forget(self.issuer, token):
            reply = self._ask(claims, self.source.token(self.issuer, patience=patience), patience)
        if reply.error is not None:
            raise self._refused(reply.error)
        return _token_in(reply, "signedJwt")

    def _ask(self, claims: Claims, token: str, patience: Patience) -> Reply:
        url = f"{self.iam_uri}v1/projects/-/serviceAccounts/{quote(self.issuer, safe='@')}:signJwt"
        headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        body = orjson.dumps({"payload": orjson.dumps(claims).decode()})
        return self.sender.ask(Request(url, body, headers, api=IAM_API), agent=self.issuer, patience=patience)

    def _refused(self, error: ProviderError) -> Exception:
        match error:
            case ExpiredTokenError():
                why = "does not accept the credential beside impersonate: it is expired or for something else"
            case DeniedError() if error.reason:
                why = (
                    f"does not let the credential beside impersonate sign for {self.issuer}: gcloud iam "
                    f"service-accounts add-iam-policy-binding {self.issuer} --member MEMBER "
                    "--role roles/iam.serviceAccountTokenCreator"
                )
            case _:
                why = f"does not sign for {self.issuer}: is it spelled as gcloud iam service-accounts list shows it?"
        return AccessError(f"Google {error} and {why}; then: reconcile check")


# ---- what is got ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Exchange:
    """Where a signed assertion becomes a token: of an agent who is acted for, or of the service account itself."""

    signer: Signer
    url: str
    sender: Sender

    def grant(self, subject: str, scope: str, patience: Patience) -> Grant:
        """Get a token for `scope`; without a `subject` the service account speaks for itself."""
        now = int(self.sender.clock())
        claims: dict[str, str | int] = {"iss": self.signer.issuer, "aud": EXCHANGE, "scope": scope, "iat": now}
        claims |= {"exp": now + LIFETIME, **({"sub": subject} if subject else {})}
        form = {"grant_type": GRANT_TYPE, "assertion": self.signer.sign(claims, patience)}
        request = Request(self.url, urlencode(form).encode(), FORM)
        reply = self.sender.ask(request, agent=subject or self.signer.issuer, patience=patience)
        if reply.error is not None:
            raise self._refused(reply, reply.error, subject, scope)
        return _grant_in(reply)

    def _refused(self, reply: Reply, error: ProviderError, subject: str, scope: str) -> Exception:
        match reply.word:
            case "unauthorized_client" | "access_denied" if subject:
                return self._not_delegated(reply.word, scope)
            case "invalid_grant" if why := self._unusable(reply, subject):
                return AccessError(f"Google refuses {self.signer.issuer} (invalid_grant): {why}; then: reconcile check")
            case "invalid_grant":
                why = "the account is gone, suspended or renamed, or the clock of this machine is off"
                return ParkedError(f"gives no token (invalid_grant): {why}", reason="invalid_grant")
            case "invalid_scope" | "invalid_client" | "unauthorized_client" | "access_denied" as word:
                why = f"the account is switched off or deleted, or may not have the scope {scope}"
                return AccessError(f"Google refuses {self.signer.issuer} ({word}): {why}; then: reconcile check")
            case word:
                return DeniedError(f"gives no token ({word or error})", reason=word)

    def _unusable(self, reply: Reply, subject: str) -> str:
        """Say why no agent at all can be acted for; empty where it may be this one."""
        description = reply.text("error_description").lower()
        if "signature" in description:
            return "the key was deleted or replaced: make a new one and put it where the job file says"
        if "timeframe" in description or "iat" in description.split():
            return "the clock of this machine is off: set it"
        return "" if subject else "the account is switched off or deleted, or the clock of this machine is off"

    def _not_delegated(self, word: str, scope: str) -> AccessError:
        return AccessError(
            f"Google does not let {self.signer.issuer} act for agents ({word}). An administrator of the Workspace has "
            "to allow it: admin.google.com, Security, Access and data control, API controls, Manage domain-wide "
            f"delegation, Add new, with the client id {self.signer.hint} and the scope {scope}. It may take a day "
            "until that holds; then: reconcile check"
        )


@dataclass(frozen=True, slots=True)
class Machine:
    """The credential that the machine itself has on Google Cloud, from its metadata server."""

    sender: Sender
    host: str = METADATA_HOST

    def grant(self, subject: str, scope: str, patience: Patience) -> Grant:
        """Get a token of the machine's own account."""
        path = f"computeMetadata/v1/instance/service-accounts/default/token?{urlencode({'scopes': scope})}"
        request = Request(f"http://{self.host}/{path}", None, {"metadata-flavor": "Google"}, "GET")
        try:
            reply = self.sender.ask(request, agent=subject, patience=patience)
        except TransientError as error:
            raise self._none(error) from None
        if reply.error is not None:
            raise self._none(reply.error)
        return _grant_in(reply)

    def _none(self, error: ProviderError) -> AccessError:
        return AccessError(
            f"this machine has no Google credential of its own: {self.host} {error}. Run on Google Cloud, or name one "
            'beside impersonate: token = "env:NAME" or service_account = "file:PATH"'
        )


def _grant_in(reply: Reply) -> Grant:
    seconds = reply.said.get("expires_in")
    lifetime = float(seconds) if isinstance(seconds, int | float) else 0.0
    return Grant(_token_in(reply, "access_token"), min(max(lifetime, 0.0), LIFETIME))


def _token_in(reply: Reply, name: str) -> str:
    token = reply.text(name)
    if not is_token(token):
        raise TransientError("answered a request for a token without one")
    return token
