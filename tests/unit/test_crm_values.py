from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.crm.chunks import LIMIT, chunked, ends_chunk
from reconciler.crm.columns import Column, Kind, UnwritableError
from reconciler.crm.faults import clean, is_duplicate, is_lost, is_worth_repeating
from reconciler.crm.times import Spelling, TimeMode, TimeRule, canonical, canonical_day, spelled_moment
from reconciler.crm.values import Codec, StatusMap, addresses, flag, joined, raw_digest, removed, typed
from reconciler.model import Agent, Status

CHICAGO = ZoneInfo("America/Chicago")


# ---- times


@pytest.mark.parametrize(
    "raw",
    [
        "2026-11-24 15:00:00",
        "2026-11-24T15:00:00",
        "2026-11-24 15:00",
        "2026-11-24T15:00:00Z",
        "2026-11-24 15:00:00.999999",
        "2026-11-24T09:00:00-06:00",
        "2026-11-24 09:00:00 -0600",
        "2026-11-24 20:30+05:30",
        "2026-11-24 15:00:00 UTC",
        " 2026-11-24 15:00:00 ",
        datetime(2026, 11, 24, 15, tzinfo=UTC),
        datetime(2026, 11, 24, 9, tzinfo=CHICAGO),
        datetime(2026, 11, 24, 15, 0, 0, 999999, tzinfo=UTC).replace(tzinfo=None),
    ],
)
def test_every_spelling_of_an_instant_is_one(raw: object) -> None:
    assert canonical(raw, UTC) == "2026-11-24T15:00:00Z"


@pytest.mark.parametrize(
    "raw",
    [
        "",
        "soon",
        "24.11.2026 15:00",
        "2026-11-24 25:00:00",
        "2026-W48-2T15:00:00x",
        1764000000,
        1.5,
        b"2026",
        "0000-00-00 00:00:00",
    ],
)
def test_what_is_no_instant_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical(raw, UTC)


def test_nineteen_characters_are_not_always_the_common_spelling() -> None:
    assert canonical("2026-11-24 15:00+05", UTC) == "2026-11-24T10:00:00Z"
    assert canonical("2026-W48-2T15:00:00", UTC) == "2026-11-24T15:00:00Z"


def test_aware_columns_must_say_an_offset() -> None:
    with pytest.raises(ValueError, match="has no offset"):
        canonical("2026-11-24 15:00:00", None)


def test_out_of_range_is_a_clause_not_a_crash() -> None:
    with pytest.raises(ValueError, match="out of range"):
        canonical("0001-01-01T00:00:00+14:00", UTC)


@pytest.mark.parametrize(
    ("local", "instant"),
    [
        ("2026-11-01 01:30:00", "2026-11-01T06:30:00Z"),  # happens twice: the first
        ("2027-03-14 02:30:00", "2027-03-14T08:30:00Z"),  # does not happen: as if the clock had not moved yet
    ],
)
def test_the_hours_of_a_switch_are_read_the_same_way_always(local: str, instant: str) -> None:
    assert canonical(local, CHICAGO) == instant


@pytest.mark.parametrize(
    ("raw", "end", "inclusive", "day"),
    [
        ("2026-11-24", False, False, "2026-11-24"),
        ("2026-11-24 00:00:00", False, True, "2026-11-24"),
        ("2026-11-24T00:00:00+14:00", False, False, "2026-11-24"),
        (date(2026, 11, 24), False, False, "2026-11-24"),
        ("2026-11-24", True, True, "2026-11-25"),
        ("2026-11-24 23:59:59", True, False, "2026-11-25"),
        ("2026-11-24 23:59", True, True, "2026-11-25"),
        ("2026-11-25", True, False, "2026-11-25"),
    ],
)
def test_days_are_read_by_their_date_part(raw: object, end: bool, inclusive: bool, day: str) -> None:
    assert canonical_day(raw, end=end, inclusive=inclusive) == day


