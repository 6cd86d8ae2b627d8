"""Fold one read of a calendar into what was known of it: (previous, pull) -> next. Absence is typed, never guessed."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

from reconciler.model import Absence, Mode, Pull, Seen, Tombstone

if TYPE_CHECKING:
    from collections.abc import Mapping

Mirror = dict[str, Seen]

_OCCURRENCE = re.compile(r"(.+)/[0-9]{8}(?:T[0-9]{6}Z)?", re.DOTALL)
"""How `normalise.occurrence_key` names an occurrence: its series, and the start that the series gave it."""


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
    stones = _tombstoned(previous, pull)
    for event in stones.keys() - events.keys():
        following[event] = _buried(previous[event], stones[event], pull)
    for event in _not_shown(previous, pull) - events.keys() - stones.keys() - pull.unchanged:
        following[event] = _missing(previous[event], pull, evidence_after)
    return {event: seen for event, seen in following.items() if seen.absence is None or seen.relevance is not None}


def series_of(event: str, seen: Seen | None) -> str | None:
    """Return the series that `event` is an occurrence of. Rows of irrelevant events keep it in their id alone."""
    if seen is not None and (seen.series is not None or seen.relevance is not None):
        return seen.series
    found = _OCCURRENCE.fullmatch(event)
    return found[1] if found else None


def _observed(before: Seen | None, seen: Seen, pull: Pull, *, baseline: bool) -> Seen:
    """Keep since when this content, or this absence, has been known."""
    if before is not None and before.digest == seen.digest and before.absence == seen.absence:
        since = before.absent_since
        return replace(seen, first_seen=before.first_seen, absent_since=since, absent_token=before.absent_token)
    first_seen = None if baseline else pull.at
    return replace(seen, first_seen=first_seen, absent_since=pull.at if seen.absence else None)


# ---- what the source says is gone -----------------------------------------------------------------------------------


def _tombstoned(previous: Mapping[str, Seen], pull: Pull) -> dict[str, Tombstone]:
    """Return the known rows that the pull's tombstones name, one by one or by series; unknown ones are ignored."""
    named: dict[str, Tombstone] = {}
    for stone in pull.tombstones:
        if stone.id not in named or stone.absence.is_evidence:
            named[stone.id] = stone
    if not named:
        return {}
    meant = {event: named.get(event) or named.get(series_of(event, seen) or "") for event, seen in previous.items()}
    return {event: stone for event, stone in meant.items() if stone is not None}


def _buried(seen: Seen, stone: Tombstone, pull: Pull) -> Seen:
    """Note what a tombstone says. The time of the last edit says nothing about when an event was cancelled."""
    if seen.absence is not None and seen.absence.is_evidence:
        return seen
    gone = _absent(seen, stone.absence, pull)
    return replace(gone, modified=stone.at) if stone.absence.is_evidence else gone


# ---- what a whole read does not show --------------------------------------------------------------------------------


def _not_shown(previous: Mapping[str, Seen], pull: Pull) -> set[str]:
    """Return the known rows that this read would have shown if they were still there.

    An entry that can't be read is there: its row, and those of its series, stay what they were.
    """
    if not pull.proves_absence:
        return set()
    unreadable = {entry.id for entry in pull.quarantined}
    series = {event: series_of(event, seen) for event, seen in previous.items()}
    return {
        event
        for event, whose in series.items()
        if (pull.mode is Mode.FULL or whose in pull.series) and not {event, whose} & unreadable
    }


def _missing(seen: Seen, pull: Pull, evidence_after: timedelta | None) -> Seen:
    """Type the absence of a row that a read did not show."""
    if seen.absence is not None and seen.absence.is_evidence:
        return seen
    if not pull.cursor.window.holds(seen.span):
        return _absent(seen, Absence.LEFT_WINDOW, pull)
    if seen.series is not None and seen.series in pull.series:
        return _absent(seen, Absence.UNSEEN, pull, stale=True)
    if _missing_again(seen, pull, evidence_after):
        return _absent(seen, Absence.GONE, pull)
    return _absent(seen, Absence.UNSEEN, pull)


def _missing_again(seen: Seen, pull: Pull, evidence_after: timedelta | None) -> bool:
    """Tell whether an earlier whole read, of another content and long enough ago, missed it for the same reason."""
    if evidence_after is None or seen.absence is not Absence.UNSEEN or seen.stale or seen.absent_since is None:
        return False
    return seen.absent_token != pull.cursor.token and pull.at - seen.absent_since >= evidence_after


def _absent(seen: Seen, absence: Absence, pull: Pull, *, stale: bool = False) -> Seen:
    """Set an absence and since when it holds; one that holds already is left as it is."""
    if seen.absence is absence and seen.stale == stale:
        return seen
    token = pull.cursor.token
    return replace(seen, absence=absence, absent_since=pull.at, absent_token=token, first_seen=pull.at, stale=stale)
