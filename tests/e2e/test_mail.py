"""A report is mailed once to whom it concerns, whatever fails on the way: by a real mail server, on both states."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import pytest
from sqlalchemy import select

from reconciler import reporting
from reconciler.config import Job, load
from reconciler.delivering import Delivered, Order, Outcome, Sending, Step, channels, deliver
from reconciler.report.mail import Post
from reconciler.store import deliveries as store
from reconciler.store.schema import deliveries
from tests.e2e.world import NOW, World, event
from tests.postbox import Postbox, postbox

ANN, BOB = "ann@acme.example", "bob@acme.example"
OPS, NORTH = "ops@acme.example", "north@acme.example"
IMPATIENT = Post(step=1.0, whole=1.0)
DAY = timedelta(days=1)


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as running:
        yield running


Office = Callable[..., World]


@pytest.fixture
def office(make: Callable[..., World], box: Postbox) -> Office:
    """Make a world whose reports go to the box; `crm` is the last section of its job file that takes more tables."""

    def made(*, to: str = OPS, when: str = "always", more: str = "", **settings: Any) -> World:
        server = f"smtp://127.0.0.1:{box.port}"
        tables = f'[report]\nwhen = "{when}"\n'
        if to:
            tables += f'mail = {{ to = ["{to}"], from = "reconcile@acme.example", smtp = "{server}" }}\n'
        return make(**{"section": "", "limits": f"{tables}{more}", **settings})

    return made


def sent(world: World, *, post: Post | None = None, job: Job | None = None, **order: Any) -> Outcome:
    job = job or load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=lambda: world.now) as desk:
        sending = Sending(desk=desk, environ=world.environ, post=post or IMPATIENT)
        return deliver(sending, Order(word="acme", **order))


def steps(outcome: Outcome) -> list[Step]:
    return [one.step for one in outcome.each]


def known(world: World) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        return list(connection.execute(select(deliveries).order_by(deliveries.c.id)).mappings())


def statuses(world: World) -> list[str]:
    return [row["status"] for row in known(world)]


def text(letter: EmailMessage) -> str:
    body = letter.get_body(("plain",))
    assert body is not None
    return str(body.get_content())


def blind(world: World) -> None:
    """Let Ann's calendar be unreadable."""
    world.file(ANN).unlink()


def later(world: World, by: timedelta = DAY) -> World:
    world.now += by
    return world


# ---- one mail -------------------------------------------------------------------------------------------------------


def test_a_report_is_mailed_with_everything_in_it(office: Office, box: Postbox) -> None:
    world = office()
    world.write(ANN, event("a"))
    world.run()
    assert sent(world) == Outcome((Delivered("mail", Step.SENT),))
    [letter] = box.letters
    assert letter["Subject"].startswith("[RECON] ")
    assert letter["To"] == OPS
    assert letter["Date"].datetime == world.now
    assert "acme" in text(letter)
    html = letter.get_body(("html",))
    assert html is not None
    assert "<script" not in html.get_content()
    [attached] = letter.iter_attachments()
    assert attached.get_filename() == "acme-2026-11-22.csv"
    assert "missing_in_crm" in str(attached.get_content())


