"""Read Google calendars: a token chain of masters, single events and exceptions, expanded here; whole, or not at all.

The chain is `singleEvents=false, showDeleted=true` from `timeMin` on, without `timeMax`: a token carries no window, so
deltas are bounded here (facts: developers.google.com/workspace/calendar/api/guides/sync). A whole read keeps what the
next two weeks may bring into the window; each calendar is read whole once a week, and then compared with what Google
itself makes of the window (`singleEvents=true`). An unchanged calendar costs one request.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import orjson

from reconciler.model import (
    Absence,
    Audit,
    Calendar,
    Cursor,
    Event,
    Mode,
    Postponed,
    Pull,
    Span,
    Tombstone,
    Unobserved,
    Window,
    rfc3339,
)
from reconciler.normalise import occurrence_key
from reconciler.quota import forever
from reconciler.sources import Caps, PullRequest
from reconciler.sources import google_claims as claims
from reconciler.sources.answers import (
    DeadCursorError,
    DeniedError,
    GoneError,
    MissingError,
    PostponedError,
    RejectedError,
    RetryableError,
)
from reconciler.sources.google_events import Reading, event_of, is_cancelled
from reconciler.sources.google_telling import Teller, UnknownSeriesError
from reconciler.sources.google_walk import Walked, walk
from reconciler.sources.stagger import is_due
from reconciler.sources.told import attempted, series_in

if TYPE_CHECKING:
    from reconciler.sources.claims import Claim
    from reconciler.sources.google_transport import GoogleCalendar, Json, Query
    from reconciler.sources.tokens import Patience

VERSION = 1
"""Of what this module asks and makes of the answers; another one reads everything again."""

AHEAD = timedelta(days=14)
"""How far beyond the window a whole read keeps events: the window moves on daily, whole reads come weekly."""

DATES = timedelta(hours=14)
"""What an all-day event may reach beyond its midnights in UTC."""

LOOK_UPS = 25
"""Single events that one read asks for, as evidence or to understand an exception; the rest waits for the next."""

RACE = timedelta(minutes=5)
"""How far apart Google's clock and ours, or two lists of one audit, may be."""


@dataclass(frozen=True, slots=True)
class _Token:
    """What a cursor holds: Google's sync token, and the access that was had with it."""

    sync: str
    role: str | None

    def to_text(self) -> str:
        return orjson.dumps({"role": self.role, "sync": self.sync}).decode()

    @classmethod
    def from_text(cls, written: str) -> _Token | None:
        try:
            data = orjson.loads(written)
        except orjson.JSONDecodeError:
            return None
        if not isinstance(data, dict) or not isinstance(data.get("sync"), str):
            return None
        role = data.get("role")
        return cls(data["sync"], role if isinstance(role, str) else None)


