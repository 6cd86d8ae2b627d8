"""Calendar providers behind one seam: a source reads one calendar whole, or says that it did not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model import Calendar, Cursor, Postponed, Pull, Unobserved, Window


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """What to read: one calendar over `window`, incrementally from `cursor` where there is one.

    `known` are the native event ids the mirror holds for this calendar: a known single event or occurrence that is
    still there is returned even when it moved out of the window; they are asked of the state when they are looked at,
    which a source that finds nothing new never does; so are `linked`, those of them that a record hangs on, and
    `rules`, what earlier pulls asked to keep of each series. `pending` are ids that an earlier pull had no budget left
    to look up. `patience` says how many seconds are left for this run. `now` is aware UTC.
    """

    calendar: Calendar
    window: Window
    now: datetime
    cursor: Cursor | None = None
    known: AbstractSet[str] = field(default_factory=frozenset)
    linked: AbstractSet[str] = field(default_factory=frozenset)
    rules: Mapping[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    patience: Callable[[], float] = lambda: math.inf


class Source(Protocol):
    """One provider. Safe to call from several threads, one calendar a call."""

    def scope(self, calendar: Calendar) -> str:
        """Return a fingerprint of everything that shapes the query for `calendar`, besides window and policy."""
        ...

    def pull(self, request: PullRequest) -> Pull | Unobserved | Postponed:
        """Read one calendar. Whatever a calendar or its server may do is no exception but `Unobserved`, with why.

        Only what concerns all calendars of the source alike is raised: AccessError.
        """
        ...


@dataclass(frozen=True, slots=True)
class Caps:
    """Bounds before work, shared by all sources. Over one of them an entry is quarantined and absence is not proven."""

    bytes: int = 64 * 1024 * 1024  # of one calendar, decompressed
    events: int = 50_000  # entries of one calendar
    occurrences: int = 2_000  # of one series in the window
    total_occurrences: int = 100_000  # of all series of one calendar in the window
    attendees: int = 500  # of one event; more are left out and the event is quarantined
    text: int = 10_000  # characters of one property that are looked at
    seconds: float = 60.0  # for fetching one calendar
