"""Look at the calendars and write down what was seen: each read in one transaction with its cursor."""

from __future__ import annotations

import traceback
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import audit, mirror, normalise
from reconciler.audit import Missed
from reconciler.errors import ReconcilerError
from reconciler.model import Calendar, Mode, Postponed, Pull, Quarantined, Unobserved
from reconciler.normalise import Terms
from reconciler.reading import Observed, Reading, entries, not_asked, not_reached, scope_of, valid_cursor, waiting
from reconciler.sources import PullRequest
from reconciler.store import lazy, records, state, suppressed
from reconciler.store import mirror as rows
from reconciler.store.state import Watched

if TYPE_CHECKING:
    from reconciler.model import Seen

__all__ = ["Observed", "Reading", "is_other_scope", "observe_calendars"]

READERS = 16
"""Calendars that are read at once; their results are handed to one writer."""

AHEAD = 4
"""Reads that may wait for the writer, for each reader: what was read and not yet written stays bounded."""


QUIET = 500
"""Reads that found nothing new are committed together, this many in one transaction: nearly all of them do."""


SPENT = 3
"""Agents in a row whose reads a source postponed, after which it is not asked for anybody: one may have limits of their
own, three have met the budget of all."""


class _Spent:
    """Which sources put off whoever is asked for. Readers note it as they go; a note too many or few does no harm."""

    def __init__(self) -> None:
        self._put_off: dict[str, dict[str, str]] = {}

    def note(self, calendar: Calendar, outcome: Pull | Unobserved | Postponed) -> None:
        if isinstance(outcome, Postponed):
            self._put_off.setdefault(calendar.source, {})[calendar.agent.email] = outcome.why
        else:
            self._put_off.pop(calendar.source, None)

    def why(self, calendar: Calendar) -> str | None:
        """Say why its source would put this calendar off too, None if it may well be read."""
        said = list(self._put_off.get(calendar.source, {}).values())
        return said[-1] if len(said) >= SPENT else None


LATE = "it was not reached before the deadline"


def observe_calendars(reading: Reading, calendars: Iterable[Calendar]) -> Iterator[Observed]:
    """Read the calendars and commit each read with its cursor; yield how each one went, in the order they are done."""
    told = []
    for one in _observed(reading, _watched(reading, calendars)):
        yield one
        if one.missed is not None:
            told.append(one.watched)
    if told and reading.tells:
        with reading.store.begin() as connection:
            state.told_missed(connection, told)


def _watched(reading: Reading, calendars: Iterable[Calendar]) -> list[Watched]:
    """Return the calendars as the state knows them, those of the share; who reads all lets go of those not named."""
    with reading.store.begin() as connection:
        watched = state.watch(connection, reading.store, calendars)
        if reading.share is None:
            rows.retire(connection, reading.store, {one.id for one in watched})
    share = reading.share
    return watched if share is None else [one for one in watched if share(one.calendar)]


def _observed(reading: Reading, watched: Iterable[Watched]) -> Iterator[Observed]:
    asked = []
    for one in sorted(watched, key=waiting):
        if (left := not_asked(reading, one)) is not None:
            yield left
        else:
            asked.append(one)
    quiet: list[tuple[Watched, Pull]] = []
    for one, outcome in _pulled(reading, asked):
        if isinstance(outcome, Postponed):
            yield not_reached(reading, one, outcome)
        elif isinstance(outcome, Pull) and _is_quiet(one, outcome):
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
    return bool(cursors) and not any(
        cursor.scope == scope_of(reading, wanted[name]) for name, cursor in cursors.items()
    )


