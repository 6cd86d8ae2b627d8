"""How people want a report to look: what the job is called in commands, in which zones times read, how long lists are.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from reconciler.report.words import zone_of

if TYPE_CHECKING:
    from zoneinfo import ZoneInfo

MOST: Final = 50
"""Findings of one kind, and deltas, that are listed; the JSON has all of them."""


class Mood(StrEnum):
    """What a report means for whoever reads it."""

    SAFE = "SAFE"
    NEEDS_YOU = "NEEDS YOU"
    BLIND = "BLIND"
    REFUSED = "REFUSED"


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """How people want to see it: what the job is called in commands, in which zones, and what each limit says.

    `zones` are the agents' own; `title`, `colour` and `logo` (a data URL) are how the brokerage brands it; `link` is
    `[crm].link`, by which records are opened, and `endpoints` are those of sources whose job file names one. `most`
    bounds each list. `command` is what was asked for where that was no plain run: its words, as they are typed again.
    """

    job: str
    command: str = ""
    zone: str = "UTC"
    zones: Mapping[str, str] = field(default_factory=dict)
    limits: Mapping[str, str] = field(default_factory=dict)
    title: str | None = None
    colour: str | None = None
    logo: str | None = None
    link: str | None = None
    endpoints: Mapping[str, str] = field(default_factory=dict)
    most: int = MOST

    def zone_for(self, agent: str | None) -> ZoneInfo:
        """Return the zone in which times of `agent` are shown."""
        return zone_of(self.zones.get(agent or "") or self.zone)

    @property
    def again(self) -> str:
        """Return what to type to have the same done once more."""
        return f"reconcile {self.command} --job {self.job}" if self.command else f"reconcile run {self.job}"

    @property
    def dry(self) -> str:
        """Return what to type to see what that would do."""
        return f"{self.again} --dry-run" if self.command else f"reconcile --dry-run {self.job}"


@dataclass(frozen=True, slots=True)
class Next:
    """A command that is worth typing now, and what for."""

    purpose: str
    command: str
