"""The decision table (docs/rules.md): one pair in, one named situation out, for every input there can be.

Policy, limits and capabilities filter verdicts afterwards; they never change them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from reconciler import normalise
from reconciler.model import (
    Absence,
    Direction,
    Fields,
    First,
    Link,
    Pair,
    Presence,
    Record,
    Seen,
    Side,
    Situation,
    Step,
    Verdict,
)

UNSETTLED = "unsettled"
UNKNOWN = "unknown"
"""The holds that do not matter while both sides agree: too young, and written to with an outcome nobody knows yet."""

CLAIMED = "claimed"
"""The hold of an event that we made for a record which is not there, or which has another event by now."""

REMOVED_BY_US = "we removed its event when the CRM did not show it, or as cancelled, and now it does again"

UNSEEN = Verdict(Situation.HOLD, Step.HOLD, reason="unseen")
QUARANTINED = Verdict(Situation.HOLD, Step.HOLD, reason="quarantined")
LEFT_WINDOW = Verdict(Situation.HOLD, Step.HOLD, reason="left_window")

_TIMES = frozenset({"start", "end", "all_day"})
"""They are written together, so they are judged together: half a move of a person's must not be overwritten."""

_OWN_SPELLING = frozenset({"title", "location", "participants"})
"""Fields that a CRM may keep in its own spelling; anything else that differs was not agreed on."""

_LEFT_OUT_WHEN_EMPTY = frozenset({"contact", "participants"})
"""Fields whose absence from a base means that they were empty, not that nobody looked."""

_QUIET = frozenset({Step.NOTHING, Step.REFRESH_BASE, Step.FORGET})


@dataclass(frozen=True, slots=True)
class Rules:
    """What the table depends on: the direction, who wins at first sight, and the compared fields."""

    direction: Direction
    first: First
    compare: tuple[str, ...]


def decide(pair: Pair, rules: Rules) -> Verdict:
    """Return what the table says of `pair`. What needs nothing is held for nothing that only waits."""
    verdict = _table(pair, rules)
    if not pair.holds or (verdict.step in _QUIET and set(pair.holds) <= {UNSETTLED, UNKNOWN}):
        return verdict
    return Verdict(Situation.HOLD, Step.HOLD, reason=", ".join(pair.holds))


def _table(pair: Pair, rules: Rules) -> Verdict:
    seen, record, link = pair.seen, pair.record, pair.link
    if seen is not None and is_live(seen):
        return _live(pair, seen, rules)
    if record is None or record.presence is not Presence.LIVE:
        return _over(seen, link)
    if record.problem:
        return QUARANTINED
    if seen is None and link is None:
        return _new_in_crm(rules)
    if seen is None or seen.relevance is None:
        return UNSEEN
    return _not_live(seen, record, link, rules)


def is_live(seen: Seen) -> bool:
    """Tell whether the calendar shows an appointment; of an irrelevant event nothing is known to compare."""
    return seen.absence is None and not seen.declined and seen.relevance is not None


# ---- alive in the calendar ------------------------------------------------------------------------------------------


def _live(pair: Pair, seen: Seen, rules: Rules) -> Verdict:
    record, link = pair.record, pair.link
    if record is None or record.presence is Presence.ABSENT:
        return _absent_in_crm(pair, seen, rules)
    if record.problem:
        return QUARANTINED
    if record.presence is Presence.CANCELLED:
        return _cancelled_in_crm(seen, record, link, rules)
    apart = _who_moved(seen, record, link, rules.compare)
    if not apart:
        is_known = link is not None and not link.is_open and is_base(seen, record, link, rules.compare)
        return Verdict(Situation.IN_SYNC, Step.NOTHING if is_known else Step.REFRESH_BASE)
    return _differ(apart, seen, record, rules)


def is_base(seen: Seen, record: Record, link: Link | None, compare: tuple[str, ...]) -> bool:
    """Tell whether the base already says, in both spellings, what both sides say."""
    if link is None or link.base is None or link.base_crm is None or link.removed_by_us:
        return False
    base, base_crm = link.base, link.base_crm
    return all(
        seen.fields.get(name) == base.get(name) and record.fields.get(name) == base_crm.get(name) for name in compare
    )


class _Moved(StrEnum):
    """Which side moved a field away from base."""

    CALENDAR = "in the calendar"
    CRM = "in the CRM"
    BOTH = "on both sides"
    NEVER = "never agreed before"


def _who_moved(seen: Seen, record: Record, link: Link | None, compare: tuple[str, ...]) -> dict[str, _Moved]:
    """Say of each field in which both sides really differ who moved it."""
    found = {
        name: moved
        for name in normalise.differing(seen.fields, record.fields, compare)
        if (moved := _moved(name, seen, record, link)) is not None
    }
    if len({found[name] for name in _TIMES & found.keys()}) > 1:
        found |= dict.fromkeys(_TIMES & found.keys(), _Moved.BOTH)
    return found


