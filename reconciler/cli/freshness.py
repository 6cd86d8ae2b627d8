"""`reconcile status`: when each calendar was last seen whole, how the last runs ended, what is open."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.cli import logs, running, screen, telling
from reconciler.cli.world import Format, load_job
from reconciler.model import Severity
from reconciler.report import mask
from reconciler.report.words import bounded, moment, plural, zone_of

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

    from reconciler.cli.world import Call
    from reconciler.setup import Setup
    from reconciler.store.consents import Approval
    from reconciler.store.deliveries import Delivery
    from reconciler.store.state import Watched

RUNS = 5
_RUN = ("id", "command", "started_at", "finished_at", "status", "exit_code", "digest", "counts")
MOST = 50
"""Accepted findings that are listed; the JSON has all of them."""


@dataclass(frozen=True, slots=True)
class Health:
    """How one calendar is: `fresh`, `late`, `blind` or `new`, with what is known of it."""

    name: str
    source: str
    state: str
    seen_at: datetime | None
    blind_since: datetime | None
    strikes: int
    why: str | None


@dataclass(frozen=True, slots=True)
class Overview:
    """All that `status` shows."""

    job: str
    calendars: tuple[Health, ...]
    runs: tuple[Mapping[str, Any], ...]
    findings: Mapping[str, int]
    accepted: tuple[Mapping[str, Any], ...]
    consents: tuple[Approval, ...]
    told: tuple[Delivery, ...]
    now: datetime

    @property
    def unwell(self) -> tuple[Health, ...]:
        """Return the calendars that are not as they should be, the blind ones first."""
        return tuple(sorted((one for one in self.calendars if one.state != "fresh"), key=lambda one: one.state))


def status(call: Call, argument: str | None) -> int:
    """Show how the job is doing. Nothing is read but the state database."""
    from reconciler.assembly import assemble

    named = load_job(call, argument)
    logs.configure(call.common, call.world.clock)
    with assemble(named.job, call.world.environ, clock=call.world.clock, dry_run=True) as setup:
        overview = _overview(setup, masking=call.common.mask or named.job.report.mask)
    if call.common.format is Format.JSON:
        screen.write_json(_as_json(overview))
    elif not call.common.quiet:
        screen.write(_as_text(overview, zone_of(named.job.report.timezone), named.word))
    elif overview.unwell or any(map(telling.is_lost, overview.told)):
        screen.write(_headline(overview))
    return 0


def _overview(setup: Setup, *, masking: bool) -> Overview:
    from reconciler.store import accepted, consents, state
    from reconciler.store.overview import open_findings

    freshness, now = setup.job.run.freshness, setup.clock()
    with setup.state.engine.connect() as connection:  # never committed: a question leaves nothing behind
        watched = state.watch(connection, setup.state, setup.directory.calendars)
        runs = tuple(state.last_runs(connection, setup.state, RUNS))
        found = open_findings(connection, setup.state)
        known = tuple(accepted.told(connection, setup.state))
        given = tuple(consents.last_approvals(connection, setup.state, RUNS))
        told = telling.told(connection, setup.state, setup.job, now)
    visible = running.addresses(setup)
    if masking:
        given = tuple(replace(one, why=mask.sentence(one.why, visible)) for one in given)
    calendars = tuple(_health(each, now, freshness, visible if masking else None) for each in watched)
    return Overview(setup.job.name, calendars, runs, found, known, given, told, now)


def _health(each: Watched, now: datetime, freshness: timedelta, visible: frozenset[str] | None) -> Health:
    if each.blind_since is not None:
        state = "blind"
    elif each.seen_at is None:
        state = "new"
    else:
        state = "fresh" if now - each.seen_at <= freshness else "late"
    why = mask.sentence(each.why, visible) if each.why and visible is not None else each.why
    label, source = each.calendar.label, each.calendar.source
    return Health(label, source, state, each.seen_at, each.blind_since, each.strikes, why)


def _as_json(overview: Overview) -> dict[str, Any]:
    return {
        "job": overview.job,
        "calendars": [
            {
                "calendar": one.name,
                "source": one.source,
                "state": one.state,
                "seen_at": one.seen_at,
                "blind_since": one.blind_since,
                "strikes": one.strikes,
                "why": one.why,
            }
            for one in overview.calendars
        ],
        "runs": [{name: row[name] for name in _RUN} for row in overview.runs],
        "open_findings": dict(overview.findings),
        "accepted": [dict(row) for row in overview.accepted],
        "consents": [
            {
                "digest": one.digest,
                "by": one.by,
                "why": one.why,
                "origin": one.origin,
                "at": one.at,
                "expires_at": one.expires_at,
                "used_by": one.used_by,
            }
            for one in overview.consents
        ],
        "deliveries": [telling.as_json(one) for one in overview.told],
    }


# ---- text -----------------------------------------------------------------------------------------------------------


def _headline(overview: Overview) -> str:
    states = [one.state for one in overview.calendars]
    said = ", ".join(
        f"{states.count(state):,} {state}" for state in ("blind", "late", "new", "fresh") if state in states
    )
    return (
        f"{overview.job}: calendars {said or 'none'}; {_open(overview.findings)}{_accepted(overview)}{_lost(overview)}"
    )


def _lost(overview: Overview) -> str:
    lost = sum(map(telling.is_lost, overview.told))
    return f"; {plural(lost, 'report')} may not have arrived" if lost else ""


def _accepted(overview: Overview) -> str:
    return f", {len(overview.accepted):,} accepted" if overview.accepted else ""


def _open(findings: Mapping[str, int]) -> str:
    parts = ", ".join(f"{findings[level]:,} {level}" for level in Severity if findings.get(level))
    return f"{plural(sum(findings.values()), 'open finding')}" + (f" ({parts})" if parts else "")


def _as_text(overview: Overview, zone: ZoneInfo, word: str) -> str:
    lines = [_headline(overview)]
    if lost := list(telling.lost_lines(overview.told, zone, word)):
        lines += ["", *map(screen.red, ["REPORTS THAT MAY NOT HAVE ARRIVED", *lost])]
    lines += ["", "CALENDARS"]
    lines += [line for one in (*overview.unwell, *_fresh(overview)) for line in _calendar_lines(one, zone)]
    lines += ["", "ACCEPTED", *(_accepted_line(row) for row in overview.accepted[:MOST])] if overview.accepted else []
    if overview.consents:
        lines += ["", "CONSENTS", *(_consent_line(one, overview.now, zone) for one in overview.consents)]
    if sent := list(telling.sent_lines(overview.told, zone)):
        lines += ["", "REPORTS", *sent]
    lines += ["", "RUNS"]
    lines += [_run_line(row, zone) for row in overview.runs] or [f"  none yet: reconcile --dry-run {word}"]
    return "\n".join(lines) + "\n"


def _accepted_line(row: Mapping[str, Any]) -> str:
    who = f"until {row['until']} by {bounded(row['by'])}: {bounded(row['why'], 200)}"
    return "  " + "  ".join(bounded(part) for part in (row["key"], row["kind"], row["agent"]) if part) + f"  {who}"


def _consent_line(one: Approval, now: datetime, zone: ZoneInfo) -> str:
    if one.used_by:
        fate = f"used by run {one.used_by}"
    else:
        fate = f"{'expired' if one.expires_at <= now else 'counts until'} {moment(one.expires_at, zone)}"
    who = f"{bounded(one.by)} ({bounded(one.origin)}), {moment(one.at, zone)}"
    return f"  {one.digest[:12]}  {fate}  by {who}: {bounded(one.why, 200)}"


def _fresh(overview: Overview) -> Iterable[Health]:
    return (one for one in overview.calendars if one.state == "fresh")


def _calendar_lines(one: Health, zone: ZoneInfo) -> Iterable[str]:
    seen = f"last seen whole {moment(one.seen_at, zone)}" if one.seen_at else "never seen whole"
    yield f"  {one.state:<6} {bounded(one.name)} ({bounded(one.source)})  {seen}"
    if one.blind_since:
        since = f"{moment(one.blind_since, zone)}, {plural(one.strikes, 'try')}"
        yield f"         blind since {since}: {bounded(one.why or '', 300)}"


def _run_line(row: Mapping[str, Any], zone: ZoneInfo) -> str:
    ended = row["status"] or "did not end"
    took = f"{(row['finished_at'] - row['started_at']).total_seconds():.0f} s" if row["finished_at"] else ""
    code = f"exit {row['exit_code']}" if row["exit_code"] is not None else ""
    command = row["command"] if row["command"] != "run" else ""
    parts = [moment(row["started_at"], zone), command, ended, code, took, row["id"]]
    return "  " + "  ".join(part for part in parts if part)
