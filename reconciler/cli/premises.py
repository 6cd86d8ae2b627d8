"""What a job stands on, on this machine: who can get at its files, room on the disk, a folder for its figures."""

from __future__ import annotations

import os
import shlex
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli.lines import LONGEST, Line, Mark
from reconciler.config import custody
from reconciler.config.named import exposed
from reconciler.config.secret import Reference
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from reconciler.config import Job
    from reconciler.model import Calendar

LEAST: Final = 100 * 2**20
"""Bytes that a disk should have left, beside as much as the state has grown to: an upgrade writes its tables anew."""
_BESIDE: Final = ("", "-wal", "-shm", "-journal")
"""What SQLite keeps beside a database, each with rows of it."""


def feeds(job: Job, calendars: Iterable[Calendar]) -> Iterator[Reference]:
    """Yield where the addresses of feeds are kept that an agents file names."""
    for one in calendars:
        if one.kind == "ics" and (reference := Reference.parse(one.name, f"source.{one.source}", job.base)):
            yield reference


def files(job: Job, calendars: Iterable[Calendar] = ()) -> Iterator[Line]:
    """Say of each file that the job names whether others can get at it; with strict_secrets none is read that is."""
    found = exposed(job, feeds(job, calendars))
    if not found:
        yield Line("files", Mark.OK, "nobody else can read its secrets, or change the job file or its agents files")
    for problem in found:
        mark = Mark.PROBLEM if job.strict_secrets else Mark.NOTE
        yield Line("files", mark, bounded(str(problem), LONGEST))


def state_file(url: str) -> Iterator[Line]:
    """Say of a state in a file who can read it, whether the disk has room for it, and how a copy is made."""
    database = _database(url)
    if database is None:
        yield Line("state", Mark.OK, "the state database can be opened")
        yield Line("backup", Mark.NOTE, 'this program makes no copies: pg_dump --format=custom --file=COPY "STATE URL"')
        return
    yield from _modes(database)
    yield _room(database)
    says = f"this program makes no copies; while runs go on: sqlite3 {_spelled(database)} \".backup 'COPY'\""
    yield Line("backup", Mark.NOTE, bounded(says, LONGEST))


def _database(url: str) -> Path | None:
    path = Path(url.partition("?")[0].partition("///")[2]) if url.startswith("sqlite") else None
    return path if path is not None and path.is_file() else None


def _modes(database: Path) -> Iterator[Line]:
    beside = [*(database.with_name(database.name + end) for end in _BESIDE), *database.parent.glob(_locks(database))]
    open_ones = [path for path in beside if custody.of_data(path)]
    for path in open_ones:
        says = f"{path.name} can be read by other users of this machine: chmod 600 {_spelled(path)}"
        yield Line("state", Mark.PROBLEM, bounded(says, LONGEST))
    if replaceable := custody.of_settings(database):
        says = f"{database.name} {replaceable.what}: {replaceable.hint}"
        yield Line("state", Mark.NOTE, bounded(says, LONGEST))
    if not open_ones:
        yield Line("state", Mark.OK, f"{database.name} can be opened, and by nobody else")


def _locks(database: Path) -> str:
    import glob

    return f"{glob.escape(database.name)}.*.lock"


def _room(database: Path) -> Line:
    free, size = shutil.disk_usage(database.parent).free, database.stat().st_size
    if free >= size + LEAST:
        return Line("disk", Mark.OK, f"{_mb(free)} are free beside {database.name}, which has {_mb(size)}")
    says = f"{_mb(free)} are free beside {database.name}, which has {_mb(size)}; an upgrade may need as much again"
    return Line("disk", Mark.NOTE if free >= LEAST else Mark.PROBLEM, f"{says}: make room, or reconcile state prune")


def _mb(size: int) -> str:
    return f"{size / 2**20:,.0f} MB"


def figures(job: Job) -> Iterator[Line]:
    """Say whether the metrics' text file can be written: next to it, for it is put in place whole."""
    path = job.metrics.textfile
    if path is None:
        return
    folder = path.parent
    if not folder.is_dir():
        says = f"its folder is not there: mkdir -p {_spelled(folder)}"
    elif not os.access(folder, os.W_OK | os.X_OK):
        says = f"its folder can't be written by whom the job runs as: setfacl -m u:$USER:rwx {_spelled(folder)}"
    else:
        yield Line("metrics", Mark.OK, f"{path.name} can be written")
        return
    yield Line("metrics", Mark.PROBLEM, bounded(f"{path.name}: {says}", LONGEST))


def _spelled(path: Path) -> str:
    return shlex.quote(os.path.normpath(path))
