"""A CRM that webhooks filled with keys of their own is adopted without one duplicate, and stays adopted."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.model import Kind
from reconciler.result import Result
from reconciler.store.schema import metadata
from tests.e2e.world import NOW, World, event, kinds, planned

ANN = "ann@acme.example"
KEYS = ("zap-17", None, "calendly:5f0c")
Make = Callable[..., World]
Say = Callable[..., tuple[int, dict[str, Any]]]


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Say:
    """Type a command for a world; return its exit code and its answer."""

    def reconcile(world: World, *words: str) -> tuple[int, dict[str, Any]]:
        outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
        capsys.readouterr()
        code = entry.call([*words, "--format", "json", "--job", str(world.job())], outside)
        return code, json.loads(capsys.readouterr().out)

    return reconcile


def starts(number: int) -> datetime:
    return NOW + timedelta(days=number + 2)


def webhook(world: World, key: str | None, start: datetime) -> None:
    """Deliver a booking the way a connector does: an upsert on its key, an insert where it has none."""
    world.sql(
        "INSERT INTO appointments (source_key, agent_email, contact_email, title, starts_at, ends_at, location, "
        "status, updated_at) VALUES (?, ?, 'jane@mail.example', 'Booked', ?, ?, '', 'scheduled', '2026-10-01') "
        "ON CONFLICT (source_key) DO UPDATE SET starts_at = excluded.starts_at, ends_at = excluded.ends_at, "
        "version = version + 1",
        *(key, ANN, f"{start:%Y-%m-%d %H:%M:%S}", f"{start + timedelta(hours=1):%Y-%m-%d %H:%M:%S}"),
    )


def filled(make: Make, **settings: Any) -> World:
    """Return a CRM with three bookings under keys of others, three minutes off, one under ours, and a stranger's."""
    world = make(**settings)
    world.write(ANN, *(event(f"e{number}", starts(number)) for number in range(5)))
    for number, key in enumerate(KEYS):
        webhook(world, key, starts(number) + timedelta(minutes=3))
    webhook(world, "e3", starts(3))
    world.insert("other", starts(9), agent_email="zoe@elsewhere.example", contact_email="kim@mail.example")
    return world


def forget(world: World) -> None:
    """Lose the state database."""
    with world.setup(dry_run=True) as setup, setup.state.engine.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(table.delete())


def suggestions(result: Result) -> list[str]:
    return sorted(finding.crm_id or "" for finding in result.findings if finding.kind is Kind.AMBIGUOUS)


def test_a_crm_filled_by_webhooks_is_adopted_without_one_duplicate(make: Make, say: Say) -> None:
    world = filled(make)
    before = world.rows()

    dry = world.dry()
    assert (planned(dry), suggestions(dry)) == ([("create", "planned")], ["1", "2", "3"])
    code, suggested = say(world, "link", "--suggested", "--dry-run")
    outcomes = [(one["action"], one["outcome"]) for one in suggested["deltas"]]
    assert (code, outcomes.count(("link", "planned"))) == (0, 3)
    assert (world.rows(), world.linked()) == (before, [])

    code, linked = say(world, "link", "--suggested")
    assert (code, linked["digest"]) == (0, suggested["digest"])
    assert sorted((one["action"], one["crm_id"], one["outcome"]) for one in linked["deltas"]) == [
        ("create", None, "held"),
        *(("link", str(number), "done") for number in (1, 2, 3)),
    ]
    assert (world.rows(), world.linked()) == (before, ["1", "2", "3", "4"])

    repaired = world.run()
    assert planned(repaired) == [("create", "done"), *[("update", "done")] * 3]
    rows = world.rows("source_key, starts_at")
    assert [key for key, _ in rows] == [*KEYS, "e3", "other", "e4"]
    assert [start for _, start in rows[:3]] == [f"{starts(number):%Y-%m-%d %H:%M:%S}" for number in range(3)]
    again = world.run()
    assert (again.deltas, again.findings, again.status) == ((), (), "in_sync")


def test_a_webhook_that_arrives_after_our_create_meets_our_record(make: Make, say: Say) -> None:
    world = filled(make)
    say(world, "link", "--suggested")
    world.run()
    adopted = len(world.rows())
    webhook(world, "e4", starts(4))
    for _ in range(2):
        result = world.run()
        assert (result.deltas, kinds(result), len(world.rows())) == ((), [], adopted)


