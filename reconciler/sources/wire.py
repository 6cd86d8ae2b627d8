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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import urllib3

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
HOSTS = 4  # a provider's: its interface, its tokens, what signs for it, the machine's own credential
# Google compresses only for a client that also says so in its name.
ALWAYS = {"accept-encoding": "gzip", "user-agent": f"reconciler/{__version__} (gzip)"}
ONCE = urllib3.Retry(total=False)
_OURS = {"content-length", *ALWAYS}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server answered; names of headers are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)


class _Local(threading.local):
    pools: urllib3.PoolManager | None = None


class Wire:
    """The connections of one source: kept alive, each thread with its own, all with one TLS context.

    `tls` stands in for the system's certificates.
    """

    def __init__(self, *, caps: Caps | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._caps = caps or Caps()
        self._tls = tls or ssl.create_default_context()  # 20 ms of CPU each: made once, not once a thread
        self._local = _Local()
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[urllib3.PoolManager] = weakref.WeakSet()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None, *, seconds: float = math.inf
    ) -> Answer:
        """Send a request once and return the answer whole, within about `seconds`. Raises TransientError."""
        until = time.monotonic() + min(seconds, self._caps.seconds)
        try:
            answer = self._pools().urlopen(
                method,
                url,
                body=body,
                headers={**{name: value for name, value in headers.items() if name.lower() not in _OURS}, **ALWAYS},
                retries=ONCE,
                redirect=False,
                timeout=urllib3.Timeout(connect=_within(seconds, CONNECT), read=_within(seconds, READ)),
                preload_content=False,
                decode_content=False,
            )
            return self._whole(answer, until)
        except FetchError as error:
            raise TransientError(str(error)) from None
        except (OSError, urllib3.exceptions.HTTPError, http.client.HTTPException, ValueError, zlib.error) as error:
            raise TransientError(why_broken(error)) from None

    def close(self) -> None:
        """Close all connections that no request is using."""
        with self._lock:
            pools = list(self._all)
        for each in pools:
            each.clear()

    def _pools(self) -> urllib3.PoolManager:
        pools = self._local.pools
        if pools is None:
            pools = self._local.pools = urllib3.PoolManager(HOSTS, maxsize=1, ssl_context=self._tls)
            with self._lock:
                self._all.add(pools)
        return pools

    def _whole(self, answer: BaseHTTPResponse, until: float) -> Answer:
        """Read an answer to its end; a connection that still has some of it in it is not used again."""
        try:
            body = b"".join(_bounded(_unpacked(answer, until), self._caps.bytes))
        except BaseException:
            answer.close()
            raise
        answer.release_conn()
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, body)


def _within(seconds: float, most: float) -> float:
    return max(LEAST, min(seconds, most))


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
