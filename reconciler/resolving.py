"""What a person settles: the side whose word is taken for good, pair by pair, and why it can't be where it can't.

To take a side writes all that differs to the other one, as an ordinary delta under every limit. A job that does not
write to calendars takes the CRM's word by agreeing that both sides differ: nothing is written, nothing is found again
until one of them moves. Nobody's word stands in for evidence: what was merely not seen is not cancelled by it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler import decide, findings, linking, match, normalise, patterns
from reconciler.model import Direction, Outcome, Presence, Side, Situation, Step, Tier, Verdict
from reconciler.selecting import set_aside

if TYPE_CHECKING:
    from reconciler.decide import Rules
    from reconciler.findings import Context, Outlook
    from reconciler.judgement import Bench, Judged, Ruling, Rulings
    from reconciler.model import Pair, Record, Seen
    from reconciler.selecting import Filter

OVERRULED = frozenset({decide.UNSETTLED, patterns.TZ_SHIFT, patterns.FLAPPING, patterns.STALE_SERIES, match.AMBIGUOUS})
"""Holds that wait for a person, or for time: whoever decides has looked."""

UNWRITABLE = "this job does not write to calendars: put it right there, or `reconcile accept` it"
AGREED = Verdict(Situation.IN_SYNC, Step.REFRESH_BASE)
"""What is left where nothing has to be written: both sides may stay as they are."""

_SAYS = {Side.CALENDAR: "a person takes the calendar's word", Side.CRM: "a person takes the CRM's word"}


@dataclass(slots=True)
class Tally:
    """How many pairs a filter picked, and of those that stay as they are why, by the key that people know."""

    picked: int = 0
    left: dict[str, str] = field(default_factory=dict)

    def leave(self, pair: Pair, outlook: Outlook, why: str) -> None:
        """Note why a pair stays as it is."""
        names = (finding.key for finding in outlook.findings)
        self.left[next(names, pair.record.id if pair.record else "")] = why.rstrip(".")

    def weigh(self, pair: Pair, outlook: Outlook) -> None:
        """Note why nothing will be written of what was to be settled: for what it is, or what the job allows."""
        if not any(delta.outcome is Outcome.PLANNED for delta in outlook.deltas):
            said = [*(delta.why for delta in outlook.deltas), *(finding.why for finding in outlook.findings)]
            self.leave(pair, outlook, said[0] if said else "there is nothing to settle")


def taking(side: Side, chosen: Filter, tally: Tally) -> Rulings:
    """Return what takes one side's word for each pair that is chosen, and sets all others aside."""

    def rulings(bench: Bench) -> Ruling:
        contested = linking.contested(bench)

        def ruling(one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
            if not chosen.picks(one.pair, outlook.findings, bench.groups):
                return one, set_aside(outlook)
            tally.picked += 1
            named = chosen.names_one(one.pair, outlook.findings)
            pair = _paired(one.pair, bench, frozenset() if named else contested)
            verdict = pair if isinstance(pair, str) else settled(pair, side, bench.world.rules)
            if isinstance(pair, str) or isinstance(verdict, str):
                tally.leave(one.pair, outlook, str(verdict))
                return one, set_aside(outlook, str(verdict))
            settled_as = _came_to(pair, verdict, bench.world.context)
            tally.weigh(pair, settled_as)
            return replace(one, pair=pair, verdict=verdict), settled_as

        return ruling

    return rulings


def _came_to(pair: Pair, verdict: Verdict, context: Context) -> Outlook:
    if verdict.step is Step.REFRESH_BASE:
        return linking.agreed(pair, verdict, context)
    return findings.outlook(pair, verdict, context)


def _paired(pair: Pair, bench: Bench, contested: frozenset[str]) -> Pair | str:
    """Return a pair with the one record that it may be; or why a person has to say more than a side."""
    if match.AMBIGUOUS not in pair.holds:
        return pair
    if pair.tier is not Tier.NATURAL or len(pair.candidates) != 1:
        return "it may be more than one record, or another one's: write its key into the record that it is"
    record = linking.candidate(pair, bench)
    if record is None:
        return "the record that it may be has its event already, or is gone"
    if record.id in contested:
        return "several events may be this record: name the one that is, by its finding's key"
    return linking.with_record(pair, record)


# ---- one pair, one side ---------------------------------------------------------------------------------------------


def settled(pair: Pair, side: Side, rules: Rules) -> Verdict | str:
    """Return what to write where one side's word is taken, or why it can't be taken.

    REFRESH_BASE says that nothing is written: both sides may differ as they do.
    """
    if rest := [hold for hold in pair.holds if hold not in OVERRULED]:
        return f"it can't be judged now ({', '.join(rest)})"
    if pair.record is not None and pair.record.problem:
        return "the CRM row can't be read"
    found = _taken(pair, side, rules)
    if isinstance(found, str):
        return found
    situation = decide.decide(replace(pair, holds=()), rules).situation
    return replace(found, situation=situation, reason=_SAYS[side])


def _taken(pair: Pair, side: Side, rules: Rules) -> Verdict | str:
    seen, record = pair.seen, pair.record
    presence = record.presence if record else Presence.ABSENT
    if seen is not None and decide.is_live(seen):
        if record is None or presence is Presence.ABSENT:
            return _not_in_crm(pair, side, rules)
        if presence is Presence.CANCELLED:
            return _cancelled_in_crm(seen, record, side, rules)
        return _both_live(seen, record, side, rules)
    if record is None or presence is not Presence.LIVE:
        return "it is over on both sides"
    return _not_in_calendar(seen, record, side, rules)


def _writes_calendars(rules: Rules) -> bool:
    return rules.direction is not Direction.CALENDAR_TO_CRM


def _both_live(seen: Seen, record: Record, side: Side, rules: Rules) -> Verdict | str:
    names = normalise.differing(seen.fields, record.fields, rules.compare)
    movable = tuple(name for name in names if name != "agent")
    if not names:
        return AGREED
    if side is Side.CALENDAR and record.closed:
        return "the CRM has recorded an outcome, which is never overwritten"
    if side is Side.CALENDAR:
        return replace(AGREED, step=Step.UPDATE, to_crm=names)
    if _writes_calendars(rules) and movable and not record.closed:
        return replace(
            AGREED, step=Step.UPDATE, to_calendar=movable, foreign=tuple(name for name in names if name == "agent")
        )
    return AGREED


def _cancelled_in_crm(seen: Seen, record: Record, side: Side, rules: Rules) -> Verdict | str:
    if side is Side.CRM:
        return replace(AGREED, step=Step.REMOVE, side=Side.CALENDAR) if _writes_calendars(rules) else UNWRITABLE
    names = normalise.differing(seen.fields, record.fields, rules.compare)
    return replace(AGREED, step=Step.UPDATE, to_crm=("status", *(name for name in names if name != "status")))


def _not_in_crm(pair: Pair, side: Side, rules: Rules) -> Verdict | str:
    if side is Side.CALENDAR:
        gone = pair.record is not None
        return (
            "the record is deleted in the CRM: bring it back there"
            if gone
            else replace(AGREED, step=Step.CREATE, side=Side.CRM)
        )
    if pair.link is None:
        return "the CRM never had it, so it has no word: accept it, or take it out of the calendar"
    if not _writes_calendars(rules):
        return UNWRITABLE
    if pair.record is None:
        return "the CRM does not show its record any more; that alone is no evidence"
    return replace(AGREED, step=Step.REMOVE, side=Side.CALENDAR)


def _not_in_calendar(seen: Seen | None, record: Record, side: Side, rules: Rules) -> Verdict | str:
    if side is Side.CRM and seen is None:
        return replace(AGREED, step=Step.CREATE, side=Side.CALENDAR) if _writes_calendars(rules) else UNWRITABLE
    if side is Side.CRM:
        return "what was taken out of a calendar is not made again: enter it there, or `reconcile accept` it"
    if record.closed:
        return "the CRM has recorded an outcome, which is never overwritten"
    if seen is None or not _is_gone(seen):
        return "the calendar does not show it; that alone is no evidence: cancel the record if it is off"
    return replace(AGREED, step=Step.REMOVE, side=Side.CRM)


def _is_gone(seen: Seen) -> bool:
    """Tell whether there is more than not being shown: a provider's word, the agent's answer, or a rule's."""
    is_evidence = seen.absence is not None and seen.absence.is_evidence
    return is_evidence or (seen.absence is None and seen.declined) or seen.stale
