"""What is old goes: counted first or dropped in small steps, beside whatever run is at work.

Nothing that a run, a revert, a standing consent or a report to come may ask for is old, whatever the job file says: so
it makes no difference which of them comes first, nor where this ends when it is killed. What is left to drop, the next
one drops.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, Protocol

from sqlalchemy import and_, delete, exists, func, not_, or_, select, update

from reconciler.model import Outcome
from reconciler.store import codec, deliveries, erasing
from reconciler.store.database import batched
from reconciler.store.journal import SENT
from reconciler.store.schema import (
    approvals,
    findings,
    jobs,
    journal,
    plans,
    quota,
    runs,
    slots,
)
from reconciler.store.schema import deliveries as sent

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, Connection, Select, Table

    from reconciler.store.state import State

STEP: Final = 2000
"""Rows of one transaction: a run beside it never waits for long."""

LEAST: Final = timedelta(days=8)
"""Nothing younger is dropped: what we wrote is looked at for seven days, to see who undoes it."""

REVERTIBLE: Final = timedelta(days=1)
"""What was there before a write is kept this long at least: somebody may want it back."""

WAITING: Final = timedelta(days=31)
"""How long a plan waits for a person, and a budget nobody draws on is remembered."""

TOLD: Final = 10
"""Deliveries of a channel that are kept, however old."""

_OPEN: Final = (SENT, Outcome.UNKNOWN.value, Outcome.PLANNED.value)
"""What a run has to come back to."""


class Retention(Protocol):
    """How long things are kept."""

    @property
    def images(self) -> timedelta: ...
    @property
    def journal(self) -> timedelta: ...
    @property
    def runs(self) -> timedelta: ...
    @property
    def findings(self) -> timedelta: ...
    @property
    def deliveries(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Pruned:
    """What was dropped, or would be, by what it is; and the room that is in the file."""

    counts: Mapping[str, int]
    room: erasing.Room | None


@dataclass(frozen=True, slots=True)
class _Step:
    """One kind of rows that is old: `key` tells them apart, `change` is what is emptied of them; else they go.

    They are taken in the order of `by`, which an index has: so none is looked at that is too young.
    """

    what: str
    key: Column[Any]
    by: Column[Any]
    is_old: ColumnElement[bool]
    change: Mapping[str, None] | None = None

    @property
    def table(self) -> Table:
        return self.key.table


def ages(retention: Retention) -> dict[str, timedelta]:
    """Return how old each kind is when it goes: what the job file says, and never less than others rely on."""
    kept = {name: max(getattr(retention, name), LEAST) for name in ("journal", "runs", "findings", "deliveries")}
    return {**kept, "images": max(retention.images, REVERTIBLE)}


def count(state: State, retention: Retention, now: datetime) -> Pruned:
    """Count what is old, in one view of the state; nothing is written."""
    with state.reading() as connection:
        steps = _steps(connection, state, retention, now)
        found = {step.what: connection.execute(_counted(step)).scalar_one() for step in steps}
    return Pruned(found, erasing.room(state.engine))


def _counted(step: _Step) -> Select[int]:
    return select(func.count()).select_from(step.table).where(step.is_old)


def prune(state: State, retention: Retention, now: datetime) -> Pruned:
    """Drop what is old, and note when that was."""
    with state.begin() as connection:
        steps = _steps(connection, state, retention, now)
    found = {step.what: _done(state, step) for step in steps}
    with state.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.id == state.job).values(pruned_at=codec.epoch(now)))
    return Pruned(found, erasing.flush(state.engine))


def _done(state: State, step: _Step) -> int:
    """Take one step after the other through the rows, the oldest first; return how many there were.

    What is old is looked for before the transaction that drops it, which then only has to see that it still is.
    """
    total = 0
    while True:
        with state.engine.begin() as connection:
            keys = connection.execute(select(step.key).where(step.is_old).order_by(step.by).limit(STEP)).scalars().all()
        done = 0
        for batch in batched(keys):
            change = delete(step.table) if step.change is None else update(step.table).values(dict(step.change))
            with state.begin() as connection:
                done += connection.execute(change.where(step.is_old, step.key.in_(batch))).rowcount
        total += done
        if done == 0 or len(keys) < STEP:
            return total


# ---- what is old ----------------------------------------------------------------------------------------------------


def _steps(connection: Connection, state: State, retention: Retention, now: datetime) -> list[_Step]:
    """Return what is old, those first on which others wait."""
    before = {name: codec.epoch(now - age) for name, age in ages(retention).items()}
    standing = and_(approvals.c.job == state.job, approvals.c.expires_at > codec.epoch(now))
    return [
        _Step("images", journal.c.id, journal.c.at, _old_images(state, before), {"before": None, "after": None}),
        _Step("journal", journal.c.id, journal.c.at, _old_writes(state, before["journal"], standing)),
        _Step("runs", runs.c.id, runs.c.epoch, _old_runs(state, before, standing)),
        _Step("findings", findings.c.key, findings.c.resolved_at, _old_findings(state, before["findings"])),
        _Step("deliveries", sent.c.id, sent.c.id, _old_deliveries(connection, state, before["deliveries"], now)),
        _Step("plans", plans.c.digest, plans.c.digest, _old_plans(state, standing, now)),
        _Step("approvals", approvals.c.id, approvals.c.id, _old_approvals(state, before["journal"], now)),
        _Step("slots", slots.c.slot, slots.c.slot, _old_slots(state, before["runs"])),
        _Step("budgets", quota.c.scope, quota.c.scope, quota.c.at < codec.epoch(now - WAITING)),
    ]


def _written_before(state: State, instant: int) -> ColumnElement[bool]:
    return and_(journal.c.job == state.job, journal.c.at < instant, journal.c.status.not_in(_OPEN))


def _old_writes(state: State, instant: int, standing: ColumnElement[bool]) -> ColumnElement[bool]:
    """Ask for settled writes under no consent that still stands: what it let through tells what is left of it."""
    consented = select(approvals.c.digest).where(standing)
    is_free = or_(journal.c.approval.is_(None), journal.c.approval.not_in(consented))
    return and_(_written_before(state, instant), is_free)


def _old_images(state: State, before: Mapping[str, int]) -> ColumnElement[bool]:
    """Ask for writes that have images; those that go wholly need not be emptied first."""
    young = journal.c.at >= before["journal"]
    return and_(_written_before(state, before["images"]), journal.c.before.is_not(None), young)


def _old_runs(state: State, before: Mapping[str, int], standing: ColumnElement[bool]) -> ColumnElement[bool]:
    """Ask for runs that nothing leads to: not the last of its kind, none that can be reverted or that a consent names.

    When a run last ended well, or last compared, is asked for however long ago that was.
    """
    kinds = (runs.c.command, runs.c.exit_code, runs.c.compared)
    latest = select(func.max(runs.c.epoch)).where(runs.c.job == state.job).group_by(*kinds)
    kept = or_(journal.c.at >= before["images"], journal.c.status.in_(_OPEN))
    wrote = exists(journal.c.id).where(journal.c.run == runs.c.id, journal.c.job == runs.c.job, kept)
    named = select(approvals.c.used_by).where(standing, approvals.c.used_by.is_not(None))
    mine = and_(runs.c.job == state.job, runs.c.started_at < before["runs"])
    return and_(mine, runs.c.epoch.not_in(latest), not_(wrote), runs.c.id.not_in(named))


def _old_findings(state: State, instant: int) -> ColumnElement[bool]:
    return and_(findings.c.job == state.job, findings.c.resolved_at < instant)


def _old_deliveries(connection: Connection, state: State, instant: int, now: datetime) -> ColumnElement[bool]:
    """Ask for deliveries that no report goes on from, that are not owed and not on their way."""
    place = func.row_number().over(partition_by=sent.c.channel, order_by=sent.c.id.desc()).label("place")
    ranked = select(sent.c.id, place).where(sent.c.job == state.job).subquery()
    newest = connection.execute(select(ranked.c.id).where(ranked.c.place <= TOLD)).scalars()
    kept = {*newest, *(one.id for one in deliveries.every(connection, state, now))}
    return and_(sent.c.job == state.job, sent.c.claimed_at < instant, sent.c.id.not_in(sorted(kept)))


def _old_plans(state: State, standing: ColumnElement[bool], now: datetime) -> ColumnElement[bool]:
    consented = select(approvals.c.digest).where(standing)
    early = plans.c.made_at < codec.epoch(now - WAITING)
    return and_(plans.c.job == state.job, early, plans.c.digest.not_in(consented))


def _old_approvals(state: State, instant: int, now: datetime) -> ColumnElement[bool]:
    """Ask for consents whose time is over; who consented stays known for as long as what was written by it."""
    is_over = approvals.c.expires_at <= codec.epoch(now)
    return and_(approvals.c.job == state.job, approvals.c.at < instant, is_over)


def _old_slots(state: State, instant: int) -> ColumnElement[bool]:
    """Ask for slots that are neither the latest of their command nor the latest that was served."""
    later, mine = slots.alias(), slots.c.job == state.job
    same = and_(later.c.job == slots.c.job, later.c.command == slots.c.command, later.c.slot > slots.c.slot)
    return and_(mine, slots.c.slot < instant, exists(later.c.slot).where(same, later.c.ended_at.is_not(None)))
