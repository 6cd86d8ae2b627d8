"""How `reconcile schedule` reads: what is wrong comes first, then job by job what each line starts and how that stands.

A crontab, and the names in it, are text from outside: all of it leaves bounded and inert.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli import screen
from reconciler.cli.lines import LONGEST, Line, Mark
from reconciler.report.words import bounded, lasting, moment, plural, zone_of

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from reconciler.cli.timetable import Known, Row, Timetable

WIDE: Final = 60
"""Characters of a crontab's own words on one line."""


def headline(found: Timetable) -> str:
    """Say in one line how the schedule stands."""
    counted = f"{plural(len(found.rows), 'call')} on {plural(len(found.jobs), 'job')}"
    wrong = [plural(len(found.wrong), "problem")] if found.wrong else []
    late = [f"{len(found.late)} late"] if found.late else []
    missed = sum(row.kept.missed for row in found.rows)
    gaps = [f"{plural(missed, 'slot')} missed"] if missed else []
    return f"{bounded(found.crontab)}: {', '.join([counted, *wrong, *late, *gaps])}"


# ---- text -----------------------------------------------------------------------------------------------------------


def text(found: Timetable) -> str:
    """Return all of it as lines."""
    lines = [headline(found), *_said(found.problems)]
    for path, known in found.jobs.items():
        lines += ["", bounded(known.name), *_said(known.lines)]
        lines += _rows(found, [row for row in found.rows if row.path == path], known)
    lost = [row for row in found.rows if row.path is None]
    if lost:
        lines += ["", "ON NO JOB THAT IS HERE", *_rows(found, lost, None)]
    return "\n".join(lines)


def _said(lines: Iterable[Line]) -> Iterator[str]:
    for line in lines:
        said = f"  {line.mark:<8} {bounded(line.name)}  {bounded(line.says, LONGEST)}"
        yield screen.red(said) if line.mark is Mark.PROBLEM else said


def _rows(found: Timetable, rows: Iterable[Row], known: Known | None) -> Iterator[str]:
    zone = zone_of(known.job.report.timezone if known and known.job else None)
    for row in rows:
        where = f" ({bounded(row.entry.zone)})" if row.entry.zone and row.entry.zone != "UTC" else ""
        yield f"  {bounded(row.entry.expression, WIDE):<16}{where} {bounded(row.called.command, WIDE)}"
        yield f"      next   {_next(row, zone)}"
        yield from _last(found, row, zone)


def _next(row: Row, zone: ZoneInfo) -> str:
    if not row.kept.coming:
        return "never: no day is like that"
    first, *others = row.kept.coming
    return ", ".join([moment(first, zone), *(_short(slot, first, zone) for slot in others)])


def _short(slot: datetime, first: datetime, zone: ZoneInfo) -> str:
    """Say a time by the hour where it is the day of the one before it."""
    here = slot.astimezone(zone)
    return f"{here:%H:%M}" if here.date() == first.astimezone(zone).date() else moment(slot, zone)


def _last(found: Timetable, row: Row, zone: ZoneInfo) -> Iterator[str]:
    stands = row.kept
    if stands.last is None:
        return
    said = f"      last   {moment(stands.last, zone)}: {_how(row, zone)}"
    yield screen.red(said) if stands.is_late else said
    if stands.missed and stands.first_missed and stands.since:
        since = f"the first {moment(stands.first_missed, zone)}; looked at since {moment(stands.since, zone)}"
        yield f"      missed {plural(stands.missed, 'slot')}, {since}"
    if stands.is_late:
        yield screen.red(f"      LATE   for {lasting(found.now - stands.last)}")


def _how(row: Row, zone: ZoneInfo) -> str:
    """Say how the last slot was served."""
    if row.path is None:
        return "nobody can tell"
    if not row.called.is_followed:
        missing = " its line lacks --scheduled" if row.called.has_slots else " no slots are kept of this command"
        return f"not noted,{missing}"
    if row.served is None:
        return _undone(row)
    began = moment(row.served.began_at, zone)
    by = f" by run {row.served.run}" if row.served.run else ""
    if row.served.exit_code is None:
        return f"begun {began}{by}, and not ended: it is at work, or died"
    verb = "done" if row.served.is_done else "FAILED"
    return f"{verb} {began}{by}, exit {row.served.exit_code}"


def _undone(row: Row) -> str:
    since, last = row.kept.since, row.kept.last
    if since is None or last is None or last < since:
        return "before the first start that was noted"
    return "NOT DONE, nothing has started for it" if row.kept.is_late else "not done yet"


# ---- JSON -----------------------------------------------------------------------------------------------------------


def as_json(found: Timetable) -> dict[str, Any]:
    """Return the object of `--format json`."""
    return {
        "crontab": bounded(found.crontab),
        "ok": not found.wrong,
        "problems": _checks(found.problems),
        "lines": [_row(found, row) for row in found.rows],
        "jobs": [{"job": bounded(known.name), "checks": _checks(known.lines)} for known in found.jobs.values()],
    }


def _checks(lines: Iterable[Line]) -> list[dict[str, str]]:
    return [
        {"name": bounded(line.name), "mark": line.mark.lower(), "says": bounded(line.says, LONGEST)} for line in lines
    ]


def _row(found: Timetable, row: Row) -> dict[str, Any]:
    stands, served = row.kept, row.served
    followed = row.called.is_followed and row.path is not None
    return {
        "line": row.entry.number,
        "expression": bounded(row.entry.expression, WIDE),
        "timezone": bounded(row.entry.zone) if row.entry.zone else None,
        "command": bounded(row.called.command, LONGEST),
        "job": bounded(found.jobs[row.path].name) if row.path else None,
        "next": [slot.astimezone(UTC) for slot in stands.coming],
        "last": {
            "slot": stands.last,
            "followed": followed,
            "began_at": served.began_at if served else None,
            "ended_at": served.ended_at if served else None,
            "exit_code": served.exit_code if served else None,
            "run": served.run if served else None,
            "done": served.is_done if served else False if followed else None,
        },
        "late": stands.is_late,
        "missed": {"slots": stands.missed, "first": stands.first_missed, "since": stands.since},
    }
