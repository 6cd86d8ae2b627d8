"""The whole job against all that may happen to it: what is promised has to hold, whatever comes in between."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from datetime import timedelta
from itertools import product
from typing import Any, ClassVar
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from reconciler import consent, decide, session
from reconciler.errors import LockedError, UsageError
from reconciler.model import Direction, Outcome, Situation
from reconciler.result import Result
from reconciler.store.consents import Approval
from tests.crash.boundaries import Boundary, killed, reaching
from tests.e2e.google_world import ANN, BOB, FREELY
from tests.stateful.people import BUDGET, HARMS, PACED, TIGHT, People, either, hours, key, key_of, numbers
from tests.stateful.words import VISIT, local

pytestmark = pytest.mark.slow

WROTE = {Outcome.DONE, Outcome.ALREADY}
NARROW = {"create": 2, "update": 1, "cancel": 1}
ALLOWED = {TIGHT: [NARROW], PACED: [NARROW]}
DAY = 86_400
REFUSES = (
    "CREATE TRIGGER refuses_{0} BEFORE {0} ON appointments BEGIN SELECT RAISE(ABORT, 'not today'); END",
    "DROP TRIGGER refuses_{0}",
)
THERE = ("", "move", "cancel", "cancel and revive")
HERE = ("", "reschedule", "correct", "cancelled", "throw away", "webhook")
OFFICES = (
    (FREELY, Direction.CALENDAR_TO_CRM),
    (TIGHT, Direction.CALENDAR_TO_CRM),
    (PACED, Direction.TWO_WAY),
    (FREELY, Direction.CRM_TO_CALENDAR),
)
MANNERS = ("", "edit", "webhook", "run", "paused", "lost", "refused", "killed")


@dataclass(frozen=True, slots=True)
class Lost:
    """What is known of a write to either side whose answer was lost."""

    outcome: Outcome = Outcome.UNKNOWN
    record: None = None
    event: None = None
    why: str = "the connection was lost"


class Pipeline(People):
    """Runs amid all that, and what has to hold after each of them."""

    situations: ClassVar[set[Situation]] = set()
    outcomes: ClassVar[set[Outcome]] = set()

    def __init__(self) -> None:
        super().__init__()
        self.refused: str | None = None
        self.torn = True  # nothing was compared yet, or a run was killed and none has ended since
        self.stack.enter_context(patch.object(decide, "decide", self._noticed(decide.decide)))

    def teardown(self) -> None:
        with self.stack:
            if hasattr(self, "world"):
                self.come_to_rest()

    def _noticed(self, table: Callable[..., Any]) -> Callable[..., Any]:
        def noticing(*given: Any) -> Any:
            verdict = table(*given)
            self.situations.add(verdict.situation)
            return verdict

        return noticing

    # ---- runs

    @rule(full=st.booleans(), only=st.booleans())
    def run(self, *, full: bool, only: bool) -> None:
        self.look(full=full, only=frozenset({ANN}) if only else None)

    @rule()
    def run_plainly(self) -> None:
        self.look()

    @rule()
    def dry_run(self) -> None:
        before = self.world.kept()
        self.came_to(self.world.dry())
        assert self.world.kept() == before, "a dry run changes nothing"

    @precondition(lambda self: self.refused)
    @rule()
    def approve(self) -> None:
        digest, now = str(self.refused), self.world.clock()
        given: dict[str, Any] = {
            "by": "Ann",
            "why": "seen",
            "origin": "here",
            "at": now,
            "expires_at": now + timedelta(days=1),
        }
        with suppress(UsageError):  # it was consented to already, or used up
            consent.approve(self.world.home, digest, Approval(digest=digest, **given))
        self.look()

    @rule(fatal=st.integers(1, 90))
    def crash(self, fatal: int) -> None:
        self.forgiven = self.never_agreed()
        if killed(self.world.run, fatal).is_dead:
            self.torn = True
            self.world.die()
        self.read_diaries()

    @rule(
        nth=st.integers(1, 2),
        number=numbers,
        hour=hours,
        what=st.sampled_from(["edit", "correction", "webhook", "run", "paused"]),
    )
    def interfere(self, nth: int, number: int, hour: float, what: str) -> None:
        """Let something happen between two steps of a run: an edit, a webhook, or another run."""
        doing = {
            "edit": lambda: self.reschedule(number, hour),
            "correction": lambda: self.correct(number, "Yew 2"),
            "webhook": lambda: self.webhook(number, stale=False),
            "run": self._run_beside,
            "paused": self._run_instead if self.world.unique else self._run_beside,
        }[what]
        with reaching(_at(Boundary.SENDING, nth, doing)):
            self.look(alone=False)

    def _run_beside(self) -> None:
        with pytest.raises(LockedError):
            self.world.run_beside()

    def _run_instead(self) -> None:
        """Run as if the one that is at it had stopped for so long that its lock was taken away."""
        self.uneven = True  # both count what the day has seen before either of them writes
        with patch.object(session, "run_lock", lambda *_: nullcontext(lambda: True)):
            self.came_to(self.world.run_beside())

    @rule(nth=st.integers(1, 2), boundary=st.sampled_from([Boundary.SENDING, Boundary.SENT]))
    def lose_an_answer(self, nth: int, boundary: Boundary) -> None:
        """Let a write of the CRM end without an answer, whether or not it was carried out."""
        with reaching(_at(boundary, nth, Lost)):
            self.look()

    @rule()
    def refuse_writes(self) -> None:
        for what in ("INSERT", "UPDATE"):
            self.world.sql(REFUSES[0].format(what))
        self.look()
        for what in ("INSERT", "UPDATE"):
            self.world.sql(REFUSES[1].format(what))

    @precondition(lambda self: self.crowded and not self.torn)
    @rule()
    def truncate_the_snapshot(self) -> None:
        """Let most of the CRM be out of sight for one run."""
        self.world.sql("CREATE TABLE hidden AS SELECT * FROM appointments WHERE id % 4")
        self.world.sql("DELETE FROM appointments WHERE id % 4")
        result = self.world.run()
        assert (result.exit_code, result.deltas) == (4, ())
        self.world.sql("INSERT INTO appointments SELECT * FROM hidden")
        self.world.sql("DROP TABLE hidden")

    @rule()
    def lose_the_state(self) -> None:
        self.world.lose_state()
        self.torn = True

    @rule(
        number=either,
        there=st.sampled_from(THERE),
        here=st.sampled_from(HERE),
        manner=st.sampled_from(MANNERS),
        hour=hours,
    )
    def live_a_day(self, number: int, there: str, here: str, manner: str, hour: float) -> None:
        """Let both sides do something to one appointment that they agreed on, and run under some circumstances."""
        is_new = key(number) not in self.crm_side()
        if number < 5:
            self.book(number, ANN, 50.0)
        else:
            self.visit(number, 50.0, ANN)
        if is_new and (here or there):
            self.settle_and(self.simply_run)
        self.in_the_calendar(number, there, hour)
        self.in_the_crm(number, here, hour)
        self.settle_and(
            {
                "lost": lambda: self.lose_an_answer(1, Boundary.SENT),
                "refused": self.refuse_writes,
                "killed": lambda: self.crash(70),
                "": self.look,
            }.get(manner, lambda: self.interfere(1, min(number, 4), hour, manner))
        )

    def settle_and(self, look: Callable[[], object]) -> None:
        self.pass_time(0.5)
        look()

    def be_late(self) -> None:
        """Write what somebody has edited since it was read."""
        self.simply_run()
        self.relocate(1, "Yew 1")
        self.settle_and(lambda: self.interfere(1, 1, 49.0, "correction"))

    def be_hasty(self) -> None:
        """Run before anything has settled, then half blind against a CRM that takes no writes, and lose the state."""
        self.meet_stranger(50.0, ANN)
        for number in range(5):
            self.relocate(number, f"Ash {number}")
        self.look()
        self.harm(HARMS[-1])
        self.settle_and(self.refuse_writes)
        self.world.server.faults.clear()
        self.lose_the_state()
        self.simply_run()

    def wipe(self) -> None:
        """Delete all that is in the calendars, as somebody does who leaves in anger."""
        for number in range(5):
            self.cancel(number)
        self.settle_and(self.look)

    def in_the_calendar(self, number: int, what: str, hour: float) -> None:
        if what == "move":
            self.move(number, hour)
        if "cancel" in what:
            self.cancel(number)
        if "revive" in what:
            self.settle_and(self.simply_run)
            self.revive(number, ANN)

    def in_the_crm(self, number: int, what: str, hour: float) -> None:
        match what:
            case "reschedule":
                self.reschedule(number, hour)
            case "correct":
                self.correct(number, "Elm 1")
            case "cancelled":
                self.decide(number, what)
            case "throw away":
                self.throw_away(number)
            case "webhook":
                self.webhook(number, stale=True)

    # ---- what has to hold

    def look(self, *, alone: bool = True, **options: Any) -> None:
        """Look without writing, then run: both are about the same plan."""
        unlike = self.torn or self.world.budget or self.world.server.faults._faults or self.open_intents()
        planned = self.came_to(self.world.dry(**options))
        result = self.simply_run(**options)
        if alone and not unlike:
            assert result.digest == planned.digest, "a dry run and the run after it share their digest"

    def simply_run(self, **options: Any) -> Result:
        """Run, and hold what was written to what is promised."""
        self.read_diaries()
        self.forgiven = self.never_agreed()
        result = self.came_to(self.world.run(**options))
        self.torn = False
        self.refused = result.asks.digest if result.asks else None
        self.read_diaries()
        self.words.compare(self.calendar_side(), self.crm_side())
        self.check()
        return result

    def open_intents(self) -> list[Any]:
        """Return what a run looks up before it plans, and a dry run does not."""
        return [row for row in self.world.journal() if row["status"] in {"sent", Outcome.UNKNOWN}]

    def came_to(self, result: Result) -> Result:
        self.outcomes.update(delta.outcome for delta in result.deltas)
        if result.violations:
            assert not {delta.outcome for delta in result.deltas} & WROTE, "a refused plan is not applied at all"
        return result

    def check(self) -> None:
        journal = self.world.journal()
        assert not [row["id"] for row in journal if row["status"] == "sent"]
        rows = {row[0]: row for row in self.world.rows()}
        assert {number: rows[number] for number in self.strangers} == self.strangers
        keys = [row[1] for row in rows.values() if row[1]]
        assert len(keys) == len(set(keys)), "no meeting has two records"
        events = [key_of(event) for agent in (ANN, BOB) for event in self.world.calendar(agent).events()]
        assert len(events) == len(set(events)), "no record has two events"
        self.check_limits([row for row in journal if row["approval"] is None])

    def check_limits(self, journal: list[Any]) -> None:
        """Count what no person consented to: within a run, within a day; and what was asked of the provider."""
        for limit, action in product(ALLOWED.get(self.world.limits, ()), ("create", "update", "cancel")):
            written = [row for row in journal if row["action"] == action and row["status"] == Outcome.DONE]
            runs = Counter(row["run"] for row in written)
            assert not runs or max(runs.values()) <= limit[action]
            days = [sum(0 <= row["at"] - first["at"] < DAY for row in written) for first in written]
            assert self.uneven or not days or max(days) <= 2 * limit[action]
        if self.world.budget:
            assert self.world.server.ledger.most(DAY) <= BUDGET // 2

    def come_to_rest(self) -> None:
        """When nothing goes wrong any more, two runs reach a point from which nothing moves; and nothing was lost."""
        self.mend()
        self.audit()
        for _ in range(2):
            self.simply_run()
        before = self.world.rows(), len(self.world.journal())
        third = self.simply_run()
        assert [delta for delta in third.deltas if delta.outcome is not Outcome.HELD] == []
        assert (self.world.rows(), len(self.world.journal())) == before
        self.nothing_is_lost(third)

    def audit(self) -> None:
        """Compare what mirror and cursors lead to with what is there: a cursor is never ahead of its mirror."""
        digests = []
        for full in (False, True):
            with self.world.apart():
                digests.append(self.world.dry(full=full).digest)
        assert digests[0] == digests[1]

    def nothing_is_lost(self, result: Result) -> None:
        """Find each appointment to come in the CRM as it is in its calendar, or in the report."""
        calendar, records = self.calendar_side(), self.crm_side()
        told_of = {each.event for each in result.findings}, {each.crm_id for each in result.findings}
        told = {key_of(event) for name, event in self.events().items() if name in told_of[0]}
        rows = self.world.sql("SELECT name, id FROM named")
        told |= {name for name, crm_id in rows if str(crm_id) in told_of[1]}
        soon, late = (local(self.world.true_time + timedelta(days=days)) for days in (0, 59))
        for name, said in (calendar | {name: records[name] for name in records if name.startswith(VISIT)}).items():
            if soon < said["time"] < late and said["status"] == "scheduled" and name not in told:
                assert records.get(name) == calendar.get(name)


def _at(boundary: Boundary, nth: int, doing: Callable[[], Any]) -> Callable[[Boundary], Any]:
    """Return what does something when a boundary of this kind is reached for the nth time."""
    passed = Counter[Boundary]()

    def hook(reached: Boundary) -> Any:
        passed[reached] += 1
        return doing() if reached is boundary and passed[reached] == nth else None

    return hook


TestPipeline = Pipeline.TestCase
TestPipeline.settings = settings(
    max_examples=settings().max_examples // 25,  # each is some dozen whole runs
    stateful_step_count=10,
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture
def reached() -> Iterator[type[Pipeline]]:
    """Forget which verdicts and outcomes there were."""
    with patch.object(Pipeline, "situations", set()), patch.object(Pipeline, "outcomes", set()):
        yield Pipeline


def test_days_of_an_office_lead_to_every_verdict_and_every_outcome(reached: type[Pipeline]) -> None:
    draw = random.Random(22)
    days = list(product(THERE, HERE))
    draw.shuffle(days)
    for number, (limits, sync) in enumerate(OFFICES):
        machine = reached()
        booked = [(each, draw.choice([ANN, BOB]), draw.choice([26.0, 49.0, 61.0])) for each in range(4)]
        machine.begin(limits=limits, unique=number < 3, crowd=number == 2, poor=False, booked=booked, sync=sync)
        try:
            machine.be_late()
            for there, here in days[number::4]:
                hour = draw.choice([26.0, 49.0, 61.0])
                machine.live_a_day(draw.randrange(7), there, here, draw.choice(MANNERS), hour)
            machine.be_hasty()
            machine.wipe()
        finally:
            machine.teardown()
    assert set(Situation) - reached.situations == set()
    assert set(Outcome) - reached.outcomes == set()
