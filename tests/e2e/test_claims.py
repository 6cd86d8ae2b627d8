"""Events of ours are known again by who only reads: live, deleted, put back, copied by people, or out of reach."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from reconciler.model import Calendar, Event, Fields, Outcome, Tombstone, rfc3339
from reconciler.simulator.google import Fault, Harm
from reconciler.simulator.google_sign_in import READ
from reconciler.sources import Claims
from reconciler.sources.answers import ProviderError
from reconciler.sources.claims import claim
from tests.e2e.google_world import SOON, GoogleWorld, google_world
from tests.e2e.google_world import showing as google_showing
from tests.e2e.microsoft_world import CID, MicrosoftWorld, microsoft_world
from tests.e2e.microsoft_world import showing as outlook_showing

VIEWING: Fields = {
    "start": rfc3339(SOON),
    "end": rfc3339(SOON + timedelta(hours=1)),
    "all_day": False,
    "title": "Viewing",
    "location": "",
    "status": "confirmed",
}


@dataclass
class Desk:
    """A calendar, what reads it, and what writes it by another credential."""

    world: Any
    source: Claims
    writer: Any
    calendar: Calendar

    def make(self, crm_id: str = "17") -> Event:
        wrote = self.writer.create(self.calendar, claim("acme", self.calendar, crm_id), VIEWING)
        assert wrote.outcome is Outcome.DONE
        assert isinstance(wrote.event, Event)
        return wrote.event

    def remove(self, event: str) -> None:
        (self.world.calendar if self.is_google else self.world.mailbox)().delete(event)

    @property
    def is_google(self) -> bool:
        return isinstance(self.world, GoogleWorld)

    def claimed(self, crm_id: str = "17") -> Event | Tombstone | None:
        return self.source.claimed(self.calendar, claim("acme", self.calendar, crm_id))

    def mark(self, event: str) -> str | None:
        return self.source.mark(self.calendar, event)


@contextmanager
def desk_of(world: GoogleWorld | MicrosoftWorld) -> Iterator[Desk]:
    with world.setup() as setup:
        [calendar] = setup.directory.calendars
        source = setup.sources[calendar.source]
        assert isinstance(source, Claims)
        assert setup.writers is not None
        writer = setup.writers.calendars[calendar.source](lambda: 100.0)
        yield Desk(world, source, writer, calendar)
        writer.close()


@pytest.fixture(params=["google", "microsoft"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    """Return a calendar whose reader may not write."""
    settings: dict[str, Any] = {"sync": "two-way", "scribe": True}
    if request.param == "google":
        with google_world(tmp_path, **settings) as google, desk_of(google) as desk:
            yield desk
    else:
        with microsoft_world(tmp_path, agents=(CID,), **settings) as outlook, desk_of(outlook) as desk:
            yield desk


def test_an_event_of_ours_is_known_by_its_claim_and_carries_it(desk: Desk) -> None:
    event = desk.make()
    assert desk.claimed() == event
    assert desk.mark(event.id) == claim("acme", desk.calendar, "17").id()
    assert (desk.claimed("18"), desk.claimed("1")) == (None, None)


def test_an_event_of_the_agents_own_carries_no_claim_and_neither_does_one_that_is_not_there(desk: Desk) -> None:
    if desk.is_google:
        desk.world.calendar().insert(google_showing("evta"))
    else:
        desk.world.mailbox().insert(outlook_showing("evta"))
    assert desk.mark("evta") is None
    assert desk.mark("evtb") is None


def test_an_event_that_was_deleted_is_never_taken_for_live(desk: Desk) -> None:
    desk.remove(desk.make().id)
    found = desk.claimed()
    # Google remembers what was deleted, and says so; Exchange says nothing, which is no evidence.
    assert isinstance(found, Tombstone) if desk.is_google else found is None


def test_an_event_that_was_put_back_is_the_one_that_is_found(desk: Desk) -> None:
    first = desk.make()
    desk.remove(first.id)
    second = desk.make()
    assert desk.claimed() == second
    desk.remove(second.id)
    assert not isinstance(desk.claimed(), Event)


def test_what_can_not_be_looked_up_is_an_error_and_never_nothing(desk: Desk) -> None:
    event = desk.make()
    desk.world.server.faults.add(Fault(method="GET", what=Harm.DROP_BEFORE))
    with pytest.raises(ProviderError):
        desk.claimed()
    with pytest.raises(ProviderError):
        desk.mark(event.id)


def test_a_copy_of_an_event_of_ours_is_not_its_claims_event(tmp_path: Path) -> None:
    with google_world(tmp_path, sync="two-way", scribe=True) as world, desk_of(world) as desk:
        event = desk.make()
        [item] = world.shown()
        world.calendar().insert(
            {**google_showing("copied", client=None), "extendedProperties": item["extendedProperties"]}
        )
        assert desk.mark("copied") == event.id, "the mark of a copy is not its own id"
        assert desk.claimed() == event
        desk.remove(event.id)
        assert isinstance(desk.claimed(), Tombstone)


def test_a_mark_that_somebody_wrote_himself_is_no_claim(tmp_path: Path) -> None:
    with google_world(tmp_path, sync="two-way", scribe=True) as world, desk_of(world) as desk:
        for number, value in enumerate(("", "x" * 32, "A" * 32, "0" * 31, "<b>", 5)):
            name = f"evta{number}"
            marked = {"extendedProperties": {"private": {"crmClaim": value}}}
            world.calendar().insert({**google_showing(name), **marked})
            assert desk.mark(name) is None


def test_that_nothing_was_made_is_known_by_one_request(tmp_path: Path) -> None:
    with google_world(tmp_path, sync="two-way", scribe=True) as world, desk_of(world) as desk:
        assert desk.claimed() is None
        assert world.asked() == 1


def test_looking_for_events_of_ours_takes_no_leave_to_write(tmp_path: Path) -> None:
    with google_world(tmp_path, sync="two-way", scribe=True) as world, world.setup(dry_run=True) as setup:
        [calendar] = setup.directory.calendars
        source = setup.sources["google"]
        assert isinstance(source, Claims)
        assert source.claimed(calendar, claim("acme", calendar, "17")) is None
        assert world.scopes() == {READ}
