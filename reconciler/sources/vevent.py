"""Read what one VEVENT means: its times for the expansion, and everything else as an `Event` to be filled with them.

The shapes of real exporters that are honoured (seen in exports of Google, Outlook and Apple calendars):
`X-MICROSOFT-CDO-ALLDAYEVENT:TRUE` with midnights is all-day, `X-MICROSOFT-CDO-BUSYSTATUS` says more than TRANSP
([MS-OXCICAL] 2.1.3.1.1.20.31), Apple puts an attendee's address into the parameter EMAIL, Google marks birthdays by an
icon (`X-GOOGLE-CALENDAR-CONTENT-ICON:.../cake.gif`).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta

from icalendar import vRecur

from reconciler import text
from reconciler.model import Absence, Attendee, AttendeeKind, Event, EventKind, Response, Span, Status
from reconciler.sources import Caps, bookings
from reconciler.sources.ical import Entry, Property
from reconciler.sources.recurrence import DATES, RULES, Moment, Part, TooMuchError, in_zone, parse_rule
from reconciler.sources.zones import Zones

ID_LIMIT = 500
"""Characters of a UID that are kept as it is; a longer one is named by its digest."""

YEARS = range(2, 9999)
"""Years in which adding an offset or a day can't leave the calendar."""

ALIKE = 3
"""Events whose LAST-MODIFIED and DTSTAMP are all one instant: fewer may have been made in one go."""

_TIME = re.compile(r"(\d{4})(\d\d)(\d\d)(?:T(\d\d)(\d\d)(\d\d)?(Z?))?", re.IGNORECASE)
_DURATION = re.compile(r"([+-])?P(?:(\d{1,6})W)?(?:(\d{1,6})D)?(?:T(?:(\d{1,8})H)?(?:(\d{1,8})M)?(?:(\d{1,10})S)?)?")
_PARTSTAT = {
    "ACCEPTED": Response.ACCEPTED,
    "TENTATIVE": Response.TENTATIVE,
    "DECLINED": Response.DECLINED,
    "NEEDS-ACTION": Response.NEEDS_ACTION,
}
_CUTYPE = {"ROOM": AttendeeKind.RESOURCE, "RESOURCE": AttendeeKind.RESOURCE, "GROUP": AttendeeKind.GROUP}
_BLANK = Span(date(2, 1, 1), date(2, 1, 2))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a VEVENT is read with: the zones of its VCALENDAR, whose calendar it is, and the bounds.

    `own` are the agent's addresses. `stamped` and `modified` say whether DTSTAMP and LAST-MODIFIED are times of change
    (not the time of the export, which is the same in every event).
    """

    zones: Zones
    own: Collection[str]
    caps: Caps
    cancels: bool = False
    stamped: bool = True
    modified: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One VEVENT, read. `template` has everything but id, times and series; `times` is None if it gives none.

    `uid` is the iCalUID as it stands; `age` orders revisions of the same entry, the latest last.
    """

    uid: str | None
    times: Part | None
    recurrence_id: Moment | None
    template: Event
    age: tuple[int, datetime, bool, str]


def uid_of(entry: Entry) -> str | None:
    """Return the UID of an entry, bounded and inert; None if it has none."""
    found = entry.first("UID")
    return bounded_uid(entry.text("UID", ID_LIMIT * 2), found.value if found else "")


def bounded_uid(shown: str, raw: str) -> str | None:
    """Return an iCalUID as it is kept: inert, a long one by the digest of what stands there (`raw`); None for none."""
    uid = text.line(shown, ID_LIMIT + 1)
    if len(uid) > ID_LIMIT or len(raw) > ID_LIMIT * 2:
        return "sha256:" + hashlib.sha256(raw.encode("utf-8", "surrogatepass")).hexdigest()
    return uid or None


def read(entry: Entry, reading: Reading) -> Component:
    """Read one VEVENT; raise `ValueError` with a clause for people where it can't be trusted."""
    if entry.problem:
        raise ValueError(entry.problem)
    uid = uid_of(entry)
    times = times_of(entry, reading.zones, uid or "") if entry.first("DTSTART") else None
    cancelled = reading.cancels or _word(entry, "STATUS") == "CANCELLED"
    if times is None and not (cancelled and uid):
        raise ValueError("it has no DTSTART")
    template = _template(entry, reading, uid, cancelled=cancelled)
    stamp = _instant(entry, "LAST-MODIFIED") or _instant(entry, "DTSTAMP") or datetime.min.replace(tzinfo=UTC)
    named = entry.first("RECURRENCE-ID")
    recurrence_id = times.recurrence_id if times else (moment(named, reading.zones) if named else None)
    age = (_integer(entry, "SEQUENCE"), stamp, not cancelled, entry.digest)
    return Component(uid=uid, times=times, recurrence_id=recurrence_id, template=template, age=age)


