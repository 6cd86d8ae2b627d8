"""What a command leaves for Prometheus when it is over, however it ended: all that is measured of its job.

Everything is read from the state at that moment, so that each export is complete, whichever command makes it, and one
after a failed run tells the true age of the last good one. No trouble in it changes what the command came to.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, scheduling
from reconciler.errors import LockedError, ReconcilerError, UsageError

if TYPE_CHECKING:
    from types import TracebackType

    from reconciler.cli.world import Call, Named
    from reconciler.config import Job
    from reconciler.metrics.families import Measured, Slots, Window
    from reconciler.quota import Budget
    from reconciler.schedule import Entry
    from reconciler.store.database import Connection
    from reconciler.store.gauges import Gauges
    from reconciler.store.state import State

TRIES: Final = 50
NAP: Final = 0.2
"""How often, and after how many seconds, it is looked whether another process has made its export."""
LOOK_BACK: Final = timedelta(days=1)
"""How far missed slots are looked for."""
GRACE: Final = timedelta(minutes=10)
"""After that a slot is missed: a run has its deadline, and what is still at work is not."""
LOST: Final = ("refused", "unconfirmed")


@contextmanager
def measured(call: Call, named: Named, *, starts: bool = False) -> Iterator[None]:
    """Export what is known of the job when what is done within is over; `starts` says that it is the start of a run.

    A start that failed is noted in the state though nothing is exported: no run may have come of it.
    """
    began, code = call.world.clock(), None
    try:
        yield
    except BaseException as error:
        code = logs.code_of(error)
        starts &= not isinstance(error, UsageError)  # a person mistyped something: that is no start
        raise
    finally:
        with _Harmless():
            _over(call, named, _Start(began, code) if starts else None)


@dataclass(frozen=True, slots=True)
class _Start:
    """The start of a run, and how it ended where it ended with an error."""

    at: datetime
    code: int | None


class _Harmless:
    """Say what went wrong within, and let it change nothing."""

    def __enter__(self) -> None:
        """Begin."""

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> bool:
        """Take note of an error. What ends the whole process still does."""
        if not isinstance(error, Exception):
            return False
        _warn(str(error) if isinstance(error, ReconcilerError) else f"it failed unexpectedly ({type(error).__name__})")
        return True


def _warn(why: str) -> None:
    import structlog

    structlog.get_logger().warning("metrics", why=why)


def _over(call: Call, named: Named, start: _Start | None) -> None:
    metrics = named.job.metrics
    if metrics.textfile is not None or metrics.pushgateway is not None:
        _leave(call, named, start)
    elif start is not None and start.code is not None:
        _note(call, named, start)


def _note(call: Call, named: Named, start: _Start) -> None:
    """Note a start that failed, where there is a state that can be opened: if there is not, the start said so."""
    from reconciler.store.gauges import attempted
    from reconciler.store.looking import looked_at

    with suppress(ReconcilerError), looked_at(named.job.state.reveal(call.world.environ), named.job.name) as state:
        if state is not None:
            attempted(state, start.at, start.code)


def _leave(call: Call, named: Named, start: _Start | None) -> None:
    """Export all that is measured. One process at a time: an older view of the state must not replace a newer one."""
    from reconciler.store.database import run_lock
    from reconciler.store.gauges import attempted
    from reconciler.store.state import open_state

    job = named.job
    state = open_state(job.state.reveal(call.world.environ), job.name)
    try:
        if start is not None:
            attempted(state, start.at, start.code)
        for _ in range(TRIES):
            try:
                with run_lock(state.engine, f"metrics of {job.name}"):
                    _export(call, job, state)
                    return
            except LockedError:
                call.world.sleep(NAP)
        _warn("another process is exporting, and does not end")
    finally:
        state.engine.dispose()


def _export(call: Call, job: Job, state: State) -> None:
    from reconciler.metrics import families, leaving

    content = families.exposition(_measured(call, job, state))
    if (path := job.metrics.textfile) is not None:
        _left("textfile", lambda: leaving.write(path, content))
    if job.metrics.pushgateway is not None:
        gateway = job.metrics.pushgateway.reveal(call.world.environ)
        _left("pushgateway", lambda: leaving.push(gateway, job.name, content))


def _left(where: str, leave: Callable[[], None]) -> None:
    from reconciler.metrics.leaving import NotLeftError

    try:
        leave()
    except NotLeftError as error:
        _warn(f"[metrics] {where}: {error}")


# ---- what is measured -----------------------------------------------------------------------------------------------


def _measured(call: Call, job: Job, state: State) -> Measured:
    from reconciler.metrics.families import Measured
    from reconciler.store import gauges

    now = call.world.clock()
    with state.reading() as connection:
        read = gauges.read(connection, state, now, job.run.freshness)
        telling = _telling(connection, state, job, now)
        slots = tuple(_slots(call, job, state, connection))
    return Measured(
        job=job.name,
        now=now,
        gauges=read,
        providers={source.name: source.kind for source in job.sources},
        dialect=state.engine.dialect.name,
        freshness=job.run.freshness.total_seconds(),
        windows=tuple(_windows(job, read)),
        telling=telling,
        heartbeat=job.report.when == "always" and bool(job.report.mail or job.report.webhook),
        slots=slots,
    )


def _telling(connection: Connection, state: State, job: Job, now: datetime) -> Counter[str]:
    """Count the reports that did not arrive, or may not have; those of channels that the job file still has."""
    from reconciler.store import deliveries

    lost = [one for one in deliveries.every(connection, state, now) if one.status in LOST]
    found = Counter(dict.fromkeys(LOST, 0))
    if lost:
        from reconciler.delivering import channels

        names = {channel.key for channel in channels(job)}
        found.update(one.status for one in lost if one.channel in names)
    return found


def _slots(call: Call, job: Job, state: State, connection: Connection) -> Iterator[Slots]:
    """Yield how the crontab's lines stand that start something on this job; those of one command stand together."""
    from reconciler.metrics.families import Slots
    from reconciler.schedule import coming, following, machine_zone
    from reconciler.store import slots

    now, zone = call.world.clock(), machine_zone(call.world.environ)
    mine = [(entry, asked) for entry, asked in scheduling.lines(call, job) if asked.is_followed]
    if not mine:
        return
    since = max(now - LOOK_BACK, slots.first(connection, state) or now)  # before the first, nothing can be missed
    until = now - GRACE - job.run.jitter
    done = {(one.command, one.at) for one in slots.noted(connection, state, since) if one.is_done}
    entries, passed = defaultdict[str, list["Entry"]](list), defaultdict[str, set[tuple[str, datetime]]](set)
    for entry, asked in mine:
        entries[_plain(asked.command)].append(entry)
        its = takewhile(lambda slot: slot <= until, following(entry, since, zone))
        passed[_plain(asked.command)] |= {(asked.command, slot) for slot in its}
    for command, some in entries.items():
        yield Slots(command=command, missed=len(passed[command] - done), coming=coming(some, now, zone))


