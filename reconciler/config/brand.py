"""How a brokerage wants its reports to look: a colour, and a logo that a page carries in itself.

A logo is read when a report is made. What it is is known by its first bytes, never by its name.
"""

import re
from base64 import b64encode
from pathlib import Path
from typing import Annotated, Final

from pydantic import AfterValidator

from reconciler.config.values import FilePath, WrongError, shown
from reconciler.errors import ConfigError, Problem

LARGEST: Final = 200_000
"""Bytes of a logo: every page has it in itself."""

KEY: Final = "report.logo"
SUFFIXES: Final = (".png", ".jpg", ".jpeg", ".gif", ".svg")
_COLOUR: Final = re.compile(r"#[0-9a-f]{6}", re.IGNORECASE)
_BEGINNINGS: Final = {
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"\xff\xd8\xff": "image/jpeg",
    b"GIF87a": "image/gif",
    b"GIF89a": "image/gif",
}
_SVG: Final = (b"<svg", b"<?xml", b"<!--", b"<!DOCTYPE svg")
_MARK: Final = b"\xef\xbb\xbf"
_KINDS: Final = "a picture can be PNG, JPEG, GIF or SVG"


def colour(value: str) -> str:
    """Accept a colour as pages spell it."""
    if not _COLOUR.fullmatch(value):
        raise WrongError(f"{shown(value)} is not a colour", 'write red, green and blue, like "#14559e"')
    return value.lower()


def picture(path: Path) -> Path:
    """Accept the name of a file that can be a picture."""
    if path.suffix.lower() not in SUFFIXES:
        raise WrongError(f"{shown(path.name)} is not the name of a picture", _KINDS)
    return path


Colour = Annotated[str, AfterValidator(colour)]
Picture = Annotated[FilePath, AfterValidator(picture)]


def logo(path: Path) -> str:
    """Read a logo as a data URL. Raises ConfigError."""
    try:
        with path.open("rb") as stream:
            content = stream.read(LARGEST + 1)
    except OSError as error:
        raise _unusable(f"{path.name} can't be read: {error.strerror or type(error).__name__}") from None
    if len(content) > LARGEST:
        raise _unusable(
            f"{path.name} is larger than {LARGEST:,} bytes", "every report has it in itself: make it smaller"
        )
    kind = _kind(content)
    if kind is None:
        raise _unusable(f"{path.name} is no picture that pages show", _KINDS)
    return f"data:{kind};base64,{b64encode(content).decode()}"


def _kind(content: bytes) -> str | None:
    for beginning, kind in _BEGINNINGS.items():
        if content.startswith(beginning):
            return kind
    is_drawn = content.removeprefix(_MARK).lstrip().startswith(_SVG) and b"<svg" in content
    return "image/svg+xml" if is_drawn else None


def _unusable(what: str, hint: str = "") -> ConfigError:
    return ConfigError((Problem(KEY, what, hint),))
