"""Write a diary as Google, Outlook and Apple calendars export it: their headers, zones, ids and habits."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from reconciler.simulator.brokerage import Meeting, Person

WIDTH: Final = 74
_WINDOWS: Final = {"America/New_York": "Eastern Standard Time"}
_HEADS: Final[Mapping[str, tuple[str, ...]]] = {
    "google": (
        "PRODID:-//Google Inc//Google Calendar 70.9054//EN",
        "VERSION:2.0",
        "CALSCALE:GREGORIAN",
        "METHOD:PUBLISH",
    ),
    "outlook": ("PRODID:-//Microsoft Corporation//Outlook 16.0 MIMEDIR//EN", "VERSION:2.0", "METHOD:PUBLISH"),
    "apple": ("METHOD:PUBLISH", "VERSION:2.0", "PRODID:-//Apple Inc.//macOS 14.4//EN", "CALSCALE:GREGORIAN"),
}


def export(person: Person, meetings: list[Meeting], now: datetime, *, torn: bool = False) -> bytes:
    """Return the calendar file of `person`; a `torn` one ends in the middle, as a download that broke off."""
    lines = ["BEGIN:VCALENDAR", *_HEADS[person.exporter], *_names(person), *_zone(person)]
    for meeting in meetings:
        lines += [*_event(meeting, now), *_moved(meeting, now)]
    lines.append("END:VCALENDAR")
    data = "".join(f"{folded}\r\n" for line in lines for folded in _folded(line)).encode()
    return data[: len(data) * 2 // 3] if torn else data


def _names(person: Person) -> tuple[str, ...]:
    if person.exporter == "outlook":
        return ("X-MS-OLK-FORCEINSPECTOROPEN:TRUE",)
    return (f"X-WR-CALNAME:{person.email}", f"X-WR-TIMEZONE:{person.zone}")


def _folded(line: str) -> Iterator[str]:
    """Cut a long line as RFC 5545 asks, never within a character."""
    part, size = "", 0
    for mark in line:
        width = len(mark.encode())
        if size + width > WIDTH:
            yield part
            part, size = " ", 1
        part, size = part + mark, size + width
    yield part


# ---- zones ----------------------------------------------------------------------------------------------------------


def _tzid(person: Person) -> str:
    return _WINDOWS.get(person.zone, person.zone) if person.exporter == "outlook" else person.zone


def _zone(person: Person) -> list[str]:
    """Return a VTIMEZONE with the rules of the United States since 2007."""
    january = datetime(2026, 1, 15, 12, tzinfo=ZoneInfo(person.zone))
    standard, daylight = _offset(january), _offset(january + timedelta(days=180))
    return [
        "BEGIN:VTIMEZONE",
        f"TZID:{_tzid(person)}",
        *_observance("DAYLIGHT", "20070311T020000", "FREQ=YEARLY;BYMONTH=3;BYDAY=2SU", standard, daylight),
        *_observance("STANDARD", "20071104T020000", "FREQ=YEARLY;BYMONTH=11;BYDAY=1SU", daylight, standard),
        "END:VTIMEZONE",
    ]


def _observance(kind: str, start: str, rule: str, before: str, after: str) -> list[str]:
    return [
        f"BEGIN:{kind}",
        f"TZOFFSETFROM:{before}",
        f"TZOFFSETTO:{after}",
        f"DTSTART:{start}",
        f"RRULE:{rule}",
        f"END:{kind}",
    ]


def _offset(moment: datetime) -> str:
    return f"{moment:%z}"


# ---- events ---------------------------------------------------------------------------------------------------------


def _moved(meeting: Meeting, now: datetime) -> Iterator[str]:
    """Yield the occurrences of a series that were moved, as events of their own."""
    for week, later in meeting.moved:
        original = meeting.starts[week]
        alone = replace(meeting, start=original + later, weeks=0, kept=0, skipped=(), moved=())
        yield from _event(alone, now, original)


def _event(meeting: Meeting, now: datetime, original: datetime | date | None = None) -> Iterator[str]:
    person = meeting.agent
    yield "BEGIN:VEVENT"
    yield f"UID:{meeting.uid}"
    if isinstance(original, datetime):
        yield f"RECURRENCE-ID{_at(person, original, series=True)}"
    yield f"DTSTAMP:{_utc(now)}"
    yield f"CREATED:{_utc(meeting.modified - timedelta(days=9))}"
    yield f"LAST-MODIFIED:{_utc(meeting.modified)}"
    yield from _times(meeting)
    yield f"SEQUENCE:{int(meeting.modified > now - timedelta(hours=1))}"
    yield f"SUMMARY:{_text(meeting.title)}"
    if meeting.location:
        yield f"LOCATION:{_text(meeting.location)}"
    if meeting.text:
        yield f"DESCRIPTION:{_text(meeting.text)}"
    yield f"STATUS:{meeting.status}"
    yield f"TRANSP:{'OPAQUE' if meeting.busy else 'TRANSPARENT'}"
    yield f"CLASS:{'PRIVATE' if meeting.private else 'PUBLIC'}"
    yield from _people(meeting)
    yield from _HABITS[person.exporter](meeting)
    yield "END:VEVENT"


def _times(meeting: Meeting) -> Iterator[str]:
    start, person = meeting.start, meeting.agent
    if meeting.broken:
        yield "DTSTART:20261345T990000Z"
        return
    if not isinstance(start, datetime):
        yield f"DTSTART;VALUE=DATE:{start:%Y%m%d}"
        yield f"DTEND;VALUE=DATE:{start + meeting.lasts:%Y%m%d}"
        return
    yield f"DTSTART{_at(person, start, series=bool(meeting.weeks))}"
    yield f"DTEND{_at(person, start + meeting.lasts, series=bool(meeting.weeks))}"
    if meeting.weeks:
        yield from _rule(meeting)


def _at(person: Person, moment: datetime, *, series: bool) -> str:
    """Spell a time. Google gives single events in UTC, the others always in the calendar's zone."""
    if person.exporter == "google" and not series:
        return f":{_utc(moment)}"
    quote = '"' if person.exporter == "outlook" else ""
    return f";TZID={quote}{_tzid(person)}{quote}:{moment:%Y%m%dT%H%M%S}"


