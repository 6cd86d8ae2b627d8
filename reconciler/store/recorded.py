"""What the state knows of a period, as the report's values: read in one view that stands still, and never held whole.

What a run at work has written so far is not in it: a period ends when a run began that ended. Streams can be walked
through again for as long as the view is open.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from sqlalchemy import Row, and_, func, select

from reconciler.errors import UsageError
from reconciler.model import Kind
from reconciler.report.recorded import ORDINARY, STALE, Day, PastRun, Place, Recorded, Stream, Told, Watched
from reconciler.store import codec, deliveries
from reconciler.store.schema import calendars, days, runs
from reconciler.store.tracked import Concerns, fixes, tracked, within

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from reconciler.model import Calendar
    from reconciler.store.deliveries import Delivery
    from reconciler.store.state import State
    from reconciler.store.tracked import Period

FIRST: Final = timedelta(hours=24)
"""How far back a channel's first report goes, at most."""

TREND: Final = 30
"""Days that trends are drawn over."""

MOST_DAYS: Final = 400
"""Days of a long period that are held."""

MOST_RUNS: Final = 500
"""Runs of a period that are held; of the older ones it is counted how they ended."""

MOST_TOLD: Final = 5
"""Earlier reports that are looked at."""

_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be read.

    The period is (`since`, `until`]. Where one is not given, it ends with the latest run that ended, and begins
    where the last report of `channel` did end; an `urgent` one is over for urgent ones only. `run` is the
    period of that run alone. `calendars` are those of the job file, None where nobody could be asked; `kinds` names
    each source's kind. A run is no news of today any more once it is older than `stale`. Days are those of `zone`, and
    of `offices` where only these are meant; findings and writes are of the agents whom it `concerns`.
    """

    made_at: datetime
    since: datetime | None = None
    until: datetime | None = None
    run: str | None = None
    channel: str | None = None
    urgent: bool = False
    calendars: tuple[Calendar, ...] | None = None
    kinds: Mapping[str, str] = field(default_factory=dict)
    zone: str = "UTC"
    stale: timedelta = STALE
    offices: frozenset[str] | None = None
    concerns: Concerns = lambda _: True


def recorded(connection: Connection, state: State, wanted: Wanted) -> Recorded:
    """Return what is known of the period. Raises UsageError where there is no run that it could be about."""
    last, attempted = _last(connection, state, wanted), _attempted(connection, state, wanted)
    newest = last or attempted
    if newest is None:
        raise UsageError(_no_run(state, wanted))
    since, until = _since(connection, state, wanted, newest.started_at), newest.started_at
    shown, older = _runs(connection, state, (since, until))
    places = _places(connection, state, wanted.kinds)
    return Recorded(
        job=state.name,
        since=since,
        until=until,
        made_at=wanted.made_at,
        runs=shown,
        older=older,
        last=last,
        attempted=attempted,
        before=_latest(connection, state, runs.c.started_at <= codec.epoch(since), runs.c.command.in_(ORDINARY)),
        is_past=wanted.run is not None or wanted.until is not None,
        stale=wanted.stale,
        calendars=_watched(connection, state, wanted, until),
        findings=Stream(lambda: tracked(connection, state, (since, until), wanted.made_at, places, wanted.concerns)),
        fixes=Stream(lambda: fixes(connection, state, (since, until), wanted.concerns)),
        days=_days(connection, state, wanted, (since, until)),
        told=_told(connection, state, wanted, until),
    )


def _no_run(state: State, wanted: Wanted) -> str:
    if wanted.run is not None:
        return f"{wanted.run} is no run of {state.name} that ended: `reconcile status` lists the latest ones."
    if wanted.until is not None:
        return f"No run of {state.name} had ended by then: `reconcile status` lists the latest ones."
    return f"There is no run of {state.name} yet that a report could be about: `reconcile run` makes the first."


# ---- the period -----------------------------------------------------------------------------------------------------


def _last(connection: Connection, state: State, wanted: Wanted) -> PastRun | None:
    """Return the run that the period ends with."""
    if wanted.run is not None:
        return _latest(connection, state, func.upper(runs.c.id) == wanted.run.strip().upper())
    by = [] if wanted.until is None else [runs.c.started_at <= codec.epoch(wanted.until)]
    return _latest(connection, state, *by)


def _latest(connection: Connection, state: State, *which: ColumnElement[bool]) -> PastRun | None:
    """Return the latest of these runs that ended."""
    mine = and_(runs.c.job == state.job, runs.c.finished_at.is_not(None), *which)
    row = connection.execute(select(runs).where(mine).order_by(runs.c.epoch.desc()).limit(1)).first()
    return None if row is None else _run(row)


def _attempted(connection: Connection, state: State, wanted: Wanted) -> PastRun | None:
    """Return the latest run of all, if it did not end; of a period that was asked for, it is no part."""
    if wanted.run is not None or wanted.until is not None:
        return None
    row = connection.execute(select(runs).where(runs.c.job == state.job).order_by(runs.c.epoch.desc()).limit(1)).first()
    return None if row is None or row.finished_at is not None else _run(row)


def _since(connection: Connection, state: State, wanted: Wanted, until: datetime) -> datetime:
    if wanted.run is not None:
        return until - _SECOND
    if wanted.since is not None:
        return wanted.since
    told = last_told(connection, state, wanted.channel, wanted.made_at, urgent=wanted.urgent)
    if told is None or told > until:  # later than a newer run: a clock was set back
        return _first(connection, state, until)
    return told


def _first(connection: Connection, state: State, until: datetime) -> datetime:
    """Return where the first report of a channel begins: with the first run of all, if that is not long ago."""
    first = connection.execute(select(func.min(runs.c.started_at)).where(runs.c.job == state.job)).scalar_one()
    began: datetime = codec.from_epoch(first)
    return max(began - _SECOND, until - FIRST)


def _runs(connection: Connection, state: State, period: Period) -> tuple[tuple[PastRun, ...], Counter[str | None]]:
    """Return the newest runs of the period, and how many others ended in which way."""
    mine = and_(runs.c.job == state.job, within(runs.c.started_at, period))
    counted = connection.execute(select(runs.c.status, func.count()).where(mine).group_by(runs.c.status)).all()
    rows = connection.execute(select(runs).where(mine).order_by(runs.c.epoch.desc()).limit(MOST_RUNS)).all()
    every = Counter[str | None]({row.status: row[1] for row in counted})
    return tuple(_run(row) for row in rows), every - Counter(row.status for row in rows)


def _run(row: Row[Any]) -> PastRun:
    return PastRun(
        id=row.id,
        command=row.command,
        started_at=codec.from_epoch(row.started_at),
        finished_at=codec.from_epoch(row.finished_at),
        status=row.status,
        exit_code=row.exit_code,
        digest=row.digest or None,
        why=row.why,
        counts=codec.load(row.counts) or {},
        result=codec.load(row.result) or {},
    )


# ---- what was told --------------------------------------------------------------------------------------------------


def last_told(
    connection: Connection, state: State, channel: str | None, now: datetime, *, urgent: bool = False
) -> datetime | None:
    """Return until when a channel was told: by its reports, for an `urgent` one by whatever it was sent."""
    last = deliveries.last(connection, state, channel, now, urgent=urgent) if channel else None
    return None if last is None else last.until


def _told(connection: Connection, state: State, wanted: Wanted, until: datetime) -> tuple[Told, ...]:
    """Return the channel's latest earlier reports, the newest first; none that somebody is sending just now."""
    known = deliveries.of(connection, state, wanted.channel, wanted.made_at) if wanted.channel else []
    earlier = [one for one in reversed(known) if one.until < until][:MOST_TOLD]
    return tuple(_earlier(one) for one in earlier if one.status != deliveries.CLAIMED)


