"""Wait until somebody has had enough: Ctrl-C, or the signal by which systems end a service. Neither is an error."""

from __future__ import annotations

import signal
import socket
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ENDINGS: Final = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def until_stopped() -> Iterator[Callable[[], int]]:
    """Give what waits until this process is asked to end, and says how: from its first line on.

    Only for the main thread, which is where signals arrive.
    """
    # A handler in Python runs between two of its steps: one that had to wake a wait which is about to begin would come
    # too late, for ever. What the interpreter itself writes down at the signal's arrival is there to be read.
    reading, writing = socket.socketpair()
    writing.settimeout(0)
    told = signal.set_wakeup_fd(writing.fileno())
    before = {number: signal.signal(number, _heard) for number in ENDINGS}
    try:
        yield lambda: reading.recv(1)[0]
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(told)
        reading.close()
        writing.close()


def _heard(_number: int, _frame: FrameType | None) -> None:
    """Keep the signal from doing what it does otherwise."""
