"""What a schedule promises, held against what the budgets permit: how often each calendar can be read, before any run.

A read of a calendar where nothing changed is one request. Once a week each calendar is read whole and compared with a
list made another way: two requests more, where each is one page. So N calendars, read S times a day, take
N * (S + 2/7) requests, and what the budget of a day lets through divided by N tells how often each can have its turn.

A day's budget is spent by nobody in advance: a tenth of it is there at once and the rest comes evenly. A run that finds
it empty does not wait, so a schedule is played through slot by slot, and a crowded morning counts as what it is. A
minute's budget is waited for, which makes a run last: not longer than to the next slot, nor beyond its deadline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from reconciler.report.words import plural
from reconciler.schedule import Rhythm, rhythm

if TYPE_CHECKING:
    from reconciler.quota.budget import Budget
    from reconciler.store.quota import Bucket

WEEKLY: Final = 2
"""Requests that a calendar takes each week beyond one a run. The list of changes that the comparison needs is the read
that was due anyhow."""

CALM: Final = {
    1: "* * * * *",
    **{minutes: f"*/{minutes} * * * *" for minutes in (2, 3, 4, 5, 6, 10, 12, 15, 20, 30)},
    60: "17 * * * *",
    **{60 * hours: f"17 */{hours} * * *" for hours in (2, 3, 4, 6, 8, 12)},
    1440: "17 3 * * *",
}
"""Even schedules by their minutes. The hourly ones keep off the full hour, when everybody's jobs begin."""

SHARES: Final = 20
_DAY: Final = timedelta(days=1)
_MINUTE: Final = timedelta(minutes=1)
_HOUR: Final = timedelta(hours=1)
_FEW: Final = {"minutes": 2 * _HOUR, "hours": 2 * _DAY}
_ANY_DAY: Final = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """What is to be read under one budget: all calendars, and those of the agent who has the most."""

    calendars: int
    busiest: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """What starts runs of a job: the slots found in a crontab, None without one, and what `[run]` says."""

    slots: Sequence[datetime] | None
    freshness: timedelta
    deadline: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Says:
    """One thing to be said of a budget, and whether it is as it should be."""

    about: str
    holds: bool
    says: str


def verdicts(table: str, demand: Demand, budget: Budget, schedule: Schedule) -> Iterator[Says]:
    """Say what `[budget.TABLE]` permits, and whether schedule or freshness promise more."""
    turn = every(budget, demand)
    yield Says("budget", turn is not None, _permitted(table, demand, budget, turn))
    if turn is not None:
        yield _promised(table, demand, budget, schedule, turn)
        if beat := rhythm(list(schedule.slots or ())):
            permitted = f"{int(budget.permits_per_day()):,}"
            says = f"the crontab asks for {costs(demand, beat):,} requests a day, and this share permits {permitted}"
            yield Says("cost", holds=True, says=says)
        if schedule.freshness < turn:
            yield Says("freshness", holds=False, says=_stale(schedule, turn))


# ---- arithmetic -----------------------------------------------------------------------------------------------------


def every(budget: Budget, demand: Demand) -> timedelta | None:
    """Return how often each calendar can be read, day after day; None when weekly whole reads are too much already."""
    left = budget.permits_per_day() - demand.calendars * WEEKLY / 7
    if left <= 0:
        return None
    turn = demand.calendars * _DAY.total_seconds() / left
    return timedelta(seconds=max(turn, demand.busiest / (_agent_a_minute(budget) / 60)))


def keeps_up(budget: Budget, demand: Demand, slots: Sequence[datetime], most: timedelta | None = None) -> bool:
    """Tell whether every slot can read every calendar, and in time: before the next slot, and within `most`."""
    beat = rhythm(list(slots))
    if beat is None:
        return demand.calendars <= _at_once(budget, None)
    in_time = lasts(budget, demand) <= min(beat.shortest, most or beat.shortest)
    return in_time and _sustained(budget, demand, beat) and _played_through(budget, demand, slots, beat)


def lasts(budget: Budget, demand: Demand) -> timedelta:
    """Return how long the budgets of a minute make one run over all calendars last, at the least."""
    waits = [_wait(bucket, demand.calendars) for bucket in budget.minute("minute")]
    if agent := _agent(budget):
        waits.append(_wait(agent, demand.busiest))
    return timedelta(seconds=max(waits, default=0.0))


def costs(demand: Demand, beat: Rhythm) -> int:
    """Return the requests that reading every calendar at every slot takes on the fullest day."""
    return math.ceil(demand.calendars * _a_run(beat) * beat.per_day)


def _wait(bucket: Bucket, requests: int) -> float:
    return max(0.0, requests - bucket.capacity) / bucket.rate


def _agent(budget: Budget) -> Bucket | None:
    """Return what one agent has: what a process spends by itself in a minute, and what the ledger adds to it."""
    alone = budget.alone(shared=True) or 0
    return next((replace(b, capacity=b.capacity + alone, rate=b.rate + alone / 60) for b in budget.agent("")), None)


def _agent_a_minute(budget: Budget) -> float:
    agent = _agent(budget)
    return agent.rate * 60 if agent else math.inf


