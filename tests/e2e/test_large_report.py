"""Tens of thousands of findings: every face is made in the memory of a thousand, and what people open stays small.

`make bench SIZES=large` holds a hundred thousand to the same.
"""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert

from reconciler.store.database import batched
from reconciler.store.schema import findings
from tests.e2e.world import NOW, World

FEW, MANY = 1_000, int(os.environ.get("FINDINGS") or 20_000)
MEGABYTE = 1_000_000

PROGRAM = """
import sys
from datetime import datetime
from pathlib import Path
from reconciler.config import load
from reconciler.report.render import mail_page, page, text
from reconciler.report.tables import write_csv, write_json, write_xlsx
from reconciler.reporting import Asked, desk, report_of

job, folder, now = Path(sys.argv[1]), Path(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
with desk(load(job, {}), {}, clock=lambda: now) as at, report_of(at, Asked(word="acme")) as made:
    for name, face in (("page.html", page), ("mail.html", mail_page), ("report.txt", text)):
        (folder / name).write_text(face(made.report), "utf-8")
    write_csv(made.report, folder / "report.csv")
    write_xlsx(made.report, folder / "report.xlsx")
    write_json(made.recorded, made.report, folder / "report.json")
said = Path("/proc/self/status")  # what getrusage says began with the process that started this one
held = next(line for line in said.read_text().splitlines() if line.startswith("VmHWM:"))
print(int(held.split()[1]) * 1024)
"""


def rows(count: int) -> Iterator[dict[str, Any]]:
    """Yield findings as a state keeps them after a bad import: all of one kind, of a hundred agents."""
    title = "Showing of a house with a name that is as long as such names are"
    at = int(NOW.timestamp())
    for number in range(count):
        before, after = "2026-11-24T15:00:00Z", "2026-11-24T16:00:00Z"
        yield {
            "key": f"{number:012x}",
            "job": 1,
            "kind": ("reschedule_not_propagated", "field_drift", "missing_in_crm")[number % 3],
            "severity": ("high", "info", "critical")[number % 3],
            "agent": f"agent{number % 100}@acme.example",
            "event": f"evt{number}",
            "crm_id": str(number),
            "start": after,
            "payload": json.dumps(
                {
                    "action": "human",
                    "why": f"The calendar moved and the CRM did not: {number}.",
                    "fields": {"start": [before, after], "title": [title, f"{title}, {number}"]},
                    "start": after,
                    "tier": "key",
                }
            ),
            "first_seen": at,
            "last_seen": at,
            "sightings": 1,
        }


def made_of(count: int, folder: Path) -> tuple[int, Path]:
    """Make every face of a report over so many findings, in a process of its own; return its peak of memory."""
    folder.mkdir()
    world = World(folder)
    world.run()
    with world.setup(dry_run=True) as setup, setup.state.begin() as connection:
        for batch in batched(rows(count)):
            connection.execute(insert(findings), batch)
    command = [sys.executable, "-c", PROGRAM, str(world.job()), str(folder), NOW.isoformat()]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(told.stdout), folder


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").is_file(), reason="the peak of a process is read from /proc")
def test_a_report_over_many_findings_takes_the_memory_of_one_over_few(tmp_path: Path) -> None:
    few, _ = made_of(FEW, tmp_path / "few")
    many, folder = made_of(MANY, tmp_path / "many")
    # The keys in their order, and the pages that SQLite keeps: 32 MB of them. The findings themselves take 6 kB each.
    assert many - few < 50 * MEGABYTE + 500 * MANY, f"{few:,} and {many:,} bytes"

    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    assert sizes["page.html"] < MEGABYTE
    assert sizes["mail.html"] < 100_000
    assert sizes["report.txt"] < MEGABYTE
    with (folder / "report.csv").open(encoding="utf-8-sig", newline="") as file:
        assert sum(1 for _ in csv.reader(file)) == MANY + 1
    with zipfile.ZipFile(folder / "report.xlsx") as book, book.open("xl/worksheets/sheet2.xml") as sheet:
        assert sum(piece.count(b"<row ") for piece in sheet) == MANY + 1
