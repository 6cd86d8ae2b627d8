"""How the stand-in Google signs programs in: the JWT grant of service accounts, signJwt, and tokens that run out.

A signature is really verified, with a key made for this process; times are those of the server's clock.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any, Final
from urllib.parse import parse_qs

import orjson

from reconciler.simulator.google_calendars import World
from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.loopback import Answer, Request

SCOPE: Final = "https://www.googleapis.com/auth/"
READ: Final = SCOPE + "calendar.events.readonly"
WRITE: Final = SCOPE + "calendar.events"
ROBOT: Final = "robot@sample.iam.gserviceaccount.com"
SCRIBE: Final = "scribe@sample.iam.gserviceaccount.com"
CLIENT: Final = "100000000000000000001"
LIFETIME: Final = timedelta(seconds=3599)

_ACCOUNTS: Final = ".iam.gserviceaccount.com"
_GRANT: Final = "urn:ietf:params:oauth:grant-type:jwt-bearer"
_AUDIENCE: Final = "https://oauth2.googleapis.com/token"
_LONGEST: Final = 3600  # seconds between iat and exp
_SKEW: Final = 300
_SIGNERS: Final = frozenset({SCOPE + "cloud-platform", SCOPE + "iam"})
_SAYS: Final = {
    "invalid_grant": "Invalid email or User ID",
    "unauthorized_client": (
        "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the "
        "scopes requested."
    ),
    "invalid_scope": "Invalid OAuth scope or ID token audience provided.",
    "invalid_client": "The OAuth client was not found.",
    "access_denied": "Access denied.",
}


@dataclass(frozen=True, slots=True)
class Access:
    """What a token opens, and who is charged for what is done with it."""

    subject: str
    scopes: frozenset[str]
    until: float
    payer: str

    @property
    def robot(self) -> bool:
        """Say whether the token is the service account's own: nobody is impersonated."""
        return self.subject == self.payer and self.subject.endswith(_ACCOUNTS)

    def demand(self, *names: str) -> None:
        """Refuse unless the token has one of the scopes."""
        if not self.scopes & {SCOPE + name for name in names}:
            raise RefusedError(403, "insufficientPermissions")


class GrantError(Exception):
    """No token is given: an OAuth error code and its description."""


