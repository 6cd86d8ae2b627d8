"""`reconcile revert RUN`: a plan that takes back what a run wrote, where it is still as that run left it.

An ordinary plan otherwise: guarded, consented to and applied as any. What can't be taken back is said before anything
is done, and what is taken back is held, so that no run does it again until either side changes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from reconciler import guard, inverse, plan, text
from reconciler.comparing import world_of
from reconciler.errors import CrmUnreachableError, UsageError
from reconciler.execute import execute
from reconciler.findings import Outlook, finding_key
from reconciler.judgement import Judged, Judgement
from reconciler.model import Finding, Kind, Outcome, Pair, Remedy, Severity, Side, Situation, Step, Verdict
from reconciler.restoring import Restoring
from reconciler.run import came_to, look_at_crm, nothing_planned
from reconciler.session import finished, session
from reconciler.snapshot import unreachable
from reconciler.store import compare, mirror, state, suppressed, written

if TYPE_CHECKING:
    from reconciler.inverse import Entry
    from reconciler.judgement import World
    from reconciler.model import Delta, Record, Shape
    from reconciler.result import Result
    from reconciler.session import Session
    from reconciler.setup import Options, Setup
    from reconciler.store.database import Connection
    from reconciler.store.state import Watched

RUN_PREFIX: Final = 8
"""Characters of a run's id that tell it from others: its time, to about a second. Fewer are no name."""

LISTED: Final = 5
"""Runs that are listed for whoever named none of them."""

UNCONFIRMED: Final = "what an earlier run wrote to it is not confirmed yet"

Told = Callable[[Sequence[str]], None]
"""What is handed a line for each write that can't be taken back, before anything is written."""


def revert(setup: Setup, options: Options, run: str, told: Told = lambda _: None) -> Result:
    """Take back what the run that `run` names (its id, or the start of it) wrote; return what that came to.

    Raises UsageError for a run that is not known, otherwise what `run.run` raises.
    """
    meant = _named(setup, run)
    with session(setup, "revert") as this:
        this.compares = False
        shape = look_at_crm(setup, options, this)
        found = _taken_back(setup, this, shape, meant) if shape and this.is_judged else None
        if found is None or shape is None:
            return finished(setup, this, nothing_planned(setup, this))
        told([f"{_name(one)}: {one.why}" for one in found.judgement.findings])
        judged, applied = execute(
            setup, options, this, shape, found.judgement.proposals, found.populations, found.restoring.around
        )
        result = came_to(setup, this, found.judgement, judged, applied)
        notes = (*result.notes, found.note, *_still_to_do(result, meant))
        return finished(setup, this, replace(result, notes=notes))


def _named(setup: Setup, run: str) -> str:
    """Return the id of the run that is meant. Raises UsageError."""
    with setup.state.begin() as connection:
        found = written.runs_named(connection, setup.state, run) if len(run) >= RUN_PREFIX else []
        last = state.last_runs(connection, setup.state, LISTED)
    if len(found) == 1:
        return found[0]
    what = "fits several runs" if found else f"names no run of this job (an id, or its first {RUN_PREFIX} letters)"
    known = ", ".join(f"{one['id']} ({one['started_at']:%Y-%m-%d %H:%M} UTC, {one['status']})" for one in last)
    raise UsageError(f"{text.line(run, 80)} {what}. The last runs: {known or 'none yet'}.")


def _still_to_do(result: Result, run: str) -> list[str]:
    """Say how what waits is applied: no other run plans exactly these changes."""
    if result.asks:
        return [f"Once a person consented, `reconcile revert {run}` applies it; no other run does."]
    if any(delta.outcome is Outcome.DEFERRED for delta in result.deltas):
        return [f"What was put off waits for `reconcile revert {run}` again; no other run takes it back."]
    return []


def _name(finding: Finding) -> str:
    return (
        f"CRM record {text.line(finding.crm_id, 80)}" if finding.crm_id else f"event {text.line(finding.event or '')}"
    )


# ---- what is there to take back -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """What a revert comes to: deltas and findings, what limits are shares of, and who writes."""

    judgement: Judgement
    populations: guard.Populations
    restoring: Restoring
    note: str


def _taken_back(setup: Setup, this: Session, shape: Shape, run: str) -> _Found | None:
    """Return what takes a run back; None when the CRM fails while its records are looked up."""
    world = world_of(setup, (), this.now, shape)
    with setup.state.begin() as connection:
        entries = inverse.folded(written.written_by(connection, setup.state, run))
    try:
        records = _fresh(setup, entries)
    except CrmUnreachableError as error:
        this.blindness = unreachable(error)
        return None
    with setup.state.begin() as connection:
        watched = state.watch(connection, setup.state, setup.directory.calendars)
        pairs = _pairs(connection, setup, world, entries, records, watched)
        populations = _populations(connection, setup, world, watched)
    return _judged(setup, this, world, run, tuple(zip(entries, pairs, strict=True)), populations)


def _fresh(setup: Setup, entries: Iterable[Entry]) -> dict[str, Record]:
    """Return the records as they are now, wherever they are in time, removed ones included."""
    ids = {entry.crm_id for entry in entries if entry.crm_id}
    if not ids:
        return {}
    with setup.reader.snapshot() as snapshot:
        found = snapshot.by_ids(sorted(ids))
    with setup.state.engine.begin() as connection:
        return {record.id: record for record in suppressed.as_kept(connection, setup.state, found)}


