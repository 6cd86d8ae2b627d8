"""What every stand-in server shares: HTTP/1.1 on loopback, faults as configuration, a ledger of all that was asked.

Nothing but 127.0.0.1 is ever bound, on a free port. A stopped server has closed its connections and ended its threads,
and raises what went wrong inside it: a mistake of a stand-in must never pass for an answer of the provider.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import socket
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from email.utils import format_datetime
from enum import StrEnum
from http import HTTPStatus
from types import TracebackType
from typing import BinaryIO, Final, Self
from urllib.parse import parse_qs, unquote

HOST: Final = "127.0.0.1"
JSON: Final = "application/json; charset=UTF-8"

_LONGEST_LINE: Final = 1 << 16
_BIGGEST_BODY: Final = 1 << 24
_BACKLOG: Final = 512


@dataclass(frozen=True, slots=True)
class Request:
    """One request: `path` is as it was sent, without its query; names of headers are in lower case."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes

    def one(self, name: str) -> str | None:
        """Return the last value of a query parameter."""
        values = self.query.get(name)
        return values[-1] if values else None

    @property
    def parts(self) -> list[str]:
        """Return the names in the path, decoded one by one: an id may hold an encoded slash."""
        return [unquote(part) for part in self.path.split("/") if part]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back. `lost`: the connection closes without an answer; `cut`: it closes in the middle of one."""

    status: int = 200
    body: bytes = b""
    content_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()
    packed: bool = False
    lost: bool = False
    cut: bool = False


class Harm(StrEnum):
    """What a fault does to a request."""

    ERROR = "error"  # an error of the provider: `status` and `reason`
    NEW_STYLE = "new style"  # the same, in the shape that has a status word and no list of errors
    HTML = "html"  # a page of a proxy, with `status`
    REDIRECT = "redirect"  # sent elsewhere: `location`
    DROP_BEFORE = "drop before"  # the connection closes, nothing was carried out
    DROP_AFTER = "drop after"  # carried out, and the connection closes without an answer
    CUT = "cut"  # carried out, and the connection closes in the middle of the answer
    TORN_GZIP = "torn gzip"  # carried out, and the compressed answer lacks its second half
    TORN_JSON = "torn json"  # carried out, and the JSON lacks its second half
    OTHER_KIND = "other kind"  # carried out, and the answer is JSON of a kind nobody asked for
    SLOW = "slow"  # carried out after `seconds`, as the server's `wait` spends them
    EMPTY_PAGE = "empty page"  # a page of a list without items, and the walk goes on
    SMALL_PAGES = "small pages"  # at most `size` items a page
    LATE_ERROR = "late error"  # carried out, and answered with an error: `status`, without a body
    BIG_PAGE = "big page"  # `status` without a body for lists that want more than `size` items a page
    ENDLESS = "endless"  # the same page of a list again and again, each time with a fresh link
    REPLAY = "replay"  # a delta also has the last `size` changes from before its token, a first round old tombstones
    STALE = "stale"  # a delta shows nothing yet; what changed comes with its next link
    DUPLICATES = "duplicates"  # the first `size` items of a page are there twice, the second time as they were before
    STRAY_LINK = "stray link"  # the link to the next page, or the next delta, leads to `location`
    NAMELESS_LINK = "nameless link"  # the user's name is missing in that link
    NONE = "none"  # nothing: for `meanwhile` alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """Something that goes wrong: first which requests it hits, then what happens to them.

    `nth` counts the requests that match, from 1; `share` is drawn from the seed, the same whatever the order in which
    threads arrive; `times` bounds how often it strikes. `meanwhile` runs just before the request is carried out.
    """

    what: Harm = Harm.ERROR
    kind: str = "calendar"
    method: str = ""
    path: str = ""
    agent: str = ""
    nth: Collection[int] = ()
    share: float = 1.0
    times: int | None = None
    status: int = 503
    reason: str = "backendError"
    retry_after: int | datetime | None = None
    location: str = "http://elsewhere.example/"
    seconds: float = 0.0
    size: int = 1
    meanwhile: Callable[[], object] | None = None

    def hits(self, kind: str, agent: str, request: Request) -> bool:
        """Say whether the fault is meant for requests like this one."""
        return (
            self.kind in {"", kind}
            and (not self.method or request.method in self.method.split())
            and self.path in unquote(request.path)
            and self.agent in {"", agent}
        )


class Faults:
    """The faults in force. The first that strikes is the one that happens."""

    def __init__(self, seed: int, faults: Iterable[Fault] = ()) -> None:
        self._seed = seed
        self._lock = threading.Lock()
        self._faults = list(faults)
        self._matched: Counter[int] = Counter()
        self._struck: Counter[int] = Counter()
        self._seen: Counter[tuple[str, ...]] = Counter()

    def add(self, *faults: Fault) -> None:
        with self._lock:
            self._faults.extend(faults)

    def clear(self) -> None:
        with self._lock:
            self._faults.clear()
            self._matched.clear()
            self._struck.clear()

    def pick(self, kind: str, agent: str, request: Request) -> Fault | None:
        """Return the fault that strikes this request."""
        if not self._faults:
            return None
        with self._lock:
            what = (kind, agent, request.method, request.path)
            self._seen[what] += 1
            return next(
                (fault for number, fault in enumerate(self._faults) if self._strikes(number, request, what)), None
            )

    def _strikes(self, number: int, request: Request, what: tuple[str, ...]) -> bool:
        fault = self._faults[number]
        if not fault.hits(what[0], what[1], request):
            return False
        self._matched[number] += 1
        if fault.nth and self._matched[number] not in fault.nth:
            return False
        if fault.times is not None and self._struck[number] >= fault.times:
            return False
        if fault.share < 1 and self._draw(number, what) >= fault.share:
            return False
        self._struck[number] += 1
        return True

    def _draw(self, number: int, what: tuple[str, ...]) -> float:
        """Draw from [0, 1) by what is asked and how often it was asked, not by when it arrived."""
        text = "\n".join((str(self._seed), str(number), str(self._seen[what]), *what))
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8]) / 2**64


def disturbed(fault: Fault, carry_out: Callable[[], Answer], wait: Callable[[float], None]) -> Answer:
    """Answer as the fault has it; the provider's own errors and pages are made where the provider is known."""
    match fault.what:
        case Harm.HTML:
            page = b"<!DOCTYPE html><html><head><title>Sorry</title></head><body>Please try later</body></html>"
            return Answer(status=fault.status, body=page, content_type="text/html; charset=UTF-8")
        case Harm.REDIRECT:
            return Answer(status=302, headers=(("Location", fault.location),))
        case Harm.DROP_BEFORE:
            return Answer(lost=True, status=0)
        case Harm.SLOW:
            wait(fault.seconds)
            return carry_out()
        case Harm.LATE_ERROR:
            carry_out()
            return Answer(status=fault.status, headers=retry_after(fault.retry_after))
    return _spoiled(fault.what, carry_out())