@pytest.mark.parametrize("raw", ["9999-12-31", 20261124, "tomorrow", None])
def test_what_is_no_day_is_refused(raw: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        canonical_day(raw, end=True, inclusive=True)


@pytest.mark.parametrize("spelled", ["local:America/Chicgo", "local:", "utc+1", "", "agent", "local:../etc"])
def test_a_time_mode_must_be_known(spelled: str) -> None:
    with pytest.raises(ValueError, match="local:ZONE"):
        TimeRule.parse(spelled)


instants = st.datetimes(datetime(1971, 1, 1), datetime(2090, 1, 1)).map(  # noqa: DTZ001 -- Hypothesis wants naive bounds
    lambda moment: moment.isoformat(timespec="seconds") + "Z"
)
rules = st.sampled_from(["utc", "aware", "local:America/Chicago", "local:Asia/Kathmandu", "local:Australia/Lord_Howe"])
samples = st.sampled_from(
    ["", "2026-01-01 10:00:00", "2026-01-01T10:00:00Z", "2026-01-01T10:00:00.000+0000", "2026-01-01 10:00:00+00"]
)


@given(value=instants, spelled=rules, sample=samples, kind=st.sampled_from([Kind.TEXT, Kind.TIME, Kind.INSTANT]))
def test_an_instant_is_given_back_or_refused(value: str, spelled: str, sample: str, kind: Kind) -> None:
    rule = TimeRule.parse(spelled)
    if (kind is Kind.TIME) == (rule.mode is TimeMode.AWARE) and kind is not Kind.TEXT:
        kind = Kind.TEXT
    column = Column(name="starts_at", kind=kind, sample=sample)
    try:
        raw = spelled_moment(value, column, rule, rule.zone)
    except UnwritableError as refusal:
        assert "happens twice" in str(refusal)  # noqa: PT017 -- only some instants are refused
        assert rule.mode is TimeMode.LOCAL
    else:
        assert canonical(raw, rule.zone) == value


def test_a_spelling_is_learned_from_a_value() -> None:
    moment = datetime(2026, 11, 24, 9, tzinfo=CHICAGO)
    spelled = {
        "2026-01-01 10:00:00": "2026-11-24 09:00:00",
        "2026-01-01T10:00:00.000Z": "2026-11-24T15:00:00.000Z",
        "2026-01-01T10:00:00-0600": "2026-11-24T09:00:00-0600",
        "2026-01-01T10:00:00-06:00": "2026-11-24T09:00:00-06:00",
        "no time": "2026-11-24 09:00:00",
    }
    assert {sample: Spelling.like(sample, aware=False).write(moment) for sample in spelled} == spelled


# ---- statuses, text


def test_statuses_both_ways() -> None:
    statuses = StatusMap(
        {"confirmed": ("Booked", ""), "tentative": ("Booked",), "cancelled": ("Off",), "closed": ("done", "no show")}
    )
    assert [statuses.read(raw) for raw in ("Booked", " booked", None, "OFF", "No Show", "else", 3)] == [
        Status.CONFIRMED,
        Status.CONFIRMED,
        Status.CONFIRMED,
        Status.CANCELLED,
        Status.CLOSED,
        None,
        None,
    ]
    assert [statuses.write(status) for status in Status] == ["Booked", "Booked", "Off", "Booked"]
    assert statuses.round_trip == {
        Status.CONFIRMED: Status.CONFIRMED,
        Status.TENTATIVE: Status.CONFIRMED,
        Status.CANCELLED: Status.CANCELLED,
        Status.CLOSED: Status.CONFIRMED,
    }


def test_a_status_of_its_own_is_kept() -> None:
    statuses = StatusMap({"confirmed": ("A",), "tentative": ("B",)})
    assert statuses.round_trip[Status.TENTATIVE] is Status.TENTATIVE
    assert statuses.write(Status.CANCELLED) is None


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (None, ()),
        ("", ()),
        ("A@B.example", ("a@b.example",)),
        ("b@x.example; A@x.example , b@x.example;", ("a@x.example", "b@x.example")),
        ("mailto:A@x.example", ("a@x.example",)),
        ("\u200ba@x.example", ("a@x.example",)),
        (["z@x.example", "a@x.example"], ("a@x.example", "z@x.example")),
    ],
)
def test_addresses_of_a_cell(raw: object, found: tuple[str, ...]) -> None:
    assert addresses(raw) == found


@given(people=st.sets(st.from_regex(r"[a-z]{1,12}@x\.example", fullmatch=True)), length=st.integers(21, 80))
def test_addresses_are_never_cut(people: set[str], length: int) -> None:
    written = joined(sorted(people), length)
    assert set(addresses(written)) <= people
    assert written is None or len(written) <= length
    assert bool(written) == bool(people)


@pytest.mark.parametrize("raw", ["maybe", "2", "ja"])
def test_a_flag_is_true_or_false_or_refused(raw: str) -> None:
    assert [flag(given) for given in (None, 0, 1, True, "Y", "false", b"\x00", b"\x01", "")] == [
        False, False, True, True, True, False, False, True, False,
    ]  # fmt: skip
    with pytest.raises(ValueError, match="neither"):
        flag(raw)


def test_a_removal_is_a_time_or_a_flag_that_is_set() -> None:
    set_, unset = (
        ("2026-01-01", datetime(2026, 1, 1, tzinfo=UTC), 1, True),
        (None, "", 0, False, "0", "0000-00-00 00:00:00"),
    )
    assert [removed(raw) for raw in (*set_, *unset)] == [True] * 4 + [False] * 6


def test_configured_values_take_the_columns_type() -> None:
    assert typed("42", Column(name="owner", kind=Kind.INTEGER)) == 42
    assert typed("true", Column(name="open", kind=Kind.BOOLEAN)) is True
    with pytest.raises(UnwritableError, match="holds numbers"):
        typed("ann", Column(name="owner", kind=Kind.INTEGER))
    with pytest.raises(UnwritableError, match="doesn't fit into 3 characters"):
        typed("four", Column(name="status", length=3))