def _pairs(
    connection: Connection,
    setup: Setup,
    world: World,
    entries: Sequence[Entry],
    records: dict[str, Record],
    watched: Iterable[Watched],
) -> list[Pair]:
    """Return both sides of what was written, as they stand: the record as just read, the event as last seen."""
    calendars = {one.id: one.calendar for one in watched}
    ids = sorted({entry.crm_id for entry in entries if entry.crm_id})
    links = {one.link.crm_id: one for one in compare.unequal(connection, setup.state, world.scope, ids)}
    pairs = []
    for entry in entries:
        link = links.get(entry.crm_id or "")
        number = link.sighting.calendar if link and link.sighting else entry.calendar
        seen = link.sighting.seen if link and link.sighting else None
        if (seen is None or seen.event != entry.event) and entry.calendar is not None and entry.event:
            number, seen = entry.calendar, mirror.one(connection, setup.state, entry.calendar, entry.event) or seen
        pairs.append(
            Pair(
                seen=seen,
                calendar=calendars.get(number or 0),
                calendar_id=number,
                record=records.get(entry.crm_id or ""),
                link=link.link if link else None,
            )
        )
    return pairs


def _populations(connection: Connection, setup: Setup, world: World, watched: Iterable[Watched]) -> guard.Populations:
    """Return what the limits' shares are shares of."""
    agents = {one.id: one.calendar.agent.email for one in watched}
    live: dict[str, int] = {}
    total = 0
    for one in compare.weigh(connection, setup.state):
        total += one.live
        if one.calendar in agents:
            live[agents[one.calendar]] = live.get(agents[one.calendar], 0) + one.live
    records = compare.records_in_scope(connection, setup.state, world.scope)
    return guard.Populations(linked=total, records=records, linked_by_agent=live)


# ---- what comes of it -----------------------------------------------------------------------------------------------


def _judged(
    setup: Setup,
    this: Session,
    world: World,
    run: str,
    wrote: Sequence[tuple[Entry, Pair]],
    populations: guard.Populations,
) -> _Found:
    found = Judgement()
    for entry, pair in wrote:
        delta = inverse.inverse(entry, pair, world.context)
        if delta is not None and _is_unconfirmed(delta, this):
            delta = replace(delta, outcome=Outcome.CONFLICT, why=UNCONFIRMED)
        verdict = Verdict(Situation.IN_SYNC, Step.NOTHING, reason=f"taking back run {run}")
        one = Judged(pair, verdict, event=entry.side is Side.CALENDAR, record=entry.side is Side.CRM)
        found.tally(one, _outlook(delta, run))
        found.events_total += one.event
        found.records_total += one.record
    restoring = Restoring(
        state=setup.state,
        scope=world.scope,
        compared=world.rules.compare,
        run=this.id,
        now=this.now,
        pairs={plan.identity(one.delta): one.pair for one in found.proposals},
    )
    return _Found(judgement=found, populations=populations, restoring=restoring, note=_note(found, run))


def _is_unconfirmed(delta: Delta, this: Session) -> bool:
    event = (delta.calendar_id or 0, delta.event or "")
    return delta.crm_id in this.unknown.records or event in this.unknown.events


def _outlook(delta: Delta | None, run: str) -> Outlook:
    """Count what is taken back, what is back already, and what can't be: that is said as a finding, with the reason."""
    if delta is None:
        return Outlook("in_sync")
    if delta.outcome is Outcome.PLANNED:
        return Outlook(delta.action.value, delta=delta)
    finding = _finding(delta, run)
    bucket = "held" if finding.remedy is Remedy.HOLD else "human"
    bucket = "conflict" if delta.outcome is Outcome.CONFLICT else bucket
    return Outlook(bucket, (finding,), replace(delta, finding=finding.key))


def _finding(delta: Delta, run: str) -> Finding:
    kind = Kind.CONFLICT if delta.outcome is Outcome.CONFLICT else delta.kind
    is_policy = delta.why.startswith(inverse.HELD)
    return Finding(
        key=finding_key(kind, f"revert:{run}:{delta.side}:{delta.crm_id}:{delta.event}"),
        kind=kind,
        severity=Severity.MEDIUM,
        remedy=Remedy.HOLD if is_policy else Remedy.HUMAN,
        why=f"What run {run} wrote is not taken back: {delta.why}.",
        agent=delta.agent,
        event=delta.event,
        crm_id=delta.crm_id,
        fields=delta.fields,
        start=delta.start or None,
        calendar=delta.calendar_id,
    )


def _note(found: Judgement, run: str) -> str:
    """Say how much of a run can be taken back."""
    planned = sum(1 for one in found.proposals if one.delta.outcome is Outcome.PLANNED)
    back, left = found.pairs["in_sync"], len(found.findings)
    said = [f"{planned} can be taken back"]
    said += [f"{back} were taken back, or put right, before"] if back else []
    said += [f"{left} can't be, each with its reason above"] if left else []
    total = planned + back + left
    return f"Run {run} wrote {total} {'record' if total == 1 else 'records'} or events: {', '.join(said)}."
