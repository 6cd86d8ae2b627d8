"""Findings that are not about one pair: what they say, and that nothing in them can do harm."""

from __future__ import annotations

from datetime import UTC, datetime

from reconciler import groups
from reconciler.audit import Missed
from reconciler.model import Agent, Calendar, Kind, Severity

NOW = datetime(2026, 11, 22, 17, tzinfo=UTC)
ANN = Calendar(source="google", kind="google", agent=Agent(email="ann@acme.example"))
BOB = Calendar(source="google", kind="google", agent=Agent(email="bob@acme.example"))


def test_what_was_missed_says_how_many_which_and_what_happens_next() -> None:
    found = groups.missed(ANN, Missed(chain=("a", "b"), expansion=("b", "c")))
    assert (found.kind, found.severity, found.agent) == (Kind.COVERAGE_GAP, Severity.CRITICAL, "ann@acme.example")
    assert found.why == (
        "ann@acme.example was compared with a list that its provider made anew: 1 event (a) had been missed or stood "
        "otherwise, which this read put right; 2 events (b, c) still not as listed after this read: it is read whole "
        "next time."
    )


def test_what_was_missed_is_one_finding_a_calendar_and_another_than_a_calendar_not_seen() -> None:
    one, again = (groups.missed(ANN, Missed(chain=(name,))) for name in ("a", "b"))
    other = groups.missed(BOB, Missed(chain=("a",)))
    unseen = groups.unobserved(ANN, "It is not there.", NOW)
    assert one.key == again.key
    assert len({one.key, other.key, unseen.key}) == 3


def test_ids_of_any_length_and_content_are_shown_as_inert_text() -> None:
    hostile = tuple(f"\x1b[31m\u202e{n}\n" + "x" * 5000 for n in range(9))
    why = groups.missed(ANN, Missed(expansion=hostile)).why
    assert len(why) < 800
    assert why.isprintable()
    assert "and 4 more" in why


def test_calendars_of_one_name_in_two_sources_are_left_behind_each_for_itself() -> None:
    places = (("google", "ann@acme.example", "primary"), ("outlook", "ann@acme.example", "primary"))
    assert len({groups.left_behind(place, 3, has_left=True).key for place in places}) == 2
