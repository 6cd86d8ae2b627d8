"""Expand recurring events within bounds: which occurrences of a series exist, and which component describes each.

`dateutil` walks a rule, `recurring-ical-events` says which instant is excluded, overridden or under a later part of the
series; both are handed only what is bounded. Local times follow the clock on the wall: a weekly 10:00 stays at 10:00
across a change of daylight saving; a time that a change skips is read with the offset before it, one that strikes twice
is the first (RFC 5545, 3.3.5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from itertools import takewhile
from typing import Any, Literal, TypeAlias

from dateutil import rrule
from icalendar import vRecur
from recurring_ical_events import Series

Moment: TypeAlias = datetime | date
"""An aware instant in the zone its calendar gives it, or a date."""

LARGEST_INTERVAL = 10_000
WIDEST = timedelta(days=366 * 20)  # a duration or a shift beyond it is no appointment
RULES = 20  # of one series
DATES = 10_000  # RDATEs or EXDATEs of one series
ZONE_STEPS = 2_000  # onsets of one part of a VTIMEZONE; yearly from 1601 on are 500
YEARLY_WEIGHT = 12  # months of work in one turn of a yearly rule
MINUTELY_COST = 100  # steps: what a minutely rule with a filter may try before it finds the next instant

_FREQUENCIES: Mapping[str, Literal[0, 1, 2, 3, 4, 5]] = {
    "YEARLY": 0,
    "MONTHLY": 1,
    "WEEKLY": 2,
    "DAILY": 3,
    "HOURLY": 4,
    "MINUTELY": 5,
}
_UNITS = {
    "WEEKLY": timedelta(weeks=1),
    "DAILY": timedelta(days=1),
    "HOURLY": timedelta(hours=1),
    "MINUTELY": timedelta(minutes=1),
}
_WEEKDAYS = {
    "MO": rrule.MO,
    "TU": rrule.TU,
    "WE": rrule.WE,
    "TH": rrule.TH,
    "FR": rrule.FR,
    "SA": rrule.SA,
    "SU": rrule.SU,
}
_LISTS = ("BYSETPOS", "BYMONTH", "BYMONTHDAY", "BYYEARDAY", "BYWEEKNO", "BYHOUR", "BYMINUTE", "BYSECOND")
_PARTS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST", "BYDAY", *_LISTS}
_SAFE_DAY = 28  # every month has it


class TooMuchError(ValueError):
    """A rule or a list of dates that would cost more than an appointment is worth. Its message is a clause."""


class _PastHorizonError(Exception):
    """The walk is beyond what was asked for."""


@dataclass(slots=True)
class Budget:
    """Work that one calendar may cost: instants made by rules, and months of rules looked through."""

    steps: int
    months: int = 200_000

    def step(self, cost: int = 1) -> None:
        self.steps -= cost
        if self.steps < 0:
            raise TooMuchError("its rules make more occurrences than one calendar may have")

    def turn(self, weight: int) -> None:
        self.months -= weight
        if self.months < 0:
            raise TooMuchError("its rules take more work than one calendar may cost")


# ---- one rule -------------------------------------------------------------------------------------------------------


class _Walk(rrule.rrule):
    """A rule that ends at a horizon even if it never matches anything.

    `dateutil` looks at UNTIL only when a rule matches, so one that never does (30 February) is walked to the year 9999.
    It asks for `_byeaster` once a month, or once a turn of a monthly or yearly rule: there the walk is counted.
    """

    _easter: object = None
    _turns = 0
    _spend: Callable[[], None] | None = None

    @property
    def _byeaster(self) -> object:
        if self._spend:
            self._spend()
            self._turns -= 1
            if self._turns < 0:
                raise _PastHorizonError
        return self._easter

    @_byeaster.setter
    def _byeaster(self, value: object) -> None:
        self._easter = value

    def limit(self, turns: int, spend: Callable[[], None]) -> None:
        """Let this rule turn `turns` times, each of which is paid by `spend`."""
        self._turns, self._spend = turns, spend

    def __iter__(self) -> Iterator[datetime]:
        walking = super().__iter__()
        while True:
            try:
                yield next(walking)
            except (_PastHorizonError, StopIteration):
                return


def parse_rule(text: str) -> vRecur:
    """Read an RRULE; raise `ValueError` for one that is wrong, unknown or not worth walking."""
    try:
        rule: vRecur = vRecur.from_ical(text.strip().strip(";"))
    except ValueError as error:
        raise ValueError("its rule can't be read") from error
    unknown = {str(key).upper() for key in rule} - _PARTS
    if unknown:
        raise ValueError(f"its rule has a part that is not understood: {', '.join(sorted(unknown))[:80]}")
    if not rule.get("FREQ"):
        raise ValueError("its rule has no FREQ")
    if str(rule["FREQ"][0]).upper() == "SECONDLY":
        raise TooMuchError("its rule repeats by the second")
    if not 1 <= _number(rule, "INTERVAL", 1) <= LARGEST_INTERVAL:
        raise ValueError("its rule has an INTERVAL that makes no sense")
    return rule


def _number(rule: vRecur, name: str, default: int) -> int:
    return int(rule[name][0]) if rule.get(name) else default


def walk(rule: vRecur, start: datetime, floor: datetime, ceiling: datetime, budget: Budget) -> Iterator[datetime]:
    """Yield the instants of `rule` from about `floor` to `ceiling`, in order; `start` and UNTIL are both aware.

    Without COUNT the walk begins shortly before `floor`, whatever the age of the series. A negative COUNT (Outlook
    wrote -1 for "no end") is none.
    """
    frequency = str(rule["FREQ"][0]).upper()
    count = _number(rule, "COUNT", -1)
    begin = start if count >= 0 else _advance(start, floor, frequency, _number(rule, "INTERVAL", 1))
    lists: dict[str, Any] = {name.lower(): [int(number) for number in rule[name]] for name in _LISTS if rule.get(name)}
    built = _Walk(
        _FREQUENCIES[frequency],
        dtstart=begin,
        interval=_number(rule, "INTERVAL", 1),
        count=count if count >= 0 else None,
        until=rule["UNTIL"][0] if rule.get("UNTIL") else None,
        wkst=_weekday(rule["WKST"][0]) if rule.get("WKST") else None,
        byweekday=[_weekday(day) for day in rule["BYDAY"]] if rule.get("BYDAY") else None,
        **lists,
    )
    weight = YEARLY_WEIGHT if frequency == "YEARLY" else 1
    months = (ceiling.year - begin.year + 1) * 12 + 2
    built.limit(max(months, 2), lambda: budget.turn(weight))
    cost = MINUTELY_COST if frequency == "MINUTELY" and (rule.get("BYHOUR") or rule.get("BYMINUTE")) else 1
    for moment in takewhile(lambda moment: moment <= ceiling, built):
        budget.step(cost)
        yield moment


def _weekday(name: str) -> rrule.weekday:
    day = _WEEKDAYS[name[-2:].upper()]
    return day(int(name[:-2])) if name[:-2] else day


def _advance(start: datetime, floor: datetime, frequency: str, interval: int) -> datetime:
    """Move `start` by whole intervals to shortly before `floor`: the same instants follow from there."""
    if start >= floor:
        return start
    if frequency in _UNITS:
        unit = _UNITS[frequency] * interval
        return start + unit * max(0, (floor.replace(tzinfo=None) - start.replace(tzinfo=None)) // unit - 1)
    if start.day > _SAFE_DAY:
        return start
    step = interval * (12 if frequency == "YEARLY" else 1)
    months = (floor.year - start.year) * 12 + floor.month - start.month
    years, month = divmod(start.month - 1 + max(0, months // step - 1) * step, 12)
    return start.replace(year=start.year + years, month=month + 1)


def onsets(text: str, start: datetime, offset: timedelta, horizon: datetime) -> list[datetime]:
    """Expand the rule of a VTIMEZONE: local times as if they were UTC, like `start`; UNTIL is UTC, `offset` behind."""
    rule = parse_rule(text)
    if rule.get("UNTIL"):
        until = rule["UNTIL"][0]
        rule["UNTIL"] = [
            until + offset if isinstance(until, datetime) and until.tzinfo else _midnight(until, last=True)
        ]
    return list(walk(rule, start, start, horizon, Budget(steps=ZONE_STEPS)))


def _midnight(day: Moment, *, last: bool = False) -> datetime:
    if isinstance(day, datetime):
        return day.replace(tzinfo=UTC)
    return datetime(day.year, day.month, day.day, *((23, 59, 59) if last else (0, 0, 0)), tzinfo=UTC)


# ---- one series -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Part:
    """The times of one VEVENT. `exact` is set where DURATION was given: then hours count as hours, not by the clock.

    `recurrence_id` names the occurrence this part describes, `onwards` says that it also describes all later ones. All
    values of one series are of one kind: dates, or aware datetimes.
    """

    start: Moment
    end: Moment
    exact: timedelta | None = None
    rules: tuple[vRecur, ...] = ()
    rdates: tuple[tuple[Moment, Moment | None], ...] = ()  # with the end of a PERIOD
    exdates: tuple[Moment, ...] = ()
    recurrence_id: Moment | None = None
    onwards: bool = False
    sequence: int = 0
    uid: str = ""

    @property
    def all_day(self) -> bool:
        return not isinstance(self.start, datetime)

    @property
    def recurs(self) -> bool:
        return bool(self.rules or self.rdates)

    @cached_property
    def shift(self) -> timedelta:
        """How far, by the clock on the wall, this part moves the occurrences it describes."""
        return wall(self.start) - wall(self.recurrence_id, like=self.start) if self.recurrence_id else timedelta()

    @cached_property
    def length(self) -> timedelta:
        """How long an occurrence lasts by the clock on the wall."""
        return wall(self.end, like=self.start) - wall(self.start)

    def span_from(self, original: Moment, end: Moment | None = None) -> tuple[Moment, Moment]:
        """Return start and end of the occurrence that the series put at `original`; `end` is that of a PERIOD."""
        begin = in_zone(original, self.start)
        if self.onwards and self.shift:
            begin += self.shift
        if end is not None:
            return begin, end
        if isinstance(begin, datetime):
            exact = begin.astimezone(UTC) + (self.length if self.exact is None else self.exact)
            by_clock = begin + self.length
            return begin, exact if self.exact is not None or by_clock < begin else by_clock
        return begin, begin + self.length


def wall(moment: Moment, like: Moment | None = None) -> datetime:
    """Return what the clock on the wall shows at `moment` (in the zone of `like`), as if it were UTC."""
    local = moment if like is None else in_zone(moment, like)
    return local.replace(tzinfo=UTC, fold=0) if isinstance(local, datetime) else _midnight(local)


def in_zone(moment: Moment, like: Moment) -> Moment:
    """Return `moment` in the time zone of `like`."""
    if isinstance(moment, datetime) and isinstance(like, datetime):
        return moment if moment.tzinfo is like.tzinfo else moment.astimezone(like.tzinfo)
    return moment


def settled(moment: Moment) -> Moment:
    """Return `moment` as it names an occurrence: an instant in UTC, or the date."""
    return moment.astimezone(UTC) if isinstance(moment, datetime) else moment


@dataclass(frozen=True, slots=True)
class Occurrence:
    """One occurrence: where its series put it (UTC or a date), the part that describes it, and when it is."""

    original: Moment
    part: Part
    start: Moment
    end: Moment
    excluded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What is asked of a series: the occurrences from `start` to `end` (aware UTC), and those that `wanted` names."""

    start: datetime
    end: datetime
    wanted: frozenset[Moment] = frozenset()
    most: int = 2_000


