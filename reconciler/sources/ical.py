"""Take iCalendar bytes apart: content lines, calendars, events, time zones. Whatever they are, the work is bounded.

Lines are split here and not by `icalendar`, whose general parser costs 1.1 ms an event: a tenth of that is left to us.
What a value means (rules, durations, zones) is asked of the libraries where it takes more than a pattern.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

DEPTH = 20
"""Levels of components that are followed. RFC 5545 needs three."""

LINES = 10_000
"""Content lines of one component that are looked at; an event of a real calendar has tens."""

_LINE = re.compile(r'([A-Za-z0-9-]+)((?:;[A-Za-z0-9-]+=(?:"[^"]*"|[^";:])*)*):(.*)', re.DOTALL)
_PARAMETER = re.compile(r';([A-Za-z0-9-]+)=((?:"[^"]*"|[^";:])*)')
_NAME = re.compile(r"[A-Za-z0-9-]+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_NO_PARAMETERS: Mapping[str, str] = {}
_PAGE = re.compile(r"\s*<(?:!doctype|html|head|body|\?xml)", re.IGNORECASE)


class UnreadableError(Exception):
    """These bytes are not a whole calendar. The message is the predicate of a sentence: "is cut short: ..."."""


class Property(NamedTuple):
    """One content line without its name: parameters (upper-case names, unquoted values) and the raw value."""

    params: Mapping[str, str]
    value: str


Properties = Mapping[str, Sequence[Property]]


@dataclass(frozen=True, slots=True)
class Entry:
    """One VEVENT as it stands: its place (from 1), properties, digest, and what is wrong with its frame."""

    number: int
    properties: Properties
    digest: str
    problem: str | None = None

    def first(self, name: str) -> Property | None:
        """Return the first property of this name: repeated ones add nothing where one is allowed."""
        found = self.properties.get(name)
        return found[0] if found else None

    def text(self, name: str, limit: int) -> str:
        """Return the unescaped TEXT value of at most `limit` raw characters, empty if it is not there."""
        found = self.first(name)
        return unescape(found.value[:limit]) if found else ""


@dataclass(slots=True)
class Sheet:
    """One VCALENDAR: its own properties, its events, and its VTIMEZONEs as lists of content lines."""

    properties: dict[str, list[Property]] = field(default_factory=dict)
    events: list[Entry] = field(default_factory=list)
    zones: list[list[str]] = field(default_factory=list)

    def text(self, name: str) -> str:
        """Return the first value of a property of the calendar itself, stripped; empty if it is not there."""
        found = self.properties.get(name)
        return unescape(found[0].value[:500]).strip() if found else ""


@dataclass(frozen=True, slots=True)
class Contents:
    """What a file holds. `left_out` says why it is not everything, None if it is."""

    sheets: tuple[Sheet, ...]
    left_out: str | None = None


def read(data: bytes, *, events: int) -> Contents:
    """Split `data` into its calendars, at most `events` events; raise `UnreadableError` if it is not a whole one."""
    if not data.strip():
        raise UnreadableError("is empty")
    scanner = _Scanner(room=events)
    for line in unfold(data):
        scanner.take(line)
    return scanner.finish(data)


def unfold(data: bytes) -> list[str]:
    """Return the content lines of `data`: any line end, folds undone before decoding (a fold may split a character)."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        data = data.decode("utf-16", "replace").encode()
    joined = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return decode(joined.replace(b"\n ", b"").replace(b"\n\t", b"")).split("\n")


def decode(data: bytes) -> str:
    """Read UTF-8, with U+FFFD for bad bytes; where no byte beyond ASCII makes sense in it, Windows-1252."""
    try:
        return data.decode()
    except UnicodeDecodeError:
        lenient = data.decode("utf-8", "replace")
    sensible = sum(1 for char in lenient if char > "\x7f" and char != "\ufffd")
    if sensible:
        return lenient
    return data.decode("cp1252", "replace")


def unescape(value: str) -> str:
    r"""Undo the escapes of a TEXT value: `\n`, `\,`, `\;`, `\\`."""
    if "\\" not in value:
        return value
    return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], value)


def parse(line: str) -> tuple[str, Property] | None:
    """Return the upper-case name and the rest of a content line, None if it is none."""
    head, colon, value = line.partition(":")
    if not colon:
        return None
    if '"' in head:
        whole = _LINE.fullmatch(line)
        if whole:
            found = _PARAMETER.findall(whole[2])
            return whole[1].upper(), Property({key.upper(): _bare(text) for key, text in found}, whole[3])
    if _NAME.fullmatch(head):
        return head.upper(), Property(_NO_PARAMETERS, value)
    name, *parameters = head.split(";")
    if not _NAME.fullmatch(name):
        return None
    pairs = (parameter.partition("=") for parameter in parameters)
    return name.upper(), Property({key.upper(): _bare(text) for key, equals, text in pairs if equals}, value)


