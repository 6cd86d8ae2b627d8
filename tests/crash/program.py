"""The program as cron starts it, in a process of its own that is forked in a moment: all is imported already."""

from __future__ import annotations

import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerContext
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import TYPE_CHECKING, cast

from tests.e2e.world import NOW, World

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

MODULES = ["tests.crash.program", "reconciler.assembly", "reconciler.crm.sql", "reconciler.crm.writes"]
MODULES += ["reconciler.run", "reconciler.sources.ics", "reconciler.cli.entry", "reconciler.cli.running", "filelock"]
MODULES += ["reconciler.cli.reverting", "reconciler.reverting", "reconciler.cli.reporting", "reconciler.delivering"]
MODULES += ["reconciler.report.render", "reconciler.report.tables", "jinja2.sandbox", "pandas"]
LONGEST = 120.0  # seconds after which a process is given up on


def forking() -> ForkServerContext:
    """Return what forks processes: from a server with one thread, which this process is not."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(MODULES)
    return context


def started(
    context: ForkServerContext, world: World, barrier: Barrier | None = None, words: tuple[str, ...] = ("run",)
) -> BaseProcess:
    """Start a run of the world's job; where there is a barrier, at the same instant as the others at it.

    `words` are what is typed before the job, for a run of another kind.
    """
    process = context.Process(target=_main, args=((*words, str(world.job())), dict(world.environ), barrier))
    process.start()
    return process


def ended(process: BaseProcess) -> int:
    """Wait for a process and return its exit code."""
    process.join(LONGEST)
    if process.exitcode is None:
        process.kill()
        process.join()
    return cast("int", process.exitcode)


def _main(words: tuple[str, ...], environ: dict[str, str], barrier: Barrier | None) -> None:
    from reconciler.cli import entry
    from reconciler.cli.world import World as Outside

    silent = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):
        os.dup2(silent, stream)
    if barrier is not None:
        barrier.wait(LONGEST)
    folder = Path(words[-1]).parent
    sys.exit(entry.call((*words, "--quiet"), Outside(environ=environ, cwd=folder, clock=lambda: NOW)))
