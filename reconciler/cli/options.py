"""Arguments and options that several commands have, spelled once."""

from __future__ import annotations

from typing import Annotated, Final

import typer

COMMON: Final = "Every command also takes --format text|json, --verbose/-v, --quiet/-q and --mask."

JobArgument = Annotated[
    str | None,
    typer.Argument(metavar="JOB", help="A job file, or its name in jobs/. Default: $RECONCILE_JOB, or the only one."),
]
JobOption = Annotated[str | None, typer.Option("--job", metavar="JOB", help="A job file, or its name in jobs/.")]
WhichArgument = Annotated[
    str | None, typer.Argument(metavar="FILTER", help="A finding's key, a source key, or a CRM id.")
]
KindOption = Annotated[str | None, typer.Option("--kind", metavar="KIND", help="Only findings of this kind.")]
ScheduledOption = Annotated[
    bool, typer.Option("--scheduled", help="For a schedule: do each slot's work once; exit 0 while it is done.")
]
AgentOption = Annotated[str | None, typer.Option("--agent", metavar="AGENT", help="Only findings of this agent.")]
