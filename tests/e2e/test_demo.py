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
import requests
from google.oauth2 import service_account
from google_auth_httplib2 import AuthorizedHttp
from googleapiclient import discovery_cache
from googleapiclient.discovery import build_from_document
from httplib2 import Http

from reconciler.cli import demonstration, entry
from reconciler.cli.world import Call, Common, World
from reconciler.config import Job
from reconciler.model import Finding, Kind, Mode, Outcome
from reconciler.report.look import Look
from reconciler.result import Result
from reconciler.simulator import brokerage, office
from reconciler.simulator.brokerage import Expected
from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.google_workspace import Workspace
from reconciler.simulator.graph import GraphSimulator
from reconciler.simulator.graph_workspace import Tenancy
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
    """The demo, run once: its acts, what the stand-ins were asked, and the CRM before and after each act."""

    now: datetime
    place: Path
    runs: list[Result]
    early: Result
    asked: dict[str, list[int]]
    requests: dict[str, list[Entry]]
    tokens: dict[str, list[Entry]]
    envelopes: list[Entry]
    most: dict[str, int]
    mails: list[tuple[str, str]]
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

    with pytest.MonkeyPatch.context() as patch, Workspace(lambda: now) as google, Tenancy(lambda: now) as microsoft:
        patch.setattr(demonstration, "_run", watched)
        call = Call(World(environ={}, cwd=place, clock=lambda: now), Common(), ())
        play = demonstration.perform(call, place, [google, microsoft])
    acts = (play.acts[0], play.early, *play.acts[1:])
    servers: dict[str, GoogleSimulator | GraphSimulator] = {"google": google.server, "microsoft": microsoft.server}
    return Golden(
        now=now,
        place=place,
        runs=[act.result for act in play.acts],
        early=play.early.result,
        asked={kind: [act.asked[kind] for act in acts] for kind in servers},
        requests={kind: server.requests() for kind, server in servers.items()},
        tokens={kind: server.requests("token") for kind, server in servers.items()},
        envelopes=microsoft.server.requests("batch"),
        most={kind: server.ledger.most(60) for kind, server in servers.items()},
        mails=microsoft.server.world.mails,
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


# ---- the providers --------------------------------------------------------------------------------------------------


GOOGLE_AGENTS = ("ann@acme.example", "dee@acme.example")
ALL_OF = {"google": (*GOOGLE_AGENTS, "fay@acme.example"), "microsoft": ("bob@acme.example",)}
STILL_THERE = {"google": GOOGLE_AGENTS, "microsoft": ("bob@acme.example",)}


def modes(result: Result, kind: str) -> dict[str, object]:
    return {one.agent: one.mode for one in result.calendars if one.source == kind and one.observed}


@pytest.mark.parametrize("kind", ALL_OF)
def test_a_provider_is_read_whole_once_and_asked_for_changes_from_then_on(golden: Golden, kind: str) -> None:
    agreed, *later = golden.runs
    assert modes(agreed, kind) == dict.fromkeys(ALL_OF[kind], Mode.FULL)
    for run in (golden.early, *later):
        assert modes(run, kind) == dict.fromkeys(STILL_THERE[kind], Mode.INCREMENTAL)


def test_each_run_asks_google_once_a_calendar(golden: Golden) -> None:
    assert golden.asked["google"] == [3, 2, 2, 2, 2]
    tokens = [bool(entry.query.get("syncToken")) for entry in golden.requests["google"]]
    assert tokens == [False] * 3 + [True] * 8


def test_microsoft_is_asked_for_a_series_and_its_missing_occurrence_once_and_then_for_changes_alone(
    golden: Golden,
) -> None:
    """Whose mailbox it is, and a round; then a round, the changed series, and the occurrence that it does not show."""
    assert golden.asked["microsoft"] == [2, 3, 1, 1, 1]
    user, first, changed, series, lost, *rest = golden.requests["microsoft"]
    assert user.path.endswith("/users/bob%40acme.example")
    assert "startDateTime" in first.query
    assert [bool(one.query.get("$deltatoken")) for one in (changed, *rest)] == [True] * 4
    assert series.path.endswith("/instances")
    assert lost.status == 404, "Graph's own word that it was deleted"


def test_no_provider_is_written_to_and_nobody_is_mailed(golden: Golden) -> None:
    for asked in golden.requests.values():
        assert {entry.method for entry in asked} == {"GET"}
    assert {entry.status for entry in golden.requests["google"]} == {200}
    assert [entry.status for entry in golden.requests["microsoft"]].count(200) == 7
    assert len(golden.envelopes) == 1, "and what it held is counted above, one by one"
    assert golden.mails == []


@pytest.mark.parametrize("kind", ALL_OF)
def test_the_server_counts_no_more_than_the_budget_in_any_minute(golden: Golden, kind: str) -> None:
    asked = golden.asked[kind]
    assert golden.most[kind] <= max(asked) * 3, "the last three acts are at the same moment"
    assert len(golden.tokens[kind]) <= 3 * len(asked)


def test_a_private_event_is_moved_by_its_time_alone(golden: Golden) -> None:
    before, after = (crm[row_id(golden, "private")] for crm in (golden.crm[6], golden.crm[7]))
    changed = {place for place, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]}
    assert {"starts_at", "ends_at"} <= {COLUMNS[place] for place in changed} <= {*MOVING, "version", "updated_at"}


