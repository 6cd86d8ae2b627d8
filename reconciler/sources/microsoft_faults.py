"""What Microsoft Graph means when it says no: an answer's status and its codes, as an error of `answers` with a clause.

Graph wraps the codes of the service behind it: all of them count, in whatever case, the outer one is the reason that is
repeated. Of what it writes only codes are repeated, and only if they are one word: a message may name a mailbox.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus

import orjson

from reconciler.errors import AccessError
from reconciler.sources.answers import (
    DeadCursorError,
    DeniedError,
    ExpiredTokenError,
    GoneError,
    Level,
    MissingError,
    MovedError,
    ParkedError,
    ProviderError,
    ReadOnlyError,
    RejectedError,
    TakenError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.wire import Answer, retry_after

PARSED = 1_000_000  # bytes of an error that are looked at
DEEPEST = 8  # errors inside errors that are looked at
CROWDED = "MailboxConcurrency"
EMPTY = "emptyBody"

_WORD = re.compile(r"[A-Za-z][A-Za-z0-9_.]{0,79}", re.ASCII)
# Everything below is compared in lower case: the same code comes in several spellings (microsoft-graph-docs#2350).
_DEAD_CURSOR = {"syncstatenotfound", "syncstateinvalid", "resyncrequired"}
_CONSENT = {"authorization_requestdenied", "authorization_identitynotfound"}
_SCOPE = {"erroraccessdenied"}
_NO_MAILBOX = {"mailboxnotenabledforrestapi", "mailboxnotsupportedforrestapi", "extensionerror"}
_NOBODY = {"errorinvaliduser", "request_resourcenotfound", "resourcenotfound", "errornonexistentmailbox"}
_NO_ITEM = {"erroritemnotfound"}
_TAKEN = {"errorduplicatetransactionid"}
_FULL = {"errorquotaexceeded"}
_OF_ONE_MAILBOX = ("mailbox", "requestrate", "incomingbytes")

READ, WRITE = "Calendars.Read", "Calendars.ReadWrite"
"""The permissions of an application that reading and writing calendars takes."""

_PERMISSION = (
    "the application may not do that in this tenant. An administrator grants it: entra.microsoft.com, App "
    "registrations, the application, API permissions, Microsoft Graph, Application permissions, {}, then "
    "Grant admin consent"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, as far as it decides what the answer means, and the time it is now."""

    now: float
    item: bool = False  # one event by its id
    cursor: bool = False
    write: bool = False
    directory: bool = False  # who somebody is: an application may read calendars and not know people


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no: its codes from the outermost on; its messages in lower case."""

    status: int
    codes: tuple[str, ...]
    message: str
    after: float | None
    empty: bool

    @property
    def reason(self) -> str:
        """Return Microsoft's own word for it, empty if it gave none."""
        return self.codes[0] if self.codes else ""

    @property
    def says(self) -> str:
        """Return the predicate of a sentence."""
        return f"answered {self.status} {self.reason}".rstrip()

    def gives(self, codes: set[str]) -> bool:
        """Tell whether one of `codes` is among its own."""
        return any(code.lower() in codes for code in self.codes)


def fault(answer: Answer, asked: Asked) -> ProviderError | AccessError:
    """Return what an answer other than a success means."""
    return meaning(refusal_in(answer, asked.now), asked)


def refusal_in(answer: Answer, now: float) -> Refusal:
    """Read the body of an error, whatever it is."""
    said: object = None
    if len(answer.body) <= PARSED:
        try:
            said = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            said = None
    return refusal_of(answer.status, answer.headers, said, now)


def refusal_of(status: int, headers: Mapping[str, str], said: object, now: float) -> Refusal:
    """Read an error that is parsed already, as one inside a batch is. Names of `headers` are in lower case."""
    errors = list(_errors(said))
    codes = [error.get("code") for error in errors]
    messages = [error.get("message") for error in errors]
    return Refusal(
        status,
        tuple(dict.fromkeys(code for code in codes if isinstance(code, str) and _WORD.fullmatch(code))),
        " ".join(message[:1000] for message in messages if isinstance(message, str)).lower(),
        retry_after(headers, now),
        not said,
    )


def _errors(said: object) -> Iterator[Mapping[str, object]]:
    """Walk from an error into those that it was made of: `innerError`, which older services spell `innererror`."""
    inner = said.get("error") if isinstance(said, dict) else None
    for _ in range(DEEPEST):
        if not isinstance(inner, dict):
            return
        yield inner
        inner = inner.get("innerError") or inner.get("innererror")


