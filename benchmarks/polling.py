"""What reading Google costs: the real job on the stand-in, beside Google's own client making the same requests.

The client is set up as its documentation recommends: one `events` resource, an HTTP object a thread, no retries. Each
line is the best of five (of three where it takes long), by CPU seconds of the one process; the server's are not in it,
nor is starting the program.
Usage: python benchmarks/polling.py WORK FOLDER JOB, JOB being `robot` (one token) or `delegated` (one an agent). WORK
is `run`; or the bare client's: `shared` and `built` poll what the job's state has cursors of, `pages` and `plain` read
everything whole.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import audit
import measure
import stand_in
from stand_in import DELEGATED, ROBOT

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS, FEWER = 5, 3
THREADS = 16
EVENTS = 10
PAGE = 250
FULL = 40
"""Calendars with a full page of events each, for what a first read costs an event."""
QUICK = 1_000
"""Calendars up to which the slow ways are measured as well."""
POLLS = {ROBOT: ("run", "shared", "built"), DELEGATED: ("run", "shared")}


# ---- in a process of its own ----------------------------------------------------------------------------------------


def run(folder: Path, job: str) -> None:
    """Run the job once, at the time it is."""
    from reconciler import run as program
    from reconciler.assembly import assemble
    from reconciler.config import load

    took: measure.Took = {}
    audit.watch(took)
    with measure.timed(took, "assemble"):
        setup = assemble(load(folder / f"{job}.toml", {}), {}, clock=lambda: datetime.now(UTC), dry_run=False)
    with measure.timed(took, "whole"), setup:
        result = program.run(setup, program.Options())
    modes = Counter(str(one.mode) for one in result.calendars)
    measure.tell(took, modes=dict(modes), findings=len(result.findings))


class Bare:
    """Google's client in the shape its own documentation recommends, and nothing around it."""

    def __init__(self, folder: Path, job: str, *, built: bool = False) -> None:
        import httplib2
        from googleapiclient.discovery import build

        info = json.loads((folder / "google.json").read_text())
        self._endpoint = f"{info['token_uri'].removesuffix('token')}calendar/v3/"
        self._local = threading.local()
        self._http = lambda: httplib2.Http(timeout=30)
        self._build = build
        self._built = built
        self._shared = self._service()
        self._credentials = _credentials(folder, job, info)

    def poll(self, agent: str, **query: object) -> dict[str, Any]:
        """Ask for one page of a calendar, with the parameters the job uses."""
        from google_auth_httplib2 import AuthorizedHttp

        events = self._service() if self._built else self._shared
        if not hasattr(self._local, "http"):
            self._local.http = self._http()
        mark = hashlib.sha1(agent.encode(), usedforsecurity=False).hexdigest()[:32]
        chain: dict[str, object] = {"singleEvents": False, "showDeleted": True, "maxResults": PAGE, "quotaUser": mark}
        request = events.list(calendarId=agent, **chain, **query)
        said = request.execute(http=AuthorizedHttp(self._credentials(agent), http=self._local.http), num_retries=0)
        if not isinstance(said, dict):
            raise TypeError(type(said))
        return said

    def _service(self) -> Any:  # noqa: ANN401  # the client's methods are made as it runs
        options = {"api_endpoint": self._endpoint}
        service = self._build("calendar", "v3", http=self._http(), cache_discovery=False, client_options=options)
        return service.events()


def _credentials(folder: Path, job: str, info: dict[str, str]) -> Callable[[str], Any]:
    from google.oauth2 import credentials, service_account

    from reconciler.sources.google_auth import READ_SCOPE

    if job == ROBOT:
        one = credentials.Credentials((folder / "token").read_text())
        return lambda _: one
    key = service_account.Credentials.from_service_account_info(info, scopes=[READ_SCOPE])
    return key.with_subject


def _tokens(folder: Path, job: str) -> dict[str, str]:
    """Return the sync token of each agent's calendar, from the job's state."""
    query = "SELECT calendars.agent, cursors.token FROM cursors JOIN calendars ON calendars.id = cursors.calendar"
    with closing(sqlite3.connect(folder / f"{job}.db")) as connection:
        return {agent: json.loads(token)["sync"] for agent, token in connection.execute(query)}


