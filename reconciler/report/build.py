"""A result becomes a report: the headline first, then what was not seen, then counts, findings, changes, what to type.

Pure. Everything in a `Report` is inert, bounded text in the order it is read in; how it is laid out is `render`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.model import (
    Action,
    Change,
    Delta,
    Finding,
    Kind,
    Outcome,
    Remedy,
    Severity,
    Side,
    Tier,
    rfc3339,
)
from reconciler.report.refusal import PREFIX, asked, consents, refusal, these
from reconciler.report.words import bounded, canonical, moment, plural, spoken, zone_of
from reconciler.result import BUCKETS, CalendarSeen, Result, failed

if TYPE_CHECKING:
    from collections.abc import Iterable
    from zoneinfo import ZoneInfo

MOST: Final = 50
"""Findings of one kind, and deltas, that are listed; the JSON has all of them."""


_TITLES: Final = {Side.CRM: "CHANGES TO THE CRM", Side.CALENDAR: "CHANGES TO CALENDARS"}


class Mood(StrEnum):
    """What a report means for whoever reads it."""

    SAFE = "SAFE"
    NEEDS_YOU = "NEEDS YOU"
    BLIND = "BLIND"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How people want to see it: what the job is called in commands, in which zones, and what each limit says.

    `zones` are the agents' own; `report` is `[report].title`; `most` bounds each list. `command` is what was asked for
    where that was no plain run: its words, as they are typed again.
    """

    job: str
    command: str = ""
    zone: str = "UTC"
    zones: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    most: int = MOST

    def zone_for(self, agent: str | None) -> ZoneInfo:
        """Return the zone in which times of `agent` are shown."""
        return zone_of(self.zones.get(agent or "") or self.zone)

    @property
    def again(self) -> str:
        """Return what to type to have the same done once more."""
        return f"reconcile {self.command} --job {self.job}" if self.command else f"reconcile run {self.job}"

    @property
    def dry(self) -> str:
        """Return what to type to see what that would do."""
        return f"{self.again} --dry-run" if self.command else f"reconcile --dry-run {self.job}"


