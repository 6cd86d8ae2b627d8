"""Verdicts become findings for people and deltas for the plan. Policy filters here, and says what it held back."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from reconciler import clues, decide, deltas, normalise, patterns, sides, text
from reconciler.deltas import Context, ends_at, inert, key_of
from reconciler.forgotten import WITHHELD
from reconciler.model import (
    Absence,
    Change,
    Delta,
    Fields,
    Finding,
    Kind,
    Outcome,
    Pair,
    Presence,
    Record,
    Remedy,
    Seen,
    Severity,
    Situation,
    Step,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "QUIET",
    "SEVERITY",
    "SOON",
    "Context",
    "Outlook",
    "ends_at",
    "finding_key",
    "inert",
    "key_of",
    "kind_of",
    "outlook",
    "severity_at",
]

SOON = timedelta(hours=2)
"""What starts within this time is fixed and reported as critical."""

SEVERITY: Mapping[Kind, Severity] = {
    Kind.MISSING_IN_CRM: Severity.HIGH,
    Kind.RESCHEDULE_NOT_PROPAGATED: Severity.HIGH,
    Kind.TZ_SHIFT: Severity.HIGH,
    Kind.ALL_DAY_OFF_BY_ONE: Severity.LOW,
    Kind.WRONG_OWNER: Severity.MEDIUM,
    Kind.CONTACT_MISSING: Severity.MEDIUM,
    Kind.WRONG_CONTACT: Severity.MEDIUM,
    Kind.FIELD_DRIFT: Severity.INFO,
    Kind.CANCEL_NOT_PROPAGATED: Severity.HIGH,
    Kind.ORPHAN_IN_CRM: Severity.HIGH,
    Kind.STALE_SERIES: Severity.MEDIUM,
    Kind.REMOVED_BY_HAND: Severity.MEDIUM,
    Kind.MISSING_IN_CALENDAR: Severity.MEDIUM,
    Kind.FALSE_CANCEL: Severity.HIGH,
    Kind.CONFLICT: Severity.MEDIUM,
    Kind.DUPLICATE_IN_CRM: Severity.MEDIUM,
    Kind.DOUBLE_BOOKED_AGENT: Severity.MEDIUM,
    Kind.AMBIGUOUS: Severity.MEDIUM,
    Kind.QUARANTINED: Severity.MEDIUM,
    Kind.COVERAGE_GAP: Severity.CRITICAL,
}

_KINDS: Mapping[Situation, Kind] = {
    Situation.NEW_IN_CALENDAR: Kind.MISSING_IN_CRM,
    Situation.NEW_IN_CRM: Kind.MISSING_IN_CALENDAR,
    Situation.REMOVED_FROM_CRM: Kind.REMOVED_BY_HAND,
    Situation.REOPENED: Kind.FALSE_CANCEL,
    Situation.FALSE_CANCEL: Kind.FALSE_CANCEL,
    Situation.REMOVED_AND_EDITED: Kind.CONFLICT,
}
"""What a situation is called in the report, where its fields don't say more."""

_SAID_ELSEWHERE = frozenset({"unobserved", "organizer_unobserved", patterns.TZ_SHIFT})
"""Holds that one finding explains for many pairs."""

_STALE = "the rule of its series was changed or cut; the record still stands"
_CUT = "its series was changed while records of the old rule still stand"
_UNKNOWN = "nobody could tell yet what became of our last write to it; it is looked up again before anything is written"
_UNSEEN = "the calendar was read whole and does not show it; that alone is no evidence"
_CLAIMED = "we made it for a CRM record that is not there any more or has another event; it is never entered again"
_LEFT = "the event lies outside what is read now, and the record says something else"
_WAITS = "pending: it changed a moment ago and is left to the live integration until it settles"

_NOT_URGENT = {Kind.FIELD_DRIFT, Kind.ALL_DAY_OFF_BY_ONE, Kind.QUARANTINED}


@dataclass(frozen=True, slots=True)
class Outlook:
    """What one pair comes to: its findings, its delta if there is one, and the bucket both sides are counted in.

    `beside` is a second delta, to the calendar: where each side moved other fields, both are written. `pending` says
    that it is merely young: the live integration may be about to bring it; `accepted`, that people know all of it.
    """

    bucket: str
    findings: tuple[Finding, ...] = ()
    delta: Delta | None = None
    beside: Delta | None = None
    pending: bool = False
    accepted: bool = False

    @property
    def deltas(self) -> tuple[Delta, ...]:
        """Return all that is to be written."""
        return tuple(delta for delta in (self.delta, self.beside) if delta is not None)