def _earlier(one: Delivery) -> Told:
    return Told(kind=one.kind.value, status=one.status, since=one.since, until=one.until, why=one.why)


# ---- calendars ------------------------------------------------------------------------------------------------------


def _places(connection: Connection, state: State, kinds: Mapping[str, str]) -> dict[int, Place]:
    """Return every calendar that the state knows, by its number."""
    columns = (calendars.c.id, calendars.c.source, calendars.c.agent, calendars.c.name)
    rows = connection.execute(select(*columns).where(calendars.c.job == state.job))
    return {number: _place(source, kinds, agent, name) for number, source, agent, name in rows}


def _place(source: str, kinds: Mapping[str, str], agent: str, name: str) -> Place:
    return Place(source=source, kind=kinds.get(source, ""), agent=agent, name=name)


def _watched(connection: Connection, state: State, wanted: Wanted, until: datetime) -> tuple[Watched, ...]:
    """Return the calendars of the job file; where nobody could be asked, those that no job file left out so far."""
    rows = connection.execute(select(calendars).where(calendars.c.job == state.job).order_by(calendars.c.id)).all()
    if wanted.calendars is None:
        known = [row for row in rows if row.released_at is None and row.source in wanted.kinds]
        return tuple(_health(_place(row.source, wanted.kinds, row.agent, row.name), row, until) for row in known)
    by_mark = {(row.source, row.agent, row.name): row for row in rows}
    return tuple(_health(_place_of(each), _row_of(each, by_mark), until) for each in wanted.calendars)


