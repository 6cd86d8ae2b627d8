"""A conversation with a mail server that has an end: in time, from its first byte on, and in what the server may say.

A step that makes progress byte by byte is no step that ends, and an answer may have lines without number.
"""

from __future__ import annotations

import smtplib
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import ssl
    from typing import BinaryIO

HEARD: Final = 1_000_000
"""Bytes that a server may say in all."""


class Line(smtplib.SMTP):
    """A conversation of which a step takes at most `step` seconds, and all of it `whole`."""

    def __init__(self, host: str, port: int, *, step: float, whole: float) -> None:
        with self._watched(whole):
            super().__init__(host, port, timeout=step)

    @contextmanager
    def _watched(self, whole: float) -> Iterator[None]:
        """Begin to watch the time; what fails before anything is said needs no watch."""
        self._until = time.monotonic() + whole
        self._watch = threading.Timer(whole, self._cut)
        self._watch.daemon = True
        self._watch.start()
        try:
            yield
        except BaseException:
            self._watch.cancel()
            raise

    def _cut(self) -> None:
        """End what takes too long, from another thread."""
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)

    def getreply(self) -> tuple[int, bytes]:
        """Read an answer. Raises SMTPServerDisconnected where there is no end to it."""
        if self.file is None and self.sock is not None:
            self.file = _Heard(self.sock.makefile("rb"), self._until)
        return super().getreply()

    def close(self) -> None:
        """Hang up."""
        self._watch.cancel()
        super().close()


class SecureLine(Line, smtplib.SMTP_SSL):
    """The same, encrypted from its first byte on."""

    def __init__(self, host: str, port: int, *, step: float, whole: float, context: ssl.SSLContext) -> None:
        with self._watched(whole):
            smtplib.SMTP_SSL.__init__(self, host, port, timeout=step, context=context)


@dataclass(slots=True)
class _Heard:
    """What a server says, line by line, until it is too much or too late."""

    stream: BinaryIO
    until: float
    left: int = HEARD

    def readline(self, most: int) -> bytes:
        line = self.stream.readline(most)
        self.left -= len(line)
        if self.left < 0 or time.monotonic() > self.until:
            raise TimeoutError
        return line

    def close(self) -> None:
        self.stream.close()
