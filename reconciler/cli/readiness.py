"""What can be known of calendars before a run: that they can be read, and how often the budgets let them be."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from reconciler.cli import cadence, screen
from reconciler.cli.cadence import Demand, Schedule
from reconciler.cli.lines import LONGEST, Line, Mark, problems
from reconciler.cli.rights import rights
from reconciler.errors import AccessError, ConfigError
from reconciler.model import AgentState, Postponed, Pull, Unobserved, Window
from reconciler.report.words import bounded, plural
from reconciler.schedule import find, read, reads
from reconciler.schedule import slots as slots_of

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.assembly import Quotas
    from reconciler.cli.screen import Progress
    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.model import Calendar
    from reconciler.sources import PullRequest, Source
    from reconciler.store.state import State

SAMPLE: Final = 25
"""Calendars of one provider that are read: what is wrong with a credential shows in a few, and thousands cost quota."""
PATIENCE: Final = timedelta(minutes=2)
"""How long somebody who looks at a terminal waits for a provider."""
PARKED: Final = "Put the account right, or the address; an agent who left gets state = left in an agents file."


def sources(call: Call, job: Job, people: Directory, state: State | None) -> Iterator[Line]:
    """Look at everything that reading the calendars takes; of what is read, nothing is kept."""
    from reconciler.assembly import Quotas

    quotas = Quotas(job, state.engine if state else None)
    with ExitStack() as opened:
        made: dict[str, Source] = {}
        yield from _made(call, quotas, made, opened)
        yield from _calendars(call, job, people, made)
        yield from rights(call, quotas, {table.name: spread(_of(table.name, people)) for table in job.sources}, made)
    yield from _budgets(call, job, people)


def _made(call: Call, quotas: Quotas, made: dict[str, Source], opened: ExitStack) -> Iterator[Line]:
    """Make the sources, and say what is wrong with their credentials."""
    from reconciler.assembly import close, source_of

    for table in quotas.job.sources:
        try:
            made[table.name] = source_of(table, call.world.environ, call.world.clock, quotas)
        except ConfigError as error:
            yield from problems(f"source {table.name}", error)
        else:
            opened.callback(close, made[table.name])


# ---- calendars ------------------------------------------------------------------------------------------------------


def _calendars(call: Call, job: Job, people: Directory, made: Mapping[str, Source]) -> Iterator[Line]:
    """Read calendars once, as a run would: all of them, of a provider with a quota a few."""
    asked: list[Calendar] = []
    for table in job.sources:
        its = [one for one in people.calendars if one.source == table.name and table.name in made]
        if table.kind != "ics":
            its = _active(its)
            if len(its) > SAMPLE:
                says = f"{SAMPLE} of {plural(len(its), 'calendar')} are read here, spread over all; a run reads all"
                yield Line(f"source {table.name}", Mark.OK, says)
            its = spread(its)
        asked += its
    with screen.progress(call.common, "Reading the calendars") as progress:
        yield from _read(call, job, made, asked, progress)


def _of(source: str, people: Directory) -> list[Calendar]:
    return _active(one for one in people.calendars if one.source == source)


def _active(calendars: Iterable[Calendar]) -> list[Calendar]:
    return [calendar for calendar in calendars if calendar.agent.state is not AgentState.LEFT]


def spread(calendars: Sequence[Calendar], most: int = SAMPLE) -> list[Calendar]:
    """Return at most so many of them, evenly from the first to the last."""
    if len(calendars) <= most:
        return list(calendars)
    return [calendars[number * (len(calendars) - 1) // (most - 1)] for number in range(most)]


def _read(
    call: Call, job: Job, made: Mapping[str, Source], asked: Sequence[Calendar], progress: Progress
) -> Iterator[Line]:
    now = call.world.clock()
    window = Window.around(now, job.window.past, job.window.future)
    refused: set[str] = set()
    for done, calendar in enumerate(asked, 1):
        if calendar.source not in refused:
            try:
                yield _calendar(calendar, made[calendar.source].pull(_request(call, calendar, window, now)))
            except AccessError as error:  # it is about all calendars of this source alike
                refused.add(calendar.source)
                yield from problems(f"source {calendar.source}", error)
        progress(done, len(asked))


def _request(call: Call, calendar: Calendar, window: Window, now: datetime) -> PullRequest:
    from reconciler.sources import PullRequest

    def patience() -> float:
        return (now + PATIENCE - call.world.clock()).total_seconds()

    return PullRequest(calendar=calendar, window=window, now=now, patience=patience)


def _calendar(calendar: Calendar, outcome: Pull | Unobserved | Postponed) -> Line:
    name = f"calendar {calendar.label}"
    match outcome:
        case Unobserved(pause=None):
            return Line(name, Mark.PROBLEM, bounded(outcome.why, LONGEST))
        case Unobserved():
            return Line(name, Mark.PROBLEM, bounded(f"{outcome.why} {PARKED}", LONGEST))
        case Postponed():
            return Line(name, Mark.NOTE, bounded(outcome.why, LONGEST))
    events = f"{plural(len(outcome.events), 'event')} in the window"
    if outcome.quarantined:
        return Line(name, Mark.NOTE, f"{events}, and {plural(len(outcome.quarantined), 'entry')} that can't be read")
    return Line(name, Mark.OK, events)


# ---- budgets and the schedule ---------------------------------------------------------------------------------------


def _budgets(call: Call, job: Job, people: Directory) -> Iterator[Line]:
    """Say of each provider's project what its budget permits, and whether the schedule promises more."""
    from reconciler.assembly import budget_of, provider_of

    tables = [table for table in job.sources if table.kind != "ics"]
    if not tables:
        return
    schedule = yield from _schedule(call, job)
    projects = {table.name: provider_of(table, call.world.environ) for table in tables}
    for project in dict.fromkeys(projects.values()):
        agents = Counter(one.agent.email for one in _active(people.calendars) if projects.get(one.source) == project)
        if agents:
            demand = Demand(calendars=agents.total(), busiest=max(agents.values()))
            for each in cadence.verdicts(project.partition(":")[0], demand, budget_of(job, project), schedule):
                mark = Mark.OK if each.holds else Mark.PROBLEM
                yield Line(f"{each.about} {project}", mark, bounded(each.says, LONGEST))


def _schedule(call: Call, job: Job) -> Generator[Line, None, Schedule]:
    """Return the slots at which a crontab starts this job, and say what cron would not understand of it."""
    world, path = call.world, (call.world.cwd / job.path).absolute()
    slots = None
    crontab = find(path, world.environ, world.cwd)
    if crontab is not None:
        try:
            found = read(crontab)
        except ConfigError as error:
            yield from problems("crontab", error)
        else:
            yield from (Line("crontab", Mark.PROBLEM, bounded(str(problem), LONGEST)) for problem in found.problems)
            entries = [entry for entry in found.entries if reads(entry, path, call.commands)]
            slots = slots_of(entries, world.clock(), ZoneInfo("UTC")) if entries else None
    return Schedule(slots=slots, freshness=job.run.freshness, deadline=job.run.deadline)
