"""Lists of the stand-in Google: full reads, deltas and instances, page by page, with the tokens that hold a walk.

A sync token is a place in a calendar's log; a page token is a walk that began at such a place and a key within it. So a
change that happens while somebody turns pages is never missed: it comes with the token of the last page (facts §1.1).
"""

from __future__ import annotations

import base64
import binascii
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

import orjson

from reconciler.simulator.google_calendars import Calendar, Row
from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.google_resources import starts_at
from reconciler.simulator.google_series import Resource
from reconciler.simulator.google_views import Glasses
from reconciler.simulator.loopback import Request

LARGEST_PAGE: Final = 2500
# facts §1.4: of a deleted series only about six months of cancelled instances came back.
_CANCELLED_AHEAD: Final = timedelta(days=182)
# facts §1.2: what may not stand beside a sync token.
_NOT_WITH_TOKEN: Final = (
    *(
        "iCalUID",
        "orderBy",
        "privateExtendedProperty",
        "q",
        "sharedExtendedProperty",
        "timeMin",
        "timeMax",
        "updatedMin",
    ),
)
# facts §1.6: folklore has it that `updatedMin` reaches four weeks back.
_UPDATED_SINCE: Final = timedelta(days=28)
# What a baseline may not have used to end in a sync token (facts §1.2).
_WITHOUT_TOKEN: Final = ("iCalUID", "orderBy", "privateExtendedProperty", "q", "sharedExtendedProperty", "updatedMin")
# What must be the same all along a chain; anything else is undefined, and here it is refused.
_OF_CHAIN: Final = ("singleEvents", "eventTypes", "maxAttendees", "showHiddenInvitations", "timeZone")
_NOT_OF_WALK: Final = frozenset(
    {"pageToken", "maxResults", "fields", "quotaUser", "prettyPrint", "alt", "key", "userIp", "oauth_token"}
)

Key = list[Any]
Shown = tuple[Key, Resource, bool]


@dataclass(frozen=True, slots=True)
class Rules:
    """How lists behave where the facts leave it open: see `GoogleSimulator`."""

    page_size: int | None = None
    deltas_keep_window: bool = False
    token_lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """timeMin (on the end) and timeMax (on the start), both exclusive."""

    lower: datetime | None = None
    upper: datetime | None = None

    def hold(self, row: Row, zone: str) -> bool:
        """Say whether an event lies within."""
        if self.lower is None and self.upper is None:
            return True
        if row.span is None:
            row.span = starts_at(row.event, zone), starts_at(row.event, zone, "end")
        begins, ends = row.span
        return (self.lower is None or ends > self.lower) and (self.upper is None or begins < self.upper)


@dataclass(frozen=True, slots=True)
class Walk:
    """What a token says: which calendar and chain, from where in the log to where, and after which key."""

    what: str
    calendar: str
    generation: int
    chain: str
    since: int
    until: int
    issued: float
    bounds: tuple[str | None, str | None] = (None, None)
    after: Key = field(default_factory=list)
    nonce: int = 0

    def text(self) -> str:
        """Spell the token; it means nothing to anybody else."""
        return base64.urlsafe_b64encode(orjson.dumps([getattr(self, name) for name in self.__slots__])).decode()

    @classmethod
    def read(cls, text: str, what: str) -> Self:
        """Read a token that was given out, of the kind `syncToken` or `pageToken`."""
        try:
            walk = cls(*orjson.loads(base64.urlsafe_b64decode(text)))
        except (binascii.Error, ValueError, TypeError) as error:
            raise RefusedError(400, "invalid", f"Invalid {what} value.", location=what) from error
        if walk.what != what:
            raise RefusedError(400, "invalid", f"Invalid {what} value.", location=what)
        return walk


