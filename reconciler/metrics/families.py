"""The families of metrics, and their values for one job: a registry of our own with nothing of this process in it.

A job is called `job_name`, for `job` is Prometheus's own word for what it scrapes. Labels are kinds, names of sources
and projects, of bounded length. Everything is made of what was read from the state, so each export is complete.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from reconciler import __version__
from reconciler.inert import Sink, inert
from reconciler.store.totals import LABELS

if TYPE_CHECKING:
    from reconciler.store.gauges import Gauges, LastRun

JOB: Final = "job_name"
WIDEST: Final = 100
"""Characters of a label's value: names of sources and projects are shorter."""

Values = Mapping[Any, float]
"""Numbers by labels: tuples of text, as long as there are labels."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A budget of one project: what may be sent within a window, what could be sent at once, and what is left of it."""

    provider: str
    project: str
    window: str
    budget: float
    burst: float
    left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """One line of the schedule: its command, how many slots were missed lately, and when the next one comes."""

    command: str
    missed: int
    coming: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that one export says of a job, at `now`.

    `providers` are the kinds of its sources by their names. `telling` says how many reports wait, by what became of
    them; `heartbeat`, whether one goes out each day though nothing was found.
    """

    job: str
    now: datetime
    gauges: Gauges
    providers: Mapping[str, str]
    dialect: str
    freshness: float
    windows: Iterable[Window] = ()
    telling: Mapping[str, int] = field(default_factory=dict)
    heartbeat: bool = False
    slots: Iterable[Slots] = ()


def exposition(measured: Measured) -> bytes:
    """Return all families in the text format."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Made(tuple(families(measured))))
    return generate_latest(registry)


class _Made(Collector):
    """Families that are made already: there is nothing to collect from this process."""

    def __init__(self, made: tuple[Metric, ...]) -> None:
        self._made = made

    def collect(self) -> Iterable[Metric]:
        return self._made


def families(measured: Measured) -> Iterator[Metric]:
    """Yield the families with their values, those without any as well: what is missing is not nought."""
    make = _Maker(measured.job)
    yield from _health(make, measured)
    yield from _last_run(make, measured.gauges.last)
    yield from _calendars(make, measured)
    yield from _findings(make, measured)
    yield from _budgets(make, measured)
    yield from _reports(make, measured)
    yield from _totals(make, measured)


@dataclass(frozen=True, slots=True)
class _Maker:
    job: str

    def gauge(self, name: str, says: str, values: Values, labels: Iterable[str] = ()) -> Metric:
        family = GaugeMetricFamily(f"reconcile_{name}", says, labels=(JOB, *labels))
        for split, value in sorted(values.items()):
            family.add_metric(self._labels(split), value)
        return family

    def moment(self, name: str, says: str, at: datetime | None) -> Metric:
        """Make a gauge of one instant; none where there was none."""
        return self.gauge(f"{name}_timestamp_seconds", says, {} if at is None else {(): at.timestamp()})

    def counter(self, name: str, says: str, values: Values, labels: Iterable[str] = ()) -> Metric:
        family = CounterMetricFamily(f"reconcile_{name}", says, labels=(JOB, *labels))
        for split, value in sorted(values.items()):
            family.add_metric(self._labels(split), value)
        return family

    def _labels(self, split: Iterable[str]) -> list[str]:
        return [inert(value, Sink.TERMINAL, WIDEST) for value in (self.job, *split)]


# ---- how it is ------------------------------------------------------------------------------------------------------


def _health(make: _Maker, measured: Measured) -> Iterator[Metric]:
    gauges = measured.gauges
    python = ".".join(map(str, sys.version_info[:3]))
    yield make.gauge("build_info", "The program that exported this", {(__version__, python): 1}, ("version", "python"))
    yield make.moment("exported", "When this was exported", measured.now)
    yield make.moment("last_attempt", "When a run was last started, whatever came of it", gauges.attempted_at)
    yield make.moment("last_success", "When a run last ended with exit code 0", gauges.succeeded_at)
    yield make.moment("last_compared", "When a run last compared both sides, whatever it found", gauges.compared_at)
    code = gauges.attempt_code if gauges.attempt_code is not None else gauges.last.exit_code if gauges.last else None
    says = "How the last start of a run ended: 0, or 1 internal, 2 configuration, 4 refused, 5 partial, 75 locked"
    yield make.gauge("last_exit_code", says, {} if code is None else {(): code})
    yield make.gauge(
        "state_info", "The state database", {(gauges.version, measured.dialect): 1}, ("version", "dialect")
    )
    yield make.gauge("state_size_bytes", "Size of the state database, all jobs in it together", {(): gauges.size})
    slots = tuple(measured.slots)
    yield make.gauge(
        "missed_slots",
        "Slots of the schedule in the last 24 hours that no start has served",
        {(one.command,): one.missed for one in slots},
        ("command",),
    )
    yield make.gauge(
        "next_slot_timestamp_seconds",
        "When the schedule has its next slot",
        {(one.command,): one.coming.timestamp() for one in slots if one.coming},
        ("command",),
    )


