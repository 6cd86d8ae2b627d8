"""What was taken back is left alone as long as both sides stand as they did, and nothing else is said of it then."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler import decide, match, patterns
from reconciler.findings import Outlook
from reconciler.holding import Held
from reconciler.judgement import Judged
from reconciler.model import Pair, Record, Seen, Situation, Span, Step, Verdict
from reconciler.sides import sides
from reconciler.store.holds import Hold

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
COMPARED = ("start",)
SEEN = Seen(
    event="e",
    span=Span(NOW, NOW),
    digest=b"d",
    relevance="client",
    fields={"start": "2026-11-24T15:00:00Z"},
    keys=("a",),
)
RECORD = Record(id="7", fields={"start": "2026-11-25T15:00:00Z"}, version="v1")
HELD = Held({"a": Hold(sides(SEEN, RECORD, COMPARED), "01REVERT")}, COMPARED)
MEANT = Outlook("update")


def ruled(**other: Any) -> Outlook:
    pair = replace(Pair(seen=SEEN, calendar=None, record=RECORD, link=None), **other)
    one = Judged(pair, Verdict(Situation.CALENDAR_CHANGED, Step.UPDATE, to_crm=("start",)))
    return HELD.rule(one, MEANT)[1]


@pytest.mark.parametrize("holds", [(), (decide.UNSETTLED,)])
def test_a_pair_that_stands_as_it_was_taken_back_is_held(holds: tuple[str, ...]) -> None:
    assert ruled(holds=holds).bucket == "held"


@pytest.mark.parametrize("hold", [decide.UNKNOWN, "quarantined", "unobserved", match.AMBIGUOUS, patterns.TZ_SHIFT])
def test_what_keeps_a_pair_from_being_judged_at_all_is_said_before_that_it_was_taken_back(hold: str) -> None:
    assert ruled(holds=(decide.UNSETTLED, hold)) is MEANT


def test_a_pair_of_which_a_side_has_changed_is_judged_as_ever() -> None:
    assert ruled(record=replace(RECORD, fields={"start": "2026-11-26T15:00:00Z"})) is MEANT
    assert ruled(seen=replace(SEEN, digest=b"other")) is MEANT
    assert ruled(seen=replace(SEEN, keys=("b",))) is MEANT
