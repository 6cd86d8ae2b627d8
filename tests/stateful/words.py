"""What people said on either side, told apart from what the job wrote, without asking the job what it believes.

The CRM notes each change of a row by itself (triggers), the stand-in for Google each version of an event. A value that
somebody put there, and on which both sides never agreed, is nobody else's to overwrite.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

FIELDS = ("time", "title", "location", "status")
TRAIL = """
CREATE TABLE trail (n INTEGER PRIMARY KEY, id TEXT, source_key TEXT, what TEXT, was TEXT, is_now TEXT);
"""
VISIT = "Visit "
"""How the titles of appointments begin that people enter in the CRM, under no key: it tells which event is theirs."""

KEY = f"CASE WHEN {{0}}title LIKE '{VISIT}%' THEN {{0}}title ELSE {{0}}source_key END"
COLUMNS = {
    "time": "{0}.starts_at || '/' || {0}.ends_at",
    "title": "{0}.title",
    "location": "coalesce({0}.location, '')",
    "status": "{0}.status",
}


def triggers() -> Iterator[str]:
    """Return what lets the CRM note, field by field, what becomes of its rows."""
    yield TRAIL
    yield f"CREATE VIEW named AS SELECT {KEY.format('')} AS name, * FROM appointments"  # noqa: S608
    for name, column in COLUMNS.items():
        was, is_now = column.format("OLD"), column.format("NEW")
        values = f"NULL, NEW.id, {KEY.format('NEW.')}, '{name}', {was}, {is_now}"
        noted = f"INSERT INTO trail VALUES ({values})"  # noqa: S608
        yield f"CREATE TRIGGER note_{name} AFTER UPDATE ON appointments WHEN {was} IS NOT {is_now} BEGIN {noted}; END"


@dataclass(frozen=True, slots=True)
class Change:
    """One field of one appointment that changed on one side."""

    side: str
    key: str
    what: str
    was: Any
    is_now: Any


@dataclass
class Words:
    """What people said and both sides never agreed on since; and everything that both sides ever agreed on."""

    said: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    together: defaultdict[tuple[str, str], set[Any]] = field(default_factory=lambda: defaultdict(set))

    def compare(self, calendar: Mapping[str, Mapping[str, Any]], crm: Mapping[str, Mapping[str, Any]]) -> None:
        """Take note of all on which both sides agree at this moment."""
        for key in calendar.keys() & crm.keys():
            for name in FIELDS:
                if calendar[key][name] == crm[key][name]:
                    self.together[key, name].add(crm[key][name])
                    self.said.pop(("crm", key, name), None)
                    self.said.pop(("calendar", key, name), None)

    def somebody(self, change: Change) -> None:
        """Take note of what a person, or a webhook, did."""
        self.said[change.side, change.key, change.what] = change.is_now

    def overwritten(self, change: Change) -> str | None:
        """Return what is to be said of a change that the job made; None if it was free to make it."""
        if change.what in self._open(change) and self.said[change.side, change.key, change.what] == change.was:
            return f"{change.was!r} in {change.side} {change.key} was somebody's word, not {change.is_now!r}"
        if change.what == "status" and change.is_now == "cancelled" and self._open(change):
            return f"{change.side} {change.key} was cancelled though somebody edited its {self._open(change)}"
        return None

    def _open(self, change: Change) -> list[str]:
        """Return which fields of this appointment somebody changed to what was never agreed on."""
        spoken = {name: self.said.get((change.side, change.key, name)) for name in FIELDS}
        return [
            name for name, value in spoken.items() if value is not None and value not in self.together[change.key, name]
        ]


def local(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
