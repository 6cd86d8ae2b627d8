"""How one finding is told: whose, when, what differs, why, how both sides were matched, what becomes of it.

Pure. Every word is inert and bounded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from reconciler.model import Action, Change, Delta, Finding, Kind, Outcome, Remedy, Side, Tier
from reconciler.report.words import bounded, canonical, moment, plural, spoken

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from reconciler.report.recorded import Taken


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


def entry(
    finding: Finding, delta: Delta | None, seen: tuple[datetime | None, int], zone: ZoneInfo, *, refused: bool
) -> Entry:
    """Tell a finding with what is done about it; `seen` says since when it is known, and how often it was met."""
    fields = finding.fields or (delta.fields if delta else {})
    first, sightings = seen
    return Entry(
        kind=finding.kind.value,
        agent=bounded(finding.agent or ""),
        when=canonical(finding.start, zone) if finding.start else "",
        record=record(finding.crm_id),
        changes=tuple(changes_of(fields, delta, zone)),
        why=bounded(finding.why, 300),
        fate=fate_of(finding, delta, refused=refused),
        matched=MATCHED[finding.tier] if finding.tier else "",
        seen=f"{plural(sightings, 'time')} since {moment(first, zone)}" if first and sightings > 1 else "",
        key=finding.key,
    )


def changes_of(fields: Mapping[str, Change], delta: Delta | Taken | None, zone: ZoneInfo) -> Iterable[Changed]:
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


def record(crm_id: str | None) -> str:
    return f"record {bounded(crm_id, 60)}" if crm_id else ""


MATCHED: Final = {
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


KINDS: Final[Mapping[Kind, str]] = {
    Kind.MISSING_IN_CRM: "Missing in the CRM",
    Kind.RESCHEDULE_NOT_PROPAGATED: "Moved on one side only",
    Kind.TZ_SHIFT: "Shifted by hours",
    Kind.ALL_DAY_OFF_BY_ONE: "All day, off by one",
    Kind.WRONG_OWNER: "Wrong agent",
    Kind.CONTACT_MISSING: "Client missing",
    Kind.WRONG_CONTACT: "Wrong client",
    Kind.FIELD_DRIFT: "Text differs",
    Kind.CANCEL_NOT_PROPAGATED: "Cancelled, still in the CRM",
    Kind.ORPHAN_IN_CRM: "In the CRM alone",
    Kind.STALE_SERIES: "From a series that ended",
    Kind.REMOVED_BY_HAND: "Record removed by hand",
    Kind.MISSING_IN_CALENDAR: "Missing in the calendar",
    Kind.FALSE_CANCEL: "Cancelled in the CRM alone",
    Kind.CONFLICT: "Both sides changed",
    Kind.DUPLICATE_IN_CRM: "Recorded twice",
    Kind.DOUBLE_BOOKED_AGENT: "Double booked",
    Kind.AMBIGUOUS: "Not clear which record",
    Kind.QUARANTINED: "Unreadable entry",
    Kind.COVERAGE_GAP: "Not seen",
}
"""What kinds are called where people read them; commands take their canonical spelling."""

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


def fate_of(finding: Finding, delta: Delta | Taken | None, *, refused: bool) -> str:
    """Say what will be or was done about a finding."""
    if delta is None and finding.remedy is Remedy.HUMAN:
        return f"a person decides: {ADVICE[finding.kind]}"
    if delta is None:
        return _REMEDIES[finding.remedy]
    reason = f" ({bounded(delta.why)})" if delta.why and delta.outcome is not Outcome.DONE else ""
    where = " in the calendar" if delta.side is Side.CALENDAR else ""
    became = _REFUSED if refused and delta.outcome is Outcome.PLANNED else _OUTCOMES[delta.outcome]
    return f"{delta.action}{where}: {became}{reason}"
