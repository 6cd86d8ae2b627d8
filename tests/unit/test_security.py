"""What SECURITY.md promises, by name: no code out of data, no way around TLS, nowhere that data may lead us."""

from __future__ import annotations

import ast
import os
import re
import ssl
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from pydantic import BaseModel

from reconciler import agents
from reconciler.agents import Directory
from reconciler.cli import entry
from reconciler.cli.world import World as Outside
from reconciler.config import GatewayUrl, Job, MicrosoftAuth, WrongError, load
from reconciler.config.problems import models_in
from reconciler.crm.sql import SqlReader, SqlSpec, SqlWriter
from reconciler.errors import ConfigError
from reconciler.model import Agent, Fields, Outcome, Window
from reconciler.report.mail import Server
from reconciler.sources.fetch import refused
from reconciler.sources.wire import Wire
from tests.e2e.world import JOB

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = sorted((ROOT / "reconciler").rglob("*.py"))
NOW = datetime(2026, 11, 22, 9, 0, tzinfo=UTC)

# ---- no code out of data --------------------------------------------------------------------------------------------

FORBIDDEN_MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "marshal",
    "shelve",
    "jsonpickle",
    "subprocess",
    "pty",
    "code",
    "xmlrpc",
}
FORBIDDEN_CALLS = {
    *("eval", "exec", "compile", "__import__", "input", "breakpoint"),
    *("os.system", "os.popen", "os.execv", "os.execvp", "os.spawnv", "os.posix_spawn", "os.fork"),
    *("tempfile.mktemp", "os.tempnam", "yaml.load", "yaml.load_all", "yaml.unsafe_load", "yaml.full_load"),
    *("ssl._create_unverified_context", "ssl._create_default_https_context", "ssl.wrap_socket"),
    *("logging.config.listen", "urllib.request.urlopen", "pandas.read_pickle", "pd.read_pickle"),
}
FORBIDDEN_ARGUMENTS = {"shell", "verify", "verify_ssl", "cert_reqs", "allow_pickle", "assert_hostname"}
"""Of calls: each would hand data to a shell, leave a server unverified, or make code of bytes."""


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else "?"


