"""Disasters of time: an hour off, clocks that lie, edges of the window, and a job that nobody started for a month."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from reconciler.result import Result
from tests.e2e import google_world
from tests.e2e.google_world import ANN, agreed, later, making, showing, times
from tests.e2e.world import CLIENT, NOW, World, calendar, event, kinds, planned

Make = Callable[..., World]
MakeGoogle = google_world.Make
CHICAGO = ZoneInfo("America/Chicago")
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
SOON = NOW + 2 * DAY


@pytest.fixture
def google(tmp_path: Path) -> Iterator[MakeGoogle]:
    """Make a world whose calendars are Google's."""
    yield from making(tmp_path)


def entry(uid: str, *lines: str) -> str:
    said = "".join(f"{line}\r\n" for line in lines)
    guest = f"ATTENDEE;PARTSTAT=ACCEPTED:mailto:{CLIENT}\r\n"
    return f"BEGIN:VEVENT\r\nUID:{uid}\r\nDTSTAMP:20261101T000000Z\r\nSUMMARY:Showing\r\n{said}{guest}END:VEVENT\r\n"


OFFICE = (
    "BEGIN:VTIMEZONE\r\nTZID:Office\r\n"
    "BEGIN:STANDARD\r\nDTSTART:16010101T020000\r\nTZOFFSETFROM:-0500\r\nTZOFFSETTO:-0600\r\n"
    "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=1SU;BYMONTH=11\r\nEND:STANDARD\r\n"
    "BEGIN:DAYLIGHT\r\nDTSTART:16010101T020000\r\nTZOFFSETFROM:-0600\r\nTZOFFSETTO:-0500\r\n"
    "RRULE:FREQ=YEARLY;INTERVAL=1;BYDAY=2SU;BYMONTH=3\r\nEND:DAYLIGHT\r\nEND:VTIMEZONE\r\n"
)


def feed(world: World, *entries: str) -> None:
    """Write Ann's calendar as one that says that its home is Chicago."""
    text = calendar(*entries).replace("PRODID", "X-WR-TIMEZONE:America/Chicago\r\nPRODID", 1)
    world.file(ANN).write_bytes(text.encode())


# ---- row 9: one hour off, wrong day ---------------------------------------------------------------------------------

SPELLED = {
    "with its zone": "TZID=America/Chicago:",
    "with Windows' name of it": "TZID=Central Standard Time:",
    "with a zone that the file defines": "TZID=Office:",
    "floating": "",
}


@pytest.mark.parametrize("spelling", SPELLED)
def test_ten_in_chicago_is_ten_in_chicago_before_and_after_the_change_of_clocks(make: Make, spelling: str) -> None:
    """Row 9: IANA zones, Windows zones and floating times, each on both sides of the 14 March 2027."""
    zone = SPELLED[spelling]
    start = f"DTSTART;{zone}{{}}" if zone else "DTSTART:{}"
    end = start.replace("DTSTART", "DTEND")
    world = make(now=datetime(2027, 3, 1, 17, tzinfo=UTC))
    days = ("20270312", "20270313", "20270314", "20270315")
    feed(world, OFFICE, *(entry(day, start.format(f"{day}T100000"), end.format(f"{day}T110000")) for day in days))
    world.run()
    assert [row[0] for row in world.rows("starts_at")] == [
        "2027-03-12 16:00:00",
        "2027-03-13 16:00:00",
        "2027-03-14 15:00:00",
        "2027-03-15 15:00:00",
    ]
    for _ in range(6):  # from before the change to after it
        world.now += 3 * DAY
        result = world.run(full=True)
        assert (result.deltas, result.findings) == ((), ())


def test_a_zone_that_nobody_knows_is_said_and_never_guessed(make: Make) -> None:
    """Row 9: an entry whose wall clock hangs nowhere is set aside; the rest of its calendar goes on."""
    world = make()
    lost = entry("lost", "DTSTART;TZID=Office:20261124T100000", "DTEND;TZID=Office:20261124T110000")
    feed(world, lost, event("a"))
    result = world.run()
    assert planned(result) == [("create", "done")]
    assert "quarantined" in kinds(result)
    assert world.rows("source_key") == [("a",)]


