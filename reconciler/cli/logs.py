"""Logs on stderr: one wide event a command, JSON when nobody watches. Never a client's name, address or title.

What is logged is of a few plain types; anything else leaves no more than the name of its type, and no secret that this
process has read stands in any line. What other packages log is reduced to its template: their values may come from a
calendar or a URL that is a secret. Whatever becomes of stderr, it is no reason for a command to fail.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec

from reconciler import __version__
from reconciler.cli import plain, taming
from reconciler.cli.event import Event, Plain
from reconciler.cli.world import is_terminal
from reconciler.errors import ConfigError, LockedError, ReconcilerError, RefusedError

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Common

P = ParamSpec("P")
Processor = Callable[[Any, str, plain.Line], plain.Line]

MOST: Final = 50
"""Calendars that have an event of their own; of the others there is only the number."""
INTERNAL: Final = 1
INTERRUPTED: Final = 130
_FINE: Final = frozenset({0, 3})


# ---- the event of a command -----------------------------------------------------------------------------------------


def told(name: str) -> Callable[[Callable[Concatenate[Call, P], int]], Callable[Concatenate[Call, P], int]]:
    """Let a command log one event of how it ended, however it ends, under an id that is on every line until then.

    What the command learns it adds to `call.event`; `load_job` and `ending.opened` add what they know.
    """

    def wide(command: Callable[Concatenate[Call, P], int]) -> Callable[Concatenate[Call, P], int]:
        @functools.wraps(command)
        def logged(call: Call, /, *args: P.args, **kwargs: P.kwargs) -> int:
            call = replace(call, event=_begun(call, name))
            configure(call.common, call.world.clock, call.event)
            began = time.monotonic()
            try:
                code = command(call, *args, **kwargs)
            except BaseException as error:
                _end(call, code_of(error), began, error)
                raise
            _end(call, code, began)
            return code

        return logged

    return wide


def _begun(call: Call, name: str) -> Event:
    from ulid import ULID

    number = str(ULID.from_datetime(call.world.clock()))
    return Event(id=number, about={"run": number, "command": name})


def code_of(error: BaseException) -> int:
    """Return the exit code that an error becomes."""
    match error:
        case ReconcilerError():
            return error.exit_code
        case KeyboardInterrupt():
            return INTERRUPTED
        case BrokenPipeError():
            return 0
        case _:
            return INTERNAL


def _end(call: Call, code: int, began: float, error: BaseException | None = None) -> None:
    """Log what is known of a command that is over, and before it the calendars that need attention."""
    if is_terminal("stderr") and not call.common.verbose:
        return  # a person has the result, or the sentence of what went wrong
    event, level = call.event, _level_of(code)
    for each in event.read:
        _write(logging.DEBUG, "read", each)
    for each in event.calendars[:MOST]:
        _write(min(level, logging.WARNING), "calendar", each)
    if len(event.calendars) > MOST:
        _write(min(level, logging.WARNING), "calendars", {"more": len(event.calendars) - MOST})
    ended = _failure(error) if error else {"status": event.fields.get("status", _status(code))}
    took = {"exit_code": code, "seconds": round(time.monotonic() - began, 3), "version": __version__}
    _write(level, "run", {**event.fields, **event.spent(), **ended, **took})


def step(phase: str, seconds: float | None) -> None:
    """Log with --verbose that a part of a run begins, or is over and how long it took."""
    if seconds is None:
        _write(logging.DEBUG, "begins", {"phase": phase})
    else:
        _write(logging.DEBUG, "over", {"phase": phase, "seconds": round(seconds, 3)})


def asked(calendar: int, seconds: float) -> None:
    """Log with --verbose how long it took to ask for a calendar; called from many threads."""
    _write(logging.DEBUG, "asked", {"calendar": calendar, "seconds": round(seconds, 3)})


def _status(code: int) -> str:
    return "done" if code in _FINE else "failed"


def _failure(error: BaseException) -> dict[str, Plain]:
    """Say what ended a command: its type and, where nobody foresaw it, its place. Its words may be a client's."""
    said: dict[str, Plain] = {"error": type(error).__name__}
    match error:
        case LockedError():
            return {**said, "status": "locked"}
        case RefusedError():
            return {**said, "status": "refused"}
        case ConfigError():
            return {**said, "status": "failed", "problems": len(error.problems)}
        case ReconcilerError():
            return {**said, "status": "failed"}
        case KeyboardInterrupt():
            return {**said, "status": "interrupted"}
        case _:
            return {**said, "status": "failed", "place": taming.place_of(error)}


def _level_of(code: int) -> int:
    if code in _FINE:
        return logging.INFO
    return logging.ERROR if code == INTERNAL else logging.WARNING


def _write(level: int, name: str, fields: Mapping[str, Any]) -> None:
    import structlog

    known = {key: value for key, value in fields.items() if value is not None}
    structlog.get_logger().log(level, name, **known)


# ---- how lines are made ---------------------------------------------------------------------------------------------


def configure(common: Common, clock: Callable[[], datetime], event: Event | None = None) -> None:
    """Set up our logs and tame everybody else's. What `event` is about is on every line, whichever thread logs it."""
    import structlog

    terminal = is_terminal("stderr")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp(clock, event or Event()),
            plain.plain,
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level(common, terminal=terminal)),
        logger_factory=plain.Stderr,
        cache_logger_on_first_use=False,
    )
    taming.tame()


def _level(common: Common, *, terminal: bool) -> int:
    """Return the least level shown: a person at a terminal already has the result, a log collector wants the event."""
    if common.verbose:
        return logging.DEBUG
    return logging.WARNING if common.quiet or terminal else logging.INFO


def _stamp(clock: Callable[[], datetime], event: Event) -> Processor:
    def stamped(_logger: object, _method: str, line: plain.Line) -> plain.Line:
        first = {"at": clock(), "level": line.pop("level", None), "event": line.pop("event", None)}
        return {**first, **event.about, **line}

    return stamped