QUIET = Outlook("in_sync")


def outlook(pair: Pair, verdict: Verdict, context: Context) -> Outlook:
    """Return the findings, the delta and the count bucket of one judged pair."""
    match verdict.step:
        case Step.NOTHING | Step.REFRESH_BASE | Step.FORGET:
            return QUIET
        case Step.HOLD:
            return _held(pair, verdict, context)
        case Step.FINDING:
            return Outlook("human", (_finding(pair, verdict, context, _names(pair, verdict), Remedy.HUMAN),))
        case Step.CONFLICT:
            return Outlook("conflict", _all_findings(pair, verdict, context))
        case Step.CREATE | Step.UPDATE | Step.REMOVE:
            return _proposed(pair, verdict, context)


# ---- proposals ------------------------------------------------------------------------------------------------------


def _proposed(pair: Pair, verdict: Verdict, context: Context) -> Outlook:
    """Turn what the table wants written into deltas, or say why it stays a finding."""
    verdict, why = deltas.fit(pair, verdict, context)
    names = _names(pair, verdict)
    if why is not None:
        return Outlook("human", (_finding(pair, verdict, context, names, Remedy.HUMAN, why),))
    sides_written = deltas.sides_of(verdict)
    actions = {side: deltas.action_of(verdict, side, context) for side in sides_written}
    held = {side: deltas.not_allowed(actions[side], side, verdict, context) for side in sides_written}
    is_held = all(held.values())
    remedy, said = (Remedy.HOLD, next(iter(held.values()))) if is_held else (Remedy.FIX, "")
    finding = _finding(pair, verdict, context, names, remedy, said)
    found = _merged((finding, *_all_findings(pair, verdict, context)))
    meant = [_planned(deltas.delta_of(pair, verdict, side, finding, context), held[side]) for side in sides_written]
    bucket = "held" if is_held else meant[0].action.value
    return Outlook(bucket, found, delta=meant[0], beside=meant[1] if len(meant) > 1 else None)


def _planned(delta: Delta, held: str) -> Delta:
    return replace(delta, outcome=Outcome.HELD, why=held) if held else delta


# ---- findings -------------------------------------------------------------------------------------------------------


def _all_findings(pair: Pair, verdict: Verdict, context: Context) -> tuple[Finding, ...]:
    """Return a finding for each thing about the pair that needs a person."""
    found = []
    if verdict.situation is Situation.REMOVED_AND_EDITED or verdict.conflicts:
        found.append(_finding(pair, verdict, context, verdict.conflicts, Remedy.HUMAN, kind=Kind.CONFLICT))
    if verdict.foreign and verdict.step is not Step.FINDING:
        found.append(_finding(pair, verdict, context, verdict.foreign, Remedy.HUMAN))
    return _merged(found)


