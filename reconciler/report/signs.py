"""What one finding may be a sign of: the causes that would each explain it, the most telling first.

Pure. Nothing is decided here: one sign is no cause. What a sign is named by is cut, and freed of ids and times where it
comes out of a sentence, so that one reason in a thousand spellings is one name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler import patterns, text
from reconciler.clues import BASELINE, COPY
from reconciler.model import Kind, Outcome, Remedy, Side, Tier

if TYPE_CHECKING:
    from reconciler.model import Finding, Value
    from reconciler.report.recorded import Tracked

NAME: Final = 60
"""Characters of a name that tell it from others."""

EMPTY: Final = "empty"
"""How a field differs in which the CRM holds nothing."""


class Family(StrEnum):
    """What can be behind many findings, in the order in which a finding is given to one of them."""

    CRM = "crm"  # the CRM was not read, or can't be believed
    LEFT = "left"  # agents who left, and whose appointments stand
    FLAPPING = "flapping"  # something undoes what we write
    SHIFT = "shift"  # records that are all off by one amount
    DOUBLED = "doubled"  # an integration that enters things twice
    REMOVED = "removed"  # an agent's events went all at once
    VANISHED = "vanished"  # records went all at once
    CHURN = "churn"  # a calendar whose events come with new ids
    SILENT = "silent"  # bookings that no integration brings any more
    FIELD = "field"  # a field that an integration writes wrong, or leaves empty
    UNREADABLE = "unreadable"  # entries of a calendar that are broken in one way
    WRITES = "writes"  # writes that fail for one reason
    REFUSED = "refused"  # a plan that waits for consent


@dataclass(frozen=True, slots=True)
class Sign:
    """A family of causes, and what tells one of them from another. A `faint` one counts where others say the same."""

    family: Family
    name: tuple[str, ...] = ()
    faint: bool = False


def at_of(tracked: Tracked, family: Family) -> datetime:
    """Return the instant by which a finding is counted: when it changed, where that is known and what matters."""
    if family in _BY_SIGHTING:
        return tracked.first_seen
    return tracked.finding.changed or tracked.first_seen


_BY_SIGHTING: Final = frozenset({Family.VANISHED, Family.CHURN, Family.LEFT, Family.CRM, Family.UNREADABLE})


def signs(tracked: Tracked) -> Iterator[Sign]:
    """Yield what a finding may be a sign of, the most telling first."""
    finding = tracked.finding
    if "flapping" in finding.clues:
        yield Sign(Family.FLAPPING, origins(finding))
    yield from _by_kind(tracked)
    yield from _unwritten(tracked)


def _by_kind(tracked: Tracked) -> Iterator[Sign]:
    tells = _TELLS.get(tracked.finding.kind)
    return tells(tracked) if tells else iter(())


def _gap(tracked: Tracked) -> Iterator[Sign]:
    finding = tracked.finding
    if finding.agent is None:
        yield Sign(Family.CRM)
    elif "left" in finding.clues:
        yield Sign(Family.LEFT)


def _shifted(tracked: Tracked) -> Iterator[Sign]:
    off = clue(tracked.finding, "shift")
    if off is not None:
        yield Sign(Family.SHIFT, (off,))


def _doubled(tracked: Tracked) -> Iterator[Sign]:
    yield Sign(Family.DOUBLED, origins(tracked.finding))


def _copied(tracked: Tracked) -> Iterator[Sign]:
    """Tell of a record that is missing in the calendar because it is one too many."""
    if COPY in tracked.finding.clues:
        yield Sign(Family.DOUBLED, origins(tracked.finding), faint=True)


def _vanished(tracked: Tracked) -> Iterator[Sign]:
    yield Sign(Family.VANISHED, (tracked.first_seen.isoformat(),))


def _suggested(tracked: Tracked) -> Iterator[Sign]:
    if tracked.finding.tier is Tier.NATURAL:
        yield Sign(Family.CHURN, _where(tracked))


def _unreadable(tracked: Tracked) -> Iterator[Sign]:
    why = tracked.finding.why
    yield Sign(Family.UNREADABLE, (*_where(tracked), reason(why.partition(":")[2] or why)))


def _gone(tracked: Tracked) -> Iterator[Sign]:
    finding = tracked.finding
    if finding.kind is Kind.ORPHAN_IN_CRM and finding.remedy is Remedy.HUMAN:
        yield Sign(Family.CHURN, _where(tracked), faint=True)
    if finding.agent is not None:
        yield Sign(Family.REMOVED, (finding.agent,))
    yield from _booked(finding, faint=True)


def _missing(tracked: Tracked) -> Iterator[Sign]:
    """Tell of a booking that is not in the CRM whose it is: a scheduler's, else a source's."""
    finding = tracked.finding
    if is_fresh(tracked):
        yield from _booked(finding)
        if clue(finding, "scheduler") is None and tracked.place is not None:
            yield Sign(Family.SILENT, ("source", name(tracked.place.source)))


def _moved(tracked: Tracked) -> Iterator[Sign]:
    finding = tracked.finding
    off = shift_of(finding)
    if off is not None:
        yield Sign(Family.SHIFT, (str(int(off.total_seconds())),), faint=True)
    yield from _booked(finding, faint=True)


def _booked(finding: Finding, *, faint: bool = False) -> Iterator[Sign]:
    scheduler = clue(finding, "scheduler")
    if scheduler is not None:
        yield Sign(Family.SILENT, ("scheduler", scheduler), faint=faint)


def _fields(tracked: Tracked) -> Iterator[Sign]:
    finding = tracked.finding
    names = sorted(finding.fields) or ["status"] if finding.kind is Kind.FALSE_CANCEL else sorted(finding.fields)
    for field in names:
        how = EMPTY if is_empty(finding, field) else ""
        yield Sign(Family.FIELD, (field, how, *origins(finding)[:1]))


def _unwritten(tracked: Tracked) -> Iterator[Sign]:
    """What stands in the way of writing it: each reason that it fails for, then a consent that is missing."""
    for taken in tracked.taken:
        if taken.outcome in {Outcome.FAILED, Outcome.UNKNOWN}:
            yield Sign(Family.WRITES, (taken.side.value, reason(taken.why)))
    if any(taken.outcome is Outcome.PLANNED for taken in tracked.taken):
        yield Sign(Family.REFUSED)


FIELD_KINDS: Final = frozenset(
    {
        *(Kind.FIELD_DRIFT, Kind.CONTACT_MISSING, Kind.WRONG_CONTACT, Kind.WRONG_OWNER),
        *(Kind.ALL_DAY_OFF_BY_ONE, Kind.FALSE_CANCEL),
    }
)
"""Kinds that are about what single fields hold."""

_TELLS: Final[Mapping[Kind, Callable[[Tracked], Iterator[Sign]]]] = {
    Kind.COVERAGE_GAP: _gap,
    Kind.TZ_SHIFT: _shifted,
    Kind.DUPLICATE_IN_CRM: _doubled,
    Kind.MISSING_IN_CALENDAR: _copied,
    Kind.REMOVED_BY_HAND: _vanished,
    Kind.AMBIGUOUS: _suggested,
    Kind.CANCEL_NOT_PROPAGATED: _gone,
    Kind.ORPHAN_IN_CRM: _gone,
    Kind.MISSING_IN_CRM: _missing,
    Kind.RESCHEDULE_NOT_PROPAGATED: _moved,
    Kind.QUARANTINED: _unreadable,
    **dict.fromkeys(FIELD_KINDS, _fields),
}

KINDS: Final = {
    Family.DOUBLED: frozenset({Kind.DUPLICATE_IN_CRM}),
    Family.SILENT: frozenset({Kind.MISSING_IN_CRM}),
    Family.FIELD: FIELD_KINDS,
    Family.VANISHED: frozenset({Kind.REMOVED_BY_HAND}),
}
"""What is counted in the days for what is usual of a family."""

# ---- what a finding says --------------------------------------------------------------------------------------------

FRESH: Final = timedelta(hours=48)
"""How soon after it was made a booking is found to be missing, where somebody watched: later than that nobody did."""


def is_fresh(tracked: Tracked) -> bool:
    """Tell whether a booking was made while its calendar was watched: what was met at first tells of no silence."""
    finding = tracked.finding
    if BASELINE in finding.clues or finding.changed is None:
        return False
    return tracked.first_seen - finding.changed <= FRESH


def clue(finding: Finding, kind: str) -> str | None:
    """Return what a clue of this kind says, None where there is none."""
    return next((name(said) for word in finding.clues for key, _, said in (word.partition(":"),) if key == kind), None)


def origins(finding: Finding) -> tuple[str, ...]:
    """Return who wrote the records of a finding, by name; three at most."""
    said = {name(word.partition(":")[2]) for word in finding.clues if word.startswith("origin:")}
    return tuple(sorted(said - {""})[:3])


def shift_of(finding: Finding) -> timedelta | None:
    """Return by how much the record of one finding is off, if that looks like a zone mistake."""
    calendar, crm = finding.has.get(Side.CALENDAR), finding.has.get(Side.CRM)
    if calendar is None or crm is None:
        crm = {field: before for field, (before, _) in finding.fields.items()}
        calendar = {field: after for field, (_, after) in finding.fields.items()}
    try:
        return patterns.shift(calendar, crm)
    except (ValueError, OverflowError):
        return None


def is_empty(finding: Finding, field: str) -> bool:
    """Tell whether the CRM holds nothing in a field that the calendar fills. Masks leave that as it is."""
    crm, calendar = finding.fields.get(field, (True, True))
    return _is_nothing(crm) and not _is_nothing(calendar)


def _is_nothing(value: Value) -> bool:
    return value is None or value in {"", ()}


def _where(tracked: Tracked) -> tuple[str, ...]:
    place = tracked.place
    if place is None:
        return "", name(tracked.finding.agent or ""), ""
    return name(place.source), name(place.agent), name(place.name)


def name(value: str) -> str:
    """Return a name from outside as one that can be compared and told."""
    return text.line(value, NAME)


_ASIDE: Final = re.compile(r"\"[^\"]*\"|'[^']*'|`[^`]*`|\([^)]*\)")
"""What is quoted, or said in passing."""

_VARIES: Final = re.compile(r"[\d@/\\]")
"""What ids, times, amounts, addresses and paths have in them, and other words have not."""


def reason(why: str) -> str:
    """Return what a sentence says, without what is another thing each time: ids, times, addresses, quotations."""
    kept = _ASIDE.sub(" ", text.line(why, 300).casefold())
    plain = " ".join(word for word in kept.split() if not _VARIES.search(word))
    return text.line(" ".join(re.findall(r"[^\W_]+", plain)), NAME)
