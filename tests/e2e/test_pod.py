"""What a pod is given by its manifest is all that its command needs: files, variables, secrets, and a line to find."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.kubernetes.deployment import FOLDER
from tests.e2e.world import NOW, World, event

CRONTAB = """\
CRON_TZ=UTC
*/5 * * * * cd /srv/acme && reconcile run jobs/acme.toml --scheduled --quiet
30 12 1 * * reconcile report acme --since 31d --html page.html --scheduled --quiet
0 4 * * 7   reconcile state prune acme --scheduled --quiet
"""
ANN, BOB = "ann@acme.example", "bob@acme.example"


@pytest.fixture
def started(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., int]:
    """Start the container of a CronJob, of an office with two agents, with what its manifest gives it."""
    home, root = tmp_path / "home", tmp_path / "pod"
    (home / "jobs").mkdir(parents=True)
    (root / "jobs").mkdir(parents=True)
    (home / "crontab").write_text(CRONTAB)
    office = World(home / "jobs", agents=(ANN, BOB))
    for agent in office.agents:
        office.write(agent, event(agent))
    office.job()
    words = ("generate", "kubernetes", "--state", "env:STATE_URL", "--shards", "2")
    assert entry.call(words, Outside(environ={}, cwd=home, clock=lambda: NOW)) == 0
    documents = [*yaml.safe_load_all(capsys.readouterr().out)]
    secrets = {"STATE_URL": f"sqlite:///{tmp_path}/state.db"}
    for path in (home / "jobs").iterdir():  # the volume with the calendars and the CRM
        if path.suffix != ".toml":
            (root / "jobs" / path.name).write_bytes(path.read_bytes())

    def start(name: str, **more: str) -> int:
        [cron] = [each for each in documents if (each["kind"], each["metadata"]["name"]) == ("CronJob", name)]
        pod = cron["spec"]["jobTemplate"]["spec"]["template"]["spec"]
        [container] = pod["containers"]
        for path, text in _files(pod, documents):
            (root / "jobs" / path).write_text(text)
        environ = {**dict(_variables(container, secrets, root)), **more}
        index = more.get("JOB_COMPLETION_INDEX", "")
        args = [word.replace("$(JOB_COMPLETION_INDEX)", index) for word in container["args"]]
        return entry.call(args, Outside(environ=environ, cwd=root, clock=lambda: NOW))

    return start


def _files(pod: dict[str, Any], documents: list[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    [jobs] = [volume["projected"] for volume in pod["volumes"] if volume["name"] == "jobs"]
    for source in jobs["sources"]:
        name = source["configMap"]["name"]
        [config] = [each for each in documents if (each["kind"], each["metadata"]["name"]) == ("ConfigMap", name)]
        yield from ((item["path"], config["data"][item["key"]]) for item in source["configMap"]["items"])


def _variables(container: dict[str, Any], secrets: dict[str, str], root: Path) -> Iterator[tuple[str, str]]:
    for variable in container["env"]:
        reference = variable.get("valueFrom", {}).get("secretKeyRef")
        value = secrets[reference["key"]] if reference else variable["value"].replace(FOLDER, str(root))
        yield variable["name"], value


def asked(tmp_path: Path, statement: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(tmp_path / "state.db")) as state:
        return state.execute(statement).fetchall()


def test_pods_read_in_parts_compare_once_a_slot_report_and_prune(tmp_path: Path, started: Callable[..., int]) -> None:
    for index in ("0", "1"):
        assert started("acme-pull", JOB_COMPLETION_INDEX=index) == 0
    assert len(asked(tmp_path, "SELECT * FROM calendars")) == 2, "every calendar is in one of the parts"
    assert asked(tmp_path, "SELECT * FROM runs") == []
    assert [started("acme-run"), started("acme-run")] == [0, 0]
    [run] = asked(tmp_path, "SELECT slot IS NOT NULL FROM runs")
    assert run == (1,), "a run finds its line of the crontab, and of two starts in one slot one works"
    with closing(sqlite3.connect(tmp_path / "pod/jobs/crm.db")) as crm:
        assert crm.execute("SELECT agent_email FROM appointments ORDER BY 1").fetchall() == [(ANN,), (BOB,)]
    assert started("acme-report-since-html") == 0
    assert "acme" in (tmp_path / "pod/page.html").read_text()
    assert started("acme-prune") == 0
