"""`reconcile run`: the run, what is shown of it, and the exit code that scripts rely on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.cli import ending, logs, measuring, scheduling, screen
from reconciler.cli.world import Named, load_job
from reconciler.errors import LockedError, Problem, ServedError, UsageError

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Common
    from reconciler.report.look import Look
    from reconciler.result import Result
    from reconciler.setup import Options, Setup
    from reconciler.store.slots import Slot

DIFFERENCES = 3
"""The exit code of a dry run with `--exit-code` that found differences."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line asked of one run."""

    dry_run: bool = False
    full: bool = False
    only: tuple[str, ...] = ()
    approve: str | None = None
    scheduled: bool = False
    exit_code: bool = False


@logs.told("run")
def run(call: Call, argument: str | None, asked: Asked) -> int:
    """Run a job, show what it came to, and return the exit code."""
    named = load_job(call, argument)
    if asked.dry_run:
        return _run(call, named, asked)
    with measuring.measured(call, named, starts=True):
        return _run(call, named, asked)


def _run(call: Call, named: Named, asked: Asked) -> int:
    try:
        result, look = _result(call, named, asked, _slot(call, named, asked))
    except ServedError as error:
        return scheduling.nothing_to_do(call, str(error))
    except LockedError as error:
        if error.overdue or not asked.scheduled:
            raise
        call.event.add(status="locked")
        if not call.common.quiet:
            screen.say(f"reconcile: {error} The next slot is soon enough (--scheduled).")
        return 0
    screen.write_result(result, look, call.common, call.world.cwd / "reports")
    return exit_code(result, asked)


def exit_code(result: Result, asked: Asked) -> int:
    """Return the exit code of a run: its own, or 3 for differences that a dry run was asked to signal."""
    differs = asked.exit_code and result.dry_run and result.has_differences
    return DIFFERENCES if differs and result.exit_code == 0 else result.exit_code


def _slot(call: Call, named: Named, asked: Asked) -> Slot | None:
    """Return what a scheduled start stands for, when it has waited for its turn; a dry run serves nothing."""
    if not asked.scheduled or asked.dry_run:
        return None
    slot = scheduling.slot_of(call, named)
    scheduling.wait(call, named)
    return slot


def _result(call: Call, named: Named, asked: Asked, slot: Slot | None) -> tuple[Result, Look]:
    from reconciler.run import run as run_job

    with ending.opened(call, named, dry_run=asked.dry_run) as setup:
        options = replace(_options(call, setup, asked), slot=slot)
        with screen.progress(call.common, f"Reading the calendars of {named.job.name}") as progress:
            result = run_job(setup, options, progress)
    call.event.came_to(result)
    return for_people(result, setup, call.common), look_of(setup, named.word)


def _options(call: Call, setup: Setup, asked: Asked) -> Options:
    """Turn names into agents. Raises UsageError for one that this job does not know."""
    from reconciler.setup import Options

    if not asked.only:
        return _by_whom(call, Options(full=asked.full, approve=asked.approve))
    found = {name: setup.directory.agent_of(name) for name in asked.only}
    unknown = [name for name, agent in found.items() if agent is None]
    if unknown:
        known = ", ".join(agent.email for agent in setup.directory.agents[:10])
        what = "names no agent of this job" if len(unknown) == 1 else "name no agents of this job"
        raise UsageError(str(Problem("--only", f"{', '.join(unknown)} {what}", f"agents: {known}")))
    only = frozenset(agent.email for agent in found.values() if agent)
    return _by_whom(call, Options(full=asked.full, only=only, approve=asked.approve))


def _by_whom(call: Call, options: Options) -> Options:
    """Add who consents, and from where, to options that carry consent."""
    if options.approve is None:
        return options
    from reconciler.cli.origin import origin, who

    return replace(options, approve=options.approve.lower(), who=who(), origin=origin(call.world.environ))


def for_people(result: Result, setup: Setup, common: Common) -> Result:
    """Mask what is shown of `result`, if the job or the command line says so."""
    if not (common.mask or setup.job.report.mask):
        return result
    from reconciler.report.mask import masked

    return masked(result, addresses(setup))


def addresses(setup: Setup) -> frozenset[str]:
    """Return the addresses of the brokerage's own people, which stay visible."""
    return frozenset(name for agent in setup.directory.agents for name in (agent.email, *agent.aliases))


def look_of(setup: Setup, word: str) -> Look:
    """Return how people are shown results of this job."""
    from reconciler import reporting

    return reporting.look_of(setup.job, setup.directory, word)
