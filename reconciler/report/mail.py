"""Mails: what one looks like on the wire, and how it is handed to a server so that nobody gets it twice.

A server that says no, or falls silent before it has the whole mail, has refused it: the mail may be sent again. Once
its last line is out, only the server's answer tells; without one nobody knows. What a server says is quoted as one
inert line, without the addresses and credentials that may be in it.
"""

from __future__ import annotations

import base64
import re
import smtplib
import socket
import ssl
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl, unquote, urlsplit

from reconciler.config.hosts import is_loopback
from reconciler.inert import Sink, inert
from reconciler.report.answer import Answer, Fate
from reconciler.report.line import Line, SecureLine

if TYPE_CHECKING:
    from reconciler.report.report import Report

STEP: Final = 30.0
"""Seconds that a server may take for one step."""
WHOLE: Final = 480.0
"""Seconds for all of it, the last answer included, for which RFC 5321 (4.5.3.2.6) asks for patience: a server may look
at a mail for minutes, and who gives up early gets it delivered twice. It is less than a claim lasts."""

PARTING: Final = 5.0
"""Seconds that a good-bye is waited for: by then everything is said."""

SUBJECT: Final = 200
NAME: Final = 60
SAID: Final = 200
DOMAIN: Final = 40
LABEL: Final = 20
"""Characters: of a subject, of a sender's name, of what a server is quoted with, of the domain and of a job's name in
an id. Longer ids would be folded as if they were words."""

AS_IT_IS: Final = 2_000_000
PACKED: Final = 10_000_000
"""Bytes of a CSV that is attached as it is, and of one that is attached at all, packed: servers refuse mails of more
than about 25 MB, and a third comes on top on the way. What is larger is named, and made by a command."""

MARK: Final = "[RECON]"
_PORTS: Final = {"tls": 465, "starttls": 587, "none": 25}
_POLICY: Final = SMTP.clone(cte_type="7bit")
_BROKEN: Final = (OSError, ValueError)  # smtplib's own errors are OSErrors; a login that is no ASCII is a ValueError
_ADDRESS: Final = re.compile(r"[^\s@<>()\[\]:;,\"]+@[^\s@<>()\[\]:;,\"]+")
_DOT: Final = re.compile(rb"^\.", re.MULTILINE)


# ---- what is sent ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail; `kind` is its media type."""

    name: str
    kind: str
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """A mail as it is meant. `list_name` names the list it belongs to, `earlier` those it follows, oldest first."""

    sender: str
    to: tuple[str, ...] = field(repr=False)
    subject: str = field(repr=False)
    text: str = field(repr=False)
    html: str = field(repr=False)
    made_at: datetime
    message_id: str
    list_name: str
    title: str = ""
    earlier: tuple[str, ...] = ()
    attachments: tuple[Attachment, ...] = ()


def message_id(digest: str, sender: str) -> str:
    """Return the id of the mail that tells what `digest` names: the same one whenever it is sent."""
    return f"<{digest[:24]}@{_domain(sender)}>"


def composed(letter: Letter) -> EmailMessage:
    """Return a letter as a message: plain text and HTML of the same, the files beside them."""
    message = EmailMessage(policy=_POLICY)
    message["Subject"] = inert(f"{MARK} {letter.subject}", Sink.MAIL_HEADER, SUBJECT)
    message["From"] = Address(inert(letter.title, Sink.MAIL_HEADER, NAME), addr_spec=_plain(letter.sender))
    message["To"] = [Address(addr_spec=_plain(one)) for one in letter.to]
    message["Date"] = format_datetime(letter.made_at)
    message["Message-ID"] = letter.message_id
    if letter.earlier:  # RFC 5322, 3.6.4: more than the last, so that a mail that is lost does not cut the thread
        message["In-Reply-To"], message["References"] = letter.earlier[-1], " ".join(letter.earlier)
    message["List-Id"] = f"<{_label(letter.list_name)}.reconcile.{_domain(letter.sender)}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's holiday note answers it
    message["X-Auto-Response-Suppress"] = "All"  # Exchange's word for the same
    message.set_content(_encodable(letter.text))
    message.add_alternative(_encodable(letter.html), subtype="html")
    for each in letter.attachments:
        main, _, sub = each.kind.partition("/")
        message.add_attachment(each.content, main, sub, filename=each.name, params=_charset(main))
    return message


def _charset(main: str) -> dict[str, str]:
    """Say how a text is encoded: without a word, programs take it for ASCII, or for their own code page."""
    return {"charset": "utf-8"} if main == "text" else {}


