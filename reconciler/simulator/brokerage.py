"""The sample brokerage: what stands in its calendars and its CRM, before and after people have edited both.

Pure: the same moment makes the same brokerage. What the edits should be found as is listed beside them (`expected`).
"""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from reconciler.model import Kind
from reconciler.normalise import occurrence_key
from reconciler.simulator.graph_resources import uid_made

DOMAIN: Final = "acme.example"


@dataclass(frozen=True, slots=True)
class Person:
    """An agent: the zone they live in and the program their calendar is kept in."""

    name: str
    zone: str
    exporter: str

    @property
    def email(self) -> str:
        """Return the agent's address."""
        return f"{self.name.lower()}@{DOMAIN}"


ANN: Final = Person("Ann", "America/Chicago", "google")
BOB: Final = Person("Bob", "America/New_York", "outlook")
CID: Final = Person("Cid", "America/Denver", "apple")
DEE: Final = Person("Dee", "America/Chicago", "google")
ELI: Final = Person("Eli", "America/Denver", "apple")
FAY: Final = Person("Fay", "America/Los_Angeles", "google")
PEOPLE: Final = (ANN, BOB, CID, DEE, ELI, FAY)


@dataclass(frozen=True, slots=True, kw_only=True)
class Meeting:
    """One entry of a calendar. `start` is aware local time, or a date for all day; `weeks` makes it a weekly series.

    `maker` is whose program gave it its ids, if it was not the agent's own.
    """

    name: str
    agent: Person
    title: str
    start: datetime | date
    lasts: timedelta
    clients: tuple[str, ...] = ()
    colleagues: tuple[str, ...] = ()
    organizer: str | None = None
    maker: Person | None = None
    location: str = ""
    text: str = ""
    status: str = "CONFIRMED"
    answer: str = "ACCEPTED"
    private: bool = False
    busy: bool = True
    weeks: int = 0
    kept: int = 0  # of the weeks, those a cut series still makes
    skipped: tuple[int, ...] = ()
    moved: tuple[tuple[int, timedelta], ...] = ()  # of the weeks, those that are at another time, and how much later
    cut_off: str = ""  # the id that Google makes for what is cut off a series
    modified: datetime
    broken: bool = False

    @property
    def id(self) -> str:
        """Return the provider's id of the event: Google's is the same on all calendars, Graph's a mailbox's own."""
        if self.agent.exporter == "outlook":
            return "AAkALgAA" + base64.urlsafe_b64encode(bytes.fromhex(self._digest)[:30]).decode()
        return self._google_id

    @property
    def uid(self) -> str:
        """Return the iCalUID, in the style of the program that made it."""
        match (self.maker or self.agent).exporter:
            case "google":
                return f"{self._google_id}@google.com"
            case "outlook":
                return uid_made(self._digest)
            case _:
                return str(uuid.UUID(self._digest[:32])).upper()

    @property
    def _google_id(self) -> str:
        return self.cut_off or self._digest[:26]

    @property
    def _digest(self) -> str:
        maker = self.maker or self.agent
        return hashlib.sha256(f"{maker.name}/{self.name.removesuffix('-copy')}".encode()).hexdigest()

    @property
    def home(self) -> str:
        """Return the address of its organizer: what is changed there is changed on all calendars."""
        return self.organizer or self.agent.email

    @property
    def starts(self) -> tuple[datetime | date, ...]:
        """Return the start of each occurrence, by the clock on the wall."""
        return tuple(self.start + timedelta(weeks=week) for week in range(max(self.weeks, 1)))

    def key(self, start: datetime | date) -> str:
        """Return the source key that the CRM knows the occurrence at `start` by."""
        return occurrence_key(self.uid, start) if self.weeks else self.uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of the CRM's table `appointments`; times are naive UTC, or bare dates for all day."""

    id: int
    source_key: str | None
    agent_email: str
    contact_email: str | None
    title: str
    starts_at: str
    ends_at: str
    all_day: int = 0
    location: str = ""
    status: str = "scheduled"
    version: int = 1
    updated_at: str = ""
    origin: str = "webhook"
    notes: str = ""