def expand(parts: Iterable[Part], reach: Reach, budget: Budget) -> list[Occurrence]:
    """Return the occurrences of one series in reach, overrides wherever they are, excluded ones marked.

    `parts` are the master, if it is there, and its overrides, one each. Raises `ValueError` (`TooMuchError`) for a
    series that makes no sense or is too large.
    """
    known = list(parts)
    masters = [part for part in known if part.recurrence_id is None]
    if not masters:
        return [_described(part) for part in known]
    master = masters[0]
    starts = _starts(master, _widened(reach, known), budget)
    gone = _excluded(master, starts, reach.wanted)
    series = Series([_Adapter(part, gone if part is master else ()) for part in known])
    series.occurrence = _Slot
    series.recurrence.rrules = [_Starts([_comparable(start) for start in starts])]
    slots: list[_Slot] = list(series.between(reach.start, reach.end))
    live = [slot.occurrence(starts) for slot in slots]
    return live + [Occurrence(original, master, *master.span_from(original), excluded=True) for original in gone]


def _described(part: Part) -> Occurrence:
    original = part.start if part.recurrence_id is None else part.recurrence_id
    return Occurrence(settled(original), part, part.start, part.end)


def _widened(reach: Reach, parts: Iterable[Part]) -> Reach:
    """Reach as far beyond the window as an occurrence is long or moved, and a day for the zones."""
    slack = max(abs(part.length) + abs(part.shift) for part in parts)
    if slack > WIDEST:
        raise TooMuchError("it lasts, or moves its occurrences, by decades")
    slack += timedelta(days=2)
    return Reach(start=reach.start - slack, end=reach.end + slack, wanted=reach.wanted, most=reach.most)


