"""Follow one round of Graph's pages to its end, and hold one row an id: nothing of a round that breaks off counts.

Rows come in any order, more than once, and again in later rounds (https://learn.microsoft.com/graph/delta-query-overview).
A round may also never end: each page the same rows, each with another link
(https://github.com/microsoftgraph/msgraph-sdk-dotnet/issues/3070). That is seen and given up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler import text
from reconciler.sources import Caps
from reconciler.sources.answers import ProviderError
from reconciler.sources.items import Item
from reconciler.sources.microsoft_events import Sort, id_of, name_of, newest, series_of, sort_of

if TYPE_CHECKING:
    from reconciler.sources.microsoft_transport import Page

PAGES = 2_000
"""Pages of one round that are followed."""

STANDSTILL = 2
"""Pages in a row that bring nothing new before a round is given up."""


BLANKS = 50
"""Pages in a row without any row, which is no standstill by itself, before a round is given up."""


class EndlessError(ProviderError):
    """The round leads in a circle: this mailbox has to be read another way for now."""


@dataclass(slots=True)
class Round:
    """The rows of one round by what they are, one an id. `doubtful` are ids of which a removal and a row were sent."""

    link: str | None = None
    singles: dict[str, Item] = field(default_factory=dict)
    masters: dict[str, Item] = field(default_factory=dict)
    occurrences: dict[str, list[Item]] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def touched(self) -> set[str]:
        """Return the series of which any row was sent."""
        return self.masters.keys() | self.occurrences.keys()

    def add(self, item: Item) -> None:
        """Put one row in its place; one that can't be placed is unreadable, under its name as far as it has one."""
        try:
            self._place(item)
        except ValueError as error:
            self.unreadable.setdefault(name_of(item), text.line(str(error), 300))

    def _place(self, item: Item) -> None:
        match sort_of(item):
            case Sort.REMOVED:
                self.removed.add(id_of(item))
            case Sort.SERIES:
                self.masters[id_of(item)] = item
            case Sort.SINGLE:
                self.singles[id_of(item)] = item
            case Sort.OCCURRENCE | Sort.EXCEPTION:
                self.occurrences.setdefault(series_of(item) or "", []).append(item)


def follow(first: Page, more: Callable[[str], Page], caps: Caps) -> Round:
    """Follow a round from its first page. Raises EndlessError, and whatever `more` raises."""
    latest: dict[str, Item] = {}
    found = Round()
    seen: set[tuple[str, str]] = set()
    links: set[str] = set()
    page, pages, still, blank = first, 1, 0, 0
    while True:
        fresh = {_mark(item) for item in page.items} - seen
        still = 0 if fresh else still + bool(page.items)
        blank = 0 if page.items else blank + 1
        seen |= fresh
        for row in page.items:
            _merge(row, latest, found, caps)
        if page.next is None:
            break
        if page.next in links or still >= STANDSTILL or blank >= BLANKS or pages >= PAGES:
            raise EndlessError("sends the same page over and over")
        links.add(page.next)
        page, pages = more(page.next), pages + 1
    found.link = page.delta
    for item in latest.values():
        found.add(item)
    return found


def _mark(item: Item) -> tuple[str, str]:
    """Tell a row and its version from others; those without identity count as one."""
    return str(item.get("id")), f"{item.get('@odata.etag')}{item.get('@removed')}"


def _merge(item: Item, latest: dict[str, Item], found: Round, caps: Caps) -> None:
    name = item.get("id")
    if not isinstance(name, str):
        found.unreadable.setdefault("", "an entry has no identity")
        return
    before = latest.get(name)
    if before is None and len(latest) >= caps.events:
        found.unreadable.setdefault("", f"the calendar has more than {caps.events} entries: the rest was left out")
        return
    chosen: Item | None = item if before is None else newest(before, item)
    if chosen is None:
        found.doubtful.add(name)
    latest[name] = item if chosen is None else chosen
