"""What rounds of Graph's say of a calendar: removals are looked up, series read anew, and no silence is a cancel."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast

import pytest

from reconciler.mirror import fold
from reconciler.model import Absence, Agent, Calendar, Cursor, Mode, Pull, Seen, Window
from reconciler.sources import Caps, PullRequest
from reconciler.sources.answers import (
    DeadCursorError,
    GoneError,
    ParkedError,
    ProviderError,
    RejectedError,
    TransientError,
)
from reconciler.sources.microsoft import LOOK_UPS, MicrosoftSource
from reconciler.sources.microsoft_faults import EMPTY
from reconciler.sources.microsoft_telling import Kept
from reconciler.sources.microsoft_transport import Page, Target

if TYPE_CHECKING:
    from reconciler.sources.microsoft_transport import Graph

NOW = datetime(2026, 3, 1, 17, tzinfo=UTC)
WINDOW = Window(NOW - timedelta(days=7), NOW + timedelta(days=60))
CID = Calendar(source="outlook", kind="microsoft", agent=Agent(email="cid@acme.example"))
DAYS = (2, 9, 16, 23)
MONDAYS = [f"m/202603{day:02}T160000Z" for day in DAYS]
GONE = GoneError("answered 404 ErrorItemNotFound")
DOWN = TransientError("answered 503")

Row = dict[str, Any]


def when(day: int, hour: int, month: int = 3) -> dict[str, str]:
    return {"dateTime": f"2026-{month:02}-{day:02}T{hour:02}:00:00.0000000", "timeZone": "UTC"}


def single(name: str, day: int = 10, month: int = 3, **more: Any) -> Row:
    return {
        "id": name,
        "type": "singleInstance",
        "@odata.etag": 'W/"1"',
        "subject": "Showing",
        "iCalUId": f"{name}@outlook.example",
        "start": when(day, 16, month),
        "end": when(day, 17, month),
        "isAllDay": False,
        "isCancelled": False,
        "isOrganizer": True,
        "sensitivity": "normal",
        "showAs": "busy",
        "attendees": [],
        **more,
    }


def series(name: str = "m", rule: str = "weekly", **more: Any) -> Row:
    return single(name, 2, **{"type": "seriesMaster", "recurrence": {"pattern": {"type": rule}}, **more})


def stub(day: int, name: str = "m") -> Row:
    return {
        "id": f"{name}-{day}",
        "type": "occurrence",
        "seriesMasterId": name,
        "start": when(day, 16),
        "end": when(day, 17),
    }


def moved(day: int, to: int, month: int = 3, name: str = "m") -> Row:
    original = f"2026-03-{day:02}T16:00:00Z"
    more = {"type": "exception", "seriesMasterId": name, "originalStart": original}
    return single(f"{name}-{day}", to, month, **more)


def removed(name: str) -> Row:
    return {"id": name, "@removed": {"reason": "deleted"}}


@dataclass
class Outlook:
    """A mailbox that answers what a test lays out, and notes what it was asked."""

    rounds: list[Page | ProviderError] = field(default_factory=list)
    views: list[Page | ProviderError] = field(default_factory=list)
    items: dict[str, Row | ProviderError] = field(default_factory=dict)
    shown: dict[str, list[Row] | ProviderError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def target(self, calendar: Calendar, patience: Any = None) -> Target:
        return Target(mailbox=calendar.agent.email, agent=calendar.agent.email)

    def _answer(self, kind: str, answers: list[Page | ProviderError]) -> Page:
        self.asked.append(kind)
        answer = answers.pop(0) if answers else Page([], None, "D9")
        if isinstance(answer, ProviderError):
            raise answer
        return answer

    def delta(self, _: Target, __: Window, size: int) -> Page:
        return self._answer(f"delta {size}", self.rounds)

    def follow(self, _: Target, link: str, __: int) -> Page:
        return self._answer(f"follow {link}", self.rounds)

    def view(self, _: Target, __: Window, ___: str | None, size: int) -> Page:
        return self._answer(f"view {size}", self.views)

    def instances(self, _: Target, name: str, __: Window) -> list[Row]:
        self.asked.append(f"instances {name}")
        answer = self.shown.get(name, [])
        if isinstance(answer, ProviderError):
            raise answer
        return answer

    def get(self, _: Target, name: str) -> Row:
        self.asked.append(name)
        answer = self.items.get(name, GONE)
        if isinstance(answer, ProviderError):
            raise answer
        return answer

    def get_many(self, _: Target, names: Iterable[str]) -> dict[str, Row | ProviderError]:
        self.asked += names
        return {name: self.items.get(name, GONE) for name in names}


@dataclass
class Watched:
    """A calendar as runs find it: what earlier pulls left behind, folded as the store folds it."""

    outlook: Outlook = field(default_factory=Outlook)
    now: datetime = NOW
    rows: dict[str, Seen] = field(default_factory=dict)
    rules: dict[str, str] = field(default_factory=dict)
    pending: tuple[str, ...] = ()
    cursor: Cursor | None = None
    linked: frozenset[str] | None = None

    def pull(self, *items: Row, window: Window = WINDOW) -> Pull:
        """Pull once; with `items`, the next round has them."""
        if items:
            self.outlook.rounds.append(Page(list(items), None, "D1"))
        self.outlook.asked.clear()
        known = frozenset(self.rows)
        request = PullRequest(
            calendar=CID,
            window=window,
            now=self.now,
            cursor=self.cursor,
            known=known,
            linked=known if self.linked is None else self.linked,
            rules=self.rules,
            pending=self.pending,
        )
        pull = MicrosoftSource(name="outlook", graph=cast("Graph", self.outlook)).pull(request)
        assert isinstance(pull, Pull), pull
        self._keep(pull)
        return pull

    def _keep(self, pull: Pull) -> None:
        seen = {
            event.id: Seen(
                event=event.id,
                span=event.span,
                digest=b"",
                series=event.series,
                relevance="client",
                absence=event.absence,
            )
            for event in pull.events
        }
        self.rows = fold(self.rows, pull, seen, baseline=self.cursor is None)
        before = {} if pull.mode is Mode.FULL else self.rules
        after = {**before, **pull.rules}
        self.rules = {name: rule for name, rule in after.items() if rule is not None}
        self.pending, self.cursor = pull.pending, pull.cursor

    @property
    def live(self) -> list[str]:
        return sorted(name for name, seen in self.rows.items() if seen.absence is None)

    @property
    def cancelled(self) -> list[str]:
        """Return what may end in a cancel."""
        return sorted(name for name, seen in self.rows.items() if seen.absence and seen.absence.is_evidence)


def mondays(*more: Row) -> Watched:
    """Let a series of four Mondays be known, and whatever else."""
    watched = Watched()
    watched.pull(series(), *(stub(day) for day in DAYS), *more)
    watched.outlook.items = {"m": series()}
    watched.outlook.shown = {"m": [stub(day) for day in DAYS]}
    assert set(MONDAYS) <= set(watched.live)
    return watched


# ---- removals -------------------------------------------------------------------------------------------------------


def test_a_quiet_round_is_one_request_and_says_nothing() -> None:
    watched = mondays(single("a"))
    pull = watched.pull()
    assert watched.outlook.asked == ["follow D1"]
    assert not any((pull.events, pull.tombstones, pull.rules, pull.pending))


@pytest.mark.parametrize(
    ("answer", "cancelled", "waits"),
    [
        (GONE, ["a"], ()),
        (single("a", 10, month=9), [], ()),
        (DOWN, [], ("a",)),
        (ParkedError("answered 404 ErrorInvalidUser"), [], ("a",)),
        (RejectedError("answered 400"), [], ()),
    ],
)
def test_a_removal_is_what_the_look_up_says(answer: Any, cancelled: list[str], waits: tuple[str, ...]) -> None:
    watched = Watched()
    watched.pull(single("a"))
    watched.outlook.items["a"] = answer
    watched.pull(removed("a"), removed("stranger"))
    assert (watched.cancelled, watched.pending) == (cancelled, waits)
    assert "stranger" not in watched.outlook.asked


def test_a_look_up_that_was_put_off_is_made_up_for_though_nothing_hangs_on_it_yet() -> None:
    watched = Watched(linked=frozenset())
    watched.pull(single("a"))
    watched.outlook.items |= {"a": DOWN, "new": DOWN}
    watched.pull(removed("a"), removed("new"), single("new"))
    assert set(watched.pending) == {"a", "new"}
    watched.outlook.items |= {"a": GONE, "new": single("new")}
    watched.pull()
    assert (watched.live, watched.cancelled, watched.pending) == (["new"], ["a"], ())


def test_of_more_removals_than_one_read_asks_for_each_has_its_turn() -> None:
    names = [f"evt{number:03}" for number in range(LOOK_UPS * 2 + 5)]
    watched = Watched()
    watched.pull(*map(single, names))
    watched.outlook.items = dict.fromkeys(names[:LOOK_UPS], DOWN)
    watched.pull(*map(removed, names))
    watched.pull()
    watched.pull()
    assert watched.cancelled == names[LOOK_UPS:]


def test_a_row_that_was_sent_in_part_is_asked_for_and_never_blank() -> None:
    watched = Watched()
    watched.pull(single("a"))
    part = {name: value for name, value in single("a", 12).items() if name != "subject"}
    watched.outlook.items["a"] = single("a", 12)
    pull = watched.pull(part)
    assert [(event.title, event.span.starts_at.day) for event in pull.events] == [("Showing", 12)]


# ---- series ---------------------------------------------------------------------------------------------------------


def test_one_occurrence_is_gone_only_by_its_own_ids_answer() -> None:
    watched = mondays()
    watched.outlook.shown["m"] = [stub(day) for day in DAYS if day != 9]
    watched.pull(series())
    assert watched.cancelled == [MONDAYS[1]]
    assert watched.rows[MONDAYS[1]].absence is Absence.EXCLUDED
    assert "m-9" not in watched.rules["m"]


def test_instances_that_are_empty_or_cut_cancel_nothing() -> None:
    watched = mondays()
    watched.outlook.shown["m"] = [stub(2)]
    watched.outlook.items |= {f"m-{day}": {**series(), **stub(day)} for day in DAYS}
    watched.pull(series())
    assert (watched.live, watched.cancelled) == (MONDAYS, [])


def test_an_occurrence_that_can_t_be_asked_for_stands_and_is_asked_for_again() -> None:
    watched = mondays()
    watched.outlook.shown["m"] = [stub(day) for day in DAYS if day != 9]
    watched.outlook.items["m-9"] = DOWN
    watched.pull(series())
    assert (watched.live, watched.pending) == (MONDAYS, ("m",))
    watched.outlook.items["m-9"] = GONE
    watched.pull()
    assert (watched.cancelled, watched.pending) == ([MONDAYS[1]], ())


def test_an_occurrence_moved_out_of_the_window_is_followed_and_can_still_be_deleted() -> None:
    watched = mondays()
    watched.outlook.shown["m"] = [stub(day) for day in DAYS if day != 9]
    watched.outlook.items["m-9"] = moved(9, 9, month=9)
    watched.pull(removed("m-9"))
    assert watched.rows[MONDAYS[1]].span.starts_at == datetime(2026, 9, 9, 16, tzinfo=UTC)
    watched.outlook.items["m-9"] = GONE
    watched.pull(removed("m-9"))
    assert watched.cancelled == [MONDAYS[1]]


def test_what_a_new_rule_no_longer_makes_is_a_question() -> None:
    watched = mondays()
    watched.outlook.shown["m"] = [stub(2)]
    watched.pull(series(rule="daily"))
    assert watched.cancelled == []
    assert {name for name, seen in watched.rows.items() if seen.stale} == set(MONDAYS[1:])


@pytest.mark.parametrize("answer", [GONE, DOWN, RejectedError("answered 400")])
def test_instances_that_can_t_be_had_of_a_series_that_is_there_wait(answer: ProviderError) -> None:
    watched = mondays()
    watched.outlook.shown["m"] = answer
    watched.pull(series())
    assert (watched.live, watched.cancelled, watched.pending) == (MONDAYS, [], ("m",))


def test_a_removed_series_takes_its_occurrences_along_once_its_absence_is_confirmed() -> None:
    watched = mondays()
    watched.outlook.items["m"] = DOWN
    watched.pull(removed("m"))
    assert (watched.live, watched.pending) == (MONDAYS, ("m",))
    watched.outlook.items["m"] = GONE
    watched.pull()
    assert watched.cancelled == MONDAYS
    assert watched.rules == {}


def test_occurrences_that_were_just_shown_outlive_a_series_that_is_not_found() -> None:
    watched = mondays()
    watched.outlook.items["m"] = GONE
    watched.pull(stub(9))
    assert (watched.live, watched.cancelled) == (MONDAYS, [])
    watched.pull(removed("m"))
    assert watched.cancelled == MONDAYS


def test_occurrences_shown_beside_their_series_removal_go_with_it() -> None:
    watched = mondays()
    watched.outlook.items["m"] = GONE
    watched.pull(stub(9), removed("m"))
    assert watched.cancelled == MONDAYS


def test_a_series_that_was_just_shown_in_part_is_not_gone_though_it_is_not_found() -> None:
    watched = mondays()
    watched.outlook.items["m"] = GONE
    watched.pull({"id": "m", "type": "seriesMaster"})
    assert (watched.live, watched.cancelled, watched.pending) == (MONDAYS, [], ("m",))


def test_any_removal_may_be_of_a_series_whose_occurrences_are_not_kept() -> None:
    watched = mondays()
    watched.rules = {"m": ""}
    watched.outlook.shown["m"] = [stub(2), stub(16), stub(23), moved(9, 10)]
    watched.pull(removed("m-9"))
    assert watched.rows[MONDAYS[1]].span.starts_at == datetime(2026, 3, 10, 16, tzinfo=UTC)


def test_who_is_invited_to_single_occurrences_loses_each_by_its_own_id_alone() -> None:
    watched = Watched()
    watched.pull(moved(9, 10), moved(16, 17))
    assert watched.live == [MONDAYS[1], MONDAYS[2]]
    watched.outlook.items["m-9"] = moved(9, 10)
    watched.pull(removed("m-16"))
    assert (watched.live, watched.cancelled) == ([MONDAYS[1]], [MONDAYS[2]])
    assert "m-16" not in watched.rules["m"]


def test_an_exception_with_a_row_and_a_removal_has_its_series_read_anew() -> None:
    watched = mondays()
    watched.rules = {}
    watched.outlook.items["m-9"] = moved(9, 10)
    watched.outlook.shown["m"] = [stub(2), moved(9, 10), stub(16), stub(23)]
    watched.pull(moved(9, 10), removed("m-9"))
    assert watched.rows[MONDAYS[1]].span.starts_at == datetime(2026, 3, 10, 16, tzinfo=UTC)


def test_one_series_out_of_reach_does_not_hold_up_a_whole_read() -> None:
    watched = mondays()
    watched.cursor = None
    watched.outlook.shown["m"] = DOWN
    watched.pull(series(), stub(2), single("a"))
    assert (watched.live, watched.pending) == (["a", *MONDAYS], ("m",))


def test_a_series_that_can_t_be_read_is_kept_in_mind_and_its_removal_counts() -> None:
    watched = mondays()
    watched.cursor = None
    pull = watched.pull(series(), {**stub(2), "start": "soon"}, *(stub(day) for day in DAYS[1:]))
    assert [entry.id for entry in pull.quarantined] == ["m"]
    assert watched.live == MONDAYS
    assert watched.outlook.asked == ["delta 200"]
    watched.outlook.items["m"] = GONE
    watched.pull(removed("m"))
    assert watched.cancelled == MONDAYS


def test_a_single_event_that_became_a_series_is_no_longer_one() -> None:
    watched = Watched()
    watched.pull(single("m"))
    watched.outlook.shown["m"] = [stub(day) for day in DAYS]
    watched.pull(series())
    assert (watched.live, watched.cancelled) == (MONDAYS, [])


@pytest.mark.parametrize("sent", [single("m"), removed("m")])
def test_a_series_that_became_a_single_event_is_no_longer_one(sent: Row) -> None:
    watched = mondays()
    watched.outlook.items["m"] = single("m")
    watched.pull(sent)
    assert (watched.live, watched.cancelled, watched.rules, watched.pending) == (["m"], [], {}, ())


def test_what_is_kept_of_a_series_names_nobody_and_nothing() -> None:
    watched = Watched()
    guest = {"emailAddress": {"address": "jane@mail.example", "name": "Jane"}}
    place = {"displayName": "12 Elm St"}
    watched.pull(series(attendees=[guest], body={"content": "secret"}, location=place), moved(9, 10))
    written = watched.rules["m"]
    assert Kept.from_text(written) is not None
    assert not any(word in written for word in ("Showing", "jane", "Jane", "secret", "Elm", "cid@"))


# ---- rounds that don't work -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [DeadCursorError("answered 410"), RejectedError("gave a link that leads elsewhere")])
def test_a_link_that_can_t_be_used_any_more_costs_a_whole_read(error: ProviderError) -> None:
    watched = mondays()
    watched.outlook.rounds = [error, Page([single("a")], None, "D2")]
    assert watched.pull().mode is Mode.FULL
    assert watched.outlook.asked[:2] == ["follow D1", "delta 200"]
    assert "a" in watched.live


def test_a_mailbox_whose_first_round_dies_is_read_by_its_view_and_tried_again_after_a_day() -> None:
    watched = Watched()
    watched.outlook.rounds = [Page([single("a")], "N1"), DeadCursorError("answered 404 SyncStateNotFound")]
    watched.outlook.views = [Page([single("a"), single("b")])] * 2
    watched.pull()
    assert watched.live == ["a", "b"]
    watched.now += timedelta(hours=1)
    watched.pull()
    assert watched.outlook.asked == ["view 200"]
    watched.now += timedelta(days=1)
    watched.pull(single("a"), single("b"))
    watched.pull()
    assert watched.outlook.asked == ["follow D1"]


def test_a_mailbox_that_fails_on_every_page_of_a_round_has_its_view_read_in_pages_it_bears() -> None:
    watched = Watched()
    empty = TransientError("answered 503 with nothing in it", reason=EMPTY)
    watched.outlook.rounds, watched.outlook.views = [empty] * 3, [empty, empty, Page([single("a")])]
    watched.pull()
    assert watched.outlook.asked == ["delta 200", "delta 50", "delta 10", "view 200", "view 50", "view 10"]
    assert watched.live == ["a"]


def test_a_view_goes_on_as_a_view() -> None:
    watched = Watched()
    watched.outlook.rounds = [DeadCursorError("answered 404 SyncStateNotFound")]
    watched.outlook.views = [Page([single("a")], "V1"), Page([], "V2"), Page([single("b")])]
    watched.pull()
    assert watched.outlook.asked == ["delta 200", "view 200", "view 200", "view 200"]
    assert watched.live == ["a", "b"]


def test_of_more_series_than_a_view_may_ask_for_each_has_its_turn() -> None:
    names = [f"m{number:03}" for number in range(LOOK_UPS + 10)]
    watched = Watched()
    empty = TransientError("answered 503 with nothing in it", reason=EMPTY)
    watched.outlook.rounds = [empty] * 3
    watched.outlook.items = {name: series(name) for name in names}
    watched.outlook.views = [Page([{**single(""), **stub(9, name)} for name in names])] * 2
    watched.pull()
    assert len(watched.live) == LOOK_UPS
    watched.pull()
    assert len(watched.live) == len(names)


def test_more_in_reach_than_the_bounds_allow_cancels_nothing() -> None:
    watched = Watched()
    watched.pull(single("a"), single("b"))
    source = MicrosoftSource(name="outlook", graph=cast("Graph", watched.outlook), caps=Caps(total_occurrences=1))
    watched.outlook.rounds = [Page([single("a"), single("b")], None, "D2")]
    pull = source.pull(replace(PullRequest(calendar=CID, window=WINDOW, now=NOW), known=frozenset({"a", "b"})))
    assert isinstance(pull, Pull)
    assert [entry.id for entry in pull.quarantined] == ["b"]
    assert not pull.tombstones
