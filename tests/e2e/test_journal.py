"""The journal: all is written down before it is sent, looked up when nobody confirmed it, and never sent twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, func, insert, select

from reconciler.apply import BREAKER, Applying, apply
from reconciler.crm import Writer, Written
from reconciler.crm.writes import SqlWriter
from reconciler.crm_side import CrmHand
from reconciler.errors import CrmUnreachableError
from reconciler.hand import Came, Hand
from reconciler.hands import Hands
from reconciler.judgement import Proposal, Unknown
from reconciler.model import (
    Action,
    Delta,
    Fields,
    Kind,
    Outcome,
    Pair,
    Record,
    Severity,
    Side,
    Situation,
    Step,
    Verdict,
)
from reconciler.plan import identity
from reconciler.recovery import GIVE_UP, recover
from reconciler.result import Result
from reconciler.run import Options, Setup, run
from reconciler.store import compare, journal
from reconciler.store.schema import journal as journal_table
from reconciler.store.schema import metadata
from tests.e2e.world import NOW, TABLE, World, event

Make = Callable[..., World]
ANN = "ann@acme.example"
LATER = NOW + timedelta(days=3)


class Around:
    """A real writer with something happening around its writes."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __getattr__(self, name: str) -> Any:
        return getattr(self.writer, name)


@contextmanager
def writing(world: World, around: Callable[[Writer], Any]) -> Iterator[Setup]:
    with world.setup() as setup:
        writers = setup.writers
        assert writers is not None
        yield replace(setup, clock=world.clock, writers=replace(writers, crm=lambda: around(writers.crm())))


def run_with(world: World, around: Callable[[Writer], Any]) -> Result:
    with writing(world, around) as setup:
        return run(setup, Options())


def statuses(world: World) -> list[str]:
    return [row["status"] for row in world.journal()]


def outcomes(result: Result) -> list[tuple[str, str]]:
    return [(delta.action.value, delta.outcome.value) for delta in result.deltas]


# ---- what is written down -------------------------------------------------------------------------------------------


def test_all_of_a_plan_is_written_down_before_any_of_it_is_sent(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER), event("c", LATER + timedelta(days=1)))
    seen: list[list[str]] = []

    class Watching(Around):
        def create(self, key: str, fields: Fields) -> Written:
            seen.append(statuses(world))
            return self.writer.create(key, fields)

    run_with(world, Watching)
    assert seen == [["sent", "planned", "planned"], ["done", "sent", "planned"], ["done", "done", "sent"]]
    assert statuses(world) == ["done"] * 3


def test_the_journal_keeps_what_was_there_what_was_meant_and_which_version_it_became(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))
    world.run()
    world.write(ANN, event("a", NOW + timedelta(days=2, hours=1)), event("b", LATER, extra="STATUS:CANCELLED\r\n"))
    world.now += timedelta(minutes=20)
    world.run()
    rows = {(row["action"], row["crm_id"]): row for row in world.journal()}
    moved, cancelled, made = rows["update", "1"], rows["cancel", "2"], rows["create", "1"]
    assert '"start":"2026-11-24T17:00:00Z"' in moved["before"]
    assert '"start":"2026-11-24T18:00:00Z"' in moved["after"]
    assert '"status":"confirmed"' in cancelled["before"]
    assert (cancelled["after"], made["before"]) == ('{"status":"cancelled"}', "{}")
    versions = dict(world.sql("SELECT CAST(id AS TEXT), version FROM appointments"))
    with world.setup(dry_run=True) as setup, setup.reader.snapshot() as snapshot:
        kept = {record.id: record.version for record in snapshot.by_ids(versions)}
    assert (moved["version"], cancelled["version"]) == (kept["1"], kept["2"]), (
        "it tells whether anybody touched it since"
    )
    assert {row["calendar"] for row in world.journal()} == {1}


def test_no_row_stays_sent_whatever_becomes_of_a_write(make: Make) -> None:
    world = make()
    world.write(ANN, *(event(f"e{n}", NOW + timedelta(days=1, hours=2 * n)) for n in range(6)))
    answers = iter([Outcome.FAILED, Outcome.CONFLICT, Outcome.UNKNOWN, None, Outcome.DEFERRED, Outcome.ALREADY])

    class Moody(Around):
        def create(self, key: str, fields: Fields) -> Written:
            answer = next(answers)
            return self.writer.create(key, fields) if answer is None else Written(answer, why="so it was")

    result = run_with(world, Moody)
    assert Counter(statuses(world)) == Counter(["failed", "conflict", "unknown", "done", "deferred", "already"])
    assert result.exit_code == 5
    world.run()
    assert "sent" not in statuses(world)
    assert "unknown" not in statuses(world)
    assert sorted(world.rows("source_key")) == [(f"e{n}",) for n in range(6)]


