"""Look at both sides and write down what was seen: the CRM's snapshot, and each calendar's read with its cursor."""

from __future__ import annotations

import hashlib
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from reconciler import guard, mirror, normalise
from reconciler.errors import CrmUnreachableError, ReconcilerError, SnapshotError
from reconciler.model import AgentState, Calendar, Cursor, Mode, Postponed, Pull, Quarantined, Unobserved, Window
from reconciler.normalise import Terms
from reconciler.sources import PullRequest
from reconciler.store import mirror as rows
from reconciler.store import records, state
from reconciler.store.database import batched
from reconciler.store.state import State, Watched

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.crm import Reader, Snapshot
    from reconciler.model import Record, Seen
    from reconciler.sources import Source

READERS = 16
"""Calendars that are read at once; their results are handed to one writer."""

AHEAD = 4
"""Reads that may wait for the writer, for each reader: what was read and not yet written stays bounded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """How one calendar was read in this run. `mode` is None when it was not, `asked` is false when that was meant."""

    watched: Watched
    mode: Mode | None
    why: str | None = None
    asked: bool = True
    zone: str | None = None
    quarantined: tuple[tuple[str, str], ...] = ()


# ---- the CRM --------------------------------------------------------------------------------------------------------


LARGE = 50_000
"""Records from which a CRM that says when its rows changed is read whole once a day only, and caught up in between."""

OVERLAP = timedelta(minutes=10)
"""How far a catching-up read reaches back before the last one: transactions commit late, clocks differ."""


def observe_crm(
    store: State, reader: Reader, window: Window, compare: tuple[str, ...], now: datetime, *, full: bool
) -> None:
    """Read a snapshot into the state database, writing only what changed.

    Raises CrmUnreachableError when it can't be read whole, SnapshotError when what it shows can't be the truth: then
    the records last known stay.
    """
    fingerprint = _fingerprint(reader, window, compare)
    with store.begin() as connection:
        known = records.known(connection, store, fingerprint, window)
    with reader.snapshot() as snapshot:
        if not full and "updated" in reader.shape.mapped and _was_whole_today(known, now):
            _catch_up(store, snapshot, compare, known, now)
        else:
            _read_whole(store, snapshot, window, compare, known, fingerprint, now)
        with store.begin() as connection:
            records.unlinked_lookups(connection, store)
            wanted = records.unread_links(connection, store)
        look_up(store, snapshot.by_ids(wanted), compare, wanted)


def _fingerprint(reader: Reader, window: Window, compare: tuple[str, ...]) -> str:
    span = (window.end - window.start).days
    return hashlib.blake2b(
        f"{normalise.VERSION}|{reader.fingerprint}|{compare}|{span}".encode(), digest_size=16
    ).hexdigest()


def _was_whole_today(known: records.Known, now: datetime) -> bool:
    """Tell whether a large CRM was read whole since the window last rolled (midnight UTC)."""
    if known.count is None or known.count < LARGE or known.whole_at is None:
        return False
    return known.whole_at.date() == now.date() and known.whole_at <= now


def _catch_up(store: State, snapshot: Snapshot, compare: tuple[str, ...], known: records.Known, now: datetime) -> None:
    """Read what changed since the last read. A deleted row shows at the next whole read, or when it is written."""
    since = (known.read_at or now) - OVERLAP
    for batch in batched(snapshot.changed_since(since)):
        with store.begin() as connection:
            records.catch_up(connection, store, batch, compare)
    with store.begin() as connection:
        records.caught_up(connection, store, now)


def _read_whole(
    store: State,
    snapshot: Snapshot,
    window: Window,
    compare: tuple[str, ...],
    known: records.Known,
    fingerprint: str,
    now: datetime,
) -> None:
    """Read all chunks and write those that changed; nothing is dropped before the snapshot proved plausible."""
    read: dict[str, tuple[bytes, int]] = {}
    stale: dict[str, set[str]] = {}
    for chunk in snapshot.chunks(window):
        read[chunk.first] = (chunk.digest, chunk.count)
        if known.digests.get(chunk.first) != chunk.digest:
            with store.begin() as connection:
                stale[chunk.first] = records.put(connection, store, chunk.records(), compare, chunk.first)
    total = sum(count for _, count in read.values())
    if guard.collapsed(total, known.count):
        raise SnapshotError(_collapse(total, known.count or 0, store.name))
    with store.begin() as connection:
        records.complete(connection, store, read, stale, fingerprint, now)


def look_up(store: State, found: Iterable[Record], compare: tuple[str, ...], wanted: Iterable[str] = ()) -> None:
    """Write records that were looked up; those wanted and not found are gone from the CRM: a look-up by id says so."""
    kept = list(found)
    with store.begin() as connection:
        records.put(connection, store, kept, compare)
        records.drop(connection, store, set(wanted) - {record.id for record in kept})


def _collapse(total: int, before: int, job: str) -> str:
    return (
        f"The CRM shows {total} records where the last complete snapshot had {before}: that is no change, that is a "
        "hole (a permission, a filter, a table half restored). Nothing was planned. If it is right, run "
        f"`reconcile state rebind {job}`."
    )


# ---- calendars ------------------------------------------------------------------------------------------------------


QUIET = 500
"""Reads that found nothing new are committed together, this many in one transaction: nearly all of them do."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What reading calendars takes: the sources by name, the window, the terms rows are made by, and who is asked."""

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
    is_late: Callable[[], bool] = lambda: False

    @cached_property
    def fingerprint(self) -> str:
        """Return the digest of the terms, made once: it covers every agent, and every calendar asks for it."""
        return self.terms.fingerprint


