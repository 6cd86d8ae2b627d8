"""The Google calendars of the sample brokerage. What people do leaves what Google would leave.

That is tombstones, exceptions, copies for guests, a log of changes, and two series where there was one before.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_export import changes, event
from reconciler.simulator.hosted import Hosted, write_secret

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime
    from pathlib import Path

    from reconciler.simulator.brokerage import Meeting, Person
    from reconciler.simulator.google_calendars import Calendar

KEY: Final = "google-key.json"

_TABLE: Final = """
[[source]]
kind = "google"
agents = {{ file = "google.csv" }}
auth = {{ service_account = "file:{key}", token_uri = "{token_uri}" }}
endpoint = "{endpoint}"
"""


class Workspace(Hosted):
    """The calendars of those who keep them with Google."""

    kind = "google"
    name = "Google"

    def __init__(self, clock: Callable[[], datetime]) -> None:
        super().__init__(clock, "google")
        self._server = GoogleSimulator(clock=self.now)

    @property
    def server(self) -> GoogleSimulator:
        """Return the stand-in."""
        return self._server

    def open(self, person: Person) -> None:
        """Give somebody a calendar."""
        self.server.calendar(person.email, person.zone)

    def close(self, person: Person) -> None:
        """Delete somebody's account."""
        self.server.accounts.refuse(person.email, "invalid_grant")

    def edit(self, before: Meeting | None, after: Meeting, diary: Mapping[str, Meeting]) -> None:
        """Do what leads from one to the other; Google also knows how to hand an event over, and to cut a series."""
        if before is not None and before.agent != after.agent:
            self._calendar(before).move_to(self._calendar(after), after.id)
        elif before is not None and after.kept < before.kept:
            later = next(one for one in diary.values() if one.cut_off.startswith(after.id))
            self._calendar(after).this_and_following(before.id, later.start, changes(before, later))
        else:
            super().edit(before, after, diary)

    def enter(self, meeting: Meeting) -> None:
        """Enter what was not there yet."""
        if meeting.cut_off:
            return  # it came to be when the series before it was cut
        self._calendar(meeting).insert(event(meeting))
        if meeting.status == "CANCELLED":
            self.call_off(meeting)

    def call_off(self, meeting: Meeting) -> None:
        """Delete an event, which is how Google cancels."""
        self._calendar(meeting).delete(meeting.id)

    def skip(self, meeting: Meeting, week: int) -> None:
        """Take one occurrence out of a series."""
        self._calendar(meeting).cancel_occurrence(meeting.id, meeting.starts[week])

    def move(self, meeting: Meeting, original: date, start: date) -> None:
        """Move one occurrence of a series."""
        self._calendar(meeting).move_occurrence(meeting.id, original, start)

    def change(self, before: Meeting, after: Meeting) -> None:
        """Patch what has changed."""
        if changed := changes(before, after):
            self._calendar(after).patch(after.id, changed)

    def _calendar(self, meeting: Meeting) -> Calendar:
        return self.server.calendar(meeting.home)

    def sign_up(self, folder: Path) -> str:
        """Write the agents file and the service account's key; return the table of the job file."""
        self.write_people(folder)
        write_secret(folder / KEY, json.dumps(self.server.service_account_info(), indent=2))
        return _TABLE.format(key=KEY, token_uri=self.server.token_uri, endpoint=self.server.url)

    def way_in(self, folder: Path) -> dict[str, str]:
        """Return what another program needs to be told to talk to the stand-in."""
        key_file = str(folder / KEY)
        return {"endpoint": self.server.url, "token_uri": self.server.token_uri, "key_file": key_file}
