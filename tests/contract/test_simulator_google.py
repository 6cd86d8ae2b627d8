"""The stand-in Google is read as the provider is: asked by the provider's own client, over HTTP, answer by answer."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator.google import GoogleSimulator, Rules
from reconciler.simulator.google_series import Resource
from tests.contract.google_client import (
    ANN,
    BOB,
    CHICAGO,
    CID,
    CLIENT,
    MONDAY,
    NOW,
    Client,
    Clients,
    Clock,
    begins,
    ids,
    refused,
    timed,
    weekly,
)
from tests.discovery import check

# Full reads and deltas: facts §1.1 to §1.6.


def test_pages_are_walked_to_the_sync_token(server: GoogleSimulator, ann: Client) -> None:
    made = [server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(7)]
    pages = ann.walk(maxResults=3)
    assert [len(page["items"]) for page in pages] == [3, 3, 1]
    assert ["nextPageToken" in page for page in pages] == [True, True, False]
    assert ["nextSyncToken" in page for page in pages] == [False, False, True]
    assert [item["id"] for page in pages for item in page["items"]] == made
    for page in pages:
        assert (page["accessRole"], page["timeZone"], page["summary"]) == ("owner", CHICAGO, ANN)


def test_an_empty_delta_has_a_new_token_and_an_old_one_replays(server: GoogleSimulator, ann: Client) -> None:
    first = ann.token()
    page = ann.page(syncToken=first)
    assert page["items"] == []
    assert page["nextSyncToken"] != first
    made = server.calendar(ANN).insert(timed(MONDAY))["id"]
    assert ids(ann.delta(first)) == ids(ann.delta(page["nextSyncToken"])) == [made]


def test_what_changes_while_pages_turn_comes_with_the_next_delta(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    made = [calendar.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(4)]
    first = ann.page(maxResults=2)
    calendar.patch(made[0], {"summary": "Changed behind the reader"})
    last = ann.page(maxResults=2, pageToken=first["nextPageToken"])
    assert ids(first["items"] + last["items"]) == made
    assert ids(ann.delta(last["nextSyncToken"])) == [made[0]]


def test_a_delta_of_many_pages_can_be_walked_again_from_its_old_token(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    made = [server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(5)]
    pages = ann.walk(syncToken=token, maxResults=2)
    assert [len(page["items"]) for page in pages] == [2, 2, 1]
    assert ids(ann.delta(token, maxResults=2)) == made


@pytest.mark.parametrize(
    "forbidden",
    [
        {"iCalUID": "x"},
        {"privateExtendedProperty": "a=b"},
        {"q": "x"},
        {"sharedExtendedProperty": "a=b"},
        {"timeMin": "2026-03-02T00:00:00Z"},
        {"timeMax": "2026-03-02T00:00:00Z"},
        {"updatedMin": "2026-03-02T00:00:00Z"},
        {"orderBy": "updated"},
        {"showDeleted": False},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_some_parameters_may_not_stand_beside_a_sync_token(ann: Client, forbidden: dict[str, Any]) -> None:
    request = ann.events.list(calendarId="primary", syncToken=ann.token(), **forbidden)
    assert refused(ann, request) == (400, "invalid")


@pytest.mark.parametrize("other", [{"singleEvents": True}, {"eventTypes": ["default"]}, {"maxAttendees": 1}])
def test_a_chain_keeps_its_parameters(ann: Client, other: dict[str, Any]) -> None:
    request = ann.events.list(calendarId="primary", syncToken=ann.token(), **other)
    assert refused(ann, request) == (400, "invalid")


def test_a_page_belongs_to_its_query(server: GoogleSimulator, ann: Client) -> None:
    for day in range(3):
        server.calendar(ANN).insert(timed(MONDAY + timedelta(days=day)))
    page = ann.page(maxResults=1)["nextPageToken"]
    assert refused(ann, ann.events.list(calendarId="primary", pageToken=page, showDeleted=True)) == (400, "invalid")
    assert refused(ann, ann.events.list(calendarId="primary", pageToken="rubbish")) == (400, "invalid")


@pytest.mark.parametrize("filtered", [{"orderBy": "updated"}, {"q": "x"}, {"privateExtendedProperty": "a=b"}])
def test_a_filtered_baseline_gives_no_sync_token(ann: Client, filtered: dict[str, str]) -> None:
    assert "nextSyncToken" not in ann.page(**filtered)


def test_sync_tokens_die(server: GoogleSimulator, ann: Client, clients: Clients, clock: Clock) -> None:
    token = ann.token()
    server.calendar(ANN).kill_tokens()
    assert refused(ann, ann.events.list(calendarId="primary", syncToken=token)) == (410, "fullSyncRequired")
    assert ann.delta(ann.token()) == []
    assert refused(ann, ann.events.list(calendarId="primary", syncToken="rubbish")) == (400, "invalid")
    with GoogleSimulator(clock=clock, rules=Rules(token_lifetime=timedelta(days=28))) as short:
        short.calendar(ANN)
        old = clients(ANN, of=short).token()
        clock.advance(timedelta(days=29).total_seconds())
        later = clients(ANN, of=short)
        assert refused(later, later.events.list(calendarId="primary", syncToken=old)) == (410, "fullSyncRequired")


def test_watching_by_time_shows_what_was_deleted_since(server: GoogleSimulator, ann: Client) -> None:
    gone = server.calendar(ANN).insert(timed(MONDAY))["id"]
    server.calendar(ANN).delete(gone)
    assert ids(ann.page(updatedMin=NOW.isoformat())["items"]) == [gone]


def test_watching_by_time_reaches_four_weeks_back(ann: Client) -> None:
    old = (NOW - timedelta(days=29)).isoformat()
    request = ann.events.list(calendarId="primary", updatedMin=old)
    assert refused(ann, request) == (410, "updatedMinTooLongAgo")


def test_tombstones_disappear_in_time_and_cancelled_occurrences_do_not(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    gone = calendar.insert(timed(MONDAY, id="abcde"))["id"]
    master = calendar.insert(weekly())["id"]
    calendar.cancel_occurrence(master, MONDAY)
    calendar.delete(gone)
    calendar.forget_deleted()
    assert ids(ann.page(showDeleted=True)["items"]) == [master, f"{master}_20260302T160000Z"]
    assert refused(ann, ann.events.get(calendarId="primary", eventId=gone)) == (404, "notFound")
    # facts §2: its id stays taken all the same.
    again = ann.events.insert(calendarId="primary", body=timed(MONDAY, id="abcde"))
    assert refused(ann, again) == (409, "duplicate")


def test_a_change_of_role_kills_tokens_unless_it_is_told_not_to(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    server.calendar(ANN).set_role("reader", keep_tokens=True)
    assert ann.page(syncToken=token)["accessRole"] == "reader"
    server.calendar(ANN).set_role("freeBusyReader")
    assert refused(ann, ann.events.list(calendarId="primary", syncToken=token)) == (410, "fullSyncRequired")
    assert ann.page()["accessRole"] == "freeBusyReader"


def test_the_baselines_window_is_not_in_its_token(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token(timeMin=NOW.isoformat(), timeMax=(NOW + timedelta(days=60)).isoformat())
    long_ago = server.calendar(ANN).insert(timed(datetime(2019, 1, 1, tzinfo=UTC)))["id"]
    far_ahead = server.calendar(ANN).insert(timed(datetime(2040, 1, 1, tzinfo=UTC)))["id"]
    assert ids(ann.delta(token)) == [long_ago, far_ahead]


def test_deltas_can_be_told_to_keep_the_window(clients: Clients, clock: Clock) -> None:
    with GoogleSimulator(clock=clock, rules=Rules(deltas_keep_window=True)) as server:
        calendar, client = server.calendar(ANN), clients(ANN, of=server)
        token = client.token(timeMin=NOW.isoformat())
        calendar.insert(timed(datetime(2019, 1, 1, tzinfo=UTC)))
        seen = calendar.insert(timed(MONDAY))["id"]
        assert ids(client.delta(token)) == [seen]
        assert ids(client.delta(client.page(syncToken=token)["nextSyncToken"])) == []


def test_the_window_is_open_at_both_ends(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    calendar.insert(timed(MONDAY - timedelta(hours=1)))
    inside = calendar.insert(timed(MONDAY))["id"]
    calendar.insert(timed(MONDAY + timedelta(hours=1)))
    window = {"timeMin": MONDAY.isoformat(), "timeMax": (MONDAY + timedelta(hours=1)).isoformat()}
    assert ids(ann.page(**window)["items"]) == [inside]
    empty = ann.events.list(calendarId="primary", timeMin=NOW.isoformat(), timeMax=NOW.isoformat())
    assert refused(ann, empty) == (400, "timeRangeEmpty")
    assert refused(ann, ann.events.list(calendarId="primary", timeMin="2026-03-02T00:00:00")) == (400, "badRequest")


def test_a_series_is_in_the_window_when_an_occurrence_is(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    over = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2"))["id"]
    going_on = calendar.insert(weekly())["id"]
    later = calendar.insert(weekly("RRULE:FREQ=WEEKLY;UNTIL=20260331T235959Z"))["id"]
    assert ids(ann.page(timeMin="2026-03-20T00:00:00Z")["items"]) == [going_on, later]
    assert ids(ann.page(timeMin="2026-04-20T00:00:00Z")["items"]) == [going_on]
    assert ids(ann.page(timeMax="2026-03-03T00:00:00Z")["items"]) == [over, going_on, later]


def test_a_baseline_shows_tombstones_only_when_asked(server: GoogleSimulator, ann: Client) -> None:
    gone = server.calendar(ANN).insert(timed(MONDAY))["id"]
    server.calendar(ANN).delete(gone)
    assert ann.page()["items"] == []
    assert ids(ann.page(showDeleted=True)["items"]) == [gone]


def test_a_deleted_event_keeps_its_details_for_its_organizer_alone(
    server: GoogleSimulator, ann: Client, bob: Client
) -> None:
    before = ann.token(), bob.token()
    name = server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": BOB}]))["id"]
    server.calendar(ANN).delete(name)
    [his] = bob.delta(before[1], showDeleted=True)
    assert his.keys() == {"kind", "etag", "id", "status"}
    [hers] = ann.delta(before[0], showDeleted=True)
    assert (hers["status"], hers["summary"]) == ("cancelled", "Showing")
    # facts §1.5: without showDeleted a delta has no details of what is gone.
    assert ann.delta(before[0])[0].keys() == {"kind", "etag", "id", "status"}
    assert ann(ann.events.get(calendarId="primary", eventId=name))["summary"] == "Showing"


def test_a_lost_change_is_in_no_delta_and_in_every_full_read(server: GoogleSimulator, ann: Client) -> None:
    token, calendar = ann.token(), server.calendar(ANN)
    calendar.hide_change()
    lost = calendar.insert(timed(MONDAY))["id"]
    seen = calendar.insert(timed(MONDAY))["id"]
    assert ids(ann.delta(token)) == [seen]
    assert ids(ann.page()["items"]) == [lost, seen]


# Series: facts §1.4 and §1.7.


def test_occurrences_keep_their_hour_over_the_change_of_clocks(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=3"))["id"]
    items = ann.page(singleEvents=True, orderBy="startTime")["items"]
    assert [item["start"]["dateTime"] for item in items] == [
        "2026-03-02T10:00:00-06:00",
        "2026-03-09T10:00:00-05:00",
        "2026-03-16T10:00:00-05:00",
    ]
    assert ids(items) == [f"{master}_20260302T160000Z", f"{master}_20260309T150000Z", f"{master}_20260316T150000Z"]
    assert {item["recurringEventId"] for item in items} == {master}
    assert all("recurrence" not in item for item in items)


def test_an_hour_that_the_clocks_skip_is_the_next_one(server: GoogleSimulator, ann: Client) -> None:
    at = {"start": {"dateTime": "2026-03-07T02:30:00", "timeZone": CHICAGO}}
    at |= {"end": {"dateTime": "2026-03-07T03:00:00", "timeZone": CHICAGO}}
    server.calendar(ANN).insert(weekly("RRULE:FREQ=DAILY;COUNT=3") | at)
    assert [item["start"]["dateTime"] for item in ann.page(singleEvents=True)["items"]] == [
        "2026-03-07T02:30:00-06:00",
        "2026-03-08T03:30:00-05:00",
        "2026-03-09T02:30:00-05:00",
    ]


@pytest.mark.parametrize(
    ("lines", "days"),
    [
        (["RRULE:FREQ=DAILY;COUNT=3"], [2, 3, 4]),
        (["RRULE:FREQ=DAILY;UNTIL=20260304T160000Z"], [2, 3, 4]),
        (["RRULE:FREQ=DAILY;UNTIL=20260304T155959Z"], [2, 3]),
        (["RRULE:FREQ=DAILY;UNTIL=20260303"], [2, 3]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXDATE;TZID=America/Chicago:20260303T100000"], [2, 4, 5]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXDATE:20260303T160000Z,20260304T160000Z"], [2, 5]),
        (["RRULE:FREQ=WEEKLY;COUNT=1", "RDATE;TZID=America/Chicago:20260305T100000"], [2, 5]),
        (["RDATE;TZID=America/New_York:20260305T110000"], [2, 5]),
        (["RRULE:FREQ=DAILY;COUNT=4", "EXRULE:FREQ=DAILY;INTERVAL=2;COUNT=2"], [3, 5]),
    ],
)
def test_recurrence_lines_mean_what_the_standard_says(
    server: GoogleSimulator, ann: Client, lines: list[str], days: list[int]
) -> None:
    server.calendar(ANN).insert(weekly() | {"recurrence": lines})
    assert [begins(item).day for item in ann.page(singleEvents=True)["items"]] == days


def test_an_all_day_series_has_dates(server: GoogleSimulator, ann: Client) -> None:
    days = {"start": {"date": "2026-03-07"}, "end": {"date": "2026-03-08"}}
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=DAILY;COUNT=3") | days)["id"]
    server.calendar(ANN).cancel_occurrence(master, date(2026, 3, 8))
    items = ann.page(singleEvents=True)["items"]
    assert ids(items) == [f"{master}_20260307", f"{master}_20260309"]
    assert items[1]["end"] == {"date": "2026-03-10"}


def test_a_cancelled_occurrence_is_bare_and_stays_in_every_read(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    master = server.calendar(ANN).insert(weekly())["id"]
    server.calendar(ANN).cancel_occurrence(master, MONDAY)
    original = {"dateTime": "2026-03-02T10:00:00-06:00", "timeZone": CHICAGO}
    for items in (ann.page()["items"], ann.delta(token)):
        [exception] = [item for item in items if item["status"] == "cancelled"]
        assert exception.keys() == {"kind", "etag", "id", "status", "recurringEventId", "originalStartTime"}
        assert exception["id"] == f"{master}_20260302T160000Z"
        assert (exception["recurringEventId"], exception["originalStartTime"]) == (master, original)


def test_a_moved_occurrence_stands_in_for_its_original(server: GoogleSimulator, ann: Client) -> None:
    token = ann.token()
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=2"))["id"]
    server.calendar(ANN).move_occurrence(master, MONDAY, MONDAY + timedelta(days=1, hours=1))
    rows = {item["id"]: item for item in ann.delta(token)}
    moved = rows[f"{master}_20260302T160000Z"]
    assert moved["originalStartTime"]["dateTime"] == "2026-03-02T10:00:00-06:00"
    assert (moved["start"]["dateTime"], moved["end"]["dateTime"]) == (
        "2026-03-03T11:00:00-06:00",
        "2026-03-03T12:00:00-06:00",
    )
    assert moved["iCalUID"] == rows[master]["iCalUID"]
    assert [begins(item).day for item in ann.page(singleEvents=True)["items"]] == [3, 9]


def test_one_touched_series_is_one_row_or_hundreds(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    rows, instances = ann.token(), ann.token(singleEvents=True, timeMax="2026-04-01T00:00:00Z")
    server.calendar(ANN).patch(master, {"summary": "Renamed"})
    assert ids(ann.delta(rows)) == [master]
    found = ann.delta(instances, singleEvents=True)
    assert len(found) == 730
    assert begins(found[-1]).year >= 2039
    assert {item["summary"] for item in found} == {"Renamed"}


def test_of_a_deleted_series_only_half_a_year_of_instances_comes_back(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    rows, instances = ann.token(), ann.token(singleEvents=True, timeMax="2026-04-01T00:00:00Z")
    server.calendar(ANN).delete(master)
    assert [(item["id"], item["status"]) for item in ann.delta(rows)] == [(master, "cancelled")]
    found = ann.delta(instances, singleEvents=True)
    assert len(found) == 26
    assert {item["status"] for item in found} == {"cancelled"}


def test_a_deleted_series_takes_its_exceptions_along(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly())["id"]
    server.calendar(ANN).move_occurrence(master, MONDAY, MONDAY + timedelta(hours=1))
    token = ann.token()
    server.calendar(ANN).delete(master)
    assert {item["id"]: item["status"] for item in ann.delta(token)} == {
        master: "cancelled",
        f"{master}_20260302T160000Z": "cancelled",
    }
    assert ann.page()["items"] == []


def test_a_new_rule_drops_the_exceptions_that_it_does_not_make(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly())["id"]
    second, third = (MONDAY + timedelta(days=days) - timedelta(hours=1) for days in (7, 14))
    for original in (second, third):
        calendar.move_occurrence(master, original, original + timedelta(hours=2))
    token = ann.token()
    calendar.patch(master, {"recurrence": ["RRULE:FREQ=WEEKLY;INTERVAL=2"]})
    assert {item["id"]: item["status"] for item in ann.delta(token)} == {
        master: "confirmed",
        f"{master}_20260309T150000Z": "cancelled",
    }


def test_this_and_following_is_a_cut_a_new_series_and_reset_exceptions(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=5"))
    split = datetime(2026, 3, 16, 15, tzinfo=UTC)
    calendar.move_occurrence(master["id"], split + timedelta(days=7), split + timedelta(days=8))
    token = ann.token()
    new = calendar.this_and_following(master["id"], split, {"summary": "Later"})
    rows = {item["id"]: item for item in ann.delta(token)}
    assert rows[master["id"]]["recurrence"] == ["RRULE:FREQ=WEEKLY;UNTIL=20260316T145959Z"]
    assert rows[f"{master['id']}_20260323T150000Z"]["status"] == "cancelled"
    assert new["id"] != master["id"]
    assert new["iCalUID"] != master["iCalUID"]
    assert rows[new["id"]]["recurrence"] == ["RRULE:FREQ=WEEKLY;COUNT=3"]
    items = ann.page(singleEvents=True)["items"]
    assert [(begins(item).day, item["summary"]) for item in items] == [
        (2, "Weekly"),
        (9, "Weekly"),
        (16, "Later"),
        (23, "Later"),
        (30, "Later"),
    ]


def test_instances_of_a_series_and_of_one_occurrence(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    master = calendar.insert(weekly("RRULE:FREQ=WEEKLY;COUNT=4"))["id"]
    calendar.cancel_occurrence(master, MONDAY)

    def instances(name: str = master, **parameters: Any) -> list[Any]:
        items: list[Any] = ann(ann.events.instances(calendarId="primary", eventId=name, **parameters))["items"]
        return items

    assert [begins(item).day for item in instances()] == [9, 16, 23]
    assert len(instances(showDeleted=True)) == 4
    assert [begins(item).day for item in instances(timeMin="2026-03-17T00:00:00Z")] == [23]
    assert ids(instances(originalStart="2026-03-09T10:00:00-05:00")) == [f"{master}_20260309T150000Z"]
    assert instances(originalStart="2026-03-10T10:00:00-05:00") == []
    # facts §1.7: asked of an occurrence, the answer is that occurrence, or nothing where it is cancelled.
    assert ids(instances(f"{master}_20260309T150000Z")) == [f"{master}_20260309T150000Z"]
    assert instances(f"{master}_20260302T160000Z") == []
    assert [item["status"] for item in instances(f"{master}_20260302T160000Z", showDeleted=True)] == ["cancelled"]
    unknown = ann.events.instances(calendarId="primary", eventId="nobody")
    assert refused(ann, unknown) == (404, "notFound")


def test_instances_come_in_pages(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly("RRULE:FREQ=WEEKLY;COUNT=5"))["id"]
    request, days = ann.events.instances(calendarId="primary", eventId=master, maxResults=2), []
    while request is not None:
        page = ann(request)
        days.append([begins(item).day for item in page["items"]])
        request = ann.events.instances_next(request, page)
    assert days == [[2, 9], [16, 23], [30]]


def test_an_occurrence_is_got_by_its_id(server: GoogleSimulator, ann: Client) -> None:
    master = server.calendar(ANN).insert(weekly() | {"id": "_60q30c1g_r"})["id"]
    got = ann(ann.events.get(calendarId="primary", eventId=f"{master}_20260309T150000Z"))
    assert got["recurringEventId"] == master
    for name in (f"{master}_20260309T160000Z", f"{master}_20269999T150000Z", f"{master}_20260309"):
        assert refused(ann, ann.events.get(calendarId="primary", eventId=name)) == (404, "notFound")


def test_a_series_needs_a_zone(ann: Client) -> None:
    body = timed(MONDAY, recurrence=["RRULE:FREQ=DAILY"])
    assert refused(ann, ann.events.insert(calendarId="primary", body=body)) == (400, "required")


# What a question shows: facts §1.8.


def test_filters_find(server: GoogleSimulator, ann: Client) -> None:
    calendar = server.calendar(ANN)
    marked = calendar.insert(timed(MONDAY, extendedProperties={"private": {"crmId": "17"}}))
    away = calendar.insert(timed(MONDAY, summary="Away", eventType="outOfOffice"))
    assert ids(ann.page(privateExtendedProperty="crmId=17")["items"]) == [marked["id"]]
    assert ann.page(privateExtendedProperty="crmId=18")["items"] == []
    assert ann.page(sharedExtendedProperty="crmId=17")["items"] == []
    assert ids(ann.page(iCalUID=away["iCalUID"])["items"]) == [away["id"]]
    assert ids(ann.page(eventTypes=["outOfOffice"])["items"]) == [away["id"]]
    assert ids(ann.page(eventTypes=["outOfOffice", "default"])["items"]) == [marked["id"], away["id"]]
    assert ids(ann.page(q="away")["items"]) == [away["id"]]
    assert ann.page(updatedMin=(NOW + timedelta(seconds=1)).isoformat())["items"] == []


def test_over_the_limit_only_the_participant_is_shown(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": ANN}, {"email": CLIENT}, {"email": CID}]))
    [few] = ann.page(maxAttendees=2)["items"]
    assert few["attendeesOmitted"]
    assert [guest["email"] for guest in few["attendees"]] == [ANN]
    [all_of_them] = ann.page(maxAttendees=3)["items"]
    assert "attendeesOmitted" not in all_of_them


def test_only_the_fields_asked_for_are_sent(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY, attendees=[{"email": CLIENT}]))
    fields = "kind,nextSyncToken,items(id,start/dateTime,attendees(email,self),nonsense)"
    page = ann.page(fields=fields)
    assert page.keys() == {"kind", "nextSyncToken", "items"}
    [item] = page["items"]
    assert item.keys() == {"id", "start", "attendees"}
    assert item["attendees"] == [{"email": CLIENT}]
    assert refused(ann, ann.events.list(calendarId="primary", fields="items)")) == (400, "invalidParameter")


def test_times_are_rendered_in_the_zone_asked_for(server: GoogleSimulator, ann: Client) -> None:
    server.calendar(ANN).insert(timed(MONDAY))
    assert ann.page()["items"][0]["start"] == {"dateTime": "2026-03-02T10:00:00-06:00"}
    assert ann.page(timeZone="Asia/Tokyo")["items"][0]["start"] == {"dateTime": "2026-03-03T01:00:00+09:00"}


def test_defaults_are_left_out(server: GoogleSimulator, ann: Client) -> None:
    body = timed(MONDAY, transparency="opaque", visibility="default", guestsCanModify=False)
    made = ann(ann.events.insert(calendarId="primary", body=body))
    assert made.keys().isdisjoint({"transparency", "visibility", "guestsCanModify"})


@pytest.mark.parametrize(
    ("role", "details"),
    [
        ("freeBusyReader", (False, False)),
        ("reader", (True, False)),
        ("writerWithoutPrivateAccess", (True, False)),
        ("writer", (True, True)),
        ("owner", (True, True)),
    ],
)
def test_a_role_sees_what_it_may(server: GoogleSimulator, ann: Client, role: str, details: tuple[bool, bool]) -> None:
    server.calendar(ANN).insert(timed(MONDAY, location="12 Elm Street"))
    server.calendar(ANN).insert(timed(MONDAY, location="12 Elm Street", visibility="private"))
    server.calendar(ANN).set_role(role)
    page = ann.page()
    assert page["accessRole"] == role
    for item, seen in zip(page["items"], details, strict=True):
        assert ("summary" in item, "location" in item, "organizer" in item) == (seen,) * 3
        assert {"id", "start", "end", "status"} <= item.keys()


# The description that answers are held against can find fault.


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"id": 1}, "Event.id is int, not string"),
        ({"sumary": "x"}, "Event.sumary is unknown"),
        ({"sequence": True}, "Event.sequence is bool, not integer"),
        ({"start": {"date": "2026-02-30"}}, "Event.start.date"),
        ({"start": {"dateTime": "tomorrow"}}, "Event.start.dateTime"),
        ({"attendees": [{"email": "a@b.example"}, {"mail": "x"}]}, r"attendees\[1\].mail is unknown"),
        ({"extendedProperties": {"private": {"a": 1}}}, "private.a is int"),
    ],
)
def test_a_body_that_is_not_of_the_schema_is_found_out(body: Resource, problem: str) -> None:
    with pytest.raises(AssertionError, match=problem):
        check("Event", body)
