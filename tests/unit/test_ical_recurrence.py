"""Series: what they contain, by hand-written expectations and by what `recurring-ical-events` says on its own."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from pathlib import Path

import icalendar
import pytest
import recurring_ical_events
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Absence, Agent, Calendar, Window, rfc3339
from reconciler.sources import Caps, PullRequest
from reconciler.sources.appointments import Collected, collect
from reconciler.sources.ical import read
from reconciler.sources.recurrence import Budget, TooMuchError, parse_rule, walk

NOW = datetime(2026, 11, 22, 17, tzinfo=UTC)
WINDOW = Window.around(NOW, timedelta(days=7), timedelta(days=60))
CALENDARS = Path(__file__).resolve().parents[1] / "calendars"
DEE = Calendar(source="ics", kind="ics", agent=Agent(email="dee@acme.example"))


def wrap(*lines: str) -> bytes:
    return "\r\n".join(["BEGIN:VCALENDAR", "VERSION:2.0", *lines, "END:VCALENDAR", ""]).encode()


def event(*lines: str) -> list[str]:
    return ["BEGIN:VEVENT", "UID:s", *lines, "END:VEVENT"]


def found(data: bytes, *known: str, window: Window = WINDOW, caps: Caps | None = None) -> Collected:
    caps = caps or Caps()
    request = PullRequest(calendar=DEE, window=window, now=NOW, known=frozenset(known))
    return collect([read(data, events=caps.events)], request, caps)


def starts(data: bytes, *, window: Window = WINDOW) -> list[str]:
    """Return the starts of what is alive, in order."""
    got = found(data, window=window)
    assert not got.quarantined
    return sorted(rfc3339(one.span.start) for one in got.events.values() if one.absence is None)


def by_library(data: bytes, window: Window) -> list[str]:
    """Return the same from the library on its own."""
    calendar = icalendar.Calendar.from_ical(data)
    components = recurring_ical_events.of(calendar).between(window.start, window.end)
    moments = (component["DTSTART"].dt for component in components)
    return sorted(rfc3339(moment) for moment in moments)


def test_a_series_with_every_kind_of_exception() -> None:
    got = found((CALENDARS / "series.ics").read_bytes())
    assert {name: (rfc3339(one.span.start), one.title, one.absence) for name, one in got.events.items()} == {
        "weekly@acme.example/20261116T150000Z": ("2026-11-16T15:00:00Z", "Weekly call", None),
        "weekly@acme.example/20261123T150000Z": ("2026-11-24T21:00:00Z", "Weekly call, moved", None),
        "weekly@acme.example/20261130T150000Z": ("2026-11-30T15:00:00Z", "Weekly call", Absence.EXCLUDED),
        "weekly@acme.example/20261207T150000Z": ("2026-12-07T15:00:00Z", "Weekly call", Absence.CANCELLED),
        "weekly@acme.example/20261214T150000Z": ("2026-12-14T17:00:00Z", "Weekly call, shorter", None),
        "weekly@acme.example/20261221T150000Z": ("2026-12-21T17:00:00Z", "Weekly call, shorter", None),
        "weekly@acme.example/20261228T150000Z": ("2026-12-28T17:00:00Z", "Weekly call, shorter", None),
    }
    assert got.series == {"weekly@acme.example"}


def test_an_occurrence_knows_its_series_and_where_the_series_put_it() -> None:
    moved = found((CALENDARS / "series.ics").read_bytes()).events["weekly@acme.example/20261123T150000Z"]
    assert moved.series == moved.uid == "weekly@acme.example"
    assert moved.original_start == datetime(2026, 11, 23, 15, tzinfo=UTC)


def test_this_and_future_changes_the_length_too() -> None:
    late = found((CALENDARS / "series.ics").read_bytes()).events["weekly@acme.example/20261228T150000Z"]
    assert late.span.ends_at - late.span.starts_at == timedelta(minutes=30)


ZONES = [
    "America/New_York",
    "Europe/Berlin",
    "Australia/Sydney",
    "America/Santiago",
    "Africa/Casablanca",
    "Asia/Kolkata",
]
RULES = ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=SA,SU", "FREQ=MONTHLY;BYDAY=-1SU", "FREQ=DAILY;INTERVAL=3;COUNT=400"]


@pytest.mark.parametrize("zone", ZONES)
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("clock", ["000000", "013000", "023000", "100000", "233000"])
def test_a_year_of_a_rule_agrees_with_the_library(zone: str, rule: str, clock: str) -> None:
    data = wrap(*event(f"DTSTART;TZID={zone}:20260103T{clock}", f"DTEND;TZID={zone}:20260103T235900", f"RRULE:{rule}"))
    year = Window(datetime(2026, 1, 5, tzinfo=UTC), datetime(2027, 2, 1, tzinfo=UTC))
    assert starts(data, window=year) == by_library(data, year)


@pytest.mark.parametrize(
    ("zone", "first", "expected"),
    [  # the Sundays on which the clocks change, and the days around them
        ("America/New_York", "20260307T100000", ["07T15", "08T14", "09T14"]),
        ("America/New_York", "20261031T100000", ["31T14", "01T15", "02T15"]),
        ("Europe/Berlin", "20260328T100000", ["28T09", "29T08", "30T08"]),
        ("Europe/Berlin", "20261024T100000", ["24T08", "25T09", "26T09"]),
        ("Australia/Sydney", "20260404T100000", ["03T23", "05T00", "06T00"]),
        ("Australia/Sydney", "20261003T100000", ["03T00", "03T23", "04T23"]),
        ("America/Santiago", "20260404T100000", ["04T13", "05T14", "06T14"]),
        ("America/Santiago", "20260905T100000", ["05T14", "06T13", "07T13"]),
    ],
)
def test_ten_o_clock_stays_ten_o_clock_when_the_clocks_change(zone: str, first: str, expected: list[str]) -> None:
    data = wrap(*event(f"DTSTART;TZID={zone}:{first}", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=3"))
    year = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert [start[8:13] for start in starts(data, window=year)] == expected


@pytest.mark.parametrize(
    ("zone", "local", "expected"),
    [
        ("America/New_York", "20260308T023000", "2026-03-08T07:30:00Z"),  # skipped: the offset before the change
        ("America/New_York", "20261101T013000", "2026-11-01T05:30:00Z"),  # strikes twice: the first
        ("Europe/Berlin", "20260329T023000", "2026-03-29T01:30:00Z"),
        ("Europe/Berlin", "20261025T023000", "2026-10-25T00:30:00Z"),
        ("Australia/Sydney", "20261004T023000", "2026-10-03T16:30:00Z"),
        ("Australia/Sydney", "20260405T023000", "2026-04-04T15:30:00Z"),
        ("America/Santiago", "20260906T003000", "2026-09-06T04:30:00Z"),
        ("America/Santiago", "20260404T233000", "2026-04-05T02:30:00Z"),
    ],
)
@pytest.mark.parametrize("rule", [[], ["RRULE:FREQ=DAILY;COUNT=1"]])
def test_times_that_do_not_exist_or_strike_twice(zone: str, local: str, expected: str, rule: list[str]) -> None:
    data = wrap(*event(f"DTSTART;TZID={zone}:{local}", *rule))
    year = Window(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    assert starts(data, window=year) == [expected]


def test_hours_of_a_duration_are_hours_and_days_go_by_the_clock() -> None:
    night = Window(datetime(2026, 10, 31, tzinfo=UTC), datetime(2026, 11, 3, tzinfo=UTC))
    lasting = {}
    for given_length in ("DURATION:PT24H", "DURATION:P1D"):
        for rule in ([], ["RRULE:FREQ=DAILY;COUNT=1"]):
            data = wrap(*event("DTSTART;TZID=America/New_York:20261031T100000", given_length, *rule))
            [one] = found(data, window=night).events.values()
            lasting[given_length, bool(rule)] = (one.span.ends_at - one.span.starts_at) // timedelta(hours=1)
    assert lasting == {
        ("DURATION:PT24H", False): 24,
        ("DURATION:PT24H", True): 24,
        ("DURATION:P1D", False): 25,
        ("DURATION:P1D", True): 25,
    }


# ---- RDATE, EXDATE, UNTIL in their kinds ----------------------------------------------------------------------------

DAILY = ["DTSTART;TZID=Europe/Berlin:20261123T090000", "DTEND;TZID=Europe/Berlin:20261123T100000"]


@pytest.mark.parametrize(
    "exdate",
    [
        "EXDATE;TZID=Europe/Berlin:20261124T090000",
        "EXDATE:20261124T080000Z",
        "EXDATE;VALUE=DATE:20261124",
        "EXDATE;TZID=America/New_York:20261124T030000",
        "EXDATE;TZID=Europe/Berlin:20261101T090000,20261124T090000",
    ],
)
def test_an_exdate_in_any_kind_takes_its_occurrence_out(exdate: str) -> None:
    got = found(wrap(*event(*DAILY, "RRULE:FREQ=DAILY;COUNT=3", exdate)))
    assert {name: one.absence for name, one in got.events.items()} == {
        "s/20261123T080000Z": None,
        "s/20261124T080000Z": Absence.EXCLUDED,
        "s/20261125T080000Z": None,
    }


def test_an_exdate_takes_out_one_of_two_occurrences_of_a_day() -> None:
    # 09:00 and 10:00 in Berlin are 08:00 and 09:00 UTC: the instant 09:00 UTC must not be mistaken for 09:00 in Berlin
    data = wrap(*event(*DAILY, "RRULE:FREQ=DAILY;COUNT=4;BYHOUR=9,10", "EXDATE:20261124T090000Z"))
    assert [start[8:13] for start in starts(data)] == ["23T08", "23T09", "24T08"]


@pytest.mark.parametrize(
    ("rdate", "end"),
    [
        ("RDATE;TZID=Europe/Berlin:20261127T150000", "15"),
        ("RDATE:20261127T140000Z", "15"),
        ("RDATE;VALUE=PERIOD:20261127T140000Z/20261127T163000Z", "16"),
        ("RDATE;VALUE=PERIOD;TZID=Europe/Berlin:20261127T150000/PT3H", "17"),
    ],
)
def test_an_rdate_in_any_kind_adds_an_occurrence(rdate: str, end: str) -> None:
    got = found(wrap(*event(*DAILY, rdate)))
    assert sorted(got.events) == ["s/20261123T080000Z", "s/20261127T140000Z"]
    assert rfc3339(got.events["s/20261127T140000Z"].span.end)[11:13] == end


def test_an_rdate_without_time_takes_the_time_of_the_series() -> None:
    assert max(found(wrap(*event(*DAILY, "RDATE;VALUE=DATE:20261127"))).events) == "s/20261127T080000Z"


def test_days_stay_days() -> None:
    lines = ["DTSTART;VALUE=DATE:20261123", "DTEND;VALUE=DATE:20261125", "RRULE:FREQ=WEEKLY;COUNT=3"]
    got = found(wrap(*event(*lines, "RDATE;VALUE=DATE:20261127", "EXDATE;VALUE=DATE:20261130")))
    assert {name: (one.span.start, one.span.end) for name, one in got.events.items() if one.absence is None} == {
        "s/20261123": (date(2026, 11, 23), date(2026, 11, 25)),
        "s/20261127": (date(2026, 11, 27), date(2026, 11, 29)),
        "s/20261207": (date(2026, 12, 7), date(2026, 12, 9)),
    }
    assert got.events["s/20261130"].absence is Absence.EXCLUDED


@pytest.mark.parametrize(
    "until", ["20261125T080000Z", "20261125T090000", "20261125", "20261125T235959Z", "20261126T075959Z"]
)
def test_until_in_any_kind_includes_its_last_occurrence(until: str) -> None:
    data = wrap(*event(*DAILY, f"RRULE:FREQ=DAILY;UNTIL={until}"))
    assert [start[8:10] for start in starts(data)] == ["23", "24", "25"]


def test_a_rule_that_ends_before_it_starts_makes_nothing() -> None:
    assert starts(wrap(*event(*DAILY, "RRULE:FREQ=DAILY;UNTIL=20261101T000000Z"))) == []


def test_a_count_is_counted_from_the_start_of_the_series() -> None:
    data = wrap(*event("DTSTART:20200101T090000Z", "RRULE:FREQ=DAILY;COUNT=2520"))
    assert starts(data)[-1] == "2026-11-24T09:00:00Z"


@pytest.mark.parametrize("rule", ["FREQ=WEEKLY;INTERVAL=3", "FREQ=MONTHLY;INTERVAL=5", "FREQ=DAILY;INTERVAL=17"])
@pytest.mark.parametrize("start", ["19990101T090000", "20001231T090000", "20250228T090000", "20261201T090000"])
def test_an_old_series_keeps_its_rhythm(rule: str, start: str) -> None:
    data = wrap(*event(f"DTSTART;TZID=America/New_York:{start}", "DURATION:PT1H", f"RRULE:{rule}"))
    year = Window(WINDOW.start, WINDOW.start + timedelta(days=366))
    assert starts(data, window=year) == by_library(data, year)


# ---- overrides ------------------------------------------------------------------------------------------------------


def series(*override: str, rule: str = "FREQ=DAILY;COUNT=3") -> bytes:
    return wrap(*event(*DAILY, "SUMMARY:Call", f"RRULE:{rule}"), *event("SUMMARY:Moved", *override))


@pytest.mark.parametrize(
    "name",
    [
        "RECURRENCE-ID;TZID=Europe/Berlin:20261124T090000",
        "RECURRENCE-ID:20261124T080000Z",
        "RECURRENCE-ID;VALUE=DATE:20261124",
        "RECURRENCE-ID;TZID=America/New_York:20261124T030000",
    ],
)
def test_an_override_is_recognised_however_it_names_its_occurrence(name: str) -> None:
    got = found(series(name, "DTSTART:20261124T180000Z", "DURATION:PT1H"))
    assert sorted(got.events) == ["s/20261123T080000Z", "s/20261124T080000Z", "s/20261125T080000Z"]
    assert got.events["s/20261124T080000Z"].title == "Moved"


def test_an_override_moved_out_of_the_window_is_shown_to_who_knows_it() -> None:
    data = series("RECURRENCE-ID:20261124T080000Z", "DTSTART:20280101T090000Z", "DURATION:PT1H")
    assert "s/20261124T080000Z" not in found(data).events
    assert found(data, "s/20261124T080000Z").events["s/20261124T080000Z"].span.starts_at.year == 2028


def test_an_occurrence_that_returned_to_its_place_beyond_the_window_is_shown_to_who_knows_it() -> None:
    data = wrap(*event("DTSTART:20260101T090000Z", "RRULE:FREQ=WEEKLY"))
    assert "s/20260108T090000Z" not in found(data).events
    assert "s/20260108T090000Z" in found(data, "s/20260108T090000Z").events
    assert "s/20260109T090000Z" not in found(data, "s/20260109T090000Z").events  # never an occurrence


def test_an_override_moved_into_the_window_is_shown() -> None:
    data = series(
        "RECURRENCE-ID:20280101T080000Z", "DTSTART:20261201T090000Z", rule="FREQ=DAILY;UNTIL=20261124T000000Z"
    )
    assert "s/20280101T080000Z" in found(data).events


def test_an_override_without_its_series_is_an_occurrence() -> None:
    got = found(wrap(*event("RECURRENCE-ID:20261124T080000Z", "DTSTART:20261124T090000Z")))
    assert [(one.id, one.series) for one in got.events.values()] == [("s/20261124T080000Z", "s")]
    assert not got.series


def test_the_newer_of_two_overrides_counts() -> None:
    old = event("RECURRENCE-ID:20261124T080000Z", "DTSTART:20261124T100000Z", "SEQUENCE:1", "SUMMARY:old")
    new = event("RECURRENCE-ID:20261124T080000Z", "DTSTART:20261124T110000Z", "SEQUENCE:2", "SUMMARY:new")
    for order in (old + new, new + old):
        got = found(wrap(*event(*DAILY, "RRULE:FREQ=DAILY;COUNT=3"), *order))
        assert got.events["s/20261124T080000Z"].title == "new"


def test_a_cancelled_series_is_a_tombstone_and_its_occurrences_keep_their_details() -> None:
    got = found(wrap(*event(*DAILY, "SUMMARY:Call", "RRULE:FREQ=DAILY;COUNT=2", "STATUS:CANCELLED")))
    assert [(stone.id, stone.absence) for stone in got.tombstones] == [("s", Absence.CANCELLED)]
    assert {(one.title, one.absence) for one in got.events.values()} == {("Call", Absence.CANCELLED)}
    assert len(got.events) == 2


def test_a_changed_rule_no_longer_shows_what_it_made() -> None:
    before = found(wrap(*event(*DAILY, "RRULE:FREQ=DAILY;COUNT=3")))
    after = found(wrap(*event(*DAILY, "RRULE:FREQ=DAILY;COUNT=2")), *before.events)
    assert set(before.events) - set(after.events) == {"s/20261125T080000Z"}
    assert after.series == {"s"}


# ---- bounded work ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ("FREQ=SECONDLY", "its rule repeats by the second"),
        ("FREQ=MINUTELY", "it has more than 2000 occurrences in the window"),
        ("FREQ=MINUTELY;COUNT=1000000000", "its rules make more occurrences than one calendar may have"),
        ("FREQ=DAILY;BYHOUR=0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15;BYMINUTE=0,5,10", "it has more than 2000 occur"),
        ("FREQ=DAILY;INTERVAL=0", "its rule has an INTERVAL that makes no sense"),
        ("FREQ=DAILY;INTERVAL=-3", "its rule has an INTERVAL that makes no sense"),
        ("FREQ=FORTNIGHTLY", "its rule can't be read"),
        ("FREQ=DAILY;BYMOON=FULL", "its rule has a part that is not understood: BYMOON"),
        ("INTERVAL=2", "its rule has no FREQ"),
        ("FREQ=DAILY;BYHOUR=99", "hour must be in 0..23"),
        ("nonsense", "its rule has no FREQ"),
    ],
)
def test_a_rule_that_is_wrong_or_endless_is_quarantined_with_its_reason(rule: str, why: str) -> None:
    ending = time.monotonic() + 20
    got = found(
        wrap(
            *event("DTSTART:20200101T090000Z", f"RRULE:{rule}"),
            "BEGIN:VEVENT",
            "UID:t",
            "DTSTART:20261124T090000Z",
            "END:VEVENT",
        )
    )
    assert time.monotonic() < ending
    assert got.quarantined["s"].startswith(why)
    assert list(got.events) == ["t"]  # the rest goes on


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MONTHLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=WEEKLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=MINUTELY;BYMONTH=2;BYMONTHDAY=30",
        "FREQ=DAILY;INTERVAL=9999;BYMONTH=2;BYMONTHDAY=30;COUNT=5",
    ],
)
def test_a_rule_that_never_matches_ends(rule: str) -> None:
    budget = Budget(steps=10, months=10_000)
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    assert list(walk(parse_rule(rule), start, start, end, budget)) == []
    assert budget.months > 5_000  # 80 years are 960 months: it did not go on to the year 9999


def test_a_minutely_rule_with_a_filter_pays_for_what_it_tries() -> None:
    start, end = datetime(2020, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    costly = parse_rule("FREQ=MINUTELY;COUNT=99999;BYHOUR=3;BYMINUTE=3")
    made = walk(costly, start, start, end, Budget(steps=1_000))
    with pytest.raises(TooMuchError):
        list(made)


def test_a_calendar_full_of_costly_rules_has_one_budget() -> None:
    start, end = datetime(1900, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)
    budget = Budget(steps=10**9, months=10_000)
    costly = parse_rule("FREQ=YEARLY;COUNT=9999")
    with pytest.raises(TooMuchError):
        list(chain.from_iterable(walk(costly, start, end, end, budget) for _ in range(100)))


def test_the_occurrences_of_all_series_have_a_bound() -> None:
    caps = Caps(total_occurrences=5)
    lines = [
        line
        for name in "abc"
        for line in ("BEGIN:VEVENT", f"UID:{name}", *DAILY, "RRULE:FREQ=DAILY;COUNT=3", "END:VEVENT")
    ]
    got = found(wrap(*lines), caps=caps)
    assert sorted(got.events) == ["a/20261123T080000Z", "a/20261124T080000Z", "a/20261125T080000Z"]
    assert set(got.quarantined) == {"b", "c"}


# ---- properties -----------------------------------------------------------------------------------------------------

RULE = st.builds(
    lambda freq, interval, end, by: ";".join(filter(None, [f"FREQ={freq}", f"INTERVAL={interval}", end, by])),
    st.sampled_from(["DAILY", "WEEKLY", "MONTHLY", "YEARLY"]),
    st.integers(1, 5),
    st.sampled_from(["", "COUNT=1", "COUNT=7", "COUNT=300", "UNTIL=20261210T120000Z"]),
    st.sampled_from(["", "BYDAY=MO,FR", "BYMONTHDAY=-1,15", "BYDAY=TU;WKST=SU", "BYHOUR=9,14"]),
)


@given(
    rule=RULE,
    zone=st.sampled_from(ZONES),
    start=st.datetimes(datetime(2019, 1, 1), datetime(2026, 12, 1)),  # noqa: DTZ001 - local times of `zone`
    minutes=st.integers(1, 2000),
)
def test_any_rule_agrees_with_the_library(rule: str, zone: str, start: datetime, minutes: int) -> None:
    local = f"{start:%Y%m%dT%H%M%S}"
    data = wrap(
        *event(f"DTSTART;TZID={zone}:{local}", f"DURATION:P{minutes // 1440}DT{minutes % 1440}M", f"RRULE:{rule}")
    )
    assert set(starts(data)) == set(by_library(data, WINDOW))


@given(rule=RULE, past=st.integers(0, 400), known=st.integers(0, 40))
def test_an_occurrence_has_one_name_whatever_the_window(rule: str, past: int, known: int) -> None:
    data = wrap(*event("DTSTART;TZID=Australia/Sydney:20260105T093000", "DURATION:PT1H", f"RRULE:{rule}"))
    wide = found(data, window=Window(WINDOW.start - timedelta(days=past), WINDOW.end)).events
    narrow = found(data, *list(wide)[:known]).events
    assert narrow.items() <= wide.items()
    assert all(name in narrow for name in list(wide)[:known])
