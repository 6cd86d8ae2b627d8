"""Mails reach a real server whole and once; what it refuses is released, what it swallowed is not sent again."""

from __future__ import annotations

import base64
import re
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.headerregistry import AddressHeader
from email.message import EmailMessage
from email.policy import SMTP as POLICY
from typing import Any, cast
from urllib.parse import quote

import pytest
import trustme
from hypothesis import given
from hypothesis import strategies as st

from reconciler.report.answer import Answer, Fate
from reconciler.report.mail import Attachment, Letter, Post, Server, _quoting, _said, composed, message_id
from tests.postbox import NAME, PASSWORD, USER, Postbox, postbox

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
LETTER = Letter(
    sender="reconcile@acme.example",
    to=("ops@acme.example", "boss@acme.example"),
    subject="3 critical, 12 fixed, 4 need you \N{EN DASH} Äcme Réalty",
    text="Zoë moved.\n.\n.. two dots\n",
    html="<p>Zoë moved.</p>\n.\n",
    made_at=NOW,
    message_id=message_id("ab" * 32, "reconcile@acme.example"),
    list_name="acme",
    title="Äcme Réalty",
    earlier=("<first@acme.example>", "<earlier@acme.example>"),
    attachments=(Attachment("acme-2026-11-23.csv", "text/csv", "a,b\r\nZoë,=1\r\n".encode()),),
)
IMPATIENT = Post(step=0.3, whole=0.3)
PATIENT = Post(whole=3)  # on a busy machine, too, long enough to come to the end of a mail


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as running:
        yield running


def plain(box: Postbox) -> Server:
    return Server.of(f"smtp://127.0.0.1:{box.port}")


def parts(letter: EmailMessage) -> dict[str, Any]:
    return {part.get_content_type(): part.get_content() for part in letter.walk() if not part.is_multipart()}


# ---- what a mail is -------------------------------------------------------------------------------------------------


def test_a_mail_arrives_as_it_was_meant(box: Postbox) -> None:
    assert Post().send(LETTER, plain(box)) == Answer(Fate.SENT)
    [letter] = box.letters
    assert box.recipients == [list(LETTER.to)]
    assert letter["Subject"] == f"[RECON] {LETTER.subject}"
    assert letter["From"] == "Äcme Réalty <reconcile@acme.example>"
    assert letter["To"] == "ops@acme.example, boss@acme.example"
    assert letter["Date"].datetime == NOW
    assert letter["Message-ID"] == f"<{'ab' * 12}@acme.example>"
    assert letter["In-Reply-To"] == "<earlier@acme.example>"
    assert letter["References"] == "<first@acme.example> <earlier@acme.example>"
    assert letter["List-Id"] == "<acme.reconcile.acme.example>"
    assert letter["Auto-Submitted"] == "auto-generated"
    assert letter.get_content_type() == "multipart/mixed"
    first, attached = letter.iter_parts()
    assert first.get_content_type() == "multipart/alternative"
    assert attached.get_filename() == "acme-2026-11-23.csv"
    assert attached.get_content_disposition() == "attachment"
    assert attached.get_content_charset() == "utf-8"


def test_bodies_keep_their_dots_and_accents(box: Postbox) -> None:
    Post().send(LETTER, plain(box))
    found = parts(box.letters[0])
    assert found["text/plain"].replace("\r\n", "\n") == LETTER.text
    assert found["text/html"].replace("\r\n", "\n") == LETTER.html
    [attached] = box.letters[0].iter_attachments()
    assert attached.get_payload(decode=True) == LETTER.attachments[0].content


def test_what_is_sent_is_ascii_in_lines_that_every_server_takes() -> None:
    wide = replace(LETTER, text="x" * 5000, html="ü" * 5000, sender="r@" + "a-long-part." * 15 + "example")
    for line in composed(wide).as_bytes().split(b"\r\n"):
        assert len(line) <= 78 or not line.isspace()
        assert len(line) <= 998
        assert line.isascii()


