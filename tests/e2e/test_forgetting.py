"""Somebody who asks to be forgotten is in no byte of the state, comes back with no later read, and moves nothing."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from copy import copy
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, insert, select, text, update

from reconciler import observe
from reconciler.cli import entry
from reconciler.cli.world import World as Start
from reconciler.model import Acceptance
from reconciler.store import accepted, compare, deliveries, erasing
from reconciler.store.schema import (
    approvals,
    calendars,
    findings,
    holds,
    jobs,
    journal,
    metadata,
    runs,
    series,
    suppressed,
)
from tests.e2e import google_world, microsoft_world
from tests.e2e.world import NOW, World, event, kinds, planned

CARLA = "carla.canary@mail.example"
TITLE = "Canary Castle viewing"
PLACE = "Canary Close 5"
EXACT = 'compare = ["start", "end", "status", "contact", "title", "location"]'
HERS = f"LOCATION:{PLACE}\r\n"
LATER = timedelta(hours=1)
DAY = timedelta(days=1)
MOVED = "starts_at = datetime(starts_at, '+1 hour'), ends_at = datetime(ends_at, '+1 hour'), updated_at = ?"
Make = Callable[..., World]


def told(world: World, *words: str) -> int:
    start = Start(environ=world.environ, cwd=world.folder, clock=lambda: world.now)
    return entry.call([*words, "--job", str(world.job())], start)


def forget(world: World, *options: str) -> int:
    return told(world, "state", "forget", CARLA, "--quiet", *options)


def kept(world: World, capsys: pytest.CaptureFixture[str], *options: str) -> Any:
    capsys.readouterr()
    assert told(world, "state", "subject", CARLA, "--format", "json", *options) == 0
    return json.loads(capsys.readouterr().out)


def bytes_of(world: World) -> bytes:
    """Return every byte that the state has: its files, or on a server all that its tables hold."""
    if "STATE" not in world.environ:
        return b"".join(path.read_bytes() for path in world.folder.glob("state.db*"))
    engine = create_engine(world.environ["STATE"].replace("postgresql:", "postgresql+psycopg:"))
    with engine.connect() as connection:
        dump = [str(tuple(row)) for table in metadata.sorted_tables for row in connection.execute(select(table))]
    engine.dispose()
    return "\n".join(dump).encode()


def traces(world: World, *words: str) -> list[str]:
    found = bytes_of(world).lower()
    return [word for word in (CARLA, TITLE, PLACE, *words) if word.lower().encode() in found]


def unequal(world: World) -> list[str]:
    """Return the records whose sides do not plainly agree: each costs every run a look."""
    with world.setup(dry_run=True) as setup, setup.state.reading() as connection:
        return [crm_id for one in compare.weigh(connection, setup.state) for crm_id in one.apart]


def hers(uid: str, days: float, title: str = TITLE, **values: Any) -> str:
    return event(uid, NOW + timedelta(days=days), client=CARLA, title=title, extra=HERS, **values)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> World:
    return agreed(World(tmp_path_factory.mktemp("office"), policy=EXACT))


@pytest.fixture
def office(furnished: World, tmp_path: Path) -> World:
    """Give each test a copy of one office whose sides agree."""
    shutil.copytree(furnished.folder, tmp_path, dirs_exist_ok=True)
    world = copy(furnished)
    world.folder = tmp_path
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(update(jobs).values(crm=setup.reader.identity))
    return world


@pytest.fixture
def bare(tmp_path: Path) -> World:
    return World(tmp_path, policy=EXACT)


def agreed(world: World) -> World:
    """Let both sides agree, with an appointment of hers that was entered, one that was moved and one cancelled."""
    events = [hers("a", 2), hers("b", 3), hers("c", 4), event("other", NOW + timedelta(days=5))]
    world.write("ann@acme.example", *events)
    world.run()
    world.now += LATER
    gone = hers("c", 4).replace("END:VEVENT", "STATUS:CANCELLED\r\nSEQUENCE:1\r\nEND:VEVENT")
    moved = hers("b", 3, "Canary Castle later", hours=2, modified="20261122T170001Z")
    world.write("ann@acme.example", hers("a", 2), moved, gone, events[3])
    world.run()
    world.now += LATER
    assert world.run().status == "in_sync"
    assert len(traces(world)) == 3
    world.now += LATER
    return world


def test_after_it_no_byte_names_her_and_the_next_runs_plan_nothing_and_bring_nothing_back(make: Make) -> None:
    world = agreed(make(policy=EXACT))
    apart = unequal(world)
    before = world.rows()
    assert forget(world) == 0
    assert traces(world, "Canary") == []
    assert unequal(world) == apart
    for _ in range(3):
        result = world.run()
        assert (result.status, planned(result), kinds(result)) == ("in_sync", [], [])
        world.now += LATER
    world.run(full=True)
    assert planned(world.dry()) == []
    assert traces(world, "Canary") == []
    assert world.rows() == before


def test_what_changes_later_moves_with_its_time_and_says_nothing_of_her(office: World) -> None:
    world = office
    forget(world)
    new = hers("d", 6, "Canary Castle again")
    moved = hers("a", 2, "Canary Castle renamed", hours=3, modified="20261122T190001Z")
    world.write("ann@acme.example", moved, hers("b", 3, "Canary Castle later", hours=2), new)
    world.sql(
        "UPDATE appointments SET title = 'Canary Castle in the CRM', version = version + 1 WHERE source_key = 'b'"
    )
    result = world.run()
    assert planned(result) == [("update", "done")]
    assert {delta.fields.keys() <= {"start", "end", "all_day"} for delta in result.deltas} == {True}
    [missing] = [finding for finding in result.findings if finding.kind == "missing_in_crm"]
    assert "asked to be forgotten" in missing.why
    assert "CANARY" not in json.dumps(result.to_json()).upper()
    assert traces(world, "Canary") == []
    assert [row for row in world.rows("title, contact_email") if row[0] == TITLE] == [(TITLE, CARLA)] * 2
    world.now += LATER
    assert planned(world.run()) == []
    assert traces(world, "Canary") == []


def test_a_record_of_hers_is_withheld_wherever_it_is_met_first(office: World) -> None:
    world = office
    forget(world)
    world.insert("strange", NOW + timedelta(days=9), contact_email=CARLA.upper(), title="Canary Castle by hand")
    world.write("ann@acme.example", event("e", NOW + timedelta(days=8), client=None, title="Canary Castle keyed"))
    world.insert("e", NOW + timedelta(days=8), contact_email=CARLA, title="Canary Castle with key")
    for _ in range(2):
        world.run()
        world.now += LATER
        assert traces(world, "Canary") == []


def test_what_was_found_accepted_and_held_about_her_lasts(make: Make) -> None:
    world = make(policy=EXACT, allow=())
    world.write("ann@acme.example", hers("a", 2), event("other", NOW + timedelta(days=5)))
    world.insert("a", NOW + timedelta(days=2, hours=1), contact_email=CARLA, title=TITLE, location=PLACE)
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        [key] = connection.execute(select(findings.c.key).where(findings.c.crm_id.is_not(None))).scalars()
        given = Acceptance(by="Ops", why=f"{CARLA} asked us", at=NOW, until=NOW + timedelta(days=9), sides=b"")
        accepted.accept(connection, setup.state, [key], given)
        row = connection.execute(select(findings).where(findings.c.key == key)).one()
        held = {"key": "a", "job": setup.state.job, "sides": row.sides, "run": "R", "at": 0}
        connection.execute(insert(holds).values(held))
    forget(world)
    assert traces(world) == []
    world.now += LATER
    result = world.run()
    assert result.counts["accepted"] == 1
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert connection.execute(select(holds.c.key)).scalars().all() == ["a"]
        why = connection.execute(select(findings.c.accepted_why).where(findings.c.key == key)).scalar()
    assert why == "(forgotten) asked us"


def test_google_and_a_crm_that_both_write_move_her_appointments_and_copy_nothing_of_her(tmp_path: Path) -> None:
    settings: dict[str, Any] = {
        "agents": (google_world.ANN,),
        "limits": google_world.FREELY,
        "sync": "two-way",
        "scribe": True,
    }
    with google_world.google_world(tmp_path, policy=EXACT, **settings) as world:
        weekly = {"recurrence": ["RRULE:FREQ=WEEKLY;COUNT=3"]}
        world.calendar().insert(google_world.showing("one", client=CARLA, summary=TITLE, location=PLACE))
        world.calendar().insert(google_world.showing("many", NOW + DAY, client=CARLA, summary=TITLE, **weekly))
        booked = world.insert(None, NOW + 5 * DAY, contact_email=CARLA, title=TITLE, location=PLACE)
        for _ in range(2):
            google_world.later(world)
            world.run()
        assert (len(world.rows()), len(traces(world))) == (5, 3)
        assert forget(world) == 0
        google_world.later(world)
        assert planned(world.run()) == []
        world.sql(f"UPDATE appointments SET {MOVED} WHERE id = ?", f"{world.now:%Y-%m-%d %H:%M:%S}", booked)  # noqa: S608
        world.insert(None, NOW + 6 * DAY, contact_email=CARLA, title=TITLE, updated_at=f"{world.now:%Y-%m-%d %H:%M:%S}")
        world.calendar().patch("one", {"location": f"{PLACE} b"})
        google_world.later(world)
        result = world.run()
        assert planned(result) == [("update", "done")]
        assert ["asked to be forgotten" in finding.why for finding in result.findings] == [True, True]
        assert traces(world) == []
        world.run(full=True)
        assert traces(world) == []


def test_outlook_brings_nothing_of_her_back(tmp_path: Path) -> None:
    with microsoft_world.microsoft_world(tmp_path, agents=(microsoft_world.CID,), policy=EXACT) as world:
        meeting: dict[str, Any] = {"client": CARLA, "subject": TITLE, "location": {"displayName": PLACE}}
        world.mailbox().insert(microsoft_world.showing("one", **meeting))
        world.mailbox().insert({**microsoft_world.showing("many", **meeting), **microsoft_world.weekly(NOW + DAY)})
        world.now += LATER
        world.run()
        assert len(traces(world)) == 3
        assert forget(world) == 0
        world.mailbox().patch("one", microsoft_world.times(NOW + 2 * DAY, hours=2))
        world.now += LATER
        assert planned(world.run()) == [("update", "done")]
        world.run(full=True)
        assert planned(world.run()) == []
        assert traces(world) == []


def test_sentences_of_runs_consents_and_deliveries_go_on_without_her(office: World) -> None:
    world = office
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        job = setup.state.job
        connection.execute(update(runs).values(why=f"about {CARLA.title()}.", result=json.dumps({"who": [CARLA, "x"]})))
        connection.execute(update(calendars).values(why=f"<{CARLA}>", quarantined=json.dumps([["id", CARLA]])))
        consent = {"job": job, "digest": "d", "by": CARLA, "why": "Carla Canary said so", "origin": "", "at": 0}
        connection.execute(insert(approvals).values({**consent, "expires_at": 0}))
        claim = deliveries.Claim(
            channel="c", name="mail", kind=deliveries.Kind.REPORT, digest="d", message_id="m", since=NOW, until=NOW
        )
    with world.setup(dry_run=True) as setup:
        assert isinstance(deliveries.claim(setup.state, claim, NOW), deliveries.Delivery)
    assert forget(world, "--name", "carla  CANARY") == 0
    assert traces(world, "carla") == []
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert connection.execute(select(runs.c.why, runs.c.result)).first() == ("about (forgotten).", '{"who":["x"]}')
        assert connection.execute(select(approvals.c.why)).scalar() == "(forgotten) said so"


def test_a_dry_run_says_the_same_numbers_and_writes_nothing(office: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = office
    before = kept(world, capsys)
    capsys.readouterr()
    assert told(world, "state", "forget", CARLA, "--dry-run", "--format", "json") == 0
    counted = json.loads(capsys.readouterr().out)
    assert kept(world, capsys) == before
    capsys.readouterr()
    named = ["--name", "Carla O'Canary $(x)"]
    assert told(world, "state", "forget", CARLA, "--dry-run", *named) == 0
    assert shlex.split(capsys.readouterr().out.splitlines()[-1])[-2:] == named, "as a shell takes it"
    assert told(world, "state", "forget", CARLA, "--format", "json") == 0
    done = json.loads(capsys.readouterr().out)
    assert (counted["changed"], counted["dry_run"], done["dry_run"]) == (done["changed"], True, False)
    assert told(world, "state", "forget", CARLA.upper(), "--format", "json") == 0
    assert json.loads(capsys.readouterr().out)["changed"] == {}
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        marks = connection.execute(select(suppressed.c.mark)).scalars().all()
    assert len(marks) == 1


def test_subject_shows_every_table_and_counts_other_people(bare: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = bare
    guest = "ATTENDEE;PARTSTAT=ACCEPTED:mailto:bystander@mail.example\r\n"
    world.write("ann@acme.example", event("a", client=CARLA, title=TITLE, extra=guest))
    world.run()
    shown = kept(world, capsys)
    assert {row["table"] for row in shown["kept"]} == {"mirror", "records", "links", "journal", "findings"}
    assert shown["forgotten"] is False
    text_of = json.dumps(shown)
    assert TITLE in text_of
    assert "bystander" not in text_of
    assert "(1 other)" in text_of
    assert told(world, "state", "subject", CARLA) == 0
    assert TITLE in capsys.readouterr().out
    assert kept(world, capsys)["kept"] == shown["kept"]


def test_somebody_else_with_a_longer_address_is_somebody_else(bare: World, capsys: pytest.CaptureFixture[str]) -> None:
    world = bare
    longer = f"x{CARLA}"
    world.write("ann@acme.example", event("a", client=longer), event("b", client=f"{CARLA}.au"))
    world.run()
    assert kept(world, capsys)["kept"] == []
    forget(world)
    assert longer.encode() in bytes_of(world)


def test_an_agent_whom_the_job_names_stays_and_one_who_left_it_goes_with_their_calendar(make: Make) -> None:
    world = make(agents=("ann@acme.example", "bob@acme.example"), policy=EXACT)
    world.write("ann@acme.example", event("a"))
    world.write("bob@acme.example", event("b", title="Bob's own"))
    world.run()
    assert told(world, "state", "forget", "BOB@acme.example") == 2
    world.agents = ("ann@acme.example",)
    world.now += LATER
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        his = connection.execute(select(calendars.c.id, calendars.c.job).where(calendars.c.agent.like("bob%"))).one()
        rule = {"calendar": his.id, "job": his.job, "id": "weekly", "rule": "RRULE of Bob's week"}
        connection.execute(insert(series).values(rule))
    assert told(world, "state", "forget", "bob@acme.example", "--quiet") == 0
    found = bytes_of(world)
    assert b"Bob's week" not in found
    assert b"bob@acme.example" not in found
    assert b"Bob's own" not in found
    world.now += LATER
    result = world.run()
    assert (planned(result), kinds(result)) == ([], [])
    assert b"bob@acme.example" not in bytes_of(world)


def test_a_colleague_who_left_is_forgotten_as_the_organizer_of_what_goes_on(bare: World) -> None:
    world, who = bare, "colin.canary@acme.example"
    world.write("ann@acme.example", event("a", extra=f"ORGANIZER:mailto:{who}\r\n"), event("b", NOW + 5 * DAY))
    world.run()
    assert who.encode() in bytes_of(world)
    world.now += LATER
    assert told(world, "state", "forget", who, "--quiet") == 0
    assert who.encode() not in bytes_of(world)
    world.now += LATER
    assert planned(world.run(full=True)) == []
    assert who.encode() not in bytes_of(world)


def test_reports_that_name_her_go_and_nothing_outside_the_folder_does(
    office: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = office
    folder, outside = world.folder / "reports", world.folder / "outside"
    (folder / "below").mkdir(parents=True)
    outside.mkdir()
    for place in (folder / "a.html", folder / "below/b.CSV", outside / "o.html"):
        place.write_text(f"<td>{CARLA.replace('@', '&#64;') if place.suffix == '.html' else CARLA.upper()}</td>")
    (folder / "c.json").write_text(json.dumps({"who": "Zoë Ängström"}))
    (folder / "d.csv").write_text("nobody")
    (folder / "notes.md").write_text(CARLA)
    (folder / "link.html").symlink_to(outside / "o.html")
    (folder / "linked").symlink_to(outside)
    names = ("--name", "zoe\u0308 ängström", "--reports", "reports")
    assert told(world, "state", "forget", CARLA, *names, "--dry-run") == 0
    assert len(list(folder.rglob("*.*"))) == 6
    assert forget(world, *names) == 0
    assert sorted(path.name for path in folder.rglob("*.*")) == ["d.csv", "link.html", "notes.md"]
    assert (outside / "o.html").exists()
    assert told(world, "state", "forget", CARLA, "--reports", "reports/linked") == 2
    assert "is no folder" in capsys.readouterr().err


def test_spreadsheets_are_looked_into_and_what_is_none_is_said_and_stays(office: World) -> None:
    from openpyxl import Workbook
    from openpyxl.worksheet.worksheet import Worksheet

    world = office
    book = Workbook()
    sheet = book.active
    assert isinstance(sheet, Worksheet)
    sheet.append(["when", CARLA])
    book.save(world.folder / "r.xlsx")
    (world.folder / "broken.xlsx").write_bytes(b"PK no book")
    assert forget(world, "--reports", ".") == 5
    assert not (world.folder / "r.xlsx").exists()
    assert (world.folder / "broken.xlsx").exists()


def test_while_it_is_not_known_what_became_of_a_write_nothing_is_forgotten(
    office: World, capsys: pytest.CaptureFixture[str]
) -> None:
    world = office
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(update(journal).values(status="unknown"))
    assert forget(world) == 4
    assert "let a run look them up first" in capsys.readouterr().err
    assert len(traces(world)) == 3


def test_a_run_at_work_is_not_disturbed(office: World) -> None:
    from reconciler.store.database import run_lock

    world = office
    with world.setup() as setup, run_lock(setup.state.engine, setup.reader.identity):
        assert forget(world) == 75
    assert len(traces(world)) == 3


def test_a_read_that_began_before_brings_nothing_back(bare: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run takes no lock: what it read before loses the race for the cursor."""
    world = agreed(bare)
    world.write("ann@acme.example", hers("a", 2, "Canary Castle raced", modified="20261122T190001Z"))
    normalised, raced = observe._normalised, list[int]()

    def late(*given: Any) -> Any:
        rows = normalised(*given)
        raced.append(forget(world))
        return rows

    monkeypatch.setattr(observe, "_normalised", late)
    world.dry()
    assert raced == [0]
    assert traces(world, "Canary") == []


def test_what_a_deleted_row_left_in_free_space_goes_too(bare: World) -> None:
    world = bare
    world.write("ann@acme.example", *(hers(f"u{number}", 2 + number / 50) for number in range(40)))
    world.limits = 'create = "100"'
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        connection.execute(text("PRAGMA secure_delete=OFF"))
        assert connection.execute(text("DELETE FROM journal")).rowcount == 40
    assert forget(world) == 0
    assert traces(world) == []


def test_a_file_that_can_not_be_rewritten_is_said_and_done_the_next_time(
    office: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = office
    monkeypatch.setattr(erasing, "PATIENCE", 0)
    with world.setup(dry_run=True) as setup, setup.state.reading() as reader:
        reader.execute(select(runs.c.id)).all()
        assert forget(world) == 5
    assert forget(world) == 0
    assert traces(world) == []
