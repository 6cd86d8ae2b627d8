"""The commands and their options, as `reconcile --help` lists them. What they do is in the modules beside this one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from reconciler.cli import screen, subcommands
from reconciler.cli.options import (
    COMMON,
    AgentOption,
    JobArgument,
    JobOption,
    KindOption,
    ScheduledOption,
    WhichArgument,
)
from reconciler.cli.world import Call, Common, Format

NAMES: Final = (
    "run",
    "pull",
    "approve",
    "resolve",
    "accept",
    "link",
    "revert",
    "check",
    "schedule",
    "explain",
    "status",
    "report",
    "demo",
    "state",
    "generate",
)

app = typer.Typer(
    name="reconcile",
    no_args_is_help=False,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    epilog="`reconcile JOB` is short for `reconcile run JOB`; one called like a command is named by its path: ./status",
)


def _version(asked: object) -> None:
    if asked:
        from reconciler import __version__

        screen.write(f"reconcile {__version__}")
        raise typer.Exit


@app.callback()
def reconcile(
    context: typer.Context,
    *,
    format_: Annotated[Format, typer.Option("--format", help="How results are written to stdout.")] = Format.TEXT,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="More logs on stderr.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Only the headline, and only if somebody must look.")
    ] = False,
    mask: Annotated[bool, typer.Option("--mask", help="Hide clients' names, addresses and titles.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Find and repair the differences between a brokerage's calendars and its CRM."""
    del version
    common = Common(format=format_, verbose=verbose, quiet=quiet, mask=mask)
    context.obj = Call(context.obj, common, NAMES)


@app.command(epilog=COMMON)
def run(  # noqa: PLR0913  # one parameter for each option: that is how typer reads them
    context: typer.Context,
    job: JobArgument = None,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; write to neither side.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Read every calendar whole.")] = False,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="AGENT", help="Look at these agents' calendars only; repeatable."),
    ] = None,
    approve: Annotated[
        str | None,
        typer.Option("--approve", metavar="DIGEST", help="Consent to a plan that was refused, and apply it."),
    ] = None,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Exit 0, not 75, while another run is at work.")
    ] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 3 when a dry run finds differences.")] = False,
) -> int:
    """Compare both sides and apply what the job file allows."""
    from reconciler.cli import running

    asked = running.Asked(
        dry_run=dry_run,
        full=full,
        only=tuple(only or ()),
        approve=approve,
        scheduled=scheduled,
        exit_code=exit_code,
    )
    return running.run(context.obj, job, asked)


@app.command(epilog=COMMON)
def pull(
    context: typer.Context,
    job: JobArgument = None,
    *,
    shard: Annotated[
        str | None, typer.Option("--shard", metavar="I/N", help="Only the I-th of N parts of the calendars.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read every calendar whole.")] = False,
    scheduled: Annotated[
        bool, typer.Option("--scheduled", help="Started by a schedule: do the slot's work once.")
    ] = False,
) -> int:
    """Read the calendars only, for a later run to compare; many may share them."""
    from reconciler.cli import pulling

    return pulling.pull(context.obj, job, pulling.Asked(shard=shard, full=full, scheduled=scheduled))


@app.command(epilog=COMMON)
def approve(
    context: typer.Context,
    digest: Annotated[
        str, typer.Argument(metavar="DIGEST", help="Of the plan, as a refusal prints it: 12 digits or more.")
    ],
    *,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who consents.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why it is right.")],
    expires: Annotated[
        str, typer.Option("--expires", metavar="TIME", help="How long it counts: 90m, 24h, 7d.")
    ] = "24h",
    job: JobOption = None,
) -> int:
    """Consent to a plan that was refused or withheld; the next run uses it, once."""
    from reconciler.cli import approving

    return approving.approve(context.obj, approving.Asked(digest=digest, by=by, why=why, expires=expires), job)


@app.command(epilog=COMMON)
def revert(
    context: typer.Context,
    run: Annotated[str, typer.Argument(metavar="RUN", help="The run's id, or the first 8 letters of it or more.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; write to neither side.")] = False,
    job: JobOption = None,
) -> int:
    """Take back what a run wrote, where it is still as that run left it."""
    from reconciler.cli import reverting

    return reverting.revert(context.obj, run, job, dry_run=dry_run)


@app.command(epilog=COMMON)
def check(context: typer.Context, job: JobArgument = None) -> int:
    """Look at everything that can be known before a run."""
    from reconciler.cli import checking

    return checking.check(context.obj, job)


@app.command(epilog=COMMON)
def schedule(context: typer.Context, job: JobArgument = None) -> int:
    """Show next, last, late and missed slots of the crontab, and whether it fits; without JOB those of all jobs."""
    from reconciler.cli import timetable

    return timetable.schedule(context.obj, job)