def test_ids_stand_as_they_are_even_where_the_domain_is_long() -> None:
    sender = "r@" + "sub." * 30 + "acme.example"
    number = message_id("cd" * 32, sender)
    letter = replace(LETTER, sender=sender, message_id=number, earlier=(number, number), list_name="Äcme & Söhne" * 5)
    sent = composed(letter).as_bytes().decode("ascii")
    unfolded = sent.replace("\r\n ", " ")
    assert f"References: {number} {number}\r\n" in unfolded.replace("  ", " ")
    for name in ("Message-ID", "In-Reply-To"):
        assert f"{name}:  {number}\r\n".replace(":  ", ": ") in unfolded.replace(":  ", ": ")
    assert "=?" not in re.search(r"List-Id: (.*)\r\n", unfolded)[1]  # type: ignore[index]


INJECTED = ["a\r\nBcc: eve@evil.example", "=?utf-8?q?=0d=0aBcc:_eve@evil.example?=", "\x1b[31mred", "\u202egnp.exe"]
HOSTILE = st.text(max_size=300) | st.sampled_from([*INJECTED, "\ud800", "a" * 10_000])


@given(subject=HOSTILE, title=HOSTILE, name=HOSTILE)
def test_nothing_that_is_said_becomes_a_header_of_its_own(subject: str, title: str, name: str) -> None:
    sent = composed(replace(LETTER, subject=subject, title=title, list_name=name)).as_bytes()
    back = message_from_bytes(sent, policy=POLICY)
    assert back.keys() == composed(LETTER).keys()
    assert back["To"] == "ops@acme.example, boss@acme.example"
    sender = cast("AddressHeader", back["From"])
    assert [one.addr_spec for one in sender.addresses] == ["reconcile@acme.example"]
    assert back["Subject"].startswith("[RECON]")
    assert len(back["Subject"]) <= 200
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202e]", back["Subject"] + str(back["From"]) + back["List-Id"])


@given(HOSTILE, HOSTILE)
def test_any_text_can_be_a_body(text: str, html: str) -> None:
    assert composed(replace(LETTER, text=text, html=html)).as_bytes().isascii()


def test_nothing_of_a_letter_is_in_its_repr() -> None:
    assert "Zoë" not in repr(LETTER)
    assert "ops@" not in repr(LETTER)
    server = Server.of("smtps://ops:hunter2@mail.example")
    assert "hunter2" not in repr(server)
    assert "ops" not in repr(server)


# ---- how a server is reached ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "port", "tls"),
    [
        ("smtp://u:p@mail.example:2587?tls=starttls", 2587, "starttls"),
        ("smtp://mail.example", 587, "starttls"),
        ("smtps://mail.example", 465, "tls"),
        ("smtp://mail.example?tls=tls", 465, "tls"),
        ("smtp://localhost", 25, "none"),
        ("smtp://127.0.0.1:2525?tls=starttls", 2525, "starttls"),
        ("smtp://127.0.0.1.evil.example", 587, "starttls"),
    ],
)
def test_a_url_says_how_a_server_is_reached(url: str, port: int, tls: str) -> None:
    server = Server.of(url)
    assert (server.port, server.tls) == (port, tls)


