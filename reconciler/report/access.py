"""Calendars that can't be read, put together where one reason, one source and one time say that it is one thing.

Pure. However many spellings a reason has, there are few groups: what is left over of a source is one group.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from reconciler.findings import finding_key
from reconciler.model import Kind, Severity
from reconciler.report.look import Next
from reconciler.report.onset import LEAST
from reconciler.report.report import Cause
from reconciler.report.signs import reason
from reconciler.report.words import bounded, moment, plural, zone_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.report.look import Look
    from reconciler.report.recorded import Place, Recorded, Watched

TOGETHER: Final = timedelta(hours=26)
"""How far apart two calendars may have gone blind and still be one thing: each has a turn within a day."""


@dataclass(frozen=True, slots=True)
class Lost:
    """Calendars of one source that can't be read, since when, and how many calendars it has.

    `domain` is the domain of their agents, where all calendars of it are lost and others are not. `is_one_reason` says
    that one reason is given for all of them.
    """

    source: str
    reason: str
    calendars: tuple[Watched, ...]
    since: datetime
    of: int
    domain: str = ""
    is_one_reason: bool = True

    @property
    def is_whole(self) -> bool:
        """Tell whether nothing of the source is read any more."""
        return len(self.calendars) == self.of

    @property
    def gaps(self) -> tuple[str, ...]:
        """Return the keys of the findings that say of each of these calendars that it was not read."""
        places = (one.place for one in self.calendars)
        return tuple(finding_key(Kind.COVERAGE_GAP, f"{at.source}:{at.agent}:{at.name}") for at in places)

    @property
    def name(self) -> tuple[str, ...]:
        """Return what tells it from others."""
        return self.source, self.reason, self.domain


def lost(calendars: Sequence[Watched], until: datetime) -> Iterator[Lost]:
    """Yield which calendars were lost together, by the end of a period."""
    single = {source for source, many in Counter(one.place.source for one in calendars).items() if many == 1}
    placed = [(place_of(one.place, single), one) for one in calendars]
    domains: defaultdict[str, Counter[str]] = defaultdict(Counter)
    blind: defaultdict[str, list[Watched]] = defaultdict(list)
    for place, one in placed:
        domains[place][domain_of(one.place)] += 1
        if one.blind_since is not None and one.blind_since <= until:
            blind[place].append(one)
    for place, lost_there in sorted(blind.items()):
        whole = _Whole(place, domains[place].total(), domains[place])
        left: list[Watched] = []
        for why, alike in sorted(_by_reason(lost_there).items()):
            left += _few(alike, whole)
            yield from _groups(alike, why, whole)
        yield from _groups(left, "", whole)


def place_of(place: Place, single: Collection[str]) -> str:
    """Name what calendars have in common: their source; where each has one of its own, as feeds do, their kind."""
    return place.kind if place.source in single else place.source


@dataclass(frozen=True, slots=True)
class _Whole:
    """How many calendars there are in one place, and of which domains."""

    place: str
    total: int
    domains: Mapping[str, int]

    def is_many(self, together: Sequence[Watched]) -> bool:
        """Tell whether these are enough to speak of one thing: three, or two that are all there are."""
        all_there_are = {self.total, self.domains.get(_domain(together), 0)}
        return len(together) >= LEAST or (len(together) > 1 and len(together) in all_there_are)


def _groups(blind: Iterable[Watched], why: str, whole: _Whole) -> Iterator[Lost]:
    for together in _at_once(blind):
        if whole.is_many(together):
            yield _group(together, why, whole)


def _few(blind: Iterable[Watched], whole: _Whole) -> Iterator[Watched]:
    for together in _at_once(blind):
        if not whole.is_many(together):
            yield from together


def domain_of(place: Place) -> str:
    """Return the domain of a calendar's agent."""
    return place.agent.rpartition("@")[2]


def _by_reason(blind: Iterable[Watched]) -> dict[str, list[Watched]]:
    found: defaultdict[str, list[Watched]] = defaultdict(list)
    for one in blind:
        found[reason(one.why or "")].append(one)
    return found


