"""One job as a cluster has it: its file adapted, the files beside it, and its lines of the crontab."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from zoneinfo import ZoneInfo

from reconciler.agents import directory
from reconciler.cli.adapted import adapted
from reconciler.cli.needing import held, reaches
from reconciler.config import CsvCrm, GatewayUrl, Ics, Microsoft, Secret, StateUrl, WrongError
from reconciler.config.hosts import ALLOW_HOSTS
from reconciler.config.locate import VARIABLE
from reconciler.config.secret import Reference
from reconciler.errors import ConfigError, Problem
from reconciler.kubernetes import Call, Office, names, timing
from reconciler.kubernetes.deployment import CRONTAB
from reconciler.schedule import following

if TYPE_CHECKING:
    from reconciler.cli.understood import Understood
    from reconciler.config import Google, Job
    from reconciler.schedule import Entry

Kind = TypeVar("Kind", bound=Secret)

LARGEST: Final = 1_000_000
"""Bytes of a ConfigMap: the cluster takes 1 MiB, names and all."""
_ANY_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)  # what is written must not depend on the day it is written on
_SLOTS: Final = 100
"""Slots that show how far apart they are: a working day of one every five minutes, a season of one a day."""
_FILES: Final = ("html", "csv", "xlsx", "json")
_TELLING: Final = ("urgent", "since", "until", "full", "only", *_FILES)
"""Options that tell one call of a command from another, in names."""
_APART: Final = ("dry_run", "only", "approve")
"""Options of a run that is not the one which repairs everything, slot by slot."""


@dataclass(frozen=True, slots=True)
class Line:
    """One call in the crontab, understood: the command's kind, and the file of the job that it is on."""

    entry: Entry
    said: Understood
    kind: str
    path: Path

    @property
    def compares(self) -> bool:
        """Tell whether it is a run that compares and repairs all of its job."""
        return self.kind == "run" and not any(self.said.options.get(name) for name in _APART)


@dataclass(frozen=True, slots=True)
class Local:
    """What a cluster has in place of one machine: the state's reference, and where figures are pushed to."""

    state: str | None = None
    pushgateway: str | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """A job as it is for a cluster, with its text, its lines, and its name there."""

    job: Job
    text: str
    name: str
    lines: tuple[Line, ...]


def told(job: Job, lines: Iterable[Line], local: Local) -> Told:
    """Adapt a job to a cluster. Raises ConfigError for what can't be had there."""
    changes: dict[tuple[str, str], str | None] = {}
    sections: dict[str, object] = {}
    if local.state:
        changes["", "state"] = local.state
        sections["state"] = _accepted(StateUrl, local.state, "--state", job)
    if local.pushgateway:
        changes["metrics", "textfile"] = None
        changes["metrics", "pushgateway"] = local.pushgateway
        gateway = _accepted(GatewayUrl, local.pushgateway, "--pushgateway", job)
        sections["metrics"] = job.metrics.model_copy(update={"textfile": None, "pushgateway": gateway})
    here = job.model_copy(update=sections)
    if here.state.dialect == "sqlite":
        raise ConfigError((_HOMELESS,), where=str(job.path))
    text = adapted(job.path.read_text("utf-8-sig"), changes) if changes else job.path.read_text("utf-8-sig")
    return Told(here, text, names.label(job.path.stem, names.LONGEST_JOB), tuple(lines))


_HOMELESS: Final = Problem(
    "state",
    "is an SQLite file, and pods come and go; those of one job may run beside each other, on several nodes",
    'keep it in PostgreSQL: state = "env:STATE_URL", or --state env:STATE_URL for the copy in the cluster',
)


def _accepted(shape: type[Kind], said: str, option: str, job: Job) -> Kind:
    """Take a value as a job file takes it, whose place it has in the cluster: a password in it is refused here too."""
    key = {"--state": "state", "--pushgateway": "metrics.pushgateway"}[option]
    try:
        return shape.of(Reference.parse(said, key, job.base) or said, job.base)
    except WrongError as error:
        raise ConfigError((Problem(option, error.what, error.hint),)) from None


# ---- files ----------------------------------------------------------------------------------------------------------


def office(one: Told) -> Office:
    """Return the files that a job needs beside it, and how many calendars it has."""
    files: dict[str, str | bytes] = {f"{one.job.path.stem}.toml": one.text, CRONTAB: crontab(one)}
    for path, field in _beside(one.job):
        name = _inside(path, one.job, field)
        files[name] = _content(path, field)
    size = sum(len(content.encode() if isinstance(content, str) else content) for content in files.values())
    if size > LARGEST:
        what = f"and the files that it names have {size:,} bytes; a ConfigMap takes {LARGEST:,}"
        raise ConfigError((Problem(one.job.path.name, what, "let agents come from a query on the CRM"),))
    return Office(name=one.name, files=files, calendars=_calendars(one.job))


def crontab(one: Told) -> str:
    """Return the job's own lines of the crontab: a run finds its slot in them, and what else stands there stays out."""
    said = [f"{VARIABLE}={one.job.path.stem}"]
    zone: str | None = None
    for line in one.lines:
        if timing.zone(line.entry.zone) != zone:
            zone = timing.zone(line.entry.zone)
            said.append(f"CRON_TZ={zone}")
        words = shlex.join(_words(line)).replace("%", "\\%")
        said.append(f"{line.entry.expression} reconcile {words}")
    return "\n".join([*said, ""])


def _beside(job: Job) -> Iterator[tuple[Path, str]]:
    named = [(source.agents.file, f"{source.name}.agents") for source in job.sources if source.agents is not None]
    for path, field in (*named, (job.report.logo, "report.logo")):
        if path is not None:
            yield path, field


