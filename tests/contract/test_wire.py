"""One request out, one answer in, whatever a server does. Against real sockets on this machine."""

from __future__ import annotations

import gzip
import itertools
import logging
import math
import socket
import ssl
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

import pytest

from reconciler.sources import Caps
from reconciler.sources.answers import TransientError
from reconciler.sources.wire import Answer, Wire
from tests.authority import Authority

SECRET = "s3cr3t"
Script = Callable[[bytes], bytes | None]


def http(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    given = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    head = "".join(f"{name}: {value}\r\n" for name, value in given.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


class Server:
    """Answers each request with the bytes of a script and keeps the connection; None closes it without an answer."""

    def __init__(self, script: Script = lambda _: http(), tls: ssl.SSLContext | None = None) -> None:
        self.script, self.tls = script, tls
        self.requests: list[bytes] = []
        self.accepted = 0
        self.over = threading.Event()
        self._open: list[tuple[socket.socket, threading.Thread]] = []

    def __enter__(self) -> Self:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self._accepting = threading.Thread(target=self._accept)
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        socket.create_connection(("127.0.0.1", self.port)).close()
        self._accepting.join()
        for connection, thread in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            thread.join()
            connection.close()
        self._listener.close()

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}/{SECRET}?token={SECRET}"

    def _accept(self) -> None:
        while True:
            connection, _ = self._listener.accept()
            if self.over.is_set():
                connection.close()
                return
            self.accepted += 1
            thread = threading.Thread(target=self._serve, args=(connection,))
            self._open.append((connection, thread))
            thread.start()

    def _serve(self, plain: socket.socket) -> None:
        with ExitStack() as stack, suppress(OSError):
            connection = self.tls.wrap_socket(plain, server_side=True) if self.tls else plain
            stack.callback(connection.close)
            reader = stack.enter_context(connection.makefile("rb"))
            while request := self._read(reader.readline, reader.read):
                self.requests.append(request)
                answer = self.script(request)
                if answer is None:
                    return
                connection.sendall(answer)
                if b"connection: close" in answer[:400].lower():
                    return

    @staticmethod
    def _read(line: Callable[[], bytes], read: Callable[[int], bytes]) -> bytes:
        head = b"".join(itertools.takewhile(lambda one: one not in {b"\r\n", b""}, iter(line, None)))
        length = next((one.split(b":")[1] for one in head.split(b"\r\n") if one.lower().startswith(b"content-len")), 0)
        return head + b"\r\n" + read(int(length)) if head else b""


@pytest.fixture
def wire() -> Iterator[Wire]:
    wire = Wire(caps=Caps(bytes=100_000))
    yield wire
    wire.close()


def send(wire: Wire, url: str, method: str = "GET", body: bytes | None = None, seconds: float = math.inf) -> Answer:
    return wire.send(method, url, {"authorization": f"Bearer {SECRET}"}, body, seconds=seconds)


def failure(wire: Wire, url: str, method: str = "GET", seconds: float = math.inf) -> str:
    with pytest.raises(TransientError) as caught:
        send(wire, url, method, seconds=seconds)
    chain = f"{caught.value!r}{caught.value.__cause__!r}"
    assert SECRET not in chain
    assert "127.0.0.1" not in chain
    return str(caught.value)


def test_an_answer_comes_back_as_it_is(wire: Wire) -> None:
    packed = gzip.compress(b'{"kind": "x"}')
    with Server(lambda _: http(packed, "403 No", Content_Encoding="gzip", Retry_After="3")) as server:
        answer = send(wire, server.url, "POST", b"body")
    assert (answer.status, answer.body, answer.headers["retry-after"]) == (403, b'{"kind": "x"}', "3")
    [request] = server.requests
    assert request.startswith(f"POST /{SECRET}?token={SECRET} HTTP/1.1\r\n".encode())
    assert request.endswith(b"\r\nbody")
    assert b"accept-encoding: gzip\r\n" in request.lower()
    assert "kind" not in repr(answer)


def test_a_chunked_answer_is_read_to_its_end(wire: Wire) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n3\r\n   \r\n0\r\n\r\n"
    with Server(lambda _: chunked) as server:
        assert [send(wire, server.url).body for _ in range(3)] == [b"{}   "] * 3
        assert server.accepted == 1


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "PATCH", "DELETE"])
def test_a_request_whose_answer_is_lost_is_sent_once(wire: Wire, method: str) -> None:
    with Server(lambda _: None) as server:
        assert failure(wire, server.url, method) == "broke off in the middle of its answer"
    assert len(server.requests) == 1


def test_a_request_on_a_kept_connection_that_the_server_then_closes_is_sent_once(wire: Wire) -> None:
    answers = iter([http(), None])
    with Server(lambda _: next(answers)) as server:
        send(wire, server.url, "POST")
        failure(wire, server.url, "POST")
    assert len(server.requests) == 2


def test_a_connection_that_was_closed_meanwhile_is_noticed_before_sending(wire: Wire) -> None:
    with Server(lambda _: http(Connection="close")) as server:
        assert [send(wire, server.url, "POST").status for _ in range(3)] == [200, 200, 200]
    assert len(server.requests) == 3


