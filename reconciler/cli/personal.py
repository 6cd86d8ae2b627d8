"""`reconcile state subject`: all that is kept about a person, row by row, as they may be told it who ask for it.

Other people's addresses beside theirs are counted, not named: they did not ask.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from reconciler.cli import logs, screen
from reconciler.cli.forgetting import Asked, people_of, person_of
from reconciler.cli.world import Format, load_job
from reconciler.forgotten import spelled
from reconciler.model import rfc3339
from reconciler.report.words import bounded, plural

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from reconciler.cli.world import Call, Named
    from reconciler.store.state import State
    from reconciler.store.subject import Mention, Person, Traces

LINE: Final = 2000
"""Characters of one row on the screen; JSON has all of it."""

Row: TypeAlias = "Mapping[Any, Any]"
"""A row of any table, by column."""

_PEOPLE: Final = frozenset({"contact", "participants"})


class Kept(NamedTuple):
    """One row that is kept: in which table, what it is, since or at which instant, and what it says."""

    table: str
    what: str
    at: str | None
    says: Mapping[str, Any]


@logs.told("state subject")
def subject(call: Call, asked: Asked, argument: str | None) -> int:
    """Show what is kept about a person. Needs the state database; agents are read where the job file has them."""
    from reconciler.store.state import open_state

    named = load_job(call, argument)
    person = person_of(asked, people_of(call, named), named, of_us=True)
    state = open_state(named.job.state.reveal(call.world.environ), named.job.name)
    try:
        rows, is_forgotten = _kept(state, person)
    finally:
        state.engine.dispose()
    if call.common.format is Format.JSON:
        kept = [{"table": one.table, "what": one.what, "at": one.at, "says": dict(one.says)} for one in rows]
        addresses = sorted(person.addresses)
        screen.write_json({"job": named.job.name, "addresses": addresses, "forgotten": is_forgotten, "kept": kept})
    elif not call.common.quiet:
        screen.write("\n".join(_lines(named, asked, rows, is_forgotten=is_forgotten)))
    return 0


def _kept(state: State, person: Person) -> tuple[list[Kept], bool]:
    from reconciler.store import suppressed
    from reconciler.store.subject import traces

    with state.reading() as connection:
        found = traces(connection, state, person)
        who = suppressed.forgotten(connection, state)
    return [*_rows(found, person)], any(map(who.has, person.addresses))


def _lines(named: Named, asked: Asked, rows: list[Kept], *, is_forgotten: bool) -> Iterator[str]:
    who, many = bounded(asked.address), plural(len(rows), "row")
    yield f"{named.job.name} keeps {many} about {who} or an appointment of theirs."
    if is_forgotten:
        yield "They asked to be forgotten: of appointments with them only the time is kept."
    for one in rows:
        said = "; ".join(f"{name}: {_spoken(value)}" for name, value in one.says.items())
        yield f"  {one.table:<9} {one.at or '-':<20}  {bounded(one.what, 200)}\n      {bounded(said, LINE)}"


def _spoken(value: object) -> str:
    match value:
        case list() | tuple():
            return ", ".join(map(_spoken, value))
        case dict():
            return ", ".join(f"{name} {_spoken(each)}" for name, each in value.items())
        case _:
            return str(value)


# ---- rows -----------------------------------------------------------------------------------------------------------


def _rows(found: Traces, person: Person) -> Iterator[Kept]:
    ways: tuple[tuple[Mapping[Any, Row], Callable[[Row], Kept]], ...] = (
        (found.calendars, _calendar),
        (found.events, _event),
        (found.records, _record),
        (found.links, _link),
        (found.journal, _write),
        (found.findings, _finding),
        (found.holds, _hold),
    )
    for rows, told in ways:
        for row in rows.values():
            one = told(row)
            yield one._replace(says=_theirs(one.says, person))
    yield from map(_mention, found.mentions)


def _theirs(value: Any, person: Person) -> Any:  # noqa: ANN401  # JSON is anything
    """Return what a row says, without what is empty and without other people's addresses."""
    if isinstance(value, list):
        return [_theirs(each, person) for each in value]
    if not isinstance(value, dict):
        return value
    said = {name: _people(each, person) if name in _PEOPLE else _theirs(each, person) for name, each in value.items()}
    return {name: each for name, each in said.items() if each not in (None, "", [], {}, ())}


def _people(value: object, person: Person) -> object:
    if not isinstance(value, list | tuple):
        return value
    if None in value or any(isinstance(each, list) for each in value):  # what it was before, and after
        return [_people(each, person) for each in value]
    theirs = [each for each in value if isinstance(each, str) and spelled(each) in person.addresses]
    others = len(value) - len(theirs)
    return [*theirs, f"({plural(others, 'other')})"] if others else theirs


def _loaded(text: str | None) -> Any:  # noqa: ANN401  # JSON is anything
    from reconciler.store import codec

    return codec.load(text)


def _instant(seconds: int | None) -> str | None:
    from reconciler.store import codec

    return None if seconds is None else rfc3339(codec.from_epoch(seconds))


def _calendar(row: Row) -> Kept:
    return Kept(
        "calendars", f"calendar {row['name']} of {row['source']}", _instant(row["tried_at"]), {"agent": row["agent"]}
    )


def _event(row: Row) -> Kept:
    payload = _loaded(row["payload"])
    says = {**payload.get("fields", {}), "organizer": payload.get("organizer")}
    return Kept("mirror", f"event {row['event']}", _instant(row["from_at"]), says)


def _record(row: Row) -> Kept:
    payload = _loaded(row["payload"])
    says = {**payload["fields"], "key": payload.get("key"), "writer": payload.get("origin")}
    return Kept("records", f"record {row['crm_id']}", _instant(row["start_at"]), says)


def _link(row: Row) -> Kept:
    return Kept(
        "links", f"record {row['crm_id']} is event {row['event']}", None, {"agreed": _loaded(row["base"]) or {}}
    )


def _write(row: Row) -> Kept:
    what = f"{row['action']} in the {row['side']} ({row['status']}) by run {row['run']}"
    says = {"before": _loaded(row["before"]), "after": _loaded(row["after"]), "why": row["why"], "agent": row["agent"]}
    return Kept("journal", what, _instant(row["at"]), says)


def _finding(row: Row) -> Kept:
    payload = _loaded(row["payload"])
    says = {name: payload.get(name) for name in ("why", "fields", "has", "taken")}
    says |= {"accepted by": row["accepted_by"], "because": row["accepted_why"], "agent": row["agent"]}
    return Kept("findings", f"{row['kind']} {row['key']}", _instant(row["first_seen"]), says)


def _hold(row: Row) -> Kept:
    return Kept("holds", f"held since run {row['run']}", _instant(row["at"]), {"key": row["key"]})


def _mention(mention: Mention) -> Kept:
    says = {name: mention.row[name] for name in mention.columns}
    return Kept(mention.table.name, "names them", _instant(mention.at), says)
