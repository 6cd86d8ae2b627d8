"""Read a calendar from iCalendar data: a file, a directory of files or a URL. It is read whole, or not at all.

There is nothing incremental in such a calendar but its content: the cursor holds a digest of it, so that an untouched
calendar costs a hash. A file that was cut short, emptied or replaced by a login page says nothing about what it lacks.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import orjson

from reconciler.model import Calendar, Cursor, Mode, Pull, Quarantined, Unobserved
from reconciler.sources import Caps, PullRequest
from reconciler.sources.appointments import collect
from reconciler.sources.fetch import Fetcher, FetchError, Validators, is_url, label
from reconciler.sources.ical import UnreadableError, read

if TYPE_CHECKING:
    from reconciler.sources.ical import Contents

VERSION = 1
"""Of what this module makes of the same bytes; another one reads everything again."""


@dataclass(frozen=True, slots=True)
class _Piece:
    """One file's worth of iCalendar data, and how to call it in a sentence."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class _Content:
    """What a location holds, and the token that stands for it. No pieces: it has not changed."""

    pieces: tuple[_Piece, ...]
    token: Mapping[str, str]


class IcsSource:
    """The `ics` kind of source. `base` is what relative paths start from (the job file's directory).

    `absence` says whether an event missing from two whole reads may count as gone; the mirror acts on it. Tokens are
    JSON: the digest of the content, for a URL also the server's validators, and `whole` "no" after a read
    that had to leave something out (such a calendar is read again each time, so that the report keeps saying so).
    """

    def __init__(
        self,
        *,
        name: str = "ics",
        absence: Literal["report", "evidence"] = "report",
        allow_private: bool = False,
        caps: Caps | None = None,
        base: Path,
        fetcher: Fetcher | None = None,
    ) -> None:
        self.name = name
        self.absence = absence
        self.caps = caps or Caps()
        self.base = base
        self.fetcher = fetcher or Fetcher(most=self.caps.bytes, seconds=self.caps.seconds, allow_private=allow_private)

    def scope(self, calendar: Calendar) -> str:
        """Return a fingerprint of what shapes the reading of `calendar`: where it is, whose it is, and the bounds."""
        agent = calendar.agent
        parts = (
            VERSION,
            self.name,
            calendar.location,
            agent.email,
            sorted(agent.aliases),
            agent.timezone,
            repr(self.caps),
        )
        return hashlib.blake2b(orjson.dumps(parts), digest_size=16).hexdigest()

    def pull(self, request: PullRequest) -> Pull | Unobserved:
        """Read the calendar whole, or say in a sentence why it was not."""
        calendar = request.calendar
        known = self._usable(request)
        try:
            content = self._load(calendar.location, known)
            if known and known["digest"] == content.token["digest"]:
                return self._unchanged(request, content)
            sheets = [_parsed(piece, self.caps) for piece in content.pieces]
        except UnreadableError as error:
            return Unobserved(calendar, f"{error}.")
        return self._whole(request, sheets, content.token)

    def _usable(self, request: PullRequest) -> Mapping[str, str] | None:
        """Return the token of a cursor that still stands for what is asked; None where everything has to be read."""
        cursor = request.cursor
        if cursor is None or cursor.scope != self.scope(request.calendar) or not cursor.window.contains(request.window):
            return None
        try:
            token = orjson.loads(cursor.token)
        except orjson.JSONDecodeError:
            return None
        return (
            token if isinstance(token, dict) and isinstance(token.get("digest"), str) and "whole" not in token else None
        )

    def _unchanged(self, request: PullRequest, content: _Content) -> Pull:
        cursor = request.cursor
        if cursor is None:
            raise TypeError("only a calendar with a cursor can be unchanged")
        token = _token(content.token)
        return Pull(
            calendar=request.calendar,
            mode=Mode.INCREMENTAL,
            cursor=Cursor(token, cursor.window, cursor.scope, cursor.full_at),
            at=request.now,
        )

    def _whole(self, request: PullRequest, contents: list[Contents], token: Mapping[str, str]) -> Pull:
        found = collect(contents, request, self.caps)
        whole = not found.quarantined
        marked = token if whole else {**token, "whole": "no"}
        return Pull(
            calendar=request.calendar,
            mode=Mode.FULL,
            cursor=Cursor(_token(marked), request.window, self.scope(request.calendar), request.now),
            at=request.now,
            events=tuple(found.events.values()),
            tombstones=tuple(found.tombstones),
            quarantined=tuple(Quarantined(which, why) for which, why in found.quarantined.items()),
            series=frozenset(found.series),
            proves_absence=whole,
            zone=found.zone,
        )

    def _load(self, location: str, known: Mapping[str, str] | None) -> _Content:
        if is_url(location):
            return self._from_url(location, known or {})
        path = self.base / location
        try:
            pieces = tuple(self._from_files(path, _called(path, self.base)))
        except (OSError, ValueError) as error:
            raise UnreadableError(f"{_called(path, self.base)} {_why(error)}") from error
        return _Content(pieces, {"digest": _digest(pieces)})

    def _from_url(self, url: str, known: Mapping[str, str]) -> _Content:
        validators = Validators(str(known.get("etag", "")), str(known.get("modified", "")))
        try:
            fetched = self.fetcher.fetch(url, validators)
        except FetchError as error:
            raise UnreadableError(f"{label(url)} {error}") from error
        said = {"etag": fetched.validators.etag, "modified": fetched.validators.modified}
        if fetched.body is None:
            return _Content((), {"digest": known["digest"], **said})
        pieces = (_Piece(label(url), fetched.body),)
        return _Content(pieces, {"digest": _digest(pieces), **said})

    def _from_files(self, path: Path, called: str) -> Iterator[_Piece]:
        if not path.is_dir():
            yield _Piece(called, _bytes(path, self.caps.bytes))
            return
        names = sorted(entry.name for entry in path.iterdir() if _is_calendar(entry.name))
        if not names:
            raise UnreadableError(f"{called} is a directory without any .ics file")
        left = self.caps.bytes
        for name in names:
            piece = _Piece(f"{called}/{name}", _bytes(path / name, left))
            left -= len(piece.data)
            yield piece


