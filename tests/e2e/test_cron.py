"""Debian's cron itself installs the crontab and starts its shortest line, in namespaces of its own that end with it."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from reconciler.schedule import read
from reconciler.store import slots
from tests.e2e.test_timetable import settle
from tests.e2e.world import World, event

ROOT: Final = Path(__file__).resolve().parents[2]
CRON: Final = Path("/usr/sbin/cron")
PROGRAM: Final = Path(sys.executable).parent / "reconcile"
ISOLATED: Final = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
PATIENCE: Final = 150
"""Seconds: cron looks at its crontabs at the next full minute."""

# What the machine has of cron's is covered by what belongs to the test: nothing of it is read or changed.
COVERED: Final = """
mount --make-rprivate /
mount --bind spool /var/spool/cron
mount --bind nothing /etc/cron.d
mount --bind /dev/null /etc/crontab
mount --bind run /run
mount --bind pam /etc/pam.d/cron
"""
PAM: Final = "auth required pam_permit.so\naccount required pam_permit.so\nsession required pam_permit.so\n"


def lacking() -> str | None:
    """Say what this machine has not."""
    if not CRON.exists() or not shutil.which("crontab"):
        return "Debian's cron is not installed"
    if os.getuid() != 0 or subprocess.run([*ISOLATED, "true"], check=False, capture_output=True).returncode:
        return "only root may give cron a file system of its own, and not everywhere"
    return None if PROGRAM.exists() else "the program is not installed beside this Python"


pytestmark = pytest.mark.skipif(lacking() is not None, reason=str(lacking()))


@contextmanager
def covered(folder: Path, script: str) -> Iterator[subprocess.Popen[str]]:
    """Run a script where cron's folders are those of the test; all that it starts is gone afterwards."""
    for name in ("spool/crontabs", "nothing", "run"):
        (folder / name).mkdir(parents=True)
    (folder / "pam").write_text(PAM)
    command = [*ISOLATED, "sh", "-e", "-c", COVERED + script]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_cron_takes_the_crontab_as_it_is(tmp_path: Path) -> None:
    with covered(tmp_path, f"crontab -n {ROOT}/crontab\ncrontab {ROOT}/crontab\ncrontab -l\n") as process:
        said, _ = process.communicate(timeout=60)
    assert process.returncode == 0, said
    installed = tmp_path / "installed"
    installed.write_text(said[said.index("CRON_TZ") :])
    assert [each.words for each in read(installed).entries] == [each.words for each in read(ROOT / "crontab").entries]


@pytest.mark.slow
def test_cron_starts_a_run_and_the_run_serves_its_slot(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    world = World(home, now=datetime.now(UTC))
    world.write("ann@acme.example", event("a", start=world.now.replace(microsecond=0) + timedelta(days=2)))
    settle(world)
    [shortest] = [line for line in (ROOT / "crontab").read_text().splitlines() if line.startswith("*/5 ")]
    command = shortest.split(maxsplit=5)[5].replace(" --quiet", "")
    lines = [f"HOME={home}", f"PATH={PROGRAM.parent}:/usr/bin:/bin", f"* * * * * {command} >said 2>&1; echo $? >ended"]
    (home / "crontab").write_text("\n".join([*lines, ""]))
    os.mkfifo(home / "ended")
    before = datetime.now(UTC)
    assert ended(tmp_path, home) == "0\n", (home / "said").read_text()
    assert "1 of 1 calendar seen, 1 event" in (home / "said").read_text()
    assert len(world.rows()) == 1
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        [served] = slots.noted(connection, setup.state, before - timedelta(days=1))
    assert (served.command, served.exit_code, served.at.second) == ("run", 0, 0)
    assert before - timedelta(minutes=1) < served.at <= datetime.now(UTC)


def ended(folder: Path, home: Path) -> str:
    """Let cron work until the line that it is to start says how it ended, and return that."""
    pipe = os.open(home / "ended", os.O_RDONLY | os.O_NONBLOCK)
    try:
        with covered(folder, f"crontab {home}/crontab\nexec {CRON} -f -L 15\n") as process:
            died = os.pidfd_open(process.pid)
            ready, _, _ = select.select([pipe, died], [], [], PATIENCE)
            os.close(died)
            assert pipe in ready, "cron ended" if ready else f"nothing was started within {PATIENCE} s"
            return os.read(pipe, 100).decode()
    finally:
        os.close(pipe)