def _word(entry: Entry, name: str) -> str:
    return entry.text(name, 100).strip().upper()


def _integer(entry: Entry, name: str) -> int:
    value = entry.text(name, 12).strip()
    return int(value) if value.isdecimal() and value.isascii() else 0


# ---- times ----------------------------------------------------------------------------------------------------------


def moment(prop: Property, zones: Zones, value: str | None = None) -> Moment:
    """Return a DATE as a date and a DATE-TIME as an aware instant in its zone, in whole seconds."""
    raw = (prop.value if value is None else value).strip()
    found = _TIME.fullmatch(raw)
    if not found:
        raise ValueError(f"it has a time that can't be read: {text.line(raw, 40)!r}")
    year, month, day, hour, minute, second, utc = found.groups()
    if int(year) not in YEARS:
        raise ValueError(f"it has a time outside of the years {YEARS.start} to {YEARS.stop - 1}")
    try:
        if hour is None:
            return date(int(year), int(month), int(day))
        local = datetime(int(year), int(month), int(day), int(hour), int(minute), min(int(second or 0), 59), tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"it has a time that does not exist: {raw}") from error
    if utc:
        return local
    tzid = prop.params.get("TZID", "")
    return local.replace(tzinfo=zones.get(tzid) if tzid else zones.home)


def duration(value: str) -> timedelta:
    """Return a DURATION; raise `ValueError` where it is none, or not the length of anything."""
    found = _DURATION.fullmatch(value.strip().upper())
    if not found or not any(found.groups()[1:]):
        raise ValueError(f"it has a duration that can't be read: {text.line(value, 40)!r}")
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in found.groups()[1:])
    length = timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)
    if found[1] == "-" and length:
        raise ValueError("it ends before it starts")
    return length


def times_of(entry: Entry, zones: Zones, uid: str) -> Part:
    """Read when an entry is and how it recurs; raise `ValueError` with a clause where that makes no sense."""
    start, end, exact = _ends(entry, zones)
    if (
        _word(entry, "X-MICROSOFT-CDO-ALLDAYEVENT") == "TRUE"
        and _at_midnight(start)
        and _at_midnight(in_zone(end, start))
    ):
        start, end, exact = _day(start), max(_day(in_zone(end, start)), _day(start) + timedelta(days=1)), None
    if _ordered(end) < _ordered(start):
        raise ValueError("it ends before it starts")
    named = entry.first("RECURRENCE-ID")
    return Part(
        start=start,
        end=end,
        exact=exact,
        rules=_rules(entry, start, zones),
        rdates=tuple(_rdates(entry, start, zones)),
        exdates=tuple(like(day, start, keep_dates=True) for day in _dates(entry, "EXDATE", zones)),
        recurrence_id=moment(named, zones) if named else None,
        onwards=named is not None and named.params.get("RANGE", "").upper() == "THISANDFUTURE",
        sequence=_integer(entry, "SEQUENCE"),
        uid=uid,
    )


def _ends(entry: Entry, zones: Zones) -> tuple[Moment, Moment, timedelta | None]:
    """Return start, end and, where DURATION gives hours, the exact length. No end is a day, or no time at all."""
    first, last, lasting = entry.first("DTSTART"), entry.first("DTEND"), entry.first("DURATION")
    if first is None:
        raise ValueError("it has no DTSTART")
    start = moment(first, zones)
    if last is not None and last.value.strip():
        return start, _kind_of(moment(last, zones), start), None
    if lasting is None:
        return start, start if isinstance(start, datetime) else start + timedelta(days=1), None
    length = duration(lasting.value)
    if not isinstance(start, datetime):
        return start, start + max(timedelta(days=length.days), timedelta(days=1)), None
    if "T" not in lasting.value.upper():
        return start, start + length, None  # days and weeks go by the clock on the wall
    return start, start.astimezone(UTC) + length, length


