"""What the stand-in Graph lets through: requests in ten minutes and at once, of one application to one mailbox."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.simulator.graph_refusals import RefusedError, throttled
from reconciler.simulator.loopback import SlidingWindow, retry_after


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Graph's limits for Outlook (facts §4). `retry_after` is what is said where the rate is too high."""

    per_mailbox: int = 10_000  # in ten minutes
    concurrent: int = 4  # of one mailbox
    per_app: int = 130_000  # in ten seconds, of all mailboxes
    retry_after: int = 10


class Turnstile:
    """Counts what came and what is still inside. What is refused counts all the same (facts §4)."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._lock = threading.Lock()
        self._app = SlidingWindow(limits.per_app, 10, grain=0.1)
        self._mailboxes: defaultdict[str, SlidingWindow] = defaultdict(
            lambda: SlidingWindow(limits.per_mailbox, 600, grain=1.0)
        )
        self._inside: Counter[str] = Counter()
        self._most: Counter[str] = Counter()

    def high_water(self, mailbox: str) -> int:
        """Return how many requests to one mailbox were at work at once, those included that were turned away for it."""
        with self._lock:
            return self._most[mailbox]

    def charge(self, now: float, mailbox: str) -> None:
        """Charge one request, and refuse it where that is one too many."""
        with self._lock:
            own = self._mailboxes[mailbox]
            app_has, mailbox_has = self._app.room(now, 1), own.room(now, 1)
            self._app.spend(now, 1)
            own.spend(now, 1)
        if not app_has:
            raise RefusedError(429, "TooManyRequests", headers=retry_after(self.limits.retry_after))
        if not mailbox_has:
            raise throttled("RequestRate", self.limits.retry_after)

    @contextmanager
    def inside(self, mailbox: str, many: int = 1) -> Iterator[int]:
        """Count requests as at work; yield for how many of them there is a place."""
        with self._lock:
            free = max(0, self.limits.concurrent - self._inside[mailbox])
            self._inside[mailbox] += many
            self._most[mailbox] = max(self._most[mailbox], self._inside[mailbox])
        try:
            yield min(free, many)
        finally:
            with self._lock:
                self._inside[mailbox] -= many
