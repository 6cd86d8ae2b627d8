"""How long each part of a run took, by a clock that the caller hands in: for its log, and for what is measured."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum


class Phase(StrEnum):
    """The parts of a run, in their order."""

    CRM = "crm"
    CALENDARS = "calendars"
    COMPARE = "compare"
    APPLY = "apply"
    RECORD = "record"


def _nobody(_phase: Phase, _seconds: float | None) -> None:
    """Tell nobody."""


def _nowhere(_calendar: int, _seconds: float) -> None:
    """Tell nobody."""


class Phases:
    """A stopwatch for the phases of one run. Phases are not nested; one that comes twice is added up."""

    def __init__(
        self,
        clock: Callable[[], float],
        *,
        heard: Callable[[Phase, float | None], None] = _nobody,
        read: Callable[[int, float], None] = _nowhere,
    ) -> None:
        """Measure by `clock`, which tells seconds and is never set back.

        `heard` is told of a phase that begins, and with its seconds of one that is over; `read`, from any thread, of a
        calendar that was asked for, by its number.
        """
        self._clock = clock
        self._heard, self._read = heard, read
        self._ended: dict[Phase, float] = {}
        self._open: tuple[Phase, float] | None = None

    @contextmanager
    def of(self, phase: Phase) -> Iterator[None]:
        """Count what is done within it as time of this phase, however it ends."""
        began = self._clock()
        self._open = (phase, began)
        self._heard(phase, None)
        try:
            yield
        finally:
            took = self._clock() - began
            self._ended[phase] = self._ended.get(phase, 0.0) + took
            self._open = None
            self._heard(phase, took)

    @contextmanager
    def reading(self, calendar: int) -> Iterator[None]:
        """Tell how long it took to ask for one calendar, however that ends."""
        began = self._clock()
        try:
            yield
        finally:
            self._read(calendar, self._clock() - began)

    @property
    def seconds(self) -> dict[str, float]:
        """Return how long each phase took so far, in their order; the one that is under way included."""
        known = dict(self._ended)
        if self._open is not None:
            phase, began = self._open
            known[phase] = known.get(phase, 0.0) + self._clock() - began
        return {phase.value: known[phase] for phase in Phase if phase in known}
