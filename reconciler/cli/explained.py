"""How an explanation reads: what each side says, how it was matched, what is decided and found, and what to type."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.model import Kind, Outcome, Remedy, Side, Situation
from reconciler.report.finding import ADVICE
from reconciler.report.look import Next
from reconciler.report.refusal import PREFIX
from reconciler.report.words import bounded, day, moment, plural, spoken

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from reconciler.cli.explaining import Shown
    from reconciler.explain import Explanation
    from reconciler.model import Delta, Fields
    from reconciler.report.look import Look
    from reconciler.store.about import Told

OF_MANY: Final = frozenset({Kind.TZ_SHIFT, Kind.DUPLICATE_IN_CRM, Kind.DOUBLE_BOOKED_AGENT})
"""Kinds that no pair alone shows."""
WRITES: Final = 20
"""Writes of ours that are shown, the latest; the JSON has all of them."""


@dataclass(frozen=True, slots=True)
class Sides:
    """What each side says, and what both last agreed on; None for a side that has nothing."""

    calendar: Fields | None
    crm: Fields | None
    base: Fields | None
    base_crm: Fields | None


def text(shown: Shown, look: Look) -> Iterator[str]:
    """Yield the lines of an explanation."""
    found, pair = shown.found, shown.found.pair
    zone = look.zone_for(pair.calendar.agent.email if pair.calendar else None)
    yield f"{found.verdict.situation.replace('_', ' ').upper()}  {bounded(found.key)}"
    yield f"  {SITUATIONS[found.verdict.situation]}"
    yield ""
    yield from _sides(shown.sides, zone, found.compared)
    yield ""
    yield from _how(shown)
    yield from _hidden(shown)
    yield from _what(shown, zone)
    yield from _history(shown, zone)
    yield ""
    yield from _acts(shown, look)


# ---- both sides -----------------------------------------------------------------------------------------------------


def _sides(sides: Sides, zone: ZoneInfo, compared: Sequence[str]) -> Iterator[str]:
    columns = (sides.calendar, sides.crm, sides.base)
    names = dict.fromkeys(name for side in columns if side for name in side)
    rows: list[tuple[str, ...]] = [("", "calendar", "CRM", "last agreed")]
    rows += [(name.replace("_", " "), *(_cell(side, name, zone, compared) for side in columns)) for name in names]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip()


def _cell(side: Fields | None, name: str, zone: ZoneInfo, compared: Sequence[str]) -> str:
    """Return what a side says; what it is asked for and does not have, it has left empty."""
    if side is None:
        return "-"
    return bounded(spoken(name, side.get(name), zone), 60) if name in side or name in compared else "not compared"


def _how(shown: Shown) -> Iterator[str]:
    pair = shown.found.pair
    if pair.calendar:
        yield f"  calendar   {bounded(pair.calendar.label)} ({bounded(pair.calendar.source)})"
    if pair.seen:
        yield f"  event      {bounded(pair.seen.event)}" + (f", {pair.seen.absence}" if pair.seen.absence else "")
        yield f"  relevant   {_relevance(pair.seen.relevance)}"
    if pair.record:
        key = f", source key {bounded(pair.record.key)}" if pair.record.key else ", without a source key"
        yield f"  record     {bounded(pair.record.id)}{key}, {pair.record.presence}"
    if shown.found.copies:
        yield f"  copies     {bounded(', '.join(shown.found.copies), 300)}"
    yield f"  matched    {MATCHED[pair.tier] if pair.tier else 'with nothing on the other side'}"
    if pair.holds:
        yield f"  held       {', '.join(pair.holds)}"
    verdict = shown.found.verdict
    reason = f": {bounded(shown.sentence(verdict.reason), 300)}" if verdict.reason else ""
    yield f"  verdict    {verdict.step.replace('_', ' ')}{reason}"


def _relevance(rule: str | None) -> str:
    return f'by the rule "{rule}" of policy.relevant' if rule else "by no rule of policy.relevant: not an appointment"


def _hidden(shown: Shown) -> Iterator[str]:
    """Say what is not shown because it is not kept."""
    seen = shown.found.pair.seen
    if seen is None or not seen.private:
        return
    if seen.withheld:
        yield "  withheld   somebody it is about asked to be forgotten: its time is kept, and nothing else"
    else:
        yield "  private    it is marked so in the calendar: its time is kept, and nothing else was read"


# ---- what is found --------------------------------------------------------------------------------------------------


def _what(shown: Shown, zone: ZoneInfo) -> Iterator[str]:
    found = shown.found
    now = {finding.key: finding for finding in found.outlook.findings}
    told = {one.key: one for one in found.told}
    for finding in now.values():
        yield f"  finding    {finding.key} {finding.kind} ({finding.severity}): {_why(shown, finding.why)}"
        yield from _seen(told.get(finding.key), zone)
    for one in found.told:
        if one.key not in now:
            word = "found" if one.is_open else "over"
            yield f"  {word:<10} {one.key} {one.kind} ({one.severity}): {_why(shown, one.why)}"
            yield from _seen(one, zone)
        if _stands_alone(one, found):
            yield f"             a person decides: {ADVICE[Kind(one.kind)]}"
    for delta in found.outlook.deltas:
        yield f"  delta      {_delta(shown, delta)}"
    if found.waiting:
        yield f"  waits      in plan {found.waiting.digest[:PREFIX]} for somebody's consent"
    yield from (f"  differs    {line}" for line in shown.differences())


def _stands_alone(one: Told, found: Explanation) -> bool:
    """Tell whether a finding waits for a person that is about more than this pair, and no part of what it comes to."""
    is_of_many = Kind(one.kind) in OF_MANY and one.key not in {each.key for each in found.outlook.findings}
    return is_of_many and one.is_open and not one.is_accepted


def _why(shown: Shown, why: str) -> str:
    return bounded(shown.sentence(why), 300)


def _seen(one: Told | None, zone: ZoneInfo) -> Iterator[str]:
    if one is None:
        return
    often = f"seen {plural(one.sightings, 'time')}"
    over = f", resolved {moment(one.resolved_at, zone)}" if one.resolved_at else ""
    yield f"             {often}: first {moment(one.first_seen, zone)}, last {moment(one.last_seen, zone)}{over}"
    if one.is_accepted and one.accepted_until:
        last = day(one.accepted_until - timedelta(days=1))
        yield f"             known by {bounded(one.accepted_by or '')}, and may stay until {last}"


def _delta(shown: Shown, delta: Delta) -> str:
    where = "calendar" if delta.side is Side.CALENDAR else "CRM"
    said = f" ({bounded(shown.sentence(delta.why))})" if delta.why else ""
    return f"{delta.action} in the {where} of {', '.join(delta.fields) or 'the record'}: {delta.outcome}{said}"


# ---- what was done --------------------------------------------------------------------------------------------------


def _history(shown: Shown, zone: ZoneInfo) -> Iterator[str]:
    history = shown.found.history
    yield ""
    yield "WHAT WE WROTE" if history else "WHAT WE WROTE: nothing yet"
    if len(history) > WRITES:
        yield f"  {plural(len(history) - WRITES, 'earlier write')} (--format json has all of them)"
    for row in history[-WRITES:]:
        yield from _written(row, shown, zone)


def _written(row: Mapping[str, Any], shown: Shown, zone: ZoneInfo) -> Iterator[str]:
    where = " in the calendar" if row["side"] == Side.CALENDAR else ""
    who = shown.found.consented.get(row["approval"] or "")
    consent = f"  consented to by {bounded(who)}" if who else ""
    yield f"  {moment(row['at'], zone)}  {row['action']}{where}  {row['status']}  run {row['run']}{consent}"
    if row["pruned"]:
        yield "      what was there before and after is not kept any more"
    for name, (before, after) in shown.past(row).items():
        yield f"      {name.replace('_', ' '):<10} {spoken(name, before, zone)} → {spoken(name, after, zone)}"


# ---- what to type ---------------------------------------------------------------------------------------------------


def _acts(shown: Shown, look: Look) -> Iterator[str]:
    found = list(commands(shown, look))
    if not found:
        yield "Nothing to do."
    for one in found:
        yield f"{one.purpose}:"
        yield f"    {one.command}"


def commands(shown: Shown, look: Look) -> Iterator[Next]:
    """Yield the commands that would act on it, the one that is likeliest meant first."""
    found, job = shown.found, look.job
    if found.waiting:
        approve = f"reconcile approve {found.waiting.digest[:PREFIX]} --by YOU --why TEXT --job {job}"
        yield Next(f"To consent to the plan that it waits in, of {plural(len(found.waiting.meant), 'change')}", approve)
    elif any(delta.outcome is Outcome.PLANNED for delta in found.outlook.deltas):
        yield Next("To write it, with all else that is planned", f"reconcile run {job}")
        if found.pair.calendar:
            agent = shlex.quote(found.pair.calendar.agent.email)
            yield Next("Or with what is planned for this agent alone", f"reconcile run {job} --only {agent}")
    yield from _settling(shown, look)
    if {"unobserved", "organizer_unobserved"} & set(found.pair.holds):
        yield Next("To see which calendar is not seen, and why", f"reconcile status {job}")
    done = [row["run"] for row in found.history if row["status"] == Outcome.DONE and not row["pruned"]]
    if done:
        back = f"reconcile revert {done[-1]} --dry-run --job {job}"
        yield Next("To see what taking back all that the last of these runs wrote would do", back)


def _settling(shown: Shown, look: Look) -> Iterator[Next]:
    """Yield how a person settles what waits for one."""
    found, job = shown.found, look.job
    if found.pair.tier and any(one.kind is Kind.AMBIGUOUS for one in found.outlook.findings):
        linking = f"reconcile link --suggested --dry-run --job {job}"
        yield Next("To see what linking all matches that are one to one would do", linking)
    asking = next((one for one in found.outlook.findings if one.remedy is Remedy.HUMAN), None)
    held = next((one for one in found.outlook.findings if one.remedy is Remedy.HOLD), None)
    known = {each.key for each in found.told if each.is_accepted}
    group = found.group if found.group and found.group.key not in known else None
    one = asking or group or (held if found.hold else None)
    keys = [*([one.key] if one else []), *(each.key for each in found.told if _stands_alone(each, found))]
    if keys:
        yield Next("To look again, once the side that is wrong is put right by hand", f"reconcile run {job}")
    if one is not None:
        yield from (taking(side, one.key, job) for side in found.takes)
    for key in dict.fromkeys(keys):
        accept = f"reconcile accept {key} --by YOU --why TEXT --until DATE --job {job}"
        yield Next("To say that it is known and may stay", accept)
    if not keys and held and any(delta.outcome is Outcome.HELD for delta in found.outlook.deltas):
        why = bounded(next(delta.why for delta in found.outlook.deltas if delta.outcome is Outcome.HELD), 200)
        yield Next(f"To look again; what stands in the way is in the job file ({why})", f"reconcile check {job}")


def taking(side: Side, key: str, job: str) -> Next:
    """Return how a person sees what taking one side's word would write."""
    word = f"reconcile resolve {key} --take {side} --dry-run --job {job}"
    return Next(f"To see what taking the {_SIDES[side]}'s word would write", word)


