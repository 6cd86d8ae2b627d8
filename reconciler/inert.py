"""Whatever a calendar or a CRM says leaves as inert text of bounded size, by one rule for each place that it goes to.

Pure. Everywhere it is one visible line: no controls, nothing that turns the direction, no half characters, and … where
it was cut. What a place can be made to do beyond that is taken out here: formulas in a spreadsheet, encoded words in
the header of a mail, mentions, markup and links in a chat, hosts that nobody named in a link.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Mapping
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from reconciler.text import line

WIDEST: Final = 120
"""Characters of one value that are shown."""

LONGEST_LINK: Final = 2000
"""Characters of a link, fewer than the 2,079 that Excel takes. A longer one is none: cut, it would lead elsewhere."""


class Sink(StrEnum):
    """A place that text goes to."""

    TERMINAL = "terminal"  # plain text and JSON too
    HTML = "html"  # through a template that escapes: here `<` stays what it is
    MAIL_HEADER = "mail_header"
    CSV = "csv"
    XLSX = "xlsx"
    CHAT = "chat"
    LINK = "link"  # to one of `hosts`, by https, or nothing at all


def inert(value: str, sink: Sink, most: int = WIDEST, *, hosts: Collection[str] = ()) -> str:
    """Return `value` as it can stand in `sink`: at most `most` characters that do nothing there.

    `hosts` are those that a link may lead to; a link is never cut, whatever `most` says.
    """
    if sink is Sink.LINK:
        return link(value, hosts)
    return _RULES[sink](shown(value, most))[:most]


def shown(value: str, most: int = WIDEST) -> str:
    """Return `value` as one visible line of at most `most` characters, with … where it was cut."""
    whole = line(value, most + 1)
    return whole if len(whole) <= most else whole[: most - 1].rstrip() + "…"


# ---- the header of a mail -------------------------------------------------------------------------------------------


def _header(value: str) -> str:
    """Leave no encoded word (RFC 2047): `email` decodes them in what it is given, and a line may end inside."""
    return value.replace("=?", "= ?")


# ---- spreadsheets ---------------------------------------------------------------------------------------------------

# Where a cell begins, what an import strips there, and the first sign after it. Excel splits a file with commas at
# semicolons, or at tabs, where that is the custom: so a cell may also begin in the middle of one of ours.
_CELLS: Final = re.compile(r'((?:^|[,;\t|])[\s"“”„«»]*)(?=(.))')
_BEGIN: Final = frozenset("=+-@\u2212")  # what begins a formula (OWASP, CSV injection); the last is a minus too


def _cell(value: str) -> str:
    """Put an apostrophe before whatever would begin a formula, and keep all of it."""
    return _CELLS.sub(lambda found: found[1] + ("'" if _begins(found[2]) else ""), value)


def _begins(character: str) -> bool:
    """Tell whether a formula can begin with it; full-width and small signs count as what they are compatible with."""
    return unicodedata.normalize("NFKC", character)[:1] in _BEGIN


# ---- chat -----------------------------------------------------------------------------------------------------------

# Slack, Teams, Google Chat and Discord read markup, mentions and addresses in plain text, and each has other escapes
# for it. So nothing is escaped: every sign that one of them reads has a double here that looks like it and is none.
_DOUBLES: Final = str.maketrans(
    {
        "<": "\u2039",
        ">": "\u203a",
        "&": "\uff06",
        "@": "\uff20",
        "#": "\uff03",
        "*": "\u2217",
        "_": "\u02cd",
        "~": "\u223c",
        "`": "\u02cb",
        "|": "\u00a6",
        "[": "\uff3b",
        "]": "\uff3d",
        "\\": "\uff3c",
    }
)
_DOTS: Final = re.compile("(?<=\\w)[.\u3002\uff0e\uff61](?=\\w)")  # as in a host; browsers take all four for it
_COLONS: Final = re.compile(r":(?=//|[\w+-]+:)")  # as in an address, or around the name of an emoji


def _chat(value: str) -> str:
    """Leave no mention, markup, emoji name or anything that a chat makes a link of."""
    return _DOTS.sub("\u2024", _COLONS.sub("\u2236", value)).translate(_DOUBLES)


# ---- links ----------------------------------------------------------------------------------------------------------

_URL: Final = re.compile(
    r"https://[a-z0-9.-]+(?::[0-9]{1,5})?(?:[/?#][a-z0-9/._~!$&'()*+,;=:@%?-]*(?:#[a-z0-9/._~!$&'()*+,;=:@%?-]*)?)?",
    re.ASCII | re.IGNORECASE,
)


def link(value: str, hosts: Collection[str]) -> str:
    """Return `value` if it is a whole https address on one of `hosts` (a port belongs to its host), else nothing."""
    fits = len(value) <= LONGEST_LINK and _URL.fullmatch(value)
    return value if fits and urlsplit(value).netloc in hosts else ""


# ---- all of them ----------------------------------------------------------------------------------------------------


def _as_it_is(value: str) -> str:
    return value


_RULES: Final[Mapping[Sink, Callable[[str], str]]] = {
    Sink.TERMINAL: _as_it_is,
    Sink.HTML: _as_it_is,
    Sink.MAIL_HEADER: _header,
    Sink.CSV: _cell,
    Sink.XLSX: _cell,
    Sink.CHAT: _chat,
}
