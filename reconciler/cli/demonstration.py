"""`reconcile demo`: a sample brokerage in a folder of its own, and the whole job against it.

Both sides agree first; then people edit, and the job runs three times: dry, in earnest, and once more to find nothing
left to write.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, running, screen
from reconciler.cli.world import Format, Named
from reconciler.errors import UsageError
from reconciler.model import Outcome, Remedy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from datetime import datetime

    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.model import Finding
    from reconciler.report.build import Look
    from reconciler.result import Result

EARLIER: Final = timedelta(hours=2)
"""How long ago both sides agreed, in the demo's own time."""

REPORT: Final = "report.txt"
STEPS: Final = ("agree", "dry run", "run", "run again")


def demo(call: Call, folder: Path | None) -> int:
    """Make the sample brokerage, run the job against it, and say what was found and where everything is."""
    place = _place(call, folder)
    logs.configure(call.common, call.world.clock)
    runs, look = perform(call, place)
    (place / REPORT).write_text(_report(runs, look), "utf-8")
    if call.common.format is Format.JSON:
        screen.write_json({"runs": [run.to_json() for run in runs], "report": str(place / REPORT)})
    elif not call.common.quiet:
        screen.write("\n".join(_story(runs, place)))
    return 0


def _place(call: Call, folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="reconcile-demo-"))
    place = call.world.cwd / folder
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"--dir {folder} is there and not empty: name a folder that the demo may fill.")
    place.mkdir(parents=True, exist_ok=True)
    return place


def perform(call: Call, place: Path) -> tuple[list[Result], Look]:
    """Run the four acts of the demo in `place`; return their results and how they are shown."""
    from reconciler.config import load
    from reconciler.simulator import brokerage, office

    now = call.world.clock()
    job = load(office.furnish(place), {})
    quiet_day = brokerage.agreed(now)
    office.settle_in(place, quiet_day, now - EARLIER)
    agreed, _ = _run(call, job, now - EARLIER, dry_run=False)
    office.settle_in(place, brokerage.edited(quiet_day, now), now)
    dry, _ = _run(call, job, now, dry_run=True)
    applied, _ = _run(call, job, now, dry_run=False)
    again, look = _run(call, job, now, dry_run=False)
    return [agreed, dry, applied, again], look


def _run(call: Call, job: Job, now: datetime, *, dry_run: bool) -> tuple[Result, Look]:
    """Run the job as if it were `now`."""
    from reconciler.assembly import assemble
    from reconciler.run import Options
    from reconciler.run import run as run_job

    with assemble(job, {}, clock=lambda: now, dry_run=dry_run) as setup:
        result = run_job(setup, Options())
    return running.for_people(result, setup, call.common), running.look_of(setup, Named(job, job.name).word)


def _report(runs: Iterable[Result], look: Look) -> str:
    from reconciler.report.build import build
    from reconciler.report.render import plain

    acts = (f"==== {step.upper()} ====\n\n{plain(build(run, look))}" for step, run in zip(STEPS, runs, strict=True))
    return "\n".join(acts)


# ---- the story ------------------------------------------------------------------------------------------------------


def _story(runs: list[Result], place: Path) -> Iterator[str]:
    agreed, dry, applied, again = runs
    yield f"A sample brokerage: 4 agents' calendar files, 1 CRM table, in {place}"
    yield ""
    yield f"1. Both sides agree      {_appointments(agreed)}"
    yield "2. People edit           calendars, CRM, and one calendar export that breaks off"
    yield f"3. reconcile --dry-run   {len(dry.findings)} findings, {_planned(dry)} planned, nothing written"
    yield f"4. reconcile run         {_done(applied)} written, exit {applied.exit_code}: {_because(applied)}"
    yield f"5. reconcile run         {_planned(again)} planned, {_done(again)} written: nothing is done twice"
    yield ""
    yield f"{'found':<28}{'how many':>8}  what became of it"
    yield from _kinds(dry, applied)
    yield ""
    yield f"NOT SEEN: {'; '.join(sorted(str(one.why) for one in applied.calendars if not one.observed))}"
    yield "What those calendars hold was left alone."
    yield ""
    yield "To look around:"
    yield f"    cd {place}"
    yield "    reconcile status sample"
    yield f"    reconcile explain {_interesting(again)} --job sample"
    yield f"    less {REPORT}"


def _appointments(result: Result) -> str:
    counts = result.counts
    return f"{counts['in_sync']} appointments in sync, {counts['irrelevant']} entries that are none"


def _planned(result: Result) -> int:
    return sum(1 for delta in result.deltas if delta.outcome is Outcome.PLANNED)


def _done(result: Result) -> int:
    return sum(1 for delta in result.deltas if delta.outcome is Outcome.DONE)


def _because(result: Result) -> str:
    return "one calendar was not seen" if result.exit_code else "all is well"


def _kinds(dry: Result, applied: Result) -> Iterator[str]:
    """Say for each kind how many were found and what became of them."""
    done = {delta.finding for delta in applied.deltas if delta.outcome in {Outcome.DONE, Outcome.ALREADY}}
    for kind, count in sorted(Counter(finding.kind for finding in dry.findings).items()):
        ours = [finding for finding in dry.findings if finding.kind is kind]
        yield f"{kind:<28}{count:>8}  {_fate(ours, done)}"


def _fate(findings: list[Finding], done: set[str]) -> str:
    fixed = sum(1 for finding in findings if finding.key in done)
    people = sum(1 for finding in findings if finding.remedy is Remedy.HUMAN)
    waiting = len(findings) - fixed - people
    counted = ((fixed, "fixed"), (people, "for a person"), (waiting, "waiting"))
    return ", ".join(f"{count} {word}" for count, word in counted if count)


def _interesting(result: Result) -> str:
    """Return the key of a finding that is worth a look: a conflict if there is one."""
    return min((finding.kind != "conflict", finding.key) for finding in result.findings if finding.crm_id)[1]
