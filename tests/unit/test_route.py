"""One part's view of a period: nobody else's rows, and nobody else's name in what is kept."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model import Acceptance, Action, Change, Finding, Kind, Outcome, Remedy, Severity, Side, Tier, Value
from reconciler.report import mask
from reconciler.report.recorded import Day, Fix, PastRun, Place, Recorded, Stream, Taken, Told, Tracked, Watched
from reconciler.report.route import OTHER, Part, folded, narrowed

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
ANN, BOB, CLIENT = "ann@acme.example", "bob@acme.example", "jane@mail.example"
NORTH = Part(
    name="north",
    own=frozenset({ANN, "annie@acme.example", "ann owner"}),
    others=frozenset({BOB, "bob@home.example", "robert smith", "17", "x"}),
    domains=("acme.example",),
)


def finding(why: str = "It differs.", **values: object) -> Finding:
    plain = {"key": "k", "kind": Kind.FIELD_DRIFT, "severity": Severity.INFO, "remedy": Remedy.HUMAN, "agent": ANN}
    return Finding(why=why, **(plain | values))  # type: ignore[arg-type]


def tracked(found: Finding, **values: object) -> Tracked:
    plain = {"first_seen": NOW, "last_seen": NOW, "sightings": 1}
    return Tracked(finding=found, **(plain | values))  # type: ignore[arg-type]


def period(**values: object) -> Recorded:
    return Recorded(job="acme", since=NOW - timedelta(days=1), until=NOW, made_at=NOW, **values)  # type: ignore[arg-type]


def why(sentence: str, part: Part = NORTH) -> str:
    """Say what a part reads of a sentence."""
    [seen] = narrowed(period(findings=(tracked(finding(sentence)),)), part).findings
    return seen.finding.why


# ---- rows -----------------------------------------------------------------------------------------------------------


def test_of_findings_and_writes_only_those_of_the_part_are_kept() -> None:
    theirs = [finding(agent=BOB), finding(agent=None), finding(agent="nobody@acme.example"), finding(agent="17")]
    ours = [finding(), finding(agent="ANNIE@acme.example"), finding(agent="Ann Owner")]
    write = Fix(
        run="r",
        at=NOW,
        action=Action.CREATE,
        side=Side.CRM,
        key="k",
        agent=ANN,
        event="e",
        crm_id="1",
        before={},
        after={},
    )
    seen = narrowed(
        period(
            findings=[tracked(each) for each in (*theirs, *ours)],
            fixes=[write, replace(write, agent=BOB), replace(write, agent=None)],
        ),
        NORTH,
    )
    assert [each.finding.agent for each in seen.findings] == [each.agent for each in ours]
    assert [each.agent for each in seen.fixes] == [ANN]
    assert [each.agent for each in seen.fixes] == [ANN]  # as often as it is asked for


def test_what_nobody_could_see_of_the_whole_job_stays() -> None:
    gap = finding("The CRM did not answer; bob@acme.example asked.", agent=None, kind=Kind.COVERAGE_GAP)
    [seen] = narrowed(period(findings=[tracked(gap)]), NORTH).findings
    assert seen.finding.why == f"The CRM did not answer; {OTHER} asked."


def test_a_gap_of_another_agent_is_not_ours() -> None:
    assert [*narrowed(period(findings=[tracked(finding(agent=BOB, kind=Kind.COVERAGE_GAP))]), NORTH).findings] == []


def test_calendars_offices_and_days_of_others_are_left_out() -> None:
    places = [Place(source="google", kind="google", agent=agent, name="primary") for agent in (ANN, BOB)]
    all_of_it = period(
        calendars=tuple(Watched(place=place, why=f"refused for {BOB}") for place in places),
        office_of={ANN: "north", BOB: "south"},
        days=(Day(day=NOW.date(), found=7),),
    )
    seen = narrowed(all_of_it, NORTH)
    assert [(each.place.agent, each.why) for each in seen.calendars] == [(ANN, f"refused for {OTHER}")]
    assert seen.office_of == {ANN: "north"}
    assert (seen.part, seen.has_days, seen.days) == ("north", False, ())
    assert narrowed(all_of_it, replace(NORTH, has_days=True)).days == all_of_it.days


def test_of_runs_there_are_numbers_and_what_concerns_the_part() -> None:
    violations = [
        {"limit": "cancel", "found": 41, "agent": None, "why": f"31 of the 41 are {BOB}'s"},
        {"limit": "agent_cancel", "found": 9, "agent": BOB, "why": "his"},
        {"limit": "agent_cancel", "found": 6, "agent": ANN, "why": "hers"},
    ]
    result = {
        "counts": {"records": 120},
        "violations": violations,
        "approvals": [{"by": "Robert Smith", "dropped": ["k"]}],
        "told": BOB,
    }
    run = PastRun(
        id="r",
        command="run",
        started_at=NOW,
        finished_at=NOW,
        status="refused",
        exit_code=4,
        digest="d",
        why=f"{BOB} was refused",
        result=result,
    )
    seen = narrowed(period(runs=(run,), last=run, attempted=run, before=run), NORTH)
    for each in (*seen.runs, seen.last, seen.attempted, seen.before):
        assert each is not None
        assert each.why == f"{OTHER} was refused"
        assert set(each.result) == {"counts", "violations"}
        assert [(one["limit"], one["why"]) for one in each.result["violations"]] == [
            ("cancel", f"31 of the 41 are {OTHER}'s"),
            ("agent_cancel", "hers"),
        ]


# ---- what is kept ---------------------------------------------------------------------------------------------------


def test_other_agents_in_values_become_nobody_in_particular() -> None:
    held = {
        "agent": BOB,
        "participants": (ANN, BOB, "c@acme.example", CLIENT),
        "contact": (CLIENT,),
        "title": f"With {BOB}",
    }
    moved = finding(fields={"agent": ("17", ANN)}, has={Side.CRM: held})
    step = Taken(
        action=Action.UPDATE, side=Side.CRM, outcome=Outcome.FAILED, why=f"{BOB} has it", fields={"agent": (BOB, ANN)}
    )
    word = Acceptance(by="Robert Smith", why=f"ask {BOB}", at=NOW, until=NOW)
    place = Place(source="g", kind="google", agent=BOB, name="primary")
    [seen] = narrowed(period(findings=[tracked(moved, taken=(step,), accepted=word, place=place)]), NORTH).findings
    assert dict(seen.finding.fields) == {"agent": (OTHER, ANN)}
    assert dict(seen.finding.has[Side.CRM]) == {
        "agent": OTHER,
        "participants": (ANN, OTHER, CLIENT),
        "contact": (CLIENT,),
        "title": f"With {OTHER}",
    }
    assert (seen.taken[0].why, dict(seen.taken[0].fields)) == (f"{OTHER} has it", {"agent": (OTHER, ANN)})
    assert seen.accepted is not None
    assert (seen.accepted.by, seen.accepted.why) == (OTHER, f"ask {OTHER}")
    assert seen.place is None


def test_images_of_writes_are_narrowed_too() -> None:
    write = Fix(
        run="r",
        at=NOW,
        action=Action.UPDATE,
        side=Side.CRM,
        key=f"mail:{BOB}",
        agent=ANN,
        event="e",
        crm_id="1",
        before={"agent": BOB, "contact": "bob@home.example"},
        after={"agent": ANN, "contact": CLIENT},
    )
    [seen] = narrowed(period(fixes=[write]), NORTH).fixes
    assert (dict(seen.before), dict(seen.after)) == (
        {"agent": OTHER, "contact": OTHER},
        {"agent": ANN, "contact": CLIENT},
    )
    assert seen.key == f"mail:{OTHER}"


def test_a_record_that_a_key_leads_to_may_be_anybodys() -> None:
    sides = {Side.CALENDAR: {"title": "ours"}, Side.CRM: {"title": "theirs"}}
    led = finding(
        "It leads to CRM record 70017.", kind=Kind.AMBIGUOUS, crm_id="70017", has=sides, fields={"title": ("a", "b")}
    )
    [seen] = narrowed(period(findings=[tracked(led)]), NORTH).findings
    assert "70017" not in repr(seen)
    assert "theirs" not in repr(seen)
    assert seen.finding.has == {Side.CALENDAR: {"title": "ours"}}
    alike = replace(led, tier=Tier.NATURAL)  # the same agent's, by definition
    [seen] = narrowed(period(findings=[tracked(alike)]), NORTH).findings
    assert seen.finding.crm_id == "70017"


def test_earlier_reports_and_notes_name_nobody_else() -> None:
    told = Told(kind="report", status="refused", since=NOW, until=NOW, why=f"550 {BOB} unknown")
    seen = narrowed(period(told=(told,), notes=(f"agents.csv: {BOB} twice",)), NORTH)
    assert seen.told[0].why == f"550 {OTHER} unknown"
    assert seen.notes == (f"agents.csv: {OTHER} twice",)


# ---- names in sentences ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sentence", "read"),
    [
        (f"31 are {BOB}'s: read whole.", f"31 are {OTHER}'s: read whole."),
        ("BOB@ACME.example, too", f"{OTHER}, too"),
        ("<bob@home.example>", f"<{OTHER}>"),
        (f"{BOB}/{ANN}", f"{OTHER}/{ANN}"),
        ("made by Robert  Smith or ROBERT SMITH.", f"made by Robert  Smith or {OTHER}."),
        ("c@acme.example and d@sub.acme.example", f"{OTHER} and {OTHER}"),
        ("jim.bob@home.example is a client", "jim.bob@home.example is a client"),
        ("bob@home.examples is a client", "bob@home.examples is a client"),
        ("bob@homeXexample", "bob@homeXexample"),
        ("17 records of x", "17 records of x"),
        (f"{CLIENT} and annie@acme.example", f"{CLIENT} and annie@acme.example"),
        ("İbob@acme.example", OTHER),
        ("İ bob@acme.example İ", f"İ {OTHER} İ"),
    ],
)
def test_other_agents_are_found_in_sentences_however_they_are_spelled(sentence: str, read: str) -> None:
    assert why(sentence) == read


def test_the_longest_name_that_fits_counts() -> None:
    part = replace(NORTH, own=frozenset({"mary.ann@acme.example"}), others=frozenset({"ann@acme.example", "mary"}))
    found = tracked(finding("mary.ann@acme.example asked ann@acme.example, not Mary", agent="mary.ann@acme.example"))
    [seen] = narrowed(period(findings=[found]), part).findings
    assert seen.finding.why == f"mary.ann@acme.example asked {OTHER}, not {OTHER}"


def test_where_nobody_knows_who_the_others_are_nobody_is_named() -> None:
    part = Part(name="ann", own=frozenset({ANN}), is_strict=True)
    assert why(f"{ANN} or {CLIENT} or b@else.example", part) == f"{ANN} or {OTHER} or {OTHER}"
    held = {"contact": (CLIENT,), "participants": (ANN, CLIENT)}
    [seen] = narrowed(period(findings=[tracked(finding(has={Side.CRM: held}))]), part).findings
    assert dict(seen.finding.has[Side.CRM]) == {"contact": (CLIENT,), "participants": (ANN, OTHER)}


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_text_around_it_shows_another_agent(before: str, after: str) -> None:
    read = folded(why(f"{before} {BOB} {after}"))
    assert BOB not in read.replace(folded(before), "").replace(folded(after), "")


@given(st.text(alphabet="ab@.+-_ \u0130", max_size=300))
def test_any_text_can_be_read(sentence: str) -> None:
    assert isinstance(why(sentence), str)


# ---- masked ---------------------------------------------------------------------------------------------------------


def test_a_masked_period_has_no_client_in_any_of_its_parts() -> None:
    held: dict[str, Value] = {
        "contact": (CLIENT,),
        "title": "Divorce of Jane",
        "location": "1 Secret Lane",
        "participants": (ANN, CLIENT),
    }
    change: dict[str, Change] = {"title": ("Divorce of Jane", None), "contact": ((), (CLIENT,))}
    step = Taken(action=Action.CREATE, side=Side.CRM, outcome=Outcome.FAILED, why=f"no {CLIENT}", fields=change)
    word = Acceptance(by="kim", why=f"{CLIENT} knows", at=NOW, until=NOW)
    found = finding(f"{CLIENT} is missing", has={Side.CALENDAR: held}, fields=change, clues=(f"origin:{CLIENT}",))
    write = Fix(
        run="r",
        at=NOW,
        action=Action.UPDATE,
        side=Side.CRM,
        key="k",
        agent=ANN,
        event="e",
        crm_id="1",
        before=held,
        after=held,
    )
    run = PastRun(
        id="r",
        command="run",
        started_at=NOW,
        finished_at=NOW,
        status="refused",
        exit_code=4,
        digest="d",
        why=f"{CLIENT} failed",
        result={"violations": [{"why": f"{CLIENT} and {ANN}"}], "counts": {"records": 1}},
    )
    place = Place(source="g", kind="google", agent=ANN, name="primary")
    seen = mask.masked_period(
        period(
            findings=Stream(lambda: iter([tracked(found, taken=(step,), accepted=word)])),
            fixes=Stream(lambda: iter([write])),
            runs=(run,),
            last=run,
            attempted=run,
            before=run,
            calendars=(Watched(place=place, why=f"{CLIENT} failed"),),
            told=(Told(kind="report", status="refused", since=NOW, until=NOW, why=CLIENT),),
            notes=(f"{CLIENT} too",),
        ),
        frozenset({ANN}),
    )
    said = repr([seen, *seen.findings, *seen.fixes])
    assert not [word for word in (CLIENT, "jane", "Divorce", "Secret") if word in said]
    assert f"{ANN}" in said
    assert "j•••@•••.example" in said
    assert seen.last is not None
    assert seen.last.result["counts"] == {"records": 1}