@app.command(epilog=COMMON)
def status(
    context: typer.Context,
    job: JobArgument = None,
    *,
    all_: Annotated[bool, typer.Option("--all", help="Every job in jobs/, a line for each.")] = False,
) -> int:
    """Show the last runs, and how fresh each calendar is."""
    from reconciler.cli import freshness

    return freshness.status_of_all(context.obj, job) if all_ else freshness.status(context.obj, job)


@app.command(epilog=COMMON)
def explain(
    context: typer.Context,
    key: Annotated[str, typer.Argument(metavar="KEY", help="A finding's key, a source key, or a CRM id.")],
    job: JobOption = None,
) -> int:
    """Show all that is known of one appointment."""
    from reconciler.cli import explaining

    return explaining.explain(context.obj, key, job)


@app.command(epilog=COMMON)
def resolve(
    context: typer.Context,
    which: WhichArgument = None,
    *,
    take: Annotated[str, typer.Option("--take", metavar="calendar|crm", help="Whose word counts.")],
    kind: KindOption = None,
    agent: AgentOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; write to neither side.")] = False,
    job: JobOption = None,
) -> int:
    """Settle what a person must decide: take one side's word, under the same limits."""
    from reconciler.cli import deciding

    meant = deciding.Which(word=which, kind=kind, agent=agent)
    again = " ".join(["resolve", *meant.words(), f"--take {take}"])
    asked = deciding.Asked(again=again, dry_run=dry_run)
    return deciding.resolve(context.obj, meant, take, asked, job)


@app.command(epilog=COMMON)
def accept(  # noqa: PLR0913  # one parameter for each option: that is how typer reads them
    context: typer.Context,
    which: WhichArgument = None,
    *,
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who knows it.")],
    why: Annotated[str, typer.Option("--why", metavar="TEXT", help="Why it is right as it is.")],
    until: Annotated[str, typer.Option("--until", metavar="DATE", help="The last day: 90 days from now at most.")],
    kind: KindOption = None,
    agent: AgentOption = None,
    job: JobOption = None,
) -> int:
    """Mark findings as known until either side changes, or the day is over."""
    from reconciler.cli import accepting, deciding

    meant = deciding.Which(word=which, kind=kind, agent=agent)
    return accepting.accept(context.obj, meant, accepting.Asked(by=by, why=why, until=until), job)


@app.command(epilog=COMMON)
def link(
    context: typer.Context,
    *,
    suggested: Annotated[
        bool, typer.Option("--suggested", help="Link events and records of one agent, client and time.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan; link nothing.")] = False,
    job: JobOption = None,
) -> int:
    """Turn one-to-one natural matches into links; nothing is written to either side."""
    from reconciler.cli import deciding

    asked = deciding.Asked(again="link --suggested", dry_run=dry_run)
    return deciding.link(context.obj, asked, job, suggested=suggested)


@app.command(epilog=COMMON)
def report(  # noqa: PLR0913  # one parameter for each option: that is how typer reads them
    context: typer.Context,
    job: JobArgument = None,
    *,
    run: Annotated[str | None, typer.Option("--run", metavar="ID", help="Of this run alone.")] = None,
    since: Annotated[
        str | None, typer.Option("--since", metavar="T", help="From then on: 31d, 2026-11-01, 2026-11-01T08:00.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", metavar="T", help="Up to then, spelled as --since.")] = None,
    html: Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write it as a page.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", metavar="FILE", help="Write it as a table.")] = None,
    xlsx: Annotated[Path | None, typer.Option("--xlsx", metavar="FILE", help="Write it as a spreadsheet.")] = None,
    json: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write it as JSON.")] = None,
    send: Annotated[bool, typer.Option("--send", help="Mail it, as [report] says.")] = False,
    urgent: Annotated[
        bool, typer.Option("--urgent", help="Only what is newly refused, blind or critical; nothing else goes out.")
    ] = False,
    again: Annotated[bool, typer.Option("--again", help="Send the latest one once more.")] = False,
    scheduled: ScheduledOption = False,
) -> int:
    """Tell what was found since the last report; written to files, or sent."""
    from reconciler.cli import reporting

    files = {"html": html, "csv": csv, "xlsx": xlsx, "json": json}
    asked = reporting.Asked(
        run=run,
        since=since,
        until=until,
        files={face: path for face, path in files.items() if path},
        send=send,
        urgent=urgent,
        again=again,
        scheduled=scheduled,
    )
    return reporting.report(context.obj, job, asked)


@app.command(epilog=COMMON)
def demo(
    context: typer.Context,
    folder: Annotated[
        Path | None,
        typer.Option("--dir", metavar="FOLDER", help="Where to make the sample brokerage; default: a new folder."),
    ] = None,
    *,
    serve: Annotated[
        bool, typer.Option("--serve", help="Keep the stand-ins for Google and Microsoft until Ctrl-C, for others.")
    ] = False,
) -> int:
    """Make a sample brokerage on this machine and run the whole job against it."""
    from reconciler.cli import demonstration

    return demonstration.demo(context.obj, folder, serve=serve)


app.add_typer(subcommands.state)
app.add_typer(subcommands.generate)
