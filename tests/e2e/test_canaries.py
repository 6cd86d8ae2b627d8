"""No secret of a job is ever shown or kept: every command, going well and going wrong, searched for all of them."""

from __future__ import annotations

import base64
import json
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from urllib.parse import quote

import pytest

from reconciler.cli import commands, entry
from reconciler.cli.world import World
from reconciler.simulator.google import GoogleSimulator
from reconciler.simulator.graph import GraphSimulator
from reconciler.simulator.graph_mailboxes import TENANT
from reconciler.simulator.graph_sign_in import CLIENT, SECRET
from tests.e2e.google_world import ANN, showing
from tests.e2e.world import JOB, NOW, TABLE

SECRETS = ("ms", "feed", "smtp-user", "smtp", "hook", "hook-key", "gateway", "crm")
CANARIES = {name: f"canary-{name}-K7x/q+Zw=9" for name in SECRETS}

ARGUMENTS: dict[str, list[list[str]]] = {
    "run": [["run"], ["run", "--dry-run"], ["run", "--full", "--scheduled"], ["run", "--only", "nobody"]],
    "pull": [["pull"], ["pull", "--shard", "1/2"]],
    "approve": [["approve", "0123456789ab", "--by", "Ann", "--why", "because", "--job"]],
    "resolve": [["resolve", "--kind", "missing_in_crm", "--take", "calendar", "--job"]],
    "accept": [["accept", "--agent", ANN, "--by", "Ann", "--why", "so", "--until", "2026-12-01", "--job"]],
    "link": [["link", "--suggested", "--job"]],
    "revert": [["revert", "01K00000", "--job"]],
    "check": [["check"]],
    "schedule": [["schedule"]],
    "explain": [["explain", "1", "--job"], ["explain", "nothing", "--job"]],
    "status": [["status"]],
    "report": [
        ["report", "--html", "r.html", "--csv", "r.csv", "--json", "r.json", "--xlsx", "r.xlsx"],
        ["report", "--send"],
        ["report", "--send", "--urgent"],
    ],
    "demo": [],  # it makes a job and secrets of its own
    "state": [
        ["state", "rebind"],
        ["state", "upgrade"],
        ["state", "prune"],
        ["state", "subject", ANN, "--job"],
        ["state", "forget", "client@mail.example", "--job"],
    ],
    "generate": [["generate", "kubernetes", "--job"]],
}
"""A way to call each command; the name of the job comes last."""


def spellings(secret: str) -> set[str]:
    """Return how a secret may look on its way somewhere."""
    raw = secret.encode()
    coded = {base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode(), raw.hex()}
    return {secret, quote(secret), quote(secret, safe=""), json.dumps(secret)[1:-1], *coded}


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[GoogleSimulator, GraphSimulator, int]]:
    """Start the stand-ins, and take a port at which nobody answers."""
    with ExitStack() as stack:
        google = stack.enter_context(GoogleSimulator(clock=lambda: NOW))
        graph = stack.enter_context(GraphSimulator(clock=lambda: NOW))
        nobody = stack.enter_context(closing(socket.socket()))
        nobody.bind(("127.0.0.1", 0))
        google.calendar(ANN, "America/Chicago").insert(showing("e1"))
        graph.mailbox("cid@acme.example", "America/Denver")
        yield google, graph, nobody.getsockname()[1]


