"""`reconcile report`: what was found since the last report, as files, on the screen, or sent to whom it concerns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from reconciler.cli import logs, measuring, scheduling, screen
from reconciler.cli.moments import moment_of
from reconciler.cli.world import Format, load_job
from reconciler.errors import Problem, UsageError
from reconciler.report.look import Mood
from reconciler.report.words import bounded, zone_of

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Named
    from reconciler.delivering import Delivered
    from reconciler.report.report import Report
    from reconciler.reporting import Asked as Wanted
    from reconciler.reporting import Desk, Made

TEMPLATES: Final = "reports"
"""The folder of a brokerage's own templates, where the program runs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What the command line said: which period, which files (by face), and whether it goes out."""

    run: str | None = None
    since: str | None = None
    until: str | None = None
    files: dict[str, Path] = field(default_factory=dict)
    send: bool = False
    urgent: bool = False
    again: bool = False
    scheduled: bool = False

    @property
    def names_period(self) -> bool:
        """Tell whether the period is another one than since the last report."""
        return any((self.run, self.since, self.until))


@logs.told("report")
def report(call: Call, argument: str | None, asked: Asked) -> int:
    """Make the report, write it to files or stdout, send it if that was asked for, and return the exit code."""
    from reconciler import reporting

    _check(asked)
    named = load_job(call, argument)
    slot = scheduling.slot_of(call, named) if asked.scheduled else None
    with _measured(call, named, asked), reporting.desk(named.job, call.world.environ, clock=call.world.clock) as desk:
        return scheduling.once(call, desk.state, slot, lambda: _told(call, named, desk, asked))


def _measured(call: Call, named: Named, asked: Asked) -> AbstractContextManager[None]:
    """Measure what is sent; who only reads a report leaves the figures of the job alone."""
    return measuring.measured(call, named) if asked.send else nullcontext()


def _told(call: Call, named: Named, desk: Desk, asked: Asked) -> int:
    """Write and send what was asked for."""
    from reconciler import reporting

    try:
        if asked.files or not asked.send:
            with reporting.report_of(desk, _wanted(call, named, asked)) as made:
                _write(call, made, asked)
    except UsageError:
        if asked.send:  # a file that can't be written keeps nobody from being told
            _sent(call, named, desk, asked)
        raise
    return _sent(call, named, desk, asked) if asked.send else 0


def _check(asked: Asked) -> None:
    """Raise UsageError for words that don't go together."""
    paths = asked.files.values()
    problems = (
        (len({*paths}) < len(paths), "one file can't be two faces of a report", "name another file for each"),
        ((asked.urgent or asked.again) and not asked.send, "--urgent and --again say how to send", "add --send"),
        (asked.run and (asked.since or asked.until), "--run is a period of its own", "leave out --since and --until"),
        (
            asked.send and asked.names_period,
            "--send tells what is new since the last report that was sent",
            "another period can be written to a file: leave out --send, and name one, as --html month.html",
        ),
    )
    for is_wrong, what, hint in problems:
        if is_wrong:
            raise UsageError(str(Problem("report", what, hint)))


def _wanted(call: Call, named: Named, asked: Asked) -> Wanted:
    from reconciler.delivering import main_channel
    from reconciler.reporting import Asked as Wanted

    zone, now = zone_of(named.job.report.timezone), call.world.clock()
    since = moment_of("--since", asked.since, zone, now) if asked.since else None
    until = moment_of("--until", asked.until, zone, now) if asked.until else None
    if since and until and since >= until:
        raise UsageError(str(Problem("--until", "is no later than --since", "a period has a length")))
    return Wanted(
        word=named.word,
        since=since,
        until=until,
        run=asked.run,
        channel=main_channel(named.job),
        masked=call.common.mask,
    )


# ---- files and stdout -----------------------------------------------------------------------------------------------