def _pulled(reading: Reading, watched: Iterable[Watched]) -> Iterator[tuple[Watched, Pull | Unobserved | Postponed]]:
    """Read several calendars at once, never more ahead of the writer than memory should hold."""
    waiting: deque[tuple[Watched, Future[Pull | Unobserved | Postponed]]] = deque()
    spent, readers = _Spent(), ThreadPoolExecutor(READERS)
    try:
        for one in watched:
            if reading.patience() <= 0:
                yield one, Postponed(one.calendar, LATE)
                continue
            waiting.append((one, readers.submit(_asked, reading, one, spent)))
            if len(waiting) >= READERS * AHEAD:
                yield _first(waiting)
        while waiting:
            yield _first(waiting)
    finally:
        readers.shutdown(cancel_futures=True)  # what concerns all calendars alike need not be met once more


def _first(
    waiting: deque[tuple[Watched, Future[Pull | Unobserved | Postponed]]],
) -> tuple[Watched, Pull | Unobserved | Postponed]:
    one, future = waiting.popleft()
    return one, _outcome(one.calendar, future)


def _asked(reading: Reading, watched: Watched, spent: _Spent) -> Pull | Unobserved | Postponed:
    """Read one calendar, unless its source has put off everybody lately."""
    if (why := spent.why(watched.calendar)) is not None:
        return Postponed(watched.calendar, why)
    with reading.timed(watched.id):
        outcome = _pull(reading, watched)
    spent.note(watched.calendar, outcome)
    return outcome


def _outcome(calendar: Calendar, future: Future[Pull | Unobserved | Postponed]) -> Pull | Unobserved | Postponed:
    """Return what a read came to. A mistake of ours in reading one calendar must not stop the others."""
    error = future.exception()
    if error is None or isinstance(error, ReconcilerError) or not isinstance(error, Exception):
        return future.result()
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
        cursor=valid_cursor(reading, watched),
        last=None if reading.full else watched.cursor,
        known=lazy.Ids(reading.store, watched.id),
        linked=lazy.Ids(reading.store, watched.id, linked=True),
        rules=lazy.Rules(reading.store, watched.id),
        pending=watched.pending,
        patience=reading.patience,
    )
    return source.pull(request)


def _is_quiet(watched: Watched, pull: Pull) -> bool:
    """Tell whether nothing but the cursor is to be written of a read."""
    said = (pull.events, pull.tombstones, pull.quarantined, pull.series, pull.unchanged, pull.rules, pull.audit)
    return pull.mode is Mode.INCREMENTAL and not any(said) and pull.pending == watched.pending


def _scoped(reading: Reading, watched: Watched, pull: Pull) -> Pull:
    return replace(pull, cursor=replace(pull.cursor, scope=scope_of(reading, watched.calendar)))


def _touched(reading: Reading, quiet: Iterable[tuple[Watched, Pull]]) -> Iterator[Observed]:
    """Commit reads that found nothing new: their cursors, and that they were seen."""
    pairs = list(quiet)
    if not pairs:
        return
    with reading.store.begin() as connection:
        rows.touch(connection, pairs)
    for watched, pull in pairs:
        yield Observed(
            watched=watched,
            mode=pull.mode,
            zone=watched.zone,
            quarantined=entries(watched),
            missed=watched.missed,
        )


def _committed(reading: Reading, watched: Watched, outcome: Pull | Unobserved) -> Observed:
    """Commit one read: rows and cursor together. A read that lost the race is as good as its winner's."""
    if isinstance(outcome, Unobserved):
        return Observed(watched=_struck(reading, watched, outcome), mode=None, why=outcome.why, zone=watched.zone)
    pull, events = _normalised(reading, watched, _scoped(reading, watched, outcome))
    pull = _carried(watched, pull)
    missed = None
    with reading.store.begin() as connection:
        before = rows.rows_of(connection, reading.store, watched.id)
        after = mirror.fold(
            before,
            pull,
            events,
            baseline=watched.cursor is None,
            evidence_after=reading.evidence_after.get(watched.calendar.source),
        )
        if rows.commit_pull(connection, reading.store, watched, pull, before, after):
            missed = _missed(reading, watched, pull, before, after)
        if missed is not None and missed.expansion and valid_cursor(reading, watched):
            rows.read_whole_next(connection, [watched.id])
        if missed is not None and not reading.tells:
            state.keep_missed(connection, watched, missed)
    missed = audit.together(watched.missed, missed)
    return Observed(watched=watched, mode=pull.mode, zone=pull.zone, quarantined=entries(pull), missed=missed)