@pytest.fixture(params=["well", "badly"])
def world(
    request: pytest.FixtureRequest, tmp_path: Path, servers: tuple[GoogleSimulator, GraphSimulator, int]
) -> World:
    """Write a job with a secret in every place that takes one; `badly` has a CRM that is not there and a wrong one."""
    google, graph, nobody = servers
    (tmp_path / "jobs").mkdir()
    with closing(sqlite3.connect(tmp_path / "crm.db")) as crm:
        crm.execute(TABLE)
    key = tmp_path / "jobs/google.json"
    key.write_text(json.dumps(google.service_account_info()))
    sources = (
        f'[[source]]\nkind = "google"\nagents = ["{ANN}"]\nauth = {{ service_account = "file:google.json" }}\n'
        f'endpoint = "{google.url}"\n'
        '[[source]]\nkind = "microsoft"\nagents = ["cid@acme.example"]\n'
        f'auth = {{ tenant = "{TENANT}", client_id = "{CLIENT}", client_secret = "env:MS", '
        f'token_uri = "{graph.token_uri}" }}\nendpoint = "{graph.url}"\n'
        '[[source]]\nkind = "ics"\nagent = "dee@acme.example"\nurl = "env:FEED"\n'
    )
    parts = {"state": "sqlite:///../state.db", "sources": sources, "run": "", "allow": '["create", "update", "cancel"]'}
    text = JOB.format(**parts, crm="", policy="", limits="").replace('"sqlite:///crm.db"', '"env:CRM"')
    mail = '{ to = ["ops@acme.example"], from = "r@acme.example", smtp = "env:SMTP" }'
    told = f'[report]\nmail = {mail}\n[report.webhook]\nurl = "env:HOOK"\nsecret = "env:HOOK_KEY"\n'
    figures = '[metrics]\ntextfile = "acme.prom"\npushgateway = "env:GATEWAY"\n'
    (tmp_path / "jobs/acme.toml").write_text(text + told + figures)
    (tmp_path / "crontab").write_text("CRON_TZ=UTC\n*/5 * * * * reconcile run acme --scheduled --quiet\n")
    made = {name: quote(value, safe="") for name, value in CANARIES.items()}
    environ = {
        "MS": SECRET,
        "FEED": f"http://127.0.0.1:{nobody}/private-{made['feed']}/basic.ics?token={made['feed']}",
        "SMTP": f"smtp://{made['smtp-user']}:{made['smtp']}@127.0.0.1:{nobody}",
        "HOOK": f"http://127.0.0.1:{nobody}/{made['hook']}",
        "HOOK_KEY": CANARIES["hook-key"],
        "GATEWAY": f"http://robot:{made['gateway']}@127.0.0.1:{nobody}",
        "CRM": "sqlite:///../crm.db",
    }
    if request.param == "badly":
        environ |= {"MS": CANARIES["ms"], "CRM": f"postgresql://crm:{made['crm']}@127.0.0.1:{nobody}/crm"}
    return World(environ=environ, cwd=tmp_path, clock=lambda: NOW, sleep=lambda _: None)


def key_of(folder: Path) -> str:
    """Return a line out of the middle of the private key."""
    return str(json.loads((folder / "jobs/google.json").read_text())["private_key"]).splitlines()[5]


@pytest.mark.parametrize("world", ["badly"], indirect=True)
def test_check_without_its_servers_has_a_line_for_each_part(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    assert entry.call(("check", "acme", "--format", "json"), world) == 2
    lines = json.loads(capsys.readouterr().out)["checks"]
    wrong = {line["name"].partition(" (")[0] for line in lines if line["mark"] == "problem"}
    assert wrong >= {"source microsoft", "calendar dee@acme.example", "CRM", "mail server", "webhook"}
    assert {line["name"] for line in lines if line["mark"] == "ok"} >= {"job file", "state", f"calendar {ANN}"}


def test_every_command_is_called() -> None:
    assert set(ARGUMENTS) == set(commands.NAMES)


def test_no_secret_is_shown_or_kept(
    world: World,
    servers: tuple[GoogleSimulator, GraphSimulator, int],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(world.cwd)
    shown: dict[str, str] = {}
    for number, words in enumerate(each for ways in ARGUMENTS.values() for each in ways):
        more = ["--format", "json", "--verbose"] if number % 2 else ["--verbose"]
        code = entry.call((*words, "acme", *more), world)
        said = capsys.readouterr()
        shown[" ".join(words)] = said.out + said.err
        assert code != 1, (words, said.err)
    tokens = {*servers[0].accounts._tokens, *servers[1].accounts._tokens}
    assert tokens, "somebody signed in"
    hidden = {name: spellings(value) for name, value in CANARIES.items()}
    hidden |= {"right": spellings(SECRET), "key": {key_of(world.cwd)}, "token": tokens}
    kept = {str(one): one.read_bytes().decode("latin-1") for one in world.cwd.rglob("*") if one.is_file()}
    del kept[str(world.cwd / "jobs/google.json")]
    found = [
        (where, name)
        for where, text in (shown | kept).items()
        for name, secrets in hidden.items()
        if any(secret in text for secret in secrets)
    ]
    assert found == []
    assert sum(map(len, shown.values())) > 10_000, "the commands said something"