def test_a_late_webhook_with_a_key_of_its_own_is_shown_and_never_multiplies(make: Make, say: Say) -> None:
    world = filled(make)
    say(world, "link", "--suggested")
    world.run()
    adopted = len(world.rows())
    webhook(world, "calendly:late", starts(4))
    for _ in range(3):
        result = world.run()
        assert (result.deltas, len(world.rows())) == ((), adopted + 1)
        assert "duplicate_in_crm" in kinds(result)
        assert say(world, "link", "--suggested")[1]["deltas"] == []


def test_a_lost_state_creates_nothing_and_suggests_again_what_has_other_keys(make: Make, say: Say) -> None:
    world = filled(make)
    say(world, "link", "--suggested")
    world.run()
    adopted = world.rows()
    forget(world)
    result = world.run()
    assert (result.deltas, suggestions(result)) == ((), ["1", "2", "3"])
    assert (world.rows(), world.linked()) == (adopted, ["4", "6"])
    say(world, "link", "--suggested")
    again = world.run()
    assert (again.deltas, again.status, world.rows()) == ((), "in_sync", adopted)


def test_links_are_held_against_the_limit_of_updates_and_consented_to(make: Make, say: Say) -> None:
    world = filled(make, limits='update = "2"')
    code, refused = say(world, "link", "--suggested")
    assert (code, refused["status"], world.linked()) == (4, "refused", ["4"])
    [violation] = refused["violations"]
    assert (violation["limit"], violation["found"], violation["allowed"], violation["population"]) == (
        "update",
        3,
        2,
        5,
    )
    assert say(world, "approve", refused["digest"], "--by", "Ann", "--why", "looked at each")[0] == 0
    code, linked = say(world, "link", "--suggested")
    assert (code, sum(one["outcome"] == "done" for one in linked["deltas"])) == (0, 3)
    assert {row["action"] for row in world.journal()} == {"link"}


def test_what_is_not_one_to_one_is_left_to_a_person(make: Make, say: Say) -> None:
    world = make()
    world.write(ANN, event("two"), event("one", starts(5)), event("same", starts(5) + timedelta(minutes=1)))
    for minutes in (1, 2):
        webhook(world, f"zap-{minutes}", starts(0) + timedelta(minutes=minutes))
    webhook(world, "zap-3", starts(5))
    code, said = say(world, "link", "--suggested")
    assert (code, said["deltas"], world.linked()) == (0, [], [])
    assert [one["kind"] for one in said["findings"]].count("ambiguous") == 3


def test_a_record_that_another_event_has_by_its_key_is_never_linked_by_nature(make: Make, say: Say) -> None:
    world = make(policy='first = "report"')
    world.write(ANN, event("mine"), event("near", starts(0) + timedelta(minutes=1)))
    webhook(world, "mine", starts(0) + timedelta(minutes=3))
    _, said = say(world, "link", "--suggested")
    assert ([one["action"] for one in said["deltas"]], world.linked()) == ([], [])
    assert {one["kind"] for one in said["findings"]} >= {"ambiguous", "reschedule_not_propagated"}


def test_an_ordinary_run_never_links_by_nature(make: Make) -> None:
    world = filled(make)
    for _ in range(3):
        assert suggestions(world.run()) == ["1", "2", "3"]
    assert world.linked() == ["4", "6"]


def test_a_link_is_taken_for_not_made_if_its_run_died(make: Make, say: Say) -> None:
    world = filled(make)
    say(world, "link", "--suggested")
    with world.setup(dry_run=True) as setup, setup.state.engine.begin() as connection:
        journal = metadata.tables["journal"]
        connection.execute(journal.update().where(journal.c.crm_id == "1").values(status="sent"))
        links = metadata.tables["links"]
        connection.execute(links.delete().where(links.c.crm_id == "1"))
        for name in ("records", "mirror"):
            table = metadata.tables[name]
            connection.execute(table.update().values(linked=False))
            held = links.c.crm_id == table.c.crm_id if name == "records" else links.c.event == table.c.event
            connection.execute(table.update().where(held).values(linked=True))
    result = world.run()
    assert suggestions(result) == ["1"]
    assert [row["status"] for row in world.journal() if row["crm_id"] == "1"] == ["failed"]
