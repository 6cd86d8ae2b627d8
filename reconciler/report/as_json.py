"""The report for scripts: the last run's result (docs/result.md), and what is new, open and over in the period.

Pure. `head` is the small part of the object, `items` walks once through what may be long and says into which of its
lists each thing goes. Times and fields stand in their canonical spelling, as in every JSON of this program.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from reconciler.deltas import inert
from reconciler.model import Acceptance, Fields, rfc3339
from reconciler.report.recorded import Fix, PastRun, Recorded, Taken, Tracked, Watched
from reconciler.report.report import Cause, Report, Row, Standing, Trend, Unseen
from reconciler.result import FORMAT_VERSION

LISTS: Final = ("deltas", "findings", "new", "open", "resolved", "accepted")
"""The long lists of the object, in this order."""

_OVER: Final = frozenset({Standing.FIXED, Standing.RESOLVED})


# ---- what is short --------------------------------------------------------------------------------------------------


def head(recorded: Recorded, report: Report) -> dict[str, Any]:
    """Return the object without its long lists."""
    return {
        "format_version": FORMAT_VERSION,
        "job": report.job,
        **_last(recorded.last),
        "calendars": [_calendar(watched) for watched in recorded.calendars],
        "report": told(report),
    }


def _last(run: PastRun | None) -> dict[str, Any]:
    """Return what is kept of the last run's result; the lists come from what the state knows of its findings."""
    if run is None:
        return {"run": None, "status": None, "window": None, "digest": None, "counts": {}, "violations": []}
    unsaid = {"run": run.id, "status": run.status, "digest": run.digest, "counts": dict(run.counts)}
    kept = {name: value for name, value in run.result.items() if name not in {*LISTS, "calendars", "report"}}
    return {**unsaid, **kept}


def _calendar(watched: Watched) -> dict[str, Any]:
    return {
        "agent": watched.place.agent,
        "source": watched.place.source,
        "observed": watched.blind_since is None,
        "why": watched.why,
        "seen_at": _stamp(watched.seen_at),
        "blind_since": _stamp(watched.blind_since),
        "next_try": _stamp(watched.next_try),
    }


def told(report: Report) -> dict[str, Any]:
    """Return what the first screen of every other face says."""
    return {
        "mood": report.mood,
        "headline": report.headline,
        "part": report.part,
        "since": rfc3339(report.since),
        "until": rfc3339(report.until),
        "made_at": rfc3339(report.made_at),
        "urgent": report.is_urgent,
        "quiet": report.is_quiet,
        "coverage": report.coverage,
        "unseen": [_unseen(each) for each in report.unseen],
        "unseen_more": report.unseen_more or None,
        "refusal": list(report.refusal),
        "causes": [_cause(each) for each in report.causes],
        "figures": {each.name: {"count": each.count, "new": each.new} for each in report.figures},
        "sections": {each.name: each.count for each in report.sections},
        "trends": {each.name: _trend(each) for each in report.trends},
        "lines": [*report.summary, *report.lines],
        "notes": list(report.notes),
        "following": [{"purpose": each.purpose, "command": each.command} for each in report.following],
        "digest": report.digest,
    }


def _unseen(unseen: Unseen) -> dict[str, Any]:
    return {
        "name": unseen.name,
        "source": unseen.source,
        "why": unseen.why,
        "since": unseen.since,
        "new": unseen.is_new,
    }


def _cause(cause: Cause) -> dict[str, Any]:
    return {
        "key": cause.key,
        "title": cause.title,
        "evidence": list(cause.evidence),
        "severity": cause.severity,
        "since": _stamp(cause.since),
        "count": cause.count,
        "agents": cause.agents,
        "new": cause.is_new,
        "command": cause.following.command if cause.following else None,
    }


def _trend(trend: Trend) -> dict[str, Any]:
    return {"unit": trend.unit, "points": [[rfc3339(day), value] for day, value in trend.points]}


# ---- what may be long -----------------------------------------------------------------------------------------------


