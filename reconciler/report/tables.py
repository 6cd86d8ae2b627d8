"""All findings of a report as files for other programs: CSV, a spreadsheet, JSON.

However many findings there are, they pass through one chunk after the other and are never held whole. A file appears
under its name when all of it is written, readable by its owner alone. No cell is more than text, a number or a time.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from datetime import date, datetime
from functools import lru_cache
from io import StringIO
from itertools import chain, islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Final
from zoneinfo import ZoneInfo

from reconciler.inert import Sink, inert
from reconciler.report import as_json
from reconciler.report.columns import COLUMNS, Column, Holds, Line, summary
from reconciler.report.words import zone_of

if TYPE_CHECKING:
    import pandas as pd
    from xlsxwriter.format import Format
    from xlsxwriter.workbook import Workbook
    from xlsxwriter.worksheet import Worksheet

    from reconciler.report.recorded import Recorded
    from reconciler.report.report import Report, Row

CHUNK: Final = 2_000
"""Findings that are held at a time."""

CELL: Final = 2_000
"""Characters of one cell; Excel takes 32,767."""

EXCEL: Final = 1_048_575
"""Findings that one sheet takes: Excel ends at 1,048,576 rows ("Excel specifications and limits"), one is headings."""

BOM: Final = b"\xef\xbb\xbf"
"""Begins the CSV: Excel on Windows takes a file without it for the machine's own code page and spoils every accent.

