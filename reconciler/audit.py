"""Hold a mirror against an independent list of the same calendar: what did the chain of reads miss? Values only.

The chain leads from cursor to cursor, and what it once lost it never mentions again; an expansion that is wrong stays
wrong in every read. Both show only beside a list that was made another way. An absent row does not claim to be there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.mirror import series_of
from reconciler.model import Audit

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.model import Seen, Span, Window


@dataclass(frozen=True, slots=True)
class Missed:
    """Ids of events in which a mirror and the list differed, in order.

    `chain` stood wrong before the read, though nothing about them had changed since the one before; `expansion` differ
    even after it: the list, or what we made of a series, is wrong.
    """

    chain: tuple[str, ...] = ()
    expansion: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.chain or self.expansion)


def together(before: Missed | None, now: Missed | None) -> Missed | None:
    """Return what two reads had missed; what is wrong even after a read, the later one knows."""
    if before is None or now is None:
        return before or now
    return Missed(tuple(sorted({*before.chain, *now.chain})), now.expansion)


def missed(
    before: Mapping[str, Seen], after: Mapping[str, Seen], audit: Audit, *, unreadable: Collection[str] = ()
) -> Missed:
    """Return what the mirror had wrong before a read and after it, as far as the list can tell.

    What was touched excuses both: read and list may lie on either side of the change. `unreadable` names events and
    series that could not be read: known to be missing, and reported as that.
    """
    excused = {*audit.touched, *unreadable}
    return Missed(*(tuple(sorted(_unexcused(rows, audit, excused))) for rows in (before, after)))


def _unexcused(rows: Mapping[str, Seen], audit: Audit, excused: Collection[str]) -> Iterator[str]:
    return (event for event in _differing(rows, audit) if not _names(excused, event, rows))


def _names(ids: Collection[str], event: str, rows: Mapping[str, Seen]) -> bool:
    """Tell whether `ids` names an event or its series."""
    return event in ids or series_of(event, rows.get(event)) in ids


def _differing(rows: Mapping[str, Seen], audit: Audit) -> Iterator[str]:
    """Yield what the list shows and the rows have not, or at another time, and live rows that it does not show."""
    for event, span in audit.spans.items():
        seen = rows.get(event)
        if seen is None or seen.absence is not None or seen.span != span:
            yield event
    for event, seen in rows.items():
        if event not in audit.spans and seen.absence is None and _surely_in(audit.window, seen.span):
            yield event


def _surely_in(window: Window, span: Span) -> bool:
    """Tell whether any list of `window` must show `span`: a date in whatever zone, an instant to the second."""
    slack = timedelta(hours=14) if span.all_day else timedelta(seconds=1)
    return span.starts_at + slack < window.end and span.ends_at - slack > window.start
