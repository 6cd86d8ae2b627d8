"""What reading one calendar has found so far, and the pull, or the sentence, that becomes of it: for all providers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.model import Calendar, Cursor, Event, Mode, Postponed, Pull, Quarantined, Tombstone, Unobserved
from reconciler.sources import PullRequest
from reconciler.sources.answers import DeniedError, MissingError, ParkedError, PostponedError, ProviderError

_OCCURRENCE = re.compile(r"(.+)/(\d{8})(?:T(\d{6})Z)?", re.DOTALL)


@dataclass(slots=True)
class Told:
    """What a pull will say, as `model.Pull` names it."""

    events: dict[str, Event] = field(default_factory=dict)
    tombstones: dict[str, Tombstone] = field(default_factory=dict)
    quarantined: dict[str, str] = field(default_factory=dict)
    series: set[str] = field(default_factory=set)
    rules: dict[str, str | None] = field(default_factory=dict)
    unchanged: set[str] = field(default_factory=set)

    def missing(self, request: PullRequest) -> list[str]:
        """Return the linked events that were not shown and that no series speaks for."""
        said = {*self.events, *self.tombstones, *self.quarantined, *self.unchanged}
        spoken_for = self.series | self.tombstones.keys() | self.quarantined.keys()
        return [
            event
            for event in sorted(request.linked)
            if event not in said and spoken_for.isdisjoint({series_in(event), event})
        ]

    def pull(
        self, request: PullRequest, mode: Mode, cursor: Cursor, *, zone: str | None, pending: tuple[str, ...]
    ) -> Pull:
        """Return what was told as one read of the calendar."""
        return Pull(
            calendar=request.calendar,
            mode=mode,
            cursor=cursor,
            at=request.now,
            events=tuple(self.events.values()),
            tombstones=tuple(self.tombstones.values()),
            quarantined=tuple(Quarantined(name, why) for name, why in self.quarantined.items()),
            series=frozenset(self.series),
            proves_absence="" not in self.quarantined,
            zone=zone,
            unchanged=frozenset(self.unchanged),
            rules=self.rules,
            pending=pending,
        )


def series_in(name: str) -> str | None:
    """Return the series of an occurrence by its name in the mirror; None for a single event."""
    found = _OCCURRENCE.fullmatch(name)
    return found[1] if found else None


def attempted(calendar: Calendar, provider: str, attempt: Callable[[], Pull]) -> Pull | Unobserved | Postponed:
    """Return what reading one calendar came to, in a sentence where it came to nothing. AccessError passes."""
    try:
        return attempt()
    except PostponedError as error:
        return Postponed(calendar, f"{error}.")
    except ParkedError as error:
        return Unobserved(calendar, f"{provider} {error}.", pause=error.pause)
    except MissingError as error:
        why = f"{provider} {error}: this calendar is not there, or not shared with us any more."
        return Unobserved(calendar, why, lost=True)
    except DeniedError as error:
        return Unobserved(calendar, f"{provider} {error}.", lost=True)
    except ProviderError as error:
        return Unobserved(calendar, f"{provider} {error}.")