def test_a_weekly_series_and_an_hour_that_does_not_exist_agree_with_a_crm_that_keeps_local_times(make: Make) -> None:
    """Row 9: 02:30 on the night of the change is written by each side in its own way, and is one instant."""
    world = make(now=datetime(2027, 3, 1, 17, tzinfo=UTC))
    rule = "RRULE:FREQ=WEEKLY;COUNT=4"
    night = entry("night", "DTSTART;TZID=America/New_York:20270307T023000", "DURATION:PT1H", rule)
    feed(world, night)
    world.run()
    agreed_on = world.rows("starts_at")
    assert [row[0] for row in agreed_on] == [
        "2027-03-07 07:30:00",
        "2027-03-14 07:30:00",
        "2027-03-21 06:30:00",
        "2027-03-28 06:30:00",
    ]
    for _ in range(7):
        world.now += 4 * DAY
        assert (world.run(full=True).deltas, world.rows("starts_at")) == ((), agreed_on)


def test_a_connector_that_writes_in_the_wrong_zone_is_one_finding_and_no_wave_of_writes(make: Make) -> None:
    """Row 9: all rows of an agent six hours off have one cause, which nobody's repair may hide."""
    world = make(policy='first = "calendar"')
    starts = [SOON + number * DAY for number in range(6)]
    world.write(ANN, *(event(f"e{number}", start) for number, start in enumerate(starts)))
    for number, start in enumerate(starts):
        world.insert(f"e{number}", start - 6 * HOUR, agent_email=ANN)
    before = world.rows()
    for _ in range(3):
        world.now += HOUR
        result = world.run()
        assert (result.deltas, world.rows()) == ((), before)
        assert kinds(result) == ["tz_shift"]


# ---- row 17: the last to write wins, by clocks that differ ----------------------------------------------------------

CLOCKS = {"a day slow": -1, "right": 0, "a day fast": 1, "two years slow": -730, "a month fast": 30}


@pytest.mark.parametrize("clock", CLOCKS)
def test_whose_edit_counts_is_told_by_what_was_agreed_and_never_by_a_clock(make: Make, clock: str) -> None:
    """Row 17: the CRM's clock is wrong. An edit there is a person's, a move in the calendar is the calendar's."""
    world = make()
    world.write(ANN, event("a"), event("b", SOON + DAY), event("c", SOON + 2 * DAY))
    world.run()
    stamped = f"{NOW + CLOCKS[clock] * DAY:%Y-%m-%d %H:%M:%S}"
    edit = "UPDATE appointments SET starts_at = ?, ends_at = ?, version = version + 1, updated_at = ? WHERE id = ?"
    world.sql(edit, "2026-11-24 19:00:00", "2026-11-24 20:00:00", stamped, 1)
    world.sql("UPDATE appointments SET updated_at = ?, version = version + 1 WHERE id = 2", stamped)
    world.sql(edit, "2026-11-26 19:00:00", "2026-11-26 20:00:00", stamped, 3)
    world.write(ANN, event("a"), event("b", SOON + DAY + HOUR), event("c", SOON + 2 * DAY + HOUR))
    world.run()
    world.now += 2 * HOUR  # what its clock dates to this minute is young for a while
    world.run()
    result = world.run()
    assert world.rows("starts_at") == [("2026-11-24 19:00:00",), ("2026-11-25 18:00:00",), ("2026-11-26 19:00:00",)]
    assert {(finding.crm_id, str(finding.remedy)) for finding in result.findings} == {("1", "human"), ("3", "human")}
    assert "conflict" in kinds(result)


# ---- row 24: all-day off by one, edges of the window ----------------------------------------------------------------

BEGINS = datetime(2027, 2, 22, 23, 59, tzinfo=UTC)
WINDOW = '\n[window]\npast = "3d"\nfuture = "20d"'


def diary() -> dict[str, tuple[str, datetime]]:
    """Return entries of every shape on every day of seven weeks, each with the first instant that it touches."""
    found: dict[str, tuple[str, datetime]] = {}
    for number in range(2, 50):
        day = (BEGINS + number * DAY).date()
        shapes = {
            "midnight": (datetime(day.year, day.month, day.day, tzinfo=UTC), 1.0),
            "last": (datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC), 0.5),
            "night": (datetime(day.year, day.month, day.day, 23, 30, tzinfo=CHICAGO), 9.0),
        }
        for shape, (start, hours) in shapes.items():
            if number % 3 == len(shape) % 3:
                client = f"{shape}@mail.example"
                found[f"{shape}-{day}"] = event(f"{shape}-{day}", start, hours=hours, client=client), start
        if number % 4 == 0:
            lines = (f"DTSTART;VALUE=DATE:{day:%Y%m%d}", f"DTEND;VALUE=DATE:{day + 2 * DAY:%Y%m%d}")
            found[f"days-{day}"] = entry(f"days-{day}", *lines), datetime(day.year, day.month, day.day, tzinfo=UTC)
    return found


