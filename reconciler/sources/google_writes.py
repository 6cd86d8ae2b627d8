"""The writing half of Google Calendar: one event a write, under its etag or its claim, without a message to anybody.

Nothing is sent twice on a guess. After a lost answer the event is looked up; only a create is then sent once more,
since its id is our own and Google takes it once. What a write did not reach is said in a sentence and never raised.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.model import Absence, Calendar, Event, Fields, Outcome, Tombstone
from reconciler.quota import forever
from reconciler.sources import Wrote
from reconciler.sources import google_bodies as bodies
from reconciler.sources import google_claims as claims
from reconciler.sources.answers import TakenError, TransientError
from reconciler.sources.claims import GENERATIONS, Claim
from reconciler.sources.google_bodies import Body
from reconciler.sources.google_events import Reading, event_of, is_cancelled
from reconciler.sources.google_transport import Target, WritableGoogleCalendar
from reconciler.sources.items import Item
from reconciler.sources.writable import UnfitError, wanted
from reconciler.sources.writing import NO_ANSWER, Kept, Writing
from reconciler.text import line

_WRITERS = frozenset({"owner", "writer"})
"""The access roles with which events may be changed (reference of Events: accessRole)."""


@dataclass(frozen=True, slots=True)
class _Creation:
    """One generation of an event that is to be created."""

    calendar: Calendar
    claim: Claim
    generation: int
    want: Fields

    @property
    def id(self) -> str:
        return self.claim.id(self.generation)

    @property
    def body(self) -> Body:
        return bodies.new(self.claim, self.generation, self.want, self.calendar.agent.timezone)


class GoogleWriter:
    """Writes single events of agents' own.

    `patience` says how many seconds are left for this run; `clock` counts them, for how long an agent is left alone.
    """

    def __init__(
        self,
        google: WritableGoogleCalendar,
        *,
        patience: Callable[[], float] = forever,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._google = google
        self._patience = patience
        self._shelf = _Shelf(google, patience)
        self._writing = Writing(self._shelf, clock)

    # ---- the seam

    def create(self, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        """Put an event under `claim`; ours is adopted as it is, and a burnt id passes its turn to the next one."""
        return self._writing.turn(calendar, lambda: self._create(calendar, claim, wanted(fields)))

    def update(self, calendar: Calendar, event: str, fields: Fields, *, version: str) -> Wrote:
        """Change `fields` and nothing else if the event still has `version`; CONFLICT when it moved."""
        return self._writing.turn(calendar, lambda: self._writing.update(calendar, event, wanted(fields), version))

    def cancel(self, calendar: Calendar, event: str, *, version: str) -> Wrote:
        """Delete the event if it still has `version`; ALREADY when Google says that it is gone."""
        return self._writing.turn(calendar, lambda: self._writing.cancel(calendar, event, version))

    def find(self, calendar: Calendar, event: str | Claim) -> Event | Tombstone | None:
        """Look one event up by id or by claim. Raises ProviderError, PostponedError, AccessError."""
        if isinstance(event, Claim):
            return claims.claimed(self._google, calendar, event, self._patience)
        item = self._shelf.get(calendar, event)
        return None if item is None else claims.shown(event, item, calendar)

    def refusal(self, calendar: Calendar) -> str:
        """Return why nothing can be written to this calendar, as far as can be known without a write."""
        role = self._google.role(self._google.target(calendar, self._patience))
        return "" if role in _WRITERS else f"it may be read and not written (its access role is {line(role, 20)})"

    def close(self) -> None:
        """Release connections."""
        self._google.close()

    # ---- create

    def _create(self, calendar: Calendar, claim: Claim, want: Fields) -> Wrote:
        for generation in range(GENERATIONS):
            wrote = self._insert(_Creation(calendar, claim, generation, want))
            if wrote is not None:
                return wrote
        return Wrote(Outcome.FAILED, why=f"its event was deleted {GENERATIONS} times; a person has to decide")

    def _insert(self, creation: _Creation) -> Wrote | None:
        """Create one generation; None when its id is burnt."""
        try:
            return _done(self._google.insert(self._target(creation), creation.body), creation.calendar)
        except TakenError:
            return _occupied(self._shelf.get(creation.calendar, creation.id), creation)
        except TransientError as error:
            return self._inserted(creation, error)

    def _inserted(self, creation: _Creation, lost: TransientError) -> Wrote | None:
        """Look up what became of a create, and send it once more if nothing came of it: its id is taken once."""
        try:
            item = self._shelf.get(creation.calendar, creation.id)
            wrote = self._again(creation) if item is None else _occupied(item, creation)
        except (*NO_ANSWER, UnfitError) as error:
            return self._writing.unknown(lost, error)
        if wrote is None or wrote.outcome is not Outcome.ALREADY or wrote.why:
            return wrote
        return replace(wrote, outcome=Outcome.DONE, why=f"Google {lost}, but it was written")

    def _again(self, creation: _Creation) -> Wrote | None:
        try:
            return _done(self._google.insert(self._target(creation), creation.body), creation.calendar)
        except TakenError:  # the first one arrived late
            return _occupied(self._shelf.get(creation.calendar, creation.id), creation)

    def _target(self, creation: _Creation) -> Target:
        return self._google.target(creation.calendar, self._patience)


class _Shelf:
    """Single events as Google keeps them."""

    provider = "Google"

    def __init__(self, google: WritableGoogleCalendar, patience: Callable[[], float]) -> None:
        self._google = google
        self._patience = patience

    def get(self, calendar: Calendar, event: str) -> Item | None:
        """Return an item; only a tombstone of one that is gone, and None for one that is not shown."""
        return claims.got(self._google, calendar, event, self._patience)

    def look(self, calendar: Calendar, event: str) -> Kept | Tombstone | None:
        """Return an event, that it is gone, or None for one that is not shown."""
        item = self.get(calendar, event)
        if item is None:
            return None
        return Tombstone(event, Absence.GONE) if is_cancelled(item) else _kept(item, calendar)

    def change(self, calendar: Calendar, kept: Kept, changing: Fields) -> Wrote:
        """Replace the item by itself with the changes in it."""
        body = bodies.changed(kept.item, kept.event, changing, calendar.agent.timezone)
        target = self._google.target(calendar, self._patience)
        return _done(self._google.update(target, kept.event.id, body, etag=kept.event.etag), calendar)

    def rest(self, agent: str, seconds: float) -> None:
        """Note that an agent's calendars are not written for so long."""
        self._google.quota.rest(agent, seconds)

    def rests(self, agent: str, seconds: float) -> float:
        """Return for how many more of these seconds they are not."""
        return self._google.quota.rests(agent, seconds)

    def remove(self, calendar: Calendar, kept: Kept) -> None:
        """Delete the item."""
        self._google.delete(self._google.target(calendar, self._patience), kept.event.id, etag=kept.event.etag)


def _kept(item: Item, calendar: Calendar) -> Kept:
    reading = Reading(calendar=calendar)
    event = bodies.readable(item, reading)
    return Kept(item, event, bodies.refusal(item, event, reading))


def _done(item: Item, calendar: Calendar) -> Wrote:
    """Return that it was written, with what was kept where that can be read."""
    try:
        return Wrote(Outcome.DONE, event_of(item, Reading(calendar=calendar)))
    except ValueError as error:
        return Wrote(Outcome.DONE, why=f"written, but what was kept can't be read: {error}")


def _occupied(item: Item | None, creation: _Creation) -> Wrote | None:
    """Say who has the id of a create: None for an event that was deleted, which keeps its id."""
    if item is None:
        return Wrote(Outcome.CONFLICT, why="its id is taken by an event that is not shown")
    if is_cancelled(item):
        return None
    if not claims.is_ours(item, creation.claim, creation.generation):
        return Wrote(Outcome.CONFLICT, why="its id is taken by an event that is not ours")
    return Writing.adopted(_kept(item, creation.calendar), creation.want)