class GoogleSource:
    """The `google` kind of source."""

    def __init__(self, *, name: str, api: GoogleCalendar, caps: Caps | None = None) -> None:
        self.name = name
        self.api = api
        self.caps = caps or Caps()

    def close(self) -> None:
        """Release connections."""
        self.api.close()

    def scope(self, calendar: Calendar) -> str:
        """Return a fingerprint of what shapes the reading of `calendar`: where it is, whose it is, how it is asked."""
        agent = calendar.agent
        parts = (
            VERSION,
            self.name,
            self.api.target(calendar).calendar,
            agent.email,
            sorted(agent.aliases),
            agent.timezone,
            repr(self.caps),
            sorted(_CHAIN.items()),
        )
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()

    def pull(self, request: PullRequest) -> Pull | Unobserved | Postponed:
        """Read the calendar, from its cursor where that is possible. Raises AccessError where nobody can be read."""
        return attempted(request.calendar, "Google", lambda: self._pulled(request))

    # ---- what is ours -----------------------------------------------------------------------------------------------

    def claimed(self, calendar: Calendar, claim: Claim, patience: Patience = forever) -> Event | Tombstone | None:
        """Return the live event of a claim, or its tombstone. One request a generation."""
        return claims.claimed(self.api, calendar, claim, patience)

    def mark(self, calendar: Calendar, event: str, patience: Patience = forever) -> str | None:
        """Return the claim that an event or its series carries."""
        item = claims.got(self.api, calendar, series_in(event) or event, patience)
        return None if item is None else claims.mark_of(item)

    # ---- pulling ----------------------------------------------------------------------------------------------------

    def _pulled(self, request: PullRequest) -> Pull:
        token = self._usable(request)
        if request.cursor is None or token is None:
            return self._whole(request, _role_before(request))
        if is_due(request.calendar, request.cursor.full_at, request.now):
            return self._resynced(request, token)
        try:
            return self._changes(request, request.cursor, token)
        except (DeadCursorError, UnknownSeriesError):
            return self._whole(request, token.role)

    def _usable(self, request: PullRequest) -> _Token | None:
        """Return the token of a cursor that still stands for what is asked; None where everything has to be read."""
        cursor = request.cursor
        if cursor is None or cursor.scope != self.scope(request.calendar) or not cursor.window.contains(request.window):
            return None
        return _Token.from_text(cursor.token)

    # ---- incremental ------------------------------------------------------------------------------------------------

    def _changes(self, request: PullRequest, cursor: Cursor, token: _Token) -> Pull:
        walked = self._walk(request, {**_CHAIN, "syncToken": token.sync}, token.role)
        teller = Teller(request, cursor.window, whole=False)
        teller.tell(walked)
        asked = [event for event in request.pending if event in request.linked]
        pending = self._look_up(request, teller, walked.reading, asked)
        role = walked.role or token.role
        chained = _Token(walked.token or token.sync, role).to_text()
        made = Cursor(chained, cursor.window, cursor.scope, cursor.full_at)
        return teller.told.pull(request, Mode.INCREMENTAL, made, zone=walked.reading.zone, pending=pending)

    # ---- whole ------------------------------------------------------------------------------------------------------

    def _whole(self, request: PullRequest, role: str | None) -> Pull:
        """Read everything from `timeMin` on, then look for what is linked and was not shown."""
        reach = Window(request.window.start, request.window.end + AHEAD)
        walked = self._walk(request, {**_CHAIN, "timeMin": rfc3339(reach.start - DATES)}, role)
        if walked.token is None:
            raise RetryableError("sent a list without a token for the next one")
        self._fetch_masters(request, walked)
        teller = Teller(request, reach, whole=True)
        teller.tell(walked)
        pending = self._look_up(request, teller, walked.reading, teller.told.missing(request))
        cursor = Cursor(_Token(walked.token, walked.role).to_text(), reach, self.scope(request.calendar), request.now)
        return teller.told.pull(request, Mode.FULL, cursor, zone=walked.reading.zone, pending=pending)

    def _fetch_masters(self, request: PullRequest, walked: Walked) -> None:
        """Fetch the series of exceptions that came without it; one that can't be had leaves them as they are."""
        told = walked.series.keys() | walked.cancelled.keys()
        orphans = (walked.exceptions.keys() | _known_gone(walked, request)) - told
        for series in sorted(orphans)[:LOOK_UPS]:
            try:
                item = self._get(request, series)
            except (*_NOT_SHOWN, GoneError):
                continue
            if not is_cancelled(item):
                walked.add(item)

    # ---- evidence ---------------------------------------------------------------------------------------------------

    def _look_up(self, request: PullRequest, teller: Teller, reading: Reading, events: list[str]) -> tuple[str, ...]:
        """Ask for these events one by one, of a series once; return those that did not fit into this read.

        Deleted by the provider's own word is evidence; not found is none, it may be hidden (DESIGN 5).
        """
        subjects: dict[str, list[str]] = {}
        for event in events:
            subjects.setdefault(series_in(event) or event, []).append(event)
        names = list(subjects)
        for place, subject in enumerate(names):
            if place >= LOOK_UPS or not self._found(request, teller, reading, subject):
                # What was asked for in vain comes last next time: it must not keep the others from their turn.
                left = names[place:] if place >= LOOK_UPS else [*names[place + 1 :], subject]
                return tuple(event for each in left for event in subjects[each])
        return ()

    def _found(self, request: PullRequest, teller: Teller, reading: Reading, subject: str) -> bool:
        """Look one up and tell what it is; False when it has to be asked again another time."""
        try:
            item = self._get(request, subject)
        except _NOT_SHOWN:
            return True
        except GoneError:
            teller.told.tombstones[subject] = Tombstone(subject, Absence.GONE)
            return True
        except (PostponedError, RetryableError):
            return False
        walked = Walked(reading)
        walked.add(item)
        try:
            teller.tell(walked)
        except UnknownSeriesError:
            return True  # it is there; what of it, the next whole read tells
        if is_cancelled(item) and subject in teller.told.tombstones:
            teller.told.tombstones[subject] = replace(teller.told.tombstones[subject], absence=Absence.GONE)
        return True

    # ---- the weekly comparison --------------------------------------------------------------------------------------

    def _resynced(self, request: PullRequest, token: _Token) -> Pull:
        """Read the calendar whole, and compare what the chain led to with what Google makes of the window itself."""
        pull = self._whole(request, token.role)
        try:
            return replace(pull, audit=self._audit(request, token))
        except (DeadCursorError, PostponedError, RetryableError):
            return pull  # there is no telling what the chain had to show; it begins anew in any case

    def _audit(self, request: PullRequest, token: _Token) -> Audit | None:
        window = request.window
        bounds = {"timeMin": rfc3339(window.start), "timeMax": rfc3339(window.end)}
        listed = self._walk(request, {**_AUDIT, **bounds}, token.role)
        changed = self._walk(request, {**_CHAIN, "syncToken": token.sync}, token.role)  # last: it covers the lists
        if "" in listed.unreadable or "" in changed.unreadable:
            return None  # something was left out: a list that is not whole proves nothing
        spans, unclear = _spans(listed, request)
        anew = changed.series.keys() | changed.cancelled.keys()
        touched = _names(changed) | unclear | {name for name in spans if series_in(name) in anew}
        return Audit(spans, frozenset(touched), window)

    # ---- requests ---------------------------------------------------------------------------------------------------

    def _walk(self, request: PullRequest, query: Query, role: str | None) -> Walked:
        target = self.api.target(request.calendar, request.patience)

        def fetch(token: str | None) -> Json:
            return self.api.list(target, {**query, "pageToken": token} if token else query)

        return walk(fetch, Reading(calendar=request.calendar, caps=self.caps), role)

    def _get(self, request: PullRequest, event: str) -> Json:
        return self.api.get(self.api.target(request.calendar, request.patience), event)


