"""Reports sent: to the main recipients, to each route and to a webhook, each once, whatever becomes of the others.

A report is made, then claimed, then sent, then noted, in this order and in short transactions. What a server refused is
owed, and goes with the next attempt; what nobody knows the fate of goes again only when a person asks for it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Final

import orjson

from reconciler import reporting
from reconciler.errors import ReconcilerError
from reconciler.report.answer import Answer, Fate
from reconciler.report.mail import Letter, Post, Server, attached, message_id
from reconciler.report.words import bounded, plural
from reconciler.reporting import Desk, Made
from reconciler.store import deliveries
from reconciler.store.deliveries import Claim, Delivery, Denied, Kind

if TYPE_CHECKING:
    from reconciler.config import Job, Mail, Route
    from reconciler.config.sections import Webhook
    from reconciler.quota import Budget, Quota
    from reconciler.report.report import Report
    from reconciler.report.webhook import Hook
    from reconciler.store.quota import Engine

PARTIAL: Final = 5
"""The exit code where something was refused, or nobody knows whether it arrived."""
MAIL: Final = "mail"
WEBHOOK: Final = "webhook"
TRIES: Final = 3
"""How often a report is made anew because another process sent one meanwhile."""


class Step(StrEnum):
    """What came of one channel."""

    SENT = "sent"
    NOTHING = "nothing"
    BUSY = "busy"
    REFUSED = "refused"
    UNCONFIRMED = "unconfirmed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What was asked: all that is new, or what is `urgent` of it, or the last one `again`."""

    word: str
    urgent: bool = False
    again: bool = False
    masked: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Sending:
    """What reports are sent with. `own` is the folder of the brokerage's templates; `post` and `hook` set bounds."""

    desk: Desk
    environ: Mapping[str, str] = field(repr=False)
    own: Path | None = None
    post: Post = field(default_factory=Post)
    quota: Callable[[str, Budget, Engine | None], Quota] | None = None
    hook: Callable[[Hook], Hook] = lambda hook: hook


