"""The stand-in Graph is read as the provider is: over HTTP, round by round, with the defects that are known of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator.graph import GraphSimulator, Rules
from reconciler.simulator.graph_mailboxes import Mailbox
from reconciler.simulator.graph_refusals import RefusedError
from reconciler.simulator.graph_series import Resource
from tests.contract.graph_client import (
    CID,
    CLIENT,
    DEE,
    DENVER,
    MONDAY,
    WEEK,
    WINDOW,
    Client,
    Clock,
    at,
    begins,
    guests,
    ids,
    kinds,
    refused,
    timed,
    utc,
    weekly,
    whole_day,
)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[GraphSimulator]:
    with GraphSimulator(seed=7, clock=clock) as server:
        server.mailbox(CID, DENVER)
        server.mailbox(DEE, "Mountain Standard Time")
        yield server


@pytest.fixture
def mailbox(server: GraphSimulator) -> Mailbox:
    return server.mailbox(CID)


@pytest.fixture
def graph(server: GraphSimulator) -> Iterator[Client]:
    client = Client(server, server.token(hours=10_000))
    yield client
    client.close()


def sized(server: GraphSimulator, size: int) -> Client:
    return Client(server, server.token(), size)


# Rounds and their links: facts §1.2, §1.3.


def test_pages_are_walked_to_the_delta_link(server: GraphSimulator, mailbox: Mailbox) -> None:
    made = {mailbox.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(7)}
    graph = sized(server, 3)
    pages = graph.pages(graph.first(mailbox.id))
    graph.close()
    assert [len(page["value"]) for page in pages] == [3, 3, 1]
    assert ["@odata.deltaLink" in page for page in pages] == [False, False, True]
    assert {item["id"] for page in pages for item in page["value"]} == made


def test_the_order_of_a_round_means_nothing_and_is_the_same_each_time(mailbox: Mailbox, graph: Client) -> None:
    made = [mailbox.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(7)]
    first, again = (ids(graph.delta(graph.first(mailbox.id))) for _ in range(2))
    assert first == again
    assert first != made
    assert sorted(first) == sorted(made)


def test_links_name_the_user_as_asked_and_may_have_another_path(graph: Client, mailbox: Mailbox) -> None:
    by_id, by_address = graph.link(mailbox.id), graph.link(CID)
    assert by_id.startswith(f"{graph.server.url}users/{mailbox.id}/calendar/calendarView/delta?$deltatoken=")
    assert f"users/{CID}/" in by_address
    mailbox.rename("cid.cyr@acme.example")
    assert graph.delta(by_id) == []
    # facts §1.2: a link with the address does not survive a rename.
    assert refused(graph("GET", by_address)) == (404, "ErrorInvalidUser")
    assert graph.get("users/cid.cyr@acme.example")["id"] == mailbox.id


def test_a_calendar_can_be_named(graph: Client, mailbox: Mailbox) -> None:
    made = mailbox.insert(timed())["id"]
    assert graph.get(f"users/{CID}/calendar")["id"] == mailbox.calendar_id
    named = graph.first(f"{mailbox.id}/calendars/{mailbox.calendar_id}")
    items, link = graph.round(named)
    assert ids(items) == [made]
    assert f"/calendars/{mailbox.calendar_id}/calendarView/delta?" in link
    other = graph.first(f"{mailbox.id}/calendars/another")
    assert refused(graph("GET", other)) == (404, "ErrorItemNotFound")


def test_a_further_calendar_is_found_by_its_own_path_alone(graph: Client, mailbox: Mailbox) -> None:
    team = mailbox.calendar("Team")
    made = team.insert(timed())["id"]
    base = f"users/{mailbox.id}/calendars/{team.calendar_id}"
    assert mailbox.calendar("Team") is team
    assert [one["name"] for one in graph.get(f"users/{CID}/calendars")["value"]] == ["Calendar", "Team"]
    assert graph.get(base)["isDefaultCalendar"] is False
    items, link = graph.round(
        graph.first(mailbox.id).replace("/calendarView", f"/calendars/{team.calendar_id}/calendarView")
    )
    assert ids(items) == [made]
    assert graph.delta(graph.first(mailbox.id)) == []
    assert refused(graph("GET", f"users/{CID}/events/{made}")) == (404, "ErrorItemNotFound")
    assert graph.get(f"{base}/events/{made}")["subject"] == "Showing"
    # One link, one calendar.
    assert refused(graph("GET", link.replace(f"/calendars/{team.calendar_id}", ""))) == (400, "SyncStateInvalid")


def test_a_moved_event_is_told_in_both_calendars(graph: Client, mailbox: Mailbox) -> None:
    team, made = mailbox.calendar("Team"), mailbox.insert(weekly())["id"]
    path = f"/calendars/{team.calendar_id}/calendarView"
    here, there = graph.link(mailbox.id), graph.round(graph.first(mailbox.id).replace("/calendarView", path))[1]
    mailbox.move_occurrence(made, MONDAY, MONDAY + timedelta(hours=2))
    assert mailbox.move_to(team, made)["id"] == made
    assert kinds(graph.delta(here)) == ["removed"]
    assert sorted(kinds(graph.delta(there))) == ["exception"] + ["occurrence"] * 4 + ["seriesMaster"]
    with pytest.raises(RefusedError, match="one user"):
        team.move_to(graph.server.mailbox(DEE), made)


def test_what_was_moved_away_and_back_looks_deleted_and_is_there(graph: Client, mailbox: Mailbox) -> None:
    team, made = mailbox.calendar("Team"), mailbox.insert(timed())["id"]
    link = graph.link(mailbox.id)
    mailbox.move_to(team, made)
    team.move_to(mailbox, made)
    items, link = graph.round(link)
    assert (ids(items), kinds(items)) == ([made], ["removed"])
    assert graph.delta(link) == []
    assert graph.get(f"users/{CID}/events/{made}")["subject"] == "Showing"
    mailbox.patch(made, {"subject": "Told again"})
    assert kinds(graph.delta(link)) == ["singleInstance"]
    assert ids(graph.delta(graph.first(mailbox.id))) == [made]


def test_an_empty_delta_has_a_new_link_and_an_old_one_replays(mailbox: Mailbox, graph: Client) -> None:
    first = graph.link(mailbox.id)
    items, second = graph.round(first)
    assert (items, second != first) == ([], True)
    made = mailbox.insert(timed())["id"]
    assert ids(graph.delta(first)) == ids(graph.delta(second)) == [made]


def test_what_changes_while_pages_turn_comes_with_the_next_round(server: GraphSimulator, mailbox: Mailbox) -> None:
    made = [mailbox.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(4)]
    graph = sized(server, 2)
    page = graph.get(graph.first(mailbox.id))
    mailbox.patch(made[0], {"subject": "Changed behind the reader"})
    rest, link = graph.round(page["@odata.nextLink"])
    assert sorted(ids(page["value"] + rest)) == sorted(made)
    assert ids(graph.delta(link)) == [made[0]]
    graph.close()


def test_a_later_round_turns_pages_too(server: GraphSimulator, mailbox: Mailbox) -> None:
    graph = sized(server, 2)
    link = graph.link(mailbox.id)
    made = [mailbox.insert(timed(MONDAY + timedelta(days=day)))["id"] for day in range(5)]
    pages = graph.pages(link)
    assert [len(page["value"]) for page in pages] == [2, 2, 1]
    assert sorted(item["id"] for page in pages for item in page["value"]) == sorted(made)
    graph.close()


def test_the_window_is_that_of_the_first_round(mailbox: Mailbox, graph: Client) -> None:
    link = graph.link(mailbox.id)
    later = mailbox.insert(timed(WINDOW[1] + timedelta(days=3)))["id"]
    # facts §1.2: a new range beside an old token is ignored; §1.4: what is outside looks like what was deleted.
    items = graph.delta(link + "&startDateTime=2026-04-01T00:00:00Z&endDateTime=2026-05-01T00:00:00Z")
    assert [(item["id"], item["@removed"]["reason"]) for item in items] == [(later, "deleted")]


def test_the_window_is_needed_and_not_too_long(graph: Client, mailbox: Mailbox) -> None:
    base = f"users/{mailbox.id}/calendarView/delta"
    assert refused(graph("GET", base)) == (400, "ErrorInvalidParameter")
    assert refused(
        graph("GET", f"{base}?startDateTime=2026-03-01T00:00:00+02:00&endDateTime=2026-04-01T00:00:00Z")
    ) == (
        400,
        "ErrorInvalidParameter",  # a plain plus is a space
    )
    long = (WINDOW[0], WINDOW[0] + timedelta(days=1826))
    assert refused(graph("GET", graph.first(mailbox.id, long))) == (400, "ErrorInvalidRequest")
    assert graph.delta(graph.first(mailbox.id, (WINDOW[0], WINDOW[0] + timedelta(days=1825)))) == []


@pytest.mark.parametrize("option", ["$select=id", "$filter=x", "$orderby=start", "$search=x", "$top=5", "$expand=x"])
def test_change_tracking_knows_no_options(graph: Client, mailbox: Mailbox, option: str) -> None:
    assert refused(graph("GET", f"{graph.first(mailbox.id)}&{option}")) == (400, "ErrorInvalidUrlQuery")


def test_links_die(graph: Client, mailbox: Mailbox, server: GraphSimulator) -> None:
    for day in range(3):
        mailbox.insert(timed(MONDAY + timedelta(days=day)))
    small = sized(server, 1)
    half_way = small.get(small.first(mailbox.id))["@odata.nextLink"]
    small.close()
    link = graph.link(mailbox.id)
    mailbox.kill_tokens()
    answer = graph("GET", link)
    assert refused(answer) == (410, "SyncStateNotFound")
    assert answer.headers["Location"].endswith("$deltatoken=")
    assert refused(graph("GET", half_way)) == (410, "SyncStateNotFound")
    link = graph.link(mailbox.id)
    mailbox.kill_tokens("resyncRequired")
    assert refused(graph("GET", link)) == (400, "resyncRequired")
    assert refused(graph("GET", link.split("=")[0] + "=rubbish")) == (400, "SyncStateInvalid")
    other = server.mailbox(DEE)
    stolen = graph.link(mailbox.id).replace(mailbox.id, other.id)
    assert refused(graph("GET", stolen)) == (400, "SyncStateInvalid")


def test_links_of_long_ago_are_forgotten(clock: Clock) -> None:
    with GraphSimulator(clock=clock, rules=Rules(token_lifetime=timedelta(days=30))) as server:
        graph = Client(server, server.token(hours=10_000))
        mailbox = server.mailbox(CID)
        link = graph.link(mailbox.id)
        clock.advance(timedelta(days=31).total_seconds())
        assert refused(graph("GET", link)) == (410, "SyncStateNotFound")
        graph.close()


# Tombstones: facts §1.4.


def test_a_tombstone_is_bare(mailbox: Mailbox, graph: Client) -> None:
    gone = mailbox.insert(timed())["id"]
    link = graph.link(mailbox.id)
    mailbox.delete(gone)
    assert graph.delta(link) == [
        {"@odata.type": "#microsoft.graph.event", "id": gone, "@removed": {"reason": "deleted"}}
    ]
    assert refused(graph("GET", f"users/{CID}/events/{gone}")) == (404, "ErrorItemNotFound")
    assert ids(graph.delta(graph.first(mailbox.id))) == []


def test_what_moved_out_of_the_window_looks_deleted_and_is_not(mailbox: Mailbox, graph: Client) -> None:
    made = mailbox.insert(timed())["id"]
    link = graph.link(mailbox.id)
    far = WINDOW[1] + timedelta(days=9)
    mailbox.patch(made, {"start": at(far), "end": at(far + timedelta(hours=1))})
    items, link = graph.round(link)
    assert kinds(items) == ["removed"]
    assert begins(graph.get(f"users/{CID}/events/{made}")) == far
    mailbox.patch(made, {"start": at(MONDAY), "end": at(MONDAY + timedelta(hours=1))})
    assert kinds(graph.delta(link)) == ["singleInstance"]


def test_a_whole_series_is_one_tombstone(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    mailbox.move_occurrence(master, MONDAY, MONDAY + timedelta(hours=2))
    link = graph.link(mailbox.id)
    mailbox.delete(master)
    items = graph.delta(link)
    assert (ids(items), kinds(items)) == ([master], ["removed"])


# Series: facts §1.5.


def test_a_series_is_its_master_and_bare_occurrences(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly(subject="Walk-through"))["id"]
    items = graph.delta(graph.first(mailbox.id))
    assert kinds(items) == ["seriesMaster"] + ["occurrence"] * 5
    assert (items[0]["id"], items[0]["subject"]) == (master, "Walk-through")
    for stub in items[1:]:
        assert set(stub) == {"@odata.type", "@odata.etag", "id", "seriesMasterId", "type", "start", "end"}
        assert stub["seriesMasterId"] == master
    # ten o'clock in Denver, before and after the clocks change on March 8th
    assert [begins(stub).hour for stub in items[1:]] == [17, 16, 16, 16, 16]


def test_a_master_may_be_far_older_than_the_window(mailbox: Mailbox, graph: Client) -> None:
    old = datetime(2012, 5, 7, 10, tzinfo=UTC)
    mailbox.insert(weekly() | {"start": at(old, DENVER), "end": at(old + timedelta(hours=1), DENVER)})
    items = graph.delta(graph.first(mailbox.id))
    assert begins(items[0]).year == 2012
    assert {begins(stub).year for stub in items[1:]} == {2026}


def test_a_series_is_never_split_over_pages(server: GraphSimulator, mailbox: Mailbox) -> None:
    mailbox.insert(weekly())
    mailbox.insert(timed())
    graph = sized(server, 2)
    pages = graph.pages(graph.first(mailbox.id))
    graph.close()
    assert sorted(len(page["value"]) for page in pages) == [1, 6]


def test_an_occurrence_that_is_taken_out_leaves_no_tombstone(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    before, link = graph.round(graph.first(mailbox.id))
    mailbox.delete_occurrence(master, MONDAY)
    items, link = graph.round(link)
    assert (ids(items), kinds(items)) == ([master], ["seriesMaster"])
    assert items[0]["@odata.etag"] != before[0]["@odata.etag"]
    assert refused(graph("GET", f"users/{CID}/events/{before[1]['id']}")) == (404, "ErrorItemNotFound")
    assert begins(_instances(graph, master)[0]) == MONDAY + WEEK - timedelta(hours=1)
    assert kinds(graph.delta(graph.first(mailbox.id))) == ["seriesMaster"] + ["occurrence"] * 4


def _instances(graph: Client, master: str, more: str = "") -> list[Any]:
    start, end = map(utc, WINDOW)
    base = f"users/{CID}/events/{master}/instances?startDateTime={start}&endDateTime={end}{more}"
    return [item for page in graph.pages(base) for item in page["value"]]


def test_a_moved_occurrence_is_an_exception_in_full(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    before, link = graph.round(graph.first(mailbox.id))
    mailbox.move_occurrence(master, MONDAY, MONDAY + timedelta(hours=2))
    items, link = graph.round(link)
    assert kinds(items) == ["seriesMaster", "exception"]
    assert items[1]["id"] == before[1]["id"]
    assert (items[1]["originalStart"], items[1]["subject"]) == ("2026-03-02T17:00:00Z", "Weekly")
    assert begins(items[1]) == MONDAY + timedelta(hours=2)
    assert graph.delta(link) == []


def test_a_changed_series_is_sent_whole(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    mailbox.move_occurrence(master, MONDAY, MONDAY + timedelta(hours=2))
    link = graph.link(mailbox.id)
    mailbox.patch(master, {"subject": "Renamed"})
    assert sorted(kinds(graph.delta(link))) == ["exception"] + ["occurrence"] * 4 + ["seriesMaster"]


def test_an_exception_moved_out_of_the_window_looks_deleted(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    last = MONDAY + 4 * WEEK - timedelta(hours=1)
    before, link = graph.round(graph.first(mailbox.id))
    mailbox.move_occurrence(master, last, last + timedelta(days=3))
    items = graph.delta(link)
    assert kinds(items) == ["seriesMaster", "removed"]
    assert items[1]["id"] == next(
        item["id"] for item in before if begins(item) == last and item["type"] == "occurrence"
    )


def test_an_occurrence_stays_between_its_neighbours(mailbox: Mailbox) -> None:
    master = mailbox.insert(weekly())["id"]
    with pytest.raises(RefusedError, match="adjacent occurrence"):
        mailbox.move_occurrence(master, MONDAY, MONDAY + WEEK)


def test_a_new_pattern_lets_exceptions_vanish(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())["id"]
    mailbox.move_occurrence(master, MONDAY, MONDAY + timedelta(hours=2))
    later = {name: at(datetime(2026, 3, 2, hour, tzinfo=UTC), DENVER) for name, hour in (("start", 14), ("end", 15))}
    mailbox.patch(master, later)
    assert kinds(graph.delta(graph.first(mailbox.id))) == ["seriesMaster"] + ["occurrence"] * 5


def test_this_and_following_makes_two_series(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly(count=5))
    link = graph.link(mailbox.id)
    third = MONDAY + 2 * WEEK - timedelta(hours=1)
    new = mailbox.this_and_following(master["id"], third, {"subject": "From now on"})
    assert new["iCalUId"] != master["iCalUId"]
    assert new["recurrence"]["range"]["numberOfOccurrences"] == 3
    items = graph.delta(link)
    by_series = [item["seriesMasterId"] for item in items if item["type"] == "occurrence"]
    assert (by_series.count(master["id"]), by_series.count(new["id"])) == (2, 3)


def test_a_hidden_change_is_never_told(mailbox: Mailbox, graph: Client) -> None:
    single, master = mailbox.insert(timed())["id"], mailbox.insert(weekly())["id"]
    link = graph.link(mailbox.id)
    mailbox.hide_change()
    mailbox.patch(single, {"subject": "Nobody knows"})
    mailbox.hide_change()
    mailbox.delete_occurrence(master, MONDAY)
    mailbox.hide_change()
    mailbox.move_occurrence(master, MONDAY + WEEK - timedelta(hours=1), MONDAY + WEEK)
    assert graph.delta(link) == []
    assert graph.get(f"users/{CID}/events/{single}")["subject"] == "Nobody knows"
    mailbox.patch(single, {"subject": "Told again"})
    assert ids(graph.delta(link)) == [single]


PATTERNS: list[tuple[str, Resource, list[str]]] = [
    ("daily", {"type": "daily", "interval": 10}, ["03-02", "03-12", "03-22", "04-01", "04-11", "04-21"]),
    (
        "several days, weeks from Sunday",
        {"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "sunday"], "firstDayOfWeek": "sunday"},
        ["03-02", "03-15", "03-16", "03-29", "03-30", "04-12", "04-13", "04-26", "04-27"],
    ),
    (
        "several days, weeks from Monday",
        {"type": "weekly", "interval": 2, "daysOfWeek": ["monday", "sunday"], "firstDayOfWeek": "monday"},
        ["03-02", "03-08", "03-16", "03-22", "03-30", "04-05", "04-13", "04-19", "04-27"],
    ),
    ("a day of the month", {"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 2}, ["03-02", "04-02"]),
    ("the last day of short months", {"type": "absoluteMonthly", "interval": 1, "dayOfMonth": 31}, ["03-31", "04-30"]),
    (
        "the last Friday",
        {"type": "relativeMonthly", "interval": 1, "daysOfWeek": ["friday"], "index": "last"},
        ["03-27", "04-24"],
    ),
    ("every year", {"type": "absoluteYearly", "interval": 1, "month": 4, "dayOfMonth": 1}, ["04-01"]),
    (
        "every year by weekday",
        {"type": "relativeYearly", "interval": 1, "month": 3, "daysOfWeek": ["tuesday"], "index": "second"},
        ["03-10"],
    ),
]


@pytest.mark.parametrize(("pattern", "days"), [case[1:] for case in PATTERNS], ids=[case[0] for case in PATTERNS])
def test_patterns_make_their_days(mailbox: Mailbox, graph: Client, pattern: Resource, days: list[str]) -> None:
    bounds = {"type": "endDate", "startDate": "2026-03-02", "endDate": "2026-04-30"}
    mailbox.insert(weekly() | {"recurrence": {"pattern": pattern, "range": bounds}})
    window = (WINDOW[0], WINDOW[1] + timedelta(days=60))
    found = [begins(item) for item in graph.delta(graph.first(mailbox.id, window)) if item["type"] == "occurrence"]
    assert [f"{moment:%m-%d}" for moment in found] == days


def test_a_pattern_without_sense_is_refused(mailbox: Mailbox) -> None:
    strange = {"pattern": {"type": "hourly"}, "range": {"type": "noEnd", "startDate": "2026-03-02"}}
    with pytest.raises(RefusedError, match="pattern"):
        mailbox.insert(timed(recurrence=strange))
    assert mailbox.events() == []


# Times and zones: facts §2.


def test_times_have_seven_digits_and_no_offset(mailbox: Mailbox, graph: Client) -> None:
    made = mailbox.insert(timed() | {"start": at(datetime(2026, 3, 2, 10, tzinfo=UTC), DENVER)})
    event = graph.get(f"users/{CID}/events/{made['id']}")
    assert event["start"] == {"dateTime": "2026-03-02T17:00:00.0000000", "timeZone": "UTC"}
    # Exchange keeps the Windows name of a zone.
    assert event["originalStartTimeZone"] == "Mountain Standard Time"
    assert event["createdDateTime"] == event["lastModifiedDateTime"] == "2026-03-02T12:00:00.0000000Z"


@pytest.mark.parametrize("zone", ["Eastern Standard Time", "America/New_York"])
def test_times_are_told_in_the_zone_asked_for(mailbox: Mailbox, graph: Client, zone: str) -> None:
    made = mailbox.insert(timed())["id"]
    event = graph.get(f"users/{CID}/events/{made}", Prefer=f'outlook.timezone="{zone}"')
    assert event["start"] == {"dateTime": "2026-03-02T12:00:00.0000000", "timeZone": zone}
    assert refused(graph("GET", f"users/{CID}/events/{made}", Prefer='outlook.timezone="Custom"')) == (
        400,
        "TimeZoneNotSupportedException",
    )


def test_whole_days_float(mailbox: Mailbox, graph: Client) -> None:
    made = mailbox.insert(whole_day())["id"]
    for zone in ("UTC", "Pacific Standard Time"):
        event = graph.get(f"users/{CID}/events/{made}", Prefer=f'outlook.timezone="{zone}"')
        assert (event["isAllDay"], event["start"]["timeZone"]) == (True, zone)
        assert [event[name]["dateTime"][:19] for name in ("start", "end")] == [
            "2026-03-04T00:00:00",
            "2026-03-05T00:00:00",
        ]


def test_whole_days_recur_on_dates(mailbox: Mailbox, graph: Client) -> None:
    daily = {"type": "daily", "interval": 1}
    bounds = {"type": "numbered", "startDate": "2026-03-07", "numberOfOccurrences": 3}
    series = whole_day("2026-03-07", "2026-03-08", recurrence={"pattern": daily, "range": bounds})
    master = mailbox.insert(series)["id"]
    mailbox.delete_occurrence(master, date(2026, 3, 8))
    stubs = graph.delta(graph.first(mailbox.id))[1:]
    assert [stub["start"]["dateTime"] for stub in stubs] == [
        "2026-03-07T00:00:00.0000000",
        "2026-03-09T00:00:00.0000000",
    ]


@pytest.mark.parametrize(
    "value",
    [
        {"dateTime": "0001-01-01T00:00:00.0000000", "timeZone": "tzone://Microsoft/Custom"},
        {"dateTime": "9999-12-31T23:59:59.9999999", "timeZone": "tzone://Microsoft/Custom"},
    ],
)
def test_times_that_mean_nothing_are_told_as_they_are(mailbox: Mailbox, graph: Client, value: Resource) -> None:
    mailbox.insert(timed() | {"start": value, "end": value})
    mailbox.insert(weekly() | {"start": value, "end": value})
    items, link = graph.round(graph.first(mailbox.id))
    assert sorted(kinds(items)) == ["seriesMaster", "singleInstance"]
    for event in items:
        assert (event["start"], event["end"]) == (value, value)
    assert graph.delta(link) == []


# Identity and content: facts §3, §7.


def test_ids_come_in_two_forms(mailbox: Mailbox, graph: Client) -> None:
    made = mailbox.insert(timed())["id"]
    link = graph.link(mailbox.id)
    other = graph.get(graph.first(mailbox.id), Prefer="")["value"][0]["id"]
    assert other != made
    for name in (made, other):
        assert graph.get(f"users/{CID}/events/{name}")["id"] == made
    mailbox.delete(made)
    # facts §1.3: the preference belongs to the request, not to the link.
    assert ids(graph.get(link, Prefer="")["value"]) == [other]


def test_ids_are_case_sensitive_and_tell_a_hyphen_from_an_underscore(mailbox: Mailbox, graph: Client) -> None:
    for name in ("AA-b", "AA_b", "aa-b"):
        mailbox.insert(timed(id=name, subject=name))
    assert [graph.get(f"users/{CID}/events/{name}")["subject"] for name in ("AA_b", "aa-b", "AA-b")] == [
        "AA_b",
        "aa-b",
        "AA-b",
    ]
    assert refused(graph("GET", f"users/{CID}/events/aa_b")) == (404, "ErrorItemNotFound")


def test_each_occurrence_has_an_icaluid_of_its_own(mailbox: Mailbox, graph: Client, server: GraphSimulator) -> None:
    master = mailbox.insert(weekly())
    told = [one["iCalUId"] for one in _instances(graph, master["id"])]
    assert len({*told, master["iCalUId"]}) == 6
    server.rules = Rules(uid_by_day=False, originals=False)
    again = _instances(graph, master["id"])
    assert {one["iCalUId"] for one in again} == {master["iCalUId"]}
    assert all("originalStart" not in one for one in again)


def test_bodies_are_html_or_text(mailbox: Mailbox, graph: Client) -> None:
    made = mailbox.insert(timed(body={"contentType": "html", "content": "<p>Bring &amp; sign</p>"}))["id"]
    plain = graph.get(f"users/{CID}/events/{made}")
    assert (plain["body"], plain["bodyPreview"]) == ({"contentType": "text", "content": "Bring & sign"}, "Bring & sign")
    rich = graph.get(f"users/{CID}/events/{made}", Prefer="")
    assert rich["body"] == {"contentType": "html", "content": "<p>Bring &amp; sign</p>"}


def test_fields_can_be_null(mailbox: Mailbox, graph: Client) -> None:
    empty = dict.fromkeys(("subject", "body", "iCalUId", "location", "bodyPreview"))
    made = mailbox.insert(timed())["id"]
    mailbox.patch(made, {**empty, "sensitivity": "private", "isDraft": True, "attendees": [{"emailAddress": {}}]})
    (event,) = graph.delta(graph.first(mailbox.id))
    assert {name: event[name] for name in empty} == empty
    assert (event["sensitivity"], event["isDraft"], event["attendees"]) == ("private", True, [{"emailAddress": {}}])


def test_every_change_moves_the_etag(mailbox: Mailbox, graph: Client, clock: Clock) -> None:
    made = mailbox.insert(timed())["id"]
    first = graph.get(f"users/{CID}/events/{made}")
    clock.advance(60)
    mailbox.patch(made, {"isReminderOn": False})
    second = graph.get(f"users/{CID}/events/{made}")
    assert first["@odata.etag"] == f'W/"{first["changeKey"]}"' != second["@odata.etag"]
    assert second["lastModifiedDateTime"] == "2026-03-02T12:01:00.0000000Z"
    assert second["createdDateTime"] == first["createdDateTime"]


# Meetings: facts §7.


def meeting(server: GraphSimulator, event: Resource) -> tuple[Resource, Resource]:
    """Let Cid invite Dee; return both copies."""
    organized = server.mailbox(CID).insert(event | {"attendees": guests(DEE, CLIENT)})
    (copy,) = server.mailbox(DEE).events()
    return organized, copy


def test_each_copy_has_an_id_of_its_own_and_the_same_icaluid(server: GraphSimulator) -> None:
    organized, copy = meeting(server, timed())
    assert organized["id"] != copy["id"]
    assert organized["iCalUId"] == copy["iCalUId"]
    assert (organized["isOrganizer"], copy["isOrganizer"]) == (True, False)
    assert copy["organizer"]["emailAddress"]["address"] == CID
    assert (organized["responseStatus"]["response"], copy["responseStatus"]["response"]) == (
        "organizer",
        "notResponded",
    )


def test_an_answer_reaches_the_organizer(server: GraphSimulator, graph: Client) -> None:
    organized, copy = meeting(server, timed())
    link = graph.link(CID)
    server.mailbox(DEE).respond(copy["id"], "declined")
    (event,) = graph.delta(link)
    assert [one.get("status", {}).get("response") for one in event["attendees"]] == ["declined", None]
    mine = graph.get(f"users/{DEE}/events/{copy['id']}")
    assert (mine["responseStatus"]["response"], mine["showAs"]) == ("declined", "free")
    assert mine["id"] != organized["id"]


def test_what_the_organizer_changes_reaches_the_copies(server: GraphSimulator, graph: Client) -> None:
    organized, copy = meeting(server, timed())
    server.mailbox(DEE).respond(copy["id"], "accepted")
    later = MONDAY + timedelta(hours=3)
    server.mailbox(CID).patch(organized["id"], {"start": at(later), "end": at(later + timedelta(hours=1))})
    mine = graph.get(f"users/{DEE}/events/{copy['id']}")
    assert (begins(mine), mine["responseStatus"]["response"], mine["showAs"]) == (later, "accepted", "busy")


@pytest.mark.parametrize("how", ["delete", "cancel"])
def test_a_cancelled_meeting_stays_with_its_attendees(server: GraphSimulator, graph: Client, how: str) -> None:
    organized, copy = meeting(server, timed(subject="Closing"))
    cid, dee = graph.link(CID), graph.link(DEE)
    getattr(server.mailbox(CID), how)(organized["id"])
    assert kinds(graph.delta(cid)) == ["removed"]
    (event,) = graph.delta(dee)
    assert (event["id"], event["isCancelled"], event["subject"]) == (copy["id"], True, "Canceled: Closing")
    server.mailbox(DEE).delete(copy["id"])
    assert kinds(graph.delta(dee)) == ["removed"]


def test_an_invitation_from_outside_can_be_called_off(server: GraphSimulator, graph: Client) -> None:
    outside = {"isOrganizer": False, "organizer": {"emailAddress": {"address": CLIENT}}}
    made = server.mailbox(CID).insert(timed(attendees=guests(CID)) | outside)["id"]
    server.mailbox(CID).cancel(made)
    event = graph.get(f"users/{CID}/events/{made}")
    assert (event["isCancelled"], event["isOrganizer"]) == (True, False)


def test_one_occurrence_of_a_meeting_is_called_off(server: GraphSimulator, graph: Client) -> None:
    organized, copy = meeting(server, weekly())
    dee = graph.link(DEE)
    server.mailbox(CID).delete_occurrence(organized["id"], MONDAY)
    items = graph.delta(dee)
    assert kinds(items) == ["seriesMaster", "exception"]
    assert [item["isCancelled"] for item in items] == [False, True]
    assert items[1]["seriesMasterId"] == copy["id"]


def test_one_occurrence_of_a_meeting_moves_on_all_copies(server: GraphSimulator, graph: Client) -> None:
    organized, _ = meeting(server, weekly())
    dee = graph.link(DEE)
    moved = MONDAY + timedelta(hours=2)
    exception = server.mailbox(CID).move_occurrence(organized["id"], MONDAY, moved)
    copy = next(item for item in graph.delta(dee) if item["type"] == "exception")
    assert (begins(copy), copy["iCalUId"]) == (moved, exception["iCalUId"])


def test_who_threw_a_copy_away_gets_none_again(server: GraphSimulator) -> None:
    organized, copy = meeting(server, timed())
    server.mailbox(DEE).delete(copy["id"])
    server.mailbox(CID).patch(organized["id"], {"subject": "Other words"})
    assert server.mailbox(DEE).events() == []


def test_whoever_is_invited_later_gets_a_copy(server: GraphSimulator) -> None:
    made = server.mailbox(CID).insert(timed())["id"]
    server.mailbox(CID).invite(made, DEE)
    (copy,) = server.mailbox(DEE).events()
    assert copy["attendees"][0]["emailAddress"]["address"] == DEE
    server.mailbox(CID).patch(made, {"attendees": []})
    (copy,) = server.mailbox(DEE).events()
    assert copy["isCancelled"] is True


# calendarView, instances, events: facts §1.3, §1.5, §7.


def test_a_view_has_occurrences_in_full_and_no_masters(mailbox: Mailbox, graph: Client) -> None:
    master, single = mailbox.insert(weekly())["id"], mailbox.insert(timed(MONDAY + timedelta(days=1)))["id"]
    mailbox.move_occurrence(master, MONDAY, MONDAY + timedelta(hours=2))
    start, end = map(utc, WINDOW)
    base = f"users/{mailbox.id}/calendarView?startDateTime={start}&endDateTime={end}"
    pages = graph.pages(f"{base}&$top=4")
    items = [item for page in pages for item in page["value"]]
    assert [len(page["value"]) for page in pages] == [4, 2]
    assert kinds(items) == ["exception", "singleInstance"] + ["occurrence"] * 4
    assert {item["subject"] for item in items} == {"Weekly", "Showing"}
    assert [begins(item) for item in items] == sorted(begins(item) for item in items)
    selected = graph.get(f"{base}&$select=subject,lastModifiedDateTime")["value"][0]
    assert set(selected) == {"@odata.etag", "id", "subject"}  # facts §1.3: the time can't be selected there
    assert single in ids(items)


def test_a_page_of_a_view_has_ten_events_unless_asked_otherwise(mailbox: Mailbox, graph: Client) -> None:
    for day in range(12):
        mailbox.insert(timed(MONDAY + timedelta(days=day)))
    start, end = map(utc, WINDOW)
    base = f"users/{mailbox.id}/calendarView?startDateTime={start}&endDateTime={end}"
    assert [len(page["value"]) for page in graph.pages(base)] == [10, 2]
    assert len(graph.pages(base + "&$top=500")) == 1


def test_the_window_of_a_view_touches_nothing_outside(mailbox: Mailbox, graph: Client) -> None:
    for start in (WINDOW[0] - timedelta(hours=1), WINDOW[1], WINDOW[0] - timedelta(minutes=30)):
        mailbox.insert(timed(start, subject=utc(start)))
    items = graph.delta(graph.first(mailbox.id))
    assert [item["subject"] for item in items] == [utc(WINDOW[0] - timedelta(minutes=30))]


def test_instances_are_those_of_one_series(mailbox: Mailbox, graph: Client) -> None:
    master, single = mailbox.insert(weekly())["id"], mailbox.insert(timed())["id"]
    mailbox.delete_occurrence(master, MONDAY)
    assert len(_instances(graph, master, "&$top=2")) == 4
    assert all(one["seriesMasterId"] == master for one in _instances(graph, master))
    start, end = map(utc, WINDOW)
    wrong = f"users/{CID}/events/{single}/instances?startDateTime={start}&endDateTime={end}"
    assert refused(graph("GET", wrong)) == (400, "ErrorInvalidRequest")


def test_events_are_masters_and_singles_only(mailbox: Mailbox, graph: Client) -> None:
    master = mailbox.insert(weekly())
    mailbox.insert(timed())
    mailbox.move_occurrence(master["id"], MONDAY, MONDAY + timedelta(hours=2))
    assert sorted(kinds(graph.get(f"users/{CID}/events")["value"])) == ["seriesMaster", "singleInstance"]
    found = graph.get(f"users/{CID}/events?$filter=iCalUId eq '{master['iCalUId']}'")["value"]
    assert ids(found) == [master["id"]]
    assert refused(graph("GET", f"users/{CID}/events?$filter=subject eq 'x'")) == (400, "ErrorInvalidUrlQueryFilter")


def test_the_same_seed_and_edits_make_the_same_answers(clock: Clock) -> None:
    told = []
    for _ in range(2):
        with GraphSimulator(seed=3, clock=clock) as server:
            graph = Client(server, server.token())
            server.mailbox(CID).insert(weekly())
            server.mailbox(CID).insert(timed())
            told.append(graph.delta(graph.first(server.mailbox(CID).id)))
            graph.close()
    assert told[0] == told[1]