@dataclass(frozen=True, slots=True)
class Changed:
    """One field of a finding, and what is said of it: a value to write, a change, or what each side has."""

    name: str
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One finding as it is read: whose, when, which record, what differs, why, what becomes of it."""

    kind: str
    agent: str
    when: str
    record: str
    changes: tuple[Changed, ...]
    why: str
    fate: str
    matched: str
    seen: str
    key: str


@dataclass(frozen=True, slots=True)
class Group:
    """The findings of one severity, and how many of which kind are not listed."""

    severity: Severity
    entries: tuple[Entry, ...]
    unlisted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Blind:
    """A calendar that was not seen, and why."""

    agent: str
    source: str
    why: str
    since: str


@dataclass(frozen=True, slots=True)
class Step:
    """One delta: what is or was written, to which record or its event, and what became of it."""

    action: str
    record: str
    agent: str
    what: str
    outcome: str
    side: str = "crm"


@dataclass(frozen=True, slots=True)
class Next:
    """A command that is worth typing now, and what for."""

    purpose: str
    command: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """All that is shown of one run, in the order in which it is read."""

    mood: Mood
    headline: str
    subtitle: str
    refusal: tuple[str, ...]
    blind: tuple[Blind, ...]
    left_out: tuple[str, ...]
    coverage: str
    counts: tuple[tuple[str, int, int], ...]
    only_events: tuple[str, ...]
    only_records: tuple[str, ...]
    groups: tuple[Group, ...]
    steps: tuple[Step, ...]
    unlisted: str
    notes: tuple[str, ...]
    following: tuple[Next, ...]

    @property
    def sides(self) -> tuple[tuple[str, tuple[Step, ...]], ...]:
        """Return the steps by what they write to, each under its title; none that is empty."""
        parts = ((title, tuple(step for step in self.steps if step.side == side)) for side, title in _TITLES.items())
        return tuple((title, steps) for title, steps in parts if steps)

    @property
    def needs_attention(self) -> bool:
        """Tell whether anybody has to look at it."""
        return self.mood is not Mood.SAFE


def build(result: Result, look: Look) -> Report:
    """Return what people are shown of `result`."""
    mood = mood_of(result)
    return Report(
        mood=mood,
        headline=f"{mood} {bounded(result.job)}: {_headline(result, mood)}",
        subtitle=_subtitle(result, look),
        refusal=tuple(_refusal(result, look)),
        blind=tuple(_blind(calendar, look) for calendar in unseen(result)),
        left_out=tuple(_left_out(calendar) for calendar in result.calendars if not _counts_as_seen(calendar)),
        coverage=_coverage(result),
        counts=tuple(_counts(result)),
        only_events=_others(result.events.parts, _EVENTS_BESIDES),
        only_records=_others(result.records.parts, _RECORDS_BESIDES),
        groups=tuple(_groups(result, look)),
        steps=tuple(_step(delta, look) for delta in result.deltas[: look.most]),
        unlisted=_unlisted_steps(result, look),
        notes=(*consents(result, look), *(bounded(note, 500) for note in result.notes)),
        following=tuple(_following(result, look)),
    )


# ---- headline -------------------------------------------------------------------------------------------------------


def mood_of(result: Result) -> Mood:
    """Say what matters most: a refusal, a calendar that was not seen, something for a person, or nothing."""
    if result.violations or result.status == "refused":
        return Mood.REFUSED
    if unseen(result) or crm_gap(result):
        return Mood.BLIND
    if result.withheld or failed(result.deltas) or _for_people(result) or _held_back(result):
        return Mood.NEEDS_YOU
    return Mood.SAFE


def unseen(result: Result) -> list[CalendarSeen]:
    """Return the calendars that should have been seen and were not; those nobody asked for are left out, not unseen."""
    return [calendar for calendar in result.calendars if not calendar.observed and calendar.blind_since is not None]


def crm_gap(result: Result) -> Finding | None:
    """Return the finding that says that the CRM itself was not seen, or can't be believed."""
    gaps = (finding for finding in result.findings if finding.kind is Kind.COVERAGE_GAP and finding.agent is None)
    return next(gaps, None)


def _counts_as_seen(calendar: CalendarSeen) -> bool:
    return calendar.observed or calendar.blind_since is not None


def _left_out(calendar: CalendarSeen) -> str:
    return f"{bounded(calendar.agent)} ({bounded(calendar.source)}): {bounded(calendar.why or 'not part of this run')}"


def _for_people(result: Result) -> list[Finding]:
    gaps = Kind.COVERAGE_GAP  # said first, as what was not seen
    return [finding for finding in result.findings if finding.remedy is Remedy.HUMAN and finding.kind is not gaps]


def _held_back(result: Result) -> list[Delta]:
    known = _known_to(result)
    return [delta for delta in result.deltas if delta.outcome is Outcome.HELD and delta.finding not in known]


def _known_to(result: Result) -> frozenset[str]:
    """Return the keys of what people accepted: it is shown, and nobody has to look."""
    return frozenset(finding.key for finding in result.findings if finding.remedy is Remedy.NONE)


def _headline(result: Result, mood: Mood) -> str:
    if mood is Mood.REFUSED and not result.violations:
        return "what the CRM shows can't be the truth, nothing was planned"
    if mood is Mood.REFUSED:
        would = "nothing would be applied" if result.dry_run else "nothing was applied"
        return f"{plural(len(result.violations), 'limit')} exceeded, {would}"
    if crm_gap(result):
        return "the CRM was not read, nothing was planned"
    said = [_unseen(result)] if mood is Mood.BLIND else []
    people = len(_for_people(result))
    if people:
        said.append(f"{plural(people, 'finding')} for a person")
    said += _written(result)
    pending = result.counts.get("pending", 0)
    if not result.deltas and not people:
        nothing = "" if pending else ", nothing to do"
        said.append(f"{plural(result.counts.get('in_sync', 0), 'appointment')} in sync{nothing}")
    if pending:
        said.append(f"{plural(pending, 'change')} pending, left to the live integration")
    if result.dry_run:
        said.append("dry run, nothing was written")
    return "; ".join(said)


