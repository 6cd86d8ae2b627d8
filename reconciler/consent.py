"""What people consent to: what waits for them is stored, and a consent lets exactly that through, once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from reconciler import guard, plan, text
from reconciler.errors import UsageError
from reconciler.model import Consent, Delta, Outcome, Plan, Waiting
from reconciler.store import consents
from reconciler.store.consents import Approval, Meant, Stored

if TYPE_CHECKING:
    from reconciler.session import Session
    from reconciler.setup import Options, Setup
    from reconciler.store.database import Connection
    from reconciler.store.state import State

APPROVAL_PREFIX: Final = 12
LASTS: Final = timedelta(hours=24)
"""How long a consent lasts where nobody says otherwise."""

RECALLED: Final = timedelta(days=7)
"""How long an expired consent is still spoken of, where it would have counted."""

AT_ONCE: Final = "run --approve"
RELEASE: Final = "release"
"""What a plan says of a calendar that the job file no longer names, beside creates, updates, cancels and deletes."""


@dataclass(frozen=True, slots=True)
class Given:
    """A person's consent, and the plan that it is to."""

    approval: Approval
    plan: Stored


@dataclass(frozen=True, slots=True)
class Weighed:
    """What consents come to against one plan: for each identity the digest that lets it through, and what to tell."""

    approved: Mapping[str, str]
    used: tuple[Approval, ...]
    told: tuple[Consent, ...]


# ---- giving consent -------------------------------------------------------------------------------------------------


def approve(state: State, prefix: str, approval: Approval) -> Stored:
    """Write down a person's consent to the stored plan that `prefix` names; return the plan.

    Raises UsageError for a digest that names no plan, or several, or one that was used up or approved before.
    """
    with state.begin() as connection:
        stored = _named(consents.find_plans(connection, state, prefix), prefix)
        earlier = [one for one in consents.unused(connection, state, approval.at) if one.digest == stored.digest]
        if earlier:
            raise UsageError(
                f"{stored.digest[:APPROVAL_PREFIX]} was consented to by {text.line(earlier[0].by, 80)} already, until "
                f"{earlier[0].expires_at:%Y-%m-%d %H:%M} UTC: the next run uses that. Nothing was added."
            )
        consents.approve(connection, state, replace(approval, digest=stored.digest))
    return stored


def _named(stored: Sequence[Stored], prefix: str) -> Stored:
    """Return the one plan that is meant. Raises UsageError."""
    if len(prefix) < APPROVAL_PREFIX or len(stored) != 1:
        what = "fits several stored plans" if len(stored) > 1 else "fits no stored plan of this job"
        digits = f"{APPROVAL_PREFIX} digits or more of a digest that a refusal printed"
        raise UsageError(f"The digest {text.line(prefix, 80)} {what}: give {digits}.")
    if stored[0].used_by is not None:
        raise UsageError(
            f"The consent to {stored[0].digest[:APPROVAL_PREFIX]} was used up by run {stored[0].used_by}; where "
            "something still waits, the next run prints a new digest."
        )
    return stored[0]


# ---- using it -------------------------------------------------------------------------------------------------------


def standing(setup: Setup, options: Options, this: Session) -> tuple[Given, ...]:
    """Return the consents that this run may use, `--approve` among them, and lately expired ones.

    Raises UsageError where `--approve` names no stored plan that waits.
    """
    home = this.home or setup.state
    with home.begin() as connection:
        given = [
            Given(approval, stored)
            for approval in consents.unused(connection, home, this.now - RECALLED)
            for stored in consents.find_plans(connection, home, approval.digest)
            if _is_of(setup, stored)
        ]
        given += _cut_short(setup, connection, home, this.now)
        if options.approve is None:
            return tuple(given)
        found = [one for one in consents.find_plans(connection, home, options.approve) if _is_of(setup, one)]
        stored = _named(found, options.approve)
    if any(one.plan.digest == stored.digest and one.approval.expires_at > this.now for one in given):
        return tuple(given)
    return (*given, Given(_at_once(options, stored.digest, this.now), stored))


