"""What plain equality can tell, told set-wise: what agrees is counted where it lies, the rest is handed out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import Integer as SqlInteger
from sqlalchemy import Row, Select, and_, bindparam, case, false, func, literal, not_, or_, select, true

from reconciler.model import Absence, Link, Presence, Record, Seen, Tier, Window
from reconciler.normalise import key_digest
from reconciler.store import codec
from reconciler.store.database import batched
from reconciler.store.schema import calendars, links, mirror, records

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from reconciler.store.state import State

_EVIDENCE = tuple(absence.value for absence in Absence if absence.is_evidence)


@dataclass(frozen=True, slots=True)
class Scope:
    """What a comparison is about: the job's window, and the calendars that were not observed."""

    window: Window
    blind: Collection[int]

    @property
    def start(self) -> int:
        """Return the window's start as epoch seconds."""
        return codec.epoch(self.window.start)

    @property
    def end(self) -> int:
        """Return the window's end as epoch seconds."""
        return codec.epoch(self.window.end)


@dataclass(frozen=True, slots=True)
class Sighting:
    """A mirror row with where it lies and whether it counts in this run."""

    calendar: int
    seen: Seen
    in_scope: bool
    linked: bool = False  # where it was asked for


@dataclass(frozen=True, slots=True)
class Holding:
    """A record with whether it counts in this run."""

    record: Record
    in_scope: bool


@dataclass(frozen=True, slots=True)
class Candidate:
    """A record under an event's key; `linked` when another event has it already."""

    record: Record
    linked: bool
    in_scope: bool


@dataclass(frozen=True, slots=True)
class Unequal:
    """A link that is not plainly in sync, with what stands on both sides of it."""

    link: Link
    sighting: Sighting | None
    holding: Holding | None
    is_over: bool = False  # the event ended before the window and the record is gone


def _blind(column: ColumnElement[int], scope: Scope) -> ColumnElement[bool]:
    """Test for unobserved calendars; their numbers stand in the statement, so that no limit on parameters bites."""
    if not scope.blind:
        return false()
    return column.in_(bindparam("blind", sorted(scope.blind), expanding=True, literal_execute=True, type_=SqlInteger()))


def _touches(table: Any, scope: Scope) -> ColumnElement[bool]:  # noqa: ANN401  # mirror or records
    return and_(table.c.from_at < scope.end, table.c.to_at > scope.start)


# ---- links ----------------------------------------------------------------------------------------------------------

_joined = links.outerjoin(
    mirror, and_(mirror.c.job == links.c.job, mirror.c.calendar == links.c.calendar, mirror.c.event == links.c.event)
).outerjoin(records, and_(records.c.job == links.c.job, records.c.crm_id == links.c.crm_id))

_narrow = links.outerjoin(
    mirror, and_(mirror.c.job == links.c.job, mirror.c.calendar == links.c.calendar, mirror.c.event == links.c.event)
).outerjoin(records, and_(records.c.job + 0 == links.c.job, records.c.crm_id == links.c.crm_id))
"""The same join; the sum keeps SQLite off the primary key's wide rows, and on the index that holds all it takes."""

_clean = and_(
    mirror.c.digest == links.c.base_digest,
    records.c.digest == links.c.crm_digest,
    mirror.c.elected == true(),
    mirror.c.absence.is_(None),
    records.c.presence == Presence.LIVE.value,
)


@dataclass(frozen=True, slots=True)
class Weighed:
    """The links of one calendar: how many there are, agree, lead to a record, to a live one; who is apart."""

    calendar: int
    links: int
    clean: int
    recorded: int
    live: int
    apart: Sequence[str]


def weigh(connection: Connection, state: State) -> Iterator[Weighed]:
    """Compare all links in one pass over three indexes that hold all it takes; what agrees is counted, never fetched.

    Both counts are positive tests of their own: a pair lost between `clean` and `apart` would unbalance the run.
    One row a calendar, so not streamed: behind a cursor PostgreSQL would plan for the first rows, not for all.
    """
    agrees = func.coalesce(_clean, false())
    postgres = connection.dialect.name == "postgresql"
    collect = func.array_agg if postgres else func.json_group_array
    query = (
        select(
            links.c.calendar,
            func.count(),
            func.count().filter(agrees),
            func.count().filter(records.c.presence != Presence.ABSENT.value),
            func.count().filter(records.c.presence == Presence.LIVE.value),
            collect(links.c.crm_id).filter(not_(agrees)),
        )
        .select_from(_joined if postgres else _narrow)
        .where(links.c.job == state.job)
        .group_by(links.c.calendar)
    )
    for calendar, count, agreeing, recorded, live, ids in connection.execute(query):
        apart = codec.load(ids) if isinstance(ids, str) else ids or ()
        yield Weighed(calendar, count, agreeing, recorded, live, apart)


