"""Times as CRMs keep them, both ways and pure: aware, UTC, local to a zone or to an agent; time columns or text."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from zoneinfo import ZoneInfo

from reconciler.crm.columns import Column, Kind, UnwritableError


class TimeMode(StrEnum):
    """What a time without an offset means (`crm.time`)."""

    AWARE = "aware"
    UTC = "utc"
    LOCAL = "local"
    AGENT = "agent"


@dataclass(frozen=True, slots=True)
class TimeRule:
    """`crm.time`, understood. `zone` is that of naive values; None for `aware` (there are none) and `local:agent`."""

    mode: TimeMode
    zone: tzinfo | None

    @classmethod
    def parse(cls, spelled: str) -> TimeRule:
        """Read `aware`, `utc`, `local:ZONE` or `local:agent`. Raises ValueError with a sentence."""
        simple = {
            "aware": cls(TimeMode.AWARE, None),
            "utc": cls(TimeMode.UTC, UTC),
            "local:agent": cls(TimeMode.AGENT, None),
        }
        if spelled in simple:
            return simple[spelled]
        prefix, _, name = spelled.partition(":")
        zone = zone_named(name) if prefix == "local" else None
        if zone is None:
            raise ValueError(f'"{spelled}" is not aware, utc, local:ZONE (an IANA name) or local:agent')
        return cls(TimeMode.LOCAL, zone)


@lru_cache(maxsize=1024)
def zone_named(name: str | None) -> tzinfo | None:
    """Return the zone with this IANA name, None when there is none."""
    if not name:
        return None
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, LookupError):
        return None


_LOOSE = re.compile(
    r"^(\d{4}-\d\d-\d\d[T ]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(UTC|GMT|Z|[+-]\d\d(?::?\d\d)?)?$", re.IGNORECASE
)


def canonical(raw: object, zone: tzinfo | None) -> str:
    """Return an instant as `2026-11-24T15:00:00Z`, its fraction cut off; `zone` is that of values without an offset.

    Raises ValueError with a clause: not a time, or no offset where `zone` is None. A local time that happens twice is
    the first of the two; one that does not happen is read with the offset from before the gap.
    """
    if zone is UTC and type(raw) is str and len(raw) == 19 and raw[7] == "-" and raw[16] == ":":  # noqa: PLR2004 -- the length of the common spelling
        datetime.fromisoformat(raw)
        return f"{raw[:10]}T{raw[11:]}Z"
    moment = _moment(raw)
    if moment.tzinfo is None:
        if zone is None:
            raise ValueError("has no offset")
        moment = moment.replace(tzinfo=zone)
    try:
        return moment.astimezone(UTC).replace(microsecond=0, tzinfo=None).isoformat() + "Z"
    except OverflowError:
        raise ValueError("is out of range") from None


def _moment(raw: object) -> datetime:
    if isinstance(raw, datetime):
        return raw
    if not isinstance(raw, str):
        raise ValueError("is not a date and time")  # noqa: TRY004 -- one kind of error for one caller
    try:
        return datetime.fromisoformat(raw)
    except ValueError:
        return _loose_moment(raw.strip())


def _loose_moment(raw: str) -> datetime:
    found = _LOOSE.match(raw)
    if not found:
        raise ValueError("is not a date and time")
    offset = "Z" if (found[2] or "").upper() in {"UTC", "GMT"} else found[2] or ""
    try:
        return datetime.fromisoformat(found[1].replace(",", ".") + offset)
    except ValueError:
        raise ValueError("is not a date and time") from None


def canonical_day(raw: object, *, end: bool = False, inclusive: bool = False) -> str:
    """Return the date part of a midnight or a bare date as `2026-11-24`, whatever zone it claims.

    For an `end` the result is exclusive: a column that is `inclusive`, or holds 23:59, names the last day instead.
    Raises ValueError with a clause.
    """
    day, clock = _day_and_clock(raw)
    if end and (inclusive or clock >= "23:59"):
        day = shifted(day, 1)
    return day.isoformat()


def _day_and_clock(raw: object) -> tuple[date, str]:
    if isinstance(raw, datetime):
        return raw.date(), f"{raw:%H:%M}"
    if isinstance(raw, date):
        return raw, ""
    if not isinstance(raw, str):
        raise ValueError("is not a date")  # noqa: TRY004 -- as above
    bare = raw.strip()
    try:
        return date.fromisoformat(bare[:10]), bare[11:16]
    except ValueError:
        raise ValueError("is not a date") from None


def shifted(day: date, days: int) -> date:
    try:
        return day + timedelta(days=days)
    except OverflowError:
        raise ValueError("is out of range") from None


_SPELLING = re.compile(r"^\d{4}-\d\d-\d\d(.)\d\d:\d\d(?::\d\d)?(\.\d+)?( ?)(Z|[+-]\d\d(:?)(?:\d\d)?)?$")


@dataclass(frozen=True, slots=True)
class Spelling:
    """How a text column writes times, learned from a value it holds."""

    separator: str = " "
    fraction: str = ""
    offset: str = ""  # "", "Z", or the style of an offset: "+00:00", "+0000", "+00"
    bare_dates: bool = False

    @classmethod
    def like(cls, sample: str, *, aware: bool) -> Spelling:
        """Return the spelling of `sample`; SQLite's own (a space, no offset) or ISO with Z when there is none."""
        found = _SPELLING.match(sample)
        if not found:
            return cls("T", "", "Z") if aware else cls()
        fraction = "." + "0" * (len(found[2]) - 1) if found[2] else ""
        offset = found[4] or ("Z" if aware else "")
        return cls(found[1], fraction, offset)

    def write(self, moment: datetime) -> str:
        """Spell an aware moment, in its own zone unless the column marks UTC with a Z."""
        shown = moment.astimezone(UTC) if self.offset == "Z" else moment
        clock = shown.replace(tzinfo=None, microsecond=0).isoformat(self.separator)
        return clock + self.fraction + self._suffix(shown)

    def _suffix(self, moment: datetime) -> str:
        if self.offset in {"", "Z"}:
            return self.offset
        digits = f"{moment:%z}"
        colon = ":" if ":" in self.offset else ""
        return digits if len(self.offset) == len("+0000") and not colon else f"{digits[:3]}{colon or ':'}{digits[3:5]}"


