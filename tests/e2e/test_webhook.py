"""A chat is told the summary of each report once, beside the mails, whatever becomes of either."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from reconciler import reporting
from reconciler.config import load
from reconciler.delivering import Order, Outcome, Sending, Step, deliver
from reconciler.report.webhook import DELIVERY, SIGNATURE, TIMESTAMP, signature
from reconciler.store.schema import deliveries, quota
from tests.chatbox import Chatbox, chatbox
from tests.e2e.world import World, event
from tests.postbox import Postbox, postbox

Office = Callable[..., World]


@pytest.fixture
def chat() -> Iterator[Chatbox]:
    with chatbox() as running:
        yield running


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as running:
        yield running


@pytest.fixture
def office(make: Callable[..., World], chat: Chatbox, box: Postbox) -> Office:
    def made(spoken: str = "json", more: str = "") -> World:
        server = f"smtp://127.0.0.1:{box.port}"
        mail = f'mail = {{ to = ["ops@acme.example"], from = "reconcile@acme.example", smtp = "{server}" }}'
        hook = f'url = "env:HOOK"\nsecret = "env:KEY"\nformat = "{spoken}"'
        world = make(limits=f"[report]\n{mail}\n[report.webhook]\n{hook}\n{more}")
        world.environ |= {"HOOK": chat.url, "KEY": "k3y"}
        world.write(world.agents[0], event("a"))
        world.run()
        return world

    return made


def sent(world: World, **order: Any) -> Outcome:
    job = load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=lambda: world.now) as desk:
        return deliver(Sending(desk=desk, environ=world.environ), Order(word="acme", **order))


def steps(outcome: Outcome) -> list[tuple[str, Step]]:
    return [(one.name, one.step) for one in outcome.each]


def test_a_chat_is_told_once_beside_the_mail(office: Office, chat: Chatbox, box: Postbox) -> None:
    world = office()
    assert steps(sent(world)) == [("mail", Step.SENT), ("webhook", Step.SENT)]
    assert steps(sent(world)) == [("mail", Step.NOTHING), ("webhook", Step.NOTHING)]
    [(_, headers, body)] = chat.told
    assert len(box.letters) == 1
    assert headers[SIGNATURE] == signature("k3y", headers[TIMESTAMP], body)
    told = orjson.loads(body)
    assert told["job"] == "acme"
    assert "jane@mail.example" not in body.decode()
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        rows = connection.execute(select(deliveries).where(deliveries.c.channel == "webhook")).mappings().all()
        assert [(row["status"], row["digest"]) for row in rows] == [("sent", headers[DELIVERY])]
        charged = connection.execute(select(quota.c.provider)).scalars().all()
    assert any(name.startswith("webhook:") for name in charged)
    assert not any("s3cr3t" in name for name in charged)


@pytest.mark.parametrize(("spoken", "key"), [("slack", "blocks"), ("teams", "attachments"), ("json", "format_version")])
def test_each_chat_is_spoken_to_in_its_language(office: Office, chat: Chatbox, spoken: str, key: str) -> None:
    sent(office(spoken))
    [(_, _, body)] = chat.told
    assert key in orjson.loads(body)


def test_a_chat_that_refuses_stops_no_mail_and_is_told_later(office: Office, chat: Chatbox, box: Postbox) -> None:
    world = office()
    chat.status = 500
    outcome = sent(world)
    assert (steps(outcome), outcome.exit_code) == ([("mail", Step.SENT), ("webhook", Step.REFUSED)], 5)
    chat.status = 200
    assert steps(sent(world)) == [("mail", Step.NOTHING), ("webhook", Step.SENT)]
    assert len({headers[DELIVERY] for _, headers, _ in chat.told}) == 1
    assert len(box.letters) == 1


def test_a_chat_that_fell_silent_is_told_again_only_when_a_person_asks(office: Office, chat: Chatbox) -> None:
    world = office()
    chat.fault = "drop"
    assert sent(world).exit_code == 5
    chat.fault = ""
    assert sent(world).exit_code == 5
    assert len(chat.told) == 1
    assert sent(world, again=True).exit_code == 0
    first, second = chat.told
    assert first[1][DELIVERY] == second[1][DELIVERY]


def test_a_secret_that_is_missing_is_said_and_stops_no_mail(office: Office, chat: Chatbox, box: Postbox) -> None:
    world = office()
    del world.environ["KEY"]
    outcome = sent(world)
    assert steps(outcome) == [("mail", Step.SENT), ("webhook", Step.REFUSED)]
    assert "KEY is not set" in outcome.each[1].why
    assert chat.told == []


def test_a_budget_that_is_used_up_keeps_the_chat_waiting(office: Office, chat: Chatbox) -> None:
    world = office(more="[budget.webhook]\nper_day = 1\n")
    assert sent(world).exit_code == 0
    world.now = world.now.replace(hour=world.now.hour + 1)
    world.run()
    outcome = sent(world)
    assert outcome.each[1].step is Step.REFUSED
    assert "budget" in outcome.each[1].why
    assert len(chat.told) == 1
