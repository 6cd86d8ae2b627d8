"""Times of the stand-in Graph and the occurrences of its series, expanded by dateutil on the wall clock of their zone.

Independent of the sources' own expansion on purpose: each can only be right or wrong by itself.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from typing import Any, Final, Self
from zoneinfo import ZoneInfo, available_timezones

from dateutil.rrule import DAILY, MONTHLY, WEEKLY, YEARLY, rrule, weekday
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from reconciler.simulator.graph_refusals import RefusedError

Resource = dict[str, Any]
Span = tuple[datetime, datetime]

_FROM_WINDOWS: Final = {name.lower(): zone for name, zone in WINDOWS_TO_OLSON.items()} | {
    "tzone://microsoft/utc": "UTC"
}
_TO_WINDOWS: Final = {zone: name for name, zone in reversed(WINDOWS_TO_OLSON.items())} | {"UTC": "UTC"}
_DAYS: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_NTH: Final = {"first": 1, "second": 2, "third": 3, "fourth": 4, "last": -1}
_SHORTEST_MONTH: Final = 28
_TAIL: Final = 12  # characters that name an occurrence after its series


@cache
def _zones() -> set[str]:
    return available_timezones()


@lru_cache(maxsize=4096)
def zone_of(name: str) -> ZoneInfo | None:
    """Return the zone of a Windows or IANA name; None for `tzone://Microsoft/Custom` and all that means nothing."""
    known = _FROM_WINDOWS.get(name.lower()) or (name if name in _zones() else None)
    return ZoneInfo(known) if known else None


def named(name: str) -> str:
    """Return the name under which Exchange keeps a zone: the Windows one where there is one."""
    return _TO_WINDOWS.get(name, name)


def wall(value: datetime) -> str:
    """Write a time without its zone, with seven digits as Graph does (facts §2)."""
    return value.replace(tzinfo=None).isoformat(timespec="microseconds") + "0"


def rendered(value: datetime, zone: str) -> Resource:
    """Write a moment as Graph's dateTimeTimeZone, on the clock of a zone and under the name given for it."""
    return {"dateTime": wall(value.astimezone(zone_of(zone) or UTC)), "timeZone": zone}


def read(value: Mapping[str, Any]) -> datetime | None:
    """Read a dateTimeTimeZone; None where nobody can say when that is."""
    try:
        naive = datetime.fromisoformat(value["dateTime"].rstrip("Z")[:26])
        zone = zone_of(value.get("timeZone") or "UTC")
        return None if zone is None else naive.replace(tzinfo=naive.tzinfo or zone).astimezone(UTC)
    except (KeyError, AttributeError, TypeError, ValueError, OverflowError):
        return None


def instant(value: date | datetime) -> datetime:
    """Return a moment in UTC; a date is the floating midnight that all-day events have."""
    return value.astimezone(UTC) if isinstance(value, datetime) else datetime.combine(value, time(), UTC)


def occurrence_id(master: str, original: datetime) -> str:
    """Name an occurrence: its series' id and what only this server can read."""
    return master + base64.urlsafe_b64encode(struct.pack(">q", int(original.timestamp()))).decode()


def split_occurrence(name: str) -> tuple[str, datetime] | None:
    """Take the id of an occurrence apart."""
    try:
        (seconds,) = struct.unpack(">q", base64.urlsafe_b64decode(name[-_TAIL:]))
        return name[:-_TAIL], datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError, struct.error):
        return None


