"""The mailboxes of the stand-in Graph: events, exceptions, copies for attendees, and the log of what changed.

A mailbox holds rows of Graph's own JSON: single events, series masters and exceptions; occurrences that nobody touched
are made up when they are asked for. Each change moves its row to the end of the log, which is all that delta tokens
stand for. One occurrence that is deleted leaves nothing but a touched series. Edits are safe from any thread.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import threading
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Final

from reconciler.simulator.graph_refusals import RefusedError, about_mailbox
from reconciler.simulator.graph_resources import (
    SHARED,
    address_of,
    addresses,
    attendee,
    begun,
    copied,
    cut_before,
    properties,
    settled,
    span_of,
    uid_made,
    uid_on,
    writable,
)
from reconciler.simulator.graph_series import (
    Resource,
    Series,
    Span,
    instant,
    occurrence_id,
    rendered,
    split_occurrence,
    wall,
    zone_of,
)

Clock = Callable[[], datetime]

TENANT: Final = "0f5e2b6c-1d34-4c55-9a77-3f0c7d1f0a11"

# A change of these makes all occurrences of a series look different; of others, too, but not their place.
_PLACING: Final = ("start", "end", "recurrence")
_OCCURRENCES_OWN: Final = frozenset({"recurrence", "seriesMasterId", "type", "transactionId"})


@dataclass(slots=True, eq=False)
class Row:
    """One event as stored. `stamp` is its last place in the log, `content` the last one at which it itself changed."""

    id: str
    event: Resource
    order: int = 0
    stamp: int = 0
    content: int = 0
    gone: bool = False
    back: bool = False  # it was moved away and back again, of which a delta tells the first half alone
    span: Span | None = None
    before: Resource | None = None  # the version before this one, for those who get it late
    original: datetime | None = None  # of an occurrence
    exceptions: dict[datetime, Row] = field(default_factory=dict)  # of a series
    deleted: set[datetime] = field(default_factory=set)  # occurrences of a series that were taken out
    properties: dict[str, str] = field(default_factory=dict)
    sent: bytes = b""  # what the request that made it said, to recognise the same one again
    shown: dict[object, Resource] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        return str(self.event["type"])

    @property
    def etag(self) -> str:
        return f'W/"{self.event["changeKey"]}"'


class World:
    """All mailboxes, the clock they live by, and the counter behind ids and change keys."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self.seed = seed
        self.clock = clock
        self.lock = threading.RLock()
        self.mailboxes: dict[str, Mailbox] = {}  # by address and by object id
        self.mails: list[tuple[str, str]] = []  # to whom, about which event
        self._counter = itertools.count(1)

    def mailbox(self, address: str, zone: str = "UTC", tenant: str = TENANT) -> Mailbox:
        """Return the mailbox of that address, made now if there is none."""
        with self.lock:
            known = self.mailboxes.get(address.lower())
            if known is None:
                digest = self.digest(f"user/{address.lower()}")
                made = "-".join((digest[:8], digest[8:12], "4" + digest[13:16], "a" + digest[17:20], digest[20:32]))
                known = self.mailboxes[address.lower()] = self.mailboxes[made] = Mailbox(
                    self, made, address.lower(), zone, tenant
                )
            return known

    def tick(self) -> int:
        """Return a number that never comes again."""
        return next(self._counter)

    def stamp(self) -> str:
        """Write the time as Graph does, in UTC with seven digits."""
        return wall(self.clock().astimezone(UTC)) + "Z"

    def digest(self, what: str) -> str:
        return hashlib.sha256(f"{self.seed}/{what}".encode()).hexdigest()

    def name(self, what: str) -> str:
        """Make an id from the seed and the counter: of base64, so that case, `-` and `_` tell two apart."""
        digest = bytes.fromhex(self.digest(f"{what}/{self.tick()}"))
        return "AAkALgAA" + base64.urlsafe_b64encode(digest[:30]).decode()


