"""Make any text from outside inert and bounded: what a calendar or a CRM says is data, wherever it ends up."""

from __future__ import annotations

import re
import unicodedata

LINE_LIMIT = 500
"""Characters of a title or location that are kept, whatever its source sends."""

# C0/C1 controls (but tab and newline), DEL, zero-width and bidirectional marks, line/paragraph separators, BOM,
# interlinear annotation, lone surrogates, and the tag characters that carry invisible text.
_INVISIBLE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)
_SPACE = re.compile(r"\s+")


def line(value: str, limit: int = LINE_LIMIT) -> str:
    """Return `value` as one visible line of at most `limit` characters: NFC, no controls, white space folded."""
    if value.isascii() and value.isprintable() and "  " not in value:  # the common case costs nothing
        return value.strip()[:limit].rstrip()
    bounded = value[: limit * 8]
    visible = _INVISIBLE.sub("", unicodedata.normalize("NFC", _SPACE.sub(" ", bounded)))
    return _SPACE.sub(" ", visible).strip()[:limit].rstrip()


def address(value: str) -> str:
    """Return an e-mail address as it is compared: trimmed, lower case, without `mailto:`."""
    bare = line(value, 320).lower()
    return bare.removeprefix("mailto:").strip()
