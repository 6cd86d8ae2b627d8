"""A report as people see it: tables and colour on a terminal, a page in a browser, plain text anywhere else.

Text from outside is shown as it is and never as markup: no value reaches rich or Jinja as anything but a value. A page
is one file that asks for nothing, and whose own policy forbids it to.
"""

from __future__ import annotations

import re
import shutil
from base64 import b64encode
from dataclasses import replace
from functools import partial
from hashlib import sha256
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.report.bars import blocks, cells
from reconciler.report.drawing import drawn, ink_on
from reconciler.report.finding import KINDS
from reconciler.report.look import Mood
from reconciler.report.words import bounded, day, moment, zone_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from importlib.resources.abc import Traversable
    from typing import TextIO

    from rich.console import Console, RenderableType
    from rich.table import Table

    from reconciler.report.finding import Entry
    from reconciler.report.look import Next
    from reconciler.report.report import Brand, Report
    from reconciler.report.run import Blind, Group, RunReport, Step
    from reconciler.report.sandbox import Sandbox

    Besides = Callable[[Report, Path | None], Mapping[str, object]]

TEMPLATE: Final = "run.txt.j2"
PAGE: Final = "report.html.j2"
MAIL: Final = "mail.html.j2"
TEXT: Final = "report.txt.j2"
FOLDER: Final = "reports"
SHIPPED: Final = "shipped/"
TEMPLATE_LIMIT: Final = 1_000_000
FILLED_LIMIT: Final = 20_000_000

_FAILURES: Final = (
    *(OSError, ValueError, TypeError, ArithmeticError, LookupError, AttributeError, MemoryError),
    RuntimeError,  # a macro that fills itself for ever
)
"""What a template of a brokerage's own may come to, besides Jinja's own errors."""

_COLOUR: Final = re.compile(r"#[0-9a-fA-F]{6}")
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
        except (TemplateError, *_FAILURES) as error:
            note = f"\n{FOLDER}/{TEMPLATE} can't be used: {bounded(str(error))}; this is the form that is shipped.\n"
    return _filled((shipped(FOLDER) / TEMPLATE).read_text("utf-8"), report) + note


def _filled(template: str, report: RunReport) -> str:
    from reconciler.report.sandbox import Sandbox

    return _whole(Sandbox().from_string(template).generate(report=report))


def shipped(name: str) -> Traversable:
    """Return what comes with the program: inside the package when installed, beside it in a checkout."""
    installed = files("reconciler") / "_data" / name
    if installed.is_dir() or installed.is_file():
        return installed
    return Path(__file__).resolve().parents[2] / name


# ---- faces of the discrepancy report --------------------------------------------------------------------------------


def page(report: Report, own: Path | None = None) -> str:
    """Return the report as one HTML file: it needs no script, asks for nothing, and reads on a phone and on paper."""
    return laid_out(PAGE, report, own, _inlined)


def mail_page(report: Report, own: Path | None = None, *, attached: bool = True) -> str:
    """Return the report as the body of a mail, of at most `MAIL_LIMIT` bytes: the lists get shorter, then the texts.

    It speaks of the table of all findings where that is `attached`.
    """
    filled = ""
    for most, widest in _MAIL_SIZES:
        sizes = {"most": most, "widest": widest, "attached": attached}
        filled = laid_out(MAIL, report, own, partial(_mailed, sizes))
        if len(filled.encode()) <= MAIL_LIMIT:
            break
    return filled


MAIL_LIMIT: Final = 90_000
"""Bytes of a mail's HTML. Gmail clips what is longer than 102 kB, and counts what the transfer encoding adds to it
(spamresource.com, "What is Gmail clipping", which tried all three)."""

_MAIL_SIZES: Final = ((8, 300), (5, 200), (3, 120), (1, 80), (0, 40))


def _mailed(sizes: Mapping[str, object], report: Report, _: Path | None) -> Mapping[str, object]:
    """Return what a mail's template is given besides: how long it may be, its charts and its colour.

    The logo stays out: Gmail shows no `data:` image.
    """
    colour = report.brand.colour if _COLOUR.fullmatch(report.brand.colour) else _PLAIN
    charts = [(trend, cells(trend)) for trend in report.trends[:6]]
    return {**sizes, "charts": charts, "brand": colour, "ink_on_brand": ink_on(colour)}


