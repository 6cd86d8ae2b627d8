"""Calendars of the sample brokerage that a provider keeps: a stand-in server, filled and edited as people do it.

Nothing is put there behind the server's back: every edit passes through its calendars, at the time at which the meeting
says it was edited, and leaves what the provider would leave. One class a provider says how each edit is made there.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Protocol, Self

from reconciler.simulator.brokerage import PEOPLE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import date, datetime
    from pathlib import Path
    from types import TracebackType

    from reconciler.simulator.brokerage import Brokerage, Meeting, Person
    from reconciler.simulator.loopback import Entry


class Server(Protocol):
    """A stand-in server on loopback."""

    def __enter__(self) -> object: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def requests(self, kind: str = ...) -> list[Entry]:
        """Return what was asked."""
        ...


class Hosted(ABC):
    """The calendars of those who keep them with one provider. The server lives by a time of its own, `live` sets it."""

    kind: ClassVar[str]
    name: ClassVar[str]

    def __init__(self, clock: Callable[[], datetime], exporter: str) -> None:
        self._clock = clock
        self._said: dict[str, Meeting] = {}
        self.people = tuple(person for person in PEOPLE if person.exporter == exporter)

    @property
    @abstractmethod
    def server(self) -> Server:
        """Return the stand-in."""

    def __enter__(self) -> Self:
        self.server.__enter__()
        for person in self.people:
            self.open(person)
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

    def asked(self) -> int:
        """Return how often it was asked about calendars so far."""
        return len(self.server.requests())

    def say(self, brokerage: Brokerage) -> None:
        """Make the calendars say what `brokerage` says: what has changed since the last time is edited."""
        own = {name: meeting for name, meeting in brokerage.meetings.items() if self._is_edited_here(meeting)}
        now = self._clock
        for name, meeting in own.items():
            self.live(_stopped(meeting.modified))
            self.edit(self._said.get(name), meeting, own)
        self.live(now)
        self._said = own
        for person in self.people:
            if person.email in brokerage.gone:
                self.close(person)

    def _is_edited_here(self, meeting: Meeting) -> bool:
        """Leave out what is elsewhere, and copies: those the server makes of what the organizer does."""
        colleagues = {person.email for person in self.people if person != meeting.agent}
        return meeting.agent in self.people and meeting.home not in colleagues

    def edit(self, before: Meeting | None, after: Meeting, diary: Mapping[str, Meeting]) -> None:
        """Do what leads from one to the other, as a person would. `diary` is all that is to stand there."""
        del diary
        if before is None:
            self.enter(after)
        elif before.status != after.status == "CANCELLED":
            self.call_off(after)
        else:
            for week in sorted(set(after.skipped) - set(before.skipped)):
                self.skip(after, week)
            for week, later in sorted(set(after.moved) - set(before.moved)):
                start = after.starts[week]
                self.move(after, start, start + later)
            self.change(before, after)

    @abstractmethod
    def open(self, person: Person) -> None:
        """Give somebody a calendar."""

    @abstractmethod
    def close(self, person: Person) -> None:
        """Put somebody's calendar out of reach."""

    @abstractmethod
    def enter(self, meeting: Meeting) -> None:
        """Enter what was not there yet."""

    @abstractmethod
    def call_off(self, meeting: Meeting) -> None:
        """Call a meeting off."""

    @abstractmethod
    def skip(self, meeting: Meeting, week: int) -> None:
        """Take one occurrence out of a series."""

    @abstractmethod
    def move(self, meeting: Meeting, original: date, start: date) -> None:
        """Move one occurrence of a series."""

    @abstractmethod
    def change(self, before: Meeting, after: Meeting) -> None:
        """Change what is said of a meeting."""

    # What a job that reads them needs to be told.

    @abstractmethod
    def sign_up(self, folder: Path) -> str:
        """Write whom it is asked about, and the credential, for its owner's eyes alone; return the job file's table."""

    @abstractmethod
    def way_in(self, folder: Path) -> dict[str, str]:
        """Return what another program needs to be told to talk to the stand-in."""

    def write_people(self, folder: Path) -> None:
        """Write the agents file."""
        people = (f"{person.email},{person.zone}" for person in self.people)
        lines = "\n".join(("agent,timezone", *people))
        (folder / f"{self.kind}.csv").write_text(f"{lines}\n", "utf-8")


def write_secret(path: Path, secret: str) -> None:
    """Write what only the file's owner may read."""
    path.touch(mode=0o600)
    path.write_text(f"{secret}\n", "utf-8")


def _stopped(moment: datetime) -> Callable[[], datetime]:
    return lambda: moment
