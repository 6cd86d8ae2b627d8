"""What comes from outside is inert and bounded, whatever it is made of."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reconciler.text import LINE_LIMIT, address, line


@pytest.mark.parametrize(
    ("given_text", "shown"),
    [
        ("  Showing   12 Oak \t Lane \r\n", "Showing 12 Oak Lane"),
        ("a\x00b\x07c\x7fd\x9be", "abcde"),
        ("\x1b[31mred\x1b[0m", "[31mred[0m"),
        ("abc\u202edef\u2066ghi\u2069", "abcdefghi"),
        ("Zo\u200be\u200d\u2060\ufeff", "Zoe"),
        ("tag\U000e0041\U000e007f", "tag"),
        ("hidden\U000e0100\U000e01ef\ufe0f", "hidden"),
        ("blank\u3164\u115f\u1160\uffa0", "blank"),
        ("lone\ud800 \udfffend", "lone end"),
        ("no\ufffecha\uffffrac\ufdd0ter", "nocharacter"),
        ("line\u2028para\u2029next\x85feed\x0b\x0c", "line para next feed"),
        ("Zoe\u0308", "Zoë"),
        ("e\u200b\u0301", "é"),
        ("soft\u00adhyphen", "softhyphen"),
        ("", ""),
        (" \u200b ", ""),
        ("مرحبا 家 🏡", "مرحبا 家 🏡"),
    ],
)
def test_a_line_shows_what_it_says_and_nothing_else(given_text: str, shown: str) -> None:
    assert line(given_text) == shown


def test_a_line_is_cut_to_its_limit_without_a_trailing_space() -> None:
    assert line("abc def", 4) == "abc"
    assert line("é" * 600) == "é" * LINE_LIMIT
    assert line("x" * 600) == "x" * LINE_LIMIT


@pytest.mark.parametrize("unit", ["x", "é", "\u200b", "\U000e0041", "e\u0301\u200b", " ", "\u202e\ud800", "a "])
def test_a_million_characters_cost_next_to_nothing(unit: str) -> None:
    huge = unit * (1_000_000 // len(unit))
    before = time.process_time()
    shown = [line(huge) for _ in range(20)]
    assert time.process_time() - before < 1.0
    assert all(len(one) <= LINE_LIMIT for one in shown)


@given(st.text(st.characters(exclude_categories=())), st.integers(1, 40))
@example("e\u200b\u0301", 5)
@example("\u1160 \u0301", 5)
def test_a_line_is_bounded_visible_normal_and_stays_what_it_is(value: str, limit: int) -> None:
    shown = line(value, limit)
    assert len(shown) <= limit
    assert shown == shown.strip()
    assert not any(unicodedata.category(char) in {"Cc", "Cs", "Zl", "Zp"} for char in shown)
    assert "  " not in shown
    assert unicodedata.is_normalized("NFC", shown)
    assert line(shown, limit) == shown
    shown.encode()


@pytest.mark.parametrize(
    "spelling", ["Ann@Acme.Example", " ann@acme.example ", "mailto:ann@acme.example", "MAILTO:Ann@acme.example\n"]
)
def test_an_address_is_compared_in_one_spelling(spelling: str) -> None:
    assert address(spelling) == "ann@acme.example"


def test_an_address_hides_nothing_and_is_bounded() -> None:
    assert address("ann\u200b@acme\u202e.example") == "ann@acme.example"
    assert len(address("a" * 10_000 + "@acme.example")) <= 320
