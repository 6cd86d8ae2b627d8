"""The stand-in Graph is written to as the provider is: once, in the version that was decided on, and with its mails."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest
import requests

from reconciler.simulator.graph import Fault, GraphSimulator, Harm
from reconciler.simulator.graph_mailboxes import Mailbox
from reconciler.simulator.graph_series import Resource
from tests.contract.graph_client import (
    CID,
    CLIENT,
    DEE,
    DENVER,
    MONDAY,
    Client,
    Clock,
    at,
    begins,
    guests,
    ids,
    kinds,
    refused,
    timed,
    weekly,
    whole_day,
)

EVENTS = f"users/{CID}/events"
MARK = "String {66F5A359-4659-4830-9070-00047EC6AC6E} Name CrmAppointmentId"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[GraphSimulator]:
    with GraphSimulator(seed=7, clock=clock) as server:
        server.mailbox(CID, DENVER)
        server.mailbox(DEE, DENVER)
        yield server


@pytest.fixture
def mailbox(server: GraphSimulator) -> Mailbox:
    return server.mailbox(CID)


@pytest.fixture
def graph(server: GraphSimulator) -> Iterator[Client]:
    client = Client(server, server.token())
    yield client
    client.close()


def created(graph: Client, body: Resource) -> Any:
    answer = graph("POST", EVENTS, body)
    assert answer.status_code == 201, answer.text
    return answer.json()


# Creating: facts §3.


def test_an_event_is_created_and_told(server: GraphSimulator, graph: Client) -> None:
    link = graph.link(CID)
    made = created(graph, timed(subject="Showing 12 Elm St", location={"displayName": "12 Elm St"}))
    assert (made["subject"], made["location"]["displayName"]) == ("Showing 12 Elm St", "12 Elm St")
    assert (made["isOrganizer"], made["type"]) == (True, "singleInstance")
    assert ids(graph.delta(link)) == [made["id"]]
    assert server.world.mails == []


def test_only_exchange_says_who_organizes(graph: Client) -> None:
    made = created(graph, timed(id="mine", isOrganizer=False, isCancelled=True, changeKey="x", iCalUId="y"))
    assert (made["isOrganizer"], made["isCancelled"]) == (True, False)
    assert not {"mine", "x", "y"} & {made["id"], made["changeKey"], made["iCalUId"]}


def test_the_same_transaction_is_the_same_event(graph: Client, mailbox: Mailbox) -> None:
    body = timed(transactionId="crm:17:1")
    first, second = created(graph, body), created(graph, dict(reversed(list(body.items()))))
    assert first["id"] == second["id"]
    assert first["transactionId"] == "crm:17:1"
    assert len(mailbox.events()) == 1
    answer = graph("POST", EVENTS, body | {"subject": "Another"})
    assert refused(answer) == (400, "ErrorDuplicateTransactionId")
    assert answer.json()["error"]["@event.existingEventId"] == first["id"]


def test_a_transaction_outlives_its_event(graph: Client, mailbox: Mailbox) -> None:
    body = timed(transactionId="crm:17:1")
    mailbox.delete(created(graph, body)["id"])
    assert refused(graph("POST", EVENTS, body)) == (400, "ErrorDuplicateTransactionId")
    assert created(graph, body | {"transactionId": "crm:17:2"})["transactionId"] == "crm:17:2"


def test_a_transaction_belongs_to_its_mailbox(graph: Client) -> None:
    body = timed(transactionId="crm:17:1")
    created(graph, body)
    assert graph("POST", f"users/{DEE}/events", body).status_code == 201


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"subject": "No time"}, "ErrorPropertyValidationFailure"),
        (timed() | {"end": at(MONDAY - timedelta(hours=1))}, "ErrorCalendarEndDateIsEarlierThanStartDate"),
        (timed() | {"start": at(MONDAY, "Nowhere")}, "TimeZoneNotSupportedException"),
        (timed() | {"start": {"dateTime": "soon", "timeZone": "UTC"}}, "ErrorPropertyValidationFailure"),
        (timed(isAllDay=True), "ErrorPropertyValidationFailure"),
        (whole_day("2026-03-04", "2026-03-04"), "ErrorPropertyValidationFailure"),
        (timed(attendees=guests(*(f"{n}@client.example" for n in range(501)))), "ErrorInvalidRecipients"),
        (timed(recurrence={"pattern": {"type": "hourly"}, "range": {"type": "noEnd"}}), "ErrorInvalidArgument"),
        (timed(recurrence="weekly"), "ErrorInvalidArgument"),
        (timed(attendees="everybody"), "BadRequest"),
        (timed(singleValueExtendedProperties=[{"id": MARK}]), "BadRequest"),
        ([], "BadRequest"),
    ],
    ids=[
        "no time",
        "ends first",
        "zone",
        "no such time",
        "all day",
        "no day",
        "a crowd",
        "pattern",
        "a word",
        "no list",
        "no value",
        "a list",
    ],
)
def test_what_makes_no_sense_is_refused(graph: Client, mailbox: Mailbox, body: Any, code: str) -> None:
    assert refused(graph("POST", EVENTS, body)) == (400, code)
    assert mailbox.events() == []


def test_attendees_of_what_is_created_are_mailed(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(DEE, CLIENT)))
    assert server.world.mails == [(DEE, made["id"]), (CLIENT, made["id"])]
    (copy,) = server.mailbox(DEE).events()
    assert copy["iCalUId"] == made["iCalUId"]


def test_a_whole_day_is_created(graph: Client) -> None:
    made = created(graph, whole_day(zone="UTC"))
    assert (made["isAllDay"], made["start"]["dateTime"]) == (True, "2026-03-04T00:00:00.0000000")


# Extended properties: facts §3.


def found(graph: Client, name: str, value: str) -> list[Any]:
    wanted = f"singleValueExtendedProperties/Any(ep: ep/id eq '{name}' and ep/value eq '{value}')"
    items: list[Any] = graph.get(f"{EVENTS}?$filter={quote(wanted)}")["value"]
    return items


def test_an_event_is_found_by_our_mark(graph: Client) -> None:
    made = created(graph, timed(singleValueExtendedProperties=[{"id": MARK, "value": "Crm-17"}]))
    created(graph, timed())
    assert ids(found(graph, MARK, "Crm-17")) == [made["id"]]
    # Values are compared without case, names with it; the property itself is not in the answer.
    assert "singleValueExtendedProperties" not in found(graph, MARK, "crm-17")[0]
    assert found(graph, MARK.replace("Crm", "crm"), "Crm-17") == []
    assert found(graph, MARK, "Crm-1") == []
    kind, guid, rest = MARK.split(" ", 2)
    assert ids(found(graph, f"{kind} {guid.lower()} {rest}", "Crm-17")) == [made["id"]]


def test_our_mark_is_told_where_it_is_expanded(graph: Client) -> None:
    made = created(graph, timed(singleValueExtendedProperties=[{"id": MARK, "value": "17"}]))
    assert "singleValueExtendedProperties" not in made
    expanded = quote(f"singleValueExtendedProperties($filter=id eq '{MARK}')")
    (told,) = graph.get(f"{EVENTS}/{made['id']}?$expand={expanded}")["singleValueExtendedProperties"]
    assert told["value"] == "17"
    assert told["id"].endswith("Name CrmAppointmentId")
    graph("PATCH", f"{EVENTS}/{made['id']}", {"singleValueExtendedProperties": [{"id": MARK, "value": "18"}]})
    assert ids(found(graph, MARK, "18")) == [made["id"]]


# Changing: facts §3, §4, §7.


def test_a_patch_changes_what_it_names(graph: Client) -> None:
    made = created(graph, timed(subject="Showing", body={"contentType": "text", "content": "Bring keys"}))
    later = MONDAY + timedelta(hours=2)
    answer = graph("PATCH", f"{EVENTS}/{made['id']}", {"start": at(later), "end": at(later + timedelta(hours=1))})
    changed = answer.json()
    assert (answer.status_code, begins(changed), changed["subject"]) == (200, later, "Showing")
    assert changed["body"] == made["body"]
    assert changed["changeKey"] != made["changeKey"]


def test_a_start_alone_does_not_move_the_end(graph: Client) -> None:
    made = created(graph, timed())
    early = graph("PATCH", f"{EVENTS}/{made['id']}", {"start": at(MONDAY - timedelta(hours=1))}).json()
    assert early["end"] == made["end"]
    late = graph("PATCH", f"{EVENTS}/{made['id']}", {"start": at(MONDAY + timedelta(hours=5))})
    assert refused(late) == (400, "ErrorCalendarEndDateIsEarlierThanStartDate")


def test_times_written_in_utc_forget_their_zone(graph: Client, mailbox: Mailbox) -> None:
    ten = datetime(2026, 3, 2, 10, tzinfo=UTC)
    made = mailbox.insert(timed() | {"start": at(ten, DENVER), "end": at(ten + timedelta(hours=1), DENVER)})
    body = {"start": at(MONDAY), "end": at(MONDAY + timedelta(hours=1))}
    assert made["originalStartTimeZone"] == "Mountain Standard Time"
    assert graph("PATCH", f"{EVENTS}/{made['id']}", body).json()["originalStartTimeZone"] == "UTC"


@pytest.mark.parametrize("method", ["PATCH", "DELETE"])
def test_a_write_is_for_one_version(graph: Client, mailbox: Mailbox, method: str) -> None:
    made = created(graph, timed())
    mailbox.patch(made["id"], {"subject": "Changed by the agent"})
    name, body = f"{EVENTS}/{made['id']}", {"subject": "Ours"} if method == "PATCH" else None
    assert refused(graph(method, name, body, If_Match=made["@odata.etag"])) == (412, "ErrorIrresolvableConflict")
    assert mailbox.get(made["id"])["subject"] == "Changed by the agent"
    etag = graph.get(name)["@odata.etag"]
    assert graph(method, name, body, If_Match=etag).status_code == (200 if method == "PATCH" else 204)


def test_without_a_precondition_the_last_one_wins(graph: Client, mailbox: Mailbox) -> None:
    made = created(graph, timed())
    mailbox.patch(made["id"], {"subject": "Changed by the agent"})
    assert graph("PATCH", f"{EVENTS}/{made['id']}", {"subject": "Ours"}).json()["subject"] == "Ours"


def test_what_only_exchange_sets_stays(graph: Client) -> None:
    made = created(graph, timed(transactionId="crm:1:1"))
    wrong = {"transactionId": "crm:2:1", "iCalUId": "other", "organizer": {}, "responseStatus": {}, "type": "exception"}
    changed = graph("PATCH", f"{EVENTS}/{made['id']}", wrong).json()
    assert {name: changed[name] for name in wrong} == {name: made[name] for name in wrong}


def test_attendees_are_replaced_as_a_whole_and_mailed(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(DEE)))
    server.world.mails.clear()
    graph("PATCH", f"{EVENTS}/{made['id']}", {"attendees": guests(CLIENT)})
    assert sorted(server.world.mails) == sorted([(DEE, made["id"]), (CLIENT, made["id"])])
    (copy,) = server.mailbox(DEE).events()
    assert copy["isCancelled"] is True


def test_a_patch_of_a_copy_stays_local_and_mails_nobody(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(DEE)))
    server.world.mails.clear()
    (copy,) = server.mailbox(DEE).events()
    graph("PATCH", f"users/{DEE}/events/{copy['id']}", {"subject": "My own words"})
    assert server.world.mails == []
    assert server.mailbox(CID).get(made["id"])["subject"] == "Showing"
    # What the organizer sends next overwrites it.
    server.mailbox(CID).patch(made["id"], {"location": {"displayName": "Elsewhere"}})
    assert server.mailbox(DEE).get(copy["id"])["subject"] == "Showing"


def test_an_occurrence_that_is_patched_becomes_an_exception(graph: Client, mailbox: Mailbox) -> None:
    mailbox.insert(weekly())
    items, link = graph.round(graph.first(CID))
    name = f"{EVENTS}/{items[1]['id']}"
    later = MONDAY + timedelta(hours=2)
    changed = graph("PATCH", name, {"start": at(later), "end": at(later + timedelta(hours=1))}).json()
    assert (changed["type"], changed["originalStart"]) == ("exception", "2026-03-02T17:00:00Z")
    far = MONDAY + timedelta(days=8)
    crossing = graph("PATCH", name, {"start": at(far), "end": at(far + timedelta(hours=1))})
    assert refused(crossing) == (400, "ErrorOccurrenceCrossingBoundary")
    assert kinds(graph.delta(link)) == ["seriesMaster", "exception"]


def test_a_series_can_become_a_single_event_and_back(graph: Client, mailbox: Mailbox) -> None:
    master = mailbox.insert(weekly())
    mailbox.move_occurrence(master["id"], MONDAY, MONDAY + timedelta(hours=2))
    link = graph.link(CID)
    name = f"{EVENTS}/{master['id']}"
    assert graph("PATCH", name, {"recurrence": None}).json()["type"] == "singleInstance"
    items, link = graph.round(link)
    assert kinds(items) == ["singleInstance"]
    assert graph("PATCH", name, {"recurrence": master["recurrence"]}).json()["type"] == "seriesMaster"
    assert kinds(graph.delta(link)) == ["seriesMaster"] + ["occurrence"] * 5


# Deleting: facts §4.


def test_what_is_deleted_is_gone_and_stays_so(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(DEE)))
    server.world.mails.clear()
    assert graph("DELETE", f"{EVENTS}/{made['id']}").status_code == 204
    assert server.world.mails == [(DEE, made["id"])]
    for method in ("DELETE", "GET", "PATCH"):
        assert refused(graph(method, f"{EVENTS}/{made['id']}", {})) == (404, "ErrorItemNotFound")


def test_an_attendee_who_deletes_mails_nobody(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(DEE)))
    server.world.mails.clear()
    (copy,) = server.mailbox(DEE).events()
    assert graph("DELETE", f"users/{DEE}/events/{copy['id']}").status_code == 204
    assert server.world.mails == []
    assert server.mailbox(CID).get(made["id"])["isCancelled"] is False


# Writes whose end is not known: facts §0.7, §8 case 24.


@pytest.mark.parametrize("harm", [Harm.DROP_AFTER, Harm.LATE_ERROR])
def test_a_create_can_be_carried_out_and_look_failed(
    server: GraphSimulator, graph: Client, mailbox: Mailbox, harm: Harm
) -> None:
    server.faults.add(Fault(what=harm, method="POST", path="/events", times=1))
    body = timed(transactionId="crm:17:1")
    if harm is Harm.DROP_AFTER:
        with pytest.raises(requests.exceptions.ConnectionError):
            graph("POST", EVENTS, body)
    else:
        assert graph("POST", EVENTS, body).status_code == 503
    (stored,) = mailbox.events()
    assert created(graph, body)["id"] == stored["id"]
    assert len(mailbox.events()) == 1


def test_a_patch_that_is_sent_again_mails_again(server: GraphSimulator, graph: Client) -> None:
    made = created(graph, timed(attendees=guests(CLIENT)))
    server.world.mails.clear()
    server.faults.add(Fault(what=Harm.LATE_ERROR, method="PATCH", times=20))
    for _ in range(20):
        answer = graph("PATCH", f"{EVENTS}/{made['id']}", {"subject": "Moved"})
        assert (answer.status_code, answer.content) == (503, b"")
    assert server.world.mails == [(CLIENT, made["id"])] * 20
    assert graph.get(f"{EVENTS}/{made['id']}")["subject"] == "Moved"


def test_a_write_that_did_not_arrive_changed_nothing(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    server.faults.add(Fault(what=Harm.DROP_BEFORE, method="POST", times=1))
    with pytest.raises(requests.exceptions.ConnectionError):
        graph("POST", EVENTS, timed())
    assert mailbox.events() == []


def test_somebody_can_be_quicker(server: GraphSimulator, graph: Client, mailbox: Mailbox) -> None:
    made = created(graph, timed())
    server.faults.add(
        Fault(what=Harm.NONE, method="PATCH", meanwhile=lambda: mailbox.patch(made["id"], {"subject": "Agent's"}))
    )
    answer = graph("PATCH", f"{EVENTS}/{made['id']}", {"subject": "Ours"}, If_Match=made["@odata.etag"])
    assert refused(answer) == (412, "ErrorIrresolvableConflict")
    assert mailbox.get(made["id"])["subject"] == "Agent's"
