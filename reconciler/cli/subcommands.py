"""The commands of `reconcile state` and `reconcile generate`, and their options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from reconciler.cli.options import COMMON, JobArgument, JobOption, ScheduledOption

PersonArgument = Annotated[str, typer.Argument(metavar="EMAIL", help="Whose address: a client's, or a former agent's.")]
NameOption = Annotated[
    list[str] | None, typer.Option("--name", metavar="NAME", help="By which they are named in texts; repeatable.")
]

state = typer.Typer(name="state", help="The state database's own upkeep.", no_args_is_help=True, rich_markup_mode=None)
generate = typer.Typer(
    name="generate", help="Make files for other systems.", no_args_is_help=True, rich_markup_mode=None
)


@state.command(epilog=COMMON)
def rebind(context: typer.Context, job: JobArgument = None) -> int:
    """Say that the job's CRM has moved: bind the state to where it is now."""
    from reconciler.cli import upkeep

    return upkeep.rebind(context.obj, job)


@state.command(epilog=COMMON)
def upgrade(
    context: typer.Context,
    job: JobArgument = None,
    *,
    backup: Annotated[
        bool, typer.Option("--backup/--no-backup", help="Keep a copy of a SQLite file as it was, beside it.")
    ] = True,
) -> int:
    """Bring the state database of an older version to this version's tables."""
    from reconciler.cli import upgrading

    return upgrading.upgrade(context.obj, job, keep=backup)


@generate.command(epilog=COMMON)
def kubernetes(
    context: typer.Context,
    *,
    job: Annotated[
        list[str] | None, typer.Option("--job", metavar="JOB", help="Only of this job; repeatable. Default: all.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", metavar="FOLDER", help="Write files for kustomize. Default: to stdout.")
    ] = None,
    shards: Annotated[
        int | None, typer.Option("--shards", metavar="N", help="Read calendars by N workers beside the run.")
    ] = None,
    image: Annotated[str | None, typer.Option("--image", metavar="IMAGE", help="What the containers run.")] = None,
    state: Annotated[
        str | None, typer.Option("--state", metavar="URL", help="Where the state is in the cluster: env:STATE_URL.")
    ] = None,
    pushgateway: Annotated[
        str | None, typer.Option("--pushgateway", metavar="URL", help="Where figures are pushed to in the cluster.")
    ] = None,
) -> int:
    """Write manifests for Kubernetes from crontab and jobs."""
    from reconciler.cli import generating, manifesting

    local = manifesting.Local(state=state, pushgateway=pushgateway)
    asked = generating.Asked(jobs=tuple(job or ()), output=output, shards=shards, image=image, local=local)
    return generating.kubernetes(context.obj, asked)


@state.command(epilog=COMMON)
def prune(
    context: typer.Context,
    job: JobArgument = None,
    *,
    named: JobOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what is old.")] = False,
    scheduled: ScheduledOption = False,
) -> int:
    """Drop what is older than [retention] says; any run may be at work meanwhile."""
    from reconciler.cli import pruning

    return pruning.prune(context.obj, job or named, dry_run=dry_run, scheduled=scheduled)


@state.command(epilog=COMMON)
def forget(
    context: typer.Context,
    email: PersonArgument,
    *,
    name: NameOption = None,
    reports: Annotated[
        list[str] | None,
        typer.Option("--reports", metavar="FOLDER", help="Remove the report files in it that name them; repeatable."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be changed.")] = False,
    job: JobOption = None,
) -> int:
    """Keep nothing about a person any more but the times of their appointments, now and from now on."""
    from reconciler.cli import forgetting

    asked = forgetting.Asked(address=email, names=tuple(name or ()), reports=tuple(reports or ()), dry_run=dry_run)
    return forgetting.forget(context.obj, asked, job)


@state.command(epilog=COMMON)
def subject(context: typer.Context, email: PersonArgument, *, name: NameOption = None, job: JobOption = None) -> int:
    """Show all that is kept about a person."""
    from reconciler.cli import forgetting, personal

    return personal.subject(context.obj, forgetting.Asked(address=email, names=tuple(name or ())), job)
