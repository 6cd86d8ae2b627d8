"""What a verdict would write: a delta for either side with its before-image, or why a person has to do it.

An event is only ever given what `WRITABLE` names, and only where nobody but the agent has to do with it: no series, no
guests, nothing that has ended, and of a private one nothing but its times.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from reconciler import normalise, patterns, text
from reconciler.model import (
    WRITABLE,
    Action,
    AgentState,
    Change,
    Delta,
    Fields,
    Pair,
    Presence,
    Record,
    Role,
    Seen,
    Side,
    Situation,
    Status,
    Step,
    Value,
    Verdict,
    rfc3339,
)

if TYPE_CHECKING:
    from reconciler.model import Calendar, Finding

_TIMES = frozenset({"start", "end", "all_day"})
"""They are written together, or half a move could be kept."""

_SHOWN = 20
"""Addresses of one field that are shown; nobody reads more."""

_PEOPLE = "who attends and whose it is are never written to a calendar"
_READ_ONLY = "its calendar can only be read"
_RECURRING = "it belongs to a recurring event, which only people change"
_GUESTS = "others have to do with it: they would be told, or would not learn of it"
_OUTCOME = "the CRM has recorded an outcome"
_DAYS = "it is an all-day event, and this CRM knows no days"
_HOMELESS = "none of this agent's calendars can be written"
_ENDLESS = "the CRM does not say when it starts and ends"


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What turns a verdict into something to do: the time, what policy allows, and what either side can.

    `writes` are the kinds of sources whose calendars can be written, `homes` where each agent's new events go: the
    calendar with its number.
    """

    now: datetime
    allow: frozenset[Action]
    can: frozenset[Action]
    compare: tuple[str, ...]
    mapped: frozenset[str]
    remove: Action = Action.CANCEL
    origin: str | None = None  # how the CRM names us, where rows name their writer
    writes: frozenset[str] = frozenset()
    homes: Mapping[str, tuple[int, Calendar]] = field(default_factory=dict)


# ---- what may be written --------------------------------------------------------------------------------------------


def fit(pair: Pair, verdict: Verdict, context: Context) -> tuple[Verdict, str | None]:
    """Return the verdict without what is never written, and why nothing is, although the table would (a clause)."""
    verdict = _without_people(pair, _with_owner_checked(pair, verdict))
    why = _for_a_person(pair, verdict, context)
    if why is None and (kept := _kept_off(pair, verdict, context)) is not None:
        if not verdict.to_crm:
            return verdict, kept
        reason = "; ".join(part for part in (verdict.reason, kept) if part)
        foreign = (*verdict.foreign, *verdict.to_calendar)
        verdict = replace(verdict, to_calendar=(), foreign=foreign, reason=reason)
    return verdict, why


def _with_owner_checked(pair: Pair, verdict: Verdict) -> Verdict:
    """Leave a change of owner to a person unless the event's agent is a plain active one."""
    agent = pair.calendar.agent if pair.calendar else None
    plain = agent is not None and agent.role is Role.AGENT and agent.state is AgentState.ACTIVE
    if plain or "agent" not in verdict.to_crm:
        return verdict
    others = tuple(name for name in verdict.to_crm if name != "agent")
    return replace(verdict, to_crm=others, foreign=("agent", *verdict.foreign))


def _without_people(pair: Pair, verdict: Verdict) -> Verdict:
    """Leave to a person what is never written to a calendar."""
    may = _TIMES if pair.seen and pair.seen.private else WRITABLE
    left = tuple(name for name in verdict.to_calendar if name not in may)
    if not left:
        return verdict
    kept = tuple(name for name in verdict.to_calendar if name in may)
    return replace(verdict, to_calendar=kept, foreign=(*verdict.foreign, *left))


def _for_a_person(pair: Pair, verdict: Verdict, context: Context) -> str | None:
    """Return why nothing is written on either side: it is over, private, or nothing is left to write."""
    nothing = verdict.step is Step.UPDATE and not (verdict.to_crm or verdict.to_calendar)
    reasons = (
        (is_over(pair, verdict, context), "it has ended; what is past is reported, never written"),
        (_has_left(pair), "this agent has left: what is theirs is frozen until a person decides"),
        (
            _copies_withheld(pair, verdict),
            "it is not copied: enter it by hand if it must be there",
        ),
        (_copies_private(pair, verdict), "a private event is never copied: enter it by hand if it is an appointment"),
        (nothing, _PEOPLE if _can_own(pair) else "its calendar's owner can't own records"),
    )
    return next((why for holds, why in reasons if holds), None)


def _can_own(pair: Pair) -> bool:
    return pair.calendar is not None and pair.calendar.agent.role is Role.AGENT


def _has_left(pair: Pair) -> bool:
    return pair.calendar is not None and pair.calendar.agent.state is AgentState.LEFT


def _copies_withheld(pair: Pair, verdict: Verdict) -> bool:
    sides = (pair.seen, pair.record)
    return verdict.step is Step.CREATE and any(side is not None and side.withheld for side in sides)


