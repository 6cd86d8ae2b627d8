"""Random worlds, run after run: whatever changes in between, what is promised has to hold after each one."""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from contextlib import AbstractContextManager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule
from sqlalchemy import Connection

from reconciler.result import Result
from reconciler.store.state import State
from tests.e2e.world import NOW, World, event

pytestmark = pytest.mark.slow

ANN, BOB, ZED = "ann@acme.example", "bob@acme.example", "zed@other.example"
CALENDARS = {"ann": ANN, "ann2": ANN, "bob": BOB, "room": "room@acme.example"}
UIDS = ("u1", "u2", "u3", "")
SLOTS = (-40.0, -5.0, -0.02, 0.05, 2.0, 2.002, 3.0, 59.9, 200.0)
ORGANIZERS = ("", ANN, BOB, "boss@outside.example")
STATUSES = ("scheduled", "cancelled", "completed", "vanished")
KINDS = (
    "",
    "",
    "STATUS:CANCELLED",
    "CLASS:PRIVATE",
    "RRULE:FREQ=WEEKLY;COUNT=3",
    "TRANSP:TRANSPARENT",
    "DTSTART:nonsense",
)
OWNERS = (ANN, BOB, ZED, "room@acme.example")
OPTIONAL = ("key", "version", "updated", "all_day", "contact", "location", "title")
LIMITS = 'create = "900"\nupdate = "900"\ncancel = "900"\nagent_cancel = "900"'

calendars = st.sampled_from(tuple(CALENDARS))
uids = st.sampled_from(UIDS)
slots = st.sampled_from(SLOTS)
numbers = st.integers(0, 7)


class Killed(BaseException):
    """What a SIGKILL is to a test: nothing after it runs."""


class Poor(World):
    """A world whose job file maps only some of the CRM's columns."""

    lacks: frozenset[str] = frozenset()

    def job(self) -> Path:
        path = super().job()
        lines = path.read_text().splitlines()
        path.write_text("\n".join(line for line in lines if line.partition(" = ")[0] not in self.lacks))
        return path


