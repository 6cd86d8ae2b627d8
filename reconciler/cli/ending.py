"""How a run is asked to end: the first SIGTERM or SIGINT lets it finish what is in hand, the second one stops it."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs
from reconciler.phases import Phases

if TYPE_CHECKING:
    from types import FrameType

    from reconciler.cli.world import Call, Named
    from reconciler.quota import Budget, Quota
    from reconciler.setup import Setup
    from reconciler.store.quota import Engine

SIGNALS: Final = (signal.SIGINT, signal.SIGTERM)
NAP: Final = 0.5
"""Seconds after which who waits for a budget looks whether the run is to end."""

STDERR: Final = 2
KILLED: Final = 128
"""What shells add to the number of the signal that ended a process."""

SAID: Final = (
    b"reconcile: asked to end: what is in hand is finished, the rest waits for the next run. Once more stops at once.\n"
)


class Ending:
    """Whether this process was asked to end. Called from a signal, so it only takes a note."""

    def __init__(self) -> None:
        self._asked = False

    def __call__(self) -> bool:
        """Tell whether it was."""
        return self._asked

    def ask(self, number: int, _frame: FrameType | None = None) -> None:
        """Take note that it was, and say so; asked once more, end at once, as if killed: the next run copes with that.

        Nothing is tidied up then: what is to be released may be what it hangs on. As the first process of a container
        it would not die of a signal by itself.
        """
        if self._asked:
            os._exit(KILLED + number)
        self._asked = True
        with suppress(OSError):  # who reads it may have been ended too: that breaks nothing off
            os.write(STDERR, SAID)  # whatever writes to it may have been interrupted just now

    def sleep(self, seconds: float) -> None:
        """Sleep, but not on when the run is to end."""
        until = time.monotonic() + seconds
        while not self._asked and (left := until - time.monotonic()) > 0:
            time.sleep(min(NAP, left))

    def quota(self, provider: str, budget: Budget, engine: Engine | None) -> Quota:
        """Make a budget that is waited for only as long as the run is not to end."""
        from reconciler.quota import Quota

        return Quota(provider, budget, engine, sleep=self.sleep)


@contextmanager
def heeding() -> Iterator[Ending]:
    """Heed signals as long as a run is at work; only the main thread is sent any."""
    ending = Ending()
    if threading.current_thread() is not threading.main_thread():
        yield ending
        return
    before = {number: signal.signal(number, ending.ask) for number in SIGNALS}
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def opened(call: Call, named: Named, *, dry_run: bool) -> Iterator[Setup]:
    """Put a job together for a run that may take long, and that ends when it is asked to.

    What a dry run or a pull sends is counted here; any other run is recorded, with what it sent.
    """
    from reconciler.assembly import assemble
    from reconciler.recording import count_attempts

    world = call.world
    with heeding() as ending:
        assembled = assemble(named.job, world.environ, clock=world.clock, dry_run=dry_run, quota=ending.quota)
        with assembled as opened_setup:
            phases = Phases(time.monotonic, heard=logs.step, read=logs.asked)
            setup = replace(opened_setup, stop=ending, run=call.event.id, phases=phases)
            call.event.uses(setup)
            call.event.add(dry_run=dry_run)
            try:
                yield setup
            finally:
                if dry_run:
                    count_attempts(setup)