def dangers(source: str) -> Iterator[str]:
    """Yield what a module does that nothing here may do."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import():
                yield from (f"import {one.name}" for one in node.names if one.name.split(".")[0] in FORBIDDEN_MODULES)
            case ast.ImportFrom(module=str(module)) if module.split(".")[0] in FORBIDDEN_MODULES:
                yield f"import {module}"
            case ast.Call():
                if dotted(node.func) in FORBIDDEN_CALLS:
                    yield dotted(node.func)
                yield from (f"{one.arg}=" for one in node.keywords if one.arg in FORBIDDEN_ARGUMENTS)
            case ast.Attribute(attr="CERT_NONE" | "CERT_OPTIONAL" | "_create_unverified_context"):
                yield dotted(node)


def test_no_code_is_made_of_data_and_nothing_runs_a_shell_or_leaves_a_server_unverified() -> None:
    found = {path.relative_to(ROOT).as_posix(): [*dangers(path.read_text())] for path in PROGRAM}
    assert {name: what for name, what in found.items() if what} == {
        # A mail server on this machine has no name that a certificate could prove; nobody is in between.
        "reconciler/report/mail.py": ["ssl.CERT_NONE"],
    }


@pytest.mark.parametrize(
    "line",
    [
        "import pickle",
        "from subprocess import run",
        "eval(text)",
        "os.system(text)",
        "yaml.load(text)",
        "tempfile.mktemp()",
        "session.get(url, verify=False)",
        "run(text, shell=True)",
        "context.verify_mode = ssl.CERT_NONE",
    ],
)
def test_a_danger_is_seen(line: str) -> None:
    assert [*dangers(line)]


def test_every_promise_of_security_md_names_tests_that_exist() -> None:
    text = (ROOT / "SECURITY.md").read_text()
    names = re.findall(r"`(test_\w+)`", text)
    every = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) > 20
    assert [name for name in names if f"def {name}(" not in every] == []
    links = re.findall(r"\]\(((?!https:)[^)]+)\)", text)
    assert [link for link in links if not (ROOT / link).is_file()] == []


def test_the_rules_of_bandit_are_on_for_the_whole_program() -> None:
    ruff = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert ruff["select"] == ["ALL"]
    assert [rule for rule in ruff["ignore"] if rule.startswith("S")] == []
    excused = {where: rule for where, rules in ruff["per-file-ignores"].items() for rule in rules if rule[:1] == "S"}
    assert not any(where.startswith("reconciler") for where in excused)


# ---- TLS ------------------------------------------------------------------------------------------------------------


def keys(model: type[BaseModel]) -> Iterator[str]:
    for name, field in model.model_fields.items():
        yield field.alias or name
        for inner in models_in(field.annotation):
            yield from keys(inner)


def test_no_key_of_a_job_file_speaks_of_verification() -> None:
    words = ("verify", "insecure", "tls", "ssl", "certificate_check", "trust")
    assert [key for key in keys(Job) if any(word in key for word in words)] == []


TRICKS = {
    "PYTHONHTTPSVERIFY": "0",
    "CURL_CA_BUNDLE": "",
    "REQUESTS_CA_BUNDLE": "",
    "SSL_NO_VERIFY": "1",
    "NODE_TLS": "0",
}


@pytest.fixture
def tricked(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TRICKS.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("tricked")
def test_no_variable_of_the_environment_turns_verification_off() -> None:
    """`REQUESTS_CA_BUNDLE` and `SSL_CERT_FILE` name other authorities: whoever sets them says whom to believe."""
    contexts = [Wire()._context(), ssl.create_default_context(), Server.of("smtps://mail.example").context]
    assert {(one.verify_mode, one.check_hostname) for one in contexts} == {(ssl.CERT_REQUIRED, True)}


@pytest.mark.usefixtures("tricked")
def test_microsoft_is_verified_whatever_the_environment_says() -> None:
    from reconciler.quota import Budget, Quota
    from reconciler.sources.microsoft_auth import account_for

    auth = MicrosoftAuth.model_validate(
        {"tenant": "acme.example", "client_id": "1", "client_secret": secret("MS")}, strict=False
    )
    account = account_for(
        auth, "https://graph.microsoft.com/v1.0/", {"MS": "s3cret"}, Quota("microsoft", Budget(), None)
    )
    with closing(account.con):
        for session in (account.con.session, account.con.naive_session):
            settings = session.merge_environment_settings("https://graph.microsoft.com/", {}, None, None, None)
            assert (session.verify, settings["verify"]) == (True, True)


def secret(name: str) -> Any:
    from reconciler.config.secret import Reference

    return Reference("auth", "env", name, Path())


def test_a_password_goes_nowhere_unencrypted() -> None:
    for url in ("http://robot:s3cret@gateway.acme.example:9091", "http://robot@gateway.acme.example"):
        with pytest.raises(WrongError, match="where others can read it"):
            GatewayUrl.accept(url)
    for url in (
        "https://robot:s3cret@gateway.acme.example",
        "http://gateway:9091",
        "http://robot:s3cret@127.0.0.1:9091",
    ):
        GatewayUrl.accept(url)


# ---- where data may lead --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("private", [False, True])
@pytest.mark.parametrize(
    "address",
    [
        *("169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "::a9fe:a9fe"),
        *("::ffff:0:a9fe:a9fe", "64:ff9b:1::a9fe:a9fe", "fe80::a9fe:a9fe", "fe80::1%eth0"),
        *("168.63.129.16", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "192.0.0.192", "::ffff:168.63.129.16"),
        *("0.0.0.0", "::", "224.0.0.1", "255.255.255.255", "240.0.0.1", "fec0::1", "no address"),  # noqa: S104
    ],
)
def test_no_url_leads_to_where_clouds_keep_credentials(address: str, *, private: bool) -> None:
    assert refused(address, private=private)


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "::7f00:1", "::ffff:0:7f00:1", "2002:7f00:1::"]
)
def test_this_machine_is_reached_by_no_name_of_another(address: str) -> None:
    assert refused(address) == "this machine"


def test_a_public_address_is_none_of_these() -> None:
    assert [refused(one) for one in ("8.8.8.8", "2606:4700::1111", "64:ff9b::808:808")] == [None, None, None]


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("env:CRM_URL", "names a secret"),
        ("file:/run/secrets/google.json", "names a secret"),
        ("../../other/ann.ics", "outside of the job's folder"),
        ("/etc/passwd", "outside of the job's folder"),
        ("http://169.254.169.254/latest", "only https"),
        ("http://127.0.0.1:9200/_search", "an address of this machine"),
        ("https://localhost./a.ics", "an address of this machine"),
        ("https://[::1]/a.ics", "an address of this machine"),
    ],
)
def test_a_row_of_the_crm_names_no_secret_and_no_file_elsewhere(tmp_path: Path, place: str, why: str) -> None:
    source = '[[source]]\nkind = "ics"\nagents = { query = "SELECT agent, calendar FROM people" }\n'
    parts = {"state": "sqlite:///s.db", "sources": source, "run": "", "allow": "[]", "crm": "", "policy": ""}
    (tmp_path / "acme.toml").write_text(JOB.format(**parts, limits=""))
    job = load(tmp_path / "acme.toml", {})

    def of(calendar: str) -> Directory:
        return agents.directory(job, {}, lambda _: [{"agent": "ann@acme.example", "calendar": calendar}])

    with pytest.raises(ConfigError, match=why):
        of(place)
    assert len(of("calendars/ann.ics").calendars) == 1


# ---- names in SQL ---------------------------------------------------------------------------------------------------

NASTY = "x\"`'; DROP TABLE canary; --"
ROLES = ("agent", "start", "end", "title", "status", "key", "version")


def spec(url: str) -> SqlSpec:
    columns = {role: f"{role} {NASTY} %s :x" for role in ROLES}
    return SqlSpec(
        url=url, table=NASTY, time="utc", columns={"id": f"id {NASTY}", **columns}, status={"confirmed": ("ok",)}
    )


def made(url: str) -> SqlSpec:
    """Make a table whose names are as hostile as names can be, and one that must outlive them."""
    hostile, metadata = spec(url), sa.MetaData()
    kinds: Mapping[str, Any] = {"start": sa.DateTime, "end": sa.DateTime, "version": sa.Integer}
    columns = [
        sa.Column(name, kinds.get(role, sa.String(191))) for role, name in hostile.columns.items() if role != "id"
    ]
    sa.Table(NASTY, metadata, sa.Column(hostile.columns["id"], sa.Integer, primary_key=True), *columns)
    sa.Table("canary", metadata, sa.Column("id", sa.Integer))
    engine = sa.create_engine(url, poolclass=sa.NullPool)
    metadata.create_all(engine)
    return hostile


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/crm.db"
    create: Callable[[], str] = request.getfixturevalue("postgres_database")
    return create()


def test_names_of_tables_and_columns_are_quoted_whatever_they_are(database: str) -> None:
    hostile = made(database)
    ann = Agent(email="ann@acme.example")
    window = Window(NOW, NOW + timedelta(days=7))
    with closing(SqlWriter(hostile, resolve=lambda _: ann, clock=lambda: NOW)) as writer:
        times = {"start": "2026-11-24T15:00:00Z", "end": "2026-11-24T16:00:00Z"}
        fields: Fields = {"agent": ann.email, **times, "all_day": False, "status": "confirmed", "title": NASTY}
        created = writer.create("key-1", fields)
        assert created.outcome is Outcome.DONE, created.why
        assert created.record is not None
        moved = writer.update(created.record.id, {"title": f"{NASTY} 2"}, version=created.record.version)
        assert moved.outcome is Outcome.DONE, moved.why
    with closing(SqlReader(hostile, resolve=lambda _: ann)) as reader:
        with reader.snapshot() as snapshot:
            [record] = [one for chunk in snapshot.chunks(window) for one in chunk.records()]
        assert record.fields["title"] == f"{NASTY} 2"
        assert all(check.ok for check in reader.checks() if check.name == "rows")
    engine = sa.create_engine(database, poolclass=sa.NullPool)
    assert sa.inspect(engine).has_table("canary")


# ---- files ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def open_handed() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.mark.skipif(os.name != "posix", reason="modes mean nothing here")
@pytest.mark.usefixtures("open_handed")
def test_whatever_is_kept_or_written_is_for_nobody_else_to_read(tmp_path: Path) -> None:
    from reconciler.cli import entry
    from reconciler.cli.world import World
    from reconciler.simulator import office

    path = office.furnish(tmp_path)
    kept = {one for one in tmp_path.rglob("*") if one.is_file()}
    world = World(environ={}, cwd=tmp_path, clock=lambda: NOW)
    assert entry.call(("run", path.stem, "-q"), world) in {0, 5}
    faces = ["--html", "r.html", "--csv", "r.csv", "--json", "r.json", "--xlsx", "r.xlsx"]
    assert entry.call(("report", path.stem, "-q", *faces), world) == 0
    new = {one for one in tmp_path.rglob("*") if one.is_file()} - kept
    assert {one.name for one in new} >= {"r.html", "r.csv", "r.json", "r.xlsx", "state.db"}
    assert {one.name: oct(one.stat().st_mode & 0o777) for one in new if one.stat().st_mode & 0o077} == {}


# ---- what people type -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("words", [("explain", "\udcff\udcfe12"), ("state", "subject", "\udcff@client.example")])
def test_bytes_that_are_no_text_are_refused_with_a_sentence(
    words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outside = Outside(environ={}, cwd=tmp_path, clock=lambda: NOW)
    assert entry.call([*words, "--job", "acme.toml"], outside) == 2
    assert "is no text: it has bytes that are not UTF-8" in capsys.readouterr().err


def test_a_file_may_be_called_what_is_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "\udcff.toml").write_text("name = 1")
    assert entry.call(["status", "\udcff.toml"], Outside(environ={}, cwd=tmp_path, clock=lambda: NOW)) == 2
    assert "problem" in capsys.readouterr().err
