"""`reconcile revert`: what a run wrote is taken back; what can't be is said before anything is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from reconciler import text
from reconciler.cli import ending, logs, running, screen
from reconciler.cli.world import load_job

if TYPE_CHECKING:
    from reconciler.cli.world import Call, Common

SAID: Final = 20
"""Writes that are named beforehand; the result has all of them."""


@logs.told("revert")
def revert(call: Call, run: str, argument: str | None, *, dry_run: bool) -> int:
    """Take back what a run wrote, show what that came to, and return the exit code."""
    from reconciler.reverting import revert as revert_run
    from reconciler.setup import Options

    named = load_job(call, argument)
    with ending.opened(call, named, dry_run=dry_run) as setup:
        result = revert_run(setup, Options(), run, lambda lines: _told(lines, call.common))
    call.event.came_to(result)
    look = replace(running.look_of(setup, named.word), command=f"revert {text.line(run, 80)}")
    screen.write_result(running.for_people(result, setup, call.common), look, call.common, call.world.cwd / "reports")
    return result.exit_code


def _told(lines: Sequence[str], common: Common) -> None:
    """Say what can't be taken back while nothing has been done yet."""
    if not lines or common.quiet:
        return
    left = "1 write of that run can't be taken back and stays as it is"
    if len(lines) > 1:
        left = f"{len(lines)} writes of that run can't be taken back and stay as they are"
    screen.say(f"reconcile: {left}:")
    for line in lines[:SAID]:
        screen.say(f"  {line}")
    if len(lines) > SAID:
        screen.say(f"  and {len(lines) - SAID} more, which the result lists")
