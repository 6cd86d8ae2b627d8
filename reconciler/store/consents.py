"""What waits for a person, and who said yes: plans by their digest, and consents with who, why and from where."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, delete, func, insert, select, update

from reconciler.model import Outcome, Violation
from reconciler.store import codec
from reconciler.store.database import batched, upsert
from reconciler.store.schema import approvals, journal, plans, runs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, RowMapping

    from reconciler.store.state import State


KEPT: Final = 150
"""Plans that are kept for people to consent to, a day of runs every ten minutes, beside those somebody consented to."""


class Meant(NamedTuple):
    """One thing that a plan would do, as people are told later: what, to which pair (its key), and whose it is."""

    action: str
    key: str
    agent: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A plan that waits for a person: what consent to it covers, by identity, and the limits that it exceeded."""

    digest: str
    run: str
    made_at: datetime
    meant: Mapping[str, Meant]
    violations: Sequence[Violation] = ()
    used_by: str | None = None

    @property
    def counts(self) -> Counter[str]:
        """Return how many of each action it has."""
        return Counter(one.action for one in self.meant.values())

    @property
    def agents(self) -> Counter[str]:
        """Return whose changes these are."""
        return Counter(one.agent for one in self.meant.values() if one.agent)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A person's consent to one stored plan. `number` is None until it is written down."""

    digest: str
    by: str
    why: str = field(repr=False)
    origin: str = field(repr=False)
    at: datetime
    expires_at: datetime
    used_by: str | None = None
    number: int | None = None


# ---- plans ----------------------------------------------------------------------------------------------------------


def save_plan(connection: Connection, state: State, plan: Stored) -> None:
    """Store a plan by its digest. One that was used and is refused again may be consented to again."""
    row = {
        "job": state.job,
        "digest": plan.digest,
        "run": plan.run,
        "made_at": codec.epoch(plan.made_at),
        "identities": codec.dump({identity: list(one) for identity, one in sorted(plan.meant.items())}),
        "violations": codec.dump([_numbers(violation) for violation in plan.violations]),
        "used_by": None,
    }
    upsert(connection, plans, [row])
    _forget_old(connection, state, plan)


def _forget_old(connection: Connection, state: State, latest: Stored) -> None:
    """Keep the newest plans, and those that a consent stands for: a first fill that is refused all day is large."""
    stands = select(approvals.c.digest).where(
        approvals.c.job == state.job,
        approvals.c.used_by.is_(None),
        approvals.c.expires_at > codec.epoch(latest.made_at),
    )
    others = and_(plans.c.digest.not_in(stands), plans.c.digest != latest.digest)  # a clock may be set back
    mine = and_(plans.c.job == state.job, others)
    newest_first = select(plans.c.digest).where(mine).order_by(plans.c.made_at.desc(), plans.c.run.desc())
    for batch in batched(connection.execute(newest_first.offset(KEPT - 1)).scalars().all()):
        connection.execute(delete(plans).where(plans.c.job == state.job, plans.c.digest.in_(batch)))


def _numbers(violation: Violation) -> list[Any]:
    return [violation.limit, violation.found, violation.allowed, violation.population, violation.why, violation.agent]


def find_plans(connection: Connection, state: State, prefix: str) -> list[Stored]:
    """Return the stored plans whose digest begins like this."""
    mine = and_(plans.c.job == state.job, func.substr(plans.c.digest, 1, len(prefix)) == prefix)
    return [_stored(row) for row in connection.execute(select(plans).where(mine)).mappings()]


def _stored(row: RowMapping) -> Stored:
    return Stored(
        digest=row["digest"],
        run=row["run"],
        made_at=codec.from_epoch(row["made_at"]),
        meant={identity: Meant(*one) for identity, one in codec.load(row["identities"]).items()},
        violations=tuple(Violation(*numbers) for numbers in codec.load(row["violations"])),
        used_by=row["used_by"],
    )


# ---- consents -------------------------------------------------------------------------------------------------------


