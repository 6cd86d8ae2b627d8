"""Which secrets were read in this process, so that no line of a log holds one. It can be asked for, never listed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import unquote, urlsplit

SHORTEST: Final = 6
"""Characters of what is looked for: anything shorter stands in innocent words too."""

_PRIVATE: Final = re.compile(r"key|secret|token$|passw", re.IGNORECASE)

_known: set[str] = set()


def note(value: str) -> str:
    """Remember that `value` is secret, with the parts of it that are secret by themselves; return it."""
    _known.update(part for part in (value, *_parts(value)) if len(part) >= SHORTEST)
    return value


def forget() -> None:
    """Forget all of them, as where many commands share a process."""
    _known.clear()


def among(text: str) -> list[str]:
    """Return the secrets that stand in `text`, the longest first."""
    return sorted((each for each in _known if each in text), key=len, reverse=True)


def _parts(value: str) -> Iterator[str]:
    yield from (line.strip() for line in value.splitlines())  # of a key: a log has no line ends
    yield from _password(value)
    yield from _leaves(value)


def _password(url: str) -> Iterator[str]:
    try:
        password = urlsplit(url).password
    except ValueError:
        return
    if password:
        yield from (password, unquote(password))


def _leaves(text: str) -> Iterator[str]:
    """Yield what a file of credentials calls a key, a secret or the like; its project may be called as the job is."""
    if not text.startswith("{"):
        return
    try:
        table = json.loads(text)
    except ValueError:
        return
    for name, leaf in table.items():
        if isinstance(leaf, str) and _PRIVATE.search(name):
            yield leaf
            yield from (line.strip() for line in leaf.splitlines())
