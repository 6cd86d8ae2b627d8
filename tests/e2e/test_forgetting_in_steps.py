"""Forgetting may end after any of its steps: what is left is found again, and nothing is planned for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select, update

from reconciler import observe
from reconciler.cli import entry
from reconciler.cli.world import World as Start
from reconciler.model import Acceptance
from reconciler.store import accepted, forgetting, stepping, suppressed
from reconciler.store.schema import findings, journal
from tests.e2e.test_forgetting import CARLA, DAY, EXACT, LATER, PLACE, TITLE, Make, agreed, forget, hers, told, traces
from tests.e2e.world import NOW, World, event, planned


def stepwise(world: World, pause: Callable[[float], None], *options: str) -> int:
    """Forget her with something that happens between two steps."""
    start = Start(environ=world.environ, cwd=world.folder, clock=lambda: world.now, sleep=pause)
    return entry.call(["state", "forget", CARLA, "--job", str(world.job()), *options], start)


def killed(_: float) -> None:
    raise KeyboardInterrupt


def changed(capsys: pytest.CaptureFixture[str]) -> Any:
    return json.loads(capsys.readouterr().out)["changed"]


def test_wherever_it_ends_it_goes_on_when_asked_again_and_runs_between_plan_nothing(
    make: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = agreed(make(policy=EXACT))
    before, calls = world.rows(), 1
    monkeypatch.setattr(stepping, "STEP", 4)
    while stepwise(world, killed) == 130:
        calls += 1
        assert calls < 20
        assert planned(world.run()) == []
        world.now += LATER
    assert calls > 2
    said = capsys.readouterr()
    assert "the same command does, typed again" in said.err
    assert "It was asked for before" in said.out
    assert traces(world, "Canary") == []
    assert planned(world.run(full=True)) == []
    assert (traces(world, "Canary"), world.rows()) == ([], before)


def test_in_however_many_steps_the_same_rows_are_counted_and_what_was_accepted_lasts(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = World(tmp_path, policy=EXACT, allow=())
    world.write("ann@acme.example", hers("a", 2), hers("b", 3), event("other", NOW + 5 * DAY))
    for uid, days, hours in (("a", 2, 1), ("b", 3, 2)):
        world.insert(uid, NOW + days * DAY + hours * LATER, contact_email=CARLA, title=TITLE, location=PLACE)
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        known = connection.execute(select(findings.c.key).where(findings.c.crm_id.is_not(None))).scalars().all()
        given = Acceptance(by="Ops", why=f"{CARLA} asked us", at=NOW, until=NOW + 9 * DAY, sides=b"")
        accepted.accept(connection, setup.state, known, given)
    capsys.readouterr()
    assert told(world, "state", "forget", CARLA, "--dry-run", "--format", "json") == 0
    counted, pauses = changed(capsys), list[float]()
    monkeypatch.setattr(stepping, "STEP", 1)
    assert stepwise(world, pauses.append, "--format", "json") == 0
    assert changed(capsys) == counted
    assert len(pauses) > 3
    world.now += LATER
    assert world.run().counts["accepted"] == 2
    assert traces(world) == []


def test_where_the_lock_is_lost_between_two_steps_the_rest_waits(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    world = agreed(World(tmp_path, policy=EXACT))
    monkeypatch.setattr(stepping, "STEP", 1)

    def lose(_: float) -> None:
        for lock in world.folder.glob("*.lock"):
            lock.unlink()

    assert stepwise(world, lose) == 75
    assert "Type the same command again" in capsys.readouterr().err
    assert traces(world) != []
    assert forget(world) == 0
    assert traces(world) == []


def test_what_became_of_a_write_is_asked_before_anything_is_noted(tmp_path: Any) -> None:
    world = agreed(World(tmp_path, policy=EXACT))
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(update(journal).values(status="unknown"))
    assert forget(world) == 4
    with world.setup(dry_run=True) as setup, setup.state.reading() as connection:
        assert not suppressed.forgotten(connection, setup.state)


def test_a_read_that_began_after_she_was_noted_brings_nothing_back_of_what_only_the_record_says(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """She stands in the CRM alone: until the step that withholds both sides, the calendar says nothing of her."""
    world = World(tmp_path, policy=EXACT)
    world.write("ann@acme.example", event("a", NOW + DAY, client="x@y.example", title=TITLE))
    world.run()
    world.sql("UPDATE appointments SET contact_email = ?, version = version + 1", CARLA)
    world.now += LATER
    world.run()
    renamed = event("a", NOW + DAY, client="x@y.example", title=f"{TITLE} raced", modified="20261122T190001Z")
    world.write("ann@acme.example", renamed)
    normalised, raced = observe._normalised, list[int]()

    def late(*given: Any) -> Any:
        rows = normalised(*given)
        raced.append(forget(world))
        return rows

    def noted(connection: Any, numbers: Any) -> None:
        """Void no read when she is noted: this one began a moment later."""
        monkeypatch.setattr(forgetting, "_void_reads", void)

    void = forgetting._void_reads
    monkeypatch.setattr(forgetting, "_void_reads", noted)
    monkeypatch.setattr(observe, "_normalised", late)
    world.dry()
    assert raced == [0]
    assert traces(world) == []
