"""Say which time zone a TZID means: the IANA zone where the name is known, else the calendar's own VTIMEZONE.

Names are looked up in the IANA database by every spelling exporters use (plain, Windows, with a vendor's prefix). Only
a custom VTIMEZONE is built from its rules, once, into a table of transitions: to expand those rules for each event is
what makes other readers take 20 ms an event (https://github.com/ridafkih/keeper.sh/pull/898). Nothing is shared between
calendars: two of them may call different zones "Customized Time Zone".
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON

from reconciler.sources import ical, recurrence

HORIZON = datetime(2100, 1, 1, tzinfo=UTC)
"""How far the rules of a custom zone are followed."""

ZONES = 100
"""VTIMEZONEs of one calendar that are looked at."""

_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)(\d\d)?")


class UnknownZoneError(ValueError):
    """A TZID that neither the IANA database, nor Windows, nor the calendar itself defines."""


@cache
def _names() -> Mapping[str, str]:
    iana = {name.casefold(): name for name in available_timezones()}
    windows = {
        name.casefold(): iana[zone.casefold()] for name, zone in WINDOWS_TO_OLSON.items() if zone.casefold() in iana
    }
    return windows | iana


def find(name: str) -> ZoneInfo | None:
    """Return the IANA zone that `name` stands for, None if it is none: `Europe/Berlin`, `Eastern Standard Time`, ..."""
    spelling = next((_names()[key] for key in _spellings(name) if key in _names()), None)
    return ZoneInfo(spelling) if spelling else None


def _spellings(name: str) -> Iterator[str]:
    """Yield what to look up, best first; `/vendor.example/Europe/Berlin` and `tzone://Microsoft/Utc` end in a name."""
    plain = name.strip().casefold()
    yield plain
    if plain.startswith("/") or "://" in plain:
        parts = plain.strip("/").split("/")[-6:]
        for start in range(len(parts)):
            yield "/".join(parts[start:])


class Zones:
    """The zones of one VCALENDAR. `home` is what a time without a zone means."""

    def __init__(self, definitions: Iterable[Sequence[str]] = (), *, home: tzinfo = UTC) -> None:
        self.home = home
        self._definitions = dict(filter(None, (_identify(lines) for lines in list(definitions)[:ZONES])))
        self._found: dict[str, tzinfo | str] = {}

    def get(self, tzid: str) -> tzinfo:
        """Return the zone of `tzid`; raise `UnknownZoneError` where guessing would move an appointment."""
        if tzid not in self._found:
            try:
                self._found[tzid] = self._resolve(tzid)
            except (ValueError, OverflowError) as error:
                self._found[tzid] = str(error)  # a zone that makes no sense is not tried again for each event
        found = self._found[tzid]
        if isinstance(found, str):
            raise UnknownZoneError(found)
        return found

    def _resolve(self, tzid: str) -> tzinfo:
        lines = self._definitions.get(tzid.strip())
        known = find(tzid) or (find(_located(lines)) if lines else None)
        if known:
            return known
        if not lines:
            raise UnknownZoneError(f"its time zone {tzid[:80]!r} is not known and not defined in the calendar")
        return custom(tuple(lines))


def _identify(lines: Sequence[str]) -> tuple[str, Sequence[str]] | None:
    named = (ical.parse(line) for line in lines)
    tzid = next((found[1].value for found in named if found and found[0] == "TZID"), None)
    return (tzid.strip(), lines) if tzid else None


def _located(lines: Iterable[str]) -> str:
    """Return what X-LIC-LOCATION (libical) names: the IANA zone that a definition was made from."""
    named = (ical.parse(line) for line in lines)
    return next((found[1].value for found in named if found and found[0] == "X-LIC-LOCATION"), "")


class Table(tzinfo):
    """A zone made of a VTIMEZONE: local time by a sorted table of its transitions (PEP 495 for gaps and folds).

    Local times are held as if they were UTC: they have no zone while one is being made.
    """

    def __init__(self, name: str, onsets: Sequence[tuple[datetime, timedelta]], before: timedelta) -> None:
        self.name = name
        self.offsets = [before, *(offset for _, offset in onsets)]
        self.utc = [moment for moment, _ in onsets]
        steps = list(zip(self.utc, self.offsets, self.offsets[1:], strict=False))
        self.wall = (
            [moment + max(old, new) for moment, old, new in steps],  # fold=0: the offset before the change holds on
            [moment + min(old, new) for moment, old, new in steps],
        )

    def utcoffset(self, moment: datetime | None) -> timedelta | None:
        """Return the offset from UTC at a local time."""
        if moment is None:
            return None
        return self.offsets[bisect_right(self.wall[moment.fold], moment.replace(tzinfo=UTC, fold=0))]

    def dst(self, _: datetime | None) -> timedelta | None:
        """Return None: which part of the offset is daylight saving is nobody's question here."""
        return None

    def tzname(self, _: datetime | None) -> str:
        """Return the TZID."""
        return self.name

    def fromutc(self, moment: datetime) -> datetime:
        """Return the local time of a UTC time, with `fold` set the second time it strikes."""
        plain = moment.replace(tzinfo=UTC)
        index = bisect_right(self.utc, plain)
        offset = self.offsets[index]
        again = index > 0 and plain - self.utc[index - 1] < self.offsets[index - 1] - offset
        return (plain + offset).replace(tzinfo=self, fold=int(again))


