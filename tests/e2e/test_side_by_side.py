"""One brokerage, two providers: what agents of Google and of Outlook share is one appointment in the CRM."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.simulator.google import GoogleSimulator
from tests.e2e import google_world
from tests.e2e.google_world import ANN
from tests.e2e.microsoft_world import CID, MicrosoftWorld, microsoft_world, showing
from tests.e2e.world import CLIENT, NOW

SOON = NOW + timedelta(days=2)


@dataclass
class Both:
    """Cid's mailbox and Ann's calendar, in one job."""

    world: MicrosoftWorld
    google: GoogleSimulator

    def later(self) -> None:
        self.world.now += timedelta(minutes=30)
        self.world.waiting.now = self.world.now.timestamp()


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Both]:
    with microsoft_world(tmp_path, agents=(CID,)) as world, GoogleSimulator(clock=lambda: world.now) as google:
        key = tmp_path / "google.json"
        key.write_text(json.dumps(google.service_account_info()))
        key.chmod(0o600)
        world.sources = (
            f'{world.sources}[[source]]\nkind = "google"\nagents = ["{ANN}"]\nendpoint = "{google.url}"\n'
            'auth = { service_account = "file:google.json" }\n'
        )
        google.calendar(ANN, "America/Chicago")
        yield Both(world, google)


def meet(both: Both, uid: str = "shared-1@google.example") -> None:
    """Let Ann invite Cid and a client: Exchange keeps the iCalUID of an invitation from elsewhere."""
    ann = both.google.calendar(ANN)
    guests = [{"email": CLIENT, "responseStatus": "accepted"}, {"email": CID, "responseStatus": "accepted"}]
    ann.insert({**google_world.showing("shared1", SOON), "iCalUID": uid, "attendees": guests})
    with ann.world.lock:
        ann.rows["shared1"].event["iCalUID"] = uid
    copy = showing("copy1", SOON)
    people = [
        {"type": "required", "emailAddress": {"address": address}, "status": {"response": "accepted"}}
        for address in (CLIENT, CID)
    ]
    both.world.mailbox(CID).insert(
        {
            **copy,
            "iCalUId": uid,
            "attendees": people,
            "isOrganizer": False,
            "organizer": {"emailAddress": {"address": ANN}},
            "responseStatus": {"response": "accepted"},
        }
    )


def test_a_meeting_of_a_google_agent_and_an_outlook_agent_is_one_record_of_its_organizer(both: Both) -> None:
    meet(both)
    both.later()
    result = both.world.run()
    assert {one.source: one.observed for one in result.calendars} == {"google": True, "microsoft": True}
    assert both.world.rows("agent_email, contact_email, status") == [(ANN, CLIENT, "scheduled")]
    assert result.counts["copies"] == 1
    both.later()
    assert not both.world.run().deltas


def test_the_organizers_copy_moves_the_record_whatever_the_other_still_says(both: Both) -> None:
    meet(both)
    both.later()
    both.world.run()
    both.google.calendar(ANN).patch("shared1", google_world.times(SOON + timedelta(days=1)))
    both.later()
    assert [delta.action for delta in both.world.run().deltas] == ["update"]
    assert both.world.rows("agent_email, starts_at") == [(ANN, "2026-11-25 17:00:00")]


def test_a_provider_that_is_down_freezes_its_own_agents_alone(both: Both) -> None:
    meet(both)
    both.world.mailbox(CID).insert(showing("cids1", SOON + timedelta(hours=3)))
    both.later()
    both.world.run()
    both.world.mailbox(CID).revoke("ErrorAccessDenied")
    both.google.calendar(ANN).patch("shared1", google_world.times(SOON + timedelta(days=1)))
    both.later()
    result = both.world.run()
    assert {one.source: one.observed for one in result.calendars} == {"google": True, "microsoft": False}
    assert set(both.world.rows("agent_email, starts_at, status")) == {
        (ANN, "2026-11-25 17:00:00", "scheduled"),
        (CID, "2026-11-24 20:00:00", "scheduled"),
    }