def unequal(connection: Connection, state: State, scope: Scope, ids: Iterable[str]) -> Iterator[Unequal]:
    """Yield the links to these records with what stands on both sides."""
    for batch in batched(ids):
        query = _select_pairs().where(links.c.job == state.job, links.c.crm_id.in_(batch))
        for row in connection.execute(query):
            yield _unequal(row, scope)


def _select_pairs() -> Select[Any]:
    return select(
        links.c.calendar, links.c.event, links.c.crm_id, links.c.meeting, links.c.tier, links.c.base,
        links.c.version, links.c.cancelled_by_us, links.c.removed_by_us, links.c.base_digest,
        mirror.c.digest, mirror.c.meeting.label("now"), mirror.c.absence, mirror.c.payload, mirror.c.elected,
        mirror.c.from_at, mirror.c.to_at,
        records.c.presence, records.c.payload.label("record"),
        records.c.from_at.label("r_from"), records.c.to_at.label("r_to"),
    ).select_from(_joined)  # fmt: skip


def _unequal(row: Row[Any], scope: Scope) -> Unequal:
    base = codec.load(row.base)
    link = Link(
        crm_id=row.crm_id,
        calendar=row.calendar,
        event=row.event,
        meeting=row.now or row.meeting,  # with another organizer it is another meeting
        tier=Tier(row.tier),
        base=codec.fields_of(base["calendar"]) if base else None,
        base_crm=codec.fields_of(base["crm"]) if base else None,
        version=row.version,
        cancelled_by_us=row.cancelled_by_us,
        removed_by_us=row.removed_by_us,
        is_open=row.base_digest is None,
    )
    sighting = holding = None
    if row.payload is not None and row.elected:
        seen = codec.seen_from(row.event, row.digest, row.now, row.absence, row.payload)
        sighting = Sighting(row.calendar, seen, in_scope=seen.absence is None)
    if row.record is not None:
        record = codec.record_from(row.crm_id, row.presence, row.record)
        holding = Holding(record, in_scope=record.presence is not Presence.ABSENT)
    is_over = holding is None and row.payload is not None and row.to_at <= scope.start
    return Unequal(link, sighting, holding, is_over)


def one_link(
    connection: Connection, state: State, scope: Scope, *, crm_id: str | None = None, event: str | None = None
) -> Unequal | None:
    """Return one link by its record or its event, whether its sides are equal or not."""
    named = links.c.crm_id == crm_id if crm_id is not None else links.c.event == event
    row = connection.execute(_select_pairs().where(links.c.job == state.job, named)).first()
    return None if row is None else _unequal(row, scope)


def one_event(
    connection: Connection, state: State, *, key: str | None = None, event: str | None = None
) -> Sighting | None:
    """Return the copy that speaks for an event, by its source key or its native id."""
    named = mirror.c.key == key_digest(key, state.salt) if key is not None else mirror.c.event == event
    query = _select_seen().where(mirror.c.job == state.job, named).order_by(mirror.c.elected.desc(), mirror.c.calendar)
    row = connection.execute(query).first()
    return None if row is None else _sighting(row)


def one_record(connection: Connection, state: State, crm_id: str) -> Unlinked | None:
    """Return one record as last read."""
    query = select(records.c.crm_id, records.c.agent, records.c.presence, records.c.payload)
    row = connection.execute(query.where(records.c.job == state.job, records.c.crm_id == crm_id)).first()
    return None if row is None else Unlinked(*row)


def speakers(connection: Connection, state: State, scope: Scope, meetings: Iterable[str]) -> dict[str, Sighting]:
    """Return the copy that speaks for each of these meetings."""
    found = {}
    for batch in batched(meetings):
        query = select(mirror).where(mirror.c.job == state.job, mirror.c.meeting.in_(batch), mirror.c.elected == true())
        for row in connection.execute(query):
            seen = codec.seen_from(row.event, row.digest, row.meeting, row.absence, row.payload)
            counts = row.linked or (row.from_at < scope.end and row.to_at > scope.start)
            in_scope = seen.absence is None and counts
            found[row.meeting] = Sighting(row.calendar, seen, in_scope=in_scope, linked=row.linked)
    return found


def linked_meetings(connection: Connection, state: State, meetings: Iterable[str]) -> set[str]:
    """Return which of these meetings have a copy that a link hangs on."""
    found: set[str] = set()
    for batch in batched(meetings):
        mine = and_(mirror.c.job == state.job, mirror.c.meeting.in_(batch), mirror.c.linked == true())
        found |= set(connection.execute(select(mirror.c.meeting).where(mine)).scalars())
    return found


