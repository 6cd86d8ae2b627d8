"""Hide who the clients are and what their appointments are called; agents, times and ids stay readable."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final, TypeVar

from reconciler.model import Acceptance, Finding
from reconciler.report.recorded import Fix, PastRun, Recorded, Stream, Taken, Told, Tracked, Watched

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model import Change, Fields, Value
    from reconciler.result import Result

_Said = TypeVar("_Said", Acceptance, Finding, PastRun, Taken, Told, Watched)

HIDDEN: Final = "•••"
TEXTS: Final = frozenset({"title", "location"})
ADDRESSES: Final = frozenset({"contact", "participants"})
_PART: Final = r"[^\s@<>\"'(),;:\[\]]"
_ADDRESS: Final = re.compile(rf"(?:{_PART}|(?<=\w)'(?=\w))+@{_PART}*[^\s@<>\"'(),;:\[\].!?]")
"""An address as it stands in a sentence; its host may be one word, or cut, and a name may have an apostrophe."""


def address(value: str) -> str:
    """Say `j•••@•••.example` for `jo@home.example`."""
    name, at, host = value.rpartition("@")
    if not at:
        return HIDDEN
    _, dot, last = host.rpartition(".")
    return f"{name[:1]}{HIDDEN}@{HIDDEN}{dot}{last if dot else ''}"


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
            replace(finding, fields=fields(finding.fields, visible), why=sentence(finding.why, visible), has={})
            for finding in result.findings
        ),
        calendars=tuple(
            replace(calendar, why=sentence(calendar.why, visible) if calendar.why else calendar.why)
            for calendar in result.calendars
        ),
        notes=tuple(sentence(note, visible) for note in result.notes),
    )


# ---- a period -------------------------------------------------------------------------------------------------------


def masked_period(recorded: Recorded, visible: frozenset[str]) -> Recorded:
    """Return what is known of a period without clients' addresses, titles and places; `visible` may be seen."""
    return replace(
        recorded,
        runs=tuple(_run(run, visible) for run in recorded.runs),
        last=_run(recorded.last, visible) if recorded.last else None,
        attempted=_run(recorded.attempted, visible) if recorded.attempted else None,
        before=_run(recorded.before, visible) if recorded.before else None,
        calendars=tuple(_why(each, visible) for each in recorded.calendars),
        findings=Stream(lambda: (_tracked(each, visible) for each in recorded.findings)),
        fixes=Stream(lambda: (_fix(each, visible) for each in recorded.fixes)),
        told=tuple(_why(each, visible) for each in recorded.told),
        notes=tuple(sentence(note, visible) for note in recorded.notes),
    )


def _run(run: PastRun, visible: frozenset[str]) -> PastRun:
    return replace(_why(run, visible), result={name: _each(value, visible) for name, value in run.result.items()})


def _why(said: _Said, visible: frozenset[str]) -> _Said:
    """Mask the sentence of what has one."""
    return replace(said, why=sentence(said.why, visible)) if said.why else said


def _each(value: object, visible: frozenset[str]) -> object:
    """Mask every sentence of a JSON value."""
    match value:
        case str():
            return sentence(value, visible)
        case dict():
            return {name: _each(each, visible) for name, each in value.items()}
        case list():
            return [_each(each, visible) for each in value]
        case _:
            return value


def _tracked(tracked: Tracked, visible: frozenset[str]) -> Tracked:
    taken = (replace(each, fields=fields(each.fields, visible)) for each in tracked.taken)
    return replace(
        tracked,
        finding=_finding(tracked.finding, visible),
        taken=tuple(_why(each, visible) for each in taken),
        accepted=_why(tracked.accepted, visible) if tracked.accepted else None,
    )


def _finding(finding: Finding, visible: frozenset[str]) -> Finding:
    return replace(
        _why(finding, visible),
        fields=fields(finding.fields, visible),
        has={side: _side(values, visible) for side, values in finding.has.items()},
        clues=tuple(sentence(clue, visible) for clue in finding.clues),
    )


def _fix(fix: Fix, visible: frozenset[str]) -> Fix:
    return replace(fix, before=_side(fix.before, visible), after=_side(fix.after, visible))


def _side(values: Fields, visible: frozenset[str]) -> Fields:
    return {name: one(name, value, visible) for name, value in values.items()}
