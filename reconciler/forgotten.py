"""Who asked to be forgotten, known by a keyed digest of the address alone, and what of their appointments is kept.

Of an appointment with somebody who is forgotten only its time is kept, whose it is and whether it stands: what is left
of it compares with the other side, and says nothing about anybody.
"""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from reconciler.model import Event, Fields, Record

KEPT: Final = frozenset({"start", "end", "all_day", "agent", "status"})
"""The fields that are kept of a withheld appointment."""

WITHHELD: Final = "withheld: somebody it is about asked to be forgotten"
"""What is said where there was more."""

_BETWEEN: Final = re.compile(r"[\s<>()\[\],;:\"\\]+")
"""What stands around addresses in text and in none; cut there, a text of any length is looked through once."""

_ALSO: Final = re.compile(r"[{}|'/]+")
"""What stands around addresses, too, and in some: o'brien@client.example."""

_FOREIGN: Final = re.compile(r"[^\w.+@-]+")
"""What few addresses have in them, and some texts around them: other quotes, stars, dashes, stops of other scripts."""


def spelled(address: str) -> str:
    """Return the one spelling under which an address is known, whatever its case and composition."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", address.strip()).casefold())


def mark_of(address: str, salt: bytes) -> bytes:
    """Return 16 keyed bytes that stand for an address."""
    key = hashlib.blake2b(b"forgotten", digest_size=32, key=salt).digest()
    return hashlib.blake2b(spelled(address).encode("utf-8", "surrogatepass"), digest_size=16, key=key).digest()


@dataclass(frozen=True, slots=True)
class Forgotten:
    """Who asked to be forgotten, by their marks. With nobody in it, every question costs one look at an empty set."""

    marks: frozenset[bytes] = frozenset()
    salt: bytes = field(default=b"", repr=False)

    def __bool__(self) -> bool:
        return bool(self.marks)

    def has(self, address: object) -> bool:
        """Tell whether an address is somebody's who asked to be forgotten."""
        return bool(self.marks) and isinstance(address, str) and mark_of(address, self.salt) in self.marks

    def is_named_in(self, text: object) -> bool:
        """Tell whether a text has such an address in it."""
        if not self.marks or not isinstance(text, str) or "@" not in text:
            return False
        words = (word.strip(".?!{}|'/") for word in _BETWEEN.split(text) if "@" in word)
        return self.has(text) or any(self.has(one) for word in words for one in (word, *_cores(word)))

    def is_event(self, event: Event) -> bool:
        """Tell whether an event is about somebody who asked to be forgotten: a guest, its organizer, or named in it."""
        if not self.marks:
            return False
        people = (event.organizer, *(attendee.email for attendee in event.attendees))
        return any(map(self.has, people)) or self.is_named_in(event.title) or self.is_named_in(event.location)

    def is_record(self, record: Record) -> bool:
        """Tell whether a record is about somebody who asked to be forgotten, or theirs."""
        return bool(self.marks) and any(map(self.is_named_in, _words(record.fields)))

    def without_agent(self, fields: Fields) -> Fields:
        """Return fields without the agent, where the agent is who asked."""
        return {name: value for name, value in fields.items() if name != "agent" or not self.has(value)}


def _cores(word: str) -> Iterator[str]:
    """Yield what may be an address in a word that has more around it."""
    for cut in (_ALSO, _FOREIGN):
        parts = cut.split(unicodedata.normalize("NFC", word))
        yield from (part.strip(".-+?!") for part in parts if "@" in part and part != word)


def _words(fields: Fields) -> Iterator[str]:
    for value in fields.values():
        if isinstance(value, str):
            yield value
        elif isinstance(value, tuple):
            yield from value


def reduced(fields: Fields) -> Fields:
    """Return what is kept of a withheld appointment."""
    return {name: value for name, value in fields.items() if name in KEPT}


def withheld(record: Record, forgotten: Forgotten) -> Record:
    """Return what is kept of a record that is about somebody who asked to be forgotten."""
    fields = forgotten.without_agent(reduced(record.fields))
    origin = None if forgotten.is_named_in(record.origin) else record.origin
    return replace(record, fields=fields, origin=origin, withheld=True)


def discreet(found: Iterable[Record], forgotten: Forgotten, also: frozenset[str] = frozenset()) -> list[Record]:
    """Return records as they may be kept; `also` are the ids of those that are withheld for their event."""
    return [
        withheld(one, forgotten) if forgotten and (one.id in also or forgotten.is_record(one)) else one for one in found
    ]
