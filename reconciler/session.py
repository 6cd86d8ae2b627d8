"""The frame of a run: one at a time, noted when it begins and when it ends, whatever comes of it in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from ulid import ULID

from reconciler import recording
from reconciler.errors import CrmUnreachableError, LockedError, ReconcilerError, SnapshotError
from reconciler.groups import gap_key
from reconciler.hands import Hands
from reconciler.judgement import Unknown
from reconciler.model import AgentState, Window, rfc3339
from reconciler.observe import Observed
from reconciler.phases import Phase
from reconciler.recording import Looked
from reconciler.recovery import recover
from reconciler.snapshot import unreachable
from reconciler.store import journal, ledger, slots, state
from reconciler.store.database import run_lock
from reconciler.store.state import State

if TYPE_CHECKING:
    from reconciler.model import Calendar
    from reconciler.result import Result
    from reconciler.setup import Setup
    from reconciler.store.database import Connection
    from reconciler.store.ledger import Sighting
    from reconciler.store.slots import Slot


GRACE = timedelta(minutes=10)
"""What a run may take beyond its deadline: one read, one write, and what is written down of it."""
LONG = timedelta(hours=6)
"""How long a run without a deadline may take before it counts as hanging."""


@dataclass(slots=True, kw_only=True)
class Session:
    """What one run knows so far. `refusal` and `blindness` say why nothing is planned, a sentence each.

    `unknown` is what earlier runs wrote of which nobody could tell yet what became of it. `compares` is false for a
    command that looks at a part of the CRM only: what it did not look for stays open.
    """

    id: str
    now: datetime
    window: Window
    epoch: int = 0
    slot: datetime | None = None
    home: State | None = None  # the job's own state, where this run works on a copy of it
    observed: list[Observed] = field(default_factory=list)
    refusal: str | None = None
    blindness: str | None = None
    unknown: Unknown = field(default_factory=Unknown)
    compares: bool = True
    holds_lock: Callable[[], bool] = lambda: True

    @property
    def is_judged(self) -> bool:
        """Tell whether both sides could be compared, if they were to be."""
        return not (self.refusal or self.blindness)

    def blind_agents(self) -> set[str]:
        """Return the agents of whom at least one calendar was not observed."""
        return {each.watched.calendar.agent.email for each in self.observed if each.mode is None}


@contextmanager
def session(setup: Setup, command: str = "run", slot: Slot | None = None) -> Iterator[Session]:
    """Hold the lock and note the run of `command`, unless it is a dry run: that writes nothing which two could spoil.

    What dead runs sent and never confirmed is settled before anything else. Raises LockedError and StateError, and
    ServedError where the run was to serve a `slot` that another one has served.
    """
    now = setup.clock()
    this = Session(id=setup.run or str(ULID.from_datetime(now)), now=now, window=setup.window(now))
    with ExitStack() as stack:
        if not setup.is_dry:
            this.holds_lock = _locked(stack, setup, now)
            if slot:
                slots.set_right(setup.state, slot, now)
        with setup.state.begin() as connection:
            state.bind(connection, setup.state, setup.reader.identity)
            if not setup.is_dry:
                this.epoch = state.begin_run(connection, setup.state, this.id, this.now, command)
                this.slot = slots.take(connection, setup.state, slot, this.now, this.id) if slot else None
        try:
            _recover(setup, this)
            yield this
        except ReconcilerError as error:
            if not setup.is_dry:
                with setup.state.begin() as connection:
                    recording.record_end(connection, setup, (this.id, this.now), error)
            raise


def _locked(stack: ExitStack, setup: Setup, now: datetime) -> Callable[[], bool]:
    """Hold the lock of the CRM for as long as `stack` does. Raises LockedError, which tells of a run that hangs."""
    try:
        return stack.enter_context(run_lock(setup.state.engine, setup.reader.identity))
    except LockedError as error:
        with setup.state.begin() as connection:
            last = state.begun_last(connection, setup.reader.identity)
        if last is None or last.is_over:
            raise  # it begins just now, or has a state of its own
        is_ours, deadline = last.job == setup.job.name, setup.job.run.deadline
        if now - last.at <= (deadline + GRACE if is_ours and deadline is not None else LONG):
            raise
        run = "run" if is_ours else f"run of {last.job}"
        said = f"The {run} that began at {rfc3339(last.at)} is still at work, and should have ended long ago"
        raise LockedError(f"{said}; nothing was done. If it hangs, end its process.", overdue=True) from error


def _recover(setup: Setup, this: Session) -> None:
    """Settle what dead runs sent and never confirmed, before anything is planned; what they never sent has to wait."""
    if setup.writers is None:
        return
    with setup.state.begin() as connection:
        journal.abandon(connection, setup.state, this.epoch)
        intents = journal.unsettled(connection, setup.state)
    if not intents:
        return
    try:
        with Hands(setup, setup.writers, this.window, setup.patience(this.now)) as hands:
            this.unknown = recover(setup.state, intents, hands.of, this.now, this.id)
    except CrmUnreachableError as error:
        this.blindness = unreachable(error)
    except SnapshotError as error:
        this.refusal = str(error)


def finished(setup: Setup, this: Session, result: Result) -> Result:
    """Check the balance, write down what was found, and say since when."""
    if not (result.events.adds_up and result.records.adds_up):
        raise AssertionError(f"the counts do not add up: {result.events} {result.records}")
    result = replace(result, slot=this.slot)
    keys = [finding.key for finding in result.findings]
    with setup.phases.of(Phase.RECORD), setup.state.begin() as connection:
        before = ledger.sightings(connection, setup.state, keys)
        if not setup.is_dry:
            _remember(connection, setup, this, result, before)
    return replace(result, sightings=_since(keys, before, this.now))


def _since(keys: Iterable[str], before: Mapping[str, Sighting], now: datetime) -> dict[str, tuple[datetime, int]]:
    return {key: (before[key].first_seen, before[key].times + 1) if key in before else (now, 1) for key in keys}


def _is_tried(each: Observed) -> bool:
    return each.asked and not each.rested


def _is_meant(calendar: Calendar) -> bool:
    return calendar.agent.state is not AgentState.LEFT


def _remember(
    connection: Connection, setup: Setup, this: Session, result: Result, before: Mapping[str, Sighting]
) -> None:
    blind, could_tell = this.blind_agents(), this.is_judged and this.compares
    seen = {gap_key(each.watched.calendar) for each in this.observed if each.mode is not None}
    looked = Looked(
        asked=[(each.watched.calendar.agent.email, each.mode is not None) for each in this.observed if each.asked],
        sources=[(each.watched.calendar.source, each.mode is not None) for each in this.observed if _is_tried(each)],
        named=frozenset(each.watched.id for each in this.observed if _is_meant(each.watched.calendar)),
        could_find=lambda key, agent: key in seen or (could_tell and agent not in blind),
        compared=could_tell,
    )
    recording.record(connection, setup, (this.id, this.now), result, before, looked)
    if this.is_judged:
        ledger.forget_past(connection, setup.state, this.window.start)
