"""All that the state keeps about one appointment beside its sides: findings, a plan that waits, consents, copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, func, or_, select

from reconciler.store import codec, consents
from reconciler.store.schema import approvals, calendars, findings, mirror

if TYPE_CHECKING:
    from sqlalchemy import Connection, RowMapping

    from reconciler.store.consents import Stored
    from reconciler.store.state import State

MOST: Final = 20
"""Findings, copies and candidates that are told of one appointment: more say nothing that these don't."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A finding as the last run that looked left it, with what a person said of it."""

    key: str
    kind: str
    severity: str
    agent: str | None
    why: str
    first_seen: datetime
    last_seen: datetime
    sightings: int
    resolved_at: datetime | None
    outcome: str | None
    accepted_by: str | None
    accepted_until: datetime | None
    accepted_why: str | None
    is_accepted: bool

    @property
    def is_open(self) -> bool:
        """Tell whether it was still there when somebody looked last."""
        return self.resolved_at is None


def findings_about(connection: Connection, state: State, crm_id: str | None, event: str | None) -> list[Told]:
    """Return the findings about a record or an event, open ones first, those seen last before others."""
    names = [column == name for column, name in ((findings.c.crm_id, crm_id), (findings.c.event, event)) if name]
    if not names:
        return []
    latest = (findings.c.resolved_at.is_not(None), findings.c.last_seen.desc(), findings.c.key)
    query = select(findings).where(findings.c.job == state.job, or_(*names)).order_by(*latest).limit(MOST)
    return [told(row) for row in connection.execute(query).mappings()]


def findings_like(connection: Connection, state: State, prefix: str) -> list[Told]:
    """Return the findings whose key begins like this, open ones first."""
    mine = and_(findings.c.job == state.job, func.substr(findings.c.key, 1, len(prefix)) == prefix)
    latest = (findings.c.resolved_at.is_not(None), findings.c.last_seen.desc(), findings.c.key)
    query = select(findings).where(mine).order_by(*latest).limit(MOST)
    return [told(row) for row in connection.execute(query).mappings()]


def told(row: RowMapping | Mapping[str, Any]) -> Told:
    """Return a row of the findings as it is told."""
    payload = row["payload"]
    return Told(
        key=row["key"],
        kind=row["kind"],
        severity=row["severity"],
        agent=row["agent"],
        why=str((codec.load(payload) if isinstance(payload, str) else payload)["why"]),
        first_seen=codec.from_epoch(row["first_seen"]),
        last_seen=codec.from_epoch(row["last_seen"]),
        sightings=row["sightings"],
        resolved_at=codec.from_epoch(row["resolved_at"]),
        outcome=row["outcome"],
        accepted_by=row["accepted_by"],
        accepted_until=codec.from_epoch(row["accepted_until"]),
        accepted_why=row["accepted_why"],
        is_accepted=row["accepted_sides"] is not None,
    )


def copies(connection: Connection, state: State, meeting: str, besides: int | None) -> list[str]:
    """Return whose calendars have the same meeting beside the one that speaks for it."""
    if not meeting:
        return []
    joined = mirror.join(calendars, calendars.c.id == mirror.c.calendar)
    mine = and_(mirror.c.job == state.job, mirror.c.meeting == meeting, mirror.c.absence.is_(None))
    query = select(calendars.c.agent).select_from(joined).where(mine, mirror.c.calendar != (besides or 0)).distinct()
    return list(connection.execute(query.order_by(calendars.c.agent).limit(MOST)).scalars())


def who_consented(connection: Connection, state: State, digests: Iterable[str]) -> dict[str, str]:
    """Return by the digest of a plan who consented to it last."""
    wanted = sorted(set(digests))
    mine = and_(approvals.c.job == state.job, approvals.c.digest.in_(wanted))
    rows = connection.execute(select(approvals.c.digest, approvals.c.by).where(mine).order_by(approvals.c.id))
    return {row.digest: row.by for row in rows} if wanted else {}


def waiting_for(connection: Connection, state: State, digest: str | None, key: str) -> Stored | None:
    """Return the stored plan of this digest, if it waits for somebody and a pair of this key is in it."""
    found = consents.find_plans(connection, state, digest) if digest else []
    return next((plan for plan in found if any(one.key == key for one in plan.meant.values())), None)
