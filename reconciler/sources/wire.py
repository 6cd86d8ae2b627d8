"""One request out, one answer in: nothing is sent twice, no redirect is followed, all sizes and times have an end.

Whatever breaks on the way is a `TransientError` whose clause names neither host nor URL. An answer is returned as it
is, also one that says no: what it means is known elsewhere.
"""

from __future__ import annotations

import http.client
import math
import ssl
import threading
import time
import weakref
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from reconciler import __version__
from reconciler.sources import Caps
from reconciler.sources.answers import TransientError
from reconciler.sources.fetch import FetchError, gunzip, why_broken

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

CONNECT = 10.0  # seconds for a connection
READ = 30.0  # seconds without a byte
LEAST = 0.1  # a socket's time is never nothing
CHUNK = 64 * 1024
LONGEST_WAIT = timedelta(days=2).total_seconds()  # a Retry-After beyond it is nonsense
# Google compresses only for a client that also says so in its name.
ALWAYS = {"accept-encoding": "gzip", "user-agent": f"reconciler/{__version__} (gzip)"}
_OURS = {"content-length", *ALWAYS}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _Kept:
    """The connections of one thread, by origin. They end with it."""

    def __init__(self) -> None:
        self.open: dict[tuple[str, str], HTTPConnection] = {}
        weakref.finalize(self, _hang_up, self.open)


class _Local(threading.local):
    kept: _Kept | None = None


class Wire:
    """The connections of one source: kept alive, each thread with its own, all with one TLS context.

    `tls` stands in for the system's certificates. A pool of connections would do too, but it spells each URL anew, one
    character after the other: most of what a request costs here.
    """

    def __init__(self, *, caps: Caps | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._caps = caps or Caps()
        self._tls = tls
        self._local = _Local()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[_Kept] = weakref.WeakSet()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, seconds: float = math.inf
    ) -> Answer:
        """Send a request once and return the answer whole, within about `seconds`. Raises TransientError."""
        until = time.monotonic() + min(seconds, self._caps.seconds)
        sent = {**{name: value for name, value in headers.items() if name.lower() not in _OURS}, **ALWAYS}
        try:
            target = urlsplit(url)
            path = f"{target.path or '/'}?{target.query}" if target.query else target.path or "/"
            with self._connection(target, seconds) as connection:
                connection.request(method, path, body, sent, preload_content=False, decode_content=False)
                return whole(connection.getresponse(), until, self._caps.bytes)
        except FetchError as error:
            raise TransientError(str(error)) from None
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, zlib.error) as error:
            raise TransientError(why_broken(error)) from None

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            everybody = list(self._all)
        for kept in everybody:
            _hang_up(kept.open)

    @contextmanager
    def _connection(self, target: SplitResult, seconds: float) -> Iterator[HTTPConnection]:
        """Hand out this thread's connection; unless all goes well it is closed, for there may be more to come."""
        connection = self._kept(target)
        try:
            if not connection.is_connected:  # also when the server hung up since
                connection.close()
                connection.timeout = _within(seconds, CONNECT)
                connection.connect()
            connection.timeout = _within(seconds, READ)
            yield connection
        except BaseException:
            connection.close()
            raise

    def _kept(self, target: SplitResult) -> HTTPConnection:
        kept = self._local.kept
        if kept is None:
            kept = self._local.kept = _Kept()
            with self._lock:
                self._all.add(kept)
        origin = (target.scheme, target.netloc)
        if origin not in kept.open:
            kept.open[origin] = self._new(target)
        return kept.open[origin]

    def _new(self, target: SplitResult) -> HTTPConnection:
        host = target.hostname or ""
        if target.scheme == "https":
            return HTTPSConnection(host, target.port or 443, ssl_context=self._context())
        return HTTPConnection(host, target.port or 80)

    def _context(self) -> ssl.SSLContext:
        """Return the one TLS context: 20 ms of CPU and all authorities' certificates, made once, and when needed."""
        with self._lock:
            self._tls = self._tls or ssl.create_default_context()
            return self._tls


def _hang_up(connections: dict[tuple[str, str], HTTPConnection]) -> None:
    for connection in list(connections.values()):
        connection.close()


def _within(seconds: float, most: float) -> float:
    return max(LEAST, min(seconds, most))


def whole(answer: BaseHTTPResponse, until: float, most: int) -> Answer:
    """Read an answer to its end, by `until` of the monotonic clock and within `most` bytes. Raises as reading does."""
    body = b"".join(_bounded(_unpacked(answer, until), most))
    return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Return how many seconds Retry-After asks for, which is a number or a date; None if it says nothing sensible."""
    value = headers.get("retry-after", "").strip()[:100]
    try:
        seconds = float(value) if value[:1].isdigit() else parsedate_to_datetime(value).timestamp() - now
    except (ValueError, TypeError, OverflowError):
        return None
    return min(max(seconds, 0.0), LONGEST_WAIT) if math.isfinite(seconds) else None


def _unpacked(answer: BaseHTTPResponse, until: float) -> Iterator[bytes]:
    encoding = answer.headers.get("content-encoding", "").strip().lower()
    if encoding not in {"", "identity", "gzip", "x-gzip"}:
        raise TransientError("sent an answer with a compression that was not asked for")
    chunks = _raw(answer, until)
    return gunzip(chunks) if encoding.endswith("gzip") else chunks


def _raw(answer: BaseHTTPResponse, until: float) -> Iterator[bytes]:
    while chunk := answer.read1(CHUNK):
        yield chunk
        if time.monotonic() > until:
            raise TransientError("did not answer whole in time")


def _bounded(chunks: Iterator[bytes], most: int) -> Iterator[bytes]:
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > most:
            raise TransientError(f"sent an answer larger than {most} bytes")
        yield chunk