def _plain(address: str) -> str:
    """Return an address with its domain as servers spell it."""
    local, _, domain = address.rpartition("@")
    return f"{local}@{domain.encode('idna').decode()}"


def _domain(address: str) -> str:
    """Return the domain that an address names, or the end of a long one."""
    labels = _plain(address).rpartition("@")[2].split(".")
    while len(labels) > 1 and len(".".join(labels)) > DOMAIN:
        labels = labels[1:]
    return ".".join(labels)[-DOMAIN:].strip("-.")


def _label(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:LABEL].strip("-") or "job"


def _encodable(text: str) -> str:
    return text.encode("utf-8", "replace").decode("utf-8")


# ---- what goes with a mail ------------------------------------------------------------------------------------------


def attached(report: Report, word: str) -> tuple[tuple[Attachment, ...], str]:
    """Return all findings as CSV, packed where they are many; a note where they are too many for a mail."""
    from reconciler.report.tables import csv_chunks

    if next(report.rows(), None) is None:
        return (), ""
    name = f"{report.job}-{report.until:%Y-%m-%d}.csv"
    packer, packed, plain, size = zlib.compressobj(wbits=_GZIP), bytearray(), bytearray(), 0
    for chunk in csv_chunks(report):
        size += len(chunk)
        plain += chunk if size <= AS_IT_IS else b""
        packed += packer.compress(chunk)
        if len(packed) > PACKED:
            return (), f"All findings are too large for a mail: `reconcile report {word} --csv FILE` writes them."
    packed += packer.flush()
    if size <= AS_IT_IS:
        return (Attachment(name, "text/csv", bytes(plain)),), ""
    return (Attachment(f"{name}.gz", "application/gzip", bytes(packed)),), ""


_GZIP: Final = 31
"""What tells zlib to write a gzip file."""


# ---- where it is sent -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, repr=False)
class Server:
    """A mail server: `tls` from the first byte, `starttls` before anything is said, or `none`, on this machine only."""

    host: str
    port: int
    tls: str
    user: str = ""
    password: str = ""

    @classmethod
    def of(cls, url: str) -> Server:
        """Read `smtp://user:password@host:587?tls=starttls` or `smtps://host`, as the job file's check let it pass."""
        parts = urlsplit(url)
        host = parts.hostname or ""
        usual = "tls" if parts.scheme == "smtps" else "none" if is_loopback(host) else "starttls"
        tls = "tls" if usual == "tls" else dict(parse_qsl(parts.query)).get("tls", usual)
        login = unquote(parts.username or ""), unquote(parts.password or "")
        return cls(host, parts.port or _PORTS[tls], tls, *login)

    @property
    def context(self) -> ssl.SSLContext:
        """Return what TLS must come to: a certificate that is verified, but on this machine."""
        context = ssl.create_default_context()
        if is_loopback(self.host):
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def __repr__(self) -> str:
        """Name the server and nothing that is secret."""
        return f"Server({self.host}:{self.port}, {self.tls})"


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """How mails are handed over: within which time, and with which certificates in place of the system's."""

    step: float = STEP
    whole: float = WHOLE
    tls: ssl.SSLContext | None = field(default=None, repr=False)

    def send(self, letter: Letter, server: Server) -> Answer:
        """Hand a letter to a server, once, and say what became of it."""
        data = _DOT.sub(b"..", composed(letter).as_bytes())
        try:
            with self._speaking(server) as smtp:
                note = _enveloped(smtp, letter, len(data))
                return self._handed_over(smtp, data, note, _quoting(server))
        except _BROKEN as error:
            return Answer(Fate.REFUSED, f"{_name(server)} {_clause(error, _quoting(server))}")

    def reach(self, server: Server) -> str:
        """Say why a server could not be reached or does not accept the login; nothing if all is well. Sends no mail."""
        try:
            with self._speaking(server):
                return ""
        except _BROKEN as error:
            return f"{_name(server)} {_clause(error, _quoting(server))}"

    @contextmanager
    def _speaking(self, server: Server) -> Iterator[smtplib.SMTP]:
        """Yield a conversation that is encrypted and logged in as the server asks for."""
        smtp = self._connected(server)
        try:
            _greeted(smtp)
            if server.tls == "starttls":
                smtp.starttls(context=self.tls or server.context)
                _greeted(smtp)
            if server.user:
                smtp.login(server.user, server.password)
            yield smtp
            with suppress(*_BROKEN):
                _patient(smtp, PARTING)
                smtp.quit()
        finally:
            smtp.close()

    def _connected(self, server: Server) -> smtplib.SMTP:
        if server.tls == "tls":
            context = self.tls or server.context
            return SecureLine(server.host, server.port, step=self.step, whole=self.whole, context=context)
        return Line(server.host, server.port, step=self.step, whole=self.whole)

    def _handed_over(self, smtp: smtplib.SMTP, data: bytes, note: str, secrets: _Secrets) -> Answer:
        """Send the mail, then the line that ends it: only from there on can it be on its way without an answer."""
        _asked(smtp.docmd("DATA"), 354)
        _patient(smtp, self.whole)
        smtp.send(data)
        try:
            smtp.send(b".\r\n")
            code, said = smtp.getreply()
        except _BROKEN as error:
            return Answer(Fate.UNCONFIRMED, f"the whole mail was sent, then the server {_clause(error, secrets)}")
        if code // 100 in _NO:
            raise smtplib.SMTPResponseException(code, said)
        return Answer(Fate.SENT, note) if code // 100 == _DONE else Answer(Fate.UNCONFIRMED, UNREADABLE)


