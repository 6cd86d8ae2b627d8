"""Which of all signs are causes: thresholds that are small and stated, and tests against what chance would make.

Pure. What many findings show is counted by sign, in bounded memory: where there are more names than that, those that
were met least often are dropped. One order of findings always leads to one answer.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Final

from reconciler.report.onset import LEAST, Span, Times, burst, rise, usual
from reconciler.report.signs import EMPTY, KINDS, Family, Sign, at_of, name, signs
from reconciler.report.words import zone_of
from reconciler.report.writes import refused

if TYPE_CHECKING:
    from reconciler.report.look import Look
    from reconciler.report.onset import Usual
    from reconciler.report.recorded import Recorded, Tracked
    from reconciler.report.writes import Refused

NAMES: Final = 2_000
"""Names of one family that are counted at once. Agents are met in order: one with many is never dropped."""

FEW: Final = 5
"""What it takes where each one alone is an everyday thing: a reschedule, an event that was deleted."""

MASS: Final = 20
"""So many of one writer are a cause without an onset: nobody knows since when."""

MOSTLY: Final = 0.8
"""The share that counts as nearly all."""

APART: Final = 3
"""Causes of one family that are told one by one; more of them are told as one."""

_MERGED: Final = frozenset({Family.REMOVED, Family.VANISHED, Family.CHURN, Family.UNREADABLE, Family.WRITES})

ENOUGH: Final = {
    **dict.fromkeys(Family, LEAST),
    **dict.fromkeys((Family.CRM, Family.SHIFT, Family.REFUSED), 1),
    **dict.fromkeys((Family.LEFT, Family.FLAPPING), 2),
    **dict.fromkeys((Family.REMOVED, Family.VANISHED, Family.CHURN), FEW),
}
"""How many findings a cause of each family takes. A refusal, a CRM that was not read, and what is a group already
are one; what took three writes in a week to be found is no coincidence if it is found twice."""


@dataclass(slots=True)
class Group:
    """What the findings that show one sign come to."""

    times: Times
    agents: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """Return how many there are."""
        return self.times.count


@dataclass(frozen=True, slots=True)
class Case:
    """A sign that is a cause: findings that show it belong to it, between start and end of `span` if there is one.

    `whole` is the span of all that are told as one with it, where these are several.
    """

    sign: Sign
    span: Span | None = None
    whole: Span | None = None

    @property
    def told(self) -> Span | None:
        """Return the span that may be said of all of it."""
        return self.whole or self.span


Groups = Mapping[Sign, Group]


@dataclass(frozen=True, slots=True)
class Survey:
    """All signs that were met, by family."""

    until: datetime
    groups: defaultdict[Family, dict[Sign, Group]] = field(default_factory=lambda: defaultdict(dict))

    def meet(self, tracked: Tracked) -> None:
        """Count what a finding is a sign of."""
        for sign in dict.fromkeys(signs(tracked)):
            groups = self.groups[sign.family]
            group = groups.get(sign)
            if group is None:
                if len(groups) >= NAMES:
                    _thin(groups)
                group = groups[sign] = Group(Times(self.until))
            group.times.add(at_of(tracked, sign.family))
            group.agents[tracked.finding.agent or ""] += 1


def _thin(groups: dict[Sign, Group]) -> None:
    """Drop the names that were met least often."""
    least = min(group.count for group in groups.values())
    for sign in [sign for sign, group in groups.items() if group.count == least]:
        del groups[sign]


# ---- deciding -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Terms:
    """What signs are held against: what is usual, when calendars were heard of last, whether the plan was refused."""

    usual: Mapping[Family, Usual]
    heard_of: Mapping[tuple[str, str], datetime]
    refused: Refused | None = None

    def heard(self, agents: Iterable[str]) -> datetime | None:
        """Return when the latest booking of these agents was made that reached the CRM by itself."""
        return max((self.heard_of[AGENT, agent] for agent in agents if (AGENT, agent) in self.heard_of), default=None)

    def daily(self, family: Family, at: datetime) -> float | None:
        """Return how many findings of a family an ordinary day brought before an instant, where that is known."""
        return self.usual[family].daily(at) if family in self.usual else None


AGENT: Final = "agent"
SOURCE: Final = "source"


def terms_of(recorded: Recorded, look: Look) -> Terms:
    """Return what the signs of a period are held against."""
    zone, now = zone_of(look.zone), refused(recorded)
    days = recorded.days if recorded.has_days else ()
    heard: dict[tuple[str, str], datetime] = {}
    for one in recorded.calendars:
        for whose in ((AGENT, one.place.agent), (SOURCE, name(one.place.source))):
            if one.heard_at is not None:
                heard[whose] = max(one.heard_at, heard.get(whose, one.heard_at))
    return Terms(
        usual={family: usual(days, kinds, zone, recorded.since) for family, kinds in KINDS.items()},
        heard_of=heard,
        refused=now if now is not None and now.run.why is None else None,
    )


def cases(survey: Survey, terms: Terms) -> dict[Sign, Case]:
    """Return which signs are causes."""
    found: dict[Sign, Case] = {}
    for family, groups in survey.groups.items():
        decided = dict(_DECIDES.get(family, _enough)(groups, terms))
        found |= _merged(family, decided) if family in _MERGED else decided
    return found


def _merged(family: Family, decided: dict[Sign, Case]) -> dict[Sign, Case]:
    """Tell many causes of one family as one: that it happens to so many at once is what they have in common."""
    if len({case.sign for case in decided.values()}) <= APART:
        return decided
    whole = _around([case.span for case in decided.values() if case.span])
    return {sign: Case(Sign(family), case.span, whole) for sign, case in decided.items()}


def _around(spans: list[Span]) -> Span | None:
    """Return what several spans come to; it is over where all of them are, and no clearer than any of them."""
    if not spans:
        return None
    return Span(
        min(span.start for span in spans),
        max(span.end for span in spans),
        sum(span.count for span in spans),
        is_clear=all(span.is_clear for span in spans),
        is_over=all(span.is_over for span in spans),
    )


Decided = Iterator[tuple[Sign, Case]]


def _enough(groups: Groups, _: Terms) -> Decided:
    for sign, group in groups.items():
        if group.count >= ENOUGH[sign.family]:
            yield sign, Case(sign)


def _refused(groups: Groups, terms: Terms) -> Decided:
    return _enough(groups, terms) if terms.refused else iter(())


def _shifts(groups: Groups, _: Terms) -> Decided:
    """One shift of a whole diary is a cause; single records join it where two agents have it, or most that moved."""
    moved = sum(group.count for sign, group in groups.items() if sign.faint)
    for sign, group in groups.items():
        whole = Sign(sign.family, sign.name)
        is_known = whole in groups and len(groups[whole].agents) > 1
        is_most = group.count >= FEW and len(group.agents) >= LEAST and group.count * 3 >= moved * 2
        if not sign.faint or is_known or is_most:
            yield sign, Case(whole)


def _doubled(groups: Groups, terms: Terms) -> Decided:
    """Only what is recorded twice tells of it; copies that are missing in the calendar are part of it."""
    plain = {sign: group for sign, group in groups.items() if not sign.faint}
    every = sum(group.count for group in plain.values())
    for sign, group in plain.items():
        span = rise(group.times, terms.usual[sign.family]) or _mass(group, every)
        if span is not None:
            yield sign, Case(sign, span)
            yield replace(sign, faint=True), Case(sign, span)


def _fields(groups: Groups, terms: Terms) -> Decided:
    """A field that is empty in some, or differs in more than a few, more often than it used to; or empty in many."""
    every: Counter[tuple[str, ...]] = Counter()
    for sign, group in groups.items():
        every[sign.name[:2]] += group.count
    for sign, group in groups.items():
        is_empty = sign.name[1] == EMPTY
        span = rise(group.times, terms.usual[sign.family])
        if span is None or span.count < (LEAST if is_empty else FEW):
            span = _mass(group, every[sign.name[:2]]) if is_empty else None
        if span is not None:
            yield sign, Case(sign, span)


def _mass(group: Group, every: int) -> Span | None:
    """Return all of it, where one writer makes so many that it needs no comparison with what is usual."""
    return group.times.whole if group.count >= MASS and group.count >= every * MOSTLY else None


def _silent(groups: Groups, terms: Terms) -> Decided:
    """Only bookings that are missing tell of a silence; what was cancelled or moved meanwhile is part of it."""
    for sign, group in groups.items():
        if sign.faint:
            continue
        span = rise(group.times, terms.usual[sign.family]) or _streak(group, terms)
        if span is not None and (sign.name[0] == "scheduler" or _is_whole_silence(sign, group, span, terms)):
            yield sign, Case(sign, span)
            yield replace(sign, faint=True), Case(sign, span)


def _streak(group: Group, terms: Terms) -> Span | None:
    """Where the days tell of nothing usual: some in a row of several agents, after all before came by themselves."""
    whole, heard = group.times.whole, terms.heard(group.agents)
    if whole is None or heard is None or group.count < FEW or len(group.agents) == 1:
        return None
    if heard >= whole.start or terms.daily(Family.SILENT, whole.start) is not None:
        return None
    return Span(whole.start, whole.end, whole.count)


def _is_whole_silence(sign: Sign, group: Group, span: Span, terms: Terms) -> bool:
    """Tell whether nothing of a source came through meanwhile, and not for one agent alone, who may type them in."""
    heard = terms.heard_of.get((SOURCE, sign.name[1]))
    if heard is None or max(group.agents.values()) > group.count * MOSTLY:
        return False
    return heard <= span.start or (span.is_over and heard > span.end)


def _removed(groups: Groups, _: Terms) -> Decided:
    for sign, group in groups.items():
        span = burst(group.times, FEW)
        if span is not None:
            yield sign, Case(sign, span)


def _vanished(groups: Groups, terms: Terms) -> Decided:
    for sign, group in groups.items():
        whole = group.times.whole
        daily = terms.daily(sign.family, whole.start) if whole else None
        if group.count >= max(FEW, LEAST * (daily or 0)):
            yield sign, Case(sign)


def _churn(groups: Groups, _: Terms) -> Decided:
    for sign in groups:
        whole = Sign(sign.family, sign.name)
        if whole in groups and groups[whole].count >= FEW:
            yield sign, Case(whole)


_DECIDES: Final[Mapping[Family, Callable[[Groups, Terms], Decided]]] = {
    Family.SHIFT: _shifts,
    Family.DOUBLED: _doubled,
    Family.REMOVED: _removed,
    Family.VANISHED: _vanished,
    Family.CHURN: _churn,
    Family.SILENT: _silent,
    Family.FIELD: _fields,
    Family.REFUSED: _refused,
}
"""What each family takes; the others take enough of them."""
