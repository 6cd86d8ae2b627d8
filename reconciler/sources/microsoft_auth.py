"""How one gets into Microsoft 365: O365's account and connection, MSAL's sign-in, and one token for all mailboxes.

The application signs in as itself and is renewed before its token ends, by one thread at a time. Everything is sent
once, on connections that follow no redirect, keep no cookie and hold no token; nothing is ever written to a file.
"""

from __future__ import annotations

import http.client
import logging
import math
import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from http.cookiejar import DefaultCookiePolicy
from typing import TYPE_CHECKING, Final, NoReturn, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import orjson
import urllib3
from O365 import Account, Connection, MSGraphProtocol
from O365.utils.token import MemoryTokenBackend
from requests.adapters import HTTPAdapter

from reconciler.config import MicrosoftAuth, Secret
from reconciler.config.hosts import KNOWN_HOSTS, is_loopback
from reconciler.errors import AccessError, ConfigError, Problem
from reconciler.quota import Quota, Scope, forever
from reconciler.sources import Caps
from reconciler.sources.answers import RetryableError, TransientError
from reconciler.sources.fetch import FetchError, why_broken
from reconciler.sources.microsoft_faults import Asked, fault
from reconciler.sources.tokens import Grant, GrantedTokens, Patience, StaticTokens, Tokens, is_token
from reconciler.sources.wire import ALWAYS, LEAST, Answer, whole

if TYPE_CHECKING:
    from msal import ConfidentialClientApplication
    from requests import PreparedRequest, Response, Session

Credential: TypeAlias = str | Mapping[str, object]

LOGIN: Final = "login.microsoftonline.com"
CONNECT: Final = 5.0  # seconds for a connection
READ: Final = 60.0  # seconds without a byte: Graph may take 25 to say that it is busy (facts §1.7)
THREADS: Final = 32  # connections that are kept open
LONGEST_LIFE: Final = 86_400.0  # seconds that a token is taken to be good for, whatever was answered

_SUCCESS: Final = 2
_LOGINS: Final[Mapping[str, str]] = {  # of national clouds; all others sign in at LOGIN
    "graph.microsoft.us": "login.microsoftonline.us",
    "dod-graph.microsoft.us": "login.microsoftonline.us",
    "microsoftgraph.chinacloudapi.cn": "login.partner.microsoftonline.cn",
}
# What they log are whole requests: addresses with cursors in them, headers with tokens, descriptions of people.
_TALKATIVE: Final = {"O365": logging.CRITICAL, "msal": logging.CRITICAL, "urllib3.connectionpool": logging.ERROR}


# ---- the connection -------------------------------------------------------------------------------------------------


