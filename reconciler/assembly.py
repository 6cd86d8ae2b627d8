"""Put a run together from its job file: state, people, sources, CRM. What is not needed is not opened."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from reconciler import agents
from reconciler.config import CsvCrm, Google, GoogleAuth, Ics, Microsoft, MicrosoftAuth, SqlCrm
from reconciler.errors import ConfigError, Problem
from reconciler.model import Direction
from reconciler.setup import Setup, Writers
from reconciler.store.state import open_state, was_bound

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.config import Job
    from reconciler.config import Source as SourceTable
    from reconciler.crm import Reader, Writer
    from reconciler.crm.csv import CsvSpec
    from reconciler.crm.reflect import SqlSpec
    from reconciler.quota import Budget, Quota
    from reconciler.sources import CalendarWriter, Source
    from reconciler.store.quota import Engine
    from reconciler.store.state import State

Clock: TypeAlias = Callable[[], datetime]
WriterOf: TypeAlias = "Callable[[Callable[[], float]], CalendarWriter]"
"""Makes what writes a source's calendars, given how many seconds are left for it."""

_PROJECT: Final = re.compile(r"[a-z0-9][a-z0-9.:-]{0,99}", re.ASCII)
"""The id of a project; an old one has its organisation's domain and a colon before it."""


@dataclass(slots=True)
class Quotas:
    """The budgets of a job, one a provider's project: what its sources spend together.

    They are shared with other processes through the state database behind `engine`; None keeps them to this process.
    `make` is given where time is not to pass by itself.
    """

    job: Job
    engine: Engine | None
    make: Callable[[str, Budget, Engine | None], Quota] | None = None
    made: dict[str, Quota] = field(default_factory=dict)

    def of(self, provider: str) -> Quota:
        """Return the budget of this project."""
        if provider not in self.made:
            from reconciler.quota import Quota

            self.made[provider] = (self.make or Quota)(provider, budget_of(self.job, provider), self.engine)
        return self.made[provider]


def assemble(
    job: Job,
    environ: Mapping[str, str],
    *,
    clock: Clock,
    dry_run: bool,
    quota: Callable[[str, Budget, Engine | None], Quota] | None = None,
) -> Setup:
    """Return what a run of `job` works with. A dry run gets no writer.

    Raises ConfigError with every problem, StateError when the state database can't be used.
    """
    people = directory(job, environ)
    with ExitStack() as opened:
        state = open_state(job.state.reveal(environ), job.name)
        opened.callback(state.engine.dispose)
        quotas = Quotas(job, state.engine, quota)
        reader = reader_of(job, environ, people, state)
        opened.callback(reader.close)
        setup = Setup(
            job=job,
            state=state,
            directory=people,
            sources=_sources_of(environ, quotas, clock, opened),
            reader=reader,
            writers=None if dry_run else _writers_of(environ, people, quotas, clock, reader.identity),
            clock=clock,
            quotas=quotas.made,
        )
        opened.pop_all()  # from here on the setup closes what is open
    return setup


def directory(job: Job, environ: Mapping[str, str]) -> Directory:
    """Return the people and calendars of `job`; agents may be a query on its CRM."""
    return _directory(job, environ, environ)


def people_of(job: Job, environ: Mapping[str, str]) -> Directory:
    """Return who the people of `job` are and what their calendars are called: no address of a feed is looked up."""
    return _directory(job, environ, None)


def _directory(job: Job, environ: Mapping[str, str], feeds: Mapping[str, str] | None) -> Directory:
    asks = any(getattr(table.agents, "query", None) for table in job.sources)
    if not asks or not isinstance(job.crm, SqlCrm):
        return agents.directory(job, feeds)
    from reconciler.crm.sql import SqlReader

    reader = SqlReader(_sql_spec(job.crm.model_copy(update={"write_url": None}), environ), resolve=lambda _: None)
    try:
        return agents.directory(job, feeds, reader.query)
    finally:
        reader.close()


# ---- sources --------------------------------------------------------------------------------------------------------


def _sources_of(environ: Mapping[str, str], quotas: Quotas, clock: Clock, opened: ExitStack) -> dict[str, Source]:
    """Return the sources by name. Raises ConfigError with the problems of all of them."""
    job = quotas.job
    sources: dict[str, Source] = {}
    problems: list[Problem] = []
    for table in job.sources:
        try:
            source = sources[table.name] = source_of(table, environ, clock, quotas)
        except ConfigError as error:
            problems += error.problems
        else:
            opened.callback(close, source)
    if problems:
        raise ConfigError(tuple(problems), where=str(job.path))
    return sources


