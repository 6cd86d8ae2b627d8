"""What reading calendars takes, which of them are asked for in a run, and what those count as that are not.

A calendar that is not asked for counts as its last read left it, or as unobserved: never as empty.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler.model import AgentState, Mode, Postponed

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.audit import Missed
    from reconciler.model import Calendar, Cursor, Pull, Window
    from reconciler.normalise import Terms
    from reconciler.sources import Source
    from reconciler.store.state import State, Watched


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """How one calendar was read in this run. `mode` is None when it was not, `asked` is false when that was meant.

    `rested` says that it was not even tried: an earlier run found that trying makes no sense for now, and said so.
    `missed` is what a comparison with an independent list found, where this read came with one. `since` is when it was
    read, where that was shortly before this run, which did not ask for it again.
    """

    watched: Watched
    mode: Mode | None
    why: str | None = None
    asked: bool = True
    zone: str | None = None
    quarantined: tuple[tuple[str, str], ...] = ()
    missed: Missed | None = None
    rested: bool = False
    since: datetime | None = None


def _untimed(_calendar: int) -> AbstractContextManager[None]:
    """Take nobody's time."""
    return nullcontext()


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading calendars takes: the sources by name, the window, the terms rows are made by, and who is asked.

    What was read, or tried in vain, less than `due` ago is not asked for again. With a `share` only its calendars are
    read, and what they come to is told by a later run: this is no run, but the reading half of one.
    """

    store: State
    sources: Mapping[str, Source]
    window: Window
    terms: Terms
    now: datetime
    evidence_after: Mapping[str, timedelta] = field(default_factory=dict)
    full: bool = False
    dry_run: bool = False
    only: frozenset[str] | None = None
    freshness: timedelta = timedelta()
    due: timedelta = timedelta()
    share: Callable[[Calendar], bool] | None = None
    patience: Callable[[], float] = lambda: math.inf  # seconds that are left for this run
    timed: Callable[[int], AbstractContextManager[None]] = _untimed  # takes the time of one read, by any thread

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the terms, made once: it covers every agent, and every calendar asks for it."""
        return self.terms.fingerprint

    @property
    def tells(self) -> bool:
        """Tell whether what is found here is told, and kept: a dry run's result is not, and a share has none."""
        return not self.dry_run and self.share is None


# ---- who is asked ---------------------------------------------------------------------------------------------------


def waiting(watched: Watched) -> tuple[float, int]:
    """Order calendars by when they had a turn: new ones first, and one that always fails waits like everybody else."""
    return watched.tried_at.timestamp() if watched.tried_at else -math.inf, watched.id


def not_asked(reading: Reading, watched: Watched) -> Observed | None:
    """Say of a calendar that nobody is to ask for in this run what it counts as; None for one that is read."""
    agent = watched.calendar.agent
    if agent.state is AgentState.LEFT:
        why = "the agent left: the calendar is frozen"
    elif reading.only is not None and agent.email not in reading.only:
        why = "not part of this run (--only)"
    elif _is_young(reading, watched):
        return _as_it_was(watched)
    elif _rests(reading, watched):
        return Observed(watched=watched, mode=None, why=watched.why, zone=watched.zone, rested=True)
    else:
        return None
    return Observed(watched=watched, mode=None, why=why, asked=False, zone=watched.zone)


def _is_young(reading: Reading, watched: Watched) -> bool:
    """Tell whether this calendar was read, or tried in vain, a moment ago, and nobody names it or asks for all.

    What was read by other terms, in another window, or must be read whole is no answer to what is asked now. Clocks
    differ: one that is a little ahead of ours has read it all the same.
    """
    if reading.full or reading.only is not None or watched.tried_at is None:
        return False
    if abs(reading.now - watched.tried_at) >= reading.due:
        return False
    return watched.blind_since is not None or valid_cursor(reading, watched) is not None


def _as_it_was(watched: Watched) -> Observed:
    """Count a calendar as the read or the failure a moment ago left it."""
    if watched.blind_since is not None:
        return Observed(watched=watched, mode=None, why=watched.why, zone=watched.zone)
    return Observed(
        watched=watched,
        mode=Mode.INCREMENTAL,
        zone=watched.zone,
        quarantined=entries(watched),
        missed=watched.missed,
        since=watched.seen_at,
    )


def _rests(reading: Reading, watched: Watched) -> bool:
    """Tell whether trying this calendar again makes no sense yet; whoever names it, or asks for all, knows better.

    One that was last tried in times to come was so by a clock that was wrong.
    """
    if reading.full or reading.only is not None or watched.next_try is None or watched.tried_at is None:
        return False
    return watched.tried_at <= reading.now < watched.next_try


def not_reached(reading: Reading, watched: Watched, postponed: Postponed) -> Observed:
    """Say what a calendar counts as that was left for a later run: observed, while its last read is fresh.

    One that could not be read when it was last tried stays unobserved: what was lost is not found by not looking.
    """
    seen_at = watched.seen_at if watched.blind_since is None else None
    fresh = seen_at is not None and abs(reading.now - seen_at) <= reading.freshness
    why = f"{postponed.why.rstrip('.')}; it is among the first next time."
    mode = Mode.INCREMENTAL if fresh else None
    return Observed(watched=watched, mode=mode, why=why, zone=watched.zone, quarantined=entries(watched))


def entries(read: Watched | Pull) -> tuple[tuple[str, str], ...]:
    """Return what could not be read of a calendar, and why."""
    return tuple((entry.id, entry.why) for entry in read.quarantined)


# ---- whether a cursor fits ------------------------------------------------------------------------------------------


def scope_of(reading: Reading, calendar: Calendar) -> str:
    """Fingerprint everything that shapes this calendar's rows: another scope means a full read.

    The length of the window is part of it: a source may read further ahead, so that its cursors do not tell.
    """
    source, length = reading.sources[calendar.source].scope(calendar), reading.window.end - reading.window.start
    return hashlib.blake2b(f"{source}|{reading.fingerprint}|{length}".encode(), digest_size=16).hexdigest()


def valid_cursor(reading: Reading, watched: Watched) -> Cursor | None:
    """Return the cursor if it still fits what is asked, in the scope its source knows."""
    cursor = watched.cursor
    if cursor is None or reading.full or cursor.scope != scope_of(reading, watched.calendar):
        return None
    if not cursor.window.contains(reading.window):
        return None
    return replace(cursor, scope=reading.sources[watched.calendar.source].scope(watched.calendar))
