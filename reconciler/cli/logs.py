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
    event = call.event
    _calendars(event)
    shown = {
        "status": _status(code, error),
        **event.fields,
        **event.spent(),
        **(_failure(error) if error else {}),
        "exit_code": code,
        "seconds": round(time.monotonic() - began, 3),
        "version": __version__,
    }
    if is_terminal("stderr") and not call.common.verbose:
        return  # a person has the result, or the sentence of what went wrong
    _write(_level_of(code), "run", shown)


def _calendars(event: Event) -> None:
    for each in event.calendars[:MOST]:
        _write(logging.WARNING, "calendar", each)
    if len(event.calendars) > MOST:
        _write(logging.WARNING, "calendars", {"more": len(event.calendars) - MOST})


def _status(code: int, error: BaseException | None) -> str:
    match error:
        case None:
            return "done" if code in _FINE else "failed"
        case LockedError():
            return "locked"
        case RefusedError():
            return "refused"
        case KeyboardInterrupt():
            return "interrupted"
        case _:
            return "failed"


def _failure(error: BaseException) -> dict[str, Plain]:
    """Say what ended a command: its type and, where nobody foresaw it, its place. Its words may be a client's."""
    said: dict[str, Plain] = {"error": type(error).__name__}
    if isinstance(error, ConfigError):
        return said | {"problems": len(error.problems)}
    return said if isinstance(error, ReconcilerError) else said | {"place": taming.place_of(error)}


def _level_of(code: int) -> int:
    if code in _FINE:
        return logging.INFO
    return logging.ERROR if code == INTERNAL else logging.WARNING


def _write(level: int, name: str, fields: Mapping[str, Any]) -> None:
    import structlog

    structlog.get_logger().log(level, name, **fields)


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
        return {"at": clock(), **event.about, **line}

    return stamped