def _moved(name: str, seen: Seen, record: Record, link: Link | None) -> _Moved | None:
    """Say who moved one field that differs; None where both sides were agreed to spell it differently."""
    if link is None or link.base is None:
        return _Moved.NEVER
    base: Fields = link.base
    base_crm: Fields = link.base_crm or {}
    if name not in base and name not in base_crm and name not in _LEFT_OUT_WHEN_EMPTY:
        return _Moved.NEVER
    match seen.fields.get(name) != base.get(name), record.fields.get(name) != base_crm.get(name):
        case True, True:
            return _Moved.BOTH
        case True, False:
            return _Moved.CALENDAR
        case False, True:
            return _Moved.CRM
        case _:
            return None if name in _OWN_SPELLING else _Moved.NEVER


def _differ(apart: dict[str, _Moved], seen: Seen, record: Record, rules: Rules) -> Verdict:
    """Let each field travel the way this direction allows; what may not is a finding, what clashes a conflict."""
    by = {moved: tuple(name for name, who in apart.items() if who is moved) for moved in _Moved}
    first = _first(seen, record, rules)
    calendar = by[_Moved.CALENDAR] + (by[_Moved.NEVER] if first is Side.CALENDAR else ())
    crm = by[_Moved.CRM] + (by[_Moved.NEVER] if first is Side.CRM else ())
    conflicts = by[_Moved.BOTH]
    to_crm = calendar if rules.direction is not Direction.CRM_TO_CALENDAR and not record.closed else ()
    to_calendar = crm if rules.direction is not Direction.CALENDAR_TO_CRM and not record.closed else ()
    return Verdict(
        _situation(by),
        Step.UPDATE if to_crm or to_calendar else Step.CONFLICT if conflicts else Step.FINDING,
        to_crm=to_crm,
        to_calendar=to_calendar,
        conflicts=conflicts,
        foreign=tuple(name for name in apart if name not in {*to_crm, *to_calendar, *conflicts}),
        reason=_why(by, first, closed=record.closed),
    )


def _situation(by: dict[_Moved, tuple[str, ...]]) -> Situation:
    if by[_Moved.BOTH]:
        return Situation.BOTH_CHANGED
    if by[_Moved.CALENDAR]:
        return Situation.CALENDAR_CHANGED
    return Situation.CRM_CHANGED if by[_Moved.CRM] else Situation.UNAGREED


def _first(seen: Seen, record: Record, rules: Rules) -> Side | None:
    """Return whose word counts where both sides never agreed (`policy.first`); None leaves it to a person."""
    if rules.first is First.REPORT or rules.direction is Direction.TWO_WAY or record.closed:
        return None
    if rules.direction is Direction.CALENDAR_TO_CRM:
        return Side.CALENDAR if rules.first is First.CALENDAR or _is_newer(seen, record) else None
    known = seen.modified is not None and record.updated is not None
    return Side.CRM if rules.first is First.NEWER and known and not _is_newer(seen, record) else None


def _is_newer(seen: Seen, record: Record) -> bool:
    """Tell whether the calendar's side is known to have changed after the record."""
    return seen.modified is not None and record.updated is not None and seen.modified > record.updated


def _why(by: dict[_Moved, tuple[str, ...]], first: Side | None, *, closed: bool) -> str:
    said = [f"{', '.join(names)} changed {moved}" for moved, names in by.items() if names and moved is not _Moved.NEVER]
    if by[_Moved.NEVER]:
        winner = {
            Side.CALENDAR: "the calendar wins (policy.first)",
            Side.CRM: "the CRM is newer (policy.first)",
            None: "it is not known who is right",
        }[first]
        said.append(f"{', '.join(by[_Moved.NEVER])} never agreed before, {winner}")
    if closed:
        said.append("the CRM has recorded an outcome")
    return "; ".join(said)


def _cancelled_in_crm(seen: Seen, record: Record, link: Link | None, rules: Rules) -> Verdict:
    if link and link.cancelled_by_us:
        return _reopened(seen, record, link, rules)
    reason = "cancelled in the CRM, alive in the calendar"
    if rules.direction is Direction.CRM_TO_CALENDAR:
        return _edited_there(seen, link, rules, reason) or Verdict(
            Situation.FALSE_CANCEL, Step.REMOVE, Side.CALENDAR, reason=reason
        )
    return Verdict(Situation.FALSE_CANCEL, Step.FINDING, reason=reason)


def _edited_there(seen: Seen, link: Link | None, rules: Rules, gone: str) -> Verdict | None:
    """Return the conflict of an event that its agent edited and that is to be removed; None where nobody edited it."""
    base = link.base if link else None
    edited = tuple(name for name in rules.compare if base and name in base and seen.fields.get(name) != base[name])
    if not edited:
        return None
    reason = f"{gone}; {', '.join(edited)} edited in the calendar"
    return Verdict(Situation.REMOVED_AND_EDITED, Step.CONFLICT, conflicts=edited, reason=reason)


