"""What a run leaves for Prometheus is what its state says, however the run ended, and never names a person."""

from __future__ import annotations

import json
import stat
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, update

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.simulator.loopback import Fault
from reconciler.store.database import open_engine, run_lock
from reconciler.store.schema import deliveries
from reconciler.store.versions import HEAD
from tests.e2e.google_world import google_world
from tests.e2e.world import CLIENT, NOW, World, event
from tests.monitoring import Samples, samples

ANN, BOB = "ann@acme.example", "bob@acme.example"
JOB = '{job_name="acme"}'


@dataclass
class Measured:
    """A world whose job leaves its figures in a text file."""

    world: World
    metrics: str = 'textfile = "out/acme.prom"'
    sent: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        (self.world.folder / "out").mkdir()

    @property
    def file(self) -> Path:
        return self.world.folder / "out" / "acme.prom"

    def __call__(self, *words: str) -> int:
        path = self.world.job()
        path.write_text(f"{path.read_text()}\n[metrics]\n{self.metrics}\n")
        world = Outside(environ=self.world.environ, cwd=self.world.folder, clock=self.world.clock)
        return entry.call([*(words or ("run",)), str(path), "--quiet"], world)

    def read(self) -> Samples:
        return samples(self.file.read_text())


@pytest.fixture
def measured(make: Callable[..., World]) -> Callable[..., Measured]:
    return lambda **settings: Measured(make(**settings))


def test_an_export_says_what_the_state_says(measured: Callable[..., Measured]) -> None:
    run = measured(agents=(ANN, BOB))
    run.world.write(ANN, event("uid-1"), event("uid-2", NOW + timedelta(days=3)))
    assert run() == 0
    first = run.read()
    now = run.world.now.timestamp()
    for name in ("last_attempt", "last_success", "last_compared", "exported"):
        assert first[f"reconcile_{name}_timestamp_seconds{JOB}"] == now
    assert first[f"reconcile_last_exit_code{JOB}"] == 0
    fresh = '{job_name="acme",provider="ics",source="ics-ann",state="fresh"}'
    assert first[f"reconcile_calendars{fresh}"] == 1
    done = '{action="create",job_name="acme",outcome="done",side="crm"}'
    assert first[f"reconcile_run_deltas{done}"] == first[f"reconcile_deltas_total{done}"] == 2
    kind = '{job_name="acme",kind="missing_in_crm"}'
    assert first[f"reconcile_findings_fixed_total{kind}"] == 2
    assert not any(name.startswith("reconcile_open_findings") for name in first)
    assert first['reconcile_state_info{dialect="' + run_dialect(run) + '",job_name="acme",version="' + HEAD + '"}'] == 1

    run.world.now += timedelta(minutes=5)
    assert run() == 0
    again = run.read()
    assert again[f"reconcile_deltas_total{done}"] == 2
    assert f"reconcile_run_deltas{done}" not in again
    ended = '{command="run",exit_code="0",job_name="acme",status='
    assert again[f'reconcile_runs_total{ended}"applied"}}'] == again[f'reconcile_runs_total{ended}"in_sync"}}'] == 1


def run_dialect(run: Measured) -> str:
    return "postgresql" if run.world.state.startswith("env:") else "sqlite"


def test_no_label_is_a_person_and_the_file_can_be_read_by_others(tmp_path: Path) -> None:
    run = Measured(World(tmp_path, agents=(ANN, BOB), allow=()))
    run.world.write(ANN, event("uid-1", title="Visit of Jane Doe"))
    run.file.write_text("what an earlier run left")
    assert run() == 0
    said = run.file.read_text()
    for word in (ANN, BOB, "@", CLIENT, "Jane", "uid-1", str(tmp_path)):
        assert word not in said
    assert stat.S_IMODE(run.file.stat().st_mode) == 0o644
    assert [path.name for path in run.file.parent.iterdir()] == ["acme.prom"]


