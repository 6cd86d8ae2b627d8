"""The calendar side in the state database: rows and cursor change together, in one transaction, or not at all."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, bindparam, delete, exists, false, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from reconciler.match import Copy, elect
from reconciler.model import Absence, Mode
from reconciler.normalise import key_digest
from reconciler.store import codec
from reconciler.store.database import batched, upsert
from reconciler.store.schema import calendars, cursors, links, mirror, series

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from reconciler.model import Pull, Seen
    from reconciler.store.state import State, Watched

_KEPT = ("elected", "linked")


def rows_of(connection: Connection, state: State, calendar: int) -> dict[str, Seen]:
    """Return all that is known of one calendar, by native event id."""
    query = select(mirror.c.event, mirror.c.digest, mirror.c.meeting, mirror.c.absence, mirror.c.payload)
    rows = connection.execute(query.where(mirror.c.job == state.job, mirror.c.calendar == calendar))
    return {row.event: codec.seen_from(*row) for row in rows}


def one(connection: Connection, state: State, calendar: int, event: str) -> Seen | None:
    """Return what is known of one event."""
    query = select(mirror.c.event, mirror.c.digest, mirror.c.meeting, mirror.c.absence, mirror.c.payload)
    mine = and_(mirror.c.job == state.job, mirror.c.calendar == calendar, mirror.c.event == event)
    row = connection.execute(query.where(mine)).first()
    return None if row is None else codec.seen_from(*row)


def put(connection: Connection, state: State, calendar: int, seen: Seen) -> None:
    """Write one event as a write of ours left it, or as it was looked up; the next read says what became of it since.

    Whether a link hangs on it is not touched. A read that is under way began before, and is void: it would put back
    what was there then.
    """
    before = one(connection, state, calendar, seen.event)
    upsert(connection, mirror, [_row(state, calendar, seen)], kept=_KEPT)
    connection.execute(update(cursors).where(cursors.c.calendar == calendar).values(version=cursors.c.version + 1))
    _elect(connection, state, {seen.meeting, before.meeting if before else ""} - {""})


def linked_events(connection: Connection, state: State, calendar: int) -> frozenset[str]:
    """Return the native ids of one calendar's events that have a link."""
    return frozenset(
        connection.execute(
            select(links.c.event).where(links.c.job == state.job, links.c.calendar == calendar)
        ).scalars()
    )


def known_events(connection: Connection, state: State, calendar: int) -> frozenset[str]:
    """Return the native ids the mirror holds for one calendar."""
    query = select(mirror.c.event).where(mirror.c.job == state.job, mirror.c.calendar == calendar)
    return frozenset(connection.execute(query).scalars())


def rules_of(connection: Connection, state: State, calendar: int) -> dict[str, str]:
    """Return what the source of one calendar asked to keep of each series."""
    query = select(series.c.id, series.c.rule).where(series.c.job == state.job, series.c.calendar == calendar)
    return {row.id: row.rule for row in connection.execute(query)}


def commit_pull(
    connection: Connection,
    state: State,
    watched: Watched,
    pull: Pull,
    before: Mapping[str, Seen],
    after: Mapping[str, Seen],
) -> bool:
    """Commit one read: cursor, rows, rules of series and health together.

    False, and nothing written, when another process was first.
    """
    if not _swap_cursor(connection, watched, pull):
        return False
    changed = [seen for event, seen in after.items() if before.get(event) != seen]
    gone = before.keys() - after.keys()
    upsert(connection, mirror, [_row(state, watched.id, seen) for seen in changed], kept=_KEPT)
    for batch in batched(gone):
        connection.execute(
            delete(mirror).where(mirror.c.job == state.job, mirror.c.calendar == watched.id, mirror.c.event.in_(batch))
        )
    if any(seen.event not in before for seen in changed):
        _mark_linked(connection, state, watched.id)
    meetings = {seen.meeting for seen in changed} | {before[event].meeting for event in gone}
    meetings |= {before[seen.event].meeting for seen in changed if seen.event in before}
    _elect(connection, state, meetings - {""})
    _keep_rules(connection, state, watched.id, pull)
    _note_health(connection, watched, pull)
    return True


