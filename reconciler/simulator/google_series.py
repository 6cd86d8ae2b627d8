"""Times of the stand-in Google and the occurrences of its series, expanded by dateutil on the wall clock of their zone.

Independent of the sources' own expansion on purpose: each can only be right or wrong by itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rruleset, rrulestr

from reconciler.simulator.google_refusals import RefusedError

Resource = dict[str, Any]

# facts §1.4: one touched weekly series without an end comes back as some 700 rows to 2040.
MOST_INSTANCES: Final = 730

_INSTANCE: Final = re.compile(r"(.+)_(\d{8})(?:T(\d{6})Z)?", re.DOTALL)
_LINE: Final = re.compile(r"(RRULE|EXRULE|RDATE|EXDATE)((?:;[^:]*)?):(.*)", re.DOTALL)
_UNTIL: Final = re.compile(r"UNTIL=([0-9TZ]+)")


def moment(value: Mapping[str, Any], zone: str) -> date | datetime:
    """Read Google's start or end: a date, or a time with its own offset or else in its zone."""
    if "date" in value and "dateTime" in value:
        raise RefusedError(400, "invalid", "Start and end times must either both be date or both be dateTime.")
    try:
        if "date" in value:
            return date.fromisoformat(value["date"])
        read = datetime.fromisoformat(value["dateTime"]).replace(microsecond=0)
        return read if read.tzinfo else read.replace(tzinfo=ZoneInfo(value.get("timeZone") or zone))
    except (KeyError, TypeError, ValueError) as error:
        raise RefusedError(400, "required", "Missing or invalid time.") from error


def rendered(value: date | datetime, own_zone: str | None, zone: str) -> Resource:
    """Write a start or end as Google does: a time on the wall clock of its own zone, else of the calendar's."""
    if not isinstance(value, datetime):
        return {"date": value.isoformat()}
    local = value.astimezone(ZoneInfo(own_zone or zone))
    text = local.isoformat().replace("+00:00", "Z")
    return {"dateTime": text, "timeZone": own_zone} if own_zone else {"dateTime": text}


def instant(value: date | datetime, zone: str) -> datetime:
    """Return the moment at which a date or time begins for a calendar of that zone."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return datetime.combine(value, time(), ZoneInfo(zone)).astimezone(UTC)


def instance_id(master: str, original: date | datetime) -> str:
    """Name an instance: facts §1.7, `{master}_{yyyymmddThhmmssZ}`, the date alone for an all-day series."""
    if isinstance(original, datetime):
        return f"{master}_{original.astimezone(UTC):%Y%m%dT%H%M%SZ}"
    return f"{master}_{original:%Y%m%d}"


def split_instance(name: str) -> tuple[str, date | datetime] | None:
    """Take an instance id apart, from its end: what is before may hold an underscore itself (facts §1.7)."""
    found = _INSTANCE.fullmatch(name)
    if not found:
        return None
    master, day, clock = found.groups()
    try:
        if clock is None:
            return master, datetime.strptime(day, "%Y%m%d").replace(tzinfo=UTC).date()
        return master, datetime.strptime(day + clock, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Series:
    """A rule on the wall clock: `start` is naive local time (midnight for all-day), `zone` where that clock hangs."""

    lines: tuple[str, ...]
    start: datetime
    lasts: timedelta
    zone: str
    all_day: bool

    @classmethod
    def of(cls, master: Resource, calendar_zone: str) -> Self:
        """Read the series of a master."""
        all_day = "date" in master["start"]
        zone = calendar_zone if all_day else master["start"].get("timeZone") or calendar_zone
        start, end = (_naive(moment(master[name], calendar_zone), zone) for name in ("start", "end"))
        return cls(tuple(master["recurrence"]), start, end - start, zone, all_day)

    def originals(self, lower: datetime | None, upper: datetime | None) -> Iterator[date | datetime]:
        """Yield the starts of instances that end after `lower` and begin before `upper`, at most so many as Google."""
        after = _wall(lower, self.zone) - self.lasts if lower else self.start - timedelta(microseconds=1)
        before = _wall(upper, self.zone) if upper else None
        instances = _rules(self.lines, self.start, self.zone).xafter(after, count=MOST_INSTANCES, inc=False)
        for wall in instances:
            if before is not None and wall >= before:
                return
            yield self._placed(wall)

    def makes(self, original: date | datetime) -> bool:
        """Say whether the rule makes an instance that starts then."""
        if isinstance(original, datetime) is self.all_day:
            return False
        wall = _naive(original, self.zone)
        return wall in _rules(self.lines, self.start, self.zone)

    def end_of(self, original: date | datetime) -> date | datetime:
        """Return when the instance that starts then is over, on the wall clock."""
        if not isinstance(original, datetime):
            return original + self.lasts
        return self._placed(_wall(original, self.zone) + self.lasts)

    def _placed(self, wall: datetime) -> date | datetime:
        if self.all_day:
            return wall.date()
        # A time that the clock skips is the one just as long after midnight: there and back through UTC.
        return wall.replace(tzinfo=ZoneInfo(self.zone)).astimezone(UTC).astimezone(ZoneInfo(self.zone))


def _wall(value: datetime, zone: str) -> datetime:
    return value.astimezone(ZoneInfo(zone)).replace(tzinfo=None)


def _naive(value: date | datetime, zone: str) -> datetime:
    return _wall(value, zone) if isinstance(value, datetime) else datetime.combine(value, time())


@lru_cache(maxsize=4096)
def _rules(lines: tuple[str, ...], start: datetime, zone: str) -> rruleset:
    """Build the set of wall-clock times that the lines make."""
    rules = rruleset(cache=True)
    for line in lines:
        found = _LINE.fullmatch(line)
        if not found:
            raise RefusedError(400, "invalid", "Invalid recurrence rule.")
        _add(rules, found.groups(), start, zone)
    if not any(line.startswith("RRULE") for line in lines):
        rules.rdate(start)  # RFC 5545: without a rule the first instance is the start itself
    return rules


def _add(rules: rruleset, line: tuple[str, ...], start: datetime, zone: str) -> None:
    name, parameters, value = line
    if name in {"RDATE", "EXDATE"}:
        for text in value.split(","):
            (rules.rdate if name == "RDATE" else rules.exdate)(_point(text, parameters, zone))
        return
    until = _UNTIL.search(value)
    if until:
        end = _point(until[1], "", zone)
        # A bare date still covers that whole day on a series with times.
        end += timedelta() if "T" in until[1] else timedelta(days=1, seconds=-1)
        value = value.replace(until[0], f"UNTIL={end:%Y%m%dT%H%M%S}")
    rule = rrulestr(value, dtstart=start, cache=True)
    if isinstance(rule, rrule):
        (rules.rrule if name == "RRULE" else rules.exrule)(rule)


def _point(text: str, parameters: str, zone: str) -> datetime:
    """Read a time of a recurrence line onto the wall clock of the series."""
    read = datetime.fromisoformat(text)
    if "T" not in text:
        return read
    named = re.search(r"TZID=([^;]+)", parameters)
    own = read if read.tzinfo else read.replace(tzinfo=ZoneInfo(named[1] if named else zone))
    return _wall(own, zone)
