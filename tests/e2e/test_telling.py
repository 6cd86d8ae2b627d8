"""`status` says first which reports may not have arrived, `check` who would get what and whether a server is there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from tests.e2e.world import World
from tests.postbox import Postbox, postbox

OPS, NORTH = "ops@acme.example", "north@acme.example"
Reconcile = Callable[..., str]


@pytest.fixture
def box() -> Iterator[Postbox]:
    with postbox() as running:
        yield running


@pytest.fixture
def world(make: Callable[..., World], box: Postbox) -> World:
    server = f"smtp://127.0.0.1:{box.port}"
    mail = f'mail = {{ to = ["{OPS}"], from = "reconcile@acme.example", smtp = "{server}" }}'
    made = make(limits=f'[report]\n{mail}\n[[report.route]]\nto = ["{NORTH}"]\nagent = "ann@acme.example"\n')
    made.run()
    return made


@pytest.fixture
def reconcile(world: World, capsys: pytest.CaptureFixture[str]) -> Reconcile:
    """Return what runs a command and gives what it wrote to stdout."""

    def call(command: str, *words: str, code: int = 0) -> str:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
        assert entry.call((command, str(world.job()), *words), outside) == code, capsys.readouterr()
        return capsys.readouterr().out

    return call


def test_status_shows_what_each_channel_was_told_last(reconcile: Reconcile) -> None:
    assert "REPORTS" not in reconcile("status")
    reconcile("report", "--send")
    shown = reconcile("status")
    assert "REPORTS\n  mail: report up to Sun 22 Nov 2026 17:00 UTC, sent Sun 22 Nov 2026 17:00 UTC\n" in shown
    assert "ARRIVED" not in shown
    assert OPS not in shown


def test_a_file_that_cannot_be_written_keeps_nobody_from_being_told(reconcile: Reconcile, box: Postbox) -> None:
    assert "mail: sent" in reconcile("report", "--send", "--html", "nowhere/report.html", code=2)
    assert {letter["To"] for letter in box.letters} == {OPS, NORTH}


def test_status_shows_first_what_may_not_have_arrived_and_what_is_owed(reconcile: Reconcile, box: Postbox) -> None:
    box.faults["END"] = "drop"
    box.refused = {NORTH}
    reconcile("report", "--send", code=5)
    shown = reconcile("status")
    head, _, lost, *rest = shown.splitlines()
    assert head.endswith("; 2 reports may not have arrived")
    assert lost == "REPORTS THAT MAY NOT HAVE ARRIVED"
    assert rest[0].startswith("  UNCONFIRMED  mail: report up to")
    assert rest[1].endswith("--send --again")
    assert rest[2].startswith("  OWED         route 1 (1 agent): report up to")
    assert rest[3].endswith("--send")
    assert "\x1b" not in shown
    assert reconcile("status", "--quiet").count("may not have arrived") == 1
    told = json.loads(reconcile("status", "--format", "json"))["deliveries"]
    assert [(one["channel"], one["status"], one["attempts"]) for one in told] == [
        ("mail", "unconfirmed", 1),
        ("route 1 (1 agent)", "refused", 1),
    ]


def test_status_shows_that_a_report_did_not_reach_everybody(reconcile: Reconcile, world: World, box: Postbox) -> None:
    world.limits = world.limits.replace(f'to = ["{OPS}"]', f'to = ["{OPS}", "boss@acme.example"]')
    box.refused = {"boss@acme.example"}
    assert "mail: sent: 1 of 2 recipients were refused: 550" in reconcile("report", "--send", code=5)
    head, _, _, partly, command, *_ = reconcile("status").splitlines()
    assert head.endswith("; 1 report did not reach everybody")
    assert partly.startswith("  PARTLY       mail: report up to")
    assert (partly.endswith("nobody of that name"), command.strip().startswith("reconcile check")) == (True, True)


def test_on_a_terminal_it_is_red(reconcile: Reconcile, box: Postbox, monkeypatch: pytest.MonkeyPatch) -> None:
    box.faults["MAIL"] = "451 later"
    reconcile("report", "--send", code=5)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    assert "\x1b[1;31mREPORTS THAT MAY NOT HAVE ARRIVED\x1b[0m" in reconcile("status")


def test_status_forgets_a_channel_that_the_job_file_no_longer_names(
    reconcile: Reconcile, world: World, box: Postbox
) -> None:
    box.refused = {NORTH}
    reconcile("report", "--send", code=5)
    world.limits = world.limits.split("[[report.route]]")[0]
    assert "ARRIVED" not in reconcile("status")


def checks(reconcile: Reconcile, *, code: int = 0) -> dict[str, Any]:
    found = json.loads(reconcile("check", "--format", "json", code=code))["checks"]
    return {line["name"]: (line["mark"], line["says"]) for line in found}


def test_check_says_who_would_get_what_and_sends_nothing(reconcile: Reconcile, box: Postbox) -> None:
    found = checks(reconcile)
    assert found["mail"] == ("ok", f"{OPS}: the whole report")
    assert found["route 1 (1 agent)"] == ("ok", f"{NORTH}: the part of ann@acme.example")
    assert found["mail server"] == ("ok", "it can be reached and would take a report; none was sent")
    assert box.spoken == ["EHLO"]
    assert box.letters == []


def test_check_says_what_is_wrong_with_a_mail_server(reconcile: Reconcile, world: World, box: Postbox) -> None:
    with postbox() as gone:
        pass
    world.limits = world.limits.replace(str(box.port), str(gone.port))
    assert checks(reconcile, code=2)["mail server"] == ("problem", "the mail server 127.0.0.1 could not be reached")
    world.limits = world.limits.replace(f"smtp://127.0.0.1:{gone.port}", "env:NOT_SET")
    mark, says = checks(reconcile, code=2)["mail server"]
    assert (mark, "NOT_SET is not set" in says) == ("problem", True)


def test_check_says_that_a_login_is_not_accepted_without_saying_it(
    reconcile: Reconcile, world: World, box: Postbox
) -> None:
    with postbox(auth=True) as strict:
        world.limits = world.limits.replace(f"smtp://127.0.0.1:{box.port}", "env:SMTP")
        world.environ["SMTP"] = f"smtp://ops:hunter2@127.0.0.1:{strict.port}"
        mark, says = checks(reconcile, code=2)["mail server"]
    assert mark == "problem"
    assert "does not accept the login" in says
    assert "hunter2" not in says


def test_check_says_that_a_route_is_nobodys(reconcile: Reconcile, world: World) -> None:
    world.limits = world.limits.replace("ann@acme.example", "eve@acme.example")
    mark, says = checks(reconcile, code=2)["route 1 (1 agent)"]
    assert mark == "problem"
    assert "eve@acme.example" in says