def _unseen(result: Result) -> str:
    return (
        f"{len(unseen(result))} of {plural(len(result.calendars), 'calendar')} not seen, what they hold is left alone"
    )


def _written(result: Result) -> list[str]:
    """Say what became of the changes, the bad news first."""
    outcomes = Counter(delta.outcome for delta in result.deltas)
    words = (
        (Outcome.FAILED, "failed"),
        (Outcome.UNKNOWN, "of unknown outcome"),
        (Outcome.CONFLICT, "met a newer edit"),
        (Outcome.DEFERRED, "deferred"),
        (Outcome.DONE, "applied"),
        (Outcome.ALREADY, "found done already"),
        (Outcome.PLANNED, "planned"),
        (Outcome.HELD, "held back"),
    )
    return [f"{plural(outcomes[outcome], 'change')} {word}" for outcome, word in words if outcomes[outcome]]


def _subtitle(result: Result, look: Look) -> str:
    title = f"{bounded(look.title)} · " if look.title else ""
    window = f"{rfc3339(result.window.start)[:10]} to {rfc3339(result.window.end)[:10]} (UTC)"
    return f"{title}run {result.run} · window {window} · plan {result.digest[:PREFIX]}"


def _refusal(result: Result, look: Look) -> Iterable[str]:
    """Yield what is not believed of the CRM, then what the guard refused and withheld."""
    gap = crm_gap(result)
    if gap:
        yield bounded(gap.why, 500)
    yield from refusal(result, look)


# ---- coverage and counts --------------------------------------------------------------------------------------------


def _blind(calendar: CalendarSeen, look: Look) -> Blind:
    since = ""
    if calendar.blind_since:
        tries = f", {plural(calendar.strikes, 'try')}" if calendar.strikes else ""
        since = f"since {moment(calendar.blind_since, look.zone_for(calendar.agent))}{tries}"
    return Blind(
        bounded(calendar.agent), bounded(calendar.source), bounded(calendar.why or "no reason given", 300), since
    )


def _coverage(result: Result) -> str:
    seen = [calendar for calendar in result.calendars if calendar.observed]
    calendars = f"{len(seen):,} of {plural(len(result.calendars), 'calendar')} seen"
    if not result.calendars:
        calendars = "no calendar was read"
    return f"{calendars}, {plural(result.events.total, 'event')}; {plural(result.records.total, 'CRM record')}"


def _counts(result: Result) -> Iterable[tuple[str, int, int]]:
    for name in BUCKETS:
        events, records = result.events.parts.get(name, 0), result.records.parts.get(name, 0)
        if events or records or name == "in_sync":
            yield name.replace("_", " "), events, records


_EVENTS_BESIDES: Final = {
    "irrelevant": "no appointments",
    "copies": "of a meeting that is counted in another calendar",
    "quarantined": "that can't be read",
}
_RECORDS_BESIDES: Final = {"strangers": "that are none of this job's"}


