"""Read values out of a provider's JSON: each is looked at as if a stranger had sent it.

What has a wrong type or makes no sense is a `ValueError` with a clause for people, so that the one item can be set
aside; what is left out, or null, is empty. Times come back as days or as instants in whole seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, tzinfo
from typing import TypeAlias, TypeVar

from reconciler import text
from reconciler.model import Span
from reconciler.sources.recurrence import Moment, settled
from reconciler.sources.vevent import YEARS
from reconciler.sources.zones import UnknownZoneError, find

_When = TypeVar("_When", date, datetime)

Item: TypeAlias = Mapping[str, object]
"""A JSON object as a provider sends it, before anything about it is believed."""

ID_LIMIT = 1_024
"""Characters of an id: Google's have at most these (`schemas.Event.id`), Graph's fewer; etags are shorter."""

_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_TIME = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d):(\d\d)(?:\.\d{1,9})?(Z|[+-]\d\d:\d\d)?", re.ASCII | re.IGNORECASE)


# ---- values ---------------------------------------------------------------------------------------------------------


def string(item: Item, name: str) -> str:
    """Return a text; empty if it is not given."""
    match item.get(name):
        case None:
            return ""
        case str(value):
            return value
        case _:
            raise ValueError(f"its {text.line(name, 40)} is no text")


def word(item: Item, name: str) -> str:
    """Return a short text, as names of states and kinds are."""
    return string(item, name)[:40]


def flag(item: Item, name: str) -> bool:
    """Return a truth value; false if it is not given."""
    match item.get(name):
        case None:
            return False
        case bool(value):
            return value
        case _:
            raise ValueError(f"its {name} is neither true nor false")


def child(item: Item, name: str) -> Item:
    """Return an object within the item; an empty one if it is not given."""
    return {} if item.get(name) is None else mapping(item.get(name), name)


def mapping(value: object, name: str) -> Item:
    """Return a value that has to be an object."""
    match value:
        case dict():
            return value
        case _:
            raise ValueError(f"its {name} can't be read")


def sequence(item: Item, name: str) -> Sequence[object]:
    """Return a list; an empty one if it is not given."""
    match item.get(name):
        case None:
            return ()
        case list(values):
            return values
        case _:
            raise ValueError(f"its {name} is no list")


def strings(item: Item, name: str) -> tuple[str, ...]:
    """Return a list of texts."""
    values = sequence(item, name)
    lines = tuple(value for value in values if isinstance(value, str))
    if len(lines) != len(values):
        raise ValueError(f"its {name} can't be read")
    return lines


def exact(item: Item, name: str, missing: str | None = None) -> str:
    """Return what we would have to say again exactly: inert, bounded, and never like the name of an occurrence."""
    value = string(item, name)
    if not value and missing is not None:
        raise ValueError(missing)
    if len(value) > ID_LIMIT or (missing is not None and "/" in value) or text.line(value, ID_LIMIT) != value:
        raise ValueError(f"its {name} is none")
    return value


def address(item: Item, name: str) -> str:
    """Return an e-mail address; empty if there is none, or a name of another kind (a directory's, a telephone's)."""
    found = text.address(string(item, name)[:400])
    return found if "@" in found else ""


# ---- times ----------------------------------------------------------------------------------------------------------


def following(start: Moment, end: Moment) -> Moment:
    """Return the end that fits the start: both days or both instants, and not before it."""
    if type(start) is not type(end):
        raise ValueError("it begins with a day and ends at a time, or the other way round")
    if end < start:
        raise ValueError("it ends before it starts")
    return end


def spanned(start: Moment, end: Moment) -> Span:
    """Return a span that never ends before it starts, whatever the zones of its ends do."""
    first, last = settled(start), settled(end)
    return Span(first, max(first, last))


def dated(value: str) -> date:
    """Return a day."""
    if not _DAY.fullmatch(value):
        raise ValueError(f"it has a day that can't be read: {text.line(value, 40)!r}")
    return _in_years(lambda: date.fromisoformat(value))


def instant(value: str, zone: Callable[[], tzinfo | None] = lambda: None) -> datetime:
    """Return an instant in whole seconds; one without an offset is in `zone`."""
    found = _TIME.fullmatch(value)
    if not found:
        raise ValueError(f"it has a time that can't be read: {text.line(value, 40)!r}")
    day, clock, seconds, offset = found.groups()
    whole = f"{day}T{clock}:{min(int(seconds), 59):02}{(offset or '').upper()}"
    moment = _in_years(lambda: datetime.fromisoformat(whole))
    if moment.tzinfo is None:
        home = zone()
        if home is None:
            raise ValueError("it has a time without an offset")
        return moment.replace(tzinfo=home)
    return moment


def _in_years(attempt: Callable[[], _When]) -> _When:
    try:
        moment = attempt()
    except ValueError as error:
        raise ValueError("it has a time that does not exist") from error
    if moment.year not in YEARS:
        raise ValueError(f"it has a time outside of the years {YEARS.start} to {YEARS.stop - 1}")
    return moment


def zone_named(name: str) -> tzinfo:
    """Return a zone by its name, in whatever list of names that is."""
    found = find(name[:100])
    if found is None:
        raise UnknownZoneError(f"its time zone {text.line(name, 80)!r} is not known")
    return found
