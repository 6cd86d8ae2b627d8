"""From a job file to a `Job`, or to every problem it has at once. What is behind a secret is not read here."""

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from reconciler.config.checks import contradictions
from reconciler.config.job import REQUIRED, SECTIONS, SOURCE, Job
from reconciler.config.problems import keyed, missing, models_in, translated, unknown
from reconciler.config.secret import marked
from reconciler.errors import ConfigError, Problem
from reconciler.text import line

SIZE_LIMIT: Final = 1_000_000


def load(path: Path, environ: Mapping[str, str]) -> Job:
    """Read the job file at `path`; raise ConfigError with all its problems."""
    place = path.absolute()
    table = _table(path)
    strict = table.get("strict_secrets") is True
    reading = _Reading(base=place.parent, environ=environ, strict=strict)
    sections = reading.sections(table)
    problems = [*reading.problems, *contradictions(sections, reading.labels)]
    if problems:
        raise ConfigError(tuple(problems), where=str(path))
    return Job.model_validate({**sections, "path": place})


class _Reading:
    """One reading of one job file: the sections that hold up, and the problems of those that don't."""

    def __init__(self, base: Path, environ: Mapping[str, str], *, strict: bool) -> None:
        self.base = base
        self.strict = strict
        self.context = {"base": base, "environ": environ}
        self.problems: list[Problem] = []
        self.labels: list[str] = []

    def sections(self, table: Mapping[str, Any]) -> dict[str, Any]:
        """Validate each section by itself and return the valid ones, defaults included."""
        known = (*SECTIONS, "source")
        self.problems += [unknown(keyed("", (key,)), known) for key in table if key not in known]
        self.problems += [missing(key) for key in REQUIRED if key not in table]
        valid = {key: self._valid(key, SECTIONS[key], _models(key), table[key]) for key in SECTIONS if key in table}
        valid["source"] = self._sources(table.get("source", [])) or None
        return _defaults(table) | {key: value for key, value in valid.items() if value is not None}

    def _sources(self, tables: object) -> tuple[Any, ...]:
        if not isinstance(tables, list):
            self.problems.append(Problem("source", "must be a list of tables", "write [[source]], with two brackets"))
            return ()
        labels = ["source"] if len(tables) == 1 else [f"source[{n}]" for n, _ in enumerate(tables, 1)]
        found = [self._valid(label, SOURCE, SOURCES, table) for label, table in zip(labels, tables, strict=True)]
        self.labels = [label for label, source in zip(labels, found, strict=True) if source is not None]
        return tuple(source for source in found if source is not None)

    def _valid(self, key: str, shape: TypeAdapter[Any], models: tuple[type[BaseModel], ...], value: object) -> object:
        try:
            return shape.validate_python(marked(value, key, self.base, strict=self.strict), context=self.context)
        except ValidationError as error:
            self.problems += translated(error, key, models)
            return None


SOURCES: Final = models_in(Job.model_fields["sources"].annotation)


def _models(key: str) -> tuple[type[BaseModel], ...]:
    return models_in(Job.model_fields[key].annotation)


def _defaults(table: Mapping[str, Any]) -> dict[str, Any]:
    optional = {key: field for key, field in Job.model_fields.items() if key not in table and not field.is_required()}
    return {key: field.get_default(call_default_factory=True) for key, field in optional.items()}


def _table(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(_text(path))
    except tomllib.TOMLDecodeError as error:
        raise _unreadable(path, f"is not TOML: {error}", _toml_hint(str(error))) from None
    except RecursionError:
        raise _unreadable(path, "is nested too deeply to be a job file") from None
    except ValueError:  # an integer of thousands of digits
        raise _unreadable(path, "has a number in it that is too long to be one") from None


def _toml_hint(said: str) -> str:
    if said.startswith(("Invalid initial character for a key part", "Unclosed inline table")):
        return "a table in { } has to stay on one line; a long one is written [crm.columns] with a line for each key"
    return "text belongs in quotes; jobs/ics.toml shows the form"


def _text(path: Path) -> str:
    data = _bytes(path)
    if len(data) > SIZE_LIMIT:
        raise _unreadable(path, f"is larger than {SIZE_LIMIT:,} bytes; a job file has a few thousand")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise _unreadable(path, f"is not UTF-8 text (line {row})", "save it as UTF-8") from None
    if not text.strip():
        raise _unreadable(path, "is empty", "begin with a copy of jobs/ics.toml")
    return text.replace("\r\n", "\n")


def _bytes(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(SIZE_LIMIT + 1)
    except IsADirectoryError:
        raise _unreadable(path, "is a folder", "name one job file in it") from None
    except FileNotFoundError:
        raise _unreadable(path, "does not exist", _neighbours(path)) from None
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else "it has no usable name"
        raise _unreadable(path, f"can't be read: {why}") from None


def _neighbours(path: Path) -> str:
    return "job files beside it: " + ", ".join(_job_files(path.parent)) if any(_job_files(path.parent)) else ""


def _job_files(folder: Path) -> Iterator[str]:
    return (file.name for file in sorted(folder.glob("*.toml"))[:10])


def _unreadable(path: Path, what: str, hint: str = "") -> ConfigError:
    return ConfigError((Problem(line(path.name, 80) or str(path), what, hint),), where=str(path))
