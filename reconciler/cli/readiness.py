"""What can be known of calendars before a run: that they can be read, and how often the budgets let them be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from reconciler.cli import fitting, screen
from reconciler.cli.lines import LONGEST, Line, Mark, problems
from reconciler.cli.rights import rights
from reconciler.errors import AccessError, ConfigError
from reconciler.model import AgentState, Postponed, Pull, Unobserved, Window
from reconciler.report.words import bounded, plural

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
    yield from fitting.lines(call, job, people)


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


def _calendars(call: Call, job: Job, people: Directory, made: dict[str, Source]) -> Iterator[Line]:
    """Read calendars once, as a run would: all of them, of a provider with a quota a few.

    A source whose credential is refused is taken out of `made`: there is nothing more to learn by it.
    """
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
    call: Call, job: Job, made: dict[str, Source], asked: Sequence[Calendar], progress: Progress
) -> Iterator[Line]:
    now = call.world.clock()
    window = Window.around(now, job.window.past, job.window.future)
    for done, calendar in enumerate(asked, 1):
        if calendar.source in made:
            try:
                yield _calendar(calendar, made[calendar.source].pull(_request(call, calendar, window, now)))
            except AccessError as error:  # it is about all calendars of this source alike
                del made[calendar.source]
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
