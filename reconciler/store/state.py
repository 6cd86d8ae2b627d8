"""One job's part of the state database: whose it is, which calendars it watches, which runs it made."""

from __future__ import annotations

import secrets
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Connection, Engine, RowMapping, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.audit import Missed, together
from reconciler.errors import StateError
from reconciler.figures import Counted, Figures
from reconciler.model import Calendar, Cursor, Quarantined, Shape, Window
from reconciler.store import codec, totals
from reconciler.store.database import analyse, batched, open_engine
from reconciler.store.schema import calendars, chunks, cursors, jobs, links, mirror, records, runs

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import datetime, timedelta


@dataclass(frozen=True, slots=True)
class Watched:
    """A calendar as the state knows it. `id` stands for it in every other table; `version` guards its cursor.

    `seen_at` is when it was last read, `tried_at` when that was last tried; before `next_try` trying is of no use.
    `pending` are the ids that its source still wants to look up. `missed` is what reads since the last run found that
    those before them had missed: the next run tells it.
    """

    id: int
    calendar: Calendar
    cursor: Cursor | None = None
    version: int = 0
    strikes: int = 0
    seen_at: datetime | None = None
    tried_at: datetime | None = None
    blind_since: datetime | None = None
    next_try: datetime | None = None
    why: str | None = None
    zone: str | None = None
    quarantined: tuple[Quarantined, ...] = ()
    pending: tuple[str, ...] = ()
    missed: Missed | None = None


@dataclass(frozen=True, slots=True)
class State:
    """A job's handle on its state database."""

    engine: Engine
    job: int
    name: str
    salt: bytes

    def begin(self) -> AbstractContextManager[Connection]:
        """Open one short transaction that may write; on SQLite it waits for its turn before it reads."""
        return self.engine.execution_options(writes=True).begin()

    def reading(self) -> AbstractContextManager[Connection]:
        """Open one view of the state that stands still, whatever is written meanwhile."""
        analyse(self.engine)
        stable = self.engine.dialect.name == "postgresql"  # SQLite's transactions are stable by themselves
        engine = self.engine.execution_options(isolation_level="REPEATABLE READ") if stable else self.engine
        return engine.connect()


def open_state(url: str, name: str) -> State:
    """Open the state of the job `name`, made on first use. Raises ConfigError and StateError as `open_engine`."""
    engine = open_engine(url, name)
    mine = select(jobs.c.id, jobs.c.salt).where(jobs.c.name == name)
    with engine.begin() as connection:
        row = connection.execute(mine).first()
    if row is None:
        with suppress(IntegrityError), engine.execution_options(writes=True).begin() as connection:
            connection.execute(insert(jobs).values(name=name, salt=secrets.token_bytes(32)))
        with engine.begin() as connection:
            row = connection.execute(mine).one()  # it may be another process that added it
    return State(engine, row.id, name, bytes(row.salt))


# ---- whose state this is --------------------------------------------------------------------------------------------


def bind(connection: Connection, state: State, crm: str) -> None:
    """Bind this state to the CRM `crm` at first use. Raises StateError when it was built against another one."""
    bound = connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar()
    if bound is None:
        connection.execute(update(jobs).where(jobs.c.id == state.job).values(crm=crm))
    else:
        _require_same(state, bound, crm)


def require_own(connection: Connection, state: State, crm: str) -> None:
    """Raise StateError where this state was built against another CRM than `crm`; nothing is bound by looking."""
    _require_same(state, connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar() or crm, crm)


def _require_same(state: State, bound: str, crm: str) -> None:
    if bound != crm:
        raise StateError(
            f"The state of {state.name} was built against the CRM {bound}, this job names {crm}. Nothing was done: "
            f"if the CRM only moved, run `reconcile state rebind {state.name}`; if it is another one, give it another "
            "state."
        )


def rebind(connection: Connection, state: State, crm: str) -> str | None:
    """Bind this state to another CRM and forget its last snapshot; return the identity it had."""
    bound: str | None = connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar()
    connection.execute(update(jobs).where(jobs.c.id == state.job).values(crm=crm, fingerprint=None))
    connection.execute(delete(records).where(records.c.job == state.job))
    connection.execute(delete(chunks).where(chunks.c.job == state.job))
    return bound


def shape(connection: Connection, state: State) -> Shape | None:
    """Return how the CRM kept values when it was last reached."""
    text = connection.execute(select(jobs.c.shape).where(jobs.c.id == state.job)).scalar()
    return codec.shape_from(text) if text else None


def save_shape(connection: Connection, state: State, shape: Shape) -> None:
    """Remember how the CRM keeps values, for runs that can't reach it."""
    connection.execute(update(jobs).where(jobs.c.id == state.job).values(shape=codec.shape_to(shape)))


# ---- calendars ------------------------------------------------------------------------------------------------------