def _others(parts: Mapping[str, int], names: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{parts[name]:,} {says}" for name, says in names.items() if parts.get(name))


# ---- findings -------------------------------------------------------------------------------------------------------


def _groups(result: Result, look: Look) -> Iterable[Group]:
    deltas = {delta.finding: delta for delta in result.deltas if delta.finding}
    for severity in Severity:
        chosen = [finding for finding in result.findings if finding.severity is severity]
        if not chosen:
            continue
        listed, unlisted = _first_of_each_kind(chosen, look)
        yield Group(
            severity, tuple(_entry(finding, deltas.get(finding.key), result, look) for finding in listed), unlisted
        )


def _first_of_each_kind(findings: list[Finding], look: Look) -> tuple[list[Finding], tuple[str, ...]]:
    """Return the findings that are listed, kind by kind and soonest first, and how many of which kind are not.

    What was accepted comes last, but for what was not seen.
    """
    ordered = sorted(findings, key=lambda one: (_is_accepted(one), one.kind, one.start or "", one.key))
    met: Counter[str] = Counter()
    listed = []
    for finding in ordered:
        met[finding.kind] += 1
        if met[finding.kind] <= look.most:
            listed.append(finding)
    return listed, tuple(f"{count - look.most:,} more {kind}" for kind, count in met.items() if count > look.most)


def _is_accepted(finding: Finding) -> bool:
    return finding.remedy is Remedy.NONE and finding.kind is not Kind.COVERAGE_GAP


def _entry(finding: Finding, delta: Delta | None, result: Result, look: Look) -> Entry:
    zone = look.zone_for(finding.agent)
    fields = finding.fields or (delta.fields if delta else {})
    first, sightings = result.sightings.get(finding.key, (None, 1))
    return Entry(
        kind=finding.kind.value,
        agent=bounded(finding.agent or ""),
        when=canonical(finding.start, zone) if finding.start else "",
        record=_record(finding.crm_id),
        changes=tuple(_changes(fields, delta, zone)),
        why=bounded(finding.why, 300),
        fate=_fate(finding, delta, refused=bool(result.violations)),
        matched=_MATCHED[finding.tier] if finding.tier else "",
        seen=f"{plural(sightings, 'time')} since {moment(first, zone)}" if first and sightings > 1 else "",
        key=finding.key,
    )


def _changes(fields: Mapping[str, Change], delta: Delta | None, zone: ZoneInfo) -> Iterable[Changed]:
    """Say what would be or was written, or, where nothing is, what each side has."""
    creates = delta is not None and delta.action is Action.CREATE
    for name in sorted(fields, key=_place):
        before, after = fields[name]
        if before == after or (creates and (name in _UNSURPRISING or not after)):
            continue
        was, becomes = spoken(name, before, zone), spoken(name, after, zone)
        is_written = delta is not None and delta.action is not Action.LINK
        pair = f"{was} → {becomes}" if is_written else f"CRM: {was} · calendar: {becomes}"
        yield Changed(name.replace("_", " "), becomes if creates else pair)


def _place(name: str) -> tuple[int, str]:
    return (_ORDER.index(name) if name in _ORDER else len(_ORDER), name)


_ORDER: Final = ("title", "start", "end", "all_day", "agent", "contact", "participants", "location", "status")
_UNSURPRISING: Final = frozenset({"agent", "status"})
"""What a new record has anyway: its agent is named with the finding."""


def _record(crm_id: str | None) -> str:
    return f"record {bounded(crm_id, 60)}" if crm_id else ""


_MATCHED: Final = {
    Tier.LINK: "by the link of an earlier run",
    Tier.KEY: "by source key",
    Tier.UID: "by iCalUID",
    Tier.CLAIM: "by the claim that we left in the event",
    Tier.NATURAL: "by agent, client and time: a suggestion only",
}
_REMEDIES: Final = {
    Remedy.FIX: "is put right by a run that may write",
    Remedy.HOLD: "waits; nothing to do",
    Remedy.NONE: "nothing: it is known",
}
_OUTCOMES: Final = {
    Outcome.PLANNED: "will be written by a run",
    Outcome.DONE: "done",
    Outcome.ALREADY: "was done already",
    Outcome.DEFERRED: "deferred to the next run",
    Outcome.HELD: "held back",
    Outcome.CONFLICT: "not written: somebody edited it meanwhile",
    Outcome.FAILED: "failed, the next run tries again",
    Outcome.UNKNOWN: "outcome unknown, the next run looks it up",
}
_REFUSED: Final = "waits: the plan was refused, and a person has to consent"


ADVICE: Final[Mapping[Kind, str]] = {
    Kind.MISSING_IN_CRM: "enter it in the CRM if it is an appointment",
    Kind.RESCHEDULE_NOT_PROPAGATED: "put right the side that is wrong",
    Kind.TZ_SHIFT: "find what writes these records in the wrong zone, then correct them",
    Kind.ALL_DAY_OFF_BY_ONE: "put right the side that is wrong",
    Kind.WRONG_OWNER: "give the record its agent back, or move the event",
    Kind.CONTACT_MISSING: "fill the contact in, or take the client off the event",
    Kind.WRONG_CONTACT: "put right the side that names the wrong client",
    Kind.FIELD_DRIFT: "put right the side that is wrong",
    Kind.CANCEL_NOT_PROPAGATED: "cancel the record if the appointment is off",
    Kind.ORPHAN_IN_CRM: "ask the agent, and cancel the record if the appointment is off",
    Kind.STALE_SERIES: "cancel the records of the old rule, if the agent says so",
    Kind.REMOVED_BY_HAND: "cancel the event, or bring the record back",
    Kind.MISSING_IN_CALENDAR: "put it into the calendar, or cancel the record",
    Kind.FALSE_CANCEL: "cancel the event, or set the record back",
    Kind.CONFLICT: "settle which side is right, and change the other",
    Kind.DUPLICATE_IN_CRM: "merge the records: either may carry notes",
    Kind.DOUBLE_BOOKED_AGENT: "ask the agent to move one",
    Kind.AMBIGUOUS: "say which record it is: `link --suggested`, `resolve`, or the source key in its key column",
    Kind.QUARANTINED: "repair the entry where it was made",
    Kind.COVERAGE_GAP: "repair the access; nothing is concluded from what was not seen",
}


def _fate(finding: Finding, delta: Delta | None, *, refused: bool) -> str:
    """Say what will be or was done about a finding."""
    if delta is None and finding.remedy is Remedy.HUMAN:
        return f"a person decides: {ADVICE[finding.kind]}"
    if delta is None:
        return _REMEDIES[finding.remedy]
    reason = f" ({bounded(delta.why)})" if delta.why and delta.outcome is not Outcome.DONE else ""
    where = " in the calendar" if delta.side is Side.CALENDAR else ""
    became = _REFUSED if refused and delta.outcome is Outcome.PLANNED else _OUTCOMES[delta.outcome]
    return f"{delta.action}{where}: {became}{reason}"


# ---- changes --------------------------------------------------------------------------------------------------------


def _step(delta: Delta, look: Look) -> Step:
    when = canonical(delta.start, look.zone_for(delta.agent)) if delta.start else ""
    named = ", ".join(name.replace("_", " ") for name in delta.fields) if delta.action is Action.UPDATE else ""
    what = " · ".join(part for part in (when, named) if part)
    return Step(delta.action.value, _subject(delta), bounded(delta.agent or ""), what, delta.outcome.value, delta.side)


def _subject(delta: Delta) -> str:
    """Name what is written: a record, or the event of one."""
    record = _record(delta.crm_id)
    if delta.side is Side.CRM:
        return record or "new record"
    event = "new event for" if delta.action is Action.CREATE else "event of"
    return f"{event} {record}" if record else event.rpartition(" ")[0]


def _unlisted_steps(result: Result, look: Look) -> str:
    more = len(result.deltas) - look.most
    return f"{more:,} more: reconcile --dry-run {look.job} --format json" if more > 0 else ""


# ---- what to type next ----------------------------------------------------------------------------------------------


def _following(result: Result, look: Look) -> Iterable[Next]:
    planned = sum(1 for delta in result.deltas if delta.outcome is Outcome.PLANNED)
    if result.violations:
        yield Next("To look at all of it", f"{look.dry} --format json")
    if result.asks:
        consent = f"reconcile approve {result.asks.digest[:PREFIX]} --by YOU --why TEXT --job {look.job}"
        yield Next(f"To consent to {asked(result.asks)} (what moves meanwhile drops out)", consent)
    if unseen(result) or crm_gap(result):
        yield Next("To see what is wrong", f"reconcile check {look.job}")
    if result.dry_run and planned and not result.violations:
        yield Next(f"To write {these(planned)}", look.again)
    if not result.dry_run and failed(result.deltas):
        yield Next("To try again what was not applied", look.again)
    if known := _known(result):
        yield Next("To see one finding closely", f"reconcile explain {known} --job {look.job}")


def _known(result: Result) -> str | None:
    """Return what `explain` knows the most urgent finding by. A dry run keeps no findings: there it is the CRM id."""
    people = sorted(_for_people(result), key=lambda one: (one.severity.rank, one.kind, one.start or "", one.key))
    names = (finding.crm_id if result.dry_run else finding.key for finding in people)
    return next((name for name in names if name and all(mark.isalnum() or mark in "-_.:" for mark in name)), None)
