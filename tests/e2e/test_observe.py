"""What the pipeline makes of any source's answers, told by one that says what it is told to; the rest is real."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import pytest
from sqlalchemy import event as hooks

from reconciler import observe
from reconciler.errors import AccessError
from reconciler.model import (
    Absence,
    Attendee,
    Audit,
    Calendar,
    Cursor,
    Event,
    Mode,
    Postponed,
    Pull,
    Quarantined,
    Response,
    Span,
    Tombstone,
    Unobserved,
    Window,
)
from reconciler.report.look import Look
from reconciler.report.mask import masked
from reconciler.report.render import plain
from reconciler.report.run import build
from reconciler.result import CalendarSeen, Result
from reconciler.run import Options, run
from reconciler.sources import PullRequest
from reconciler.store import mirror, state
from reconciler.store.state import Watched
from tests.e2e.world import CLIENT, NOW, World, kinds, planned

ANN, BOB, CID = "ann@acme.example", "bob@acme.example", "cid@acme.example"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
REACH = 14 * DAY
SOON = NOW + 2 * DAY

Make = Callable[..., World]
Outcome: TypeAlias = Pull | Unobserved | Postponed
Answer: TypeAlias = Callable[[PullRequest], Outcome]


# ---- what a source says ---------------------------------------------------------------------------------------------


def meeting(name: str, start: datetime = SOON, **values: Any) -> Event:
    invited = (Attendee(CLIENT, Response.ACCEPTED),)
    return Event(**{"id": name, "uid": name, "span": Span(start, start + HOUR), "attendees": invited, **values})


def whole(request: PullRequest, *events: Event, token: str = "t", **values: Any) -> Pull:
    reach = Window(request.window.start, request.window.end + REACH)
    cursor = Cursor(token, reach, "scope", request.now)
    read = Pull(calendar=request.calendar, mode=Mode.FULL, cursor=cursor, at=request.now, events=events, zone="UTC")
    return replace(read, **values)


def increment(request: PullRequest, *events: Event, **values: Any) -> Pull:
    assert request.cursor is not None
    read = Pull(
        calendar=request.calendar, mode=Mode.INCREMENTAL, cursor=request.cursor, at=request.now, pending=request.pending
    )
    return replace(read, events=events, **values)


def reads(*events: Event, **values: Any) -> Answer:
    """Read whole for the first time, then find nothing new."""
    return lambda request: whole(request, *events, **values) if request.cursor is None else increment(request)


def changes(*events: Event, **values: Any) -> Answer:
    return lambda request: increment(request, *events, **values)


def fails(why: str = "It is not there.", **values: Any) -> Answer:
    return lambda request: Unobserved(request.calendar, why, **values)


def postpones(why: str = "today's budget of 9 requests is used up.") -> Answer:
    return lambda request: Postponed(request.calendar, why)


@dataclass
class Source:
    """A source in memory. Who has no answer of their own gets `usual`."""

    usual: Answer = field(default_factory=reads)
    answers: dict[str, Answer] = field(default_factory=dict)
    requests: list[PullRequest] = field(default_factory=list)
    closed: int = 0

    def scope(self, _calendar: Calendar) -> str:
        return "scope"

    def pull(self, request: PullRequest) -> Outcome:
        self.requests.append(request)
        return self.answers.get(request.calendar.agent.email, self.usual)(request)

    def close(self) -> None:
        self.closed += 1

    def asked(self) -> list[str]:
        """Return whose calendars were asked for since somebody last looked."""
        asked = [request.calendar.agent.email for request in self.requests]
        self.requests.clear()
        return asked

    def request(self) -> PullRequest:
        (only,) = self.requests
        self.requests.clear()
        return only


@dataclass
class Office:
    """A world whose calendars are read from sources in memory."""

    world: World
    sources: dict[str, Source]

    def run(self, *, dry_run: bool = False, **options: Any) -> Result:
        with self.world.setup(dry_run=dry_run) as setup:
            return run(replace(setup, clock=self.world.clock, sources=self.sources), Options(**options))

    def dry(self, **options: Any) -> Result:
        return self.run(dry_run=True, **options)

    def hire(self, agents: Iterable[str], source: str = "google") -> None:
        """Let these agents' calendars be read from `source`."""
        lines = "".join(f"{agent},{agent}.ics\n" for agent in agents)
        (self.world.folder / f"{source}.csv").write_text(f"agent,calendar\n{lines}")

    def watched(self) -> dict[str, Watched]:
        with self.world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
            found = state.watch(connection, setup.state, setup.directory.calendars)
        return {one.calendar.agent.email: one for one in found}

    def rules(self, agent: str) -> dict[str, str]:
        number = self.watched()[agent].id
        with self.world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
            return mirror.rules_of(connection, setup.state, number)

    def rows(self, agent: str) -> dict[str, Absence | None]:
        number = self.watched()[agent].id
        with self.world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
            return {name: seen.absence for name, seen in mirror.rows_of(connection, setup.state, number).items()}


