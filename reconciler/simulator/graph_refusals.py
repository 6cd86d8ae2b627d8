"""How the stand-in Graph says no: the JSON bodies of its errors, by status and code (facts §4, §1.7)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

import orjson

from reconciler.simulator.loopback import Answer, Fault, Harm, retry_after

Headers = tuple[tuple[str, str], ...]

_TEXTS: Final = {
    "InvalidAuthenticationToken": "Lifetime validation failed, the token is expired.",
    "Authorization_RequestDenied": "Insufficient privileges to complete the operation.",
    "ErrorAccessDenied": "Access is denied. Check credentials and try again.",
    "ErrorInvalidUser": "The requested user is invalid.",
    "Request_ResourceNotFound": "The resource does not exist or one of its queried reference-property objects is gone.",
    "MailboxNotEnabledForRESTAPI": "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
    "MailboxNotSupportedForRESTAPI": "REST API is not yet supported for this mailbox.",
    "ErrorItemNotFound": "The specified object was not found in the store.",
    "ErrorIrresolvableConflict": "The send or update operation could not be performed because the change key passed in "
    "the request does not match the current change key for the item.",
    "ErrorDuplicateTransactionId": "Your request can't be completed. The TransactionId specified in the request has "
    "already been used to create a different event.",
    "ErrorOccurrenceCrossingBoundary": "The modified occurrence is crossing or overlapping an adjacent occurrence.",
    "SyncStateNotFound": "The sync state generation is not found; generation=149;[highest=157][lowest=150].",
    "SyncStateInvalid": "The sync state data is invalid.",
    "resyncRequired": "Resync required. Replace any local items with the server's version.",
    "TooManyRequests": "Too many requests.",
    "UnknownError": "",
    "ErrorInternalServerError": "An internal server error occurred. The operation failed.",
}
_STATUS: Final = {"ErrorAccessDenied": 403, "Authorization_RequestDenied": 403}


class RefusedError(Exception):
    """A request is refused, with Graph's status and code. `more` stands beside them in the body."""

    def __init__(
        self, status: int, code: str, message: str = "", *, headers: Headers = (), more: dict[str, Any] | None = None
    ) -> None:
        super().__init__(message or _TEXTS.get(code, code))
        self.status = status
        self.code = code
        self.headers = headers
        self.more = more or {}


def about_mailbox(code: str) -> RefusedError:
    """Return the refusal that a mailbox out of reach answers with: 403 or 404, as its code has it."""
    return RefusedError(_STATUS.get(code, 404), code)


def refusal(error: RefusedError, date: str) -> Answer:
    """Answer in the shape that all of Graph has: a code, a sentence, and an inner error that names the request."""
    inner = {"date": date, "request-id": "00000000-0000-0000-0000-000000000000"}
    told = {"code": error.code, "message": str(error), **error.more, "innerError": inner}
    headers = error.headers
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers += (("WWW-Authenticate", 'Bearer realm="", error="invalid_token"'),)
    return Answer(status=error.status, body=orjson.dumps({"error": told}), headers=headers)


def failing(fault: Fault, date: str) -> Answer | None:
    """Answer with the error that a fault asks for, None when it asks for something else.

    A fault without a reason has an empty body: facts §1.7, 503 and 504 come like that.
    """
    if fault.what is not Harm.ERROR:
        return None
    headers = retry_after(fault.retry_after)
    if fault.reason in {"", "backendError"}:
        return Answer(status=fault.status, headers=headers)
    error = RefusedError(fault.status, fault.reason, _limited(fault.reason), headers=headers + moved(fault.reason))
    if fault.reason in _LIMITS:
        error.code = "ApplicationThrottled"
    return refusal(error, date)


_LIMITS: Final = frozenset({"MailboxConcurrency", "RequestRate", "IncomingBytes"})


def _limited(reason: str) -> str:
    return f"Application is over its {reason} limit." if reason in _LIMITS else ""


def throttled(limit: str, seconds: int) -> RefusedError:
    """Refuse what is over one of a mailbox's limits (facts §4)."""
    return RefusedError(429, "ApplicationThrottled", _limited(limit), headers=retry_after(seconds))


def moved(code: str) -> Headers:
    """Facts §1.7: a 410 names where to begin anew, with an empty token."""
    if not code.startswith("SyncState"):
        return ()
    return (("Location", "https://graph.microsoft.com/v1.0/users/calendarView/delta?$deltatoken="),)
