"""One finding as one row: whose, with whom, when on both sides, what differs, why, and what becomes of it.

Pure. Every text is inert and bounded, every time is said in the zone of its agent and in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model import Outcome, Side
from reconciler.report.finding import ADVICE, MATCHED, changes_of, fate_of
from reconciler.report.links import calendar_link, crm_link
from reconciler.report.report import Row, Standing
from reconciler.report.words import bounded, canonical, lasting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from reconciler.model import Fields, Value
    from reconciler.report.finding import Changed
    from reconciler.report.look import Look
    from reconciler.report.recorded import Recorded, Taken, Tracked

WHY = 300
"""Characters of a reason that are shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """What all rows of a report have in common. Plans are refused since the run of `refused_at`, if they are."""

    recorded: Recorded
    look: Look
    refused_at: datetime | None = None


def row(tracked: Tracked, standing: Standing, cause: str, telling: Telling) -> Row:
    """Tell one finding."""
    recorded, look = telling.recorded, telling.look
    finding, zone = tracked.finding, look.zone_for(tracked.finding.agent)
    calendar, crm = _sides(tracked)
    place = tracked.place
    event, record = bounded(finding.event or "", 200), bounded(finding.crm_id or "", 200)
    return Row(
        key=finding.key,
        standing=standing,
        is_new=is_new(tracked, recorded),
        kind=finding.kind,
        severity=finding.severity,
        agent=bounded(finding.agent or ""),
        office=bounded(recorded.office_of.get(finding.agent or "", "")),
        client=_client(calendar, crm),
        title=_first(calendar, crm, "title"),
        calendar_time=_said(calendar, zone),
        crm_time=_said(crm, zone),
        calendar_start=_raw(calendar, "start"),
        calendar_end=_raw(calendar, "end"),
        crm_start=_raw(crm, "start"),
        crm_end=_raw(crm, "end"),
        changes=tuple(_changes(tracked, zone)),
        matched=MATCHED[finding.tier] if finding.tier else "",
        why=bounded(finding.why, WHY),
        fate=_fate(tracked, standing, telling),
        source=bounded(place.source) if place else "",
        event=event,
        crm_id=record,
        calendar_link=_event_link(tracked, look),
        crm_link=crm_link(look.link, finding.crm_id),
        first_seen=tracked.first_seen,
        last_seen=tracked.last_seen,
        resolved_at=tracked.resolved_at,
        age=lasting(_end(tracked, recorded.until) - tracked.first_seen),
        sightings=tracked.sightings,
        cause=cause,
    )


def _event_link(tracked: Tracked, look: Look) -> str:
    place, event = tracked.place, tracked.finding.event
    return calendar_link(place, event, look.endpoints.get(place.source)) if place and event else ""


def is_new(tracked: Tracked, recorded: Recorded) -> bool:
    """Tell whether people are told of a finding since this period: it may have been pending before."""
    return recorded.since < tracked.told_from <= recorded.until


def _end(tracked: Tracked, until: datetime) -> datetime:
    return until if tracked.resolved_at is None else min(tracked.resolved_at, until)


# ---- both sides -----------------------------------------------------------------------------------------------------


def _sides(tracked: Tracked) -> tuple[Fields, Fields]:
    """Return what the calendar and the CRM held: as was noted, else as far as what differs tells."""
    finding = tracked.finding
    if finding.has:
        return finding.has.get(Side.CALENDAR, {}), finding.has.get(Side.CRM, {})
    to_calendar = any(taken.side is Side.CALENDAR for taken in tracked.taken)
    ours, theirs = (0, 1) if to_calendar else (1, 0)
    calendar = {name: change[ours] for name, change in finding.fields.items()}
    crm = {name: change[theirs] for name, change in finding.fields.items()}
    (calendar if finding.event else crm).setdefault("start", finding.start)
    return calendar, crm


def _first(calendar: Fields, crm: Fields, name: str) -> str:
    """Return the text of whichever side has one, the calendar's first."""
    return next((bounded(text) for side in (calendar, crm) if isinstance(text := side.get(name), str) and text), "")


def _client(calendar: Fields, crm: Fields) -> str:
    """Name the first client, and how many there are besides."""
    for side in (calendar, crm):
        people = _people(side.get("contact"))
        if people:
            more = f" and {len(people) - 1:,} more" if len(people) > 1 else ""
            return f"{bounded(people[0])}{more}"
    return ""


def _people(value: Value) -> tuple[str, ...]:
    if isinstance(value, tuple):
        return tuple(person for person in value if person)
    return (value,) if isinstance(value, str) and value else ()


def _raw(side: Fields, name: str) -> str:
    """Return a time in its canonical spelling, for scripts."""
    value = side.get(name)
    return bounded(value, 40) if isinstance(value, str) else ""


def _said(side: Fields, zone: ZoneInfo) -> str:
    start = side.get("start")
    return canonical(start, zone) if isinstance(start, str) and start else ""


# ---- what differs, and what becomes of it ---------------------------------------------------------------------------


def _changes(tracked: Tracked, zone: ZoneInfo) -> Iterator[Changed]:
    """Say what is written as what it becomes, and all else that differs as what each side has."""
    told: set[str] = set()
    for taken in tracked.taken:
        told.update(taken.fields)
        yield from changes_of(taken.fields, taken, zone)
    rest = {name: change for name, change in tracked.finding.fields.items() if name not in told}
    yield from changes_of(rest, None, zone)


def _fate(tracked: Tracked, standing: Standing, telling: Telling) -> str:
    match standing:
        case Standing.ACCEPTED:
            return _accepted(tracked)
        case Standing.RESOLVED:
            return "nothing: it is not found any more"
        case Standing.PENDING:
            return "waits: it is a moment old, and left to the live integration"
        case _:
            return "; ".join(_open(tracked, standing, telling.refused_at))


def _accepted(tracked: Tracked) -> str:
    word = tracked.accepted
    if word is None:
        return "nothing: it is known"
    return f"nothing: {bounded(word.by, 80)} accepted it until {word.last_day} ({bounded(word.why, 200)})"


def _open(tracked: Tracked, standing: Standing, refused_at: datetime | None) -> Iterator[str]:
    if standing is Standing.FIXED and not _is_done(tracked.taken):
        yield "put right: what we wrote was found to have arrived"
        return
    if standing is Standing.NEEDS_YOU:
        yield f"a person decides: {ADVICE[tracked.finding.kind]}"
    elif not tracked.taken:
        yield fate_of(tracked.finding, None, refused=False)
    refused = refused_at is not None and tracked.last_seen >= refused_at
    yield from (fate_of(tracked.finding, taken, refused=refused) for taken in tracked.taken)


def _is_done(taken: Iterable[Taken]) -> bool:
    return any(each.outcome in {Outcome.DONE, Outcome.ALREADY} for each in taken)
