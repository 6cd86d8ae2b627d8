"""How one cause is told: what is the case, what speaks for it, since when, what would disprove it, what to type.

Pure. Every word is inert and bounded. What is not known is not said: an onset reads "since at least" where the
evidence has a first instant, and "known since" where it has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from reconciler.model import Kind, Severity
from reconciler.report.cases import ENOUGH, MOSTLY, Terms
from reconciler.report.finding import KINDS
from reconciler.report.look import Look, Next
from reconciler.report.refusal import PREFIX
from reconciler.report.report import Cause
from reconciler.report.share import Share
from reconciler.report.signs import EMPTY, Family, Sign
from reconciler.report.standing import instant
from reconciler.report.words import bounded, day, lasting, moment, plural, zone_of

if TYPE_CHECKING:
    from datetime import datetime

NAME: Final = 60
SENTENCE: Final = 300
LISTED: Final = 3
"""Kinds that are named of what a cause explains, and agents."""


@dataclass(frozen=True, slots=True)
class Words:
    """What is said of a cause of one family: its title, what speaks for it, and the command that helps."""

    title: str
    evidence: tuple[str, ...] = ()
    following: Next | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """All that a cause is told from."""

    share: Share
    terms: Terms
    look: Look

    @property
    def name(self) -> tuple[str, ...]:
        """Return what tells this cause from others of its family; empty where several are told as one."""
        return self.share.case.sign.name

    @property
    def whose(self) -> str:
        """Name the agent, or say how many there are."""
        agents = [agent for agent in self.share.agents if agent]
        return bounded(agents[0], NAME) if len(agents) == 1 else plural(len(agents), "agent")

    def at(self, instant_: datetime) -> str:
        """Say an instant as the whole job tells time."""
        return moment(instant_, zone_of(self.look.zone))

    @property
    def example(self) -> Next | None:
        """Say what to type to see one of them closely."""
        key = self.share.example.finding.key if self.share.example else ""
        plain = key.isascii() and key.isalnum()
        return Next("To see one of them closely", f"reconcile explain {key} --job {self.look.job}") if plain else None

    def taking(self, kind: Kind) -> Next:
        """Say what to type to see what taking the calendar's word would write."""
        agents = [agent for agent in self.share.agents if agent]
        only = f" --agent {agents[0]}" if len(agents) == 1 and _is_plain(agents[0]) else ""
        command = f"reconcile resolve --kind {kind}{only} --take calendar --dry-run --job {self.look.job}"
        return Next("To see what taking the calendar's word would write", command)


def cause_of(share: Share, terms: Terms, look: Look) -> Cause:
    """Return a cause as it is read."""
    one = Told(share, terms, look)
    sign = share.case.sign
    words = _SAYS[sign.family](one)
    since = _since(one)
    return Cause(
        key=key_of(sign),
        title=words.title,
        evidence=tuple(bounded(said, SENTENCE) for said in (_extent(one), *words.evidence, *_ours(one)) if said),
        severity=_severity(share),
        since=since,
        since_said=_since_said(one, since),
        count=share.count,
        agents=len([agent for agent in share.agents if agent]),
        is_new=_is_new(share, terms),
        following=words.following,
    )


def _since(one: Told) -> datetime | None:
    """Return since when it is the case, or at least known."""
    share, span, refused = one.share, one.share.case.told, one.terms.refused
    if share.case.sign.family is Family.REFUSED and refused:
        return refused.since
    if span and span.is_clear:
        return span.start
    if share.case.sign.family is Family.SHIFT and share.first and share.sighted:
        return min(share.first, share.sighted)  # both sides say since when they differ, or it was seen before
    return share.sighted


def key_of(sign: Sign) -> str:
    """Return the key of a cause: the same cause has the same key in every report."""
    name = "\n".join(sign.name).encode("utf-8", "surrogatepass")
    return f"{sign.family}-{hashlib.sha256(name).hexdigest()[:8]}"


