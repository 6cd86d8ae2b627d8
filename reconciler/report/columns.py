"""What the tables of a report hold: the columns of all findings, and the lines of the sheet that sums them up.

Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from reconciler.report.finding import KINDS
from reconciler.report.report import Cause, Report, Row
from reconciler.report.words import plural


class Holds(Enum):
    """What the cells of a column hold."""

    TEXT = "text"
    WHEN = "when"  # canonical: an instant or, for all day, a date
    STAMP = "stamp"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in a CSV, its heading and width in a spreadsheet, and what it takes from a finding."""

    name: str
    heading: str
    width: int
    of: Callable[[Row], object]
    holds: Holds = Holds.TEXT


COLUMNS: Final = (
    Column("standing", "Standing", 11, lambda row: row.standing.value),
    Column("is_new", "New", 6, lambda row: "new" if row.is_new else ""),
    Column("severity", "Severity", 9, lambda row: row.severity.value),
    Column("kind", "Kind", 27, lambda row: row.kind.value),
    Column("finding", "Finding", 25, lambda row: KINDS[row.kind]),
    Column("agent", "Agent", 26, lambda row: row.agent),
    Column("office", "Office", 14, lambda row: row.office),
    Column("client", "Client", 26, lambda row: row.client),
    Column("title", "Title", 32, lambda row: row.title),
    Column("calendar_time", "In the calendar", 40, lambda row: row.calendar_time),
    Column("crm_time", "In the CRM", 40, lambda row: row.crm_time),
    Column("differs", "What differs", 60, lambda row: "; ".join(f"{each.name}: {each.said}" for each in row.changes)),
    Column("why", "Why", 60, lambda row: row.why),
    Column("what_now", "What now", 48, lambda row: row.fate),
    Column("matched", "Matched", 26, lambda row: row.matched),
    Column("open_for", "Open for", 12, lambda row: row.age),
    Column("sightings", "Seen", 7, lambda row: row.sightings, Holds.COUNT),
    Column("first_seen", "First seen", 21, lambda row: row.first_seen, Holds.STAMP),
    Column("last_seen", "Last seen", 21, lambda row: row.last_seen, Holds.STAMP),
    Column("resolved_at", "Resolved", 21, lambda row: row.resolved_at, Holds.STAMP),
    Column("calendar_start", "Calendar start", 21, lambda row: row.calendar_start, Holds.WHEN),
    Column("calendar_end", "Calendar end", 21, lambda row: row.calendar_end, Holds.WHEN),
    Column("crm_start", "CRM start", 21, lambda row: row.crm_start, Holds.WHEN),
    Column("crm_end", "CRM end", 21, lambda row: row.crm_end, Holds.WHEN),
    Column("cause", "Cause", 18, lambda row: row.cause),
    Column("source", "Source", 11, lambda row: row.source),
    Column("event", "Event", 24, lambda row: row.event),
    Column("crm_id", "Record", 12, lambda row: row.crm_id),
    Column("calendar_link", "Link to the calendar", 24, lambda row: row.calendar_link),
    Column("crm_link", "Link to the CRM", 24, lambda row: row.crm_link),
    Column("key", "Key", 15, lambda row: row.key),
)


# ---- the sheet that sums up ------------------------------------------------------------------------------------------

Line = tuple[str, tuple[str | int, ...]]
"""A line of the summary: how it looks, and its cells."""


def summary(report: Report, shown: int, left_out: int) -> Iterator[Line]:
    """Yield what the first sheet says, in the order in which it is read: what was not seen comes first."""
    yield "mood", (f"{report.mood}: {report.headline}",)
    yield "text", (" · ".join(part for part in (report.brand.title, report.job, report.part, report.period) if part),)
    if left_out:
        yield (
            "alarm",
            (f"The sheet Findings holds {shown:,} of {shown + left_out:,} findings; the CSV has all of them.",),
        )
    yield from _alarms(report)
    yield from _part("Figures", [("number", (each.title, each.count, f"{each.new:,} new")) for each in report.figures])
    yield from _part("Causes", [line for cause in report.causes for line in _cause(cause)])
    said = (report.coverage, *report.summary, *report.lines, *report.notes)
    yield from _part("Besides", [("text", ("", each)) for each in said if each])
    yield from _part("What to type", [("text", (each.purpose, each.command)) for each in report.following])
    yield "text", ("Made", report.made_said)


def _alarms(report: Report) -> Iterator[Line]:
    for each in report.unseen:
        new = "new" if each.is_new else "known"
        source = f" ({each.source})" if each.source else ""
        yield "alarm", (f"NOT SEEN: {each.name}{source}", f"{each.why}, {each.since}", new)
    if report.unseen_more:
        yield "alarm", ("NOT SEEN", report.unseen_more)
    for sentence in report.refusal:
        yield "alarm", ("REFUSED", sentence)


def _cause(cause: Cause) -> Iterator[Line]:
    new = "new" if cause.is_new else "known"
    yield "high", (f"{cause.severity}: {plural(cause.count, 'finding')}", cause.title, new)
    yield "text", ("", " ".join((cause.since_said, *cause.evidence)))
    if cause.following:
        yield "text", (cause.following.purpose, cause.following.command)


def _part(title: str, lines: Sequence[Line]) -> Iterator[Line]:
    if lines:
        yield "part", (title, "", "")
        yield from lines
