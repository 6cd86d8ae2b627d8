"""What a job may ask of Google and Microsoft: as much as its direction takes, checked without a write, and no more."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from reconciler.assembly import provider_of
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.config import Google, Microsoft, load
from reconciler.errors import ConfigError
from reconciler.simulator.google_sign_in import READ, SCRIBE, WRITE
from reconciler.simulator.graph_sign_in import CLIENT
from reconciler.simulator.graph_sign_in import READ as MAY_READ
from reconciler.simulator.graph_sign_in import SCRIBE as APPLICATION
from reconciler.simulator.graph_sign_in import WRITE as MAY_WRITE
from reconciler.sources.google_auth import FULL_SCOPE
from tests.e2e.google_world import ANN, BOB, GoogleWorld, google_world
from tests.e2e.microsoft_world import CID, MicrosoftWorld, microsoft_world
from tests.e2e.world import World

TWO_WAY = "two-way"
UNSET = 'auth_write = { token = "env:NOT_SET" }'
Found = dict[str, list[tuple[str, str]]]
Look = Callable[[World], tuple[int, Found]]


@pytest.fixture
def google(tmp_path: Path) -> Iterator[Callable[..., GoogleWorld]]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(google_world(tmp_path, **{"agents": (ANN, BOB), **more}))


@pytest.fixture
def outlook(tmp_path: Path) -> Iterator[Callable[..., MicrosoftWorld]]:
    with ExitStack() as stack:
        yield lambda **more: stack.enter_context(microsoft_world(tmp_path, **{"agents": (CID,), **more}))


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """Return what runs a check and gives its exit code and the lines of each name."""

    def check(world: World) -> tuple[int, Found]:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
        code = entry.call(("check", str(world.job()), "--format", "json"), outside)
        found: Found = {}
        for line in json.loads(capsys.readouterr().out)["checks"]:
            found.setdefault(line["name"], []).append((line["mark"], line["says"]))
        return code, found

    return check


def wrong(found: Found) -> dict[str, str]:
    return {name: says for name, lines in found.items() for mark, says in lines if mark == "problem"}


# ---- Google ---------------------------------------------------------------------------------------------------------


def test_a_job_that_writes_no_calendar_needs_and_asks_for_reading_alone(google: Any, look: Look) -> None:
    world = google()
    world.server.accounts.allowed = [READ]
    code, found = look(world)
    assert code == 0, wrong(found)
    assert found["access google"] == [("ok", f"reads with {READ} by auth and needs nothing else")]
    assert world.scopes() == {READ, WRITE, FULL_SCOPE}, "two that it should not get are asked for, too"
    assert not any(name.startswith("writing") for name in found)


@pytest.mark.parametrize(
    ("sync", "allowed", "says"),
    [
        (
            "calendar-to-crm",
            [READ, WRITE],
            f"auth may do more than read: {WRITE}. {READ} is enough, and can do no harm",
        ),
        (
            "calendar-to-crm",
            [READ, WRITE, FULL_SCOPE],
            f"auth may do more than read: {WRITE}, {FULL_SCOPE}. {READ} is enough, and can do no harm",
        ),
        (
            TWO_WAY,
            [READ, WRITE, FULL_SCOPE],
            f"auth may do more than that: {FULL_SCOPE}. {READ} and {WRITE} are enough",
        ),
        (TWO_WAY, [READ, WRITE], None),
    ],
)
def test_scopes_that_are_delegated_without_need_are_named(
    google: Any, look: Look, sync: str, allowed: list[str], says: str | None
) -> None:
    world = google(sync=sync)
    world.server.accounts.allowed = allowed
    code, found = look(world)
    assert code == 0, wrong(found)
    assert found["access google"][1:] == ([("note", says)] if says else [])
    assert {one.method for one in world.server.requests()} == {"GET"}


def test_what_a_job_that_writes_calendars_needs_is_tried_out_without_a_write(google: Any, look: Look) -> None:
    world = google(sync=TWO_WAY)
    world.server.accounts.allowed = [READ, WRITE]
    code, found = look(world)
    assert code == 0, wrong(found)
    assert found["access google"] == [("ok", f"reads with {READ} by auth, writes with {WRITE} by auth")]
    assert found["writing google"] == [("ok", "2 calendars can be written; none was")]
    assert {one.method for one in world.server.requests()} == {"GET"}


def test_writing_is_tried_by_the_credential_that_writes(google: Any, look: Look) -> None:
    world = google(sync=TWO_WAY, scribe=True)
    code, found = look(world)
    assert code == 0, wrong(found)
    assert found["access google"] == [("ok", f"reads with {READ} by auth, writes with {WRITE} by auth_write")]
    assert {scope for who, _, scope in world.server.accounts.asked if who == SCRIBE} == {WRITE}


def test_leave_to_write_that_is_missing_is_one_problem_with_what_to_ask_for(google: Any, look: Look) -> None:
    world = google(sync=TWO_WAY, scribe=True)
    world.server.accounts.others[SCRIBE] = [READ]
    code, found = look(world)
    assert code == 2
    assert set(wrong(found)) == {"writing google"}
    assert f"the scope {WRITE}" in wrong(found)["writing google"]


def test_a_calendar_that_may_only_be_read_is_named(google: Any, look: Look) -> None:
    world = google(sync=TWO_WAY)
    world.calendar(BOB).role = "reader"
    code, found = look(world)
    assert code == 2
    says = "it may be read and not written (its access role is reader)"
    assert wrong(found) == {f"writing {BOB}": says}
    assert found["writing google"] == [("ok", "1 calendar can be written; none was")]


def test_a_credential_for_writing_that_nothing_uses_is_noted(google: Any, look: Look) -> None:
    code, found = look(google(more=UNSET))
    assert code == 0, wrong(found)
    assert ("note", 'auth_write is not used: sync = "calendar-to-crm" writes no calendar') in found["access google"]


def test_a_credential_for_writing_that_nothing_uses_is_not_read(google: Any) -> None:
    assert google(more=UNSET).run().exit_code == 0


def test_a_dry_run_does_not_read_the_credential_for_writing_and_a_run_says_that_it_is_not_there(google: Any) -> None:
    world = google(sync=TWO_WAY, more=UNSET)
    assert world.dry().exit_code == 0
    with pytest.raises(ConfigError, match="NOT_SET"):
        world.run()


def test_only_a_run_whose_direction_leads_to_calendars_has_what_writes_them(google: Any) -> None:
    for sync, names in (("calendar-to-crm", set()), ("crm-to-calendar", {"google"}), (TWO_WAY, {"google"})):
        world = google(sync="", policy=f'sync = "{sync}"')
        with world.setup() as setup:
            assert setup.writers is not None
            assert set(setup.writers.calendars) == names
        with world.setup(dry_run=True) as setup:
            assert setup.writers is None
        (world.folder / "crm.db").unlink()


def test_credentials_of_one_project_share_a_budget_and_others_have_their_own(google: Any) -> None:
    world = google(sync=TWO_WAY, scribe=True)
    [table] = load(world.job(), world.environ).sources
    assert isinstance(table, Google)
    assert provider_of(table, {}) == provider_of(table, {}, write=True) == "google:sample"
    key = json.loads((world.folder / "scribe.json").read_text())
    (world.folder / "scribe.json").write_text(json.dumps(key | {"project_id": "other-project"}))
    assert provider_of(table, {}, write=True) == "google:other-project"


# ---- Microsoft ------------------------------------------------------------------------------------------------------


def test_an_application_that_only_reads_and_may_write_is_told_that_less_is_enough(outlook: Any, look: Look) -> None:
    world = outlook()
    code, found = look(world)
    assert code == 0, wrong(found)
    [needs, more] = found["access microsoft"]
    assert needs == ("ok", "reads with Calendars.Read by auth and needs nothing else")
    assert more == (
        "note",
        "auth may do more than read: Calendars.ReadWrite. Calendars.Read is enough, and can do no harm",
    )
    world.server.accounts.roles = {MAY_READ}
    assert len(look(world)[1]["access microsoft"]) == 1


def test_two_applications_each_with_its_own_permission_are_ready(outlook: Any, look: Look) -> None:
    world = outlook(sync=TWO_WAY, scribe=True)
    code, found = look(world)
    assert code == 0, wrong(found)
    says = f"reads with {MAY_READ} by auth, writes with {MAY_WRITE} by auth_write"
    assert found["access microsoft"] == [("ok", says)]
    assert found["writing microsoft"] == [("ok", "1 calendar can be written; none was")]
    assert {one.method for one in world.server.requests()} == {"GET"}
    assert {one.quota_user for one in world.server.requests()} == {CLIENT, APPLICATION}


def test_one_application_that_writes_too_is_not_told_that_less_is_enough(outlook: Any, look: Look) -> None:
    world = outlook(sync=TWO_WAY)
    code, found = look(world)
    assert code == 0, wrong(found)
    assert len(found["access microsoft"]) == 1
    world.server.accounts.roles |= {"Mail.Read"}
    [_, (mark, says)] = look(world)[1]["access microsoft"]
    assert (mark, says) == (
        "note",
        "auth may do more than that: Mail.Read. Calendars.Read and Calendars.ReadWrite are enough",
    )


def test_an_application_whose_token_names_no_leave_to_write_is_noted(outlook: Any, look: Look) -> None:
    world = outlook(sync=TWO_WAY, scribe=True)
    world.server.accounts.others[APPLICATION] = {MAY_READ}
    code, found = look(world)
    assert code == 0, "Exchange may give leave to write that no token names"
    [(mark, says)] = found[f"writing {CID}"]
    assert (mark, "Calendars.ReadWrite" in says) == ("note", True)


def test_a_secret_for_writing_that_is_not_right_is_a_problem_of_writing_alone(outlook: Any, look: Look) -> None:
    world = outlook(sync=TWO_WAY, scribe=True)
    world.environ["MS_SCRIBE"] = "another one"
    code, found = look(world)
    assert code == 2
    assert set(wrong(found)) == {"writing microsoft"}
    assert "another one" not in str(found)


def test_the_application_that_writes_has_a_budget_of_its_own(outlook: Any) -> None:
    world = outlook(sync=TWO_WAY, scribe=True)
    [table] = load(world.job(), world.environ).sources
    assert isinstance(table, Microsoft)
    assert provider_of(table, {}) == f"microsoft:{CLIENT}"
    assert provider_of(table, {}, write=True) == f"microsoft:{APPLICATION}"
