"""What this process holds of a budget: blocks withdrawn from the ledger, spent within their life or forfeited.

A block is at most twice the one before, and only after that one was spent: a process never forfeits more than it has
spent, and a busy one asks the ledger once in fifty attempts. Nothing here takes the caller's lock; `draw` alone goes
to the ledger.
"""

from __future__ import annotations

import math
from threading import Lock
from typing import TYPE_CHECKING

from reconciler.quota.budget import LIFE, MINUTE, WAY
from reconciler.store.quota import Draw, Drawn

if TYPE_CHECKING:
    from reconciler.store.quota import Bucket, Ledger

BLOCK = 50
SOONEST = 0.25
"""Seconds. A ledger that had nothing is not asked again before, whoever waits: then it has enough for several."""
RESERVE = 10
"""Reads keep a tenth of each budget to themselves: writes leave the last tenth of each bucket."""


class Purse:
    """Blocks of attempts that every one of `buckets` has granted."""

    def __init__(self, ledger: Ledger, buckets: tuple[Bucket, ...], *, writes: bool) -> None:
        self.drawing = Lock()  # one thread asks the ledger, the others that need a block wait for what it brings
        self.short = Drawn(0)
        self.again = -math.inf
        self._ledger = ledger
        self._draws = tuple(Draw(bucket, bucket.capacity // RESERVE if writes else 0.0) for bucket in buckets)
        self._size = 0
        self._left = 0
        self._taken = 0.0

    def ready(self, now: float) -> bool:
        return not self._draws or (self._left > 0 and self.alive(now))

    def alive(self, now: float) -> bool:
        """Tell whether the last block is still good; a clock that went back makes it void, never older."""
        return self._taken <= now <= self._taken + LIFE

    def spend(self) -> None:
        self._left -= 1

    def want(self) -> int:
        """Say how large the next block should be: twice the last if that was spent, half if it was not."""
        self._size = max(1, self._size // 2) if self._left else min(BLOCK, self._size * 2 or 1)
        return self._size

    def draw(self, want: int, now: float) -> Drawn:
        return self._ledger.withdraw(self._draws, want=want, now=now)

    def keep(self, drawn: Drawn, now: float) -> None:
        """Take a block in, as old as the moment it was asked for."""
        self._left, self._taken = drawn.granted, now
        if not drawn.granted:
            self.short, self.again = drawn, now + max(SOONEST, drawn.after)


class Tab:
    """One agent's minute: what this process spends by itself, exactly counted, then a purse for what goes beyond."""

    __slots__ = ("_alone", "_spent", "purses")

    def __init__(self, alone: int) -> None:
        self._alone = alone
        self._spent: list[float] = []  # small: there is one for each agent of the last minute
        self.purses: dict[bool, Purse] = {}

    def ready(self, now: float, *, writes: bool) -> bool:
        """Tell whether an attempt fits into what needs no ledger."""
        while self._spent and self._spent[0] < now - MINUTE - WAY:
            self._spent.pop(0)
        return len(self._spent) < self._alone - (self._alone // RESERVE if writes else 0)

    def after(self, now: float) -> float:
        """Say in how many seconds the oldest attempt leaves the minute."""
        return self._spent[0] + MINUTE + WAY - now + SOONEST if self._spent else SOONEST

    def spend(self, now: float, *, writes: bool) -> None:
        if self.ready(now, writes=writes):
            self._spent.append(now)
        else:
            self.purses[writes].spend()

    def idle(self, now: float) -> bool:
        """Tell whether nothing would be forgotten with this tab."""
        quiet = not self._spent or self._spent[-1] < now - MINUTE - WAY
        return quiet and not any(purse.alive(now) or now < purse.again for purse in self.purses.values())
