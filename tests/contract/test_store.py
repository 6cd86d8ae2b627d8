"""What the state database promises, proven on SQLite and on PostgreSQL by the same tests."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, select

from reconciler.errors import ConfigError, LockedError, StateError
from reconciler.model import (
    Absence,
    Action,
    Agent,
    Calendar,
    Cursor,
    Delta,
    Finding,
    Kind,
    Link,
    Mode,
    Outcome,
    Pull,
    Record,
    Remedy,
    Seen,
    Severity,
    Side,
    Span,
    Tier,
    Violation,
    Window,
)
from reconciler.normalise import digest
from reconciler.plan import Turns, identity
from reconciler.rollup import Sums
from reconciler.store import codec, compare, consents, days, journal, ledger, mirror, records, state
from reconciler.store.compare import Scope
from reconciler.store.consents import Approval, Meant, Stored
from reconciler.store.database import run_lock
from reconciler.store.schema import calendars
from reconciler.store.schema import days as days_table
from reconciler.store.schema import mirror as mirror_table
from reconciler.store.state import State, Watched, open_state

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
WINDOW = Window.around(NOW, timedelta(days=7), timedelta(days=60))
COMPARE = ("agent", "end", "start")
ANN = Agent(email="ann@acme.example", aliases=("ann.old@acme.example",))
BOB = Agent(email="bob@acme.example")
MINE = Calendar(source="ics", kind="ics", agent=ANN)
HIS = Calendar(source="ics", kind="ics", agent=BOB)
Open = Callable[..., State]


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Open states on one and the same database; all are closed in the end."""
    url = f"sqlite:///{tmp_path}/state.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_state")()
    states: list[State] = []

    def open_one(job: str = "acme") -> State:
        states.append(open_state(url, job))
        return states[-1]

    yield open_one
    for each in states:
        each.engine.dispose()


def seen(event: str, start: datetime = NOW + timedelta(days=1), **values: Any) -> Seen:
    fields = {"agent": ANN.email, "start": start.isoformat(), "end": (start + timedelta(hours=1)).isoformat()}
    settings: dict[str, Any] = {
        "event": event,
        "span": Span(start, start + timedelta(hours=1)),
        "digest": digest(fields, COMPARE),
        "meeting": f"{event}|{ANN.email}",
        "keys": (event,),
        "relevance": "client",
        "fields": fields,
        "organizer": ANN.email,
    }
    return Seen(**{**settings, **values})


def record(crm_id: str, like: Seen | None = None, **values: Any) -> Record:
    fields = dict((like or seen(crm_id)).fields)
    return Record(**{"id": crm_id, "fields": fields, "version": "1", "key": like.event if like else None, **values})


def watch(opened: State, *calendars: Calendar) -> list[Watched]:
    with opened.begin() as connection:
        return state.watch(connection, opened, calendars or (MINE,))


def pull(watched: Watched, *, token: str = "1", **values: Any) -> Pull:
    read = Pull(calendar=watched.calendar, mode=Mode.FULL, cursor=Cursor(token, WINDOW, "s", NOW), at=NOW, zone="UTC")
    return replace(read, **values)


def commit(
    opened: State, watched: Watched, *rows: Seen, before: tuple[Seen, ...] = (), token: str = "1", **values: Any
) -> bool:
    with opened.begin() as connection:
        was, now = ({each.event: each for each in these} for these in (before, rows))
        return mirror.commit_pull(connection, opened, watched, pull(watched, token=token, **values), was, now)


def link(opened: State, watched: Watched, sight: Seen, crm: Record) -> None:
    made = Link(crm.id, watched.id, sight.event, sight.meeting, Tier.KEY, sight.fields, crm.fields, crm.version)
    with opened.begin() as connection:
        ledger.save_links(connection, opened, [(made, sight.digest, digest(crm.fields, COMPARE))])


def unequal(opened: State) -> list[compare.Unequal]:
    """Return the links that do not plainly agree, with both sides."""
    with opened.reading() as connection:
        apart = [crm_id for weighed in compare.weigh(connection, opened) for crm_id in weighed.apart]
        return list(compare.unequal(connection, opened, Scope(WINDOW, frozenset()), apart))


# ---- opening --------------------------------------------------------------------------------------------------------


def test_opening_again_finds_the_same_job_and_the_same_salt(opened: Open) -> None:
    first, again, other = opened(), opened(), opened("other")
    assert (first.job, first.salt) == (again.job, again.salt)
    assert other.job != first.job
    assert other.salt != first.salt


def test_a_state_that_is_no_url_is_a_configuration_error() -> None:
    with pytest.raises(ConfigError):
        open_state("no url", "acme")


