"""Disasters in which things multiply: whatever happens between runs, a meeting has one live record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from threading import Barrier

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.errors import LockedError
from reconciler.run import Options, Setup, run
from reconciler.simulator.google import Fault
from tests.e2e import google_world
from tests.e2e.google_world import ANN, BOB, CID, later, making, showing
from tests.e2e.world import NOW, World, event, kinds, planned

Make = Callable[..., World]
MakeGoogle = google_world.Make
SOON = NOW + timedelta(days=2)
HOUR = timedelta(hours=1)


@pytest.fixture
def google(tmp_path: Path) -> Iterator[MakeGoogle]:
    """Make a world whose calendars are Google's."""
    yield from making(tmp_path)


def live(world: World) -> Counter[str]:
    """Return how many live records each key has."""
    return Counter(key for key, status in world.rows("source_key, status") if status == "scheduled")


# ---- row 3: duplicates multiply with every run ----------------------------------------------------------------------

DIARY = [event(f"e{number}", SOON + number * HOUR) for number in range(8)]


def nothing(_world: World) -> None:
    """Let nothing happen."""


def feed_is_empty(world: World) -> None:
    world.write(ANN)


def feed_is_gone(world: World) -> None:
    world.file(ANN).unlink()


def feed_is_read_twice(world: World) -> None:
    world.write(ANN, *DIARY, *DIARY)


def feed_is_turned_round(world: World) -> None:
    world.write(ANN, *reversed(DIARY))


def feed_is_made_anew(world: World) -> None:
    """Let the exporter stamp all entries anew, as some do each time."""
    world.write(ANN, *(event(f"e{number}", SOON + number * HOUR, modified="20261122T160000Z") for number in range(8)))


def keys_are_lost(world: World) -> None:
    """Let an import into the CRM empty the column of our keys."""
    world.sql("UPDATE appointments SET source_key = NULL")


def keys_are_spelled_otherwise(world: World) -> None:
    world.sql("UPDATE appointments SET source_key = upper(source_key)")


def writers_are_others(world: World) -> None:
    world.sql("UPDATE appointments SET updated_at = '2026-11-22 16:00:00', version = version + 1")


HAPPENS = [
    feed_is_empty,
    feed_is_gone,
    feed_is_read_twice,
    feed_is_turned_round,
    feed_is_made_anew,
    keys_are_lost,
    keys_are_spelled_otherwise,
    writers_are_others,
]


@pytest.mark.parametrize("happens", HAPPENS)
def test_twelve_runs_make_no_duplicate_whatever_happens_before_each(
    make: Make, happens: Callable[[World], None]
) -> None:
    """Row 3: the same trouble before every other run, and a whole read in between."""
    world = make()
    world.write(ANN, *DIARY)
    world.run()
    for turn in range(12):
        world.now += HOUR
        world.write(ANN, *DIARY)
        (happens if turn % 2 else nothing)(world)
        assert not any(delta.action == "create" for delta in world.run(full=turn % 3 == 0).deltas)
    assert [status for (status,) in world.rows("status")] == ["scheduled"] * 8


@pytest.mark.parametrize("first", ["newer", "calendar", "report"])
def test_twelve_runs_each_with_an_empty_state_make_no_duplicate(tmp_path: Path, first: str) -> None:
    """Row 3: the state database is lost before every run (a container without a volume); keys find the records."""
    world = World(tmp_path, policy=f'first = "{first}"')
    for turn in range(12):
        world.state = f"sqlite:///state{turn}.db"
        world.write(ANN, *DIARY, event("moved", SOON + timedelta(days=1 + turn)))
        world.now += HOUR
        result = world.run()
        assert [delta.event for delta in result.deltas if delta.action == "create"] == (
            [] if turn else [*(f"e{number}" for number in range(8)), "moved"]
        )
    assert set(live(world).values()) == {1}
    assert len(world.rows()) == 9


# ---- row 6: webhooks that are lost, late or there twice -------------------------------------------------------------


def test_what_webhooks_lost_is_made_up_for_and_one_that_comes_late_finds_its_record(make: Make) -> None:
    """Row 6: a booking, a move and a cancellation that no webhook brought, and the booking's that comes in the end."""
    world = make()
    world.write(ANN, event("moved"), event("cancelled", SOON + HOUR))
    world.insert("moved", agent_email=ANN)
    world.insert("cancelled", SOON + HOUR, agent_email=ANN)
    world.run()
    world.write(
        ANN,
        event("moved", SOON + timedelta(days=1)),
        event("cancelled", SOON + HOUR, extra="STATUS:CANCELLED\r\n"),
        event("booked", SOON + 3 * HOUR),
    )
    assert planned(world.run()) == [("cancel", "done"), ("create", "done"), ("update", "done")]
    upsert = (
        "INSERT INTO appointments (source_key, agent_email, contact_email, title, starts_at, ends_at, status)"
        " SELECT source_key, agent_email, contact_email, title, starts_at, ends_at, status FROM appointments"
        " WHERE source_key = 'booked' ON CONFLICT (source_key) DO UPDATE SET version = version + 1"
    )
    world.sql(upsert)
    world.now += HOUR
    result = world.run()
    assert (result.deltas, result.findings) == ((), ())
    assert live(world) == {"moved": 1, "booked": 1}


