"""Where answers go: results to stdout, progress to stderr. A reader who leaves early (`| head`) is no error."""

from __future__ import annotations

import json
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final

from reconciler.cli.world import Format, is_terminal

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.cli.world import Common
    from reconciler.report.look import Look
    from reconciler.result import Result

Progress = Callable[[int, int], None]

PATIENCE: Final = 5.0
"""Seconds that a line waits for a reader of stderr; after that nothing more is written to it."""
PIECE: Final = 1000
"""Characters that a pipe with any room takes at once (POSIX: 4,096 bytes)."""
_SAYING: Final = threading.RLock()  # what is collected while a line is written may have something to say too


def prepare() -> None:
    """Let what a terminal or a log can't spell be replaced; it must not stop a run."""
    for stream in (sys.stdout, sys.stderr):
        if stream is not None and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")


def write(text: str) -> None:
    """Write to stdout; a reader who has left is no error, and the exit code stays what it is."""
    try:
        sys.stdout.write(text if text.endswith("\n") else f"{text}\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()


def write_chunks(chunks: Iterable[str]) -> None:
    """Write to stdout what is too long to be held; its last piece ends the line."""
    try:
        for chunk in chunks:
            sys.stdout.write(chunk)
        sys.stdout.flush()
    except BrokenPipeError:
        _silence()


def _silence(number: int | None = None) -> None:
    """Point a stream at nothing (stdout), so that the interpreter's own last flush does not complain."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno() if number is None else number)
    os.close(nowhere)


def red(text: str) -> str:
    """Return text as it is seen first on a terminal that knows colours, and as it is anywhere else."""
    if not is_terminal("stdout"):
        return text
    from rich.console import Console
    from rich.text import Text

    console = Console(file=sys.stdout)
    with console.capture() as capture:
        console.print(Text(text, "bold red"), end="", soft_wrap=True)
    return capture.get()


def say(sentence: str) -> None:
    """Write a sentence for people, or a line of a log, to stderr; where nobody takes it, it alone is lost."""
    whole = f"{sentence}\n"
    try:
        with _SAYING:
            for start in range(0, len(whole), PIECE):
                _wait_for_room()
                sys.stderr.write(whole[start : start + PIECE])
                sys.stderr.flush()
    except (AttributeError, OSError, ValueError):  # there is none, nobody reads it or has room for it, it is closed
        with suppress(AttributeError, OSError, ValueError):
            _silence(sys.stderr.fileno())


def _wait_for_room() -> None:
    """Wait for whoever reads stderr, but not for ever: a reader that hangs must not keep a run from ending.

    Raises TimeoutError. What is no file of the system's has room.
    """
    try:
        number = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        return
    if not select.select([], [number], [], PATIENCE)[1]:
        raise TimeoutError


def write_json(value: object) -> None:
    """Write one JSON object to stdout, in ASCII: it survives every terminal, log and locale."""
    write(json.dumps(value, indent=2, default=_spelled))


def _spelled(value: object) -> object:
    """Spell what JSON does not know."""
    from datetime import date

    from reconciler.model import rfc3339

    if isinstance(value, date):
        return rfc3339(value)
    if isinstance(value, set | frozenset | tuple):
        return sorted(value)
    return str(value)


def write_result(result: Result, look: Look, common: Common, templates: Path) -> None:
    """Write what a run came to, in the form that was asked for."""
    if common.format is Format.JSON:
        write_json(result.to_json())
        return
    from reconciler.report.run import build

    report = build(result, look)
    if common.quiet:
        if report.needs_attention:
            write(report.headline)
        return
    from reconciler.report import render

    if is_terminal("stdout"):
        try:
            render.show(report, render.console(sys.stdout))
        except BrokenPipeError:
            _silence()
        return
    write(render.plain(report, templates))


@contextmanager
def progress(common: Common, label: str) -> Iterator[Progress]:
    """Show how many calendars are read, on a terminal only."""
    if common.quiet or not is_terminal("stderr"):
        yield lambda _done, _all: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(label, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