def _kind_of(end: Moment, start: Moment) -> Moment:
    """Return `end` as a date or an instant, as `start` is; a date that ends where it starts means that day."""
    if not isinstance(start, datetime):
        day = _day(end)
        return day + timedelta(days=1) if day == start else day
    return end if isinstance(end, datetime) else datetime.combine(end, time(), start.tzinfo)


def _at_midnight(value: Moment) -> bool:
    return isinstance(value, datetime) and value.time() == time()


def _day(value: Moment) -> date:
    return value.date() if isinstance(value, datetime) else value


def _ordered(value: Moment) -> datetime:
    return value if isinstance(value, datetime) else datetime(value.year, value.month, value.day, tzinfo=UTC)


def like(value: Moment, start: Moment, *, keep_dates: bool = False) -> Moment:
    """Return a value of a series in the kind its start has: a date, or an instant (a date takes the start's time)."""
    if not isinstance(start, datetime):
        return _day(value)
    if isinstance(value, datetime) or keep_dates:
        return value
    return datetime.combine(value, start.time(), start.tzinfo)


def _dates(entry: Entry, name: str, zones: Zones) -> Iterator[Moment]:
    for prop, value in _values(entry, name):
        yield moment(prop, zones, value)


def _values(entry: Entry, name: str) -> Iterator[tuple[Property, str]]:
    left = DATES
    for prop in entry.properties.get(name, ()):
        for value in prop.value.split(",", left):
            left -= 1
            if left < 0:
                raise TooMuchError(f"it has more than {DATES} {name}s")
            if value.strip():
                yield prop, value


def _rdates(entry: Entry, start: Moment, zones: Zones) -> Iterator[tuple[Moment, Moment | None]]:
    for prop, value in _values(entry, "RDATE"):
        begin, slash, rest = value.partition("/")
        first = like(moment(prop, zones, begin), start)
        if not slash or not isinstance(first, datetime):
            yield first, None
        elif rest.strip().upper().startswith(("P", "+P")):
            yield first, first.astimezone(UTC) + duration(rest)
        else:
            last = like(moment(prop, zones, rest), start)
            if _ordered(last) < first:
                raise ValueError("it ends before it starts")
            yield first, last


def _rules(entry: Entry, start: Moment, zones: Zones) -> tuple[vRecur, ...]:
    if "EXRULE" in entry.properties:
        raise ValueError("it excludes occurrences by a rule (EXRULE), which iCalendar no longer has")
    given = entry.properties.get("RRULE", ())
    if len(given) > RULES:
        raise TooMuchError(f"it has more than {RULES} rules")
    return tuple(_until(parse_rule(rule.value), start, zones) for rule in given)


def _until(rule: vRecur, start: Moment, zones: Zones) -> vRecur:
    """Put UNTIL into the kind the start has. A bare date includes that day, a time without zone is in the start's."""
    if not rule.get("UNTIL"):
        return rule
    until = rule["UNTIL"][0]
    if not isinstance(until, date) or until.year not in YEARS:
        raise ValueError("its rule has an UNTIL that is no date")
    if not isinstance(start, datetime):
        day = _day(until.astimezone(zones.home) if isinstance(until, datetime) and until.tzinfo else until)
        rule["UNTIL"] = [datetime(day.year, day.month, day.day, tzinfo=UTC)]
    elif not isinstance(until, datetime):
        rule["UNTIL"] = [datetime.combine(until, time(23, 59, 59), start.tzinfo)]
    elif until.tzinfo is None:
        rule["UNTIL"] = [until.replace(tzinfo=start.tzinfo)]
    return rule


# ---- everything else ------------------------------------------------------------------------------------------------


def _template(entry: Entry, reading: Reading, uid: str | None, *, cancelled: bool) -> Event:
    attendees = tuple(_attendees(entry, reading.caps))
    private = _word(entry, "CLASS") in {"PRIVATE", "CONFIDENTIAL"}
    organizer = next(map(_address, entry.properties.get("ORGANIZER", ())), None) or None
    return Event(
        id="",
        uid=uid,
        span=_BLANK,
        status=_status(entry),
        title="" if private else text.line(entry.text("SUMMARY", reading.caps.text)),
        location="" if private else text.line(entry.text("LOCATION", reading.caps.text)),
        organizer=organizer,
        attendees=attendees,
        response=next((attendee.response for attendee in attendees if attendee.email in reading.own), None),
        private=private,
        busy=_word(entry, "TRANSP") != "TRANSPARENT" and _busy_status(entry) != "FREE",
        kind=_kind(entry, attendees),
        scheduler_key=_scheduler_key(entry, reading, organizer),
        modified=_modified(entry, reading),
        etag=entry.digest,
        absence=Absence.CANCELLED if cancelled else None,
    )


