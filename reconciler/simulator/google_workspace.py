"""The Google calendars of the sample brokerage: a stand-in server, filled and edited as people do it, one by one.

Nothing is put there behind the server's back: every edit passes through its calendars, at the time at which the meeting
says it was edited, and leaves what Google would leave (tombstones, exceptions, copies for guests, a log of changes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from reconciler.simulator.brokerage import PEOPLE
from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_export import changes, event

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import datetime
    from types import TracebackType

    from reconciler.simulator.brokerage import Brokerage, Meeting
    from reconciler.simulator.google_calendars import Calendar


class Workspace:
    """The calendars of those who keep them with Google. The server lives by a time of its own, `live` sets it."""

    def __init__(self, clock: Callable[[], datetime]) -> None:
        self._clock = clock
        self._said: dict[str, Meeting] = {}
        self.server = GoogleSimulator(clock=self.now)
        self.people = tuple(person for person in PEOPLE if person.exporter == "google")

    def __enter__(self) -> Self:
        self.server.__enter__()
        for person in self.people:
            self.server.calendar(person.email, person.zone)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.server.__exit__(kind, error, trace)

    def now(self) -> datetime:
        """Return the server's time."""
        return self._clock()

    def live(self, clock: Callable[[], datetime]) -> None:
        """Let the server's time be this clock's from now on."""
        self._clock = clock

    def say(self, brokerage: Brokerage) -> None:
        """Make the calendars say what `brokerage` says: what has changed since the last time is edited."""
        own = {name: meeting for name, meeting in brokerage.meetings.items() if self._is_edited_here(meeting)}
        now = self._clock
        for name, meeting in own.items():
            self.live(_stopped(meeting.modified))
            self._edit(self._said.get(name), meeting, own)
        self.live(now)
        self._said = own
        for person in self.people:
            if person.email in brokerage.gone:
                self.server.accounts.refuse(person.email, "invalid_grant")

    def _is_edited_here(self, meeting: Meeting) -> bool:
        """Leave out files, and copies: those the server makes of what the organizer does."""
        colleagues = {person.email for person in self.people if person != meeting.agent}
        return meeting.agent in self.people and meeting.home not in colleagues

    def _calendar(self, meeting: Meeting) -> Calendar:
        return self.server.calendar(meeting.home)

    def _edit(self, before: Meeting | None, after: Meeting, diary: Mapping[str, Meeting]) -> None:
        """Do what leads from one to the other, as a person would."""
        calendar = self._calendar(after)
        if before is None:
            self._enter(calendar, after)
        elif before.agent != after.agent:
            self._calendar(before).move_to(calendar, after.id)
        elif before.status != after.status == "CANCELLED":
            calendar.delete(after.id)
        elif after.kept < before.kept:
            _cut(calendar, before, next(one for one in diary.values() if one.cut_off.startswith(after.id)))
        else:
            _change(calendar, before, after)

    def _enter(self, calendar: Calendar, meeting: Meeting) -> None:
        if meeting.cut_off:
            return  # it came to be when the series before it was cut
        calendar.insert(event(meeting))
        if meeting.status == "CANCELLED":
            calendar.delete(meeting.id)


def _stopped(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment


def _cut(calendar: Calendar, before: Meeting, later: Meeting) -> None:
    """Change a series from one occurrence on."""
    calendar.this_and_following(before.id, later.start, changes(before, later))


def _change(calendar: Calendar, before: Meeting, after: Meeting) -> None:
    for week in sorted(set(after.skipped) - set(before.skipped)):
        calendar.cancel_occurrence(after.id, after.starts[week])
    for week, later in sorted(set(after.moved) - set(before.moved)):
        calendar.move_occurrence(after.id, after.starts[week], after.starts[week] + later)
    if changed := changes(before, after):
        calendar.patch(after.id, changed)
