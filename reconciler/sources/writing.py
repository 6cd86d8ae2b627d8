"""How one event is changed or removed, whoever keeps it: looked at, judged, sent once, and looked up without an answer.

Nothing is sent twice on a guess. What a write did not reach is said in a sentence and never raised; an agent whose
calendar takes no writes for hours is left alone for as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.errors import AccessError
from reconciler.model import Absence, Calendar, Event, Fields, Outcome, Tombstone
from reconciler.sources import Wrote
from reconciler.sources.answers import (
    GoneError,
    MissingError,
    MovedError,
    PostponedError,
    ProviderError,
    ReadOnlyError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.items import Item
from reconciler.sources.writable import RECURRING, UnfitError, changes, held

READ_ONLY = 4 * 3600.0
"""Seconds that an agent's calendar is not written after its provider refused: "for hours" (limits of a Workspace)."""

NO_ANSWER = (ProviderError, PostponedError, AccessError)
_UNSEEN = "no such event is shown: it never was there, or the calendar is not shared any more"
_DELETED = "the event was deleted meanwhile"
_MOVED = "the event changed after it was read"


@dataclass(frozen=True, slots=True)
class Kept:
    """A live event as its provider keeps it, and why it must be left as it is; empty if it may be written."""

    item: Item
    event: Event
    refusal: str = ""


class Shelf(Protocol):
    """Where single events are kept. All raise ProviderError, PostponedError, AccessError and UnfitError."""

    @property
    def provider(self) -> str:
        """Name the provider for people."""
        ...

    def look(self, calendar: Calendar, event: str) -> Kept | Tombstone | None:
        """Return an event, that it is gone, or None for one that is not shown. UnfitError for one that is garbled."""
        ...

    def change(self, calendar: Calendar, kept: Kept, changing: Fields) -> Wrote:
        """Send the changes once, for the version that was looked at."""
        ...

    def remove(self, calendar: Calendar, kept: Kept) -> None:
        """Remove the event once, in the version that was looked at."""
        ...

    def rest(self, agent: str, seconds: float) -> None:
        """Note for later runs, too, that an agent's calendars are not written for so long."""
        ...

    def rests(self, agent: str, seconds: float) -> float:
        """Return for how many more of these seconds they are not."""
        ...