_SIDES: Final = {Side.CALENDAR: "calendar", Side.CRM: "CRM"}


# ---- words ----------------------------------------------------------------------------------------------------------


MATCHED = {
    "link": "by the link of an earlier run",
    "key": "by source key",
    "claim": "by the claim that we left in the event",
    "uid": "by iCalUID and original start",
    "natural": "by agent, client and time, which only suggests",
}

SITUATIONS: Mapping[Situation, str] = {
    Situation.IN_SYNC: "Both sides say the same, or it is over on both.",
    Situation.UNAGREED: "Both sides have it and differ, and they never agreed before: policy.first decides.",
    Situation.CALENDAR_CHANGED: "It changed in the calendar since both sides agreed.",
    Situation.CRM_CHANGED: "It changed in the CRM since both sides agreed.",
    Situation.BOTH_CHANGED: "The same field changed on both sides since they agreed: a conflict.",
    Situation.REOPENED: "We cancelled the record, and the event is back.",
    Situation.FALSE_CANCEL: "The record is cancelled, and the event is alive.",
    Situation.NEW_IN_CALENDAR: "The calendar has it, and the CRM never did.",
    Situation.REMOVED_FROM_CRM: "The record is gone from the CRM, and the event is alive.",
    Situation.REMOVED_FROM_CALENDAR: "The event is gone, with evidence, and the record still stands.",
    Situation.REMOVED_AND_EDITED: "The event is gone, and somebody edited the record meanwhile: a conflict.",
    Situation.NEW_IN_CRM: "The CRM has it, and no calendar ever did.",
    Situation.HOLD: "Nothing is decided now, for the reason below.",
}