@dataclass(slots=True, eq=False)
class Mailbox:
    """One mailbox and its calendar. Its methods are what people do to it; events are plain dicts in Graph's JSON.

    `id` is the object id. An occurrence is named by its series and its original start, or by its own id.
    """

    world: World
    id: str
    address: str
    zone: str
    tenant: str
    rows: dict[str, Row] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    transactions: dict[str, str] = field(default_factory=dict)
    generation: int = 0
    killed_for: str = "SyncStateNotFound"
    refused: RefusedError | None = None
    title: str = "Calendar"
    others: dict[str, Mailbox] = field(default_factory=dict)  # further calendars of the same user, by their ids
    _losing: int = 0

    @property
    def calendar_id(self) -> str:
        return "AAMkCal" + self.world.digest(f"calendar/{self.id}/{self.title}")[:24] + "="

    def calendar(self, title: str) -> Mailbox:
        """Return another calendar of the same user, made now if there is none; it has events and links of its own."""
        with self.world.lock:
            made = Mailbox(self.world, self.id, self.address, self.zone, self.tenant, title=title)
            return self.others.setdefault(made.calendar_id, made)

    # What people do.

    def insert(self, event: Resource) -> Resource:
        """Add an event: attendees with a mailbox here get a copy with an id of its own and the same iCalUId.

        With `isOrganizer` False and an `organizer` it is an invitation from outside.
        """
        with self.world.lock:
            row = self.add(event)
            self.spread(row)
            return self.told(row)

    def events(self) -> list[Resource]:
        """Return everything on the calendar: single events, masters and exceptions."""
        with self.world.lock:
            return [self.told(row) for row in self.rows.values() if not row.gone]

    def get(self, name: str) -> Resource:
        """Return an event or an occurrence as it is stored, in UTC."""
        with self.world.lock:
            return self.told(self.row(name))

    def patch(self, name: str, changes: Resource) -> Resource:
        """Change the named fields; None is Graph's null. An occurrence becomes an exception."""
        with self.world.lock:
            return self.told(self.change(self.row(name), copied(changes)))

    def delete(self, name: str) -> None:
        """Delete an event, a whole series or an occurrence; the organizer's attendees keep a cancelled copy."""
        with self.world.lock:
            self.remove(self.row(name))

    def cancel(self, name: str) -> None:
        """Cancel a meeting: as its organizer it goes and the copies are cancelled, as an attendee this copy is."""
        with self.world.lock:
            row = self.row(name)
            if row.event["isOrganizer"]:
                self.remove(row)
            else:
                self.call_off(row)

    def delete_occurrence(self, master: str, original: date | datetime) -> None:
        """Take one occurrence out: facts §1.5, no tombstone, only the series is touched."""
        self.delete(occurrence_id(master, instant(original)))

    def move_occurrence(
        self, master: str, original: date | datetime, start: date | datetime, end: date | datetime | None = None
    ) -> Resource:
        """Move one occurrence, which becomes an exception; without `end` it lasts as long as the others."""
        with self.world.lock:
            first, begins = instant(original), instant(start)
            row = self.rows[master]
            ends = instant(end) if end is not None else begins + (self.series(row).end_of(first) - first)
            own = row.event["originalStartTimeZone"]
            zone = "UTC" if row.event["isAllDay"] or zone_of(own) is None else own
            times = {"start": rendered(begins, zone), "end": rendered(ends, zone)}
            return self.patch(occurrence_id(master, first), times)

    def this_and_following(self, master: str, original: date | datetime, changes: Resource) -> Resource:
        """Change a series from one occurrence on: the old one ends before it, a new one with its own iCalUId begins."""
        with self.world.lock:
            row, first = self.rows[master], instant(original)
            series, zone = self.series(row), row.event["originalStartTimeZone"]
            times = {"start": rendered(first, zone), "end": rendered(series.end_of(first), zone)}
            kept = sum(1 for _ in series.originals(datetime.min.replace(year=1900, tzinfo=UTC), first))
            fresh = writable(copied(row.event)) | times
            fresh["recurrence"] = _counted_on(fresh["recurrence"], kept)
            day = datetime.combine(series.day_of(first), datetime.min.time(), UTC)
            self.change(row, {"recurrence": cut_before(row.event["recurrence"], day)})
            return self.insert({name: value for name, value in (fresh | changes).items() if name != "transactionId"})

    def move_to(self, other: Mailbox, name: str) -> Resource:
        """Move an event to another calendar of the same user, where its immutable id is the same.

        facts §3: of an event that is moved away and back between two rounds only the tombstone is told.
        """
        with self.world.lock:
            row = self.row(name)
            if other.id != self.id or row.original is not None:
                raise RefusedError(
                    400, "ErrorInvalidRequest", "Whole events move, and only between calendars of one user."
                )
            before = other.rows.get(name)
            for exception in row.exceptions.values():
                other.rows[exception.id] = self.rows.pop(exception.id)
            self.rows[name] = Row(name, row.event, row.order, gone=True)
            self._note(self.rows[name], content=True)
            other.rows[name], row.shown, row.back = row, {}, before is not None
            if before is None:
                other._note(row, content=True)
            else:
                row.stamp = row.content = before.stamp
            return other.told(row)

    def invite(self, name: str, *guests: str) -> Resource:
        """Add attendees; those with a mailbox here get their copy."""
        there = self.get(name)["attendees"]
        return self.patch(name, {"attendees": [*there, *map(attendee, guests)]})

    def respond(self, name: str, answer: str) -> Resource:
        """Answer an invitation (accepted, tentativelyAccepted, declined) on the copy; the organizer learns of it."""
        with self.world.lock:
            row, said = self.row(name), {"response": answer, "time": self.world.stamp()}
            shows = {"accepted": "busy", "tentativelyAccepted": "tentative", "declined": "free"}[answer]
            changed = {"responseStatus": said, "showAs": shows, "attendees": _answered(row.event, self.address, said)}
            answered = self.change(row, changed)
            organizer = self.world.mailboxes.get(address_of(row.event["organizer"]))
            theirs = organizer.twin(row) if organizer not in {None, self} else None
            if organizer is not None and theirs is not None:
                organizer.change(theirs, {"attendees": _answered(theirs.event, self.address, said)}, spreading=False)
            return self.told(answered)

    # What administrators, and time, do.

    def rename(self, address: str) -> None:
        """Give the mailbox another address: what names the old one is not found any more."""
        with self.world.lock:
            self.world.mailboxes.pop(self.address)
            self.address = address.lower()
            self.world.mailboxes[self.address] = self

    def revoke(self, code: str = "ErrorInvalidUser") -> None:
        """Put it out of reach: ErrorInvalidUser, MailboxNotEnabledForRESTAPI (both 404), ErrorAccessDenied (403)."""
        self.refused = about_mailbox(code)

    def restore(self) -> None:
        """Undo `revoke`."""
        self.refused = None

    def kill_tokens(self, code: str = "SyncStateNotFound") -> None:
        """Make every link that was given out invalid; facts §1.7: 410, but 400 for `resyncRequired`."""
        with self.world.lock:
            self.generation += 1
            self.killed_for = code

    def hide_change(self) -> None:
        """Lose the next change: it is made, and no delta will ever show it."""
        self._losing += 1

    # What both people and requests come down to. The world's lock is held.

    def row(self, name: str) -> Row:
        """Find a row, or make up the one of an occurrence that nobody touched."""
        row = self.rows.get(name)
        if row is not None and not row.gone:
            return row
        made = self._occurrence(name) if row is None else None
        if made is None:
            raise RefusedError(404, "ErrorItemNotFound")
        return made

    def _occurrence(self, name: str) -> Row | None:
        split = split_occurrence(name)
        master = self.rows.get(split[0]) if split else None
        if split is None or master is None or master.gone or master.kind != "seriesMaster":
            return None
        original = split[1]
        if original in master.deleted or not self.series(master).makes(original):
            return None
        return self.occurrence(master, self.series(master), original)

    def occurrence(self, master: Row, series: Series, original: datetime) -> Row:
        """Make the row of an occurrence that nobody touched."""
        end = series.end_of(original)
        event = {name: value for name, value in master.event.items() if name not in _OCCURRENCES_OWN} | {
            "type": "occurrence",
            "seriesMasterId": master.id,
            "transactionId": None,
            "recurrence": None,
            "iCalUId": uid_on(master.event["iCalUId"], original),
            "originalStart": original.isoformat().replace("+00:00", "Z"),
            "start": rendered(original, "UTC"),
            "end": rendered(end, "UTC"),
        }
        return Row(occurrence_id(master.id, original), event, span=(original, end), original=original)

    def series(self, master: Row) -> Series:
        if master.span is None:
            raise RefusedError(400, "ErrorInvalidArgument", "The series has no time.")
        return Series.of(master.event, master.span, self.zone)

    def told(self, row: Row) -> Resource:
        """Return an event as people see it here: a copy, with its id."""
        return copied({"id": row.id} | row.event)

    def add(self, event: Resource, sent: bytes = b"") -> Row:
        """Store a new event as this mailbox's own, or as the invitation that it says it is."""
        name = event.get("id") or self.world.name("event")
        if name in self.rows:
            raise RefusedError(409, "ErrorItemSave", "The id is taken.")
        now = self.world.stamp()
        uid = event.get("iCalUId") or uid_made(self.world.digest(f"uid/{self.world.tick()}"))
        invited = {} if event.get("isOrganizer", True) else {"responseStatus": _NOT_YET, "showAs": "tentative"}
        own = {name: value for name, value in event.items() if name not in {"id", "singleValueExtendedProperties"}}
        full = begun({"iCalUId": uid, "createdDateTime": now} | invited | own, self.address, self.zone)
        row = Row(name, full, order=zlib.crc32(f"{self.world.seed}/{name}".encode()), sent=sent)
        row.properties = properties(event.get("singleValueExtendedProperties"))
        self.keep(row, full | {"webLink": f"https://outlook.office365.com/owa/?itemid={name}"})
        if full.get("transactionId"):
            self.transactions[full["transactionId"]] = name
        return row

    def keep(self, row: Row, event: Resource) -> Row:
        """Store a version of an event, and note the change."""
        span = span_of(event)
        if event["type"] == "seriesMaster" and span is not None:
            Series.of(event, span, self.zone)  # refuses a pattern that makes no sense
        row.before = row.event if row.id in self.rows else None
        key = base64.urlsafe_b64encode(self.world.tick().to_bytes(12)).decode()
        row.event = event | {"changeKey": key, "lastModifiedDateTime": self.world.stamp()}
        row.span, row.gone = span, False
        row.shown = {}
        self.rows[row.id] = row
        self._note(row, content=True)
        return row

    def _note(self, row: Row, *, content: bool) -> None:
        """Move a row to the end of the log, unless this change is to be lost."""
        if self._losing:
            self._losing -= 1
            return
        self.log.append(row.id)
        row.stamp, row.back = len(self.log), False
        if content:
            row.content = row.stamp

    def touch(self, master: Row) -> None:
        """Note that something about a series changed, and nothing of its own (facts §1.5)."""
        key = base64.urlsafe_b64encode(self.world.tick().to_bytes(12)).decode()
        master.event = master.event | {"changeKey": key, "lastModifiedDateTime": self.world.stamp()}
        master.shown = {}
        self._note(master, content=False)

    def change(self, row: Row, changes: Resource, *, spreading: bool = True) -> Row:
        """Store a changed event, with what a change entails for its exceptions and copies."""
        before = row.event
        own = {name: value for name, value in changes.items() if name != "singleValueExtendedProperties"}
        event = settled(before, own, self.zone)
        row.properties |= properties(changes.get("singleValueExtendedProperties"))
        if row.original is not None:
            self._except(row, event)
        else:
            event["type"] = "seriesMaster" if event.get("recurrence") else "singleInstance"
        self.keep(row, event)
        if row.original is not None and row.stamp == len(self.log):
            self.touch(self.rows[event["seriesMasterId"]])
        if before["type"] == "seriesMaster" and any(event[name] != before[name] for name in _PLACING):
            self._reset_exceptions(row)
        if spreading and event["isOrganizer"]:
            self.spread(row)
            self._uninvite(row, set(addresses(before)) - set(addresses(event)))
        return row

    def _except(self, row: Row, event: Resource) -> None:
        """Make an exception of an occurrence, where its new time leaves it between its neighbours (facts §1.5)."""
        master, span = self.rows[event["seriesMasterId"]], span_of(event)
        if row.original is None or span is None:
            raise RefusedError(400, "ErrorPropertyValidationFailure")
        series = self.series(master)
        before, after = series.neighbours(row.original)
        day = series.day_of(span[0])
        if (before and day <= series.day_of(before)) or (after and day >= series.day_of(after)):
            same_day = series.day_of(row.original) == day
            if not same_day:
                raise RefusedError(400, "ErrorOccurrenceCrossingBoundary")
        event["type"] = "exception"
        master.exceptions[row.original] = row

    def _reset_exceptions(self, master: Row) -> None:
        """Let exceptions vanish whose occurrence the pattern no longer makes."""
        series = self.series(master) if master.kind == "seriesMaster" else None
        master.deleted = {original for original in master.deleted if series and series.makes(original)}
        for original in [original for original in master.exceptions if not (series and series.makes(original))]:
            self.rows.pop(master.exceptions.pop(original).id, None)

    def remove(self, row: Row) -> None:
        """Delete an event as this mailbox's owner does: the organizer for everybody, an attendee for himself."""
        if row.event["isOrganizer"]:
            for other in self._guests(row.event):
                theirs = other.twin(row)
                if theirs is not None:
                    other.call_off(theirs)
        if row.original is not None:
            master = self.rows[row.event["seriesMasterId"]]
            master.deleted.add(row.original)
            master.exceptions.pop(row.original, None)
            self.rows.pop(row.id, None)
            self.touch(master)
            return
        for exception in row.exceptions.values():
            self.rows.pop(exception.id, None)
        row.exceptions = {}
        row.gone = True
        self._note(row, content=True)

    def call_off(self, row: Row) -> None:
        """Cancel a copy: facts §7, it stays on the calendar until somebody takes it off."""
        subject = f"Canceled: {row.event['subject'] or ''}".strip()
        self.change(row, {"isCancelled": True, "subject": subject, "showAs": "free"}, spreading=False)
        for exception in list(row.exceptions.values()):
            self.call_off(exception)

    def twin(self, row: Row) -> Row | None:
        """Find this mailbox's copy of somebody else's event: the same iCalUId, and for an occurrence its start."""
        other = row.event
        if other["iCalUId"] is None:
            return None
        if row.original is None:
            return next((mine for mine in self._live() if mine.event["iCalUId"] == other["iCalUId"]), None)
        series = uid_on(other["iCalUId"], row.original)
        for mine in self._live():
            if mine.kind == "seriesMaster" and uid_on(mine.event["iCalUId"], row.original) == series:
                name = occurrence_id(mine.id, row.original)
                return self.rows.get(name) or self._occurrence(name)
        return None

    def _live(self) -> Iterable[Row]:
        return (row for row in self.rows.values() if not row.gone and row.original is None)

    def spread(self, row: Row) -> None:
        """Bring the attendees' copies up to the organizer's."""
        event = row.event
        if not event["isOrganizer"] or event["isDraft"]:
            return
        shared = {name: event[name] for name in SHARED if name in event}
        for other in self._guests(event):
            theirs = other.twin(row)
            if theirs is None and row.original is None and not other.threw_away(event["iCalUId"]):
                other.add(shared | {"isOrganizer": False})
            elif theirs is not None:
                kept: Resource = {name: shared[name] for name in shared if name not in {"type", "iCalUId"}}
                other.change(theirs, kept, spreading=False)

    def threw_away(self, uid: str | None) -> bool:
        """Say whether there was a copy of that event, which its owner deleted."""
        return uid is not None and any(row.gone and row.event["iCalUId"] == uid for row in self.rows.values())

    def _uninvite(self, row: Row, former: set[str]) -> None:
        for address in former:
            other = self.world.mailboxes.get(address)
            theirs = other.twin(row) if other not in {None, self} else None
            if other is not None and theirs is not None:
                other.call_off(theirs)

    def _guests(self, event: Resource) -> list[Mailbox]:
        found = (self.world.mailboxes.get(address) for address in addresses(event))
        return [mailbox for mailbox in found if mailbox is not None and mailbox is not self]


_NOT_YET: Final[dict[str, Any]] = {"response": "notResponded", "time": "0001-01-01T00:00:00Z"}


def _answered(event: Resource, address: str, said: Resource) -> list[Resource]:
    """Write an attendee's answer into the list of attendees."""
    return [one | {"status": said} if address_of(one) == address else one for one in event["attendees"]]


def _counted_on(recurrence: Resource, gone: int) -> Resource:
    """Take the occurrences that the old series keeps off the count of the new one."""
    bounds = dict(recurrence["range"])
    if bounds["type"] == "numbered":
        bounds["numberOfOccurrences"] -= gone
    return recurrence | {"range": bounds}
