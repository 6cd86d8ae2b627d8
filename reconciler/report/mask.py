"""Hide who the clients are and what their appointments are called; agents, times and ids stay readable."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model import Change, Value
    from reconciler.result import Result

HIDDEN: Final = "•••"
TEXTS: Final = frozenset({"title", "location"})
ADDRESSES: Final = frozenset({"contact", "participants"})
_ADDRESS: Final = re.compile(
    r"[^\s@<>\"'(),;:\[\]]+@[^\s@<>\"'(),;:\[\]]+\.[^\s@<>\"'(),;:\[\]]*[^\s@<>\"'(),;:\[\].!?]"
)


def address(value: str) -> str:
    """Say `j•••@•••.example` for `jo@home.example`."""
    name, at, host = value.rpartition("@")
    if not at:
        return HIDDEN
    return f"{name[:1]}{HIDDEN}@{HIDDEN}.{host.rpartition('.')[2]}"


def sentence(value: str, visible: frozenset[str]) -> str:
    """Mask every address in `value` but those that may be seen."""
    return _ADDRESS.sub(lambda found: found[0] if found[0].lower() in visible else address(found[0]), value)


def fields(changes: Mapping[str, Change], visible: frozenset[str]) -> dict[str, Change]:
    """Mask what changes say of clients."""
    return {name: (one(name, before, visible), one(name, after, visible)) for name, (before, after) in changes.items()}


def one(name: str, value: Value, visible: frozenset[str]) -> Value:
    """Mask one value of the field `name`."""
    if name in TEXTS and isinstance(value, str):
        return HIDDEN if value else value
    if name in ADDRESSES and isinstance(value, tuple):
        return tuple(each if each in visible else address(each) for each in value)
    if name in ADDRESSES and isinstance(value, str):
        return value if value in visible else address(value)
    return value


def masked(result: Result, agents: frozenset[str] = frozenset()) -> Result:
    """Return `result` without clients' addresses, titles and places; `agents` may be seen."""
    visible = agents | {calendar.agent for calendar in result.calendars}
    return replace(
        result,
        deltas=tuple(
            replace(delta, fields=fields(delta.fields, visible), why=sentence(delta.why, visible), want={})
            for delta in result.deltas
        ),
        findings=tuple(
            replace(finding, fields=fields(finding.fields, visible), why=sentence(finding.why, visible))
            for finding in result.findings
        ),
        calendars=tuple(
            replace(calendar, why=sentence(calendar.why, visible) if calendar.why else calendar.why)
            for calendar in result.calendars
        ),
        notes=tuple(sentence(note, visible) for note in result.notes),
    )
