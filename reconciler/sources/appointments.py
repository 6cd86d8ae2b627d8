"""Turn the entries of a calendar into events: revisions settled, series expanded, a bad entry set apart from the rest.

An occurrence is named `UID/20261124T150000Z` by the start its series gave it (UTC; `UID/20261124` for all-day), a
single event by its UID. What the calendar itself declares gone (STATUS, METHOD, EXDATE) stays an event with its details
and that absence; only where nothing else is known it becomes a bare tombstone.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import reduce

from reconciler import text
from reconciler.model import Absence, Calendar, Event, Span, Tombstone
from reconciler.normalise import occurrence_key
from reconciler.sources import Caps, PullRequest, vevent
from reconciler.sources.ical import Contents, Sheet
from reconciler.sources.recurrence import Budget, Moment, Occurrence, Part, Reach, TooMuchError, expand, settled
from reconciler.sources.vevent import Component, Reading
from reconciler.sources.zones import Zones, find

STEPS = 5
"""Instants that rules may make for each occurrence a calendar may have: those before the window are counted too."""

BROKEN = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
"""What reading an entry that makes no sense may raise, here or in the libraries."""

_NAMED = re.compile(r"(.+)/(\d{8})(T\d{6}Z)?", re.DOTALL)


@dataclass(slots=True)
class Collected:
    """What a calendar says. `zone` is the IANA zone it names itself, `unnamed` counts equal entries without UID."""

    events: dict[str, Event] = field(default_factory=dict)
    tombstones: list[Tombstone] = field(default_factory=list)
    quarantined: dict[str, str] = field(default_factory=dict)
    series: set[str] = field(default_factory=set)
    zone: str | None = None
    unnamed: dict[str, int] = field(default_factory=dict)

    def set_aside(self, which: str, why: str | Exception) -> None:
        """Quarantine an entry; the first reason stands."""
        self.quarantined.setdefault(which, text.line(str(why), 300) or "it can't be read")


def collect(contents: Iterable[Contents], request: PullRequest, caps: Caps) -> Collected:
    """Read all entries of a calendar's files and return what lies in the window, or is known, wherever it is."""
    found = Collected()
    groups: dict[str, list[Component]] = {}
    for content in contents:
        if content.left_out:
            found.set_aside("", content.left_out)
        for sheet in content.sheets:
            for name, component in _components(sheet, request.calendar, caps, found):
                groups.setdefault(name, []).append(component)
    emitter = _Emitter(request, caps, found)
    for name, components in groups.items():
        if name in found.quarantined:
            continue  # part of it could not be read: the rest would show its occurrences where they no longer are
        try:
            emitter.emit(name, components)
        except BROKEN as error:
            found.set_aside(name, error)
    return found


def _components(sheet: Sheet, calendar: Calendar, caps: Caps, found: Collected) -> Iterator[tuple[str, Component]]:
    """Yield the readable entries of one VCALENDAR under the id of their group."""
    home, named = _home(sheet, calendar)
    found.zone = found.zone or named
    agent = calendar.agent
    base = Reading(
        zones=Zones(sheet.zones, home=home),
        own=frozenset({agent.email, *agent.aliases}),
        caps=caps,
        cancels=sheet.text("METHOD").upper() == "CANCEL",
    )
    reading = vevent.reading(sheet.events, base)
    for entry in sheet.events:
        try:
            component = vevent.read(entry, reading)
        except BROKEN as error:
            found.set_aside(vevent.uid_of(entry) or f"entry {entry.number}", error)
            continue
        yield component.uid or _derived(component, found.unnamed), component


def _home(sheet: Sheet, calendar: Calendar) -> tuple[tzinfo, str | None]:
    """Return what a time without a zone means (X-WR-TIMEZONE, else the agent's zone, else UTC), and that name."""
    named = find(sheet.text("X-WR-TIMEZONE"))
    home = named or (find(calendar.agent.timezone) if calendar.agent.timezone else None)
    return home or UTC, named.key if named else None


