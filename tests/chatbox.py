"""A chat's webhook on loopback, for tests: it keeps what it is told, and answers, hangs up or falls silent."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

PATH: Final = "/services/T0/B0/s3cr3t"


class Chatbox(ThreadingHTTPServer):
    """What was told, with its headers. `script` answers: a status with headers and a body, `drop` or `silence`."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.told: list[tuple[str, dict[str, str], bytes]] = []
        self.status, self.headers, self.body = 200, {"Content-Type": "text/plain"}, b"ok"
        self.fault = ""
        self.over = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}{PATH}"

    def handle_error(self, *_: object) -> None:
        return  # the client went away: what some tests are about


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        box = self.server
        assert isinstance(box, Chatbox)
        self.close_connection = True
        body = self.rfile.read(int(self.headers["Content-Length"]))
        box.told.append((self.path, dict(self.headers.items()), body))
        if box.fault == "drop":
            with suppress(OSError):
                self.connection.shutdown(socket.SHUT_RDWR)
            return
        if box.fault == "silence":
            box.over.wait(60)
            return
        self.send_response(box.status)
        for name, value in {**box.headers, "Content-Length": str(len(box.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(box.body)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def chatbox(tls: ssl.SSLContext | None = None) -> Iterator[Chatbox]:
    """Run one while a test lasts."""
    with Chatbox() as running:
        if tls is not None:
            running.socket = tls.wrap_socket(running.socket, server_side=True)
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield running
        finally:
            running.over.set()
            running.shutdown()
            thread.join()