def _spoiled(harm: Harm, answer: Answer) -> Answer:
    match harm:
        case Harm.DROP_AFTER:
            return replace(answer, lost=True, status=0)
        case Harm.CUT:
            return replace(answer, cut=True)
        case Harm.TORN_GZIP:
            torn = gzip.compress(answer.body, 1, mtime=0)
            return replace(answer, body=torn[: len(torn) // 2], packed=True)
        case Harm.TORN_JSON:
            return replace(answer, body=answer.body[: len(answer.body) // 2])
        case Harm.OTHER_KIND:
            return replace(answer, body=b'{"kind": "calendar#something", "items": []}')
    return answer


def retry_after(value: int | datetime | None) -> tuple[tuple[str, str], ...]:
    """Write the header Retry-After, in seconds or as a date."""
    if value is None:
        return ()
    text = format_datetime(value, usegmt=True) if isinstance(value, datetime) else str(value)
    return (("Retry-After", text),)


@dataclass(frozen=True, slots=True)
class Entry:
    """One request in the ledger. `status` 0: the connection was closed without an answer."""

    at: datetime
    kind: str
    method: str
    path: str
    query: Mapping[str, list[str]]
    agent: str
    quota_user: str
    units: int
    status: int


class Ledger:
    """Every request that reached the server, in the order in which they were answered."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()

    def note(self, entry: Entry) -> None:
        with self._lock:
            self._entries.append(entry)

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def entries(self, kind: str = "calendar") -> list[Entry]:
        """Return the requests of one kind, or of all with an empty one."""
        with self._lock:
            return [entry for entry in self._entries if kind in {"", entry.kind}]

    def most(self, window_seconds: float, of: str = "project", kind: str = "calendar") -> int:
        """Return the largest number of requests in any window of that length: of the project, or of one agent."""
        times = sorted(
            entry.at.timestamp()
            for entry in self.entries(kind)
            if of in {"project", entry.agent} or of == entry.quota_user
        )
        most = first = 0
        for last, at in enumerate(times):
            while at - times[first] >= window_seconds:
                first += 1
            most = max(most, last - first + 1)
        return most


@dataclass(slots=True)
class SlidingWindow:
    """Counts units over the last `seconds`; amounts of the same `grain` of time share an entry."""

    limit: int
    seconds: float
    grain: float = 0.0
    _spent: deque[tuple[float, int]] = field(default_factory=deque)
    _sum: int = 0

    def room(self, now: float, units: int) -> bool:
        """Say whether so many units fit now; what is too old is forgotten."""
        while self._spent and now - self._spent[0][0] >= self.seconds:
            self._sum -= self._spent.popleft()[1]
        return self._sum + units <= self.limit

    def spend(self, now: float, units: int) -> None:
        at = now - now % self.grain if self.grain else now
        if self._spent and self._spent[-1][0] == at:
            units_before = self._spent.pop()[1]
            self._spent.append((at, units_before + units))
        else:
            self._spent.append((at, units))
        self._sum += units


class _Noticing:
    """Keeps an error in a list, to be raised when the server stops, and lets the thread go on."""

    def __init__(self, errors: list[BaseException]) -> None:
        self._errors = errors

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if error is not None:
            self._errors.append(error)
        return isinstance(error, Exception)


class Loopback:
    """An HTTP/1.1 server with kept connections, a thread each; `handle` makes an answer of a request."""

    def __init__(self, handle: Callable[[Request], Answer]) -> None:
        self._handle = handle
        self._listener: socket.socket | None = None
        self._lock = threading.Lock()
        self._connections: dict[socket.socket, threading.Thread] = {}
        self._accepting: threading.Thread | None = None
        self._stopping = False
        self.port = 0
        self.accepted = 0
        self.failures: list[BaseException] = []

    def __enter__(self) -> Self:
        self._stopping = False
        self._listener = socket.create_server((HOST, 0), backlog=_BACKLOG)
        self.port = self._listener.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, args=(self._listener,), name="stand-in", daemon=True)
        self._accepting.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()
        if self.failures and error is None:
            raise self.failures[0]

    def _stop(self) -> None:
        self._stopping = True
        # A connection of our own ends the wait for the next one, on every system alike.
        with contextlib.suppress(OSError):
            socket.create_connection((HOST, self.port), timeout=5).close()
        if self._accepting is not None:
            self._accepting.join()
        with self._lock:
            open_ones = list(self._connections.items())
        for connection, _ in open_ones:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for _, thread in open_ones:
            thread.join()
        if self._listener is not None:
            self._listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            connection, _ = listener.accept()
            if self._stopping:
                connection.close()
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            thread = threading.Thread(target=self._serve, args=(connection,), name="stand-in", daemon=True)
            with self._lock:
                self.accepted += 1
                self._connections[connection] = thread
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            with connection, connection.makefile("rb") as reader:
                while (request := _read(reader)) is not None:
                    if not _send(connection, request, self._answer(request)):
                        break
        except (OSError, ValueError):
            pass  # the client went away, or speaks something that is not HTTP
        finally:
            with self._lock:
                self._connections.pop(connection, None)

    def _answer(self, request: Request) -> Answer:
        with _Noticing(self.failures):
            return self._handle(request)
        return Answer(status=500, body=b"the stand-in itself failed", content_type="text/plain")


def _read(reader: BinaryIO) -> Request | None:
    """Read one request; None when the client has closed the connection."""
    line = reader.readline(_LONGEST_LINE)
    if not line.strip():
        return None
    method, target, _ = line.decode("latin-1").split(" ", 2)
    headers = _headers(reader)
    length = int(headers.get("content-length", "0"))
    if length > _BIGGEST_BODY or "transfer-encoding" in headers:
        raise ValueError("a body that no client of ours sends")
    body = reader.read(length) if length else b""
    path, _, query = target.partition("?")
    override = headers.get("x-http-method-override")
    if method == "POST" and override:
        # facts §5.3: the client turns a GET with a long address into a POST whose body is the query.
        method, query, body = override, body.decode(), b""
    return Request(method, path, parse_qs(query, keep_blank_values=True) if query else {}, headers, body)


def _headers(reader: BinaryIO) -> dict[str, str]:
    headers = {}
    while (line := reader.readline(_LONGEST_LINE).decode("latin-1").rstrip("\r\n")) != "":
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    return headers


def _send(connection: socket.socket, request: Request, answer: Answer) -> bool:
    """Send the answer; False when the connection ends with it."""
    if answer.lost:
        return False
    body, packed = answer.body, answer.packed
    if body and not packed and "gzip" in request.headers.get("accept-encoding", ""):
        body, packed = gzip.compress(body, 1, mtime=0), True
    head = _head(answer, len(body), packed=packed)
    if answer.cut:
        connection.sendall(head + body[: len(body) // 2])
        return False
    connection.sendall(head + body)
    return request.headers.get("connection", "").lower() != "close"


def _head(answer: Answer, length: int, *, packed: bool) -> bytes:
    lines = [f"HTTP/1.1 {answer.status} {HTTPStatus(answer.status).phrase}"]
    if answer.body:
        lines.append(f"Content-Type: {answer.content_type}")
    if packed:
        lines.append("Content-Encoding: gzip")
    if answer.status not in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}:
        lines.append(f"Content-Length: {length}")
    lines += [f"{name}: {value}" for name, value in answer.headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")
