"""`reconcile explain`: both sides of one appointment, what they last agreed on, what is decided, what was done."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler import patterns
from reconciler.cli import logs, running, screen
from reconciler.cli.world import Format, Named, load_job
from reconciler.errors import UsageError
from reconciler.findings import inert
from reconciler.model import Delta, Finding, Kind, Outcome, Remedy, Side, Situation
from reconciler.report import mask
from reconciler.report.finding import ADVICE
from reconciler.report.words import bounded, moment, plural, spoken

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

    from reconciler.cli.world import Call
    from reconciler.explain import Explanation
    from reconciler.model import Fields, Value
    from reconciler.report.look import Look
    from reconciler.setup import Setup


@dataclass(frozen=True, slots=True)
class Sides:
    """What each side says, and what both last agreed on; None for a side that has nothing."""

    calendar: Fields | None
    crm: Fields | None
    base: Fields | None
    base_crm: Fields | None


def explain(call: Call, key: str, argument: str | None) -> int:
    """Show all that is known of the appointment that `key` names."""
    from reconciler.assembly import assemble
    from reconciler.explain import explain as explained

    named = load_job(call, argument)
    logs.configure(call.common, call.world.clock)
    with assemble(named.job, call.world.environ, clock=call.world.clock, dry_run=True) as setup:
        found = explained(setup, key)
        stored = _stored(setup, key) if found is None else None
        look, visible = running.look_of(setup, named.word), running.addresses(setup)
    if stored is not None:
        return _show_stored(call, stored, look, visible if call.common.mask or named.job.report.mask else None)
    if found is None:
        raise UsageError(_unknown(key, named))
    shown = _Shown(found, visible if call.common.mask or named.job.report.mask else None)
    if call.common.format is Format.JSON:
        screen.write_json(shown.as_json())
    else:
        screen.write("\n".join(_text(shown, look)))
    return 0


def _unknown(key: str, named: Named) -> str:
    return (
        f"{bounded(key)} is nothing that {named.job.name} knows: give a finding's key, a source key or a CRM id that a "
        f"run has shown (`reconcile run {named.word}`; a dry run keeps no findings, but CRM ids and source keys work)."
    )


# ---- findings about a group, a calendar or an entry -----------------------------------------------------------------


def _stored(setup: Setup, key: str) -> Mapping[str, Any] | None:
    """Return a finding that is about no single appointment, as the last run kept it."""
    from reconciler.store import ledger

    with setup.state.begin() as connection:
        return ledger.find_finding(connection, setup.state, key)


def _show_stored(call: Call, row: Mapping[str, Any], look: Look, visible: frozenset[str] | None) -> int:
    why = str(row["payload"]["why"])
    why = why if visible is None else mask.sentence(why, visible)
    kind = Kind(row["kind"])
    if call.common.format is Format.JSON:
        kept = {name: row[name] for name in ("key", "kind", "severity", "agent", "event", "crm_id", "sightings")}
        screen.write_json({**kept, "why": why, "resolved": row["resolved_at"] is not None})
        return 0
    resolved = "resolved" if row["resolved_at"] is not None else "open"
    screen.write(
        f"{kind.replace('_', ' ').upper()}  {row['key']}\n"
        f"  {bounded(why, 500)}\n\n"
        f"  whose      {bounded(row['agent'] or 'nobody in particular')}\n"
        f"  finding    {resolved}, {row['severity']}, seen {plural(row['sightings'], 'time')}\n"
        f"  what now   a person decides: {ADVICE[kind]}\n\n"
        f"To look again:\n    reconcile --dry-run {look.job}"
    )
    return 0


# ---- one appointment ------------------------------------------------------------------------------------------------


class _Shown:
    """An explanation, masked where it has to be."""

    def __init__(self, found: Explanation, visible: frozenset[str] | None) -> None:
        self.found = found
        self._visible = visible
        seen, record, link = found.pair.seen, found.pair.record, found.pair.link
        self.sides = Sides(
            self._fields(seen.fields if seen else None),
            self._fields(record.fields if record else None),
            self._fields(link.base if link else None),
            self._fields(link.base_crm if link else None),
        )

    def _fields(self, fields: Fields | None) -> Fields | None:
        if fields is None or self._visible is None:
            return fields
        return {name: mask.one(name, value, self._visible) for name, value in fields.items()}

    def sentence(self, text: str) -> str:
        """Return `text`, masked where it has to be."""
        return text if self._visible is None else mask.sentence(text, self._visible)

    def differences(self) -> list[str]:
        """Say in what the two sides differ, fields included that the CRM has left empty."""
        named = {name for finding in self.found.outlook.findings for name in finding.fields}
        return differences(self.sides.crm, self.sides.calendar, named)

    def past(self, row: Mapping[str, Any]) -> dict[str, tuple[Value, Value]]:
        """Return what one journal row changed: before and after."""
        before, after = row["before"] or {}, row["after"] or {}
        names = [name for name in after or before if before.get(name) != after.get(name)]
        changes = {name: (inert(before.get(name)), inert(after.get(name))) for name in names}
        return changes if self._visible is None else mask.fields(changes, self._visible)

    def as_json(self) -> dict[str, Any]:
        """Return the object of `--format json`."""
        found, pair = self.found, self.found.pair
        return {
            "key": found.key,
            "agent": pair.calendar.agent.email if pair.calendar else None,
            "event": pair.seen.event if pair.seen else None,
            "crm_id": pair.record.id if pair.record else None,
            "calendar": self.sides.calendar,
            "crm": self.sides.crm,
            "base": {"calendar": self.sides.base, "crm": self.sides.base_crm} if self.sides.base is not None else None,
            "differences": self.differences(),
            "relevance": pair.seen.relevance if pair.seen else None,
            "matched_by": pair.tier,
            "holds": list(pair.holds),
            "situation": found.verdict.situation,
            "step": found.verdict.step,
            "reason": self.sentence(found.verdict.reason),
            "findings": [finding.key for finding in found.outlook.findings],
            "delta": found.outlook.delta.action if found.outlook.delta else None,
            "history": [_journal_json(row, self.past(row)) for row in found.history],
        }


def _journal_json(row: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: row[name] for name in ("run", "at", "action", "status", "approval")}
    return {**kept, "fields": {name: list(pair) for name, pair in changes.items()}}


def differences(crm: Fields | None, calendar: Fields | None, also: Iterable[str] = ()) -> list[str]:
    """Say how two sides that are known to differ do so, value by value; `also` names fields that one side may lack."""
    if crm is None or calendar is None or crm == calendar:
        return []
    from deepdiff import DeepDiff

    shared = sorted((crm.keys() & calendar.keys()) | set(also))
    ours, theirs = ({name: side.get(name) for name in shared} for side in (crm, calendar))
    diff = DeepDiff(ours, theirs, view="tree")
    found = {str(each.path(output_format="list")[0]) for group in diff.values() for each in group}
    return [_difference(name, crm.get(name), calendar.get(name)) for name in shared if name in found]


def _difference(name: str, crm: Value, calendar: Value) -> str:
    """Say how one value differs: times by how far, lists by what is missing where."""
    before, after = (patterns.instant(side) if name in {"start", "end"} else None for side in (crm, calendar))
    if before and after:
        minutes = int(abs(after - before).total_seconds()) // 60
        far = f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
        return f"{name}: the calendar is {far} {'later' if after > before else 'earlier'}"
    if isinstance(crm, tuple) and isinstance(calendar, tuple):
        parts = [_only("CRM", set(crm) - set(calendar)), _only("calendar", set(calendar) - set(crm))]
        return f"{name}: " + "; ".join(part for part in parts if part)
    return f"{name}: the CRM has {_quoted(crm)}, the calendar {_quoted(calendar)}"


def _only(side: str, values: set[str]) -> str:
    return f"only the {side} has {bounded(', '.join(sorted(values)))}" if values else ""


def _quoted(value: Value) -> str:
    return bounded(", ".join(value) if isinstance(value, tuple) else str(value)) if value else "nothing"


# ---- text -----------------------------------------------------------------------------------------------------------


def _text(shown: _Shown, look: Look) -> Iterator[str]:
    found, pair = shown.found, shown.found.pair
    agent = pair.calendar.agent.email if pair.calendar else None
    zone = look.zone_for(agent)
    yield f"{found.verdict.situation.replace('_', ' ').upper()}  {bounded(found.key)}"
    yield f"  {SITUATIONS[found.verdict.situation]}"
    yield ""
    yield from _sides(shown.sides, zone)
    yield ""
    yield from _how(shown)
    yield from _what(found.outlook.findings, found.outlook.delta, shown)
    yield from _history(shown, zone)
    yield ""
    yield from _acts(shown, look)


def _sides(sides: Sides, zone: ZoneInfo) -> Iterator[str]:
    columns = (sides.calendar, sides.crm, sides.base)
    names = dict.fromkeys(name for side in columns if side for name in side)
    rows: list[tuple[str, ...]] = [("", "calendar", "CRM", "last agreed")]
    rows += [(name.replace("_", " "), *(_cell(side, name, zone) for side in columns)) for name in names]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(f"{value:<{width}}" for value, width in zip(row, widths, strict=True)).rstrip()


def _cell(side: Fields | None, name: str, zone: ZoneInfo) -> str:
    if side is None:
        return "-"
    return bounded(spoken(name, side[name], zone), 60) if name in side else "not compared"


def _how(shown: _Shown) -> Iterator[str]:
    pair = shown.found.pair
    if pair.calendar:
        yield f"  calendar   {bounded(pair.calendar.label)} ({bounded(pair.calendar.source)})"
    if pair.seen:
        yield f"  event      {bounded(pair.seen.event)}" + (f", {pair.seen.absence}" if pair.seen.absence else "")
        yield f"  relevant   {_relevance(pair.seen.relevance)}"
    if pair.record:
        key = f", source key {bounded(pair.record.key)}" if pair.record.key else ", without a source key"
        yield f"  record     {bounded(pair.record.id)}{key}, {pair.record.presence}"
    yield f"  matched    {MATCHED[pair.tier] if pair.tier else 'with nothing on the other side'}"
    if pair.holds:
        yield f"  held       {', '.join(pair.holds)}"
    verdict = shown.found.verdict
    reason = f": {bounded(shown.sentence(verdict.reason), 300)}" if verdict.reason else ""
    yield f"  verdict    {verdict.step.replace('_', ' ')}{reason}"


def _relevance(rule: str | None) -> str:
    return f'by the rule "{rule}" of policy.relevant' if rule else "by no rule of policy.relevant: not an appointment"


def _what(findings: Iterable[Finding], delta: Delta | None, shown: _Shown) -> Iterator[str]:
    for finding in findings:
        why = bounded(shown.sentence(finding.why), 300)
        yield f"  finding    {finding.key} {finding.kind} ({finding.severity}): {why}"
    asked = shown.found.finding
    if asked is not None and asked["key"] not in {finding.key for finding in findings}:
        why = bounded(shown.sentence(str(asked["payload"]["why"])), 300)
        yield f"  finding    {asked['key']} {asked['kind']} ({asked['severity']}): {why}"
    if delta is not None:
        said = f" ({bounded(delta.why)})" if delta.why else ""
        yield f"  delta      {delta.action} of {', '.join(delta.fields) or 'the record'}: {delta.outcome}{said}"
    yield from (f"  differs    {line}" for line in shown.differences())


def _history(shown: _Shown, zone: ZoneInfo) -> Iterator[str]:
    yield ""
    yield "WHAT WE WROTE" if shown.found.history else "WHAT WE WROTE: nothing yet"
    for row in shown.found.history:
        where = " in the calendar" if row["side"] == Side.CALENDAR else ""
        yield f"  {moment(row['at'], zone)}  {row['action']}{where}  {row['status']}  run {row['run']}"
        for name, (before, after) in shown.past(row).items():
            yield f"      {name.replace('_', ' '):<10} {spoken(name, before, zone)} → {spoken(name, after, zone)}"


def _acts(shown: _Shown, look: Look) -> Iterator[str]:
    delta, findings = shown.found.outlook.delta, shown.found.outlook.findings
    if delta is not None and delta.outcome is Outcome.PLANNED:
        yield f"To write it:\n    reconcile run {look.job}"
    elif delta is not None:
        yield f"What stands in the way is in the job file ({delta.why}). To look again:\n    reconcile check {look.job}"
    elif asking := next((finding for finding in findings if finding.remedy is Remedy.HUMAN), None):
        yield "A person decides: put right the side that is wrong, and the next run sees that both agree:"
        yield f"    reconcile run {look.job}"
        yield "or say whose word counts, or that it is known:"
        yield f"    reconcile resolve {asking.key} --take calendar --dry-run --job {look.job}"
        yield f"    reconcile accept {asking.key} --by YOU --why TEXT --until DATE --job {look.job}"
    else:
        yield "Nothing to do."


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
