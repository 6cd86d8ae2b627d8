"""What operators copy works: the example jobs load, the crontab names jobs that exist and commands of the design."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from croniter import croniter

from reconciler.agents import directory, rows_of_file
from reconciler.cli.cadence import Demand, every, spoken
from reconciler.config import Google, Ics, Microsoft, SqlCrm, load
from reconciler.errors import Problem
from reconciler.model import AgentState, Direction, Role
from reconciler.quota.budget import budget_for
from reconciler.sources.google_auth import READ_SCOPE, WRITE_SCOPE

ROOT = Path(__file__).resolve().parents[2]
JOBS = ROOT / "jobs"
COMMANDS = {"run", "report", "state"}


@pytest.mark.parametrize("path", sorted(JOBS.glob("*.toml")), ids=lambda path: path.stem)
def test_each_example_loads_and_is_named_like_its_file(path: Path) -> None:
    assert load(path, {}).name == path.stem


def test_the_five_minute_job_needs_no_secret_and_writes_nothing() -> None:
    job = load(JOBS / "ics.toml", {})
    [source] = job.sources
    assert isinstance(source, Ics)
    assert isinstance(job.crm, SqlCrm)
    assert job.policy.allow == ()
    assert (job.state.reveal({}), job.crm.url.reveal({})) == (
        f"sqlite:///{JOBS}/var/ics.db",
        f"sqlite:///{JOBS}/crm.db",
    )


def test_the_five_minute_job_reads_an_export_too(tmp_path: Path) -> None:
    text = (JOBS / "ics.toml").read_text()
    text = text.replace('kind = "sql"\nurl = "sqlite:///crm.db"\ntable = "appointments"\n', "")
    text = text.replace('# kind = "csv"\n# path = "appointments.csv"\n', "").replace(
        "[crm]\n", '[crm]\nkind = "csv"\npath = "appointments.csv"\n'
    )
    (tmp_path / "ics.toml").write_text(text)
    assert load(tmp_path / "ics.toml", {}).crm.kind == "csv"


def test_the_google_job_names_its_secrets_reads_alone_and_writes_nothing() -> None:
    job = load(JOBS / "google.toml", {})
    [source] = job.sources
    assert isinstance(source, Google)
    assert source.auth.delegated
    assert str(source.auth.service_account) == "file:/run/secrets/google.json"
    assert job.policy.allow == ()
    assert READ_SCOPE in (JOBS / "google.toml").read_text(), "what an administrator allows is what is asked for"
    assert [agent.email.split("@")[0] for agent in directory(job, {}).agents] == ["ann", "bob", "frontdesk", "gus"]


def test_the_google_job_says_of_its_budget_what_is_so() -> None:
    job = load(JOBS / "google.toml", {})
    text = (JOBS / "google.toml").read_text()
    budget = budget_for("google", job.budget["google"])
    claims = re.findall(r"([\d,]+) (?:calendars can be read )?every (\d+)", text)
    assert len(claims) == 2
    for calendars, minutes in claims:
        turn = every(budget, Demand(calendars=int(calendars.replace(",", ""))))
        assert turn is not None
        assert spoken(turn) == f"{minutes} minutes"


def test_the_microsoft_job_names_its_secrets_reads_alone_and_writes_nothing() -> None:
    job = load(JOBS / "microsoft.toml", {})
    [source] = job.sources
    assert isinstance(source, Microsoft)
    assert str(source.auth.client_secret) == "env:MS_SECRET"
    assert job.policy.allow == ()
    assert "Calendars.Read " in (JOBS / "microsoft.toml").read_text(), "not Calendars.ReadWrite: nothing is written"


def test_the_job_that_writes_calendars_reads_and_writes_by_two_accounts_and_writes_nothing_yet() -> None:
    job = load(JOBS / "two-way.toml", {})
    [source] = job.sources
    assert isinstance(source, Google)
    assert source.auth_write is not None
    assert str(source.auth.service_account) != str(source.auth_write.service_account)
    assert (job.policy.sync, job.policy.allow, job.limits.notify) == (Direction.TWO_WAY, (), 0)
    text = (JOBS / "two-way.toml").read_text()
    assert f"{WRITE_SCOPE}\n" in text
    assert READ_SCOPE.rpartition("/")[2] in text


def test_its_part_for_outlook_can_be_taken_as_it_is(tmp_path: Path) -> None:
    text = (JOBS / "two-way.toml").read_text()
    (tmp_path / "two-way.toml").write_text(re.sub(r"^# (?=\[\[source|kind|agents|auth)", "", text, flags=re.MULTILINE))
    source = load(tmp_path / "two-way.toml", {}).sources[1]
    assert isinstance(source, Microsoft)
    assert source.auth_write is not None
    assert source.auth.client_id != source.auth_write.client_id


def test_the_full_example_shows_every_section() -> None:
    text = (JOBS / "acme.toml").read_text()
    sections = set(re.findall(r"^\[+([a-z.]+)\]+", text, re.MULTILINE))
    assert sections >= {"window", "run", "source", "crm", "policy", "limits", "report", "metrics", "budget.google"}


def test_the_example_of_an_agents_file_has_nothing_wrong(tmp_path: Path) -> None:
    rows = list(rows_of_file(JOBS / "agents.csv"))
    assert [row for row in rows if isinstance(row, Problem)] == []
    for name in ("acme.toml", "agents.csv"):
        shutil.copy(JOBS / name, tmp_path)
    known = directory(load(tmp_path / "acme.toml", {}), {"DEE_ICS": "https://calendar.example/dee.ics"})
    assert [agent.email.split("@")[0] for agent in known.agents] == ["ann", "bob", "frontdesk", "gus", "cid", "dee"]
    assert known.agent_of("101") == known.agent_of("ALee@acme.example") == known.agents[0]
    assert (known.agents[2].role, known.agents[3].state) == (Role.TEAM, AgentState.LEFT)


def test_the_full_example_names_its_secrets_and_holds_none() -> None:
    job = load(JOBS / "acme.toml", {})
    google = job.sources[0]
    assert isinstance(google, Google)
    assert str(google.auth.service_account) == "file:/run/secrets/google.json"
    assert isinstance(job.crm, SqlCrm)
    assert (str(job.crm.url), str(job.crm.write_url)) == ("env:CRM_URL", "env:CRM_WRITE_URL")


def cron_lines(*, active: bool) -> list[str]:
    lines = (ROOT / "crontab").read_text().splitlines()
    entries = [line for line in lines if re.match(r"#?[*0-9][^ ]* ", line)]
    return [line.lstrip("#") for line in entries if line.startswith("#") is not active]


@pytest.mark.parametrize("line", cron_lines(active=True) + cron_lines(active=False))
def test_each_line_of_the_crontab_is_a_command_on_a_job_that_exists(line: str) -> None:
    *slot, command = line.split(maxsplit=5)
    assert croniter.is_valid(" ".join(slot))
    program, word, *rest = command.split()
    assert (program, word in COMMANDS) == ("reconcile", True)
    assert any((JOBS / f"{name}.toml").is_file() for name in rest)
    assert "%" not in command, "cron turns % into a line end"


def test_the_crontab_runs_every_five_minutes_in_utc() -> None:
    text = (ROOT / "crontab").read_text()
    assert "\nCRON_TZ=UTC\n" in text
    [run] = [line for line in cron_lines(active=True) if line.split()[6] == "run"]
    assert run.split(maxsplit=5)[:5] == ["*/5", "*", "*", "*", "*"]
    assert text.endswith("\n"), "cron ignores a last line without its end"


def test_reading_a_job_loads_no_slow_package() -> None:
    program = "import sys, reconciler.config, reconciler.agents; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    slow = {"sqlalchemy", "pandas", "deepdiff", "googleapiclient", "O365", "icalendar", "croniter"}
    assert slow & set(done.stdout.split()) == set()
