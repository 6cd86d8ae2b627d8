"""What is measured of a job, read from its state alone: an export made after a failed run says the truth too.

Numbers by kind, severity, source and project; no agent, no address, no title. All of it is read in one view.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, case, func, or_, select, text, update

from reconciler.figures import Figures
from reconciler.store import codec, totals
from reconciler.store.ledger import standing
from reconciler.store.quota import Level
from reconciler.store.schema import calendars, deliveries, findings, jobs, quota, runs
from reconciler.store.totals import Labels
from reconciler.store.versions import version_in

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from reconciler.store.state import State

ORDINARY: Final = ("", "run")
STATES: Final = ("fresh", "late", "blind", "parked", "new")
"""How a calendar may be: read whole of late, or not; not to be read; not worth a try yet; never read so far."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """How the calendars of one source are. `oldest` is the oldest of their last whole reads, but for parked ones."""

    states: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(STATES, 0))
    oldest: datetime | None = None
    blind_since: datetime | None = None  # the one that has been so for longest, parked or not


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRun:
    """The latest ordinary run that ended."""

    started_at: datetime
    finished_at: datetime
    status: str
    exit_code: int
    figures: Figures


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauges:
    """All that is read. Instants are None for what never was; `open` and `oldest` are of findings that people see."""

    attempted_at: datetime | None
    succeeded_at: datetime | None
    compared_at: datetime | None
    attempt_code: int | None
    last: LastRun | None
    readings: Mapping[str, Readings]
    open: Mapping[Labels, int]  # by kind and severity
    oldest: Mapping[str, datetime]  # by severity
    accepted: int
    sent: Mapping[str, datetime]  # by kind of report
    totals: Mapping[str, Mapping[Labels, int]]
    levels: Mapping[tuple[str, str], Level]  # by project and window
    version: str
    size: int


def attempted(state: State, now: datetime, exit_code: int | None = None) -> None:
    """Note that a run was started, and how it ended where it did not come as far as to be recorded."""
    values = {"attempted_at": codec.epoch(now), "attempt_code": exit_code}
    with state.begin() as connection:
        connection.execute(update(jobs).where(jobs.c.id == state.job).values(values))


def read(connection: Connection, state: State, now: datetime, freshness: timedelta) -> Gauges:
    """Return what is measured; a calendar whose last whole read is older than `freshness` is late."""
    job = connection.execute(select(jobs).where(jobs.c.id == state.job)).one()
    begun = _latest(connection, state, "started_at", runs.c.command.in_(ORDINARY))
    noted = codec.from_epoch(job.attempted_at)
    return Gauges(
        attempted_at=max((at for at in (begun, noted) if at is not None), default=None),
        succeeded_at=_latest(connection, state, "finished_at", runs.c.command.in_(ORDINARY), runs.c.exit_code == 0),
        compared_at=_latest(connection, state, "finished_at", _compared()),
        attempt_code=job.attempt_code,
        last=_last(connection, state),
        readings=_readings(connection, state, now, freshness),
        open=_open(connection, state),
        oldest=_oldest(connection, state),
        accepted=_accepted(connection, state),
        sent=_sent(connection, state),
        totals=totals.read(connection, state),
        levels=_levels(connection),
        version=version_in(connection) or "",
        size=_size(connection),
    )


# ---- runs -----------------------------------------------------------------------------------------------------------


def _compared() -> ColumnElement[bool]:
    """Ask for runs that compared both sides; of those before it was noted, those that can't have ended otherwise."""
    return func.coalesce(runs.c.compared, runs.c.exit_code.in_((0, 3)))


def _latest(connection: Connection, state: State, column: str, *which: ColumnElement[bool]) -> datetime | None:
    """Return when the latest run began or ended of which this holds: by its epoch, for clocks are set back."""
    query = select(runs.c[column]).where(runs.c.job == state.job, runs.c[column].is_not(None), *which)
    return codec.from_epoch(connection.execute(query.order_by(runs.c.epoch.desc()).limit(1)).scalar())