def touch(connection: Connection, reads: Sequence[tuple[Watched, Pull]]) -> None:
    """Commit reads that found nothing new: each cursor, if nobody swapped it meanwhile, and the time it was seen.

    Only a calendar that has a cursor can find nothing new; where another process swapped it, that one saw the calendar,
    or saw that it can't be read: what it noted stands.
    """
    swap = update(cursors).where(cursors.c.calendar == bindparam("number"), cursors.c.version == bindparam("was"))
    connection.execute(
        swap.values({name: bindparam(name) for name in _CURSOR}),
        [{"number": watched.id, "was": watched.version, **_cursor_row(watched, pull)} for watched, pull in reads],
    )
    swapped = exists().where(cursors.c.calendar == calendars.c.id, cursors.c.scope == bindparam("fits"))
    seen = update(calendars).where(calendars.c.id == bindparam("number"), swapped)
    healthy = {"seen_at": bindparam("at"), "tried_at": bindparam("at"), **_WELL}
    moments = [{"number": watched.id, "fits": pull.cursor.scope, "at": codec.epoch(pull.at)} for watched, pull in reads]
    connection.execute(seen.values(healthy), moments)


_WELL: Mapping[str, Any] = {"strikes": 0, "blind_since": None, "next_try": None, "why": None}
"""What a read takes off a calendar that could not be read before."""

_CURSOR = ("token", "window_start", "window_end", "scope", "full_at", "version")


def _cursor_row(watched: Watched, pull: Pull) -> dict[str, Any]:
    cursor = pull.cursor
    return {
        "token": cursor.token,
        "window_start": codec.epoch(cursor.window.start),
        "window_end": codec.epoch(cursor.window.end),
        "scope": cursor.scope,
        "full_at": codec.epoch(cursor.full_at),
        "version": watched.version + 1,
    }


def _swap_cursor(connection: Connection, watched: Watched, pull: Pull) -> bool:
    """Compare and swap on the cursor's version: of two processes that read the same calendar, one commits."""
    values = _cursor_row(watched, pull)
    if watched.version == 0:
        try:
            with connection.begin_nested():
                connection.execute(insert(cursors).values(calendar=watched.id, **values))
        except IntegrityError:
            return False
        return True
    swap = update(cursors).where(cursors.c.calendar == watched.id, cursors.c.version == watched.version).values(values)
    return connection.execute(swap).rowcount == 1


def _keep_rules(connection: Connection, state: State, calendar: int, pull: Pull) -> None:
    """Keep what the source wants to know again of a series. A whole read names all there are."""
    kept = {name: rule for name, rule in pull.rules.items() if rule is not None}
    mine = and_(series.c.job == state.job, series.c.calendar == calendar)
    if pull.mode is Mode.FULL:
        connection.execute(delete(series).where(mine))
    else:
        for batch in batched(pull.rules.keys() - kept.keys()):
            connection.execute(delete(series).where(mine, series.c.id.in_(batch)))
    upsert(
        connection,
        series,
        [{"calendar": calendar, "id": name, "job": state.job, "rule": rule} for name, rule in kept.items()],
    )


def _note_health(connection: Connection, watched: Watched, pull: Pull) -> None:
    entries = [[entry.id, entry.why] for entry in pull.quarantined]
    health = {
        "seen_at": codec.epoch(pull.at),
        "tried_at": codec.epoch(pull.at),
        **_WELL,
        "zone": pull.zone,
        "quarantined": codec.dump(entries) if entries else None,
        "pending": codec.dump(list(pull.pending)) if pull.pending else None,
    }
    connection.execute(update(calendars).where(calendars.c.id == watched.id).values(health))


def _row(state: State, calendar: int, seen: Seen) -> dict[str, Any]:
    from_at, to_at = codec.scope_range(seen.span)
    return {
        "job": state.job,
        "calendar": calendar,
        "event": seen.event,
        "digest": seen.digest,
        "meeting": seen.meeting,
        "key": key_digest(seen.keys[0], state.salt) if seen.keys else seen.digest,
        "from_at": from_at,
        "to_at": to_at,
        "relevant": seen.relevance is not None,
        "busy": seen.relevance is not None and seen.busy and not seen.span.all_day,
        "absence": seen.absence,
        "elected": True,
        "linked": False,
        "payload": codec.seen_payload(seen),
    }