def _merged(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Say what has one key once: with all its fields, and for a person if any of it is."""
    found: dict[str, Finding] = {}
    for finding in findings:
        known = found.setdefault(finding.key, finding)
        remedy = Remedy.HUMAN if Remedy.HUMAN in {known.remedy, finding.remedy} else known.remedy
        found[finding.key] = replace(known, remedy=remedy, fields={**known.fields, **finding.fields})
    return tuple(found.values())


def _names(pair: Pair, verdict: Verdict) -> tuple[str, ...]:
    """Return the fields a verdict is about."""
    if pair.seen is None or pair.record is None:
        return ()
    return (*verdict.to_crm, *verdict.to_calendar) or verdict.foreign or verdict.conflicts


def _finding(
    pair: Pair,
    verdict: Verdict,
    context: Context,
    names: tuple[str, ...],
    remedy: Remedy,
    why: str | None = None,
    kind: Kind | None = None,
) -> Finding:
    seen, record = pair.seen, pair.record
    kind = kind or kind_of(pair, verdict, names)
    said = (verdict.reason, why, WITHHELD if any(side and side.withheld for side in (seen, record)) else None)
    sentence = text.line("; ".join(part for part in said if part)) or kind.replace("_", " ")
    return Finding(
        key=finding_key(kind, _subject(pair, kind)),
        kind=kind,
        severity=_severity(kind, pair, context.now),
        remedy=remedy,
        why=sentence[0].upper() + sentence[1:] + ".",
        agent=_agent(pair),
        event=seen.event if seen else None,
        crm_id=record.id if record else pair.candidates[0] if len(pair.candidates) == 1 else None,
        fields=_differences(seen, record, names, verdict.to_calendar),
        start=_start(pair),
        tier=pair.tier,
        sides=sides.sides(seen, record, context.compare),
        has=clues.has(seen, record),
        changed=clues.changed(pair, verdict.situation, context.now),
        clues=clues.clues(pair, verdict, names, context.origin),
        calendar=pair.calendar_id,
    )


def finding_key(kind: Kind, subject: str) -> str:
    """Return the stable key of a finding: the same discrepancy has the same key in every run."""
    return hashlib.sha256(f"{kind}\n{subject}".encode("utf-8", "surrogatepass")).hexdigest()[:12]


def kind_of(pair: Pair, verdict: Verdict, names: tuple[str, ...]) -> Kind:
    """Name a situation in the report's vocabulary (DESIGN 6)."""
    if verdict.situation is Situation.REMOVED_FROM_CALENDAR:
        by_lookup = pair.seen is not None and pair.seen.absence is Absence.GONE
        return Kind.ORPHAN_IN_CRM if by_lookup else Kind.CANCEL_NOT_PROPAGATED
    return _KINDS.get(verdict.situation) or _field_kind(pair, names)


def _field_kind(pair: Pair, names: tuple[str, ...]) -> Kind:
    """Name a difference by its most serious field."""
    if set(names) & {"start", "end", "all_day"}:
        return Kind.ALL_DAY_OFF_BY_ONE if _off_by_one(pair) else Kind.RESCHEDULE_NOT_PROPAGATED
    if "agent" in names:
        return Kind.WRONG_OWNER
    if "contact" in names:
        return Kind.WRONG_CONTACT if pair.record and pair.record.fields.get("contact") else Kind.CONTACT_MISSING
    return Kind.FIELD_DRIFT


def _off_by_one(pair: Pair) -> bool:
    """Tell whether two all-day sides differ by one day at one end, or both by the same day."""
    if pair.seen is None or pair.record is None:
        return False
    days = [_day(side.get(name)) for name in ("start", "end") for side in (pair.seen.fields, pair.record.fields)]
    if any(day is None for day in days):
        return False
    start, crm_start, end, crm_end = (day for day in days if day is not None)
    return {abs(crm_start - start), abs(crm_end - end)} <= {timedelta(), timedelta(days=1)}


def _day(value: object) -> datetime | None:
    return datetime.fromisoformat(value) if isinstance(value, str) and len(value) == len("2026-11-24") else None


def _severity(kind: Kind, pair: Pair, now: datetime) -> Severity:
    """Rate a finding by whichever side begins sooner: somebody will be there."""
    starts = [side.fields.get("start") for side in (pair.seen, pair.record) if side]
    rated = [severity_at(kind, start, now) for start in starts if isinstance(start, str)]
    return min([SEVERITY[kind], *rated], key=lambda severity: severity.rank)


def severity_at(kind: Kind, start: str | None, now: datetime) -> Severity:
    begins = patterns.instant(start)
    if begins is not None and now <= begins <= now + SOON and kind not in _NOT_URGENT:
        return Severity.CRITICAL
    return SEVERITY[kind]


def _held(pair: Pair, verdict: Verdict, context: Context) -> Outlook:
    """Say why a pair is left alone. What a calendar or a group is held for is said once, for all of it."""
    if set(pair.holds) & _SAID_ELSEWHERE or (verdict.reason == "unseen" and deltas.is_over(pair, verdict, context)):
        return Outlook("held")  # feeds drop what is past: of that, being unseen tells nothing
    names = _apart(pair, context)
    if (known := _hold_kind(pair, verdict, names, context)) is not None:
        kind, why = known
        finding = _finding(pair, replace(verdict, reason=""), context, names, Remedy.HUMAN, why, kind)
        return Outlook("human", (finding,))
    pending = decide.UNSETTLED in pair.holds
    why = _UNKNOWN if decide.UNKNOWN in pair.holds else _WAITS if pending else verdict.reason
    kind = _apparent_kind(pair, names)
    finding = _finding(pair, replace(verdict, reason=""), context, names, Remedy.HOLD, why, kind)
    marks = (*finding.clues, clues.PENDING) if pending else finding.clues
    waiting = replace(finding, severity=SEVERITY[kind], clues=marks)  # nobody is woken for what may settle itself
    return Outlook("held", (waiting,), pending=pending)


def _hold_kind(pair: Pair, verdict: Verdict, names: tuple[str, ...], context: Context) -> tuple[Kind, str] | None:
    """Name what holds a pair until a person looks; None for what only waits."""
    unreadable = "quarantined" in pair.holds or verdict.reason == "quarantined"
    cases = (
        ("ambiguous" in pair.holds, Kind.AMBIGUOUS, _ambiguity(pair)),
        (unreadable, Kind.QUARANTINED, _unreadable(pair)),
        (decide.CLAIMED in pair.holds, Kind.MISSING_IN_CRM, _CLAIMED),
        (pair.seen is not None and pair.seen.stale, Kind.STALE_SERIES, _STALE),
        (patterns.STALE_SERIES in pair.holds, Kind.STALE_SERIES, _cut(verdict)),
        (verdict.reason == "unseen", Kind.ORPHAN_IN_CRM, _UNSEEN),
        (patterns.FLAPPING in pair.holds, _apparent_kind(pair, names), _flapping(pair, names, context)),
        (verdict.reason == "left_window", _apparent_kind(pair, names), _LEFT),
    )
    return next(((kind, why) for holds, kind, why in cases if holds), None)


def _flapping(pair: Pair, names: tuple[str, ...], context: Context) -> str:
    """Say who undoes what we write, as far as the CRM tells, and how a person ends it."""
    origin = pair.record.origin if pair.record else None
    is_other = origin is not None and origin != context.origin
    other = f" (the CRM names {text.line(origin or '', 40)} as the record's writer)" if is_other else ""
    kind = _apparent_kind(pair, names)
    key = finding_key(kind, _subject(pair, kind))
    return (
        f"we wrote this three times in seven days and something undoes it{other}: it is not written again until that "
        f"ends; `reconcile resolve {key} --take calendar` (or crm) or `reconcile accept {key}` settles it"
    )


def _cut(verdict: Verdict) -> str:
    return _CUT if verdict.reason == patterns.STALE_SERIES else verdict.reason


def _apart(pair: Pair, context: Context) -> tuple[str, ...]:
    """Return in which fields both sides of a held pair differ, as far as both can be read."""
    if pair.seen is None or pair.record is None or pair.record.problem:
        return ()
    return normalise.differing(pair.seen.fields, pair.record.fields, context.compare)


def _apparent_kind(pair: Pair, names: tuple[str, ...]) -> Kind:
    """Name what a held pair looks like, before the table was asked."""
    seen, record = pair.seen, pair.record
    if record is None or record.presence is Presence.ABSENT:
        return Kind.REMOVED_BY_HAND if pair.link else Kind.MISSING_IN_CRM
    if seen is None:
        return Kind.MISSING_IN_CALENDAR
    if seen.absence is not None and seen.absence.is_evidence:
        return Kind.ORPHAN_IN_CRM if seen.absence is Absence.GONE else Kind.CANCEL_NOT_PROPAGATED
    return Kind.FALSE_CANCEL if record.presence is Presence.CANCELLED else _field_kind(pair, names)


def _ambiguity(pair: Pair) -> str:
    many = ", ".join(text.line(crm_id, 40) for crm_id in pair.candidates[:5])
    if pair.tier is not None:
        return f"it may be CRM record {many} (same agent, client and time): `reconcile link --suggested` will pair them"
    return f"its key leads to CRM record {many}, which belongs to another agent, another event or is not the only one"


def _unreadable(pair: Pair) -> str:
    problem = pair.record.problem if pair.record else None
    return f"the CRM row can't be read: {problem}" if problem else "the event can't be read any more"


def _agent(pair: Pair) -> str | None:
    if pair.calendar:
        return pair.calendar.agent.email
    agent = pair.record.fields.get("agent") if pair.record else None
    return agent if isinstance(agent, str) else None


def _subject(pair: Pair, kind: Kind) -> str:
    """Return what a finding is about. Events that are ambiguous may share their key, so each goes by its own place."""
    if kind is Kind.AMBIGUOUS and pair.seen is not None and pair.calendar is not None:
        return f"{pair.calendar.source}:{pair.calendar.agent.email}:{pair.calendar.name}:{pair.seen.event}"
    return key_of(pair)


def _start(pair: Pair) -> str | None:
    for side in (pair.seen, pair.record):
        start = side.fields.get("start") if side else None
        if isinstance(start, str):
            return start
    return None


def _differences(
    seen: Seen | None, record: Record | None, names: Iterable[str], to_calendar: tuple[str, ...]
) -> dict[str, Change]:
    """Return (before, after) for each name: (CRM, calendar), or the other way round for what the calendar is given."""
    ours: Fields = seen.fields if seen else {}
    theirs: Fields = record.fields if record else {}
    both = {name: (inert(theirs.get(name)), inert(ours.get(name))) for name in names}
    return {name: change[::-1] if name in to_calendar else change for name, change in both.items()}
