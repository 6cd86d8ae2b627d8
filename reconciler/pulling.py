"""The reading half of a run (`reconcile pull`): calendars are read and kept, and nothing is compared.

It writes what a read is (rows, cursor and health of a calendar, each read by itself) and no more: no link, no journal,
no finding, no run. So it needs no lock, and many may share the calendars of a job: of two that read one calendar at
once, one commits. A run does not ask for what they read within `[run] due`.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Self

from reconciler import observe, outcome
from reconciler.accepting import Accepted
from reconciler.comparing import reading_findings
from reconciler.errors import UsageError
from reconciler.model import Remedy, rfc3339
from reconciler.phases import Phase
from reconciler.result import FORMAT_VERSION, CalendarSeen, calendar_to_json
from reconciler.run import reading_of
from reconciler.setup import Options, Setup
from reconciler.store import accepted, state

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from reconciler.model import Calendar, Shape, Window
    from reconciler.observe import Observed

_SHARD: Final = re.compile(r"(\d{1,4})/(\d{1,4})", re.ASCII)
PARTIAL: Final = 5


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `of` parts of the calendars. Parts are counted from 1; part 0 is the last one, as indexes begin there.

    A calendar stays in its part for as long as there are as many of them.
    """

    number: int = 0
    of: int = 1

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `2/4`. Raises UsageError for what is no part."""
        found = _SHARD.fullmatch(text)
        number, of = (int(found[1]), int(found[2])) if found else (1, 0)
        if number > of or not of:
            raise UsageError(f"--shard takes I/N, the I-th of N parts, e.g. 2/4 (0/4 is the same as 4/4), not {text!r}")
        return cls(number % of, of)

    def holds(self, calendar: Calendar) -> bool:
        """Tell whether a calendar is in this part: which one depends on whose it is and nothing else."""
        mark = f"{calendar.source}|{calendar.agent.email}|{calendar.name}".encode()
        return int.from_bytes(hashlib.blake2b(mark, digest_size=8).digest(), "big") % self.of == self.number

    def __str__(self) -> str:
        """Read as it is typed."""
        return f"{self.number or self.of}/{self.of}"


WHOLE: Final = Shard()
"""All calendars of a job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pulled:
    """What reading came to. `total` are the calendars of the job, of which `calendars` are this part."""

    job: str
    run: str
    shard: Shard
    window: Window
    total: int
    calendars: tuple[CalendarSeen, ...]
    exit_code: int

    @property
    def counts(self) -> dict[str, int]:
        """Count the calendars of this part by how they were read."""
        modes = Counter(one.mode for one in self.calendars if one.mode)
        asked = [one for one in self.calendars if one.asked]
        return {
            "calendars": len(self.calendars),
            "unobserved": sum(1 for one in asked if not one.observed),
            "full": modes["full"],
            "incremental": modes["incremental"],
            "elsewhere": self.total - len(self.calendars),
        }

    def to_json(self) -> dict[str, Any]:
        """Return the object of `--format json`."""
        return {
            "format_version": FORMAT_VERSION,
            "job": self.job,
            "run": self.run,
            "shard": str(self.shard),
            "status": "partial" if self.exit_code else "observed",
            "window": {"start": rfc3339(self.window.start), "end": rfc3339(self.window.end)},
            "counts": self.counts,
            "calendars": [_calendar(one) for one in self.calendars],
        }


def _calendar(one: CalendarSeen) -> dict[str, Any]:
    return {name: value for name, value in calendar_to_json(one).items() if name != "events"}  # nothing was compared


def pull(
    setup: Setup,
    shard: Shard = WHOLE,
    progress: Callable[[int, int], None] = lambda _done, _all: None,
    *,
    full: bool = False,
) -> Pulled:
    """Read the calendars of a part and keep what was seen.

    Raises StateError for the state of another CRM, AccessError when a provider refuses this program as a whole, and
    CrmUnreachableError where nothing is known yet of how the CRM keeps values and it can't be asked.
    """
    now = setup.clock()
    asked = reading_of(setup, Options(full=full), now, _shape(setup))
    reading = replace(asked, dry_run=False, due=type(asked.due)(), share=shard.holds)
    total = sum(1 for calendar in setup.directory.calendars if shard.holds(calendar))
    observed: list[Observed] = []
    with setup.phases.of(Phase.CALENDARS):
        for done, each in enumerate(observe.observe_calendars(reading, setup.directory.calendars), 1):
            observed.append(each)
            progress(done, total)
    observed.sort(key=lambda each: each.watched.id)
    return Pulled(
        job=setup.job.name,
        run=setup.run,
        shard=shard,
        window=reading.window,
        total=len(setup.directory.calendars),
        calendars=tuple(map(partial(outcome.calendar_seen, window=reading.window), observed)),
        exit_code=PARTIAL if _is_partial(setup, observed, now) else 0,
    )


def _shape(setup: Setup) -> Shape:
    """Return how the CRM kept values when a run last looked; the first pull of a job asks it."""
    with setup.state.begin() as connection:
        state.bind(connection, setup.state, setup.reader.identity)
        known = state.shape(connection, setup.state)
    if known is not None:
        return known
    shape = setup.reader.shape
    with setup.state.begin() as connection:
        state.save_shape(connection, setup.state, shape)
    return shape


def _is_partial(setup: Setup, observed: Iterable[Observed], now: datetime) -> bool:
    """Tell whether more calendars than allowed are newly unobserved; what a person accepted is known."""
    with setup.state.begin() as connection:
        known = Accepted(accepted.all_of(connection, setup.state), now)
    gaps = known.rest([finding for each in observed for finding in reading_findings(each, now)])
    rest = frozenset(finding.key for finding in gaps if finding.remedy is Remedy.NONE)
    return outcome.is_blinder(observed, rest, setup.job.limits.unobserved)
