"""Read a crontab: which of its lines call `reconcile`, when and with which words; what cron would refuse is said."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler.errors import ConfigError, Problem
from reconciler.text import line as inert

VARIABLE: Final = "RECONCILE_CRONTAB"
NAME: Final = "crontab"

_SIZE_LIMIT: Final = 1_000_000
_PROBLEM_LIMIT: Final = 20
_FIELDS: Final = 5
_NICKNAMES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
_SETTING: Final = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s*(.*?)\s*", re.ASCII)
_FIELD: Final = re.compile(r"(?:\d{1,2}|[a-z]{3}|[*,/-]){1,200}", re.ASCII | re.IGNORECASE)
"""What cron itself reads; croniter alone would also take `L`, `#` and random slots."""
_RANGE: Final = re.compile(r"(\w{1,3})-(\w{1,3})(?:/\d+)?", re.ASCII)
_MONTHS: Final = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS: Final = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_NAMED: Final = {name: number for number, name in (*enumerate(_MONTHS, 1), *enumerate(_DAYS))}
_PERCENT: Final = re.compile(r"(?<!\\)%")
_REDIRECTION: Final = re.compile(r"(?<!\S)\d?[<>]{1,2}(?:&\d|\s*[^\s;&|]+)")
_NO_PROGRAM: Final = frozenset({"cd", "test", "["})
"""Words after which `reconcile` is a folder or a file."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One call of the program by one line: when, in which zone (None: the machine's), and the words after its name.

    `job` is what `RECONCILE_JOB` says where the call is made.
    """

    number: int
    expression: str
    words: tuple[str, ...]
    zone: str | None = None
    job: str | None = None


@dataclass(frozen=True, slots=True)
class Crontab:
    """What one file says: the calls of this program, and what cron would not understand.

    `at_boot` are the numbers of lines that call it whenever the machine starts (`@reboot`): they have no slots.
    """

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()
    at_boot: tuple[int, ...] = ()


# ---- the file -------------------------------------------------------------------------------------------------------


def find(job: Path, environ: Mapping[str, str], cwd: Path) -> Path | None:
    """Return the crontab that belongs to a job file: the one that is named, or one that lies beside its folder."""
    named = environ.get(VARIABLE)
    if named:
        return cwd / named
    candidates = (job.parent.parent / NAME, cwd / NAME)
    return next((path for path in candidates if path.is_file()), None)


def read(path: Path) -> Crontab:
    """Read a crontab. Raises ConfigError when there is none or it is no text."""
    try:
        with path.open("rb") as file:
            content = file.read(_SIZE_LIMIT + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise _unreadable(path, f"can't be read: {error.strerror}") from None
    except ValueError:
        raise _unreadable(path, "is not UTF-8 text") from None
    if len(content) > _SIZE_LIMIT:
        raise _unreadable(path, "is too large to be a crontab")
    return parse(text, path.name)


def _unreadable(path: Path, what: str) -> ConfigError:
    return ConfigError((Problem(inert(path.name, 60), what, f"or name another one in {VARIABLE}"),))


def parse(text: str, name: str = NAME) -> Crontab:
    """Return the calls of this program, and a problem for each line that cron would refuse or read otherwise."""
    settings: dict[str, str] = {}
    found: list[Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            if setting := _SETTING.fullmatch(_ended(line)):
                settings[setting[1]] = _setting(setting[1], setting[2])
            else:
                found += _entries(number, line, settings)
        except ValueError as error:
            problems.append(Problem(f"{inert(name, 60)} line {number}", str(error)))
    if text and not text.endswith("\n"):
        problems.append(Problem(inert(name, 60), "its last line has no line end, so cron does not read it"))
    at_boot = dict.fromkeys(entry.number for entry in found if not entry.expression)
    entries = tuple(entry for entry in found if entry.expression)
    return Crontab(entries, tuple(problems[:_PROBLEM_LIMIT]), tuple(at_boot))


def _ended(line: str) -> str:
    """Return a line. Raises ValueError for one whose last word a shell would take the line's end for a part of."""
    if "\r" in line:
        raise ValueError("ends as lines do on Windows: write it without the carriage return")
    return line


