"""Plain requests to the stand-in Graph, O365's own connection to it, and events as Graph writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import requests

from reconciler.simulator.graph import GraphSimulator
from reconciler.simulator.graph_series import Resource

CID, DEE = (f"{name}@acme.example" for name in ("cid", "dee"))
CLIENT = "carla@client.example"
DENVER = "America/Denver"
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)  # a Monday, in the last week before the clocks change in Denver
MONDAY = datetime(2026, 3, 2, 17, tzinfo=UTC)  # ten o'clock in Denver
WINDOW = (datetime(2026, 3, 1, tzinfo=UTC), datetime(2026, 4, 1, tzinfo=UTC))
WEEK = timedelta(days=7)
UTC_TEXT = 'IdType="ImmutableId", outlook.timezone="UTC", outlook.body-content-type="text"'


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def utc(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat().replace("+00:00", "Z")


class Client:
    """Sends what it is told to, once, and hands back the answer; `size` is the largest page that it asks for."""

    def __init__(self, server: GraphSimulator, token: str, size: int | None = None) -> None:
        self.server = server
        self.session = requests.Session()
        self.session.trust_env = False
        page = f", odata.maxpagesize={size}" if size else ""
        self.session.headers.update({"Authorization": f"Bearer {token}", "Prefer": UTC_TEXT + page})

    def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> requests.Response:
        url = path if path.startswith("http") else self.server.url + path
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return self.session.request(method, url, json=body, headers=named, timeout=10, allow_redirects=False)

    def get(self, path: str, **headers: str) -> Any:
        answer = self("GET", path, **headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def first(self, user: str, window: tuple[datetime, datetime] = WINDOW) -> str:
        """Return the address of a first round."""
        start, end = map(utc, window)
        return f"users/{user}/calendarView/delta?startDateTime={start}&endDateTime={end}"

    def pages(self, link: str) -> list[Any]:
        """Turn all pages of a round, or of a list."""
        pages = [self.get(link)]
        while "@odata.nextLink" in pages[-1]:
            pages.append(self.get(pages[-1]["@odata.nextLink"]))
        return pages

    def round(self, link: str) -> tuple[list[Any], str]:
        """Return what a round has, and the link to the next one."""
        pages = self.pages(link)
        return [item for page in pages for item in page["value"]], pages[-1]["@odata.deltaLink"]

    def delta(self, link: str) -> list[Any]:
        return self.round(link)[0]

    def link(self, user: str) -> str:
        return self.round(self.first(user))[1]

    def batch(self, *wanted: Resource) -> dict[str, Any]:
        """Send a batch; return its answers by their ids."""
        answer = self("POST", "$batch", {"requests": list(wanted)})
        assert answer.status_code == 200, answer.text
        return {one["id"]: one for one in answer.json()["responses"]}

    def close(self) -> None:
        self.session.close()


Clients = Callable[..., Client]


def refused(answer: requests.Response) -> tuple[int, str]:
    """Return the status and the code of an error."""
    return answer.status_code, answer.json()["error"]["code"]


def at(moment: datetime, zone: str = "UTC") -> Resource:
    return {"dateTime": moment.replace(tzinfo=None).isoformat(), "timeZone": zone}


def timed(start: datetime = MONDAY, minutes: int = 60, **more: Any) -> Resource:
    """Write an event, in UTC."""
    return {"subject": "Showing", "start": at(start), "end": at(start + timedelta(minutes=minutes))} | more


def whole_day(day: str = "2026-03-04", until: str = "2026-03-05", zone: str = DENVER, **more: Any) -> Resource:
    times = {
        name: {"dateTime": f"{text}T00:00:00", "timeZone": zone} for name, text in (("start", day), ("end", until))
    }
    return {"subject": "Open house", "isAllDay": True} | times | more


def weekly(count: int = 0, **more: Any) -> Resource:
    """Write a series: Mondays at ten in Denver, without an end unless it has a count."""
    bounds: Resource = {"type": "noEnd", "startDate": "2026-03-02"}
    if count:
        bounds |= {"type": "numbered", "numberOfOccurrences": count}
    pattern = {"type": "weekly", "interval": 1, "daysOfWeek": ["monday"], "firstDayOfWeek": "sunday"}
    ten, eleven = (datetime(2026, 3, 2, hour, tzinfo=UTC) for hour in (10, 11))
    times = {"start": at(ten, DENVER), "end": at(eleven, DENVER)}
    return {"subject": "Weekly", "recurrence": {"pattern": pattern, "range": bounds}} | times | more


def guests(*addresses: str) -> list[Resource]:
    """Write attendees."""
    return [{"emailAddress": {"address": address, "name": address}, "type": "required"} for address in addresses]


def ids(items: list[Any]) -> list[str]:
    return [item["id"] for item in items]


def kinds(items: list[Any]) -> list[str]:
    """Return what each row of a delta is."""
    return ["removed" if "@removed" in item else item["type"] for item in items]


def begins(item: Any) -> datetime:
    return datetime.fromisoformat(item["start"]["dateTime"][:26]).replace(tzinfo=UTC)
