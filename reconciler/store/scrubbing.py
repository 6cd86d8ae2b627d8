"""What becomes of each row that is about a person who is forgotten: other values, or nothing of it is left.

Worked out from the rows alone, before anything is written. Of an appointment its time stays, and how both sides stood
to each other; of everything else what does not name them. Rows that are so already yield nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from sqlalchemy import select

from reconciler.forgotten import KEPT, WITHHELD, Forgotten, reduced, withheld
from reconciler.normalise import digest, key_digest
from reconciler.sides import sides
from reconciler.store import codec, suppressed
from reconciler.store.schema import calendars, cursors, findings, holds, journal, links, mirror, records, series, slots
from reconciler.store.subject import GONE, JSON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import Connection, RowMapping, Table

    from reconciler.model import Fields, Record, Seen
    from reconciler.store.state import State
    from reconciler.store.subject import Person, Traces

Row: TypeAlias = "tuple[str, *tuple[Any, ...]]"
"""What tells a row from any other: its table, and its primary key."""

_SHORT: Final = 4
"""Characters of a title that may as well be any word: shorter ones are looked for in no sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What forgetting goes by: which fields are compared, and who is one of us and stays known as an organizer."""

    compare: tuple[str, ...]
    is_ours: Callable[[str], bool]
    now: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Leave:
    """What has to be known of all of a person's rows to let go of any: their titles, and the calendars that go."""

    state: State
    person: Person
    terms: Terms
    who: Forgotten
    titles: tuple[str, ...]
    gone: frozenset[int]


@dataclass(frozen=True, slots=True)
class Change:
    """What becomes of the row of this primary key: other values, or nothing of it is left."""

    table: Table
    key: Mapping[str, Any]
    values: Mapping[str, Any] | None = None

    @property
    def row(self) -> Row:
        """Return what tells the row from any other."""
        return (self.table.name, *self.key.values())


def leave_of(state: State, person: Person, terms: Terms, found: Traces) -> Leave:
    """Return what is known of all that was found of a person."""
    who = Forgotten(frozenset(suppressed.marks_of(state, person.addresses)), state.salt)
    both: list[Seen | Record] = [_seen_of(row) for row in found.events.values()]
    both += [_record_of(row) for row in found.records.values()]
    gone = frozenset(found.calendars)
    return Leave(state=state, person=person, terms=terms, who=who, titles=_titles(both), gone=gone)


def changes(connection: Connection, part: Traces, leave: Leave) -> Iterator[Change]:
    """Yield what becomes of every row of `part`, in which appointments are whole."""
    kept = _Kept(part, leave)
    yield from kept.events()
    yield from kept.records()
    yield from kept.links()
    yield from kept.holds()
    yield from kept.findings()
    yield from kept.journal()
    yield from _named(part, leave)
    for number in part.calendars:
        yield from _of_calendar(connection, number)


def _of_calendar(connection: Connection, number: int) -> Iterator[Change]:
    """Yield what is kept of the reads of a calendar of theirs, and itself: by it the rest is found."""
    for name in connection.execute(select(series.c.id).where(series.c.calendar == number)).scalars().all():
        yield Change(series, {"calendar": number, "id": name})
    if connection.execute(select(cursors.c.calendar).where(cursors.c.calendar == number)).first():
        yield Change(cursors, {"calendar": number})
    yield Change(calendars, {"id": number})


def _named(part: Traces, leave: Leave) -> Iterator[Change]:
    """Yield rows that are about none of their appointments, without them."""
    for mention in part.mentions:
        table, row = mention.table, mention.row
        if table is calendars and row["id"] in leave.gone:
            continue
        key = {column.name: row[column.name] for column in table.primary_key}
        values = {name: _out_of(leave.person, name, row[name]) for name in mention.columns}
        yield Change(table, key, None if table is slots else values)


def _out_of(person: Person, name: str, text: str) -> str:
    return codec.dump(person.out_of_all(codec.load(text))) if name in JSON else person.out_of(text)


