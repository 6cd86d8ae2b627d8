"""What a job file names besides itself, wherever it stands: its secrets, and the files that say whose calendars."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import BaseModel

from reconciler.config import custody
from reconciler.config.custody import Exposure
from reconciler.config.job import Job
from reconciler.config.secret import Reference, Secret
from reconciler.errors import Problem


def secrets(job: Job) -> Iterator[Reference]:
    """Yield where each secret of a job file is kept, in the order of the file's sections. Nothing is read."""
    yield from (secret.reference for secret in _secrets(job) if secret.reference is not None)


def exposed(job: Job, more: Iterable[Reference] = ()) -> tuple[Problem, ...]:
    """Return a problem for each file that others can read or change and should not; nothing is opened.

    `more` are secrets that are named elsewhere: in an agents file.
    """
    found: dict[Path, Problem] = {}
    for reference in (*secrets(job), *more):
        if reference.path is not None and (exposure := custody.of_secret(reference.path)):
            found.setdefault(reference.path, _problem(reference.key, f"the file {reference.name}", exposure))
    for key, path in _settings(job):
        if exposure := custody.of_settings(path):
            found.setdefault(path, _problem(key, f"the file {path.name}", exposure))
    return tuple(found.values())


def _secrets(value: object) -> Iterator[Secret]:
    match value:
        case Secret():
            yield value
        case BaseModel():
            for _, inner in value:
                yield from _secrets(inner)
        case tuple() | dict():
            for inner in value.values() if isinstance(value, dict) else value:
                yield from _secrets(inner)


def _settings(job: Job) -> Iterator[tuple[str, Path]]:
    """Yield the files that say what the job does, and the keys that name them."""
    yield "job", job.path
    for table in job.sources:
        if table.agents is not None and table.agents.file is not None:
            yield f"{table.name}.agents", table.agents.file


def _problem(key: str, what: str, exposure: Exposure) -> Problem:
    return Problem(key, f"{what} {exposure.what}", exposure.hint)
