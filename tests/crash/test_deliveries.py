"""Killed at any instant, a report that was being sent goes out no second time, and nobody takes it for sent."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from datetime import timedelta
from multiprocessing.context import ForkServerContext
from typing import Any
from unittest.mock import patch

import pytest
from sqlalchemy import select

from reconciler import reporting
from reconciler.config import load
from reconciler.delivering import Order, Sending, Step, deliver
from reconciler.report.mail import Post
from reconciler.store.deliveries import STALE
from reconciler.store.schema import deliveries
from tests.crash.boundaries import Boundary, Kill, KilledError, reaching
from tests.crash.program import ended, forking, started
from tests.crash.twins import FREELY, Twins
from tests.e2e.world import World, event
from tests.postbox import Postbox, postbox

KILLED = -9
SEND = ("report", "--send")
POLLS = 6_000


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    return forking()


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as running:
        yield running


@pytest.fixture
def world(twins: Twins, box: Postbox) -> World:
    server = f"smtp://127.0.0.1:{box.port}"
    mail = f'mail = {{ to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "{server}" }}'
    made = twins.make(limits=f"{FREELY}\n[report]\n{mail}")
    made.write(made.agents[0], event("a"))
    made.run()
    return made


def send(world: World, **order: Any) -> Step:
    job = load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=lambda: world.now) as desk:
        outcome = deliver(Sending(desk=desk, environ=world.environ), Order(word="acme", **order))
    [one] = outcome.each
    return one.step


def rows(world: World) -> list[tuple[str, str]]:
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        return [
            (row.status, row.message_id) for row in connection.execute(select(deliveries).order_by(deliveries.c.id))
        ]


def later(world: World) -> None:
    world.now += STALE + timedelta(minutes=1)


def goes_out_once(world: World, box: Postbox) -> None:
    """Hold the next attempts, and the word of a person, to this: never a second time by itself, and never forgotten."""
    came = len(box.letters)
    later(world)
    step = send(world)
    if step is Step.UNCONFIRMED:
        assert send(world, urgent=True) is Step.UNCONFIRMED
        assert len(box.letters) == came, "nobody sends it again by himself"
        assert send(world, again=True) is Step.SENT
        assert len({letter["Message-ID"] for letter in box.letters}) == 1
    else:
        assert step is (Step.NOTHING if came else Step.SENT)
        assert len(box.letters) == 1
    assert send(world) is Step.NOTHING
    assert [status for status, _ in rows(world)] == ["sent"]


# ---- every step -----------------------------------------------------------------------------------------------------


def killed(world: World, fatal: int | None) -> Kill:
    """Send in this process, and end it at its boundary of that number, around the state's transactions and the mail."""
    kill, real = Kill(fatal), Post.send

    def sending(post: Post, letter: Any, server: Any) -> Any:
        kill(Boundary.SENDING)
        answer = real(post, letter, server)
        kill(Boundary.SENT)
        return answer

    with ExitStack() as stack:
        stack.enter_context(reaching(kill))
        stack.enter_context(patch.object(Post, "send", sending))
        stack.enter_context(suppress(KilledError))
        send(world)
    return kill


def test_a_report_that_dies_at_any_step_goes_out_once(world: World, twins: Twins, box: Postbox) -> None:
    again = twins.keep(world)
    now = world.now
    reached = killed(world, None).reached
    assert [one for one in reached if one in {Boundary.SENDING, Boundary.SENT}] == [Boundary.SENDING, Boundary.SENT]
    for fatal in range(1, len(reached) + 1, 3 if twins.is_postgres else 1):
        world = again()
        world.now = now
        box.letters.clear()
        assert killed(world, fatal).is_dead
        goes_out_once(world, box)


# ---- real processes -------------------------------------------------------------------------------------------------


def die(context: ForkServerContext, world: World, box: Postbox, step: str, pause: float = 0.0) -> None:
    """Send in a process, and kill it once the server was asked for this step."""
    process = started(context, world, words=SEND)
    for _ in range(POLLS):
        if step in box.spoken or process.exitcode is not None:
            break
        time.sleep(0.01)
    time.sleep(pause)
    process.kill()
    assert ended(process) == KILLED


@pytest.mark.parametrize("step", ["EHLO", "MAIL", "DATA", "END"])
def test_a_process_that_is_killed_in_the_middle_of_a_mail_sends_it_no_second_time(
    world: World, box: Postbox, context: ForkServerContext, step: str
) -> None:
    box.faults[step] = "taken, then silence" if step == "END" else "silence"
    die(context, world, box, step)
    assert len(box.letters) == (step == "END")
    box.faults.clear()
    [(status, number)] = rows(world)
    assert status == "claimed"
    assert send(world) is Step.BUSY, "it may still be at it"
    goes_out_once(world, box)
    assert [status for status, _ in rows(world)] == ["sent"]
    assert {letter["Message-ID"] for letter in box.letters} == {number}


def test_processes_that_are_killed_at_random_send_nothing_twice(
    world: World, box: Postbox, context: ForkServerContext
) -> None:
    draw = random.Random(6)
    for _ in range(4):
        process = started(context, world, words=SEND)
        time.sleep(draw.random())
        process.kill()
        ended(process)
        later(world)
        world.run()
    counted = Counter(letter["Message-ID"] for letter in box.letters)
    assert all(count == 1 for count in counted.values()), counted
    later(world)
    world.run()
    assert send(world) is Step.SENT
    assert send(world) is Step.NOTHING


def test_of_two_processes_that_send_at_the_same_instant_one_does(
    world: World, box: Postbox, context: ForkServerContext
) -> None:
    barrier = context.Barrier(2)
    both = [started(context, world, barrier, words=SEND) for _ in range(2)]
    assert [ended(each) for each in both] == [0, 0]
    assert len(box.letters) == 1
    assert [status for status, _ in rows(world)] == ["sent"]


def test_a_process_that_comes_while_another_sends_leaves_it_to_that_one(
    world: World, box: Postbox, context: ForkServerContext
) -> None:
    box.gate = threading.Event()
    first = started(context, world, words=SEND)
    for _ in range(POLLS):
        if box.letters:
            break
        time.sleep(0.01)
    assert ended(started(context, world, words=SEND)) == 0
    assert ended(started(context, world, words=("report", "--send", "--again"))) == 0
    box.gate.set()
    assert ended(first) == 0
    assert len(box.letters) == 1