def _changed(table: Table, key: Mapping[str, Any], row: RowMapping, values: Mapping[str, Any]) -> Iterator[Change]:
    if any(row[name] != value for name, value in values.items()):
        yield Change(table, key, values)


class _Kept:
    """What is kept of a person's appointments."""

    def __init__(self, part: Traces, leave: Leave) -> None:
        self._part, self._leave, self._person, self._who = part, leave, leave.person, leave.who
        self._state, self._terms = leave.state, leave.terms
        self._seen = {place: _seen_of(row) for place, row in part.events.items()}
        self._record = {crm_id: _record_of(row) for crm_id, row in part.records.items()}
        self._link = {row["event"]: row for row in reversed(part.links.values())}  # of several the first, as below
        self._named = {event: seen for (_, event), seen in reversed(self._seen.items())}

    # ---- both sides, and what they agreed on

    def events(self) -> Iterator[Change]:
        for (calendar, event), row in self._part.events.items():
            key = {"calendar": calendar, "event": event}
            if calendar in self._leave.gone:
                yield Change(mirror, key)
                continue
            seen = self._reduced(self._seen[calendar, event])
            meeting = self._meeting(row["meeting"])
            values = {"payload": codec.seen_payload(seen), "digest": seen.digest, "meeting": meeting}
            yield from _changed(mirror, key, row, values)

    def records(self) -> Iterator[Change]:
        for crm_id, row in self._part.records.items():
            record = withheld(self._record[crm_id], self._who)
            agent = record.fields.get("agent")
            mark = b"" if record.problem else digest(record.fields, self._terms.compare)
            values = {"payload": codec.record_payload(record), "digest": mark, "agent": agent}
            values |= {"linked": False} if self._loses_link(crm_id) else {}
            yield from _changed(records, {"crm_id": crm_id, "job": self._state.job}, row, values)

    def _loses_link(self, crm_id: str) -> bool:
        link = self._part.links.get(crm_id)
        return link is not None and link["calendar"] in self._leave.gone

    def links(self) -> Iterator[Change]:
        for row in self._part.links.values():
            key = {"calendar": row["calendar"], "event": row["event"]}
            if row["calendar"] in self._leave.gone:
                yield Change(links, key)
                continue
            yield from _changed(links, key, row, {"meeting": self._meeting(row["meeting"]), **self._base(row)})

    def _base(self, row: RowMapping) -> dict[str, Any]:
        """Return what both sides agreed on, as far as it is kept, with digests made anew: equal sides stay equal."""
        both = codec.load(row["base"])
        if both is None:
            return {}
        base, compare = {side: reduced(fields or {}) for side, fields in both.items()}, self._terms.compare
        base["crm"] = self._who.without_agent(base.get("crm") or {})
        digests = {"base_digest": "calendar", "crm_digest": "crm"}
        marks = {name: digest(base[side], compare) for name, side in digests.items() if row[name] is not None}
        return {"base": codec.dump(base), **marks}

    def _meeting(self, name: str) -> str:
        """Return a meeting's name without its organizer's address: named by a digest, as those outside always are."""
        if not self._person.is_in(name):
            return name
        uid, mark, rest = name.partition("|")
        parts = (key_digest(part, self._state.salt).hex() if self._who.has(part) else part for part in rest.split("|"))
        return mark.join((uid, *parts))

    def _reduced(self, seen: Seen) -> Seen:
        """Return an event as a read brings it from now on."""
        organizer = seen.organizer if seen.organizer and self._may_be_named(seen.organizer) else None
        return suppressed.event_as_kept(seen, self._terms.compare, organizer)

    def _may_be_named(self, organizer: str) -> bool:
        return self._terms.is_ours(organizer) and not self._who.has(organizer)

    # ---- what people decided, and what was found

    def holds(self) -> Iterator[Change]:
        """Yield holds that go on: as both sides stand, so they stand after it."""
        for key, row in self._part.holds.items():
            pair = self._pair_of_key(key)
            if pair is not None and bytes(row["sides"]) == self._sides(*pair):
                values = {"sides": self._sides_after(*pair)}
                yield from _changed(holds, {"key": key, "job": self._state.job}, row, values)

    def findings(self) -> Iterator[Change]:
        for key, row in self._part.findings.items():
            values: dict[str, Any] = {"payload": self._payload(row["payload"]), "agent": self._agent(row["agent"])}
            pair = self._pair(row["crm_id"], row["event"])
            if pair is not None and row["sides"] is not None and bytes(row["sides"]) == self._sides(*pair):
                after = self._sides_after(*pair)
                accepted = row["accepted_sides"] is not None and bytes(row["accepted_sides"]) == bytes(row["sides"])
                values |= {"sides": after, **({"accepted_sides": after} if accepted else {})}
            yield from _changed(findings, {"key": key, "job": self._state.job}, row, values)

    def _payload(self, text: str) -> str:
        payload = codec.load(text)
        payload["fields"] = reduced(payload.get("fields") or {})
        payload["has"] = {side: reduced(fields) for side, fields in (payload.get("has") or {}).items()}
        for taken in payload.get("taken") or ():
            taken["fields"] = reduced(taken.get("fields") or {})
            taken["why"] = self._sentence(taken.get("why"))
        said = self._sentence(payload["why"])
        payload["why"] = said if WITHHELD in said else f"{said} ({WITHHELD})"
        return codec.dump(self._person.out_of_all(payload))

    def _sentence(self, text: str | None) -> str:
        """Return a sentence that names neither them nor a title of theirs."""
        said = self._person.out_of(text or "")
        for title in self._leave.titles:
            said = said.replace(title, GONE)
        return said

    def _agent(self, agent: str | None) -> str | None:
        return None if self._who.has(agent) else agent

    def journal(self) -> Iterator[Change]:
        """Yield writes of which it stays known that they were done, when, and to which record; not what they said."""
        for number, row in self._part.journal.items():
            why = self._sentence(row["why"]) or None
            values = {"before": None, "after": None, "content": b"", "why": why, "agent": self._agent(row["agent"])}
            yield from _changed(journal, {"id": number}, row, values)

    # ---- pairs

    def _pair_of_key(self, key: str) -> tuple[Seen | None, Record | None] | None:
        ids = (crm_id for crm_id, record in self._record.items() if key in {record.key, f"crm:{crm_id}"})
        events = (event for (_, event), seen in self._seen.items() if key in seen.keys)
        return self._pair(next(ids, None), next(events, None))

    def _pair(self, crm_id: str | None, event: str | None) -> tuple[Seen | None, Record | None] | None:
        """Return both sides of an appointment by its link, else what there is of it."""
        link = self._part.links.get(crm_id) if crm_id else self._link.get(event)
        if link is not None:
            return self._seen.get((link["calendar"], link["event"])), self._record.get(link["crm_id"])
        seen, record = self._named.get(event or ""), self._record.get(crm_id or "")
        return None if seen is None and record is None else (seen, record)

    def _sides(self, seen: Seen | None, record: Record | None) -> bytes:
        return sides(seen, record, self._terms.compare)

    def _sides_after(self, seen: Seen | None, record: Record | None) -> bytes:
        return self._sides(seen and self._reduced(seen), record and withheld(record, self._who))


def _seen_of(row: RowMapping) -> Seen:
    return codec.seen_from(row["event"], row["digest"], row["meeting"], row["absence"], row["payload"])


def _record_of(row: RowMapping) -> Record:
    return codec.record_from(row["crm_id"], row["presence"], row["payload"])


def _titles(found: list[Seen | Record]) -> tuple[str, ...]:
    """Return what their appointments are called and where they are, the longest first: one may be part of another."""
    said = {value for one in found for value in _words(one.fields) if len(value) >= _SHORT}
    return tuple(sorted(said, key=len, reverse=True))


def _words(fields: Fields) -> Iterator[str]:
    for name, value in fields.items():
        if name not in KEPT and isinstance(value, str):
            yield value
