"""`reconcile report` as people and cron type it: every form it writes, the period it tells of, what it refuses."""

from __future__ import annotations

import csv
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import openpyxl
import pytest

from reconciler.cli import entry
from reconciler.cli.world import World
from reconciler.simulator import brokerage, office

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
DAY = timedelta(days=1)
Reconcile = Callable[..., int]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the sample brokerage once: it agreed, people edited it, and a run an hour later wrote what is safe."""
    place = tmp_path_factory.mktemp("brokerage")
    office.furnish(place)
    quiet = brokerage.agreed(NOW)
    office.settle_in(place, quiet, NOW)
    call(place, "run", "-q", now=NOW)
    office.settle_in(place, brokerage.edited(quiet, NOW + timedelta(hours=1)), NOW + timedelta(hours=1))
    call(place, "run", "-q", now=NOW + timedelta(hours=1))
    return place


def call(place: Path, *words: str, now: datetime = NOW + DAY) -> int:
    return entry.call(words, World(environ={}, cwd=place, clock=lambda: now))


def report(box: Path, *words: str, now: datetime = NOW + DAY) -> int:
    return call(box, "report", *words, now=now)


# ---- faces ----------------------------------------------------------------------------------------------------------


def test_the_report_is_read_on_the_screen(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(box, "sample") == 0
    said = capsys.readouterr().out
    assert said.startswith("BLIND sample: ")
    assert "\nNOT SEEN\n" in said
    assert said.index("NOT SEEN") < said.index("CAUSES") < said.index("NEW (")
    words = [line for line in said.splitlines() if not line.strip().startswith("reconcile ")]  # commands are not broken
    assert max(len(line) for line in words) <= 100


def test_each_file_that_is_asked_for_is_written_and_is_nobody_elses_to_read(
    box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [tmp_path / f"report.{face}" for face in ("html", "csv", "xlsx", "json")]
    words = [word for path in names for word in (f"--{path.suffix[1:]}", str(path))]
    assert report(box, *words) == 0
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("BLIND sample: 1 of 6 calendars not seen")
    assert said[1:] == [f"    {path}" for path in names]
    assert {stat.S_IMODE(path.stat().st_mode) for path in names} == {0o600}
    assert [path.name for path in sorted(tmp_path.iterdir())] == sorted(path.name for path in names)

    rows = list(csv.DictReader(names[1].read_text("utf-8-sig").splitlines()))
    told = json.loads(names[3].read_text())
    keys = {one["key"] for name in ("new", "open", "resolved") for one in told[name]}
    assert keys
    assert keys == {row["key"] for row in rows}
    assert [row["agent"] for row in rows if row["standing"] == "not_seen"] == ["eli@acme.example"]
    book = openpyxl.load_workbook(names[2])
    assert book.worksheets[-1].max_row - 1 == len(rows)
    assert "<script>" in names[0].read_text()


def test_the_json_is_the_last_result_and_the_lists_of_the_period(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(box, "--format", "json") == 0
    told = json.loads(capsys.readouterr().out)
    assert {"format_version", "job", "run", "status", "window", "digest", "counts", "deltas", "calendars"} <= set(told)
    assert (told["job"], told["status"]) == ("sample", "partial")
    assert told["new"]
    assert {"key", "kind", "severity", "agent", "first_seen", "sightings"} <= set(told["new"][0])


def test_a_mask_hides_clients_in_every_form(box: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [tmp_path / f"report.{face}" for face in ("html", "csv", "json")]
    assert report(box, "--mask", *[word for path in names for word in (f"--{path.suffix[1:]}", str(path))]) == 0
    assert report(box, "--mask") == 0
    said = "".join([capsys.readouterr().out, *(path.read_text("utf-8") for path in names)])
    assert "newbuyer.example" not in said
    assert "Listing talk" not in said
    assert "cid@acme.example" in said


def test_quiet_says_one_line_and_only_if_somebody_must_look(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report(box, "-q") == 0
    said = capsys.readouterr().out
    assert said.startswith("BLIND sample: ")
    assert said.count("\n") == 1
    assert report(box, "-q", "--until", "2026-11-22T09:30Z") == 0
    headline = capsys.readouterr().out
    assert headline.count("\n") <= 1


# ---- period ---------------------------------------------------------------------------------------------------------


def lists(box: Path, capsys: pytest.CaptureFixture[str], *words: str, now: datetime = NOW + DAY) -> dict[str, int]:
    assert report(box, "--format", "json", *words, now=now) == 0
    told = json.loads(capsys.readouterr().out)
    return {name: len(told[name]) for name in ("new", "open", "resolved")}


def test_what_was_found_before_the_period_is_still_open_in_it(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole = lists(box, capsys, "--since", "31d")
    assert whole["new"] > 20
    after = lists(box, capsys, "--since", "2026-11-22T10:00Z")
    assert after["new"] == 0
    assert after["open"] > 20


def test_the_report_of_one_run_tells_of_that_run(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call(box, "status", "--format", "json") == 0
    [last, first] = [run["id"] for run in json.loads(capsys.readouterr().out)["runs"]]
    before = lists(box, capsys, "--run", first)
    assert lists(box, capsys, "--run", last)["new"] > before["new"]
    assert report(box, "--run", "01NOSUCHRUN") == 2
    assert "is no run of sample" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--since", "soon"), "--since: soon is no time"),
        (("--since", "2026-12-01"), "has not come yet"),
        (("--since", "1d", "--until", "2d"), "is no later than --since"),
        (("--run", "01J", "--since", "1d"), "--run is a period of its own"),
        (("--urgent",), "add --send"),
        (("--again",), "add --send"),
        (("--send", "--since", "1d"), "leave out --send"),
        (("--send",), "names nobody to tell"),
        (("--html", "nowhere/report.html"), "--html: report.html can't be written"),
        (("--csv", "."), "--csv: "),
        (("--csv", "report.csv", "--xlsx", "./report.csv"), "name another file for each"),
        (("elsewhere",), "elsewhere"),
    ],
)
def test_what_can_not_be_done_is_said_with_what_to_do(
    box: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], says: str
) -> None:
    assert report(box, *words) == 2
    told = capsys.readouterr()
    assert says in told.err
    assert told.out == ""


def test_a_job_that_never_ran_has_nothing_to_tell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office.furnish(tmp_path)
    assert report(tmp_path) == 2
    assert "There is no run of sample yet" in capsys.readouterr().err


def test_a_report_leaves_the_state_as_it_was(box: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = lists(box, capsys)
    assert lists(box, capsys) == before
