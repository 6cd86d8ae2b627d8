"""Events become rows of the mirror: what counts, under which key, in the CRM's own spelling, and nothing more."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler import normalise
from reconciler.model import (
    Absence,
    Agent,
    Attendee,
    AttendeeKind,
    Calendar,
    Event,
    EventKind,
    Response,
    Role,
    Seen,
    Shape,
    Span,
    Status,
    Value,
)
from reconciler.normalise import (
    Terms,
    bounded_key,
    compared,
    differing,
    meeting_of,
    own_key,
    own_keys,
    relevance,
    same,
    source_keys,
)
from reconciler.normalise import digest as fields_digest

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN = Agent(email="ann@acme.example", aliases=("annie@acme.example",), timezone="America/Chicago")
BOB = Agent(email="bob@acme.example")
ROOM = Agent(email="oak@rooms.example", role=Role.ROOM)
HELP = Agent(email="help@desk.example", role=Role.ASSISTANT)
PEOPLE = {address: agent for agent in (ANN, BOB, ROOM, HELP) for address in (agent.email, *agent.aliases)}
PRIMARY = Calendar(source="google", kind="google", agent=ANN)
ZOE = Attendee("zoe@client.example")
EVERYTHING = frozenset(
    {"id", "key", "agent", "contact", "title", "location", "start", "end", "all_day", "status", "participants"}
)
COMPARE = ("agent", "all_day", "contact", "end", "location", "participants", "start", "status", "title")


def shape(mapped: frozenset[str] = EVERYTHING, **lengths: int) -> Shape:
    return Shape(mapped=mapped, lengths=lengths, statuses={Status.TENTATIVE: Status.CONFIRMED})


WHOLE = shape()


def terms(*relevant: str, shape: Shape = WHOLE) -> Terms:
    return Terms(
        compare=COMPARE,
        shape=shape,
        relevant=frozenset(relevant or ("client", "linked", "booked")),
        internal_domains=frozenset({"acme.example"}),
        people=PEOPLE,
        salt=b"salt",
    )


PLAIN = Event(
    id="evt1",
    uid="uid1@cal.example",
    span=Span(NOON, NOON + HOUR),
    title="Showing",
    location="12 Oak Lane",
    organizer=ANN.email,
    attendees=(Attendee(ANN.email, Response.ACCEPTED), ZOE),
    response=Response.ACCEPTED,
    modified=NOON,
)


def row(
    event: Event,
    by: Terms | None = None,
    calendar: Calendar = PRIMARY,
    *,
    linked: bool = False,
    zone: str | None = None,
) -> Seen:
    return normalise.seen(event, calendar, by or terms(), linked=linked, zone=zone)


# ---- source keys ----------------------------------------------------------------------------------------------------

EARLIER_START = datetime(2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=-6)))


@pytest.mark.parametrize(
    ("event", "key"),
    [
        (PLAIN, "uid1@cal.example"),
        (replace(PLAIN, scheduler_key="calendly:0b5e"), "calendly:0b5e"),
        (replace(PLAIN, original_start=EARLIER_START), "uid1@cal.example/20261124T150000Z"),
        (replace(PLAIN, original_start=date(2026, 11, 24)), "uid1@cal.example/20261124"),
        (replace(PLAIN, uid=None), "google:ann@acme.example:evt1"),
        (replace(PLAIN, uid="Case@Cal.EXAMPLE"), "Case@Cal.EXAMPLE"),
        (replace(PLAIN, uid="u" * 191), "u" * 191),
        (replace(PLAIN, uid="u" * 192), "sha256:" + hashlib.sha256(b"u" * 192).hexdigest()),
        (replace(PLAIN, uid="zoë"), "sha256:" + hashlib.sha256("zoë".encode()).hexdigest()),
        (replace(PLAIN, uid="tab\there"), "sha256:" + hashlib.sha256(b"tab\there").hexdigest()),
        (replace(PLAIN, uid=" space"), "sha256:" + hashlib.sha256(b" space").hexdigest()),
    ],
)
def test_the_source_key_is_spelled_as_the_contract_says(event: Event, key: str) -> None:
    assert source_keys(event, PRIMARY)[0] == key


def test_the_schedulers_key_comes_before_the_uid_that_also_leads_there() -> None:
    assert source_keys(replace(PLAIN, scheduler_key="acuity:7"), PRIMARY) == ("acuity:7", "uid1@cal.example")


def test_where_each_agent_has_a_row_its_key_names_the_agent_and_the_plain_one_still_leads_there() -> None:
    apart = replace(terms(), record_per_agent=True)
    assert own_keys(PLAIN, PRIMARY, terms()) == source_keys(PLAIN, PRIMARY)
    assert own_keys(PLAIN, PRIMARY, apart) == (f"{ANN.email}|uid1@cal.example", "uid1@cal.example")
    assert own_keys(PLAIN, PRIMARY, apart)[0] != own_keys(PLAIN, replace(PRIMARY, agent=BOB), apart)[0]
    assert row(PLAIN, apart).keys[0] == own_keys(PLAIN, PRIMARY, apart)[0]


def test_a_calendar_of_its_own_name_names_its_events_without_uid() -> None:
    feed = Calendar(source="ics", kind="ics", agent=ANN, name="feed-1")
    assert source_keys(replace(PLAIN, uid=None), feed) == ("ics:feed-1:evt1",)


def test_events_without_uid_on_two_primary_calendars_have_two_keys() -> None:
    theirs = replace(PRIMARY, agent=BOB)
    assert source_keys(replace(PLAIN, uid=None), PRIMARY) != source_keys(replace(PLAIN, uid=None), theirs)


@pytest.mark.parametrize("uid", ["calendly:0b5e", "acuity:7", "sha256:00"])
def test_an_invitations_uid_cannot_pass_for_a_key_that_its_sender_may_not_make(uid: str) -> None:
    forged = replace(PLAIN, uid=uid)
    assert uid not in row(forged).keys
    assert uid not in source_keys(forged, PRIMARY)


@given(st.text(st.characters(exclude_categories=()), min_size=1, max_size=300))
def test_any_key_fits_any_database_and_different_ones_stay_different(key: str) -> None:
    bounded = bounded_key(key)
    assert bounded.isascii()
    assert bounded.isprintable()
    assert len(bounded) <= 191
    assert bounded == key or bounded.startswith("sha256:")
    assert bounded_key(bounded) == bounded


def test_a_single_event_is_also_known_by_the_occurrence_it_may_have_been_and_back() -> None:
    single = row(PLAIN).keys
    occurrence = row(replace(PLAIN, original_start=NOON, series="s")).keys
    assert single == ("uid1@cal.example", "uid1@cal.example/20261124T120000Z")
    assert occurrence == ("uid1@cal.example/20261124T120000Z", "uid1@cal.example")


# ---- meetings -------------------------------------------------------------------------------------------------------


def test_copies_of_one_meeting_have_one_name_on_all_calendars() -> None:
    theirs = replace(PRIMARY, agent=BOB)
    assert row(PLAIN).meeting == row(replace(PLAIN, id="other"), calendar=theirs).meeting
    by_alias = replace(PLAIN, organizer="annie@acme.example")
    assert row(PLAIN).meeting == row(by_alias, calendar=theirs).meeting


def test_another_organizer_start_or_uid_is_another_meeting() -> None:
    names = {
        row(event).meeting
        for event in (
            PLAIN,
            replace(PLAIN, organizer="mallory@else.example"),
            replace(PLAIN, organizer=BOB.email),
            replace(PLAIN, uid="uid2"),
            replace(PLAIN, original_start=NOON),
            replace(PLAIN, original_start=NOON + HOUR),
        )
    }
    assert len(names) == 6


def test_one_row_per_agent_tells_copies_apart() -> None:
    apart = replace(terms(), record_per_agent=True)
    assert meeting_of(PLAIN, PRIMARY, apart) != meeting_of(PLAIN, replace(PRIMARY, agent=BOB), apart)


def test_events_without_uid_are_meetings_of_their_own() -> None:
    bare = replace(PLAIN, uid=None)
    assert (
        len(
            {
                row(bare).meeting,
                row(replace(bare, id="evt2")).meeting,
                row(bare, calendar=replace(PRIMARY, agent=BOB)).meeting,
            }
        )
        == 3
    )


def test_the_own_key_of_an_event_is_the_one_that_no_scheduler_made() -> None:
    booked = replace(PLAIN, scheduler_key="calendly:0b5e")
    assert own_key(row(booked).keys) == own_key(row(PLAIN).keys) == "uid1@cal.example"
    assert own_key(row(replace(booked, original_start=EARLIER_START)).keys) == "uid1@cal.example/20261124T150000Z"
    assert own_key(row(replace(PLAIN, uid="calendly:0b5e")).keys) == "uid:calendly:0b5e"
    assert own_key(()) is None


# ---- relevance ------------------------------------------------------------------------------------------------------

ALONE = replace(PLAIN, attendees=())
INVITED = replace(PLAIN, organizer="zoe@client.example", response=Response.NEEDS_ACTION)


def with_only(*attendees: Attendee) -> Event:
    return replace(PLAIN, attendees=attendees)


@pytest.mark.parametrize(
    ("event", "rule"),
    [
        (PLAIN, "client"),
        (ALONE, None),
        (with_only(Attendee(BOB.email), Attendee("new@acme.example")), None),
        (with_only(Attendee("annie@acme.example")), None),
        (with_only(Attendee(ROOM.email)), None),
        (with_only(Attendee("oak@rooms.example", kind=AttendeeKind.RESOURCE)), None),
        (with_only(Attendee("all@list.example", kind=AttendeeKind.GROUP)), None),
        (with_only(Attendee(HELP.email)), None),
        (with_only(Attendee("no address")), None),
        (INVITED, None),  # a stranger's invitation that nobody answered
        (replace(INVITED, response=Response.TENTATIVE), None),
        (replace(INVITED, response=Response.ACCEPTED), "client"),
        (replace(PLAIN, organizer=BOB.email, response=Response.NEEDS_ACTION), "client"),
        (replace(PLAIN, organizer="new@acme.example", response=Response.NEEDS_ACTION), "client"),
        (replace(PLAIN, organizer=None, response=None), "client"),
        (replace(ALONE, scheduler_key="calendly:1"), "booked"),
        (replace(PLAIN, status=Status.TENTATIVE), "client"),
        (replace(PLAIN, private=True), "client"),
        (replace(PLAIN, busy=False), "client"),
        (replace(PLAIN, span=Span(date(2026, 11, 24), date(2026, 11, 25))), "client"),
    ],
)
def test_what_is_an_appointment(event: Event, rule: str | None) -> None:
    assert relevance(event, PRIMARY, terms()) == rule


NOISE = {
    "declined": replace(PLAIN, response=Response.DECLINED),
    "free all-day marker": replace(PLAIN, busy=False, span=Span(date(2026, 11, 24), date(2026, 11, 25))),
    **{kind.value: replace(PLAIN, kind=kind) for kind in EventKind if kind is not EventKind.DEFAULT},
}


@pytest.mark.parametrize("noise", NOISE)
def test_noise_is_never_an_appointment_unless_it_is_linked(noise: str) -> None:
    anything = replace(
        terms("client", "contact", "booked", "all"), contact_known=lambda _: True, titles={"title:.": lambda _: True}
    )
    event = replace(NOISE[noise], scheduler_key="calendly:1")
    assert relevance(event, PRIMARY, anything) is None
    assert row(event, anything, linked=True).relevance == "linked"
    assert relevance(event, PRIMARY, replace(terms("linked"), key_known=lambda key: key == "calendly:1")) == "linked"


def test_linked_asks_for_every_spelling_of_the_key() -> None:
    booked = replace(ALONE, scheduler_key="calendly:1")
    known = replace(terms("linked"), key_known=lambda key: key == "uid1@cal.example")
    assert relevance(booked, PRIMARY, known) == "linked"
    assert relevance(booked, PRIMARY, terms("linked")) is None


def test_contact_is_an_attendee_whom_the_crm_knows() -> None:
    known = replace(terms("contact"), contact_known=lambda address: address == "zoe@client.example")
    assert relevance(INVITED, PRIMARY, known) == "contact"
    assert relevance(with_only(Attendee("amy@client.example")), PRIMARY, known) is None
    everybody = replace(terms("contact"), contact_known=lambda _: True)
    assert relevance(with_only(Attendee(BOB.email)), PRIMARY, everybody) is None


def test_a_title_rule_looks_at_titles_but_not_at_private_ones() -> None:
    by_title = replace(terms("linked"), titles={"title:(?i)showing": lambda title: "showing" in title.lower()})
    assert relevance(ALONE, PRIMARY, by_title) == "title:(?i)showing"
    assert relevance(replace(ALONE, title="Lunch"), PRIMARY, by_title) is None
    assert relevance(replace(ALONE, private=True), PRIMARY, by_title) is None


def test_each_title_rule_is_asked_for_itself() -> None:
    two = replace(
        terms("linked"), titles={"title:a": lambda title: title == "a", "title:b": lambda title: title == "b"}
    )
    assert [relevance(replace(ALONE, title=title), PRIMARY, two) for title in "abc"] == ["title:a", "title:b", None]


def test_all_takes_what_is_no_noise() -> None:
    assert relevance(ALONE, PRIMARY, terms("all")) == "all"


@pytest.mark.parametrize("agent", [ROOM, HELP, replace(BOB, role=Role.TEAM)])
def test_assistants_teams_and_rooms_own_no_appointments(agent: Agent) -> None:
    known = replace(terms("client", "linked", "all"), key_known=lambda _: True)
    assert relevance(PLAIN, replace(PRIMARY, agent=agent), known) is None


def test_a_second_calendar_that_organizes_as_itself_is_the_agents_own() -> None:
    second = replace(PRIMARY, name="c1@group.calendar.example")
    event = replace(PLAIN, organizer="c1@group.calendar.example", response=None)
    assert relevance(event, second, terms()) == "client"
    assert relevance(event, PRIMARY, terms()) is None


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_a_row_holds_what_is_compared() -> None:
    assert row(PLAIN).fields == {
        "start": "2026-11-24T12:00:00Z",
        "end": "2026-11-24T13:00:00Z",
        "all_day": False,
        "agent": "ann@acme.example",
        "status": "confirmed",
        "title": "Showing",
        "location": "12 Oak Lane",
        "contact": ("zoe@client.example",),
        "participants": (),
    }


def test_clients_are_the_same_in_whatever_order_they_were_invited() -> None:
    amy = Attendee("amy@client.example")
    one, other = row(with_only(ZOE, amy)), row(with_only(amy, ZOE, amy))
    assert one.fields["contact"] == ("amy@client.example", "zoe@client.example")
    assert one.digest == other.digest


def test_an_event_without_clients_says_nothing_about_the_contact() -> None:
    assert "contact" not in row(ALONE, terms("all")).fields


def test_attendees_that_the_source_omits_are_unknown_and_not_compared_though_those_shown_count() -> None:
    some = row(replace(with_only(ZOE, Attendee(BOB.email)), attendees_omitted=True))
    assert some.relevance == "client"
    assert not {"contact", "participants"} & some.fields.keys()
    assert {name for name in row(PLAIN).fields if name not in some.fields} == {"contact", "participants"}
    whole = row(with_only(ZOE, Attendee(BOB.email))).fields
    assert differing(some.fields, whole, COMPARE) == ()
    assert differing(some.fields, {**whole, "title": "Other"}, COMPARE) == ("title",)


def test_colleagues_take_part_unless_they_declined_or_are_no_agents() -> None:
    cid = Agent(email="cid@acme.example")
    by = replace(terms(), people={**PEOPLE, cid.email: cid})
    event = with_only(
        ZOE, Attendee("annie@acme.example"), Attendee(BOB.email), Attendee(ROOM.email), Attendee(HELP.email),
        Attendee(cid.email, Response.DECLINED),
    )  # fmt: skip
    assert row(event, by).fields["participants"] == (BOB.email,)


def test_the_last_colleague_who_leaves_is_a_change() -> None:
    before, after = row(with_only(ZOE, Attendee(BOB.email))), row(PLAIN)
    assert differing(after.fields, before.fields, COMPARE) == ("participants",)
    assert (
        differing(
            after.fields, {name: value for name, value in after.fields.items() if name != "participants"}, COMPARE
        )
        == ()
    )


def test_text_is_compared_as_the_crms_column_would_keep_it() -> None:
    by = terms(shape=shape(title=4, location=6))
    fields = row(replace(PLAIN, title=" Sho\u200b  wing", location="12 Oak Lane"), by).fields
    assert (fields["title"], fields["location"]) == ("Sho", "12 Oak")
    wide = terms(shape=shape(title=100_000))
    assert len(str(row(replace(PLAIN, title="x" * 10_000), wide).fields["title"])) == 500


def test_a_status_is_compared_as_it_reads_back() -> None:
    assert row(replace(PLAIN, status=Status.TENTATIVE)).fields["status"] == "confirmed"
    own_word = replace(terms(), shape=replace(shape(), statuses={}))
    assert row(replace(PLAIN, status=Status.TENTATIVE), own_word).fields["status"] == "tentative"


@pytest.mark.parametrize("absence", [None, Absence.CANCELLED])
def test_a_cancelled_event_is_absent_and_keeps_the_fields_it_had(absence: Absence | None) -> None:
    gone = row(replace(PLAIN, status=Status.CANCELLED, absence=absence))
    assert gone.absence is Absence.CANCELLED
    assert gone.fields == row(PLAIN).fields
    assert row(replace(PLAIN, absence=Absence.EXCLUDED)).absence is Absence.EXCLUDED


def test_a_whole_day_is_dates_where_the_crm_can_tell() -> None:
    day = replace(PLAIN, span=Span(date(2026, 11, 24), date(2026, 11, 25)))
    fields = row(day).fields
    assert (fields["start"], fields["end"], fields["all_day"]) == ("2026-11-24", "2026-11-25", True)


@pytest.mark.parametrize(
    ("agent_zone", "calendar_zone", "start", "end"),
    [
        ("America/Chicago", "Europe/Berlin", "2026-11-01T05:00:00Z", "2026-11-02T06:00:00Z"),  # 25 hours: DST ends
        (None, "Europe/Berlin", "2026-10-31T23:00:00Z", "2026-11-01T23:00:00Z"),
        (None, None, "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"),
    ],
)
def test_a_whole_day_is_the_agents_midnights_where_the_crm_knows_instants_only(
    agent_zone: str | None, calendar_zone: str | None, start: str, end: str
) -> None:
    day = replace(PLAIN, span=Span(date(2026, 11, 1), date(2026, 11, 2)))
    theirs = replace(PRIMARY, agent=replace(ANN, timezone=agent_zone))
    fields = row(day, terms(shape=shape(EVERYTHING - {"all_day"})), theirs, zone=calendar_zone).fields
    assert (fields["start"], fields["end"]) == (start, end)


@pytest.mark.parametrize(
    ("event", "busy"),
    [
        (PLAIN, True),
        (replace(PLAIN, busy=False), False),
        (replace(PLAIN, status=Status.TENTATIVE), False),
        (replace(PLAIN, response=Response.DECLINED), False),
    ],
)
def test_only_what_is_confirmed_and_not_free_can_double_book(event: Event, *, busy: bool) -> None:
    assert row(event, linked=True).busy is busy


SECRETS = ("Showing", "Oak", "zoe", "client.example", "doctor", "clinic", "bob@")


def test_a_private_event_carries_its_time_and_nothing_else() -> None:
    secret = replace(
        PLAIN, private=True, organizer="doctor@clinic.example", attendees=(ZOE, Attendee(BOB.email)),
        response=Response.ACCEPTED, status=Status.TENTATIVE,
    )  # fmt: skip
    private = row(secret, replace(terms("client", "linked"), titles={"title:Showing": lambda _: True}))
    assert set(private.fields) == {"start", "end", "all_day", "agent", "status"}
    assert private.organizer is None
    assert not [word for word in SECRETS if word in repr(asdict(private))]


def test_a_private_event_still_says_which_of_us_invites() -> None:
    assert row(replace(PLAIN, private=True)).organizer == ANN.email
    assert row(replace(PLAIN, private=True)).meeting == row(PLAIN).meeting
    outside = replace(INVITED, response=Response.ACCEPTED)
    assert row(outside).organizer == "zoe@client.example"
    assert row(replace(outside, private=True)).meeting == row(outside).meeting


def test_of_an_irrelevant_event_only_id_time_and_a_keyed_digest_remain() -> None:
    lunch = replace(ALONE, title="Lunch with Zoe", series="s", scheduler_key=None)
    kept = row(lunch)
    assert kept == Seen(event="evt1", span=lunch.span, digest=normalise.key_digest("uid1@cal.example", b"salt"))
    assert kept.digest != row(lunch, replace(terms(), salt=b"other")).digest
    assert "uid1" not in repr(asdict(kept))


def test_a_link_makes_any_event_count() -> None:
    assert row(ALONE, linked=True).relevance == "linked"


def test_the_digest_covers_what_is_compared_and_nothing_else() -> None:
    base = row(PLAIN)
    assert base.digest == fields_digest(base.fields, COMPARE)
    assert row(replace(PLAIN, title="Visit")).digest != base.digest
    only_times = replace(terms(), compare=("agent", "end", "start"))
    assert row(replace(PLAIN, title="Visit"), only_times).digest == row(PLAIN, only_times).digest
    assert row(replace(PLAIN, etag="2", modified=NOON + HOUR)).digest == base.digest


# ---- comparing ------------------------------------------------------------------------------------------------------

A, B, C = "a@client.example", "b@client.example", "c@client.example"


@pytest.mark.parametrize(
    ("name", "calendar", "crm", "equal"),
    [
        ("contact", (A, B), (A,), True),
        ("contact", (A, B), (A, B), True),
        ("contact", (A, B), (C,), False),
        ("contact", (A, B), (A, C), False),
        ("contact", (A, B), (), False),
        ("contact", (A, B), None, False),
        ("title", "", None, True),
        ("title", "", "x", False),
        ("participants", (), None, True),
        ("participants", (A, B), (A,), False),
        ("all_day", False, None, True),
        ("all_day", True, None, False),
        ("status", "confirmed", "closed", True),
        ("status", "tentative", "closed", False),
        ("start", "2026-11-24T12:00:00Z", None, False),
    ],
)
def test_when_both_sides_say_the_same(name: str, calendar: Value, crm: Value, *, equal: bool) -> None:
    assert same(name, calendar, crm) is equal
    assert differing({name: calendar}, {name: crm}, (name,)) == (() if equal else (name,))


def test_what_the_calendar_does_not_know_is_not_compared() -> None:
    assert differing({}, {"contact": (A,)}, ("contact",)) == ()


def test_compared_are_the_policys_fields_that_the_crm_has_and_always_the_owner() -> None:
    assert compared(["start", "end", "title"], shape(frozenset({"start", "end", "all_day"}))) == (
        "agent",
        "all_day",
        "end",
        "start",
    )
    assert compared([], shape(frozenset())) == ("agent",)


def test_the_fingerprint_names_all_that_shapes_a_row() -> None:
    base = terms()
    others = [
        replace(base, compare=("agent",)),
        terms("all"),
        terms(shape=shape(EVERYTHING - {"title"})),
        terms(shape=shape(title=9)),
        replace(base, shape=replace(shape(), statuses={})),
        replace(base, titles={"title:x": lambda _: True}),
        replace(base, internal_domains=frozenset()),
        replace(base, people={}),
        replace(base, people={**PEOPLE, ANN.email: replace(ANN, timezone="Europe/Berlin")}),
        replace(base, record_per_agent=True),
    ]
    assert len({base.fingerprint, *(other.fingerprint for other in others)}) == len(others) + 1
    assert terms().fingerprint == base.fingerprint
    assert replace(base, key_known=lambda _: True).fingerprint == base.fingerprint


# ---- what a write must know, and whose an event is ------------------------------------------------------------------

COLLEAGUE = Attendee(BOB.email)
OAK = Attendee(ROOM.email, kind=AttendeeKind.RESOURCE)
MARKED = replace(PLAIN, id="c1a1m", claim="c1a1m", claimed="17", attendees=(), title="Viewing")


def owning(*claims: str) -> Terms:
    """Return terms by which these claims are this job's, for record 17."""
    return replace(terms(), is_own=lambda _, record, claim: record == "17" and claim in claims)


