"""What is measured of a state: totals that only grow, and gauges that are right whatever failed, on both databases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from reconciler.figures import Figures, Looked
from reconciler.model import Agent, Calendar
from reconciler.store import codec, gauges, state, totals
from reconciler.store.gauges import Gauges
from reconciler.store.schema import calendars, deliveries, runs
from reconciler.store.state import Ended, State, open_state
from reconciler.store.versions import HEAD

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
Open = Callable[..., State]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open states on one and the same database; all are closed in the end."""
    url = f"sqlite:///{tmp_path}/state.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")()
    states: list[State] = []

    def open_one(job: str = "acme") -> State:
        states.append(open_state(url, job))
        return states[-1]

    yield open_one
    for each in states:
        each.engine.dispose()


def read(of: State, now: datetime = NOW) -> Gauges:
    with of.reading() as connection:
        return gauges.read(connection, of, now, 24 * HOUR)


def ran(of: State, name: str, at: datetime, how: Ended, command: str = "run") -> None:
    with of.begin() as connection:
        state.begin_run(connection, of, name, at, command)
        state.end_run(connection, of, name, at + timedelta(minutes=1), how)


def test_totals_of_many_who_add_at_once_lose_nothing(opened: Open) -> None:
    acme, other = opened(), opened("other")

    def add(_: int) -> None:
        with acme.begin() as connection:
            totals.add(connection, acme, {"found": {("missing_in_crm", "high"): 2}, "fixed": {("missing_in_crm",): 0}})

    with ThreadPoolExecutor(4) as workers:
        list(workers.map(add, range(12)))
    with acme.reading() as connection:
        found, others = totals.read(connection, acme), totals.read(connection, other)
    assert found["found"] == {("missing_in_crm", "high"): 24}
    assert found["fixed"] == {("missing_in_crm",): 0}
    assert not any(others.values())


def test_a_total_takes_the_labels_that_it_is_split_by_and_no_others(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection, pytest.raises(ValueError, match="split by"):
        totals.add(connection, acme, {"found": {("missing_in_crm", "high", "ann@acme.example"): 1}})


def test_ages_are_those_of_runs_that_did_what_they_are_about(opened: Open) -> None:
    acme = opened()
    assert (read(acme).attempted_at, read(acme).compared_at, read(acme).last) == (None, None, None)
    ran(acme, "r1", NOW, Ended("in_sync", 0, "", {}, compared=True))
    ran(acme, "r2", NOW + HOUR, Ended("partial", 5, "", {}, compared=True))
    ran(acme, "r3", NOW + 2 * HOUR, Ended("partial", 5, "", {}))  # its CRM was out of reach
    ran(acme, "r4", NOW + 3 * HOUR, Ended("applied", 0, "", {}), command="resolve")
    found = read(acme)
    minute = timedelta(minutes=1)
    assert (found.succeeded_at, found.compared_at) == (NOW + minute, NOW + HOUR + minute)
    assert found.attempted_at == NOW + 2 * HOUR
    assert found.last
    assert (found.last.status, found.last.exit_code) == ("partial", 5)

    gauges.attempted(acme, NOW + 4 * HOUR, 2)
    found = read(acme)
    assert (found.attempted_at, found.attempt_code) == (NOW + 4 * HOUR, 2)
    other = opened("other")
    gauges.attempted(acme, NOW + 5 * HOUR)
    assert read(acme).attempt_code is None
    assert read(other).attempted_at is None, "each job has its own"


def test_a_run_of_an_older_version_compared_if_it_can_not_have_ended_otherwise(opened: Open) -> None:
    acme = opened()
    ran(acme, "r1", NOW, Ended("in_sync", 0, "", {}))
    ran(acme, "r2", NOW + HOUR, Ended("partial", 5, "", {}))
    with acme.begin() as connection:
        connection.execute(update(runs).values(compared=None, figures=None))
    found = read(acme)
    assert found.compared_at == NOW + timedelta(minutes=1)
    assert found.last
    assert found.last.figures == Figures()


def test_a_clock_that_is_set_back_does_not_hide_the_runs_after_it(opened: Open) -> None:
    acme = opened()
    ran(acme, "r1", NOW + 100 * HOUR, Ended("in_sync", 0, "", {}, compared=True))
    ran(acme, "r2", NOW, Ended("partial", 5, "", {}, compared=True))
    found = read(acme)
    assert found.compared_at == NOW + timedelta(minutes=1)
    assert found.last
    assert found.last.status == "partial"


def test_what_is_measured_of_a_run_is_kept_and_added_up(opened: Open) -> None:
    acme = opened()
    figures = Figures(
        phases={"crm": 1.25},
        attempts={("google", "acme-1", "read", "2xx"): 7},
        looked={"google": Looked(provider="google", asked=3, observed=2)},
        deltas={("crm", "create", "done"): 4},
    )
    for name in ("r1", "r2"):
        ran(acme, name, NOW, Ended("applied", 0, "", {}, figures=figures))
    found = read(acme)
    assert found.last
    assert found.last.figures == figures
    assert found.totals["attempts"] == {("google", "acme-1", "read", "2xx"): 14}
    assert found.totals["calendars"] == {("google", "google", "observed"): 4, ("google", "google", "unobserved"): 2}
    assert found.totals["milliseconds"] == {("crm",): 2500}
    assert found.totals["runs"] == {("run", "applied", "0"): 2}


def test_each_calendar_is_counted_once_and_those_the_job_names_no_more_not_at_all(opened: Open) -> None:
    acme = opened()
    names = ("fresh", "late", "blind", "parked", "new", "left")
    wanted = [Calendar(source="ics", kind="ics", agent=Agent(email=f"{name}@acme.example")) for name in names]
    hour = int(NOW.timestamp()) - 3600
    old = hour - 86400
    how = {
        "fresh": {"seen_at": hour},
        "late": {"seen_at": old},
        "blind": {"seen_at": old - 5, "blind_since": hour},
        "parked": {"seen_at": old - 9, "blind_since": old, "next_try": hour + 7200},
        "left": {"seen_at": 1, "blind_since": 1},
    }
    with acme.begin() as connection:
        watched = {one.calendar.agent.email.partition("@")[0]: one.id for one in state.watch(connection, acme, wanted)}
        for name, values in how.items():
            connection.execute(update(calendars).where(calendars.c.id == watched[name]).values(values))
        state.name_calendars(connection, acme, frozenset(watched.values()) - {watched["left"]})
    [(source, found)] = read(acme).readings.items()
    assert source == "ics"
    assert found.states == dict.fromkeys(gauges.STATES, 1)
    assert found.oldest == codec.from_epoch(old - 5)
    assert found.blind_since == codec.from_epoch(old)

    with acme.begin() as connection:
        state.name_calendars(connection, acme, frozenset(watched.values()))
    assert sum(read(acme).readings["ics"].states.values()) == 6


def test_of_several_channels_the_one_that_waits_for_longest_counts(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        for number, (channel, at) in enumerate((("mail", 100), ("mail", 300), ("hook", 200))):
            row = {"job": acme.job, "channel": channel, "name": channel, "kind": "report", "digest": str(number)}
            stamps = {"since_at": 0, "until_at": 0, "claimed_at": at, "sent_at": at}
            connection.execute(insert(deliveries).values(**row, **stamps, message_id="", status="sent"))
    assert read(acme).sent == {"report": codec.from_epoch(200)}


def test_the_database_says_its_version_and_its_size(opened: Open) -> None:
    found = read(opened())
    assert found.version == HEAD
    assert found.size > 10_000
