"""The lines that `reconcile check` answers with: what was looked at, how it came out, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reconciler.errors import AccessError, ConfigError, ReconcilerError
from reconciler.report.words import bounded

LONGEST: Final = 400
FULL: Final = 1000
"""Characters of a sentence that names what somebody else has to allow, which is of no use if it is cut."""


class Mark(StrEnum):
    """How one line came out. A note is worth knowing and stops nothing."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "PROBLEM"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at."""

    name: str
    mark: Mark
    says: str


def problems(name: str, error: ReconcilerError) -> Iterator[Line]:
    """Yield a line for each thing that is wrong."""
    if isinstance(error, ConfigError):
        yield from (Line(name, Mark.PROBLEM, bounded(str(problem), LONGEST)) for problem in error.problems)
    else:
        most = FULL if isinstance(error, AccessError) else LONGEST
        yield Line(name, Mark.PROBLEM, bounded(str(error), most))
