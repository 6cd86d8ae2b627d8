"""What one run works with and what was asked of it, and the terms that follow from its job file."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol, Self, runtime_checkable

from reconciler import normalise
from reconciler.judgement import Rulings
from reconciler.model import Window
from reconciler.normalise import Terms
from reconciler.phases import Phases
from reconciler.sources import claims
from reconciler.store import suppressed
from reconciler.store.state import State

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.config import Job
    from reconciler.crm import Reader, Writer
    from reconciler.forgotten import Forgotten
    from reconciler.model import Calendar, Shape
    from reconciler.quota import Quota
    from reconciler.sources import CalendarWriter, Source
    from reconciler.store.slots import Slot


@runtime_checkable
class Closeable(Protocol):
    """A source or a writer that holds connections."""

    def close(self) -> None:
        """Release them."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Writers:
    """What may write, each made only when there is something to write.

    `calendars` are by the name of their source: only those that the job's direction writes to. They charge what they
    send themselves; what is written to the CRM is charged to `budget`, where the job sets one.
    """

    crm: Callable[[], Writer]
    calendars: Mapping[str, Callable[[Callable[[], float]], CalendarWriter]]
    budget: Quota | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What a run works with, made by `assembly.assemble`. A dry run's `writers` is None: nothing in it could write.

    `run` is the id that the run goes by, where that is known before it begins.

    `stop` tells whether somebody asked this process to end: the delta in hand is finished, the rest deferred. `quotas`
    are the budgets that are spent, by project; `phases` takes the time of each part of the run.
    """

    job: Job
    state: State
    directory: Directory
    sources: Mapping[str, Source]
    reader: Reader
    writers: Writers | None
    clock: Callable[[], datetime]
    run: str = ""
    stop: Callable[[], bool] = lambda: False
    quotas: Mapping[str, Quota] = field(default_factory=dict)
    phases: Phases = field(default_factory=lambda: Phases(time.monotonic))

    @property
    def is_dry(self) -> bool:
        """Tell whether this run can't write."""
        return self.writers is None

    def window(self, now: datetime) -> Window:
        """Return the window of a run at `now`."""
        return Window.around(now, self.job.window.past, self.job.window.future)

    def compare(self, shape: Shape) -> tuple[str, ...]:
        """Return the fields that are compared with a CRM of this shape."""
        return normalise.compared(self.job.policy.compare, shape)

    def patience(self, now: datetime) -> Callable[[], float]:
        """Return what tells how many seconds a run that began at `now` has left before its deadline, or being ended."""
        deadline = self.job.run.deadline

        def left() -> float:
            if self.stop():
                return 0.0
            return math.inf if deadline is None else (now + deadline - self.clock()).total_seconds()

        return left

    def terms(self, shape: Shape) -> Terms:
        """Return the terms on which events become rows."""
        policy = self.job.policy
        return Terms(
            compare=self.compare(shape),
            shape=shape,
            relevant=frozenset(rule.word for rule in policy.relevant if rule.word != "title"),
            internal_domains=frozenset(policy.internal_domains),
            people=self.directory.people,
            salt=self.state.salt,
            titles={str(rule): rule.matches_title for rule in policy.relevant if rule.word == "title"},
            record_per_agent=self.job.crm.record_per == "agent",
            is_own=self._is_own,
            forgotten=self._forgotten(),
        )

    def _forgotten(self) -> Forgotten:
        with self.state.engine.begin() as connection:
            return suppressed.forgotten(connection, self.state)

    def _is_own(self, calendar: Calendar, crm_id: str, claimed: str) -> bool:
        ours = claims.claims(self.job.name, calendar, crm_id)
        return any(claimed in one.ids() for one in ours)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release all connections, whatever one of them may say to that."""
        with ExitStack() as stack:
            stack.callback(self.state.engine.dispose)
            stack.callback(self.reader.close)
            for source in self.sources.values():
                if isinstance(source, Closeable):
                    stack.callback(source.close)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked of one run, by which `command`.

    `approve` consents to a stored plan at once: `who` does, from `origin` (user, host, pod). `ruling` has the last word
    on each judged pair: what a person settles by a command of its own is an ordinary run with such a ruling. `slot` is
    what a start by a schedule stands for.
    """

    command: str = "run"
    full: bool = False
    only: frozenset[str] | None = None
    approve: str | None = None
    who: str = ""
    origin: str = ""
    ruling: Rulings | None = None
    slot: Slot | None = None
