"""`reconcile approve`: a person's consent to a plan that waits, written down for the next run; nothing is applied."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import logs, screen
from reconciler.cli.world import Format, Named, load_job
from reconciler.errors import UsageError
from reconciler.report.words import bounded, moment, plural, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import timedelta

    from reconciler.cli.world import Call
    from reconciler.store.consents import Approval, Stored

MOST: Final = 3
"""Agents that are named as those whose changes they mostly are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line said: which plan, who consents, why, and for how long."""

    digest: str
    by: str
    why: str
    expires: str


@logs.told("approve")
def approve(call: Call, asked: Asked, argument: str | None) -> int:
    """Write down consent to the plan that is meant, and say what it covers. Needs the state database and no secrets."""
    from reconciler import consent
    from reconciler.store.state import open_state

    named = load_job(call, argument)
    approval = _approval(call, asked)
    state = open_state(named.job.state.reveal(call.world.environ), named.job.name)
    try:
        stored = consent.approve(state, asked.digest.lower(), approval)
    finally:
        state.engine.dispose()
    if call.common.format is Format.JSON:
        screen.write_json(_as_json(named, approval, stored))
    elif not call.common.quiet:
        screen.write("\n".join(_lines(named, approval, stored)))
    return 0


def _approval(call: Call, asked: Asked) -> Approval:
    from reconciler.cli.origin import origin, said
    from reconciler.store.consents import Approval

    now = call.world.clock()
    by, why = said(asked.by, asked.why)
    return Approval(
        digest="",
        by=by,
        why=why,
        origin=origin(call.world.environ),
        at=now,
        expires_at=now + _lasts(asked.expires),
    )


def _lasts(value: str) -> timedelta:
    from reconciler.config.values import WrongError, duration, some_time

    try:
        return some_time(duration(value))
    except WrongError as error:
        raise UsageError(f"--expires {error.what}: {error.hint or 'for example 24h'}.") from None


# ---- what is said of it ---------------------------------------------------------------------------------------------


def _lines(named: Named, approval: Approval, stored: Stored) -> Iterator[str]:
    zone = zone_of(named.job.report.timezone)
    counts = ", ".join(f"{count:,} {action}" for action, count in sorted(stored.counts.items()))
    yield (
        f"{bounded(approval.by)} consented to plan {stored.digest[:12]} of {named.job.name}, made "
        f"{moment(stored.made_at, zone)}: {counts}."
    )
    if whose := _whose(stored):
        yield whose
    yield f"It counts once, in the next run that writes, until {moment(approval.expires_at, zone)}."
    yield "What has moved by then drops out and is listed; what is new counts against the ordinary limits."
    yield f"To apply it now:\n    reconcile run {named.word}"


def _whose(stored: Stored) -> str:
    agents = stored.agents
    if len(agents) <= 1:
        return f"All of it is {bounded(agent)}'s." if (agent := next(iter(agents), None)) else ""
    most = ", ".join(f"{bounded(agent)} {count:,}" for agent, count in agents.most_common(MOST))
    return f"It concerns {plural(len(agents), 'agent')}, mostly: {most}."


def _as_json(named: Named, approval: Approval, stored: Stored) -> dict[str, Any]:
    return {
        "job": named.job.name,
        "digest": stored.digest,
        "run": stored.run,
        "made_at": stored.made_at,
        "by": approval.by,
        "why": approval.why,
        "origin": approval.origin,
        "expires_at": approval.expires_at,
        "counts": dict(stored.counts),
        "agents": dict(stored.agents.most_common()),
        "violations": [
            {
                "limit": one.limit,
                "found": one.found,
                "allowed": one.allowed,
                "population": one.population,
                "agent": one.agent,
                "why": one.why,
            }
            for one in stored.violations
        ],
    }
