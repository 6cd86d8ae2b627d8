"""The calendars of the stand-in Google: events, exceptions, copies for guests, and the log of what changed.

A calendar holds rows of Google's own JSON: single events, masters, and exceptions (moved or cancelled instances). Each
change moves its row to the end of the log, which is all that sync tokens stand for. Edits are safe from any thread.
"""

from __future__ import annotations

import hashlib
import itertools
import re
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from http import HTTPStatus
from typing import Final

from reconciler.simulator.google_refusals import RefusedError
from reconciler.simulator.google_resources import (
    SHARED,
    TIMES,
    check_times,
    copied,
    counted_on,
    cut_before,
    mark_self,
    merged,
    own_answer,
    with_shared_properties,
    without_defaults,
    writable,
)
from reconciler.simulator.google_series import Resource, Series, instance_id, instant, moment, rendered, split_instance

Clock = Callable[[], datetime]

CLIENT_ID: Final = re.compile(r"[a-v0-9]{5,1024}")  # facts §2: base32hex, and nothing else

# facts §1.8: answers are not passed on where there are more guests.
MOST_ANSWERING: Final = 200
_BARE: Final = ("kind", "etag", "id", "status", "recurringEventId", "originalStartTime")


@dataclass(slots=True)
class Row:
    """One event as stored. `stamp` is its last place in the log; a `bare` tombstone shows no details any more.

    A `forgotten` one is in no list: all that is left of it is that its id is taken.
    """

    event: Resource
    ordinal: int
    stamp: int = 0
    bare: bool = False
    forgotten: bool = False
    span: tuple[datetime, datetime] | None = None  # when it begins and ends, kept because lists ask for it

    @property
    def cancelled(self) -> bool:
        return bool(self.event["status"] == "cancelled")


class World:
    """All calendars, the clock they live by, and the counter behind ids and etags."""

    def __init__(self, seed: int, clock: Clock) -> None:
        self.seed = seed
        self.clock = clock
        self.lock = threading.RLock()
        self.calendars: dict[str, Calendar] = {}
        self.mails: list[tuple[str, str]] = []  # to whom, about which event
        self._counter = itertools.count(1)

    def calendar(self, address: str, zone: str = "UTC") -> Calendar:
        """Return the calendar of that address, made now if there is none."""
        with self.lock:
            known = self.calendars.get(address.lower())
            return known or self.calendars.setdefault(address.lower(), Calendar(self, address.lower(), zone))

    def tick(self) -> int:
        """Return a number that never comes again."""
        return next(self._counter)

    def stamp(self) -> str:
        """Write the time as Google does, in UTC and milliseconds."""
        return self.clock().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

    def name(self, what: str) -> str:
        """Make an id from the seed and the counter."""
        digest = hashlib.sha256(f"{self.seed}/{what}/{self.tick()}".encode()).hexdigest()
        return digest[:26]