def _starts(master: Part, reach: Reach, budget: Budget) -> dict[Moment, Moment | None]:
    """Return where the series puts its occurrences, by name, with the end of a PERIOD."""
    first = (
        _comparable(reach_start) if (reach_start := min(reach.wanted, key=_comparable, default=None)) else reach.start
    )
    last = _comparable(reach_end) if (reach_end := max(reach.wanted, key=_comparable, default=None)) else reach.end
    floor, ceiling = min(first, reach.start), max(last, reach.end)
    found: dict[Moment, Moment | None] = {}
    inside = 0
    for moment, end in _made(master, floor, ceiling, budget):
        at = _comparable(moment)
        within = reach.start <= at <= reach.end
        if not within and moment not in reach.wanted:
            continue
        inside += within and moment not in found
        if inside > reach.most:
            raise TooMuchError(f"it has more than {reach.most} occurrences in the window")
        found[moment] = end or found.get(moment)
    return found


def _made(master: Part, floor: datetime, ceiling: datetime, budget: Budget) -> Iterator[tuple[Moment, Moment | None]]:
    start = master.start if isinstance(master.start, datetime) else _midnight(master.start)
    if not all(rule.get("UNTIL") and rule["UNTIL"][0] < start for rule in master.rules) or not master.rules:
        yield settled(master.start), None
    for rule in master.rules:
        for moment in walk(rule, start, floor.astimezone(start.tzinfo), ceiling, budget):
            yield (moment.date() if master.all_day else moment.astimezone(UTC)), None
    for rdate, end in master.rdates:
        yield settled(rdate), end


