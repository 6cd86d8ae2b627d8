"""The rules of `policy.relevant`: which events belong in a CRM at all. A regex runs in time linear in the title."""

from dataclasses import dataclass, field
from typing import Any, Final, Self

import re2
from pydantic import GetCoreSchemaHandler
from pydantic_core import core_schema

from reconciler.config.values import WrongError, nearest, one_of, shown

WORDS: Final = ("client", "contact", "linked", "booked", "all")
PATTERN_LIMIT: Final = 500
MEMORY_LIMIT: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: a word, or `title` with the regex to look for."""

    word: str
    pattern: str = ""
    _regex: Any = field(default=None, repr=False, compare=False)

    def matches_title(self, title: str) -> bool:
        """Tell whether this is a title rule that finds its regex in `title`."""
        return self._regex is not None and self._regex.search(title) is not None

    def __str__(self) -> str:
        return f"{self.word}:{self.pattern}" if self.pattern else self.word

    @classmethod
    def of(cls, value: object) -> Self:
        """Read `client`, `contact`, `linked`, `booked`, `all` or `title:REGEX`."""
        if isinstance(value, cls):
            return value
        word, colon, pattern = value.partition(":") if isinstance(value, str) else ("", "", "")
        if word == "title":
            return cls(word, pattern, _compiled(pattern))
        if word not in WORDS or colon:
            raise WrongError(f"{shown(value)} is no rule", nearest(word, WORDS) or one_of((*WORDS, "title:REGEX")))
        return cls(word)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Tell pydantic to validate by `of` and to dump the spelling."""
        del source, handler
        return core_schema.no_info_plain_validator_function(
            cls.of, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


def _compiled(pattern: str) -> object:
    if not pattern or len(pattern) > PATTERN_LIMIT:
        raise WrongError(
            "title: needs a regex after it" if not pattern else f"has a regex of {len(pattern)} characters",
            f'write "title:(?i)showing"; at most {PATTERN_LIMIT} characters',
        )
    options = re2.Options()
    options.max_mem = MEMORY_LIMIT
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except re2.error as error:
        raise WrongError(*_explained(pattern, error)) from None


def _explained(pattern: str, error: Exception) -> tuple[str, str]:
    said = error.args[0].decode("utf-8", "replace") if error.args and isinstance(error.args[0], bytes) else str(error)
    problem, _, where = said.partition(": ")
    position = len(pattern) if where in {"", pattern} else pattern.find(where) + 1
    return (
        f"the regex {shown(pattern)} does not compile: {problem} at character {position}",
        "the syntax is RE2's: no look-around and no back-references",
    )
