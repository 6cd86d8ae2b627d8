"""Whether a schedule fits: what it costs each provider's budget, and whether a job that waits comes in time."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from reconciler.cli import cadence, scheduling
from reconciler.cli.cadence import Demand, Schedule, spoken
from reconciler.cli.lines import LONGEST, Line, Mark, problems
from reconciler.errors import ConfigError, UsageError
from reconciler.model import AgentState
from reconciler.report.words import bounded
from reconciler.schedule import machine_zone, reads, rhythm
from reconciler.schedule import slots as slots_of

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.schedule import Called, Entry

_SEASONS: Final = (timedelta(), timedelta(days=182))
"""Zones may agree in one half of a year alone."""


def lines(call: Call, job: Job, people: Directory) -> Iterator[Line]:
    """Say what cron would not understand of the job's crontab, and whether its schedule fits."""
    entries = yield from _entries(call, job)
    mine = scheduling.on(call, job, entries)
    yield from misspelt(mine)
    yield from elsewhere(call, mine)
    yield from fits(call, job, people, mine)


def fits(call: Call, job: Job, people: Directory, lines: Iterable[tuple[Entry, Called]]) -> Iterator[Line]:
    """Say whether what these lines of a job start fits into its budgets, and between its slots."""
    lines = [*lines]
    yield from _unheard(job, lines)
    schedule = _schedule(call, job, lines)
    yield from _waits(job, schedule)
    yield from _budgets(call, job, people, schedule)


def _entries(call: Call, job: Job) -> Generator[Line, None, tuple[Entry, ...]]:
    try:
        found = scheduling.crontab(call, job)
    except ConfigError as error:
        yield from problems("crontab", error)
        return ()
    yield from (Line("crontab", Mark.PROBLEM, bounded(str(problem), LONGEST)) for problem in found.problems)
    return found.entries


def misspelt(asked: Iterable[tuple[Entry, Called]]) -> Iterator[Line]:
    """Say which lines the program would refuse each time; of those that differ in their job alone, one is read."""
    said: dict[tuple[str, ...], str] = {}
    for entry, each in asked:
        words = tuple("JOB" if word == each.job else word for word in entry.words)
        why = said[words] = said[words] if words in said else _refused(words)
        if why:
            says = f"`reconcile {shlex.join(entry.words)}` is refused: {why}"
            yield Line(f"crontab line {entry.number}", Mark.PROBLEM, bounded(says, LONGEST))


def _refused(words: Sequence[str]) -> str:
    from reconciler.cli.understood import understood

    try:
        understood(words)
    except UsageError as error:
        return str(error)
    return ""


def elsewhere(call: Call, asked: Iterable[tuple[Entry, Called]]) -> Iterator[Line]:
    """Say that lines are meant for another zone than this machine's: some crons go by the machine's, whatever is said.

    Debian's knows no CRON_TZ (cron 3.0pl1), cronie does (crontab(5)); which one there is, nobody here can tell.
    """
    now, here = call.world.clock(), machine_zone(call.world.environ)
    for name in dict.fromkeys(entry.zone for entry, _ in asked if entry.zone):
        there = ZoneInfo(name)
        if any((now + by).astimezone(there).utcoffset() != (now + by).astimezone(here).utcoffset() for by in _SEASONS):
            says = f"CRON_TZ={name}, and this machine's clock is in {here.key}: Debian's cron goes by that, only cronie"
            yield Line("crontab", Mark.NOTE, f"{says} by CRON_TZ. With any other, keep the machine in {name}")


def _schedule(call: Call, job: Job, lines: Iterable[tuple[Entry, Called]]) -> Schedule:
    """Return the slots at which these lines read this job's calendars, and what it says itself."""
    reading = [entry for entry, each in lines if reads(each)]
    slots = slots_of(reading, call.world.clock(), machine_zone(call.world.environ)) if reading else None
    return Schedule(slots=slots, freshness=job.run.freshness, deadline=job.run.deadline)


def _budgets(call: Call, job: Job, people: Directory, schedule: Schedule) -> Iterator[Line]:
    """Say of each provider's project what its budget permits, and whether the schedule promises more."""
    from reconciler.assembly import budget_of, provider_of

    projects = {table.name: provider_of(table, call.world.environ) for table in job.sources if table.kind != "ics"}
    active = [one for one in people.calendars if one.agent.state is not AgentState.LEFT]
    for project in dict.fromkeys(projects.values()):
        agents = Counter(one.agent.email for one in active if projects.get(one.source) == project)
        if agents:
            demand = Demand(calendars=agents.total(), busiest=max(agents.values()))
            for each in cadence.verdicts(project.partition(":")[0], demand, budget_of(job, project), schedule):
                mark = Mark.OK if each.holds else Mark.PROBLEM
                yield Line(f"{each.about} {project}", mark, bounded(each.says, LONGEST))


def _unheard(job: Job, lines: Iterable[tuple[Entry, Called]]) -> Iterator[Line]:
    """Say which lines send reports of a job that names nobody to send them to."""
    if job.report.mail is not None or job.report.webhook is not None:
        return
    for entry in (entry for entry, each in lines if each.verb == "report" and "--send" in entry.words):
        says = "it sends a report, and [report] of the job file names nobody to tell: each start of it ends with 2"
        yield Line(f"crontab line {entry.number}", Mark.NOTE, says)


def _waits(job: Job, schedule: Schedule) -> Iterator[Line]:
    """Say how long a job that was given a jitter waits for its turn, and what that leaves of the time to the next."""
    beat = rhythm(list(schedule.slots or ()))
    if not job.run.jitter or beat is None:
        return
    waits = scheduling.part(job.name, job.run.jitter)
    says = f"each run starts {int(waits.total_seconds())} s after its slot; slots are {spoken(beat.shortest)} apart"
    if waits >= beat.shortest:
        yield Line("jitter", Mark.PROBLEM, f"{says}: the next has come by then. Write a shorter jitter in [run]")
    elif waits + (job.run.deadline or timedelta()) > beat.shortest:
        still = "a run that needs its whole deadline is still at work when the next starts"
        yield Line("jitter", Mark.NOTE, f"{says}: {still}")
    else:
        yield Line("jitter", Mark.OK, says)