def source_of(table: SourceTable, environ: Mapping[str, str], clock: Clock, quotas: Quotas) -> Source:
    """Return the source that reads the calendars of one `[[source]]`, within the budget of its project."""
    if isinstance(table, Ics):
        from reconciler.sources.ics import IcsSource

        return IcsSource(
            name=table.name, absence=table.absence, allow_private=table.allow_private, base=quotas.job.base
        )
    quota = quotas.of(provider_of(table, environ))
    if isinstance(table, Microsoft):
        return _microsoft(table, environ, quota, clock)
    return _google(table, environ, quota, clock)


def close(source: Source) -> None:
    """Release the connections of a source that has some."""
    release = getattr(source, "close", None)
    if release is not None:
        release()


# ---- what writes ----------------------------------------------------------------------------------------------------


def _writers_of(environ: Mapping[str, str], people: Directory, quotas: Quotas, clock: Clock, crm: str) -> Writers:
    """Return what may write, `crm` included. Raises ConfigError with the problems of all credentials for writing."""
    job = quotas.job
    made: dict[str, WriterOf] = {}
    problems: list[Problem] = []
    for table in job.sources if writes_calendars(job) else ():
        if isinstance(table, Ics):
            continue  # a file or a feed can only be read
        try:
            made[table.name] = calendar_writer_of(table, environ, clock, quotas)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems), where=str(job.path))
    budget = quotas.of(f"{job.crm.kind}:{crm}") if job.crm.kind in job.budget else None
    return Writers(crm=writer_of(job, environ, people, clock), calendars=made, budget=budget)


def writes_calendars(job: Job) -> bool:
    """Tell whether the job's direction leads to calendars at all."""
    return job.policy.sync is not Direction.CALENDAR_TO_CRM


def writes_crm(job: Job) -> bool:
    """Tell whether the job's direction leads to the CRM at all."""
    return job.policy.sync is not Direction.CRM_TO_CALENDAR


def calendar_writer_of(table: Google | Microsoft, environ: Mapping[str, str], clock: Clock, quotas: Quotas) -> WriterOf:
    """Return what makes the writing half of a source, by `auth_write` if there is one, else by `auth`.

    The credential is read now, so that no run begins that could not end; nothing is sent before something is written.
    Whoever calls what is returned closes the connections of the writer that it makes.
    """
    quota = quotas.of(provider_of(table, environ, write=True))
    if isinstance(table, Microsoft):
        return _microsoft_writer(table, environ, quota, clock)
    return _google_writer(table, environ, quota, clock)


# ---- Google and Microsoft -------------------------------------------------------------------------------------------


def budget_of(job: Job, provider: str) -> Budget:
    """Return what a job may ask of a provider, named by its kind or as `provider_of` does."""
    from reconciler.quota import budget_for

    kind = provider.partition(":")[0]
    return budget_for(kind, job.budget.get(kind))


def provider_of(table: Google | Microsoft, environ: Mapping[str, str], *, write: bool = False) -> str:
    """Name the project that a provider charges with what a source asks: all who act for it share one budget.

    A credential that does not say its project, or can't be read, counts with the others that don't.
    """
    if isinstance(table, Microsoft):
        client = microsoft_auth(table, write=write).client_id
        return f"microsoft:{client}" if client else "microsoft"
    project = _project(google_auth(table, write=write), environ)
    return f"google:{project}" if _PROJECT.fullmatch(project) else "google"


def google_auth(table: Google, *, write: bool) -> GoogleAuth:
    """Return the credential for reading, or for writing."""
    return table.auth_write if write and table.auth_write is not None else table.auth


def microsoft_auth(table: Microsoft, *, write: bool) -> MicrosoftAuth:
    """Return the credential for reading, or for writing."""
    return table.auth_write if write and table.auth_write is not None else table.auth


def _project(auth: GoogleAuth, environ: Mapping[str, str]) -> str:
    if auth.impersonate is not None:
        name, _, domain = auth.impersonate.partition("@")[2].partition(".")
        return name if domain == "iam.gserviceaccount.com" else ""
    if auth.service_account is None:
        return ""
    try:
        return str(json.loads(auth.service_account.reveal(environ))["project_id"])
    except (ConfigError, ValueError, TypeError, KeyError):
        return ""  # what is wrong with the key is said where it is used


def _google(table: Google, environ: Mapping[str, str], quota: Quota, clock: Clock) -> Source:
    from reconciler.sources.google import GoogleSource
    from reconciler.sources.google_auth import tokens_for
    from reconciler.sources.google_grants import Sender
    from reconciler.sources.google_transport import GoogleCalendar
    from reconciler.sources.wire import Wire

    now = _seconds(clock)
    wire = Wire()
    tokens = tokens_for(table.auth, environ, Sender(wire, quota, now), alone=_is_of_one(table))
    return GoogleSource(name=table.name, api=GoogleCalendar(table.endpoint, tokens, quota, wire, clock=now))


