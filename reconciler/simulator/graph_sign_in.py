"""How the stand-in Entra signs programs in: client credentials of a tenant's application, and tokens that run out.

A secret is compared, a certificate's signature is really verified, a federated assertion is one that was trusted; times
are those of the server's clock.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs

import orjson

from reconciler.simulator.graph_mailboxes import TENANT, World
from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.loopback import Answer, Request

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

CLIENT: Final = "3c0b1d5e-6f7a-4b1c-8d2e-9a0b1c2d3e4f"
SECRET: Final = f"secret-of-{CLIENT}"
SCRIBE: Final = "5e2d3f70-8a9b-4c3d-9e4f-1b2c3d4e5f60"
READ: Final = "Calendars.Read"
WRITE: Final = "Calendars.ReadWrite"
USERS: Final = "User.ReadBasic.All"
EVERYTHING: Final = frozenset({WRITE, USERS})
LIFETIME: Final = timedelta(seconds=3599)

_SCOPE: Final = "/.default"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_SAYS: Final = {
    "AADSTS90002": (400, "invalid_request", "Tenant not found. Check to make sure you have the correct tenant ID."),
    "AADSTS700016": (400, "unauthorized_client", "Application was not found in the directory."),
    "AADSTS7000215": (401, "invalid_client", "Invalid client secret provided."),
    "AADSTS7000222": (401, "invalid_client", "The provided client secret keys for the app are expired."),
    "AADSTS700027": (401, "invalid_client", "The certificate used to sign the client assertion is not registered."),
    "AADSTS700024": (401, "invalid_client", "Client assertion is not within its valid time range."),
    "AADSTS70021": (401, "invalid_client", "No matching federated identity record found for presented assertion."),
    "AADSTS1002012": (400, "invalid_scope", "The provided value for scope is not valid: use /.default."),
    "AADSTS70003": (400, "unsupported_grant_type", "The app requested an unsupported grant type."),
    "AADSTS900144": (400, "invalid_request", "The request body must contain a secret or an assertion."),
}


@dataclass(frozen=True, slots=True)
class Access:
    """What a token opens: which application's it is, in which tenant, and until when."""

    app: str
    tenant: str
    roles: frozenset[str]
    until: float

    def demand(self, *roles: str) -> None:
        """Refuse unless the token has one of the roles."""
        if not self.roles & set(roles):
            code = "ErrorAccessDenied" if self.roles & {READ, WRITE} else "Authorization_RequestDenied"
            raise RefusedError(403, code)


class GrantError(Exception):
    """No token is given: one of Entra's numbered errors."""


