"""The `[crm]` table: which database table or CSV export holds the records, and what its columns and values mean."""

from typing import Annotated, Final, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field

from reconciler.config.hosts import split
from reconciler.config.secret import DatabaseUrl
from reconciler.config.values import Constant, FilePath, Section, Text, WrongError, listed, nearest, shown, unique, zone
from reconciler.model import COMPARABLE

LOCAL: Final = "local:"
LINKED: Final = "{id}"
"""What stands in `link` for the id of the record."""


class Columns(Section):
    """Which column plays which role. A role without a column is neither compared nor written."""

    id: Text
    agent: Text
    start: Text
    end: Text
    key: Text | None = None
    contact: Text | None = None
    title: Text | None = None
    all_day: Text | None = None
    location: Text | None = None
    status: Text | None = None
    version: Text | None = None
    updated: Text | None = None
    participants: Text | None = None
    deleted_at: Text | None = None

    @property
    def mapped(self) -> dict[str, str]:
        """Return role -> column for the roles that have one."""
        return {role: column for role, column in self if column is not None}

    @property
    def comparable(self) -> tuple[str, ...]:
        """Return what `policy.compare` may name for this CRM."""
        return tuple(word for word in COMPARABLE if word in self.mapped)


def _status(value: object) -> str | int:
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise WrongError("must be what the column holds: text or a whole number")
    return value


StatusValues = Annotated[
    tuple[Annotated[str | int, BeforeValidator(_status)], ...],
    Field(strict=False, min_length=1),
    BeforeValidator(listed),
    AfterValidator(unique),
]


class StatusMap(Section):
    """How this CRM spells each status: the first spelling is written, all are read, closed is never overwritten."""

    confirmed: StatusValues
    tentative: StatusValues = ()
    cancelled: StatusValues = ()
    closed: StatusValues = ()


class Lookup(Section):
    """The table that a foreign key points to: its `key` column, and the column with the `value` that we compare."""

    table: Text
    key: Text
    value: Text


def _time(value: str) -> str:
    """Accept how times are kept: with their offset, as naive UTC, or as local wall time."""
    if value in {"aware", "utc", "local:agent"}:
        return value
    if not value.startswith(LOCAL):
        hint = nearest(value, ("aware", "utc")) or 'write "aware", "utc", "local:America/Chicago" or "local:agent"'
        raise WrongError(f"{shown(value)} does not say how times are kept", hint)
    zone(value.removeprefix(LOCAL))
    return value


def _link(value: str) -> str:
    """Accept the address by which a record is opened: https, on a host that no id can change."""
    parts = split(value.replace(LINKED, "17"))
    if LINKED not in value:
        raise WrongError("does not say where the id goes", f'"https://crm.acme.example/appointments/{LINKED}"')
    if parts.scheme != "https":
        raise WrongError(f"uses {shown(parts.scheme)}", "only https is accepted: people click it")
    if "@" in parts.netloc or parts.netloc != split(value.replace(LINKED, "18")).netloc:
        raise WrongError("names a user, or leaves the host to the id", "a host as it is, and the id after it")
    return value


class _Table(Section):
    """What a CRM says about its records, wherever they are kept."""

    time: Annotated[str, AfterValidator(_time)]
    columns: Columns
    status: StatusMap | None = None
    record_per: Literal["meeting", "agent"] = "meeting"
    all_day_end: Literal["inclusive", "exclusive"] = "exclusive"
    link: Annotated[Text, AfterValidator(_link)] | None = None

    @property
    def zone(self) -> ZoneInfo | None:
        """Return the zone of `local:ZONE`; None for every other `time`."""
        if not self.time.startswith(LOCAL) or self.time == "local:agent":
            return None
        return ZoneInfo(self.time.removeprefix(LOCAL))


class SqlCrm(_Table):
    """A table of a SQL database. `url` is for reading, `write_url` for writing where they differ."""

    kind: Literal["sql"]
    url: DatabaseUrl
    write_url: DatabaseUrl | None = None
    table: Text
    set: dict[Text, Constant] = Field(default_factory=dict)
    lookup: dict[Literal["agent", "contact"], Lookup] = Field(default_factory=dict)


def _delimiter(value: str) -> str:
    if len(value) != 1 or value in '"\r\n':
        raise WrongError(f"{shown(value)} can't separate columns", 'one character, like "," or ";" or "\\t"')
    return value


def _encoding(value: str) -> str:
    try:
        b"a".decode(value)
    except (LookupError, ValueError):
        raise WrongError(f"{shown(value)} is no text encoding", 'write "utf-8", "cp1252" or "utf-16"') from None
    return value


def _date_format(value: str) -> str:
    if "%d" not in value or not any(month in value for month in ("%m", "%b", "%B")):
        raise WrongError(f"{shown(value)} names no day and month", 'write it like "%m/%d/%Y %I:%M %p"')
    return value


class CsvCrm(_Table):
    """A CSV export, which can only be read. What is not said about its form is found out from the file."""

    kind: Literal["csv"]
    path: FilePath
    delimiter: Annotated[str, AfterValidator(_delimiter)] | None = None
    encoding: Annotated[str, AfterValidator(_encoding)] | None = None
    date_format: Annotated[Text, AfterValidator(_date_format)] | None = None


Crm = Annotated[SqlCrm | CsvCrm, Field(discriminator="kind")]