def _write(call: Call, made: Made, asked: Asked) -> None:
    """Write the files that were asked for; what is read on the screen is the report, or where the files are."""
    from reconciler.report.tables import json_chunks

    own = call.world.cwd / TEMPLATES
    for face, path in asked.files.items():
        with _to(face, call.world.cwd / path) as target:
            _WRITERS[face](made, target, own)
    if call.common.format is Format.JSON:
        if not asked.send:
            screen.write_chunks(json_chunks(made.recorded, made.report))
    elif call.common.quiet:
        if made.report.mood is not Mood.SAFE and not asked.send:
            screen.write(_headline(made.report))
    elif asked.files:
        screen.write("\n".join([_headline(made.report), *(f"    {path}" for path in asked.files.values())]))
    else:
        from reconciler.report.render import text

        screen.write(text(made.report, own))


def _headline(report: Report) -> str:
    return f"{report.mood} {report.job}: {report.headline}"


@contextmanager
def _to(face: str, path: Path) -> Iterator[Path]:
    """Name the file in what goes wrong with it. Raises UsageError."""
    try:
        yield path
    except OSError as error:
        why = f"{bounded(path.name)} can't be written: {error.strerror or type(error).__name__}"
        raise UsageError(str(Problem(f"--{face}", why, "name a file in a folder that you may write to"))) from None


def _write_html(made: Made, path: Path, own: Path) -> None:
    from reconciler.report.render import page
    from reconciler.report.tables import whole

    with whole(path) as stream:
        stream.write(page(made.report, own).encode())


def _write_csv(made: Made, path: Path, _: Path) -> None:
    from reconciler.report.tables import write_csv

    write_csv(made.report, path)


def _write_xlsx(made: Made, path: Path, _: Path) -> None:
    from reconciler.report.tables import write_xlsx

    write_xlsx(made.report, path)


def _write_json(made: Made, path: Path, _: Path) -> None:
    from reconciler.report.tables import write_json

    write_json(made.recorded, made.report, path)


_WRITERS: Final[dict[str, Callable[[Made, Path, Path], None]]] = {
    "html": _write_html,
    "csv": _write_csv,
    "xlsx": _write_xlsx,
    "json": _write_json,
}


# ---- sending --------------------------------------------------------------------------------------------------------


def _sent(call: Call, named: Named, desk: Desk, asked: Asked) -> int:
    """Send what is due, say what came of it, and return the exit code. Raises UsageError where nobody is to be told."""
    from reconciler import delivering

    if not delivering.channels(named.job):
        hint = f"add `mail` or a webhook to [report] of {named.job.name}, or write a file: --html report.html"
        raise UsageError(str(Problem("--send", "the job file names nobody to tell", hint)))
    sending = delivering.Sending(desk=desk, environ=call.world.environ, own=call.world.cwd / TEMPLATES)
    order = delivering.Order(word=named.word, urgent=asked.urgent, again=asked.again, masked=call.common.mask)
    outcome = delivering.deliver(sending, order)
    call.event.delivered(one.step for one in outcome.each)
    if call.common.format is Format.JSON:
        each = [{"channel": one.name, "outcome": one.step, "why": one.why or None} for one in outcome.each]
        screen.write_json({"job": named.job.name, "deliveries": each})
    elif not call.common.quiet:
        screen.write("\n".join(_line(one) for one in outcome.each))
    if outcome.exit_code and (call.common.quiet or call.common.format is Format.JSON):
        screen.say("\n".join(_line(one) for one in outcome.each if one.is_bad))
    return outcome.exit_code


_SAID: Final = {
    "sent": "sent",
    "nothing": "nothing to send",
    "busy": "another process is sending it",
    "refused": "REFUSED, the next --send tries again",
    "unconfirmed": "UNCONFIRMED, nobody knows whether it arrived",
}


def _line(one: Delivered) -> str:
    why = f": {bounded(one.why, 300)}" if one.why else ""
    return f"{bounded(one.name)}: {_SAID[one.step]}{why}"