def _plain(command: str) -> str:
    """Return a command without the values of its options: one of them may be a person."""
    words = command.split()
    options = [word.partition("=")[0] for word in words if word.startswith("--")]
    return " ".join([*takewhile(lambda word: word.isalpha(), words), *options])


def _windows(job: Job, read: Gauges) -> Iterator[Window]:
    """Yield the budgets of all projects that this job has ever asked, as the ledger has them now, by its own clock."""
    from reconciler.quota import CRMS, budget_for, steady

    for provider, project in sorted({(provider, project) for provider, project, *_ in read.totals["attempts"]}):
        if provider not in CRMS:  # their project is their address, which is told nobody
            budget = budget_for(provider, job.budget.get(provider))
            yield from _of_project(budget, (provider, project), read, steady())


def _of_project(budget: Budget, whose: tuple[str, str], read: Gauges, now: float) -> Iterator[Window]:
    from reconciler.metrics.families import Window
    from reconciler.quota import Scope

    provider, project = whose
    ledger = f"{provider}:{project}" if project else provider
    limits = {"minute": budget.per_minute, "day": budget.per_day, Scope.TOKEN.value: budget.per_minute}
    for bucket in (*budget.minute("minute"), *budget.day(), *budget.minute(Scope.TOKEN)):
        held, _ = bucket.level(read.levels.get((ledger, bucket.scope)), now)
        yield Window(
            provider=provider,
            project=project,
            window=bucket.scope,
            budget=budget.ours(limits[bucket.scope]) or 0,
            burst=bucket.capacity,
            left=held,
        )
