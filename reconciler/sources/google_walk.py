"""Walk the pages of one list of events to the end and sort what they hold: nothing of a walk that breaks off counts.

Only a page without `nextPageToken` ends a walk, an empty page does not (developers.google.com/workspace/calendar/api/
guides/sync). An item that comes twice counts as it came last. Access is looked at on every page: a role that dropped,
or an item that hides what it is, makes the whole calendar unobserved.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from reconciler import text
from reconciler.sources.answers import DeniedError, ProviderError
from reconciler.sources.google_events import (
    FREE_BUSY,
    Reading,
    Sort,
    details_withheld,
    exception_of,
    id_of,
    is_cancelled,
    name_of,
    role_dropped,
    sort_of,
)
from reconciler.sources.items import Item
from reconciler.sources.recurrence import Moment
from reconciler.sources.zones import find

PAGES = 4_000
"""Pages of one list that are followed: a million entries. Beyond it, the list is no calendar's."""


class WithheldError(DeniedError):
    """The calendar is shown with less access than before, or with too little: what is missing says nothing."""


@dataclass(slots=True)
class Walked:
    """The items of one list by what they are, the latest of each, and what the pages say of the calendar itself."""

    reading: Reading
    role: str | None = None
    token: str | None = None
    singles: dict[str, Item] = field(default_factory=dict)
    series: dict[str, Item] = field(default_factory=dict)
    exceptions: dict[str, dict[Moment, Item]] = field(default_factory=dict)
    gone: dict[str, set[Moment]] = field(default_factory=dict)
    cancelled: dict[str, Item] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)

    def add(self, item: Item) -> None:
        """Put one item in its place; one that can't be placed is unreadable, under its name as far as it has one.

        Raises WithheldError for one that hides what it is.
        """
        _see_details(item, self.role)
        try:
            if sort_of(item) is Sort.EXCEPTION:
                self._except(item)
            elif is_cancelled(item):
                self.cancelled[id_of(item)] = item
            else:
                place = self.series if sort_of(item) is Sort.SERIES else self.singles
                place[id_of(item)] = item
        except ValueError as error:
            self.unreadable.setdefault(name_of(item), text.line(str(error), 300))

    def _except(self, item: Item) -> None:
        series, original = exception_of(item)
        if is_cancelled(item):
            self.gone.setdefault(series, set()).add(original)
        else:
            self.exceptions.setdefault(series, {})[original] = item


def walk(fetch: Callable[[str | None], Mapping[str, object]], reading: Reading, role: str | None = None) -> Walked:
    """Follow a list from its first page (`fetch(None)`) to its last. `role` is the access that was had before.

    Raises WithheldError, and ProviderError for a list that does not end.
    """
    latest: dict[str, object] = {}
    walked = Walked(reading)
    pages: set[str] = set()
    token: str | None = None
    while True:
        page = fetch(token)
        _read_head(page, walked, role)
        left_out = _keep(page, latest, reading)
        if left_out:
            walked.unreadable.setdefault("", left_out)
        token = _token(page, "nextPageToken")
        if token is None:
            break
        if token in pages or len(pages) >= PAGES:
            raise ProviderError("sent a list that does not end")
        pages.add(token)
    walked.token = _token(page, "nextSyncToken")
    for item in latest.values():
        if isinstance(item, Mapping):
            walked.add(item)
        else:
            walked.unreadable.setdefault("", "an entry is no event at all")
    return walked


def _read_head(page: Mapping[str, object], walked: Walked, before: str | None) -> None:
    role = page.get("accessRole")
    walked.role = role if isinstance(role, str) else None
    if role_dropped(before, walked.role):
        had = f" (it was {before}: a run with --full takes it as it is)" if before and walked.role != FREE_BUSY else ""
        raise WithheldError(f"shows this calendar as {text.line(str(walked.role), 40)} only{had}")
    zone = page.get("timeZone")
    found = find(zone) if isinstance(zone, str) else None
    walked.reading = replace(walked.reading, zone=found.key if found else None)


def _keep(page: Mapping[str, object], latest: dict[str, object], reading: Reading) -> str | None:
    """Keep a page's items, the later of two with one id; return what had to be left out, if anything was."""
    items = page.get("items", [])
    if not isinstance(items, list):
        raise ProviderError("sent a list whose items are none")
    for item in items:
        name = item.get("id") if isinstance(item, Mapping) else None
        key = name if isinstance(name, str) else f"\0{len(latest)}"
        if len(latest) >= reading.caps.events and key not in latest:
            return f"the calendar has more than {reading.caps.events} entries: the rest was left out"
        latest.pop(key, None)
        latest[key] = item
    return None


def _token(page: Mapping[str, object], name: str) -> str | None:
    token = page.get(name)
    return token if isinstance(token, str) and token else None


def _see_details(item: Item, role: str | None) -> None:
    if details_withheld(item, role):
        raise WithheldError("hides what events are about that nobody marked as private")
