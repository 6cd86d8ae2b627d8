"""From a crontab's times to a cluster's: zones, weekdays, and how long a start and a run may take.

Kubernetes reads expressions with robfig/cron, which differs from cron in two things. It knows no weekday 7
(github.com/kubernetes/website/pull/44700). And where both a day of the month and a weekday are given it starts on
either, as cron does, but only cron takes `*/2` for no restriction (`starBit` in its parser.go): so both together are
refused, and two lines say what is meant.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

ZONE: Final = "Etc/UTC"
"""Of a line without CRON_TZ: a cluster has no zone of its own, and what its controller has is nobody's promise."""

SHORTEST_START: Final = timedelta(seconds=10)
"""The controller looks for due starts every ten seconds: with less, some are never made (kubernetes.io, "CronJob")."""
LONGEST_START: Final = timedelta(days=7)

SPARE: Final = timedelta(minutes=2)
"""What comes on top of a run's own time: a node has to be found, the image pulled, what is in hand finished."""
GRACE: Final = timedelta(seconds=60)
"""From the request to end until the kill: a run finishes what is in hand then, at most one write and its look-up, and
a provider may be silent for 30 seconds before that is known."""
UNBOUNDED: Final = timedelta(hours=1)
"""Of what has no deadline of its own. One that hangs would hold off all that come after it."""

_SUNDAY: Final = 7
_WEEK: Final = 7
_FIELDS: Final = 5


def expression(said: str) -> str:
    """Return a crontab's five fields as Kubernetes reads them. Raises ValueError where the two disagree."""
    fields = said.split()
    if len(fields) != _FIELDS:
        raise ValueError("is no time of five fields")
    day, weekday = fields[2], fields[4]
    if day != "*" and weekday != "*":
        raise ValueError("has a day of the month and a weekday, which cron and Kubernetes read differently: two lines")
    return " ".join([*fields[:4], _weekdays(weekday)])


def _weekdays(field: str) -> str:
    """Spell Sunday as 0, and a range that reaches it as its days."""
    if str(_SUNDAY) not in field:
        return field
    days = sorted({day for part in field.split(",") for day in _days(part)})
    return ",".join(map(str, days))


def _days(part: str) -> list[int]:
    span, _, step = part.partition("/")
    first, _, last = span.partition("-")
    if not first.isdigit() or (last and not last.isdigit()):
        raise ValueError("names weekdays by word and by number: use one of them")
    until = int(last or (_SUNDAY if step else first))
    return [day % _WEEK for day in range(int(first), until + 1, int(step or 1))]


def zone(said: str | None) -> str:
    """Return the zone as a cluster knows it."""
    return ZONE if said in {None, "UTC", "Etc/UTC"} else str(said)


def starting(gap: timedelta | None) -> int:
    """Return for how many seconds a missed start is still made: until the next slot, in which it would be done too."""
    return _seconds(max(SHORTEST_START, min(gap or LONGEST_START, LONGEST_START)))


def active(lasts: timedelta | None, jitter: timedelta) -> int:
    """Return after how many seconds a run that should have ended is ended: its own deadline, and what comes on top."""
    return _seconds((lasts or UNBOUNDED) + jitter + SPARE)


def _seconds(span: timedelta) -> int:
    return int(span.total_seconds())