def test_a_redirect_is_an_answer_and_nothing_goes_where_it_points(wire: Wire) -> None:
    with Server() as elsewhere, Server(lambda _: http(b"", "302 Found", Location=elsewhere.url)) as server:
        assert send(wire, server.url).status == 302
        assert (len(server.requests), elsewhere.accepted) == (1, 0)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (http(b"{}", Content_Length="99", Connection="close"), "broke off in the middle of its answer"),
        (
            http(gzip.compress(b"x" * 999)[:-9], Content_Encoding="gzip"),
            "broke off in the middle of its answer",
        ),
        (http(b"no gzip", Content_Encoding="gzip"), "sent an answer whose compression is broken"),
        (
            http(zlib.compress(b"{}"), Content_Encoding="deflate"),
            "sent an answer with a compression that was not asked for",
        ),
        (http(b"x" * 5_000_000), "sent an answer larger than 100000 bytes"),
        (http(gzip.compress(b"x" * 50_000_000), Content_Encoding="gzip"), "sent an answer larger than 100000 bytes"),
        (b"SSH-2.0-OpenSSH_9\r\n", "broke off in the middle of its answer"),
        (b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n", "broke off in the middle of its answer"),
    ],
    ids=["cut", "torn gzip", "no gzip", "deflate", "large", "bomb", "not http", "headers"],
)
def test_an_answer_that_is_broken_or_too_much_is_transient(wire: Wire, answer: bytes, why: str) -> None:
    answers = iter([answer, http()])
    with Server(lambda _: next(answers)) as server:
        assert failure(wire, server.url) == why
        assert send(wire, server.url).body == b"{}", "a connection with the rest in it is not used again"
    assert len(server.requests) == 2


def test_a_server_that_does_not_answer_costs_no_more_than_there_is_patience(wire: Wire) -> None:
    with Server() as server:

        def never(_: bytes) -> None:
            server.over.wait()

        server.script = never
        assert failure(wire, server.url, seconds=0.2) == "did not answer in time"


def test_a_server_that_drips_costs_no_more_than_there_is_patience(wire: Wire) -> None:
    with Server() as server, socket.create_server(("127.0.0.1", 0)) as dripping:
        stop = threading.Event()

        def drip() -> None:
            connection, _ = dripping.accept()
            with connection, suppress(OSError):
                connection.recv(4096)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not stop.wait(0.02):
                    connection.sendall(b" ")

        thread = threading.Thread(target=drip)
        thread.start()
        url = server.url.replace(str(server.port), str(dripping.getsockname()[1]))
        assert failure(wire, url, seconds=0.3) == "did not answer whole in time"
        stop.set()
        thread.join()


def test_nobody_there_is_transient(wire: Wire) -> None:
    with Server() as server:
        url = server.url
    assert failure(wire, url) == "could not be reached"


def test_what_can_not_be_sent_is_not_sent(wire: Wire) -> None:
    with Server() as server, pytest.raises(TransientError):
        wire.send("GET", server.url, {"if-match": "a\r\nx: y"})
    assert not server.requests


def test_each_thread_keeps_a_connection_of_its_own(wire: Wire) -> None:
    barrier = threading.Barrier(8, timeout=60)

    def work(_: int) -> None:
        barrier.wait()
        for _ in range(20):
            send(wire, server.url)

    with Server() as server:
        with ThreadPoolExecutor(8) as threads:
            list(threads.map(work, range(8)))
        assert (len(server.requests), server.accepted) == (160, 8)


def test_closing_ends_the_connections_and_a_later_request_opens_a_new_one(wire: Wire) -> None:
    with Server() as server:
        send(wire, server.url)
        wire.close()
        send(wire, server.url)
        assert server.accepted == 2


def test_certificates_are_verified(wire: Wire, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Server(tls=authority.serving("127.0.0.1")) as server:
        assert failure(wire, server.url) == "has a certificate or an encryption that is not accepted"
        assert not server.requests
        trusting = Wire(tls=authority.trusted())
        assert [send(trusting, server.url).status for _ in range(2)] == [200, 200]
        trusting.close()
    with Server(tls=authority.serving("other.example")) as server:
        trusting = Wire(tls=authority.trusted())
        assert failure(trusting, server.url) == "has a certificate or an encryption that is not accepted"


def test_certificates_are_loaded_once_and_only_where_tls_is_spoken(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = Authority(tmp_path)
    trusted, serving = authority.trusted(), authority.serving("127.0.0.1")
    loaded: list[ssl.SSLContext] = []

    def load() -> ssl.SSLContext:
        loaded.append(trusted)
        return trusted

    monkeypatch.setattr(ssl, "create_default_context", load)
    with Server() as plain:
        send(wire, plain.url)
    assert not loaded
    with Server(tls=serving) as server, ThreadPoolExecutor(4) as threads:
        list(threads.map(lambda _: send(wire, server.url), range(8)))
    assert len(loaded) == 1


def test_no_log_has_a_token_and_none_above_debug_an_address(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Server() as server:
        wire.send("GET", server.url.partition("?")[0][:-6] + "x", {"authorization": f"Bearer {SECRET}"})
        assert SECRET not in caplog.text
        send(wire, server.url)
    assert not [record for record in caplog.records if record.levelno > logging.DEBUG]