@dataclass(frozen=True, slots=True)
class Series:
    """A pattern on the wall clock: `start` is naive local time, `zone` is where that clock hangs."""

    start: datetime
    lasts: timedelta
    zone: str
    rule: rrule

    @classmethod
    def of(cls, master: Resource, span: Span, mailbox_zone: str) -> Self:
        """Read the series of a master: all-day ones float, and are kept as if in UTC."""
        own = "UTC" if master["isAllDay"] else master.get("originalStartTimeZone") or mailbox_zone
        zone = own if zone_of(own) else mailbox_zone
        start, end = (moment.astimezone(zone_of(zone)).replace(tzinfo=None) for moment in span)
        try:
            pattern, bounds = (_frozen(master["recurrence"][name]) for name in ("pattern", "range"))
            return cls(start, end - start, zone, _rule(pattern, bounds, start))
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise RefusedError(400, "ErrorInvalidArgument", "The recurrence pattern is not valid.") from error

    def originals(self, lower: datetime, upper: datetime) -> Iterator[datetime]:
        """Yield the starts of occurrences that end after `lower` and begin before `upper`."""
        after = self._wall(lower) - self.lasts
        for found in self.rule.xafter(after, inc=not self.lasts):
            placed = self._placed(found)
            if placed >= upper:
                return
            if placed + self.lasts > lower or not self.lasts:
                yield placed

    def makes(self, original: datetime) -> bool:
        """Say whether the pattern makes an occurrence that starts then."""
        found = self._wall(original)
        return found in self.rule and self._placed(found) == original

    def end_of(self, original: datetime) -> datetime:
        """Return when the occurrence that starts then is over, on the wall clock."""
        return self._placed(self._wall(original) + self.lasts)

    def neighbours(self, original: datetime) -> tuple[datetime | None, datetime | None]:
        """Return the occurrences before and after one."""
        found = self._wall(original)
        before, after = self.rule.before(found), self.rule.after(found)
        return (self._placed(before) if before else None, self._placed(after) if after else None)

    def day_of(self, moment: datetime) -> date:
        """Return the day that a moment falls on where the series lives."""
        return self._wall(moment).date()

    def _wall(self, moment: datetime) -> datetime:
        return moment.astimezone(zone_of(self.zone)).replace(tzinfo=None)

    def _placed(self, found: datetime) -> datetime:
        # A time that the clock skips is the one just as long after midnight: there and back through UTC.
        return found.replace(tzinfo=zone_of(self.zone)).astimezone(UTC)


def _frozen(value: Resource) -> tuple[tuple[str, Any], ...]:
    return tuple((name, tuple(kept) if isinstance(kept, list) else kept) for name, kept in sorted(value.items()))


@lru_cache(maxsize=4096)
def _rule(pattern: tuple[tuple[str, Any], ...], bounds: tuple[tuple[str, Any], ...], start: datetime) -> rrule:
    how, until = dict(pattern), dict(bounds)
    options = _SHAPES[how["type"]](how)
    if until["type"] == "endDate":
        options["until"] = datetime.combine(date.fromisoformat(until["endDate"]), time.max)
    elif until["type"] == "numbered":
        options["count"] = until["numberOfOccurrences"]
    return rrule(dtstart=start, interval=how.get("interval") or 1, cache=True, **options)


def _weekdays(how: Resource) -> list[weekday]:
    return [weekday(_DAYS.index(day.lower())) for day in how["daysOfWeek"]]


def _weekly(how: Resource) -> Resource:
    first = weekday(_DAYS.index((how.get("firstDayOfWeek") or "sunday").lower()))
    return {"freq": WEEKLY, "byweekday": _weekdays(how), "wkst": first}


def _on_day(how: Resource) -> Resource:
    """Exchange takes the last day of a month that is too short; a rule of iCalendar would skip it."""
    day = how["dayOfMonth"]
    if day <= _SHORTEST_MONTH:
        return {"bymonthday": day}
    return {"bymonthday": list(range(_SHORTEST_MONTH, day + 1)), "bysetpos": -1}


def _on_weekday(how: Resource) -> Resource:
    return {"byweekday": _weekdays(how), "bysetpos": _NTH[(how.get("index") or "first").lower()]}


_SHAPES: Final[dict[str, Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "daily": lambda _: {"freq": DAILY},
    "weekly": _weekly,
    "absoluteMonthly": lambda how: {"freq": MONTHLY} | _on_day(how),
    "relativeMonthly": lambda how: {"freq": MONTHLY} | _on_weekday(how),
    "absoluteYearly": lambda how: {"freq": YEARLY, "bymonth": how["month"]} | _on_day(how),
    "relativeYearly": lambda how: {"freq": YEARLY, "bymonth": how["month"]} | _on_weekday(how),
}
