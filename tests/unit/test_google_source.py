"""What a source makes of lists that no server should send."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from reconciler.model import Agent, Calendar, Pull, Unobserved, Window
from reconciler.sources import PullRequest
from reconciler.sources.google import GoogleSource
from reconciler.sources.google_transport import GoogleCalendar, Target

NOW = datetime(2026, 3, 1, 17, tzinfo=UTC)
ANN = Calendar(source="google", kind="google", agent=Agent(email="ann@acme.example"))
REQUEST = PullRequest(calendar=ANN, window=Window(NOW - timedelta(days=7), NOW + timedelta(days=60)), now=NOW)


@dataclass
class Api:
    """Answers lists: those of a token chain, and that of a comparison."""

    chain: dict[str, Any]
    audit: dict[str, Any]

    def target(self, calendar: Calendar, *_: object) -> Target:
        return Target(agent=calendar.agent.email, calendar=calendar.name)

    def list(self, _: Target, query: dict[str, Any]) -> dict[str, Any]:
        return {"accessRole": "owner", **(self.audit if query["singleEvents"] else self.chain)}


def source(chain: dict[str, Any], audit: dict[str, Any] | None = None) -> GoogleSource:
    return GoogleSource(name="google", api=cast("GoogleCalendar", Api(chain, audit or {})))


def test_a_whole_list_without_a_token_for_the_next_one_was_not_read_whole() -> None:
    outcome = source({"items": []}).pull(REQUEST)
    assert isinstance(outcome, Unobserved)
    assert not outcome.lost


def test_a_list_that_leaves_something_out_is_compared_with_nothing() -> None:
    for items, is_compared in (([], True), ([17], False)):
        google = source({"items": [], "nextSyncToken": "s"}, {"items": items})
        first = google.pull(REQUEST)
        assert isinstance(first, Pull)
        week = replace(REQUEST, now=NOW + timedelta(days=8), cursor=first.cursor)
        pull = google.pull(week)
        assert isinstance(pull, Pull)
        assert (pull.audit is not None) is is_compared
