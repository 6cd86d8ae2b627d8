"""What the sample brokerage tells Graph is what Graph sends and takes, and says what a diary says."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import Agent, Calendar
from reconciler.normalise import occurrence_key
from reconciler.simulator import brokerage
from reconciler.simulator.brokerage import Meeting
from reconciler.simulator.graph_export import NO_ZONE, changes, event
from reconciler.simulator.graph_mailboxes import Mailbox
from reconciler.simulator.graph_resources import check
from reconciler.simulator.graph_workspace import Tenancy
from reconciler.sources.microsoft_events import Reading, event_of

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
QUIET = brokerage.agreed(NOW)
EDITED = brokerage.edited(QUIET, NOW)
BOB = brokerage.BOB.email
IN_OUTLOOK = [one for one in QUIET.meetings.values() if one.agent == brokerage.BOB]
READABLE = [one for one in EDITED.meetings.values() if not one.broken]
SINGLE = [one for one in IN_OUTLOOK if not one.weeks]
BOTH = [(one, EDITED.meetings[one.name]) for one in IN_OUTLOOK]


def named(name: str) -> Meeting:
    return QUIET.meetings[name]


# ---- events ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("meeting", READABLE, ids=lambda one: one.name)
def test_every_event_is_one_that_exchange_would_store(meeting: Meeting) -> None:
    check(event(meeting))


@pytest.mark.parametrize(("before", "after"), BOTH, ids=lambda one: one.name)
def test_a_patch_leads_from_one_to_the_other(before: Meeting, after: Meeting) -> None:
    patched = event(before) | changes(before, after)
    assert patched == {**event(after), "createdDateTime": patched["createdDateTime"]}


def test_a_patch_never_moves_a_start_without_its_end() -> None:
    both = named("both-moved")
    assert isinstance(both.start, datetime)
    longer = replace(both, start=both.start - timedelta(hours=1), lasts=both.lasts + timedelta(hours=1))
    assert changes(both, longer).keys() == {"start", "end"}
    assert changes(both, replace(both, modified=NOW)) == {}


@pytest.mark.parametrize("meeting", SINGLE, ids=lambda one: one.name)
def test_an_event_is_read_as_the_diary_says(meeting: Meeting, microsoft: Tenancy) -> None:
    calendar = Calendar(source="microsoft", kind="microsoft", agent=Agent(email=BOB, timezone=brokerage.BOB.zone))
    stored = mailbox(microsoft).get(meeting.id)
    read = event_of(stored, Reading(calendar=calendar))
    assert (read.id, read.uid, read.title, read.location) == (meeting.id, meeting.uid, meeting.title, meeting.location)
    assert (read.span.start, read.span.end) == (meeting.start, meeting.start + meeting.lasts)
    assert read.organizer == meeting.home
    assert {one.email for one in read.attendees} == {*meeting.clients, *meeting.colleagues, BOB} - {meeting.home}


def test_times_are_on_the_clock_of_the_agent_under_the_name_that_windows_has_for_it() -> None:
    start = event(named("shift-1"))["start"]
    assert start == {"dateTime": "2026-11-23T09:00:00.0000000", "timeZone": "Eastern Standard Time"}
    day = event(named("open-house"))
    assert (day["isAllDay"], day["start"]["dateTime"][10:]) == (True, "T00:00:00.0000000")
    assert date.fromisoformat(day["end"]["dateTime"][:10]) == date.fromisoformat(day["start"]["dateTime"][:10]) + (
        timedelta(days=1)
    )


def test_a_zone_that_somebody_made_up_says_nothing() -> None:
    assert event(EDITED.meetings["broken"])["start"]["timeZone"] == NO_ZONE


def test_ids_are_a_mailbox_s_own_and_uids_the_organizer_s() -> None:
    own, copy = named("both-buy"), named("both-buy-copy")
    assert own.id != copy.id
    assert event(copy)["iCalUId"] == own.uid == copy.uid
    assert event(copy)["organizer"]["emailAddress"]["address"] == brokerage.ANN.email
    assert event(copy)["isOrganizer"] is False
    assert event(copy)["responseStatus"]["response"] == "accepted"
    assert "organizer" not in event(named("bob-1")), "it is its owner's to say"


def test_a_declined_invitation_says_so_and_a_tentative_event_is_one() -> None:
    declined = event(named("declined"))
    assert declined["responseStatus"]["response"] == "declined"
    assert [one["status"]["response"] for one in declined["attendees"]] == ["declined"]
    assert event(named("tentative"))["showAs"] == "tentative"
    assert event(named("day-off"))["showAs"] == "free"
    assert event(named("private"))["sensitivity"] == "private"


# ---- the mailbox ----------------------------------------------------------------------------------------------------


@pytest.fixture
def microsoft() -> Iterator[Tenancy]:
    with Tenancy(lambda: NOW) as microsoft:
        microsoft.say(QUIET)
        yield microsoft


def mailbox(microsoft: Tenancy) -> Mailbox:
    return microsoft.server.mailbox(BOB)


def stored(microsoft: Tenancy, name: str) -> dict[str, Any]:
    return mailbox(microsoft).get(EDITED.meetings[name].id)


def test_only_those_who_are_with_microsoft_have_a_mailbox_there(microsoft: Tenancy) -> None:
    assert [person.name for person in microsoft.people] == ["Bob"]
    assert {box.address for box in microsoft.server.world.mailboxes.values()} == {BOB}
    assert {one["id"] for one in mailbox(microsoft).events()} == {one.id for one in IN_OUTLOOK}


def test_what_is_said_again_is_not_done_again(microsoft: Tenancy) -> None:
    microsoft.say(EDITED)
    before = list(mailbox(microsoft).log)
    microsoft.say(EDITED)
    assert mailbox(microsoft).log == before


def test_edits_are_made_when_the_diary_says_and_the_clock_goes_on_as_before(microsoft: Tenancy) -> None:
    untouched = stored(microsoft, "bob-1")["changeKey"]
    microsoft.say(EDITED)
    assert stored(microsoft, "both-moved")["lastModifiedDateTime"] == "2026-11-22T08:20:00.0000000Z"
    assert stored(microsoft, "bob-1")["changeKey"] == untouched
    assert microsoft.now() == NOW


def test_one_occurrence_goes_without_a_trace_and_another_is_an_exception(microsoft: Tenancy) -> None:
    before = len(mailbox(microsoft).events())
    microsoft.say(EDITED)
    rounds = EDITED.meetings["rounds"]
    starts = [start.astimezone(UTC) for start in rounds.starts if isinstance(start, datetime)]
    own = mailbox(microsoft)
    assert own.rows[rounds.id].deleted == {starts[1]}
    assert not any(row.gone for row in own.rows.values()), "which would be a tombstone"
    [moved] = own.rows[rounds.id].exceptions.values()
    assert (moved.original, moved.kind) == (starts[3], "exception")
    assert moved.span == (starts[3] + timedelta(days=1), starts[3] + timedelta(days=1) + rounds.lasts)
    new = {"booked", "broken"}
    assert len(own.events()) == before + len(new) + 1


def test_what_its_owner_calls_off_is_gone_and_what_somebody_else_does_stays_and_says_so(microsoft: Tenancy) -> None:
    off = {name: replace(named(name), status="CANCELLED") for name in ("bob-1", "both-buy-copy")}
    microsoft.say(replace(EDITED, meetings={**EDITED.meetings, **off}))
    assert mailbox(microsoft).rows[off["bob-1"].id].gone
    assert stored(microsoft, "both-buy-copy")["isCancelled"] is True


def test_a_mailbox_that_is_gone_is_out_of_reach(microsoft: Tenancy) -> None:
    microsoft.say(replace(QUIET, gone=frozenset({BOB})))
    assert mailbox(microsoft).refused is not None


def test_occurrences_have_the_key_that_the_series_uid_makes() -> None:
    rounds = named("rounds")
    assert rounds.uid[32:40] == "00000000", "the day of an occurrence is no part of it"
    assert rounds.key(rounds.starts[1]) == occurrence_key(rounds.uid, rounds.starts[1])
