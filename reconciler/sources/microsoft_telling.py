"""Turn the rows of a round into what a pull says: single events, series with the details of their master, removals.

Of a series Graph sends stubs, and says nothing when one occurrence is deleted: a series of which anything was sent is
read anew by its instances. What is kept of it (its rule, the ids of its occurrences) tells a deleted occurrence from
one that a new rule no longer makes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial

import orjson

from reconciler import text
from reconciler.model import Absence, Event, Tombstone, Window
from reconciler.sources import PullRequest
from reconciler.sources.appointments import BROKEN
from reconciler.sources.items import Item
from reconciler.sources.microsoft_events import Reading, event_of, hydrated, id_of, is_whole
from reconciler.sources.recurrence import TooMuchError
from reconciler.sources.told import Told, series_in

_RULE = ("recurrence", "start", "end", "isAllDay", "originalStartTimeZone")


class Kept:
    """What is kept of a series: a mark of its rule, and Graph's own ids of its occurrences by their names."""

    def __init__(self, rule: str, ids: Mapping[str, str]) -> None:
        self.rule, self.ids = rule, ids

    @property
    def is_alone(self) -> bool:
        """Tell whether these occurrences have no series that could be asked for."""
        return not self.rule and bool(self.ids)

    @classmethod
    def of(cls, master: Item, ids: Mapping[str, str]) -> Kept:
        """Return what is to be kept of a series as its master describes it now."""
        said = {name: master.get(name) for name in _RULE}
        return cls(orjson.dumps(said, option=orjson.OPT_SORT_KEYS).decode(), ids)

    def to_text(self) -> str:
        return orjson.dumps({"rule": self.rule, "ids": dict(self.ids)}, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_text(cls, written: str | None) -> Kept | None:
        try:
            data = orjson.loads(written or "")
            return cls(str(data["rule"]), {str(name): str(event) for name, event in data["ids"].items()})
        except BROKEN:
            return None


class Teller:
    """Tells what a round found, within the bounds of the whole calendar. `reach` is kept whole."""

    def __init__(self, request: PullRequest, reading: Reading, reach: Window) -> None:
        self.told = Told()
        self._request, self._reading, self._reach = request, reading, reach

    def guarded(self, name: str, attempt: Callable[[], None]) -> bool:
        """Tell one thing; if it makes no sense, it is set aside and nothing of it is told: False."""
        try:
            attempt()
        except BROKEN as error:
            self.told.quarantined.setdefault(name, text.line(str(error), 300) or "it can't be read")
            return False
        return True

    def single(self, item: Item) -> None:
        """Tell a single event, or set it aside."""
        name = id_of(item)
        if self.guarded(name, lambda: self._keep([event_of(item, self._reading)])) and name in self._request.rules:
            self.told.series.add(name)  # it was a series until now
            self.told.rules[name] = None

    def series(self, name: str, master: Item, items: Iterable[Item]) -> None:
        """Tell a series that was read whole: all its occurrences in reach, or none of them."""
        if not self.guarded(name, partial(self._series, name, master, items)):
            self.told.rules[name] = self._request.rules.get(name, "")  # its removal will matter

    def _series(self, name: str, master: Item, items: Iterable[Item]) -> None:
        whole = [(item, item if is_whole(item) else hydrated(item, master)) for item in items]
        events = {event_of(full, self._reading, master).id: (item, full) for item, full in whole}
        ids = {key: id_of(item) for key, (item, _) in events.items()}
        self._keep([event_of(full, self._reading, master) for _, full in events.values()])
        self.told.rules[name] = Kept.of(master, ids).to_text()
        self.told.series.add(name)
        if name in self._request.known and name not in self._request.rules:  # it was a single event until now
            self.told.tombstones[name] = Tombstone(name, Absence.UNSEEN)

    def alone(self, name: str, item: Item, master: Item | None) -> None:
        """Tell one occurrence that was looked up, wherever it is now."""
        self.guarded(name, lambda: self._keep([event_of(item, self._reading, master)]))

    def orphans(self, series: str, items: Iterable[Item]) -> dict[str, str]:
        """Tell occurrences whose series is not there; return those known before that are not among them.

        What says too little without its series is set aside.
        """
        shown: dict[str, str] = {}
        for item in items:
            self.guarded(series, partial(self._orphan, item, shown))
        before = self._request.rules.get(series)
        kept = Kept.from_text(before)
        self.stand(series)
        if kept is not None and not kept.is_alone:  # it was there until now: its removal will be said
            return {}
        ids = {**(kept.ids if kept else {}), **shown}
        if ids:
            self.told.rules[series] = Kept("", ids).to_text()
        return {name: own for name, own in ids.items() if name not in shown}

    def _orphan(self, item: Item, shown: dict[str, str]) -> None:
        event = event_of(item, self._reading)
        self._keep([event])
        shown[event.id] = id_of(item)

    def keep(self, series: str, gone: Collection[str], left: Mapping[str, str], unknown: Collection[str]) -> None:
        """Keep the ids of occurrences that a series does not show, apart from those `gone`.

        Of those `unknown` nothing could be learned this time: they stand as they were.
        """
        self.told.unchanged |= {*unknown}
        now = Kept.from_text(self.told.rules.get(series))
        if now is not None:
            ids = {name: own for name, own in {**now.ids, **left}.items() if name not in gone}
            self.told.rules[series] = Kept(now.rule, ids).to_text()

    def stand(self, series: str) -> None:
        """Say that a series could not be read this time: what is known of it stands as it was, be it that it is one."""
        self.told.rules[series] = self._request.rules.get(series, "")
        self.told.unchanged |= {event for event in self._request.known if series_in(event) == series}

    def lost(self, series: str) -> dict[str, str]:
        """Return the linked occurrences, with their ids, that a series does not show although its rule stands."""
        before = Kept.from_text(self._request.rules.get(series))
        now = Kept.from_text(self.told.rules.get(series))
        if series not in self.told.series or before is None or now is None or before.rule != now.rule:
            return {}
        said = {*self.told.events, *self.told.tombstones}
        return {
            event: before.ids[event]
            for event in self._request.linked
            if event in before.ids and event not in said and series_in(event) == series
        }

    def gone(self, name: str, absence: Absence = Absence.GONE) -> None:
        """Tell that Graph itself says of an event, or of a whole series, that it is not there any more."""
        self.told.tombstones[name] = Tombstone(name, absence)
        if name in self._request.rules:
            self.told.rules[name] = None

    def _keep(self, events: list[Event]) -> None:
        caps, known = self._reading.caps, self._request.known
        kept = {event.id: event for event in events if self._reach.holds(event.span) or event.id in known}
        if len(self.told.events) + len(kept) > caps.total_occurrences:
            raise TooMuchError(f"the calendar has more than {caps.total_occurrences} events in reach")
        self.told.events.update(kept)
