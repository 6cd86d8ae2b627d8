"""Fetch a calendar by its URL without being led anywhere else: nobody who can name a URL may look into our network.

The host is resolved once, every address it has is checked, and the connection goes to a checked address, with the
certificate verified against the name. Redirects stay on the origin. Size (also unpacked) and time have an end. A feed's
address is its password: errors name the host and a short hash of the URL, nothing else.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPException
from typing import TYPE_CHECKING, TypeAlias
from urllib.parse import SplitResult, unquote, urljoin, urlsplit

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection

from reconciler import __version__

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve: TypeAlias = Callable[[str, int], Sequence[str]]

REDIRECTS = 3
ATTEMPTS = 2  # addresses of one host that are tried
CHUNK = 64 * 1024
HEADER = 500  # characters of a header that are kept
HEADERS = {
    "Accept": "text/calendar, */*;q=0.1",
    "Accept-Encoding": "gzip",
    "User-Agent": f"reconciler/{__version__}",
    "Connection": "close",
}

# IPv6 addresses that end in an IPv4 address, which is where a packet may come out: NAT64 (RFC 6052, 8215), what is
# called IPv4-compatible (RFC 4291, 2.5.5.1) and IPv4-translated (RFC 2765).
_CARRIERS = tuple(map(ipaddress.IPv6Network, ("64:ff9b::/96", "64:ff9b:1::/48", "::/96", "::ffff:0:0:0/96")))
_ITSELF = (ipaddress.IPv6Address("::"), ipaddress.IPv6Address("::1"))
# Where clouds tell a machine its credentials besides the link-local 169.254.169.254, as their manuals name them:
# Azure, AWS, Google Cloud, Alibaba, and Oracle with all that is the protocols' own.
_METADATA = tuple(
    map(
        ipaddress.ip_network,
        ("168.63.129.16/32", "fd00:ec2::254/128", "fd20:ce::254/128", "100.100.100.200/32", "192.0.0.0/24"),
    )
)
_PRIVATE = tuple(
    map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7"))
)
_BROKEN_OFF = (urllib3.exceptions.ProtocolError, HTTPException, ConnectionError)
_MOVED = {301, 302, 303, 307, 308}
_ANSWERS = {
    401: "asks for a login (HTTP 401): its address may have been reset",
    403: "refuses to be read (HTTP 403): its address may have been reset",
    404: "is not there (HTTP 404): its address may have been reset",
    410: "is gone (HTTP 410)",
    429: "is asked too often (HTTP 429)",
}


class FetchError(Exception):
    """The calendar was not fetched whole. The message is the predicate of a sentence: "is not there (HTTP 404)"."""


@dataclass(frozen=True, slots=True)
class Validators:
    """What a server said of a version of the calendar, to ask later whether it still is the one."""

    etag: str = ""
    modified: str = ""


@dataclass(frozen=True, slots=True)
class Fetched:
    """An answer: the bytes of the calendar, unpacked, or None where it has not changed."""

    body: bytes | None
    validators: Validators = field(default_factory=Validators)


def label(url: str) -> str:
    """Name a URL without giving it away: its host and a short hash."""
    short = hashlib.sha256(url.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    try:
        host = urlsplit(url).hostname or "?"
    except ValueError:
        host = "?"
    return (
        f"{host[:80]} ({short})"
        if host.replace(".", "").replace("-", "").replace(":", "").isalnum()
        else f"a URL ({short})"
    )


def is_url(location: str) -> bool:
    """Tell a URL from a path."""
    return location.partition(":")[0].casefold() in {"http", "https", "webcal", "webcals"} and "//" in location


def resolve(host: str, port: int) -> list[str]:
    """Return the addresses of `host` as the system gives them, in its order."""
    return list(dict.fromkeys(str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches calendars within bounds: `most` bytes, `seconds` in all.

    `allow_private` lets addresses of the own network pass. `tls` stands in for the system's certificates, `resolve` for
    its resolver.
    """

    most: int
    seconds: float
    allow_private: bool = False
    tls: ssl.SSLContext | None = None
    resolve: Resolve = resolve

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        """Fetch `url`, or learn that it is still the version `known`; raise `FetchError` within about `seconds`."""
        exchange = _Exchange(self, known or Validators())
        return _within(self.seconds, lambda: exchange.run(url), exchange.abort)