def test_certificates_are_verified_but_on_this_machine() -> None:
    assert Server.of("smtps://mail.example").context.verify_mode is ssl.CERT_REQUIRED
    assert Server.of("smtps://mail.example").context.check_hostname
    assert Server.of("smtps://127.0.0.1.evil.example").context.verify_mode is ssl.CERT_REQUIRED
    assert Server.of("smtps://127.0.0.1").context.verify_mode is ssl.CERT_NONE


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let mail.example be this machine, which it is to the network and not by its name."""
    found = socket.getaddrinfo

    def lead(host: str, *given: Any, **named: Any) -> Any:
        return found("127.0.0.1" if host == NAME else host, *given, **named)

    monkeypatch.setattr(socket, "getaddrinfo", lead)


def serving(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def trusting(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
def test_a_mail_goes_encrypted_and_logged_in(scheme: str, elsewhere: None) -> None:
    authority = trustme.CA()
    context = serving(authority, NAME)
    with postbox(**{"tls" if scheme == "smtps" else "starttls": context}, auth=True) as box:
        server = Server.of(f"{scheme}://{quote(USER, safe='')}:{quote(PASSWORD)}@{NAME}:{box.port}")
        assert Post(tls=trusting(authority)).send(LETTER, server) == Answer(Fate.SENT)
        assert box.encrypted == [True]
        assert box.logins == [USER]


@pytest.mark.parametrize("scheme", ["smtp", "smtps"])
@pytest.mark.parametrize("trusted", [True, False])
def test_a_certificate_of_somebody_else_gets_no_mail_and_no_password(
    scheme: str, elsewhere: None, *, trusted: bool
) -> None:
    authority = trustme.CA()
    context = serving(authority, "other.example" if trusted else NAME)
    with postbox(**{"tls" if scheme == "smtps" else "starttls": context}, auth=True) as box:
        server = Server.of(f"{scheme}://u:p@{NAME}:{box.port}")
        tls = trusting(authority) if trusted else None
        answer = Post(tls=tls).send(LETTER, server)
        assert (answer.fate, box.letters, box.logins) == (Fate.REFUSED, [], [])
        assert "certificate" in answer.why


def test_a_server_without_starttls_gets_no_mail_and_no_password(elsewhere: None) -> None:
    with postbox(auth=True) as box:
        answer = Post().send(LETTER, Server.of(f"smtp://u:p@{NAME}:{box.port}"))
        assert (answer.fate, box.letters, box.logins) == (Fate.REFUSED, [], [])
        assert "STARTTLS" in answer.why


def test_a_wrong_password_is_said_without_it() -> None:
    with postbox(auth=True) as box:
        server = Server.of(f"smtp://ops:hunter2@127.0.0.1:{box.port}")
        answer = Post().send(LETTER, server)
        assert answer.fate is Fate.REFUSED
        assert "does not accept the login: 535" in answer.why
        coded = base64.b64encode(b"\0ops\0hunter2").decode()
        box.faults["AUTH"] = f"535 hunter2 is not the password of ops ({coded})"
        said = Post().send(LETTER, server).why
        assert said.endswith("535 (secret) is not the password of (secret) ((secret))")
        assert box.letters == []


# ---- what becomes of it ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "END"])
def test_a_server_that_says_no_has_refused_it(box: Postbox, step: str) -> None:
    box.faults[step] = "554 5.7.1 not today"
    answer = Post().send(LETTER, plain(box))
    assert answer.fate is Fate.REFUSED
    assert box.letters == []
    assert answer.why.startswith("the mail server 127.0.0.1 ")
    assert "554 5.7.1 not today" in answer.why


@pytest.mark.parametrize("fault", ["drop", "silence"])
@pytest.mark.parametrize("step", ["EHLO", "MAIL", "RCPT", "DATA"])
def test_silence_before_the_mail_is_out_has_refused_it(box: Postbox, step: str, fault: str) -> None:
    box.faults[step] = fault
    answer = IMPATIENT.send(LETTER, plain(box))
    assert answer.fate is Fate.REFUSED, answer
    assert box.letters == []


@pytest.mark.parametrize("fault", ["drop", "silence", "taken, then drop", "taken, then silence"])
def test_silence_after_the_mail_is_out_leaves_it_unconfirmed(box: Postbox, fault: str) -> None:
    box.faults["END"] = fault
    answer = (PATIENT if "silence" in fault else Post()).send(LETTER, plain(box))
    assert answer.fate is Fate.UNCONFIRMED, answer
    assert answer.why.startswith("the whole mail was sent, then the server ")


def test_an_answer_that_is_none_leaves_it_unconfirmed(box: Postbox) -> None:
    box.faults["END"] = "taken, then 999 maybe"
    assert Post().send(LETTER, plain(box)).fate is Fate.UNCONFIRMED


def test_where_some_recipients_are_refused_the_others_get_it_once(box: Postbox) -> None:
    box.refused = {"boss@acme.example"}
    answer = Post().send(LETTER, plain(box))
    assert answer == Answer(Fate.SENT, "1 of 2 recipients were refused: 550 5.1.1 <(address)>: nobody of that name")
    assert box.recipients == [["ops@acme.example"]]


def test_where_all_recipients_are_refused_nothing_is_sent(box: Postbox) -> None:
    box.refused = set(LETTER.to)
    answer = Post().send(LETTER, plain(box))
    assert answer.fate is Fate.REFUSED
    assert "DATA" not in box.spoken
    assert "acme.example" not in answer.why


def test_a_server_that_is_not_there_has_refused_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = Post().send(LETTER, Server.of(f"smtp://127.0.0.1:{taken.getsockname()[1]}"))
    assert answer == Answer(Fate.REFUSED, "the mail server 127.0.0.1 could not be reached")


def test_what_a_server_says_is_quoted_as_one_inert_line(box: Postbox) -> None:
    said = "550 \x1b[31m" + USER + " " + "x" * 900
    box.faults["MAIL"] = said
    answer = Post().send(LETTER, Server.of(f"smtp://127.0.0.1:{box.port}"))
    assert answer.fate is Fate.REFUSED
    assert answer.why.isprintable()
    assert USER not in answer.why
    assert len(answer.why) < 300


def test_a_password_is_not_quoted_however_it_is_spaced() -> None:
    spaced = Server("mail.example", 587, "starttls", "", "two  spaces\twide")
    assert _said(535, b"no: two  spaces\twide", _quoting(spaced)) == "535 no: (secret)"
    assert _said(535, b"no: two spaces wide", _quoting(spaced)) == "535 no: (secret)"


# ---- servers without an end -----------------------------------------------------------------------------------------


@contextmanager
def endless(first: bytes, then: bytes, pause: float) -> Iterator[int]:
    """Run a server that says something, and then the same again and again."""
    over = threading.Event()

    def serve() -> None:
        line, _ = listening.accept()
        with line, suppress(OSError):
            line.sendall(first)
            while not over.wait(pause):
                line.sendall(then)

    with socket.create_server(("127.0.0.1", 0)) as listening, ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        try:
            yield listening.getsockname()[1]
        finally:
            over.set()
            served.result(10)


def within_reason(send: Callable[[], Answer]) -> Answer:
    pool = ThreadPoolExecutor(1)
    try:
        return pool.submit(send).result(20)
    finally:
        pool.shutdown(wait=False)  # what never ends must not keep the test from saying so


@pytest.mark.parametrize(
    ("first", "then", "pause", "post"),
    [
        (b"", b"220-welcome\r\n", 0.05, Post(step=1.0, whole=0.5)),
        (b"", b"2", 0.05, Post(step=1.0, whole=0.5)),
        (b"", b"220-welcome\r\n", 0.05, Post(step=1.0, whole=0.0)),
        (b"220 hi\r\n", b"250-more\r\n", 0.05, Post(step=1.0, whole=0.5)),
        (b"", b"220-welcome\r\n" * 10_000, 0.0, Post(step=30.0, whole=60.0)),
    ],
    ids=["greeting", "one line", "late already", "answer", "as fast as it can"],
)
def test_a_server_that_never_comes_to_an_end_is_left(first: bytes, then: bytes, pause: float, post: Post) -> None:
    with endless(first, then, pause) as port:
        answer = within_reason(lambda: post.send(LETTER, Server.of(f"smtp://127.0.0.1:{port}")))
    assert answer.fate is Fate.REFUSED


def test_a_server_that_says_no_good_bye_is_not_waited_for(box: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.report.mail.PARTING", 0.2)
    box.faults["QUIT"] = "silence"
    assert within_reason(lambda: Post(step=60.0, whole=60.0).send(LETTER, plain(box))) == Answer(Fate.SENT)


# ---- a look at a server ---------------------------------------------------------------------------------------------


def test_a_look_at_a_server_sends_nothing(box: Postbox) -> None:
    assert Post().reach(plain(box)) == ""
    assert box.spoken == ["EHLO"]


def test_a_look_says_why_a_login_is_not_accepted() -> None:
    with postbox(auth=True) as box:
        assert "does not accept the login" in Post().reach(Server.of(f"smtp://a:b@127.0.0.1:{box.port}"))
        known = f"smtp://{quote(USER, safe='')}:{quote(PASSWORD)}@127.0.0.1:{box.port}"
        assert Post().reach(Server.of(known)) == ""
