"""A report as people see it: tables and colour on a terminal, plain text from a template anywhere else.

Text from outside is shown as it is and never as markup: no value reaches rich or Jinja as anything but a value.
"""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.report.look import Mood
from reconciler.report.words import bounded

if TYPE_CHECKING:
    from collections.abc import Iterable
    from importlib.resources.abc import Traversable
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.table import Table

    from reconciler.report.finding import Entry
    from reconciler.report.look import Next
    from reconciler.report.run import Blind, Group, RunReport, Step

TEMPLATE: Final = "run.txt.j2"
FOLDER: Final = "reports"
TEMPLATE_LIMIT: Final = 1_000_000

_COLOURS: Final = {
    Mood.SAFE: "bold green",
    Mood.NEEDS_YOU: "bold yellow",
    Mood.BLIND: "bold magenta",
    Mood.REFUSED: "bold red",
}
_SEVERITIES: Final = {"critical": "bold red", "high": "red", "medium": "yellow", "low": "cyan", "info": "dim"}


# ---- plain text -----------------------------------------------------------------------------------------------------


def plain(report: RunReport, own: Path | None = None) -> str:
    """Return the report as text, by the template in `own` (a brokerage's folder) if there is one, else by ours.

    A template of theirs that fails costs its looks, not the report: the run is over and has to be told.
    """
    from jinja2 import TemplateError

    theirs = own / TEMPLATE if own else None
    note = ""
    if theirs is not None and theirs.is_file():
        try:
            return _filled(theirs.read_text("utf-8")[:TEMPLATE_LIMIT], report)
        except (TemplateError, OSError, ValueError, TypeError, ArithmeticError) as error:
            note = f"\n{FOLDER}/{TEMPLATE} can't be used: {bounded(str(error))}; this is the form that is shipped.\n"
    return _filled((shipped(FOLDER) / TEMPLATE).read_text("utf-8"), report) + note


def _filled(template: str, report: RunReport) -> str:
    from jinja2.sandbox import SandboxedEnvironment

    sandbox = SandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True, autoescape=False)
    return sandbox.from_string(template).render(report=report)


def shipped(name: str) -> Traversable:
    """Return what comes with the program: inside the package when installed, beside it in a checkout."""
    installed = files("reconciler") / "_data" / name
    if installed.is_dir() or installed.is_file():
        return installed
    return Path(__file__).resolve().parents[2] / name


# ---- terminal -------------------------------------------------------------------------------------------------------


def console(stream: TextIO) -> Console:
    """Return a console that shows every text as it is: no markup, no emoji codes, no highlighting."""
    from rich.console import Console

    width = max(shutil.get_terminal_size((100, 24)).columns, 60)
    return Console(file=stream, markup=False, emoji=False, highlight=False, soft_wrap=False, width=width)


def show(report: RunReport, target: Console) -> None:
    """Print the report with tables."""
    from rich.text import Text

    target.print(Text(report.headline, _COLOURS[report.mood]))
    target.print(Text(report.subtitle, "dim"))
    for line in report.refusal:
        target.print(Text(f"  {line}", "red"), soft_wrap=True)
    for part in _body(report):
        target.print()
        target.print(part)
    for note in report.notes:
        target.print(Text(note))
    _show_following(report.following, target)


def _body(report: RunReport) -> Iterable[RenderableType]:
    if report.blind:
        yield _unseen(report.blind)
    yield _counts(report)
    for group in report.groups:
        yield _findings(group)
    for place, (title, steps) in enumerate(report.sides, 1):
        yield _steps(title, steps, report.unlisted if place == len(report.sides) else "")


def _unseen(blind: Iterable[Blind]) -> RenderableType:
    table = _table("NOT SEEN", ("calendar", "source", "why", "how long"), style="magenta")
    for calendar in blind:
        table.add_row(*_cells(calendar.agent, calendar.source, calendar.why, calendar.since))
    return table


def _counts(report: RunReport) -> RenderableType:
    from rich.console import Group as Together
    from rich.text import Text

    table = _table("", ("", "events", "records"))
    for column in table.columns[1:]:
        column.justify = "right"
    for name, events, records in report.counts:
        table.add_row(*_cells(name, f"{events:,}", f"{records:,}"))
    besides = [
        *(f"besides events: {each}" for each in report.only_events),
        *(f"besides records: {each}" for each in report.only_records),
        *(f"not asked: {each}" for each in report.left_out),
    ]
    return Together(Text(report.coverage, "bold"), table, *(Text(f" {each}", "dim") for each in besides))


def _findings(group: Group) -> RenderableType:
    table = _table(group.severity.upper(), ("finding", "whose", "what", "what now"), style=_SEVERITIES[group.severity])
    table.leading = 1
    for entry in group.entries:
        table.add_row(*_cells(f"{entry.kind}\n{entry.key}", _whose(entry), _what(entry), entry.fate))
    for more in group.unlisted:
        table.add_row(*_cells(f"… {more}", "", "all of them with --format json", ""))
    return table


def _whose(entry: Entry) -> str:
    return "\n".join(part for part in (entry.agent, entry.when, entry.record) if part)


def _what(entry: Entry) -> str:
    changes = [f"{change.name}: {change.said}" for change in entry.changes]
    matched = [f"Matched {entry.matched}."] if entry.matched else []
    seen = [f"Seen {entry.seen}."] if entry.seen else []
    return "\n".join([*changes, entry.why, *matched, *seen])


def _steps(title: str, steps: Iterable[Step], unlisted: str) -> RenderableType:
    table = _table(title, ("outcome", "action", "record", "agent", "when and what"))
    for step in steps:
        table.add_row(*_cells(step.outcome, step.action, step.record, step.agent, step.what))
    if unlisted:
        table.add_row(*_cells("…", "", "", "", unlisted))
    return table


def _show_following(following: Iterable[Next], target: Console) -> None:
    from rich.text import Text

    for each in following:
        target.print(Text(f"\n{each.purpose}:"))
        target.print(Text(f"    {each.command}", "bold"), soft_wrap=True)


def _cells(*values: str) -> list[RenderableType]:
    from rich.text import Text

    return [Text(value) for value in values]


def _table(title: str, columns: Iterable[str], style: str = "bold") -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, style) if title else None,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        pad_edge=False,
        header_style="dim",
    )
    for column in columns:
        table.add_column(Text(column), overflow="fold")
    return table
