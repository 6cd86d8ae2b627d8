"""What people consented to: refused plans are stored, and an approval lets exactly their deltas through, once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.errors import UsageError
from reconciler.store import ledger

if TYPE_CHECKING:
    from reconciler.guard import Judgement
    from reconciler.model import Plan
    from reconciler.session import Session
    from reconciler.setup import Options, Setup

APPROVAL_PREFIX = 12


def standing(setup: Setup, options: Options) -> frozenset[str]:
    """Return the delta identities `--approve` consents to; raise UsageError when it names no unused stored plan."""
    if options.approve is None:
        return frozenset()
    with setup.state.begin() as connection:
        stored = ledger.find_plans(connection, setup.state, options.approve)
    if len(options.approve) < APPROVAL_PREFIX or len(stored) != 1:
        what = "fits several stored plans" if len(stored) > 1 else "fits no stored plan of this job"
        raise UsageError(
            f"--approve {options.approve} {what}: give {APPROVAL_PREFIX} digits or more of a digest a refusal printed."
        )
    digest, identities, _, used_by = stored[0]
    if used_by is not None:
        raise UsageError(
            f"The approval of {digest[:APPROVAL_PREFIX]} was used up by run {used_by}; a refusal prints a new one."
        )
    return identities


def use(setup: Setup, options: Options, this: Session) -> None:
    """Use an approval up: what it let through is about to be written."""
    if options.approve is None:
        return
    with setup.state.begin() as connection:
        for digest, _, _, _ in ledger.find_plans(connection, setup.state, options.approve):
            ledger.use_plan(connection, setup.state, digest, this.id)


def ask(setup: Setup, this: Session, drafted: Plan, judged: Judgement) -> None:
    """Store a plan that was refused, so that a person can consent to exactly its deltas."""
    home = this.home or setup.state
    with home.begin() as connection:
        ledger.save_plan(connection, home, this.id, drafted.digest, drafted.deltas, judged.violations, this.now)
