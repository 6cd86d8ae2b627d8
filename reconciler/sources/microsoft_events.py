"""Say what a row of an Outlook calendar means: Graph's JSON in, events out, and never anything else.

Every value is looked at as if a stranger had sent it: what has a wrong type or makes no sense is a `ValueError` with a
clause for people, so that the one row can be set aside. A property that a row lacks is unknown, which is not the same
as empty: a row without the properties that `WHOLE` names is refused and never shown with a blank title. Facts about
Graph are those of https://learn.microsoft.com/graph/api/resources/event unless another source stands beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from enum import StrEnum

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
    rfc3339,
)
from reconciler.normalise import occurrence_key
from reconciler.sources import Caps, bookings, vevent
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
    word,
    zone_named,
)
from reconciler.sources.recurrence import Moment, TooMuchError
from reconciler.sources.zones import find

WHOLE = ("subject", "start", "end", "isAllDay", "isCancelled", "isOrganizer", "sensitivity", "showAs", "attendees")
"""Properties without which a row says too little to be an event; Graph sends each of them, or null, unless it is a
stub."""

_MASTERS_OWN = frozenset(
    {
        "@odata.context",
        "@odata.etag",
        "@odata.type",
        "id",
        "changeKey",
        "type",
        "seriesMasterId",
        "start",
        "end",
        "originalStart",
        "recurrence",
    }
)
"""What describes the series' own row, and none of its occurrences."""

_HIDDEN = frozenset({"", "normal"})  # any other sensitivity hides something, also one that is new
_RESPONSES = {
    "notResponded": Response.NEEDS_ACTION,
    "accepted": Response.ACCEPTED,
    "tentativelyAccepted": Response.TENTATIVE,
    "declined": Response.DECLINED,
}
_FRACTION = re.compile(r"\.(\d{1,9})", re.ASCII)
_AWAY = {"oof": EventKind.OUT_OF_OFFICE, "workingElsewhere": EventKind.WORKING_LOCATION}

