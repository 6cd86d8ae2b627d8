"""`reconcile status`: when each calendar was last seen whole, what waits, how the last runs ended, what is open."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import logs, screen, telling
from reconciler.cli.health import Condition, Health
from reconciler.cli.overview import Overview, as_json, overview
from reconciler.cli.world import Format, load_job
from reconciler.errors import ReconcilerError, UsageError
from reconciler.model import Severity
from reconciler.report.refusal import PREFIX
from reconciler.report.words import bounded, moment, plural, zone_of

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path
    from zoneinfo import ZoneInfo

    from reconciler.cli.world import Call
    from reconciler.store.consents import Approval

MOST: Final = 50
"""Calendars and accepted findings that have a line of their own; the JSON has all of them."""
FEW: Final = 20
"""Calendars that are well that have a line of their own; of more there is one for each source."""


def status(call: Call, argument: str | None) -> int:
    """Show how the job is doing. Nothing is read but the state database."""
    named = load_job(call, argument)
    logs.configure(call.common, call.world.clock)
    found = overview(call, named)
    if call.common.format is Format.JSON:
        screen.write_json(as_json(found))
    elif not call.common.quiet:
        screen.write("\n".join(_text(found, zone_of(named.job.report.timezone), named.word)) + "\n")
    elif found.needs_somebody:
        screen.write(headline(found))
    return 0


def status_of_all(call: Call, argument: str | None) -> int:
    """Say of every job in jobs/ how it is doing; what can't be read of one hides none of the others."""
    from reconciler.config import every

    if argument is not None:
        raise UsageError(f"--all is about every job, and {bounded(argument)} is one: leave one of both out.")
    jobs = every(call.world.cwd)
    if not jobs:
        raise UsageError("--all: there is no job file in jobs/ here. Start this in the folder where jobs/ is.")
    logs.configure(call.common, call.world.clock)
    told = [_of_one(call, path) for path in jobs]
    if call.common.format is Format.JSON:
        screen.write_json({"jobs": [as_json(one) if isinstance(one, Overview) else one for one in told]})
        return 0
    for one in told:
        if not isinstance(one, Overview):
            screen.write(f"{bounded(one['job'])}: {one['problem']}")
        elif one.needs_somebody or not call.common.quiet:
            screen.write(headline(one))
    return 0


def _of_one(call: Call, path: Path) -> Overview | dict[str, str]:
    """Return how a job is doing, or what keeps it from being known."""
    try:
        return overview(call, load_job(call, str(path)))
    except ReconcilerError as error:
        return {"job": path.stem, "problem": bounded(str(error), 300)}


# ---- the headline ---------------------------------------------------------------------------------------------------


def headline(found: Overview) -> str:
    """Say in one line how a job is doing."""
    said = ", ".join(f"{found.states[state]:,} {state}" for state in Condition if found.states[state])
    asks = f"{_accepted(found)}{_failed(found)}{_asks(found)}{_late(found)}{_lost(found)}"
    return f"{found.job}: calendars {said or 'none'}; {_open(found.findings)}{asks}"


def _lost(found: Overview) -> str:
    lost = sum(map(telling.is_lost, found.told))
    partly = sum(map(telling.is_partial, found.told))
    said = f"; {plural(lost, 'report')} may not have arrived" if lost else ""
    return f"{said}; {plural(partly, 'report')} did not reach everybody" if partly else said


def _asks(found: Overview) -> str:
    return "; a plan waits for consent" if found.asks else ""


def _failed(found: Overview) -> str:
    if found.failed_start:
        return f"; no run came of the last start (exit {found.failed_start.exit_code})"
    return f"; the last run {_ENDED.get(found.failed['status'], 'failed')}" if found.failed else ""


_ENDED: Final = {"refused": "was refused"}


def _late(found: Overview) -> str:
    late = sum(1 for one in found.late if one.late)
    return f"; {plural(late, 'slot')} late" if late else ""


def _accepted(found: Overview) -> str:
    return f", {len(found.accepted):,} accepted" if found.accepted else ""


def _open(findings: Mapping[str, int]) -> str:
    parts = ", ".join(f"{findings[level]:,} {level}" for level in Severity if findings.get(level))
    return f"{plural(sum(findings.values()), 'open finding')}" + (f" ({parts})" if parts else "")


# ---- text -----------------------------------------------------------------------------------------------------------


def _text(found: Overview, zone: ZoneInfo, word: str) -> Iterator[str]:
    yield headline(found)
    yield from (f"  {bounded(note, 300)}" for note in found.notes)
    lost = [screen.red(line) for line in telling.lost_lines(found.told, zone, word)]
    yield from _part(screen.red("REPORTS THAT MAY NOT HAVE ARRIVED"), lost)
    yield from _part("WAITING", _waiting_lines(found, zone, word))
    yield from _part("SLOTS NOT SERVED", [*_late_lines(found, zone, word)])
    yield from _part("CALENDARS", _calendars(found, zone))
    yield from _part("ACCEPTED", _bounded([_accepted_line(row) for row in found.accepted]))
    yield from _part("CONSENTS", [_consent_line(one, found.now, zone) for one in found.consents])
    yield from _part("REPORTS", list(telling.sent_lines(found.told, zone)))
    runs = [line for row in found.runs for line in _run_lines(row, zone)] or [f"  none yet: reconcile --dry-run {word}"]
    yield from _part("RUNS", [*_start_lines(found, zone, word), *runs, *_next_line(found, zone)])


