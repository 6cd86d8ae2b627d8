"""What a report says beside its findings: why plans are refused, what else is worth knowing, and what to type next.

Pure. Each command is whole: it can be typed as it stands, but for the words in capitals.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from reconciler.model import Kind
from reconciler.report.look import Next
from reconciler.report.past import result_of
from reconciler.report.refusal import NOBODYS, PREFIX, asked, consents
from reconciler.report.refusal import refusal as limits_said
from reconciler.report.report import Standing
from reconciler.report.words import bounded, lasting, moment, zone_of
from reconciler.report.writes import ruling

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.report.facts import Facts
    from reconciler.report.recorded import Told

LINES: Final = 20
"""Lines of a refusal that are shown; each withheld agent has one."""

OWED: Final = 5
"""Earlier reports that are named."""

CONSENTS: Final = 5
"""Consents of which it is said what they came to."""

_SETTLED_BY_WORD: Final = frozenset(
    {
        Kind.RESCHEDULE_NOT_PROPAGATED,
        Kind.TZ_SHIFT,
        Kind.ALL_DAY_OFF_BY_ONE,
        Kind.WRONG_CONTACT,
        Kind.CONTACT_MISSING,
        Kind.FIELD_DRIFT,
        Kind.FALSE_CANCEL,
        Kind.CONFLICT,
    }
)
"""Kinds of which a person can say whose word counts."""


# ---- refusals -------------------------------------------------------------------------------------------------------


def refusal(facts: Facts) -> Iterator[str]:
    """Yield the numbers of what is refused or withheld now, and the sentence that a run ended with."""
    run = facts.refused.run if facts.refused else ruling(facts.recorded)
    if run is None or (facts.is_urgent and not facts.refused):
        return
    if facts.refused and run.why:
        yield bounded(run.why, 500)
    elif facts.refused and facts.coverage.crm:
        yield facts.coverage.crm
    is_whole = not (facts.is_urgent or facts.recorded.part)
    planned = facts.tally.planned if is_whole else NOBODYS
    said = list(limits_said(result_of(facts.recorded.job, run), facts.look, planned))
    yield from said[:LINES]
    if len(said) > LINES:
        yield f"{len(said) - LINES:,} more lines like these: reconcile --dry-run {facts.look.job}"


# ---- notes ----------------------------------------------------------------------------------------------------------


def notes(facts: Facts) -> Iterator[str]:
    """Yield what is worth knowing beside: earlier reports, consents, a run that did not end, what can't be told."""
    recorded, zone = facts.recorded, zone_of(facts.look.zone)
    yield from (_owed(told, facts) for told in facts.owed[:OWED])
    yield from (_partly(told, facts) for told in recorded.told[:1] if told.status == "sent" and told.why)
    if recorded.attempted is not None and recorded.attempted.status is None:
        began = moment(recorded.attempted.started_at, zone)
        yield f"The run that began {began} has not ended: what it found is not told here."
    if facts.silent is not None:
        yield (
            f"The latest run that ended began {lasting(facts.silent)} ago: look whether the schedule still runs. "
            "A job that is meant to run more rarely says so by its [run] freshness."
        )
    run = ruling(recorded)
    if run is not None and not facts.is_urgent:
        yield from islice(consents(result_of(recorded.job, run), facts.look), CONSENTS)
    if not recorded.has_days and not facts.is_urgent:
        yield "Trends are kept for offices and for all of the job, so this part of it has none."
    yield from (bounded(note, 500) for note in recorded.notes)


def _owed(told: Told, facts: Facts) -> str:
    zone, job = zone_of(facts.look.zone), facts.look.job
    name = "urgent report" if told.kind == "urgent" else "report"
    why = f" ({bounded(told.why, 200)})" if told.why else ""
    which = f"The {name} of {moment(told.until, zone)}"
    if told.status == "unconfirmed":
        return f"{which} may not have arrived{why}: `reconcile report {job} --send --again` sends it once more."
    return f"{which} was not taken by its server{why}: it is sent again with the next one."


def _partly(told: Told, facts: Facts) -> str:
    which = moment(told.until, zone_of(facts.look.zone))
    return f"The report of {which} did not reach everybody: {bounded(told.why or '', 200)}."


# ---- what to type next ----------------------------------------------------------------------------------------------


def following(facts: Facts) -> Iterator[Next]:
    """Yield the commands that are worth typing now, the most urgent first."""
    job = facts.look.job
    yield from _consent(facts)
    if facts.coverage.alarming:
        yield Next("To see why a side is not seen", f"reconcile check {job}")
    if facts.recorded.last is None or facts.silent is not None:
        yield Next("To see when runs began and how they ended", f"reconcile status {job}")
    yield from _decide(facts)
    counts = facts.tally.counts
    if (counts[Standing.FAILED] or counts[Standing.DEFERRED]) and not facts.refused:
        yield Next("To try again what was not written", f"reconcile run {job}")
    if any(told.status == "unconfirmed" for told in facts.owed):
        yield Next("To send a report that may not have arrived once more", f"reconcile report {job} --send --again")


def _consent(facts: Facts) -> Iterator[Next]:
    job, run = facts.look.job, facts.refused.run if facts.refused else ruling(facts.recorded)
    if run is None or (facts.is_urgent and not facts.refused):
        return
    if facts.refused:
        yield Next("To look at all of the plan", f"reconcile --dry-run {job} --format json")
    asks = result_of(facts.recorded.job, run).asks
    if asks is not None and _is_plain(asks.digest):
        what = asked(asks) or "this plan"
        consent = f"reconcile approve {asks.digest[:PREFIX]} --by YOU --why TEXT --job {job}"
        yield Next(f"To consent to {what} (what moves meanwhile drops out)", consent)


def _decide(facts: Facts) -> Iterator[Next]:
    """Yield how the most urgent finding that needs a person is looked at, and settled."""
    job, first = facts.look.job, facts.tally.first
    if first is None or not _is_plain(first.tracked.finding.key):
        return
    finding = first.tracked.finding
    yield Next("To see the most urgent one closely", f"reconcile explain {finding.key} --job {job}")
    if finding.kind in _SETTLED_BY_WORD:
        settle = f"reconcile resolve {finding.key} --take calendar --dry-run --job {job}"
        yield Next("To see what taking the calendar's word would write (or the CRM's: --take crm)", settle)
    accept = f"reconcile accept {finding.key} --by YOU --why TEXT --until DATE --job {job}"
    yield Next("To say that it is known and may stay", accept)


def _is_plain(word: str) -> bool:
    """Tell whether a word can be typed in any shell as it stands."""
    return bool(word) and word.isascii() and word.isalnum()