_PLAIN: Final = "#1f2933"


def text(report: Report, own: Path | None = None) -> str:
    """Return the report as plain text: what a mail shows without HTML, and what is printed."""
    return laid_out(TEXT, report, own, _written)


def _written(report: Report, _: Path | None) -> Mapping[str, object]:
    return {"charts": [(trend, blocks(trend)) for trend in report.trends]}


def laid_out(name: str, report: Report, own: Path | None = None, besides: Besides | None = None) -> str:
    """Fill the template `name` of `own` (a brokerage's folder) if there is one, else ours; `besides` gives it more.

    A template of theirs that fails costs its looks, not the report, which then says so.
    """
    from jinja2 import TemplateError

    try:
        return _laid_out(name, report, own, besides)
    except (TemplateError, *_FAILURES) as error:
        if own is None:
            raise
        note = f"{FOLDER}/{name} can't be used: {bounded(str(error))}; this is the form that is shipped."
    return _laid_out(name, replace(report, notes=(*report.notes, note)), None, besides)


def _laid_out(name: str, report: Report, own: Path | None, besides: Besides | None) -> str:
    sandbox = _sandbox(report, own, is_html=".html" in name)
    values = {"report": report, **(besides(report, own) if besides else {})}
    return _whole(sandbox.get_template(name).generate(values))


def _whole(pieces: Iterable[str]) -> str:
    """Put together what a template makes, if it ends, and if a file can hold it."""
    made, size = [], 0
    for piece in pieces:
        made.append(piece)
        size += len(piece)
        if size > FILLED_LIMIT:
            raise ValueError(f"it makes more than {FILLED_LIMIT:,} characters")
    filled = "".join(made)
    filled.encode()
    return filled


def _sandbox(report: Report, own: Path | None, *, is_html: bool) -> Sandbox:
    from reconciler.report.sandbox import Sandbox

    zone = zone_of(report.zone)
    sandbox = Sandbox(lambda name: _source(name, own), is_html=is_html)
    sandbox.filters["moment"] = lambda value: moment(value, zone)
    sandbox.filters["day"] = day
    sandbox.globals["kinds"] = KINDS
    return sandbox


def _source(name: str, own: Path | None) -> str | None:
    """Read a template or what belongs to one: theirs, else ours; `shipped/NAME` is always ours, to be extended."""
    plain_name = name.removeprefix(SHIPPED)
    if plain_name != Path(plain_name).name:
        return None
    theirs = own / name if own and name == plain_name else None
    if theirs is not None and theirs.is_file():
        return theirs.read_text("utf-8")[:TEMPLATE_LIMIT]
    ours = shipped(FOLDER) / plain_name
    return ours.read_text("utf-8") if ours.is_file() else None


def _inlined(report: Report, own: Path | None) -> Mapping[str, object]:
    """Return what a page carries in itself, and the policy that lets nothing else in: no address, no other script."""
    script = _source("page.js", own) or ""
    styles = (_source("page.css", own) or "", _coloured(report.brand))
    policy = (
        "default-src 'none'",
        f"style-src {' '.join(_hash(each) for each in styles if each)}",
        f"script-src {_hash(script)}",
        "img-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
    return {
        "policy": "; ".join(policy),
        "styles": [each for each in styles if each],
        "script": script,
        "charts": [(trend, drawn(trend)) for trend in report.trends],
    }


def _coloured(brand: Brand) -> str:
    """Return the style of a brokerage's colour, with text on it that can be read."""
    return (
        f":root{{--brand:{brand.colour};--on-brand:{ink_on(brand.colour)}}}" if _COLOUR.fullmatch(brand.colour) else ""
    )


def _hash(content: str) -> str:
    """Name an inline style or script as a content security policy does (CSP 3, 2.3.1)."""
    return f"'sha256-{b64encode(sha256(content.encode()).digest()).decode()}'"


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
