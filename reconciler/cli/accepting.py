"""`reconcile accept`: findings that a person knows, until either side changes or a day is over; nothing is applied."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import logs, screen
from reconciler.cli.origin import said
from reconciler.cli.world import Format, load_job
from reconciler.errors import Problem, UsageError
from reconciler.model import Acceptance
from reconciler.report.words import bounded, day, plural

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.cli.deciding import Which
    from reconciler.cli.world import Call, Named
    from reconciler.selecting import Filter
    from reconciler.store.state import State

DAYS: Final = 90
"""For how long a finding can be known at most: then somebody looks again."""

SHOWN: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line said: who knows, why that is right, and until which day."""

    by: str
    why: str
    until: str


@logs.told("accept")
def accept(call: Call, which: Which, asked: Asked, argument: str | None) -> int:
    """Note that open findings are known. Needs the state database and no secrets."""
    from reconciler.store.state import open_state

    given = _given(asked, call.world.clock())
    chosen = which.filter(which.agent and which.agent.strip().lower())
    named = load_job(call, argument)
    state = open_state(named.job.state.reveal(call.world.environ), named.job.name)
    try:
        rows = _accepted(state, chosen, given, named)
    finally:
        state.engine.dispose()
    if call.common.format is Format.JSON:
        screen.write_json(_as_json(named, given, rows))
    elif not call.common.quiet:
        screen.write("\n".join(_lines(named, given, rows)))
    return 0


def _given(asked: Asked, now: datetime) -> Acceptance:
    """Return what was said, bounded. Raises UsageError for no name, no reason, or a day that is over or too far off."""
    by, why = said(asked.by, asked.why)
    until = datetime.combine(_day(asked.until, now.date()) + timedelta(days=1), time(), tzinfo=UTC)
    return Acceptance(by=by, why=why, at=now, until=until)


def _day(word: str, today: date) -> date:
    last = today + timedelta(days=DAYS)
    hint = f"a day like {last}, from today on and at most {DAYS} days from now"
    try:
        until = date.fromisoformat(word)
    except ValueError:
        raise UsageError(str(Problem("--until", f"{bounded(word)} is no day", hint))) from None
    if not today <= until <= last:
        what = "is over" if until < today else f"is more than {DAYS} days away"
        raise UsageError(str(Problem("--until", f"{until} {what}", hint)))
    return until


def _accepted(state: State, chosen: Filter, given: Acceptance, named: Named) -> list[dict[str, Any]]:
    """Accept the open findings that are meant and return them. Raises UsageError when there are none."""
    from reconciler.store import accepted

    with state.begin() as connection:
        rows = accepted.open_like(connection, state, chosen)
        if not rows:
            raise UsageError(
                f"{bounded(str(chosen))} fits no open finding of {named.job.name}: a run lists them with their keys "
                f"(`reconcile run {named.word}`; a dry run keeps none)."
            )
        accepted.accept(connection, state, (row["key"] for row in rows), given)
    return rows


def _as_json(named: Named, given: Acceptance, rows: Iterable[dict[str, Any]]) -> dict[str, Any]:
    return {
        "job": named.job.name,
        "by": given.by,
        "why": given.why,
        "until": given.last_day.isoformat(),
        "accepted": [{name: row[name] for name in ("key", "kind", "agent", "event", "crm_id")} for row in rows],
    }


def _lines(named: Named, given: Acceptance, rows: Sequence[dict[str, Any]]) -> Iterable[str]:
    yield (
        f"{plural(len(rows), 'finding')} of {named.job.name} known until {day(given.last_day)}, or until either side "
        f"changes (by {bounded(given.by)}: {bounded(given.why, 300)})."
    )
    for row in rows[:SHOWN]:
        record = f"record {row['crm_id']}" if row["crm_id"] else ""
        yield "  " + "  ".join(bounded(part) for part in (row["key"], row["kind"], row["agent"] or "", record) if part)
    if len(rows) > SHOWN:
        yield f"  … and {len(rows) - SHOWN:,} more"
