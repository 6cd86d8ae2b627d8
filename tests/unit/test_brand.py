"""A brokerage's colour and logo: what is taken for one, and what is said of what is none."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.config.brand import LARGEST, colour, logo
from reconciler.config.values import WrongError
from reconciler.errors import ConfigError
from reconciler.report.drawing import ink_on

SVG = b'<?xml version="1.0"?>\n<!-- ours -->\n<svg xmlns="http://www.w3.org/2000/svg"></svg>'
PICTURES = {
    "image/png": b"\x89PNG\r\n\x1a\n...",
    "image/jpeg": b"\xff\xd8\xff\xe0...",
    "image/gif": b"GIF89a...",
    "image/svg+xml": SVG,
}


@pytest.mark.parametrize(("kind", "content"), PICTURES.items(), ids=PICTURES)
def test_a_logo_becomes_an_address_that_holds_it(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "logo.png"  # what it is is not known by its name
    path.write_bytes(content)
    head, _, body = logo(path).partition(",")
    assert head == f"data:{kind};base64"
    assert b64decode(body) == content


@pytest.mark.parametrize(
    "content", [b"", b"%PDF-1.7", b"<html><svg>", b"text <svg>", b"<!-- " + b"-" * 9_000], ids=repr
)
def test_what_is_no_picture_is_said_with_its_name_and_no_folder(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "logo.svg"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"^report.logo: logo.svg is no picture that pages show \(a picture can be"):
        logo(path)


def test_a_logo_that_is_too_large_or_not_there_is_said(tmp_path: Path) -> None:
    (tmp_path / "logo.gif").write_bytes(b"GIF89a" + bytes(LARGEST))
    with pytest.raises(ConfigError, match=r"logo\.gif is larger than 200,000 bytes"):
        logo(tmp_path / "logo.gif")
    with pytest.raises(ConfigError, match=r"none\.gif can't be read: No such file"):
        logo(tmp_path / "none.gif")
    with pytest.raises(ConfigError, match="can't be read"):
        logo(tmp_path)


@pytest.mark.parametrize("value", ["teal", "#fff", "#12345", "#1234567", "#12345g", "#123456\n", ""])
def test_a_colour_is_six_digits(value: str) -> None:
    assert colour("#14559E") == "#14559e"
    with pytest.raises(WrongError):
        colour(value)


@given(st.integers(0, 0xFFFFFF))
def test_text_can_be_read_on_any_colour(value: int) -> None:
    ground = f"#{value:06x}"
    lighter, darker = sorted((luminance(ground), luminance(ink_on(ground))), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5


def luminance(shade: str) -> float:
    parts = [int(shade[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
