"""The writing half of Outlook: what Graph's answers, races and rules come to, over HTTP and from the server's side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.model import Absence, Event, Outcome, Tombstone, Window
from reconciler.simulator.graph import Fault, Harm
from reconciler.simulator.graph_mailboxes import Row
from reconciler.sources.answers import ProviderError
from reconciler.sources.claims import claim
from reconciler.sources.microsoft_claims import MARK
from reconciler.sources.microsoft_events import Reading, event_of
from tests.contract.test_calendar_writers import ANN, CLIENT, LATER, SOON, VIEWING, GraphDesk, graph_desk

NOVEMBER = Window(datetime(2026, 11, 1, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC))


@pytest.fixture
def desk() -> Iterator[GraphDesk]:
    """Return an empty calendar; whatever a test does with it, nobody is told anything."""
    with graph_desk() as desk:
        yield desk
        assert desk.told() == []


def sent(desk: GraphDesk) -> list[tuple[str, int]]:
    return [(entry.method, entry.status) for entry in desk.server.requests()]


def written(desk: GraphDesk) -> list[tuple[str, int]]:
    return [one for one in sent(desk) if one[0] != "GET"]


def row(desk: GraphDesk, event: str) -> Row:
    return desk.ann.rows[event]


# ---- case 24: an answer that never comes ----------------------------------------------------------------------------


def test_case_24_a_create_that_times_out_after_it_was_stored_makes_one_event(desk: GraphDesk) -> None:
    desk.lose(carried_out=True)
    wrote = desk.create()
    assert wrote.outcome is Outcome.DONE
    assert "but it was written" in wrote.why
    assert wrote.event
    assert sent(desk) == [("GET", 200), ("POST", 0), ("GET", 200)]
    assert wrote.event == desk.writer.find(desk.calendar, desk.claim())
    assert desk.live() == [wrote.event.id]


def test_case_24_a_create_that_is_stored_only_after_it_was_looked_up_makes_one_event(desk: GraphDesk) -> None:
    late: list[Any] = []
    desk.server.faults.add(Fault(method="POST", what=Harm.DROP_BEFORE, times=1))

    def arrive() -> None:
        """Let the first request arrive while the second is on its way: both carry the same transactionId."""
        body = desk.ann.insert(desk.item(SOON, transactionId=first_transaction(desk), **marked(desk)))
        late.append(body["id"])

    desk.server.faults.add(Fault(method="POST", what=Harm.NONE, times=1, meanwhile=arrive))
    wrote = desk.create()
    assert wrote.outcome in {Outcome.DONE, Outcome.ALREADY}
    assert desk.live() == late
    assert written(desk) == [("POST", 0), ("POST", 400)]


def first_transaction(desk: GraphDesk) -> str:
    return f"crm:{desk.claim().id()}:0"


def marked(desk: GraphDesk, value: str | None = None) -> dict[str, object]:
    value = desk.claim().id() if value is None else value
    return {"singleValueExtendedProperties": [{"id": MARK, "value": value}]}


def test_case_24_a_create_that_never_arrived_is_sent_once_more_under_the_same_id(desk: GraphDesk) -> None:
    desk.lose(carried_out=False)
    event = desk.made()
    assert row(desk, event.id).event["transactionId"] == first_transaction(desk)
    assert written(desk) == [("POST", 0), ("POST", 201)]


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_case_24_a_patch_that_was_applied_and_answered_with_an_error_is_sent_once(desk: GraphDesk, status: int) -> None:
    event = desk.made()
    desk.server.faults.add(Fault(method="PATCH", what=Harm.LATE_ERROR, status=status))
    wrote = desk.update(event.id, LATER)
    assert (wrote.outcome, "but it was written" in wrote.why) == (Outcome.DONE, True)
    assert written(desk) == [("POST", 201), ("PATCH", status)]
    assert desk.says(event.id) == {**VIEWING, **LATER}


@pytest.mark.parametrize("harm", [Harm.DROP_AFTER, Harm.CUT, Harm.TORN_JSON, Harm.OTHER_KIND])
def test_case_24_a_write_whose_answer_breaks_was_carried_out_once(desk: GraphDesk, harm: Harm) -> None:
    desk.server.faults.add(Fault(method="POST", what=harm, times=1))
    desk.server.faults.add(Fault(method="PATCH", what=harm, times=1))
    event = desk.made()
    assert desk.update(event.id, LATER).outcome is Outcome.DONE
    assert [method for method, _ in written(desk)] == ["POST", "PATCH"]
    assert desk.says(event.id) == {**VIEWING, **LATER}


def test_case_24_a_removal_that_was_carried_out_and_never_answered_is_done(desk: GraphDesk) -> None:
    event = desk.made()
    desk.lose(carried_out=True)
    assert desk.cancel(event.id).outcome is Outcome.DONE
    assert sent(desk)[-2:] == [("DELETE", 0), ("GET", 404)]


# ---- case 25: echo and conflict -------------------------------------------------------------------------------------


def test_case_25_what_we_wrote_comes_back_as_what_we_wrote(desk: GraphDesk) -> None:
    event = desk.made()
    target = desk.graph.target(desk.calendar)
    before = desk.graph.delta(target, NOVEMBER)
    assert before.delta
    wrote = desk.update(event.id, LATER)
    (echo,) = desk.graph.follow(target, before.delta).items
    assert event_of(echo, Reading(calendar=desk.calendar)) == wrote.event
    assert desk.update(event.id, LATER, event.etag).outcome is Outcome.ALREADY  # decided on the version before


def test_case_25_what_the_agent_changed_in_between_is_never_overwritten(desk: GraphDesk) -> None:
    event = desk.made()
    moved = {name: desk.item(SOON + timedelta(hours=5))[name] for name in ("start", "end")}
    desk.meanwhile(lambda: desk.ann.patch(event.id, moved))
    wrote = desk.update(event.id, LATER)
    assert (wrote.outcome, wrote.event and wrote.event.span.start) == (Outcome.CONFLICT, SOON + timedelta(hours=5))
    assert written(desk) == [("POST", 201), ("PATCH", 412)]
    assert desk.says(event.id)["start"] == "2026-11-24T20:00:00Z"


def test_case_25_a_change_that_is_known_before_it_is_written_sends_no_write(desk: GraphDesk) -> None:
    event = desk.made()
    desk.retitle(event.id, "Second viewing")
    assert desk.update(event.id, LATER, event.etag).outcome is Outcome.CONFLICT
    assert desk.cancel(event.id, event.etag).outcome is Outcome.CONFLICT
    assert written(desk) == [("POST", 201)]


@pytest.mark.parametrize("change", [True, False])
def test_case_25_a_conflict_where_there_is_none_is_met_by_one_more_attempt(desk: GraphDesk, *, change: bool) -> None:
    event = desk.made()
    method = "PATCH" if change else "DELETE"
    desk.server.faults.add(Fault(method=method, status=412, reason="ErrorIrresolvableConflict", times=1))
    wrote = desk.update(event.id, LATER) if change else desk.cancel(event.id)
    assert wrote.outcome is Outcome.DONE
    assert [status for _, status in written(desk)] == [201, 412, 200 if change else 204]


def test_case_25_a_conflict_that_stays_is_met_by_no_third_attempt(desk: GraphDesk) -> None:
    event = desk.made()
    desk.server.faults.add(Fault(method="PATCH", status=412, reason="ErrorIrresolvableConflict"))
    assert desk.update(event.id, LATER).outcome is Outcome.CONFLICT
    assert [status for _, status in written(desk)] == [201, 412, 412]
    assert desk.says(event.id) == VIEWING


def test_case_25_a_copy_of_an_invitation_is_neither_changed_nor_cancelled(desk: GraphDesk) -> None:
    event = desk.receive(SOON)
    for wrote in (desk.update(event, LATER), desk.update(event, {"title": "Mine"}), desk.cancel(event)):
        assert (wrote.outcome, "somebody else organizes it" in wrote.why) == (Outcome.FAILED, True)
    assert written(desk) == []


# ---- whose an event is ----------------------------------------------------------------------------------------------


def test_an_event_is_created_with_an_id_of_ours_and_a_mark_that_nobody_sees(desk: GraphDesk) -> None:
    event = desk.made()
    kept = row(desk, event.id)
    assert kept.event["transactionId"] == first_transaction(desk)
    assert {name.rpartition(" ")[2]: value for name, value in kept.properties.items()} == {
        "crmClaim": desk.claim().id(),
        "crmGeneration": "0",
        "crmId": "17",
    }
    assert desk.claim().id() not in str({**kept.event, "transactionId": ""})


def test_an_appointment_whose_event_was_deleted_gets_an_id_that_is_not_used_up(desk: GraphDesk) -> None:
    desk.remove(desk.made().id)
    again = desk.made()
    assert row(desk, again.id).event["transactionId"] == f"crm:{desk.claim().id(1)}:1"
    assert written(desk) == [("POST", 201), ("POST", 400), ("POST", 201)]


def test_a_value_of_somebody_elses_that_differs_by_case_is_not_ours(desk: GraphDesk) -> None:
    desk.ann.insert(desk.item(SOON, **marked(desk, desk.claim().id().upper())))
    assert desk.writer.find(desk.calendar, desk.claim()) is None
    assert desk.create().outcome is Outcome.DONE
    assert len(desk.live()) == 2


def test_our_event_is_found_behind_pages_of_what_only_looks_like_it(desk: GraphDesk) -> None:
    for day in range(12):
        desk.ann.insert(desk.item(SOON - timedelta(days=day), **marked(desk, desk.claim().id().upper())))
    event = desk.made()
    assert desk.writer.find(desk.calendar, desk.claim()) == event
    assert desk.create().outcome is Outcome.ALREADY
    assert len(desk.live()) == 13


@pytest.mark.parametrize("harm", [Harm.STRAY_LINK, Harm.ENDLESS])
def test_a_search_that_leads_astray_or_nowhere_creates_nothing(desk: GraphDesk, harm: Harm) -> None:
    for day in range(12):
        desk.ann.insert(desk.item(SOON - timedelta(days=day), **marked(desk, desk.claim().id().upper())))
    desk.server.faults.add(Fault(method="GET", path="/events", what=harm))
    assert desk.create().outcome is Outcome.FAILED
    assert written(desk) == []
    with pytest.raises(ProviderError):
        desk.writer.find(desk.calendar, desk.claim())


def test_ours_that_was_made_a_recurring_event_is_left_to_people(desk: GraphDesk) -> None:
    master, _ = desk.repeat(SOON)
    desk.ann.patch(master, marked(desk))
    before = desk.everything()
    assert desk.create().outcome is Outcome.FAILED
    assert desk.everything() == before


# ---- what is written, and what is not -------------------------------------------------------------------------------


def test_a_change_resets_nothing_that_it_does_not_name(desk: GraphDesk) -> None:
    event = desk.book(SOON)
    own = {
        "body": {"contentType": "text", "content": "Bring the keys"},
        "categories": ["Blue category"],
        "reminderMinutesBeforeStart": 45,
        "importance": "high",
        "sensitivity": "normal",
        "location": {"displayName": "12 Main St", "locationUri": "https://maps.example/12"},
    }
    before = desk.ann.patch(event, own)
    assert desk.update(event, {**LATER, "title": "Second viewing"}).outcome is Outcome.DONE
    after = desk.ann.get(event)
    moved = {name for name in after if after[name] != before.get(name)}
    assert moved == {"subject", "start", "end", "changeKey"}
    assert (after["start"]["dateTime"], after["end"]["dateTime"]) == (
        "2026-11-24T17:00:00.0000000",
        "2026-11-24T18:00:00.0000000",
    )


def test_a_start_alone_takes_its_end_along(desk: GraphDesk) -> None:
    event = desk.made().id
    assert desk.update(event, {"start": "2026-11-24T15:30:00Z"}).outcome is Outcome.DONE
    assert desk.says(event) == {**VIEWING, "start": "2026-11-24T15:30:00Z"}
    assert desk.update(event, {"start": "2026-11-24T16:30:00Z"}).outcome is Outcome.FAILED  # it would end first


def test_tentative_is_how_an_event_is_shown_and_the_way_back(desk: GraphDesk) -> None:
    event = desk.made().id
    assert desk.update(event, {"status": "tentative"}).outcome is Outcome.DONE
    assert desk.ann.get(event)["showAs"] == "tentative"
    assert desk.update(event, {"status": "tentative"}).outcome is Outcome.ALREADY
    assert desk.update(event, {"status": "confirmed"}).outcome is Outcome.DONE
    assert desk.ann.get(event)["showAs"] == "busy"


def test_a_free_event_stays_free_when_it_is_moved(desk: GraphDesk) -> None:
    event = desk.book(SOON)
    desk.ann.patch(event, {"showAs": "free"})
    assert desk.update(event, {**LATER, "status": "confirmed"}).outcome is Outcome.DONE
    assert desk.ann.get(event)["showAs"] == "free"


def test_of_a_private_event_only_its_time_is_written(desk: GraphDesk) -> None:
    event = desk.book(SOON)
    desk.ann.patch(event, {"sensitivity": "private"})
    assert desk.update(event, {"title": "Second viewing"}).outcome is Outcome.FAILED
    assert desk.update(event, LATER).outcome is Outcome.DONE
    assert desk.says(event) == {**VIEWING, "location": "", **LATER}


@pytest.mark.parametrize(
    "other",
    [
        {"isDraft": True},
        {"showAs": "oof"},
        {"showAs": "workingElsewhere"},
        {"isCancelled": True},
        {"isOrganizer": False},
        {"isOrganizer": None},
        {"attendees": [{"emailAddress": {"name": "Somebody without an address"}}]},
        {"start": {"dateTime": "2026-11-24T15:00:00.0000000", "timeZone": "tzone://Microsoft/Custom"}},
    ],
    ids=str,
)
def test_what_is_no_appointment_of_the_agents_own_alone_is_left_as_it_is(
    desk: GraphDesk, other: dict[str, object]
) -> None:
    event = desk.book(SOON)
    stored = row(desk, event)
    stored.event, stored.shown = {**stored.event, **other}, {}
    before = desk.everything()
    assert desk.update(event, LATER).outcome is desk.cancel(event).outcome is Outcome.FAILED
    assert (desk.writes(), desk.everything()) == (0, before)


def test_an_event_with_the_agent_alone_among_its_attendees_may_be_written(desk: GraphDesk) -> None:
    event = desk.book(SOON)
    stored = row(desk, event)
    stored.event = {**stored.event, "attendees": [{"emailAddress": {"address": ANN.email}, "type": "required"}]}
    stored.shown = {}
    assert desk.update(event, {"title": "Second viewing"}).outcome is Outcome.DONE
    desk.server.world.mails.clear()  # the agent's own copy of what the agent changed


def test_nobody_is_mailed_by_what_is_refused(desk: GraphDesk) -> None:
    event = desk.book(SOON, guests=(CLIENT,))
    assert desk.cancel(event).outcome is Outcome.FAILED
    assert desk.live() == [event]


# ---- find -----------------------------------------------------------------------------------------------------------


def test_an_event_that_microsoft_does_not_find_in_a_mailbox_that_it_does_is_gone(desk: GraphDesk) -> None:
    event = desk.made().id
    desk.remove(event)
    assert desk.writer.find(desk.calendar, event) == Tombstone(event, Absence.GONE)


def test_our_name_of_an_occurrence_is_no_event_that_is_gone(desk: GraphDesk) -> None:
    _, occurrence = desk.repeat(SOON)
    assert desk.writer.find(desk.calendar, occurrence) is None


@pytest.mark.parametrize("code", ["ErrorInvalidUser", "MailboxNotEnabledForRESTAPI", "ErrorAccessDenied"])
def test_a_mailbox_out_of_reach_says_nothing_of_its_events(desk: GraphDesk, code: str) -> None:
    event = desk.made()
    desk.ann.revoke(code)
    for what in (event.id, desk.claim()):
        with pytest.raises(ProviderError):
            desk.writer.find(desk.calendar, what)
    assert desk.cancel(event.id, event.etag).outcome is Outcome.FAILED


def test_ids_that_differ_by_case_alone_are_two_events(desk: GraphDesk) -> None:
    one, other = (str(desk.ann.insert(desk.item(SOON, id=name))["id"]) for name in ("AAk-b_C=", "AAk-B_C="))
    assert desk.update(one, {"title": "Second viewing"}).outcome is Outcome.DONE
    found = desk.writer.find(desk.calendar, other)
    assert isinstance(found, Event)
    assert (found.id, found.title) == (other, "Viewing")


def test_jobs_and_calendars_share_no_claim(desk: GraphDesk) -> None:
    desk.made()
    assert desk.writer.find(desk.calendar, claim("other", desk.calendar, "17")) is None
    assert desk.writer.find(desk.colleague, desk.claim()) is None
