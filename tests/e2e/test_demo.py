"""The golden run: every seeded discrepancy is found as what it is, nothing else is, and only that is written."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient import discovery_cache
from googleapiclient.discovery import build_from_document
from httplib2 import Http

from reconciler.cli import demonstration, entry
from reconciler.cli.world import Call, Common, World
from reconciler.config import Job
from reconciler.model import Finding, Kind, Mode, Outcome
from reconciler.report.build import Look
from reconciler.result import Result
from reconciler.simulator import brokerage, office
from reconciler.simulator.brokerage import Expected
from reconciler.simulator.google_workspace import Workspace
from reconciler.simulator.loopback import Entry

# A week in which the clocks go back, a Sunday night, a leap day, a year's end: the demo is the same on all of them.
MOMENTS = (
    datetime(2026, 10, 28, 9, 0, tzinfo=UTC),
    datetime(2027, 3, 8, 4, 59, 59, tzinfo=UTC),
    datetime(2028, 2, 28, 23, 30, tzinfo=UTC),
    datetime(2026, 12, 31, 0, 30, tzinfo=UTC),
)


def about(finding: Finding) -> str:
    """Name what a finding is about, as the manifest does: the record, else the event; a group by its agent alone."""
    if finding.kind in {Kind.TZ_SHIFT, Kind.COVERAGE_GAP}:
        return ""
    if finding.kind in {Kind.MISSING_IN_CRM, Kind.AMBIGUOUS, Kind.REMOVED_BY_HAND, Kind.DOUBLE_BOOKED_AGENT}:
        return finding.event or ""
    return finding.crm_id or finding.event or ""


def found(result: Result) -> Counter[Expected]:
    return Counter(Expected(one.kind, one.agent or "", about(one)) for one in result.findings)


Rows = dict[int, tuple[object, ...]]


@dataclass(frozen=True, slots=True)
class Golden:
    """The demo, run once: its acts, what the stand-in for Google was asked, and the CRM before and after each act."""

    now: datetime
    place: Path
    runs: list[Result]
    early: Result
    asked: list[int]
    requests: list[Entry]
    tokens: list[Entry]
    most: int
    crm: list[Rows]


@pytest.fixture(scope="module", params=MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%d}")
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Golden:
    """Run the demo once and keep the CRM as it was before and after each of its runs."""
    now: datetime = request.param
    place = tmp_path_factory.mktemp("brokerage")
    crm: list[Rows] = []
    real = demonstration._run

    def watched(call: Call, job: Job, now: datetime, *, dry_run: bool) -> tuple[Result, Look]:
        crm.append(office.rows(place))
        outcome = real(call, job, now, dry_run=dry_run)
        crm.append(office.rows(place))
        return outcome

    with pytest.MonkeyPatch.context() as patch, Workspace(lambda: now) as google:
        patch.setattr(demonstration, "_run", watched)
        call = Call(World(environ={}, cwd=place, clock=lambda: now), Common(), ())
        play = demonstration.perform(call, place, google)
    return Golden(
        now=now,
        place=place,
        runs=[act.result for act in play.acts],
        early=play.early.result,
        asked=[act.asked for act in (play.acts[0], play.early, *play.acts[1:])],
        requests=google.server.requests(),
        tokens=google.server.requests("token"),
        most=google.server.ledger.most(60),
        crm=crm,
    )


def expected(now: datetime) -> Counter[Expected]:
    return Counter(brokerage.edited(brokerage.agreed(now), now).expected)


def test_both_sides_agree_at_first(golden: Golden) -> None:
    agreed = golden.runs[0]
    assert [finding.kind for finding in agreed.findings] == [Kind.DOUBLE_BOOKED_AGENT]
    assert agreed.counts["in_sync"] == len(brokerage.agreed(golden.now).rows) - agreed.counts["strangers"]
    assert agreed.deltas == ()


def test_what_is_minutes_old_is_left_to_the_live_integration(golden: Golden) -> None:
    assert {delta.outcome for delta in golden.early.deltas} <= {Outcome.HELD}
    assert golden.early.counts["held"] > len(golden.runs[2].deltas)


def test_every_seeded_discrepancy_is_found_and_nothing_else(golden: Golden) -> None:
    _, dry, applied, _ = golden.runs
    assert found(dry) == expected(golden.now)
    assert found(applied) == expected(golden.now)


def test_the_demo_shows_every_kind_of_finding(golden: Golden) -> None:
    assert {finding.kind for finding in golden.runs[1].findings} == set(Kind)


def test_the_dry_run_and_the_run_share_their_digest(golden: Golden) -> None:
    _, dry, applied, _ = golden.runs
    assert dry.digest == applied.digest
    assert {delta.outcome for delta in dry.deltas} == {Outcome.PLANNED}
    assert {delta.outcome for delta in applied.deltas} == {Outcome.DONE}


def test_neither_agreeing_nor_a_dry_run_writes_to_the_crm(golden: Golden) -> None:
    agreed, early, dry = (golden.crm[place : place + 2] for place in (0, 2, 4))
    assert agreed[0] == agreed[1]
    assert early[0] == early[1] == dry[0] == dry[1]


def test_the_run_changes_what_it_planned_and_no_other_row(golden: Golden) -> None:
    before, after = golden.crm[6:8]
    touched = {number for number in before.keys() | after.keys() if before.get(number) != after.get(number)}
    assert touched == {int(delta.crm_id or 0) for delta in golden.runs[2].deltas}
    assert before.keys() <= after.keys(), "nothing is deleted"


def test_strangers_rows_stay_as_they_are(golden: Golden) -> None:
    crm = golden.crm
    strangers = {number: row for number, row in crm[0].items() if "northside.example" in str(row) or "went well" in row}
    assert len(strangers) == 14
    assert {number: crm[-1][number] for number in strangers} == strangers


def test_a_second_run_plans_nothing_and_writes_nothing(golden: Golden) -> None:
    assert golden.runs[3].deltas == ()
    assert golden.crm[8] == golden.crm[9] == golden.crm[7]


def test_what_was_fixed_is_gone_and_what_people_decide_is_still_there(golden: Golden) -> None:
    _, _, applied, again = golden.runs
    fixed = {delta.finding for delta in applied.deltas}
    left = Counter(one for one in map(about_all, applied.findings) if one[0] not in fixed)
    assert Counter(map(about_all, again.findings)) == left


def about_all(finding: Finding) -> tuple[str, Kind, str]:
    return finding.key, finding.kind, about(finding)


def test_unreadable_calendars_are_said_first_and_cost_nothing_else(golden: Golden) -> None:
    applied = golden.runs[2]
    assert [finding.kind for finding in applied.findings[:3]].count(Kind.COVERAGE_GAP) == 2
    blind = {"eli@acme.example", "fay@acme.example"}
    assert {calendar.agent for calendar in applied.calendars if not calendar.observed} == blind
    assert applied.exit_code == 5
    assert not [delta for delta in applied.deltas if delta.agent in blind]


def test_private_titles_never_leave_the_calendar(golden: Golden) -> None:
    assert "Nobody's business" not in json.dumps([run.to_json() for run in golden.runs])
    assert "Nobody's business" not in str(office.rows(golden.place))
    for file in golden.place.glob("state.db*"):
        assert b"Nobody's business" not in file.read_bytes()


# ---- Google ---------------------------------------------------------------------------------------------------------


def modes(result: Result) -> dict[str, object]:
    return {one.agent: one.mode for one in result.calendars if one.source == "google" and one.observed}


def test_google_is_read_whole_once_and_asked_for_changes_from_then_on(golden: Golden) -> None:
    agreed, *later = golden.runs
    assert modes(agreed) == dict.fromkeys(("ann@acme.example", "dee@acme.example", "fay@acme.example"), Mode.FULL)
    for run in (golden.early, *later):
        assert modes(run) == dict.fromkeys(("ann@acme.example", "dee@acme.example"), Mode.INCREMENTAL)


def test_each_run_asks_google_once_a_calendar(golden: Golden) -> None:
    assert golden.asked == [3, 2, 2, 2, 2]
    assert len(golden.requests) == sum(golden.asked)
    assert [bool(entry.query.get("syncToken")) for entry in golden.requests] == [False] * 3 + [True] * 8


def test_google_is_never_written_to_and_nobody_is_mailed(golden: Golden) -> None:
    assert {entry.method for entry in golden.requests} == {"GET"}
    assert {entry.status for entry in golden.requests} == {200}


def test_the_server_counts_no_more_than_the_budget_in_any_minute(golden: Golden) -> None:
    assert golden.most <= max(golden.asked) * 3, "the last three acts are at the same moment"
    assert len(golden.tokens) <= 3 * len(golden.asked)


def test_a_private_event_is_moved_by_its_time_alone(golden: Golden) -> None:
    before, after = (crm[row_id(golden, "private")] for crm in (golden.crm[6], golden.crm[7]))
    changed = {place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]}
    assert {"starts_at", "ends_at"} <= {COLUMNS[place] for place in changed} <= {*MOVING, "version", "updated_at"}


def row_id(golden: Golden, name: str, week: int = 0) -> int:
    return brokerage.agreed(golden.now).row(name, week).id


COLUMNS = tuple(field.name for field in fields(brokerage.Row))
MOVING = ("starts_at", "ends_at")


def test_a_meeting_of_two_agents_is_one_record(golden: Golden) -> None:
    key = brokerage.agreed(golden.now).meetings["both-sell"].uid
    assert len([row for row in golden.crm[-1].values() if key in row]) == 1
    assert golden.runs[0].counts["copies"] == 2, "one with Cid's file, one with Dee's Google calendar"


@pytest.mark.parametrize(
    ("name", "week", "action"),
    [("weekly", 2, "cancel"), ("weekly", 4, "update"), ("invited", 0, "cancel"), ("handed-over", 0, "update")],
)
def test_what_google_tells_in_detail_reaches_the_record(golden: Golden, name: str, week: int, action: str) -> None:
    [delta] = [one for one in golden.runs[2].deltas if one.crm_id == str(row_id(golden, name, week))]
    assert (delta.action, delta.outcome) == (action, Outcome.DONE)


# ---- the command ----------------------------------------------------------------------------------------------------


def demo(folder: Path, *words: str) -> int:
    return entry.call(["demo", *words], World(environ={}, cwd=folder, clock=lambda: MOMENTS[0]))


def test_the_demo_tells_its_story_and_leaves_a_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box") == 0
    said = capsys.readouterr().out
    assert "0 planned, 0 written: nothing is done twice" in said
    assert all(f"\n{kind} " in said for kind in Kind)
    report = (tmp_path / "box/report.txt").read_text()
    assert [report.count(f"==== {step.upper()} ====") for step in demonstration.STEPS] == [1] * 4
    assert "New buyer: [red]first[/red] talk" in report


def test_one_can_look_around_when_the_stand_in_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box") == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("    reconcile ")]
    assert [words[1] for words in said] == ["status", "explain"]
    for _, *words in said:
        assert entry.call(words, World(environ={}, cwd=tmp_path / "box", clock=lambda: MOMENTS[0])) == 0


def test_the_demo_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [run["dry_run"] for run in said["runs"]] == [False, True, False, False]
    assert Path(said["report"]).is_file()


def test_the_demo_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box", "--format", "json", "--mask") == 0
    said = capsys.readouterr().out + (tmp_path / "box/report.txt").read_text()
    assert "newbuyer.example" not in said
    assert "Listing talk" not in said
    assert "ann@acme.example" in said


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.txt").write_text("keep me")
    assert demo(tmp_path, "--dir", ".") == 2
    assert "not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


# ---- the stand-in, for others ---------------------------------------------------------------------------------------


@contextmanager
def serving(folder: Path, *words: str) -> Iterator[tuple[subprocess.Popen[str], list[str]]]:
    """Run `demo --serve` in a process of its own; give it and what it said until it began to wait."""
    command = [sys.executable, "-m", "reconciler", "demo", "--dir", "box", "--serve", *words]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            said = []
            for line in process.stdout:
                said.append(line)
                if line.startswith(("    key_file ", "}")):  # the last line of the text, and of the JSON
                    break
            yield process, said
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stand_in_goes_on_until_it_is_told_to_end_and_that_is_no_error(tmp_path: Path, number: int) -> None:
    with serving(tmp_path) as (process, said):
        way_in = dict(line.split(maxsplit=1) for line in said if line.startswith(("    endpoint", "    key_file")))
        with socket.create_connection(("127.0.0.1", urlsplit(way_in["endpoint"]).port or 0)):
            process.send_signal(number)
            assert process.wait(timeout=30) == 0
    assert Path(way_in["key_file"].strip()).stat().st_mode & 0o777 == 0o600


def test_other_programs_and_other_runs_find_the_stand_in(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path, "--format", "json") as (_, said):
        way_in = json.loads("".join(said))["google"]
        dee = calendar_of("dee@acme.example", way_in)
        first = dee.list(calendarId="primary", singleEvents=True, orderBy="startTime").execute()["items"][0]
        changed = {**first, "summary": "Edited by another program"}
        dee.update(calendarId="primary", eventId=first["id"], body=changed).execute()
        dee.close()
        job = tmp_path / "box/jobs/sample.toml"
        job.write_text(job.read_text() + '\n[window]\nsettle = "0s"\n')
        world = World(environ={}, cwd=tmp_path / "box", clock=lambda: datetime.now(UTC).replace(microsecond=0))
        assert entry.call(["run", "sample", "--format", "json"], world) == 5
    result = json.loads(capsys.readouterr().out)
    assert {one["agent"]: one["mode"] for one in result["calendars"] if one["source"] == "google"} == {
        "ann@acme.example": "incremental",
        "dee@acme.example": "incremental",
        "fay@acme.example": None,
    }
    title = [delta["fields"]["title"] for delta in result["deltas"] if "title" in delta["fields"]]
    assert title == [[first["summary"], "Edited by another program"]]


def calendar_of(agent: str, way_in: dict[str, str]) -> Any:
    """Return Google's own client for an agent's calendar, as any program would make it."""
    scopes = ["https://www.googleapis.com/auth/calendar.events"]
    file = way_in["key_file"]
    key = service_account.Credentials.from_service_account_file(  # type: ignore[no-untyped-call]
        file, scopes=scopes, subject=agent
    )
    http = AuthorizedHttp(key, http=Http(timeout=30))
    document = discovery_cache.get_static_doc("calendar", "v3")
    return build_from_document(document, http=http, client_options={"api_endpoint": way_in["endpoint"]}).events()