def test_state_is_bound_to_one_crm_until_it_is_rebound(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        state.bind(connection, acme, "sqlite crm.db appointments")
        state.bind(connection, acme, "sqlite crm.db appointments")
        with pytest.raises(StateError, match="state rebind acme"):
            state.bind(connection, acme, "sqlite other.db appointments")
        assert state.rebind(connection, acme, "sqlite other.db appointments") == "sqlite crm.db appointments"
        state.bind(connection, acme, "sqlite other.db appointments")


# ---- cursor and data ------------------------------------------------------------------------------------------------


def test_rows_and_cursor_are_committed_together(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    assert commit(acme, mine, seen("a"), seen("b"))
    (mine,) = watch(acme)
    with acme.reading() as connection:
        assert mirror.rows_of(connection, acme, mine.id) == {"a": seen("a"), "b": seen("b")}
    assert mine.cursor == Cursor("1", WINDOW, "s", NOW)


def test_a_commit_that_fails_leaves_neither_rows_nor_cursor(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    with pytest.raises(RuntimeError), acme.begin() as connection:
        mirror.commit_pull(connection, acme, mine, pull(mine), {}, {"a": seen("a")})
        raise RuntimeError
    (mine,) = watch(acme)
    with acme.reading() as connection:
        assert (mirror.rows_of(connection, acme, mine.id), mine.cursor) == ({}, None)


@pytest.mark.parametrize("known_before", [False, True])
def test_of_two_processes_that_read_the_same_calendar_one_commits(opened: Open, known_before: bool) -> None:
    acme, other = opened(), opened()
    if known_before:
        assert commit(acme, watch(acme)[0], token="0")
    (mine,), (theirs,) = watch(acme), watch(other)
    assert commit(acme, mine, seen("a"))
    assert not commit(other, theirs, seen("b"), token="2")
    (mine,) = watch(acme)
    with acme.reading() as connection:
        assert mirror.rows_of(connection, acme, mine.id).keys() == {"a"}
    assert mine.cursor is not None
    assert mine.cursor.token == "1"


def test_rows_that_a_fold_dropped_are_deleted(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    commit(acme, mine, seen("a"), seen("b"))
    commit(acme, watch(acme)[0], seen("b"), before=(seen("a"), seen("b")), token="2")
    with acme.reading() as connection:
        assert mirror.rows_of(connection, acme, mine.id).keys() == {"b"}


def test_a_whole_read_clears_strikes_and_says_when(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    with acme.begin() as connection:
        state.strike(connection, mine, "gone", NOW)
    assert (watch(acme)[0].strikes, watch(acme)[0].why, watch(acme)[0].blind_since) == (1, "gone", NOW)
    commit(acme, watch(acme)[0], seen("a"))
    (mine,) = watch(acme)
    assert (mine.strikes, mine.why, mine.blind_since, mine.seen_at) == (0, None, None, NOW)


def test_an_agents_new_address_finds_the_calendar_of_the_old_one(opened: Open) -> None:
    acme = opened()
    old = Calendar(source="ics", kind="ics", agent=Agent(email="ann.old@acme.example"))
    assert watch(acme, old)[0].id == watch(acme, MINE)[0].id == watch(acme, MINE)[0].id


def test_a_calendar_that_could_not_be_read_says_when_it_was_tried_and_until_when_it_rests(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    with acme.begin() as connection:
        struck = state.strike(connection, mine, "suspended", NOW, timedelta(days=1))
    assert watch(acme) == [struck]
    assert (struck.tried_at, struck.next_try, struck.seen_at) == (NOW, NOW + timedelta(days=1), None)
    with acme.begin() as connection:
        again = state.strike(connection, struck, "slow", NOW + timedelta(days=1))
    assert (watch(acme), again.strikes, again.next_try, again.blind_since) == ([again], 2, None, NOW)


@pytest.mark.parametrize("quietly", [False, True])
def test_a_read_ends_the_rest_of_a_calendar(opened: Open, quietly: bool) -> None:
    acme = opened()
    commit(acme, watch(acme)[0])
    (mine,) = watch(acme)
    with acme.begin() as connection:
        mine = state.strike(connection, mine, "suspended", NOW, timedelta(days=1))
    if quietly:
        with acme.begin() as connection:
            mirror.touch(connection, [(mine, pull(mine, token="2", mode=Mode.INCREMENTAL))])
    else:
        commit(acme, mine, token="2")
    (mine,) = watch(acme)
    assert (mine.next_try, mine.strikes, mine.why) == (None, 0, None)
    assert mine.cursor is not None
    assert mine.cursor.token == "2"


def test_a_quiet_read_takes_no_strike_off_a_calendar_that_another_process_lost(opened: Open) -> None:
    acme = opened()
    commit(acme, watch(acme)[0])
    (mine,) = watch(acme)
    with acme.begin() as connection:
        state.strike(connection, mine, "not shared any more", NOW)
        mirror.read_whole_next(connection, [mine.id])
        mirror.touch(connection, [(mine, pull(mine, token="2", mode=Mode.INCREMENTAL))])
    (mine,) = watch(acme)
    assert (mine.strikes, mine.why, mine.blind_since) == (1, "not shared any more", NOW)


# ---- what a source wants to know again ------------------------------------------------------------------------------


def rules(opened: State, watched: Watched) -> dict[str, str]:
    with opened.reading() as connection:
        return mirror.rules_of(connection, opened, watched.id)


def test_a_whole_read_replaces_what_is_kept_of_series_and_an_increment_adds_and_forgets(opened: Open) -> None:
    acme = opened()
    mine, his = watch(acme, MINE, HIS)
    commit(acme, mine, rules={"m": "weekly", "n": "daily"})
    commit(acme, his, rules={"m": "his own"})
    assert rules(acme, mine) == {"m": "weekly", "n": "daily"}
    increment = {"m": "biweekly", "n": None, "o": "yearly", "never known": None}
    commit(acme, watch(acme)[0], token="2", mode=Mode.INCREMENTAL, rules=increment)
    assert rules(acme, mine) == {"m": "biweekly", "o": "yearly"}
    commit(acme, watch(acme)[0], token="3", mode=Mode.INCREMENTAL)
    assert rules(acme, mine) == {"m": "biweekly", "o": "yearly"}
    commit(acme, watch(acme)[0], token="4", rules={"p": "monthly", "o": None})
    assert rules(acme, mine) == {"p": "monthly"}
    assert rules(acme, his) == {"m": "his own"}


def test_jobs_keep_the_series_of_their_own_calendars(opened: Open) -> None:
    acme, other = opened(), opened("other")
    commit(acme, watch(acme)[0], rules={"m": "weekly"})
    commit(other, watch(other)[0], rules={"m": "daily"})
    commit(acme, watch(acme)[0], token="2")
    assert (rules(acme, watch(acme)[0]), rules(other, watch(other)[0])) == ({}, {"m": "daily"})


def test_rules_and_look_ups_are_committed_with_the_cursor_or_not_at_all(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    with pytest.raises(RuntimeError), acme.begin() as connection:
        mirror.commit_pull(connection, acme, mine, pull(mine, rules={"m": "weekly"}, pending=("a",)), {}, {})
        raise RuntimeError
    assert (rules(acme, mine), watch(acme)[0].pending) == ({}, ())
    late = replace(mine, version=7)
    assert not commit(acme, late, rules={"m": "weekly"}, pending=("a",))
    assert (rules(acme, mine), watch(acme)[0].pending) == ({}, ())


def test_what_is_still_to_be_looked_up_is_kept_until_it_was(opened: Open) -> None:
    acme = opened()
    commit(acme, watch(acme)[0], pending=("a", "b/20261124"))
    assert watch(acme)[0].pending == ("a", "b/20261124")
    commit(acme, watch(acme)[0], token="2", mode=Mode.INCREMENTAL, pending=("a",))
    assert watch(acme)[0].pending == ("a",)
    commit(acme, watch(acme)[0], token="3", mode=Mode.INCREMENTAL)
    assert watch(acme)[0].pending == ()


# ---- cursors that no longer hold ------------------------------------------------------------------------------------


def test_a_cursor_that_is_void_fits_no_scope_and_a_read_under_way_from_it_is_discarded(opened: Open) -> None:
    acme = opened()
    commit(acme, watch(acme)[0], seen("a"))
    (mine,) = watch(acme)
    with acme.begin() as connection:
        mirror.read_whole_next(connection, [mine.id])
    (void,) = watch(acme)
    assert void.cursor is not None
    assert (void.cursor.scope, void.cursor.token) == ("", "1")
    assert not commit(acme, mine, token="2", mode=Mode.INCREMENTAL)
    assert commit(acme, void, token="3")
    assert watch(acme)[0].cursor == Cursor("3", WINDOW, "s", NOW)


@pytest.mark.parametrize("is_void", [False, True])
def test_a_calendar_named_no_more_speaks_for_nothing_and_leaves_no_rules(opened: Open, is_void: bool) -> None:
    acme = opened()
    mine, his = watch(acme, MINE, HIS)
    shared = seen("m", organizer=BOB.email, meeting="m|bob")
    commit(acme, mine, shared, rules={"m": "weekly"}, pending=("m",))
    commit(acme, his, shared, rules={"m": "weekly"})
    with acme.begin() as connection:
        if is_void:
            mirror.read_whole_next(connection, [his.id])
        mirror.retire(connection, acme, {mine.id})
    with acme.reading() as connection:
        assert mirror.rows_of(connection, acme, his.id)["m"].absence is Absence.UNSEEN
        assert mirror.rows_of(connection, acme, mine.id)["m"].absence is None
    assert elected(acme) == {(mine.id, "m")}
    assert (rules(acme, his), rules(acme, mine)) == ({}, {"m": "weekly"})
    assert [one.pending for one in watch(acme, MINE, HIS)] == [("m",), ()]


# ---- meetings -------------------------------------------------------------------------------------------------------


def elected(opened: State) -> set[tuple[int, str]]:
    with opened.reading() as connection:
        rows = connection.execute(select(mirror_table.c.calendar, mirror_table.c.event).where(mirror_table.c.elected))
        return {(row[0], row[1]) for row in rows}


def test_one_copy_of_a_meeting_speaks_for_it_and_the_organizers_comes_first(opened: Open) -> None:
    acme = opened()
    mine, his = watch(acme, MINE, HIS)
    shared = seen("m", organizer=BOB.email, meeting="m|bob")
    commit(acme, mine, shared)
    assert elected(acme) == {(mine.id, "m")}
    commit(acme, his, shared)
    assert elected(acme) == {(his.id, "m")}
    commit(acme, watch(acme, HIS)[0], before=(shared,), token="2")
    assert elected(acme) == {(mine.id, "m")}


# ---- comparing ------------------------------------------------------------------------------------------------------


def agreed(opened: State) -> tuple[Watched, Seen, Record]:
    (mine,) = watch(opened)
    sight = seen("a")
    crm = record("1", sight)
    commit(opened, mine, sight)
    with opened.begin() as connection:
        records.put(connection, opened, [crm], COMPARE, "1")
    link(opened, mine, sight, crm)
    return watch(opened)[0], sight, crm


def test_what_both_sides_agree_on_is_never_handed_out(opened: Open) -> None:
    acme = opened()
    agreed(acme)
    assert unequal(acme) == []


def test_a_moved_event_is_handed_out_with_both_sides_and_the_base(opened: Open) -> None:
    acme = opened()
    mine, sight, crm = agreed(acme)
    moved = seen("a", NOW + timedelta(days=5))
    commit(acme, mine, moved, before=(sight,), token="2")
    (found,) = unequal(acme)
    assert found.sighting is not None
    assert found.holding is not None
    assert (found.sighting.seen, found.holding.record, found.link.base) == (moved, crm, dict(sight.fields))


def test_a_changed_record_is_handed_out(opened: Open) -> None:
    acme = opened()
    _, _, crm = agreed(acme)
    edited = replace(crm, fields={**crm.fields, "start": "2026-12-01T00:00:00Z"}, version="2")
    with acme.begin() as connection:
        records.put(connection, acme, [edited], COMPARE, "1")
    (found,) = unequal(acme)
    assert found.holding is not None
    assert found.holding.record == edited


def test_links_are_weighed_calendar_by_calendar(opened: Open) -> None:
    acme = opened()
    mine, sight, _ = agreed(acme)
    with acme.reading() as connection:
        (weighed,) = compare.weigh(connection, acme)
        assert (weighed.calendar, weighed.links, weighed.clean, weighed.recorded) == (mine.id, 1, 1, 1)
        assert not weighed.apart
    commit(acme, mine, seen("a", NOW + timedelta(days=5)), before=(sight,), token="2")
    with acme.reading() as connection:
        (weighed,) = compare.weigh(connection, acme)
        assert (weighed.clean, list(weighed.apart)) == (0, ["1"])


def test_jobs_share_a_database_and_see_nothing_of_each_other(opened: Open) -> None:
    acme, other = opened(), opened("other")
    agreed(acme)
    mine, sight, _ = agreed(other)
    commit(other, mine, seen("a", NOW + timedelta(days=5)), before=(sight,), token="2")
    assert unequal(acme) == []
    assert len(unequal(other)) == 1


def held(opened: State, *ids: str) -> list[str]:
    with opened.reading() as connection:
        return sorted(each.id for each in compare.by_ids(connection, opened, ids))


def test_records_that_a_chunk_no_longer_holds_go_when_the_read_is_complete(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        records.put(connection, acme, [record("1"), record("2")], COMPARE, "1")
        assert records.put(connection, acme, [record("2")], COMPARE, "1") == {"1"}
    assert held(acme, "1", "2") == ["1", "2"], "a read that is not complete drops nothing"
    with acme.begin() as connection:
        records.complete(connection, acme, {"1": (b"x" * 16, 1)}, {"1": {"1"}}, "f", NOW)
    assert held(acme, "1", "2") == ["2"]


def test_a_record_that_moved_to_another_chunk_is_kept(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        records.put(connection, acme, [record("1"), record("2")], COMPARE, "1")
        stale = {"1": records.put(connection, acme, [record("1")], COMPARE, "1")}
        records.put(connection, acme, [record("2")], COMPARE, "2")
        records.complete(connection, acme, {"1": (b"x" * 16, 1), "2": (b"y" * 16, 1)}, stale, "f", NOW)
    assert held(acme, "1", "2") == ["1", "2"]


def test_a_complete_snapshot_drops_the_chunks_it_did_not_show(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        records.put(connection, acme, [record("1")], COMPARE, "1")
        records.complete(connection, acme, {"1": (b"x" * 16, 1)}, {}, "f", NOW)
        records.put(connection, acme, [record("9")], COMPARE, "9")
        records.complete(connection, acme, {"9": (b"y" * 16, 1)}, {}, "f", NOW)
        known = records.known(connection, acme, "f", WINDOW)
        assert (known.digests, known.count, known.whole_at, known.read_at) == ({"9": b"y" * 16}, 1, NOW, NOW)
        assert records.known(connection, acme, "another normaliser", WINDOW).digests == {}
    assert held(acme, "1", "9") == ["9"]


def test_what_is_caught_up_stays_until_the_next_whole_read(opened: Open) -> None:
    acme, later = opened(), NOW + timedelta(minutes=5)
    with acme.begin() as connection:
        records.put(connection, acme, [record("1")], COMPARE, "1")
        records.complete(connection, acme, {"1": (b"x" * 16, 1)}, {}, "f", NOW)
        records.catch_up(connection, acme, [record("1", version="2"), record("2")], COMPARE, NOW)
        records.caught_up(connection, acme, later)
        records.unlinked_lookups(connection, acme)
        known = records.known(connection, acme, "f", WINDOW)
        assert (known.whole_at, known.read_at, known.count) == (NOW, later, 2)
    assert held(acme, "1", "2") == ["1", "2"]
    with acme.begin() as connection:
        records.complete(connection, acme, {"1": (b"x" * 16, 1)}, {}, "f", later)
    assert held(acme, "1", "2") == ["1"]


def test_an_irrelevant_event_can_be_recognised_by_its_key_and_not_be_read(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    hidden = Seen(event="lunch", span=seen("x").span, digest=b"k" * 16)
    commit(acme, mine, hidden)
    with acme.reading() as connection:
        assert compare.hidden_keys(connection, acme, [b"k" * 16, b"z" * 16]) == {b"k" * 16: mine.id}


# ---- journal, plans, findings ---------------------------------------------------------------------------------------


def delta(key: str = "a") -> Delta:
    return Delta(
        action=Action.CREATE,
        side=Side.CRM,
        key=key,
        kind=Kind.MISSING_IN_CRM,
        severity=Severity.HIGH,
        want={"start": "2026-11-24T15:00:00Z"},
        fields={"start": (None, "2026-11-24T15:00:00Z")},
    )


def intend(
    acme: State, *deltas: Delta, run: str = "run", epoch: int = 0, approved: Mapping[str, str] | None = None
) -> None:
    with acme.begin() as connection:
        journal.intend(connection, acme, deltas, run=run, epoch=epoch, now=NOW, approved=approved)


def test_an_intent_is_written_once_sent_and_settled_with_what_came_of_it(opened: Open) -> None:
    acme = opened()
    intend(acme, delta())
    with acme.begin() as connection:
        number = journal.send(connection, acme, "run", 0, delta(), NOW)
        assert number is not None
        (intent,) = journal.unsettled(connection, acme)
        assert (intent.number, intent.key, dict(intent.after)) == (number, "a", {"start": "2026-11-24T15:00:00Z"})
        journal.settle(connection, number, Outcome.DONE, "", crm_id="17", version="3")
        assert journal.unsettled(connection, acme) == []
        (row,) = journal.history(connection, acme, "a", None)
    assert (row["status"], row["crm_id"], row["version"], row["attempts"]) == ("done", "17", "3", 1)
    assert (row["after"], row["at"]) == ({"start": "2026-11-24T15:00:00Z"}, NOW)


def test_the_same_delta_of_the_same_run_can_not_be_intended_twice(opened: Open) -> None:
    acme = opened()
    intend(acme, delta())
    with pytest.raises(Exception, match=r"(?i)unique"):
        intend(acme, delta())


def test_what_was_sent_or_settled_is_neither_sent_again_nor_put_off(opened: Open) -> None:
    acme = opened()
    intend(acme, delta("a"))
    with acme.begin() as connection:
        number = journal.send(connection, acme, "run", 0, delta("a"), NOW)
        assert number is not None
        assert journal.send(connection, acme, "run", 0, delta("a"), NOW) is None
        journal.settle(connection, number, Outcome.DONE, "")
        assert journal.send(connection, acme, "run", 0, delta("a"), NOW) is None
        journal.defer(connection, acme, "run", [delta("a")])
        (row,) = journal.history(connection, acme, "a", None)
    assert (row["status"], row["attempts"]) == ("done", 1)


def test_nothing_is_sent_once_a_newer_run_has_begun(opened: Open) -> None:
    acme = opened()
    intend(acme, delta())
    with acme.begin() as connection:
        state.begin_run(connection, acme, "newer", NOW)
        assert journal.send(connection, acme, "run", 0, delta(), NOW) is None


def test_what_a_run_never_got_to_is_put_off_by_the_next_and_by_no_earlier_one(opened: Open) -> None:
    acme = opened()
    intend(acme, delta("a"), delta("b"), epoch=4)
    with acme.begin() as connection:
        assert journal.abandon(connection, acme, 4) == 0
        assert journal.abandon(connection, acme, 5) == 2
        (row,) = journal.history(connection, acme, "a", None)
    assert (row["status"], row["why"]) == ("deferred", journal.NOT_REACHED)


def test_what_was_put_off_last_waits_and_what_failed_three_times_is_stubborn(opened: Open) -> None:
    acme = opened()
    for run, (first, second) in {"r1": ("failed", "done"), "r2": ("failed", "deferred"), "r3": ("failed", "x")}.items():
        intend(acme, delta("a"), *([delta("b")] if second != "x" else []), run=run)
        with acme.begin() as connection:
            for intent, status in ((delta("a"), first), (delta("b"), second)):
                number = journal.send(connection, acme, run, 0, intent, NOW)
                if number is not None:
                    journal.settle(connection, number, Outcome(status), "")
    with acme.begin() as connection:
        turns = journal.turns(connection, acme, NOW, ["a", "b"])
        assert turns == Turns(waiting=frozenset({("crm", "b")}), stubborn=frozenset({("crm", "a")}))
        assert journal.turns(connection, acme, NOW + timedelta(seconds=1), ["a", "b"]) == Turns(), "too old"
        assert journal.turns(connection, acme, NOW, ["b"]).stubborn == frozenset(), "nobody asked"


def stored(digest: str = "ab" * 32) -> Stored:
    meant = {"1" * 64: Meant("create", "key", "ann@acme.example"), "scope:x": Meant("release", "primary", None)}
    violation = Violation("create", 5, 3, 7, "of 7 records")
    return Stored(digest=digest, run="run", made_at=NOW, meant=meant, violations=[violation])


def consented(digest: str = "ab" * 32, *, until: datetime = NOW + timedelta(days=1)) -> Approval:
    return Approval(digest=digest, by="Jo", why="opening", origin="here", at=NOW, expires_at=until)


def test_a_stored_plan_is_found_by_its_prefix_with_all_that_it_was(opened: Open) -> None:
    acme, other = opened(), opened("other")
    with acme.begin() as connection:
        consents.save_plan(connection, acme, stored())
        [plan] = consents.find_plans(connection, acme, "abab")
        assert plan == replace(stored(), violations=tuple(stored().violations))
        assert (plan.counts, plan.agents) == ({"create": 1, "release": 1}, {"ann@acme.example": 1})
        assert consents.find_plans(connection, acme, "a_") == [], "a prefix is digits, not a pattern"
        assert consents.find_plans(connection, other, "abab") == []


def test_of_plans_that_nobody_consented_to_the_newest_are_kept(opened: Open) -> None:
    acme, other = opened(), opened("other")
    digests = [f"{number:064x}" for number in range(consents.KEPT + 3)]
    with acme.begin() as connection:
        consents.save_plan(connection, other, stored())
        for number, digest_ in enumerate(digests):
            consents.save_plan(connection, acme, replace(stored(digest_), made_at=NOW + timedelta(minutes=number)))
            if number == 1:
                consents.approve(connection, acme, consented(digest_))
        left = [plan.digest for plan in consents.find_plans(connection, acme, "")]
        assert sorted(left) == [digests[1], *digests[3:]]
        assert len(consents.find_plans(connection, other, "")) == 1


def test_a_consent_is_used_once_and_its_plan_with_it_until_that_is_stored_again(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        consents.save_plan(connection, acme, stored())
        number = consents.approve(connection, acme, consented())
        [given] = consents.unused(connection, acme, NOW)
        assert given == replace(consented(), number=number)
        consents.use(connection, acme, [given], "run2", NOW)
        assert consents.unused(connection, acme, NOW) == []
        assert [(one.by, one.used_by) for one in consents.last_approvals(connection, acme)] == [("Jo", "run2")]
        assert consents.find_plans(connection, acme, "abab")[0].used_by == "run2"
        consents.save_plan(connection, acme, stored())
        assert consents.find_plans(connection, acme, "abab")[0].used_by is None


def test_a_consent_that_is_used_at_once_is_written_down_too(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        consents.save_plan(connection, acme, stored())
        consents.use(connection, acme, [consented()], "run2", NOW)
        assert [(one.why, one.used_by) for one in consents.last_approvals(connection, acme)] == [("opening", "run2")]


def test_consents_are_unused_until_they_expire_and_each_job_has_its_own(opened: Open) -> None:
    acme, other = opened(), opened("other")
    with acme.begin() as connection:
        consents.approve(connection, acme, consented(until=NOW + timedelta(hours=1)))
        assert len(consents.unused(connection, acme, NOW)) == 1
        assert consents.unused(connection, acme, NOW + timedelta(hours=1)) == []
        assert consents.unused(connection, other, NOW) == []
        assert consents.last_approvals(connection, other) == []


def test_what_was_or_may_have_been_written_is_counted_and_what_was_consented_to_is_not(opened: Open) -> None:
    acme, other = opened(), opened("other")
    fates: tuple[tuple[str, Outcome | None], ...] = (
        ("a", Outcome.DONE), ("b", Outcome.UNKNOWN), ("c", None), ("d", Outcome.ALREADY), ("e", Outcome.CONFLICT),
        ("f", Outcome.FAILED), ("g", Outcome.DEFERRED),
    )  # fmt: skip
    intend(acme, *(delta(key) for key, _ in fates), delta("h"), run="r1", approved={identity(delta("a")): "ab" * 32})
    with acme.begin() as connection:
        for key, outcome in fates:
            number = journal.send(connection, acme, "r1", 0, delta(key), NOW)
            assert number is not None
            if outcome is not None:
                journal.settle(connection, number, outcome, "")
        counted = consents.written_since(connection, acme, NOW)
        assert counted == {delta("a").action.value: 2}, "unknown and sent; h is planned, a was consented to"
        assert consents.written_since(connection, acme, NOW + timedelta(seconds=1)) == {}
        assert consents.written_since(connection, other, NOW) == {}


def finding(key: str) -> Finding:
    return Finding(key=key, kind=Kind.AMBIGUOUS, severity=Severity.MEDIUM, remedy=Remedy.HUMAN, why="x")


def test_a_finding_keeps_its_first_sighting_and_is_resolved_when_it_is_gone(opened: Open) -> None:
    acme, later = opened(), NOW + timedelta(hours=1)
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [finding("k"), finding("l")], {}, NOW)
        before = ledger.sightings(connection, acme, ["k", "l"])
        ledger.save_findings(connection, acme, [finding("k")], before, later)
        assert ledger.sightings(connection, acme, ["k", "l"]) == {"k": (NOW, 2, NOW, False, False)}
        gone = ledger.find_finding(connection, acme, "l")
        assert gone is not None
        assert gone["resolved_at"] == codec.epoch(later)


def as_stored(connection: Connection, opened: State, key: str) -> dict[str, Any]:
    row = ledger.find_finding(connection, opened, key)
    assert row is not None
    return row


def test_a_finding_keeps_its_deltas_and_the_worst_that_became_of_them(opened: Open) -> None:
    acme = opened()
    both = [replace(delta(), finding="k", outcome=outcome, why="because") for outcome in (Outcome.DONE, Outcome.FAILED)]
    rich = replace(
        finding("k"), has={Side.CRM: {"title": "Showing"}}, changed=NOW, clues=("origin:zapier",), calendar=7
    )
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [rich, finding("l")], {}, NOW, taken=both)
        row, bare = (as_stored(connection, acme, key) for key in ("k", "l"))
    assert (row["outcome"], row["calendar"], bare["outcome"]) == ("failed", 7, None)
    assert row["payload"]["has"] == {"crm": {"title": "Showing"}}
    assert (row["payload"]["changed"], row["payload"]["clues"]) == (codec.epoch(NOW), ["origin:zapier"])
    assert [one["outcome"] for one in row["payload"]["taken"]] == ["done", "failed"]
    assert bare["payload"]["taken"] == []


def test_every_outcome_has_its_place_among_the_worst() -> None:
    assert sorted(ledger.WORST) == sorted(Outcome)


def test_what_is_pending_settles_once_and_is_told_with_its_first_sighting(opened: Open) -> None:
    acme, later = opened(), NOW + timedelta(hours=1)
    young = replace(finding("k"), clues=("pending",))
    with acme.begin() as connection:
        first = ledger.save_findings(connection, acme, [young], {}, NOW)
        before = ledger.sightings(connection, acme, ["k"])
        second = ledger.save_findings(connection, acme, [finding("k")], before, later)
        again = ledger.sightings(connection, acme, ["k"])
        third = ledger.save_findings(connection, acme, [young], again, later + timedelta(hours=1))
    assert (first.settled, second.settled, third.settled) == ({}, {"k": NOW}, {})
    assert (before["k"].settled_at, again["k"].settled_at) == (None, later)


def test_what_was_written_is_neither_open_nor_resolved_and_what_ended_by_itself_is_resolved(opened: Open) -> None:
    acme = opened()
    found = [replace(finding(key), agent=ANN.email) for key in ("written", "there", "left", "young")]
    found[0] = replace(found[0], remedy=Remedy.FIX)
    found[3] = replace(found[3], clues=("pending",))
    done = replace(delta(), finding="written", outcome=Outcome.DONE)
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [*found, finding("nobody's")], {}, NOW, taken=[done])
        assert ledger.open_by_agent(connection, acme) == {ANN.email: 2, None: 1}
        before = ledger.sightings(connection, acme, ["left"])
        saved = ledger.save_findings(connection, acme, [found[2]], before, NOW)
        assert {agent for agent, _, _ in saved.resolved} == {ANN.email, None}
        assert sum(saved.resolved.values()) == 2
        assert ledger.open_by_agent(connection, acme) == {ANN.email: 1}


def test_what_a_person_decides_is_open_and_resolved_though_some_of_it_was_written(opened: Open) -> None:
    acme = opened()
    done, found = replace(delta(), finding="k", outcome=Outcome.DONE), finding("k")
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [found], {}, NOW, taken=[done])
        assert ledger.open_by_agent(connection, acme) == {None: 1}
        before = ledger.sightings(connection, acme, ["k"])
        assert ledger.save_findings(connection, acme, [finding("k")], before, NOW + timedelta(hours=1)).settled == {}
        assert ledger.save_findings(connection, acme, [], {}, NOW + timedelta(hours=2)).resolved == {
            (None, found.kind, found.severity): 1
        }


@pytest.mark.parametrize(
    ("outcome", "is_back"), [(Outcome.ALREADY, False), (Outcome.DONE, True), (Outcome.DEFERRED, True)]
)
def test_what_had_been_put_right_is_back_unless_it_had_merely_not_arrived_yet(
    opened: Open, outcome: Outcome, *, is_back: bool
) -> None:
    acme, later, one = opened(), NOW + timedelta(hours=1), replace(finding("k"), remedy=Remedy.FIX)
    done, again = (replace(delta(), finding="k", outcome=each) for each in (Outcome.DONE, outcome))
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [one], {}, NOW, taken=[done])
        before = ledger.sightings(connection, acme, ["k"])
        saved = ledger.save_findings(connection, acme, [one], before, later, taken=[again])
        told_from = ledger.sightings(connection, acme, ["k"])["k"].settled_at
    assert (saved.settled, told_from) == (({"k": later}, later) if is_back else ({}, NOW))


def test_what_nobody_looked_at_is_not_resolved(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        ledger.save_findings(connection, acme, [finding("k")], {}, NOW)
        assert not ledger.save_findings(connection, acme, [], {}, NOW, lambda _key, _agent: False).resolved
        assert ledger.open_by_agent(connection, acme) == {None: 1}


def test_a_day_adds_up_by_office_and_its_last_word_on_what_is_open_stands(opened: Open) -> None:
    acme, other, day = opened(), opened("other"), NOW.date()
    morning = Sums(runs=1, found=3, delayed=1, delay=60, longest=60, kinds=Counter({"missing_in_crm": 3}))
    noon = Sums(runs=1, found=1, delayed=1, delay=30, longest=30, kinds=Counter({"missing_in_crm": 1, "conflict": 1}))
    with acme.begin() as connection:
        days.add(connection, acme, day, {"": morning, "Uptown": Sums(fixed=2)}, {"": 2, "Uptown": 5})
        days.add(connection, other, day, {"": Sums(runs=9)}, {})
        days.add(connection, acme, day, {"": noon}, {"": 1})
        query = select(days_table).where(days_table.c.job == acme.job).order_by(days_table.c.office)
        whole, uptown = connection.execute(query).mappings()
    assert (whole["runs"], whole["found"], whole["delayed"], whole["delay"], whole["longest"]) == (2, 4, 2, 90, 60)
    assert codec.load(whole["kinds"]) == {"missing_in_crm": 4, "conflict": 1}
    assert (whole["open"], uptown["open"], uptown["fixed"]) == (1, 0, 2)


def test_a_run_keeps_its_command_and_how_it_ended(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        for name, how in (("run", None), ("revert", "The CRM can't be reached.")):
            state.begin_run(connection, acme, name, NOW, name)
            state.end_run(connection, acme, name, NOW, state.Ended("refused", 5, "", {}, how, {"status": "refused"}))
        second, first = state.last_runs(connection, acme)
    assert (first["command"], first["why"]) == ("run", None)
    assert (second["command"], second["why"]) == ("revert", "The CRM can't be reached.")
    assert codec.load(second["result"]) == {"status": "refused"}


def test_what_was_heard_only_moves_on_and_not_past_now(opened: Open) -> None:
    acme = opened()
    (mine,) = watch(acme)
    with acme.begin() as connection:
        for at in (NOW, NOW - timedelta(hours=1), NOW + timedelta(days=9)):
            state.hear(connection, {mine.id: at}, NOW + timedelta(hours=2))
        heard = connection.execute(select(calendars.c.heard_at)).scalar_one()
    assert heard == codec.epoch(NOW + timedelta(hours=2))


def test_watching_begins_once(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        assert state.watched_since(connection, acme) is None
        state.watch_from(connection, acme, NOW)
        state.watch_from(connection, acme, NOW + timedelta(hours=1))
        assert state.watched_since(connection, acme) == NOW


def write(acme: State, run: str, key: str, *, ends: bool) -> None:
    """Let a run write one record of Ann's, and end or die."""
    one = replace(delta(key), agent=ANN.email)
    with acme.begin() as connection:
        epoch = state.begin_run(connection, acme, run, NOW)
        journal.intend(connection, acme, [one, delta(f"{key}, not reached")], run=run, epoch=epoch, now=NOW)
        number = journal.send(connection, acme, run, epoch, one, NOW)
        assert number is not None
        journal.settle(connection, number, Outcome.DONE, "")
        if ends:
            state.end_run(connection, acme, run, NOW, state.Ended("applied", 0, "", {}))


def test_what_a_run_that_died_had_written_is_counted_by_the_next_one_that_ends(opened: Open) -> None:
    acme = opened()
    write(acme, "r1", "a", ends=True)
    write(acme, "r2", "b", ends=False)
    write(acme, "r3", "c", ends=False)
    write(opened("other"), "r4", "d", ends=False)
    with acme.begin() as connection:
        assert {agent: count for (agent, _), count in journal.done_since_last(connection, acme).items()} == {
            ANN.email: 2
        }
        state.end_run(connection, acme, "r3", NOW, state.Ended("applied", 0, "", {}))
        assert journal.done_since_last(connection, acme) == {}


def test_the_journal_names_the_finding_that_a_write_puts_right(opened: Open) -> None:
    acme = opened()
    intend(acme, replace(delta("a"), finding="k"), delta("b"))
    with acme.begin() as connection:
        named, nameless = (journal.history(connection, acme, key, None)[0] for key in ("a", "b"))
    assert (named["finding"], named["kind"]) == ("k", delta("a").kind)
    assert (nameless["finding"], nameless["kind"]) == (None, None)


def test_epochs_rise_with_every_run(opened: Open) -> None:
    acme = opened()
    with acme.begin() as connection:
        epochs = [state.begin_run(connection, acme, run, NOW) for run in ("r1", "r2", "r3")]
    assert epochs == [1, 2, 3]


# ---- lock -----------------------------------------------------------------------------------------------------------


def test_a_file_has_one_lock_by_whatever_name_it_is_opened(tmp_path: Path) -> None:
    mine = open_state(f"sqlite:///{tmp_path}/state.db", "acme").engine
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "link.db").symlink_to(tmp_path / "state.db")
    other = open_state(f"sqlite:///{tmp_path}/jobs/link.db", "acme").engine
    with run_lock(mine, "crm"), pytest.raises(LockedError), run_lock(other, "crm"):
        pass
    assert {path.stat().st_mode & 0o777 for path in tmp_path.rglob("*.lock")} == {0o600}
    mine.dispose()
    other.dispose()


def test_one_run_holds_the_lock_and_its_end_frees_it(opened: Open) -> None:
    acme, other = opened(), opened()
    with run_lock(acme.engine, "crm"):
        with pytest.raises(LockedError), run_lock(other.engine, "crm"):
            pass
        with run_lock(other.engine, "another crm"):
            pass
    with run_lock(other.engine, "crm"):
        pass
