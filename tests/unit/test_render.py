"""What people read: the most important first, times in two zones, text inert and bounded, clients masked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cli.explained import MATCHED
from reconciler.model import (
    Action,
    Change,
    Consent,
    Delta,
    Fields,
    Finding,
    Kind,
    Outcome,
    Remedy,
    Severity,
    Side,
    Tier,
    Violation,
    Waiting,
    Window,
)
from reconciler.report import mask, render, words
from reconciler.report.finding import ADVICE
from reconciler.report.look import Look, Mood
from reconciler.report.run import build, mood_of
from reconciler.result import CalendarSeen, Result, Sum

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
LOOK = Look(job="acme", zone="America/Chicago", zones={"eve@acme.example": "Asia/Tokyo"}, limits={"cancel": "10 or 5%"})
SEEN = CalendarSeen("ann@acme.example", "google", observed=True, mode="full", events=41)
BLIND = CalendarSeen(
    "dee@acme.example", "ics", observed=False, mode=None, events=0, why="It has no end.", strikes=2, blind_since=NOW
)
MOVED = Finding(
    key="abc123",
    kind=Kind.RESCHEDULE_NOT_PROPAGATED,
    severity=Severity.HIGH,
    remedy=Remedy.FIX,
    why="Start changed in the calendar.",
    agent="ann@acme.example",
    event="evt1",
    crm_id="17",
    fields={"start": ("2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z")},
    start="2026-11-24T16:00:00Z",
    tier=Tier.KEY,
)
UPDATE = Delta(
    action=Action.UPDATE,
    side=Side.CRM,
    key="uid1",
    kind=Kind.RESCHEDULE_NOT_PROPAGATED,
    severity=Severity.HIGH,
    agent="ann@acme.example",
    crm_id="17",
    fields=MOVED.fields,
    start="2026-11-24T16:00:00Z",
    finding="abc123",
)
PERSON = replace(
    MOVED, key="def456", kind=Kind.REMOVED_BY_HAND, severity=Severity.MEDIUM, remedy=Remedy.HUMAN, fields={}
)


def result(**changes: object) -> Result:
    blank = Result(
        job="acme",
        run="01J",
        dry_run=False,
        status="in_sync",
        exit_code=0,
        window=Window(NOW, NOW),
        digest="7f3c9a1e52b0" + "0" * 52,
        counts={"in_sync": 3},
        events=Sum(5, {"in_sync": 3, "irrelevant": 2}),
        records=Sum(4, {"in_sync": 3, "strangers": 1}),
        calendars=(SEEN,),
    )
    return replace(blank, **changes)  # type: ignore[arg-type]


def text(found: Result, look: Look = LOOK) -> str:
    return render.plain(build(found, look))


def table(found: Result, look: Look = LOOK) -> str:
    stream = StringIO()
    console = render.console(stream)
    console.width = 200
    render.show(build(found, look), console)
    return stream.getvalue()


# ---- the headline ---------------------------------------------------------------------------------------------------


IN_SYNC = "3 appointments in sync, nothing to do"
VIOLATION = Violation("cancel", 41, 13, 260, "of 260 linked records")


@pytest.mark.parametrize(
    ("found", "mood", "says"),
    [
        (result(), Mood.SAFE, "SAFE acme: 3 appointments in sync, nothing to do"),
        (
            result(deltas=(replace(UPDATE, outcome=Outcome.DONE),), findings=(MOVED,)),
            Mood.SAFE,
            "SAFE acme: 1 change applied",
        ),
        (
            result(deltas=(UPDATE,), findings=(MOVED,), dry_run=True),
            Mood.SAFE,
            "SAFE acme: 1 change planned; dry run, nothing was written",
        ),
        (result(findings=(PERSON,)), Mood.NEEDS_YOU, "NEEDS YOU acme: 1 finding for a person"),
        (
            result(deltas=(replace(UPDATE, outcome=Outcome.HELD), replace(UPDATE, outcome=Outcome.HELD))),
            Mood.NEEDS_YOU,
            "NEEDS YOU acme: 2 changes held back",
        ),
        (
            result(deltas=(replace(UPDATE, outcome=Outcome.UNKNOWN),)),
            Mood.NEEDS_YOU,
            "NEEDS YOU acme: 1 change of unknown outcome",
        ),
        (
            result(calendars=(SEEN, BLIND)),
            Mood.BLIND,
            f"BLIND acme: 1 of 2 calendars not seen, what they hold is left alone; {IN_SYNC}",
        ),
        (result(violations=(VIOLATION,)), Mood.REFUSED, "REFUSED acme: 1 limit exceeded, nothing was applied"),
        (
            result(violations=(VIOLATION,), dry_run=True),
            Mood.REFUSED,
            "REFUSED acme: 1 limit exceeded, nothing would be applied",
        ),
    ],
)
def test_the_headline_says_what_matters_most(found: Result, mood: Mood, says: str) -> None:
    assert mood_of(found) is mood
    assert text(found).splitlines()[0] == says
    assert table(found).splitlines()[0].rstrip() == says


def test_a_crm_that_was_not_read_comes_before_everything() -> None:
    gap = replace(PERSON, kind=Kind.COVERAGE_GAP, agent=None, why="The CRM does not answer.")
    said = text(result(findings=(gap,), status="partial", exit_code=5))
    assert said.splitlines()[0] == "BLIND acme: the CRM was not read, nothing was planned"
    assert "The CRM does not answer." in said.splitlines()[2]


def test_a_collapsed_snapshot_is_a_refusal() -> None:
    gap = replace(PERSON, kind=Kind.COVERAGE_GAP, agent=None, why="The CRM shows 3 records where 260 were.")
    said = text(result(findings=(gap,), status="refused", exit_code=4))
    assert said.splitlines()[0] == "REFUSED acme: what the CRM shows can't be the truth, nothing was planned"


def test_a_calendar_nobody_asked_for_is_not_unseen() -> None:
    left = CalendarSeen("gus@acme.example", "google", observed=False, mode=None, events=0, why="the agent left")
    found = result(calendars=(SEEN, left))
    assert mood_of(found) is Mood.SAFE
    assert "not asked: gus@acme.example (google): the agent left" in text(found)


# ---- what is on the page --------------------------------------------------------------------------------------------


def test_what_was_not_seen_comes_before_what_was_found() -> None:
    for said in (
        text(result(calendars=(SEEN, BLIND), findings=(MOVED,))),
        table(result(calendars=(SEEN, BLIND), findings=(MOVED,))),
    ):
        assert said.index("NOT SEEN") < said.index("1 of 2 calendars seen") < said.index("HIGH")
        assert "It has no end." in said
        assert "2 tries" in said


def test_a_finding_says_whose_when_what_why_and_what_now() -> None:
    said = text(result(findings=(MOVED,), deltas=(UPDATE,), sightings={"abc123": (NOW, 3)}))
    for part in (
        "reschedule_not_propagated  ann@acme.example  Tue 24 Nov 2026 10:00 CST (16:00 UTC)  record 17",
        "start       Tue 24 Nov 2026 09:00 CST (15:00 UTC) → Tue 24 Nov 2026 10:00 CST (16:00 UTC)",
        "why         Start changed in the calendar.",
        "what now    update: will be written by a run",
        "matched     by source key",
        "seen        3 times since Sat 21 Nov 2026 21:00 CST (Sun 22 03:00 UTC)",
        "planned  update record 17  ann@acme.example  Tue 24 Nov 2026 10:00 CST (16:00 UTC) · start",
    ):
        assert part in said


def test_what_a_refused_plan_would_write_waits_for_a_person() -> None:
    said = text(result(findings=(MOVED,), deltas=(UPDATE,), violations=(VIOLATION,)))
    assert "what now    update: waits: the plan was refused, and a person has to consent" in said
    assert "will be written" not in said


def test_what_nobody_will_write_shows_both_sides() -> None:
    said = text(result(findings=(replace(PERSON, fields=MOVED.fields),)))
    assert "CRM: Tue 24 Nov 2026 09:00 CST (15:00 UTC) · calendar: Tue 24 Nov 2026 10:00 CST (16:00 UTC)" in said
    assert "a person decides: cancel the event, or bring the record back" in said


def test_times_are_in_the_agents_own_zone() -> None:
    said = text(result(findings=(replace(MOVED, agent="eve@acme.example"),)))
    assert "Wed 25 Nov 2026 01:00 JST (Tue 24 16:00 UTC)" in said


def test_findings_go_from_urgent_to_idle() -> None:
    kinds = [replace(PERSON, key=severity, severity=severity) for severity in reversed(Severity)]
    said = text(result(findings=tuple(kinds)))
    places = [said.index(f"\n{severity.upper()}\n") for severity in Severity]
    assert places == sorted(places)


def test_every_kind_has_advice_for_people() -> None:
    assert set(ADVICE) == set(Kind)


def test_a_thousand_findings_print_fifty_of_each_kind() -> None:
    many = tuple(replace(PERSON, key=f"{number:04}", crm_id=f"c{number:04}") for number in range(1000))
    said = text(result(findings=many, deltas=(UPDATE,) * 120))
    assert said.count("removed_by_hand  ann") == 50
    assert "… 950 more removed_by_hand; all of them with --format json" in said
    assert "… 70 more: reconcile --dry-run acme --format json" in said
    assert len(said) < 60_000


def test_counts_show_both_sides_and_what_is_besides() -> None:
    said = text(result())
    assert "  in sync          3        3\n" in said
    assert "besides events: 2 no appointments" in said
    assert "besides records: 1 that are none of this job's" in said


# ---- refusals -------------------------------------------------------------------------------------------------------


def refusal() -> Result:
    cancels = [replace(UPDATE, action=Action.CANCEL, agent="bob@acme.example", key=f"k{n}") for n in range(31)]
    cancels += [replace(UPDATE, action=Action.CANCEL, key=f"l{n}") for n in range(10)]
    bob = replace(SEEN, agent="bob@acme.example")
    withheld = Violation("emptied", 38, 0, 38, "0 events read whole, 38 were linked", "dee@acme.example")
    return result(
        violations=(VIOLATION,),
        withheld=(withheld,),
        deltas=tuple(cancels),
        calendars=(SEEN, bob),
        status="refused",
        exit_code=4,
        asks=Waiting(digest="7f3c9a1e52b0" + "0" * 52, count=41),
    )


def test_a_refusal_carries_the_numbers_whose_they_are_and_what_to_type() -> None:
    lines = text(refusal()).splitlines()
    assert lines[0] == "REFUSED acme: 1 limit exceeded, nothing was applied"
    numbers = " ".join(lines[2].split())
    assert numbers == "cancel 41 of 260 linked records (15.8 %) allowed 13 (10 or 5%) [limits.cancel]"
    assert lines[3].strip() == "31 of the 41 are bob@acme.example's, whose calendar was read in full."
    withheld = "WITHHELD dee@acme.example: 0 events read whole, 38 were linked"
    assert lines[4].strip() == f"{withheld}; this agent's changes wait, everyone else's don't."
    said = "\n".join(lines)
    assert "To consent to these 41 changes (what moves meanwhile drops out):" in said
    assert "    reconcile approve 7f3c9a1e52b0 --by YOU --why TEXT --job acme" in lines


def test_a_refusal_says_why_a_calendar_was_read_in_full() -> None:
    bob = replace(SEEN, agent="bob@acme.example", because="its cursor no longer held")
    said = text(replace(refusal(), calendars=(SEEN, bob)))
    assert "31 of the 41 are bob@acme.example's, whose calendar was read in full: its cursor no longer held.\n" in said


def line_of(violation: Violation) -> str:
    lines = text(result(violations=(violation,))).splitlines()
    return next(" ".join(line.split()) for line in lines if f" {violation.why}" in line)


def test_the_limits_of_a_day_of_messages_and_of_a_smaller_job_file_are_said_with_their_numbers() -> None:
    why = "cancels within 24 hours, 12 of them by earlier runs"
    day = Violation("day", 22, 20, 260, why, action=Action.CANCEL)
    assert line_of(day) == f"day 22 {why} allowed 20 [limits.day]"
    told = Violation("notify", 3, 0, 0, "people would be sent a message by a provider, for 2 changes")
    assert line_of(told) == f"notify 3 {told.why} allowed 0 [limits.notify]"
    lost = Violation("scope", 40, 13, 260, "of 260 linked records to come are in calendars that are no longer named")
    assert line_of(lost) == f"scope 40 {lost.why} (15.4 %) allowed 13 (10 or 5%) [limits.cancel]"


def test_most_of_the_people_who_would_be_told_are_named_by_whose_events_they_are() -> None:
    told = Violation("notify", 4, 0, 0, "people would be sent a message by a provider, for 3 changes")
    deltas = (
        replace(UPDATE, notify=2),
        replace(UPDATE, key="b", notify=1),
        replace(UPDATE, key="c", agent="b", notify=1),
    )
    assert "2 of the 3 are ann@acme.example's" in text(result(violations=(told,), deltas=deltas))


@pytest.mark.parametrize(
    ("waiting", "said"),
    [
        (Waiting(digest="a" * 64, count=1), "To consent to this change (what"),
        (Waiting(digest="a" * 64, count=0, released=1), "To consent to leaving out 1 calendar (what"),
        (
            Waiting(digest="a" * 64, count=2, released=2),
            "To consent to these 2 changes and leaving out 2 calendars (what",
        ),
    ],
)
def test_what_there_is_to_consent_to_is_said(waiting: Waiting, said: str) -> None:
    assert said in text(result(asks=waiting))


def test_what_became_of_consents_is_said() -> None:
    used = Consent(digest="7f3c9a1e52b0" + "0" * 52, by="Jo [red]", covered=1200, dropped=tuple("abcdefg"))
    said = text(result(approvals=(used, Consent(digest="b" * 64, by="Al", covered=0, expired=NOW))))
    assert (
        "Jo [red]'s consent to 7f3c9a1e52b0 covers 1,200 of what is planned; "
        "7 changed since and dropped out: a, b, c, d, e and 2 more.\n"
    ) in said
    assert (
        "Al's consent to bbbbbbbbbbbb expired at Sat 21 Nov 2026 21:00 CST (Sun 22 03:00 UTC): it counts no more."
        in said
    )


def test_consent_that_covers_nothing_says_so() -> None:
    said = text(result(approvals=(Consent(digest="b" * 64, by="Al", covered=0),)))
    assert "Al's consent to bbbbbbbbbbbb covers nothing of what is planned now.\n" in said


def test_an_agent_with_too_many_cancels_is_named() -> None:
    withheld = Violation("agent_cancel", 9, 5, 10, "of 10 linked records of ann@acme.example", "ann@acme.example")
    said = text(result(withheld=(withheld,)))
    assert "WITHHELD ann@acme.example: 9 of 10 linked records of ann@acme.example would be removed, allowed 5" in said


# ---- inert text -----------------------------------------------------------------------------------------------------

HOSTILE = "[red]x[/red] {{ 7*7 }} {% raw %} :smile: \x1b[31mred\x1b[0m\u202etxt \x07" + "A" * 5000


def hostile() -> Result:
    fields: dict[str, Change] = {"title": (None, HOSTILE), "contact": (None, (f"{HOSTILE[:40]}@home.example",))}
    finding = replace(MOVED, why=HOSTILE, agent=HOSTILE, crm_id=HOSTILE, fields=fields)
    calendar = replace(BLIND, why=HOSTILE, agent=HOSTILE)
    return result(job="acme", findings=(finding,), calendars=(calendar,), notes=(HOSTILE,))


@pytest.mark.parametrize("shown", [text, table])
def test_whatever_a_calendar_says_is_shown_as_inert_bounded_text(shown: object) -> None:
    said = shown(hostile())  # type: ignore[operator]
    assert "[red]x[/red] {{ 7*7 }} {% raw %} :smile:" in said
    assert not {"\x1b", "\x07", "\u202e"} & set(said)
    assert "A" * 600 not in said
    assert len(said) < 10_000


@given(st.text(max_size=300))
def test_any_text_is_one_bounded_line(value: str) -> None:
    shown = words.bounded(value, 40)
    assert len(shown) <= 40
    assert len(shown.splitlines()) <= 1


def test_a_brokerage_may_bring_its_own_template_which_can_do_no_harm(tmp_path: Path) -> None:
    (tmp_path / "run.txt.j2").write_text("Ours: {{ report.headline }}")
    assert render.plain(build(result(), LOOK), tmp_path) == f"Ours: SAFE acme: {IN_SYNC}"
    for broken in ("{{ report.__class__.__mro__[1].__subclasses__() }}", "{% for %}", "{{ 1 / 0 }}", "{{ none.x.y }}"):
        (tmp_path / "run.txt.j2").write_text(broken)
        said = render.plain(build(result(), LOOK), tmp_path)
        assert said.startswith(f"SAFE acme: {IN_SYNC}\n")
        assert "reports/run.txt.j2 can't be used: " in said


# ---- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "zone", "says"),
    [
        ("2026-11-24T15:00:00Z", "UTC", "Tue 24 Nov 2026 15:00 UTC"),
        ("2026-11-24T15:00:00Z", "America/Chicago", "Tue 24 Nov 2026 09:00 CST (15:00 UTC)"),
        ("2026-07-24T15:00:00Z", "America/Chicago", "Fri 24 Jul 2026 10:00 CDT (15:00 UTC)"),
        ("2026-07-24T15:00:00Z", "Europe/London", "Fri 24 Jul 2026 16:00 BST (15:00 UTC)"),
        ("2026-11-24", "America/Chicago", "Tue 24 Nov 2026, all day"),
        ("not a time", "America/Chicago", "not a time"),
    ],
)
def test_times_read_in_local_time_and_utc(value: str, zone: str, says: str) -> None:
    assert words.canonical(value, ZoneInfo(zone)) == says


def test_an_unknown_zone_falls_back_to_utc() -> None:
    assert words.zone_of("Mars/Olympus").key == "UTC"


# ---- masks ----------------------------------------------------------------------------------------------------------


def test_masking_hides_clients_and_keeps_agents_everywhere() -> None:
    fields: dict[str, Change] = {
        "title": ("Jo's house", "Jo's villa"),
        "location": (None, "1 Secret Street"),
        "contact": (("jo@home.example",), ("kim@home.example", "ann@acme.example")),
        "start": MOVED.fields["start"],
    }
    held: Fields = {"title": "Jo's villa", "contact": ("jo@home.example",)}
    has = {Side.CALENDAR: held}
    finding = replace(MOVED, fields=fields, has=has, why="Moved by jo@home.example, says ann@acme.example.")
    found = result(
        findings=(finding,),
        deltas=(replace(UPDATE, fields=fields, why="jo@home.example"),),
        calendars=(SEEN, replace(BLIND, why="No answer to jo@home.example")),
        notes=("Ask kim@home.example.",),
        sightings={"abc123": (NOW, 1)},
    )
    hidden = mask.masked(found)
    assert "Jo's" not in str(hidden.findings)
    for said in (text(hidden), table(hidden), str(hidden.to_json())):
        for secret in ("home.example", "Jo's", "Secret", "villa"):
            assert secret not in said
        assert "j•••@•••.example" in said
        assert "ann@acme.example" in said
    assert "Tue 24 Nov 2026 10:00 CST" in text(hidden)


@pytest.mark.parametrize(
    ("address", "says"),
    [
        *(("jo@home.example", "j•••@•••.example"), ("x", "•••"), ("a.b+c@mail.home.co", "a•••@•••.co")),
        ("jo@smiths-house", "j•••@•••"),  # one word may be all that there is to know
    ],
)
def test_an_address_keeps_its_first_letter_and_its_last_word(address: str, says: str) -> None:
    assert mask.address(address) == says


@pytest.mark.parametrize(
    ("said", "masked"),
    [
        ("o'brien@home.example is new", "o•••@•••.example is new"),
        ("'jo@home.example' is new", "'j•••@•••.example' is new"),
        ("no record of jo.smith@home…", "no record of j•••@•••"),
        ("no record of jo.smith@home", "no record of j•••@•••"),
        ("ask ann@acme.example, not jo@home.example.", "ask ann@acme.example, not j•••@•••.example."),
        ("3 @ 10:00", "3 @ 10:00"),
    ],
)
def test_a_sentence_shows_no_address_though_it_was_cut_in_the_middle_of_one(said: str, masked: str) -> None:
    assert mask.sentence(said, frozenset({"ann@acme.example"})) == masked


# ---- what is written to calendars -----------------------------------------------------------------------------------

TO_CALENDAR = replace(UPDATE, side=Side.CALENDAR)


@pytest.mark.parametrize("shown", [text, table])
def test_what_is_written_to_calendars_stands_apart_from_what_is_written_to_the_crm(
    shown: Callable[[Result], str],
) -> None:
    made = replace(TO_CALENDAR, action=Action.CREATE, crm_id="18")
    gone = replace(TO_CALENDAR, action=Action.CANCEL, crm_id=None)
    said = shown(result(deltas=(UPDATE, TO_CALENDAR, made, gone)))
    crm, calendars = said.split("CHANGES TO CALENDARS")
    assert "CHANGES TO THE CRM" in crm
    assert ("record 17" in crm, "event of record 17" in crm) == (True, False)
    assert all(each in calendars for each in ("event of record 17", "new event for record 18"))
    assert "record None" not in said


def test_a_side_to_which_nothing_is_written_is_not_mentioned() -> None:
    assert "CALENDARS" not in text(result(deltas=(UPDATE,)))
    assert "CHANGES TO THE CRM" not in text(result(deltas=(TO_CALENDAR,)))


def test_a_finding_says_on_which_side_it_is_put_right() -> None:
    delta = replace(TO_CALENDAR, outcome=Outcome.DONE, finding=MOVED.key)
    assert "update in the calendar: done" in text(result(deltas=(delta,), findings=(MOVED,)))


@pytest.mark.parametrize("tier", Tier)
def test_every_way_to_match_has_its_words(tier: Tier) -> None:
    assert "matched" in text(result(findings=(replace(MOVED, tier=tier),)))
    assert MATCHED[tier]
