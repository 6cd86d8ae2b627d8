"""A job file's text with a few values changed for a cluster, and everything else as it stood, comments included.

What came out is read again and compared: where a change can't be made this way, that is said and nothing is guessed.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

from reconciler.errors import ConfigError, Problem

Changes = Mapping[tuple[str, str], str | None]
"""By table ("" for the head of the file) and key: the new text, or None for a key that goes."""

_HEADER: Final = re.compile(r"\s*\[\s*([\w.-]+)\s*\]\s*(?:#.*)?", re.ASCII)
_ANY_HEADER: Final = re.compile(r"\s*\[\[?[\w.\s\"'-]+\]\]?\s*(?:#.*)?")


def adapted(text: str, changes: Changes) -> str:
    """Return `text` with the `changes`. Raises ConfigError where a line of its own for each is not found."""
    before = tomllib.loads(text)
    lines = text.split("\n")
    for (table, key), value in changes.items():
        lines = _changed(lines, table, key, value)
    after = "\n".join(lines)
    wanted = _wanted(before, changes)
    try:
        is_right = tomllib.loads(after) == wanted
    except tomllib.TOMLDecodeError:
        is_right = False
    if not is_right:
        names = ", ".join(f"{table}.{key}".strip(".") for table, key in changes)
        raise ConfigError((Problem(names, "can't be changed for a cluster here", "write each on a line of its own"),))
    return after


def _wanted(before: Mapping[str, Any], changes: Changes) -> dict[str, Any]:
    after = {key: dict(value) if isinstance(value, dict) else value for key, value in before.items()}
    for (table, key), value in changes.items():
        place = after.setdefault(table, {}) if table else after
        place.pop(key, None)
        if value is not None:
            place[key] = value
    return after


def _changed(lines: list[str], table: str, key: str, value: str | None) -> list[str]:
    first, last = _extent(lines, table)
    new = [] if value is None else [f"{key} = {json.dumps(value, ensure_ascii=False)}"]
    if first is None:
        return [*_without_end(lines), "", f"[{table}]", *new, ""]
    named = re.compile(rf"\s*{re.escape(key)}\s*=")
    place = next((n for n in range(first, last) if named.match(lines[n])), None)
    if place is None:
        return [*lines[:first], *new, *lines[first:]]
    return [*lines[:place], *new, *lines[place + 1 :]]


def _extent(lines: list[str], table: str) -> tuple[int | None, int]:
    """Return the first line below a table's header, and the line after its last; the head of the file needs none."""
    headers = [n for n, line in enumerate(lines) if _ANY_HEADER.fullmatch(line)]
    starts = [-1] if not table else [n for n in headers if (found := _HEADER.fullmatch(lines[n])) and found[1] == table]
    if not starts:
        return None, 0
    return starts[0] + 1, min((n for n in headers if n > starts[0]), default=len(lines))


def _without_end(lines: list[str]) -> list[str]:
    return lines[:-1] if lines and not lines[-1] else lines