def _last_run(make: _Maker, last: LastRun | None) -> Iterator[Metric]:
    took = {} if last is None else {(): (last.finished_at - last.started_at).total_seconds()}
    yield make.gauge("run_duration_seconds", "How long the last run took", took)
    figures = last.figures if last else None
    phases = {(phase,): seconds for phase, seconds in figures.phases.items()} if figures else {}
    yield make.gauge("run_phase_seconds", "How long each part of the last run took", phases, ("phase",))
    status = {(last.status,): 1} if last else {}
    yield make.gauge("run_status", "What the last run came to", status, ("status",))
    deltas = figures.deltas if figures else {}
    yield make.gauge("run_deltas", "Deltas of the last run", deltas, LABELS["deltas"])
    attempts = figures.attempts if figures else {}
    yield make.gauge("run_attempts", "Requests of the last run, by class of answer", attempts, LABELS["attempts"])
    looked = figures.looked if figures else {}
    seen = {(name, one.provider): one.observed / one.asked for name, one in looked.items() if one.asked}
    yield make.gauge(
        "run_coverage_ratio", "Calendars that the last run observed, of those asked for", seen, ("source", "provider")
    )


# ---- calendars ------------------------------------------------------------------------------------------------------


def _calendars(make: _Maker, measured: Measured) -> Iterator[Metric]:
    named = ("source", "provider")
    known = [(name, kind, measured.gauges.readings.get(name)) for name, kind in sorted(measured.providers.items())]
    there = [(name, kind, readings) for name, kind, readings in known if readings]
    yield make.gauge(
        "calendars",
        "Calendars by how they are: fresh, late, blind, parked or new",
        {(name, kind, state): number for name, kind, of in there for state, number in of.states.items()},
        (*named, "state"),
    )
    yield make.gauge(
        "oldest_read_timestamp_seconds",
        "The last whole read of the calendar that was not read for longest, parked ones apart",
        {(name, kind): of.oldest.timestamp() for name, kind, of in there if of.oldest},
        named,
    )
    yield make.gauge(
        "blind_since_timestamp_seconds",
        "Since when the calendar can't be read that is so for longest",
        {(name, kind): of.blind_since.timestamp() for name, kind, of in there if of.blind_since},
        named,
    )
    yield make.gauge("freshness_seconds", "How old a whole read may be: [run] freshness", {(): measured.freshness})


# ---- findings -------------------------------------------------------------------------------------------------------


def _findings(make: _Maker, measured: Measured) -> Iterator[Metric]:
    gauges = measured.gauges
    yield make.gauge("open_findings", "Findings that wait for somebody", gauges.open, ("kind", "severity"))
    yield make.gauge(
        "oldest_finding_timestamp_seconds",
        "Since when the oldest of them is known",
        {(severity,): at.timestamp() for severity, at in gauges.oldest.items()},
        ("severity",),
    )
    yield make.gauge("accepted_findings", "Findings that a person said are known", {(): gauges.accepted})


# ---- budgets --------------------------------------------------------------------------------------------------------


def _budgets(make: _Maker, measured: Measured) -> Iterator[Metric]:
    windows = tuple(measured.windows)
    for name, says in (
        ("budget", "Requests that this program may send within a window: the share of the limit that is its own"),
        ("burst", "Requests of it that may be sent at once"),
        ("left", "Requests of these that are left now; they come back evenly over the window"),
    ):
        values = {(one.provider, one.project, one.window): getattr(one, name) for one in windows}
        yield make.gauge(f"quota_{name}", says, values, ("provider", "project", "window"))


# ---- reports --------------------------------------------------------------------------------------------------------


def _reports(make: _Maker, measured: Measured) -> Iterator[Metric]:
    yield make.gauge(
        "report_sent_timestamp_seconds",
        "When the last report went out; of several channels, that of the one that waits for longest",
        {(kind,): at.timestamp() for kind, at in measured.gauges.sent.items()},
        ("kind",),
    )
    yield make.gauge(
        "deliveries_waiting",
        "Reports that were refused and are owed, or of which nobody knows whether they arrived",
        {(status,): number for status, number in measured.telling.items()},
        ("status",),
    )
    heartbeat = {(): float(measured.heartbeat)}
    yield make.gauge("report_heartbeat", "Whether a report goes out each day though nothing was found", heartbeat)


# ---- totals ---------------------------------------------------------------------------------------------------------

_TOTALS: Final = {
    "runs": ("runs", "Runs that ended"),
    "calendars": ("calendar_reads", "Calendars that runs were to read, by whether they were observed"),
    "found": ("findings_found", "Findings that people were told of"),
    "fixed": ("findings_fixed", "Writes that put a finding right"),
    "resolved": ("findings_resolved", "Findings that ended without a write of ours"),
    "deltas": ("deltas", "Deltas of all runs, by what became of them"),
    "attempts": ("attempts", "Requests that runs, dry runs and pulls sent, by class of answer"),
}


def _totals(make: _Maker, measured: Measured) -> Iterator[Metric]:
    known = measured.gauges.totals
    for name, (family, says) in _TOTALS.items():
        yield make.counter(family, says, known.get(name, {}), LABELS[name])
    seconds = {labels: value / 1000 for labels, value in known.get("milliseconds", {}).items()}
    yield make.counter("run_seconds", "Time that runs took, by part", seconds, LABELS["milliseconds"])