@dataclass(frozen=True, slots=True)
class Query:
    """The parameters of a list, read and found legal together."""

    request: Request
    bounds: Bounds
    single: bool
    show_deleted: bool
    size: int

    @classmethod
    def of(cls, request: Request) -> Self:
        """Read the parameters; what Google forbids is refused."""
        deleted = flag(request, "showDeleted")
        if request.one("syncToken"):
            for name in _NOT_WITH_TOKEN:
                if name in request.query:
                    message = f"Sync token cannot be used with {name}."
                    raise RefusedError(400, "invalid", message, location=name)
            if deleted is False:
                message = "Sync token cannot be used with showDeleted=false."
                raise RefusedError(400, "invalid", message, location="showDeleted")
        if request.one("orderBy") == "startTime" and not flag(request, "singleEvents"):
            raise RefusedError(400, "invalid", "orderBy startTime needs singleEvents.", location="orderBy")
        lower, upper = when(request, "timeMin"), when(request, "timeMax")
        if lower and upper and lower >= upper:
            raise RefusedError(400, "timeRangeEmpty", location="timeMax")
        size = number(request, "maxResults", 250)
        # What was deleted since `updatedMin` is shown whatever showDeleted says.
        shows = bool(deleted) or "updatedMin" in request.query
        return cls(request, Bounds(lower, upper), bool(flag(request, "singleEvents")), shows, size)

    def spelled(self, names: Iterable[str]) -> str:
        """Write parameters down, to compare them with those of an earlier request."""
        return "&".join(f"{name}={','.join(self.request.query.get(name, []))}" for name in sorted(names))

    @property
    def whole(self) -> str:
        """Everything that must stay the same from page to page."""
        return self.spelled(self.request.query.keys() - _NOT_OF_WALK)

    def wants(self, event: Resource) -> bool:
        """Apply the filters that are no times."""
        types = self.request.query.get("eventTypes")
        uid, words = self.request.one("iCalUID"), self.request.one("q")
        changed = when(self.request, "updatedMin")
        return (
            (not types or event.get("eventType", "default") in types)
            and (not uid or event.get("iCalUID") == uid)
            and (not words or words.lower() in orjson.dumps(event).decode().lower())
            and (changed is None or datetime.fromisoformat(event["updated"]) >= changed)
            and self._has_properties(event)
        )

    def _has_properties(self, event: Resource) -> bool:
        stored = event.get("extendedProperties", {})
        pairs = [
            (stored.get(scope, {}), wanted)
            for scope in ("private", "shared")
            for wanted in self.request.query.get(f"{scope}ExtendedProperty", [])
        ]
        return all(values.get(name) == value for values, (name, _, value) in ((v, w.partition("=")) for v, w in pairs))


def flag(request: Request, name: str) -> bool | None:
    text = request.one(name)
    if text not in {None, "true", "false"}:
        raise RefusedError(400, "invalidParameter", f"Invalid boolean value: '{text}'.", location=name)
    return None if text is None else text == "true"


def number(request: Request, name: str, default: int) -> int:
    text = request.one(name) or str(default)
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise RefusedError(400, "invalidParameter", f"Invalid value: '{text[:20]}'.", location=name)
    return int(text)


def when(request: Request, name: str) -> datetime | None:
    text = request.one(name)
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise RefusedError(400, "badRequest", "Bad Request", location=name) from error
    if read.tzinfo is None:
        raise RefusedError(400, "badRequest", "Bad Request", location=name)
    return read.replace(microsecond=0)


def listed(calendar: Calendar, query: Query, glasses: Glasses, rules: Rules, size: int | None) -> Resource:
    """Answer one page of events.list; `size` 0 makes an empty page in the middle of the walk."""
    _check_updated(calendar, query)
    walk = _walk(calendar, query, rules)
    page: list[tuple[Key, Resource]] = []
    more = False
    limit = min(query.size, LARGEST_PAGE, rules.page_size or LARGEST_PAGE) if size is None else min(size, query.size)
    for key, event, bare in _candidates(calendar, query, walk):
        if key <= walk.after:
            continue
        if len(page) >= limit:
            more = True
            break
        page.append((key, glasses.show(event, bare=bare, calendar_zone=calendar.zone)))
    body: Resource = {"items": [event for _, event in page]}
    if more or size == 0:
        body["nextPageToken"] = _turned(calendar, walk, query, page[-1][0] if page else walk.after)
    elif not any(name in query.request.query for name in _WITHOUT_TOKEN):
        body["nextSyncToken"] = _concluded(calendar, query, walk)
    return body


def _check_updated(calendar: Calendar, query: Query) -> None:
    since = when(query.request, "updatedMin")
    if since is not None and calendar.world.clock() - since > _UPDATED_SINCE:
        raise RefusedError(410, "updatedMinTooLongAgo", location="updatedMin")


def _walk(calendar: Calendar, query: Query, rules: Rules) -> Walk:
    """Begin a walk, or go on with the one that the page token stands for."""
    page, sync = query.request.one("pageToken"), query.request.one("syncToken")
    if page:
        walk = Walk.read(page, "pageToken")
        if walk.calendar != calendar.id or walk.chain != query.whole:
            # facts §1.1: the exact same query, only the page token is new.
            raise RefusedError(400, "invalid", "Invalid page token value.", location="pageToken")
        return walk
    now, until = calendar.world.clock().timestamp(), len(calendar.log)
    bounds = tuple(query.request.one(name) for name in ("timeMin", "timeMax")) if rules.deltas_keep_window else ()
    if not sync:
        return Walk("pageToken", calendar.id, calendar.generation, query.whole, -1, until, now, _two(bounds))
    token = _alive(calendar, Walk.read(sync, "syncToken"), now, rules)
    if token.chain != query.spelled(_OF_CHAIN):
        message = "The sync token belongs to a request with other parameters."
        raise RefusedError(400, "invalid", message, location="syncToken")
    return Walk("pageToken", calendar.id, calendar.generation, query.whole, token.until, until, now, token.bounds)


