"""What every run leaves for reports: findings with both sides and what was done, runs, days, and what was heard."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Engine, Table, create_engine, inspect, select, text

import reconciler.store
from reconciler import linking, recording
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.errors import UsageError
from reconciler.model import Acceptance, Consent, Kind
from reconciler.reverting import revert
from reconciler.setup import Options
from reconciler.store import accepted, codec
from reconciler.store.schema import calendars, days, findings, jobs, journal, runs
from reconciler.store.upgrading import upgrade
from tests.e2e.world import CLIENT, NOW, World, event, kinds, planned, stamp

ANN, BOB = "ann@acme.example", "bob@acme.example"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
AT = NOW + timedelta(days=2)
LATER = NOW + timedelta(days=4)
Make = Callable[..., World]


def rows(world: World, table: Table) -> list[dict[str, Any]]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return [dict(row) for row in connection.execute(select(table).order_by(*table.primary_key)).mappings()]


def kept(world: World, kind: Kind) -> dict[str, Any]:
    """Return the one stored finding of a kind, its payload read."""
    (row,) = (row for row in rows(world, findings) if row["kind"] == kind)
    return {**row, "payload": json.loads(row["payload"])}


def day_of(world: World, day: str = "2026-11-22", office: str = "") -> dict[str, Any]:
    (row,) = (row for row in rows(world, days) if (row["day"], row["office"]) == (day, office))
    return row


def last_run(world: World) -> dict[str, Any]:
    return max(rows(world, runs), key=lambda row: int(row["epoch"]))


def settled(make: Make, **settings: Any) -> World:
    """Return a world an hour after its first run, in which both sides agreed on one appointment."""
    world = make(**settings)
    world.write(ANN, event("a", AT))
    world.insert("a", AT)
    assert planned(world.run()) == []
    world.now += HOUR
    return world


# ---- findings -------------------------------------------------------------------------------------------------------


def test_a_finding_keeps_both_sides_when_it_changed_and_what_was_done(make: Make) -> None:
    world = settled(make)
    world.write(ANN, event("a", LATER, modified=stamp(NOW + 5 * MINUTE)))
    world.run()
    row = kept(world, Kind.RESCHEDULE_NOT_PROPAGATED)
    payload = row["payload"]
    assert payload["has"]["calendar"]["start"] == "2026-11-26T17:00:00Z"
    assert payload["has"]["crm"]["start"] == "2026-11-24T17:00:00Z"
    assert payload["has"]["crm"]["contact"] == [CLIENT]
    assert payload["changed"] == codec.epoch(NOW + 5 * MINUTE)
    (taken,) = payload["taken"]
    assert (taken["action"], taken["side"], taken["outcome"]) == ("update", "crm", "done")
    assert taken["fields"]["start"] == ["2026-11-24T17:00:00Z", "2026-11-26T17:00:00Z"]
    assert (row["outcome"], row["crm_id"]) == ("done", "1")
    assert row["calendar"] == rows(world, calendars)[0]["id"]
    (wrote,) = rows(world, journal)
    assert (wrote["finding"], wrote["kind"]) == (row["key"], row["kind"])


def test_a_record_that_we_made_can_be_found_from_what_it_put_right(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", AT))
    world.run()
    row = kept(world, Kind.MISSING_IN_CRM)
    assert row["payload"]["has"].keys() == {"calendar"}
    assert row["crm_id"] == "1"


def test_what_is_not_written_says_so_and_why(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a", AT))
    world.run()
    row = kept(world, Kind.MISSING_IN_CRM)
    assert row["outcome"] == "held"
    assert "[policy].allow" in row["payload"]["taken"][0]["why"]


def test_what_a_refused_plan_would_do_is_kept_as_planned(make: Make) -> None:
    world = make(limits='create = "0"')
    world.write(ANN, event("a", AT))
    assert world.run().status == "refused"
    assert kept(world, Kind.MISSING_IN_CRM)["outcome"] == "planned"
    told = json.loads(last_run(world)["result"])
    assert told["violations"][0]["limit"] == "create"
    assert told["consent"]["covers"] == 1


def test_a_finding_about_several_names_their_calendar_and_what_was_held(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a", AT), event("b", AT, title="Viewing"))
    world.run()
    row = kept(world, Kind.DOUBLE_BOOKED_AGENT)
    assert row["calendar"] == rows(world, calendars)[0]["id"]
    assert row["payload"]["has"]["calendar"]["start"] == "2026-11-24T17:00:00Z"


def test_a_diary_that_is_shifted_says_by_how_much_how_many_and_since_when(make: Make) -> None:
    world = make(policy='first = "calendar"')
    places = [AT + timedelta(days=n) for n in range(3)]
    world.write(ANN, *(event(f"e{n}", at) for n, at in enumerate(places)))
    for number, at in enumerate(places):
        world.insert(f"e{number}", at + 6 * HOUR, updated_at=f"2026-11-2{number} 08:00:00")
    world.run()
    payload = kept(world, Kind.TZ_SHIFT)["payload"]
    assert {"shift:21600", "records:3"} <= set(payload["clues"])
    assert payload["changed"] == codec.epoch(NOW.replace(day=20, hour=8))
    assert payload["has"]["crm"]["start"] == "2026-11-24T23:00:00Z"


def test_duplicates_name_their_writers(make: Make) -> None:
    world = make(crm='set = { made_by = "reconcile" }')
    world.sql("ALTER TABLE appointments ADD COLUMN made_by TEXT")
    world.write(ANN, event("a", AT))
    world.insert("a", AT, made_by="reconcile")
    world.insert(None, AT, made_by="Zapier", updated_at="2026-11-22 09:14:00")
    world.run()
    payload = kept(world, Kind.DUPLICATE_IN_CRM)["payload"]
    assert {clue for clue in payload["clues"] if clue.startswith("origin:")} == {"origin:zapier"}
    assert payload["changed"] == codec.epoch(NOW.replace(hour=9, minute=14))


def test_a_calendar_that_was_not_seen_is_named_by_its_gap(make: Make) -> None:
    world = make()
    world.file(ANN).unlink()
    world.run()
    assert kept(world, Kind.COVERAGE_GAP)["calendar"] == rows(world, calendars)[0]["id"]


def test_the_result_for_scripts_stays_what_it_was(make: Make) -> None:
    world = settled(make)
    world.write(ANN, event("a", LATER, modified=stamp(NOW + 5 * MINUTE)))
    said = world.dry().to_json()
    assert said["findings"][0].keys() == {
        *("key", "kind", "severity", "agent", "event", "crm_id", "start", "fields", "action", "why", "matched_by"),
        *("first_seen", "sightings"),
    }


def test_a_command_about_something_else_does_not_say_of_findings_that_they_are_held(make: Make) -> None:
    world = make(limits='create = "0"')
    world.write(ANN, event("a", AT))
    world.run()
    world.run(command="link", ruling=linking.suggested)
    row = kept(world, Kind.MISSING_IN_CRM)
    assert (row["outcome"], row["payload"]["action"]) == ("planned", "fix")
    assert row["payload"]["taken"][0]["why"] == ""
    assert last_run(world)["command"] == "link"


# ---- runs -----------------------------------------------------------------------------------------------------------


def test_a_run_keeps_its_result_but_for_what_has_tables_of_its_own(make: Make) -> None:
    world = settled(make)
    result = world.run()
    row = last_run(world)
    told = json.loads(row["result"])
    whole = result.to_json()
    assert told == {name: whole[name] for name in whole if name not in {"deltas", "findings", "calendars"}}
    assert (row["command"], row["why"]) == ("run", None)


def test_no_list_that_is_kept_of_a_run_grows_with_the_brokerage(make: Make) -> None:
    world = make(limits='create = "0"')
    world.write(ANN, event("a", AT))
    result = world.run()
    [one] = result.violations
    told = Consent(digest="d", by="kim", covered=0, dropped=("key",) * 999)
    kept_of_it = recording.summary(replace(result, violations=(one,) * 999, withheld=(one,) * 999, approvals=(told,)))
    assert len(kept_of_it["violations"]) <= 2 * recording.KEPT
    assert [len(each["dropped"]) for each in kept_of_it["approvals"]] == [recording.KEPT]


def test_a_run_that_ended_with_a_sentence_keeps_it(make: Make) -> None:
    world = settled(make)
    with pytest.raises(UsageError) as said:
        world.run(approve="123456789abc")
    row = last_run(world)
    assert (row["why"], row["status"], row["result"]) == (str(said.value), "refused", None)
    assert (day_of(world)["runs"], day_of(world)["refused"]) == (2, 1)


def test_a_revert_is_no_run_like_others(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", AT))
    made = world.run().run
    world.now += HOUR
    with world.setup() as setup:
        revert(setup, Options(), made)
    assert last_run(world)["command"] == "revert"
    taken_back = rows(world, journal)[-1]
    assert (taken_back["finding"], taken_back["kind"]) == (None, None)


def test_status_names_the_command_of_a_run_that_was_asked_to_decide(
    make: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    world = settled(make)
    world.run(command="link", ruling=linking.suggested)
    outside = Outside(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    assert entry.call(["status", str(world.job())], outside) == 0
    link, run = capsys.readouterr().out.partition("RUNS\n")[2].splitlines()[:2]
    assert "  link  in_sync" in link
    assert "UTC  in_sync" in run
    entry.call(["status", "--format", "json", str(world.job())], outside)
    told = json.loads(capsys.readouterr().out)["runs"]
    assert [one["command"] for one in told] == ["link", "run"]


def test_a_dry_run_leaves_none_of_it(make: Make) -> None:
    world = settled(make)
    before = {table.name: rows(world, table) for table in (findings, days, runs)}
    world.write(ANN, event("a", LATER), event("b", AT))
    world.dry()
    assert {table.name: rows(world, table) for table in (findings, days, runs)} == before


# ---- days -----------------------------------------------------------------------------------------------------------


def test_a_day_sums_up_its_runs(make: Make) -> None:
    world = settled(make)
    world.write(ANN, event("a", LATER, modified=stamp(NOW + 5 * MINUTE)))
    world.run()
    world.now += HOUR
    world.run()
    day = day_of(world)
    assert (day["runs"], day["found"], day["fixed"], day["resolved"], day["open"]) == (3, 1, 1, 0, 0)
    assert (day["calendars"], day["observed"]) == (3, 3)
    assert json.loads(day["kinds"]) == {"reschedule_not_propagated": 1}
    assert (day["delayed"], day["delay"], day["longest"]) == (1, 55 * 60, 55 * 60)


def test_what_the_first_run_finds_was_no_delay(make: Make) -> None:
    world = make()
    world.write(ANN, event("a", AT, modified=stamp(NOW - HOUR)))
    world.run()
    assert (day_of(world)["found"], day_of(world)["delayed"]) == (1, 0)


def test_what_a_new_calendar_brings_was_no_delay(make: Make) -> None:
    world = settled(make, agents=(ANN,))
    world.agents = (ANN, BOB)
    world.write(BOB, event("b", LATER, modified=stamp(NOW + 5 * MINUTE)))
    world.run()
    assert "baseline" in kept(world, Kind.MISSING_IN_CRM)["payload"]["clues"]
    assert day_of(world)["delayed"] == 0


def test_what_ends_without_us_is_resolved_and_what_we_wrote_is_not(make: Make) -> None:
    world = settled(make, allow=())
    world.write(ANN, event("a", AT), event("b", LATER, modified=stamp(NOW)))
    world.run()
    assert (day_of(world)["found"], day_of(world)["open"], day_of(world)["resolved"]) == (1, 1, 0)
    world.insert("b", LATER)
    world.now += HOUR
    world.run()
    assert (day_of(world)["open"], day_of(world)["resolved"], day_of(world)["fixed"]) == (0, 1, 0)


def test_what_is_pending_counts_once_it_has_settled(make: Make) -> None:
    world = settled(make)
    world.write(ANN, event("a", AT), event("b", LATER, modified=stamp(world.now - MINUTE)))
    assert world.run().counts["pending"] == 1
    row = kept(world, Kind.MISSING_IN_CRM)
    assert (row["settled_at"], day_of(world)["found"], day_of(world)["open"]) == (None, 0, 0)
    first = world.now
    world.now += 15 * MINUTE
    world.run()
    row = kept(world, Kind.MISSING_IN_CRM)
    assert (row["first_seen"], row["settled_at"]) == (codec.epoch(first), codec.epoch(world.now))
    assert (day_of(world)["found"], day_of(world)["fixed"], day_of(world)["delay"]) == (1, 1, 60)
    world.run()
    assert day_of(world)["found"] == 1


def test_what_was_pending_and_came_by_itself_counts_nowhere(make: Make) -> None:
    world = settled(make)
    world.write(ANN, event("a", AT), event("b", LATER, modified=stamp(world.now - MINUTE)))
    world.run()
    world.insert("b", LATER)
    world.now += 15 * MINUTE
    world.run()
    day = day_of(world)
    assert (day["found"], day["fixed"], day["resolved"], day["open"]) == (0, 0, 0, 0)


def test_a_day_is_one_of_the_readers_and_offices_have_their_own(make: Make) -> None:
    world = make(agents=(ANN, BOB), allow=(), limits='[report]\ntimezone = "America/Chicago"')
    lines = f"agent,calendar,office\n{ANN},ann.ics,Uptown\n{BOB},bob.ics,\n"
    (world.folder / "people.csv").write_text(lines)
    world.sources = '[[source]]\nkind = "ics"\nagents = { file = "people.csv" }\n'
    world.write(ANN, event("a", AT), event("b", LATER))
    world.write(BOB, event("c", AT))
    world.now = NOW.replace(day=23, hour=3)  # still the 22nd in Chicago
    world.run()
    uptown, nobodys = day_of(world, office="Uptown"), day_of(world)
    assert (uptown["found"], uptown["open"], uptown["runs"], uptown["calendars"]) == (2, 2, 0, 1)
    assert (nobodys["found"], nobodys["open"], nobodys["runs"], nobodys["calendars"]) == (1, 1, 1, 1)


def test_an_office_where_nothing_is_open_any_more_says_so_that_day(make: Make) -> None:
    world = make(allow=())
    (world.folder / "people.csv").write_text(f"agent,calendar,office\n{ANN},ann.ics,Uptown\n")
    world.sources = '[[source]]\nkind = "ics"\nagents = { file = "people.csv" }\n'
    world.write(ANN, event("a", AT))
    world.run()
    assert day_of(world, office="Uptown")["open"] == 1
    world.insert("a", AT)
    world.now += HOUR
    world.run()
    assert (day_of(world, office="Uptown")["open"], day_of(world, office="Uptown")["resolved"]) == (0, 1)


def test_what_is_accepted_is_not_open(make: Make) -> None:
    world = make(allow=())
    world.write(ANN, event("a", AT))
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        key = connection.execute(select(findings.c.key)).scalar_one()
        given = Acceptance(by="Ann", why="known", at=NOW, until=NOW + timedelta(days=9))
        accepted.accept(connection, setup.state, [key], given)
    world.run()
    assert day_of(world)["open"] == 0


# ---- what was heard -------------------------------------------------------------------------------------------------


def heard(world: World) -> int | None:
    found: int | None = rows(world, calendars)[0]["heard_at"]
    return found


def test_a_booking_that_reaches_the_crm_by_itself_is_heard_and_one_that_we_brought_is_not(make: Make) -> None:
    world = settled(make)
    baseline = heard(world)
    world.write(ANN, event("a", AT), event("b", LATER, modified=stamp(NOW + 5 * MINUTE)))
    assert planned(world.run()) == [("create", "done")]
    world.run()
    assert heard(world) == baseline
    world.write(
        ANN,
        event("a", AT),
        event("b", LATER, modified=stamp(NOW + 5 * MINUTE)),
        event("c", LATER + HOUR, modified=stamp(NOW + 9 * MINUTE)),
    )
    world.insert("c", LATER + HOUR)
    assert planned(world.run()) == []
    assert heard(world) == codec.epoch(NOW + 9 * MINUTE)


def test_a_change_that_arrives_by_itself_is_no_booking(make: Make) -> None:
    world = settled(make)
    baseline = heard(world)
    world.write(ANN, event("a", LATER, modified=stamp(NOW + 5 * MINUTE)))
    world.sql(
        "UPDATE appointments SET starts_at = '2026-11-26 17:00:00', ends_at = '2026-11-26 18:00:00', version = 2, "
        "updated_at = '2026-11-22 17:06:00'"
    )
    assert planned(world.run()) == []
    assert heard(world) == baseline


def test_what_we_made_in_an_earlier_life_is_not_heard_when_it_is_met_again(make: Make) -> None:
    world = make(crm='set = { made_by = "reconcile" }')
    world.sql("ALTER TABLE appointments ADD COLUMN made_by TEXT")
    world.write(ANN, event("a", AT))
    world.insert("a", AT, made_by="reconcile")
    world.run()
    assert (heard(world), world.linked()) == (None, ["1"])


def test_a_dry_run_hears_nothing(make: Make) -> None:
    world = settled(make)
    baseline = heard(world)
    world.write(ANN, event("a", AT), event("c", LATER, modified=stamp(NOW + 9 * MINUTE)))
    world.insert("c", LATER)
    world.dry()
    assert heard(world) == baseline


def test_watching_begins_once_when_both_sides_were_first_compared(make: Make) -> None:
    world = make()
    world.file(ANN).unlink()
    world.run()
    first = rows(world, jobs)[0]["watched_since"]
    world.now += HOUR
    world.run()
    assert rows(world, jobs)[0]["watched_since"] == first == codec.epoch(NOW)


# ---- an older state -------------------------------------------------------------------------------------------------


def to_0003(engine: Engine, folder: Path) -> None:
    """Take away what the migration to 0004 brought: what is left is the state of an older version."""
    older = create_engine(f"sqlite:///{folder}/older.db")
    config = Config()
    config.set_main_option("script_location", str(Path(reconciler.store.__file__).parent / "migrations"))
    with older.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0003")
    was = inspect(older)
    with engine.begin() as connection:
        now = inspect(connection)  # another one would wait for what this one changes
        for table in now.get_table_names():
            if table not in was.get_table_names():
                connection.execute(text(f"DROP TABLE {table}"))
                continue
            names = {index["name"] for index in was.get_indexes(table)}
            for index in now.get_indexes(table):
                if index["name"] not in names and not index.get("duplicates_constraint"):
                    connection.execute(text(f"DROP INDEX {index['name']}"))
            columns = {column["name"] for column in was.get_columns(table)}
            for column in now.get_columns(table):
                if column["name"] not in columns:
                    connection.execute(text(f'ALTER TABLE {table} DROP COLUMN "{column["name"]}"'))
        connection.execute(text("UPDATE alembic_version SET version_num = '0003'"))
    older.dispose()


def test_a_state_of_the_version_before_is_carried_on(make: Make, tmp_path: Path) -> None:
    world = settled(make, allow=())
    world.write(ANN, event("a", AT), event("b", LATER, modified=stamp(NOW)))
    world.run()
    with world.setup(dry_run=True) as setup:
        to_0003(setup.state.engine, tmp_path)
        assert upgrade(setup.state.engine, keep=False).before == "0003"
    world.now += HOUR
    result = world.run()
    assert kinds(result) == ["missing_in_crm"]
    assert planned(result) == [("create", "held")]
    row = kept(world, Kind.MISSING_IN_CRM)
    assert row["settled_at"] == row["first_seen"] == codec.epoch(NOW + HOUR)
    assert day_of(world)["found"] == 0
    assert rows(world, jobs)[0]["watched_since"] == codec.epoch(NOW)


def test_a_state_of_the_version_before_in_which_all_agreed_plans_nothing(make: Make, tmp_path: Path) -> None:
    world = settled(make)
    with world.setup(dry_run=True) as setup:
        to_0003(setup.state.engine, tmp_path)
        assert upgrade(setup.state.engine, keep=False).before == "0003"
    result = world.run()
    assert (planned(result), kinds(result)) == ([], [])
    assert [row["command"] for row in rows(world, runs)] == ["run", "run"]
