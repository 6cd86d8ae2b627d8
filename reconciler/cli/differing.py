"""In what two sides differ that are known to: value by value, times by how far, lists by what is missing where."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from reconciler import patterns
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from reconciler.model import Fields, Value


def differences(crm: Fields | None, calendar: Fields | None, also: Iterable[str] = ()) -> list[str]:
    """Say how two sides that are known to differ do so, value by value; `also` names fields that one side may lack."""
    if crm is None or calendar is None or crm == calendar:
        return []
    from deepdiff import DeepDiff

    shared = sorted((crm.keys() & calendar.keys()) | set(also))
    ours, theirs = ({name: side.get(name) for name in shared} for side in (crm, calendar))
    diff = DeepDiff(ours, theirs, view="tree")
    found = {str(each.path(output_format="list")[0]) for group in diff.values() for each in group}
    return [_difference(name, crm.get(name), calendar.get(name)) for name in shared if name in found]


def _difference(name: str, crm: Value, calendar: Value) -> str:
    """Say how one value differs: times by how far, lists by what is missing where."""
    before, after = (patterns.instant(side) if name in {"start", "end"} else None for side in (crm, calendar))
    if before and after:
        minutes = int(abs(after - before).total_seconds()) // 60
        far = f"{minutes // 60} h {minutes % 60} min" if minutes % 60 else f"{minutes // 60} h"
        return f"{name}: the calendar is {far} {'later' if after > before else 'earlier'}"
    if isinstance(crm, tuple) and isinstance(calendar, tuple):
        parts = [_only("CRM", set(crm) - set(calendar)), _only("calendar", set(calendar) - set(crm))]
        return f"{name}: " + "; ".join(part for part in parts if part)
    return f"{name}: the CRM has {_quoted(crm)}, the calendar {_quoted(calendar)}"


def _only(side: str, values: set[str]) -> str:
    return f"only the {side} has {bounded(', '.join(sorted(values)))}" if values else ""


def _quoted(value: Value) -> str:
    return bounded(", ".join(value) if isinstance(value, tuple) else str(value)) if value else "nothing"
