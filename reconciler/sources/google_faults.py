"""What Google means when it says no: an answer's status and its reason, as an error of `answers` with a clause.

The rules are those of the error guide (developers.google.com/workspace/calendar/api/guides/errors), and of the newer
form of its errors (google.rpc.ErrorInfo), which has a status word and no list. Of what Google writes only the reason is
repeated, and only if it is one word: a message may name a calendar.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from zoneinfo import ZoneInfo

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

CALENDAR_API = "calendar-json.googleapis.com"
PARSED = 1_000_000  # bytes of an error that are looked at

_WORD = re.compile(r"[A-Za-z][A-Za-z_]{0,59}", re.ASCII)
_DEAD_CURSOR = {"fullSyncRequired", "updatedMinTooLongAgo"}
_TODAY = {"dailyLimitExceeded", "dailyLimitExceededUnreg"}
_ABUSE = {"quotaExceeded", "calendarUsageLimitsExceeded"}
_RATE = {"rateLimitExceeded", "userRateLimitExceeded", "RATE_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED"}
_SWITCHED_OFF = {"accessNotConfigured", "SERVICE_DISABLED"}
_ABUSE_MESSAGE = "calendar usage limits exceeded"
_PLAIN: Mapping[int, type[ProviderError]] = {
    401: ExpiredTokenError,
    404: MissingError,  # not there, or not to be seen with this access
    409: TakenError,
    412: MovedError,
}
_PACIFIC = ZoneInfo("America/Los_Angeles")  # a project's day begins at midnight there


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What was asked, as far as it decides what the answer means, and the time it is now."""

    now: float
    write: bool = False
    cursor: bool = False
    api: str = CALENDAR_API


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer that says no: all words it gives as a reason, the best one first; its message in lower case."""

    status: int
    words: tuple[str, ...]
    message: str
    location: str
    after: float | None

    @property
    def reason(self) -> str:
        """Return Google's own word for it, empty if it gave none."""
        return self.words[0] if self.words else ""

    @property
    def says(self) -> str:
        """Return the predicate of a sentence."""
        return f"answered {self.status} {self.reason}".rstrip()

    def gives(self, reasons: set[str]) -> bool:
        """Tell whether one of `reasons` is among its words."""
        return not reasons.isdisjoint(self.words)


def fault(answer: Answer, asked: Asked) -> ProviderError | AccessError:
    """Return what an answer other than a success means."""
    no = refusal_in(answer, asked.now)
    match answer.status:
        case 400:
            return _bad_request(no, asked)
        case 403 | 429:
            return _forbidden(no, asked)
        case 410:
            return _gone(no, asked)
        case status if status in _PLAIN:
            return _PLAIN[status](no.says, reason=no.reason)
        case _:
            return _other(no)


def refusal_in(answer: Answer, now: float) -> Refusal:
    """Read the body of an error, whatever it is."""
    error = _error_in(answer.body)
    items = [item for name in ("errors", "details") for item in _objects(error.get(name))]
    words = [*(item.get("reason") for item in items), error.get("status")]
    return Refusal(
        answer.status,
        tuple(word for word in words if isinstance(word, str) and _WORD.fullmatch(word)),
        " ".join(str(part)[:1000] for part in (error.get("message"), error.get("details")) if part).lower(),
        next((str(item["location"]) for item in items if "location" in item), ""),
        retry_after(answer.headers, now),
    )


def _error_in(body: bytes) -> Mapping[str, object]:
    if len(body) > PARSED:
        return {}
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error") if isinstance(parsed, dict) else None
    return error if isinstance(error, dict) else {}


def _objects(value: object) -> Iterator[Mapping[str, object]]:
    yield from (item for item in (value if isinstance(value, list) else ()) if isinstance(item, dict))


# ---- by status ------------------------------------------------------------------------------------------------------


def _bad_request(no: Refusal, asked: Asked) -> ProviderError:
    names_cursor = no.location == "syncToken" or "sync token" in no.message or "synctoken" in no.message
    if asked.cursor and names_cursor:
        return DeadCursorError(no.says, reason=no.reason)
    return RejectedError(no.says, reason=no.reason)


def _forbidden(no: Refusal, asked: Asked) -> ProviderError | AccessError:
    if no.gives(_SWITCHED_OFF):
        return _switched_off(no, asked)
    if no.gives({"notACalendarUser"}):
        return ParkedError(f"{no.says}: Calendar is switched off for this account", reason=no.reason)
    if no.gives(_TODAY | _ABUSE | _RATE) or no.status == HTTPStatus.TOO_MANY_REQUESTS:
        return _limited(no, asked)
    return DeniedError(no.says, reason=no.reason)


def _limited(no: Refusal, asked: Asked) -> ProviderError:
    """Tell apart what passes in a minute, in hours, and tomorrow."""
    if no.gives(_TODAY):
        after = no.after or _until_tomorrow(asked.now)
        return ThrottledError(no.says, level=Level.PROJECT, reason=no.reason, after=after)
    if no.gives(_ABUSE) or _ABUSE_MESSAGE in no.message:
        if asked.write:
            return ReadOnlyError(no.says, reason=no.reason)
        return ThrottledError(no.says, level=Level.AGENT, reason=no.reason, after=no.after)
    return ThrottledError(no.says, level=_level(no), reason=no.reason, after=no.after)


def _level(no: Refusal) -> Level:
    """Return whose limit it is. The reason alone does not always say it, the message names the limit (facts §3.3)."""
    ours = no.reason == "userRateLimitExceeded" or "peruser" in no.message.replace(" ", "")
    return Level.AGENT if ours or "user rate limit" in no.message else Level.PROJECT


def _switched_off(no: Refusal, asked: Asked) -> AccessError:
    return AccessError(
        f"Google {no.says}: {asked.api} is not switched on in the project that these credentials belong to, so no "
        f"calendar can be read. Switch it on: gcloud services enable {asked.api} --project PROJECT; then run again"
    )


def _gone(no: Refusal, asked: Asked) -> ProviderError:
    if no.gives({"deleted"}):
        return GoneError(no.says, reason=no.reason)
    if no.gives(_DEAD_CURSOR) or asked.cursor:  # whatever else it may mean, reading the calendar whole is right
        return DeadCursorError(no.says, reason=no.reason)
    return MissingError(no.says, reason=no.reason)


def _other(no: Refusal) -> ProviderError:
    match no.status // 100:
        case 3:
            return DeniedError(f"answered with a redirect (HTTP {no.status}), which is not followed")
        case 4 if no.status != HTTPStatus.REQUEST_TIMEOUT:
            return RejectedError(no.says, reason=no.reason)
        case _:
            return TransientError(no.says, reason=no.reason, after=no.after)


def _until_tomorrow(now: float) -> float:
    here = datetime.fromtimestamp(now, UTC).astimezone(_PACIFIC)
    midnight = (here + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight.timestamp() - now