def _two(bounds: tuple[str | None, ...]) -> tuple[str | None, str | None]:
    return (bounds[0], bounds[1]) if bounds else (None, None)


def _alive(calendar: Calendar, token: Walk, now: float, rules: Rules) -> Walk:
    """Refuse a token that is too old, of another time of this calendar, or of another calendar (facts §1.6)."""
    lifetime = rules.token_lifetime
    stale = lifetime is not None and now - token.issued > lifetime.total_seconds()
    if stale or token.calendar != calendar.id:
        raise RefusedError(410, "fullSyncRequired", location="syncToken")
    if token.generation != calendar.generation:
        raise RefusedError(410, calendar.killed_for, location="syncToken")
    return token


def _turned(calendar: Calendar, walk: Walk, query: Query, after: Key) -> str:
    """Make the token of the next page: no two are the same, also not those around an empty page."""
    values = (walk.calendar, walk.generation, query.whole, walk.since, walk.until, walk.issued, walk.bounds)
    return Walk("pageToken", *values, after, calendar.world.tick()).text()


def _concluded(calendar: Calendar, query: Query, walk: Walk) -> str:
    """Spell the sync token of a walk that is over. It is a new one also when nothing had changed."""
    chain, nonce = query.spelled(_OF_CHAIN), calendar.world.tick()
    values = (walk.calendar, walk.generation, chain, walk.until, walk.until, walk.issued, walk.bounds)
    return Walk("syncToken", *values, [], nonce).text()


def _candidates(calendar: Calendar, query: Query, walk: Walk) -> Iterable[Shown]:
    if walk.since >= 0:
        bounds = Bounds(*(datetime.fromisoformat(text) if text else None for text in walk.bounds))
        rows = [row for row in _changed(calendar, walk) if _within(calendar, row, bounds)]
        found = _singles_changed(calendar, rows) if query.single else _rows_changed(rows)
        return (shown for shown in found if query.wants(shown[1]))
    rows = [row for row in calendar.rows.values() if not row.forgotten and query.wants(row.event)]
    found = _singles(calendar, query, rows) if query.single else _rows(calendar, query, rows)
    if query.request.one("orderBy") == "updated":
        return sorted((([event["updated"], *key], event, bare) for key, event, bare in found), key=_key)
    return found


def _key(shown: Shown) -> Key:
    return shown[0]


def _changed(calendar: Calendar, walk: Walk) -> list[Row]:
    """Return the rows whose last change lies in this part of the log, in its order."""
    changed = []
    for place in range(walk.since, walk.until):
        row = calendar.rows[calendar.log[place]]
        if row.stamp == place + 1:
            changed.append(row)
    return changed


def _within(calendar: Calendar, row: Row, bounds: Bounds) -> bool:
    """Say whether a delta that keeps to its baseline's window shows a change: tombstones and series always."""
    return "recurrence" in row.event or row.cancelled or bounds.hold(row, calendar.zone)


def _rows_changed(rows: list[Row]) -> Iterator[Shown]:
    return (([row.stamp], row.event, row.bare) for row in rows)


def _rows(calendar: Calendar, query: Query, rows: list[Row]) -> Iterator[Shown]:
    """Masters, exceptions and single events of a full read, in the order in which they came to be."""
    for row in rows:
        if row.cancelled and not query.show_deleted and not _live_exception(calendar, row):
            continue
        if "recurrence" in row.event:
            series = calendar.series(row.event["id"])
            if next(series.originals(query.bounds.lower, query.bounds.upper), None) is None:
                continue
        elif not query.bounds.hold(row, calendar.zone):
            continue
        yield [row.ordinal], row.event, row.bare


def _live_exception(calendar: Calendar, row: Row) -> bool:
    """Facts §1.4: a cancelled instance of a live series is shown also without showDeleted."""
    master = calendar.rows.get(row.event.get("recurringEventId", ""))
    return master is not None and not master.cancelled


def _singles(calendar: Calendar, query: Query, rows: list[Row]) -> list[Shown]:
    """Single events and instances of a full read, never masters, by their start."""
    exceptions = _by_master(calendar)
    found: list[Shown] = []
    for row in rows:
        if "recurrence" in row.event:
            found += _instances(calendar, row, exceptions[row.event["id"]], query.bounds, deleted=query.show_deleted)
        elif "recurringEventId" not in row.event and (query.show_deleted or not row.cancelled):
            found += _placed(calendar, [row], query.bounds)
    return sorted(found, key=_key)