def row_id(golden: Golden, name: str, week: int = 0) -> int:
    return brokerage.agreed(golden.now).row(name, week).id


COLUMNS = tuple(field.name for field in fields(brokerage.Row))
MOVING = ("starts_at", "ends_at")


@pytest.mark.parametrize("name", ["both-sell", "both-buy", "shared"])
def test_a_meeting_of_two_agents_is_one_record_of_its_organizers(golden: Golden, name: str) -> None:
    """Ann organizes; Dee has the copy with Google, Bob with Outlook, Cid in a file."""
    meetings = brokerage.agreed(golden.now).meetings
    assert meetings[name].uid == meetings[f"{name}-copy"].uid
    [row] = [row for row in golden.crm[-1].values() if meetings[name].title in row]
    assert {meetings[name].uid, "ann@acme.example"} <= set(row)
    assert golden.runs[0].counts["copies"] == 3


@pytest.mark.parametrize(
    ("name", "week", "action"),
    [
        *(("weekly", 2, "cancel"), ("weekly", 4, "update"), ("invited", 0, "cancel"), ("handed-over", 0, "update")),
        *(("rounds", 1, "cancel"), ("rounds", 3, "update")),
    ],
)
def test_what_a_provider_tells_in_detail_or_not_at_all_reaches_the_record(
    golden: Golden, name: str, week: int, action: str
) -> None:
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
    runs = (tmp_path / "box/runs.txt").read_text()
    assert [runs.count(f"==== {step.upper()} ====") for step in demonstration.STEPS] == [1] * 4
    assert "New buyer: [red]first[/red] talk" in runs


def test_the_demo_ends_by_naming_the_page_that_it_wrote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box") == 0
    page = tmp_path / "box/report.html"
    assert capsys.readouterr().out.splitlines()[-1].strip() == str(page)
    told = page.read_text()
    assert told.startswith("<!doctype html>")
    assert "2 of 6 calendars not seen" in told
    assert "New buyer: [red]first[/red] talk" in told


def test_one_can_look_around_when_the_stand_in_is_gone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box") == 0
    said = [line.split() for line in capsys.readouterr().out.splitlines() if line.startswith("    reconcile ")]
    assert [words[1] for words in said] == ["status", "report", "explain"]
    for _, *words in said:
        assert entry.call(words, World(environ={}, cwd=tmp_path / "box", clock=lambda: MOMENTS[0])) == 0