@dataclass(frozen=True, slots=True)
class Expected:
    """A finding that a run has to report: its kind, whose it is, and the record or event it is about."""

    kind: Kind
    agent: str
    about: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Brokerage:
    """Both sides at one moment. `torn` are agents whose calendar file is cut short, `gone` those without an account."""

    meetings: Mapping[str, Meeting]
    rows: Mapping[int, Row]
    torn: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()
    expected: tuple[Expected, ...] = field(default=())

    def of(self, person: Person) -> list[Meeting]:
        """Return what stands in one agent's calendar."""
        return [meeting for meeting in self.meetings.values() if meeting.agent == person]

    def row(self, name: str, week: int = 0) -> Row:
        """Return the row of a meeting, or of one occurrence of it."""
        meeting = self.meetings[name]
        key = meeting.key(meeting.starts[week])
        return next(row for row in self.rows.values() if row.source_key == key)


def stored(moment: datetime | date) -> str:
    """Spell a time as the CRM keeps it."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S}" if isinstance(moment, datetime) else moment.isoformat()


# ---- a quiet day: both sides agree -----------------------------------------------------------------------------------

SATURDAY: Final = 5
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
CLIENTS: Final = (
    *("mia@oakhill.example", "noah@riverbend.example", "olga@pinecrest.example", "paul@lakeview.example"),
    *("quinn@maplewood.example", "rosa@sunnyside.example", "sam@hilltop.example", "tess@greenfield.example"),
)
STREETS: Final = ("12 Oak Lane", "7 River Road", "88 Pine Court", "3 Lake Drive", "41 Maple Street", "9 Sunny Way")


class _Diary:
    """Dates that fit any day the demo is run on: working days after today, in each agent's own zone."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.written = now - timedelta(days=3)

    def day(self, number: int) -> date:
        """Return the `number`-th working day after today."""
        day = self.now.astimezone(ZoneInfo("America/Chicago")).date()
        while number:
            day += DAY
            number -= day.weekday() < SATURDAY
        return day

    def at(self, person: Person, number: int, hour: int, minute: int = 0) -> datetime:
        """Return a time on the `number`-th working day, by the agent's clock."""
        return datetime.combine(self.day(number), time(hour, minute), ZoneInfo(person.zone))


def agreed(now: datetime) -> Brokerage:
    """Return the brokerage while both sides agree on everything, with strangers' rows beside it."""
    diary = _Diary(now)
    meetings = {meeting.name: meeting for meeting in (*_appointments(diary), *_everyday_life(diary))}
    rows = [*_rows_of(meetings.values(), diary), *_strangers(diary)]
    numbered = {number: replace(row, id=number) for number, row in enumerate(rows, 101)}
    return Brokerage(meetings=meetings, rows=numbered)


def _appointments(diary: _Diary) -> Iterator[Meeting]:
    """Yield what belongs in a CRM: meetings with clients."""
    for person, names in _NAMES.items():
        for number, (name, title) in enumerate(names.items()):
            yield Meeting(
                name=name,
                agent=person,
                title=title,
                start=diary.at(person, 1 + number, 9 + number % 4 * 2),
                lasts=HOUR if number % 3 else HOUR + timedelta(minutes=30),
                clients=(CLIENTS[(number + len(person.zone)) % len(CLIENTS)],),
                location=STREETS[number % len(STREETS)],
                modified=diary.written - timedelta(minutes=number),
            )
    yield from _unusual(diary)


_NAMES: Final[Mapping[Person, Mapping[str, str]]] = {
    ANN: {
        "moved": "Showing: 12 Oak Lane",
        "renamed": "Listing talk",
        "cancelled": "Closing with the Riveras",
        "owner": "Inspection, 3 Lake Drive",
        "no-contact": "Offer review",
        "handed-over": "Second showing",
        "ann-1": "Buyer consultation",
        "ann-2": "Price talk, 88 Pine Court",
        "ann-3": "Key handover",
        "ann-4": "Walk-through before closing",
    },
    BOB: {
        "shift-1": "Showing: 7 River Road",
        "shift-2": "Showing: 41 Maple Street",
        "shift-3": "Showing: 9 Sunny Way",
        "other-contact": "Listing appointment",
        "both-moved": "Contract signing",
        "bob-1": "Appraisal",
        "bob-2": "Meet the sellers; coffee, then the house",
        "bob-3": "Neighbourhood tour",
    },
    CID: {
        "deleted": "Loan meeting",
        "called-off": "Showing: 88 Pine Court",
        "twice": "Photo session, 3 Lake Drive",
        "cid-1": "Home inspection with Señora Díaz, roof & cellar",
        "cid-2": "Negotiation",
        "cid-3": "Final walk-through",
        "vanished": "Third showing",
    },
    DEE: {"dee-1": "First call", "dee-2": "Showing: 12 Oak Lane", "dee-3": "Offer review", "dee-4": "Signing"},
    ELI: {"eli-1": "First call", "eli-2": "Showing: 7 River Road", "eli-3": "Offer review", "eli-4": "Signing"},
    FAY: {"fay-1": "Portfolio review", "fay-2": "Showing: 3 Lake Drive", "fay-3": "Key handover"},
}


