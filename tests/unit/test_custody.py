"""Files that others can read or change are said to be so, once a command; strict_secrets does not read them."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from reconciler.cli import entry
from reconciler.cli.world import World
from reconciler.config import custody, load
from reconciler.config.named import exposed, secrets
from reconciler.errors import ConfigError
from tests.e2e.world import JOB
from tests.unit.test_docs import NOW

pytestmark = pytest.mark.skipif(os.name != "posix", reason="modes mean nothing here")


class Status:
    """What the system says of a file, as `os.stat` gives it."""

    def __init__(self, mode: int, uid: int, gid: int) -> None:
        self.st_mode, self.st_uid, self.st_gid = stat.S_IFREG | mode, uid, gid


@pytest.fixture
def as_user(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be user 1000, of the group 1000 and of 2000, as a container with `fsGroup: 2000` is."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "getegid", lambda: 1000)
    monkeypatch.setattr(os, "getgroups", lambda: [1000, 2000])
    return iter(())


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(
    ("mode", "uid", "gid", "says"),
    [
        (0o600, 1000, 1000, None),
        (0o400, 1000, 1000, None),
        (0o640, 1000, 1000, "can be read by all of group 1000"),
        (0o640, 1000, 2000, "can be read by all of group 2000"),
        (0o604, 1000, 1000, "can be read by every user of this machine"),
        (0o440, 0, 2000, None),  # a Secret that Kubernetes mounts with fsGroup
        (0o644, 0, 2000, "can be read by every user of this machine"),  # and without: defaultMode 0644
        (0o640, 0, 3000, "can be read by all of group 3000"),
        (0o440, 1001, 2000, "can be read by all of group 2000"),
        (0o400, 1001, 1001, "can be changed by user 1001, whose file it is"),
        (0o602, 1000, 1000, "can be changed by every user of this machine"),
        (0o620, 1000, 2000, "can be changed by all of group 2000"),
        (0o660, 0, 2000, None),
    ],
)
def test_who_can_get_at_a_secret(
    monkeypatch: pytest.MonkeyPatch, mode: int, uid: int, gid: int, says: str | None
) -> None:
    monkeypatch.setattr(custody, "_status", lambda path: Status(0o755 if path == Path("/run") else mode, uid, gid))
    monkeypatch.setattr(custody, "_replaceable", lambda _: iter(()))
    found = custody.of_secret(Path("/run/secret"))
    assert (found.what if found else None) == says


def test_root_hands_nothing_to_itself_by_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "getegid", lambda: 0)
    monkeypatch.setattr(custody, "_status", lambda _: Status(0o640, 0, 0))
    found = custody.of_secret(Path("/run/secret"))
    assert found is not None
    assert found.what == "can be read by all of group 0"


@pytest.mark.usefixtures("as_user")
@pytest.mark.parametrize(("mode", "gid", "fine"), [(0o664, 1000, True), (0o664, 100, False), (0o646, 1000, False)])
def test_a_job_file_may_be_read_by_all_and_changed_by_its_owner(
    monkeypatch: pytest.MonkeyPatch, mode: int, gid: int, *, fine: bool
) -> None:
    monkeypatch.setattr(custody, "_status", lambda _: Status(mode, 1000, gid))
    monkeypatch.setattr(custody, "_replaceable", lambda _: iter(()))
    assert (custody.of_settings(Path("acme.toml")) is None) is fine


def kept(folder: Path, name: str = "secret", mode: int = 0o600) -> Path:
    path = folder / name
    path.write_text("s3cret")
    path.chmod(mode)
    return path


def test_a_link_is_judged_by_where_it_leads(tmp_path: Path) -> None:
    kept(tmp_path, "..data", 0o644)
    (tmp_path / "secret").symlink_to("..data")
    found = custody.of_secret(tmp_path / "secret")
    assert found is not None
    assert "every user" in found.what
    kept(tmp_path, "..data", 0o600)
    assert custody.of_secret(tmp_path / "secret") is None


def test_the_folder_that_a_link_leads_into_is_judged_as_well_as_its_own(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "secret").symlink_to(kept(tmp_path / "open"))
    assert custody.of_secret(tmp_path / "secret") is None
    (tmp_path / "open").chmod(0o777)
    found = custody.of_secret(tmp_path / "secret")
    assert found is not None
    assert found.hint == f"chmod go-w {tmp_path}/open"


def test_a_link_of_somebody_else_can_be_turned_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = kept(tmp_path)
    theirs = Status(0o777, os.geteuid() + 1, 0)
    theirs.st_mode = stat.S_IFLNK | 0o777
    monkeypatch.setattr(custody, "_own", lambda _: theirs)
    found = custody.of_secret(path)
    assert found is not None
    assert "is a link that user" in found.what


def test_a_folder_that_others_may_write_into_is_said_but_for_one_like_tmp(tmp_path: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    path = kept(inner)
    assert custody.of_secret(path) is None
    inner.chmod(0o777)
    found = custody.of_secret(path)
    assert found is not None
    assert found.what == "is in a folder that can be changed by every user of this machine"
    assert found.hint == f"chmod go-w {inner}"
    inner.chmod(0o1777)
    assert custody.of_secret(path) is None


def test_a_folder_that_is_mounted_to_be_read_alone_is_changed_by_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = kept(tmp_path)
    tmp_path.chmod(0o777)
    assert custody.of_settings(path) is not None
    mounted = os.statvfs(tmp_path)
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_flag=mounted.f_flag | os.ST_RDONLY))
    assert custody.of_settings(path) is None
    tmp_path.chmod(0o700)


def test_what_is_not_there_is_no_exposure(tmp_path: Path) -> None:
    for path in (tmp_path / "no", tmp_path / ("x" * 400), tmp_path / "a\0b"):
        assert (custody.of_secret(path), custody.of_settings(path), custody.of_data(path)) == (None, None, None)


@pytest.mark.parametrize(
    ("mode", "fine"), [(0o600, True), (0o700, True), (0o640, False), (0o602, False), (0o644, False)]
)
def test_what_the_program_keeps_is_for_its_owner_alone(tmp_path: Path, mode: int, *, fine: bool) -> None:
    path = tmp_path / "state.db"
    path.touch()
    path.chmod(mode)
    assert (custody.of_data(path) is None) is fine


# ---- a job ----------------------------------------------------------------------------------------------------------

FEED = '[[source]]\nkind = "ics"\nagent = "ann@acme.example"\nurl = "file:feed"\n'
MAIL = '[report]\nmail = { to = ["ops@acme.example"], from = "r@acme.example", smtp = "file:smtp" }\n'


def job(folder: Path, strict: str = "false") -> Path:
    """Write a job with two secrets in files: a feed, which can be read by all, and a mail server."""
    for name, mode in (("feed", 0o644), ("smtp", 0o600)):
        kept(folder, name, mode)
    parts = {"state": "sqlite:///state.db", "sources": FEED, "run": "", "allow": "[]", "crm": "", "policy": ""}
    path = folder / "acme.toml"
    path.write_text(f"strict_secrets = {strict}\n{JOB.format(**parts, limits='')}\n{MAIL}")
    return path


def test_every_secret_of_a_job_is_known_wherever_it_stands(tmp_path: Path) -> None:
    assert [(one.key, str(one)) for one in secrets(load(job(tmp_path), {}))] == [
        ("source.url", "file:feed"),
        ("report.mail.smtp", "file:smtp"),
    ]


def test_files_of_a_job_that_others_can_get_at_are_listed_with_what_helps(tmp_path: Path) -> None:
    path = job(tmp_path)
    path.chmod(0o666)
    assert [(one.key, one.hint) for one in exposed(load(path, {}))] == [
        ("source.url", f"chmod 600 {tmp_path}/feed"),
        ("job", f"chmod go-w {path}"),
    ]


def test_strict_secrets_reads_no_file_that_others_can_read(tmp_path: Path) -> None:
    path = job(tmp_path, strict="true")
    feed, smtp = (each for each in secrets(load(path, {})))
    assert smtp.read({}) == "s3cret"
    with pytest.raises(ConfigError) as error:
        feed.read({})
    [problem] = error.value.problems
    assert problem.key == "source.url"
    assert "every user of this machine (strict_secrets)" in problem.what
    assert problem.hint == f"chmod 600 {tmp_path}/feed"
    (tmp_path / "feed").chmod(0o600)
    assert feed.read({}) == "s3cret"


def test_strict_secrets_are_those_of_an_agents_file_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job(tmp_path, strict="true")
    (tmp_path / "agents.csv").write_text("agent,calendar\nann@acme.example,file:feed\n")
    path.write_text(
        path.read_text().replace('agent = "ann@acme.example"\nurl = "file:feed"', 'agents = { file = "agents.csv" }')
    )
    assert entry.call(("run", str(path)), World(environ={}, cwd=tmp_path, clock=lambda: NOW)) == 2
    assert "strict_secrets" in capsys.readouterr().err


def test_a_command_warns_once_and_a_quiet_one_not_at_all(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = job(tmp_path)
    world = World(environ={}, cwd=tmp_path, clock=lambda: NOW)
    entry.call(("status", str(path)), world)
    said = capsys.readouterr().err
    assert said.count("the file feed can be read by every user of this machine") == 1
    assert "s3cret" not in said
    entry.call(("status", str(path), "--quiet"), world)
    assert "warning" not in capsys.readouterr().err
