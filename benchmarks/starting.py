"""Time what a person waits for: `reconcile --help`, and a dry run on one small calendar. Medians of several starts."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from pathlib import Path

import brokerage

STARTS = 7
PROGRAM = [sys.executable, "-m", "reconciler"]

CALENDAR = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//benchmark//EN
BEGIN:VEVENT
UID:evt1@acme.example
DTSTAMP:20261101T000000Z
DTSTART:20261124T150000Z
DTEND:20261124T160000Z
SUMMARY:Showing
ORGANIZER:mailto:agent-0@acme.example
ATTENDEE:mailto:client1@mail.example
END:VEVENT
END:VCALENDAR
"""


def waits(folder: Path) -> dict[str, float]:
    """Return the seconds each start takes."""
    brokerage.build(folder, brokerage.EVENTS_PER_AGENT)
    (folder / "calendars" / "one.ics").write_text(CALENDAR.replace("\n", "\r\n"))
    commands = {
        "bare interpreter": [sys.executable, "-c", "pass"],
        "reconcile --help": [*PROGRAM, "--help"],
        "reconcile run --dry-run": [*PROGRAM, "run", "--dry-run", str(folder / "job.toml")],
    }
    return {name: _median(command) for name, command in commands.items()}


def _median(command: list[str]) -> float:
    def once() -> float:
        began = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603  # our own commands
        return time.perf_counter() - began

    once()  # compiles what is not compiled yet, migrates the state
    return statistics.median(once() for _ in range(STARTS))
