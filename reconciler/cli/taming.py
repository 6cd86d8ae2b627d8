"""What other packages log: that they warn, and where, in our own lines; never the values they warn of."""

from __future__ import annotations

import logging
import os
import sys
import threading
import traceback
from pathlib import Path
from typing import Final

_WATCHED: Final = ("google", "O365", "msal", "urllib3", "requests", "httplib2", "sqlalchemy", "alembic", "py.warnings")
"""Packages that the environment may ask for more, and what `warnings` says."""


def tame() -> None:
    """Let other packages say no more than that they warn, and where, whatever the environment asks of them."""
    root = logging.getLogger()
    root.handlers = [Tamed(logging.WARNING)]
    root.setLevel(logging.WARNING)
    for name in _WATCHED:
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.WARNING)
    logging.disable(logging.INFO)  # for those that have, or are given, a level or a handler of their own
    logging.captureWarnings(capture=True)


class Tamed(logging.Handler):
    """Pass on who warned and the template of what was said, without its values."""

    def emit(self, record: logging.LogRecord) -> None:
        import structlog

        said = record.msg if record.args and isinstance(record.msg, str) and "@" not in record.msg else None
        where = f"{record.module}:{record.lineno}"
        logger = structlog.get_logger()
        logger.warning("a package warns", package=record.name, says=said, where=where, severity=record.levelname)


def untame() -> None:
    """Leave other packages' logs to others again."""
    root = logging.getLogger()
    root.handlers = [handler for handler in root.handlers if not isinstance(handler, Tamed)]
    logging.disable(logging.NOTSET)
    logging.captureWarnings(capture=False)


def tame_process() -> None:
    """Let nothing in this process write values by itself: neither a thread that dies nor what Python can't raise.

    Google's client would log whole requests and answers where this variable is set, by a handler of its own.
    """
    os.environ.pop("GOOGLE_SDK_PYTHON_LOGGING_SCOPE", None)
    logging.raiseExceptions = False
    threading.excepthook = lambda hook: _lost(hook.exc_value)
    sys.unraisablehook = lambda hook: _lost(hook.exc_value)


def _lost(error: BaseException | None) -> None:
    import structlog

    if error is not None:
        said = {"error": type(error).__name__, "place": place_of(error)}
        structlog.get_logger().error("an error that ended nothing", **said)


def place_of(error: BaseException) -> str:
    """Return where in this program an error came up, or as close to it as can be told."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "reconciler" in frame.filename] or frames
    return f"{Path(ours[-1].filename).name} line {ours[-1].lineno}" if ours else ""