def _at_once(blind: Iterable[Watched]) -> Iterator[list[Watched]]:
    """Part calendars where a time passed in which none of them was lost."""
    together: list[Watched] = []
    for one in sorted(blind, key=_order):
        if together and _since(one) - _since(together[-1]) > TOGETHER:
            yield together
            together = []
        together.append(one)
    if together:
        yield together


def _order(one: Watched) -> tuple[datetime, str, str]:
    return _since(one), one.place.agent, one.place.name


def _since(one: Watched) -> datetime:
    if one.blind_since is None:
        raise ValueError
    return one.blind_since


def _domain(together: Iterable[Watched]) -> str:
    found = {domain_of(one.place) for one in together}
    return found.pop() if len(found) == 1 else ""


def _group(together: list[Watched], why: str, whole: _Whole) -> Lost:
    domain = _domain(together)
    is_apart = bool(domain) and len(together) == whole.domains[domain] < whole.total
    return Lost(
        source=whole.place,
        reason=why,
        calendars=tuple(together),
        since=_since(together[0]),
        of=whole.total,
        domain=domain if is_apart else "",
        is_one_reason=bool(why) or len(_by_reason(together)) == 1,
    )


# ---- how it is told -------------------------------------------------------------------------------------------------

NAME: Final = 60


def access_causes(recorded: Recorded, look: Look) -> Iterator[Cause]:
    """Yield the causes that calendars which were lost together are told as."""
    for together in lost(recorded.calendars, recorded.until):
        yield _told(together, recorded, look)


def gaps_of(recorded: Recorded) -> Mapping[str, str]:
    """Return, by the key of the finding that says it of one calendar, the key of the cause that says it of all."""
    return {gap: _key(together) for together in lost(recorded.calendars, recorded.until) for gap in together.gaps}


def _told(lost: Lost, recorded: Recorded, look: Look) -> Cause:
    zone = zone_of(look.zone)
    known = [one for one in lost.calendars if _since(one) <= recorded.since]
    return Cause(
        key=_key(lost),
        title=_title(lost, is_part=bool(recorded.part)),
        evidence=tuple(bounded(said, 300) for said in _evidence(lost, look) if said),
        severity=Severity.CRITICAL,
        since=lost.since,
        since_said=f"since at least {moment(lost.since, zone)}",
        count=len(lost.calendars),
        agents=len({one.place.agent for one in lost.calendars}),
        is_new=len(known) < min(LEAST, len(lost.calendars)),
        following=Next("To see what is wrong", f"reconcile check {look.job}"),
    )


def _key(lost: Lost) -> str:
    name = "\n".join((*lost.name, lost.since.isoformat())).encode("utf-8", "surrogatepass")
    return f"access-{hashlib.sha256(name).hexdigest()[:8]}"


def _title(lost: Lost, *, is_part: bool) -> str:
    source = bounded(lost.source, NAME)
    if lost.is_whole and is_part:
        return f"No calendar of this part of the job can be read ({source})"
    if lost.is_whole:
        return f"No calendar of {source} can be read"
    if lost.domain:
        return f"No calendar of {bounded(lost.domain, NAME)} can be read ({source})"
    return f"{len(lost.calendars):,} of {plural(lost.of, 'calendar')} of {source} can't be read"


def _evidence(lost: Lost, look: Look) -> Iterator[str]:
    zone = zone_of(look.zone)
    why = lost.calendars[0].why
    if lost.is_one_reason and why:
        yield f"One reason is given for {_all(lost)}: {bounded(why, 200)}"
    elif why:
        yield f"Several reasons are given, as: {bounded(why, 200)}"
    last = _since(lost.calendars[-1])
    if last > lost.since:
        yield f"The latest of them failed first at {moment(last, zone)}."
    read = [one.seen_at for one in lost.calendars if one.seen_at is not None]
    if read:
        yield f"One of them was read whole for the last time at {moment(max(read), zone)}."
    if not lost.is_whole:
        yield f"{plural(lost.of - len(lost.calendars), 'other calendar')} of that source, so not all of it is lost."


def _all(lost: Lost) -> str:
    return f"all {len(lost.calendars):,}" if len(lost.calendars) >= LEAST else "both"
