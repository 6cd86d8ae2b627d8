"""Where an export goes: a file for node_exporter's textfile collector, whole or not at all, or a Pushgateway's group.

A push replaces what was pushed for the same job, and nothing of any other job. Both say in a sentence why they could
not, and neither takes longer than it is given.
"""

from __future__ import annotations

import contextlib
import os
import ssl
import tempfile
import threading
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.util import make_headers

from reconciler import __version__
from reconciler.sources.fetch import why_broken

STEP: Final = 5.0
"""Seconds that a gateway is waited for: for a connection, for each part of its answer, and for all of it together."""
READABLE: Final = 0o644
"""Another user's node_exporter has to read it; it names no person."""
CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"

_BROKEN: Final = (OSError, urllib3.exceptions.HTTPError, HTTPException, ValueError)


class NotLeftError(Exception):
    """An export could not be left where it was meant to be. Says why, a clause without addresses."""


def write(path: Path, content: bytes) -> None:
    """Put `content` in the place of the file: who reads it sees the old one or the new one. Raises NotLeftError."""
    try:
        number, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise NotLeftError(f"its folder can't be written to: {_reason(error)}") from None
    try:
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fchmod(number, READABLE)
            os.fsync(number)
        Path(name).replace(path)
    except OSError as error:
        Path(name).unlink(missing_ok=True)
        raise NotLeftError(f"it can't be written: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    return error.strerror or type(error).__name__


# ---- the gateway ----------------------------------------------------------------------------------------------------


def push(gateway: str, job: str, content: bytes, *, seconds: float = STEP, tls: ssl.SSLContext | None = None) -> None:
    """Replace what the gateway has of this job. Raises NotLeftError. Redirects are not followed."""
    said: list[str] = []

    def attempt() -> None:
        said.append(_pushed(urlsplit(gateway), job, content, seconds, tls))

    # Looking up a name can't be cut off, and a host may have many addresses: whoever takes too long is left alone.
    worker = threading.Thread(target=attempt, daemon=True)
    worker.start()
    worker.join(seconds)
    why = said[0] if said else "did not answer in time"
    if why:
        raise NotLeftError(f"the gateway {why}")


def _pushed(target: SplitResult, job: str, content: bytes, seconds: float, tls: ssl.SSLContext | None) -> str:
    """Send it once, and say what went wrong; nothing if all went well."""
    try:
        with contextlib.closing(_line(target, seconds, tls)) as line:
            line.request("PUT", _path(target, job), content, _headers(target), preload_content=False)
            status = line.getresponse().status
    except _BROKEN as error:
        return why_broken(error)
    return "" if status // 100 == HTTPStatus.OK // 100 else f"answered {status}"


def _path(target: SplitResult, job: str) -> str:
    return f"{target.path.rstrip('/')}/metrics/job/{quote(job, safe='')}"


def _headers(target: SplitResult) -> dict[str, str]:
    headers = {"Content-Type": CONTENT_TYPE, "User-Agent": f"reconciler/{__version__}"}
    if target.username is None:
        return headers
    login = f"{unquote(target.username)}:{unquote(target.password or '')}"
    return headers | make_headers(basic_auth=login)


def _line(target: SplitResult, seconds: float, tls: ssl.SSLContext | None) -> HTTPConnection:
    host = target.hostname or ""
    if target.scheme == "https":
        context = tls or ssl.create_default_context()
        return HTTPSConnection(host, target.port or 443, timeout=seconds, ssl_context=context)
    return HTTPConnection(host, target.port or 80, timeout=seconds)