@pytest.mark.parametrize(
    ("event", "guests"),
    [
        (replace(PLAIN, attendees=()), 0),
        (replace(PLAIN, attendees=(Attendee(ANN.email), Attendee("annie@acme.example"))), 0),
        (PLAIN, 1),
        (replace(PLAIN, attendees=(ZOE, COLLEAGUE, OAK)), 3),
        (replace(PLAIN, attendees=(ZOE,), organizer=ZOE.email), 1),
        (replace(PLAIN, attendees=(), organizer=BOB.email), 1),
        (replace(PLAIN, attendees=(), attendees_omitted=True), 1),
    ],
)
def test_a_row_counts_who_has_to_do_with_it_beside_its_owner(event: Event, guests: int) -> None:
    assert row(event, linked=True).guests == guests


def test_of_a_private_event_it_is_known_only_whether_there_are_others() -> None:
    assert row(replace(PLAIN, private=True, attendees=(ZOE, COLLEAGUE, OAK)), linked=True).guests == 1
    assert row(replace(PLAIN, private=True, attendees=()), linked=True).guests == 0


def test_a_row_keeps_the_version_and_an_irrelevant_one_keeps_nothing_of_it() -> None:
    assert row(replace(PLAIN, etag='"e1"')).etag == '"e1"'
    assert row(replace(PLAIN, private=True, etag='"e1"')).etag == '"e1"'
    lunch = row(replace(PLAIN, attendees=(), etag='"e1"'))
    assert (lunch.relevance, lunch.etag, lunch.guests, lunch.claim) == (None, "", 0, None)