def _unusual(diary: _Diary) -> Iterator[Meeting]:
    """Yield series, all-day, private, shared and tentative appointments, one by invitation, and two that clash."""
    made = diary.written
    yield Meeting(
        name="weekly",
        agent=ANN,
        title="Weekly review with Mia",
        start=diary.at(ANN, 2, 16),
        lasts=timedelta(minutes=45),
        clients=(CLIENTS[0],),
        weeks=6,
        kept=6,
        modified=made,
    )
    yield Meeting(
        name="cut",
        agent=CID,
        title="Construction walk-through",
        start=diary.at(CID, 3, 8),
        lasts=HOUR,
        clients=(CLIENTS[5],),
        weeks=6,
        kept=6,
        modified=made,
    )
    yield Meeting(
        name="course",
        agent=ANN,
        title="First-time buyers' evening",
        start=diary.at(ANN, 3, 18),
        lasts=HOUR,
        clients=(CLIENTS[4],),
        weeks=5,
        kept=5,
        modified=made,
    )
    yield Meeting(
        name="rounds",
        agent=BOB,
        title="Viewing round with Olga",
        start=diary.at(BOB, 3, 17),
        lasts=HOUR,
        clients=(CLIENTS[2],),
        weeks=5,
        kept=5,
        modified=made,
    )
    yield Meeting(
        name="open-house",
        agent=BOB,
        title="Open house with the owner",
        start=diary.day(9),
        lasts=DAY,
        clients=(CLIENTS[2],),
        location=STREETS[1],
        modified=made,
    )
    yield Meeting(
        name="private",
        agent=ANN,
        title="Nobody's business",
        start=diary.at(ANN, 12, 17),
        lasts=HOUR,
        clients=(CLIENTS[3],),
        private=True,
        modified=made,
    )
    yield Meeting(
        name="shared",
        agent=ANN,
        title="Two agents, one buyer",
        start=diary.at(ANN, 13, 10),
        lasts=HOUR,
        clients=(CLIENTS[1],),
        colleagues=(CID.email,),
        modified=made,
    )
    yield Meeting(
        name="shared-copy",
        agent=CID,
        title="Two agents, one buyer",
        start=diary.at(ANN, 13, 10),
        lasts=HOUR,
        clients=(CLIENTS[1],),
        colleagues=(ANN.email,),
        organizer=ANN.email,
        maker=ANN,
        modified=made,
    )
    yield Meeting(
        name="invited",
        agent=ANN,
        title="Sam's mortgage talk",
        start=diary.at(ANN, 14, 9),
        lasts=HOUR,
        clients=(CLIENTS[6],),
        organizer=CLIENTS[6],
        modified=made,
    )
    yield from _between_two(diary)
    yield Meeting(
        name="tentative",
        agent=CID,
        title="Maybe: second offer",
        start=diary.at(CID, 14, 15),
        lasts=HOUR,
        clients=(CLIENTS[6],),
        status="TENTATIVE",
        modified=made,
    )
    clash = diary.at(BOB, 15, 11)
    for name, start in (("clash-1", clash), ("clash-2", clash + timedelta(minutes=30))):
        title = "Showing: 41 Maple Street" if name == "clash-1" else "Listing talk, 9 Sunny Way"
        guest = CLIENTS[4] if name == "clash-1" else CLIENTS[7]
        yield Meeting(name=name, agent=BOB, title=title, start=start, lasts=HOUR, clients=(guest,), modified=made)


def _between_two(diary: _Diary) -> Iterator[Meeting]:
    """Yield meetings of Ann's and the copies of them in Dee's and Bob's calendars: one appointment each."""
    for name, other, title, day in (
        ("both-sell", DEE, "Ann and Dee meet the sellers", 15),
        ("both-buy", BOB, "Ann and Bob meet the buyers", 16),
    ):
        own = Meeting(
            name=name,
            agent=ANN,
            title=title,
            start=diary.at(ANN, day, 13),
            lasts=HOUR,
            clients=(CLIENTS[7],),
            colleagues=(other.email,),
            modified=diary.written,
        )
        invited = replace(own, agent=other, maker=ANN, organizer=ANN.email, colleagues=(ANN.email,))
        yield from (own, replace(invited, name=f"{name}-copy"))