def _mark_linked(connection: Connection, state: State, calendar: int) -> None:
    """Mark rows that came back under a link of theirs."""
    link = exists().where(
        links.c.job == mirror.c.job, links.c.calendar == mirror.c.calendar, links.c.event == mirror.c.event
    )
    mine = and_(mirror.c.job == state.job, mirror.c.calendar == calendar, mirror.c.linked == false())
    connection.execute(update(mirror).where(mine, link).values(linked=True))


def _elect(connection: Connection, state: State, meetings: Iterable[str]) -> None:
    """Let one copy of each of these meetings speak for it."""
    for batch in batched(meetings):
        query = select(mirror.c.meeting, mirror.c.calendar, mirror.c.event, mirror.c.elected)
        rows = connection.execute(query.where(mirror.c.job == state.job, mirror.c.meeting.in_(batch))).all()
        groups = defaultdict(list)
        for row in rows:
            groups[row.meeting].append(row)
        _speak(
            connection,
            [
                (row.calendar, row.event)
                for group in groups.values()
                if len(group) == 1
                for row in group
                if not row.elected
            ],
        )
        for meeting in [meeting for meeting, group in groups.items() if len(group) > 1]:
            _elect_copy(connection, state, meeting)


def _elect_copy(connection: Connection, state: State, meeting: str) -> None:
    copies = copies_of(connection, state, meeting)
    chosen = elect(copies)
    mine = and_(mirror.c.job == state.job, mirror.c.meeting == meeting)
    connection.execute(update(mirror).where(mine).values(elected=False))
    _speak(connection, [(chosen.calendar, chosen.seen.event)])


def _speak(connection: Connection, rows: Iterable[tuple[int, str]]) -> None:
    chosen = [{"number": calendar, "name": event} for calendar, event in rows]
    if chosen:
        named = and_(mirror.c.calendar == bindparam("number"), mirror.c.event == bindparam("name"))
        connection.execute(update(mirror).where(named).values(elected=True), chosen)


def copies_of(connection: Connection, state: State, meeting: str) -> list[Copy]:
    """Return all calendars' copies of one meeting."""
    joined = mirror.join(calendars, calendars.c.id == mirror.c.calendar).outerjoin(
        links, and_(links.c.job == mirror.c.job, links.c.calendar == mirror.c.calendar, links.c.event == mirror.c.event)
    )
    columns = (mirror.c.event, mirror.c.digest, mirror.c.meeting, mirror.c.absence, mirror.c.payload)
    query = select(mirror.c.calendar, calendars.c.agent, links.c.crm_id, *columns).select_from(joined)
    rows = connection.execute(query.where(mirror.c.job == state.job, mirror.c.meeting == meeting))
    return [Copy(row[0], row[1], codec.seen_from(*row[3:]), linked=row[2] is not None) for row in rows]


def retire(connection: Connection, state: State, kept: Collection[int]) -> None:
    """Let calendars that the job names no more speak for nothing: what they showed is unseen from now on."""
    read = select(calendars.c.id).join(cursors, cursors.c.calendar == calendars.c.id)
    shows = exists().where(mirror.c.calendar == calendars.c.id, mirror.c.job == state.job, mirror.c.absence.is_(None))
    speaks = or_(cursors.c.scope != "", shows)  # a cursor may have been voided before the calendar was named no more
    before = connection.execute(read.where(calendars.c.job == state.job, speaks)).scalars()
    for number in set(before) - set(kept):
        theirs = and_(mirror.c.job == state.job, mirror.c.calendar == number, mirror.c.absence.is_(None))
        meetings = set(connection.execute(select(mirror.c.meeting).where(theirs)).scalars())
        connection.execute(update(mirror).where(theirs).values(absence=Absence.UNSEEN))
        _elect(connection, state, meetings - {""})
        connection.execute(delete(series).where(series.c.job == state.job, series.c.calendar == number))
        connection.execute(update(calendars).where(calendars.c.id == number).values(pending=None))
        read_whole_next(connection, [number])


def read_whole_next(connection: Connection, numbers: Iterable[int]) -> None:
    """Let these calendars be read whole by the next run: their cursors fit no scope, and a read under way is void."""
    for batch in batched(numbers):
        theirs = update(cursors).where(cursors.c.calendar.in_(batch))
        connection.execute(theirs.values(scope="", version=cursors.c.version + 1))