_DONE: Final = 2
_NO: Final = {4, 5}
UNREADABLE: Final = "the whole mail was sent, then the server gave an answer that is none"


def _patient(smtp: smtplib.SMTP, seconds: float) -> None:
    """Let the next steps take so long."""
    if smtp.sock is not None:
        smtp.sock.settimeout(seconds)


def _greeted(smtp: smtplib.SMTP) -> None:
    smtp.ehlo_or_helo_if_needed()


def _enveloped(smtp: smtplib.SMTP, letter: Letter, size: int) -> str:
    """Name the sender and all recipients; return a note if some are refused. Raises if nobody is left."""
    options = [f"size={size}"] if smtp.has_extn("size") else []
    _asked(smtp.mail(_plain(letter.sender), options))
    answers = [smtp.rcpt(_plain(one)) for one in letter.to]
    refused = [(code, said) for code, said in answers if code // 100 != _DONE]
    if len(refused) == len(answers):
        raise smtplib.SMTPResponseException(*refused[0])
    if not refused:
        return ""
    code, said = refused[0]
    return f"{len(refused)} of {len(answers)} recipients were refused: {_said(code, said, ())}"


def _asked(answer: tuple[int, bytes], code: int | None = None) -> None:
    """Raise unless the answer is yes."""
    if answer[0] != code if code else answer[0] // 100 != _DONE:
        raise smtplib.SMTPResponseException(*answer)


# ---- what a server said ---------------------------------------------------------------------------------------------

_Secrets = tuple[str, ...]


def _quoting(server: Server) -> _Secrets:
    """Return what must not be quoted, the longest first."""
    plain = (server.user, server.password, f"\0{server.user}\0{server.password}")
    coded = [base64.b64encode(one.encode()).decode() for one in plain if one.strip("\0")]
    return tuple(sorted((*filter(None, plain[:2]), *coded), key=len, reverse=True))


def _name(server: Server) -> str:
    return f"the mail server {inert(server.host, Sink.TERMINAL, NAME)}"


def _clause(error: Exception, secrets: _Secrets) -> str:
    """Say what went wrong, as the end of a sentence that begins with the server."""
    match error:
        case smtplib.SMTPAuthenticationError():
            return f"does not accept the login: {_said(error.smtp_code, error.smtp_error, secrets)}"
        case smtplib.SMTPResponseException():
            return f"refused it: {_said(error.smtp_code, error.smtp_error, secrets)}"
        case smtplib.SMTPNotSupportedError():
            return "does not offer what the URL asks for: STARTTLS, or a login"
        case ssl.SSLError():
            return "has a certificate or an encryption that is not accepted"
        case smtplib.SMTPException():
            return "hung up"
        case _:
            return _network(error)


def _network(error: Exception) -> str:
    match error:
        case socket.gaierror():
            return "has a name that can't be resolved"
        case TimeoutError():
            return "did not answer in time"
        case ConnectionRefusedError():
            return "could not be reached"
        case ConnectionError():
            return "hung up"
        case UnicodeError():
            return "would need a login or an address of plain ASCII characters"
        case _:
            return f"could not be reached ({type(error).__name__})"


def _said(code: int, said: bytes | str, secrets: _Secrets) -> str:
    """Quote a server: one line, without what must not be quoted."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    text = inert(_hidden(text, secrets), Sink.TERMINAL, 4 * SAID)
    text = _hidden(text, [inert(secret, Sink.TERMINAL, len(secret)) for secret in secrets])  # as they would read then
    return inert(f"{code} {_ADDRESS.sub('(address)', text)}", Sink.TERMINAL, SAID)


def _hidden(text: str, secrets: Iterable[str]) -> str:
    for secret in filter(None, secrets):
        text = text.replace(secret, "(secret)")
    return text
