"""The journal: a row for each delta of each run, written before it is sent and settled with what became of it.

Its images are raw: what the written side held before, and what was meant to be there after. They are made inert where
they are shown.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import and_, bindparam, func, insert, select, true, update

from reconciler.model import Action, Delta, Fields, Outcome, Side, Status
from reconciler.patterns import Wrote
from reconciler.plan import Turns, identity
from reconciler.store import codec
from reconciler.store.database import batched
from reconciler.store.schema import jobs, journal, runs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Column, ColumnElement, Connection, RowMapping, Select

    from reconciler.store.state import State

SENT: Final = "sent"
"""The status of what is under way; every other one is an outcome."""

STUBBORN: Final = 3
"""Failures in a row after which a delta lets all others go first: it has had its turns."""

NOT_REACHED: Final = "its run ended before its turn"


@dataclass(frozen=True, slots=True, kw_only=True)
class Intent:
    """A row of the journal of which nobody knows what became of it: what was meant, and where."""

    number: int
    run: str
    action: Action
    side: Side
    key: str
    crm_id: str | None
    event: str | None
    agent: str | None
    calendar: int | None
    at: datetime
    before: Fields = field(default_factory=dict)
    after: Fields = field(default_factory=dict)


# ---- before ----------------------------------------------------------------------------------------------------------


def intend(
    connection: Connection,
    state: State,
    deltas: Iterable[Delta],
    *,
    run: str,
    epoch: int,
    now: datetime,
    approved: Mapping[str, str] | None = None,
) -> None:
    """Write down all that is about to be sent, before any of it is. `approved` are the plans that identities come from.

    The same delta can't be intended twice by one run.
    """
    consents = approved or {}
    for batch in batched(deltas):
        rows = [_row(state, delta, run, epoch, now) | {"approval": consents.get(identity(delta))} for delta in batch]
        connection.execute(insert(journal), rows)


def _row(state: State, delta: Delta, run: str, epoch: int, now: datetime) -> dict[str, Any]:
    return {
        "job": state.job,
        "run": run,
        "idempotency_key": _idempotency_key(state, run, delta),
        "epoch": epoch,
        "action": delta.action,
        "side": delta.side,
        "key": delta.key,
        "crm_id": delta.crm_id,
        "event": delta.event,
        "agent": delta.agent,
        "content": content(delta),
        "before": codec.dump(dict(delta.was)),
        "after": codec.dump(_after(delta)),
        "status": Outcome.PLANNED,
        "at": codec.epoch(now),
        "calendar": delta.calendar_id,
        "finding": delta.finding or None,
        "kind": delta.kind if delta.finding else None,
    }


def _idempotency_key(state: State, run: str, delta: Delta) -> str:
    return f"{state.job}:{run}:{identity(delta)}"


def _after(delta: Delta) -> Fields:
    return {"status": Status.CANCELLED.value} if delta.action is Action.CANCEL else dict(delta.want)


def content(delta: Delta) -> bytes:
    """Return a digest of what a delta leaves in the record, whenever it is written."""
    return hashlib.blake2b(codec.dump([delta.action, dict(delta.want)]).encode(), digest_size=16).digest()


def send(connection: Connection, state: State, run: str, epoch: int, delta: Delta, now: datetime) -> int | None:
    """Note that a delta is being sent, and return its row's number; None when a newer run has taken over meanwhile.

    The epoch can't rise before this transaction ends: the run that raises it finds the row.
    """
    if connection.execute(_NEWEST, {"number": state.job}).scalar_one() != epoch:
        return None
    now_sent = {"mark": _idempotency_key(state, run, delta), "now": codec.epoch(now)}
    number: int | None = connection.execute(_SENT, now_sent).scalar_one_or_none()
    return number


# Made once: a write is a handful of statements, and to make them anew takes longer than to run them.
_NEWEST: Final = select(jobs.c.epoch).where(jobs.c.id == bindparam("number")).with_for_update(read=True)
_SENT: Final = (
    update(journal)
    .where(journal.c.idempotency_key == bindparam("mark"), journal.c.status == Outcome.PLANNED)
    .values(status=SENT, attempts=journal.c.attempts + 1, at=bindparam("now"))
    .returning(journal.c.id)
)


# ---- after -----------------------------------------------------------------------------------------------------------


def settle(
    connection: Connection,
    number: int,
    outcome: Outcome,
    why: str,
    *,
    crm_id: str | None = None,
    event: str | None = None,
    version: str | None = None,
) -> None:
    """Write down what became of an intent, and which version what it wrote has since."""
    known = {"known_crm_id": crm_id or None, "known_event": event or None, "known_version": version or None}
    connection.execute(_SETTLED, {"number": number, "outcome": outcome, "because": why or None} | known)


def _or_as_it_was(column: Column[Any]) -> ColumnElement[Any]:
    return func.coalesce(bindparam(f"known_{column.name}", type_=column.type), column)


_SETTLED: Final = (
    update(journal)
    .where(journal.c.id == bindparam("number"))
    .values(
        {
            "status": bindparam("outcome"),
            "why": bindparam("because"),
            **{name: _or_as_it_was(journal.c[name]) for name in ("crm_id", "event", "version")},
        }
    )
)


def learn(connection: Connection, number: int, run: str) -> None:
    """Note that it was this later run that learnt what became of an intent: it is the one that tells of it."""
    connection.execute(update(journal).where(journal.c.id == number).values(learnt_by=run))


def defer(connection: Connection, state: State, run: str, deltas: Iterable[Delta]) -> None:
    """Write down that these deltas of a run were not sent, each with its own reason."""
    mine = and_(journal.c.idempotency_key == bindparam("mark"), journal.c.status == Outcome.PLANNED)
    statement = update(journal).where(mine).values(status=Outcome.DEFERRED, why=bindparam("because"))
    for batch in batched(deltas):
        rows = [{"mark": _idempotency_key(state, run, delta), "because": delta.why or None} for delta in batch]
        connection.execute(statement, rows)


def abandon(connection: Connection, state: State, epoch: int) -> int:
    """Let what runs before `epoch` never got to wait for a later one; return how much that is."""
    left = and_(journal.c.job == state.job, journal.c.status == Outcome.PLANNED, journal.c.epoch < epoch)
    values = {"status": Outcome.DEFERRED, "why": NOT_REACHED}
    return connection.execute(update(journal).where(left).values(values)).rowcount


def unsettled(connection: Connection, state: State) -> list[Intent]:
    """Return the intents of which it is not known what became of them, oldest first."""
    is_open = and_(journal.c.job == state.job, journal.c.status.in_((SENT, Outcome.UNKNOWN)))
    rows = connection.execute(select(journal).where(is_open).order_by(journal.c.id)).mappings()
    return [_intent(row) for row in rows]


def _intent(row: RowMapping) -> Intent:
    return Intent(
        number=row["id"],
        run=row["run"],
        action=Action(row["action"]),
        side=Side(row["side"]),
        key=row["key"],
        crm_id=row["crm_id"],
        event=row["event"],
        agent=row["agent"],
        calendar=row["calendar"],
        at=codec.from_epoch(row["at"]),
        before=_fields(row["before"]),
        after=_fields(row["after"]),
    )


# ---- what it tells ---------------------------------------------------------------------------------------------------


def turns(connection: Connection, state: State, since: datetime, keys: Iterable[str] | None = None) -> Turns:
    """Return whose turn comes first because it was put off, and whose last because it failed every time.

    `keys` are who is asked about; None are all.
    """
    came: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    asked = [true()] if keys is None else [journal.c.key.in_(batch) for batch in batched(set(keys))]
    for mine in asked:
        for row in connection.execute(_latest(state, since, mine)):
            came[row.side, row.key].append(row.status)
    failed = [str(Outcome.FAILED)] * STUBBORN
    return Turns(
        waiting=frozenset(mark for mark, found in came.items() if found[0] == Outcome.DEFERRED),
        stubborn=frozenset(mark for mark, found in came.items() if found == failed),
    )


def _latest(state: State, since: datetime, asked: ColumnElement[bool]) -> Select[Any]:
    """Select what came of each key's last turns, the latest first: no more of them than tell."""
    mine = and_(asked, journal.c.at >= codec.epoch(since), journal.c.job == state.job)
    newest_first = journal.c.id.desc()
    number = func.row_number().over(partition_by=(journal.c.side, journal.c.key), order_by=newest_first).label("number")
    rows = select(journal.c.id, journal.c.side, journal.c.key, journal.c.status, number).where(mine).subquery()
    return select(rows.c.side, rows.c.key, rows.c.status).where(rows.c.number <= STUBBORN).order_by(rows.c.id.desc())


