"""What every calendar that is written promises. A provider inherits `CalendarWriterContract` with its desk."""

from __future__ import annotations

import abc
import copy
import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from reconciler.model import Absence, Agent, Calendar, Event, Fields, Outcome, Tombstone, rfc3339
from reconciler.quota import Quota, budget_for, forever
from reconciler.simulator.google import READ, WRITE, Fault, GoogleSimulator, Harm
from reconciler.simulator.graph import TENANT, GraphSimulator
from reconciler.sources import CalendarWriter, Wrote
from reconciler.sources.answers import ProviderError
from reconciler.sources.claims import GENERATIONS, Claim, claim
from reconciler.sources.google_transport import WritableGoogleCalendar
from reconciler.sources.google_writes import GoogleWriter
from reconciler.sources.microsoft_auth import GraphAccount
from reconciler.sources.microsoft_writes import MicrosoftWriter, WritableGraph
from reconciler.sources.tokens import StaticTokens
from reconciler.sources.wire import Answer, Wire
from tests.discovery import check

SOON = datetime(2026, 11, 24, 15, tzinfo=UTC)
VIEWING: Fields = {
    "start": "2026-11-24T15:00:00Z",
    "end": "2026-11-24T16:00:00Z",
    "all_day": False,
    "title": "Viewing",
    "location": "12 Main St",
    "status": "confirmed",
}
LATER: Fields = {"start": "2026-11-24T17:00:00Z", "end": "2026-11-24T18:00:00Z", "all_day": False}
CLIENT = "zoe@mail.example"
GOOD = {Outcome.DONE, Outcome.ALREADY}
PRIVATE = (CLIENT, "Viewing", "12 Main St", "secret")