def _setting(name: str, value: str) -> str:
    """Return the value of `NAME=value` without its quotes. Raises ValueError for a zone that there is not."""
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    if name == "CRON_TZ":
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError(f'"{inert(value, 60)}" is no time zone') from None
    return value


def _entries(number: int, line: str, settings: Mapping[str, str]) -> Iterator[Entry]:
    """Yield the calls of the program on one line. Raises ValueError for a line that is none of cron's."""
    expression, command = _parted(line)
    for words, job in _calls(command.replace("\\%", "%")):  # as cron hands it to the shell
        if _PERCENT.search(command):
            raise ValueError("cron turns % into a line end: write \\% instead")
        yield Entry(number, expression, words, settings.get("CRON_TZ"), job or settings.get("RECONCILE_JOB"))


def _parted(line: str) -> tuple[str, str]:
    """Part a line into its expression and its command; `@reboot` has no slots, so its expression is empty."""
    if line.lstrip().startswith("@"):
        nickname, *rest = line.split(maxsplit=1)
        command = rest[0] if rest else ""
        if nickname != "@reboot" and nickname not in _NICKNAMES:
            raise ValueError(f'"{inert(nickname, 30)}" is none of the names that cron knows')
        return _NICKNAMES.get(nickname, ""), command
    fields = line.split(maxsplit=_FIELDS)
    if len(fields) <= _FIELDS:
        raise ValueError("has no command after minute, hour, day, month and weekday")
    expression = " ".join(fields[:_FIELDS]).lower()
    try:
        return _times(expression), fields[_FIELDS]
    except ValueError:
        raise ValueError(f'"{inert(expression, 60)}" is no time that cron knows') from None


def _times(expression: str) -> str:
    """Return an expression that croniter reads as cron does. Raises ValueError for one that cron does not know."""
    from croniter import croniter

    if not all(_FIELD.fullmatch(field) for field in expression.split()):
        raise ValueError
    plain = " ".join(",".join(map(_range, field.split(","))) for field in expression.split())
    if not croniter.is_valid(plain):
        raise ValueError
    return plain


def _range(part: str) -> str:
    """Return one part of a field: to croniter, `7-7` is all there is, `22-6` goes round, and `5/10` has no end."""
    found = _RANGE.fullmatch(part)
    if found is None:
        if "/" in part and not part.startswith("*"):
            raise ValueError
        return part
    first, last = (_NAMED[word] if word in _NAMED else int(word) for word in found.groups())
    if first > last:
        raise ValueError  # cron takes it, and starts nothing
    return found[1] if first == last else part


def _calls(command: str) -> Iterator[tuple[tuple[str, ...], str | None]]:
    """Yield the words after each `reconcile` in a shell's command, and the RECONCILE_JOB that is set for it."""
    lexer = shlex.shlex(_REDIRECTION.sub(" ", command), posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    try:
        tokens = list(lexer)
    except ValueError:
        if "reconcile" in command:
            raise ValueError("a quotation mark in its command is never closed") from None
        return
    part: list[str] = []
    for token in [*tokens, ";"]:
        if token.strip("();<>|&"):
            part.append(token)
        else:
            yield from _call(part)
            part = []


def _call(part: list[str]) -> Iterator[tuple[tuple[str, ...], str | None]]:
    if not part or part[0] in _NO_PROGRAM:
        return
    for place, (before, word) in enumerate(pairwise(["", *part])):
        if _is_program(word, before):
            said = dict(each.split("=", 1) for each in part[:place] if "=" in each)
            yield tuple(part[place + 1 :]), said.get("RECONCILE_JOB")
            return


def _is_program(word: str, before: str) -> bool:
    return PurePath(word).name == "reconcile" or (word == "reconciler" and before == "-m")
