"""What `status` tells: what needs somebody first, bounded however large a brokerage is, and the command that helps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from reconciler.cli import freshness
from reconciler.cli.health import Condition, Health
from reconciler.cli.lateness import Late
from reconciler.cli.overview import Overview, as_json
from reconciler.store.consents import Approval
from reconciler.store.overview import FailedStart, Waiting

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FRESH = Health(
    number=1,
    name="ann@acme.example",
    source="google",
    state=Condition.FRESH,
    since=None,
    seen_at=NOW - HOUR,
    full_at=NOW - HOUR,
    blind_since=None,
    next_try=NOW + HOUR,
    strikes=0,
    quarantined=0,
    why=None,
)
PARKED = replace(
    FRESH,
    state=Condition.PARKED,
    since=NOW - 2 * HOUR,
    blind_since=NOW - 2 * HOUR,
    next_try=NOW + 4 * HOUR,
    strikes=3,
    why="It answered \x1b[31m404.",
)
DIGEST = "7f3c9a1e52b0" + "0" * 52
WAITING = Waiting(run="01JRUN", at=NOW - HOUR, digest=DIGEST, covers=41, deferred=3)
RUN: dict[str, Any] = {
    "id": "01JRUN",
    "command": "run",
    "slot": NOW - HOUR,
    "started_at": NOW - HOUR,
    "finished_at": NOW,
    "status": "refused",
    "exit_code": 4,
    "digest": DIGEST,
    "counts": {},
    "why": None,
}


def overview(**said: Any) -> Overview:
    blank = Overview(
        job="acme",
        calendars=(FRESH,),
        runs=(),
        findings={},
        accepted=(),
        consents=(),
        told=(),
        waiting=None,
        late=(),
        next_read=None,
        notes=(),
        now=NOW,
    )
    return replace(blank, **said)


def text(found: Overview) -> list[str]:
    return list(freshness._text(found, ZoneInfo("UTC"), "acme"))


def health_of(states: Sequence[Condition]) -> tuple[Health, ...]:
    return tuple(replace(FRESH, name=f"a{n}@acme.example", state=state) for n, state in enumerate(states))


def test_what_needs_somebody_comes_first_with_since_when_why_and_when_it_is_tried_again() -> None:
    lines = text(overview(calendars=(FRESH, PARKED)))
    assert lines[0] == "acme: calendars 1 parked, 1 fresh; 0 open findings"
    place = lines.index("CALENDARS")
    assert lines[place + 1 : place + 5] == [
        "  parked   ann@acme.example (google)  last seen whole Sun 22 Nov 2026 08:00 UTC",
        "           blind since Sun 22 Nov 2026 07:00 UTC, 3 tries: It answered [31m404.",
        "           tried again not before Sun 22 Nov 2026 13:00 UTC",
        "  fresh    ann@acme.example (google)  last seen whole Sun 22 Nov 2026 08:00 UTC",
    ]


def test_a_large_brokerage_fits_on_a_screen_or_two_and_the_json_has_all_of_it() -> None:
    found = overview(calendars=health_of([Condition.LATE] * 7_000 + [Condition.FRESH] * 43_000))
    lines = text(found)
    assert len(lines) < 120
    assert "  and 6,950 more that are not well (--format json has all of them)" in lines
    assert any(line.startswith("  fresh    43,000 calendars (google)  the one not seen for longest") for line in lines)
    assert len(as_json(found)["calendars"]) == 50_000


def test_a_start_of_which_no_run_came_is_in_the_headline_and_before_the_runs() -> None:
    found = overview(runs=(RUN,), failed_start=FailedStart(NOW, 2))
    assert found.needs_somebody
    assert (
        freshness.headline(found) == "acme: calendars 1 fresh; 0 open findings; no run came of the last start (exit 2)"
    )
    lines = text(found)
    place = lines.index("RUNS")
    assert lines[place + 1 : place + 3] == [
        "  Sun 22 Nov 2026 09:00 UTC  no run came of this start  exit 2",
        "    reconcile check acme",
    ]
    assert as_json(found)["failed_start"] == {"at": NOW, "exit_code": 2}


def test_a_critical_finding_needs_somebody_and_others_can_wait() -> None:
    assert overview(findings={"critical": 1}, critical=1).needs_somebody
    assert not overview(findings={"critical": 1, "high": 3}).needs_somebody, "the critical one is put right"


def test_a_plan_that_waits_comes_with_the_command_that_consents() -> None:
    lines = text(overview(waiting=WAITING, runs=(RUN,), next_read=NOW + HOUR))
    place = lines.index("WAITING")
    assert lines[place + 1 : place + 5] == [
        "  plan 7f3c9a1e52b0 of Sun 22 Nov 2026 08:00 UTC: 41 changes for somebody to consent to",
        "    reconcile report acme --run 01JRUN",
        "    reconcile approve 7f3c9a1e52b0 --by YOU --why TEXT --job acme",
        "  3 changes put off: the next run goes on with them",
    ]
    assert "exit 4  3600 s  slot 08:00 UTC  01JRUN" in lines[-2]
    assert lines[-1] == "  Sun 22 Nov 2026 10:00 UTC  next slot of the crontab"


@pytest.mark.parametrize(("status", "code", "said"), [("refused", 4, "was refused"), ("failed", 1, "failed")])
def test_a_last_run_that_applied_nothing_is_in_the_headline_and_needs_somebody(
    status: str, code: int, said: str
) -> None:
    """Every calendar was read well, and what the CRM shows is not believed: no calendar tells of that."""
    last = {**RUN, "status": status, "exit_code": code, "why": "Half of\x1b[2J it."}
    at_work = {**RUN, "finished_at": None, "status": None, "exit_code": None}
    found = overview(runs=(at_work, last))
    assert found.needs_somebody
    assert freshness.headline(found) == f"acme: calendars 1 fresh; 0 open findings; the last run {said}"
    assert text(found)[-1] == "    Half of[2J it."
    assert not overview(runs=({**RUN, "status": "applied", "exit_code": 0}, last)).needs_somebody
    assert not overview(runs=({**RUN, "command": "revert"},)).needs_somebody, "who asked for that was told"
    consented = replace(WAITING, digest=None) if code == 1 else WAITING
    assert overview(runs=(RUN,), waiting=consented).failed == (RUN if code == 1 else None), "consent is its own matter"


def test_a_plan_that_somebody_consented_to_asks_nobody_any_more() -> None:
    given = Approval(digest=DIGEST, by="Jo", why="-", origin="-", at=NOW, expires_at=NOW + HOUR)
    assert overview(waiting=WAITING).needs_somebody
    assert not overview(waiting=WAITING, consents=(given,)).needs_somebody
    assert overview(waiting=WAITING, consents=(replace(given, expires_at=NOW),)).needs_somebody


def test_a_slot_that_nobody_served_is_told_with_the_command_that_shows_the_schedule() -> None:
    late = Late(command="run", late=NOW - HOUR, missed=3, first_missed=NOW - 4 * HOUR)
    found = overview(late=(late,))
    lines = text(found)
    place = lines.index("SLOTS NOT SERVED")
    assert lines[place + 1 : place + 4] == [
        "  run  late since Sun 22 Nov 2026 08:00 UTC",
        "  run  3 missed since Sun 22 Nov 2026 05:00 UTC",
        "    reconcile schedule acme",
    ]
    assert lines[0].endswith("; 1 slot late")
    assert found.needs_somebody


@pytest.mark.parametrize("state", Condition)
def test_whoever_asks_quietly_hears_of_what_is_not_well(state: Condition) -> None:
    assert overview(calendars=health_of([state])).needs_somebody is (state not in {"fresh", "left"})
