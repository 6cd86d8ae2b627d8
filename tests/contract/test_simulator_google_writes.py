"""The stand-in Google is written as the provider is: ids, versions, copies for guests, refusals."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from googleapiclient.errors import HttpError

from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_series import Resource
from tests.contract.google_client import (
    ANN,
    BOB,
    CID,
    CLIENT,
    MONDAY,
    Client,
    Clients,
    Clock,
    begins,
    ids,
    refused,
    timed,
    weekly,
)

# Writes: facts §2.


@pytest.mark.parametrize("name", ["abcw1", "ABCDE", "abc-d", "abcd", "a" * 1025])
def test_an_id_of_a_client_is_base32hex(ann: Client, name: str) -> None:
    request = ann.events.insert(calendarId="primary", body=timed(MONDAY, id=name))
    with pytest.raises(HttpError, match="Invalid resource id value"):
        ann(request)


def test_an_id_is_taken_for_ever(ann: Client) -> None:
    body = timed(MONDAY, id="abcde")
    assert ann(ann.events.insert(calendarId="primary", body=body))["id"] == "abcde"
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (409, "duplicate")
    assert ann(ann.events.delete(calendarId="primary", eventId="abcde")) == ""
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (409, "duplicate")
    assert ann(ann.events.get(calendarId="primary", eventId="abcde"))["status"] == "cancelled"


def test_of_two_inserts_at_once_one_wins(clients: Clients) -> None:
    def insert(client: Client) -> int:
        try:
            client(client.events.insert(calendarId="primary", body=timed(MONDAY, id="abcde")))
        except HttpError as error:
            return int(error.status_code)
        return 200

    with ThreadPoolExecutor(8) as pool:
        statuses = list(pool.map(insert, [clients(ANN) for _ in range(8)]))
    assert sorted(statuses) == [200] + [409] * 7


def test_a_write_on_another_version_is_refused(server: GoogleSimulator, ann: Client) -> None:
    first = server.calendar(ANN).insert(timed(MONDAY))
    second = server.calendar(ANN).patch(first["id"], {"summary": "Edited by hand"})
    assert first["etag"] != second["etag"]
    one: dict[str, Any] = {"calendarId": "primary", "eventId": first["id"]}
    for request in (
        ann.events.patch(**one, body={"summary": "x"}),
        ann.events.update(**one, body=timed(MONDAY)),
        ann.events.delete(**one),
        ann.events.move(**one, destination=ANN),
    ):
        assert refused(ann, request, If_Match=first["etag"]) == (412, "conditionNotMet")
    assert server.calendar(ANN).get(first["id"])["summary"] == "Edited by hand"
    assert ann(ann.events.patch(**one, body={"summary": "x"}), If_Match=second["etag"])["summary"] == "x"


def test_what_is_known_is_not_sent_again(server: GoogleSimulator, ann: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))
    request = ann.events.get(calendarId="primary", eventId=made["id"])
    with pytest.raises(HttpError) as caught:
        ann(request, If_None_Match=made["etag"])
    assert caught.value.status_code == 304


def test_an_update_replaces_and_a_patch_merges(server: GoogleSimulator, ann: Client) -> None:
    marks = {"private": {"crmId": "17", "crmGen": "1"}}
    made = server.calendar(ANN).insert(
        timed(
            MONDAY,
            location="12 Elm Street",
            description="Keys",
            extendedProperties=marks,
            attendees=[{"email": CLIENT}],
        )
    )
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    body = {"location": None, "extendedProperties": {"private": {"crmGen": None, "crmHash": "f"}}}
    patched = ann(ann.events.patch(**one, body=body))
    assert "location" not in patched
    assert patched["extendedProperties"] == {"private": {"crmId": "17", "crmHash": "f"}}
    assert patched["description"] == "Keys"
    other = [{"email": "dora@client.example"}]
    assert [guest["email"] for guest in ann(ann.events.patch(**one, body={"attendees": other}))["attendees"]] == [
        "dora@client.example"
    ]
    updated = ann(ann.events.update(**one, body=timed(MONDAY + timedelta(hours=1))))
    assert updated.keys().isdisjoint({"attendees", "description", "extendedProperties"})
    assert (updated["iCalUID"], updated["created"]) == (made["iCalUID"], made["created"])


def test_between_all_day_and_timed_the_other_field_must_be_taken_away(server: GoogleSimulator, ann: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))["id"]
    half = {"start": {"date": "2026-03-02"}, "end": {"date": "2026-03-03"}}
    whole = {name: value | {"dateTime": None} for name, value in half.items()}
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made}
    assert refused(ann, ann.events.patch(**one, body=half)) == (400, "invalid")
    assert ann(ann.events.patch(**one, body=whole))["start"] == {"date": "2026-03-02"}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ({"summary": "no times"}, "required"),
        (timed(MONDAY, minutes=-1), "timeRangeEmpty"),
        (timed(MONDAY) | {"end": {"date": "2026-03-02"}}, "invalid"),
        (timed(MONDAY, eventType="fromGmail"), "eventTypeRestriction"),
    ],
)
def test_what_makes_no_event_is_refused(ann: Client, body: Resource, reason: str) -> None:
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (400, reason)


def test_deleting_again_says_deleted_and_what_never_was_is_not_found(ann: Client) -> None:
    made = ann(ann.events.insert(calendarId="primary", body=timed(MONDAY)))["id"]
    delete: dict[str, Any] = {"calendarId": "primary", "eventId": made}
    assert ann(ann.events.delete(**delete)) == ""
    assert refused(ann, ann.events.delete(**delete)) == (410, "deleted")
    assert refused(ann, ann.events.patch(**delete, body={"summary": "x"})) == (410, "deleted")
    never = ann.events.delete(calendarId="primary", eventId="never")
    assert refused(ann, never) == (404, "notFound")


def test_an_organizer_can_take_a_deletion_back(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))["id"]
    server.calendar(ANN).delete(made)
    again = ann(ann.events.patch(calendarId="primary", eventId=made, body={"status": "confirmed"}))
    assert (again["status"], again["summary"]) == ("confirmed", "Showing")
    assert bob(bob.events.get(calendarId="primary", eventId=made))["status"] == "confirmed"


def test_reminders_do_not_move_the_time_of_the_change(server: GoogleSimulator, ann: Client, clock: Clock) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY))
    clock.advance(60)
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    reminded = ann(ann.events.patch(**one, body={"reminders": {"useDefault": False}}))
    assert (reminded["updated"], reminded["sequence"]) == (made["updated"], 0)
    assert reminded["etag"] != made["etag"]
    renamed = ann(ann.events.patch(**one, body={"summary": "x"}))
    assert (renamed["updated"], renamed["sequence"]) == ("2026-03-02T12:01:00.000Z", 0)
    moved = ann(ann.events.patch(**one, body=timed(MONDAY + timedelta(hours=1))))
    assert moved["sequence"] == 1


def test_conferences_and_attachments_are_dropped_without_a_word(ann: Client) -> None:
    more: dict[str, Any] = {
        "conferenceData": {"conferenceId": "x"},
        "attachments": [{"fileUrl": "https://files.example/1"}],
    }
    body = timed(MONDAY, **more)
    assert ann(ann.events.insert(calendarId="primary", body=body)).keys().isdisjoint(more)
    aware = {"conferenceDataVersion": 1, "supportsAttachments": True}
    assert ann(ann.events.insert(calendarId="primary", body=body, **aware)).keys() >= more.keys()


def test_an_import_is_a_private_copy_and_comes_once(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, iCalUID="u@elsewhere.example", organizer={"email": "olga@elsewhere.example"})
    first = ann(ann.events.import_(calendarId="primary", body=body))
    again = ann(ann.events.import_(calendarId="primary", body=body | {"summary": "Again"}))
    assert (again["id"], again["summary"]) == (first["id"], "Again")
    assert (first["privateCopy"], first["organizer"]) == (True, {"email": "olga@elsewhere.example"})
    assert len(server.calendar(ANN).events()) == 1


# Copies of a meeting: facts §1.8, §2.


def test_guests_have_copies_with_the_same_id(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": ANN, "responseStatus": "accepted"}, {"email": BOB}, {"email": CLIENT}])
    made = ann(ann.events.insert(calendarId="primary", body=body))
    [hers], [his] = ann.page()["items"], bob.page()["items"]
    assert (his["id"], his["iCalUID"]) == (hers["id"], hers["iCalUID"]) == (made["id"], made["iCalUID"])
    assert (hers["organizer"], his["organizer"]) == ({"email": ANN, "self": True}, {"email": ANN})
    assert [[guest.get("self", False) for guest in copy["attendees"]] for copy in (hers, his)] == [
        [True, False, False],
        [False, True, False],
    ]
    ann(ann.events.patch(calendarId="primary", eventId=made["id"], body={"summary": "Renamed"}))
    assert bob.page()["items"][0]["summary"] == "Renamed"
    server.calendar(ANN).move_to(server.calendar(CID), made["id"])
    assert bob.page()["items"][0]["organizer"] == {"email": CID}


def test_private_marks_stay_on_their_copy(server: GoogleSimulator, bob: Client) -> None:
    marks = {"private": {"crmId": "17"}, "shared": {"deal": "3"}}
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}], extendedProperties=marks))
    assert bob.page()["items"][0]["extendedProperties"] == {"shared": {"deal": "3"}}


def test_a_guest_changes_his_answer_and_nothing_else(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}, {"email": CLIENT}]))
    one: dict[str, Any] = {"calendarId": "primary", "eventId": made["id"]}
    for body in ({"summary": "x"}, {"attendees": [{"email": BOB}]}, {"status": "tentative"}):
        assert refused(bob, bob.events.patch(**one, body=body)) == (403, "forbiddenForNonOrganizer")
    # facts §2: a PUT that leaves the shared properties out counts as setting them.
    bare = {"start": made["start"], "end": made["end"]}
    assert refused(bob, bob.events.update(**one, body=bare)) == (403, "forbiddenForNonOrganizer")
    answered = [
        guest | {"responseStatus": "declined"} if guest["email"] == BOB else guest for guest in made["attendees"]
    ]
    bob(bob.events.patch(**one, body={"attendees": answered, "colorId": "3"}))
    hers = server.calendar(ANN).get(made["id"])
    assert [guest["responseStatus"] for guest in hers["attendees"]] == ["declined", "needsAction"]
    assert "colorId" not in hers


def test_answers_of_a_crowd_are_not_passed_on(server: GoogleSimulator) -> None:
    crowd = [{"email": BOB}, *({"email": f"guest{number}@client.example"} for number in range(200))]
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=crowd))["id"]
    server.calendar(BOB).respond(made, "accepted")
    assert server.calendar(ANN).get(made)["attendees"][0]["responseStatus"] == "needsAction"


def test_a_guest_who_throws_his_copy_away_declines(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))
    token = bob.token()
    bob(bob.events.delete(calendarId="primary", eventId=made["id"]))
    [his] = bob.delta(token, showDeleted=True)
    assert (his["status"], his["summary"]) == ("cancelled", "Showing")
    hers = server.calendar(ANN).get(made["id"])
    assert (hers["status"], hers["attendees"][0]["responseStatus"]) == ("confirmed", "declined")
    server.calendar(ANN).patch(made["id"], {"summary": "Renamed"})
    assert bob.page()["items"] == []


def test_a_guest_who_is_no_longer_invited_loses_his_copy(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}, {"email": CLIENT}]))
    server.calendar(ANN).patch(made["id"], {"attendees": [{"email": CLIENT}]})
    assert bob.page()["items"] == []
    server.calendar(ANN).invite(made["id"], BOB)
    assert ids(bob.page()["items"]) == [made["id"]]


def test_one_occurrence_is_cancelled_for_all(server: GoogleSimulator, bob: Client) -> None:
    made = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2", attendees=[{"email": BOB}]))
    server.calendar(ANN).cancel_occurrence(made["id"], MONDAY)
    assert [begins(item).day for item in bob.page(singleEvents=True)["items"]] == [9]
    server.calendar(BOB).respond(f"{made['id']}_20260309T150000Z", "declined")
    hers = server.calendar(ANN).get(f"{made['id']}_20260309T150000Z")
    assert hers["attendees"][0]["responseStatus"] == "declined"
    assert server.calendar(ANN).get(made["id"])["attendees"][0]["responseStatus"] == "needsAction"


def test_deleted_with_none_a_meeting_stays_with_its_guests(ann: Client, bob: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": BOB}])
    for policy, left in (("none", 1), ("all", 0)):
        made = ann(ann.events.insert(calendarId="primary", body=body))["id"]
        ann(ann.events.delete(calendarId="primary", eventId=made, sendUpdates=policy))
        kept = [item for item in bob.page()["items"] if item["id"] == made]
        assert len(kept) == left


def test_mails_are_noted(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, attendees=[{"email": ANN}, {"email": BOB}, {"email": CLIENT}])
    for policy in (None, "none", "externalOnly", "all"):
        ann(ann.events.insert(calendarId="primary", body=body, sendUpdates=policy))
    assert [address for address, _ in server.world.mails] == [CLIENT, BOB, CLIENT]


def test_a_move_changes_the_organizer_and_leaves_a_bare_row(server: GoogleSimulator, ann: Client, bob: Client) -> None:
    server.calendar(BOB).share(ANN, "writer")
    made = server.calendar(ANN).insert(timed(MONDAY))
    token = ann.token()
    left = ann(ann.events.move(calendarId="primary", eventId=made["id"], destination=BOB))
    assert left["status"] == "cancelled"
    assert [item.keys() for item in ann.delta(token, showDeleted=True)] == [{"kind", "etag", "id", "status"}]
    [his] = bob.page()["items"]
    assert (his["id"], his["iCalUID"]) == (made["id"], made["iCalUID"])
    assert his["organizer"] == {"email": BOB, "self": True}
