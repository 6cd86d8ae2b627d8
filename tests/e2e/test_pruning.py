"""`reconcile state prune` as people and cron call it: what it says, and what still works after it."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import select

from reconciler import inverse
from reconciler.cli import entry
from reconciler.cli.world import World as Start
from reconciler.store.schema import jobs, runs
from tests.e2e.world import NOW, World, event, planned


@pytest.fixture
def old(tmp_path: Path) -> World:
    """Make a brokerage that entered an appointment a hundred days ago, and looked at it again just now."""
    world = World(tmp_path, section='[window]\nfuture = "200d"\n')
    world.write("ann@acme.example", event("a", NOW + timedelta(days=120)))
    world.job()
    return world


def call(world: World, *words: str) -> int:
    start = Start(environ={}, cwd=world.folder, clock=lambda: world.now, words=words)
    return entry.call(words, start)


def test_what_is_old_goes_and_what_is_left_still_works(old: World, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(old.folder / "acme.toml")
    assert call(old, "run", job, "--quiet") == 0
    old.now += timedelta(days=100)
    assert call(old, "run", job, "--quiet") == 0
    capsys.readouterr()
    assert call(old, "state", "prune", job, "--dry-run", "--format", "json") == 0
    counted = json.loads(capsys.readouterr().out)
    assert (counted["dropped"]["images"], counted["dropped"]["journal"], counted["dry_run"]) == (1, 0, True)
    assert call(old, "state", "prune", "--job", job) == 0
    said = capsys.readouterr().out
    assert "writes whose before and after, older than 90 days" in said
    assert "MB are free for what comes" in said
    assert call(old, "state", "prune", job) == 0
    assert "nothing is older than it may be" in capsys.readouterr().out
    with old.setup(dry_run=True) as setup, setup.state.begin() as connection:
        first = connection.execute(select(runs.c.id).order_by(runs.c.epoch)).scalars().first()
        assert connection.execute(select(jobs.c.pruned_at)).scalar() == int(old.now.timestamp())
    assert call(old, "revert", str(first), "--job", job, "--dry-run", "--format", "json") in {0, 5}
    assert inverse.DROPPED in capsys.readouterr().out
    assert call(old, "explain", "a", "--job", job) == 0
    assert call(old, "report", job, "--since", "150d", "--html", str(old.folder / "r.html")) == 0
    assert planned(old.dry()) == []


def test_a_slot_is_served_once(old: World, capsys: pytest.CaptureFixture[str]) -> None:
    job = str(old.folder / "acme.toml")
    (old.folder / "crontab").write_text(f"CRON_TZ=UTC\n0 4 * * 0 reconcile state prune {job} --scheduled --quiet\n")
    words = ("state", "prune", job, "--scheduled")
    assert call(old, *words) == 0
    assert "nothing dropped" in capsys.readouterr().out
    assert call(old, *words) == 0
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "was served" in shown.err
