"""`explain` says of one appointment what holds it, what was done, what is not kept, and the command that would act."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from reconciler.cli import entry
from reconciler.cli.world import World as Place
from reconciler.store.schema import journal
from tests.e2e.world import CLIENT, NOW, World, event

ANN = "ann@acme.example"
LATER = NOW + timedelta(days=2, hours=3)
Explain = Callable[..., dict[str, Any]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def explain(world: World, capsys: pytest.CaptureFixture[str]) -> Explain:
    """Explain in JSON and in words: the JSON, with the words as `text` and the exit code as `code`."""

    def ask(key: str, *words: str) -> dict[str, Any]:
        place = Place(environ={}, cwd=world.folder, clock=lambda: world.now)
        world.job()
        capsys.readouterr()
        code = entry.call(["explain", key, "--job", "acme.toml", *words], place)
        said = capsys.readouterr()
        if code:
            return {"code": code, "text": said.err}
        entry.call(["explain", key, "--job", "acme.toml", "--format", "json", *words], place)
        return {**json.loads(capsys.readouterr().out), "code": code, "text": said.out}

    return ask


def typed(said: dict[str, Any]) -> list[str]:
    return [one["type"] for one in said["commands"]]


def test_what_is_planned_comes_with_the_command_that_writes_it(world: World, explain: Explain) -> None:
    world.allow = ()
    world.write(ANN, event("a"))
    world.run()
    assert typed(explain("a")) == ["reconcile check acme.toml"]
    world.allow = ("create",)
    said = explain("a")
    assert [(one["action"], one["side"], one["outcome"]) for one in said["deltas"]] == [("create", "crm", "planned")]
    assert typed(said) == ["reconcile run acme.toml", f"reconcile run acme.toml --only {ANN}"]
    [told] = said["told"]
    assert (told["kind"], told["sightings"], told["first_seen"]) == ("missing_in_crm", 1, "2026-11-22T17:00:00Z")
    assert "seen 1 time: first Sun 22 Nov 2026 17:00 UTC, last Sun 22 Nov 2026 17:00 UTC" in said["text"]


def test_what_waits_in_a_refused_plan_comes_with_the_consent(world: World, explain: Explain) -> None:
    world.limits = 'create = "1"'
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=n)) for n in range(1, 4)))
    digest = world.run().digest
    said = explain("e2")
    assert said["waits_in"] == digest
    assert typed(said) == [f"reconcile approve {digest[:12]} --by YOU --why TEXT --job acme.toml"]
    assert f"waits      in plan {digest[:12]} for somebody's consent" in said["text"]


def test_what_was_written_can_be_taken_back_unless_its_images_are_gone(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"))
    run = world.run().run
    said = explain("a")
    assert (said["situation"], said["history"][0]["pruned"]) == ("in_sync", False)
    assert typed(said) == [f"reconcile revert {run} --dry-run --job acme.toml"]
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(update(journal).values(before=None, after=None))
    said = explain("a")
    assert (said["history"][0]["pruned"], said["history"][0]["fields"]) == (True, {})
    assert "what was there before and after is not kept any more" in said["text"]
    assert said["text"].endswith("Nothing to do.\n")


def test_what_a_person_decides_comes_with_both_words(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", LATER))
    world.sql("UPDATE appointments SET starts_at = '2026-11-24 19:00:00', ends_at = '2026-11-24 20:00:00', version = 2")
    world.run()
    world.now += timedelta(hours=1)
    [finding] = world.run().findings
    said = explain(finding.key)
    for side in ("calendar", "crm"):
        assert f"reconcile resolve {finding.key} --take {side} --dry-run --job acme.toml" in typed(said)
    assert f"reconcile accept {finding.key} --by YOU --why TEXT --until DATE --job acme.toml" in typed(said)


def test_a_word_that_can_not_be_taken_is_not_offered(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"), event("b", LATER))
    world.run()
    world.write(ANN, event("a"))
    [finding] = world.run().findings
    said = explain(finding.key)
    assert [one for one in typed(said) if "resolve" in one] == [], "that it is not shown is no evidence"
    assert f"reconcile accept {finding.key} --by YOU --why TEXT --until DATE --job acme.toml" in typed(said)


def test_what_the_crm_has_left_empty_is_nothing_and_not_uncompared(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"))
    world.run()
    world.sql("UPDATE appointments SET contact_email = NULL, version = 2")
    world.run()
    [line] = [line for line in explain("1")["text"].splitlines() if line.startswith("  contact ")]
    assert line.split() == ["contact", CLIENT, "nothing", CLIENT]


def test_a_record_that_is_held_with_others_comes_with_what_they_are_held_for(world: World, explain: Explain) -> None:
    starts = [NOW + timedelta(days=number) for number in range(2, 5)]
    world.write(ANN, *(event(f"e{number}", start) for number, start in enumerate(starts)))
    for number, start in enumerate(starts):
        world.insert(f"e{number}", start + timedelta(hours=1))
    [shift] = world.run().findings
    said = explain("2")
    assert (said["holds"], said["deltas"], [one["key"] for one in said["told"]]) == (["tz_shift"], [], [shift.key])
    assert [one for one in typed(said) if "resolve" in one] == [
        f"reconcile resolve {shift.key} --take {side} --dry-run --job acme.toml" for side in ("calendar", "crm")
    ]
    assert [one for one in typed(said) if "resolve" in one] == [
        line.strip() for line in explain(shift.key)["text"].splitlines() if "resolve" in line
    ], "and so does the finding about all of them"


def test_two_appointments_at_once_are_not_called_nothing_to_do(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=2, minutes=30), client="joe@mail.example"))
    [_, _, clash] = sorted(world.run().findings, key=lambda finding: finding.kind == "double_booked_agent")
    said = explain(clash.key)
    assert "a person decides: ask the agent to move one" in said["text"]
    accept = f"reconcile accept {clash.key} --by YOU --why TEXT --until DATE --job acme.toml"
    assert accept in typed(said)
    words = ["accept", clash.key, "--by", "Kim", "--why", "both know", "--until", "2026-11-30", "--job", "acme.toml"]
    assert entry.call(words, Place(environ={}, cwd=world.folder, clock=lambda: world.now)) == 0
    said = explain(clash.key)
    assert "known by Kim, and may stay until Mon 30 Nov 2026" in said["text"]
    assert accept not in typed(said)


def test_a_record_that_may_be_an_events_is_explained_with_that_event(world: World, explain: Explain) -> None:
    world.write(ANN, event("a"))
    number = world.insert(None)
    [finding] = world.run().findings
    said = explain(str(number))
    assert (finding.kind, said["event"], said["holds"]) == ("ambiguous", "a", ["ambiguous"])
    assert f"reconcile resolve {finding.key} --take calendar --dry-run --job acme.toml" in typed(said)


def test_a_private_event_says_that_nothing_else_was_read(world: World, explain: Explain) -> None:
    world.write(ANN, event("a", extra="CLASS:PRIVATE\r\n", title="Surgery"))
    world.insert("a", location="Clinic", title="Visit")
    world.run()
    said = explain("a")
    assert (said["private"], said["withheld"]) == (True, False)
    assert "private    it is marked so in the calendar: its time is kept, and nothing else was read" in said["text"]
    assert "Surgery" not in json.dumps(said)


def test_a_part_of_a_key_will_do_while_it_can_only_mean_one(world: World, explain: Explain) -> None:
    world.allow = ()
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=n, hours=n)) for n in range(1, 3)))
    keys = [finding.key for finding in world.run().findings]
    assert explain(keys[0][:6])["findings"] == [keys[0]]
    assert explain(keys[0][:3])["code"] == 2, "too short to mean anything"


def test_a_part_of_a_key_that_may_mean_several_lists_them(
    world: World, explain: Explain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.explain.SHORTEST", 0)
    world.allow = ()
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=n, hours=n)) for n in range(1, 3)))
    keys = [finding.key for finding in world.run().findings]
    said = explain("")
    assert said["code"] == 2
    assert all(f"  {key}  missing_in_crm  {ANN}  open" in said["text"] for key in keys)


def test_what_hostile_calendars_say_is_inert_and_clients_are_masked(world: World, explain: Explain) -> None:
    world.allow = ()
    world.write(ANN, event("a", title="\x1b[31mJane Roe\u202e"))
    world.insert("a", LATER, title="Jane R.")
    world.run()
    said = explain("a", "--mask")
    everything = json.dumps(said)
    assert (CLIENT in everything, "Jane" in everything) == (False, False)
    assert "\x1b" not in explain("a")["text"]