def _severity(share: Share) -> Severity:
    """Rate a cause by the most urgent finding that is open; one that was put right may still go on."""
    span, family = share.case.told, share.case.sign.family
    if span is not None and span.is_over:
        return share.severity if share.open else Severity.MEDIUM
    return min(share.severity, _LEAST.get(family, Severity.MEDIUM), key=lambda severity: severity.rank)


_LEAST: Final = dict.fromkeys((Family.SILENT, Family.REFUSED, Family.WRITES), Severity.HIGH)
"""How urgent a cause is at least while it goes on, however harmless each of its findings is; others are medium."""


def _is_new(share: Share, terms: Terms) -> bool:
    """Tell whether the last report could not have told it: too few were known by then, and no day had too many."""
    family = share.case.sign.family
    if family is Family.REFUSED and terms.refused:
        return terms.refused.is_new
    turned = terms.usual[family].turned if family in terms.usual else None
    return share.old < ENOUGH[family] and turned is None


def _since_said(one: Told, since: datetime | None) -> str:
    span = one.share.case.told
    if since is None:
        return ""
    if one.share.case.sign.family is Family.SHIFT and since != one.share.sighted:
        return f"since at least {one.at(since)}"
    if span is None or not span.is_clear:
        return f"known since {one.at(since)}"
    if span.is_over and span.end > span.start:
        return f"from {one.at(since)} to {one.at(span.end)}"
    return f"since at least {one.at(since)}"


def _extent(one: Told) -> str:
    """Say how many findings of which kinds it explains, and whose they are."""
    kinds = one.share.kinds
    if kinds.keys() == {Kind.COVERAGE_GAP}:
        return ""  # its title says all that there is
    named = [f"{'' if len(kinds) == 1 else f'{count:,} '}{_name(kind)}" for kind, count in kinds.most_common(LISTED)]
    more = f" and {len(kinds) - LISTED} kinds more" if len(kinds) > LISTED else ""
    of = f" of {one.whose}" if any(one.share.agents) else ""
    return f"{plural(one.share.count, 'finding')}{of}: {', '.join(named)}{more}."


def _name(kind: Kind) -> str:
    return KINDS[kind][0].lower() + KINDS[kind][1:]


def _ours(one: Told) -> Iterator[str]:
    """Say what is put right already: that the rows are gone does not end what made them."""
    ours, count = one.share.ours, one.share.count
    if ours:
        which = "All" if ours == count else f"{ours:,} of {count:,}"
        yield f"{which} were put right by this job, which is not what stops it."


# ---- families -------------------------------------------------------------------------------------------------------


def _silent(one: Told) -> Words:
    what, whose = one.name
    made = f"made with {bounded(whose, NAME).capitalize()}" if what == "scheduler" else f"in {bounded(whose, NAME)}"
    span, heard = one.share.case.span, one.terms.heard(one.share.agents)
    is_silent = span is not None and heard is not None and heard <= span.start
    evidence = [f"The first was made {one.at(span.start)}, the last {one.at(span.end)}." if span else ""]
    if heard is None:
        evidence.append("No booking of these agents is known to have reached the CRM without a write of this job.")
    else:
        evidence.append(f"{_LATEST}: {one.at(heard)}.")
    evidence += _unusual(one)
    if is_silent:
        evidence.append("A younger one that reached the CRM without a write of this job would disprove it.")
    title = f"Bookings {made} did not reach the CRM"
    dry = Next("To see what a run would enter", f"reconcile --dry-run {one.look.job}")
    return Words(title, tuple(evidence), dry if one.share.open else one.example)


_LATEST: Final = "The latest booking of these agents that reached the CRM without a write of this job"


def _unusual(one: Told) -> Iterator[str]:
    """Say what was usual before, and since which day it is not: days tell of all writers together."""
    span, family = one.share.case.span, one.share.case.sign.family
    daily = one.terms.daily(family, span.start) if span and span.is_clear else None
    if daily is None:
        return
    turned = one.terms.usual[family].turned
    since = f"; since {day(turned)} there are more" if turned else ""
    usual = f"{daily:.1f} findings of this kind a day were" if daily >= _FEWEST else "none of this kind was"
    yield f"Before that, {usual} usual{since}."


