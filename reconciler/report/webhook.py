"""Webhooks: a summary is posted once, signed, to an address that was checked, and nowhere that it is led to.

Any answer but yes has refused it, and it may be sent again. Silence once all of it is out, or a gateway that heard
nothing from behind it, leaves it unconfirmed. An address is its own password: no sentence names more of it than a host.

The receiver knows us by a signature: HMAC-SHA256 with the shared key over the timestamp, a full stop and the body.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, Final
from urllib.parse import SplitResult, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from reconciler import __version__
from reconciler.config.hosts import is_loopback
from reconciler.report.answer import Answer, Fate
from reconciler.sources.answers import (
    Level,
    PostponedError,
    ProviderError,
    RejectedError,
    ThrottledError,
    TransientError,
)
from reconciler.sources.fetch import ATTEMPTS, Resolve, refused, resolve, why_broken
from reconciler.sources.wire import retry_after

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

    from reconciler.quota import Quota

STEP: Final = 30.0
WHOLE: Final = 120.0
"""Seconds: for one step, and for a whole exchange."""
PATIENCE: Final = 60.0
"""Seconds that a budget, or a chat that asks to be left alone for a moment, is waited for: less than a claim lasts."""
LARGEST: Final = 200_000
"""Bytes of a body that are sent, and more than any summary has."""
SAID: Final = 1000

TIMESTAMP: Final = "X-Reconcile-Timestamp"
SIGNATURE: Final = "X-Reconcile-Signature"
DELIVERY: Final = "X-Reconcile-Delivery"
"""The last one names what is told: the same for each attempt at it."""

_BROKEN: Final = (OSError, urllib3.exceptions.HTTPError, HTTPException, ValueError)
_GATEWAYS: Final = {HTTPStatus.BAD_GATEWAY, HTTPStatus.GATEWAY_TIMEOUT}  # they speak for somebody who fell silent
_MOVED: Final = range(300, 400)
_WORD: Final = re.compile(rb"[a-z][a-z_]{2,60}")  # Slack says what is wrong in one word, such as `no_service`


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """Where summaries go, by which key they are signed, and within which bounds. `tls` and `resolve` are for tests."""

    url: str = field(repr=False)
    secret: str = field(default="", repr=False)
    allow_private: bool = False
    step: float = STEP
    whole: float = WHOLE
    tls: ssl.SSLContext | None = field(default=None, repr=False)
    resolve: Resolve = resolve

    def send(self, body: bytes, digest: str, now: datetime, quota: Quota) -> Answer:
        """Post a body that tells what `digest` names, within the budget, and say what became of it."""
        from reconciler.quota import Scope

        if len(body) > LARGEST:
            return Answer(Fate.REFUSED, f"the summary is larger than {LARGEST:,} bytes")
        headers, until = self._headers(body, digest, now), time.monotonic() + PATIENCE

        def patience() -> float:
            return until - time.monotonic()

        try:
            quota.call(lambda: self._posted(body, headers, now), agent="", scope=Scope.WRITE, patience=patience)
        except PostponedError as error:
            return Answer(Fate.REFUSED, f"it was not sent: {error}")
        except TransientError as error:
            return Answer(Fate.UNCONFIRMED, f"all of it was sent, then {self._host} {error}")
        except ProviderError as error:
            return Answer(Fate.REFUSED, f"{self._host} {error}")
        return Answer(Fate.SENT)

    def reach(self) -> str:
        """Say why the address could not be reached; nothing if all is well. Sends nothing."""
        try:
            with self._connected(urlsplit(self.url)):
                return ""
        except ProviderError as error:
            return f"{self._host} {error}"

    @property
    def _host(self) -> str:
        return (urlsplit(self.url).hostname or "the server")[:80]

    def _headers(self, body: bytes, digest: str, now: datetime) -> dict[str, str]:
        stamp = str(int(now.timestamp()))
        headers = {
            "Host": urlsplit(self.url).netloc,
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
            "User-Agent": f"reconciler/{__version__}",
            "Connection": "close",
            DELIVERY: digest,
        }
        if self.secret:
            headers |= {TIMESTAMP: stamp, SIGNATURE: signature(self.secret, stamp, body)}
        return headers

    # ---- one attempt

    def _posted(self, body: bytes, headers: Mapping[str, str], now: datetime) -> None:
        """Send it once. Raises TransientError if nobody knows what became of it, ProviderError if it was refused."""
        target = urlsplit(self.url)
        with self._connected(target) as connection:
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            try:
                connection.request("POST", path, body, headers, preload_content=False, decode_content=False)
            except _BROKEN as error:
                raise RejectedError(f"did not take all of it: it {why_broken(error)}") from None
            try:
                with closing(connection.getresponse()) as answer:
                    status, said = answer.status, _word(answer)
                    after = retry_after({name.lower(): value for name, value in answer.headers.items()}, _seconds(now))
            except _BROKEN as error:
                raise TransientError(why_broken(error)) from None
        _judged(status, said, after)

    @contextmanager
    def _connected(self, target: SplitResult) -> Iterator[HTTPConnection]:
        """Connect to an address that was checked, and cut the exchange off when it takes too long."""
        connection = self._dialled(target)
        line = connection.sock  # an answer takes it from its connection
        watch = threading.Timer(self.whole, _cut, (line,))
        watch.daemon = True
        watch.start()
        try:
            yield connection
        finally:
            watch.cancel()
            connection.close()

    def _dialled(self, target: SplitResult) -> HTTPConnection:
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        failure: Exception | None = None
        for address in self._addresses(host, port)[:ATTEMPTS]:
            connection = self._new(target, host, address, port)
            try:
                connection.connect()
            except _BROKEN as error:
                connection.close()
                failure = error
            else:
                return connection
        raise RejectedError(why_broken(failure) if failure else "has no address")

    def _new(self, target: SplitResult, host: str, address: str, port: int) -> HTTPConnection:
        if target.scheme != "https":
            return HTTPConnection(address, port, timeout=self.step)
        context = self.tls or ssl.create_default_context()
        return HTTPSConnection(address, port, timeout=self.step, ssl_context=context, server_hostname=host)

    def _addresses(self, host: str, port: int) -> list[str]:
        """Return where a host is, all of it checked: whoever names an address must not reach into our network."""
        try:
            found = list(self.resolve(host, port))
        except (OSError, UnicodeError):
            raise RejectedError("has a host name that can't be resolved") from None
        for address in found:
            if why := refused(address, loopback=is_loopback(host), private=self.allow_private):
                raise RejectedError(f"leads to {why}, which is not allowed (report.webhook.allow_private)")
        return found


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """Return what a receiver compares: by it, and by the timestamp, it knows what is ours and fresh."""
    signed = timestamp.encode() + b"." + body
    return "v1=" + hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


def _judged(status: int, said: str, after: float | None) -> None:
    """Raise unless the answer is yes."""
    if status // 100 == HTTPStatus.OK // 100:
        return
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        raise ThrottledError("is told too much (HTTP 429)", level=Level.PROJECT, after=after)
    if status in _GATEWAYS:
        raise TransientError(f"answered that nobody behind it did (HTTP {status})")
    if status in _MOVED:
        raise RejectedError(f"sends us elsewhere (HTTP {status}), where we do not go")
    raise RejectedError(f"refused it: HTTP {status}{said}")


def _word(answer: BaseHTTPResponse) -> str:
    """Return what a refusal says in a word of its own; anything longer may be what we sent."""
    if answer.status < HTTPStatus.BAD_REQUEST:
        return ""
    with suppress(*_BROKEN):
        found = answer.read(SAID).strip()
        return f" {found.decode()}" if _WORD.fullmatch(found) else ""
    return ""


def _seconds(now: datetime) -> float:
    return now.timestamp()


def _cut(line: socket.socket | None) -> None:
    if line is not None:
        with suppress(OSError):
            line.shutdown(socket.SHUT_RDWR)