def test_a_webhook_with_keys_of_its_own_is_never_doubled_and_said_to_belong_together(make: Make) -> None:
    """Row 6: a connector without our keys delivers just before us. A person says that both are one."""
    world = make()
    world.write(ANN, event("a"))
    world.insert("connector:4711", agent_email=ANN)
    for _ in range(12):
        world.now += HOUR
        assert kinds(world.run()) == ["ambiguous"]
    assert len(world.rows()) == 1


# ---- row 12: storms of refusals -------------------------------------------------------------------------------------


def test_an_hour_of_refusals_in_the_middle_of_everything_costs_time_and_doubles_nothing(google: MakeGoogle) -> None:
    """Row 12: a limit is hit mid-run, again and again, while people go on booking."""
    world = google(agents=(ANN, BOB, CID))
    world.server.faults.add(Fault(status=429, reason="rateLimitExceeded", share=0.7))
    booked = 0
    for _ in range(6):
        for agent in (ANN, BOB, CID):
            world.calendar(agent).insert(showing(f"e{booked:02}", SOON + booked * HOUR))
            booked += 1
        later(world, minutes=10)
        world.run()
        assert set(live(world).values()) <= {1}
    world.server.faults.clear()
    later(world, hours=2)
    world.run()
    assert (len(live(world)), set(live(world).values())) == (booked, {1})
    assert world.run().deltas == ()


# ---- row 18: an update that comes as a deletion and a new event -----------------------------------------------------


def test_an_event_that_was_replaced_by_its_twin_is_one_record_and_a_question(make: Make) -> None:
    """Row 18: a tool deletes and writes anew under another UID. What vanished is no evidence; the twin is no create."""
    world = make()
    world.write(ANN, event("old"))
    world.run()
    for turn in range(12):
        world.now += HOUR
        world.write(ANN, event(f"new{turn}"))
        result = world.run()
        assert (len(world.rows()), live(world)) == (1, {"old": 1})
        assert (kinds(result), result.deltas) == (["ambiguous", "orphan_in_crm"], ())
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    assert entry.call(["link", "--suggested", "--job", str(world.job())], outside) == 0
    after = world.run()
    assert (after.deltas, after.findings, len(world.rows())) == ((), (), 1)


def test_a_move_is_written_into_the_record_that_is_there(make: Make) -> None:
    """Row 18: never delete and create: the row keeps its id and what others wrote beside it."""
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET notes = 'brings her mother'")
    for day in range(3, 8):
        world.now += HOUR
        world.write(ANN, event("a", NOW + timedelta(days=day)))
        assert planned(world.run()) == [("update", "done")]
    assert world.rows("id, notes, starts_at") == [(1, "brings her mother", "2026-11-29 17:00:00")]


# ---- row 22: copies that carry hidden ids ---------------------------------------------------------------------------

LINK = "DESCRIPTION:Reschedule: https://calendly.com/reschedulings/11112222-3333-4444-5555-666677778888\\n\r\n"
BOOKED = f"ORGANIZER:mailto:{ANN}\r\n{LINK}"


def test_a_copy_that_carries_the_bookings_hidden_id_neither_takes_nor_loses_its_record(make: Make) -> None:
    """Row 22: an agent copies a booked event to next week. The copy is a question; deleting it deletes nothing."""
    world = make()
    world.write(ANN, event("booked", extra=BOOKED))
    world.run()
    before = world.rows()
    copied = timedelta(days=9)
    world.write(ANN, event("booked", extra=BOOKED), event("copy", NOW + copied, extra=BOOKED))
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        assert (world.rows(), result.deltas) == (before, ())
        assert "ambiguous" in kinds(result)
    gone = f"{BOOKED}STATUS:CANCELLED\r\n"
    world.write(ANN, event("booked", extra=BOOKED), event("copy", NOW + copied, extra=gone))
    world.now += HOUR
    after = world.run()
    assert (world.rows(), after.deltas, after.findings) == (before, (), ())


# ---- row 23: overlapping runs ---------------------------------------------------------------------------------------


def test_runs_that_start_at_the_same_instant_are_one_run_and_no_duplicate(make: Make) -> None:
    """Row 23: a scheduler starts four. Who does not get the lock says so and has touched nothing."""
    world = make()
    world.write(ANN, *DIARY)
    start = Barrier(4, timeout=60)

    def once(setup: Setup) -> str:
        start.wait()
        try:
            return run(replace(setup, clock=world.clock), Options()).status
        except LockedError:
            return "locked"

    with ExitStack() as stack, ThreadPoolExecutor(4) as pool:
        came = Counter(pool.map(once, [stack.enter_context(world.setup()) for _ in range(4)]))
    assert came["applied"] == 1
    assert set(came) <= {"applied", "locked", "in_sync"}
    assert (len(world.rows()), set(live(world).values())) == (8, {1})
    assert world.run().status == "in_sync"
