"""Names that a cluster takes: DNS labels of bounded length, the same for the same words, never two for one thing.

What has to be changed to become a label, or is too long for one, ends in a digest of what it was made of.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Sequence
from typing import Final

LONGEST: Final = 52
"""Characters of a CronJob's name: a Job adds eleven, and labels end at 63 (kubernetes.io, "CronJob limitations")."""
LONGEST_JOB: Final = 30
"""Characters that a job's name may take of it."""
KEY: Final = 253

_LABEL: Final = re.compile(r"[a-z]([a-z0-9-]*[a-z0-9])?", re.ASCII)
_OTHER: Final = re.compile(r"[^a-z0-9]+", re.ASCII)
_KEY: Final = re.compile(r"[A-Za-z0-9_.-]+", re.ASCII)
_NO_KEY: Final = re.compile(r"[^A-Za-z0-9_.-]+", re.ASCII)
_MARK: Final = 6


def label(word: str, most: int = LONGEST) -> str:
    """Return `word` where it is a DNS label of at most `most` characters, else the nearest one and a digest."""
    if _LABEL.fullmatch(word) and len(word) <= most:
        return word
    near = _OTHER.sub("-", word.lower()).strip("-").lstrip("0123456789-")
    return f"{near[: most - _MARK - 1].rstrip('-') or 'x'}-{mark(word)}"


def key(path: str) -> str:
    """Return `path` where it can be a key of a ConfigMap or a Secret, else the nearest one and a digest."""
    if _KEY.fullmatch(path) and len(path) <= KEY and not path.startswith(".."):
        return path
    return f"{_NO_KEY.sub('-', path)[:100].lstrip('.')}-{mark(path)}"


def mark(word: str) -> str:
    """Return a few letters that tell `word` from others."""
    return hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=_MARK // 2).hexdigest()


def apart(named: Sequence[tuple[str, str]]) -> list[str]:
    """Return a name for each (name, what it stands for): names that several have are told apart by a digest."""
    counted = Counter(name for name, _ in named)
    return [name if counted[name] == 1 else label(f"{name[: LONGEST - 7]}-{mark(what)}") for name, what in named]