def _everyday_life(diary: _Diary) -> Iterator[Meeting]:
    """Yield what a calendar holds too and no CRM should: lunches, days off, invitations that were declined."""
    made = diary.written
    for person in (ANN, BOB, CID):
        lunch = f"lunch-{person.name}"
        start = diary.at(person, 4, 12)
        yield Meeting(name=lunch, agent=person, title="Lunch", start=start, lasts=HOUR, modified=made)
    yield Meeting(
        name="team",
        agent=BOB,
        title="Team meeting",
        start=diary.at(BOB, 6, 8),
        lasts=HOUR,
        colleagues=(ANN.email,),
        modified=made,
    )
    yield Meeting(
        name="declined",
        agent=CID,
        title="Vendor demo",
        start=diary.at(CID, 7, 13),
        lasts=HOUR,
        organizer="sales@vendor.example",
        answer="DECLINED",
        modified=made,
    )
    yield Meeting(
        name="day-off", agent=ANN, title="Day off", start=diary.day(20), lasts=2 * DAY, busy=False, modified=made
    )
    yield Meeting(
        name="old-cancel",
        agent=ANN,
        title="Called off long ago",
        start=diary.at(ANN, 11, 8),
        lasts=HOUR,
        clients=(CLIENTS[2],),
        status="CANCELLED",
        modified=made,
    )


_COPIES: Final = ("shared-copy", "both-sell-copy", "both-buy-copy")
_NO_ROW: Final = (*_COPIES, "lunch-", "team", "declined", "day-off", "old-cancel")


def _rows_of(meetings: Iterable[Meeting], diary: _Diary) -> Iterator[Row]:
    """Yield the row of each appointment, as the webhooks wrote it."""
    for meeting in meetings:
        if not meeting.name.startswith(_NO_ROW):
            for start in meeting.starts:
                yield row_of(meeting, start, diary.written)


def row_of(meeting: Meeting, start: datetime | date, written: datetime) -> Row:
    """Return the row that says what a meeting says."""
    return Row(
        id=0,
        source_key=meeting.key(start),
        agent_email=meeting.agent.email,
        contact_email=meeting.clients[0] if meeting.clients and not meeting.private else None,
        title="Busy" if meeting.private else meeting.title,
        starts_at=stored(start),
        ends_at=stored(_end(start, meeting.lasts)),
        all_day=int(not isinstance(start, datetime)),
        location=meeting.location,
        updated_at=stored(written),
    )


def _end(start: datetime | date, lasts: timedelta) -> datetime | date:
    return (start.astimezone(UTC) if isinstance(start, datetime) else start) + lasts


def _strangers(diary: _Diary) -> Iterator[Row]:
    """Yield rows that are none of the job's business: another office's, and what is over."""
    for number in range(12):
        start = diary.at(ANN, 1 + number, 14)
        yield Row(
            id=0,
            source_key=f"other-office-{number}" if number % 2 else None,
            agent_email=f"{'zoe' if number % 3 else 'yan'}@northside.example",
            contact_email=CLIENTS[number % len(CLIENTS)],
            title="Northside office: showing",
            starts_at=stored(start),
            ends_at=stored(start.astimezone(UTC) + HOUR),
            updated_at=stored(diary.written),
            origin="import",
            notes="not ours",
        )
    for number in (2, 4):
        past = diary.now.replace(minute=0, second=0) - number * DAY
        yield Row(
            id=0,
            source_key=None,
            agent_email=ANN.email,
            contact_email=CLIENTS[number],
            title="Phone call",
            starts_at=stored(past),
            ends_at=stored(past + HOUR),
            status="completed",
            updated_at=stored(past),
            origin="crm",
            notes="went well",
        )


# ---- and then people work -------------------------------------------------------------------------------------------


def edited(before: Brokerage, now: datetime) -> Brokerage:
    """Return the brokerage after people and webhooks have been at it, and what should be found.

    One export breaks off, and one Google account is gone.
    """
    work = _Work(before, _Diary(now), now - timedelta(minutes=40))
    work.in_calendars()
    work.in_google()
    work.in_outlook()
    work.in_the_crm()
    work.on_both_sides()
    return Brokerage(
        meetings=work.meetings,
        rows=work.rows,
        torn=frozenset({ELI.email}),
        gone=frozenset({FAY.email}),
        expected=tuple(work.expected),
    )