def watch(connection: Connection, state: State, wanted: Iterable[Calendar]) -> list[Watched]:
    """Return the wanted calendars as the state knows them, new ones added; an agent's alias finds its old rows."""
    wanted = list(wanted)
    known = _known(connection, state)
    if not all(_row_of(calendar, known) for calendar in wanted):
        known = _known_alone(connection, state)
    watched = []
    for calendar in wanted:
        found = _row_of(calendar, known)
        watched.append(_watched(found, calendar) if found else _added(connection, state, calendar))
        if found and found["agent"] != calendar.agent.email:
            moved = update(calendars).where(calendars.c.id == found["id"])
            connection.execute(moved.values(agent=calendar.agent.email))
    return watched


def _row_of(calendar: Calendar, known: Mapping[tuple[str, str, str], RowMapping]) -> RowMapping | None:
    addresses = (calendar.agent.email, *calendar.agent.aliases)
    marks = ((calendar.source, address, calendar.name) for address in addresses)
    return next((known[mark] for mark in marks if mark in known), None)


def _known_alone(connection: Connection, state: State) -> dict[tuple[str, str, str], RowMapping]:
    """Look again where nobody else adds calendars meanwhile: shards that begin at once find the same ones new."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == state.job).with_for_update())
    return _known(connection, state)


def _known(connection: Connection, state: State) -> dict[tuple[str, str, str], RowMapping]:
    joined = calendars.outerjoin(cursors, cursors.c.calendar == calendars.c.id)
    columns = [column for column in cursors.c if column.name != "calendar"]
    rows = connection.execute(
        select(calendars, *columns).select_from(joined).where(calendars.c.job == state.job)
    ).mappings()
    return {(row["source"], row["agent"], row["name"]): row for row in rows}


def name_calendars(connection: Connection, state: State, named: Collection[int]) -> None:
    """Note which calendars the job means to look at: the others are those of people who left, or are named no more."""
    mine = select(calendars.c.id, calendars.c.named).where(calendars.c.job == state.job)
    wrong = [row.id for row in connection.execute(mine) if row.named != (row.id in named)]
    for batch in batched(wrong):
        turned = update(calendars).where(calendars.c.id.in_(batch))
        connection.execute(turned.values(named=~calendars.c.named))


def cursors_of(connection: Connection, state: State) -> dict[tuple[str, str, str], Cursor]:
    """Return the cursors that stand, by source, agent and name of their calendar."""
    found = {mark: _cursor(row) for mark, row in _known(connection, state).items()}
    return {mark: cursor for mark, cursor in found.items() if cursor is not None and cursor.scope}


def _added(connection: Connection, state: State, calendar: Calendar) -> Watched:
    values = {"job": state.job, "source": calendar.source, "agent": calendar.agent.email, "name": calendar.name}
    number = connection.execute(insert(calendars).values(values).returning(calendars.c.id)).scalar_one()
    return Watched(number, calendar)


def _watched(row: RowMapping, calendar: Calendar) -> Watched:
    return Watched(
        id=row["id"],
        calendar=calendar,
        cursor=_cursor(row),
        version=row["version"] or 0,
        strikes=row["strikes"],
        seen_at=codec.from_epoch(row["seen_at"]),
        tried_at=codec.from_epoch(row["tried_at"]),
        blind_since=codec.from_epoch(row["blind_since"]),
        next_try=codec.from_epoch(row["next_try"]),
        why=row["why"],
        zone=row["zone"],
        quarantined=tuple(Quarantined(*entry) for entry in codec.load(row["quarantined"]) or ()),
        pending=tuple(codec.load(row["pending"]) or ()),
        missed=Missed(*map(tuple, codec.load(row["missed"]))) if row["missed"] else None,
    )


def _cursor(row: RowMapping) -> Cursor | None:
    start, end, full_at = (codec.from_epoch(row[name]) for name in ("window_start", "window_end", "full_at"))
    if row["token"] is None or start is None or end is None or full_at is None:
        return None
    return Cursor(row["token"], Window(start, end), row["scope"], full_at)


def strike(
    connection: Connection, watched: Watched, why: str, now: datetime, pause: timedelta | None = None
) -> Watched:
    """Note that a calendar could not be read whole, and for how long trying again makes no sense."""
    since = watched.blind_since or now
    until = None if pause is None else now + pause
    values = {
        "strikes": watched.strikes + 1,
        "why": why,
        "tried_at": codec.epoch(now),
        "blind_since": codec.epoch(since),
        "next_try": None if until is None else codec.epoch(until),
    }
    connection.execute(update(calendars).where(calendars.c.id == watched.id).values(values))
    return replace(watched, strikes=watched.strikes + 1, why=why, tried_at=now, blind_since=since, next_try=until)


def keep_missed(connection: Connection, watched: Watched, missed: Missed) -> None:
    """Keep what a read found to have been missed, for the next run to tell: this one was none."""
    kept = _missed(together(watched.missed, missed) or missed)
    connection.execute(update(calendars).where(calendars.c.id == watched.id).values(missed=kept))


def told_missed(connection: Connection, told: Iterable[Watched]) -> None:
    """Let go of what a run tells of these calendars; what a read has added meanwhile is told by the next run."""
    for one in told:
        if one.missed is not None:
            known = and_(calendars.c.id == one.id, calendars.c.missed == _missed(one.missed))
            connection.execute(update(calendars).where(known).values(missed=None))


def _missed(found: Missed) -> str:
    return codec.dump([list(found.chain), list(found.expansion)])


def hear(connection: Connection, heard: Mapping[int, datetime], now: datetime) -> None:
    """Note by calendar when the latest booking was made that reached the other side without us."""
    for number, at in heard.items():
        stamp = codec.epoch(min(at, now))  # a clock ahead of ours would silence it for as long
        older = or_(calendars.c.heard_at.is_(None), calendars.c.heard_at < stamp)
        connection.execute(update(calendars).where(calendars.c.id == number, older).values(heard_at=stamp))


# ---- runs -----------------------------------------------------------------------------------------------------------


def begin_run(connection: Connection, state: State, run: str, now: datetime, command: str = "run") -> int:
    """Note that a run of `command` started; return its epoch, higher than that of every run before it."""
    raised = update(jobs).where(jobs.c.id == state.job).values(epoch=jobs.c.epoch + 1).returning(jobs.c.epoch)
    epoch: int = connection.execute(raised).scalar_one()
    row = {"job": state.job, "id": run, "started_at": codec.epoch(now), "epoch": epoch, "command": command}
    connection.execute(insert(runs).values(row))
    return epoch


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended. `why` is the sentence that it ended with, inert, where it came to no result.

    `compared` says whether both sides were, whatever came of it.
    """

    status: str
    exit_code: int
    digest: str
    counts: Mapping[str, int]
    why: str | None = None
    result: Mapping[str, Any] | None = None
    compared: bool = False
    figures: Figures = field(default_factory=Figures)


