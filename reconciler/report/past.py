"""What the stored result of an earlier run says of limits and consents, read back as the values it was made of.

Pure. What is not there, or is not what it should be, is left out: an older version may have written it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reconciler.model import Action, Consent, Violation, Waiting, Window
from reconciler.result import Result, Sum

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.report.recorded import PastRun

_OF_ONE_CALENDAR: Final = frozenset({"emptied", "agent_cancel"})
"""Limits that withhold one agent's changes, and refuse nobody else's."""

_NONE: Final = Sum(0, {})


def result_of(job: str, run: PastRun) -> Result:
    """Return the result of a run as far as it is kept: its numbers, without findings, deltas and calendars."""
    violations = tuple(_violations(run.result.get("violations")))
    return Result(
        job=job,
        run=run.id,
        dry_run=False,
        status=run.status or "",
        exit_code=run.exit_code or 0,
        window=Window(run.started_at, run.started_at),
        digest=run.digest or "",
        counts=run.counts,
        events=_NONE,
        records=_NONE,
        violations=tuple(each for each in violations if each.limit not in _OF_ONE_CALENDAR),
        withheld=tuple(each for each in violations if each.limit in _OF_ONE_CALENDAR),
        asks=_asks(run.result.get("consent")),
        approvals=tuple(_consents(run.result.get("approvals"))),
    )


def _violations(said: object) -> Iterator[Violation]:
    for one in _objects(said):
        limit, action = _text(one, "limit"), _text(one, "action")
        if limit:
            yield Violation(
                limit=limit,
                found=_number(one, "found"),
                allowed=_number(one, "allowed"),
                population=_number(one, "population"),
                why=_text(one, "why"),
                agent=_text(one, "agent") or None,
                action=Action(action) if action in set(Action) else None,
            )


def _asks(said: object) -> Waiting | None:
    digest = _text(said, "digest") if isinstance(said, Mapping) else ""
    return Waiting(digest=digest, count=_number(said, "covers")) if digest and isinstance(said, Mapping) else None


def _consents(said: object) -> Iterator[Consent]:
    for one in _objects(said):
        dropped = one.get("dropped")
        yield Consent(
            digest=_text(one, "digest"),
            by=_text(one, "by"),
            covered=_number(one, "covered"),
            dropped=tuple(key for key in dropped if isinstance(key, str)) if isinstance(dropped, list | tuple) else (),
            expired=_instant(_text(one, "expired")),
        )


# ---- what JSON holds ------------------------------------------------------------------------------------------------


def _objects(said: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(said, list | tuple):
        yield from (one for one in said if isinstance(one, Mapping))


def _text(one: Mapping[str, Any], name: str) -> str:
    value = one.get(name)
    return value if isinstance(value, str) else ""


def _number(one: Mapping[str, Any], name: str) -> int:
    value = one.get(name)
    return value if isinstance(value, int) else 0


def _instant(said: str) -> datetime | None:
    try:
        return datetime.fromisoformat(said) if said else None
    except ValueError:
        return None
