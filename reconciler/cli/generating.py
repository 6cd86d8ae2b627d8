"""`reconcile generate kubernetes`: manifests from `crontab` and `jobs/`, to stdout or into a folder.

Everything that is wrong is said at once and nothing is written then. No value of a Secret passes through here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler import __version__, schedule
from reconciler.cli import screen
from reconciler.cli.manifesting import Line, Local, Told, calls, due, notes, pull, told
from reconciler.cli.understood import understood
from reconciler.cli.world import Format
from reconciler.config import find, load
from reconciler.errors import ConfigError, Problem, UsageError
from reconciler.kubernetes import SECRETS, Call, Files, Manifest, base, kustomization, overlay, secrets
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from reconciler.cli.world import Call as Called
    from reconciler.schedule import Crontab, Entry

BASE: Final = "base"
SHARDED: Final = "sharded"
MOST_SHARDS: Final = 1_000
KINDS: Final = {
    "run": "run",
    "pull": "pull",
    "report": "report",
    "check": "check",
    "status": "status",
    "state prune": "prune",
}
"""The commands that a cluster starts by itself. Any other waits for a person, or needs a terminal."""
HEAD: Final = "# Written by `reconcile generate kubernetes` from crontab and jobs: change those, and write it again.\n"
_WIDE: Final = 1_000_000
_BREAKS: Final = frozenset("\r\x85\u2028\u2029\ufeff")
"""Ends of lines to YAML, but for the common one: it would read another in the place of each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: of which jobs, as how many parallel pulls, in what image, and where to write it."""

    jobs: tuple[str, ...] = ()
    output: Path | None = None
    shards: int | None = None
    image: str | None = None
    local: Local


@dataclass(frozen=True, slots=True)
class Made:
    """What was made: files of the base, what an overlay adds and changes, templates of Secrets, and what to say."""

    base: Files
    more: Files
    patches: Files
    secrets: list[Manifest]
    more_secrets: list[Manifest]
    notes: tuple[str, ...]


def kubernetes(call: Called, asked: Asked) -> int:
    """Write manifests for what the crontab starts. Raises ConfigError with all that can't be had in a cluster."""
    if asked.shards is not None and not 1 < asked.shards <= MOST_SHARDS:
        raise UsageError(f"--shards takes a number from 2 to {MOST_SHARDS}; one part needs no shards")
    crontab = _crontab(call)
    found = schedule.read(crontab)
    made = _made(_told(call, asked, crontab, found), asked, dict(call.world.environ))
    left_out = [f"{crontab.name} line {number}: {_AT_BOOT}" for number in found.at_boot]
    if asked.output is not None:
        count, gone = _write(made, call.world.cwd / asked.output)
        _say(call, [f"{plural(count, 'file')} written to {asked.output}", *_removed(gone), *left_out, *made.notes])
        return 0
    documents = _laid_over(made)
    if call.common.format is Format.JSON:
        screen.write_json({"apiVersion": "v1", "kind": "List", "items": documents})
    else:
        screen.write(dumped(documents))
    _say(call, [*left_out, *made.notes, *_wanted(made)])
    return 0


def _say(call: Called, sentences: Iterable[str]) -> None:
    if not call.common.quiet:
        screen.say("\n".join(bounded(sentence, 300) for sentence in sentences))


def _removed(gone: Sequence[str]) -> Iterator[str]:
    """Say what an earlier call had written and this one did not."""
    if gone:
        yield f"{plural(len(gone), 'file')} removed that nothing makes any more: {', '.join(gone)}"
        yield "what a cluster made of them goes on there until somebody deletes it"


def _wanted(made: Made) -> Iterator[str]:
    """Say which Secrets must be there: no manifest makes them."""
    for secret in (*made.secrets, *made.more_secrets):
        yield f"secret {secret['metadata']['name']} must hold: {', '.join(secret['stringData']) or 'nothing'}"


# ---- what is made ---------------------------------------------------------------------------------------------------


def _made(jobs: Sequence[Told], asked: Asked, environ: Mapping[str, str]) -> Made:
    image = asked.image or f"reconciler:{__version__}"
    started = [(one, _gathered(one, environ)) for one in jobs]
    everything = [each for _, some in started for each in some]
    runs = [*_runs(started)] if asked.shards else []
    pulls = [pull(run, one, asked.shards or 1) for one, run in runs]
    changed = {one.name: {f"{one.job.path.stem}.toml": due(one, run)} for one, run in runs}
    more, patches = overlay(pulls, changed, image) if pulls else ({}, {})
    said = tuple(note for one in jobs for note in notes(one))
    return Made(base(everything, image), more, patches, secrets(everything), secrets(pulls), said)


def _gathered(one: Told, environ: Mapping[str, str]) -> list[Call]:
    try:
        return calls(one, environ)
    except ConfigError as error:
        raise ConfigError(error.problems, where=error.where or str(one.job.path)) from None


def _runs(started: Iterable[tuple[Told, list[Call]]]) -> Iterator[tuple[Told, Call]]:
    """Yield each job with the run that compares it: pulls stand beside that one, however many others there are."""
    for one, some in started:
        if any(each.kind == "pull" for each in some):
            raise UsageError(f"the crontab pulls {one.job.path.stem} already, and --shards makes its own: keep one")
        runs = [each for line, each in zip(one.lines, some, strict=True) if line.compares]
        if not runs:
            raise UsageError(f"the crontab does not run {one.job.path.stem}: nothing would compare what shards pull")
        yield one, min(runs, key=lambda each: each.starting)


