"""`reconcile check` of Google calendars, against the stand-in: what a run would meet is said before it, in one go."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from reconciler.assembly import assemble, provider_of
from reconciler.cli import entry
from reconciler.cli.readiness import spread
from reconciler.cli.world import World
from reconciler.config import Google, load
from reconciler.errors import ConfigError
from reconciler.simulator.google import ROBOT, Fault, GoogleSimulator
from reconciler.sources.google_auth import READ_SCOPE
from tests.e2e.world import JOB, TABLE

NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)
KEY = '{ service_account = "file:google.json" }'


@dataclass
class Box:
    """A job that reads Google, in a folder, and the stand-in it reads from."""

    folder: Path
    server: GoogleSimulator
    auth: str = KEY
    run: str = ""
    more: str = ""
    environ: dict[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.folder / "jobs/acme.toml"

    def agents(self, *names: str, state: str = "active") -> None:
        """List agents, and give each a calendar of the stand-in."""
        rows = [f"{name}@acme.example,{state}" for name in names]
        path = self.folder / "jobs/agents.csv"
        head = path.read_text() if path.exists() else "agent,state\n"
        path.write_text(head + "".join(f"{row}\n" for row in rows))
        for name in names:
            self.server.calendar(f"{name}@acme.example")

    def job(self) -> None:
        table = (
            f'[[source]]\nkind = "google"\nagents = {{ file = "agents.csv" }}\nauth = {self.auth}\n'
            f'endpoint = "{self.server.url}"\n{self.more}'
        )
        parts = {"state": "sqlite:///../state.db", "sources": table, "run": self.run, "allow": "[]"}
        text = JOB.format(**parts, crm="", policy="", limits="").replace("sqlite:///crm.db", "sqlite:///../crm.db")
        self.path.write_text(text)

    def crontab(self, line: str) -> None:
        (self.folder / "crontab").write_text(f"CRON_TZ=UTC\n{line}\n")

    def check(self, *words: str) -> int:
        self.job()
        return entry.call(("check", *words), World(environ=self.environ, cwd=self.folder, clock=lambda: NOW))


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Box]:
    (tmp_path / "jobs").mkdir()
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        crm.execute(TABLE)
    with GoogleSimulator(clock=lambda: NOW) as server:
        (tmp_path / "jobs/google.json").write_text(json.dumps(server.service_account_info()))
        yield Box(tmp_path, server)


@pytest.fixture
def lines(box: Box, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return what runs a check and gives its lines by name, and whether all is well."""

    def look(*words: str) -> tuple[bool, dict[str, tuple[str, str]]]:
        code = box.check("--format", "json", *words)
        said = json.loads(capsys.readouterr().out)
        assert said["ok"] is (code == 0)
        return said["ok"], {line["name"]: (line["mark"], line["says"]) for line in said["checks"]}

    return look


def wrong(found: dict[str, tuple[str, str]]) -> dict[str, str]:
    return {name: says for name, (mark, says) in found.items() if mark == "problem"}


# ---- calendars and credentials --------------------------------------------------------------------------------------


def test_a_healthy_job_is_ready_and_nothing_of_what_was_read_is_kept(box: Box, lines: Any) -> None:
    box.agents("ann", "bob")
    event = {"start": {"dateTime": "2026-11-24T15:00:00Z"}, "end": {"dateTime": "2026-11-24T16:00:00Z"}}
    box.server.calendar("ann@acme.example").insert({"summary": "Showing", **event})
    ok, found = lines()
    assert ok, wrong(found)
    assert found["calendar ann@acme.example"] == ("ok", "1 event in the window")
    assert found["calendar bob@acme.example"] == ("ok", "0 events in the window")
    with closing(sqlite3.connect(box.folder / "state.db")) as state:
        assert state.execute("SELECT (SELECT count(*) FROM cursors) + (SELECT count(*) FROM mirror)").fetchone() == (0,)
        assert state.execute("SELECT count(*) FROM quota").fetchone() > (0,), "what was asked is charged"


def test_of_many_calendars_a_few_are_read_from_the_first_to_the_last(box: Box, lines: Any) -> None:
    box.agents(*(f"a{number:03}" for number in range(60)))
    ok, found = lines()
    assert ok, wrong(found)
    read = sorted(name.split()[1] for name in found if name.startswith("calendar "))
    assert (len(read), read[0], read[-1]) == (25, "a000@acme.example", "a059@acme.example")
    assert found["source google"] == ("ok", "25 of 60 calendars are read here, spread over all; a run reads all")
    assert len(box.server.requests()) == 25


