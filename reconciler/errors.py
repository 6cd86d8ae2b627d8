"""The error tree: a class fixes its exit code and whether trying again makes sense."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar


class ReconcilerError(Exception):
    """Something this program can say in one sentence: what happened, to what, what it means, what to do next."""

    exit_code: ClassVar[int] = 1
    retryable: ClassVar[bool] = False


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in a job file or what it names: where (`key`), what, and what to do."""

    key: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        """Read as one line."""
        return f"{self.key}: {self.what}" + (f" ({self.hint})" if self.hint else "")


class ConfigError(ReconcilerError):
    """The job can't start as it is configured; every problem is listed at once."""

    exit_code = 2

    def __init__(self, problems: tuple[Problem, ...], *, where: str = "") -> None:
        """Hold all `problems` found in `where` (a file's name)."""
        self.problems = problems
        self.where = where
        super().__init__("\n".join(str(problem) for problem in problems))


class AccessError(ReconcilerError):
    """A provider refuses this program as a whole: an administrator has to allow something, the sentence says what."""

    exit_code = 2


class UsageError(ReconcilerError):
    """The command line asks for something that is not there or not possible."""

    exit_code = 2


class RefusedError(ReconcilerError):
    """Going on would be unsafe; nothing was applied."""

    exit_code = 4


class StateError(RefusedError):
    """The state database does not belong to this job, this CRM or this version."""


class LockedError(ReconcilerError):
    """Another run holds the lock. `overdue` says that it has held it for longer than any run should take."""

    exit_code = 75
    retryable = True

    def __init__(self, sentence: str, *, overdue: bool = False) -> None:
        """Hold the sentence, and what is to be thought of the other run."""
        self.overdue = overdue
        super().__init__(sentence)


class ServedError(ReconcilerError):
    """What a schedule asks for was done already, by another start for the same slot: nothing is left to do."""

    exit_code = 0


class CrmUnreachableError(ReconcilerError):
    """The CRM could not be read whole: nothing can be planned, calendars may still be pulled."""

    exit_code = 5
    retryable = True


class SnapshotError(RefusedError):
    """The CRM was read, but what it shows can't be the truth (a table, column or half the rows vanished)."""