def _copies_private(pair: Pair, verdict: Verdict) -> bool:
    return verdict.step is Step.CREATE and pair.seen is not None and pair.seen.private


def is_over(pair: Pair, verdict: Verdict, context: Context) -> bool:
    """Tell whether all there is has ended: what the calendar shows and, for a change, what the CRM holds."""
    sides = [pair.seen.fields if pair.seen else None, pair.record.fields if pair.record else None]
    if verdict.step is Step.REMOVE and verdict.side is Side.CALENDAR and pair.seen:
        sides = [pair.seen.fields]
    elif verdict.step is Step.REMOVE and pair.record:
        sides = [pair.record.fields]
    ends = [end for fields in sides if fields and (end := ends_at(fields)) is not None]
    return bool(ends) and max(ends) <= context.now


def ends_at(fields: Fields) -> datetime | None:
    """Return when what these fields say is over; None where they do not say."""
    end = fields.get("end") or fields.get("start")
    if not isinstance(end, str):
        return None
    if len(end) == len("2026-11-24"):  # an all-day end is over when it is over everywhere
        return datetime.fromisoformat(end).replace(tzinfo=UTC) + timedelta(hours=12)
    return patterns.instant(end)


def _kept_off(pair: Pair, verdict: Verdict, context: Context) -> str | None:
    """Return why a calendar is not written although the table would; None where it may be, or is not meant."""
    if Side.CALENDAR not in sides_of(verdict):
        return None
    reasons = _no_home(pair, context) if verdict.step is Step.CREATE else _not_ours_alone(pair, verdict, context)
    return next((why for holds, why in reasons if holds), None)


def _no_home(pair: Pair, context: Context) -> Iterable[tuple[bool, str]]:
    record = pair.record
    fields: Fields = record.fields if record else {}
    timed = all(isinstance(fields.get(name), str) for name in ("start", "end"))
    return (
        (record is not None and record.closed, _OUTCOME),
        (fields.get("agent") not in context.homes, _HOMELESS),
        (not timed, _ENDLESS),
    )


def _not_ours_alone(pair: Pair, verdict: Verdict, context: Context) -> Iterable[tuple[bool, str]]:
    seen, record = pair.seen, pair.record
    if seen is None or pair.calendar is None:
        return ((True, "no calendar shows it"),)
    moves = not _TIMES.isdisjoint(verdict.to_calendar)
    return (
        (pair.calendar.kind not in context.writes, _READ_ONLY),
        (seen.series is not None, _RECURRING),
        (seen.guests > 0, _GUESTS),
        (record is not None and record.closed, _OUTCOME),
        (moves and seen.span.all_day and "all_day" not in context.mapped, _DAYS),
    )


# ---- what would be done ---------------------------------------------------------------------------------------------


def sides_of(verdict: Verdict) -> tuple[Side, ...]:
    """Return which sides a verdict would write, the CRM first."""
    if verdict.step is not Step.UPDATE:
        return (verdict.side or Side.CRM,)
    meant = ((Side.CRM, verdict.to_crm), (Side.CALENDAR, verdict.to_calendar))
    return tuple(side for side, names in meant if names)


def action_of(verdict: Verdict, side: Side, context: Context) -> Action:
    """Return what a verdict would do to a side. An event is removed in one way only."""
    match verdict.step:
        case Step.CREATE:
            return Action.CREATE
        case Step.REMOVE if side is Side.CALENDAR:
            return Action.CANCEL
        case Step.REMOVE:
            impossible = context.remove is Action.CANCEL and Action.CANCEL not in context.can
            return Action.DELETE if impossible else context.remove
        case _:
            return Action.UPDATE


def not_allowed(action: Action, side: Side, verdict: Verdict, context: Context) -> str:
    """Say why policy or the CRM's schema holds an action back; empty if nothing does."""
    if action not in context.allow:
        return f'held: [policy].allow does not include "{action}"'
    if side is Side.CALENDAR:
        return ""
    if action not in context.can:
        return f"held: this CRM can't {action} records"
    if verdict.situation is Situation.REOPENED and Action.CANCEL not in context.allow:
        return 'held: [policy].allow does not include "cancel", so reopening is left to a person'
    return ""


# ---- deltas ---------------------------------------------------------------------------------------------------------


def delta_of(pair: Pair, verdict: Verdict, side: Side, finding: Finding, context: Context) -> Delta:
    """Return what a verdict writes to one side."""
    action = action_of(verdict, side, context)
    return (_to_calendar if side is Side.CALENDAR else _to_crm)(pair, verdict, action, finding, context)