def wrote(delta: Delta) -> Wrote:
    """Return what a delta leaves where."""
    return Wrote(delta.side, delta.key, delta.crm_id, content(delta))


def writes_since(connection: Connection, state: State, since: datetime, like: Iterable[Wrote]) -> list[Wrote]:
    """Return what we wrote since then to appointments that go by the id or the key of one in `like`, oldest first."""
    wanted = [*like]
    found: dict[int, Wrote] = {}
    for batch in batched({one.crm_id for one in wanted if one.crm_id is not None}):
        found |= _written(connection, state, since, journal.c.crm_id.in_(batch))
    for batch in batched({one.key for one in wanted}):
        found |= _written(connection, state, since, journal.c.key.in_(batch))
    return [found[number] for number in sorted(found)]


def _written(connection: Connection, state: State, since: datetime, mine: ColumnElement[bool]) -> dict[int, Wrote]:
    recent = and_(journal.c.job == state.job, journal.c.at >= codec.epoch(since), journal.c.status == Outcome.DONE)
    query = select(journal.c.id, journal.c.side, journal.c.key, journal.c.crm_id, journal.c.content).where(recent, mine)
    return {row.id: Wrote(Side(row.side), row.key, row.crm_id, bytes(row.content)) for row in connection.execute(query)}


