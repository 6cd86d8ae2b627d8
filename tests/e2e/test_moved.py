"""An appointment that moves to a colleague, or to a series that goes on for its own, is never lost or doubled."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from tests.e2e.world import CLIENT, NOW, World, event, kinds, planned, stamp

ANN, BOB, CID = "ann@acme.example", "bob@acme.example", "cid@acme.example"
STRANGER = "stranger@elsewhere.example"
CANCELLED = "STATUS:CANCELLED\r\n"
Make = Callable[..., World]


def by(organizer: str, more: str = "") -> str:
    return f"ORGANIZER:mailto:{organizer}\r\n{more}"


@pytest.fixture
def world(make: Make) -> World:
    world = make(agents=(ANN, BOB, CID))
    world.write(ANN, event("u", extra=by(ANN)))
    assert planned(world.run()) == [("create", "done")]
    return world


def owners(world: World) -> list[tuple[object, ...]]:
    return world.rows("source_key, agent_email, status")


def test_a_meeting_moved_to_a_colleague_is_given_to_him_and_neither_cancelled_nor_made_anew(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB)))
    result = world.run()
    assert (planned(result), kinds(result)) == ([("update", "done")], ["wrong_owner"])
    assert owners(world) == [("u", BOB, "scheduled")]
    again = world.run()
    assert (again.deltas, again.findings, again.status) == ((), (), "in_sync")


def test_a_meeting_that_moved_is_followed_from_then_on(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB)))
    world.run()
    world.write(BOB, event("u", NOW + timedelta(days=4), extra=by(BOB)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("agent_email, starts_at") == [(BOB, "2026-11-26 17:00:00")]
    world.write(BOB, event("u", NOW + timedelta(days=4), extra=by(BOB, CANCELLED)))
    assert planned(world.run()) == [("cancel", "done")]
    assert world.run().deltas == ()


def test_a_meeting_that_moved_in_place_and_time_is_one_update(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", NOW + timedelta(days=3), extra=by(BOB)))
    assert planned(world.run()) == [("update", "done")]
    assert world.rows("agent_email, starts_at") == [(BOB, "2026-11-25 17:00:00")]


def test_the_new_copy_waits_until_it_settles_and_the_old_one_is_not_cancelled_meanwhile(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB), modified=stamp(world.now - timedelta(minutes=1))))
    assert world.run().deltas == ()
    world.now += timedelta(minutes=20)
    assert planned(world.run()) == [("update", "done")]
    assert owners(world) == [("u", BOB, "scheduled")]


def test_a_meeting_that_shows_nowhere_else_is_cancelled_once_that_has_settled(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED), modified=stamp(world.now - timedelta(minutes=1))))
    assert world.run().deltas == ()
    world.now += timedelta(minutes=20)
    assert planned(world.run()) == [("cancel", "done")]
    assert owners(world) == [("u", ANN, "cancelled")]


def test_nothing_moves_while_the_old_copy_is_there(world: World) -> None:
    world.write(BOB, event("u", extra=by(BOB)))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["ambiguous"])
    assert owners(world) == [("u", ANN, "scheduled")]


def test_nothing_moves_when_the_old_copy_is_merely_not_seen(world: World) -> None:
    world.write(ANN, event("other"))
    world.write(BOB, event("u", extra=by(BOB)))
    assert "update" not in {action for action, _ in planned(world.run())}
    assert ("u", ANN, "scheduled") in owners(world)


def test_a_stranger_who_knows_the_uid_gains_nothing_and_stops_nothing(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(STRANGER, f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{BOB}\r\n")))
    result = world.run()
    assert (planned(result), kinds(result)) == ([("cancel", "done")], ["ambiguous", "cancel_not_propagated"])
    assert owners(world) == [("u", ANN, "cancelled")]


def test_a_copy_that_names_a_colleague_as_organizer_waits_for_the_colleagues_own(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(CID, event("u", extra=by(BOB, f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{CID}\r\n")))
    held = world.run()
    assert (held.deltas, kinds(held)) == ((), ["ambiguous", "ambiguous"])
    assert owners(world) == [("u", ANN, "scheduled")]
    world.write(BOB, event("u", extra=by(BOB)))
    assert planned(world.run()) == [("update", "done")]
    assert owners(world) == [("u", BOB, "scheduled")]


def test_two_colleagues_who_both_have_it_now_are_a_question_for_a_person(world: World) -> None:
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB)))
    world.write(CID, event("u", extra=by(CID)))
    result = world.run()
    assert (result.deltas, kinds(result)) == ((), ["ambiguous"] * 3)
    assert owners(world) == [("u", ANN, "scheduled")]


def test_what_a_person_edited_meanwhile_stays_theirs_when_a_meeting_moves(world: World) -> None:
    world.sql("UPDATE appointments SET starts_at = '2026-11-24 09:00:00', version = version + 1")
    world.now += timedelta(minutes=20)
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB)))
    world.run()
    assert world.rows("agent_email, starts_at, status") == [(BOB, "2026-11-24 09:00:00", "scheduled")]


def test_where_each_agent_has_a_row_a_meeting_that_moves_leaves_one_and_makes_another(make: Make) -> None:
    world = make(agents=(ANN, BOB), crm='record_per = "agent"')
    world.write(ANN, event("u", extra=by(ANN)))
    world.run()
    world.write(ANN, event("u", extra=by(ANN, CANCELLED)))
    world.write(BOB, event("u", extra=by(BOB)))
    assert planned(world.run()) == [("cancel", "done"), ("create", "done")]
    assert world.run().deltas == ()


def test_occurrences_of_a_series_that_moves_are_given_to_the_colleague_one_by_one(make: Make) -> None:
    world = make(agents=(ANN, BOB), limits='update = "100"')
    weekly = "RRULE:FREQ=WEEKLY;COUNT=3\r\n"
    world.write(ANN, event("s", extra=by(ANN, weekly)))
    assert planned(world.run()) == [("create", "done")] * 3
    world.write(ANN, event("s", extra=by(ANN, weekly + CANCELLED)))
    world.write(BOB, event("s", extra=by(BOB, weekly)))
    assert planned(world.run()) == [("update", "done")] * 3
    assert {row[0] for row in world.rows("agent_email")} == {BOB}
    assert world.run().deltas == ()


# ---- this and all following -----------------------------------------------------------------------------------------

FIRST = NOW + timedelta(days=2)


def split(world: World, *, client: str = CLIENT) -> None:
    """Let the agent change a weekly series from the third week on: the calendar makes two series of one."""
    until = stamp(FIRST + timedelta(days=10))
    world.write(
        ANN,
        event("m", FIRST, extra=by(ANN, f"RRULE:FREQ=WEEKLY;UNTIL={until}\r\n")),
        event("n", FIRST + timedelta(days=15), client=client, extra=by(ANN, "RRULE:FREQ=WEEKLY;COUNT=2\r\n")),
    )


def weekly(make: Make) -> World:
    world = make()
    world.write(ANN, event("m", FIRST, extra=by(ANN, "RRULE:FREQ=WEEKLY;COUNT=4\r\n")))
    assert planned(world.run()) == [("create", "done")] * 4
    return world


def test_this_and_all_following_is_for_a_person_and_never_doubled_or_cancelled(make: Make) -> None:
    world = weekly(make)
    before = world.rows()
    split(world)
    first, second = world.run(), world.run()
    for result in (first, second):
        assert (result.deltas, kinds(result), world.rows()) == ((), ["stale_series"] * 4, before)
    assert {finding.why for finding in second.findings} == {
        "The rule of its series was changed or cut; the record still stands.",
        "It may go on for the series m, which was cut while CRM 3, 4 still stand.",
    }


def test_once_a_person_has_cancelled_what_was_cut_the_series_that_goes_on_is_made(make: Make) -> None:
    world = weekly(make)
    split(world)
    world.run()
    world.sql("UPDATE appointments SET status = 'cancelled', version = version + 1 WHERE id IN (3, 4)")
    world.now += timedelta(minutes=20)
    assert planned(world.run()) == [("create", "done")] * 2


def test_a_new_series_for_another_client_does_not_wait_for_one_that_was_cut(make: Make) -> None:
    world = weekly(make)
    split(world, client="amy@mail.example")
    assert planned(world.run()) == [("create", "done")] * 2