class Witness:
    """Hands writes through, and holds every answer to what all of them promise."""

    def __init__(self, writer: CalendarWriter) -> None:
        self._writer = writer

    def create(self, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        return self._seen(self._writer.create(calendar, claim, fields))

    def update(self, calendar: Calendar, event: str, fields: Fields, *, version: str) -> Wrote:
        return self._seen(self._writer.update(calendar, event, fields, version=version))

    def cancel(self, calendar: Calendar, event: str, *, version: str) -> Wrote:
        return self._seen(self._writer.cancel(calendar, event, version=version))

    def find(self, calendar: Calendar, event: str | Claim) -> Event | Tombstone | None:
        return self._writer.find(calendar, event)

    def refusal(self, calendar: Calendar) -> str:
        return self._writer.refusal(calendar)

    def close(self) -> None:
        self._writer.close()

    @staticmethod
    def _seen(wrote: Wrote) -> Wrote:
        assert wrote.outcome not in {Outcome.PLANNED, Outcome.HELD}
        assert wrote.why or wrote.outcome in GOOD, "what was not written has a reason"
        assert "\n" not in wrote.why
        assert not any(word in wrote.why for word in PRIVATE), wrote.why
        return wrote


class Desk(abc.ABC):
    """A calendar as its agent uses it, what may go wrong with its provider, and what writes to it."""

    writer: Witness
    calendar: Calendar
    colleague: Calendar  # another agent's
    ids_are_ours = True  # the provider takes the ids that we compute, and remembers them of what is gone

    @abc.abstractmethod
    def book(self, start: datetime, *, title: str = "Viewing", guests: tuple[str, ...] = ()) -> str:
        """Put an event of one hour there, as the agent does by hand; its id."""

    @abc.abstractmethod
    def repeat(self, start: datetime) -> tuple[str, str]:
        """Put a weekly series there; its id, and that of its second occurrence as the mirror has it."""

    @abc.abstractmethod
    def receive(self, start: datetime) -> str:
        """Let a stranger invite the agent; the id of the copy that arrives."""

    @abc.abstractmethod
    def retitle(self, event: str, title: str) -> None:
        """Change an event, as the agent does by hand."""

    @abc.abstractmethod
    def remove(self, event: str) -> None:
        """Delete an event, as the agent does by hand."""

    @abc.abstractmethod
    def unseen(self) -> str:
        """Return the id of an event that is not shown, and of which nothing is said."""

    @abc.abstractmethod
    def version(self, event: str) -> str:
        """Return the version of an event as it is now."""

    @abc.abstractmethod
    def says(self, event: str) -> Fields:
        """Return what an event says now, read without anything that is under test."""

    @abc.abstractmethod
    def live(self) -> list[str]:
        """Return the ids of all events of the calendar that are there."""

    @abc.abstractmethod
    def everything(self) -> object:
        """Return all that the provider keeps of all calendars, to be compared."""

    @abc.abstractmethod
    def writes(self) -> int:
        """Return how many writes of ours reached the provider."""

    @abc.abstractmethod
    def told(self) -> list[str]:
        """Return the writes of ours with which the provider might have told somebody."""

    @abc.abstractmethod
    def lose(self, *, carried_out: bool, times: int = 1, meanwhile: Callable[[], object] | None = None) -> None:
        """Lose the answer to the next writes, and do something just before they are or are not carried out."""

    @abc.abstractmethod
    def lose_reads(self) -> None:
        """Answer no reads any more."""

    @abc.abstractmethod
    def meanwhile(self, act: Callable[[], object]) -> None:
        """Do something just before the next write is carried out."""

    @abc.abstractmethod
    def tire(self) -> None:
        """Refuse all writes to the agent's calendar for hours, as a provider does that suspects abuse."""

    @abc.abstractmethod
    def slow_down(self) -> None:
        """Ask for fewer requests, longer than anybody waits."""

    @abc.abstractmethod
    def shut(self) -> None:
        """Take the calendar out of reach."""

    @abc.abstractmethod
    def heal(self) -> None:
        """Make everything work again."""

    @abc.abstractmethod
    def wait(self, how_long: timedelta) -> None:
        """Let time pass."""

    def claim(self, crm_id: str = "17") -> Claim:
        return claim("acme", self.calendar, crm_id)

    def create(self, fields: Fields = VIEWING, crm_id: str = "17") -> Wrote:
        return self.writer.create(self.calendar, self.claim(crm_id), fields)

    def made(self) -> Event:
        wrote = self.create()
        assert wrote.outcome is Outcome.DONE
        assert wrote.event
        return wrote.event

    def update(self, event: str, fields: Fields, version: str | None = None) -> Wrote:
        version = self.version(event) if version is None else version
        return self.writer.update(self.calendar, event, fields, version=version)

    def cancel(self, event: str, version: str | None = None) -> Wrote:
        version = self.version(event) if version is None else version
        return self.writer.cancel(self.calendar, event, version=version)


def said(event: Event | None) -> Fields:
    assert event
    span = event.span
    return {
        "start": rfc3339(span.start),
        "end": rfc3339(span.end),
        "all_day": span.all_day,
        "title": event.title,
        "location": event.location,
        "status": event.status.value,
    }


@dataclass(frozen=True)
class Untouchable:
    """An event that is not ours to write."""

    name: str
    put: Callable[[Desk], str]


UNTOUCHABLE = [
    Untouchable("a series", lambda desk: desk.repeat(SOON)[0]),
    Untouchable("an occurrence", lambda desk: desk.repeat(SOON)[1]),
    Untouchable("a stranger's", lambda desk: desk.receive(SOON)),
    Untouchable("with a client", lambda desk: desk.book(SOON, guests=(CLIENT,))),
    Untouchable("with a colleague", lambda desk: desk.book(SOON, guests=(desk.colleague.agent.email,))),
]


class CalendarWriterContract(abc.ABC):
    @pytest.fixture
    @abc.abstractmethod
    def bare_desk(self) -> Iterator[Desk]:
        """Return an empty calendar."""

    @pytest.fixture
    def desk(self, bare_desk: Desk) -> Iterator[Desk]:
        """Return an empty calendar; whatever a test does with it, nobody is told anything."""
        yield bare_desk
        assert bare_desk.told() == []

    # ---- create

    def test_a_created_event_says_what_was_wanted_and_is_known_by_its_claim(self, desk: Desk) -> None:
        event = desk.made()
        assert said(event) == desk.says(event.id) == VIEWING
        assert desk.live() == [event.id]
        assert desk.writer.find(desk.calendar, desk.claim()) == desk.writer.find(desk.calendar, event.id) == event
        assert event.etag == desk.version(event.id)
        assert not event.attendees

    def test_an_all_day_event_is_created_on_its_days(self, desk: Desk) -> None:
        fields: Fields = {"start": "2026-11-24", "end": "2026-11-26", "all_day": True, "title": "Open house"}
        wrote = desk.create(fields)
        assert wrote.outcome is Outcome.DONE
        assert wrote.event
        assert desk.says(wrote.event.id) == {**VIEWING, **fields, "location": ""}

    def test_creating_again_adopts_what_is_there(self, desk: Desk) -> None:
        event = desk.made()
        before = desk.everything()
        again = desk.create()
        assert (again.outcome, again.event, again.why) == (Outcome.ALREADY, event, "")
        assert desk.everything() == before

    def test_creating_again_never_overwrites_what_a_person_made_of_it(self, desk: Desk) -> None:
        event = desk.made()
        desk.retitle(event.id, "Second viewing")
        before = desk.everything()
        again = desk.create()
        assert again.outcome is Outcome.ALREADY
        assert "title" in again.why
        assert said(again.event)["title"] == "Second viewing"
        assert desk.everything() == before

    def test_records_and_jobs_have_events_of_their_own(self, desk: Desk) -> None:
        desk.create(crm_id="17")
        desk.create(crm_id="18")
        desk.writer.create(desk.calendar, claim("other", desk.calendar, "17"), VIEWING)
        assert len(desk.live()) == 3

    def test_an_insert_that_is_accepted_and_never_answered_is_there_once(self, desk: Desk) -> None:
        desk.lose(carried_out=True)
        wrote = desk.create()
        assert wrote.outcome is Outcome.DONE
        assert desk.writes() == 1
        assert wrote.event
        assert desk.live() == [wrote.event.id]

    @pytest.mark.parametrize("times", [1, 2])
    def test_an_insert_that_is_never_carried_out_is_not_called_done(self, desk: Desk, times: int) -> None:
        desk.lose(carried_out=False, times=times)
        wrote = desk.create()
        assert wrote.outcome in {Outcome.DONE, Outcome.UNKNOWN}
        assert len(desk.live()) == (wrote.outcome is Outcome.DONE)
        assert desk.writes() <= 2

    @pytest.mark.parametrize("carried_out", [True, False])
    def test_what_cannot_be_looked_up_is_unknown_until_it_can(self, desk: Desk, *, carried_out: bool) -> None:
        desk.lose(carried_out=carried_out, meanwhile=desk.lose_reads)
        assert desk.create().outcome is Outcome.UNKNOWN
        assert desk.writes() == 1
        with pytest.raises(ProviderError):
            desk.writer.find(desk.calendar, desk.claim())
        desk.heal()
        found = desk.writer.find(desk.calendar, desk.claim())
        assert isinstance(found, Event) == carried_out
        assert desk.create().outcome is (Outcome.ALREADY if carried_out else Outcome.DONE)
        assert len(desk.live()) == 1

    def test_an_appointment_whose_event_was_deleted_gets_the_next_generation(self, desk: Desk) -> None:
        first = desk.made()
        desk.remove(first.id)
        second = desk.made()
        assert first.id != second.id
        assert desk.live() == [second.id]
        assert desk.writer.find(desk.calendar, desk.claim()) == second
        assert desk.create().outcome is Outcome.ALREADY

    def test_what_is_deleted_again_and_again_is_left_to_a_person(self, desk: Desk) -> None:
        for _ in range(GENERATIONS):
            desk.remove(desk.made().id)
        assert desk.create().outcome is Outcome.FAILED
        assert not desk.live()

    def test_many_that_create_the_same_at_once_make_one(self, desk: Desk) -> None:
        with ThreadPoolExecutor(8) as pool:
            wrote = list(pool.map(lambda _: desk.create(), range(16)))
        assert [one.outcome for one in wrote].count(Outcome.DONE) == 1
        assert {one.outcome for one in wrote} == GOOD
        assert len(desk.live()) == 1

    # ---- update

    def test_an_update_changes_its_fields_and_nothing_else(self, desk: Desk) -> None:
        event = desk.book(SOON)
        before = desk.version(event)
        wrote = desk.update(event, LATER)
        assert wrote.outcome is Outcome.DONE
        assert said(wrote.event) == desk.says(event) == {**VIEWING, "location": "", **LATER}
        assert wrote.event
        assert wrote.event.etag == desk.version(event) != before

    def test_an_event_becomes_one_of_whole_days_and_back(self, desk: Desk) -> None:
        event = desk.made().id
        days: Fields = {"start": "2026-11-24", "end": "2026-11-26", "all_day": True}
        assert desk.update(event, days).outcome is Outcome.DONE
        assert desk.says(event) == {**VIEWING, **days}
        assert desk.update(event, LATER).outcome is Outcome.DONE
        assert desk.says(event) == {**VIEWING, **LATER}

    def test_an_event_that_says_so_already_is_not_written(self, desk: Desk) -> None:
        event = desk.made().id
        writes = desk.writes()
        assert desk.update(event, VIEWING).outcome is Outcome.ALREADY
        assert desk.update(event, VIEWING, version="of yesterday").outcome is Outcome.ALREADY
        assert desk.writes() == writes

    @pytest.mark.parametrize("version", ["", "of yesterday", None])
    def test_a_version_that_is_not_the_current_one_keeps_the_persons_edit(
        self, desk: Desk, version: str | None
    ) -> None:
        event = desk.made()
        desk.retitle(event.id, "Second viewing")
        before = desk.everything()
        wrote = desk.update(event.id, LATER, version=event.etag if version is None else version)
        assert (wrote.outcome, said(wrote.event)["title"]) == (Outcome.CONFLICT, "Second viewing")
        assert desk.everything() == before

    def test_an_edit_between_reading_and_writing_is_kept(self, desk: Desk) -> None:
        event = desk.made()
        desk.meanwhile(lambda: desk.retitle(event.id, "Second viewing"))
        wrote = desk.update(event.id, LATER)
        assert (wrote.outcome, said(wrote.event)["title"]) == (Outcome.CONFLICT, "Second viewing")
        assert desk.says(event.id) == {**VIEWING, "title": "Second viewing"}

    def test_an_edit_that_says_just_what_we_wanted_is_no_conflict(self, desk: Desk) -> None:
        event = desk.made()
        desk.meanwhile(lambda: desk.retitle(event.id, "Second viewing"))
        assert desk.update(event.id, {"title": "Second viewing"}).outcome is Outcome.ALREADY

    def test_an_update_that_is_carried_out_and_never_answered_is_done_once(self, desk: Desk) -> None:
        event = desk.made().id
        writes = desk.writes()
        desk.lose(carried_out=True)
        assert desk.update(event, LATER).outcome is Outcome.DONE
        assert desk.writes() == writes + 1
        assert desk.says(event) == {**VIEWING, **LATER}

    def test_an_update_that_was_lost_on_its_way_is_unknown_and_not_repeated(self, desk: Desk) -> None:
        event = desk.made().id
        writes, before = desk.writes(), desk.everything()
        desk.lose(carried_out=False)
        assert desk.update(event, LATER).outcome is Outcome.UNKNOWN
        assert desk.writes() == writes + 1
        assert desk.everything() == before

    def test_an_update_that_cannot_be_looked_up_is_unknown(self, desk: Desk) -> None:
        event = desk.made().id
        desk.lose(carried_out=True, meanwhile=desk.lose_reads)
        assert desk.update(event, LATER).outcome is Outcome.UNKNOWN

    def test_an_event_that_is_gone_is_not_brought_back(self, desk: Desk) -> None:
        event = desk.made()
        desk.remove(event.id)
        before = desk.everything()
        for gone in (event.id, desk.unseen()):
            assert desk.update(gone, LATER, version=event.etag).outcome is Outcome.CONFLICT
        assert desk.everything() == before

    def test_an_event_that_goes_while_it_is_written_is_not_brought_back(self, desk: Desk) -> None:
        event = desk.made()
        desk.meanwhile(lambda: desk.remove(event.id))
        assert desk.update(event.id, LATER).outcome is Outcome.CONFLICT
        assert not desk.live()

    # ---- cancel

    def test_a_cancelled_event_is_gone_and_says_so(self, desk: Desk) -> None:
        event = desk.made()
        wrote = desk.cancel(event.id)
        assert wrote.outcome is Outcome.DONE
        assert wrote.event
        assert wrote.event.absence is Absence.CANCELLED
        assert not desk.live()
        found = desk.writer.find(desk.calendar, event.id)
        assert isinstance(found, Tombstone)
        assert found.absence.is_evidence
        claimed = Tombstone(desk.claim().id(), found.absence) if desk.ids_are_ours else None
        assert desk.writer.find(desk.calendar, desk.claim()) == claimed

    def test_cancelling_again_is_nothing_to_do(self, desk: Desk) -> None:
        event = desk.made()
        desk.cancel(event.id)
        writes = desk.writes()
        assert desk.cancel(event.id, event.etag).outcome is Outcome.ALREADY
        assert desk.writes() == writes

    def test_an_event_that_others_cancel_first_is_nothing_to_do(self, desk: Desk) -> None:
        event = desk.made()
        desk.meanwhile(lambda: desk.remove(event.id))
        assert desk.cancel(event.id).outcome is Outcome.ALREADY

    def test_an_event_that_a_person_edited_is_not_cancelled(self, desk: Desk) -> None:
        event = desk.made()
        desk.retitle(event.id, "Second viewing")
        assert desk.cancel(event.id, event.etag).outcome is Outcome.CONFLICT
        assert desk.cancel(event.id, "").outcome is Outcome.CONFLICT
        desk.meanwhile(lambda: desk.retitle(event.id, "Third viewing"))
        assert desk.cancel(event.id).outcome is Outcome.CONFLICT
        assert desk.live() == [event.id]

    def test_an_event_that_is_not_shown_is_no_event_that_was_cancelled(self, desk: Desk) -> None:
        wrote = desk.writer.cancel(desk.calendar, desk.unseen(), version="1")
        assert wrote.outcome is Outcome.CONFLICT
        assert desk.writes() == 0

    @pytest.mark.parametrize("carried_out", [True, False])
    def test_a_cancel_that_is_never_answered_is_looked_up(self, desk: Desk, *, carried_out: bool) -> None:
        event = desk.made()
        writes = desk.writes()
        desk.lose(carried_out=carried_out)
        wrote = desk.cancel(event.id)
        assert wrote.outcome is (Outcome.DONE if carried_out else Outcome.UNKNOWN)
        assert desk.live() == ([] if carried_out else [event.id])
        assert desk.writes() == writes + 1

    # ---- what is nobody's to write but its people's

    @pytest.mark.parametrize("kind", UNTOUCHABLE, ids=lambda kind: kind.name)
    def test_series_and_what_others_own_or_attend_is_never_touched(self, desk: Desk, kind: Untouchable) -> None:
        event = kind.put(desk)
        version = "1" if "/" in event else desk.version(event)
        before = desk.everything()
        for wrote in (desk.update(event, LATER, version), desk.cancel(event, version)):
            assert wrote.outcome is Outcome.FAILED
        assert desk.writes() == 0
        assert desk.everything() == before

    @pytest.mark.parametrize(
        "fields",
        [
            {"contact": (CLIENT,)},
            {**VIEWING, "contact": (CLIENT,)},
            {**VIEWING, "participants": ("bob@acme.example",)},
            {**VIEWING, "agent": "bob@acme.example"},
            {**VIEWING, "status": "cancelled"},
            {**VIEWING, "end": "2026-11-24T14:00:00Z"},
            {**VIEWING, "start": "2026-11-24"},
        ],
    )
    def test_people_owners_and_nonsense_are_not_written(self, desk: Desk, fields: Fields) -> None:
        event = desk.book(SOON)
        before = desk.everything()
        assert desk.create(fields).outcome is Outcome.FAILED
        assert desk.update(event, fields).outcome is Outcome.FAILED
        assert desk.writes() == 0
        assert desk.everything() == before

    # ---- what a provider may not want

    def test_a_calendar_that_is_read_only_for_hours_is_left_alone_and_read(self, desk: Desk) -> None:
        event = desk.made()
        desk.tire()
        writes = desk.writes()
        assert desk.update(event.id, LATER).outcome is Outcome.FAILED
        assert desk.writes() == writes + 1
        assert [desk.create(crm_id="18").outcome, desk.cancel(event.id).outcome] == [Outcome.DEFERRED] * 2
        assert desk.writes() == writes + 1
        assert desk.writer.find(desk.calendar, event.id) == event

    def test_one_tired_calendar_does_not_stop_another_and_recovers(self, desk: Desk) -> None:
        event = desk.made()
        desk.tire()
        desk.update(event.id, LATER)
        other = desk.writer.create(desk.colleague, claim("acme", desk.colleague, "17"), VIEWING)
        assert other.outcome is Outcome.DONE
        desk.heal()
        desk.wait(timedelta(days=1))
        assert desk.update(event.id, LATER).outcome is Outcome.DONE

    def test_what_does_not_fit_into_the_budget_is_deferred(self, desk: Desk) -> None:
        event = desk.made()
        before = desk.everything()
        desk.slow_down()
        outcomes = {
            desk.create(crm_id="18").outcome,
            desk.update(event.id, LATER).outcome,
            desk.cancel(event.id).outcome,
        }
        assert outcomes == {Outcome.DEFERRED}
        assert desk.everything() == before

    def test_a_calendar_out_of_reach_is_written_nothing_and_said_nothing_of(self, desk: Desk) -> None:
        event = desk.made()
        before = desk.everything()
        desk.shut()
        for wrote in (
            desk.create(crm_id="18"),
            desk.update(event.id, LATER, event.etag),
            desk.cancel(event.id, event.etag),
        ):
            assert wrote.outcome in {Outcome.FAILED, Outcome.CONFLICT}
        assert desk.everything() == before

    # ---- find

    def test_what_is_not_there_is_no_evidence(self, desk: Desk) -> None:
        assert desk.writer.find(desk.calendar, desk.unseen()) is None
        assert desk.writer.find(desk.calendar, desk.claim()) is None

    def test_an_event_of_the_agents_is_found_by_its_id_and_by_no_claim(self, desk: Desk) -> None:
        event = desk.book(SOON)
        found = desk.writer.find(desk.calendar, event)
        assert isinstance(found, Event)
        assert (found.id, found.span.start) == (event, SOON)
        assert desk.writer.find(desk.calendar, desk.claim()) is None


# ---- Google ---------------------------------------------------------------------------------------------------------

ANN = Agent(email="ann@acme.example", timezone="America/Chicago")
BOB = Agent(email="bob@acme.example")
WRITING = "POST PUT PATCH DELETE"


@dataclass(frozen=True)
class Sent:
    """A write as it left for Google."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: dict[str, object]


class Tap(Wire):
    """A real connection, and what was sent through it to be written."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[Sent] = []

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, seconds: float = math.inf
    ) -> Answer:
        if method != "GET":
            self.sent.append(Sent(method, url, headers, orjson.loads(body or b"{}")))
        return super().send(method, url, headers, body, seconds=seconds)


