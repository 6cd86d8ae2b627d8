"""Put the words of a command line in the order that they are read in: common options, command, its own options.

`reconcile acme` means `reconcile run acme`, and `--format json` may stand anywhere before a `--`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Final

DEFAULT: Final = "run"
HELP: Final = frozenset({"--help", "--version"})
_FLAGS: Final = frozenset({"--verbose", "--quiet", "--mask"})
_LETTERS: Final = re.compile(r"-[vq]+")
_VALUED: Final = frozenset({"--only", "--approve"})
"""Options of `run` that take the next word along: it is no command, whatever it says."""


def arranged(words: Sequence[str], commands: Collection[str]) -> list[str]:
    """Return `words` with the common options first and the command, written or meant, right after them."""
    end = words.index("--") if "--" in words else len(words)
    common, rest = _parted(words[:end])
    place = _first_word(rest)
    rest += words[end:]
    if place is None:
        meant = [] if end == len(words) and HELP & set(rest) else [DEFAULT]
        return [*common, *meant, *rest]
    if rest[place] in commands:
        return [*common, rest[place], *rest[:place], *rest[place + 1 :]]
    return [*common, DEFAULT, *rest]


def misspelt(words: Sequence[str], commands: Collection[str]) -> str | None:
    """Return the command that the first word may stand for, where that is none and was taken for a job."""
    from difflib import get_close_matches

    _, rest = _parted(words)
    place = _first_word(rest)
    if place is None or rest[place] in commands:
        return None
    return next(iter(get_close_matches(rest[place], commands, n=1)), None)


def _parted(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Part the options that every command has from the rest."""
    common: list[str] = []
    rest: list[str] = []
    waiting = iter(words)
    for word in waiting:
        if word == "--format":
            common += [word, *[value for value in (next(waiting, None),) if value is not None]]
        elif word in _FLAGS or word.startswith("--format=") or _LETTERS.fullmatch(word):
            common.append(word)
        else:
            rest.append(word)
    return common, rest


def _first_word(words: Sequence[str]) -> int | None:
    """Return the place of the first word that is neither an option nor the value of one."""
    skip = False
    for place, word in enumerate(words):
        if skip:
            skip = False
        elif word.startswith("-") and word != "-":
            skip = word in _VALUED
        else:
            return place
    return None
