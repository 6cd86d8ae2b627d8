"""The golden run: every seeded discrepancy is found as what it is, nothing else is, and only that is written."""

from __future__ import annotations

import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.cli import demonstration, entry
from reconciler.cli.world import Call, Common, World
from reconciler.config import Job
from reconciler.model import Finding, Kind, Outcome
from reconciler.report.build import Look
from reconciler.result import Result
from reconciler.simulator import brokerage, office
from reconciler.simulator.brokerage import Expected

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


@pytest.fixture(scope="module", params=MOMENTS, ids=lambda moment: f"{moment:%Y-%m-%d}")
def golden(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[datetime, Path, list[Result], list[dict[int, tuple[object, ...]]]]:
    """Run the demo once and keep the CRM as it was before and after each of its runs."""
    now: datetime = request.param
    place = tmp_path_factory.mktemp("brokerage")
    crm: list[dict[int, tuple[object, ...]]] = []
    real = demonstration._run

    def watched(call: Call, job: Job, now: datetime, *, dry_run: bool) -> tuple[Result, Look]:
        crm.append(office.rows(place))
        outcome = real(call, job, now, dry_run=dry_run)
        crm.append(office.rows(place))
        return outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demonstration, "_run", watched)
        call = Call(World(environ={}, cwd=place, clock=lambda: now), Common(), ())
        runs, _ = demonstration.perform(call, place)
    return now, place, runs, crm


Golden = tuple[datetime, Path, list[Result], list[dict[int, tuple[object, ...]]]]


def expected(now: datetime) -> Counter[Expected]:
    return Counter(brokerage.edited(brokerage.agreed(now), now).expected)


def test_both_sides_agree_at_first(golden: Golden) -> None:
    agreed = golden[2][0]
    assert [finding.kind for finding in agreed.findings] == [Kind.DOUBLE_BOOKED_AGENT]
    assert agreed.counts["in_sync"] == len(brokerage.agreed(golden[0]).rows) - agreed.counts["strangers"]
    assert agreed.deltas == ()


def test_every_seeded_discrepancy_is_found_and_nothing_else(golden: Golden) -> None:
    now, _, (_, dry, applied, _), _ = golden
    assert found(dry) == expected(now)
    assert found(applied) == expected(now)


def test_the_demo_shows_every_kind_of_finding(golden: Golden) -> None:
    assert {finding.kind for finding in golden[2][1].findings} == set(Kind)


def test_the_dry_run_and_the_run_share_their_digest(golden: Golden) -> None:
    _, _, (_, dry, applied, _), _ = golden
    assert dry.digest == applied.digest
    assert {delta.outcome for delta in dry.deltas} == {Outcome.PLANNED}
    assert {delta.outcome for delta in applied.deltas} == {Outcome.DONE}


def test_neither_agreeing_nor_a_dry_run_writes_to_the_crm(golden: Golden) -> None:
    crm = golden[3]
    assert crm[0] == crm[1]
    assert crm[2] == crm[3]


def test_the_run_changes_what_it_planned_and_no_other_row(golden: Golden) -> None:
    _, _, (_, _, applied, _), crm = golden
    before, after = crm[4], crm[5]
    touched = {number for number in before.keys() | after.keys() if before.get(number) != after.get(number)}
    assert touched == {int(delta.crm_id or 0) for delta in applied.deltas}
    assert before.keys() <= after.keys(), "nothing is deleted"


def test_strangers_rows_stay_as_they_are(golden: Golden) -> None:
    crm = golden[3]
    strangers = {number: row for number, row in crm[0].items() if "northside.example" in str(row) or "went well" in row}
    assert len(strangers) == 14
    assert {number: crm[-1][number] for number in strangers} == strangers


def test_a_second_run_plans_nothing_and_writes_nothing(golden: Golden) -> None:
    _, _, (_, _, _, again), crm = golden
    assert again.deltas == ()
    assert crm[6] == crm[7] == crm[5]


def test_what_was_fixed_is_gone_and_what_people_decide_is_still_there(golden: Golden) -> None:
    now, _, (_, _, applied, again), _ = golden
    fixed = {delta.kind for delta in applied.deltas}
    left = Counter({one: count for one, count in expected(now).items() if one.kind not in fixed})
    assert found(again) == left


def test_an_unreadable_calendar_is_said_first_and_costs_nothing_else(golden: Golden) -> None:
    applied = golden[2][2]
    assert applied.findings[0].kind is Kind.COVERAGE_GAP
    assert [calendar.agent for calendar in applied.calendars if not calendar.observed] == ["dee@acme.example"]
    assert applied.exit_code == 5
    assert not [delta for delta in applied.deltas if delta.agent == "dee@acme.example"]


def test_private_titles_never_leave_the_calendar(golden: Golden) -> None:
    _, place, runs, _ = golden
    assert "Nobody's business" not in json.dumps([run.to_json() for run in runs])
    assert "Nobody's business" not in str(office.rows(place))
    for file in place.glob("state.db*"):
        assert b"Nobody's business" not in file.read_bytes()


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