def test_those_who_left_are_not_asked_for(box: Box, lines: Any) -> None:
    box.agents("ann")
    box.agents("gus", state="left")
    ok, found = lines()
    assert ok, wrong(found)
    assert not any("gus" in name for name in found)
    assert "1 calendar can be read" in found["budget google:sample"][1]


def test_an_account_that_is_gone_is_one_problem_and_the_others_are_read(box: Box, lines: Any) -> None:
    box.agents("ann", "bob", "cid")
    box.server.accounts.refuse("bob@acme.example")
    box.server.calendar("cid@acme.example").refuse(403, "notACalendarUser")
    ok, found = lines()
    assert not ok
    assert set(wrong(found)) == {"calendar bob@acme.example", "calendar cid@acme.example"}
    says = wrong(found)["calendar bob@acme.example"]
    assert "invalid_grant" in says
    assert "state = left in an agents file" in says
    assert found["calendar ann@acme.example"][0] == "ok"


def test_what_an_administrator_has_to_allow_is_said_once_and_whole(box: Box, lines: Any) -> None:
    box.agents("ann", "bob", "cid")
    box.server.accounts.allowed = ()
    ok, found = lines()
    assert not ok
    assert set(wrong(found)) == {"source google"}
    says = wrong(found)["source google"]
    assert READ_SCOPE in says
    assert box.server.service_account_info()["client_id"] in says
    assert says.endswith("then: reconcile check")
    assert len(box.server.requests("token")) == 1


def test_a_calendar_that_is_not_shared_with_the_robot_is_named(box: Box, lines: Any) -> None:
    box.auth = '{ service_account = "file:google.json", delegate = false }'
    box.agents("ann", "bob")
    box.server.calendar("ann@acme.example").share(ROBOT, "writer")
    _, found = lines()
    assert set(wrong(found)) == {"calendar bob@acme.example"}
    assert len(box.server.requests("token")) == 1


def test_a_key_that_is_none_is_one_problem_without_its_contents(box: Box, lines: Any) -> None:
    box.agents("ann")
    (box.folder / "jobs/google.json").write_text('{"type": "external_account", "private_key": "s3cret"}')
    ok, found = lines()
    assert not ok
    assert set(wrong(found)) == {"source google"}
    assert "is no key of a service account" in wrong(found)["source google"]
    assert "s3cret" not in str(found)
    assert box.server.requests("token") == box.server.requests() == []


def test_a_calendar_that_refuses_us_is_a_problem_of_its_own(box: Box, lines: Any) -> None:
    box.agents("ann", "bob")
    box.server.faults.add(Fault(status=403, reason="forbidden", nth={1}))
    _, found = lines()
    assert set(wrong(found)) == {"calendar ann@acme.example"}
    assert "403" in wrong(found)["calendar ann@acme.example"]


