"""Pairs that agree: counted, and handed on as links with the base that both sides agreed on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from reconciler import findings, normalise
from reconciler.model import Fields, Link, Pair, Record, Seen, Step, Tier

if TYPE_CHECKING:
    from reconciler.judgement import Judged, Judgement

Agreed = tuple[Link, bytes | None, bytes | None]
"""A link to be saved, with the digests of both sides (None keeps it unequal until it is settled)."""

BATCH = 1000
"""Links that are handed on at once."""


class Agreement:
    """Count pairs that agree, and hand their links on in batches: on a first run there may be a million."""

    def __init__(
        self,
        agree: Callable[[Sequence[Agreed]], None],
        found: Judgement,
        compare: tuple[str, ...],
        ours: str | None = None,
    ) -> None:
        self._agree = agree
        self._found = found
        self._compare = compare
        self._ours = ours  # how the CRM calls us as a record's writer
        self._waiting: list[Agreed] = []
        self.claimed: set[str] = set()  # records that an event without a link was given
        self.spoken_for: set[str] = set()  # records that keep the event their link leads to
        self.places: set[tuple[int, str]] = set()  # events that were judged with a link

    def is_claimed(self, record: Record | None) -> bool:
        """Tell whether a record has an event already."""
        return record is not None and (record.id in self.claimed or record.id in self.spoken_for)

    def take(self, one: Judged) -> bool:
        """Take a pair that needs nothing; False if it needs something."""
        if one.verdict.step not in {Step.NOTHING, Step.REFRESH_BASE, Step.FORGET}:
            return False
        self._found.tally(one, findings.QUIET)
        if one.verdict.step is Step.REFRESH_BASE or _moved_copy(one.pair):
            self._keep(one.pair)
        return True

    def _keep(self, pair: Pair) -> None:
        if pair.seen is None or pair.record is None or pair.calendar is None:
            return
        self._waiting.append(agreed(pair, pair.record, self._compare))
        if pair.link is None:
            self._found.linked[pair.calendar.agent.email] += 1
            self._hear(pair.seen, pair.record, pair.calendar_id or 0)
        if len(self._waiting) >= BATCH:
            self.flush()

    def _hear(self, seen: Seen, record: Record, calendar: int) -> None:
        """Note when a booking was made that reached the other side without us: what else writes there is alive."""
        is_ours = seen.claim is not None or (self._ours is not None and record.origin == self._ours)
        heard = self._found.heard.get(calendar)
        if seen.modified is not None and not is_ours and (heard is None or heard < seen.modified):
            self._found.heard[calendar] = seen.modified

    def flush(self) -> None:
        if self._waiting:
            self._agree(self._waiting)
        self._waiting = []


def _moved_copy(pair: Pair) -> bool:
    """Tell whether another copy of the meeting now speaks for it than the one the link hangs on."""
    if pair.link is None or pair.seen is None or pair.record is None:
        return False
    return (pair.link.calendar, pair.link.event) != (pair.calendar_id, pair.seen.event)


def agreed(pair: Pair, record: Record, compared: tuple[str, ...], unsettled: Iterable[str] = ()) -> Agreed:
    """Return the link that says both sides agree now, but for the `unsettled` fields, which keep their old base.

    The base holds compared fields alone: one that is compared later was never agreed on.
    """
    seen, old = pair.seen, pair.link
    if seen is None or pair.calendar_id is None:
        raise ValueError("only an observed event can be agreed on")
    kept = frozenset(unsettled)
    link = Link(
        crm_id=record.id,
        calendar=pair.calendar_id,
        event=seen.event,
        meeting=seen.meeting,
        tier=old.tier if old else pair.tier or Tier.KEY,
        base=_base(seen.fields, old.base if old else None, compared, kept),
        base_crm=_base(record.fields, old.base_crm if old else None, compared, kept),
        version=record.version,
    )
    if kept:
        return link, None, None
    return link, seen.digest, normalise.digest(record.fields, compared)


def _base(now: Fields, before: Fields | None, compared: tuple[str, ...], kept: frozenset[str]) -> Fields:
    """Return one side's base: what it says now, and what it said before of the fields that are not settled."""
    settled = {name: now[name] for name in compared if name in now and name not in kept}
    return settled | {name: value for name, value in (before or {}).items() if name in kept}
