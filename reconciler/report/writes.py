"""What was written in a period and what its runs were: counted in one walk, and said in a few sentences.

Pure.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.model import Action, Side
from reconciler.report.recorded import ORDINARY
from reconciler.report.refusal import PREFIX
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from reconciler.report.recorded import PastRun, Recorded

CONSENTS: Final = 3
"""Consents that are named; the journal has all of them."""


@dataclass(slots=True)
class Written:
    """What was written: which findings it put right, what was done to which side, and by whose consent.

    `unasked` counts the writes that no finding of the period asked for, as those of a revert or of a run that died.
    """

    fixed: set[str] = field(default_factory=set)
    actions: Counter[tuple[Side, Action]] = field(default_factory=Counter)
    approvals: Counter[str] = field(default_factory=Counter)
    unasked: int = 0


def written(recorded: Recorded) -> Written:
    """Walk once through the writes of a period; of each finding that was put right only its key is kept."""
    came = Written()
    for fix in recorded.fixes:
        came.actions[fix.side, fix.action] += 1
        if fix.approval:
            came.approvals[fix.approval] += 1
        if fix.finding:
            came.fixed.add(fix.finding)
        else:
            came.unasked += 1
    return came


# ---- in words -------------------------------------------------------------------------------------------------------

_SIDES: Final = {Side.CRM: "the CRM", Side.CALENDAR: "calendars"}
_STATUSES: Final = {
    "refused": "refused",
    "partial": "partial",
    "applied": "wrote what they found",
    "drift": "found differences and wrote nothing",
    "in_sync": "found both sides in sync",
}


def runs_said(recorded: Recorded) -> Iterator[str]:
    """Say how the runs of a period ended, and which of them were no ordinary ones."""
    statuses = Counter(run.status for run in recorded.runs) + Counter(recorded.older)
    every = statuses.total()
    if not every:
        return
    ends = [f"{statuses[name]:,} {said}" for name, said in _STATUSES.items() if statuses[name]]
    if statuses[None]:
        ends.append(f"{statuses[None]:,} did not end")
    yield f"{plural(every, 'run')}: {', '.join(ends)}."
    others = Counter(run.command for run in recorded.runs if run.command not in ORDINARY)
    if others:
        named = ", ".join(f"{bounded(name, 20)} ({count:,})" for name, count in sorted(others.items()))
        yield f"Commands among them: {named}."


def writes_said(came: Written) -> Iterator[str]:
    """Say what was done to which side, and by whose consent."""
    for side, name in _SIDES.items():
        parts = [(action, came.actions[side, action]) for action in Action if came.actions[side, action]]
        if parts:
            what = ", ".join(plural(count, action.value) for action, count in parts)
            yield f"{plural(sum(count for _, count in parts), 'write')} to {name}: {what}."
    for digest, count in sorted(came.approvals.items(), key=lambda each: (-each[1], each[0]))[:CONSENTS]:
        yield f"{count:,} of them by consent to the plan {bounded(digest[:PREFIX])}."


# ---- the run that counts --------------------------------------------------------------------------------------------


def ruling(recorded: Recorded) -> PastRun | None:
    """Return the run that says how the job stands: the latest ordinary one that ended, else the latest of all.

    Of a period that was asked for, one before it is no part.
    """
    ended = (run for run in recorded.runs if run.status is not None and run.started_at <= recorded.until)
    otherwise = recorded.last if recorded.is_past else recorded.before or recorded.last
    return next((run for run in ended if run.command in ORDINARY), otherwise)


@dataclass(frozen=True, slots=True)
class Refused:
    """That plans are refused: since which run, and whether that is new in this period."""

    run: PastRun
    since: datetime
    is_new: bool


def refused(recorded: Recorded) -> Refused | None:
    """Say since when plans are refused, if they are."""
    now = ruling(recorded)
    if now is None or now.status != "refused":
        return None
    since, is_over = now.started_at, False
    for run in recorded.runs:
        if run.status is None or run.command not in ORDINARY or run.started_at > now.started_at:
            continue
        if run.status != "refused":
            is_over = True
            break
        since = run.started_at
    before = recorded.before
    is_old = not is_over and before is not None and before.status == "refused"
    return Refused(now, since, is_new=not is_old and recorded.since < since)