def _bare(value: str) -> str:
    return value.replace('"', "")[:1000]


def gather(lines: Iterable[str]) -> dict[str, list[Property]]:
    """Return the properties of one component by name, in the order of the file."""
    found: dict[str, list[Property]] = {}
    for line in lines:
        if named := parse(line):
            found.setdefault(named[0], []).append(named[1])
    return found


def fingerprint(lines: Iterable[str]) -> str:
    """Return a digest of a component: everything but DTSTAMP, which many exporters renew on each export."""
    kept = (line.encode("utf-8", "surrogatepass") for line in lines if line[:7].upper() != "DTSTAMP")
    return hashlib.blake2b(b"\n".join(kept), digest_size=16).hexdigest()


class _Scanner:
    """Follows BEGIN and END, and keeps what stands directly in a VCALENDAR, in its VEVENTs and in its VTIMEZONEs."""

    def __init__(self, *, room: int) -> None:
        self.room = room
        self.stack: list[str] = []
        self.sheets: list[Sheet] = []
        self.lines: list[str] = []
        self.left_out: str | None = None
        self.dropped = 0

    def take(self, line: str) -> None:
        start = line[:6].upper()
        if start == "BEGIN:":
            self._begin(line[6:].strip().upper(), line)
        elif start.startswith("END:"):
            self._end(line[4:].strip().upper(), line)
        elif line and not line.isspace():
            self._content(line)

    def _begin(self, name: str, line: str) -> None:
        if name == "VCALENDAR":
            if self.stack:
                raise UnreadableError("is cut short: a calendar begins before the one before it has ended")
            self.sheets.append(Sheet())
        elif not self.stack:
            raise UnreadableError(f"is no calendar: it has a {name[:30]!r} outside of any VCALENDAR")
        elif name == "VEVENT":
            self._begin_event()
        if len(self.stack) >= DEPTH:
            raise UnreadableError(f"nests components more than {DEPTH} deep")
        if len(self.stack) == 1:
            self.lines = []
        elif self.stack[1:2] == ["VTIMEZONE"]:
            self._keep(line)
        self.stack.append(name)

    def _begin_event(self) -> None:
        if "VEVENT" in self.stack:
            self._close_event("it has no END:VEVENT")
            del self.stack[1:]
        elif len(self.stack) > 1:
            self._leave_out("an event inside of another component")

    def _end(self, name: str, line: str) -> None:
        if name not in self.stack:
            if not self.stack:
                self._leave_out("text outside of any VCALENDAR")
            return
        if name == "VCALENDAR" and "VEVENT" in self.stack:
            self._close_event("it has no END:VEVENT")
        elif name == "VCALENDAR" and len(self.stack) > 1:
            self._leave_out("a component without its END")
        del self.stack[len(self.stack) - self.stack[::-1].index(name) - 1 :]
        if len(self.stack) == 1 and name == "VEVENT":
            self._close_event(None)
        elif len(self.stack) == 1 and name == "VTIMEZONE":
            self.sheets[-1].zones.append(self.lines)
        elif self.stack[1:2] == ["VTIMEZONE"]:
            self._keep(line)

    def _content(self, line: str) -> None:
        if not self.stack:
            self._leave_out("text outside of any VCALENDAR")
        elif len(self.stack) == 1:
            if named := parse(line):
                self.sheets[-1].properties.setdefault(named[0], []).append(named[1])
        elif self.stack[1] == "VTIMEZONE" or self.stack == ["VCALENDAR", "VEVENT"]:
            self._keep(line)

    def _leave_out(self, what: str) -> None:
        self.left_out = self.left_out or f"{what} was left out"

    def _keep(self, line: str) -> None:
        if len(self.lines) <= LINES:
            self.lines.append(line)

    def _close_event(self, problem: str | None) -> None:
        lines, self.lines = self.lines, []
        self.room -= 1
        if self.room < 0:
            self.dropped += 1
            return
        if len(lines) > LINES:
            problem = f"it has more than {LINES} lines"
        events = self.sheets[-1].events
        events.append(Entry(len(events) + 1, gather(lines), fingerprint(lines), problem))

    def finish(self, data: bytes) -> Contents:
        if self.stack:
            raise UnreadableError("is cut short: it has no END:VCALENDAR")
        if not self.sheets:
            page = _PAGE.match(decode(data[:1000]).removeprefix("\ufeff"))
            raise UnreadableError(
                "is a web page, not a calendar" if page else "is no calendar: it has no BEGIN:VCALENDAR"
            )
        if self.dropped:
            return Contents(tuple(self.sheets), f"{self.dropped} more events than one calendar may have were left out")
        return Contents(tuple(self.sheets), self.left_out)