def _derived(component: Component, taken: dict[str, int]) -> str:
    """Name an entry without UID by what it says; equal ones are counted in the order of the file."""
    times = component.times
    said = (times and settled(times.start), times and settled(times.end), component.template.title)
    digest = hashlib.blake2b(repr(said).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()
    taken[digest] = taken.get(digest, 0) + 1
    return f"no-uid-{digest}" + (f"#{taken[digest]}" if taken[digest] > 1 else "")


def _latest(one: Component, other: Component) -> Component:
    """Return the newer revision: higher SEQUENCE, later stamp, alive rather than cancelled, then by content."""
    return max(one, other, key=lambda component: component.age)


class _Emitter:
    """Writes the events of one group after another into what was found, within the bounds of the whole calendar."""

    def __init__(self, request: PullRequest, caps: Caps, found: Collected) -> None:
        self.request, self.caps, self.found = request, caps, found
        self.budget = Budget(steps=caps.total_occurrences * STEPS)
        self.known = originals(request.known)

    def emit(self, name: str, components: list[Component]) -> None:
        """Emit the events of one UID: a single event, or a series."""
        masters = [component for component in components if component.recurrence_id is None]
        master = reduce(_latest, masters) if masters else None
        overrides = _overrides((component for component in components if component.recurrence_id is not None), master)
        self._tombstones(name, master, overrides)
        if master and master.times and not master.times.recurs and not overrides:
            self._keep([_single(name, master, master.times)])
        else:
            self._series(name, master, overrides)

    def _tombstones(self, name: str, master: Component | None, overrides: dict[Moment, Component]) -> None:
        if master and _is_cancelled(master) and (not master.times or master.times.recurs or name in self.known):
            self.found.tombstones.append(Tombstone(name, Absence.CANCELLED, master.template.modified))
        for original, override in overrides.items():
            if override.times is None:
                at = override.template.modified
                self.found.tombstones.append(Tombstone(occurrence_key(name, original), Absence.CANCELLED, at))

    def _series(self, name: str, master: Component | None, overrides: dict[Moment, Component]) -> None:
        described = {id(one.times): one for one in [master, *overrides.values()] if one and one.times}
        parts = [one.times for one in described.values() if one.times]
        if not parts:
            return
        events = [
            _occurrence(name, described[id(slot.part)], slot, cancelled=bool(master and _is_cancelled(master)))
            for slot in expand(parts, self._reach(name, parts[0]), self.budget)
        ]
        self._keep(events)
        if master and master.times:
            self.found.series.add(name)

    def _reach(self, name: str, part: Part) -> Reach:
        window = self.request.window
        kind = date if part.all_day else datetime
        wanted = frozenset(known for known in self.known.get(name, ()) if type(known) is kind)
        return Reach(start=window.start, end=window.end, wanted=wanted, most=self.caps.occurrences)

    def _keep(self, events: list[Event]) -> None:
        """Keep all of a group that is in the window or known, or none of it."""
        window, known = self.request.window, self.request.known
        kept = {event.id: event for event in events if event.id in known or window.holds(event.span)}
        if not kept.keys().isdisjoint(self.found.events):
            raise ValueError("another entry has the same identity")
        if len(self.found.events) + len(kept) > self.caps.total_occurrences:
            raise TooMuchError(f"the calendar has more than {self.caps.total_occurrences} occurrences in the window")
        self.found.events.update(kept)


def originals(known: Iterable[str]) -> dict[str, set[Moment]]:
    """Return which occurrences of which series these ids name, by the starts their series gave them."""
    found: dict[str, set[Moment]] = {}
    for name in known:
        if occurrence := _NAMED.fullmatch(name):
            found.setdefault(occurrence[1], set()).update(_original(occurrence[2], occurrence[3]))
    return found


def _original(day: str, clock: str | None) -> Iterator[Moment]:
    try:
        moment = datetime.strptime(day + (clock or "T000000Z"), "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        return
    if moment.year in vevent.YEARS:
        yield moment if clock else moment.date()


def _is_cancelled(component: Component) -> bool:
    return component.template.absence is Absence.CANCELLED


def _overrides(components: Iterable[Component], master: Component | None) -> dict[Moment, Component]:
    """Return the newest override of each occurrence by its original start, a time or a date as in its master."""
    newest: dict[Moment, Component] = {}
    for component in components:
        fitted = _fitted(component, master.times) if master and master.times else component
        if fitted.recurrence_id is not None:
            key = settled(fitted.recurrence_id)
            newest[key] = _latest(newest[key], fitted) if key in newest else fitted
    return newest


def _fitted(component: Component, master: Part) -> Component:
    times, original = component.times, component.recurrence_id
    if times is None or original is None:
        return component
    original = vevent.like(original, master.start)
    if times.onwards and times.all_day is not master.all_day:
        raise ValueError("a later part of it turns times into days, or days into times")
    return replace(component, recurrence_id=original, times=replace(times, recurrence_id=original))


def _span(start: Moment, end: Moment) -> Span:
    first, last = settled(start), settled(end)
    return Span(first, max(first, last) if type(first) is type(last) else first + timedelta())


def _single(name: str, component: Component, times: Part) -> Event:
    return replace(component.template, id=name, span=_span(times.start, times.end))


def _occurrence(name: str, component: Component, slot: Occurrence, *, cancelled: bool) -> Event:
    absence = Absence.EXCLUDED if slot.excluded else component.template.absence
    return replace(
        component.template,
        id=occurrence_key(name, slot.original),
        span=_span(slot.start, slot.end),
        series=name,
        original_start=slot.original,
        absence=Absence.CANCELLED if cancelled else absence,
    )