def test_a_run_that_fails_exports_the_true_age_of_the_last_good_one(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    assert run() == 0
    good = run.world.now.timestamp()

    run.world.now += timedelta(hours=1)
    run.world.sql("ALTER TABLE appointments RENAME TO gone")
    assert run() == 4
    refused = run.read()
    assert refused[f"reconcile_last_compared_timestamp_seconds{JOB}"] == good
    assert refused[f"reconcile_last_attempt_timestamp_seconds{JOB}"] == good + 3600
    assert refused[f"reconcile_last_exit_code{JOB}"] == 4

    run.world.now += timedelta(hours=1)
    run.world.sources = '[[source]]\nkind = "ics"\nagents = { file = "nobody.csv" }\n'
    assert run() == 2
    broken = run.read()
    assert broken[f"reconcile_last_attempt_timestamp_seconds{JOB}"] == good + 7200
    assert broken[f"reconcile_last_success_timestamp_seconds{JOB}"] == good
    assert broken[f"reconcile_last_exit_code{JOB}"] == 2

    run.world.now += timedelta(hours=1)
    run.world.sources = None
    assert run("run", "--only", "nobody@acme.example") == 2
    assert run.read()[f"reconcile_last_attempt_timestamp_seconds{JOB}"] == good + 7200, "a mistyped word is no start"


def test_a_crm_that_is_out_of_reach_is_no_comparison_though_the_run_is_only_partial(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    assert run() == 0
    good = run.world.now.timestamp()
    run.world.now += timedelta(hours=1)
    (tmp_path / "crm.db").rename(tmp_path / "away.db")
    (tmp_path / "crm.db").mkdir()
    assert run() == 5
    assert run.read()[f"reconcile_last_compared_timestamp_seconds{JOB}"] == good


def test_calendars_that_can_not_be_read_are_counted_and_aged(tmp_path: Path) -> None:
    run = Measured(World(tmp_path, agents=(ANN, BOB)))
    assert run() == 0
    good = run.world.now.timestamp()
    run.world.now += timedelta(hours=30)
    run.world.file(BOB).write_text("no calendar at all")
    assert run() == 5
    read = run.read()
    bob = 'job_name="acme",provider="ics",source="ics-bob"'
    assert read[f'reconcile_calendars{{{bob},state="blind"}}'] == 1
    assert read[f"reconcile_oldest_read_timestamp_seconds{{{bob}}}"] == good
    assert read[f"reconcile_blind_since_timestamp_seconds{{{bob}}}"] == good + 30 * 3600
    looked = '{job_name="acme",provider="ics",source="ics-bob"}'
    assert read[f"reconcile_run_coverage_ratio{looked}"] == 0
    assert read[f'reconcile_calendar_reads_total{{{bob},state="observed"}}'] == 1
    assert read[f'reconcile_calendar_reads_total{{{bob},state="unobserved"}}'] == 1


def test_a_folder_that_is_missing_is_a_sentence_and_no_reason_to_fail(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Measured(World(tmp_path), metrics='textfile = "nowhere/acme.prom"')
    assert run() == 0
    [line] = [json.loads(line) for line in capsys.readouterr().err.splitlines() if '"metrics"' in line]
    assert line["why"] == "[metrics] textfile: its folder can't be written to: No such file or directory"
    assert str(tmp_path) not in str(line)


def test_a_dry_run_exports_nothing(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    assert run("run", "--dry-run") == 0
    assert not run.file.exists()


# ---- budgets --------------------------------------------------------------------------------------------------------


def test_what_was_sent_to_google_is_what_google_was_asked(tmp_path: Path) -> None:
    with google_world(tmp_path, agents=(ANN, BOB)) as world:
        run = Measured(world)
        world.server.faults.add(Fault(agent=BOB, status=403, reason="forbidden"))
        assert run() == 5
        read = run.read()
        asked = len(world.server.requests("calendar"))
        run.world.now += timedelta(minutes=1)
        assert run("run", "--dry-run") == 5
        dry = len(world.server.requests("calendar")) - asked
        assert run("pull") == 5
        pulled, asked_since = run.read(), len(world.server.requests("calendar")) - asked
        project = f'project="{world.server.service_account_info()["project_id"]}"'
    sent = {name: value for name, value in read.items() if name.startswith("reconcile_attempts_total")}
    assert sum(value for name, value in sent.items() if 'scope="read"' in name) == asked
    answered = '{{answer="{}",job_name="acme",' + project + ',provider="google",scope="read"}}'
    assert read["reconcile_run_attempts" + answered.format("4xx")] == 1
    assert read["reconcile_run_attempts" + answered.format("2xx")] == asked - 1
    total = "reconcile_attempts_total" + answered.format("4xx")
    assert 0 < dry < asked_since
    assert sum(pulled[name] - value for name, value in sent.items() if 'scope="read"' in name) == asked_since
    assert pulled[total] == read[total] + 2, "of the dry run too, which exports nothing by itself"
    about_run = {name for name in read if name.startswith(("reconcile_run_", "reconcile_last_"))}
    assert {name: pulled[name] for name in about_run} == {name: read[name] for name in about_run}, "a pull is no run"
    day = '{job_name="acme",' + project + ',provider="google",window="day"}'
    assert read[f"reconcile_quota_budget{day}"] == 500_000
    burst = read[f"reconcile_quota_burst{day}"]
    assert burst - 100 < read[f"reconcile_quota_left{day}"] <= burst


# ---- the schedule ---------------------------------------------------------------------------------------------------


def test_slots_that_nobody_served_are_counted_and_the_next_one_is_named(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    (tmp_path / "crontab").write_text(
        "CRON_TZ=UTC\n*/5 * * * * reconcile run acme --scheduled --quiet\n"
        "0 12 * * * reconcile run acme --only ann@acme.example --scheduled\n"
        "0 13 * * * reconcile run acme --only=ann@acme.example --full --scheduled\n"
        "0 0,9,10 * * * reconcile run acme --scheduled\n"  # the same command: what the first line has is not lost
    )
    assert run("run", "--scheduled") == 0
    assert run.read()['reconcile_missed_slots{command="run",job_name="acme"}'] == 0
    run.world.now += timedelta(hours=1)
    assert run("run", "--scheduled") == 0
    read = run.read()
    assert read['reconcile_missed_slots{command="run",job_name="acme"}'] == 10  # of 12, one is served now and one young
    coming = run.world.now.timestamp() + 300
    assert read['reconcile_next_slot_timestamp_seconds{command="run",job_name="acme"}'] == coming
    assert 'reconcile_missed_slots{command="run --only",job_name="acme"}' in read
    assert 'reconcile_missed_slots{command="run --full --only",job_name="acme"}' in read
    assert ANN not in run.file.read_text()


def test_a_slot_is_not_missed_while_a_start_may_wait_for_its_turn(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    (tmp_path / "crontab").write_text("CRON_TZ=UTC\n*/5 * * * * reconcile run acme --scheduled --quiet\n")
    assert run("run", "--scheduled") == 0
    run.world.now += timedelta(hours=1)
    run.world.section = 'jitter = "9m"'
    assert run() == 0
    missed = run.read()['reconcile_missed_slots{command="run",job_name="acme"}']
    assert missed == 8, "from 17:05 to 17:40: ten minutes and nine have not passed since the others"


# ---- reports --------------------------------------------------------------------------------------------------------


def test_reports_that_may_not_have_arrived_are_counted_for_channels_that_there_are(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    run.metrics += '\n[report.mail]\nto = ["ops@acme.example"]\nfrom = "r@acme.example"\nsmtp = "smtp://127.0.0.1"\n'
    assert run() == 0
    assert run.read()[f"reconcile_report_heartbeat{JOB}"] == 1
    with run.world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        for number, (channel, status) in enumerate(
            (("mail", "unconfirmed"), ("hook", "unconfirmed"), ("mail", "sent"))
        ):
            at = int(NOW.timestamp()) + number
            row = {"job": setup.state.job, "channel": channel, "name": channel, "kind": "report", "digest": str(number)}
            stamps = {"since_at": at, "until_at": at, "claimed_at": at, "sent_at": at if status == "sent" else None}
            connection.execute(insert(deliveries).values(**row, **stamps, message_id="", status=status))
        connection.execute(update(deliveries).where(deliveries.c.status == "sent").values(kind="urgent"))
    assert run() == 0
    read = run.read()
    assert read['reconcile_deliveries_waiting{job_name="acme",status="unconfirmed"}'] == 1
    assert read['reconcile_deliveries_waiting{job_name="acme",status="refused"}'] == 0
    assert read['reconcile_report_sent_timestamp_seconds{job_name="acme",kind="urgent"}'] == NOW.timestamp() + 2


# ---- who else exports -----------------------------------------------------------------------------------------------


def test_upkeep_and_reports_export_as_well_and_say_the_same_of_the_last_run(tmp_path: Path) -> None:
    run = Measured(World(tmp_path))
    run.world.write(ANN, event("uid-1"))
    assert run() == 0
    after_run = run.read()
    run.world.now += timedelta(minutes=1)
    path = str(run.world.folder / "acme.toml")
    world = Outside(environ={}, cwd=tmp_path, clock=run.world.clock)
    assert entry.call(["state", "prune", "--job", path, "--quiet"], world) == 0
    after_upkeep = run.read()
    moved = {name for name in after_run if after_run[name] != after_upkeep.get(name)}
    assert {name.partition("{")[0] for name in moved} <= {
        "reconcile_exported_timestamp_seconds",
        "reconcile_state_size_bytes",
    }


def test_an_export_waits_for_the_one_that_is_under_way(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else an older view of the state could replace a newer one, and a counter would seem to begin anew."""
    run = Measured(World(tmp_path))
    assert run() == 0
    before, naps = run.read(), list[float]()
    run.world.now += timedelta(minutes=5)
    path = run.world.folder / "acme.toml"
    world = Outside(environ={}, cwd=tmp_path, clock=run.world.clock, sleep=naps.append)
    engine = open_engine(f"sqlite:///{tmp_path}/state.db")
    with run_lock(engine, "metrics of acme"):
        assert entry.call(["run", str(path), "--quiet"], world) == 0
    engine.dispose()
    assert run.read() == before
    assert sum(naps) == pytest.approx(10)
    assert "another process is exporting" in capsys.readouterr().err
