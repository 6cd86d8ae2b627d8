"""Fetching a calendar by URL, against real sockets on this machine: what comes back, and where it refuses to go."""

from __future__ import annotations

import datetime as dt
import gzip
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from reconciler.model import Agent, Calendar, Mode, Pull, Unobserved, Window
from reconciler.sources import PullRequest
from reconciler.sources.fetch import Fetched, Fetcher, FetchError, Validators, is_url, label, refused
from reconciler.sources.ics import IcsSource
from tests.authority import Authority

BODY = b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nEND:VCALENDAR\r\n"
SECRET = "s3cr3t-token"


class Handler(BaseHTTPRequestHandler):
    """Hands each request to the script of the test, which writes the answer."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        server = self.server
        assert isinstance(server, Server)
        server.requests.append((self.path, dict(self.headers.items())))
        server.script(self)
        self.close_connection = True

    def answer(self, status: int = 200, body: bytes = BODY, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content_Length": str(len(body)), **headers}.items():
            if value:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return


Script = Callable[[Handler], None]


class Server(ThreadingHTTPServer):
    """A web server that does what the test says; `over` is set when the test ends."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.script: Script = Handler.answer
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/{SECRET}.ics"

    def handle_error(self, *_: object) -> None:
        return  # the client went away: what these tests are about


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.over.set()
        running.shutdown()
        thread.join()


FETCHER = Fetcher(most=100_000, seconds=20)


def failure(fetcher: Fetcher, url: str, known: Validators | None = None) -> str:
    with pytest.raises(FetchError) as caught:
        fetcher.fetch(url, known)
    assert SECRET not in str(caught.value)
    return str(caught.value)


# ---- what comes back ------------------------------------------------------------------------------------------------


def test_the_body_comes_with_its_validators(server: Server) -> None:
    server.script = lambda handler: handler.answer(ETag='"v1"', Last_Modified="Sun, 22 Nov 2026 17:00:00 GMT")
    fetched = FETCHER.fetch(server.url)
    assert fetched == Fetched(BODY, Validators('"v1"', "Sun, 22 Nov 2026 17:00:00 GMT"))
    [(path, headers)] = server.requests
    assert path == f"/{SECRET}.ics"
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert "If-None-Match" not in headers


def test_a_version_that_is_known_is_asked_for_by_its_validators(server: Server) -> None:
    server.script = lambda handler: handler.answer(304, b"", Content_Length="")
    known = Validators('"v1"', "Sun, 22 Nov 2026 17:00:00 GMT")
    assert FETCHER.fetch(server.url, known) == Fetched(None, known)
    [(_, headers)] = server.requests
    assert headers["If-None-Match"] == '"v1"'
    assert headers["If-Modified-Since"] == "Sun, 22 Nov 2026 17:00:00 GMT"


def test_not_modified_without_being_asked_is_no_answer(server: Server) -> None:
    server.script = lambda handler: handler.answer(304, b"", Content_Length="")
    assert failure(FETCHER, server.url) == "answered with HTTP 304"


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "asks for a login (HTTP 401): its address may have been reset"),
        (403, "refuses to be read (HTTP 403): its address may have been reset"),
        (404, "is not there (HTTP 404): its address may have been reset"),
        (410, "is gone (HTTP 410)"),
        (429, "is asked too often (HTTP 429)"),
        (500, "answered with HTTP 500"),
        (503, "answered with HTTP 503"),
        (204, "answered with HTTP 204"),
        (206, "answered with HTTP 206"),
    ],
)
def test_a_refusal_is_said_as_it_is(server: Server, status: int, why: str) -> None:
    server.script = lambda handler: handler.answer(status, b"" if status == 204 else BODY)
    assert failure(FETCHER, server.url) == why


def test_a_validator_that_could_break_a_header_is_forgotten(server: Server) -> None:
    server.script = lambda handler: handler.answer(ETag='"' + "x" * 600 + '"')
    assert FETCHER.fetch(server.url).validators == Validators()


# ---- compression and size -------------------------------------------------------------------------------------------


