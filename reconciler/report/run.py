"""A result becomes a report: the headline first, then what was not seen, then counts, findings, changes, what to type.

Pure. Everything in a `Report` is inert, bounded text in the order it is read in; how it is laid out is `render`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.model import (
    Action,
    Delta,
    Finding,
    Kind,
    Outcome,
    Remedy,
    Severity,
    Side,
    rfc3339,
)
from reconciler.report.finding import Entry, entry, record
from reconciler.report.look import Look, Mood, Next
from reconciler.report.refusal import PREFIX, asked, consents, refusal, these
from reconciler.report.words import bounded, canonical, moment, plural
from reconciler.result import BUCKETS, CalendarSeen, Result, failed

if TYPE_CHECKING:
    from collections.abc import Iterable

_TITLES: Final = {Side.CRM: "CHANGES TO THE CRM", Side.CALENDAR: "CHANGES TO CALENDARS"}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
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


def build(result: Result, look: Look) -> RunReport:
    """Return what people are shown of `result`."""
    mood = mood_of(result)
    return RunReport(
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
            severity, tuple(_told(finding, deltas.get(finding.key), result, look) for finding in listed), unlisted
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


def _told(finding: Finding, delta: Delta | None, result: Result, look: Look) -> Entry:
    seen = result.sightings.get(finding.key, (None, 1))
    return entry(finding, delta, seen, look.zone_for(finding.agent), refused=bool(result.violations))


# ---- changes --------------------------------------------------------------------------------------------------------


def _step(delta: Delta, look: Look) -> Step:
    when = canonical(delta.start, look.zone_for(delta.agent)) if delta.start else ""
    named = ", ".join(name.replace("_", " ") for name in delta.fields) if delta.action is Action.UPDATE else ""
    what = " · ".join(part for part in (when, named) if part)
    return Step(delta.action.value, _subject(delta), bounded(delta.agent or ""), what, delta.outcome.value, delta.side)


def _subject(delta: Delta) -> str:
    """Name what is written: a record, or the event of one."""
    name = record(delta.crm_id)
    if delta.side is Side.CRM:
        return name or "new record"
    event = "new event for" if delta.action is Action.CREATE else "event of"
    return f"{event} {name}" if name else event.rpartition(" ")[0]


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
