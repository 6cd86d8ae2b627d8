"""A person's consent: to exactly what was refused, delta by delta, once, for a time, with who, why and from where."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from sqlalchemy import select, update

from reconciler import consent
from reconciler.cli import entry
from reconciler.cli.world import World as CliWorld
from reconciler.errors import UsageError
from reconciler.store import consents
from reconciler.store.consents import Approval, Stored
from reconciler.store.schema import approvals, calendars, journal
from reconciler.store.state import rebind
from tests.e2e.world import NOW, World, event, planned

ANN, BOB, CID = "ann@acme.example", "bob@acme.example", "cid@acme.example"
CANCELLED = "STATUS:CANCELLED\r\n"

Make = Callable[..., World]


def many(count: int, extra: str = "", first: int = 0) -> list[str]:
    return [event(f"e{n}", NOW + timedelta(days=1, hours=2 * n), extra=extra) for n in range(first, count)]


def approve(world: World, digest: str, *, by: str = "Jo Office", lasts: timedelta = timedelta(hours=24)) -> Stored:
    approval = Approval(
        digest="", by=by, why="moved offices", origin="here", at=world.now, expires_at=world.now + lasts
    )
    with world.setup(dry_run=True) as setup:
        return consent.approve(setup.state, digest, approval)


def kept(world: World) -> list[Any]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return list(connection.execute(select(approvals).order_by(approvals.c.id)).mappings())


def refused(make: Make, count: int = 3) -> tuple[World, str]:
    """Return a world whose plan of some creates was refused, and the plan's digest."""
    world = make(limits='create = "1"')
    world.write(ANN, *many(count))
    result = world.run()
    assert (result.status, result.exit_code, world.rows()) == ("refused", 4, [])
    assert result.asks is not None
    assert (result.asks.digest, result.asks.count) == (result.digest, count)
    return world, result.digest


# ---- once, for a time -----------------------------------------------------------------------------------------------


def test_the_next_run_applies_what_was_consented_to_and_uses_it_up(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest[:12])
    result = world.run()
    assert planned(result) == [("create", "done")] * 3
    [told] = result.approvals
    assert (told.digest, told.by, told.covered, told.dropped) == (digest, "Jo Office", 3, ())
    assert [row["used_by"] for row in kept(world)] == [result.run]
    assert {row["approval"] for row in world.journal()} == {digest}
    world.now += timedelta(hours=1)
    assert (world.run().status, len(world.rows())) == ("in_sync", 3)


