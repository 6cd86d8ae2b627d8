"""Add up what one run came to: counts that balance, a status, an exit code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler import groups, plan
from reconciler.errors import CrmUnreachableError, RefusedError
from reconciler.model import Action, Kind, Mode, Outcome, Remedy, Side
from reconciler.result import BUCKETS, EVENT_BUCKETS, RECORD_BUCKETS, CalendarSeen, Result, Sum, failed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from reconciler import guard
    from reconciler.judgement import Judgement
    from reconciler.limit import Limit
    from reconciler.model import Delta, Finding, Plan, Window
    from reconciler.observe import Observed

KNOWN_GAP = 3
"""Runs in a row that could not read a calendar, after which the gap is known: it no longer makes exit code 5."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """What a run was: whose, when, over what, and how its calendars were read."""

    job: str
    run: str
    dry_run: bool
    window: Window
    observed: tuple[Observed, ...]
    may_be_blind: Limit


def came_to(ran: Ran, found: Judgement, judged: guard.Judgement, planned: Plan) -> Result:
    """Return the result of a run. `planned` holds the deltas with their outcomes."""
    _recount(found, judged.deltas)
    result = Result(
        job=ran.job,
        run=ran.run,
        dry_run=ran.dry_run,
        status="in_sync",
        exit_code=0,
        window=ran.window,
        digest=planned.digest,
        counts=_counts(ran, found, planned.deltas),
        events=Sum(found.events_total, {name: found.events[name] for name in EVENT_BUCKETS}),
        records=Sum(found.records_total, {name: found.records[name] for name in RECORD_BUCKETS}),
        deltas=planned.deltas,
        findings=_ordered(found.findings),
        violations=judged.violations,
        withheld=judged.withheld,
        asks=judged.asks,
        approvals=judged.consents,
        calendars=tuple(
            calendar_seen(each, ran.window, found.by_calendar.get(each.watched.id, 0)) for each in ran.observed
        ),
    )
    partial = _is_partial(ran, result)
    return replace(result, status=_status(result, partial=partial), exit_code=_exit_code(result, partial=partial))


def _recount(found: Judgement, deltas: Sequence[Delta]) -> None:
    """Move what the guard withheld from its bucket to `held`."""
    drafted = {plan.identity(proposal.delta): proposal for proposal in found.proposals}
    moved: set[int] = set()  # a pair that is written on both sides counts once
    for delta in deltas:
        before = drafted[plan.identity(delta)]
        if delta.outcome is not Outcome.HELD or before.delta.outcome is Outcome.HELD or id(before.pair) in moved:
            continue
        moved.add(id(before.pair))
        is_new = delta.action is Action.CREATE and delta.side is Side.CRM
        has_record = before.pair.record is not None and not is_new
        has_event = before.pair.seen is not None and before.pair.seen.absence is None
        for side, counts in ((found.pairs, True), (found.events, has_event), (found.records, has_record)):
            if counts and side[delta.action.value]:
                side[delta.action.value] -= 1
                side["held"] += 1


def _counts(ran: Ran, found: Judgement, deltas: Sequence[Delta]) -> dict[str, int]:
    asked = [each for each in ran.observed if each.asked]
    return {
        "calendars": len(ran.observed),
        "unobserved": sum(1 for each in asked if each.mode is None),
        "events": found.events_total,
        "records": found.records_total,
        **{name: found.pairs[name] for name in BUCKETS},
        "irrelevant": found.events["irrelevant"],
        "quarantined": found.events["quarantined"],
        "copies": found.events["copies"],
        "strangers": found.records["strangers"],
        "pending": found.pending,  # of those held: younger than `settle`
        "accepted": found.accepted,  # of those held: known, by a person's word
        "deferred": sum(1 for delta in deltas if delta.outcome is Outcome.DEFERRED),
        "notify": sum(delta.notify for delta in deltas if delta.outcome not in {Outcome.HELD, Outcome.DEFERRED}),
    }


def _ordered(found: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return each finding once, most urgent first; what is accepted comes last, but for what was not seen."""
    unique = {finding.key: finding for finding in found}
    return tuple(sorted(unique.values(), key=_urgency))


def _urgency(finding: Finding) -> tuple[bool, int, str, str, str]:
    is_known = finding.remedy is Remedy.NONE and finding.kind is not Kind.COVERAGE_GAP
    return (is_known, finding.severity.rank, finding.kind, finding.start or "", finding.key)


def calendar_seen(each: Observed, window: Window, events: int = 0) -> CalendarSeen:
    """Return how a calendar was read, and how many events it has."""
    watched = each.watched
    return CalendarSeen(
        agent=watched.calendar.agent.email,
        source=watched.calendar.source,
        observed=each.mode is not None,
        mode=each.mode.value if each.mode else None,
        events=events,
        why=each.why,
        strikes=watched.strikes if each.mode is None else 0,
        blind_since=watched.blind_since if each.mode is None else None,
        because=_because(each, window),
        number=watched.id,
        asked=each.asked,
        rested=each.rested,
        quarantined=len(each.quarantined),
    )


def _because(each: Observed, window: Window) -> str | None:
    """Say why a calendar was read whole that is read by its changes otherwise; feeds always are."""
    cursor = each.watched.cursor
    if each.mode is not Mode.FULL or each.watched.calendar.kind == "ics":
        return None
    if cursor is None:
        return "nothing was known of it, or access had been lost since"
    if not cursor.window.contains(window):
        return "the window has moved past what was read ahead"
    return f"its cursor, last made whole {cursor.full_at:%Y-%m-%d %H:%M} UTC, no longer held or was due to be renewed"


def _is_partial(ran: Ran, result: Result) -> bool:
    """Tell whether something that was meant to be seen or done was not: exit code 5."""
    accepted = frozenset(finding.key for finding in result.findings if finding.remedy is Remedy.NONE)
    is_blinder_now = is_blinder(ran.observed, accepted, ran.may_be_blind)
    return is_blinder_now or bool(result.withheld) or bool(failed(result.deltas))


def is_blinder(observed: Iterable[Observed], accepted: Collection[str], may_be_blind: Limit) -> bool:
    """Tell whether more calendars than may be are newly unobserved; `accepted` are the keys of gaps that are known."""
    asked = [each for each in observed if each.asked]
    newly = sum(1 for each in asked if _is_newly_blind(each) and groups.gap_key(each.watched.calendar) not in accepted)
    return newly > may_be_blind.allowed(len(asked), len(asked))


def _is_newly_blind(each: Observed) -> bool:
    return each.mode is None and not each.rested and each.watched.strikes < KNOWN_GAP


def _status(result: Result, *, partial: bool) -> str:
    if result.violations:
        return "refused"
    if partial:
        return "partial"
    if any(delta.outcome in {Outcome.DONE, Outcome.ALREADY} for delta in result.deltas):
        return "applied"
    return "drift" if result.has_differences else "in_sync"


def _exit_code(result: Result, *, partial: bool) -> int:
    if result.violations:
        return RefusedError.exit_code
    return CrmUnreachableError.exit_code if partial else 0