def open_office(make: Make, agents: Iterable[str] = (ANN,), *, other: Iterable[str] = (), **settings: Any) -> Office:
    """Make an office that reads these agents' calendars from the source `google`, and others' from `outlook`."""
    everybody = {name: theirs for name, theirs in (("google", tuple(agents)), ("outlook", tuple(other))) if theirs}
    table = '[[source]]\nkind = "ics"\nname = "{name}"\nagents = {{ file = "{name}.csv" }}\n'
    sources = "".join(table.format(name=name) for name in everybody)
    office = Office(make(agents=(ANN,), sources=sources, **settings), {name: Source() for name in everybody})
    for name, theirs in everybody.items():
        office.hire(theirs, name)
    return office


def calendar_of(result: Result, agent: str = ANN) -> CalendarSeen:
    return next(each for each in result.calendars if each.agent == agent)


def many(count: int) -> list[str]:
    return [f"agent{number:03}@acme.example" for number in range(count)]


@pytest.fixture
def one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let calendars be read one after another, so that a test can tell in which order."""
    monkeypatch.setattr(observe, "READERS", 1)
    monkeypatch.setattr(observe, "AHEAD", 1)


# ---- what a source is told ------------------------------------------------------------------------------------------


def test_a_source_that_asks_is_told_what_is_known_what_is_linked_and_what_it_kept(make: Make) -> None:
    office = open_office(make, [ANN, BOB])
    google = office.sources["google"]
    told: dict[str, tuple[Any, ...]] = {}
    lunch = meeting("lunch", attendees=())

    def look(request: PullRequest) -> Pull:
        assert request.cursor is not None
        told[request.calendar.agent.email] = (
            set(request.known),
            set(request.linked),
            dict(request.rules),
            ("a" in request.linked, "lunch" in request.linked, len(request.known), request.rules.get("zzz")),
        )
        return increment(request)

    assert not told
    google.answers = {
        ANN: lambda request: whole(request, meeting("a"), lunch, rules={"m": "weekly"}),
        BOB: lambda request: whole(request, meeting("b", SOON + DAY), rules={"m": "daily"}),
    }
    assert planned(office.run()) == [("create", "done"), ("create", "done")]
    google.answers, google.usual = {}, look
    office.run()
    assert told == {
        ANN: ({"a", "lunch"}, {"a"}, {"m": "weekly"}, (True, False, 2, None)),
        BOB: ({"b"}, {"b"}, {"m": "daily"}, (False, False, 1, None)),
    }


def test_patience_is_what_the_deadline_leaves_and_endless_without_one(make: Make) -> None:
    office = open_office(make, section='deadline = "10m"')
    google = office.sources["google"]
    left: list[float] = []

    def slow(request: PullRequest) -> Pull:
        left.append(request.patience())
        office.world.now += timedelta(minutes=4)
        left.append(request.patience())
        return reads()(request)  # type: ignore[return-value]

    google.usual = slow
    office.run()
    assert left == [600, 360]
    office.world.section = ""
    office.run()
    assert left[2:] == [float("inf")] * 2


@pytest.mark.parametrize("pending", [(), ("z",)])
def test_quiet_reads_cost_no_statement_each(make: Make, pending: tuple[str, ...]) -> None:
    office = open_office(make, many(3))
    office.sources["google"].usual = reads(pending=pending, rules={"m": "weekly"})
    office.run()
    few = statements(office)
    office.hire(many(40))
    office.run()
    assert len(statements(office)) == len(few) > 0
    assert not [said for said in few if "series" in said]


def statements(office: Office) -> list[str]:
    """Return what the state database is asked in one run."""
    said: list[str] = []
    with office.world.setup() as setup:
        hooks.listen(setup.state.engine, "before_cursor_execute", lambda *told: said.append(told[2]))
        run(replace(setup, clock=office.world.clock, sources=office.sources), Options())
    return said


# ---- what is kept of a read -----------------------------------------------------------------------------------------


def test_rules_and_look_ups_are_kept_and_followed_by_what_an_increment_says(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(rules={"m": "weekly", "n": "daily"}, pending=("a", "b"))
    office.run()
    assert (office.rules(ANN), office.watched()[ANN].pending) == ({"m": "weekly", "n": "daily"}, ("a", "b"))
    google.usual = changes(rules={"m": "biweekly", "n": None})
    office.run()
    assert (office.rules(ANN), office.watched()[ANN].pending) == ({"m": "biweekly"}, ("a", "b"))
    google.usual = changes(pending=("b",))
    office.run()
    assert (office.rules(ANN), office.watched()[ANN].pending) == ({"m": "biweekly"}, ("b",))


def unreadable(office: Office) -> set[str]:
    return {entry.id for entry in office.watched()[ANN].quarantined}


def test_entries_that_cannot_be_read_stay_reported_until_a_read_touches_them(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    names = ("single", "gone", "m", "again", "n/20261124", "n/20261125", "o/20261124")
    entries = [Quarantined(name, "it has no start") for name in names]
    google.usual = lambda request: whole(request, meeting("a"), quarantined=entries)
    assert kinds(office.run()).count("quarantined") == len(names)
    google.usual = reads()
    assert kinds(office.run()).count("quarantined") == len(names), "a quiet read says nothing of them"
    google.usual = changes(meeting("b", SOON + DAY))
    assert kinds(office.run()).count("quarantined") == len(names), "nor does a read of something else"
    google.usual = changes(
        meeting("single", SOON + 2 * DAY),
        meeting("n/20261124", SOON + 3 * DAY),
        tombstones=[Tombstone("gone", Absence.CANCELLED), Tombstone("o", Absence.CANCELLED)],
        series=frozenset({"m", "n"}),
        quarantined=[Quarantined("again", "it ends before it starts")],
    )
    result = office.run()
    assert kinds(result).count("quarantined") == 2
    assert {entry.id: entry.why for entry in office.watched()[ANN].quarantined} == {
        "again": "it ends before it starts",
        "n/20261125": "it has no start",  # an exception that was not sent again, though its series was
    }
    google.usual = whole
    office.run(full=True)
    assert unreadable(office) == set()


def test_a_row_that_cannot_be_read_any_more_is_not_missing_when_its_series_is_read_anew(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    rows = [meeting(f"m/202611{day}", NOW + timedelta(days=day - 22), series="m") for day in (24, 25)]
    google.usual = reads(*rows)
    office.run()
    google.usual = changes(quarantined=[Quarantined("m/20261125", "it has no end")])
    office.run()
    google.usual = changes(series=frozenset({"m"}))
    result = office.run()
    assert office.rows(ANN) == {"m/20261124": Absence.UNSEEN, "m/20261125": None}
    assert [finding.event for finding in result.findings if finding.kind == "stale_series"] == ["m/20261124"]


def test_an_increment_that_names_no_zone_leaves_the_one_that_is_known(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(zone="America/Chicago")
    office.run()
    google.usual = changes(meeting("a"))
    office.run()
    assert office.watched()[ANN].zone == "America/Chicago"


def test_a_series_read_anew_marks_what_its_rule_no_longer_makes_and_leaves_what_stands(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    names = [f"m/202611{day}" for day in (24, 25, 26, 27)]
    rows = [
        meeting(name, NOW + timedelta(days=2 + n), series="m", uid="m", original_start=NOW + timedelta(days=2 + n))
        for n, name in enumerate(names)
    ]
    google.usual = reads(*rows)
    assert planned(office.run()) == [("create", "done")] * 4
    google.usual = changes(
        rows[0],
        series=frozenset({"m"}),
        unchanged=frozenset({names[1]}),
        tombstones=[Tombstone(names[2], Absence.EXCLUDED)],
    )
    result = office.run()
    assert office.rows(ANN) == dict(zip(names, [None, None, Absence.EXCLUDED, Absence.UNSEEN], strict=True))
    assert [finding.event for finding in result.findings if finding.kind == "stale_series"] == [names[3]]
    google.usual = reads()
    office.world.now += HOUR  # until it has settled
    assert planned(office.run()) == [("cancel", "done")]
    assert office.rows(ANN) == dict(zip(names, [None, None, Absence.EXCLUDED, Absence.UNSEEN], strict=True))


# ---- calendars that rest --------------------------------------------------------------------------------------------


def test_a_calendar_that_rests_is_not_asked_for_and_gets_no_strike(make: Make) -> None:
    office = open_office(make, [ANN, BOB])
    google = office.sources["google"]
    google.answers[ANN] = fails("The account is suspended.", pause=DAY)
    office.run()
    google.asked()
    for minutes in (5, 10, 15, 20):
        office.world.now = NOW + timedelta(minutes=minutes)
        result = office.run()
        assert google.asked() == [BOB]
        ann = calendar_of(result)
        assert (ann.observed, ann.mode, ann.why, ann.strikes) == (False, None, "The account is suspended.", 1)
        assert (kinds(result), result.counts["unobserved"], result.exit_code) == (["coverage_gap"], 1, 0)
    office.world.now = NOW + DAY
    google.answers.clear()
    result = office.run()
    assert sorted(google.asked()) == [ANN, BOB]
    assert (result.exit_code, office.watched()[ANN].next_try, office.watched()[ANN].strikes) == (0, None, 0)


def test_a_gap_is_known_after_three_tries_however_many_runs_lie_between(make: Make) -> None:
    office = open_office(make)
    office.sources["google"].usual = fails("The account is suspended.", pause=DAY)
    codes = []
    for hours in range(0, 72, 12):
        office.world.now = NOW + timedelta(hours=hours)
        codes.append(office.run().exit_code)
    assert codes == [5, 0, 5, 0, 0, 0]  # what is parked was said before; each new try says it again, up to the third


@pytest.mark.parametrize("options", [{"full": True}, {"only": frozenset({ANN})}])
def test_whoever_names_a_resting_calendar_or_asks_for_all_has_it_tried(make: Make, options: dict[str, Any]) -> None:
    office = open_office(make, [ANN, BOB])
    google = office.sources["google"]
    google.answers[ANN] = fails(pause=DAY)
    office.run()
    google.asked()
    office.run(only=frozenset({BOB}))
    assert google.asked() == [BOB]
    office.run(**options)
    assert ANN in google.asked()
    assert office.watched()[ANN].strikes == 2


def test_a_look_by_hand_neither_strikes_a_calendar_nor_lets_it_rest(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    office.run()
    google.usual = fails(pause=DAY)
    before = office.watched()
    result = office.dry()
    assert (calendar_of(result).observed, result.exit_code) == (False, 5)
    assert office.watched() == before
    google.asked()
    office.run()
    assert google.asked() == [ANN]


def test_a_look_through_other_glasses_lets_calendars_rest_too(make: Make) -> None:
    office = open_office(make, [ANN, BOB], policy='compare = ["start", "end"]')
    google = office.sources["google"]
    office.run()
    google.answers[ANN] = fails("The account is suspended.", pause=DAY)
    office.run()
    google.asked()
    office.world.policy = 'compare = ["start"]'
    result = office.dry()
    assert (google.asked(), calendar_of(result).why) == ([BOB], "The account is suspended.")
    assert calendar_of(result, BOB).mode == "full"


# ---- cursors that are void ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_calendar_whose_access_was_lost_is_read_whole_when_it_is_there_again(make: Make, dry_run: bool) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()
    google.usual = fails(lost=True)
    office.run(dry_run=dry_run)
    assert office.watched()[ANN].strikes == (0 if dry_run else 1)
    assert office.rows(ANN) == {"a": None}, "what was known stands"
    google.asked()
    google.usual = reads(meeting("a"))
    result = office.run()
    assert google.request().cursor is None
    assert (calendar_of(result).mode, result.deltas, result.exit_code) == ("full", (), 0)
    assert calendar_of(office.run()).mode == "incremental"


def test_a_failure_that_is_no_loss_keeps_the_cursor(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    office.run()
    google.usual = fails()
    office.run()
    google.asked()
    google.usual = reads()
    office.run()
    assert google.request().cursor is not None


def test_a_source_that_reads_further_ahead_is_looked_at_without_reading_all_again(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()
    google.asked()
    for days in (0, 3, 13):
        office.world.now = NOW + timedelta(days=days)
        assert calendar_of(office.dry()).mode == "incremental"
        assert calendar_of(office.run()).mode == "incremental"
        assert [request.cursor is not None for request in google.requests] == [True, True]
        google.asked()
    office.world.now = NOW + timedelta(days=15)
    assert calendar_of(office.run()).mode == "full"


@pytest.mark.parametrize("future", ["30d", "65d"])
def test_a_look_into_another_window_leaves_the_state_alone_though_its_cursors_reach_that_far(
    make: Make, future: str
) -> None:
    office = open_office(make)
    office.sources["google"].usual = reads(meeting("a"))
    office.run()
    before = office.watched()
    office.world.section = f'[window]\nfuture = "{future}"'
    assert calendar_of(office.dry()).mode == "full"
    assert office.watched() == before
    office.world.section = ""
    assert calendar_of(office.run()).mode == "incremental"


# ---- reads that are put off -----------------------------------------------------------------------------------------


def test_a_postponed_calendar_counts_while_its_last_read_is_fresh_and_is_no_strike(make: Make) -> None:
    office = open_office(make, section='freshness = "24h"')
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()
    google.usual = postpones()
    office.world.now += 23 * HOUR
    result = office.run()
    ann = calendar_of(result)
    assert (ann.observed, ann.mode, result.exit_code, result.counts["in_sync"]) == (True, "incremental", 0, 1)
    assert ann.why == "today's budget of 9 requests is used up; it is among the first next time."
    office.world.now += 2 * HOUR
    result = office.run()
    assert (calendar_of(result).observed, result.exit_code, kinds(result)) == (False, 5, ["coverage_gap"])
    assert "used up; it is among the first next time. Its records are left alone." in result.findings[0].why
    assert office.watched()[ANN].strikes == 0


def test_a_postponed_calendar_that_could_not_be_read_before_stays_unobserved(make: Make) -> None:
    office = open_office(make, section='freshness = "24h"')
    google = office.sources["google"]
    for usual in (reads(meeting("a")), fails()):
        google.usual = usual
        office.run()
    google.usual = postpones()
    result = office.run()
    assert (calendar_of(result).observed, office.watched()[ANN].strikes) == (False, 1)


def test_a_source_that_has_put_off_three_agents_is_asked_for_nobody_else_and_other_sources_go_on(make: Make) -> None:
    agents = many(100)
    office = open_office(make, agents, other=[ANN, BOB])
    google, outlook = office.sources["google"], office.sources["outlook"]
    google.usual = postpones()
    result = office.run()
    assert observe.SPENT <= len(google.asked()) <= observe.SPENT + observe.READERS
    assert sorted(outlook.asked()) == [ANN, BOB]
    assert {each.why for each in result.calendars if each.source == "google"} == {
        "today's budget of 9 requests is used up; it is among the first next time."
    }
    assert (len(result.calendars), result.counts["unobserved"]) == (102, 100)


@pytest.mark.usefixtures("one_at_a_time")
def test_an_agent_with_limits_of_their_own_stops_nobody(make: Make) -> None:
    agents = many(9)
    office = open_office(make, agents)
    google = office.sources["google"]
    google.answers = {agent: postpones("this agent is throttled") for agent in (agents[0], agents[1], agents[3])}
    result = office.run()
    assert google.asked() == agents
    assert [each.observed for each in result.calendars] == [False, False, True, False, *[True] * 5]


@pytest.mark.usefixtures("one_at_a_time")
def test_each_calendar_has_its_turn_however_many_fail_and_however_few_a_run_can_read(make: Make) -> None:
    agents = many(8)
    office = open_office(make, agents)
    google = office.sources["google"]
    turns: list[list[str]] = []
    broken = agents[:4]

    def within_budget(request: PullRequest) -> Outcome:
        agent = request.calendar.agent.email
        if len(turns[-1]) >= 3:
            return postpones()(request)
        turns[-1].append(agent)
        return fails()(request) if agent in broken else reads()(request)

    google.usual = within_budget
    for number in range(8):
        turns.append([])
        office.world.now = NOW + timedelta(minutes=5 * number)
        office.run()
    assert turns[0] == agents[:3]
    for some in zip(turns, turns[1:], turns[2:], turns[3:], strict=False):
        assert set().union(*some) == set(agents), "nobody waits longer than it takes to read all the others"


# ---- the weekly comparison ------------------------------------------------------------------------------------------


def audited(request: PullRequest, *events: Event, spans: dict[str, Span], touched: Iterable[str] = ()) -> Pull:
    return whole(request, *events, audit=Audit(spans, frozenset(touched), request.window))


def at(start: datetime = SOON) -> Span:
    return Span(start, start + HOUR)


def test_what_the_chain_missed_is_a_critical_finding_that_does_not_change_the_exit_code(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()
    names = [f"client{n}@mail.example" for n in range(7)]
    missed = [meeting(name, SOON + (n + 1) * DAY) for n, name in enumerate(names)]
    spans = {event.id: event.span for event in (meeting("a"), *missed)}
    google.usual = lambda request: audited(request, meeting("a"), *missed, spans=spans)
    result = office.run()
    (found,) = [finding for finding in result.findings if finding.kind == "coverage_gap"]
    assert (found.severity, found.agent, result.exit_code) == ("critical", ANN, 0)
    assert found.why == (
        "ann@acme.example (ann@acme.example.ics) was compared with a list that its provider made anew: 7 events "
        f"({', '.join(names[:5])} and 2 more) had been missed or stood otherwise, which this read put right."
    )
    assert "client0" not in next(one.why for one in masked(result).findings if one.key == found.key)
    google.usual = reads()
    after = office.run()
    assert (kinds(after).count("coverage_gap"), calendar_of(after).mode) == (0, "incremental")


def test_what_differs_even_after_the_read_lets_the_calendar_be_read_whole_once(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    wrong = meeting("m/20261124", series="m")
    google.usual = reads(wrong)
    office.run()
    google.usual = lambda request: audited(request, wrong, spans={"m/20261124": at(SOON + HOUR)})
    result = office.run()
    (found,) = [finding for finding in result.findings if finding.kind == "coverage_gap"]
    assert found.why.endswith("1 event (m/20261124) still not as listed after this read: it is read whole next time.")
    google.asked()
    result = office.run()
    assert google.request().cursor is None
    assert kinds(result) == ["coverage_gap"], "it differs still"
    office.run()
    assert google.request().cursor is not None, "reading it whole each time would cost much and change nothing"


def test_a_first_read_has_missed_nothing(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = lambda request: audited(request, meeting("a"), spans={"a": at()})
    assert [kind for kind in kinds(office.run()) if kind == "coverage_gap"] == []


def test_what_changed_since_or_cannot_be_read_was_not_missed(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()
    later = SOON + 5 * HOUR
    google.usual = lambda request: replace(
        audited(request, meeting("a", later), spans={"a": at(later), "q": at()}, touched=["a"]),
        quarantined=[Quarantined("q", "it has no end")],
    )
    assert kinds(office.run()) == ["quarantined", "reschedule_not_propagated"]


def test_a_read_that_another_process_was_faster_with_is_compared_with_nothing(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    office.run()

    def overtaken(request: PullRequest) -> Pull:
        google.usual = changes(meeting("b", SOON + DAY))
        office.dry()
        return audited(request, meeting("a"), spans={})

    google.usual = overtaken
    result = office.run()
    assert "coverage_gap" not in kinds(result)
    assert office.rows(ANN) == {"a": None, "b": None}


# ---- what concerns all calendars alike ------------------------------------------------------------------------------


def refuses(_request: PullRequest) -> Outcome:
    raise AccessError("Google refuses this program: allow client 117 the scope calendar.events.readonly.")


@pytest.mark.parametrize("dry_run", [False, True])
def test_a_provider_that_refuses_the_program_ends_the_run_with_its_sentence(make: Make, dry_run: bool) -> None:
    agents = many(20)
    office = open_office(make, agents)
    google = office.sources["google"]
    google.usual = reads(meeting("a"))
    google.answers[agents[1]] = refuses
    with pytest.raises(AccessError, match="allow client 117") as raised:
        office.run(dry_run=dry_run)
    assert raised.value.exit_code == 2
    assert office.world.rows() == []
    assert office.world.journal() == []
    for agent, watched in office.watched().items():
        was_read = watched.cursor is not None
        assert office.rows(agent) == ({"a": None} if was_read else {}), "rows and cursor, or neither"
    with office.world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        runs = [(row["status"], row["exit_code"]) for row in state.last_runs(connection, setup.state)]
    assert runs == ([] if dry_run else [("refused", 2)])


@pytest.mark.usefixtures("one_at_a_time")
def test_after_a_refusal_nobody_else_is_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    ending = threading.Event()

    class Readers(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: FBT002  # as it is there
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ending.set()
            super().shutdown(wait=wait)

    def waits(request: PullRequest) -> Outcome:
        ending.wait(60)
        return reads()(request)

    monkeypatch.setattr(observe, "ThreadPoolExecutor", Readers)
    monkeypatch.setattr(observe, "AHEAD", 5)
    agents = many(9)
    office = open_office(make, agents)
    google = office.sources["google"]
    google.answers = {agents[0]: refuses, agents[1]: waits}
    with pytest.raises(AccessError):
        office.run()
    assert google.asked() in ([agents[0]], agents[:2]), "only whoever was being read is read to the end"


def test_after_a_refusal_the_lock_is_free_and_the_next_run_goes_on(make: Make) -> None:
    office = open_office(make)
    google = office.sources["google"]
    google.usual = refuses
    with pytest.raises(AccessError):
        office.run()
    google.usual = reads(meeting("a"))
    assert planned(office.run()) == [("create", "done")]


def test_connections_of_sources_are_released_at_the_end_whatever_happened(make: Make) -> None:
    office = open_office(make, [ANN], other=[BOB])
    google, outlook = office.sources["google"], office.sources["outlook"]
    google.usual = refuses
    with pytest.raises(AccessError), office.world.setup() as setup, replace(setup, sources=office.sources) as mine:
        run(mine, Options())
    assert (google.closed, outlook.closed) == (1, 1)


def test_a_mistake_of_ours_in_one_calendar_stops_no_other(make: Make) -> None:
    def stumbles(_request: PullRequest) -> Outcome:
        raise ZeroDivisionError(CLIENT)

    office = open_office(make, [ANN, BOB])
    office.sources["google"].answers[ANN] = stumbles
    result = office.run()
    assert [each.observed for each in result.calendars] == [False, True]
    assert "ZeroDivisionError" in (calendar_of(result).why or "")
    assert CLIENT not in (calendar_of(result).why or "")


def test_a_dry_run_says_first_what_it_could_not_see(make: Make) -> None:
    office = open_office(make, [ANN, BOB])
    office.sources["google"].answers[ANN] = fails("The account is suspended.")
    said = plain(build(office.dry(), Look(job="acme")))
    assert said.startswith("BLIND")
    assert "The account is suspended." in said.partition("besides")[0]
    assert "not asked" not in said
    assert office.watched()[ANN].strikes == 0