class Badges:
    """Tokens that open what they must and nothing else: reading for reads, writing for writes."""

    shared = False

    def __init__(self, server: GoogleSimulator) -> None:
        self._server = server

    def token(self, agent: str, *, write: bool = False, patience: Callable[[], float] = forever) -> str:
        return self._server.token(agent, [WRITE if write else READ])

    def forget(self, agent: str, stale: str, *, write: bool = False) -> bool:
        return False


class GoogleDesk(Desk):
    """The stand-in Google over HTTP, through Google's own client and the budget, by a clock of the test's own."""

    def __init__(self, server: GoogleSimulator, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self.wire = Tap()
        self.calendar, self.colleague = (Calendar(source="google", kind="google", agent=agent) for agent in (ANN, BOB))
        self.ann = server.calendar(ANN.email, "America/Chicago")
        server.calendar(BOB.email)
        quota = Quota("google", budget_for("google", None), None, clock=clock.seconds, sleep=clock.sleep)
        google = WritableGoogleCalendar(server.url, Badges(server), quota, self.wire, clock=clock.seconds)
        self.writer = Witness(GoogleWriter(google, patience=lambda: 300.0, clock=clock.seconds))

    def item(self, start: datetime, **more: object) -> dict[str, object]:
        times = {"start": start, "end": start + timedelta(hours=1)}
        zoned = {name: {"dateTime": rfc3339(at), "timeZone": "America/Chicago"} for name, at in times.items()}
        return {"summary": "Viewing", **zoned, **more}

    def book(self, start: datetime, *, title: str = "Viewing", guests: tuple[str, ...] = ()) -> str:
        event = str(self.ann.insert(self.item(start, summary=title))["id"])
        if guests:
            self.ann.invite(event, *guests)
        return event

    def repeat(self, start: datetime) -> tuple[str, str]:
        event = str(self.ann.insert(self.item(start, recurrence=["RRULE:FREQ=WEEKLY"]))["id"])
        return event, f"{event}/{start + timedelta(days=7):%Y%m%dT%H%M%SZ}"

    def receive(self, start: datetime) -> str:
        stranger = self.server.calendar("eve@elsewhere.example")
        event = str(stranger.insert(self.item(start))["id"])
        stranger.invite(event, ANN.email)
        return event

    def retitle(self, event: str, title: str) -> None:
        self.ann.patch(event, {"summary": title})

    def remove(self, event: str) -> None:
        self.ann.delete(event)

    def unseen(self) -> str:
        return "neverwasthere"

    def version(self, event: str) -> str:
        return str(self.ann.get(event)["etag"])

    def says(self, event: str) -> Fields:
        item = self.ann.get(event)
        all_day = "date" in item["start"]
        start, end = (
            item[name]["date"] if all_day else rfc3339(datetime.fromisoformat(item[name]["dateTime"]))
            for name in ("start", "end")
        )
        words = {"title": item.get("summary", ""), "location": item.get("location", ""), "status": item["status"]}
        return {"start": start, "end": end, "all_day": all_day, **words}

    def live(self) -> list[str]:
        return [name for name, row in self.ann.rows.items() if not row.cancelled]

    def everything(self) -> object:
        kept = {calendar.id: calendar.rows for calendar in self.server.world.calendars.values()}
        return copy.deepcopy({name: {event: row.event for event, row in rows.items()} for name, rows in kept.items()})

    def writes(self) -> int:
        return sum(entry.method != "GET" for entry in self.server.requests())

    def told(self) -> list[str]:
        asked = [sent.url for sent in self.wire.sent if parse_qs(urlsplit(sent.url).query)["sendUpdates"] != ["none"]]
        return [*asked, *(event for _, event in self.server.world.mails)]

    def lose(self, *, carried_out: bool, times: int = 1, meanwhile: Callable[[], object] | None = None) -> None:
        harm = Harm.DROP_AFTER if carried_out else Harm.DROP_BEFORE
        self.server.faults.add(Fault(method=WRITING, what=harm, times=times, meanwhile=meanwhile))

    def lose_reads(self) -> None:
        self.server.faults.add(Fault(method="GET", what=Harm.DROP_BEFORE))

    def meanwhile(self, act: Callable[[], object]) -> None:
        self.server.faults.add(Fault(method=WRITING, what=Harm.NONE, times=1, meanwhile=act))

    def tire(self) -> None:
        self.server.faults.add(Fault(method=WRITING, agent=ANN.email, status=403, reason="quotaExceeded"))

    def slow_down(self) -> None:
        self.server.faults.add(Fault(status=429, reason="rateLimitExceeded", retry_after=3600))

    def shut(self) -> None:
        self.ann.revoke()

    def heal(self) -> None:
        self.server.faults.clear()
        self.ann.restore()

    def wait(self, how_long: timedelta) -> None:
        self.clock.sleep(how_long.total_seconds())


class Clock:
    """A clock that stands still until somebody sleeps by it."""

    def __init__(self) -> None:
        self.at = datetime(2026, 11, 22, 12, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def seconds(self) -> float:
        return self.at.timestamp()

    def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


@contextmanager
def google_desk() -> Iterator[GoogleDesk]:
    """Open a desk; in the end all that was sent must be what Google's own description of its API allows."""
    clock = Clock()
    with GoogleSimulator(clock=clock.now, wait=clock.sleep) as server:
        desk = GoogleDesk(server, clock)
        yield desk
        desk.wire.close()
    for sent in desk.wire.sent:
        check("Event", sent.body)


class TestGoogle(CalendarWriterContract):
    @pytest.fixture
    def bare_desk(self) -> Iterator[Desk]:
        with google_desk() as desk:
            yield desk


# ---- Microsoft ------------------------------------------------------------------------------------------------------

MEETING = {"subject": "Viewing", "location": {"displayName": ""}}


class GraphDesk(Desk):
    """The stand-in Graph over HTTP, through O365's own connection and the budget, by a clock of the test's own."""

    ids_are_ours = False

    def __init__(self, server: GraphSimulator, clock: Clock) -> None:
        self.server = server
        self.clock = clock
        self.calendar, self.colleague = (
            Calendar(source="microsoft", kind="microsoft", agent=agent) for agent in (ANN, BOB)
        )
        self.ann = server.mailbox(ANN.email, "America/Chicago")
        server.mailbox(BOB.email)
        account = GraphAccount(("app", "secret"), TENANT, server.url)
        account.tokens = StaticTokens(server.token(hours=10_000))
        quota = Quota("microsoft", budget_for("microsoft", None), None, clock=clock.seconds, sleep=clock.sleep)
        self.graph = WritableGraph(account, quota, clock=clock.seconds, at_once=4)
        self.writer = Witness(MicrosoftWriter(self.graph, patience=lambda: 300.0, clock=clock.seconds))

    def item(self, start: datetime, **more: object) -> dict[str, Any]:
        return {**MEETING, "start": graph_time(start), "end": graph_time(start + timedelta(hours=1)), **more}

    def book(self, start: datetime, *, title: str = "Viewing", guests: tuple[str, ...] = ()) -> str:
        attendees = [{"emailAddress": {"address": guest}, "type": "required"} for guest in guests]
        return str(self.ann.insert(self.item(start, subject=title, attendees=attendees))["id"])

    def repeat(self, start: datetime) -> tuple[str, str]:
        pattern = {"type": "weekly", "interval": 1, "daysOfWeek": [f"{start:%A}".lower()]}
        bounds = {"type": "noEnd", "startDate": f"{start:%Y-%m-%d}"}
        event = str(self.ann.insert(self.item(start, recurrence={"pattern": pattern, "range": bounds}))["id"])
        return event, f"{event}/{start + timedelta(days=7):%Y%m%dT%H%M%SZ}"

    def receive(self, start: datetime) -> str:
        stranger = self.server.mailbox("eve@elsewhere.example")
        stranger.insert(self.item(start, attendees=[{"emailAddress": {"address": ANN.email}, "type": "required"}]))
        (copy_of_it,) = self.live()
        return copy_of_it

    def retitle(self, event: str, title: str) -> None:
        self.ann.patch(event, {"subject": title})

    def remove(self, event: str) -> None:
        self.ann.delete(event)

    def unseen(self) -> str:
        # Of an id that never was Graph says the same as of one that is gone. This is an answer that says neither.
        self.server.faults.add(Fault(path="/events/unseen", status=404, reason="NotFound"))
        return "unseen"

    def version(self, event: str) -> str:
        return "1" if event == "unseen" else f'W/"{self.ann.get(event)["changeKey"]}"'

    def says(self, event: str) -> Fields:
        item = self.ann.get(event)
        length, zone = (10, "") if item["isAllDay"] else (19, "Z")
        start, end = (item[name]["dateTime"][:length] + zone for name in ("start", "end"))
        status = "tentative" if item["showAs"] == "tentative" else "confirmed"
        words = {"title": item["subject"], "location": item["location"]["displayName"], "status": status}
        return {"start": start, "end": end, "all_day": item["isAllDay"], **words}

    def live(self) -> list[str]:
        return [str(event["id"]) for event in self.ann.events()]

    def everything(self) -> object:
        boxes = self.server.world.mailboxes
        return copy.deepcopy(
            {name: [(row.event, row.gone) for row in box.rows.values()] for name, box in boxes.items()}
        )

    def writes(self) -> int:
        return sum(entry.method != "GET" for entry in self.server.requests())

    def told(self) -> list[str]:
        return [event for _, event in self.server.world.mails]

    def lose(self, *, carried_out: bool, times: int = 1, meanwhile: Callable[[], object] | None = None) -> None:
        harm = Harm.DROP_AFTER if carried_out else Harm.DROP_BEFORE
        self.server.faults.add(Fault(method=WRITING, what=harm, times=times, meanwhile=meanwhile))

    def lose_reads(self) -> None:
        self.server.faults.add(Fault(method="GET", what=Harm.DROP_BEFORE))

    def meanwhile(self, act: Callable[[], object]) -> None:
        self.server.faults.add(Fault(method=WRITING, what=Harm.NONE, times=1, meanwhile=act))

    def tire(self) -> None:
        self.server.faults.add(Fault(method=WRITING, agent=ANN.email, status=507, reason="ErrorQuotaExceeded"))

    def slow_down(self) -> None:
        self.server.faults.add(Fault(status=429, reason="TooManyRequests", retry_after=3600))

    def shut(self) -> None:
        self.ann.revoke()

    def heal(self) -> None:
        self.server.faults.clear()
        self.ann.restore()

    def wait(self, how_long: timedelta) -> None:
        self.clock.sleep(how_long.total_seconds())


def graph_time(moment: datetime) -> dict[str, str]:
    return {"dateTime": f"{moment:%Y-%m-%dT%H:%M:%S}.0000000", "timeZone": "UTC"}


@contextmanager
def graph_desk() -> Iterator[GraphDesk]:
    clock = Clock()
    with GraphSimulator(clock=clock.now, wait=clock.sleep) as server:
        desk = GraphDesk(server, clock)
        yield desk
        desk.graph.close()


class TestMicrosoft(CalendarWriterContract):
    @pytest.fixture
    def bare_desk(self) -> Iterator[Desk]:
        with graph_desk() as desk:
            yield desk