def _reopened(seen: Seen, record: Record, link: Link, rules: Rules) -> Verdict:
    """Take our own cancel back, with what moved in the calendar since; what a person edited meanwhile stays theirs."""
    reason = "we cancelled it and the event is back"
    if rules.direction is not Direction.CALENDAR_TO_CRM:
        return Verdict(Situation.REOPENED, Step.FINDING, reason=reason)
    apart = _who_moved(seen, record, link, tuple(name for name in rules.compare if name != "status"))
    ours = tuple(name for name, who in apart.items() if who in {_Moved.CALENDAR, _Moved.NEVER})
    return Verdict(
        Situation.REOPENED,
        Step.UPDATE,
        to_crm=("status", *ours),
        conflicts=tuple(name for name, who in apart.items() if who is _Moved.BOTH),
        foreign=tuple(name for name, who in apart.items() if who is _Moved.CRM),
        reason=reason,
    )


def _absent_in_crm(pair: Pair, seen: Seen, rules: Rules) -> Verdict:
    if pair.link is None:
        step = Step.FINDING if rules.direction is Direction.CRM_TO_CALENDAR else Step.CREATE
        side = Side.CRM if step is Step.CREATE else None
        return Verdict(Situation.NEW_IN_CALENDAR, step, side, reason="the CRM has no record of it")
    if rules.direction is Direction.CALENDAR_TO_CRM:
        return Verdict(Situation.REMOVED_FROM_CRM, Step.FINDING, reason="the record was removed from the CRM")
    if pair.record is None and not pair.is_gone:  # a snapshot that lacks it is no evidence
        reason = "the CRM does not show its record any more; that alone is no evidence"
        return Verdict(Situation.REMOVED_FROM_CRM, Step.FINDING, reason=reason)
    reason = "the record was removed from the CRM"
    return _edited_there(seen, pair.link, rules, reason) or Verdict(
        Situation.REMOVED_FROM_CRM, Step.REMOVE, Side.CALENDAR, reason=reason
    )


# ---- not alive in the calendar --------------------------------------------------------------------------------------


def _over(seen: Seen | None, link: Link | None) -> Verdict:
    """Let a pair rest of which no side is alive. Its link is kept while the calendar's side is merely unseen."""
    known = seen is not None and (seen.absence is None or seen.absence.is_evidence)
    return Verdict(Situation.IN_SYNC, Step.FORGET if link and known else Step.NOTHING)


def _not_live(seen: Seen, record: Record, link: Link | None, rules: Rules) -> Verdict:
    if seen.absence is None:
        return Verdict(Situation.REMOVED_FROM_CALENDAR, Step.FINDING, reason="the agent declined it")
    if seen.absence is Absence.LEFT_WINDOW:  # it is where it was last seen: at most the record moved
        moved = _who_moved(seen, record, link, rules.compare)
        return LEFT_WINDOW if moved else Verdict(Situation.IN_SYNC, Step.NOTHING)
    return _removed(seen, record, link, rules) if seen.absence.is_evidence else UNSEEN


def _removed(seen: Seen, record: Record, link: Link | None, rules: Rules) -> Verdict:
    situation, gone = Situation.REMOVED_FROM_CALENDAR, f"{seen.absence} in the calendar"
    if record.closed:
        return Verdict(situation, Step.FINDING, reason=f"{gone}; the CRM has recorded an outcome")
    if link is not None and link.removed_by_us:  # what we did ourselves is evidence of nothing
        return Verdict(situation, Step.FINDING, reason=REMOVED_BY_US)
    if edited := _edited(record, link, rules):
        reason = f"{gone}; {', '.join(edited)} edited in the CRM"
        return Verdict(Situation.REMOVED_AND_EDITED, Step.CONFLICT, conflicts=edited, reason=reason)
    if rules.direction is Direction.CRM_TO_CALENDAR:
        return Verdict(situation, Step.FINDING, reason=gone)
    if link is None or link.base is None:
        return _removed_unagreed(seen, record, rules, gone)
    return Verdict(situation, Step.REMOVE, Side.CRM, reason=gone)


def _edited(record: Record, link: Link | None, rules: Rules) -> tuple[str, ...]:
    """Return what of the record moved away from what both sides agreed on; nothing, if they never did."""
    if link is None or link.base is None:
        return ()
    base_crm = link.base_crm or {}
    return tuple(name for name in rules.compare if record.fields.get(name) != base_crm.get(name))


def _removed_unagreed(seen: Seen, record: Record, rules: Rules, gone: str) -> Verdict:
    """Remove what never agreed only if the cancellation is known to be newer than the record."""
    situation = Situation.REMOVED_FROM_CALENDAR
    if not _is_newer(seen, record):
        unsure = f"{gone}; never agreed before, and the cancellation is not known to be newer than the record"
        return Verdict(situation, Step.FINDING, reason=unsure)
    if rules.first is First.REPORT:
        return Verdict(situation, Step.FINDING, reason=f"{gone}; never agreed before (policy.first)")
    return Verdict(situation, Step.REMOVE, Side.CRM, reason=gone)


def _new_in_crm(rules: Rules) -> Verdict:
    reason = "no calendar has it"
    if rules.direction is Direction.CALENDAR_TO_CRM:
        return Verdict(Situation.NEW_IN_CRM, Step.FINDING, reason=reason)
    return Verdict(Situation.NEW_IN_CRM, Step.CREATE, Side.CALENDAR, reason=reason)
