"""What a call of the program asks, told by its words alone: the command, the job, and whether a schedule made it.

Two calls have one command if they do the same, however they are spelled: `report acme --send -q` and
`report --quiet --send acme`. What only changes how a result is shown is no part of it.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.schedule.crontab import Entry

_VALUED_NAMES: Final = (
    *("only", "approve", "shard", "run", "since", "until", "html", "csv", "xlsx", "json", "by", "why", "expires"),
    *("take", "kind", "agent", "dir", "name", "image", "reports", "shards", "output", "state", "pushgateway"),
    *("job", "format"),
)
VALUED: Final = frozenset(f"--{name}" for name in _VALUED_NAMES)
"""Options that take the next word along."""
OWN: Final = frozenset({"approve", "revert", "explain", "resolve", "accept", "forget", "subject"})
"""Commands whose word is an argument of their own; of any other it is the job."""
GROUPS: Final = frozenset({"state", "generate"})
"""Words that only the next one makes a command of."""
FOLLOWED: Final = frozenset({"run", "pull", "report", "state prune"})
"""Commands that know their slot."""
SCHEDULED: Final = "--scheduled"
DRY: Final = "--dry-run"
LONGEST: Final = 200
"""Characters of a command that is kept as it is."""

_SHOWN: Final = frozenset({"--verbose", "--quiet", "--mask", "--format", SCHEDULED})
_READING: Final = frozenset({"run", "pull"})
_DEFAULT: Final = "run"


@dataclass(frozen=True, slots=True)
class Called:
    """What one call asks: its `command` in words that are the same for the same work, and the word for its job.

    `verb` is the command without arguments and options, of which `options` has the names; `is_scheduled` says that a
    schedule makes the call.
    """

    verb: str
    command: str
    job: str | None = None
    is_scheduled: bool = False
    options: frozenset[str] = field(default=frozenset(), compare=False)

    @property
    def has_slots(self) -> bool:
        """Tell whether its slots can be noted: a dry run serves none."""
        return self.verb in FOLLOWED and DRY not in self.options

    @property
    def is_followed(self) -> bool:
        """Tell whether its slots are noted."""
        return self.is_scheduled and self.has_slots


def called(words: Sequence[str], commands: Collection[str]) -> Called:
    """Return what a call with these words asks; a first word that is none of the `commands` is a job."""
    plain, options = _parted(words)
    verb = plain.pop(0) if plain and plain[0] in commands else _DEFAULT
    if verb in GROUPS and plain:
        verb = f"{verb} {plain.pop(0)}"
    said = dict(options)
    is_own = verb.rpartition(" ")[2] in OWN
    job = said.get("--job") or (plain[0] if plain and not is_own else None)
    parts = [*verb.split(" "), *(plain if is_own else plain[1:])]
    parts += [word for option in sorted(set(options)) if option[0] not in _SHOWN | {"--job"} for word in option if word]
    command, names = _bounded(shlex.join(parts)), frozenset(said)
    return Called(verb, command, job or None, is_scheduled=SCHEDULED in names, options=names)


def _parted(words: Sequence[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """Part plain words from options, each with its value, which is empty for those that take none."""
    plain: list[str] = []
    options: list[tuple[str, str]] = []
    waiting = iter(words)
    for word in waiting:
        name, equals, value = word.partition("=")
        if word == "--":
            plain += waiting
        elif name in VALUED:
            options.append((name, value if equals else next(waiting, "")))
        elif word.startswith("--"):
            options.append((word, ""))
        elif not word.startswith("-") or word == "-":
            plain.append(word)  # and -q and -v change nothing
    return plain, options


def _bounded(command: str) -> str:
    """Keep a command that is too long for a key by what it begins with and a digest."""
    if len(command) <= LONGEST:
        return command
    return f"{command[: LONGEST // 2]}… sha256:{hashlib.sha256(command.encode(errors='replace')).hexdigest()[:32]}"


# ---- which job ------------------------------------------------------------------------------------------------------


def reads(call: Called) -> bool:
    """Tell whether a call reads all calendars of its job."""
    return call.verb in _READING and "--only" not in call.options


def concerns(entry: Entry, call: Called, job: Path) -> bool:
    """Tell whether a call is on the job in the file `job`."""
    word = call.job or entry.job
    return _means(word, job) if word else _is_only(job)


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