def _part(title: str, lines: Iterable[str]) -> Iterator[str]:
    shown = list(lines)
    if shown:
        yield from ("", title, *shown)


def _bounded(lines: list[str]) -> list[str]:
    more = len(lines) - MOST
    return [*lines[:MOST], f"  and {more:,} more (--format json has all of them)"] if more > 0 else lines


def _waiting_lines(found: Overview, zone: ZoneInfo, word: str) -> Iterator[str]:
    """Say what the last run left, and who has to do what about it."""
    if (left := found.waiting) is None:
        return
    if left.digest:
        what = f"  plan {left.digest[:PREFIX]} of {moment(left.at, zone)}: {plural(left.covers, 'change')}"
        if found.is_consented:
            yield f"{what}; somebody consented, the next run applies it"
        else:
            yield f"{what} for somebody to consent to"
            yield f"    reconcile report {word} --run {left.run}"
            yield f"    reconcile approve {left.digest[:PREFIX]} --by YOU --why TEXT --job {word}"
    if left.deferred:
        yield f"  {plural(left.deferred, 'change')} put off: the next run goes on with them"


def _late_lines(found: Overview, zone: ZoneInfo, word: str) -> Iterator[str]:
    """Say what the crontab asked for and did not get."""
    for one in found.late:
        if one.late:
            yield f"  {bounded(one.command)}  late since {moment(one.late, zone)}"
        if one.missed and one.first_missed:
            yield f"  {bounded(one.command)}  {one.missed:,} missed since {moment(one.first_missed, zone)}"
    if found.late:
        yield f"    reconcile schedule {word}"


# ---- calendars ------------------------------------------------------------------------------------------------------


def _calendars(found: Overview, zone: ZoneInfo) -> Iterator[str]:
    unwell = [list(_calendar_lines(one, zone)) for one in found.unwell]
    yield from (line for lines in unwell[:MOST] for line in lines)
    if len(unwell) > MOST:
        yield f"  and {len(unwell) - MOST:,} more that are not well (--format json has all of them)"
    well = [one for one in found.calendars if one.state.is_well]
    if len(well) <= FEW:
        yield from (line for one in well for line in _calendar_lines(one, zone))
    else:
        yield from _summed(well, zone)


def _summed(well: Iterable[Health], zone: ZoneInfo) -> Iterator[str]:
    """Say of many that are well how many there are of each source, and how old the oldest read is."""
    groups: dict[tuple[Condition, str], list[Health]] = {}
    for one in well:
        groups.setdefault((one.state, one.source), []).append(one)
    for (state, source), ones in sorted(groups.items()):
        oldest = min((one.seen_at for one in ones if one.seen_at), default=None)
        seen = f"  the one not seen for longest last seen whole {moment(oldest, zone)}" if oldest else ""
        yield f"  {state:<8} {plural(len(ones), 'calendar')} ({bounded(source)}){seen}"


def _calendar_lines(one: Health, zone: ZoneInfo) -> Iterator[str]:
    seen = f"last seen whole {moment(one.seen_at, zone)}" if one.seen_at else "never seen whole"
    yield f"  {one.state:<8} {bounded(one.name)} ({bounded(one.source)})  {seen}"
    if one.state.is_well:
        return
    why = f": {bounded(one.why, 300)}" if one.why and one.state not in {Condition.LATE, Condition.NEW} else ""
    tries = f", {plural(one.strikes, 'try')}" if one.blind_since and one.strikes else ""
    if one.since:
        yield f"           {_BEING.get(one.state, one.state)} since {moment(one.since, zone)}{tries}{why}"
    if one.next_try:
        yield f"           {'tried again not before' if one.state is Condition.PARKED else 'next try'} " + moment(
            one.next_try, zone
        )


_BEING: Final = {Condition.PARKED: "blind"}
"""What a calendar is, where that is another word than how it is looked after."""


# ---- the rest -------------------------------------------------------------------------------------------------------


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


def _start_lines(found: Overview, zone: ZoneInfo, word: str) -> Iterator[str]:
    """Say of a start that failed before it was a run that it did: why, it said itself, and its log has it."""
    if one := found.failed_start:
        yield f"  {moment(one.at, zone)}  no run came of this start  exit {one.exit_code}"
        yield f"    reconcile check {word}"


def _next_line(found: Overview, zone: ZoneInfo) -> Iterator[str]:
    if found.next_read:
        yield f"  {moment(found.next_read, zone)}  next slot of the crontab"


def _run_lines(row: Mapping[str, Any], zone: ZoneInfo) -> Iterator[str]:
    ended = row["status"] or "did not end"
    took = f"{(row['finished_at'] - row['started_at']).total_seconds():.0f} s" if row["finished_at"] else ""
    code = f"exit {row['exit_code']}" if row["exit_code"] is not None else ""
    command = row["command"] if row["command"] != "run" else ""
    slot = f"slot {row['slot']:%H:%M} UTC" if row["slot"] else ""
    parts = [moment(row["started_at"], zone), command, ended, code, took, slot, row["id"]]
    yield "  " + "  ".join(part for part in parts if part)
    if row["why"]:
        yield f"    {bounded(row['why'], 300)}"
