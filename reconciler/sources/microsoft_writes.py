"""The writing half of Outlook calendars: one event a write, in the version it was decided on, where nobody else comes.

Exchange names events itself, so an event of ours is known by a mark that is searched for; a create also carries an id
of ours that Exchange takes once, and may be sent once more after a lost answer. No change or removal is: one that was
answered with an error may have been carried out (facts of Graph). What a write did not reach is said and never raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import orjson

from reconciler.model import Absence, Calendar, Event, Fields, Outcome, Tombstone
from reconciler.quota import forever
from reconciler.sources import Wrote
from reconciler.sources import microsoft_bodies as bodies
from reconciler.sources import microsoft_claims as claims
from reconciler.sources.answers import GoneError, MissingError, MovedError, ProviderError, TakenError, TransientError
from reconciler.sources.claims import GENERATIONS, Claim
from reconciler.sources.items import Item
from reconciler.sources.microsoft_bodies import Body
from reconciler.sources.microsoft_events import Reading, event_of, is_whole
from reconciler.sources.microsoft_faults import WRITE, Asked
from reconciler.sources.microsoft_transport import JSON_TYPE, Call, Graph, Json, Target, prefer
from reconciler.sources.writable import UnfitError, wanted
from reconciler.sources.writing import NO_ANSWER, Kept, Writing

_Sent = TypeVar("_Sent")

_WRITE: Final = Asked(now=0.0, item=True, write=True)  # the time is put in when there is an answer
_STRIPES: Final = 64


class WritableGraph(Graph):
    """The writing half: each of these is sent as `send` does, and never twice after an answer that is none."""

    def create(self, target: Target, body: Body) -> Json:
        """Add an event. TakenError if its transactionId was used for another one."""
        return _event(self.send(self._with(target, "post", self.address(target, "events"), body)))

    def patch(self, target: Target, event: str, body: Body, *, etag: str) -> Json:
        """Change the properties named in `body`. MovedError if the event has another version."""
        return _event(self.send(self._with(target, "patch", self.event(target, event), body, {"If-Match": etag})))

    def delete(self, target: Target, event: str, *, etag: str) -> None:
        """Delete an event. GoneError if there is none any more."""
        headers = {**prefer(), "If-Match": etag}
        self.send(Call(target, "delete", self.event(target, event), headers, asked=_WRITE, content=False))

    @staticmethod
    def _with(target: Target, method: str, url: str, body: Body, more: Json | None = None) -> Call:
        headers = {**prefer(), "Content-type": JSON_TYPE, **{name: str(value) for name, value in (more or {}).items()}}
        return Call(target, method, url, headers, orjson.dumps(body), asked=_WRITE)


def _event(said: Json) -> Json:
    """Return an answer that is an event. Any other says nothing about what became of a write."""
    if not is_whole(said):
        raise TransientError("answered with something else than was asked for")
    return said


@dataclass(frozen=True, slots=True)
class _Creation:
    """One generation of an event that is to be created."""

    calendar: Calendar
    claim: Claim
    generation: int
    want: Fields


class MicrosoftWriter:
    """Writes single events of agents' own.

    `patience` says how many seconds are left for this run; `clock` counts them, for how long an agent is left alone.
    """

    def __init__(
        self,
        graph: WritableGraph,
        *,
        patience: Callable[[], float] = forever,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._graph = graph
        self._patience = patience
        self._shelf = _Shelf(graph, patience)
        self._writing = Writing(self._shelf, clock)
        self._creating = tuple(threading.Lock() for _ in range(_STRIPES))

    # ---- the seam

    def create(self, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        """Put an event under `claim`; ours is adopted as it is, and a burnt id passes its turn to the next one."""
        return self._writing.turn(calendar, lambda: self._create(calendar, claim, wanted(fields)))

    def update(self, calendar: Calendar, event: str, fields: Fields, *, version: str) -> Wrote:
        """Change `fields` and nothing else if the event still has `version`; CONFLICT when it moved."""
        return self._writing.turn(calendar, lambda: self._writing.update(calendar, event, wanted(fields), version))

    def cancel(self, calendar: Calendar, event: str, *, version: str) -> Wrote:
        """Delete the event if it still has `version`; ALREADY when Microsoft says that it is gone."""
        return self._writing.turn(calendar, lambda: self._writing.cancel(calendar, event, version))

    def find(self, calendar: Calendar, event: str | Claim) -> Event | Tombstone | None:
        """Look one event up by id or by claim, of which only live events are known.

        Raises ProviderError, PostponedError, AccessError.
        """
        try:
            if isinstance(event, Claim):
                kept = self._shelf.claimed(calendar, event)
                return None if kept is None else kept.event
            return self._shelf.shown(calendar, event)
        except (UnfitError, ValueError) as error:
            raise ProviderError(f"shows an event that can't be read: {error}") from error

    def refusal(self, calendar: Calendar) -> str:
        """Return why nothing can be written to this calendar, as far as can be known without a write."""
        target = self._graph.target(calendar, self._patience)
        self._graph.look(target, self._graph.address(target, "events", {"$top": 1}))
        rights = self._graph.rights(target)
        if not rights or WRITE in rights:
            return ""
        return f"its token does not name {WRITE}: it writes only where Exchange itself gives leave (RBAC)"

    def close(self) -> None:
        """Release connections."""
        self._graph.close()

    # ---- create

    def _create(self, calendar: Calendar, claim: Claim, want: Fields) -> Wrote:
        # Exchange answers a second create with the first one's event: who made it is known only if they take turns.
        with self._creating[int(claim.id(), 32) % _STRIPES]:
            kept = self._shelf.claimed(calendar, claim)
            if kept is not None:
                return Writing.adopted(kept, want)
            for generation in range(GENERATIONS):
                wrote = self._insert(_Creation(calendar, claim, generation, want))
                if wrote is not None:
                    return wrote
        return Wrote(Outcome.FAILED, why=f"its event was deleted {GENERATIONS} times; a person has to decide")

    def _insert(self, creation: _Creation) -> Wrote | None:
        """Create one generation; None when its id is burnt."""
        try:
            return self._shelf.add(creation)
        except TakenError:
            return self._occupied(creation)
        except TransientError as error:
            return self._inserted(creation, error)

    def _inserted(self, creation: _Creation, lost: TransientError) -> Wrote | None:
        """Look up what became of a create, and send it once more if nothing came of it: its id is taken once."""
        try:
            wrote = self._occupied(creation) or self._again(creation)
        except (*NO_ANSWER, UnfitError) as error:
            return self._writing.unknown(lost, error)
        if wrote is None or wrote.outcome is not Outcome.ALREADY or wrote.why:
            return wrote
        return replace(wrote, outcome=Outcome.DONE, why=f"Microsoft {lost}, but it was written")

    def _again(self, creation: _Creation) -> Wrote | None:
        try:
            return self._shelf.add(creation)
        except TakenError:  # the first one arrived late
            return self._occupied(creation)

    def _occupied(self, creation: _Creation) -> Wrote | None:
        """Return our own event that is there already; None for one that was deleted."""
        kept = self._shelf.claimed(creation.calendar, creation.claim)
        return None if kept is None else Writing.adopted(kept, creation.want)


class _Shelf:
    """Single events as Exchange keeps them."""

    provider = "Microsoft"

    def __init__(self, graph: WritableGraph, patience: Callable[[], float]) -> None:
        self._graph = graph
        self._patience = patience

    def look(self, calendar: Calendar, event: str) -> Kept | Tombstone | None:
        """Return an event, that it is gone, or None for one that is not shown."""
        item = self._get(calendar, event)
        return _kept(item, calendar) if isinstance(item, dict) else item

    def shown(self, calendar: Calendar, event: str) -> Event | Tombstone | None:
        """Return an event whoever it belongs to. Our own name of an occurrence means nothing to Exchange."""
        item = None if "/" in event else self._get(calendar, event)
        return event_of(item, Reading(calendar=calendar)) if isinstance(item, dict) else item

    def claimed(self, calendar: Calendar, claim: Claim) -> Kept | None:
        """Return the live event of a claim."""
        marked = claims.marked(self._graph, self._target(calendar), claim.id())
        found = (item for item in marked if claims.is_ours(item, claim))
        item = next(found, None)
        return None if item is None else _kept(item, calendar)

    def add(self, creation: _Creation) -> Wrote:
        """Send a create once."""
        body = bodies.new(creation.claim, creation.generation, creation.want)
        return _done(self._graph.create(self._target(creation.calendar), body), creation.calendar)

    def change(self, calendar: Calendar, kept: Kept, changing: Fields) -> Wrote:
        """Send a change once."""
        target, event, body = self._target(calendar), kept.event, bodies.changed(kept.event, changing)
        item = self._insisting(calendar, kept, lambda: self._graph.patch(target, event.id, body, etag=event.etag))
        return _done(item, calendar)

    def rest(self, agent: str, seconds: float) -> None:
        """Note that an agent's calendars are not written for so long."""
        self._graph.quota.rest(agent, seconds)

    def rests(self, agent: str, seconds: float) -> float:
        """Return for how many more of these seconds they are not."""
        return self._graph.quota.rests(agent, seconds)

    def remove(self, calendar: Calendar, kept: Kept) -> None:
        """Send a removal once."""
        target, event = self._target(calendar), kept.event
        self._insisting(calendar, kept, lambda: self._graph.delete(target, event.id, etag=event.etag))

    def _insisting(self, calendar: Calendar, kept: Kept, send: Callable[[], _Sent]) -> _Sent:
        """Send once more what was refused as a conflict where there is none: Exchange does that now and then.

        A conflict was carried out in no part, and the version still stands beside the second one (facts of Graph).
        """
        try:
            return send()
        except MovedError:
            again = self.look(calendar, kept.event.id)
            if not isinstance(again, Kept) or again.event.etag != kept.event.etag:
                raise
            return send()

    def _get(self, calendar: Calendar, event: str) -> Json | Tombstone | None:
        try:
            return self._graph.get(self._target(calendar), event)
        except MissingError:
            return None
        except GoneError:
            return Tombstone(event, Absence.GONE)

    def _target(self, calendar: Calendar) -> Target:
        return self._graph.target(calendar, self._patience)


def _kept(item: Item, calendar: Calendar) -> Kept:
    """Return an event with what keeps it from being written. Raises UnfitError for one that can't be read."""
    reading = Reading(calendar=calendar)
    event = bodies.readable(item, reading)
    return Kept(item, event, bodies.refusal(item, event, reading))


def _done(item: Item, calendar: Calendar) -> Wrote:
    """Return that it was written, with what was kept where that can be read."""
    try:
        return Wrote(Outcome.DONE, event_of(item, Reading(calendar=calendar)))
    except ValueError as error:
        return Wrote(Outcome.DONE, why=f"written, but what was kept can't be read: {error}")
