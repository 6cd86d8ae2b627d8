"""The decision table (README, "What is decided"): one pair in, one named situation out, for every input there can be.

Policy, limits and capabilities filter verdicts afterwards; they never change them.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler import normalise
from reconciler.model import Direction, First, Link, Pair, Presence, Record, Seen, Side, Situation, Step, Verdict

UNSETTLED = "unsettled"
"""The one hold that does not matter while both sides agree."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the table depends on: the direction, who wins at first sight, and the compared fields."""

    direction: Direction
    first: First
    compare: tuple[str, ...]


UNSEEN = Verdict(Situation.HOLD, Step.HOLD, reason="unseen")


def decide(pair: Pair, rules: Rules) -> Verdict:
    """Return what the table says of `pair`. A hold wins over everything but a pair that needs nothing."""
    verdict = _table(pair, rules)
    quiet = verdict.step in {Step.NOTHING, Step.REFRESH_BASE, Step.FORGET}
    if not pair.holds or (quiet and set(pair.holds) == {UNSETTLED}):
        return verdict
    return Verdict(Situation.HOLD, Step.HOLD, reason=", ".join(pair.holds))


def _table(pair: Pair, rules: Rules) -> Verdict:
    seen, record, link = pair.seen, pair.record, pair.link
    if seen is not None and seen.absence is None and not seen.declined:
        return _live(seen, record, link, rules)
    if record is None or record.presence is not Presence.LIVE:
        known = seen is not None and (seen.absence is None or seen.absence.is_evidence)
        return Verdict(Situation.IN_SYNC, Step.FORGET if link and known else Step.NOTHING)
    if seen is None:
        return UNSEEN if link else _new_in_crm(rules)
    if seen.absence is None:
        return Verdict(Situation.REMOVED_FROM_CALENDAR, Step.FINDING, reason="the agent declined it")
    return _removed(seen, record, link, rules) if seen.absence.is_evidence else UNSEEN


def _live(seen: Seen, record: Record | None, link: Link | None, rules: Rules) -> Verdict:
    if record is None or record.presence is Presence.ABSENT:
        return _absent_in_crm(link, rules)
    if record.presence is Presence.CANCELLED:
        return _cancelled_in_crm(seen, record, link, rules)
    differing = _differing(seen, record, link, rules)
    if not differing:
        agreed = link is not None and link.base == seen.fields and link.base_crm == record.fields
        return Verdict(Situation.IN_SYNC, Step.NOTHING if agreed else Step.REFRESH_BASE)
    if link is None or link.base is None:
        return _unagreed(seen, record, differing, rules)
    return _three_way(seen, record, link, differing, rules)


def _differing(seen: Seen, record: Record, link: Link | None, rules: Rules) -> tuple[str, ...]:
    """Return the fields that differ, but for those both sides were last agreed to spell differently."""
    differing = normalise.differing(seen.fields, record.fields, rules.compare)
    if link is None or link.base is None:
        return differing
    return tuple(
        name for name in differing if _moved(seen, record, link, name) != (False, False) or name not in link.base
    )


def _moved(seen: Seen, record: Record, link: Link, name: str) -> tuple[bool, bool]:
    """Tell whether `name` moved away from the base on the calendar's and on the CRM's side."""
    base, base_crm = link.base or {}, link.base_crm or {}
    return seen.fields.get(name) != base.get(name), record.fields.get(name) != base_crm.get(name)


def _unagreed(seen: Seen, record: Record, differing: tuple[str, ...], rules: Rules) -> Verdict:
    """Settle a pair that never agreed by `policy.first`."""
    situation = Situation.UNAGREED
    newer = seen.modified is not None and record.updated is not None and seen.modified > record.updated
    wins = rules.first is First.CALENDAR or (rules.first is First.NEWER and newer)
    if record.closed:
        return Verdict(situation, Step.FINDING, foreign=differing, reason="the CRM has recorded an outcome")
    if rules.direction is Direction.CALENDAR_TO_CRM and wins:
        return Verdict(
            situation, Step.UPDATE, to_crm=differing, reason="never agreed before; the calendar wins (policy.first)"
        )
    older = seen.modified is not None and record.updated is not None and not newer
    if rules.direction is Direction.CRM_TO_CALENDAR and rules.first is First.NEWER and older:
        return Verdict(
            situation, Step.UPDATE, to_calendar=differing, reason="never agreed before; the CRM is newer (policy.first)"
        )
    return Verdict(
        situation, Step.FINDING, foreign=differing, reason="both sides never agreed and it is not known who is right"
    )