def left_behind(connection: Connection, state: State, kept: Collection[int]) -> list[tuple[int, str, str, str, int]]:
    """Return (calendar, source, agent, name, live records) of the calendars that hold links and are not `kept`."""
    known = connection.execute(select(calendars.c.id).where(calendars.c.job == state.job)).scalars()
    joined = links.join(calendars, calendars.c.id == links.c.calendar).join(
        records, and_(records.c.job == links.c.job, records.c.crm_id == links.c.crm_id)
    )
    place = (calendars.c.id, calendars.c.source, calendars.c.agent, calendars.c.name)
    query = select(*place, func.count()).select_from(joined).group_by(*place)
    found: list[tuple[int, str, str, str, int]] = []
    for batch in batched(number for number in known if number not in kept):  # few: the rest is not looked at
        live = and_(links.c.job == state.job, links.c.calendar.in_(batch), records.c.presence == Presence.LIVE.value)
        found += [(row[0], row[1], row[2], row[3], row[4]) for row in connection.execute(query.where(live))]
    return found


# ---- what has no link -----------------------------------------------------------------------------------------------


def unlinked_events(connection: Connection, state: State, scope: Scope) -> Iterator[Sighting]:
    """Yield the relevant events of observed calendars in the window without a link, also those gone with evidence."""
    query = select(
        mirror.c.calendar, mirror.c.event, mirror.c.digest, mirror.c.meeting, mirror.c.absence, mirror.c.payload
    ).where(
        mirror.c.job == state.job,
        mirror.c.linked == false(),
        mirror.c.relevant == true(),
        mirror.c.elected == true(),
        or_(mirror.c.absence.is_(None), mirror.c.absence.in_(_EVIDENCE)),
        not_(_blind(mirror.c.calendar, scope)),
        _touches(mirror, scope),
    )
    for row in connection.execute(query.execution_options(yield_per=1000)):
        seen = codec.seen_from(row.event, row.digest, row.meeting, row.absence, row.payload)
        yield Sighting(row.calendar, seen, in_scope=seen.absence is None)


def contested_keys(connection: Connection, state: State, scope: Scope) -> frozenset[bytes]:
    """Return the keyed digests of source keys that more than one meeting without a link carries."""
    carried = (
        select(mirror.c.key)
        .where(
            mirror.c.job == state.job,
            mirror.c.linked == false(),
            mirror.c.relevant == true(),
            mirror.c.elected == true(),
            mirror.c.absence.is_(None),
            _touches(mirror, scope),
        )
        .cte("carried")
        .prefix_with("MATERIALIZED")  # few as they are; else all keys there are would be walked in their order
    )
    query = select(carried.c.key).group_by(carried.c.key).having(func.count() > 1)
    return frozenset(bytes(key) for key in connection.execute(query).scalars())


@dataclass(frozen=True, slots=True)
class Unlinked:
    """A record without a link; what it says is read only when it is asked for."""

    crm_id: str
    agent: str | None
    presence: str
    payload: str

    def record(self) -> Record:
        """Return the record itself."""
        return codec.record_from(self.crm_id, self.presence, self.payload)


def unlinked_records(connection: Connection, state: State, scope: Scope) -> Iterator[Unlinked]:
    """Yield the records of the window that have no link, soft-deleted ones apart."""
    query = select(records.c.crm_id, records.c.agent, records.c.presence, records.c.payload).where(
        records.c.job == state.job,
        records.c.linked == false(),
        records.c.presence != Presence.ABSENT.value,
        _touches(records, scope),
    )
    for row in connection.execute(query.execution_options(yield_per=1000)):
        yield Unlinked(*row)


def hidden_keys(connection: Connection, state: State, marks: Iterable[bytes]) -> dict[bytes, int]:
    """Return which keyed digests belong to events the mirror holds as irrelevant, and on which calendar."""
    found: dict[bytes, int] = {}
    for batch in batched(marks):
        query = select(mirror.c.key, mirror.c.calendar).where(
            mirror.c.job == state.job, mirror.c.key.in_(batch), mirror.c.relevant == false()
        )
        found |= {bytes(row.key): row.calendar for row in connection.execute(query)}
    return found


# ---- counts ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Counted:
    """Events of one observed calendar that count in this run: all, irrelevant ones, and other agents' copies."""

    events: int = 0
    irrelevant: int = 0
    copies: int = 0