def test_who_why_and_from_where_are_kept(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    [row] = kept(world)
    assert (row["by"], row["why"], row["origin"], row["used_by"]) == ("Jo Office", "moved offices", "here", None)


def test_an_ordinary_write_carries_no_consent(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    assert [row["approval"] for row in world.journal()] == [None]


def test_a_dry_run_shows_what_a_consent_lets_through_and_leaves_it(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    looked = world.dry()
    assert (planned(looked), looked.violations) == ([("create", "planned")] * 3, ())
    assert [one.covered for one in looked.approvals] == [3]
    assert [row["used_by"] for row in kept(world)] == [None]
    assert planned(world.run()) == [("create", "done")] * 3


def test_a_run_that_is_refused_uses_nothing_up(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.write(ANN, *many(5))
    again = world.run()
    assert (again.status, [v.found for v in again.violations]) == ("refused", [2])
    assert [one.covered for one in again.approvals] == [3]
    assert [row["used_by"] for row in kept(world)] == [None]
    world.write(ANN, *many(4))
    assert planned(world.run()) == [("create", "done")] * 4, "three by consent, one within the limit"


def test_a_run_that_plans_none_of_it_uses_nothing_up(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.write(ANN, event("other", NOW + timedelta(days=20)))
    result = world.run()
    assert planned(result) == [("create", "done")]
    assert [(one.covered, len(one.dropped)) for one in result.approvals] == [(0, 3)]
    assert [row["used_by"] for row in kept(world)] == [None]


def test_an_expired_consent_counts_for_nothing_and_is_said_to_be_expired(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest, lasts=timedelta(hours=1))
    world.now += timedelta(hours=1)
    result = world.run()
    assert (result.status, world.rows()) == ("refused", [])
    assert [(one.covered, one.expired) for one in result.approvals] == [(0, world.now)]
    approve(world, digest)
    assert planned(world.run()) == [("create", "done")] * 3


def test_what_changed_meanwhile_drops_out_and_is_listed(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.write(ANN, event("e0", NOW + timedelta(days=30)), *many(3, first=1))
    result = world.run()
    assert planned(result) == [("create", "done")] * 3, "two by consent, the one that moved within the limit"
    assert [(one.covered, one.dropped) for one in result.approvals] == [(2, ("e0",))]
    assert sorted(str(row["approval"]) for row in world.journal()) == sorted(["None", digest, digest])


def test_a_record_that_somebody_edited_meanwhile_drops_out(make: Make) -> None:
    world = make(limits='update = "0"')
    world.write(ANN, event("a"), event("b", NOW + timedelta(days=3)))
    world.run()
    later = [event(uid, NOW + timedelta(days=9 + n)) for n, uid in enumerate("ab")]
    world.write(ANN, *later)
    approve(world, world.run().digest)
    world.sql("UPDATE appointments SET location = 'Desk 7', version = version + 1 WHERE source_key = 'a'")
    world.now += timedelta(hours=1)
    result = world.run()
    assert (result.status, [v.found for v in result.violations]) == ("refused", [1])
    assert [(one.covered, one.dropped) for one in result.approvals] == [(1, ("a",))]


def test_two_consents_count_together(make: Make) -> None:
    world, first = refused(make)
    approve(world, first)
    world.write(ANN, *many(6))
    second = world.run()
    approve(world, second.digest, by="Al Owner")
    world.write(ANN, event("e0", NOW + timedelta(days=30)), *many(6, first=1))
    result = world.run()
    assert planned(result) == [("create", "done")] * 6
    assert [(one.by, one.covered, one.dropped) for one in result.approvals] == [
        ("Jo Office", 2, ("e0",)),
        ("Al Owner", 3, ("e0",)),
    ]


def test_of_two_consents_to_the_same_none_is_left_over(make: Make) -> None:
    world, digest = refused(make)
    world.write(ANN, *many(2))
    part = world.run().digest
    approve(world, digest)
    approve(world, part)
    result = world.run()
    assert [(one.covered, len(one.dropped)) for one in result.approvals] == [(2, 1), (0, 0)]
    assert [row["used_by"] for row in kept(world)] == [result.run] * 2
    assert {row["approval"] for row in world.journal()} == {digest}


def test_a_consent_is_to_changes_of_one_crm_and_of_no_other(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.folder = Path(copytree(world.folder, world.folder / "elsewhere"))
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        rebind(connection, setup.state, setup.reader.identity)
    result = world.run()
    assert (result.status, result.approvals, world.rows()) == ("refused", (), [])
    with pytest.raises(UsageError, match="fits no stored plan"):
        world.run(approve=digest)


def test_another_job_of_the_same_state_has_plans_consents_and_a_day_of_its_own(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.run()
    with world.setup(dry_run=True) as setup:
        with setup.state.begin() as connection:
            connection.execute(update(approvals).values(used_by=None))
            connection.execute(update(journal).values(approval=None))
        seen = []
        for state in (setup.state, replace(setup.state, job=setup.state.job + 1)):
            with state.begin() as connection:
                found = consents.find_plans(connection, state, digest)
                standing = consents.unused(connection, state, NOW)
                seen.append((len(found), len(standing), consents.written_since(connection, state, NOW)))
    assert seen == [(1, 1, {"create": 3}), (0, 0, {})]


def test_a_dry_run_through_other_glasses_knows_of_consents_and_can_be_consented_to(make: Make) -> None:
    world, digest = refused(make)
    world.section = '[window]\nfuture = "70d"\n'
    assert approve(world, world.dry().digest).digest == digest
    assert [one.covered for one in world.dry().approvals] == [3]
    world.write(ANN, *many(5))
    looked = world.dry()
    assert looked.exit_code == 4
    assert approve(world, looked.digest).counts == {"create": 5}


def test_a_plan_is_kept_though_the_clock_was_set_back(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(consents, "KEPT", 1)
    world, _ = refused(make)
    world.now -= timedelta(hours=1)
    world.write(ANN, *many(2))
    assert approve(world, world.run().digest).counts == {"create": 2}


def test_a_run_may_consent_and_apply_at_once(make: Make) -> None:
    world, digest = refused(make)
    result = world.run(approve=digest[:12], who="ann", origin="user ann, host desk7")
    assert planned(result) == [("create", "done")] * 3
    [row] = kept(world)
    said = (row["by"], row["why"], row["origin"], row["used_by"])
    assert said == ("ann", "run --approve", "user ann, host desk7", result.run)


def test_a_run_that_consents_to_what_was_approved_uses_that(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    assert planned(world.run(approve=digest[:12])) == [("create", "done")] * 3
    assert [row["by"] for row in kept(world)] == ["Jo Office"]


def test_what_failed_under_a_consent_can_be_consented_to_again(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    world.sql("CREATE TRIGGER closed BEFORE INSERT ON appointments BEGIN SELECT RAISE(ABORT, 'closed'); END")
    assert {outcome for _, outcome in planned(world.run())} == {"failed"}
    world.sql("DROP TRIGGER closed")
    again = world.run()
    assert (again.status, again.digest) == ("refused", digest)
    approve(world, digest)
    assert planned(world.run()) == [("create", "done")] * 3


# ---- what names no plan ---------------------------------------------------------------------------------------------


def test_a_plan_is_approved_once(make: Make) -> None:
    world, digest = refused(make)
    approve(world, digest)
    with pytest.raises(UsageError, match="was consented to by Jo Office already, until 2026-11-23 17:00 UTC"):
        approve(world, digest)
    world.run()
    with pytest.raises(UsageError, match="was used up by run"):
        approve(world, digest)
    assert len(kept(world)) == 1


@pytest.mark.parametrize("prefix", ["0123456789ab", "", "%%%%%%%%%%%%", "____________"])
def test_what_names_no_plan_consents_to_nothing(make: Make, prefix: str) -> None:
    world, _ = refused(make)
    with pytest.raises(UsageError, match="fits no stored plan of this job"):
        approve(world, prefix)
    assert kept(world) == []


def test_eleven_digits_are_too_few_and_two_plans_of_one_beginning_are_no_name(make: Make) -> None:
    world, digest = refused(make)
    with pytest.raises(UsageError, match="give 12 digits or more"):
        approve(world, digest[:11])
    twin = digest[:20] + "0" * 44
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        [plan] = consents.find_plans(connection, setup.state, digest)
        consents.save_plan(connection, setup.state, replace(plan, digest=twin))
    with pytest.raises(UsageError, match="fits several stored plans"):
        approve(world, digest[:12])
    approve(world, digest)


def test_a_stored_plan_still_says_what_it_was(make: Make) -> None:
    world = make(agents=(ANN, BOB), limits='create = "1"')
    world.write(ANN, *many(3))
    world.write(BOB, event("b"))
    stored = approve(world, world.run().digest)
    assert stored.counts == {"create": 4}
    assert stored.agents.most_common() == [(ANN, 3), (BOB, 1)]
    assert [(one.limit, one.found, one.allowed) for one in stored.violations] == [("create", 4, 1)]


# ---- an agent who is withheld ---------------------------------------------------------------------------------------


def test_what_is_withheld_of_one_agent_can_be_consented_to_alone(make: Make) -> None:
    world = make(agents=(ANN, BOB))
    world.write(ANN, *many(6))
    world.write(BOB, event("b"))
    world.run()
    world.write(ANN, *many(6, CANCELLED))
    world.write(BOB, event("b", NOW + timedelta(days=8)))
    result = world.run()
    assert (planned(result), result.exit_code) == ([("cancel", "held")] * 6 + [("update", "done")], 5)
    assert result.asks is not None
    assert (result.asks.count, result.asks.digest != result.digest) == (6, True)
    stored = approve(world, result.asks.digest)
    assert (stored.counts, set(stored.agents)) == ({"cancel": 6}, {ANN})
    done = world.run()
    assert (planned(done), done.withheld, done.exit_code) == ([("cancel", "done")] * 6, (), 0)


# ---- a job file that covers less ------------------------------------------------------------------------------------


def shrunk(make: Make, count: int, **settings: object) -> World:
    """Return a world whose job file no longer names Bob, whom so many records follow."""
    world = make(agents=(ANN, BOB), **settings)
    world.write(ANN, event("a"))
    world.write(BOB, *many(count))
    world.run()
    world.agents = (ANN,)
    return world


def released(world: World) -> list[str]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        query = select(calendars.c.agent).where(calendars.c.released_at.is_not(None))
        return sorted(connection.execute(query).scalars())


def test_a_job_file_that_lets_go_of_too_much_is_refused_until_a_person_consents(make: Make) -> None:
    world = shrunk(make, 4, limits='cancel = "3"')
    before = world.rows()
    world.write(ANN, event("a", NOW + timedelta(days=9)))
    for result in (world.dry(), world.run()):
        assert (result.status, result.exit_code, world.rows(), released(world)) == ("refused", 4, before, [])
        [violation] = result.violations
        assert (violation.limit, violation.found, violation.allowed) == ("scope", 4, 3)
        assert BOB in violation.why
    stored = approve(world, result.digest)
    assert stored.counts == {"release": 1, "update": 1}
    done = world.run()
    assert (planned(done), done.exit_code, released(world)) == ([("update", "done")], 0, [BOB])
    assert [row[1] for row in world.rows("id, status")] == ["scheduled"] * 5, "what was let go of stays as it is"
    assert world.run().violations == ()


def test_a_job_file_that_lets_go_of_little_says_so_and_goes_on(make: Make) -> None:
    world = shrunk(make, 3, limits='cancel = "3"')
    result = world.run()
    assert (result.violations, result.exit_code, released(world)) == ((), 0, [BOB])
    assert [(one.kind.value, one.agent) for one in result.findings] == [("coverage_gap", BOB)]


def test_consent_to_a_smaller_scope_is_to_the_calendars_that_were_named(make: Make) -> None:
    world = make(agents=(ANN, BOB, CID), limits='cancel = "1"\ncreate = "9"')
    world.write(BOB, *many(2))
    world.write(CID, *[event(f"c{n}", NOW + timedelta(days=3, hours=2 * n)) for n in range(2)])
    world.run()
    world.agents = (ANN, CID)
    approve(world, world.run().digest)
    world.agents = (ANN,)
    result = world.run()
    assert (result.status, [(v.limit, v.found) for v in result.violations]) == ("refused", [("scope", 2)])
    assert CID in result.violations[0].why
    assert BOB not in result.violations[0].why


def test_a_calendar_that_is_named_again_and_dropped_again_is_asked_about_again(make: Make) -> None:
    world = shrunk(make, 3, limits='cancel = "3"')
    world.run()
    world.agents = (ANN, BOB)
    world.run()
    assert released(world) == []
    world.agents, world.limits = (ANN,), 'cancel = "2"'
    assert [violation.limit for violation in world.run().violations] == ["scope"]


def test_a_calendar_that_is_named_again_is_covered_though_that_run_was_refused(make: Make) -> None:
    world = shrunk(make, 3, limits='cancel = "3"')
    world.run()
    world.agents, world.limits = (ANN, BOB), 'cancel = "2"\ncreate = "0"'
    world.write(ANN, event("a"), event("new", NOW + timedelta(days=9)))
    assert [violation.limit for violation in world.run().violations] == ["create", "day"]
    world.agents = (ANN,)
    again = world.run()
    assert (again.exit_code, again.violations[-1].limit) == (4, "scope")


def test_records_of_the_past_hold_no_job_file_back(make: Make) -> None:
    world = shrunk(make, 2, limits='cancel = "0"')
    world.now += timedelta(days=3)
    assert world.run().violations == ()


def test_agents_who_are_marked_as_left_are_frozen_and_not_lost(make: Make) -> None:
    world = make(agents=(ANN,), limits='cancel = "0"\ncreate = "9"')
    people = world.folder / "people.csv"
    world.sources = '[[source]]\nkind = "ics"\nagents = { file = "people.csv" }\n'
    rows = f"agent,calendar,state\n{ANN},ann.ics,\n{BOB},bob.ics,"
    people.write_text(f"{rows}\n")
    world.write(ANN, event("a"))
    world.write(BOB, *many(4))
    world.run()
    people.write_text(f"{rows}left\n")
    result = world.run()
    assert (result.violations, result.exit_code, released(world)) == ((), 0, [])
    assert [(one.kind.value, one.agent) for one in result.findings] == [("coverage_gap", BOB)]


def test_an_agent_with_a_new_address_is_not_let_go_of(make: Make) -> None:
    world = make(agents=(ANN,), limits='cancel = "0"\ncreate = "9"')
    people = world.folder / "people.csv"
    world.sources = '[[source]]\nkind = "ics"\nagents = { file = "people.csv" }\n'
    people.write_text(f"agent,calendar,aliases\n{ANN},ann.ics,\n{BOB},bob.ics,\n")
    world.write(ANN, event("a"))
    world.write(BOB, *many(4))
    world.run()
    people.write_text(f"agent,calendar,aliases\n{ANN},ann.ics,\nrob@acme.example,bob.ics,{BOB}\n")
    assert "scope" not in {violation.limit for violation in world.run().violations}
    assert released(world) == []


def test_looking_at_one_agent_only_lets_go_of_nobody(make: Make) -> None:
    world = shrunk(make, 4, limits='cancel = "0"')
    world.agents = (ANN, BOB)
    result = world.run(only=frozenset({ANN}))
    assert (result.violations, released(world)) == ((), [])


# ---- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def reconcile(make: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """Return what runs a command line in a world whose plan was refused, and gives its code and what it said."""
    world, _ = refused(make)
    world.job()

    def call(*words: str) -> tuple[int, str, str]:
        capsys.readouterr()
        around = CliWorld(environ={**world.environ, "POD_NAME": "acme-7\x1b[31m"}, cwd=tmp_path, clock=world.clock)
        code = entry.call(words, around)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


Reconcile = Callable[..., tuple[int, str, str]]


def test_a_refusal_says_what_to_type_and_that_works(reconcile: Reconcile) -> None:
    code, said, _ = reconcile("run", "acme.toml")
    assert code == 4
    [line] = [line.strip() for line in said.splitlines() if line.strip().startswith("reconcile approve ")]
    typed = line.replace("YOU", "Jo").replace("TEXT", "opening").split()[1:]
    code, said, _ = reconcile(*typed)
    assert code == 0
    assert said.startswith(f"Jo consented to plan {typed[1]} of acme, made ")
    assert "3 create." in said
    assert "All of it is ann@acme.example's." in said
    assert "until Mon 23 Nov 2026 17:00 UTC" in said
    code, said, _ = reconcile("run", "acme.toml")
    assert code == 0
    assert "3 changes applied" in said
    assert f"Jo's consent to {typed[1]} covers 3 of what is planned.\n" in said


def test_a_consent_is_one_json_object(reconcile: Reconcile) -> None:
    digest = json.loads(reconcile("run", "acme.toml", "--format", "json")[1])["consent"]["digest"]
    words = ("approve", digest, "--by", "Jo", "--why", "opening", "--expires", "90m", "--job", "acme.toml")
    code, said, _ = reconcile(*words, "--format", "json")
    answer = json.loads(said)
    assert (code, answer["digest"], answer["by"], answer["why"]) == (0, digest, "Jo", "opening")
    assert answer["expires_at"] == "2026-11-22T18:30:00Z"
    assert answer["origin"].startswith("user ")
    assert answer["origin"].endswith("pod acme-7[31m")
    assert (answer["counts"], answer["agents"]) == ({"create": 3}, {ANN: 3})
    assert [one["limit"] for one in answer["violations"]] == ["create"]
    applied = json.loads(reconcile("run", "acme.toml", "--format", "json")[1])
    assert applied["approvals"] == [{"digest": digest, "by": "Jo", "covered": 3, "dropped": [], "expired": None}]
    assert applied["consent"] is None


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--by", " ", "--why", "x"), "--by says nothing"),
        (("--by", "Jo", "--why", "\x07"), "--why says nothing"),
        (("--by", "Jo", "--why", "x", "--expires", "soon"), '--expires "soon" is not a duration'),
        (("--by", "Jo", "--why", "x", "--expires", "0s"), "--expires must be longer than nothing"),
        (("--by", "Jo"), "--why"),
    ],
)
def test_consent_without_who_or_why_is_none(reconcile: Reconcile, words: tuple[str, ...], said: str) -> None:
    code, _, told = reconcile("approve", "0123456789ab", *words, "--job", "acme.toml")
    assert code == 2
    assert said in told


def test_a_digest_that_is_none_is_said_in_one_sentence(reconcile: Reconcile) -> None:
    code, _, told = reconcile("approve", "0123456789\x1b[31mab", "--by", "Jo", "--why", "x", "--job", "acme.toml")
    assert code == 2
    assert "fits no stored plan of this job: give 12 digits or more" in told
    assert "\x1b" not in told


def test_status_shows_who_consented_to_what_and_what_became_of_it(reconcile: Reconcile) -> None:
    digest = json.loads(reconcile("run", "acme.toml", "--format", "json")[1])["consent"]["digest"]
    reconcile("approve", digest, "--by", "Jo", "--why", "opening", "--job", "acme.toml")
    said = reconcile("status", "acme.toml")[1]
    assert f"  {digest[:12]}  counts until Mon 23 Nov 2026 17:00 UTC  by Jo (user " in said
    assert "): opening\n" in said.replace(", Sun 22 Nov 2026 17:00 UTC", "")
    run = json.loads(reconcile("run", "acme.toml", "--format", "json")[1])["run"]
    assert f"  {digest[:12]}  used by run {run}  by Jo" in reconcile("status", "acme.toml")[1]
    [told] = json.loads(reconcile("status", "acme.toml", "--format", "json")[1])["consents"]
    assert (told["by"], told["why"], told["used_by"]) == ("Jo", "opening", run)
