"""What is accepted asks nothing of anybody, as long as both sides stand as they did and its time is not over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.accepting import Accepted
from reconciler.findings import Outlook
from reconciler.model import Acceptance, Action, Delta, Finding, Kind, Outcome, Remedy, Severity, Side

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)


def found(key: str, sides: bytes = b"as it was", remedy: Remedy = Remedy.FIX) -> Finding:
    return Finding(
        key=key, kind=Kind.FIELD_DRIFT, severity=Severity.INFO, remedy=remedy, why="It differs.", sides=sides
    )


def planned(finding: str) -> Delta:
    return Delta(
        action=Action.UPDATE,
        side=Side.CRM,
        key="a",
        kind=Kind.FIELD_DRIFT,
        severity=Severity.INFO,
        finding=finding,
    )


def known(**given: Acceptance) -> Accepted:
    return Accepted(given, NOW)


def given_by(name: str, sides: bytes | None = b"as it was", until: datetime = NOW + timedelta(days=1)) -> Acceptance:
    return Acceptance(by=name, why="known", at=NOW, until=until, sides=sides)


def test_what_is_accepted_is_held_and_said() -> None:
    outlook = known(f1=given_by("Ann")).of(Outlook("update", (found("f1"),), planned("f1")))
    [finding] = outlook.findings
    assert (finding.remedy, outlook.bucket, outlook.accepted) == (Remedy.NONE, "held", True)
    assert [(delta.outcome, delta.why) for delta in outlook.deltas] == [(Outcome.HELD, "held: accepted")]
    assert finding.why == "It differs. Accepted by Ann until 2026-11-23: known"


@pytest.mark.parametrize(
    ("acceptance", "says"),
    [
        (given_by("Ann", b"otherwise"), "it has changed since."),
        (given_by("Ann", None), "it has changed since."),
        (given_by("Ann", until=NOW), "that time is over."),
        (given_by("Ann", None, NOW), "that time is over."),
    ],
)
def test_what_lapsed_is_open_and_planned_again(acceptance: Acceptance, says: str) -> None:
    outlook = known(f1=acceptance).of(Outlook("update", (found("f1"),), planned("f1")))
    [finding] = outlook.findings
    assert (finding.remedy, outlook.bucket, outlook.accepted) == (Remedy.FIX, "update", False)
    assert [delta.outcome for delta in outlook.deltas] == [Outcome.PLANNED]
    assert finding.why.endswith(says)


def test_of_two_findings_only_the_accepted_one_is_settled() -> None:
    both = (found("f1"), found("f2", remedy=Remedy.HUMAN))
    of_the_delta = known(f1=given_by("Ann")).of(Outlook("update", both, planned("f1")))
    assert (of_the_delta.bucket, of_the_delta.accepted) == ("human", False)
    assert [delta.outcome for delta in of_the_delta.deltas] == [Outcome.HELD]
    of_the_other = known(f2=given_by("Ann")).of(Outlook("update", both, planned("f1")))
    assert (of_the_other.bucket, [delta.outcome for delta in of_the_other.deltas]) == ("update", [Outcome.PLANNED])


def test_what_nobody_accepted_is_left_as_it_is() -> None:
    outlook = Outlook("update", (found("f1"),), planned("f1"))
    assert known(f2=given_by("Ann")).of(outlook) is outlook
    assert known().rest(outlook.findings) == list(outlook.findings)


def test_what_a_person_wrote_is_bounded_and_inert() -> None:
    loud = Acceptance(
        by="A\x1b[31m" * 500, why="x\u202e" * 5000, at=NOW, until=NOW + timedelta(days=1), sides=b"as it was"
    )
    [finding] = known(f1=loud).rest([found("f1")])
    assert len(finding.why) < 600
    assert finding.why.isprintable()