def _excluded(master: Part, starts: Iterable[Moment], wanted: frozenset[Moment]) -> list[Moment]:
    """Return which of `starts` the master's EXDATEs take out; a date takes out all that starts on it, by its clock."""
    exact = {settled(moment) for moment in master.exdates}
    days = {moment for moment in exact if not isinstance(moment, datetime)}
    return [
        moment
        for moment in {**dict.fromkeys(starts), **dict.fromkeys(sorted(exact & wanted, key=_comparable))}
        if moment in exact or (days and wall(moment, like=master.start).date() in days)
    ]


def _comparable(moment: Moment) -> datetime:
    return moment if isinstance(moment, datetime) else _midnight(moment)


class _Starts:
    """Instants that stand in for a rule: `recurring-ical-events` asks a rule for nothing else."""

    until = None

    def __init__(self, starts: list[datetime]) -> None:
        self.starts = sorted(starts)

    def between(self, *_: object, **__: object) -> list[datetime]:
        """Return all of them: they were chosen by the one who asks."""
        return self.starts


class _Adapter:
    """A part as `recurring-ical-events` looks at it. All instants are in UTC, so that each has one name only."""

    move_recurrences_by = duration = timedelta()
    extend_query_span_by = (timedelta(), timedelta())

    def __init__(self, part: Part, excluded: Iterable[Moment]) -> None:
        self.part = part
        self.uid, self.sequence, self.this_and_future = part.uid, part.sequence, part.onwards
        self.start = self.end = settled(part.start)
        self.exdates = [_comparable(moment) for moment in excluded]
        self.rdates: list[Moment] = []
        self.rrules: set[str] = set()
        self.recurrence_ids = (
            () if part.recurrence_id is None else (_comparable(settled(part.recurrence_id)).replace(tzinfo=None),)
        )

    def is_modification(self) -> bool:
        return self.part.recurrence_id is not None

    def is_in_span(self, *_: object) -> bool:
        return True

    def has_recurrence_rules(self) -> bool:
        return False


def _named(start: Moment, part: Part) -> Moment:
    """Return the name of an occurrence of a rule, whose dates went through it as midnights."""
    return start.date() if isinstance(start, datetime) and part.all_day else settled(start)


class _Slot:
    """An occurrence as `recurring-ical-events` hands it out: which part, and for those of a rule, where."""

    def __init__(self, adapter: _Adapter, start: Moment | None = None, *_: object, **__: object) -> None:
        self.part, self.start = adapter.part, start

    def is_in_span(self, *_: object) -> bool:
        return True

    def occurrence(self, ends: Mapping[Moment, Moment | None]) -> Occurrence:
        if self.start is None:
            return _described(self.part)
        original = _named(self.start, self.part)
        return Occurrence(original, self.part, *self.part.span_from(original, ends.get(original)))
