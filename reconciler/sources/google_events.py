"""Say what an item of a Google calendar means: JSON in, events, tombstones and series out, and never anything else.

Every value is looked at as if a stranger had sent it: what has a wrong type or makes no sense is a `ValueError` with a
clause for people, so that the one item can be set aside. What is left out has its default (discovery document of the
Calendar API v3, `schemas.Event`). A series is kept between reads as its rule and its exceptions, without any title and
without any people.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import TypeVar

import orjson

from reconciler import text
from reconciler.model import (
    Absence,
    Attendee,
    AttendeeKind,
    Calendar,
    Event,
    EventKind,
    Response,
    Span,
    Status,
    Tombstone,
    Window,
    rfc3339,
)
from reconciler.normalise import occurrence_key
from reconciler.sources import Caps, bookings, vevent
from reconciler.sources.appointments import BROKEN
from reconciler.sources.ical import Entry, Property, parse
from reconciler.sources.items import (
    Item,
    address,
    child,
    dated,
    exact,
    flag,
    following,
    instant,
    mapping,
    sequence,
    spanned,
    string,
    strings,
    word,
    zone_named,
)
from reconciler.sources.recurrence import (
    DATES,
    Budget,
    Moment,
    Occurrence,
    Part,
    Reach,
    TooMuchError,
    expand,
    in_zone,
    settled,
)
from reconciler.sources.zones import Zones, find

_Made = TypeVar("_Made")

LINES_LIMIT = 200_000
"""Characters of all lines of a recurrence together: ten thousand dates take 170,000."""

PROPERTIES = 300
"""Extended properties that an event may have of each sort, and that are looked at."""

FREE_BUSY = "freeBusyReader"
ROLES = (FREE_BUSY, "reader", "writerWithoutPrivateAccess", "writer", "owner")
"""What access to a calendar is called, least first (`schemas.Events.accessRole`)."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_RECURRENCE = frozenset({"RRULE", "EXRULE", "RDATE", "EXDATE"})
_DETAILS = ("summary", "organizer", "creator", "iCalUID", "attendees")
_SHOWN = frozenset({"", "default", "public"})  # any other visibility hides something, also one that is new
_RESPONSES = {
    "accepted": Response.ACCEPTED,
    "tentative": Response.TENTATIVE,
    "declined": Response.DECLINED,
}
_KINDS = {
    "": EventKind.DEFAULT,
    "default": EventKind.DEFAULT,
    "outOfOffice": EventKind.OUT_OF_OFFICE,
    "focusTime": EventKind.FOCUS_TIME,
    "workingLocation": EventKind.WORKING_LOCATION,
    "birthday": EventKind.BIRTHDAY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the items of one calendar are read with: whose it is, its own time zone, and the bounds."""

    calendar: Calendar
    zone: str | None = None
    caps: Caps = field(default_factory=Caps)

    @property
    def address(self) -> str:
        """Return the address under which this calendar organizes and attends."""
        name = self.calendar.name
        return name.lower() if "@" in name else self.calendar.agent.email

    @property
    def own(self) -> frozenset[str]:
        """Return all addresses of the calendar and its agent."""
        return frozenset({self.address, self.calendar.agent.email, *self.calendar.agent.aliases})


# ---- what sort of item it is ----------------------------------------------------------------------------------------


class Sort(StrEnum):
    """What an item describes. A bare tombstone of a series is told from a single event's by nothing."""

    SINGLE = "single"
    SERIES = "series"
    EXCEPTION = "exception"


def sort_of(item: Item) -> Sort:
    """Tell single events, series and exceptions to a series apart."""
    if item.get("recurringEventId") is not None:
        return Sort.EXCEPTION
    return Sort.SERIES if sequence(item, "recurrence") else Sort.SINGLE


def is_cancelled(item: Item) -> bool:
    """Tell whether the item only says that something is gone."""
    return item.get("status") == "cancelled"


def id_of(item: Item) -> str:
    """Return the provider's own id of an item."""
    return exact(item, "id", "it has no id")


def name_of(item: object) -> str:
    """Name an item that may not be readable, as the mirror would, as far as that is possible; empty if it is not."""
    if not isinstance(item, Mapping):
        return ""
    attempts: tuple[Callable[[], str], ...] = (
        lambda: occurrence_key(*exception_of(item)),
        lambda: exact(item, "recurringEventId", ""),
        lambda: id_of(item),
    )
    for attempt in attempts:
        try:
            return attempt()
        except ValueError:
            continue
    return ""


def exception_of(item: Item) -> tuple[str, Moment]:
    """Return which occurrence an exception is about: its series, and the start that the series gave it."""
    series = exact(item, "recurringEventId", "it is no exception to a series")
    original = _moment(item, "originalStartTime", None)
    if original is None:
        raise ValueError("it does not say which occurrence of its series it is")
    return series, settled(original)


# ---- events ---------------------------------------------------------------------------------------------------------


def event_of(item: Item, reading: Reading) -> Event:
    """Return a single event or a changed exception; of a series its first occurrence, as `occurrences` needs it."""
    if is_cancelled(item):
        raise ValueError("it is cancelled")
    exception = exception_of(item) if sort_of(item) is Sort.EXCEPTION else None
    attendees, response = _attendees(item, reading)
    organizer = _organizer(item, reading)
    private = word(item, "visibility") not in _SHOWN
    mark = _private_properties(item)
    return Event(
        id=occurrence_key(*exception) if exception else id_of(item),
        uid=vevent.bounded_uid(string(item, "iCalUID")[: vevent.ID_LIMIT * 2], string(item, "iCalUID")),
        span=spanned(*_ends(item, reading)),
        series=exception[0] if exception else None,
        original_start=exception[1] if exception else None,
        status=Status.TENTATIVE if word(item, "status") == "tentative" else Status.CONFIRMED,
        title="" if private else text.line(string(item, "summary")[: reading.caps.text]),
        location="" if private else text.line(string(item, "location")[: reading.caps.text]),
        organizer=organizer,
        attendees=attendees,
        response=response,
        private=private,
        busy=word(item, "transparency") != "transparent",
        kind=_KINDS.get(word(item, "eventType"), EventKind.OTHER),
        scheduler_key=_scheduler_key(item, organizer, reading),
        modified=_stamp(item),
        etag=exact(item, "etag"),
        attendees_omitted=flag(item, "attendeesOmitted"),
        claim=string(mark, "crmClaim")[: vevent.ID_LIMIT],
        claimed=string(mark, "crmId")[: vevent.ID_LIMIT],
    )


def _private_properties(item: Item) -> Item:
    """Return what is written into this calendar's own copy alone: only who may write the calendar can do that."""
    return child(child(item, "extendedProperties"), "private")


def tombstone_of(item: Item) -> Tombstone:
    """Return what a cancelled single event or series says; a cancelled exception is one of its series' instead."""
    return Tombstone(id_of(item), Absence.CANCELLED, _stamp(item))


def _organizer(item: Item, reading: Reading) -> str | None:
    who = child(item, "organizer")
    return reading.address if flag(who, "self") else address(who, "email") or None


def _attendees(item: Item, reading: Reading) -> tuple[tuple[Attendee, ...], Response | None]:
    """Return who is invited, each address once, and what the calendar's owner answered: None if not invited."""
    given = sequence(item, "attendees")
    if len(given) > reading.caps.attendees:
        raise TooMuchError(f"it has more than {reading.caps.attendees} attendees")
    found: dict[str, Attendee] = {}
    answer: Response | None = None
    for entry in given:
        who = mapping(entry, "list of attendees")
        attendee = _attendee(who)
        if attendee.email:
            found.setdefault(attendee.email, attendee)
        if flag(who, "self"):
            answer = attendee.response
    if answer is None:  # the marks are those of the calendar asked for: on a second one, the agent has none
        own = reading.own
        answer = next((one.response for one in found.values() if one.email in own), None)
    return tuple(found.values()), answer


def _attendee(entry: Item) -> Attendee:
    kind = AttendeeKind.RESOURCE if flag(entry, "resource") else AttendeeKind.PERSON
    return Attendee(address(entry, "email"), _RESPONSES.get(word(entry, "responseStatus"), Response.NEEDS_ACTION), kind)


def _scheduler_key(item: Item, organizer: str | None, reading: Reading) -> str | None:
    """Return a booking tool's key: from private properties, or from the text of an event that the agent organizes."""
    private = _private_properties(item)
    written = [string(private, name) for name in sorted(private)[:PROPERTIES]]
    if organizer in reading.own:
        written += [string(item, "description"), string(item, "location"), string(child(item, "source"), "url")]
    return next(filter(None, (bookings.key(one[: reading.caps.text]) for one in written)), None)


# ---- what an answer leaves out --------------------------------------------------------------------------------------


def details_withheld(item: Item, role: str | None) -> bool:
    """Tell whether a live item shows its time alone although nobody marked it private: then access has lessened."""
    if is_cancelled(item):
        return False
    if role == FREE_BUSY:
        return True
    return item.get("visibility") in (None, *_SHOWN) and not any(item.get(name) for name in _DETAILS)


def role_dropped(before: str | None, now: str | None) -> bool:
    """Tell whether a calendar is seen with less access than before, or with too little. A new name is no less."""
    if now in ROLES:
        return now == FREE_BUSY or (before in ROLES and ROLES.index(now) < ROLES.index(before))
    return before is not None and now != before


# ---- series ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """When a series is: its first occurrence in its own zone, its rule, and its exceptions by original start.

    `gone` were cancelled, `moved` have a row of their own; an exception stays one as long as its series lives. `zone`
    is None where the start has but an offset.
    """

    start: Moment
    end: Moment
    zone: str | None
    lines: tuple[str, ...]
    gone: frozenset[Moment] = frozenset()
    moved: frozenset[Moment] = frozenset()

    def without(self, original: Moment) -> Series:
        """Return the series with this occurrence cancelled."""
        return self._with(gone=self.gone | {original}, moved=self.moved - {original})

    def moving(self, original: Moment) -> Series:
        """Return the series with this occurrence changed: its own row speaks."""
        return self._with(gone=self.gone - {original}, moved=self.moved | {original})

    def _with(self, *, gone: frozenset[Moment], moved: frozenset[Moment]) -> Series:
        if len(gone) + len(moved) > DATES:
            raise TooMuchError(f"its series has more than {DATES} exceptions")
        return replace(self, gone=gone, moved=moved)

    def to_text(self) -> str:
        """Return all of it as JSON, the same text for the same series."""
        data = {
            "start": self.start.isoformat(),
            "end": self.end.isoformat(),
            "zone": self.zone,
            "lines": self.lines,
            "gone": sorted(map(rfc3339, self.gone)),
            "moved": sorted(map(rfc3339, self.moved)),
        }
        return orjson.dumps(data, option=orjson.OPT_SORT_KEYS).decode()

    @classmethod
    def from_text(cls, written: str) -> Series | None:
        """Return what `to_text` wrote; None for anything else."""
        try:
            data = orjson.loads(written)
            return _restored(data) if isinstance(data, dict) else None
        except BROKEN:
            return None


def series_of(item: Item, reading: Reading, before: Series | None = None) -> Series:
    """Return the series a master describes, with the exceptions that were known of it `before`."""
    if sort_of(item) is not Sort.SERIES or is_cancelled(item):
        raise ValueError("it is no series")
    start, end = _ends(item, reading)
    zone = _zone_of(item, reading)
    series = Series(
        start=_placed(start, zone),
        end=_placed(end, zone),
        zone=zone,
        lines=strings(item, "recurrence"),
        gone=before.gone if before else frozenset(),
        moved=before.moved if before else frozenset(),
    )
    _checked(lambda: _part(series))
    return series


def occurrences(
    series: Series,
    template: Event,
    window: Window,
    *,
    budget: Budget,
    wanted: AbstractSet[Moment] = frozenset(),
    most: int = 2_000,
) -> list[Event]:
    """Return the occurrences in `window`, and those of `wanted` that the series makes, wherever they are.

    `template` is its master's event. Excluded and cancelled ones are returned with that absence; changed ones are not.
    """
    asked = frozenset(original for original in wanted if type(original) is _kind(series))
    reach = Reach(start=window.start, end=window.end, wanted=asked, most=most)
    slots = (slot for slot in _expanded(series, reach, budget) if slot.original not in series.moved)
    found = {slot.original: _occurrence(series, template, slot) for slot in slots}
    return [event for original, event in found.items() if original in asked or window.holds(event.span)]


def makes(series: Series, original: Moment, budget: Budget) -> bool:
    """Tell whether the rule puts an occurrence at `original`, whatever became of it."""
    if type(original) is not _kind(series):
        return False
    at = Span(original, original).starts_at
    reach = Reach(start=at, end=at, wanted=frozenset({original}))
    return any(slot.original == original for slot in _expanded(series, reach, budget))


def _occurrence(series: Series, template: Event, slot: Occurrence) -> Event:
    return replace(
        template,
        id=occurrence_key(template.id, slot.original),
        span=spanned(settled(slot.start), settled(slot.end)),
        series=template.id,
        original_start=slot.original,
        absence=Absence.EXCLUDED if slot.excluded or slot.original in series.gone else None,
    )


def _kind(series: Series) -> type[date]:
    return datetime if isinstance(series.start, datetime) else date


def _expanded(series: Series, reach: Reach, budget: Budget) -> list[Occurrence]:
    return _checked(lambda: expand([_part(series)], reach, budget))


def _checked(attempt: Callable[[], _Made]) -> _Made:
    """Do what the libraries do with a rule; whatever they raise over one that makes no sense is a `ValueError`."""
    try:
        return attempt()
    except ValueError:
        raise
    except BROKEN as error:
        raise ValueError("its rule makes no sense") from error


def _part(series: Series) -> Part:
    """Return the series as recurrence rules are read: its lines as they are, a time without a zone in its own."""
    properties: dict[str, list[Property]] = {
        "DTSTART": [Property({}, _local(series.start))],
        "DTEND": [Property({}, _local(in_zone(series.end, series.start)))],
    }
    if sum(map(len, series.lines)) > LINES_LIMIT:
        raise TooMuchError(f"its recurrence has more than {LINES_LIMIT} characters")
    for line in series.lines:
        named = parse(line)
        if named is None or named[0] not in _RECURRENCE:
            raise ValueError(f"its recurrence has a line that is not understood: {text.line(line, 40)!r}")
        properties.setdefault(named[0], []).append(named[1])
    return vevent.times_of(Entry(1, properties, ""), Zones(home=_home(series)), "")


def _home(series: Series) -> tzinfo:
    """Return the zone of a series; for one of whole days it says no more than which day an UNTIL with a time means."""
    if isinstance(series.start, datetime):
        return series.start.tzinfo or UTC
    return (find(series.zone) if series.zone else None) or UTC


def _local(moment: Moment) -> str:
    return f"{moment:%Y%m%dT%H%M%S}" if isinstance(moment, datetime) else f"{moment:%Y%m%d}"


def _restored(data: Mapping[str, object]) -> Series:
    zone = string(data, "zone") or None
    start, end = (_placed(_written(string(data, name)), zone) for name in ("start", "end"))
    following(start, end)
    gone, moved = (frozenset(settled(_written(one)) for one in strings(data, name)) for name in ("gone", "moved"))
    series = Series(start=start, end=end, zone=zone, lines=strings(data, "lines"), gone=gone, moved=moved)
    _part(series)
    return series


# ---- times ----------------------------------------------------------------------------------------------------------


def _ends(item: Item, reading: Reading) -> tuple[Moment, Moment]:
    """Return start and end. An end that is not given is no time at all, or a day."""
    start, end = _moment(item, "start", reading), _moment(item, "end", reading)
    if start is None:
        raise ValueError("it has no start")
    if isinstance(start, datetime):
        return start, following(start, start if end is None else end)
    day = timedelta(days=1)
    last = following(start, start + day if end is None else end)
    return start, last + day if last == start else last


def _moment(item: Item, name: str, reading: Reading | None) -> Moment | None:
    """Return a day as it is written, an instant with the offset it is written with; None if it is not given."""
    when = child(item, name)
    day, moment = string(when, "date"), string(when, "dateTime")
    if day and moment:
        raise ValueError("it is both on a day and at a time")
    if not day and not moment:
        return None
    return dated(day) if day else instant(moment, _named_zone(when, reading))


def _written(value: str) -> Moment:
    return dated(value) if _DAY.fullmatch(value) else instant(value)


def _stamp(item: Item) -> datetime | None:
    """Return when the item was last changed."""
    updated = string(item, "updated")
    return instant(updated).astimezone(UTC) if updated else None


def _named_zone(when: Item, reading: Reading | None) -> Callable[[], tzinfo | None]:
    name = string(when, "timeZone") or (reading.zone if reading else None) or ""
    return lambda: zone_named(name) if name else None


def _zone_of(item: Item, reading: Reading) -> str | None:
    """Name the zone a series recurs in: its own, else the calendar's; None where there is but an offset."""
    return string(child(item, "start"), "timeZone") or reading.zone


def _placed(moment: Moment, zone: str | None) -> Moment:
    """Return `moment` in the zone its series recurs in: there the clock on the wall stays, whatever its offset does."""
    return moment.astimezone(zone_named(zone)) if isinstance(moment, datetime) and zone else moment
