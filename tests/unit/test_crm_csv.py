from __future__ import annotations

import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.crm import csv as exports
from reconciler.crm.csv import CsvReader, CsvSpec, Times, detected
from reconciler.errors import ConfigError, CrmUnreachableError, SnapshotError
from reconciler.model import Agent, Record, Window

WINDOW = Window(datetime(2026, 11, 15, tzinfo=UTC), datetime(2027, 1, 21, tzinfo=UTC))
COLUMNS = {
    "id": "Id",
    "key": "Key",
    "agent": "Owner",
    "title": "Subject",
    "start": "Start",
    "end": "End",
    "all_day": "All day",
    "status": "Status",
}
HEADER = "Id,Key,Owner,Subject,Start,End,All day,Status"
STATUS = {"confirmed": ("Scheduled",), "cancelled": ("Cancelled",)}


def row(
    number: int = 1, start: str = "2026-11-24 15:00", end: str = "2026-11-24 16:00", subject: str = "Viewing"
) -> str:
    return f"{number},k{number},Ann@acme.example,{subject},{start},{end},no,Scheduled"


def reader(path: Path, **changed: str) -> CsvReader:
    spec = CsvSpec(
        path=str(path),
        columns=COLUMNS,
        status=STATUS,
        time=changed.get("time", "utc"),
        delimiter=changed.get("delimiter"),
        encoding=changed.get("encoding"),
        date_format=changed.get("date_format"),
    )
    return CsvReader(spec, resolve=lambda name: Agent(email="ann@acme.example") if name else None)


def records(path: Path, **changed: str) -> list[Record]:
    with reader(path, **changed).snapshot() as snapshot:
        return [record for chunk in snapshot.chunks(WINDOW) for record in chunk.records()]


@pytest.fixture
def export(tmp_path: Path) -> Path:
    return tmp_path / "export.csv"


def write(path: Path, lines: Iterable[str], *, encoding: str = "utf-8", end: str = "\n") -> None:
    path.write_bytes((end.join([HEADER, *lines]) + end).encode(encoding))


def test_a_line_reads_as_canonical_fields(export: Path) -> None:
    write(export, [row()])
    (record,) = records(export)
    assert record.fields == {
        "agent": "ann@acme.example",
        "title": "Viewing",
        "start": "2026-11-24T15:00:00Z",
        "end": "2026-11-24T16:00:00Z",
        "all_day": False,
        "status": "confirmed",
    }
    assert (record.id, record.key, record.problem) == ("1", "k1", None)


def test_ids_and_keys_are_found_outside_the_window(export: Path) -> None:
    write(export, [row(1), row(2, "2020-01-01 10:00", "2020-01-01 11:00")])
    with reader(export).snapshot() as snapshot:
        assert [record.id for record in snapshot.by_ids(["2", "9"])] == ["2"]
        assert [record.id for record in snapshot.by_keys(["k2", "K2"])] == ["2"]


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("11/24/2026 3:00 PM", "11/24/2026 4:00 PM"),
        ("11/24/2026 15:00", "11/24/2026 16:00:00"),
        ("24.11.2026 15:00", "24.11.2026 16:00"),
        ("24/11/2026 15:00", "24/11/2026 16:00"),
        ("2026-11-24T15:00:00Z", "2026-11-24T10:00:00-06:00"),
        ("2026-11-24 15:00:00.123", "2026-11-24 16:00:00 UTC"),
    ],
)
def test_spellings_of_times_are_detected(export: Path, start: str, end: str) -> None:
    write(export, [row(1, start, end)])
    (record,) = records(export)
    assert (record.fields["start"], record.fields["end"]) == ("2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z")


def test_one_unmistakable_date_decides_for_all(export: Path) -> None:
    write(export, [row(1, "03/12/2026 10:00", "03/12/2026 11:00"), row(2, "13/12/2026 10:00", "13/12/2026 11:00")])
    assert [record.fields["start"] for record in records(export)] == ["2026-12-03T10:00:00Z", "2026-12-13T10:00:00Z"]


@pytest.mark.parametrize(
    ("start", "says"),
    [(["03/12/2026 10:00"], "could be day first"), (["13/12/2026 10:00", "12/13/2026 10:00"], "mix day first")],
)
def test_day_or_month_first_is_asked_not_guessed(export: Path, start: list[str], says: str) -> None:
    write(export, [row(number, day, day) for number, day in enumerate(start)])
    with pytest.raises(ConfigError, match=says) as caught:
        records(export)
    assert "date_format" in str(caught.value)


def test_a_named_format_settles_it(export: Path) -> None:
    write(export, [row(1, "03/12/2026 10:00", "03/12/2026 11:00")])
    assert records(export, date_format="%d/%m/%Y %H:%M")[0].fields["start"] == "2026-12-03T10:00:00Z"


def test_a_date_that_follows_another_format_is_a_problem(export: Path) -> None:
    write(export, [row(1, "24.11.2026 15:00", "24.11.2026 16:00"), row(2, "soon", "24.11.2026 16:00")])
    assert {record.id: record.problem for record in records(export)} == {
        "1": None,
        "2": "its start is not a date and time",
    }


