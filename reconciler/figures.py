"""What one run adds to the totals of its job, and what else is measured of it. Pure: numbers, never a person."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.model import Delta, Finding

Counted = Mapping[tuple[str, ...], int]
"""Numbers by labels in a fixed order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """How the calendars of one source were read: how many were to be, and how many of them were observed."""

    provider: str
    asked: int
    observed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What is measured of one run: seconds by phase, answers by class, calendars by source, deltas by outcome."""

    phases: Mapping[str, float] = field(default_factory=dict)
    attempts: Counted = field(default_factory=dict)  # by provider, project, scope and class of answer
    looked: Mapping[str, Looked] = field(default_factory=dict)
    deltas: Counted = field(default_factory=dict)  # by side, action and outcome

    def totals(self) -> dict[str, Counted]:
        """Return what is added to totals."""
        seen: Counted = {(name, one.provider, "observed"): one.observed for name, one in self.looked.items()}
        unseen: Counted = {
            (name, one.provider, "unobserved"): one.asked - one.observed for name, one in self.looked.items()
        }
        return {
            "milliseconds": {(phase,): round(1000 * seconds) for phase, seconds in self.phases.items()},
            "attempts": self.attempts,
            "calendars": {**seen, **unseen},
            "deltas": self.deltas,
        }

    def to_json(self) -> dict[str, Any]:
        """Return what is kept with the run."""
        return {
            "phases": {phase: round(seconds, 3) for phase, seconds in self.phases.items()},
            "attempts": [[*labels, number] for labels, number in sorted(self.attempts.items())],
            "looked": {name: [one.provider, one.asked, one.observed] for name, one in sorted(self.looked.items())},
            "deltas": [[*labels, number] for labels, number in sorted(self.deltas.items())],
        }

    @classmethod
    def from_json(cls, kept: Mapping[str, Any]) -> Figures:
        """Read back what was kept with a run."""
        return cls(
            phases=kept["phases"],
            attempts=_counted(kept["attempts"]),
            looked={
                name: Looked(provider=provider, asked=asked, observed=observed)
                for name, (provider, asked, observed) in kept["looked"].items()
            },
            deltas=_counted(kept["deltas"]),
        )


def _counted(rows: Iterable[list[Any]]) -> dict[tuple[str, ...], int]:
    return {tuple(labels): number for *labels, number in rows}


def looked(asked: Iterable[tuple[str, bool]], providers: Mapping[str, str]) -> dict[str, Looked]:
    """Return by source how the calendars were read that were asked for: the source of each, and whether it was seen."""
    every, seen = Counter[str](), Counter[str]()
    for source, is_observed in asked:
        every[source] += 1
        seen[source] += is_observed
    known = {**dict.fromkeys(every, ""), **providers}
    return {name: Looked(provider=provider, asked=every[name], observed=seen[name]) for name, provider in known.items()}


def deltas(of: Iterable[Delta]) -> Counter[tuple[str, ...]]:
    """Count deltas by side, action and outcome."""
    return Counter((delta.side.value, delta.action.value, delta.outcome.value) for delta in of)


def found(findings: Iterable[Finding], settled: Mapping[str, object]) -> Counter[tuple[str, ...]]:
    """Count by kind and severity the findings that people are told of from now on."""
    return Counter((one.kind.value, one.severity.value) for one in findings if one.key in settled)