def shared(folder: Path, job: str) -> None:
    """Poll with one `events` resource for all threads and an HTTP object for each."""
    _poll(folder, job, built=False)


def built(folder: Path, job: str) -> None:
    """Poll with a service built for each calendar, as scripts do."""
    _poll(folder, job, built=True)


def _poll(folder: Path, job: str, *, built: bool) -> None:
    from reconciler.sources.google_transport import LIST_FIELDS

    tokens = list(_tokens(folder, job).items())
    bare = Bare(folder, job, built=built)

    def one(item: tuple[str, str]) -> None:
        agent, token = item
        said = bare.poll(agent, syncToken=token, fields=LIST_FIELDS, prettyPrint=False)
        if said["items"] or not said["nextSyncToken"]:
            raise ValueError(agent)

    _all(one, tokens)


def pages(folder: Path, job: str) -> None:
    """Read all calendars whole, as the job asks for them."""
    from reconciler.sources.google_transport import LIST_FIELDS

    _read(folder, job, fields=LIST_FIELDS, prettyPrint=False)


def plain(folder: Path, job: str) -> None:
    """Read all calendars whole with the defaults: every field, indented."""
    _read(folder, job)


def _read(folder: Path, job: str, **query: object) -> None:
    bare = Bare(folder, job)
    since = (datetime.now(UTC) - timedelta(days=7)).isoformat()

    def one(agent: str) -> None:
        if len(bare.poll(agent, timeMin=since, **query)["items"]) != PAGE:
            raise ValueError(agent)

    _all(one, (folder / "agents.csv").read_text().splitlines()[1:])


def _all(work: Callable[[Any], None], items: list[Any]) -> None:
    took: measure.Took = {}
    with measure.timed(took, "whole"), ThreadPoolExecutor(THREADS) as pool:
        for _ in pool.map(work, items):
            pass
    measure.tell(took)


WORK = {each.__name__: each for each in (run, shared, built, pages, plain)}


# ---- all of it ------------------------------------------------------------------------------------------------------


def quiet(calendars: int) -> dict[str, Any]:
    """Measure the second run on calendars that stand still, and the bare client beside it."""
    with TemporaryDirectory(prefix="bench-") as name, stand_in.stand_in(Path(name), calendars, EVENTS) as server:
        folder = Path(name)
        found: dict[str, Any] = {}
        for job, works in POLLS.items() if calendars <= QUICK else [(ROBOT, ("run", "shared"))]:
            _once(server, "run", folder, job)  # the first run, after which nothing changes
            for work in works * (REPEATS if calendars <= QUICK else FEWER):
                told = _once(server, work, folder, job)
                found[f"{job}: {work}"] = min(found.get(f"{job}: {work}", told), told, key=_seconds)
        return found


def whole() -> dict[str, Any]:
    """Measure the first read of calendars of one full page each."""
    found: dict[str, Any] = {}
    for _ in range(REPEATS):
        with TemporaryDirectory(prefix="bench-") as name, stand_in.stand_in(Path(name), FULL, PAGE) as server:
            for work in ("run", "pages", "plain"):
                told = _once(server, work, Path(name), ROBOT)
                found[work] = min(found.get(work, told), told, key=_seconds)
    return found


def _once(server: stand_in.StandIn, work: str, folder: Path, job: str) -> dict[str, Any]:
    server.ask()
    told = measure.apart("polling.py", work, folder, job)
    told["asked"] = server.ask()
    print(f"{work:8} {job:10} {_seconds(told):8.2f} s CPU {told['peak_mb']:6.0f} MB {told['asked']}", flush=True)
    return told


def _seconds(told: dict[str, Any]) -> float:
    seconds: float = told["took"]["whole"][1]
    return seconds


if __name__ == "__main__":
    WORK[sys.argv[1]](Path(sys.argv[2]), sys.argv[3])
