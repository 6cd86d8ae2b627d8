"""Lists of the stand-in Graph: calendarView/delta with its links, calendarView, instances and events, page by page.

A delta token is a place in a mailbox's log together with the window that it was begun with, which never changes; a skip
token is a walk that began at such a place, and a key within it. A series is never split over pages (facts §1.3).
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from urllib.parse import quote, urlencode

import orjson

from reconciler.simulator.graph_mailboxes import Mailbox, Row
from reconciler.simulator.graph_refusals import RefusedError, moved
from reconciler.simulator.graph_resources import property_id
from reconciler.simulator.graph_series import Resource, Span
from reconciler.simulator.graph_views import DEFAULT_PAGE, LARGEST_PAGE, Prefer, Selection, preferences, stored_name
from reconciler.simulator.loopback import Fault, Harm, Request

_LONGEST: Final = timedelta(days=1825)  # facts §1.1
# facts §1.3: what change tracking does not know.
_NOT_WITH_DELTA: Final = ("$select", "$expand", "$filter", "$orderby", "$search", "$top")
# facts §1.3: these can't be selected of a calendarView; without $select they are there.
_UNSELECTABLE: Final = ("createdDateTime", "lastModifiedDateTime")
_BY_PROPERTY: Final = re.compile(
    r"singleValueExtendedProperties/Any\(\s*(\w+)\s*:\s*"
    r"\1/id eq '((?:[^']|'')*)' and \1/value eq '((?:[^']|'')*)'\s*\)",
    re.IGNORECASE,
)
_BY_UID: Final = re.compile(r"iCalUId eq '((?:[^']|'')*)'")

# facts §1.4: a first round, too, can have tombstones.
_WITH_TOMBSTONES: Final = -2

Key = list[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """How lists behave where the facts leave it open: see `GraphSimulator`.

    `uid_by_day`: each occurrence has an iCalUId of its own, as the documentation says; else that of its series.
    `originals`: /instances tell the original start (facts §1.5: sometimes they don't).
    """

    uid_by_day: bool = True
    originals: bool = True
    token_lifetime: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Twist:
    """What a fault makes of a page, and how the page's links begin."""

    link: str
    rules: Rules
    fault: Fault | None = None

    def size(self, wanted: int) -> int:
        """Return the page size, 0 for an empty page in the middle of a walk."""
        match self.fault.what if self.fault else Harm.NONE:
            case Harm.EMPTY_PAGE:
                return 0
            case Harm.SMALL_PAGES:
                return min(wanted, self.fault.size if self.fault else wanted)
        return wanted

    def suffers(self, harm: Harm) -> bool:
        return self.fault is not None and self.fault.what is harm


@dataclass(frozen=True, slots=True)
class Walk:
    """What a token says: whose, over which window, from where in the log to where, and after which key."""

    what: str
    calendar: str
    generation: int
    window: tuple[str, str]
    since: int
    until: int
    issued: float
    after: Key = field(default_factory=list)
    nonce: int = 0

    def text(self) -> str:
        """Spell the token; it means nothing to anybody else."""
        return base64.urlsafe_b64encode(orjson.dumps([getattr(self, name) for name in self.__slots__])).decode()

    @classmethod
    def read(cls, mailbox: Mailbox, text: str, what: str, rules: Rules) -> Self:
        """Read a token of this mailbox; facts §1.7: what is too old, or of another time, has no state here any more."""
        try:
            walk = cls(*orjson.loads(base64.urlsafe_b64decode(text)))
        except (binascii.Error, ValueError, TypeError) as error:
            raise RefusedError(400, "SyncStateInvalid") from error
        if walk.what != what or walk.calendar != mailbox.calendar_id:
            raise RefusedError(400, "SyncStateInvalid")
        age = mailbox.world.clock().timestamp() - walk.issued
        old = rules.token_lifetime is not None and age > rules.token_lifetime.total_seconds()
        if old or walk.generation != mailbox.generation:
            code = mailbox.killed_for if walk.generation != mailbox.generation else "SyncStateNotFound"
            raise RefusedError(400 if code == "resyncRequired" else 410, code, headers=moved(code))
        return walk

    @property
    def span(self) -> Span:
        start, end = map(datetime.fromisoformat, self.window)
        return start, end


def window_of(request: Request) -> Span:
    """Read startDateTime and endDateTime; without an offset they are UTC (facts §1.2)."""
    try:
        start, end = (datetime.fromisoformat(request.one(name) or "") for name in ("startDateTime", "endDateTime"))
    except ValueError as error:
        message = (
            "This request requires a time window specified by the query string parameters StartDateTime and "
            "EndDateTime."
        )
        raise RefusedError(400, "ErrorInvalidParameter", message) from error
    start, end = (moment if moment.tzinfo else moment.replace(tzinfo=UTC) for moment in (start, end))
    if end <= start:
        raise RefusedError(400, "ErrorInvalidParameter", "The end of the window is not after its start.")
    if end - start > _LONGEST:
        message = f"The requested time window is too large. Maximum number of days: {_LONGEST.days}"
        raise RefusedError(400, "ErrorInvalidRequest", message)
    return start.astimezone(UTC), end.astimezone(UTC)


def within(row: Row, window: Span) -> bool:
    """Say whether an event meets the window; what has no readable time meets any."""
    if row.span is None:
        return True
    return row.span[0] < window[1] and (row.span[1] > window[0] or row.span[0] == row.span[1] == window[0])


# calendarView/delta.


def delta(mailbox: Mailbox, request: Request, twist: Twist) -> Resource:
    """Answer one page of calendarView/delta."""
    prefer = preferences(request)
    walk = _walk(mailbox, request, twist)
    size, after, more = twist.size(prefer.page or DEFAULT_PAGE), walk.after, False
    items: list[Resource] = []
    for key, rows in _units(mailbox, walk):
        if len(items) >= size:
            more = True
            break
        items += [_told(prefer, row, twist.rules) for row in rows]
        after = key
    if twist.suffers(Harm.DUPLICATES) and twist.fault:
        items += [_earlier(mailbox, prefer, item) for item in items[: twist.fault.size]]
    body: Resource = {"@odata.context": f"{twist.link.split('/users/')[0]}/$metadata#Collection(event)", "value": items}
    nonce = mailbox.world.tick()
    if twist.suffers(Harm.ENDLESS):
        return body | _link("next", twist, replace(walk, nonce=nonce))
    if more or size == 0:
        return body | _link("next", twist, replace(walk, after=after, nonce=nonce))
    return body | _link("delta", twist, replace(walk, what="delta", since=walk.until, after=[], nonce=nonce))


def _walk(mailbox: Mailbox, request: Request, twist: Twist) -> Walk:
    """Begin a walk, or go on with the one that the link stands for; a window beside a token is ignored (facts §1.2)."""
    skip, token = request.one("$skiptoken"), request.one("$deltatoken")
    now, until = mailbox.world.clock().timestamp(), len(mailbox.log)
    if skip:
        return Walk.read(mailbox, skip, "skip", twist.rules)
    if token:
        walk = Walk.read(mailbox, token, "delta", twist.rules)
        since = walk.since
        if twist.suffers(Harm.REPLAY) and twist.fault:
            since = max(since - twist.fault.size, 0)
        if twist.suffers(Harm.STALE):
            until = since
        return replace(walk, what="skip", since=since, until=until, issued=now)
    refuse_options(request, _NOT_WITH_DELTA)
    start, end = window_of(request)
    window = (start.isoformat(), end.isoformat())
    since = _WITH_TOMBSTONES if twist.suffers(Harm.REPLAY) else -1
    return Walk("skip", mailbox.calendar_id, mailbox.generation, window, since, until, now)


def refuse_options(request: Request, names: Iterable[str]) -> None:
    if found := [name for name in names if name in request.query]:
        message = (
            "The following parameters are not supported with change tracking over the 'CalendarView' resource: "
            f"'{', '.join(found)}'."
        )
        raise RefusedError(400, "ErrorInvalidUrlQuery", message)


def _link(what: str, twist: Twist, walk: Walk) -> Resource:
    """Write the link to the next page, or to the next delta."""
    name = "$skiptoken" if what == "next" else "$deltatoken"
    # facts §1.2: a link may have another path than what was asked.
    base = twist.link if what == "next" else re.sub(r"/calendarView/delta$", "/calendar/calendarView/delta", twist.link)
    if "/calendars/" in base or "/calendar/calendar/" in base:
        base = twist.link
    return {f"@odata.{what}Link": f"{_strayed(base, twist)}?{name}={quote(walk.text(), safe='')}"}


def _units(mailbox: Mailbox, walk: Walk) -> Iterator[tuple[Key, list[Row]]]:
    """Yield what a page can't split: a single event, or a series with everything of it. The order means nothing."""
    rows = _begun(mailbox, gone=walk.since == _WITH_TOMBSTONES) if walk.since < 0 else _changed(mailbox, walk)
    for row in sorted(rows, key=lambda row: (row.order, row.id)):
        key = [row.order, row.id]
        if key <= walk.after:
            continue
        first = walk.since < 0 and not row.gone
        found = _whole(mailbox, row, walk) if first else _what_changed(mailbox, row, walk)
        if found:
            yield key, found


def _begun(mailbox: Mailbox, *, gone: bool = False) -> list[Row]:
    return [row for row in mailbox.rows.values() if (gone or not row.gone) and row.original is None]


def _changed(mailbox: Mailbox, walk: Walk) -> list[Row]:
    """Return the rows of which any change lies in this part of the log: single events, and masters of what changed.

    What changed again since comes as it is now, and with the next round once more: rather twice than not at all.
    """
    rows = (mailbox.rows.get(name) for name in dict.fromkeys(mailbox.log[walk.since : walk.until]))
    return [row for row in rows if row is not None and row.original is None]


def _whole(mailbox: Mailbox, row: Row, walk: Walk) -> list[Row]:
    """Return a row as a first round has it: a series with its master and what of it is in the window."""
    if row.kind != "seriesMaster" or row.span is None:
        return [row] if within(row, walk.span) else []
    found = occurrences(mailbox, row, walk.span)
    return [row, *found] if found else []


def _what_changed(mailbox: Mailbox, row: Row, walk: Walk) -> list[Row]:
    """Return a row as a later round has it; facts §1.4: what is outside the window looks like what was deleted."""
    if row.gone or row.back:
        return [_tombstone(row)]
    found = _whole(mailbox, row, walk)
    if row.kind != "seriesMaster" or not found or row.content > walk.since:
        return found or [_tombstone(row)]
    # facts §1.5: an occurrence that did not change is not sent again; one that was taken out leaves only the series.
    changed = [exception for exception in row.exceptions.values() if exception.stamp > walk.since]
    return [row, *(one if within(one, walk.span) else _tombstone(one) for one in changed)]


def _tombstone(row: Row) -> Row:
    return Row(row.id, {"type": "removed"}, gone=True)


def occurrences(mailbox: Mailbox, master: Row, window: Span) -> list[Row]:
    """Expand a series: exceptions stand in for what they replace, wherever they were moved to."""
    if master.span is None:
        return []
    series = mailbox.series(master)
    found = [
        mailbox.occurrence(master, series, original)
        for original in series.originals(*window)
        if original not in master.exceptions and original not in master.deleted
    ]
    return found + [row for row in master.exceptions.values() if within(row, window)]


def _told(prefer: Prefer, row: Row, rules: Rules) -> Resource:
    """Write one row of a delta."""
    if row.gone:
        return prefer.removed(row.id)
    if row.kind == "occurrence":
        return prefer.stub(row)
    return {"@odata.type": "#microsoft.graph.event"} | _uid(prefer.show(row), row, rules)


def _uid(event: Resource, row: Row, rules: Rules) -> Resource:
    if rules.uid_by_day or row.original is None or event["iCalUId"] is None:
        return event
    return event | {"iCalUId": _series_uid(event["iCalUId"])}


def _series_uid(uid: str) -> str:
    return f"{uid[:32]}{0:08X}{uid[40:]}" if uid.startswith("040000008200E000") else uid


def _earlier(mailbox: Mailbox, prefer: Prefer, item: Resource) -> Resource:
    """Return an item as it was before its last change, where it was anything."""
    row = mailbox.rows.get(stored_name(item["id"]))
    if row is None or row.before is None or "@removed" in item or item["type"] == "occurrence":
        return item
    return {"@odata.type": "#microsoft.graph.event"} | prefer.show(Row(row.id, row.before))


# calendarView, instances, events.


def view(mailbox: Mailbox, request: Request, twist: Twist) -> Resource:
    """Answer one page of calendarView: single events, occurrences and exceptions in full, never masters."""
    window = window_of(request)
    found: list[Row] = []
    for row in _begun(mailbox):
        if row.kind == "seriesMaster":
            found += occurrences(mailbox, row, window)
        elif within(row, window):
            found.append(row)
    return _paged(found, request, twist, Selection.of(request, without=_UNSELECTABLE))


def instances(mailbox: Mailbox, master: Row, request: Request, twist: Twist) -> Resource:
    """Answer one page of a series' instances."""
    if master.kind != "seriesMaster":
        raise RefusedError(400, "ErrorInvalidRequest", "ExpandSeries can only be performed against a series.")
    found = occurrences(mailbox, master, window_of(request))
    body = _paged(found, request, twist, Selection.of(request))
    if not twist.rules.originals:
        body["value"] = [{name: item[name] for name in item if name != "originalStart"} for item in body["value"]]
    return body


def events(mailbox: Mailbox, request: Request, twist: Twist) -> Resource:
    """Answer one page of events: single events and masters, never occurrences or exceptions (facts §7)."""
    wanted = request.one("$filter")
    found = [row for row in _begun(mailbox) if wanted is None or _passes(row, wanted)]
    return _paged(found, request, twist, Selection.of(request))


def _passes(row: Row, wanted: str) -> bool:
    """Apply $filter; facts §3: names of properties are case-sensitive, values are not."""
    if found := _BY_PROPERTY.fullmatch(wanted.strip()):
        name, value = (text.replace("''", "'") for text in found.groups()[1:])
        kept = row.properties.get(property_id(name))
        return kept is not None and kept.casefold() == value.casefold()
    if found := _BY_UID.fullmatch(wanted.strip()):
        return bool(row.event["iCalUId"] == found[1].replace("''", "'"))
    raise RefusedError(400, "ErrorInvalidUrlQueryFilter", "The query filter contains one or more invalid nodes.")


def _paged(found: list[Row], request: Request, twist: Twist, selection: Selection) -> Resource:
    """Cut a page out of a list by $top and $skip, with a link that says everything again."""
    prefer = preferences(request)
    wanted = min(_number(request, "$top", prefer.page or DEFAULT_PAGE), LARGEST_PAGE)
    size, skip = twist.size(wanted), _number(request, "$skip", 0)
    found.sort(key=lambda row: (row.event["start"]["dateTime"], row.id))
    page = found[skip : skip + size]
    items = [selection.of_event(_uid(prefer.show(row), row, twist.rules), row.properties) for row in page]
    body: Resource = {"value": items}
    if skip + len(page) < len(found) or size == 0 or twist.suffers(Harm.ENDLESS):
        again = {name: values[-1] for name, values in request.query.items() if name != "nonce"}
        again["$skip"] = str(skip if twist.suffers(Harm.ENDLESS) else skip + len(page))
        body["@odata.nextLink"] = f"{_strayed(twist.link, twist)}?{urlencode(again, safe='$')}"
    return body


def _strayed(link: str, twist: Twist) -> str:
    """Let a link lead astray if a fault says so."""
    if twist.suffers(Harm.STRAY_LINK) and twist.fault:
        return twist.fault.location.rstrip("/") + "/v1.0/" + link.partition("/v1.0/")[2]
    return re.sub(r"/users/[^/]*/", "/users//", link) if twist.suffers(Harm.NAMELESS_LINK) else link


def _number(request: Request, name: str, default: int) -> int:
    text = request.one(name)
    if text is None:
        return default
    if not text.isascii() or not text.isdigit():
        raise RefusedError(400, "BadRequest", f"Invalid value '{text[:20]}' for {name}.")
    return int(text)