def events(connection: Connection, state: State, scope: Scope) -> dict[int, Counted]:
    """Count the live events of observed calendars that lie in the window or have a link."""
    spoken_for = and_(mirror.c.linked == true(), mirror.c.elected == true())
    in_scope = or_(_touches(mirror, scope), spoken_for)
    one = literal(1)
    query = (
        select(
            mirror.c.calendar,
            func.count(),
            func.sum(case((mirror.c.relevant == false(), one), else_=0)),
            func.sum(case((and_(mirror.c.relevant == true(), mirror.c.elected == false()), one), else_=0)),
        )
        .where(mirror.c.job == state.job, mirror.c.absence.is_(None), not_(_blind(mirror.c.calendar, scope)), in_scope)
        .group_by(mirror.c.calendar)
    )
    return {row[0]: Counted(row[1], int(row[2]), int(row[3])) for row in connection.execute(query)}


def records_in_scope(connection: Connection, state: State, scope: Scope) -> int:
    """Return how many records count in this run: those with a link, and those of the window."""
    counts = or_(records.c.linked == true(), _touches(records, scope))
    mine = and_(records.c.job == state.job, records.c.presence != Presence.ABSENT.value, counts)
    return connection.execute(select(func.count()).select_from(records).where(mine)).scalar_one()


# ---- groups ---------------------------------------------------------------------------------------------------------


def crowded_records(connection: Connection, state: State, now: int, seconds: int) -> list[Record]:
    """Return the live records yet to start that begin within `seconds` of another one of their agent.

    Each is compared with the one before it in its index: linear on every database, whatever it plans.
    """
    over: dict[str, Any] = {"partition_by": records.c.agent, "order_by": (records.c.start_at, records.c.crm_id)}
    ordered = (
        select(
            records.c.crm_id,
            func.lag(records.c.crm_id).over(**over).label("previous"),
            (records.c.start_at - func.lag(records.c.start_at).over(**over)).label("gap"),
        )
        .where(
            records.c.job == state.job,
            records.c.agent.is_not(None),
            records.c.presence == Presence.LIVE.value,
            records.c.start_at >= now,
        )
        .subquery()
    )
    close = connection.execute(select(ordered.c.crm_id, ordered.c.previous).where(ordered.c.gap <= seconds))
    return by_ids(connection, state, dict.fromkeys(crm_id for pair in close for crm_id in pair))


def by_ids(connection: Connection, state: State, ids: Iterable[str]) -> list[Record]:
    """Return records by id."""
    found = []
    for batch in batched(ids):
        query = select(records.c.crm_id, records.c.presence, records.c.payload)
        rows = connection.execute(query.where(records.c.job == state.job, records.c.crm_id.in_(batch)))
        found += [codec.record_from(*row) for row in rows]
    return found


def crowded_calendars(connection: Connection, state: State, scope: Scope, now: int, seconds: int) -> set[int]:
    """Return the observed calendars in which a busy event begins at least `seconds` before another one ends.

    Neighbours tell: an event that reaches into a later one reaches into all that begin in between.
    """
    over: dict[str, Any] = {"partition_by": mirror.c.calendar, "order_by": mirror.c.from_at}
    reach = (func.lag(mirror.c.to_at).over(**over) - mirror.c.from_at).label("reach")
    ordered = select(mirror.c.calendar, reach).where(*_is_busy(state, scope, now)).subquery()
    query = select(ordered.c.calendar).where(ordered.c.reach >= seconds).distinct()
    return set(connection.execute(query).scalars()) - set(scope.blind)


def _is_busy(state: State, scope: Scope, now: int) -> tuple[ColumnElement[bool], ...]:
    return (
        mirror.c.job == state.job,
        mirror.c.busy == true(),
        mirror.c.absence.is_(None),
        mirror.c.to_at > now,
        mirror.c.from_at < scope.end,
    )


def busy_events(
    connection: Connection, state: State, scope: Scope, now: int, calendars: Iterable[int]
) -> list[Sighting]:
    """Return all busy events to come of `calendars`, as far as they were observed."""
    found = []
    for batch in batched(sorted(set(calendars) - set(scope.blind))):
        query = _select_seen().where(mirror.c.calendar.in_(batch), *_is_busy(state, scope, now))
        found += [_sighting(row) for row in connection.execute(query)]
    return found


def _select_seen() -> Select[Any]:
    return select(
        mirror.c.calendar, mirror.c.event, mirror.c.digest, mirror.c.meeting, mirror.c.absence, mirror.c.payload
    )


def _sighting(row: Row[Any]) -> Sighting:
    seen = codec.seen_from(row.event, row.digest, row.meeting, row.absence, row.payload)
    return Sighting(row.calendar, seen, in_scope=seen.absence is None)