def test_gzip_is_unpacked_whatever_the_content_type_says(server: Server) -> None:
    server.script = lambda handler: handler.answer(
        200, gzip.compress(BODY), Content_Encoding="gzip", Content_Type="x/y"
    )
    assert FETCHER.fetch(server.url).body == BODY


def test_a_bomb_is_noticed_before_it_has_grown(server: Server) -> None:
    bomb = gzip.compress(b"\0" * 50_000_000)
    assert len(bomb) < FETCHER.most
    server.script = lambda handler: handler.answer(200, bomb, Content_Encoding="gzip")
    assert failure(FETCHER, server.url) == "is larger than 100000 bytes"


@pytest.mark.parametrize("size", [100_000, 100_001])
def test_the_size_has_a_bound(server: Server, size: int) -> None:
    server.script = lambda handler: handler.answer(200, b"x" * size)
    if size > FETCHER.most:
        assert failure(FETCHER, server.url) == "is larger than 100000 bytes"
    else:
        assert len(FETCHER.fetch(server.url).body or b"") == size


def test_a_compression_nobody_asked_for_is_refused(server: Server) -> None:
    server.script = lambda handler: handler.answer(200, zlib.compress(BODY), Content_Encoding="deflate")
    assert failure(FETCHER, server.url) == "sent an answer with a compression that was not asked for"


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (gzip.compress(BODY)[:-9], "broke off in the middle of its answer"),
        (b"no gzip", "sent an answer whose compression is broken"),
    ],
    ids=["cut", "none"],
)
def test_broken_gzip_is_no_calendar(server: Server, body: bytes, why: str) -> None:
    server.script = lambda handler: handler.answer(200, body, Content_Encoding="gzip")
    assert failure(FETCHER, server.url) == why


def test_an_answer_that_breaks_off_is_no_calendar(server: Server) -> None:
    server.script = lambda handler: handler.answer(200, BODY, Content_Length=str(len(BODY) + 1))
    assert failure(FETCHER, server.url) == "broke off in the middle of its answer"


# ---- time -----------------------------------------------------------------------------------------------------------


def hang(server: Server, sent: bytes) -> Script:
    def script(handler: Handler) -> None:
        handler.wfile.write(sent)
        handler.wfile.flush()
        server.over.wait(30)

    return script


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nBEGIN"])
def test_a_server_that_falls_silent_costs_the_time_allowed(server: Server, sent: bytes) -> None:
    server.script = hang(server, sent)
    why = failure(replace(FETCHER, seconds=0.3), server.url)
    assert why in {"did not answer in time", "did not answer whole within 0.3 seconds"}


