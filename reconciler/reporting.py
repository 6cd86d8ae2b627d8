"""A report put together: what the state knows of a period, narrowed to whose it is, masked, and then told.

Only the state and the people of the job file are asked: no calendar, no provider's credential, and of the CRM at most
the query that names the agents. Where that does not answer, the report is made of the calendars that the state knows,
and says so.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final, Self, TypeVar

from reconciler.agents import names_of
from reconciler.assembly import Clock, people_of
from reconciler.config import Google, Microsoft
from reconciler.config.brand import logo
from reconciler.errors import ReconcilerError, UsageError
from reconciler.report.build import build
from reconciler.report.look import Look
from reconciler.report.mask import masked_period
from reconciler.report.recorded import STALE, Recorded
from reconciler.report.report import Report
from reconciler.report.route import Part, folded, narrowed
from reconciler.report.words import bounded
from reconciler.store.recorded import Wanted, recorded
from reconciler.store.state import State, open_state

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.agents import Directory
    from reconciler.config import Job
    from reconciler.config.sections import Route
    from reconciler.model import Agent

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """What reports of a job are made at. `directory` is None where nobody could say who its people are.

    `notes` say what could not be had.
    """

    job: Job
    state: State
    clock: Clock
    directory: Directory | None
    logo: str | None = None
    notes: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Release the connections to the state."""
        self.state.engine.dispose()


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What is asked for: a period (see `store.recorded.Wanted`), all of the job or the part of one `route`.

    It is `masked` where the job file or the command line says so. `word` is what the job is called in commands.
    """

    word: str
    since: datetime | None = None
    until: datetime | None = None
    run: str | None = None
    channel: str | None = None
    urgent: bool = False
    route: Route | None = None
    masked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """A report, and what it was made of, which is narrowed and masked as the report is."""

    recorded: Recorded
    report: Report
    look: Look


def desk(job: Job, environ: Mapping[str, str], *, clock: Clock) -> Desk:
    """Open what reports are made of. Raises ConfigError and StateError as `open_state`."""
    state = open_state(job.state.reveal(environ), job.name)
    try:
        people, unknown = _had(_WITHOUT_PEOPLE, lambda: people_of(job, environ))
        picture, unseen = _had(_WITHOUT_LOGO, lambda: logo(job.report.logo) if job.report.logo else None)
    except BaseException:
        state.engine.dispose()
        raise
    return Desk(job=job, state=state, clock=clock, directory=people, logo=picture, notes=(*unknown, *unseen))


def _had(without: str, make: Callable[[], T | None]) -> tuple[T | None, tuple[str, ...]]:
    """Return what is made; where that fails, nothing and a note: a report is worth more than how complete it is."""
    try:
        return make(), ()
    except ReconcilerError as error:
        return None, (f"{without}: {bounded(str(error).partition(chr(10))[0], 200)}",)


_WITHOUT_PEOPLE: Final = (
    "The people of this job could not be read, so its calendars are listed as the last runs knew them"
)
_WITHOUT_LOGO: Final = "The logo could not be read"


@contextmanager
def report_of(desk: Desk, asked: Asked) -> Iterator[Made]:
    """Make a report; its rows can be walked through for as long as this lasts.

    Raises UsageError where there is no run to tell of, or where nobody can say whose part a route is.
    """
    part = part_of(desk, asked.route) if asked.route else None
    with desk.state.reading() as connection:
        read = recorded(connection, desk.state, _wanted(desk, asked, part))
        read = replace(read, office_of=_offices(desk), notes=desk.notes)
        if part is not None:
            read = narrowed(read, part)
        if asked.masked or desk.job.report.mask:
            read = masked_period(read, _visible(desk, read))
        look = replace(look_of(desk.job, desk.directory, asked.word), logo=desk.logo)
        yield Made(recorded=read, report=build(read, look, urgent=asked.urgent), look=look)


def _wanted(desk: Desk, asked: Asked, part: Part | None) -> Wanted:
    wanted = Wanted(
        made_at=desk.clock(),
        since=asked.since,
        until=asked.until,
        run=asked.run,
        channel=asked.channel,
        urgent=asked.urgent,
        calendars=desk.directory.calendars if desk.directory else None,
        kinds={source.name: source.kind for source in desk.job.sources},
        zone=desk.job.report.timezone,
        stale=stale_after(desk.job),
    )
    if part is None or asked.route is None:
        return wanted
    offices = frozenset(asked.route.office or ()) if part.has_days else None
    return replace(wanted, offices=offices, concerns=part.concerns)


def stale_after(job: Job) -> timedelta:
    """Return how old the latest run may be: a day, or as long as `[run] freshness` lets a calendar go unread."""
    return max(STALE, job.run.freshness)


# ---- who may see what -----------------------------------------------------------------------------------------------


def part_of(desk: Desk, route: Route) -> Part:
    """Return whose part of the report a route is. Raises UsageError where nobody can say, or nobody is meant."""
    addresses, offices = {folded(address) for address in route.agent or ()}, set(route.office or ())
    domains = tuple(folded(domain) for domain in desk.job.policy.internal_domains)
    name = bounded(", ".join([*sorted(offices), *sorted(addresses)]))
    if desk.directory is None:
        if offices:
            raise UsageError(f"Who is in {name} is not known now, so this part is not told: {' '.join(desk.notes)}")
        return Part(name=name, own=frozenset(addresses), domains=domains, is_strict=True)
    mine = [agent for agent in desk.directory.agents if agent.office in offices or addresses & _names(agent)]
    known = {name for agent in mine for name in (*_names(agent), agent.office)}
    unknown = bounded(", ".join(sorted((addresses | offices) - known)))
    note = f"report.route names {unknown}, and no agent of this job is that."
    if not mine:
        raise UsageError(note)
    own = {agent.email for agent in mine}
    return Part(
        name=name,
        own=frozenset(addresses.union(*(_names(agent) for agent in mine))),
        others=frozenset().union(*(_names(agent) for agent in desk.directory.agents if agent.email not in own)),
        domains=domains,
        has_days=all(agent.office in offices for agent in mine),
        notes=(note,) if unknown else (),
    )


def _names(agent: Agent) -> frozenset[str]:
    return frozenset(folded(name) for name in names_of(agent))


def _visible(desk: Desk, read: Recorded) -> frozenset[str]:
    """Return the addresses of the brokerage's own people, which a masked report shows."""
    agents = desk.directory.agents if desk.directory else ()
    known = {address for agent in agents for address in (agent.email, *agent.aliases)}
    return frozenset(known | {watched.place.agent for watched in read.calendars})


# ---- how it looks ---------------------------------------------------------------------------------------------------


def look_of(job: Job, directory: Directory | None, word: str) -> Look:
    """Return how people are shown what a job comes to; `word` is what it is called in commands."""
    words = {name: str(getattr(job.limits, name)) for name in ("create", "update", "cancel", "delete", "agent_cancel")}
    words["day"] = f"{job.limits.day} runs' worth"
    agents = directory.agents if directory else ()
    return Look(
        job=word,
        zone=job.report.timezone,
        zones={agent.email: agent.timezone for agent in agents if agent.timezone},
        limits=words,
        title=job.report.title,
        colour=job.report.colour,
        link=job.crm.link,
        endpoints={source.name: source.endpoint for source in job.sources if isinstance(source, Google | Microsoft)},
    )


def _offices(desk: Desk) -> dict[str, str]:
    agents = desk.directory.agents if desk.directory else ()
    return {agent.email: agent.office for agent in agents if agent.office}
