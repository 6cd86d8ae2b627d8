"""The small types that a job file is made of: each reads one spelling, or says in a sentence what is wrong with it."""

import re
from collections.abc import Iterable
from datetime import timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo, available_timezones

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
)

from reconciler.limit import Limit
from reconciler.text import address, line

TEXT_LIMIT: Final = 1000
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_DURATION: Final = re.compile(r"(\d{1,6})([smhd])")
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\]+@[^\s@<>,;:\"()\[\]\\]+")
_MAILBOX: Final = re.compile(r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*", re.ASCII)
_DOMAIN: Final = re.compile(r"(?!-)[\w-]+(\.[\w-]+)*", re.ASCII | re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NOUNS: Final = {bool: "true or false", int: "this number", float: "this number", list: "this list", dict: "this table"}
LONGEST: Final = timedelta(days=3660)
LOCAL_PART: Final = 64
"""Characters before the @ (RFC 5321, 4.5.3.1.1)."""


class WrongError(ValueError):
    """One value of a job file is not what its key asks for: what is wrong with it, and what to write instead."""

    def __init__(self, what: str, hint: str = "") -> None:
        """Hold `what` and `hint` for the list of problems."""
        super().__init__(what)
        self.what = what
        self.hint = hint


class Section(BaseModel):
    """One table of a job file: nothing unknown, nothing converted by guesswork, nothing changed afterwards."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        allow_inf_nan=False,
        hide_input_in_errors=True,
        arbitrary_types_allowed=True,
    )


def shown(value: object) -> str:
    """Quote a value of the job file for a sentence: one short line, and no address that may hold a password."""
    if not isinstance(value, str):
        return _NOUNS.get(type(value), "this value")
    return "this address" if "://" in value else f'"{line(value, 60)}"'


def nearest(word: str, words: Iterable[str]) -> str:
    """Return `did you mean "x"?` for the closest of `words`, or nothing."""
    close = get_close_matches(word.lower(), list(words), n=1, cutoff=0.6)
    return f'did you mean "{close[0]}"?' if close else ""


def one_of(words: Iterable[str]) -> str:
    """List the words that are possible here."""
    return "possible here: " + ", ".join(words)


def visible(value: str) -> str:
    """Accept text that a person can read back: not empty, bounded, no control characters."""
    if not value.strip():
        raise WrongError("is empty")
    if len(value) > TEXT_LIMIT:
        raise WrongError(f"is {len(value)} characters long", f"at most {TEXT_LIMIT} are possible")
    if not value.isprintable():
        raise WrongError("has a control character in it, or one that can't be seen")
    return value


def name(value: str) -> str:
    """Accept a name that can stand in a file name, a metric label and a command line."""
    if not _NAME.fullmatch(value):
        raise WrongError(
            f"{shown(value)} can't be a name", "letters, digits, - _ and ., beginning with one of the first two"
        )
    return value


def duration(value: object) -> timedelta:
    """Read `90s`, `10m`, `24h` or `7d`."""
    if isinstance(value, int) and not isinstance(value, bool):
        raise WrongError(f"{value} has no unit", f'write "{value}s" for seconds; the units are s, m, h and d')
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise WrongError(f"{shown(value)} is not a duration", 'write a number and a unit: "90s", "10m", "24h", "7d"')
    length = timedelta(**{_UNITS[match[2]]: int(match[1])})
    if length > LONGEST:
        raise WrongError(f"{shown(value)} is longer than ten years")
    return length


def some_time(value: timedelta) -> timedelta:
    """Refuse a duration of nothing."""
    if not value:
        raise WrongError("must be longer than nothing")
    return value


def limit(value: object) -> Limit:
    """Read a limit; a bare number is an amount."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        raise WrongError(f"{shown(value)} is not a limit", 'write "10", "10%" or "25 or 10%"')
    try:
        return Limit.parse(value)
    except ValueError as error:
        raise WrongError(f"{shown(value)} is not a limit: {error}") from None


def email(value: str) -> str:
    """Accept a bare e-mail address, in the spelling in which addresses are compared."""
    plain = address(value)
    if not _ADDRESS.fullmatch(plain):
        raise WrongError(f"{shown(value)} is not an e-mail address", "write it bare, like ann@acme.example")
    return plain


def mailbox(value: str) -> str:
    """Accept an address that every mail server can be asked to deliver to."""
    local, _, domain = value.rpartition("@")
    try:
        spelled = domain.encode("idna").decode()
    except UnicodeError:
        spelled = ""
    if len(local) > LOCAL_PART or not _MAILBOX.fullmatch(local) or not _DOMAIN.fullmatch(spelled):
        raise WrongError(f"{shown(value)} can't be mailed to", "write it like ops@acme.example")
    return value


def domain(value: str) -> str:
    """Accept a mail domain, in lower case."""
    if not _DOMAIN.fullmatch(value):
        raise WrongError(f"{shown(value)} is not a mail domain", "write it bare, like acme.example")
    return value.lower()


def zone(value: str) -> str:
    """Accept the IANA name of a time zone that this machine knows."""
    try:
        ZoneInfo(value)
    except (OSError, ValueError):  # ZoneInfoNotFoundError is a KeyError, see below
        raise WrongError(f"{shown(value)} is not a time zone", _zone_hint(value)) from None
    except KeyError:
        raise WrongError(f"{shown(value)} is not a time zone", _zone_hint(value)) from None
    return value


def _zone_hint(value: str) -> str:
    by_lower = {known.lower(): known for known in available_timezones()}
    close = get_close_matches(value.lower(), by_lower, n=1, cutoff=0.6)
    return f'did you mean "{by_lower[close[0]]}"?' if close else 'write an IANA name, like "America/Chicago"'


def resolved(value: object, info: ValidationInfo) -> Path:
    """Accept a path; a relative one is relative to the job file."""
    if not isinstance(value, str):
        raise WrongError("must be a path, as text in quotes")
    return base_of(info) / visible(value)


def base_of(info: ValidationInfo) -> Path:
    """Return the folder that relative paths are relative to."""
    return Path((info.context or {}).get("base", ""))


def listed(value: object) -> object:
    """Let a single value stand for a list of one."""
    return value if isinstance(value, list | tuple) else [value]


def constant(value: object) -> str | int | float | bool:
    """Accept what one cell of a table can hold."""
    if not isinstance(value, str | int | float | bool):
        raise WrongError("must be text, a number, or true or false")
    return value


def unique(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """Refuse a value that is listed twice."""
    twice = {str(value) for value in values if values.count(value) > 1}
    if twice:
        raise WrongError(f"lists {', '.join(shown(value) for value in sorted(twice))} twice")
    return values


Text = Annotated[str, AfterValidator(visible)]
Name = Annotated[str, AfterValidator(name)]
Duration = Annotated[timedelta, BeforeValidator(duration)]
SomeTime = Annotated[timedelta, BeforeValidator(duration), AfterValidator(some_time)]
LimitText = Annotated[Limit, BeforeValidator(limit), PlainSerializer(str)]
Email = Annotated[str, AfterValidator(email)]
Emails = Annotated[tuple[Email, ...], Field(strict=False, min_length=1), AfterValidator(unique)]
SomeEmails = Annotated[Emails, BeforeValidator(listed)]
Mailbox = Annotated[Email, AfterValidator(mailbox)]
Mailboxes = Annotated[tuple[Mailbox, ...], Field(strict=False, min_length=1, max_length=100), AfterValidator(unique)]
Domains = Annotated[tuple[Annotated[str, AfterValidator(domain)], ...], Field(strict=False), AfterValidator(unique)]
Zone = Annotated[str, AfterValidator(zone)]
FilePath = Annotated[Path, BeforeValidator(resolved)]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Constant = Annotated[str | int | float | bool, BeforeValidator(constant)]
Texts = Annotated[tuple[Text, ...], Field(strict=False, min_length=1), BeforeValidator(listed), AfterValidator(unique)]