def _inside(path: Path, job: Job, field: str) -> str:
    inside = os.path.relpath(path, job.base)
    if inside.startswith(".."):
        raise ConfigError((Problem(field, "names a file outside of the job file's folder", "put it beside it"),))
    return inside


def _content(path: Path, field: str) -> str | bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError((Problem(field, f"{path.name} can't be read: {error.strerror}"),)) from None
    try:
        return content.decode()
    except ValueError:
        return content


def _calendars(job: Job) -> int | None:
    try:
        return len(directory(job, None).calendars)
    except ConfigError:
        if any(source.agents is not None and source.agents.query for source in job.sources):
            return None
        raise


# ---- calls ----------------------------------------------------------------------------------------------------------


def calls(one: Told, environ: Mapping[str, str]) -> list[Call]:
    """Return a call of the cluster for each line. Raises ConfigError for what cron and a cluster read differently."""
    place = office(one)
    wanted = [_call(line, one, place, environ) for line in one.lines]
    told_apart = names.apart([(call.name, " ".join((call.schedule, *call.words))) for call in wanted])
    return [replace(call, name=name) for call, name in zip(wanted, told_apart, strict=True)]


def _call(line: Line, one: Told, place: Office, environ: Mapping[str, str]) -> Call:
    try:
        schedule = timing.expression(line.entry.expression)
    except ValueError as error:
        raise ConfigError((Problem(f"crontab line {line.entry.number}", str(error)),)) from None
    zone = timing.zone(line.entry.zone)
    allowed = environ.get(ALLOW_HOSTS)
    options = [name for name in _TELLING if line.said.options.get(name)]
    return Call(
        office=place,
        kind=line.kind,
        name=names.label("-".join([one.name, line.kind, *options])),
        words=_words(line),
        schedule=schedule,
        zone=zone,
        starting=timing.starting(_gap(line.entry, zone)),
        active=timing.active(_lasts(line.kind, one.job), _jitter(line.kind, one.job)),
        held=held(one.job, line.kind),
        reaches=reaches(one.job, line.kind),
        variables={VARIABLE: one.job.path.stem, **({ALLOW_HOSTS: allowed} if allowed else {})},
    )


def _gap(entry: Entry, zone: str) -> timedelta | None:
    """Return the shortest wait between two slots of a line."""
    found = pairwise(islice(following(entry, _ANY_DAY, ZoneInfo(zone)), _SLOTS))
    return min((after - before for before, after in found), default=None)


def _words(line: Line) -> tuple[str, ...]:
    """Return the words of a call, with the name that its job has in a cluster in the place of the one it had here."""
    name, named = line.path.stem, line.said.job
    if named is None:
        return line.entry.words
    said = [f"--job={name}" if word == f"--job={named}" else word for word in line.entry.words]
    return tuple(name if word == named else word for word in said)


def _lasts(kind: str, job: Job) -> timedelta | None:
    return job.run.deadline if kind in {"run", "pull"} else None


def _jitter(kind: str, job: Job) -> timedelta:
    return job.run.jitter if kind in {"run", "pull"} else timedelta()


# ---- shards ---------------------------------------------------------------------------------------------------------


def pull(run: Call, one: Told, shards: int) -> Call:
    """Return the sharded pulls that stand beside a run: as often as it, with less in their Secret."""
    words = ("pull", one.job.path.stem, "--scheduled", "--quiet")
    label = names.label(f"{one.name}-pull")
    return replace(
        run,
        kind="pull",
        name=label,
        words=words,
        held=held(one.job, "pull"),
        reaches=reaches(one.job, "pull"),
        shards=shards,
    )


def due(one: Told, run: Call) -> str:
    """Return the job's text with `[run] due`: what pulls read in their last two slots, the run does not ask for."""
    return one.text if one.job.run.due else adapted(one.text, {("run", "due"): f"{2 * run.starting}s"})


# ---- what to say ----------------------------------------------------------------------------------------------------


def notes(one: Told) -> Iterator[str]:
    """Say what a pod does not have that this machine has."""
    name = one.job.path.name
    if one.job.metrics.textfile is not None:
        yield f"{name}: metrics.textfile is read by nobody in a pod: --pushgateway URL, or [metrics] pushgateway"
    for source in one.job.sources:
        yield from (f"{name}: {what}" for what in _missing(source, one.job))
    if isinstance(one.job.crm, CsvCrm) or one.job.crm.url.dialect == "sqlite":
        yield f"{name}: the CRM is a file of this machine: mount a volume with it"
    for line in one.lines:
        if any(line.said.options.get(option) for option in _FILES):
            yield f"crontab line {line.entry.number}: the file that it writes goes with its pod: mount a volume"


def _missing(source: Google | Microsoft | Ics, job: Job) -> Iterator[str]:
    if isinstance(source, Ics) and source.path is not None:
        yield f"{source.path.name} is a file of this machine: mount a volume with it, or name a url"
    if isinstance(source, Ics) and _on_disk(source, job):
        yield f"calendars of {source.name} are files of this machine: mount a volume with them"
    if isinstance(source, Microsoft) and source.auth.federated is not None:
        yield "the federated token comes from the cluster: annotate the accounts as workload identity asks"


def _on_disk(source: Ics, job: Job) -> bool:
    """Tell whether an agents file names calendars that are files; what a query says is not known here."""
    if source.agents is None or source.agents.query:
        return False
    known = directory(job.model_copy(update={"sources": (source,)}), None)
    return any(each.location and "://" not in each.location for each in known.calendars)