class Worlds(RuleBasedStateMachine):
    """One brokerage. `events` is what the files say, by calendar and UID; all else is read back from the world."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="world-"))
        self.world = Poor(self.folder, agents=(), limits=LIMITS)
        self.events: dict[str, dict[str, str]] = {name: {} for name in CALENDARS}
        self.broken: set[str] = set()
        self.left_out: set[str] = set()
        self.leavers: set[str] = set()
        self.absence = "report"
        self.torn = False  # a run was killed and none has ended since
        for name in CALENDARS:
            self.write(name)

    def teardown(self) -> None:
        try:
            self.come_to_rest()
        finally:
            shutil.rmtree(self.folder)

    # ---- the calendar side

    @initialize(
        per_agent=st.booleans(),
        first=st.sampled_from(["newer", "calendar", "report"]),
        lacks=st.one_of(st.just(frozenset[str]()), st.frozensets(st.sampled_from(OPTIONAL))),
        evidence=st.booleans(),
        events=st.lists(
            st.tuples(calendars, uids, slots, st.sampled_from(ORGANIZERS), st.sampled_from(KINDS)), max_size=9
        ),
        rows=st.lists(st.tuples(uids, st.sampled_from(OWNERS), slots, st.sampled_from(STATUSES)), max_size=5),
    )
    def job(
        self,
        *,
        per_agent: bool,
        first: str,
        lacks: frozenset[str],
        evidence: bool,
        events: list[tuple[str, str, float, str, str]],
        rows: list[tuple[str, str, float, str]],
    ) -> None:
        self.world.crm = 'record_per = "agent"' if per_agent else ""
        self.world.policy = f'first = "{first}"'
        self.world.lacks = lacks
        self.absence = "evidence" if evidence else "report"
        for entry in events:
            self.put_event(*entry)
        for row in rows:
            self.insert_row(*row)

    @rule(calendar=calendars, uid=uids, slot=slots, organizer=st.sampled_from(ORGANIZERS), kind=st.sampled_from(KINDS))
    def put_event(self, calendar: str, uid: str, slot: float, organizer: str, kind: str) -> None:
        extra = (f"ORGANIZER:mailto:{organizer}\r\n" if organizer else "") + (f"{kind}\r\n" if kind else "")
        entry = event(uid, NOW + timedelta(days=slot), extra=extra)
        self.events[calendar][uid] = entry if uid else entry.replace("UID:\r\n", "")
        self.write(calendar)

    @rule(calendar=calendars, uid=uids)
    def drop_event(self, calendar: str, uid: str) -> None:
        self.events[calendar].pop(uid, None)
        self.write(calendar)

    @rule(one=calendars, other=calendars, uid=uids)
    def move_event(self, one: str, other: str, uid: str) -> None:
        if uid in self.events[one]:
            self.events[other][uid] = self.events[one].pop(uid)
            self.write(one)
            self.write(other)

    @rule(calendar=calendars)
    def break_or_mend(self, calendar: str) -> None:
        self.broken ^= {calendar}
        self.write(calendar)

    def write(self, calendar: str) -> None:
        self.world.write(f"{calendar}@", *self.events[calendar].values())
        if calendar in self.broken:
            file = self.world.file(calendar)
            file.write_bytes(file.read_bytes()[:-20])

    # ---- the CRM side

    @rule(
        uid=uids,
        agent=st.sampled_from(OWNERS),
        slot=slots,
        status=st.sampled_from(STATUSES),
    )
    def insert_row(self, uid: str, agent: str, slot: float, status: str) -> None:
        with suppress(Exception):  # the key is taken
            self.world.insert(uid or None, NOW + timedelta(days=slot), agent_email=agent, status=status)

    @rule(number=numbers, slot=slots)
    def reschedule_row(self, number: int, slot: float) -> None:
        start = NOW + timedelta(days=slot)
        times = (f"{start:%Y-%m-%d %H:%M:%S}", f"{start + timedelta(hours=1):%Y-%m-%d %H:%M:%S}")
        self.edit(number, "starts_at = ?, ends_at = ?", *times)

    @rule(number=numbers, status=st.sampled_from(STATUSES))
    def set_status(self, number: int, status: str) -> None:
        self.edit(number, "status = ?", status)

    @rule(number=numbers, agent=st.sampled_from([ANN, BOB, ZED, None]))
    def reassign_row(self, number: int, agent: str | None) -> None:
        self.edit(number, "agent_email = ?", agent)

    @rule(number=numbers)
    def spoil_row(self, number: int) -> None:
        self.edit(number, "starts_at = 'soon'")

    @rule(number=numbers)
    def delete_row(self, number: int) -> None:
        if (crm_id := self.row(number)) is not None:
            self.world.sql("DELETE FROM appointments WHERE id = ?", crm_id)

    @rule(number=numbers)
    def recreate_row(self, number: int) -> None:
        if (crm_id := self.row(number)) is not None:
            self.world.sql("UPDATE appointments SET id = id + 1000, version = 1 WHERE id = ?", crm_id)

    def row(self, number: int) -> int | None:
        ids = [row[0] for row in self.world.rows("id")]
        return ids[number % len(ids)] if ids else None

    def edit(self, number: int, change: str, *values: str | None) -> None:
        if (crm_id := self.row(number)) is not None:
            stamp = f"{self.world.now:%Y-%m-%d %H:%M:%S}"
            more = "version = version + 1, updated_at = ?"
            self.world.sql(f"UPDATE appointments SET {change}, {more} WHERE id = ?", *values, stamp, crm_id)  # noqa: S608

    # ---- time and the job file

    @rule(days=st.sampled_from([0.01, 1.0, 10.0, 50.0]))
    def wait(self, days: float) -> None:
        self.world.now += timedelta(days=days)

    @rule(calendar=calendars)
    def leave_out_or_take_back(self, calendar: str) -> None:
        if self.left_out | {calendar} != set(CALENDARS):
            self.left_out ^= {calendar}

    @rule(agent=st.sampled_from([ANN, BOB]))
    def leave_or_return(self, agent: str) -> None:
        self.leavers ^= {agent}

    def describe(self) -> None:
        sources = []
        for name, agent in CALENDARS.items():
            if name in self.left_out:
                continue
            role = "room" if name == "room" else "agent"
            state = "left" if agent in self.leavers else "active"
            table = f"agent,calendar,role,state\n{agent},{name}.ics,{role},{state}\n"
            (self.folder / f"{name}.csv").write_text(table)
            agents = f'agents = {{ file = "{name}.csv" }}\nabsence = "{self.absence}"'
            sources.append(f'[[source]]\nkind = "ics"\nname = "{name}"\n{agents}\n')
        self.world.sources = "".join(sources)

    # ---- runs, and what has to hold after each

    @rule(full=st.booleans(), only=st.booleans(), dry=st.booleans())
    def run(self, *, full: bool, only: bool, dry: bool) -> None:
        self.look(full=full, only=frozenset({ANN}) if only else None, dry=dry)

    @rule()
    def run_plainly(self) -> None:
        self.look()

    @rule(fatal=st.integers(1, 25))
    def kill(self, fatal: int) -> None:
        opened = iter(range(1, fatal))
        begin = State.begin

        def dying(state: State) -> AbstractContextManager[Connection]:
            if next(opened, None) is None:
                raise Killed
            return begin(state)

        self.describe()
        with patch.object(State, "begin", dying), suppress(Killed):
            self.world.run()
        self.torn = True

    def look(self, *, full: bool = False, only: frozenset[str] | None = None, dry: bool = False) -> Result:
        self.describe()
        before = self.rows()
        planned = self.world.dry(full=full, only=only)
        assert self.rows() == before, "a dry run writes nothing"
        if dry:
            return planned
        result = self.world.run(full=full, only=only)
        if not self.torn:
            assert result.digest == planned.digest, "a dry run and the run after it share their digest"
        self.torn = False
        self.check(before, result)
        return result

    def check(self, before: dict[int, tuple[Any, ...]], result: Result) -> None:
        after = self.rows()
        touched = {delta.crm_id for delta in result.deltas if delta.outcome == "done"}
        changed = {str(crm_id) for crm_id in after if after[crm_id] != before.get(crm_id)}
        assert changed <= touched, "only what the plan names is written"
        assert before.keys() <= after.keys(), "no row is ever removed"
        assert not [row for row in self.journal() if row["status"] == "sent"]
        made = {row["crm_id"]: (row["key"], row["agent"]) for row in self.journal() if row["action"] == "create"}
        live = Counter(made[str(row[0])] for row in after.values() if str(row[0]) in made and row[9] == "scheduled")
        assert all(count == 1 for count in live.values()), "no event was given two records"
        for delta in result.deltas:
            if delta.action in {"cancel", "delete"} and delta.outcome == "done":
                self.check_evidence(str(delta.event))

    def check_evidence(self, name: str) -> None:
        uid = name.partition("/")[0]
        said = [entries[uid] for entries in self.events.values() if uid in entries]
        assert self.absence == "evidence" or any("STATUS:CANCELLED" in entry or "RRULE" in entry for entry in said), (
            "a cancel has evidence"
        )

    def come_to_rest(self) -> None:
        for _ in range(2):
            self.look()
        rows, written = self.rows(), len(self.journal())
        third = self.look()
        assert [delta for delta in third.deltas if delta.outcome != "held"] == []
        assert (self.rows(), len(self.journal())) == (rows, written)

    def rows(self) -> dict[int, tuple[Any, ...]]:
        return {row[0]: row for row in self.world.rows()}

    def journal(self) -> list[Any]:
        return self.world.journal()


TestWorlds = Worlds.TestCase
TestWorlds.settings = settings(
    max_examples=settings().max_examples // 12,  # each is a dozen whole runs on real files and databases
    stateful_step_count=8,
    suppress_health_check=[HealthCheck.too_slow],
)
