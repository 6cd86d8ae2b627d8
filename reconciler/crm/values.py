"""One row of a CRM and one `Record`, both ways and pure: what is read back after a write equals what was to be written.

Reading never raises: what makes no sense becomes the record's `problem`. Writing raises `UnwritableError` for a value
that the column could not give back. A raw row is a tuple in the order of `Codec.names`, as the driver delivers it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from typing import TypeAlias

import orjson

from reconciler import text
from reconciler.crm.columns import Column, Kind, UnwritableError
from reconciler.crm.times import (
    TimeMode,
    TimeRule,
    canonical,
    canonical_day,
    raw_moment,
    shifted,
    spelled_moment,
    zone_named,
)
from reconciler.model import Agent, Fields, Presence, Record, Span, Status, Value, Window

VERSION = 1
"""Of this module's readings: part of every fingerprint."""

Row: TypeAlias = tuple[object, ...]
Resolve: TypeAlias = Callable[[str | None], Agent | None]


# ---- statuses -------------------------------------------------------------------------------------------------------


class StatusMap:
    """`crm.status`, both ways: lists are accepted on reading (white space and case forgiven), the first is written."""

    def __init__(self, spelled: Mapping[str, Iterable[str]]) -> None:
        self._write: dict[Status, str] = {}
        self._exact: dict[str, Status] = {}
        self._folded: dict[str, Status] = {}
        for status in Status:  # in the order of the enum: what confirmed and tentative share is confirmed
            for number, value in enumerate(spelled.get(status.value, ())):
                if number == 0:
                    self._write[status] = value
                self._exact.setdefault(value, status)
                self._folded.setdefault(value.strip().casefold(), status)

    def read(self, raw: object) -> Status | None:
        """Return what `raw` stands for, None when the map does not say. NULL reads as the empty text."""
        value = "" if raw is None else str(raw)
        return self._exact.get(value) or self._folded.get(value.strip().casefold())

    def write(self, status: Status) -> str | None:
        """Return the value to write; what the CRM has no word for but confirmed is close to is confirmed."""
        if status in {Status.TENTATIVE, Status.CLOSED} and (status not in self._write or status is Status.CLOSED):
            status = Status.CONFIRMED
        return self._write.get(status)

    @property
    def round_trip(self) -> dict[Status, Status]:
        """Say what each status reads back as after it was written."""
        return {status: self._read_back(status) for status in Status}

    def _read_back(self, status: Status) -> Status:
        written = self.write(status)
        read = status if written is None else self.read(written) or status
        return Status.CONFIRMED if read is Status.CLOSED else read


# ---- text -----------------------------------------------------------------------------------------------------------

_PLAIN = re.compile(r"[!-+\-.-9<-~]{1,320}")  # one word of visible ASCII, without separators and colons
_SEPARATORS = re.compile(r"[;,]")


def addresses(raw: object) -> tuple[str, ...]:
    """Return the addresses of a cell, one or several (separated by `;` or `,`): lower case, sorted, once each."""
    if raw is None:
        return ()
    if type(raw) is str and _PLAIN.fullmatch(raw):  # the common case costs nothing
        return (raw.lower(),)
    parts = raw if isinstance(raw, list | tuple) else _SEPARATORS.split(str(raw))
    return tuple(sorted({text.address(str(part)) for part in parts} - {""}))


def joined(values: Iterable[str], length: int | None) -> str | None:
    """Join whole addresses with `;`, as many as fit into `length`. Raises UnwritableError when not even one fits."""
    given = list(values)
    kept = ""
    for value in given:
        longer = f"{kept};{value}" if kept else value
        if length is None or len(longer) <= length:
            kept = longer
    if given and not kept:
        raise UnwritableError(f"no address fits into {length} characters")
    return kept or None


_TRUE = frozenset({"1", "t", "true", "y", "yes", "on"})
_FALSE = frozenset({"", "0", "f", "false", "n", "no", "off"})