# Exchange's own UIDs are hexadecimal and hold the day of an occurrence after their first sixteen bytes; in that of the
# series these four are zero ([MS-OXOCAL] 2.2.1.27 PidLidGlobalObjectId, 2.2.1.28 PidLidCleanGlobalObjectId).
_EXCHANGE_UID = re.compile(r"(040000008200E00074C5B7101A82E008)[0-9A-F]{8}((?:[0-9A-F]{2})+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What the rows of one calendar are read with: whose it is, and the bounds."""

    calendar: Calendar
    caps: Caps = field(default_factory=Caps)

    @property
    def own(self) -> frozenset[str]:
        """Return all addresses of the agent."""
        return frozenset({self.calendar.agent.email, *self.calendar.agent.aliases})


# ---- what sort of row it is -----------------------------------------------------------------------------------------


class Sort(StrEnum):
    """What a row describes. A series has one row for itself, whose time is that of its first occurrence."""

    SINGLE = "singleInstance"
    OCCURRENCE = "occurrence"
    EXCEPTION = "exception"
    SERIES = "seriesMaster"
    REMOVED = "removed"  # of which nothing but the id is known


def sort_of(item: Item) -> Sort:
    """Tell what a row describes. Raises ValueError for a type that nobody knows."""
    if "@removed" in item:
        return Sort.REMOVED
    try:
        return Sort(word(item, "type"))
    except ValueError as error:
        raise ValueError("it is of no type that is known") from error


def is_whole(item: Item) -> bool:
    """Tell whether a row says enough to be an event; a stub has an id, a series and times, and no more."""
    return all(name in item for name in WHOLE)


def id_of(item: Item) -> str:
    """Return Graph's own id of a row: immutable, and never to be compared without regard to case."""
    return exact(item, "id", "it has no id")


def series_of(item: Item) -> str | None:
    """Return the series that a row belongs to: its own id for the series itself, None for a single event."""
    match sort_of(item):
        case Sort.SERIES:
            return id_of(item)
        case Sort.OCCURRENCE | Sort.EXCEPTION:
            return exact(item, "seriesMasterId", "it does not say which series it belongs to")
        case Sort.SINGLE | Sort.REMOVED:
            return None


def name_of(item: object, master: Item | None = None) -> str:
    """Name a row that may not be readable, as the mirror would, as far as that is possible; empty if it is not."""
    if not isinstance(item, Mapping):
        return ""
    attempts: tuple[Callable[[], str | None], ...] = (
        lambda: _key_of(item, master)[0],
        lambda: series_of(item),
        lambda: id_of(item),
    )
    for attempt in attempts:
        try:
            if name := attempt():
                return name
        except ValueError:
            continue
    return ""


def newest(one: Item, other: Item) -> Item | None:
    """Return which of two rows of one id and one round holds, the later one as `other`; None if that has to be asked.

    Rows come in any order and more than once (https://learn.microsoft.com/graph/delta-query-overview): the last change
    counts, then what came last. A removal has no time and may be older than the row beside it.
    """
    if ("@removed" in one) is not ("@removed" in other):
        return None
    before, after = _stamp_if_any(one), _stamp_if_any(other)
    return one if before and after and before > after else other


def hydrated(stub: Item, master: Item) -> Item:
    """Return an occurrence with the details of its series, and with its own times, id and version."""
    if sort_of(master) is not Sort.SERIES or series_of(stub) != id_of(master):
        raise ValueError("its series is another one")
    return {**{name: value for name, value in master.items() if name not in _MASTERS_OWN}, **stub}


# ---- events ---------------------------------------------------------------------------------------------------------


def event_of(item: Item, reading: Reading, master: Item | None = None) -> Event:
    """Return a single event, an exception or a whole occurrence.

    `master` is its series' own row: without it, an occurrence's UID is a guess and a moved one may be taken for timed.
    A cancelled event is returned with that absence: as long as its copy stays, Graph describes it.
    """
    if missing := [name for name in WHOLE if name not in item]:
        raise ValueError(f"it was sent without its {missing[0]}")
    name, series, original = _key_of(item, master)
    ours = flag(item, "isOrganizer")
    attendees = _attendees(item, reading)
    private = word(item, "sensitivity") not in _HIDDEN
    return Event(
        id=name,
        uid=_uid(item, master),
        span=_span(item),
        series=series,
        original_start=original,
        status=_status(item, ours=ours),
        title="" if private else text.line(string(item, "subject")[: reading.caps.text]),
        location="" if private else text.line(string(child(item, "location"), "displayName")[: reading.caps.text]),
        organizer=_organizer(item, reading, ours=ours),
        attendees=attendees,
        response=_response(item, attendees, reading),
        private=private,
        busy=word(item, "showAs") != "free",
        kind=_kind(item),
        scheduler_key=_scheduler_key(item, reading) if ours else None,
        modified=_stamp(item),
        etag=etag_of(item),
        absence=Absence.CANCELLED if flag(item, "isCancelled") else None,
        attendees_omitted=flag(item, "hideAttendees") and not ours,
    )


def etag_of(item: Item) -> str:
    """Return a row's version as If-Match takes it. `changeKey` is what its quotes hold."""
    etag, key = exact(item, "@odata.etag"), exact(item, "changeKey")
    return etag or (f'W/"{key}"' if key else "")


def _key_of(item: Item, master: Item | None) -> tuple[str, str | None, Moment | None]:
    """Return the name of a row in the mirror, its series, and the start that the series gave it."""
    match sort_of(item):
        case Sort.SINGLE:
            return id_of(item), None, None
        case Sort.OCCURRENCE | Sort.EXCEPTION as sort:
            series = series_of(item) or ""
            days = flag(item if master is None else master, "isAllDay")
            original = _span(item, days=days).start if sort is Sort.OCCURRENCE else _original(item, days=days)
            return occurrence_key(series, original), series, original
        case Sort.SERIES:
            raise ValueError("it describes a series, whose occurrences are its events")
        case Sort.REMOVED:
            raise ValueError("it was removed")


def _original(item: Item, *, days: bool) -> Moment:
    """Return the start that its series gave an exception. It is not guessed from where the exception is now."""
    written = string(item, "originalStart")
    if not written:
        raise ValueError("it does not say which occurrence of its series it is")
    original = instant(written, lambda: UTC).astimezone(UTC)
    return _day_of(original, string(item, "originalStartTimeZone")) if days else original


def _day_of(midnight: datetime, zone: str) -> date:
    """Return the day whose midnight an instant is, in its own zone where that is known, else in the nearest one."""
    home = find(zone[:100]) if zone else None
    local = midnight.astimezone(home) if home else None
    return local.date() if local and local.time() == time() else (midnight + timedelta(hours=12)).date()


def _uid(item: Item, master: Item | None) -> str | None:
    """Return the iCalUID: of an occurrence that of its series, since its own may differ and change (facts of Graph)."""
    written = (string(master, "iCalUId") if master else "") or string(item, "iCalUId")
    if sort_of(item) is not Sort.SINGLE and (found := _EXCHANGE_UID.fullmatch(written[: vevent.ID_LIMIT])):
        written = f"{found[1]}00000000{found[2]}"
    return vevent.bounded_uid(written[: vevent.ID_LIMIT * 2], written)


def _status(item: Item, *, ours: bool) -> Status:
    """Return what an event says of itself. On an invitation `tentative` only repeats that it has no answer yet."""
    return Status.TENTATIVE if ours and word(item, "showAs") == "tentative" else Status.CONFIRMED


def _kind(item: Item) -> EventKind:
    """Return what sort of entry it is. Whoever is away or elsewhere with somebody has an appointment."""
    if flag(item, "isDraft"):
        return EventKind.DRAFT
    alone = not sequence(item, "attendees")
    return _AWAY.get(word(item, "showAs"), EventKind.DEFAULT) if alone else EventKind.DEFAULT


def _organizer(item: Item, reading: Reading, *, ours: bool) -> str | None:
    return reading.calendar.agent.email if ours else _mailbox(child(item, "organizer")) or None


def _attendees(item: Item, reading: Reading) -> tuple[Attendee, ...]:
    """Return who is invited, each address once."""
    given = sequence(item, "attendees")
    if len(given) > reading.caps.attendees:
        raise TooMuchError(f"it has more than {reading.caps.attendees} attendees")
    found: dict[str, Attendee] = {}
    for entry in given:
        attendee = _attendee(mapping(entry, "list of attendees"))
        if attendee.email:
            found.setdefault(attendee.email, attendee)
    return tuple(found.values())


def _attendee(entry: Item) -> Attendee:
    kind = AttendeeKind.RESOURCE if word(entry, "type") == "resource" else AttendeeKind.PERSON
    answer = _RESPONSES.get(word(child(entry, "status"), "response"), Response.NEEDS_ACTION)
    return Attendee(_mailbox(entry), answer, kind)


def _mailbox(who: Item) -> str:
    return address(child(who, "emailAddress"), "address")


def _response(item: Item, attendees: tuple[Attendee, ...], reading: Reading) -> Response | None:
    """Return the owner's own answer; None for who organizes it, or is not asked."""
    answer = word(child(item, "responseStatus"), "response")
    if answer or flag(item, "isOrganizer"):
        return _RESPONSES.get(answer)
    return next((one.response for one in attendees if one.email in reading.own), None)


def _scheduler_key(item: Item, reading: Reading) -> str | None:
    """Return a booking tool's key from what only the organizer can write, of an event that the agent organizes."""
    written = (
        string(child(item, "body"), "content"),
        string(child(item, "location"), "displayName"),
        string(child(item, "onlineMeeting"), "joinUrl"),
        string(item, "onlineMeetingUrl"),
    )
    return next(filter(None, (bookings.key(one[: reading.caps.text]) for one in written)), None)


# ---- times ----------------------------------------------------------------------------------------------------------


def _span(item: Item, *, days: bool | None = None) -> Span:
    """Return when it is: of a whole day only the dates, which belong to no zone."""
    whole = flag(item, "isAllDay") if days is None else days
    start, end = (_moment(item, name, whole=whole) for name in ("start", "end"))
    following(start, end)
    if whole and start == end:
        return Span(start, end + timedelta(days=1))
    return spanned(start, end)


def _moment(item: Item, name: str, *, whole: bool) -> Moment:
    """Return a day or an instant from Graph's pair of a local time and the name of its zone."""
    when = child(item, name)
    written = string(when, "dateTime")
    if not written:
        raise ValueError(f"it has no {name}")
    if not whole:
        return instant(written, lambda: _zone(when)).astimezone(UTC)
    instant(written, lambda: UTC)  # a day is cut off only from what is a time
    return dated(written[:10])


def _zone(when: Item) -> tzinfo:
    """Return a zone that is known: `tzone://Microsoft/Custom` says that there is one, and not which."""
    name = string(when, "timeZone")
    return zone_named(name) if name else UTC


def _stamp(item: Item) -> datetime | None:
    """Return when it was last changed."""
    changed = string(item, "lastModifiedDateTime")
    return instant(changed, lambda: UTC).astimezone(UTC) if changed else None


def _stamp_if_any(item: Item) -> str:
    """Return the last change as it is compared: to all its digits, since two of them may lie within a second."""
    changed = item.get("lastModifiedDateTime")
    if not isinstance(changed, str):
        return ""
    try:
        moment = instant(changed, lambda: UTC).astimezone(UTC)
    except ValueError:
        return ""
    fraction = _FRACTION.search(changed)
    return f"{rfc3339(moment)}{fraction[1].ljust(9, '0') if fraction else ''}"