# ---- the crontab ----------------------------------------------------------------------------------------------------


def _told(call: Called, asked: Asked, path: Path, found: Crontab) -> list[Told]:
    """Return each job that the crontab starts something on, with its lines. Raises ConfigError with every problem."""
    lines, problems = _lines(call, found.entries, path.name)
    problems = [*found.problems, *problems]
    if problems:
        raise ConfigError(tuple(problems), where=str(path))
    wanted = [find(word, {}, call.world.cwd).resolve() for word in asked.jobs]
    jobs: dict[Path, list[Line]] = {each: [] for each in wanted}
    for line in lines:
        if line.path in wanted or not wanted:
            jobs.setdefault(line.path, []).append(line)
    if not lines or not all(jobs.values()):
        raise ConfigError((Problem(path.name, "starts nothing on this job", "give it a line: reconcile run JOB"),))
    if twice := [stem for stem, count in Counter(job.stem for job in jobs).items() if count > 1]:
        what = f'starts several job files called "{bounded(twice[0], 60)}", and a cluster would take them for one'
        raise ConfigError((Problem(path.name, what, "rename one of the files"),))
    return [told(load(job, call.world.environ), own, asked.local) for job, own in jobs.items()]


def _crontab(call: Called) -> Path:
    named = call.world.environ.get(schedule.VARIABLE)
    return call.world.cwd / (named or schedule.NAME)


def _lines(call: Called, entries: Sequence[Entry], name: str) -> tuple[list[Line], list[Problem]]:
    counted = Counter(entry.number for entry in entries)
    chained = (number for number, count in counted.items() if count > 1)
    lines: list[Line] = []
    problems = [Problem(f"{name} line {number}", _CHAINED, "give each a line of its own") for number in chained]
    for entry in entries:
        try:
            lines.append(_line(call, entry))
        except ConfigError as error:
            problems += error.problems
        except UsageError as error:
            problems.append(Problem(f"{name} line {entry.number}", str(error)))
    return lines, problems


_CHAINED: Final = "starts one command after another, and a cluster would start them at once"
_AT_BOOT: Final = "what starts with the machine (@reboot) is left out: a cluster has no such moment"


def _line(call: Called, entry: Entry) -> Line:
    if any(mark in word for word in entry.words for mark in "$`"):
        raise UsageError("it leaves $ or ` to a shell, and a pod has none: write the words out")
    said = understood(entry.words)
    if said.command not in KINDS:
        raise UsageError(f"`reconcile {said.command}` is nothing that a cluster starts by itself")
    path = find(said.job or entry.job, call.world.environ, call.world.cwd).resolve()
    return Line(entry, said, KINDS[said.command], path)


# ---- writing --------------------------------------------------------------------------------------------------------


def _laid_over(made: Made) -> list[Manifest]:
    """Return all documents in one list, with the overlay's changes made in the base."""
    documents = [document for files in (made.base, made.more) for some in files.values() for document in some]
    for patch in (each for some in made.patches.values() for each in some):
        for document in documents:
            if (document["kind"], document["metadata"]["name"]) == (patch["kind"], patch["metadata"]["name"]):
                document["data"] = {**document["data"], **patch["data"]}
    return documents


def _write(made: Made, folder: Path) -> tuple[int, list[str]]:
    """Write all files below `folder`; return how many, and the names of older ones that are gone."""
    files = {BASE: _folder(made.base, made.secrets, [*made.base])}
    if made.more:
        names = [f"../{BASE}", *made.more]
        files[SHARDED] = _folder(made.more, made.more_secrets, names, made.patches)
    try:
        for below, documents in files.items():
            (folder / below).mkdir(parents=True, exist_ok=True)
            for name, some in documents.items():
                (folder / below / name).write_text(HEAD + dumped(some), "utf-8")
        gone = [*_swept(folder, files)]
    except OSError as error:
        raise UsageError(f"{folder} can't be written to: {error.strerror}") from None
    return sum(map(len, files.values())), gone


def _swept(folder: Path, files: Mapping[str, Files]) -> Iterator[str]:
    """Remove what an earlier call wrote here and this one did not: an overlay of then would be laid over what is now.

    Nothing else is: who put a file of their own there keeps it.
    """
    for below in (BASE, SHARDED):
        old = [path for path in sorted((folder / below).glob("*.yaml")) if path.name not in files.get(below, {})]
        for path in filter(_is_ours, old):
            path.unlink()
            yield f"{below}/{path.name}"
        if below not in files and old and not any((folder / below).iterdir()):
            (folder / below).rmdir()


def _is_ours(path: Path) -> bool:
    """Tell whether a file begins as all do that are written here."""
    if path.is_symlink() or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(HEAD.encode())) == HEAD.encode()


def _folder(files: Files, templates: list[Manifest], resources: list[str], patches: Files | None = None) -> Files:
    changes = {f"patch-{name}": some for name, some in (patches or {}).items()}
    own = {**files, **changes, SECRETS: templates}
    return {"kustomization.yaml": [kustomization(resources, changes)], **own}


def dumped(documents: Iterable[Manifest]) -> str:
    """Spell documents as YAML that every reader takes for the same: what is text is quoted where it might be more."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes text of several lines as a block that a person can read, and spells out what is said twice."""

        def ignore_aliases(self, data: object) -> bool:
            del data
            return True

    def text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
        style = '"' if _BREAKS & set(value) else "|" if "\n" in value else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)

    Dumper.add_representer(str, text)
    return yaml.dump_all(
        documents, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=_WIDE, explicit_start=True
    )
