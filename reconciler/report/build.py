"""What the state knows of a period becomes a report: headline, what was not seen, refusals, causes, findings, trends.

Pure. It walks through findings and writes, and holds none of them but the few that are listed. An urgent report has
only what is newly refused, blind or critical, and of each cause that once.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from reconciler.model import Kind, rfc3339
from reconciler.report.advice import following, notes, refusal
from reconciler.report.facts import LISTED, Facts, facts
from reconciler.report.finding import KINDS
from reconciler.report.headline import figures, headline, mood_of, subject, summary
from reconciler.report.report import Brand, Report, Row, Section, Standing
from reconciler.report.rows import Telling, row
from reconciler.report.tally import SECTIONS, is_urgent, placed
from reconciler.report.trends import days_said, trends
from reconciler.report.unseen import coverage_said
from reconciler.report.words import bounded, moment, plural, zone_of
from reconciler.report.writes import runs_said, writes_said

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterator

    from reconciler.report.look import Look
    from reconciler.report.recorded import Recorded
    from reconciler.report.tally import Placed


def build(recorded: Recorded, look: Look, *, urgent: bool = False) -> Report:
    """Return the report of a period; its rows can be walked through for as long as `recorded` can."""
    came = facts(recorded, look, urgent=urgent)
    mood, zone = mood_of(came), zone_of(look.zone)
    return Report(
        job=bounded(recorded.job),
        brand=Brand(title=bounded(look.title or ""), colour=look.colour or "", logo=look.logo or ""),
        part=bounded(recorded.part),
        mood=mood,
        headline=headline(came),
        subject=subject(came, mood),
        summary=tuple(summary(came)),
        period=f"{moment(recorded.since, zone)} to {moment(recorded.until, zone)}",
        since=recorded.since,
        until=recorded.until,
        made_at=recorded.made_at,
        made_said=moment(recorded.made_at, zone),
        is_urgent=urgent,
        is_quiet=_is_quiet(came),
        coverage=coverage_said(recorded, came.coverage),
        unseen=came.coverage.listed,
        unseen_more=came.coverage.more,
        refusal=tuple(refusal(came)),
        causes=came.told[:LISTED],
        figures=figures(came),
        sections=tuple(_sections(came)),
        trends=() if urgent else trends(recorded, look.zone),
        lines=() if urgent else tuple(_lines(came)),
        notes=tuple(notes(came)),
        following=tuple(following(came)),
        digest=_digest(recorded, urgent=urgent),
        zone=zone.key,
        word=bounded(look.job),
        rows=lambda: _rows(came),
    )


def _is_quiet(came: Facts) -> bool:
    """Tell whether there is nothing that the report before this one could not have said."""
    tally, found = came.tally, came.coverage
    news = (
        sum(tally.new[standing] for standing in Standing if standing is not Standing.PENDING),
        sum(tally.severe_new.values()),
        tally.counts[Standing.RESOLVED],
        came.fixed,
        found.new,
        found.over if not came.is_urgent else 0,
        sum(cause.is_new for cause in came.told),
        came.refused is not None and came.refused.is_new,
        bool(came.owed) and not came.is_urgent,
        came.silent is not None,
    )
    return not any(news)


def _digest(recorded: Recorded, *, urgent: bool) -> str:
    """Name what is told: whose, of what kind, of which period. How it is worded is no part of it."""
    last = recorded.last.id if recorded.last else ""
    kind = "urgent" if urgent else "report"
    told = (recorded.job, recorded.part, kind, rfc3339(recorded.since), rfc3339(recorded.until), last)
    return hashlib.sha256("\n".join(told).encode("utf-8", "surrogatepass")).hexdigest()


def _lines(came: Facts) -> Iterator[str]:
    yield from runs_said(came.recorded)
    yield from writes_said(came.written)
    yield from days_said(came.recorded, came.look.zone)


# ---- findings -------------------------------------------------------------------------------------------------------


def _telling(came: Facts) -> Telling:
    refused_at = came.refused.run.started_at if came.refused else None
    return Telling(recorded=came.recorded, look=came.look, refused_at=refused_at)


def _row(one: Placed, telling: Telling) -> Row:
    return row(one.tracked, one.standing, one.cause, telling)


def _rows(came: Facts) -> Iterator[Row]:
    """Walk through all findings that stand somewhere, in the order in which they were read."""
    telling, known = _telling(came), frozenset(cause.key for cause in came.causes.told if not cause.is_new)
    for tracked in came.recorded.findings:
        one = placed(tracked, came.recorded, came.period, came.causes)
        if one is not None and (not came.is_urgent or is_urgent(one, came.period, known)):
            yield _row(one, telling)


def _sections(came: Facts) -> Iterator[Section]:
    telling = _telling(came)
    for name, title in SECTIONS.items():
        found, unasked = came.tally.sections[name], came.written.unasked if name == "fixed" else 0
        if found.count + unasked:
            yield Section(
                name=name,
                title=title,
                count=found.count + unasked,
                rows=tuple(_row(one, telling) for one in found.top.listed()),
                unlisted=tuple(_unlisted(found.in_causes, found.top.unlisted(), unasked)),
            )


def _unlisted(in_causes: int, kinds: Counter[Kind], unasked: int) -> Iterator[str]:
    """Count what is not listed: what belongs to a cause, the rest by kind, and writes that no finding asked for."""
    if in_causes:
        yield f"{in_causes:,} more {'belongs' if in_causes == 1 else 'belong'} to the causes above"
    yield from (f"{count:,} more: {KINDS[kind]}" for kind, count in sorted(kinds.items(), key=_most_first))
    if unasked:
        yield f"{plural(unasked, 'write')} that no finding asked for, as those of a revert or of a run that died"


def _most_first(counted: tuple[Kind, int]) -> tuple[int, str]:
    kind, count = counted
    return -count, kind
