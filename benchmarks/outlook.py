"""What reading Outlook costs: our source on the stand-in Graph, beside O365's own `get_events` and its bare connection.

Each line is the best of three processes, by CPU seconds of that one process; the server is another one, and starting
is in none: everything is done once on a mailbox of its own before the clock runs. One thread, a mailbox after another.
Usage: python benchmarks/outlook.py serve FOLDER MAILBOXES EVENTS, or WORK FOLDER, WORK being one of `WORK`'s names.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import measure
import stand_in

if TYPE_CHECKING:
    from O365.account import Account

    from reconciler.model import Calendar, Cursor, Pull
    from reconciler.sources.microsoft import MicrosoftSource

REPEATS = 3
EVENTS = 250
MAILBOXES = 21
"""The first one is for warming up, and is in no figure."""
POLLS = 10
"""Of each mailbox, for what a quiet one costs."""

PAST, FUTURE = timedelta(days=7), timedelta(days=60)


# ---- the server's process -------------------------------------------------------------------------------------------


def events(mailbox: int, count: int, since: datetime) -> list[dict[str, Any]]:
    """Write one agent's events as people make them in Outlook, five hours apart from `since` on."""
    return [_event(mailbox, number, since + timedelta(hours=5 * number)) for number in range(count)]


def _event(mailbox: int, number: int, start: datetime) -> dict[str, Any]:
    guests = (stand_in.agent(mailbox), f"client{mailbox}-{number}@mail.example")
    return {
        "subject": f"Showing {number} Oak Street",
        "body": {"contentType": "html", "content": f"<html><body><p>{stand_in.TALK}</p></body></html>"},
        "location": {"displayName": f"{number} Oak Street, Springfield"},
        "start": {"dateTime": f"{start:%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
        "end": {"dateTime": f"{start + timedelta(hours=1):%Y-%m-%dT%H:%M:%S}", "timeZone": "UTC"},
        "attendees": [{"emailAddress": {"address": one, "name": "Jane Doe"}, "type": "required"} for one in guests],
    }


def serve(folder: Path, mailboxes: int, each: int) -> None:
    from reconciler.simulator.graph import GraphSimulator, Limits

    limits = Limits(per_mailbox=stand_in.EVERYTHING, per_app=stand_in.EVERYTHING)
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    with GraphSimulator(limits=limits) as server:
        for number in range(mailboxes):
            mailbox = server.mailbox(stand_in.agent(number))
            for event in events(number, each, now - timedelta(days=2)):
                mailbox.insert(event)
        (folder / "token").write_text(server.token(hours=24))
        (folder / "token").chmod(0o600)
        (folder / "endpoint").write_text(server.url)
        print(server.url, flush=True)
        for _ in sys.stdin:
            print(json.dumps({"calendar": len(server.requests())}), flush=True)
            server.ledger.clear()


# ---- ours -----------------------------------------------------------------------------------------------------------


def _source(folder: Path) -> MicrosoftSource:
    """Return the source as a job has it, but for its ledger, which is this process's own."""
    from reconciler.config import MicrosoftAuth, Secret
    from reconciler.config.secret import Reference
    from reconciler.quota import Budget, Quota
    from reconciler.sources.microsoft import MicrosoftSource
    from reconciler.sources.microsoft_auth import account_for
    from reconciler.sources.microsoft_transport import Graph

    most = stand_in.EVERYTHING
    quota = Quota("microsoft", Budget(per_minute=most, per_agent_minute=most), None)
    auth = MicrosoftAuth.model_validate({"token": Secret(Reference("", "file", "token", folder))})
    account = account_for(auth, (folder / "endpoint").read_text(), {}, quota)
    return MicrosoftSource(name="microsoft", graph=Graph(account, quota))


def _calendar(number: int) -> Calendar:
    from reconciler.model import Agent, Calendar

    return Calendar(source="microsoft", kind="microsoft", agent=Agent(email=stand_in.agent(number)))


def _pulled(source: MicrosoftSource, number: int, cursor: Cursor | None = None) -> Pull:
    """Read one mailbox; what is not what this measures is no figure but an error."""
    from reconciler.model import Mode, Pull, Window
    from reconciler.sources import PullRequest

    now = datetime.now(UTC)
    request = PullRequest(calendar=_calendar(number), window=Window.around(now, PAST, FUTURE), now=now, cursor=cursor)
    pull = source.pull(request)
    wanted = (Mode.FULL, EVENTS) if cursor is None else (Mode.INCREMENTAL, 0)
    if not isinstance(pull, Pull) or (pull.mode, len(pull.events)) != wanted:
        raise TypeError(pull)
    return pull


def read(folder: Path) -> None:
    """Read mailboxes for the first time."""
    source = _source(folder)
    _each(lambda number: _pulled(source, number))


def quiet(folder: Path) -> None:
    """Read mailboxes in which nothing happened since."""
    source = _source(folder)
    cursors = [_pulled(source, number).cursor for number in range(MAILBOXES)]
    _each(lambda number: [_pulled(source, number, cursors[number]) for _ in range(POLLS)])


# ---- the library's own way ------------------------------------------------------------------------------------------


def _account(folder: Path) -> Account:
    """Return O365's account as its documentation has it; its pause between requests is off, which costs it no CPU."""
    from O365 import Account, MSGraphProtocol
    from O365.utils.token import MemoryTokenBackend

    class Local(MSGraphProtocol):
        _protocol_url = (folder / "endpoint").read_text().removesuffix("v1.0/")

    class Given(MemoryTokenBackend):
        """Holds the token that there is."""

        def get_access_token(self, *, username: str | None = None) -> dict[str, str]:
            del username
            return {"secret": (folder / "token").read_text(), "expires_on": str(int(time.time()) + 86_400)}

    options = {"auth_flow_type": "credentials", "tenant_id": "bench", "requests_delay": 0, "timeout": 30}
    account = Account(("id", "secret"), protocol=Local(timezone="UTC"), token_backend=Given(), **options)
    account.con.session = account.con.get_session()
    account.con.session.trust_env = False  # ours looks for no proxy on the way to this machine either
    return account


def _listed(account: Account, number: int) -> list[object]:
    now = datetime.now(UTC).replace(microsecond=0)
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - PAST, now + FUTURE))
    schedule = account.schedule(resource=stand_in.agent(number))
    window = {"include_recurring": True, "start_recurring": start, "end_recurring": end}
    # limit=None, for any other up to 999 reads the first page alone; all 250 come as one page in any case.
    found = list(schedule.get_events(limit=None, batch=EVENTS, **window))
    if len(found) != EVENTS:
        raise ValueError(len(found))
    return found


