"""Text from outside does nothing wherever it goes, and keeps saying what it said."""

from __future__ import annotations

import csv
import io
import re
import unicodedata
from email import message_from_bytes, policy
from email.message import EmailMessage

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.inert import LONGEST_LINK, Sink, inert, shown

ANY_TEXT = st.text(st.characters(exclude_categories=()))
SPITEFUL = st.text(st.sampled_from("=+-@＝－＠﹣⁺−\t,;| \"'“*_~`<>&#[]()\\|:/.aw1?é\u202e\ud800\x1b\r\n"), max_size=40)  # noqa: RUF001
TEXTS = SPITEFUL | ANY_TEXT


@given(TEXTS, st.sampled_from([sink for sink in Sink if sink is not Sink.LINK]), st.integers(1, 200))
@example("\x1b]8;;https://evil.example\x07here", Sink.TERMINAL, 100)
@example("=" * 10_000, Sink.CSV, 120)
@example("=?" * 10_000, Sink.MAIL_HEADER, 120)
def test_whatever_comes_leaves_as_one_visible_bounded_line(value: str, sink: Sink, most: int) -> None:
    left = inert(value, sink, most)
    assert len(left) <= most
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in left)
    assert not set(left) & set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\ufffe\uffff")
    left.encode()


@given(TEXTS, st.sampled_from([sink for sink in Sink if sink is not Sink.LINK]))
def test_what_is_inert_stays_what_it_is(value: str, sink: Sink) -> None:
    once = inert(value, sink, 500)
    assert inert(once, sink, 600) == once


@given(TEXTS)
def test_markup_is_text_for_a_template_that_escapes(value: str) -> None:
    assert inert(value, Sink.HTML) == inert(value, Sink.TERMINAL) == shown(value)


def test_what_was_cut_says_so() -> None:
    assert inert("Showing 12 Oak St", Sink.TERMINAL, 8) == "Showing…"
    assert inert("Showing 12 Oak St", Sink.TERMINAL, 17) == "Showing 12 Oak St"


# ---- spreadsheets ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ('=HYPERLINK("https://evil.example")', '\'=HYPERLINK("https://evil.example")'),
        ("+1 312 555 0100", "'+1 312 555 0100"),
        ("-2+3", "'-2+3"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("\t=1", "'=1"),
        ("\r\n=1", "'=1"),
        ('  "=1', "\"'=1"),
        ("＝1+1", "'＝1+1"),  # noqa: RUF001
        ("﹣1", "'﹣1"),
        ("−1", "'−1"),  # noqa: RUF001
        ("Oak St;=1+1", "Oak St;'=1+1"),
        ("Oak St, =1+1", "Oak St, '=1+1"),
        ("'=1", "'=1"),
        ("jo@home.example", "jo@home.example"),
        ("12 Oak St - back door", "12 Oak St - back door"),
        ("A = B", "A = B"),
        ("", ""),
    ],
)
@pytest.mark.parametrize("sink", [Sink.CSV, Sink.XLSX])
def test_no_cell_begins_a_formula_and_none_loses_its_value(value: str, cell: str, sink: Sink) -> None:
    assert inert(value, sink) == cell


@given(TEXTS, st.sampled_from(",;\t|"))
@example('a;"=1', ";")
@example(',=,="', ",")
def test_no_cell_begins_a_formula_wherever_a_spreadsheet_cuts(value: str, separator: str) -> None:
    written = io.StringIO()
    csv.writer(written, quoting=csv.QUOTE_ALL).writerow(["before", inert(value, Sink.CSV, 300), "after"])
    [cells] = csv.reader([written.getvalue()], delimiter=separator)
    for each in cells:
        begins = unicodedata.normalize("NFKC", each.lstrip(' "“”„«»')[:1])
        assert not begins.startswith(("=", "+", "-", "@", "−")), each  # noqa: RUF001


@given(TEXTS)
def test_a_cell_keeps_every_character_that_can_be_seen(value: str) -> None:
    assert inert(value, Sink.CSV, 2_000).replace("'", "") == shown(value, 1_000).replace("'", "")


# ---- mail -----------------------------------------------------------------------------------------------------------