class _Known(AbstractSet[str]):
    """The native ids the mirror holds for one calendar, read when somebody looks."""

    def __init__(self, store: State, calendar: int) -> None:
        self._store = store
        self._calendar = calendar

    @cached_property
    def _events(self) -> frozenset[str]:
        with self._store.engine.connect() as connection:
            return rows.known_events(connection, self._store, self._calendar)

    def __contains__(self, event: object) -> bool:
        return event in self._events

    def __iter__(self) -> Iterator[str]:
        return iter(self._events)

    def __len__(self) -> int:
        return len(self._events)


def observe_calendars(reading: Reading, calendars: Iterable[Calendar]) -> Iterator[Observed]:
    """Read the calendars and commit each read with its cursor; yield how each one went, in the order they are done."""
    with reading.store.begin() as connection:
        watched = state.watch(connection, reading.store, calendars)
        rows.retire(connection, reading.store, {one.id for one in watched})
    asked = []
    for one in sorted(watched, key=lambda each: (each.seen_at is not None, each.seen_at, each.id)):
        if (why := _not_asked(reading, one.calendar)) is not None:
            yield Observed(watched=one, mode=None, why=why, asked=False, zone=one.zone)
        else:
            asked.append(one)
    quiet: list[tuple[Watched, Pull]] = []
    for one, outcome in _pulled(reading, asked):
        if outcome is None:
            yield _not_reached(reading, one)
        elif isinstance(outcome, Pull) and _is_quiet(outcome):
            quiet.append((one, _scoped(reading, one, outcome)))
        else:
            yield _committed(reading, one, outcome)
        if len(quiet) >= QUIET:
            yield from _touched(reading, quiet)
            quiet = []
    yield from _touched(reading, quiet)


def is_other_scope(reading: Reading, calendars: Iterable[Calendar]) -> bool:
    """Tell whether the state was read for other calendars, in a window of another length, or by other terms."""
    wanted = {(one.source, one.agent.email, one.name): one for one in calendars}
    with reading.store.begin() as connection:
        cursors = state.cursors_of(connection, reading.store)
    if cursors.keys() - wanted.keys():
        return True
    length = reading.window.end - reading.window.start
    return bool(cursors) and not any(
        cursor.scope == _scope(reading, wanted[name]) and cursor.window.end - cursor.window.start == length
        for name, cursor in cursors.items()
    )


def _not_asked(reading: Reading, calendar: Calendar) -> str | None:
    if calendar.agent.state is AgentState.LEFT:
        return "the agent left: the calendar is frozen"
    if reading.only is not None and calendar.agent.email not in reading.only:
        return "not part of this run (--only)"
    return None


def _not_reached(reading: Reading, watched: Watched) -> Observed:
    """Say what a calendar counts as that the deadline left out: observed, while its last whole read is fresh."""
    fresh = watched.seen_at is not None and reading.now - watched.seen_at <= reading.freshness
    entries = tuple((entry.id, entry.why) for entry in watched.quarantined)
    why = "not reached before the deadline; it is first next time"
    mode = Mode.INCREMENTAL if fresh else None
    return Observed(watched=watched, mode=mode, why=why, zone=watched.zone, quarantined=entries)


def _pulled(reading: Reading, watched: Iterable[Watched]) -> Iterator[tuple[Watched, Pull | Unobserved | None]]:
    """Read several calendars at once, never more ahead of the writer than memory should hold; None when it is late."""
    waiting: list[tuple[Watched, Future[Pull | Unobserved | Postponed]]] = []
    with ThreadPoolExecutor(READERS) as readers:
        for one in watched:
            if reading.is_late():
                yield one, None
                continue
            waiting.append((one, readers.submit(_pull, reading, one)))
            if len(waiting) >= READERS * AHEAD:
                first, future = waiting.pop(0)
                yield first, _outcome(first.calendar, future)
        for one, future in waiting:
            yield one, _outcome(one.calendar, future)


def _outcome(calendar: Calendar, future: Future[Pull | Unobserved | Postponed]) -> Pull | Unobserved | None:
    """Return what a read came to. A mistake of ours in reading one calendar must not stop the others."""
    error = future.exception()
    if error is None or isinstance(error, ReconcilerError) or not isinstance(error, Exception):
        outcome = future.result()
        return None if isinstance(outcome, Postponed) else outcome
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{place.filename.rpartition('/')[2]} line {place.lineno}"
    return Unobserved(
        calendar, f"reading it failed unexpectedly ({type(error).__name__} in {where}): please report this."
    )


