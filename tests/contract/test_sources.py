"""What every source of calendars promises, whatever it reads. A source inherits `SourceContract` with its world."""

from __future__ import annotations

import abc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.config import MicrosoftAuth, Secret
from reconciler.config.secret import Reference
from reconciler.model import Absence, Agent, Calendar, Mode, Postponed, Pull, Unobserved, Window, rfc3339
from reconciler.quota import PUBLISHED, Quota
from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.graph import GraphSimulator
from reconciler.sources import PullRequest, Source
from reconciler.sources.google import GoogleSource
from reconciler.sources.google_transport import GoogleCalendar
from reconciler.sources.ics import IcsSource
from reconciler.sources.microsoft import MicrosoftSource
from reconciler.sources.microsoft_auth import account_for
from reconciler.sources.microsoft_transport import Graph
from reconciler.sources.tokens import StaticTokens
from reconciler.sources.wire import Wire

NOW = datetime(2026, 11, 22, 17, 13, 4, tzinfo=UTC)
WINDOW = Window.around(NOW, timedelta(days=7), timedelta(days=60))
SOON = datetime(2026, 11, 24, 15, tzinfo=UTC)
FAR = datetime(2028, 1, 1, 12, tzinfo=UTC)


class World(abc.ABC):
    """One calendar as its owner changes it, and the source that reads it. Every event lasts an hour."""

    source: Source
    calendar: Calendar

    @abc.abstractmethod
    def book(self, event: str, start: datetime) -> None:
        """Put an event of this id there, or move it."""

    @abc.abstractmethod
    def cancel(self, event: str) -> None:
        """Cancel an event as the provider does."""

    @abc.abstractmethod
    def close(self) -> None:
        """Make the calendar unreadable."""

    @abc.abstractmethod
    def open(self) -> None:
        """Make it readable again, as it was."""

    def pull(self, **changes: object) -> Pull | Unobserved | Postponed:
        request = PullRequest(calendar=self.calendar, window=WINDOW, now=NOW)
        return self.source.pull(replace(request, **changes))  # type: ignore[arg-type]

    def whole(self, **changes: object) -> Pull:
        pulled = self.pull(**changes)
        assert isinstance(pulled, Pull), pulled
        return pulled


