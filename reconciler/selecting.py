"""Which findings a person means (by key, source key, CRM id, kind or agent), and what is set aside meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler import patterns
from reconciler.findings import finding_key
from reconciler.groups import shift_key
from reconciler.model import Finding, Kind, Outcome, Remedy

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.findings import Outlook
    from reconciler.model import Pair

NOT_ASKED = "not part of this command"


@dataclass(frozen=True, slots=True)
class Filter:
    """What was asked for. What is None does not matter; all that is said has to fit."""

    word: str | None = None
    kind: Kind | None = None
    agent: str | None = None

    def __str__(self) -> str:
        """Say it as it was typed."""
        said = (self.word, self.kind and f"--kind {self.kind}", self.agent and f"--agent {self.agent}")
        return " ".join(part for part in said if part)

    def fits(self, finding: Finding, names: Collection[str]) -> bool:
        """Tell whether a finding is meant, which is about something that goes by `names`."""
        named = self.word is None or self.word in {finding.key, *names} or self._leads_to(finding)
        kind = self.kind is None or finding.kind is self.kind
        return named and kind and (self.agent is None or finding.agent == self.agent)

    def _leads_to(self, finding: Finding) -> bool:
        """Tell whether the key of a finding was made of the word: a source key, where there is one."""
        return self.word is not None and finding.key == finding_key(finding.kind, self.word)

    def picks(self, pair: Pair, findings: Iterable[Finding], groups: Iterable[Finding] = ()) -> bool:
        """Tell whether a pair is meant, by what is found about it or about the group that it is held with."""
        shift = shift_of(pair, groups)
        return any(self.fits(finding, names_of(pair)) for finding in (*findings, *((shift,) if shift else ())))

    def names_one(self, pair: Pair, findings: Iterable[Finding]) -> bool:
        """Tell whether this very event is named, and not merely a record that another event may be as well."""
        seen = pair.seen
        own = {seen.event, *seen.keys} if seen else set()
        return self.word is not None and self.word in own | {finding.key for finding in findings}


def names_of(pair: Pair) -> frozenset[str]:
    """Return all names that people may know an appointment by."""
    seen, record, link = pair.seen, pair.record, pair.link
    names = {seen.event, *seen.keys} if seen else set()
    names |= {record.id, record.key or ""} if record else set()
    names |= {link.crm_id} if link else set()
    return frozenset(names | set(pair.candidates)) - {""}


def shift_of(pair: Pair, groups: Iterable[Finding]) -> Finding | None:
    """Return the one of `groups` that says, for all of its records, by how much this pair is off; None if none does."""
    if patterns.TZ_SHIFT not in pair.holds or pair.seen is None or pair.record is None:
        return None
    off = patterns.shift(pair.seen.fields, pair.record.fields)
    key = None if off is None else shift_key(str(pair.seen.fields.get("agent")), off)
    return next((finding for finding in groups if finding.key == key), None)


# ---- what is not meant ----------------------------------------------------------------------------------------------


def set_aside(outlook: Outlook, why: str = NOT_ASKED) -> Outlook:
    """Hold what a pair comes to, where a command is not about it."""
    if not any(delta.outcome is Outcome.PLANNED for delta in outlook.deltas):
        return outlook
    found = tuple(
        replace(finding, remedy=Remedy.HOLD) if finding.remedy is Remedy.FIX else finding
        for finding in outlook.findings
    )
    return replace(held_back(outlook, why), bucket="held", findings=found)


def held_back(outlook: Outlook, why: str) -> Outlook:
    """Hold all that is planned for a pair."""
    delta, beside = (
        replace(each, outcome=Outcome.HELD, why=why) if each and each.outcome is Outcome.PLANNED else each
        for each in (outlook.delta, outlook.beside)
    )
    return replace(outlook, delta=delta, beside=beside)
