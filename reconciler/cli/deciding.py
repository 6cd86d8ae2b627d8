"""`reconcile resolve` and `reconcile link`: what people decide, as runs that are about nothing else."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler.cli import ending, logs, running, screen
from reconciler.cli.world import load_job
from reconciler.errors import Problem, UsageError
from reconciler.model import Kind, Outcome, Side
from reconciler.report.run import crm_gap
from reconciler.report.words import bounded, plural
from reconciler.selecting import Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.cli.world import Call, Named
    from reconciler.judgement import Rulings
    from reconciler.report.look import Look
    from reconciler.resolving import Tally
    from reconciler.result import Result
    from reconciler.setup import Setup

SHOWN: Final = 5
"""Findings that stay as they are of which the reason is told beside the report."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Which:
    """What the command line says of the findings that are meant."""

    word: str | None = None
    kind: str | None = None
    agent: str | None = None

    def words(self) -> list[str]:
        """Return it as it was typed."""
        options = (("", self.word), ("--kind ", self.kind), ("--agent ", self.agent))
        return [f"{option}{shlex.quote(bounded(said))}" for option, said in options if said]

    def filter(self, agent: str | None) -> Filter:
        """Return what findings are held against. Raises UsageError where nothing is asked for, or no kind is."""
        if not (self.word or self.kind or self.agent):
            raise UsageError(
                "Say what is meant: a finding's key, a source key or a CRM id, --kind KIND or --agent AGENT."
            )
        try:
            kind = Kind(self.kind) if self.kind else None
        except ValueError:
            kinds = ", ".join(Kind)
            raise UsageError(
                str(Problem("--kind", f"{bounded(self.kind or '')} is no kind of finding", kinds))
            ) from None
        return Filter(self.word, kind, agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """How a command that decides is to be run. `again` is how it is typed, but for what only this run is about."""

    again: str
    dry_run: bool = False


# ---- resolve --------------------------------------------------------------------------------------------------------


@logs.told("resolve")
def resolve(call: Call, which: Which, take: str, asked: Asked, argument: str | None) -> int:
    """Take one side's word for what the filter picks, show what it came to, and return the exit code."""
    from reconciler.resolving import Tally, taking

    if take not in set(Side):
        raise UsageError(str(Problem("--take", f"{bounded(take)} is no side", "calendar or crm")))
    which.filter(None)  # before anything is read
    named, tally = load_job(call, argument), Tally()

    def rulings(setup: Setup) -> Rulings:
        return taking(Side(take), which.filter(_agent(setup, which.agent)), tally)

    result, look = _ran(call, named, asked, rulings, "resolve")
    if not tally.picked and crm_gap(result) is None:
        raise UsageError(_nothing(which, named))
    result = replace(result, notes=(*result.notes, *_left(tally)))
    screen.write_result(result, look, call.common, call.world.cwd / "reports")
    return result.exit_code


def _agent(setup: Setup, name: str | None) -> str | None:
    if name is None:
        return None
    agent = setup.directory.agent_of(name)
    if agent is None:
        known = ", ".join(agent.email for agent in setup.directory.agents[:10])
        raise UsageError(str(Problem("--agent", f"{bounded(name)} names no agent of this job", f"agents: {known}")))
    return agent.email


def _nothing(which: Which, named: Named) -> str:
    said = bounded(str(Filter(which.word, Kind(which.kind) if which.kind else None, which.agent)))
    return f"{said} fits nothing that is found now: `reconcile --dry-run {named.word}` lists it all, with keys."


def _left(tally: Tally) -> Iterable[str]:
    """Say of some what was asked for and can't be done."""
    if tally.left:
        yield f"{len(tally.left):,} of {plural(tally.picked, 'finding')} can't be settled like this:"
    for key, why in list(tally.left.items())[:SHOWN]:
        yield f"  {bounded(key)}: {why}."


# ---- link -----------------------------------------------------------------------------------------------------------


@logs.told("link")
def link(call: Call, asked: Asked, argument: str | None, *, suggested: bool) -> int:
    """Link natural matches that are one to one, show what it came to, and return the exit code."""
    from reconciler import linking

    if not suggested:
        raise UsageError("`reconcile link` links what was suggested, and that has to be said: add --suggested.")
    result, look = _ran(call, load_job(call, argument), asked, lambda _: linking.suggested, "link")
    screen.write_result(result, look, call.common, call.world.cwd / "reports")
    return result.exit_code


# ---- a run that is about a decision ---------------------------------------------------------------------------------


def _ran(
    call: Call, named: Named, asked: Asked, rulings: Callable[[Setup], Rulings], command: str
) -> tuple[Result, Look]:
    """Run the job with such rulings; return the result as it is shown, and how."""
    from reconciler.run import run as run_job
    from reconciler.setup import Options

    with ending.opened(call, named, dry_run=asked.dry_run) as setup:
        options = Options(command=command, ruling=rulings(setup))
        with screen.progress(call.common, f"Reading the calendars of {named.job.name}") as progress:
            result = run_job(setup, options, progress)
        _release(setup, result)
    call.event.came_to(result)
    look = replace(running.look_of(setup, named.word), command=asked.again)
    return running.for_people(result, setup, call.common), look


def _release(setup: Setup, result: Result) -> None:
    """Let go of the holds on what was settled now: a later word counts more than an earlier one."""
    from reconciler.store import holds

    settled = [delta.key for delta in result.deltas if delta.outcome in {Outcome.DONE, Outcome.ALREADY}]
    if settled and not setup.is_dry:
        with setup.state.begin() as connection:
            holds.release(connection, setup.state, settled)
