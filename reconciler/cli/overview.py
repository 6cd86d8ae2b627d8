"""All that `reconcile status` shows, read from the state alone: no provider, no CRM, and none of their secrets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import health, lateness, scheduling, telling
from reconciler.cli.health import Condition, Health, Terms
from reconciler.cli.lateness import Late
from reconciler.model import rfc3339
from reconciler.report import mask

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Named
    from reconciler.config import Job
    from reconciler.reporting import Desk
    from reconciler.store.consents import Approval
    from reconciler.store.database import Connection
    from reconciler.store.deliveries import Delivery
    from reconciler.store.overview import FailedStart, Waiting

RUNS: Final = 5
"""Runs, and consents, that are shown."""

SLACK: Final = timedelta(minutes=10)
"""By how much the clock of a disk may be behind."""

_NOTHING_DONE: Final = frozenset({1, 2, 4})
"""Exit codes of runs that applied nothing: what the calendars are like says nothing of that."""

_RUN: Final = ("id", "command", "slot", "started_at", "finished_at", "status", "exit_code", "digest", "counts", "why")


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All that `status` shows of one job."""

    job: str
    calendars: tuple[Health, ...]
    runs: tuple[Mapping[str, Any], ...]
    findings: Mapping[str, int]
    accepted: tuple[Mapping[str, Any], ...]
    consents: tuple[Approval, ...]
    told: tuple[Delivery, ...]
    waiting: Waiting | None
    late: tuple[Late, ...]
    next_read: datetime | None
    notes: tuple[str, ...]
    now: datetime
    critical: int = 0
    failed_start: FailedStart | None = None

    @property
    def states(self) -> Counter[Condition]:
        """Count the calendars by how they are."""
        return Counter(one.state for one in self.calendars)

    @property
    def unwell(self) -> tuple[Health, ...]:
        """Return the calendars that somebody has to look at, the most urgent first."""
        order = list(Condition)
        return tuple(
            sorted((one for one in self.calendars if not one.state.is_well), key=lambda one: order.index(one.state))
        )

    @property
    def is_consented(self) -> bool:
        """Tell whether somebody consented to the plan that waits, and the next run will take that."""
        digest = self.waiting.digest if self.waiting else None
        return any(one.digest == digest and one.used_by is None and one.expires_at > self.now for one in self.consents)

    @property
    def asks(self) -> bool:
        """Tell whether a plan waits for somebody's consent."""
        return self.waiting is not None and self.waiting.digest is not None and not self.is_consented

    @property
    def failed(self) -> Mapping[str, Any] | None:
        """Return the latest run that is over, if it applied nothing and that is no matter of consent."""
        ended = (row for row in self.runs if row["command"] == "run" and row["exit_code"] is not None)
        last = next(ended, None)
        if last is None or last["exit_code"] not in _NOTHING_DONE:
            return None
        is_of_consent = self.waiting is not None and self.waiting.digest and self.waiting.run == last["id"]
        return None if is_of_consent else last

    @property
    def needs_somebody(self) -> bool:
        """Tell whether a person has to look at any of it."""
        is_unwell = self.unwell or self.late or self.failed or self.failed_start or self.critical
        return bool(is_unwell) or self.asks or any(telling.is_lost(one) or telling.is_partial(one) for one in self.told)


def overview(call: Call, named: Named) -> Overview:
    """Read how a job is doing. Raises ConfigError and StateError where its state can't be read."""
    from reconciler import reporting

    with reporting.desk(named.job, call.world.environ, clock=call.world.clock) as desk:
        with desk.state.engine.connect() as connection:  # never committed: a question leaves nothing behind
            not_kept = lateness.late(call, named, connection, desk.state)
            read = _read(connection, desk, scheduling.next_read(call, named))
        found = replace(read, late=not_kept, notes=(*read.notes, *_unwritten(named.job, read.runs)))
        if call.common.mask or named.job.report.mask:
            return _masked(found, visible(desk))
    return found


