"""`reconcile check`: everything that can be known before a run, each in one line with what to do about it."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, premises, screen
from reconciler.cli.asking import asks
from reconciler.cli.lines import Line, Mark, problems
from reconciler.cli.readiness import sources
from reconciler.cli.telling import recipients
from reconciler.cli.world import Format, read_job
from reconciler.errors import ReconcilerError
from reconciler.model import Action
from reconciler.report import mask
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.cli.asking import Ask
    from reconciler.cli.world import Call, Named
    from reconciler.config import Job
    from reconciler.crm import Check
    from reconciler.store.state import State

PROBLEM: Final = 2
_READING, _WRITING = "reading rights", "writing rights"
_MATTERS: Final = frozenset({"rows", "rights"})
"""What a CRM check must not fail in; other lines name a race or a gap that a job can live with."""


@logs.told("check")
def check(call: Call, argument: str | None) -> int:
    """Look at everything a run would need, show a line for each, and return 2 if one is a problem."""
    named = read_job(call, argument)
    lines, wanted = [*_lines(call, named)], asks(named.job, call.world.environ)
    if call.common.mask or named.job.report.mask:
        lines = [replace(line, says=_masked(line.says)) for line in lines]
        wanted = tuple(replace(ask, lines=tuple(map(_masked, ask.lines))) for ask in wanted)
    _show(call, named, lines, wanted)
    return PROBLEM if any(line.mark is Mark.PROBLEM for line in lines) else 0


def _masked(sentence: str) -> str:
    return mask.sentence(sentence, frozenset())


def _show(call: Call, named: Named, lines: list[Line], wanted: Sequence[Ask]) -> None:
    bad = [line for line in lines if line.mark is Mark.PROBLEM]
    if call.common.format is Format.JSON:
        shown = [{"name": line.name, "mark": line.mark.lower(), "says": line.says} for line in lines]
        asked = [{"whom": ask.whom, "lines": [*ask.lines]} for ask in wanted]
        screen.write_json({"job": named.job.name, "ok": not bad, "checks": shown, "ask": asked})
        return
    count = plural(len(bad), "problem")
    head = f"{count}; a run of {named.word} would not go well" if bad else f"{named.word} is ready to run"
    if call.common.quiet:
        if bad:
            screen.write(head)
        return
    screen.write("\n".join([head, *_table(lines), *_wanted(wanted), *([] if bad else _next(named))]))


def _table(lines: Sequence[Line]) -> Iterator[str]:
    width = max(len(line.name) for line in lines)
    yield from (f"  {line.mark:<8} {line.name:<{width}}  {line.says}" for line in lines)


def _wanted(wanted: Sequence[Ask]) -> Iterator[str]:
    if wanted:
        yield "\nWhat this job needs of others, to copy:"
    for ask in wanted:
        yield f"  {ask.whom}:"
        yield from (f"    {line}" for line in ask.lines)


def _next(named: Named) -> Iterator[str]:
    yield f"\nTo see what a run would do:\n    reconcile --dry-run {named.word}"


def _lines(call: Call, named: Named) -> Iterator[Line]:
    job = named.job
    yield Line("job file", Mark.OK, _about(job))
    yield from premises.figures(job)
    people = yield from _people(call, job)
    yield from premises.files(job, people.calendars if people else ())
    state = yield from _state(call, job)
    if people is not None:
        yield from sources(call, job, people, state)
        if state is not None:
            yield from _crm(call, job, people, state)
            yield from recipients(call, job, people, state)
    if state is not None:
        state.engine.dispose()


def _about(job: Job) -> str:
    writes = (
        ", ".join(job.policy.allow) or 'nothing: report only, until [policy] allow = ["create", "update", "cancel"]'
    )
    return f"{job.path.name} is right; it may write {writes}"


# ---- agents ---------------------------------------------------------------------------------------------------------


def _people(call: Call, job: Job) -> Generator[Line, None, Directory | None]:
    from reconciler.assembly import directory

    try:
        people = directory(job, call.world.environ)
    except ReconcilerError as error:
        yield from problems("agents", error)
        return None
    counted = f"{plural(len(people.agents), 'agent')}, {plural(len(people.calendars), 'calendar')}"
    yield Line("agents", Mark.OK, counted)
    return people


# ---- state and CRM --------------------------------------------------------------------------------------------------


def _state(call: Call, job: Job) -> Generator[Line, None, State | None]:
    from reconciler.store.database import DAMAGED
    from reconciler.store.state import open_state
    from reconciler.store.upgrading import integrity

    try:
        url = job.state.reveal(call.world.environ)
        state = open_state(url, job.name)
    except ReconcilerError as error:
        yield from problems("state", error)
        return None
    yield from premises.state_file(url)
    for found in integrity(state.engine):
        yield Line("state", Mark.PROBLEM, bounded(f"it is damaged ({bounded(found)}). {DAMAGED}", 400))
    return state


def _crm(call: Call, job: Job, people: Directory, state: State) -> Iterator[Line]:
    from reconciler.assembly import reader_of, writes_crm
    from reconciler.store.state import require_own

    try:
        with closing(reader_of(job, call.world.environ, people, state)) as reader:
            with state.reading() as connection:
                require_own(connection, state, reader.identity)
            says: list[Check] = getattr(reader, "checks", list)()
            yield Line("CRM", Mark.OK, f"{reader.identity} can be read")
    except ReconcilerError as error:
        yield from problems("CRM", error)
        return
    shared = _writes_by_url(job)
    yield from (_crm_line(each, job) for each in says if not (shared and each.name == _READING))
    if job.policy.allow and writes_crm(job):
        yield from _writing(call, job, people)


def _writing(call: Call, job: Job, people: Directory) -> Iterator[Line]:
    from reconciler.assembly import writer_of

    try:
        with closing(writer_of(job, call.world.environ, people, call.world.clock)()) as writer:
            says: list[Check] = getattr(writer, "checks", list)()
            deletes = Action.DELETE in job.policy.allow
            yield from (_crm_line(each, job) for each in says if not (deletes and each.name == _WRITING))
    except ReconcilerError as error:
        yield from problems("CRM, writing", error)


def _writes_by_url(job: Job) -> bool:
    """Tell whether what the CRM is read with writes to it, too: then it may be allowed to."""
    from reconciler.assembly import writes_crm

    return bool(job.policy.allow) and writes_crm(job) and getattr(job.crm, "write_url", None) is None


def _crm_line(each: Check, job: Job) -> Line:
    matters = each.name in _MATTERS or (each.name == "create" and Action.CREATE in job.policy.allow)
    mark = Mark.OK if each.ok else Mark.PROBLEM if matters else Mark.NOTE
    return Line(f"CRM {each.name}", mark, bounded(each.says, 400))
