"""Calendar providers behind one seam: a source reads one calendar whole, or says that it did not."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model import (
        Calendar,
        Cursor,
        Event,
        Fields,
        Outcome,
        Postponed,
        Pull,
        Tombstone,
        Unobserved,
        Window,
    )
    from reconciler.sources.claims import Claim


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """What to read: one calendar over `window`, incrementally from `cursor` where there is one.

    `known` are the native event ids the mirror holds for this calendar: a known single event or occurrence that is
    still there is returned even when it moved out of the window; they are asked of the state when they are looked at,
    which a source that finds nothing new never does; so are `linked`, those of them that a record hangs on, and
    `rules`, what earlier pulls asked to keep of each series. `pending` are ids that an earlier pull had no budget left
    to look up. `last` is the cursor that the last read left, though it may be void by now; None where whatever is seen
    is to be taken as it is. `patience` says how many seconds are left for this run. `now` is aware UTC.
    """

    calendar: Calendar
    window: Window
    now: datetime
    cursor: Cursor | None = None
    last: Cursor | None = None
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


@runtime_checkable
class Claims(Protocol):
    """A source that knows events of ours again, by what is written in the calendar itself and nowhere else.

    It asks with what it reads with. Both look-ups cost attempts of the reading budget and raise ProviderError,
    PostponedError and AccessError; whatever they were asked about is then as unknown as before.
    """

    def claimed(
        self, calendar: Calendar, claim: Claim, patience: Callable[[], float] = lambda: math.inf
    ) -> Event | Tombstone | None:
        """Return the live event of a claim, or that it was deleted where the provider remembers that.

        None is no evidence: nothing of ours is shown. Outlook's forgets what was deleted and never says so.
        """
        ...

    def mark(self, calendar: Calendar, event: str, patience: Callable[[], float] = lambda: math.inf) -> str | None:
        """Return the claim that an event or its series carries: None for one of somebody else's, or not shown.

        Google's id of an event of ours is its claim; under another id it is a copy that a person made. Outlook's
        copies carry the mark too, and only links tell which is which.
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


# ---- writing --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Wrote:
    """What became of one write: the event as the calendar keeps it where that is known, and a sentence otherwise.

    DEFERRED says that nothing was sent and a later run should: a budget is used up, or the provider wants no more now.
    """

    outcome: Outcome  # DONE, ALREADY, CONFLICT, FAILED, UNKNOWN or DEFERRED
    event: Event | None = None
    why: str = ""


class CalendarWriter(Protocol):
    """The writing half of a provider. Safe to call from several threads, one event a call.

    No write raises, and none lets the provider tell anybody. Single events are written, never series or one of their
    occurrences; only where the agent organizes and nobody else attends; always in the version that was decided on.
    Everything else is FAILED with a sentence, and left as it is.
    """

    def create(self, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        """Put an event under `claim`: ALREADY when ours is there, however it looks; CONFLICT when the id is another's.

        Where the event of one generation was deleted, the next one is taken.
        """
        ...

    def update(self, calendar: Calendar, event: str, fields: Fields, *, version: str) -> Wrote:
        """Change `fields` and nothing else if the event still has `version` (its etag); CONFLICT when it moved.

        ALREADY when it says what it should.
        """
        ...

    def cancel(self, calendar: Calendar, event: str, *, version: str) -> Wrote:
        """Remove the event if it still has `version`; ALREADY when the provider says that it is gone.

        An event that is not shown is a CONFLICT: it may be there for others.
        """
        ...

    def find(self, calendar: Calendar, event: str | Claim) -> Event | Tombstone | None:
        """Look one event up by id or by claim: what an unknown outcome really was.

        None is no evidence: nothing is there, nothing that may be seen, or nothing of ours. Raises ProviderError,
        PostponedError and AccessError.
        """
        ...

    def refusal(self, calendar: Calendar) -> str:
        """Return why nothing can be written to a calendar, a clause; empty where nothing is known against it.

        Asked with what it is written with, and nothing is written. Raises as `find` does.
        """
        ...

    def close(self) -> None:
        """Release connections."""
        ...
