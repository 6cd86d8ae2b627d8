"""What each direction takes of a provider: which permission to ask for, whether it is there, and what is too much."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import TYPE_CHECKING, Final

from reconciler.cli.lines import LONGEST, Line, Mark, problems
from reconciler.config import Google, Ics, Microsoft
from reconciler.errors import AccessError, ConfigError
from reconciler.report.words import bounded, plural
from reconciler.sources.answers import PostponedError, ProviderError

if TYPE_CHECKING:
    from reconciler.assembly import Quotas
    from reconciler.cli.world import Call
    from reconciler.model import Calendar
    from reconciler.sources import CalendarWriter, Source

_CHANGES: Final = (".ReadWrite", ".ReadWrite.All", ".Send", ".FullControl.All", "full_access_as_app")
"""How the names of permissions of Graph's end that change something."""

_UNUSED: Final = 'is not used: sync = "calendar-to-crm" writes no calendar'


def rights(
    call: Call, quotas: Quotas, calendars: Mapping[str, Sequence[Calendar]], made: Mapping[str, Source]
) -> Iterator[Line]:
    """Say of each provider what its credentials are for. `calendars` are those of each source that are looked at."""
    from reconciler.assembly import writes_calendars

    writes = writes_calendars(quotas.job)
    for table in quotas.job.sources:
        if isinstance(table, Ics):
            continue
        yield Line(f"access {table.name}", Mark.OK, _needed(table, writes=writes))
        if table.auth_write is not None and not writes:
            yield Line(f"access {table.name}", Mark.NOTE, f"auth_write {_UNUSED}")
        if table.name in made:
            yield from _too_much(table, calendars[table.name], made[table.name], writes=writes)
        if writes:
            yield from _writing(call, table, quotas, calendars[table.name])


def _needed(table: Google | Microsoft, *, writes: bool) -> str:
    """Name the permissions that an administrator is to be asked for."""
    read, write = _permissions(table)
    by = "auth_write" if table.auth_write is not None else "auth"
    return f"reads with {read} by auth" + (f", writes with {write} by {by}" if writes else " and needs nothing else")


def _permissions(table: Google | Microsoft) -> tuple[str, str]:
    if isinstance(table, Google):
        from reconciler.sources.google_auth import READ_SCOPE, WRITE_SCOPE

        return READ_SCOPE, WRITE_SCOPE
    from reconciler.sources.microsoft_faults import READ, WRITE

    return READ, WRITE


# ---- reading --------------------------------------------------------------------------------------------------------


def _too_much(
    table: Google | Microsoft, calendars: Sequence[Calendar], source: Source, *, writes: bool
) -> Iterator[Line]:
    """Say what the credential for reading may do beyond that. Google's gets what it asks for, and asks for no more."""
    if not isinstance(table, Microsoft) or not calendars or (writes and table.auth_write is None):
        return
    from reconciler.sources.microsoft import MicrosoftSource
    from reconciler.sources.microsoft_faults import READ

    if not isinstance(source, MicrosoftSource):
        return
    try:
        found = source.graph.rights(source.graph.target(calendars[0]))
    except (ProviderError, PostponedError, AccessError):
        return  # what keeps it from signing in is said where calendars are read
    more = sorted(
        role for role in found if role.endswith((".ReadWrite", ".ReadWrite.All", ".Send", "full_access_as_app"))
    )
    if more:
        says = f"auth may do more than read: {', '.join(more)}. {READ} is enough, and can do no harm"
        yield Line(f"access {table.name}", Mark.NOTE, bounded(says, LONGEST))


# ---- writing --------------------------------------------------------------------------------------------------------


def _writing(call: Call, table: Google | Microsoft, quotas: Quotas, calendars: Sequence[Calendar]) -> Iterator[Line]:
    """Try out what calendars are written with, without a write."""
    from reconciler.assembly import calendar_writer_of

    name = f"writing {table.name}"
    try:
        make = calendar_writer_of(table, call.world.environ, call.world.clock, quotas)
    except ConfigError as error:
        yield from problems(name, error)
        return
    with closing(make(_patience(call))) as writer:
        try:
            wrong = [line for one in calendars for line in _looked_at(writer, one, table)]
        except AccessError as error:  # it is about all calendars of this source alike
            yield from problems(name, error)
            return
    yield from wrong
    if len(wrong) < len(calendars):
        yield Line(name, Mark.OK, f"{plural(len(calendars) - len(wrong), 'calendar')} can be written; none was")


def _looked_at(writer: CalendarWriter, calendar: Calendar, table: Google | Microsoft) -> Iterator[Line]:
    name = f"writing {calendar.label}"
    try:
        why = writer.refusal(calendar)
    except PostponedError as error:
        yield Line(name, Mark.NOTE, bounded(f"{error}.", LONGEST))
    except ProviderError as error:
        yield Line(name, Mark.PROBLEM, bounded(f"{table.kind.capitalize()} {error}.", LONGEST))
    else:
        if why:
            mark = Mark.PROBLEM if isinstance(table, Google) else Mark.NOTE
            yield Line(name, mark, bounded(why, LONGEST))


def _patience(call: Call) -> Callable[[], float]:
    from reconciler.cli.readiness import PATIENCE

    until = call.world.clock() + PATIENCE

    def left() -> float:
        return (until - call.world.clock()).total_seconds()

    return left