def test_the_digest_of_a_row_knows_nothing_of_its_version() -> None:
    assert row(replace(PLAIN, etag='"e1"')).digest == row(replace(PLAIN, etag='"e2"')).digest


def test_an_event_that_we_made_is_an_appointment_and_names_its_record() -> None:
    found = row(MARKED, owning("c1a1m"))
    assert (found.relevance, found.claim) == ("linked", "17")
    occurrence = replace(MARKED, id="c1a1m/20261124T120000Z", series="c1a1m", original_start=NOON)
    assert row(occurrence, owning("c1a1m")).claim == "17", "a person made it a recurring one"


def test_what_another_job_made_is_no_appointment_of_ours_whatever_it_says() -> None:
    theirs = replace(MARKED, attendees=(ZOE,), scheduler_key="calendly:0b5e")
    found = row(theirs, replace(owning("other"), relevant=frozenset({"client", "booked", "all"})))
    assert (found.relevance, found.claim, found.fields) == (None, None, {})
    assert row(theirs, owning("other"), linked=True).relevance == "linked", "what a record hangs on is its own"


def test_a_copy_of_an_event_of_ours_is_an_event_like_any_other() -> None:
    copy = replace(MARKED, id="copied", attendees=(ZOE,))
    found = row(copy, owning("c1a1m"))
    assert (found.relevance, found.claim) == ("client", None)
    assert row(replace(copy, attendees=()), owning("c1a1m")).relevance is None