# ---- rows


def codec(**columns: Column) -> Codec:
    return Codec(
        {"id": Column(name="id"), **columns},
        time=TimeRule.parse("utc"),
        statuses=StatusMap({"confirmed": ("open",)}),
        resolve=lambda name: Agent(email="ann@acme.example") if name == "ann" else None,
    )


@given(
    cells=st.lists(
        st.one_of(st.none(), st.text(), st.integers(), st.floats(), st.binary(), st.dates(), st.datetimes()),
        min_size=13,
        max_size=13,
    )
)
def test_no_row_is_an_exception(cells: list[object]) -> None:
    names = (
        "agent",
        "all_day",
        "contact",
        "deleted_at",
        "end",
        "key",
        "location",
        "origin",
        "participants",
        "start",
        "status",
        "title",
    )
    record = codec(**{name: Column(name=name) for name in names}).record(tuple(cells))
    assert record.problem is None or len(record.problem) < 300


def test_only_mapped_columns_appear() -> None:
    record = codec(start=Column(name="s"), agent=Column(name="a")).record(("7", "ann", "2026-11-24 15:00:00"))
    assert record.fields == {"agent": "ann@acme.example", "start": "2026-11-24T15:00:00Z"}
    assert codec(start=Column(name="s")).encode(
        {"start": "2026-11-24T15:00:00Z", "title": "x", "contact": ("a@b.example",)}
    ) == {"start": "2026-11-24 15:00:00"}


def test_a_date_needs_a_column_that_says_so() -> None:
    with pytest.raises(UnwritableError, match="all-day"):
        codec(start=Column(name="s")).encode({"start": "2026-11-24"})


def test_the_version_moves_with_every_mapped_value() -> None:
    rows = codec(title=Column(name="t"))
    versions = {rows.version(row) for row in (("1", "a"), ("1", "b"), ("1", None), ("1", ""), ("2", "a"))}
    assert len(versions) == 5
    assert rows.version(("1", "a")) == rows.version(("1", "a"))


def test_a_digest_takes_whatever_a_driver_delivers() -> None:
    rows = [(1, b"\x00", memoryview(b"x"), datetime(2026, 1, 1, tzinfo=UTC), timedelta(1), None, 1.5)]
    assert raw_digest(rows) == raw_digest([(1, b"\x00", memoryview(b"x"), *rows[0][3:])])
    assert raw_digest(rows) != raw_digest(rows, b"seed")


# ---- chunks


@given(ids=st.lists(st.integers(1, 10**6), unique=True, max_size=4000).map(sorted), size=st.integers(1, 3000))
def test_chunks_are_the_rows_however_they_arrive(ids: list[int], size: int) -> None:
    rows: list[tuple[object, ...]] = [(crm_id,) for crm_id in ids]
    batches = [rows[begin : begin + size] for begin in range(0, len(rows), size)]
    chunks = list(chunked(batches))
    assert [row for chunk in chunks for row in chunk] == rows
    assert chunks == list(chunked([rows]))
    assert all(ends_chunk(chunk[-1][0]) for chunk in chunks[:-1])


def test_a_chunk_is_bounded_even_when_no_id_ends_it() -> None:
    endless = [(crm_id,) for crm_id in range(1, 100_000) if not ends_chunk(crm_id)]
    chunks = list(chunked([endless[:50_000], endless[50_000:]]))
    assert [row for chunk in chunks for row in chunk] == endless
    assert max(map(len, chunks)) == LIMIT


@pytest.mark.parametrize("spell", [int, str, lambda number: f"uuid-{number}"])
def test_chunks_have_about_a_thousand_rows(spell: Callable[[int], object]) -> None:
    ends = sum(ends_chunk(spell(number)) for number in range(200_000))
    assert 120 < ends < 300


# ---- faults


class DriverError(Exception):
    def __init__(self, *args: object, sqlstate: str | None = None) -> None:
        super().__init__(*args)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            DriverError(1062, "Duplicate entry 'jane@x.example' for key 'source_key'"),
            "Duplicate entry … for key 'source_key'",
        ),
        (DriverError('invalid input syntax for type integer: "Jane"'), "invalid input syntax for type integer: …"),
        (DriverError("Key (source_key)=(jane@x.example) already exists."), "Key (…) already exists."),
        (DriverError("no contact Jane O'Hara here\nDETAIL: secret"), "no contact … here"),
    ],
)
def test_messages_lose_the_data(error: DriverError, said: str) -> None:
    assert clean(error, ("source_key",), ["Jane O'Hara"]) == said


def test_faults_are_told_apart() -> None:
    assert is_duplicate(DriverError("x", sqlstate="23505"))
    assert is_duplicate(DriverError(1062, "x", sqlstate="23000"))
    assert is_worth_repeating(DriverError("x", sqlstate="40001"))
    assert is_worth_repeating(DriverError(1213, "deadlock"))
    assert is_lost(DriverError(2013, "lost"))
    assert not is_lost(DriverError("x", sqlstate="23502"))
