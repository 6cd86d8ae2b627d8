"""The writing half of Google Calendar: one event a write, under its etag or its claim, without a message to anybody.

Nothing is sent twice on a guess. After a lost answer the event is looked up; only a create is then sent once more,
since its id is our own and Google takes it once. What a write did not reach is said in a sentence and never raised.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from reconciler.errors import AccessError
from reconciler.model import Absence, Calendar, Event, Fields, Outcome, Tombstone
from reconciler.quota import forever
from reconciler.sources import Wrote
from reconciler.sources import google_bodies as bodies
from reconciler.sources.answers import (
    GoneError,
    MissingError,
    MovedError,
    PostponedError,
    ProviderError,
    ReadOnlyError,
    TakenError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.claims import GENERATIONS, Claim
from reconciler.sources.google_bodies import Body, UnfitError
from reconciler.sources.google_events import Reading, Sort, event_of, is_cancelled, sort_of
from reconciler.sources.google_transport import Target, WritableGoogleCalendar
from reconciler.sources.items import Item

READ_ONLY = 4 * 3600.0
"""Seconds that an agent's calendar is not written after Google refused: "for hours" (usage limits of a Workspace)."""

_NO_ANSWER = (ProviderError, PostponedError, AccessError)
_UNSEEN = "no such event is shown: it never was there, or the calendar is not shared any more"
_DELETED = "the event was deleted meanwhile"
_MOVED = "the event changed after it was read"


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
        self._clock = clock
        self._lock = threading.Lock()
        self._parked: dict[str, float] = {}

    # ---- the seam

    def create(self, calendar: Calendar, claim: Claim, fields: Fields) -> Wrote:
        """Put an event under `claim`; ours is adopted as it is, and a burnt id passes its turn to the next one."""
        return self._write(calendar, lambda: self._create(calendar, claim, bodies.wanted(fields)))

    def update(self, calendar: Calendar, event: str, fields: Fields, *, version: str) -> Wrote:
        """Change `fields` and nothing else if the event still has `version`; CONFLICT when it moved."""
        return self._write(calendar, lambda: self._update(calendar, event, bodies.wanted(fields), version))

    def cancel(self, calendar: Calendar, event: str, *, version: str) -> Wrote:
        """Delete the event if it still has `version`; ALREADY when Google says that it is gone."""
        return self._write(calendar, lambda: self._cancel(calendar, event, version))

    def find(self, calendar: Calendar, event: str | Claim) -> Event | Tombstone | None:
        """Look one event up by id or by claim. Raises ProviderError, PostponedError, AccessError."""
        if isinstance(event, Claim):
            return self._claimed(calendar, event)
        item = self._get(calendar, event)
        return None if item is None else _shown(event, item, calendar)

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
            return _done(self._google.insert(self._target(creation.calendar), creation.body), creation.calendar)
        except TakenError:
            return _occupied(self._get(creation.calendar, creation.id), creation)
        except TransientError as error:
            return self._inserted(creation, error)

    def _inserted(self, creation: _Creation, lost: TransientError) -> Wrote | None:
        """Look up what became of a create, and send it once more if nothing came of it: its id is taken once."""
        try:
            item = self._get(creation.calendar, creation.id)
            wrote = self._again(creation) if item is None else _occupied(item, creation)
        except (*_NO_ANSWER, UnfitError) as error:
            return Wrote(Outcome.UNKNOWN, why=f"Google {lost}, and when it was looked up: {_says(error)}")
        if wrote is None or wrote.outcome is not Outcome.ALREADY or wrote.why:
            return wrote
        return replace(wrote, outcome=Outcome.DONE, why=f"Google {lost}, but it was written")

    def _again(self, creation: _Creation) -> Wrote | None:
        try:
            return _done(self._google.insert(self._target(creation.calendar), creation.body), creation.calendar)
        except TakenError:  # the first one arrived late
            return _occupied(self._get(creation.calendar, creation.id), creation)

    # ---- update and cancel

    def _update(self, calendar: Calendar, event: str, want: Fields, version: str) -> Wrote:
        item = self._wholly(calendar, event)
        if item is None or is_cancelled(item):
            return Wrote(Outcome.CONFLICT, why=_UNSEEN if item is None else _DELETED)
        known = _fit(item, calendar)
        changing = bodies.changes(known, want)
        if not changing:
            return Wrote(Outcome.ALREADY, known)
        if not version or known.etag != version:
            return Wrote(Outcome.CONFLICT, known, _MOVED)
        body = bodies.changed(item, known, changing, calendar.agent.timezone)
        return self._send(
            lambda: _done(self._google.update(self._target(calendar), event, body, etag=version), calendar),
            lambda before: self._changed(calendar, event, want, before),
            version,
            gone=Wrote(Outcome.CONFLICT, why=_DELETED),
        )

    def _cancel(self, calendar: Calendar, event: str, version: str) -> Wrote:
        item = self._wholly(calendar, event)
        if item is None:
            return Wrote(Outcome.CONFLICT, why=_UNSEEN)
        if is_cancelled(item):
            return Wrote(Outcome.ALREADY)
        known = _fit(item, calendar)
        if not version or known.etag != version:
            return Wrote(Outcome.CONFLICT, known, _MOVED)

        def send() -> Wrote:
            self._google.delete(self._target(calendar), event, etag=version)
            return Wrote(Outcome.DONE, replace(known, absence=Absence.CANCELLED))

        return self._send(
            send, lambda before: self._removed(calendar, event, before), version, gone=Wrote(Outcome.ALREADY)
        )

    @staticmethod
    def _send(send: Callable[[], Wrote], look: Callable[[str | None], Wrote], version: str, gone: Wrote) -> Wrote:
        """Send a change once. `look` tells from how the event is now what came of it, given what it may still be."""
        try:
            return send()
        except GoneError:
            return gone
        except (MissingError, MovedError):
            return look(None)
        except TransientError as error:
            return _after(error, lambda: look(version))

    def _changed(self, calendar: Calendar, event: str, want: Fields, before: str | None) -> Wrote:
        """Tell what came of a change; as long as the event is as `before`, it may still come (None: it was refused)."""
        item = self._get(calendar, event)
        if item is None or is_cancelled(item):
            return Wrote(Outcome.CONFLICT, why=_UNSEEN if item is None else _DELETED)
        known = bodies.readable(item, Reading(calendar=calendar))
        if known.etag == before:
            return Wrote(Outcome.UNKNOWN, known, "it was not written when it was looked up")
        if sort_of(item) is Sort.SINGLE and not bodies.changes(known, want):
            return Wrote(Outcome.ALREADY if before is None else Outcome.DONE, known)
        return Wrote(Outcome.CONFLICT, known, _MOVED)

    def _removed(self, calendar: Calendar, event: str, before: str | None) -> Wrote:
        """Tell what came of a removal, as `_changed` does."""
        item = self._get(calendar, event)
        if item is None:
            return Wrote(Outcome.CONFLICT if before is None else Outcome.UNKNOWN, why=_UNSEEN)
        if is_cancelled(item):
            return Wrote(Outcome.ALREADY if before is None else Outcome.DONE)
        known = bodies.readable(item, Reading(calendar=calendar))
        if known.etag == before:
            return Wrote(Outcome.UNKNOWN, known, "it was still there when it was looked up")
        return Wrote(Outcome.CONFLICT, known, _MOVED)

    # ---- looking

    def _get(self, calendar: Calendar, event: str) -> Item | None:
        """Return an item; only a tombstone of one that is gone, and None for one that is not shown."""
        try:
            return self._google.get(self._target(calendar), event, whole=True)
        except MissingError:
            return None
        except GoneError:
            return {"id": event, "status": "cancelled"}

    def _wholly(self, calendar: Calendar, event: str) -> Item | None:
        """Return an item that is to be written. Raises UnfitError."""
        if "/" in event:  # our own name for an occurrence (normalise.occurrence_key)
            raise UnfitError(bodies.RECURRING)
        return self._get(calendar, event)

    def _claimed(self, calendar: Calendar, claim: Claim) -> Event | Tombstone | None:
        """Return the live event of a claim, else the tombstone of its last generation that is known."""
        last: Tombstone | None = None
        for generation, ident in enumerate(claim.ids()):
            item = self._get(calendar, ident)
            found = None if item is None else _shown(ident, item, calendar)
            if item is not None and isinstance(found, Event) and bodies.is_ours(item, claim, generation):
                return found
            last = found if isinstance(found, Tombstone) else last
        return last

    def _target(self, calendar: Calendar) -> Target:
        return self._google.target(calendar, self._patience)

    # ---- what goes wrong

    def _write(self, calendar: Calendar, work: Callable[[], Wrote]) -> Wrote:
        """Do one write. What is raised here was answered before anything was written, or says that nothing was."""
        agent = calendar.agent.email
        if self._is_parked(agent):
            why = "Google takes no writes for this agent for some hours; its turn comes later"
            return Wrote(Outcome.DEFERRED, why=why)
        try:
            return work()
        except ReadOnlyError as error:
            self._park(agent)
            return Wrote(Outcome.FAILED, why=f"nothing was written: {_says(error)}; this agent's writes will wait")
        except (ThrottledError, PostponedError) as error:
            return Wrote(Outcome.DEFERRED, why=f"nothing was written: {_says(error)}")
        except (ProviderError, AccessError, UnfitError) as error:
            return Wrote(Outcome.FAILED, why=f"nothing was written: {_says(error)}")

    def _is_parked(self, agent: str) -> bool:
        with self._lock:
            return self._clock() < self._parked.get(agent, 0.0)

    def _park(self, agent: str) -> None:
        with self._lock:
            self._parked[agent] = self._clock() + READ_ONLY