def _google_writer(table: Google, environ: Mapping[str, str], quota: Quota, clock: Clock) -> WriterOf:
    from reconciler.sources.google_auth import tokens_for
    from reconciler.sources.google_grants import Sender
    from reconciler.sources.google_transport import WritableGoogleCalendar
    from reconciler.sources.google_writes import GoogleWriter
    from reconciler.sources.wire import Wire

    now = _seconds(clock)
    wire, auth = Wire(), google_auth(table, write=True)
    tokens = tokens_for(auth, environ, Sender(wire, quota, now), alone=_is_of_one(table))

    def make(patience: Callable[[], float]) -> CalendarWriter:
        google = WritableGoogleCalendar(table.endpoint, tokens, quota, wire, clock=now)
        return GoogleWriter(google, patience=patience, clock=now)

    return make


def _microsoft(table: Microsoft, environ: Mapping[str, str], quota: Quota, clock: Clock) -> Source:
    from reconciler.sources.microsoft import MicrosoftSource
    from reconciler.sources.microsoft_auth import account_for
    from reconciler.sources.microsoft_transport import Graph

    now = _seconds(clock)
    account = account_for(table.auth, table.endpoint, environ, quota, clock=now)
    return MicrosoftSource(name=table.name, graph=Graph(account, quota, clock=now))


def _microsoft_writer(table: Microsoft, environ: Mapping[str, str], quota: Quota, clock: Clock) -> WriterOf:
    from reconciler.sources.microsoft_auth import account_for
    from reconciler.sources.microsoft_writes import MicrosoftWriter, WritableGraph

    now = _seconds(clock)
    account = account_for(microsoft_auth(table, write=True), table.endpoint, environ, quota, clock=now)

    def make(patience: Callable[[], float]) -> CalendarWriter:
        return MicrosoftWriter(WritableGraph(account, quota, clock=now), patience=patience, clock=now)

    return make


def _seconds(clock: Clock) -> Callable[[], float]:
    def now() -> float:
        return clock().timestamp()

    return now


def _is_of_one(table: Google) -> bool:
    return table.agents.listed is not None and len(table.agents.listed) == 1


# ---- the CRM --------------------------------------------------------------------------------------------------------


def reader_of(job: Job, environ: Mapping[str, str], people: Directory, state: State) -> Reader:
    """Return the reading half of the job's CRM; the database itself keeps it from writing."""
    known = was_bound(state)
    if isinstance(job.crm, CsvCrm):
        from reconciler.crm.csv import CsvReader

        return CsvReader(_csv_spec(job.crm), resolve=people.agent_of, agents=_mark(people), known=known)
    from reconciler.crm.sql import SqlReader

    spec = _sql_spec(job.crm, environ)
    return SqlReader(spec, resolve=people.agent_of, agents=_mark(people), known=known)


def writer_of(
    job: Job, environ: Mapping[str, str], people: Directory, clock: Callable[[], datetime]
) -> Callable[[], Writer]:
    """Return what makes the writing half; it is opened only when there is something to write."""
    crm = job.crm

    def make() -> Writer:
        from reconciler.crm.writes import SqlWriter

        if not isinstance(crm, SqlCrm):
            raise TypeError(crm.kind)  # nothing is allowed to a CSV export, so no plan asks for a writer
        return SqlWriter(_sql_spec(crm, environ), resolve=people.agent_of, clock=clock)

    return make


def _mark(people: Directory) -> str:
    known = sorted(
        (name, agent.email, agent.timezone or "", agent.crm_owner or "") for name, agent in people.people.items()
    )
    return hashlib.blake2b(repr(known).encode(), digest_size=16).hexdigest()


def _status(crm: SqlCrm | CsvCrm) -> dict[str, tuple[str, ...]]:
    return {} if crm.status is None else {name: tuple(str(value) for value in values) for name, values in crm.status}


def _sql_spec(crm: SqlCrm, environ: Mapping[str, str]) -> SqlSpec:
    from reconciler.crm.reflect import Lookup, SqlSpec

    return SqlSpec(
        url=crm.url.reveal(environ),
        write_url=crm.write_url.reveal(environ) if crm.write_url else None,
        table=crm.table,
        time=crm.time,
        columns=crm.columns.mapped,
        status={name: values for name, values in _status(crm).items() if values},
        set=dict(crm.set),
        lookup={name: Lookup(table=each.table, key=each.key, value=each.value) for name, each in crm.lookup.items()},
        all_day_end=crm.all_day_end,
    )


def _csv_spec(crm: CsvCrm) -> CsvSpec:
    from reconciler.crm.csv import CsvSpec

    return CsvSpec(
        path=str(crm.path),
        time=crm.time,
        columns=crm.columns.mapped,
        status={name: values for name, values in _status(crm).items() if values},
        all_day_end=crm.all_day_end,
        delimiter=crm.delimiter,
        encoding=crm.encoding,
        date_format=crm.date_format,
    )
