"""The first screen of a report as a message for a chat: for Slack, for Teams, or as plain values for anything else.

Pure. Every text is inert in a chat and stands where markup is not read anyway; no message is longer than its service
takes, what does not fit is said to be left out. There is no link in it: what leads further is the mail and the page.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, Final

from reconciler.inert import Sink, inert
from reconciler.model import rfc3339
from reconciler.report.look import Mood, Next
from reconciler.report.report import Cause, Report, Unseen
from reconciler.report.words import plural

SLACK_LIMIT: Final = 9_000
"""Characters of the blocks' JSON. Slack names 50 blocks and 3,000 characters each, and refuses all blocks together from
some 13,000 on (`msg_blocks_too_long`, slackapi/bolt-js issue 2509)."""

TEAMS_LIMIT: Final = 20_000
"""Characters of the JSON. Teams names 28 kB (learn.microsoft.com, "Create Incoming Webhooks"), others met 21."""

PLAIN_LIMIT: Final = 20_000
"""Characters of the JSON for anything else: as much as the others."""

MOST: Final = 8
"""Entries of each list in a message."""

LONGEST: Final = 48
"""Lines of a message: each is a block of Slack's."""

WIDEST: Final = 240
"""Characters of one line; a heading in Slack takes 150."""


class Tone(StrEnum):
    """How a line of a message looks."""

    HEAD = "head"
    ALARM = "alarm"
    PART = "part"
    PLAIN = "plain"
    DIM = "dim"
    COMMAND = "command"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a message."""

    tone: Tone
    text: str


# ---- what is said ---------------------------------------------------------------------------------------------------


def lines(report: Report) -> tuple[Line, ...]:
    """Return what a chat is told, in the order in which it matters: what comes last is what is left out first."""
    said = (Line(line.tone, inert(line.text, Sink.CHAT, WIDEST)) for line in _lines(report))
    return tuple(islice((line for line in said if line.text), LONGEST))


def _lines(report: Report) -> Iterator[Line]:
    names = (report.brand.title, report.job, report.part, "urgent" if report.is_urgent else "")
    yield Line(Tone.HEAD, f"{report.mood}: {report.headline}")
    yield Line(Tone.DIM, " · ".join(name for name in names if name))
    yield from (Line(Tone.ALARM, _unseen(unseen)) for unseen in report.unseen[:MOST])
    if (more := len(report.unseen) - MOST) > 0:
        yield Line(Tone.ALARM, f"{more:,} more not seen")
    for sentence in (report.unseen_more, *report.refusal[:MOST]):
        yield Line(Tone.ALARM, sentence)
    yield Line(Tone.PLAIN, _figures(report))
    for cause in report.causes[:MOST]:
        yield from _cause(cause)
    for note in report.notes[:MOST]:
        yield Line(Tone.PLAIN, note)
    for following in report.following[:MOST]:
        yield from _command(following)
    yield Line(Tone.DIM, f"{report.period}. {report.coverage}")


def _unseen(unseen: Unseen) -> str:
    new = " (new)" if unseen.is_new else ""
    source = f" ({unseen.source})" if unseen.source else ""
    return f"NOT SEEN{new}: {unseen.name}{source}: {unseen.why}, {unseen.since}"


def _figures(report: Report) -> str:
    """Say the numbers: `2 critical (1 new) · 4 need you`."""
    shown = (each for each in report.figures if each.count or each.new)
    return " · ".join(
        f"{each.count:,} {each.title.lower()}" + (f" ({each.new:,} new)" if each.new else "") for each in shown
    )


def _cause(cause: Cause) -> Iterator[Line]:
    new = " (new)" if cause.is_new else ""
    yield Line(Tone.PART, f"{cause.severity}{new}: {cause.title}")
    yield Line(Tone.PLAIN, f"{cause.since_said}, {plural(cause.count, 'finding')}")
    if cause.following:
        yield from _command(cause.following)


def _command(following: Next) -> Iterator[Line]:
    """Yield a command that a chat shows as it is typed; one with an address in it is left to the mail."""
    if inert(following.command, Sink.CHAT, WIDEST) == following.command:
        yield Line(Tone.DIM, f"{following.purpose}:")
        yield Line(Tone.COMMAND, following.command)


# ---- how it is sent -------------------------------------------------------------------------------------------------


def slack(report: Report) -> dict[str, Any]:
    """Return the message for an incoming webhook of Slack."""
    return _fitting(_slack, lines(report), SLACK_LIMIT)


def _slack(said: tuple[Line, ...]) -> dict[str, Any]:
    head, *rest = said
    return {
        "text": head.text,
        "mrkdwn": False,
        "unfurl_links": False,
        "unfurl_media": False,
        "blocks": [{"type": "header", "text": _slack_text(head.text[:150])}, *map(_slack_block, rest)],
    }


def _slack_block(line: Line) -> dict[str, Any]:
    match line.tone:
        case Tone.DIM:
            return {"type": "context", "elements": [_slack_text(line.text)]}
        case Tone.COMMAND:  # rich text of one preformatted piece: the only one that reads as what is typed
            pieces = [{"type": "text", "text": line.text}]
            return {"type": "rich_text", "elements": [{"type": "rich_text_preformatted", "elements": pieces}]}
        case _:
            return {"type": "section", "text": _slack_text(line.text)}


def _slack_text(said: str) -> dict[str, Any]:
    return {"type": "plain_text", "text": said, "emoji": False}


def teams(report: Report) -> dict[str, Any]:
    """Return the message for a webhook of Teams: one adaptive card, of text runs, in which Markdown is not read."""
    return _fitting(lambda said: _teams(said, report.mood), lines(report), TEAMS_LIMIT)


def _teams(said: tuple[Line, ...], mood: Mood) -> dict[str, Any]:
    card = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.2",  # the first with text runs (learn.microsoft.com, "TextRun")
        "body": [_teams_block(line, mood) for line in said],
        "msteams": {"width": "Full"},
    }
    attachment = {"contentType": "application/vnd.microsoft.card.adaptive", "contentUrl": None, "content": card}
    return {"type": "message", "summary": said[0].text, "attachments": [attachment]}


def _teams_block(line: Line, mood: Mood) -> dict[str, Any]:
    looks = dict(_TEAMS_LOOKS.get(line.tone, {}))
    if line.tone is Tone.HEAD:
        looks["color"] = "good" if mood is Mood.SAFE else "attention"
    spacing = "medium" if line.tone is Tone.PART else "small"
    return {
        "type": "RichTextBlock",
        "spacing": spacing,
        "inlines": [{"type": "TextRun", "text": line.text, **looks}],
    }


_TEAMS_LOOKS: Final[dict[Tone, dict[str, Any]]] = {
    Tone.HEAD: {"size": "large", "weight": "bolder"},
    Tone.ALARM: {"weight": "bolder", "color": "attention"},
    Tone.PART: {"weight": "bolder"},
    Tone.DIM: {"isSubtle": True},
    Tone.COMMAND: {"fontType": "monospace"},
}


def plain(report: Report) -> dict[str, Any]:
    """Return the message as plain values, for a service of a brokerage's own."""
    return _fitting(lambda said: _plain(said, report), lines(report), PLAIN_LIMIT)


def _plain(said: tuple[Line, ...], report: Report) -> dict[str, Any]:
    return {
        "format_version": 1,
        "job": inert(report.job, Sink.CHAT),
        "part": inert(report.part, Sink.CHAT),
        "mood": report.mood,
        "urgent": report.is_urgent,
        "since": rfc3339(report.since),
        "until": rfc3339(report.until),
        "figures": {each.name: {"count": each.count, "new": each.new} for each in report.figures},
        "unseen": len(report.unseen),
        "causes": len(report.causes),
        "lines": [line.text for line in said],
        "digest": report.digest,
    }


def _fitting(made: Callable[[tuple[Line, ...]], dict[str, Any]], said: tuple[Line, ...], limit: int) -> dict[str, Any]:
    """Make a message of as many lines as fit, from the first on; the last one then says that there are more."""
    message, kept = made(said), len(said)
    while kept > 1 and len(json.dumps(message)) > limit:
        kept -= 1
        left_out = Line(Tone.DIM, f"… {plural(len(said) - kept, 'line')} more in the report")
        message = made((*said[:kept], left_out))
    return message
