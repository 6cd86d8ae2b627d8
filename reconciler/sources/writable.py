"""What may be written to a calendar, whoever keeps it: fields as one keeps them, their differences, or a refusal.

People, owners and cancellations are never written, times only together, and of what is private nothing but its time.
"""

from __future__ import annotations

from datetime import UTC, date, datetime

from reconciler import text
from reconciler.model import WRITABLE, Event, Fields, Span, Status, Value, rfc3339

RECURRING = "it belongs to a recurring event, which only people change"

TIMES = ("start", "end", "all_day")
WORDS = ("title", "location")


class UnfitError(Exception):
    """The event, or what it should become, is nothing that may be written. Says why, a clause."""


def held(event: Event) -> Fields:
    """Return what an event says, as the fields that may be written."""
    return {
        "start": rfc3339(event.span.start),
        "end": rfc3339(event.span.end),
        "all_day": event.span.all_day,
        "title": event.title,
        "location": event.location,
        "status": event.status.value,
    }


def wanted(fields: Fields) -> Fields:
    """Return `fields` as a calendar would keep them. Raises UnfitError for what is never written."""
    if foreign := sorted(set(fields) - WRITABLE):
        raise UnfitError(f"a calendar's {' and '.join(foreign)} are not for us to write")
    if fields.get("status") == Status.CANCELLED:
        raise UnfitError("an event is cancelled by removing it, not by a change")
    spelled = {name: _line(fields[name]) for name in WORDS if name in fields}
    status = {"status": _status(fields["status"])} if "status" in fields else {}
    return {name: fields[name] for name in TIMES if name in fields} | spelled | status


def changes(event: Event, want: Fields) -> Fields:
    """Return those of the wanted fields that the event does not hold. Raises UnfitError."""
    now = held(event)
    found = {name: value for name, value in want.items() if value != now[name]}
    if event.private and not found.keys().isdisjoint(WORDS):
        raise UnfitError("it is private: what it says is not read, and so not overwritten")
    if not found.keys().isdisjoint(TIMES):
        span = span_of({**now, **want})
        spelled: dict[str, Value] = {"start": rfc3339(span.start), "end": rfc3339(span.end), "all_day": span.all_day}
        found = {name: value for name, value in found.items() if name not in TIMES}
        found |= spelled if any(spelled[name] != now[name] for name in TIMES) else {}
    return found


def span_of(fields: Fields) -> Span:
    """Return when the fields say that it is. Raises UnfitError."""
    all_day = fields.get("all_day") is True
    start, end = (_moment(fields.get(name), all_day=all_day) for name in ("start", "end"))
    if end < start or (all_day and end == start):
        raise UnfitError("it would end before it starts")
    return Span(start, end)


def _line(value: Value) -> str:
    return text.line(value) if isinstance(value, str) else ""


def _status(value: Value) -> str:
    return Status.TENTATIVE.value if value == Status.TENTATIVE else Status.CONFIRMED.value


def _moment(value: Value, *, all_day: bool) -> datetime | date:
    try:
        if all_day:
            return date.fromisoformat(str(value))
        moment = datetime.fromisoformat(str(value))
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnfitError("its times make no sense: days for an all-day event, else instants") from error
    raise UnfitError("its times make no sense: an instant without an offset")
