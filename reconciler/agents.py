"""Who the agents are and where their calendars live: one immutable directory, from lists, CSV files and query results.

Every mistake is found before any calendar is read, with its line. Addresses compare in lower case; whatever names an
agent (address, alias, the CRM's owner) names exactly one.
"""

from __future__ import annotations

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass, field, fields, replace
from datetime import date, datetime
from functools import reduce
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

from reconciler.config.hosts import is_loopback, split
from reconciler.config.secret import FeedUrl, Reference
from reconciler.config.values import WrongError, email, nearest, one_of, shown, visible, zone
from reconciler.errors import ConfigError, Problem
from reconciler.model import Agent, AgentState, Calendar, Role

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from reconciler.config import Agents, Job, Source

    Query = Callable[[str], Iterable[Mapping[str, Any]]]

COLUMNS: Final = ("agent", "calendar", "aliases", "crm_owner", "timezone", "office", "role", "state", "until")
PRIMARY: Final = "primary"
SIZE_LIMIT: Final = 20_000_000
PROBLEM_LIMIT: Final = 100
"""Problems of one directory that are listed: a wrong file has one on each of its lines."""


class Row(NamedTuple):
    """One row about an agent: where it stands (`agents.csv line 3`) and its cells by column."""

    where: str
    cells: Mapping[str, str]


class Place(NamedTuple):
    """Where one calendar is: what it is called in state and reports, and what its source reads."""

    name: str
    location: str


class Entry(NamedTuple):
    """One row, understood."""

    where: str
    source: Source
    agent: Agent
    place: Place


@dataclass(frozen=True, slots=True)
class Directory:
    """The agents of a job and their calendars, in the order in which they are named."""

    agents: tuple[Agent, ...]
    calendars: tuple[Calendar, ...]
    _by_name: Mapping[str, Agent] = field(repr=False)

    @property
    def people(self) -> Mapping[str, Agent]:
        """Return every address, alias and CRM owner (folded) with the agent it names."""
        return self._by_name

    def agent_of(self, value: str | None) -> Agent | None:
        """Return the agent whom an address, an alias or a CRM owner names."""
        return None if value is None else self._by_name.get(_folded(value))

    @classmethod
    def of(cls, agents: Iterable[Agent], calendars: Iterable[Calendar] = ()) -> Directory:
        """Make a directory of agents that are known to be right."""
        known = tuple(agents)
        return cls(known, tuple(calendars), {name: agent for agent in known for name in names_of(agent)})


def directory(job: Job, environ: Mapping[str, str] | None, query: Query | None = None) -> Directory:
    """Make the directory of `job`; `query` runs a statement on its CRM. Raise ConfigError with all problems.

    Without `environ` no address of a feed is looked up: it is then known whose calendars there are, and not where.
    """
    labels = ["source"] if len(job.sources) == 1 else [f"source[{n}]" for n, _ in enumerate(job.sources, 1)]
    problems: list[Problem] = []
    entries: list[Entry] = []
    for label, source in zip(labels, job.sources, strict=True):
        reader = _Reader(label, source, job, environ)
        entries += reader.entries(query)
        problems += reader.problems
    agents = _merged(entries, problems)
    problems += _contested(agents.values())
    if problems:
        raise ConfigError(_bounded(problems), where=str(job.path))
    return Directory.of(agents.values(), _calendars(entries, agents))


def names_of(agent: Agent) -> tuple[str, ...]:
    """Return everything that names `agent`, in the spelling in which names are compared."""
    owner = [_folded(agent.crm_owner)] if agent.crm_owner else []
    return tuple(dict.fromkeys([agent.email, *agent.aliases, *owner]))


# ---- rows -----------------------------------------------------------------------------------------------------------