def end_run(connection: Connection, state: State, run: str, now: datetime, how: Ended) -> None:
    """Note how a run ended, and add what is measured of it to the totals."""
    ended = {
        "finished_at": codec.epoch(now),
        "status": how.status,
        "exit_code": how.exit_code,
        "digest": how.digest,
        "counts": codec.dump(dict(how.counts)),
        "why": how.why,
        "result": None if how.result is None else codec.dump(how.result),
        "compared": how.compared,
        "figures": codec.dump(how.figures.to_json()),
    }
    mine = update(runs).where(runs.c.job == state.job, runs.c.id == run)
    command: str = connection.execute(mine.values(ended).returning(runs.c.command)).scalar_one()
    counted: Counted = {(command or "run", how.status, str(how.exit_code)): 1}
    totals.add(connection, state, {"runs": counted, **how.figures.totals()})


def watched_since(connection: Connection, state: State) -> datetime | None:
    """Return when the first run that compared both sides had ended; None before that."""
    query = select(jobs.c.watched_since).where(jobs.c.id == state.job)
    return codec.from_epoch(connection.execute(query).scalar())


def watch_from(connection: Connection, state: State, now: datetime) -> None:
    """Note that both sides have been compared once: what changes from now on is met as it happens."""
    first = update(jobs).where(jobs.c.id == state.job, jobs.c.watched_since.is_(None))
    connection.execute(first.values(watched_since=codec.epoch(now)))


class Begun(NamedTuple):
    """A run on a CRM: whose, since when, and whether it ended as runs do."""

    job: str
    at: datetime
    is_over: bool


def begun_last(connection: Connection, crm: str) -> Begun | None:
    """Return which run on a CRM began last, of whatever job that has its state here: who holds the lock, if anybody."""
    query = select(jobs.c.name, runs.c.started_at, runs.c.finished_at).join_from(runs, jobs, jobs.c.id == runs.c.job)
    latest = query.where(jobs.c.crm == crm).order_by(runs.c.started_at.desc(), runs.c.epoch.desc()).limit(1)
    row = connection.execute(latest).first()
    return None if row is None else Begun(row.name, codec.from_epoch(row.started_at), row.finished_at is not None)


def last_runs(connection: Connection, state: State, most: int = 10) -> list[dict[str, Any]]:
    """Return the latest runs, newest first, with instants as datetimes."""
    rows = connection.execute(
        select(runs).where(runs.c.job == state.job).order_by(runs.c.epoch.desc()).limit(most)
    ).mappings()
    return [
        {
            **row,
            "started_at": codec.from_epoch(row["started_at"]),
            "finished_at": codec.from_epoch(row["finished_at"]),
            "slot": codec.from_epoch(row["slot"]),
            "counts": codec.load(row["counts"]),
        }
        for row in rows
    ]


def knows(connection: Connection, state: State) -> dict[str, int]:
    """Return how many rows each large table holds for this job."""
    return {
        table.name: connection.execute(
            select(func.count()).select_from(table).where(table.c.job == state.job)
        ).scalar_one()
        for table in (mirror, records, links)
    }


def was_bound(state: State) -> bool:
    """Tell whether this state was built against a CRM before."""
    with state.engine.connect() as connection:
        return connection.execute(select(jobs.c.crm).where(jobs.c.id == state.job)).scalar() is not None
