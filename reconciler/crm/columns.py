"""What a mapped column is: the facts about it that decide how values are read and written."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class UnwritableError(ValueError):
    """A value that must not be written, because the column would not give it back; its text says so in a sentence."""


class Kind(StrEnum):
    """What a column holds, as far as this program cares."""

    TEXT = "text"
    TIME = "time"  # a date and time without a zone
    INSTANT = "instant"  # a date and time that the database keeps as an instant
    DATE = "date"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    UUID = "uuid"
    OTHER = "other"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A mapped column: its name in the table and what it holds; `sample` is a time as its text spells it."""

    name: str
    kind: Kind = Kind.TEXT
    length: int | None = None
    nullable: bool = True
    default: bool = False
    sample: str = ""
