"""The one wide event of a command while it is at work: its id, and what is known of it so far.

Every command on a job is handed one with its call and adds what it learns; `logs` writes it down when the command ends,
however it ends. What is added is names, numbers and lists of names, and nothing of any client: `logs` shows no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from datetime import datetime

    from reconciler.result import CalendarSeen, Result
    from reconciler.setup import Setup

Plain: TypeAlias = "str | int | float | bool | datetime | Sequence[str] | None"
"""What may be logged."""

DIGEST = 12
"""Digits of a digest that are logged, as people type them."""


@dataclass(slots=True)
class Event:
    """What is known of one call of a command. `about` is on every line that is logged meanwhile, by any thread."""

    id: str = ""
    about: dict[str, Plain] = field(default_factory=dict)
    fields: dict[str, Plain] = field(default_factory=dict)
    calendars: list[dict[str, Plain]] = field(default_factory=list)
    read: list[dict[str, Plain]] = field(default_factory=list)
    setup: Setup | None = None

    def of(self, **about: Plain) -> None:
        """Say on every line from now on what this is about: `job`, `slot`."""
        self.about.update(about)

    def add(self, **fields: Plain) -> None:
        """Add to what is said of it when it ends."""
        self.fields.update(fields)

    def uses(self, setup: Setup) -> None:
        """Say with what it works: what that took and spent is told at the end, also of one that breaks off."""
        self.setup = setup

    def came_to(self, result: Result) -> None:
        """Add what a run came to; the slot is the one that it took, which may be the next where it was early."""
        self.fields.update(counted(result))
        if result.slot is not None:
            self.of(slot=result.slot)
        self.calendars = unwell(result.calendars, {violation.agent for violation in result.withheld})
        self.read = read(result.calendars)

    def pulled(self, calendars: Sequence[CalendarSeen], counts: Mapping[str, int], shard: str) -> None:
        """Add what reading alone came to."""
        self.fields.update({"shard": shard, **_named("count", counts)})
        self.calendars = unwell(calendars)
        self.read = read(calendars)

    def delivered(self, steps: Iterable[str]) -> None:
        """Add how many reports came to what."""
        self.fields.update(_named("delivery", Counter(steps)))

    def spent(self) -> dict[str, Plain]:
        """Return the seconds of each phase, and what was asked of each provider."""
        if self.setup is None:
            return {}
        seconds = {f"seconds_{phase}": round(took, 3) for phase, took in self.setup.phases.seconds.items()}
        attempts, throttled = Counter[str](), Counter[str]()
        for project, quota in self.setup.quotas.items():
            kind = project.partition(":")[0]  # a project has a name of its own; its kind is enough to be told apart
            attempts[f"attempts_{kind}"] += sum(quota.attempts.values())
            throttled[f"throttled_{kind}"] += quota.throttled
        return {**seconds, **attempts, **throttled}


def counted(result: Result) -> dict[str, Plain]:
    """Return what a run's event says of its result: names of kinds and numbers."""
    outcomes = Counter(delta.outcome.value for delta in result.deltas)
    kinds = Counter(finding.kind.value for finding in result.findings)
    return {
        "dry_run": result.dry_run,
        "status": result.status,
        "digest": result.digest[:DIGEST],
        **_named("count", result.counts),
        **_named("delta", outcomes),
        **_named("finding", kinds),
        "violations": sorted({violation.limit for violation in result.violations}),
        "withheld": len(result.withheld),
        "unobserved": sorted({each.source for each in result.calendars if not each.observed}),
    }


def _named(prefix: str, numbers: Mapping[str, int]) -> dict[str, int]:
    return {f"{prefix}_{name}": number for name, number in numbers.items()}


def unwell(calendars: Iterable[CalendarSeen], withheld: Collection[str | None] = ()) -> list[dict[str, Plain]]:
    """Return what is said of each calendar that needs attention.

    A calendar goes by its number: whose it is says `reconcile status`. Agents are people too, and logs are read and
    kept by others than those whom `state forget` reaches. Nor is its sentence repeated: that may quote a provider.
    """
    return [
        {
            "calendar": one.number,
            "source": one.source,
            "state": state,
            "strikes": one.strikes,
            "since": one.blind_since,
            "quarantined": one.quarantined,
        }
        for one in calendars
        if (state := state_of(one, is_withheld=one.agent in withheld))
    ]


def read(calendars: Iterable[CalendarSeen]) -> list[dict[str, Plain]]:
    """Return how each calendar was read that was."""
    return [
        {"calendar": one.number, "source": one.source, "mode": one.mode, "events": one.events}
        for one in calendars
        if one.observed
    ]


def state_of(one: CalendarSeen, *, is_withheld: bool) -> str | None:
    """Name what is the matter with a calendar, the worst there is; None if it is well, or was left out on purpose."""
    if not one.asked:
        return None
    if not one.observed:
        return "parked" if one.rested else "blind"
    if is_withheld:
        return "withheld"
    return "quarantined" if one.quarantined else None
