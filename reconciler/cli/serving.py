"""Wait until somebody has had enough: Ctrl-C, or the signal by which systems end a service. Neither is an error."""

from __future__ import annotations

import signal
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ENDINGS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def until_stopped() -> Iterator[Callable[[], object]]:
    """Give what waits until this process is asked to end; from the first line on, not only while it is called.

    Only for the main thread, which is where signals arrive.
    """
    # A signal may come while its waiter is half asleep: an Event would then wait for a lock of its own, for ever.
    asked: SimpleQueue[int] = SimpleQueue()

    def stop(number: int, _frame: FrameType | None) -> None:
        asked.put(number)

    before = {number: signal.signal(number, stop) for number in ENDINGS}
    try:
        yield asked.get
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
