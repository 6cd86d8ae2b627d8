"""What claims say before anything is created: an event of ours is linked again, never made or entered twice.

A state that was lost knows no links, and a calendar may hold what another job made. So before a record is given an
event its claim is looked up, and before an event is given a record it is asked whose it is, where its row does not tell
already. What can't be looked up now waits: nothing is created on a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

from reconciler import decide, findings, normalise, patterns, text
from reconciler.agreement import Agreed, agreed
from reconciler.errors import AccessError
from reconciler.judgement import Judged, Ruled, World
from reconciler.model import Action, Event, Link, Outcome, Side, Step, Tier, Tombstone, Verdict
from reconciler.pairing import holds
from reconciler.sources import Claims
from reconciler.sources.answers import PostponedError, ProviderError
from reconciler.sources.claims import claim, claims
from reconciler.store import codec, compare, ledger, records
from reconciler.store import mirror as rows

if TYPE_CHECKING:
    from reconciler.model import Calendar, Delta, Pair, Record
    from reconciler.normalise import Terms
    from reconciler.sources import Source
    from reconciler.store.database import Connection
    from reconciler.store.state import State, Watched

ASKERS = 8
"""Claims that are looked up at once."""

_TELLS = frozenset({"google"})
"""Kinds of sources whose events show their marks when they are read; the others have to be asked."""

_DELETED = "the event that was made for it was deleted since: it is not made again"
_OTHERS = "its event belongs to another record by now"
_DOUBLE = "CRM record {} stands for the same and has an event that we made: this one may have been entered from it"
_FOREIGN = "it was made from a CRM by a job of this program, and is not entered into one again"
_UNTOLD = "what was made for it before was not looked up in this run; its turn comes next time"

_Answer: TypeAlias = "Event | Tombstone | str | Exception | None"


@dataclass(frozen=True, kw_only=True)
class Claiming:
    """What looking claims up takes. `limit` is how many are looked up in one run: no more can be created in one.

    `agree` saves links; None in a dry run, which keeps none. `waiting` was looked up by an earlier run, and only put
    off: looking it up in each would use up the budget that it waits for.
    """

    state: State
    world: World
    sources: Mapping[str, Source]
    terms: Terms
    limit: int
    patience: Callable[[], float]
    agree: Callable[[Sequence[Agreed]], None] | None
    waiting: AbstractSet[tuple[str, str]] = frozenset()

    def recognised(self, ruled: Sequence[Ruled]) -> Iterator[Ruled]:
        """Yield what was judged, with what claims say of all that would be created."""
        ruled = [self._beside(one) for one in ruled]
        asked = sorted((one for one in ruled if self._asks(one)), key=_nearest)[: self.limit]
        with ThreadPoolExecutor(ASKERS) as askers:
            answers = dict(zip(map(_number, asked), askers.map(self._asked, asked), strict=True))
        for one in ruled:
            yield self._answered(one, answers[_number(one)]) if _number(one) in answers else self._unasked(one)

    def _asks(self, one: Ruled) -> bool:
        delta = _creates(one)
        watched = self._watched(delta) if delta else None
        if delta is None or watched is None or (delta.side, delta.key) in self.waiting:
            return False
        open_still = delta.side is Side.CALENDAR or self._is_untold(watched.calendar)
        return open_still and self._source(watched.calendar) is not None

    def _is_untold(self, calendar: Calendar) -> bool:
        """Tell whether an event's row leaves open who made it: events are made only where this job writes calendars."""
        return calendar.kind in self.world.context.writes and calendar.kind not in _TELLS

    def _watched(self, delta: Delta) -> Watched | None:
        return self.world.watched.get(delta.calendar_id or 0)

    def _source(self, calendar: Calendar) -> Claims | None:
        source: object = self.sources.get(calendar.source)  # whoever reads may know its own events again, or not
        return source if isinstance(source, Claims) else None

    # ---- what stands beside

    def _beside(self, one: Ruled) -> Ruled:
        """Leave to a person what may have been entered from an event of ours: it would be made for ever."""
        record, delta = one[0].pair.record, _creates(one)
        if record is None or delta is None or delta.side is not Side.CALENDAR:
            return one
        with self.state.engine.connect() as connection:
            other = self._of_key(connection, record) or self._of_time(connection, record)
        return one if other is None else self._left(one, _DOUBLE.format(text.line(other, 40)))

    def _of_key(self, connection: Connection, record: Record) -> str | None:
        """Return the record that has the event which this one's key names."""
        event = compare.one_event(connection, self.state, key=record.key) if record.key else None
        if event is None or event.seen.absence is not None:
            return None
        other = ledger.record_at(connection, self.state, event.calendar, event.seen.event)
        return None if other == record.id else other

    def _of_time(self, connection: Connection, record: Record) -> str | None:
        """Return the record of the same agent, time and client (or none) that we made an event for."""
        fields = record.fields
        agent, start = fields.get("agent"), patterns.instant(fields.get("start"))
        if not isinstance(agent, str) or start is None:
            return None
        near = records.near(connection, self.state, agent, codec.epoch(start), 0, linked_too=True)
        return next((other.id for other in near if self._is_double(connection, record, other)), None)

    def _is_double(self, connection: Connection, record: Record, other: Record) -> bool:
        known = compare.one_link(connection, self.state, self.world.scope, crm_id=other.id)
        made = known is not None and known.link.tier is Tier.CLAIM
        clients = record.fields.get("contact")
        same = record.fields.get("end") == other.fields.get("end")
        return made and same and (not clients or clients == other.fields.get("contact"))

    # ---- asking

    def _asked(self, one: Ruled) -> _Answer:
        """Ask a provider; what goes wrong is an answer, too."""
        delta = _creates(one)
        watched = self._watched(delta) if delta else None
        source = self._source(watched.calendar) if watched else None
        if delta is None or watched is None or source is None:
            return None
        try:
            if delta.side is Side.CRM:
                return source.mark(watched.calendar, delta.event or "", self.patience)
            ours = claims(self.state.name, watched.calendar, delta.crm_id or "")
            found = (source.claimed(watched.calendar, one, self.patience) for one in ours)
            return next((one for one in found if one is not None), None)
        except (ProviderError, PostponedError, AccessError) as error:
            return error

    # ---- answers

    def _unasked(self, one: Ruled) -> Ruled:
        return self._waiting(one, _UNTOLD) if self._asks(one) else one

    def _answered(self, one: Ruled, answer: _Answer) -> Ruled:
        match answer:
            case Exception():
                return self._waiting(one, f"what was made for it before could not be looked up: {answer}")
            case Tombstone():
                return self._left(one, _DELETED)
            case Event():
                return self._found(one, answer)
            case str():
                return self._marked(one, answer)
            case None:
                return one

    def _waiting(self, one: Ruled, why: str) -> Ruled:
        return self._judged(one[0], Verdict(one[0].verdict.situation, Step.HOLD, reason=why))

    def _left(self, one: Ruled, why: str) -> Ruled:
        return self._judged(one[0], Verdict(one[0].verdict.situation, Step.FINDING, reason=why))

    def _judged(self, one: Judged, verdict: Verdict) -> Ruled:
        one = replace(one, verdict=verdict)
        return one, findings.outlook(one.pair, verdict, self.world.context)

    def _found(self, one: Ruled, event: Event) -> Ruled:
        """Link a record again with the event that was made for it, and judge them as a pair that never agreed."""
        judged, delta = one[0], _creates(one)
        watched = self._watched(delta) if delta else None
        if delta is None or watched is None or judged.pair.record is None:
            return one
        row = normalise.seen(event, watched.calendar, self.terms, linked=True, zone=watched.zone)
        link = Link(judged.pair.record.id, watched.id, row.event, row.meeting, Tier.CLAIM)
        with self.state.begin() as connection:
            other = ledger.record_at(connection, self.state, watched.id, row.event)
            if other not in {None, link.crm_id}:
                return self._left(one, _OTHERS)
            if self.agree is not None:
                rows.put(connection, self.state, watched.id, row)
        pair = replace(judged.pair, seen=row, calendar=watched.calendar, calendar_id=watched.id, link=link)
        pair = replace(pair, tier=Tier.CLAIM, holds=())
        return self._paired(judged, replace(pair, holds=holds(pair, self.world)))

    def _paired(self, one: Judged, pair: Pair) -> Ruled:
        one, compared = replace(one, pair=pair), self.world.rules.compare
        verdict = decide.decide(pair, self.world.rules)
        agree = verdict.step is Step.REFRESH_BASE
        if self.agree is not None and pair.record is not None and pair.link is not None:
            self.agree([agreed(pair, pair.record, compared) if agree else (pair.link, None, None)])
        return self._judged(one, verdict)

    def _marked(self, one: Ruled, mark: str) -> Ruled:
        """Say whose an event is that carries a mark: a copy of one of ours is an event like any other."""
        pair = one[0].pair
        made_for = self._records_at(pair.calendar).get(mark) if pair.calendar else None
        if made_for is None or pair.seen is None:
            return self._left(one, _FOREIGN)
        with self.state.engine.connect() as connection:
            place = ledger.place_of(connection, self.state, made_for)
        if place not in {None, (pair.calendar_id, pair.seen.event)}:
            return one
        return self._left(one, f"it was made for CRM record {made_for}, and is not entered again")

    def _records_at(self, calendar: Calendar) -> Mapping[str, str]:
        """Return the records by what they claim on a calendar."""
        return {claim(self.state.name, calendar, crm_id).id(): crm_id for crm_id in self._known}

    @cached_property
    def _known(self) -> Sequence[str]:
        with self.state.engine.connect() as connection:
            return records.ids(connection, self.state)


def _creates(one: Ruled) -> Delta | None:
    """Return what would be created of a pair."""
    meant = (delta for delta in one[1].deltas if delta.action is Action.CREATE and delta.outcome is Outcome.PLANNED)
    return next(meant, None)


def _number(one: Ruled) -> int:
    return id(one[0])


def _nearest(one: Ruled) -> tuple[str, str]:
    delta = _creates(one)
    return (delta.start, delta.key) if delta else ("", "")
