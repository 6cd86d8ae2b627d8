"""What is read in ten seconds: is it safe today, what was fixed, what needs me. Mood, headline, subject and figures.

Pure. SAFE is never said of what was not seen, was refused, or waits for a person.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.model import Severity
from reconciler.report.finding import KINDS
from reconciler.report.look import Mood
from reconciler.report.report import Figure, Standing
from reconciler.report.words import bounded, canonical, day, lasting, plural, zone_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from reconciler.report.facts import Facts

_DASH: Final = "\u2013"

ALWAYS: Final = frozenset({"critical", "needs_you", "open", "fixed", "resolved"})
"""Figures that are shown though they are nought."""


def mood_of(facts: Facts) -> Mood:
    """Say what matters most: a refusal, what was not seen, what waits for a person or can't wait, or nothing."""
    if facts.refused:
        return Mood.REFUSED
    if facts.coverage.alarming or facts.silent is not None or facts.recorded.last is None:
        return Mood.BLIND
    waiting = (Standing.NEEDS_YOU, Standing.FAILED, Standing.HELD)
    return Mood.NEEDS_YOU if facts.critical or any(facts.tally.counts[one] for one in waiting) else Mood.SAFE


CLAUSES: Final = 3
"""Clauses of a headline after which only what can't be left out comes: it is read on a phone."""


# ---- the headline ---------------------------------------------------------------------------------------------------


def headline(facts: Facts) -> str:
    """Say in one line how the job stands; its mood and its name stand before that."""
    first = [*_alarms(facts), *_asks(facts)]
    rest = islice(_besides(facts), max(CLAUSES - len(first), 0))  # more than that stands in figures
    fixed = [f"{facts.fixed:,} fixed"] if facts.fixed else []
    said = "; ".join([*first, *rest, *fixed] or [_well(facts)])
    if facts.recorded.is_past:  # of what came since, nothing is said
        said = f"as of {_short(facts.recorded.until, zone_of(facts.look.zone))}: {said}"
    return said[:1].upper() + said[1:]


def _alarms(facts: Facts) -> Iterator[str]:
    """Yield why nobody can say that all is well."""
    recorded, zone = facts.recorded, zone_of(facts.look.zone)
    if facts.refused:
        yield f"plans are refused since {_short(facts.refused.since, zone)}, nothing of them is applied"
    if recorded.last is None:
        yield "no run has ended yet, nothing is known"
    if facts.silent is not None:
        yield f"no run has ended for {lasting(facts.silent)}, what happened since is not known"
    if facts.coverage.crm:
        yield "the CRM was not seen, nothing was planned"
    if facts.coverage.calendars and facts.coverage.alarming:
        every = plural(len(recorded.calendars), "calendar")
        yield f"{facts.coverage.calendars:,} of {every} not seen, what they hold is left alone"
    elif facts.coverage.alarming and not facts.coverage.crm:
        yield f"{plural(facts.coverage.alarming, 'gap')} in what was seen"


def _asks(facts: Facts) -> Iterator[str]:
    """Yield what can't wait, and what waits for a person."""
    counts, new = facts.tally.counts, facts.tally.new
    if facts.critical:
        yield f"{facts.critical:,} critical"
    if needs := counts[Standing.NEEDS_YOU]:
        verb = "needs" if needs == 1 else "need"
        yield f"{plural(needs, 'finding')} {verb} you ({new[Standing.NEEDS_YOU] or 'none'} new)"


def _besides(facts: Facts) -> Iterator[str]:
    """Yield what else is open, the most urgent first."""
    counts = facts.tally.counts
    words = (
        (Standing.FAILED, "could not be written"),
        (Standing.DEFERRED, "put off to the next run"),
        (Standing.WAITS, "to be written by the next run"),
        (Standing.HELD, "held back"),
    )
    yield from (f"{counts[standing]:,} {said}" for standing, said in words if counts[standing])


def _well(facts: Facts) -> str:
    """Say that all is well, which is all that is said then."""
    since = _short(facts.recorded.since, zone_of(facts.look.zone))
    if facts.is_urgent:
        return f"nothing urgent since {since}"
    last = facts.recorded.last
    in_sync = last.counts.get("in_sync") if last and not facts.recorded.part else None
    known = f"{plural(in_sync, 'appointment')} in sync, " if in_sync is not None else ""
    return f"{known}nothing new since {since}"


