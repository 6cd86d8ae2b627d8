"""What a run leaves for reports: its findings with all that can be said of them, how it ended, what its day came to.

All of it in the transaction that ends the run. A report reads the state alone: neither side is asked again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from reconciler import figures, rollup, text
from reconciler.figures import Figures
from reconciler.model import Outcome, Remedy
from reconciler.quota import CRMS
from reconciler.selecting import NOT_ASKED
from reconciler.store import days, journal, ledger, slots, state, totals

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.errors import ReconcilerError
    from reconciler.model import Delta, Finding
    from reconciler.result import Result
    from reconciler.setup import Setup
    from reconciler.store.database import Connection
    from reconciler.store.ledger import Saved, Sighting

KEPT: Final = 50
"""Violations and dropped keys that are kept with a run: one list may name every agent."""

SENTENCE: Final = 1000
"""Characters that are kept of the sentence that a run ended with."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What a run looked at: the calendars it was to read, whose each is and whether it was observed.

    `sources` are those of them that were tried, by the name of their source; `named` numbers all that the job names.
    `could_find` says of what was open, by its key and agent, whether it could have found it; `compared`, whether both
    sides were compared at all.
    """

    asked: Sequence[tuple[str, bool]]
    sources: Sequence[tuple[str, bool]]
    named: frozenset[int]
    could_find: Callable[[str, str | None], bool]
    compared: bool


def record(
    connection: Connection,
    setup: Setup,
    run: tuple[str, datetime],
    result: Result,
    before: Mapping[str, Sighting],
    looked: Looked,
) -> None:
    """Write down what a run (its id, and when it began) found and did, and that it ended."""
    name, began = run
    waiting = {delta.finding for delta in result.deltas if _is_set_aside(delta)}
    saved = ledger.save_findings(
        connection,
        setup.state,
        [_as_it_waits(finding) if finding.key in waiting else finding for finding in result.findings],
        before,
        began,
        looked.could_find,
        taken=map(_as_planned, result.deltas),
    )
    fixed = journal.done_since_last(connection, setup.state)
    _add_to_day(connection, setup, began, _came(connection, setup, result, saved, looked, fixed))
    if looked.compared:
        state.watch_from(connection, setup.state, setup.clock())
    if looked.named:
        state.name_calendars(connection, setup.state, looked.named)
    how = state.Ended(
        result.status,
        result.exit_code,
        result.digest,
        result.counts,
        result=summary(result),
        compared=looked.compared,
        figures=_figures(setup, result, looked),
    )
    totals.add(connection, setup.state, {"fixed": _by_kind(fixed), **_findings(result, saved)})
    state.end_run(connection, setup.state, name, setup.clock(), how)
    slots.end_run(connection, setup.state, name, setup.clock(), result.exit_code)


def record_end(connection: Connection, setup: Setup, run: tuple[str, datetime], error: ReconcilerError) -> None:
    """Write down that a run ended with a sentence, as where a provider refuses this whole program: it did not die."""
    name, began = run
    fixed = journal.done_since_last(connection, setup.state)
    _add_to_day(connection, setup, began, _nothing_seen(_by_agent(fixed)))
    why = text.line(str(error), SENTENCE)
    measured = Figures(phases=setup.phases.seconds, attempts=attempts(setup))
    how = state.Ended("refused", error.exit_code, "", {}, why=why, figures=measured)
    totals.add(connection, setup.state, {"fixed": _by_kind(fixed)})
    state.end_run(connection, setup.state, name, setup.clock(), how)
    slots.end_run(connection, setup.state, name, setup.clock(), error.exit_code)


# ---- findings -------------------------------------------------------------------------------------------------------


def _is_set_aside(delta: Delta) -> bool:
    """Tell whether a command held this only for being about something else: the next ordinary run writes it."""
    return delta.outcome is Outcome.HELD and delta.why == NOT_ASKED


def _as_planned(delta: Delta) -> Delta:
    return replace(delta, outcome=Outcome.PLANNED, why="") if _is_set_aside(delta) else delta


def _as_it_waits(finding: Finding) -> Finding:
    return replace(finding, remedy=Remedy.FIX) if finding.remedy is Remedy.HOLD else finding


# ---- the run --------------------------------------------------------------------------------------------------------


def summary(result: Result) -> dict[str, Any]:
    """Return a result as JSON, but for what has its own tables, and with no list that grows with the brokerage."""
    told = replace(
        result,
        deltas=(),
        findings=(),
        calendars=(),
        violations=result.violations[:KEPT],
        withheld=result.withheld[:KEPT],
        approvals=tuple(replace(one, dropped=one.dropped[:KEPT]) for one in result.approvals),
    )
    return {name: value for name, value in told.to_json().items() if name not in {"deltas", "findings", "calendars"}}


# ---- what is measured -----------------------------------------------------------------------------------------------


def attempts(setup: Setup) -> Counter[tuple[str, ...]]:
    """Count what was sent so far, by provider, project, scope and class of answer."""
    found: Counter[tuple[str, ...]] = Counter()
    for quota in list(setup.quotas.values()):
        provider, _, project = quota.provider.partition(":")
        whose = (provider, "" if provider in CRMS else project)  # a CRM's is its address
        found.update({(*whose, scope.value, kind): number for (scope, kind), number in quota.counted().items()})
    return found


def count_attempts(setup: Setup) -> None:
    """Add what this process sent to the totals, where it is no run that is recorded."""
    if sent := attempts(setup):
        with setup.state.begin() as connection:
            totals.add(connection, setup.state, {"attempts": sent})


def _figures(setup: Setup, result: Result, looked: Looked) -> Figures:
    providers = {source.name: source.kind for source in setup.job.sources}
    return Figures(
        phases=setup.phases.seconds,
        attempts=attempts(setup),
        looked=figures.looked(looked.sources, providers),
        deltas=figures.deltas(result.deltas),
    )


def _findings(result: Result, saved: Saved) -> totals.Totals:
    resolved: Counter[tuple[str, ...]] = Counter()
    for (_, kind, severity), count in saved.resolved.items():
        resolved[kind, severity] += count
    return {"found": figures.found(result.findings, saved.settled), "resolved": resolved}


def _by_kind(fixed: Mapping[tuple[str | None, str | None], int]) -> Counter[tuple[str, ...]]:
    found: Counter[tuple[str, ...]] = Counter()
    for (_, kind), count in fixed.items():
        found[(kind or "",)] += count
    return found


# ---- the day --------------------------------------------------------------------------------------------------------


def _by_agent(counted: Mapping[Any, int]) -> Counter[str | None]:
    """Count by agent alone what was counted by agent and more."""
    found: Counter[str | None] = Counter()
    for (agent, *_), count in counted.items():
        found[agent] += count
    return found


def _came(
    connection: Connection, setup: Setup, result: Result, saved: Saved, looked: Looked, fixed: Mapping[Any, int]
) -> rollup.Came:
    return rollup.Came(
        findings=result.findings,
        settled=saved.settled,
        resolved=_by_agent(saved.resolved),
        fixed=_by_agent(fixed),
        asked=looked.asked,
        watched_since=state.watched_since(connection, setup.state),
        is_refused=result.status == "refused",
    )


def _nothing_seen(fixed: Mapping[str | None, int]) -> rollup.Came:
    return rollup.Came(findings=(), settled={}, resolved={}, fixed=fixed, asked=(), watched_since=None, is_refused=True)


def _add_to_day(connection: Connection, setup: Setup, began: datetime, came: rollup.Came) -> None:
    """Add a run to its day, as the calendar of the report's readers has it."""
    offices = {agent.email: agent.office for agent in setup.directory.agents if agent.office}
    day = began.astimezone(ZoneInfo(setup.job.report.timezone)).date()
    open_now = rollup.by_office(ledger.open_by_agent(connection, setup.state), offices)
    days.add(connection, setup.state, day, rollup.sums(came, offices), open_now)