def flag(raw: object) -> bool:
    """Return a truth value as databases and files spell it; NULL is false. Raises ValueError with a clause."""
    if raw is None or isinstance(raw, int):
        return bool(raw)
    if isinstance(raw, bytes):
        return any(raw)
    word = str(raw).strip().lower()
    if word not in _TRUE | _FALSE:
        raise ValueError("is neither true nor false")
    return word in _TRUE


def removed(raw: object) -> bool:
    """Tell whether a soft-delete column marks its row as removed: a time, or a flag that is set."""
    return bool(raw) and not (isinstance(raw, str) and (raw.startswith("0000") or raw.strip().lower() in _FALSE))


# ---- rows -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Owner:
    """Whom a cell names: the address compared (None for an empty cell) and the zone of that agent's local times."""

    address: str | None
    zone: tzinfo | None


class Codec:
    """Turns raw rows into records and fields into raw values, for one column map.

    `columns` maps our names (`id`, `key`, `agent`, `start`, ...; `origin` for what `set` writes) to columns; `limits`
    gives the characters compared of `title` and `location`; `duplicates` holds ids that more than one row has.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        *,
        time: TimeRule,
        statuses: StatusMap,
        resolve: Resolve,
        inclusive: bool = False,
        duplicates: frozenset[str] = frozenset(),
    ) -> None:
        self.columns = columns
        self.names = tuple(sorted(columns, key=lambda name: (name != "id", name)))
        self.time = time
        self.statuses = statuses
        self.duplicates = duplicates
        self._inclusive = inclusive
        self._resolve = resolve
        self._owners: dict[object, Owner] = {}
        self._words: dict[object, str | None] = {}
        self._at = {name: position for position, name in enumerate(self.names)}
        self._times = [(name, self._at[name]) for name in ("start", "end") if name in columns]
        self._limits = {
            name: min(columns[name].length or text.LINE_LIMIT, text.LINE_LIMIT)
            for name in ("title", "location")
            if name in columns
        }

    # reading

    def record(self, row: Row) -> Record:
        """Return the record of a raw row. It never raises: `problem` says what can't be compared."""
        at = self._at
        fields: dict[str, Value] = {}
        problems: list[str] = []
        owner = self._read_owner(row, fields)
        self._read_times(row, owner, fields, problems)
        self._read_texts(row, fields)
        status = self._read_status(row, fields, problems)
        crm_id = "" if row[0] is None else str(row[0])
        if not crm_id or crm_id in self.duplicates:
            problems.insert(0, "more than one row has its id" if crm_id else "it has no id")
        return Record(
            id=crm_id,
            fields=fields,
            version=self.version(row),
            key=_key(row[at["key"]]) if "key" in at else None,
            presence=self._presence(row, status),
            closed=status is Status.CLOSED,
            updated=self._updated(row),
            origin=self._word(row[at["origin"]]) if "origin" in at else None,
            problem="; ".join(problems) or None,
        )

    def span(self, row: Row) -> Span | None:
        """Return when a row happens, None when its times can't be read; without an end it ends as it starts."""
        fields: dict[str, Value] = {}
        self._read_times(row, self._read_owner(row, fields), fields, [])
        start = fields.get("start")
        if not isinstance(start, str):
            return None
        end = fields.get("end", start)
        return Span(_parsed(start), _parsed(end if isinstance(end, str) else start))

    def touches(self, row: Row, window: Window) -> bool:
        """Tell whether a row touches `window`; one whose times can't be read does, so that it is seen."""
        span = self.span(row)
        return span is None or window.holds(span)

    def version(self, row: Row) -> str:
        """Return the precondition of a write: the version column, if any, and a digest of all that is mapped."""
        number = row[self._at["version"]] if "version" in self._at else ""
        return f"{'' if number is None else number}:{raw_digest([row])[:10].hex()}"

    def owner(self, raw: object) -> Owner:
        """Return whom the owner cell `raw` names."""
        known = self._owners.get(raw)
        if known is None:
            known = self._owners[raw] = self._found_owner(raw)
        return known

    def _found_owner(self, raw: object) -> Owner:
        name = "" if raw is None else str(raw).strip()
        agent = self._resolve(name) if name else None
        zone = self.time.zone
        if self.time.mode is TimeMode.AGENT:
            zone = zone_named(agent.timezone) if agent else None
        return Owner(agent.email if agent else text.address(name) or None, zone)

    def _word(self, raw: object) -> str | None:
        if raw is None:
            return None
        return self._words.get(raw) or self._words.setdefault(raw, text.line(str(raw), 100))

    def _read_owner(self, row: Row, fields: dict[str, Value]) -> Owner:
        owner = self.owner(row[self._at["agent"]] if "agent" in self._at else None)
        if "agent" in self._at:
            fields["agent"] = owner.address
        return owner

    def _read_times(self, row: Row, owner: Owner, fields: dict[str, Value], problems: list[str]) -> None:
        try:
            all_day = self._read_all_day(row, fields)
            for name, position in self._times:
                if all_day:
                    is_end = name == "end"
                    fields[name] = canonical_day(row[position], end=is_end, inclusive=self._inclusive)
                else:
                    fields[name] = canonical(row[position], owner.zone)
        except ValueError as error:
            problems.append(self._time_problem(row, fields, str(error)))
        else:
            if self._ends_first(fields):
                problems.append("it ends before it starts")

    def _read_all_day(self, row: Row, fields: dict[str, Value]) -> bool:
        position = self._at.get("all_day")
        if position is None:
            return False
        raw = row[position]
        fields["all_day"] = all_day = raw == 1 if type(raw) is int else flag(raw)
        return all_day

    def _time_problem(self, row: Row, fields: dict[str, Value], clause: str) -> str:
        """Say which cell could not be read: the first that has no field yet."""
        cells = ["all_day"] if "all_day" in self._at else []
        name = next(name for name in [*cells, *(name for name, _ in self._times)] if name not in fields)
        if row[self._at[name]] in (None, ""):
            return f"its {name} is empty"
        if clause == "has no offset" and self.time.mode is TimeMode.AGENT:
            return f"its {name} is local to an agent whose timezone isn't known"
        return f"its {name} {clause if clause.startswith(('is ', 'has ')) else 'is not a date and time'}"

    @staticmethod
    def _ends_first(fields: Mapping[str, Value]) -> bool:
        start, end = fields.get("start"), fields.get("end")
        return isinstance(start, str) and isinstance(end, str) and end < start

    def _read_texts(self, row: Row, fields: dict[str, Value]) -> None:
        for name, limit in self._limits.items():
            raw = row[self._at[name]]
            fields[name] = "" if raw is None else text.line(raw if type(raw) is str else str(raw), limit)
        if "contact" in self._at and (contacts := addresses(row[self._at["contact"]])):
            fields["contact"] = contacts
        if "participants" in self._at and (people := addresses(row[self._at["participants"]])):
            fields["participants"] = tuple(sorted({self.owner(one).address or one for one in people}))

    def _read_status(self, row: Row, fields: dict[str, Value], problems: list[str]) -> Status | None:
        if "status" not in self._at:
            return None
        raw = row[self._at["status"]]
        status = self.statuses.read(raw)
        if status is None:
            shown = "an empty status" if raw in (None, "") else f'the status "{text.line(str(raw), 40)}"'
            problems.append(f"{shown} is not in [crm] status")
        else:
            fields["status"] = (Status.CONFIRMED if status is Status.CLOSED else status).value
        return status

    def _presence(self, row: Row, status: Status | None) -> Presence:
        if "deleted_at" in self._at and removed(row[self._at["deleted_at"]]):
            return Presence.ABSENT
        return Presence.CANCELLED if status is Status.CANCELLED else Presence.LIVE

    def _updated(self, row: Row) -> datetime | None:
        if "updated" not in self._at:
            return None
        try:
            return datetime.fromisoformat(canonical(row[self._at["updated"]], self.time.zone or UTC))
        except ValueError:
            return None

    # writing

    def encode(self, fields: Fields, *, owner: object = None) -> dict[str, object]:
        """Return raw values by our names. `owner` is the owner cell that local times go by when `fields` has none.

        Raises UnwritableError with a sentence for what a column could not give back.
        """
        known = {name: value for name, value in fields.items() if name in self.columns}
        agent = known.get("agent")
        zone = self.owner(agent if agent is not None else owner).zone
        return {name: self._encoded(name, value, zone) for name, value in known.items()}

    def _encoded(self, name: str, value: Value, zone: tzinfo | None) -> object:
        column = self.columns[name]
        if name in {"start", "end"}:
            return None if value is None else self._encoded_time(name, str(value), zone)
        if name == "all_day":
            return bool(value) if column.kind is not Kind.INTEGER else int(bool(value))
        if name == "status":
            return self._encoded_status(Status(str(value)))
        if name in self._limits:
            return text.line(str(value or ""), self._limits[name]) or (None if column.nullable else "")
        if name in {"contact", "participants"}:
            return joined(value if isinstance(value, tuple) else addresses(value), column.length)
        return self.named_owner(value) if name == "agent" else value

    def _encoded_time(self, name: str, value: str, zone: tzinfo | None) -> object:
        if self._inclusive and name == "end" and len(value) == len("2026-11-24"):
            value = shifted(date.fromisoformat(value), -1).isoformat()
        if "all_day" not in self.columns and len(value) == len("2026-11-24"):
            raise UnwritableError("this CRM has no column that tells all-day appointments from timed ones")
        return spelled_moment(value, self.columns[name], self.time, zone)

    def _encoded_status(self, status: Status) -> object:
        written = self.statuses.write(status)
        if written is None:
            raise UnwritableError(f"[crm] status names no value for {status.value}")
        return typed(written, self.columns["status"])

    def named_owner(self, value: Value) -> object:
        """Return how the CRM names the owner `value`: the agent's `crm_owner`, else the address."""
        if value is None:
            return None
        agent = self._resolve(str(value))
        return typed((agent.crm_owner or agent.email) if agent else str(value), self.columns["agent"])

    def now(self, moment: datetime, name: str = "updated") -> object:
        """Return what the column `name` (`updated`, `deleted_at`) holds for this moment (aware)."""
        column = self.columns[name]
        if column.kind in {Kind.BOOLEAN, Kind.INTEGER}:
            return True if column.kind is Kind.BOOLEAN else 1
        local = moment.astimezone(self.time.zone or UTC)
        return raw_moment(local, column, self.time)

    def kept(self, fields: Fields, *, owner: object = None) -> Fields:
        """Return `fields` as they would be read back. Raises UnwritableError as `encode` does."""
        raw = self.encode(fields, owner=owner)
        row = tuple(raw.get(name) for name in self.names)
        if "agent" not in fields and owner is not None and "agent" in self._at:
            row = (*row[: self._at["agent"]], owner, *row[self._at["agent"] + 1 :])
        read = self.record(row).fields
        return {name: read.get(name) for name in fields if name in self.columns}


