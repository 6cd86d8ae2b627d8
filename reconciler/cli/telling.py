"""Whom reports reach: what `status` knows of those that were sent, and what `check` can know before one is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from reconciler.cli.lines import LONGEST, Line, Mark, problems
from reconciler.errors import ReconcilerError
from reconciler.report.answer import Fate
from reconciler.report.words import bounded, moment

if TYPE_CHECKING:
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from reconciler.agents import Directory
    from reconciler.cli.world import Call
    from reconciler.config import Job
    from reconciler.delivering import Channel
    from reconciler.reporting import Desk
    from reconciler.store.database import Connection
    from reconciler.store.deliveries import Delivery
    from reconciler.store.state import State

STEP: Final = 10.0
WHOLE: Final = 30.0
"""Seconds that a look at a server takes at most."""

_ORDER: Final[Mapping[str, int]] = {Fate.UNCONFIRMED.value: 0, Fate.REFUSED.value: 1}
_SAID: Final[Mapping[str, str]] = {Fate.UNCONFIRMED.value: "UNCONFIRMED", Fate.REFUSED.value: "OWED"}


# ---- status ---------------------------------------------------------------------------------------------------------


def told(connection: Connection, state: State, job: Job, now: datetime) -> tuple[Delivery, ...]:
    """Return what is to be known of each channel of the job file, what may not have arrived first."""
    from reconciler.delivering import channels
    from reconciler.store import deliveries

    names = {channel.key for channel in channels(job)}
    found = [one for one in deliveries.every(connection, state, now) if one.channel in names]
    return tuple(sorted(found, key=lambda one: _ORDER.get(one.status, len(_ORDER))))


def is_lost(one: Delivery) -> bool:
    """Tell whether somebody has to know of it: it did not arrive, or may not have."""
    return one.status in _ORDER


def is_partial(one: Delivery) -> bool:
    """Tell whether some of its recipients were refused: it arrived at the others, and is not sent to these again."""
    return one.status == Fate.SENT and bool(one.why)


def lost_lines(found: Iterable[Delivery], zone: ZoneInfo, word: str) -> Iterator[str]:
    """Say what did not arrive, and what helps."""
    for one in filter(is_partial, found):
        yield f"  {'PARTLY':<11}  {_which(one, zone)}: {bounded(one.why or '', LONGEST)}"
        yield f"               reconcile check {word}"
    for one in filter(is_lost, found):
        again = " --again" if one.status == Fate.UNCONFIRMED else ""
        urgent = " --urgent" if one.kind == "urgent" and not again else ""
        yield f"  {_SAID[one.status]:<11}  {_which(one, zone)}: {bounded(one.why or 'no answer', LONGEST)}"
        yield f"               reconcile report {word} --send{urgent}{again}"


def sent_lines(found: Iterable[Delivery], zone: ZoneInfo) -> Iterator[str]:
    """Say what arrived last, and what is on its way."""
    for one in found:
        if not is_lost(one):
            when = f"sent {moment(one.sent_at, zone)}" if one.sent_at else "being sent"
            yield f"  {_which(one, zone)}, {when}"


def _which(one: Delivery, zone: ZoneInfo) -> str:
    return f"{bounded(one.name)}: {one.kind} up to {moment(one.until, zone)}"


def as_json(one: Delivery) -> dict[str, Any]:
    """Return a delivery as `status --format json` shows it."""
    return {
        "channel": one.name,
        "kind": one.kind.value,
        "status": one.status,
        "since": one.since,
        "until": one.until,
        "sent_at": one.sent_at,
        "attempts": one.attempts,
        "why": one.why,
    }


# ---- check ----------------------------------------------------------------------------------------------------------


def recipients(call: Call, job: Job, people: Directory, state: State) -> Iterator[Line]:
    """Say who would get what, and whether the servers on the way there can be reached. Nothing is sent."""
    from reconciler.delivering import channels
    from reconciler.reporting import Desk

    desk = Desk(job=job, state=state, clock=call.world.clock, directory=people)
    for channel in channels(job):
        yield from _recipients(channel, desk)
    if job.report.mail:
        yield from _looked("mail server", lambda: _mail(job, call.world.environ))
    if job.report.webhook:
        yield from _looked("webhook", lambda: _webhook(job, call.world.environ))


def _recipients(channel: Channel, desk: Desk) -> Iterator[Line]:
    from reconciler.reporting import part_of

    if not channel.to:
        return
    try:
        what = f"the part of {part_of(desk, channel.route).name}" if channel.route else "the whole report"
    except ReconcilerError as error:
        yield from problems(channel.name, error)
        return
    yield Line(channel.name, Mark.OK, bounded(f"{', '.join(channel.to)}: {what}", LONGEST))


def _looked(name: str, look: Callable[[], str]) -> Iterator[Line]:
    try:
        why = look()
    except ReconcilerError as error:
        yield from problems(name, error)
        return
    says = bounded(why, LONGEST) or "it can be reached and would take a report; none was sent"
    yield Line(name, Mark.PROBLEM if why else Mark.OK, says)


def _mail(job: Job, environ: Mapping[str, str]) -> str:
    from reconciler.report.mail import Post, Server

    url = job.report.mail.smtp.reveal(environ) if job.report.mail else ""
    return Post(step=STEP, whole=WHOLE).reach(Server.of(url))


def _webhook(job: Job, environ: Mapping[str, str]) -> str:
    from reconciler.delivering import hook_of

    hook = hook_of(job, environ)
    return replace(hook, step=STEP, whole=WHOLE).reach()
