"""One run, top to bottom: observe both sides, judge the pairs, plan, guard, apply what is safe, say what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import consent, guard, observe, outcome, plan
from reconciler.comparing import compared, populations, reading_findings
from reconciler.errors import CrmUnreachableError, RefusedError, SnapshotError
from reconciler.execute import execute
from reconciler.groups import blind
from reconciler.judgement import Judgement
from reconciler.model import Plan
from reconciler.observe import Reading
from reconciler.phases import Phase
from reconciler.session import finished, session
from reconciler.setup import Options, Setup
from reconciler.snapshot import observe_crm, unreachable
from reconciler.store import state
from reconciler.store.scratch import scratch

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.model import Shape
    from reconciler.result import Result
    from reconciler.session import Session

__all__ = ["Options", "Setup", "run"]


def run(setup: Setup, options: Options, progress: Callable[[int, int], None] = lambda _done, _all: None) -> Result:
    """Run the job once and return what it came to.

    Raises LockedError while another run is at work, ConfigError, UsageError and StateError before anything is read,
    AccessError when a provider refuses this program as a whole: nothing is planned then. ServedError where the slot was
    served already.
    """
    with session(setup, options.command, options.slot) as this, ExitStack() as stack:
        consent.standing(setup, options, this)
        setup = stack.enter_context(_apart(setup, options, this))
        with setup.phases.of(Phase.CRM):
            shape = look_at_crm(setup, options, this)
        with setup.phases.of(Phase.CALENDARS):
            _observe_calendars(setup, options, this, shape, progress)
        with setup.phases.of(Phase.COMPARE):
            found = compared(setup, options, this, shape) if shape and this.is_judged else None
        if found is None or shape is None:
            return finished(setup, this, nothing_planned(setup, this))
        with setup.phases.of(Phase.APPLY):
            judged, applied = execute(setup, options, this, shape, found.proposals, populations(this, found))
        return finished(setup, this, came_to(setup, this, found, judged, applied))


# ---- before ---------------------------------------------------------------------------------------------------------


@contextmanager
def _apart(setup: Setup, options: Options, this: Session) -> Iterator[Setup]:
    """Give a dry run that looks through other glasses than the state was made with a throw-away state."""
    if not setup.is_dry or not _is_other_scope(setup, options, this):
        yield setup
        return
    this.home = setup.state
    with scratch(setup.state, this.now) as state:
        yield replace(setup, state=state)


def _is_other_scope(setup: Setup, options: Options, this: Session) -> bool:
    try:
        shape = setup.reader.shape
    except (CrmUnreachableError, SnapshotError):
        return False  # nothing will be compared
    return observe.is_other_scope(reading_of(setup, options, this.now, shape), setup.directory.calendars)


# ---- observe --------------------------------------------------------------------------------------------------------


def look_at_crm(setup: Setup, options: Options, this: Session) -> Shape | None:
    """Read the CRM; without it return how it was last known, so that calendars can still be pulled."""
    try:
        shape = setup.reader.shape
        with setup.state.begin() as connection:
            state.save_shape(connection, setup.state, shape)
        observe_crm(setup.state, setup.reader, this.window, setup.compare(shape), this.now, full=options.full)
    except CrmUnreachableError as error:
        this.blindness = unreachable(error)
    except SnapshotError as error:
        this.refusal = str(error)
    else:
        return shape
    with setup.state.begin() as connection:
        return state.shape(connection, setup.state)


def _observe_calendars(
    setup: Setup, options: Options, this: Session, shape: Shape | None, progress: Callable[[int, int], None]
) -> None:
    if shape is None:
        return  # the CRM was never reached: how it keeps values is not known yet
    reading = reading_of(setup, options, this.now, shape)
    calendars = setup.directory.calendars
    for done, observed in enumerate(observe.observe_calendars(reading, calendars), 1):
        this.observed.append(observed)
        progress(done, len(calendars))
    this.observed.sort(key=lambda each: each.watched.id)  # they come in as they are done


def reading_of(setup: Setup, options: Options, now: datetime, shape: Shape) -> Reading:
    """Return what reading the calendars takes that is asked for now."""
    return Reading(
        store=setup.state,
        sources=setup.sources,
        window=setup.window(now),
        terms=setup.terms(shape),
        now=now,
        evidence_after={
            source.name: setup.job.window.settle
            for source in setup.job.sources
            if source.kind == "ics" and source.absence == "evidence"
        },
        full=options.full,
        dry_run=setup.is_dry,
        only=options.only,
        freshness=setup.job.run.freshness,
        due=setup.job.run.due,
        patience=setup.patience(now),
        timed=setup.phases.reading,
    )


# ---- after ----------------------------------------------------------------------------------------------------------


def nothing_planned(setup: Setup, this: Session) -> Result:
    """Return the result of a run that could not see its CRM, or must not believe it."""
    found = Judgement()
    found.findings.append(blind(this.refusal or this.blindness or "The CRM could not be read."))
    for each in this.observed:
        found.findings += reading_findings(each, this.now)
    judged = guard.Judgement((), (), ())
    result = came_to(setup, this, found, judged, Plan((), plan.digest(setup.job.name, setup.reader.identity, ())))
    code = RefusedError.exit_code if this.refusal else CrmUnreachableError.exit_code
    return replace(result, status="refused" if this.refusal else "partial", exit_code=code)


def came_to(setup: Setup, this: Session, found: Judgement, judged: guard.Judgement, planned: Plan) -> Result:
    """Add up what a run came to."""
    ran = outcome.Ran(
        job=setup.job.name,
        run=this.id,
        dry_run=setup.is_dry,
        window=this.window,
        observed=tuple(this.observed),
        may_be_blind=setup.job.limits.unobserved,
    )
    return outcome.came_to(ran, found, judged, planned)