class SourceContract(abc.ABC):
    @pytest.fixture
    @abc.abstractmethod
    def world(self, tmp_path: Path) -> World | Iterator[World]:
        """Return an empty calendar, or yield it."""

    def test_an_empty_calendar_is_a_whole_read(self, world: World) -> None:
        pulled = world.whole()
        assert pulled.mode is Mode.FULL
        assert pulled.proves_absence
        assert not pulled.events

    def test_a_first_read_shows_what_the_window_holds_and_nothing_else(self, world: World) -> None:
        world.book("in", SOON)
        world.book("out", FAR)
        [event] = world.whole().events
        assert (event.id, event.span.start, event.span.end) == ("in", SOON, SOON + timedelta(hours=1))
        assert event.absence is None

    def test_times_are_utc_in_whole_seconds(self, world: World) -> None:
        world.book("in", SOON)
        [event] = world.whole().events
        assert isinstance(event.span.start, datetime)
        assert event.span.start.tzinfo is UTC
        assert event.span.start.microsecond == 0

    def test_the_cursor_is_bound_to_scope_and_to_a_window_that_holds_what_was_asked(self, world: World) -> None:
        cursor = world.whole().cursor
        assert (cursor.scope, cursor.full_at) == (world.source.scope(world.calendar), NOW)
        assert cursor.window.contains(WINDOW)
        assert cursor.window.start == WINDOW.start

    def test_an_unchanged_calendar_says_nothing_and_keeps_the_age_of_its_last_whole_read(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        again = world.whole(cursor=cursor, known=frozenset({"in"}), now=NOW + timedelta(minutes=5))
        assert again.mode is Mode.INCREMENTAL
        assert not again.events
        assert not again.tombstones
        assert replace(again.cursor, token="") == replace(cursor, token="")

    def test_a_change_is_seen(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        world.book("in", SOON + timedelta(hours=2))
        later = world.whole(cursor=cursor, known=frozenset({"in"}))
        assert [(event.id, event.span.start) for event in later.events] == [("in", SOON + timedelta(hours=2))]
        assert later.cursor.token != cursor.token

    def test_an_etag_stands_for_the_content(self, world: World) -> None:
        world.book("in", SOON)
        [before] = world.whole().events
        [same] = world.whole().events
        world.book("in", SOON + timedelta(hours=2))
        [after] = world.whole().events
        assert before.etag == same.etag != after.etag

    def test_a_known_event_that_left_the_window_is_still_shown(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        world.book("in", FAR)
        later = world.whole(cursor=cursor, known=frozenset({"in"}))
        assert [(event.id, event.span.start) for event in later.events] == [("in", FAR)]

    def test_a_cancelled_event_is_declared_gone(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        world.cancel("in")
        later = world.whole(cursor=cursor, known=frozenset({"in"}))
        gone = {event.id: event.absence for event in later.events} | {row.id: row.absence for row in later.tombstones}
        assert list(gone) == ["in"]
        assert gone["in"] in {Absence.CANCELLED, Absence.GONE}  # a tombstone, or the answer of a look-up

    def test_a_window_wider_than_the_cursors_is_read_in_full(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        wider = Window(WINDOW.start, cursor.window.end + timedelta(days=1))
        assert world.whole(cursor=cursor, window=wider).mode is Mode.FULL

    def test_a_narrower_window_is_not(self, world: World) -> None:
        cursor = world.whole().cursor
        narrower = Window(WINDOW.start + timedelta(days=1), WINDOW.end)
        assert world.whole(cursor=cursor, window=narrower).mode is Mode.INCREMENTAL

    def test_a_cursor_of_another_scope_is_read_in_full(self, world: World) -> None:
        cursor = replace(world.whole().cursor, scope="another")
        assert world.whole(cursor=cursor).mode is Mode.FULL

    def test_a_cursor_that_makes_no_sense_costs_a_full_read(self, world: World) -> None:
        cursor = replace(world.whole().cursor, token="\x00 no token")
        assert world.whole(cursor=cursor).mode is Mode.FULL

    def test_the_scope_is_that_of_the_agent_and_place(self, world: World) -> None:
        other = replace(world.calendar, agent=Agent(email="eve@acme.example"))
        assert world.source.scope(world.calendar) == world.source.scope(world.calendar)
        assert world.source.scope(world.calendar) != world.source.scope(other)

    def test_an_unreadable_calendar_is_unobserved_with_a_sentence(self, world: World) -> None:
        world.close()
        pulled = world.pull()
        assert isinstance(pulled, Unobserved)
        assert pulled.calendar is world.calendar
        assert pulled.why.endswith(".")
        assert "\n" not in pulled.why

    def test_a_sentence_never_gives_the_place_away(self, world: World, tmp_path: Path) -> None:
        world.close()
        pulled = world.pull()
        assert isinstance(pulled, Unobserved)
        assert str(tmp_path) not in pulled.why
        assert not world.calendar.location or world.calendar.location not in repr(pulled)

    def test_a_calendar_that_can_be_read_again_is_read_whole_again_or_goes_on_where_it_was(self, world: World) -> None:
        world.book("in", SOON)
        cursor = world.whole().cursor
        world.close()
        assert isinstance(world.pull(cursor=cursor), Unobserved)
        world.open()
        assert world.whole().mode is Mode.FULL
        assert isinstance(world.pull(cursor=cursor, known=frozenset({"in"})), Pull)

    def test_the_same_question_has_the_same_answer_from_many_threads(self, world: World) -> None:
        world.book("in", SOON)
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: world.whole(), range(8)))
        same = [replace(answer, cursor=replace(answer.cursor, token="")) for answer in answers]  # each is a token's own
        assert all(answer == same[0] for answer in same)


class IcsWorld(World):
    """A file that is written anew for each change."""

    def __init__(self, base: Path) -> None:
        self.path = base / "private-name" / "dee.ics"
        self.path.parent.mkdir()
        self.calendar = Calendar(
            source="ics", kind="ics", agent=Agent(email="dee@acme.example"), location=str(self.path)
        )
        self.source = IcsSource(base=base / "jobs")
        self.events: dict[str, list[str]] = {}
        self.write()

    def write(self) -> None:
        blocks = [["BEGIN:VEVENT", *lines, "END:VEVENT"] for lines in self.events.values()]
        lines = ["BEGIN:VCALENDAR", "VERSION:2.0", *(line for block in blocks for line in block), "END:VCALENDAR", ""]
        self.path.write_bytes("\r\n".join(lines).encode())

    def book(self, event: str, start: datetime) -> None:
        stamp = rfc3339(start).replace("-", "").replace(":", "")
        self.events[event] = [f"UID:{event}", f"DTSTART:{stamp}", "DURATION:PT1H", "SUMMARY:Showing"]
        self.write()

    def cancel(self, event: str) -> None:
        self.events[event].append("STATUS:CANCELLED")
        self.write()

    def close(self) -> None:
        self.path.unlink()

    def open(self) -> None:
        self.write()


class TestIcs(SourceContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> World:
        return IcsWorld(tmp_path)


class GoogleWorld(World):
    """A calendar of the stand-in Google, read as its owner through the real client."""

    def __init__(self, server: GoogleSimulator) -> None:
        self.server = server
        self.calendar = Calendar(source="google", kind="google", agent=Agent(email="dee@acme.example"))
        self.theirs = server.calendar("dee@acme.example")
        server.calendar("eve@acme.example")
        quota = Quota("google", PUBLISHED["google"], None, sleep=lambda _: None)
        wire = Wire()
        tokens = StaticTokens(server.token("dee@acme.example"), alone=True)
        self.source: GoogleSource = GoogleSource(
            name="google", api=GoogleCalendar(endpoint=server.url, tokens=tokens, quota=quota, wire=wire)
        )

    def book(self, event: str, start: datetime) -> None:
        times = {
            "start": {"dateTime": rfc3339(start), "timeZone": "UTC"},
            "end": {"dateTime": rfc3339(start + timedelta(hours=1)), "timeZone": "UTC"},
        }
        if event in self.theirs.rows:
            self.theirs.patch(event, times)
        else:
            self.theirs.insert({"id": event, "summary": "Showing", **times})

    def cancel(self, event: str) -> None:
        self.theirs.delete(event)

    def close(self) -> None:
        self.theirs.revoke()

    def open(self) -> None:
        self.theirs.restore()


class TestGoogle(SourceContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        with GoogleSimulator(clock=lambda: NOW) as server:
            world = GoogleWorld(server)
            with closing(world.source):
                yield world


class MicrosoftWorld(World):
    """A mailbox of the stand-in Graph, read by an application through O365's own connection."""

    def __init__(self, server: GraphSimulator) -> None:
        self.calendar = Calendar(source="microsoft", kind="microsoft", agent=Agent(email="dee@acme.example"))
        self.theirs = server.mailbox("dee@acme.example")
        server.mailbox("eve@acme.example")
        quota = Quota("microsoft", PUBLISHED["microsoft"], None, sleep=lambda _: None)
        auth = MicrosoftAuth.model_validate({"token": Secret(Reference("", "env", "TOKEN", Path()))})
        account = account_for(auth, server.url, {"TOKEN": server.token()}, quota)
        self.source: MicrosoftSource = MicrosoftSource(name="microsoft", graph=Graph(account, quota))
        self.names: dict[str, str] = {}

    def book(self, event: str, start: datetime) -> None:
        times = {
            "start": {"dateTime": f"{start:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
            "end": {"dateTime": f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
        }
        if event in self.names:
            self.theirs.patch(event, times)
        else:
            self.names[event] = str(self.theirs.insert({"id": event, "subject": "Showing", **times})["id"])

    def cancel(self, event: str) -> None:
        self.theirs.delete(event)

    def close(self) -> None:
        self.theirs.revoke()

    def open(self) -> None:
        self.theirs.restore()


class TestMicrosoft(SourceContract):
    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        with GraphSimulator(clock=lambda: NOW) as server:
            world = MicrosoftWorld(server)
            with closing(world.source):
                yield world
