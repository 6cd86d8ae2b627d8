"""Writing to calendars: one event a delta, in the version it was decided on, and what both sides agree on after it.

What was written goes into the mirror at once, with the link that a later read would need: the next run has both sides
even before the provider shows them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler import normalise
from reconciler.agreement import agreed
from reconciler.errors import AccessError
from reconciler.hand import Came, is_untouched
from reconciler.model import (
    WRITABLE,
    Absence,
    Action,
    Event,
    Fields,
    Link,
    Outcome,
    Pair,
    Record,
    Seen,
    Tier,
    Tombstone,
)
from reconciler.sources import Wrote
from reconciler.sources.answers import PostponedError, ProviderError
from reconciler.sources.claims import claim
from reconciler.store import compare, ledger
from reconciler.store import mirror as rows

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.judgement import Proposal
    from reconciler.model import Delta
    from reconciler.normalise import Terms
    from reconciler.sources import CalendarWriter
    from reconciler.store.compare import Scope
    from reconciler.store.database import Connection
    from reconciler.store.journal import Intent
    from reconciler.store.state import State, Watched

_SOFT = frozenset({"title", "location"})
"""Fields that a calendar may keep in its own spelling; anything else it kept differently was not kept."""

_WRITTEN = frozenset({Outcome.DONE, Outcome.ALREADY})
_STRANGE = "the job names this calendar no more, or writes to none of its source's"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calendars:
    """The calendars of one source, and how their events become rows. `make` is None where nothing may be written."""

    name: str
    watched: Mapping[int, Watched]
    terms: Terms
    make: Callable[[], CalendarWriter] | None


class CalendarHand:
    """Writes the events of one source's calendars. The writer is made when there is something to write."""

    def __init__(self, state: State, calendars: Calendars, scope: Scope, clock: Callable[[], datetime]) -> None:
        self._state = state
        self._calendars = calendars
        self._scope = scope
        self._clock = clock
        self._made: CalendarWriter | None = None

    @property
    def name(self) -> str:
        """Say who is written to."""
        return self._calendars.name

    def close(self) -> None:
        """Release connections."""
        if self._made is not None:
            self._made.close()

    def _writer(self) -> CalendarWriter | None:
        if self._made is None and self._calendars.make is not None:
            self._made = self._calendars.make()
        return self._made

    # ---- a delta

    def send(self, delta: Delta) -> Came:
        """Send one delta, once, and verify what was kept."""
        watched, writer = self._calendars.watched.get(delta.calendar_id or 0), self._writer()
        if watched is None or writer is None:
            return Came(outcome=Outcome.FAILED, why=f"nothing was written: {_STRANGE}")
        wrote = self._verified(delta, self._written(delta, watched, writer), watched)
        kept = wrote.event
        known = kept if kept is not None and wrote.outcome in _WRITTEN else None
        return Came(
            outcome=wrote.outcome,
            why=wrote.why,
            kept=kept,
            crm_id=delta.crm_id,
            event=known.id if known else None,
            version=known.etag if known else None,
        )

    def _written(self, delta: Delta, watched: Watched, writer: CalendarWriter) -> Wrote:
        calendar, event, version = watched.calendar, delta.event or "", delta.version or ""
        match delta.action:
            case Action.CREATE:
                ours = claim(self._state.name, calendar, delta.crm_id or "")
                return writer.create(calendar, ours, delta.want)
            case Action.UPDATE:
                return writer.update(calendar, event, delta.want, version=version)
            case Action.CANCEL:
                return writer.cancel(calendar, event, version=version)
            case Action.DELETE | Action.LINK:
                return Wrote(Outcome.FAILED, why="nothing was written: an event is removed in one way only")

    def _verified(self, delta: Delta, wrote: Wrote, watched: Watched) -> Wrote:
        """Compare what the calendar kept with what was meant: an hour's difference is a failure."""
        if wrote.outcome is not Outcome.DONE or wrote.event is None or delta.action is Action.CANCEL:
            return wrote
        wrong = _other(self._row(wrote.event, watched), delta.want)
        if not wrong:
            return wrote
        why = f"{self.name} accepted the write but kept another {', '.join(wrong)}"
        return replace(wrote, outcome=Outcome.FAILED, why=why)

    def agree(self, connection: Connection, delta: Delta, proposal: Proposal, came: Came) -> Came:
        """Write down the event as it is kept, and the base that both sides agree on since."""
        watched = self._calendars.watched.get(delta.calendar_id or 0)
        if watched is None or came.outcome not in _WRITTEN:
            return came
        if delta.action is Action.CANCEL:
            self._bury(connection, watched, delta.event or "")
        elif came.kept is not None:  # else the next read will show it, and its claim whose it is
            self._link(connection, delta, proposal.pair, self._keep(connection, watched, came.kept), came)
        return came

    def _link(self, connection: Connection, delta: Delta, pair: Pair, row: Seen, came: Came) -> None:
        record = self._record(connection, delta.crm_id) or pair.record
        if record is None:
            return
        known = compare.one_link(connection, self._state, self._scope, crm_id=record.id)
        pair = replace(
            pair,
            seen=row,
            calendar_id=delta.calendar_id,
            link=known.link if known else None,  # as it is by now: the record may have been written just before
            tier=Tier.CLAIM if delta.action is Action.CREATE else pair.tier,
        )
        compared = self._calendars.terms.compare
        apart = normalise.differing(row.fields, record.fields, compared)
        ledger.save_links(connection, self._state, [agreed(pair, record, compared, _still_open(apart, delta, came))])

    def _record(self, connection: Connection, crm_id: str | None) -> Record | None:
        found = compare.one_record(connection, self._state, crm_id) if crm_id else None
        return found.record() if found else None

    # ---- rows

    def _row(self, event: Event, watched: Watched, *, withheld: bool = False) -> Seen:
        terms, zone = self._calendars.terms, watched.zone
        row = normalise.seen(event, watched.calendar, terms, linked=True, zone=zone, withheld=withheld)
        return replace(row, first_seen=self._clock())

    def _keep(self, connection: Connection, watched: Watched, event: Event) -> Seen:
        before = rows.one(connection, self._state, watched.id, event.id)
        row = self._row(event, watched, withheld=before is not None and before.withheld)
        rows.put(connection, self._state, watched.id, row)
        return row

    def _bury(self, connection: Connection, watched: Watched, event: str) -> None:
        """Note that an event is gone, and by whom: that it is says nothing about its record, should that come back."""
        ledger.mark_removed(connection, self._state, watched.id, event)
        row = rows.one(connection, self._state, watched.id, event)
        if row is not None and row.absence is None:
            now = self._clock()
            gone = replace(row, absence=Absence.CANCELLED, absent_since=now, first_seen=now, etag="")
            rows.put(connection, self._state, watched.id, gone)

    # ---- what a run that died left open

    def look(self, intent: Intent) -> Came:
        """Tell from how an event is now whether a write that nobody confirmed had reached it."""
        watched, writer = self._calendars.watched.get(intent.calendar or 0), self._writer()
        if watched is None or writer is None:
            return Came(outcome=Outcome.UNKNOWN, why=f"it can't be looked up: {_STRANGE}")
        ours = claim(self._state.name, watched.calendar, intent.crm_id or "")
        named = ours if intent.action is Action.CREATE else intent.event or ""
        try:
            found = writer.find(watched.calendar, named)
        except (ProviderError, PostponedError, AccessError) as error:
            return Came(outcome=Outcome.UNKNOWN, why=f"it could not be looked up: {error}")
        return self._became(intent, found, watched)

    def _became(self, intent: Intent, found: Event | Tombstone | None, watched: Watched) -> Came:
        match intent.action, found:
            case (Action.CANCEL, None):
                return Came(outcome=Outcome.UNKNOWN, why="it is not shown, which does not say that it is gone")
            case (Action.CANCEL, Tombstone()):
                return _was_written(intent, None)
            case (Action.CREATE, Event() as event):
                return _was_written(intent, event)
            case (Action.UPDATE, Event() as event) if _is_written(intent, self._row(event, watched)):
                return _was_written(intent, event)
            case _:
                why = "looked up after an interruption: it had not been written, or was changed since"
                return Came(outcome=Outcome.FAILED, why=why)

    def agree_later(self, connection: Connection, intent: Intent, came: Came) -> None:
        """Write down the event that was found, and as much of the base as the write itself says."""
        watched = self._calendars.watched.get(intent.calendar or 0)
        if watched is None:
            return
        if intent.action is Action.CANCEL:
            self._bury(connection, watched, intent.event or "")
        elif came.kept is not None and intent.crm_id:
            row = self._keep(connection, watched, came.kept)
            link = self._link_of(connection, intent, watched, row)
            ledger.save_links(connection, self._state, [(link, None, None)])

    def _link_of(self, connection: Connection, intent: Intent, watched: Watched, row: Seen) -> Link:
        """Return the link of a record as the write left it; open until both sides are compared."""
        crm_id = intent.crm_id or ""
        known = compare.one_link(connection, self._state, self._scope, crm_id=crm_id)
        record = self._record(connection, crm_id)
        base: Fields = known.link.base or {} if known else {}
        base_crm: Fields = known.link.base_crm or {} if known else record.fields if record else {}
        names = self._calendars.terms.compare if intent.action is Action.CREATE else tuple(intent.after)
        return Link(
            crm_id=crm_id,
            calendar=watched.id,
            event=row.event,
            meeting=row.meeting,
            tier=known.link.tier if known else Tier.CLAIM,
            base={**base, **{name: row.fields[name] for name in names if name in row.fields}},
            base_crm={name: value for name, value in base_crm.items() if name in self._calendars.terms.compare}
            | dict(intent.after),
            version=known.link.version if known else record.version if record else None,
        )


def _was_written(intent: Intent, event: Event | None) -> Came:
    return Came(
        outcome=Outcome.DONE,
        why="looked up after an interruption: it had been written",
        kept=event,
        crm_id=intent.crm_id,
        event=event.id if event else intent.event,
        version=event.etag if event else None,
    )


def _is_written(intent: Intent, row: Seen) -> bool:
    return not _other(row, intent.after) and not is_untouched(intent, row.fields)


def _other(row: Seen, want: Fields) -> list[str]:
    """Return in what an event says something else than was meant, but for its spelling."""
    return [
        name
        for name, value in want.items()
        if name not in _SOFT and name in row.fields and not normalise.same(name, row.fields[name], value)
    ]


def _still_open(apart: Iterable[str], delta: Delta, came: Came) -> list[str]:
    """Return what was not agreed on by a write. What a new event can't be given is agreed to be missing in it."""
    if delta.action is not Action.CREATE:
        return [name for name in apart if name not in delta.want]
    return [name for name in apart if name in WRITABLE] if came.outcome is Outcome.ALREADY else []
