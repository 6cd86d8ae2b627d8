"""A real mail server on loopback, for tests: it keeps what it accepts, and refuses, hangs up or falls silent when told.

A fault is set for a step (`EHLO`, `AUTH`, `MAIL`, `RCPT`, `DATA`, `END`, `QUIT`): an answer such as `550 no`, or `drop`
or `silence`. `END` is what comes after the last line of a mail: `taken, then drop` accepts it and never says so.
"""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

NAME = "mail.example"
USER, PASSWORD = "ops@acme.example", "hunter2 with spaces"


@dataclass
class Postbox:
    """What the server took, and how it is to fail. `refused` are recipients that it does not know."""

    port: int = 0
    faults: dict[str, str] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    letters: list[EmailMessage] = field(default_factory=list)
    recipients: list[list[str]] = field(default_factory=list)
    spoken: list[str] = field(default_factory=list)  # the steps that clients got to
    encrypted: list[bool] = field(default_factory=list)
    logins: list[str] = field(default_factory=list)
    gate: threading.Event | None = None  # what an answer to a mail waits for

    async def handle_EHLO(  # noqa: N802  # aiosmtpd calls it so
        self, server: Any, session: Any, _envelope: Any, hostname: str, responses: list[str]
    ) -> list[str]:
        session.host_name = hostname
        fault = await self.fails(server, "EHLO")
        return [fault] if fault else responses

    async def handle_MAIL(  # noqa: N802  # aiosmtpd calls it so
        self, server: Any, _session: Any, envelope: Any, address: str, options: list[str]
    ) -> str:
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return await self.fails(server, "MAIL") or "250 OK"

    async def handle_RCPT(  # noqa: N802  # aiosmtpd calls it so
        self, server: Any, _session: Any, envelope: Any, address: str, _options: list[str]
    ) -> str:
        if address in self.refused:
            return f"550 5.1.1 <{address}>: nobody of that name"
        fault = await self.fails(server, "RCPT")
        envelope.rcpt_tos.append(address)
        return fault or "250 OK"

    async def handle_DATA(self, server: Any, _session: Any, envelope: Any) -> str:  # noqa: N802  # aiosmtpd calls it so
        fault = self.faults.get("END", "")
        if not fault or fault.startswith("taken"):
            self.letters.append(message_from_bytes(envelope.content, policy=POLICY))
            self.recipients.append(list(envelope.rcpt_tos))
            self.encrypted.append(server.transport.get_extra_info("sslcontext") is not None)
        if self.gate is not None:
            await asyncio.get_running_loop().run_in_executor(None, self.gate.wait, 60.0)
        return await self.fails(server, "END") or "250 OK"

    async def handle_QUIT(self, server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802  # aiosmtpd calls it so
        return (await self.fails(server, "QUIT") if "QUIT" in self.faults else "") or "221 Bye"

    async def fails(self, server: Any, step: str) -> str:
        """Do what was asked for this step; return the answer if there is one to give."""
        self.spoken.append(step)
        fault = self.faults.get(step, "").removeprefix("taken, then ")
        if fault == "drop":
            server.transport.abort()
            return "421 gone"
        if fault == "silence":
            await asyncio.Event().wait()
        return fault

    def authenticate(self, _server: Any, _session: Any, _envelope: Any, _mechanism: str, data: object) -> AuthResult:
        self.spoken.append("AUTH")
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False)
        self.logins.append(data.login.decode())
        known = (data.login.decode(), data.password.decode()) == (USER, PASSWORD)
        refused = self.faults.get("AUTH")
        return AuthResult(success=known and not refused, handled=False, message=None if known else refused)


class _Server(SMTP):
    """A server whose DATA can be refused before a mail is sent, which its handler is not asked about."""

    async def smtp_DATA(self, arg: str) -> None:  # noqa: N802  # aiosmtpd calls it so
        box: Postbox = self.event_handler
        fault = await box.fails(self, "DATA")
        if fault:
            await self.push(fault)
            return
        await super().smtp_DATA(arg)


@contextmanager
def postbox(
    *, tls: ssl.SSLContext | None = None, starttls: ssl.SSLContext | None = None, auth: bool = False
) -> Iterator[Postbox]:
    """Run a server while a test lasts, encrypted from the first byte (`tls`) or on request (`starttls`)."""
    box, loop = Postbox(), asyncio.new_event_loop()

    def new() -> SMTP:
        made = _Server(
            box,
            loop=loop,
            hostname=NAME,
            tls_context=starttls,
            require_starttls=starttls is not None,
            authenticator=box.authenticate if auth else None,
            auth_required=auth,
            timeout=60,
        )
        made._auth_require_tls = False  # asked of its constructor, it warns, and a warning fails a test
        return made

    server = loop.run_until_complete(loop.create_server(new, "127.0.0.1", 0, ssl=tls))
    box.port = server.sockets[0].getsockname()[1]
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield box
    finally:
        if box.gate is not None:
            box.gate.set()
        asyncio.run_coroutine_threadsafe(_stopped(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.run_until_complete(loop.shutdown_default_executor())
        loop.close()


async def _stopped(server: asyncio.AbstractServer) -> None:
    server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0)  # transports say goodbye
