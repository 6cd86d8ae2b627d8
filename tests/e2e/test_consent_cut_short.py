"""A consent that was cut short: what the run that took it never sent needs no second one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.crm import Written
from reconciler.model import Fields
from reconciler.run import Options, run
from reconciler.store import consents
from tests.e2e.test_consent import ANN, approve, kept, many, refused
from tests.e2e.test_journal import Around
from tests.e2e.world import NOW, World, event, planned

Make = Callable[..., World]


def test_what_was_put_off_under_a_consent_needs_no_second_one(make: Make) -> None:
    world, digest = refused(make, 4)
    approve(world, digest)
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        asked: list[str] = []

        class Counting(Around):
            def create(self, key: str, fields: Fields) -> Written:
                asked.append(key)
                return self.writer.create(key, fields)

        counting = replace(writers, crm=lambda: Counting(writers.crm()))
        run(replace(setup, stop=lambda: len(asked) > 1, writers=counting), Options())
    assert len(world.rows()) == 2
    world.write(ANN, *many(4), event("more", NOW + timedelta(days=9)), event("most", NOW + timedelta(days=10)))
    assert world.run().status == "refused", "it lets nothing through that it was not given to"
    world.write(ANN, *many(4))
    result = world.run()
    assert planned(result) == [("create", "done")] * 2
    assert [row["used_by"] for row in kept(world)] == [result.run]
    assert {row["approval"] for row in world.journal()} == {digest}


def test_a_consent_that_a_run_took_and_died_of_stands(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    world, digest = refused(make)
    approve(world, digest)

    def dies(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("reconciler.store.journal.intend", dies)
        world.run()
    assert [row["used_by"] is None for row in kept(world)] == [False]
    assert planned(world.run()) == [("create", "done")] * 3


def test_a_consent_is_no_second_time_used_for_what_failed_or_was_done(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.run()
    world.sql("DELETE FROM appointments")
    with world.setup() as setup, setup.state.begin() as connection:
        assert consents.put_off(connection, setup.state, world.now) == []