class _Reader:
    """The agents of one source: its rows read and understood, and what is wrong with them."""

    def __init__(self, label: str, source: Source, job: Job, environ: Mapping[str, str] | None) -> None:
        self.label = label
        self.source = source
        self.base = job.base
        self.strict = job.strict_secrets
        self.environ = environ
        self.problems: list[Problem] = []

    def entries(self, query: Query | None) -> list[Entry]:
        """Return what each row says, as far as it can be understood; refuse a calendar that is named twice."""
        if self.source.agents is None:
            return self._single()
        found = [entry for row in self._rows(self.source.agents, query) if (entry := self._entry(row))]
        lines: dict[tuple[str, str], list[str]] = {}
        for entry in found:
            lines.setdefault((entry.agent.email, entry.place.name), []).append(entry.where)
        for (address, calendar), where in lines.items():
            if len(where) > 1:
                self._wrong(" and ".join(where[:3]), f"{address} is listed {len(where)} times (calendar {calendar})")
        return found

    def _single(self) -> list[Entry]:
        """Return the one calendar of an ICS source that names its agent itself."""
        if self.source.kind != "ics" or self.source.agent is None:
            return []
        if self.source.path is not None:
            place = Place(_relative(self.source.path, self.base), str(self.source.path))
        else:
            try:
                place = self._feed(self.source.url or FeedUrl())
            except ConfigError as error:
                self.problems += error.problems
                return []
        return [Entry(self.label, self.source, Agent(email=self.source.agent), place)]

    def _rows(self, agents: Agents, query: Query | None) -> list[Row]:
        if agents.listed:
            return [Row(f"{self.label}.agents", {"agent": address}) for address in agents.listed]
        if agents.file:
            return self._collected(rows_of_file(agents.file), agents.file.name)
        if query is None or agents.query is None:
            raise ConfigError((Problem(f"{self.label}.agents.query", "needs a SQL CRM to run on", ""),))
        return self._collected(rows_of_query(query(agents.query)), f"{self.label}.agents.query")

    def _collected(self, rows: Iterator[Row | Problem], origin: str) -> list[Row]:
        found = list(rows)
        self.problems += [row for row in found if isinstance(row, Problem)]
        if not found:
            self._wrong(origin, "names no agents", "one line for each agent, below a line with the column names")
        return [row for row in found if isinstance(row, Row)]

    def _entry(self, row: Row) -> Entry | None:
        before = len(self.problems)
        cells: dict[str, Any] = {column: self._cell(row, column) for column in COLUMNS}
        if len(self.problems) > before:
            return None
        place = cells.pop("calendar")
        return Entry(row.where, self.source, Agent(email=cells.pop("agent"), **cells), place)

    def _cell(self, row: Row, column: str) -> object:
        text = row.cells.get(column, "").strip()
        try:
            return self._place(text) if column == "calendar" else _PARSERS[column](text)
        except WrongError as error:
            self._wrong(f"{row.where}, {column}", error.what, error.hint)
        except ConfigError as error:
            self.problems += error.problems
        return None

    def _place(self, text: str) -> Place:
        if self.source.kind != "ics":
            return Place(visible(text) if text else PRIMARY, "")
        reference = Reference.parse(text, f"{self.label}.agents, calendar {text}", self.base, strict=self.strict)
        if not text:
            raise WrongError("is required: where is this agent's calendar?", "a path, an https address or env:NAME")
        if self.source.agents and self.source.agents.query:
            self._outsider(text, reference)
        if reference or "://" in text or text.lower().startswith("webcal"):
            return self._feed(FeedUrl.of(reference or text, self.base))
        return Place(text, str(self.base / visible(text)))

    def _outsider(self, text: str, reference: Reference | None) -> None:
        """Refuse what a row of the CRM may not name, whoever wrote it: secrets, this machine, files elsewhere."""
        hint = "name it in an agents file"
        if reference:
            raise WrongError("names a secret, and comes out of the CRM", hint)
        if "://" in text and is_loopback((split(text).hostname or "").rstrip(".")):
            raise WrongError("is an address of this machine, and comes out of the CRM", hint)
        if "://" not in text and not (self.base / text).resolve().is_relative_to(self.base.resolve()):
            raise WrongError("is a file outside of the job's folder, and comes out of the CRM", hint)

    def _feed(self, url: FeedUrl) -> Place:
        if url.reference and self.environ is None:
            return Place(str(url.reference), "")
        address = url.reveal(self.environ or {})
        return Place(str(url.reference) if url.reference else hidden(address), address)

    def _wrong(self, where: str, what: str, hint: str = "") -> None:
        self.problems.append(Problem(where, what, hint))


def rows_of_file(path: Path) -> Iterator[Row | Problem]:
    """Yield the rows of an agents CSV, or what is wrong with it and where."""
    try:
        text = _text(path)
    except WrongError as error:
        yield Problem(path.name, error.what, error.hint)
        return
    lines = csv.reader(StringIO(text, newline=""), strict=True)
    header: list[str] = []
    try:
        for cells in lines:
            where = f"{path.name} line {lines.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if header:
                yield _row(where, header, cells)
                continue
            header = [cell.strip().lower() for cell in cells]
            mistakes = list(_header_problems(where, header))
            yield from mistakes
            if mistakes:
                return
    except csv.Error as error:
        yield Problem(f"{path.name} line {lines.line_num}", f"is not CSV: {error}", "a quote that is not closed?")


def rows_of_query(rows: Iterable[Mapping[str, Any]]) -> Iterator[Row | Problem]:
    """Yield the rows of a query's result, or what is wrong with its columns."""
    for number, row in enumerate(rows, 1):
        cells = {str(column).lower(): _as_text(value) for column, value in row.items()}
        mistakes = list(_header_problems("query", list(cells))) if number == 1 else []
        yield from mistakes
        if mistakes:
            return
        yield Row(f"query row {number}", cells)


