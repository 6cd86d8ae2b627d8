"""Values that may be secret. A job file names them (`env:NAME`, `file:PATH`); they are read when a command needs them.

What is behind a name is never printed: not by `repr`, `str` or a dump, nor in the sentence that says what is wrong.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import parse_qsl

from pydantic import GetCoreSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from reconciler.config import custody
from reconciler.config.hosts import is_loopback, require_tls, split
from reconciler.config.revealed import note
from reconciler.config.values import WrongError, base_of
from reconciler.errors import ConfigError, Problem

SIZE_LIMIT: Final = 1_000_000
_ENV_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_REFERENCE_HINT: Final = 'write "env:NAME" to read it from the environment or "file:PATH" to read it from a file'
_PRIVATE_PARAMETER: Final = re.compile(r"(?i)token|secret|key|sig|signature|passw|pwd|auth|odbc_connect")
_DIALECT: Final = re.compile(r"([a-z][a-z0-9_]*)(?:\+[a-z0-9_]+)?://", re.ASCII)
_PASSWORD: Final = re.compile(r"[^:/]*://[^/?#]*:.*@", re.DOTALL)
STATE_DIALECTS: Final = frozenset({"sqlite", "postgresql"})


@dataclass(frozen=True, slots=True)
class Reference:
    """Where a value is kept, and which `key` of the job file says so. Relative files are relative to `base`.

    `strict` says that a file which others can read, or put another one in the place of, is not read.
    """

    key: str
    scheme: str
    name: str
    base: Path
    strict: bool = False

    @classmethod
    def parse(cls, value: str, key: str, base: Path, *, strict: bool = False) -> Self | None:
        """Read `env:NAME` or `file:PATH`; anything else is no reference."""
        scheme, colon, rest = value.partition(":")
        return cls(key, scheme, rest, base, strict) if colon and scheme in {"env", "file"} else None

    @property
    def path(self) -> Path | None:
        """Return the file that is named, if it is one."""
        return self.base / self.name if self.scheme == "file" else None

    def check(self) -> Self:
        """Refuse a name that can't be one, without showing it: it may be the secret itself."""
        if self.scheme == "env" and not _ENV_NAME.fullmatch(self.name):
            raise WrongError("names no environment variable after env:", 'write it like "env:CRM_URL"')
        if self.scheme == "file" and (not self.name.strip() or not self.name.isprintable()):
            raise WrongError("names no file after file:", 'write it like "file:/run/secrets/crm-url"')
        return self

    def read(self, environ: Mapping[str, str]) -> str:
        """Return what is kept there, or raise ConfigError with what to set."""
        return note(self._variable(environ) if self.scheme == "env" else self._file())

    def _variable(self, environ: Mapping[str, str]) -> str:
        value = environ.get(self.name, "").strip()
        if not value:
            why = "is empty" if self.name in environ else "is not set"
            raise self.problem(f"the environment variable {self.name} {why}", f"set {self.name} where the job runs")
        return value

    def _file(self) -> str:
        path = self.base / self.name
        if self.strict and (exposed := custody.of_secret(path)):
            raise self.problem(f"the file {self.name} {exposed.what} (strict_secrets)", exposed.hint)
        try:
            with path.open("rb") as file:
                value = file.read(SIZE_LIMIT + 1).decode("utf-8-sig").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            raise self.problem(
                f"the file {self.name} can't be read: {why}", "it must hold the secret and nothing else"
            ) from None
        if not value or len(value) > SIZE_LIMIT:
            why = "is empty" if not value else "is too large to be a secret"
            raise self.problem(f"the file {self.name} {why}", "it must hold the secret and nothing else")
        return value

    def problem(self, what: str, hint: str) -> ConfigError:
        """Make the error that names the key."""
        return ConfigError((Problem(self.key, what, hint),))

    def __str__(self) -> str:
        return f"{self.scheme}:{self.name}"


@dataclass(frozen=True, slots=True, repr=False)
class Secret:
    """A value that is secret, or may be. Only a reference is accepted; kinds of it that can be harmless accept more."""

    reference: Reference | None = None
    literal: str = ""
    base: Path = Path()

    noun: ClassVar[str] = "a secret"

    def reveal(self, environ: Mapping[str, str]) -> str:
        """Read the value now, in the form its reader expects, or raise ConfigError naming the key."""
        if self.reference is None:
            return self.finished(self.literal)
        value = self.reference.read(environ)
        try:
            self.accept(value)
        except WrongError as error:
            raise self.reference.problem(f"what {self.reference} holds {error.what}", error.hint) from None
        return self.finished(value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Raise WrongError unless `value` has the form that this kind of secret has."""

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Tell whether `value` may stand in a job file as it is."""
        del value
        return False

    def finished(self, value: str) -> str:
        """Return `value` in the form its reader expects."""
        return value

    def __str__(self) -> str:
        return str(self.reference) if self.reference else "(given in the job file)"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"

    @classmethod
    def of(cls, value: object, base: Path) -> Self:
        """Make one from what a job file says."""
        if isinstance(value, Reference):
            return cls(value.check(), base=base)
        if not isinstance(value, str):
            raise WrongError("must be text in quotes", _REFERENCE_HINT)
        if not cls.is_harmless(value):
            raise WrongError(f"holds {cls.noun}, and a job file is no place for one", _REFERENCE_HINT)
        cls.accept(value)
        return cls(literal=value, base=base)

    @classmethod
    def _validate(cls, value: object, info: ValidationInfo) -> Self:
        return value if isinstance(value, cls) else cls.of(value, base_of(info))

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: GetCoreSchemaHandler) -> core_schema.CoreSchema:
        """Tell pydantic to validate by `of` and to dump the name, never the value."""
        del source, handler
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.plain_serializer_function_ser_schema(str)
        )