def listed(folder: Path) -> None:
    """Read mailboxes with `get_events`, which has no other way to see that nothing happened either."""
    account = _account(folder)
    _each(lambda number: _listed(account, number))


def _bare(account: Account, link: str, items: int) -> str:
    """Turn the pages behind a link as our source asks for them; return the link to the next round."""
    from reconciler.sources.microsoft_transport import prefer

    seen = 0
    while True:
        page = account.con.get(link, headers=prefer(200)).json()
        seen += len(page["value"])
        if "@odata.deltaLink" in page:
            break
        link = page["@odata.nextLink"]
    if seen != items:
        raise ValueError(seen)
    return str(page["@odata.deltaLink"])


def _first(folder: Path, number: int) -> str:
    now = datetime.now(UTC)
    start, end = (f"{moment:%Y-%m-%dT%H:%M:%SZ}" for moment in (now - PAST, now + FUTURE + timedelta(days=14)))
    root = (folder / "endpoint").read_text()
    return f"{root}users/{stand_in.agent(number)}/calendarView/delta?startDateTime={start}&endDateTime={end}"


def pages(folder: Path) -> None:
    """Ask O365's connection for the same first rounds, and read their JSON; whose mailbox it is costs ours one more."""
    account = _account(folder)
    _each(lambda number: _bare(account, _first(folder, number), EVENTS))


def links(folder: Path) -> None:
    """Ask O365's connection for the same later rounds, and read their JSON."""
    account = _account(folder)
    known = [_bare(account, _first(folder, number), EVENTS) for number in range(MAILBOXES)]
    _each(lambda number: [_bare(account, known[number], 0) for _ in range(POLLS)])


# ---- measuring ------------------------------------------------------------------------------------------------------


def _each(work: Callable[[int], object]) -> None:
    """Time the work on each mailbox but the first."""
    work(0)
    took: measure.Took = {}
    with measure.timed(took, "whole"):
        for number in range(1, MAILBOXES):
            work(number)
    measure.tell(took)


def held(folder: Path) -> None:
    """Tell what an event takes in memory while it is read at most, and once it is: ours, and O365's."""
    source, account = _source(folder), _account(folder)
    ours = _traced(lambda number: _pulled(source, number))
    theirs = _traced(lambda number: _listed(account, number))
    measure.tell({"whole": [0.0, 0.0]}, bytes={"ours": ours, "theirs": theirs})


def _traced(work: Callable[[int], object]) -> list[float]:
    """Return the bytes that an event takes: kept, and at most."""
    work(0)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept = work(1)
    _, most = tracemalloc.get_traced_memory()
    gc.collect()
    after, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept
    return [(after - before) / EVENTS, (most - before) / EVENTS]


WORK: dict[str, Callable[[Path], None]] = {one.__name__: one for one in (read, quiet, listed, pages, links, held)}


def measured() -> dict[str, Any]:
    """Measure all of it."""
    found: dict[str, Any] = {}
    folder = TemporaryDirectory(prefix="bench-")
    with folder as name, stand_in.stand_in(Path(name), MAILBOXES, EVENTS, "outlook.py", "serve") as server:
        for work in list(WORK) * REPEATS:
            server.ask()
            told = measure.apart("outlook.py", work, name)
            told["asked"] = server.ask()
            print(f"{work:8} {_seconds(told):8.3f} s CPU {told['peak_mb']:6.0f} MB {told['asked']}", flush=True)
            found[work] = min(found.get(work, told), told, key=_seconds)
    return found


def _seconds(told: dict[str, Any]) -> float:
    seconds: float = told["took"]["whole"][1]
    return seconds


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
    else:
        WORK[sys.argv[1]](Path(sys.argv[2]))
