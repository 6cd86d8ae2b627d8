"""Turn what `outlook.py` has measured into its part of RESULTS.md."""

from __future__ import annotations

from typing import Any

from outlook import EVENTS, MAILBOXES, POLLS

HEAD = """## Reading Outlook

On the stand-in of `reconciler/simulator`, in a process of its own whose CPU is not counted, over loopback without TLS.
20 mailboxes of 250 single events of some 2.4 kB of JSON each, one after another in one thread, best of three by CPU.
Ours is the source alone, from the request to events understood: it charges each request to a budget in memory, and
neither state nor CRM is in it. `get_events(limit=None, batch=250)` is O365's own way over the same events, its pause
between requests off; it knows no rounds, so an unchanged mailbox costs it as much as a new one. The bare connection is
O365's, asking what ours asks for and reading the JSON, nothing more. Series are in no line.
"""

TAIL = """Kept is what is in memory when a mailbox has been read; at most, what was while it was read. In ours the
latter is mostly a buffer of twelve times its bytes that orjson reserves while it parses a page of 200 events; apart
from it, less than 8 kB an event.
"""

WAYS = {  # what it is: (a first read, an unchanged mailbox)
    "**our source**": ("read", "quiet"),
    "O365's `get_events`": ("listed", "listed"),
    "O365's bare connection": ("pages", "links"),
}
OURS, LISTED, _ = WAYS


def markdown(found: dict[str, Any]) -> str:
    """Tell what a first read costs an event, what nothing new costs a poll, and what an event takes in memory."""
    costs = {title: _costs(found, *works) for title, works in WAYS.items()}
    sizes = {title: found["held"]["bytes"][side] for title, side in ((OURS, "ours"), (LISTED, "theirs"))}
    parts = [HEAD, f"{found['machine']}; {found['software']}; {found['date']}.", ""]
    parts += ["| CPU ms | an event, first read | a poll, nothing changed |", "|---|---|---|"]
    parts += [f"| {title} | {event:.3f} | {poll:.2f} |" for title, (event, poll) in costs.items()]
    parts += ["", "| kB an event | kept | at most |", "|---|---|---|"]
    parts += [f"| {title} | {kept / 1000:.1f} | {most / 1000:.1f} |" for title, (kept, most) in sizes.items()]
    parts += ["", "| ours, beside | `get_events` | the bare connection |", "|---|---|---|"]
    for number, what in enumerate(("CPU of an event, first read", "CPU of a poll, nothing changed")):
        ours, listed, bare = (costs[title][number] for title in WAYS)
        parts.append(f"| {what} | {ours / listed:.3f}x | {ours / bare:.2f}x |")
    for number, what in enumerate(("memory kept", "memory at most")):
        parts.append(f"| {what} | {sizes[OURS][number] / sizes[LISTED][number]:.2f}x | |")
    return "\n".join([*parts, "", TAIL])


def _costs(found: dict[str, Any], first: str, later: str) -> tuple[float, float]:
    """Return the milliseconds that an event of a first read takes, and a poll; what can't poll reads all again."""
    boxes = MAILBOXES - 1
    polls = boxes if first == later else boxes * POLLS
    event, poll = found[first]["took"]["whole"][1], found[later]["took"]["whole"][1]
    return 1000 * event / (boxes * EVENTS), 1000 * poll / polls