def _three_way(seen: Seen, record: Record, link: Link, differing: tuple[str, ...], rules: Rules) -> Verdict:
    moved = {
        name: _moved(seen, record, link, name) if name in (link.base or {}) else (True, True) for name in differing
    }
    conflicts = tuple(name for name, who in moved.items() if who == (True, True))
    calendar = tuple(name for name, who in moved.items() if who == (True, False))
    crm = tuple(name for name, who in moved.items() if who == (False, True))
    situation = _situation(conflicts, calendar)
    writes_crm = rules.direction is not Direction.CRM_TO_CALENDAR and not record.closed
    to_crm = calendar if writes_crm else ()
    to_calendar = crm if rules.direction is not Direction.CALENDAR_TO_CRM else ()
    foreign = tuple(name for name in calendar + crm if name not in to_crm and name not in to_calendar)
    step = Step.UPDATE if to_crm or to_calendar else Step.CONFLICT if conflicts else Step.FINDING
    return Verdict(
        situation,
        step,
        None,
        to_crm,
        to_calendar,
        conflicts,
        foreign,
        _who(calendar, crm, conflicts, closed=record.closed),
    )


def _situation(conflicts: tuple[str, ...], calendar: tuple[str, ...]) -> Situation:
    if conflicts:
        return Situation.BOTH_CHANGED
    return Situation.CALENDAR_CHANGED if calendar else Situation.CRM_CHANGED


def _who(calendar: tuple[str, ...], crm: tuple[str, ...], conflicts: tuple[str, ...], *, closed: bool) -> str:
    said = [
        f"{', '.join(names)} changed {where}"
        for names, where in ((calendar, "in the calendar"), (crm, "in the CRM"), (conflicts, "on both sides"))
        if names
    ]
    return "; ".join(said) + ("; the CRM has recorded an outcome" if closed else "")


def _cancelled_in_crm(seen: Seen, record: Record, link: Link | None, rules: Rules) -> Verdict:
    if link and link.cancelled_by_us:
        if rules.direction is Direction.CALENDAR_TO_CRM:
            changed = normalise.differing(seen.fields, record.fields, rules.compare)
            fields = tuple(dict.fromkeys(("status", *changed)))
            return Verdict(
                Situation.REOPENED, Step.UPDATE, to_crm=fields, reason="we cancelled it and the event is back"
            )
        return Verdict(Situation.REOPENED, Step.FINDING, reason="we cancelled it and the event is back")
    reason = "cancelled in the CRM, alive in the calendar"
    if rules.direction is Direction.CRM_TO_CALENDAR:
        return Verdict(Situation.FALSE_CANCEL, Step.REMOVE, Side.CALENDAR, reason=reason)
    return Verdict(Situation.FALSE_CANCEL, Step.FINDING, reason=reason)


def _absent_in_crm(link: Link | None, rules: Rules) -> Verdict:
    if link is None:
        if rules.direction is Direction.CRM_TO_CALENDAR:
            return Verdict(Situation.NEW_IN_CALENDAR, Step.FINDING, reason="the CRM has no record of it")
        return Verdict(Situation.NEW_IN_CALENDAR, Step.CREATE, Side.CRM, reason="the CRM has no record of it")
    reason = "the record was removed from the CRM"
    if rules.direction is Direction.CALENDAR_TO_CRM:
        return Verdict(Situation.REMOVED_FROM_CRM, Step.FINDING, reason=reason)
    return Verdict(Situation.REMOVED_FROM_CRM, Step.REMOVE, Side.CALENDAR, reason=reason)


def _removed(seen: Seen, record: Record, link: Link | None, rules: Rules) -> Verdict:
    situation, gone = Situation.REMOVED_FROM_CALENDAR, f"{seen.absence} in the calendar"
    if record.closed:
        return Verdict(situation, Step.FINDING, reason=f"{gone}; the CRM has recorded an outcome")
    if rules.direction is Direction.CRM_TO_CALENDAR:
        return Verdict(situation, Step.FINDING, reason=gone)
    if link is None or link.base is None:
        newer = seen.modified is not None and record.updated is not None and seen.modified > record.updated
        step = Step.REMOVE if newer and rules.first is not First.REPORT else Step.FINDING
        unsure = "" if newer else "; never agreed before, and the cancellation is not known to be newer than the record"
        return Verdict(situation, step, Side.CRM if step is Step.REMOVE else None, reason=gone + unsure)
    edited = tuple(name for name in rules.compare if record.fields.get(name) != (link.base_crm or {}).get(name))
    if edited:
        reason = f"{gone}; {', '.join(edited)} edited in the CRM"
        return Verdict(Situation.REMOVED_AND_EDITED, Step.CONFLICT, conflicts=edited, reason=reason)
    return Verdict(situation, Step.REMOVE, Side.CRM, reason=gone)


def _new_in_crm(rules: Rules) -> Verdict:
    reason = "no calendar has it"
    if rules.direction is Direction.CALENDAR_TO_CRM:
        return Verdict(Situation.NEW_IN_CRM, Step.FINDING, reason=reason)
    return Verdict(Situation.NEW_IN_CRM, Step.CREATE, Side.CALENDAR, reason=reason)