def test_masked_answers_name_no_address(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.agents("ann")
    box.server.accounts.allowed = ()
    assert box.check("--mask") == 2
    said = capsys.readouterr().out
    assert READ_SCOPE in said
    assert "sample.iam" not in said


def test_a_table_is_shown_to_people(box: Box, capsys: pytest.CaptureFixture[str]) -> None:
    box.agents("ann")
    assert box.check() == 0
    said = capsys.readouterr().out
    assert said.startswith("acme is ready to run\n")
    assert "  ok       cadence google:sample      no crontab starts this job, so nothing is promised\n" in said


@pytest.mark.parametrize("count", [0, 1, 24, 25, 26, 5_000])
def test_a_sample_is_spread_and_bounded(count: int) -> None:
    some = spread(range(count))  # type: ignore[arg-type]
    assert len(some) == len(set(some)) == min(count, 25)
    assert not some or (some[0], some[-1]) == (0, count - 1)  # type: ignore[comparison-overlap]


# ---- budgets and the schedule ---------------------------------------------------------------------------------------

SMALL = "[budget.google]\nper_day = 20000\n"


def test_a_schedule_that_fits_is_confirmed(box: Box, lines: Any) -> None:
    box.agents("ann", "bob", "cid")
    box.crontab("*/5 * * * * reconcile run acme --scheduled --quiet")
    ok, found = lines()
    assert ok, wrong(found)
    assert "3 calendars can be read every minute" in found["budget google:sample"][1]
    says = "crontab starts a run every 5 minutes, and each can read every calendar"
    assert found["cadence google:sample"] == ("ok", says)


def test_a_schedule_that_promises_more_than_the_budget_is_a_problem(box: Box, lines: Any) -> None:
    box.agents(*(f"a{number:03}" for number in range(60)))
    box.more = SMALL
    box.crontab("*/5 * * * * cd /srv && reconcile acme --scheduled")
    ok, found = lines()
    assert not ok
    assert set(wrong(found)) == {"cadence google:sample"}
    assert wrong(found)["cadence google:sample"] == (
        "crontab starts a run every 5 minutes, but each calendar can be read every 10 minutes only. A run then reads "
        "those that waited longest and leaves the others to the next. "
        'Write "*/10 * * * *" in the crontab or share = 1 in [budget.google].'
    )
    box.crontab("*/10 * * * * reconcile acme --scheduled")
    assert lines()[0]


def test_freshness_that_can_not_be_had_is_a_problem(box: Box, lines: Any) -> None:
    box.agents(*(f"a{number:03}" for number in range(60)))
    box.more = SMALL
    box.run = 'freshness = "5m"'
    _, found = lines()
    assert set(wrong(found)) == {"freshness google:sample"}


def test_a_crontab_for_other_jobs_promises_nothing_here(box: Box, lines: Any) -> None:
    box.agents("ann")
    box.crontab("* * * * * reconcile run beta")
    assert lines()[1]["cadence google:sample"] == ("ok", "no crontab starts this job, so nothing is promised")


def test_a_crontab_is_found_where_the_environment_says_and_its_mistakes_are_named(box: Box, lines: Any) -> None:
    box.agents("ann")
    box.environ["RECONCILE_CRONTAB"] = "other"
    assert "can't be read" in wrong(lines()[1])["crontab"]
    (box.folder / "other").write_text("61 * * * * backup\n")
    assert "other line 1" in wrong(lines()[1])["crontab"]


def test_sources_of_one_project_share_their_budget(box: Box, lines: Any) -> None:
    box.agents("ann", "bob")
    more = (
        '[[source]]\nkind = "google"\nname = "west"\nagents = ["cid@acme.example"]\nauth = {auth}\nendpoint = "{url}"\n'
    )
    box.more = more.format(auth=KEY, url=box.server.url)
    box.server.calendar("cid@acme.example")
    ok, found = lines()
    assert ok, wrong(found)
    assert "3 calendars can be read" in found["budget google:sample"][1]
    box.environ["TOKEN"] = box.server.token("cid@acme.example")
    box.more = more.format(auth='{ token = "env:TOKEN" }', url=box.server.url)
    ok, found = lines()
    assert ok, wrong(found)
    assert "2 calendars can be read" in found["budget google:sample"][1]
    assert "1 calendar can be read" in found["budget google"][1]


# ---- what a run is made of ------------------------------------------------------------------------------------------


def test_a_run_gets_its_google_source_and_closes_it(box: Box) -> None:
    box.agents("ann")
    box.job()
    with assemble(load(box.path, {}), {}, clock=lambda: NOW, dry_run=True) as setup:
        [calendar] = setup.directory.calendars
        assert setup.sources["google"].scope(calendar)


@pytest.mark.parametrize(
    ("auth", "project"),
    [
        (KEY, "google:sample"),
        ('{ impersonate = "calendars@acme-project.iam.gserviceaccount.com" }', "google:acme-project"),
        ('{ impersonate = "calendars@elsewhere.example" }', "google"),
        ('{ token = "env:TOKEN" }', "google"),
        ('{ service_account = "file:no.json" }', "google"),
        ('{ service_account = "file:odd.json" }', "google"),
        ('{ service_account = "file:list.json" }', "google"),
    ],
)
def test_the_project_that_is_charged_is_the_one_of_the_credential(box: Box, auth: str, project: str) -> None:
    (box.folder / "jobs/odd.json").write_text('{"project_id": "Not a project"}')
    (box.folder / "jobs/list.json").write_text("[]")
    box.agents("ann")
    box.auth = auth
    box.job()
    [source] = load(box.path, {}).sources
    assert isinstance(source, Google)
    assert provider_of(source, {}) == project


def test_all_credentials_that_are_wrong_are_named_at_once(box: Box) -> None:
    box.agents("ann")
    box.auth = '{ token = "env:NOT_SET" }'
    other = '[[source]]\nkind = "google"\nname = "west"\nagents = ["cid@acme.example"]\n'
    box.more = f'{other}auth = {{ service_account = "file:no.json" }}\n'
    box.job()
    with pytest.raises(ConfigError) as error:
        assemble(load(box.path, {}), {}, clock=lambda: NOW, dry_run=True)
    assert len(error.value.problems) == 2