def test_the_demo_speaks_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box", "--format", "json") == 0
    said = json.loads(capsys.readouterr().out)
    assert [run["dry_run"] for run in said["runs"]] == [False, True, False, False]
    assert Path(said["report"]).name == "report.html"
    assert Path(said["report"]).is_file()


def test_the_demo_masks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert demo(tmp_path, "--dir", "box", "--format", "json", "--mask") == 0
    said = capsys.readouterr().out + "".join(
        (tmp_path / "box" / name).read_text() for name in ("runs.txt", "report.html")
    )
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
                if line.startswith(("    secret_file ", "}")):  # the last line of the text, and of the JSON
                    break
            yield process, said
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_stand_ins_go_on_until_they_are_told_to_end_and_that_is_no_error(tmp_path: Path, number: int) -> None:
    with serving(tmp_path) as (process, said):
        told = [(words[0], words[1].strip()) for line in said if len(words := line.split(maxsplit=1)) > 1]
        ports = [urlsplit(value).port or 0 for name, value in told if name == "endpoint"]
        for port in ports:
            socket.create_connection(("127.0.0.1", port)).close()
        process.send_signal(number)
        assert process.wait(timeout=30) == 0
    assert len(ports) == 2
    secrets = [Path(value) for name, value in told if name in {"key_file", "secret_file"}]
    assert [path.stat().st_mode & 0o777 for path in secrets] == [0o600, 0o600]


def test_other_programs_and_other_runs_find_the_stand_ins(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with serving(tmp_path, "--format", "json") as (_, said):
        ways_in = json.loads("".join(said))
        dee = calendar_of("dee@acme.example", ways_in["google"])
        first = dee.list(calendarId="primary", singleEvents=True, orderBy="startTime").execute()["items"][0]
        changed = {**first, "summary": "Edited by another program"}
        dee.update(calendarId="primary", eventId=first["id"], body=changed).execute()
        dee.close()
        rename("bob@acme.example", "Appraisal", "Edited by a third program", ways_in["microsoft"])
        job = tmp_path / "box/jobs/sample.toml"
        job.write_text(job.read_text() + '\n[window]\nsettle = "0s"\n')
        world = World(environ={}, cwd=tmp_path / "box", clock=lambda: datetime.now(UTC).replace(microsecond=0))
        assert entry.call(["run", "sample", "--format", "json"], world) == 0, "by now the gaps are known"
    result = json.loads(capsys.readouterr().out)
    assert {one["agent"]: one["mode"] for one in result["calendars"] if one["source"] != "ics"} == {
        "ann@acme.example": "incremental",
        "bob@acme.example": "incremental",
        "dee@acme.example": "incremental",
        "fay@acme.example": None,
    }
    titles = [delta["fields"]["title"] for delta in result["deltas"] if "title" in delta["fields"]]
    assert sorted(titles) == sorted(
        [[first["summary"], "Edited by another program"], ["Appraisal", "Edited by a third program"]]
    )


def rename(agent: str, title: str, new: str, way_in: dict[str, str]) -> None:
    """Give an event in an agent's mailbox another title, over HTTP as any program would."""
    secret = Path(way_in["secret_file"]).read_text().strip()
    form = {"grant_type": "client_credentials", "client_id": way_in["client_id"], "client_secret": secret}
    with requests.Session() as session:
        session.trust_env = False
        said = session.post(way_in["token_uri"], {**form, "scope": f"{way_in['endpoint']}.default"}, timeout=30)
        session.headers["Authorization"] = f"Bearer {said.json()['access_token']}"
        events = f"{way_in['endpoint']}users/{agent}/events"
        [found] = [
            one for one in session.get(f"{events}?$top=100", timeout=30).json()["value"] if one["subject"] == title
        ]
        session.patch(f"{events}/{found['id']}", json={"subject": new}, timeout=30).raise_for_status()


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
