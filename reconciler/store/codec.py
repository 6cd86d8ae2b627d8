"""Between rows of the state database and the domain's values: JSON for what is read whole, columns for queries."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, overload

import orjson

from reconciler.model import Absence, Fields, Presence, Record, Seen, Shape, Span, Status, Value
from reconciler.model import Action as _Action

if TYPE_CHECKING:
    from collections.abc import Mapping

SLACK = timedelta(hours=14)


def epoch(moment: datetime) -> int:
    """Return an aware datetime as epoch seconds."""
    return int(moment.timestamp())


@overload
def from_epoch(seconds: int) -> datetime: ...
@overload
def from_epoch(seconds: int | None) -> datetime | None: ...
def from_epoch(seconds: int | None) -> datetime | None:
    """Return epoch seconds as an aware UTC datetime."""
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def scope_range(span: Span) -> tuple[int, int]:
    """Return the epoch seconds that `span` may touch: a date in all zones, an instant at least one second."""
    slack = SLACK if span.all_day else timedelta()
    end = max(span.ends_at, span.starts_at + timedelta(seconds=1))
    return epoch(span.starts_at - slack), epoch(end + slack)


def dump(value: object) -> str:
    """Return JSON text."""
    return orjson.dumps(value).decode()


def load(text: str | None) -> Any:  # noqa: ANN401  # JSON is anything
    """Read JSON text."""
    return None if text is None else orjson.loads(text)


def fields_of(value: Mapping[str, Any]) -> dict[str, Value]:
    """Read `Fields` back from JSON: its lists are tuples."""
    return {name: tuple(item) if isinstance(item, list) else item for name, item in value.items()}


# ---- the calendar side ----------------------------------------------------------------------------------------------


def seen_payload(seen: Seen) -> str:
    """Return what of a mirror row is read whole. Defaults are left out: most rows have few."""
    span = [seen.span.start.isoformat(), seen.span.end.isoformat(), int(seen.span.all_day)]
    payload: dict[str, Any] = {"span": span}
    optional: dict[str, Any] = {
        "keys": list(seen.keys),
        "series": seen.series,
        "relevance": seen.relevance,
        "fields": seen.fields,
        "organizer": seen.organizer,
        "private": seen.private,
        "declined": seen.declined,
        "free": not seen.busy,
        "modified": seen.modified and epoch(seen.modified),
        "first_seen": seen.first_seen and epoch(seen.first_seen),
        "absent_since": seen.absent_since and epoch(seen.absent_since),
        "absent_token": seen.absent_token,
        "stale": seen.stale,
        "etag": seen.etag,
        "guests": seen.guests,
    }
    if seen.withheld:
        payload["withheld"] = True
    if seen.claim is not None:
        payload["claim"] = seen.claim
    return dump(payload | {name: value for name, value in optional.items() if value})


def seen_from(event: str, digest: bytes, meeting: str, absence: str | None, payload: str) -> Seen:
    """Read a mirror row back."""
    data = orjson.loads(payload)
    return Seen(
        event=event,
        span=_span(*data["span"]),
        digest=bytes(digest),
        meeting=meeting,
        keys=tuple(data.get("keys", ())),
        series=data.get("series"),
        relevance=data.get("relevance"),
        fields=fields_of(data.get("fields", {})),
        organizer=data.get("organizer"),
        private=data.get("private", False),
        declined=data.get("declined", False),
        busy=not data.get("free", False),
        modified=from_epoch(data.get("modified")),
        first_seen=from_epoch(data.get("first_seen")),
        absence=Absence(absence) if absence else None,
        absent_since=from_epoch(data.get("absent_since")),
        absent_token=data.get("absent_token"),
        stale=data.get("stale", False),
        etag=data.get("etag", ""),
        guests=data.get("guests", 0),
        claim=data.get("claim"),
        withheld=data.get("withheld", False),
    )


def _span(start: str, end: str, all_day: int) -> Span:
    if all_day:
        return Span(date.fromisoformat(start), date.fromisoformat(end))
    return Span(datetime.fromisoformat(start), datetime.fromisoformat(end))


# ---- the CRM side ---------------------------------------------------------------------------------------------------


def record_payload(record: Record) -> str:
    """Return what of a record is read whole."""
    payload: dict[str, Any] = {"fields": record.fields, "version": record.version}
    optional: dict[str, Any] = {
        "key": record.key,
        "closed": record.closed,
        "updated": record.updated and epoch(record.updated),
        "origin": record.origin,
        "problem": record.problem,
        "first_seen": record.first_seen and epoch(record.first_seen),
        "withheld": record.withheld,
    }
    return dump(payload | {name: value for name, value in optional.items() if value})


def record_from(crm_id: str, presence: str, payload: str) -> Record:
    """Read a record back."""
    data = orjson.loads(payload)
    return Record(
        id=crm_id,
        fields=fields_of(data["fields"]),
        version=data["version"],
        key=data.get("key"),
        presence=Presence(presence),
        closed=data.get("closed", False),
        updated=from_epoch(data.get("updated")),
        origin=data.get("origin"),
        problem=data.get("problem"),
        first_seen=from_epoch(data.get("first_seen")),
        withheld=data.get("withheld", False),
    )


def record_span(fields: Fields) -> Span | None:
    """Return when a record happens, None where its times can't be read."""
    start, end = fields.get("start"), fields.get("end") or fields.get("start")
    if not isinstance(start, str) or not isinstance(end, str):
        return None
    all_day = len(start) == len("2026-11-24")
    return _span(start, end if all_day == (len(end) == len("2026-11-24")) else start, all_day)


# ---- the CRM's shape ------------------------------------------------------------------------------------------------


def shape_to(shape: Shape) -> str:
    """Return a shape as JSON text."""
    return dump(
        {
            "mapped": sorted(shape.mapped),
            "lengths": dict(shape.lengths),
            "statuses": {str(left): str(right) for left, right in shape.statuses.items()},
            "can": sorted(shape.can),
        }
    )


def shape_from(text: str) -> Shape:
    """Read a shape back."""
    data = orjson.loads(text)
    return Shape(
        mapped=frozenset(data["mapped"]),
        lengths=data["lengths"],
        statuses={Status(left): Status(right) for left, right in data["statuses"].items()},
        can=frozenset(_Action(action) for action in data["can"]),
    )