def _by_master(calendar: Calendar) -> Mapping[str, list[Row]]:
    exceptions: dict[str, list[Row]] = defaultdict(list)
    for row in calendar.rows.values():
        if "recurringEventId" in row.event:
            exceptions[row.event["recurringEventId"]].append(row)
    return exceptions


def _placed(calendar: Calendar, rows: Iterable[Row], bounds: Bounds) -> Iterator[Shown]:
    for row in rows:
        if bounds.hold(row, calendar.zone):
            yield _single_key(calendar, row.event), row.event, row.bare


def _single_key(calendar: Calendar, event: Resource) -> Key:
    begins = starts_at(event, calendar.zone, "start" if "start" in event else "originalStartTime")
    return [begins.astimezone(UTC).isoformat(), event["id"]]


def _instances(
    calendar: Calendar, master: Row, exceptions: list[Row], bounds: Bounds, *, deleted: bool
) -> Iterator[Shown]:
    """Expand a series: exceptions stand in for what they replace."""
    if master.cancelled and not deleted:
        return
    series = calendar.series(master.event["id"])
    replaced = {row.event["id"] for row in exceptions}
    for original in series.originals(bounds.lower, bounds.upper):
        event = calendar.instance_at(master, series, original)
        if event["id"] not in replaced:
            yield _single_key(calendar, event), event, master.bare
    yield from _placed(calendar, (row for row in exceptions if deleted or not row.cancelled), bounds)


def _singles_changed(calendar: Calendar, rows: list[Row]) -> list[Shown]:
    """A delta of instances: facts §1.4, one touched series is every instance to its end, a deleted one half a year."""
    exceptions = _by_master(calendar)
    found: list[Shown] = []
    touched = {row.event["id"] for row in rows if "recurrence" in row.event}
    now = calendar.world.clock()
    for row in rows:
        if row.event["id"] in touched:
            bounds = Bounds(now, now + _CANCELLED_AHEAD) if row.cancelled else Bounds()
            found += _instances(calendar, row, exceptions[row.event["id"]], bounds, deleted=True)
        elif row.event.get("recurringEventId") not in touched:
            found.append((_single_key(calendar, row.event), row.event, row.bare))
    return sorted(found, key=_key)


def instances(
    calendar: Calendar, name: str, query: Query, glasses: Glasses, limits: tuple[Rules, int | None]
) -> Resource:
    """Answer one page of events.instances."""
    row = calendar.row(name)
    deleted = query.show_deleted
    if "recurrence" in row.event:
        lower = query.bounds.lower - timedelta(microseconds=1) if query.bounds.lower else None
        bounds = Bounds(lower, query.bounds.upper)
        found = sorted(_instances(calendar, row, list(calendar.exceptions(name)), bounds, deleted=deleted), key=_key)
    else:
        # facts §1.7: on an occurrence, that occurrence alone; an empty list where it is cancelled.
        found = list(_placed(calendar, [row] if deleted or not row.cancelled else [], query.bounds))
    return _page_of(_of_start(calendar, query, found), query, glasses, calendar, limits)


def _of_start(calendar: Calendar, query: Query, found: list[Shown]) -> list[Shown]:
    wanted = query.request.one("originalStart")
    if wanted is None:
        return found
    try:
        start = datetime.fromisoformat(wanted)
    except ValueError as error:
        raise RefusedError(400, "badRequest", "Bad Request", location="originalStart") from error
    key = {"dateTime": start.isoformat()} if "T" in wanted else {"date": wanted}
    moment = starts_at({"start": key}, calendar.zone)
    occurrences = (shown for shown in found if "originalStartTime" in shown[1])
    return [shown for shown in occurrences if starts_at(shown[1], calendar.zone, "originalStartTime") == moment]


def _page_of(
    found: list[Shown], query: Query, glasses: Glasses, calendar: Calendar, limits: tuple[Rules, int | None]
) -> Resource:
    """Cut the page that the page token asks for out of all instances."""
    token = query.request.one("pageToken")
    after = Walk.read(token, "pageToken").after if token else []
    rules, size = limits
    limit = min(query.size, LARGEST_PAGE, rules.page_size or LARGEST_PAGE) if size is None else size
    rest = [shown for shown in found if shown[0] > after]
    page = rest[:limit]
    body: Resource = {"items": [glasses.show(event, bare=bare, calendar_zone=calendar.zone) for _, event, bare in page]}
    if len(rest) > len(page):
        last = page[-1][0] if page else after
        body["nextPageToken"] = Walk("pageToken", calendar.id, 0, query.whole, -1, 0, 0.0, (None, None), last).text()
    return body