def _pull(reading: Reading, watched: Watched) -> Pull | Unobserved | Postponed:
    source = reading.sources[watched.calendar.source]
    request = PullRequest(
        calendar=watched.calendar,
        window=reading.window,
        now=reading.now,
        cursor=_valid_cursor(reading, watched),
        known=_Known(reading.store, watched.id),
    )
    return source.pull(request)


def _scope(reading: Reading, calendar: Calendar) -> str:
    """Fingerprint everything that shapes this calendar's rows: another scope means a full read."""
    source = reading.sources[calendar.source].scope(calendar)
    return hashlib.blake2b(f"{source}|{reading.fingerprint}".encode(), digest_size=16).hexdigest()


def _valid_cursor(reading: Reading, watched: Watched) -> Cursor | None:
    """Return the cursor if it still fits what is asked, in the scope its source knows."""
    cursor = watched.cursor
    if cursor is None or reading.full or cursor.scope != _scope(reading, watched.calendar):
        return None
    if not cursor.window.contains(reading.window):
        return None
    return replace(cursor, scope=reading.sources[watched.calendar.source].scope(watched.calendar))


def _is_quiet(pull: Pull) -> bool:
    return pull.mode is Mode.INCREMENTAL and not (pull.events or pull.tombstones or pull.quarantined or pull.series)


def _scoped(reading: Reading, watched: Watched, pull: Pull) -> Pull:
    return replace(pull, cursor=replace(pull.cursor, scope=_scope(reading, watched.calendar)))


def _touched(reading: Reading, quiet: Iterable[tuple[Watched, Pull]]) -> Iterator[Observed]:
    """Commit reads that found nothing new: their cursors, and that they were seen."""
    pairs = list(quiet)
    if not pairs:
        return
    with reading.store.begin() as connection:
        rows.touch(connection, pairs)
    for watched, pull in pairs:
        entries = tuple((entry.id, entry.why) for entry in watched.quarantined)
        yield Observed(watched=watched, mode=pull.mode, zone=watched.zone, quarantined=entries)


def _committed(reading: Reading, watched: Watched, outcome: Pull | Unobserved) -> Observed:
    """Commit one read: rows and cursor together. A read that lost the race is as good as its winner's."""
    if isinstance(outcome, Unobserved):
        return Observed(watched=_struck(reading, watched, outcome.why), mode=None, why=outcome.why, zone=watched.zone)
    pull, events = _normalised(reading, watched, _scoped(reading, watched, outcome))
    with reading.store.begin() as connection:
        before = rows.rows_of(connection, reading.store, watched.id)
        after = mirror.fold(
            before,
            pull,
            events,
            baseline=watched.cursor is None,
            evidence_after=reading.evidence_after.get(watched.calendar.source),
        )
        rows.commit_pull(connection, reading.store, watched, pull, before, after)
    entries = tuple((entry.id, entry.why) for entry in pull.quarantined)
    return Observed(watched=watched, mode=pull.mode, zone=pull.zone, quarantined=entries)


def _normalised(reading: Reading, watched: Watched, pull: Pull) -> tuple[Pull, dict[str, Seen]]:
    """Turn a read's events into rows; one that we stumble over is set aside, and nothing counts as missing."""
    terms = _terms(reading, watched, pull)
    with reading.store.engine.connect() as connection:
        linked = rows.linked_events(connection, reading.store, watched.id)
    events: dict[str, Seen] = {}
    stumbled: list[Quarantined] = []
    for event in pull.events:
        try:
            is_linked = event.id in linked
            events[event.id] = normalise.seen(event, watched.calendar, terms, linked=is_linked, zone=pull.zone)
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            stumbled.append(
                Quarantined(event.id, f"it is beyond this program ({type(error).__name__}): please report it")
            )
    if not stumbled:
        return pull, events
    return replace(pull, quarantined=(*pull.quarantined, *stumbled), proves_absence=False), events


def _struck(reading: Reading, watched: Watched, why: str) -> Watched:
    """Count a failed read against its calendar; a look by hand does not make a gap known, so a dry run counts none."""
    if reading.dry_run:
        return watched
    with reading.store.begin() as connection:
        return state.strike(connection, watched, why, reading.now)


def _terms(reading: Reading, watched: Watched, pull: Pull) -> Terms:
    """Return the terms with what the last snapshot knows of this pull's keys, asked once for all its events."""
    if "linked" not in reading.terms.relevant:
        return reading.terms
    keys = {key for event in pull.events for key in normalise.own_keys(event, watched.calendar, reading.terms)}
    with reading.store.engine.connect() as connection:
        known = records.knows_key(connection, reading.store, keys)
    return replace(reading.terms, key_known=known.__contains__)


def unreachable(error: CrmUnreachableError) -> str:
    """Say what a run without its CRM does."""
    return f"{error} Calendars were still read and kept; nothing was planned."
