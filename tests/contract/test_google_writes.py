"""The writing half of Google: what its own answers, races and rules come to, over HTTP and from the server's side."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import pytest

from reconciler.model import Absence, Calendar, Outcome, Tombstone
from reconciler.simulator.google import Fault, Harm
from reconciler.sources.answers import ProviderError
from reconciler.sources.claims import claim
from tests.contract.test_calendar_writers import ANN, LATER, SOON, VIEWING, GoogleDesk, google_desk


@pytest.fixture
def google() -> Iterator[GoogleDesk]:
    """Return an empty calendar; whatever a test does with it, nobody is told anything."""
    with google_desk() as desk:
        yield desk
        assert desk.told() == []


# ---- the cases of a poller that writes


def test_case_7_a_delete_that_finds_the_event_deleted_succeeded_and_reads_nothing_anew(google: GoogleDesk) -> None:
    event = google.made()
    google.meanwhile(lambda: google.remove(event.id))
    assert google.cancel(event.id).outcome is Outcome.ALREADY
    asked = [(entry.method, entry.status) for entry in google.server.requests()]
    assert asked == [("POST", 200), ("GET", 200), ("DELETE", 410)]


def test_case_22_an_insert_accepted_without_an_answer_commits_once_and_is_adopted(google: GoogleDesk) -> None:
    google.lose(carried_out=True)
    wrote = google.create()
    assert (wrote.outcome, wrote.event) == (Outcome.DONE, google.writer.find(google.calendar, google.claim()))
    assert [(entry.method, entry.status) for entry in google.server.requests()][:2] == [("POST", 0), ("GET", 200)]
    assert google.ann.log == [google.claim().id()]
    assert google.create().outcome is Outcome.ALREADY  # the next run, which knows nothing of it: 409, get, ours
    assert google.ann.log == [google.claim().id()]


def test_case_22_an_id_that_was_deleted_passes_its_turn_to_generation_two(google: GoogleDesk) -> None:
    google.remove(google.made().id)
    again = google.made()
    assert again.id == google.claim().id(1)
    private = google.ann.get(again.id)["extendedProperties"]["private"]
    assert private == {"crmClaim": again.id, "crmGeneration": "1", "crmId": "17"}


@pytest.mark.parametrize("properties", [{}, {"private": {"crmClaim": "another"}}, {"shared": {"crmId": "17"}}])
def test_case_22_an_event_of_somebody_elses_under_our_id_is_left_alone(google: GoogleDesk, properties: object) -> None:
    google.ann.insert(google.item(SOON, id=google.claim().id(), extendedProperties=properties))
    before = google.everything()
    assert google.create().outcome is Outcome.CONFLICT
    assert google.writer.find(google.calendar, google.claim()) is None
    assert google.everything() == before


def test_case_23_an_edit_in_between_is_not_overwritten_and_our_own_lost_write_is_known_as_done(
    google: GoogleDesk,
) -> None:
    event = google.made()
    google.retitle(event.id, "Second viewing")
    assert google.update(event.id, LATER, event.etag).outcome is Outcome.CONFLICT
    google.meanwhile(lambda: google.retitle(event.id, "Third viewing"))
    assert google.update(event.id, LATER).outcome is Outcome.CONFLICT
    assert [entry.status for entry in google.server.requests() if entry.method == "PUT"] == [412]
    assert google.says(event.id) == {**VIEWING, "title": "Third viewing"}
    version = google.version(event.id)
    google.lose(carried_out=True)
    assert google.update(event.id, LATER, version).outcome is Outcome.DONE
    assert google.update(event.id, LATER, version).outcome is Outcome.ALREADY
    assert google.says(event.id) == {**VIEWING, "title": "Third viewing", **LATER}


@pytest.mark.parametrize(
    "other",
    [
        {"eventType": "fromGmail"},
        {"eventType": "birthday"},
        {"eventType": "focusTime"},
        {"locked": True},
        {"privateCopy": True},
    ],
    ids=str,
)
def test_case_18_no_write_is_attempted_on_what_google_keeps_itself(
    google: GoogleDesk, other: dict[str, object]
) -> None:
    event = str(google.ann.insert(google.item(SOON, **other))["id"])
    assert google.update(event, LATER).outcome is google.cancel(event).outcome is Outcome.FAILED
    assert google.writes() == 0


def test_case_24_a_read_only_calendar_is_named_once_and_polled_on(google: GoogleDesk) -> None:
    google.tire()
    assert [google.create(crm_id=str(number)).outcome for number in range(5)] == [
        Outcome.FAILED,
        *([Outcome.DEFERRED] * 4),
    ]
    assert [entry.status for entry in google.server.requests()] == [403]


# ---- what Google may answer a write with


@pytest.mark.parametrize("harm", [Harm.DROP_AFTER, Harm.CUT, Harm.TORN_GZIP, Harm.TORN_JSON, Harm.OTHER_KIND])
def test_a_write_whose_answer_breaks_was_carried_out_once(google: GoogleDesk, harm: Harm) -> None:
    google.server.faults.add(Fault(method="POST", what=harm, times=1))
    google.server.faults.add(Fault(method="PUT", what=harm, times=1))
    event = google.made()
    assert google.update(event.id, LATER).outcome is Outcome.DONE
    assert len(google.ann.log) == google.writes() == 2
    assert google.says(event.id) == {**VIEWING, **LATER}


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="PUT", status=503, times=1),
        Fault(method="PUT", status=500, times=1),
        Fault(method="PUT", what=Harm.HTML, status=200, times=1),
        Fault(method="PUT", what=Harm.HTML, status=502, times=1),
    ],
    ids=["503", "500", "html with 200", "html with 502"],
)
def test_a_server_error_says_nothing_of_what_became_of_a_write(google: GoogleDesk, fault: Fault) -> None:
    event = google.made().id
    google.server.faults.add(fault)
    assert google.update(event, LATER).outcome is Outcome.UNKNOWN
    assert [entry.method for entry in google.server.requests()].count("PUT") == 1


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault(status=400, reason="invalid"), Outcome.FAILED),
        (Fault(status=403, reason="forbidden"), Outcome.FAILED),
        (Fault(status=403, reason="insufficientPermissions"), Outcome.FAILED),
        (Fault(status=403, reason="notACalendarUser"), Outcome.FAILED),
        (Fault(status=403, reason="accessNotConfigured"), Outcome.FAILED),
        (Fault(status=401, reason="authError"), Outcome.FAILED),
        (Fault(what=Harm.REDIRECT), Outcome.FAILED),
        (Fault(status=403, reason="dailyLimitExceeded"), Outcome.DEFERRED),
        (Fault(status=429, reason="rateLimitExceeded"), Outcome.DEFERRED),
        (Fault(what=Harm.NEW_STYLE, status=429, reason="rateLimitExceeded"), Outcome.DEFERRED),
    ],
    ids=lambda value: f"{value.status} {value.reason}" if isinstance(value, Fault) else "",
)
def test_a_refusal_is_no_write_and_no_exception(google: GoogleDesk, fault: Fault, outcome: Outcome) -> None:
    event = google.made()
    google.server.faults.add(fault)
    wrote = [google.create(crm_id="18"), google.update(event.id, LATER), google.cancel(event.id)]
    assert {one.outcome for one in wrote} == {outcome}
    assert all(one.why.startswith("nothing was written: ") for one in wrote)
    assert google.live() == [event.id]


def test_a_short_haste_is_waited_out(google: GoogleDesk) -> None:
    google.server.faults.add(Fault(method="POST", status=403, reason="rateLimitExceeded", retry_after=30, times=2))
    assert google.create().outcome is Outcome.DONE
    assert google.clock.at - datetime(2026, 11, 22, 12, tzinfo=UTC) >= timedelta(seconds=60)


def test_an_insert_that_arrives_late_is_found_and_there_once(google: GoogleDesk) -> None:
    google.server.faults.add(
        Fault(method="POST", what=Harm.DROP_BEFORE, nth=(1,)),
        Fault(method="POST", what=Harm.NONE, meanwhile=lambda: google.ann.insert(google.wire.sent[0].body)),
    )
    wrote = google.create()
    assert wrote.outcome is Outcome.DONE
    assert [entry.status for entry in google.server.requests()] == [0, 404, 409, 200]
    assert google.live() == [google.claim().id()]


def test_an_id_that_is_taken_by_what_is_not_shown_is_a_conflict(google: GoogleDesk) -> None:
    google.made()
    google.server.faults.add(Fault(method="GET", status=404, reason="notFound"))
    assert google.create().outcome is Outcome.CONFLICT
    assert google.live() == [google.claim().id()]


def test_an_event_of_ours_that_was_made_a_series_is_a_conflict(google: GoogleDesk) -> None:
    event = google.made()
    google.ann.patch(event.id, {"recurrence": ["RRULE:FREQ=WEEKLY"]})
    assert google.create().outcome is Outcome.CONFLICT
    assert google.cancel(event.id).outcome is Outcome.FAILED


def test_a_create_that_is_lost_where_ours_already_was_is_not_called_done(google: GoogleDesk) -> None:
    event = google.made()
    google.retitle(event.id, "Second viewing")
    before = google.everything()
    google.lose(carried_out=False)
    wrote = google.create()
    assert (wrote.outcome, "title" in wrote.why) == (Outcome.ALREADY, True)
    assert google.everything() == before


def test_an_answer_that_an_event_was_deleted_is_evidence_also_when_it_is_only_read(google: GoogleDesk) -> None:
    event = google.made()
    google.server.faults.add(Fault(method="GET", status=410, reason="deleted"))
    assert google.writer.find(google.calendar, event.id) == Tombstone(event.id, Absence.GONE)
    assert google.cancel(event.id).outcome is Outcome.ALREADY
    assert google.update(event.id, LATER).outcome is Outcome.CONFLICT


def test_an_access_that_is_lost_between_reading_and_writing_is_no_removal(google: GoogleDesk) -> None:
    event = google.made()
    google.meanwhile(google.shut)
    wrote = google.cancel(event.id)
    assert wrote.outcome is Outcome.CONFLICT
    assert google.live() == [event.id]


# ---- what is sent


def test_an_update_drops_nothing_of_what_google_and_people_put_there(google: GoogleDesk) -> None:
    rich = {
        "description": "<b>Bring the keys</b>",
        "colorId": "7",
        "visibility": "public",
        "transparency": "transparent",
        "guestsCanModify": True,
        "attendees": [{"email": ANN.email, "responseStatus": "accepted", "comment": "on my way"}],
        "reminders": {"useDefault": False, "overrides": [{"method": "popup", "minutes": 10}]},
        "extendedProperties": {"private": {"theirs": "1"}, "shared": {"also": "theirs"}},
        "source": {"url": "https://listings.example/12", "title": "Listing"},
        "conferenceData": {"conferenceId": "abc-defg-hij"},
        "attachments": [{"fileUrl": "https://files.example/plan.pdf", "title": "Plan"}],
    }
    event = str(google.ann.insert(google.item(SOON, **rich))["id"])
    before = google.ann.get(event)
    assert google.update(event, {**LATER, "title": "Second viewing"}).outcome is Outcome.DONE
    after = google.ann.get(event)
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    assert changed - {"etag", "updated", "sequence"} == {"start", "end", "summary"}
    assert {after[name]["timeZone"] for name in ("start", "end")} == {"America/Chicago"}


def test_every_write_names_its_version_its_agent_and_nobody_to_tell(google: GoogleDesk) -> None:
    event = google.made()
    google.update(event.id, LATER)
    google.cancel(event.id)
    queries = [parse_qs(urlsplit(sent.url).query) for sent in google.wire.sent]
    assert [sent.method for sent in google.wire.sent] == ["POST", "PUT", "DELETE"]
    assert [query["sendUpdates"] for query in queries] == [["none"]] * 3
    assert len({query["quotaUser"][0] for query in queries}) == 1
    assert [sent.headers.get("If-Match") for sent in google.wire.sent][:2] == [None, event.etag]
    assert not any("conferenceDataVersion" in query or "supportsAttachments" in query for query in queries)
    assert not any("attendees" in sent.body for sent in google.wire.sent)


def test_each_write_costs_what_it_must(google: GoogleDesk) -> None:
    event = google.made()
    google.update(event.id, LATER)
    google.cancel(event.id)
    assert [entry.method for entry in google.server.requests()] == ["POST", "GET", "PUT", "GET", "DELETE"]
    assert sum(entry.units for entry in google.server.requests()) == 5


def test_a_second_calendar_of_the_agents_organizes_as_itself(google: GoogleDesk) -> None:
    name = "tours@group.calendar.google.com"
    second = google.server.calendar(name)
    second.share(ANN.email, "owner")
    there = Calendar(source="google", kind="google", agent=ANN, name=name)
    wrote = google.writer.create(there, claim("acme", there, "17"), VIEWING)
    assert wrote.event
    changed = google.writer.update(there, wrote.event.id, LATER, version=wrote.event.etag)
    assert [wrote.outcome, changed.outcome] == [Outcome.DONE, Outcome.DONE]
    assert not google.live()


def test_a_calendar_that_may_only_be_read_is_not_written(google: GoogleDesk) -> None:
    event = google.book(SOON)
    google.ann.set_role("reader")
    assert google.update(event, LATER).outcome is google.create().outcome is Outcome.FAILED
    assert google.live() == [event]


def test_an_event_that_makes_no_sense_is_not_written(google: GoogleDesk) -> None:
    event = google.book(SOON)
    google.ann.rows[event].event["start"] = {"dateTime": "whenever"}
    assert google.update(event, LATER, google.version(event)).outcome is Outcome.FAILED
    assert google.cancel(event).outcome is Outcome.FAILED
    with pytest.raises(ProviderError):
        google.writer.find(google.calendar, event)
    assert google.writes() == 0