def meaning(no: Refusal, asked: Asked) -> ProviderError | AccessError:
    """Return what a refusal means: by its codes where they say it, else by its status."""
    return _by_code(no, asked) or _by_status(no, asked)


# ---- by code --------------------------------------------------------------------------------------------------------


def _by_code(no: Refusal, asked: Asked) -> ProviderError | None:
    match no.status:
        # "40X-series", says the overview of delta queries; 410 is only the most frequent (facts §1.7).
        case 400 | 404 | 409 | 410 if no.gives(_DEAD_CURSOR):
            return DeadCursorError(no.says, reason=no.reason)
        case 400 | 409 if no.gives(_TAKEN):
            return TakenError(no.says, reason=no.reason)
        case 404:
            return _missing(no, asked)
        case 429 | 503 if CROWDED.lower() in no.message.replace(" ", ""):
            return _throttled(no)
    return ReadOnlyError(no.says, reason=no.reason) if asked.write and no.gives(_FULL) else None


def _missing(no: Refusal, asked: Asked) -> ProviderError:
    if no.gives(_NO_MAILBOX):
        why = "no mailbox in the cloud: it is on premises, has no licence, or is not set up yet (a quarter of an hour)"
        return ParkedError(f"{no.says}: {why}", reason=no.reason)
    if no.gives(_NOBODY):
        return ParkedError(f"{no.says}: the account is gone or renamed, or never was", reason=no.reason)
    if asked.item and no.gives(_NO_ITEM):
        return GoneError(no.says, reason=no.reason)
    return MissingError(no.says, reason=no.reason)


# ---- by status ------------------------------------------------------------------------------------------------------


def _by_status(no: Refusal, asked: Asked) -> ProviderError | AccessError:
    match no.status:
        case 401:
            return ExpiredTokenError(no.says, reason=no.reason)
        case 403:
            return _forbidden(no, asked)
        case 409 | 412:
            return MovedError(no.says, reason=no.reason)
        case 410:
            return (DeadCursorError if asked.cursor else MissingError)(no.says, reason=no.reason)
        case 429:
            return _throttled(no)
        case _:
            return _other(no)


def _forbidden(no: Refusal, asked: Asked) -> ProviderError | AccessError:
    needed, does = (WRITE, "write") if asked.write else (READ, "read")
    if no.gives(_CONSENT) and not asked.directory:
        return AccessError(f"Microsoft {no.says}: {_PERMISSION.format(needed)}; then: reconcile check")
    if no.gives(_SCOPE) and not asked.directory:
        # The same word whether nobody was consented to or this mailbox is outside of what was.
        why = f"the application may not {does} this mailbox: {needed} is not granted, or limited to others"
        return ParkedError(f"{no.says}: {why}", reason=no.reason)
    return DeniedError(no.says, reason=no.reason)


def _throttled(no: Refusal) -> ThrottledError:
    """Say whose limit it is. Outlook counts by application and mailbox; the message names what it counted."""
    message = no.message.replace(" ", "")
    if CROWDED.lower() in message:
        # Not a matter of time but of how many are under way: Retry-After says 1 whatever happens (facts §4).
        return ThrottledError(f"{no.says} ({CROWDED})", level=Level.AGENT, reason=CROWDED)
    ours = any(word in message for word in _OF_ONE_MAILBOX) or no.gives({"applicationthrottled"})
    level = Level.AGENT if ours else Level.PROJECT
    return ThrottledError(no.says, level=level, reason=no.reason, after=no.after)


def _other(no: Refusal) -> ProviderError:
    if no.status == HTTPStatus.INSUFFICIENT_STORAGE:
        return ReadOnlyError(no.says, reason=no.reason)
    match no.status // 100:
        case 3:
            return DeniedError(f"answered with a redirect (HTTP {no.status}), which is not followed")
        case 4 if no.status != HTTPStatus.REQUEST_TIMEOUT:
            return RejectedError(no.says, reason=no.reason)
    if no.empty and no.status in {HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.GATEWAY_TIMEOUT}:
        # Graph gives up like that on pages that are too large for it (facts §1.7): a smaller one may come.
        return TransientError(f"{no.says} with nothing in it", reason=EMPTY, after=no.after)
    return TransientError(no.says, reason=no.reason, after=no.after)
