"""Read a crontab: which of its lines run `reconcile`, on which job, and at which slots; what cron would refuse is said.

Nothing here asks for the time or runs anything. Slots are looked at over a bounded stretch from an instant that the
caller names.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from reconciler.errors import ConfigError, Problem
from reconciler.text import line as inert

VARIABLE: Final = "RECONCILE_CRONTAB"
NAME: Final = "crontab"
STRETCH: Final = timedelta(days=8)
"""How far slots are looked at: a week, and the day that closes it."""
SLOT_LIMIT: Final = 3_000
"""Slots of one line that are looked at: two days of one a minute, all of the stretch for one every five minutes."""

_FEWEST: Final = 2
"""Slots that show how far apart they are, however rare they are."""
_SIZE_LIMIT: Final = 1_000_000
_PROBLEM_LIMIT: Final = 20
_DAY: Final = timedelta(days=1)
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
_PERCENT: Final = re.compile(r"(?<!\\)%")
_REDIRECTION: Final = re.compile(r"(?<!\S)\d?[<>]{1,2}(?:&\d|\s*[^\s;&|]+)")
_READING: Final = frozenset({"run", "pull"})
_VALUED: Final = frozenset(
    {"--format", "--only", "--approve", "--shard", "--run", "--since", "--until", "--html", "--csv", "--xlsx", "--json"}
)
"""Options that take the next word along; `--job` does too, and that word is the job."""
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
    """What one file says: the calls of this program, and what cron would not understand."""

    entries: tuple[Entry, ...]
    problems: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often something runs: the most slots in any 24 hours, the shortest and the longest wait between two."""

    per_day: int
    shortest: timedelta
    longest: timedelta


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
    entries: list[Entry] = []
    problems: list[Problem] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            if setting := _SETTING.fullmatch(line):
                settings[setting[1]] = _setting(setting[1], setting[2])
            else:
                entries += _entries(number, line, settings)
        except ValueError as error:
            problems.append(Problem(f"{inert(name, 60)} line {number}", str(error)))
    if text and not text.endswith("\n"):
        problems.append(Problem(inert(name, 60), "its last line has no line end, so cron does not read it"))
    return Crontab(tuple(entries), tuple(problems[:_PROBLEM_LIMIT]))


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
    for words, job in _calls(command):
        if _PERCENT.search(command):
            raise ValueError("cron turns % into a line end: write \\% instead")
        if expression:
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
    if not _is_valid(expression):
        raise ValueError(f'"{inert(expression, 60)}" is no time that cron knows')
    return expression, fields[_FIELDS]


def _is_valid(expression: str) -> bool:
    from croniter import croniter

    return all(_FIELD.fullmatch(field) for field in expression.split()) and croniter.is_valid(expression)


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


# ---- which job ------------------------------------------------------------------------------------------------------


def reads(entry: Entry, job: Path, commands: Collection[str]) -> bool:
    """Tell whether a call reads all calendars of the job in the file `job`. A word that is no command is a job."""
    words, named = _plain(entry.words)
    verb = words.pop(0) if words and words[0] in commands else "run"
    if verb not in _READING or "--only" in entry.words:
        return False
    word = named or (words[0] if words else entry.job)
    return _means(word, job) if word else _is_only(job)


def _plain(words: Iterable[str]) -> tuple[list[str], str | None]:
    """Return the words that are no options, and what `--job` says."""
    plain: list[str] = []
    job: str | None = None
    waiting = iter(words)
    for word in waiting:
        if word == "--job":
            job = next(waiting, None)
        elif word.startswith("--job="):
            job = word.partition("=")[2]
        elif word in _VALUED:
            next(waiting, None)
        elif not word.startswith("-"):
            plain.append(word)
    return plain, job


def _means(word: str, job: Path) -> bool:
    """Tell whether a path or name means the file `job`. Where cron stands is not known, so the end of it counts."""
    said = PurePath(word)
    if said.suffix != ".toml":
        said = said.with_name(f"{said.name}.toml") if said.name else said
    if ".." in said.parts:
        said = PurePath(said.name)
    return job.is_absolute() and job.parts[-len(said.parts) :] == said.parts


def _is_only(job: Path) -> bool:
    return [path.name for path in job.parent.glob("*.toml")] == [job.name]


# ---- slots ----------------------------------------------------------------------------------------------------------


def slots(entries: Iterable[Entry], since: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the slots of all `entries` from `since` on, each once, in UTC; `zone` is the machine's own.

    They reach as far as those of the line with the shortest reach: up to there all are known.
    """
    known = [found for entry in entries if (found := _slots(entry, since, zone))]
    if not known:
        return []
    reach = min(found[-1] for found in known)
    return sorted({slot for found in known for slot in found if slot <= reach})


def _slots(entry: Entry, since: datetime, zone: ZoneInfo) -> list[datetime]:
    """Return the slots of one line up to the first after the stretch, two at least."""
    from croniter import CroniterBadDateError, croniter

    start = since.astimezone(ZoneInfo(entry.zone) if entry.zone else zone)
    coming = croniter(entry.expression, start - timedelta(seconds=1), max_years_between_matches=5)
    found: list[datetime] = []
    try:
        while len(found) < _FEWEST or (len(found) < SLOT_LIMIT and found[-1] < since + STRETCH):
            found.append(coming.get_next(datetime).astimezone(UTC))
    except CroniterBadDateError:
        pass  # 31 February
    return found


def rhythm(found: list[datetime]) -> Rhythm | None:
    """Return how often these slots come; None for fewer than two, which have no rhythm."""
    gaps = [after - before for before, after in pairwise(found)]
    if not gaps:
        return None
    first = most = 0
    for last, slot in enumerate(found):
        while slot - found[first] >= _DAY:
            first += 1
        most = max(most, last - first + 1)
    return Rhythm(most, min(gaps), max(gaps))
