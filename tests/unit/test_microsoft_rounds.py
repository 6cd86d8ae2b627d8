"""A round of Graph's pages: one row an id, whole or not at all, and an end to those that have none."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count
from typing import Any

import pytest

from reconciler.sources import Caps
from reconciler.sources.answers import TransientError
from reconciler.sources.microsoft_rounds import BLANKS, STANDSTILL, EndlessError, Round, follow
from reconciler.sources.microsoft_transport import Page

REMOVED = {"@removed": {"reason": "deleted"}}


def row(name: str, minute: int = 0, **more: Any) -> dict[str, Any]:
    changed = f"2026-03-01T10:{minute:02}:00Z"
    return {"id": name, "type": "singleInstance", "@odata.etag": changed, "lastModifiedDateTime": changed, **more}


def stub(name: str, series: str = "m") -> dict[str, Any]:
    return {"id": name, "type": "occurrence", "seriesMasterId": series}


def followed(*pages: Iterable[dict[str, Any]], caps: Caps | None = None) -> Round:
    """Follow a round of these pages."""
    last = len(pages) - 1
    made = [
        Page(list(items), None if place == last else str(place + 1), "D" if place == last else None)
        for place, items in enumerate(pages)
    ]
    return follow(made[0], lambda link: made[int(link)], caps or Caps())


def test_a_round_goes_on_through_empty_pages_and_ends_with_the_next_rounds_link() -> None:
    found = followed([row("a"), row("b")], [], [], [], [row("c")])
    assert (sorted(found.singles), found.link) == (["a", "b", "c"], "D")


@pytest.mark.parametrize("minutes", [(0, 5), (5, 0)])
def test_of_a_row_that_comes_twice_the_last_change_counts_in_either_order(minutes: tuple[int, int]) -> None:
    first, second = minutes
    found = followed([row("a", first)], [row("b")], [row("a", second)])
    assert found.singles["a"]["lastModifiedDateTime"] == "2026-03-01T10:05:00Z"


@pytest.mark.parametrize("rows", [(row("a"), {"id": "a", **REMOVED}), ({"id": "a", **REMOVED}, row("a"))])
def test_an_id_with_a_row_and_a_removal_is_neither_there_nor_gone(rows: tuple[dict[str, Any], ...]) -> None:
    assert followed(rows).doubtful == {"a"}
    assert followed(*([one] for one in rows)).doubtful == {"a"}


def test_rows_are_put_where_they_belong() -> None:
    master = row("m", type="seriesMaster")
    found = followed([row("a"), master, stub("o1"), {**stub("o2"), "type": "exception"}, {"id": "r", **REMOVED}])
    assert (set(found.singles), set(found.masters), found.removed) == ({"a"}, {"m"}, {"r"})
    assert [item["id"] for item in found.occurrences["m"]] == ["o1", "o2"]
    assert found.touched == {"m"}


@pytest.mark.parametrize("wrong", [{"id": "x", "type": "novelty"}, {"id": "x"}, {"id": "x", "type": "occurrence"}])
def test_a_row_that_belongs_nowhere_is_set_aside_under_its_name(wrong: dict[str, Any]) -> None:
    found = followed([wrong, row("a")])
    assert (set(found.unreadable), set(found.singles)) == ({"x"}, {"a"})


def test_ids_that_differ_by_case_are_two() -> None:
    assert sorted(followed([row("AAMkx="), row("AAMkX=")]).singles) == ["AAMkX=", "AAMkx="]


def test_an_entry_without_identity_leaves_the_round_unproven_and_the_rest_in_it() -> None:
    found = followed([{"type": "singleInstance"}, row("a")])
    assert (list(found.unreadable), list(found.singles)) == ([""], ["a"])


def test_entries_beyond_the_bound_are_left_out_and_said_and_known_ones_still_renewed() -> None:
    found = followed([row("a"), row("b"), row("c"), row("a", 7)], caps=Caps(events=2))
    assert sorted(found.singles) == ["a", "b"]
    assert found.singles["a"]["@odata.etag"] == "2026-03-01T10:07:00Z"
    assert "more than 2" in found.unreadable[""]


def asked_until_given_up(items: list[dict[str, Any]], *, link: str | None = None) -> int:
    numbers = count(1)
    asked = []

    def more(_: str) -> Page:
        asked.append(next(numbers))
        return Page(items, link or f"N{asked[-1]}")

    with pytest.raises(EndlessError):
        follow(Page(items, "N0"), more, Caps())
    return len(asked)


@pytest.mark.parametrize("items", [[row("a"), row("b")], [{"type": "singleInstance"}]])
def test_a_page_that_comes_over_and_over_with_fresh_links_is_given_up(items: list[dict[str, Any]]) -> None:
    assert asked_until_given_up(items) == STANDSTILL


def test_pages_without_rows_come_to_an_end_too() -> None:
    assert asked_until_given_up([]) < BLANKS


def test_a_link_that_leads_to_itself_is_followed_once() -> None:
    assert asked_until_given_up([], link="N1") == 2


def test_a_series_sent_again_on_the_next_page_is_no_circle() -> None:
    found = followed([row("a")], [row("a")], [row("b")], [row("b")], [row("c")])
    assert sorted(found.singles) == ["a", "b", "c"]


def test_a_round_that_breaks_off_is_none() -> None:
    def broken(_: str) -> Page:
        raise TransientError("answered 500")

    with pytest.raises(TransientError):
        follow(Page([row("a")], "N1"), broken, Caps())
