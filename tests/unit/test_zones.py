"""Zones: names as exporters write them, and VTIMEZONEs of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.sources.ical import read
from reconciler.sources.zones import Table, UnknownZoneError, Zones, custom, find

CALENDARS = Path(__file__).resolve().parents[1] / "calendars"


@pytest.mark.parametrize(
    ("name", "zone"),
    [
        ("Europe/Berlin", "Europe/Berlin"),
        ("europe/berlin", "Europe/Berlin"),
        (" America/New_York ", "America/New_York"),
        ("Eastern Standard Time", "America/New_York"),
        ("W. Europe Standard Time", "Europe/Berlin"),
        ("AUS Eastern Standard Time", "Australia/Sydney"),
        ("/citadel.example/20261122_1/Europe/Berlin", "Europe/Berlin"),
        ("/freeassociation.example/Tzfile/America/Argentina/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("tzone://Microsoft/Utc", "UTC"),
        ("GMT", "GMT"),
    ],
)
def test_names_as_exporters_write_them(name: str, zone: str) -> None:
    found = find(name)
    assert found is not None
    assert found.key == zone


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Olympus", "../../etc/passwd", "/etc/passwd", "Europe", "a\x00b", "x" * 5000, "tzone://Microsoft/Custom"],
)
def test_what_is_no_zone_is_none(name: str) -> None:
    assert find(name) is None


def definition(tzid: str, *parts: str, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    return (f"TZID:{tzid}", *extra, *(line for part in parts for line in part.split("|")))


STANDARD = (
    "BEGIN:STANDARD|DTSTART:19701025T030000|TZOFFSETFROM:+0200|TZOFFSETTO:+0100"
    "|RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU|END:STANDARD"
)
DAYLIGHT = (
    "BEGIN:DAYLIGHT|DTSTART:19700329T020000|TZOFFSETFROM:+0100|TZOFFSETTO:+0200"
    "|RRULE:FREQ=YEARLY;BYMONTH=3;BYDAY=-1SU|END:DAYLIGHT"
)
BERLIN = definition("Custom", STANDARD, DAYLIGHT)


@given(st.datetimes(datetime(1996, 1, 1), datetime(2090, 1, 1)), st.sampled_from([0, 1]))  # noqa: DTZ001 - local times
def test_a_custom_zone_with_berlins_rules_is_berlin(local: datetime, fold: int) -> None:
    mine, known = custom(BERLIN), ZoneInfo("Europe/Berlin")
    here = local.replace(fold=fold, microsecond=0)
    assert here.replace(tzinfo=mine).utcoffset() == _berlin(here, known)
    utc = here.replace(tzinfo=UTC)
    back = utc.astimezone(mine)
    assert back.astimezone(UTC) == utc
    assert back.utcoffset() == utc.astimezone(known).utcoffset() or local.year > 2037


def _berlin(local: datetime, known: ZoneInfo) -> timedelta | None:
    return local.replace(tzinfo=known).utcoffset()


def test_a_time_that_strikes_twice_is_told_apart_by_fold() -> None:
    zone = custom(BERLIN)
    first, second = (datetime(2026, 10, 25, hour, 30, tzinfo=UTC).astimezone(zone) for hour in (0, 1))
    assert (first.hour, first.fold, second.hour, second.fold) == (2, 0, 2, 1)
    assert second.astimezone(UTC) - first.astimezone(UTC) == timedelta(hours=1)


def test_a_zone_defined_by_dates_instead_of_rules() -> None:
    dated = STANDARD.replace("RRULE:FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "RDATE:20261025T030000,20271031T030000")
    zone = custom(definition("Dated", dated, DAYLIGHT))
    assert datetime(2026, 12, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)
    assert datetime(2027, 12, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)


def test_a_rule_that_has_ended_changes_nothing_after_it() -> None:
    ended = DAYLIGHT.replace("BYDAY=-1SU", "BYDAY=-1SU;UNTIL=20200329T010000Z")
    zone = custom(definition("Ended", STANDARD, ended))
    assert datetime(2020, 7, 1, tzinfo=zone).utcoffset() == timedelta(hours=2)
    assert datetime(2021, 7, 1, tzinfo=zone).utcoffset() == timedelta(hours=1)


def test_before_its_first_change_a_zone_has_the_offset_it_changed_from() -> None:
    assert datetime(1950, 7, 1, tzinfo=custom(BERLIN)).utcoffset() == timedelta(hours=1)


def test_a_known_name_is_the_known_zone_whatever_its_definition_says() -> None:
    zones = Zones([definition("Europe/Berlin", STANDARD.replace("+0100", "-0900"))])
    assert zones.get("Europe/Berlin") is ZoneInfo("Europe/Berlin")


def test_libicals_hint_names_the_known_zone() -> None:
    zones = Zones([definition("My Zone", STANDARD, extra=("X-LIC-LOCATION:Europe/Berlin",))])
    assert zones.get("My Zone") is ZoneInfo("Europe/Berlin")


def test_two_calendars_may_call_different_zones_the_same() -> None:
    west = Zones([definition("Custom", STANDARD.replace("+0200", "-0700").replace("+0100", "-0800"))])
    east = Zones([BERLIN])
    noon = datetime(2026, 12, 1, 12)  # noqa: DTZ001 - a local time
    assert noon.replace(tzinfo=west.get("Custom")).utcoffset() == timedelta(hours=-8)
    assert noon.replace(tzinfo=east.get("Custom")).utcoffset() == timedelta(hours=1)


def test_a_zone_is_built_once() -> None:
    zones = Zones([BERLIN])
    assert isinstance(zones.get("Custom"), Table)
    assert zones.get("Custom") is zones.get("Custom")


def test_outlooks_zones_are_known_by_name_or_built() -> None:
    [sheet] = read((CALENDARS / "outlook.ics").read_bytes(), events=10).sheets
    zones = Zones(sheet.zones)
    assert zones.get("Eastern Standard Time") is ZoneInfo("America/New_York")
    built = zones.get("Customized Time Zone")
    assert [datetime(2026, month, 1, tzinfo=built).utcoffset() for month in (1, 7)] == [
        timedelta(hours=1),
        timedelta(hours=2),
    ]


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ((), "is not known and not defined"),
        (definition("Broken"), "without any offset"),
        (definition("Broken", STANDARD.replace("TZOFFSETTO:+0100|", "")), "without TZOFFSETTO"),
        (definition("Broken", STANDARD.replace("+0100", "east")), "an offset that is none"),
        (definition("Broken", STANDARD.replace("+0100", "+9900")), "a day or more"),
        (definition("Broken", STANDARD.replace("19701025T030000", "long ago")), "does not match"),
        (definition("Broken", STANDARD.replace("FREQ=YEARLY", "FREQ=SECONDLY")), "repeats by the second"),
        (definition("Broken", STANDARD.replace("FREQ=YEARLY;BYMONTH=10;BYDAY=-1SU", "FREQ=DAILY")), "more occurrences"),
    ],
)
def test_a_zone_that_can_not_be_known_is_refused(lines: tuple[str, ...], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        Zones([lines] if lines else []).get("Broken")


def test_a_broken_zone_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    zones = Zones([definition("Broken", STANDARD.replace("FREQ=YEARLY", "FREQ=SECONDLY"))])
    tried: list[tuple[str, ...]] = []

    def counted(lines: tuple[str, ...]) -> Table:
        tried.append(lines)
        return custom(lines)

    monkeypatch.setattr("reconciler.sources.zones.custom", counted)
    for _ in range(3):
        with pytest.raises(UnknownZoneError, match="repeats by the second"):
            zones.get("Broken")
    assert len(tried) == 1


def test_an_unknown_zone_is_never_guessed() -> None:
    with pytest.raises(UnknownZoneError):
        Zones(home=ZoneInfo("Europe/Berlin")).get("Somewhere")
