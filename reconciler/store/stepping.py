"""What was found of a person, cut into steps that are each a short transaction.

Wherever the steps end, what is left is found again. So those rows come first by which no other is found, and what
tells titles and names comes last; and an appointment is in one step: both sides, what they agreed on and how they stood
when it was found or held, in all calendars that have it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import select

from reconciler.store import codec
from reconciler.store.database import batched
from reconciler.store.schema import findings, holds, journal, links, mirror, records
from reconciler.store.subject import Traces, mention, names_them

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator

    from sqlalchemy import Column, ColumnElement, Connection, RowMapping

    from reconciler.store.state import State
    from reconciler.store.subject import Person

STEP: Final = 500
"""Rows of one transaction, and what it takes to have an appointment whole: nobody who writes waits for long."""


def steps(found: Traces, person: Person, is_to_do: Callable[[Traces], bool]) -> Iterator[Traces]:
    """Cut what is to be done of what was found into steps, in the order in which they may be carried out."""
    step = Traces()
    for part in filter(is_to_do, _parts(found, person)):
        step.add(part)
        if step.size >= STEP:
            yield step
            step = Traces()
    if step.size:
        yield step


def _parts(found: Traces, person: Person) -> Iterator[Traces]:
    """Part what was found: sentences while titles are known, writes by which others are found after those."""
    yield from (Traces(findings={key: row}) for key, row in found.findings.items())
    for number, row in sorted(found.journal.items(), key=lambda each: names_them(each[1], person)):
        yield Traces(journal={number: row})
    yield from (Traces(mentions=[each]) for each in found.mentions)
    yield from appointments(found)
    yield from (Traces(calendars={number: row}) for number, row in found.calendars.items())


# ---- appointments ---------------------------------------------------------------------------------------------------


class _Groups:
    """Names of which it is learnt bit by bit that they are of one and the same."""

    def __init__(self) -> None:
        self._above: dict[Hashable, Hashable] = {}

    def of(self, name: Hashable) -> Hashable:
        """Return what stands for all names of the same group."""
        above = self._above.setdefault(name, name)
        while above != name:
            self._above[name] = self._above[above]
            name, above = above, self._above[above]
        return name

    def join(self, *names: Hashable) -> None:
        """Learn that these are of one group."""
        for name in names[1:]:
            self._above[self.of(name)] = self.of(names[0])


def appointments(found: Traces) -> Iterator[Traces]:
    """Yield each appointment whole: what hangs together by a link, a meeting, a finding or a hold."""
    groups = _joined(found)
    whole: dict[Hashable, Traces] = {}

    def of(*name: str) -> Traces:
        return whole.setdefault(groups.of(name), Traces())

    for place, row in found.events.items():
        of("event", place[1]).events[place] = row
    for crm_id, row in found.records.items():
        of("record", crm_id).records[crm_id] = row
    for crm_id, row in found.links.items():
        of("record", crm_id).links[crm_id] = row
    for key, row in found.findings.items():
        if row["crm_id"] or row["event"]:
            of(*_about(row)).findings[key] = row
    for key, row in found.holds.items():
        of("key", key).holds[key] = row
    yield from (each for each in whole.values() if each.events or each.records or each.links)


def _joined(found: Traces) -> _Groups:
    groups = _Groups()
    for (_, event), row in found.events.items():
        keys = (("key", key) for key in codec.load(row["payload"]).get("keys", ()) if key in found.holds)
        groups.join(("event", event), *_meeting(row), *keys)
    for crm_id, row in found.records.items():
        held = (key for key in (codec.load(row["payload"]).get("key"), f"crm:{crm_id}") if key in found.holds)
        groups.join(("record", crm_id), *(("key", key) for key in held))
    for crm_id, row in found.links.items():
        groups.join(("record", crm_id), ("event", row["event"]), *_meeting(row))
    for row in found.findings.values():
        if row["crm_id"] and row["event"]:
            groups.join(("record", row["crm_id"]), ("event", row["event"]))
    return groups


def _meeting(row: RowMapping) -> Iterator[tuple[str, str]]:
    if row["meeting"]:
        yield ("meeting", row["meeting"])


def _about(row: RowMapping) -> tuple[str, str]:
    return ("record", row["crm_id"]) if row["crm_id"] else ("event", row["event"])


# ---- as they are now ------------------------------------------------------------------------------------------------


def again(connection: Connection, state: State, person: Person, step: Traces) -> Traces:
    """Return the same rows as they are now, for who is about to write them: until then nobody else does."""
    now = Traces(calendars=step.calendars)
    for number in {calendar for calendar, _ in step.events}:
        events = (event for calendar, event in step.events if calendar == number)
        for row in _again(connection, state, mirror.c.event, events, mirror.c.calendar == number):
            now.events[number, row["event"]] = row
    for column, rows, here in (
        (records.c.crm_id, step.records, now.records),
        (links.c.crm_id, step.links, now.links),
        (findings.c.key, step.findings, now.findings),
        (holds.c.key, step.holds, now.holds),
    ):
        here.update({row[column.name]: row for row in _again(connection, state, column, rows)})
    now.journal = {row["id"]: row for row in _again(connection, state, journal.c.id, step.journal)}
    for each in step.mentions:
        first, *others = each.table.primary_key
        same = (column == each.row[column.name] for column in others)
        for row in _again(connection, state, first, (each.row[first.name],), *same):
            now.mentions.extend(mention(each.table, row, person))
    return now


def _again(
    connection: Connection, state: State, column: Column[Any], wanted: Iterable[Any], *same: ColumnElement[bool]
) -> Iterator[RowMapping]:
    """Yield rows by their primary key: of what compares several columns at once, SQLite would look at all rows."""
    for batch in batched(wanted):
        which = (column.in_(batch), *same, column.table.c.job == state.job)
        yield from connection.execute(select(column.table).where(*which).with_for_update()).mappings()
