"""Findings that people accepted: known until either side changes, or the time that was set is over.

What is accepted is still found and shown, says by whose word and until when, and asks nothing of anybody: its delta is
held, and it counts neither as drift nor for an exit code. A changed side opens it again, and it says that too.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler import text
from reconciler.model import Outcome, Remedy
from reconciler.selecting import held_back, shift_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from reconciler.findings import Outlook
    from reconciler.judgement import Bench, Judged, Ruling
    from reconciler.model import Acceptance, Finding

LONGEST = 200
"""Characters of what a person wrote that are shown with a finding."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """What is accepted in one run, by the finding's key. `heard` are the keys that rulings had in hand."""

    known: Mapping[str, Acceptance]
    now: datetime
    heard: set[str] = field(default_factory=set)

    def rulings(self, bench: Bench) -> Ruling:
        """Return what holds what is accepted."""

        def ruling(one: Judged, outlook: Outlook) -> tuple[Judged, Outlook]:
            self.heard.update(finding.key for finding in outlook.findings)
            shift = shift_of(one.pair, bench.groups)
            if shift is not None and not outlook.findings:
                return one, replace(outlook, accepted=self.stands(shift))
            return one, self.of(outlook)

        return ruling

    def of(self, outlook: Outlook) -> Outlook:
        """Return what a pair comes to where some of it may be accepted."""
        said = tuple(self.told(finding) for finding in outlook.findings)
        if said == outlook.findings:
            return outlook
        outlook = replace(outlook, findings=said)
        accepted = {finding.key for finding in said if self.stands(finding)}
        if any(delta.finding in accepted for delta in outlook.deltas):
            outlook = held_back(outlook, "held: accepted")
        if len(accepted) == len(said):
            return replace(outlook, bucket="held", accepted=True)
        return replace(outlook, bucket=_bucket(outlook))

    def rest(self, findings: Iterable[Finding]) -> list[Finding]:
        """Return findings as they are to be told: those about groups and calendars, which no ruling had in hand."""
        return [finding if finding.key in self.heard else self.told(finding) for finding in findings]

    def stands(self, finding: Finding) -> bool:
        """Tell whether a finding is accepted as it is now."""
        given = self.known.get(finding.key)
        return given is not None and given.sides == finding.sides and self.now < given.until

    def told(self, finding: Finding) -> Finding:
        """Return a finding with what a person said of it."""
        given = self.known.get(finding.key)
        if given is None:
            return finding
        who = f"{text.line(given.by, LONGEST)} until {given.last_day}"
        if self.stands(finding):
            why = f"{finding.why} Accepted by {who}: {text.line(given.why, LONGEST)}"
            return replace(finding, remedy=Remedy.NONE, why=why)
        then = "that time is over" if self.now >= given.until else "it has changed since"
        return replace(finding, why=f"{finding.why} It was accepted by {who}; {then}.")


def _bucket(outlook: Outlook) -> str:
    """Return where a pair counts of which only some is accepted."""
    if not outlook.deltas or any(delta.outcome is Outcome.PLANNED for delta in outlook.deltas):
        return outlook.bucket
    return "human" if _asks(outlook.findings) else "held"


def _asks(findings: Sequence[Finding]) -> bool:
    return any(finding.remedy is Remedy.HUMAN for finding in findings)