class _SaidNoError(Exception):
    """Carries an answer that is no success past the library, which would log it whole and may not understand it."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.status)
        self.answer = answer


class GraphConnection(Connection):
    """O365's connection without its retries, its pauses, its renewals and its guesses at errors.

    `sign_in` is what MSAL sends through. Sessions are made here once, for all threads.
    """

    def __init__(self, credentials: tuple[str, Credential], **options: object) -> None:
        super().__init__(credentials, requests_delay=0, request_retries=0, raise_http_errors=False, **options)
        self.sign_in: SignIn | None = None
        self._application: ConfidentialClientApplication | None = None
        self.caps = Caps()
        self.session = _bare(self.get_session())
        self.naive_session = _bare(self.get_naive_session())

    @property
    def msal_client(self) -> ConfidentialClientApplication:
        """Return MSAL's application, which keeps its tokens in our backend and sends through `sign_in`."""
        from msal import ConfidentialClientApplication

        if self._application is None:
            self._application = ConfidentialClientApplication(
                self.auth[0],
                client_credential=self.auth[1],
                authority=self._msal_authority,
                token_cache=self.token_backend,
                http_client=self.sign_in,
                instance_discovery=False,
            )
        return self._application

    def once(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        token: str = "",
        seconds: float = math.inf,
    ) -> Answer:
        """Send a request once and return the answer whole, within about `seconds`. Raises TransientError.

        Without a `token` it goes out unsigned.
        """
        until = time.monotonic() + min(seconds, self.caps.seconds)
        read = max(LEAST, min(seconds, READ))
        options = {
            # A new dict each time: the library adds to the one it is given (facts §6.2).
            "headers": {**headers, **ALWAYS},
            "data": body,
            # Signed here and not by the session: it is this token and no other, and no .netrc is looked at.
            "auth": _signed(token),
            "timeout": (min(read, CONNECT), read),
            "allow_redirects": False,
            "stream": True,
            "hooks": {"response": self._stops(until)},
        }
        send = self.oauth_request if token else self.naive_request
        try:
            return self._read(send(url, method, **options), until)
        except _SaidNoError as no:
            return no.answer
        except FetchError as error:
            raise TransientError(str(error)) from None
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, zlib.error) as error:
            raise TransientError(why_broken(_cause(error))) from None

    def oauth_request(self, url: str, method: str, **options: object) -> Response:
        """Send a request that is signed already: whether a token is good is not asked of the clock in its cache."""
        response: Response = self._internal_request(self.session, url, method, **options)
        return response

    def update_session_auth_header(self, access_token: str | None = None) -> None:
        """Keep the session without a token: each request brings its own."""

    def close(self) -> None:
        """Close all connections."""
        self.session.close()
        self.naive_session.close()

    def _check_delay(self) -> None:
        """Wait for nothing. The library's own way sleeps for as long as the clock was set back."""

    def _stops(self, until: float) -> Callable[..., None]:
        def stop(response: Response, **_: object) -> None:
            if response.status_code // 100 != _SUCCESS:
                raise _SaidNoError(self._read(response, until))

        return stop

    def _read(self, response: Response, until: float) -> Answer:
        try:
            return whole(response.raw, until, self.caps.bytes)
        except BaseException:
            response.close()  # there may be more to come
            raise


def _bare(session: Session) -> Session:
    """Make a session that remembers nothing, with a connection for each thread."""
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_connections=4, pool_maxsize=THREADS, max_retries=0))
    return session


def _signed(token: str) -> Callable[[PreparedRequest], PreparedRequest]:
    def sign(request: PreparedRequest) -> PreparedRequest:
        if token:
            request.headers["authorization"] = f"Bearer {token}"
        return request

    return sign


def _cause(error: Exception) -> Exception:
    """Return what broke below the library's own wrapping."""
    reason = getattr(error.__context__, "reason", None)
    return reason if isinstance(reason, Exception) else error


# ---- the account ----------------------------------------------------------------------------------------------------


class GraphProtocol(MSGraphProtocol):
    """Where Graph is, and what a token for it has to be for."""

    def __init__(self, endpoint: str) -> None:
        root, _, version = endpoint.rstrip("/").rpartition("/")
        host = (urlsplit(endpoint).hostname or "").lower()
        self._protocol_url = f"{root}/"
        if host in KNOWN_HOSTS["microsoft"]:
            self._oauth_scope_prefix = f"https://{host}/"
        super().__init__(api_version=version, timezone="UTC")  # the host's own zone may be one it does not know

    @property
    def scope(self) -> str:
        """Return what an application asks for: whatever it was granted."""
        return f"{self.protocol_scope_prefix}.default"


class AppTokens(MemoryTokenBackend):
    """MSAL's cache, in memory, for an application and its one scope."""

    def __init__(self, scope: str) -> None:
        super().__init__()
        self._scope = scope

    def get_token_scopes(self, *, username: str | None = None, remove_reserved: bool = False) -> list[str]:
        """Return the scope: the library looks for it in a token that is dropped once it has expired (facts §6.2)."""
        del username, remove_reserved
        return [self._scope]

    def drop(self) -> None:
        """Forget all tokens, so that the next is asked for whatever the cache thinks of their age."""
        for entry in list(self.search(self.CredentialType.ACCESS_TOKEN)):
            self.remove_at(entry)