def _called(path: Path, base: Path) -> str:
    """Name a file for people: relative to the job, without the directories that lead to it from elsewhere."""
    try:
        return path.relative_to(base).as_posix()
    except ValueError:
        return path.name or "the calendar's path"


def _is_calendar(name: str) -> bool:
    return name.lower().endswith(".ics") and not name.startswith(".")  # hidden files are being written


def _bytes(path: Path, most: int) -> bytes:
    """Read a regular file of at most `most` bytes that nobody writes meanwhile."""
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # a pipe must not hold the run
        before = os.fstat(file.fileno())
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableError(f"{path.name} is not a file")
        data = file.read(most + 1)
        after = os.fstat(file.fileno())
    if len(data) > most:
        raise UnreadableError(f"{path.name} makes the calendar larger than may be read ({most} bytes left)")
    if (before.st_mtime_ns, before.st_size) != (after.st_mtime_ns, len(data)):
        raise UnreadableError(f"{path.name} was written to while it was read")
    return data


def _why(error: OSError | ValueError) -> str:
    match error:
        case FileNotFoundError():
            return "is not there"
        case PermissionError():
            return "may not be read"
        case OSError():
            return f"can't be read ({type(error).__name__})"
        case _:
            return "is a path that makes no sense"


def _parsed(piece: _Piece, caps: Caps) -> Contents:
    try:
        return read(piece.data, events=caps.events)
    except UnreadableError as error:
        raise UnreadableError(f"{piece.name} {error}") from error


def _digest(pieces: tuple[_Piece, ...]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for piece in pieces:
        whole.update(f"{piece.name}\0{len(piece.data)}\0".encode("utf-8", "surrogateescape"))
        whole.update(piece.data)
    return whole.hexdigest()


def _token(parts: Mapping[str, str]) -> str:
    return orjson.dumps({key: value for key, value in parts.items() if value}, option=orjson.OPT_SORT_KEYS).decode()