def _within(seconds: float, work: Callable[[], Fetched], abort: Callable[[], None]) -> Fetched:
    """Do `work` in a thread of its own, which is left behind when time is over: a resolver can't be told to stop."""
    outcome: list[Fetched | Exception] = []

    def run() -> None:
        try:
            outcome.append(work())
        except FetchError as error:
            outcome.append(error)
        except (OSError, urllib3.exceptions.HTTPError, ValueError, zlib.error) as error:
            outcome.append(FetchError(why_broken(error)))

    thread = threading.Thread(target=run, name="ics-fetch", daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        abort()
        raise FetchError(f"did not answer whole within {seconds:g} seconds")
    [result] = outcome or [FetchError("could not be read")]
    if isinstance(result, Exception):
        raise result
    return result


def why_broken(error: Exception) -> str:
    """Say what went wrong in the connection; a library's own words may hold the URL and stay out."""
    chain = {type(one) for one in (error, error.__cause__, error.__context__) if one is not None}
    if any(issubclass(kind, (ssl.SSLError, urllib3.exceptions.SSLError)) for kind in chain):
        return "has a certificate or an encryption that is not accepted"
    if isinstance(error, urllib3.exceptions.NewConnectionError):
        return "could not be reached"
    if any(issubclass(kind, (TimeoutError, urllib3.exceptions.TimeoutError)) for kind in chain):
        return "did not answer in time"
    if any(issubclass(kind, _BROKEN_OFF) for kind in chain):
        return "broke off in the middle of its answer"
    if isinstance(error, zlib.error):
        return "sent an answer whose compression is broken"
    return f"could not be reached ({type(error).__name__})"


class _Exchange:
    """One fetch: its connection, which another thread may cut, and its deadline."""

    def __init__(self, bounds: Fetcher, known: Validators) -> None:
        self.bounds, self.known = bounds, known
        self.deadline = time.monotonic() + bounds.seconds
        self.socket: socket.socket | None = None  # the response takes it from its connection, so it is kept here

    def abort(self) -> None:
        if self.socket is not None:
            with contextlib.suppress(OSError):
                self.socket.shutdown(socket.SHUT_RDWR)

    def left(self) -> float:
        """Return the seconds that are left, at least a little, so that a socket never gets a time of zero."""
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise FetchError(f"did not answer whole within {self.bounds.seconds:g} seconds")
        return max(left, 0.01)

    def run(self, url: str) -> Fetched:
        target = _parse(url)
        for _ in range(REDIRECTS + 1):
            connection = self._connected(target)
            try:
                path = (target.path or "/") + (f"?{target.query}" if target.query else "")
                headers = self._headers(target)
                connection.request("GET", path, headers=headers, preload_content=False, decode_content=False)
                with contextlib.closing(connection.getresponse()) as answer:
                    if answer.status not in _MOVED:
                        return self._take(answer)
                    target = _moved(target, answer.headers.get("Location", ""))
            finally:
                connection.close()
        raise FetchError(f"redirects more than {REDIRECTS} times")

    def _connected(self, target: SplitResult) -> HTTPConnection:
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        failure: Exception | None = None
        for address in self._addresses(host, port)[:ATTEMPTS]:
            try:
                return self._connect(target.scheme, host, address, port)
            except (OSError, urllib3.exceptions.HTTPError) as error:
                failure = error
        raise FetchError(why_broken(failure) if failure else "has no address")

    def _connect(self, scheme: str, host: str, address: str, port: int) -> HTTPConnection:
        """Connect to `address`, as checked, and to nothing else; the certificate has to be that of `host`."""
        if scheme == "https":
            context = self.bounds.tls or ssl.create_default_context()
            connection: HTTPConnection = HTTPSConnection(
                address, port, timeout=self.left(), ssl_context=context, server_hostname=host
            )
        else:
            connection = HTTPConnection(address, port, timeout=self.left())
        try:
            connection.connect()
        except BaseException:
            connection.close()
            raise
        self.socket = connection.sock
        return connection

    def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = list(self.bounds.resolve(host, port))
        except (OSError, UnicodeError) as error:
            raise FetchError("has a host name that can't be resolved") from error
        for address in found:
            if why := refused(address, loopback=_is_loopback(host), private=self.bounds.allow_private):
                raise FetchError(f"leads to {why}, which is not allowed (allow_private)")
        return found

    def _headers(self, target: SplitResult) -> dict[str, str]:
        headers = {**HEADERS, "Host": target.netloc.rpartition("@")[2]}
        if target.username is not None:
            login = f"{unquote(target.username)}:{unquote(target.password or '')}"
            headers["Authorization"] = "Basic " + base64.b64encode(login.encode()).decode()
        if self.known.etag:
            headers["If-None-Match"] = self.known.etag
        if self.known.modified:
            headers["If-Modified-Since"] = self.known.modified
        return headers

    def _take(self, answer: BaseHTTPResponse) -> Fetched:
        if answer.status == HTTPStatus.NOT_MODIFIED and (self.known.etag or self.known.modified):
            return Fetched(None, self.known)
        if answer.status != HTTPStatus.OK:
            raise FetchError(_ANSWERS.get(answer.status, f"answered with HTTP {answer.status}"))
        body = b"".join(self._unpacked(answer))
        return Fetched(body, Validators(_header(answer, "ETag"), _header(answer, "Last-Modified")))

    def _unpacked(self, answer: BaseHTTPResponse) -> Iterator[bytes]:
        """Yield the body without its compression, until it is larger than allowed."""
        encoding = answer.headers.get("Content-Encoding", "").strip().casefold()
        if encoding not in {"", "identity", "gzip", "x-gzip"}:
            raise FetchError("sent an answer with a compression that was not asked for")
        unpack = gunzip if encoding.endswith("gzip") else _plain
        size = 0
        for chunk in unpack(self._raw(answer)):
            size += len(chunk)
            if size > self.bounds.most:
                raise FetchError(f"is larger than {self.bounds.most} bytes")
            yield chunk

    def _raw(self, answer: BaseHTTPResponse) -> Iterator[bytes]:
        while True:
            if self.socket is not None and self.socket.fileno() >= 0:
                self.socket.settimeout(self.left())
            chunk = answer.read1(CHUNK)
            if not chunk:
                return
            yield chunk


def _plain(chunks: Iterator[bytes]) -> Iterator[bytes]:
    return chunks


def gunzip(chunks: Iterator[bytes]) -> Iterator[bytes]:
    """Unpack gzip in small pieces, so that a bomb is noticed before it has grown; a missing end is an error."""
    unpacker = zlib.decompressobj(wbits=31)
    for chunk in chunks:
        data = chunk
        while data and not unpacker.eof:
            yield unpacker.decompress(data, CHUNK)
            data = unpacker.unconsumed_tail
    if not unpacker.eof:
        raise FetchError("broke off in the middle of its answer")


def _header(answer: BaseHTTPResponse, name: str) -> str:
    """Return a header that can be sent back as it is, empty if it can't."""
    value = answer.headers.get(name, "")
    return value if len(value) <= HEADER and value.isascii() and value.isprintable() else ""


# ---- where a URL may lead -------------------------------------------------------------------------------------------


def _parse(url: str) -> SplitResult:
    try:
        target = urlsplit(url.strip())
        port = target.port
        host = (target.hostname or "").encode("idna").decode()
    except (ValueError, UnicodeError) as error:
        raise FetchError("is a URL that makes no sense") from error
    scheme = {"webcal": "https", "webcals": "https"}.get(target.scheme.casefold(), target.scheme.casefold())
    if scheme not in {"https", "http"} or not host or any(char <= " " or char == "\x7f" for char in url.strip()):
        raise FetchError("is a URL that makes no sense")
    if scheme == "http" and not _is_loopback(host):
        raise FetchError("is not encrypted: only https is read")
    login = target.netloc.rpartition("@")[0]
    bracketed = f"[{host}]" if ":" in host else host
    netloc = (f"{login}@" if login else "") + bracketed + (f":{port}" if port else "")
    return SplitResult(scheme, netloc, _ascii(target.path), _ascii(target.query), "")


def _ascii(part: str) -> str:
    return "".join(
        char if char.isascii() else "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "replace")) for char in part
    )


def _moved(target: SplitResult, location: str) -> SplitResult:
    """Follow a redirect on the same origin; anywhere else nobody has allowed us to go."""
    try:
        there = _parse(urljoin(target.geturl(), location))
    except ValueError as error:
        raise FetchError("redirects to a URL that makes no sense") from error
    origins = [
        (one.scheme, one.hostname, one.port or (443 if one.scheme == "https" else 80)) for one in (target, there)
    ]
    if not location or origins[0] != origins[1]:
        raise FetchError("redirects to another origin, which is not followed")
    return there._replace(netloc=target.netloc)


def _is_loopback(host: str) -> bool:
    """Tell whether a host says of itself that it is this machine."""
    if host.casefold().rstrip(".") == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def refused(address: str, *, loopback: bool = False, private: bool = False) -> str | None:
    """Say what is wrong with connecting to `address`, None if nothing is. `loopback`: the host is one by its own name.

    What carries an IPv4 address inside (mapped, NAT64, 6to4) is judged by that address. Addresses where clouds keep
    their credentials, the link-local ones among them, and what is no address of one machine stay closed even where
    `private` ones are open.
    """
    try:
        found = _embedded(ipaddress.ip_address(address.partition("%")[0]))
    except ValueError:
        return "no address"
    if found.is_link_local or found.is_multicast or found.is_unspecified or _is_metadata(found):
        return "a link-local, multicast or empty address, or one where clouds keep credentials"
    if loopback and not found.is_loopback:
        return "another machine than its name says"
    if found.is_loopback:
        return None if loopback or private else "this machine"
    if found.is_global and not getattr(found, "is_site_local", False):
        return None
    inside = private and any(found in network for network in _PRIVATE)
    return None if inside else "a private or reserved address"


def _is_metadata(address: Address) -> bool:
    return any(address in network for network in _METADATA)


def _embedded(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address not in _ITSELF and any(address in network for network in _CARRIERS):
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or address
