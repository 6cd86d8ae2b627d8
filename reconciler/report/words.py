"""How values read in a report: times in the zone of whoever they concern and in UTC, everything on one bounded line."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler.inert import WIDEST, Sink, inert

if TYPE_CHECKING:
    from reconciler.model import Value

NOTHING: Final = "nothing"
_DATE_LENGTH: Final = len("2026-11-24")
_VOWELS: Final = frozenset("aeiou")
_DAYS: Final = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def plural(count: int, noun: str) -> str:
    """Say `1 change`, `2 changes`, `1,204 changes`, `2 replies`, `2 days`."""
    if count == 1:
        return f"1 {noun}"
    ies = noun.endswith("y") and noun[-2:-1] not in _VOWELS
    return f"{count:,} {noun[:-1]}ies" if ies else f"{count:,} {noun}s"


def lasting(span: timedelta) -> str:
    """Say how long: `6 days`, `3 hours`, `12 minutes`, `under a minute`."""
    minutes = max(int(span.total_seconds()) // 60, 0)
    for size, noun in ((24 * 60, "day"), (60, "hour")):
        if minutes >= size:
            return plural(minutes // size, noun)
    return plural(minutes, "minute") if minutes else "under a minute"


def bounded(value: str, most: int = WIDEST) -> str:
    """Return `value` as one inert line of at most `most` characters, with … where it was cut."""
    return inert(value, Sink.TERMINAL, most)


def zone_of(name: str | None) -> ZoneInfo:
    """Return the zone of that name; UTC for one that this machine does not know."""
    try:
        return ZoneInfo(name or "UTC")
    except (ZoneInfoNotFoundError, ValueError):
        return ZoneInfo("UTC")


def moment(value: datetime, zone: ZoneInfo) -> str:
    """Say `Tue 24 Nov 2026 09:00 CST (15:00 UTC)`; the date of the UTC time is added where it is another one."""
    local, utc = value.astimezone(zone), value.astimezone(UTC)
    if not local.utcoffset() and zone.key == "UTC":
        return f"{day(utc)} {utc:%H:%M} UTC"
    there = f"{utc:%H:%M}" if local.date() == utc.date() else f"{_DAYS[utc.weekday()]} {utc.day} {utc:%H:%M}"
    return f"{day(local)} {local:%H:%M} {local.tzname()} ({there} UTC)"


def day(value: date) -> str:
    """Say `Tue 24 Nov 2026`, in English on every machine."""
    return f"{_DAYS[value.weekday()]} {value.day} {_MONTHS[value.month - 1]} {value.year}"


def canonical(value: str, zone: ZoneInfo) -> str:
    """Say a time of `Fields` (RFC 3339, or a date for all day); anything else is shown as it is."""
    try:
        if len(value) == _DATE_LENGTH:
            return f"{day(date.fromisoformat(value))}, all day"
        return moment(datetime.fromisoformat(value), zone)
    except (ValueError, OverflowError):
        return bounded(value)


def spoken(name: str, value: Value, zone: ZoneInfo) -> str:
    """Say one value of the field `name`."""
    match value:
        case None | () | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case tuple():
            return bounded(", ".join(value))
        case str() if name in {"start", "end"}:
            return canonical(value, zone)
        case str():
            return bounded(value)