def spelled_moment(value: str, column: Column, rule: TimeRule, zone: tzinfo | None) -> object:
    """Return what a time column must hold so that it reads back as `value` (canonical, an instant or a date).

    `zone` is the zone of the column's naive values. Raises UnwritableError when no value would read back as `value`.
    """
    if len(value) == len("2026-11-24"):
        return _spelled_day(date.fromisoformat(value), column)
    if zone is None and rule.mode is not TimeMode.AWARE:
        raise UnwritableError("the agent has no timezone, and this CRM keeps times local to the agent")
    try:
        moment = datetime.fromisoformat(value).astimezone(zone or UTC)
    except (ValueError, OverflowError):
        raise UnwritableError("the time is out of range") from None
    raw = raw_moment(moment, column, rule)
    if canonical(raw, zone) != value:
        raise UnwritableError(
            f"{moment:%H:%M} happens twice on {moment:%Y-%m-%d} in {zone}, "
            f"and the column {column.name} can't say which is meant"
        )
    return raw


def raw_moment(moment: datetime, column: Column, rule: TimeRule) -> object:
    if column.kind is Kind.INSTANT:
        return moment
    if column.kind is Kind.TIME:
        return moment.replace(tzinfo=None, fold=0)  # no database keeps a fold
    return Spelling.like(column.sample, aware=rule.mode is TimeMode.AWARE).write(moment)


def _spelled_day(day: date, column: Column) -> object:
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    if column.kind is Kind.INSTANT:
        return midnight
    if column.kind is Kind.TIME:
        return midnight.replace(tzinfo=None)
    spelling = Spelling.like(column.sample, aware=False)
    return Spelling(spelling.separator, spelling.fraction, spelling.offset).write(midnight)