def custom(lines: tuple[str, ...]) -> Table:
    """Build the zone that a VTIMEZONE (its content lines) describes; raise `ValueError` where it makes no sense."""
    onsets: list[tuple[datetime, timedelta, timedelta]] = []
    for observance in _observances(lines):
        onsets += _onsets(ical.gather(observance))
    if not onsets:
        raise UnknownZoneError("its time zone is defined without any offset")
    onsets.sort()
    name = next((line[5:] for line in lines if line[:5].upper() == "TZID:"), "custom")
    return Table(name, [(moment, new) for moment, _, new in onsets], onsets[0][1])


def _observances(lines: Iterable[str]) -> Iterator[list[str]]:
    inside: list[str] | None = None
    for line in lines:
        word = line.strip().upper()
        if word in {"BEGIN:STANDARD", "BEGIN:DAYLIGHT"}:
            inside = []
        elif word in {"END:STANDARD", "END:DAYLIGHT"} and inside is not None:
            yield inside
            inside = None
        elif inside is not None:
            inside.append(line)


def _onsets(properties: ical.Properties) -> Iterator[tuple[datetime, timedelta, timedelta]]:
    """Yield (UTC moment, offset before, offset after) of one STANDARD or DAYLIGHT."""
    try:
        start = _local(properties["DTSTART"][0].value)
        old, new = (_offset(properties[name][0].value) for name in ("TZOFFSETFROM", "TZOFFSETTO"))
    except KeyError as missing:
        raise UnknownZoneError(f"its time zone is defined without {missing.args[0]}") from missing
    local = {start}
    for rule in properties.get("RRULE", ()):
        local |= set(recurrence.onsets(rule.value, start, old, HORIZON))
    for rdate in properties.get("RDATE", ()):
        local |= {_local(value) for value in rdate.value.split(",")[:1000]}
    for moment in local:
        yield moment - old, old, new


def _local(value: str) -> datetime:
    return datetime.strptime(value.strip()[:15], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)


def _offset(value: str) -> timedelta:
    found = _OFFSET.fullmatch(value.strip())
    if not found:
        raise UnknownZoneError("its time zone is defined with an offset that is none")
    sign, hours, minutes, seconds = found.groups(default="0")
    size = timedelta(hours=int(hours), minutes=int(minutes), seconds=int(seconds))
    if size >= timedelta(days=1):
        raise UnknownZoneError("its time zone is defined with an offset of a day or more")
    return -size if sign == "-" else size
