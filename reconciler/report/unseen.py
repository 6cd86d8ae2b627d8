"""What was not seen, which is read before all else: calendars that could not be read, and the CRM.

Pure. A gap is shown for as long as it lasts; who accepted it is said with it, and only then it alarms nobody.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import nsmallest
from typing import TYPE_CHECKING

from reconciler.findings import finding_key
from reconciler.model import Kind
from reconciler.report.report import Unseen
from reconciler.report.words import bounded, lasting, moment, plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.report.look import Look
    from reconciler.report.recorded import Place, Recorded, Tracked, Watched

WHY = 300
"""Characters of a reason that are shown."""

_UNREAD = "it was not read yet: what it holds is not known"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """One thing that was not seen. `accepted` says by whose word that is known, `told_from` since when people are told.

    That is later than `since` where somebody had accepted it.
    """

    name: str
    source: str = ""
    why: str
    since: datetime | None
    strikes: int = 0
    next_try: datetime | None = None
    agent: str | None = None
    accepted: str = ""
    cause: str = ""
    told_from: datetime | None = None


@dataclass(slots=True)
class Gaps:
    """What was not seen: calendars by their own word, all else by the findings that say so.

    `over` counts gaps that were closed in the period, `open` has the others; `blind` are calendars by the keys of the
    findings that say the same of them, and `said` by whose word those are known, what is their cause, and since
    when people are told of them.
    """

    recorded: Recorded
    blind: dict[str, Watched] = field(default_factory=dict)
    said: dict[str, tuple[str, str, datetime | None]] = field(default_factory=dict)
    open: list[Gap] = field(default_factory=list)
    over: int = 0

    @classmethod
    def of(cls, recorded: Recorded) -> Gaps:
        """Begin with the calendars that are blind at the end of the period."""
        blind = {_key(one.place): one for one in recorded.calendars if _is_blind(one, recorded.until)}
        return cls(recorded, blind)

    def add(self, tracked: Tracked, cause: str) -> None:
        """Take in a finding that says that something was not seen."""
        finding, until = tracked.finding, self.recorded.until
        if tracked.resolved_at is not None and tracked.resolved_at <= until:
            self.over += tracked.resolved_at > self.recorded.since
        elif finding.key in self.blind:
            self.said[finding.key] = _word(tracked), cause, tracked.settled_at
        else:
            name = finding.agent or "the CRM"
            self.open.append(
                Gap(
                    name=name,
                    why=finding.why,
                    since=tracked.first_seen,
                    agent=finding.agent,
                    accepted=_word(tracked),
                    cause=cause,
                    told_from=tracked.settled_at,
                )
            )

    def all(self) -> Iterator[Gap]:
        """Walk through all that was not seen, in no order."""
        yield from self.open
        for key, one in self.blind.items():
            accepted, cause, told_from = self.said.get(key, ("", "", None))
            yield Gap(
                name=_label(one.place),
                source=one.place.source,
                why=one.why or (_UNREAD if one.blind_since is None else "no reason given"),
                since=one.blind_since,
                strikes=one.strikes,
                next_try=one.next_try,
                agent=one.place.agent,
                accepted=accepted,
                cause=cause,
                told_from=told_from,
            )


def _is_blind(one: Watched, until: datetime) -> bool:
    if one.blind_since is None:
        return one.seen_at is None
    return one.blind_since <= until


def _key(place: Place) -> str:
    """Return the key of the finding that says the same (`groups.gap_key`)."""
    return finding_key(Kind.COVERAGE_GAP, f"{place.source}:{place.agent}:{place.name}")


def _label(place: Place) -> str:
    """Name a calendar as everywhere (`model.Calendar.label`)."""
    return place.agent if place.name in {"primary", place.agent} else f"{place.agent} ({place.name})"


def _word(tracked: Tracked) -> str:
    word = tracked.accepted
    return f"accepted by {bounded(word.by, 80)} until {word.last_day}" if word else ""


# ---- as it is read --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Coverage:
    """What a report says of all that was not seen. `alarming` counts what nobody accepted, `crm` is why the CRM."""

    listed: tuple[Unseen, ...]
    more: str
    count: int
    new: int
    alarming: int
    calendars: int
    crm: str
    over: int


def coverage(gaps: Gaps, look: Look, most: int, known: frozenset[str] | None) -> Coverage:
    """Say what was not seen, the CRM first, then what is new.

    With `known`, causes that were told before, only what is new, accepted by nobody and of none of these counts.
    """
    recorded = gaps.recorded
    every = [gap for gap in gaps.all() if known is None or _is_urgent(gap, recorded, known)]
    listed = nsmallest(most, every, key=lambda gap: _order(gap, recorded))
    rest = len(every) - len(listed)
    return Coverage(
        listed=tuple(_told(gap, recorded, look) for gap in listed),
        more=f"{rest:,} more: `reconcile status {look.job}` lists every calendar" if rest else "",
        count=len(every),
        new=sum(_is_new(gap, recorded) for gap in every),
        alarming=sum(not gap.accepted for gap in every),
        calendars=len(gaps.blind),
        crm=next((bounded(gap.why, 500) for gap in every if gap.agent is None), ""),
        over=gaps.over,
    )


def _is_new(gap: Gap, recorded: Recorded) -> bool:
    told_from = gap.told_from or gap.since
    return told_from is not None and recorded.since < told_from <= recorded.until


def _is_urgent(gap: Gap, recorded: Recorded, known: frozenset[str]) -> bool:
    return _is_new(gap, recorded) and not gap.accepted and gap.cause not in known


def _order(gap: Gap, recorded: Recorded) -> tuple[bool, bool, bool, float, str]:
    since = gap.since.timestamp() if gap.since else 0.0
    return gap.agent is not None, bool(gap.accepted), not _is_new(gap, recorded), since, gap.name


def _told(gap: Gap, recorded: Recorded, look: Look) -> Unseen:
    zone = look.zone_for(gap.agent)
    again = gap.next_try is not None and gap.next_try > recorded.made_at
    return Unseen(
        name=bounded(gap.name),
        source=bounded(gap.source),
        why="; ".join(part for part in (bounded(gap.why, WHY), gap.accepted) if part),
        since=_since(gap, recorded, look),
        is_new=_is_new(gap, recorded),
        next_try=f"next try {moment(gap.next_try, zone)}" if gap.next_try and again else "",
    )


def _since(gap: Gap, recorded: Recorded, look: Look) -> str:
    if gap.since is None:
        return ""
    tries = f", {plural(gap.strikes, 'try')}" if gap.strikes else ""
    lasted = lasting(recorded.until - gap.since)
    return f"since {moment(gap.since, look.zone_for(gap.agent))}, {lasted}{tries}"


def coverage_said(recorded: Recorded, found: Coverage) -> str:
    """Say how much was seen: calendars, and what the last run compared of all of the job."""
    every = len(recorded.calendars)
    seen = f"{every - found.calendars:,} of {plural(every, 'calendar')} seen" if every else "no calendar is known"
    counts = recorded.last.counts if recorded.last and not recorded.part else {}
    sides = (("events", "event"), ("records", "CRM record"))
    compared = [plural(counts[name], noun) for name, noun in sides if name in counts]
    return "; ".join([seen, *([", ".join(compared)] if compared else [])])
