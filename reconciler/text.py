"""Make any text from outside inert and bounded: what a calendar or a CRM says is data, wherever it ends up."""

from __future__ import annotations

import re
import unicodedata

LINE_LIMIT = 500
"""Characters of a title or location that are kept, whatever its source sends."""

# What shows nothing, or moves what is shown: controls, soft hyphens, joiners and fillers, marks and overrides of the
# direction, annotations, byte order marks, lone surrogates, codes that are no character and break XML, musical and
# shorthand controls, and the tag and variation characters that can carry a whole hidden text. White space and line ends
# are folded before these are taken out.
_INVISIBLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufdd0-\ufdef\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb\ufffe\uffff"
    "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)
_SPACE = re.compile(r"\s+")


def line(value: str, limit: int = LINE_LIMIT) -> str:
    """Return `value` as one visible line of at most `limit` characters: NFC, no controls, white space folded."""
    bounded = value[: limit * 8]  # room for what is taken out; what comes later costs nothing
    if bounded.isascii() and bounded.isprintable() and "  " not in bounded:  # the common case
        return bounded.strip()[:limit].rstrip()
    visible = _INVISIBLE.sub("", _SPACE.sub(" ", bounded))
    composed = unicodedata.normalize("NFC", visible)  # after the joiners are gone, or it would not be stable
    return _SPACE.sub(" ", composed).strip()[:limit].rstrip()


def address(value: str) -> str:
    """Return an e-mail address as it is compared: trimmed, lower case, without `mailto:`."""
    bare = line(value, 320).lower()
    return bare.removeprefix("mailto:").strip()
