"""From deltas to what became of them: plan, guard, consent, apply. What every command that writes has in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler import consent, guard, plan
from reconciler.apply import ENDED, LATE, OVERTAKEN, Applying, apply
from reconciler.hands import Hands
from reconciler.model import Delta, Outcome, Plan
from reconciler.store import consents, coverage, journal

DAY = timedelta(hours=24)
"""What `limits.day` is about: any 24 hours, not a date."""

LOOKING_BACK = timedelta(days=30)
"""How long is remembered what was put off, and what failed every time: some jobs run once a night."""

if TYPE_CHECKING:
    from reconciler.hand import Hand
    from reconciler.judgement import Proposal
    from reconciler.model import Shape
    from reconciler.session import Session
    from reconciler.setup import Options, Setup


def execute(
    setup: Setup,
    options: Options,
    this: Session,
    shape: Shape,
    proposals: Sequence[Proposal],
    populations: guard.Populations,
    around: Callable[[Hand], Hand] = lambda hand: hand,
) -> tuple[guard.Judgement, Plan]:
    """Plan, guard and apply what is proposed; return what the guard said, and the plan with its outcomes.

    `around` is put around each hand that writes, by what does more about a write than to send and settle it.
    """
    proposed = [proposal.delta for proposal in proposals]
    past = _past(setup, this)
    drafted = _drafted(setup, proposed, past, _turns(setup, this, proposed))
    given = consent.weighed(consent.standing(setup, options, this), _identities(drafted, past), this.now)
    judged = guard.judge(drafted.deltas, _limits(setup), populations, frozenset(given.approved), past)
    asks = consent.ask(setup, this, drafted, judged, past.uncovered)
    judged = replace(judged, asks=asks, consents=given.told)
    if judged.violations or setup.writers is None:
        return judged, Plan(judged.deltas, drafted.digest)
    _begin(setup, this, given, past)
    by_identity = {plan.identity(proposal.delta): proposal for proposal in proposals}
    deltas = _applied(setup, this, shape, judged.deltas, by_identity, given.approved, around)
    return judged, Plan(deltas, drafted.digest)


def _past(setup: Setup, this: Session) -> guard.Past:
    """Return what counts beside the plan: a day of writes, and the calendars that the job file let go of."""
    with setup.state.begin() as connection:
        if not setup.is_dry:  # to be named again is a fact, whatever becomes of the plan
            coverage.cover(connection, setup.state, setup.directory.calendars)
        return guard.Past(
            written=consents.written_since(connection, setup.state, this.now - DAY),
            uncovered=coverage.uncovered(connection, setup.state, setup.directory.calendars, this.now),
        )


def _drafted(setup: Setup, proposed: Sequence[Delta], past: guard.Past, turns: plan.Turns) -> Plan:
    """Return the plan in its order; its digest names the calendars that would be let go of, too."""
    job, crm = setup.job.name, setup.reader.identity
    ordered = plan.build(job, crm, proposed, turns).deltas
    return Plan(ordered, plan.digest(job, crm, ordered, [one.identity for one in past.uncovered]))


def _identities(drafted: Plan, past: guard.Past) -> Iterator[str]:
    yield from (plan.identity(delta) for delta in drafted.deltas if delta.outcome is Outcome.PLANNED)
    yield from (one.identity for one in past.uncovered)


def _begin(setup: Setup, this: Session, given: consent.Weighed, past: guard.Past) -> None:
    """Use consents up and let go of what the job file no longer names, in one transaction before the first write."""
    with setup.state.begin() as connection:
        consents.use(connection, setup.state, given.used, this.id, this.now)
        coverage.release(connection, setup.state, past.uncovered, this.now)


def _turns(setup: Setup, this: Session, proposed: Sequence[Delta]) -> plan.Turns:
    with setup.state.begin() as connection:
        keys = (delta.key for delta in proposed)
        return journal.turns(connection, setup.state, this.now - LOOKING_BACK, keys)


def _limits(setup: Setup) -> guard.Limits:
    limits = setup.job.limits
    return guard.Limits(
        create=limits.create,
        update=limits.update,
        cancel=limits.cancel,
        delete=limits.delete,
        agent_cancel=limits.agent_cancel,
        cap=limits.cap,
        day=limits.day,
        pace=limits.over == "pace",
        notify=limits.notify,
    )


def _applied(
    setup: Setup,
    this: Session,
    shape: Shape,
    deltas: tuple[Delta, ...],
    proposals: Mapping[str, Proposal],
    approved: Mapping[str, str],
    around: Callable[[Hand], Hand],
) -> tuple[Delta, ...]:
    """Apply what the guard let through."""
    if setup.writers is None or not any(delta.outcome is Outcome.PLANNED for delta in deltas):
        return deltas
    with Hands(setup, setup.writers, this.window, setup.patience(this.now), shape) as hands:
        applying = Applying(
            state=setup.state,
            hand=lambda delta: around(hands.of(delta)),
            run=this.id,
            epoch=this.epoch,
            clock=setup.clock,
            stopping=_stopping(setup, this),
            approved=approved,
        )
        return tuple(apply(deltas, proposals, applying))


def _stopping(setup: Setup, this: Session) -> Callable[[], str]:
    """Return what says why a run may begin no further delta; empty as long as it may."""
    patience = setup.patience(this.now)

    def why() -> str:
        if setup.stop():
            return ENDED
        if patience() <= 0:
            return LATE
        return "" if this.holds_lock() else OVERTAKEN

    return why
