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
    from reconciler.sources.google import GoogleSource
    from reconciler.sources.microsoft import MicrosoftSource

_HARMLESS: Final = frozenset({"Calendars.ReadBasic.All", "User.Read.All", "User.ReadBasic.All"})
"""Permissions of Graph that are not missed and no reason for a word: less than is used, and who somebody is."""

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
    """Say what the credential for reading may do beyond what it is used for, as far as that can be known."""
    from reconciler.sources.google import GoogleSource
    from reconciler.sources.microsoft import MicrosoftSource

    uses_both = writes and table.auth_write is None
    try:
        if isinstance(source, GoogleSource):
            found = _delegated(source, calendars, uses_both=uses_both)
        elif isinstance(source, MicrosoftSource) and calendars:
            found = _named(source, calendars[0], _permissions(table)[: 1 + uses_both])
        else:
            return
    except (ProviderError, PostponedError, AccessError):
        return  # what keeps it from signing in is said where calendars are read
    if found:
        enough = " and ".join(_permissions(table)) if uses_both else f"{_permissions(table)[0]}"
        are = "are" if uses_both else "is"
        less = f"{enough} {are} enough" + ("" if uses_both else ", and can do no harm")
        says = f"auth may do more than {'that' if uses_both else 'read'}: {', '.join(found)}. {less}"
        yield Line(f"access {table.name}", Mark.NOTE, bounded(says, LONGEST))


def _delegated(source: GoogleSource, calendars: Sequence[Calendar], *, uses_both: bool) -> list[str]:
    """Return which wider scopes are delegated, too: a token for each is asked for, of one agent, and thrown away.

    That alone tells: Google shows nobody but an administrator what is delegated.
    """
    from reconciler.sources.google_auth import FULL_SCOPE, WRITE_SCOPE

    wider = [FULL_SCOPE] if uses_both else [WRITE_SCOPE, FULL_SCOPE]
    return [scope for one in calendars[:1] for scope in wider if source.api.may(source.api.target(one), scope)]


def _named(source: MicrosoftSource, calendar: Calendar, used: Sequence[str]) -> list[str]:
    """Return the permissions in the application's token that are not used: mail, files, other people's rights."""
    return sorted(source.graph.rights(source.graph.target(calendar)) - _HARMLESS - {*used})


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
