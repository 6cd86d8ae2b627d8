"""How much may be asked of a provider: what it publishes, the share that is ours, and the buckets that keep to it.

A bucket is cut so that no sliding window sees more attempts than our share, however they fall: attempts are withdrawn
in blocks that live for LIFE seconds, and a request may be WAY seconds under way before the provider counts it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, auto
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

from reconciler.store.quota import Bucket, agent_scope

if TYPE_CHECKING:
    from collections.abc import Mapping

MINUTE: Final = 60.0
DAY: Final = 86400.0
LIFE: Final = 5.0
WAY: Final = 1.0
PROCESSES: Final = 4
"""Each process may spend a tenth of an agent's minute by itself. The rest is withdrawn from the ledger, cut for this
many processes within one minute; with share 0.5 it takes fourteen of them, all busy with one agent, to reach the
published limit."""


class Scope(StrEnum):
    """What an attempt is for. Tokens are asked of another server: they have a minute of their own, and no day."""

    READ = auto()
    WRITE = auto()
    TOKEN = auto()


class Limits(Protocol):
    """A `[budget.NAME]` table of a job file; None is what the provider publishes."""

    @property
    def per_minute(self) -> int | None: ...
    @property
    def per_agent_minute(self) -> int | None: ...
    @property
    def per_day(self) -> int | None: ...
    @property
    def share(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of a provider's project, None where it has none, and the share of them that this program may use."""

    per_minute: int | None = None
    per_agent_minute: int | None = None
    per_day: int | None = None
    share: float = 0.5

    def ours(self, limit: int | None) -> int | None:
        """Return our share of a limit: one attempt at least, for with none nothing would ever be asked."""
        return None if limit is None else max(1, int(limit * self.share))

    def minute(self, scope: str) -> tuple[Bucket, ...]:
        """Return the bucket of a minute, whose burst lets a run of a thousand calendars begin without waiting."""
        ours = self.ours(self.per_minute)
        return () if ours is None else (_bucket(scope, ours, MINUTE, burst=max(ours / 5, min(ours / 2, 10))),)

    def day(self) -> tuple[Bucket, ...]:
        """Return the bucket of a day: a tenth at once, so that a first run can begin, the rest spread evenly."""
        ours = self.ours(self.per_day)
        return () if ours is None else (_bucket("day", ours, DAY, burst=max(ours / 10, min(ours / 2, 100))),)

    def alone(self, *, shared: bool) -> int | None:
        """Return how many attempts a minute for one agent a process may make without asking the ledger."""
        ours = self.ours(self.per_agent_minute)
        return None if ours is None else ours // 10 if shared else ours

    def agent(self, agent: str) -> tuple[Bucket, ...]:
        """Return the bucket from which processes take what goes beyond that."""
        ours = self.ours(self.per_agent_minute)
        if ours is None:
            return ()
        left = ours - PROCESSES * (ours // 10)
        return (_bucket(agent_scope(agent), left, MINUTE, burst=left / 5),)

    def permits_per_day(self) -> float:
        """Return how many attempts a day can be kept up, day after day; infinite without limits."""
        return min((bucket.rate * DAY for bucket in (*self.minute("minute"), *self.day())), default=float("inf"))


# What providers publish. Google: https://developers.google.com/workspace/calendar/api/guides/quota ("Usage limits", for
# projects made since 1 May 2026; older ones follow). The day is a threshold that can't be raised.
# Microsoft: https://learn.microsoft.com/en-us/graph/throttling-limits ("Outlook service limits", "Global limits"):
# 10,000 in ten minutes for each application and mailbox, which a minute of 1,000 keeps to in any ten of them; 130,000
# in ten seconds for an application in all tenants, which no tenant is to have for itself: a minute gets what ten
# seconds may have.
# Chats: Slack asks for one message a second (https://docs.slack.dev/apis/web-api/rate-limits/), others for less care.
PUBLISHED: Final[Mapping[str, Budget]] = MappingProxyType(
    {
        "google": Budget(per_minute=10_000, per_agent_minute=600, per_day=1_000_000),
        "microsoft": Budget(per_minute=130_000, per_agent_minute=1_000),
        "webhook": Budget(per_minute=60),
    }
)


def budget_for(kind: str, table: Limits | None) -> Budget:
    """Return the budget of a provider: what it publishes, where the job file's table says nothing else."""
    published = PUBLISHED.get(kind, Budget())
    if table is None:
        return published
    return Budget(
        per_minute=table.per_minute or published.per_minute,
        per_agent_minute=table.per_agent_minute or published.per_agent_minute,
        per_day=table.per_day or published.per_day,
        share=table.share,
    )


def _bucket(scope: str, ours: int, window: float, *, burst: float) -> Bucket:
    """Cut a bucket. Attempts are whole: what is withdrawn within a window stays below ours + 1, and so within ours."""
    capacity = max(1.0, burst)
    return Bucket(scope, capacity, (ours + 0.99 - capacity) / (window + LIFE + WAY))
