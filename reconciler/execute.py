"""From deltas to what became of them: plan, guard, consent, apply. What every command that writes has in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from reconciler import consent, guard, plan
from reconciler.apply import Applying, apply
from reconciler.model import Delta, Outcome, Plan

if TYPE_CHECKING:
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
) -> tuple[guard.Judgement, Plan]:
    """Plan, guard and apply what is proposed; return what the guard said, and the plan with its outcomes."""
    approved = consent.standing(setup, options)
    drafted = plan.build(setup.job.name, setup.reader.identity, [proposal.delta for proposal in proposals])
    judged = guard.judge(drafted.deltas, _limits(setup), populations, approved)
    if judged.violations:
        consent.ask(setup, this, drafted, judged)
        return judged, Plan(judged.deltas, drafted.digest)
    by_identity = {plan.identity(proposal.delta): proposal for proposal in proposals}
    deltas = _applied(setup, options, this, shape, judged.deltas, by_identity)
    return judged, Plan(deltas, drafted.digest)


def _limits(setup: Setup) -> guard.Limits:
    limits = setup.job.limits
    return guard.Limits(
        create=limits.create,
        update=limits.update,
        cancel=limits.cancel,
        delete=limits.delete,
        agent_cancel=limits.agent_cancel,
        cap=limits.cap,
        pace=limits.over == "pace",
        notify=limits.notify,
    )


def _applied(
    setup: Setup,
    options: Options,
    this: Session,
    shape: Shape,
    deltas: tuple[Delta, ...],
    proposals: Mapping[str, Proposal],
) -> tuple[Delta, ...]:
    """Apply what the guard let through."""
    if setup.writers is None or not any(delta.outcome is Outcome.PLANNED for delta in deltas):
        return deltas
    consent.use(setup, options, this)
    writer, patience = setup.writers.crm(), setup.patience(this.now)
    try:
        applying = Applying(
            state=setup.state,
            writer=writer,
            run=this.id,
            epoch=this.epoch,
            compare=setup.compare(shape),
            clock=setup.clock,
            is_late=lambda: patience() <= 0,
        )
        return tuple(apply(deltas, proposals, applying))
    finally:
        writer.close()