class GraphAccount(Account):
    """An application of a tenant: `con` sends, `tokens` are what it signs with, `protocol` says where Graph is."""

    connection_constructor = GraphConnection
    con: GraphConnection
    protocol: GraphProtocol

    def __init__(self, credentials: tuple[str, Credential], tenant: str, endpoint: str) -> None:
        protocol = GraphProtocol(endpoint)
        self.backend = AppTokens(protocol.scope)
        self.tokens: Tokens = StaticTokens("")
        super().__init__(
            credentials,
            protocol=protocol,
            auth_flow_type="credentials",
            tenant_id=tenant,
            token_backend=self.backend,
        )
        if is_loopback(urlsplit(endpoint).hostname or ""):
            # What is for this machine may be unencrypted, and must not pass through a proxy.
            self.con.session.trust_env = False

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.con.auth[0]!r})"

    def grant(self, subject: str, scope: str, patience: Patience) -> Grant:
        """Sign in anew. One thread at a time calls this, under the lock of its tokens."""
        del subject, scope
        if self.con.sign_in is None:
            raise TypeError("an account without a way to sign in")
        self.con.sign_in.patience = patience
        self.backend.drop()
        try:
            self.authenticate()
        except ConfigError as error:
            raise AccessError(f"the credential for Microsoft can't be read any more: {error}") from None
        entry = self.backend.get_access_token()
        return Grant(entry["secret"], float(entry["expires_on"]) - float(entry["cached_at"]))


# ---- signing in -----------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class SignIn:
    """The HTTP client that MSAL is given: one address, one send an attempt, each charged.

    A refusal is raised as what somebody has to do, before MSAL makes its own of it. `patience` is of whoever asks.
    """

    url: str
    tenant: str
    client: str
    connection: GraphConnection
    quota: Quota
    clock: Callable[[], float]
    patience: Callable[[], float] = forever

    def get(self, url: str, **_: object) -> Heard:
        """Answer what MSAL would ask first, where its tenant signs in: the job file knows, and it costs a request."""
        del url
        # MSAL insists on https; what is posted goes to `self.url` in any case, also on loopback.
        token = self.url if self.url.startswith("https:") else f"https://{LOGIN}/{self.tenant}/oauth2/v2.0/token"
        place = {
            "token_endpoint": token,
            "authorization_endpoint": token.replace("token", "authorize"),
            "issuer": token,
        }
        return Heard(orjson.dumps(place).decode())

    def post(
        self, url: str, *, data: Mapping[str, str], headers: Mapping[str, str] | None = None, **_: object
    ) -> Heard:
        """Ask for a token. Raises AccessError, RetryableError and PostponedError."""
        del url
        body = urlencode(data).encode()
        sent = {**(headers or {}), "Content-type": "application/x-www-form-urlencoded"}

        def attempt() -> Heard:
            answer = self.connection.once("post", self.url, sent, body, seconds=self.patience())
            return self._heard(answer)

        return self.quota.call(attempt, agent=self.client, scope=Scope.TOKEN, patience=self.patience)

    def close(self) -> None:
        """Leave the connection to the account."""

    def _heard(self, answer: Answer) -> Heard:
        """Return what MSAL has to know of a token, and nothing else that may have come along."""
        said = _object_in(answer.body)
        if answer.status != HTTPStatus.OK:
            raise self._refused(answer, said)
        token, seconds = said.get("access_token"), said.get("expires_in")
        if not isinstance(token, str) or not is_token(token) or not _is_number(seconds):
            raise TransientError("answered a request for a token without one")
        grant = {"token_type": "Bearer", "access_token": token, "expires_in": int(_bounded(seconds))}
        return Heard(orjson.dumps(grant).decode())

    def _refused(self, answer: Answer, said: Mapping[str, object]) -> Exception:
        error = fault(answer, Asked(now=self.clock(), directory=True))
        refusal = Refused.of(said)
        if isinstance(error, RetryableError):
            return error
        if refusal.word in _LATER:
            return TransientError(f"answered {answer.status} {refusal.word}")
        what = refusal.name or f"HTTP {answer.status}"
        return AccessError(
            f"Microsoft refuses the application {self.client} of the tenant {self.tenant} ({what}): {refusal.why}; "
            "then: reconcile check"
        )


