"""What `state prune` may drop, and what it never does, on SQLite and on PostgreSQL by the same tests."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, func, insert, select

from reconciler.config.sections import Retention
from reconciler.store import erasing, pruning
from reconciler.store.schema import (
    approvals,
    deliveries,
    findings,
    journal,
    metadata,
    plans,
    quota,
    runs,
    slots,
)
from reconciler.store.state import State, open_state
from reconciler.store.written import written_by

NOW = datetime(2026, 11, 22, 17, 0, tzinfo=UTC)
DAY = timedelta(days=1)
DEFAULT = Retention()
CANARY = "canary-of-an-image"


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def acme(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[State]:
    url = f"sqlite:///{tmp_path}/state.db"
    if request.param == "postgres":
        url = request.getfixturevalue("postgres_database")()
    state = open_state(url, "acme")
    yield state
    state.engine.dispose()


def at(days: float) -> int:
    return int((NOW - days * DAY).timestamp())


def put(state: State, table: Table, *rows: dict[str, Any]) -> None:
    known = {column.name for column in table.c}
    mine = {"job": state.job} if "job" in known else {}
    with state.begin() as connection:
        connection.execute(insert(table), [{**mine, **row} for row in rows])


def write(number: int, days: float, status: str = "done", **values: Any) -> dict[str, Any]:
    return {
        "id": number,
        "run": f"R{number}",
        "idempotency_key": f"k{number}",
        "epoch": number,
        "action": "update",
        "side": "crm",
        "key": f"key{number}",
        "crm_id": str(number),
        "content": b"c",
        "before": f'{{"title":"{CANARY}"}}',
        "after": f'{{"title":"{CANARY} new"}}',
        "status": status,
        "at": at(days),
        "approval": None,
        "version": "1",
        **values,
    }


def ran(number: int, days: float, code: int | None = 0, **values: Any) -> dict[str, Any]:
    return {"id": f"R{number}", "started_at": at(days), "epoch": number, "exit_code": code, "compared": True, **values}


def left(state: State, table: Table, column: str) -> list[Any]:
    with state.begin() as connection:
        mine = table.c.job == state.job if "job" in table.c else table.c[column].is_not(None)
        return list(connection.execute(select(table.c[column]).where(mine).order_by(table.c[column])).scalars())


def everything(state: State) -> dict[str, int]:
    with state.begin() as connection:
        count = func.count()
        return {
            table.name: connection.execute(select(count).select_from(table)).scalar_one()
            for table in metadata.sorted_tables
        }


def test_images_go_first_and_what_was_done_stays_known(acme: State) -> None:
    put(acme, journal, write(1, 91), write(2, 89), write(3, 400))
    assert pruning.prune(acme, DEFAULT, NOW).counts["images"] == 2
    with acme.begin() as connection:
        rows = connection.execute(select(journal).order_by(journal.c.id)).all()
    assert [(row.id, row.before is None, row.after is None, row.status, row.content) for row in rows] == [
        (1, True, True, "done", b"c"),
        (2, False, False, "done", b"c"),
        (3, True, True, "done", b"c"),
    ]


def test_what_a_run_has_to_come_back_to_stays_whole_however_old(acme: State) -> None:
    put(acme, journal, write(1, 900, "sent"), write(2, 900, "unknown"), write(3, 900, "planned"), write(4, 900))
    put(acme, runs, ran(1, 900), ran(2, 900), ran(3, 900), ran(4, 900), ran(5, 1))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, journal, "id") == [1, 2, 3]
    assert None not in left(acme, journal, "before")
    assert left(acme, runs, "id") == ["R1", "R2", "R3", "R5"]


def test_nothing_that_flapping_or_a_revert_looks_at_goes_whatever_the_job_file_says(acme: State) -> None:
    short = Retention.model_validate(dict.fromkeys(("images", "journal", "runs", "findings", "deliveries"), "1s"))
    put(acme, journal, write(1, 9), write(2, 7.5), write(3, 0.5))
    put(acme, runs, ran(1, 9), ran(2, 7.5), ran(3, 0.5))
    pruning.prune(acme, short, NOW)
    assert left(acme, journal, "id") == [2, 3]
    assert left(acme, runs, "id") == ["R2", "R3"]
    with acme.begin() as connection:
        assert [entry.before for entry in written_by(connection, acme, "R3")] == [{"title": CANARY}]


def test_what_is_said_of_its_age_is_what_it_goes_by() -> None:
    floor = dict.fromkeys(("journal", "runs", "findings", "deliveries"), 8 * DAY)
    short = DEFAULT.model_copy(update=dict.fromkeys((*floor, "images"), timedelta(hours=1)))
    assert pruning.ages(short) == {**floor, "images": DAY}
    assert pruning.ages(DEFAULT) == {name: getattr(DEFAULT, name) for name in (*floor, "images")}


def test_the_last_run_of_each_kind_stays_so_that_its_age_is_known(acme: State) -> None:
    put(acme, runs, ran(1, 800), ran(2, 700), ran(3, 600, 4), ran(4, 500, 4))
    put(acme, runs, ran(5, 450, None), ran(6, 1, 75))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, runs, "id") == ["R2", "R4", "R5", "R6"]


def test_a_consent_that_stands_keeps_its_plan_its_run_and_what_was_written_by_it(acme: State) -> None:
    consent = {"digest": "d1", "by": "Ops", "why": "a move", "origin": "", "at": at(800), "used_by": "R1"}
    put(acme, approvals, {**consent, "expires_at": at(-1)}, {**consent, "digest": "d2", "expires_at": at(799)})
    plan = {"run": "R1", "made_at": at(800), "identities": "{}", "violations": "[]"}
    put(acme, plans, {**plan, "digest": "d1"}, {**plan, "digest": "d2"}, {**plan, "digest": "d3", "made_at": at(30)})
    put(acme, journal, write(1, 800, approval="d1"), write(2, 800, approval="d2"))
    put(acme, runs, ran(1, 800), ran(2, 1))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, approvals, "digest") == ["d1"]
    assert left(acme, plans, "digest") == ["d1", "d3"]
    assert left(acme, journal, "id") == [1]
    assert left(acme, runs, "id") == ["R1", "R2"]


def test_findings_go_when_they_were_resolved_long_ago_and_open_ones_never(acme: State) -> None:
    row = {"kind": "conflict", "severity": "low", "payload": "{}", "first_seen": at(900), "last_seen": at(800)}
    row |= {"sightings": 1, "resolved_at": None}
    put(acme, findings, {**row, "key": "open"}, {**row, "key": "old", "resolved_at": at(401)})
    put(acme, findings, {**row, "key": "young", "resolved_at": at(399)})
    assert pruning.prune(acme, DEFAULT, NOW).counts["findings"] == 1
    assert left(acme, findings, "key") == ["open", "young"]


def test_a_channels_latest_reports_and_what_is_owed_stay_however_old(acme: State) -> None:
    def told(number: int, status: str = "sent") -> dict[str, Any]:
        stamps = {"since_at": at(900 - number), "until_at": at(899 - number), "claimed_at": at(899 - number)}
        names = {"channel": "c", "name": "mail", "kind": "report", "digest": f"d{number}", "message_id": "m"}
        return {"id": number, "status": status, **names, **stamps}

    put(acme, deliveries, told(1), *(told(number) for number in range(2, 14)), told(14, "refused"))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, deliveries, "id") == list(range(5, 15))


def test_the_report_that_reached_a_channel_last_and_all_that_is_owed_stay_however_many_failed_since(
    acme: State,
) -> None:
    def told(number: int, status: str) -> dict[str, Any]:
        stamps = {"since_at": at(900 - number), "until_at": at(899 - number), "claimed_at": at(899 - number)}
        names = {"channel": "c", "name": "mail", "kind": "report", "digest": f"d{number}", "message_id": "m"}
        return {"id": number, "status": status, **names, **stamps}

    put(acme, deliveries, told(1, "sent"), told(2, "sent"), *(told(number, "refused") for number in range(3, 18)))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, deliveries, "id") == list(range(2, 18))


def test_of_slots_the_latest_and_the_latest_served_stay_of_each_command(acme: State) -> None:
    def slot(command: str, days: float, *, ended: bool = True) -> dict[str, Any]:
        end = at(days) if ended else None
        return {"command": command, "slot": at(days), "began_at": at(days), "ended_at": end}

    put(acme, slots, slot("run", 500), slot("run", 450), slot("run", 440, ended=False), slot("report", 900))
    put(acme, slots, slot("run", 460, ended=False))
    pruning.prune(acme, DEFAULT, NOW)
    assert left(acme, slots, "slot") == sorted([at(450), at(440), at(900)])


def test_another_jobs_rows_are_none_of_its_business(acme: State) -> None:
    put(acme, journal, write(1, 900, job=acme.job + 1))
    put(acme, runs, ran(1, 900, job=acme.job + 1)) if acme.engine.dialect.name == "sqlite" else None
    pruning.prune(acme, DEFAULT, NOW)
    assert everything(acme)["journal"] == 1


def test_counting_says_what_dropping_does_and_writes_nothing(acme: State) -> None:
    put(acme, journal, write(1, 91), write(2, 900), write(3, 1))
    put(acme, runs, ran(1, 91), ran(2, 900), ran(3, 900), ran(4, 1))
    put(acme, quota, {"provider": "google", "scope": "minute", "level": 1.0, "at": float(at(40))})
    before = everything(acme)
    counted = pruning.count(acme, DEFAULT, NOW)
    assert everything(acme) == before
    assert {what: number for what, number in counted.counts.items() if number} == {
        "images": 1,
        "journal": 1,
        "runs": 1,
        "budgets": 1,
    }
    assert pruning.prune(acme, DEFAULT, NOW).counts == counted.counts
    assert not any(pruning.prune(acme, DEFAULT, NOW).counts.values())


def test_many_rows_go_in_several_steps_and_each_is_counted_once(acme: State, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pruning, "STEP", 3)
    put(acme, journal, *(write(number, 91 if number % 2 else 900) for number in range(1, 21)))
    done = pruning.prune(acme, DEFAULT, NOW).counts
    assert (done["images"], done["journal"]) == (10, 10)


def test_a_prune_that_is_killed_on_the_way_is_finished_by_the_next(
    acme: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP", 2)
    put(acme, journal, *(write(number, 900) for number in range(1, 8)))
    steps = 0

    def dies(keys: list[int]) -> list[list[int]]:
        nonlocal steps
        steps += 1
        if steps > 3:
            raise KeyboardInterrupt
        return [keys]

    with monkeypatch.context() as patched:
        patched.setattr(pruning, "batched", dies)
        with pytest.raises(KeyboardInterrupt):
            pruning.prune(acme, DEFAULT, NOW)
    gone = 7 - len(left(acme, journal, "id"))
    assert gone + pruning.prune(acme, DEFAULT, NOW).counts["journal"] == 7


def test_dropped_images_are_in_neither_the_file_nor_its_log(tmp_path: Path) -> None:
    state = open_state(f"sqlite:///{tmp_path}/state.db", "acme")
    try:
        with state.begin() as connection:  # some builds of SQLite do it anyhow
            assert connection.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
        put(state, journal, *(write(number, 91) for number in range(1, 60)))
        room = pruning.prune(state, DEFAULT, NOW).room
        assert room is not None
        assert room.is_flushed
        for file in tmp_path.glob("state.db*"):
            assert CANARY.encode() not in file.read_bytes(), file.name
    finally:
        state.engine.dispose()


def test_a_reader_keeps_the_log_and_prune_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = open_state(f"sqlite:///{tmp_path}/state.db", "acme")
    monkeypatch.setattr(erasing, "PATIENCE", 0)
    try:
        put(state, journal, write(1, 91))
        with state.reading() as reader:
            assert reader.execute(select(func.count()).select_from(journal)).scalar_one() == 1
            room = pruning.prune(state, DEFAULT, NOW).room
        assert room is not None
        assert not room.is_flushed
    finally:
        state.engine.dispose()
