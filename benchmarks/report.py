"""Turn measured figures into RESULTS.md."""

from __future__ import annotations

from typing import Any

import outlook_report

HEAD = """# What is claimed about speed, measured

Written by `make bench` (10,000 and 100,000 events and records), `make bench SIZES=1000000` and `make bench
SIZES="google outlook"`; do not edit. Seconds are wall clock; CPU seconds stand beside them, for the machine was shared
with other work: compare CPU with CPU. Every line was measured once, unless it says otherwise, in a process of its own;
memory is that process's peak.

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
- **A first read of Google costs some fifteen times what fetching its pages does**: each event is understood,
  normalised, digested and kept. A dozen statements a calendar come on top, some 10 ms: calendars of 10 events cost
  1.3 ms an event to read whole, where full pages cost a third of that. Whole reads come once a week, spread over it.
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
    if "google" in kept:
        parts.append(_google(kept["google"]))
    if "outlook" in kept:
        parts.append(outlook_report.markdown(kept["outlook"]))
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


# ---- Google ---------------------------------------------------------------------------------------------------------


GOOGLE = """## Reading Google

On the stand-in of `reconciler/simulator`, in a process of its own whose CPU is not counted, over loopback without TLS,
which would cost every client some 0.3 ms more a request. The job is whole (state, CRM, comparison), and its
`[budget.google]` so large that nothing waits; every request is charged all the same. 10 events a calendar, each with a
record that agrees. The bare client is Google's own as it recommends it, with 16 threads and the same parameters, and
nothing is done with its answers. Starting a program (imports; 0.5 s of CPU for ours) is in no line. Each line is the
best of five, by CPU; of 10,000 calendars the best of three. The machine was busy, and lines differ by half from one
time to the next: the job beside the bare client was seen at 1.4 to 2.4 times its CPU.
"""

LINES = {
    "run": "**the job, second run**",
    "shared": "bare client, one `events` resource",
    "built": "bare client, `build()` for each calendar",
}
WHO = {"robot": "one token for all", "delegated": "a token an agent"}
READ = "read calendars"


def _google(found: dict[str, Any]) -> str:
    """Tell what nothing new costs, what it takes in memory, and what a first read costs an event."""
    parts = [GOOGLE, f"{found['machine']}; {found['software']}; {found['date']}.", "", "### Nothing changed", ""]
    parts += ["| what | calendars | requests | for tokens | CPU ms a calendar | of it reading | peak MB |"]
    parts += ["|---|---|---|---|---|---|---|"]
    parts += [_poll(name, int(size), told) for size, all_ in found["quiet"].items() for name, told in all_.items()]
    return "\n".join([*parts, "", _first(found["whole"]), _google_aims(found["quiet"])])


def _poll(name: str, calendars: int, told: dict[str, Any]) -> str:
    who, work = name.split(": ")
    asked, took = told["asked"], told["took"]
    reading = f"{_each(took[READ], calendars):.2f}" if READ in took else ""
    cost, memory = f"{_each(took['whole'], calendars):.2f}", f"{told['peak_mb']:.0f}"
    cells = (f"{LINES[work]}, {WHO[who]}", f"{calendars:,}", f"{asked['calendar']:,}", f"{asked['token']:,}", cost)
    return f"| {' | '.join([*cells, reading, memory])} |"


def _each(took: list[float], many: int) -> float:
    return 1000 * took[1] / many


def _first(found: dict[str, Any]) -> str:
    """Tell what a first read costs: one page of 250 events a calendar."""
    pages = found["run"]["asked"]["calendar"]
    events, phases = pages * 250, found["run"]["took"]
    rows = [
        ("**the job, first run**", phases["whole"]),
        ("its reading: events understood, normalised and kept", phases[READ]),
        ("bare client, the same requests", found["pages"]["took"]["whole"]),
        ("bare client, every field and indented, as by default", found["plain"]["took"]["whole"]),
    ]
    lines = [f"| {what} | {_each(took, events):.3f} | {_each(took, pages):.1f} |" for what, took in rows]
    head = [f"### Everything is new: {pages} calendars of one page, 250 events, each", ""]
    return "\n".join([*head, "| what | CPU ms an event | CPU ms a page |", "|---|---|---|", *lines, ""])


def _google_aims(quiet: dict[str, Any]) -> str:
    def ratio(told: dict[str, Any], who: str, phase: str = "whole") -> float:
        seconds: float = told[f"{who}: run"]["took"][phase][1] / told[f"{who}: shared"]["took"]["whole"][1]
        return seconds

    few, many = (quiet[size] for size in sorted(quiet, key=int))
    sizes = sorted(map(int, quiet))
    lines = [
        _aim("a quiet calendar, beside the bare client (1,000, one token)", "at most", ratio(few, "robot"), 2),
        _aim("its reading alone", "at most", ratio(few, "robot", READ), 2),
        _aim("a quiet calendar, each agent with a token", "at most", ratio(few, "delegated"), 2),
        _aim("a quiet calendar of 10,000", "at most", ratio(many, "robot"), 2),
    ]
    grown = many["robot: run"]["peak_mb"] - few["robot: run"]["peak_mb"]
    bare = many["robot: shared"]["peak_mb"] - few["robot: shared"]["peak_mb"]
    thousands = (sizes[1] - sizes[0]) / 1000
    each = f"{grown / thousands:.1f} MB per 1,000 calendars (the bare client's by {bare / thousands:.1f})"
    head = ["| aim (ratios of CPU seconds) | wanted | found | |", "|---|---|---|---|"]
    return "\n".join([*head, *lines, "", f"Memory grows by {each}{MEMORY}", ""])


MEMORY = """: about half of it
is SQLite's page cache, which ends at 32 MB, the rest some 2 kB for what is known of each calendar (its cursor, its
agent, how it went), held because the result names every calendar. What stands in calendars is never read for it."""


# ---- starting -------------------------------------------------------------------------------------------------------


def _starting(waits: dict[str, float]) -> str:
    lines = ["## Starting", "", "| what | seconds (median of 7) |", "|---|---|"]
    lines += [f"| `{name}` | {seconds:.2f} |" for name, seconds in waits.items()]
    return "\n".join([*lines, ""])
