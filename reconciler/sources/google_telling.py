"""Turn what a walk found into what a pull says: events in reach, tombstones, series anew, and what to keep of them.

A whole read tells everything the reach holds; an incremental one tells what changed, with what earlier reads kept of a
series (its rule, its exceptions) beside the part of it that was sent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from reconciler import text
from reconciler.model import Absence, Event, Tombstone, Window
from reconciler.normalise import occurrence_key
from reconciler.sources import PullRequest
from reconciler.sources.appointments import BROKEN, STEPS, originals
from reconciler.sources.google_events import (
    Series,
    event_of,
    makes,
    occurrences,
    series_of,
    tombstone_of,
)
from reconciler.sources.google_walk import Walked
from reconciler.sources.items import Item
from reconciler.sources.recurrence import Budget, Moment, TooMuchError
from reconciler.sources.told import Told

PARTS = 4
"""What one series may cost: this part of what all of a calendar may, as far as others left it. An invitation that
somebody sent, with a rule that makes a million occurrences, leaves enough for the rest."""

UNREAD = ""
"""What is kept of a series that could not be read: there is one, and its exceptions are not known."""


class UnknownSeriesError(Exception):
    """Something of a series matters of which too little is known: only a whole read puts it in its place."""


class Teller:
    """Tells what walks over one calendar found, within the bounds of the whole calendar. `reach` is kept whole."""

    def __init__(self, request: PullRequest, reach: Window, *, whole: bool) -> None:
        self.told = Told()
        self._request = request
        self._reach = reach
        self._whole = whole
        self._wanted: dict[str, set[Moment]] | None = None
        self._left: Budget | None = None

    def tell(self, walked: Walked) -> None:
        """Add what `walked` found. Raises UnknownSeriesError in an incremental read that can't be understood alone."""
        self._caps = walked.reading.caps
        self._left = self._left or Budget(steps=self._caps.total_occurrences * STEPS)
        for name, why in walked.unreadable.items():
            self.told.quarantined.setdefault(name, why)
        for name, item in walked.cancelled.items():
            self._guarded(name, partial(self._cancelled, name, item))
        for name, item in walked.singles.items():
            self._guarded(name, partial(self._single, name, item, walked))
        for name in dict.fromkeys((*walked.series, *walked.exceptions, *walked.gone)):
            with self._share(self._left) as budget:
                if not self._guarded(name, partial(self._series, name, walked, budget)):
                    self.told.rules[name] = UNREAD

    @contextmanager
    def _share(self, left: Budget) -> Iterator[Budget]:
        """Give one series its part of what is left, and take from it what was spent."""
        part = Budget(steps=left.steps // PARTS, months=left.months // PARTS)
        share = replace(part)
        yield share
        left.steps -= part.steps - share.steps
        left.months -= part.months - share.months

    def _guarded(self, name: str, attempt: Callable[[], None]) -> bool:
        """Tell one thing; if it makes no sense, it is set aside and nothing of it is told: False."""
        try:
            attempt()
        except BROKEN as error:
            self.told.quarantined.setdefault(name, text.line(str(error), 300) or "it can't be read")
            return False
        return True

    def _keep(self, events: Iterable[Event]) -> None:
        """Keep all of these events that are in reach or known, or none of them."""
        known = self._request.known
        kept = {event.id: event for event in events if self._reach.holds(event.span) or event.id in known}
        if len(self.told.events) + len(kept) > self._caps.total_occurrences:
            raise TooMuchError(f"the calendar has more than {self._caps.total_occurrences} events in reach")
        self.told.events.update(kept)

    # ---- single events ----------------------------------------------------------------------------------------------

    def _cancelled(self, name: str, item: Item) -> None:
        self.told.tombstones[name] = tombstone_of(item)
        self._forget(name)

    def _single(self, name: str, item: Item, walked: Walked) -> None:
        self._keep([event_of(item, walked.reading)])
        if name in self._request.rules:  # it was a series until now
            self.told.series.add(name)
            self._forget(name)

    def _forget(self, series: str) -> None:
        if not self._whole and series in self._request.rules:
            self.told.rules[series] = None

    # ---- series -----------------------------------------------------------------------------------------------------

    def _series(self, name: str, walked: Walked, budget: Budget) -> None:
        changed, gone = walked.exceptions.get(name, {}), walked.gone.get(name, set())
        if name in walked.cancelled:
            return
        if (master := walked.series.get(name)) is not None:
            self._anew(name, master, walked, budget)
        elif (series := self._kept(name)) is not None:
            self._excepted(name, series, walked, budget)
        else:
            self._alone(name, changed, gone, walked)
        self._guarded_each(name, changed, walked)

    def _anew(self, name: str, master: Item, walked: Walked, budget: Budget) -> None:
        """Expand a series whose master was sent, with its exceptions: those that are not new are not sent again."""
        changed, gone = walked.exceptions.get(name, {}), walked.gone.get(name, set())
        before, wanted = self._kept(name), self._known_originals().get(name, set())
        if before is None and not self._whole and (wanted or name in self._request.rules):
            raise UnknownSeriesError(name)
        series = _with_exceptions(series_of(master, walked.reading, before), changed, gone)
        template = event_of(master, walked.reading)
        most = self._caps.occurrences
        self._keep(occurrences(series, template, self._reach, budget=budget, wanted=frozenset(wanted), most=most))
        self.told.unchanged |= {
            key
            for original in series.moved - changed.keys()
            if (key := occurrence_key(name, original)) in self._request.known and makes(series, original, budget)
        }
        self.told.rules[name] = series.to_text()
        self.told.series.add(name)
        if not self._whole and before is None and name in self._request.known:  # it was a single event until now
            self.told.tombstones[name] = Tombstone(name, Absence.UNSEEN)

    def _excepted(self, name: str, series: Series, walked: Walked, budget: Budget) -> None:
        """Note the exceptions of a series whose rule stands. What its rule does not make, its rule took away."""
        changed, gone = walked.exceptions.get(name, {}), walked.gone.get(name, set())
        for original in gone:
            key = occurrence_key(name, original)
            is_made = makes(series, original, budget)
            self.told.tombstones[key] = Tombstone(key, Absence.EXCLUDED if is_made else Absence.UNSEEN)
        self.told.rules[name] = _with_exceptions(series, changed, gone).to_text()

    def _alone(self, name: str, changed: dict[Moment, Item], gone: set[Moment], walked: Walked) -> None:
        """Take the exceptions of a series that nobody knows as they are; one that matters asks for a whole read.

        Whether a cancelled one was called off, or went with a rule that changed, is not known: that is no evidence.
        """
        keys = {occurrence_key(name, original) for original in gone} & self._request.known
        if not self._whole and (keys or any(self._matters(name, original, walked) for original in changed)):
            raise UnknownSeriesError(name)
        self.told.tombstones |= {key: Tombstone(key, Absence.UNSEEN) for key in keys}

    def _matters(self, name: str, original: Moment, walked: Walked) -> bool:
        item = walked.exceptions[name][original]
        return occurrence_key(name, original) in self._request.known or self._reach.holds(
            event_of(item, walked.reading).span
        )

    def _guarded_each(self, name: str, changed: dict[Moment, Item], walked: Walked) -> None:
        for original, item in changed.items():
            self._guarded(occurrence_key(name, original), partial(self._changed, item, walked))

    def _changed(self, item: Item, walked: Walked) -> None:
        self._keep([event_of(item, walked.reading)])

    def _kept(self, name: str) -> Series | None:
        """Return what earlier reads kept of a series; a whole read starts afresh."""
        written = None if self._whole else self._request.rules.get(name)
        return Series.from_text(written) if written else None

    def _known_originals(self) -> dict[str, set[Moment]]:
        if self._wanted is None:
            self._wanted = originals(self._request.known)
        return self._wanted


def _with_exceptions(series: Series, changed: Iterable[Moment], gone: Iterable[Moment]) -> Series:
    for original in gone:
        series = series.without(original)
    for original in changed:
        series = series.moving(original)
    return series
