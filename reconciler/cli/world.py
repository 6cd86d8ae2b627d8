"""What a command is given of the world, and how the person wants to be answered."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.cli.event import Event
from reconciler.errors import ConfigError, Problem

if TYPE_CHECKING:
    from reconciler.config import Job


class Format(StrEnum):
    """How results are written."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Environment, working folder and clock; the clock gives aware UTC in whole seconds.

    `words` are those of the command line as it was typed; `sleep` is how a scheduled start waits.
    """

    environ: Mapping[str, str]
    cwd: Path
    clock: Callable[[], datetime]
    words: tuple[str, ...] = ()
    sleep: Callable[[float], None] = time.sleep


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """The options that every command has."""

    format: Format = Format.TEXT
    verbose: bool = False
    quiet: bool = False
    mask: bool = False


@dataclass(frozen=True, slots=True)
class Call:
    """One call of the program: the world, the common options, the names of all commands, and what is logged of it."""

    world: World
    common: Common
    commands: tuple[str, ...]
    event: Event = field(default_factory=Event)


@dataclass(frozen=True, slots=True)
class Named:
    """A job, and what it is called on a command line: `acme`, or a path."""

    job: Job
    word: str


def load_job(call: Call, argument: str | None) -> Named:
    """Find and read the job that is meant, and warn of its files that others can get at, but with --quiet.

    Raises ConfigError with every problem.
    """
    named = read_job(call, argument)
    if not call.common.quiet:
        _warn(named.job)
    return named


def read_job(call: Call, argument: str | None) -> Named:
    """Find and read the job that is meant. Raises ConfigError with every problem."""
    from reconciler.config import find, load

    world = call.world
    try:
        path = find(argument, world.environ, world.cwd)
    except ConfigError as error:
        raise _perhaps_a_command(error, argument, call.commands) from None
    word = path.stem if path.parent == world.cwd / "jobs" else argument or str(path)
    named = Named(load(path, world.environ), word)
    call.event.of(job=named.job.name)
    return named


def _warn(job: Job) -> None:
    """Say on stderr which files others can get at; who must not be disturbed by it asks `check`."""
    from reconciler.cli import screen
    from reconciler.config.named import exposed

    for problem in exposed(job):
        screen.say(f"reconcile: warning: {problem}")


def _perhaps_a_command(error: ConfigError, argument: str | None, commands: tuple[str, ...]) -> ConfigError:
    """Add the command that a mistyped one may stand for: what is no command is taken for a job."""
    from difflib import get_close_matches

    close = get_close_matches(argument or "", commands, n=1)
    if not close:
        return error
    meant = Problem("command", f"there is no command {argument!r} either", f"did you mean `reconcile {close[0]}`?")
    return ConfigError((*error.problems, meant), where=error.where)


def is_terminal(name: str) -> bool:
    """Tell whether `stdout` or `stderr` is a terminal that can draw."""
    stream = getattr(sys, name)
    return stream is not None and not stream.closed and stream.isatty()
