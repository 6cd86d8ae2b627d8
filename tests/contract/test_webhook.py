"""A summary is posted once, signed, to where its address says and nowhere else; a no releases it, silence does not."""

from __future__ import annotations

import hashlib
import hmac
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.config.secret import HookUrl, Reference
from reconciler.errors import ConfigError
from reconciler.quota import Budget, Quota
from reconciler.report.answer import Answer, Fate
from reconciler.report.webhook import DELIVERY, LARGEST, SIGNATURE, TIMESTAMP, Hook, signature
from tests.authority import Authority
from tests.chatbox import PATH, Chatbox, chatbox

NOW = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
BODY = '{"text": "Zoë moved"}'.encode()
KEY = "k3y"


class Time:
    """A clock that only waiting moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.fixture
def box() -> Iterator[Chatbox]:
    with chatbox() as running:
        yield running


def quota(time: Time | None = None, **limits: Any) -> Quota:
    time = time or Time()
    return Quota("webhook", Budget(**limits), None, clock=lambda: time.now, sleep=time.sleep, rng=lambda: 0.5)


def send(hook: Hook, body: bytes = BODY, within: Quota | None = None) -> Answer:
    return hook.send(body, "d1gest", NOW, within or quota())


def test_a_summary_arrives_whole_and_signed(box: Chatbox) -> None:
    assert send(Hook(url=f"{box.url}?thread=1", secret=KEY)) == Answer(Fate.SENT)
    [(path, headers, body)] = box.told
    assert (path, body) == (f"{PATH}?thread=1", BODY)
    assert headers["Host"] == f"127.0.0.1:{box.server_port}"
    assert headers["Content-Type"] == "application/json"
    assert headers[DELIVERY] == "d1gest"
    stamp = headers[TIMESTAMP]
    assert stamp == str(int(NOW.timestamp()))
    signed = hmac.new(KEY.encode(), f"{stamp}.".encode() + BODY, hashlib.sha256).hexdigest()
    assert headers[SIGNATURE] == f"v1={signed}" == signature(KEY, stamp, BODY)


def test_without_a_key_nothing_is_signed(box: Chatbox) -> None:
    send(Hook(url=box.url))
    [(_, headers, _)] = box.told
    assert not {SIGNATURE, TIMESTAMP} & set(headers)


def test_another_body_another_time_or_another_key_is_another_signature() -> None:
    assert (
        len(
            {signature("a", "1", b"x"), signature("b", "1", b"x"), signature("a", "2", b"x"), signature("a", "1", b"y")}
        )
        == 4
    )


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_any_yes_is_one(box: Chatbox, status: int) -> None:
    box.status, box.body = status, b""
    assert send(Hook(url=box.url)).fate is Fate.SENT


@pytest.mark.parametrize("status", [400, 401, 403, 404, 408, 410, 413, 500, 503])
def test_any_no_has_refused_it_and_is_asked_once(box: Chatbox, status: int) -> None:
    box.status = status
    answer = send(Hook(url=box.url))
    assert answer == Answer(Fate.REFUSED, f"127.0.0.1 refused it: HTTP {status}")
    assert len(box.told) == 1


def test_a_word_that_says_why_is_quoted_and_nothing_else(box: Chatbox) -> None:
    box.status, box.body = 404, b"no_service"
    assert send(Hook(url=box.url)).why.endswith("HTTP 404 no_service")
    box.body = b"Zo\xc3\xab moved, said \x1b[31ms3cr3t" * 1000
    assert send(Hook(url=box.url)).why.endswith("HTTP 404")


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(box: Chatbox, status: int) -> None:
    with chatbox() as other:
        box.status, box.headers = status, {"Location": other.url}
        answer = send(Hook(url=box.url))
        assert answer.fate is Fate.REFUSED
        assert "where we do not go" in answer.why
        assert other.told == []


@pytest.mark.parametrize("fault", ["drop", "silence"])
def test_silence_once_it_is_out_leaves_it_unconfirmed_and_is_not_broken_by_asking_again(
    box: Chatbox, fault: str
) -> None:
    box.fault = fault
    answer = send(Hook(url=box.url, step=0.3))
    assert answer.fate is Fate.UNCONFIRMED
    assert len(box.told) == 1


@pytest.mark.parametrize("status", [502, 504])
def test_a_gateway_that_heard_nothing_leaves_it_unconfirmed(box: Chatbox, status: int) -> None:
    box.status = status
    assert send(Hook(url=box.url)).fate is Fate.UNCONFIRMED
    assert len(box.told) == 1


def test_an_answer_that_never_ends_is_cut_off(box: Chatbox) -> None:
    box.fault = "silence"
    assert send(Hook(url=box.url, step=600, whole=0.3)).fate is Fate.UNCONFIRMED  # else this test takes too long


def test_nobody_there_has_refused_it() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        answer = send(Hook(url=f"http://127.0.0.1:{taken.getsockname()[1]}/x"))
    assert answer == Answer(Fate.REFUSED, "127.0.0.1 could not be reached")


# ---- where an address may lead --------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["127.0.0.1", "10.0.0.7", "169.254.169.254", "::1", "::ffff:10.0.0.7", "0.0.0.0"])  # noqa: S104
def test_a_name_does_not_lead_into_our_network(address: str) -> None:
    for found in ([address], ["93.184.215.14", address]):  # the first of these is anybody's
        hook = Hook(url="https://hooks.chat.example/x", resolve=lambda *_, found=found: found)
        answer = send(hook)
        assert answer.fate is Fate.REFUSED
        assert "not allowed" in answer.why


def test_a_private_address_is_allowed_where_the_job_file_says_so_and_a_clouds_credentials_never_are(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    with chatbox(authority.serving("hooks.chat.example")) as box:
        url = f"https://hooks.chat.example:{box.server_port}{PATH}"
        inside = Hook(url=url, tls=authority.trusted(), allow_private=True, resolve=lambda *_: ["127.0.0.1"])
        assert send(inside) == Answer(Fate.SENT)
        assert box.told[0][1]["Host"] == f"hooks.chat.example:{box.server_port}"
        link_local = replace(inside, resolve=lambda *_: ["169.254.169.254"])
        assert send(link_local).fate is Fate.REFUSED


@pytest.mark.parametrize(("name", "trusted"), [("other.example", True), ("hooks.chat.example", False)])
def test_a_certificate_of_somebody_else_is_told_nothing(tmp_path: Path, name: str, *, trusted: bool) -> None:
    authority = Authority(tmp_path)
    with chatbox(authority.serving(name)) as box:
        url = f"https://hooks.chat.example:{box.server_port}{PATH}"
        tls = authority.trusted() if trusted else None
        hook = Hook(url=url, tls=tls, allow_private=True, resolve=lambda *_: ["127.0.0.1"])
        answer = send(hook)
        assert (answer.fate, box.told) == (Fate.REFUSED, [])
        assert "certificate" in answer.why


def test_no_sentence_and_no_repr_gives_the_address_away(box: Chatbox) -> None:
    box.status = 500
    hook = Hook(url=box.url, secret=KEY)
    assert "s3cr3t" not in send(hook).why + repr(hook)
    assert KEY not in repr(hook)


def test_a_look_connects_and_tells_nothing(box: Chatbox) -> None:
    assert Hook(url=box.url).reach() == ""
    assert "not allowed" in Hook(url="https://hooks.chat.example/x", resolve=lambda *_: ["10.0.0.7"]).reach()
    assert box.told == []


# ---- the budget -----------------------------------------------------------------------------------------------------


def test_every_attempt_is_charged_and_one_that_does_not_fit_is_not_sent(box: Chatbox) -> None:
    time = Time()
    within = quota(time, per_day=2, share=0.5)
    assert send(Hook(url=box.url), within=within).fate is Fate.SENT
    refused = send(Hook(url=box.url), within=within)
    assert refused.fate is Fate.REFUSED
    assert refused.why.startswith("it was not sent: ")
    assert len(box.told) == 1


def test_a_chat_that_asks_to_be_left_alone_for_a_moment_is(box: Chatbox) -> None:
    time = Time()
    box.status, box.headers = 429, {"Retry-After": "7"}

    def calmed(seconds: float) -> None:
        time.sleep(seconds)
        box.status = 200

    within = Quota("webhook", Budget(), None, clock=lambda: time.now, sleep=calmed, rng=lambda: 0.5)
    assert send(Hook(url=box.url), within=within).fate is Fate.SENT
    assert len(box.told) == 2
    assert time.now >= 7


def test_a_chat_that_asks_for_longer_than_anybody_waits_has_refused_it(box: Chatbox) -> None:
    time = Time()
    box.status, box.headers = 429, {"Retry-After": "3600"}
    assert send(Hook(url=box.url), within=quota(time)).fate is Fate.REFUSED
    assert (len(box.told), time.slept) == (1, [])


def test_what_is_too_large_is_not_sent(box: Chatbox) -> None:
    assert send(Hook(url=box.url), b"x" * (LARGEST + 1)).fate is Fate.REFUSED
    assert box.told == []


@pytest.mark.parametrize(
    "url",
    [
        *("https://u:p@chat.example/x", "https://u@chat.example/x", "https://chat.example/x#y"),
        *("http://chat.example/x", "http://127.0.0.1.chat.example/x", "ftp://chat.example/x"),
    ],
)
def test_an_address_without_encryption_or_with_a_login_in_it_is_none_and_is_not_shown(url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        HookUrl(Reference("report.webhook.url", "env", "HOOK", tmp_path)).reveal({"HOOK": url})
    assert "chat.example" not in str(raised.value)