def _attendees(entry: Entry, caps: Caps) -> Iterator[Attendee]:
    given = entry.properties.get("ATTENDEE", ())
    if len(given) > caps.attendees:
        raise TooMuchError(f"it has more than {caps.attendees} attendees")
    found: set[str] = set()
    for prop in given:
        address = _address(prop)
        if address and address not in found:
            found.add(address)
            response = _PARTSTAT.get(prop.params.get("PARTSTAT", "").upper(), Response.NEEDS_ACTION)
            yield Attendee(address, response, _CUTYPE.get(prop.params.get("CUTYPE", "").upper(), AttendeeKind.PERSON))


def _address(prop: Property) -> str:
    """Return the e-mail address of a CAL-ADDRESS; empty if it names none (`urn:uuid:...`, `invalid:nomail`)."""
    value = text.address(prop.value[:400])
    if "@" in value and not value.startswith(("urn:", "invalid:", "http:", "https:")):
        return value
    named = text.address(prop.params.get("EMAIL", ""))
    return named if "@" in named else ""


def _status(entry: Entry) -> Status:
    status = _word(entry, "STATUS")
    tentative = status == "TENTATIVE" or (not status and _busy_status(entry) == "TENTATIVE")
    return Status.TENTATIVE if tentative else Status.CONFIRMED


def _busy_status(entry: Entry) -> str:
    return _word(entry, "X-MICROSOFT-CDO-BUSYSTATUS")


def _kind(entry: Entry, attendees: Collection[Attendee]) -> EventKind:
    """Tell markers from appointments. One that other people attend is an appointment, wherever the agent is then."""
    busy = _busy_status(entry)
    if busy == "OOF" and not attendees:
        return EventKind.OUT_OF_OFFICE
    if busy == "WORKINGELSEWHERE" and not attendees:
        return EventKind.WORKING_LOCATION
    cake = entry.text("X-GOOGLE-CALENDAR-CONTENT-ICON", 300).endswith("/cake.gif")
    return EventKind.BIRTHDAY if cake or _word(entry, "CATEGORIES") in {"BIRTHDAY", "BIRTHDAYS"} else EventKind.DEFAULT


def _scheduler_key(entry: Entry, reading: Reading, organizer: str | None) -> str | None:
    """Return a booking tool's key: from its own X- properties, or from the text of an event the agent organizes."""
    for name, properties in entry.properties.items():
        if name.startswith(("X-CALENDLY", "X-ACUITY")) and (
            key := bookings.key(properties[0].value[: reading.caps.text])
        ):
            return key
    if organizer is not None and organizer not in reading.own:
        return None
    written = (entry.text(name, reading.caps.text) for name in ("DESCRIPTION", "LOCATION", "URL"))
    return next(filter(None, map(bookings.key, written)), None)


def _modified(entry: Entry, reading: Reading) -> datetime | None:
    if changed := _instant(entry, "LAST-MODIFIED"):
        return changed if reading.modified else None
    return _instant(entry, "DTSTAMP") if reading.stamped else None


def _instant(entry: Entry, name: str) -> datetime | None:
    """Return a stamp in UTC (a zone is not allowed there, one without is taken as UTC); None if it is no instant."""
    found = entry.first(name)
    try:
        value = moment(found, Zones()) if found else None
        return value.astimezone(UTC) if isinstance(value, datetime) else None
    except ValueError:
        return None


def reading(entries: Collection[Entry], base: Reading) -> Reading:
    """Say which stamps tell when an event changed: not those that all events share, which are of the export."""
    stamps = {entry.text("DTSTAMP", 40) for entry in entries}
    changes = {entry.text("LAST-MODIFIED", 40) for entry in entries}
    exported = len(entries) >= ALIKE and changes == stamps
    return replace(base, stamped=len(stamps) > 1, modified=not (exported and len(changes) == 1))
