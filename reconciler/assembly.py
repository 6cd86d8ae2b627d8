"""Put a run together from its job file: state, people, sources, CRM. What is not needed is not opened."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from reconciler import agents
from reconciler.config import CsvCrm, Ics, SqlCrm
from reconciler.errors import ConfigError, Problem
from reconciler.run import Setup
from reconciler.store.state import open_state, was_bound

if TYPE_CHECKING:
    from reconciler.agents import Directory
    from reconciler.config import Job
    from reconciler.config import Source as SourceTable
    from reconciler.crm import Reader, Writer
    from reconciler.crm.csv import CsvSpec
    from reconciler.crm.reflect import SqlSpec
    from reconciler.sources import Source
    from reconciler.store.state import State


def assemble(job: Job, environ: Mapping[str, str], *, clock: Callable[[], datetime], dry_run: bool) -> Setup:
    """Return what a run of `job` works with. A dry run gets no writer.

    Raises ConfigError with every problem, StateError when the state database can't be used.
    """
    _supported(job)
    people = directory(job, environ)
    state = open_state(job.state.reveal(environ), job.name)
    return Setup(
        job=job,
        state=state,
        directory=people,
        sources={table.name: source_of(table, job) for table in job.sources},
        reader=reader_of(job, environ, people, state),
        writer=None if dry_run else _writer_of(job, environ, people, clock),
        clock=clock,
    )


def _supported(job: Job) -> None:
    """Refuse what a job file may say and this release can't do yet, all at once."""
    problems = [
        Problem(
            f"source.{table.name}", f'kind = "{table.kind}" is not part of this release', "use an ICS feed until then"
        )
        for table in job.sources
        if not isinstance(table, Ics)
    ]
    if job.policy.sync != "calendar-to-crm":
        hint = 'leave sync at "calendar-to-crm" until then'
        problems.append(Problem("policy.sync", "writing to calendars is not part of this release", hint))
    if problems:
        raise ConfigError(tuple(problems), where=str(job.path))


def directory(job: Job, environ: Mapping[str, str]) -> Directory:
    """Return the people and calendars of `job`; agents may be a query on its CRM."""
    asks = any(getattr(table.agents, "query", None) for table in job.sources)
    if not asks or not isinstance(job.crm, SqlCrm):
        return agents.directory(job, environ)
    from reconciler.crm.sql import SqlReader

    reader = SqlReader(_sql_spec(job.crm, environ), resolve=lambda _: None)
    try:
        return agents.directory(job, environ, reader.query)
    finally:
        reader.close()


# ---- sources --------------------------------------------------------------------------------------------------------


def source_of(table: SourceTable, job: Job) -> Source:
    """Return the source that reads the calendars of one `[[source]]`."""
    from reconciler.sources.ics import IcsSource

    if not isinstance(table, Ics):
        raise TypeError(table.kind)
    return IcsSource(name=table.name, absence=table.absence, allow_private=table.allow_private, base=job.base)


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


def _writer_of(
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
