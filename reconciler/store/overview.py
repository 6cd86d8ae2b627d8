"""What `reconcile status` asks of the state: what is open, what the last run left waiting, which calendars it has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final

from sqlalchemy import func, select

from reconciler.model import Agent, Calendar, Severity
from reconciler.store import codec
from reconciler.store.gauges import ORDINARY
from reconciler.store.ledger import standing
from reconciler.store.schema import calendars, findings, jobs, runs

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from reconciler.store.state import State


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What the latest run that came to a result left for later, with when that run began.

    `digest` names the plan that asks for a person's consent, and `covers` how much that is; `deferred` counts what was
    put off; `withheld` says by agent why nothing was written for it.
    """

    run: str
    at: datetime
    digest: str | None = None
    covers: int = 0
    deferred: int = 0
    withheld: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FailedStart:
    """A start that came to no run, and its exit code."""

    at: datetime
    exit_code: int


def open_findings(connection: Connection, state: State) -> dict[str, int]:
    """Return how many findings of each severity wait for somebody: what is put right or accepted waits for nobody."""
    counted = select(findings.c.severity, func.count()).where(standing(state)).group_by(findings.c.severity)
    return {row[0]: row[1] for row in connection.execute(counted)}


def critical(connection: Connection, state: State) -> int:
    """Return how many critical findings wait for somebody: what is put right already waits for nobody."""
    which = standing(state) & (findings.c.severity == Severity.CRITICAL)
    return connection.execute(select(func.count()).select_from(findings).where(which)).scalar_one()


def failed_start(connection: Connection, state: State) -> FailedStart | None:
    """Return the latest start of a run if it failed before there was one; None where a run has begun since."""
    noted = connection.execute(select(jobs.c.attempted_at, jobs.c.attempt_code).where(jobs.c.id == state.job)).one()
    if noted.attempt_code not in _FAILED:
        return None
    mine = (runs.c.job == state.job, runs.c.command.in_(ORDINARY))
    latest = connection.execute(select(runs.c.started_at).where(*mine).order_by(runs.c.epoch.desc()).limit(1)).scalar()
    if latest is not None and latest >= noted.attempted_at:
        return None
    return FailedStart(codec.from_epoch(noted.attempted_at), noted.attempt_code)


_FAILED: Final = (1, 2, 4)
"""Exit codes of starts that somebody has to look at: not of one that met another at work, nor of one that was ended."""


def waiting(connection: Connection, state: State) -> Waiting | None:
    """Return what the latest run left for later; None where no run came to a result yet."""
    mine = (runs.c.job == state.job, runs.c.result.is_not(None))
    latest = select(runs.c.id, runs.c.started_at, runs.c.result).where(*mine).order_by(runs.c.epoch.desc()).limit(1)
    row = connection.execute(latest).first()
    if row is None:
        return None
    result = codec.load(row.result)
    asks = result.get("consent") or {}
    return Waiting(
        run=row.id,
        at=codec.from_epoch(row.started_at),
        digest=asks.get("digest"),
        covers=asks.get("covers", 0),
        deferred=result["counts"].get("deferred", 0),
        withheld={one["agent"]: one["why"] for one in result.get("violations", ()) if one.get("agent")},
    )


def known_calendars(connection: Connection, state: State) -> list[Calendar]:
    """Return the calendars that earlier runs watched, for when nobody can say which those of the job are."""
    query = select(calendars.c.source, calendars.c.agent, calendars.c.name).where(calendars.c.job == state.job)
    rows = connection.execute(query.order_by(calendars.c.id)).all()
    return [Calendar(source=row.source, kind=row.source, agent=Agent(email=row.agent), name=row.name) for row in rows]