class _Work:
    """Edits on both sides, each noted with the finding that it should become."""

    def __init__(self, before: Brokerage, diary: _Diary, at: datetime) -> None:
        self.before = before
        self.diary = diary
        self.at = at
        self.meetings = dict(before.meetings)
        self.rows = dict(before.rows)
        self.expected: list[Expected] = []

    def in_calendars(self) -> None:
        """Do what agents do in their calendars while the webhooks sleep."""
        moved = self.meetings["moved"]
        self._meeting(
            replace(moved, start=moved.start + timedelta(hours=2, minutes=30)), Kind.RESCHEDULE_NOT_PROPAGATED
        )
        self._meeting(replace(self.meetings["renamed"], title="Listing talk at the office"), Kind.FIELD_DRIFT)
        self._meeting(replace(self.meetings["cancelled"], status="CANCELLED"), Kind.CANCEL_NOT_PROPAGATED)
        self._meeting(replace(self.meetings["cut"], kept=4))
        for week in (4, 5):
            self._expect(Kind.STALE_SERIES, CID, self.before.row("cut", week).id)
        self._expect(Kind.ORPHAN_IN_CRM, CID, self.before.row("vanished").id)
        del self.meetings["vanished"]
        self._new("buyer", ANN, "New buyer: [red]first[/red] talk", self.diary.at(ANN, 5, 8))
        self._new("booked", BOB, "Intro call", self.diary.at(BOB, 6, 15), text=_CALENDLY)
        for name in ("buyer", "booked"):
            self._expect(Kind.MISSING_IN_CRM, self.meetings[name].agent, self._event(name))
        self._new("broken", BOB, "Half an entry", self.diary.at(BOB, 7, 9), broken=True)
        self._expect(Kind.QUARANTINED, BOB, self._event("broken"))
        self._expect(Kind.DOUBLE_BOOKED_AGENT, BOB, self._event("clash-2"))
        self._expect(Kind.COVERAGE_GAP, ELI, "")
        self._expect(Kind.COVERAGE_GAP, FAY, "")

    def in_google(self) -> None:
        """Do to series, guests and secrets what a provider tells in detail and an exported file only in part."""
        weekly = self.meetings["weekly"]
        self._meeting(replace(weekly, skipped=(2,), moved=((4, DAY),)), Kind.CANCEL_NOT_PROPAGATED, week=2)
        self._expect(Kind.RESCHEDULE_NOT_PROPAGATED, ANN, self.before.row("weekly", 4).id)
        private = self.meetings["private"]
        self._meeting(replace(private, start=private.start - HOUR), Kind.RESCHEDULE_NOT_PROPAGATED)
        self._meeting(replace(self.meetings["invited"], status="CANCELLED"), Kind.CANCEL_NOT_PROPAGATED)
        self._meeting(replace(self.meetings["handed-over"], agent=DEE, maker=ANN))
        self._expect(Kind.WRONG_OWNER, DEE, self.before.row("handed-over").id)
        self._cut("course", 3)

    def in_outlook(self) -> None:
        """Do to a series what Graph does not tell: one occurrence is deleted, another one moved to the next day."""
        rounds = self.meetings["rounds"]
        self._meeting(replace(rounds, skipped=(1,), moved=((3, DAY),)), Kind.CANCEL_NOT_PROPAGATED, week=1)
        self._expect(Kind.RESCHEDULE_NOT_PROPAGATED, BOB, self.before.row("rounds", 3).id)

    def _cut(self, name: str, week: int) -> None:
        """Change a series from one week on: Google ends it there and begins another one."""
        old = self.meetings[name]
        start = old.starts[week]
        if not isinstance(start, datetime):
            raise TypeError(name)
        fresh = f"{old.id}_R{start.astimezone(UTC):%Y%m%dT%H%M%S}"
        left = old.weeks - week
        later = replace(old, name=f"{name}-later", start=start, weeks=left, kept=left, cut_off=fresh)
        self._meeting(replace(old, kept=week))
        self._meeting(replace(later, title="Second-time buyers' evening"))
        for each in range(week, old.weeks):
            self._expect(Kind.STALE_SERIES, old.agent, self.before.row(name, each).id)
            self._expect(Kind.STALE_SERIES, old.agent, occurrence_key(fresh, old.starts[each]))

    def in_the_crm(self) -> None:
        """Do what the office does in the CRM, and what a bad import does to it."""
        row = self.before.row
        self._row("owner", replace(row("owner"), agent_email=BOB.email), Kind.WRONG_OWNER)
        self._row("no-contact", replace(row("no-contact"), contact_email=None), Kind.CONTACT_MISSING)
        self._row(
            "other-contact", replace(row("other-contact"), contact_email="uma@elsewhere.example"), Kind.WRONG_CONTACT
        )
        self._row("called-off", replace(row("called-off"), status="cancelled"), Kind.FALSE_CANCEL)
        self._row(
            "open-house",
            replace(row("open-house"), ends_at=(self.diary.day(9) + 2 * DAY).isoformat()),
            Kind.ALL_DAY_OFF_BY_ONE,
        )
        for name in ("shift-1", "shift-2", "shift-3"):
            self._shift(name, HOUR)
        self._expect(Kind.TZ_SHIFT, BOB, "")
        gone = self.before.row("deleted")
        del self.rows[gone.id]
        self._expect(Kind.REMOVED_BY_HAND, CID, self.meetings["deleted"].uid)
        start = self.diary.at(CID, 9, 14)
        typed = replace(gone, title="Typed in by the office", starts_at=stored(start), ends_at=stored(start + HOUR))
        self._expect(Kind.MISSING_IN_CALENDAR, CID, self._insert(typed))
        self._expect(Kind.DUPLICATE_IN_CRM, CID, self.before.row("twice").id)
        again = self._insert(self.before.row("twice"))
        self._expect(Kind.MISSING_IN_CALENDAR, CID, again)  # no event is left for the second row

    def on_both_sides(self) -> None:
        """Let the two sides meet: an edit of the same time on both, and a booking that was entered by hand as well."""
        both = self.meetings["both-moved"]
        self._meeting(replace(both, start=both.start + 2 * HOUR))
        self._shift("both-moved", -HOUR)
        self._expect(Kind.CONFLICT, BOB, self.before.row("both-moved").id)
        self._new("by-hand", CID, "Showing: 7 River Road", self.diary.at(CID, 10, 9))
        meeting = self.meetings["by-hand"]
        typed = row_of(meeting, meeting.start + timedelta(minutes=3), self.at)
        self._insert(typed)
        self._expect(Kind.AMBIGUOUS, CID, meeting.uid)

    def _event(self, name: str) -> str:
        """Return what a run calls an event."""
        meeting = self.meetings[name]
        return meeting.uid if meeting.agent.exporter == "apple" else meeting.id

    def _expect(self, kind: Kind, person: Person, about: str | int) -> None:
        self.expected.append(Expected(kind, person.email, str(about)))

    def _meeting(self, meeting: Meeting, kind: Kind | None = None, *, week: int = 0) -> None:
        self.meetings[meeting.name] = replace(meeting, modified=self.at)
        if kind is not None:
            self._expect(kind, meeting.agent, self.before.row(meeting.name, week).id)

    def _new(
        self, name: str, person: Person, title: str, start: datetime, *, text: str = "", broken: bool = False
    ) -> None:
        self.meetings[name] = Meeting(
            name=name,
            agent=person,
            title=title,
            start=start,
            lasts=HOUR,
            clients=("viv@newbuyer.example",),
            text=text,
            modified=self.at,
            broken=broken,
        )

    def _row(self, name: str, row: Row, kind: Kind | None = None) -> None:
        self.rows[row.id] = replace(row, version=row.version + 1, updated_at=stored(self.at))
        if kind is not None:
            self._expect(kind, self.before.meetings[name].agent, row.id)

    def _shift(self, name: str, by: timedelta) -> None:
        row = self.before.row(name)
        start, end = (datetime.fromisoformat(f"{at}+00:00") + by for at in (row.starts_at, row.ends_at))
        self._row(name, replace(row, starts_at=stored(start), ends_at=stored(end)))

    def _insert(self, like: Row) -> int:
        number = max(self.rows) + 1
        self.rows[number] = replace(like, id=number, source_key=None, updated_at=stored(self.at), origin="crm")
        return number


_CALENDLY: Final = (
    "Booked by the client. Cancel: https://calendly.com/cancellations/6f1d2c4e-8a35-4f0b-9a77-2f6f0f7a1c55 "
    "Reschedule: https://calendly.com/reschedulings/6f1d2c4e-8a35-4f0b-9a77-2f6f0f7a1c55"
)