Google Sheets, LibreOffice and pandas skip it; Python reads such a file as `utf-8-sig`.
"""


# ---- files ----------------------------------------------------------------------------------------------------------


@contextmanager
def whole(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes its place when all of it is written, and never shows half; its owner alone may read it.

    What is there and is no file (a pipe, /dev/stdout) is written to as it is.
    """
    if path.exists() and not path.is_file():
        with path.open("wb") as stream:
            yield stream
        return
    target = path.resolve()  # behind a link, the file is replaced and not the link
    number, name = tempfile.mkstemp(prefix=f".{target.name[:60]}.", dir=target.parent)  # made with mode 0600
    try:
        with os.fdopen(number, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(number)
        Path(name).replace(target)
    except BaseException:
        with suppress(FileNotFoundError):
            Path(name).unlink()
        raise


def write_csv(report: Report, path: Path) -> None:
    """Write all findings as CSV."""
    _write(csv_chunks(report), path)


def write_json(recorded: Recorded, report: Report, path: Path) -> None:
    """Write the object of `--format json`."""
    _write((chunk.encode("ascii") for chunk in json_chunks(recorded, report)), path)


def _write(chunks: Iterable[bytes], path: Path) -> None:
    with whole(path) as stream:
        for chunk in chunks:
            stream.write(chunk)


# ---- tables ---------------------------------------------------------------------------------------------------------


def csv_chunks(report: Report) -> Iterator[bytes]:
    """Yield the CSV in pieces, each of whole lines: a heading, then a line for each finding."""
    yield BOM
    for number, frame in enumerate(_frames(report.rows(), Sink.CSV)):
        text = StringIO()
        frame.to_csv(text, index=False, header=number == 0, lineterminator="\r\n", date_format="%Y-%m-%dT%H:%M:%SZ")
        yield text.getvalue().encode("utf-8")


def _frames(rows: Iterator[Row], sink: Sink) -> Iterator[pd.DataFrame]:
    """Yield the findings as typed tables of at most `CHUNK` rows; one without rows where there are none."""
    import pandas as pd

    first = list(islice(rows, CHUNK))
    for chunk in chain([first], iter(lambda: list(islice(rows, CHUNK)), [])):
        yield pd.DataFrame({column.name: _typed(column, chunk, sink) for column in COLUMNS})


def _typed(column: Column, rows: Iterable[Row], sink: Sink) -> pd.Series[Any]:
    import pandas as pd

    values = [column.of(row) for row in rows]
    match column.holds:
        case Holds.STAMP:
            return pd.Series(pd.to_datetime(pd.Series(values, dtype="object"), utc=True), dtype="datetime64[s, UTC]")
        case Holds.COUNT:
            return pd.Series(values, dtype="int64")
        case _:
            return pd.Series([_cell_text(str(value), sink) for value in values], dtype="str")


@lru_cache(maxsize=CHUNK)
def _cell_text(value: str, sink: Sink) -> str:
    """Return a text as a cell holds it; columns are filled one after the other, and most say the same again."""
    return inert(value, sink, CELL)


# ---- the spreadsheet ------------------------------------------------------------------------------------------------


def write_xlsx(report: Report, path: Path, most: int = EXCEL) -> None:
    """Write a workbook: what the first screen says, and a sheet of all findings to sort and filter.

    A sheet takes `most` of them; where there are more, the summary says so first.
    """
    import pandas as pd

    # Rows go through the book, one after the other: pandas writes column by column, and a book that keeps one row in
    # memory would drop what comes late (XlsxWriter, "Working with Memory and Performance").
    safe = {"constant_memory": True, "strings_to_formulas": False, "strings_to_urls": False}
    with whole(path) as stream, pd.ExcelWriter(stream, engine="xlsxwriter", engine_kwargs={"options": safe}) as writer:
        book: Workbook = writer.book
        book.use_zip64()  # a sheet may take more than 4 GB before it is packed
        book.set_properties(
            {"title": inert(report.headline, Sink.XLSX), "created": report.made_at.replace(tzinfo=None)}
        )
        formats = {name: book.add_format(look) for name, look in _FORMATS.items()}
        first, findings = book.add_worksheet("Summary"), book.add_worksheet("Findings")
        shown, left_out = _fill(findings, report, _Clock(book, zone_of(report.zone)), formats, most)
        _sum_up(first, summary(report, shown, left_out), formats)


def _fill(sheet: Worksheet, report: Report, clock: _Clock, formats: Mapping[str, Format], most: int) -> tuple[int, int]:
    """Fill the sheet of findings; return how many it shows, and how many did not find room."""
    for place, column in enumerate(COLUMNS):
        timed = f" ({report.zone})" if column.holds in {Holds.WHEN, Holds.STAMP} else ""
        sheet.set_column(place, place, column.width)
        sheet.write_string(0, place, f"{column.heading}{timed}", formats["heading"])
    rows, count = report.rows(), 0
    for frame in _frames(islice(rows, most), Sink.XLSX):
        for values in frame.astype(object).where(frame.notna(), None).itertuples(index=False, name=None):
            count += 1
            _line(sheet, count, values, clock, formats)
    sheet.autofilter(0, 0, max(count, 1), len(COLUMNS) - 1)
    sheet.freeze_panes(1, 0)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    return count, sum(1 for _ in rows)


def _line(sheet: Worksheet, number: int, values: Sequence[Any], clock: _Clock, formats: Mapping[str, Format]) -> None:
    for place, (column, value) in enumerate(zip(COLUMNS, values, strict=True)):
        if value is None or value == "":
            continue
        match column.holds:
            case Holds.COUNT:
                sheet.write_number(number, place, value)
            case Holds.STAMP | Holds.WHEN:
                _write_when(sheet, (number, place), clock.told(value))
            case _:
                sheet.write_string(number, place, value, formats.get(_LOUD.get((column.name, value), "")))


def _write_when(sheet: Worksheet, at: tuple[int, int], when: str | tuple[float, Format]) -> None:
    """Write a time as one; where Excel has none for it, as text."""
    if isinstance(when, str):
        sheet.write_string(*at, when)
    else:
        sheet.write_number(*at, *when)


class _Clock:
    """Times as Excel keeps them, which knows no zones: by the clock on the wall.

    What a cell shows names the time that the zone has then (CDT, CST): an hour of autumn comes twice.
    """

    def __init__(self, book: Workbook, zone: ZoneInfo) -> None:
        self._book = book
        self._zone = zone
        self._looks: dict[str, Format] = {}
        self.told = lru_cache(maxsize=CHUNK)(self._told)  # findings of one run, and of one hour, have the same

    def _told(self, value: str | datetime) -> str | tuple[float, Format]:
        """Return what a cell holds and how it looks, for a stamp or a canonical time; or the text as it came."""
        try:
            when = _read(value) if isinstance(value, str) else value
        except ValueError:
            return str(value)
        if not _FIRST_YEAR < when.year < _LAST_YEAR:
            return str(value)
        if not isinstance(when, datetime):
            return float(_days(when)), self._look("")
        local = when.astimezone(self._zone)
        seconds = local.hour * 3600 + local.minute * 60 + local.second
        return _days(local) + seconds / _SECONDS, self._look(f' hh:mm "{local.tzname()}"')

    def _look(self, hour: str) -> Format:
        if hour not in self._looks:
            self._looks[hour] = self._book.add_format({"num_format": f"yyyy-mm-dd{hour}", "align": "left"})
        return self._looks[hour]


def _days(when: date) -> int:
    return when.toordinal() - _NOUGHT


def _read(value: str) -> datetime | date:
    return date.fromisoformat(value) if len(value) == _DATE else datetime.fromisoformat(value)


_DATE: Final = len("2026-11-24")
_NOUGHT: Final = date(1899, 12, 30).toordinal()  # from March 1900 on, Excel counts days as if from there
_SECONDS: Final = 24 * 60 * 60
_FIRST_YEAR: Final = 1900  # the zone may move a time across the end of a year
_LAST_YEAR: Final = 9999


_FORMATS: Final[Mapping[str, Mapping[str, object]]] = {
    "heading": {"bold": True, "bottom": 1, "bg_color": "#E8EAED", "text_wrap": True, "valign": "top"},
    "critical": {"bold": True, "font_color": "#B3261E"},
    "high": {"bold": True},
    "mood": {"bold": True, "font_size": 15, "text_wrap": True},
    "part": {"bold": True, "top": 1, "valign": "top"},
    "alarm": {"bold": True, "font_color": "#B3261E", "text_wrap": True, "valign": "top"},
    "text": {"text_wrap": True, "valign": "top"},
    "number": {"align": "left"},
}
_LOUD: Final = {("severity", "critical"): "critical", ("severity", "high"): "high", ("standing", "needs_you"): "high"}


def _sum_up(sheet: Worksheet, lines: Iterable[Line], formats: Mapping[str, Format]) -> None:
    sheet.set_column(0, 0, 34)
    sheet.set_column(1, 1, 110)
    sheet.hide_gridlines(2)
    sheet.set_landscape()
    sheet.fit_to_pages(1, 0)
    for number, (look, cells) in enumerate(lines):
        for place, cell in enumerate(cells):
            if isinstance(cell, int):
                sheet.write_number(number, place, cell, formats[look])
            else:
                sheet.write_string(number, place, inert(cell, Sink.XLSX, CELL), formats[look])


# ---- JSON -----------------------------------------------------------------------------------------------------------


def json_chunks(recorded: Recorded, report: Report) -> Iterator[str]:
    """Yield the object of `--format json` in pieces of ASCII: it survives every terminal, log and locale.

    One walk through the findings fills all lists; they wait in temporary files until their turn to be told.
    """
    with ExitStack() as files:
        lists = {name: _List(files.enter_context(_spooled())) for name in as_json.LISTS}
        for name, item in as_json.items(recorded, report):
            lists[name].add(item)
        for number, (name, value) in enumerate(as_json.head(recorded, report).items()):
            yield f"{',' if number else '{'}\n  {_dumped(name)}: {_dumped(value)}"
        for name, waiting in lists.items():
            yield f",\n  {_dumped(name)}: ["
            yield from waiting.chunks()
            yield "]"
        yield "\n}\n"


def _spooled() -> AbstractContextManager[IO[str]]:
    return tempfile.SpooledTemporaryFile(_SPOOL, "w+", encoding="ascii")


class _List:
    """The items of one list of a JSON object, on disk where they are many."""

    def __init__(self, file: IO[str]) -> None:
        self._file = file
        self._count = 0

    def add(self, item: Mapping[str, Any]) -> None:
        """Take one item more."""
        self._file.write(f"{',' if self._count else ''}\n    {_dumped(item)}")
        self._count += 1

    def chunks(self) -> Iterator[str]:
        """Yield all that was taken, as it stands in a list."""
        self._file.seek(0)
        yield from iter(lambda: self._file.read(_SPOOL), "")
        yield "\n  " if self._count else ""


_SPOOL: Final = 1_000_000
"""Characters of a list that are kept in memory, and read from a file at a time."""


def _dumped(value: object) -> str:
    return json.dumps(value, allow_nan=False)
