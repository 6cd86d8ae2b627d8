"""What one run adds to the figures of its day, by office. Pure: what was found and done goes in, sums come out."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from reconciler.clues import BASELINE
from reconciler.model import Finding, Kind

if TYPE_CHECKING:
    from datetime import datetime

_OF_MANY: Final = frozenset({Kind.TZ_SHIFT, Kind.DUPLICATE_IN_CRM, Kind.DOUBLE_BOOKED_AGENT})
"""What is found about several at once was there in part before."""


@dataclass(slots=True)
class Sums:
    """What one run adds to a day, for one office; see the table `days` for the meanings."""

    runs: int = 0
    refused: int = 0
    calendars: int = 0
    observed: int = 0
    found: int = 0
    fixed: int = 0
    resolved: int = 0
    delayed: int = 0
    delay: int = 0
    longest: int = 0
    kinds: Counter[str] = field(default_factory=Counter)

    def meet(self, finding: Finding) -> None:
        """Count a finding that people are told of from now on."""
        self.found += 1
        self.kinds[finding.kind.value] += 1

    def wait(self, seconds: int) -> None:
        """Count how long a change had gone unnoticed."""
        self.delayed += 1
        self.delay += seconds
        self.longest = max(self.longest, seconds)


@dataclass(frozen=True, slots=True, kw_only=True)
class Came:
    """What one run came to, as far as days are concerned.

    `settled` says of the findings that people are told of from now on, by key, when each was first seen; `resolved`
    counts by agent what ended without a write of ours, `fixed` what we wrote. `asked` are the calendars that were to be
    read: whose each is, and whether it was observed. `watched_since` is None as long as both sides were never compared
    before.
    """

    findings: Iterable[Finding]
    settled: Mapping[str, datetime]
    resolved: Mapping[str | None, int]
    fixed: Mapping[str | None, int]
    asked: Iterable[tuple[str, bool]]
    watched_since: datetime | None
    is_refused: bool


def sums(came: Came, office_of: Mapping[str, str]) -> dict[str, Sums]:
    """Return what a run adds to its day, by office; what concerns no agent, or one without an office, is under ""."""
    found: defaultdict[str, Sums] = defaultdict(Sums)
    found[""].runs, found[""].refused = 1, int(came.is_refused)
    for agent, is_observed in came.asked:
        one = found[office_of.get(agent, "")]
        one.calendars += 1
        one.observed += is_observed
    for finding in came.findings:
        if (first_seen := came.settled.get(finding.key)) is not None:
            _meet(found[office_of.get(finding.agent or "", "")], finding, first_seen, came.watched_since)
    for office, count in by_office(came.fixed, office_of).items():
        found[office].fixed = count
    for office, count in by_office(came.resolved, office_of).items():
        found[office].resolved = count
    return dict(found)


def _meet(one: Sums, finding: Finding, first_seen: datetime, watched_since: datetime | None) -> None:
    one.meet(finding)
    if watched_since is None or finding.changed is None or finding.changed <= watched_since:
        return
    if BASELINE not in finding.clues and finding.kind not in _OF_MANY:
        one.wait(max(0, int((first_seen - finding.changed).total_seconds())))


def by_office(counted: Mapping[str | None, int], office_of: Mapping[str, str]) -> dict[str, int]:
    """Return by office what was counted by agent."""
    found: Counter[str] = Counter()
    for agent, count in counted.items():
        found[office_of.get(agent or "", "")] += count
    return dict(found)