_CHAIN: Query = {"singleEvents": False, "showDeleted": True, "maxResults": 250}
"""What every list of a token chain asks, the first and all that follow: another question is another chain."""

_AUDIT: Query = {"singleEvents": True, "showDeleted": False, "maxResults": 250}

_NOT_SHOWN = (MissingError, DeniedError, RejectedError)
"""What an answer about a single event may be that says nothing about it, nor about the calendar that was just read."""


def _role_before(request: PullRequest) -> str | None:
    """Return with what access the calendar was read last, though its cursor may be void by now."""
    token = _Token.from_text(request.last.token) if request.last else None
    return token.role if token else None


def _known_gone(walked: Walked, request: PullRequest) -> set[str]:
    """Return the series of cancelled occurrences that were known: their rule tells whether that is evidence."""
    return {
        series
        for series, originals in walked.gone.items()
        if any(occurrence_key(series, original) in request.known for original in originals)
    }


def _spans(listed: Walked, request: PullRequest) -> tuple[dict[str, Span], set[str]]:
    """Return the spans of a list by event id, and the ids of which it proves nothing: unreadable, or just changed."""
    spans: dict[str, Span] = {}
    unclear = set(listed.unreadable)
    items = (
        *listed.singles.items(),
        *((name, one) for name, each in listed.exceptions.items() for one in each.values()),
    )
    for name, item in items:
        try:
            event = event_of(item, listed.reading)
        except ValueError:
            unclear.add(name)
            continue
        spans[event.id] = event.span
        if event.modified is not None and event.modified >= request.now - RACE:
            unclear |= {event.id, name}
    return spans, unclear


def _names(changed: Walked) -> set[str]:
    """Return the names of all that a list of changes is about: events, series, occurrences."""
    exceptions = {
        occurrence_key(series, original)
        for each in (changed.exceptions, changed.gone)
        for series, originals in each.items()
        for original in originals
    }
    return {*changed.singles, *changed.series, *changed.cancelled, *changed.unreadable} | exceptions
