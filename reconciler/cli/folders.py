"""Report files that name a person: found in a folder and below it, never outside; what they say is read as text."""

from __future__ import annotations

import html
import json
import os
import stat
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from reconciler.errors import Problem, UsageError
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from reconciler.store.subject import Person

KINDS: Final = frozenset({".html", ".csv", ".json", ".xlsx", ".txt"})
"""How the names of reports end."""

MOST: Final = 256_000_000
"""Bytes of one file that are read, unpacked: more than any report has."""

_TOO_LARGE: Final = "it is larger than any report"


@dataclass(frozen=True, slots=True)
class Searched:
    """What was found in folders: files that name the person, and those that could not be read whole."""

    found: tuple[Path, ...] = ()
    unread: tuple[Path, ...] = ()
    looked_at: int = 0


def folder_of(cwd: Path, word: str) -> Path:
    """Return the folder that is named. Raises UsageError for what is none, and for a link to one."""
    path = cwd / word
    if path.is_symlink() or not path.is_dir():
        raise UsageError(str(Problem("--reports", f"{bounded(word)} is no folder", "name the folder itself, no link")))
    return path


def search(folders: list[Path], person: Person) -> Searched:
    """Look through every report in these folders."""
    found, unread, count = list[Path](), list[Path](), 0
    for path in dict.fromkeys(path for folder in folders for path in _reports(folder)):
        count += 1
        try:
            if any(person.is_in(text) for text in _texts(path)):
                found.append(path)
        except (OSError, ValueError, zipfile.BadZipFile, NotImplementedError, RuntimeError):
            unread.append(path)
    return Searched(tuple(found), tuple(unread), count)


def remove(found: Searched) -> tuple[Path, ...]:
    """Remove the files that were found; return those that could not be."""
    stayed = []
    for path in found.found:
        try:
            path.unlink()
        except OSError:
            stayed.append(path)
    return tuple(stayed)


def _reports(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that may be reports; what is a link leads elsewhere and is none."""
    for place, _, names in os.walk(folder, followlinks=False):
        for name in sorted(names):
            path = Path(place, name)
            if path.suffix.lower() in KINDS and stat.S_ISREG(path.lstat().st_mode):
                yield path


def _texts(path: Path) -> Iterator[str]:
    """Yield what a report says, as a person would read it."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        if path.suffix.lower() == ".xlsx":
            yield from _parts(file)
            return
        raw = file.read(MOST + 1)
    if len(raw) > MOST:
        raise ValueError(_TOO_LARGE)
    read = _READ.get(path.suffix.lower(), str)
    yield read(raw.decode("utf-8", "replace"))


def _parts(file: BinaryIO) -> Iterator[str]:
    """Yield the parts of a spreadsheet; how large they are unpacked is asked before any is."""
    with zipfile.ZipFile(file) as book:
        if sum(part.file_size for part in book.infolist()) > MOST:
            raise ValueError(_TOO_LARGE)
        for part in book.infolist():
            yield html.unescape(book.read(part).decode("utf-8", "replace"))


def _plain(text: str) -> str:
    """Return JSON as it reads; what is none reads as it is written."""
    try:
        return json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        return text


_READ: Final[dict[str, Callable[[str], str]]] = {".json": _plain, ".html": html.unescape}
