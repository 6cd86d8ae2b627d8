"""Every way in which Google says no has one meaning, whichever shape the answer has."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from reconciler.sources.google_faults import Asked, fault
from reconciler.sources.wire import LONGEST_WAIT, Answer, retry_after

NOW = datetime(2026, 11, 22, 20, 0, tzinfo=UTC)
READ = Asked(now=NOW.timestamp())
WRITE = Asked(now=NOW.timestamp(), write=True)
DELTA = Asked(now=NOW.timestamp(), cursor=True)
SECRET = "ann@acme.example"


def old(status: int, reason: str, message: str = SECRET, **more: str) -> Answer:
    detail = {"domain": "global", "reason": reason, "message": message, **more}
    return answer(status, {"error": {"errors": [detail], "code": status, "message": message}})


def new(status: int, word: str, reason: str = "", message: str = SECRET, **metadata: str) -> Answer:
    details: list[dict[str, Any]] = [{"@type": "type.googleapis.com/google.rpc.Help", "links": []}]
    if reason:
        kind = "type.googleapis.com/google.rpc.ErrorInfo"
        details.append({"@type": kind, "reason": reason, "domain": "googleapis.com", "metadata": metadata})
    return answer(status, {"error": {"code": status, "message": message, "status": word, "details": details}})


def answer(status: int, body: object, **headers: str) -> Answer:
    return Answer(status, headers, body if isinstance(body, bytes) else orjson.dumps(body))


def html(status: int) -> Answer:
    return answer(status, f"<html>{SECRET}</html>".encode())


@pytest.mark.parametrize(
    ("no", "asked", "kind", "says"),
    [
        (old(400, "invalid"), READ, RejectedError, "answered 400 invalid"),
        (old(400, "timeRangeEmpty"), READ, RejectedError, "answered 400 timeRangeEmpty"),
        (old(400, "invalid", location="syncToken"), DELTA, DeadCursorError, "answered 400 invalid"),
        (old(400, "invalid", "Invalid sync token value."), DELTA, DeadCursorError, "answered 400 invalid"),
        (old(400, "invalid", location="timeMin"), DELTA, RejectedError, "answered 400 invalid"),
        (new(400, "INVALID_ARGUMENT"), READ, RejectedError, "answered 400 INVALID_ARGUMENT"),
        (old(401, "authError"), READ, ExpiredTokenError, "answered 401 authError"),
        (html(401), READ, ExpiredTokenError, "answered 401"),
        (old(403, "forbidden"), READ, DeniedError, "answered 403 forbidden"),
        (old(403, "insufficientPermissions"), READ, DeniedError, "answered 403 insufficientPermissions"),
        (old(403, "forbiddenForNonOrganizer"), WRITE, DeniedError, "answered 403 forbiddenForNonOrganizer"),
        (new(403, "PERMISSION_DENIED"), READ, DeniedError, "answered 403 PERMISSION_DENIED"),
        (html(403), READ, DeniedError, "answered 403"),
        (old(403, "quotaExceeded"), WRITE, ReadOnlyError, "answered 403 quotaExceeded"),
        (old(403, "calendarUsageLimitsExceeded"), WRITE, ReadOnlyError, "answered 403 calendarUsageLimitsExceeded"),
        (
            new(403, "RESOURCE_EXHAUSTED", message="Calendar usage limits exceeded."),
            WRITE,
            ReadOnlyError,
            "answered 403 RESOURCE_EXHAUSTED",
        ),
        (
            old(403, "notACalendarUser"),
            READ,
            ParkedError,
            "answered 403 notACalendarUser: Calendar is switched off for this account",
        ),
        (old(404, "notFound"), READ, MissingError, "answered 404 notFound"),
        (html(404), READ, MissingError, "answered 404"),
        (old(408, ""), READ, TransientError, "answered 408"),
        (old(409, "duplicate"), WRITE, TakenError, "answered 409 duplicate"),
        (old(410, "fullSyncRequired"), DELTA, DeadCursorError, "answered 410 fullSyncRequired"),
        (old(410, "updatedMinTooLongAgo"), READ, DeadCursorError, "answered 410 updatedMinTooLongAgo"),
        (old(410, "deleted"), WRITE, GoneError, "answered 410 deleted"),
        (html(410), DELTA, DeadCursorError, "answered 410"),
        (html(410), READ, MissingError, "answered 410"),
        (old(412, "conditionNotMet"), WRITE, MovedError, "answered 412 conditionNotMet"),
        (html(413), WRITE, RejectedError, "answered 413"),
        (old(500, "backendError"), READ, TransientError, "answered 500 backendError"),
        (html(502), READ, TransientError, "answered 502"),
        (old(503, "backendError"), WRITE, TransientError, "answered 503 backendError"),
        (html(302), READ, DeniedError, "answered with a redirect (HTTP 302), which is not followed"),
        (html(304), READ, DeniedError, "answered with a redirect (HTTP 304), which is not followed"),
        (html(199), READ, TransientError, "answered 199"),
    ],
)
def test_each_refusal_has_its_meaning(no: Answer, asked: Asked, kind: type[ProviderError], says: str) -> None:
    error = fault(no, asked)
    assert type(error) is kind
    assert str(error) == says
    assert SECRET not in repr(error)


@pytest.mark.parametrize(
    ("no", "level"),
    [
        (old(403, "rateLimitExceeded", "Rate Limit Exceeded"), Level.PROJECT),
        (
            old(403, "rateLimitExceeded", "for limit 'Queries per minute per user' of service"),
            Level.AGENT,
        ),
        (old(403, "rateLimitExceeded", "for limit 'Queries per minute' of service"), Level.PROJECT),
        (old(403, "userRateLimitExceeded", "User Rate Limit Exceeded"), Level.AGENT),
        (old(429, "rateLimitExceeded"), Level.PROJECT),
        (old(429, "rateLimitExceeded", "User Rate Limit Exceeded"), Level.AGENT),
        (html(429), Level.PROJECT),
        (new(429, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED"), Level.PROJECT),
        (new(403, "RESOURCE_EXHAUSTED"), Level.PROJECT),
        (
            new(403, "RESOURCE_EXHAUSTED", "RATE_LIMIT_EXCEEDED", quota_limit="QueriesPerMinutePerUserPerProject"),
            Level.AGENT,
        ),
        (old(403, "quotaExceeded"), Level.AGENT),
    ],
)
def test_a_limit_says_whose_it_is(no: Answer, level: Level) -> None:
    error = fault(no, READ)
    assert isinstance(error, ThrottledError)
    assert error.level is level


def test_a_used_up_day_is_left_alone_until_midnight_in_california() -> None:
    error = fault(old(403, "dailyLimitExceeded"), READ)
    assert isinstance(error, ThrottledError)
    assert (error.level, error.after) == (Level.PROJECT, timedelta(hours=12).total_seconds())


@pytest.mark.parametrize("no", [old(403, "accessNotConfigured"), new(403, "PERMISSION_DENIED", "SERVICE_DISABLED")])
def test_an_interface_that_is_switched_off_concerns_everybody_and_says_what_to_type(no: Answer) -> None:
    error = fault(no, READ)
    assert isinstance(error, AccessError)
    assert error.exit_code == 2
    assert "gcloud services enable calendar-json.googleapis.com" in str(error)
    assert SECRET not in str(error)
    assert "enable iamcredentials" in str(fault(no, Asked(now=0, api="iamcredentials.googleapis.com")))


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("30", 30.0),
        (" 1.5 ", 1.5),
        ("0", 0.0),
        (format_datetime(NOW + timedelta(minutes=2), usegmt=True), 120.0),
        (format_datetime(NOW - timedelta(minutes=2), usegmt=True), 0.0),
        ("9" * 90, LONGEST_WAIT),
        ("-3", None),
        ("soon", None),
        ("", None),
        ("nan", None),
        ("1e999", None),
        ("Mon, 99 Nov 2026 99:99:99 GMT", None),
    ],
)
def test_how_long_to_wait_is_a_number_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after({"retry-after": value}, NOW.timestamp()) == seconds
    error = fault(answer(503, b"", **{"retry-after": value}), READ)
    assert isinstance(error, TransientError)
    assert error.after == seconds


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["error", "errors", "details", "reason", "status", "message", "x"]), inner)
    ),
    max_leaves=20,
)


@given(
    status=st.integers(300, 599),
    body=JSON.map(json.dumps).map(str.encode) | st.binary(max_size=200),
    write=st.booleans(),
)
def test_whatever_an_error_says_is_an_error_with_one_line(status: int, body: bytes, write: bool) -> None:
    for shaped in (body, b'{"error": ' + body + b"}"):
        error = fault(Answer(status, {}, shaped), Asked(now=0, write=write))
        assert isinstance(error, ProviderError | AccessError)
        assert str(error).isprintable()
        assert len(str(error)) < 400


def test_an_error_that_is_huge_or_deep_costs_little() -> None:
    for body in (b"[" * 900_000, b'{"error": {"errors": [' + b"{}," * 900_000 + b"{}]}}"):
        assert str(fault(Answer(403, {}, body), READ)) == "answered 403"