def done_since_last(connection: Connection, state: State) -> dict[tuple[str | None, str | None], int]:
    """Count by agent and kind what was written since the last run that ended: by this one, and by those that died.

    What this one learnt of a write that an earlier run was not sure of is among it.
    """
    mine = (runs.c.job == state.job,)
    ended = select(func.max(runs.c.epoch)).where(*mine, runs.c.finished_at.is_not(None)).scalar_subquery()
    since = select(runs.c.id).where(*mine, runs.c.epoch > func.coalesce(ended, 0))
    done = and_(journal.c.job == state.job, is_done())
    found: Counter[tuple[str | None, str | None]] = Counter()
    # Two questions, of which each has its index: of both at once a database looks through all that was ever done.
    for ours in (and_(journal.c.run.in_(since), journal.c.learnt_by.is_(None)), journal.c.learnt_by.in_(since)):
        counted = select(journal.c.agent, journal.c.kind, func.count().label("done")).where(done, ours)
        rows = connection.execute(counted.group_by(journal.c.agent, journal.c.kind))
        found.update({(row.agent, row.kind): row.done for row in rows})
    return found


def is_done() -> ColumnElement[bool]:
    """Ask for what was done, and let no database look that up by status: nearly all that was ever written has it."""
    return func.coalesce(journal.c.status, "") == Outcome.DONE


def history(connection: Connection, state: State, key: str, crm_id: str | None) -> list[dict[str, Any]]:
    """Return the journal of one appointment, oldest first; `pruned` says that what was there is kept no more."""
    mine = (journal.c.key == key) if crm_id is None else (journal.c.key == key) | (journal.c.crm_id == crm_id)
    rows = connection.execute(select(journal).where(journal.c.job == state.job, mine).order_by(journal.c.id)).mappings()
    return _shown(rows.all())


def _shown(rows: Sequence[RowMapping]) -> list[dict[str, Any]]:
    return [
        {
            **row,
            "at": codec.from_epoch(row["at"]),
            "pruned": row["before"] is None and row["after"] is None,
            "before": _fields(row["before"]),
            "after": _fields(row["after"]),
        }
        for row in rows
    ]


def _fields(text: str | None) -> Fields:
    return codec.fields_of(codec.load(text) or {})
