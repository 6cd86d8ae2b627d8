"""Reading shared among many, beside one run that compares: it must come to what that run alone would have come to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest
from sqlalchemy import select

from reconciler.audit import Missed
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.errors import StateError, UsageError
from reconciler.model import Agent, Calendar, Kind
from reconciler.pulling import WHOLE, Pulled, Shard, pull
from reconciler.setup import Setup
from reconciler.store import mirror as rows
from reconciler.store import state
from reconciler.store.database import run_lock
from reconciler.store.schema import calendars, findings, journal, links, metadata, mirror, runs
from tests.e2e import google_world, microsoft_world
from tests.e2e.google_world import GoogleWorld
from tests.e2e.microsoft_world import MicrosoftWorld
from tests.e2e.world import NOW, World, event, kinds, planned, stamp

OFFICE = tuple(f"{name}@acme.example" for name in ("ann", "bob", "cid", "dee", "eve", "flo"))
ANN, BOB = OFFICE[:2]
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
DUE = 'due = "10m"\n'
FREELY = 'create = "500"\nupdate = "500"\ncancel = "500"\nagent_cancel = "500"'
PARTS = (Shard(1, 2), Shard(0, 2))
Make = Callable[..., World]


def pulled(world: World, shard: Shard = WHOLE) -> Pulled:
    with world.setup(dry_run=True) as setup:
        return pull(replace(setup, clock=world.clock), shard)


def kept(world: World, *tables: Any) -> dict[str, list[Any]]:
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        return {table.name: [*map(tuple, connection.execute(select(table)))] for table in tables}


# ---- parts ----------------------------------------------------------------------------------------------------------


def test_each_calendar_is_in_one_part_and_stays_there() -> None:
    office = [
        Calendar(source=source, kind="ics", agent=Agent(email=f"a{number}@acme.example"))
        for source in ("google", "microsoft")
        for number in range(300)
    ]
    for of in (1, 2, 7):
        parts = [Shard.parse(f"{number}/{of}") for number in range(1, of + 1)]
        counts = [sum(map(part.holds, office)) for part in parts]
        assert [sum(part.holds(one) for part in parts) for one in office] == [1] * len(office)
        assert min(counts) > len(office) / of / 2, "no part has much more to do than another"
    assert Shard.parse("0/4") == Shard.parse("4/4"), "whose count begins at 0 covers all of them, too"
    assert Shard(1, 2).holds(office[0]) == Shard(1, 2).holds(replace(office[0], kind="google"))


@pytest.mark.parametrize("typed", ["", "3", "5/4", "1/0", "-1/4", "1/4/4", "a/b", "1/99999", "१/4"])
def test_what_is_no_part_is_refused(typed: str) -> None:
    with pytest.raises(UsageError, match="the I-th of N parts"):
        Shard.parse(typed)


# ---- as one run alone -----------------------------------------------------------------------------------------------


def of_files(folder: Path, stack: ExitStack, section: str) -> World:
    del stack
    return World(folder, agents=OFFICE, section=section, limits=FREELY)


def of_google(folder: Path, stack: ExitStack, section: str) -> World:
    made = google_world.google_world(folder, agents=OFFICE, section=section, limits=FREELY)
    return stack.enter_context(made)


def of_outlook(folder: Path, stack: ExitStack, section: str) -> World:
    made = microsoft_world.microsoft_world(folder, agents=OFFICE, section=section, limits=FREELY)
    return stack.enter_context(made)


Script = Mapping[str, int | None]
"""By the name of an event in how many hours it is from now on, or that it is gone."""


def change(world: World, agent: str, shown: dict[str, int], script: Script) -> None:
    """Bring a calendar to what the script says."""
    place: Any = world.calendar(agent) if isinstance(world, GoogleWorld) else None
    place = world.mailbox(agent) if isinstance(world, MicrosoftWorld) else place
    module = google_world if isinstance(world, GoogleWorld) else microsoft_world
    for name, hours in script.items():
        before = shown.pop(name, None)
        if hours is not None:
            shown[name] = hours
        if place is None:
            continue
        if hours is None:
            place.delete(name)
        elif before is None:
            place.insert(module.showing(name, NOW + hours * HOUR))
        else:
            place.patch(name, module.times(NOW + hours * HOUR))
    if place is None:
        modified = stamp(world.now)
        world.write(agent, *(event(name, NOW + hours * HOUR, modified=modified) for name, hours in shown.items()))


ROUNDS: tuple[dict[str, Script], ...] = (
    {
        agent: {f"{agent[:3]}{number}": 30 + 3 * number + place for number in range(3)}
        for place, agent in enumerate(OFFICE)
    },
    {ANN: {"ann0": 50, "ann1": None}, BOB: {"bob2": None, "bob9": 60}, OFFICE[3]: {"dee1": 55}},
    {ANN: {"ann2": 70}, OFFICE[4]: {"eve0": None}, OFFICE[5]: {"flo0": 33, "flo9": 34}},
)


def told(world: World, result: Any) -> dict[str, Any]:
    """Return all that a run came to but for whose world it was."""
    return {
        "counts": dict(result.counts),
        "deltas": planned(result),
        "findings": kinds(result),
        "exit": result.exit_code,
        "rows": sorted(world.rows("agent_email, starts_at, ends_at, status")),
        "links": world.linked(),
    }


@pytest.mark.parametrize("of", [of_files, of_google, of_outlook])
def test_shards_and_one_run_come_to_what_that_run_alone_comes_to(
    of: Callable[[Path, ExitStack, str], World], tmp_path: Path
) -> None:
    with ExitStack() as stack:
        (tmp_path / "alone").mkdir()
        (tmp_path / "shared").mkdir()
        alone = of(tmp_path / "alone", stack, "")
        shared = of(tmp_path / "shared", stack, DUE)
        shown: dict[int, dict[str, dict[str, int]]] = {
            id(world): {agent: {} for agent in OFFICE} for world in (alone, shared)
        }
        for script in ROUNDS:
            for world in (alone, shared):
                for agent, changes in script.items():
                    change(world, agent, shown[id(world)][agent], changes)
                world.now += HOUR
            parts = [pulled(shared, part) for part in PARTS]
            assert sum(part.counts["calendars"] for part in parts) == len(OFFICE)
            for world in (alone, shared):
                world.now += 5 * MINUTE
            before = asked(shared)
            assert told(shared, shared.run()) == told(alone, alone.run())
            assert asked(shared) == before, "nobody was asked twice"
            assert asked(shared) == asked(alone), "and nobody more often than by one run alone"


def asked(world: World) -> int:
    """Return how many requests for events a stand-in has seen in all."""
    if isinstance(world, GoogleWorld):
        return len(world.server.requests("calendar"))
    return len(world.server.requests()) if isinstance(world, MicrosoftWorld) else 0


# ---- what a run relies on -------------------------------------------------------------------------------------------


@pytest.fixture
def office(tmp_path: Path) -> World:
    """Make two calendars, on a state in a file, that one run has brought into the CRM."""
    world = World(tmp_path, agents=(ANN, BOB), section=DUE, limits=FREELY)
    for agent in world.agents:
        world.write(agent, *(event(f"{agent[:3]}{number}", NOW + (30 + number) * HOUR) for number in range(5)))
    assert world.run().exit_code == 0
    world.now += HOUR
    return world


def why(result: Any) -> dict[str, tuple[bool, str | None]]:
    return {each.agent[:3]: (each.observed, each.why) for each in result.calendars}


def test_a_part_that_nobody_read_is_read_by_the_run_itself(office: World) -> None:
    mine = Shard.parse("1/2") if Shard(1, 2).holds(calendar_of(office, ANN)) else Shard.parse("2/2")
    assert pulled(office, mine).counts["calendars"] >= 1
    office.write(ANN, event("ann0", NOW + 70 * HOUR))  # after its calendar was read
    office.write(BOB, event("bob0", NOW + 70 * HOUR))
    office.now += 5 * MINUTE
    both = mine.holds(calendar_of(office, BOB))
    result = office.run()
    assert {finding.agent for finding in result.findings} == (set() if both else {BOB})
    office.now += 6 * MINUTE
    assert {finding.agent for finding in office.run().findings} >= {ANN}


def calendar_of(world: World, agent: str) -> Calendar:
    with world.setup(dry_run=True) as setup:
        return next(each for each in setup.directory.calendars if each.agent.email == agent)


@pytest.mark.parametrize("options", [{"full": True}, {"only": frozenset({ANN})}])
def test_who_names_a_calendar_or_asks_for_all_of_them_gets_what_they_are_now(
    office: World, options: dict[str, Any]
) -> None:
    pulled(office)
    office.write(ANN, *(event(f"ann{number}", NOW + (50 + number) * HOUR) for number in range(5)))
    office.now += MINUTE
    assert office.dry().deltas == ()
    assert len(office.dry(**options).deltas) == 5


def test_what_was_read_by_a_clock_that_was_ahead_is_asked_for_again_and_not_when_ours_has_caught_up(
    office: World,
) -> None:
    office.now += HOUR
    pulled(office)
    office.now -= HOUR
    office.write(ANN, *(event(f"ann{number}", NOW + (50 + number) * HOUR) for number in range(5)))
    assert len(office.dry().deltas) == 5


def test_what_was_read_by_other_terms_is_read_anew(office: World) -> None:
    pulled(office)
    office.write(ANN, *(event(f"ann{number}", NOW + (50 + number) * HOUR) for number in range(5)))
    office.now += MINUTE
    office.policy = 'compare = ["start", "end", "title"]'
    assert len(office.run().deltas) == 5


def test_a_calendar_that_a_pull_could_not_read_is_unobserved_and_not_tried_again_at_once(office: World) -> None:
    office.file(BOB).unlink()
    for strikes in (1, 2, 3):
        office.now += 11 * MINUTE
        came = pulled(office)
        assert (came.exit_code, came.counts["unobserved"]) == (5 if strikes < 3 else 0, 1)
        office.write(BOB)  # an empty calendar, if anybody looked
        office.now += MINUTE
        result = office.run()
        assert why(result)["bob"] == (False, came.calendars[1].why)
        assert (result.exit_code, result.deltas) == (came.exit_code, ()), "what was not seen is not gone"
        office.file(BOB).unlink()


def test_what_the_crm_changed_after_a_read_waits_until_the_calendar_was_read_again(office: World) -> None:
    office.section = 'due = "30m"\n'
    pulled(office)
    moved = NOW + 80 * HOUR
    office.sql(
        "UPDATE appointments SET starts_at = ?, ends_at = ?, version = 2, updated_at = ? WHERE source_key = 'ann0'",
        f"{moved:%Y-%m-%d %H:%M:%S}",
        f"{moved + HOUR:%Y-%m-%d %H:%M:%S}",
        f"{office.now + MINUTE:%Y-%m-%d %H:%M:%S}",
    )
    for _ in range(3):  # the last time it is older than `settle`, but whoever moved it may have moved the event, too
        office.now += 7 * MINUTE
        result = office.run()
        assert (result.counts["pending"], planned(result)) == (1, [])
    others = (event(f"ann{number}", NOW + (30 + number) * HOUR) for number in range(1, 5))
    office.write(ANN, event("ann0", moved), *others)
    pulled(office)
    office.now += MINUTE
    result = office.run()
    assert (result.counts["pending"], kinds(result), planned(result)) == (0, [], [])


def test_what_reads_had_missed_is_told_by_the_next_run_once(office: World) -> None:
    with office.setup(dry_run=True) as setup, setup.state.begin() as connection:
        watched = state.watch(connection, setup.state, setup.directory.calendars)
        state.keep_missed(connection, watched[0], Missed(chain=("ann0",)))
    pulled(office)
    office.now += MINUTE
    assert kinds(office.dry()) == ["coverage_gap"]
    assert kinds(office.run()) == ["coverage_gap"]
    assert kinds(office.run()) == []


def test_what_a_read_adds_to_it_while_a_run_tells_is_told_by_the_next(office: World) -> None:
    with office.setup(dry_run=True) as setup, setup.state.begin() as connection:
        before = state.watch(connection, setup.state, setup.directory.calendars)[0]
        state.keep_missed(connection, before, Missed(chain=("ann0",)))
        told = state.watch(connection, setup.state, setup.directory.calendars)[0]
        state.keep_missed(connection, told, Missed(expansion=("ann1",)))
        state.told_missed(connection, [told])
        left = state.watch(connection, setup.state, setup.directory.calendars)[0]
        assert left.missed == Missed(chain=("ann0",), expansion=("ann1",))
        state.told_missed(connection, [left])
        assert state.watch(connection, setup.state, setup.directory.calendars)[0].missed is None


# ---- beside others --------------------------------------------------------------------------------------------------


def test_a_pull_writes_what_it_saw_and_nothing_else_and_waits_for_no_run(make: Make) -> None:
    world = make(agents=(ANN, BOB), section=DUE, limits=FREELY)
    world.write(ANN, event("a"), event("b", NOW + 50 * HOUR))
    world.run()
    world.now += HOUR
    world.write(ANN, event("a", NOW + 60 * HOUR), event("c", NOW + 70 * HOUR))
    before = kept(world, links, journal, findings, runs), kept(world, mirror)
    with world.setup() as setup, run_lock(setup.state.engine, setup.reader.identity):
        assert pulled(world).exit_code == 0
    after = kept(world, links, journal, findings, runs), kept(world, mirror)
    assert after[0] == before[0]
    assert after[1] != before[1]


def test_parts_that_begin_at_once_on_a_new_state_miss_no_calendar_and_read_none_twice(make: Make) -> None:
    world = make(agents=OFFICE, section=DUE)
    world.setup(dry_run=True).state.engine.dispose()
    begun = threading.Barrier(4, timeout=60)

    def read(setup: Setup, part: Shard) -> list[str]:
        with setup:
            begun.wait()
            return [each.agent for each in pull(setup, part).calendars]

    with ThreadPoolExecutor(4) as at_once:
        setups = [world.setup(dry_run=True) for _ in range(4)]
        seen = [*at_once.map(read, setups, [*PARTS, *PARTS])]  # each part twice: a pod that was thought dead
    assert sorted(name for part in seen for name in part) == sorted(OFFICE * 2)
    assert len(kept(world, calendars)["calendars"]) == len(OFFICE)
    assert world.run().counts["unobserved"] == 0


def test_a_read_that_began_before_a_write_of_ours_does_not_put_back_what_was_there(office: World) -> None:
    office.write(ANN, event("ann0", NOW + 90 * HOUR))
    with office.setup(dry_run=True) as setup:
        source = setup.sources["ics-ann"]

        class Slow:
            """Reads, and hands over what it read after a run has written to the calendar."""

            scope, close = source.scope, staticmethod(lambda: None)

            def pull(self, request: Any) -> Any:
                read = source.pull(request)
                with setup.state.begin() as connection:
                    [watched] = state.watch(connection, setup.state, [request.calendar])
                    seen = rows.one(connection, setup.state, watched.id, "ann0")
                    assert seen is not None
                    rows.put(connection, setup.state, watched.id, replace(seen, etag="ours"))
                return read

        slow: Any = {**setup.sources, "ics-ann": Slow()}
        pull(replace(setup, sources=slow))
        with setup.state.begin() as connection:
            [watched] = state.watch(connection, setup.state, [calendar_of(office, ANN)])
            after = rows.one(connection, setup.state, watched.id, "ann0")
    assert after is not None
    assert after.etag == "ours"
    office.now += 5 * MINUTE
    moved = {finding.event for finding in office.run().findings if finding.kind is Kind.RESCHEDULE_NOT_PROPAGATED}
    assert moved == {"ann0"}, "the run reads it again"


PROGRAM = (sys.executable, "-m", "reconciler")


def test_processes_share_the_reading_and_a_run_counts_on_them(office: World) -> None:
    office.now = datetime.now(UTC).replace(microsecond=0)
    office.write(ANN, event("new", office.now + 30 * HOUR))
    job, environ = str(office.job()), {**os.environ, **office.environ}
    begun = [
        subprocess.Popen(
            [*PROGRAM, "pull", job, "--shard", f"{index}/2", "--quiet"], env=environ, cwd=office.folder, stderr=PIPE
        )
        for index in (0, 1)
    ]
    assert [(one.communicate()[1][:0], one.returncode) for one in begun] == [(b"", 0)] * 2
    office.file(ANN).unlink()  # nobody looks at it again
    office.now = datetime.now(UTC).replace(microsecond=0) + MINUTE
    result = office.run()
    assert result.counts["unobserved"] == 0
    assert "new" in {finding.event for finding in result.findings}


def test_what_the_job_names_no_more_is_let_go_by_a_run_and_by_no_pull(office: World) -> None:
    """A worker that starts late may go by an older list of agents: what a run reads by now is not its to take away."""
    office.run()
    office.agents = (ANN,)
    pulled(office)
    assert {row["absence"] for row in of_bob(office)} == {None}
    office.run()
    assert {row["absence"] for row in of_bob(office)} == {"unseen"}


def of_bob(world: World) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        return [*connection.execute(select(mirror).where(mirror.c.event.startswith("bob"))).mappings()]


def test_a_pull_for_another_crm_is_refused(office: World) -> None:
    with office.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(metadata.tables["jobs"].update().values(crm="another"))
    with pytest.raises(StateError, match="built against the CRM another"):
        pulled(office)


# ---- the command ----------------------------------------------------------------------------------------------------


def typed(world: World, *words: str) -> int:
    return entry.call(words, Outside(environ=world.environ, cwd=world.folder, clock=world.clock))


def test_the_command_says_what_was_read(office: World, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(office.job())
    office.file(BOB).unlink()
    assert typed(office, "pull", job) == 5
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "acme: 1 of 2 calendars read, 0 whole and 1 by their changes. Nothing was compared."
    assert said[1].startswith("  NOT READ bob@acme.example (ics-bob): ")
    assert typed(office, "pull", job, "--shard", "0/1", "--full", "--format", "json") == 5
    shown = json.loads(capsys.readouterr().out)
    assert shown["shard"] == "1/1"
    assert shown["counts"] == {"calendars": 2, "unobserved": 1, "full": 1, "incremental": 0, "elsewhere": 0}
    assert [each["observed"] for each in shown["calendars"]] == [True, False]
    assert typed(office, "pull", job, "--shard", "3/2") == 2