def test_a_server_that_drips_costs_the_time_allowed(server: Server) -> None:
    def drip(handler: Handler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        while not server.over.wait(0.02):
            handler.wfile.write(b"x")

    server.script = drip
    why = failure(replace(FETCHER, seconds=0.3), server.url)
    assert why in {"did not answer in time", "did not answer whole within 0.3 seconds"}


def test_a_resolver_that_hangs_costs_the_time_allowed() -> None:
    over = threading.Event()

    def hanging(_host: str, _port: int) -> list[str]:
        over.wait(30)
        return []

    fetcher = replace(FETCHER, seconds=0.2, resolve=hanging)
    assert failure(fetcher, "https://calendars.example/a.ics") == "did not answer whole within 0.2 seconds"
    over.set()


# ---- redirects ------------------------------------------------------------------------------------------------------


def redirecting(hops: int, target: str = "/hop") -> Script:
    def script(handler: Handler) -> None:
        number = int(handler.path.partition("hop")[2] or 0)
        if number < hops:
            handler.answer(302, b"", Location=f"{target}{number + 1}")
        else:
            handler.answer()

    return script


def test_redirects_on_the_same_origin_are_followed_thrice(server: Server) -> None:
    server.script = redirecting(3)
    assert FETCHER.fetch(server.url).body == BODY
    assert [path for path, _ in server.requests][1:] == ["/hop1", "/hop2", "/hop3"]
    server.script = redirecting(4)
    assert failure(FETCHER, server.url) == "redirects more than 3 times"


@pytest.mark.parametrize(
    "target",
    ["https://127.0.0.1/x", "http://127.0.0.1:9/x", "http://localhost/x", "//other.example/x", "http://[::1]/x", ""],
)
def test_redirects_to_another_origin_are_not_followed(server: Server, target: str) -> None:
    server.script = lambda handler: handler.answer(302, b"", Location=target)
    assert failure(FETCHER, server.url).startswith(("redirects to another origin", "is not encrypted"))
    assert len(server.requests) == 1


# ---- where a URL may lead -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("address", "public", "private"),
    [  # allowed from a public name; allowed with allow_private
        ("93.184.215.14", True, True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True, True),
        ("10.0.0.1", False, True),
        ("172.16.5.4", False, True),
        ("192.168.1.1", False, True),
        ("100.64.0.1", False, True),
        ("fd00::1", False, True),
        ("127.0.0.1", False, True),
        ("::1", False, True),
        ("169.254.169.254", False, False),
        ("fe80::1", False, False),
        ("fe80::1%eth0", False, False),
        ("::", False, False),
        ("0.1.2.3", False, False),
        ("224.0.0.1", False, False),
        ("ff02::1", False, False),
        ("255.255.255.255", False, False),
        ("240.0.0.1", False, False),
        ("::ffff:10.0.0.1", False, True),
        ("::ffff:169.254.169.254", False, False),
        ("64:ff9b::a9fe:a9fe", False, False),
        ("64:ff9b::7f00:1", False, True),
        ("2002:a9fe:a9fe::1", False, False),
        ("2002:0a00:0001::1", False, True),
        ("not an address", False, False),
    ],
)
def test_every_address_is_judged_by_where_it_leads(address: str, *, public: bool, private: bool) -> None:
    assert (refused(address) is None) is public
    assert (refused(address, private=True) is None) is private


@pytest.mark.parametrize("address", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_a_host_that_says_it_is_this_machine_may_be(address: str) -> None:
    assert refused(address, loopback=True) is None


@pytest.mark.parametrize("address", ["10.0.0.1", "93.184.215.14", "169.254.169.254"])
def test_a_host_that_says_it_is_this_machine_may_be_nothing_else(address: str) -> None:
    assert refused(address, loopback=True) is not None


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("http://calendars.example/a.ics", "is not encrypted: only https is read"),
        ("ftp://calendars.example/a.ics", "is a URL that makes no sense"),
        ("https:///a.ics", "is a URL that makes no sense"),
        ("https://calendars.example:99999/", "is a URL that makes no sense"),
        ("https://calendars.example/a b", "is a URL that makes no sense"),
        ("https://calendars.example/a\r\nX: y", "is a URL that makes no sense"),
        ("https://" + "a" * 70 + ".example/", "is a URL that makes no sense"),
        ("https://[::1/", "is a URL that makes no sense"),
    ],
)
def test_a_url_that_is_none_is_refused_before_anything_is_asked(url: str, why: str) -> None:
    def asked(_host: str, _port: int) -> list[str]:
        raise AssertionError("nobody may be asked")

    assert failure(replace(FETCHER, resolve=asked), url) == why


@pytest.mark.parametrize("addresses", [["10.0.0.1"], ["93.184.215.14", "169.254.169.254"], ["127.0.0.1"]])
def test_a_name_that_leads_inside_is_refused_even_if_it_also_leads_outside(addresses: list[str]) -> None:
    why = failure(replace(FETCHER, resolve=lambda _host, _port: addresses), "https://calendars.example/a.ics")
    assert why.startswith("leads to ")
    assert why.endswith("which is not allowed (allow_private)")