@given(TEXTS)
@example("All well\r\nBcc: everyone@acme.example")
@example("=?utf-8?q?All_well=0D=0ABcc:_everyone@acme.example?=")
@example("=?utf-8?b?DQpCY2M6IGV2ZQ==?=")
@example("=" * 200 + "?utf-8?q?=0A?=")
def test_a_header_is_one_header_and_says_what_it_was_given(value: str) -> None:
    message = EmailMessage(policy=policy.SMTP)
    message["Subject"] = given_text = inert(value, Sink.MAIL_HEADER)
    message["To"] = "ops@acme.example"
    parsed = message_from_bytes(message.as_bytes(), policy=policy.default)
    assert parsed.keys() == ["Subject", "To"]
    assert "\n" not in parsed["Subject"]
    assert " ".join(str(parsed["Subject"]).split()) == " ".join(given_text.split())


# ---- chat -----------------------------------------------------------------------------------------------------------


PLAINLY = str.maketrans(
    "\u2039\u203a\uff06\uff20\uff03\u2217\u02cd\u223c\u02cb\u00a6\uff3b\uff3d\uff3c\u2024\u2236", "<>&@#*_~`|[]\\.:"
)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("<!channel> <@U123> @here", False),
        ("[pay](https://evil.example)", False),
        ("see www.evil.example/a", False),
        ("*b* _i_ ~s~ `c` ||x||", False),
        ("R&D &lt; # \\", False),
        (":bomb: at 10:30", False),
        ("Tue 24 Nov 2026 10:00 CST (16:00 UTC)", True),
        ("3 need you. 12 fixed.", True),
    ],
)
def test_a_chat_shows_what_looks_the_same_and_leaves_plain_words_alone(value: str, plain: bool) -> None:
    said = inert(value, Sink.CHAT)
    assert said.translate(PLAINLY) == value
    assert (said == value) is plain


@given(TEXTS)
def test_a_chat_has_nothing_to_act_on(value: str) -> None:
    said = inert(value, Sink.CHAT, 300)
    assert not set(said) & set("<>&@#*_~`|[]\\")
    assert "://" not in said
    assert not re.search(r"\w\.\w", said)
    assert len(said) <= 300


# ---- links ----------------------------------------------------------------------------------------------------------

HOSTS = {"crm.acme.example", "crm.acme.example:8443"}


@pytest.mark.parametrize(
    "url",
    [
        "https://crm.acme.example/appointments/17",
        "https://crm.acme.example/?id=17&tab=a%2Fb",
        "https://crm.acme.example:8443/#/appointments/17",
        "https://crm.acme.example",
    ],
)
def test_a_link_to_a_known_host_is_one(url: str) -> None:
    assert inert(url, Sink.LINK, hosts=HOSTS) == url


@pytest.mark.parametrize(
    "url",
    [
        "",
        "javascript:alert(1)",
        "data:text/html,x",
        "mailto:ann@acme.example",
        "http://crm.acme.example/",
        "//crm.acme.example/",
        "https://evil.example/",
        "https://evil.example/?crm.acme.example",
        "https://crm.acme.example.evil.example/",
        "https://crm.acme.example@evil.example/",
        "https://evil.example\\@crm.acme.example/",
        "https://crm.acme.example:9999/",
        "https://crm.acme.example/a b",
        'https://crm.acme.example/"onclick=x',
        "https://crm.acme.example/<script>",
        "https://crm.acme.example/\r\nX: y",
        "https://crm.acme.example/é",
        "https://crm.acme.example/\u202e",
        " https://crm.acme.example/",
        "https://crm.acme.example/" + "a" * LONGEST_LINK,
    ],
)
def test_any_other_link_is_none(url: str) -> None:
    assert inert(url, Sink.LINK, hosts=HOSTS) == ""


def test_a_link_is_whole_or_nothing_and_leads_nowhere_unless_a_host_is_named() -> None:
    whole = "https://crm.acme.example/" + "a" * 500
    assert inert(whole, Sink.LINK, 20, hosts=HOSTS) == whole
    assert inert(whole, Sink.LINK) == ""


@given(ANY_TEXT)
def test_no_text_makes_a_link_of_another_kind(value: str) -> None:
    left = inert("https://" + value, Sink.LINK, hosts=HOSTS)
    assert left == "" or re.match(r"https://crm\.acme\.example(:8443)?([/?#]|\Z)", left)