@dataclass(frozen=True, slots=True)
class Heard:
    """An answer as MSAL reads one."""

    text: str = field(repr=False)
    status_code: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)

    def raise_for_status(self) -> None:
        """Do nothing: only successes come this far."""


_LATER: Final = {"temporarily_unavailable", "server_error"}
_WORD: Final = re.compile(r"[a-z_]{1,60}", re.ASCII)
_NUMBER: Final = re.compile(r"AADSTS(\d{4,8})\b", re.ASCII)
_SECRETS: Final = "entra.microsoft.com, App registrations, the application, Certificates & secrets"
_NOT_THERE: Final = "no such application in this tenant: check tenant and client_id, and that it was consented to there"
_NO_TENANT: Final = "no such tenant: check tenant, an id or a domain of yours"
_FEDERATION: Final = f"no federated credential has the issuer, subject and audience of the assertion: {_SECRETS}"
_CERTIFICATE: Final = f"the certificate is none of the application's, or has expired: upload it ({_SECRETS})"
# Numbers as learn.microsoft.com/entra/identity-platform/reference-error-codes has them.
_WHY: Final[Mapping[int, str]] = {
    7000215: f"the secret is none of the application's; take its value and not its id ({_SECRETS})",
    7000222: f"the secret has expired: make a new one ({_SECRETS})",
    700016: _NOT_THERE,
    7000229: _NOT_THERE,
    90002: _NO_TENANT,
    900023: _NO_TENANT,
    700027: _CERTIFICATE,
    700024: "the assertion is not valid at this time: set the clock of this machine, or renew the file",
    70021: _FEDERATION,
    700211: _FEDERATION,
    700212: _FEDERATION,
    700213: _FEDERATION,
    7000112: "the application is switched off: entra.microsoft.com, Enterprise applications, Properties",
    53003: "a Conditional Access policy keeps it out",
}
_BY_WORD: Final[Mapping[str, str]] = {
    "invalid_client": f"its secret, certificate or assertion is not accepted: check it ({_SECRETS})",
    "unauthorized_client": _NOT_THERE,
    "invalid_scope": "the endpoint is no address that tokens can be had for: check endpoint",
}


@dataclass(frozen=True, slots=True)
class Refused:
    """Why there is no token: OAuth's word and Microsoft's number. Its description names people and stays out."""

    word: str
    number: int

    @classmethod
    def of(cls, said: Mapping[str, object]) -> Refused:
        """Read the body of a refusal, whatever it is."""
        word, codes, text = said.get("error"), said.get("error_codes"), said.get("error_description")
        numbers = [code for code in codes if isinstance(code, int)] if isinstance(codes, list) else []
        numbers += [int(found) for found in _NUMBER.findall(text[:1000])] if isinstance(text, str) else []
        known = next((number for number in numbers if number in _WHY), numbers[0] if numbers else 0)
        return cls(word if isinstance(word, str) and _WORD.fullmatch(word) else "", known)

    @property
    def name(self) -> str:
        """Return both, as far as there are."""
        return ", ".join(part for part in (self.word, f"AADSTS{self.number}" if self.number else "") if part)

    @property
    def why(self) -> str:
        """Say what is wrong and where it is put right."""
        return _WHY.get(self.number) or _BY_WORD.get(self.word, "an administrator of the tenant has to allow it")


