"""The faces of a report: a mail that no mail program clips, text of a hundred columns, tables, JSON, messages.

What they look like is in tests/golden/. `GOLDEN=update make test ARGS=tests/unit/test_faces.py` writes it anew: look at
the difference before it is committed.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Final

import html5lib
import openpyxl
import pandas as pd
import pytest

from reconciler.model import Fields
from reconciler.report import as_json, bars, chat, tables
from reconciler.report.build import build
from reconciler.report.columns import COLUMNS
from reconciler.report.look import Mood, Next
from reconciler.report.recorded import Stream, Tracked
from reconciler.report.render import MAIL_LIMIT, mail_page, text
from reconciler.report.report import Brand, Figure, Report, Row, Standing
from tests.recorded import LOOK, findings, recorded
from tests.reports import long_report, many_rows, safe_report, sample_report

LONG: Final = ("'" * 200, "🏡" * 200, "&" * 200, "<b>" * 70, "word " * 40)
"""Texts that take more room, in HTML or in JSON, than they have characters."""

GOLDEN: Final = Path(__file__).resolve().parents[1] / "golden"
BAD: Final = {"zone": "America/Chicago"}


def worded(value: Any, words: str) -> Any:
    """Return a report, or a part of one, with `words` wherever a text stands in it, as long as they may be."""
    match value:
        case Brand() | Enum():
            return value
        case str():
            return words if value else value
        case tuple():
            return tuple(worded(each, words) for each in value)
        case _ if is_dataclass(value) and not isinstance(value, type):
            ours = {"digest", "zone", "calendar_link", "crm_link"}
            return replace(
                value,
                **{
                    each.name: worded(getattr(value, each.name), words)
                    for each in fields(value)
                    if each.name not in ours
                },
            )
        case _:
            return value


# ---- golden files ---------------------------------------------------------------------------------------------------


def written_csv(report: Report) -> str:
    return b"".join(tables.csv_chunks(report)).decode("utf-8")


def written_xlsx(report: Report, folder: Path) -> str:
    """Return every cell of the workbook, as a reader of spreadsheets gives it."""
    tables.write_xlsx(report, folder / "report.xlsx")
    book = openpyxl.load_workbook(folder / "report.xlsx")
    sheets = {
        sheet.title: [[_cell(cell) for cell in row] for row in sheet.iter_rows(values_only=True)] for sheet in book
    }
    return "\n".join(f"{name}\t{json.dumps(row)}" for name, rows in sheets.items() for row in rows) + "\n"


def _cell(value: object) -> object:
    return f"{value:%Y-%m-%d %H:%M}" if isinstance(value, datetime) else value


def written_json(report: Report) -> str:
    known = recorded()
    return "".join(tables.json_chunks(known, replace(report, rows=build(known, LOOK).rows)))


def dumped(message: Mapping[str, Any]) -> str:
    return json.dumps(message, indent=1, ensure_ascii=False) + "\n"


FACES: Final[dict[str, Callable[[Report, Path], str]]] = {
    "mail.html": lambda report, _: mail_page(report),
    "report.txt": lambda report, _: text(report),
    "report.csv": lambda report, _: written_csv(report),
    "report.xlsx.txt": written_xlsx,
    "report.json": lambda report, _: written_json(report),
    "slack.json": lambda report, _: dumped(chat.slack(report)),
    "teams.json": lambda report, _: dumped(chat.teams(report)),
    "chat.json": lambda report, _: dumped(chat.plain(report)),
}
QUIET: Final = {"mail.html", "report.txt", "slack.json"}


@pytest.mark.parametrize("face", FACES)
def test_each_face_of_a_bad_morning_looks_as_it_did(face: str, tmp_path: Path) -> None:
    compare(face, FACES[face](sample_report(**BAD), tmp_path))


@pytest.mark.parametrize("face", sorted(QUIET))
def test_each_face_of_a_quiet_morning_looks_as_it_did(face: str, tmp_path: Path) -> None:
    compare(f"quiet-{face}", FACES[face](safe_report(**BAD), tmp_path))


def compare(name: str, shown: str) -> None:
    file = GOLDEN / name
    if os.environ.get("GOLDEN") == "update":
        file.write_text(shown, encoding="utf-8", newline="")
    with file.open(encoding="utf-8", newline="") as kept:
        assert shown == kept.read(), f"{name} looks otherwise; see at the head of this file how to renew it"


# ---- mail -----------------------------------------------------------------------------------------------------------


def test_a_mail_speaks_of_a_table_only_where_one_is_attached() -> None:
    report = long_report(500)
    assert "in the attached table" in mail_page(report)
    assert "attached" not in mail_page(report, attached=False)


def test_commands_in_a_mail_name_the_job_as_commands_do() -> None:
    found = mail_page(replace(long_report(500), word="jobs/other/acme.toml", causes=sample_report().causes * 9))
    assert "reconcile report jobs/other/acme.toml shows them" in found


def tree(html: str) -> Any:
    return html5lib.parse(html, treebuilder="etree", namespaceHTMLElements=False)


def said(html: str) -> str:
    body = tree(html).find("body")
    return " ".join(" ".join(body.itertext()).split())


@pytest.mark.parametrize("report", [sample_report(), safe_report(), long_report(100_000)], ids=["bad", "quiet", "long"])
def test_a_mail_is_of_tables_and_styles_alone(report: Report) -> None:
    elements = {str(each.tag) for each in tree(mail_page(report)).iter()}
    known = {"html", "head", "meta", "title", "style", "body", "table", "tbody", "tr", "td", "div", "span", "h1", "h2"}
    assert elements <= known | {"b", "br", "a"}, "no script, no image, no drawing: mail programs take them out"


def test_a_mail_is_html_without_errors() -> None:
    parser = html5lib.HTMLParser(strict=True)
    parser.parse(mail_page(sample_report()))
    parser.parse(mail_page(safe_report()))


@pytest.mark.parametrize("words", LONG)
def test_no_mail_is_long_enough_to_be_clipped(words: str) -> None:
    rows = tuple(many_rows(30))
    sample = sample_report()
    sections = tuple(replace(section, rows=rows, count=100_000) for section in sample.sections * 4)
    longest = replace(
        sample,
        sections=sections,
        unseen=sample.unseen * 20,
        causes=sample.causes * 10,
        notes=sample.notes * 20,
        lines=sample.lines * 20,
        following=sample.following * 20,
        figures=sample.figures * 10,
        trends=sample.trends * 4,
    )
    assert len(mail_page(worded(longest, words)).encode()) <= MAIL_LIMIT < 102_000


def test_a_short_mail_leaves_nothing_out_that_its_sections_list() -> None:
    shown = said(mail_page(sample_report()))
    assert all(row.key in shown for section in sample_report().sections for row in section.rows if row.standing.is_open)


def test_a_mail_says_first_what_was_not_seen() -> None:
    shown = said(mail_page(sample_report()))
    order = ["BLIND", "Not seen", "dee@acme.example", "Refused", "Critical", "Causes", "Double booked", "What to type"]
    assert sorted(order, key=shown.index) == order


def test_what_has_no_source_is_named_without_one(tmp_path: Path) -> None:
    [calendar, *_] = sample_report().unseen
    report = sample_report(unseen=(replace(calendar, name="the CRM", source=""),))
    tables.write_xlsx(report, tmp_path / "report.xlsx")
    summary = openpyxl.load_workbook(tmp_path / "report.xlsx")["Summary"]
    message = " ".join(line.text for line in chat.lines(report))
    for shown in (said(mail_page(report)), text(report), message, str(summary["A3"].value)):
        assert "the CRM" in shown
        assert "()" not in shown


def test_a_quiet_mail_is_one_line_and_when_it_was_made() -> None:
    shown = said(mail_page(safe_report()))
    assert "All 14 calendars agree with the CRM" in shown
    assert "Critical" not in shown
    assert len(shown) < 700


def test_a_quiet_morning_with_something_open_is_told_whole() -> None:
    quiet = sample_report(is_quiet=True, mood=Mood.NEEDS_YOU)
    assert "Double booked" in said(mail_page(quiet))
    assert "Double booked" in text(quiet)


def test_a_link_that_is_not_https_is_no_link() -> None:
    spoilt = [replace(row, calendar_link="javascript:x", crm_link="") for row in sample_report().sections[0].rows]
    section = replace(sample_report().sections[0], rows=tuple(spoilt))
    assert "<a " not in mail_page(sample_report(sections=(section,)))


def test_a_mail_bears_the_colour_of_the_brokerage_and_text_that_can_be_read_on_it() -> None:
    yellow = mail_page(sample_report(brand=Brand(title="Acme", colour="#ffee00")))
    assert "background:#ffee00;color:#000000" in yellow
    assert "color:url" not in mail_page(sample_report(brand=Brand(title="Acme", colour="red;color:url(x)")))


def test_a_mail_has_a_template_of_the_brokerage_or_ours_with_a_note(tmp_path: Path) -> None:
    (tmp_path / "mail.html.j2").write_text("<p>{{ report.headline }} {{ most }}")
    assert mail_page(sample_report(), tmp_path) == "<p>2 of 14 calendars were not seen, and 4 findings need you 8"
    (tmp_path / "mail.html.j2").write_text("{{ report.no_such_thing.at_all }}")
    shown = said(mail_page(sample_report(), tmp_path))
    assert "mail.html.j2 can't be used" in shown
    assert "Double booked" in shown


# ---- text -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", LONG)
def test_text_is_a_hundred_columns_wide(words: str) -> None:
    report = worded(replace(sample_report(), following=(), causes=()), words)
    assert max(map(len, text(report).split("\n"))) <= 100


def test_a_command_is_never_parted() -> None:
    command = "reconcile resolve --agent " + "a" * 200 + "@acme.example --take calendar"
    assert f"    {command}\n" in text(sample_report(following=(Next("To settle it", command),)))


def test_a_quiet_text_is_one_line() -> None:
    assert text(safe_report()).strip().count("\n") == 0
    assert text(safe_report()).startswith("SAFE acme: All 14 calendars agree with the CRM (")


def test_a_template_that_fails_is_told_of_even_when_all_is_well(tmp_path: Path) -> None:
    (tmp_path / "report.txt.j2").write_text("{% nonsense %}")
    shown = text(safe_report(), tmp_path)
    assert shown.startswith("SAFE acme")
    assert "report.txt.j2 can't be used" in shown


def test_a_trend_is_told_in_blocks_and_in_words() -> None:
    assert "▃▃▃▃▃▃▃▃▃▃ ▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃▃██  Open: 34 yesterday" in text(sample_report())


def test_the_least_there_is_shows_and_nothing_is_nothing() -> None:
    [trend, *_] = sample_report().trends
    days = [day for day, _ in trend.points]
    trend = replace(trend, points=tuple(zip(days, (1000.0, 1.0, 0.0, None), strict=False)))
    assert bars.blocks(trend) == "█▁· "
    assert bars.blocks(replace(trend, points=())) == ""
    top, *_, bottom = bars.cells(trend)
    assert top == (bars.Run(1, is_filled=True), bars.Run(3, is_filled=False))
    assert bottom == (bars.Run(2, is_filled=True), bars.Run(2, is_filled=False))


# ---- CSV ------------------------------------------------------------------------------------------------------------


def read_csv(report: Report) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(b"".join(tables.csv_chunks(report)).decode("utf-8-sig"))))


def test_a_csv_has_every_finding_with_its_times_as_scripts_read_them() -> None:
    rows = read_csv(sample_report())
    assert [row["key"] for row in rows] == [row.key for row in sample_report().rows()]
    assert rows[0]["first_seen"] == "2026-11-23T09:55:00Z"
    assert rows[0]["calendar_start"] == "2026-11-24T17:00:00Z"
    assert rows[0]["resolved_at"] == ""
    assert rows[0]["sightings"] == "12"


def test_a_csv_opens_in_excel_with_its_accents() -> None:
    written = b"".join(tables.csv_chunks(long_report(1)))
    assert written.startswith(b"\xef\xbb\xbf")
    assert len(pd.read_csv(io.BytesIO(written))) == 1


def test_tables_without_findings_have_their_headings(tmp_path: Path) -> None:
    assert written_csv(safe_report()).lstrip("\ufeff") == ",".join(column.name for column in COLUMNS) + "\r\n"
    tables.write_xlsx(safe_report(), tmp_path / "a.xlsx")
    assert openpyxl.load_workbook(tmp_path / "a.xlsx")["Findings"].max_row == 1


def test_chunks_are_drawn_one_after_the_other() -> None:
    drawn = 0

    def rows() -> Iterator[Row]:
        nonlocal drawn
        for drawn, row in enumerate(many_rows(3 * tables.CHUNK), 1):  # noqa: B007 - it is read outside
            yield row

    chunks = tables.csv_chunks(sample_report(rows=rows))
    assert [next(chunks), drawn] == [tables.BOM, 0]
    assert next(chunks).count(b"\r\n") == tables.CHUNK + 1
    assert drawn == tables.CHUNK
    assert sum(chunk.count(b"\r\n") for chunk in chunks) == 2 * tables.CHUNK
    assert [drawn, list(chunks)] == [3 * tables.CHUNK, []]


def test_pandas_is_loaded_when_a_table_is_written() -> None:
    program = "import sys; import reconciler.report.tables, reconciler.report.chat; print('pandas' in sys.modules)"
    assert subprocess.check_output([sys.executable, "-c", program], cwd=GOLDEN.parents[1], text=True) == "False\n"


# ---- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_its_owners_alone_and_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    file = tmp_path / "report.csv"
    file.write_text("old")
    file.chmod(0o644)
    tables.write_csv(sample_report(), file)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("name", ["report.csv", "report.xlsx", "report.json"])
def test_a_file_that_cannot_be_finished_leaves_the_old_one(name: str, tmp_path: Path) -> None:
    def rows() -> Iterator[Row]:
        yield from many_rows(3)
        raise ConnectionError("the state went away")

    def lost() -> Iterator[Tracked]:
        yield from findings()
        raise ConnectionError("the state went away")

    file = tmp_path / name
    file.write_text("old")
    broken = sample_report(rows=rows)
    writers: dict[str, Callable[[], None]] = {
        "report.csv": lambda: tables.write_csv(broken, file),
        "report.xlsx": lambda: tables.write_xlsx(broken, file),
        "report.json": lambda: tables.write_json(recorded(findings=Stream(lost)), sample_report(rows=rows), file),
    }
    with pytest.raises(ConnectionError):
        writers[name]()
    assert file.read_text() == "old"
    assert list(tmp_path.iterdir()) == [file]


def test_a_link_to_a_file_stays_one(tmp_path: Path) -> None:
    (tmp_path / "kept.csv").write_text("old")
    (tmp_path / "latest.csv").symlink_to(tmp_path / "kept.csv")
    tables.write_csv(long_report(1), tmp_path / "latest.csv")
    assert (tmp_path / "latest.csv").is_symlink()
    assert "Showing 0 Oak St" in (tmp_path / "kept.csv").read_text()


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()), daemon=True)
    reader.start()
    tables.write_csv(long_report(1), pipe)
    reader.join(timeout=30)
    assert read[0].startswith(tables.BOM)
    assert pipe.is_fifo()


# ---- the spreadsheet ------------------------------------------------------------------------------------------------


def findings_sheet(report: Report, folder: Path, most: int = tables.EXCEL) -> Any:
    tables.write_xlsx(report, folder / "report.xlsx", most)
    return openpyxl.load_workbook(folder / "report.xlsx")["Findings"]


def column(sheet: Any, name: str) -> list[Any]:
    return [cell.value for cell in cells(sheet, name)]


def shown_as(sheet: Any, name: str) -> list[str]:
    return [cell.number_format for cell in cells(sheet, name)]


def cells(sheet: Any, name: str) -> list[Any]:
    place = [each.name for each in COLUMNS].index(name) + 1
    return [sheet.cell(row, place) for row in range(2, sheet.max_row + 1)]


def test_times_of_a_spreadsheet_are_times_in_the_zone_that_its_heading_names(tmp_path: Path) -> None:
    sheet = findings_sheet(sample_report(**BAD), tmp_path)
    assert column(sheet, "first_seen")[0] == datetime(2026, 11, 23, 3, 55)  # noqa: DTZ001 - Excel knows no zones
    assert column(sheet, "calendar_start")[0] == datetime(2026, 11, 24, 11, 0)  # noqa: DTZ001
    assert "First seen (America/Chicago)" in [cell.value for cell in sheet[1]]


def test_the_hour_that_autumn_has_twice_says_in_its_cell_which_one_it_is(tmp_path: Path) -> None:
    [row, *_] = sample_report().rows()
    starts = ["2026-11-01T06:30:00Z", "2026-11-01T07:30:00Z", "2026-11-01"]
    rows = [replace(row, calendar_start=start, first_seen=datetime.fromisoformat(starts[0])) for start in starts]
    sheet = findings_sheet(sample_report(rows=lambda: iter(rows)), tmp_path)
    assert column(sheet, "calendar_start")[:2] == [datetime.fromisoformat("2026-11-01T01:30:00")] * 2
    assert shown_as(sheet, "calendar_start") == ['yyyy-mm-dd hh:mm "CDT"', 'yyyy-mm-dd hh:mm "CST"', "yyyy-mm-dd"]
    assert shown_as(sheet, "first_seen") == ['yyyy-mm-dd hh:mm "CDT"'] * 3


def test_days_stay_days_and_what_excel_cannot_count_stays_text(tmp_path: Path) -> None:
    [row, *_] = sample_report().rows()
    starts = ["2026-11-24", "1899-12-31T12:00:00Z", "9999-12-31", "noon", "0001-01-01", ""]
    rows = [replace(row, calendar_start=start) for start in starts]
    sheet = findings_sheet(sample_report(rows=lambda: iter(rows)), tmp_path)
    day, *others = column(sheet, "calendar_start")
    assert day == datetime(2026, 11, 24)  # noqa: DTZ001
    assert others == ["1899-12-31T12:00:00Z", "9999-12-31", "noon", "0001-01-01", None]


def test_the_headings_of_a_spreadsheet_stay_in_sight_and_filter(tmp_path: Path) -> None:
    sheet = findings_sheet(sample_report(), tmp_path)
    assert sheet.freeze_panes == "A2"
    assert sheet.auto_filter.ref == f"A1:AE{1 + len(list(sample_report().rows()))}"
    assert sheet.column_dimensions["H"].width > 20


def test_what_a_sheet_has_no_room_for_is_said_on_the_first(tmp_path: Path) -> None:
    sheet = findings_sheet(long_report(25), tmp_path, most=10)
    assert sheet.max_row == 11
    summary = openpyxl.load_workbook(tmp_path / "report.xlsx")["Summary"]
    assert summary["A3"].value == "The sheet Findings holds 10 of 25 findings; the CSV has all of them."
    assert tables.EXCEL == 2**20 - 1


def test_the_first_sheet_says_first_what_was_not_seen(tmp_path: Path) -> None:
    tables.write_xlsx(sample_report(), tmp_path / "report.xlsx")
    book = openpyxl.load_workbook(tmp_path / "report.xlsx")
    first = [row[0] for row in book["Summary"].iter_rows(values_only=True)]
    assert book.sheetnames == ["Summary", "Findings"]
    assert str(first[0]).startswith("BLIND: ")
    assert str(first[2]).startswith("NOT SEEN: dee@acme.example")


# ---- JSON -----------------------------------------------------------------------------------------------------------


def read_json(**given: Any) -> dict[str, Any]:
    known = recorded(**given)
    found: dict[str, Any] = json.loads("".join(tables.json_chunks(known, build(known, LOOK))))
    return found


def keys(found: list[dict[str, Any]]) -> list[str]:
    return [each["key"] for each in found]


def test_the_json_has_the_last_result_and_what_is_new_open_and_over() -> None:
    found = read_json()
    assert [found[name] for name in ("format_version", "job", "run", "status")] == [
        1,
        "acme",
        recorded().runs[0].id,
        "partial",
    ]
    assert keys(found["new"]) == ["gap", "person", "refused"]
    assert keys(found["open"]) == ["known-for-days", "put-off"]
    assert keys(found["resolved"]) == ["written", "over"]
    assert keys(found["accepted"]) == ["accepted"]


def test_the_result_in_the_json_is_of_the_last_run_alone() -> None:
    found = read_json()
    assert "over" not in keys(found["findings"])
    assert "a-moment-old" in keys(found["findings"])
    outcomes = [(each["key"], each["outcome"]) for each in found["deltas"]]
    assert outcomes == [("refused", "failed"), ("put-off", "deferred"), ("written", "done"), ("uid9", "done")]
    assert found["deltas"][-1]["fields"] == {"title": ["Old", "New"]}


def test_a_finding_in_the_json_reads_as_in_a_result() -> None:
    [person] = [each for each in read_json()["new"] if each["key"] == "refused"]
    assert person["fields"] == {"start": ["2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z"]}
    assert [person[name] for name in ("action", "matched_by", "first_seen", "sightings", "standing")] == [
        "fix",
        "key",
        "2026-11-23T09:55:00Z",
        36,
        Standing.FAILED,
    ]
    assert person["has"]["calendar"]["title"] == "Showing 12 Oak St"


def test_calendars_in_the_json_say_which_was_not_seen() -> None:
    calendars = {each["agent"]: each["observed"] for each in read_json()["calendars"]}
    assert calendars == {"ann@acme.example": True, "bob@acme.example": False}


def test_the_json_of_a_job_that_never_ran_is_an_object_too() -> None:
    found = read_json(last=None, runs=(), findings=(), fixes=(), calendars=())
    assert [found[name] for name in ("run", "status", *as_json.LISTS)] == [None, None, [], [], [], [], [], []]


def test_rows_in_another_order_than_their_findings_are_not_told_of_the_wrong_ones() -> None:
    known = recorded()
    turned = replace(known, findings=tuple(reversed(findings())))
    with pytest.raises(AssertionError, match="another order"):
        list(as_json.items(known, build(turned, LOOK)))


def test_long_lists_wait_on_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = read_json()
    monkeypatch.setattr(tables, "_SPOOL", 10)
    assert read_json() == whole


def test_the_json_is_ascii_whatever_a_calendar_says() -> None:
    known = recorded()
    spoilt = [replace(each, finding=replace(each.finding, why="Zoë \ud800 🏡")) for each in known.findings]
    known = replace(known, findings=spoilt)
    written = "".join(tables.json_chunks(known, build(known, LOOK)))
    assert written.isascii()
    assert json.loads(written)["new"][0]["why"] == "Zoë \ud800 🏡"


def test_what_the_journal_keeps_raw_is_bounded_and_does_nothing_in_the_json() -> None:
    known = recorded()
    [revert] = known.fixes
    raw: Fields = {"title": "\x1b[31m" + "x" * 10_000, "contact": ("a@home.example",) * 1_000}
    known = replace(known, fixes=(replace(revert, run=known.last.id if known.last else "", after=raw),))
    told = json.loads("".join(tables.json_chunks(known, build(known, LOOK))))["deltas"][-1]["fields"]
    assert len(told["title"][1]) <= 500
    assert "\x1b" not in told["title"][1]
    assert len(told["contact"][1]) < 100


# ---- chat -----------------------------------------------------------------------------------------------------------

MESSAGES: Final = {"slack": chat.SLACK_LIMIT, "teams": chat.TEAMS_LIMIT, "plain": chat.PLAIN_LIMIT}


def made(name: str, report: Report) -> dict[str, Any]:
    makers = {"slack": chat.slack, "teams": chat.teams, "plain": chat.plain}
    return makers[name](report)


def texts(value: object) -> Iterator[str]:
    match value:
        case dict():
            for each in value.values():
                yield from texts(each)
        case list():
            for each in value:
                yield from texts(each)
        case str():
            yield value


@pytest.mark.parametrize("name", MESSAGES)
@pytest.mark.parametrize("words", LONG)
def test_no_message_is_longer_than_its_service_takes(name: str, words: str) -> None:
    sample = sample_report()
    long = replace(sample, unseen=sample.unseen * 50, causes=sample.causes * 50, refusal=sample.refusal * 50)
    message = made(name, worded(long, words))
    assert len(json.dumps(message)) <= MESSAGES[name]
    assert len(message.get("blocks", ())) <= 50
    assert all(len(block["text"]["text"]) <= 150 for block in message.get("blocks", ()) if block["type"] == "header")


def test_a_message_that_was_cut_says_so() -> None:
    sample = sample_report()
    long = worded(replace(sample, unseen=sample.unseen * 50, causes=sample.causes * 50), "🏡" * 200)
    for name in MESSAGES:
        assert re.search(r"… [0-9]+ lines more in the report", "\n".join(texts(made(name, long))))


@pytest.mark.parametrize("name", MESSAGES)
def test_a_message_says_first_what_was_not_seen_and_mentions_nobody(name: str) -> None:
    lines = list(texts(made(name, sample_report())))
    shown = "\n".join(lines)
    assert shown.index("BLIND") < shown.index("NOT SEEN (new)") < shown.index("4 need you (2 new)")
    assert "@" not in shown.replace("https://", "")


def test_a_command_is_told_as_it_is_typed_or_not_at_all() -> None:
    shown = [line.text for line in chat.lines(sample_report()) if line.tone is chat.Tone.COMMAND]
    assert "reconcile check acme" in shown
    assert not any("resolve --agent" in line for line in shown), "an address can't be told in a chat as it is typed"
    assert not any("reconcile resolve" in line and "cid" in line for line in texts(chat.slack(sample_report())))


def test_teams_is_given_text_runs_alone() -> None:
    [attachment] = chat.teams(sample_report())["attachments"]
    assert {block["type"] for block in attachment["content"]["body"]} == {"RichTextBlock"}


def test_slack_reads_no_markup() -> None:
    message = chat.slack(sample_report())
    kinds = {block["type"] for block in message["blocks"]}
    assert kinds == {"header", "section", "context", "rich_text"}
    assert "mrkdwn" not in set(texts(message["blocks"]))
    assert message["mrkdwn"] is False


def test_figures_of_nothing_are_not_told_in_a_chat() -> None:
    shown = "\n".join(
        texts(chat.plain(sample_report(figures=(Figure("a", "Failed", 0), Figure("b", "Open", 3))))["lines"])
    )
    assert "3 open" in shown
    assert "failed" not in shown


def test_what_follows_is_told_with_its_purpose() -> None:
    report = safe_report(following=(Next("To look", "reconcile status acme"),))
    assert [line.text for line in chat.lines(report)][2:4] == ["To look:", "reconcile status acme"]


def test_instants_of_a_message_are_in_utc() -> None:
    assert chat.plain(sample_report(since=datetime(2026, 11, 22, tzinfo=UTC)))["since"] == "2026-11-22T00:00:00Z"


def test_a_mail_names_a_few_of_many_that_were_not_seen_and_counts_the_rest() -> None:
    sample = sample_report()
    mail = mail_page(replace(sample, unseen=sample.unseen * 6))
    assert mail.count("dee@acme.example</b>") == 3
    assert "7 more: reconcile status acme lists them" in mail
    mail = mail_page(
        replace(sample, unseen=sample.unseen * 6, unseen_more="90 more: reconcile status lists every calendar")
    )
    assert "7 more, and 90 more: reconcile status lists every calendar" in mail
