"""A face shows text as text: whatever people write, the page, table or message that it stands in gains nothing."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import unicodedata
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from functools import partial
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import Element

import html5lib
import openpyxl
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model import Kind
from reconciler.report import chat
from reconciler.report.build import build
from reconciler.report.mail import Letter, composed
from reconciler.report.render import mail_page, page, text
from reconciler.report.report import Report
from reconciler.report.tables import csv_chunks, json_chunks, write_xlsx
from tests.hostile import PAYLOADS, TEXTS, Say, in_turn, look, period, plainly, spiked, spitefully
from tests.reports import safe_report, sample_report

FEW = (Kind.FIELD_DRIFT, Kind.RESCHEDULE_NOT_PROPAGATED, Kind.COVERAGE_GAP, Kind.MISSING_IN_CRM)
TURNS = range(0, len(PAYLOADS), 11)
SAYINGS = st.builds(spitefully, TEXTS) | st.builds(in_turn, st.integers(0, len(PAYLOADS)))


def told(say: Say) -> Report:
    """Return what is told of a period into which everybody wrote what `say` says."""
    return build(period(say, FEW), look(say))


def laid(sample: Callable[[], Report], say: Say) -> Report:
    """Return a report in which every text is what `say` makes of it: those too that the period above does not reach."""
    short = [replace(section, rows=section.rows[:2]) for section in sample().sections]
    return spiked(replace(sample(), sections=tuple(short)), say)


REPORTS = (told, partial(laid, sample_report), partial(laid, safe_report))
NAMES = ("built", "laid out", "laid out, all well")


# ---- pages ----------------------------------------------------------------------------------------------------------

HOSTS = ("https://www.google.com/calendar/event?eid=", "https://outlook.office365.com/owa/?itemid=")
RECORD = re.compile(r"https://crm\.acme\.example/appointments/[^/?#]+")
LEADING = frozenset(
    {"href", "src", "srcset", "action", "formaction", "background", "data", "poster", "cite", "ping", "xlink:href"}
)
SAYING = frozenset({"aria-label", "title", "alt", "content", "datetime", "value"})
"""Attributes that hold text for people, as all that begin with `data-` do here."""


def elements(html: str) -> list[Element]:
    return list(html5lib.parse(html, treebuilder="etree", namespaceHTMLElements=False).iter())


def skeleton(html: str) -> Counter[object]:
    """Count the elements of a document as a browser makes them: names, attributes, and what those do."""
    return Counter((str(each.tag), frozenset(_acting(each))) for each in elements(html))


def _acting(element: Element) -> Iterator[tuple[str, str]]:
    for name, value in element.attrib.items():
        says = name in SAYING or name.startswith("data-") or (name in LEADING and value.startswith("https://"))
        yield name, "" if says else value


def addresses(html: str) -> set[str]:
    """Return everything outside that a document leads to or asks for."""
    found = {each.attrib[name] for each in elements(html) for name in LEADING if name in each.attrib}
    return {address for address in found if not address.startswith("#")}


def is_ours(address: str) -> bool:
    return address == "data:," or address.startswith(HOSTS) or bool(RECORD.fullmatch(address))


@pytest.mark.parametrize("made", REPORTS, ids=NAMES)
@pytest.mark.parametrize("turn", TURNS)
def test_a_page_has_no_element_no_attribute_and_no_address_beyond_its_own(made: Any, turn: int) -> None:
    plain, hostile = page(made(plainly)), page(made(in_turn(turn)))
    assert dict(skeleton(hostile) - skeleton(plain)) == {}  # it may have less, where an id is too long for a link
    assert all(is_ours(address) for address in addresses(hostile))


@settings(max_examples=8)
@given(say=SAYINGS)
def test_no_words_make_a_page_of_another_shape(say: Say) -> None:
    assert dict(skeleton(page(told(say))) - skeleton(page(told(plainly)))) == {}


@pytest.mark.parametrize("made", REPORTS, ids=NAMES)
@pytest.mark.parametrize("turn", TURNS)
def test_a_mail_has_no_kind_of_element_beyond_its_own(made: Any, turn: int) -> None:
    """It may list fewer findings: it has a limit of its own."""
    plain, hostile = mail_page(made(plainly)), mail_page(made(in_turn(turn)))
    assert skeleton(hostile).keys() - skeleton(plain).keys() == set()
    assert all(is_ours(address) for address in addresses(hostile))


@pytest.mark.parametrize("said", ["<b>Oak</b> & Elm", "{{ 7 * 7 }}", "=1+1", "' \" `", "</script>", "[x](y)"])
def test_what_people_wrote_is_read_as_they_wrote_it(said: str) -> None:
    report = laid(sample_report, lambda words: f"{said} {words}")
    for face in (page, mail_page):
        assert said in " ".join("".join(each.itertext()) for each in elements(face(report))[:1])
    assert said in text(report)


# ---- tables ---------------------------------------------------------------------------------------------------------


def written(report: Report) -> str:
    return b"".join(csv_chunks(report)).decode("utf-8-sig")


def begins_a_formula(cell: str) -> bool:
    bare = cell.lstrip(' "“”„«»')[:1]
    return unicodedata.normalize("NFKC", bare).startswith(("=", "+", "-", "@", "\u2212"))


@settings(max_examples=25)
@given(say=SAYINGS)
def test_a_csv_has_its_rows_and_columns_and_no_formula(say: Say) -> None:
    plain, hostile = written(told(plainly)), written(told(say))
    rows = list(csv.reader(io.StringIO(hostile)))
    assert [len(row) for row in rows] == [len(row) for row in csv.reader(io.StringIO(plain))]
    assert len(pd.read_csv(io.StringIO(hostile))) == len(rows) - 1
    assert not any(begins_a_formula(cell) for row in rows for cell in row)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
@pytest.mark.parametrize("turn", TURNS)
def test_a_csv_has_no_formula_where_another_separator_is_the_custom(separator: str, turn: int) -> None:
    split = csv.reader(io.StringIO(written(told(in_turn(turn)))), delimiter=separator)
    assert not any(begins_a_formula(cell) for row in split for cell in row)


@pytest.mark.parametrize("say", [in_turn(0), in_turn(20), *map(spitefully, PAYLOADS[-3:])])
def test_a_spreadsheet_has_text_and_no_formula_link_or_program(say: Say, tmp_path: Path) -> None:
    write_xlsx(told(say), tmp_path / "report.xlsx")
    book = openpyxl.load_workbook(tmp_path / "report.xlsx")
    for cell in (cell for sheet in book for row in sheet.iter_rows() for cell in row):
        assert cell.data_type != "f"
        assert cell.hyperlink is None
        assert not (isinstance(cell.value, str) and begins_a_formula(cell.value))
    with zipfile.ZipFile(tmp_path / "report.xlsx") as parts:
        assert not [name for name in parts.namelist() if "external" in name.lower() or "vba" in name.lower()]
        assert not [name for name in parts.namelist() if b"<f>" in parts.read(name)]


# ---- JSON, chats, mails ---------------------------------------------------------------------------------------------


def keys(value: object) -> object:
    match value:
        case dict():
            return {name: keys(each) for name, each in value.items()}
        case list():
            return [keys(each) for each in value]
        case _:
            return None


@settings(max_examples=25)
@given(say=SAYINGS)
def test_json_is_ascii_and_has_the_names_and_lists_that_it_has_anyway(say: Say) -> None:
    plain, hostile = ("".join(json_chunks(period(each, FEW), told(each))) for each in (plainly, say))
    assert hostile.isascii()
    assert hostile.replace("\n", "").isprintable()
    assert keys(json.loads(hostile)["report"]) == keys(json.loads(plain)["report"])
    assert json.loads(hostile).keys() == json.loads(plain).keys()


@settings(max_examples=25)
@given(say=SAYINGS)
def test_a_chat_is_told_little_and_nothing_that_it_acts_on(say: Say) -> None:
    report = told(say)
    for made, most in (
        (chat.slack, chat.SLACK_LIMIT),
        (chat.teams, chat.TEAMS_LIMIT),
        (chat.plain, chat.PLAIN_LIMIT),
    ):
        message = json.dumps(made(report))
        assert len(message) <= most * 1.2
    for line in chat.lines(report):
        assert not set(line.text) & set("<>&@*`|[]")
        assert "://" not in line.text


@settings(max_examples=15)
@given(say=SAYINGS)
def test_a_mail_has_the_headers_that_it_has_anyway_each_on_its_own(say: Say) -> None:
    report = told(say)
    letter = Letter(
        sender="reconcile@acme.example",
        to=("ops@acme.example",),
        subject=report.subject,
        text=text(report),
        html="<p>x</p>",
        made_at=datetime(2026, 11, 23, tzinfo=UTC),
        message_id="<c2a94f0d77e1@acme.example>",
        list_name=report.job,
        title=report.brand.title,
    )
    parsed, plain = (
        message_from_bytes(composed(each).as_bytes(), policy=policy.default)
        for each in (letter, replace(letter, subject="All well", title="Acme"))
    )
    assert parsed.keys() == plain.keys()
    assert not parsed.defects
    assert all("\n" not in value and len(value) < 1_000 for value in parsed.values())
    assert [str(each.addr_spec) for each in parsed["From"].addresses] == ["reconcile@acme.example"]
    assert [str(each.addr_spec) for each in parsed["To"].addresses] == ["ops@acme.example"]


# ---- all of them ----------------------------------------------------------------------------------------------------


@settings(max_examples=10)
@given(say=SAYINGS)
def test_no_face_carries_what_cannot_be_seen(say: Say) -> None:
    report = told(say)
    for face in (page(report), mail_page(report), text(report), written(report)):
        controls = {char for char in set(face) if unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"}}
        assert controls <= {"\n", "\r"}
        assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069]", face)
        face.encode()


@pytest.mark.parametrize("say", [spitefully("x" * 10_000), spitefully("<b>" * 3_000), in_turn(0)])
def test_ten_thousand_characters_in_every_field_make_no_face_that_nobody_opens(say: Say) -> None:
    report = build(period(say), look(say))
    assert len(mail_page(report).encode()) <= 100_000
    assert len(text(report).encode()) < 400_000
    assert len(page(report).encode()) < 1_500_000


@settings(max_examples=25)
@given(say=SAYINGS)
def test_a_command_is_typed_as_it_is_shown_and_runs_nothing_else(say: Say) -> None:
    report = build(period(say), look(say))
    following = [*report.following, *(cause.following for cause in report.causes if cause.following)]
    for command in (each.command for each in following):
        assert "\n" not in command
        words = shlex.split(command)
        assert words[0] == "reconcile"
        assert [shlex.quote(word) for word in words] == re.findall(r"(?:'[^']*'|\"'\"|[^\s'\"])+", command)
