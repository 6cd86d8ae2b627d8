"""`reconcile check`: everything that can be known before a run, each in one line with what to do about it."""

from __future__ import annotations

import stat
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, screen
from reconciler.cli.world import Format, load_job
from reconciler.errors import ConfigError, ReconcilerError
from reconciler.model import Action, Postponed, Pull, Unobserved, Window
from reconciler.report import mask
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.agents import Directory
    from reconciler.cli.world import Call, Named
    from reconciler.config import Job
    from reconciler.crm import Check
    from reconciler.model import Calendar
    from reconciler.sources import PullRequest
    from reconciler.store.state import State

PROBLEM: Final = 2
_MATTERS: Final = frozenset({"rows", "rights"})
"""What a CRM check must not fail in; other lines name a race or a gap that a job can live with."""


class Mark(StrEnum):
    """How one line came out. A note is worth knowing and stops nothing."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    name: str
    mark: Mark
    says: str


def check(call: Call, argument: str | None) -> int:
    """Look at everything a run would need, show a line for each, and return 2 if one is a problem."""
    named = load_job(call, argument)
    logs.configure(call.common, call.world.clock)
    lines = [*_lines(call, named)]
    if call.common.mask or named.job.report.mask:
        lines = [Line(line.name, line.mark, mask.sentence(line.says, frozenset())) for line in lines]
    _show(call, named, lines)
    return PROBLEM if any(line.mark is Mark.PROBLEM for line in lines) else 0


def _show(call: Call, named: Named, lines: list[Line]) -> None:
    bad = [line for line in lines if line.mark is Mark.PROBLEM]
    if call.common.format is Format.JSON:
        shown = [{"name": line.name, "mark": line.mark.lower(), "says": line.says} for line in lines]
        screen.write_json({"job": named.job.name, "ok": not bad, "checks": shown})
        return
    count = plural(len(bad), "problem")
    head = f"{count}; a run of {named.word} would not go well" if bad else f"{named.word} is ready to run"
    if call.common.quiet:
        if bad:
            screen.write(head)
        return
    width = max(len(line.name) for line in lines)
    body = [f"  {line.mark:<8} {line.name:<{width}}  {line.says}" for line in lines]
    follow = "" if bad else f"\nTo see what a run would do:\n    reconcile --dry-run {named.word}\n"
    screen.write("\n".join([head, *body]) + "\n" + follow)


def _lines(call: Call, named: Named) -> Iterator[Line]:
    job = named.job
    yield Line("job file", Mark.OK, _about(job))
    people = yield from _people(call, job)
    state = yield from _state(call, job)
    if people is not None:
        yield from _calendars(call, job, people)
        if state is not None:
            yield from _crm(call, job, people, state)
    if state is not None:
        state.engine.dispose()


def _about(job: Job) -> str:
    writes = (
        ", ".join(job.policy.allow) or 'nothing: report only, until [policy] allow = ["create", "update", "cancel"]'
    )
    return f"{job.path.name} is right; it may write {writes}"


def _problems(name: str, error: ReconcilerError) -> Iterator[Line]:
    if isinstance(error, ConfigError):
        yield from (Line(name, Mark.PROBLEM, bounded(str(problem), 400)) for problem in error.problems)
    else:
        yield Line(name, Mark.PROBLEM, bounded(str(error), 400))


# ---- agents and calendars -------------------------------------------------------------------------------------------


def _people(call: Call, job: Job) -> Generator[Line, None, Directory | None]:
    from reconciler.assembly import directory

    try:
        people = directory(job, call.world.environ)
    except ReconcilerError as error:
        yield from _problems("agents", error)
        return None
    counted = f"{plural(len(people.agents), 'agent')}, {plural(len(people.calendars), 'calendar')}"
    yield Line("agents", Mark.OK, counted)
    return people


def _calendars(call: Call, job: Job, people: Directory) -> Iterator[Line]:
    """Read every calendar once, as a run would, and keep nothing of it."""
    from reconciler.assembly import source_of

    sources = {table.name: source_of(table, job) for table in job.sources if table.kind == "ics"}
    unread = sorted({table.kind for table in job.sources if table.kind != "ics"})
    if unread:
        says = f"{' and '.join(unread)} can't be read by this release: use iCalendar files or feeds until then"
        yield Line("sources", Mark.PROBLEM, says)
    now = call.world.clock()
    window = Window.around(now, job.window.past, job.window.future)
    with screen.progress(call.common, "Reading the calendars") as progress:
        for done, calendar in enumerate(people.calendars, 1):
            if calendar.source in sources:
                yield _calendar(calendar, sources[calendar.source].pull(_request(calendar, window, now)))
            progress(done, len(people.calendars))


def _request(calendar: Calendar, window: Window, now: datetime) -> PullRequest:
    from reconciler.sources import PullRequest

    return PullRequest(calendar=calendar, window=window, now=now)


def _calendar(calendar: Calendar, outcome: Pull | Unobserved | Postponed) -> Line:
    name = f"calendar {calendar.label}"
    if isinstance(outcome, Unobserved):
        return Line(name, Mark.PROBLEM, bounded(outcome.why, 400))
    if isinstance(outcome, Postponed):
        return Line(name, Mark.NOTE, bounded(outcome.why, 400))
    events = f"{plural(len(outcome.events), 'event')} in the window"
    if outcome.quarantined:
        return Line(name, Mark.NOTE, f"{events}, and {plural(len(outcome.quarantined), 'entry')} that can't be read")
    return Line(name, Mark.OK, events)


# ---- state and CRM --------------------------------------------------------------------------------------------------


def _state(call: Call, job: Job) -> Generator[Line, None, State | None]:
    from reconciler.store.state import open_state

    try:
        url = job.state.reveal(call.world.environ)
        state = open_state(url, job.name)
    except ReconcilerError as error:
        yield from _problems("state", error)
        return None
    yield _state_rights(url)
    return state


def _state_rights(url: str) -> Line:
    path = Path(url.partition("///")[2]) if url.startswith("sqlite") else None
    if path is None or not path.is_file():
        return Line("state", Mark.OK, "the state database can be opened")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Line(
            "state", Mark.PROBLEM, f"{path.name} can be read by other users of this machine: chmod 600 {path.name}"
        )
    return Line("state", Mark.OK, f"{path.name} can be opened, and by nobody else")


def _crm(call: Call, job: Job, people: Directory, state: State) -> Iterator[Line]:
    from reconciler.assembly import reader_of

    try:
        with closing(reader_of(job, call.world.environ, people, state)) as reader:
            says: list[Check] = getattr(reader, "checks", list)()
            yield Line("CRM", Mark.OK, f"{reader.identity} can be read")
    except ReconcilerError as error:
        yield from _problems("CRM", error)
        return
    yield from (_crm_line(each, job) for each in says)
    if job.policy.allow:
        yield from _writing(call, job)


def _writing(call: Call, job: Job) -> Iterator[Line]:
    from reconciler.assembly import assemble

    try:
        with assemble(job, call.world.environ, clock=call.world.clock, dry_run=False) as setup:
            if setup.writer is None:
                return
            with closing(setup.writer()) as writer:
                yield from (_crm_line(each, job) for each in getattr(writer, "checks", list)())
    except ReconcilerError as error:
        yield from _problems("CRM, writing", error)


def _crm_line(each: Check, job: Job) -> Line:
    matters = each.name in _MATTERS or (each.name == "create" and Action.CREATE in job.policy.allow)
    mark = Mark.OK if each.ok else Mark.PROBLEM if matters else Mark.NOTE
    return Line(f"CRM {each.name}", mark, bounded(each.says, 400))
