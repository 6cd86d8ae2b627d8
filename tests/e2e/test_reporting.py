"""What a report is made of: which period, what of it stands, and that nothing but the state and its people is asked."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import insert, update

from reconciler import reporting
from reconciler.config import load
from reconciler.errors import UsageError
from reconciler.model import Acceptance, Kind, Severity
from reconciler.report.recorded import Recorded
from reconciler.report.report import Standing
from reconciler.reporting import Asked, Made
from reconciler.selecting import Filter
from reconciler.store import accepted, schema, state
from reconciler.store.recorded import MOST_RUNS, Wanted, recorded
from reconciler.store.state import State
from tests.e2e.world import NOW, World, event

Make = Callable[..., World]
ANN, BOB = "ann@acme.example", "bob@acme.example"
HOUR = timedelta(hours=1)


@contextmanager
def read(world: World, **wanted: Any) -> Iterator[Recorded]:
    with world.setup(dry_run=True) as setup, setup.state.reading() as connection:
        asked = Wanted(made_at=world.now, calendars=setup.directory.calendars, kinds={"ics-ann": "ics"})
        yield recorded(connection, setup.state, replace(asked, **wanted))


@contextmanager
def told(world: World, **asked: Any) -> Iterator[Made]:
    """Make a report as commands do."""
    job = load(world.job(), world.environ)
    with (
        reporting.desk(job, world.environ, clock=world.clock) as desk,
        reporting.report_of(desk, Asked(word="acme", **asked)) as made,
    ):
        yield made


def found(world: World, **wanted: Any) -> list[str]:
    """List what a report would tell of: kinds, most urgent first."""
    with read(world, **wanted) as known:
        return [tracked.finding.kind.value for tracked in known.findings]


def write(world: World, *statements: Any) -> None:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        for statement in statements:
            connection.execute(statement)


def later(world: World, hours: float = 1) -> datetime:
    world.now += timedelta(hours=hours)
    return world.now


def delivery(until: datetime, **values: Any) -> Any:
    stamps = {"since_at": 0, "until_at": int(until.timestamp()), "claimed_at": int(until.timestamp())}
    words = {
        "channel": "ops",
        "name": "ops",
        "kind": "report",
        "digest": str(values),
        "message_id": "m",
        "status": "sent",
    }
    return insert(schema.deliveries).values(job=1, **(stamps | words | values))


# ---- the period -----------------------------------------------------------------------------------------------------


def test_there_is_nothing_to_tell_before_the_first_run(make: Make) -> None:
    with pytest.raises(UsageError, match="no run of acme yet"), read(make()):
        pass


def test_the_first_report_begins_with_the_first_run(make: Make) -> None:
    world = make()
    world.run()
    later(world)
    world.run()
    with read(world, channel="ops") as known:
        assert known.since < NOW
        assert known.until == NOW + HOUR
        assert [run.started_at for run in known.runs] == [NOW + HOUR, NOW]
        assert known.last == known.runs[0]
        assert known.before is None


def test_the_first_report_goes_back_a_day_at_most(make: Make) -> None:
    world = make()
    world.run()
    later(world, 100)
    world.run()
    with read(world) as known:
        assert known.since == known.until - timedelta(hours=24)
        assert len(known.runs) == 1
        assert known.before is not None
        assert known.before.started_at == NOW


@pytest.mark.parametrize("status", ["sent", "unconfirmed"])
def test_a_report_begins_where_the_last_one_of_its_channel_ended(make: Make, status: str) -> None:
    world = make()
    world.run()
    write(world, delivery(NOW, status=status), delivery(NOW + 9 * HOUR, channel="another"))
    later(world)
    world.run()
    with read(world, channel="ops") as known:
        assert known.since == NOW
        assert [each.status for each in known.told] == [status]


def test_what_a_server_refused_is_told_again_by_the_next_report(make: Make) -> None:
    world = make()
    world.run()
    write(world, delivery(NOW, status="refused", why="451 try later"))
    later(world)
    world.run()
    with read(world, channel="ops") as known:
        assert known.since < NOW
        assert [(each.status, each.why) for each in known.told] == [("refused", "451 try later")]


def test_a_report_whose_process_died_counts_as_one_that_may_have_been_sent(make: Make) -> None:
    world = make()
    world.run()
    write(world, delivery(NOW, status="claimed"))
    with read(world, channel="ops") as known:  # it may still be at work
        assert known.since < NOW
        assert known.told == ()
    later(world)
    world.run()
    with read(world, channel="ops") as known:
        assert known.since == NOW
        assert [each.status for each in known.told] == ["unconfirmed"]


def test_a_report_that_somebody_is_sending_just_now_is_not_one_that_is_owed(make: Make) -> None:
    world = make()
    world.run()
    later(world)
    write(world, delivery(NOW, status="claimed", claimed_at=int(world.now.timestamp())))
    world.run()
    with read(world, channel="ops") as known:
        assert known.told == ()


def test_only_the_urgent_begin_where_an_urgent_one_ended(make: Make) -> None:
    world = make()
    world.run()
    write(world, delivery(NOW, kind="urgent"))
    later(world)
    world.run()
    with read(world, channel="ops", urgent=True) as known:
        assert known.since == NOW
    with read(world, channel="ops") as known:
        assert known.since < NOW


def test_one_run_can_be_told_alone(make: Make) -> None:
    world = make()
    world.run()
    world.write(ANN, event("a@x"))
    later(world)
    ran = world.run()
    world.write(ANN, event("a@x"), event("b@x", NOW + timedelta(days=3)))
    later(world)
    world.run()
    with read(world, run=ran.run.lower()) as known:
        assert [run.id for run in known.runs] == [ran.run]
        assert known.is_past
        assert [fix.event for fix in known.fixes] == ["a@x"]
        assert [tracked.finding.event for tracked in known.findings] == ["a@x"]


def test_a_run_that_is_not_known_is_not_guessed(make: Make) -> None:
    world = make()
    world.run()
    with pytest.raises(UsageError, match="is no run of acme that ended"), read(world, run="01M8"):
        pass


def test_a_period_that_was_over_before_the_first_run_is_refused(make: Make) -> None:
    world = make()
    world.run()
    with pytest.raises(UsageError, match="had ended by then"), read(world, until=NOW - HOUR):
        pass


def test_what_was_resolved_after_a_period_stood_open_in_it(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a@x"))
    world.run()
    world.write(ANN)
    later(world)
    world.write(ANN, event("b@x", NOW + timedelta(days=3)))
    world.sql("DELETE FROM appointments")
    later(world)
    world.run()
    with read(world, until=NOW) as known:
        [tracked] = known.findings
        assert tracked.finding.event == "a@x"
        assert tracked.resolved_at is None
        assert tracked.last_seen == NOW


def test_of_very_many_runs_the_newest_are_told_and_of_the_rest_how_they_ended(make: Make) -> None:
    world = make()
    world.run()
    rows = [
        {"id": f"r{n}", "job": 1, "started_at": int(NOW.timestamp()) + n, "finished_at": 1, "epoch": n + 1}
        | {"status": "refused" if n < 4 else "applied"}
        for n in range(1, MOST_RUNS + 8)
    ]
    write(world, insert(schema.runs).values(rows))
    with read(world) as known:
        assert len(known.runs) == MOST_RUNS
        assert known.older == {"in_sync": 1, "refused": 3, "applied": 4}
        assert known.runs[0].id == f"r{MOST_RUNS + 7}"


# ---- what stands ----------------------------------------------------------------------------------------------------


def test_findings_are_told_most_urgent_first_and_as_often_as_they_are_asked_for(make: Make) -> None:
    world = make(agents=(ANN, BOB), allow=())
    world.write(ANN, event("z@x", NOW + HOUR), event("a@x"), event("b@x", NOW + timedelta(days=1)))
    world.write(BOB, event("c@x"))
    world.insert("gone@x", NOW + timedelta(days=5), agent_email=BOB)
    world.run()
    with read(world) as known:
        walked = [(each.finding.severity, each.finding.agent, each.finding.event) for each in known.findings]
        assert walked == [
            (Severity.CRITICAL, ANN, "z@x"),
            (Severity.HIGH, ANN, "b@x"),
            (Severity.HIGH, ANN, "a@x"),
            (Severity.HIGH, BOB, "c@x"),
            (Severity.MEDIUM, BOB, None),
        ]
        twice = zip(known.findings, known.findings, strict=True)  # two walks at once
        assert [one.finding.event for one, other in twice if one == other] == [event for _, _, event in walked]


def test_a_finding_says_what_each_side_held_and_what_was_done_where(make: Make) -> None:
    world = make()
    world.write(ANN, event("a@x"))
    world.run()
    world.write(ANN, event("a@x", NOW + timedelta(days=3), modified="20261122T160000Z"))
    later(world)
    world.run()
    with read(world, since=NOW) as known:
        [tracked] = [each for each in known.findings if each.finding.kind is Kind.RESCHEDULE_NOT_PROPAGATED]
        [fix] = known.fixes
    assert tracked.first_seen == NOW + HOUR
    assert [(taken.action, taken.outcome) for taken in tracked.taken] == [("update", "done")]
    assert fix.finding == tracked.finding.key
    assert (fix.before["start"], fix.after["start"]) == ("2026-11-24T17:00:00Z", "2026-11-25T17:00:00Z")


def test_what_was_pending_in_one_report_is_new_in_the_next(make: Make) -> None:
    world = make(allow=())
    world.run()
    later(world)
    world.write(ANN, event("a@x", modified="20261122T175900Z"))
    world.run()
    with told(world) as made:
        assert [row.standing for row in made.report.rows()] == [Standing.PENDING]
    write(world, delivery(world.now))
    later(world)
    world.run()
    with told(world, channel="ops") as made:
        assert made.recorded.since == NOW + HOUR
        assert [(row.first_seen, row.is_new) for row in made.report.rows()] == [(NOW + HOUR, True)]


def test_a_persons_word_is_told_as_long_as_it_holds(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a@x"))
    world.run()
    given = Acceptance(by="kim", why="known", at=NOW, until=NOW + 5 * HOUR)
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        [row] = accepted.open_like(connection, setup.state, Filter())
        accepted.accept(connection, setup.state, [row["key"]], given)
    with read(world) as known:
        assert [(each.accepted.by, each.accepted.why) for each in known.findings if each.accepted] == [("kim", "known")]
    later(world, 6)
    with read(world) as known:
        assert [each.accepted for each in known.findings] == [None]


def test_nothing_of_a_run_at_work_is_told_before_it_ends(make: Make) -> None:
    world = make()
    world.run()
    later(world)
    with world.setup() as setup, setup.state.begin() as connection:
        epoch = state.begin_run(connection, setup.state, "AT-WORK", world.now)
        [watched] = state.watch(connection, setup.state, setup.directory.calendars)
        state.strike(connection, watched, "no access", world.now)
        row = {"run": "AT-WORK", "idempotency_key": "k", "epoch": epoch, "action": "create", "side": "crm", "key": "k"}
        done = {"content": b"", "status": "done", "at": int(world.now.timestamp()), "job": setup.state.job}
        connection.execute(insert(schema.journal).values(row | done))
    with read(world) as known:
        assert known.until == NOW
        assert known.attempted is not None
        assert known.attempted.id == "AT-WORK"
        assert [(each.blind_since, each.strikes, each.why) for each in known.calendars] == [(None, 0, None)]
        assert list(known.fixes) == []


def test_a_report_stands_still_while_a_run_goes_on(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a@x"))
    world.run()
    with read(world) as known:
        before = [each.finding.event for each in known.findings]
        world.write(ANN, event("a@x"), event("b@x", NOW + timedelta(days=3)))
        later(world)
        world.run()
        assert [each.finding.event for each in known.findings] == before == ["a@x"]
    assert found(world) == ["missing_in_crm", "missing_in_crm"]


def test_a_run_that_died_is_told_and_what_it_wrote_with_the_next(make: Make) -> None:
    world = make()
    world.run()
    later(world)
    write(world, insert(schema.runs).values(id="DIED", job=1, started_at=int(world.now.timestamp()), epoch=50))
    later(world)
    write(world, update(schema.jobs).values(epoch=50))
    world.run()
    with read(world) as known:
        assert [(run.id, run.finished_at) for run in known.runs][1] == ("DIED", None)
        assert known.attempted is None


def test_a_first_run_that_died_leaves_something_to_tell(make: Make) -> None:
    world = make()
    write(world, insert(schema.runs).values(id="DIED", job=1, started_at=int(NOW.timestamp()), epoch=1))
    with read(world) as known:
        assert known.last is None
        assert known.attempted is not None
        assert known.until == NOW
        assert list(known.findings) == []


# ---- calendars and days ---------------------------------------------------------------------------------------------


def test_only_calendars_of_the_job_file_are_told_of_and_new_ones_too(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.run()
    world.agents = (ANN, "cid@acme.example")
    world.write("cid@acme.example")
    with read(world) as known:
        assert [(each.place.agent, each.seen_at is not None) for each in known.calendars] == [
            (ANN, True),
            ("cid@acme.example", False),
        ]


def test_a_calendar_that_can_not_be_read_is_told_with_its_reason(make: Make) -> None:
    world = make()
    world.run()
    world.file(ANN).unlink()
    later(world)
    world.run()
    with read(world) as known:
        [watched] = known.calendars
    assert watched.blind_since == NOW + HOUR
    assert watched.strikes == 1
    assert watched.why


def test_days_are_summed_over_offices_and_narrowed_to_some(make: Make) -> None:
    world = make()
    world.run()
    base = {"job": 1, "runs": 0, "open": 2, "found": 3, "longest": 5, "kinds": '{"missing_in_crm":3}'}
    write(
        world,
        insert(schema.days).values({**base, "day": "2026-11-20", "office": "", "runs": 4, "longest": 9}),
        insert(schema.days).values({**base, "day": "2026-11-20", "office": "north"}),
        insert(schema.days).values({**base, "day": "2026-10-01", "office": "north"}),
    )
    with read(world) as known:
        assert [day.day for day in known.days] == [date(2026, 11, 20), date(2026, 11, 22)]
        day = known.days[0]
        assert (day.runs, day.found, day.open, day.longest) == (4, 6, 4, 9)
        assert day.kinds == {Kind.MISSING_IN_CRM: 6}
    with read(world, offices=frozenset({"north"})) as known:
        day = known.days[0]
        assert (day.runs, day.found, day.longest) == (4, 3, 5)
    with read(world, since=datetime(2026, 9, 1, tzinfo=NOW.tzinfo)) as known:
        assert known.days[0].day == date(2026, 10, 1)


# ---- states of before -----------------------------------------------------------------------------------------------


def test_what_an_older_version_saved_is_told_with_the_words_it_has(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a@x"))
    world.run()
    old: dict[str, Any] = {
        "why": "It is missing.",
        "action": "fix",
        "fields": {},
        "start": "2026-11-24T17:00:00Z",
        "tier": None,
    }
    gone = dict.fromkeys(("calendar", "outcome", "start"))
    write(
        world,
        update(schema.findings).values(payload=orjson.dumps(old).decode(), **gone),
        update(schema.runs).values(result=None, counts=None),
    )
    with read(world) as known:
        [tracked] = known.findings
        assert tracked.finding.why == "It is missing."
        assert (tracked.taken, tracked.place, dict(tracked.finding.has)) == ((), None, {})
        assert known.last is not None
        assert known.last.result == {}


# ---- very many ------------------------------------------------------------------------------------------------------


def many(job: State, count: int) -> Iterator[dict[str, Any]]:
    payload = orjson.dumps({"why": "It is missing. " * 20, "action": "fix", "fields": {}, "start": None}).decode()
    stamp = int(NOW.timestamp())
    for number in range(count):
        words = {"key": f"k{number:06}", "job": job.job, "kind": "missing_in_crm", "severity": "high", "agent": ANN}
        yield words | {"payload": payload, "first_seen": stamp, "last_seen": stamp, "sightings": 1}


def test_very_many_findings_are_never_held_whole(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(insert(schema.findings), list(many(setup.state, 8_000)))
    with read(world) as known:
        assert next(iter(known.findings)).finding.key == "k000000"
        tracemalloc.start()
        try:
            walked = sum(1 for _ in known.findings)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert walked == 8_000
    assert peak < 2_000_000, f"{peak:,} bytes for findings that together have three times as much"


# ---- the desk -------------------------------------------------------------------------------------------------------

SECRETIVE = """
[[source]]
kind = "google"
agents = ["ann@acme.example"]
auth = { token = "env:NOT_SET" }
[[source]]
kind = "ics"
agent = "bob@acme.example"
url = "env:NOT_SET_EITHER"
"""


def test_a_report_reads_no_secret_but_that_of_the_state(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.run()
    world.sources, world.limits = (
        SECRETIVE,
        '[report]\nmail = { to = ["ops@acme.example"], from = "r@acme.example", smtp = "env:NO"}',
    )
    with reporting.desk(load(world.job(), world.environ), world.environ, clock=world.clock) as desk:
        assert desk.directory is not None
        assert [calendar.name for calendar in desk.directory.calendars] == ["primary", "env:NOT_SET_EITHER"]
        with reporting.report_of(desk, Asked(word="acme")) as made:
            assert made.report.until == NOW
            assert made.recorded.notes == ()


QUERIED = """
[[source]]
kind = "ics"
agents = { query = "SELECT agent, calendar, office FROM people" }
"""


def test_a_report_is_made_though_the_crm_that_names_the_agents_is_down(make: Make) -> None:
    world = make(sources=QUERIED, allow=())
    world.sql("CREATE TABLE people (agent TEXT, calendar TEXT, office TEXT)")
    world.sql("INSERT INTO people VALUES ('ann@acme.example', 'ann.ics', 'north')")
    world.write(ANN, event("a@x"))
    world.run()
    (world.folder / "crm.db").rename(world.folder / "crm.away")
    with reporting.desk(load(world.job(), world.environ), world.environ, clock=world.clock) as desk:
        assert desk.directory is None
        with reporting.report_of(desk, Asked(word="acme")) as made:
            assert [each.place.agent for each in made.recorded.calendars] == [ANN]
            assert "could not be read" in " ".join(made.report.notes)
            assert [row.agent for row in made.report.rows()] == [ANN]


def test_a_logo_that_is_not_there_costs_the_logo_and_not_the_report(make: Make) -> None:
    world = make(limits='[report]\nlogo = "gone.png"\ncolour = "#14559e"')
    world.run()
    with told(world) as made:
        assert (made.report.brand.logo, made.report.brand.colour) == ("", "#14559e")
        assert "The logo could not be read: report.logo: gone.png" in " ".join(made.report.notes)


def test_a_masked_report_hides_clients_and_shows_agents(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a@x", title="Divorce of Jane"))
    world.run()
    with told(world, masked=True) as made:
        [row] = made.report.rows()
        said = f"{made.report} {row} {list(made.recorded.findings)}"
    assert row.agent == ANN
    assert "jane@mail.example" not in said
    assert "Divorce" not in said