class Writing:
    """Writes to what is on a shelf. `clock` counts the seconds for which an agent is left alone."""

    def __init__(self, shelf: Shelf, clock: Callable[[], float]) -> None:
        self._shelf = shelf
        self._clock = clock
        self._lock = threading.Lock()
        self._parked: dict[str, float] = {}

    # ---- what is written

    def update(self, calendar: Calendar, event: str, want: Fields, version: str) -> Wrote:
        """Change what `want` says and nothing else, if the event still has `version`."""
        kept = self._wholly(calendar, event)
        if not isinstance(kept, Kept):
            return Wrote(Outcome.CONFLICT, why=_UNSEEN if kept is None else _DELETED)
        changing = changes(fit(kept), want)
        if not changing:
            return Wrote(Outcome.ALREADY, kept.event)
        if not version or kept.event.etag != version:
            return Wrote(Outcome.CONFLICT, kept.event, _MOVED)
        return self._send(
            lambda: self._shelf.change(calendar, kept, changing),
            lambda before: self._changed(calendar, event, want, before),
            version,
            gone=Wrote(Outcome.CONFLICT, why=_DELETED),
        )

    def cancel(self, calendar: Calendar, event: str, version: str) -> Wrote:
        """Remove the event if it still has `version`."""
        kept = self._wholly(calendar, event)
        if not isinstance(kept, Kept):
            return Wrote(Outcome.CONFLICT, why=_UNSEEN) if kept is None else Wrote(Outcome.ALREADY)
        known = fit(kept)
        if not version or known.etag != version:
            return Wrote(Outcome.CONFLICT, known, _MOVED)

        def send() -> Wrote:
            self._shelf.remove(calendar, kept)
            return Wrote(Outcome.DONE, replace(known, absence=Absence.CANCELLED))

        return self._send(
            send, lambda before: self._removed(calendar, event, before), version, gone=Wrote(Outcome.ALREADY)
        )

    @staticmethod
    def adopted(kept: Kept, want: Fields) -> Wrote:
        """Return our own event that is there already, as it is: what a person made of it since is not overwritten."""
        if kept.refusal == RECURRING:
            return Wrote(Outcome.CONFLICT, kept.event, "it is there, but was made a recurring event")
        now = held(kept.event)
        other = sorted(name for name, value in want.items() if value != now[name])
        return Wrote(Outcome.ALREADY, kept.event, f"it is there, with another {', '.join(other)}" if other else "")

    # ---- what came of it

    def _send(
        self, send: Callable[[], Wrote], look: Callable[[str | None], Wrote], version: str, *, gone: Wrote
    ) -> Wrote:
        """Send a change once. `look` tells from how the event is now what came of it, given what it may still be."""
        try:
            return send()
        except GoneError:
            return gone
        except (MissingError, MovedError):
            return look(None)
        except TransientError as error:
            return self._after(error, lambda: look(version))

    def _after(self, lost: TransientError, look: Callable[[], Wrote]) -> Wrote:
        """Look up what became of a write whose answer was lost. What can't be told stays unknown."""
        try:
            wrote = look()
        except (*NO_ANSWER, UnfitError) as error:
            return self.unknown(lost, error)
        who = self._shelf.provider
        return replace(wrote, why=f"{who} {lost}; {wrote.why}" if wrote.why else f"{who} {lost}, but it was written")

    def _changed(self, calendar: Calendar, event: str, want: Fields, before: str | None) -> Wrote:
        """Tell what came of a change; as long as the event is as `before`, it may still come (None: it was refused)."""
        kept = self._shelf.look(calendar, event)
        if not isinstance(kept, Kept):
            return Wrote(Outcome.CONFLICT, why=_UNSEEN if kept is None else _DELETED)
        if kept.event.etag == before:
            return Wrote(Outcome.UNKNOWN, kept.event, "it was not written when it was looked up")
        if kept.refusal != RECURRING and not changes(kept.event, want):
            return Wrote(Outcome.ALREADY if before is None else Outcome.DONE, kept.event)
        return Wrote(Outcome.CONFLICT, kept.event, _MOVED)

    def _removed(self, calendar: Calendar, event: str, before: str | None) -> Wrote:
        """Tell what came of a removal, as `_changed` does."""
        kept = self._shelf.look(calendar, event)
        if kept is None:
            return Wrote(Outcome.CONFLICT if before is None else Outcome.UNKNOWN, why=_UNSEEN)
        if isinstance(kept, Tombstone):
            return Wrote(Outcome.ALREADY if before is None else Outcome.DONE)
        if kept.event.etag == before:
            return Wrote(Outcome.UNKNOWN, kept.event, "it was still there when it was looked up")
        return Wrote(Outcome.CONFLICT, kept.event, _MOVED)

    def _wholly(self, calendar: Calendar, event: str) -> Kept | Tombstone | None:
        """Return an event that is to be written. Raises UnfitError."""
        if "/" in event:  # our own name for an occurrence (normalise.occurrence_key)
            raise UnfitError(RECURRING)
        return self._shelf.look(calendar, event)

    # ---- what goes wrong

    def turn(self, calendar: Calendar, work: Callable[[], Wrote]) -> Wrote:
        """Do one write. What is raised here was answered before anything was written, or says that nothing was."""
        agent, who = calendar.agent.email, self._shelf.provider
        if self._is_parked(agent):
            why = f"{who} takes no writes for this agent for some hours; its turn comes later"
            return Wrote(Outcome.DEFERRED, why=why)
        try:
            return work()
        except ReadOnlyError as error:
            self._park(agent)
            why = f"nothing was written: {self._says(error)}; this agent's writes will wait"
            return Wrote(Outcome.FAILED, why=why)
        except (ThrottledError, PostponedError) as error:
            return Wrote(Outcome.DEFERRED, why=f"nothing was written: {self._says(error)}")
        except (ProviderError, AccessError, UnfitError) as error:
            return Wrote(Outcome.FAILED, why=f"nothing was written: {self._says(error)}")

    def unknown(self, lost: TransientError, error: Exception) -> Wrote:
        """Say that the answer to a write was lost, and why nobody can tell what came of it."""
        why = f"{self._shelf.provider} {lost}, and when it was looked up: {self._says(error)}"
        return Wrote(Outcome.UNKNOWN, why=why)

    def _says(self, error: Exception) -> str:
        """Return what an error says as a clause; a provider's own has no subject."""
        return f"{self._shelf.provider} {error}" if isinstance(error, ProviderError) else str(error)

    def _is_parked(self, agent: str) -> bool:
        """Tell whether an agent is left alone, by what this run saw of him, at first by what earlier ones did."""
        with self._lock:
            until = self._parked.get(agent)
        if until is None:
            left = self._shelf.rests(agent, READ_ONLY)
            until = self._keep(agent, left)
        return self._clock() < until

    def _park(self, agent: str) -> None:
        self._keep(agent, READ_ONLY)
        self._shelf.rest(agent, READ_ONLY)

    def _keep(self, agent: str, left: float) -> float:
        with self._lock:
            until = self._parked[agent] = self._clock() + left
        return until


def fit(kept: Kept) -> Event:
    """Return the event if it may be written. Raises UnfitError."""
    if kept.refusal:
        raise UnfitError(kept.refusal)
    return kept.event
