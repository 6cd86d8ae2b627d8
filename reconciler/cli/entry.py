"""The program's front door: every way a command can end becomes an exit code and, where it failed, a sentence."""

from __future__ import annotations

import os
import sys
import traceback
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from reconciler.cli import commands, screen, taming
from reconciler.cli.arguments import arranged, misspelt
from reconciler.cli.world import World
from reconciler.errors import ConfigError, ReconcilerError, RefusedError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INTERNAL = 1
USAGE = 2
INTERRUPTED = 130


def main() -> int:
    """Run `reconcile` with this process's arguments, environment and clock."""
    taming.tame_process()
    return call(sys.argv[1:], World(environ=dict(os.environ), cwd=Path.cwd(), clock=_now))


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def call(words: Sequence[str], world: World) -> int:
    """Run one command line in `world` and return its exit code; nothing is raised."""
    screen.prepare()
    verbose = bool({"-v", "--verbose"} & set(words))
    try:
        _refuse_bytes(words, world.cwd)
        world = replace(world, words=tuple(words))
        return _ended(_program()(arranged(words, commands.NAMES), "reconcile", standalone_mode=False, obj=world))
    except ReconcilerError as error:
        screen.say(sentence(error))
        return error.exit_code
    except (KeyboardInterrupt, typer.Abort):
        screen.say("reconcile: interrupted. What was not finished is found again by the next run.")
        return INTERRUPTED
    except BrokenPipeError:
        return 0
    except Exception as error:  # noqa: BLE001  # the last line of defence: a sentence and an exit code, never a stack
        return _unexpected(error, words, verbose=verbose)


def _refuse_bytes(words: Sequence[str], cwd: Path) -> None:
    """Refuse what no database can be asked for and no person types; files may be called like that where they exist."""
    for word in words:
        try:
            word.encode()
        except UnicodeEncodeError:
            if not os.path.lexists(cwd / word):
                from reconciler.report.words import bounded

                raise UsageError(f"{bounded(word)} is no text: it has bytes that are not UTF-8.") from None


@cache
def _program() -> Callable[..., object]:
    """Read the signatures of all commands, once: that takes a while."""
    return typer.main.get_command(commands.app).main


def _ended(answer: object) -> int:
    return answer if isinstance(answer, int) else 0


def sentence(error: ReconcilerError) -> str:
    """Say what went wrong; each problem of a configuration has its own line."""
    if isinstance(error, ConfigError):
        count = len(error.problems)
        where = f" in {error.where}" if error.where else ""
        head = f"reconcile: {count} problem{'s' if count > 1 else ''}{where}, nothing was done:"
        return "\n".join([head, *(f"  {problem}" for problem in error.problems)])
    word = "REFUSED" if isinstance(error, RefusedError) else "reconcile"
    return f"{word}: {error}"


def _unexpected(error: Exception, words: Sequence[str], *, verbose: bool) -> int:
    """Say what can be said of an error nobody foresaw, without its values: they may be a client's."""
    usage = _as_usage(error, words)
    if usage is not None:
        screen.say(usage)
        return USAGE
    screen.say(
        _as_failure(error)
        or f"reconcile: internal error ({type(error).__name__} in {taming.place_of(error)}). This is a bug; the next "
        "run starts from what is there. Add --verbose for the steps that led to it."
    )
    if verbose:
        frames = traceback.extract_tb(error.__traceback__)
        screen.say("\n".join(f"  {Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames))
    return INTERNAL


def _as_failure(error: Exception) -> str | None:
    """Return the sentence for a database that fails at work: its server, its disk, its file. That is no bug of ours."""
    if "sqlalchemy" not in sys.modules:
        return None
    from reconciler.report.words import bounded
    from reconciler.store.failing import failure

    why = failure(error)
    return why and (
        f"reconcile: a database failed at work: {bounded(why, 200)}. What was done is noted, and the next run starts "
        "from what is there. `reconcile check` looks at the state and the CRM."
    )


def _as_usage(error: Exception, words: Sequence[str]) -> str | None:
    """Return the sentence for a command line that can't be read; None for any other error."""
    format_message = getattr(error, "format_message", None)
    if format_message is None:
        return None
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "reconcile"
    said = str(format_message()).rstrip(".")
    if said.startswith("Usage:"):  # a group without its command shows its help
        return said
    meant = misspelt(words, commands.NAMES)
    return f"reconcile: {said}. `{f'reconcile {meant}' if meant else path} --help` shows what is possible."
