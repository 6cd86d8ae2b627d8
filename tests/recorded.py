"""What a state knows of one bad morning, as values: a small brokerage with one finding of each sort."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from reconciler.model import Acceptance, Action, Finding, Kind, Outcome, Remedy, Severity, Side, Tier
from reconciler.report.look import Look
from reconciler.report.recorded import Fix, PastRun, Place, Recorded, Taken, Tracked, Watched

SINCE: Final = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
UNTIL: Final = datetime(2026, 11, 23, 12, 55, tzinfo=UTC)
RUN: Final = "01JDBRUN0000000000000000AA"
ANN, BOB = "ann@acme.example", "bob@acme.example"
LOOK: Final = Look(job="acme", zone="America/Chicago", title="Acme Realty")

MOVED: Final = Finding(
    key="moved",
    kind=Kind.RESCHEDULE_NOT_PROPAGATED,
    severity=Severity.HIGH,
    remedy=Remedy.FIX,
    why="Start changed in the calendar.",
    agent=ANN,
    event="evt1",
    crm_id="17",
    fields={"start": ("2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z")},
    start="2026-11-24T16:00:00Z",
    tier=Tier.KEY,
    has={
        Side.CALENDAR: {"start": "2026-11-24T16:00:00Z", "title": "Showing 12 Oak St", "contact": ("jo@home.example",)},
        Side.CRM: {"start": "2026-11-24T15:00:00Z", "title": "Showing 12 Oak St", "contact": ("jo@home.example",)},
    },
)


def finding(key: str, **given: Any) -> Finding:
    """Return a finding; what is not given is as with `MOVED`."""
    return replace(MOVED, key=key, **given)


def tracked(found: Finding, **given: Any) -> Tracked:
    """Return a finding that was first seen in the period and is still there."""
    usual = Tracked(
        finding=found,
        first_seen=UNTIL - timedelta(hours=3),
        last_seen=UNTIL,
        sightings=36,
        place=Place(source="google", kind="google", agent=found.agent or "", name="primary"),
    )
    return replace(usual, **given)


def taken(outcome: Outcome, why: str = "") -> Taken:
    """Return the update of `MOVED`, as it came out."""
    return Taken(action=Action.UPDATE, side=Side.CRM, outcome=outcome, why=why, fields=MOVED.fields)


def findings() -> tuple[Tracked, ...]:
    """Return one finding of each standing, and a calendar that was not seen."""
    human = {"remedy": Remedy.HUMAN, "fields": {}}
    gap = finding("gap", kind=Kind.COVERAGE_GAP, severity=Severity.CRITICAL, agent=BOB, crm_id=None, **human)
    known = Acceptance(by="pat", why="both are meant", at=UNTIL, until=datetime(2027, 1, 1, tzinfo=UTC), sides=b"x")
    old = UNTIL - timedelta(days=6)
    return (
        tracked(gap),
        tracked(finding("person", kind=Kind.REMOVED_BY_HAND, **human)),
        tracked(finding("known-for-days", kind=Kind.CONFLICT, agent=BOB, **human), first_seen=old),
        tracked(finding("refused"), taken=(taken(Outcome.FAILED, "the CRM refused the contact"),)),
        tracked(finding("put-off"), taken=(taken(Outcome.DEFERRED),), first_seen=old),
        tracked(finding("written"), taken=(taken(Outcome.DONE),)),
        tracked(finding("over"), first_seen=old, last_seen=SINCE, resolved_at=UNTIL - timedelta(hours=8)),
        tracked(finding("accepted", remedy=Remedy.NONE), accepted=known, first_seen=old),
        tracked(finding("a-moment-old", remedy=Remedy.HOLD, clues=("pending",))),
    )


def recorded(**given: Any) -> Recorded:
    """Return what is known of the period: two calendars of which one is dark, one run, one write without a finding."""
    last = PastRun(
        id=RUN,
        command="run",
        started_at=UNTIL,
        finished_at=UNTIL + timedelta(minutes=1),
        status="partial",
        exit_code=5,
        digest="7f3c9a1e52b0",
        counts={"calendars": 2, "unobserved": 1},
        result={
            "format_version": 1,
            "job": "acme",
            "run": RUN,
            "dry_run": False,
            "status": "partial",
            "window": {"start": "2026-11-16T00:00:00Z", "end": "2027-01-22T00:00:00Z"},
            "digest": "7f3c9a1e52b0",
            "counts": {"calendars": 2, "unobserved": 1},
            "deltas": [],
            "findings": [],
            "violations": [],
            "calendars": [],
        },
    )
    revert = Fix(
        run=RUN,
        at=UNTIL,
        action=Action.UPDATE,
        side=Side.CRM,
        key="uid9",
        agent=ANN,
        event=None,
        crm_id="9",
        before={"title": "Old", "status": "confirmed"},
        after={"title": "New", "status": "confirmed"},
    )
    usual = Recorded(
        job="acme",
        since=SINCE,
        until=UNTIL,
        made_at=UNTIL + timedelta(minutes=5),
        runs=(last,),
        last=last,
        calendars=(
            Watched(place=Place(source="google", kind="google", agent=ANN, name="primary"), seen_at=UNTIL),
            Watched(
                place=Place(source="google", kind="google", agent=BOB, name="primary"),
                seen_at=UNTIL - timedelta(hours=6),
                blind_since=UNTIL - timedelta(hours=5),
                strikes=9,
                why="the access was withdrawn (invalid_grant)",
            ),
        ),
        findings=findings(),
        fixes=(revert,),
    )
    return replace(usual, **given)
