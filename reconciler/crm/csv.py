"""A CRM as an exported CSV file: read whole or not at all, and never written.

The file is staged in a temporary SQLite database, so that ids, keys and chunks are found as in a SQL CRM and memory
stays bounded whatever the export's size. Cells are text: a formula is a title like any other.
"""

from __future__ import annotations

import codecs
import csv
import difflib
import hashlib
import os
import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from reconciler.crm import Check
from reconciler.crm.sql import SqlReader, SqlSnapshot, SqlSpec
from reconciler.errors import ConfigError, CrmUnreachableError, Problem, SnapshotError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reconciler.crm.values import Resolve
    from reconciler.model import Shape

BATCH = 20_000
"""Rows parsed at once."""

ENOUGH = 1_000
"""ISO times seen before no other spelling is looked for."""

MONTHS = 12
"""A number above it is a day."""

CELL_LIMIT = 1_000_000
"""Characters of one cell; more is no export."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CsvSpec:
    """`[crm]` of a job file with `kind = "csv"`, with plain values; what is None is detected."""

    path: str
    time: str
    columns: Mapping[str, str]
    status: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    all_day_end: str = "exclusive"
    delimiter: str | None = None
    encoding: str | None = None
    date_format: str | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """How a file is to be read: its encoding, its delimiter, its header, and where our columns are in a line."""

    encoding: str
    delimiter: str
    header: tuple[str, ...]
    positions: Mapping[str, int]


class CsvReader:
    """Reads an export. `resolve`, `agents` and `known` are those of `SqlReader`."""

    def __init__(self, spec: CsvSpec, *, resolve: Resolve, agents: str = "", known: bool = False) -> None:
        self._spec = spec
        self._resolve = resolve
        self._agents = agents
        self._known = known
        self._path = Path(spec.path)
        self._shape: Shape | None = None

    @property
    def identity(self) -> str:
        """Name this file without its folder."""
        digest = hashlib.blake2b(str(self._path.resolve()).encode(), digest_size=4).hexdigest()
        return f"csv {self._path.name}#{digest}"

    @property
    def shape(self) -> Shape:
        """Say what the file has. It can't be written, so it allows nothing."""
        if self._shape is None:
            layout = self._layout()
            with _stage_path() as stage:
                _create(stage, tuple(layout.positions)).close()
                staged = self._staged(stage, layout).shape
            self._shape = replace(staged, can=frozenset())
        return self._shape

    @cached_property
    def fingerprint(self) -> str:
        """Return a digest of everything that shapes normalisation."""
        columns = repr((sorted(self._spec.columns.items()), self._spec.date_format)).encode()
        plain = SqlReader(self._sql(Path("csv"), tuple(self._spec.columns)), resolve=self._resolve, agents=self._agents)
        return hashlib.blake2b(columns + plain.fingerprint.encode(), digest_size=16).hexdigest()

    def snapshot(self) -> AbstractContextManager[SqlSnapshot]:
        """Read the whole file first. Raises CrmUnreachableError, SnapshotError (not read whole), ConfigError."""
        return self._snapshot()

    @contextmanager
    def _snapshot(self) -> Iterator[SqlSnapshot]:
        with _stage_path() as stage:
            with self._reading():
                layout = self._fill(stage)
            with self._staged(stage, layout).snapshot() as snapshot:
                yield snapshot

    def checks(self) -> list[Check]:
        """Say how the file is read."""
        layout = self._layout()
        says = f"{self._path.name} is read as {layout.encoding}, separated by {layout.delimiter!r}; it can't be written"
        return [Check("file", ok=True, says=says)]

    def close(self) -> None:
        """Release nothing: a snapshot cleans up behind itself."""

    def _staged(self, stage: Path, layout: Layout) -> SqlReader:
        return SqlReader(self._sql(stage, tuple(layout.positions)), resolve=self._resolve)

    def _sql(self, stage: Path, names: tuple[str, ...]) -> SqlSpec:
        return SqlSpec(
            url=f"sqlite:///{stage}",
            table="records",
            time=self._spec.time,
            columns={name: name for name in names},
            status=self._spec.status,
            all_day_end=self._spec.all_day_end,
        )

    def _fill(self, stage: Path) -> Layout:
        """Copy the whole file to the stage. Raises SnapshotError when it is damaged or changes meanwhile."""
        before = _stamp(self._path.stat())
        layout = self._layout()
        names = tuple(layout.positions)
        times = self._times(layout)
        with closing(_create(stage, names)) as database, database:
            for batch in _batched(self._cells(layout)):
                _insert(database, names, times.read(batch, names))
            _index(database, names)
        if _stamp(self._path.stat()) != before:
            raise SnapshotError(f"{self._path.name} changed while it was read. Nothing was planned; run again.")
        return layout

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CrmUnreachableError(
                f"the CRM's export {self._path.name} can't be read: {error.strerror or type(error).__name__}. "
                f"Check [crm] path, and that this account may read it."
            ) from None
        except UnicodeError:
            raise SnapshotError(
                f"{self._path.name} is not all in one encoding. Nothing was planned; name it in [crm] encoding."
            ) from None

    # ---- how the file is to be read

    def _layout(self) -> Layout:
        with self._reading():
            encoding = self._spec.encoding or _encoding(self._path)
            with self._path.open(encoding=encoding, newline="") as lines:
                head = lines.read(65536)
        if not head.strip():
            raise SnapshotError(f"{self._path.name} is empty: not even a header. Nothing was planned.")
        wanted = set(self._spec.columns.values())
        delimiter = self._spec.delimiter or _delimiter(head, wanted)
        header = tuple(cell.strip() for cell in next(csv.reader(head.splitlines(keepends=True), delimiter=delimiter)))
        self._require(header)
        positions = {ours: header.index(theirs) for ours, theirs in self._spec.columns.items()}
        return Layout(encoding, delimiter, header, positions)

    def _require(self, header: tuple[str, ...]) -> None:
        problems = tuple(
            Problem(f"crm.columns.{ours}", f'{self._path.name} has no column "{theirs}"', _meant(theirs, header))
            for ours, theirs in self._spec.columns.items()
            if theirs not in header
        ) + tuple(
            Problem(f"crm.columns.{ours}", f'{self._path.name} has more than one column "{theirs}"')
            for ours, theirs in self._spec.columns.items()
            if header.count(theirs) > 1
        )
        if problems and self._known:
            raise SnapshotError(f"{self._path.name} no longer is what it was: {'; '.join(map(str, problems))}.")
        if problems:
            raise ConfigError(problems)

    def _times(self, layout: Layout) -> Times:
        if self._spec.date_format:
            return Times((self._spec.date_format, _date_part(self._spec.date_format)))
        names = [name for name in ("start", "end") if name in layout.positions]
        order = tuple(layout.positions)
        spelled = (row[order.index(name)] for row in self._cells(layout) for name in names)
        return Times(detected(value for value in spelled if value))

    # ---- its lines

    def _cells(self, layout: Layout) -> Iterator[tuple[str, ...]]:
        """Yield our cells of every line, in the order of `positions`. Raises SnapshotError for a line cut short."""
        take = tuple(layout.positions.values())
        with self._path.open(encoding=layout.encoding, newline="") as lines:
            for number, row in self._rows(lines, layout):
                if len(row) != len(layout.header):
                    raise SnapshotError(
                        f"{self._path.name} is damaged at line {number}: {len(row)} cells where the header has "
                        f"{len(layout.header)}. Nothing was planned; export it again."
                    )
                yield tuple(row[position] for position in take)

    def _rows(self, lines: TextIO, layout: Layout) -> Iterator[tuple[int, list[str]]]:
        csv.field_size_limit(CELL_LIMIT)
        reader = csv.reader(lines, delimiter=layout.delimiter, strict=True)
        try:
            next(reader)
            for row in reader:
                if row:
                    yield reader.line_num, row
        except csv.Error as error:
            where = f"{self._path.name} is damaged at line {reader.line_num}"
            raise SnapshotError(f"{where}: {error}. Nothing was planned; export it again.") from None


