"""What Microsoft means when it says no, in every form that was seen of it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest

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
from reconciler.sources.microsoft_faults import CROWDED, EMPTY, Asked, fault
from reconciler.sources.wire import Answer

NOW = datetime(2026, 11, 22, 20, tzinfo=UTC).timestamp()
READ = Asked(now=NOW)
ITEM, CURSOR, WRITE, WHO = (Asked(now=NOW, **{name: True}) for name in ("item", "cursor", "write", "directory"))
SECRET = "carla@client.example"


def no(status: int, code: object = "", message: object = SECRET, headers: Any = None, inner: str = "") -> Answer:
    """Write a refusal as Graph does: a code, a message that may name people, and an error inside."""
    error = {"code": code, "message": message, "innerError": {"date": "2026-11-22", "code": inner}}
    return Answer(status, headers or {}, orjson.dumps({"error": error}))


@pytest.mark.parametrize(
    ("answer", "asked", "kind", "says"),
    [
        (no(400, "ErrorInvalidRequest"), READ, RejectedError, "answered 400 ErrorInvalidRequest"),
        (no(400, "resyncRequired"), READ, DeadCursorError, "answered 400 resyncRequired"),
        (no(400, "BadRequest"), CURSOR, RejectedError, "answered 400 BadRequest"),
        (no(404, "SYNCSTATENOTFOUND"), CURSOR, DeadCursorError, "answered 404 SYNCSTATENOTFOUND"),
        (no(410, "Gone", inner="SyncStateInvalid"), READ, DeadCursorError, "answered 410 Gone"),
        (no(410), CURSOR, DeadCursorError, "answered 410"),
        (no(410), READ, MissingError, "answered 410"),
        (no(400, "ErrorDuplicateTransactionId"), WRITE, TakenError, "answered 400 ErrorDuplicateTransactionId"),
        (no(409, "ErrorDuplicateTransactionId"), WRITE, TakenError, "answered 409 ErrorDuplicateTransactionId"),
        (no(409, "ErrorConcurrentItemSave"), WRITE, MovedError, "answered 409 ErrorConcurrentItemSave"),
        (no(412, "ErrorIrresolvableConflict"), WRITE, MovedError, "answered 412 ErrorIrresolvableConflict"),
        (no(401, "InvalidAuthenticationToken"), READ, ExpiredTokenError, "answered 401 InvalidAuthenticationToken"),
        (no(403, "ErrorSomething"), READ, DeniedError, "answered 403 ErrorSomething"),
        (no(403, "ErrorAccessDenied"), WHO, DeniedError, "answered 403 ErrorAccessDenied"),
        (no(403, "Authorization_RequestDenied"), WHO, DeniedError, "answered 403 Authorization_RequestDenied"),
        (no(404, "ErrorItemNotFound"), ITEM, GoneError, "answered 404 ErrorItemNotFound"),
        (no(404, "NotFound", inner="erroritemnotfound"), ITEM, GoneError, "answered 404 NotFound"),
        (no(404, "ErrorItemNotFound"), READ, MissingError, "answered 404 ErrorItemNotFound"),
        (no(404, "ErrorFolderNotFound"), ITEM, MissingError, "answered 404 ErrorFolderNotFound"),
        (Answer(404, {}, b"<html>"), ITEM, MissingError, "answered 404"),
        (no(405, "Method"), READ, RejectedError, "answered 405 Method"),
        (no(408, "RequestTimeout"), READ, TransientError, "answered 408 RequestTimeout"),
        (no(500, "ErrorInternalServerError"), READ, TransientError, "answered 500 ErrorInternalServerError"),
        (Answer(502, {}, b"<html>"), READ, TransientError, "answered 502"),
        (Answer(503, {}, b""), READ, TransientError, "answered 503 with nothing in it"),
        (Answer(504, {}, b""), READ, TransientError, "answered 504 with nothing in it"),
        (no(504, "UnknownError", ""), READ, TransientError, "answered 504 UnknownError"),
        (Answer(302, {}, b""), READ, DeniedError, "answered with a redirect (HTTP 302), which is not followed"),
        (no(507, "InsufficientStorage"), WRITE, ReadOnlyError, "answered 507 InsufficientStorage"),
        (no(500, "ErrorQuotaExceeded"), WRITE, ReadOnlyError, "answered 500 ErrorQuotaExceeded"),
        (no(500, "ErrorQuotaExceeded"), READ, TransientError, "answered 500 ErrorQuotaExceeded"),
    ],
)
def test_each_refusal_has_its_meaning(answer: Answer, asked: Asked, kind: type[ProviderError], says: str) -> None:
    error = fault(answer, asked)
    assert type(error) is kind
    assert str(error) == says
    assert SECRET not in repr(error)


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("MailboxNotEnabledForRESTAPI", "on premises"),
        ("mailboxnotsupportedforrestapi", "on premises"),
        ("extensionError", "on premises"),
        ("ErrorInvalidUser", "gone or renamed"),
        ("Request_ResourceNotFound", "gone or renamed"),
        ("ResourceNotFound", "gone or renamed"),
        ("ErrorNonExistentMailbox", "gone or renamed"),
    ],
)
@pytest.mark.parametrize("asked", [READ, ITEM, CURSOR, WRITE, WHO])
def test_a_mailbox_that_is_not_there_is_never_an_event_that_is_gone(code: str, why: str, asked: Asked) -> None:
    error = fault(no(404, code), asked)
    assert isinstance(error, ParkedError)
    assert why in str(error)
    assert error.reason == code


def test_a_mailbox_outside_of_the_applications_scope_is_parked_and_a_tenant_without_consent_stops() -> None:
    parked = fault(no(403, "ErrorAccessDenied"), READ)
    assert isinstance(parked, ParkedError)
    assert "Calendars.Read is not granted, or limited to others" in str(parked)
    stopped = fault(no(403, "Authorization_RequestDenied"), READ)
    assert isinstance(stopped, AccessError)
    assert "Grant admin consent; then: reconcile check" in str(stopped)
    assert SECRET not in str(stopped)


@pytest.mark.parametrize(
    ("answer", "level", "reason", "after"),
    [
        (
            no(429, "ApplicationThrottled", f"over its {CROWDED} limit.", {"retry-after": "1"}),
            Level.AGENT,
            CROWDED,
            None,
        ),
        (no(503, "ServiceUnavailable", "over its MailboxConcurrency limit"), Level.AGENT, CROWDED, None),
        (
            no(429, "ApplicationThrottled", "over its RequestRate limit", {"retry-after": "41"}),
            *(Level.AGENT, "ApplicationThrottled", 41.0),
        ),
        (no(429, "ApplicationThrottled"), Level.AGENT, "ApplicationThrottled", None),
        (no(429, "TooManyRequests", "IncomingBytes limit"), Level.AGENT, "TooManyRequests", None),
        (no(429, "TooManyRequests", "Too many", {"retry-after": "2.5"}), Level.PROJECT, "TooManyRequests", 2.5),
        (no(429, "activityLimitReached"), Level.PROJECT, "activityLimitReached", None),
        (Answer(429, {"retry-after": "Sun, 22 Nov 2026 20:00:30 GMT"}, b""), Level.PROJECT, "", 30.0),
    ],
)
def test_a_limit_is_of_the_mailbox_where_microsoft_says_so(
    answer: Answer, level: Level, reason: str, after: float | None
) -> None:
    error = fault(answer, READ)
    assert isinstance(error, ThrottledError)
    assert (error.level, error.reason, error.after) == (level, reason, after)


def test_a_server_that_gives_up_on_a_page_says_so_in_its_own_way() -> None:
    error = fault(Answer(503, {"retry-after": "9"}, b""), CURSOR)
    assert isinstance(error, TransientError)
    assert (error.reason, error.after) == (EMPTY, 9.0)
    told = fault(no(503, "ServiceUnavailable"), CURSOR)
    assert isinstance(told, TransientError)
    assert told.reason == "ServiceUnavailable"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"[]",
        b"7",
        b'{"error": "text"}',
        b'{"error": null}',
        b'{"error": {"code": 7, "message": 7, "innerError": null}}',
        b'{"error": {"code": "two words", "innerError": [1]}}',
        b'{"error": {"code": "a\\u202eb", "innererror": {"code": "carla@client.example"}}}',
        b'{"error": {"code": "' + b"x" * 5000 + b'"}}',
        b'{"error":' * 3000 + b"1" + b"}" * 3000,
        b" " * 2_000_000,
    ],
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 412, 429, 500, 503])
def test_a_body_in_any_shape_is_an_error_without_a_reason(status: int, body: bytes) -> None:
    error = fault(Answer(status, {}, body), READ)
    assert isinstance(error, ProviderError)
    assert error.reason in {"", EMPTY}
    assert str(error) in {f"answered {status}", f"answered {status} with nothing in it"}


def test_errors_inside_errors_have_an_end() -> None:
    inside: dict[str, Any] = {"code": "SyncStateNotFound"}
    for _ in range(100):
        inside = {"code": "Wrapped", "innerError": inside}
    assert isinstance(fault(Answer(410, {}, orjson.dumps({"error": inside})), READ), MissingError)