@dataclass(frozen=True, slots=True)
class Delivered:
    """What came of one channel, and why, as one line without addresses."""

    name: str
    step: Step
    why: str = ""

    @property
    def is_bad(self) -> bool:
        """Tell whether it did not arrive for sure, or not at everybody."""
        return self.step in {Step.REFUSED, Step.UNCONFIRMED} or (self.step is Step.SENT and bool(self.why))


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of all channels."""

    each: tuple[Delivered, ...]

    @property
    def exit_code(self) -> int:
        """Return 5 where a report did not arrive for sure, or not at everybody."""
        return PARTIAL if any(one.is_bad for one in self.each) else 0


# ---- who is told ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """One group that is told together. `key` stands for it in the state, which keeps no address."""

    key: str
    name: str
    to: tuple[str, ...] = field(default=(), repr=False)
    route: Route | None = None


def channels(job: Job) -> tuple[Channel, ...]:
    """Return who is told: the main recipients first, then each route, then the webhook."""
    report = job.report
    found = [Channel(key=MAIL, name=MAIL, to=report.mail.to)] if report.mail else []
    known: list[str] = []
    for number, route in enumerate(report.route, 1):
        key = _key(route)
        known.append(key)
        again = known.count(key)
        found.append(
            Channel(key=key if again == 1 else f"{key}:{again}", name=_called(route, number), to=route.to, route=route)
        )
    if report.webhook:
        found.append(Channel(key=WEBHOOK, name=WEBHOOK))
    return tuple(found)


def main_channel(job: Job) -> str | None:
    """Return the channel whose reports a report on the screen goes on from; None where nobody is told."""
    return MAIL if job.report.mail else WEBHOOK if job.report.webhook else None


def _key(route: Route) -> str:
    """Name a route by what it is about: who hears of it may change, and has been told what was told."""
    about = orjson.dumps([sorted(route.agent or ()), sorted(route.office or ())])
    return "route:" + hashlib.sha256(about).hexdigest()[:16]


def _called(route: Route, number: int) -> str:
    offices = ", ".join(bounded(office, 40) for office in route.office or ())
    agents = plural(len(route.agent), "agent") if route.agent else ""
    return f"route {number} ({bounded(' and '.join(part for part in (offices, agents) if part), 80)})"


# ---- sending --------------------------------------------------------------------------------------------------------


def deliver(sending: Sending, order: Order) -> Outcome:
    """Send what is due to every channel. Raises what kept all of them from being told, where that is one mistake."""
    found, told, errors = channels(sending.desk.job), list[Delivered](), _Errors()
    for channel in found:
        with errors:
            told.append(_Turn(sending, order, channel).taken())
        if error := errors.latest():
            told.append(Delivered(channel.name, Step.REFUSED, bounded(str(error).partition("\n")[0], 300)))
    if errors.unforeseen:
        raise errors.unforeseen[0]
    if found and len(errors.said) == len(found):
        raise errors.said[0]
    return Outcome(tuple(told))


@dataclass(slots=True)
class _Errors:
    """Keeps what goes wrong in one turn from the turns after it. What ends the process is no error, and passes."""

    said: list[ReconcilerError] = field(default_factory=list)
    unforeseen: list[Exception] = field(default_factory=list)
    seen: int = 0

    def __enter__(self) -> None:
        """Begin a turn."""

    def __exit__(self, _: object, error: BaseException | None, __: object) -> bool:
        """Take note of an error."""
        match error:
            case ReconcilerError():
                self.said.append(error)
            case Exception():
                self.unforeseen.append(error)
        return isinstance(error, Exception)

    def latest(self) -> ReconcilerError | None:
        """Return what was said since this was asked last."""
        new, self.seen = self.said[self.seen :], len(self.said)
        return new[0] if new else None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ready:
    """A report that is ready to go: what has to be claimed for it, and what sends it."""

    claim: Claim
    send: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class _Turn:
    """One channel's turn."""

    sending: Sending
    order: Order
    channel: Channel

    def taken(self) -> Delivered:
        """Tell this channel what is due to it."""
        for _ in range(TRIES):
            known = self._known()
            if any(one.status == deliveries.CLAIMED for one in known):
                return self._came(Step.BUSY, Denied.BUSY)
            done = self._again(known) if self.order.again else self._next(known)
            if done is not None:
                return done
        return self._came(Step.BUSY, Denied.MOVED)

    def _known(self) -> list[Delivery]:
        desk = self.sending.desk
        with desk.state.engine.connect() as connection:
            return deliveries.of(connection, desk.state, self.channel.key, desk.clock())

    def _came(self, step: Step, why: str = "") -> Delivered:
        return Delivered(self.channel.name, step, why)

    # ---- the next one

    def _next(self, known: list[Delivery]) -> Delivered | None:
        """Send the next report; None if another one was sent meanwhile."""
        owes = [one for one in deliveries.owed(known) if one.kind is Kind.REPORT]
        kind = Kind.URGENT if self.order.urgent and not owes else Kind.REPORT  # what is owed holds what is urgent
        after = deliveries.latest(known, urgent=kind is Kind.URGENT)
        since = (
            None if after else min((one.since for one in owes), default=None)
        )  # the store knows where the last ended
        ready = self._made(kind, since, after)
        if isinstance(ready, str):
            return self._idle(known, ready)
        taken = deliveries.claim(self.sending.desk.state, ready.claim, self.sending.desk.clock())
        match taken:
            case Denied.MOVED:
                return None
            case Denied.BUSY:
                return self._came(Step.BUSY, taken)
            case Denied.TOLD:
                return self._idle(known, taken)
            case Delivery():
                return self._sent(ready, taken)

    def _idle(self, known: list[Delivery], why: str) -> Delivered:
        """Say that nothing is due, and that the last one may not have arrived, where nobody knows."""
        last = deliveries.latest(known, urgent=True)
        if last is not None and last.status == Fate.UNCONFIRMED:
            return self._came(Step.UNCONFIRMED, f"{last.why or 'the last report may not have arrived'}; {AGAIN}")
        return self._came(Step.NOTHING, why)

    def _made(self, kind: Kind, since: datetime | None, after: Delivery | None) -> _Ready | str:
        """Make the report of what came after the last one, or say why there is none."""
        asked = self._asked(kind, since)
        with reporting.report_of(self.sending.desk, asked) as made:
            if why := self._not_due(made.report, kind, after):
                return why
            return self._ready(made, kind, after)

    def _asked(self, kind: Kind, since: datetime | None, until: datetime | None = None) -> reporting.Asked:
        return reporting.Asked(
            word=self.order.word,
            since=since,
            until=until,
            channel=self.channel.key,
            urgent=kind is Kind.URGENT,
            route=self.channel.route,
            masked=self.order.masked,
        )

    def _not_due(self, report: Report, kind: Kind, after: Delivery | None) -> str:
        if after is not None and report.until == after.until and not self._tells_silence(report, kind):
            return "no run has ended since the last one"
        if kind is Kind.URGENT:
            return "nothing is newly refused, blind or critical" if report.is_quiet else ""
        quiet = report.is_quiet and self.sending.desk.job.report.when == "changes"
        return 'nothing has changed, and [report] when = "changes"' if quiet else ""

    def _tells_silence(self, report: Report, kind: Kind) -> bool:
        """Tell whether that no run ended for so long is what there is to tell: once, as each has one digest."""
        silent = report.made_at - report.until
        return kind is Kind.REPORT and silent > reporting.stale_after(self.sending.desk.job)

    # ---- the last one again

    def _again(self, known: list[Delivery]) -> Delivered | None:
        last = deliveries.latest(known, urgent=True)
        if last is None:
            return self._came(Step.NOTHING, "nothing was sent there yet")
        ready = self._remade(last, [one for one in known if one.id < last.id])
        taken = deliveries.reclaim(self.sending.desk.state, last, self.sending.desk.clock())
        if isinstance(taken, Delivery):
            return self._sent(ready, taken, last)
        return None if taken is Denied.MOVED else self._came(Step.BUSY, taken)

    def _remade(self, last: Delivery, before: list[Delivery]) -> _Ready:
        """Make a report anew, as of now where no run has ended since: that it is so is told, too."""
        after = deliveries.latest(before, urgent=True)
        with reporting.report_of(self.sending.desk, self._asked(last.kind, last.since)) as made:
            if made.report.until == last.until:
                return self._ready(made, last.kind, after, last)
        with reporting.report_of(self.sending.desk, self._asked(last.kind, last.since, last.until)) as made:
            return self._ready(made, last.kind, after, last)

    # ---- on its way

    def _sent(self, ready: _Ready, taken: Delivery, before: Delivery | None = None) -> Delivered:
        answer = ready.send()
        desk = self.sending.desk
        deliveries.settle(desk.state, taken, answer, desk.clock(), before=before)
        why = f"{answer.why}; {AGAIN}" if answer.fate is Fate.UNCONFIRMED else answer.why
        return self._came(Step(answer.fate.value), why)

    def _ready(self, made: Made, kind: Kind, after: Delivery | None, last: Delivery | None = None) -> _Ready:
        """Lay a report out for its channel; after that nothing of the state is read for it."""
        report = made.report
        number, digest = (last.message_id, last.digest) if last else (self._number(report), report.digest)
        send = self._letter(report, number, after) if self.channel.to else self._summary(report, digest)
        claim = Claim(
            channel=self.channel.key,
            name=self.channel.name,
            kind=kind,
            digest=digest,
            message_id=number,
            since=report.since,
            until=report.until,
            after=after,
        )
        return _Ready(claim=claim, send=send)

    def _number(self, report: Report) -> str:
        mail = self.sending.desk.job.report.mail
        about = f"{report.job}\n{self.channel.key}\n{report.digest}"
        return message_id(hashlib.sha256(about.encode()).hexdigest(), mail.sender if mail else "reconcile@localhost")

    def _letter(self, report: Report, number: str, after: Delivery | None) -> Callable[[], Answer]:
        from reconciler.report import render

        sending = self.sending
        mail = _mail_of(sending)
        server = Server.of(mail.smtp.reveal(sending.environ))
        attachments, note = attached(report, self.order.word)
        if note:
            report = replace(report, notes=(*report.notes, note))
        letter = Letter(
            sender=mail.sender,
            to=self.channel.to,
            subject=report.subject,
            text=render.text(report, sending.own),
            html=render.mail_page(report, sending.own, attached=bool(attachments)),
            made_at=report.made_at,
            message_id=number,
            list_name=report.job,
            title=report.brand.title,
            earlier=deliveries.thread(self._known(), after),
            attachments=attachments,
        )
        return lambda: sending.post.send(letter, server)

    def _summary(self, report: Report, digest: str) -> Callable[[], Answer]:
        from reconciler.quota import Quota, budget_for
        from reconciler.report.chat import plain, slack, teams

        sending, job = self.sending, self.sending.desk.job
        table, hook = _webhook_of(job), sending.hook(hook_of(job, sending.environ))
        project = f"webhook:{hashlib.sha256(hook.url.encode()).hexdigest()[:16]}"
        budget = budget_for("webhook", job.budget.get("webhook"))
        quota = (sending.quota or Quota)(project, budget, sending.desk.state.engine)
        body = orjson.dumps({"slack": slack, "teams": teams, "json": plain}[table.format](report))
        return lambda: hook.send(body, digest, report.made_at, quota)


AGAIN: Final = "`reconcile report --send --again` sends it once more"


def _mail_of(sending: Sending) -> Mail:
    mail = sending.desk.job.report.mail
    if mail is None:
        raise LookupError("mail")  # no channel has recipients without it: the job file is checked for that
    return mail


def _webhook_of(job: Job) -> Webhook:
    if job.report.webhook is None:
        raise LookupError("webhook")
    return job.report.webhook


def hook_of(job: Job, environ: Mapping[str, str]) -> Hook:
    """Return where the summary goes. Raises ConfigError where a secret can't be read."""
    from reconciler.report.webhook import Hook

    table = _webhook_of(job)
    secret = table.secret.reveal(environ) if table.secret else ""
    return Hook(url=table.url.reveal(environ), secret=secret, allow_private=table.allow_private)
