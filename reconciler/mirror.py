"""Fold one read of a calendar into what was known of it: (previous, pull) -> next. Absence is typed, never guessed."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model import Absence, Mode, Pull, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

Mirror = dict[str, Seen]


def fold(
    previous: Mapping[str, Seen],
    pull: Pull,
    events: Mapping[str, Seen],
    *,
    baseline: bool,
    evidence_after: timedelta | None = None,
) -> Mirror:
    """Return the calendar's next mirror, by native event id.

    `events` are the pull's events, normalised. `baseline` says that nothing was known before: its rows count as settled
    where the source gives no time. `evidence_after` is set for a feed whose job takes absence as evidence: what two
    different whole reads at least that far apart both miss is gone. Irrelevant events that are gone leave no trace.
    """
    following = dict(previous)
    for event, seen in events.items():
        following[event] = _observed(previous.get(event), seen, pull, baseline=baseline)
    for event, absence in _tombstoned(previous, pull).items():
        if event not in events:
            following[event] = _absent(following[event], absence, pull)
    if pull.mode is Mode.FULL and pull.proves_absence:
        for event in previous.keys() - events.keys():
            following[event] = _missing(following[event], pull, evidence_after)
    return {event: seen for event, seen in following.items() if seen.absence is None or seen.relevance is not None}


def _observed(before: Seen | None, seen: Seen, pull: Pull, *, baseline: bool) -> Seen:
    if before is not None and before.digest == seen.digest and before.absence == seen.absence:
        since = before.absent_since
        return replace(seen, first_seen=before.first_seen, absent_since=since, absent_token=before.absent_token)
    first_seen = None if baseline else pull.at
    return replace(seen, first_seen=first_seen, absent_since=pull.at if seen.absence else None)


def _tombstoned(previous: Mapping[str, Seen], pull: Pull) -> dict[str, Absence]:
    """Return the known rows that the pull's tombstones name, one by one or by series; unknown ones are ignored."""
    named = {stone.id: stone.absence for stone in pull.tombstones}
    if not named:
        return {}
    return {
        event: absence
        for event, seen in previous.items()
        if (absence := named.get(event) or named.get(seen.series or "")) is not None
    }


def _absent(seen: Seen, absence: Absence, pull: Pull) -> Seen:
    if seen.absence is absence:
        return seen
    return replace(seen, absence=absence, absent_since=pull.at, absent_token=pull.cursor.token, first_seen=pull.at)


def _missing(seen: Seen, pull: Pull, evidence_after: timedelta | None) -> Seen:
    """Type the absence of a row that a whole read did not show."""
    if seen.absence is not None and seen.absence.is_evidence:
        return seen
    if not pull.cursor.window.holds(seen.span):
        return _absent(seen, Absence.LEFT_WINDOW, pull)
    if seen.series is not None and seen.series in pull.series:
        return replace(_absent(seen, Absence.UNSEEN, pull), stale=True)
    if _missing_again(seen, pull, evidence_after):
        return _absent(seen, Absence.GONE, pull)
    return _absent(seen, Absence.UNSEEN, pull)


def _missing_again(seen: Seen, pull: Pull, evidence_after: timedelta | None) -> bool:
    if evidence_after is None or seen.absence is not Absence.UNSEEN or seen.absent_since is None:
        return False
    return seen.absent_token != pull.cursor.token and pull.at - seen.absent_since >= evidence_after
