"""Who is forgotten is recognised in every spelling, and nobody else is; of what is theirs only the time is left."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import normalise
from reconciler.forgotten import KEPT, Forgotten, discreet, mark_of, reduced, spelled
from reconciler.model import Agent, Attendee, Calendar, Event, Record, Shape, Span, Value
from reconciler.normalise import Terms
from reconciler.store import codec
from reconciler.store.subject import GONE, Person

SALT = b"s" * 32
JANE = "jané@mail.example"
START = datetime(2026, 11, 24, 15, 0, tzinfo=UTC)
ANN = Agent(email="ann@acme.example")
MINE = Calendar(source="google", kind="google", agent=ANN)
FORGOTTEN = Forgotten(frozenset({mark_of(JANE, SALT)}), SALT)
SHAPE = Shape(frozenset({"start", "end", "title", "location", "contact", "status", "agent", "all_day"}))
TERMS = Terms(
    compare=("agent", "contact", "end", "start", "status", "title"),
    shape=SHAPE,
    relevant=frozenset({"client", "linked", "booked"}),
    internal_domains=frozenset({"acme.example"}),
    people={ANN.email: ANN},
    salt=SALT,
    forgotten=FORGOTTEN,
)


def event(**values: Any) -> Event:
    settings: dict[str, Any] = {
        "id": "e1",
        "uid": "u1",
        "span": Span(START, START + timedelta(hours=1)),
        "title": "Showing of a castle",
        "location": "Castle Close",
        "organizer": ANN.email,
        "attendees": (Attendee(email=JANE), Attendee(email="other@mail.example")),
    }
    return Event(**settings | values)


@pytest.mark.parametrize("spelling", [JANE, JANE.upper(), "jane\u0301@MAIL.example", f"  {JANE} "])
def test_an_address_is_known_however_it_is_spelled(spelling: str) -> None:
    assert FORGOTTEN.has(spelling)
    assert FORGOTTEN.is_named_in(f"call <{spelling.strip()}>, please")


@pytest.mark.parametrize(
    "around",
    [
        "\u201c{}\u201d",
        "»{}«",
        "**{}**",
        "Jané={}",
        "\uff08{}\uff09",
        "{}…",
        "to: {}—asap",
        "\u2018{}\u2019s castle",
        "{}。",
    ],
)
def test_an_address_is_known_whatever_stands_around_it(around: str) -> None:
    assert FORGOTTEN.is_named_in(around.format(JANE))
    assert FORGOTTEN.is_named_in(around.format("jane\u0301@MAIL.example"))
    assert not FORGOTTEN.is_named_in(around.format("x" + JANE))


@pytest.mark.parametrize("other", [None, "", "x" + JANE, JANE + ".au", "jane@mail.example", 7])
def test_nobody_else_is(other: object) -> None:
    assert not FORGOTTEN.has(other)
    assert not FORGOTTEN.is_named_in(f"call {other}")


@pytest.mark.parametrize(
    "address",
    [
        "o'brien@mail.example",
        "50%off@mail.example",
        "a_b@mail.example",
        "a/b|c{d}@mail.example",
        "jane+tag@mail.example",
        "stra\u00dfe@mail.example",
        "jane@b\u00fccher.example",
    ],
)
@pytest.mark.parametrize("around", ["{}", "to {}, now", "'{}'", '"{}"', "mailto:{}", "({}):", "[{}]", "{}."])
def test_whatever_an_address_may_have_in_it_it_is_known_in_records_and_taken_out_of_sentences(
    address: str, around: str
) -> None:
    known, person = Forgotten(frozenset({mark_of(address, SALT)}), SALT), Person([address])
    for text in (around.format(address), around.format(address.upper())):
        assert known.is_record(Record(id="1", fields={"contact": (text,)}, version="1"))
        assert person.out_of(text) == around.format(GONE)
    for other in (f"x{address}", f"{address}.au", address.replace("@", "+more@")):
        assert not known.is_named_in(around.format(other))
        assert not person.is_in(around.format(other))


def test_a_domain_is_known_in_its_own_script_and_as_ascii_has_it() -> None:
    ours, ascii_ = "jane@b\u00fccher.example", "jane@xn--bcher-kva.example"
    for person in (Person([ours]), Person([ascii_])):
        assert person.addresses == {ours, ascii_}
        assert person.out_of(f"to {ours} or {ascii_.upper()}") == f"to {GONE} or {GONE}"
    assert Person(["jane@xn--0.example"]).addresses == {"jane@xn--0.example"}, "what is no such name is as it is"


def test_another_jobs_key_does_not_know_them() -> None:
    assert not Forgotten(FORGOTTEN.marks, b"t" * 32).has(JANE)


@given(st.emails())
def test_a_mark_is_the_same_for_all_spellings_of_an_address(address: str) -> None:
    assert mark_of(address, SALT) == mark_of(spelled(address), SALT) == mark_of(address.upper(), SALT)


def test_a_text_of_any_length_is_looked_through_once() -> None:
    assert not FORGOTTEN.is_named_in("a" * 1_000_000 + "@" + "b" * 1_000_000)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"attendees": (), "organizer": JANE.upper()},
        {"attendees": (), "title": f"call {JANE}!", "scheduler_key": "calendly:1"},
        {"attendees": (), "location": f"mailto:{JANE}", "scheduler_key": "calendly:1"},
    ],
)
def test_of_an_event_that_is_about_them_only_its_time_is_kept(values: dict[str, Any]) -> None:
    row = normalise.seen(event(**values), MINE, TERMS, linked=True, zone=None)
    assert (row.withheld, row.private) == (True, True)
    assert row.fields.keys() <= KEPT
    said = codec.seen_payload(row)
    assert not [word for word in ("castle", "jan", "other@") if word in said.casefold()]
    assert codec.seen_from(row.event, row.digest, row.meeting, None, said) == row


def test_of_anybody_elses_all_is_kept_and_a_private_one_is_private_as_before() -> None:
    hers = event(attendees=(Attendee(email="other@mail.example"),))
    row = normalise.seen(hers, MINE, TERMS, linked=False, zone=None)
    assert (row.withheld, row.fields["title"]) == (False, "Showing of a castle")
    private = normalise.seen(event(private=True), MINE, TERMS, linked=False, zone=None)
    assert (private.withheld, private.private) == (False, True)


def test_what_is_withheld_already_stays_so_whatever_it_says_now() -> None:
    hers = event(attendees=(Attendee(email="other@mail.example"),))
    row = normalise.seen(hers, MINE, TERMS, linked=True, zone=None, withheld=True)
    assert row.withheld
    assert "title" not in row.fields


def test_who_is_forgotten_shapes_no_scope_so_that_nothing_is_read_whole_for_it() -> None:
    from dataclasses import replace

    assert TERMS.fingerprint == replace(TERMS, forgotten=Forgotten()).fingerprint


def test_of_a_record_that_is_about_them_or_whose_event_is_only_its_time_is_kept() -> None:
    fields: dict[str, Value] = {
        "start": "s",
        "agent": ANN.email,
        "title": "castle",
        "contact": ("other@mail.example", JANE),
    }
    hers = Record(id="1", fields=fields, version="1", origin="web")
    other = Record(id="2", fields={**fields, "contact": ()}, version="1")
    third = Record(id="3", fields={**fields, "contact": ()}, version="1")
    kept = discreet([hers, other, third], FORGOTTEN, frozenset({"3"}))
    assert [one.withheld for one in kept] == [True, False, True]
    assert dict(kept[0].fields) == {"start": "s", "agent": ANN.email}
    assert codec.record_from("1", "live", codec.record_payload(kept[0])) == kept[0]
    assert discreet([hers], Forgotten()) == [hers]


def test_a_record_of_an_agent_who_is_forgotten_has_no_owner() -> None:
    [kept] = discreet([Record(id="1", fields={"agent": JANE, "start": "s"}, version="1")], FORGOTTEN)
    assert dict(kept.fields) == {"start": "s"}


def test_what_is_kept_is_kept_whole() -> None:
    fields = dict.fromkeys(KEPT, "x")
    assert reduced(fields) == fields


def test_a_person_is_taken_out_of_sentences_and_lists() -> None:
    person = Person([JANE], ["Jane  Doe"])
    assert person.out_of(f"About jane DOE <{JANE.upper()}>.") == f"About {GONE} <{GONE}>."
    assert person.out_of_all({"who": [JANE, "x"], "n": 1, f"by {JANE}": None}) == {
        "who": ["x"],
        "n": 1,
        f"by {GONE}": None,
    }
    for text in ("Janet Doe", "Jane Doerr", f"x{JANE}", f"{JANE}.au", None, ""):
        assert not person.is_in(text)
        assert person.out_of(text or "") == (text or "")
