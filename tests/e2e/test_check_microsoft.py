"""`reconcile check` of Outlook calendars, against the stand-in: what is missing is told apart, mailbox by mailbox."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.simulator.graph_sign_in import SECRET
from tests.e2e.microsoft_world import CID, DEE, MicrosoftWorld, microsoft_world, showing


@pytest.fixture
def world(tmp_path: Path) -> Iterator[MicrosoftWorld]:
    with microsoft_world(tmp_path, agents=(CID, DEE)) as world:
        yield world


@pytest.fixture
def look(world: MicrosoftWorld, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what runs a check and gives its exit code and lines by name."""

    def check() -> tuple[int, dict[str, tuple[str, str]]]:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
        code = entry.call(("check", str(world.job()), "--format", "json"), outside)
        said = capsys.readouterr().out
        assert SECRET not in said
        return code, {line["name"]: (line["mark"], line["says"]) for line in json.loads(said)["checks"]}

    return check


def test_mailboxes_that_can_be_read_are_ready_and_their_budget_is_named(world: MicrosoftWorld, look: Any) -> None:
    world.mailbox(CID).insert(showing("evta"))
    code, found = look()
    assert code == 0, found
    assert found[f"calendar {CID}"] == ("ok", "1 event in the window")
    assert any(name.startswith("budget microsoft") for name in found)


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("ErrorAccessDenied", "limited to others"),
        ("MailboxNotEnabledForRESTAPI", "mailbox"),
        ("MailboxNotSupportedForRESTAPI", "on premises"),
        ("ErrorInvalidUser", "renamed"),
    ],
)
def test_what_keeps_one_mailbox_from_being_read_is_said_of_it_alone(
    world: MicrosoftWorld, look: Any, code: str, word: str
) -> None:
    world.mailbox(DEE).revoke(code)
    exit_code, found = look()
    assert exit_code == 2
    assert found[f"calendar {CID}"][0] == "ok"
    mark, says = found[f"calendar {DEE}"]
    assert mark == "problem"
    assert word in says


def test_an_application_without_consent_is_told_once_what_to_ask_for(world: MicrosoftWorld, look: Any) -> None:
    world.server.accounts.roles = frozenset()
    exit_code, found = look()
    assert exit_code == 2
    wrong = [says for mark, says in found.values() if mark == "problem"]
    assert len(wrong) == 1
    assert "Calendars.Read" in wrong[0]


def test_a_secret_that_is_not_right_is_told_once(world: MicrosoftWorld, look: Any) -> None:
    world.environ["MS_SECRET"] = "another one"
    exit_code, found = look()
    assert exit_code == 2
    wrong = [says for mark, says in found.values() if mark == "problem"]
    assert len(wrong) == 1
    assert "another one" not in wrong[0]
