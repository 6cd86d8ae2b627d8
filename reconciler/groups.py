"""Findings that are not about one pair: a shifted diary, duplicates, double bookings, what could not be read."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, timedelta
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from reconciler import clues, findings, sides, text
from reconciler.findings import SEVERITY, Context, finding_key
from reconciler.model import Calendar, Change, Finding, Kind, Pair, Record, Remedy, Seen, Severity, rfc3339

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, tzinfo

    from reconciler.audit import Missed
    from reconciler.patterns import Shifted

SHOWN = 5
"""Records, or events, that a finding about many names one by one."""

NAME = 80
"""Characters of an event's id that are shown."""


def shifted(group: Shifted, context: Context) -> Finding:
    """Say once that an agent's records are all off by the same amount: a cause, not so many rows."""
    records = [pair.record for pair in group.pairs if pair.record]
    ids = sorted(record.id for record in records)
    first = min(group.pairs, key=_start)
    starts = sorted(str(pair.seen.fields["start"]) for pair in group.pairs if pair.seen and "start" in pair.seen.fields)
    return Finding(
        key=shift_key(group.agent, group.off),
        kind=Kind.TZ_SHIFT,
        severity=findings.severity_at(Kind.TZ_SHIFT, starts[0] if starts else None, context.now),
        remedy=Remedy.HUMAN,
        why=f"{len(ids)} records of this agent are {_hours(group.off)} in the CRM: one cause, likely a time zone; "
        f"held until a person confirms ({_some(ids)}).",
        agent=group.agent,
        start=starts[0] if starts else None,
        sides=sides.together(sides.sides(pair.seen, pair.record, context.compare) for pair in group.pairs),
        has=clues.has(first.seen, first.record),
        changed=min((at for pair in group.pairs if (at := _apart_since(pair))), default=None),  # that is how it began
        clues=(
            f"shift:{int(group.off.total_seconds())}",
            f"records:{len(ids)}",
            *clues.origins(records, context.origin),
        ),
        calendar=_common({pair.calendar_id for pair in group.pairs}),
    )


def _start(pair: Pair) -> str:
    return str(pair.seen.fields.get("start", "")) if pair.seen else ""


def _apart_since(pair: Pair) -> datetime | None:
    """Return since when both sides of a pair say what they say, where both tell: no later than that they differ."""
    seen, record = pair.seen, pair.record
    if seen is None or record is None or seen.modified is None or record.updated is None:
        return None
    return max(seen.modified, record.updated)


def _common(numbers: set[int | None]) -> int | None:
    """Return the calendar of all, if it is one."""
    return next(iter(numbers)) if len(numbers) == 1 else None


def shift_key(agent: str, off: timedelta) -> str:
    """Return the key of the finding that stands for all records of an agent that are off by this much."""
    return finding_key(Kind.TZ_SHIFT, f"{agent}:{int(off.total_seconds())}")


def _hours(off: timedelta) -> str:
    minutes = abs(int(off.total_seconds())) // 60
    amount = f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")
    return f"{amount} {'late' if off > timedelta() else 'early'}"


def _some(ids: list[str]) -> str:
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return "CRM " + ", ".join(ids[:SHOWN]) + more


def doubled(found: Sequence[Finding], copies: Sequence[tuple[Record, ...]], ours: str | None = None) -> list[Finding]:
    """Return what was found, and a finding for each group of records that seem to stand for one appointment.

    A record that no calendar has, while another one of its group has an event, is a copy: its finding says so, and who
    wrote the group when. `ours` is how the CRM calls us as a record's writer.
    """
    alone = {one.crm_id for one in found if one.kind is Kind.MISSING_IN_CALENDAR}
    doubles = [(group, duplicated(group, ours)) for group in copies]
    of = {record.id: one for group, one in doubles if {each.id for each in group} - alone for record in group}
    return [*(_as_copy(one, of) for one in found), *(one for _, one in doubles)]