def _read(connection: Connection, desk: Desk, next_read: datetime | None) -> Overview:
    from reconciler.store import accepted, consents, overview, state

    now, job = desk.clock(), desk.job
    waiting = overview.waiting(connection, desk.state)
    terms = Terms(
        now=now,
        freshness=job.run.freshness,
        next_read=next_read,
        withheld=waiting.withheld if waiting else {},
        withheld_at=waiting.at if waiting else None,
    )
    known = desk.directory.calendars if desk.directory else overview.known_calendars(connection, desk.state)
    watched = state.watch(connection, desk.state, known)
    return Overview(
        job=job.name,
        calendars=tuple(health.health(one, terms) for one in watched),
        runs=tuple(state.last_runs(connection, desk.state, RUNS)),
        findings=overview.open_findings(connection, desk.state),
        accepted=tuple(accepted.told(connection, desk.state)),
        consents=tuple(consents.last_approvals(connection, desk.state, RUNS)),
        told=telling.told(connection, desk.state, job, now),
        waiting=waiting,
        late=(),
        next_read=next_read,
        notes=desk.notes,
        now=now,
        critical=overview.critical(connection, desk.state),
        failed_start=overview.failed_start(connection, desk.state),
    )


def _unwritten(job: Job, runs: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Say that what is measured did not reach its file: a gateway that was not reached is in the log alone."""
    ended = next((row["finished_at"] for row in runs if row["finished_at"]), None)
    if job.metrics.textfile is None or ended is None:
        return
    try:
        written = datetime.fromtimestamp(job.metrics.textfile.stat().st_mtime, UTC)
    except OSError as error:
        yield f"Nothing measured is in the file that [metrics] names: {error.strerror or type(error).__name__}."
        return
    if ended - written > SLACK:
        yield f"The file of [metrics] was last written at {rfc3339(written)}, and runs have ended since."


def visible(desk: Desk) -> frozenset[str]:
    """Return the addresses of the brokerage's own people, which stay visible."""
    agents = desk.directory.agents if desk.directory else ()
    return frozenset(name for agent in agents for name in (agent.email, *agent.aliases))


def _masked(found: Overview, visible: frozenset[str]) -> Overview:
    """Return it without clients' addresses in what people and providers wrote."""

    def said(why: str | None) -> str | None:
        return mask.sentence(why, visible) if why else why

    return replace(
        found,
        calendars=tuple(replace(one, why=said(one.why)) for one in found.calendars),
        runs=tuple({**row, "why": said(row["why"])} for row in found.runs),
        accepted=tuple({**row, "why": said(row["why"])} for row in found.accepted),
        consents=tuple(replace(one, why=mask.sentence(one.why, visible)) for one in found.consents),
        told=tuple(replace(one, why=said(one.why)) for one in found.told),
    )


# ---- JSON -----------------------------------------------------------------------------------------------------------


def as_json(found: Overview) -> dict[str, Any]:
    """Return the object of `status --format json`."""
    return {
        "job": found.job,
        "next_read": found.next_read,
        "states": {state.value: number for state, number in sorted(found.states.items())},
        "calendars": [health.as_json(one) for one in found.calendars],
        "runs": [{name: row[name] for name in _RUN} for row in found.runs],
        "failed_start": _failed_start(found.failed_start) if found.failed_start else None,
        "open_findings": dict(found.findings),
        "waiting": _waiting(found.waiting, is_consented=found.is_consented) if found.waiting else None,
        "late": [lateness.as_json(one) for one in found.late],
        "accepted": [dict(row) for row in found.accepted],
        "consents": [_consent(one) for one in found.consents],
        "deliveries": [telling.as_json(one) for one in found.told],
        "notes": list(found.notes),
    }


def _failed_start(one: FailedStart) -> dict[str, Any]:
    return {"at": one.at, "exit_code": one.exit_code}


def _waiting(one: Waiting, *, is_consented: bool) -> dict[str, Any]:
    consent = {"digest": one.digest, "covers": one.covers, "given": is_consented} if one.digest else None
    return {"run": one.run, "consent": consent, "deferred": one.deferred, "withheld": dict(one.withheld)}


def _consent(one: Approval) -> dict[str, Any]:
    return {
        "digest": one.digest,
        "by": one.by,
        "why": one.why,
        "origin": one.origin,
        "at": one.at,
        "expires_at": one.expires_at,
        "used_by": one.used_by,
    }