def _at_once(budget: Budget, beat: Rhythm | None) -> float:
    """Return how many calendars one run can read when the day's bucket is full."""
    return min((bucket.capacity // _a_run(beat) for bucket in budget.day()), default=math.inf)


def _a_run(beat: Rhythm | None) -> float:
    """Return the requests that a calendar takes in one run, its share of the weekly ones included."""
    return 1 + WEEKLY / 7 / (beat.per_day if beat else 1)


def _sustained(budget: Budget, demand: Demand, beat: Rhythm) -> bool:
    return demand.calendars * _a_run(beat) * beat.per_day <= budget.permits_per_day()


def _played_through(budget: Budget, demand: Demand, slots: Sequence[datetime], beat: Rhythm) -> bool:
    """Spend the day's budget slot by slot, the weekly reads spread over them, and tell whether it ever ran out."""
    reads = demand.calendars * _a_run(beat)
    for bucket in budget.day():
        level = (bucket.capacity, slots[0].timestamp())
        for slot in slots:
            held, at = bucket.level(level, slot.timestamp())
            if held < reads:
                return False
            level = (held - reads, at)
    return True


# ---- sentences ------------------------------------------------------------------------------------------------------


def _permitted(table: str, demand: Demand, budget: Budget, turn: timedelta | None) -> str:
    calendars = plural(demand.calendars, "calendar")
    rates = [f"{int(budget.permits_per_day()):,} requests a day"]
    rates += [f"{int(bucket.rate * 60):,} a minute" for bucket in budget.minute("minute")]
    if agent := _agent(budget):
        rates.append(f"{int(agent.rate * 60):,} a minute for one agent")
    permits = f"[budget.{table}] with share = {budget.share:g} permits {', '.join(rates)}"
    if turn is None:
        return f"{permits}: not even the weekly whole reads of {calendars} fit into that. {_elsewhere(table, budget)}"
    return f"{permits}: {calendars} can be read every {spoken(turn)}"


def _promised(table: str, demand: Demand, budget: Budget, schedule: Schedule, turn: timedelta) -> Says:
    """Say what the crontab starts, and if that is more than can be had: what a run then does, and what to write."""
    if schedule.slots is None:
        return Says("cadence", holds=True, says="no crontab starts this job, so nothing is promised")
    beat = rhythm(list(schedule.slots))
    often = f"crontab starts a run {_often(beat)}"
    if keeps_up(budget, demand, schedule.slots, schedule.deadline):
        return Says("cadence", holds=True, says=f"{often}, and each can read every calendar")
    does = "A run then reads those that waited longest and leaves the others to the next."
    why = _why(demand, budget, schedule, turn)
    return Says("cadence", holds=False, says=f"{often}, but {why}. {does} {_write(table, demand, budget, schedule)}")


def _why(demand: Demand, budget: Budget, schedule: Schedule, turn: timedelta) -> str:
    lasting = lasts(budget, demand)
    if schedule.deadline is not None and lasting > schedule.deadline:
        return f"reading all takes {spoken(lasting)} or more, and [run] deadline is {spoken(schedule.deadline)}"
    beat = rhythm(list(schedule.slots or ()))
    at_once = _at_once(budget, beat)
    if at_once < demand.calendars and (beat is None or turn <= beat.shortest):
        return f"one run can read {at_once:,.0f} of {plural(demand.calendars, 'calendar')} at most"
    return f"each calendar can be read every {spoken(turn)} only"


def _write(table: str, demand: Demand, budget: Budget, schedule: Schedule) -> str:
    """Say what to write: a later deadline or a calmer schedule, or a larger share, whichever would do."""
    advice = []
    if schedule.deadline is not None and (lasting := lasts(budget, demand)) > schedule.deadline:
        advice.append(f'deadline = "{math.ceil(lasting / _MINUTE) + 1}m" in [run]')
    elif calmer := _calmer(demand, budget, schedule.deadline):
        advice.append(f'"{calmer}" in the crontab')
    if share := _larger(demand, budget, schedule):
        advice.append(f"share = {share:g} in [budget.{table}]")
    return f"Write {' or '.join(advice)}." if advice else _elsewhere(table, budget)


def _calmer(demand: Demand, budget: Budget, deadline: timedelta | None) -> str | None:
    for minutes, expression in CALM.items():
        slots = [_ANY_DAY + number * minutes * _MINUTE for number in range(2 * 1440 // minutes + 1)]
        if keeps_up(budget, demand, slots, deadline):
            return expression
    return None


def _larger(demand: Demand, budget: Budget, schedule: Schedule) -> float | None:
    for step in range(1, SHARES + 1):
        share = step / SHARES
        wider = replace(budget, share=share)
        if share > budget.share and keeps_up(wider, demand, schedule.slots or (), schedule.deadline):
            return share
    return None


def _elsewhere(table: str, budget: Budget) -> str:
    more = f"Raise share in [budget.{table}], or spread" if budget.share < 1 else "Spread"
    return f"{more} the agents over sources with service accounts of several projects."


def _stale(schedule: Schedule, turn: timedelta) -> str:
    return (
        f"[run] freshness is {spoken(schedule.freshness)}, but each calendar can be read every {spoken(turn)} only: "
        "calendars would count as not observed while all is well. "
        f'Write freshness = "{max(1, math.ceil(2 * turn / timedelta(hours=1)))}h".'
    )


def _often(beat: Rhythm | None) -> str:
    if beat is None:
        return "hardly ever"
    if beat.shortest == beat.longest:
        return f"every {spoken(beat.shortest)}"
    return f"{plural(beat.per_day, 'time')} a day, {spoken(beat.shortest)} apart at the closest"


def spoken(length: timedelta) -> str:
    """Say `minute`, `16 minutes`, `3 hours`: rounded up, as nothing here comes sooner."""
    if length <= _MINUTE:
        return "minute"
    for unit, word in ((_MINUTE, "minutes"), (_HOUR, "hours")):
        if length <= _FEW[word]:
            return f"{math.ceil(length / unit)} {word}"
    return f"{math.ceil(length / _DAY)} days"
