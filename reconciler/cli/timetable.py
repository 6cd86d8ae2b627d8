"""`reconcile schedule`: what the crontab starts, when it does so next, and whether what it had to start was done.

All jobs that its lines are on are looked at, or the one that is named. Nothing is changed: of each job its file and
its state are read, and of a job whose agents are a query its CRM. What is wrong with one hides none of the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli import fitting, logs, screen
from reconciler.cli.lines import Line, Mark, problems
from reconciler.cli.world import Format, load_job
from reconciler.errors import ConfigError, Problem, ReconcilerError
from reconciler.schedule import NAME, VARIABLE, called, concerns, find, machine_zone, read
from reconciler.schedule.keeping import GRACE, LOOK_BACK, Kept, Noted, kept

if TYPE_CHECKING:
    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.schedule import Called, Entry
    from reconciler.store.slots import Served

PROBLEM: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One call of one line: what it starts on which job, how that is kept, and who served its last slot."""

    entry: Entry
    called: Called
    path: Path | None
    kept: Kept
    served: Served | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of one job: its file, the slots that are noted, and what is to be said of it."""

    word: str
    job: Job | None = None
    served: Sequence[Served] = ()
    first: datetime | None = None
    lines: Sequence[Line] = ()

    @property
    def name(self) -> str:
        """Return what it is called, by itself or by its file."""
        return self.job.name if self.job else self.word


@dataclass(frozen=True, slots=True, kw_only=True)
class Timetable:
    """All that `schedule` shows: problems of the crontab, its rows, and the jobs by their files."""

    crontab: str
    now: datetime
    problems: Sequence[Line]
    rows: Sequence[Row]
    jobs: dict[Path, Known]

    @property
    def wrong(self) -> list[Line]:
        """Return what can't go well."""
        said = [*self.problems, *(line for known in self.jobs.values() for line in known.lines)]
        return [line for line in said if line.mark is Mark.PROBLEM]

    @property
    def late(self) -> list[Row]:
        """Return the rows whose last slot nobody served in time."""
        return [row for row in self.rows if row.kept.is_late]


def schedule(call: Call, argument: str | None) -> int:
    """Show how the crontab's lines stand, and return 2 if something in it can't go well."""
    from reconciler.cli import timetelling

    logs.configure(call.common, call.world.clock)
    found = timetable(call, argument)
    if call.common.format is Format.JSON:
        screen.write_json(timetelling.as_json(found))
    elif not call.common.quiet:
        screen.write(timetelling.text(found))
    elif found.wrong or found.late:
        screen.write(timetelling.headline(found))
    return PROBLEM if found.wrong else 0


# ---- what there is --------------------------------------------------------------------------------------------------


def timetable(call: Call, argument: str | None) -> Timetable:
    """Gather all that is to be shown. Raises ConfigError where there is no crontab, or no job of that name."""
    world = call.world
    only = (world.cwd / load_job(call, argument).job.path).absolute() if argument else None
    path = _crontab(call, only)
    crontab = read(path)
    asked = [(entry, called(entry.words, call.commands)) for entry in crontab.entries]
    if only:
        asked = [(entry, each) for entry, each in asked if concerns(entry, each, only)]
    wrong = [Line("crontab", Mark.PROBLEM, str(problem)) for problem in crontab.problems]
    wrong += [*fitting.misspelt(asked), *fitting.elsewhere(call, asked)]
    placed: list[tuple[Entry, Called, Path | None]] = []
    for entry, each in asked:
        try:
            placed.append((entry, each, only or _job_of(call, path, entry, each)))
        except ConfigError as error:
            wrong += problems(f"crontab line {entry.number}", error)
            placed.append((entry, each, None))
    lines: dict[Path, list[tuple[Entry, Called]]] = {}
    for entry, each, job in placed:
        if job:
            lines.setdefault(job, []).append((entry, each))
    jobs = {job: _known(call, job, own) for job, own in lines.items()}
    return Timetable(
        crontab=path.name,
        now=world.clock(),
        problems=[*wrong, *_idle(path, jobs, only)],
        rows=[_row(call, entry, each, job, jobs) for entry, each, job in placed],
        jobs=jobs,
    )


def _crontab(call: Call, job: Path | None) -> Path:
    world = call.world
    path = find(job or world.cwd / "jobs" / "any.toml", world.environ, world.cwd)
    if path is None:
        hint = f"name it in {VARIABLE}, or call this where it lies"
        raise ConfigError((Problem(NAME, "there is none here", hint),))
    return path


def _job_of(call: Call, crontab: Path, entry: Entry, each: Called) -> Path:
    """Return the job file that a line means: cron looks for it where its user is at home, most often here."""
    from reconciler.config import find as find_job

    environ = {"RECONCILE_JOB": entry.job} if entry.job else {}
    try:
        return find_job(each.job, environ, crontab.parent).absolute()
    except ConfigError:
        return find_job(each.job, environ, call.world.cwd).absolute()


def _idle(crontab: Path, jobs: Iterable[Path], only: Path | None) -> Iterator[Line]:
    """Say of which jobs beside the crontab no line starts anything."""
    started = {path.resolve() for path in jobs}
    beside = [only] if only else sorted((crontab.parent / "jobs").glob("*.toml"))
    for path in beside:
        if path.resolve() not in started:
            yield Line("crontab", Mark.NOTE, f"no line of it is on {path.name}")


def _row(call: Call, entry: Entry, each: Called, path: Path | None, jobs: dict[Path, Known]) -> Row:
    now, zone = call.world.clock(), machine_zone(call.world.environ)
    row = Row(entry=entry, called=each, path=path, kept=kept(entry, now, zone, None))
    known = jobs[path] if path else None
    if known is None or known.job is None or not row.called.is_followed:
        return row
    mine = {one.at: one for one in known.served if one.command == each.command}
    noted = Noted(done={at for at, one in mine.items() if one.is_done}, first=known.first)
    stands = kept(entry, now, zone, noted, GRACE + known.job.run.jitter)
    return Row(entry=entry, called=each, path=path, kept=stands, served=mine.get(stands.last) if stands.last else None)


# ---- each job -------------------------------------------------------------------------------------------------------


def _known(call: Call, path: Path, lines: Sequence[tuple[Entry, Called]]) -> Known:
    """Return what is known of a job; what can't be read is said, and the rest is known all the same."""
    from reconciler.config import load

    try:
        job = load(path, call.world.environ)
    except ReconcilerError as error:
        return Known(word=path.stem, lines=[*problems("job file", error)])
    said: list[Line] = []
    try:
        served, first = _noted(call, job, said)
    except ReconcilerError as error:
        said += problems("state", error)
        served, first = [], None
    said += _fits(call, job, lines)
    return Known(word=path.stem, job=job, served=served, first=first, lines=said)


def _noted(call: Call, job: Job, said: list[Line]) -> tuple[list[Served], datetime | None]:
    from reconciler.store import slots
    from reconciler.store.looking import looked_at

    with looked_at(job.state.reveal(call.world.environ), job.name) as state:
        if state is None:
            said.append(Line("state", Mark.NOTE, "there is none yet: no run was ever made"))
            return [], None
        with state.engine.connect() as connection:
            since = call.world.clock() - max(LOOK_BACK)
            return slots.noted(connection, state, since), slots.first(connection, state)


def _fits(call: Call, job: Job, lines: Sequence[tuple[Entry, Called]]) -> Iterator[Line]:
    from reconciler.assembly import people_of

    try:
        yield from fitting.fits(call, job, people_of(job, call.world.environ), lines)
    except ReconcilerError as error:
        yield from problems("agents", error)
