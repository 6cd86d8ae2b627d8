"""What a run came to, as one value: printed for people, or the JSON object that scripts rely on (docs/result.md)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model import Consent, Delta, Finding, Outcome, Violation, Waiting, Window, rfc3339

if TYPE_CHECKING:
    from datetime import datetime

FORMAT_VERSION = 1

BUCKETS = ("in_sync", "create", "update", "cancel", "delete", "held", "human", "conflict")
"""What every pair is counted in, exactly once; each side adds buckets of its own."""

EVENT_BUCKETS = (*BUCKETS, "irrelevant", "quarantined", "copies")
RECORD_BUCKETS = (*BUCKETS, "strangers")


@dataclass(frozen=True, slots=True)
class CalendarSeen:
    """How one calendar was read in this run. `blind_since` is set while it can't be.

    `because` says why it was read whole where that is no matter of course. `number` is what the state calls it; it was
    not `asked` for on purpose, or `rested` as trying makes no sense yet; `quarantined` are entries that can't be read.
    """

    agent: str
    source: str
    observed: bool
    mode: str | None
    events: int
    why: str | None = None
    strikes: int = 0
    blind_since: datetime | None = None
    because: str | None = None
    number: int = 0
    asked: bool = True
    rested: bool = False
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class Sum:
    """One side of the balance: how many there are, and in which bucket each one is counted."""

    total: int
    parts: Mapping[str, int]

    @property
    def adds_up(self) -> bool:
        """Tell whether each one was counted exactly once."""
        return sum(self.parts.values()) == self.total


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a run found and did. `sightings` says when each finding was first seen and how often, this run included.

    `asks` names what waits for a person's consent, `approvals` says what became of those that were given.
    `notes` are sentences for people about the run as a whole (a refusal, what was withheld, what waits). `slot` is the
    scheduled instant that it stands for.
    """

    job: str
    run: str
    dry_run: bool
    status: str
    exit_code: int
    window: Window
    digest: str
    counts: Mapping[str, int]
    events: Sum
    records: Sum
    deltas: tuple[Delta, ...] = ()
    findings: tuple[Finding, ...] = ()
    sightings: Mapping[str, tuple[datetime, int]] = field(default_factory=dict)
    violations: tuple[Violation, ...] = ()
    withheld: tuple[Violation, ...] = ()
    asks: Waiting | None = None
    approvals: tuple[Consent, ...] = ()
    calendars: tuple[CalendarSeen, ...] = ()
    notes: tuple[str, ...] = ()
    slot: datetime | None = None

    @property
    def has_differences(self) -> bool:
        """Tell whether there is anything that one side has and the other has not, and that nobody accepted."""
        different = sum(self.counts.get(name, 0) for name in BUCKETS if name != "in_sync")
        return different > self.counts.get("accepted", 0)

    def to_json(self) -> dict[str, Any]:
        """Return the object of `--format json`."""
        return {
            "format_version": FORMAT_VERSION,
            "job": self.job,
            "run": self.run,
            "dry_run": self.dry_run,
            "slot": rfc3339(self.slot) if self.slot else None,
            "status": self.status,
            "window": {"start": rfc3339(self.window.start), "end": rfc3339(self.window.end)},
            "digest": self.digest,
            "counts": dict(self.counts),
            "balance": {
                "events": {"total": self.events.total, **self.events.parts},
                "records": {"total": self.records.total, **self.records.parts},
            },
            "deltas": [_delta(delta) for delta in self.deltas],
            "findings": [self._finding(finding) for finding in self.findings],
            "violations": [_violation(violation) for violation in (*self.violations, *self.withheld)],
            "consent": {"digest": self.asks.digest, "covers": self.asks.count} if self.asks else None,
            "approvals": [_approval(consent) for consent in self.approvals],
            "calendars": [calendar_to_json(calendar) for calendar in self.calendars],
        }

    def _finding(self, finding: Finding) -> dict[str, Any]:
        first_seen, sightings = self.sightings[finding.key]
        return {
            "key": finding.key,
            "kind": finding.kind,
            "severity": finding.severity,
            "agent": finding.agent,
            "event": finding.event,
            "crm_id": finding.crm_id,
            "start": finding.start,
            "fields": dict(finding.fields),
            "action": finding.remedy,
            "why": finding.why,
            "matched_by": finding.tier,
            "first_seen": rfc3339(first_seen),
            "sightings": sightings,
        }


def _delta(delta: Delta) -> dict[str, Any]:
    return {
        "action": delta.action,
        "side": delta.side,
        "key": delta.key,
        "agent": delta.agent,
        "event": delta.event,
        "crm_id": delta.crm_id,
        "severity": delta.severity,
        "fields": dict(delta.fields),
        "finding": delta.kind,
        "outcome": delta.outcome,
        "why": delta.why or None,
    }


def _violation(violation: Violation) -> dict[str, Any]:
    return {
        "limit": violation.limit,
        "found": violation.found,
        "allowed": violation.allowed,
        "population": violation.population,
        "action": violation.action,
        "agent": violation.agent,
        "why": violation.why,
    }


def _approval(consent: Consent) -> dict[str, Any]:
    return {
        "digest": consent.digest,
        "by": consent.by,
        "covered": consent.covered,
        "dropped": list(consent.dropped),
        "expired": rfc3339(consent.expired) if consent.expired else None,
    }


def calendar_to_json(calendar: CalendarSeen) -> dict[str, Any]:
    """Return one calendar's part of the object."""
    return {
        "agent": calendar.agent,
        "source": calendar.source,
        "observed": calendar.observed,
        "mode": calendar.mode,
        "events": calendar.events,
        "why": calendar.why,
    }


def failed(deltas: tuple[Delta, ...]) -> tuple[Delta, ...]:
    """Return the deltas that a run meant to apply and did not."""
    lost = {Outcome.FAILED, Outcome.DEFERRED, Outcome.UNKNOWN, Outcome.CONFLICT}
    return tuple(delta for delta in deltas if delta.outcome in lost)
