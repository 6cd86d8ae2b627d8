"""All that one job keeps about a person: found by address in every table, by name where that is given.

What is about an appointment of theirs is theirs too, whether or not it names them: its record, its event, what was
agreed on, what was written and what was found.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import select

from reconciler.forgotten import spelled
from reconciler.store import codec
from reconciler.store.schema import (
    approvals,
    calendars,
    deliveries,
    findings,
    holds,
    journal,
    links,
    mirror,
    plans,
    records,
    runs,
    slots,
)

if TYPE_CHECKING:
    from sqlalchemy import Column, Connection, RowMapping, Table

    from reconciler.store.state import State

GONE: Final = "(forgotten)"
"""What stands in a sentence where a person was named."""

_HELD: Final = 1000
"""Rows that are looked through at once."""


class Person:
    """A person as texts name them: by addresses, whatever their case, composition and script, and by names."""

    def __init__(self, addresses: Iterable[str], names: Iterable[str] = ()) -> None:
        forms = {form for address in addresses for form in _forms(address)}
        self.addresses = frozenset(map(spelled, forms))
        self.names = tuple(dict.fromkeys(_composed(name).strip() for name in names if name.strip()))
        words = [rf"(?<![\w.+-]){re.escape(address)}(?![\w-]|\.\w)" for address in sorted(self.addresses | forms)]
        words += [rf"(?<!\w){_spaced(name)}(?!\w)" for name in self.names]
        self._pattern = re.compile("|".join(words), re.IGNORECASE)
        self._hints = (*self.addresses, *(name.split()[0].casefold() for name in self.names))

    def is_in(self, text: str | None) -> bool:
        """Tell whether a text names them. A text that does not have their letters at all is told at once."""
        if not text:
            return False
        composed = _composed(text)
        folded = composed.casefold()
        return any(hint in folded for hint in self._hints) and self._pattern.search(composed) is not None

    def out_of(self, text: str) -> str:
        """Return a text that does not name them any more."""
        return self._pattern.sub(GONE, _composed(text)) if self.is_in(text) else text

    def out_of_all(self, value: Any) -> Any:  # noqa: ANN401  # JSON is anything
        """Return what JSON holds without them: in sentences something stands for them, in lists they are left out."""
        match value:
            case str():
                return self.out_of(value)
            case list():
                return [self.out_of_all(each) for each in value if not self._is(each)]
            case dict():
                return {self.out_of(name): self.out_of_all(each) for name, each in value.items()}
            case _:
                return value

    def _is(self, value: object) -> bool:
        return isinstance(value, str) and spelled(value) in self.addresses


def _forms(address: str) -> Iterator[str]:
    """Yield an address as it may stand somewhere: its domain in its own script, or as ASCII has it."""
    composed = _composed(address.strip())
    yield composed
    local, _, domain = composed.rpartition("@")
    with suppress(UnicodeError):  # what no name server would know has one form
        if domain.isascii():
            yield f"{local}@{domain.lower().encode().decode('idna')}"
        else:
            yield f"{local}@{domain.encode('idna').decode()}"


def _composed(text: str) -> str:
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def _spaced(name: str) -> str:
    return r"\s+".join(re.escape(word) for word in name.split())


# ---- where people are kept ------------------------------------------------------------------------------------------


class Mention(NamedTuple):
    """A row that names a person and is about no appointment of theirs: which one, in which columns, and its instant."""

    table: Table
    row: RowMapping
    columns: tuple[str, ...]
    at: int | None


@dataclass(slots=True)
class Traces:
    """What was found. Events go by calendar and id, records and links by the record's id."""

    calendars: dict[int, RowMapping] = field(default_factory=dict)  # their own, where they are an agent
    events: dict[tuple[int, str], RowMapping] = field(default_factory=dict)
    records: dict[str, RowMapping] = field(default_factory=dict)
    links: dict[str, RowMapping] = field(default_factory=dict)
    journal: dict[int, RowMapping] = field(default_factory=dict)
    findings: dict[str, RowMapping] = field(default_factory=dict)
    holds: dict[str, RowMapping] = field(default_factory=dict)
    mentions: list[Mention] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Return how many rows these are."""
        return len(self.mentions) + sum(map(len, self._tables()))

    def add(self, other: Traces) -> None:
        """Take in what else was found."""
        for mine, theirs in zip(self._tables(), other._tables(), strict=True):
            mine.update(theirs)
        self.mentions.extend(other.mentions)

    def _tables(self) -> tuple[dict[Any, RowMapping], ...]:
        both = (self.events, self.records, self.links)
        return (self.calendars, *both, self.journal, self.findings, self.holds)


_MENTIONS: Final[dict[Table, tuple[tuple[Column[Any], ...], Column[Any]]]] = {
    calendars: ((calendars.c.why, calendars.c.quarantined), calendars.c.tried_at),
    runs: ((runs.c.why, runs.c.result), runs.c.started_at),
    plans: ((plans.c.identities, plans.c.violations), plans.c.made_at),
    approvals: ((approvals.c.by, approvals.c.why, approvals.c.origin), approvals.c.at),
    findings: ((findings.c.accepted_by, findings.c.accepted_why), findings.c.accepted_at),
    deliveries: ((deliveries.c.name, deliveries.c.why), deliveries.c.claimed_at),
    slots: ((slots.c.command,), slots.c.slot),
}
"""Tables that hold sentences and names of people, and no appointment."""

JSON: Final = frozenset({"quarantined", "result", "identities", "violations"})
"""Columns of these that hold JSON."""


def traces(connection: Connection, state: State, person: Person) -> Traces:
    """Return all that is kept about a person."""
    found = Traces()
    for row in _rows(connection, calendars, state):
        if spelled(row["agent"]) in person.addresses:
            found.calendars[row["id"]] = row
    _sides(connection, state, person, found)
    keys = _keys(found)
    _writes(connection, state, person, found, keys)
    _found(connection, state, person, found)
    for row in _rows(connection, holds, state):
        if row["key"] in keys:
            found.holds[row["key"]] = row
    found.mentions = [*_mentions(connection, state, person)]
    return found


def _rows(connection: Connection, table: Table, state: State, *columns: Column[Any]) -> Iterator[RowMapping]:
    query = select(*(columns or (table,))).where(table.c.job == state.job)
    with connection.execute(query, execution_options={"stream_results": True, "yield_per": _HELD}) as rows:
        yield from rows.mappings()


# ---- appointments ---------------------------------------------------------------------------------------------------


def _sides(connection: Connection, state: State, person: Person, found: Traces) -> None:
    """Find their events and records, each with what it is linked to."""
    events = {
        (row["calendar"], row["event"])
        for row in _rows(connection, mirror, state)
        if row["calendar"] in found.calendars or person.is_in(row["payload"]) or person.is_in(row["meeting"])
    }
    ids = {
        row["crm_id"]
        for row in _rows(connection, records, state)
        if person.is_in(row["payload"]) or person.is_in(row["agent"])
    }
    for row in _rows(connection, links, state):
        place = (row["calendar"], row["event"])
        if place in events or row["crm_id"] in ids or person.is_in(row["base"]) or person.is_in(row["meeting"]):
            found.links[row["crm_id"]] = row
    events |= {(row["calendar"], row["event"]) for row in found.links.values()}
    ids |= found.links.keys()
    found.events = {
        place: row for row in _rows(connection, mirror, state) if (place := (row["calendar"], row["event"])) in events
    }
    found.records = {row["crm_id"]: row for row in _rows(connection, records, state) if row["crm_id"] in ids}


def _keys(found: Traces) -> set[str]:
    """Return by which names their appointments go in what was written and held."""
    keys = {f"crm:{crm_id}" for crm_id in (*found.records, *found.links)}
    for row in found.events.values():
        keys |= set(codec.load(row["payload"]).get("keys", ()))
    for row in found.records.values():
        keys |= {codec.load(row["payload"]).get("key") or ""}
    return keys - {""}


def _writes(connection: Connection, state: State, person: Person, found: Traces, keys: set[str]) -> None:
    """Find what was written of them, and then all that was written to the same appointments."""
    named: dict[int, RowMapping] = {}
    ids = {*found.records, *found.links}
    for row in _rows(connection, journal, state):
        if names_them(row, person):
            named[row["id"]] = row
            keys.add(row["key"])
            ids |= {row["crm_id"]} if row["crm_id"] else set()
    for row in _rows(connection, journal, state):
        if row["id"] in named or row["key"] in keys or row["crm_id"] in ids:
            found.journal[row["id"]] = row


def names_them(row: RowMapping, person: Person) -> bool:
    """Tell whether what is known of a write names a person."""
    return any(person.is_in(row[name]) for name in ("before", "after", "why", "agent", "key"))


def _found(connection: Connection, state: State, person: Person, found: Traces) -> None:
    ids = {*found.records, *found.links, *(row["crm_id"] for row in found.journal.values())} - {None}
    events = {event for _, event in found.events}
    for row in _rows(connection, findings, state):
        theirs = row["crm_id"] in ids or row["event"] in events
        if theirs or person.is_in(row["payload"]) or person.is_in(row["agent"]):
            found.findings[row["key"]] = row


# ---- what names them besides ----------------------------------------------------------------------------------------


def _mentions(connection: Connection, state: State, person: Person) -> Iterator[Mention]:
    for table in _MENTIONS:
        for row in _rows(connection, table, state):
            yield from mention(table, row, person)


def mention(table: Table, row: RowMapping, person: Person) -> Iterator[Mention]:
    """Yield what of a row names a person, if something does."""
    columns, stamp = _MENTIONS[table]
    names = tuple(column.name for column in columns if person.is_in(row[column.name]))
    if names:
        yield Mention(table, row, names, row[stamp.name])