# ---- what nobody confirmed ------------------------------------------------------------------------------------------


class Losing(Around):
    """Carries a create out, or does not, and never learns what came of it."""

    carries_out = True

    def create(self, key: str, fields: Fields) -> Written:
        if self.carries_out:
            self.writer.create(key, fields)
        return Written(Outcome.UNKNOWN, why="no answer came")


class LosingAll(Losing):
    carries_out = False


def test_an_unknown_write_that_arrived_is_found_linked_and_not_sent_again(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    assert run_with(world, Losing).exit_code == 5
    assert (statuses(world), world.linked()) == (["unknown"], [])
    result = world.run()
    assert (result.deltas, result.status, statuses(world)) == ((), "in_sync", ["done"])
    assert (world.linked(), world.rows("source_key")) == (["1"], [("a",)])
    assert world.journal()[0]["crm_id"] == "1"


class LosingUpdates(Around):
    """Carries an update out and never learns what came of it."""

    def update(self, crm_id: str, fields: Fields, *, version: str) -> Written:
        self.writer.update(crm_id, fields, version=version)
        return Written(Outcome.UNKNOWN, why="no answer came")


def test_a_pair_whose_unknown_write_was_found_is_compared_once_and_agrees_from_then_on(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.write(ANN, event("a", LATER))
    world.now += timedelta(minutes=20)
    assert run_with(world, LosingUpdates).exit_code == 5
    result = world.run()
    assert (result.deltas, result.status, statuses(world)) == ((), "in_sync", ["done", "done"])
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        [weighed] = compare.weigh(connection, setup.state)
    assert (weighed.links, weighed.clean, list(weighed.apart)) == (1, 1, [])


@pytest.mark.parametrize("arrives", [True, False])
def test_a_lost_edit_of_a_title_alone_counts_as_written_only_where_it_was(make: Make, *, arrives: bool) -> None:
    class LosingTitles(Around):
        def update(self, crm_id: str, fields: Fields, *, version: str) -> Written:
            if arrives:
                self.writer.update(crm_id, fields, version=version)
            return Written(Outcome.UNKNOWN, why="no answer came")

    world = make(policy='compare = ["start", "end", "title"]')
    world.write(ANN, event("a"))
    world.run()
    title = "Second showing, by the lake: " + "mind the dog, " * 4
    world.write(ANN, event("a", title=title))
    world.now += timedelta(minutes=20)
    assert run_with(world, LosingTitles).exit_code == 5
    result = world.run()
    assert outcomes(result) == ([] if arrives else [("update", "done")])
    assert world.rows("title")[0][0].startswith("Second showing")
    assert world.run().deltas == ()


def test_an_unknown_write_that_never_arrived_is_planned_anew(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run_with(world, LosingAll)
    assert outcomes(world.run()) == [("create", "done")]
    assert (statuses(world), world.rows("source_key")) == (["failed", "done"], [("a",)])


def test_an_unknown_write_that_a_person_changed_since_is_theirs(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run_with(world, Losing)
    world.sql("UPDATE appointments SET starts_at = '2026-11-24 09:00:00', updated_at = '2026-11-22 16:50:00'")
    result = world.run()
    assert not any(delta.outcome is Outcome.DONE for delta in result.deltas)
    assert world.rows("starts_at") == [("2026-11-24 09:00:00",)]


def test_what_a_dead_run_never_got_to_is_put_off_and_comes_first(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))

    class Dead(BaseException):
        pass

    class Dying(Around):
        def create(self, key: str, fields: Fields) -> Written:
            raise Dead

    with pytest.raises(Dead):
        run_with(world, Dying)
    assert statuses(world) == ["sent", "planned"]
    result = world.run()
    assert outcomes(result) == [("create", "done")] * 2
    assert [delta.event for delta in result.deltas] == ["b", "a"], "what had to wait goes first"
    first, second, *_ = world.journal()
    assert (first["status"], second["status"], second["why"]) == ("failed", "deferred", journal.NOT_REACHED)


def test_what_can_not_be_looked_up_is_held_and_everything_else_goes_on(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))
    run_with(world, LosingAll)
    world.write(ANN, event("a"), event("b", LATER), event("c", LATER + timedelta(days=1)))
    real = CrmHand.look

    def look(hand: CrmHand, intent: journal.Intent) -> Came:
        return Came(outcome=Outcome.UNKNOWN, why="busy") if intent.event == "a" else real(hand, intent)

    monkeypatch.setattr(CrmHand, "look", look)
    result = world.run()
    assert [(delta.event, delta.outcome.value) for delta in result.deltas] == [("b", "done"), ("c", "done")]
    (held,) = [finding for finding in result.findings if finding.event == "a"]
    assert (held.remedy.value, result.counts["held"]) == ("hold", 1)
    assert "looked up again" in held.why
    assert [row["status"] for row in world.journal() if row["event"] == "a"] == ["unknown"]
    world.now += GIVE_UP + timedelta(minutes=1)
    world.write(ANN, event("a", world.now + timedelta(days=1)))
    later = world.run()
    assert ("a", "done") in [(delta.event, delta.outcome.value) for delta in later.deltas], "nothing is held for ever"


def test_a_cancel_that_was_looked_up_is_known_as_ours_when_the_event_comes_back(make: Make) -> None:
    class LosingCancels(Around):
        def cancel(self, crm_id: str, *, version: str) -> Written:
            self.writer.cancel(crm_id, version=version)
            return Written(Outcome.UNKNOWN, why="no answer came")

    world = make()
    world.write(ANN, event("a"))
    world.run()
    world.now += timedelta(minutes=20)
    world.write(ANN, event("a", extra="STATUS:CANCELLED\r\n", modified="20261122T170500Z"))
    run_with(world, LosingCancels)
    world.run()
    assert (statuses(world), world.rows("status")) == (["done", "done"], [("cancelled",)])
    world.now += timedelta(hours=1)
    world.write(ANN, event("a", modified="20261122T173000Z"))
    assert outcomes(world.run()) == [("update", "done")], "who would not know would call it a false cancel"


def open_intent(**known: Any) -> journal.Intent:
    given = {"action": Action.UPDATE, "side": Side.CRM, "crm_id": None, "event": None, "calendar": None, **known}
    return journal.Intent(number=1, run="r", key="a", agent=None, at=NOW, **given)


def test_what_stays_unknown_is_known_by_its_record_and_by_its_event(make: Make) -> None:
    class Blind(Known):
        def look(self, _intent: journal.Intent) -> Came:
            return Came(outcome=Outcome.UNKNOWN, why="busy")

    blind: Any = Blind("Google", Outcome.UNKNOWN)
    intents = [open_intent(crm_id="17"), open_intent(event="e", calendar=3)]
    with make().setup() as setup:
        unknown = recover(setup.state, intents, lambda _: blind, NOW, "run")
    assert unknown == Unknown(records=frozenset({"17"}), events=frozenset({(3, "e")}))


def test_a_record_that_has_the_key_of_a_lost_one_is_not_what_was_written(make: Make) -> None:
    world = make()
    number = world.insert("a")
    after: Fields = {"start": "2026-11-24T17:00:00Z"}
    with world.setup() as setup:
        assert setup.writers is not None
        with Hands(setup, setup.writers, setup.window(NOW), lambda: 60.0) as hands:
            looked = [
                hands.of(one).look(one).outcome
                for one in (
                    open_intent(crm_id=str(number), after=after),
                    open_intent(crm_id=str(number + 1), after=after),
                    open_intent(action=Action.CREATE, after=after),
                )
            ]
    assert looked == [Outcome.DONE, Outcome.FAILED, Outcome.DONE]


def test_a_crm_that_can_not_be_reached_for_a_look_up_blinds_the_run(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.write(ANN, event("a"))
    run_with(world, LosingAll)

    class Away(Around):
        def find(self, crm_id: str | None, key: str) -> Record | None:
            raise CrmUnreachableError("The CRM does not answer.")

    result = run_with(world, Away)
    assert (result.deltas, result.exit_code, statuses(world)) == ((), 5, ["unknown"])
    assert outcomes(world.run()) == [("create", "done")]


# ---- a side that fails ----------------------------------------------------------------------------------------------


@dataclass
class Known:
    """A hand that answers what it is told to, and remembers what it was sent."""

    name: str
    answer: Outcome
    sent: list[str] = field(default_factory=list)

    def send(self, delta: Delta) -> Came:
        self.sent.append(delta.key)
        return Came(outcome=self.answer, why="so it was")

    def agree(self, _connection: object, _delta: Delta, _proposal: Proposal, came: Came) -> Came:
        return came


def delta(number: int, side: Side) -> Delta:
    return Delta(
        action=Action.UPDATE,
        side=side,
        key=f"{side}{number}",
        kind=Kind.FIELD_DRIFT,
        severity=Severity.INFO,
        want={"title": str(number)},
    )


def applied(world: World, deltas: Sequence[Delta], hands: Mapping[Side, Any]) -> list[Delta]:
    pair = Pair(seen=None, calendar=None, record=None, link=None)
    verdict = Verdict(Situation.CALENDAR_CHANGED, Step.UPDATE)
    proposals = {identity(each): Proposal(each, pair, verdict) for each in deltas}

    def hand(one: Delta) -> Hand:
        found: Hand = hands[one.side]
        return found

    with world.setup() as setup:
        applying = Applying(state=setup.state, hand=hand, run="r", epoch=0, clock=world.clock)
        return apply(deltas, proposals, applying)


def test_a_side_that_fails_five_times_in_a_row_is_left_alone_and_the_other_goes_on(make: Make) -> None:
    world = make()
    crm, calendar = Known("the CRM", Outcome.DONE), Known("Google", Outcome.FAILED)
    deltas = [delta(number, side) for number in range(7) for side in (Side.CALENDAR, Side.CRM)]
    done = applied(world, deltas, {Side.CRM: crm, Side.CALENDAR: calendar})
    assert (len(crm.sent), len(calendar.sent)) == (7, BREAKER)
    left = [each for each in done if each.outcome is Outcome.DEFERRED]
    assert {each.why for each in left} == {"Google failed 5 writes in a row; the rest waits for the next run"}
    assert Counter(statuses(world)) == {"done": 7, "failed": 5, "deferred": 2}
    assert {row["why"] for row in world.journal() if row["status"] == "deferred"} == {left[0].why}


def test_failures_that_are_not_in_a_row_leave_nobody_alone(make: Make) -> None:
    world = make()

    class Moody(Known):
        def send(self, delta: Delta) -> Came:
            came = super().send(delta)
            return came if len(self.sent) % BREAKER else replace(came, outcome=Outcome.CONFLICT)

    crm = Moody("the CRM", Outcome.FAILED)
    done = applied(world, [delta(number, Side.CRM) for number in range(3 * BREAKER)], {Side.CRM: crm})
    assert Counter(each.outcome for each in done) == {Outcome.FAILED: 12, Outcome.CONFLICT: 3}


def test_what_a_hand_puts_off_is_no_failure_of_it(make: Make) -> None:
    world = make()
    google = Known("Google", Outcome.DEFERRED)
    deltas = [delta(number, Side.CALENDAR) for number in range(7)]
    done = applied(world, deltas, {Side.CALENDAR: google})
    assert (len(google.sent), {each.outcome for each in done}) == (7, {Outcome.DEFERRED})


def test_what_fails_every_time_does_not_keep_the_rest_from_ever_being_reached(make: Make) -> None:
    world = make()
    urgent = [event(f"bad{n}", NOW + timedelta(minutes=30 + 15 * n)) for n in range(BREAKER)]
    world.write(ANN, *urgent, event("good", LATER))

    class Picky(Around):
        def create(self, key: str, fields: Fields) -> Written:
            return Written(Outcome.FAILED, why="no") if key != "good" else self.writer.create(key, fields)

    for _ in range(journal.STUBBORN):
        assert outcomes(run_with(world, Picky))[-1] == ("create", "deferred"), "five failures, and all more urgent"
    assert outcomes(run_with(world, Picky))[0] == ("create", "done")
    assert world.rows("source_key") == [("good",)]


def test_what_fails_every_night_keeps_the_rest_waiting_for_three_nights_only(make: Make) -> None:
    world = make()

    class Picky(Around):
        def create(self, key: str, fields: Fields) -> Written:
            return Written(Outcome.FAILED, why="no") if key != "good" else self.writer.create(key, fields)

    for night in range(journal.STUBBORN + 1):
        world.now = NOW + timedelta(days=night, minutes=night)
        soon = [world.now + timedelta(minutes=30 + 15 * n) for n in range(BREAKER)]
        world.write(ANN, *(event(f"bad{n}", at) for n, at in enumerate(soon)), event("good", NOW + timedelta(days=9)))
        assert world.rows("source_key") == []
        run_with(world, Picky)
    assert world.rows("source_key") == [("good",)]


def test_a_crm_that_goes_away_while_it_is_written_to_fails_the_write_and_not_the_run(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER))

    class Vanishing(Around):
        def create(self, key: str, fields: Fields) -> Written:
            world.sql("ALTER TABLE appointments RENAME TO elsewhere")
            try:
                return self.writer.create(key, fields)
            finally:
                world.sql("ALTER TABLE elsewhere RENAME TO appointments")

    assert outcomes(run_with(world, Vanishing)) == [("create", "failed")] * 2
    assert statuses(world) == ["failed"] * 2
    assert outcomes(world.run()) == [("create", "done")] * 2


def test_a_write_that_nobody_could_look_at_again_was_written_all_the_same(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = make()
    world.sql("DROP TABLE appointments")
    world.sql(TABLE.replace(" UNIQUE", ""))
    world.write(ANN, event("a"))

    def away(_: object) -> None:
        raise CrmUnreachableError("The CRM does not answer.")

    with monkeypatch.context() as patched:
        patched.setattr(SqlWriter, "_looking", away)
        (delta,) = world.run().deltas
    assert (delta.outcome, statuses(world)) == (Outcome.DONE, ["done"])
    assert "nobody could look" in delta.why
    assert (world.run().deltas, len(world.rows())) == ((), 1)


# ---- a state that is lost, or older than the world ------------------------------------------------------------------


def saved(world: World) -> dict[str, list[Any]]:
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        return {table.name: connection.execute(select(table)).mappings().all() for table in metadata.sorted_tables}  # type: ignore[misc]


def restored(world: World, backup: Mapping[str, list[Any]] | None) -> None:
    """Put a state back as it was saved; None: as if it had never been."""
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        for table in reversed(metadata.sorted_tables):
            connection.execute(delete(table))
        for table in metadata.sorted_tables:
            if backup and backup[table.name]:
                connection.execute(insert(table), [dict(row) for row in backup[table.name]])


def test_an_empty_state_links_again_by_key_and_overwrites_nobody(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"), event("b", LATER), event("c", LATER + timedelta(days=1)))
    world.run()
    world.sql(
        "UPDATE appointments SET starts_at = '2026-11-25 09:00:00', updated_at = '2026-11-22 12:00:00' WHERE id = 2"
    )
    world.write(ANN, event("a"), event("b", LATER))
    before = world.rows()
    restored(world, None)
    result = world.run()
    assert (result.deltas, world.rows()) == ((), before), "a person's edit is newer than the calendar: it stands"
    (apart,) = [finding for finding in result.findings if finding.event == "b"]
    assert (apart.kind.value, apart.remedy.value) == ("reschedule_not_propagated", "human")
    assert "1" in world.linked()
    assert len(world.rows()) == 3, "and nothing is taken away that nobody shows any more"
    assert world.run().deltas == ()


def test_a_restored_state_finds_out_what_was_done_since_and_overwrites_nobody(make: Make) -> None:
    world = make()
    hour, days = timedelta(hours=1), [NOW + timedelta(days=n) for n in range(1, 6)]
    world.write(ANN, *(event(name, day) for name, day in zip("abde", days, strict=False)))
    world.run()
    backup = saved(world)
    world.now += timedelta(minutes=30)
    moved = "20261122T170500Z"
    later = [
        event("a", days[0] + hour, modified=moved),
        event("b", days[1]),
        event("c", days[4]),
        event("d", days[2], modified=moved, extra="STATUS:CANCELLED\r\n"),
        event("e", days[3] + hour, modified=moved),
    ]
    world.write(ANN, *later)
    assert sorted(outcomes(world.run())) == [("cancel", "done"), ("create", "done"), *[("update", "done")] * 2]
    edit = "UPDATE appointments SET starts_at = ?, ends_at = ?, updated_at = '2026-11-22 17:29:00' WHERE source_key = ?"
    for key, day in (("b", "2026-11-29"), ("e", "2026-11-30")):
        world.sql(edit, f"{day} 09:00:00", f"{day} 10:00:00", key)
    world.now += timedelta(minutes=30)
    before = world.rows()
    restored(world, backup)
    result = world.run()
    assert (result.deltas, world.rows()) == ((), before)
    assert {finding.event: finding.remedy.value for finding in result.findings} == {"b": "human", "e": "human"}
    assert len(world.linked()) == len(set(world.linked())) == 5, "what was made since is linked again by its key"
    assert world.run().deltas == ()


def test_a_dry_run_leaves_the_journal_alone(make: Make) -> None:
    world = make()
    world.write(ANN, event("a"))
    run_with(world, LosingAll)
    world.dry()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        assert connection.execute(select(func.count()).select_from(journal_table)).scalar_one() == 1
    assert statuses(world) == ["unknown"]
