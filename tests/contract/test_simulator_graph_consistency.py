"""Whoever follows the stand-in Graph's rounds by the rules knows what its plain view shows, whatever people do."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.simulator.graph import GraphSimulator
from reconciler.simulator.graph_mailboxes import Mailbox
from reconciler.simulator.graph_refusals import RefusedError
from tests.contract.graph_client import CID, DEE, DENVER, MONDAY, WINDOW, Client, Clock, at, guests, timed, utc, weekly

SPAN = "startDateTime={}&endDateTime={}".format(*map(utc, WINDOW))


class Follower:
    """Keeps what the rounds tell, by the rules: a touched series is read anew, a tombstone is looked up."""

    def __init__(self, graph: Client, user: str) -> None:
        self.graph, self.user = graph, user
        self.known: dict[str, Any] = {}
        self.link = graph.first(user)

    def catch_up(self) -> None:
        items, self.link = self.graph.round(self.link)
        series = {item.get("seriesMasterId") or item["id"] for item in items if item.get("type") in _OF_SERIES}
        for item in items:
            if "@removed" in item:
                self.lose(item["id"], series)
            elif item["type"] == "singleInstance":
                self.lose(item["id"], series)
                self.known[item["id"]] = item
        for master in series:
            self.lose(master, set())
            pages = self.graph.pages(f"users/{self.user}/events/{master}/instances?{SPAN}&$top=500")
            self.known |= {one["id"]: one for page in pages for one in page["value"]}

    def lose(self, name: str, touched: set[str]) -> None:
        """Forget an event, or a series with all of it, that is neither there nor in the window any more."""
        if name not in touched:
            self.known = {id_: one for id_, one in self.known.items() if name not in {id_, one["seriesMasterId"]}}


_OF_SERIES = {"seriesMaster", "occurrence", "exception"}


class People:
    """Do something to a calendar, drawn from a seed."""

    def __init__(self, seed: int, mailbox: Mailbox) -> None:
        self.random, self.mailbox = random.Random(seed), mailbox

    def __call__(self) -> None:
        acts: list[Callable[[], object]] = [self.add, self.add, self.move, self.rename, self.drop]
        acts += [self.repeat, self.skip, self.shift, self.end]
        self.random.choice(acts)()

    def when(self) -> datetime:
        return MONDAY + timedelta(days=self.random.randint(-20, 40), hours=self.random.randint(-3, 3))

    def some(self, *kinds: str) -> Any:
        """Choose an event of the kinds, None if there is none."""
        there = [event for event in self.mailbox.events() if event["type"] in kinds]
        return self.random.choice(there) if there else None

    def add(self) -> None:
        self.mailbox.insert(timed(self.when(), attendees=guests(DEE) if self.random.random() < 0.3 else []))

    def repeat(self) -> None:
        self.mailbox.insert(weekly(self.random.choice([0, 3, 8]), attendees=guests(DEE)))

    def move(self) -> None:
        start = self.when()
        if event := self.some("singleInstance"):
            self.mailbox.patch(event["id"], {"start": at(start), "end": at(start + timedelta(hours=1))})

    def rename(self) -> None:
        if event := self.some("singleInstance", "seriesMaster", "exception"):
            self.mailbox.patch(event["id"], {"subject": f"Renamed {self.random.random()}"})

    def drop(self) -> None:
        if event := self.some("singleInstance", "seriesMaster", "exception"):
            self.mailbox.delete(event["id"])

    def occurrence(self) -> tuple[str, datetime] | None:
        master = self.some("seriesMaster")
        start = self.random.choice([MONDAY, *(MONDAY + timedelta(days=7 * week, hours=-1) for week in range(1, 5))])
        return (master["id"], start) if master else None

    def skip(self) -> None:
        if found := self.occurrence():
            self.attempt(lambda: self.mailbox.delete_occurrence(*found))

    def shift(self) -> None:
        if found := self.occurrence():
            later = found[1] + timedelta(days=self.random.randint(-3, 3), hours=1)
            self.attempt(lambda: self.mailbox.move_occurrence(*found, later))

    def end(self) -> None:
        if (master := self.some("seriesMaster")) is not None:
            bounds = master["recurrence"]["range"] | {"type": "endDate", "endDate": "2026-03-20"}
            self.mailbox.patch(master["id"], {"recurrence": master["recurrence"] | {"range": bounds}})

    @staticmethod
    def attempt(act: Callable[[], object]) -> None:
        """Do what Exchange may refuse: an occurrence that is not there, or would pass its neighbour."""
        try:
            act()
        except RefusedError as error:
            if error.code not in {"ErrorItemNotFound", "ErrorOccurrenceCrossingBoundary"}:
                raise


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("size", [1, 50])
def test_rounds_lead_to_what_the_view_shows(seed: int, size: int) -> None:
    with GraphSimulator(seed=seed, clock=Clock()) as server:
        mailbox, other = server.mailbox(CID, DENVER), server.mailbox(DEE, DENVER)
        graph = Client(server, server.token(), size)
        followers = [Follower(graph, CID), Follower(graph, other.id)]
        people = People(seed, mailbox)
        for _ in range(12):
            for _ in range(people.random.randint(0, 6)):
                people()
            for follower in followers:
                follower.catch_up()
                pages = graph.pages(f"users/{follower.user}/calendarView?{SPAN}&$top=500")
                shown = {one["id"]: one for page in pages for one in page["value"]}
                assert follower.known.keys() == shown.keys()
                for name, event in shown.items():
                    assert (follower.known[name]["start"], follower.known[name]["subject"]) == (
                        event["start"],
                        event["subject"],
                    )
        graph.close()