# ---- times ----------------------------------------------------------------------------------------------------------

_ISO = re.compile(r"\d{4}-\d\d-\d\d")
_PARTS = re.compile(r"(\d{1,2})([/.-])(\d{1,2})[/.-]\d{4}\b")
_CLOCKS = (" %I:%M %p", " %I:%M:%S %p", " %H:%M", " %H:%M:%S", "")


class Times:
    """Respells the times of a file as ISO text; what follows none of `formats` stays, for the record to tell."""

    def __init__(self, formats: tuple[str, ...]) -> None:
        self._formats = tuple(dict.fromkeys(formats))

    def read(self, batch: list[tuple[str, ...]], names: tuple[str, ...]) -> list[tuple[str | None, ...]]:
        """Return the rows of `batch` (cells in the order of `names`) with ISO times and None for empty cells."""
        columns: list[Any] = list(zip(*batch, strict=True))
        for position, name in enumerate(names):
            if self._formats and name in {"start", "end", "updated", "deleted_at"}:
                columns[position] = self._respelled(columns[position])
        return [tuple(cell or None for cell in row) for row in zip(*columns, strict=True)]

    def _respelled(self, values: tuple[str, ...]) -> list[str]:
        import pandas as pd

        given = pd.Series(values, dtype=object).str.strip()
        result = given.copy()
        waiting = ~given.str.match(_ISO.pattern) & (given != "")
        for spelled in self._formats:
            if not waiting.any():
                break
            parsed = pd.to_datetime(given[waiting], format=spelled, errors="coerce").dropna()
            unit = "s" if "%H" in spelled or "%I" in spelled else "D"
            result[parsed.index] = parsed.to_numpy().astype(f"datetime64[{unit}]").astype(str)
            waiting[parsed.index] = False
        return list(result)