def test_day_by_day_over_the_ends_of_months_and_the_change_of_clocks_each_entry_is_made_once_and_left_alone(
    make: Make,
) -> None:
    """Row 24: the window's edges pass over everything, a minute before and after each midnight. Nothing flaps."""
    world = make(now=BEGINS, section=WINDOW, limits='create = "500"')
    world.write(ANN, *(text for text, _ in diary().values()))
    made: Counter[str] = Counter()
    for night in range(25):  # to the 19 March: over two ends of months and the 14 March, at both edges
        world.now = BEGINS + night * DAY + timedelta(minutes=night % 2 * 2)  # a minute before midnight, or one after
        result = world.run()
        assert {delta.action for delta in result.deltas} <= {"create"}
        assert {finding.kind for finding in result.findings} <= {"missing_in_crm", "double_booked_agent"}
        made.update(delta.key for delta in result.deltas)
    assert set(made.values()) == {1}
    inside = {key for key, (_, start) in diary().items() if start < world.now.replace(hour=0, minute=0) + 20 * DAY}
    assert inside <= made.keys()
    assert {status for (status,) in world.rows("status")} == {"scheduled"}
    assert len(world.rows()) == len(made)


def test_whole_days_keep_their_days_on_their_way_into_the_crm_and_back(make: Make) -> None:
    """Row 24: one day, two days, and the days of both changes of clocks: ends are exclusive here and there."""
    world = make(now=datetime(2027, 2, 20, 17, tzinfo=UTC))
    days = {"one": ("20270224", "20270225"), "two": ("20270301", "20270303"), "spring": ("20270314", "20270315")}
    lines = {uid: (f"DTSTART;VALUE=DATE:{start}", f"DTEND;VALUE=DATE:{end}") for uid, (start, end) in days.items()}
    feed(world, *(entry(uid, *said) for uid, said in lines.items()))
    world.run()
    assert [(row[0][:10], row[1][:10], row[2]) for row in world.rows("starts_at, ends_at, all_day")] == [
        (str(date.fromisoformat(start)), str(date.fromisoformat(end)), 1) for start, end in days.values()
    ]
    for _ in range(10):
        world.now += 3 * DAY
        result = world.run(full=True)
        assert (result.deltas, result.findings) == ((), ())


# ---- row 25: paused, and nobody knows -------------------------------------------------------------------------------


def test_a_job_that_was_paused_for_a_month_makes_up_for_all_of_it_at_once_and_for_nothing_that_is_past(
    google: MakeGoogle,
) -> None:
    """Row 25: cursors died, the window moved on by half, people went on working on both sides."""
    world = google()
    names = [f"e{number:02}" for number in range(20)]
    agreed(world, names)
    mine = world.calendar()
    far = NOW + 40 * DAY
    for place, name in enumerate(names[:4]):
        mine.patch(name, times(far + place * HOUR))
    mine.delete("e04")
    mine.insert(showing("came-and-went", NOW + 10 * DAY))
    mine.insert(showing("new", far + 30 * HOUR))
    later(world, days=31)
    mine.kill_tokens()
    result = world.run()
    assert counted(result) == {("create", "done"): 1, ("update", "done"): 4}
    assert {(finding.event, str(finding.remedy)) for finding in result.findings if finding.remedy == "human"} <= {
        ("came-and-went", "human"),
        ("e04", "human"),
    }
    assert Counter(status for (status,) in world.rows("status")) == {"scheduled": 21}, "what is past is left as it was"
    for _ in range(3):
        later(world, hours=6)
        assert world.run().deltas == ()


def counted(result: Result) -> Counter[tuple[str, str]]:
    return Counter(planned(result))


def test_a_month_without_a_run_is_no_reason_to_cancel_what_a_feed_has_forgotten(make: Make) -> None:
    """Row 25: feeds drop what is past; of that nothing is said, and what is to come is kept and asked about."""
    world = make(absence="evidence")
    entries = {f"e{number:02}": event(f"e{number:02}", NOW + number * 3 * DAY + HOUR) for number in range(1, 15)}
    world.write(ANN, *entries.values())
    world.run()
    before = world.rows()
    world.now += 30 * DAY
    world.write(ANN, *(text for key, text in entries.items() if key >= "e10"))
    result = world.run()
    assert (result.deltas, result.findings, world.rows()) == ((), (), before)
    world.write(ANN, *(text for key, text in entries.items() if key > "e10"))
    result = world.run()
    assert ([(one.event, one.kind, one.remedy) for one in result.findings], world.rows()) == (
        [("e10", "orphan_in_crm", "human")],
        before,
    )
