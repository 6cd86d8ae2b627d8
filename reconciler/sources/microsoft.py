"""Read Outlook calendars of Microsoft 365: rounds of calendarView/delta with what they leave out fetched beside them.

A round is read whole or not at all. Graph's removals are no evidence (they also mean "moved out of the window"), so
each that matters is looked up; a series of which anything was sent is read anew by its instances; the window of a round
never slides, so each calendar is read whole once a week and then compared with the plain view of the window. A mailbox
whose rounds do not end, or fail however small their pages are, is read by that view until another day.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
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
)
from reconciler.quota import forever
from reconciler.sources import Caps, PullRequest
from reconciler.sources import microsoft_claims as claims
from reconciler.sources.answers import (
    DeadCursorError,
    GoneError,
    ParkedError,
    PostponedError,
    ProviderError,
    RejectedError,
    RetryableError,
    TransientError,
)
from reconciler.sources.items import Item
from reconciler.sources.microsoft_events import Reading, Sort, event_of, is_whole, sort_of
from reconciler.sources.microsoft_faults import EMPTY
from reconciler.sources.microsoft_rounds import EndlessError, Round, follow
from reconciler.sources.microsoft_telling import Kept, Teller
from reconciler.sources.stagger import is_due
from reconciler.sources.told import attempted, series_in

if TYPE_CHECKING:
    from reconciler.sources.claims import Claim
    from reconciler.sources.microsoft_transport import Graph, Page, Target
    from reconciler.sources.tokens import Patience

VERSION = 1
"""Of what this module asks and makes of the answers; another one reads everything again."""

AHEAD = timedelta(days=14)
"""How far beyond the window a whole read reaches: the window moves on daily, whole reads come weekly."""

SIZES = (200, 50, 10)
"""Rows of a page. A mailbox whose pages fail with an empty 503 gets smaller ones, and keeps them
(https://github.com/microsoftgraph/msgraph-sdk-dotnet/issues/1568)."""

RETRY = timedelta(days=1)
"""How long a mailbox is read by its plain view before rounds are tried again."""

LOOK_UPS = 40
"""Events that one read asks for as evidence, and series for their details; the rest waits for the next."""

RACE = timedelta(minutes=5)
"""How far apart Microsoft's clock and ours, or two lists of one audit, may be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Token:
    """What a cursor holds: the link of the next round, the size of its pages, and since when it can't be followed."""

    link: str
    size: int = SIZES[0]
    viewed: str | None = None

    def to_text(self) -> str:
        return orjson.dumps({"link": self.link, "size": self.size, "viewed": self.viewed}).decode()

    @classmethod
    def from_text(cls, written: str) -> _Token | None:
        try:
            data = orjson.loads(written)
            viewed = data["viewed"]
            return cls(link=str(data["link"]), size=int(data["size"]), viewed=None if viewed is None else str(viewed))
        except (LookupError, TypeError, ValueError):
            return None

    def may_be_tried(self, now: datetime) -> bool:
        """Tell whether a round may be followed: always, but for a day after one that did not end."""
        return self.viewed is None or now - datetime.fromisoformat(self.viewed) >= RETRY


class MicrosoftSource:
    """The `microsoft` kind of source."""

    def __init__(self, *, name: str, graph: Graph, caps: Caps | None = None) -> None:
        self.name = name
        self.graph = graph
        self.caps = caps or Caps()

    def close(self) -> None:
        """Release connections."""
        self.graph.close()

    def scope(self, calendar: Calendar) -> str:
        """Return a fingerprint of what shapes the reading of `calendar`: whose it is and how it is asked."""
        agent, target = calendar.agent, self.graph.target(calendar)
        place = (target.mailbox, target.calendar_path)
        parts = (VERSION, self.name, place, agent.email, sorted(agent.aliases), agent.timezone, repr(self.caps))
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()

    def pull(self, request: PullRequest) -> Pull | Unobserved | Postponed:
        """Read the calendar, from its cursor where that is possible. Raises AccessError where nobody can be read."""
        return attempted(request.calendar, "Microsoft", lambda: self._pulled(request))

    def claimed(self, calendar: Calendar, claim: Claim, patience: Patience = forever) -> Event | Tombstone | None:
        """Return the live event of a claim. One request."""
        return claims.claimed(self.graph, calendar, claim, patience)

    def mark(self, calendar: Calendar, event: str, patience: Patience = forever) -> str | None:
        """Return the claim that an event or its series carries. One request."""
        return claims.mark(self.graph, calendar, series_in(event) or event, patience)

    def _pulled(self, request: PullRequest) -> Pull:
        token = self._usable(request)
        reading = _Read(self, request)
        if request.cursor is None or token is None:
            return reading.whole(SIZES[0])
        if not token.may_be_tried(request.now):
            return reading.viewed(token)
        if token.viewed is not None:
            return reading.whole(token.size)
        if is_due(request.calendar, request.cursor.full_at, request.now):
            return reading.resynced(token)
        try:
            return reading.changes(request.cursor, token)
        except (DeadCursorError, RejectedError):  # also a link that is none any more, since the endpoint is another
            return _Read(self, request).whole(token.size)

    def _usable(self, request: PullRequest) -> _Token | None:
        """Return the token of a cursor that still stands for what is asked; None where everything has to be read."""
        cursor = request.cursor
        if cursor is None or cursor.scope != self.scope(request.calendar) or not cursor.window.contains(request.window):
            return None
        return _Token.from_text(cursor.token)


class _Read:
    """One read of one calendar."""

    def __init__(self, source: MicrosoftSource, request: PullRequest) -> None:
        self.graph, self.request, self.caps = source.graph, request, source.caps
        self.scope = source.scope(request.calendar)
        self.target: Target = source.graph.target(request.calendar, request.patience)
        self.reading = Reading(calendar=request.calendar, caps=source.caps)
        self.reach = Window(request.window.start, request.window.end + AHEAD)
        self.pending: list[str] = []
        self.asked = 0

    # ---- the three ways to read -------------------------------------------------------------------------------------

    def changes(self, cursor: Cursor, token: _Token) -> Pull:
        """Read what changed since the last round."""
        self.reach = cursor.window
        try:
            found, size = self._round(lambda size: self.graph.follow(self.target, token.link, size), token.size)
        except EndlessError:
            return self.viewed(replace(token, viewed=self.request.now.isoformat()))
        teller = Teller(self.request, self.reading, self.reach)
        self._tell_changes(found, teller)
        made = Cursor(
            _Token(link=found.link or token.link, size=size).to_text(), cursor.window, cursor.scope, cursor.full_at
        )
        return teller.told.pull(
            self.request, Mode.INCREMENTAL, made, zone=None, pending=tuple(dict.fromkeys(self.pending))
        )

    def whole(self, size: int) -> Pull:
        """Read a new round from its beginning, then look for what is linked and was not shown."""
        try:
            found, size = self._round(lambda size: self.graph.delta(self.target, self.reach, size), size)
        except (DeadCursorError, EndlessError):
            # Rooms were seen whose rounds die on their second page (facts of Graph: sdk-javascript#99).
            return self.viewed(_Token(link="", size=size, viewed=self.request.now.isoformat()))
        if found.link is None:
            raise RetryableError("sent a round without a link to the next one")
        token = _Token(link=found.link, size=size)
        return self._told_whole(found, token)

    def viewed(self, token: _Token) -> Pull:
        """Read the plain view: nothing of it is incremental, and nothing of it is left out."""
        found = self._listed(self.reach, token.size)
        return self._told_whole(found, token)

    def _listed(self, window: Window, size: int) -> Round:
        """Return the plain view of `window`."""
        target, view = self.target, self.graph.view
        found, _ = self._round(
            lambda size: view(target, window, None, size), size, lambda size, link: view(target, window, link, size)
        )
        return found

    def resynced(self, token: _Token) -> Pull:
        """Read the calendar whole, and compare what the rounds led to with the plain view of the window."""
        pull = self.whole(token.size)
        try:
            return replace(pull, audit=self._audit(token))
        except (DeadCursorError, EndlessError, PostponedError, RejectedError, RetryableError):
            return pull  # there is no telling what the rounds had to show; they begin anew in any case

    def _round(
        self, first: Callable[[int], Page], size: int, more: Callable[[int, str], Page] | None = None
    ) -> tuple[Round, int]:
        """Follow a round with pages as large as the mailbox bears; EndlessError when it bears none."""
        for smaller in [one for one in SIZES if one <= size] or [SIZES[-1]]:
            try:
                return follow(first(smaller), partial(more or self._more, smaller), self.caps), smaller
            except TransientError as error:
                if error.reason != EMPTY:
                    raise
        raise EndlessError("fails however small its pages are")

    def _more(self, size: int, link: str) -> Page:
        return self.graph.follow(self.target, link, size)

    # ---- telling ----------------------------------------------------------------------------------------------------

    def _told_whole(self, found: Round, token: _Token) -> Pull:
        teller = Teller(self.request, self.reading, self.reach)
        self._unreadable(found, teller)
        unsure = self._singles(found, teller)
        for series, master in self._masters(found, teller).items():
            teller.series(series, master, found.occurrences.get(series, ()))
            if teller.lost(series):
                self._again(series, master, teller)
        self._look_up(unsure | set(teller.told.missing(self.request)), found, teller)
        cursor = Cursor(token.to_text(), self.reach, self.scope, self.request.now)
        return teller.told.pull(self.request, Mode.FULL, cursor, zone=None, pending=tuple(dict.fromkeys(self.pending)))

    def _tell_changes(self, found: Round, teller: Teller) -> None:
        self._unreadable(found, teller)
        unsure = self._singles(found, teller)
        series, events = self._removed(found)
        waiting = set(self.request.pending)
        again = waiting & self.request.rules.keys() if waiting else set()
        series |= found.touched | again
        for name in sorted(series):
            self._anew(name, found, teller)
        asked = (events | unsure | waiting) - series - teller.told.events.keys()
        self._look_up((name for name in asked if series_in(name) not in series), found, teller)

    def _singles(self, found: Round, teller: Teller) -> set[str]:
        """Tell the single events; return the ids that have to be asked for: removed or not, or sent in part only."""
        unsure = set(found.doubtful)
        for name, item in found.singles.items():
            if name not in unsure and is_whole(item):
                teller.single(item)
            else:
                unsure.add(name)
        return unsure

    def _unreadable(self, found: Round, teller: Teller) -> None:
        for name, why in found.unreadable.items():
            teller.told.quarantined.setdefault(name, why)

    def _removed(self, found: Round) -> tuple[set[str], set[str]]:
        """Return which series, and which single events, removals of this round are about; unknown ones are nobody's."""
        if not found.removed:
            return set(), set()
        rules = self.request.rules
        series = found.removed & rules.keys()
        events = {name for name in found.removed - series if name in self.request.known}
        left = found.removed - series - events
        for name in rules:
            kept = Kept.from_text(rules[name])
            if left and (kept is None or not left.isdisjoint(kept.ids.values())):
                series.add(name)
        return series, events

    # ---- series -----------------------------------------------------------------------------------------------------

    def _masters(self, found: Round, teller: Teller) -> dict[str, Item]:
        """Return the rows of all series of a round, those fetched that it left out; one that can't be had waits."""
        masters = {name: item for name, item in found.masters.items() if is_whole(item)}
        missing = self._in_turn(found.touched - masters.keys())
        for name, item in self._many(missing, LOOK_UPS).items():
            if isinstance(item, GoneError):
                self._orphaned(name, found, teller)
            elif isinstance(item, Exception):
                self._wait(name, teller)
            else:
                masters[name] = item
        return masters

    def _in_turn(self, names: Iterable[str]) -> list[str]:
        """Put these in order: what has waited longest comes first, or some would wait for ever."""
        places = {name: place for place, name in enumerate(self.request.pending)}
        return sorted(names, key=lambda name: (places.get(name, len(places)), name))

    def _wait(self, series: str, teller: Teller) -> None:
        """Leave a series as it was, and to the next run."""
        self.pending.append(series)
        teller.stand(series)

    def _anew(self, series: str, found: Round, teller: Teller) -> None:
        """Read one series by its instances; deleted, it takes its occurrences along; out of reach, it waits."""
        row = found.masters.get(series)
        try:
            master = row if row and is_whole(row) else self.graph.get(self.target, series)
        except GoneError:
            self._orphaned(series, found, teller)
        except (PostponedError, ProviderError):
            self._wait(series, teller)
        else:
            self._again(series, master, teller)

    def _again(self, series: str, master: Item, teller: Teller) -> None:
        """Read one series by its instances. That they are not there, though it is, is no evidence: it waits."""
        try:
            if sort_of(master) is Sort.SINGLE:  # it was a series until now
                teller.single(master)
            else:
                self._reread(series, master, teller)
        except (PostponedError, ProviderError, ValueError):
            self._wait(series, teller)

    def _reread(self, series: str, master: Item, teller: Teller) -> None:
        """Tell a series by its instances; an occurrence that is not among them is asked for by its own id."""
        teller.series(series, master, self.graph.instances(self.target, series, self.reach))
        self._one_by_one(series, teller.lost(series), master, teller)

    def _one_by_one(self, series: str, lost: dict[str, str], master: Item | None, teller: Teller) -> None:
        """Ask for occurrences by their own ids, which are kept until Graph says that they are gone."""
        if not lost:
            return
        answers = self._evidence(sorted(set(lost.values())))
        left, unknown = dict(lost), set()
        for event, own in lost.items():
            answer = answers[own]
            if isinstance(answer, GoneError):
                teller.gone(event, Absence.EXCLUDED)
                del left[event]
            elif isinstance(answer, PostponedError | RetryableError | ParkedError):
                unknown.add(event)
            elif not isinstance(answer, Exception):
                teller.alone(event, answer, master)
        teller.keep(series, lost.keys() - left.keys(), left, unknown)
        if unknown:
            self.pending.append(series)

    def _orphaned(self, series: str, found: Round, teller: Teller) -> None:
        """Tell what there is of a series that is not there itself: who is invited to one occurrence has no series.

        What the round showed is there, so its series' absence is no evidence; neither for what is known as one alone.
        """
        kept = Kept.from_text(self.request.rules.get(series))
        rows = [] if series in found.removed else found.occurrences.get(series, [])
        if series in found.masters:
            self._wait(series, teller)
        elif rows or (kept is not None and kept.is_alone):
            self._one_by_one(series, teller.orphans(series, rows), None, teller)
        else:
            teller.gone(series)

    # ---- evidence ---------------------------------------------------------------------------------------------------

    def _look_up(self, events: Iterable[str], found: Round, teller: Teller) -> None:
        """Ask for events one by one, of a series once. Deleted by Graph's own word is evidence, hidden is none."""
        subjects: dict[str, list[str]] = {}
        for event in self._in_turn(events):
            subjects.setdefault(series_in(event) or event, []).append(event)
        for subject, item in self._evidence(list(subjects)).items():
            if isinstance(item, GoneError):
                self._orphaned(subject, found, teller)
            elif isinstance(item, PostponedError | RetryableError | ParkedError):
                self.pending += subjects[subject]
            elif not isinstance(item, Exception):
                self._found(item, teller)

    def _found(self, item: Item, teller: Teller) -> None:
        one = Round()
        one.add(item)
        for single in one.singles.values():
            teller.single(single)
        for series in one.touched - teller.told.series:
            self._anew(series, one, teller)

    def _evidence(self, names: list[str]) -> dict[str, Item | ProviderError | PostponedError]:
        """Look these up, as many as are left to one read."""
        room = max(0, LOOK_UPS - self.asked)
        self.asked += min(room, len(names))
        return self._many(names, room)

    def _many(self, names: list[str], room: int) -> dict[str, Item | ProviderError | PostponedError]:
        """Look these up, as many as there is room for. The rest is put off, and comes first: it waits for longest."""
        found: dict[str, Item | ProviderError | PostponedError] = {
            name: PostponedError("it is looked up by the next run") for name in names[room:]
        }
        return found | (self.graph.get_many(self.target, names[:room]) if names[:room] else {})

    # ---- the weekly comparison --------------------------------------------------------------------------------------

    def _audit(self, token: _Token) -> Audit:
        window = self.request.window
        listed = self._listed(window, token.size)
        changed, _ = self._round(lambda size: self.graph.follow(self.target, token.link, size), token.size)
        spans, unclear = self._spans(listed)
        touched = unclear | changed.touched | changed.singles.keys() | changed.removed | set(changed.unreadable)
        series = changed.touched | self._removed(changed)[0]
        touched |= series | {name for name in spans if series_in(name) in series}
        return Audit(spans, frozenset(touched), window)

    def _spans(self, listed: Round) -> tuple[dict[str, Span], set[str]]:
        """Return the spans of a view by event id, and the ids of which it proves nothing: unreadable, just changed."""
        spans: dict[str, Span] = {}
        unclear = set(listed.unreadable)
        rows = [*listed.singles.items()]
        rows += [(series, item) for series, items in listed.occurrences.items() for item in items]
        for name, item in rows:
            try:
                event = event_of(item, self.reading)
            except ValueError:
                unclear.add(name)
                continue
            spans[event.id] = event.span
            if event.absence or (event.modified and event.modified >= self.request.now - RACE):
                unclear |= {event.id, name}
        return spans, unclear