_FEWEST: Final = 0.05
"""Findings a day; fewer would read as 0.0."""


def _shift(one: Told) -> Words:
    seconds = int(one.name[0]) if one.name[0].lstrip("-").isdecimal() else 0
    off = timedelta(seconds=seconds)
    late = f"{_hours(off)} {'late' if seconds > 0 else 'early'}"
    records = f"{plural(one.share.records, 'record')} stand behind it." if one.share.records else ""
    kind = Kind.TZ_SHIFT if one.share.kinds[Kind.TZ_SHIFT] else Kind.RESCHEDULE_NOT_PROPAGATED
    wrong = "A record that the same integration wrote at the right hour since then would disprove it."
    [(writers, many)] = one.share.writers.most_common(1)
    by = _by(writers) if many >= one.share.count * MOSTLY else ""
    title = f"Records of {one.whose} are {late} in the CRM{by}"
    return Words(title, (records, _zone(one, off), wrong), one.taking(kind))


def _hours(off: timedelta) -> str:
    minutes = abs(int(off.total_seconds())) // 60
    return f"{minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


def _zone(one: Told, off: timedelta) -> str:
    """Say what makes such a shift, where the zone of an agent explains it."""
    example = one.share.example
    begins = instant(example.finding.start) if example else None
    if example is None or begins is None:
        return ""
    zone = one.look.zone_for(example.finding.agent)
    apart = begins.astimezone(zone).utcoffset() or timedelta()
    name = bounded(zone.key, NAME)
    if off == apart:
        return f"That is what {name} is apart from UTC: local times look as if they were taken for UTC."
    if off == -apart:
        return f"That is what {name} is apart from UTC: UTC looks as if it was taken for local time."
    return "That is the hour of daylight saving time." if abs(off) == timedelta(hours=1) else ""


def _doubled(one: Told) -> Words:
    title = f"Bookings are in the CRM twice{_by(one.name)}"
    span = one.share.case.span
    short = span is not None and span.is_clear and span.end - span.start <= timedelta(days=1)
    within = lasting(span.end - span.start).removeprefix("under ") if span else ""
    burst = f"Written within {within}: that is what a replay looks like."
    return Words(title, (burst if short else "", *_unusual(one)), one.example)


def _by(origins: tuple[str, ...]) -> str:
    """Say who wrote the records, as far as the CRM tells."""
    named = [bounded(origin, NAME) for origin in origins]
    return f", written by {_and(named)}" if named else ""


def _and(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)


def _field(one: Told) -> Words:
    field, writers = one.name[0], _by(one.name[2:])
    what = _FIELDS.get(field, bounded(field, NAME))
    kind = one.share.kinds.most_common(1)[0][0]
    if kind is Kind.FALSE_CANCEL:
        title = f"Records are cancelled whose events stand{writers}"
    elif one.name[1] == EMPTY:
        title = f"The CRM has no {what} in records{writers}"
    else:
        title = f"The {what} of records differs{writers}"
    return Words(title, tuple(_unusual(one)), one.taking(kind))


_FIELDS: Final = {"contact": "client", "agent": "owner", "all_day": "all-day mark", "participants": "list of agents"}


def _flapping(one: Told) -> Words:
    by = _and([bounded(origin, NAME) for origin in one.name])
    wrote = f"The records were written by {by}, as the CRM says; who undoes it is not known." if by else ""
    example = one.share.example
    key = example.finding.key if example else ""
    settle = f"reconcile resolve {key} --take calendar --dry-run --job {one.look.job}"
    said = "Each was written three times in seven days, and undone: it is left alone until that ends."
    title = "Something undoes what this job writes"
    return Words(title, (said, wrote), Next("To see what settling one of them would write", settle))


