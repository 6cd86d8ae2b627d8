"""`reconcile demo`: a sample brokerage in a folder of its own, stand-ins for Google and Microsoft, and the whole job.

Both sides agree first; then people edit, and the job runs three times: dry, in earnest, and once more to find nothing
left to write. All of it happens in the demo's own time. With `--serve` the stand-ins stay, for other programs too.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler.cli import logs, running, screen
from reconciler.cli.world import Format, Named
from reconciler.errors import UsageError
from reconciler.model import Outcome, Remedy
from reconciler.report.words import plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.model import Finding
    from reconciler.report.look import Look
    from reconciler.result import Result
    from reconciler.simulator.hosted import Hosted

EARLIER: Final = timedelta(hours=2)
"""How long ago both sides agreed, in the demo's own time."""

FRESH: Final = timedelta(minutes=35)
"""How long ago somebody had a first look, five minutes after people edited."""

WaysIn: TypeAlias = dict[str, dict[str, str]]
"""What other programs need to be told of each provider's stand-in."""

PROVIDERS: Final = {"google": "Google", "microsoft": "Microsoft"}
REPORT: Final = "report.html"
RUNS: Final = "runs.txt"
STEPS: Final = ("agree", "dry run", "run", "run again")


@dataclass(frozen=True, slots=True)
class Act:
    """One run of the demo: what it came to, how that is shown, and how often it asked each provider about calendars."""

    result: Result
    look: Look
    asked: dict[str, int]


@dataclass(frozen=True, slots=True)
class Play:
    """The four acts of `STEPS`, and the look that somebody had before the edits had settled."""

    acts: list[Act]
    early: Act
    job: Job
    now: datetime


def demo(call: Call, folder: Path | None, *, serve: bool = False) -> int:
    """Make the sample brokerage, run the job against it, and say what was found and where everything is."""
    place = _place(call, folder)
    logs.configure(call.common, call.world.clock)
    with ExitStack() as opened:
        hosts = [opened.enter_context(host) for host in providers(call.world.clock)]
        play = perform(call, place, hosts)
        (place / RUNS).write_text(_runs(play), "utf-8")
        _write_report(call, play, place)
        if serve:
            _serve(call, play, place, hosts)
        else:
            _show(call, play, place, {})
    return 0


def providers(clock: Callable[[], datetime]) -> list[Hosted]:
    """Return the stand-ins for those who keep the agents' calendars."""
    from reconciler.simulator.google_workspace import Workspace
    from reconciler.simulator.graph_workspace import Tenancy

    return [Workspace(clock), Tenancy(clock)]


def _serve(call: Call, play: Play, place: Path, hosts: Sequence[Hosted]) -> None:
    """Show how it went, and keep the stand-ins until somebody ends this process."""
    from reconciler.cli.serving import until_stopped

    for host in hosts:
        host.live(call.world.clock)
    with until_stopped() as wait:
        _show(call, play, place, {host.kind: host.way_in(place / "jobs") for host in hosts})
        wait()


def _show(call: Call, play: Play, place: Path, ways_in: WaysIn) -> None:
    if call.common.format is Format.JSON:
        runs = [act.result.to_json() for act in play.acts]
        screen.write_json({"runs": runs, "report": str(place / REPORT), **ways_in})
    elif ways_in or not call.common.quiet:
        story = [] if call.common.quiet else list(_story(play, place))
        screen.write("\n".join([*story, *_stand_ins(ways_in), *_where(call, place)]))


def _place(call: Call, folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix="reconcile-demo-"))
    place = call.world.cwd / folder
    if place.exists() and (not place.is_dir() or any(place.iterdir())):
        raise UsageError(f"--dir {folder} is there and not empty: name a folder that the demo may fill.")
    place.mkdir(parents=True, exist_ok=True)
    return place


def perform(call: Call, place: Path, hosts: Sequence[Hosted]) -> Play:
    """Run the acts of the demo in `place`; return what they came to and how it is shown."""
    from reconciler.config import load
    from reconciler.simulator import brokerage, office

    now = call.world.clock()
    job = load(office.furnish(place, *hosts), {})

    def act(at: datetime, *, dry_run: bool = False) -> Act:
        for host in hosts:
            host.live(lambda: at)
        before = {host.kind: host.asked() for host in hosts}
        result, look = _run(call, job, at, dry_run=dry_run)
        return Act(result, look, {host.kind: host.asked() - before[host.kind] for host in hosts})

    quiet_day = brokerage.agreed(now)
    office.settle_in(place, quiet_day, now - EARLIER, *hosts)
    agreed = act(now - EARLIER)
    office.settle_in(place, brokerage.edited(quiet_day, now), now, *hosts)
    early = act(now - FRESH, dry_run=True)
    return Play([agreed, act(now, dry_run=True), act(now), act(now)], early, job, now)


