"""A day of the crontab in fast time: every line at every minute that it names, against the sample brokerage.

Things go wrong at hours chosen below. What the day left is looked at afterwards: which slots were served by which runs,
what was put right, who was mailed what and when, and which alerts Prometheus would have raised on what was exported.

It is a Sunday, the first of its month, on which clocks in America are set back: every line of the crontab has its turn.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from croniter import croniter

from reconciler import schedule
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.schedule import Entry
from reconciler.simulator import brokerage, office
from reconciler.simulator.brokerage import ANN, DEE, FAY
from reconciler.simulator.google_workspace import Workspace
from tests.e2e.google_world import times
from tests.monitoring import input_series, promtool
from tests.postbox import Postbox, postbox

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

ROOT: Final = Path(__file__).resolve().parents[2]
DAY: Final = datetime(2026, 11, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
EVERY: Final = 5 * MINUTE
MAIL: Final = (
    'mail = {{ to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "smtp://127.0.0.1:{port}" }}'
)
METRICS: Final = '\n[metrics]\ntextfile = "../sample.prom"\n'
AWAKE: Final = "\n[budget.google]\nshare = 1.0\n"  # a day's requests are sent within a minute or two of real time


@dataclass
class Day:
    """The brokerage of one day, and what was noted down as it went by."""

    place: Path
    google: Workspace
    box: Postbox
    now: datetime = DAY
    off: bool = False
    twice: bool = False
    codes: dict[tuple[datetime, str], int] = field(default_factory=dict)
    exports: list[tuple[datetime, str]] = field(default_factory=list)
    mails: list[tuple[datetime, str]] = field(default_factory=list)
    moved: tuple[str, datetime] = ("", DAY)

    def clock(self) -> datetime:
        return self.now

    def start(self, line: Entry) -> None:
        """Start a line as cron does, twice where that is beside itself."""
        world = Outside(environ={}, cwd=self.place, clock=self.clock, sleep=lambda _seconds: None)
        for _ in range(1 + self.twice):
            code = entry.call(line.words, world)
            self.codes[self.now, line.words[0]] = max(code, self.codes.get((self.now, line.words[0]), 0))
        self.exports.append((self.now, (self.place / "sample.prom").read_text()))
        subjects = [str(letter["Subject"]) for letter in self.box.letters[len(self.mails) :]]
        self.mails += [
            (self.now, subject[len("[RECON] ") : -len(" - Acme Realty - 2026-11-01")]) for subject in subjects
        ]

    def ask(self, database: str, statement: str, *values: Any) -> list[Any]:
        with closing(sqlite3.connect(self.place / database)) as connection, connection:
            return connection.execute(statement, values).fetchall()

    def move(self) -> None:
        """Let Dee move an appointment by an hour."""
        calendar = self.google.server.calendar(DEE.email)
        event = next(one for one in calendar.events() if "recurrence" not in one and "dateTime" in one["start"])
        start = datetime.fromisoformat(event["start"]["dateTime"]) + HOUR
        calendar.patch(event["id"], times(start))
        self.moved = (f"{event['iCalUID']}", start.astimezone(UTC))


def at(hour: int, minute: int = 0) -> datetime:
    return DAY + timedelta(hours=hour, minutes=minute)


def happenings(day: Day) -> Mapping[datetime, Callable[[], object]]:
    """Return what goes wrong, and when it is put right."""
    calendars = [day.google.server.calendar(person.email) for person in (ANN, DEE, FAY)]

    def refuse() -> None:
        for calendar in calendars:
            calendar.refuse(403, "forbidden")

    def restore() -> None:
        for calendar in calendars:
            calendar.restore()

    return {
        at(2): refuse,
        at(2, 33): restore,
        at(5, 1): lambda: setattr(day, "off", True),
        at(6, 1): lambda: setattr(day, "off", False),
        at(8, 1): lambda: day.ask("crm.db", "ALTER TABLE appointments RENAME TO elsewhere"),
        at(10, 46): lambda: day.ask("crm.db", "ALTER TABLE elsewhere RENAME TO appointments"),
        at(11, 59): lambda: day.box.faults.update(MAIL="451 try later"),
        at(12, 15): day.box.faults.clear,
        at(14, 3): day.move,
        at(18, 1): lambda: setattr(day, "twice", True),
        at(19, 1): lambda: setattr(day, "twice", False),
        at(20, 1): lambda: day.google.server.accounts.refuse(ANN.email, "invalid_grant"),
    }


def live(day: Day) -> None:
    """Let the day go by, minute by minute."""
    lines = schedule.read(day.place / "crontab").entries
    happens = happenings(day)
    for minute in range(24 * 60):
        day.now = DAY + minute * MINUTE
        happens.get(day.now, lambda: None)()
        for line in lines:
            if not day.off and croniter.match(line.expression, day.now):
                day.start(line)


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Day]:
    place = tmp_path_factory.mktemp("day")
    with ExitStack() as opened:
        box = opened.enter_context(postbox())
        google = opened.enter_context(Workspace(lambda: DAY))
        lived = Day(place, google, box)
        google.live(lived.clock)
        job = office.furnish(place, google)
        text = job.read_text().replace("[report]\n", f"[report]\n{MAIL.format(port=box.port)}\n")
        job.write_text(text + METRICS + AWAKE)
        before = DAY - 2 * HOUR
        office.settle_in(place, brokerage.agreed(before), before, google)
        (place / "crontab").write_text((ROOT / "crontab").read_text().replace(" acme", " sample"))
        live(lived)
        yield lived


def slots(first: datetime, last: datetime) -> list[datetime]:
    return [first + number * EVERY for number in range(1 + (last - first) // EVERY)]


def test_each_slot_of_the_day_is_served_by_one_run_but_those_when_the_machine_was_off(day: Day) -> None:
    served = [datetime.fromtimestamp(slot, UTC) for (slot,) in day.ask("state.db", "SELECT slot FROM runs ORDER BY id")]
    assert served == [*slots(DAY, at(5)), *slots(at(6, 5), at(23, 55))]


def test_each_line_of_the_crontab_had_its_turn(day: Day) -> None:
    found = day.ask(
        "state.db", "SELECT command, COUNT(*), COUNT(ended_at) FROM slots GROUP BY command ORDER BY command"
    )
    month = next(command for command, _, _ in found if "31d" in command)
    assert {command: (began, ended) for command, began, ended in found} == {
        "run": (276, 276),
        "report --send": (1, 1),
        "report --send --urgent": (92, 92),
        month: (1, 1),
        "state prune": (1, 1),
    }
    assert (day.place / "reports-of-the-month.html").exists()


def test_what_went_wrong_shows_in_exit_codes_as_long_as_it_is_news(day: Day) -> None:
    story = [(now, code) for (now, word), code in sorted(day.codes.items()) if word == "run" and code]
    blind = [(at(2), 5), (at(2, 5), 5), (at(20, 5), 5)]
    assert story == sorted([*blind, *((now, 4) for now in slots(at(8, 5), at(10, 45)))])
    assert [now for (now, word), code in day.codes.items() if word == "report" and code] == [at(12), at(12, 7)]


def test_what_a_person_moved_is_moved_in_the_crm_when_it_has_settled(day: Day) -> None:
    uid, start = day.moved
    written = day.ask("state.db", "SELECT runs.slot, journal.status FROM journal JOIN runs ON runs.id = journal.run")
    assert written == [(at(14, 15).timestamp(), "done")]
    [(stands,)] = day.ask("crm.db", "SELECT starts_at FROM appointments WHERE source_key = ?", uid)
    assert datetime.fromisoformat(stands).replace(tzinfo=UTC) == start


def test_of_all_that_happened_people_get_one_mail_each(day: Day) -> None:
    assert day.mails == [
        (at(2, 7), "URGENT: 3 not seen"),
        (at(8, 7), "URGENT: REFUSED, 1 not seen"),
        (at(12, 22), "1 needs you"),
        (at(20, 7), "URGENT: 1 not seen"),
    ]


def test_alerts_fire_on_what_lasts_and_on_nothing_that_passes(day: Day, tmp_path: Path) -> None:
    fires = {
        at(1, 30): [],
        at(2, 4): [],  # one run that saw half of the calendars
        at(2, 30): ["ReconcileCalendarsBlind", "ReconcileCoverageFalls", "ReconcileCoverageLeaks"],
        at(4, 45): [],
        at(5, 45): ["ReconcileNotStarting"],
        at(6, 30): [],
        at(8, 45): ["ReconcileNotComparing"],
        at(10, 30): ["ReconcileNotComparing", "ReconcileRefused"],
        at(11, 30): [],
        at(13): [],
        at(19): [],
        at(21): ["ReconcileCalendarsBlind"],
    }
    promtool(tmp_path, ROOT / "jobs/monitoring/alerts.yml", [expected(day, fires)])


def expected(day: Day, fires: Mapping[datetime, list[str]]) -> dict[str, Any]:
    """Return promtool's test of which alerts fire when, with the day's exports as what is scraped."""
    return {
        "interval": "1m",
        "input_series": input_series(day.exports, DAY, MINUTE, DAY + 24 * HOUR),
        "promql_expr_test": [
            {
                "expr": 'count by (alertname) (ALERTS{alertstate="firing"})',
                "eval_time": f"{int((now - DAY).total_seconds())}s",
                "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in names],
            }
            for now, names in fires.items()
        ],
    }