def hidden(url: str) -> str:
    """Name a feed so that its address is not given away: host and hash."""
    return f"{urlsplit(url).hostname}#{hashlib.sha256(url.encode()).hexdigest()[:10]}"


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(SIZE_LIMIT + 1)
    except OSError as error:
        raise WrongError(f"can't be read: {error.strerror}", "paths are relative to the job file") from None
    if len(data) > SIZE_LIMIT:
        raise WrongError(f"is larger than {SIZE_LIMIT:,} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        row = data.count(b"\n", 0, error.start) + 1
        raise WrongError(f"is not UTF-8 text (line {row})", 'save it as "CSV UTF-8"') from None


def _row(where: str, header: list[str], cells: list[str]) -> Row | Problem:
    if len(cells) > len(header):
        hint = "quote a cell with a comma in it; separate aliases with ;"
        return Problem(where, f"has {len(cells)} cells for {len(header)} columns", hint)
    return Row(where, dict(zip(header, cells, strict=False)))


def _header_problems(where: str, header: list[str]) -> Iterator[Problem]:
    if len(header) == 1 and any(mark in header[0] for mark in ";\t|"):
        yield Problem(where, "has one column", "separate the columns with commas")
        return
    for column, count in Counter(header).items():
        if column not in COLUMNS:
            yield Problem(where, f"has an unknown column {shown(column)}", nearest(column, COLUMNS) or one_of(COLUMNS))
        elif count > 1:
            yield Problem(where, f"has the column {column} {count} times")
    if "agent" not in header and not any(nearest(column, ["agent"]) for column in header):
        yield Problem(where, "has no column agent", "the first line names the columns: agent,calendar,...")


# ---- cells ----------------------------------------------------------------------------------------------------------


def _folded(value: str) -> str:
    return value.strip().lower()


def _as_text(value: object) -> str:
    if isinstance(value, datetime):
        return value.date().isoformat()
    return "" if value is None else str(value)


def _aliases(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(email(alias) for alias in text.split(";") if alias.strip()))


def _optional(text: str) -> str | None:
    return visible(text) if text else None


def _zone(text: str) -> str | None:
    return zone(text) if text else None


def _role(text: str) -> Role:
    return Role(_word(text.lower() or Role.AGENT, tuple(Role)))


def _state(text: str) -> AgentState:
    return AgentState(_word(text.lower() or AgentState.ACTIVE, tuple(AgentState)))


def _word(text: str, words: tuple[str, ...]) -> str:
    if text not in words:
        raise WrongError(f"{shown(text)} is not possible here", nearest(text, words) or one_of(words))
    return text


def _until(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise WrongError(f"{shown(text)} is not a date", "write it like 2026-10-31") from None


_PARSERS: Final[Mapping[str, Callable[[str], object]]] = {
    "agent": email,
    "aliases": _aliases,
    "crm_owner": _optional,
    "timezone": _zone,
    "office": _optional,
    "role": _role,
    "state": _state,
    "until": _until,
}


# ---- one agent from many rows ---------------------------------------------------------------------------------------


def _merged(entries: Iterable[Entry], problems: list[Problem]) -> dict[str, Agent]:
    """Return each agent once. Rows may leave cells open that another row fills; two that disagree are a problem."""
    rows: dict[str, list[Entry]] = {}
    for entry in entries:
        rows.setdefault(entry.agent.email, []).append(entry)
    for same in rows.values():
        problems += _disagreements(same)
    return {address: reduce(_joined, (entry.agent for entry in same)) for address, same in rows.items()}


def _joined(known: Agent, said: Agent) -> Agent:
    return replace(known, **{name: value for name, value in _said(said).items() if name not in _said(known)})


def _said(agent: Agent) -> dict[str, Any]:
    """Return what a row says beyond the defaults."""
    silent = Agent(email=agent.email)
    values = {slot.name: getattr(agent, slot.name) for slot in fields(agent)}
    return {name: value for name, value in values.items() if value != getattr(silent, name)}


def _disagreements(entries: list[Entry]) -> Iterator[Problem]:
    first: dict[str, tuple[Any, str]] = {}
    for entry in entries:
        for name, value in _said(entry.agent).items():
            known, where = first.setdefault(name, (value, entry.where))
            if known != value:
                yield Problem(entry.where, f"{entry.agent.email} has another {name} than on {where}", "make them agree")


def _contested(agents: Iterable[Agent]) -> Iterator[Problem]:
    """Yield a problem for each alias or owner that two agents claim."""
    owner: dict[str, Agent] = {}
    for agent in agents:
        for name in names_of(agent):
            other = owner.setdefault(name, agent)
            if other.email != agent.email:
                what = f"{shown(name)} names both {other.email} and {agent.email}"
                yield Problem("agents", what, "an address, alias or CRM owner can name one agent only")


def _calendars(entries: Iterable[Entry], agents: Mapping[str, Agent]) -> Iterator[Calendar]:
    for entry in entries:
        yield Calendar(
            source=entry.source.name,
            kind=entry.source.kind,
            agent=agents[entry.agent.email],
            name=entry.place.name,
            location=entry.place.location,
        )


def _relative(path: Path, base: Path) -> str:
    return str(path.relative_to(base)) if path.is_relative_to(base) else path.name


def _bounded(problems: list[Problem]) -> tuple[Problem, ...]:
    unlisted = len(problems) - PROBLEM_LIMIT
    more = [Problem("agents", f"{unlisted} more problems are not listed")] if unlisted > 0 else []
    return (*problems[:PROBLEM_LIMIT], *more)