def _run(call: Call, job: Job, now: datetime, *, dry_run: bool) -> tuple[Result, Look]:
    """Run the job as if it were `now`."""
    from reconciler.assembly import assemble
    from reconciler.run import Options
    from reconciler.run import run as run_job

    with assemble(job, {}, clock=lambda: now, dry_run=dry_run) as setup:
        result = run_job(setup, Options())
    return running.for_people(result, setup, call.common), running.look_of(setup, Named(job, job.name).word)


def _write_report(call: Call, play: Play, place: Path) -> None:
    """Write what `reconcile report --html` would, about everything since both sides agreed."""
    from reconciler import reporting
    from reconciler.report.render import page

    asked = reporting.Asked(word=play.job.name, since=play.now - EARLIER, masked=call.common.mask)
    with reporting.desk(play.job, {}, clock=lambda: play.now) as desk, reporting.report_of(desk, asked) as made:
        (place / REPORT).write_text(page(made.report), "utf-8")


def _runs(play: Play) -> str:
    from reconciler.report.render import plain
    from reconciler.report.run import build

    parts = zip(STEPS, play.acts, strict=True)
    return "\n".join(f"==== {step.upper()} ====\n\n{plain(build(act.result, act.look))}" for step, act in parts)


# ---- the story ------------------------------------------------------------------------------------------------------


def _story(play: Play, place: Path) -> Iterator[str]:
    agreed, dry, applied, again = (act.result for act in play.acts)
    yield f"A sample brokerage in {place}"
    yield _parts(agreed)
    yield ""
    yield f"1. Both sides agree      {_appointments(agreed)}"
    yield f"   two agents meet       {_shared(agreed)}"
    yield "2. People edit           calendars and CRM; one export breaks off, one Google account is gone"
    yield f"   five minutes later    {_planned(play.early.result)} planned: what is so fresh is left to the webhooks"
    yield f"3. reconcile --dry-run   {len(dry.findings)} findings, {_planned(dry)} planned, nothing written"
    yield f"4. reconcile run         {_done(applied)} written, exit {applied.exit_code}: {_because(applied)}"
    yield f"5. reconcile run         {_planned(again)} planned, {_done(again)} written: nothing is done twice"
    yield ""
    yield from _asked(play)
    yield ""
    yield f"{'found':<28}{'how many':>8}  what became of it"
    yield from _kinds(dry, applied)
    yield ""
    yield from (f"NOT SEEN: {one.agent}: {one.why}" for one in applied.calendars if not one.observed)
    yield "What those calendars hold was left alone."
    yield ""
    yield "To look around:"
    yield f"    cd {place}"
    yield "    reconcile status sample"
    yield "    reconcile report sample"
    yield f"    reconcile explain {_interesting(again)} --job sample"
    yield f"    less {RUNS}"
    yield ""


def _parts(result: Result) -> str:
    sources = Counter(one.source for one in result.calendars)
    agents = len({one.agent for one in result.calendars})
    names = {"google": "Google calendar", "microsoft": "Outlook calendar", "ics": "calendar file"}
    kept = ", ".join(plural(sources[kind], name) for kind, name in names.items())
    return f"{agents} agents: {kept}; 1 CRM table"


def _asked(play: Play) -> Iterator[str]:
    for kind, name in PROVIDERS.items():
        whole, *others = (act.asked[kind] for act in play.acts)
        later = [play.early.asked[kind], *others]
        times = " + ".join(str(count) for count in later)
        yield f"{name} was asked {whole + sum(later)} times: {whole} for whole calendars, {times} for what had changed."
    yield "Both were asked to change nothing, and to tell nobody."


def _stand_ins(ways_in: WaysIn) -> Iterator[str]:
    """Say where the stand-ins are, or that they are no more."""
    if not ways_in:
        names = " and ".join(PROVIDERS.values())
        yield f"The stand-ins for {names} have stopped. `reconcile demo --serve` keeps them, for other programs too."
        return
    yield "The stand-ins go on until Ctrl-C. This is what another program has to know:"
    for kind, way_in in ways_in.items():
        yield f"  {PROVIDERS[kind]}"
        yield from (f"    {name:<11} {value}" for name, value in way_in.items())


def _where(call: Call, place: Path) -> Iterator[str]:
    if not call.common.quiet:
        yield ""
        yield "The report of it all, as mails would tell it. Open it in a browser:"
        yield f"    {place / REPORT}"


def _appointments(result: Result) -> str:
    counts = result.counts
    return f"{counts['in_sync']} appointments in sync, {counts['irrelevant']} entries that are none"


def _shared(result: Result) -> str:
    copies = result.counts["copies"]
    return f"{copies} times, each time one record: Google and Google, Google and Outlook, Google and a file"


def _planned(result: Result) -> int:
    return sum(1 for delta in result.deltas if delta.outcome is Outcome.PLANNED)


def _done(result: Result) -> int:
    return sum(1 for delta in result.deltas if delta.outcome is Outcome.DONE)


def _because(result: Result) -> str:
    unseen = sum(1 for one in result.calendars if not one.observed)
    return f"{plural(unseen, 'calendar')} not seen" if unseen else "all is well"


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
