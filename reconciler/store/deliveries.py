"""Who was told, and how far: one process claims a report before it sends it, and what was sent never goes twice.

A claim ends as sent, refused (released: the next attempt may send it) or unconfirmed (nobody knows; only a person's
word sends it again). One that is still a claim after a while was made by a process that died: unconfirmed too.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from sqlalchemy import and_, insert, or_, select, update

from reconciler.report.answer import Answer, Fate
from reconciler.store import codec
from reconciler.store.schema import deliveries, jobs

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Row

    from reconciler.store.state import State

STALE: Final = timedelta(minutes=10)
"""After that a claim is nobody's any more: no server is waited for that long."""
CLAIMED: Final = "claimed"
THREAD: Final = 5
"""Reports before it that a report names as those it follows."""
KEPT: Final = 500
"""Deliveries of a channel that are looked at: a year of daily reports and of what was urgent between."""


class Kind(StrEnum):
    """What is told. Only a report moves the period of the next one on: what was urgent is in it too."""

    REPORT = "report"
    URGENT = "urgent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One report on its way to one channel, or there. `status` is `claimed` or a `Fate`."""

    id: int
    channel: str
    name: str
    kind: Kind
    digest: str
    message_id: str
    since: datetime
    until: datetime
    status: str
    claimed_at: datetime
    sent_at: datetime | None = None
    attempts: int = 1
    why: str | None = None

    @property
    def is_out(self) -> bool:
        """Tell whether it reached its channel, or may have."""
        return self.status in {Fate.SENT, Fate.UNCONFIRMED}


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """What a process wants to send. `after` is the channel's last delivery as it was when this was put together."""

    channel: str
    name: str
    kind: Kind
    digest: str
    message_id: str
    since: datetime
    until: datetime
    after: Delivery | None = None


class Denied(StrEnum):
    """Why a claim was not given."""

    BUSY = "somebody else is sending it at this moment"
    MOVED = "another report was sent meanwhile"
    TOLD = "it was sent before"


# ---- what was told --------------------------------------------------------------------------------------------------


def last(connection: Connection, state: State, channel: str, now: datetime, *, urgent: bool = False) -> Delivery | None:
    """Return the latest report that reached a channel, or may have; with `urgent`, the latest of either kind."""
    return latest(of(connection, state, channel, now), urgent=urgent)


def latest(found: Iterable[Delivery], *, urgent: bool = False) -> Delivery | None:
    """Return the latest of these that reached its channel or may have: a report, or with `urgent` either kind."""
    kinds = {Kind.REPORT, Kind.URGENT} if urgent else {Kind.REPORT}
    return max((one for one in found if one.is_out and one.kind in kinds), key=_number, default=None)


def thread(found: Iterable[Delivery], after: Delivery | None) -> tuple[str, ...]:
    """Return the ids of what a report that comes after `after` follows, oldest first: that one is the last of them."""
    ids = [one.message_id for one in found if after and one.is_out and one.id <= after.id]
    return tuple(ids[-THREAD:])


def of(connection: Connection, state: State, channel: str, now: datetime) -> list[Delivery]:
    """Return what was meant for a channel of late, oldest first; dead claims are unconfirmed."""
    mine = and_(deliveries.c.job == state.job, deliveries.c.channel == channel)
    newest = select(deliveries).where(mine).order_by(deliveries.c.id.desc())
    rows = connection.execute(newest.limit(KEPT)).all()
    return [_aged(_delivery(row), now) for row in reversed(rows)]


def every(connection: Connection, state: State, now: datetime) -> list[Delivery]:
    """Return what `status` shows: of each channel the latest that reached it, and all that is owed or on its way."""
    rows = connection.execute(select(deliveries.c.channel).where(deliveries.c.job == state.job).distinct())
    return [one for channel in sorted(row[0] for row in rows) for one in _shown(of(connection, state, channel, now))]


def owed(found: Iterable[Delivery]) -> list[Delivery]:
    """Return what was refused and is in no later report that went out: a report holds what urgent ones said."""
    known = list(found)
    return [one for one in known if one.status == Fate.REFUSED and not any(_covers(other, one) for other in known)]


def _covers(other: Delivery, one: Delivery) -> bool:
    if not other.is_out or (other.until < one.until and other.id < one.id):
        return False
    return other.kind is Kind.REPORT or one.kind is Kind.URGENT


def _shown(found: Sequence[Delivery]) -> list[Delivery]:
    under_way = [one for one in found if one.status == CLAIMED]
    there = {one.id: one for one in (latest(found), latest(found, urgent=True)) if one is not None}
    return sorted([*there.values(), *owed(found), *under_way], key=_number)


def _number(one: Delivery) -> int:
    """Return the place in the order in which they were claimed first: clocks may be set back."""
    return one.id


# ---- claims ---------------------------------------------------------------------------------------------------------


def claim(state: State, wanted: Claim, now: datetime) -> Delivery | Denied:
    """Claim what is wanted for this process alone, in one transaction, or say why that can't be."""
    with state.begin() as connection:
        found = _locked(connection, state, wanted.channel, now)
        if why := _denied(found, wanted):
            return why
        same = [one for one in found if (one.kind, one.digest) == (wanted.kind, wanted.digest)]
        number = _again(connection, same[0], now) if same else _new(connection, state, wanted, now)
        return _by_id(connection, number)