def test_all_day_dates_stay_dates(export: Path) -> None:
    line = "1,k1,Ann@acme.example,Fair,24.11.2026,25.11.2026,yes,Scheduled"
    write(export, [line])
    (record,) = records(export, time="local:America/Chicago")
    assert (record.fields["start"], record.fields["end"], record.fields["all_day"]) == (
        "2026-11-24",
        "2026-11-25",
        True,
    )


@pytest.mark.parametrize(
    ("encoding", "subject"),
    [("utf-8", "Besichtigung Süd"), ("utf-8-sig", "Größe"), ("cp1252", "Café — 5 €"), ("utf-16", "Žižkov")],
)
def test_encodings_are_detected(export: Path, encoding: str, subject: str) -> None:
    write(export, [row(1, subject=subject)], encoding=encoding)
    assert records(export)[0].fields["title"] == subject


@pytest.mark.parametrize("delimiter", [";", "\t", "|"])
def test_delimiters_are_detected(export: Path, delimiter: str) -> None:
    export.write_text("\n".join(line.replace(",", delimiter) for line in (HEADER, row(1), "")))
    assert [record.id for record in records(export)] == ["1"]


def test_quotes_line_breaks_and_formulas_are_plain_text(export: Path) -> None:
    write(
        export, [row(1, subject='"a ""b"", c\nd"'), row(2, subject="=HYPERLINK(1)"), row(3, subject="NA")], end="\r\n"
    )
    assert [record.fields["title"] for record in records(export)] == ['a "b", c d', "=HYPERLINK(1)", "NA"]


def test_a_missing_column_is_named_with_what_may_be_meant(export: Path) -> None:
    export.write_text(HEADER.replace("Subject", "Subjct") + "\n" + row())
    with pytest.raises(ConfigError, match=r'no column "Subject" \(did you mean "Subjct"\?\)'):
        _ = reader(export).shape
    with pytest.raises(SnapshotError, match="no longer is what it was"):
        _ = CsvReader(reader(export)._spec, resolve=lambda _: None, known=True).shape


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("", "is empty"),
        (f"{HEADER}\n{row(1)}\n2,k2,Ann", "damaged at line 3: 3 cells where the header has 8"),
        (f"{HEADER}\n{row(1)},extra\n{row(2)}\n", "damaged at line 2: 9 cells"),
        (f'{HEADER}\n{row(1)}\n2,k2,"Ann', "damaged at line 3"),
    ],
)
def test_what_was_not_read_whole_says_nothing(export: Path, content: str, says: str) -> None:
    export.write_text(content)
    with pytest.raises(SnapshotError, match=says):
        records(export)


def test_a_file_that_changes_while_it_is_read_says_nothing(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(export, [row()])

    def grow(*_: object) -> None:
        with export.open("a") as more:
            more.write(row(2) + "\n")

    monkeypatch.setattr(exports, "_index", grow)
    with pytest.raises(SnapshotError, match="changed while it was read"):
        records(export)


def test_a_missing_file_is_unreachable(export: Path) -> None:
    with pytest.raises(CrmUnreachableError, match=r"export\.csv can't be read: No such file"):
        records(export)


def test_shared_and_missing_ids_are_problems(export: Path) -> None:
    write(export, [row(1), row(1, subject="again"), row(2).replace("2,", ",", 1), row(3)])
    assert [(record.id, record.problem) for record in records(export)] == [
        ("", "it has no id"),
        ("1", "more than one row has its id"),
        ("1", "more than one row has its id"),
        ("3", None),
    ]


def test_nothing_can_be_written_and_no_folder_is_shown(export: Path) -> None:
    write(export, [row()])
    opened = reader(export)
    assert opened.shape.can == frozenset()
    assert opened.shape.mapped == set(COLUMNS) - {"id"}
    assert str(export.parent) not in opened.identity + opened.checks()[0].says
    assert opened.fingerprint != reader(export, time="local:Europe/Berlin").fingerprint


def test_the_stage_is_private_and_goes_away(export: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    write(export, [row()])
    with reader(export).snapshot() as snapshot:
        (stage,) = tmp_path.glob("reconcile-*/stage.db")
        assert stage.stat().st_mode & 0o777 == 0o600
        assert len(list(snapshot.chunks(WINDOW))) == 1
    assert [left.name for left in tmp_path.iterdir()] == ["export.csv"]


def test_memory_stays_bounded(export: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exports, "BATCH", 500)
    write(export, (row(number, subject="x" * 200) for number in range(20_000)))
    tracemalloc.start()
    with reader(export).snapshot() as snapshot:
        count = sum(chunk.count for chunk in snapshot.chunks(WINDOW))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 20_000
    assert peak < export.stat().st_size * 2  # all rows as Python objects would be ten times the file


def test_formats_cover_the_clock_and_bare_dates() -> None:
    formats = detected(["24/11/2026 3:00 pm"])
    rows = Times(formats).read([("24/11/2026 3:00 pm",), ("24/11/2026",), ("",), ("2026-11-24",)], ("start",))
    assert rows == [("2026-11-24T15:00:00",), ("2026-11-24",), (None,), ("2026-11-24",)]