def _short(at: datetime, zone: ZoneInfo) -> str:
    """Say `Mon 23 Nov 06:55 CST`: a headline is short, and the year and UTC stand with the period."""
    local = at.astimezone(zone)
    return f"{day(local).rpartition(' ')[0]} {local:%H:%M} {local.tzname()}"


# ---- the subject ----------------------------------------------------------------------------------------------------


def subject(facts: Facts, mood: Mood) -> str:
    """Return the subject of the mail, but for the mark that every mail has: the numbers, whose they are, the day."""
    recorded, look = facts.recorded, facts.look
    counts = [*_subject_alarms(facts, mood), *_subject_counts(facts)]
    name = bounded(look.title or recorded.job, 60)
    whose = f"{name}, {bounded(recorded.part, 60)}" if recorded.part else name
    urgent = "URGENT: " if facts.is_urgent else ""
    date = recorded.until.astimezone(zone_of(look.zone)).date()
    return f"{urgent}{', '.join(counts) or 'all is well'} {_DASH} {whose} {_DASH} {date}"


def _subject_alarms(facts: Facts, mood: Mood) -> Iterator[str]:
    if mood is Mood.REFUSED:
        yield "REFUSED"
    if facts.recorded.last is None or facts.silent is not None:
        yield "no run"
    if facts.coverage.count:
        yield f"{facts.coverage.count:,} not seen"


def _subject_counts(facts: Facts) -> Iterator[str]:
    counts = facts.tally.counts
    needs = counts[Standing.NEEDS_YOU]
    words = (
        (facts.critical, "critical"),
        (counts[Standing.FAILED], "failed"),
        (facts.fixed, "fixed"),
        (needs, "needs you" if needs == 1 else "need you"),
        (counts[Standing.HELD], "held"),
    )
    yield from (f"{count:,} {said}" for count, said in words if count)


# ---- figures and sentences ------------------------------------------------------------------------------------------


def figures(facts: Facts) -> tuple[Figure, ...]:
    """Return the numbers of the first screen, the most urgent first; what is nought only where its absence is news."""
    tally, found = facts.tally, facts.coverage
    every = (
        Figure("not_seen", "Not seen", found.count, found.new),
        _severe(facts, Severity.CRITICAL, "Critical"),
        _severe(facts, Severity.HIGH, "High"),
        _standing(facts, Standing.NEEDS_YOU, "Need you"),
        Figure("open", "Open", tally.open, tally.open_new),
        Figure("fixed", "Fixed", facts.fixed, tally.new[Standing.FIXED]),
        _standing(facts, Standing.RESOLVED, "Settled"),
        _standing(facts, Standing.FAILED, "Failed"),
        _standing(facts, Standing.DEFERRED, "Put off"),
        _standing(facts, Standing.WAITS, "Next run"),
        _standing(facts, Standing.HELD, "Held back"),
        _standing(facts, Standing.ACCEPTED, "Accepted"),
        _standing(facts, Standing.PENDING, "Just now"),
    )
    return tuple(one for one in every if one.count or (one.name in ALWAYS and not facts.is_urgent))


def _standing(facts: Facts, standing: Standing, title: str) -> Figure:
    return Figure(standing.value, title, facts.tally.counts[standing], facts.tally.new[standing])


def _severe(facts: Facts, severity: Severity, title: str) -> Figure:
    return Figure(severity.value, title, facts.tally.severe[severity], facts.tally.severe_new[severity])


def summary(facts: Facts) -> Iterator[str]:
    """Say what stands behind the figures, in the order of the questions: what needs me, what was fixed, what waits."""
    tally = facts.tally
    if tally.first is not None:
        yield f"Most urgent for you: {_first(facts)}."
    if tally.explained:
        behind = "stands" if len(facts.told) == 1 else "stand"
        yield f"{plural(len(facts.told), 'cause')} {behind} behind {tally.explained:,} of {tally.open:,} open findings."
    settled = tally.counts[Standing.RESOLVED]
    if settled and not facts.is_urgent:
        yield f"{settled:,} settled without a write of ours."
    if pending := tally.counts[Standing.PENDING]:
        yield f"{pending:,} a moment old, left to the live integration."
    if facts.coverage.over and not facts.is_urgent:
        yield f"{plural(facts.coverage.over, 'gap')} in what was seen closed again."


def _first(facts: Facts) -> str:
    first = facts.tally.first
    if first is None:
        return ""
    finding = first.tracked.finding
    when = canonical(finding.start, facts.look.zone_for(finding.agent)) if finding.start else ""
    return ", ".join(part for part in (KINDS[finding.kind].lower(), bounded(finding.agent or ""), when) if part)
