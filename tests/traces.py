"""A brokerage of forty agents as its reports would read it: what ordinary days leave behind, and what a fault adds.

Seeded, so that each trace comes again. Bookings are made in office hours; nearly all reach the CRM by themselves, the
others are found by the next run and written. The truth of each fault stands beside it: its first booking, and which
findings are of it.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.findings import SEVERITY, finding_key
from reconciler.model import Action, Finding, Kind, Outcome, Remedy, Side
from reconciler.report.recorded import Day, PastRun, Place, Recorded, Taken, Tracked, Watched

UNTIL = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)  # a Friday, 07:00 in Chicago
SCHEDULERS = ("calendly", "acuity", "")
ORIGINS = ("zapier", "webform", "people")
BOOKINGS = 60
"""Bookings of an ordinary working day."""

_NOISE = (
    (Kind.FIELD_DRIFT, "title"),
    (Kind.FIELD_DRIFT, "location"),
    (Kind.CONTACT_MISSING, "contact"),
    (Kind.WRONG_CONTACT, "contact"),
    (Kind.RESCHEDULE_NOT_PROPAGATED, "start"),
    (Kind.CANCEL_NOT_PROPAGATED, "status"),
    (Kind.DUPLICATE_IN_CRM, "title"),
    (Kind.REMOVED_BY_HAND, "title"),
    (Kind.DOUBLE_BOOKED_AGENT, "start"),
)


@dataclass
class Trace:
    """A brokerage over `days` days, of which the report tells the last `period`."""

    seed: int
    days: int = 30
    period: timedelta = timedelta(days=1)
    agents: int = 40
    domains: tuple[str, ...] = ("north.example", "south.example", "west.example")
    until: datetime = UNTIL
    tracked: list[Tracked] = field(default_factory=list)
    truth: dict[str, datetime] = field(default_factory=dict)  # the first instant of each fault
    of_fault: dict[str, set[str]] = field(default_factory=dict)  # the findings of each fault, by key
    heard: dict[str, datetime] = field(default_factory=dict)
    blind: dict[str, tuple[datetime, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.number = 0

    @property
    def people(self) -> list[str]:
        return [f"agent{number:02}@{self.domains[number % len(self.domains)]}" for number in range(self.agents)]

    def place(self, agent: str) -> Place:
        is_outlook = agent.endswith("west.example")
        return Place(source="outlook" if is_outlook else "google", kind="google", agent=agent, name="primary")

    # ---- ordinary days ----------------------------------------------------------------------------------------------

    def working_times(self, count: float, start: datetime, end: datetime) -> list[datetime]:
        """Return instants in office hours, `count` on a working day and a tenth of that at the weekend."""
        found = []
        day = start.replace(hour=0, minute=0, second=0)
        while day < end:
            rate = count if day.weekday() < 5 else count / 10
            many = sum(self.random.random() < rate / 100 for _ in range(100))
            moments = [day + timedelta(hours=14, seconds=self.random.randrange(10 * 3600)) for _ in range(many)]
            found += [moment for moment in sorted(moments) if start <= moment < end]
            day += timedelta(days=1)
        return found

    @property
    def began(self) -> datetime:
        return self.until - timedelta(days=self.days)

    def bookings(self, lost: float = 0.01, paused: Mapping[str, tuple[datetime, datetime]] | None = None) -> None:
        """Make bookings, of which a share is lost; those of a scheduler in its pause are all lost."""
        for at in self.working_times(BOOKINGS, self.began, self.until):
            agent, scheduler = self.random.choice(self.people), self.random.choice(SCHEDULERS)
            start, end = (paused or {}).get(scheduler, (self.until, self.until))
            is_paused = start <= at < end
            if is_paused or self.random.random() < lost:
                tracked = self.missing(agent, scheduler, at)
                if is_paused:
                    self.blame(f"silent {scheduler}", tracked, at)
            else:
                self.heard[agent] = at

    def noise(self, rate: float = 3.0) -> None:
        """Let people edit, forget and double things, a few times a day."""
        for at in self.working_times(rate, self.began, self.until):
            kind, name = self.random.choice(_NOISE)
            agent, origin = self.random.choice(self.people), self.random.choice(ORIGINS)
            empty = kind is Kind.CONTACT_MISSING
            self.find(
                kind, agent, at, clues=(f"origin:{origin}",), fields={name: (None if empty else "was", "becomes")}
            )

    # ---- findings ---------------------------------------------------------------------------------------------------

    def find(self, kind: Kind, agent: str, at: datetime, *, fixed: bool = False, **values: Any) -> Tracked:
        """Let the next run find something that changed at `at`."""
        self.number += 1
        sighted = at + timedelta(minutes=10) + timedelta(seconds=300 - at.timestamp() % 300)
        finding = Finding(
            key=finding_key(kind, str(self.number)),
            kind=kind,
            severity=SEVERITY[kind],
            remedy=Remedy.FIX if fixed else Remedy.HUMAN,
            agent=agent,
            changed=at,
            **{"why": "Said by a test.", **values},
        )
        taken = (Taken(action=Action.CREATE, side=Side.CRM, outcome=Outcome.DONE),) if fixed else ()
        tracked = Tracked(
            finding=finding,
            first_seen=sighted,
            last_seen=sighted if fixed else self.until,
            sightings=1,
            resolved_at=sighted + timedelta(minutes=5) if fixed else None,
            taken=taken,
            place=self.place(agent),
        )
        if sighted <= self.until:
            self.tracked.append(tracked)
        return tracked

    def missing(self, agent: str, scheduler: str, at: datetime) -> Tracked:
        clues = (f"scheduler:{scheduler}",) if scheduler else ()
        return self.find(Kind.MISSING_IN_CRM, agent, at, fixed=True, clues=clues)

    def blame(self, fault: str, tracked: Tracked, at: datetime) -> None:
        if tracked.first_seen <= self.until:
            self.truth[fault] = min(at, self.truth.get(fault, at))
            if tracked.first_seen > self.until - self.period or tracked.resolved_at is None:
                self.of_fault.setdefault(fault, set()).add(tracked.finding.key)

    # ---- faults -----------------------------------------------------------------------------------------------------

    def mapping_breaks(self, start: datetime) -> None:
        """Let zapier leave the client out of every record that it writes."""
        for at in self.working_times(12, start, self.until):
            finding = self.find(
                Kind.CONTACT_MISSING,
                self.random.choice(self.people),
                at,
                clues=("origin:zapier",),
                fields={"contact": ((), ("jo@client.example",))},
            )
            self.blame("empty contact", finding, at)

    def replays(self, start: datetime, many: int = 60) -> None:
        """Let zapier write again, within minutes, what it wrote before."""
        for number in range(many):
            at = start + timedelta(seconds=12 * number)
            finding = self.find(
                Kind.DUPLICATE_IN_CRM, self.random.choice(self.people), at, clues=("origin:webform", "origin:zapier")
            )
            self.blame("replay", finding, at)

    def zone_shifts(self, start: datetime, many: int = 14) -> None:
        """Let the records of some agents be six hours early."""
        for agent in self.people[:many]:
            finding = self.find(
                Kind.TZ_SHIFT,
                agent,
                start,
                clues=("records:7", "shift:-21600"),
                start="2026-11-24T15:00:00Z",
            )
            self.blame("shift", finding, start)

    def token_dies(self, domain: str, start: datetime) -> None:
        """Let no calendar of a domain be read any more; each says so in words of its own."""
        for number, agent in enumerate(agent for agent in self.people if agent.endswith(domain)):
            at = start + timedelta(minutes=number)
            why = f"Google answered 401 (request {number:08x} at {at:%H:%M:%S}): no access to {agent}."
            self.blind[agent] = (at, why)
            self.truth["access"] = min(at, self.truth.get("access", at))

    # ---- what is recorded -------------------------------------------------------------------------------------------

    def recorded(self, **changes: Any) -> Recorded:
        since = self.until - self.period
        known = [one for one in self.tracked if one.resolved_at is None or one.resolved_at > since]
        known.sort(key=_order)
        run = past_run(self.until)
        recorded = Recorded(
            job="acme",
            since=since,
            until=self.until,
            made_at=self.until,
            runs=(run,),
            last=run,
            calendars=tuple(self.watched()),
            findings=known,
            days=tuple(self.rolled_up()),
        )
        return replace(recorded, **changes)

    def watched(self) -> Iterable[Watched]:
        for agent in self.people:
            since, why = self.blind.get(agent, (None, None))
            yield Watched(
                place=self.place(agent),
                seen_at=since or self.until,
                blind_since=since,
                why=why,
                heard_at=self.heard.get(agent),
            )

    def rolled_up(self) -> Iterable[Day]:
        found = Counter((one.first_seen.date(), one.finding.kind) for one in self.tracked)
        for number in range(self.days + 1):
            day = (self.began + timedelta(days=number)).date()
            yield Day(day=day, runs=288, kinds={kind: found[day, kind] for kind in Kind if found[day, kind]})


def past_run(at: datetime, status: str = "applied", **values: Any) -> PastRun:
    """Return a run that ended at once."""
    known = {"id": f"run{at:%d%H%M}", "command": "run", "exit_code": 0, "digest": "", **values}
    return PastRun(started_at=at, finished_at=at, status=status, **known)


def _order(tracked: Tracked) -> tuple[int, str, str, str]:
    finding = tracked.finding
    return finding.severity.rank, finding.kind, finding.agent or "", finding.key