@pytest.mark.parametrize(
    "host", ["2130706433", "017700000001", "0x7f000001", "127.1", "0x7f.1", "1.0.0.127.evil.example"]
)
def test_however_this_machine_is_spelled_it_is_known_by_its_address(host: str) -> None:
    """Where the resolver reads such numbers as an address, as the C library does; elsewhere it is a name of nobody."""
    fetcher = FETCHER if "evil" not in host else replace(FETCHER, resolve=lambda *_: ["127.0.0.1"])
    why = failure(fetcher, f"https://{host}/a.ics")
    assert why in {
        "leads to this machine, which is not allowed (allow_private)",
        "has a host name that can't be resolved",
    }
    assert failure(fetcher, f"http://{host}/a.ics") == "is not encrypted: only https is read"


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST.", "127.0.0.1"])
def test_a_host_that_says_it_is_this_machine_is_nowhere_else(server: Server, host: str) -> None:
    url = f"http://{host}:{server.server_port}/a.ics"
    assert replace(FETCHER, resolve=lambda *_: ["127.0.0.1"]).fetch(url).body == BODY
    elsewhere = replace(FETCHER, resolve=lambda *_: ["10.0.0.7"], allow_private=True)
    assert (
        failure(elsewhere, url) == "leads to another machine than its name says, which is not allowed (allow_private)"
    )


def test_a_name_without_address_is_unreachable() -> None:
    def unknown(_host: str, _port: int) -> list[str]:
        raise OSError("no such name")

    assert (
        failure(replace(FETCHER, resolve=unknown), "https://calendars.example/")
        == "has a host name that can't be resolved"
    )
    assert failure(replace(FETCHER, resolve=lambda *_: []), "https://calendars.example/") == "has no address"


def test_a_port_nobody_listens_on_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closing:
        port = closing.getsockname()[1]
    assert failure(FETCHER, f"http://127.0.0.1:{port}/{SECRET}.ics") == "could not be reached"


# ---- encryption -----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def encrypted(server: Server, context: ssl.SSLContext) -> list[str | None]:
    """Let `server` speak TLS; the list is filled with the names its clients ask for."""
    asked: list[str | None] = []
    context.sni_callback = lambda _socket, name, _context: asked.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    return asked


@pytest.mark.parametrize("scheme", ["https", "webcal", "WEBCAL"])
def test_the_checked_address_is_used_under_the_name_of_the_host(
    server: Server, authority: Authority, scheme: str
) -> None:
    asked = encrypted(server, authority.serving("calendars.example"))
    resolved: list[tuple[str, int]] = []

    def resolve(host: str, port: int) -> list[str]:
        resolved.append((host, port))
        return ["127.0.0.1"]

    fetcher = replace(FETCHER, tls=authority.trusted(), allow_private=True, resolve=resolve)
    assert fetcher.fetch(f"{scheme}://calendars.example:{server.server_port}/a.ics?x=1").body == BODY
    assert asked == ["calendars.example"]
    assert resolved == [
        ("calendars.example", server.server_port)
    ]  # once: nobody can answer differently the second time
    [(path, headers)] = server.requests
    assert (path, headers["Host"]) == ("/a.ics?x=1", f"calendars.example:{server.server_port}")


def test_a_certificate_of_another_host_is_refused(server: Server, authority: Authority) -> None:
    encrypted(server, authority.serving("other.example", "127.0.0.1"))
    fetcher = replace(FETCHER, tls=authority.trusted(), allow_private=True, resolve=lambda *_: ["127.0.0.1"])
    url = f"https://calendars.example:{server.server_port}/{SECRET}"
    assert failure(fetcher, url) == "has a certificate or an encryption that is not accepted"
    assert not server.requests


def test_a_certificate_of_a_stranger_is_refused(server: Server, authority: Authority) -> None:
    encrypted(server, authority.serving("127.0.0.1"))
    url = server.url.replace("http:", "https:")
    assert failure(FETCHER, url) == "has a certificate or an encryption that is not accepted"


def test_an_address_as_host_is_verified_as_such(server: Server, authority: Authority) -> None:
    encrypted(server, authority.serving("127.0.0.1"))
    fetcher = replace(FETCHER, tls=authority.trusted())
    assert fetcher.fetch(server.url.replace("http:", "https:")).body == BODY


# ---- what is never shown --------------------------------------------------------------------------------------------


