"""Which job file is meant: by path, by name, by `$RECONCILE_JOB`, or because there is only one."""

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final

from reconciler.config.values import shown
from reconciler.errors import ConfigError, Problem

VARIABLE: Final = "RECONCILE_JOB"
FOLDER: Final = "jobs"


def find(argument: str | None, environ: Mapping[str, str], cwd: Path) -> Path:
    """Return the job file that is meant, or raise ConfigError that lists those there are."""
    if argument is not None:
        return _named(argument, "JOB", cwd)
    if environ.get(VARIABLE):
        return _named(environ[VARIABLE], VARIABLE, cwd)
    jobs = every(cwd)
    if len(jobs) != 1:
        what = "several jobs are possible" if jobs else f"there is no job file in {FOLDER}/"
        raise _error("JOB", what, _listing(jobs) or "name a job file, like: reconcile path/to/acme.toml")
    return jobs[0]


def _named(word: str, key: str, cwd: Path) -> Path:
    candidates = (cwd / word, cwd / FOLDER / f"{word}.toml", cwd / FOLDER / word)
    for path in candidates:
        if _is_file(path):
            return path
    jobs = every(cwd)
    close = get_close_matches(word.removesuffix(".toml"), [job.stem for job in jobs], n=1)
    hint = f'did you mean "{close[0]}"?' if close else _listing(jobs)
    if _is_folder(cwd / word):
        raise _error(key, f"{shown(word)} is a folder", "name one job file in it")
    raise _error(key, f"there is no job file {shown(word)}", hint or f"there is none in {FOLDER}/ either")


def every(cwd: Path) -> list[Path]:
    """Return the job files there are, in the order of their names."""
    return sorted(path for path in (cwd / FOLDER).glob("*.toml") if path.is_file())


def _is_file(path: Path) -> bool:
    try:
        return path.exists() and not path.is_dir()
    except (OSError, ValueError):  # a name that no file can have: NUL, or too long
        return False


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _listing(jobs: list[Path]) -> str:
    return f"jobs in {FOLDER}/: " + ", ".join(job.stem for job in jobs[:20]) if jobs else ""


def _error(key: str, what: str, hint: str) -> ConfigError:
    return ConfigError((Problem(key, what, hint),))
