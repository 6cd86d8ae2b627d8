"""What the state may know of a period, as values: findings that stand somewhere, runs, writes, calendars."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from reconciler.model import Acceptance, Action, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report.look import Look
from reconciler.report.recorded import Fix, PastRun, Place, Recorded, Taken, Tracked, Watched

UNTIL: Final = datetime(2026, 11, 23, 12, 55, tzinfo=UTC)
SINCE: Final = UNTIL - timedelta(days=1)
MADE_AT: Final = UNTIL + timedelta(minutes=5)
EARLIER: Final = SINCE - timedelta(days=3)
LATELY: Final = UNTIL - timedelta(hours=3)

ANN: Final = "ann@acme.example"
BOB: Final = "bob@acme.example"
TEN: Final = "2026-11-24T16:00:00Z"
NINE: Final = "2026-11-24T15:00:00Z"
LOOK: Final = Look(
    job="acme",
    zone="America/Chicago",
    zones={BOB: "America/New_York"},
    limits={"cancel": "10 or 5%"},
    title="Acme Realty",
    link="https://crm.acme.example/appointments/{id}",
)
DIGEST: Final = "7f3c9a1e52b0" + "0" * 52


def place(agent: str = ANN, source: str = "google", name: str = "primary") -> Place:
    return Place(source=source, kind=source, agent=agent, name=name)


def finding(key: str = "5f2c9a1e52b0", **given: Any) -> Finding:
    """Return a finding that our next run puts right; what is not given is as with most."""
    usual: dict[str, Any] = {
        "kind": Kind.RESCHEDULE_NOT_PROPAGATED,
        "severity": Severity.HIGH,
        "remedy": Remedy.FIX,
        "why": "The calendar moved and the CRM did not.",
        "agent": ANN,
        "event": "evt1",
        "crm_id": "17",
        "start": TEN,
        "tier": Tier.KEY,
        "fields": {"start": (NINE, TEN)},
        "has": {
            Side.CALENDAR: {"start": TEN, "title": "Showing 12 Oak St", "contact": ("jo@home.example",)},
            Side.CRM: {"start": NINE, "title": "Showing", "contact": ("jo@home.example",)},
        },
    }
    return Finding(key=key, **{**usual, **given})


def taken(outcome: Outcome, side: Side = Side.CRM, **given: Any) -> Taken:
    usual: dict[str, Any] = {
        "action": Action.UPDATE,
        "side": side,
        "outcome": outcome,
        "fields": {"start": (NINE, TEN)},
    }
    return Taken(**{**usual, **given})


def tracked(
    key: str = "5f2c9a1e52b0",
    *outcomes: Outcome,
    first: datetime = LATELY,
    last: datetime = UNTIL,
    resolved: datetime | None = None,
    accepted: Acceptance | None = None,
    **given: Any,
) -> Tracked:
    """Return a finding over time; `outcomes` are those of its deltas."""
    return Tracked(
        finding=finding(key, **given),
        first_seen=first,
        last_seen=last,
        sightings=3,
        resolved_at=resolved,
        accepted=accepted,
        taken=tuple(taken(outcome) for outcome in outcomes),
        place=place(),
    )


def gap(agent: str | None = None, why: str = "The CRM was not read.", **given: Any) -> Tracked:
    usual = {"kind": Kind.COVERAGE_GAP, "severity": Severity.CRITICAL, "remedy": Remedy.HUMAN, "fields": {}, "has": {}}
    key = given.pop("key", "0a90000000aa")
    return tracked(key, agent=agent, why=why, event=None, crm_id=None, start=None, tier=None, **{**usual, **given})


def run(name: str = "01J", at: datetime = UNTIL, status: str | None = "applied", **given: Any) -> PastRun:
    usual: dict[str, Any] = {
        "command": "run",
        "finished_at": at + timedelta(minutes=1) if status else None,
        "exit_code": 0,
        "digest": DIGEST,
        "counts": {"in_sync": 120, "events": 122, "records": 120},
    }
    return PastRun(id=name, started_at=at, status=status, **{**usual, **given})


def refused_run(at: datetime = UNTIL, name: str = "01R") -> PastRun:
    violation = {"limit": "cancel", "found": 41, "allowed": 13, "population": 260, "why": "of 260 linked records"}
    withheld = {"limit": "emptied", "found": 38, "allowed": 0, "population": 38, "why": "0 events", "agent": BOB}
    said = {"violations": [{**violation, "action": "cancel"}, withheld], "consent": {"digest": DIGEST, "covers": 41}}
    return run(name, at, "refused", exit_code=4, result=said)


def fix(key: str | None = "5f2c9a1e52b0", **given: Any) -> Fix:
    usual: dict[str, Any] = {
        "run": "01J",
        "at": UNTIL,
        "action": Action.UPDATE,
        "side": Side.CRM,
        "key": "uid1",
        "agent": ANN,
        "event": "evt1",
        "crm_id": "17",
        "before": {"start": NINE},
        "after": {"start": TEN},
    }
    return Fix(finding=key, **{**usual, **given})


def period(*findings: Tracked, fixes: Iterable[Fix] = (), **given: Any) -> Recorded:
    """Return a period in which one run ended and found these."""
    last = given.pop("last", run())
    usual: dict[str, Any] = {
        "job": "acme",
        "since": SINCE,
        "until": UNTIL,
        "made_at": MADE_AT,
        "runs": (last,) if last else (),
        "calendars": (Watched(place=place(), seen_at=UNTIL), Watched(place=place(BOB), seen_at=UNTIL)),
    }
    return Recorded(last=last, findings=findings, fixes=tuple(fixes), **{**usual, **given})


def acceptance(until: datetime = UNTIL + timedelta(days=30)) -> Acceptance:
    return Acceptance(by="pat", why="it is meant to be so", at=EARLIER, until=until)