def approve(connection: Connection, state: State, approval: Approval) -> int:
    """Write a consent down; return its number."""
    row = {
        "job": state.job,
        "digest": approval.digest,
        "by": approval.by,
        "why": approval.why,
        "origin": approval.origin,
        "at": codec.epoch(approval.at),
        "expires_at": codec.epoch(approval.expires_at),
        "used_by": approval.used_by,
    }
    number: int = connection.execute(insert(approvals).values(row).returning(approvals.c.id)).scalar_one()
    return number


def unused(connection: Connection, state: State, since: datetime) -> list[Approval]:
    """Return the consents that no run used up and that had not expired at `since`, oldest first."""
    open_ = and_(
        approvals.c.job == state.job, approvals.c.used_by.is_(None), approvals.c.expires_at > codec.epoch(since)
    )
    return [
        _approval(row) for row in connection.execute(select(approvals).where(open_).order_by(approvals.c.id)).mappings()
    ]


def put_off(connection: Connection, state: State, now: datetime) -> list[tuple[Approval, frozenset[str] | None]]:
    """Return the consents that stand and that a run took without sending all of it, and the identities it never sent.

    None are all of them: that run died before it had written down what it meant to send.
    """
    taken = and_(
        approvals.c.job == state.job, approvals.c.used_by.is_not(None), approvals.c.expires_at > codec.epoch(now)
    )
    rows = connection.execute(select(approvals).where(taken).order_by(approvals.c.id)).mappings().all()
    found = [(one, _never_sent(connection, state, one)) for one in map(_approval, rows)]
    return [(one, left) for one, left in found if left is None or left]


def _never_sent(connection: Connection, state: State, approval: Approval) -> frozenset[str] | None:
    mine = and_(journal.c.run == approval.used_by, journal.c.job == state.job, journal.c.approval == approval.digest)
    became = connection.execute(select(journal.c.idempotency_key, journal.c.status).where(mine)).all()
    if not became and _died(connection, state, approval.used_by):
        return None
    return frozenset(key.rpartition(":")[2] for key, status in became if status in {Outcome.PLANNED, Outcome.DEFERRED})


def _died(connection: Connection, state: State, run: str | None) -> bool:
    mine = and_(runs.c.job == state.job, runs.c.id == run)
    return connection.execute(select(runs.c.finished_at).where(mine)).scalar() is None


def last_approvals(connection: Connection, state: State, most: int = 10) -> list[Approval]:
    """Return the latest consents, newest first."""
    latest = select(approvals).where(approvals.c.job == state.job).order_by(approvals.c.id.desc()).limit(most)
    return [_approval(row) for row in connection.execute(latest).mappings()]


def _approval(row: RowMapping) -> Approval:
    return Approval(
        digest=row["digest"],
        by=row["by"],
        why=row["why"],
        origin=row["origin"],
        at=codec.from_epoch(row["at"]),
        expires_at=codec.from_epoch(row["expires_at"]),
        used_by=row["used_by"],
        number=row["id"],
    )


def use(connection: Connection, state: State, used: Iterable[Approval], run: str, now: datetime) -> None:
    """Use consents up: what they let through is about to be written. One that is not written down yet is added."""
    for approval in used:
        number = approve(connection, state, approval) if approval.number is None else approval.number
        spent = {"used_by": run, "used_at": codec.epoch(now)}
        connection.execute(update(approvals).where(approvals.c.id == number).values(spent))
        mine = and_(plans.c.job == state.job, plans.c.digest == approval.digest)
        connection.execute(update(plans).where(mine).values(used_by=run))


# ---- what was written lately ----------------------------------------------------------------------------------------


def written_since(connection: Connection, state: State, since: datetime) -> dict[str, int]:
    """Count what was or may have been written since then, by action; what a person consented to is left out."""
    may_be_there = ("sent", Outcome.UNKNOWN.value, Outcome.DONE.value)
    query = select(journal.c.action, func.count()).where(
        journal.c.at >= codec.epoch(since),
        journal.c.job == state.job,
        journal.c.status.in_(may_be_there),
        journal.c.approval.is_(None),
    )
    return {row[0]: row[1] for row in connection.execute(query.group_by(journal.c.action))}