def test_a_report_goes_out_once_however_often_it_is_asked_for(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    assert steps(sent(world)) == [Step.SENT]
    again = sent(later(world))
    assert again == Outcome((Delivered("mail", Step.NOTHING, "no run has ended since the last one"),))
    assert again.exit_code == 0
    assert (len(box.letters), statuses(world)) == (1, ["sent"])


def test_each_report_goes_on_where_the_last_one_ended_in_its_thread(office: Office, box: Postbox) -> None:
    world = office()
    for _ in range(3):
        later(world).run()
        sent(world)
    first, second, third = box.letters
    assert first["In-Reply-To"] is None
    assert second["In-Reply-To"] == second["References"] == first["Message-ID"]
    assert third["In-Reply-To"] == second["Message-ID"]
    assert third["References"].split() == [first["Message-ID"], second["Message-ID"]]
    assert len({letter["Message-ID"] for letter in box.letters}) == 3
    rows = known(world)
    assert [row["since_at"] for row in rows[1:]] == [row["until_at"] for row in rows[:-1]]


def test_a_quiet_report_is_a_heartbeat_or_is_not_sent_as_the_job_file_says(office: Office, box: Postbox) -> None:
    world = office(when="changes")
    world.run()
    sent(world)
    box.letters.clear()
    before = known(world)
    later(world).run()
    assert steps(sent(world)) == [Step.NOTHING]
    assert known(world) == before
    world.write(ANN, event("a"))
    later(world).run()
    assert steps(sent(world)) == [Step.SENT]
    assert known(world)[-1]["since_at"] == (before[-1]["until_at"] if before else known(world)[-1]["since_at"])


def test_that_no_run_has_ended_for_long_is_told_once(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    later(world, timedelta(hours=25))
    assert steps(sent(world, urgent=True)) == [Step.NOTHING]
    assert steps(sent(world)) == [Step.SENT]
    assert "no run has ended for" in text(box.letters[-1]).lower()
    for _ in range(2):
        assert steps(sent(world)) == [Step.NOTHING]
        later(world)
    world.run()
    assert steps(sent(world)) == [Step.SENT]
    assert len(box.letters) == 3
    first, _, last = known(world)
    assert last["since_at"] == first["until_at"]


def test_a_job_that_runs_once_a_week_is_not_silent_before(office: Office) -> None:
    world = office(section='freshness = "8d"')
    world.run()
    sent(world)
    later(world, timedelta(days=7))
    assert steps(sent(world)) == [Step.NOTHING]
    later(world, timedelta(days=1, hours=1))
    assert steps(sent(world)) == [Step.SENT]


def test_nobody_to_tell_is_nothing_to_do(office: Office) -> None:
    world = office(to="")
    world.run()
    assert sent(world) == Outcome(())


def test_a_silence_that_was_told_can_be_told_again(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    later(world, timedelta(hours=25))
    sent(world)
    assert steps(sent(world, again=True)) == [Step.SENT]
    assert box.letters[-1]["Message-ID"] == box.letters[-2]["Message-ID"]
    assert "no run has ended for" in text(box.letters[-1]).lower()


def test_a_clock_that_was_ahead_silences_no_report_when_it_is_right_again(office: Office, box: Postbox) -> None:
    world = office()
    later(world, 400 * DAY).run()
    sent(world)
    world.now -= 400 * DAY
    world.run()
    assert steps(sent(world)) == [Step.SENT]
    assert steps(sent(world)) == [Step.NOTHING]
    blind(world)
    later(world).run()
    assert steps(sent(world, urgent=True)) == [Step.SENT]
    assert steps(sent(world, urgent=True)) == [Step.NOTHING]
    assert steps(sent(world)) == [Step.SENT]
    _, right, urgent, last = known(world)
    assert urgent["since_at"] == last["since_at"] == right["until_at"]
    assert (len(box.letters), set(statuses(world))) == (4, {"sent"})


# ---- what fails -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["MAIL", "RCPT", "DATA", "END"])
def test_what_a_server_refuses_is_owed_and_goes_with_the_next_report(office: Office, box: Postbox, step: str) -> None:
    world = office()
    world.write(ANN, event("a"))
    world.run()
    journal = world.journal()
    box.faults[step] = "451 later"
    refused = sent(world)
    assert (steps(refused), refused.exit_code, statuses(world)) == ([Step.REFUSED], 5, ["refused"])
    assert "451 later" in refused.each[0].why
    assert world.journal() == journal
    box.faults.clear()
    assert steps(sent(world)) == [Step.SENT]
    [row] = known(world)
    assert (row["status"], row["attempts"], row["why"]) == ("sent", 2, None)
    assert [letter["Message-ID"] for letter in box.letters] == [row["message_id"]]


def test_what_was_refused_is_part_of_the_report_after_the_next_run(office: Office, box: Postbox) -> None:
    world = office()
    world.write(ANN, event("a"))
    world.run()
    box.faults["MAIL"] = "554 no"
    sent(world)
    box.faults.clear()
    later(world).run()
    assert steps(sent(world)) == [Step.SENT]
    first, second = known(world)
    assert (first["status"], second["status"]) == ("refused", "sent")
    assert first["since_at"] == second["since_at"]
    assert "missing_in_crm" in box.letters[0].as_string() or "Showing" in text(box.letters[0])
    with world.setup(dry_run=True) as setup, setup.state.engine.connect() as connection:
        assert store.owed(store.of(connection, setup.state, "mail", world.now)) == []


def test_what_is_owed_goes_with_the_next_urgent_one_too(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    box.faults["MAIL"] = "451 later"
    sent(world)
    box.faults.clear()
    assert steps(sent(world, urgent=True)) == [Step.SENT]
    assert [row["kind"] for row in known(world)] == ["report"]


@pytest.mark.parametrize("fault", ["drop", "silence", "taken, then drop", "taken, then silence"])
def test_what_nobody_knows_the_fate_of_is_not_sent_again_by_itself(office: Office, box: Postbox, fault: str) -> None:
    world = office()
    world.run()
    box.faults["END"] = fault
    lost = sent(world)
    assert (steps(lost), lost.exit_code, statuses(world)) == ([Step.UNCONFIRMED], 5, ["unconfirmed"])
    assert "--again" in lost.each[0].why
    box.faults.clear()
    came = len(box.letters)
    for urgent in (False, True):
        still = sent(world, urgent=urgent)
        assert (steps(still), still.exit_code) == ([Step.UNCONFIRMED], 5)
    assert len(box.letters) == came
    number = known(world)[0]["message_id"]
    assert steps(sent(world, again=True)) == [Step.SENT]
    assert [letter["Message-ID"] for letter in box.letters[came:]] == [number]
    assert statuses(world) == ["sent"]


def test_a_silence_whose_report_may_be_lost_is_not_said_to_be_told(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    later(world, timedelta(hours=25))
    box.faults["END"] = "drop"
    assert steps(sent(world)) == [Step.UNCONFIRMED]
    box.faults.clear()
    assert steps(sent(world)) == [Step.UNCONFIRMED]
    assert len(box.letters) == 1


def test_the_next_report_says_that_the_one_before_may_not_have_arrived(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    box.faults["END"] = "drop"
    sent(world)
    box.faults.clear()
    later(world).run()
    assert steps(sent(world)) == [Step.SENT]
    assert "may not have arrived" in " ".join(text(box.letters[0]).split())
    assert sent(world).exit_code == 0


def test_a_report_that_is_sent_again_and_refused_stays_what_it_was(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    box.faults["MAIL"] = "451 later"
    assert steps(sent(world, again=True)) == [Step.REFUSED]
    assert statuses(world) == ["sent"]
    box.faults.clear()
    later(world).run()
    assert steps(sent(world)) == [Step.SENT]
    first, second = known(world)
    assert second["since_at"] == first["until_at"]


def test_a_claim_that_is_left_is_somebodys_for_a_while_and_then_unconfirmed(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    box.faults["END"] = "drop"
    with suppress(ZeroDivisionError):
        sent(world, post=Dying())
    assert statuses(world) == ["claimed"]
    busy = sent(world)
    assert (steps(busy), busy.exit_code) == ([Step.BUSY], 0)
    later(world, timedelta(minutes=11))
    assert steps(sent(world)) == [Step.UNCONFIRMED]
    assert box.letters == []
    box.faults.clear()
    assert steps(sent(world, again=True)) == [Step.SENT]


class Dying(Post):
    """What ends a process between its claim and the first word to the server."""

    def send(self, letter: Any, server: Any) -> Any:
        raise ZeroDivisionError


def test_a_server_that_is_not_there_keeps_no_run_from_its_work(office: Office) -> None:
    world = office(more="", to=OPS)
    world.write(ANN, event("a"))
    with postbox() as gone:
        pass
    path = world.job()
    content = path.read_text()
    server = content.split('smtp = "')[1].split('"')[0]
    world.limits = world.limits.replace(server, f"smtp://127.0.0.1:{gone.port}")
    result = world.run()
    assert (result.exit_code, len(world.rows())) == (0, 1)
    assert sent(world).exit_code == 5
    assert [row["status"] for row in world.journal()] == ["done"]
    assert later(world).run().exit_code == 0


def test_that_some_recipients_were_refused_makes_5_and_is_told_to_the_others(office: Office, box: Postbox) -> None:
    world = office(to=f'{OPS}", "{NORTH}')
    world.run()
    box.refused = {NORTH}
    outcome = sent(world)
    assert (steps(outcome), outcome.exit_code) == ([Step.SENT], 5)
    assert "1 of 2 recipients" in outcome.each[0].why
    assert NORTH not in outcome.each[0].why
    assert NORTH not in str(known(world))
    later(world).run()
    assert (steps(sent(world)), len(box.letters)) == ([Step.SENT], 2)
    assert "did not reach everybody: 1 of 2 recipients" in text(box.letters[-1])


# ---- what is urgent -------------------------------------------------------------------------------------------------


def test_what_is_urgent_goes_at_once_and_once_for_each_cause(office: Office, box: Postbox) -> None:
    world = office()
    world.write(ANN, event("a"))
    world.run()
    sent(world)
    later(world, timedelta(hours=1)).run()
    before = len(known(world))
    assert steps(sent(world, urgent=True)) == [Step.NOTHING]
    assert len(known(world)) == before
    blind(world)
    later(world, timedelta(hours=1)).run()
    assert steps(sent(world, urgent=True)) == [Step.SENT]
    for _ in range(3):
        later(world, timedelta(hours=1)).run()
        assert steps(sent(world, urgent=True)) == [Step.NOTHING]
    assert [row["kind"] for row in known(world)] == ["report", "urgent"]
    assert len(box.letters) == 2


def test_a_report_tells_again_what_was_urgent_and_from_the_last_report_on(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    blind(world)
    later(world, timedelta(hours=1)).run()
    sent(world, urgent=True)
    later(world).run()
    assert steps(sent(world)) == [Step.SENT]
    first, urgent, second = known(world)
    assert second["since_at"] == first["until_at"] < urgent["until_at"]
    assert ANN in text(box.letters[-1])


def test_an_urgent_one_that_was_refused_goes_with_the_next_urgent_one(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    blind(world)
    later(world, timedelta(hours=1)).run()
    box.faults["MAIL"] = "451 later"
    assert steps(sent(world, urgent=True)) == [Step.REFUSED]
    box.faults.clear()
    assert steps(sent(world, urgent=True)) == [Step.SENT]
    assert [(row["kind"], row["status"], row["attempts"]) for row in known(world)] == [
        ("report", "sent", 1),
        ("urgent", "sent", 2),
    ]


# ---- several channels -----------------------------------------------------------------------------------------------

ROUTE = f'[[report.route]]\nto = ["{NORTH}"]\nagent = "{BOB}"\n'


def test_a_route_gets_its_part_and_a_failing_channel_stops_no_other(office: Office, box: Postbox) -> None:
    world = office(more=ROUTE, agents=(ANN, BOB))
    world.write(ANN, event("a", client="of-ann@mail.example"))
    world.write(BOB, event("b", client="of-bob@mail.example"))
    world.run()
    box.refused = {OPS}
    outcome = sent(world)
    assert steps(outcome) == [Step.REFUSED, Step.SENT]
    assert outcome.exit_code == 5
    [letter] = box.letters
    assert letter["To"] == NORTH
    whole = " ".join(str(part.get_payload(decode=True)) for part in letter.walk() if not part.is_multipart())
    assert "of-bob@mail.example" in whole
    assert "of-ann@mail.example" not in whole
    assert ANN not in whole
    box.refused = set()
    assert steps(sent(world)) == [Step.SENT, Step.NOTHING]


def test_a_mistake_in_one_channel_is_its_own(office: Office, box: Postbox) -> None:
    wrong = ROUTE.replace(BOB, "nobody@acme.example")
    world = office(more=wrong)
    world.run()
    outcome = sent(world)
    assert steps(outcome) == [Step.SENT, Step.REFUSED]
    assert "nobody@acme.example" in outcome.each[1].why


def test_an_error_that_nobody_foresaw_comes_out_when_all_have_had_their_turn(
    office: Office, box: Postbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = office(more=ROUTE, agents=(ANN, BOB))
    world.run()
    real = Post.send

    def dies_for_ops(post: Post, letter: Any, server: Any) -> Any:
        if OPS in letter.to:
            raise ZeroDivisionError
        return real(post, letter, server)

    monkeypatch.setattr(Post, "send", dies_for_ops)
    with pytest.raises(ZeroDivisionError):
        sent(world)
    assert [letter["To"] for letter in box.letters] == [NORTH]


def test_routes_are_told_apart_by_what_they_are_about_and_not_by_whom_they_reach(office: Office) -> None:
    world = office(more=ROUTE)
    first = [one.key for one in channels(load(world.job(), world.environ))]
    world.limits = world.limits.replace(NORTH, "south@acme.example")
    assert [one.key for one in channels(load(world.job(), world.environ))] == first
    world.limits += ROUTE
    assert len({one.key for one in channels(load(world.job(), world.environ))}) == 3
    assert NORTH not in str(first)


# ---- several processes ----------------------------------------------------------------------------------------------


def test_of_two_that_send_at_the_same_instant_one_does(office: Office, box: Postbox) -> None:
    world = office()
    for _ in range(4):
        later(world).run()
        before = len(box.letters)
        job = load(world.job(), world.environ)  # read once: each writes the file anew
        barrier = threading.Barrier(2, timeout=60)

        def send(_: int, barrier: threading.Barrier = barrier, job: Job = job) -> list[Step]:
            barrier.wait(30)
            return steps(sent(world, job=job))

        with ThreadPoolExecutor(2) as pool:
            both = [step for each in pool.map(send, range(2)) for step in each]
        assert both.count(Step.SENT) == 1, both
        assert len(box.letters) == before + 1


def test_while_one_sends_the_other_says_so_and_goes(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    world.job()
    box.gate = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(sent, world, post=Post())
        while not box.letters:
            assert not first.done()
        assert steps(sent(world)) == [Step.BUSY]
        assert steps(sent(world, again=True)) == [Step.BUSY]
        box.gate.set()
        assert steps(first.result(30)) == [Step.SENT]
    assert len(box.letters) == 1


def test_a_report_that_somebody_sent_meanwhile_is_made_anew(office: Office, box: Postbox) -> None:
    world = office()
    world.run()
    sent(world)
    later(world).run()
    job = load(world.job(), world.environ)
    with reporting.desk(job, world.environ, clock=lambda: world.now) as desk:
        stale = store.Claim(
            channel="mail", name="mail", kind=store.Kind.REPORT, digest="d", message_id="m", since=NOW, until=world.now
        )
        assert store.claim(desk.state, stale, world.now) is store.Denied.MOVED


def test_the_json_of_a_report_names_no_recipient(office: Office) -> None:
    world = office()
    world.run()
    outcome = sent(world)
    assert OPS not in json.dumps([(one.name, one.step, one.why) for one in outcome.each])
