"""Tokens for Google: one an agent, scope and hour, however many threads ask, and each with the least that it must allow.

What is signed is signed here, and every request to get a token is one send that `quota` has charged. Keys and tokens are
never part of a sentence, a representation or a log.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol


def forever() -> float:
    """Be as patient as can be."""
    return math.inf


class Tokens(Protocol):
    """Where access tokens come from. Safe to call from several threads.

    `shared` says that one token speaks for all agents: it can't mean anybody's calendar by `primary`.
    """

    @property
    def shared(self) -> bool:
        """Tell whether one token is for all agents."""
        ...

    def token(self, agent: str, *, write: bool = False, patience: Callable[[], float] = forever) -> str:
        """Return a token that may read, or write, the calendars of `agent`, valid for some minutes at least.

        Raises ParkedError for an agent that Google no longer knows, RetryableError and PostponedError, and AccessError
        with what an administrator has to allow.
        """
        ...

    def forget(self, agent: str, stale: str, *, write: bool = False) -> bool:
        """Drop a token that was refused; tell whether another one can be had."""
        ...