def typed(value: str, column: Column) -> object:
    """Return text from the job file or the directory as the column holds it. Raises UnwritableError when it can't."""
    if column.kind is Kind.INTEGER:
        if not re.fullmatch(r"-?\d{1,19}", value):
            raise UnwritableError(f"the column {column.name} holds numbers, and what should be written is none")
        return int(value)
    if column.kind is Kind.BOOLEAN:
        return flag(value)
    if column.length is not None and len(value) > column.length:
        raise UnwritableError(f"it doesn't fit into {column.length} characters of the column {column.name}")
    return value


def raw_digest(rows: Iterable[Row], seed: bytes = b"") -> bytes:
    """Return 16 bytes over raw rows: equal rows, equal digest."""
    try:
        spelled = orjson.dumps(rows, default=_plain)
    except TypeError:  # a number of more than 64 bits, half a character
        spelled = repr(rows).encode("utf-8", "surrogatepass")
    return hashlib.blake2b(seed + spelled, digest_size=16).digest()


def _plain(value: object) -> object:
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else repr(value)


def _parsed(canonical_time: str) -> datetime | date:
    if len(canonical_time) == len("2026-11-24"):
        return date.fromisoformat(canonical_time)
    return datetime.fromisoformat(canonical_time)


def _key(raw: object) -> str | None:
    return None if raw is None or raw == "" else str(raw)