def test_a_login_in_the_url_is_sent_and_never_shown(server: Server) -> None:
    url = f"http://dee:{SECRET}%21@127.0.0.1:{server.server_port}/a.ics"
    FETCHER.fetch(url)
    [(path, headers)] = server.requests
    assert headers["Authorization"] == "Basic ZGVlOnMzY3IzdC10b2tlbiE="
    assert headers["Host"] == f"127.0.0.1:{server.server_port}"
    assert path == "/a.ics"
    assert SECRET not in label(url)
    assert "dee" not in label(url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://calendars.example/{SECRET}/basic.ics", "calendars.example ("),
        ("https://[::1]/x", "::1 ("),
        ("https://\x1b[31mevil/x", "a URL ("),
        ("https://[::1/x", "a URL ("),
    ],
)
def test_a_url_is_shown_as_host_and_hash(url: str, shown: str) -> None:
    assert label(url).startswith(shown)
    assert len(label(url)) == len(shown) + 9
    assert label(url) != label(url + "2")


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("https://a.example/x", True),
        ("WEBCAL://a.example/x", True),
        ("calendars/dee.ics", False),
        ("C:/dee.ics", False),
    ],
)
def test_a_url_is_told_from_a_path(location: str, *, url: bool) -> None:
    assert is_url(location) is url


# ---- the source over HTTP -------------------------------------------------------------------------------------------

NOW = dt.datetime(2026, 11, 22, 17, tzinfo=dt.UTC)
WINDOW = Window.around(NOW, dt.timedelta(days=7), dt.timedelta(days=60))


def request(server: Server) -> PullRequest:
    calendar = Calendar(source="ics", kind="ics", agent=Agent(email="dee@acme.example"), location=server.url)
    return PullRequest(calendar=calendar, window=WINDOW, now=NOW)


def whole(pulled: Pull | Unobserved) -> Pull:
    assert isinstance(pulled, Pull), pulled
    return pulled


def test_a_feed_that_says_not_modified_costs_one_small_answer(server: Server, tmp_path: Path) -> None:
    source = IcsSource(base=tmp_path)
    server.script = lambda handler: handler.answer(ETag='"v1"')
    first = whole(source.pull(request(server)))
    server.script = lambda handler: handler.answer(304, b"", Content_Length="")
    again = whole(source.pull(replace(request(server), cursor=first.cursor)))
    assert (first.mode, again.mode) == (Mode.FULL, Mode.INCREMENTAL)
    assert again.cursor == first.cursor
    assert server.requests[1][1]["If-None-Match"] == '"v1"'


def test_a_feed_without_validators_is_known_by_its_bytes(server: Server, tmp_path: Path) -> None:
    source = IcsSource(base=tmp_path)
    first = whole(source.pull(request(server)))
    again = whole(source.pull(replace(request(server), cursor=first.cursor)))
    assert again.mode is Mode.INCREMENTAL
    server.script = lambda handler: handler.answer(200, BODY.replace(b"2.0", b"2.1"))
    assert whole(source.pull(replace(request(server), cursor=first.cursor))).mode is Mode.FULL


def test_a_wider_window_asks_for_the_whole_feed(server: Server, tmp_path: Path) -> None:
    source = IcsSource(base=tmp_path)
    server.script = lambda handler: handler.answer(ETag='"v1"')
    first = whole(source.pull(request(server)))
    wider = Window(WINDOW.start, WINDOW.end + dt.timedelta(days=1))
    assert whole(source.pull(replace(request(server), cursor=first.cursor, window=wider))).mode is Mode.FULL
    assert "If-None-Match" not in server.requests[1][1]


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (lambda handler: handler.answer(404), "is not there (HTTP 404): its address may have been reset."),
        (lambda handler: handler.answer(200, b"<html>Sign in</html>"), "is a web page, not a calendar."),
        (lambda handler: handler.answer(200, BODY[:-9]), "is cut short: it has no END:VCALENDAR."),
        (lambda handler: handler.answer(200, b""), "is empty."),
    ],
)
def test_a_feed_that_is_not_whole_is_unobserved_without_its_address(
    server: Server, tmp_path: Path, script: Script, why: str
) -> None:
    server.script = script
    pulled = IcsSource(base=tmp_path).pull(request(server))
    assert isinstance(pulled, Unobserved)
    assert pulled.why == f"{label(server.url)} {why}"
    assert SECRET not in repr(pulled)
