"""A claim is the same for ever, fits every provider, and no two records, calendars or jobs share one."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Agent, Calendar
from reconciler.sources.claims import GENERATIONS, LENGTH, RECORD_LIMIT, Claim, claim

ANN = Calendar(source="google", kind="google", agent=Agent(email="ann@acme.example"))
CLAIM = claim("acme", ANN, "17")
ANY = st.text(st.characters(exclude_categories=()), max_size=30)  # lone surrogates and controls too
CLAIMS = st.builds(Claim, ANY, ANY, ANY)


def test_an_id_is_the_same_for_ever() -> None:
    assert [*CLAIM.ids()] == [
        "799o2g1todhsall13btfdgveghkpkdgb",
        "vj5g1qnb8aajsvp3qe76ctiehdsq6mre",
        "klo66hh5hu1207jegpi32epaq6si3hnu",
        "jeqvfrniffjt9mitp21j7d4fvs24641q",
    ]


@given(CLAIMS, st.integers(0, 9))
def test_an_id_is_one_that_google_takes(claimed: Claim, generation: int) -> None:
    found = claimed.id(generation)
    assert re.fullmatch(r"[a-v0-9]+", found)
    assert 5 <= len(found) == LENGTH <= 1024


@given(st.tuples(CLAIMS, st.integers(0, 9)), st.tuples(CLAIMS, st.integers(0, 9)))
def test_two_ids_are_equal_only_if_all_they_stand_for_is(one: tuple[Claim, int], other: tuple[Claim, int]) -> None:
    assert (one[0].id(one[1]) == other[0].id(other[1])) == (one == other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Claim("a", "bc", "d"), Claim("ab", "c", "d")),
        (Claim("a", "b", "c\x00d"), Claim("a", "b\x00c", "d")),
        (Claim("a", "b", "1"), Claim("a", "b", "10")),
        (Claim('a", "b', "c", "d"), Claim("a", "b", 'c", "d')),
    ],
)
def test_the_parts_of_a_claim_never_run_into_each_other(one: Claim, other: Claim) -> None:
    assert not {*one.ids()} & {*other.ids()}


def test_each_generation_has_an_id_of_its_own() -> None:
    assert len({*CLAIM.ids()}) == GENERATIONS
    assert next(CLAIM.ids()) == CLAIM.id() == CLAIM.id(0)


@pytest.mark.parametrize("name", ["primary", "ann@acme.example", "Ann@Acme.example"])
def test_a_primary_calendar_is_one_by_whichever_name(name: str) -> None:
    named = Calendar(source="other", kind="google", agent=ANN.agent, name=name)
    assert claim("acme", named, "17") == CLAIM


def test_everybody_has_a_primary_calendar_and_they_are_not_the_same() -> None:
    bob = Calendar(source="google", kind="google", agent=Agent(email="bob@acme.example"))
    second = Calendar(source="google", kind="google", agent=ANN.agent, name="x@group.calendar.google.com")
    assert len({claim("acme", calendar, "17").id() for calendar in (ANN, bob, second)}) == 3


@given(CLAIMS, st.integers(0, GENERATIONS - 1))
def test_a_mark_fits_into_what_a_provider_keeps(claimed: Claim, generation: int) -> None:
    mark = claimed.mark(generation)
    assert all(len(name) <= 44 and len(value) <= 1024 and value.isprintable() for name, value in mark.items())
    assert (mark["crmClaim"], mark["crmGeneration"]) == (claimed.id(generation), str(generation))


def test_a_mark_names_the_record_for_people_unless_it_is_too_long_or_shows_nothing() -> None:
    assert CLAIM.mark(1)["crmId"] == "17"
    assert "crmId" not in Claim("acme", "a", "9" * (RECORD_LIMIT + 1)).mark(0)
    assert "crmId" not in Claim("acme", "a", "\x1b[31m").mark(0)