def _removed(one: Told) -> Words:
    span = one.share.case.told
    apart = span.end - span.start if span else timedelta()
    within = f" within {lasting(apart)}" if apart >= timedelta(minutes=1) else " at once"
    title = f"{plural(one.share.count, 'appointment')} of {one.whose} left the calendar{within}"
    wrong = "Nothing is wrong if the agent meant it: ask before the records are cancelled."
    return Words(title, (wrong,), Next("To see what a run would cancel", f"reconcile --dry-run {one.look.job}"))


def _vanished(one: Told) -> Words:
    seen = f"One run missed all of them: {one.at(one.share.first)}." if one.share.first and one.name else ""
    return Words(
        f"{plural(one.share.count, 'record')} {'is' if one.share.count == 1 else 'are'} gone from the CRM",
        (seen, "Their events stand: a filter, a permission or a clean-up in the CRM may have taken them."),
        one.taking(Kind.REMOVED_BY_HAND),
    )


def _churn(one: Told) -> Words:
    new_ids = one.share.unseen >= ENOUGH[Family.FLAPPING]
    title = f"Events of {one.whose} look like records that nothing links to them"
    if new_ids:
        title = f"Events of {one.whose} come with new ids"
    said = f"{plural(one.share.unseen, 'record')} lost the event meanwhile." if new_ids else ""
    command = f"reconcile link --suggested --dry-run --job {one.look.job}"
    return Words(title, (said, "Agent, client and time agree."), Next("To see what can be linked", command))


def _unreadable(one: Told) -> Words:
    title = f"{'An entry' if one.share.count == 1 else f'{one.share.count:,} entries'} of {one.whose} can't be read"
    return Words(title, (_for_example(one),), one.example)


def _writes(one: Told) -> Words:
    side = "calendars" if one.name[:1] == ("calendar",) else "the CRM"
    where = f"Writes to {side} fail for one reason" if one.name else "Writes fail"
    check = Next("To see what is wrong", f"reconcile check {one.look.job}")
    return Words(where, (_for_example(one),), check)


def _for_example(one: Told) -> str:
    said = bounded(one.share.said, SENTENCE - NAME)
    return f"For example: {said}" if said else ""


def _refused(one: Told) -> Words:
    result = one.terms.refused.run.result if one.terms.refused else {}
    consent = result.get("consent")
    digest = str(consent.get("digest") or "")[:PREFIX] if isinstance(consent, Mapping) else ""
    look = Next("To look at all of it", f"reconcile --dry-run {one.look.job} --format json")
    approve = f"reconcile approve {digest} --by YOU --why TEXT --job {one.look.job}"
    asks = digest.isascii() and digest.isalnum()
    return Words(
        f"The plan was refused: {plural(one.share.count, 'finding')} wait for a person's consent",
        ("More would be written than the limits allow.",),
        Next("To consent to the plan (what moves meanwhile drops out)", approve) if asks else look,
    )


def _left(one: Told) -> Words:
    title = f"{one.whose[0].upper()}{one.whose[1:]} left, and records of appointments with them stand"
    return Words(title, ("They are left alone until they are past, or a person moves them.",), one.example)


def _crm(one: Told) -> Words:
    check = Next("To see what is wrong", f"reconcile check {one.look.job}")
    return Words("The CRM was not read, or can't be believed", (bounded(one.share.said, SENTENCE),), check)


_SAYS: Final[Mapping[Family, Callable[[Told], Words]]] = {
    Family.CRM: _crm,
    Family.LEFT: _left,
    Family.FLAPPING: _flapping,
    Family.SHIFT: _shift,
    Family.DOUBLED: _doubled,
    Family.REMOVED: _removed,
    Family.VANISHED: _vanished,
    Family.CHURN: _churn,
    Family.SILENT: _silent,
    Family.FIELD: _field,
    Family.UNREADABLE: _unreadable,
    Family.WRITES: _writes,
    Family.REFUSED: _refused,
}


def _is_plain(word: str) -> bool:
    """Tell whether a word can be typed as it is, in any shell."""
    return word.isascii() and bool(word) and all(mark.isalnum() or mark in "@._+-" for mark in word) and word[0] != "-"