def _place_of(calendar: Calendar) -> Place:
    return Place(source=calendar.source, kind=calendar.kind, agent=calendar.agent.email, name=calendar.name)


def _row_of(calendar: Calendar, known: Mapping[tuple[str, str, str], Row[Any]]) -> Row[Any] | None:
    """Find a calendar under its agent's address, or one that the agent had before."""
    marks = ((calendar.source, address, calendar.name) for address in (calendar.agent.email, *calendar.agent.aliases))
    return next((known[mark] for mark in marks if mark in known), None)


def _health(place: Place, row: Row[Any] | None, until: datetime) -> Watched:
    """Say how a calendar is; what a run at work could not read just now is not known before that run ends."""
    if row is None:
        return Watched(place=place)
    seen_at, heard_at = codec.from_epoch(row.seen_at), codec.from_epoch(row.heard_at)
    blind_since = codec.from_epoch(row.blind_since)
    if blind_since is None or blind_since > until:
        return Watched(place=place, seen_at=seen_at, heard_at=heard_at)
    return Watched(
        place=place,
        seen_at=seen_at,
        blind_since=blind_since,
        strikes=row.strikes,
        why=row.why,
        next_try=codec.from_epoch(row.next_try),
        heard_at=heard_at,
    )


# ---- days -----------------------------------------------------------------------------------------------------------


def _days(connection: Connection, state: State, wanted: Wanted, period: Period) -> tuple[Day, ...]:
    """Return the days that trends are drawn from, and all of the period, with their offices summed up."""
    first, last = _thirty(period, wanted.zone)
    these = and_(days.c.job == state.job, days.c.day >= first.isoformat(), days.c.day <= last.isoformat())
    rows = connection.execute(select(days).where(these).order_by(days.c.day, days.c.office)).all()
    return tuple(_day(day, [*of_day], wanted.offices) for day, of_day in groupby(rows, key=lambda row: row.day))


def _thirty(period: Period, zone: str) -> tuple[date, date]:
    since, until = (moment.astimezone(ZoneInfo(zone)).date() for moment in period)
    return max(min(since, until - timedelta(days=TREND - 1)), until - timedelta(days=MOST_DAYS)), until


def _day(day: str, rows: list[Row[Any]], offices: frozenset[str] | None) -> Day:
    """Sum up a day. How many runs there were is known of the whole job only, which is no secret to a part of it."""
    mine = [row for row in rows if offices is None or row.office in offices]
    kinds = Counter[str]()
    for row in mine:
        kinds.update(codec.load(row.kinds))
    return Day(
        day=date.fromisoformat(day),
        runs=sum(row.runs for row in rows),
        refused=sum(row.refused for row in rows),
        longest=max((row.longest for row in mine), default=0),
        kinds={Kind(kind): count for kind, count in sorted(kinds.items())},
        **{name: sum(getattr(row, name) for row in mine) for name in _SUMMED},
    )


_SUMMED: Final = ("calendars", "observed", "found", "fixed", "resolved", "open", "delayed", "delay")