def _fit(item: Item, calendar: Calendar) -> Event:
    """Return the event of an item that may be written. Raises UnfitError."""
    reading = Reading(calendar=calendar)
    event = bodies.readable(item, reading)
    if why := bodies.refusal(item, event, reading):
        raise UnfitError(why)
    return event


def _done(item: Item, calendar: Calendar) -> Wrote:
    """Return that it was written, with what was kept where that can be read."""
    try:
        return Wrote(Outcome.DONE, event_of(item, Reading(calendar=calendar)))
    except ValueError as error:
        return Wrote(Outcome.DONE, why=f"written, but what was kept can't be read: {error}")


def _after(lost: TransientError, look: Callable[[], Wrote]) -> Wrote:
    """Look up what became of a write whose answer was lost. What can't be told stays unknown."""
    try:
        wrote = look()
    except (*_NO_ANSWER, UnfitError) as error:
        return Wrote(Outcome.UNKNOWN, why=f"Google {lost}, and when it was looked up: {_says(error)}")
    return replace(wrote, why=f"Google {lost}; {wrote.why}" if wrote.why else f"Google {lost}, but it was written")


def _occupied(item: Item | None, creation: _Creation) -> Wrote | None:
    """Say who has the id of a create: None for an event that was deleted, which keeps its id."""
    if item is None:
        return Wrote(Outcome.CONFLICT, why="its id is taken by an event that is not shown")
    if is_cancelled(item):
        return None
    if not bodies.is_ours(item, creation.claim, creation.generation):
        return Wrote(Outcome.CONFLICT, why="its id is taken by an event that is not ours")
    return _adopted(item, creation.calendar, creation.want)


def _adopted(item: Item, calendar: Calendar, want: Fields) -> Wrote:
    """Return our own event that is there already, as it is: what a person made of it since is not overwritten."""
    event = bodies.readable(item, Reading(calendar=calendar))
    if sort_of(item) is not Sort.SINGLE:
        return Wrote(Outcome.CONFLICT, event, "it is there, but was made a recurring event")
    held = bodies.held(event)
    other = sorted(name for name, value in want.items() if value != held[name])
    return Wrote(Outcome.ALREADY, event, f"it is there, with another {', '.join(other)}" if other else "")


def _shown(ident: str, item: Item, calendar: Calendar) -> Event | Tombstone:
    """Return what an item shows. Raises ProviderError for one that can't be read."""
    if is_cancelled(item):
        return Tombstone(ident, Absence.GONE)
    try:
        return event_of(item, Reading(calendar=calendar))
    except ValueError as error:
        raise ProviderError(f"shows an event that can't be read: {error}") from error


def _says(error: Exception) -> str:
    """Return what an error says as a clause; a provider's own has no subject."""
    return f"Google {error}" if isinstance(error, ProviderError) else str(error)