def _object_in(body: bytes) -> Mapping[str, object]:
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _bounded(seconds: object) -> float:
    return min(max(float(str(seconds)), 0.0), LONGEST_LIFE)


# ---- from a job file ------------------------------------------------------------------------------------------------

_BLOCK: Final = re.compile(r"-----BEGIN ([A-Z0-9 ]{1,40})-----[^-]{1,100000}-----END \1-----", re.ASCII)


def account_for(
    auth: MicrosoftAuth,
    endpoint: str,
    environ: Mapping[str, str],
    quota: Quota,
    *,
    clock: Callable[[], float] = time.time,
) -> GraphAccount:
    """Return the account that `auth` of a job file gives, for Graph at `endpoint`.

    Secrets are read now and keys parsed; nothing is sent. Raises ConfigError.
    """
    for name, level in _TALKATIVE.items():
        logging.getLogger(name).setLevel(level)
    if auth.token is not None:
        account = GraphAccount(("token", "token"), "token", endpoint)
        account.tokens = StaticTokens(_plain(auth.token, environ))
        return account
    tenant, client = auth.tenant or "", auth.client_id or ""
    account = GraphAccount((client, _credential(auth, environ)), tenant, endpoint)
    host = _LOGINS.get((urlsplit(endpoint).hostname or "").lower(), LOGIN)
    url = auth.token_uri or f"https://{host}/{quote(tenant, safe='')}/oauth2/v2.0/token"
    if is_loopback(urlsplit(url).hostname or ""):
        account.con.naive_session.trust_env = False
    account.con.sign_in = SignIn(url, tenant, client, account.con, quota, clock)
    scopes = (account.protocol.scope, account.protocol.scope)
    account.tokens = GrantedTokens(account, clock, scopes=scopes, shared=True)
    return account


def _credential(auth: MicrosoftAuth, environ: Mapping[str, str]) -> Credential:
    """Return the credential as MSAL wants it."""
    if auth.certificate is not None:
        return _certificate(auth.certificate, environ)
    if auth.federated is not None:
        assertion = auth.federated
        _plain(assertion, environ)
        # Read anew for each token: whoever writes the file renews it every hour or so.
        return {"client_assertion": lambda: _plain(assertion, environ)}
    if auth.client_secret is not None:
        return auth.client_secret.reveal(environ)
    raise TypeError("credentials that the job file's own checks refuse")


def _certificate(secret: Secret, environ: Mapping[str, str]) -> Credential:
    """Take a PEM file apart, and see that its key and its certificate belong together."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    text = secret.reveal(environ)
    blocks = {found[1].rpartition(" ")[2]: found[0] for found in reversed(list(_BLOCK.finditer(text)))}
    if not {"KEY", "CERTIFICATE"} <= set(blocks):
        _refuse(secret, "lacks a private key or a certificate", "put both into one file, in PEM, without a password")
    try:
        key = load_pem_private_key(blocks["KEY"].encode(), None)
        certificate = x509.load_pem_x509_certificate(blocks["CERTIFICATE"].encode())
        same = certificate.public_key() == key.public_key()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        _refuse(secret, "has a key or a certificate that can't be read", "PEM, without a password")
    if not isinstance(key, RSAPrivateKey) or not same:
        _refuse(secret, "has a key that is not the certificate's, or not RSA", "put an RSA key beside its certificate")
    return {"private_key": blocks["KEY"], "public_certificate": blocks["CERTIFICATE"]}


def _plain(secret: Secret, environ: Mapping[str, str]) -> str:
    value = secret.reveal(environ)
    if not is_token(value):
        _refuse(secret, "is no token", "a token is one word, without Bearer before it")
    return value


def _refuse(secret: Secret, what: str, hint: str) -> NoReturn:
    key = secret.reference.key if secret.reference else "auth"
    raise ConfigError((Problem(key, f"what {secret} holds {what}", hint),))
