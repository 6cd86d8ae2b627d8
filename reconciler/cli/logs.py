"""Logs on stderr: one wide event a run, JSON when nobody watches. Never a client's name, address or title.

What other packages log is reduced to its template: their values may come from a calendar or a URL that is a secret.
"""

from __future__ import annotations

import logging
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

from reconciler.cli.world import is_terminal
from reconciler.model import rfc3339

if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from datetime import datetime

    from reconciler.cli.world import Common
    from reconciler.result import Result


def configure(common: Common, clock: Callable[[], datetime]) -> None:
    """Set up our logs and tame everybody else's."""
    import structlog

    terminal = is_terminal("stderr")
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _stamp(clock),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(_level(common, terminal=terminal)),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers = [_Tamed(logging.WARNING)]
    root.setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def _level(common: Common, *, terminal: bool) -> int:
    """Return the least level shown: a person at a terminal already has the result, a log collector wants the event."""
    if common.verbose:
        return logging.DEBUG
    return logging.WARNING if common.quiet or terminal else logging.INFO


def _stamp(clock: Callable[[], datetime]) -> Callable[[Any, str, MutableMapping[str, Any]], MutableMapping[str, Any]]:
    def stamped(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        return {"at": rfc3339(clock()), **event}

    return stamped


class _Tamed(logging.Handler):
    """Pass on who warned and the template of what was said, without its values."""

    def emit(self, record: logging.LogRecord) -> None:
        import structlog

        said = record.msg if record.args and isinstance(record.msg, str) else None
        where = f"{record.module}:{record.lineno}"
        logger = structlog.get_logger()
        logger.warning("a package warns", package=record.name, says=said, where=where, severity=record.levelname)


def log_run(result: Result, seconds: float) -> None:
    """Log the one wide event of a run."""
    import structlog

    structlog.get_logger().info("run", **wide_event(result, seconds))


def wide_event(result: Result, seconds: float) -> dict[str, Any]:
    """Return what a run's event says: names of jobs and kinds, numbers, and nothing of any client."""
    return {
        "job": result.job,
        "run": result.run,
        "dry_run": result.dry_run,
        "status": result.status,
        "exit_code": result.exit_code,
        "digest": result.digest[:12],
        "seconds": round(seconds, 3),
        **{f"count_{name}": number for name, number in result.counts.items()},
        **{f"delta_{name}": number for name, number in Counter(each.outcome for each in result.deltas).items()},
        **{f"finding_{name}": number for name, number in Counter(each.kind for each in result.findings).items()},
        "violations": [violation.limit for violation in result.violations],
        "withheld": len(result.withheld),
        "unobserved": sorted({each.source for each in result.calendars if not each.observed}),
    }
