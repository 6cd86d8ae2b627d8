"""Pairs that become links because a person says so: natural matches, and sides that may differ from now on.

A link is a delta like any other: planned, counted against a limit, consented to and journalled; but it writes to
neither side. Natural matches are linked only where one event suggests one record and nothing else suggests it too.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import findings, match, normalise
from reconciler.findings import Outlook
from reconciler.model import Action, Delta, Remedy, Side, Step, Tier
from reconciler.selecting import set_aside

if TYPE_CHECKING:
    from reconciler.findings import Context
    from reconciler.judgement import Bench, Judged, Ruling
    from reconciler.model import Fields, Finding, Pair, Record, Verdict

SUGGESTED = "same agent, client and time; linked, it is compared from the next run on"
AGREED = "both sides may differ as they do now, until one of them changes"


def suggested(bench: Bench) -> Ruling:
    """Return what links each natural match that is one to one, and sets everything else aside."""
    several = contested(bench)

    def ruling(one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
        record = candidate(one.pair, bench) if set(one.pair.holds) == {match.AMBIGUOUS} else None
        if record is None or record.id in several or outlook.accepted:
            return one, set_aside(outlook)
        pair = with_record(one.pair, record)
        found = tuple(replace(each, remedy=Remedy.FIX) for each in outlook.findings)
        return replace(one, pair=pair), Outlook("human", found, _delta(pair, found[0], SUGGESTED))

    return ruling


def contested(bench: Bench) -> frozenset[str]:
    """Return the records that more than one event may be: one that was not read in this run, too."""
    claims = Counter(crm_id for one in bench.judged for crm_id in {*one.pair.candidates, *one.others})
    partly = [one.pair for one in bench.judged if _agent_of(one.pair) in bench.world.blind_agents]
    unread = {crm_id for pair in partly for crm_id in pair.candidates}
    return frozenset(crm_id for crm_id, count in claims.items() if count > 1) | unread


def _agent_of(pair: Pair) -> str | None:
    return pair.calendar.agent.email if pair.calendar else None


def candidate(pair: Pair, bench: Bench) -> Record | None:
    """Return the one record that an event suggests by agent, client and time, if no event has it."""
    if pair.seen is None or pair.tier is not Tier.NATURAL or len(pair.candidates) != 1:
        return None
    record = bench.record(pair.candidates[0])
    if record is None or record.problem or not bench.is_free(record.id) or not match.is_natural(pair.seen, record):
        return None
    return record


def with_record(pair: Pair, record: Record) -> Pair:
    """Return a pair that was ambiguous with the record that it is."""
    holds = tuple(hold for hold in pair.holds if hold != match.AMBIGUOUS)
    return replace(pair, record=record, holds=holds, candidates=())


def agreed(pair: Pair, verdict: Verdict, context: Context) -> Outlook:
    """Return what notes that both sides of a pair may differ."""
    seen: Fields = pair.seen.fields if pair.seen else {}
    names = normalise.differing(seen, pair.record.fields, context.compare) if pair.record else ()
    asked = replace(verdict, step=Step.FINDING, foreign=names)
    found = tuple(replace(each, remedy=Remedy.FIX) for each in findings.outlook(pair, asked, context).findings)
    want = {name: pair.record.fields.get(name) for name in names} if pair.record else {}
    return Outlook("human", found, _delta(pair, found[0], AGREED, want))


def _delta(pair: Pair, finding: Finding, why: str, want: Fields | None = None) -> Delta | None:
    seen, record = pair.seen, pair.record
    if seen is None or record is None:
        return None
    return Delta(
        action=Action.LINK,
        side=Side.CRM,
        key=seen.keys[0] if seen.keys else seen.event,
        kind=finding.kind,
        severity=finding.severity,
        agent=finding.agent,
        event=seen.event,
        calendar_id=pair.calendar_id,
        meeting=seen.meeting,
        crm_id=record.id,
        version=record.version,
        want=want or {},
        fields=finding.fields if want else {},
        start=finding.start or "",
        seen_digest=seen.digest,
        finding=finding.key,
        why=why,
    )