def _is_of(setup: Setup, stored: Stored) -> bool:
    """Tell whether a plan is one of this job against this CRM: nobody consented to the same for another one."""
    return plan.digest(setup.job.name, setup.reader.identity, (), stored.meant) == stored.digest


def _cut_short(setup: Setup, connection: Connection, home: State, now: datetime) -> Iterator[Given]:
    """Yield the consents that still stand for what the run that took them put off, or never got to."""
    for approval, left in consents.put_off(connection, home, now):
        for stored in consents.find_plans(connection, home, approval.digest):
            if _is_of(setup, stored):
                meant = {mark: one for mark, one in stored.meant.items() if left is None or mark in left}
                yield Given(approval, replace(stored, meant=meant))


def _at_once(options: Options, digest: str, now: datetime) -> Approval:
    by = options.who or "whoever ran it"
    return Approval(digest=digest, by=by, why=AT_ONCE, origin=options.origin, at=now, expires_at=now + LASTS)


def weighed(given: Iterable[Given], planned: Iterable[str], now: datetime) -> Weighed:
    """Hold consents against the identities that are planned now: what is still the same goes, the rest drops out."""
    identities = frozenset(planned)
    approved: dict[str, str] = {}
    used, told = [], []
    for one in given:
        there = [identity for identity in one.plan.meant if identity in identities]
        covered = [identity for identity in there if identity not in approved]
        if one.approval.expires_at <= now:
            told += [_expired(one)] if covered else []
            continue
        dropped = [meant.key for identity, meant in one.plan.meant.items() if identity not in identities]
        told.append(Consent(digest=one.plan.digest, by=one.approval.by, covered=len(covered), dropped=tuple(dropped)))
        used += [one.approval] if there else []  # where two are to the same, neither is left over
        approved |= dict.fromkeys(covered, one.plan.digest)
    return Weighed(approved, tuple(used), tuple(told))


def _expired(one: Given) -> Consent:
    return Consent(digest=one.plan.digest, by=one.approval.by, covered=0, expired=one.approval.expires_at)


# ---- asking for it --------------------------------------------------------------------------------------------------


def ask(
    setup: Setup, this: Session, drafted: Plan, judged: guard.Judgement, uncovered: Iterable[guard.Uncovered]
) -> Waiting | None:
    """Store what waits for a person, so that exactly that can be consented to; return how it is named.

    Over a limit it is the whole plan. Otherwise it is what was withheld: the rest is let through anyway.
    """
    if judged.violations:
        meant = {plan.identity(one): _meant(one) for one in drafted.deltas if one.outcome is Outcome.PLANNED}
        scope = {one.identity: Meant(RELEASE, one.name, one.agent) for one in uncovered}
        return _kept(setup, this, drafted.digest, meant | scope, judged)
    waiting = [
        before
        for before, now in zip(drafted.deltas, judged.deltas, strict=True)
        if before.outcome is Outcome.PLANNED and now.outcome is Outcome.HELD
    ]
    if not waiting:
        return None
    digest = plan.digest(setup.job.name, setup.reader.identity, waiting)
    return _kept(setup, this, digest, {plan.identity(one): _meant(one) for one in waiting}, judged)


def _meant(delta: Delta) -> Meant:
    return Meant(delta.action.value, delta.key, delta.agent)


def _kept(setup: Setup, this: Session, digest: str, meant: Mapping[str, Meant], judged: guard.Judgement) -> Waiting:
    home = this.home or setup.state
    violations = (*judged.violations, *judged.withheld)
    stored = Stored(digest=digest, run=this.id, made_at=this.now, meant=meant, violations=violations)
    with home.begin() as connection:
        consents.save_plan(connection, home, stored)
    released = sum(one.action == RELEASE for one in meant.values())
    return Waiting(digest=digest, count=len(meant) - released, released=released)