class SignIn:
    """The application, what it may do, and the tokens that were given out. `roles` empty: nobody gave consent.

    `others` are further applications and their roles; the secret of each is its own (`secret_of`).
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, Access] = {}
        self._refused: dict[str, str] = {}
        self._assertions: set[str] = set()
        self._certificates: list[RSAPublicKey] = []
        self.tenants = {TENANT}
        self.secret = SECRET
        self.roles: Collection[str] = EVERYTHING
        self.others: dict[str, Collection[str]] = {}
        self.lifetime = LIFETIME

    def refuse(self, error: str = "AADSTS7000222", app: str = CLIENT) -> None:
        """Give no token to that application any more."""
        self._refused[app] = error

    def admit(self) -> None:
        """Undo `refuse`."""
        self._refused = {}

    def trust(self, assertion: str) -> None:
        """Accept a federated assertion, as it is."""
        self._assertions.add(assertion)

    def trust_certificate(self, pem: bytes) -> None:
        """Accept what is signed with the key of a certificate."""
        from cryptography import x509
        from cryptography.hazmat.primitives.asymmetric import rsa

        key = x509.load_pem_x509_certificate(pem).public_key()
        if not isinstance(key, rsa.RSAPublicKey):
            raise TypeError("a certificate for signing in has an RSA key")
        self._certificates.append(key)

    def issue(
        self,
        *,
        tenant: str = TENANT,
        lifetime: timedelta | None = None,
        roles: Collection[str] | None = None,
        app: str = CLIENT,
    ) -> str:
        """Make a token."""
        with self._world.lock:
            until = self._world.clock().timestamp() + (lifetime or self.lifetime).total_seconds()
            granted = frozenset(self.others.get(app, self.roles) if roles is None else roles)
            said = {"appid": app, "roles": sorted(granted)}
            head, claims = (_packed(orjson.dumps(part)) for part in ({"typ": "JWT", "alg": "RS256"}, said))
            token = f"{head}.{claims}.{self._world.digest(f'token/{self._world.tick()}')}"
            self._tokens[token] = Access(app, tenant, granted, until)
            return token

    def withdraw(self, app: str = "") -> None:
        """Let the tokens of one application, or all, be valid no longer."""
        with self._world.lock:
            self._tokens = {token: access for token, access in self._tokens.items() if app and access.app != app}

    def access(self, request: Request) -> Access:
        """Return what the request's bearer token opens; 401 if that is nothing."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not token:
            raise RefusedError(401, "InvalidAuthenticationToken", "Access token is empty.")
        access = self._tokens.get(token)
        if access is None:
            raise RefusedError(401, "InvalidAuthenticationToken", "CompactToken validation failed.")
        if access.until <= self._world.clock().timestamp():
            raise RefusedError(401, "InvalidAuthenticationToken")
        return access

    def grant(self, request: Request, token_uri: str) -> Answer:
        """Answer the token endpoint of a tenant."""
        try:
            token = self._granted(request, token_uri)
        except GrantError as error:
            code = str(error)
            status, word, says = _SAYS.get(code, (400, "invalid_request", "The request is not valid."))
            body = {"error": word, "error_description": f"{code}: {says}", "error_codes": [int(code[6:] or 0)]}
            return Answer(status=status, body=orjson.dumps(body | {"timestamp": self._world.stamp()}))
        seconds = int(self.lifetime.total_seconds())
        granted = {"token_type": "Bearer", "expires_in": seconds, "ext_expires_in": seconds, "access_token": token}
        return Answer(body=orjson.dumps(granted))

    def _granted(self, request: Request, token_uri: str) -> str:
        form = {name: values[-1] for name, values in parse_qs(request.body.decode()).items()}
        tenant = request.parts[0]
        if tenant not in self.tenants:
            raise GrantError("AADSTS90002")
        app = form.get("client_id", "")
        if error := self._refused.get(app):
            raise GrantError(error)
        if form.get("grant_type") != "client_credentials":
            raise GrantError("AADSTS70003")
        if app not in {CLIENT, *self.others}:
            raise GrantError("AADSTS700016")
        if not form.get("scope", "").endswith(_SCOPE):
            raise GrantError("AADSTS1002012")
        self._prove(form, token_uri)
        return self.issue(tenant=tenant, app=app)

    def _prove(self, form: dict[str, str], token_uri: str) -> None:
        """Check who asks: by secret, by certificate, or by what another issuer says."""
        if "client_secret" in form:
            app = form["client_id"]
            if form["client_secret"] != (self.secret if app == CLIENT else secret_of(app)):
                raise GrantError("AADSTS7000215")
            return
        if form.get("client_assertion_type") != _ASSERTION or "client_assertion" not in form:
            raise GrantError("AADSTS900144")
        assertion = form["client_assertion"]
        if assertion in self._assertions:
            return
        if not self._certificates:
            raise GrantError("AADSTS70021")
        self._check_claims(_verified(assertion, self._certificates), token_uri)

    def _check_claims(self, claims: dict[str, Any], token_uri: str) -> None:
        now, starts, ends = self._world.clock().timestamp(), claims.get("nbf", 0), claims.get("exp", 0)
        if not starts - _SKEW <= now < ends + _SKEW:
            raise GrantError("AADSTS700024")
        if claims.get("iss") != CLIENT or claims.get("sub") != CLIENT or claims.get("aud") != token_uri:
            raise GrantError("AADSTS700027")


_SKEW: Final = 300


def secret_of(app: str) -> str:
    """Return the secret of a further application."""
    return f"secret-of-{app}"


def _verified(assertion: str, keys: list[RSAPublicKey]) -> dict[str, Any]:
    """Return the claims of an assertion that was signed with one of the keys."""
    text, _, signature = assertion.rpartition(".")
    try:
        head, claims = (orjson.loads(_unpacked(part)) for part in text.split("."))
        if any(_genuine(key, text.encode(), _unpacked(signature), head.get("alg")) for key in keys):
            return dict(claims)
    except (binascii.Error, ValueError, AttributeError) as error:
        raise GrantError("AADSTS700027") from error
    raise GrantError("AADSTS700027")


def _genuine(key: RSAPublicKey, text: bytes, signature: bytes, algorithm: object) -> bool:
    # MSAL signs with either, as its authority wants it.
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import padding

    digest = hashes.SHA256()
    paddings: dict[object, Callable[[], Any]] = {
        "RS256": padding.PKCS1v15,
        "PS256": lambda: padding.PSS(padding.MGF1(digest), digest.digest_size),
    }
    if algorithm not in paddings:
        return False
    try:
        key.verify(signature, text, paddings[algorithm](), digest)
    except InvalidSignature:
        return False
    return True


def _packed(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
