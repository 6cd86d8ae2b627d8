"""How the stand-in Google says no: the JSON bodies of its errors, by status and reason (facts §3.3, §1.6)."""

from __future__ import annotations

from typing import Any, Final

import orjson

from reconciler.simulator.loopback import Answer, Fault, Harm, retry_after

_STATUS_WORDS: Final = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ALREADY_EXISTS",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
}
_DOMAINS: Final = {
    "rateLimitExceeded": "usageLimits",
    "userRateLimitExceeded": "usageLimits",
    "quotaExceeded": "usageLimits",
    "dailyLimitExceeded": "usageLimits",
    "accessNotConfigured": "usageLimits",
    "fullSyncRequired": "calendar",
    "updatedMinTooLongAgo": "calendar",
    "forbiddenForNonOrganizer": "calendar",
    "forbiddenForServiceAccounts": "calendar",
    "requiredAccessLevel": "calendar",
    "notACalendarUser": "calendar",
}
_MESSAGES: Final = {
    "backendError": "Backend Error",
    "conditionNotMet": "Precondition Failed",
    "quotaExceeded": "Calendar usage limits exceeded.",
    "rateLimitExceeded": "Rate Limit Exceeded",
    "userRateLimitExceeded": "User Rate Limit Exceeded",
    "dailyLimitExceeded": "Daily Limit Exceeded",
    "notACalendarUser": "The user must be signed up for Google Calendar.",
    "notFound": "Not Found",
    "forbidden": "Forbidden",
    "accessNotConfigured": (
        "Google Calendar API has not been used in project 12345 before or it is disabled. Enable it, then retry."
    ),
    "fullSyncRequired": "Sync token is no longer valid, a full sync is required.",
    "updatedMinTooLongAgo": "The requested minimum modification time lies too far in the past.",
    "deleted": "Resource has been deleted",
    "duplicate": "The requested identifier already exists.",
    "authError": "Invalid Credentials",
    "insufficientPermissions": "Request had insufficient authentication scopes.",
    "forbiddenForNonOrganizer": "Shared properties can only be changed by the organizer of the event.",
    "forbiddenForServiceAccounts": (
        "Service accounts cannot invite attendees without Domain-Wide Delegation of Authority."
    ),
    "requiredAccessLevel": "You need to have writer access to this calendar.",
    "timeRangeEmpty": "The specified time range is empty.",
}


class RefusedError(Exception):
    """A request is refused, with Google's status and reason. `location` is the parameter or header that it is about."""

    def __init__(self, status: int, reason: str, message: str = "", *, location: str = "") -> None:
        super().__init__(message or _MESSAGES.get(reason, reason))
        self.status = status
        self.reason = reason
        self.location = location


def refusal(error: RefusedError, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    """Answer with the shape that Calendar has used since its v3: a list of errors with a reason each."""
    detail = {"domain": _DOMAINS.get(error.reason, "global"), "reason": error.reason, "message": str(error)}
    if error.location:
        kind = "header" if error.location in {"If-Match", "Authorization"} else "parameter"
        detail |= {"locationType": kind, "location": error.location}
    body: dict[str, Any] = {"error": {"errors": [detail], "code": error.status, "message": str(error)}}
    return Answer(status=error.status, body=orjson.dumps(body, option=orjson.OPT_INDENT_2), headers=headers)


def failing(fault: Fault) -> Answer | None:
    """Answer with the error that a fault asks for, None when it asks for something else."""
    headers = retry_after(fault.retry_after)
    if fault.what is Harm.ERROR:
        return refusal(RefusedError(fault.status, fault.reason), headers)
    if fault.what is not Harm.NEW_STYLE:
        return None
    # facts §3.3: no errors[], a status word; the client library does not recognise it.
    info = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "RATE_LIMIT_EXCEEDED"}
    error: dict[str, Any] = {
        "code": fault.status,
        "message": _MESSAGES.get(fault.reason, fault.reason),
        "status": "RESOURCE_EXHAUSTED"
        if "LimitExceeded" in fault.reason
        else _STATUS_WORDS.get(fault.status, "UNKNOWN"),
        "details": [info | {"domain": "googleapis.com"}],
    }
    return Answer(status=fault.status, body=orjson.dumps({"error": error}), headers=headers)