class SignIn:
    """The accounts, the key of the service accounts, and the tokens that were given out.

    `allowed` are the scopes with which the robot may act for people, None for any; `others` those of further service
    accounts. `asked` are all requests for tokens, refused ones too: by whom, for whom, with which scope.
    """

    def __init__(self, world: World) -> None:
        self._world = world
        self._tokens: dict[str, Access] = {}
        self._refused: dict[str, str] = {}
        self.allowed: Collection[str] | None = None
        self.others: dict[str, Collection[str]] = {}
        self.asked: list[tuple[str, str, str]] = []

    def refuse(self, subject: str, error: str = "invalid_grant") -> None:
        """Give no token for that account any more, nor to it if it is a service account."""
        self._refused[subject.lower()] = error

    def admit(self, subject: str) -> None:
        """Undo `refuse`."""
        self._refused.pop(subject.lower(), None)

    def issue(self, subject: str, scopes: Collection[str], *, payer: str, lifetime: timedelta = LIFETIME) -> str:
        """Make a token."""
        with self._world.lock:
            number = self._world.tick()
            until = self._world.clock().timestamp() + lifetime.total_seconds()
            token = "ya29." + hashlib.sha256(f"{self._world.seed}/token/{number}".encode()).hexdigest()
            self._tokens[token] = Access(subject.lower(), frozenset(scopes), until, payer)
            return token

    def withdraw(self, subject: str = "") -> None:
        """Let the tokens of one account, or all, be valid no longer."""
        with self._world.lock:
            kept = {token: access for token, access in self._tokens.items() if subject and access.subject != subject}
            self._tokens = kept

    def access(self, request: Request) -> Access:
        """Return what the request's bearer token opens; 401 if that is nothing."""
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        access = self._tokens.get(token) if scheme == "Bearer" else None
        if access is None or access.until <= self._world.clock().timestamp():
            raise RefusedError(401, "authError", location="Authorization")
        return access

    def grant(self, request: Request, token_uri: str) -> Answer:
        """Answer the token endpoint."""
        try:
            token = self._granted(request, token_uri)
        except GrantError as error:
            code, says = error.args
            status = 401 if code in {"unauthorized_client", "invalid_client"} else 400
            return Answer(status=status, body=orjson.dumps({"error": code, "error_description": says}))
        body = {"access_token": token, "expires_in": int(LIFETIME.total_seconds()), "token_type": "Bearer"}
        return Answer(body=orjson.dumps(body))

    def _granted(self, request: Request, token_uri: str) -> str:
        form = parse_qs(request.body.decode())
        if form.get("grant_type") != [_GRANT]:
            raise GrantError("unsupported_grant_type", "Invalid grant_type")
        claims = _verified(form.get("assertion", [""])[0])
        self._check_claims(claims, token_uri)
        scopes, issuer = str(claims.get("scope", "")).split(), str(claims.get("iss"))
        subject = str(claims.get("sub") or issuer).lower()
        self.asked.append((issuer, subject, " ".join(scopes)))
        if error := self._refused.get(subject) or self._refused.get(issuer):
            raise GrantError(error, _SAYS.get(error, error))
        if subject == issuer:
            return self.issue(issuer, scopes, payer=issuer)
        allowed = self.others.get(issuer, self.allowed)
        if not scopes or (allowed is not None and not set(scopes) <= set(allowed)):
            raise GrantError("unauthorized_client", _SAYS["unauthorized_client"])
        if subject not in self._world.calendars:
            raise GrantError("invalid_grant", _SAYS["invalid_grant"])
        # facts §3.2: under delegation the service account is charged, unless a request names a quotaUser.
        return self.issue(subject, scopes, payer=issuer)

    def _check_claims(self, claims: dict[str, Any], token_uri: str) -> None:
        if claims.get("iss") not in {ROBOT, *self.others}:
            raise GrantError("invalid_grant", "Invalid issuer: Not a valid email or user ID.")
        if claims.get("aud") not in {_AUDIENCE, token_uri}:
            raise GrantError("invalid_grant", "Invalid JWT: Failed audience check.")
        issued, ends = claims.get("iat"), claims.get("exp")
        if not isinstance(issued, int) or not isinstance(ends, int):
            raise GrantError("invalid_grant", "Invalid JWT: iat and exp are needed.")
        if not issued - _SKEW <= self._world.clock().timestamp() < ends + _SKEW or ends - issued > _LONGEST:
            raise GrantError(
                "invalid_grant",
                "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe. "
                "Check your iat and exp values in the JWT claim.",
            )

    def sign_jwt(self, request: Request, account: str) -> Answer:
        """Answer IAM's signJwt for whoever may sign in the service account's name."""
        access = self.access(request)
        if not access.scopes & _SIGNERS:
            raise RefusedError(403, "insufficientPermissions")
        if account != ROBOT:
            raise RefusedError(404, "notFound", f"Unknown service account: {account[:80]}")
        payload = orjson.loads(orjson.loads(request.body)["payload"])
        return Answer(body=orjson.dumps({"keyId": key_id(), "signedJwt": signed(payload)}))


def service_account_info(token_uri: str, account: str = ROBOT) -> dict[str, str]:
    """Return the contents of a key file of a service account."""
    _, pem = _key()
    return {
        "type": "service_account",
        "project_id": "sample",
        "private_key_id": key_id(),
        "private_key": pem,
        "client_email": account,
        "client_id": CLIENT,
        "token_uri": token_uri,
    }


def key_id() -> str:
    _, pem = _key()
    return hashlib.sha256(pem.encode()).hexdigest()[:40]


def signed(claims: dict[str, Any]) -> str:
    """Sign claims with the service account's key."""
    sign, _ = _key()
    head = {"alg": "RS256", "typ": "JWT", "kid": key_id()}
    text = b".".join(_packed(orjson.dumps(part)) for part in (head, claims))
    return (text + b"." + _packed(sign(text))).decode()


def _packed(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _unpacked(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _verified(assertion: str) -> dict[str, Any]:
    """Return the claims of an assertion whose signature is the service account's."""
    sign, _ = _key()
    text, _, signature = assertion.rpartition(".")
    try:
        # PKCS#1 v1.5 signs the same text always the same way, so that signing again verifies.
        genuine = sign(text.encode()) == _unpacked(signature)
        head, claims = (orjson.loads(_unpacked(part)) for part in text.split("."))
    except (binascii.Error, ValueError) as error:
        raise GrantError("invalid_grant", "Invalid JWT.") from error
    if not genuine or head.get("alg") != "RS256":
        raise GrantError("invalid_grant", "Invalid JWT Signature.")
    return dict(claims)


@cache
def _key() -> tuple[Callable[[bytes], bytes], str]:
    """Make the service account's RSA key, once a process: a function that signs, and the key for a file."""
    # google-auth brings this package along.
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    return lambda text: key.sign(text, padding.PKCS1v15(), hashes.SHA256()), pem