def _to_crm(pair: Pair, verdict: Verdict, action: Action, finding: Finding, context: Context) -> Delta:
    seen, record = pair.seen, pair.record
    want = _want(pair, verdict, action, context)
    known = record if action is not Action.CREATE else None
    return Delta(
        action=action,
        side=Side.CRM,
        key=key_of(pair),
        kind=finding.kind,
        severity=finding.severity,
        agent=finding.agent,
        event=finding.event,
        calendar_id=pair.calendar_id,
        meeting=_meeting(pair),
        crm_id=known.id if known else None,
        version=known.version if known else None,
        want=want,
        was=_image(_held(known), want, action),
        fields=_changes(action, want, _held(record)),
        start=finding.start or "",
        seen_digest=seen.digest if seen else b"",
        finding=finding.key,
    )


def _want(pair: Pair, verdict: Verdict, action: Action, context: Context) -> dict[str, Value]:
    if pair.seen is None or action in {Action.CANCEL, Action.DELETE}:
        return {}
    fields = pair.seen.fields
    if action is Action.CREATE:
        return {name: value for name, value in fields.items() if name in context.mapped | {"agent"}}
    names = set(verdict.to_crm)
    if names & _TIMES:
        names |= _TIMES & context.mapped
    return {name: fields[name] for name in sorted(names) if name in fields}


def _to_calendar(pair: Pair, verdict: Verdict, action: Action, finding: Finding, context: Context) -> Delta:
    seen, record = pair.seen, pair.record
    want = _wanted(pair, verdict, action)
    before: Fields = seen.fields if seen else {}
    home = context.homes.get(finding.agent or "") if seen is None else None
    return Delta(
        action=action,
        side=Side.CALENDAR,
        key=key_of(pair),
        kind=finding.kind,
        severity=finding.severity,
        agent=finding.agent,
        event=finding.event,
        calendar_id=home[0] if home else pair.calendar_id,
        meeting=_meeting(pair),
        crm_id=record.id if record else pair.link.crm_id if pair.link else None,
        version=seen.etag if seen else None,
        want=want,
        was=_image({name: before[name] for name in before if name in WRITABLE}, want, action),
        notify=seen.guests if seen else 0,
        fields=_changes(action, want, before),
        start=finding.start or "",
        seen_digest=seen.digest if seen else b"",
        finding=finding.key,
    )


def _wanted(pair: Pair, verdict: Verdict, action: Action) -> dict[str, Value]:
    """Return what an event is to say: all that the CRM knows of a new one, else what moved in the CRM."""
    if pair.record is None or action is Action.CANCEL:
        return {}
    fields = pair.record.fields
    names = WRITABLE if action is Action.CREATE else set(verdict.to_calendar)
    if names & _TIMES:
        names = names | _TIMES
    want = {name: fields[name] for name in sorted(names) if fields.get(name) is not None or name in verdict.to_calendar}
    return want | _as_long(want, pair.seen)


def _as_long(want: Fields, seen: Seen | None) -> dict[str, Value]:
    """Return the end of an event that is moved by a CRM which knows no ends: it takes as long as it took."""
    start = patterns.instant(want.get("start"))
    if seen is None or start is None or want.get("end") is not None:
        return {}
    return {"end": rfc3339(start + (seen.span.ends_at - seen.span.starts_at))}


def _meeting(pair: Pair) -> str:
    if pair.seen:
        return pair.seen.meeting
    return pair.link.meeting if pair.link else ""


def _held(record: Record | None) -> Fields:
    """Return what a record says, a cancelled one that it is."""
    if record is None:
        return {}
    cancelled = record.presence is Presence.CANCELLED
    return {**record.fields, "status": Status.CANCELLED.value} if cancelled else record.fields


def _image(before: Fields, want: Fields, action: Action) -> dict[str, Value]:
    """Return what the written side held of what is written: all of it, where all of it goes."""
    match action:
        case Action.CREATE | Action.LINK:
            return {}
        case Action.UPDATE:
            return {name: before.get(name) for name in want}
        case Action.CANCEL | Action.DELETE:
            return dict(before)


def _changes(action: Action, want: Fields, before: Fields) -> dict[str, Change]:
    if action in {Action.CANCEL, Action.DELETE}:
        after = Status.CANCELLED.value if action is Action.CANCEL else None
        return {"status": (before.get("status"), after)}
    if action is Action.CREATE:
        return {name: (None, inert(value)) for name, value in want.items()}
    return {
        name: (inert(before.get(name)), inert(value))
        for name, value in want.items()
        if not normalise.same(name, value, before.get(name))
    }


def key_of(pair: Pair) -> str:
    """Return the name of a pair that stays the same over runs: the source key, else the record's."""
    if pair.seen and pair.seen.keys:
        return pair.seen.keys[0]
    if pair.record:
        return pair.record.key or f"crm:{pair.record.id}"
    return pair.link.meeting if pair.link else pair.seen.event if pair.seen else ""


def inert(value: Value) -> Value:
    """Return a value as it may be shown: bounded, and without anything that a terminal or a mail would obey."""
    if isinstance(value, tuple):
        return tuple(text.line(item) for item in value[:_SHOWN])
    return text.line(value) if isinstance(value, str) else value
