"""What `--scheduled` means: a command that a schedule starts knows its slot, and does the slot's work once.

    slot = scheduling.slot_of(call, named)                  # before anything else: None without a line in the crontab
    scheduling.wait(call, named)                            # of what reads calendars: the jitter that the job asks for
    return scheduling.once(call, state, slot, work)         # work() returns the exit code; `run` has its own lock

The slot of a start is the latest one of the lines that start the same command on the same job. Where there is no
crontab, or none that can be read, there is no slot, and the work is done.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.cli import ending, screen
from reconciler.errors import ConfigError, LockedError, ReconcilerError, ServedError
from reconciler.schedule import Crontab, called, coming, concerns, find, latest, machine_zone, read, reads

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from reconciler.cli.world import Call, Named
    from reconciler.config import Job
    from reconciler.schedule import Called, Entry
    from reconciler.store.slots import Slot
    from reconciler.store.state import State


def crontab(call: Call, job: Job) -> Crontab:
    """Return what the crontab says that belongs to a job. Raises ConfigError where it can't be read."""
    path = find(_path(call, job), call.world.environ, call.world.cwd)
    return read(path) if path else Crontab(())


def on(call: Call, job: Job, entries: Iterable[Entry]) -> list[tuple[Entry, Called]]:
    """Return those entries that are on a job, each with what it asks."""
    asked = ((entry, called(entry.words, call.commands)) for entry in entries)
    return [(entry, each) for entry, each in asked if concerns(entry, each, _path(call, job))]


def lines(call: Call, job: Job) -> list[tuple[Entry, Called]]:
    """Return what the crontab starts on a job; nothing where there is none, or none that can be read."""
    try:
        return on(call, job, crontab(call, job).entries)
    except ConfigError:
        return []  # `check` and `schedule` say so: a schedule that can't be read stops no work


def _path(call: Call, job: Job) -> Path:
    return (call.world.cwd / job.path).absolute()


def slot_of(call: Call, named: Named) -> Slot | None:
    """Return the slot that this start stands for, as the crontab has it; None where no line makes such a start."""
    from reconciler.store.slots import Slot

    asked = called(call.world.words, call.commands)
    same = [entry for entry, each in lines(call, named.job) if each.command == asked.command]
    now, zone = call.world.clock(), machine_zone(call.world.environ)
    at = latest(same, now, zone)
    call.event.of(slot=at)
    return None if at is None else Slot(asked.command, at, coming(same, now, zone))


def next_read(call: Call, named: Named) -> datetime | None:
    """Return when the crontab starts next what reads all calendars of a job; None where nobody can tell."""
    reading = [entry for entry, each in lines(call, named.job) if reads(each)]
    return coming(reading, call.world.clock(), machine_zone(call.world.environ))


def once(call: Call, state: State, slot: Slot | None, work: Callable[[], int]) -> int:
    """Do a slot's work, unless it was done or is being done; return the exit code, 0 where there is nothing to do."""
    if slot is None:
        return work()
    from reconciler.store.database import run_lock

    try:
        with run_lock(state.engine, f"{state.name} {slot.command}"):
            at = _taken(call, state, slot)
            call.event.of(slot=at)
            return _served(call, state, slot.command, at, work)
    except ServedError as error:
        return nothing_to_do(call, str(error))
    except LockedError:
        return nothing_to_do(call, f"Another start of {slot.command} is at work; nothing was done.")


def _taken(call: Call, state: State, slot: Slot) -> datetime:
    from reconciler.store import slots

    now = call.world.clock()
    slots.set_right(state, slot, now)
    with state.begin() as connection:
        return slots.take(connection, state, slot, now)


def _served(call: Call, state: State, command: str, at: datetime, work: Callable[[], int]) -> int:
    """Do the work, and note how it ended. What dies on the way has served nothing."""
    try:
        code = work()
    except ReconcilerError as error:
        _ended(call, state, command, at, error.exit_code)
        raise
    _ended(call, state, command, at, code)
    return code


def _ended(call: Call, state: State, command: str, at: datetime, code: int) -> None:
    from reconciler.store import slots

    with state.begin() as connection:
        slots.end(connection, state, command, at, call.world.clock(), code)


def nothing_to_do(call: Call, why: str) -> int:
    """Say why a scheduled start does nothing, unless nobody wants to hear it, and return its exit code."""
    call.event.add(status="skipped")
    if not call.common.quiet:
        screen.say(f"reconcile: {why} (--scheduled)")
    return 0


# ---- jitter ---------------------------------------------------------------------------------------------------------


def wait(call: Call, named: Named, shard: str = "") -> None:
    """Wait the part of `[run] jitter` that the job's name, and the shard's, fix: not all jobs are to begin at once.

    Raises KeyboardInterrupt when this process is asked to end meanwhile.
    """
    left = part(named.job.name, named.job.run.jitter, shard).total_seconds()
    if not left:
        return
    with ending.heeding() as asked:
        while left > 0 and not asked():
            nap = min(ending.NAP, left)
            call.world.sleep(nap)
            left -= nap
        if asked():
            raise KeyboardInterrupt


def part(name: str, jitter: timedelta, shard: str = "") -> timedelta:
    """Return how long a job waits: always the same, in whole seconds, and less than `jitter`."""
    seconds = int(jitter.total_seconds())
    digest = hashlib.sha256(f"{name} {shard}".encode()).digest()
    return timedelta(seconds=int.from_bytes(digest[:8], "big") % seconds if seconds else 0)
