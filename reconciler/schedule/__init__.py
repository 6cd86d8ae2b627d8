"""What a crontab schedules: its calls of the program, the jobs they are on, and their slots."""

from reconciler.schedule.calls import Called, called, concerns, reads
from reconciler.schedule.crontab import NAME, VARIABLE, Crontab, Entry, find, parse, read
from reconciler.schedule.times import SLOT_LIMIT, Rhythm, coming, following, latest, rhythm, slots
from reconciler.schedule.zone import machine_zone

__all__ = [
    "NAME",
    "SLOT_LIMIT",
    "VARIABLE",
    "Called",
    "Crontab",
    "Entry",
    "Rhythm",
    "called",
    "coming",
    "concerns",
    "find",
    "following",
    "latest",
    "machine_zone",
    "parse",
    "read",
    "reads",
    "rhythm",
    "slots",
]