def _rule(meeting: Meeting) -> Iterator[str]:
    if meeting.kept < meeting.weeks:
        last = meeting.starts[meeting.kept - 1]
        yield f"RRULE:FREQ=WEEKLY;UNTIL={_utc(last)}"
    else:
        yield f"RRULE:FREQ=WEEKLY;COUNT={meeting.weeks}"
    for week in meeting.skipped:
        start = meeting.starts[week]
        if isinstance(start, datetime):
            yield f"EXDATE{_at(meeting.agent, start, series=True)}"


def _people(meeting: Meeting) -> Iterator[str]:
    own = meeting.agent
    if not (meeting.clients or meeting.colleagues or meeting.organizer):
        return
    yield f"ORGANIZER;CN={own.name}:mailto:{meeting.organizer or own.email}"
    answers = {own.email: meeting.answer} | dict.fromkeys((*meeting.colleagues, *meeting.clients), "ACCEPTED")
    for address, answer in answers.items():
        extra = f";EMAIL={address}" if own.exporter == "apple" else ""
        role = "CUTYPE=INDIVIDUAL;ROLE=REQ-PARTICIPANT"
        yield f"ATTENDEE;{role};PARTSTAT={answer};CN={address}{extra}:mailto:{address}"


def _google(meeting: Meeting) -> Iterator[str]:
    if meeting.text:
        yield "X-GOOGLE-CONFERENCE:https://meet.google.com/abc-defg-hij"


def _outlook(meeting: Meeting) -> Iterator[str]:
    yield f"X-MICROSOFT-CDO-BUSYSTATUS:{'BUSY' if meeting.busy else 'FREE'}"
    yield f"X-MICROSOFT-CDO-ALLDAYEVENT:{'FALSE' if isinstance(meeting.start, datetime) else 'TRUE'}"
    yield "X-MICROSOFT-CDO-IMPORTANCE:1"
    yield "PRIORITY:5"


def _apple(meeting: Meeting) -> Iterator[str]:
    yield "X-APPLE-TRAVEL-ADVISORY-BEHAVIOR:AUTOMATIC"
    if meeting.busy and isinstance(meeting.start, datetime):
        yield from ("BEGIN:VALARM", "ACTION:DISPLAY", "TRIGGER:-PT15M", "DESCRIPTION:Reminder", "END:VALARM")


_HABITS: Final[Mapping[str, Callable[[Meeting], Iterator[str]]]] = {
    "google": _google,
    "outlook": _outlook,
    "apple": _apple,
}


def _utc(moment: datetime | date) -> str:
    return f"{moment.astimezone(UTC):%Y%m%dT%H%M%SZ}" if isinstance(moment, datetime) else f"{moment:%Y%m%d}"


def _text(value: str) -> str:
    return value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,").replace("\n", "\\n")