class DatabaseUrl(Secret):
    """A database's URL as SQLAlchemy reads it. A relative SQLite file is relative to the job file, always."""

    __slots__ = ()
    noun = "a password"

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Accept a URL in the open if there is no password in it."""
        return not _PASSWORD.match(value) and not _has_private_parameter(value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for `dialect://`."""
        if not _DIALECT.match(value) or not value.isprintable():
            raise WrongError("is not a database URL", "write it like sqlite:///crm.db or postgresql://user@host/name")

    @property
    def dialect(self) -> str | None:
        """Return the dialect of a URL that stands in the job file itself."""
        return dialect_of(self.literal) if self.literal else None

    def finished(self, value: str) -> str:
        """Make a relative SQLite file absolute."""
        head, slashes, rest = value.partition(":///")
        name, question, options = rest.partition("?")
        if dialect_of(value) != "sqlite" or not slashes or not name or name.startswith(("/", ":memory:", "file:")):
            return value
        return f"{head}:///{(self.base / name).absolute()}{question}{options}"


class StateUrl(DatabaseUrl):
    """The URL of a state database: SQLite or PostgreSQL."""

    __slots__ = ()

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for one of the databases that can hold the state."""
        DatabaseUrl.accept(value)
        if dialect_of(value) not in STATE_DIALECTS:
            raise WrongError(f"is a {dialect_of(value)} database", "the state lives in SQLite or PostgreSQL")
        if value.partition("?")[0].rstrip("/").endswith((":memory:", "sqlite:")):
            raise WrongError(
                "is a database in memory: nothing would be kept from one run to the next",
                "name a file: sqlite:///acme.db",
            )


class FeedUrl(Secret):
    """The address of a calendar feed. One that grants access to whoever knows it is a secret."""

    __slots__ = ()
    noun = "a private address"

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Accept an address in the open if it names no user, no token and no private calendar."""
        return not (_has_user(value) or _has_private_parameter(value) or "/private-" in value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for https."""
        if value.lower().startswith("webcal"):
            raise WrongError("begins with webcal:", "write https: in its place; it is the same address")
        parts = split(value)
        require_tls(parts)
        if "@" in parts.netloc:
            raise WrongError("has a user or a password before its host", "use an address that needs neither")


class MailUrl(Secret):
    """A mail server: `smtp://user:password@host:587?tls=starttls` or `smtps://host`."""

    __slots__ = ()
    noun = "a password"

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Accept a server in the open if it needs no password."""
        return not _PASSWORD.match(value) and not _has_private_parameter(value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for smtp or smtps, and for TLS except on loopback."""
        parts = split(value)
        if parts.scheme not in {"smtp", "smtps"}:
            raise WrongError("is no mail server's URL", "write it like smtp://user@mail.example:587?tls=starttls")
        options = dict(parse_qsl(parts.query, keep_blank_values=True))
        if set(options) - {"tls"} or options.get("tls", "starttls") not in {"starttls", "tls", "none"}:
            raise WrongError("has an unknown option after its ?", "possible here: tls=starttls, tls=tls, tls=none")
        if options.get("tls") == "none" and not is_loopback(parts.hostname or ""):
            raise WrongError("asks for no TLS", "tls=none is accepted on loopback only")


class HookUrl(Secret):
    """Where a chat or a program takes reports. Who knows such an address may write there, so it is a secret."""

    __slots__ = ()
    noun = "a private address"

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Accept an address in the open on this machine only."""
        return is_loopback(split(value).hostname or "") and not _has_user(value) and not _has_private_parameter(value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for https."""
        parts = split(value)
        require_tls(parts)
        if "@" in parts.netloc or parts.fragment:
            raise WrongError("has a user, a password or a # in it", "use an address that needs neither")


class GatewayUrl(Secret):
    """A Pushgateway, usually inside a private network: http is accepted, what is sent names no person."""

    __slots__ = ()
    noun = "a password"

    @classmethod
    def is_harmless(cls, value: str) -> bool:
        """Accept an address in the open if there is no password in it."""
        return not _has_user(value) and not _has_private_parameter(value)

    @classmethod
    def accept(cls, value: str) -> None:
        """Ask for http or https, and for https where there is a password."""
        parts = split(value)
        if parts.scheme not in {"http", "https"}:
            raise WrongError("is not an http or https URL", "write it like http://pushgateway:9091")
        if "@" in parts.netloc and parts.scheme == "http" and not is_loopback(parts.hostname or ""):
            raise WrongError("sends its password where others can read it", "write https: in its place")


def dialect_of(url: str) -> str:
    """Return which database a URL is for, without its driver."""
    match = _DIALECT.match(url)
    return {"postgres": "postgresql"}.get(match[1], match[1]) if match else ""


def marked(table: object, key: str, base: Path, *, strict: bool = False) -> object:
    """Return a job file's content with every `env:NAME` and `file:PATH` replaced by a reference that knows its key."""
    match table:
        case dict():
            keys = {name: f"{key}.{name}" if key else name for name in table}
            return {name: marked(value, keys[name], base, strict=strict) for name, value in table.items()}
        case list():
            return [marked(value, f"{key}[{n}]", base, strict=strict) for n, value in enumerate(table, 1)]
        case str():
            return Reference.parse(table, key, base, strict=strict) or table
        case _:
            return table


def _has_user(url: str) -> bool:
    return "@" in url.partition("://")[2].partition("/")[0]


def _has_private_parameter(url: str) -> bool:
    parameters = parse_qsl(url.partition("?")[2].partition("#")[0], keep_blank_values=True)
    return any(_PRIVATE_PARAMETER.search(name) for name, _ in parameters)
