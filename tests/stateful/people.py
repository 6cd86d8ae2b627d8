"""Whatever people, webhooks and providers do to a brokerage: rules of a machine, and what is known of their words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from reconciler.model import Direction
from reconciler.simulator.google import Fault, Harm, Quotas
from reconciler.simulator.google_calendars import Calendar, Row
from reconciler.simulator.google_series import Resource
from tests.e2e.google_world import ANN, BOB, FREELY, later, showing, times
from tests.e2e.world import NOW
from tests.stateful.brokerage import Brokerage, brokerage
from tests.stateful.words import FIELDS, VISIT, Change, Words, local

ZED = "zed@other.example"
TIGHT = 'create = "2"\nupdate = "1"\ncancel = "1"\nagent_cancel = "1"\nday = 2'
PACED = f'{TIGHT}\nover = "pace"'
COMPARE = 'compare = ["start", "end", "all_day", "title", "location", "status", "contact"]'
HOURS = (-30.0, 0.5, 26.0, 49.0, 50.0, 61.0, 24 * 45.0, 24 * 59.9, 24 * 70.0)
BUDGET = 60  # requests a day, of which half are ours
UID = "@google.com"
NAMED = "WHERE id IN (SELECT id FROM named WHERE name = ?)"

numbers = st.integers(0, 4)
visits = st.integers(5, 6)
either = st.integers(0, 6)
hours = st.sampled_from(HOURS)
agents = st.sampled_from([ANN, BOB])
places = st.sampled_from(["Elm 1", "Oak 2"])
statuses = st.sampled_from(["cancelled", "scheduled", "completed"])
HARMS = (
    Fault(what=Harm.EMPTY_PAGE, times=1),
    Fault(status=429, reason="rateLimitExceeded", times=2),
    Fault(status=429, reason="rateLimitExceeded", retry_after=7200),
    Fault(status=410, reason="fullSyncRequired", times=1),
    Fault(what=Harm.DROP_AFTER, times=1),
    Fault(what=Harm.TORN_JSON, times=1),
    Fault(status=503, times=9),
    Fault(agent=BOB, status=403, reason="forbidden"),
)


def moment(end: dict[str, str]) -> str:
    return local(datetime.fromisoformat(end["dateTime"]).astimezone(UTC))


def key(number: int) -> str:
    """Return what an appointment is known by: its key, or, where the CRM had it first, its title."""
    return f"evt{number:02}{UID}" if number < 5 else f"{VISIT}{number}"


def key_of(event: Resource) -> str:
    title: str = event.get("summary", "")
    return title if title.startswith(VISIT) else f"{event['id']}{UID}"


def shown(event: Resource) -> dict[str, Any]:
    """Return what an event says, as the CRM would keep it."""
    return {
        "time": f"{moment(event['start'])}/{moment(event['end'])}",
        "title": event.get("summary", ""),
        "location": event.get("location", ""),
        "status": "cancelled" if event["status"] == "cancelled" else "scheduled",
    }


class People(RuleBasedStateMachine):
    """One brokerage, and all that happens to it. What people said is known from both sides' own diaries."""

    def __init__(self) -> None:
        super().__init__()
        self.stack = ExitStack()
        self.world: Brokerage
        self.words = Words()
        self.strangers: dict[int, tuple[Any, ...]] = {}
        self.by_hand = False
        self.diary: list[Change] = []  # what changed on the calendars' side since anybody looked
        self.forgiven: set[tuple[str, str]] = set()
        self.crowded = False
        self.uneven = False  # no day of this journal can be told from its times

    @initialize(
        limits=st.sampled_from([FREELY, FREELY, TIGHT, PACED]),
        unique=st.booleans(),
        crowd=st.booleans(),
        poor=st.booleans(),
        booked=st.lists(st.tuples(numbers, agents, hours), min_size=2, max_size=6),
        sync=st.sampled_from(Direction),
    )
    def begin(
        self,
        *,
        limits: str,
        unique: bool,
        crowd: bool,
        poor: bool,
        booked: list[tuple[int, str, float]],
        sync: Direction,
    ) -> None:
        budget = f"[budget.google]\nper_day = {BUDGET}\nshare = 0.5\n" if poor else ""
        made = brokerage(agents=(ANN, BOB), limits=limits, policy=COMPARE, unique=unique, budget=budget, sync=sync)
        self.world = self.stack.enter_context(made)
        self.crowded = crowd
        self.stack.enter_context(patch.object(Calendar, "keep", self._noted(Calendar.keep)))
        for number in range(25 if crowd else 0):
            self.meet_stranger(30.0 + number, ZED)
        for each in booked:
            self.book(*each)
        self.pass_time(0.5)

    # ---- who did what

    @contextmanager
    def hand(self) -> Iterator[None]:
        """Do what a person does, or a webhook: what changes meanwhile is somebody's word."""
        self.read_diaries()
        self.by_hand = True
        yield
        self.read_diaries()
        self.by_hand = False
        self.words.compare(self.calendar_side(), self.crm_side())

    def read_diaries(self) -> None:
        """Take note of what changed on both sides since this was last done, and judge what the job did."""
        rows = self.world.sql("SELECT source_key, what, was, is_now FROM trail ORDER BY n")
        self.world.sql("DELETE FROM trail")
        changes, self.diary = [*self.diary, *(Change("crm", *row) for row in rows if row[0])], []
        for change in changes:
            if self.by_hand:
                self.words.somebody(change)
            elif (change.side, change.key) not in self.forgiven:
                assert not (wrong := self.words.overwritten(change)), wrong

    def _noted(self, keep: Callable[..., Row]) -> Callable[..., Row]:
        def noting(calendar: Calendar, event: Resource, *, bare: bool = False) -> Row:
            before = calendar.rows.get(event["id"])
            if before is not None and "start" in before.event:
                was, is_now = shown(before.event), shown(event)
                self.diary += [
                    Change("calendar", key_of(event), name, was[name], is_now[name])
                    for name in FIELDS
                    if was[name] != is_now[name]
                ]
            return keep(calendar, event, bare=bare)

        return noting

    def never_agreed(self) -> set[tuple[str, str]]:
        """Return sides and keys of which the job knows no base, where the other side is newer: `policy.first`."""
        based = {row["crm_id"] for row in self.world.asks("SELECT crm_id FROM links WHERE base IS NOT NULL")}
        rows = self.world.sql("SELECT name, updated_at, id FROM named")
        written = {key: at(stamp) for key, stamp, crm_id in rows if str(crm_id) not in based}
        changed = {key_of(event): datetime.fromisoformat(event["updated"]) for event in self.events().values()}
        both = changed.keys() & written.keys()
        return {("crm" if changed[key] > written[key] else "calendar", key) for key in both}

    # ---- both sides

    def events(self) -> dict[str, Resource]:
        """Return all events by id, where they are alive if they are alive anywhere."""
        rows = [row for agent in (BOB, ANN) for row in self.world.calendar(agent).rows.values()]
        return {row.event["id"]: row.event for row in sorted(rows, key=lambda row: not row.cancelled)}

    def calendar_side(self) -> dict[str, dict[str, Any]]:
        return {key_of(event): shown(event) for event in self.events().values()}

    def crm_side(self) -> dict[str, dict[str, Any]]:
        rows = self.world.sql("SELECT name, starts_at, ends_at, title, location, status FROM named")
        return {
            key: {"time": f"{start}/{end}", "title": title, "location": location or "", "status": status}
            for key, start, end, title, location, status in rows
            if key
        }

    def place(self, number: int) -> tuple[Calendar, str] | None:
        """Return the calendar on which an event is alive, and its id there."""
        for calendar in (self.world.calendar(agent) for agent in (ANN, BOB)):
            for name, row in calendar.rows.items():
                if not row.cancelled and key_of(row.event) == key(number):
                    return calendar, name
        return None

    # ---- in the calendars

    @rule(number=numbers, agent=agents, hour=hours)
    def book(self, number: int, agent: str, hour: float) -> None:
        name = f"evt{number:02}"
        if all(name not in self.world.calendar(one).rows for one in (ANN, BOB)):
            with self.hand():
                start = self.world.true_time + timedelta(hours=hour, minutes=number)
                self.world.calendar(agent).insert(showing(name, start, client=f"client{number}@mail.example"))

    @rule(number=either, hour=hours)
    def move(self, number: int, hour: float) -> None:
        self.patch(number, times(self.world.true_time + timedelta(hours=hour, minutes=number)))

    @rule(number=either, place=places)
    def relocate(self, number: int, place: str) -> None:
        self.patch(number, {"location": place})

    def patch(self, number: int, changes: Resource) -> None:
        if place := self.place(number):
            with self.hand():
                place[0].patch(place[1], changes)

    @rule(number=either)
    def cancel(self, number: int) -> None:
        if place := self.place(number):
            with self.hand():
                place[0].delete(place[1])

    @rule(number=numbers, agent=agents)
    def revive(self, number: int, agent: str) -> None:
        row = self.world.calendar(agent).rows.get(f"evt{number:02}")
        if row is not None and row.cancelled and not row.bare:
            with self.hand():
                self.world.calendar(agent).patch(row.event["id"], {"status": "confirmed"})

    @rule(number=numbers, agent=agents)
    def hand_over(self, number: int, agent: str) -> None:
        if (place := self.place(number)) and place[0].id != agent:
            with self.hand():
                place[0].move_to(self.world.calendar(agent), place[1])

    # ---- in the CRM

    @rule(number=numbers, stale=st.booleans())
    def webhook(self, number: int, *, stale: bool) -> None:
        """Let the live integration upsert what the calendar says, or what it said an hour ago."""
        event = self.events().get(f"evt{number:02}")
        if event is None or event["status"] == "cancelled":
            return
        said = shown(event)
        start, end = ("2026-11-26 09:00:00", "2026-11-26 10:00:00") if stale else said["time"].split("/")
        cells = {"starts_at": start, "ends_at": end, "location": said["location"], "status": "scheduled"}
        if not self.edit(number, **cells):
            with self.hand():
                owner = event["organizer"]["email"]
                contact = f"client{number}@mail.example"
                self.world.insert(event["iCalUID"], agent_email=owner, contact_email=contact, **self.stamped(cells))

    @rule(number=either, hour=hours)
    def reschedule(self, number: int, hour: float) -> None:
        start = self.world.true_time + timedelta(hours=hour, minutes=number)
        self.edit(number, starts_at=local(start), ends_at=local(start + timedelta(hours=1)))

    @rule(number=either, place=places)
    def correct(self, number: int, place: str) -> None:
        self.edit(number, location=place)

    @rule(number=either, status=statuses)
    def decide(self, number: int, status: str) -> None:
        self.edit(number, status=status)

    @rule(number=either)
    def throw_away(self, number: int) -> None:
        with self.hand():
            self.world.sql("DELETE FROM appointments WHERE id IN (SELECT id FROM named WHERE name = ?)", key(number))

    @rule(number=visits, hour=hours, agent=agents)
    def visit(self, number: int, hour: float, agent: str) -> None:
        """Enter an appointment in the CRM first; nobody invited anybody."""
        if key(number) not in self.crm_side().keys() | self.calendar_side().keys():
            with self.hand():
                start = self.world.true_time + timedelta(hours=hour, minutes=number)
                cells = {"starts_at": local(start), "ends_at": local(start + timedelta(hours=1)), "title": key(number)}
                self.world.insert(None, agent_email=agent, contact_email=None, **self.stamped(cells))

    @rule(hour=hours, agent=st.sampled_from([ANN, ZED]))
    def meet_stranger(self, hour: float, agent: str) -> None:
        """Enter an appointment that no calendar knows, under no key."""
        start = self.world.true_time + timedelta(hours=hour)
        times: dict[str, Any] = {"starts_at": local(start), "ends_at": local(start + timedelta(hours=1))}
        title = "Showing" if agent == ZED else f"{VISIT}of a stranger {len(self.strangers)}"
        client = f"stranger{len(self.strangers)}@mail.example"
        number = self.world.insert(None, agent_email=agent, title=title, contact_email=client, **times)
        self.strangers[number] = self.world.sql("SELECT * FROM appointments WHERE id = ?", number)[0]

    def edit(self, number: int, **cells: str) -> bool:
        """Edit the record of an event, if there is one, as forms of a CRM do."""
        if key(number) not in self.crm_side():
            return False
        names = ", ".join(f"{name} = ?" for name in self.stamped(cells))
        change = f"UPDATE appointments SET {names}, version = version + 1 {NAMED}"  # noqa: S608
        with self.hand():
            self.world.sql(change, *self.stamped(cells).values(), key(number))
        return True

    def stamped(self, cells: dict[str, str]) -> dict[str, Any]:
        return {**cells, "updated_at": local(self.world.true_time)}

    # ---- the office, providers and time

    @rule()
    def leave_bob_out_or_take_him_back(self) -> None:
        self.world.left_out ^= {BOB}

    @rule()
    def let_bob_leave_or_return(self) -> None:
        self.world.leavers ^= {BOB}

    @rule(agent=agents)
    def let_the_token_die(self, agent: str) -> None:
        self.world.calendar(agent).kill_tokens()

    @rule(harm=st.sampled_from(HARMS))
    def harm(self, harm: Fault) -> None:
        self.world.server.faults.clear()
        self.world.server.faults.add(harm)

    @rule()
    def spend_the_quota(self) -> None:
        self.world.server.set_quotas(Quotas(per_user_minute=2, per_minute=2))

    @rule(agent=agents)
    def refuse_or_admit(self, agent: str) -> None:
        calendar = self.world.calendar(agent)
        calendar.restore() if calendar.refused else calendar.revoke()

    @rule(hour=st.sampled_from([0.25, 0.5, 3.0, 24.0, 24.0 * 8]))
    def pass_time(self, hour: float) -> None:
        later(self.world, hours=hour)

    @rule(hour=st.sampled_from([-30.0, -1.0, 0.0, 30.0]))
    def set_the_clock(self, hour: float) -> None:
        self.world.skew = timedelta(hours=hour)
        self.uneven = True

    def mend(self) -> None:
        """End all that went wrong; people are left alone for a day."""
        self.world.server.faults.clear()
        self.world.server.set_quotas(Quotas())
        for agent in (ANN, BOB):
            self.world.calendar(agent).restore()
        self.world.skew = timedelta()
        self.world.limits, self.world.budget = FREELY, ""
        self.world.left_out = self.world.leavers = frozenset()
        self.pass_time(26.0)


def at(stamp: str | None) -> datetime:
    """Read when a record was last edited."""
    return datetime.fromisoformat(stamp).replace(tzinfo=UTC) if stamp else NOW - timedelta(days=900)