def detected(values: Iterable[str]) -> tuple[str, ...]:
    """Return the formats of these times: none for ISO, else those with one order of day and month.

    It looks no further than needed. Raises ConfigError when nothing tells the day from the month.
    """
    evidence = _Evidence()
    for value in values:
        evidence.see(value.strip())
        if evidence.decided:
            break
    return evidence.formats()


class _Evidence:
    """What the dates seen so far say about the order of day and month."""

    def __init__(self) -> None:
        self._iso = 0
        self._separators: set[str] = set()
        self._day_first = False
        self._month_first = False

    def see(self, value: str) -> None:
        parts = _PARTS.match(value)
        if not parts:
            self._iso += bool(_ISO.match(value))
            return
        self._separators.add(parts[2])
        self._day_first |= int(parts[1]) > MONTHS or parts[2] == "."
        self._month_first |= int(parts[3]) > MONTHS and parts[2] != "."

    @property
    def decided(self) -> bool:
        only_iso = not self._separators and self._iso >= ENOUGH
        return only_iso or (self._day_first and self._month_first)

    def formats(self) -> tuple[str, ...]:
        if not self._separators:
            return ()
        if self._day_first == self._month_first:
            what = "mix day first and month first" if self._day_first else "could be day first or month first"
            hint = 'say which, e.g. date_format = "%d/%m/%Y %H:%M" or "%m/%d/%Y %I:%M %p"'
            raise ConfigError((Problem("crm.date_format", f"the export's dates {what}", hint),))
        order = "%d{0}%m{0}%Y" if self._day_first else "%m{0}%d{0}%Y"
        return tuple(order.format(separator) + clock for separator in sorted(self._separators) for clock in _CLOCKS)


def _date_part(spelled: str) -> str:
    return re.split(r"[ T]%[HI]", spelled, maxsplit=1)[0]


# ---- files ----------------------------------------------------------------------------------------------------------


def _encoding(path: Path) -> str:
    """Return the encoding its first bytes name, else UTF-8 if all of it is, else Windows-1252."""
    with path.open("rb") as content:
        head = content.read(4)
        if head.startswith(codecs.BOM_UTF8):
            return "utf-8-sig"
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        decoder = codecs.getincrementaldecoder("utf-8")()
        try:
            decoder.decode(head)
            while block := content.read(1 << 20):
                decoder.decode(block)
            decoder.decode(b"", final=True)
        except UnicodeDecodeError:
            return "cp1252"
    return "utf-8"


def _delimiter(head: str, wanted: set[str]) -> str:
    """Return the delimiter under which the header shows most of the wanted columns, else what the sniffer says."""
    line = head.splitlines()[0]
    shown = {
        delimiter: len(wanted & {cell.strip() for cell in next(csv.reader([line], delimiter=delimiter))})
        for delimiter in ",;\t|"
    }
    best = max(shown, key=lambda delimiter: (shown[delimiter], line.count(delimiter)))
    if shown[best]:
        return best
    try:
        return csv.Sniffer().sniff(head, ",;\t|").delimiter
    except csv.Error:
        return best


def _meant(name: str, header: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(name, header, n=1)
    return f'did you mean "{close[0]}"?' if close else f"there are: {', '.join(header[:12])}"


def _stamp(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_ino, status.st_size, status.st_mtime_ns


def _batched(cells: Iterator[tuple[str, ...]]) -> Iterator[list[tuple[str, ...]]]:
    while batch := list(islice(cells, BATCH)):
        yield batch


# ---- the stage ------------------------------------------------------------------------------------------------------


@contextmanager
def _stage_path() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="reconcile-") as folder:
        yield Path(folder) / "stage.db"


def _create(stage: Path, names: tuple[str, ...]) -> sqlite3.Connection:
    database = sqlite3.connect(stage)
    stage.chmod(0o600)
    database.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
    columns = ", ".join(f'"{name}"' + ("" if name == "all_day" else " TEXT") for name in names)
    database.execute(f"CREATE TABLE records ({columns})")
    return database


def _insert(database: sqlite3.Connection, names: tuple[str, ...], rows: list[tuple[str | None, ...]]) -> None:
    marks = ", ".join("?" * len(names))
    database.executemany(f"INSERT INTO records VALUES ({marks})", rows)  # noqa: S608 -- question marks


def _index(database: sqlite3.Connection, names: tuple[str, ...]) -> None:
    for name in ("id", "key"):
        if name in names:
            database.execute(f'CREATE INDEX "by_{name}" ON records ("{name}")')