@dataclass(slots=True, eq=False)
class Calendar:
    """One calendar. Its methods are what people do to it; events are plain dicts in Google's JSON.

    An occurrence is named by its series and its original start, or by its instance id wherever an id is asked for.
    """

    world: World
    id: str
    zone: str
    rows: dict[str, Row] = field(default_factory=dict)
    log: list[str] = field(default_factory=list)
    generation: int = 0
    killed_for: str = "fullSyncRequired"
    role: str | None = None
    shares: dict[str, str] = field(default_factory=dict)
    refused: RefusedError | None = None
    _losing: int = 0

    # What people do.

    def insert(self, event: Resource) -> Resource:
        """Add an event: guests with a calendar here get a copy of their own, with the same id and iCalUID."""
        with self.world.lock:
            row = self.keep(self.completed(event, own_id=True))
            self.spread(row)
            return copied(row.event)

    def events(self) -> list[Resource]:
        """Return everything on the calendar that is not cancelled: single events, masters and exceptions."""
        with self.world.lock:
            return [copied(row.event) for row in self.rows.values() if not row.cancelled]

    def get(self, name: str) -> Resource:
        """Return an event or an instance as it is stored."""
        with self.world.lock:
            return copied(self.row(name).event)

    def patch(self, name: str, changes: Resource) -> Resource:
        """Change the named fields; None removes one. An instance becomes an exception."""
        with self.world.lock:
            return copied(self.change(name, merged(self.row(name).event, changes)).event)

    def delete(self, name: str) -> None:
        """Delete an event, a whole series, or one instance."""
        with self.world.lock:
            self.remove(name)

    def cancel_occurrence(self, master: str, original: date | datetime) -> None:
        self.delete(instance_id(master, original))

    def move_occurrence(
        self, master: str, original: date | datetime, start: date | datetime, end: date | datetime | None = None
    ) -> Resource:
        """Move one occurrence; without `end` it lasts as long as the others."""
        with self.world.lock:
            zone, series = self.rows[master].event["start"].get("timeZone"), self.series(master)
            until = end if end is not None else start + (series.end_of(original) - original)
            times = {"start": rendered(start, zone, self.zone), "end": rendered(until, zone, self.zone)}
            return self.patch(instance_id(master, original), times)

    def this_and_following(self, master: str, original: date | datetime, changes: Resource) -> Resource:
        """Change a series from one occurrence on: the old one ends before it, a new one begins, exceptions are reset.

        facts §1.7: two writes; the new series has an id and an iCalUID of its own.
        """
        with self.world.lock:
            event, series = self.rows[master].event, self.series(master)
            times = {
                "start": rendered(original, event["start"].get("timeZone"), self.zone),
                "end": rendered(series.end_of(original), event["end"].get("timeZone"), self.zone),
            }
            kept = sum(1 for _ in series.originals(None, instant(original, series.zone)))
            fresh = writable(event) | times | {"recurrence": counted_on(event["recurrence"], kept)}
            fresh["id"] = instance_id(master, original).removesuffix("Z").replace(f"{master}_", f"{master}_R")
            self.change(master, event | {"recurrence": cut_before(event["recurrence"], original)})
            row = self.keep(self.completed(merged(fresh, changes), own_id=True))
            self.spread(row)
            return copied(row.event)

    def move_to(self, other: Calendar, name: str) -> Resource:
        """Hand an event to another calendar, which becomes its organizer."""
        with self.world.lock:
            return copied(self.hand_over(other, name).event)

    def invite(self, name: str, *addresses: str) -> Resource:
        """Add guests; those with a calendar here get their copy."""
        with self.world.lock:
            event = self.row(name).event
            there = event.get("attendees") or [{"email": self.id, "responseStatus": "accepted"}]
            new = [{"email": address, "responseStatus": "needsAction"} for address in addresses]
            return self.patch(name, {"attendees": [*there, *new]})

    def respond(self, name: str, answer: str) -> Resource:
        """Answer an invitation on the guest's copy; all other copies learn of it."""
        with self.world.lock:
            guests = copied(self.row(name).event.get("attendees", []))
            for guest in guests:
                if guest["email"] == self.id:
                    guest["responseStatus"] = answer
            return self.patch(name, {"attendees": guests})

    # What administrators, and time, do.

    def share(self, address: str, role: str) -> None:
        """Let another account in."""
        self.shares[address.lower()] = role

    def set_role(self, role: str, *, keep_tokens: bool = False) -> None:
        """Let everybody in with that role from now on. facts §1.6: a change of ACLs kills sync tokens."""
        self.role = role
        if not keep_tokens:
            self.kill_tokens()

    def revoke(self, status: int = 404) -> None:
        """Take the calendar out of reach: facts §6.10, 404 notFound or 403 forbidden."""
        self.refuse(status, "notFound" if status == HTTPStatus.NOT_FOUND else "forbidden")

    def refuse(self, status: int, reason: str) -> None:
        """Answer everything about this calendar with an error."""
        self.refused = RefusedError(status, reason)

    def restore(self) -> None:
        """Undo `revoke`, `refuse` and `set_role`."""
        self.refused = self.role = None

    def kill_tokens(self, reason: str = "fullSyncRequired") -> None:
        """Make every sync token that was given out invalid."""
        with self.world.lock:
            self.generation += 1
            self.killed_for = reason

    def forget_deleted(self) -> None:
        """Let tombstones disappear, as in time they do (facts §1.5); cancelled instances last as long as a series."""
        with self.world.lock:
            for row in self.rows.values():
                master = self.rows.get(row.event.get("recurringEventId", ""))
                row.forgotten = row.cancelled and (master is None or master.cancelled)

    def hide_change(self) -> None:
        """Lose the next change: it is made, and no delta will ever show it."""
        self._losing += 1

    # What both people and requests come down to. The world's lock is held.

    def row(self, name: str) -> Row:
        """Find a row, or make up the one of an instance that is as its series has it."""
        row = self.rows.get(name)
        if row is not None and not row.forgotten:
            return row
        instance = self.instance(name)
        if instance is None:
            raise RefusedError(404, "notFound")
        return Row(instance, ordinal=-1)

    def instance(self, name: str) -> Resource | None:
        """Return an instance by its id, None when its series makes no such instance."""
        split = split_instance(name)
        if split is None or not (master := self.rows.get(split[0])) or "recurrence" not in master.event:
            return None
        series = self.series(split[0])
        return self.instance_at(master, series, split[1]) if series.makes(split[1]) else None

    def instance_at(self, master: Row, series: Series, original: date | datetime) -> Resource:
        """Make the JSON of an instance that nobody touched."""
        event, zone = master.event, master.event["start"].get("timeZone")
        start = rendered(original, zone, self.zone)
        made = {name: value for name, value in event.items() if name != "recurrence"} | {
            "id": instance_id(event["id"], original),
            "recurringEventId": event["id"],
            "originalStartTime": start,
            "start": start,
            "end": rendered(series.end_of(original), zone, self.zone),
        }
        return made if not master.bare else {name: made[name] for name in _BARE}

    def series(self, master: str) -> Series:
        return Series.of(self.rows[master].event, self.zone)

    def exceptions(self, master: str) -> Iterator[Row]:
        return (row for row in self.rows.values() if row.event.get("recurringEventId") == master)

    def completed(self, event: Resource, *, own_id: bool = False) -> Resource:
        """Fill in what Google does for a new event, or refuse it."""
        name = event.get("id") or self.world.name("event")
        if not own_id and not CLIENT_ID.fullmatch(name):
            raise RefusedError(400, "invalid", "Invalid resource id value.")
        if name in self.rows:
            # facts §2: the id of a deleted event stays taken.
            raise RefusedError(409, "duplicate")
        now, own = self.world.stamp(), {"email": self.id}
        start = {
            "kind": "calendar#event",
            "id": name,
            "status": "confirmed",
            "htmlLink": f"https://www.google.com/calendar/event?eid={name}",
            "created": now,
            "updated": now,
            "creator": own,
            "organizer": own,
            "iCalUID": f"{name}@google.com",
            "sequence": 0,
            "reminders": {"useDefault": True},
            "eventType": "default",
        }
        return self.settled(start | {name: value for name, value in event.items() if value is not None})

    def settled(self, event: Resource) -> Resource:
        """Put times, defaults and `self` as Google shows them on this calendar."""
        event = without_defaults(copied(event))
        check_times(event, self.zone)
        for name in ("start", "end", "originalStartTime"):
            if name in event:
                event[name] = rendered(moment(event[name], self.zone), event[name].get("timeZone"), self.zone)
        for person in (event["creator"], event["organizer"]):
            mark_self(person, self.id)
        for guest in event.get("attendees", ()):
            mark_self(guest, self.id)
            guest.setdefault("responseStatus", "needsAction")
            if guest["email"] == event["organizer"]["email"]:
                guest["organizer"] = True
        return event

    def keep(self, event: Resource, *, bare: bool = False) -> Row:
        """Store a version of an event, and note the change."""
        event["etag"] = f'"{3_500_000_000_000_000 + self.world.tick() * 2000}"'
        row = self.rows.get(event["id"])
        if row is None:
            row = self.rows[event["id"]] = Row(event, ordinal=len(self.rows))
        row.event, row.bare, row.forgotten, row.span = event, bare, False, None
        if self._losing:
            self._losing -= 1
        else:
            self.log.append(event["id"])
            row.stamp = len(self.log)
        return row

    def change(self, name: str, wanted: Resource) -> Row:
        """Store a changed event, with what a change entails for its exceptions and copies."""
        before = self.row(name).event
        event = self.settled(wanted)
        changed = {key for key in event.keys() | before.keys() if event.get(key) != before.get(key)}
        # facts §1.8: `updated` is not moved by reminders, `sequence` not by every edit.
        if changed - {"reminders", "etag", "updated"}:
            event["updated"] = self.world.stamp()
        if changed & set(TIMES):
            event["sequence"] = before.get("sequence", 0) + 1
        row = self.keep(event)
        if "recurrence" in event and changed & set(TIMES):
            self._reset_exceptions(name)
        self.spread(row)
        if "attendees" in changed:
            self._tell_of_guests(before, event)
        return row

    def _tell_of_guests(self, before: Resource, event: Resource) -> None:
        """Take the copies of guests who are no longer invited; pass a guest's own answer on."""
        if not event["organizer"].get("self"):
            self._tell_organizer(event, own_answer(event))
            return
        still = {guest["email"] for guest in event.get("attendees", ())}
        for other in self._guests(before):
            theirs = other.rows.get(event["id"])
            if other.id not in still and theirs is not None and not theirs.cancelled:
                other.cancel(theirs, bare=True)

    def _reset_exceptions(self, master: str) -> None:
        """Cancel the exceptions whose occurrence the rule no longer makes."""
        series = self.series(master)
        for row in list(self.exceptions(master)):
            original = moment(row.event["originalStartTime"], self.zone)
            if not row.cancelled and not series.makes(original):
                self.cancel(row, bare=True)

    def remove(self, name: str, *, for_all: bool = True) -> None:
        """Delete an event as this calendar's owner does: the organizer for everybody, a guest for himself."""
        row = self.row(name)
        if row.cancelled:
            raise RefusedError(410, "deleted")
        if row.ordinal < 0:
            row = Row(self.settled(row.event), ordinal=-1)
        # facts §1.5: details stay on the organizer's calendar, and with a guest who removed his copy. Not of instances.
        self.cancel(row, bare="recurringEventId" in row.event)
        if not row.event["organizer"].get("self"):
            self._tell_organizer(row.event, "declined")
        elif for_all:
            self._cancel_copies(row)

    def cancel(self, row: Row, *, bare: bool) -> None:
        event = row.event | {"status": "cancelled", "updated": self.world.stamp()}
        self.keep(event, bare=bare)
        if "recurrence" in event:
            for exception in list(self.exceptions(event["id"])):
                if not exception.cancelled:
                    self.cancel(exception, bare=True)

    def _cancel_copies(self, row: Row) -> None:
        for other in self._guests(row.event):
            theirs = other.rows.get(row.event["id"])
            if theirs is None and row.event.get("recurringEventId") in other.rows:
                theirs = Row(other.settled(row.event), ordinal=-1)
            if theirs is not None and (theirs.ordinal < 0 or not theirs.cancelled):
                other.cancel(theirs, bare=True)

    def _tell_organizer(self, event: Resource, answer: str | None) -> None:
        """Let the organizer's copy, and by it all others, know what this guest answered."""
        organizer = self.world.calendars.get(event["organizer"].get("email", ""))
        if organizer is None or answer is None or len(event.get("attendees", ())) > MOST_ANSWERING:
            return
        theirs = organizer.rows.get(event["id"]) or (organizer.instance(event["id"]) and organizer.row(event["id"]))
        guests = copied(theirs.event.get("attendees", [])) if theirs and not theirs.cancelled else []
        mine = [guest for guest in guests if guest["email"] == self.id and guest["responseStatus"] != answer]
        for guest in mine:
            guest["responseStatus"] = answer
        if theirs and mine:
            organizer.change(event["id"], theirs.event | {"attendees": guests})

    def spread(self, row: Row) -> None:
        """Bring the guests' copies up to the organizer's."""
        event = row.event
        if not event["organizer"].get("self") or event.get("privateCopy"):
            return
        shared = {name: event[name] for name in ("kind", "id", "created", "htmlLink", *SHARED) if name in event}
        for other in self._guests(event):
            theirs = other.rows.get(event["id"])
            if theirs is not None and theirs.cancelled and not theirs.bare:
                continue  # the guest threw it away
            own = {name: value for name, value in theirs.event.items() if name not in SHARED} if theirs else {}
            fresh = {"reminders": {"useDefault": True}} | own | shared | {"updated": self.world.stamp()}
            other.keep(other.settled(with_shared_properties(fresh, event)))

    def _guests(self, event: Resource) -> Iterable[Calendar]:
        addresses = (guest["email"].lower() for guest in event.get("attendees", ()))
        found = (self.world.calendars.get(address) for address in addresses if address != self.id)
        return [calendar for calendar in found if calendar is not None]

    def hand_over(self, other: Calendar, name: str) -> Row:
        """Make `other` the organizer; a bare cancelled row stays here unless this calendar is a guest too."""
        event = self.row(name).event
        if event["eventType"] != "default" or "recurringEventId" in event:
            raise RefusedError(400, "cannotMoveEvent", "This event cannot be moved.")
        if not event["organizer"].get("self"):
            raise RefusedError(403, "forbiddenForNonOrganizer")
        handed = {key: value for key, value in event.items() if key != "etag"}
        handed |= {"organizer": {"email": other.id}, "updated": self.world.stamp()}
        moved = other.keep(other.settled(handed))
        if all(guest["email"] != self.id for guest in event.get("attendees", ())):
            self.cancel(self.rows[name], bare=True)
        other.spread(moved)
        return moved
