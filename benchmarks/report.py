"""Turn measured figures into RESULTS.md."""

from __future__ import annotations

from typing import Any

HEAD = """# What is claimed about speed, measured

Written by `make bench` (10,000 and 100,000 events and records) and `make bench SIZES=1000000`; do not edit. Seconds are
wall clock; CPU seconds stand beside them, for the machine was shared with other work: compare CPU with CPU. Every line
was measured once, in a process of its own; memory is that process's peak.

The brokerage is made by `benchmarks/brokerage.py`: 200 events a calendar, one CRM record each in a SQLite table, state
in SQLite. Calendars stand still after their first read and cost no network; 1.5 % of the records are changed at random
places (time, title, location or client). The job only reports. What is measured beside it sees the same rows as two
plain tables:

- **DeepDiff**: naively on every pair; measured on a sample of 2,000 pairs and multiplied, without reading them.
- **pandas**: both tables read from SQL, merged on the key, columns compared. It finds which rows differ, nothing more.
- **stored digests**: a FULL JOIN in SQLite of two tables that already hold key and digest.
- **our comparison alone**: links joined with both sides' digests, three tables, counted by calendar.
- **read and hash**: both tables streamed from the bare driver, each row hashed: what looking at everything costs.
"""

TAIL = """## What is missed, and why

- **pandas is not beaten by four.** It only says which rows differ. The audit also matches, decides, writes findings,
  looks for duplicates and double bookings, and counts both sides once more to check itself; comparing is a small part.
- **A tenth of pandas' memory** is not reached: the program alone takes about 80 MB, and each differing pair is held
  with its finding until the run ends. After the first run what agrees is never held.
- **After scattered changes a whole read of the CRM is slow**: rows are digested in chunks of about a thousand, so 1.5 %
  changed at random touches every chunk, and every row is normalised again. Runs in between read what changed only.
- **A first run of a million is slow**: everything is normalised, matched and linked row by row, once. With SQLite the
  write-ahead log grows to gigabytes meanwhile, for the view that is judged must stand still.
"""

NAMES = {
    "pandas": "pandas",
    "stored": "stored digests, bare join",
    "compare": "our comparison alone",
    "stream": "read and hash, both sides",
}
NOT_RUNS = {"deepdiff", *NAMES}
AUDIT = "full audit, 1.5 % differing"
QUIET = "nothing changed"


def markdown(kept: dict[str, Any]) -> str:
    """Return all of RESULTS.md."""
    parts = [HEAD]
    for size, found in sorted(kept["sizes"].items(), key=lambda item: int(item[0])):
        parts += [_size(int(size), found), _aims(found)]
    parts += [_starting(kept["starting"]), TAIL]
    return "\n".join(parts)


def _size(size: int, found: dict[str, Any]) -> str:
    runs = [name for name, told in found.items() if isinstance(told, dict) and name not in NOT_RUNS]
    lines = [
        f"## {size:,} events and records",
        "",
        f"{found['machine']}; {found['software']}; {found['date']}. The state takes {found['state_mb']:.0f} MB.",
        "",
        "| what | seconds | CPU seconds | rows/s | peak MB | by phase (CPU seconds) |",
        "|---|---|---|---|---|---|",
        *(_line(f"**{name}**", size, found[name]) for name in runs),
        _deepdiff(size, found["deepdiff"]),
        *(_line(title, size, found[name]) for name, title in NAMES.items()),
        "",
    ]
    return "\n".join(lines)


def _line(title: str, size: int, told: dict[str, Any]) -> str:
    wall, processor = told["took"]["whole"]
    phases = ", ".join(f"{name} {took[1]:.2f}" for name, took in told["took"].items() if name != "whole")
    return f"| {title} | {wall:.2f} | {processor:.2f} | {size / wall:,.0f} | {told['peak_mb']:.0f} | {phases} |"


def _deepdiff(size: int, told: dict[str, Any]) -> str:
    wall, processor = (seconds * size / told["pairs"] for seconds in told["took"]["whole"])
    note = f"from {told['pairs']:,} pairs"
    return f"| DeepDiff on every pair | {wall:.0f} | {processor:.0f} | {size / wall:,.0f} | | {note} |"


def _aims(found: dict[str, Any]) -> str:
    def processor(name: str, phase: str = "whole") -> float:
        seconds: float = found[name]["took"][phase][1]
        return seconds

    compared = processor("compare") / processor("stored")
    audited = processor(AUDIT) / processor("stream")
    read = processor(AUDIT, "read CRM") / processor("stream", "read crm")
    faster = processor("pandas") / processor(AUDIT)
    quiet = processor("pandas") / processor(QUIET)
    memory = found[AUDIT]["peak_mb"] / found["pandas"]["peak_mb"]
    aims = [
        ("comparing, beside the bare join on stored digests", "at most", compared, 2),
        ("the whole audit, beside reading and hashing both sides", "at most", audited, 2),
        ("its reading of the CRM, beside reading and hashing that side", "at most", read, 2),
        ("pandas, beside the whole audit", "at least", faster, 4),
        ("pandas, beside a run in which nothing changed", "at least", quiet, 4),
        ("the audit's memory, beside pandas'", "at most", memory, 0.1),
    ]
    lines = [_aim(words, bound, found, limit) for words, bound, found, limit in aims]
    return "\n".join(["| aim (ratios of CPU seconds) | wanted | found | |", "|---|---|---|---|", *lines, ""])


def _aim(words: str, bound: str, found: float, limit: float) -> str:
    met = found <= limit if bound == "at most" else found >= limit
    return f"| {words} | {bound} {limit:g}x | {found:.2f}x | {'met' if met else '**missed**'} |"


def _starting(waits: dict[str, float]) -> str:
    lines = ["## Starting", "", "| what | seconds (median of 7) |", "|---|---|"]
    lines += [f"| `{name}` | {seconds:.2f} |" for name, seconds in waits.items()]
    return "\n".join([*lines, ""])
