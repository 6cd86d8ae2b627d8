"""What a line of a crontab asks this program for, read as the program itself would read it; nothing is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import typer
from typer.core import TyperGroup

from reconciler.cli.arguments import HELP, arranged
from reconciler.errors import UsageError


class _Context(Protocol):
    params: dict[str, Any]


class _Command(Protocol):
    """A command as typer makes it: of click, or of typer's own copy of it, by its version."""

    def make_context(self, info_name: str | None, args: list[str], /) -> _Context:
        """Read its words."""
        ...


@dataclass(frozen=True, slots=True)
class Understood:
    """A command (`state prune`), the values of its options, and the words in the order that they are read in."""

    command: str
    options: Mapping[str, Any]
    words: tuple[str, ...]

    @property
    def job(self) -> str | None:
        """Return the job that is named, if one is."""
        said = (self.options.get(name) for name in ("job", "named"))
        return next((word for word in said if isinstance(word, str)), None)


def understood(said: Sequence[str]) -> Understood:
    """Read the words after the program's name. Raises UsageError with what the program would answer."""
    from reconciler.cli import commands

    words = arranged(said, commands.NAMES)
    program = _program()
    place = next((n for n, word in enumerate(words) if word in commands.NAMES and words[:n][-1:] != ["--format"]), None)
    if HELP & set(words):
        raise UsageError("it asks for help or for the version, and does nothing")
    try:
        program.make_context("reconcile", words[:place])
        command, path, rest = _command(program, words[place:])
        context = command.make_context(path, rest)
    except Exception as error:
        format_message = getattr(error, "format_message", None)
        if format_message is None:
            raise
        raise UsageError(str(format_message()).rstrip(".")) from None
    return Understood(path, dict(context.params), tuple(words))


@cache
def _program() -> _Command:
    from reconciler.cli import commands

    return typer.main.get_command(commands.app)


def _command(program: _Command, words: list[str]) -> tuple[_Command, str, list[str]]:
    """Find the command that words name, with its path and what is left of them."""
    path: list[str] = []
    command: _Command = program
    while isinstance(command, TyperGroup):
        name = words.pop(0) if words else ""
        found: _Command | None = command.commands.get(name)
        if found is None:
            raise UsageError(f"there is no command {' '.join([*path, name])!r}")
        command = found
        path.append(name)
    return command, " ".join(path), words
