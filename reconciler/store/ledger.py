"""What we agreed and found: links with their bases, and findings over time."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sqlalchemy import and_, bindparam, delete, exists, func, or_, select, update

from reconciler.clues import PENDING
from reconciler.model import Absence, Finding, Link, Outcome, Remedy
from reconciler.store import accepted, codec
from reconciler.store.database import batched, upsert
from reconciler.store.schema import findings, links, mirror, records

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from reconciler.model import Delta
    from reconciler.store.state import State

# ---- links ----------------------------------------------------------------------------------------------------------


def save_links(connection: Connection, state: State, agreed: Sequence[tuple[Link, bytes | None, bytes | None]]) -> None:
    """Write links with the digests both sides had; a link that moved to another copy leaves its old place."""
    for batch in batched(agreed):
        ids = [link.crm_id for link, _, _ in batch]
        _unlink(connection, state, ids)
        upsert(connection, links, [_link_row(state, *entry) for entry in batch])
        mark_events(connection, [(link.calendar, link.event) for link, _, _ in batch], linked=True)
        mark_records(connection, state, ids, linked=True)


def mark_removed(connection: Connection, state: State, calendar: int, event: str) -> None:
    """Note that we removed an event. Nothing counts as agreed until both sides are there again and compared."""
    here = and_(links.c.job == state.job, links.c.calendar == calendar, links.c.event == event)
    connection.execute(update(links).where(here).values(removed_by_us=True, base_digest=None, crm_digest=None))


def place_of(connection: Connection, state: State, crm_id: str) -> tuple[int, str] | None:
    """Return the calendar and the event that a record is linked to."""
    query = select(links.c.calendar, links.c.event).where(links.c.job == state.job, links.c.crm_id == crm_id)
    row = connection.execute(query).first()
    return None if row is None else (row.calendar, row.event)


def standing_place_of(connection: Connection, state: State, crm_id: str) -> tuple[int, str] | None:
    """Return the place of a record, unless its calendar was read whole and does not show it: then it may move on."""
    place = place_of(connection, state, crm_id)
    if place is None:
        return None
    calendar, event = place
    unseen = and_(mirror.c.calendar == calendar, mirror.c.event == event, mirror.c.absence == Absence.UNSEEN)
    return None if connection.execute(select(mirror.c.event).where(unseen)).first() else place


def record_at(connection: Connection, state: State, calendar: int, event: str) -> str | None:
    """Return the record that an event is linked to."""
    here = and_(links.c.job == state.job, links.c.calendar == calendar, links.c.event == event)
    return connection.execute(select(links.c.crm_id).where(here)).scalar()


def mark_events(connection: Connection, places: Iterable[tuple[int, str]], *, linked: bool) -> None:
    """Mark mirror rows as linked or not. Row by row on purpose: no database has to plan a list of pairs."""
    rows = [{"number": calendar, "name": event, "is_linked": linked} for calendar, event in places]
    if rows:
        connection.execute(_MARK_EVENT, rows)


def mark_records(connection: Connection, state: State, ids: Iterable[str], *, linked: bool) -> None:
    """Mark records as linked or not."""
    rows = [{"number": crm_id, "mine": state.job, "is_linked": linked} for crm_id in ids]
    if rows:
        connection.execute(_MARK_RECORD, rows)


# Made once: to make a statement anew for each write takes longer than to run it.
_MARK_EVENT: Final = (
    update(mirror)
    .where(mirror.c.calendar == bindparam("number"), mirror.c.event == bindparam("name"))
    .values(linked=bindparam("is_linked"))
)
_MARK_RECORD: Final = (
    update(records)
    .where(records.c.crm_id == bindparam("number"), records.c.job == bindparam("mine"))
    .values(linked=bindparam("is_linked"))
)
_PLACES: Final = select(links.c.calendar, links.c.event).where(
    links.c.job == bindparam("mine"), links.c.crm_id.in_(bindparam("ids", expanding=True))
)


def _link_row(state: State, link: Link, seen_digest: bytes | None, record_digest: bytes | None) -> dict[str, Any]:
    base = None if link.base is None else codec.dump({"calendar": link.base, "crm": link.base_crm})
    return {
        "job": state.job,
        "calendar": link.calendar,
        "event": link.event,
        "crm_id": link.crm_id,
        "meeting": link.meeting,
        "tier": link.tier,
        "base_digest": seen_digest if base else None,
        "crm_digest": record_digest if base else None,
        "base": base,
        "version": link.version,
        "cancelled_by_us": link.cancelled_by_us,
        "removed_by_us": link.removed_by_us,
    }


def drop_links(connection: Connection, state: State, ids: Iterable[str]) -> None:
    """Forget the links of these records."""
    for batch in batched(ids):
        _unlink(connection, state, batch)
        mark_records(connection, state, batch, linked=False)


def _unlink(connection: Connection, state: State, ids: Sequence[str]) -> None:
    places = connection.execute(_PLACES, {"mine": state.job, "ids": ids}).all()
    if not places:
        return
    mark_events(connection, [(place.calendar, place.event) for place in places], linked=False)
    connection.execute(delete(links).where(links.c.job == state.job, links.c.crm_id.in_(ids)))


def forget_past(connection: Connection, state: State, before: datetime) -> int:
    """Drop links of which both sides ended before the window, and past events without one; return how many links."""
    past = codec.epoch(before)
    record_left = ~exists(records.c.crm_id).where(
        records.c.job == links.c.job, records.c.crm_id == links.c.crm_id, records.c.to_at > past
    )
    event_left = ~exists(mirror.c.event).where(
        mirror.c.job == links.c.job,
        mirror.c.calendar == links.c.calendar,
        mirror.c.event == links.c.event,
        mirror.c.to_at > past,
    )
    old = list(
        connection.execute(select(links.c.crm_id).where(links.c.job == state.job, record_left, event_left)).scalars()
    )
    drop_links(connection, state, old)
    unheld = and_(mirror.c.job == state.job, mirror.c.linked.is_(False), mirror.c.to_at <= past)
    connection.execute(delete(mirror).where(unheld))
    return len(old)


# ---- findings -------------------------------------------------------------------------------------------------------


class Sighting(NamedTuple):
    """When an open finding was first seen, how often, and since when people are told of it.

    `was_right` says that what a run did about it had put it right, `was_known` that a person had accepted it.
    """

    first_seen: datetime
    times: int
    settled_at: datetime | None = None
    was_right: bool = False
    was_known: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    """What a run changed among the findings.

    `settled` are those that people are told of from now on, by key, with when each was first seen; `resolved` counts by
    agent, kind and severity those that ended though no write of ours had put them right.
    """

    settled: Mapping[str, datetime]
    resolved: Counter[tuple[str | None, str, str]]


def sightings(connection: Connection, state: State, keys: Iterable[str]) -> dict[str, Sighting]:
    """Return when each open finding was first seen, and how often."""
    stamps = (findings.c.key, findings.c.first_seen, findings.c.sightings, findings.c.settled_at)
    columns = (*stamps, findings.c.outcome, findings.c.accepted_sides.is_not(None))
    found: dict[str, Sighting] = {}
    for batch in batched(keys):
        mine = (findings.c.job == state.job, findings.c.key.in_(batch), findings.c.resolved_at.is_(None))
        for key, first, times, settled, outcome, was_known in connection.execute(select(*columns).where(*mine)):
            first_seen, settled_at = codec.from_epoch(first), codec.from_epoch(settled)
            found[key] = Sighting(first_seen, times, settled_at, outcome in _RIGHT, was_known)
    return found


def save_findings(
    connection: Connection,
    state: State,
    found: Sequence[Finding],
    before: Mapping[str, Sighting],
    now: datetime,
    is_judged: Callable[[str, str | None], bool] = lambda _key, _agent: True,
    *,
    taken: Iterable[Delta] = (),
) -> Saved:
    """Write what was found now, with what was done of it; what was open and is not found any more is resolved.

    `is_judged` says of a finding, by its key and agent, whether this run could have found it: what nobody looked at
    stays open. `taken` are the deltas of this run, with what became of each.
    """
    steps = _by_finding(taken)
    rows = [_finding_row(state, each, steps.get(each.key, ()), before.get(each.key), now) for each in found]
    upsert(connection, findings, rows)
    accepted.lapse(connection, state, now)
    known = {finding.key for finding in found}
    settled = {row["key"]: first for row in rows if (first := _settled(row, before.get(row["key"]), now)) is not None}
    return Saved(settled=settled, resolved=_resolve(connection, state, known, now, is_judged))


def _settled(row: Mapping[str, Any], before: Sighting | None, now: datetime) -> datetime | None:
    """Return when a finding was first seen that people are told of from now on as of one that was not there before."""
    if row["settled_at"] is None or (before and before.settled_at and not _is_back(row["outcome"], before)):
        return None
    return before.first_seen if before and not before.settled_at else now


def _is_back(outcome: Outcome | None, before: Sighting) -> bool:
    """Tell whether what had been put right is found again, by more than a look that came too early."""
    return before.was_right and outcome is not Outcome.ALREADY


def _told_from(finding: Finding, outcome: Outcome | None, before: Sighting | None, now: datetime) -> datetime | None:
    """Return since when people are told of a finding: anew of what is back, and of what is accepted no more."""
    lapsed = before is not None and before.was_known and finding.remedy is not Remedy.NONE
    if before and before.settled_at and not (lapsed or _is_back(outcome, before)):
        return before.settled_at
    return None if PENDING in finding.clues else now


def _resolve(
    connection: Connection,
    state: State,
    known: Collection[str],
    now: datetime,
    is_judged: Callable[[str, str | None], bool],
) -> Counter[tuple[str | None, str, str]]:
    """Resolve what was open, could have been found and was not; count what no write of ours had put right."""
    is_open = and_(findings.c.job == state.job, findings.c.resolved_at.is_(None))
    what = (findings.c.key, findings.c.agent, findings.c.kind, findings.c.severity)
    opened = connection.execute(select(*what, findings.c.outcome, findings.c.settled_at).where(is_open)).all()
    over = [row for row in opened if row.key not in known and is_judged(row.key, row.agent)]
    for batch in batched(row.key for row in over):
        resolved = update(findings).where(is_open, findings.c.key.in_(batch))
        connection.execute(resolved.values(resolved_at=codec.epoch(now), **accepted.CLEARED))
    ended = (row for row in over if row.settled_at is not None and row.outcome != Outcome.DONE)
    return Counter((row.agent, row.kind, row.severity) for row in ended)


def open_by_agent(connection: Connection, state: State) -> dict[str | None, int]:
    """Count what is open for somebody, by agent."""
    counted = select(findings.c.agent, func.count().label("open")).where(standing(state))
    return {row.agent: row.open for row in connection.execute(counted.group_by(findings.c.agent))}


def standing(state: State) -> ColumnElement[bool]:
    """Ask for what is open for somebody: neither written, nor accepted, nor pending."""
    mine = and_(findings.c.job == state.job, findings.c.resolved_at.is_(None))
    told = and_(findings.c.settled_at.is_not(None), findings.c.accepted_sides.is_(None))
    return and_(mine, told, or_(findings.c.outcome.is_(None), findings.c.outcome.not_in(_RIGHT)))


_RIGHT: Final = (Outcome.DONE, Outcome.ALREADY)
"""What puts a finding right."""

WORST: Final = (
    Outcome.UNKNOWN,
    Outcome.FAILED,
    Outcome.CONFLICT,
    Outcome.DEFERRED,
    Outcome.HELD,
    Outcome.PLANNED,
    Outcome.ALREADY,
    Outcome.DONE,
)
"""What may become of a delta, the worst first: of a finding with two deltas it is the worse one that counts."""


def _by_finding(deltas: Iterable[Delta]) -> dict[str, list[Delta]]:
    found: defaultdict[str, list[Delta]] = defaultdict(list)
    for delta in deltas:
        found[delta.finding].append(delta)
    return found


def _finding_row(
    state: State, finding: Finding, taken: Sequence[Delta], before: Sighting | None, now: datetime
) -> dict[str, Any]:
    stamp, outcome = codec.epoch(now), _came_to(finding, taken)
    settled = _told_from(finding, outcome, before, now)
    return {
        "job": state.job,
        "key": finding.key,
        "kind": finding.kind,
        "severity": finding.severity,
        "agent": finding.agent,
        "event": finding.event,
        "crm_id": finding.crm_id or next((delta.crm_id for delta in taken if delta.crm_id), None),
        "payload": codec.dump(_finding_payload(finding, taken)),
        "first_seen": codec.epoch(before.first_seen) if before else stamp,
        "last_seen": stamp,
        "sightings": before.times + 1 if before else 1,
        "resolved_at": None,
        "sides": finding.sides,
        "calendar": finding.calendar,
        "outcome": outcome,
        "settled_at": None if settled is None else codec.epoch(settled),
        "start": finding.start,
    }


def _came_to(finding: Finding, taken: Sequence[Delta]) -> Outcome | None:
    """Return the worst that became of a finding's deltas; what a person decides is not put right by what we wrote."""
    worst = min((delta.outcome for delta in taken), key=WORST.index, default=None)
    return None if finding.remedy is Remedy.HUMAN and worst in _RIGHT else worst


def _finding_payload(finding: Finding, taken: Sequence[Delta]) -> dict[str, Any]:
    return {
        "why": finding.why,
        "action": finding.remedy,
        "fields": finding.fields,
        "start": finding.start,
        "tier": finding.tier,
        "has": {side.value: fields for side, fields in finding.has.items()},
        "changed": finding.changed and codec.epoch(finding.changed),
        "clues": finding.clues,
        "taken": [
            {
                "action": delta.action,
                "side": delta.side,
                "outcome": delta.outcome,
                "why": delta.why,
                "fields": delta.fields,
            }
            for delta in taken
        ],
    }


def find_finding(connection: Connection, state: State, key: str) -> dict[str, Any] | None:
    """Return a finding by its key."""
    row = (
        connection.execute(select(findings).where(findings.c.job == state.job, findings.c.key == key))
        .mappings()
        .first()
    )
    return None if row is None else {**row, "payload": codec.load(row["payload"])}
