"""`reconcile explain`: both sides of one appointment, what they last agreed on, what is decided, what was done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reconciler.cli import explained, logs, running, screen
from reconciler.cli.differing import differences
from reconciler.cli.explained import Sides, commands, taking
from reconciler.cli.world import Format, Named, load_job
from reconciler.errors import UsageError
from reconciler.findings import inert
from reconciler.model import Kind, Side
from reconciler.report import mask
from reconciler.report.finding import ADVICE
from reconciler.report.words import bounded, moment, plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.world import Call
    from reconciler.explain import Explanation
    from reconciler.model import Delta, Fields, Value
    from reconciler.report.look import Look
    from reconciler.setup import Setup
    from reconciler.store.about import Told


def explain(call: Call, key: str, argument: str | None) -> int:
    """Show all that is known of the appointment that `key` names."""
    from reconciler.assembly import assemble

    named = load_job(call, argument)
    logs.configure(call.common, call.world.clock)
    with assemble(named.job, call.world.environ, clock=call.world.clock, dry_run=True) as setup:
        found, stored = _found(setup, key, named)
        look, visible = running.look_of(setup, named.word), running.addresses(setup)
    is_masked = call.common.mask or named.job.report.mask
    if found is None:
        return _show_stored(call, stored, look, visible if is_masked else None)
    shown = Shown(found, visible if is_masked else None)
    if call.common.format is Format.JSON:
        screen.write_json(shown.as_json(look))
    else:
        screen.write("\n".join(explained.text(shown, look)))
    return 0


def _found(setup: Setup, key: str, named: Named) -> tuple[Explanation | None, Mapping[str, Any]]:
    """Return what is known of one appointment, or the finding that is about none; a part of a finding's key will do.

    Raises UsageError where nothing is known by that name, or more than one thing.
    """
    from reconciler.explain import explain as known_of
    from reconciler.explain import like

    found, stored = known_of(setup, key), None
    if found is None and (stored := _stored(setup, key)) is None:
        candidates = like(setup, key)
        if len(candidates) != 1:
            raise UsageError(_several(key, candidates, named) if candidates else _unknown(key, named))
        found, stored = known_of(setup, candidates[0].key), _stored(setup, candidates[0].key)
    return found, stored or {}


def _unknown(key: str, named: Named) -> str:
    return (
        f"{bounded(key)} is nothing that {named.job.name} knows: give a finding's key, a source key or a CRM id that a "
        f"run has shown (`reconcile run {named.word}`; a dry run keeps no findings, but CRM ids and source keys work)."
    )


def _several(key: str, candidates: Sequence[Told], named: Named) -> str:
    """Name what a part of a key may mean, what is open first."""
    lines = (
        f"  {one.key}  {one.kind}  {bounded(one.agent or '')}  {'open' if one.is_open else 'resolved'}"
        for one in candidates
    )
    return "\n".join([f"{bounded(key)} may mean several findings of {named.job.name}; type more of one:", *lines])


# ---- findings about a group, a calendar or an entry -----------------------------------------------------------------


def _stored(setup: Setup, key: str) -> Mapping[str, Any] | None:
    """Return a finding that is about no single appointment, as the last run kept it."""
    from reconciler.store import ledger

    with setup.state.begin() as connection:
        return ledger.find_finding(connection, setup.state, key)


def _show_stored(call: Call, row: Mapping[str, Any], look: Look, visible: frozenset[str] | None) -> int:
    from reconciler.store import about

    told = about.told(row)
    why = told.why if visible is None else mask.sentence(told.why, visible)
    kind = Kind(row["kind"])
    if call.common.format is Format.JSON:
        kept = {name: row[name] for name in ("key", "kind", "severity", "agent", "event", "crm_id", "sightings")}
        seen = {"first_seen": told.first_seen, "last_seen": told.last_seen}
        screen.write_json({**kept, **seen, "why": why, "resolved": not told.is_open})
        return 0
    zone = look.zone_for(row["agent"])
    resolved = "open" if told.is_open else "resolved"
    screen.write(
        f"{kind.replace('_', ' ').upper()}  {row['key']}\n"
        f"  {bounded(why, 500)}\n\n"
        f"  whose      {bounded(row['agent'] or 'nobody in particular')}\n"
        f"  finding    {resolved}, {row['severity']}, seen {plural(row['sightings'], 'time')}: "
        f"first {moment(told.first_seen, zone)}, last {moment(told.last_seen, zone)}\n"
        f"  what now   a person decides: {ADVICE[kind]}\n\n"
        f"To look again:\n    reconcile --dry-run {look.job}"
    )
    if told.is_open and kind is Kind.COVERAGE_GAP:
        screen.write(f"To see what is wrong, and what to ask an administrator for:\n    reconcile check {look.job}")
    if told.is_open and kind is Kind.TZ_SHIFT:
        words = (taking(side, row["key"], look.job) for side in Side)
        screen.write("\n".join(f"{one.purpose}:\n    {one.command}" for one in words))
    if told.is_open:
        accept = f"reconcile accept {row['key']} --by YOU --why TEXT --until DATE --job {look.job}"
        screen.write(f"To say that it is known and may stay:\n    {accept}")
    return 0


# ---- one appointment ------------------------------------------------------------------------------------------------


class Shown:
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

    def as_json(self, look: Look) -> dict[str, Any]:
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
            "deltas": [self._delta(delta) for delta in found.outlook.deltas],
            "told": [self._told(one) for one in found.told],
            "held_by": found.hold,
            "waits_in": found.waiting.digest if found.waiting else None,
            "copies": list(found.copies),
            "private": bool(pair.seen and pair.seen.private),
            "withheld": bool(pair.seen and pair.seen.withheld),
            "history": [self._written(row) for row in found.history],
            "commands": [{"for": one.purpose, "type": one.command} for one in commands(self, look)],
        }

    def _delta(self, delta: Delta) -> dict[str, Any]:
        changes = delta.fields if self._visible is None else mask.fields(delta.fields, self._visible)
        shown = {name: list(change) for name, change in changes.items()}
        said = {
            "action": delta.action,
            "side": delta.side,
            "outcome": delta.outcome,
            "why": self.sentence(delta.why) or None,
        }
        return {**said, "finding": delta.finding or None, "fields": shown}

    def _told(self, one: Told) -> dict[str, Any]:
        by = {"by": one.accepted_by, "until": one.accepted_until, "stands": one.is_accepted}
        return {
            "key": one.key,
            "kind": one.kind,
            "severity": one.severity,
            "why": self.sentence(one.why),
            "first_seen": one.first_seen,
            "last_seen": one.last_seen,
            "sightings": one.sightings,
            "resolved_at": one.resolved_at,
            "outcome": one.outcome,
            "accepted": by if one.accepted_by else None,
        }

    def _written(self, row: Mapping[str, Any]) -> dict[str, Any]:
        kept = {name: row[name] for name in ("run", "at", "action", "side", "status", "approval", "pruned")}
        consented = self.found.consented.get(row["approval"] or "")
        return {**kept, "consented": consented, "fields": {name: list(pair) for name, pair in self.past(row).items()}}