def _as_copy(finding: Finding, doubles: Mapping[str, Finding]) -> Finding:
    double = doubles.get(finding.crm_id or "")
    if finding.kind is not Kind.MISSING_IN_CALENDAR or double is None:
        return finding
    kept = (clue for clue in finding.clues if not clue.startswith("origin:"))
    wrote = (clue for clue in double.clues if clue.startswith("origin:"))
    return replace(finding, changed=double.changed, clues=(clues.COPY, *wrote, *kept))


def duplicated(group: tuple[Record, ...], ours: str | None = None) -> Finding:
    """Name records that seem to stand for one appointment. Never fixed by itself: either may carry notes.

    `ours` is how the CRM calls us as a record's writer.
    """
    ids = [record.id for record in group]
    origins = sorted({record.origin for record in group if record.origin})
    wrote = f", written by {', '.join(origins)}" if origins else ""
    first = group[0]
    return Finding(
        key=finding_key(Kind.DUPLICATE_IN_CRM, ":".join(ids)),
        kind=Kind.DUPLICATE_IN_CRM,
        severity=SEVERITY[Kind.DUPLICATE_IN_CRM],
        remedy=Remedy.HUMAN,
        why=f"Records {', '.join(ids)} have the same owner and time, and a client or key in common{wrote}; "
        "nothing was changed.",
        agent=_text(first, "agent"),
        crm_id=first.id,
        fields=_apart(group),
        start=_text(first, "start"),
        sides=sides.together(sides.sides(None, record, tuple(sorted(record.fields))) for record in group),
        has=clues.has(None, first),
        changed=clues.latest(record.updated for record in group),
        clues=(
            *clues.origins(group, ours),
            *clues.scheduler(record.key for record in group if record.key),
            f"records:{len(ids)}",
        ),
    )


def _text(record: Record, name: str) -> str | None:
    value = record.fields.get(name)
    return value if isinstance(value, str) else None


def _apart(group: tuple[Record, ...]) -> Mapping[str, Change]:
    """Return in what the first two of a group differ."""
    one, other = group[0].fields, group[1].fields
    return {
        name: (one.get(name), other.get(name)) for name in sorted({*one, *other}) if one.get(name) != other.get(name)
    }


def double_booked(
    agent: str,
    one: Seen,
    other: Seen,
    context: Context,
    places: Mapping[int, int] | None = None,
    zone: str | None = None,
) -> Finding:
    """Say that an agent, whose zone that is, is expected in two places.

    `places` are the calendars of what was seen, by its identity.
    """
    first, second = sorted((one, other), key=lambda seen: (seen.span.starts_at, seen.event))
    start = rfc3339(second.span.start)
    marks = sorted((first.meeting or first.event, second.meeting or second.event))
    return Finding(
        key=finding_key(Kind.DOUBLE_BOOKED_AGENT, f"{agent}:{':'.join(marks)}"),
        kind=Kind.DOUBLE_BOOKED_AGENT,
        severity=findings.severity_at(Kind.DOUBLE_BOOKED_AGENT, start, context.now),
        remedy=Remedy.HUMAN,
        why=f"Two appointments overlap: {_when(first, zone)} and {_when(second, zone)}.",
        agent=agent,
        event=second.event,
        start=start,
        sides=sides.together(sides.sides(seen, None, ()) for seen in (first, second)),
        has=clues.has(second, None),
        changed=clues.latest((first.modified, second.modified)),
        calendar=(places or {}).get(id(second)),
    )


def _when(seen: Seen, zone: str | None) -> str:
    utc = f"{_between(seen, UTC)} UTC"
    if zone is None:
        return utc
    local = ZoneInfo(zone)
    return f"{_between(seen, local)} {seen.span.starts_at.astimezone(local):%Z} ({utc})"


def _between(seen: Seen, zone: tzinfo) -> str:
    starts, ends = (at.astimezone(zone) for at in (seen.span.starts_at, seen.span.ends_at))
    day = "" if starts.date() == ends.date() else f"{ends:%Y-%m-%d} "
    return f"{starts:%Y-%m-%d %H:%M}-{day}{ends:%H:%M}"


