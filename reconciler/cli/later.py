"""Commands of the design that this release does not have: each says so, and what to do meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Later:
    """A command that is not there yet: its arguments as documented, what it will do, and what to do until then."""

    usage: str
    will: str
    meanwhile: str


COMMANDS: Final[dict[str, Later]] = {}


def sentence(name: str, later: Later) -> str:
    """Say that a command is not there yet and what to do meanwhile."""
    return f"`reconcile {name}` is not part of this release: {later.meanwhile}"
