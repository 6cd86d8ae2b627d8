"""What a line of a log may hold: values of a few plain types, inert and bounded, and no secret that this process read.

Anything else leaves no more than the name of its type. A line that nobody takes is lost, and nothing else is.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, MutableMapping, Sequence
from datetime import datetime
from typing import Any, Final, TypeAlias

from reconciler.cli import screen
from reconciler.config import revealed
from reconciler.inert import Sink, inert
from reconciler.model import rfc3339

Line: TypeAlias = MutableMapping[str, Any]

LONGEST: Final = 300
"""Characters of a value, and values of a list, that are logged."""


def plain(_logger: object, _method: str, line: Line) -> Line:
    """Show plain values only, each on one inert line, and no secret among them."""
    secrets = revealed.among("\n".join(_words(line)))
    return {name: _shown(value, secrets) for name, value in line.items()}


def _words(line: Line) -> Iterator[str]:
    for value in line.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, list | tuple):
            yield from (each for each in value if isinstance(each, str))


def _shown(value: object, secrets: Sequence[str]) -> object:
    match value:
        case str():
            return inert(functools.reduce(_without, secrets, value), Sink.TERMINAL, LONGEST)
        case datetime():
            return rfc3339(value)
        case list() | tuple():
            return [_shown(each, secrets) for each in value[:LONGEST]]
        case float() if not math.isfinite(value):
            return str(value)  # JSON has no word for it
        case None | bool() | int() | float():
            return value
        case _:
            return f"({type(value).__name__})"


def _without(text: str, secret: str) -> str:
    return text.replace(secret, "(secret)")


class Stderr:
    """Write lines to stderr; where nobody takes them, they are lost and nothing else is."""

    def __init__(self, *_: object) -> None:
        pass

    def msg(self, line: str) -> None:
        """Write one line."""
        screen.say(line)

    log = debug = info = warning = error = critical = exception = failure = msg