def _last(connection: Connection, state: State) -> LastRun | None:
    ended = and_(runs.c.job == state.job, runs.c.finished_at.is_not(None), runs.c.command.in_(ORDINARY))
    row = connection.execute(select(runs).where(ended).order_by(runs.c.epoch.desc()).limit(1)).first()
    if row is None:
        return None
    return LastRun(
        started_at=codec.from_epoch(row.started_at),
        finished_at=codec.from_epoch(row.finished_at),
        status=row.status,
        exit_code=row.exit_code,
        figures=Figures.from_json(codec.load(row.figures)) if row.figures else Figures(),
    )


# ---- calendars ------------------------------------------------------------------------------------------------------


def _readings(connection: Connection, state: State, now: datetime, freshness: timedelta) -> dict[str, Readings]:
    """Return how the calendars are that the job means to look at, by source."""
    how = _how(codec.epoch(now), codec.epoch(now - freshness)).label("how")
    stamps = (func.min(calendars.c.seen_at).label("seen"), func.min(calendars.c.blind_since).label("blind"))
    mine = and_(calendars.c.job == state.job, calendars.c.named)
    query = select(calendars.c.source, how, func.count().label("number"), *stamps).where(mine)
    found: dict[str, Readings] = {}
    for row in connection.execute(query.group_by(calendars.c.source, how)):
        before = found.get(row.source, Readings())
        found[row.source] = Readings(
            states={**before.states, row.how: row.number},
            oldest=_earlier(before.oldest, None if row.how == "parked" else row.seen),
            blind_since=_earlier(before.blind_since, row.blind),
        )
    return found


def _how(now: int, stale: int) -> ColumnElement[str]:
    blind = calendars.c.blind_since.is_not(None)
    return case(
        (and_(blind, calendars.c.next_try > now), "parked"),
        (blind, "blind"),
        (calendars.c.seen_at.is_(None), "new"),
        (calendars.c.seen_at >= stale, "fresh"),
        else_="late",
    )


def _earlier(known: datetime | None, seconds: int | None) -> datetime | None:
    at = codec.from_epoch(seconds)
    return min((one for one in (known, at) if one is not None), default=None)


# ---- findings -------------------------------------------------------------------------------------------------------


def _open(connection: Connection, state: State) -> dict[Labels, int]:
    counted = select(findings.c.kind, findings.c.severity, func.count()).where(standing(state))
    rows = connection.execute(counted.group_by(findings.c.kind, findings.c.severity))
    return {(kind, severity): number for kind, severity, number in rows}


def _oldest(connection: Connection, state: State) -> dict[str, datetime]:
    query = select(findings.c.severity, func.min(findings.c.settled_at)).where(standing(state))
    rows = connection.execute(query.group_by(findings.c.severity))
    return {severity: codec.from_epoch(at) for severity, at in rows}


def _accepted(connection: Connection, state: State) -> int:
    known = and_(findings.c.job == state.job, findings.c.resolved_at.is_(None), findings.c.accepted_sides.is_not(None))
    return connection.execute(select(func.count()).select_from(findings).where(known)).scalar_one()


# ---- reports, budgets, the database ---------------------------------------------------------------------------------


def _sent(connection: Connection, state: State) -> dict[str, datetime]:
    """Return by kind when the last report went out; of several channels, that of the one that waits for longest."""
    mine = and_(deliveries.c.job == state.job, deliveries.c.sent_at.is_not(None))
    query = select(deliveries.c.kind, func.max(deliveries.c.sent_at).label("at")).where(mine)
    found: dict[str, datetime] = {}
    for row in connection.execute(query.group_by(deliveries.c.kind, deliveries.c.channel)):
        at = codec.from_epoch(row.at)
        found[row.kind] = min(found.get(row.kind, at), at)
    return found


def _levels(connection: Connection) -> dict[tuple[str, str], Level]:
    shared = or_(*(quota.c.scope == window for window in ("minute", "day", "token")))
    return {(row.provider, row.scope): (row.level, row.at) for row in connection.execute(select(quota).where(shared))}


def _size(connection: Connection) -> int:
    """Return how large the whole database is, in bytes."""
    if connection.dialect.name == "postgresql":
        found: Any = connection.execute(text("SELECT pg_database_size(current_database())")).scalar()
        return int(found)
    pages, page = (connection.execute(text(f"PRAGMA {name}")).scalar_one() for name in ("page_count", "page_size"))
    return int(pages) * int(page)