def items(recorded: Recorded, report: Report) -> Iterator[tuple[str, dict[str, Any]]]:
    """Walk through all findings once: each with the name of the list that it goes into."""
    for tracked, row in _side_by_side(recorded.findings, report.rows()):
        said = _finding(tracked, row)
        if _is_of_last_run(tracked, recorded):
            yield "findings", said
            yield from (("deltas", _delta(tracked, taken)) for taken in tracked.taken)
        name = _list_of(row)
        if name:
            yield name, said
    last = recorded.last
    yield from (("deltas", _written(fix)) for fix in recorded.fixes if last and fix.run == last.id and not fix.finding)


def _is_of_last_run(tracked: Tracked, recorded: Recorded) -> bool:
    return recorded.last is not None and tracked.last_seen == recorded.last.started_at


def _side_by_side(findings: Iterable[Tracked], rows: Iterator[Row]) -> Iterator[tuple[Tracked, Row | None]]:
    """Pair each finding with its row: they come in one order, and what was told before has none."""
    row = next(rows, None)
    for tracked in findings:
        if row is not None and row.key == tracked.finding.key:
            yield tracked, row
            row = next(rows, None)
        else:
            yield tracked, None
    if row is not None:
        raise AssertionError(f"the rows of a report are in another order than its findings, from {row.key} on")


def _list_of(row: Row | None) -> str:
    """Name the list of a finding; what is a moment old, and what was told before, is in none but the run's own."""
    if row is None:
        return ""
    if row.standing in _OVER:
        return "resolved"
    if row.standing is Standing.ACCEPTED:
        return "accepted"
    if row.standing.is_open or row.standing is Standing.NOT_SEEN:
        return "new" if row.is_new else "open"
    return ""


def _finding(tracked: Tracked, row: Row | None) -> dict[str, Any]:
    finding = tracked.finding
    return {
        "key": finding.key,
        "kind": finding.kind,
        "severity": finding.severity,
        "agent": finding.agent,
        "event": finding.event,
        "crm_id": finding.crm_id,
        "start": finding.start,
        "fields": {name: list(change) for name, change in finding.fields.items()},
        "has": {side: dict(fields) for side, fields in finding.has.items()},
        "action": finding.remedy,
        "why": finding.why,
        "matched_by": finding.tier,
        "first_seen": rfc3339(tracked.first_seen),
        "last_seen": rfc3339(tracked.last_seen),
        "resolved_at": _stamp(tracked.resolved_at),
        "sightings": tracked.sightings,
        "accepted": _accepted(tracked.accepted),
        **_laid(row),
    }


def _laid(row: Row | None) -> dict[str, Any]:
    return {
        "standing": row.standing if row else None,
        "cause": row.cause or None if row else None,
        "calendar_link": row.calendar_link or None if row else None,
        "crm_link": row.crm_link or None if row else None,
    }


def _accepted(acceptance: Acceptance | None) -> dict[str, Any] | None:
    if acceptance is None:
        return None
    return {"by": acceptance.by, "why": acceptance.why, "until": rfc3339(acceptance.last_day)}


def _delta(tracked: Tracked, taken: Taken) -> dict[str, Any]:
    """Return one delta of the last run. The state keeps findings: `key` is that of its finding."""
    finding = tracked.finding
    return {
        "action": taken.action,
        "side": taken.side,
        "key": finding.key,
        "agent": finding.agent,
        "event": finding.event,
        "crm_id": finding.crm_id,
        "severity": finding.severity,
        "fields": {name: list(change) for name, change in taken.fields.items()},
        "finding": finding.kind,
        "outcome": taken.outcome,
        "why": taken.why or None,
    }


def _written(fix: Fix) -> dict[str, Any]:
    """Return one write of the last run that no finding stands behind."""
    return {
        "action": fix.action,
        "side": fix.side,
        "key": fix.key,
        "agent": fix.agent,
        "event": fix.event,
        "crm_id": fix.crm_id,
        "severity": None,
        "fields": _changed(fix.before, fix.after),
        "finding": fix.kind,
        "outcome": "done",
        "why": None,
    }


def _changed(before: Fields, after: Fields) -> Mapping[str, Any]:
    """Show what the journal keeps raw: the images of a side are as that side spelled them."""
    names = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
    return {name: [inert(before.get(name)), inert(after.get(name))] for name in names}


def _stamp(moment: datetime | None) -> str | None:
    return rfc3339(moment) if moment else None
