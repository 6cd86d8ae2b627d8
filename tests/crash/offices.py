"""Offices whose agents live in Google, whose job writes their calendars, and which begin again from where they stood.

The server goes on through all lives of an office: what it holds is put back, what it was ever asked is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from reconciler.model import Outcome
from reconciler.result import Result
from reconciler.simulator.google_calendars import Calendar
from reconciler.simulator.google_series import Resource
from tests.crash.twins import FREELY, OPEN, Twins, left
from tests.e2e.google_world import READS, SOON, GoogleWorld, google_world, later, showing, times

COMPARE = 'compare = ["start", "end", "all_day", "title", "location", "status", "contact"]\n'
TOLD = ("id", "summary", "location", "start", "end", "status", "attendees")


@dataclass(frozen=True, slots=True)
class Offices:
    """Makes offices, and lets an office begin again; nobody who works there is ever mailed by the job."""

    twins: Twins
    stack: ExitStack

    def make(self, sync: str, **settings: Any) -> GoogleWorld:
        folder = self.twins.folder / f"office-{sync}"
        folder.mkdir()
        where: dict[str, Any] = {}
        if self.twins.fresh is not None:
            where = {"state": "env:STATE", "environ": {"STATE": self.twins.fresh()}}
        given = {"agents": ("ann@acme.example",), "limits": FREELY, "policy": COMPARE, **where, **settings}
        world = self.stack.enter_context(google_world(folder, sync=sync, scribe=True, **given))
        self.stack.callback(nobody_is_mailed, world)
        return world

    def keep(self, world: GoogleWorld) -> Callable[[], GoogleWorld]:
        """Return what brings an office back to how it stands now: its CRM, its state, its calendars and its time."""
        folders = self.twins.keep(world)
        calendars = {agent: _kept(world.calendar(agent)) for agent in world.agents}
        moments = world.now, world.waiting.now

        def again() -> GoogleWorld:
            folders()
            world.now, world.waiting.now = moments
            for agent, kept in calendars.items():
                calendar = world.calendar(agent)
                calendar.rows, calendar.log, calendar.generation = deepcopy(kept)
            return world

        return again


def _kept(calendar: Calendar) -> tuple[Any, ...]:
    return deepcopy((calendar.rows, calendar.log, calendar.generation))


@contextmanager
def offices(twins: Twins) -> Iterator[Offices]:
    """Keep the servers of offices while a test lasts."""
    with ExitStack() as stack:
        yield Offices(twins, stack)


def nobody_is_mailed(world: GoogleWorld) -> None:
    assert world.mailed == []
    writes = [one for one in world.server.requests(READS) if one.method != "GET"]
    assert all(one.query["sendUpdates"] == ["none"] for one in writes)


# ---- an office with something to do ---------------------------------------------------------------------------------


def booked(world: GoogleWorld, count: int) -> None:
    """Enter so many appointments in the CRM, with clients, and let the job bring them into the calendar."""
    for number in range(count):
        world.insert(None, slot(number), title=f"Viewing {number}", contact_email=f"client{number}@mail.example")
    later(world)
    assert world.run().exit_code == 0
    assert len(world.shown()) == count
    rest(world)


def slot(number: int) -> Any:
    return SOON + timedelta(minutes=90 * number)


def moved(world: GoogleWorld, number: int) -> None:
    """Reschedule an appointment in the CRM by five minutes."""
    start = slot(number - 1) + timedelta(minutes=5)
    spelled = [f"{moment:%Y-%m-%d %H:%M:%S}" for moment in (start, start + timedelta(hours=1))]
    edited(world, number, starts_at=spelled[0], ends_at=spelled[1])


def edited(world: GoogleWorld, number: int, **cells: str) -> None:
    """Edit a record as the office does."""
    sets = ", ".join(f"{name} = ?" for name in cells)
    statement = f"UPDATE appointments SET {sets}, version = version + 1, updated_at = ? WHERE id = ?"  # noqa: S608
    world.sql(statement, *cells.values(), f"{world.now:%Y-%m-%d %H:%M:%S}", number)


def deleted(world: GoogleWorld, number: int) -> None:
    world.sql("DELETE FROM appointments WHERE id = ?", number)


def event_of(world: GoogleWorld, number: int) -> str:
    """Return the event that we made for a record."""
    [found] = [one["id"] for one in world.shown() if _crm_id(one) == str(number)]
    return str(found)


def _crm_id(event: Resource) -> str | None:
    found: str | None = event.get("extendedProperties", {}).get("private", {}).get("crmId")
    return found


def busy(world: GoogleWorld) -> None:
    """Let the office book, move, edit and delete appointments, and Ann move, edit and delete some herself."""
    booked(world, 5)
    calendar = world.calendar()
    moved(world, 1)
    deleted(world, 2)
    moved(world, 3)
    calendar.patch(event_of(world, 3), times(slot(2) + timedelta(minutes=20)))  # a conflict
    edited(world, 4, location="Oak 2")
    calendar.patch(event_of(world, 4), {"summary": "By the lake"})  # each side says something new
    calendar.delete(event_of(world, 5))
    world.insert(None, slot(5), title="Viewing 5", contact_email="client5@mail.example")
    calendar.insert(showing("byann", slot(6), client="client6@mail.example"))
    later(world)


def full(world: GoogleWorld, *, of: int, create: int, update: int, cancel: int) -> None:
    """Let the office move and delete the first of so many appointments, and book further ones."""
    booked(world, of)
    for number in range(1, update + 1):
        moved(world, number)
    for number in range(update + 1, update + cancel + 1):
        deleted(world, number)
    for number in range(of, of + create):
        world.insert(None, slot(number), title=f"Viewing {number}", contact_email=f"client{number}@mail.example")
    later(world)


# ---- what is left ---------------------------------------------------------------------------------------------------


def rest(world: GoogleWorld) -> Result:
    """Let the job run until it should have nothing left to do, and hold it to that: one event for each record."""
    result = world.run()
    again = world.run()
    left_open = [(delta.outcome, delta.why) for delta in again.deltas if delta.outcome is not Outcome.HELD]
    assert left_open == [], left_open
    assert [row["status"] for row in world.journal() if row["status"] in OPEN] == []
    ours = [crm_id for crm_id in map(_crm_id, world.shown()) if crm_id]
    assert len(ours) == len(set(ours)), "no record has two events"
    return result


def standing(world: GoogleWorld) -> tuple[Any, ...]:
    """Return all that the future depends on: the calendars, the CRM, and what both are known to have agreed on.

    Under which version of the record that was is left out: where a person has to decide, a write that was looked up
    leaves the one before it.
    """
    events = {agent: sorted(map(_told, world.shown(agent)), key=lambda one: str(one[0])) for agent in world.agents}
    rows, agreed_on = left(world)
    return events, rows, [(*pair[:2], *pair[3:]) for pair in agreed_on]


def _told(event: Resource) -> tuple[Any, ...]:
    return tuple(event.get(name) for name in TOLD)
