"""Tokens for Google: one an agent, scope and hour, however many threads ask, and each allows the least that it must.

They are kept in memory alone, and are forgotten with the process. No sentence, no representation and no log has one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

import orjson

from reconciler.config import GoogleAuth, Secret, WrongError, permitted
from reconciler.errors import ConfigError, Problem
from reconciler.sources.google_grants import (
    EXCHANGE,
    IAM_SCOPE,
    IAM_URI,
    METADATA_HOST,
    Exchange,
    IamSigner,
    KeySigner,
    Machine,
    Sender,
)
from reconciler.sources.tokens import GrantedTokens, Granter, StaticTokens, Tokens, is_token
from reconciler.text import line

if TYPE_CHECKING:
    from google.auth.crypt import RSASigner

READ_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events.readonly"
WRITE_SCOPE: Final = "https://www.googleapis.com/auth/calendar.events"
SCOPES: Final = (READ_SCOPE, WRITE_SCOPE)
FULL_SCOPE: Final = "https://www.googleapis.com/auth/calendar"
"""All of it, whom calendars are shared with included. Nothing here needs it."""
METADATA_VARIABLE: Final = "GCE_METADATA_HOST"  # as google-auth calls it

_KEY_KIND: Final = "service_account"
_ELSEWHERE: Final = {"credential_source", "executable", "service_account_impersonation_url"}


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
    return GrantedTokens(exchange, sender.clock, scopes=SCOPES, shared=not auth.delegated)


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