def reclaim(state: State, known: Delivery, now: datetime) -> Delivery | Denied:
    """Claim a delivery once more that reached its channel or may have: a person asked for it."""
    with state.begin() as connection:
        found = _locked(connection, state, known.channel, now)
        if any(one.status == CLAIMED for one in found):
            return Denied.BUSY
        if known.id not in {one.id for one in found if one.is_out and one.attempts == known.attempts}:
            return Denied.MOVED
        return _by_id(connection, _again(connection, known, now))


def settle(state: State, taken: Delivery, answer: Answer, now: datetime, *, before: Delivery | None = None) -> None:
    """Note what became of a claim. `before` is what was known of one that is sent again: a refusal leaves it at that.

    A refusal that comes when the claim was given up changes nothing: reports were made since as if it had arrived.
    """
    fate = Fate(before.status) if before and answer.fate is Fate.REFUSED else answer.fate
    values: dict[str, object] = {"status": fate.value, "why": answer.why or None}
    if answer.fate is Fate.SENT:
        values["sent_at"] = codec.epoch(now)
    open_ones = [CLAIMED] if answer.fate is Fate.REFUSED else [CLAIMED, Fate.UNCONFIRMED.value]
    mine = and_(deliveries.c.id == taken.id, deliveries.c.status.in_(open_ones))
    with state.begin() as connection:
        connection.execute(update(deliveries).where(mine, deliveries.c.attempts == taken.attempts).values(values))


def _locked(connection: Connection, state: State, channel: str, now: datetime) -> list[Delivery]:
    """Let no other process claim anything of this job until the transaction ends, and give dead claims up."""
    connection.execute(select(jobs.c.id).where(jobs.c.id == state.job).with_for_update())
    mine = and_(deliveries.c.job == state.job, deliveries.c.channel == channel)
    values = {"status": Fate.UNCONFIRMED.value, "why": DIED}
    connection.execute(update(deliveries).where(mine, _is_dead(now)).values(values))
    return of(connection, state, channel, now)


DIED: Final = "the process that sent it ended before it knew what became of it"


def _is_dead(now: datetime) -> ColumnElement[bool]:
    """A claim that is too old, or from a future that a clock set back has made, is nobody's."""
    early, late = codec.epoch(now - STALE), codec.epoch(now + STALE)
    return and_(deliveries.c.status == CLAIMED, or_(deliveries.c.claimed_at < early, deliveries.c.claimed_at > late))


def _denied(found: Sequence[Delivery], wanted: Claim) -> Denied | None:
    same = [one for one in found if (one.kind, one.digest) == (wanted.kind, wanted.digest)]
    if any(one.status == CLAIMED for one in found):
        return Denied.BUSY
    if any(one.is_out for one in same):
        return Denied.TOLD
    now_last = latest(found, urgent=wanted.kind is Kind.URGENT)
    return None if _mark(now_last) == _mark(wanted.after) else Denied.MOVED


def _mark(one: Delivery | None) -> int | None:
    return None if one is None else one.id


def _new(connection: Connection, state: State, wanted: Claim, now: datetime) -> int:
    row = {
        "job": state.job,
        "channel": wanted.channel,
        "name": wanted.name,
        "kind": wanted.kind.value,
        "digest": wanted.digest,
        "message_id": wanted.message_id,
        "since_at": codec.epoch(wanted.since),
        "until_at": codec.epoch(wanted.until),
        "status": CLAIMED,
        "claimed_at": codec.epoch(now),
    }
    number: int = connection.execute(insert(deliveries).values(row).returning(deliveries.c.id)).scalar_one()
    return number


def _again(connection: Connection, known: Delivery, now: datetime) -> int:
    values = {"status": CLAIMED, "claimed_at": codec.epoch(now), "attempts": known.attempts + 1, "why": None}
    connection.execute(update(deliveries).where(deliveries.c.id == known.id).values(values))
    return known.id


def _by_id(connection: Connection, number: int) -> Delivery:
    return _delivery(connection.execute(select(deliveries).where(deliveries.c.id == number)).one())


# ---- rows -----------------------------------------------------------------------------------------------------------


def _delivery(row: Row[tuple[object, ...]]) -> Delivery:
    return Delivery(
        id=row.id,
        channel=row.channel,
        name=row.name,
        kind=Kind(row.kind),
        digest=row.digest,
        message_id=row.message_id,
        since=codec.from_epoch(row.since_at),
        until=codec.from_epoch(row.until_at),
        status=row.status,
        claimed_at=codec.from_epoch(row.claimed_at),
        sent_at=codec.from_epoch(row.sent_at),
        attempts=row.attempts,
        why=row.why,
    )


def _aged(one: Delivery, now: datetime) -> Delivery:
    if one.status == CLAIMED and abs(now - one.claimed_at) > STALE:
        return replace(one, status=Fate.UNCONFIRMED.value, why=DIED)
    return one
