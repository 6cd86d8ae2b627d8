"""Forgetting a person: of their appointments only the time is kept, of everything else what does not name them.

What the next run needs to plan nothing stays: which event belongs to which record, how both stand in time, and digests
made anew from that. It is one transaction: all of it is done, or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, delete, select, update

from reconciler.errors import StateError
from reconciler.forgotten import KEPT, WITHHELD, Forgotten, reduced, withheld
from reconciler.model import Outcome
from reconciler.normalise import digest, key_digest
from reconciler.sides import sides
from reconciler.store import codec, suppressed
from reconciler.store.journal import SENT
from reconciler.store.schema import (
    calendars,
    cursors,
    findings,
    holds,
    jobs,
    journal,
    links,
    mirror,
    records,
    series,
    slots,
)
from reconciler.store.subject import GONE, JSON, traces

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, RowMapping, Table

    from reconciler.model import Fields, Record, Seen
    from reconciler.store.state import State
    from reconciler.store.subject import Person, Traces

_OPEN: Final = (SENT, Outcome.UNKNOWN.value)
_SHORT: Final = 4
"""Characters of a title that may as well be any word: shorter ones are looked for in no sentence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What forgetting goes by: which fields are compared, and who is one of us and stays known as an organizer."""

    compare: tuple[str, ...]
    is_ours: Callable[[str], bool]
    now: datetime


@dataclass(frozen=True, slots=True)
class _Change:
    """What becomes of a row: other values, or nothing of it is left."""

    table: Table
    which: ColumnElement[bool]
    values: Mapping[str, Any] | None = None


def crm_of(state: State) -> str | None:
    """Return the CRM that the state was built against, whose runs have to wait meanwhile; None before the first."""
    with state.engine.connect() as connection:
        crm: str | None = connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar()
    return crm


def count(state: State, person: Person, terms: Terms) -> dict[str, int]:
    """Return how many rows of each table would be changed or dropped; nothing is written."""
    with state.reading() as connection:
        found = traces(connection, state, person)
        _refuse_open(found)
        return _counted(_changes(found, person, state, terms))


def forget(state: State, person: Person, terms: Terms) -> dict[str, int]:
    """Forget a person, and remember that; return how many rows of each table were changed or dropped.

    For whoever holds the run's lock. Raises StateError, with nothing done, while it is not known what became of a write
    to an appointment of theirs.
    """
    with state.begin() as connection:
        connection.execute(select(jobs.c.id).where(jobs.c.id == state.job).with_for_update())
        found = traces(connection, state, person)
        _refuse_open(found)
        suppressed.suppress(connection, state, person.addresses, terms.now)
        changes = [*_changes(found, person, state, terms)]
        for change in changes:
            _carry_out(connection, change)
        _void_reads(connection, state)
    return _counted(iter(changes))


def _refuse_open(found: Traces) -> None:
    many = sum(row["status"] in _OPEN for row in found.journal.values())
    if many:
        raise StateError(
            f"It is not known yet what became of {many} of our writes to their appointments, and only what was written "
            "can tell. Nothing was forgotten: let a run look them up first (`reconcile run`), then forget them."
        )


def _counted(changes: Iterator[_Change]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for change in changes:
        counts[change.table.name] = counts.get(change.table.name, 0) + 1
    return dict(sorted(counts.items()))


def _carry_out(connection: Connection, change: _Change) -> None:
    if change.values is None:
        connection.execute(delete(change.table).where(change.which))
    else:
        connection.execute(update(change.table).where(change.which).values(dict(change.values)))


def _void_reads(connection: Connection, state: State) -> None:
    """Let no read that began before bring back what it saw: it loses the race for its cursor, which stays good."""
    mine = select(calendars.c.id).where(calendars.c.job == state.job)
    bump = update(cursors).where(cursors.c.calendar.in_(mine)).values(version=cursors.c.version + 1)
    connection.execute(bump)


# ---- what changes ---------------------------------------------------------------------------------------------------


def _changes(found: Traces, person: Person, state: State, terms: Terms) -> Iterator[_Change]:
    """Yield what becomes of every row that was found."""
    who = Forgotten(frozenset(suppressed.marks_of(state, person.addresses)), state.salt)
    kept = _Kept(found, person, who, state, terms)
    yield from kept.events()
    yield from kept.records()
    yield from kept.links()
    yield from kept.holds()
    yield from kept.findings()
    yield from kept.journal()
    yield from _named(found, person)
    for number in found.calendars:
        yield _Change(series, series.c.calendar == number)
        yield _Change(cursors, cursors.c.calendar == number)
        yield _Change(calendars, calendars.c.id == number)


def _named(found: Traces, person: Person) -> Iterator[_Change]:
    """Yield rows that are about none of their appointments, without them."""
    gone = found.calendars.keys()
    for mention in found.mentions:
        table, row = mention.table, mention.row
        if table is calendars and row["id"] in gone:
            continue
        which = and_(*(column == row[column.name] for column in table.primary_key))
        values = {name: _out_of(person, name, row[name]) for name in mention.columns}
        yield _Change(table, which, None if table is slots else values)


def _out_of(person: Person, name: str, text: str) -> str:
    return codec.dump(person.out_of_all(codec.load(text))) if name in JSON else person.out_of(text)


class _Kept:
    """What is kept of a person's appointments, worked out before anything is written."""

    def __init__(self, found: Traces, person: Person, who: Forgotten, state: State, terms: Terms) -> None:
        self._found, self._person, self._who = found, person, who
        self._state, self._terms = state, terms
        self._seen = {place: _seen_of(row) for place, row in found.events.items()}
        self._record = {crm_id: _record_of(row) for crm_id, row in found.records.items()}
        self._titles = _titles([*self._seen.values(), *self._record.values()])

    # ---- both sides, and what they agreed on

    def events(self) -> Iterator[_Change]:
        for (calendar, event), row in self._found.events.items():
            which = and_(mirror.c.calendar == calendar, mirror.c.event == event)
            if calendar in self._found.calendars:
                yield _Change(mirror, which)
                continue
            seen = self._reduced(self._seen[calendar, event])
            meeting = self._meeting(row["meeting"])
            values = {"payload": codec.seen_payload(seen), "digest": seen.digest, "meeting": meeting}
            if any(row[name] != value for name, value in values.items()):
                yield _Change(mirror, which, values)

    def records(self) -> Iterator[_Change]:
        for crm_id, row in self._found.records.items():
            record = withheld(self._record[crm_id], self._who)
            agent = record.fields.get("agent")
            mark = b"" if record.problem else digest(record.fields, self._terms.compare)
            values = {"payload": codec.record_payload(record), "digest": mark, "agent": agent}
            values |= {"linked": False} if self._loses_link(crm_id) else {}
            if any(row[name] != value for name, value in values.items()):
                yield _Change(records, and_(records.c.crm_id == crm_id, records.c.job == self._state.job), values)

    def _loses_link(self, crm_id: str) -> bool:
        link = self._found.links.get(crm_id)
        return link is not None and link["calendar"] in self._found.calendars

    def links(self) -> Iterator[_Change]:
        for crm_id, row in self._found.links.items():
            which = and_(links.c.crm_id == crm_id, links.c.job == self._state.job)
            if row["calendar"] in self._found.calendars:
                yield _Change(links, which)
                continue
            values = {"meeting": self._meeting(row["meeting"]), **self._base(row)}
            if any(row[name] != value for name, value in values.items()):
                yield _Change(links, which, values)

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

    def holds(self) -> Iterator[_Change]:
        """Yield holds that go on: as both sides stand, so they stand after it."""
        for key, row in self._found.holds.items():
            pair = self._pair_of_key(key)
            if pair is not None and bytes(row["sides"]) == self._sides(*pair):
                yield _Change(
                    holds,
                    and_(holds.c.key == key, holds.c.job == self._state.job),
                    {"sides": self._sides_after(*pair)},
                )

    def findings(self) -> Iterator[_Change]:
        for key, row in self._found.findings.items():
            values: dict[str, Any] = {"payload": self._payload(row["payload"]), "agent": self._agent(row["agent"])}
            pair = self._pair(row["crm_id"], row["event"])
            if pair is not None and row["sides"] is not None and bytes(row["sides"]) == self._sides(*pair):
                after = self._sides_after(*pair)
                accepted = row["accepted_sides"] is not None and bytes(row["accepted_sides"]) == bytes(row["sides"])
                values |= {"sides": after, **({"accepted_sides": after} if accepted else {})}
            if any(row[name] != value for name, value in values.items()):
                yield _Change(findings, and_(findings.c.key == key, findings.c.job == self._state.job), values)

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
        for title in self._titles:
            said = said.replace(title, GONE)
        return said

    def _agent(self, agent: str | None) -> str | None:
        return None if self._who.has(agent) else agent

    def journal(self) -> Iterator[_Change]:
        """Yield writes of which it stays known that they were done, when, and to which record; not what they said."""
        for number, row in self._found.journal.items():
            why = self._sentence(row["why"]) or None
            values = {"before": None, "after": None, "content": b"", "why": why, "agent": self._agent(row["agent"])}
            if any(row[name] != value for name, value in values.items()):
                yield _Change(journal, journal.c.id == number, values)

    # ---- pairs

    def _pair_of_key(self, key: str) -> tuple[Seen | None, Record | None] | None:
        ids = (crm_id for crm_id, record in self._record.items() if key in {record.key, f"crm:{crm_id}"})
        events = (event for (_, event), seen in self._seen.items() if key in seen.keys)
        return self._pair(next(ids, None), next(events, None))

    def _pair(self, crm_id: str | None, event: str | None) -> tuple[Seen | None, Record | None] | None:
        """Return both sides of an appointment by its link, else what there is of it."""
        for link in self._found.links.values():
            if crm_id == link["crm_id"] or (crm_id is None and event == link["event"]):
                return self._seen.get((link["calendar"], link["event"])), self._record.get(link["crm_id"])
        seen = next((one for (_, name), one in self._seen.items() if name == event), None)
        record = self._record.get(crm_id or "")
        return None if seen is None and record is None else (seen, record)

    def _sides(self, seen: Seen | None, record: Record | None) -> bytes:
        return sides(seen, record, self._terms.compare)

    def _sides_after(self, seen: Seen | None, record: Record | None) -> bytes:
        return self._sides(seen and self._reduced(seen), record and withheld(record, self._who))


def _seen_of(row: RowMapping) -> Seen:
    return codec.seen_from(row["event"], row["digest"], row["meeting"], row["absence"], row["payload"])


def _record_of(row: RowMapping) -> Record:
    return codec.record_from(row["crm_id"], row["presence"], row["payload"])


def _titles(found: list[Seen | Record]) -> list[str]:
    """Return what their appointments are called and where they are, the longest first: one may be part of another."""
    said = {value for one in found for value in _words(one.fields) if len(value) >= _SHORT}
    return sorted(said, key=len, reverse=True)


def _words(fields: Fields) -> Iterator[str]:
    for name, value in fields.items():
        if name not in KEPT and isinstance(value, str):
            yield value
