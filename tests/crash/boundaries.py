"""Where a run can be interrupted: around each transaction of its state, and around each write to a side.

`reaching(hook)` shows every such place to `hook`, which may do there whatever may happen to a process: `Kill` ends it
for good at one of them, and nothing after it runs. Around a write, a hook may also answer in the writer's place.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from typing import Any, TypeAlias
from unittest.mock import patch

from sqlalchemy import Connection

from reconciler.crm.writes import SqlWriter
from reconciler.sources.google_writes import GoogleWriter
from reconciler.sources.microsoft_writes import MicrosoftWriter
from reconciler.store.state import State

WRITES = {
    SqlWriter: ("create", "update", "cancel", "delete"),
    GoogleWriter: ("create", "update", "cancel"),
    MicrosoftWriter: ("create", "update", "cancel"),
}


class Boundary(StrEnum):
    """One kind of place between two steps that can't be torn apart themselves."""

    OPENING = "before a transaction of the state"
    COMMITTING = "before that transaction is committed"
    COMMITTED = "after it was"
    SENDING = "before a write is sent"
    SENT = "after it was carried out"


Hook: TypeAlias = Callable[[Boundary], object]


class KilledError(BaseException):
    """What a SIGKILL is to a test: nothing after it runs, and nothing catches it."""


class Kill:
    """Ends a process at its boundary number `fatal`, from 1; `reached` lists the boundaries up to there."""

    def __init__(self, fatal: int | None = None) -> None:
        self.fatal = fatal
        self.reached: list[Boundary] = []
        self._lock = threading.Lock()  # calendars are read by several threads

    def __call__(self, boundary: Boundary) -> None:
        with self._lock:
            if not self.is_dead:
                self.reached.append(boundary)
            if self.is_dead:
                raise KilledError

    @property
    def is_dead(self) -> bool:
        return self.fatal is not None and len(self.reached) >= self.fatal


@contextmanager
def reaching(hook: Hook) -> Iterator[None]:
    """Show every boundary of what runs within to `hook`, in whatever thread it is reached."""
    begin = State.begin

    @contextmanager
    def opened(state: State) -> Iterator[Connection]:
        hook(Boundary.OPENING)
        with begin(state) as connection:
            yield connection
            hook(Boundary.COMMITTING)
        hook(Boundary.COMMITTED)

    with ExitStack() as patches:
        patches.enter_context(patch.object(State, "begin", opened))
        for writer, names in WRITES.items():
            for name in names:
                patches.enter_context(patch.object(writer, name, _sending(getattr(writer, name), hook)))
        yield


def _sending(write: Callable[..., Any], hook: Hook) -> Callable[..., Any]:
    def send(*given: Any, **named: Any) -> object:
        return hook(Boundary.SENDING) or _after(write(*given, **named), hook)

    return send


def _after(written: object, hook: Hook) -> object:
    return hook(Boundary.SENT) or written


def killed(work: Callable[[], object], fatal: int | None) -> Kill:
    """Do `work` and end it at its boundary number `fatal`, if it has so many."""
    kill = Kill(fatal)
    with reaching(kill), suppress(KilledError):
        work()
    return kill