def unreadable(calendar: Calendar, event: str, why: str) -> Finding:
    """Name an entry of a calendar that could not be read; the rest of its calendar went on."""
    return Finding(
        key=finding_key(Kind.QUARANTINED, f"{calendar.source}:{calendar.agent.email}:{calendar.name}:{event}"),
        kind=Kind.QUARANTINED,
        severity=SEVERITY[Kind.QUARANTINED],
        remedy=Remedy.HUMAN,
        why=f"An entry of this calendar can't be read: {why}",
        agent=calendar.agent.email,
        event=event,
        sides=sides.said(why),
    )


def unobserved(calendar: Calendar, why: str, since: datetime) -> Finding:
    """Say that a calendar was not read whole: nothing it did not show means anything."""
    return Finding(
        key=gap_key(calendar),
        kind=Kind.COVERAGE_GAP,
        severity=Severity.CRITICAL,
        remedy=Remedy.HUMAN,
        why=f"{calendar.label} was not read whole since {since:%Y-%m-%d %H:%M} UTC: {why} Its records are left alone.",
        agent=calendar.agent.email,
        sides=sides.said("gap"),
        clues=("blind",),
    )


def gap_key(calendar: Calendar) -> str:
    """Return the key of the finding that says that a calendar was not read whole."""
    return finding_key(Kind.COVERAGE_GAP, f"{calendar.source}:{calendar.agent.email}:{calendar.name}")


def missed(calendar: Calendar, found: Missed) -> Finding:
    """Say that what we knew of a calendar had drifted away from it without a word: not every change was told."""
    repaired = sorted({*found.chain} - {*found.expansion})
    said = []
    if repaired:
        said.append(f"{_events(repaired)} had been missed or stood otherwise, which this read put right")
    if found.expansion:
        said.append(f"{_events(found.expansion)} still not as listed after this read: it is read whole next time")
    return Finding(
        key=finding_key(Kind.COVERAGE_GAP, f"missed:{calendar.source}:{calendar.agent.email}:{calendar.name}"),
        kind=Kind.COVERAGE_GAP,
        severity=SEVERITY[Kind.COVERAGE_GAP],
        remedy=Remedy.HUMAN,
        why=f"{calendar.label} was compared with a list that its provider made anew: {'; '.join(said)}.",
        agent=calendar.agent.email,
        sides=sides.said(*repaired, "", *found.expansion),
        clues=("missed",),
    )


def _events(ids: Sequence[str]) -> str:
    shown = ", ".join(text.line(event, NAME) for event in ids[:SHOWN])
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{len(ids)} {'event' if len(ids) == 1 else 'events'} ({shown}{more})"


def left_behind(place: tuple[str, str, str], records: int, *, has_left: bool) -> Finding:
    """Say that nobody watches a calendar (source, agent, name) any more whose appointments the CRM still holds."""
    _, agent, name = place
    cause = "This agent has left" if has_left else f"The job names the calendar {name} no more"
    return Finding(
        key=finding_key(Kind.COVERAGE_GAP, f"left behind:{':'.join(place)}"),
        kind=Kind.COVERAGE_GAP,
        severity=Severity.HIGH,
        remedy=Remedy.HUMAN,
        why=f"{cause}; {records} live records of it are left alone until they are past, or a person moves them.",
        agent=agent,
        sides=sides.said("left behind"),
        clues=("left" if has_left else "unnamed",),
    )


def blind(why: str) -> Finding:
    """Say that the CRM itself could not be seen, so that nothing was planned at all."""
    return Finding(
        key=finding_key(Kind.COVERAGE_GAP, "crm"),
        kind=Kind.COVERAGE_GAP,
        severity=Severity.CRITICAL,
        remedy=Remedy.HUMAN,
        why=why,
        sides=sides.said("gap"),
        clues=("crm",),
    )