def _missed(
    reading: Reading, watched: Watched, pull: Pull, before: Mapping[str, Seen], after: Mapping[str, Seen]
) -> Missed | None:
    """Hold the mirror against the list that came with a read. Without a cursor no chain led here: it missed nothing."""
    if pull.audit is None:
        return None
    unreadable = {entry.id for entry in pull.quarantined}
    chained = before if valid_cursor(reading, watched) else after
    return audit.missed(chained, after, pull.audit, unreadable=unreadable) or None


def _carried(watched: Watched, pull: Pull) -> Pull:
    """Complete an increment with what is known since earlier reads: the zone, and entries that can't be read.

    Those are not sent again. They stay until a read touches them, or says that their series is gone.
    """
    if pull.mode is Mode.FULL:
        return pull
    buried = {stone.id for stone in pull.tombstones}
    touched = {*pull.series, *buried, *(event.id for event in pull.events), *(each.id for each in pull.quarantined)}
    kept = [
        entry
        for entry in watched.quarantined
        if entry.id not in touched and mirror.series_of(entry.id, None) not in buried
    ]
    return replace(pull, quarantined=(*kept, *pull.quarantined), zone=pull.zone or watched.zone)


def _normalised(reading: Reading, watched: Watched, pull: Pull) -> tuple[Pull, dict[str, Seen]]:
    """Turn a read's events into rows; one that we stumble over is set aside, and nothing counts as missing."""
    terms = _terms(reading, watched, pull)
    with reading.store.engine.connect() as connection:
        linked = rows.linked_events(connection, reading.store, watched.id)
        terms = replace(terms, forgotten=suppressed.forgotten(connection, reading.store))
        withheld = suppressed.withheld_events(connection, reading.store, watched.id) if terms.forgotten else frozenset()
    events: dict[str, Seen] = {}
    stumbled: list[Quarantined] = []
    for event in pull.events:
        try:
            events[event.id] = normalise.seen(
                event,
                watched.calendar,
                terms,
                linked=event.id in linked,
                zone=pull.zone,
                withheld=event.id in withheld,
            )
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            stumbled.append(
                Quarantined(event.id, f"it is beyond this program ({type(error).__name__}): please report it")
            )
    if not stumbled:
        return pull, events
    return replace(pull, quarantined=(*pull.quarantined, *stumbled), proves_absence=False), events


def _struck(reading: Reading, watched: Watched, outcome: Unobserved) -> Watched:
    """Count a failed read against its calendar; a look by hand does not make a gap known, so a dry run counts none.

    Whoever sees that access was lost voids the cursor, a dry run too: it may be there again before the next run looks,
    and the cursor would lead from before the loss to after it. All that costs is one whole read.
    """
    with reading.store.begin() as connection:
        if outcome.lost:
            rows.read_whole_next(connection, [watched.id])
        if reading.dry_run:  # said all the same, and first: nobody asked for it to be left out
            return replace(watched, why=outcome.why, blind_since=watched.blind_since or reading.now)
        return state.strike(connection, watched, outcome.why, reading.now, outcome.pause)


def _terms(reading: Reading, watched: Watched, pull: Pull) -> Terms:
    """Return the terms with what the last snapshot knows of this pull's keys, asked once for all its events."""
    if "linked" not in reading.terms.relevant:
        return reading.terms
    keys = {key for event in pull.events for key in normalise.own_keys(event, watched.calendar, reading.terms)}
    with reading.store.engine.connect() as connection:
        known = records.knows_key(connection, reading.store, keys)
    return replace(reading.terms, key_known=known.__contains__)
