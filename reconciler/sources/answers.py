"""What a provider may say in place of what was asked: one vocabulary for all providers, quota and sources.

The message of each is the predicate of a sentence for people ("answered 503 backendError"), without secrets and without
client details. Whether trying again makes sense is fixed by the class; only `quota` tries again.
"""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Final

from reconciler.errors import AccessError

SERVED: Final = "2xx"
THROTTLED: Final = "429"
NO_ANSWER: Final = "none"
_STATUS: Final = re.compile(r"\b(?:answered|HTTP) ([1-5])\d\d\b", re.ASCII)
_LOOKED_AT: Final = 200  # characters of a clause


class Level(StrEnum):
    """Whom a provider's limit is for."""

    PROJECT = "project"
    AGENT = "agent"


class ProviderError(Exception):
    """A provider did not give what was asked. `reason` is its own word for it (`notFound`), empty if it gave none."""

    def __init__(self, says: str, *, reason: str = "") -> None:
        super().__init__(says)
        self.reason = reason


class RetryableError(ProviderError):
    """Asking again makes sense. For a write the outcome is unknown: it is looked up, never sent again blindly.

    `after` is how many seconds the provider asked to be left alone (Retry-After), None if it did not say.
    """

    def __init__(self, says: str, *, reason: str = "", after: float | None = None) -> None:
        super().__init__(says, reason=reason)
        self.after = after


class TransientError(RetryableError):
    """The server, the network or the answer broke: 5xx, a dropped connection, a body that is not what it should be."""


class ThrottledError(RetryableError):
    """Too many requests, of the whole project or of one agent. The request was not carried out."""

    def __init__(self, says: str, *, level: Level, reason: str = "", after: float | None = None) -> None:
        super().__init__(says, reason=reason, after=after)
        self.level = level


class ExpiredTokenError(ProviderError):
    """The access token is not valid any more; a new one may be."""


class DeadCursorError(ProviderError):
    """The provider no longer knows the cursor: the calendar has to be read whole."""


class MissingError(ProviderError):
    """Nothing is there, or nothing that may be seen: never evidence by itself."""


class GoneError(ProviderError):
    """The provider states that the item was deleted."""


class DeniedError(ProviderError):
    """Access was refused: a permission, a role, a calendar that is not shared any more."""


class ParkedError(ProviderError):
    """One agent can't be read for now (account gone, no calendar); trying every few minutes makes no sense."""

    def __init__(self, says: str, *, reason: str = "", pause: timedelta = timedelta(days=1)) -> None:
        super().__init__(says, reason=reason)
        self.pause = pause


class ReadOnlyError(ProviderError):
    """The provider takes no writes for this agent for hours (an abuse limit); reading goes on."""


class TakenError(ProviderError):
    """The id of a create is taken already."""


class MovedError(ProviderError):
    """The item is not in the version that the write was decided on."""


class RejectedError(ProviderError):
    """The provider calls the request wrong: a mistake of ours, or of the job file."""


class PostponedError(Exception):
    """The request is left for a later run: a budget is used up, a circuit is open, or the time is up.

    Says why, a clause. A write that is left was not carried out.
    """


def kind_of(error: Exception) -> str:
    """Return the class of answer that an error stands for: `2xx`, `3xx`, `4xx`, `429`, `5xx`, or `none` for no answer.

    The clause of each names the status it came with, where there was one. Whatever its status was, what asks for less
    haste is `429`: Google says so with 403, too.
    """
    if isinstance(error, ThrottledError):
        return THROTTLED
    if found := _STATUS.search(str(error)[:_LOOKED_AT]):
        return f"{found[1]}xx"
    is_refusal = isinstance(error, ProviderError | AccessError) and not isinstance(error, RetryableError)
    return "4xx" if is_refusal else NO_ANSWER
